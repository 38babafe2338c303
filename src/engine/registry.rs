//! The populations of a store, by name.
#![expect(
    clippy::disallowed_types,
    reason = "the directory of populations is what it is for"
)]

use std::sync::Arc;

use dashmap::DashMap;

use crate::model::PopulationName;
use crate::population::Population;

/// The populations of a store.
#[derive(Debug, Default)]
pub(super) struct Registry {
    populations: DashMap<PopulationName, Arc<Population>>,
}

impl Registry {
    pub(super) fn get(&self, name: &PopulationName) -> Option<Arc<Population>> {
        self.populations
            .get(name)
            .map(|population| Arc::clone(&population))
    }

    pub(super) fn insert(&self, name: PopulationName, population: Arc<Population>) {
        self.populations.insert(name, population);
    }

    pub(super) fn len(&self) -> usize {
        self.populations.len()
    }

    /// All populations, in the order of their names.
    pub(super) fn sorted(&self) -> Vec<(PopulationName, Arc<Population>)> {
        let mut all: Vec<_> = self
            .populations
            .iter()
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}
