//! Breakdowns and summaries: what is asked of them, and what they refuse.

use headcount::proto::{
    self, BinEdges, BreakdownRequest, Event, SummarizeRequest, UserUpdate, breakdown_request,
    summarize_request, value::Kind,
};
use tonic::Code;

use crate::harness::{
    Service, double, expect_error, fact, instant, int, set, set_of, text, user, value,
};

async fn service() -> Service {
    let service = Service::start().await;
    let users = (0..10_i64).map(|n| {
        let day = value(Kind::TimestampValue(instant(&format!(
            "2026-01-{:02}",
            n + 1
        ))));
        set(
            &format!("u{n}"),
            &[
                ("age", int(n * n)),
                ("plan", text(["free", "pro"][usize::from(n % 3 == 0)])),
                ("tags", set_of(&["a", ["b", "c"][usize::from(n % 2 == 0)]])),
                ("seen", day),
            ],
        )
    });
    service.write(users.chain([user("bare")]).collect()).await;
    service
}

fn by(filter: &str, properties: &[&str]) -> BreakdownRequest {
    BreakdownRequest {
        selection: Some(breakdown_request::Selection::Filter(filter.into())),
        properties: properties.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn of(filter: &str, property: &str) -> SummarizeRequest {
    SummarizeRequest {
        selection: Some(summarize_request::Selection::Filter(filter.into())),
        property: property.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn users_are_counted_by_several_properties() {
    let service = service().await;
    let counts = |property: &proto::PropertyBreakdown| -> Vec<(proto::Value, u64)> {
        let values = property.values.iter();
        values
            .map(|counted| (counted.value.clone().unwrap(), counted.count))
            .collect()
    };
    for filter in ["TRUE", "plan IS SET OR plan IS NOT SET"] {
        let request = by(filter, &["plan", "tags", "age", "plan"]);
        let answer = service
            .query()
            .breakdown(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.users, 11);
        let [plan, tags, age, again] = &answer.properties[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(counts(plan), [(text("free"), 6), (text("pro"), 4)]);
        assert_eq!((plan.missing, plan.distinct_values), (1, 2));
        assert_eq!(
            counts(tags),
            [(text("a"), 10), (text("b"), 5), (text("c"), 5)]
        );
        assert_eq!((age.missing, age.distinct_values), (1, 10));
        assert_eq!(counts(age)[0], (int(0), 1));
        assert_eq!(plan, again);
        assert!(!answer.revision.is_empty() && answer.as_of.is_some());
    }
    let mut request = by("age > 5", &["tags"]);
    request.limit = 1;
    let answer = service
        .query()
        .breakdown(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(counts(&answer.properties[0]), [(text("a"), 7)]);
    assert_eq!(answer.properties[0].distinct_values, 3);
    let answer = service
        .query()
        .breakdown(by("FALSE", &["plan"]))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().users, 0);
    service.stop().await;
}

#[tokio::test]
async fn a_breakdown_that_makes_no_sense_is_refused() {
    let service = service().await;
    let bad = Code::InvalidArgument;
    for (request, reason, field) in [
        (by("TRUE", &[]), "INVALID_FIELD", "properties"),
        (by("TRUE", &["plan", ""]), "INVALID_FIELD", "properties[1]"),
        (
            by("TRUE", &["plan", "plam"]),
            "UNKNOWN_PROPERTY",
            "properties[1]",
        ),
        (by("plam = 'x'", &["plan"]), "UNKNOWN_PROPERTY", "filter"),
        (by("TRUE", &["plan"; 17]), "LIMIT_EXCEEDED", "properties"),
        (
            BreakdownRequest {
                limit: -1,
                ..by("TRUE", &["plan"])
            },
            "INVALID_FIELD",
            "limit",
        ),
        (
            BreakdownRequest {
                limit: 10_001,
                ..by("TRUE", &["plan"])
            },
            "LIMIT_EXCEEDED",
            "limit",
        ),
        (
            BreakdownRequest {
                selection: None,
                ..by("", &["plan"])
            },
            "INVALID_FIELD",
            "filter",
        ),
    ] {
        expect_error(
            service.query().breakdown(request).await,
            bad,
            reason,
            Some(field),
        );
    }
    // Too many values to return all; the most frequent ones can be had.
    for batch in 0..2 {
        let users = (0..5_001).map(|n| {
            let id = format!("many-{batch}-{n}");
            set(&id, &[("email", text(&id)), ("number", int(n * 2 + batch))])
        });
        service.write(users.collect()).await;
    }
    let status = expect_error(
        service
            .query()
            .breakdown(by("TRUE", &["plan", "email"]))
            .await,
        bad,
        "LIMIT_EXCEEDED",
        Some("properties[1]"),
    );
    assert_eq!(fact(&status, "limit"), "values_per_breakdown");
    assert_eq!(fact(&status, "property"), "email");
    let mut request = by("TRUE", &["email"]);
    request.limit = 3;
    let answer = service
        .query()
        .breakdown(request)
        .await
        .unwrap()
        .into_inner();
    let first = answer.properties[0].values.iter();
    let first: Vec<_> = first
        .map(|counted| counted.value.clone().unwrap())
        .collect();
    assert_eq!(first, ["many-0-0", "many-0-1", "many-0-10"].map(text));
    assert_eq!(answer.properties[0].distinct_values, 10_002);
    service.stop().await;
}

#[tokio::test]
async fn numbers_and_instants_are_summarized() {
    let service = service().await;
    let mut request = of("TRUE", "age");
    request.percentiles = vec![100.0, 25.0];
    request.bins = Some(summarize_request::Bins::BinCount(3));
    let answer = service
        .query()
        .summarize(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.users, answer.missing), (11, 1));
    // 0 1 4 9 16 25 36 49 64 81
    let found = answer.statistics.unwrap();
    assert_eq!(found.count, 10);
    assert_eq!((found.min, found.max), (Some(int(0)), Some(int(81))));
    assert_eq!(found.mean, Some(double(28.5)));
    assert_eq!(found.median, Some(double(20.5)));
    let percentiles: Vec<_> = found
        .percentiles
        .iter()
        .map(|p| p.value.clone().unwrap())
        .collect();
    assert_eq!(percentiles, [double(81.0), double(5.25)]);
    assert!((found.standard_deviation - 26.852_374).abs() < 1e-6);
    assert!((found.skew - 8.0 / 26.852_374).abs() < 1e-6 && found.skewed);
    let bins = found.histogram.unwrap().bins;
    let bins: Vec<_> = bins
        .iter()
        .map(|bin| (bin.from.clone().unwrap(), bin.count))
        .collect();
    assert_eq!(bins, [(int(0), 6), (int(27), 2), (int(54), 2)]);

    let answer = service
        .query()
        .summarize(of("plan = 'pro'", "seen"))
        .await
        .unwrap();
    let found = answer.into_inner().statistics.unwrap();
    // The 1st, 4th, 7th and 10th of January.
    let at = |at: &str| Some(value(Kind::TimestampValue(instant(at))));
    assert_eq!(found.mean, at("2026-01-05T12:00:00Z"));
    assert_eq!(found.median, at("2026-01-05T12:00:00Z"));
    assert!((found.standard_deviation - 11.25_f64.sqrt() * 86_400.0).abs() < 1e-6);
    assert!(!found.skewed);
    let answer = service.query().summarize(of("FALSE", "age")).await.unwrap();
    assert_eq!(answer.into_inner().statistics, None);
    service.stop().await;
}

#[tokio::test]
async fn a_summary_that_makes_no_sense_is_refused() {
    let service = service().await;
    let edges = |edges: Vec<proto::Value>| {
        let mut request = of("TRUE", "age");
        request.bins = Some(summarize_request::Bins::BinEdges(BinEdges { edges }));
        request
    };
    let percentiles = |percentiles: Vec<f64>| SummarizeRequest {
        percentiles,
        ..of("TRUE", "age")
    };
    let bin_count = |count| SummarizeRequest {
        bins: Some(summarize_request::Bins::BinCount(count)),
        ..of("TRUE", "age")
    };
    for (request, reason, field) in [
        (of("TRUE", ""), "INVALID_FIELD", "property"),
        (of("TRUE", "agee"), "UNKNOWN_PROPERTY", "property"),
        (of("TRUE", "plan"), "PREDICATE_TYPE", "property"),
        (
            percentiles(vec![50.0, 100.5]),
            "INVALID_FIELD",
            "percentiles[1]",
        ),
        (
            percentiles(vec![f64::NAN]),
            "INVALID_FIELD",
            "percentiles[0]",
        ),
        (percentiles(vec![1.0; 101]), "LIMIT_EXCEEDED", "percentiles"),
        (bin_count(0), "INVALID_FIELD", "bin_count"),
        (bin_count(1_001), "LIMIT_EXCEEDED", "bin_count"),
        (edges(vec![int(1)]), "INVALID_FIELD", "bin_edges.edges[1]"),
        (
            edges(vec![int(1), int(1)]),
            "INVALID_FIELD",
            "bin_edges.edges[1]",
        ),
        (
            edges(vec![int(1), text("2")]),
            "PREDICATE_TYPE",
            "bin_edges.edges",
        ),
        (
            edges((0..1_002).map(int).collect()),
            "LIMIT_EXCEEDED",
            "bin_edges.edges",
        ),
    ] {
        let refused = service.query().summarize(request).await;
        expect_error(refused, Code::InvalidArgument, reason, Some(field));
    }
    service.stop().await;
}

/// Of four users u0 bought nothing, the others as often as they are called, each time for as much.
async fn buyers() -> Service {
    let service = Service::start().await;
    let users = (0..4_u32).map(|n| {
        let day = if n == 3 { "31" } else { "30" };
        let purchase = |minute| Event {
            name: "purchase".into(),
            time: Some(instant(&format!("2025-12-{day}T00:0{minute}:00Z"))),
            amount: Some(n.into()),
            ..Event::default()
        };
        UserUpdate {
            events: (1..=n).map(purchase).collect(),
            ..user(&format!("u{n}"))
        }
    });
    service.write(users.collect()).await;
    service
}

fn of_events(measure: proto::Measure) -> SummarizeRequest {
    SummarizeRequest {
        of_events: Some(proto::EventMeasure {
            event: "purchase".into(),
            measure: measure.into(),
            ..Default::default()
        }),
        ..of("TRUE", "")
    }
}

#[tokio::test]
async fn what_users_did_is_summarized() {
    let service = buyers().await;
    let at = |at: &str| value(Kind::TimestampValue(instant(at)));
    for (measure, min, max, median) in [
        (proto::Measure::Count, int(1), int(3), double(2.0)),
        (proto::Measure::Days, int(1), int(1), double(1.0)),
        (proto::Measure::Sum, double(1.0), double(9.0), double(4.0)),
        (
            proto::Measure::Average,
            double(1.0),
            double(3.0),
            double(2.0),
        ),
        (
            proto::Measure::Last,
            at("2025-12-30T00:01:00Z"),
            at("2025-12-31T00:03:00Z"),
            at("2025-12-30T00:02:00Z"),
        ),
    ] {
        let answer = service.query().summarize(of_events(measure)).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.users, answer.missing), (4, 1), "{measure:?}");
        assert_eq!(answer.time_resolution.unwrap().nanos, 1_000);
        let found = answer.statistics.unwrap();
        assert_eq!(
            (found.min, found.max, found.median),
            (Some(min), Some(max), Some(median))
        );
    }
    // The instant is that of the request, also where the filter has no time in it and was asked
    // before.
    let mut request = of_events(proto::Measure::Count);
    request.as_of = Some(instant("2025-12-30T00:02:00Z"));
    let answer = service
        .query()
        .summarize(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.users, answer.missing), (4, 2));
    assert_eq!(answer.statistics.unwrap().max, Some(int(1)));
    service.stop().await;
}

#[tokio::test]
async fn a_summary_of_events_that_makes_no_sense_is_refused() {
    let service = buyers().await;
    let changed = |change: &dyn Fn(&mut SummarizeRequest, &mut proto::EventMeasure)| {
        let mut request = of_events(proto::Measure::Last);
        let mut measure = request.of_events.take().unwrap();
        change(&mut request, &mut measure);
        SummarizeRequest {
            of_events: Some(measure),
            ..request
        }
    };
    let edges = BinEdges {
        edges: vec![int(1), int(2)],
    };
    for (request, reason, field) in [
        (
            changed(&|request, _| request.property = "age".into()),
            "INVALID_FIELD",
            "property",
        ),
        (
            changed(&|_, measure| measure.event = "purchas".into()),
            "UNKNOWN_EVENT",
            "of_events.event",
        ),
        (
            changed(&|_, measure| measure.event = String::new()),
            "INVALID_FIELD",
            "of_events.event",
        ),
        (
            changed(&|_, measure| measure.measure = 0),
            "INVALID_FIELD",
            "of_events.measure",
        ),
        (
            changed(&|_, measure| measure.window = Some(proto::Window::default())),
            "INVALID_FIELD",
            "of_events.window",
        ),
        (
            changed(&|_, measure| measure.zone = "Europe/Pariss".into()),
            "INVALID_FIELD",
            "of_events.zone",
        ),
        (
            changed(&|request, _| {
                request.bins = Some(summarize_request::Bins::BinEdges(edges.clone()));
            }),
            "INVALID_FIELD",
            "bin_edges.edges[0]",
        ),
    ] {
        let refused = service.query().summarize(request).await;
        expect_error(refused, Code::InvalidArgument, reason, Some(field));
    }
    service.stop().await;
}
