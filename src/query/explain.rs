//! How an expression was evaluated: the plan that ran, never a second description of it.

use std::time::Duration;

use super::bind::{Bound, Leaf, LeafTest};
use super::count::count_by;
use super::evaluate::{Evaluator, PartTrace};
use super::plan::{PlanNode, Step, plan};
use super::stop::{Stop, Stopped};
use crate::index::IndexKind;
use crate::population::Population;

/// How an expression was evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How many users it selects.
    pub count: u64,
    /// How many shards the population has.
    pub shards: u32,
    /// The plan that ran.
    pub root: ExplainedNode,
}

/// One part of a plan that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedNode {
    /// What it does: `all of`, or a predicate as filter text.
    pub description: String,
    /// How it is answered.
    pub access: &'static str,
    /// How many users were expected.
    pub estimate: u64,
    /// How many users satisfied it, over the shards it was evaluated in.
    pub count: u64,
    /// How many shards it was evaluated in.
    pub shards: u32,
    /// The time spent on it and the parts below it.
    pub elapsed: Duration,
    /// The parts below it, in the order in which they ran.
    pub children: Vec<ExplainedNode>,
}

/// Counts the users whom an expression selects by evaluating it, also where a kept count would do,
/// and tells what became of each part.
///
/// # Errors
/// [`Stopped`] if `stop` said so before the count was known.
pub fn explain(
    population: &Population,
    bound: &Bound,
    stop: &Stop,
) -> Result<Explanation, Stopped> {
    let texts = bound.predicate_texts();
    bound.answer(population, |root| {
        let plan = plan(population, root);
        let mut evaluator = Evaluator::tracing(plan.size());
        let count = count_by(population, &plan, &mut evaluator, stop)?;
        let kept = plan.kept_count(population).is_some();
        Ok(Explanation {
            count,
            shards: population.shard_count(),
            root: explained(&plan, &evaluator.into_trace(), &texts, kept),
        })
    })
}

fn explained(
    node: &PlanNode<'_>,
    trace: &[PartTrace],
    texts: &[String],
    kept: bool,
) -> ExplainedNode {
    let part = trace.get(node.id).cloned().unwrap_or_default();
    let (description, access) = match &node.step {
        Step::Everyone => ("everyone".into(), "live users"),
        Step::Nobody => ("nobody".into(), "nothing to read"),
        Step::Leaf(leaf) => {
            let access = match (&leaf.test, leaf.kind) {
                (LeafTest::AnyCode(codes), _) if codes.len() == 1 => "posting",
                (LeafTest::AnyCode(_), _) => "union of postings",
                (LeafTest::Between(..) | LeafTest::AnyNumber(_), _) => "column scan",
                (LeafTest::Present, IndexKind::Codes | IndexKind::Sets | IndexKind::Numbers) => {
                    "users with a value"
                }
            };
            (leaf_text(leaf, texts), access)
        }
        Step::Event(leaf) => {
            let text = texts.get(leaf.predicate).cloned().unwrap_or_default();
            (text, "events by day")
        }
        Step::Bucket(leaf) => {
            let text = texts.get(leaf.predicate()).cloned().unwrap_or_default();
            (text, "hashed ids")
        }
        Step::Not(_) => ("not".into(), "complement"),
        Step::And(_) => ("all of".into(), "intersection"),
        Step::Or(_) => ("any of".into(), "union"),
        Step::AtLeast(count, _) => (format!("at least {count} of"), "counting"),
    };
    ExplainedNode {
        description,
        access: if kept { "kept count" } else { access },
        estimate: node.estimate,
        count: part.count,
        shards: part.shards,
        elapsed: part.elapsed,
        children: node
            .children()
            .iter()
            .map(|child| explained(child, trace, texts, kept))
            .collect(),
    }
}

fn leaf_text(leaf: &Leaf, texts: &[String]) -> String {
    let texts = leaf
        .predicates
        .iter()
        .filter_map(|&position| texts.get(position));
    texts.map(String::as_str).collect::<Vec<_>>().join(" AND ")
}
