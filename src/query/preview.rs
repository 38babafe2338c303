//! What a new definition of a segment would change.
//!
//! Every shard is looked at once, for the definition, its clauses, the segment as it is and the
//! segments made of it; all counts are of these users, so that they add up: who would enter and who
//! would stay are the segment then, who would leave and who would stay the segment now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bind::{Bound, answer_all, bind_to};
use super::bind_error::BindError;
use super::evaluate::Evaluator;
use super::plan::{PlanNode, plan};
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::SHARD_USERS;
use crate::model::{Expression, SegmentName, Timestamp, UserId};
use crate::population::{Catalog, Population, Redefinition, ShardReader};

/// Of so many segments that are made of the previewed one it is told how they change.
pub const COUNTED_DEPENDENTS: usize = 20;

/// What a new definition would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// How many users there are.
    pub users: u64,
    /// How many would enter, stay and leave.
    pub passage: Passage,
    /// The first who would enter, in the order of their ordinals.
    pub entering: Vec<UserId>,
    /// The first who would leave, in the order of their ordinals.
    pub leaving: Vec<UserId>,
    /// The parts of the definition if it is an AND, otherwise the definition.
    pub clauses: Vec<Clause>,
    /// How the first [`COUNTED_DEPENDENTS`] of the segments change that are made of this one; `None` of
    /// one of which it can't be told.
    pub dependents: Vec<Option<Passage>>,
}

/// How many users enter, stay in and leave a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Who is in it then and not now.
    pub enter: u64,
    /// Who is in it now and then.
    pub stay: u64,
    /// Who is in it now and not then.
    pub leave: u64,
}

/// A part of a definition, and what it leaves of the users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The part as filter text.
    pub filter: String,
    /// How many users it alone is true of.
    pub count: u64,
    /// How many users it and all parts before are true of.
    pub remaining: u64,
}

/// Why a definition can't be previewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewError {
    /// The definition.
    Definition(BindError),
    /// The segment as it is.
    Before(BindError),
}

/// The definition and what it is compared with, bound to one instant and one state of the catalog.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// Clauses, the segment as it is, dependents as they are and as they would be.
    bounds: Vec<Bound>,
    clauses: Vec<String>,
    has_before: bool,
    /// For each dependent whether it could be bound, before and after.
    dependents: Vec<bool>,
    depends_on_time: bool,
}

impl Previewed {
    /// Binds what a preview looks at. `now()` stands for `as_of` in all of it.
    ///
    /// # Errors
    /// [`PreviewError`] names what is wrong with the definition, or with the one to compare with.
    pub fn bind(
        population: &Population,
        name: Option<&SegmentName>,
        definition: &Expression,
        judged: &Redefinition,
        as_of: Timestamp,
    ) -> Result<Self, PreviewError> {
        let bind = |expression: &Expression| {
            let catalog = Arc::clone(&judged.catalog);
            bind_to(population, catalog, &Arc::new(expression.clone()), as_of)
        };
        // As a whole, so that what is wrong with it is said of it as it would be saved.
        let whole = bind(definition).map_err(PreviewError::Definition)?;
        let clauses: Vec<&Expression> = match definition {
            Expression::And(operands) => operands.iter().collect(),
            Expression::Everyone
            | Expression::Or(_)
            | Expression::Not(_)
            | Expression::AtLeast { .. }
            | Expression::Predicate(_)
            | Expression::Event(_)
            | Expression::Bucket(_)
            | Expression::Segment(_) => vec![definition],
        };
        let bound = clauses.iter().map(|clause| bind(clause));
        let bound = bound.collect::<Result<Vec<_>, _>>();
        let mut bounds = bound.map_err(PreviewError::Definition)?;
        let mut depends_on_time = whole.depends_on_time();
        let before = name.filter(|_| judged.exists);
        if let Some(before) = before {
            let before = bind(&Expression::Segment(before.clone()));
            let before = before.map_err(PreviewError::Before)?;
            depends_on_time |= before.depends_on_time();
            bounds.push(before);
        }
        let mut inlined = Inlined {
            catalog: &judged.catalog,
            dependents: &judged.dependents,
            known: BTreeMap::new(),
        };
        if let Some(name) = name {
            inlined.known.insert(name.clone(), definition.clone());
        }
        let counted = judged.dependents.iter().take(COUNTED_DEPENDENTS);
        let dependents = counted.map(|dependent| {
            let now = bind(&Expression::Segment(dependent.clone()));
            let then = bind(&inlined.segment(dependent));
            let Ok(pair) = now.and_then(|now| Ok([now, then?])) else {
                return false;
            };
            depends_on_time |= pair.iter().any(Bound::depends_on_time);
            bounds.extend(pair);
            true
        });
        let dependents = dependents.collect();
        Ok(Self {
            bounds,
            clauses: clauses.iter().map(ToString::to_string).collect(),
            has_before: before.is_some(),
            dependents,
            depends_on_time,
        })
    }

    /// Whether the answer depends on the instant that it is asked for.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }
}

/// Puts a new definition in the place of its segment, in the definitions of all segments that are
/// made of it. Those are within the limits of segments, as the population judged.
struct Inlined<'a> {
    catalog: &'a Catalog,
    /// Sorted.
    dependents: &'a [SegmentName],
    known: BTreeMap<SegmentName, Expression>,
}

impl Inlined<'_> {
    fn segment(&mut self, name: &SegmentName) -> Expression {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let catalog = self.catalog;
        let is_dependent = self.dependents.binary_search(name).is_ok();
        let segment = catalog.segment(name).filter(|_| is_dependent);
        let Some(definition) = segment.and_then(|segment| segment.definition().filter()) else {
            return Expression::Segment(name.clone());
        };
        let inlined = self.expression(definition);
        self.known.insert(name.clone(), inlined.clone());
        inlined
    }

    fn expression(&mut self, expression: &Expression) -> Expression {
        let mut inlined = expression.clone();
        self.put_into(&mut inlined);
        inlined
    }

    fn put_into(&mut self, expression: &mut Expression) {
        match expression {
            Expression::Everyone
            | Expression::Predicate(_)
            | Expression::Event(_)
            | Expression::Bucket(_) => {}
            Expression::Not(operand) => self.put_into(operand),
            Expression::And(operands)
            | Expression::Or(operands)
            | Expression::AtLeast { of: operands, .. } => {
                for operand in operands.iter_mut() {
                    self.put_into(operand);
                }
            }
            Expression::Segment(name) => *expression = self.segment(&name.clone()),
        }
    }
}

/// Counts what a definition would change, all in one pass, and names at most `sample` of those who
/// would enter and of those who would leave.
///
/// # Errors
/// [`Stopped`] if `stop` said so before all was counted.
pub fn preview(
    population: &Population,
    previewed: &Previewed,
    sample: usize,
    stop: &Stop,
) -> Result<Preview, Stopped> {
    answer_all(population, &previewed.bounds, |bounds| {
        let plans: Vec<PlanNode<'_>> = bounds
            .iter()
            .map(|bound| plan(population, &bound.root))
            .collect();
        let (clauses, others) = plans.split_at(previewed.clauses.len());
        let (before, dependents) = others.split_at(usize::from(previewed.has_before));
        let looked_at = LookedAt {
            clauses,
            before: before.first(),
            dependents,
            sample,
        };
        let task = over_shards(
            population,
            stop,
            || Task::new(&looked_at),
            |task, reader| task.visit(&looked_at, reader),
            |a, b| a.join(b, sample),
        )?;
        Ok(task.preview(previewed))
    })
}

/// What is looked at in each shard.
struct LookedAt<'a> {
    clauses: &'a [PlanNode<'a>],
    before: Option<&'a PlanNode<'a>>,
    /// Two for each: as it is, as it would be.
    dependents: &'a [PlanNode<'a>],
    sample: usize,
}

/// What one thread works with, and has found.
struct Task {
    evaluator: Evaluator,
    now: Block,
    then: Block,
    part: Block,
    users: u64,
    passage: Passage,
    entering: BTreeMap<u32, UserId>,
    leaving: BTreeMap<u32, UserId>,
    /// How many each clause has alone, and how many it leaves.
    clauses: Vec<(u64, u64)>,
    dependents: Vec<Passage>,
}

impl Passage {
    fn between(now: &Block, then: &Block) -> Self {
        let stay = now.and_count(then);
        Self {
            enter: u64::from(then.count() - stay),
            stay: u64::from(stay),
            leave: u64::from(now.count() - stay),
        }
    }

    fn add(&mut self, other: Self) {
        self.enter += other.enter;
        self.stay += other.stay;
        self.leave += other.leave;
    }

    /// How many users the segment has now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.leave + self.stay
    }

    /// How many users it would have.
    #[must_use]
    pub fn then(&self) -> u64 {
        self.enter + self.stay
    }
}

impl Task {
    fn new(looked_at: &LookedAt<'_>) -> Self {
        Self {
            evaluator: Evaluator::default(),
            now: Block::new(),
            then: Block::new(),
            part: Block::new(),
            users: 0,
            passage: Passage::default(),
            entering: BTreeMap::new(),
            leaving: BTreeMap::new(),
            clauses: vec![(0, 0); looked_at.clauses.len()],
            dependents: vec![Passage::default(); looked_at.dependents.len() / 2],
        }
    }

    fn visit(&mut self, looked_at: &LookedAt<'_>, reader: &ShardReader<'_>) {
        let Self {
            evaluator,
            now,
            then,
            part,
            ..
        } = self;
        reader.shard().live().copy_into(then);
        self.users += u64::from(then.count());
        for (clause, (alone, left)) in looked_at.clauses.iter().zip(&mut self.clauses) {
            evaluator.fill(clause, reader, part);
            *alone += u64::from(part.count());
            then.and(part);
            *left += u64::from(then.count());
        }
        match looked_at.before {
            Some(before) => evaluator.fill(before, reader, now),
            None => now.clear(),
        }
        let passage = Passage::between(now, then);
        self.passage.add(passage);
        for (count, from, to, sampled) in [
            (passage.enter, &*then, &*now, &mut self.entering),
            (passage.leave, &*now, &*then, &mut self.leaving),
        ] {
            if count > 0 {
                part.copy_from(from);
                part.and_not(to);
                take_sample(part, reader, looked_at.sample, sampled);
            }
        }
        // Where nobody enters or leaves, what is made of the segment stays as it is.
        let changes = passage.enter + passage.leave > 0;
        for (pair, passage) in looked_at.dependents.chunks(2).zip(&mut self.dependents) {
            if let [as_it_is, as_it_would_be] = pair {
                if !changes {
                    passage.stay += u64::from(evaluator.count(as_it_is, reader));
                    continue;
                }
                evaluator.fill(as_it_is, reader, now);
                evaluator.fill(as_it_would_be, reader, then);
                passage.add(Passage::between(now, then));
            }
        }
    }

    fn join(mut self, other: Self, sample: usize) -> Self {
        self.users += other.users;
        self.passage.add(other.passage);
        for (sampled, others) in [
            (&mut self.entering, other.entering),
            (&mut self.leaving, other.leaving),
        ] {
            sampled.extend(others);
            shorten(sampled, sample);
        }
        for ((alone, left), others) in self.clauses.iter_mut().zip(other.clauses) {
            *alone += others.0;
            *left += others.1;
        }
        for (passage, others) in self.dependents.iter_mut().zip(other.dependents) {
            passage.add(others);
        }
        self
    }

    fn preview(self, previewed: &Previewed) -> Preview {
        let clauses = previewed.clauses.iter().zip(self.clauses);
        let mut counted = self.dependents.into_iter();
        let dependents = previewed.dependents.iter();
        Preview {
            users: self.users,
            passage: self.passage,
            entering: self.entering.into_values().collect(),
            leaving: self.leaving.into_values().collect(),
            clauses: clauses
                .map(|(filter, (count, remaining))| Clause {
                    filter: filter.clone(),
                    count,
                    remaining,
                })
                .collect(),
            dependents: dependents
                .map(|is_counted| is_counted.then(|| counted.next()).flatten())
                .collect(),
        }
    }
}

/// Takes the first users of a shard into a sample, unless it is full of earlier ones.
fn take_sample(
    users: &Block,
    reader: &ShardReader<'_>,
    most: usize,
    sampled: &mut BTreeMap<u32, UserId>,
) {
    let first = reader.number() * SHARD_USERS;
    let is_full = sampled.len() >= most;
    if is_full && sampled.keys().next_back().is_none_or(|last| *last < first) {
        return;
    }
    let places: Vec<u16> = users.ones().take(most).collect();
    let ordinals = places.iter().map(|place| first + u32::from(*place));
    sampled.extend(ordinals.zip(reader.user_ids(&places)));
    shorten(sampled, most);
}

fn shorten(sampled: &mut BTreeMap<u32, UserId>, most: usize) {
    while sampled.len() > most {
        sampled.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use crate::model::{
        Action, Change, Labels, NonEmpty, Operation, PropertyName, Revision, SegmentDeclaration,
        StoreLimits, Text, UserUpdate, Value,
    };

    fn name(text: &str) -> SegmentName {
        SegmentName::new(text).unwrap()
    }

    fn expression(text: &str) -> Expression {
        filter::parse(text).unwrap()
    }

    fn write(population: &Population, numbers: std::ops::Range<u32>) {
        let update = |number: u32| UserUpdate {
            user: UserId::new(format!("u{number}")).unwrap(),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new("n").unwrap(),
                operation: Operation::Set(Value::Int64(number.into())),
            }],
            events: Vec::new(),
        };
        let write = NonEmpty::new(numbers.map(update).collect()).unwrap();
        let write = Action::Write(write);
        population.apply(Revision::new(1), &write).unwrap();
    }

    fn create(population: &Population, segment: &str, definition: &str) {
        let declaration = SegmentDeclaration {
            name: name(segment),
            definition: expression(definition),
            description: Text::default(),
            labels: Labels::new(),
        };
        let create = Action::CreateSegment(Box::new(declaration), Timestamp::MIN);
        population.apply(Revision::new(2), &create).unwrap();
    }

    fn previewed(population: &Population, segment: Option<&str>, definition: &str) -> Preview {
        let segment = segment.map(name);
        let definition = expression(definition);
        let judged = population.judge_definition(segment.as_ref(), &definition);
        let judged = judged.unwrap();
        let as_of = Timestamp::from_micros(0).unwrap();
        let bound = Previewed::bind(population, segment.as_ref(), &definition, &judged, as_of);
        preview(population, &bound.unwrap(), 3, &Stop::never()).unwrap()
    }

    fn ids(users: &[UserId]) -> Vec<&str> {
        users.iter().map(UserId::as_str).collect()
    }

    #[test]
    fn counts_and_samples_are_of_all_shards_in_order() {
        let population = Population::new(StoreLimits::default());
        let users = SHARD_USERS + 1_000;
        write(&population, 0..users);
        create(&population, "low", "n < 1000");
        create(&population, "outer", "NOT segment('low')");
        let boundary = SHARD_USERS - 1;
        let found = previewed(
            &population,
            Some("low"),
            &format!("n >= 998 AND (n < 1000 OR n >= {boundary})"),
        );
        let (enter, stay, leave) = (1_001, 2, 998);
        assert_eq!(found.passage, Passage { enter, stay, leave });
        assert_eq!(found.users, u64::from(users));
        assert_eq!(ids(&found.leaving), ["u0", "u1", "u2"]);
        assert_eq!(ids(&found.entering), ["u65535", "u65536", "u65537"]);
        let clauses: Vec<_> = found
            .clauses
            .iter()
            .map(|c| (c.count, c.remaining))
            .collect();
        let all_above = u64::from(users) - 998;
        assert_eq!(clauses, [(all_above, all_above), (2_001, 1_003)]);
        let (enter, leave) = (leave, enter);
        let stay = u64::from(users) - 1_000 - leave;
        let outer = Passage { enter, stay, leave };
        assert_eq!(found.dependents, [Some(outer)]);
    }

    #[test]
    fn without_a_name_nobody_is_there_before() {
        let population = Population::new(StoreLimits::default());
        write(&population, 0..10);
        for named in [None, Some("new")] {
            let found = previewed(&population, named, "n < 4 OR n > 8");
            assert_eq!((found.passage.now(), found.passage.then()), (0, 5));
            assert_eq!(found.passage.enter, 5);
            assert_eq!(found.clauses.len(), 1);
            assert_eq!(found.clauses[0].filter, "n < 4 OR n > 8");
        }
    }

    #[test]
    fn a_preview_that_is_stopped_has_no_answer() {
        let population = Population::new(StoreLimits::default());
        write(&population, 0..10);
        let definition = expression("n < 4");
        let judged = population.judge_definition(None, &definition).unwrap();
        let as_of = Timestamp::from_micros(0).unwrap();
        let bound = Previewed::bind(&population, None, &definition, &judged, as_of).unwrap();
        let stop = Stop::never();
        stop.cancel();
        assert_eq!(preview(&population, &bound, 1, &stop), Err(Stopped));
    }
}
