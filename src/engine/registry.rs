//! The populations of a store by name, and the limits in force.
//!
//! Invariants: only the commit thread, or recovery before it, changes anything here; a population
//! is registered by the first write or declaration that it accepts, or of which it remembers that it
//! refused it, and never goes away. `default`
//! always exists.

#![expect(
    clippy::disallowed_types,
    reason = "this is the directory of populations"
)]

use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;

use crate::model::{Action, Command, Once, PopulationName, Revision, StoreLimits, limit};
use crate::population::{Changes, Judged, Population, Refusal};

/// The populations by name.
#[derive(Debug)]
pub(super) struct Registry {
    populations: DashMap<PopulationName, Arc<Population>>,
    /// The limits in force; `None` until the log has said.
    limits: Mutex<Option<StoreLimits>>,
}

impl Registry {
    /// A registry without users, and without limits of its own so far.
    pub(super) fn new() -> Self {
        Self::restored(None, Vec::new())
    }

    /// A registry of populations that exist.
    pub(super) fn restored(
        limits: Option<StoreLimits>,
        populations: Vec<(PopulationName, Population)>,
    ) -> Self {
        let map = DashMap::new();
        for (name, population) in populations {
            map.insert(name, Arc::new(population));
        }
        map.entry(PopulationName::default())
            .or_insert_with(|| Arc::new(Population::new(limits.unwrap_or_default())));
        Self {
            populations: map,
            limits: Mutex::new(limits),
        }
    }

    /// The limits in force; `None` if the log has not said yet.
    pub(super) fn limits(&self) -> Option<StoreLimits> {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &PopulationName) -> Option<Arc<Population>> {
        Some(Arc::clone(&*self.populations.get(name)?))
    }

    /// All populations, sorted by name.
    pub(super) fn all(&self) -> Vec<(PopulationName, Arc<Population>)> {
        let mut all: Vec<_> = self
            .populations
            .iter()
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Judges a command and, unless it is refused, carries it out. To be called by one thread, in
    /// the order of revisions.
    pub(super) fn apply(&self, revision: Revision, command: &Command) -> Judged {
        match command {
            Command::SetLimits(limits) => {
                *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Some(*limits);
                for (_, population) in self.all() {
                    population.set_limits(*limits);
                }
                Judged::first(revision, Ok(Changes::default()))
            }
            Command::Population { name, once, action } => match (self.get(name), action) {
                (Some(population), _) => population.apply_once(revision, once.as_ref(), action),
                // There is no user to erase, and so no population to make.
                (None, Action::Erase(_)) => Judged::first(revision, Ok(Changes::default())),
                (
                    None,
                    Action::Write(_)
                    | Action::CreateProperty(_)
                    | Action::DeleteProperty(_)
                    | Action::CreateEvent(_)
                    | Action::UpdateEvent(_)
                    | Action::DeleteEvent(_)
                    | Action::CreateSegment(..)
                    | Action::UpdateSegment(..)
                    | Action::DeleteSegment(..)
                    | Action::CreateList(..)
                    | Action::AddMembers(..)
                    | Action::RemoveMembers(..),
                ) => self.create(revision, name, once.as_ref(), action),
            },
        }
    }

    fn create(
        &self,
        revision: Revision,
        name: &PopulationName,
        once: Option<&Once>,
        action: &Action,
    ) -> Judged {
        let limits = self.limits().unwrap_or_default();
        let within =
            limit::POPULATIONS.check_against(limits.populations, self.populations.len() as u64 + 1);
        if let Err(exceeded) = within {
            return Judged::first(revision, Err(Refusal::TooManyPopulations { exceeded }));
        }
        let population = Population::new(limits);
        let judged = population.apply_once(revision, once, action);
        if judged.outcome.is_ok() || population.remembers() {
            self.populations.insert(name.clone(), Arc::new(population));
        }
        judged
    }
}
