//! The last changes of who is in which segment, for all who watch.
//!
//! Invariant: changes have consecutive numbers, in the order of the revisions and instants at which
//! they happened; the newest are kept, so many. The mark says up to which revision and instant all of
//! them are here, and changes with them.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::{Revision, SegmentName, Timestamp, UserId};
use crate::query::{Cause, Place};

/// Up to where something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Everything up to this revision.
    pub revision: Revision,
    /// As of this instant.
    pub time: Timestamp,
}

/// Why members of a segment have to be read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResyncCause {
    /// The cursor is from before the service was started, or too old.
    CursorExpired,
    /// More changes came than are kept for a watcher that does not read them.
    TooSlow,
    /// More users entered or left at once than are told one by one.
    TooManyChanges,
    /// Old events were dropped, and with them what the segment says of some users; or a window does
    /// not reach back to dropped ones any more.
    EventsDropped,
    /// It can't be told who is in the segment.
    Unknown,
    /// The segment was deleted: nobody is in it.
    Deleted,
    /// The clock was set back.
    ClockSetBack,
}

impl ResyncCause {
    /// Whether the segment has members that can be read.
    #[must_use]
    pub fn can_be_read(self) -> bool {
        match self {
            Self::CursorExpired
            | Self::TooSlow
            | Self::TooManyChanges
            | Self::EventsDropped
            | Self::ClockSetBack => true,
            Self::Unknown | Self::Deleted => false,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// Something began to be watched. It has a number, so that a cursor from before is told from one
    /// of since then.
    Began,
    /// A user entered or left.
    Moved {
        segment: Arc<SegmentName>,
        user: Arc<UserId>,
        place: Place,
        enters: bool,
        cause: Cause,
    },
    /// Who is in it has to be read anew.
    Lost(Arc<SegmentName>, ResyncCause),
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) happened: Happened,
}

#[derive(Debug)]
struct Entries {
    kept: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// How many are kept.
    most: usize,
    mark: Mark,
    /// Whether everybody is where the mark says: not while the clock moves many at one instant.
    is_settled: bool,
}

/// The changes of one population.
#[derive(Debug)]
pub(super) struct Ring(RwLock<Entries>);

/// Some entries.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    /// The number of the entry after them.
    pub(super) next: u64,
    /// The mark, if there is nothing after them and it is settled.
    pub(super) mark: Option<Mark>,
}

impl Ring {
    pub(super) fn new(mark: Mark, most: usize) -> Self {
        Self(RwLock::new(Entries {
            kept: VecDeque::new(),
            first: 0,
            most,
            mark,
            is_settled: true,
        }))
    }

    /// Adds what happened up to a mark; `is_settled` if that is all.
    pub(super) fn add(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        mark: Mark,
        is_settled: bool,
    ) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            if ring.kept.len() >= ring.most && ring.kept.pop_front().is_some() {
                ring.first += 1;
            }
            ring.kept.push_back(entry);
        }
        ring.mark = mark;
        ring.is_settled = is_settled;
    }

    /// Forgets all entries; the numbers go on.
    pub(super) fn clear(&self) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ring.first += ring.kept.len() as u64;
        ring.kept = VecDeque::new();
    }

    /// The number that the next entry will have.
    pub(super) fn end(&self) -> u64 {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ring.first + ring.kept.len() as u64
    }

    /// Whether the entry of a number is here, or will be the next one.
    pub(super) fn reaches(&self, number: u64) -> bool {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (ring.first..=ring.first + ring.kept.len() as u64).contains(&number)
    }

    /// The entries from a number on, at most `limit`; `None` if the first of them is gone.
    pub(super) fn read(&self, from: u64, limit: usize) -> Option<Read> {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let skipped = usize::try_from(from.checked_sub(ring.first)?).ok()?;
        let entries: Vec<Entry> = ring
            .kept
            .iter()
            .skip(skipped)
            .take(limit)
            .cloned()
            .collect();
        let next = from + entries.len() as u64;
        let is_end = next >= ring.first + ring.kept.len() as u64;
        Some(Read {
            entries,
            next,
            mark: (is_end && ring.is_settled).then_some(ring.mark),
        })
    }
}
