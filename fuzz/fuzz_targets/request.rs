//! Any message of any method has an answer or an error that says what is wrong with it, and the
//! service goes on. The first byte names the method, the others are the message as it is sent; of a
//! stream of writes, all bytes of the body. Left out are `CreateSnapshot` and `Backup`, whose messages
//! have next to nothing in them, and which would write all that there is to disk each time.

#![no_main]

use headcount::proto::admin_service_server::AdminService;
use headcount::proto::ingest_service_server::{IngestService, IngestServiceServer};
use headcount::proto::query_service_server::QueryService;
use headcount::proto::schema_service_server::SchemaService;
use headcount::proto::segment_service_server::SegmentService;
use headcount::proto::user_service_server::UserService;
use headcount_fuzz::{SERVICE, judge, judge_error, request};
use libfuzzer_sys::{Corpus, fuzz_target};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::Code;

/// Messages that are read of a stream at most: of who watches, there is no end.
const READ: usize = 8;

macro_rules! call {
    ($service:ident, $method:ident, $bytes:ident) => {{
        let Some(request) = request($bytes) else {
            return Corpus::Reject;
        };
        judge(SERVICE.wait($service::$method(&SERVICE.api, request)));
    }};
}

macro_rules! stream {
    ($service:ident, $method:ident, $bytes:ident) => {{
        let Some(request) = request($bytes) else {
            return Corpus::Reject;
        };
        SERVICE.wait(async {
            match $service::$method(&SERVICE.api, request).await {
                Err(status) => judge_error(&status),
                Ok(answers) => {
                    let mut answers = answers.into_inner();
                    for _ in 0..READ {
                        let next = answers.next();
                        match tokio::time::timeout(Duration::from_millis(2), next).await {
                            Ok(Some(Ok(_))) => {}
                            Ok(Some(Err(status))) => judge_error(&status),
                            Ok(None) | Err(_) => break,
                        }
                    }
                }
            }
        });
    }};
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((method, bytes)) = input.split_first() else {
        return Corpus::Reject;
    };
    match method % 39 {
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
        24 => call!(SegmentService, list_user_segments, bytes),
        25 => call!(SegmentService, get_segment, bytes),
        26 => call!(SegmentService, add_segment_members, bytes),
        27 => call!(SegmentService, remove_segment_members, bytes),
        28 => call!(QueryService, breakdown, bytes),
        29 => call!(QueryService, summarize, bytes),
        30 => call!(QueryService, overlap, bytes),
        31 => call!(QueryService, compare, bytes),
        32 => call!(SchemaService, delete_property, bytes),
        33 => call!(AdminService, verify, bytes),
        34 => stream!(QueryService, stream_members, bytes),
        35 => stream!(QueryService, export_members, bytes),
        36 => stream!(SegmentService, watch_segments, bytes),
        37 => {
            let server = IngestServiceServer::new(SERVICE.api.clone());
            let path = "/headcount.v1.IngestService/WriteStream";
            let code = SERVICE.call(server, path, bytes);
            assert!(code != Code::Unknown, "the stream ended without a status");
        }
        _ => call!(AdminService, get_stats, bytes),
    }
    Corpus::Keep
});
