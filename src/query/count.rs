//! How many users an expression selects.

use super::bind::Bound;
use super::evaluate::Evaluator;
use super::plan::{PlanNode, Step, kept_count, plan};
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::population::Population;

/// Windows of one question that can be kept for the next one.
const WINDOWS_OF_A_QUESTION: u32 = 4;

/// Counts the users whom an expression selects.
///
/// # Errors
/// [`Stopped`] if `stop` said so before the count was known.
pub fn count(population: &Population, bound: &Bound, stop: &Stop) -> Result<u64, Stopped> {
    bound.answer(population, |root| {
        if let Some(count) = kept_count(population, root) {
            return Ok(count);
        }
        let plan = plan(population, root);
        let count = match plan.kept_count(population) {
            Some(count) => Ok(count),
            None => over_shards(
                population,
                stop,
                || (Evaluator::default(), 0),
                |(evaluator, count), reader| {
                    *count += u64::from(evaluator.count(&plan, reader));
                },
                |(evaluator, a), (_, b)| (evaluator, a + b),
            )
            .map(|(_, count)| count),
        };
        if count.is_ok() {
            let mut left = WINDOWS_OF_A_QUESTION;
            ask_for_windows(population, &plan, &mut left);
        }
        count
    })
}

/// Tells the population which windows were asked for, so that it keeps counts of those that are
/// asked for again.
fn ask_for_windows(population: &Population, node: &PlanNode<'_>, left: &mut u32) {
    if let Step::Event(leaf) = node.step
        && let Some(window) = leaf.kept_window()
        && *left > 0
    {
        *left -= 1;
        population.asked_for_window(leaf.event, window);
    }
    for child in node.children() {
        ask_for_windows(population, child, left);
    }
}

/// The number of users whom an expression selects, if it is kept: that of one value, of a list of
/// values of one property, of everyone, or of all but those. Takes no longer than a check.
#[must_use]
pub fn kept(population: &Population, bound: &Bound) -> Option<u64> {
    bound.answer(population, |root| kept_count(population, root))
}

/// Counts by evaluating the plan on every shard, one after another.
pub(super) fn count_by(
    population: &Population,
    plan: &PlanNode<'_>,
    evaluator: &mut Evaluator,
    stop: &Stop,
) -> Result<u64, Stopped> {
    let mut count = 0;
    for number in 0..population.shard_count() {
        stop.check()?;
        population.with_shard(number, |reader| {
            count += u64::from(evaluator.count(plan, reader));
        });
    }
    Ok(count)
}
