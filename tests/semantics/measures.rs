//! Summaries of what users did beside those of a plain list of events.

use std::collections::{BTreeMap, BTreeSet};

use headcount::filter;
use headcount::model::{
    Action, Amount, Event, EventDeclaration, EventMeasure, EventName, NonEmpty, Revision, Span,
    StoreLimits, Timestamp, UserId, UserUpdate, Value,
};
use headcount::population::Population;
use headcount::query::{HistogramBins, Stop, Subject, SummaryError, bind, summarize};
use proptest::prelude::*;

use crate::generate::cases;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// 2026-06-01T00:00:00Z, a Monday.
fn now() -> Timestamp {
    "2026-06-01".parse().unwrap()
}

/// What a user did, so long after (or before) now, with cents.
type Did = (u8, i64, Option<i64>);

fn user(number: u8) -> UserId {
    UserId::new(format!("u{number}")).unwrap()
}

fn purchase() -> EventName {
    EventName::new("purchase").unwrap()
}

fn measure(text: &str) -> EventMeasure {
    filter::parse_measure(text).unwrap()
}

/// A population in which ten users are known, whoever did something.
fn population(did: &[Did]) -> Population {
    let population = Population::new(StoreLimits::default());
    let declare = Action::CreateEvent(EventDeclaration {
        name: purchase(),
        retention: Span::from_micros(36_500 * DAY).unwrap(),
    });
    population.apply(Revision::new(1), &declare).unwrap();
    let update = |user: UserId, events| UserUpdate {
        user,
        value_time: None,
        changes: Vec::new(),
        events,
    };
    let mut updates = NonEmpty::one(update(user(0), Vec::new()));
    (1..10).for_each(|number| updates.push(update(user(number), Vec::new())));
    for &(number, after, cents) in did {
        let time = Timestamp::from_micros(now().micros() + after).unwrap();
        let event = Event {
            name: purchase(),
            time: Some(time),
            received: now(),
            amount: cents.map(|cents| Amount::from_millionths(cents * 10_000).unwrap()),
            id: None,
        };
        updates.push(update(user(number), vec![event]));
    }
    population
        .apply(Revision::new(2), &Action::Write(updates))
        .unwrap();
    population
}

/// What a function tells of the events of one user in its window: of time and cents.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn told(function: &str, events: &[(i64, Option<i64>)]) -> Option<f64> {
    if events.is_empty() {
        return None;
    }
    let different = |length: i64| {
        let units: BTreeSet<i64> = events
            .iter()
            .map(|(time, _)| time.div_euclid(length))
            .collect();
        units.len() as f64
    };
    let amounts: Vec<i64> = events.iter().filter_map(|(_, cents)| *cents).collect();
    let units = |cents: i64| cents as f64 / 100.0;
    let sum: i64 = amounts.iter().sum();
    match function {
        "count" => Some(events.len() as f64),
        "days" => Some(different(DAY)),
        // Times are since a Monday.
        "weeks" => Some(different(7 * DAY)),
        "sum" => Some(units(sum)),
        "avg" => (!amounts.is_empty()).then(|| units(sum) / amounts.len() as f64),
        "min" => amounts.iter().min().copied().map(units),
        "max" => amounts.iter().max().copied().map(units),
        "first" => events.iter().map(|(time, _)| *time as f64).reduce(f64::min),
        "last" => events.iter().map(|(time, _)| *time as f64).reduce(f64::max),
        other => panic!("{other}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn number(value: &Value) -> f64 {
    match value {
        Value::Int64(number) => *number as f64,
        Value::Double(number) => number.get(),
        Value::Timestamp(at) => (at.micros() - now().micros()) as f64,
        Value::Bool(_) | Value::String(_) | Value::StringSet(_) | Value::Version(_) => {
            panic!("{value} is no number")
        }
    }
}

fn did() -> impl Strategy<Value = Vec<Did>> {
    // At the ends of windows and of days, and elsewhere.
    let after = prop_oneof![
        (-40..2_i64).prop_map(|days| days * DAY),
        (-40..2_i64).prop_map(|days| days * DAY - 1),
        (-900..20_i64).prop_map(|hours| hours * HOUR),
    ];
    let cents = prop_oneof![1 => Just(None), 4 => (-500..5_000_i64).prop_map(Some)];
    prop::collection::vec((0..8_u8, after, cents), 0..60)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn measures_are_summarized_as_of_a_list(
        did in did(), days in 1..40_i64, of_some in any::<bool>(),
    ) {
        let population = population(&did);
        let text = if of_some { "count(purchase, 7d) >= 1" } else { "TRUE" };
        let bound = bind(&population, &filter::parse(text).unwrap(), now()).unwrap();
        let between = |from: i64, to: i64| {
            let mut users: BTreeMap<u8, Vec<(i64, Option<i64>)>> = BTreeMap::new();
            for &(user, after, cents) in &did {
                if from <= after && after < to {
                    users.entry(user).or_default().push((after, cents));
                }
            }
            users
        };
        let recent = between(-7 * DAY, 0);
        let selected = |user: u8| !of_some || recent.contains_key(&user);
        let windows = [
            (String::new(), i64::MIN, 0),
            (format!(", {days}d"), -days * DAY, 0),
            (", now() - 20d, now() - 10d".into(), -20 * DAY, -10 * DAY),
            (", now() - 10d, now() + 10d".into(), -10 * DAY, 0),
            (", now(), now() - 1d".into(), 0, 0),
            (", last 2 weeks".into(), -14 * DAY, 0),
        ];
        for (window, from, to) in windows {
            let users = between(from, to);
            for function in ["count", "days", "weeks", "sum", "avg", "min", "max", "first", "last"] {
                let text = format!("{function}(purchase{window})");
                let subject = Subject::Events(measure(&text), now());
                let percents = [0.0, 50.0, 100.0];
                let bins = HistogramBins::Suitable;
                let found =
                    summarize(&population, &bound, &subject, &percents, &bins, &Stop::never()).unwrap();
                let mut expected: Vec<f64> = (0..10)
                    .filter(|user| selected(*user))
                    .filter_map(|user| told(function, users.get(&user).map_or(&[], Vec::as_slice)))
                    .collect();
                expected.sort_by(f64::total_cmp);
                let all = (0..10).filter(|user| selected(*user)).count();
                prop_assert_eq!(found.users, all as u64, "{}", text);
                prop_assert_eq!(found.missing, (all - expected.len()) as u64, "{}", text);
                let Some(statistics) = found.statistics else {
                    prop_assert!(expected.is_empty(), "{}", text);
                    continue;
                };
                let (least, greatest) = (expected[0], expected[expected.len() - 1]);
                let close = |value: &Value, expected: f64| {
                    (number(value) - expected).abs() <= 0.5 * f64::from(u8::from(text.contains("st(")))
                        + expected.abs() * 1e-12
                };
                prop_assert!(close(&statistics.min, least), "{} {:?} {}", text, statistics.min, least);
                prop_assert!(close(&statistics.max, greatest), "{} {:?}", text, statistics.max);
                let count = expected.len();
                let median = f64::midpoint(expected[(count - 1) / 2], expected[count / 2]);
                prop_assert!(close(&statistics.median, median), "{} {:?}", text, statistics.median);
                prop_assert!(close(&statistics.percentiles[1], median), "{}", text);
                let sum: u64 = statistics.histogram.bins.iter().map(|bin| bin.count).sum();
                prop_assert_eq!(sum, count as u64, "{}", text);
            }
        }
    }
}

#[test]
fn what_does_not_exist_or_fit_is_named() {
    let population = population(&[(1, -DAY, Some(100))]);
    let bound = bind(&population, &filter::parse("TRUE").unwrap(), now()).unwrap();
    let ask = |text: &str, bins: &HistogramBins| {
        let subject = Subject::Events(measure(text), now());
        summarize(&population, &bound, &subject, &[], bins, &Stop::never())
    };
    let edges = |edges: &[Value]| HistogramBins::Edges(edges.to_vec());
    let unknown = ask("count(purchas)", &HistogramBins::Suitable).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "event \"purchas\" does not exist; did you mean \"purchase\"?"
    );
    let whole = [Value::Int64(0), Value::Int64(5)];
    let found = ask("sum(purchase)", &edges(&whole))
        .unwrap()
        .statistics
        .unwrap();
    assert_eq!(found.histogram.bins[0].count, 1);
    let refused = ask("last(purchase)", &edges(&whole)).unwrap_err();
    assert!(
        matches!(refused, SummaryError::EdgeType { position: 0, .. }),
        "{refused}"
    );
}

#[test]
fn it_is_looked_back_from_the_instant_given() {
    let population = population(&[(1, -DAY, None), (1, -2 * DAY, None), (2, -3 * DAY, None)]);
    let bound = bind(&population, &filter::parse("TRUE").unwrap(), now()).unwrap();
    for (days, missing) in [(0, 8), (1, 8), (2, 9), (3, 10)] {
        let as_of = now().saturating_add(Span::from_micros(-days * DAY).unwrap());
        let subject = Subject::Events(measure("count(purchase)"), as_of);
        let bins = HistogramBins::Suitable;
        let found = summarize(&population, &bound, &subject, &[], &bins, &Stop::never()).unwrap();
        assert_eq!(found.missing, missing, "{days}");
    }
}
