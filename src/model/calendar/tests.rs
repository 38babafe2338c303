//! Days, weeks and months at the places where calendars are hard.

use std::num::NonZeroU32;

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::*;
use crate::model::{Amount, Comparison, EventName, EventTest, Instant, Measure, Span, WhichEvent};

const UNITS: [CalendarUnit; 3] = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::new(name).unwrap()
}

fn interval(window: Window, zone_name: &str, as_of: &str) -> Interval {
    let predicate = EventPredicate {
        event: EventName::new("login").unwrap(),
        window,
        zone: zone(zone_name),
        test: EventTest::Number {
            measure: Measure::Count,
            comparison: Comparison::Greater,
            operand: Amount::ZERO,
        },
    };
    predicate.interval(at(as_of))
}

fn last(count: u32, unit: CalendarUnit) -> Window {
    Window::Last(NonZeroU32::new(count).unwrap(), unit)
}

#[track_caller]
fn check(window: Window, zone: &str, as_of: &str, from: &str, to: &str) {
    let found = interval(window, zone, as_of);
    assert_eq!((found.from(), found.to()), (at(from), at(to)), "{found:?}");
}

#[test]
fn an_interval_has_its_first_instant_and_not_its_last() {
    let (early, late) = (at("2026-01-01"), at("2026-01-02"));
    let interval = Interval::new(early, late);
    assert!(interval.contains(early) && !interval.contains(late));
    assert!(!interval.is_empty());
    for empty in [Interval::new(late, early), Interval::new(early, early)] {
        assert!(empty.is_empty());
        assert!(!empty.contains(early) && !empty.contains(late));
        assert!(empty.from() <= empty.to());
    }
}

#[test]
fn exact_windows() {
    let now = "2026-03-15T12:00:00.000001Z";
    let month = Span::from_micros(30 * MICROS_PER_DAY).unwrap();
    check(Window::Ever, "UTC", now, "0001-01-01", now);
    check(
        Window::Rolling(month),
        "Europe/Paris",
        now,
        "2026-02-13T12:00:00.000001Z",
        now,
    );
    let between = |from, to| Window::Between { from, to };
    let (early, late) = (at("2026-01-01"), at("2027-01-01"));
    check(
        between(Instant::At(early), Instant::At(late)),
        "UTC",
        now,
        "2026-01-01",
        now,
    );
    check(
        between(
            Instant::AsOfPlus(month.reversed()),
            Instant::AsOfPlus(Span::ZERO),
        ),
        "UTC",
        now,
        "2026-02-13T12:00:00.000001Z",
        now,
    );
    for (from, to) in [(late, early), (early, early), (late, late)] {
        assert!(interval(between(Instant::At(from), Instant::At(to)), "UTC", now).is_empty());
    }
}

#[test]
fn windows_saturate_at_the_ends_of_time() {
    let (first, end) = ("0001-01-01", "9999-12-31T23:59:59.999999Z");
    let month = Span::from_micros(30 * MICROS_PER_DAY).unwrap();
    check(
        Window::Rolling(month),
        "UTC",
        "0001-01-05",
        first,
        "0001-01-05",
    );
    for name in [
        "UTC",
        "America/New_York",
        "Asia/Kolkata",
        "Pacific/Kiritimati",
    ] {
        for unit in UNITS {
            for as_of in [
                first,
                end,
                "2026-03-15",
                "9999-12-30T21:00:00Z",
                "0001-01-01T12:00:00Z",
            ] {
                let this = interval(Window::This(unit), name, as_of);
                assert!(this.from() <= at(as_of) && this.to() == at(as_of));
                let far = interval(last(u32::MAX, unit), name, as_of);
                assert_eq!(far.from(), Timestamp::MIN);
                assert!(far.to() <= at(as_of));
                let near = interval(last(1, unit), name, as_of);
                assert_eq!(near.to(), this.from());
            }
        }
    }
    // The whole of time has so many days and months.
    let all = Interval::new(Timestamp::MIN, Timestamp::MAX);
    let days = CalendarUnit::Day.starts_within(&Zone::utc(), all);
    assert_eq!(days.len(), 3_652_058);
    let months = CalendarUnit::Month.starts_within(&zone("Asia/Kolkata"), all);
    assert_eq!(months.len(), 9_999 * 12);
    let months = CalendarUnit::Month.starts_within(&Zone::utc(), all);
    assert_eq!(months.len(), 9_999 * 12 - 1);
}

#[test]
fn the_last_years_are_in_the_calendar_too() {
    // The local date is in the year 10000.
    let new_year = "9999-12-31T10:00:00Z";
    for unit in [CalendarUnit::Day, CalendarUnit::Month] {
        check(
            Window::This(unit),
            "Pacific/Kiritimati",
            "9999-12-31T10:00:01Z",
            new_year,
            "9999-12-31T10:00:01Z",
        );
    }
    check(
        last(1, CalendarUnit::Month),
        "Pacific/Kiritimati",
        "9999-12-31T10:00:01Z",
        "9999-11-30T10:00:00Z",
        new_year,
    );
    check(
        last(1, CalendarUnit::Day),
        "America/New_York",
        "9999-12-31T23:59:59Z",
        "9999-12-30T05:00:00Z",
        "9999-12-31T05:00:00Z",
    );
}

#[test]
fn months_have_their_lengths() {
    for (as_of, count, from, to) in [
        ("2024-03-31T23:59:59.999999Z", 1, "2024-02-01", "2024-03-01"),
        ("2024-02-29", 1, "2024-01-01", "2024-02-01"),
        ("2024-02-01", 1, "2024-01-01", "2024-02-01"),
        ("2024-01-31T23:59:59.999999Z", 1, "2023-12-01", "2024-01-01"),
        ("2026-01-15", 12, "2025-01-01", "2026-01-01"),
        ("1900-03-01", 1, "1900-02-01", "1900-03-01"),
        ("2000-03-01", 13, "1999-02-01", "2000-03-01"),
        ("0001-02-15", 1, "0001-01-01", "0001-02-01"),
        ("0001-02-15", 2, "0001-01-01", "0001-02-01"),
    ] {
        check(last(count, CalendarUnit::Month), "UTC", as_of, from, to);
    }
    for (month, days) in [("2024-02-15", 29), ("1900-02-15", 28), ("2000-02-15", 29)] {
        let start = CalendarUnit::Month.start_of(&Zone::utc(), at(month));
        let within = Interval::new(start, at(&month.replace("-02-", "-03-")));
        let next = CalendarUnit::Month.starts_within(&Zone::utc(), within);
        assert_eq!(next[0].micros() - start.micros(), days * MICROS_PER_DAY);
    }
}

#[test]
fn weeks_begin_on_monday() {
    for (as_of, start) in [
        ("2026-03-15T23:59:59.999999Z", "2026-03-09"),
        ("2026-03-16", "2026-03-16"),
        ("2026-01-01", "2025-12-29"),
        ("1970-01-01", "1969-12-29"),
        ("1969-12-28", "1969-12-22"),
        ("0001-01-01", "0001-01-01"),
        ("0001-01-07T12:00:00Z", "0001-01-01"),
    ] {
        let found = CalendarUnit::Week.start_of(&Zone::utc(), at(as_of));
        assert_eq!(found, at(start), "{as_of}");
    }
    check(
        last(2, CalendarUnit::Week),
        "Europe/Paris",
        "2026-04-01",
        "2026-03-15T23:00:00Z",
        "2026-03-29T22:00:00Z",
    );
}

/// The lengths of days in hours around an instant.
fn lengths(zone_name: &str, from: &str, to: &str) -> Vec<i64> {
    let within = Interval::new(at(from), at(to));
    let starts = CalendarUnit::Day.starts_within(&zone(zone_name), within);
    let pairs = starts.windows(2);
    pairs
        .map(|pair| (pair[1].micros() - pair[0].micros()) / 3_600_000_000)
        .collect()
}

#[test]
fn days_are_longer_and_shorter_by_daylight_saving() {
    for (name, from, to, hours) in [
        (
            "Europe/Paris",
            "2026-03-26",
            "2026-03-31T12:00:00Z",
            [24, 23, 24].as_slice(),
        ),
        (
            "Europe/Paris",
            "2026-10-24",
            "2026-10-27T12:00:00Z",
            &[25, 24],
        ),
        (
            "America/New_York",
            "2026-03-07",
            "2026-03-10T12:00:00Z",
            &[24, 23, 24],
        ),
        (
            "America/New_York",
            "2026-10-31",
            "2026-11-03T12:00:00Z",
            &[24, 25, 24],
        ),
        (
            "Asia/Kolkata",
            "2026-03-28",
            "2026-03-30T20:00:00Z",
            &[24, 24],
        ),
    ] {
        assert!(
            lengths(name, from, to)
                .windows(hours.len())
                .any(|h| h == hours),
            "{name} {:?}",
            lengths(name, from, to)
        );
    }
}

#[test]
fn days_begin_where_their_zone_says() {
    for (name, as_of, start) in [
        (
            "Europe/Paris",
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
        ),
        (
            "Europe/Paris",
            "2026-03-30T12:00:00Z",
            "2026-03-29T22:00:00Z",
        ),
        (
            "America/New_York",
            "2026-03-08T04:59:59.999999Z",
            "2026-03-07T05:00:00Z",
        ),
        (
            "America/New_York",
            "2026-03-08T05:00:00Z",
            "2026-03-08T05:00:00Z",
        ),
        (
            "America/New_York",
            "2026-03-09T04:00:00Z",
            "2026-03-09T04:00:00Z",
        ),
        (
            "Asia/Kolkata",
            "2026-03-15T18:29:59.999999Z",
            "2026-03-14T18:30:00Z",
        ),
        (
            "Asia/Kolkata",
            "2026-03-15T18:30:00Z",
            "2026-03-15T18:30:00Z",
        ),
        // The clocks went from midnight to one: the day began at one.
        (
            "America/Sao_Paulo",
            "2018-11-04T12:00:00Z",
            "2018-11-04T03:00:00Z",
        ),
        (
            "America/Sao_Paulo",
            "2018-11-04T02:59:59.999999Z",
            "2018-11-03T03:00:00Z",
        ),
        (
            "Asia/Beirut",
            "2022-03-27T12:00:00Z",
            "2022-03-26T22:00:00Z",
        ),
        // From 23:00 back over no midnight: one long day.
        (
            "America/Sao_Paulo",
            "2018-02-18T02:30:00Z",
            "2018-02-17T02:00:00Z",
        ),
        // From 23:30 to 00:30: the day began at half past.
        (
            "America/Toronto",
            "1919-03-31T05:00:00Z",
            "1919-03-31T04:30:00Z",
        ),
        // From 00:01 back to 23:01: the day had begun, and goes on.
        (
            "America/St_Johns",
            "2005-10-30T02:29:59Z",
            "2005-10-29T02:30:00Z",
        ),
        (
            "America/St_Johns",
            "2005-10-30T02:30:30Z",
            "2005-10-30T02:30:00Z",
        ),
        (
            "America/St_Johns",
            "2005-10-30T03:00:00Z",
            "2005-10-30T02:30:00Z",
        ),
        (
            "America/St_Johns",
            "2005-10-30T12:00:00Z",
            "2005-10-30T02:30:00Z",
        ),
        // The 30th of December 2011 did not happen.
        (
            "Pacific/Apia",
            "2011-12-30T09:59:59.999999Z",
            "2011-12-29T10:00:00Z",
        ),
        (
            "Pacific/Apia",
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00Z",
        ),
        (
            "Pacific/Apia",
            "2011-12-31T10:00:00Z",
            "2011-12-31T10:00:00Z",
        ),
    ] {
        let found = CalendarUnit::Day.start_of(&zone(name), at(as_of));
        assert_eq!(found, at(start), "{name} {as_of}");
    }
}

#[test]
fn a_skipped_date_is_empty() {
    let as_of = "2011-12-30T12:00:00Z";
    assert!(interval(last(1, CalendarUnit::Day), "Pacific/Apia", as_of).is_empty());
    check(
        last(2, CalendarUnit::Day),
        "Pacific/Apia",
        as_of,
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z",
    );
    let around = Interval::new(at("2011-12-28T12:00:00Z"), at("2012-01-01T12:00:00Z"));
    assert_eq!(
        CalendarUnit::Day.starts_within(&zone("Pacific/Apia"), around),
        [
            "2011-12-29T10:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
            "2012-01-01T10:00:00Z"
        ]
        .map(at)
    );
    let skipped = zone("Pacific/Apia").start_of_date(at("2011-12-30"));
    assert_eq!(skipped, at("2011-12-30T10:00:00Z"));
    assert_eq!(
        zone("Europe/Paris").start_of_date(at("2026-07-14T13:00:00Z")),
        at("2026-07-13T22:00:00Z")
    );
}

#[test]
fn only_starts_strictly_inside_are_found() {
    let day = Interval::new(at("2026-03-15"), at("2026-03-16"));
    assert!(
        CalendarUnit::Day
            .starts_within(&Zone::utc(), day)
            .is_empty()
    );
    let wider = Interval::new(
        at("2026-03-14T23:59:59.999999Z"),
        at("2026-03-16T00:00:00.000001Z"),
    );
    assert_eq!(
        CalendarUnit::Day.starts_within(&Zone::utc(), wider),
        [at("2026-03-15"), at("2026-03-16")]
    );
    let none = Interval::new(at("2026-03-15"), at("2026-03-15"));
    assert!(
        CalendarUnit::Day
            .starts_within(&Zone::utc(), none)
            .is_empty()
    );
}

#[test]
fn the_calendar_agrees_with_jiff_on_every_month() {
    for month in 12..=9_999 * 12 + 11_i64 {
        let first = civil_midnight(first_of_month(month)).unwrap();
        assert_eq!(
            i64::from(first.year()) * 12 + i64::from(first.month()) - 1,
            month
        );
        assert_eq!(first.day(), 1);
        assert_eq!(month_of(first_of_month(month)), month);
        assert_eq!(month_of(first_of_month(month) - 1), month - 1);
        let monday = CalendarUnit::Week.first_date(first_of_month(month));
        assert_eq!(civil_midnight(monday).unwrap().weekday(), Weekday::Monday);
    }
}

/// Walks minute by minute and looks at the date on the clock.
fn walked(unit: CalendarUnit, zone: &Zone, within: Interval) -> Vec<Timestamp> {
    const MINUTE: i64 = 60 * MICROS_PER_SECOND;
    let rules = zone.rules();
    let date = |micros: i64| {
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
        rules.to_datetime(instant).date()
    };
    let mut starts = Vec::new();
    // Whether a date before the interval has begun is seen in the days before it.
    let mut micros = within.from().micros() - 2 * MICROS_PER_DAY;
    let mut latest = date(micros);
    while micros < within.to().micros() {
        let today = date(micros);
        let mut begins = false;
        while latest < today {
            latest = latest.tomorrow().unwrap();
            begins |= match unit {
                CalendarUnit::Day => true,
                CalendarUnit::Week => latest.weekday() == Weekday::Monday,
                CalendarUnit::Month => latest.day() == 1,
            };
        }
        if begins && micros > within.from().micros() {
            starts.push(Timestamp::from_micros(micros).unwrap());
        }
        micros += MINUTE;
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// From 1940 on, when the offsets of all these zones are whole minutes.
    #[test]
    fn starts_are_those_of_walking_through_time(
        unit in proptest::sample::select(UNITS.to_vec()),
        name in proptest::sample::select(vec![
            "UTC", "Europe/Paris", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
            "America/Toronto", "Asia/Kolkata", "Asia/Beirut", "Asia/Kathmandu", "Pacific/Apia",
            "Pacific/Kwajalein", "Africa/Casablanca", "Australia/Lord_Howe",
        ]),
        minute in -15_700_000_i64..40_000_000,
        at_change in any::<bool>(),
        days in 0_i64..4,
    ) {
        let zone = zone(name);
        let mut minute = minute;
        if at_change {
            let instant = jiff::Timestamp::from_second(minute * 60).unwrap();
            if let Some(change) = zone.rules().following(instant).next() {
                minute = change.timestamp().as_second() / 60 - 1_000;
            }
        }
        let from = Timestamp::from_micros(minute * 60 * MICROS_PER_SECOND).unwrap();
        let span = Span::from_micros(days * MICROS_PER_DAY).unwrap();
        let within = Interval::new(from, from.saturating_add(span));
        let starts = unit.starts_within(&zone, within);
        prop_assert_eq!(&starts, &walked(unit, &zone, within));
        let start = unit.start_of(&zone, from);
        prop_assert!(start <= from);
        for start in starts {
            prop_assert_eq!(unit.start_of(&zone, start), start);
            let before = start.saturating_add(Span::from_micros(-1).unwrap());
            prop_assert!(unit.start_of(&zone, before) < start);
        }
    }

    #[test]
    fn no_window_panics(
        micros in Timestamp::MIN.micros()..=Timestamp::MAX.micros(),
        unit in proptest::sample::select(UNITS.to_vec()),
        count in 1_u32..,
        which in proptest::sample::select(vec![WhichEvent::First, WhichEvent::Last]),
    ) {
        let as_of = Timestamp::from_micros(micros).unwrap();
        for name in ["UTC", "America/New_York", "Pacific/Apia"] {
            for window in [Window::This(unit), last(count, unit)] {
                let predicate = EventPredicate {
                    event: EventName::new("login").unwrap(),
                    window,
                    zone: zone(name),
                    test: EventTest::Time {
                        which,
                        comparison: Comparison::Less,
                        operand: Instant::At(as_of),
                    },
                };
                let interval = predicate.interval(as_of);
                prop_assert!(interval.from() <= interval.to() && interval.to() <= as_of);
            }
        }
    }
}
