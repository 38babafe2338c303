//! In which order the parts of an expression are evaluated, and how each is answered.
//!
//! Invariant: a plan means what its expression means. It is flat where that is the same (AND in
//! AND, OR in OR, NOT in NOT), a negated OR is an AND of negated parts, so that each of them can
//! end the work early, and the operands of an AND come in the order of their estimated numbers of
//! users.

use std::borrow::Cow;

use super::bind::{Leaf, LeafTest, Node};
use super::bind_bucket::BucketLeaf;
use super::bind_event::EventLeaf;
use crate::index::IndexKind;
use crate::population::{KeptCounts, Population};

/// A part of a plan.
#[derive(Debug)]
pub(super) struct PlanNode<'a> {
    /// Its place in the order in which parts are begun, 0 for the root.
    pub(super) id: usize,
    /// How many users are expected.
    pub(super) estimate: u64,
    pub(super) step: Step<'a>,
}

#[derive(Debug)]
pub(super) enum Step<'a> {
    Everyone,
    Nobody,
    Leaf(Cow<'a, Leaf>),
    Event(&'a EventLeaf),
    Bucket(&'a BucketLeaf),
    Not(Box<PlanNode<'a>>),
    /// At least two.
    And(Vec<PlanNode<'a>>),
    /// At least two.
    Or(Vec<PlanNode<'a>>),
    /// More than one of more than that.
    AtLeast(usize, Vec<PlanNode<'a>>),
}

/// Makes the plan of an expression.
pub(super) fn plan<'a>(population: &Population, root: &'a Node) -> PlanNode<'a> {
    let step = normalized(root, false);
    let mut plan = population.kept(|kept| estimated(kept, step));
    let mut next_id = 0;
    number(&mut plan, &mut next_id);
    plan
}

impl PlanNode<'_> {
    /// How many parts there are, this one included.
    pub(super) fn size(&self) -> usize {
        1 + self.children().iter().map(Self::size).sum::<usize>()
    }

    pub(super) fn children(&self) -> &[Self] {
        match &self.step {
            Step::Everyone | Step::Nobody | Step::Leaf(_) | Step::Event(_) | Step::Bucket(_) => &[],
            Step::Not(operand) => std::slice::from_ref(operand),
            Step::And(operands) | Step::Or(operands) | Step::AtLeast(_, operands) => operands,
        }
    }

    /// Whether ids have to be hashed for it.
    pub(super) fn hashes(&self) -> bool {
        matches!(self.step, Step::Bucket(_)) || self.children().iter().any(Self::hashes)
    }

    /// The number of users, if it is kept.
    pub(super) fn kept_count(&self, population: &Population) -> Option<u64> {
        population.kept(|kept| {
            if let Step::Not(operand) = &self.step {
                kept_step(kept, &operand.step).map(|count| kept.users() - count)
            } else {
                kept_step(kept, &self.step)
            }
        })
    }
}

fn kept_step(kept: &KeptCounts, step: &Step<'_>) -> Option<u64> {
    match step {
        Step::Everyone => Some(kept.users()),
        Step::Nobody => Some(0),
        Step::Leaf(leaf) => kept_leaf(kept, leaf),
        Step::Event(_)
        | Step::Bucket(_)
        | Step::Not(_)
        | Step::And(_)
        | Step::Or(_)
        | Step::AtLeast(..) => None,
    }
}

fn kept_leaf(kept: &KeptCounts, leaf: &Leaf) -> Option<u64> {
    match &leaf.test {
        LeafTest::Present => Some(kept.having(leaf.property)),
        // Elements of sets overlap, so that only one of them can be answered by its count.
        LeafTest::AnyCode(codes) if leaf.kind == IndexKind::Codes || codes.len() <= 1 => Some(
            codes
                .iter()
                .map(|code| kept.with_code(leaf.property, *code))
                .sum(),
        ),
        LeafTest::AnyCode(_) | LeafTest::Between(..) | LeafTest::AnyNumber(_) => None,
    }
}

/// The number of users of an expression, if it is one that is kept.
pub(super) fn kept_count(population: &Population, root: &Node) -> Option<u64> {
    match root {
        Node::Everyone => Some(population.user_count()),
        Node::Leaf(leaf) => population.kept(|kept| kept_leaf(kept, leaf)),
        Node::Not(operand) => match &**operand {
            Node::Leaf(leaf) => {
                population.kept(|kept| kept_leaf(kept, leaf).map(|count| kept.users() - count))
            }
            Node::Everyone
            | Node::Event(_)
            | Node::Bucket(_)
            | Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::AtLeast(..) => None,
        },
        Node::Event(_) | Node::Bucket(_) | Node::And(_) | Node::Or(_) | Node::AtLeast(..) => None,
    }
}

/// The step for a node or for its negation, with its parts in the order of the expression.
fn normalized(node: &Node, negated: bool) -> Step<'_> {
    let not_if = |negated: bool, step| match (negated, step) {
        (false, step) => step,
        (true, Step::Everyone) => Step::Nobody,
        (true, Step::Nobody) => Step::Everyone,
        (true, step) => Step::Not(Box::new(unnumbered(step))),
    };
    match node {
        Node::Everyone => not_if(negated, Step::Everyone),
        Node::Not(operand) => normalized(operand, !negated),
        Node::And(operands) => not_if(
            negated,
            and(operands.iter().map(|operand| normalized(operand, false))),
        ),
        Node::Or(operands) if negated => {
            and(operands.iter().map(|operand| normalized(operand, true)))
        }
        Node::Or(operands) => or(operands.iter().map(|operand| normalized(operand, false))),
        Node::AtLeast(count, operands) => {
            let steps = operands.iter().map(|operand| normalized(operand, false));
            let step = if *count <= 1 {
                or(steps)
            } else if *count >= operands.len() {
                and(steps)
            } else {
                Step::AtLeast(*count, steps.map(unnumbered).collect())
            };
            not_if(negated, step)
        }
        Node::Leaf(leaf) => match &leaf.test {
            LeafTest::AnyCode(codes) if codes.is_empty() => not_if(negated, Step::Nobody),
            LeafTest::AnyNumber(numbers) if numbers.is_empty() => not_if(negated, Step::Nobody),
            LeafTest::AnyCode(_)
            | LeafTest::AnyNumber(_)
            | LeafTest::Between(..)
            | LeafTest::Present => not_if(negated, Step::Leaf(Cow::Borrowed(leaf))),
        },
        Node::Event(leaf) => not_if(negated, Step::Event(leaf)),
        Node::Bucket(leaf) if leaf.is_empty() => not_if(negated, Step::Nobody),
        Node::Bucket(leaf) if leaf.is_whole() => not_if(negated, Step::Everyone),
        Node::Bucket(leaf) => not_if(negated, Step::Bucket(leaf)),
    }
}

fn unnumbered(step: Step<'_>) -> PlanNode<'_> {
    PlanNode {
        id: 0,
        estimate: 0,
        step,
    }
}

fn and<'a>(steps: impl Iterator<Item = Step<'a>>) -> Step<'a> {
    let mut operands = Vec::new();
    for step in steps {
        match step {
            Step::Everyone => {}
            Step::Nobody => return Step::Nobody,
            Step::And(inner) => operands.extend(inner),
            step @ (Step::Leaf(_)
            | Step::Event(_)
            | Step::Bucket(_)
            | Step::Not(_)
            | Step::Or(_)
            | Step::AtLeast(..)) => {
                operands.push(unnumbered(step));
            }
        }
    }
    merge_ranges(&mut operands);
    match operands.len() {
        0 => Step::Everyone,
        1 => operands.remove(0).step,
        _ => Step::And(operands),
    }
}

/// Makes one range of all ranges of one property: a user has one number.
fn merge_ranges(operands: &mut Vec<PlanNode<'_>>) {
    let mut position = 0;
    while position < operands.len() {
        let (before, from_here) = operands.split_at_mut(position);
        if let Step::Leaf(leaf) = &from_here[0].step
            && let LeafTest::Between(least, greatest) = leaf.test
            && before
                .iter_mut()
                .any(|other| narrow(other, leaf, least, greatest))
        {
            operands.remove(position);
        } else {
            position += 1;
        }
    }
}

/// Narrows a range of the property; returns whether it was one.
fn narrow(node: &mut PlanNode<'_>, by: &Leaf, least: i64, greatest: i64) -> bool {
    let Step::Leaf(leaf) = &mut node.step else {
        return false;
    };
    let LeafTest::Between(other_least, other_greatest) = leaf.test else {
        return false;
    };
    if leaf.property != by.property {
        return false;
    }
    let leaf = leaf.to_mut();
    leaf.test = LeafTest::Between(least.max(other_least), greatest.min(other_greatest));
    leaf.predicates.extend_from_slice(&by.predicates);
    true
}

fn or<'a>(steps: impl Iterator<Item = Step<'a>>) -> Step<'a> {
    let mut operands = Vec::new();
    for step in steps {
        match step {
            Step::Nobody => {}
            Step::Everyone => return Step::Everyone,
            Step::Or(inner) => operands.extend(inner),
            step @ (Step::Leaf(_)
            | Step::Event(_)
            | Step::Bucket(_)
            | Step::Not(_)
            | Step::And(_)
            | Step::AtLeast(..)) => {
                operands.push(unnumbered(step));
            }
        }
    }
    match operands.len() {
        0 => Step::Nobody,
        1 => operands.remove(0).step,
        _ => Step::Or(operands),
    }
}

fn estimated<'a>(kept: &KeptCounts, step: Step<'a>) -> PlanNode<'a> {
    let users = kept.users();
    let all = |operands: Vec<PlanNode<'a>>| -> Vec<PlanNode<'a>> {
        operands
            .into_iter()
            .map(|operand| estimated(kept, operand.step))
            .collect()
    };
    let (estimate, step) = match step {
        Step::Everyone => (users, Step::Everyone),
        Step::Nobody => (0, Step::Nobody),
        Step::Leaf(leaf) => (estimated_leaf(kept, &leaf), Step::Leaf(leaf)),
        // Nothing is known of how events are spread: as for a range of numbers.
        Step::Event(leaf) => {
            let events = kept.of_events(leaf.event).events;
            (events.min(users) / 3, Step::Event(leaf))
        }
        Step::Bucket(leaf) => (leaf.estimate(users), Step::Bucket(leaf)),
        Step::Not(operand) => {
            let operand = estimated(kept, operand.step);
            (
                users.saturating_sub(operand.estimate),
                Step::Not(Box::new(operand)),
            )
        }
        Step::And(operands) => {
            let mut operands = all(operands);
            // Ids are hashed only of those who are left.
            operands.sort_by_key(|operand| (operand.hashes(), operand.estimate));
            let least = operands.iter().map(|operand| operand.estimate).min();
            (least.unwrap_or(users), Step::And(operands))
        }
        Step::Or(operands) => {
            let mut operands = all(operands);
            // The largest first: once everybody is in, nobody can join.
            operands.sort_by_key(|operand| std::cmp::Reverse(operand.estimate));
            let sum: u64 = operands.iter().map(|operand| operand.estimate).sum();
            (sum.min(users), Step::Or(operands))
        }
        Step::AtLeast(count, operands) => {
            let operands = all(operands);
            let sum: u64 = operands.iter().map(|operand| operand.estimate).sum();
            (
                (sum / count as u64).min(users),
                Step::AtLeast(count, operands),
            )
        }
    };
    PlanNode {
        id: 0,
        estimate,
        step,
    }
}

fn estimated_leaf(kept: &KeptCounts, leaf: &Leaf) -> u64 {
    if let Some(count) = kept_leaf(kept, leaf) {
        return count;
    }
    let having = kept.having(leaf.property);
    match &leaf.test {
        LeafTest::AnyCode(codes) => {
            let counts = codes
                .iter()
                .map(|code| kept.with_code(leaf.property, *code));
            counts.sum::<u64>().min(having)
        }
        // Nothing is known of how numbers are spread: what most systems assume without statistics
        // (Selinger and others 1979: a third for a range, a tenth for a value).
        LeafTest::Between(least, greatest) if least == greatest => having / 10,
        LeafTest::Between(..) => having / 3,
        LeafTest::AnyNumber(numbers) => (having / 10)
            .saturating_mul(numbers.len() as u64)
            .min(having),
        LeafTest::Present => having,
    }
}

fn number(node: &mut PlanNode<'_>, next_id: &mut usize) {
    node.id = *next_id;
    *next_id += 1;
    match &mut node.step {
        Step::Everyone | Step::Nobody | Step::Leaf(_) | Step::Event(_) | Step::Bucket(_) => {}
        Step::Not(operand) => number(operand, next_id),
        Step::And(operands) | Step::Or(operands) | Step::AtLeast(_, operands) => {
            for operand in operands {
                number(operand, next_id);
            }
        }
    }
}
