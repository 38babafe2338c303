//! The users whom an expression selects, to be kept as they are found.

use super::bind::Bound;
use super::evaluate::Evaluator;
use super::plan::plan;
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::Posting;
use crate::model::{FrozenUsers, LimitExceeded, Revision, limit};
use crate::population::Population;

/// Why no users were frozen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// They take too many bytes.
    #[error("the users that are selected are too many to be frozen: {0}")]
    TooLarge(LimitExceeded),
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Finds all users whom an expression selects, in the form in which the population takes them.
/// Everything up to `since` must have been applied.
///
/// # Errors
/// [`FreezeError`] if they are too many, or `stop` said so before all were found.
pub fn freeze(
    population: &Population,
    bound: &Bound,
    since: Revision,
    stop: &Stop,
) -> Result<FrozenUsers, FreezeError> {
    let mut shards = bound.answer(population, |root| {
        let plan = plan(population, root);
        over_shards(
            population,
            stop,
            || (Evaluator::default(), Block::new(), Vec::new()),
            |(evaluator, selected, shards), reader| {
                evaluator.fill(&plan, reader, selected);
                let users = Posting::of_block(selected);
                if !users.is_empty() {
                    shards.push((reader.number(), users.to_portable()));
                }
            },
            |(evaluator, selected, mut shards), (_, _, others)| {
                shards.extend(others);
                (evaluator, selected, shards)
            },
        )
        .map(|(_, _, shards)| shards)
    })?;
    shards.sort_unstable_by_key(|(number, _)| *number);
    let bytes = shards.iter().map(|(_, users)| users.len() as u64).sum();
    limit::FREEZE_BYTES
        .check(bytes)
        .map_err(FreezeError::TooLarge)?;
    // Each shard was visited once, so that their numbers ascend.
    FrozenUsers::new(since, shards).ok_or(FreezeError::Stopped(Stopped))
}
