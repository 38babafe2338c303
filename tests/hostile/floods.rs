//! Frames that cost the client little, as many as it can send.

use std::time::Instant;

use crate::process::{Server, span};
use crate::raw::{CHECK, END_HEADERS, Raw, call, field, frame, headers, kind};

/// Sends a first part and then another again and again, until the service ends the connection or
/// the time is over. Nothing is read. Returns whether it ended it.
async fn flood(server: &Server, first: &[u8], again: &[u8]) -> bool {
    let again = again.repeat((64 << 10) / again.len());
    let began = Instant::now();
    let mut raw = Raw::begin(server.address).await;
    raw.send(first).await;
    while began.elapsed() < span() {
        if !raw.send(&again).await {
            return true;
        }
    }
    false
}

async fn withstood(name: &str, first: Vec<u8>, again: Vec<u8>) {
    let server = Server::start(&[]).await;
    let attack = async {
        flood(&server, &first, &again).await;
    };
    server.withstands(name, 32, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data() {
    let empty = frame(kind::DATA, 0, 1, &[]);
    withstood("empty data", call(1, CHECK, 0), empty).await;
}

/// To a call that reads no more, since it was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_that_nobody_reads() {
    let mut first = call(1, "/headcount.v1.SegmentService/WatchSegments", 0);
    first.extend(frame(kind::DATA, 0, 1, &[0; 5]));
    let empty = frame(kind::DATA, 0, 1, &[]);
    withstood("empty data that nobody reads", first, empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings() {
    let mut both = frame(kind::PING, 0, 0, &[7; 8]);
    both.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]));
    withstood("pings and settings", Vec::new(), both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_grow_by_little() {
    let mut both = frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    both.extend(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    withstood("windows that grow by little", call(1, CHECK, 0), both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end() {
    let server = Server::start(&[]).await;
    let attack = async {
        let first = frame(kind::HEADERS, 0, 1, &headers(CHECK));
        for more in [field("x", &"y".repeat(1_000)), Vec::new()] {
            let more = frame(kind::CONTINUATION, 0, 1, &more);
            assert!(flood(&server, &first, &more).await, "it is ended");
        }
    };
    server.withstands("headers without end", 32, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_headers_that_are_too_long() {
    let server = Server::start(&[]).await;
    let attack = async {
        let began = Instant::now();
        while began.elapsed() < span() {
            let mut raw = Raw::begin(server.address).await;
            let mut calls = Vec::new();
            for number in 0..20 {
                let mut long = headers(CHECK);
                long.extend(field("x", &"y".repeat(15_000)));
                calls.extend(frame(kind::HEADERS, 0, 2 * number + 1, &long));
                let more = field("z", &"y".repeat(15_000));
                calls.extend(frame(
                    kind::CONTINUATION,
                    END_HEADERS,
                    2 * number + 1,
                    &more,
                ));
            }
            raw.send(&calls).await;
        }
    };
    server
        .withstands("lists of headers that are too long", 32, attack)
        .await;
}
