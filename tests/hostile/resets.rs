//! Calls that are given up as soon as they are made.

use std::time::Instant;

use crate::process::{Server, span};
use crate::raw::{CHECK, END_STREAM, ENHANCE_YOUR_CALM, Raw, call, frame, kind};

/// Calls of one burst.
const BURST: u32 = 2_000;

/// Bursts on new connections. Returns how often the service ended one and said why.
async fn bursts(server: &Server, after: impl Fn(u32) -> Vec<u8>) -> usize {
    let mut burst = Vec::new();
    for number in 0..BURST {
        let stream = 2 * number + 1;
        burst.extend(call(stream, CHECK, 0));
        burst.extend(after(stream));
    }
    let began = Instant::now();
    let mut told = 0;
    loop {
        let mut raw = Raw::begin(server.address).await;
        raw.send(&burst).await;
        raw.send(&frame(kind::PING, 0, 0, &[3; 8])).await;
        // It may also be too late to read why it was ended.
        while let Some((kind, _, content)) = raw.read().await {
            if kind == kind::GO_AWAY {
                assert_eq!(content[4..8], ENHANCE_YOUR_CALM.to_be_bytes());
                told += 1;
            } else if kind == kind::PING {
                break;
            }
        }
        if began.elapsed() > span() {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_the_client_resets() {
    let server = Server::start(&[]).await;
    let attack = async {
        let reset = |stream| frame(kind::RESET, 0, stream, &8_u32.to_be_bytes());
        assert!(bursts(&server, reset).await > 0);
    };
    server
        .withstands("calls that the client resets", 32, attack)
        .await;
}

/// A window that grows beyond its limit is an error for which the service has to reset the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_the_service_is_made_to_reset() {
    let server = Server::start(&[]).await;
    let attack = async {
        let all = 0x7fff_ffff_u32.to_be_bytes();
        let beyond = |stream| frame(kind::WINDOW_UPDATE, 0, stream, &all);
        bursts(&server, beyond).await;
    };
    server
        .withstands("calls that the service is made to reset", 32, attack)
        .await;
}

/// A client that makes calls and leaves, without another word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_in_the_middle() {
    let server = Server::start(&[]).await;
    let attack = async {
        let mut burst = Vec::new();
        for number in 0..50 {
            burst.extend(call(
                2 * number + 1,
                CHECK,
                if number % 2 == 0 { END_STREAM } else { 0 },
            ));
        }
        let began = Instant::now();
        while began.elapsed() < span() {
            let mut raw = Raw::begin(server.address).await;
            raw.send(&burst).await;
        }
    };
    server
        .withstands("connections that end in the middle", 32, attack)
        .await;
}
