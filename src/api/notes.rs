//! What is known of a call while it is served: what it was asked about, without the values, for the
//! log; and who asks, so that no error names what they may not know of.
//!
//! Invariants: where it is not known who asks, nothing is named; what is noted while a call is served is a few pointers, whatever the call; what is
//! shown of it is worked out only if it is shown, and holds no value and no id of a user.

use std::cell::RefCell;
use std::sync::Arc;

use super::Api;
use super::access::Caller;
use crate::model::{PopulationName, Shape};
use crate::population::Population;
use crate::query::Prepared;

/// How many bytes of the shape of a selection are shown.
const SHOWN_BYTES: usize = 500;

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// What is noted of a call.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    population: Option<Arc<Population>>,
    /// The first selection.
    selection: Option<Arc<Prepared>>,
    selections: u32,
    asked_by: AskedBy,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
enum AskedBy {
    #[default]
    Unknown,
    /// Nobody is asked who they are, and all may do all.
    Anybody,
    Caller {
        caller: Caller,
        /// Whether the caller may read what the call is about.
        reads: bool,
    },
}

/// What is shown of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The population; empty if none was asked.
    pub population: String,
    /// How many users it has.
    pub users: u64,
    /// How many shards it has.
    pub shards: u32,
    /// How many selections were asked about, as far as they were read before the call waited.
    pub selections: u32,
    /// The shape of the first one; empty if there was none.
    pub shape: String,
    /// A number that selections of this shape share.
    pub fingerprint: u64,
}

impl Notes {
    /// Serves a call, and keeps what was noted meanwhile, also if it is given up before its end.
    pub async fn of<F: Future>(call: F, kept: &mut Self) -> F::Output {
        let noted = async {
            let _kept = Kept(kept);
            call.await
        };
        NOTES.scope(RefCell::default(), noted).await
    }

    /// What is shown of it.
    #[must_use]
    pub fn shown(&self, api: &Api) -> Shown {
        let mut shown = Shown {
            selections: self.selections,
            ..Shown::default()
        };
        if let Some(population) = &self.population {
            let mut known = api.engine.populations().into_iter();
            let name = known.find(|(_, known)| Arc::ptr_eq(known, population));
            shown.population = name.map_or_else(String::new, |(name, _)| name.as_str().into());
            shown.users = population.user_count();
            shown.shards = population.shard_count();
        }
        if let Some(selection) = &self.selection {
            let shape = Shape(selection.expression());
            shown.fingerprint = shape.fingerprint();
            shown.shape = shape.to_string();
            if shown.shape.len() > SHOWN_BYTES {
                let end = shown.shape.floor_char_boundary(SHOWN_BYTES);
                shown.shape.truncate(end);
                shown.shape.push_str("..");
            }
        }
        shown
    }
}

/// Takes what was noted when it is dropped, which has to be where it was noted.
struct Kept<'a>(&'a mut Notes);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // A future that was never begun has noted nothing.
        if let Ok(notes) = NOTES.try_with(RefCell::take) {
            *self.0 = notes;
        }
    }
}

/// Notes something, if this is the task that serves the call.
fn note(note: impl FnOnce(&mut Notes)) {
    let _ = NOTES.try_with(|notes| {
        if let Ok(mut notes) = notes.try_borrow_mut() {
            note(&mut notes);
        }
    });
}

/// Notes who asks, and whether they may read what the call is about.
pub(super) fn asked_by(caller: Option<&Caller>, reads: bool) {
    note(|notes| {
        notes.asked_by = match caller {
            None => AskedBy::Anybody,
            Some(caller) => AskedBy::Caller {
                caller: caller.clone(),
                reads,
            },
        };
    });
}

/// Whether who asks may learn that a population exists. They may not where it is not known who asks,
/// as in another task.
pub(super) fn may_learn_of(population: &PopulationName) -> bool {
    let learns = NOTES.try_with(|notes| {
        let notes = notes.try_borrow();
        notes.is_ok_and(|notes| match &notes.asked_by {
            AskedBy::Unknown => false,
            AskedBy::Anybody => true,
            AskedBy::Caller { caller, .. } => caller.may(population.as_str()),
        })
    });
    learns.unwrap_or(false)
}

/// Whether who asks only writes: names of what there is besides are not for them.
pub(super) fn is_asked_by_a_writer() -> bool {
    let writes = NOTES.try_with(|notes| {
        let notes = notes.try_borrow();
        notes.is_ok_and(|notes| matches!(notes.asked_by, AskedBy::Caller { reads: false, .. }))
    });
    writes.unwrap_or(false)
}

/// Notes which population is asked about.
pub(super) fn population(population: &Arc<Population>) {
    note(|notes| notes.population = Some(Arc::clone(population)));
}

/// Notes which users are asked about.
pub(super) fn selection(selection: &Arc<Prepared>) {
    note(|notes| {
        notes.selections = notes.selections.saturating_add(1);
        if notes.selection.is_none() {
            notes.selection = Some(Arc::clone(selection));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_was_noted_is_kept_whether_the_call_ends_or_is_given_up() {
        let noting = || note(|notes| notes.selections += 1);
        let mut kept = Notes::default();
        let answer = Notes::of(async { noting() }, &mut kept);
        answer.await;
        assert_eq!(kept.selections, 1);
        let endless = async {
            noting();
            noting();
            std::future::pending::<()>().await;
        };
        let given_up = Notes::of(endless, &mut kept);
        let given_up = tokio::time::timeout(Duration::from_millis(10), given_up);
        assert!(given_up.await.is_err());
        assert_eq!(kept.selections, 2);
    }
}
