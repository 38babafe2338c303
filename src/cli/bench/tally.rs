//! What became of calls, and how long they took.
//!
//! Invariants: a call is counted once, as answered, refused or failed; only what was answered is among the times.
//! Rates are those of what ended within the time that counts, whenever it was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::mix::Operation;

/// Three digits of each time are kept.
const DIGITS: u8 = 3;
/// Ten days in microseconds; what took longer is counted as that.
const LONGEST: u64 = 864_000_000_000;

/// Times in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let mut histogram = Histogram::new(DIGITS).expect("three digits are allowed");
        // It takes the memory that the longest time so far needs.
        histogram.auto(true);
        Self(histogram)
    }
}

impl Times {
    pub(super) fn record(&mut self, time: Duration) {
        let micros = (time.as_nanos() + 500) / 1_000;
        let micros = u64::try_from(micros).map_or(LONGEST, |micros| micros.min(LONGEST));
        self.0.record(micros).expect("a histogram that grows");
    }

    pub(super) fn add(&mut self, other: &Self) {
        // It grows by itself, so that all times of the other one have their place.
        self.0.add(&other.0).expect("a histogram that grows");
    }

    pub(super) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// Too much load, as the service said: it was not tried.
    Refused,
    /// By what, in a few words that are the same each time; and what else was said.
    Failed(String, String),
}

/// Calls that failed in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) count: u64,
    /// What was said of one of them.
    pub(super) first: String,
}

/// What is counted of a call that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// It was sent when calls were counted already.
    pub(super) call: bool,
    /// It ended within the time that rates are of.
    pub(super) rate: bool,
}

/// The calls of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct OfKind {
    /// Answers within the time that rates are of.
    pub(super) answered_within: u64,
    /// The same of calls that ended in whatever way.
    pub(super) ended_within: u64,
    pub(super) times: Times,
    pub(super) refused: u64,
    pub(super) refused_times: Times,
    pub(super) failed: BTreeMap<String, Failure>,
}

impl OfKind {
    pub(super) fn record(&mut self, outcome: Outcome, time: Duration, counts: Counts) {
        if counts.rate {
            self.ended_within += 1;
            self.answered_within += u64::from(outcome == Outcome::Answered);
        }
        if !counts.call {
            return;
        }
        match outcome {
            Outcome::Answered => self.times.record(time),
            Outcome::Refused => {
                self.refused += 1;
                self.refused_times.record(time);
            }
            Outcome::Failed(error, said) => self.fail(error, 1, said),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.answered_within += other.answered_within;
        self.ended_within += other.ended_within;
        self.times.add(&other.times);
        self.refused += other.refused;
        self.refused_times.add(&other.refused_times);
        for (error, failure) in &other.failed {
            self.fail(error.clone(), failure.count, failure.first.clone());
        }
    }

    fn fail(&mut self, error: String, count: u64, said: String) {
        let failure = self.failed.entry(error).or_insert_with(|| Failure {
            count: 0,
            first: said,
        });
        failure.count += count;
    }

    pub(super) fn answered(&self) -> u64 {
        self.times.histogram().len()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failed.values().map(|failure| failure.count).sum()
    }

    pub(super) fn calls(&self) -> u64 {
        self.answered() + self.refused + self.failures()
    }
}

/// The calls of all kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    kinds: [OfKind; Operation::ALL.len()],
}

impl Tally {
    pub(super) fn of(&self, operation: Operation) -> &OfKind {
        &self.kinds[operation.place()]
    }

    pub(super) fn record(
        &mut self,
        operation: Operation,
        outcome: Outcome,
        time: Duration,
        counts: Counts,
    ) {
        self.kinds[operation.place()].record(outcome, time, counts);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.kinds.iter_mut().zip(&other.kinds) {
            own.add(other);
        }
    }

    /// All calls of whatever kind.
    pub(super) fn all(&self) -> OfKind {
        let mut all = OfKind::default();
        for kind in &self.kinds {
            all.add(kind);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts {
        call: true,
        rate: true,
    };

    #[test]
    fn rates_are_of_what_ended_in_time() {
        let mut kind = OfKind::default();
        let millis = Duration::from_millis;
        // Sent in the warm-up, and answered after it.
        let early = Counts {
            call: false,
            rate: true,
        };
        kind.record(Outcome::Answered, millis(5), early);
        // Sent in time, and answered after the end.
        let late = Counts {
            call: true,
            rate: false,
        };
        kind.record(Outcome::Answered, millis(9_000), late);
        kind.record(Outcome::Refused, millis(1), COUNTS);
        kind.record(Outcome::Answered, millis(1), COUNTS);
        assert_eq!((kind.answered_within, kind.ended_within), (2, 3));
        assert_eq!((kind.answered(), kind.calls()), (2, 3));
        assert!(kind.times.histogram().max() >= 9_000_000);
        let mut all = OfKind::default();
        all.add(&kind);
        all.add(&kind);
        assert_eq!((all.answered_within, all.ended_within), (4, 6));
    }

    #[test]
    fn a_call_is_counted_once() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        let millis = Duration::from_millis;
        let broken = || Outcome::Failed("broken".into(), "a pipe".into());
        one.record(Operation::Check, Outcome::Answered, millis(1), COUNTS);
        let hour = millis(3_600_000);
        other.record(Operation::Check, Outcome::Answered, hour, COUNTS);
        other.record(Operation::Check, Outcome::Refused, millis(2), COUNTS);
        other.record(Operation::Count, broken(), millis(9), COUNTS);
        one.record(Operation::Count, broken(), millis(9), COUNTS);
        one.add(&other);
        let checks = one.of(Operation::Check);
        assert_eq!(
            (checks.calls(), checks.answered(), checks.refused),
            (3, 2, 1)
        );
        assert_eq!(checks.times.histogram().min(), 1_000);
        let longest = checks.times.histogram().max();
        assert!(longest.abs_diff(3_600_000_000) < 3_600_000, "{longest}");
        assert_eq!(one.of(Operation::Count).failed["broken"].count, 2);
        assert_eq!(one.all().calls(), 5);
        assert_eq!(one.all().failures(), 2);
    }
}
