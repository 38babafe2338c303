//! Any message of any method has an answer or an error that says what is wrong with it, and the
//! service goes on. The first byte names the method, the others are the message as it is sent.

#![no_main]

use std::sync::LazyLock;

use headcount::api::Api;
use headcount::clock::SystemClock;
use headcount::engine::{Engine, EngineOptions};
use headcount::proto::admin_service_server::AdminService;
use headcount::proto::ingest_service_server::IngestService;
use headcount::proto::query_service_server::QueryService;
use headcount::proto::schema_service_server::SchemaService;
use headcount::proto::segment_service_server::SegmentService;
use headcount::proto::user_service_server::UserService;
use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

struct Service {
    api: Api,
    runtime: Runtime,
    _closing: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

/// One service for all inputs: what they write adds up.
static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions::new(folder.path().join("data"));
    let engine = {
        let _inside = runtime.enter();
        Engine::open(&options, std::sync::Arc::new(SystemClock)).unwrap()
    };
    let (closing, closed) = watch::channel(false);
    Service {
        api: Api::new(engine, closed, 64),
        runtime,
        _closing: closing,
        _folder: folder,
    }
});

fn request<T: Message + Default>(bytes: &[u8]) -> Option<Request<T>> {
    let mut request = Request::new(T::decode(bytes).ok()?);
    // What waits for a revision that never comes gives up at once.
    let deadline = "1m".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", deadline);
    Some(request)
}

fn judge<T: Message>(answer: Result<Response<T>, Status>) {
    match answer {
        Ok(answer) => drop(answer.into_inner().encode_to_vec()),
        Err(status) => {
            assert!(
                !matches!(status.code(), Code::Internal | Code::Unknown),
                "{status:?}"
            );
            assert!(!status.message().is_empty(), "{status:?}");
            assert!(status.message().len() < 4_096, "{status:?}");
            assert!(!status.details().is_empty(), "{status:?}");
        }
    }
}

macro_rules! call {
    ($service:ident, $method:ident, $bytes:ident) => {{
        let Some(request) = request($bytes) else {
            return Corpus::Reject;
        };
        judge(
            SERVICE
                .runtime
                .block_on($service::$method(&SERVICE.api, request)),
        );
    }};
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((method, bytes)) = input.split_first() else {
        return Corpus::Reject;
    };
    match method % 25 {
        0 => call!(IngestService, write, bytes),
        1 => call!(UserService, get_user, bytes),
        2 => call!(UserService, delete_user, bytes),
        3 => call!(QueryService, count, bytes),
        4 => call!(QueryService, batch_count, bytes),
        5 => call!(QueryService, check, bytes),
        6 => call!(QueryService, batch_check, bytes),
        7 => call!(QueryService, list_members, bytes),
        8 => call!(QueryService, explain, bytes),
        9 => call!(SchemaService, create_property, bytes),
        10 => call!(SchemaService, get_property, bytes),
        11 => call!(SchemaService, list_properties, bytes),
        12 => call!(SchemaService, list_values, bytes),
        13 => call!(SchemaService, create_event, bytes),
        14 => call!(SchemaService, get_event, bytes),
        15 => call!(SchemaService, update_event, bytes),
        16 => call!(SchemaService, delete_event, bytes),
        17 => call!(SchemaService, list_events, bytes),
        18 => call!(AdminService, list_populations, bytes),
        19 => call!(SegmentService, create_segment, bytes),
        20 => call!(SegmentService, update_segment, bytes),
        21 => call!(SegmentService, delete_segment, bytes),
        22 => call!(SegmentService, list_segments, bytes),
        23 => call!(SegmentService, preview_segment, bytes),
        _ => call!(SegmentService, list_user_segments, bytes),
    }
    Corpus::Keep
});
