//! Where there is more to do than can be done: what is refused and how, and that room comes back.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use headcount::api::RpcStatus;
use headcount::proto::{
    BackupRequest, CheckRequest, ExportMembersRequest, ListPropertiesRequest, Selection,
    StreamMembersRequest, WatchSegmentsRequest, WriteRequest, WriteStreamRequest, selection,
    stream_members_request,
};
use headcount::server::ServerConfig;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Bytes, Service as _};
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::harness::{Service, expect_error, fact, int, set, text};
use crate::segments::create;

/// The beginning of a body that does not end before it is told to.
struct Begun {
    first: Vec<u8>,
    end: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, RpcStatus>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(http_body::Frame::data(first.into()))));
        }
        let ended = self.end.lock().unwrap().poll_recv(context);
        ended.map(|_| None)
    }
}

/// A call whose request does not end.
struct Held {
    /// Ends the request when it is dropped.
    body: mpsc::Sender<()>,
    answer: JoinHandle<Response<Body>>,
}

/// Begins a call. Where another one took the room just then, it is tried again.
fn hold(mut channel: Channel, path: &str, first: &[u8]) -> Held {
    let (body, end) = mpsc::channel(1);
    let end = Arc::new(Mutex::new(end));
    let (first, uri) = (first.to_vec(), format!("http://127.0.0.1{path}"));
    let answer = tokio::spawn(async move {
        loop {
            let begun = Begun {
                first: first.clone(),
                end: Arc::clone(&end),
            };
            let request = Request::builder()
                .method("POST")
                .uri(&uri)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::new(begun))
                .unwrap();
            let ready = std::future::poll_fn(|context| channel.poll_ready(context));
            ready.await.unwrap();
            let answer = channel.call(request).await.unwrap();
            let status = RpcStatus::from_header_map(answer.headers());
            if !status.is_some_and(|status| status.code() == Code::ResourceExhausted) {
                return answer;
            }
        }
    });
    Held { body, answer }
}

/// The first 6,000 bytes of a request with a message of 9,000.
fn part() -> Vec<u8> {
    let mut part = vec![0, 0, 0, 0x23, 0x28];
    part.resize(6_000, 0);
    part
}

/// A call of each kind, and the limit of its room.
const KINDS: [(&str, &str); 6] = [
    ("/headcount.v1.QueryService/Check", "max_checks"),
    ("/headcount.v1.QueryService/Count", "max_queries"),
    ("/headcount.v1.IngestService/Write", "max_writes"),
    (
        "/headcount.v1.SchemaService/ListProperties",
        "max_other_calls",
    ),
    (
        "/headcount.v1.QueryService/StreamMembers",
        "max_read_streams",
    ),
    (
        "/headcount.v1.IngestService/WriteStream",
        "max_write_streams",
    ),
];

/// Asks one call of a kind.
async fn ask(service: &Service, path: &str) -> Result<(), RpcStatus> {
    match path.rsplit('/').next().unwrap() {
        "Check" => {
            let request = CheckRequest {
                user_id: "u".into(),
                filters: vec!["age = 5".into()],
                ..Default::default()
            };
            let answer = service.query().check(request).await?;
            assert_eq!(answer.into_inner().members, [true]);
        }
        "Count" => assert_eq!(service.try_count("age > 4").await?, 1),
        "Write" => {
            service
                .try_write(vec![set("u", &[("age", int(5))])])
                .await?;
        }
        "ListProperties" => {
            let request = ListPropertiesRequest::default();
            let answer = service.schema().list_properties(request).await?;
            assert!(!answer.into_inner().properties.is_empty());
        }
        "StreamMembers" => {
            let answer = service.query().stream_members(streaming()).await?;
            let mut answer = answer.into_inner();
            let part = answer.message().await?.expect("a part");
            assert_eq!(part.user_ids, ["u"]);
            assert!(answer.message().await?.is_none());
        }
        "WriteStream" => {
            let batch = WriteStreamRequest {
                sequence: 1,
                updates: vec![set("u", &[("age", int(5))])],
                ..Default::default()
            };
            let requests = tokio_stream::iter([batch]);
            let mut answers = service.ingest().write_stream(requests).await?.into_inner();
            let answer = answers.message().await?.expect("an answer");
            assert_eq!(answer.error, None);
            assert!(answers.message().await?.is_none());
        }
        other => panic!("{other}"),
    }
    Ok(())
}

fn streaming() -> StreamMembersRequest {
    let filter = stream_members_request::Selection::Filter("TRUE".into());
    StreamMembersRequest {
        selection: Some(filter),
        ..Default::default()
    }
}

/// Asks until there is an outcome of the wanted sort; what is held or given back elsewhere is so only
/// after a moment.
async fn until<T>(
    mut ask: impl AsyncFnMut() -> Result<(), RpcStatus>,
    wanted: impl Fn(Result<(), RpcStatus>) -> Option<T>,
) -> T {
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(found) = wanted(ask().await) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    found.await.expect("the outcome that is waited for")
}

async fn until_refused(service: &Service, path: &str) -> RpcStatus {
    until(async || ask(service, path).await, Result::err).await
}

async fn until_served(service: &Service, path: &str) {
    until(async || ask(service, path).await, Result::ok).await;
}

#[track_caller]
fn expect_overloaded(status: RpcStatus, limit: &str, allowed: u64) {
    let status = expect_error::<()>(Err(status), Code::ResourceExhausted, "OVERLOADED", None);
    assert_eq!(fact(&status, "limit"), limit);
    assert_eq!(fact(&status, "allowed"), allowed.to_string());
    let retry = status.get_details_retry_info().expect("a delay");
    let delay = retry.retry_delay.expect("a delay");
    assert!(delay >= Duration::from_millis(10) && delay <= Duration::from_secs(1));
}

/// A service with room for one call of each kind.
async fn narrow(folder: &tempfile::TempDir) -> Service {
    let config = ServerConfig {
        checks: 1,
        queries: 1,
        writes: 1,
        other_calls: 1,
        read_streams: 1,
        write_streams: 1,
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    service.write(vec![set("u", &[("age", int(5))])]).await;
    service
}

#[tokio::test]
async fn where_one_kind_has_no_room_the_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let service = narrow(&folder).await;
    for (full, limit) in KINDS {
        let held = hold(service.channel.clone(), full, &[]);
        expect_overloaded(until_refused(&service, full).await, limit, 1);
        for (other, _) in KINDS {
            if other != full {
                ask(&service, other).await.unwrap();
            }
        }
        // The client calls it off.
        held.answer.abort();
        drop(held);
        until_served(&service, full).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn room_comes_back_when_a_call_ends_and_when_its_connection_dies() {
    let folder = tempfile::tempdir().unwrap();
    let service = narrow(&folder).await;
    for (path, _) in KINDS {
        let held = hold(service.channel.clone(), path, &[]);
        until_refused(&service, path).await;
        // The request ends without a message, which is an error and an end.
        drop(held.body);
        held.answer.await.unwrap();
        until_served(&service, path).await;

        let other = service.connect().await;
        let held = hold(other, path, &[]);
        until_refused(&service, path).await;
        // With the task goes the only handle on the connection.
        held.answer.abort();
        drop(held);
        until_served(&service, path).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn streams_that_are_dropped_give_their_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let service = narrow(&folder).await;
    create(&service, "old", "age > 4").await;
    let path = "/headcount.v1.QueryService/StreamMembers";
    let is_full =
        async || expect_overloaded(until_refused(&service, path).await, "max_read_streams", 1);

    let mut segments = service.segments();
    let watching = segments.watch_segments(WatchSegmentsRequest::default());
    let watching = watching.await.unwrap();
    is_full().await;
    drop(watching);
    until_served(&service, path).await;

    let backup = service
        .admin()
        .backup(BackupRequest::default())
        .await
        .unwrap();
    drop(backup);
    until_served(&service, path).await;

    let export = ExportMembersRequest {
        selections: vec![Selection {
            selection: Some(selection::Selection::Filter("TRUE".into())),
        }],
        ..Default::default()
    };
    let export = service.query().export_members(export).await.unwrap();
    drop(export);
    until_served(&service, path).await;

    let members = service.query().stream_members(streaming()).await.unwrap();
    drop(members);
    until_served(&service, path).await;

    let (sender, receiver) = mpsc::channel(1);
    let mut ingest = service.ingest();
    let writing = ingest.write_stream(ReceiverStream::new(receiver));
    let writing = writing.await.unwrap();
    let path = "/headcount.v1.IngestService/WriteStream";
    expect_overloaded(until_refused(&service, path).await, "max_write_streams", 1);
    drop((writing, sender));
    until_served(&service, path).await;
    service.stop().await;
}

#[tokio::test]
async fn health_and_reflection_are_never_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        checks: 0,
        queries: 0,
        writes: 0,
        other_calls: 0,
        read_streams: 0,
        write_streams: 0,
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    for (path, limit) in KINDS {
        expect_overloaded(ask(&service, path).await.unwrap_err(), limit, 0);
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(service.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(
        answer.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    service.stop().await;
}

/// A write whose request has exactly so many bytes, with those before the message.
fn write_of(bytes: usize) -> WriteRequest {
    let mut padding = bytes % 800;
    loop {
        let mut updates = vec![set("v", &[("note", text(&"x".repeat(padding)))])];
        let note = text(&"x".repeat(500));
        while updates.iter().map(Message::encoded_len).sum::<usize>() + 540 < bytes {
            updates.push(set("u", &[("note", note.clone())]));
        }
        let request = WriteRequest {
            updates,
            ..Default::default()
        };
        let given = request.encoded_len() + 5;
        if given == bytes {
            return request;
        }
        padding = (padding + bytes)
            .checked_sub(given)
            .unwrap_or(padding + 100);
    }
}

#[tokio::test]
async fn requests_share_a_budget_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        request_bytes: 10_000,
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    service.write(vec![set("u", &[("age", int(5))])]).await;
    let write = async |bytes| service.ingest().write(write_of(bytes)).await.map(|_| ());

    for path in [
        "/headcount.v1.IngestService/Write",
        "/headcount.v1.IngestService/WriteStream",
    ] {
        // A stream is refused behind its headers, if a probe took the bytes just then: then anew.
        let (held, refused) = loop {
            let held = hold(service.channel.clone(), path, &part());
            let refused = until(async || write(4_001).await, Result::err);
            if let Ok(refused) = tokio::time::timeout(Duration::from_secs(1), refused).await {
                break (held, refused);
            }
        };
        expect_overloaded(refused, "max_request_bytes", 10_000);
        write(4_000).await.unwrap();
        write(3_999).await.unwrap();
        // Small ones are always taken, and so are other calls.
        assert_eq!(service.count("age > 4").await, 1);
        held.answer.abort();
        drop(held);
        until(async || write(4_001).await, Result::ok).await;
    }
    // Who is alone may be larger than all.
    until(async || write(20_000).await, Result::ok).await;
    service.stop().await;
}

#[tokio::test]
async fn who_sends_slowly_holds_nothing_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        writes: 1,
        request_bytes: 10_000,
        body_timeout: Duration::from_millis(200),
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    service.write(vec![set("u", &[("age", int(5))])]).await;
    let path = "/headcount.v1.IngestService/Write";
    let held = hold(service.channel.clone(), path, &part());
    let answer = held.answer.await.unwrap();
    let status = RpcStatus::from_header_map(answer.headers()).expect("a status");
    let status = expect_error::<()>(
        Err(status),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        None,
    );
    assert_eq!(fact(&status, "limit"), "body_timeout");
    until_served(&service, path).await;
    // A silent stream of writes goes on, since it may have nothing to say.
    let (sender, receiver) = mpsc::channel(1);
    let mut ingest = service.ingest();
    let answers = ingest.write_stream(ReceiverStream::new(receiver));
    let mut answers = answers.await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let batch = WriteStreamRequest {
        sequence: 1,
        updates: vec![set("u", &[("age", int(5))])],
        ..Default::default()
    };
    sender.send(batch).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().error, None);
    drop(sender);
    service.stop().await;
}

/// The only query thread, at work until it is released.
struct Busy {
    release: std::sync::mpsc::Sender<()>,
    work: JoinHandle<()>,
}

/// Lets a service learn that queries take some milliseconds, and then holds its thread.
async fn hold_queries(service: &Service) -> Busy {
    let engine = service.engine.clone();
    for _ in 0..200 {
        let mut turn = engine.enter_query().unwrap();
        let work = move || {
            turn.begin().unwrap();
            std::thread::sleep(Duration::from_millis(2));
        };
        engine.query(work).await.unwrap();
    }
    let (release, released) = std::sync::mpsc::channel();
    let work = tokio::spawn(async move {
        let work = move || assert!(released.recv().is_ok());
        engine.query(work).await.unwrap();
    });
    Busy { release, work }
}

/// Sends so many counts at once.
fn count_at_once(service: &Service, calls: i64) -> Vec<JoinHandle<Result<(), RpcStatus>>> {
    let call = |number: i64| {
        let mut client = service.query();
        let least = number % 100;
        tokio::spawn(async move {
            let request = crate::harness::counting(&format!("age >= {least} AND NOT age = -1"));
            let answer = client.count(request).await?;
            assert_eq!(i64::try_from(answer.into_inner().count), Ok(100 - least));
            Ok(())
        })
    };
    (0..calls).map(call).collect()
}

#[track_caller]
fn expect_long_line(refused: Result<(), RpcStatus>, least: Duration) {
    let status = expect_error(refused, Code::ResourceExhausted, "OVERLOADED", None);
    assert_eq!(fact(&status, "limit"), "query_wait");
    let retry = status.get_details_retry_info().expect("a delay");
    let delay = retry.retry_delay.expect("a delay");
    assert!(
        delay >= least && delay <= Duration::from_secs(1),
        "{delay:?}"
    );
}

async fn with_ages() -> Service {
    let service = Service::start().await;
    let updates = (0..100).map(|number| set(&format!("u{number}"), &[("age", int(number))]));
    service.write(updates.collect()).await;
    service
}

#[tokio::test]
async fn a_burst_of_counts_is_answered_whole() {
    let service = with_ages().await;
    let busy = hold_queries(&service).await;
    let calls = count_at_once(&service, 128);
    // All wait, which takes some hundred milliseconds by what queries took so far.
    let all_wait = tokio::time::timeout(Duration::from_secs(30), async {
        while service.engine.queries() < 128 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    all_wait.await.expect("none is refused");
    busy.release.send(()).unwrap();
    busy.work.await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    service.stop().await;
}

#[tokio::test]
async fn queries_beyond_a_burst_are_refused_until_those_before_are_done() {
    let service = with_ages().await;
    let busy = hold_queries(&service).await;
    let mut calls = count_at_once(&service, 400);
    // Those that are refused are so while the others wait.
    let refused = tokio::time::timeout(Duration::from_secs(30), async {
        while calls.iter().filter(|call| call.is_finished()).count() < 400 - 128 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        calls
            .extract_if(.., |call| call.is_finished())
            .collect::<Vec<_>>()
    });
    let refused = refused.await.expect("refusals");
    assert_eq!((refused.len(), calls.len()), (400 - 128, 128));
    for call in refused {
        // As long as 128 take that take 2 ms or more each.
        expect_long_line(call.await.unwrap(), Duration::from_millis(200));
    }
    // What does not wait for the thread is served meanwhile.
    let updates = vec![set("u0", &[("plan", text("pro"))])];
    service.write(updates).await;
    busy.release.send(()).unwrap();
    busy.work.await.unwrap();
    for call in calls {
        // Those that waited for too long are refused as well.
        if let Err(refusal) = call.await.unwrap() {
            expect_long_line(Err(refusal), Duration::from_millis(10));
        }
    }
    // Before long, a burst is answered whole again.
    let recovers = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let mut answered = 0;
            for call in count_at_once(&service, 64) {
                answered += usize::from(call.await.unwrap().is_ok());
            }
            if answered == 64 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    recovers.await.expect("a burst that is answered");
    service.stop().await;
}
