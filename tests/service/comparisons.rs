//! Overlaps and comparisons: what is asked of them, and what they refuse.

use headcount::proto::{
    self, CompareRequest, Expression, OverlapRequest, Selection, UserUpdate, Value,
    compare_request, expression, finding::What, selection, value::Kind,
};
use tonic::Code;

use crate::harness::{Service, expect_error, int, set, set_of, text, user, value};

/// 400 users, of whom the first 100 are on the plan `pro`. Those mostly have the app, more often
/// the tag `a`, and never a nickname.
fn users() -> Vec<UserUpdate> {
    let users = (0..400_i64).map(|n| {
        let is_pro = n < 100;
        let has_app = if is_pro { n % 10 != 0 } else { n % 10 == 0 };
        let tags: &[&str] = match (is_pro, n % 3) {
            (true, 0 | 1) | (false, 0) => &["a", "b"],
            _ => &["b"],
        };
        let mut values = vec![
            ("plan", text(["free", "pro"][usize::from(is_pro)])),
            ("app", value(Kind::BoolValue(has_app))),
            ("tags", set_of(tags)),
            ("visits", int(if is_pro { 100 + n } else { n % 150 })),
            ("id", text(&format!("id-{n}"))),
            ("world", text("this one")),
        ];
        if !is_pro && n % 2 == 0 {
            values.push(("nickname", text(["x", "y"][usize::from(n % 4 == 0)])));
        }
        set(&format!("u{n}"), &values)
    });
    users.collect()
}

fn filter(filter: &str) -> Selection {
    Selection {
        selection: Some(selection::Selection::Filter(filter.into())),
    }
}

fn overlap(filters: &[&str]) -> OverlapRequest {
    OverlapRequest {
        selections: filters.iter().map(|text| filter(text)).collect(),
        ..Default::default()
    }
}

fn compare(filter: &str) -> CompareRequest {
    CompareRequest {
        selection: Some(compare_request::Selection::Filter(filter.into())),
        ..Default::default()
    }
}

async fn service() -> Service {
    let service = Service::start().await;
    service.write(users()).await;
    service
}

async fn compared(service: &Service, request: CompareRequest) -> proto::CompareResponse {
    service.query().compare(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn overlaps_are_counted_in_all_combinations() {
    let service = service().await;
    let mut request = overlap(&["plan = 'pro'", "app = TRUE", "FALSE", "visits >= 195"]);
    request.selections.push(Selection {
        selection: Some(selection::Selection::Expression(Expression {
            kind: Some(expression::Kind::Everyone(proto::Everyone {})),
        })),
    });
    let answer = service.query().overlap(request).await.unwrap().into_inner();
    let alone: Vec<_> = answer
        .selections
        .iter()
        .map(|s| (s.count, s.only_here))
        .collect();
    assert_eq!(alone, [(100, 0), (120, 0), (0, 0), (5, 0), (400, 280 - 10)]);
    assert_eq!(
        (answer.users, answer.users_in_any, answer.users_in_none),
        (400, 400, 0)
    );
    assert_eq!(answer.pairs.len(), 10);
    let first = &answer.pairs[0];
    assert_eq!((first.first, first.second, first.count), (0, 1, 90));
    let shares = [first.jaccard, first.share_of_first, first.share_of_second];
    for (found, expected) in shares.into_iter().zip([90.0 / 130.0, 0.9, 0.75]) {
        assert!((found - expected).abs() < 1e-12);
    }
    // Nothing has nothing in common with anything.
    let nothing = &answer.pairs[1];
    assert_eq!((nothing.first, nothing.second, nothing.count), (0, 2, 0));
    assert!(nothing.jaccard + nothing.share_of_first + nothing.share_of_second <= 0.0);
    let regions: Vec<_> = answer
        .regions
        .iter()
        .map(|region| (region.selections.clone(), region.count))
        .collect();
    assert_eq!(
        regions,
        [
            (vec![4], 270),
            (vec![0, 1, 4], 85),
            (vec![1, 4], 30),
            (vec![0, 4], 10),
            (vec![0, 1, 3, 4], 5),
        ]
    );
    let reach: Vec<_> = answer
        .reach
        .iter()
        .map(|step| (step.selection, step.added, step.reached))
        .collect();
    assert_eq!(
        reach,
        [
            (4, 400, 400),
            (0, 0, 400),
            (1, 0, 400),
            (2, 0, 400),
            (3, 0, 400)
        ]
    );
    assert!(!answer.revision.is_empty() && answer.as_of.is_some());
    assert!(answer.time_resolution.is_none());

    let nine = overlap(&["plan = 'pro'"; 9]);
    let answer = service.query().overlap(nine).await.unwrap().into_inner();
    assert!(answer.regions.is_empty() && answer.pairs.len() == 36);
    assert!(
        answer
            .pairs
            .iter()
            .all(|pair| pair.count == 100 && pair.jaccard >= 1.0)
    );
    service.stop().await;
}

#[tokio::test]
async fn what_sets_users_apart_is_found() {
    let service = service().await;
    let answer = compared(&service, compare("plan = 'pro'")).await;
    assert_eq!((answer.users, answer.against_users), (100, 300));
    assert_eq!(answer.left_out, ["plan"]);
    assert_eq!(answer.significant, answer.findings.len() as u64);
    let named = |name: &str| answer.findings.iter().find(|found| found.property == name);
    // `false` mirrors `true`.
    let app: Vec<_> = answer
        .findings
        .iter()
        .filter(|f| f.property == "app")
        .collect();
    let [app] = app[..] else { panic!("{app:?}") };
    assert_eq!((app.count, app.against_count), (90, 30));
    assert_eq!(app.what, Some(What::Value(value(Kind::BoolValue(true)))));
    assert!((app.lift.unwrap() - 9.0).abs() < 1e-12);
    let interval = app.difference.as_ref().unwrap();
    assert!(interval.lower > 0.7 && interval.lower < 0.8 && interval.upper > 0.8);
    assert!(app.p_value < 1e-40 && app.adjusted_p_value >= app.p_value);
    // Of a set each element; what everyone has sets nobody apart.
    let tags = named("tags").unwrap();
    assert_eq!((tags.count, tags.against_count), (67, 100));
    assert_eq!(tags.what, Some(What::Value(text("a"))));
    // Nobody with a nickname: having none is a finding, and there is no interval of a lift of 0.
    let nickname: Vec<_> = answer
        .findings
        .iter()
        .filter(|f| f.property == "nickname")
        .collect();
    assert!(
        nickname
            .iter()
            .any(|f| f.what == Some(What::NotSet(true)) && f.count == 100)
    );
    assert!(
        nickname
            .iter()
            .any(|f| f.lift.is_some_and(|lift| lift <= 0.0) && f.lift_interval.is_none())
    );
    let visits = named("visits").unwrap();
    assert!(matches!(visits.what, Some(What::Range(_))), "{visits:?}");
    // A value for each user, and one for all, say nothing.
    assert!(named("id").is_none() && named("world").is_none());
    let property = |name: &str| {
        answer
            .properties
            .iter()
            .find(|p| p.property == name)
            .unwrap()
    };
    assert!(property("id").effect <= 0.0 && property("world").tests == 0);
    assert_eq!(property("nickname").against_missing, 150);
    let numbers = property("visits").numbers.as_ref().unwrap();
    let median =
        |statistics: &Option<proto::Statistics>| statistics.clone().unwrap().median.unwrap();
    let double = |number: f64| Value {
        kind: Some(Kind::DoubleValue(number)),
    };
    assert_eq!(median(&numbers.statistics), double(149.5));
    assert_eq!(median(&numbers.against_statistics), double(74.5));
    assert!((numbers.distance - 2.0 / 3.0).abs() < 1e-12);

    // With others, in some properties, the greatest finding alone.
    let request = CompareRequest {
        against: Some(filter("app = TRUE")),
        properties: vec!["tags".into(), "plan".into()],
        limit: 1,
        ..compare("plan = 'pro'")
    };
    let answer = compared(&service, request).await;
    assert_eq!((answer.users, answer.against_users), (100, 120));
    let [plan] = &answer.findings[..] else {
        panic!("{:?}", answer.findings)
    };
    assert_eq!((plan.count, plan.against_count), (100, 90));
    assert!(answer.left_out.is_empty() && answer.properties.len() == 2);

    // With nobody there is nothing to compare.
    for request in [
        compare("FALSE"),
        compare("TRUE"),
        CompareRequest {
            against: Some(filter("FALSE")),
            ..compare("TRUE")
        },
    ] {
        let answer = compared(&service, request).await;
        assert!(answer.users * answer.against_users == 0);
        assert!(answer.findings.is_empty() && answer.properties.is_empty());
        assert_eq!(answer.tests, 0);
    }
    service.stop().await;
}

#[tokio::test]
async fn users_who_are_the_same_are_not_set_apart() {
    let service = Service::start().await;
    let users = (0..500_i64).map(|n| {
        let side = text(["a", "b"][usize::from(n % 2 == 0)]);
        let values = [
            ("side", side),
            ("number", int(n / 2)),
            ("city", text(if n % 6 < 2 { "x" } else { "y" })),
        ];
        set(&format!("u{n}"), &values)
    });
    service.write(users.chain([user("bare")]).collect()).await;
    let answer = compared(&service, compare("side = 'a'")).await;
    assert_eq!((answer.users, answer.against_users), (250, 251));
    assert!(
        answer.tests > 10 && answer.findings.is_empty(),
        "{:?}",
        answer.findings
    );
    assert!(
        answer
            .properties
            .iter()
            .all(|property| property.effect < 0.1)
    );
    service.stop().await;
}

#[tokio::test]
async fn overlaps_and_comparisons_that_make_no_sense_are_refused() {
    let service = service().await;
    let bad = Code::InvalidArgument;
    for (request, reason, field) in [
        (overlap(&[]), "INVALID_FIELD", "selections"),
        (overlap(&["TRUE"]), "INVALID_FIELD", "selections"),
        (overlap(&["TRUE"; 101]), "LIMIT_EXCEEDED", "selections"),
        (
            overlap(&["TRUE", "app >"]),
            "FILTER_SYNTAX",
            "selections[1].filter",
        ),
        (
            overlap(&["TRUE", "plam = 'x'"]),
            "UNKNOWN_PROPERTY",
            "selections[1].filter",
        ),
    ] {
        expect_error(
            service.query().overlap(request).await,
            bad,
            reason,
            Some(field),
        );
    }
    let of = |properties: &[&str]| CompareRequest {
        properties: properties.iter().map(ToString::to_string).collect(),
        ..compare("TRUE")
    };
    for (request, reason, field) in [
        (CompareRequest::default(), "INVALID_FIELD", "filter"),
        (compare("app >"), "FILTER_SYNTAX", "filter"),
        (
            CompareRequest {
                against: Some(filter("plam = 'x'")),
                ..compare("TRUE")
            },
            "UNKNOWN_PROPERTY",
            "against.filter",
        ),
        (
            CompareRequest {
                against: Some(Selection::default()),
                ..compare("TRUE")
            },
            "INVALID_FIELD",
            "against.filter",
        ),
        (of(&["plan", "plam"]), "UNKNOWN_PROPERTY", "properties[1]"),
        (
            of(&["plan", "app", "plan"]),
            "INVALID_FIELD",
            "properties[2]",
        ),
        (of(&[""]), "INVALID_FIELD", "properties[0]"),
        (of(&["plan"; 1_001]), "LIMIT_EXCEEDED", "properties"),
        (
            CompareRequest {
                limit: -1,
                ..compare("TRUE")
            },
            "INVALID_FIELD",
            "limit",
        ),
        (
            CompareRequest {
                limit: 1_001,
                ..compare("TRUE")
            },
            "LIMIT_EXCEEDED",
            "limit",
        ),
        (
            CompareRequest {
                limit: i32::MAX,
                ..compare("TRUE")
            },
            "LIMIT_EXCEEDED",
            "limit",
        ),
    ] {
        expect_error(
            service.query().compare(request).await,
            bad,
            reason,
            Some(field),
        );
    }
    service.stop().await;
}
