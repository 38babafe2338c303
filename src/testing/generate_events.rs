//! Makes random events, declarations of them, and tests of what users did.
//!
//! Invariant: as for everything in [`super::generate`].

use std::num::NonZeroU32;

use super::generate::Choices;
use crate::model::{
    Amount, CalendarUnit, Comparison, Event, EventDeclaration, EventId, EventName, EventPredicate,
    EventTest, Instant, Measure, Span, Timestamp, WhichEvent, Window, Zone,
};

const DAY: i64 = 86_400_000_000;

/// How long events are kept where it is declared; the default beside them.
const RETENTIONS: [i64; 7] = [
    2 * DAY,
    DAY,
    DAY * 3 / 2,
    5 * DAY,
    1,
    400 * DAY,
    1_000 * DAY,
];

/// Where something begins or ends: days, weeks and months of the zones, the days on which clocks
/// change and the moments when they do, leap days.
const EDGES: [&str; 27] = [
    "2026-03-01",
    "2026-02-28T23:00:00Z",
    "2026-03-01T05:00:00Z",
    "2026-02-28T18:30:00Z",
    "2026-02-28T11:00:00Z",
    "2026-02-28",
    "2026-02-23",
    "2026-02-22T23:00:00Z",
    "2026-02-01",
    "2026-01-31T23:00:00Z",
    "2026-01-01",
    "2025-12-31T23:00:00Z",
    // Paris: 25 hours, then 23.
    "2025-10-25T22:00:00Z",
    "2025-10-26T01:00:00Z",
    "2025-10-26T23:00:00Z",
    "2026-03-28T23:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-03-29T22:00:00Z",
    "2026-03-31T22:00:00Z",
    // New York: 25 hours, then 23.
    "2025-11-02T04:00:00Z",
    "2025-11-02T06:00:00Z",
    "2025-11-03T05:00:00Z",
    "2026-03-08T05:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-03-09T04:00:00Z",
    "2024-02-29",
    "2024-03-01",
];

const UNITS: [CalendarUnit; 3] = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month];

/// A test of one of some events. Its windows end and begin, and its instants lie, within some
/// weeks of some given instants, often exactly there; its numbers are small.
pub fn event_predicate(
    choices: &mut Choices<'_>,
    events: &[EventName],
    around: &[Timestamp],
) -> EventPredicate {
    EventPredicate {
        event: events[choices.below(events.len())].clone(),
        window: window(choices, around),
        zone: zone(choices),
        test: test(choices, around),
    }
}

/// The names of the events that actions have.
#[must_use]
pub fn event_names() -> Vec<EventName> {
    let names = ["login", "purchase", "Order Placed"].into_iter();
    names
        .map(|name| EventName::new(name).expect("a well-formed name"))
        .collect()
}

/// An instant at which something begins or ends, or a microsecond before or after.
pub fn edge(choices: &mut Choices<'_>) -> Timestamp {
    let edge: Timestamp = choices.pick(&EDGES).parse().expect("an instant");
    edge.saturating_add(beside(choices))
}

/// Nothing, or a microsecond either way.
fn beside(choices: &mut Choices<'_>) -> Span {
    Span::from_micros(choices.pick(&[0, 0, -1, 1])).expect("a short span")
}

/// When a command is received: in about half a year, rarely much later.
pub fn received(choices: &mut Choices<'_>) -> Timestamp {
    let first: Timestamp = "2025-10-20".parse().expect("an instant");
    let days = i64::try_from(choices.below(170)).unwrap_or(0);
    let rarely = if choices.below(32) == 31 { 400 } else { 0 };
    let hour = choices.pick(&[0, 0, 9, 23]) * 3_600_000_000;
    let span = Span::from_micros((days + rarely) * DAY + hour).expect("less than two years");
    first.saturating_add(span)
}

/// A declaration of events that actions have, often to be kept for a short time.
pub fn declaration(choices: &mut Choices<'_>) -> EventDeclaration {
    let names = event_names();
    EventDeclaration {
        name: names[choices.below(names.len())].clone(),
        retention: Span::from_micros(choices.pick(&RETENTIONS)).expect("a few years at most"),
    }
}

/// An event of one of some names that was received at an instant. Many are late, some too late,
/// some ahead, some too far; ids and distances of a day repeat.
pub fn event(choices: &mut Choices<'_>, names: &[EventName], received: Timestamp) -> Event {
    let after = |micros: i64| {
        let span = Span::from_micros(micros).expect("a few years at most");
        received.saturating_add(span)
    };
    let time = match choices.below(8) {
        0 => None,
        1 | 2 => Some(edge(choices)),
        3 => Some(after(-choices.pick(&RETENTIONS)).saturating_add(beside(choices))),
        4 => Some(after(DAY).saturating_add(beside(choices))),
        5 => Some(after(
            -i64::try_from(choices.below(60)).unwrap_or(0) * 3_600_000_000,
        )),
        _ => {
            let days = i64::try_from(choices.below(40)).unwrap_or(0);
            Some(after(-days * DAY).saturating_add(beside(choices)))
        }
    };
    let id = match choices.below(3) {
        0 => None,
        _ => EventId::new(format!("e{}", choices.below(3))).ok(),
    };
    let amount = match choices.below(4) {
        0 => None,
        1 => Some(choices.pick(&[
            Amount::ZERO,
            Amount::MAX,
            Amount::from_millionths(1).expect("a small number"),
            Amount::whole(-3).expect("a small number"),
        ])),
        _ => Some(operand(choices, Measure::Sum)),
    };
    Event {
        name: names[choices.below(names.len())].clone(),
        time,
        received,
        amount,
        id,
    }
}

/// A name of events, often one that needs quotes.
pub fn event_name(choices: &mut Choices<'_>) -> EventName {
    const COMMON: [&str; 10] = [
        "purchase",
        "login",
        "count",
        "in",
        "last",
        "now",
        "a.b_c",
        "Order Placed",
        "it's \"new\"",
        "Größe",
    ];
    EventName::new(choices.pick(&COMMON)).expect("well-formed names")
}

/// One of a few zones.
pub fn zone(choices: &mut Choices<'_>) -> Zone {
    const ZONES: [&str; 6] = [
        "UTC",
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "Asia/Kolkata",
        "Pacific/Apia",
    ];
    Zone::new(choices.pick(&ZONES)).expect("zones of the database")
}

/// A window of any kind.
pub fn window(choices: &mut Choices<'_>, around: &[Timestamp]) -> Window {
    match choices.below(6) {
        1 | 2 => {
            let unit = choices.pick(&[DAY, 3_600_000_000, 1]);
            let count = 1 + i64::try_from(choices.below(60)).unwrap_or(0);
            Window::Rolling(Span::from_micros(count * unit).expect("at most 60 days"))
        }
        3 => Window::Between {
            from: instant(choices, around),
            to: instant(choices, around),
        },
        4 => Window::This(choices.pick(&UNITS)),
        5 => {
            let count = u32::try_from(1 + choices.below(8)).unwrap_or(1);
            let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
            Window::Last(count, choices.pick(&UNITS))
        }
        _ => Window::Ever,
    }
}

fn test(choices: &mut Choices<'_>, around: &[Timestamp]) -> EventTest {
    const MEASURES: [Measure; 8] = [
        Measure::Count,
        Measure::Days,
        Measure::Weeks,
        Measure::Months,
        Measure::Sum,
        Measure::Average,
        Measure::Least,
        Measure::Greatest,
    ];
    const COMPARISONS: [Comparison; 6] = [
        Comparison::GreaterOrEqual,
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
    ];
    let which = choices.below(MEASURES.len() + 2);
    let comparison = choices.pick(&COMPARISONS);
    match MEASURES.get(which) {
        Some(measure) => EventTest::Number {
            measure: *measure,
            comparison,
            operand: operand(choices, *measure),
        },
        None => EventTest::Time {
            which: if which == MEASURES.len() {
                WhichEvent::First
            } else {
                WhichEvent::Last
            },
            comparison,
            operand: instant(choices, around),
        },
    }
}

fn operand(choices: &mut Choices<'_>, measure: Measure) -> Amount {
    let number = i64::try_from(choices.below(6)).unwrap_or(0);
    if measure.counts() {
        return Amount::whole(number).expect("a small number");
    }
    let millionths = match choices.below(4) {
        0 => number * 10_000_000,
        1 => (number - 3) * 12_345_678,
        2 => (number - 3) * 500_000,
        _ => number - 3,
    };
    Amount::from_millionths(millionths).expect("a small number")
}

/// An instant given or relative to the question's, near or at one of some instants.
fn instant(choices: &mut Choices<'_>, around: &[Timestamp]) -> Instant {
    let unit = choices.pick(&[DAY, 3_600_000_000, 1, 0]);
    let count = 10 - i64::try_from(choices.below(60)).unwrap_or(0);
    let span = Span::from_micros(count * unit).expect("at most 50 days");
    if around.is_empty() || choices.yes() {
        Instant::AsOfPlus(span)
    } else {
        let near = around[choices.below(around.len())];
        Instant::At(near.saturating_add(span))
    }
}
