//! What sets the users whom an expression selects apart from others.
//!
//! Who is on which side is found once, shard by shard, and held; then property after property is
//! counted for both sides, so that the memory for counts is that of one property at a time. Every
//! value and range is tested, the p-values are corrected for the number of tests, and what is left
//! is ranked by how much it says of the side that a user is on. `docs/comparing.md` has the
//! formulas.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bind::{Bound, Node, answer_all};
use super::bind_error::BindError;
use super::compare_numbers::{self, NumberComparison};
use super::distribution::Distribution;
use super::evaluate::Evaluator;
use super::held::Held;
use super::plan::plan;
use super::shards::over_shards;
use super::statistics::{Interval, Shares, adjusted, cramers_v};
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::{Dictionary, DictionaryStamp, IndexKind, PropertyIndex, Stored};
use crate::model::{PropertyName, Value};
use crate::population::{Population, Property, ShardReader};

/// Values of one property that are tested: the most frequent ones.
const TESTED_VALUES: usize = 1_000;
/// Findings are significant up to this p-value, after correction.
const LEVEL: f64 = 0.05;

/// What sets some users apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How many users are described.
    pub users: u64,
    /// With how many they are compared.
    pub against_users: u64,
    /// How many values and ranges were tested.
    pub tests: u64,
    /// How many of them are findings, also where not all are returned.
    pub significant: u64,
    /// What differs significantly, the greatest effect first.
    pub findings: Vec<Finding>,
    /// The properties, those that tell the sides apart best first.
    pub properties: Vec<PropertyComparison>,
    /// The properties that were left out since the expressions test them.
    pub left_out: Vec<PropertyName>,
}

/// Something that one side has more often than the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The property.
    pub property: PropertyName,
    /// Which of its values.
    pub what: What,
    /// How many users have it.
    pub count: u64,
    /// How many of those whom they are compared with have it.
    pub against_count: u64,
    /// Their share of the users.
    pub share: f64,
    /// Their share of those whom they are compared with.
    pub against_share: f64,
    /// The interval of the difference of the shares.
    pub difference: Interval,
    /// How many times as large the first share is.
    pub lift: Option<f64>,
    /// The interval of the lift.
    pub lift_interval: Option<Interval>,
    /// The coefficient phi, from -1 to 1.
    pub effect: f64,
    /// How likely such a difference is by chance alone.
    pub p_value: f64,
    /// The same, corrected for the number of tests.
    pub adjusted_p_value: f64,
}

/// Which values of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// One value, or an element of sets.
    Value(Value),
    /// A range of numbers or instants.
    Range {
        /// The lower end, included.
        from: Option<Value>,
        /// The upper end.
        to: Option<Value>,
        /// Whether the upper end is included.
        includes_to: bool,
    },
    /// None.
    NotSet,
}

/// How far the sides differ in one property.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyComparison {
    /// The property.
    pub property: PropertyName,
    /// How well it tells the sides apart, from 0 to 1.
    pub effect: f64,
    /// How many users have no value.
    pub missing: u64,
    /// How many of those whom they are compared with have no value.
    pub against_missing: u64,
    /// How many of its values and ranges were tested.
    pub tests: u64,
    /// How many of these are findings.
    pub significant: u64,
    /// How many values were not tested, being too many.
    pub untested_values: u64,
    /// What numbers and instants are like; `None` for other types, and if there are none.
    pub numbers: Option<NumberComparison>,
}

/// Why there is no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// There is no such property.
    #[error(transparent)]
    Property(#[from] BindError),
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Compares the users whom an expression selects with those of another one, or with all others, in
/// the properties named, or in all that the expressions do not test. Returns at most `limit`
/// findings, and none if one of the sides is empty.
///
/// The numbers of one property of all these users are held meanwhile: up to 8 bytes each.
///
/// # Errors
/// [`CompareError`] names the property that does not exist, or says that `stop` ended the work.
pub fn compare(
    population: &Population,
    bound: &Arc<Bound>,
    against: Option<&Arc<Bound>>,
    properties: &[PropertyName],
    limit: usize,
    stop: &Stop,
) -> Result<Comparison, CompareError> {
    let (properties, left_out) = chosen(population, bound, against, properties)?;
    let bounds: Vec<Arc<Bound>> = [bound].into_iter().chain(against).cloned().collect();
    loop {
        let sides = answer_all(population, &bounds, |bounds| hold(population, bounds, stop))?;
        let mut work = Work::new(&sides);
        // Of nobody nothing can be said.
        if sides.users > 0 && sides.against_users > 0 {
            for property in &properties {
                stop.check()?;
                let stamp = property.with_dictionary(Dictionary::stamp);
                let gathered = gather(population, &sides, property, stop)?;
                work.take(property, stamp, gathered);
            }
        }
        // A code that got another meaning meanwhile would name the wrong value.
        if let Some(comparison) = work.comparison(limit, &left_out) {
            return Ok(comparison);
        }
        stop.check()?;
    }
}

/// The properties to compare and those that are left out, by name.
fn chosen(
    population: &Population,
    bound: &Bound,
    against: Option<&Arc<Bound>>,
    asked: &[PropertyName],
) -> Result<(Vec<Arc<Property>>, Vec<PropertyName>), BindError> {
    let catalog = population.catalog();
    if !asked.is_empty() {
        let properties = asked.iter().map(|name| {
            let found = catalog.get(name).cloned();
            found.ok_or_else(|| BindError::UnknownProperty {
                property: name.clone(),
                suggestions: catalog.near(name),
            })
        });
        return Ok((properties.collect::<Result<_, _>>()?, Vec::new()));
    }
    let mut tested = Vec::new();
    collect_tested(&bound.root, &mut tested);
    if let Some(against) = against {
        collect_tested(&against.root, &mut tested);
    }
    let (mut left_out, mut properties): (Vec<_>, Vec<_>) = catalog
        .iter()
        .cloned()
        .partition(|property| tested.contains(&property.number()));
    let by_name = |property: &Arc<Property>| property.declaration().name.clone();
    properties.sort_by_cached_key(by_name);
    left_out.sort_by_cached_key(by_name);
    Ok((properties, left_out.iter().map(by_name).collect()))
}

/// The numbers of the properties that an expression tests.
fn collect_tested(node: &Node, tested: &mut Vec<u32>) {
    match node {
        Node::Everyone | Node::Event(_) | Node::Bucket(_) => {}
        Node::Leaf(leaf) => tested.push(leaf.property),
        Node::Not(operand) => collect_tested(operand, tested),
        Node::And(operands) | Node::Or(operands) | Node::AtLeast(_, operands) => {
            for operand in operands {
                collect_tested(operand, tested);
            }
        }
    }
}

/// Who is on which side.
#[derive(Default)]
struct Sides {
    users: u64,
    against_users: u64,
    /// The users of both sides, by the number of the shard.
    shards: BTreeMap<u32, (Held, Held)>,
}

fn hold(population: &Population, bounds: &[&Bound], stop: &Stop) -> Result<Sides, Stopped> {
    let plans: Vec<_> = bounds
        .iter()
        .map(|bound| plan(population, &bound.root))
        .collect();
    let begin = || {
        let blocks = (Block::new(), Block::new());
        (Evaluator::default(), blocks, Sides::default())
    };
    let visit = |task: &mut (Evaluator, (Block, Block), Sides), reader: &ShardReader<'_>| {
        let (evaluator, (selected, others), sides) = task;
        let shard = reader.shard();
        selected.clear();
        if let Some(plan) = plans.first() {
            evaluator.fill(plan, reader, selected);
        }
        if let Some(plan) = plans.get(1) {
            evaluator.fill(plan, reader, others);
        } else {
            shard.live().copy_into(others);
            others.and_not(selected);
        }
        sides.users += u64::from(selected.count());
        sides.against_users += u64::from(others.count());
        if !selected.is_empty() || !others.is_empty() {
            let held = (Held::of(selected), Held::of(others));
            sides.shards.insert(reader.number(), held);
        }
    };
    let (_, _, sides) = over_shards(population, stop, begin, visit, |mut a, mut b| {
        a.2.users += b.2.users;
        a.2.against_users += b.2.against_users;
        a.2.shards.append(&mut b.2.shards);
        a
    })?;
    Ok(sides)
}

/// The values of one property on one side.
struct Gathered {
    /// `counts[0]` users without a value, `counts[code + 1]` with each code. Of numbers, only those
    /// without.
    counts: Vec<u64>,
    numbers: Distribution,
}

impl Gathered {
    fn new() -> Self {
        Self {
            counts: vec![0],
            numbers: Distribution::default(),
        }
    }

    fn add(&mut self, index: Option<&PropertyIndex>, selected: &Block) {
        match index {
            Some(PropertyIndex::Codes(index)) => index.tally(selected, &mut self.counts),
            Some(PropertyIndex::Sets(index)) => index.tally(selected, &mut self.counts),
            Some(PropertyIndex::Numbers(index)) => {
                let having = index.present().and_count(selected);
                self.counts[0] += u64::from(selected.count() - having);
                self.numbers.add(index, selected);
            }
            // Nobody in the shard ever had the property.
            None => self.counts[0] += u64::from(selected.count()),
        }
    }

    fn join(&mut self, mut other: Self) {
        if other.counts.len() > self.counts.len() {
            std::mem::swap(&mut self.counts, &mut other.counts);
        }
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
        self.numbers.join(other.numbers);
    }

    fn missing(&self) -> u64 {
        self.counts.first().copied().unwrap_or(0)
    }
}

fn gather(
    population: &Population,
    sides: &Sides,
    property: &Property,
    stop: &Stop,
) -> Result<(Gathered, Gathered), Stopped> {
    let begin = || (Block::new(), Gathered::new(), Gathered::new());
    let visit = |task: &mut (Block, Gathered, Gathered), reader: &ShardReader<'_>| {
        let Some((users, others)) = sides.shards.get(&reader.number()) else {
            return;
        };
        let (block, gathered, against) = task;
        let index = reader.shard().index(property.number());
        users.copy_into(block);
        gathered.add(index, block);
        others.copy_into(block);
        against.add(index, block);
    };
    let (_, gathered, against) = over_shards(population, stop, begin, visit, |mut a, b| {
        a.1.join(b.1);
        a.2.join(b.2);
        a
    })?;
    Ok((gathered, against))
}

/// What is tested, in terms of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tested {
    Code(u32),
    Missing,
    /// A bin by its position.
    Bin(usize),
    /// All bins before a position.
    Below(usize),
    /// All bins from a position on.
    From(usize),
}

/// How many users of both sides have something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) tested: Tested,
    pub(super) count: u64,
    pub(super) against: u64,
}

impl Candidate {
    fn all(&self) -> u64 {
        self.count + self.against
    }
}

/// One test that was made.
struct Test {
    /// The position of the property.
    property: usize,
    candidate: Candidate,
    p_value: f64,
    effect: f64,
}

/// A property that was compared, and what gives its tests their names.
struct Compared {
    property: Arc<Property>,
    stamp: Option<DictionaryStamp>,
    bins: Vec<What>,
    comparison: PropertyComparison,
}

/// All tests so far.
struct Work {
    users: u64,
    against_users: u64,
    tests: Vec<Test>,
    compared: Vec<Compared>,
}

impl Work {
    fn new(sides: &Sides) -> Self {
        Self {
            users: sides.users,
            against_users: sides.against_users,
            tests: Vec::new(),
            compared: Vec::new(),
        }
    }

    fn shares(&self, candidate: &Candidate) -> Shares {
        Shares {
            count: candidate.count,
            users: self.users,
            against: candidate.against,
            against_users: self.against_users,
        }
    }

    fn take(
        &mut self,
        property: &Arc<Property>,
        stamp: Option<DictionaryStamp>,
        (gathered, against): (Gathered, Gathered),
    ) {
        let missing = Candidate {
            tested: Tested::Missing,
            count: gathered.missing(),
            against: against.missing(),
        };
        let is_set = property.kind() == IndexKind::Sets;
        let (mut bins, mut numbers, mut untested_values) = (Vec::new(), None, 0);
        let mut parts = Vec::new();
        let mut effect = 0.0;
        let mut splits = Vec::new();
        if property.kind() == IndexKind::Numbers {
            let value_type = property.value_type();
            let compared = compare_numbers::compare(value_type, gathered.numbers, against.numbers);
            if let Some((named, counts, comparison)) = compared {
                (bins, parts) = (named, counts);
                splits = compare_numbers::splits(&parts, missing.all() > 0, |split| {
                    self.shares(split).phi()
                });
                numbers = Some(comparison);
            }
        } else {
            let (tested, rest, untested) = most_frequent(&gathered.counts, &against.counts);
            (parts, untested_values) = (tested, untested);
            if !is_set {
                // What is not tested is still a part of the property.
                let all = parts.iter().chain([&rest, &missing]);
                effect = cramers_v(all.map(|part| (part.count, part.against)));
            }
        }
        if property.kind() == IndexKind::Numbers {
            let all = parts.iter().chain([&missing]);
            effect = cramers_v(all.map(|part| (part.count, part.against)));
        }
        // Elements of sets do not divide the users, save a single one.
        let divide = untested_values == 0 && (!is_set || parts.len() == 1);
        parts.push(missing);
        let everyone = self.users + self.against_users;
        parts.retain(|part| (1..everyone).contains(&part.all()));
        if let ([one, other], true) = (&parts[..], divide) {
            // Each is the mirror of the other.
            let mirrored = self.shares(one).phi() < self.shares(other).phi();
            parts.remove(usize::from(!mirrored));
        }
        parts.append(&mut splits);
        let position = self.compared.len();
        let tests = parts.len() as u64;
        for candidate in parts {
            let shares = self.shares(&candidate);
            let phi = shares.phi();
            if is_set {
                effect = phi.abs().max(effect);
            }
            self.tests.push(Test {
                property: position,
                candidate,
                p_value: shares.p_value(),
                effect: phi,
            });
        }
        self.compared.push(Compared {
            property: Arc::clone(property),
            stamp,
            bins,
            comparison: PropertyComparison {
                property: property.declaration().name.clone(),
                effect,
                missing: missing.count,
                against_missing: missing.against,
                tests,
                significant: 0,
                untested_values,
                numbers,
            },
        });
    }

    /// The tests that are significant with their corrected p-values, the greatest effect first; of
    /// all ranges below and from an edge of a property only the one with the greatest.
    fn significant(&self) -> Vec<(&Test, f64)> {
        let p_values: Vec<f64> = self.tests.iter().map(|test| test.p_value).collect();
        let corrected = self.tests.iter().zip(adjusted(&p_values));
        let mut found: Vec<(&Test, f64)> =
            corrected.filter(|(_, p_value)| *p_value <= LEVEL).collect();
        // Stable: equals stay in the order of their properties.
        found.sort_by(|(a, _), (b, _)| b.effect.abs().total_cmp(&a.effect.abs()));
        let mut is_split = vec![false; self.compared.len()];
        found.retain(|(test, _)| match test.candidate.tested {
            Tested::Code(_) | Tested::Missing | Tested::Bin(_) => true,
            Tested::Below(_) | Tested::From(_) => is_split
                .get_mut(test.property)
                .is_some_and(|is_split| !std::mem::replace(is_split, true)),
        });
        found
    }

    /// All with names; `None` if a code has another meaning by now.
    fn comparison(mut self, limit: usize, left_out: &[PropertyName]) -> Option<Comparison> {
        let found = self.significant();
        let mut significant = vec![0; self.compared.len()];
        for (test, _) in &found {
            if let Some(count) = significant.get_mut(test.property) {
                *count += 1;
            }
        }
        let all_significant = found.len() as u64;
        let returned = found.iter().take(limit);
        let findings = returned.map(|(test, p_value)| self.finding(test, *p_value));
        let findings = findings.collect::<Option<_>>()?;
        let keeps_meanings = |compared: &Compared| {
            let now = compared.property.with_dictionary(Dictionary::stamp);
            match (now, compared.stamp) {
                (Some(now), Some(earlier)) => now.keeps_meanings_since(earlier),
                _ => true,
            }
        };
        if !self.compared.iter().all(keeps_meanings) {
            return None;
        }
        for (compared, count) in self.compared.iter_mut().zip(significant) {
            compared.comparison.significant = count;
        }
        let compared = self.compared.into_iter();
        let mut properties: Vec<_> = compared.map(|compared| compared.comparison).collect();
        properties.sort_by(|a, b| b.effect.total_cmp(&a.effect));
        Some(Comparison {
            users: self.users,
            against_users: self.against_users,
            tests: self.tests.len() as u64,
            significant: all_significant,
            findings,
            properties,
            left_out: left_out.to_vec(),
        })
    }

    fn finding(&self, test: &Test, adjusted_p_value: f64) -> Option<Finding> {
        let compared = self.compared.get(test.property)?;
        let lower_edge = |position: usize| match compared.bins.get(position)? {
            What::Value(value) => Some(value.clone()),
            What::Range { from, .. } => from.clone(),
            What::NotSet => None,
        };
        let what = match test.candidate.tested {
            Tested::Code(code) => What::Value(compared.property.value_of(&Stored::Code(code))?),
            Tested::Missing => What::NotSet,
            Tested::Bin(position) => compared.bins.get(position)?.clone(),
            Tested::Below(position) => What::Range {
                from: None,
                to: lower_edge(position),
                includes_to: false,
            },
            Tested::From(position) => What::Range {
                from: lower_edge(position),
                to: None,
                includes_to: false,
            },
        };
        let shares = self.shares(&test.candidate);
        Some(Finding {
            property: compared.comparison.property.clone(),
            what,
            count: test.candidate.count,
            against_count: test.candidate.against,
            share: shares.share(),
            against_share: shares.against_share(),
            difference: shares.difference(),
            lift: shares.lift(),
            lift_interval: shares.lift_interval(),
            effect: test.effect,
            p_value: test.p_value,
            adjusted_p_value,
        })
    }
}

/// The most frequent codes, all others together, and how many those are.
fn most_frequent(counts: &[u64], against: &[u64]) -> (Vec<Candidate>, Candidate, u64) {
    let at = |counts: &[u64], place: usize| counts.get(place).copied().unwrap_or(0);
    let codes = (0..).zip(1..counts.len().max(against.len()));
    let mut used: Vec<Candidate> = codes
        .map(|(code, place)| Candidate {
            tested: Tested::Code(code),
            count: at(counts, place),
            against: at(against, place),
        })
        .filter(|candidate| candidate.all() > 0)
        .collect();
    let mut rest = Candidate {
        tested: Tested::Missing,
        count: 0,
        against: 0,
    };
    let mut untested = 0;
    if used.len() > TESTED_VALUES {
        let more = |a: &Candidate, b: &Candidate| b.all().cmp(&a.all());
        used.select_nth_unstable_by(TESTED_VALUES, more);
        for candidate in used.drain(TESTED_VALUES..) {
            rest.count += candidate.count;
            rest.against += candidate.against;
            untested += 1;
        }
    }
    (used, rest, untested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarest_values_are_counted_together() {
        let counts: Vec<u64> = (0..1_203).collect();
        let (tested, rest, untested) = most_frequent(&counts, &[7, 0, 0]);
        assert_eq!((tested.len(), untested), (TESTED_VALUES, 202));
        assert_eq!((rest.count, rest.against), ((1..=202).sum(), 0));
        let all: u64 = tested.iter().map(|candidate| candidate.count).sum();
        assert_eq!(all + rest.count, counts.iter().sum::<u64>());
        let (tested, rest, untested) = most_frequent(&[9, 0, 2], &[9, 3, 1, 0]);
        let found: Vec<_> = tested
            .iter()
            .map(|candidate| (candidate.tested, candidate.count, candidate.against))
            .collect();
        assert_eq!(found, [(Tested::Code(0), 0, 3), (Tested::Code(1), 2, 1)]);
        assert_eq!((rest.all(), untested), (0, 0));
    }
}
