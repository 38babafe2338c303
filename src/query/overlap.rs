//! How several selections overlap.
//!
//! Every selection is evaluated once per shard; all counts are of these users, so that they fit
//! together: the regions of a selection add up to its count, and so do the steps of the reach to
//! the users in any. Which users each selection has is held until the end, in at most a bit for
//! each user and selection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::bind::{Bound, answer_all};
use super::evaluate::Evaluator;
use super::held::Held;
use super::plan::{PlanNode, plan};
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::model::{LimitExceeded, limit};
use crate::population::{Population, ShardReader};

/// Of more selections the regions are not counted: there may be twice as many with each.
const SELECTIONS_WITH_REGIONS: usize = 8;

/// How some selections overlap. Selections are meant by their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// How many users there are.
    pub users: u64,
    /// How many users are in any of the selections.
    pub in_any: u64,
    /// How many users each selection has.
    pub counts: Vec<u64>,
    /// How many users of each selection are in no other.
    pub only: Vec<u64>,
    /// How many users both have, for each two selections: the first with each later one, then the
    /// second with each later one.
    pub pairs: Vec<Pair>,
    /// The combinations that anyone is in exactly, the most users first. None if there are more than
    /// 8 selections.
    pub regions: Vec<Region>,
    /// The order in which to take the selections so that each adds as many users as any could.
    pub reach: Vec<Reach>,
}

/// What two selections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The first of the two.
    pub first: usize,
    /// The second of the two.
    pub second: usize,
    /// How many users are in both.
    pub count: u64,
}

/// The users of one combination of selections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The selections that they are in, ascending; they are in no other.
    pub selections: Vec<usize>,
    /// How many they are.
    pub count: u64,
}

/// A selection that is taken after others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The selection.
    pub selection: usize,
    /// How many users it has who are in none before.
    pub added: u64,
    /// How many users it and those before have together.
    pub reached: u64,
}

/// Why the overlap of selections can't be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlapError {
    /// So many selections of so many users would take too much memory.
    #[error("{0}; ask for fewer selections at once")]
    TooMany(LimitExceeded),
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Counts how selections overlap, all in one pass.
///
/// # Errors
/// [`OverlapError`] if there are too many users and selections, or `stop` ended the work.
pub fn overlap(
    population: &Population,
    bounds: &[Arc<Bound>],
    stop: &Stop,
) -> Result<Overlap, OverlapError> {
    check_size(population.user_count(), bounds.len())?;
    let overlap = answer_all(population, bounds, |bounds| {
        let plans: Vec<PlanNode<'_>> = bounds
            .iter()
            .map(|bound| plan(population, &bound.root))
            .collect();
        let counted = count(population, &plans, stop)?;
        counted.overlap(plans.len(), stop)
    })?;
    Ok(overlap)
}

/// Accepts as many users and selections as there is memory for.
fn check_size(users: u64, selections: usize) -> Result<(), OverlapError> {
    limit::MEMBERSHIPS_PER_OVERLAP
        .check(users.saturating_mul(selections as u64))
        .map_err(OverlapError::TooMany)
}

/// The users of one shard whom a selection has.
type HeldSelection = (usize, Held);

/// What was counted so far.
struct Counted {
    users: u64,
    in_any: u64,
    counts: Vec<u64>,
    only: Vec<u64>,
    /// The counts of pairs, in the order of [`Overlap::pairs`].
    pairs: Vec<u64>,
    /// By the combination: bit `n` stands for selection `n`. Empty if there are too many selections.
    regions: Vec<u64>,
    /// The selections that have users, for each shard.
    held: Vec<Vec<HeldSelection>>,
}

/// What one thread works with.
struct Task {
    evaluator: Evaluator,
    /// The users of each selection.
    selected: Vec<Block>,
    live: Block,
    any: Block,
    several: Block,
    counted: Counted,
}

impl Task {
    fn new(selections: usize) -> Self {
        let regions = if selections <= SELECTIONS_WITH_REGIONS {
            1 << selections
        } else {
            0
        };
        Self {
            evaluator: Evaluator::default(),
            selected: vec![Block::new(); selections],
            live: Block::new(),
            any: Block::new(),
            several: Block::new(),
            counted: Counted {
                users: 0,
                in_any: 0,
                counts: vec![0; selections],
                only: vec![0; selections],
                pairs: vec![0; selections * selections.saturating_sub(1) / 2],
                regions: vec![0; regions],
                held: Vec::new(),
            },
        }
    }

    fn visit(&mut self, plans: &[PlanNode<'_>], reader: &ShardReader<'_>) {
        let Self {
            evaluator,
            selected,
            live,
            any,
            several,
            counted,
        } = self;
        let shard = reader.shard();
        shard.live().copy_into(live);
        counted.users += u64::from(live.count());
        any.clear();
        several.clear();
        for (plan, selected) in plans.iter().zip(selected.iter_mut()) {
            evaluator.fill(plan, reader, selected);
            let mut again = selected.clone();
            again.and(any);
            several.or(&again);
            any.or(selected);
        }
        counted.in_any += u64::from(any.count());
        // Those in several selections are nobody's alone.
        any.and_not(several);
        let mut held = Vec::new();
        let mut pairs = counted.pairs.iter_mut();
        for (position, block) in selected.iter().enumerate() {
            let count = block.count();
            let others = selected.get(position + 1..).unwrap_or_default();
            for (other, pair) in others.iter().zip(&mut pairs) {
                *pair += u64::from(block.and_count(other));
            }
            if count > 0 {
                add(&mut counted.counts, position, count);
                add(&mut counted.only, position, block.and_count(any));
                held.push((position, Held::of(block)));
            }
        }
        if !held.is_empty() {
            counted.held.push(held);
        }
        if !counted.regions.is_empty() {
            split(live, selected, 0, 0, &mut counted.regions);
        }
    }
}

/// Adds to the count at a place that there is.
fn add(counts: &mut [u64], place: usize, more: u32) {
    if let Some(count) = counts.get_mut(place) {
        *count += u64::from(more);
    }
}

/// Divides users by whether they are in each selection from `position` on, and counts those of each
/// combination.
fn split(users: &Block, selected: &[Block], position: usize, region: usize, regions: &mut [u64]) {
    let count = users.count();
    if count == 0 {
        return;
    }
    let Some(selection) = selected.get(position) else {
        return add(regions, region, count);
    };
    let mut part = users.clone();
    part.and(selection);
    split(
        &part,
        selected,
        position + 1,
        region | 1 << position,
        regions,
    );
    part.copy_from(users);
    part.and_not(selection);
    split(&part, selected, position + 1, region, regions);
}

fn count(population: &Population, plans: &[PlanNode<'_>], stop: &Stop) -> Result<Counted, Stopped> {
    let join = |mut a: Task, mut b: Task| {
        let Counted {
            users,
            in_any,
            counts,
            only,
            pairs,
            regions,
            held,
        } = &mut a.counted;
        *users += b.counted.users;
        *in_any += b.counted.in_any;
        for (counts, others) in [
            (counts, &b.counted.counts),
            (only, &b.counted.only),
            (pairs, &b.counted.pairs),
            (regions, &b.counted.regions),
        ] {
            for (count, other) in counts.iter_mut().zip(others) {
                *count += other;
            }
        }
        held.append(&mut b.counted.held);
        a
    };
    let task = over_shards(
        population,
        stop,
        || Task::new(plans.len()),
        |task, reader| task.visit(plans, reader),
        join,
    )?;
    Ok(task.counted)
}

impl Counted {
    fn overlap(self, selections: usize, stop: &Stop) -> Result<Overlap, Stopped> {
        let reach = reach(&self.held, &self.counts, stop)?;
        let both = (0..selections).flat_map(|a| (a + 1..selections).map(move |b| (a, b)));
        let pairs = both.zip(self.pairs);
        let mut regions: Vec<Region> = (1..)
            .zip(self.regions.into_iter().skip(1))
            .filter(|(_, count)| *count > 0)
            .map(|(region, count)| Region {
                selections: (0..selections)
                    .filter(|position| region >> position & 1 == 1_usize)
                    .collect(),
                count,
            })
            .collect();
        regions.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| a.selections.cmp(&b.selections))
        });
        Ok(Overlap {
            users: self.users,
            in_any: self.in_any,
            counts: self.counts,
            only: self.only,
            pairs: pairs
                .map(|((first, second), count)| Pair {
                    first,
                    second,
                    count,
                })
                .collect(),
            regions,
            reach,
        })
    }
}

/// The greedy order: each selection adds as many users as any that is left could.
///
/// What a selection would add never grows as others are taken, so that what it would have added
/// earlier bounds it, and only those at the top are counted again (Minoux 1978, "Accelerated greedy
/// algorithms for maximizing submodular set functions").
fn reach(held: &[Vec<HeldSelection>], counts: &[u64], stop: &Stop) -> Result<Vec<Reach>, Stopped> {
    let mut by_selection: Vec<Vec<(usize, &Held)>> = vec![Vec::new(); counts.len()];
    for (shard, selections) in held.iter().enumerate() {
        for (position, users) in selections {
            if let Some(shards) = by_selection.get_mut(*position) {
                shards.push((shard, users));
            }
        }
    }
    // What each would add, and when that was counted; among equals the first one is the greatest.
    let mut left: BinaryHeap<(u64, Reverse<usize>, usize)> = counts
        .iter()
        .enumerate()
        .map(|(position, count)| (*count, Reverse(position), 0))
        .collect();
    let mut reached = vec![Block::new(); held.len()];
    let mut steps: Vec<Reach> = Vec::with_capacity(counts.len());
    while let Some((added, Reverse(selection), when)) = left.pop() {
        stop.check()?;
        let shards = by_selection.get(selection).map_or(&[][..], Vec::as_slice);
        if when < steps.len() && added > 0 {
            let mut still = 0;
            for (shard, users) in shards {
                still += reached
                    .get(*shard)
                    .map_or(0, |reached| u64::from(users.count_outside(reached)));
            }
            left.push((still, Reverse(selection), steps.len()));
            continue;
        }
        if added > 0 {
            for (shard, users) in shards {
                if let Some(reached) = reached.get_mut(*shard) {
                    users.or_into(reached);
                }
            }
        }
        let before = steps.last().map_or(0, |step| step.reached);
        steps.push(Reach {
            selection,
            added,
            reached: before + added,
        });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(shards: &[&[&[u16]]]) -> (Vec<Vec<HeldSelection>>, Vec<u64>) {
        let mut counts = vec![0; shards[0].len()];
        let shards = shards.iter().map(|selections| {
            let selections = selections.iter().enumerate().map(|(position, users)| {
                counts[position] += users.len() as u64;
                let mut block = Block::new();
                for user in *users {
                    block.insert(*user);
                }
                (position, Held::of(&block))
            });
            selections.collect()
        });
        (shards.collect(), counts)
    }

    #[test]
    fn each_step_adds_the_most_and_equals_come_in_their_order() {
        let (shards, counts) = held(&[
            &[&[1, 2], &[1, 2, 3, 4], &[4, 5, 6], &[], &[1, 2]],
            &[&[7], &[7], &[7, 8, 9], &[], &[9]],
        ]);
        let steps = reach(&shards, &counts, &Stop::never()).unwrap();
        let found: Vec<_> = steps
            .iter()
            .map(|step| (step.selection, step.added, step.reached))
            .collect();
        assert_eq!(
            found,
            [(2, 6, 6), (1, 3, 9), (0, 0, 9), (3, 0, 9), (4, 0, 9)]
        );
        let stop = Stop::never();
        stop.cancel();
        assert_eq!(reach(&shards, &counts, &stop), Err(Stopped));
    }

    #[test]
    fn more_than_there_is_memory_for_is_refused() {
        for (users, selections) in [(0, 100), (20_000_000, 100), (1_000_000_000, 2)] {
            assert_eq!(check_size(users, selections), Ok(()));
        }
        for (users, selections) in [(20_000_001, 100), (1_000_000_001, 2), (u64::MAX, 2)] {
            let refused = check_size(users, selections).unwrap_err();
            assert!(
                refused.to_string().contains("fewer selections"),
                "{refused}"
            );
        }
    }

    #[test]
    fn users_are_divided_by_combination() {
        let block = |users: &[u16]| {
            let mut block = Block::new();
            for user in users {
                block.insert(*user);
            }
            block
        };
        let selected = [block(&[1, 2, 3]), block(&[3, 4]), block(&[])];
        let mut regions = vec![0; 8];
        split(&block(&[0, 1, 2, 3, 4, 5]), &selected, 0, 0, &mut regions);
        assert_eq!(regions, [2, 2, 1, 1, 0, 0, 0, 0]);
    }
}
