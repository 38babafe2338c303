//! The exports that are kept, so that a stream that broke can go on.
//!
//! Invariants: there are no more than [`limit::EXPORTS`], those being evaluated included, and they
//! take no more than [`limit::EXPORT_BYTES`] together; none is dropped while it is read, and none is
//! kept longer than [`KEPT_FOR`] after it was read last.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::ApiError;
use super::token::request_hash;
use crate::model::{Limit, Reason, limit};
use crate::population::Population;
use crate::query::Export;

/// How long an export is kept after it was read last.
const KEPT_FOR: Duration = Duration::from_mins(10);
/// After so long without being read an export gives way to a new one.
const GIVES_WAY_AFTER: Duration = Duration::from_mins(1);

/// An export with what its header says.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) population: Arc<Population>,
    pub(super) export: Export,
    pub(super) revision: String,
    pub(super) as_of: prost_types::Timestamp,
    pub(super) time_resolution: Option<prost_types::Duration>,
}

/// All exports that are kept.
#[derive(Debug)]
pub(super) struct Exports {
    kept: Mutex<Kept>,
    /// Another one for each start of the service.
    run: u64,
}

#[derive(Debug, Default)]
struct Kept {
    entries: BTreeMap<u64, Entry>,
    begun: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None` while it is evaluated.
    pinned: Option<Arc<Pinned>>,
    bytes: u64,
    readers: u32,
    last_read: Instant,
    /// Whether somebody was sent all of it.
    was_read: bool,
    /// Whether it is looked after, because somebody can know of it.
    is_known: bool,
}

impl Entry {
    fn idle(&self, now: Instant) -> Option<Duration> {
        let is_idle = self.readers == 0;
        is_idle.then(|| now.saturating_duration_since(self.last_read))
    }
}

impl Kept {
    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }

    /// Drops what was not read for long.
    fn expire(&mut self, now: Instant) {
        let expired = self.entries.iter();
        let expired = expired.filter(|(_, entry)| entry.idle(now) >= Some(KEPT_FOR));
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.remove(id);
        }
    }

    /// Drops one that may be dropped, the one that was idle longest; returns whether there was one.
    fn give_way(&mut self, now: Instant) -> bool {
        let entries = self.entries.iter();
        let idle = entries.filter_map(|(id, entry)| {
            let idle = entry.idle(now)?;
            (entry.was_read || idle >= GIVES_WAY_AFTER).then_some((idle, *id))
        });
        let Some((_, id)) = idle.max() else {
            return false;
        };
        self.remove(id);
        true
    }
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            run: RandomState::new().hash_one("exports"),
        }
    }
}

/// The error about exports that there is no room for.
pub(super) fn no_room(exceeded: Limit) -> ApiError {
    ApiError::new(
        Reason::StoreLimitExceeded,
        format!(
            "the limit {} allows no more than {} {} of exports that are kept; read those that were begun to their end, wait until they are dropped ten minutes after they were read last, or export fewer users or selections",
            exceeded.name, exceeded.default, exceeded.unit
        ),
    )
    .fact("limit", exceeded.name)
    .fact("allowed", exceeded.default)
}

/// The error about an export that there is not, or not any more.
fn gone() -> ApiError {
    ApiError::new(
        Reason::ExportNotFound,
        "the export is not kept any more: it was not read for ten minutes, gave way to others, or the service was started anew; begin anew, without the token",
    )
    .at("resume_token")
}

impl Exports {
    /// How many exports there are, those being evaluated included, and the bytes that they take.
    pub(super) fn load(&self) -> (u64, u64) {
        let kept = self.kept();
        (kept.entries.len() as u64, kept.bytes)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an export, which is dropped unless it is kept.
    pub(super) fn begin(self: &Arc<Self>, now: Instant) -> Result<Lease, ApiError> {
        let mut kept = self.kept();
        kept.expire(now);
        while kept.entries.len() as u64 >= limit::EXPORTS.default {
            if !kept.give_way(now) {
                return Err(no_room(limit::EXPORTS));
            }
        }
        kept.begun += 1;
        let id = request_hash(&(self.run, kept.begun));
        let entry = Entry {
            pinned: None,
            bytes: 0,
            readers: 1,
            last_read: now,
            was_read: false,
            is_known: false,
        };
        kept.entries.insert(id, entry);
        drop(kept);
        Ok(Lease {
            exports: Arc::clone(self),
            id,
        })
    }

    /// An export to go on with.
    fn go_on(self: &Arc<Self>, id: u64, now: Instant) -> Result<(Lease, Arc<Pinned>), ApiError> {
        let mut kept = self.kept();
        kept.expire(now);
        let found = kept.entries.get_mut(&id).and_then(|entry| {
            let pinned = entry.pinned.as_ref().map(Arc::clone)?;
            entry.readers += 1;
            Some(pinned)
        });
        drop(kept);
        let Some(pinned) = found else {
            return Err(gone());
        };
        let exports = Arc::clone(self);
        Ok((Lease { exports, id }, pinned))
    }

    /// The same, if the export is of the population that the caller was judged for: whoever makes up
    /// a token must not read another one by it.
    pub(super) fn go_on_in(
        self: &Arc<Self>,
        population: &Arc<Population>,
        id: u64,
        now: Instant,
    ) -> Result<(Lease, Arc<Pinned>), ApiError> {
        let is_of_it = self.kept().entries.get(&id).is_some_and(|entry| {
            let pinned = entry.pinned.as_ref();
            pinned.is_some_and(|pinned| Arc::ptr_eq(&pinned.population, population))
        });
        if !is_of_it {
            return Err(gone());
        }
        self.go_on(id, now)
    }

    /// Drops an export when its time comes, though nobody asks. To be called on the runtime.
    pub(super) fn watch_over(self: &Arc<Self>, id: u64) {
        let mut kept = self.kept();
        let Some(entry) = kept.entries.get_mut(&id).filter(|entry| !entry.is_known) else {
            return;
        };
        entry.is_known = true;
        drop(kept);
        let exports = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let left = {
                    let Some(exports) = exports.upgrade() else {
                        return;
                    };
                    let now = Instant::now();
                    let mut kept = exports.kept();
                    kept.expire(now);
                    let Some(entry) = kept.entries.get(&id) else {
                        return;
                    };
                    KEPT_FOR.saturating_sub(entry.idle(now).unwrap_or_default())
                };
                tokio::time::sleep(left.max(Duration::from_secs(1))).await;
            }
        });
    }
}

/// Says that somebody works with an export.
#[derive(Debug)]
pub(super) struct Lease {
    exports: Arc<Exports>,
    id: u64,
}

impl Lease {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether there is room for so many bytes more; they are taken if there is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let mut kept = self.exports.kept();
        while kept.bytes + bytes > limit::EXPORT_BYTES.default {
            if !kept.give_way(Instant::now()) {
                return false;
            }
        }
        kept.bytes += bytes;
        if let Some(entry) = kept.entries.get_mut(&self.id) {
            entry.bytes += bytes;
        }
        true
    }

    /// Keeps what was evaluated.
    pub(super) fn keep(&self, pinned: Arc<Pinned>) {
        let mut kept = self.exports.kept();
        let bytes = pinned.export.bytes();
        if let Some(entry) = kept.entries.get_mut(&self.id) {
            let before = std::mem::replace(&mut entry.bytes, bytes);
            entry.pinned = Some(pinned);
            kept.bytes = kept.bytes - before + bytes;
        }
    }

    /// Notes that somebody was sent all of it.
    pub(super) fn was_read(&self) {
        if let Some(entry) = self.exports.kept().entries.get_mut(&self.id) {
            entry.was_read = true;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut kept = self.exports.kept();
        let Some(entry) = kept.entries.get_mut(&self.id) else {
            return;
        };
        entry.readers -= 1;
        entry.last_read = Instant::now();
        // Whoever asked for it was gone before it was there.
        if !entry.is_known {
            kept.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expression, StoreLimits, Timestamp};
    use crate::query::{Stop, bind, export};

    fn pinned() -> Arc<Pinned> {
        let population = Arc::new(Population::new(StoreLimits::default()));
        let bound = bind(&population, &Expression::Everyone, Timestamp::MIN).unwrap();
        let export = export(&population, &[Arc::new(bound)], &|_| true, &Stop::never());
        Arc::new(Pinned {
            population,
            export: export.unwrap(),
            revision: String::new(),
            as_of: prost_types::Timestamp::default(),
            time_resolution: None,
        })
    }

    fn kept(exports: &Arc<Exports>) -> u64 {
        let lease = exports.begin(Instant::now()).unwrap();
        lease.keep(pinned());
        exports.watch_over(lease.id());
        lease.id()
    }

    #[tokio::test]
    async fn an_export_is_handed_out_for_its_own_population_alone() {
        let exports = Arc::new(Exports::default());
        let pinned = pinned();
        let lease = exports.begin(Instant::now()).unwrap();
        lease.keep(Arc::clone(&pinned));
        let other = Arc::new(Population::new(StoreLimits::default()));
        let go_on = |population| exports.go_on_in(population, lease.id(), Instant::now());
        assert_eq!(reason(go_on(&other)), Reason::ExportNotFound);
        assert!(go_on(&pinned.population).is_ok());
    }

    fn reason<T>(result: Result<T, ApiError>) -> Reason {
        match result {
            Ok(_) => panic!("expected an error"),
            Err(error) => error.reason,
        }
    }

    #[tokio::test]
    async fn an_export_is_kept_until_it_was_not_read_for_ten_minutes() {
        let exports = Arc::new(Exports::default());
        let id = kept(&exports);
        let soon = Instant::now() + Duration::from_mins(9);
        let later = Instant::now() + KEPT_FOR + Duration::from_secs(1);
        assert!(exports.go_on(id, soon).is_ok());
        // While it is read, it is not dropped.
        let reading = exports.go_on(id, soon).unwrap();
        assert!(exports.go_on(id, later).is_ok());
        drop(reading);
        let later = Instant::now() + KEPT_FOR + Duration::from_secs(1);
        assert_eq!(reason(exports.go_on(id, later)), Reason::ExportNotFound);
        assert_eq!(reason(exports.go_on(id, soon)), Reason::ExportNotFound);
        let unknown = exports.go_on(id + 1, soon);
        assert_eq!(reason(unknown), Reason::ExportNotFound);
    }

    #[tokio::test]
    async fn there_are_so_many_and_one_that_is_idle_gives_way() {
        let exports = Arc::new(Exports::default());
        let most = limit::EXPORTS.default;
        let ids: Vec<u64> = (0..most).map(|_| kept(&exports)).collect();
        let now = Instant::now();
        assert_eq!(reason(exports.begin(now)), Reason::StoreLimitExceeded);
        // The one that was read to its end.
        exports.go_on(ids[3], now).unwrap().0.was_read();
        let begun = exports.begin(now).unwrap();
        assert_eq!(reason(exports.go_on(ids[3], now)), Reason::ExportNotFound);
        assert!(exports.go_on(ids[2], now).is_ok());
        drop(begun);
        // What was not kept, or nobody was told of, leaves its place.
        let begun = exports.begin(now).unwrap();
        begun.keep(pinned());
        drop(begun);
        let begun = exports.begin(now).unwrap();
        assert_eq!(reason(exports.begin(now)), Reason::StoreLimitExceeded);
        // After a minute, the one that was idle longest.
        let later = Instant::now() + GIVES_WAY_AFTER + Duration::from_secs(1);
        let another = exports.begin(later).unwrap();
        assert_eq!(reason(exports.go_on(ids[0], now)), Reason::ExportNotFound);
        assert!(exports.go_on(ids[1], now).is_ok());
        drop((begun, another));
    }

    #[tokio::test]
    async fn there_are_so_many_bytes() {
        let exports = Arc::new(Exports::default());
        let first = exports.begin(Instant::now()).unwrap();
        let second = exports.begin(Instant::now()).unwrap();
        let most = limit::EXPORT_BYTES.default;
        assert!(first.take(most - 10) && second.take(10) && !second.take(1));
        // What is kept takes what it takes, and what is dropped nothing.
        first.keep(pinned());
        assert!(second.take(most - 10 - pinned().export.bytes()));
        assert!(!second.take(1));
        drop(second);
        assert!(first.take(most - pinned().export.bytes()) && !first.take(1));
    }
}
