//! Previews of definitions: what they count, what they refuse, and that nothing is saved.

use headcount::api::RpcStatus;
use headcount::proto::{
    self, CreateSegmentRequest, Event, Expression, ListSegmentsRequest, PreviewSegmentRequest,
    PreviewSegmentResponse, Segment, UpdateSegmentRequest, UserUpdate, expression,
    preview_segment_request::Definition, segment,
};
use tonic::Code;

use crate::harness::{Service, expect_error, fact, instant, int, set, text};

/// Twenty users: `n` is their number, the even ones are pro, the last of them bought something.
async fn service() -> Service {
    let service = Service::start().await;
    let users = (0..20).map(|n| {
        let plan = if n % 2 == 0 { "pro" } else { "free" };
        set(&format!("u{n:02}"), &[("n", int(n)), ("plan", text(plan))])
    });
    let mut users: Vec<UserUpdate> = users.collect();
    users[19].events.push(Event {
        name: "purchase".into(),
        time: Some(instant("2025-12-31")),
        ..Event::default()
    });
    service.write(users).await;
    service
}

fn named(name: &str, filter: &str) -> Segment {
    Segment {
        name: name.into(),
        definition: Some(segment::Definition::Filter(filter.into())),
        ..Segment::default()
    }
}

async fn create(service: &Service, name: &str, filter: &str) -> Result<(), RpcStatus> {
    let request = CreateSegmentRequest {
        segment: Some(named(name, filter)),
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.map(|_| ())
}

async fn update(service: &Service, name: &str, filter: &str) -> Result<(), RpcStatus> {
    let request = UpdateSegmentRequest {
        segment: Some(named(name, filter)),
        ..UpdateSegmentRequest::default()
    };
    service.segments().update_segment(request).await.map(|_| ())
}

fn of(name: &str, filter: &str) -> PreviewSegmentRequest {
    PreviewSegmentRequest {
        name: name.into(),
        definition: Some(Definition::Filter(filter.into())),
        ..PreviewSegmentRequest::default()
    }
}

async fn ask(
    service: &Service,
    request: PreviewSegmentRequest,
) -> Result<PreviewSegmentResponse, RpcStatus> {
    let answer = service.segments().preview_segment(request).await?;
    Ok(answer.into_inner())
}

async fn saved(service: &Service) -> Vec<Segment> {
    let request = ListSegmentsRequest::default();
    let answer = service.segments().list_segments(request).await;
    answer.unwrap().into_inner().segments
}

#[tokio::test]
async fn a_preview_counts_names_and_saves_nothing() {
    let service = service().await;
    create(&service, "vip", "n < 12").await.unwrap();
    create(&service, "outer", "NOT segment('vip')")
        .await
        .unwrap();
    create(&service, "inmost", "segment('outer') AND n >= 18")
        .await
        .unwrap();
    create(&service, "apart", "n > 3").await.unwrap();
    let before = saved(&service).await;
    let asked = PreviewSegmentRequest {
        sample_size: 2,
        ..of("vip", "plan = 'pro' AND n >= 2 AND n != 4")
    };
    let found = ask(&service, asked).await.unwrap();
    assert!(found.exists && !found.revision.is_empty());
    assert_eq!(
        (found.users, found.count_now, found.count_then),
        (20, 12, 8)
    );
    let passage = (found.entering, found.staying, found.leaving);
    assert_eq!(passage, (4, 4, 8));
    assert_eq!(found.entering_user_ids, ["u12", "u14"]);
    assert_eq!(found.leaving_user_ids, ["u00", "u01"]);
    let clauses = found.clauses.iter();
    let clauses: Vec<_> = clauses
        .map(|clause| (clause.filter.as_str(), clause.count, clause.remaining))
        .collect();
    assert_eq!(
        clauses,
        [
            ("plan = 'pro'", 10, 10),
            ("n >= 2", 18, 9),
            ("n != 4", 19, 8)
        ]
    );
    assert_eq!(found.dependent_count, 2);
    let dependents = found.dependents.iter();
    let dependents: Vec<_> = dependents
        .map(|one| (one.name.as_str(), one.entering, one.leaving))
        .collect();
    assert_eq!(
        dependents,
        [("inmost", Some(0), Some(1)), ("outer", Some(8), Some(4))]
    );
    assert_eq!(found.time_resolution, None);
    assert_eq!(saved(&service).await, before);
}

#[tokio::test]
async fn a_segment_that_does_not_exist_has_nobody_so_far() {
    let service = service().await;
    let tree = Expression {
        kind: Some(expression::Kind::Everyone(proto::Everyone {})),
    };
    for name in ["", "new"] {
        let request = PreviewSegmentRequest {
            definition: Some(Definition::Expression(tree.clone())),
            ..of(name, "")
        };
        let found = ask(&service, request).await.unwrap();
        assert!(!found.exists);
        assert_eq!((found.count_now, found.entering, found.leaving), (0, 20, 0));
        // Ten are named if it is not said how many.
        assert_eq!(found.entering_user_ids.len(), 10);
        assert!(found.leaving_user_ids.is_empty());
        let clause = &found.clauses[0];
        assert_eq!((clause.filter.as_str(), clause.remaining), ("TRUE", 20));
    }
    assert!(saved(&service).await.is_empty());
}

#[tokio::test]
async fn all_is_as_of_one_instant() {
    let service = service().await;
    create(&service, "buyers", "count(purchase, 30d) >= 1")
        .await
        .unwrap();
    create(&service, "outer", "segment('buyers')")
        .await
        .unwrap();
    let request = |as_of: &str| PreviewSegmentRequest {
        as_of: Some(instant(as_of)),
        ..of("buyers", "n >= 19")
    };
    let found = ask(&service, request("2026-01-01")).await.unwrap();
    let passage = (found.entering, found.staying, found.leaving);
    assert_eq!(passage, (0, 1, 0));
    assert!(found.time_resolution.is_some());
    let found = ask(&service, request("2026-03-01")).await.unwrap();
    let passage = (found.entering, found.staying, found.leaving);
    assert_eq!(passage, (1, 0, 0));
    assert_eq!(found.as_of, Some(instant("2026-03-01")));
    assert_eq!(found.dependents[0].entering, Some(1));
}

/// An error of saving a definition, with what is different of a preview's left out.
fn said(error: &RpcStatus) -> (Code, String) {
    (error.code(), error.message().to_owned())
}

#[tokio::test]
async fn what_can_not_be_saved_is_refused_as_when_it_is_saved() {
    let service = service().await;
    create(&service, "s0", "TRUE").await.unwrap();
    for level in 1..8 {
        let definition = format!("segment('s{}')", level - 1);
        create(&service, &format!("s{level}"), &definition)
            .await
            .unwrap();
    }
    let cases = [
        ("segment('s7')", Code::FailedPrecondition, "SEGMENT_CYCLE"),
        ("segment('s0')", Code::FailedPrecondition, "SEGMENT_CYCLE"),
        ("nothing = 1", Code::InvalidArgument, "UNKNOWN_PROPERTY"),
        ("segment('x')", Code::InvalidArgument, "UNKNOWN_SEGMENT"),
        ("n = 'a'", Code::InvalidArgument, "PREDICATE_TYPE"),
        ("n = ", Code::InvalidArgument, "FILTER_SYNTAX"),
    ];
    for (filter, code, reason) in cases {
        let error = expect_error(
            ask(&service, of("s0", filter)).await,
            code,
            reason,
            Some("filter"),
        );
        let refused = update(&service, "s0", filter).await;
        let refused = expect_error(refused, code, reason, Some("segment.filter"));
        assert_eq!(said(&error), said(&refused));
    }
    // Nine levels, for one that is new and one without a name.
    for name in ["new", ""] {
        let error = expect_error(
            ask(&service, of(name, "segment('s7')")).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
            Some("filter"),
        );
        assert_eq!(fact(&error, "limit"), "segment_depth");
    }
    let created = create(&service, "new", "segment('s7')").await;
    expect_error(
        created,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("segment.filter"),
    );
    // Of a segment that is made of itself where there is none of that name yet, too.
    let result = ask(&service, of("new", "segment('new')")).await;
    expect_error(
        result,
        Code::FailedPrecondition,
        "SEGMENT_CYCLE",
        Some("filter"),
    );
}

#[tokio::test]
async fn malformed_requests_name_their_field() {
    let service = service().await;
    let expect = async |request: PreviewSegmentRequest, field: &str| {
        let result = ask(&service, request).await;
        expect_error(result, Code::InvalidArgument, "INVALID_FIELD", Some(field));
    };
    expect(of("a\nb", "TRUE"), "name").await;
    let no_definition = PreviewSegmentRequest::default();
    expect(no_definition, "filter").await;
    let negative = PreviewSegmentRequest {
        sample_size: -1,
        ..of("", "TRUE")
    };
    expect(negative, "sample_size").await;
    let population = PreviewSegmentRequest {
        population: "nobody".into(),
        ..of("", "TRUE")
    };
    let result = ask(&service, population).await;
    expect_error(result, Code::NotFound, "POPULATION_NOT_FOUND", None);
}

#[tokio::test]
async fn a_static_list_has_no_definition_to_preview() {
    let service = service().await;
    let list = Segment {
        definition: Some(segment::Definition::StaticList(proto::StaticList::default())),
        ..named("list", "")
    };
    let request = CreateSegmentRequest {
        segment: Some(list),
        user_ids: vec!["u01".into(), "u02".into()],
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.unwrap();
    // Refused as the change would be, whatever else is wrong with it.
    for definition in ["n < 5", "nothing = 1"] {
        expect_error(
            ask(&service, of("list", definition)).await,
            Code::FailedPrecondition,
            "SEGMENT_KIND",
            Some("filter"),
        );
        expect_error(
            update(&service, "list", definition).await,
            Code::FailedPrecondition,
            "SEGMENT_KIND",
            Some("segment.filter"),
        );
    }
    let found = ask(&service, of("new", "segment('list') AND n < 2")).await;
    let found = found.unwrap();
    assert_eq!(found.entering_user_ids, ["u01"]);
    assert_eq!(found.clauses[0].count, 2);
}
