//! Clients that ask for much and read nothing of it, while they answer every ping.

use std::time::Instant;

use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use headcount::proto::segment_service_client::SegmentServiceClient;
use headcount::proto::{
    BackupRequest, ExportMembersRequest, Selection, StreamMembersRequest, WatchSegmentsRequest,
    selection, stream_members_request,
};
use prost::bytes::Bytes;
use tonic::Code;

use crate::call;
use crate::process::{SEGMENT, SOON, Server};

const WATCH: &str = "/headcount.v1.SegmentService/WatchSegments";
const ARGUMENTS: [&str; 2] = ["--unread-timeout", "1s"];

type Call = (ResponseFuture, SendStream<Bytes>);

/// Calls of which nothing can be read, since their windows are shut.
async fn unread(
    connection: &SendRequest<Bytes>,
    path: &str,
    message: Bytes,
    calls: usize,
) -> Vec<Call> {
    let mut all = Vec::new();
    for _ in 0..calls {
        let (response, mut body) = call::begin(connection, path, &[]).await;
        call::send(&mut body, message.clone(), true).await;
        all.push((response, body));
    }
    all
}

fn watching(include_members: bool) -> WatchSegmentsRequest {
    WatchSegmentsRequest {
        segments: vec![SEGMENT.into()],
        include_members,
        ..WatchSegmentsRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads() {
    let server = Server::start(&ARGUMENTS).await;
    let attack = async {
        let members = call::message(&StreamMembersRequest {
            selection: Some(stream_members_request::Selection::Filter("TRUE".into())),
            ..StreamMembersRequest::default()
        });
        let export = call::message(&ExportMembersRequest {
            selections: vec![Selection {
                selection: Some(selection::Selection::Filter("TRUE".into())),
            }],
            ..ExportMembersRequest::default()
        });
        let backup = call::message(&BackupRequest::default());
        let connection = call::connect(server.address, 0).await;
        let query = "/headcount.v1.QueryService/";
        let streams = [
            unread(&connection, &format!("{query}StreamMembers"), members, 300).await,
            unread(&connection, &format!("{query}ExportMembers"), export, 30).await,
            unread(&connection, "/headcount.v1.AdminService/Backup", backup, 3).await,
            unread(&connection, WATCH, call::message(&watching(true)), 100).await,
        ];
        // Longer than the service is patient.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        drop(streams);
    };
    server
        .withstands("streams that nobody reads", 192, attack)
        .await;
}

/// All seats of those who watch are taken by streams that nobody reads; they are free again soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_not_kept_for_who_does_not_read() {
    // All of them have come before the first is given up.
    let server = Server::start(&["--unread-timeout", "10s"]).await;
    let attack = async {
        let connection = call::connect(server.address, 0).await;
        let message = call::message(&watching(false));
        let streams = unread(&connection, WATCH, message, 1_000).await;
        let mut client = SegmentServiceClient::new(server.channel.clone());
        let began = Instant::now();
        let mut was_refused = false;
        loop {
            match client.watch_segments(watching(false)).await {
                // Not all of them may have had a seat yet when the first gave it back.
                Ok(_) if was_refused => break,
                Ok(_) => {}
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    was_refused = true;
                }
            }
            assert!(
                began.elapsed() < SOON,
                "no seat is free, or all were: {was_refused}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // The connection is still there, and so are its streams.
        let (response, mut body) = call::begin(&connection, WATCH, &[]).await;
        call::send(&mut body, call::message(&watching(false)), true).await;
        let headers = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
        assert!(headers.status().is_success());
        drop(streams);
    };
    server
        .withstands("watchers that do not read", 192, attack)
        .await;
}
