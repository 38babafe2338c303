//! What several targets share: a service in this process, and what every answer must be like.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use headcount::api::Api;
use headcount::cli::probe::{ImportFormat, ImportRow, import_rows};
use headcount::clock::SystemClock;
use headcount::engine::{Engine, EngineOptions};
use headcount::testing::generate::Choices;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tonic::{Code, Request, Response, Status};

/// A service without a network.
pub struct Service {
    /// Its methods.
    pub api: Api,
    runtime: Runtime,
    _closing: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

/// One service for all inputs: what they write adds up.
pub static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        query_threads: 1,
        log_file_bytes: 1 << 16,
        ..EngineOptions::new(folder.path().join("data"))
    };
    let engine = {
        let _inside = runtime.enter();
        Engine::open(&options, Arc::new(SystemClock)).unwrap()
    };
    let (closing, closed) = watch::channel(false);
    Service {
        api: Api::new(engine, closed, Duration::from_secs(60)),
        runtime,
        _closing: closing,
        _folder: folder,
    }
});

impl Service {
    /// Waits for a future.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Calls a method of a server with the bytes of the body as they come over the network, frames
    /// and all; returns how it ended.
    pub fn call<S>(&self, mut server: S, path: &str, body: &[u8]) -> Code
    where
        S: tonic::codegen::Service<
                http::Request<Body>,
                Response = http::Response<Body>,
                Error = Infallible,
            >,
    {
        let request = http::Request::post(format!("http://service{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "50m")
            .body(Body::new(Full::new(Bytes::copy_from_slice(body))))
            .unwrap();
        self.wait(async {
            let response = server.call(request).await.unwrap();
            let at_once = code(response.headers());
            let collected = response.into_body().collect().await.unwrap();
            at_once
                .or_else(|| collected.trailers().and_then(code))
                .unwrap_or(Code::Unknown)
        })
    }
}

fn code(headers: &http::HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// A request whose message are these bytes, if they are one.
pub fn request<T: Message + Default>(bytes: &[u8]) -> Option<Request<T>> {
    let mut request = Request::new(T::decode(bytes).ok()?);
    // What waits for a revision that never comes gives up at once.
    let deadline = "1m".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", deadline);
    Some(request)
}

/// Fails unless it is an answer, or an error of the table that says what is wrong.
pub fn judge<T: Message>(answer: Result<Response<T>, Status>) -> Option<T> {
    match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            drop(answer.encode_to_vec());
            Some(answer)
        }
        Err(status) => {
            judge_error(&status);
            None
        }
    }
}

/// Fails unless an error is one of the table and says what is wrong.
pub fn judge_error(status: &Status) {
    assert!(
        !matches!(status.code(), Code::Internal | Code::Unknown),
        "{status:?}"
    );
    assert!(!status.message().is_empty(), "{status:?}");
    assert!(status.message().len() < 4_096, "{status:?}");
    assert!(!status.details().is_empty(), "{status:?}");
}

/// Changes some bytes of a message, or none.
pub fn damage(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..choices.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = choices.below(bytes.len());
        match choices.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, choices.below(256) as u8),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] = choices.below(256) as u8,
        }
    }
}

/// Reads a file for an import. Fails unless its rows come in order, each good one small enough to be
/// sent and about a user, each bad one with a line of the file and a reason.
pub fn judge_rows(bytes: &[u8], format: ImportFormat, flags: &[&str]) {
    let Ok(rows) = import_rows(bytes.to_vec(), format, flags) else {
        return;
    };
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let mut last = 0;
    for row in rows {
        let line = match row {
            ImportRow::Update(line, update) => {
                assert!(!update.user_id.is_empty(), "line {line}");
                assert!(update.encoded_len() < 1 << 20, "line {line}");
                line
            }
            ImportRow::Bad(line, reason) => {
                assert!(!reason.is_empty() && reason.len() < 8_192, "line {line}");
                line
            }
        };
        assert!(
            line > last && line <= lines,
            "line {line} after {last} of {lines}"
        );
        last = line;
    }
}
