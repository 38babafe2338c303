//! Given users: by the columns alone, no bitmap is built.

use std::borrow::Borrow;

use smallvec::SmallVec;

use super::bind::{Bound, Leaf, LeafTest, Node, answer_all};
use super::bind_event::{EventLeaf, EventLeafTest};
use super::stop::{Stop, Stopped};
use crate::index::{Extreme, PropertyIndex, Shard};
use crate::model::UserId;
use crate::population::{Population, ShardReader};

/// Users who are looked up together: as many as hide the time that memory takes to answer, and so
/// few that a check that is to stop does so soon.
const TOGETHER: usize = 4_096;

/// Tells for each expression whether a user is meant by it; `None` if there is no such user. All
/// are answered by the user's values at one moment.
#[must_use]
pub fn check(
    population: &Population,
    user: &UserId,
    bounds: &[impl Borrow<Bound>],
) -> Option<Vec<bool>> {
    answer_all(population, bounds, |bounds| {
        population.with_user(user, |reader, place| {
            let answers = bounds.iter().map(|bound| holds(&bound.root, reader, place));
            answers.collect()
        })
    })
}

/// Tells for each user and each expression whether the user is meant by it, as [`check`] does for
/// one, each user at a moment of its own. Users are looked up together and checked shard by shard:
/// a user alone is mostly waiting for memory, several at a time wait together.
///
/// # Errors
/// [`Stopped`] if `stop` said so before all were checked.
pub fn check_many(
    population: &Population,
    users: &[&UserId],
    bounds: &[impl Borrow<Bound>],
    stop: &Stop,
) -> Result<Vec<Option<Vec<bool>>>, Stopped> {
    let mut answers = Vec::with_capacity(users.len());
    for together in users.chunks(TOGETHER) {
        stop.check()?;
        answers.extend(answer_all(population, bounds, |bounds| {
            check_together(population, together, bounds)
        }));
    }
    Ok(answers)
}

fn check_together(
    population: &Population,
    users: &[&UserId],
    bounds: &[&Bound],
) -> Vec<Option<Vec<bool>>> {
    let mut properties = Vec::new();
    for bound in bounds {
        collect_properties(&bound.root, &mut properties);
    }
    properties.sort_unstable();
    properties.dedup();
    let mut answers = vec![None; users.len()];
    population.with_users(users, |reader, found| {
        let shard = reader.shard();
        for index in properties.iter().filter_map(|number| shard.index(*number)) {
            index.touch(found.iter().map(|(_, place)| *place));
        }
        for (position, _) in found {
            answers[*position] = Some(Vec::with_capacity(bounds.len()));
        }
        for some in found.chunks(64) {
            let places: SmallVec<[u16; 64]> = some.iter().map(|(_, place)| *place).collect();
            for bound in bounds {
                let holding = holding(&bound.root, reader, &places);
                for (bit, (position, _)) in some.iter().enumerate() {
                    let answers = answers[*position].get_or_insert_default();
                    answers.push(holding >> bit & 1 == 1);
                }
            }
        }
    });
    answers
}

/// For which of at most 64 users an expression is true: bit `n` tells of user `n`. Test by test
/// for all of them, so that what a test needs is looked up once.
fn holding(node: &Node, reader: &ShardReader<'_>, users: &[u16]) -> u64 {
    let everyone = bits(users, |_| true);
    match node {
        Node::Everyone => everyone,
        Node::Not(operand) => everyone & !holding(operand, reader, users),
        Node::And(operands) => {
            let mut left = everyone;
            for operand in operands {
                if left == 0 {
                    break;
                }
                left &= holding(operand, reader, users);
            }
            left
        }
        Node::Or(operands) => {
            let mut found = 0;
            for operand in operands {
                if found == everyone {
                    break;
                }
                found |= holding(operand, reader, users);
            }
            found
        }
        Node::AtLeast(..) => bits(users, |user| holds(node, reader, user)),
        Node::Leaf(leaf) => leaf_holding(leaf, reader.shard(), users),
        Node::Event(leaf) => bits(users, |user| event_holds(leaf, reader.shard(), user)),
        Node::Bucket(leaf) => bits(users, |user| leaf.holds(reader, user)),
    }
}

fn bits(users: &[u16], holds: impl Fn(u16) -> bool) -> u64 {
    let users = users.iter().enumerate();
    users.fold(0, |bits, (bit, user)| bits | u64::from(holds(*user)) << bit)
}

/// Which of some users pass one test.
fn leaf_holding(leaf: &Leaf, shard: &Shard, users: &[u16]) -> u64 {
    match (shard.index(leaf.property), &leaf.test) {
        (Some(PropertyIndex::Codes(index)), LeafTest::AnyCode(codes)) => match &codes[..] {
            [code] => bits(users, |user| index.get(user) == Some(*code)),
            _ => bits(users, |user| {
                index
                    .get(user)
                    .is_some_and(|code| codes.binary_search(&code).is_ok())
            }),
        },
        (Some(PropertyIndex::Sets(index)), LeafTest::AnyCode(codes)) => {
            bits(users, |user| index.has_any(user, codes))
        }
        (Some(PropertyIndex::Numbers(index)), LeafTest::Between(least, greatest)) => {
            bits(users, |user| {
                index
                    .get(user)
                    .is_some_and(|number| number >= *least && number <= *greatest)
            })
        }
        (Some(_), _) => bits(users, |user| leaf_holds(leaf, shard, user)),
        (None, _) => 0,
    }
}

/// The numbers of the properties that an expression tests.
fn collect_properties(node: &Node, properties: &mut Vec<u32>) {
    match node {
        Node::Everyone | Node::Event(_) | Node::Bucket(_) => {}
        Node::Not(operand) => collect_properties(operand, properties),
        Node::And(operands) | Node::Or(operands) | Node::AtLeast(_, operands) => {
            for operand in operands {
                collect_properties(operand, properties);
            }
        }
        Node::Leaf(leaf) => properties.push(leaf.property),
    }
}

/// Whether an expression is true for a user.
pub(super) fn holds(node: &Node, reader: &ShardReader<'_>, user: u16) -> bool {
    match node {
        Node::Everyone => true,
        Node::Not(operand) => !holds(operand, reader, user),
        Node::And(operands) => operands.iter().all(|operand| holds(operand, reader, user)),
        Node::Or(operands) => operands.iter().any(|operand| holds(operand, reader, user)),
        Node::AtLeast(count, operands) => {
            let mut needed = *count;
            operands.iter().any(|operand| {
                needed -= usize::from(holds(operand, reader, user));
                needed == 0
            })
        }
        Node::Leaf(leaf) => leaf_holds(leaf, reader.shard(), user),
        Node::Event(leaf) => event_holds(leaf, reader.shard(), user),
        Node::Bucket(leaf) => leaf.holds(reader, user),
    }
}

/// Whether a user passes one test of events.
pub(super) fn event_holds(leaf: &EventLeaf, shard: &Shard, user: u16) -> bool {
    let Some(index) = shard.events(leaf.event) else {
        return false;
    };
    let (from, to) = (leaf.from, leaf.to);
    match &leaf.test {
        EventLeafTest::Count(units, least, most) => {
            let count = index.units_of(user, units.counted(), from, to);
            (*least..=*most).contains(&count)
        }
        EventLeafTest::Sum(test) => test.passes(index.tally_of(user, from, to).sum),
        EventLeafTest::Mean(test) => {
            let tally = index.tally_of(user, from, to);
            test.mean_passes(tally.sum, tally.amounts)
        }
        EventLeafTest::Extreme(which, test) => {
            let tally = index.tally_of(user, from, to);
            let extreme = match which {
                Extreme::Least => tally.least,
                Extreme::Greatest => tally.greatest,
            };
            extreme.is_some_and(|extreme| test.passes(extreme.into()))
        }
    }
}

/// Whether a user passes one test.
pub(super) fn leaf_holds(leaf: &Leaf, shard: &Shard, user: u16) -> bool {
    match (shard.index(leaf.property), &leaf.test) {
        (Some(PropertyIndex::Codes(index)), LeafTest::AnyCode(codes)) => index
            .get(user)
            .is_some_and(|code| codes.binary_search(&code).is_ok()),
        (Some(PropertyIndex::Codes(index)), LeafTest::Present) => index.get(user).is_some(),
        (Some(PropertyIndex::Sets(index)), LeafTest::AnyCode(codes)) => index.has_any(user, codes),
        (Some(PropertyIndex::Sets(index)), LeafTest::Present) => index.is_set(user),
        (Some(PropertyIndex::Numbers(index)), LeafTest::Between(least, greatest)) => index
            .get(user)
            .is_some_and(|number| (least..=greatest).contains(&&number)),
        (Some(PropertyIndex::Numbers(index)), LeafTest::AnyNumber(numbers)) => index
            .get(user)
            .is_some_and(|number| numbers.binary_search(&number).is_ok()),
        (Some(PropertyIndex::Numbers(index)), LeafTest::Present) => index.get(user).is_some(),
        // Nobody in the shard ever had the property, or the test is of another kind of index.
        (None | Some(_), _) => false,
    }
}
