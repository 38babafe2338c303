//! How long the writes that wait take, and which are refused so that the others don't.
//!
//! Invariant: while the commit thread can carry out what comes, it is taken, in batches as large as
//! they become; where more comes than that, one more is let in only if all that wait will be done in
//! about the time that one takes on an idle machine, or a few syncs. What a batch takes however small
//! it is, which is the sync, is never counted for its bytes: refusing would make batches smaller, a
//! byte dearer, and the next refusal likelier, without end. Batches of streams are not counted: who
//! sends them waits for the answers, and sends no more meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::line::{Crowded, Temper, mean};

/// A wait that is short enough for every write.
const SHORT: Duration = Duration::from_millis(10);
/// So many bytes are never worth a refusal: some hundred small writes.
const FREE_BYTES: usize = 64 << 10;
/// The part of its time that the thread may be asked for, syncs not counted, before any write is
/// refused: as what is left becomes smaller, batches become larger, and all wait longer.
const FULL: f64 = 0.85;
/// How many times as long as a write takes one may wait at least, where more comes than can be done,
/// and how much more where that is just so: as in the line of queries.
const SLACK: (f64, f64) = (1.0, 2.0);
/// So many syncs more one may wait, so that a batch has so much in it that the sync is a small part.
const SYNCS: f64 = 4.0;
/// For how long it is counted what comes, at least; and how many times as long as a write takes.
const COUNTED: (f64, f64) = (1.0, 20.0);
/// So many times as large as one write is a batch that tells what bytes take, apart from the sync.
const TELLING: f64 = 1.5;
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
    /// How long a batch of one write takes, in seconds, and how many bytes it has.
    alone: f64,
    alone_bytes: f64,
    /// How long a batch takes, in seconds, and how many bytes it has.
    batch: f64,
    batch_bytes: f64,
    /// The bytes of all that came, what is past counting less and less, up to a moment.
    came: f64,
    at: Duration,
    temper: Temper,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "means are approximate, and there are few bytes"
)]
impl State {
    /// The seconds that each byte adds to a batch.
    fn per_byte(&self) -> f64 {
        if self.batch_bytes <= 0.0 {
            return 0.0;
        }
        let whole = self.batch / self.batch_bytes;
        if self.alone_bytes > 0.0 && self.batch_bytes > TELLING * self.alone_bytes {
            let more = (self.batch - self.alone) / (self.batch_bytes - self.alone_bytes);
            whole.min(more.max(0.0))
        } else {
            whole
        }
    }

    /// The seconds that a batch takes however small it is.
    fn sync(&self) -> f64 {
        (self.alone - self.per_byte() * self.alone_bytes).max(0.0)
    }

    /// Counts what comes; returns the part of its time that the thread is asked for.
    fn came(&mut self, bytes: usize, now: Duration) -> f64 {
        let (least, times) = COUNTED;
        let counted = least.max(times * self.alone);
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.came = self.came * (-passed / counted).exp() + bytes as f64;
        self.at = now;
        self.came / counted * self.per_byte()
    }

    /// The longest time, in seconds, that the bytes of all that wait may take, where more comes than
    /// can be done: so many times as much as that.
    fn standing(&self, load: f64) -> f64 {
        let (least, more) = SLACK;
        let slack = least + more / load.max(1.0).powi(3);
        SHORT.as_secs_f64().max(self.alone * slack) + SYNCS * self.sync()
    }

    fn enter(&mut self, bytes: usize, now: Duration) -> Result<(), Crowded> {
        let all = self.bytes.saturating_add(bytes);
        let load = self.came(bytes, now);
        if load <= FULL {
            self.temper.relax();
        } else if self.writes < 2
            || all <= FREE_BYTES
            || all as f64 * self.per_byte() <= self.standing(load)
        {
            // One waits while another is carried out, so that the thread is never without work.
            self.temper.calm();
        } else if self.temper.strained(now) {
            return Err(self.crowded());
        }
        self.writes += 1;
        self.bytes = all;
        Ok(())
    }

    /// A batch is under way, and what waits is done with the next one.
    fn crowded(&self) -> Crowded {
        Crowded::in_seconds(self.bytes as f64 * self.per_byte() + 2.0 * self.sync())
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
            mean(&mut self.alone_bytes, bytes as f64, WEIGHT);
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
        self.state().crowded()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "there are few"
)]
mod tests {
    use super::super::line::Random;
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Writes of some size that come at some moments.
    struct Writes {
        bytes: usize,
        /// How long each takes, but for the sync.
        each: Duration,
        /// How many a second.
        rate: f64,
        /// Whether they come at random, from a fixed seed.
        at_random: bool,
    }

    /// What became of those that came after the first second.
    struct Played {
        took: Vec<Duration>,
        refused: usize,
        /// How many were refused in each second.
        refused_in: Vec<usize>,
    }

    impl Played {
        fn p99(&self) -> Duration {
            let mut took = self.took.clone();
            took.sort_unstable();
            took[took.len() * 99 / 100]
        }

        /// How much of what came was taken.
        fn taken(&self) -> f64 {
            let taken = self.took.len();
            taken as f64 / (taken + self.refused) as f64
        }
    }

    impl Writes {
        /// Plays them for some seconds, and a thread that takes all that wait at once. A sync takes
        /// as long as is said for its moment.
        fn play(&self, seconds: u64, sync: impl Fn(Duration) -> Duration) -> Played {
            let mut state = State::default();
            for _ in 0..30 {
                state.learn(1, self.bytes, sync(Duration::ZERO) + self.each);
            }
            let mut random = Random::new(5);
            let (mut now, mut arrival) = (Duration::ZERO, Duration::ZERO);
            let mut waiting: Vec<Duration> = Vec::new();
            let mut played = Played {
                took: Vec::new(),
                refused: 0,
                refused_in: vec![0; usize::try_from(seconds).unwrap() + 1],
            };
            while now < Duration::from_secs(seconds) {
                let batch = std::mem::take(&mut waiting);
                let count = u32::try_from(batch.len()).unwrap();
                let end = if batch.is_empty() {
                    arrival
                } else {
                    now + sync(now) + self.each * count
                };
                while arrival <= end {
                    let second = usize::try_from(arrival.as_secs()).unwrap();
                    match state.enter(self.bytes, arrival) {
                        Ok(()) => waiting.push(arrival),
                        Err(_) if second >= 1 => {
                            played.refused += 1;
                            played.refused_in[second.min(seconds as usize)] += 1;
                        }
                        Err(_) => {}
                    }
                    arrival += if self.at_random {
                        random.gap(self.rate)
                    } else {
                        Duration::from_secs_f64(1.0 / self.rate)
                    };
                }
                if !batch.is_empty() {
                    state.learn(
                        batch.len(),
                        self.bytes * batch.len(),
                        end.saturating_sub(now),
                    );
                }
                for entered in batch {
                    state.leave(self.bytes);
                    if entered > Duration::from_secs(1) {
                        played.took.push(end.saturating_sub(entered));
                    }
                }
                now = end;
            }
            played
        }
    }

    /// Writes that take so long each, and ask for so many times what the thread could do if syncs
    /// took no time.
    fn writes(bytes: usize, each: Duration, load: f64) -> Writes {
        Writes {
            bytes,
            each,
            rate: load / each.as_secs_f64(),
            at_random: true,
        }
    }

    #[test]
    fn a_load_that_can_be_borne_is_borne_whole_however_long_a_sync_takes() {
        for at_random in [false, true] {
            for sync in [
                MILLISECOND / 2,
                5 * MILLISECOND,
                10 * MILLISECOND,
                20 * MILLISECOND,
            ] {
                for (bytes, each, load) in [
                    (100_000, 5 * MILLISECOND, 0.5),
                    (30_000, MILLISECOND / 5, 0.2),
                    (30_000, MILLISECOND / 5, 0.75),
                    (100_000, MILLISECOND, 0.6),
                    (2_000, MILLISECOND / 50, 0.1),
                ] {
                    let writes = Writes {
                        at_random,
                        ..writes(bytes, each, load)
                    };
                    let played = writes.play(10, |_| sync);
                    assert_eq!(played.refused, 0, "{bytes} bytes, {load}, {sync:?}");
                    let least = 9.0 * writes.rate * 0.8;
                    assert!(played.took.len() as f64 >= least, "{bytes} bytes, {sync:?}");
                    let most = (each + sync).mul_f64(3.0 / (1.0 - load)).max(20 * each);
                    assert!(played.p99() <= most, "{:?} of {most:?}", played.p99());
                }
            }
        }
    }

    #[test]
    fn under_five_times_the_capacity_what_is_taken_is_fast_and_little_time_is_lost() {
        for each in [MILLISECOND, 5 * MILLISECOND, 50 * MILLISECOND] {
            for sync in [MILLISECOND / 2, 10 * MILLISECOND, 20 * MILLISECOND] {
                let played = writes(100_000, each, 5.0).play(6, |_| sync);
                let longest = played.p99();
                let most = (3 * each + 8 * sync).max(15 * MILLISECOND);
                assert!(longest <= most, "{each:?}, {sync:?}: {longest:?}");
                // Of what could be done if syncs took no time.
                let done = played.taken() * 5.0;
                assert!(done >= 0.6, "{each:?}, {sync:?}: {done}");
                assert!(played.refused > 3 * played.took.len());
            }
        }
    }

    #[test]
    fn slow_syncs_for_a_while_cost_little_and_are_over_with_the_next_ones() {
        for usual in [3, 7, 10] {
            for at_random in [false, true] {
                let writes = Writes {
                    at_random,
                    ..writes(30_000, MILLISECOND / 5, 0.2)
                };
                let played = writes.play(12, |now| {
                    let is_slow = (3..5).contains(&now.as_secs());
                    (if is_slow { 20 } else { usual }) * MILLISECOND
                });
                assert!(played.refused < 600, "{:?}", played.refused_in);
                assert_eq!(played.refused_in[6..].iter().sum::<usize>(), 0);
            }
        }
    }

    #[test]
    fn after_an_overload_all_is_taken_again() {
        let mut state = State::default();
        for _ in 0..30 {
            state.learn(1, 100_000, 5 * MILLISECOND);
        }
        let mut refused = 0;
        let mut now = Duration::ZERO;
        for _ in 0..2_000 {
            now += MILLISECOND;
            refused += usize::from(state.enter(100_000, now).is_err());
            if now.as_millis().is_multiple_of(5) && state.writes > 0 {
                state.leave(100_000);
            }
        }
        assert!(refused > 1_000);
        let delay = state.crowded().retry_after;
        assert!(delay >= 10 * MILLISECOND && delay <= Duration::from_secs(1));
        while state.writes > 0 {
            state.leave(100_000);
        }
        now += Duration::from_secs(2);
        for _ in 0..100 {
            state.enter(100_000, now).unwrap();
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
