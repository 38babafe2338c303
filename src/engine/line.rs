//! How long the queries that wait take, and who is refused so that the others don't.
//!
//! Invariant: a burst is taken whole and waits its turn, and so is everything while the threads can do
//! what comes; but where more comes than they can do, one is let in only if it will wait about as long
//! as a query takes, and the others are refused when they come. So what is answered under a load that
//! is far too much takes about twice as long as on an idle machine, and the threads are never without
//! work. The idea is that of `CoDel` (Nichols, Jacobson 2012): a queue that does not drain for a while
//! serves nobody, however long it is. Beside it stands what comes and what is done: queries that come
//! at random make long lines now and then also where there is little to do, and those drain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A wait that is short enough for every query, however short it is itself.
const SHORT: Duration = Duration::from_millis(5);
/// How long those who come may find a line that is too long before they are refused.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long after the last one that came to a line that was too long it is taken for a line again in
/// which a burst can wait.
const RECOVERY: Duration = Duration::from_secs(1);
/// A burst of so many is taken however long it takes.
const BURST: usize = 128;
/// So is one that takes no longer than this.
const BURST_WAIT: Duration = Duration::from_millis(100);
/// How many times as long as a query takes one may wait at least, where more comes than can be done.
const LEAST_SLACK: f64 = 1.0;
/// How much more that is where as much comes as can be done, so that a thread has work also when
/// nobody came for a while. With more that comes it is soon much less, since then somebody does come.
const MORE_SLACK: f64 = 2.0;
/// What the newest query weighs in the means.
const WEIGHT: f64 = 0.1;
/// For how long it is counted what comes and what is done, at least; and how many times as long as a
/// query takes.
const COUNTED: (f64, f64) = (2.0, 20.0);
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
    /// How many of them are steps of work that was begun already.
    steps: usize,
    /// How long a query is at work, in seconds.
    at_work: f64,
    /// How much time is between two queries that end while others wait, in seconds: what each adds to
    /// the wait of those behind it, on however many threads it runs.
    between: f64,
    last_end: Duration,
    /// When a thread last began or ended something.
    last_turn: Duration,
    load: Load,
    temper: Temper,
}

/// How much comes and how much is done, what is past counting less and less.
#[derive(Debug, Default)]
struct Load {
    at: Duration,
    /// The part of the time in which a thread had work.
    busy: f64,
    came: f64,
    done: f64,
}

impl Load {
    /// Goes on to a moment until which a part of the threads had work.
    fn pass(&mut self, now: Duration, at_work: f64, busy: f64) {
        let (least, times) = COUNTED;
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let kept = (-passed / least.max(times * at_work)).exp();
        self.busy = self.busy * kept + (1.0 - kept) * busy;
        self.came *= kept;
        self.done *= kept;
        self.at = now;
    }

    /// How many times as much comes as can be done: of the time in which threads have work, what
    /// they do takes all, and what comes would take as much more as it is more.
    fn times(&self) -> f64 {
        self.busy * self.came / self.done.max(0.5)
    }
}

/// Whether there is a burst, which passes, or more to do than can be done.
#[derive(Debug, Default)]
pub(super) struct Temper {
    /// Since when all who came found the line too long, while there was too much to do.
    long_since: Option<Duration>,
    /// Until when the line is not let grow.
    short_until: Duration,
}

impl Temper {
    /// Notes that somebody came to a line that is short enough.
    pub(super) fn calm(&mut self) {
        self.long_since = None;
    }

    /// Lets the line grow again at once.
    pub(super) fn relax(&mut self) {
        *self = Self::default();
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
            steps: 0,
            at_work: 0.0,
            between: 0.0,
            last_end: Duration::ZERO,
            last_turn: Duration::ZERO,
            load: Load::default(),
            temper: Temper::default(),
        }
    }

    /// The seconds until so many queries are done.
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    fn wait(&self, queries: usize) -> f64 {
        queries as f64 * self.between
    }

    /// The seconds until a thread is free for who comes now, as one behind those who wait.
    fn wait_for_thread(&self) -> f64 {
        self.wait((self.present + 1).saturating_sub(self.threads))
    }

    /// The longest wait, in seconds, where more comes than can be done.
    fn standing(&self) -> f64 {
        let slack = LEAST_SLACK + MORE_SLACK / self.load.times().max(1.0).powi(3);
        SHORT.as_secs_f64().max(self.at_work * slack)
    }

    #[expect(clippy::cast_precision_loss, reason = "there are few threads")]
    fn pass(&mut self, now: Duration) {
        let busy = self.present.min(self.threads) as f64 / self.threads as f64;
        self.load.pass(now, self.at_work, busy);
    }

    /// Lets a query in, or refuses it.
    fn enter(&mut self, now: Duration) -> Result<(), Crowded> {
        self.pass(now);
        self.load.came += 1.0;
        let is_too_much = self.load.times() > 1.0;
        if !is_too_much {
            self.temper.relax();
        }
        let wait = self.wait_for_thread();
        // One waits for each that may end next, so that the threads are never without work.
        if self.present <= self.threads || wait <= self.standing() {
            self.temper.calm();
        } else {
            let is_burst = self.present < BURST || wait <= BURST_WAIT.as_secs_f64();
            if (is_too_much && self.temper.strained(now)) || !is_burst {
                return Err(self.crowded(now));
            }
        }
        self.present += 1;
        Ok(())
    }

    /// Takes a place for a step.
    fn join(&mut self, now: Duration) {
        self.pass(now);
        self.present += 1;
        self.steps += 1;
    }

    /// Says whether the turn of a query came in time. If it did not, it is not worth its work any
    /// more where others are refused. That is so only after a wait which is long for any query: a
    /// short one behind some long ones still is worth as much as they.
    fn begin(&mut self, entered: Duration, now: Duration) -> Result<(), Crowded> {
        let waited = now.saturating_sub(entered).as_secs_f64();
        let longest = BURST_WAIT.as_secs_f64().max(2.0 * self.standing());
        if self.temper.is_strained(now) && waited > longest {
            Err(self.crowded(now))
        } else {
            self.last_turn = now;
            Ok(())
        }
    }

    /// Gives the place of a query back, and learns from it if it was done.
    fn leave(&mut self, began: Option<Duration>, now: Duration) {
        self.pass(now);
        if let Some(began) = began {
            self.learn(began, now);
        }
        self.present -= 1;
    }

    /// Gives the place of a step back. It says nothing of how long a query takes, nor how many of
    /// them end.
    fn leave_step(&mut self, now: Duration) {
        self.pass(now);
        self.last_turn = now;
        self.present -= 1;
        self.steps -= 1;
    }

    /// Learns from a query that was done.
    #[expect(clippy::cast_precision_loss, reason = "there are few threads")]
    fn learn(&mut self, began: Duration, now: Duration) {
        let at_work = now.saturating_sub(began).as_secs_f64();
        mean(&mut self.at_work, at_work, WEIGHT);
        let threads = self.threads as f64;
        if self.between == 0.0 {
            self.between = at_work / threads;
        }
        // Where nobody waits, the time between two says how often somebody comes.
        if self.present > self.threads {
            let between = now.saturating_sub(began.max(self.last_end));
            // Those that began together end together, so that only many say how many end in a while.
            let weight = WEIGHT / (2.0 * threads);
            mean(&mut self.between, between.as_secs_f64(), weight);
        }
        self.load.done += 1.0;
        (self.last_end, self.last_turn) = (now, now);
    }

    /// The refusal of now. If no thread is free and for a while none became free, what runs is
    /// longer than most, and likely takes as long again.
    fn crowded(&self, now: Duration) -> Crowded {
        let queries = self.present.saturating_sub(self.steps);
        let silent = now.saturating_sub(self.last_turn).as_secs_f64();
        Crowded::in_seconds(self.wait(queries).max(silent))
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
        Ok(self.turn(now, false))
    }

    /// Takes a place for work that was begun already, and is not refused.
    pub(super) fn join(self: &Arc<Self>) -> Turn {
        let now = self.now();
        self.state().join(now);
        self.turn(now, true)
    }

    fn turn(self: &Arc<Self>, entered: Duration, is_step: bool) -> Turn {
        Turn {
            line: Arc::clone(self),
            entered,
            began: None,
            is_step,
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
    /// Whether it is part of what was begun already, which is not refused.
    is_step: bool,
}

impl Turn {
    /// To be called when the query has a thread, before it is worked on.
    ///
    /// # Errors
    /// [`Crowded`] if it waited for too long, so that it is better asked again.
    pub fn begin(&mut self) -> Result<(), Crowded> {
        let mut state = self.line.state();
        let now = self.line.now();
        if self.is_step {
            state.last_turn = now;
        } else {
            state.begin(self.entered, now)?;
        }
        self.began = Some(now);
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.line.state();
        let now = self.line.now();
        if self.is_step {
            state.leave_step(now);
        } else {
            state.leave(self.began, now);
        }
    }
}

/// Numbers that look random and are the same each time, for tests.
#[cfg(test)]
pub(super) struct Random(u64);

#[cfg(test)]
impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A time between two that come at random, so many a second.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(super) fn gap(&mut self, rate: f64) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let part = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - part).ln() / rate)
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "there are few")]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    /// What is played before that which is looked at.
    const WARM: Duration = Duration::from_secs(10);

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

    impl Played {
        /// How much of what came was not answered.
        fn lost(&self) -> f64 {
            let lost = self.refused + self.dropped;
            lost as f64 / (lost + self.took.len()) as f64
        }

        /// How much of the time the threads had work.
        fn busy(&self, threads: u32, each: Duration, began: Duration) -> f64 {
            let work = each.as_secs_f64() * self.took.len() as f64 / f64::from(threads);
            work / self.end.saturating_sub(began).as_secs_f64()
        }
    }

    /// Plays queries that come at the given moments and take the same time each.
    fn play(state: &mut State, arrivals: &[Duration], each: Duration) -> Played {
        let arrivals: Vec<_> = arrivals.iter().map(|&arrival| (arrival, each)).collect();
        play_mixed(state, &arrivals)
    }

    /// Plays queries that come at the given moments and take as long as is said.
    fn play_mixed(state: &mut State, arrivals: &[(Duration, Duration)]) -> Played {
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
            let next = arrivals.peek().map(|&(arrival, _)| arrival);
            let now = match (next, next_end) {
                (None, None) => return played,
                (Some(arrival), Some(end)) if arrival < end => arrival,
                (Some(arrival), None) => arrival,
                (_, Some(end)) => end,
            };
            if next_end == Some(now) {
                let place = running.iter().position(|&(_, _, end)| end == now);
                let (entered, began, _) = running.remove(place.unwrap());
                state.leave(Some(began), now);
                played.took.push(now.saturating_sub(entered));
                played.end = now;
            } else {
                let (_, each) = arrivals.next().unwrap();
                match state.enter(now) {
                    Ok(()) => waiting.push_back((now, each)),
                    Err(_) => played.refused += 1,
                }
            }
            while running.len() < state.threads
                && let Some((entered, each)) = waiting.pop_front()
            {
                if state.begin(entered, now).is_ok() {
                    running.push((entered, now, now + each));
                } else {
                    state.leave(None, now);
                    played.dropped += 1;
                }
            }
        }
    }

    fn every(interval: Duration, from: Duration, count: u32) -> Vec<Duration> {
        (0..count).map(|n| from + interval * n).collect()
    }

    /// Moments at random, so many a second, from a fixed seed.
    fn at_random(rate: f64, from: Duration, span: Duration, seed: u64) -> Vec<Duration> {
        let mut random = Random::new(seed);
        let mut now = from;
        let mut arrivals = Vec::new();
        loop {
            now += random.gap(rate);
            if now >= from + span {
                return arrivals;
            }
            arrivals.push(now);
        }
    }

    /// Plays queries that come at random, so many times as many as can be done, after some seconds
    /// of the same.
    fn play_at_random(threads: u32, each: Duration, times: f64) -> Played {
        let mut state = State::new(threads as usize);
        let rate = times * f64::from(threads) / each.as_secs_f64();
        let (warm, span) = (WARM, (each * 1_500).max(Duration::from_secs(30)));
        play(&mut state, &at_random(rate, Duration::ZERO, warm, 3), each);
        play(&mut state, &at_random(rate, warm, span, 4), each)
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
        assert!(*longest < Duration::from_millis(600), "{longest:?}");
        let crowded = state.crowded(played.end);
        assert!(crowded.retry_after >= RETRY.0 && crowded.retry_after <= RETRY.1);
        // Right after that, a burst is refused but for a few; a second later it is taken.
        let played = play(&mut state, &vec![Duration::from_millis(2_050); 64], each);
        assert!(played.refused > 50);
        let played = play(&mut state, &vec![Duration::from_millis(3_500); 64], each);
        assert_eq!((played.refused, played.dropped), (0, 0));
    }

    #[test]
    fn who_comes_at_random_is_answered_while_the_threads_can_do_it() {
        for threads in [1, 2, 8] {
            for each in [MILLISECOND / 2, 20 * MILLISECOND] {
                for (times, most) in [(0.5, 0.0), (0.7, 0.0), (0.8, 0.01), (0.9, 0.05)] {
                    let lost = play_at_random(threads, each, times).lost();
                    assert!(
                        lost <= most,
                        "{times} times what {threads} threads can do, {each:?} each: {lost}"
                    );
                }
            }
        }
    }

    #[test]
    fn who_comes_at_random_and_too_often_is_answered_fast_or_refused() {
        for threads in [1, 2, 8] {
            for each in [MILLISECOND / 2, 20 * MILLISECOND, 200 * MILLISECOND] {
                for (times, took, busy) in [
                    (1.2, 5, 0.85),
                    (1.5, 5, 0.85),
                    (2.0, 4, 0.9),
                    (5.0, 3, 0.95),
                ] {
                    let played = play_at_random(threads, each, times);
                    let case = format!("{times} times {threads} threads, {each:?} each");
                    let busy_for = played.busy(threads, each, WARM);
                    assert!(busy_for >= busy, "{case}: {busy_for}");
                    let longest = p99(played.took);
                    assert!(longest <= each * took + 2 * SHORT, "{case}: {longest:?}");
                }
            }
        }
    }

    #[test]
    fn light_queries_among_heavy_ones_are_answered() {
        for (threads, light, heavy) in [
            (2, (1_000.0, MILLISECOND / 10), (20.0, 50 * MILLISECOND)),
            (2, (300.0, MILLISECOND / 2), (24.0, 50 * MILLISECOND)),
            (4, (1_000.0, MILLISECOND / 5), (40.0, 50 * MILLISECOND)),
            (2, (100.0, 2 * MILLISECOND), (3.0, 300 * MILLISECOND)),
        ] {
            let mut arrivals = Vec::new();
            for (seed, (rate, each)) in [(1, light), (2, heavy)] {
                let moments = at_random(rate, Duration::ZERO, Duration::from_mins(1), seed);
                arrivals.extend(moments.into_iter().map(|moment| (moment, each)));
            }
            arrivals.sort_unstable();
            let played = play_mixed(&mut State::new(threads), &arrivals);
            let lost = played.lost();
            assert!(lost <= 0.002, "{threads} threads, {heavy:?}: {lost}");
        }
    }

    #[test]
    fn after_an_overload_who_comes_at_random_is_answered_again() {
        for threads in [2_u32, 8] {
            let each = 20 * MILLISECOND;
            let rate = f64::from(threads) / each.as_secs_f64();
            let mut state = State::new(threads as usize);
            let at = |times, from, span, seed| {
                at_random(
                    times * rate,
                    Duration::from_secs(from),
                    Duration::from_secs(span),
                    seed,
                )
            };
            play(&mut state, &at(0.7, 0, 5, 1), each);
            let played = play(&mut state, &at(3.0, 6, 2, 2), each);
            assert!(played.lost() > 0.4, "{}", played.lost());
            let played = play(&mut state, &at(0.7, 8, 1, 3), each);
            assert!(played.lost() < 0.1, "{}", played.lost());
            let played = play(&mut state, &at(0.7, 10, 20, 4), each);
            assert!(played.lost() == 0.0, "{}", played.lost());
        }
    }

    #[test]
    fn steps_tell_nothing_of_how_long_queries_take() {
        let mut state = State::new(2);
        play(&mut state, &[Duration::ZERO], 4 * MILLISECOND);
        state.join(Duration::from_secs(1));
        state.leave_step(Duration::from_secs(2));
        assert!((state.at_work - 0.004).abs() < 1e-9, "{}", state.at_work);
        assert!((state.between - 0.002).abs() < 1e-9, "{}", state.between);
        assert_eq!((state.present, state.steps), (0, 0));
    }

    #[test]
    fn the_delay_tells_how_long_the_line_is() {
        let mut state = State::new(1);
        play(&mut state, &[Duration::ZERO], 50 * MILLISECOND);
        let at = Duration::from_secs(9);
        let after = |state: &State, now| state.crowded(now).retry_after;
        state.begin(at, at).unwrap();
        assert_eq!(after(&state, at), RETRY.0);
        state.present = 4;
        assert_eq!(after(&state, at), Duration::from_millis(200));
        // Nothing ended for so long, so that it is not soon either.
        assert_eq!(
            after(&state, at + 700 * MILLISECOND),
            Duration::from_millis(700)
        );
        state.present = 1_000;
        assert_eq!(after(&state, at), RETRY.1);
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
