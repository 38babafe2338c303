//! The naive twin of the events of a population: a list for each user and name, in order of
//! arrival, every question answered by going through it.
//!
//! It shares no code with what it checks, save the words.

use std::collections::BTreeMap;

use super::naive::Refused;
use super::naive_calendar::NaiveCalendar;
use crate::model::{
    Amount, CalendarUnit, Comparison, Event, EventDeclaration, EventFault, EventId, EventName,
    EventPredicate, EventTest, Expression, Instant, Measure, StoreLimits, Timestamp, UserId,
    WhichEvent, Window, Zone,
};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The events of all users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NaiveEvents {
    names: BTreeMap<EventName, NaiveEventName>,
    lists: BTreeMap<(UserId, EventName), Vec<NaiveEvent>>,
    /// The UTC day on which events were dropped last.
    dropped_on: Option<i64>,
}

/// What is known of the events of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NaiveEventName {
    /// How long events are kept, in microseconds.
    pub retention: i64,
    /// The UTC day before which events were dropped.
    pub kept_from: Option<i64>,
    /// How many were refused as duplicates.
    pub duplicates: u64,
    /// How many were refused as too old.
    pub too_old: u64,
    /// How many were refused as too far ahead.
    pub too_far_ahead: u64,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct NaiveEvent {
    /// When, in microseconds since 1970.
    pub time: i64,
    /// How much, in millionths.
    pub amount: Option<i64>,
    id: Option<EventId>,
}

/// Why an expression can't be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// It names events that do not exist.
    Unknown(EventName),
    /// It asks for events that may have been dropped.
    Dropped(EventName),
}

/// The first instant of a window and the first one after, in microseconds since 1970.
type Edges = (i64, i64);

/// The tests of events of an expression, each with its window at an instant.
pub(super) struct Asked<'a>(Vec<(&'a EventPredicate, Edges)>);

impl<'a> Asked<'a> {
    pub(super) fn of(expression: &'a Expression, as_of: Timestamp) -> Self {
        let mut tests = Vec::new();
        collect(expression, &mut tests);
        let with_edges = tests.into_iter().map(|test| (test, edges(test, as_of)));
        Self(with_edges.collect())
    }

    fn edges(&self, test: &EventPredicate) -> Edges {
        let found = self.0.iter().find(|(other, _)| std::ptr::eq(*other, test));
        found.expect("a test of the expression").1
    }
}

fn collect<'a>(expression: &'a Expression, tests: &mut Vec<&'a EventPredicate>) {
    match expression {
        Expression::Everyone
        | Expression::Predicate(_)
        | Expression::Segment(_)
        | Expression::Bucket(_) => {}
        Expression::Event(test) => tests.push(test),
        Expression::Not(one) => collect(one, tests),
        Expression::And(all) | Expression::Or(all) | Expression::AtLeast { of: all, .. } => {
            all.iter().for_each(|one| collect(one, tests));
        }
    }
}

fn within_time(micros: i64) -> i64 {
    micros.clamp(Timestamp::MIN.micros(), Timestamp::MAX.micros())
}

fn resolved(instant: Instant, as_of: Timestamp) -> i64 {
    match instant {
        Instant::At(at) => at.micros(),
        Instant::AsOfPlus(span) => within_time(as_of.micros() + span.micros()),
    }
}

fn edges(test: &EventPredicate, as_of: Timestamp) -> Edges {
    let now = as_of.micros();
    let calendar = || NaiveCalendar::of(&test.zone);
    match &test.window {
        Window::Ever => (Timestamp::MIN.micros(), now),
        Window::Rolling(span) => (within_time(now - span.micros()), now),
        Window::Between { from, to } => (resolved(*from, as_of), resolved(*to, as_of).min(now)),
        Window::This(unit) => {
            let calendar = calendar();
            (calendar.start(calendar.first_date(*unit, now)), now)
        }
        Window::Last(count, unit) => {
            let calendar = calendar();
            let this = calendar.first_date(*unit, now);
            let first = NaiveCalendar::back(*unit, this, count.get());
            (calendar.start(first), calendar.start(this))
        }
    }
}

impl NaiveEvents {
    /// Takes an event in, or tells why it does not count.
    pub(super) fn receive(&mut self, user: &UserId, event: &Event) -> Option<EventFault> {
        let limits = StoreLimits::default();
        let received = event.received.micros();
        let time = event.time.map_or(received, Timestamp::micros);
        let known = self
            .names
            .entry(event.name.clone())
            .or_insert(NaiveEventName {
                retention: limits.event_retention_days.cast_signed() * DAY,
                kept_from: None,
                duplicates: 0,
                too_old: 0,
                too_far_ahead: 0,
            });
        let is_dropped = known.kept_from.is_some_and(|day| time < day * DAY);
        if time < received - known.retention || is_dropped {
            known.too_old += 1;
            return Some(EventFault::TooOld);
        }
        if time > received + limits.event_ahead_seconds.cast_signed() * SECOND {
            known.too_far_ahead += 1;
            return Some(EventFault::TooFarAhead);
        }
        let list = self
            .lists
            .entry((user.clone(), event.name.clone()))
            .or_default();
        let same = |other: &NaiveEvent| {
            event.id.is_some() && other.id == event.id && (other.time - time).abs() <= DAY
        };
        if list.iter().any(same) {
            known.duplicates += 1;
            return Some(EventFault::Duplicate);
        }
        list.push(NaiveEvent {
            time,
            amount: event.amount.map(Amount::millionths),
            id: event.id.clone(),
        });
        None
    }

    /// Drops what is old enough, after a write with events, the last of them received then. Once a
    /// day is enough.
    pub(super) fn drop_old(&mut self, received: i64) {
        let today = received.div_euclid(DAY);
        if self.dropped_on.is_some_and(|day| day >= today) {
            return;
        }
        self.dropped_on = Some(today);
        for (name, known) in &mut self.names {
            let before = (today * DAY - known.retention).div_euclid(DAY);
            let lists = self.lists.iter_mut();
            for (_, list) in lists.filter(|((_, of), _)| of == name) {
                let all = list.len();
                list.retain(|event| event.time.div_euclid(DAY) >= before);
                if list.len() < all {
                    known.kept_from = Some(before);
                }
            }
        }
    }

    pub(super) fn create(&mut self, declaration: &EventDeclaration) -> Result<(), Refused> {
        if self.names.contains_key(&declaration.name) {
            return Err(Refused);
        }
        let known = NaiveEventName {
            retention: declaration.retention.micros(),
            kept_from: None,
            duplicates: 0,
            too_old: 0,
            too_far_ahead: 0,
        };
        self.names.insert(declaration.name.clone(), known);
        Ok(())
    }

    pub(super) fn update(&mut self, declaration: &EventDeclaration) -> Result<(), Refused> {
        let known = self.names.get_mut(&declaration.name).ok_or(Refused)?;
        known.retention = declaration.retention.micros();
        self.dropped_on = None;
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &EventName) -> Result<(), Refused> {
        self.names.remove(name).ok_or(Refused)?;
        self.lists.retain(|(_, of), _| of != name);
        Ok(())
    }

    pub(super) fn erase(&mut self, user: &UserId) {
        self.lists.retain(|(of, _), _| of != user);
    }

    /// All names, with what is known of each.
    pub fn names(&self) -> impl Iterator<Item = (&EventName, &NaiveEventName)> {
        self.names.iter()
    }

    /// The events of a user and name, in order of arrival.
    #[must_use]
    pub fn of(&self, user: &UserId, name: &EventName) -> &[NaiveEvent] {
        let list = self.lists.get(&(user.clone(), name.clone()));
        list.map_or(&[], Vec::as_slice)
    }

    /// How many events of a name there are.
    #[must_use]
    pub fn count(&self, name: &EventName) -> u64 {
        let lists = self.lists.iter().filter(|((_, of), _)| of == name);
        lists.map(|(_, list)| list.len() as u64).sum()
    }

    /// Why an expression can't be answered, by the first of its tests of which that is so.
    #[must_use]
    pub fn unanswerable(&self, expression: &Expression, as_of: Timestamp) -> Option<Unanswerable> {
        let Asked(tests) = Asked::of(expression, as_of);
        let mut tests = tests.into_iter();
        tests.find_map(|(test, (from, to))| {
            let Some(known) = self.names.get(&test.event) else {
                return Some(Unanswerable::Unknown(test.event.clone()));
            };
            let kept_from = known.kept_from? * DAY;
            let is_dropped = match test.window {
                Window::Ever => as_of.micros() <= kept_from,
                Window::Rolling(_)
                | Window::Between { .. }
                | Window::This(_)
                | Window::Last(..) => from < to && from < kept_from,
            };
            is_dropped.then(|| Unanswerable::Dropped(test.event.clone()))
        })
    }

    pub(super) fn passes(
        &self,
        test: &EventPredicate,
        asked: &Asked<'_>,
        user: &UserId,
        as_of: Timestamp,
    ) -> bool {
        let (from, to) = asked.edges(test);
        let all = self.of(user, &test.event).iter();
        let within: Vec<&NaiveEvent> = all.filter(|e| e.time >= from && e.time < to).collect();
        match &test.test {
            EventTest::Number {
                measure,
                comparison,
                operand,
            } => {
                // The number times `count` is `sum`, in millionths.
                let number = measured(*measure, &within, &test.zone);
                let operand = i128::from(operand.millionths());
                let compared = number.map(|(sum, count)| (sum, operand * count));
                holds(*comparison, compared)
            }
            EventTest::Time {
                which,
                comparison,
                operand,
            } => {
                let times = within.iter().map(|event| event.time);
                let time = match which {
                    WhichEvent::First => times.min(),
                    WhichEvent::Last => times.max(),
                };
                let operand = resolved(*operand, as_of);
                holds(*comparison, time.map(|time| (time, operand)))
            }
        }
    }
}

/// A number as a sum of millionths and by what it is to be divided; `None` if it is missing.
fn measured(measure: Measure, events: &[&NaiveEvent], zone: &Zone) -> Option<(i128, i128)> {
    let whole = |number: usize| Some((number as i128 * i128::from(SECOND), 1));
    let units = |unit| {
        let times = events.iter().map(|event| event.time);
        whole(NaiveCalendar::of(zone).different(unit, times))
    };
    let amounts: Vec<i128> = events
        .iter()
        .filter_map(|event| event.amount.map(i128::from))
        .collect();
    match measure {
        Measure::Count => whole(events.len()),
        Measure::Days => units(CalendarUnit::Day),
        Measure::Weeks => units(CalendarUnit::Week),
        Measure::Months => units(CalendarUnit::Month),
        Measure::Sum => Some((amounts.iter().sum(), 1)),
        Measure::Average if amounts.is_empty() => None,
        Measure::Average => Some((amounts.iter().sum(), amounts.len() as i128)),
        Measure::Least => amounts.iter().min().map(|least| (*least, 1)),
        Measure::Greatest => amounts.iter().max().map(|greatest| (*greatest, 1)),
    }
}

/// Whether a comparison is true of two numbers; `None` if the first is missing.
fn holds<T: Ord>(comparison: Comparison, numbers: Option<(T, T)>) -> bool {
    match numbers {
        None => comparison == Comparison::NotEqual,
        Some((a, b)) => match comparison {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
        },
    }
}
