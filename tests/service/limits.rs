//! Every limit: one below it, at it and one beyond.
//!
//! A limit that no call is tried with here has a test elsewhere, which is named.

use headcount::api::RpcStatus;
use headcount::engine::EngineOptions;
use headcount::model::{Limit, StoreLimits, limit};
use headcount::proto::{
    self, AddSegmentMembersRequest, BatchCheckRequest, BatchCountRequest, BreakdownRequest,
    BucketPredicate, CheckRequest, CompareRequest, CountRequest, CreateSegmentRequest, Event,
    ExportFormat, ExportMembersRequest, Expression, ExpressionList, Operator, OverlapRequest,
    Predicate, Segment, Selection, StaticList, SummarizeRequest, UserUpdate, WatchSegmentsRequest,
    WriteRequest, WriteStreamRequest, breakdown_request, compare_request, count_request,
    expression, segment, selection, summarize_request,
};
use headcount::server::ServerConfig;
use headcount::storage::{Disk, RealDisk};
use std::sync::Arc;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{NOW, Service, instant, int, map, set, text, user, value};
use crate::segments::{create, named, try_create, try_update};

/// Limits that no call is tried with here: where their tests are, and what is named there.
const ELSEWHERE: &[(Limit, &str, &str)] = &[
    (
        limit::WINDOW_UNITS,
        "tests/service/kept_events.rs",
        "window_units",
    ),
    (
        limit::EXPLAINED_NODES,
        "tests/service/checks.rs",
        "explained_nodes",
    ),
    (
        limit::EXPLAINED_DEPTH,
        "tests/service/checks.rs",
        "explained_depth",
    ),
    (
        limit::ANSWER_BYTES,
        "tests/service/checks.rs",
        "answer_bytes",
    ),
    (
        limit::MEMBERSHIPS_PER_OVERLAP,
        "src/query/overlap.rs",
        "(20_000_001, 100)",
    ),
    (limit::EXPORTS, "src/api/exports.rs", "limit::EXPORTS"),
    (
        limit::EXPORT_BYTES,
        "src/api/exports.rs",
        "limit::EXPORT_BYTES",
    ),
    (
        limit::REQUEST_IDS,
        "src/population/once/tests.rs",
        "limit::REQUEST_IDS",
    ),
    (
        limit::STREAMS,
        "src/population/once/tests.rs",
        "limit::STREAMS",
    ),
    // These are tried by tests of their own below.
    (limit::WATCHERS, "tests/service/limits.rs", "fn watchers"),
    (
        limit::SEGMENT_HISTORY,
        "tests/service/limits.rs",
        "fn past_definitions",
    ),
    (
        limit::EVENT_AHEAD,
        "tests/service/limits.rs",
        "fn times_of_events",
    ),
    (
        limit::EVENT_RETENTION,
        "tests/service/limits.rs",
        "fn times_of_events",
    ),
    (
        limit::STATIC_LISTS,
        "src/population/lists.rs",
        "fn there_are_no_more_lists_than_may_be",
    ),
    (
        limit::NUMBERS_PER_BREAKDOWN,
        "tests/service/limits.rs",
        "fn different_numbers",
    ),
    // It takes 134 million users to get there: 8 KiB are the most for 65,536 of them.
    (limit::FREEZE_BYTES, "src/query/freeze.rs", "FREEZE_BYTES"),
];

/// Limits of the store, as they are configured here.
const STORE: &[(Limit, u64)] = &[
    (limit::POPULATIONS, 3),
    (limit::USERS, 5),
    (limit::PROPERTIES, 6),
    (limit::DISTINCT_VALUES, 4),
    (limit::SET_ELEMENTS, 7),
    (limit::EVENT_NAMES, 3),
    (limit::EVENTS, 9),
    (limit::SEGMENTS, 4),
];

type Tried = Result<(), RpcStatus>;

fn of(kind: expression::Kind) -> Expression {
    Expression { kind: Some(kind) }
}

fn everyone() -> Expression {
    of(expression::Kind::Everyone(proto::Everyone {}))
}

fn any_of(expressions: Vec<Expression>) -> Expression {
    of(expression::Kind::AnyOf(ExpressionList { expressions }))
}

fn filter(text: &str) -> Selection {
    Selection {
        selection: Some(selection::Selection::Filter(text.into())),
    }
}

fn event(name: &str) -> Event {
    Event {
        name: name.into(),
        time: Some(instant(NOW)),
        ..Event::default()
    }
}

fn did(user_id: &str, events: Vec<Event>) -> UserUpdate {
    UserUpdate {
        events,
        ..user(user_id)
    }
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect()
}

/// A list of nobody.
fn list(name: &str) -> Segment {
    Segment {
        name: name.into(),
        definition: Some(segment::Definition::StaticList(StaticList::default())),
        ..Segment::default()
    }
}

/// The different tries, each on what another may have left.
struct Tries(Service);

impl Tries {
    async fn write(&self, updates: Vec<UserUpdate>) -> Tried {
        self.0.try_write(updates).await.map(|_| ())
    }

    async fn count(&self, text: &str) -> Tried {
        self.0.try_count(text).await.map(|_| ())
    }

    async fn count_tree(&self, expression: Expression) -> Tried {
        let request = CountRequest {
            selection: Some(count_request::Selection::Expression(expression)),
            ..CountRequest::default()
        };
        self.0.query().count(request).await.map(|_| ())
    }

    async fn create(&self, segment: Segment) -> Tried {
        try_create(&self.0, segment).await.map(|_| ())
    }

    async fn batch_check(&self, users: usize, filters: usize) -> Tried {
        let request = BatchCheckRequest {
            user_ids: numbered("u", users),
            filters: vec!["TRUE".into(); filters],
            ..BatchCheckRequest::default()
        };
        self.0.query().batch_check(request).await.map(|_| ())
    }

    async fn break_down(&self, properties: Vec<String>, limit: usize) -> Tried {
        let request = BreakdownRequest {
            selection: Some(breakdown_request::Selection::Filter("TRUE".into())),
            properties,
            limit: limit.try_into().unwrap(),
            ..BreakdownRequest::default()
        };
        self.0.query().breakdown(request).await.map(|_| ())
    }

    async fn summarize(&self, percentiles: usize, bins: usize) -> Tried {
        let request = SummarizeRequest {
            selection: Some(summarize_request::Selection::Filter("TRUE".into())),
            property: "n".into(),
            percentiles: vec![50.0; percentiles],
            bins: Some(summarize_request::Bins::BinCount(bins.try_into().unwrap())),
            ..SummarizeRequest::default()
        };
        self.0.query().summarize(request).await.map(|_| ())
    }

    async fn compare(&self, properties: Vec<String>, limit: usize) -> Tried {
        let request = CompareRequest {
            selection: Some(compare_request::Selection::Filter("n < 5".into())),
            properties,
            limit: limit.try_into().unwrap(),
            ..CompareRequest::default()
        };
        self.0.query().compare(request).await.map(|_| ())
    }

    async fn bucket(&self, salt: usize, buckets: usize) -> Tried {
        self.count_tree(of(expression::Kind::Bucket(BucketPredicate {
            salt: "s".repeat(salt),
            buckets: buckets.try_into().unwrap(),
            operator: Operator::Less.into(),
            numbers: vec![1],
        })))
        .await
    }

    async fn write_stream(&self, stream_id: String) -> Tried {
        let batch = WriteStreamRequest {
            sequence: 1,
            updates: vec![user("u")],
            stream_id,
            ..WriteStreamRequest::default()
        };
        let batches = tokio_stream::iter([batch]);
        let answers = self.0.ingest().write_stream(batches).await?;
        let mut answers = answers.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    }

    /// Tries as much as this of what a limit bounds. `None` if that is not tried here.
    #[expect(clippy::too_many_lines, reason = "a table: a case for each limit")]
    async fn request(&self, limit: Limit, size: usize) -> Option<Tried> {
        let x = |length: usize| "x".repeat(length);
        Some(match limit.name {
            "user_id_bytes" => self.write(vec![user(&x(size))]).await,
            "property_name_bytes" => self.write(vec![set("u", &[(&x(size), int(1))])]).await,
            "event_name_bytes" => self.write(vec![did("u", vec![event(&x(size))])]).await,
            "event_id_bytes" => {
                let event = Event {
                    event_id: x(size),
                    ..event("visit")
                };
                self.write(vec![did("u", vec![event])]).await
            }
            "segment_name_bytes" => self.create(named(&x(size), "TRUE")).await,
            "population_name_bytes" => {
                let request = WriteRequest {
                    population: x(size),
                    updates: vec![user("u")],
                    ..WriteRequest::default()
                };
                self.0.ingest().write(request).await.map(|_| ())
            }
            "request_id_bytes" => {
                let request = WriteRequest {
                    request_id: x(size),
                    updates: vec![user("u")],
                    ..WriteRequest::default()
                };
                self.0.ingest().write(request).await.map(|_| ())
            }
            "stream_id_bytes" => self.write_stream(x(size)).await,
            "salt_bytes" => self.bucket(size, 10).await,
            "buckets" => self.bucket(1, size).await,
            "text_bytes" => self.write(vec![set("u", &[("t", text(&x(size)))])]).await,
            "version_bytes" => {
                let version = format!("1.0.0-{}", x(size - 6));
                let version = value(proto::value::Kind::VersionValue(version));
                self.write(vec![set("u", &[("version", version)])]).await
            }
            "filter_bytes" => self.count(&format!("n = 1{}", " ".repeat(size - 5))).await,
            "expression_depth" => {
                let nested = (1..size).fold(everyone(), |inner, _| {
                    of(expression::Kind::Negation(Box::new(inner)))
                });
                self.count_tree(nested).await
            }
            "expression_nodes" => self.count_tree(any_of(vec![everyone(); size - 1])).await,
            "selection_nodes" => self.count(&nodes(size, 0)).await,
            "segment_nodes" => {
                self.create(named(&format!("n{size}"), &nodes(size, 16)))
                    .await
            }
            "selection_values" => {
                let more: Vec<String> = numbered("", size - 96_000);
                let more = format!("segment('lists') OR n IN ({})", more.join(","));
                self.count(&more).await
            }
            "list_values" => {
                let predicate = Predicate {
                    property: "n".into(),
                    operator: Operator::In.into(),
                    values: vec![int(1); size],
                    as_of_offset: None,
                };
                self.count_tree(of(expression::Kind::Predicate(predicate)))
                    .await
            }
            "values_per_request" => {
                let list = |values: usize| {
                    let predicate = Predicate {
                        property: "n".into(),
                        operator: Operator::In.into(),
                        values: vec![int(1); values],
                        as_of_offset: None,
                    };
                    of(expression::Kind::Predicate(predicate))
                };
                let lists = (0..50).map(|_| list(9_999)).chain([list(size - 499_950)]);
                let lists: Vec<Expression> = lists.collect();
                // Each with no more than one selection may have.
                let selections = lists.chunks(9).map(|lists| Selection {
                    selection: Some(selection::Selection::Expression(any_of(lists.to_vec()))),
                });
                let request = BatchCountRequest {
                    selections: selections.collect(),
                    ..BatchCountRequest::default()
                };
                self.0.query().batch_count(request).await.map(|_| ())
            }
            "updates_per_request" => self.write(vec![user("u"); size]).await,
            "events_per_request" => self.write(vec![did("u", vec![event("visit"); size])]).await,
            "segment_labels" => {
                let labels = numbered("label", size).into_iter();
                let segment = Segment {
                    labels: labels.map(|label| (label, String::new())).collect(),
                    ..named(&format!("l{size}"), "TRUE")
                };
                self.create(segment).await
            }
            "segment_depth" => {
                // A chain of its own for each size.
                let name = |level: usize| format!("d{size}_{level}");
                create(&self.0, &name(1), "TRUE").await;
                for level in 2..size {
                    let within = format!("segment('{}')", name(level - 1));
                    create(&self.0, &name(level), &within).await;
                }
                let within = format!("segment('{}')", name(size - 1));
                self.create(named(&name(size), &within)).await
            }
            "members_per_request" => {
                let request = AddSegmentMembersRequest {
                    name: "list".into(),
                    user_ids: numbered("u", size),
                    ..AddSegmentMembersRequest::default()
                };
                let added = self.0.segments().add_segment_members(request).await;
                added.map(|_| ())
            }
            "selections_per_request" => {
                let request = CheckRequest {
                    user_id: "u".into(),
                    filters: vec!["TRUE".into(); size],
                    ..CheckRequest::default()
                };
                self.0.query().check(request).await.map(|_| ())
            }
            "users_per_request" => self.batch_check(size, 1).await,
            "checks_per_request" => match size {
                999_999 => self.batch_check(9_009, 111).await,
                1_000_000 => self.batch_check(10_000, 100).await,
                _ => self.batch_check(9_901, 101).await,
            },
            "properties_per_breakdown" => self.break_down(numbered("p", size), 0).await,
            "values_per_breakdown" => self.break_down(vec!["n".into()], size).await,
            "percentiles_per_summary" => self.summarize(size, 1).await,
            "bins_per_histogram" => self.summarize(1, size).await,
            "selections_per_overlap" => {
                let request = OverlapRequest {
                    selections: (0..size).map(|n| filter(&format!("n = {n}"))).collect(),
                    ..OverlapRequest::default()
                };
                self.0.query().overlap(request).await.map(|_| ())
            }
            "properties_per_comparison" => self.compare(numbered("p", size), 1).await,
            "findings_per_comparison" => self.compare(vec!["n".into()], size).await,
            "selections_per_export" => {
                let request = ExportMembersRequest {
                    selections: vec![filter("TRUE"); size],
                    format: ExportFormat::Bitmaps.into(),
                    ..ExportMembersRequest::default()
                };
                let parts = self.0.query().export_members(request).await;
                match parts {
                    Ok(parts) => {
                        let mut parts = parts.into_inner();
                        while parts.message().await.unwrap().is_some() {}
                        Ok(())
                    }
                    Err(status) => Err(status),
                }
            }
            _ => return None,
        })
    }

    /// Tries to have as much as this of what a limit of the store bounds, in a new store.
    async fn store(&self, limit: Limit, size: usize) -> Option<Tried> {
        let updates: Vec<UserUpdate> = match limit.name {
            "populations" => {
                // One is always there.
                for name in numbered("p", size - 1) {
                    let request = WriteRequest {
                        population: name,
                        updates: vec![user("u")],
                        ..WriteRequest::default()
                    };
                    if let Err(status) = self.0.ingest().write(request).await {
                        return Some(Err(status));
                    }
                }
                return Some(Ok(()));
            }
            "segments_per_population" => {
                for name in numbered("s", size) {
                    if let Err(status) = self.create(named(&name, "TRUE")).await {
                        return Some(Err(status));
                    }
                }
                return Some(Ok(()));
            }
            "users_per_population" => numbered("u", size).iter().map(|id| user(id)).collect(),
            "properties_per_population" => {
                let names = numbered("p", size);
                names
                    .iter()
                    .map(|name| set("u", &[(name.as_str(), int(1))]))
                    .collect()
            }
            "distinct_values_per_property" => {
                let values = numbered("v", size);
                let ids = values.iter().zip(["a", "b", "c", "d", "e"]);
                ids.map(|(value, id)| set(id, &[("t", text(value))]))
                    .collect()
            }
            "elements_per_set" => {
                let elements = numbered("e", size);
                let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
                vec![set("u", &[("s", crate::harness::set_of(&elements))])]
            }
            "event_names_per_population" => {
                let names = numbered("e", size);
                names
                    .iter()
                    .map(|name| did("u", vec![event(name)]))
                    .collect()
            }
            "events_per_population" => vec![did("u", vec![event("visit"); size])],
            _ => return None,
        };
        Some(self.write(updates).await)
    }
}

/// A filter of so many nodes with those of the 16 segments in it, which may themselves be counted.
fn nodes(size: usize, names: usize) -> String {
    let wide = vec!["segment('wide')"; 15].join(" OR ");
    let more = vec!["n = 2"; size - 15 * 256 - 100 - names - 1].join(" OR ");
    format!("{wide} OR segment('half') OR {more}")
}

/// A service with what the tries need.
async fn prepared(folder: &std::path::Path, store: &StoreLimits) -> Tries {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut options = EngineOptions::new(folder.join("data"));
    options.limits = *store;
    let service = Service::start_engine(&disk, options, ServerConfig::default()).await;
    Tries(service)
}

async fn filled(folder: &std::path::Path) -> Tries {
    let store = StoreLimits {
        properties: 5_000,
        ..StoreLimits::default()
    };
    let tries = prepared(folder, &store).await;
    let service = &tries.0;
    let users = (0..10).map(|n| {
        let id = format!("u{n}");
        set(&id, &[("n", int(n)), ("few", int(n % 2))])
    });
    service.write(users.collect()).await;
    let names = numbered("p", 1_001);
    let properties: Vec<(&str, proto::Value)> =
        names.iter().map(|name| (name.as_str(), int(1))).collect();
    let wide = UserUpdate {
        set: map(&properties),
        ..user("u0")
    };
    service.write(vec![wide]).await;
    let repeated = |text: &str, times: usize| vec![text; times].join(" OR ");
    create(service, "wide", &repeated("n = 1", 255)).await;
    create(service, "half", &repeated("n = 1", 99)).await;
    let listed = numbered("", 8_000).join(",");
    create(service, "listed", &format!("n IN ({listed})")).await;
    create(service, "lists", &repeated("segment('listed')", 12)).await;
    let request = CreateSegmentRequest {
        segment: Some(list("list")),
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.unwrap();
    tries
}

/// What an error beyond a limit says.
fn says(limit: Limit, allowed: u64, outcome: Tried) {
    let Err(status) = outcome else {
        panic!("more than {} is taken", limit.name);
    };
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "LIMIT_EXCEEDED", "{status:?}");
    let fact = |name: &str| info.metadata.get(name).map(String::as_str);
    assert_eq!(fact("limit"), Some(limit.name), "{status:?}");
    assert_eq!(fact("allowed"), Some(&*allowed.to_string()), "{status:?}");
    let given = fact("given").unwrap_or_default().parse::<u64>();
    assert_eq!(given, Ok(allowed + 1), "{status:?}");
    assert!(status.message().contains(limit.name), "{status:?}");
}

/// Whether a file has something in it; a test, if it is one, that is not left out.
fn is_tried(text: &str, named: &str) -> bool {
    let Some((before, _)) = text.split_once(named) else {
        return false;
    };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    !named.starts_with("fn ") || (attributes.contains("test") && !attributes.contains("#[ignore"))
}

#[test]
fn a_test_that_is_ignored_tries_nothing() {
    assert!(is_tried("x\n\n#[test]\nfn some() {", "fn some"));
    assert!(!is_tried(
        "x\n\n#[test]\n#[ignore = \"long\"]\nfn some() {",
        "fn some"
    ));
    assert!(!is_tried("x\n\nfn some() {", "fn some"));
    assert!(!is_tried("x", "fn some"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_holds_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let tries = filled(folder.path()).await;
    for limit in limit::ALL {
        let elsewhere = ELSEWHERE.iter().find(|(known, ..)| known == limit);
        if let Some((_, file, named)) = elsewhere {
            let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(is_tried(&text, named), "{file} does not try {named}");
            continue;
        }
        if let Some((_, allowed)) = STORE.iter().find(|(known, _)| known == limit) {
            let allowed = usize::try_from(*allowed).unwrap();
            for size in [allowed - 1, allowed, allowed + 1] {
                let folder = tempfile::tempdir().unwrap();
                let store = configured(*limit, allowed as u64);
                let tries = prepared(folder.path(), &store).await;
                let outcome = tries.store(*limit, size).await;
                let outcome = outcome.unwrap_or_else(|| panic!("{} is not tried", limit.name));
                if size <= allowed {
                    outcome.unwrap_or_else(|status| panic!("{size} {}: {status}", limit.unit));
                } else {
                    says(*limit, allowed as u64, outcome);
                }
                tries.0.stop().await;
            }
            continue;
        }
        let allowed = usize::try_from(limit.default).unwrap();
        for size in [allowed - 1, allowed, allowed + 1] {
            let outcome = tries.request(*limit, size).await;
            let outcome = outcome.unwrap_or_else(|| panic!("{} is not tried", limit.name));
            if size <= allowed {
                let name = limit.name;
                outcome.unwrap_or_else(|status| panic!("{name}, {size}: {status}"));
            } else {
                says(*limit, limit.default, outcome);
            }
        }
    }
    tries.0.stop().await;
}

/// The limits of a store of which one is as low as this.
fn configured(limit: Limit, allowed: u64) -> StoreLimits {
    let mut limits = StoreLimits::default();
    let place = match limit.name {
        "populations" => &mut limits.populations,
        "users_per_population" => &mut limits.users,
        "properties_per_population" => &mut limits.properties,
        "distinct_values_per_property" => &mut limits.distinct_values,
        "elements_per_set" => &mut limits.set_elements,
        "event_names_per_population" => &mut limits.event_names,
        "events_per_population" => &mut limits.events,
        "segments_per_population" => &mut limits.segments,
        other => panic!("{other} is no limit of a store"),
    };
    *place = allowed;
    limits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers() {
    let service = Service::start().await;
    service.write(vec![set("u", &[("n", int(1))])]).await;
    create(&service, "one", "n = 1").await;
    let mut streams = Vec::new();
    let watch = async || {
        let request = WatchSegmentsRequest::default();
        service.segments().watch_segments(request).await
    };
    for _ in 0..limit::WATCHERS.default {
        streams.push(watch().await.unwrap());
    }
    let status = watch().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "OVERLOADED");
    assert_eq!(info.metadata["limit"], "watchers");
    assert_eq!(info.metadata["allowed"], "1000");
    assert!(details.retry_info().is_some());
    // A seat is free as soon as somebody leaves.
    streams.pop();
    while watch().await.is_err() {}
    drop(streams);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_definitions() {
    let service = Service::start().await;
    service.write(vec![set("u", &[("n", int(1))])]).await;
    create(&service, "one", "n = 0").await;
    for change in 1..=101 {
        let text = format!("n = {change}");
        let segment = try_update(&service, named("one", &text), &["filter"]).await;
        segment.unwrap();
        if change < 99 {
            continue;
        }
        let request = proto::GetSegmentRequest {
            name: "one".into(),
            ..proto::GetSegmentRequest::default()
        };
        let segment = service.segments().get_segment(request).await.unwrap();
        let history = segment.into_inner().segment.unwrap().history;
        assert_eq!(history.len(), change.min(100));
        let oldest = history.iter().any(|past| past.filter == "n = 0");
        assert_eq!(oldest, change <= 100);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_events() {
    let service = Service::start().await;
    let now = instant(NOW).seconds;
    let ahead = i64::try_from(limit::EVENT_AHEAD.default).unwrap();
    let kept = i64::try_from(limit::EVENT_RETENTION.default).unwrap() * 86_400;
    for (seconds, refused) in [
        (now + ahead - 1, 0),
        (now + ahead, 0),
        (now + ahead + 1, 1),
        (now - kept + 1, 0),
        (now - kept, 0),
        (now - kept - 1, 1),
    ] {
        let event = Event {
            time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..event("visit")
        };
        let request = WriteRequest {
            updates: vec![did("u", vec![event])],
            ..WriteRequest::default()
        };
        let written = service.ingest().write(request).await.unwrap().into_inner();
        assert_eq!(written.refused_events.len(), refused, "{}", seconds - now);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let tries = prepared(folder.path(), &StoreLimits::default()).await;
    let most = i64::try_from(limit::NUMBERS_PER_BREAKDOWN.default).unwrap();
    let update = |n: i64| set(&format!("u{n}"), &[("n", int(n))]);
    let numbers: Vec<i64> = (1..most).collect();
    for part in numbers.chunks(10_000) {
        let updates = part.iter().map(|n| update(*n)).collect();
        tries.write(updates).await.unwrap();
    }
    let break_down = async || tries.break_down(vec!["n".into()], 1).await;
    break_down().await.unwrap();
    tries.write(vec![update(most)]).await.unwrap();
    break_down().await.unwrap();
    tries.write(vec![update(most + 1)]).await.unwrap();
    let status = break_down().await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.metadata["limit"], "numbers_per_breakdown");
    assert_eq!(info.metadata["allowed"], "100000");
    tries.0.stop().await;
}
