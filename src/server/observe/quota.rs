//! How many lines there may be in a second, so that nobody can fill a disk by asking.
//!
//! Invariant: no more lines than allowed are written in any second, and how many were left out is told
//! with the next one that is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lines of one kind.
#[derive(Debug)]
pub(super) struct Quota {
    per_second: u64,
    started: Instant,
    /// The second, and the lines in it: 32 bits each.
    used: AtomicU64,
    left_out: AtomicU64,
    all_left_out: AtomicU64,
}

impl Quota {
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second,
            started: Instant::now(),
            used: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            all_left_out: AtomicU64::new(0),
        }
    }

    /// Writes a line, if it may be written.
    pub(super) fn line(&self, write: impl FnOnce()) {
        if self.takes(self.started.elapsed().as_secs()) {
            let left_out = self.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                tracing::warn!(
                    target: "headcount::calls",
                    "{left_out} lines such as the next were left out: there were too many at once"
                );
            }
            write();
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.all_left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were left out since the start.
    pub(super) fn left_out(&self) -> u64 {
        self.all_left_out.load(Ordering::Relaxed)
    }

    fn takes(&self, second: u64) -> bool {
        let second = second & u64::from(u32::MAX);
        let taken = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                // Who looked at the clock before others did counts with them.
                let current = second.max(used >> 32);
                let lines = if used >> 32 == current {
                    used & u64::from(u32::MAX)
                } else {
                    0
                };
                (lines < self.per_second).then_some((current << 32) | (lines + 1))
            });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_takes_so_many() {
        let quota = Quota::new(3);
        let taken = |second| (0..10).filter(|_| quota.takes(second)).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(0), 0);
        assert_eq!(taken(1), 3);
        assert_eq!(taken(9), 3);
        // A thread that was late.
        assert_eq!(taken(8), 0);
        assert_eq!(taken(9), 0);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let quota = Quota::new(2);
        let mut written = 0;
        for _ in 0..50 {
            quota.line(|| written += 1);
        }
        // A second may end meanwhile.
        assert!(written <= 4, "{written}");
        assert_eq!(quota.left_out(), 50 - written);
    }
}
