//! How long the writes that wait take, and which are refused so that the others don't.
//!
//! Invariant: where writes wait all the time, one more is let in only if all that wait will be done
//! in about the time that one takes on an idle machine; a burst waits for its turn. Batches of streams
//! are not counted: who sends them waits for the answers, and sends no more meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::line::{Crowded, Temper, mean};

/// A wait that is short enough for every write.
const SHORT: Duration = Duration::from_millis(10);
/// So many bytes are never worth a refusal: some hundred small writes.
const FREE_BYTES: usize = 64 << 10;
/// How much longer than a write takes one may wait where there is always one that waits.
const SLACK: f64 = 1.25;
/// What the newest batch weighs in the means.
const WEIGHT: f64 = 0.2;

/// The single writes that wait to be carried out.
#[derive(Debug)]
pub(super) struct Backlog {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    writes: usize,
    bytes: usize,
    /// How long a batch of one write takes, in seconds.
    alone: f64,
    /// How long a batch takes, in seconds, and how many bytes it has.
    batch: f64,
    batch_bytes: f64,
    temper: Temper,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "means are approximate, and there are few bytes"
)]
impl State {
    /// The seconds until so many bytes are written.
    fn wait(&self, bytes: usize) -> f64 {
        if self.batch_bytes > 0.0 {
            bytes as f64 * self.batch / self.batch_bytes
        } else {
            0.0
        }
    }

    fn enter(&mut self, bytes: usize, now: Duration) -> Result<(), Crowded> {
        let all = self.bytes.saturating_add(bytes);
        let standing = SHORT.as_secs_f64().max(self.alone * SLACK);
        // One waits while another is carried out, so that the thread is never without work.
        if self.writes < 2 || all <= FREE_BYTES || self.wait(all) <= standing {
            self.temper.calm();
        } else if self.temper.strained(now) {
            return Err(Crowded::in_seconds(self.wait(self.bytes)));
        }
        self.writes += 1;
        self.bytes = all;
        Ok(())
    }

    fn leave(&mut self, bytes: usize) {
        self.writes -= 1;
        self.bytes -= bytes;
    }

    /// Learns from a batch that was carried out.
    fn learn(&mut self, writes: usize, bytes: usize, took: Duration) {
        let took = took.as_secs_f64();
        if writes == 1 {
            mean(&mut self.alone, took, WEIGHT);
        }
        mean(&mut self.batch, took, WEIGHT);
        mean(&mut self.batch_bytes, bytes as f64, WEIGHT);
    }
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
        }
    }
}

impl Backlog {
    /// Counts a write among those that wait, unless that would be too long.
    pub(super) fn enter(&self, bytes: usize) -> Result<(), Crowded> {
        self.state().enter(bytes, self.began.elapsed())
    }

    /// Gives back what a write took that was counted.
    pub(super) fn leave(&self, bytes: usize) {
        self.state().leave(bytes);
    }

    pub(super) fn learn(&self, writes: usize, bytes: usize, took: Duration) {
        self.state().learn(writes, bytes, took);
    }

    /// The refusal of a write that found no room at all.
    pub(super) fn crowded(&self) -> Crowded {
        let state = self.state();
        Crowded::in_seconds(state.wait(state.bytes))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Writes of some size that come at some rate for some time, and a thread that takes all that
    /// wait at once. Returns how long those took that came after the first second, and how many
    /// were refused.
    fn play(
        bytes: usize,
        interval: Duration,
        sync: Duration,
        each: Duration,
    ) -> (Vec<Duration>, u32) {
        let mut state = State::default();
        let (mut now, mut arrival) = (Duration::ZERO, Duration::ZERO);
        let mut waiting: Vec<Duration> = Vec::new();
        let (mut took, mut refused) = (Vec::new(), 0);
        while now < Duration::from_secs(6) {
            let batch = std::mem::take(&mut waiting);
            let count = u32::try_from(batch.len()).unwrap();
            let end = if batch.is_empty() {
                arrival
            } else {
                now + sync + each * count
            };
            while arrival <= end {
                match state.enter(bytes, arrival) {
                    Ok(()) => waiting.push(arrival),
                    Err(_) => refused += 1,
                }
                arrival += interval;
            }
            if !batch.is_empty() {
                state.learn(batch.len(), bytes * batch.len(), end.saturating_sub(now));
            }
            for entered in batch {
                state.leave(bytes);
                if entered > Duration::from_secs(1) {
                    took.push(end.saturating_sub(entered));
                }
            }
            now = end;
        }
        (took, refused)
    }

    #[test]
    fn a_load_that_can_be_borne_is_borne_whole() {
        for (bytes, each) in [(100_000, 5 * MILLISECOND), (200, MILLISECOND / 50)] {
            let (took, refused) = play(bytes, each * 2, MILLISECOND, each);
            assert_eq!(refused, 0);
            assert!(took.iter().all(|took| *took <= 5 * (each + MILLISECOND)));
        }
    }

    #[test]
    fn under_five_times_the_capacity_what_is_taken_is_fast_and_no_time_is_lost() {
        for each in [5 * MILLISECOND, 50 * MILLISECOND] {
            let (took, refused) = play(100_000, each / 5, MILLISECOND / 2, each);
            let longest = took.iter().max().unwrap();
            assert!(*longest <= 3 * each, "{longest:?}");
            let done = each * u32::try_from(took.len()).unwrap();
            assert!(done >= Duration::from_millis(4_500), "{done:?}");
            assert!(refused as usize > 3 * took.len());
        }
    }

    #[test]
    fn small_writes_wait_together_and_a_burst_is_taken_whole() {
        let mut state = State::default();
        state.learn(1, 100, MILLISECOND);
        for second in 0..10 {
            // 25 MiB at once, and each second again.
            for _ in 0..256 {
                state.enter(100_000, Duration::from_secs(second)).unwrap();
            }
            for _ in 0..256 {
                state.leave(100_000);
            }
        }
        for millis in 0..2_000 {
            state.enter(100, millis * MILLISECOND).unwrap();
            if state.writes > 600 {
                state.leave(100);
            }
        }
    }
}
