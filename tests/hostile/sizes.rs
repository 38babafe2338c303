//! The limits of the transport: a message, the calls of a connection and connections, each one
//! below its limit, at it and beyond.

use headcount::api::METHODS;
use tonic::Code;
use tonic_types::StatusExt;

use crate::call::{self, framed, nested};
use crate::process::Server;
use crate::raw::{CHECK, Raw, call, frame, kind};

/// The flags of the sizes, with sizes that make the test quick.
const SIZES: [&str; 8] = [
    "--max-write-bytes",
    "65536",
    "--max-query-bytes",
    "8192",
    "--max-batch-query-bytes",
    "16384",
    "--max-other-bytes",
    "4096",
];

fn allowed(service: &str, name: &str) -> usize {
    match (service, name) {
        ("headcount.v1.IngestService", _) => 65_536,
        (
            _,
            "BatchCheck"
            | "BatchCount"
            | "CreateSegment"
            | "AddSegmentMembers"
            | "RemoveSegmentMembers",
        ) => 16_384,
        ("headcount.v1.QueryService" | "headcount.v1.SegmentService", _) => 8_192,
        _ => 4_096,
    }
}

/// A message of so many bytes in which nothing is that a method knows.
fn padded(bytes: usize) -> Vec<u8> {
    let mut fitting = (3..10).map(|around| nested(1_000, &vec![0; bytes - around]));
    fitting.find(|message| message.len() == bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_each_method() {
    let server = Server::start(&SIZES).await;
    for method in METHODS {
        let path = method.path();
        let allowed = allowed(method.service, method.name);
        for bytes in [allowed - 1, allowed, allowed + 1] {
            let message = framed(&padded(bytes));
            let answer = call::with(server.address, &path, &[], message);
            // One that is a good request of a stream may go on for ever.
            let soon = std::time::Duration::from_millis(300);
            let Ok(status) = tokio::time::timeout(soon, answer).await else {
                assert!(bytes <= allowed, "{path} takes {bytes} bytes");
                continue;
            };
            let status = status.unwrap();
            let details = status.get_error_details();
            let fact = |name: &str| {
                let info = details.error_info()?;
                info.metadata.get(name).cloned()
            };
            let limit = fact("limit");
            if bytes <= allowed {
                assert_ne!(
                    limit.as_deref(),
                    Some("message_bytes"),
                    "{path}: {status:?}"
                );
                continue;
            }
            assert_eq!(status.code(), Code::InvalidArgument, "{path}: {status:?}");
            assert_eq!(limit.as_deref(), Some("message_bytes"), "{path}");
            assert_eq!(fact("allowed"), Some(allowed.to_string()), "{path}");
            assert_eq!(fact("given"), Some(bytes.to_string()), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_connection() {
    let server = Server::start(&["--max-calls-per-connection", "10"]).await;
    for (calls, expected) in [(9, 0), (10, 0), (11, 1)] {
        let mut raw = Raw::begin(server.address).await;
        let mut frames = Vec::new();
        for number in 0..calls {
            frames.extend(call(2 * number + 1, CHECK, 0));
        }
        frames.extend(frame(kind::PING, 0, 0, &[1; 8]));
        raw.send(&frames).await;
        let mut refused = 0;
        loop {
            let (kind, _, content) = raw.read().await.expect("it is not ended");
            match kind {
                kind::RESET => refused += 1,
                kind::PING if content == [1; 8] => break,
                _ => {}
            }
        }
        // A refusal may be behind the answer to the ping.
        if refused < expected {
            while raw.read().await.expect("it is not ended").0 != kind::RESET {}
            refused += 1;
        }
        assert_eq!(refused, expected, "{calls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections() {
    let server = Server::start(&["--max-connections", "10"]).await;
    // That of the test itself is one.
    let mut open = Vec::new();
    while open.len() < 9 {
        let mut raw = Raw::begin(server.address).await;
        // One from before may still be on its way out.
        if raw.read().await.is_some() {
            open.push(raw);
        }
    }
    for _ in 0..3 {
        let mut refused = Raw::begin(server.address).await;
        assert!(refused.read().await.is_none(), "there are ten already");
    }
    drop(open.pop());
    let mut freed = Raw::begin(server.address).await;
    while freed.read().await.is_none() {
        freed = Raw::begin(server.address).await;
    }
}
