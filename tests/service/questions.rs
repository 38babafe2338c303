//! Count, check and explain; deadlines; the clock of a question.

use std::path::Path;
use std::time::{Duration, Instant};

use headcount::model::Span;
use headcount::proto::{
    self, BatchCheckRequest, BatchCountRequest, CheckRequest, ExplainRequest, Selection,
    count_request, explain_request, selection, value::Kind,
};
use tonic::{Code, Request};

use crate::harness::{Service, counting, expect_error, instant, int, set, text, user, value};

async fn service() -> Service {
    let service = Service::start().await;
    let plans = ["free", "pro", "pro", "team"];
    let users = plans.iter().enumerate();
    let users = users
        .map(|(n, plan)| {
            let age = int(10 * i64::try_from(n).unwrap());
            set(&format!("u{n}"), &[("plan", text(plan)), ("age", age)])
        })
        .chain([user("bare")]);
    service.write(users.collect()).await;
    service
}

fn selecting(filter: &str) -> Selection {
    Selection {
        selection: Some(selection::Selection::Filter(filter.into())),
    }
}

#[tokio::test]
async fn counts_of_several_selections() {
    let service = service().await;
    let filters = [
        "TRUE",
        "plan = 'pro'",
        "plan != 'pro'",
        "NOT age > 10",
        "FALSE",
    ];
    let request = BatchCountRequest {
        selections: filters.iter().map(|filter| selecting(filter)).collect(),
        ..Default::default()
    };
    let response = service.query().batch_count(request).await.unwrap();
    let response = response.into_inner();
    assert_eq!(response.counts, [5, 2, 3, 3, 0]);
    assert!(!response.revision.is_empty());

    let request = BatchCountRequest {
        selections: vec![selecting("TRUE"), selecting("age >")],
        ..Default::default()
    };
    expect_error(
        service.query().batch_count(request).await,
        Code::InvalidArgument,
        "FILTER_SYNTAX",
        Some("selections[1].filter"),
    );
    let request = BatchCountRequest {
        selections: vec![selecting("TRUE"), selecting("agee > 1")],
        ..Default::default()
    };
    expect_error(
        service.query().batch_count(request).await,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("selections[1].filter"),
    );
    for count in [0, 1_001] {
        let request = BatchCountRequest {
            selections: vec![selecting("TRUE"); count],
            ..Default::default()
        };
        let refused = service.query().batch_count(request).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    service.stop().await;
}

fn checking(user_id: &str, filters: &[&str]) -> CheckRequest {
    CheckRequest {
        user_id: user_id.into(),
        filters: filters.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn one_user_is_checked() {
    let service = service().await;
    let everyone = proto::Expression {
        kind: Some(proto::expression::Kind::Everyone(proto::Everyone {})),
    };
    let mut request = checking("u1", &["plan = 'pro'", "age < 10", "age IS SET"]);
    request.expressions.push(everyone);
    let response = service.query().check(request.clone()).await.unwrap();
    let response = response.into_inner();
    assert_eq!(response.members, [true, false, true, true]);
    assert!(response.user_exists && !response.revision.is_empty());

    // One who does not exist is in nothing, not even in everyone.
    request.user_id = "nobody".into();
    let response = service.query().check(request).await.unwrap().into_inner();
    assert_eq!(response.members, [false; 4]);
    assert!(!response.user_exists);

    let refused = service
        .query()
        .check(checking("u1", &["TRUE", "agee = 1"]))
        .await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("filters[1]"),
    );
    let refused = service.query().check(checking("u1", &[])).await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("filters"),
    );
    let refused = service.query().check(checking("", &["TRUE"])).await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("user_id"),
    );
    service.stop().await;
}

#[tokio::test]
async fn a_large_check_gives_the_same_answers() {
    let service = service().await;
    let filters: Vec<String> = (0..1_000).map(|n| format!("age = {}", n % 40)).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let response = service
        .query()
        .check(checking("u2", &filters))
        .await
        .unwrap();
    let members = response.into_inner().members;
    assert_eq!(members.len(), 1_000);
    for (n, member) in members.iter().enumerate() {
        assert_eq!(*member, n % 40 == 20, "{n}");
    }
    service.stop().await;
}

#[tokio::test]
async fn many_users_are_checked() {
    let service = service().await;
    let long = "x".repeat(257);
    let request = BatchCheckRequest {
        user_ids: vec!["u3".into(), "nobody".into(), long, "u0".into(), "u3".into()],
        filters: vec!["plan = 'team'".into(), "age <= 10".into()],
        ..Default::default()
    };
    let response = service.query().batch_check(request).await.unwrap();
    let users = response.into_inner().users;
    let members: Vec<&[bool]> = users.iter().map(|user| user.members.as_slice()).collect();
    assert_eq!(
        members,
        [
            &[true, false][..],
            &[false, false],
            &[],
            &[false, true],
            &[true, false]
        ]
    );
    let exist: Vec<bool> = users.iter().map(|user| user.user_exists).collect();
    assert_eq!(exist, [true, false, false, true, true]);
    let error = users[2].error.as_ref().unwrap();
    assert_eq!(
        (error.reason.as_str(), error.field.as_str()),
        ("LIMIT_EXCEEDED", "user_ids[2]")
    );
    assert_eq!(error.code, Code::InvalidArgument as i32);

    // As many users as are allowed, with ids as long as are allowed.
    let request = BatchCheckRequest {
        user_ids: (0..10_000).map(|n| format!("{n:0>256}")).collect(),
        filters: vec!["TRUE".into(); 100],
        ..Default::default()
    };
    let response = service.query().batch_check(request.clone()).await.unwrap();
    assert_eq!(response.into_inner().users.len(), 10_000);
    let request = BatchCheckRequest {
        filters: vec!["TRUE".into(); 101],
        ..request
    };
    expect_error(
        service.query().batch_check(request).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("user_ids"),
    );
    service.stop().await;
}

#[tokio::test]
async fn an_explanation_tells_how() {
    let service = service().await;
    let filter = "plan='pro' and not (age < 15)";
    let request = ExplainRequest {
        selection: Some(explain_request::Selection::Filter(filter.into())),
        ..Default::default()
    };
    let response = service.query().explain(request).await.unwrap().into_inner();
    assert_eq!(response.filter, "plan = 'pro' AND NOT age < 15");
    assert_eq!(response.count, 1);
    let plan = response.plan.unwrap();
    assert_eq!(plan.count, 1);
    assert_eq!(plan.children.len(), 2);
    assert!(!plan.access.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn now_is_the_clock_or_what_the_caller_says() {
    let service = Service::start().await;
    let seen = |at: &str| value(Kind::TimestampValue(instant(at)));
    service
        .write(vec![
            set("recent", &[("last_seen", seen("2025-12-25"))]),
            set("old", &[("last_seen", seen("2025-11-01"))]),
        ])
        .await;
    let filter = "last_seen >= now() - 30d";
    assert_eq!(service.count(filter).await, 1);
    let mut request = counting(filter);
    request.as_of = Some(instant("2025-11-15"));
    let response = service.query().count(request).await.unwrap().into_inner();
    assert_eq!(response.count, 2);
    assert_eq!(response.as_of, Some(instant("2025-11-15")));
    // Users leave by the clock alone.
    service
        .clock
        .advance(Span::from_micros(30 * 86_400_000_000).unwrap());
    assert_eq!(service.count(filter).await, 0);

    let mut request = counting(filter);
    request.as_of = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    expect_error(
        service.query().count(request).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("as_of"),
    );
    service.stop().await;
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_waited_for_until_the_deadline() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = Service::start_in(original.path()).await;
    service.write(vec![user("u")]).await;
    service.stop().await;
    copy_folder(original.path(), copy.path());
    let service = Service::start_in(original.path()).await;
    let later = service.write(vec![user("v")]).await;
    service.stop().await;

    // A copy of the store from before knows the token, and has not got there.
    let service = Service::start_in(copy.path()).await;
    let asking = move |timeout| {
        let mut counting = counting("TRUE");
        counting.min_revision.clone_from(&later);
        let mut request = Request::new(counting);
        request.set_timeout(timeout);
        request
    };
    // The client of these tests has a timer of its own, without details, that can win on a busy
    // machine.
    let mut refused = None;
    for attempt in 1..=6 {
        let timeout = Duration::from_millis(200) * attempt;
        let began = Instant::now();
        let answer = service.query().count(asking(timeout)).await;
        assert!(began.elapsed() >= timeout / 2);
        let is_ours = answer
            .as_ref()
            .is_err_and(|error| !error.details().is_empty());
        refused = Some(answer);
        if is_ours {
            break;
        }
    }
    expect_error(
        refused.unwrap(),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        None,
    );

    // Who allows more time does not wait, and is not kept, for longer all the same.
    let began = Instant::now();
    let answer = service.query().count(asking(Duration::from_hours(1))).await;
    let refused = expect_error(answer, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
    assert!(refused.message().contains("min_revision"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_mins(1));

    // Once it is there, who waits is answered.
    let mut query = service.query();
    let waiting = tokio::spawn(async move { query.count(asking(Duration::from_secs(20))).await });
    tokio::task::yield_now().await;
    service.write(vec![user("w")]).await;
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().count, 2);
    service.stop().await;
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_revision_of_another_store_is_refused() {
    let (one, other) = (Service::start().await, Service::start().await);
    let mut request = counting("TRUE");
    request.min_revision = one.write(vec![user("u")]).await;
    other.write(vec![user("u")]).await;
    let refused = other.query().count(request).await;
    expect_error(
        refused,
        Code::InvalidArgument,
        "REVISION_INVALID",
        Some("min_revision"),
    );
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn text_and_tree_can_be_asked_alike() {
    let service = service().await;
    let tree = proto::Expression {
        kind: Some(proto::expression::Kind::Predicate(Box::new(
            proto::Predicate {
                property: "age".into(),
                operator: proto::Operator::GreaterOrEqual.into(),
                values: vec![int(20)],
                as_of_offset: None,
            },
        ))),
    };
    let request = proto::CountRequest {
        selection: Some(count_request::Selection::Expression(tree)),
        ..Default::default()
    };
    let by_tree = service
        .query()
        .count(request)
        .await
        .unwrap()
        .into_inner()
        .count;
    assert_eq!(by_tree, service.count("age >= 20").await);
    assert_eq!(by_tree, 2);
    service.stop().await;
}
