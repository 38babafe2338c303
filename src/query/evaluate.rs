//! One plan on one shard.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::bind::{Leaf, LeafTest};
use super::bind_bucket::BucketLeaf;
use super::bind_event::{EventLeaf, EventLeafTest};
use super::check::{event_holds, leaf_holds};
use super::plan::{PlanNode, Step};
use smallvec::SmallVec;

use crate::bits::{Block, Words, and_all_count};
use crate::index::{Posting, PropertyIndex, Shard, Tally};
use crate::population::ShardReader;

/// So few users of a shard are better looked up one by one than found among all others.
const FEW: u32 = 256;

/// So few, where the test is one of events: a user alone is looked up day by day.
const FEW_FOR_EVENTS: u32 = 8;

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
    tally: Tally,
    /// Empty unless the evaluation is to be explained.
    trace: Vec<PartTrace>,
}

impl Evaluator {
    /// An evaluator that notes what became of each part of a plan of this size.
    pub(super) fn tracing(size: usize) -> Self {
        Self {
            free: Vec::new(),
            tally: Tally::default(),
            trace: vec![PartTrace::default(); size],
        }
    }

    pub(super) fn into_trace(self) -> Vec<PartTrace> {
        self.trace
    }

    /// Makes a block hold the users of a shard whom a plan selects.
    pub(super) fn fill(
        &mut self,
        node: &PlanNode<'_>,
        reader: &ShardReader<'_>,
        target: &mut Block,
    ) {
        if self.trace.is_empty() {
            return self.fill_step(node, reader, target);
        }
        let start = Instant::now();
        self.fill_step(node, reader, target);
        let elapsed = start.elapsed();
        if let Some(part) = self.trace.get_mut(node.id) {
            part.count += u64::from(target.count());
            part.shards += 1;
            part.elapsed += elapsed;
        }
    }

    fn fill_step(&mut self, node: &PlanNode<'_>, reader: &ShardReader<'_>, target: &mut Block) {
        match &node.step {
            Step::Everyone => reader.shard().live().copy_into(target),
            Step::Nobody => target.clear(),
            Step::Leaf(leaf) => fill_leaf(leaf, reader.shard(), target),
            Step::Event(leaf) => fill_event(leaf, reader.shard(), &mut self.tally, target),
            Step::Bucket(leaf) => fill_bucket(leaf, reader, target),
            Step::Not(operand) => {
                let mut excluded = self.block();
                self.fill(operand, reader, &mut excluded);
                reader.shard().live().copy_into(target);
                target.and_not(&excluded);
                self.free.push(excluded);
            }
            Step::And(operands) => self.fill_and(operands, reader, target),
            Step::Or(operands) => {
                target.clear();
                let mut part = self.block();
                for operand in operands {
                    self.fill(operand, reader, &mut part);
                    target.or(&part);
                }
                self.free.push(part);
            }
            Step::AtLeast(count, operands) => self.fill_at_least(*count, operands, reader, target),
        }
    }

    /// How many users of a shard a plan selects. The last operation only counts.
    pub(super) fn count(&mut self, node: &PlanNode<'_>, reader: &ShardReader<'_>) -> u32 {
        if !self.trace.is_empty() {
            return self.fill_and_count(node, reader);
        }
        match &node.step {
            Step::Everyone => reader.shard().live().count(),
            Step::Nobody => 0,
            Step::Leaf(leaf) => count_leaf(leaf, reader.shard())
                .unwrap_or_else(|| self.fill_and_count(node, reader)),
            Step::Not(operand) => reader.shard().live().count() - self.count(operand, reader),
            Step::And(operands) => {
                let split = Operands::of(operands, reader.shard());
                match split.count() {
                    Some(count) => count,
                    None => self.fill_and_count(node, reader),
                }
            }
            Step::Event(_) | Step::Bucket(_) | Step::Or(_) | Step::AtLeast(..) => {
                self.fill_and_count(node, reader)
            }
        }
    }

    fn fill_and_count(&mut self, node: &PlanNode<'_>, reader: &ShardReader<'_>) -> u32 {
        let mut selected = self.block();
        self.fill(node, reader, &mut selected);
        let count = selected.count();
        self.free.push(selected);
        count
    }

    fn fill_and(
        &mut self,
        operands: &[PlanNode<'_>],
        reader: &ShardReader<'_>,
        target: &mut Block,
    ) {
        if self.trace.is_empty() {
            let split = Operands::of(operands, reader.shard());
            let mut part = self.block();
            let mut others = &split.others[..];
            if !split.fill(target, &mut part) {
                // Those taken away come last, save that ids are hashed after all else.
                match others.split_first() {
                    Some(((first, false), rest)) => {
                        self.fill(first, reader, target);
                        others = rest;
                    }
                    Some((_, _)) | None => reader.shard().live().copy_into(target),
                }
                split.exclude(target);
            }
            for (operand, excluded) in others {
                let left = target.count();
                if left <= few_for(operand) {
                    if left == 0 {
                        break;
                    }
                    part.copy_from(target);
                    for user in part.ones() {
                        if holds(operand, reader, user) == *excluded {
                            target.remove(user);
                        }
                    }
                    continue;
                }
                self.fill(operand, reader, &mut part);
                if *excluded {
                    target.and_not(&part);
                } else {
                    target.and(&part);
                }
            }
            self.free.push(part);
        } else {
            self.fill_and_traced(operands, reader, target);
        }
    }

    /// Part by part, so that it can be told what became of each.
    fn fill_and_traced(
        &mut self,
        operands: &[PlanNode<'_>],
        reader: &ShardReader<'_>,
        target: &mut Block,
    ) {
        let mut part = self.block();
        for (position, operand) in operands.iter().enumerate() {
            match &operand.step {
                Step::Not(excluded) if position > 0 => {
                    self.fill(excluded, reader, &mut part);
                    self.trace_not(operand, &part, target);
                    target.and_not(&part);
                }
                _ if position == 0 => self.fill(operand, reader, target),
                Step::Everyone
                | Step::Nobody
                | Step::Leaf(_)
                | Step::Event(_)
                | Step::Bucket(_)
                | Step::Not(_)
                | Step::And(_)
                | Step::Or(_)
                | Step::AtLeast(..) => {
                    self.fill(operand, reader, &mut part);
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
    fn trace_not(&mut self, node: &PlanNode<'_>, excluded: &Block, from: &Block) {
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
        operands: &[PlanNode<'_>],
        reader: &ShardReader<'_>,
        target: &mut Block,
    ) {
        let mut reached: Vec<Block> = (0..needed).map(|_| self.block()).collect();
        for block in &mut reached {
            block.clear();
        }
        let (mut part, mut more) = (self.block(), self.block());
        for operand in operands {
            self.fill(operand, reader, &mut part);
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

/// How few users are better looked up one by one. Where ids are hashed: any number of them.
fn few_for(node: &PlanNode<'_>) -> u32 {
    let of_operands = || {
        let few = node.children().iter().map(few_for).min().unwrap_or(FEW);
        if few == FEW && node.hashes() {
            u32::MAX
        } else {
            few
        }
    };
    match node.step {
        Step::Event(_) => FEW_FOR_EVENTS,
        Step::Bucket(_) => u32::MAX,
        Step::Everyone
        | Step::Nobody
        | Step::Leaf(_)
        | Step::Not(_)
        | Step::And(_)
        | Step::Or(_)
        | Step::AtLeast(..) => of_operands(),
    }
}

/// Hashes the ids of all users of a shard.
fn fill_bucket(leaf: &BucketLeaf, reader: &ShardReader<'_>, target: &mut Block) {
    let mut everyone = Block::new();
    reader.shard().live().copy_into(&mut everyone);
    target.clear();
    for user in everyone.ones() {
        if leaf.holds(reader, user) {
            target.insert(user);
        }
    }
}

fn fill_event(leaf: &EventLeaf, shard: &Shard, tally: &mut Tally, target: &mut Block) {
    let Some(index) = shard.events(leaf.event) else {
        return target.clear();
    };
    let window = (leaf.from, leaf.to);
    match &leaf.test {
        EventLeafTest::Count(units, least, most) => {
            tally.fill_counts(index, units.counted(), window, (*least, *most), target);
        }
        EventLeafTest::Sum(test) => tally.fill_sums(index, window, *test, target),
        EventLeafTest::Mean(test) => tally.fill_means(index, window, *test, target),
        EventLeafTest::Extreme(which, test) => {
            tally.fill_extremes(index, window, (*which, *test), target);
        }
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

/// How many users of a shard pass a test, where that is known without a bitmap.
fn count_leaf(leaf: &Leaf, shard: &Shard) -> Option<u32> {
    match (shard.index(leaf.property), &leaf.test) {
        (None, _) => Some(0),
        (Some(index), LeafTest::Present) => Some(index.count()),
        // A user has one code, so that nobody is counted twice.
        (Some(PropertyIndex::Codes(index)), LeafTest::AnyCode(codes)) => {
            Some(codes.iter().map(|code| index.count_of(*code)).sum())
        }
        (Some(PropertyIndex::Numbers(index)), LeafTest::Between(least, greatest)) => {
            Some(index.count_between(*least, *greatest))
        }
        (Some(_), _) => None,
    }
}

/// The operands of an AND in one shard, by how they can be combined.
#[derive(Default)]
struct Operands<'a> {
    /// Whether one of them holds for nobody in the shard.
    nobody: bool,
    sparse: Few<Cow<'a, Posting>>,
    not_sparse: Few<Cow<'a, Posting>>,
    dense: Few<&'a Words>,
    /// Dense ones to be taken away.
    not_dense: Few<&'a Words>,
    /// What has to be evaluated first, and whether it is taken away.
    others: Few<(&'a PlanNode<'a>, bool)>,
}

type Few<T> = SmallVec<[T; 6]>;

impl<'a> Operands<'a> {
    fn of(operands: &'a [PlanNode<'a>], shard: &'a Shard) -> Self {
        let mut found = Self::default();
        for operand in operands {
            let (node, negated) = match &operand.step {
                Step::Not(excluded) => (&**excluded, true),
                Step::Everyone
                | Step::Nobody
                | Step::Leaf(_)
                | Step::Event(_)
                | Step::Bucket(_)
                | Step::And(_)
                | Step::Or(_)
                | Step::AtLeast(..) => (operand, false),
            };
            let source = match &node.step {
                Step::Leaf(leaf) => Source::of(leaf, shard),
                Step::Nobody => Source::Nobody,
                Step::Everyone
                | Step::Event(_)
                | Step::Bucket(_)
                | Step::Not(_)
                | Step::And(_)
                | Step::Or(_)
                | Step::AtLeast(..) => Source::Other,
            };
            match (source, negated) {
                (Source::Nobody, false) => found.nobody = true,
                (Source::Nobody, true) => {}
                (Source::Sparse(posting), false) => found.sparse.push(posting),
                (Source::Sparse(posting), true) => found.not_sparse.push(posting),
                (Source::Dense(words), false) => found.dense.push(words),
                (Source::Dense(words), true) => found.not_dense.push(words),
                (Source::Other, _) => found.others.push((node, negated)),
            }
        }
        found.sparse.sort_unstable_by_key(|posting| posting.count());
        found
            .others
            .sort_by_key(|(node, excluded)| (node.hashes(), *excluded));
        found
    }

    fn with_complements(&self, dense: &[&'a Words]) -> Few<(&'a Words, u64)> {
        let complements = self.not_dense.iter().map(|words| (*words, u64::MAX));
        dense
            .iter()
            .map(|words| (*words, 0))
            .chain(complements)
            .collect()
    }

    /// How many users satisfy all, where that can be told without a block.
    fn count(&self) -> Option<u32> {
        if self.nobody {
            return Some(0);
        }
        if !self.others.is_empty() {
            return None;
        }
        match (&self.sparse[..], &self.dense[..]) {
            ([], [first, rest @ ..]) if self.not_sparse.is_empty() => {
                Some(and_all_count(first, &self.with_complements(rest)))
            }
            ([], _) => None,
            ([a, b], []) if self.not_sparse.is_empty() && self.not_dense.is_empty() => {
                Some(a.and_count(b))
            }
            ([first, rest @ ..], dense) => Some(first.count_where(|user| {
                dense.iter().all(|words| is_in(words, user))
                    && !self.not_dense.iter().any(|words| is_in(words, user))
                    && rest.iter().all(|posting| posting.contains(user))
                    && !self.not_sparse.iter().any(|posting| posting.contains(user))
            })),
        }
    }

    /// Makes a block hold the users who satisfy all but the others; returns `false`, and does
    /// nothing, if there is nobody to begin with.
    fn fill(&self, target: &mut Block, scratch: &mut Block) -> bool {
        if self.nobody {
            target.clear();
            return true;
        }
        match (&self.sparse[..], &self.dense[..]) {
            ([], []) => return false,
            ([], [first, rest @ ..]) => {
                target.become_and_all(first, &self.with_complements(rest));
            }
            ([first, rest @ ..], dense) => {
                target.clear();
                let words = target.words_mut();
                first.for_each(|user| {
                    let stays = dense.iter().all(|dense| is_in(dense, user))
                        && !self.not_dense.iter().any(|dense| is_in(dense, user));
                    words[usize::from(user >> 6)] |= u64::from(stays) << (user & 63);
                });
                for posting in rest {
                    posting.and_into(target, scratch);
                }
            }
        }
        for posting in &self.not_sparse {
            posting.remove_from(target);
        }
        true
    }

    /// Takes away from a block the users who are known to be taken away.
    fn exclude(&self, target: &mut Block) {
        for posting in &self.not_sparse {
            posting.remove_from(target);
        }
        for words in &self.not_dense {
            target.and_not_words(words);
        }
    }
}

fn is_in(words: &Words, user: u16) -> bool {
    words[usize::from(user >> 6)] >> (user & 63) & 1 == 1
}

/// The users of a shard who pass one test, as the index holds them.
enum Source<'a> {
    Nobody,
    Sparse(Cow<'a, Posting>),
    Dense(&'a Words),
    Other,
}

impl<'a> Source<'a> {
    fn of(leaf: &'a Leaf, shard: &'a Shard) -> Self {
        let posting = |posting: Option<Cow<'a, Posting>>| match posting {
            None => Self::Nobody,
            Some(Cow::Borrowed(posting)) => match posting.words() {
                Some(words) => Self::Dense(words),
                None => Self::Sparse(Cow::Borrowed(posting)),
            },
            // Only a few users come as a posting that is not held.
            Some(owned @ Cow::Owned(_)) => Self::Sparse(owned),
        };
        match (shard.index(leaf.property), &leaf.test) {
            (None, _) => Self::Nobody,
            (Some(PropertyIndex::Codes(index)), LeafTest::AnyCode(codes)) if codes.len() == 1 => {
                posting(index.posting(codes[0]))
            }
            (Some(PropertyIndex::Sets(index)), LeafTest::AnyCode(codes)) if codes.len() == 1 => {
                posting(index.posting(codes[0]))
            }
            (Some(PropertyIndex::Codes(index)), LeafTest::Present) => {
                posting(Some(Cow::Borrowed(index.present())))
            }
            (Some(PropertyIndex::Sets(index)), LeafTest::Present) => {
                posting(Some(Cow::Borrowed(index.present())))
            }
            (Some(PropertyIndex::Numbers(index)), LeafTest::Present) => {
                Self::Dense(index.present().words())
            }
            (Some(_), _) => Self::Other,
        }
    }
}

/// Whether a plan is true for a user, by the columns alone.
fn holds(node: &PlanNode<'_>, reader: &ShardReader<'_>, user: u16) -> bool {
    match &node.step {
        Step::Everyone => true,
        Step::Nobody => false,
        Step::Leaf(leaf) => leaf_holds(leaf, reader.shard(), user),
        Step::Event(leaf) => event_holds(leaf, reader.shard(), user),
        Step::Bucket(leaf) => leaf.holds(reader, user),
        Step::Not(operand) => !holds(operand, reader, user),
        Step::And(operands) => operands.iter().all(|operand| holds(operand, reader, user)),
        Step::Or(operands) => operands.iter().any(|operand| holds(operand, reader, user)),
        Step::AtLeast(count, operands) => {
            let holding = operands
                .iter()
                .filter(|operand| holds(operand, reader, user));
            holding.take(*count).count() == *count
        }
    }
}
