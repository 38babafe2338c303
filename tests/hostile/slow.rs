//! Requests that arrive byte by byte, and some that never arrive.

use std::time::{Duration, Instant};

use headcount::proto::{UserUpdate, WriteStreamRequest};
use prost::bytes::Bytes;

use crate::call;
use crate::process::{Server, span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_announced_and_do_not_come() {
    let server = Server::start(&[]).await;
    let attack = async {
        let connection = call::connect(server.address, 1 << 20).await;
        let mut calls = Vec::new();
        for _ in 0..1_000 {
            let path = "/headcount.v1.QueryService/BatchCheck";
            let (response, mut body) = call::begin(&connection, path, &[]).await;
            // As long as it may be.
            let announced = Bytes::from_static(&[0, 0, 0x40, 0, 0]);
            call::send(&mut body, announced, false).await;
            calls.push((response, body));
        }
        tokio::time::sleep(span()).await;
    };
    server
        .withstands("messages that do not come", 64, attack)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_come_byte_by_byte() {
    let server = Server::start(&[]).await;
    let attack = async {
        let batch = WriteStreamRequest {
            sequence: 1,
            updates: vec![UserUpdate {
                user_id: "slow".into(),
                ..UserUpdate::default()
            }],
            ..WriteStreamRequest::default()
        };
        let bytes = call::message(&batch);
        let connection = call::connect(server.address, 1 << 20).await;
        let mut calls = Vec::new();
        for _ in 0..200 {
            let path = "/headcount.v1.IngestService/WriteStream";
            calls.push(call::begin(&connection, path, &[]).await);
        }
        let began = Instant::now();
        for byte in bytes.iter().cycle() {
            for (_, body) in &mut calls {
                call::send(body, Bytes::copy_from_slice(&[*byte]), false).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            if began.elapsed() > span() {
                break;
            }
        }
    };
    server
        .withstands("writes that come byte by byte", 48, attack)
        .await;
}
