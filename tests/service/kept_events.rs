//! Events that are kept: what counts, what is refused, and what is told of it.

use headcount::proto::{
    CountRequest, CreateEventRequest, DeleteEventRequest, DeleteUserRequest, Event, EventDay,
    EventDeclaration, EventRefusal, EventSummary, GetEventRequest, GetUserRequest, RefusedEvent,
    UserUpdate, WriteRequest, WriteResponse, WriteStreamRequest,
};

use crate::harness::{Service, counting, expect_error, fact, instant, int, set, user};
use tonic::Code;

fn at(name: &str, time: &str) -> Event {
    Event {
        name: name.into(),
        time: Some(instant(time)),
        ..Event::default()
    }
}

fn paid(time: &str, amount: f64) -> Event {
    Event {
        amount: Some(amount),
        ..at("purchase", time)
    }
}

fn known(name: &str, time: &str, event_id: &str) -> Event {
    Event {
        event_id: event_id.into(),
        ..at(name, time)
    }
}

fn did(user_id: &str, events: Vec<Event>) -> UserUpdate {
    UserUpdate {
        events,
        ..user(user_id)
    }
}

async fn write_as(service: &Service, id: &str, updates: Vec<UserUpdate>) -> WriteResponse {
    let request = WriteRequest {
        updates,
        request_id: id.into(),
        ..WriteRequest::default()
    };
    service.ingest().write(request).await.unwrap().into_inner()
}

async fn write(service: &Service, updates: Vec<UserUpdate>) -> WriteResponse {
    write_as(service, "", updates).await
}

async fn told_as_of(service: &Service, user_id: &str, as_of: &str) -> Vec<EventSummary> {
    let request = GetUserRequest {
        user_id: user_id.into(),
        as_of: Some(instant(as_of)),
        ..GetUserRequest::default()
    };
    let answer = service.user().get_user(request).await.unwrap();
    answer.into_inner().user.unwrap().events
}

/// What is told of a user at the time of the tests: names with their counts.
async fn counts(service: &Service, user_id: &str) -> Vec<(String, u64)> {
    let told = told_as_of(service, user_id, "2026-01-02").await;
    told.into_iter()
        .map(|event| (event.name, event.count))
        .collect()
}

async fn declared(service: &Service, name: &str) -> EventDeclaration {
    let request = GetEventRequest {
        name: name.into(),
        ..GetEventRequest::default()
    };
    let answer = service.schema().get_event(request).await.unwrap();
    answer.into_inner().event.unwrap()
}

fn refused(update_index: u32, event_index: u32, reason: EventRefusal) -> RefusedEvent {
    RefusedEvent {
        update_index,
        event_index,
        reason: reason.into(),
    }
}

fn days(days: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: days * 86_400,
        nanos: 0,
    }
}

#[tokio::test]
async fn a_user_is_told_in_short() {
    let service = Service::start().await;
    let purchases = vec![
        paid("2025-12-30T08:00:00Z", 0.1),
        paid("2025-12-30T23:59:59.999999Z", 0.2),
        // Late, and without an amount.
        at("purchase", "2025-12-01T12:00:00Z"),
        paid("2025-12-31", -0.05),
        paid("2025-06-01", 100.0),
    ];
    let answer = write(
        &service,
        vec![
            did("u", purchases),
            did("u", vec![at("login", "2025-12-31T01:00:00Z")]),
            did("v", vec![paid("2025-12-31", 5.0)]),
        ],
    )
    .await;
    assert_eq!((answer.accepted_events, answer.refused_events), (7, vec![]));

    let day = |day: &str, count: u64, sum: Option<f64>| EventDay {
        day: Some(instant(day)),
        count,
        sum,
    };
    let login = EventSummary {
        name: "login".into(),
        count: 1,
        first_time: Some(instant("2025-12-31T01:00:00Z")),
        last_time: Some(instant("2025-12-31T01:00:00Z")),
        sum: None,
        last_30_days: vec![day("2025-12-31", 1, None)],
    };
    let purchase = EventSummary {
        name: "purchase".into(),
        count: 5,
        first_time: Some(instant("2025-06-01")),
        last_time: Some(instant("2025-12-31")),
        sum: Some(100.25),
        // The 30 days that end with the 31st begin with the 2nd.
        last_30_days: vec![
            day("2025-12-30", 2, Some(0.3)),
            day("2025-12-31", 1, Some(-0.05)),
        ],
    };
    let told = told_as_of(&service, "u", "2025-12-31T12:00:00Z").await;
    assert_eq!(told, [login, purchase.clone()]);

    // What comes at the instant or later has not happened yet.
    let earlier = EventSummary {
        count: 3,
        last_time: Some(instant("2025-12-30T08:00:00Z")),
        sum: Some(100.1),
        last_30_days: vec![day("2025-12-01", 1, None), day("2025-12-30", 1, Some(0.1))],
        ..purchase
    };
    let told = told_as_of(&service, "u", "2025-12-30T23:59:59.999999Z").await;
    assert_eq!(told, [earlier]);
    assert!(told_as_of(&service, "u", "2025-06-01").await.is_empty());

    let declared = declared(&service, "purchase").await;
    assert_eq!((declared.events, declared.users), (6, 2));
    assert_eq!(declared.retention, Some(days(400)));
    service.stop().await;
}

#[tokio::test]
async fn an_event_without_a_time_happens_when_it_is_received() {
    let service = Service::start().await;
    let login = Event {
        name: "login".into(),
        ..Event::default()
    };
    service.clock.advance("90m".parse().unwrap());
    write(&service, vec![did("u", vec![login])]).await;
    let told = told_as_of(&service, "u", "2026-01-02").await;
    assert_eq!(told[0].first_time, Some(instant("2026-01-01T01:30:00Z")));
    // The user appeared with it.
    assert_eq!(service.count("TRUE").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn an_event_that_is_sent_again_under_its_id_counts_once() {
    let service = Service::start().await;
    let first = known("purchase", "2025-12-20T12:00:00Z", "order-1");
    let answer = write(&service, vec![did("u", vec![first.clone(), first.clone()])]).await;
    let duplicate = EventRefusal::Duplicate;
    assert_eq!(answer.refused_events, [refused(0, 1, duplicate)]);
    assert_eq!(answer.accepted_events, 1);
    let events = vec![
        // Not more than 24 hours away, either way.
        known("purchase", "2025-12-21T12:00:00Z", "order-1"),
        known("purchase", "2025-12-19T12:00:00Z", "order-1"),
        // More than that, of another name, of another id, without one.
        known("purchase", "2025-12-21T12:00:00.000001Z", "order-1"),
        known("refund", "2025-12-20T12:00:00Z", "order-1"),
        known("purchase", "2025-12-20T12:00:00Z", "order-2"),
        at("purchase", "2025-12-20T12:00:00Z"),
        at("purchase", "2025-12-20T12:00:00Z"),
    ];
    let answer = write(&service, vec![did("u", events), did("v", vec![first])]).await;
    let expected = [refused(0, 0, duplicate), refused(0, 1, duplicate)];
    assert_eq!(answer.refused_events, expected);
    assert_eq!(answer.accepted_events, 6);
    let told = counts(&service, "u").await;
    assert_eq!(told, [("purchase".into(), 5), ("refund".into(), 1)]);
    let declared = declared(&service, "purchase").await;
    assert_eq!((declared.events, declared.users), (6, 2));
    assert_eq!((declared.duplicates, declared.too_old), (3, 0));
    service.stop().await;
}

#[tokio::test]
async fn events_out_of_range_are_refused_and_the_rest_is_applied() {
    let service = Service::start().await;
    let request = CreateEventRequest {
        event: Some(EventDeclaration {
            name: "visit".into(),
            retention: Some(days(10)),
            ..EventDeclaration::default()
        }),
        ..CreateEventRequest::default()
    };
    service.schema().create_event(request).await.unwrap();
    let answer = write(
        &service,
        vec![UserUpdate {
            events: vec![
                // 400 days before 2026-01-01, and a moment more.
                at("login", "2024-11-27"),
                at("login", "2024-11-26T23:59:59.999999Z"),
                at("login", "2026-01-02"),
                at("login", "2026-01-02T00:00:00.000001Z"),
                at("visit", "2025-12-22"),
                at("visit", "2025-12-21T23:59:59.999999Z"),
            ],
            ..set("u", &[("n", int(1))])
        }],
    )
    .await;
    assert_eq!(answer.accepted_events, 3);
    assert_eq!(
        answer.refused_events,
        [
            refused(0, 1, EventRefusal::TooOld),
            refused(0, 3, EventRefusal::TooFarAhead),
            refused(0, 5, EventRefusal::TooOld),
        ]
    );
    assert_eq!(service.count("n = 1").await, 1);
    let told = told_as_of(&service, "u", "2026-01-03").await;
    assert_eq!((told[0].name.as_str(), told[0].count), ("login", 2));
    // What lies ahead is not told before its time.
    let told = told_as_of(&service, "u", "2026-01-01").await;
    assert_eq!((told[0].name.as_str(), told[0].count), ("login", 1));
    let login = declared(&service, "login").await;
    assert_eq!((login.too_old, login.too_far_ahead), (1, 1));
    assert_eq!(declared(&service, "visit").await.too_old, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_write_with_events_that_is_sent_again_is_answered_as_the_first_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start_in(folder.path()).await;
    let login = Event {
        name: "login".into(),
        ..Event::default()
    };
    let updates = || {
        vec![did(
            "u",
            vec![login.clone(), at("login", "2020-01-01"), login.clone()],
        )]
    };
    let first = write_as(&service, "r", updates()).await;
    assert_eq!(first.accepted_events, 2);
    assert_eq!(first.refused_events, [refused(0, 1, EventRefusal::TooOld)]);
    let replayed = WriteResponse {
        replayed: true,
        ..first
    };
    // It is received later, and is the same request still.
    service.clock.advance("3h".parse().unwrap());
    assert_eq!(write_as(&service, "r", updates()).await, replayed);
    service.stop().await;
    service = Service::start_in(folder.path()).await;
    assert_eq!(write_as(&service, "r", updates()).await, replayed);
    assert_eq!(counts(&service, "u").await, [("login".into(), 2)]);
    // Without an id of the request or of the events they count again.
    write(&service, updates()).await;
    assert_eq!(counts(&service, "u").await, [("login".into(), 4)]);
    assert_eq!(declared(&service, "login").await.too_old, 2);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_reports_the_events_of_each_batch_and_repeats_none() {
    let service = Service::start().await;
    let batch = |sequence: u64, event: Event| WriteStreamRequest {
        sequence,
        stream_id: "s".into(),
        updates: vec![did("u", vec![at("login", "2025-12-31"), event])],
        ..WriteStreamRequest::default()
    };
    let batches = || {
        tokio_stream::iter([
            batch(1, at("login", "2020-01-01")),
            batch(2, at("login", "2030-01-01")),
        ])
    };
    let reasons = [EventRefusal::TooOld, EventRefusal::TooFarAhead];
    for replayed in [false, true] {
        let answers = service.ingest().write_stream(batches()).await.unwrap();
        let mut answers = answers.into_inner();
        answers.message().await.unwrap().unwrap().opened.unwrap();
        for reason in reasons {
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!(answer.replayed, replayed);
            if !replayed {
                assert_eq!(answer.accepted_events, 1);
                assert_eq!(answer.refused_events, [refused(0, 1, reason)]);
            }
        }
        assert_eq!(counts(&service, "u").await, [("login".into(), 2)]);
    }
    service.stop().await;
}

#[tokio::test]
async fn the_events_of_an_erased_user_are_gone() {
    let service = Service::start().await;
    let event = || known("purchase", "2025-12-31", "order-1");
    write(
        &service,
        vec![did("u", vec![event()]), did("v", vec![event()])],
    )
    .await;
    let request = DeleteUserRequest {
        user_id: "u".into(),
        ..DeleteUserRequest::default()
    };
    service.user().delete_user(request).await.unwrap();
    let told = declared(&service, "purchase").await;
    assert_eq!((told.events, told.users), (1, 1));
    // A later write begins a new user, to whom nothing is a duplicate.
    write(&service, vec![user("u")]).await;
    assert!(counts(&service, "u").await.is_empty());
    let answer = write(&service, vec![did("u", vec![event()])]).await;
    assert_eq!(answer.accepted_events, 1);
    assert_eq!(counts(&service, "u").await, [("purchase".into(), 1)]);
    service.stop().await;
}

#[tokio::test]
async fn deleted_events_are_gone_and_their_name_can_be_used_again() {
    let service = Service::start().await;
    let events = || vec![known("login", "2025-12-31", "1"), at("visit", "2025-12-31")];
    write(&service, vec![did("u", events())]).await;
    let request = DeleteEventRequest {
        name: "login".into(),
        ..DeleteEventRequest::default()
    };
    service.schema().delete_event(request).await.unwrap();
    assert_eq!(counts(&service, "u").await, [("visit".into(), 1)]);
    let answer = write(&service, vec![did("u", events())]).await;
    assert_eq!(answer.accepted_events, 2);
    let expected = [("login".into(), 1), ("visit".into(), 2)];
    assert_eq!(counts(&service, "u").await, expected);
    service.stop().await;
}

#[tokio::test]
async fn events_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    let events = vec![
        paid("2025-12-30", 1.5),
        known("purchase", "2025-12-31", "order-1"),
        at("purchase", "2020-01-01"),
    ];
    write(&service, vec![did("u", events)]).await;
    let before = (
        told_as_of(&service, "u", "2026-01-01").await,
        declared(&service, "purchase").await,
    );
    assert_eq!((before.0[0].count, before.1.too_old), (2, 1));
    service.stop().await;
    let service = Service::start_in(folder.path()).await;
    let after = (
        told_as_of(&service, "u", "2026-01-01").await,
        declared(&service, "purchase").await,
    );
    assert_eq!(after, before);
    let again = vec![known("purchase", "2025-12-31", "order-1")];
    let answer = write(&service, vec![did("u", again)]).await;
    assert_eq!(
        answer.refused_events,
        [refused(0, 0, EventRefusal::Duplicate)]
    );
    service.stop().await;
}

#[tokio::test]
async fn days_of_a_zone_over_thousands_of_years_are_refused_by_name() {
    let service = Service::start().await;
    write(&service, vec![did("u", vec![at("login", "2025-12-31")])]).await;
    let count = |filter: &str, as_of: &str| {
        let request = CountRequest {
            as_of: Some(instant(as_of)),
            ..counting(filter)
        };
        let mut client = service.query();
        async move {
            client
                .count(request)
                .await
                .map(|answer| answer.into_inner().count)
        }
    };
    let far = "9999-12-31";
    for filter in ["days(login) = 1", "months(login) = 1 OR weeks(login) = 2"] {
        assert_eq!(count(filter, "2026-06-01").await.unwrap(), 1);
    }
    assert_eq!(count("days(login) = 1", far).await.unwrap(), 1);
    let refused = count("days(login IN 'Asia/Tokyo') = 1", far).await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("filter"),
    );
    assert_eq!(fact(&status, "limit"), "window_units");
    // Within the limit alone, and not together.
    let half = "days(login, 15000d IN 'Asia/Tokyo') >= 1";
    assert_eq!(count(half, "2060-01-01").await.unwrap(), 1);
    let twice = format!("{half} AND NOT days(login, 14999d IN 'Asia/Tokyo') > 9");
    let refused = count(&twice, "2060-01-01").await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("filter"),
    );
    service.stop().await;
}
