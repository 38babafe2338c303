//! Why a user is meant by an expression, or is not: what each part of it says, and what it saw.
//!
//! Invariant: everything is told of one moment, as a check is: whether a part is true, the values
//! behind it and what is answered on the whole. Segments are those of one catalog. What is told is
//! bounded, however large the expressions are with the definitions in them.

use std::borrow::Borrow;
use std::sync::Arc;

use super::bind::{Bound, Node, answer_all, bind_to};
use super::bind_error::BindError;
use super::bind_event::{BoundMeasure, BoundMeasured, bind_measure};
use super::check::holds;
use super::stop::{Stop, Stopped};
use super::valid_until::Search;
use crate::index::{Extreme, Shard};
use crate::model::{
    EventMeasure, EventPredicate, EventTest, Expression, Finite, LimitExceeded, Measured,
    Timestamp, UserId, Value, limit,
};
use crate::population::{Catalog, Population, Property, ShardReader};

/// What a part takes in an answer beside its text and its value, about.
const PART_BYTES: u64 = 32;

/// A part of an expression, what it says of a user, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedClause {
    /// A predicate or a segment as filter text, or how the parts below are combined: `all of`.
    pub text: String,
    /// Whether it is true for the user.
    pub holds: bool,
    /// What the predicate saw: the value of the property, the number or the time of the events, the
    /// number of the bucket. `None` if that is missing, and for combinations.
    pub value: Option<Value>,
    /// The parts below: those that are combined, or the definition of the segment.
    pub clauses: Vec<ExplainedClause>,
}

/// What the parts of a selection say of a user, and until when.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedCheck {
    /// The whole selection.
    pub clause: ExplainedClause,
    /// The first instant at which the user enters or leaves by the clock alone; `None` if there is
    /// none. Earlier than that if it is not found soon.
    pub valid_until: Option<Timestamp>,
}

/// Why a check can't be explained.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExplainCheckError {
    /// An expression can't be asked any more.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The explanation would be too large.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// It was to be given up.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Tells of each expression what its parts say of a user, and why; `None` if there is no such user.
///
/// # Errors
/// [`ExplainCheckError`] if the answer would be too large, if what an expression mentions has gone
/// since it was bound, or if `stop` said so.
pub fn explain_check(
    population: &Population,
    user: &UserId,
    bounds: &[impl Borrow<Bound>],
    stop: &Stop,
) -> Result<Option<Vec<ExplainedCheck>>, ExplainCheckError> {
    let catalog = population.catalog();
    let mut builder = Builder {
        population,
        catalog: &catalog,
        leaves: Vec::new(),
        bounds: Vec::new(),
        parts: 0,
        bytes: 0,
        stop,
    };
    let roots = bounds.iter().map(|bound| {
        let bound = bound.borrow();
        builder.part(bound.expression(), bound.as_of(), 1)
    });
    let roots = roots.collect::<Result<Vec<_>, _>>()?;
    let Builder {
        leaves,
        bounds: mut all,
        ..
    } = builder;
    for bound in bounds {
        stop.check()?;
        let (source, as_of) = (bound.borrow().source(), bound.borrow().as_of());
        all.push(bind_to(population, Arc::clone(&catalog), source, as_of)?);
    }
    answer_all(population, &all, |all| {
        let (of_leaves, wholes) = all.split_at(leaves.len());
        let nodes = of_leaves.iter().map(|bound| &bound.root);
        let leaves = nodes.zip(&leaves).map(|(node, leaf)| {
            stop.check()?;
            let saw = leaf.sees(population)?;
            Ok((node, saw))
        });
        let leaves = leaves.collect::<Result<Vec<_>, ExplainCheckError>>()?;
        let explained = population.with_user(user, |reader, user| {
            let mut teller = Teller {
                reader,
                user,
                leaves: &leaves,
                bytes: 0,
            };
            let mut search = Search::new(population, reader, user, stop);
            let roots = roots.iter().zip(wholes).map(|(root, whole)| {
                let clause = teller.tell(root)?;
                let valid_until = if whole.depends_on_time() {
                    search.of(whole, clause.holds, None)?
                } else {
                    None
                };
                Ok(ExplainedCheck {
                    clause,
                    valid_until,
                })
            });
            roots.collect::<Result<Vec<_>, ExplainCheckError>>()
        });
        explained.transpose()
    })
}

/// A part of an expression, before anything is known of the user.
struct Part {
    text: String,
    kind: Kind,
    parts: Vec<Part>,
}

enum Kind {
    Everyone,
    /// A predicate, by its place among all.
    Leaf(usize),
    Not,
    /// So many are needed.
    AtLeast(usize),
}

/// Where a predicate looks.
enum Leaf<'a> {
    Property(Arc<Property>),
    Event(&'a EventPredicate, Timestamp),
    Bucket,
    /// A static list: there is nothing to see but whether the user is in it.
    List,
}

/// Where a predicate looks, in terms of the index.
enum Saw<'a> {
    Property(&'a Property),
    Events(BoundMeasure),
    Bucket,
    List,
}

impl Leaf<'_> {
    fn sees(&self, population: &Population) -> Result<Saw<'_>, BindError> {
        Ok(match self {
            Self::Property(property) => Saw::Property(property),
            Self::Event(predicate, as_of) => {
                let measured = match &predicate.test {
                    EventTest::Number { measure, .. } => Measured::Number(*measure),
                    EventTest::Time { which, .. } => Measured::Time(*which),
                };
                let measure = EventMeasure {
                    event: predicate.event.clone(),
                    window: predicate.window.clone(),
                    zone: predicate.zone.clone(),
                    measured,
                };
                Saw::Events(bind_measure(population, &measure, *as_of)?)
            }
            Self::Bucket => Saw::Bucket,
            Self::List => Saw::List,
        })
    }
}

/// Takes expressions apart.
struct Builder<'a> {
    population: &'a Population,
    catalog: &'a Arc<Catalog>,
    leaves: Vec<Leaf<'a>>,
    /// The predicates, in the same order.
    bounds: Vec<Bound>,
    parts: u64,
    /// What the parts take in an answer without values, about.
    bytes: u64,
    stop: &'a Stop,
}

impl<'a> Builder<'a> {
    fn part(
        &mut self,
        expression: &'a Expression,
        as_of: Timestamp,
        level: u64,
    ) -> Result<Part, ExplainCheckError> {
        self.stop.check()?;
        self.parts += 1;
        limit::EXPLAINED_NODES.check(self.parts)?;
        limit::EXPLAINED_DEPTH.check(level)?;
        let text = text_of(expression);
        // Before anything is made of it: a part can be repeated thousands of times.
        self.bytes += text.len() as u64 + PART_BYTES;
        limit::ANSWER_BYTES.check(self.bytes)?;
        let mut parts = |operands: &'a [Expression]| {
            let operands = operands.iter();
            let parts = operands.map(|operand| self.part(operand, as_of, level + 1));
            parts.collect::<Result<Vec<_>, _>>()
        };
        let (kind, parts) = match expression {
            Expression::Everyone => (Kind::Everyone, Vec::new()),
            Expression::Not(operand) => (Kind::Not, parts(std::slice::from_ref(operand))?),
            Expression::And(operands) => (Kind::AtLeast(operands.len()), parts(operands)?),
            Expression::Or(operands) => (Kind::AtLeast(1), parts(operands)?),
            Expression::AtLeast { count, of } => (Kind::AtLeast(count.get() as usize), parts(of)?),
            Expression::Segment(name) => {
                let catalog = self.catalog;
                let segment = catalog
                    .segment(name)
                    .ok_or_else(|| BindError::UnknownSegment {
                        segment: name.clone(),
                        suggestions: catalog.near_segments(name),
                    })?;
                if let Some(definition) = segment.definition().filter() {
                    let part = self.part(definition, as_of, level + 1)?;
                    (Kind::AtLeast(1), vec![part])
                } else {
                    (Kind::Leaf(self.leaf(expression, as_of)?), Vec::new())
                }
            }
            Expression::Predicate(_) | Expression::Event(_) | Expression::Bucket(_) => {
                (Kind::Leaf(self.leaf(expression, as_of)?), Vec::new())
            }
        };
        Ok(Part { text, kind, parts })
    }

    fn leaf(&mut self, expression: &'a Expression, as_of: Timestamp) -> Result<usize, BindError> {
        let catalog = Arc::clone(self.catalog);
        let bound = bind_to(
            self.population,
            catalog,
            &Arc::new(expression.clone()),
            as_of,
        )?;
        let leaf = match expression {
            Expression::Predicate(predicate) => match self.catalog.get(&predicate.property) {
                Some(property) => Leaf::Property(Arc::clone(property)),
                None => {
                    return Err(BindError::UnknownProperty {
                        property: predicate.property.clone(),
                        suggestions: self.catalog.near(&predicate.property),
                    });
                }
            },
            Expression::Event(predicate) => Leaf::Event(predicate, as_of),
            Expression::Segment(_) => Leaf::List,
            Expression::Bucket(_)
            | Expression::Everyone
            | Expression::Not(_)
            | Expression::And(_)
            | Expression::Or(_)
            | Expression::AtLeast { .. } => Leaf::Bucket,
        };
        self.bounds.push(bound);
        self.leaves.push(leaf);
        Ok(self.leaves.len() - 1)
    }
}

/// A predicate or a segment as filter text, or how the parts below are combined.
fn text_of(expression: &Expression) -> String {
    match expression {
        Expression::Not(_) => "not".into(),
        Expression::And(_) => "all of".into(),
        Expression::Or(_) => "any of".into(),
        Expression::AtLeast { count, .. } => format!("at least {count} of"),
        Expression::Everyone
        | Expression::Segment(_)
        | Expression::Predicate(_)
        | Expression::Event(_)
        | Expression::Bucket(_) => expression.to_string(),
    }
}

/// Tells of one user.
struct Teller<'a> {
    reader: &'a ShardReader<'a>,
    user: u16,
    leaves: &'a [(&'a Node, Saw<'a>)],
    bytes: u64,
}

impl Teller<'_> {
    fn tell(&mut self, part: &Part) -> Result<ExplainedClause, LimitExceeded> {
        let mut clauses = Vec::with_capacity(part.parts.len());
        for below in &part.parts {
            clauses.push(self.tell(below)?);
        }
        let mut value = None;
        let holds = match part.kind {
            Kind::Everyone => true,
            Kind::Not => clauses.iter().all(|clause| !clause.holds),
            Kind::AtLeast(needed) => clauses.iter().filter(|clause| clause.holds).count() >= needed,
            Kind::Leaf(place) => {
                let (node, saw) = &self.leaves[place];
                value = self.seen(node, saw);
                holds(node, self.reader, self.user)
            }
        };
        self.bytes += PART_BYTES + part.text.len() as u64 + value.as_ref().map_or(0, bytes);
        limit::ANSWER_BYTES.check(self.bytes)?;
        Ok(ExplainedClause {
            text: part.text.clone(),
            holds,
            value,
            clauses,
        })
    }

    /// What a predicate looked at.
    fn seen(&self, node: &Node, saw: &Saw<'_>) -> Option<Value> {
        let shard = self.reader.shard();
        match saw {
            Saw::Property(property) => {
                let stored = shard.get(property.number(), self.user)?;
                property.value_of(&stored)
            }
            Saw::Events(measure) => measured(measure, shard, self.user),
            Saw::List => None,
            Saw::Bucket => match node {
                Node::Bucket(leaf) => {
                    let bucket = leaf.bucket(self.reader, self.user);
                    bucket.map(|bucket| Value::Int64(bucket.into()))
                }
                Node::Everyone
                | Node::Not(_)
                | Node::And(_)
                | Node::Or(_)
                | Node::AtLeast(..)
                | Node::Leaf(_)
                | Node::Event(_) => None,
            },
        }
    }
}

/// What a value takes in an answer, about.
fn bytes(value: &Value) -> u64 {
    let bytes = match value {
        Value::String(text) => text.as_str().len(),
        Value::StringSet(texts) => texts.iter().map(|text| text.as_str().len() + 4).sum(),
        Value::Version(version) => version.to_string().len(),
        Value::Bool(_) | Value::Int64(_) | Value::Double(_) | Value::Timestamp(_) => 0,
    };
    bytes as u64 + 16
}

/// A measure of the events of one user; `None` if it is missing.
#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest double is what is told"
)]
fn measured(measure: &BoundMeasure, shard: &Shard, user: u16) -> Option<Value> {
    let (from, to) = measure.window;
    // Nothing happened in an empty window.
    let index = shard.events(measure.event).filter(|_| from < to);
    let tally = || {
        index
            .map(|index| index.tally_of(user, from, to))
            .unwrap_or_default()
    };
    let amount = |millionths: f64| Finite::new(millionths / 1e6).map(Value::Double);
    match &measure.measured {
        BoundMeasured::Count(units) => {
            let count = index.map_or(0, |index| index.units_of(user, units.counted(), from, to));
            i64::try_from(count).ok().map(Value::Int64)
        }
        BoundMeasured::Sum => amount(tally().sum as f64),
        BoundMeasured::Mean => {
            let tally = tally();
            (tally.amounts > 0)
                .then(|| amount(tally.sum as f64 / tally.amounts as f64))
                .flatten()
        }
        BoundMeasured::Extreme(which) => {
            let tally = tally();
            let extreme = match which {
                Extreme::Least => tally.least,
                Extreme::Greatest => tally.greatest,
            };
            extreme.and_then(|millionths| amount(millionths as f64))
        }
        BoundMeasured::Time(which) => {
            let mut found = None;
            index?.events_of(user, from, to, |time, _| match which {
                Extreme::Least => found = found.or(Some(time)),
                Extreme::Greatest => found = Some(time),
            });
            let time = Timestamp::from_micros(found?).ok();
            time.map(Value::Timestamp)
        }
    }
}
