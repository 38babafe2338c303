//! Who was erased since somebody began to look: for what is kept by the places of users beyond the
//! locks of their shards.
//!
//! Invariant: an erasure is noted under the lock of its shard, before the place is free for another
//! user. So who finds a place under that lock, and finds no erasure noted for it, has found the user
//! who was there when the erasures of the shard were last forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Population, ShardReader};
use crate::index::Posting;

/// The places of users who were erased, by shard: at most a bit for each user.
#[derive(Debug, Default)]
pub struct Erasures(Mutex<BTreeMap<u32, Posting>>);

impl Erasures {
    fn noted(&self) -> MutexGuard<'_, BTreeMap<u32, Posting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew for a shard: those who are in it now are meant from now on.
    pub fn forget(&self, reader: &ShardReader<'_>) {
        self.noted().remove(&reader.number());
    }

    /// Those of some places of a shard whose users were erased.
    #[must_use]
    pub fn among(&self, reader: &ShardReader<'_>, places: &[u16]) -> Vec<bool> {
        let noted = self.noted();
        let erased = noted.get(&reader.number());
        let is_erased = |place: &u16| erased.is_some_and(|erased| erased.contains(*place));
        places.iter().map(is_erased).collect()
    }
}

/// All who want to know.
#[derive(Debug, Default)]
pub(super) struct Observers(Mutex<Vec<Weak<Erasures>>>);

impl Observers {
    fn observers(&self) -> MutexGuard<'_, Vec<Weak<Erasures>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an erasure. To be called under the lock of the shard.
    pub(super) fn note(&self, shard: u32, place: u16) {
        self.observers().retain(|observer| {
            let Some(erasures) = observer.upgrade() else {
                return false;
            };
            erasures.noted().entry(shard).or_default().insert(place);
            true
        });
    }
}

impl Population {
    /// The erasures from now on, for as long as they are held.
    #[must_use]
    pub fn note_erasures(&self) -> Arc<Erasures> {
        let erasures = Arc::new(Erasures::default());
        let mut observers = self.erasures.observers();
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(Arc::downgrade(&erasures));
        erasures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, NonEmpty, Revision, StoreLimits, UserId, UserUpdate};

    fn write(population: &Population, user: &str) {
        let update = UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: Vec::new(),
        };
        let write = Action::Write(NonEmpty::one(update));
        population.apply(Revision::new(1), &write).unwrap();
    }

    fn erase(population: &Population, user: &str) {
        let erase = Action::Erase(UserId::new(user).unwrap());
        population.apply(Revision::new(2), &erase).unwrap();
    }

    #[test]
    fn a_place_that_another_user_was_given_stays_noted_until_it_is_forgotten() {
        let population = Population::new(StoreLimits::default());
        write(&population, "a");
        write(&population, "b");
        let erasures = population.note_erasures();
        let among = || {
            let noted = population.with_shard(0, |reader| erasures.among(reader, &[0, 1]));
            noted.unwrap()
        };
        assert_eq!(among(), [false, false]);
        erase(&population, "b");
        erase(&population, "nobody");
        assert_eq!(among(), [false, true]);
        write(&population, "c");
        assert_eq!(among(), [false, true]);
        population.with_shard(0, |reader| erasures.forget(reader));
        assert_eq!(among(), [false, false]);
        drop(erasures);
        erase(&population, "a");
        assert!(population.erasures.observers().is_empty());
    }
}
