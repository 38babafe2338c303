//! Tests of what users did, in terms of the index.
//!
//! Invariant: a test that is left to the index is false for everybody without events in its window.
//! What is true of nothing, such as `count(..) = 0`, is the complement of such a test, so that
//! users who did nothing are in it.

use std::sync::Arc;

use super::bind::Node;
use super::bind_error::BindError;
use crate::index::{AmountTest, Counted, Extreme, KeptWindow, day_of, day_start};
use crate::model::{
    Amount, CalendarUnit, Comparison, EventMeasure, EventName, EventPredicate, EventTest, Instant,
    Interval, LimitExceeded, Measure, Measured, Timestamp, ValueType, WhichEvent, Window, Zone,
    limit,
};
use crate::population::{Catalog, Population};

/// One test of the events of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventLeaf {
    /// The number of the name.
    pub(super) event: u32,
    /// The first instant of the window, in microseconds since 1970.
    pub(super) from: i64,
    /// The first one after, above that.
    pub(super) to: i64,
    pub(super) test: EventLeafTest,
    /// Which of the predicates of the expression it stands for, counted from the left.
    pub(super) predicate: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum EventLeafTest {
    /// Has so many of something: from the first to the second, both included, at least 1.
    Count(CountedUnits, u64, u64),
    /// The sum of the amounts passes, as the sum of none does not.
    Sum(AmountTest),
    /// The mean of the amounts passes.
    Mean(AmountTest),
    /// The least or the greatest of the amounts passes.
    Extreme(Extreme, AmountTest),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum CountedUnits {
    Events,
    Days,
    /// Where units begin within the window, in microseconds since 1970.
    Units(Arc<[i64]>),
}

impl CountedUnits {
    pub(super) fn counted(&self) -> Counted<'_> {
        match self {
            Self::Events => Counted::Events,
            Self::Days => Counted::Days,
            Self::Units(starts) => Counted::Units(starts),
        }
    }
}

impl EventLeaf {
    /// The window of which counts could be kept to answer it.
    pub(super) fn kept_window(&self) -> Option<KeptWindow> {
        match &self.test {
            EventLeafTest::Count(units, ..) => {
                KeptWindow::within(units.counted().kind()?, self.from, self.to)
            }
            EventLeafTest::Sum(_) | EventLeafTest::Mean(_) | EventLeafTest::Extreme(..) => None,
        }
    }
}

/// What a bound test of events relied on: the number of the name, and what was known of its oldest.
pub(super) type Relied = (u32, Oldest);

/// What is known of the oldest events of a name: the first day, and the first one that is kept.
pub(super) type Oldest = (Option<i32>, Option<i32>);

/// What is known of the oldest events of a name.
pub(super) fn oldest(population: &Population, event: u32) -> Oldest {
    let counts = population.kept(|kept| kept.of_events(event));
    (counts.oldest_day, counts.kept_from)
}

/// Resolves a test of events at one position of an expression.
pub(super) fn bind_event(
    population: &Population,
    catalog: &Catalog,
    predicate: &EventPredicate,
    as_of: Timestamp,
    position: usize,
    units_left: &mut u64,
) -> Result<(Node, Relied), BindError> {
    let asked = (&predicate.event, &predicate.window, &predicate.zone);
    let (number, window, relied) = bind_window(population, catalog, asked, as_of)?;
    let binder = Binder {
        event: number,
        window: (window.from().micros(), window.to().micros()),
        position,
        oldest: relied.0.map_or(i64::MAX, day_start),
    };
    let node = match &predicate.test {
        EventTest::Number {
            measure,
            comparison,
            operand,
        } => {
            let zone = (&predicate.zone, units_left);
            binder.number(*measure, *comparison, *operand, zone)?
        }
        EventTest::Time {
            which,
            comparison,
            operand,
        } => binder.time(*which, *comparison, *operand, as_of),
    };
    Ok((node, (number, relied)))
}

/// The number of the events of a name, the instants of a window, and what is known of their oldest.
fn bind_window(
    population: &Population,
    catalog: &Catalog,
    (event, window, zone): (&EventName, &Window, &Zone),
    as_of: Timestamp,
) -> Result<(u32, Interval, Oldest), BindError> {
    let Some(found) = catalog.event(event) else {
        return Err(BindError::UnknownEvent {
            event: event.clone(),
            suggestions: catalog.near_events(event),
        });
    };
    let relied = oldest(population, found.number());
    let interval = window.interval(zone, as_of);
    if let Some(kept_from) = relied.1.map(day_start)
        && let Some(from) = beyond(window, interval, as_of, kept_from)
    {
        return Err(BindError::BeyondRetention {
            event: event.clone(),
            from,
            kept_from: Timestamp::from_micros(kept_from).unwrap_or(Timestamp::MIN),
        });
    }
    Ok((found.number(), interval, relied))
}

/// A measure in terms of the index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundMeasure {
    /// The number of the name of the events.
    pub(super) event: u32,
    /// The first instant, and the first one after: empty unless that is above it.
    pub(super) window: (i64, i64),
    pub(super) measured: BoundMeasured,
    /// What was known of the oldest events.
    pub(super) relied: Oldest,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum BoundMeasured {
    /// How many of something there are.
    Count(CountedUnits),
    /// The sum of the amounts.
    Sum,
    /// The mean of the amounts.
    Mean,
    /// The least or the greatest of the amounts.
    Extreme(Extreme),
    /// The time of the first or the last event: the least or the greatest.
    Time(Extreme),
}

impl BoundMeasured {
    /// The type of what it tells.
    pub(super) const fn value_type(&self) -> ValueType {
        match self {
            Self::Count(_) => ValueType::Int64,
            Self::Sum | Self::Mean | Self::Extreme(_) => ValueType::Double,
            Self::Time(_) => ValueType::Timestamp,
        }
    }
}

/// Resolves a measure.
pub(super) fn bind_measure(
    population: &Population,
    measure: &EventMeasure,
    as_of: Timestamp,
) -> Result<BoundMeasure, BindError> {
    let asked = (&measure.event, &measure.window, &measure.zone);
    let catalog = population.catalog();
    let (event, interval, relied) = bind_window(population, &catalog, asked, as_of)?;
    let window = (interval.from().micros(), interval.to().micros());
    let oldest = relied.0.map_or(i64::MAX, day_start);
    let measured = match measure.measured {
        Measured::Number(Measure::Count) => BoundMeasured::Count(CountedUnits::Events),
        Measured::Number(measure @ (Measure::Days | Measure::Weeks | Measure::Months)) => {
            let mut left = limit::WINDOW_UNITS.default;
            BoundMeasured::Count(units_of(measure, asked.2, window, oldest, &mut left)?)
        }
        Measured::Number(Measure::Sum) => BoundMeasured::Sum,
        Measured::Number(Measure::Average) => BoundMeasured::Mean,
        Measured::Number(Measure::Least) => BoundMeasured::Extreme(Extreme::Least),
        Measured::Number(Measure::Greatest) => BoundMeasured::Extreme(Extreme::Greatest),
        Measured::Time(WhichEvent::First) => BoundMeasured::Time(Extreme::Least),
        Measured::Time(WhichEvent::Last) => BoundMeasured::Time(Extreme::Greatest),
    };
    Ok(BoundMeasure {
        event,
        window,
        measured,
        relied,
    })
}

/// What days, weeks or months of a zone there are in a window.
///
/// # Errors
/// [`BindError::TooManyUnits`] if there are more than are left to count.
fn units_of(
    measure: Measure,
    zone: &Zone,
    (from, to): (i64, i64),
    oldest: i64,
    units_left: &mut u64,
) -> Result<CountedUnits, BindError> {
    let unit = match measure {
        Measure::Weeks => CalendarUnit::Week,
        Measure::Months => CalendarUnit::Month,
        Measure::Count
        | Measure::Days
        | Measure::Sum
        | Measure::Average
        | Measure::Least
        | Measure::Greatest => CalendarUnit::Day,
    };
    if unit == CalendarUnit::Day && *zone == Zone::utc() {
        return Ok(CountedUnits::Days);
    }
    // Before the oldest event nothing is counted, however many units there are.
    let from = from.max(oldest).min(to);
    // Before they are listed: a window can reach over thousands of years. No unit is shorter than
    // its least number of days, less the hour or so by which clocks are changed.
    let least_days = match unit {
        CalendarUnit::Day => 1,
        CalendarUnit::Week => 7,
        CalendarUnit::Month => 28,
    };
    let days = day_of(to).abs_diff(day_of(from));
    let most = u64::from(days / least_days) + 2;
    let Some(left) = units_left.checked_sub(most) else {
        let allowed = limit::WINDOW_UNITS.default;
        let given = (allowed - *units_left).saturating_add(most);
        return Err(BindError::TooManyUnits {
            exceeded: LimitExceeded {
                limit: limit::WINDOW_UNITS,
                allowed,
                given,
            },
        });
    };
    *units_left = left;
    let at = |micros| Timestamp::from_micros(micros).unwrap_or(Timestamp::MIN);
    let starts = unit.starts_within(zone, Interval::new(at(from), at(to)));
    Ok(CountedUnits::Units(
        starts.into_iter().map(Timestamp::micros).collect(),
    ))
}

/// Where a window begins that reaches back to events that are not kept any more.
fn beyond(
    window: &Window,
    interval: Interval,
    as_of: Timestamp,
    kept_from: i64,
) -> Option<Timestamp> {
    if *window == Window::Ever {
        // All that are kept are asked for, which is nothing before there are any.
        return (as_of.micros() <= kept_from).then_some(as_of);
    }
    let is_empty = interval.is_empty();
    (!is_empty && interval.from().micros() < kept_from).then_some(interval.from())
}

struct Binder {
    event: u32,
    window: (i64, i64),
    position: usize,
    /// There are no events before.
    oldest: i64,
}

fn everyone_if(all: bool) -> Node {
    if all {
        Node::Everyone
    } else {
        not(Node::Everyone)
    }
}

fn not(node: Node) -> Node {
    Node::Not(Box::new(node))
}

impl Binder {
    fn leaf(&self, (from, to): (i64, i64), test: EventLeafTest) -> Node {
        if from >= to {
            return everyone_if(false);
        }
        Node::Event(EventLeaf {
            event: self.event,
            from,
            to,
            test,
            predicate: self.position,
        })
    }

    /// Who has events from `from` on and before `to`, within the window.
    fn any(&self, from: i64, to: i64) -> Node {
        let within = (from.max(self.window.0), to.min(self.window.1));
        self.leaf(
            within,
            EventLeafTest::Count(CountedUnits::Events, 1, u64::MAX),
        )
    }

    fn number(
        &self,
        measure: Measure,
        comparison: Comparison,
        operand: Amount,
        (zone, units_left): (&Zone, &mut u64),
    ) -> Result<Node, BindError> {
        let test = AmountTest {
            comparison,
            operand: operand.millionths(),
        };
        let extreme =
            |which| self.of_amounts(test, move |test| EventLeafTest::Extreme(which, test));
        Ok(match measure {
            Measure::Count => self.count(CountedUnits::Events, comparison, operand),
            Measure::Days | Measure::Weeks | Measure::Months => {
                let units = units_of(measure, zone, self.window, self.oldest, units_left)?;
                self.count(units, comparison, operand)
            }
            // Nothing adds up to 0.
            Measure::Sum if test.passes(0) => {
                let test = AmountTest {
                    comparison: comparison.complement(),
                    ..test
                };
                not(self.leaf(self.window, EventLeafTest::Sum(test)))
            }
            Measure::Sum => self.leaf(self.window, EventLeafTest::Sum(test)),
            Measure::Average => self.of_amounts(test, EventLeafTest::Mean),
            Measure::Least => extreme(Extreme::Least),
            Measure::Greatest => extreme(Extreme::Greatest),
        })
    }

    /// A test of a number that is missing where there are no amounts: then only `!=` is true.
    fn of_amounts(&self, test: AmountTest, leaf: impl Fn(AmountTest) -> EventLeafTest) -> Node {
        if test.comparison == Comparison::NotEqual {
            let equal = AmountTest {
                comparison: Comparison::Equal,
                ..test
            };
            not(self.leaf(self.window, leaf(equal)))
        } else {
            self.leaf(self.window, leaf(test))
        }
    }

    /// A test of a number of things, which is 0 where there are no events.
    fn count(&self, units: CountedUnits, comparison: Comparison, operand: Amount) -> Node {
        // Whole and not negative, as the model has it.
        let number = operand.as_whole().unwrap_or_default().unsigned_abs();
        let complement = match comparison {
            Comparison::NotEqual | Comparison::Less | Comparison::LessOrEqual => true,
            Comparison::Equal | Comparison::GreaterOrEqual => number == 0,
            Comparison::Greater => false,
        };
        // The counts that pass, or that do not where 0 does.
        let (least, most) = match comparison {
            Comparison::Equal if number == 0 => (1, u64::MAX),
            Comparison::Equal | Comparison::NotEqual => (number, number),
            Comparison::Less | Comparison::GreaterOrEqual => (number, u64::MAX),
            Comparison::LessOrEqual | Comparison::Greater => (number + 1, u64::MAX),
        };
        // Not less than 0 is everybody, other than 0 who has any, less than 0 nobody.
        let node = match (comparison, number) {
            (Comparison::GreaterOrEqual, 0) => return Node::Everyone,
            (Comparison::Less, 0) => return everyone_if(false),
            (Comparison::NotEqual, 0) => {
                return self.leaf(self.window, EventLeafTest::Count(units, 1, u64::MAX));
            }
            _ => self.leaf(self.window, EventLeafTest::Count(units, least, most)),
        };
        if complement { not(node) } else { node }
    }

    /// A test of the time of the first or the last event, by where there are events and where not.
    fn time(
        &self,
        which: WhichEvent,
        comparison: Comparison,
        operand: Instant,
        as_of: Timestamp,
    ) -> Node {
        let at = operand.resolve(as_of).micros();
        let after = at.saturating_add(1);
        let before = |instant| self.any(i64::MIN, instant);
        let since = |instant| self.any(instant, i64::MAX);
        let first_since = |instant| Node::And(vec![since(instant), not(before(instant))]);
        let last_before = |instant| Node::And(vec![before(instant), not(since(instant))]);
        match (which, comparison) {
            (WhichEvent::First, Comparison::Less) => before(at),
            (WhichEvent::First, Comparison::LessOrEqual) => before(after),
            (WhichEvent::First, Comparison::GreaterOrEqual) => first_since(at),
            (WhichEvent::First, Comparison::Greater) => first_since(after),
            (WhichEvent::Last, Comparison::Less) => last_before(at),
            (WhichEvent::Last, Comparison::LessOrEqual) => last_before(after),
            (WhichEvent::Last, Comparison::GreaterOrEqual) => since(at),
            (WhichEvent::Last, Comparison::Greater) => since(after),
            (_, Comparison::Equal | Comparison::NotEqual) => {
                let others = match which {
                    WhichEvent::First => before(at),
                    WhichEvent::Last => since(after),
                };
                let equal = Node::And(vec![self.any(at, after), not(others)]);
                if comparison == Comparison::Equal {
                    equal
                } else {
                    not(equal)
                }
            }
        }
    }
}
