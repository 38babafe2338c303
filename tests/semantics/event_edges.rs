//! Edges of windows that were worked out by hand, to the microsecond.

use headcount::filter::parse;
use headcount::model::{
    Action, Event, EventName, NonEmpty, Revision, Span, StoreLimits, Timestamp, UserId, UserUpdate,
};
use headcount::population::Population;
use headcount::query::{Stop, bind, check, members};

/// A user for each instant, who did `x` then; kept for 1,000 days.
fn population(instants: &[&str]) -> Population {
    let limits = StoreLimits {
        event_retention_days: 1_000,
        ..StoreLimits::default()
    };
    let population = Population::new(limits);
    let updates = instants.iter().map(|instant| {
        let time: Timestamp = instant.parse().unwrap();
        UserUpdate {
            user: UserId::new(*instant).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: vec![Event {
                name: EventName::new("x").unwrap(),
                time: Some(time),
                received: time.saturating_add(Span::hours(1)),
                amount: None,
                id: None,
            }],
        }
    });
    let write = Action::Write(NonEmpty::new(updates.collect()).unwrap());
    population.apply(Revision::new(1), &write).unwrap();
    population
}

/// Asserts that a filter selects those of some instants that are marked as inside.
#[track_caller]
fn selects(filter: &str, as_of: &str, instants: &[(&str, bool)]) {
    let names: Vec<&str> = instants.iter().map(|(instant, _)| *instant).collect();
    let population = population(&names);
    let bound = bind(&population, &parse(filter).unwrap(), as_of.parse().unwrap()).unwrap();
    let mut listed: Vec<String> = members(&population, &bound, None, 100, &Stop::never())
        .unwrap()
        .users
        .iter()
        .map(|user| user.as_str().to_owned())
        .collect();
    listed.sort();
    let inside = instants.iter().filter(|(_, inside)| *inside);
    let mut inside: Vec<&str> = inside.map(|(instant, _)| *instant).collect();
    inside.sort_unstable();
    assert_eq!(listed, inside, "{filter} as of {as_of}");
    for (instant, inside) in instants {
        let user = UserId::new(*instant).unwrap();
        let checked = check(&population, &user, std::slice::from_ref(&bound));
        assert_eq!(checked, Some(vec![*inside]), "{filter} {instant}");
    }
}

#[test]
fn rolling_windows_are_half_open_to_the_microsecond() {
    let as_of = "2026-03-01T12:34:56.000007Z";
    selects(
        "count(x, 30d) > 0",
        as_of,
        &[
            ("2026-01-30T12:34:56.000006Z", false),
            ("2026-01-30T12:34:56.000007Z", true),
            ("2026-03-01T12:34:56.000006Z", true),
            ("2026-03-01T12:34:56.000007Z", false),
        ],
    );
    // 30 times 24 hours, whatever the clocks of a zone do.
    selects(
        "count(x, 30d IN 'Europe/Paris') > 0",
        "2026-04-10T00:00:00+02:00",
        &[
            ("2026-03-10T23:00:00+01:00", true),
            ("2026-03-10T22:59:59.999999+01:00", false),
        ],
    );
    selects(
        "count(x, 1us) > 0",
        as_of,
        &[
            ("2026-03-01T12:34:56.000005Z", false),
            ("2026-03-01T12:34:56.000006Z", true),
            ("2026-03-01T12:34:56.000007Z", false),
        ],
    );
    selects(
        "last(x) < now() - 14d",
        as_of,
        &[
            ("2026-02-15T12:34:56.000006Z", true),
            ("2026-02-15T12:34:56.000007Z", false),
        ],
    );
}

#[test]
fn this_month_in_paris_across_the_change_of_clocks() {
    // March begins in winter time and is asked of in summer time.
    selects(
        "count(x, this month IN 'Europe/Paris') > 0",
        "2026-03-29T12:00:00+02:00",
        &[
            ("2026-02-28T23:59:59.999999+01:00", false),
            ("2026-03-01T00:00:00+01:00", true),
            ("2026-03-29T01:59:59.999999+01:00", true),
            ("2026-03-29T03:00:00+02:00", true),
            ("2026-03-29T11:59:59.999999+02:00", true),
            ("2026-03-29T12:00:00+02:00", false),
        ],
    );
    // April begins in summer time: an hour earlier in UTC than March does.
    selects(
        "count(x, last 1 month IN 'Europe/Paris') > 0",
        "2026-04-01T00:00:00+02:00",
        &[
            ("2026-02-28T22:59:59.999999Z", false),
            ("2026-02-28T23:00:00Z", true),
            ("2026-03-31T21:59:59.999999Z", true),
            ("2026-03-31T22:00:00Z", false),
        ],
    );
    // A microsecond before, it still is March.
    selects(
        "count(x, last 1 month IN 'Europe/Paris') > 0",
        "2026-03-31T23:59:59.999999+02:00",
        &[
            ("2026-01-31T22:59:59.999999Z", false),
            ("2026-01-31T23:00:00Z", true),
            ("2026-02-28T22:59:59.999999Z", true),
            ("2026-02-28T23:00:00Z", false),
        ],
    );
}

#[test]
fn the_29th_of_february() {
    selects(
        "count(x, this month) > 0",
        "2024-02-29T23:59:59.999999Z",
        &[
            ("2024-01-31T23:59:59.999999Z", false),
            ("2024-02-01", true),
            ("2024-02-29", true),
            ("2024-02-29T23:59:59.999998Z", true),
            ("2024-02-29T23:59:59.999999Z", false),
        ],
    );
    selects(
        "count(x, last 1 month) > 0",
        "2024-03-01",
        &[
            ("2024-01-31T23:59:59.999999Z", false),
            ("2024-02-01", true),
            ("2024-02-29T23:59:59.999999Z", true),
            ("2024-03-01", false),
        ],
    );
    selects(
        "count(x, last 1 day) > 0",
        "2024-03-01T18:00:00Z",
        &[
            ("2024-02-28T23:59:59.999999Z", false),
            ("2024-02-29", true),
            ("2024-02-29T23:59:59.999999Z", true),
            ("2024-03-01", false),
        ],
    );
    // The week of leap day: Monday 26 February to Sunday 3 March.
    selects(
        "count(x, last 1 week) > 0",
        "2024-03-04",
        &[
            ("2024-02-25T23:59:59.999999Z", false),
            ("2024-02-26", true),
            ("2024-03-03T23:59:59.999999Z", true),
            ("2024-03-04", false),
        ],
    );
}

#[test]
fn a_day_of_25_hours_in_new_york() {
    // 2 November 2025 began at 04:00 UTC and ended at 05:00 UTC on the next day.
    let day = [
        ("2025-11-02T03:59:59.999999Z", false),
        ("2025-11-02T04:00:00Z", true),
        // 01:30 came twice.
        ("2025-11-02T05:30:00Z", true),
        ("2025-11-02T06:30:00Z", true),
        ("2025-11-03T04:59:59.999999Z", true),
        ("2025-11-03T05:00:00Z", false),
    ];
    let noon = "2025-11-03T12:00:00-05:00";
    selects("count(x, last 1 day IN 'America/New_York') > 0", noon, &day);
    let dates = "count(x, DATE '2025-11-02', DATE '2025-11-03' IN 'America/New_York') > 0";
    selects(dates, noon, &day);
    // All 25 hours are one day: an event in each of them.
    let population = Population::new(StoreLimits::default());
    let first: Timestamp = "2025-11-02T04:00:00Z".parse().unwrap();
    let events = (0..25).map(|hours| Event {
        name: EventName::new("x").unwrap(),
        time: Some(first.saturating_add(Span::hours(hours))),
        received: first.saturating_add(Span::hours(25)),
        amount: None,
        id: None,
    });
    let write = Action::Write(NonEmpty::one(UserUpdate {
        user: UserId::new("u").unwrap(),
        value_time: None,
        changes: Vec::new(),
        events: events.collect(),
    }));
    population.apply(Revision::new(1), &write).unwrap();
    for (filter, holds) in [
        ("count(x) = 25", true),
        ("days(x IN 'America/New_York') = 1", true),
        ("days(x) = 2", true),
        ("weeks(x IN 'America/New_York') = 1", true),
        // In UTC the last five were on Monday.
        ("weeks(x) = 2", true),
        ("count(x, last 1 day IN 'America/New_York') = 25", true),
        ("count(x, last 1 day) = 20", true),
        ("count(x, this day) = 5", true),
        ("count(x, this day IN 'America/New_York') = 0", true),
        ("count(x, last 2 days IN 'America/New_York') != 25", false),
    ] {
        let bound = bind(&population, &parse(filter).unwrap(), noon.parse().unwrap()).unwrap();
        let checked = check(&population, &UserId::new("u").unwrap(), &[bound]);
        assert_eq!(checked, Some(vec![holds]), "{filter}");
    }
}
