//! How many bytes of requests are under way, over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Fullness;

/// What the limit is called.
pub(super) const LIMIT: &str = "max_request_bytes";

/// The bytes that all requests together may take.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    taken: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn fullness(&self) -> Fullness {
        Fullness {
            limit: LIMIT,
            taken: self.taken.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// The bytes that one call takes, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Taken {
    /// None yet.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes so many bytes more, or none if that would be too many. A call that is alone may take
    /// what it needs, so that each that is small enough for its method is served at some time.
    pub(super) fn more(&self, bytes: usize) -> bool {
        let all = &self.budget.taken;
        let own = self.bytes.load(Ordering::Relaxed);
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        if before > own && before.saturating_add(bytes) > self.budget.most {
            all.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Gives back all but so many.
    pub(super) fn keep(&self, bytes: usize) {
        // Only the one body of the call changes its number.
        let own = self.bytes.load(Ordering::Relaxed);
        let back = own.saturating_sub(bytes);
        if back > 0 {
            self.bytes.fetch_sub(back, Ordering::Relaxed);
            self.budget.taken.fetch_sub(back, Ordering::Relaxed);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.keep(0);
    }
}

/// Whom the bytes of a body go with.
#[derive(Debug)]
pub(super) enum Share {
    OfBody(Taken),
    OfCall(Arc<Taken>),
}

impl std::ops::Deref for Share {
    type Target = Taken;

    fn deref(&self) -> &Taken {
        match self {
            Self::OfBody(taken) => taken,
            Self::OfCall(taken) => taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_share_the_budget_and_one_alone_has_what_it_needs() {
        let budget = Arc::new(Budget::new(100));
        let first = Taken::of(&budget);
        assert!(first.more(60));
        let second = Taken::of(&budget);
        assert!(!second.more(41));
        assert!(second.more(40));
        assert!(!first.more(1));
        assert_eq!(
            (budget.fullness().taken, budget.fullness().refused),
            (100, 2)
        );
        second.keep(30);
        assert!(first.more(10));
        drop(second);
        assert_eq!(budget.fullness().taken, 70);
        // Alone.
        assert!(first.more(1_000));
        drop(first);
        assert_eq!(budget.fullness().taken, 0);
    }
}
