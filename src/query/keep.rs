//! Which windows of events the saved segments ask for, as of an instant.

use std::sync::{Arc, Weak};

use super::bind::{Node, bind};
use crate::index::{KeptWindow, day_of};
use crate::model::{Expression, Timestamp};
use crate::population::{Catalog, Population};

/// What was kept last: for which segments, and on which day.
#[derive(Debug, Default)]
pub struct KeptFor(Option<(Weak<Catalog>, i32)>);

impl KeptFor {
    /// Has the population keep counts of the windows that its saved segments ask for, as of an
    /// instant, unless it is the same day still and nothing was declared or saved since. Else that
    /// takes as long as counting the windows that were not kept before.
    pub fn look(&mut self, population: &Population, as_of: Timestamp) {
        let today = day_of(as_of.micros());
        let is_same = |(catalog, day): &(Weak<Catalog>, i32)| {
            *day == today && population.has_catalog(catalog)
        };
        if !self.0.as_ref().is_some_and(is_same) {
            let catalog = population.catalog();
            keep_windows(population, &catalog, as_of);
            self.0 = Some((Arc::downgrade(&catalog), today));
        }
    }
}

fn keep_windows(population: &Population, catalog: &Catalog, as_of: Timestamp) {
    let mut windows = Vec::new();
    for segment in catalog.segments() {
        let Some(definition) = segment.definition().filter() else {
            continue;
        };
        let mut asks_events = false;
        collect(definition, &mut |_| asks_events = true);
        // A segment that can't be asked now has nothing to keep.
        if asks_events && let Ok(bound) = bind(population, definition, as_of) {
            windows_of(&bound.root, &mut windows);
        }
    }
    windows.sort_unstable();
    windows.dedup();
    population.pin_windows(&windows);
}

/// Visits the tests of events of a definition.
fn collect(expression: &Expression, visit: &mut impl FnMut(&Expression)) {
    match expression {
        Expression::Everyone
        | Expression::Predicate(_)
        | Expression::Segment(_)
        | Expression::Bucket(_) => {}
        Expression::Event(_) => visit(expression),
        Expression::Not(operand) => collect(operand, visit),
        Expression::And(operands)
        | Expression::Or(operands)
        | Expression::AtLeast { of: operands, .. } => {
            operands.iter().for_each(|operand| collect(operand, visit));
        }
    }
}

fn windows_of(node: &Node, windows: &mut Vec<(u32, KeptWindow)>) {
    match node {
        Node::Everyone | Node::Leaf(_) | Node::Bucket(_) => {}
        Node::Event(leaf) => {
            windows.extend(leaf.kept_window().map(|window| (leaf.event, window)));
        }
        Node::Not(operand) => windows_of(operand, windows),
        Node::And(operands) | Node::Or(operands) | Node::AtLeast(_, operands) => {
            for operand in operands {
                windows_of(operand, windows);
            }
        }
    }
}
