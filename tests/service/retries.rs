//! What is sent again takes effect once: request ids, and streams that are resumed.

use std::path::Path;
use std::sync::Arc;

use headcount::api::RpcStatus;
use headcount::proto::{
    CreateSnapshotRequest, DeleteUserRequest, DeleteUserResponse, StreamOpened, UserUpdate,
    WriteRequest, WriteResponse, WriteStreamRequest, WriteStreamResponse,
};
use headcount::server::ServerConfig;
use headcount::storage::Disk;
use headcount::testing::disk::{Crash, Failure, LyingDisk};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::harness::{Service, counting, expect_error, fact, instant, int, map, set, text, user};

fn increment(user_id: &str) -> UserUpdate {
    UserUpdate {
        increment: map(&[("n", int(1))]),
        ..user(user_id)
    }
}

async fn write(
    service: &Service,
    request_id: &str,
    updates: Vec<UserUpdate>,
) -> Result<WriteResponse, RpcStatus> {
    let request = WriteRequest {
        request_id: request_id.into(),
        updates,
        ..WriteRequest::default()
    };
    Ok(service.ingest().write(request).await?.into_inner())
}

#[tokio::test]
async fn a_write_that_is_sent_again_is_answered_as_the_first_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start_in(folder.path()).await;
    let id = "ü".repeat(64);
    let first = write(&service, &id, vec![increment("u")]).await.unwrap();
    assert!(!first.replayed);
    for snapshot in [false, true, true] {
        if snapshot {
            let request = CreateSnapshotRequest {};
            service.admin().create_snapshot(request).await.unwrap();
        }
        service.write(vec![user("another")]).await;
        let again = write(&service, &id, vec![increment("u")]).await.unwrap();
        let replayed = WriteResponse {
            replayed: true,
            ..first.clone()
        };
        assert_eq!(again, replayed);
        assert_eq!(service.count("n = 1").await, 1);
        service.stop().await;
        service = Service::start_in(folder.path()).await;
    }
    // Without an id, and with another one, it is another write; so it is in another population.
    service.write(vec![increment("u")]).await;
    let other = write(&service, "other", vec![increment("u")]).await;
    assert!(!other.unwrap().replayed);
    assert_eq!(service.count("n = 3").await, 1);
    let elsewhere = WriteRequest {
        population: "drivers".into(),
        request_id: id,
        updates: vec![increment("u")],
    };
    let response = service.ingest().write(elsewhere).await.unwrap();
    assert!(!response.into_inner().replayed);
    service.stop().await;
}

#[tokio::test]
async fn an_id_is_not_for_two_requests() {
    let service = Service::start().await;
    write(&service, "r", vec![increment("u")]).await.unwrap();
    let before = service.everything().await;
    for other in [
        vec![increment("v")],
        vec![increment("u"), increment("u")],
        vec![user("u")],
    ] {
        let refused = write(&service, "r", other).await;
        let status = expect_error(
            refused,
            Code::FailedPrecondition,
            "REQUEST_ID_REUSED",
            Some("request_id"),
        );
        assert!(status.message().contains("an id of its own"));
    }
    let deletion = DeleteUserRequest {
        user_id: "u".into(),
        request_id: "r".into(),
        ..DeleteUserRequest::default()
    };
    let refused = service.user().delete_user(deletion).await;
    expect_error(
        refused,
        Code::FailedPrecondition,
        "REQUEST_ID_REUSED",
        Some("request_id"),
    );
    assert_eq!(service.everything().await, before);
    // The first one is known still.
    let again = write(&service, "r", vec![increment("u")]).await.unwrap();
    assert!(again.replayed);
    service.stop().await;
}

#[tokio::test]
async fn an_id_that_is_too_long_is_refused() {
    let service = Service::start().await;
    let refused = write(&service, &"x".repeat(129), vec![increment("u")]).await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("request_id"),
    );
    assert_eq!(fact(&status, "limit"), "request_id_bytes");
    assert_eq!(service.count("TRUE").await, 0);
    service.stop().await;
}

#[tokio::test]
async fn a_refusal_is_repeated_and_says_so() {
    let service = Service::start().await;
    service.write(vec![set("u", &[("n", text("none"))])]).await;
    let bad = || vec![user("v"), increment("u")];
    let field = Some(r#"updates[1].increment["n"]"#);
    let reason = "PROPERTY_TYPE_CONFLICT";
    let refused = write(&service, "r", bad()).await;
    let first = expect_error(refused, Code::FailedPrecondition, reason, field);
    // It would be accepted now.
    let request = headcount::proto::DeletePropertyRequest {
        name: "n".into(),
        ..Default::default()
    };
    service.schema().delete_property(request).await.unwrap();
    let refused = write(&service, "r", bad()).await;
    let again = expect_error(refused, Code::FailedPrecondition, reason, field);
    assert_eq!(again.message(), first.message());
    assert_eq!(fact(&again, "replayed"), "true");
    assert_eq!(fact(&again, "expected"), fact(&first, "expected"));
    assert_eq!(service.members("TRUE").await, ["u"]);
    // What is malformed was never carried out, so that its id is free.
    let malformed = write(&service, "new", vec![user("")]).await;
    expect_error(
        malformed,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("updates[0].user_id"),
    );
    let mended = write(&service, "new", vec![user("w")]).await.unwrap();
    assert!(!mended.replayed);
    service.stop().await;
}

#[tokio::test]
async fn what_was_stale_is_told_again() {
    let service = Service::start().await;
    let timed = |at: &str| UserUpdate {
        value_time: Some(instant(at)),
        ..set("u", &[("a", int(1)), ("b", int(2)), ("c", int(3))])
    };
    let newer = UserUpdate {
        value_time: Some(instant("2026-01-03")),
        ..set("u", &[("a", int(9)), ("c", int(9))])
    };
    service.write(vec![timed("2026-01-01"), newer]).await;
    let late = || vec![user("v"), timed("2026-01-02"), timed("2026-01-01")];
    let first = write(&service, "r", late()).await.unwrap();
    assert_eq!(first.stale_changes.len(), 5);
    let again = write(&service, "r", late()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.stale_changes, first.stale_changes);
    service.stop().await;
}

#[tokio::test]
async fn a_deletion_that_is_sent_again_erases_nobody_new() {
    let service = Service::start().await;
    service.write(vec![set("u", &[("n", int(1))])]).await;
    let request = || DeleteUserRequest {
        user_id: "u".into(),
        request_id: "d".into(),
        ..DeleteUserRequest::default()
    };
    let first = service.user().delete_user(request()).await.unwrap();
    let first = first.into_inner();
    assert!(first.existed && !first.replayed);
    // A new user of the same id.
    service.write(vec![set("u", &[("n", int(2))])]).await;
    let again = service.user().delete_user(request()).await.unwrap();
    let replayed = DeleteUserResponse {
        replayed: true,
        ..first
    };
    assert_eq!(again.into_inner(), replayed);
    assert_eq!(service.count("n = 2").await, 1);

    // Who was not there then is not erased later.
    let request = || DeleteUserRequest {
        user_id: "late".into(),
        request_id: "e".into(),
        ..DeleteUserRequest::default()
    };
    let missing = service.user().delete_user(request()).await;
    expect_error(missing, Code::NotFound, "USER_NOT_FOUND", None);
    service.write(vec![user("late")]).await;
    let again = service.user().delete_user(request()).await;
    let status = expect_error(again, Code::NotFound, "USER_NOT_FOUND", None);
    assert_eq!(fact(&status, "replayed"), "true");
    assert_eq!(service.members("TRUE").await, ["u", "late"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_the_same_time_one_takes_effect() {
    let service = Service::start().await;
    let mut tasks = Vec::new();
    for sender in 0..8 {
        let mut ingest = service.ingest();
        tasks.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for number in 0..50 {
                // Each in another order.
                let request = WriteRequest {
                    request_id: format!("r{}", (number + 7 * sender) % 50),
                    updates: vec![increment("u")],
                    ..WriteRequest::default()
                };
                let response = ingest.write(request.clone()).await.unwrap().into_inner();
                answers.push((request.request_id, response));
            }
            answers
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap());
    }
    for number in 0..50 {
        let id = format!("r{number}");
        let of_one: Vec<_> = answers.iter().filter(|(other, _)| *other == id).collect();
        let revision = &of_one[0].1.revision;
        assert!(
            of_one
                .iter()
                .all(|(_, answer)| answer.revision == *revision)
        );
        let first = of_one.iter().filter(|(_, answer)| !answer.replayed);
        assert_eq!((of_one.len(), first.count()), (8, 1));
    }
    assert_eq!(service.count("n = 50").await, 1);
    service.stop().await;
}

/// A connection to a stream.
struct Stream {
    requests: mpsc::Sender<WriteStreamRequest>,
    answers: Streaming<WriteStreamResponse>,
}

fn batch(sequence: u64, updates: Vec<UserUpdate>) -> WriteStreamRequest {
    WriteStreamRequest {
        sequence,
        updates,
        ..WriteStreamRequest::default()
    }
}

fn opening(stream_id: &str) -> WriteStreamRequest {
    WriteStreamRequest {
        stream_id: stream_id.into(),
        ..WriteStreamRequest::default()
    }
}

impl Stream {
    async fn start(service: &Service) -> Self {
        let (requests, receiver) = mpsc::channel(1_000);
        let response = service
            .ingest()
            .write_stream(ReceiverStream::new(receiver))
            .await
            .unwrap();
        Self {
            requests,
            answers: response.into_inner(),
        }
    }

    /// Opens a stream; returns how far it got.
    async fn open(service: &Service, stream_id: &str) -> (Self, u64) {
        let mut stream = Self::start(service).await;
        stream.send(opening(stream_id)).await;
        let answer = stream.answer().await.unwrap();
        let opened = answer.opened.expect("the stream is opened");
        assert_eq!(opened.revision.is_empty(), opened.last_sequence == 0);
        (stream, opened.last_sequence)
    }

    async fn send(&self, request: WriteStreamRequest) {
        // The answers say why it ended, if it did.
        let _ = self.requests.send(request).await;
    }

    async fn increment(&self, sequence: u64) {
        self.send(batch(sequence, vec![increment("u")])).await;
    }

    async fn answer(&mut self) -> Result<WriteStreamResponse, RpcStatus> {
        Ok(self.answers.message().await?.expect("an answer"))
    }

    /// The next answers, as sequence and whether it was replayed.
    async fn answered(&mut self, number: usize) -> Vec<(u64, bool)> {
        let mut answers = Vec::new();
        for _ in 0..number {
            let answer = self.answer().await.unwrap();
            assert!(answer.error.is_none() && answer.opened.is_none());
            assert!(!answer.revision.is_empty());
            answers.push((answer.sequence, answer.replayed));
        }
        answers
    }
}

#[tokio::test]
async fn a_stream_that_is_resumed_says_where_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    let (mut stream, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 0);
    for sequence in [2, 4, 6, 8] {
        stream.increment(sequence).await;
    }
    let fresh = [(2, false), (4, false), (6, false), (8, false)];
    assert_eq!(stream.answered(4).await, fresh);
    drop(stream);
    service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await
        .unwrap();
    service.stop().await;

    let service = Service::start_in(folder.path()).await;
    let (mut stream, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 8);
    for sequence in [4, 6, 7, 8, 10] {
        stream.increment(sequence).await;
    }
    let answers = [(4, true), (6, true), (7, true), (8, true), (10, false)];
    assert_eq!(stream.answered(5).await, answers);
    assert_eq!(service.count("n = 5").await, 1);
    // Who leaves out what it need not send again does not leave a gap.
    let (mut stream, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 10);
    for sequence in [6, 12] {
        stream.increment(sequence).await;
    }
    assert_eq!(stream.answered(2).await, [(6, true), (12, false)]);
    assert_eq!(service.count("n = 6").await, 1);
    // Another stream begins at the beginning, and so does the same in another population.
    assert_eq!(Stream::open(&service, "t").await.1, 0);
    let mut elsewhere = Stream::start(&service).await;
    let request = WriteStreamRequest {
        population: "drivers".into(),
        sequence: 3,
        updates: vec![increment("u")],
        ..opening("s")
    };
    elsewhere.send(request).await;
    let answer = elsewhere.answer().await.unwrap();
    assert_eq!(answer.opened, Some(StreamOpened::default()));
    assert_eq!(elsewhere.answered(1).await, [(3, false)]);
    service.stop().await;
}

#[tokio::test]
async fn a_refused_batch_uses_up_its_sequence_and_is_refused_again() {
    let service = Service::start().await;
    service.write(vec![set("x", &[("n", int(1))])]).await;
    let bad = || batch(2, vec![set("u", &[("n", text("none"))])]);
    let (mut stream, _) = Stream::open(&service, "s").await;
    stream.increment(1).await;
    stream.send(bad()).await;
    stream.increment(3).await;
    assert_eq!(stream.answered(1).await, [(1, false)]);
    let first = stream.answer().await.unwrap();
    assert_eq!((first.sequence, first.replayed), (2, false));
    assert_eq!(
        first.error.clone().unwrap().reason,
        "PROPERTY_TYPE_CONFLICT"
    );
    assert_eq!(stream.answered(1).await, [(3, false)]);
    drop(stream);

    // Who did not hear of it is told when it sends the batch again.
    let (mut stream, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 3);
    stream.increment(1).await;
    stream.send(bad()).await;
    stream.increment(3).await;
    assert_eq!(stream.answered(1).await, [(1, true)]);
    let again = stream.answer().await.unwrap();
    let replayed = WriteStreamResponse {
        replayed: true,
        ..first
    };
    assert_eq!(again, replayed);
    assert_eq!(stream.answered(1).await, [(3, true)]);
    assert_eq!(service.count("n = 2").await, 1);
    service.stop().await;
}

/// A population appears with what is remembered of it.
#[tokio::test]
async fn a_stream_can_begin_with_a_refusal() {
    let service = Service::start().await;
    let mut stream = Stream::start(&service).await;
    let in_drivers = |sequence, updates| WriteStreamRequest {
        population: "drivers".into(),
        ..batch(sequence, updates)
    };
    let bad = vec![set("u", &[("n", text("none"))]), increment("u")];
    let first = WriteStreamRequest {
        stream_id: "s".into(),
        ..in_drivers(1, bad)
    };
    stream.send(first).await;
    stream.send(in_drivers(2, vec![increment("u")])).await;
    stream.answer().await.unwrap().opened.unwrap();
    let refused = stream.answer().await.unwrap();
    assert_eq!(refused.error.unwrap().reason, "PROPERTY_TYPE_CONFLICT");
    assert_eq!(stream.answered(1).await, [(2, false)]);
    let mut request = counting("n = 1");
    request.population = "drivers".into();
    let response = service.query().count(request).await.unwrap();
    assert_eq!(response.into_inner().count, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_malformed_batch_ends_a_resumable_stream_before_what_follows() {
    let service = Service::start().await;
    let (mut stream, _) = Stream::open(&service, "s").await;
    stream.increment(1).await;
    stream.send(batch(2, vec![user("")])).await;
    stream.increment(3).await;
    assert_eq!(stream.answered(1).await, [(1, false)]);
    expect_error(
        stream.answer().await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("updates[0].user_id"),
    );
    let (mut stream, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 1);
    for sequence in [2, 3] {
        stream.increment(sequence).await;
    }
    assert_eq!(stream.answered(2).await, [(2, false), (3, false)]);
    assert_eq!(service.count("n = 3").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn two_connections_with_one_id_carry_each_sequence_out_once() {
    let service = Service::start().await;
    let (mut one, _) = Stream::open(&service, "s").await;
    let (mut other, last) = Stream::open(&service, "s").await;
    assert_eq!(last, 0);
    one.increment(1).await;
    assert_eq!(one.answered(1).await, [(1, false)]);
    for sequence in [1, 2] {
        other.increment(sequence).await;
    }
    assert_eq!(other.answered(2).await, [(1, true), (2, false)]);
    one.increment(2).await;
    assert_eq!(one.answered(1).await, [(2, true)]);
    one.increment(3).await;
    assert_eq!(one.answered(1).await, [(3, false)]);
    // This one does not know of 3.
    other.increment(4).await;
    other.increment(5).await;
    let status = expect_error(
        other.answer().await,
        Code::Aborted,
        "SEQUENCE_CONFLICT",
        Some("sequence"),
    );
    assert_eq!(fact(&status, "last_sequence"), "3");
    assert_eq!(service.count("n = 3").await, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_with_one_id_share_the_work_without_doubling_it() {
    const LAST: u64 = 400;
    let service = Arc::new(Service::start().await);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let service = Arc::clone(&service);
        tasks.push(tokio::spawn(async move {
            loop {
                let (mut stream, last) = Stream::open(&service, "s").await;
                for sequence in last + 1..=LAST {
                    stream.increment(sequence).await;
                }
                let mut reached = last;
                while reached < LAST {
                    match stream.answer().await {
                        Ok(answer) => reached = answer.sequence,
                        Err(status) => {
                            assert_eq!(status.code(), Code::Aborted, "{status}");
                            break;
                        }
                    }
                }
                if reached == LAST {
                    return;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(service.count(&format!("n = {LAST}")).await, 1);
    Arc::into_inner(service).unwrap().stop().await;
}

#[tokio::test]
async fn messages_that_do_not_fit_a_resumable_stream_end_it() {
    let service = Service::start().await;
    let fits = batch(1, vec![increment("u")]);
    let cases = [
        (
            WriteStreamRequest {
                stream_id: "other".into(),
                ..fits.clone()
            },
            "stream_id",
        ),
        (
            WriteStreamRequest {
                population: "drivers".into(),
                ..fits.clone()
            },
            "population",
        ),
        (batch(0, vec![increment("u")]), "sequence"),
    ];
    for (request, field) in cases {
        let (mut stream, _) = Stream::open(&service, "s").await;
        stream.send(request).await;
        expect_error(
            stream.answer().await,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some(field),
        );
    }
    let mut late = Stream::start(&service).await;
    late.send(fits.clone()).await;
    assert_eq!(late.answered(1).await, [(1, false)]);
    late.send(WriteStreamRequest {
        stream_id: "s".into(),
        ..batch(2, vec![increment("u")])
    })
    .await;
    expect_error(
        late.answer().await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("stream_id"),
    );
    let mut long = Stream::start(&service).await;
    long.send(opening(&"x".repeat(129))).await;
    expect_error(
        long.answer().await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("stream_id"),
    );
    // The id may be repeated.
    let (mut stream, _) = Stream::open(&service, "s").await;
    stream
        .send(WriteStreamRequest {
            stream_id: "s".into(),
            ..fits
        })
        .await;
    assert_eq!(stream.answered(1).await, [(1, false)]);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_a_failed_disk_broke_goes_on_where_it_was() {
    let disk = LyingDisk::new();
    let start = |disk: &LyingDisk| {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        async move { Service::start_on(&disk, Path::new("/data"), ServerConfig::default()).await }
    };
    for (fails_at, crash) in [
        (3, Crash::LosesAll),
        (3, Crash::KeepsAll),
        (8, Crash::KeepsAll),
    ] {
        let broken = disk.copy();
        let service = start(&broken).await;
        let (mut stream, _) = Stream::open(&service, "s").await;
        broken.fail_at(broken.operations() + fails_at, Failure::PowerOut);
        let (mut sent, mut acknowledged) = (0, 0);
        let status = loop {
            while sent < acknowledged + 2 {
                sent += 1;
                stream.increment(sent).await;
            }
            match stream.answer().await {
                Ok(answer) => {
                    acknowledged += 1;
                    assert_eq!((answer.sequence, answer.replayed), (acknowledged, false));
                }
                Err(status) => break status,
            }
        };
        expect_error(
            Err::<(), _>(status),
            Code::Unavailable,
            "STORAGE_READ_ONLY",
            None,
        );
        service.stop().await;

        let service = start(&broken.after_crash(crash)).await;
        let (mut stream, last) = Stream::open(&service, "s").await;
        assert!(last >= acknowledged && last <= acknowledged + 2, "{last}");
        for sequence in acknowledged + 1..=acknowledged + 4 {
            stream.increment(sequence).await;
        }
        let answers = stream.answered(4).await;
        assert!(
            answers
                .iter()
                .all(|(sequence, replayed)| *replayed == (*sequence <= last))
        );
        let filter = format!("n = {}", acknowledged + 4);
        assert_eq!(service.count(&filter).await, 1);
        service.stop().await;
    }
}
