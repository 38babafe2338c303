//! Makes random tests of what users did.
//!
//! Invariant: as for everything in [`super::generate`].

use std::num::NonZeroU32;

use super::generate::Choices;
use crate::model::{
    Amount, CalendarUnit, Comparison, EventName, EventPredicate, EventTest, Instant, Measure, Span,
    Timestamp, WhichEvent, Window, Zone,
};

const DAY: i64 = 86_400_000_000;

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
