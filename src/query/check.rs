//! Given users: by the columns alone, no bitmap is built.

use super::bind::{Bound, Leaf, LeafTest, Node, answer_all};
use super::stop::{Stop, Stopped};
use crate::index::{PropertyIndex, Shard};
use crate::model::UserId;
use crate::population::Population;

/// Users who are looked up together: as many as hide the time that memory takes to answer, and so
/// few that a check that is to stop does so soon.
const TOGETHER: usize = 4_096;

/// Tells for each expression whether a user is meant by it; `None` if there is no such user. All
/// are answered by the user's values at one moment.
#[must_use]
pub fn check(population: &Population, user: &UserId, bounds: &[Bound]) -> Option<Vec<bool>> {
    answer_all(population, bounds, |bounds| {
        population.with_user(user, |reader, place| {
            let answers = bounds
                .iter()
                .map(|bound| holds(&bound.root, reader.shard(), place));
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
    bounds: &[Bound],
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
    bounds: &[Bound],
) -> Vec<Option<Vec<bool>>> {
    let mut answers = vec![None; users.len()];
    population.with_users(users, |reader, found| {
        let shard = reader.shard();
        for (position, _) in found {
            answers[*position] = Some(Vec::with_capacity(bounds.len()));
        }
        for bound in bounds {
            for (position, place) in found {
                let holds = holds(&bound.root, shard, *place);
                answers[*position].get_or_insert_default().push(holds);
            }
        }
    });
    answers
}

/// Whether an expression is true for a user.
fn holds(node: &Node, shard: &Shard, user: u16) -> bool {
    match node {
        Node::Everyone => true,
        Node::Not(operand) => !holds(operand, shard, user),
        Node::And(operands) => operands.iter().all(|operand| holds(operand, shard, user)),
        Node::Or(operands) => operands.iter().any(|operand| holds(operand, shard, user)),
        Node::AtLeast(count, operands) => {
            let mut needed = *count;
            operands.iter().any(|operand| {
                needed -= usize::from(holds(operand, shard, user));
                needed == 0
            })
        }
        Node::Leaf(leaf) => leaf_holds(leaf, shard, user),
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
