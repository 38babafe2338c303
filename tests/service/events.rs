//! What users did: taken with writes, declared, told.

use headcount::proto::{
    CreateEventRequest, DeleteEventRequest, Event, EventDeclaration, GetEventRequest,
    ListEventsRequest, UpdateEventRequest, UserUpdate, WriteRequest, WriteResponse,
    WriteStreamRequest,
};
use tonic::Code;

use crate::harness::{Service, expect_error, fact, instant, int, set, user};

fn event(name: &str) -> Event {
    Event {
        name: name.into(),
        ..Event::default()
    }
}

fn at(name: &str, time: &str) -> Event {
    Event {
        time: Some(instant(time)),
        ..event(name)
    }
}

fn did(user_id: &str, events: Vec<Event>) -> UserUpdate {
    UserUpdate {
        events,
        ..user(user_id)
    }
}

async fn write(service: &Service, updates: Vec<UserUpdate>) -> WriteResponse {
    let request = WriteRequest {
        updates,
        ..WriteRequest::default()
    };
    service.ingest().write(request).await.unwrap().into_inner()
}

fn days(days: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: days * 86_400,
        nanos: 0,
    }
}

fn creating(name: &str, retention: Option<prost_types::Duration>) -> CreateEventRequest {
    CreateEventRequest {
        event: Some(EventDeclaration {
            name: name.into(),
            retention,
            ..EventDeclaration::default()
        }),
        ..CreateEventRequest::default()
    }
}

fn updating(name: &str, retention: Option<prost_types::Duration>) -> UpdateEventRequest {
    UpdateEventRequest {
        event: creating(name, retention).event,
        ..UpdateEventRequest::default()
    }
}

fn getting(name: &str) -> GetEventRequest {
    GetEventRequest {
        name: name.into(),
        ..GetEventRequest::default()
    }
}

fn deleting(name: &str) -> DeleteEventRequest {
    DeleteEventRequest {
        name: name.into(),
        ..DeleteEventRequest::default()
    }
}

#[tokio::test]
async fn a_malformed_event_is_refused_with_its_path() {
    let service = Service::start().await;
    let amount = |amount: f64| Event {
        amount: Some(amount),
        ..event("purchase")
    };
    for (bad, field, reason) in [
        (event(""), "name", "INVALID_FIELD"),
        (event("a\nb"), "name", "INVALID_FIELD"),
        (event(&"x".repeat(129)), "name", "LIMIT_EXCEEDED"),
        (amount(f64::NAN), "amount", "INVALID_FIELD"),
        (amount(f64::NEG_INFINITY), "amount", "INVALID_FIELD"),
        (amount(1.000_001e12), "amount", "INVALID_FIELD"),
        (
            Event {
                event_id: "x".repeat(129),
                ..event("purchase")
            },
            "event_id",
            "LIMIT_EXCEEDED",
        ),
        (
            Event {
                time: Some(prost_types::Timestamp {
                    seconds: 0,
                    nanos: -1,
                }),
                ..event("purchase")
            },
            "time",
            "INVALID_FIELD",
        ),
    ] {
        let update = did("u", vec![event("purchase"), bad]);
        let refused = service.try_write(vec![user("v"), update]).await;
        let field = format!("updates[1].events[1].{field}");
        expect_error(refused, Code::InvalidArgument, reason, Some(&field));
    }
    assert_eq!(service.count("TRUE").await, 0);
    service.stop().await;
}

#[tokio::test]
async fn a_request_has_10_000_events_at_most() {
    let service = Service::start().await;
    let half = || did("u", vec![event("e"); 5_000]);
    let refused = service
        .try_write(vec![half(), half(), did("v", vec![event("e")])])
        .await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("updates"),
    );
    assert_eq!(fact(&status, "limit"), "events_per_request");
    assert_eq!(
        write(&service, vec![half(), half()]).await.accepted_events,
        10_000
    );
    service.stop().await;
}

#[tokio::test]
async fn a_write_says_how_many_of_its_events_count() {
    let service = Service::start().await;
    let answer = write(&service, vec![set("u", &[("n", int(1))])]).await;
    assert_eq!(
        (answer.accepted_events, answer.refused_events.len()),
        (0, 0)
    );
    // Events go with a time of values, which is none of theirs.
    let update = UserUpdate {
        value_time: Some(instant("2020-01-01")),
        events: vec![event("login"), event("login")],
        ..set("u", &[("n", int(2))])
    };
    let answer = write(&service, vec![update, did("v", vec![event("login")])]).await;
    assert_eq!(
        (answer.accepted_events, answer.refused_events.len()),
        (3, 0)
    );
    assert_eq!(service.count("TRUE").await, 2);
    assert_eq!(service.count("n = 2").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_batch_of_a_stream_says_how_many_of_its_events_count() {
    let service = Service::start().await;
    let batch = |sequence: u64, events: usize| WriteStreamRequest {
        sequence,
        stream_id: "s".into(),
        updates: vec![did("u", vec![event("login"); events])],
        ..WriteStreamRequest::default()
    };
    for (count, replayed) in [(2, false), (0, true)] {
        let batches = tokio_stream::iter([batch(1, 2)]);
        let answers = service.ingest().write_stream(batches).await.unwrap();
        let mut answers = answers.into_inner();
        answers.message().await.unwrap().unwrap().opened.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.accepted_events, answer.replayed), (count, replayed));
    }
    service.stop().await;
}

#[tokio::test]
async fn events_are_declared_changed_and_deleted() {
    let service = Service::start().await;
    let mut schema = service.schema();
    let created = schema
        .create_event(creating("purchase", None))
        .await
        .unwrap();
    let created = created.into_inner();
    assert!(!created.revision.is_empty());
    let expected = EventDeclaration {
        name: "purchase".into(),
        retention: Some(days(400)),
        ..EventDeclaration::default()
    };
    assert_eq!(created.event.unwrap(), expected);
    let refused = schema.create_event(creating("purchase", None)).await;
    expect_error(
        refused,
        Code::AlreadyExists,
        "EVENT_EXISTS",
        Some("event.name"),
    );

    let updated = schema
        .update_event(updating("purchase", Some(days(36_500))))
        .await;
    let expected = EventDeclaration {
        retention: Some(days(36_500)),
        ..expected
    };
    assert_eq!(updated.unwrap().into_inner().event.unwrap(), expected);
    let got = schema.get_event(getting("purchase")).await.unwrap();
    assert_eq!(got.into_inner().event.unwrap(), expected);

    for (refused, field) in [
        (schema.get_event(getting("purchases")).await.err(), "name"),
        (
            schema.delete_event(deleting("purchases")).await.err(),
            "name",
        ),
        (
            schema
                .update_event(updating("purchases", Some(days(1))))
                .await
                .err(),
            "event.name",
        ),
    ] {
        let status = expect_error::<()>(
            Err(refused.unwrap()),
            Code::NotFound,
            "EVENT_NOT_FOUND",
            Some(field),
        );
        assert_eq!(fact(&status, "suggestions"), "purchase");
    }
    schema.delete_event(deleting("purchase")).await.unwrap();
    let refused = schema.get_event(getting("purchase")).await;
    expect_error(refused, Code::NotFound, "EVENT_NOT_FOUND", Some("name"));
    schema
        .create_event(creating("purchase", Some(days(1))))
        .await
        .unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_malformed_declaration_is_refused() {
    let service = Service::start().await;
    let mut schema = service.schema();
    for (request, field) in [
        (CreateEventRequest::default(), "event"),
        (creating("", None), "event.name"),
        (creating("e", Some(days(0))), "event.retention"),
        (creating("e", Some(days(-1))), "event.retention"),
        (creating("e", Some(days(3_652_501))), "event.retention"),
    ] {
        let refused = schema.create_event(request).await;
        expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", Some(field));
    }
    schema.create_event(creating("e", None)).await.unwrap();
    let refused = schema.update_event(updating("e", None)).await;
    let field = Some("event.retention");
    expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", field);
    let masked = |path: &str| UpdateEventRequest {
        update_mask: Some(prost_types::FieldMask {
            paths: vec![path.into()],
        }),
        ..updating("e", Some(days(1)))
    };
    let refused = schema.update_event(masked("events")).await;
    let field = Some("update_mask");
    expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", field);
    schema.update_event(masked("retention")).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn events_are_listed_page_by_page() {
    let service = Service::start().await;
    let names: Vec<String> = (0..25).map(|n| format!("e{n:02}")).collect();
    for name in &names {
        service
            .schema()
            .create_event(creating(name, None))
            .await
            .unwrap();
    }
    let mut listed = Vec::new();
    let mut request = ListEventsRequest {
        page_size: 10,
        ..ListEventsRequest::default()
    };
    loop {
        let page = service.schema().list_events(request.clone()).await.unwrap();
        let page = page.into_inner();
        assert!(page.events.len() <= 10);
        listed.extend(page.events.into_iter().map(|event| event.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, names);
    request.page_token = "x".into();
    let refused = service.schema().list_events(request).await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
        Some("page_token"),
    );
    service.stop().await;
}

#[tokio::test]
async fn a_user_is_told_up_to_an_instant() {
    let service = Service::start().await;
    write(&service, vec![did("u", vec![at("login", "2025-12-31")])]).await;
    let request = headcount::proto::GetUserRequest {
        user_id: "u".into(),
        ..Default::default()
    };
    let answer = service.user().get_user(request.clone()).await.unwrap();
    // The clock stands still, and what was acknowledged has happened all the same.
    let just_after = instant("2026-01-01T00:00:00.000001Z");
    assert_eq!(answer.into_inner().as_of, Some(just_after));
    let request = headcount::proto::GetUserRequest {
        as_of: Some(instant("2025-06-01")),
        ..request
    };
    let answer = service.user().get_user(request).await.unwrap().into_inner();
    assert_eq!(answer.as_of, Some(instant("2025-06-01")));
    assert!(answer.user.unwrap().events.is_empty());
    service.stop().await;
}
