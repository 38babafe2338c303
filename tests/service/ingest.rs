//! Writes: what each change does, atomicity, order, streams.

use std::time::Duration;

use headcount::proto::{
    self, UserUpdate, WriteRequest, WriteStreamRequest, WriteStreamResponse, value::Kind,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::harness::{
    Service, counting, double, expect_error, instant, int, map, set, set_of, text, texts, user,
    value,
};

async fn properties(service: &Service, user_id: &str) -> Vec<(String, proto::Value)> {
    let request = proto::GetUserRequest {
        user_id: user_id.into(),
        ..Default::default()
    };
    let response = service.user().get_user(request).await.unwrap();
    let user = response.into_inner().user.unwrap();
    user.properties.into_iter().collect()
}

fn named(name: &str, value: proto::Value) -> (String, proto::Value) {
    (name.into(), value)
}

#[tokio::test]
async fn all_seven_types_are_kept() {
    let service = Service::start().await;
    let time = value(Kind::TimestampValue(instant("2026-01-31T09:30:00.000001Z")));
    service
        .write(vec![set(
            "u",
            &[
                ("bool", value(Kind::BoolValue(true))),
                ("double", double(-0.0)),
                ("int64", int(i64::MIN)),
                ("set", set_of(&["b", "a", "b"])),
                ("string", text("")),
                ("timestamp", time.clone()),
                ("version", value(Kind::VersionValue("2.10+build".into()))),
            ],
        )])
        .await;
    assert_eq!(
        properties(&service, "u").await,
        [
            named("bool", value(Kind::BoolValue(true))),
            named("double", double(0.0)),
            named("int64", int(i64::MIN)),
            named("set", set_of(&["a", "b"])),
            named("string", text("")),
            named("timestamp", time),
            named("version", value(Kind::VersionValue("2.10.0".into()))),
        ]
    );
    service.stop().await;
}

#[tokio::test]
async fn every_kind_of_change_does_what_it_says() {
    let service = Service::start().await;
    service
        .write(vec![set(
            "u",
            &[("a", int(1)), ("b", int(2)), ("tags", set_of(&["x", "y"]))],
        )])
        .await;
    service
        .write(vec![UserUpdate {
            set: map(&[("b", value(Kind::NullValue(0)))]),
            set_once: map(&[("once", text("first"))]),
            unset: vec!["nothing there".into()],
            increment: map(&[("a", int(41)), ("visits", int(3))]),
            add_to_set: map(&[("more", texts(&["n"]))]),
            remove_from_set: map(&[("tags", texts(&["x", "z"]))]),
            ..user("u")
        }])
        .await;
    service
        .write(vec![UserUpdate {
            set_once: map(&[("once", text("second"))]),
            remove_from_set: map(&[("tags", texts(&["y"]))]),
            add_to_set: map(&[("more", texts(&["m", "n"]))]),
            ..user("u")
        }])
        .await;
    assert_eq!(
        properties(&service, "u").await,
        [
            named("a", int(42)),
            named("more", set_of(&["m", "n"])),
            named("once", text("first")),
            named("visits", int(3)),
        ]
    );
    // The last element is gone, and with it the set.
    assert_eq!(service.count("tags IS SET").await, 0);
    service.stop().await;
}

#[tokio::test]
async fn updates_of_one_request_apply_in_order() {
    let service = Service::start().await;
    service
        .write(vec![
            set("u", &[("n", int(1))]),
            UserUpdate {
                increment: map(&[("n", int(10))]),
                ..user("u")
            },
            set("v", &[("n", int(5))]),
            UserUpdate {
                increment: map(&[("n", int(100))]),
                ..user("u")
            },
        ])
        .await;
    assert_eq!(service.count("n = 111").await, 1);
    assert_eq!(service.count("n = 5").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_user_appears_with_an_empty_update() {
    let service = Service::start().await;
    service.write(vec![user("u")]).await;
    assert_eq!(service.count("TRUE").await, 1);
    assert!(properties(&service, "u").await.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_refused_request_changes_nothing() {
    let service = Service::start().await;
    service.write(vec![set("u", &[("age", int(15))])]).await;
    let before = service.everything().await;
    let refused = service.try_write(vec![
        set("new", &[("new property", text("x"))]),
        set("u", &[("age", int(16))]),
        UserUpdate {
            increment: map(&[("age", text("old"))]),
            ..user("u")
        },
    ]);
    expect_error(
        refused.await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some(r#"updates[2].increment["age"]"#),
    );
    // This one is well-formed: the log's order decides.
    let refused = service.try_write(vec![
        set("new", &[("new property", text("x"))]),
        set("u", &[("age", int(16))]),
        UserUpdate {
            add_to_set: map(&[("age", texts(&["old"]))]),
            ..user("u")
        },
    ]);
    expect_error(
        refused.await,
        Code::FailedPrecondition,
        "PROPERTY_TYPE_CONFLICT",
        Some(r#"updates[2].add_to_set["age"]"#),
    );
    assert_eq!(service.everything().await, before);
    let unknown = service.try_count("\"new property\" IS SET").await;
    expect_error(
        unknown,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("filter"),
    );
    service.stop().await;
}

#[tokio::test]
async fn the_newest_value_time_wins_and_an_older_one_is_told() {
    let service = Service::start().await;
    let timed = |at: &str, plan: &str| UserUpdate {
        value_time: Some(instant(at)),
        ..set("u", &[("plan", text(plan)), ("other", int(1))])
    };
    service.write(vec![timed("2026-01-02", "new")]).await;
    let request = WriteRequest {
        population: String::new(),
        updates: vec![user("v"), timed("2026-01-01", "old")],
        ..Default::default()
    };
    let response = service.ingest().write(request).await.unwrap().into_inner();
    let stale: Vec<(u32, &str)> = response
        .stale_changes
        .iter()
        .map(|change| (change.update_index, change.property.as_str()))
        .collect();
    assert_eq!(stale, [(1, "other"), (1, "plan")]);
    assert_eq!(service.count("plan = 'new'").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn populations_are_apart() {
    let service = Service::start().await;
    let request = WriteRequest {
        population: "drivers".into(),
        updates: vec![set("u", &[("stars", int(5))])],
        ..Default::default()
    };
    service.ingest().write(request).await.unwrap();
    assert_eq!(service.count("TRUE").await, 0);
    let mut counting = counting("stars = 5");
    counting.population = "drivers".into();
    let response = service.query().count(counting.clone()).await.unwrap();
    assert_eq!(response.into_inner().count, 1);

    counting.population = "driver".into();
    let refused = service.query().count(counting).await;
    let status = expect_error(refused, Code::NotFound, "POPULATION_NOT_FOUND", None);
    assert!(
        status.message().contains("\"drivers\""),
        "{}",
        status.message()
    );
    service.stop().await;
}

#[tokio::test]
async fn what_was_written_is_read_with_its_revision() {
    let service = Service::start().await;
    for n in 0..20 {
        let revision = service.write(vec![set("u", &[("n", int(n))])]).await;
        let mut request = counting(&format!("n = {n}"));
        request.min_revision = revision;
        let response = service.query().count(request).await.unwrap();
        assert_eq!(response.into_inner().count, 1);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_from_many_writers_all_count() {
    let service = Service::start().await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let mut ingest = service.ingest();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let updates = vec![UserUpdate {
                        increment: map(&[("n", int(1))]),
                        ..user("u")
                    }];
                    let request = WriteRequest {
                        population: String::new(),
                        updates,
                        ..Default::default()
                    };
                    ingest.write(request).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(service.count("n = 200").await, 1);
    service.stop().await;
}

fn batch(sequence: u64, updates: Vec<UserUpdate>) -> WriteStreamRequest {
    WriteStreamRequest {
        sequence,
        population: String::new(),
        updates,
        ..Default::default()
    }
}

async fn answers(
    mut stream: Streaming<WriteStreamResponse>,
) -> (Vec<WriteStreamResponse>, Option<headcount::api::RpcStatus>) {
    let mut answers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_answered_in_order_and_goes_on_after_a_refusal() {
    let service = Service::start().await;
    let batches = (1..=2_000_u64).map(|sequence| match sequence {
        700 => batch(sequence, vec![set("u", &[("n", text("no number"))])]),
        800 => batch(sequence, vec![]),
        900 => batch(sequence, vec![set("", &[])]),
        _ => batch(
            sequence,
            vec![UserUpdate {
                increment: map(&[("n", int(1))]),
                ..user("u")
            }],
        ),
    });
    let batches: Vec<_> = batches.collect();
    let response = service
        .ingest()
        .write_stream(tokio_stream::iter(batches))
        .await
        .unwrap();
    let (answers, end) = answers(response.into_inner()).await;
    assert!(end.is_none(), "{end:?}");
    let sequences: Vec<u64> = answers.iter().map(|answer| answer.sequence).collect();
    assert_eq!(sequences, (1..=2_000).collect::<Vec<_>>());
    let refused: Vec<(u64, &str, &str)> = answers
        .iter()
        .filter_map(|answer| {
            let error = answer.error.as_ref()?;
            assert!(answer.revision.is_empty());
            Some((answer.sequence, error.reason.as_str(), error.field.as_str()))
        })
        .collect();
    assert_eq!(
        refused,
        [
            (700, "PROPERTY_TYPE_CONFLICT", r#"updates[0].set["n"]"#),
            (800, "INVALID_FIELD", "updates"),
            (900, "INVALID_FIELD", "updates[0].user_id"),
        ]
    );
    assert_eq!(service.count("n = 1997").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn batches_are_answered_while_the_client_goes_on() {
    let service = Service::start().await;
    let (batches, receiver) = mpsc::channel(1);
    let response = service
        .ingest()
        .write_stream(ReceiverStream::new(receiver))
        .await
        .unwrap();
    let mut answers = response.into_inner();
    for sequence in [5, 6, 100] {
        let updates = vec![set("u", &[("n", int(1))])];
        batches.send(batch(sequence, updates)).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.sequence, sequence);
        assert!(!answer.revision.is_empty());
    }
    drop(batches);
    assert!(answers.message().await.unwrap().is_none());
    service.stop().await;
}

#[tokio::test]
async fn sequence_numbers_must_rise() {
    let service = Service::start().await;
    let update = |n| vec![set("u", &[("n", int(n))])];
    let batches = vec![
        batch(2, update(1)),
        batch(2, update(2)),
        batch(3, update(3)),
    ];
    let response = service
        .ingest()
        .write_stream(tokio_stream::iter(batches))
        .await
        .unwrap();
    let (answers, end) = answers(response.into_inner()).await;
    // What came before is answered.
    assert_eq!(answers.len(), 1);
    expect_error(
        Err::<(), _>(end.unwrap()),
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("sequence"),
    );
    assert_eq!(service.count("n = 1").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_ends_the_stream_with_a_clear_error() {
    let service = Service::start().await;
    let large = (0..600).map(|n| set(&format!("u{n}"), &[("x", text(&"x".repeat(1_000)))]));
    let mut updates: Vec<UserUpdate> = large.clone().collect();
    updates.extend(large);
    let batches = vec![batch(1, vec![user("u")]), batch(2, updates)];
    let response = service
        .ingest()
        .write_stream(tokio_stream::iter(batches))
        .await
        .unwrap();
    let (answers, end) = answers(response.into_inner()).await;
    assert_eq!(answers.len(), 1);
    expect_error(
        Err::<(), _>(end.unwrap()),
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        None,
    );
    service.stop().await;
}

#[tokio::test]
async fn an_open_stream_ends_when_the_server_stops() {
    let service = Service::start().await;
    let (batches, receiver) = mpsc::channel(1);
    let response = service
        .ingest()
        .write_stream(ReceiverStream::new(receiver))
        .await
        .unwrap();
    let mut answers = response.into_inner();
    batches.send(batch(1, vec![user("u")])).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 1);
    let began = std::time::Instant::now();
    let stopping = tokio::spawn(service.stop());
    let end = answers.message().await;
    expect_error(end, Code::Unavailable, "NOT_SERVING", None);
    stopping.await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}
