//! How calls are timed: many in flight for their number a second, one after another or paced for
//! how long each takes.

use std::time::{Duration, Instant};

/// How long each took, ascending.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    fn new(mut each: Vec<Duration>) -> Self {
        each.sort_unstable();
        Self(each)
    }

    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len() - 1;
        self.0[(last * percent).div_ceil(100)]
    }
}

/// Calls a second with so many in flight, for a while.
pub async fn throughput<F: Future<Output = ()> + Send>(
    in_flight: usize,
    window: Duration,
    call: impl Fn(usize) -> F + Clone + Send + 'static,
) -> f64 {
    let begin = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while begin.elapsed() < window {
                    call(caller).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("a caller ends well");
    }
    calls as f64 / begin.elapsed().as_secs_f64()
}

/// How long calls take, one after another.
pub async fn one_by_one<F: Future<Output = ()>>(calls: usize, call: impl Fn() -> F) -> Latencies {
    let mut each = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begin = Instant::now();
        call().await;
        each.push(begin.elapsed());
    }
    Latencies::new(each)
}

/// How long calls take that are begun at a steady pace, whether or not those before have ended.
pub async fn paced<F: Future<Output = ()> + Send + 'static>(
    a_second: u32,
    window: Duration,
    call: impl Fn() -> F,
) -> Latencies {
    let begin = Instant::now();
    let mut calls = Vec::new();
    let mut due = Duration::ZERO;
    while due < window {
        tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
        // The timer wakes once a millisecond: all that are due by now.
        while due <= begin.elapsed() {
            let call = call();
            let sent = Instant::now();
            calls.push(tokio::spawn(async move {
                call.await;
                sent.elapsed()
            }));
            due += Duration::from_secs(1) / a_second;
        }
    }
    let mut each = Vec::with_capacity(calls.len());
    for call in calls {
        each.push(call.await.expect("a call ends well"));
    }
    Latencies::new(each)
}
