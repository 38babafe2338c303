//! Services that anybody may call, and streams that are begun and never asked anything.

use std::time::Instant;

use headcount::proto::StreamMembersRequest;
use headcount::proto::stream_members_request::Selection;
use prost::bytes::Bytes;
use tonic::Code;

use crate::call;
use crate::process::{SOON, Server, span};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const MEMBERS: &str = "/headcount.v1.QueryService/StreamMembers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_that_are_large_or_never_come() {
    let server = Server::start(&[]).await;
    let attack = async {
        let connection = call::connect(server.address, 1 << 20).await;
        let mut calls = Vec::new();
        for _ in 0..900 {
            let (response, mut body) = call::begin(&connection, HEALTH, &[]).await;
            let announced = Bytes::from_static(&[0, 0, 0x40, 0, 0]);
            call::send(&mut body, announced, false).await;
            calls.push((response, body));
        }
        for _ in 0..20 {
            let large = call::framed(&vec![0; 4 << 20]);
            let ended = call::with(server.address, HEALTH, &[], large).await;
            // Or its connection is, in the middle of sending.
            if let Ok(status) = ended {
                assert_ne!(status.code(), Code::Ok);
            }
        }
        tokio::time::sleep(span()).await;
    };
    server.withstands("large health checks", 48, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_begun_and_never_asked_anything() {
    let server = Server::start(&["--max-read-streams", "20", "--body-timeout", "1s"]).await;
    let attack = async {
        let connection = call::connect(server.address, 1 << 20).await;
        let mut calls = Vec::new();
        for _ in 0..20 {
            calls.push(call::begin(&connection, MEMBERS, &[]).await);
        }
        let request = call::message(&StreamMembersRequest {
            selection: Some(Selection::Filter("n < 10".into())),
            ..StreamMembersRequest::default()
        });
        // They keep their places no longer than a message may take to come.
        let began = Instant::now();
        loop {
            let answered = call::with(server.address, MEMBERS, &[], request.clone()).await;
            let status = answered.unwrap();
            if status.code() == Code::Ok {
                break;
            }
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            assert!(began.elapsed() < SOON, "no place is free again");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        drop(calls);
    };
    server
        .withstands("streams that ask nothing", 48, attack)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_that_nobody_ends() {
    let server = Server::start(&[]).await;
    let attack = async {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let connection = call::connect(server.address, 1 << 20).await;
        let mut bodies = Vec::new();
        let mut answers = tokio::task::JoinSet::new();
        for _ in 0..65 {
            let (response, body) = call::begin(&connection, path, &[]).await;
            bodies.push(body);
            answers.spawn(call::outcome(response));
        }
        // Whichever of them comes last.
        let refused = answers.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        answers.abort_all();
    };
    server
        .withstands("reflection that nobody ends", 48, attack)
        .await;
}
