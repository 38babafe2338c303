//! What is counted while the service runs: how often something took how long, or was how large.
//!
//! Invariants: to count takes no lock and no memory, so that any thread may do it at any moment; a
//! number, once counted, is never taken back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a call, a sync or an evaluation takes, in nanoseconds: from 50 µs to 10 s, with most bounds
/// below a millisecond, where most of them are.
pub static DURATIONS: [u64; 24] = [
    50_000,
    75_000,
    100_000,
    150_000,
    200_000,
    300_000,
    400_000,
    500_000,
    750_000,
    1_000_000,
    1_500_000,
    2_000_000,
    3_000_000,
    5_000_000,
    7_500_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// How long a stream is open, in nanoseconds: from 10 ms to a day.
pub static LONG_DURATIONS: [u64; 9] = [
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    60_000_000_000,
    600_000_000_000,
    3_600_000_000_000,
    21_600_000_000_000,
    86_400_000_000_000,
];

/// How many are taken together: powers of 4.
pub static SIZES: [u64; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];

/// Counts sizes, or durations, between bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is larger than all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The bounds: what is as large belongs below.
    pub bounds: &'static [u64],
    /// How many lay up to each bound and above the one before, and then those above all.
    pub counts: Vec<u64>,
    /// The sum of all.
    pub sum: u64,
}

impl Histogram {
    /// Nothing was counted so far. The bounds rise.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0));
        Self {
            bounds,
            counts: counts.collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub fn count(&self, size: u64) {
        let place = self.bounds.partition_point(|bound| *bound < size);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// Counts one that took so long, in nanoseconds.
    pub fn time(&self, took: Duration) {
        self.count(nanoseconds(took));
    }

    /// What was counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let counts = self.counts.iter();
        Counted {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound that this share of all, in thousandths, is not above; the largest bound if it is above
    /// all. 0 if nothing was counted.
    #[must_use]
    pub fn at_most(&self, thousandths: u64) -> u64 {
        let all = self.count();
        if all == 0 {
            return 0;
        }
        let wanted = (all * thousandths).div_ceil(1_000).max(1);
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count;
            if below >= wanted {
                return *bound;
            }
        }
        self.bounds.last().copied().unwrap_or(0)
    }
}

/// A duration in nanoseconds: the longest there is, if it is longer.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_large_as_a_bound_belongs_below() {
        let histogram = Histogram::new(&SIZES);
        for size in [1, 2, 4, 5, 4_096, 4_097, 1_000_000] {
            histogram.count(size);
        }
        let counted = histogram.counted();
        assert_eq!(counted.counts, [1, 2, 1, 0, 0, 0, 1, 2]);
        assert_eq!(counted.count(), 7);
        assert_eq!(counted.sum, 1 + 2 + 4 + 5 + 4_096 + 4_097 + 1_000_000);
    }

    #[test]
    fn a_share_is_found() {
        let histogram = Histogram::new(&SIZES);
        assert_eq!(histogram.counted().at_most(990), 0);
        for size in 1..=100 {
            histogram.count(size);
        }
        let counted = histogram.counted();
        assert_eq!(counted.at_most(0), 1);
        assert_eq!(counted.at_most(500), 64);
        assert_eq!(counted.at_most(990), 256);
        histogram.count(u64::MAX / 2);
        assert_eq!(histogram.counted().at_most(1_000), 4_096);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [&DURATIONS[..], &LONG_DURATIONS, &SIZES] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert!(DURATIONS.iter().filter(|bound| **bound < 1_000_000).count() >= 9);
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }
}
