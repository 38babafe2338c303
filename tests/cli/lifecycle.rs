//! How the service ends: within its bound whatever clients do, telling each of them so, with
//! everything kept that was acknowledged.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use headcount::proto::admin_service_client::AdminServiceClient;
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::segment_service_client::SegmentServiceClient;
use headcount::proto::{
    BackupRequest, CountRequest, CreateSegmentRequest, ExportFormat, ExportMembersRequest, Segment,
    Selection, StreamMembersRequest, StreamMembersResponse, UserUpdate, WatchSegmentsRequest,
    WriteRequest, WriteStreamRequest, count_request, segment, selection, stream_members_request,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::service::{Ended, Service};

/// Long enough for anything that is expected here.
const SOON: Duration = Duration::from_secs(20);

/// More users than fit into what a connection takes unread: their ids are 2 MB.
const USERS: usize = 20_000;

async fn connect(service: &Service) -> Channel {
    let endpoint = Endpoint::from_shared(service.address().to_owned()).unwrap();
    endpoint
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect()
        .await
        .unwrap()
}

fn update(number: usize) -> UserUpdate {
    UserUpdate {
        user_id: format!("user-{number:0>95}"),
        ..UserUpdate::default()
    }
}

async fn with_users(service: &Service) {
    let mut ingest = IngestServiceClient::new(connect(service).await);
    for first in (0..USERS).step_by(5_000) {
        let write = WriteRequest {
            updates: (first..first + 5_000).map(update).collect(),
            ..WriteRequest::default()
        };
        ingest.write(write).await.unwrap();
    }
    let saved = CreateSegmentRequest {
        segment: Some(Segment {
            name: "all".into(),
            definition: Some(segment::Definition::Filter("TRUE".into())),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    let mut segments = SegmentServiceClient::new(connect(service).await);
    segments.create_segment(saved).await.unwrap();
}

fn everyone() -> Vec<Selection> {
    vec![Selection {
        selection: Some(selection::Selection::Filter("TRUE".into())),
    }]
}

/// Reads what is left of a stream, which must end in the error that says why.
async fn is_told<T>(kind: &str, mut stream: Streaming<T>) {
    let error = loop {
        let next = tokio::time::timeout(SOON, stream.message());
        match next.await.unwrap_or_else(|_| panic!("{kind} goes on")) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{kind} ended as if all had been sent"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::Unavailable, "{kind}: {error:?}");
    let info = error.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("{kind}: {error:?}"));
    assert_eq!(info.reason, "NOT_SERVING", "{kind}");
}

async fn began<T>(mut stream: Streaming<T>) -> Streaming<T> {
    let first = tokio::time::timeout(SOON, stream.message()).await;
    first.expect("it begins").unwrap().expect("a message");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_is_told_and_the_service_ends_within_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start_with(&data, &["--drain-timeout", "10s"]);
    with_users(&service).await;

    let watch = WatchSegmentsRequest {
        segments: vec!["all".into()],
        ..WatchSegmentsRequest::default()
    };
    let mut segments = SegmentServiceClient::new(connect(&service).await);
    let watch = began(segments.watch_segments(watch).await.unwrap().into_inner()).await;

    let members = StreamMembersRequest {
        selection: Some(stream_members_request::Selection::Filter("TRUE".into())),
        ..StreamMembersRequest::default()
    };
    let mut query = QueryServiceClient::new(connect(&service).await);
    let members = began(query.stream_members(members).await.unwrap().into_inner()).await;

    let export = ExportMembersRequest {
        selections: everyone(),
        format: ExportFormat::Ids.into(),
        ..ExportMembersRequest::default()
    };
    let mut query = QueryServiceClient::new(connect(&service).await);
    let export = began(query.export_members(export).await.unwrap().into_inner()).await;

    let mut admin = AdminServiceClient::new(connect(&service).await);
    let backup = admin.backup(BackupRequest::default()).await.unwrap();
    let backup = began(backup.into_inner()).await;

    let (batches, receiver) = tokio::sync::mpsc::channel(4);
    let mut ingest = IngestServiceClient::new(connect(&service).await);
    let writes = ingest.write_stream(ReceiverStream::new(receiver));
    let batch = WriteStreamRequest {
        sequence: 1,
        updates: vec![update(USERS)],
        ..WriteStreamRequest::default()
    };
    batches.send(batch).await.unwrap();
    // Its answer says that the batch is kept.
    let writes = began(writes.await.unwrap().into_inner()).await;

    let mut health = HealthClient::new(connect(&service).await);
    let health = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut health = health.into_inner();
    let status = health.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::Serving);

    // Who is connected and says nothing, not even that it is HTTP/2.
    let idle = connect(&service).await;
    let silent = TcpStream::connect(service.address().trim_start_matches("http://")).unwrap();

    let told = Instant::now();
    service.signal("TERM");
    let status = health.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    is_told("WatchSegments", watch).await;
    is_told("StreamMembers", members).await;
    is_told("ExportMembers", export).await;
    is_told("Backup", backup).await;
    is_told("WriteStream", writes).await;
    // No status is left to watch.
    while health
        .message()
        .await
        .is_ok_and(|message| message.is_some())
    {}
    drop(silent);
    assert_eq!(service.ended_within(SOON), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
    drop((idle, batches));

    let service = Service::start(&data);
    assert_eq!(service.count("TRUE"), USERS as u64 + 1);
}

/// Who reads nothing can't be told anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_waited_for_longer_than_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start_with(&data, &["--drain-timeout", "1s"]);
    let unread = unread_stream(&service).await;
    let told = Instant::now();
    service.signal("TERM");
    assert_eq!(service.ended_within(SOON), Some(0));
    assert!(
        told.elapsed() >= Duration::from_secs(1),
        "it was not waited for"
    );
    drop(unread);
    is_whole(&data);
}

/// Nor is one that is connected and never says what it wants.
#[tokio::test]
async fn a_connection_that_says_nothing_is_not_waited_for_longer_than_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start_with(&data, &["--drain-timeout", "1s"]);
    let silent = TcpStream::connect(service.address().trim_start_matches("http://")).unwrap();
    assert_eq!(service.ask(&["health"]).code, 0);
    service.signal("TERM");
    assert_eq!(service.ended_within(SOON), Some(0));
    drop(silent);
}

/// A stream that has more than its client takes, and the connection that it belongs to.
async fn unread_stream(service: &Service) -> (Channel, Streaming<StreamMembersResponse>) {
    with_users(service).await;
    let members = StreamMembersRequest {
        selection: Some(stream_members_request::Selection::Filter("TRUE".into())),
        ..StreamMembersRequest::default()
    };
    let channel = connect(service).await;
    let mut query = QueryServiceClient::new(channel.clone());
    let stream = query.stream_members(members).await.unwrap().into_inner();
    let stream = began(stream).await;
    // So that what comes behind the first message was sent as far as there is room for it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    (channel, stream)
}

fn is_whole(data: &Path) {
    let service = Service::start(data);
    assert_eq!(service.count("TRUE"), USERS as u64);
    assert_eq!(service.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_it_twice_does_not_wait() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT")] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut service = Service::start_with(&data, &["--drain-timeout", "1h"]);
        let unread = unread_stream(&service).await;
        service.signal(first);
        assert_eq!(service.ended_within(Duration::from_millis(500)), None);
        service.signal(second);
        assert_eq!(service.ended_within(SOON), Some(4));
        drop(unread);
        is_whole(&data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_before_service() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start_with(&data, &["--drain-grace", "4s"]);
    let mut health = HealthClient::new(connect(&service).await);
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    watch.message().await.unwrap();
    let told = Instant::now();
    service.signal("TERM");
    let status = watch.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    // Also to those who come now, and all that is asked is still answered.
    let Ended { code, out, .. } = service.ask(&["health"]);
    assert_eq!((code, out.as_str()), (1, "not serving\n"));
    assert_eq!(service.ask(&["health", "live"]).code, 0);
    let count = CountRequest {
        selection: Some(count_request::Selection::Filter("TRUE".into())),
        ..CountRequest::default()
    };
    let mut query = QueryServiceClient::new(connect(&service).await);
    query.count(count).await.unwrap();
    let write = WriteRequest {
        updates: vec![update(1)],
        ..WriteRequest::default()
    };
    let mut ingest = IngestServiceClient::new(connect(&service).await);
    ingest.write(write).await.unwrap();
    assert_eq!(service.ended_within(SOON), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(4));
    let service = Service::start(&data);
    assert_eq!(service.count("TRUE"), 1);
}

/// A hangup asks for files to be read again, of which there are none here.
#[test]
fn a_hangup_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(&folder.path().join("data"));
    service.signal("HUP");
    assert_eq!(service.ended_within(Duration::from_millis(500)), None);
    assert_eq!(service.ask(&["health"]).code, 0);
    service.signal("HUP");
    assert_eq!(service.terminate(), 0);
}
