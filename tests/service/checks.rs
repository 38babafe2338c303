//! What a check can tell beside yes and no, and the buckets that users are divided into.

use headcount::proto::{
    self, BatchCheckRequest, CheckRequest, CheckResponse, CreateSegmentRequest, Event,
    ExplainRequest, ExplainedClause, ListUserSegmentsRequest, Operator, Segment, explain_request,
    expression, segment, value::Kind,
};
use tonic::Code;

use crate::harness::{Service, expect_error, fact, instant, int, set, set_of, text, user};

/// The bucket of 100 by the salt `spring-test`, by Python's hashlib, of some users.
const BUCKETS: [(&str, u32); 20] = [
    ("u1", 67),
    ("u2", 59),
    ("u3", 96),
    ("a user of more than sixteen bytes", 35),
    ("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 6),
    (
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        6,
    ),
    ("日本", 44),
    ("Größe", 44),
    ("user-0", 1),
    ("user-1", 51),
    ("user-2", 20),
    ("user-3", 46),
    ("user-4", 95),
    ("user-5", 56),
    ("user-6", 19),
    ("user-7", 36),
    ("user-8", 12),
    ("user-9", 37),
    ("user-10", 7),
    ("user-11", 10),
];

fn bucket(operator: Operator, numbers: &[u32]) -> proto::Expression {
    proto::Expression {
        kind: Some(expression::Kind::Bucket(Box::new(proto::BucketPredicate {
            salt: "spring-test".into(),
            buckets: 100,
            operator: operator.into(),
            numbers: numbers.to_vec(),
        }))),
    }
}

async fn save(service: &Service, name: &str, filter: &str) {
    let request = CreateSegmentRequest {
        segment: Some(Segment {
            name: name.into(),
            definition: Some(segment::Definition::Filter(filter.into())),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.unwrap();
}

fn below(end: u32) -> Vec<String> {
    let users = BUCKETS.iter().filter(|(_, bucket)| *bucket < end);
    users.map(|(user, _)| (*user).to_owned()).collect()
}

fn event(name: &str, at: &str, amount: Option<f64>) -> Event {
    Event {
        name: name.into(),
        time: Some(instant(at)),
        amount,
        ..Event::default()
    }
}

/// A user of whom nearly everything is known, and one of whom nothing is.
async fn known_and_unknown() -> Service {
    let service = Service::start().await;
    let mut known = set(
        "u1",
        &[
            ("age", int(41)),
            ("plan", text("pro")),
            ("tags", set_of(&["a", "b"])),
        ],
    );
    known.events = vec![
        event("buy", "2025-12-30", Some(2.5)),
        event("buy", "2025-12-31", Some(4.5)),
        event("buy", "2025-11-01", None),
    ];
    service.write(vec![known, user("bare")]).await;
    save(&service, "adults", "age >= 18").await;
    save(&service, "pro", "segment('adults') AND plan = 'pro'").await;
    service
}

async fn explained(service: &Service, user_id: &str, filters: &[&str]) -> CheckResponse {
    let request = CheckRequest {
        user_id: user_id.into(),
        filters: filters.iter().map(ToString::to_string).collect(),
        explain: true,
        ..CheckRequest::default()
    };
    service.query().check(request).await.unwrap().into_inner()
}

/// The lines of an explanation: whether it is true, what, and what was seen.
fn lines(clause: &ExplainedClause, depth: usize, lines: &mut Vec<String>) {
    let holds = if clause.holds { "yes" } else { "no" };
    let saw = clause.value.as_ref().map(|value| match &value.kind {
        Some(Kind::Int64Value(number)) => number.to_string(),
        Some(Kind::DoubleValue(number)) => number.to_string(),
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::StringSetValue(set)) => set.elements.join("+"),
        Some(Kind::TimestampValue(time)) => time.seconds.to_string(),
        other => panic!("{other:?}"),
    });
    let saw = saw.unwrap_or_else(|| "-".into());
    lines.push(format!(
        "{}{holds} {}: {saw}",
        " ".repeat(depth),
        clause.text
    ));
    for below in &clause.clauses {
        self::lines(below, depth + 1, lines);
    }
}

fn all_lines(answer: &CheckResponse) -> Vec<String> {
    let mut all = Vec::new();
    for (explanation, member) in answer.explanations.iter().zip(&answer.members) {
        let clause = explanation.clause.as_ref().unwrap();
        assert_eq!(clause.holds, *member);
        lines(clause, 0, &mut all);
    }
    all
}

#[tokio::test]
async fn a_check_says_why() {
    let service = known_and_unknown().await;
    let filters = [
        "segment('pro') AND (NOT age BETWEEN 18 AND 30 OR TRUE)",
        "AT LEAST 2 OF (count(buy, 30d) >= 3, days(buy) = 3, sum(buy) > 6.9)",
        "avg(buy) = 3.5 OR min(buy) < 2 OR max(buy) < 2",
        "last(buy) >= now() - 2d OR first(buy, 30d) > now()",
        "tags HAS ANY ('a') AND bucket('spring-test', 100) < 10",
    ];
    let known = explained(&service, "u1", &filters).await;
    assert!(known.user_exists);
    assert_eq!(known.members, [true, true, true, true, false]);
    assert_eq!(
        all_lines(&known),
        [
            "yes all of: -",
            " yes segment('pro'): -",
            "  yes all of: -",
            "   yes segment('adults'): -",
            "    yes age >= 18: 41",
            "   yes plan = 'pro': pro",
            " yes any of: -",
            "  yes not: -",
            "   no all of: -",
            "    yes age >= 18: 41",
            "    no age <= 30: 41",
            "  yes TRUE: -",
            "yes at least 2 of: -",
            " no count(buy, 30d) >= 3: 2",
            " yes days(buy) = 3: 3",
            " yes sum(buy) > 6.9: 7",
            "yes any of: -",
            " yes avg(buy) = 3.5: 3.5",
            " no min(buy) < 2: 2.5",
            " no max(buy) < 2: 4.5",
            "yes any of: -",
            " yes last(buy) >= now() - 2d: 1767139200",
            " no first(buy, 30d) > now(): 1767052800",
            "no all of: -",
            " yes tags HAS ANY ('a'): a+b",
            " no bucket('spring-test', 100) < 10: 67",
        ]
    );
    let filters = [
        "NOT age >= 18",
        "plan != 'pro'",
        "count(buy) = 0 AND sum(buy) = 0",
        "avg(buy) > 0 OR last(buy) < now()",
    ];
    let unknown = explained(&service, "bare", &filters).await;
    assert_eq!(
        all_lines(&unknown),
        [
            "yes not: -",
            " no age >= 18: -",
            "yes plan != 'pro': -",
            "yes all of: -",
            " yes count(buy) = 0: 0",
            " yes sum(buy) = 0: 0",
            "no any of: -",
            " no avg(buy) > 0: -",
            " no last(buy) < now(): -",
        ]
    );
    let nobody = explained(&service, "nobody", &["NOT age >= 18", "TRUE"]).await;
    assert!(!nobody.user_exists && nobody.explanations.is_empty());
    assert_eq!(nobody.members, [false, false]);
    // Nothing is explained that was not asked for.
    let request = CheckRequest {
        user_id: "u1".into(),
        filters: vec!["age >= 18".into()],
        ..CheckRequest::default()
    };
    let plain = service.query().check(request).await.unwrap().into_inner();
    assert!(plain.members == [true] && plain.explanations.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn an_answer_says_until_when_it_holds() {
    let service = known_and_unknown().await;
    // The events are of 2025-11-01, 2025-12-30 and 2025-12-31.
    let filters = [
        (
            "count(buy, 30d) >= 2",
            true,
            Some("2026-01-29T00:00:00.000001Z"),
        ),
        (
            "count(buy, 30d) >= 1",
            true,
            Some("2026-01-30T00:00:00.000001Z"),
        ),
        (
            "last(buy) < now() - 14d",
            false,
            Some("2026-01-14T00:00:00.000001Z"),
        ),
        ("count(buy, last 1 day) = 1", true, Some("2026-01-02")),
        ("count(buy, this month IN 'Europe/Paris') = 0", true, None),
        ("age >= 18", true, None),
        ("age < 18 AND count(buy, 30d) >= 2", false, None),
    ];
    let texts: Vec<&str> = filters.iter().map(|(filter, _, _)| *filter).collect();
    let answer = explained(&service, "u1", &texts).await;
    for ((filter, member, until), explanation) in filters.iter().zip(&answer.explanations) {
        assert_eq!(
            explanation.clause.as_ref().unwrap().holds,
            *member,
            "{filter}"
        );
        assert_eq!(explanation.valid_until, until.map(instant), "{filter}");
    }
    assert_eq!(answer.valid_until, Some(instant("2026-01-02")));
    for (filter, member, until) in filters {
        let request = CheckRequest {
            user_id: "u1".into(),
            filters: vec![filter.into()],
            ..CheckRequest::default()
        };
        let answer = service.query().check(request.clone()).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.valid_until, until.map(instant), "{filter}");
        // At that instant it is another.
        if let Some(until) = until {
            let later = CheckRequest {
                as_of: Some(instant(until)),
                ..request
            };
            let answer = service.query().check(later).await.unwrap();
            assert_eq!(answer.into_inner().members, [!member], "{filter}");
        }
    }
    let mut batch = BatchCheckRequest {
        user_ids: vec!["u1".into(), "bare".into(), "nobody".into(), String::new()],
        filters: vec!["count(buy, 30d) >= 2".into(), "age >= 18".into()],
        ..BatchCheckRequest::default()
    };
    for want in [false, true] {
        batch.want_valid_until = want;
        let answer = service.query().batch_check(batch.clone()).await.unwrap();
        let users = answer.into_inner().users;
        let until: Vec<_> = users.iter().map(|user| user.valid_until).collect();
        let first = want.then(|| instant("2026-01-29T00:00:00.000001Z"));
        assert_eq!(until, [first, None, None, None]);
        assert!(users[0].members == [true, true] && users[2].members == [false, false]);
        assert!(users[3].error.is_some());
    }
    save(&service, "active", "count(buy, 30d) >= 2").await;
    save(
        &service,
        "lapsed",
        "last(buy) < now() - 14d OR segment('active')",
    )
    .await;
    for (user_id, want, until) in [
        ("u1", true, Some(instant("2026-01-14T00:00:00.000001Z"))),
        ("u1", false, None),
        ("bare", true, None),
        ("nobody", true, None),
    ] {
        let request = ListUserSegmentsRequest {
            user_id: user_id.into(),
            want_valid_until: want,
            ..ListUserSegmentsRequest::default()
        };
        let answer = service.segments().list_user_segments(request).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.valid_until, until, "{user_id}");
        let segments: &[&str] = match user_id {
            "u1" => &["active", "adults", "lapsed", "pro"],
            _ => &[],
        };
        assert_eq!(answer.segments, segments, "{user_id}");
    }
    service.stop().await;
}

#[tokio::test]
async fn an_explanation_is_bounded() {
    let service = known_and_unknown().await;
    let elements: Vec<String> = (0..1_000).map(|n| format!("{n:01000}")).collect();
    let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
    service
        .write(vec![set("u1", &[("tags", set_of(&elements))])])
        .await;
    let wide = ["age = 1"; 255].join(" OR ");
    save(&service, "wide", &wide).await;
    let deep = format!("{}age = 1", "NOT ".repeat(15));
    save(&service, "deep0", &deep).await;
    for level in 1..4 {
        let inner = format!("{}segment('deep{}')", "NOT ".repeat(15), level - 1);
        save(&service, &format!("deep{level}"), &inner).await;
    }
    let ask = async |filters: Vec<String>| {
        let request = CheckRequest {
            user_id: "u1".into(),
            filters,
            explain: true,
            ..CheckRequest::default()
        };
        service.query().check(request).await
    };
    for (filters, limit) in [
        (vec!["tags IS SET OR age = 1".to_owned(); 4], "answer_bytes"),
        (vec!["segment('wide')".to_owned(); 40], "explained_nodes"),
        (vec!["NOT segment('deep3')".to_owned()], "explained_depth"),
    ] {
        let status = expect_error(
            ask(filters).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
            Some("explain"),
        );
        assert_eq!(fact(&status, "limit"), limit);
    }
    for filter in ["segment('deep2')", "segment('wide')", "tags IS SET"] {
        let answer = ask(vec![filter.to_owned()]).await.unwrap().into_inner();
        assert_eq!(answer.explanations.len(), 1, "{filter}");
    }
    service.stop().await;
}

#[tokio::test]
async fn users_are_in_the_buckets_that_any_language_computes() {
    let service = Service::start().await;
    let users = (0_i64..).zip(BUCKETS);
    let users = users.map(|(n, (user, _))| set(user, &[("n", int(n))]));
    service.write(users.collect()).await;
    for end in [0, 10, 50, 99, 100] {
        let filter = format!("bucket('spring-test', 100) < {end}");
        let expected = below(end);
        assert_eq!(service.count(&filter).await, expected.len() as u64);
        assert_eq!(service.members(&filter).await, expected, "{end}");
        let others = format!("n >= 0 AND NOT {filter}");
        let others = service.count(&others).await;
        assert_eq!(others, (BUCKETS.len() - expected.len()) as u64);
    }
    save(
        &service,
        "spring",
        "bucket('spring-test', 100) < 50 AND n >= 3",
    )
    .await;
    for (n, (user, number)) in BUCKETS.into_iter().enumerate() {
        let request = CheckRequest {
            user_id: user.into(),
            expressions: vec![
                bucket(Operator::Equal, &[number]),
                bucket(Operator::NotIn, &[1, number]),
                bucket(Operator::LessOrEqual, &[number]),
                bucket(Operator::Greater, &[number]),
            ],
            segments: vec!["spring".into()],
            ..CheckRequest::default()
        };
        let answer = service.query().check(request).await.unwrap().into_inner();
        let in_spring = number < 50 && n >= 3;
        assert_eq!(
            answer.members,
            [true, false, true, false, in_spring],
            "{user}"
        );
        let request = ListUserSegmentsRequest {
            user_id: user.into(),
            ..ListUserSegmentsRequest::default()
        };
        let answer = service.segments().list_user_segments(request).await;
        let found = answer.unwrap().into_inner().segments;
        assert_eq!(found, vec!["spring"; usize::from(in_spring)], "{user}");
    }
    let request = BatchCheckRequest {
        user_ids: BUCKETS.iter().map(|(user, _)| (*user).to_owned()).collect(),
        filters: vec!["bucket('spring-test', 100) < 50".into()],
        ..BatchCheckRequest::default()
    };
    let answer = service.query().batch_check(request).await.unwrap();
    for (check, (_, number)) in answer.into_inner().users.iter().zip(BUCKETS) {
        assert_eq!(check.members, [number < 50], "{}", check.user_id);
    }

    // Ids are hashed last, however few are expected.
    let request = ExplainRequest {
        selection: Some(explain_request::Selection::Filter(
            "bucket('spring-test', 100) = 1 AND n >= 0 AND n != 3".into(),
        )),
        ..ExplainRequest::default()
    };
    let answer = service.query().explain(request).await.unwrap().into_inner();
    let last = answer.plan.unwrap().children.pop().unwrap();
    assert_eq!(last.description, "bucket('spring-test', 100) = 1");
    assert_eq!(last.access, "hashed ids");

    let request = CheckRequest {
        user_id: "u1".into(),
        expressions: vec![bucket(Operator::Equal, &[100])],
        ..CheckRequest::default()
    };
    expect_error(
        service.query().check(request).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("expressions[0].bucket.numbers[0]"),
    );
    service.stop().await;
}
