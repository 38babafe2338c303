//! Until when an answer about a user holds, if nothing is written.
//!
//! Invariant: the instant that is told is never later than the first one at which the answer would be
//! another, and it is that one unless looking for it was given up after some work, which is bounded
//! whatever is asked and however many events the user has. What does not depend on time costs nothing.

use std::borrow::Borrow;
use std::sync::Arc;

use super::bind::{Bound, answer_all, bind_to};
use super::check::holds;
use super::stop::{Stop, Stopped};
use crate::index::{EventIndex, PropertyIndex, Shard};
use crate::model::{
    Comparison, Edge, Edges, EventPredicate, EventTest, Instant, Measure, Predicate, Timestamp,
    UserId, WhichEvent, Window,
};
use crate::population::{Population, ShardReader};

/// How often one expression is asked again at most, each time for the next instant at which its
/// answer could be another.
const STEPS: usize = 256;

/// How often at most where each event of the user can make a difference.
const STEPS_OF_EACH_EVENT: usize = 16;

/// How much may be looked at and bound again for one user, all together: so much takes about a fifth of
/// a millisecond, as one unit is a day of events in which those of the user are looked up. The first
/// look at each expression, which finds where it could be another, is not part of it: that takes about
/// as long as the check itself.
const WORK: u64 = 4_096;

/// What it takes to bind a node or the value of a list again.
const WORK_OF_BINDING: u64 = 4;

/// How many events of a user are looked at for one unit of work.
const EVENTS_AT_ONCE: u64 = 8;

/// In which selections a user is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// For each selection whether the user is in it.
    pub members: Vec<bool>,
    /// The first instant at which one of them would be another by the clock alone; `None` if there is
    /// none. Earlier than that if it is not found soon.
    pub valid_until: Option<Timestamp>,
}

/// Tells what [`super::check()`] does, and until when it holds if nothing is written.
///
/// # Errors
/// [`Stopped`] if `stop` said so before all was looked at.
pub fn check_until(
    population: &Population,
    user: &UserId,
    bounds: &[impl Borrow<Bound>],
    stop: &Stop,
) -> Result<Option<Checked>, Stopped> {
    check_with(population, user, bounds, Effort::default(), stop)
}

/// Tells what [`check_until`] does without giving up but after many steps, whatever that costs: what
/// that tells can be tested by it.
///
/// # Errors
/// As for [`check_until`].
#[cfg(feature = "testing")]
pub fn check_until_exactly(
    population: &Population,
    user: &UserId,
    bounds: &[impl Borrow<Bound>],
    stop: &Stop,
) -> Result<Option<Checked>, Stopped> {
    let effort = Effort {
        work: u64::MAX,
        steps_of_each_event: STEPS,
    };
    check_with(population, user, bounds, effort, stop)
}

fn check_with(
    population: &Population,
    user: &UserId,
    bounds: &[impl Borrow<Bound>],
    effort: Effort,
    stop: &Stop,
) -> Result<Option<Checked>, Stopped> {
    answer_all(population, bounds, |bounds| {
        population.with_user(user, |reader, place| {
            let members = bounds.iter().map(|bound| holds(&bound.root, reader, place));
            let members: Vec<bool> = members.collect();
            let mut search = Search::new(population, reader, place, stop);
            search.effort = effort;
            for (bound, member) in bounds.iter().zip(&members) {
                search.look_at(bound, *member)?;
            }
            Ok(Checked {
                members,
                valid_until: search.earliest,
            })
        })
    })
    .transpose()
}

/// Tells of each of many users what [`check_until`] does of one, each at a moment of its own.
///
/// # Errors
/// [`Stopped`] if `stop` said so before all were checked.
pub fn check_many_until(
    population: &Population,
    users: &[&UserId],
    bounds: &[impl Borrow<Bound>],
    stop: &Stop,
) -> Result<Vec<Option<Checked>>, Stopped> {
    let checked = users.iter().map(|user| {
        stop.check()?;
        check_until(population, user, bounds, stop)
    });
    checked.collect()
}

/// How much may be done to look for the first change.
#[derive(Clone, Copy)]
struct Effort {
    work: u64,
    steps_of_each_event: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            work: WORK,
            steps_of_each_event: STEPS_OF_EACH_EVENT,
        }
    }
}

/// Looks for the first instant at which one of some answers about a user is another.
pub(super) struct Search<'a> {
    population: &'a Population,
    reader: &'a ShardReader<'a>,
    user: u16,
    stop: &'a Stop,
    /// How much is left of it.
    effort: Effort,
    /// The first one that was found.
    pub(super) earliest: Option<Timestamp>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        population: &'a Population,
        reader: &'a ShardReader<'a>,
        user: u16,
        stop: &'a Stop,
    ) -> Self {
        Self {
            population,
            reader,
            user,
            stop,
            effort: Effort::default(),
            earliest: None,
        }
    }

    /// Looks for the first instant at which an expression is not what it is now, among those before
    /// the earliest one.
    ///
    /// # Errors
    /// [`Stopped`] if it is time to stop.
    pub(super) fn look_at(&mut self, bound: &Bound, holds: bool) -> Result<(), Stopped> {
        if bound.depends_on_time() {
            let found = self.of(bound, holds, self.earliest)?;
            self.earliest = found.or(self.earliest);
        }
        Ok(())
    }

    /// The first instant at which an expression is not what it is now; `None` if there is none before
    /// another instant.
    ///
    /// # Errors
    /// [`Stopped`] if it is time to stop.
    pub(super) fn of(
        &mut self,
        bound: &Bound,
        is_true: bool,
        before: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Stopped> {
        self.stop.check()?;
        Ok(self.first_change(bound, is_true, before))
    }

    fn first_change(
        &mut self,
        bound: &Bound,
        is_true: bool,
        before: Option<Timestamp>,
    ) -> Option<Timestamp> {
        // Once the catalog is another one, nothing is known of the time after that.
        let Some(catalog) = bound.catalog() else {
            return Some(bound.as_of()).filter(|at| before.is_none_or(|before| *at < before));
        };
        let shard = self.reader.shard();
        let each_event = bound.timed().iter().any(Timed::changes_with_each_event);
        let steps = if each_event {
            self.effort.steps_of_each_event
        } else {
            STEPS
        };
        let mut at = bound.as_of();
        for step in 0..=steps {
            let timed = bound.timed().iter();
            let next = timed
                .filter_map(|timed| timed.next(shard, self.user, at))
                .min();
            let next = next.filter(|next| before.is_none_or(|before| *next < before))?;
            if step == steps || !self.may_ask_again(bound, at) {
                return Some(next);
            }
            let later = bind_to(self.population, Arc::clone(&catalog), bound.source(), next);
            match later {
                Ok(later) if holds(&later.root, self.reader, self.user) == is_true => at = next,
                Ok(_) | Err(_) => return Some(next),
            }
        }
        None
    }

    /// Whether there may be the work of asking an expression again, and of looking for the next instant
    /// after that. If so, it is accounted for.
    fn may_ask_again(&mut self, bound: &Bound, at: Timestamp) -> bool {
        let shard = self.reader.shard();
        let mut work = bound.weight().saturating_mul(WORK_OF_BINDING);
        for timed in bound.timed() {
            // Before events are counted, which is work, too.
            if work > self.effort.work {
                return false;
            }
            work = work.saturating_add(timed.work(shard, self.user, at));
        }
        let left = self.effort.work.checked_sub(work);
        self.effort.work = left.unwrap_or(self.effort.work);
        left.is_some()
    }
}

/// What the clock moves of a predicate.
#[derive(Clone, Debug)]
pub(super) enum Timed {
    /// A property that is compared with `now()`.
    Values {
        /// The number of the property.
        property: u32,
        edges: Edges,
    },
    /// The events in a window.
    Events(Box<TimedEvents>),
}

#[derive(Clone, Debug)]
pub(super) struct TimedEvents {
    /// The number of the name.
    event: u32,
    start: Option<Edge>,
    ends: Edges,
    operand: Edges,
    /// What the window lies between, however its edges move.
    within: (i64, i64),
    asked: Asked,
}

/// What is asked of events, as far as it tells which of them matter.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Count(Comparison, u64),
    Time(WhichEvent),
    /// Each of them can matter.
    Other,
}

impl Timed {
    /// What the clock moves of a test of a property, if anything.
    pub(super) fn of_values(property: u32, predicate: &Predicate) -> Self {
        Self::Values {
            property,
            edges: predicate.edges(),
        }
    }

    /// What the clock moves of a test of events.
    pub(super) fn of_events(event: u32, predicate: &EventPredicate) -> Self {
        let mut within = (i64::MIN, i64::MAX);
        if let Window::Between { from, to } = &predicate.window {
            if let Instant::At(from) = from {
                within.0 = from.micros();
            }
            if let Instant::At(to) = to {
                within.1 = to.micros();
            }
        }
        let asked = match &predicate.test {
            EventTest::Number {
                measure: Measure::Count,
                comparison,
                operand,
            } => {
                let number = operand.as_whole().unwrap_or_default().unsigned_abs();
                Asked::Count(*comparison, number)
            }
            EventTest::Number { .. } => Asked::Other,
            EventTest::Time { which, .. } => Asked::Time(*which),
        };
        Self::Events(Box::new(TimedEvents {
            event,
            start: predicate.start_edge(),
            ends: predicate.end_edges(),
            operand: predicate.operand_edges(),
            within,
            asked,
        }))
    }

    /// Whether every event that the window passes can make a difference.
    fn changes_with_each_event(&self) -> bool {
        match self {
            Self::Values { .. } => false,
            Self::Events(events) => matches!(events.asked, Asked::Other),
        }
    }

    /// How much is looked at, at most, to tell what the predicate says of a user and when it can say
    /// something else next.
    fn work(&self, shard: &Shard, user: u16, at: Timestamp) -> u64 {
        match self {
            Self::Values { .. } => 1,
            Self::Events(events) => {
                let index = shard.events(events.event);
                index.map_or(1, |index| events.work(index, user, at))
            }
        }
    }

    /// The first instant after another one at which the predicate can say something else of a user:
    /// before it, it does not.
    fn next(&self, shard: &Shard, user: u16, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Values { property, edges } => {
                let Some(PropertyIndex::Numbers(index)) = shard.index(*property) else {
                    return None;
                };
                let value = index.get(user)?;
                let passing = edges.iter().filter(|edge| edge.at(at).micros() <= value);
                passing.filter_map(|edge| passes(edge, value)).min()
            }
            Self::Events(events) => {
                let index = shard.events(events.event)?;
                events.next(index, user, at)
            }
        }
    }
}

fn passes(edge: &Edge, micros: i64) -> Option<Timestamp> {
    edge.passes(Timestamp::from_micros(micros).ok()?)
}

impl TimedEvents {
    /// The first instant of the window, and the first one after.
    fn window(&self, at: Timestamp) -> (i64, i64) {
        let ends = self.ends.iter().map(|end| end.at(at).micros());
        let to = ends.fold(self.within.1, i64::min);
        let start = self.start.as_ref().map(|start| start.at(at).micros());
        (start.unwrap_or(self.within.0), to)
    }

    /// A day is looked up to count the user's events in it, to find the one that matters, and to ask
    /// again.
    fn work(&self, index: &EventIndex, user: u16, at: Timestamp) -> u64 {
        let (from, to) = self.window(at);
        let from = from.min(to);
        let days = index.days_from(from) as u64;
        let events = index.count_of(user, from, i64::MAX);
        1 + days * 3 + events / EVENTS_AT_ONCE
    }

    fn next(&self, index: &EventIndex, user: u16, at: Timestamp) -> Option<Timestamp> {
        let (from, to) = self.window(at);
        let start = self.start.as_ref().map(|start| start.at(at).micros());
        // Events that enter.
        let entering = self.ends.iter().filter_map(|end| {
            let first = end.at(at).micros().max(self.within.0);
            let time = index.nth_from(user, first, 0)?;
            passes(end, time).filter(|_| time < self.within.1)
        });
        let entering = entering.min();
        // Events that leave, as far as they matter before one enters.
        let leaving = |time: i64| passes(self.start.as_ref()?, time);
        let other = match self.asked {
            Asked::Count(comparison, number) => {
                let count = if from < to {
                    index.count_of(user, from, to)
                } else {
                    0
                };
                let gone = start.and(count_that_matters(comparison, number, count));
                gone.and_then(|gone| leaving(index.nth_from(user, from, gone - 1)?))
            }
            Asked::Time(which) => {
                let found = match which {
                    WhichEvent::First => index.nth_from(user, from, 0).filter(|time| *time < to),
                    WhichEvent::Last if from < to => index.last_of(user, from, to),
                    WhichEvent::Last => None,
                };
                found.and_then(|time| {
                    let operand = self.operand.iter();
                    let ahead = operand.filter(|edge| edge.at(at).micros() <= time);
                    let passed = ahead.filter_map(|edge| passes(edge, time));
                    passed.chain(leaving(time)).min()
                })
            }
            Asked::Other => start.and_then(|start| leaving(index.nth_from(user, start, 0)?)),
        };
        entering.into_iter().chain(other).min()
    }
}

/// How many of some events have to go until a comparison of their count is not what it is.
fn count_that_matters(comparison: Comparison, number: u64, count: u64) -> Option<u64> {
    let is_true = |count: u64| comparison.holds(count.cmp(&number));
    let fewer = [Some(number), number.checked_sub(1)];
    let fewer = fewer.into_iter().flatten();
    let fewer = fewer.filter(|fewer| *fewer < count && is_true(*fewer) != is_true(count));
    fewer.max().map(|fewer| count - fewer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_events_have_to_go() {
        for comparison in [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ] {
            for number in 0..6_u64 {
                for count in 0..9_u64 {
                    let holds = |count: u64| comparison.holds(count.cmp(&number));
                    let expected = (1..=count).find(|gone| holds(count - gone) != holds(count));
                    let found = count_that_matters(comparison, number, count);
                    assert_eq!(found, expected, "{count} {comparison} {number}");
                }
            }
        }
    }
}
