//! Events: what users did, and what is asked of it.

use std::fmt;
use std::num::NonZeroU32;

use super::amount::Amount;
use super::expression::{Comparison, Operand, write_name};
use super::name::{EventId, EventName};
use super::time::{Span, Timestamp};
use super::value::Value;
use super::zone::Zone;

/// Something a user did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub name: EventName,
    /// When; if missing, when it was received.
    pub time: Option<Timestamp>,
    /// When it arrived here, by which it is judged whether it is too old or lies too far ahead.
    pub received: Timestamp,
    /// How much, such as the price paid.
    pub amount: Option<Amount>,
    /// By what it is known when it is sent again.
    pub id: Option<EventId>,
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn happened(&self) -> Timestamp {
        self.time.unwrap_or(self.received)
    }
}

/// Why an event of an accepted write does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventFault {
    /// The user has one of the same name and id, not more than a day from its time.
    Duplicate,
    /// It is older than events of its name are kept.
    TooOld,
    /// It lies further ahead of the time when it was received than is allowed.
    TooFarAhead,
}

/// What is fixed about the events of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDeclaration {
    /// The name.
    pub name: EventName,
    /// How long after their time events are kept: more than nothing.
    pub retention: Span,
}

/// One test of what a user did.
///
/// A window ends at `as_of` at the latest: what comes later has not happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventPredicate {
    /// The events.
    pub event: EventName,
    /// Which of them by their time.
    pub window: Window,
    /// Whose days, weeks and months are meant, in the window and in the test.
    pub zone: Zone,
    /// What is asked.
    pub test: EventTest,
}

/// A number about the events of a user, or the time of one of them, without anything that it is
/// compared with: `sum(purchase, 365d)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventMeasure {
    /// The events.
    pub event: EventName,
    /// Which of them by their time, as for [`EventPredicate`].
    pub window: Window,
    /// Whose days, weeks and months are meant.
    pub zone: Zone,
    /// What is told of them.
    pub measured: Measured,
}

/// What is told of the events of a user in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measured {
    /// A number.
    Number(Measure),
    /// The time of one of them.
    Time(WhichEvent),
}

/// What is asked of the events of a user in a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventTest {
    /// Comparison of a number.
    Number {
        /// The number. It is missing, so that every comparison but `!=` is false, for averages and
        /// extremes of no amounts; it is 0 for all others.
        measure: Measure,
        /// How to compare.
        comparison: Comparison,
        /// With what. A whole number of at least 0 where the measure counts.
        operand: Amount,
    },
    /// Comparison of the time of an event. It is missing, so that every comparison but `!=` is
    /// false, if there is none.
    Time {
        /// Of which event.
        which: WhichEvent,
        /// How to compare.
        comparison: Comparison,
        /// With what.
        operand: Instant,
    },
}

/// A number about the events of a user in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// How many there are: `count`.
    Count,
    /// On how many different days there are any: `days`.
    Days,
    /// In how many different weeks, which begin on Monday, there are any: `weeks`.
    Weeks,
    /// In how many different months there are any: `months`.
    Months,
    /// The sum of their amounts: `sum`. Those without one count as 0.
    Sum,
    /// The mean of their amounts: `avg`. Those without one do not count.
    Average,
    /// The least of their amounts: `min`.
    Least,
    /// The greatest of their amounts: `max`.
    Greatest,
}

impl Measure {
    /// Whether it is a number of things.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Count | Self::Days | Self::Weeks | Self::Months)
    }
}

/// One of the events of a user in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhichEvent {
    /// The earliest: `first`.
    First,
    /// The latest: `last`.
    Last,
}

/// Which events by their time. The first instant belongs to a window, the last does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// All that are kept.
    Ever,
    /// Those of so much time before `as_of`: more than nothing.
    Rolling(Span),
    /// Those between two instants.
    Between {
        /// The first instant.
        from: Instant,
        /// The first one after.
        to: Instant,
    },
    /// Those of the day, week or month that `as_of` is in.
    This(CalendarUnit),
    /// Those of so many whole days, weeks or months before the one that `as_of` is in.
    Last(NonZeroU32, CalendarUnit),
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day of a month.
    Month,
}

/// An instant, given or relative to the question's `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instant {
    /// This one.
    At(Timestamp),
    /// The one this far from `as_of`.
    AsOfPlus(Span),
}

impl Instant {
    /// The instant for a question's `as_of`.
    #[must_use]
    pub fn resolve(self, as_of: Timestamp) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::AsOfPlus(span) => as_of.saturating_add(span),
        }
    }
}

impl fmt::Display for EventPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = match &self.test {
            EventTest::Number { measure, .. } => Measured::Number(*measure),
            EventTest::Time { which, .. } => Measured::Time(*which),
        };
        write_measure(f, measured, &self.event, &self.window, &self.zone)?;
        match &self.test {
            EventTest::Number {
                comparison,
                operand,
                ..
            } => write!(f, " {comparison} {operand}"),
            EventTest::Time {
                comparison,
                operand,
                ..
            } => write!(f, " {comparison} {operand}"),
        }
    }
}

impl fmt::Display for EventMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_measure(f, self.measured, &self.event, &self.window, &self.zone)
    }
}

fn write_measure(
    f: &mut fmt::Formatter<'_>,
    measured: Measured,
    event: &EventName,
    window: &Window,
    zone: &Zone,
) -> fmt::Result {
    write!(f, "{measured}(")?;
    write_name(f, event.as_str())?;
    match window {
        Window::Ever => {}
        Window::Rolling(span) => write!(f, ", {span}")?,
        Window::Between { from, to } => write!(f, ", {from}, {to}")?,
        Window::This(unit) => write!(f, ", this {unit}")?,
        Window::Last(count, unit) => write!(f, ", last {count} {unit}s")?,
    }
    if *zone != Zone::utc() {
        write!(f, " IN '{zone}'")?;
    }
    f.write_str(")")
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(measure) => measure.fmt(f),
            Self::Time(which) => which.fmt(f),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Days => "days",
            Self::Weeks => "weeks",
            Self::Months => "months",
            Self::Sum => "sum",
            Self::Average => "avg",
            Self::Least => "min",
            Self::Greatest => "max",
        })
    }
}

impl fmt::Display for WhichEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
        })
    }
}

impl fmt::Display for CalendarUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(timestamp) => write!(f, "{}", Value::Timestamp(*timestamp)),
            Self::AsOfPlus(span) => write!(f, "{}", Operand::AsOfPlus(*span)),
        }
    }
}
