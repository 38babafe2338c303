//! Segments that are saved: kept, changed, and asked for by name.

use headcount::api::RpcStatus;
use headcount::proto::{
    self, BatchCheckRequest, BatchCountRequest, BreakdownRequest, CheckRequest, CountRequest,
    CreateSegmentRequest, CreateSnapshotRequest, DeleteEventRequest, DeletePropertyRequest,
    DeleteSegmentRequest, Event, GetSegmentRequest, ListMembersRequest, ListSegmentsRequest,
    ListUserSegmentsRequest, Segment, Selection, StreamMembersRequest, SummarizeRequest,
    UpdateSegmentRequest, UserUpdate, breakdown_request, count_request, list_members_request,
    segment, selection, stream_members_request, summarize_request,
};
use tonic::Code;

use crate::harness::{
    NOW, Service, expect_error, fact, instant, int, map, set, set_of, text, user,
};

/// Ten users: `n` is their number, the even ones are pro, the last of them bought something.
pub(crate) async fn service() -> Service {
    let service = Service::start().await;
    fill(&service).await;
    service
}

async fn fill(service: &Service) {
    let users = (0..10).map(|n| {
        let plan = if n % 2 == 0 { "pro" } else { "free" };
        let properties = [
            ("n", int(n)),
            ("plan", text(plan)),
            ("tags", set_of(&["all"])),
        ];
        set(&format!("u{n}"), &properties)
    });
    let mut users: Vec<UserUpdate> = users.collect();
    users[9].events.push(Event {
        name: "purchase".into(),
        time: Some(instant("2025-12-31")),
        ..Event::default()
    });
    service.write(users).await;
}

fn filter(text: &str) -> segment::Definition {
    segment::Definition::Filter(text.into())
}

pub(crate) fn named(name: &str, text: &str) -> Segment {
    Segment {
        name: name.into(),
        definition: Some(filter(text)),
        ..Segment::default()
    }
}

pub(crate) async fn try_create(service: &Service, segment: Segment) -> Result<Segment, RpcStatus> {
    let request = CreateSegmentRequest {
        segment: Some(segment),
        ..CreateSegmentRequest::default()
    };
    let answer = service
        .segments()
        .create_segment(request)
        .await?
        .into_inner();
    assert!(!answer.revision.is_empty());
    Ok(answer.segment.unwrap())
}

pub(crate) async fn create(service: &Service, name: &str, text: &str) -> Segment {
    try_create(service, named(name, text)).await.unwrap()
}

pub(crate) async fn try_update(
    service: &Service,
    segment: Segment,
    mask: &[&str],
) -> Result<Segment, RpcStatus> {
    let request = UpdateSegmentRequest {
        segment: Some(segment),
        update_mask: Some(prost_types::FieldMask {
            paths: mask.iter().map(ToString::to_string).collect(),
        }),
        ..UpdateSegmentRequest::default()
    };
    let answer = service.segments().update_segment(request).await?;
    Ok(answer.into_inner().segment.unwrap())
}

async fn try_get(service: &Service, name: &str) -> Result<Segment, RpcStatus> {
    let request = GetSegmentRequest {
        name: name.into(),
        ..GetSegmentRequest::default()
    };
    let answer = service.segments().get_segment(request).await?;
    Ok(answer.into_inner().segment.unwrap())
}

fn deleting(name: &str) -> DeleteSegmentRequest {
    DeleteSegmentRequest {
        name: name.into(),
        ..DeleteSegmentRequest::default()
    }
}

async fn delete(service: &Service, request: DeleteSegmentRequest) -> Result<bool, RpcStatus> {
    let answer = service.segments().delete_segment(request).await?;
    Ok(answer.into_inner().existed)
}

pub(crate) async fn count(service: &Service, segment: &str) -> Result<u64, RpcStatus> {
    let request = CountRequest {
        selection: Some(count_request::Selection::Segment(segment.into())),
        ..CountRequest::default()
    };
    Ok(service.query().count(request).await?.into_inner().count)
}

async fn of(service: &Service, user_id: &str) -> Vec<String> {
    let request = ListUserSegmentsRequest {
        user_id: user_id.into(),
        ..ListUserSegmentsRequest::default()
    };
    let answer = service.segments().list_user_segments(request).await;
    answer.unwrap().into_inner().segments
}

#[tokio::test]
async fn a_segment_is_created_shown_changed_and_deleted() {
    let service = service().await;
    let given = Segment {
        description: "who pays".into(),
        labels: map(&[("team", "growth".to_owned()), ("empty", String::new())]),
        ..named("vip", "plan='pro'   AND n>=4")
    };
    let created = try_create(&service, given.clone()).await.unwrap();
    let expected = Segment {
        definition: Some(filter("plan = 'pro' AND n >= 4")),
        create_time: Some(instant(NOW)),
        update_time: Some(instant(NOW)),
        revision: created.revision.clone(),
        etag: created.etag.clone(),
        ..given.clone()
    };
    assert_eq!(created, expected);
    assert!(!created.etag.is_empty() && !created.revision.is_empty());
    assert_eq!(try_get(&service, "vip").await.unwrap(), expected);
    let refused = try_create(&service, given).await;
    let field = Some("segment.name");
    let status = expect_error(refused, Code::AlreadyExists, "SEGMENT_EXISTS", field);
    assert_eq!(fact(&status, "segment"), "vip");

    service.clock.advance("1h".parse().unwrap());
    let change = Segment {
        labels: map(&[("team", "sales".to_owned())]),
        ..named("vip", "n >= 5")
    };
    // Only what the mask names, and what it names and is not set is emptied.
    let updated = try_update(&service, change, &["labels", "description"]).await;
    let updated = updated.unwrap();
    let expected = Segment {
        description: String::new(),
        labels: map(&[("team", "sales".to_owned())]),
        update_time: Some(instant("2026-01-01T01:00:00Z")),
        revision: updated.revision.clone(),
        etag: updated.etag.clone(),
        ..expected
    };
    assert_eq!(updated, expected);
    assert!(updated.etag != created.etag && updated.revision != created.revision);
    // Without a mask, all that is set.
    let updated = try_update(&service, named("vip", "n >= 5"), &[]).await;
    let updated = updated.unwrap();
    assert_eq!(updated.definition, Some(filter("n >= 5")));
    assert_eq!(updated.labels, expected.labels);
    assert_eq!(count(&service, "vip").await.unwrap(), 5);

    assert!(delete(&service, deleting("vip")).await.unwrap());
    let gone = try_get(&service, "vip").await;
    expect_error(gone, Code::NotFound, "SEGMENT_NOT_FOUND", Some("name"));
    create(&service, "vip", "TRUE").await;
    service.stop().await;
}

#[tokio::test]
async fn a_definition_can_be_a_tree() {
    let service = service().await;
    let tree = proto::Expression {
        kind: Some(proto::expression::Kind::Predicate(Box::new(
            proto::Predicate {
                property: "plan".into(),
                operator: proto::Operator::NotEqual.into(),
                values: vec![text("pro")],
                ..proto::Predicate::default()
            },
        ))),
    };
    let of_tree = |tree| Segment {
        definition: Some(segment::Definition::Expression(tree)),
        ..named("free", "")
    };
    let created = try_create(&service, of_tree(tree.clone())).await.unwrap();
    assert_eq!(created.definition, Some(filter("plan != 'pro'")));
    assert_eq!(count(&service, "free").await.unwrap(), 5);
    let updated = try_update(&service, of_tree(tree), &["expression"]).await;
    assert!(try_get(&service, "free").await.unwrap().history.is_empty());
    assert_eq!(updated.unwrap().definition, Some(filter("plan != 'pro'")));
    let bad = Code::InvalidArgument;
    let refused = try_create(&service, of_tree(proto::Expression::default())).await;
    expect_error(refused, bad, "INVALID_FIELD", Some("segment.expression"));
    service.stop().await;
}

#[tokio::test]
async fn what_changed_since_is_not_changed_unread() {
    let service = service().await;
    let first = create(&service, "vip", "n > 1").await;
    let with = |etag: &str| Segment {
        etag: etag.into(),
        ..named("vip", "n > 2")
    };
    let second = try_update(&service, with(&first.etag), &[]).await.unwrap();
    assert_eq!(second.definition, Some(filter("n > 2")));
    let refused = try_update(&service, with(&first.etag), &[]).await;
    let field = Some("segment.etag");
    let status = expect_error(refused, Code::Aborted, "SEGMENT_CHANGED", field);
    assert_eq!(fact(&status, "segment"), "vip");
    let refused = try_update(&service, with("no etag"), &[]).await;
    expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", field);

    let with = |etag: &str| DeleteSegmentRequest {
        etag: etag.into(),
        ..deleting("vip")
    };
    let refused = delete(&service, with(&first.etag)).await;
    expect_error(refused, Code::Aborted, "SEGMENT_CHANGED", Some("etag"));
    assert!(delete(&service, with(&second.etag)).await.unwrap());
    service.stop().await;
}

#[tokio::test]
async fn a_segment_that_is_missing_is_named() {
    let service = service().await;
    create(&service, "frequent", "n > 1").await;
    for (refused, field) in [
        (try_get(&service, "frequnt").await.err(), "name"),
        (delete(&service, deleting("frequnt")).await.err(), "name"),
        (
            try_update(&service, named("frequnt", "n > 'x'"), &[])
                .await
                .err(),
            "segment.name",
        ),
    ] {
        let refused: Result<(), _> = Err(refused.unwrap());
        let status = expect_error(refused, Code::NotFound, "SEGMENT_NOT_FOUND", Some(field));
        assert_eq!(fact(&status, "suggestions"), "frequent");
    }
    let allowed = |population: &str| DeleteSegmentRequest {
        allow_missing: true,
        population: population.into(),
        ..deleting("nobody")
    };
    assert!(!delete(&service, allowed("")).await.unwrap());
    assert!(!delete(&service, allowed("nowhere")).await.unwrap());
    let request = CreateSegmentRequest {
        population: "nowhere".into(),
        segment: Some(named("vip", "TRUE")),
        ..CreateSegmentRequest::default()
    };
    let refused = service.segments().create_segment(request).await;
    expect_error(refused, Code::NotFound, "POPULATION_NOT_FOUND", None);
    service.stop().await;
}

#[tokio::test]
async fn past_definitions_are_kept() {
    let service = service().await;
    let first = create(&service, "vip", "n > 1").await;
    service.clock.advance("1h".parse().unwrap());
    let second = try_update(&service, named("vip", "n > 2"), &[]).await;
    let second = second.unwrap();
    assert!(second.history.is_empty());
    // What is not another definition is none.
    try_update(&service, named("vip", "n  >  2"), &[])
        .await
        .unwrap();
    try_update(&service, named("vip", ""), &["description"])
        .await
        .unwrap();
    try_update(&service, named("vip", "n > 3"), &[])
        .await
        .unwrap();
    let history = try_get(&service, "vip").await.unwrap().history;
    let past = |text: &str, of: &Segment| proto::SegmentDefinition {
        filter: text.into(),
        revision: of.revision.clone(),
        save_time: of.update_time,
    };
    assert_eq!(history, [past("n > 1", &first), past("n > 2", &second)]);
    service.stop().await;
}

#[tokio::test]
async fn past_definitions_together_are_no_longer_than_a_filter() {
    let service = service().await;
    create(&service, "long", "n = 0").await;
    for n in 0..20 {
        // 9,006 bytes each, of which 7 fit into 65,536.
        let list: Vec<String> = (0..500)
            .map(|m| format!("{}", m * 100 + 1_000_000_000_000_000_i64 + n))
            .collect();
        let change = named("long", &format!("n IN ({})", list.join(", ")));
        try_update(&service, change, &[]).await.unwrap();
    }
    let history = try_get(&service, "long").await.unwrap().history;
    assert_eq!(history.len(), 7);
    let last = &history.last().unwrap().filter;
    assert!(
        last.starts_with("n IN (1000000000000018,"),
        "{}",
        &last[..30]
    );
    service.stop().await;
}

#[tokio::test]
async fn segments_are_listed_page_by_page() {
    let service = service().await;
    let names: Vec<String> = (0..25).map(|n| format!("s{n:02}")).collect();
    for name in names.iter().rev() {
        create(&service, name, "n > 1").await;
    }
    let mut listed = Vec::new();
    let mut request = ListSegmentsRequest {
        page_size: 10,
        ..ListSegmentsRequest::default()
    };
    loop {
        let page = service.segments().list_segments(request.clone()).await;
        let page = page.unwrap().into_inner();
        assert!(page.segments.len() <= 10 && !page.revision.is_empty());
        listed.extend(page.segments.into_iter().map(|segment| segment.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, names);
    request.page_token = "x".into();
    let refused = service.segments().list_segments(request).await;
    let bad = Code::InvalidArgument;
    expect_error(refused, bad, "PAGE_TOKEN_INVALID", Some("page_token"));
    service.stop().await;
}

#[tokio::test]
async fn a_definition_that_can_not_be_asked_is_not_saved() {
    let service = service().await;
    create(&service, "vip", "n > 1").await;
    let bad = Code::InvalidArgument;
    for (text, code, reason) in [
        ("n >=", bad, "FILTER_SYNTAX"),
        ("", bad, "FILTER_SYNTAX"),
        ("m > 1", bad, "UNKNOWN_PROPERTY"),
        ("n > 'x'", bad, "PREDICATE_TYPE"),
        ("tags = 'all'", bad, "PREDICATE_TYPE"),
        ("count(login, 30d) > 1", bad, "UNKNOWN_EVENT"),
        ("n > 1 AND segment('vop')", bad, "UNKNOWN_SEGMENT"),
        ("segment('new')", Code::FailedPrecondition, "SEGMENT_CYCLE"),
    ] {
        let field = Some("segment.filter");
        let refused = try_create(&service, named("new", text)).await;
        expect_error(refused, code, reason, field);
        let own = text.replace("new", "vip");
        let refused = try_update(&service, named("vip", &own), &["filter"]).await;
        expect_error(refused, code, reason, field);
    }
    let refused = try_create(
        &service,
        Segment {
            definition: None,
            ..named("new", "")
        },
    );
    let refused = refused.await;
    expect_error(refused, bad, "INVALID_FIELD", Some("segment.filter"));
    for (segment, reason, field) in [
        (named("", "TRUE"), "INVALID_FIELD", "segment.name"),
        (named("a\nb", "TRUE"), "INVALID_FIELD", "segment.name"),
        (
            named(&"x".repeat(129), "TRUE"),
            "LIMIT_EXCEEDED",
            "segment.name",
        ),
        (
            Segment {
                description: "x".repeat(1_025),
                ..named("new", "TRUE")
            },
            "LIMIT_EXCEEDED",
            "segment.description",
        ),
        (
            Segment {
                labels: map(&[("k", "x".repeat(1_025))]),
                ..named("new", "TRUE")
            },
            "LIMIT_EXCEEDED",
            "segment.labels[\"k\"]",
        ),
    ] {
        let refused = try_create(&service, segment).await;
        expect_error(refused, bad, reason, Some(field));
    }
    let refused = try_update(&service, named("vip", "TRUE"), &["name"]).await;
    expect_error(refused, bad, "INVALID_FIELD", Some("update_mask"));
    let missing = CreateSegmentRequest::default();
    let refused = service.segments().create_segment(missing).await;
    expect_error(refused, bad, "INVALID_FIELD", Some("segment"));
    assert_eq!(of(&service, "u9").await, ["vip"]);
    service.stop().await;
}

#[tokio::test]
async fn segments_are_made_of_segments_and_not_of_themselves() {
    let service = service().await;
    create(&service, "pro", "plan = 'pro'").await;
    create(&service, "high", "n >= 4").await;
    create(&service, "both", "segment('pro') AND segment('high')").await;
    create(&service, "not both", "NOT segment('both')").await;
    assert_eq!(count(&service, "both").await.unwrap(), 3);
    assert_eq!(count(&service, "not both").await.unwrap(), 7);
    // All that is made of it changes with it.
    try_update(&service, named("high", "n >= 6"), &[])
        .await
        .unwrap();
    assert_eq!(count(&service, "both").await.unwrap(), 2);
    assert_eq!(service.count("segment('not both') AND n < 3").await, 3);

    let failed = Code::FailedPrecondition;
    let field = Some("segment.filter");
    for text in ["segment('not both')", "n > 1 OR NOT segment('pro')"] {
        let refused = try_update(&service, named("pro", text), &[]).await;
        expect_error(refused, failed, "SEGMENT_CYCLE", field);
    }
    for depth in 2..=8 {
        let inner = if depth == 2 {
            "pro".into()
        } else {
            format!("d{}", depth - 1)
        };
        create(
            &service,
            &format!("d{depth}"),
            &format!("segment('{inner}')"),
        )
        .await;
    }
    let refused = try_create(&service, named("d9", "segment('d8')")).await;
    let bad = Code::InvalidArgument;
    let status = expect_error(refused, bad, "LIMIT_EXCEEDED", field);
    assert_eq!(fact(&status, "limit"), "segment_depth");
    service.stop().await;
}

#[tokio::test]
async fn what_a_segment_is_made_of_stays() {
    let service = service().await;
    create(&service, "pro", "plan = 'pro'").await;
    create(
        &service,
        "buyers",
        "segment('pro') OR count(purchase, 30d) > 0",
    )
    .await;
    let failed = Code::FailedPrecondition;
    let refused = delete(&service, deleting("pro")).await;
    let status = expect_error(refused, failed, "SEGMENT_IN_USE", Some("name"));
    assert_eq!(fact(&status, "segment"), "buyers");
    let property = || DeletePropertyRequest {
        name: "plan".into(),
        ..DeletePropertyRequest::default()
    };
    let refused = service.schema().delete_property(property()).await;
    let status = expect_error(refused, failed, "SEGMENT_IN_USE", Some("name"));
    assert_eq!(fact(&status, "segment"), "pro");
    let event = || DeleteEventRequest {
        name: "purchase".into(),
        ..DeleteEventRequest::default()
    };
    let refused = service.schema().delete_event(event()).await;
    let status = expect_error(refused, failed, "SEGMENT_IN_USE", Some("name"));
    assert_eq!(fact(&status, "segment"), "buyers");

    delete(&service, deleting("buyers")).await.unwrap();
    delete(&service, deleting("pro")).await.unwrap();
    service.schema().delete_property(property()).await.unwrap();
    service.schema().delete_event(event()).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn users_are_checked_by_segment() {
    let service = service().await;
    create(&service, "pro", "plan = 'pro'").await;
    create(&service, "high", "n >= 4").await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let everyone = proto::Expression {
        kind: Some(proto::expression::Kind::Everyone(proto::Everyone {})),
    };
    let request = CheckRequest {
        user_id: "u2".into(),
        segments: names(&["pro", "high"]),
        ..CheckRequest::default()
    };
    let answer = service.query().check(request.clone()).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.members, [true, false]);
    assert!(answer.user_exists && answer.time_resolution.is_none());
    let mixed = CheckRequest {
        filters: names(&["n = 3"]),
        expressions: vec![everyone.clone()],
        ..request.clone()
    };
    let answer = service.query().check(mixed).await.unwrap().into_inner();
    assert_eq!(answer.members, [false, true, true, false]);
    // So many are answered elsewhere, and the same.
    let many = CheckRequest {
        segments: ["high", "pro"]
            .repeat(200)
            .iter()
            .map(ToString::to_string)
            .collect(),
        ..request.clone()
    };
    let answer = service.query().check(many).await.unwrap().into_inner();
    assert_eq!(answer.members, [false, true].repeat(200));
    // A changed definition is seen by the next check.
    try_update(&service, named("pro", "plan != 'pro'"), &[])
        .await
        .unwrap();
    let answer = service.query().check(request.clone()).await.unwrap();
    assert_eq!(answer.into_inner().members, [false, false]);

    let batch = BatchCheckRequest {
        user_ids: names(&["u3", "u4", "nobody"]),
        filters: names(&["TRUE"]),
        expressions: vec![everyone],
        segments: names(&["high", "pro"]),
        ..BatchCheckRequest::default()
    };
    let answer = service.query().batch_check(batch.clone()).await.unwrap();
    let users = answer.into_inner().users;
    assert_eq!(users[0].members, [true, true, false, true]);
    assert_eq!(users[1].members, [true, true, true, false]);
    assert!(!users[2].user_exists && users[2].members == [false; 4]);

    let bad = Code::InvalidArgument;
    for (name, reason) in [("prp", "UNKNOWN_SEGMENT"), ("", "INVALID_FIELD")] {
        let segments = names(&["high", name]);
        let one = CheckRequest {
            segments: segments.clone(),
            ..request.clone()
        };
        let refused = service.query().check(one).await;
        expect_error(refused, bad, reason, Some("segments[1]"));
        let many = BatchCheckRequest {
            segments,
            ..batch.clone()
        };
        let refused = service.query().batch_check(many).await;
        expect_error(refused, bad, reason, Some("segments[1]"));
    }
    let none = CheckRequest {
        segments: Vec::new(),
        ..request.clone()
    };
    let refused = service.query().check(none).await;
    expect_error(refused, bad, "INVALID_FIELD", Some("filters"));
    let many = CheckRequest {
        segments: vec!["pro".into(); 1_001],
        ..request
    };
    let refused = service.query().check(many).await;
    expect_error(refused, bad, "LIMIT_EXCEEDED", Some("filters"));
    service.stop().await;
}

#[tokio::test]
async fn all_questions_are_asked_of_a_segment() {
    let service = service().await;
    create(&service, "pro", "plan = 'pro'").await;
    let mut query = service.query();
    assert_eq!(count(&service, "pro").await.unwrap(), 5);
    let refused = count(&service, "prp").await;
    let bad = Code::InvalidArgument;
    let status = expect_error(refused, bad, "UNKNOWN_SEGMENT", Some("segment"));
    assert_eq!(fact(&status, "suggestions"), "pro");

    let named = |name: &str| Selection {
        selection: Some(selection::Selection::Segment(name.into())),
    };
    let request = BatchCountRequest {
        selections: vec![named("pro"), named("pro")],
        ..BatchCountRequest::default()
    };
    let answer = query.batch_count(request.clone()).await.unwrap();
    assert_eq!(answer.into_inner().counts, [5, 5]);
    let request = BatchCountRequest {
        selections: vec![named("pro"), named("x")],
        ..request
    };
    let refused = query.batch_count(request).await;
    expect_error(
        refused,
        bad,
        "UNKNOWN_SEGMENT",
        Some("selections[1].segment"),
    );

    let request = ListMembersRequest {
        selection: Some(list_members_request::Selection::Segment("pro".into())),
        page_size: 3,
        ..ListMembersRequest::default()
    };
    let page = query
        .list_members(request.clone())
        .await
        .unwrap()
        .into_inner();
    let next = ListMembersRequest {
        page_token: page.next_page_token,
        ..request
    };
    let rest = query.list_members(next).await.unwrap().into_inner();
    let mut members = [page.user_ids, rest.user_ids].concat();
    members.sort();
    assert_eq!(members, ["u0", "u2", "u4", "u6", "u8"]);
    let request = StreamMembersRequest {
        selection: Some(stream_members_request::Selection::Segment("pro".into())),
        ..StreamMembersRequest::default()
    };
    let mut parts = query.stream_members(request).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert_eq!(part.user_ids.len(), 5);

    let request = BreakdownRequest {
        selection: Some(breakdown_request::Selection::Segment("pro".into())),
        properties: vec!["plan".into()],
        ..BreakdownRequest::default()
    };
    let answer = query.breakdown(request).await.unwrap().into_inner();
    assert_eq!((answer.users, answer.properties[0].distinct_values), (5, 1));
    let request = SummarizeRequest {
        selection: Some(summarize_request::Selection::Segment("pro".into())),
        property: "n".into(),
        ..SummarizeRequest::default()
    };
    let answer = query.summarize(request).await.unwrap().into_inner();
    assert_eq!(answer.statistics.unwrap().max, Some(int(8)));
    let request = proto::ExplainRequest {
        selection: Some(proto::explain_request::Selection::Segment("pro".into())),
        ..proto::ExplainRequest::default()
    };
    let answer = query.explain(request).await.unwrap().into_inner();
    assert_eq!((&*answer.filter, answer.count), ("segment('pro')", 5));
    service.stop().await;
}

#[tokio::test]
async fn the_segments_of_a_user_are_told() {
    let service = service().await;
    assert!(of(&service, "u9").await.is_empty());
    create(&service, "pro", "plan = 'pro'").await;
    create(&service, "buyers", "count(purchase, 30d) > 0").await;
    create(&service, "high", "n >= 4").await;
    assert_eq!(of(&service, "u9").await, ["buyers", "high"]);
    assert_eq!(of(&service, "u4").await, ["high", "pro"]);
    assert!(of(&service, "u1").await.is_empty());
    service.write(vec![user("new")]).await;
    let request = |user_id: &str| ListUserSegmentsRequest {
        user_id: user_id.into(),
        ..ListUserSegmentsRequest::default()
    };
    let mut segments = service.segments();
    for (user_id, user_exists) in [("new", true), ("nobody", false)] {
        let answer = segments.list_user_segments(request(user_id)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(
            (answer.segments.len(), answer.user_exists),
            (0, user_exists)
        );
        assert_eq!(answer.time_resolution.unwrap().nanos, 1_000);
        assert!(!answer.revision.is_empty());
    }
    let before = ListUserSegmentsRequest {
        as_of: Some(instant("2025-12-30")),
        ..request("u9")
    };
    let answer = segments.list_user_segments(before).await.unwrap();
    assert_eq!(answer.into_inner().segments, ["high"]);
    let bad = Code::InvalidArgument;
    let refused = segments.list_user_segments(request("")).await;
    expect_error(refused, bad, "INVALID_FIELD", Some("user_id"));
    let ahead = ListUserSegmentsRequest {
        min_revision: "x".into(),
        ..request("u9")
    };
    let refused = segments.list_user_segments(ahead).await;
    expect_error(refused, bad, "REVISION_INVALID", Some("min_revision"));
    let elsewhere = ListUserSegmentsRequest {
        population: "nowhere".into(),
        ..request("u9")
    };
    let refused = segments.list_user_segments(elsewhere).await;
    expect_error(refused, Code::NotFound, "POPULATION_NOT_FOUND", None);
    service.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start_in(folder.path()).await;
    fill(&service).await;
    create(&service, "pro", "plan = 'pro'").await;
    create(&service, "both", "segment('pro') AND count(purchase) = 0").await;
    create(&service, "gone", "TRUE").await;
    let labelled = Segment {
        labels: map(&[("team", "growth".to_owned())]),
        ..named("pro", "n > 3")
    };
    try_update(&service, labelled, &[]).await.unwrap();
    delete(&service, deleting("gone")).await.unwrap();
    // From the log; then from a snapshot, and from what came after it.
    for round in 0..3 {
        let kept = [
            try_get(&service, "pro").await.unwrap(),
            try_get(&service, "both").await.unwrap(),
        ];
        let users = count(&service, "both").await.unwrap();
        service.stop().await;
        service = Service::start_in(folder.path()).await;
        assert_eq!(try_get(&service, "pro").await.unwrap(), kept[0], "{round}");
        assert_eq!(try_get(&service, "both").await.unwrap(), kept[1]);
        assert_eq!(count(&service, "both").await.unwrap(), users);
        let gone = try_get(&service, "gone").await;
        expect_error(gone, Code::NotFound, "SEGMENT_NOT_FOUND", Some("name"));
        // An etag holds across it.
        let change = Segment {
            etag: kept[0].etag.clone(),
            ..named("pro", &format!("n > {round}"))
        };
        if round == 0 {
            let mut admin = service.admin();
            let snapshot = admin.create_snapshot(CreateSnapshotRequest {});
            snapshot.await.unwrap();
        } else {
            try_update(&service, change, &[]).await.unwrap();
        }
    }
    service.stop().await;
}
