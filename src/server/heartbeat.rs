//! Whether the threads that serve get round to anything: a task on them that says so each second.
//!
//! Invariant: only a runtime on which nothing runs for [`PATIENCE`] is called stuck, by a clock that
//! stands still while the machine sleeps; and a process that was stopped as a whole has a moment to
//! come back before it is judged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it is said.
const BEAT: Duration = Duration::from_secs(1);
/// For how long it may not be said.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the next beat is waited for before a runtime is called stuck.
const MOMENT: Duration = Duration::from_secs(2);
/// How often is looked for it meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// When the runtime that serves got round to something last.
#[derive(Debug)]
pub(super) struct Heartbeat {
    started: Instant,
    /// In milliseconds since the start; 0 if nothing beats.
    last: AtomicU64,
}

impl Heartbeat {
    /// Nothing beats so far.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Beats on the runtime of the caller for as long as it is polled.
    pub(super) async fn beat(&self) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let now = millis(self.started.elapsed()).max(1);
            self.last.store(now, Ordering::Relaxed);
        }
    }

    /// Whether the runtime lives: always, where nothing beats. To be asked on another runtime.
    pub(super) async fn is_alive(&self) -> bool {
        let asked = Instant::now();
        loop {
            if self.is_alive_at(self.started.elapsed()) {
                return true;
            }
            if asked.elapsed() >= MOMENT {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_alive_at(&self, now: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last == 0 || millis(now).saturating_sub(last) < millis(PATIENCE)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_beat_for_long_is_stuck() {
        let heartbeat = Heartbeat::new();
        let later = Duration::from_hours(1);
        assert!(heartbeat.is_alive_at(later), "nothing beats");
        let beating = tokio::time::timeout(Duration::from_millis(50), heartbeat.beat());
        assert!(beating.await.is_err(), "it goes on");
        assert!(heartbeat.is_alive().await);
        assert!(heartbeat.is_alive_at(PATIENCE));
        assert!(!heartbeat.is_alive_at(later));
    }

    /// A runtime of which the only thread waits, seen from another one.
    #[test]
    fn a_thread_that_waits_is_found() {
        let heartbeat = std::sync::Arc::new(Heartbeat::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let beating = tokio::time::timeout(Duration::from_millis(10), heartbeat.beat());
            assert!(beating.await.is_err());
        });
        // As if that was long ago.
        let late = Heartbeat {
            started: Instant::now().checked_sub(2 * PATIENCE).unwrap(),
            last: AtomicU64::new(1),
        };
        assert!(!runtime.block_on(late.is_alive()));
        // One that beats again within the moment was only stopped.
        let back = runtime.block_on(async {
            let beats = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                late.beat().await;
            };
            tokio::select! {
                alive = late.is_alive() => alive,
                () = beats => unreachable!("it goes on"),
            }
        });
        assert!(back);
    }
}
