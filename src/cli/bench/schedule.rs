//! When the calls of a bench are due, and when they are not sent any more.
//!
//! Closed loop: whoever got an answer sends the next call. Open loop: the call with the number `n` is due
//! `n / rate` after the start, whatever became of those before, and its time counts from there. So
//! a service that stands still makes all calls slow that were due meanwhile, not just those that it
//! held in its hands (coordinated omission).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How long after the end of an open loop calls are still sent that were due before.
const GRACE: Duration = Duration::from_secs(1);
/// The longest sleep of the thread that releases calls, so that it sees that it shall stop.
const NAP: Duration = Duration::from_millis(50);
/// A call that is sent so long after it was due was sent late.
const LATE: Duration = Duration::from_millis(1);

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Calls a second of an open loop; a closed loop if there is none.
    pub(super) rate: Option<f64>,
    /// Calls in all.
    pub(super) calls: Option<u64>,
    /// How long it takes if no number of calls is given, the warm-up included.
    pub(super) duration: Duration,
    /// What is sent so early is not counted.
    pub(super) warm_up: Duration,
}

impl Plan {
    /// How many calls there are at most.
    fn planned(&self) -> u64 {
        match (self.calls, self.rate) {
            (Some(calls), _) => calls,
            (None, None) => u64::MAX,
            (None, Some(rate)) => calls_within(rate, self.duration),
        }
    }

    /// How long after the start the call with this number is due in an open loop.
    pub(super) fn due(rate: f64, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
        Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX)
    }

    /// How long after the start nothing is sent any more.
    fn end(&self) -> Option<Duration> {
        match (self.calls, self.rate) {
            (Some(_), None) => None,
            (None, None) => Some(self.duration),
            (_, Some(rate)) => Some(Self::due(rate, self.planned()).saturating_add(GRACE)),
        }
    }

    /// How long after the start answers do not count for rates any more; what so many calls take is known
    /// only when they are over.
    fn counted_until(&self) -> Option<Duration> {
        self.calls.is_none().then_some(self.duration)
    }
}

/// How many calls are due within a time, the first one at its beginning.
fn calls_within(rate: f64, time: Duration) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates and times are limited"
    )]
    let calls = (rate * time.as_secs_f64()).ceil() as u64;
    calls
}

/// A call that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The number of the call, from 0.
    pub(super) number: u64,
    /// From when on its time counts.
    pub(super) due: Instant,
    /// Whether it counts.
    pub(super) counts: bool,
}

/// What all who send share.
#[derive(Debug)]
pub(super) struct Schedule {
    plan: Plan,
    start: Instant,
    planned: u64,
    next: AtomicU64,
    stopped: OnceLock<Instant>,
    /// One permit for each call that is due.
    released: Semaphore,
    late: AtomicU64,
    latest_micros: AtomicU64,
    unsent: AtomicU64,
}

/// How well an open loop kept to its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Calls that were due.
    pub(super) due: u64,
    /// Of them, those that were sent more than a millisecond late: all that may be outstanding were, or
    /// the client had no processor.
    pub(super) late: u64,
    /// How late the latest one was.
    pub(super) latest: Duration,
    /// Those that were not sent at all.
    pub(super) unsent: u64,
}

impl Schedule {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            start: Instant::now(),
            planned: plan.planned(),
            next: AtomicU64::new(0),
            stopped: OnceLock::new(),
            released: Semaphore::new(0),
            late: AtomicU64::new(0),
            latest_micros: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
        }
    }

    /// How long answers have been counted for rates, up to the end: not while the last calls are waited for.
    pub(super) fn counted(&self) -> Duration {
        self.counted_at(Instant::now())
    }

    fn counted_at(&self, now: Instant) -> Duration {
        let until = self.stopped.get().map_or(now, |stopped| now.min(*stopped));
        let elapsed = until.saturating_duration_since(self.start);
        let end = self.plan.counted_until().unwrap_or(Duration::MAX);
        elapsed.min(end).saturating_sub(self.plan.warm_up)
    }

    /// Whether what ends now counts for rates.
    pub(super) fn is_counted(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.start);
        let is_over = self.plan.counted_until().is_some_and(|end| elapsed > end);
        let is_stopped = self.stopped.get().is_some_and(|stopped| now > *stopped);
        elapsed >= self.plan.warm_up && !is_over && !is_stopped
    }

    /// Sends nothing any more.
    pub(super) fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// The next call, once it is due; nothing once there is none.
    pub(super) async fn turn(&self) -> Option<Turn> {
        loop {
            if let Some(rate) = self.plan.rate {
                self.released.acquire().await.ok()?.forget();
                if self.is_stopped() {
                    return None;
                }
                let number = self.take()?;
                let after = Plan::due(rate, number);
                let due = self.start + after;
                let now = Instant::now();
                if self.is_over(now) {
                    self.unsent.fetch_add(1, Relaxed);
                    continue;
                }
                let late = now.saturating_duration_since(due);
                if late > LATE {
                    self.late.fetch_add(1, Relaxed);
                    let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                    self.latest_micros.fetch_max(micros, Relaxed);
                }
                return Some(self.turn_of(number, due));
            }
            let now = Instant::now();
            if self.is_stopped() || self.is_over(now) {
                return None;
            }
            let number = self.take()?;
            return Some(self.turn_of(number, now));
        }
    }

    fn turn_of(&self, number: u64, due: Instant) -> Turn {
        let counts = due.saturating_duration_since(self.start) >= self.plan.warm_up;
        Turn {
            number,
            due,
            counts,
        }
    }

    fn take(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Relaxed);
        (number < self.planned).then_some(number)
    }

    fn is_over(&self, now: Instant) -> bool {
        let end = self.plan.end();
        end.is_some_and(|end| now.saturating_duration_since(self.start) >= end)
    }

    /// Releases the calls of an open loop when they are due, and in the end those who wait for one. Runs on
    /// a thread of its own: timers of the runtime are a millisecond coarse.
    pub(super) fn release(&self, waiting: usize) {
        let Some(rate) = self.plan.rate else {
            return;
        };
        let mut released = 0;
        while released < self.planned && !self.is_stopped() {
            let elapsed = self.start.elapsed();
            let due = calls_within(rate, elapsed).min(self.planned);
            if due > released {
                let more = usize::try_from(due - released).unwrap_or(usize::MAX);
                self.released.add_permits(more);
                released = due;
            }
            let next = Plan::due(rate, released).saturating_sub(self.start.elapsed());
            std::thread::sleep(next.min(NAP));
        }
        self.released.add_permits(waiting);
    }

    /// How well the schedule was kept; nothing of a closed loop. After an interruption, what was due until then.
    pub(super) fn kept(&self) -> Option<Kept> {
        let rate = self.plan.rate?;
        let taken = self.next.load(Relaxed).min(self.planned);
        let due = self.stopped.get().map_or(self.planned, |stopped| {
            let time = stopped.saturating_duration_since(self.start);
            calls_within(rate, time).clamp(taken, self.planned)
        });
        Some(Kept {
            due,
            late: self.late.load(Relaxed),
            latest: Duration::from_micros(self.latest_micros.load(Relaxed)),
            unsent: self.unsent.load(Relaxed) + (due - taken),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn plan(rate: Option<f64>, calls: Option<u64>, duration: Duration) -> Plan {
        Plan {
            rate,
            calls,
            duration,
            warm_up: Duration::ZERO,
        }
    }

    #[test]
    fn calls_are_due_at_fixed_instants() {
        let second = Duration::from_secs(1);
        assert_eq!(calls_within(4.0, second), 4, "at 0, 250, 500 and 750 ms");
        assert_eq!(calls_within(4.0, Duration::from_millis(1_001)), 5);
        assert_eq!(calls_within(0.5, second), 1);
        assert_eq!(calls_within(4.0, Duration::ZERO), 0);
        assert_eq!(Plan::due(4.0, 3), Duration::from_millis(750));
        assert_eq!(plan(Some(4.0), None, second).planned(), 4);
        assert_eq!(plan(Some(4.0), Some(9), second).planned(), 9);
        assert_eq!(plan(None, Some(9), second).planned(), 9);
        assert_eq!(plan(None, Some(9), second).end(), None);
        assert_eq!(plan(None, None, second).end(), Some(second));
        let end = plan(Some(4.0), Some(8), second).end();
        assert_eq!(end, Some(Duration::from_secs(2) + GRACE));
    }

    async fn turns(schedule: &Schedule) -> Vec<Turn> {
        let mut turns = Vec::new();
        while let Some(turn) = schedule.turn().await {
            turns.push(turn);
        }
        turns
    }

    #[tokio::test]
    async fn a_closed_loop_sends_as_many_calls_as_it_is_told() {
        let schedule = Schedule::new(plan(None, Some(5), Duration::from_secs(1)));
        let numbers: Vec<u64> = turns(&schedule)
            .await
            .iter()
            .map(|turn| turn.number)
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(schedule.kept(), None);
        let schedule = Schedule::new(plan(None, None, Duration::from_mins(1)));
        schedule.stop();
        assert!(schedule.turn().await.is_none());
    }

    #[tokio::test]
    async fn an_open_loop_counts_from_when_calls_were_due() {
        let schedule = Arc::new(Schedule::new(Plan {
            warm_up: Duration::from_millis(20),
            ..plan(Some(1_000.0), Some(40), Duration::ZERO)
        }));
        let releasing = Arc::clone(&schedule);
        let releasing = std::thread::spawn(move || releasing.release(1));
        // Whoever sends is held up; what was due meanwhile counts from then on.
        std::thread::sleep(Duration::from_millis(30));
        let turns = turns(&schedule).await;
        releasing.join().unwrap();
        assert_eq!(turns.len(), 40);
        for turn in &turns {
            let due = Duration::from_millis(turn.number);
            assert_eq!(turn.due - schedule.start, due);
            assert_eq!(turn.counts, turn.number >= 20);
        }
        let kept = schedule.kept().unwrap();
        assert_eq!((kept.due, kept.unsent), (40, 0));
        assert!(
            kept.late >= 28 && kept.latest >= Duration::from_millis(29),
            "{kept:?}"
        );
    }

    #[test]
    fn rates_are_of_the_time_that_is_counted() {
        let second = Duration::from_secs(1);
        let warm = |plan| {
            Schedule::new(Plan {
                warm_up: second,
                ..plan
            })
        };
        let schedule = warm(plan(None, None, 11 * second));
        let counted = |seconds| {
            let now = schedule.start + seconds * second;
            (schedule.counted_at(now), schedule.is_counted(now))
        };
        assert_eq!(counted(0), (Duration::ZERO, false), "the warm-up");
        assert_eq!(counted(4), (3 * second, true));
        assert_eq!(counted(11), (10 * second, true));
        // One call that hangs does not make the others slower.
        assert_eq!(counted(21), (10 * second, false));
        // Of so many calls, the last one is one of them.
        let calls = Schedule::new(plan(None, Some(9), Duration::ZERO));
        let now = calls.start + 21 * second;
        assert!(calls.is_counted(now));
        assert_eq!(calls.counted_at(now), 21 * second);
    }

    #[tokio::test]
    async fn after_an_interruption_nothing_is_due_any_more() {
        let schedule = Schedule {
            start: Instant::now().checked_sub(Duration::from_secs(2)).unwrap(),
            ..Schedule::new(plan(Some(10.0), None, Duration::from_mins(1)))
        };
        schedule.released.add_permits(20);
        for number in 0..5 {
            assert_eq!(schedule.turn().await.unwrap().number, number);
        }
        schedule.stop();
        let stopped = *schedule.stopped.get().unwrap();
        assert!(schedule.turn().await.is_none());
        std::thread::sleep(Duration::from_millis(250));
        schedule.stop();
        assert_eq!(schedule.stopped.get(), Some(&stopped), "the first time");
        let kept = schedule.kept().unwrap();
        let due = calls_within(10.0, stopped - schedule.start);
        assert_eq!((kept.due, kept.unsent), (due, due - 5));
        let later = stopped + Duration::from_secs(9);
        assert_eq!(schedule.counted_at(later), stopped - schedule.start);
        assert!(!schedule.is_counted(later));
    }

    #[test]
    fn an_end_that_no_clock_reaches_is_no_fault() {
        let end = plan(Some(0.001), Some(u64::MAX), Duration::ZERO).end();
        assert_eq!(end, Some(Duration::MAX));
    }

    #[tokio::test]
    async fn what_could_not_be_sent_is_counted() {
        let schedule = Schedule {
            start: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(),
            ..Schedule::new(plan(Some(10.0), Some(20), Duration::ZERO))
        };
        schedule.release(1);
        assert!(turns(&schedule).await.is_empty());
        let kept = schedule.kept().unwrap();
        assert_eq!((kept.due, kept.unsent), (20, 20));
    }
}
