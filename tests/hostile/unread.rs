//! Clients that ask for much and read nothing of it, while they answer every ping.

use std::time::Instant;

use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use headcount::api::RpcStatus;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::segment_service_client::SegmentServiceClient;
use headcount::proto::{
    BackupRequest, ExportMembersRequest, ListMembersRequest, Selection, StreamMembersRequest,
    WatchSegmentsRequest, list_members_request, selection, stream_members_request,
};
use prost::bytes::Bytes;
use tonic::Code;
use tonic_types::StatusExt;

use crate::call;
use crate::process::{SEGMENT, SOON, Server, USERS};

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

/// There are 1,000 seats for those who watch: more than half are taken by streams that nobody reads and
/// that stay open, and as many honest ones have a seat all the same before long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_not_kept_for_who_does_not_read() {
    const STREAMS: usize = 520;
    let server = Server::start(&ARGUMENTS).await;
    let attack = async {
        let connection = call::connect(server.address, 0).await;
        let message = call::message(&watching(false));
        let mut unread_streams = Vec::new();
        for (response, body) in unread(&connection, WATCH, message, STREAMS).await {
            let headers = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
            let refused = headers.headers().get("grpc-status");
            assert!(refused.is_none(), "it had a seat: {refused:?}");
            unread_streams.push((headers, body));
        }
        let mut client = SegmentServiceClient::new(server.channel.clone());
        let began = Instant::now();
        let mut honest = Vec::new();
        while honest.len() < STREAMS {
            match client.watch_segments(watching(false)).await {
                Ok(stream) => honest.push(stream),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            assert!(began.elapsed() < 2 * SOON, "no seat is free");
        }
        drop(unread_streams);
    };
    server
        .withstands("watchers that do not read", 96, attack)
        .await;
}

/// Each answer is half a megabyte. No more of them are kept than there may be queries, and those that
/// nobody reads go in time, so that honest queries are answered again while the calls are still open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_that_nobody_reads() {
    const PLACES: usize = 40;
    const CALLS: usize = 400;
    let server = Server::start(&[&ARGUMENTS[..], &["--max-queries", "40"]].concat()).await;
    let everyone = ListMembersRequest {
        selection: Some(list_members_request::Selection::Filter("TRUE".into())),
        page_size: 10_000,
        ..ListMembersRequest::default()
    };
    let attack = async {
        // Of some nothing can be sent, of the others some bytes.
        let mut calls = Vec::new();
        for window in [0, 100] {
            let connection = call::connect(server.address, window).await;
            let path = "/headcount.v1.QueryService/ListMembers";
            let message = call::message(&everyone);
            calls.extend(unread(&connection, path, message, CALLS / 2).await);
        }
        let (mut answered, mut refused) = (Vec::new(), 0);
        for (response, body) in calls {
            let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
            match RpcStatus::from_header_map(response.headers()) {
                None => answered.push((response, body)),
                Some(status) => {
                    let details = status.get_error_details();
                    let info = details.error_info().unwrap();
                    assert_eq!(info.reason, "OVERLOADED");
                    let limit = info.metadata["limit"].as_str();
                    assert!(["max_queries", "query_wait"].contains(&limit), "{limit}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "each of {CALLS} had one of {PLACES} places");
        assert!(!answered.is_empty());
        let mut client = QueryServiceClient::new(server.channel.clone());
        let client = &mut client;
        let began = Instant::now();
        let mut honest = 0;
        while honest < 2 * PLACES {
            match client.list_members(everyone.clone()).await {
                Ok(answer) => {
                    assert_eq!(answer.into_inner().user_ids.len(), USERS);
                    honest += 1;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            assert!(began.elapsed() < 2 * SOON, "no place is free");
        }
        drop(answered);
    };
    server
        .withstands("large answers that nobody reads", 128, attack)
        .await;
}
