//! One plan on one shard.

use std::time::{Duration, Instant};

use super::bind::{Leaf, LeafTest};
use super::plan::{PlanNode, Step};
use crate::bits::Block;
use crate::index::{Posting, PropertyIndex, Shard};

/// What became of each part of a plan, by its id.
#[derive(Clone, Debug, Default)]
pub(super) struct PartTrace {
    /// Users who satisfied the part, over the shards it was evaluated in.
    pub(super) count: u64,
    pub(super) shards: u32,
    pub(super) elapsed: Duration,
}

/// Evaluates plans, and keeps the blocks it needs from one shard to the next.
#[derive(Debug, Default)]
pub(super) struct Evaluator {
    free: Vec<Block>,
    /// Empty unless the evaluation is to be explained.
    trace: Vec<PartTrace>,
}

impl Evaluator {
    /// An evaluator that notes what became of each part of a plan of this size.
    pub(super) fn tracing(size: usize) -> Self {
        Self {
            free: Vec::new(),
            trace: vec![PartTrace::default(); size],
        }
    }

    pub(super) fn into_trace(self) -> Vec<PartTrace> {
        self.trace
    }

    /// Makes a block hold the users of a shard whom a plan selects.
    pub(super) fn fill(&mut self, node: &PlanNode, shard: &Shard, target: &mut Block) {
        if self.trace.is_empty() {
            return self.fill_step(node, shard, target);
        }
        let start = Instant::now();
        self.fill_step(node, shard, target);
        let elapsed = start.elapsed();
        if let Some(part) = self.trace.get_mut(node.id) {
            part.count += u64::from(target.count());
            part.shards += 1;
            part.elapsed += elapsed;
        }
    }

    fn fill_step(&mut self, node: &PlanNode, shard: &Shard, target: &mut Block) {
        match &node.step {
            Step::Everyone => shard.live().copy_into(target),
            Step::Nobody => target.clear(),
            Step::Leaf(leaf) => fill_leaf(leaf, shard, target),
            Step::Not(operand) => {
                let mut excluded = self.block();
                self.fill(operand, shard, &mut excluded);
                shard.live().copy_into(target);
                target.and_not(&excluded);
                self.free.push(excluded);
            }
            Step::And(operands) => self.fill_and(operands, shard, target),
            Step::Or(operands) => {
                target.clear();
                let mut part = self.block();
                for operand in operands {
                    self.fill(operand, shard, &mut part);
                    target.or(&part);
                }
                self.free.push(part);
            }
            Step::AtLeast(count, operands) => self.fill_at_least(*count, operands, shard, target),
        }
    }

    fn fill_and(&mut self, operands: &[PlanNode], shard: &Shard, target: &mut Block) {
        let mut part = self.block();
        for (position, operand) in operands.iter().enumerate() {
            match &operand.step {
                _ if position == 0 => self.fill(operand, shard, target),
                // What is taken away need not be complemented first.
                Step::Not(excluded) => {
                    self.fill(excluded, shard, &mut part);
                    self.trace_not(operand, &part, target);
                    target.and_not(&part);
                }
                Step::Everyone
                | Step::Nobody
                | Step::Leaf(_)
                | Step::And(_)
                | Step::Or(_)
                | Step::AtLeast(..) => {
                    self.fill(operand, shard, &mut part);
                    target.and(&part);
                }
            }
            if target.is_empty() {
                break;
            }
        }
        self.free.push(part);
    }

    /// A NOT that only took users away from others: of these it left so many.
    fn trace_not(&mut self, node: &PlanNode, excluded: &Block, from: &Block) {
        if let Some(part) = self.trace.get_mut(node.id) {
            part.count += u64::from(from.count() - from.and_count(excluded));
            part.shards += 1;
        }
    }

    /// Keeps, for each number up to the one needed, the users for whom at least so many operands
    /// have been true.
    fn fill_at_least(
        &mut self,
        needed: usize,
        operands: &[PlanNode],
        shard: &Shard,
        target: &mut Block,
    ) {
        let mut reached: Vec<Block> = (0..needed).map(|_| self.block()).collect();
        for block in &mut reached {
            block.clear();
        }
        let (mut part, mut more) = (self.block(), self.block());
        for operand in operands {
            self.fill(operand, shard, &mut part);
            for step in (0..needed).rev() {
                more.copy_from(&part);
                if let Some(below) = step.checked_sub(1) {
                    more.and(&reached[below]);
                }
                reached[step].or(&more);
            }
        }
        if let Some(last) = reached.last() {
            target.copy_from(last);
        }
        self.free.extend(reached);
        self.free.extend([part, more]);
    }

    /// A block that may hold anything.
    fn block(&mut self) -> Block {
        self.free.pop().unwrap_or_default()
    }
}

fn fill_leaf(leaf: &Leaf, shard: &Shard, target: &mut Block) {
    match (shard.index(leaf.property), &leaf.test) {
        (Some(PropertyIndex::Codes(index)), LeafTest::AnyCode(codes)) => {
            index.fill_any(codes, target);
        }
        (Some(PropertyIndex::Sets(index)), LeafTest::AnyCode(codes)) => {
            index.fill_any(codes, target);
        }
        (Some(PropertyIndex::Numbers(index)), LeafTest::Between(least, greatest)) => {
            index.fill_between(*least, *greatest, target);
        }
        (Some(PropertyIndex::Numbers(index)), LeafTest::AnyNumber(numbers)) => {
            index.fill_any(numbers, target);
        }
        (Some(index), LeafTest::Present) => match index {
            PropertyIndex::Codes(index) => Posting::copy_into(index.present(), target),
            PropertyIndex::Sets(index) => Posting::copy_into(index.present(), target),
            PropertyIndex::Numbers(index) => target.copy_from(index.present()),
        },
        // Nobody in the shard ever had the property, or the test is of another kind of index.
        (None | Some(_), _) => target.clear(),
    }
}
