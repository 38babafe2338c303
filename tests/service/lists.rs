//! Static lists: segments whose members are given, or frozen.

use headcount::api::RpcStatus;
use headcount::proto::{
    AddSegmentMembersRequest, AddSegmentMembersResponse, CheckRequest, CountRequest,
    CreateSegmentRequest, CreateSegmentResponse, CreateSnapshotRequest, DeleteSegmentRequest,
    DeleteUserRequest, FreezeSource, GetSegmentRequest, ListMembersRequest, ListSegmentsRequest,
    ListUserSegmentsRequest, RemoveSegmentMembersRequest, RemoveSegmentMembersResponse, Segment,
    StaticList, UpdateSegmentRequest, VerifyRequest, count_request, freeze_source,
    list_members_request, segment,
};
use tonic::Code;

use crate::harness::{Service, expect_error, fact, instant, int, set};

/// Ten users, `u0` to `u9`: `n` is their number.
async fn service() -> Service {
    let service = Service::start().await;
    fill(&service).await;
    service
}

async fn fill(service: &Service) {
    let users = (0..10).map(|n| set(&format!("u{n}"), &[("n", int(n))]));
    service.write(users.collect()).await;
}

fn list(name: &str) -> Segment {
    Segment {
        name: name.into(),
        definition: Some(segment::Definition::StaticList(StaticList::default())),
        ..Segment::default()
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

async fn try_create(
    service: &Service,
    request: CreateSegmentRequest,
) -> Result<CreateSegmentResponse, RpcStatus> {
    let created = service.segments().create_segment(request).await?;
    Ok(created.into_inner())
}

async fn create(service: &Service, name: &str, users: &[&str]) -> CreateSegmentResponse {
    let request = CreateSegmentRequest {
        segment: Some(list(name)),
        user_ids: ids(users),
        ..CreateSegmentRequest::default()
    };
    try_create(service, request).await.unwrap()
}

fn freezing(name: &str, filter: &str) -> CreateSegmentRequest {
    CreateSegmentRequest {
        segment: Some(list(name)),
        freeze: Some(FreezeSource {
            selection: Some(freeze_source::Selection::Filter(filter.into())),
            as_of: None,
        }),
        ..CreateSegmentRequest::default()
    }
}

async fn try_add(
    service: &Service,
    name: &str,
    users: Vec<String>,
) -> Result<AddSegmentMembersResponse, RpcStatus> {
    let request = AddSegmentMembersRequest {
        name: name.into(),
        user_ids: users,
        ..AddSegmentMembersRequest::default()
    };
    let added = service.segments().add_segment_members(request).await?;
    Ok(added.into_inner())
}

async fn try_remove(
    service: &Service,
    name: &str,
    users: Vec<String>,
) -> Result<RemoveSegmentMembersResponse, RpcStatus> {
    let request = RemoveSegmentMembersRequest {
        name: name.into(),
        user_ids: users,
        ..RemoveSegmentMembersRequest::default()
    };
    let removed = service.segments().remove_segment_members(request).await?;
    Ok(removed.into_inner())
}

fn member_count(segment: Option<&Segment>) -> u64 {
    match segment.and_then(|segment| segment.definition.as_ref()) {
        Some(segment::Definition::StaticList(list)) => list.member_count,
        other => panic!("no list but {other:?}"),
    }
}

async fn get(service: &Service, name: &str) -> Segment {
    let request = GetSegmentRequest {
        name: name.into(),
        ..GetSegmentRequest::default()
    };
    let got = service.segments().get_segment(request).await.unwrap();
    got.into_inner().segment.unwrap()
}

async fn members(service: &Service, name: &str) -> Vec<String> {
    let request = ListMembersRequest {
        selection: Some(list_members_request::Selection::Segment(name.into())),
        ..ListMembersRequest::default()
    };
    let page = service.query().list_members(request).await.unwrap();
    let mut members = page.into_inner().user_ids;
    members.sort();
    members
}

async fn count(service: &Service, filter: &str) -> u64 {
    let request = CountRequest {
        selection: Some(count_request::Selection::Filter(filter.into())),
        ..CountRequest::default()
    };
    let counted = service.query().count(request).await;
    counted.unwrap().into_inner().count
}

async fn delete(service: &Service, name: &str) -> Result<(), RpcStatus> {
    let request = DeleteSegmentRequest {
        name: name.into(),
        ..DeleteSegmentRequest::default()
    };
    service.segments().delete_segment(request).await.map(|_| ())
}

async fn erase(service: &Service, user: &str) {
    let request = DeleteUserRequest {
        user_id: user.into(),
        ..DeleteUserRequest::default()
    };
    service.user().delete_user(request).await.unwrap();
}

/// That the two directions of the index and all counts agree.
async fn verify(service: &Service) {
    let verified = service.admin().verify(VerifyRequest::default()).await;
    for population in verified.unwrap().into_inner().populations {
        assert_eq!(population.mismatch_count, 0, "{population:?}");
        assert_eq!(population.skipped_counts, 0);
    }
}

#[tokio::test]
async fn a_list_is_created_filled_asked_and_deleted() {
    let service = service().await;
    let created = create(&service, "asked", &["u1", "u2", "u2", "nobody"]).await;
    assert_eq!(member_count(created.segment.as_ref()), 2);
    assert_eq!(created.unknown_user_count, 1);
    assert_eq!(created.unknown_user_ids, ["nobody"]);
    let before = get(&service, "asked").await;

    let users = ids(&["u2", "u3", "u4", "x", "u4", "y"]);
    let added = try_add(&service, "asked", users.clone()).await.unwrap();
    assert_eq!((added.added_count, added.unknown_user_count), (2, 2));
    assert_eq!(added.unknown_user_ids, ["x", "y"]);
    let again = try_add(&service, "asked", users).await.unwrap();
    assert_eq!((again.added_count, again.unknown_user_count), (0, 2));
    let removed = try_remove(&service, "asked", ids(&["u1", "u9", "z"])).await;
    let removed = removed.unwrap();
    assert_eq!((removed.removed_count, removed.unknown_user_count), (1, 1));
    assert_eq!(removed.unknown_user_ids, ["z"]);
    assert_eq!(members(&service, "asked").await, ["u2", "u3", "u4"]);
    // Nothing was made of those who do not exist.
    assert_eq!(count(&service, "TRUE").await, 10);

    // It stands wherever a segment does.
    assert_eq!(count(&service, "segment('asked') AND n > 2").await, 2);
    assert_eq!(count(&service, "NOT segment('asked')").await, 7);
    let two = "AT LEAST 2 OF (segment('asked'), n < 3, n = 9)";
    assert_eq!(count(&service, two).await, 1);
    let check = CheckRequest {
        user_id: "u3".into(),
        filters: vec!["segment('asked')".into()],
        segments: vec!["asked".into()],
        ..CheckRequest::default()
    };
    let checked = service.query().check(check).await.unwrap();
    assert_eq!(checked.into_inner().members, [true, true]);
    let of = ListUserSegmentsRequest {
        user_id: "u4".into(),
        ..ListUserSegmentsRequest::default()
    };
    let of = service.segments().list_user_segments(of).await.unwrap();
    assert_eq!(of.into_inner().segments, ["asked"]);

    // Who enters and leaves does not change the segment.
    let after = get(&service, "asked").await;
    assert_eq!(
        (after.etag, after.update_time),
        (before.etag, before.update_time)
    );
    verify(&service).await;

    let nested = CreateSegmentRequest {
        segment: Some(Segment {
            name: "nested".into(),
            definition: Some(segment::Definition::Filter("segment('asked')".into())),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    try_create(&service, nested).await.unwrap();
    let in_use = delete(&service, "asked").await;
    expect_error(
        in_use,
        Code::FailedPrecondition,
        "SEGMENT_IN_USE",
        Some("name"),
    );
    delete(&service, "nested").await.unwrap();
    delete(&service, "asked").await.unwrap();
    // Another list of the name has none of the members.
    create(&service, "asked", &[]).await;
    assert!(members(&service, "asked").await.is_empty());
    verify(&service).await;
}

#[tokio::test]
async fn what_is_selected_is_frozen_once() {
    let service = service().await;
    let created = try_create(&service, freezing("high", "n >= 5")).await;
    assert_eq!(member_count(created.unwrap().segment.as_ref()), 5);
    service.write(vec![set("u1", &[("n", int(50))])]).await;
    service.write(vec![set("u9", &[("n", int(0))])]).await;
    assert_eq!(
        members(&service, "high").await,
        ["u5", "u6", "u7", "u8", "u9"]
    );

    let request = CreateSegmentRequest {
        freeze: Some(FreezeSource {
            selection: Some(freeze_source::Selection::Segment("high".into())),
            as_of: Some(instant("2025-01-01")),
        }),
        ..freezing("copy", "")
    };
    let copied = try_create(&service, request).await.unwrap();
    assert_eq!(member_count(copied.segment.as_ref()), 5);
    erase(&service, "u7").await;
    try_remove(&service, "copy", ids(&["u5"])).await.unwrap();
    assert_eq!(members(&service, "high").await, ["u5", "u6", "u8", "u9"]);
    assert_eq!(members(&service, "copy").await, ["u6", "u8", "u9"]);
    // Who comes again under the id of an erased user is another user.
    service.write(vec![set("u7", &[])]).await;
    assert_eq!(members(&service, "copy").await, ["u6", "u8", "u9"]);
    verify(&service).await;
}

#[tokio::test]
async fn a_list_is_described_and_keeps_its_kind() {
    let service = service().await;
    create(&service, "asked", &["u1"]).await;
    let mut given = get(&service, "asked").await;
    given.description = "who was asked".into();
    let update = |segment: Segment, mask: &[&str]| {
        let request = UpdateSegmentRequest {
            segment: Some(segment),
            update_mask: Some(prost_types::FieldMask { paths: ids(mask) }),
            ..UpdateSegmentRequest::default()
        };
        let mut segments = service.segments();
        async move { segments.update_segment(request).await }
    };
    // As it was read, with a change.
    let updated = update(given.clone(), &[]).await.unwrap().into_inner();
    let updated = updated.segment.unwrap();
    assert_eq!(updated.description, "who was asked");
    assert_eq!(member_count(Some(&updated)), 1);
    let stale = update(given, &[]).await;
    expect_error(
        stale,
        Code::Aborted,
        "SEGMENT_CHANGED",
        Some("segment.etag"),
    );

    let failed = Code::FailedPrecondition;
    let filter = Some(segment::Definition::Filter("n = 1".into()));
    let redefined = Segment {
        definition: filter.clone(),
        ..list("asked")
    };
    let refused = update(redefined, &[]).await;
    expect_error(refused, failed, "SEGMENT_KIND", Some("segment.filter"));
    let defined = CreateSegmentRequest {
        segment: Some(Segment {
            definition: filter,
            ..list("defined")
        }),
        ..CreateSegmentRequest::default()
    };
    try_create(&service, defined).await.unwrap();
    let as_list = Segment {
        description: "x".into(),
        ..list("defined")
    };
    let refused = update(as_list, &[]).await;
    let field = Some("segment.static_list");
    expect_error(refused, failed, "SEGMENT_KIND", field);
    // What the mask does not name does not matter.
    let as_list = || Segment {
        description: "x".into(),
        ..list("defined")
    };
    let updated = update(as_list(), &["description"]).await.unwrap();
    assert_eq!(updated.into_inner().segment.unwrap().description, "x");
    for mask in [
        &["static_list"][..],
        &["*"],
        &["static_list", "description"],
    ] {
        let refused = update(as_list(), mask).await;
        expect_error(refused, failed, "SEGMENT_KIND", field);
    }
    for mask in [
        &["static_list"][..],
        &["*"],
        &["static_list", "description"],
    ] {
        let named = Segment {
            description: "asked again".into(),
            ..list("asked")
        };
        let updated = update(named, mask).await.unwrap().into_inner();
        let updated = updated.segment.unwrap();
        assert_eq!(member_count(Some(&updated)), 1);
        let is_changed = updated.description == "asked again";
        assert_eq!(is_changed, mask != ["static_list"]);
    }
    let unset = Segment {
        definition: None,
        ..list("asked")
    };
    let refused = update(unset, &["static_list"]).await;
    expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", field);
    for outcome in [
        try_add(&service, "defined", ids(&["u1"])).await.map(|_| ()),
        try_remove(&service, "defined", ids(&["u1"]))
            .await
            .map(|_| ()),
    ] {
        let error = expect_error(outcome, failed, "SEGMENT_KIND", Some("name"));
        assert_eq!(fact(&error, "segment"), "defined");
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field_named() {
    let service = service().await;
    create(&service, "asked", &[]).await;
    let invalid = Code::InvalidArgument;
    let both = CreateSegmentRequest {
        user_ids: ids(&["u1"]),
        ..freezing("x", "TRUE")
    };
    let defined = |request: CreateSegmentRequest| CreateSegmentRequest {
        segment: Some(Segment {
            definition: Some(segment::Definition::Filter("TRUE".into())),
            ..list("x")
        }),
        ..request
    };
    let of = |user_ids: Vec<String>| CreateSegmentRequest {
        segment: Some(list("x")),
        user_ids,
        ..CreateSegmentRequest::default()
    };
    let none = CreateSegmentRequest {
        freeze: Some(FreezeSource::default()),
        ..freezing("x", "")
    };
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    for (request, reason, field) in [
        (both, "INVALID_FIELD", "freeze"),
        (defined(freezing("x", "TRUE")), "INVALID_FIELD", "freeze"),
        (defined(of(ids(&["u1"]))), "INVALID_FIELD", "user_ids"),
        (of(ids(&["u1", ""])), "INVALID_FIELD", "user_ids[1]"),
        (of(many.clone()), "LIMIT_EXCEEDED", "user_ids"),
        (none, "INVALID_FIELD", "freeze.filter"),
        (freezing("x", "n >"), "FILTER_SYNTAX", "freeze.filter"),
        (freezing("x", "m > 1"), "UNKNOWN_PROPERTY", "freeze.filter"),
    ] {
        let refused = try_create(&service, request).await;
        expect_error(refused, invalid, reason, Some(field));
    }
    let exists = try_create(&service, freezing("asked", "TRUE")).await;
    expect_error(
        exists,
        Code::AlreadyExists,
        "SEGMENT_EXISTS",
        Some("segment.name"),
    );
    let missing = try_add(&service, "akked", ids(&["u1"])).await;
    let missing = expect_error(missing, Code::NotFound, "SEGMENT_NOT_FOUND", Some("name"));
    assert_eq!(fact(&missing, "suggestions"), "asked");
    for (users, reason, field) in [
        (Vec::new(), "INVALID_FIELD", "user_ids"),
        (ids(&["u1", "", "u2"]), "INVALID_FIELD", "user_ids[1]"),
        (many, "LIMIT_EXCEEDED", "user_ids"),
    ] {
        let added = try_add(&service, "asked", users.clone()).await;
        expect_error(added, invalid, reason, Some(field));
        let removed = try_remove(&service, "asked", users).await;
        expect_error(removed, invalid, reason, Some(field));
    }
    // Nothing of all that was saved.
    let all = service
        .segments()
        .list_segments(ListSegmentsRequest::default())
        .await;
    assert_eq!(all.unwrap().into_inner().segments.len(), 1);
}

/// The longest ids are more than other requests may have.
#[tokio::test]
async fn as_many_users_as_may_be_are_taken_at_once() {
    let service = service().await;
    let long: Vec<String> = (0..10_000).map(|n| format!("{n:0>256}")).collect();
    let request = CreateSegmentRequest {
        user_ids: long.clone(),
        ..CreateSegmentRequest {
            segment: Some(list("long")),
            ..CreateSegmentRequest::default()
        }
    };
    let created = try_create(&service, request).await.unwrap();
    assert_eq!(created.unknown_user_count, 10_000);
    assert_eq!(created.unknown_user_ids, long[..100]);
    for part in long.chunks(2_000) {
        service
            .write(part.iter().map(|id| set(id, &[])).collect())
            .await;
    }
    let added = try_add(&service, "long", long.clone()).await.unwrap();
    assert_eq!((added.added_count, added.unknown_user_count), (10_000, 0));
    assert_eq!(count(&service, "segment('long')").await, 10_000);
    let removed = try_remove(&service, "long", long).await.unwrap();
    assert_eq!(removed.removed_count, 10_000);
    verify(&service).await;
}

#[tokio::test]
async fn lists_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    fill(&service).await;
    create(&service, "given", &["u1", "u2", "u3"]).await;
    try_create(&service, freezing("frozen", "n < 4"))
        .await
        .unwrap();
    let snapshot = service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await;
    snapshot.unwrap();
    create(&service, "later", &["u5"]).await;
    try_add(&service, "given", ids(&["u8"])).await.unwrap();
    try_create(&service, freezing("then", "segment('given')"))
        .await
        .unwrap();
    erase(&service, "u2").await;
    service.stop().await;
    let service = Service::start_in(folder.path()).await;
    assert_eq!(members(&service, "given").await, ["u1", "u3", "u8"]);
    assert_eq!(members(&service, "frozen").await, ["u0", "u1", "u3"]);
    assert_eq!(members(&service, "later").await, ["u5"]);
    assert_eq!(members(&service, "then").await, ["u1", "u3", "u8"]);
    verify(&service).await;
}
