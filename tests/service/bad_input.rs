//! Bad input: each a clear error, and nothing changed.

use std::collections::BTreeMap;

use headcount::proto::{self, UserUpdate, WriteRequest, count_request, value::Kind};
use tonic::Code;

use crate::harness::{
    Service, counting, double, expect_error, fact, int, map, set, set_of, text, user, value,
};

type Everything = BTreeMap<String, BTreeMap<String, proto::Value>>;

/// A service with two users.
async fn service() -> (Service, Everything) {
    let service = Service::start().await;
    service
        .write(vec![
            set(
                "u1",
                &[
                    ("age", int(41)),
                    ("country", text("FR")),
                    ("tags", set_of(&["a"])),
                ],
            ),
            set("u2", &[("score", double(0.5)), ("visits", int(i64::MAX))]),
        ])
        .await;
    let everything = service.everything().await;
    (service, everything)
}

async fn unchanged(service: Service, before: Everything) {
    assert_eq!(service.everything().await, before);
    service.stop().await;
}

#[tokio::test]
async fn wrong_types() {
    let (service, before) = service().await;
    let refused = service.try_write(vec![set("u1", &[("age", text("old"))])]);
    let status = expect_error(
        refused.await,
        Code::FailedPrecondition,
        "PROPERTY_TYPE_CONFLICT",
        Some(r#"updates[0].set["age"]"#),
    );
    assert_eq!(fact(&status, "property"), "age");
    assert_eq!(fact(&status, "expected"), "int64");
    assert_eq!(fact(&status, "given"), "string");

    for filter in [
        "age = 'old'",
        "age HAS ANY ('a')",
        "tags = 'a'",
        "country < 'G'",
    ] {
        let refused = service.try_count(filter).await;
        expect_error(
            refused,
            Code::InvalidArgument,
            "PREDICATE_TYPE",
            Some("filter"),
        );
    }
    unchanged(service, before).await;
}

#[tokio::test]
async fn unknown_properties_with_those_that_are_near() {
    let (service, before) = service().await;
    let refused = service.try_count("contry = 'FR'").await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("filter"),
    );
    assert_eq!(fact(&status, "property"), "contry");
    assert_eq!(fact(&status, "suggestions"), "country");
    assert!(
        status.message().contains("\"country\""),
        "{}",
        status.message()
    );
    unchanged(service, before).await;
}

#[tokio::test]
async fn syntax_errors_with_their_place() {
    let (service, before) = service().await;
    let refused = service.try_count("age >= 40 AND\n  country = ").await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "FILTER_SYNTAX",
        Some("filter"),
    );
    assert_eq!(fact(&status, "line"), "2");
    assert_eq!(fact(&status, "column"), "13");
    assert!(
        fact(&status, "expected").contains("value"),
        "{}",
        status.message()
    );
    assert!(
        status.message().contains("line 2, column"),
        "{}",
        status.message()
    );

    for filter in ["", "age IN ()", "AND", "age = NaN", "x = 'é"] {
        let refused = service.try_count(filter).await;
        expect_error(
            refused,
            Code::InvalidArgument,
            "FILTER_SYNTAX",
            Some("filter"),
        );
    }
    unchanged(service, before).await;
}

#[tokio::test]
async fn deep_nesting() {
    let (service, before) = service().await;
    let filter = format!("{}age = 1{}", "(".repeat(1_000), ")".repeat(1_000));
    let refused = service.try_count(&filter).await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("filter"),
    );
    assert_eq!(fact(&status, "limit"), "expression_depth");

    let everyone = proto::expression::Kind::Everyone(proto::Everyone {});
    let nested = |levels: usize| {
        let mut tree = proto::Expression {
            kind: Some(everyone.clone()),
        };
        for _ in 1..levels {
            tree = proto::Expression {
                kind: Some(proto::expression::Kind::Negation(Box::new(tree))),
            };
        }
        proto::CountRequest {
            selection: Some(count_request::Selection::Expression(tree)),
            ..Default::default()
        }
    };
    assert!(service.query().count(nested(16)).await.is_ok());
    // Our own limit, and beyond a hundred levels that of the decoder.
    for levels in [17, 60, 1_000] {
        let refused = service.query().count(nested(levels)).await;
        let Err(status) = refused else {
            panic!("{levels} levels were accepted");
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{levels} levels");
        assert_eq!(
            fact(&status, "limit"),
            "expression_depth",
            "{levels} levels"
        );
    }
    unchanged(service, before).await;
}

#[tokio::test]
async fn numbers_that_are_none_or_leave_their_range() {
    let (service, before) = service().await;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = service.try_write(vec![set("u2", &[("score", double(bad))])]);
        expect_error(
            refused.await,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some(r#"updates[0].set["score"]"#),
        );
    }
    let increment = |name: &str, by| {
        vec![UserUpdate {
            increment: map(&[(name, by)]),
            ..user("u2")
        }]
    };
    expect_error(
        service.try_write(increment("visits", int(1))).await,
        Code::FailedPrecondition,
        "NUMBER_OUT_OF_RANGE",
        Some(r#"updates[0].increment["visits"]"#),
    );
    expect_error(
        service
            .try_write(vec![set("u2", &[("score", int(i64::MAX))])])
            .await,
        Code::FailedPrecondition,
        "NUMBER_OUT_OF_RANGE",
        Some(r#"updates[0].set["score"]"#),
    );
    unchanged(service, before).await;
}

#[tokio::test]
async fn names_and_texts_that_are_too_long() {
    let (service, before) = service().await;
    let long = "x".repeat(257);
    expect_error(
        service.try_write(vec![user("ok"), user(&long)]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("updates[1].user_id"),
    );
    let check = proto::CheckRequest {
        user_id: long.clone(),
        filters: vec!["TRUE".into()],
        ..Default::default()
    };
    let status = expect_error(
        service.query().check(check).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("user_id"),
    );
    assert_eq!(fact(&status, "limit"), "user_id_bytes");
    assert_eq!(fact(&status, "allowed"), "256");
    assert_eq!(fact(&status, "given"), "257");
    expect_error(
        service.try_write(vec![set("ok", &[(&long, int(1))])]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some(&format!("updates[0].set[\"{}\"...]", "x".repeat(128))),
    );
    expect_error(
        service
            .try_write(vec![set("ok", &[("t", text(&"x".repeat(1_025)))])])
            .await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some(r#"updates[0].set["t"]"#),
    );
    expect_error(
        service
            .try_write(vec![set(
                "ok",
                &[("t", value(Kind::VersionValue("x".into())))],
            )])
            .await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some(r#"updates[0].set["t"]"#),
    );
    let mut request = counting("TRUE");
    request.population = "no/name".into();
    expect_error(
        service.query().count(request).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("population"),
    );
    unchanged(service, before).await;
}

#[tokio::test]
async fn requests_that_are_too_large_leave_the_connection_whole() {
    let (service, before) = service().await;
    // 5 MiB of well-formed updates.
    let long = "x".repeat(1_024);
    let updates: Vec<UserUpdate> = (0..5 * 1_024)
        .map(|n| set(&format!("u{n}"), &[("t", text(&long))]))
        .collect();
    let request = WriteRequest {
        population: String::new(),
        updates,
        ..Default::default()
    };
    for _ in 0..3 {
        let status = expect_error(
            service.ingest().write(request.clone()).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
            None,
        );
        assert_eq!(fact(&status, "limit"), "message_bytes");
        assert_eq!(fact(&status, "allowed"), (1 << 20).to_string());
        assert!(status.message().contains("send less at a time"));
        // Other calls of the same connection go on.
        assert_eq!(service.count("age = 41").await, 1);
    }
    let filter = format!("age = 1 {}", " ".repeat(5 << 20));
    let check = proto::BatchCheckRequest {
        user_ids: vec!["u1".into()],
        filters: vec![filter.clone()],
        ..Default::default()
    };
    expect_error(
        service.query().batch_check(check).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        None,
    );
    let refused = service.try_count(&filter).await;
    expect_error(refused, Code::InvalidArgument, "LIMIT_EXCEEDED", None);
    // A filter beyond its own limit, in a message within the limit.
    let refused = service
        .try_count(&format!("age = 1 {}", " ".repeat(65_536)))
        .await;
    let status = expect_error(
        refused,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("filter"),
    );
    assert_eq!(fact(&status, "limit"), "filter_bytes");
    unchanged(service, before).await;
}

#[tokio::test]
async fn empty_lists_and_missing_parts() {
    let (service, before) = service().await;
    let predicate = |operator: proto::Operator, values| proto::CountRequest {
        selection: Some(count_request::Selection::Expression(proto::Expression {
            kind: Some(proto::expression::Kind::Predicate(Box::new(
                proto::Predicate {
                    property: "age".into(),
                    operator: operator.into(),
                    values,
                    as_of_offset: None,
                },
            ))),
        })),
        ..Default::default()
    };
    for (request, field) in [
        (
            predicate(proto::Operator::In, vec![]),
            "expression.predicate.values",
        ),
        (
            predicate(proto::Operator::Equal, vec![double(f64::NAN)]),
            "expression.predicate.values[0]",
        ),
        (proto::CountRequest::default(), "filter"),
    ] {
        expect_error(
            service.query().count(request).await,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some(field),
        );
    }
    expect_error(
        service.try_write(vec![]).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("updates"),
    );
    unchanged(service, before).await;
}

#[tokio::test]
async fn tokens_that_are_not_ours() {
    let (service, before) = service().await;
    let mut request = counting("TRUE");
    request.min_revision = "41".into();
    expect_error(
        service.query().count(request).await,
        Code::InvalidArgument,
        "REVISION_INVALID",
        Some("min_revision"),
    );
    let request = proto::ListMembersRequest {
        selection: Some(proto::list_members_request::Selection::Filter(
            "TRUE".into(),
        )),
        page_token: "x".into(),
        ..Default::default()
    };
    expect_error(
        service.query().list_members(request).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
        Some("page_token"),
    );
    unchanged(service, before).await;
}
