//! How long the queries that wait take, and who is refused so that the others don't.
//!
//! Invariant: a burst is taken whole and waits its turn; but where queries wait all the time, one is
//! let in only if it will wait about as long as a query takes, and the others are refused when they
//! come. So what is answered under any load takes about twice as long as on an idle machine, and the
//! threads are never without work. The idea is that of `CoDel` (Nichols, Jacobson 2012): a queue that
//! does not drain for a while serves nobody, however long it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A wait that is short enough for every query, however short it is itself.
const SHORT: Duration = Duration::from_millis(5);
/// How long queries may find a line that is too long before those that come are refused.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long after the last query that came to a line that was too long it is taken for a line again
/// in which a burst can wait.
const RECOVERY: Duration = Duration::from_secs(1);
/// A burst of so many is taken however long it takes.
const BURST: usize = 128;
/// So is one that takes no longer than this.
const BURST_WAIT: Duration = Duration::from_millis(100);
/// How much longer than a query takes one may wait where there is always somebody who waits.
const SLACK: f64 = 1.25;
/// What the newest query weighs in the means.
const WEIGHT: f64 = 0.1;
/// How soon to try again, at least and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Something was refused, since too much was there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits already; try again after a moment")]
pub struct Crowded {
    /// When those that wait now will be done, about.
    pub retry_after: Duration,
}

impl Crowded {
    /// So many seconds from now, within what is worth saying.
    pub(super) fn in_seconds(seconds: f64) -> Self {
        let (least, most) = RETRY;
        Self {
            retry_after: Duration::try_from_secs_f64(seconds)
                .unwrap_or(most)
                .clamp(least, most),
        }
    }
}

/// The queries that wait for a thread or run on one.
#[derive(Debug)]
pub(super) struct Line {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    threads: usize,
    /// How many wait or run.
    present: usize,
    /// How long a query is at work, in seconds.
    at_work: f64,
    /// How much time is between two that end while others wait, in seconds: what each adds to the
    /// wait of those behind it, on however many threads it runs.
    between: f64,
    last_end: Duration,
    temper: Temper,
}

/// Whether there is a burst, which passes, or more to do than can be done.
#[derive(Debug, Default)]
pub(super) struct Temper {
    /// Since when all who came found the line too long.
    long_since: Option<Duration>,
    /// Until when the line is not let grow.
    short_until: Duration,
}

impl Temper {
    /// Notes that somebody came to a line that is short enough.
    pub(super) fn calm(&mut self) {
        self.long_since = None;
    }

    /// Notes that somebody came to a line that is too long; returns whether it must not grow.
    pub(super) fn strained(&mut self, now: Duration) -> bool {
        let since = *self.long_since.get_or_insert(now);
        if now.saturating_sub(since) >= PATIENCE || self.is_strained(now) {
            self.short_until = now + RECOVERY;
        }
        self.is_strained(now)
    }

    fn is_strained(&self, now: Duration) -> bool {
        now < self.short_until
    }
}

/// Moves a mean towards a new number, which is the first one if it is 0.
pub(super) fn mean(mean: &mut f64, new: f64, weight: f64) {
    *mean = if *mean == 0.0 {
        new
    } else {
        *mean + weight * (new - *mean)
    };
}

impl State {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            present: 0,
            at_work: 0.0,
            between: 0.0,
            last_end: Duration::ZERO,
            temper: Temper::default(),
        }
    }

    /// The seconds until all who are present are done.
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    fn wait(&self) -> f64 {
        self.present as f64 * self.between
    }

    /// The longest wait, in seconds, where somebody always waits.
    fn standing(&self) -> f64 {
        SHORT.as_secs_f64().max(self.at_work * SLACK)
    }

    /// Lets a query in, or refuses it.
    fn enter(&mut self, now: Duration) -> Result<(), Crowded> {
        let wait = self.wait();
        if self.present < self.threads || wait <= self.standing() {
            self.temper.calm();
        } else {
            let is_burst = self.present < BURST || wait <= BURST_WAIT.as_secs_f64();
            if self.temper.strained(now) || !is_burst {
                return Err(self.crowded());
            }
        }
        self.present += 1;
        Ok(())
    }

    /// Says whether the turn of a query came in time. If it did not, it is not worth its work any
    /// more where others are refused.
    fn begin(&self, entered: Duration, now: Duration) -> Result<(), Crowded> {
        let waited = now.saturating_sub(entered).as_secs_f64();
        if self.temper.is_strained(now) && waited > 2.0 * self.standing() {
            Err(self.crowded())
        } else {
            Ok(())
        }
    }

    /// Learns from a query that was done.
    #[expect(clippy::cast_precision_loss, reason = "there are few threads")]
    fn end(&mut self, began: Duration, now: Duration) {
        let at_work = now.saturating_sub(began);
        let between = now.saturating_sub(began.max(self.last_end));
        mean(&mut self.at_work, at_work.as_secs_f64(), WEIGHT);
        // Those that began together end together, so that only many say how many end in a while.
        let weight = WEIGHT / self.threads as f64;
        mean(&mut self.between, between.as_secs_f64(), weight);
        self.last_end = now;
    }

    fn crowded(&self) -> Crowded {
        Crowded::in_seconds(self.wait())
    }
}

impl Line {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::new(State::new(threads)),
        }
    }

    /// Takes a place for a query that can be asked again later.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Turn, Crowded> {
        let now = self.now();
        self.state().enter(now)?;
        Ok(self.turn(now, true))
    }

    /// Takes a place for work that was begun already, and is not refused.
    pub(super) fn join(self: &Arc<Self>) -> Turn {
        self.state().present += 1;
        self.turn(self.now(), false)
    }

    fn turn(self: &Arc<Self>, entered: Duration, can_be_refused: bool) -> Turn {
        Turn {
            line: Arc::clone(self),
            entered,
            began: None,
            can_be_refused,
        }
    }

    /// How many queries wait or run.
    pub(super) fn present(&self) -> usize {
        self.state().present
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a query in the line, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    line: Arc<Line>,
    entered: Duration,
    began: Option<Duration>,
    can_be_refused: bool,
}

impl Turn {
    /// To be called when the query has a thread, before it is worked on.
    ///
    /// # Errors
    /// [`Crowded`] if it waited for too long, so that it is better asked again.
    pub fn begin(&mut self) -> Result<(), Crowded> {
        let now = self.line.now();
        if self.can_be_refused {
            self.line.state().begin(self.entered, now)?;
        }
        self.began = Some(now);
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = self.line.now();
        let mut state = self.line.state();
        state.present -= 1;
        if let Some(began) = self.began {
            state.end(began, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// What became of queries that come at some rate to threads that take each one for as long.
    struct Played {
        /// How long those waited and ran that were answered.
        took: Vec<Duration>,
        refused: usize,
        /// Those that were refused after they had waited.
        dropped: usize,
        /// When the last one was done.
        end: Duration,
    }

    /// Plays queries that come at the given moments and take the same time each.
    fn play(state: &mut State, arrivals: &[Duration], each: Duration) -> Played {
        let mut waiting = std::collections::VecDeque::new();
        let mut running: Vec<(Duration, Duration, Duration)> = Vec::new();
        let mut arrivals = arrivals.iter().copied().peekable();
        let mut played = Played {
            took: Vec::new(),
            refused: 0,
            dropped: 0,
            end: Duration::ZERO,
        };
        loop {
            let next_end = running.iter().map(|&(_, _, end)| end).min();
            let now = match (arrivals.peek().copied(), next_end) {
                (None, None) => return played,
                (Some(arrival), Some(end)) if arrival < end => arrival,
                (Some(arrival), None) => arrival,
                (_, Some(end)) => end,
            };
            if next_end == Some(now) {
                let place = running.iter().position(|&(_, _, end)| end == now);
                let (entered, began, _) = running.remove(place.unwrap());
                state.present -= 1;
                state.end(began, now);
                played.took.push(now.saturating_sub(entered));
                played.end = now;
            } else {
                arrivals.next();
                match state.enter(now) {
                    Ok(()) => waiting.push_back(now),
                    Err(_) => played.refused += 1,
                }
            }
            while running.len() < state.threads
                && let Some(entered) = waiting.pop_front()
            {
                if state.begin(entered, now).is_ok() {
                    running.push((entered, now, now + each));
                } else {
                    state.present -= 1;
                    played.dropped += 1;
                }
            }
        }
    }

    fn every(interval: Duration, from: Duration, count: u32) -> Vec<Duration> {
        (0..count).map(|n| from + interval * n).collect()
    }

    /// What took longest among all but the longest hundredth.
    fn p99(mut took: Vec<Duration>) -> Duration {
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    #[test]
    fn a_load_that_can_be_borne_is_borne_whole() {
        for threads in [1, 2, 16] {
            let mut state = State::new(threads as usize);
            let interval = Duration::from_millis(12) / threads;
            let arrivals = every(interval, Duration::ZERO, 1_000 * threads);
            let played = play(&mut state, &arrivals, Duration::from_millis(10));
            assert_eq!((played.refused, played.dropped), (0, 0));
            assert_eq!(state.present, 0);
        }
    }

    #[test]
    fn under_five_times_the_capacity_what_is_answered_is_fast_and_no_time_is_lost() {
        for threads in [1_u32, 2, 16] {
            for millis in [4, 20, 200] {
                let each = millis * MILLISECOND;
                let mut state = State::new(threads as usize);
                let interval = each / (5 * threads);
                let warm = Duration::from_secs(10);
                let count = u32::try_from(warm.as_micros() / interval.as_micros()).unwrap();
                play(&mut state, &every(interval, Duration::ZERO, count), each);
                let began = warm + each;
                let played = play(
                    &mut state,
                    &every(interval, began, 5 * 20 * threads * 5),
                    each,
                );
                let longest = p99(played.took.clone());
                assert!(
                    longest <= each * 5 / 2 || longest <= each + 2 * SHORT,
                    "{threads} threads, {each:?}: {longest:?}"
                );
                let busy = each * u32::try_from(played.took.len()).unwrap() / threads;
                let span = played.end.saturating_sub(began);
                assert!(
                    busy.as_secs_f64() >= 0.9 * span.as_secs_f64(),
                    "{threads} threads, {each:?}: {busy:?} of {span:?}"
                );
                assert!(played.refused > 3 * played.took.len());
                assert_eq!(played.dropped, 0);
            }
        }
    }

    #[test]
    fn a_burst_is_taken_whole_again_and_again() {
        let mut state = State::new(2);
        for round in 0..20 {
            let began = round * Duration::from_millis(500);
            let arrivals = vec![began; 64];
            let played = play(&mut state, &arrivals, 5 * MILLISECOND);
            assert_eq!((played.refused, played.dropped), (0, 0), "round {round}");
            assert_eq!(played.took.len(), 64);
        }
    }

    #[test]
    fn a_line_that_never_drains_is_cut_and_recovers() {
        let each = 20 * MILLISECOND;
        let mut state = State::new(2);
        let overload = every(2 * MILLISECOND, Duration::ZERO, 1_000);
        let played = play(&mut state, &overload, each);
        assert!(played.refused > 500);
        // Those that came first waited for long, and what would have waited longer was dropped.
        assert!(played.dropped > 0);
        let longest = played.took.iter().max().unwrap();
        assert!(*longest < Duration::from_millis(400), "{longest:?}");
        let crowded = state.crowded();
        assert!(crowded.retry_after >= RETRY.0 && crowded.retry_after <= RETRY.1);
        // Right after that, a burst is refused but for a few; a second later it is taken.
        let played = play(&mut state, &vec![Duration::from_millis(2_050); 64], each);
        assert!(played.refused > 50);
        let played = play(&mut state, &vec![Duration::from_millis(3_500); 64], each);
        assert_eq!((played.refused, played.dropped), (0, 0));
    }

    #[test]
    fn the_delay_tells_how_long_the_line_is() {
        let mut state = State::new(1);
        play(&mut state, &[Duration::ZERO], 50 * MILLISECOND);
        let after = |state: &State| state.crowded().retry_after;
        assert_eq!(after(&state), RETRY.0);
        state.present = 4;
        assert_eq!(after(&state), Duration::from_millis(200));
        state.present = 1_000;
        assert_eq!(after(&state), RETRY.1);
    }

    #[test]
    fn who_leaves_without_a_turn_gives_the_place_back() {
        let line = Arc::new(Line::new(1));
        let first = line.enter().unwrap();
        let mut second = line.join();
        assert_eq!(line.present(), 2);
        second.begin().unwrap();
        drop(second);
        drop(first);
        assert_eq!(line.present(), 0);
    }
}
