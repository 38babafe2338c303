//! Calls by the clock, and as many as are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::measure::Times;
use crate::work::{Ended, Kind, Work};

/// Of each load this is not counted, until what is full is full.
const WARM: Duration = Duration::from_secs(1);
/// Calls of a client that are not answered: beyond that it waits, and says so by the plan.
const OPEN: usize = 10_000;
/// In the closed loop, who is refused asks again after this.
const PAUSE: Duration = Duration::from_millis(2);
/// How many ask at once in the closed loop.
const ASKING: [u64; 3] = [2, 8, 32];

/// What became of the calls of one load.
#[derive(Default)]
pub struct Counted {
    /// How long those took that were answered, from when they were sent.
    pub sent: Times,
    /// From when they were to be sent.
    pub planned: Times,
    /// How long refusals took, from when the call was sent.
    pub refused: Times,
    pub wrong: u64,
}

/// A number that no call had before.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The most calls a second that are answered when each client asks anew once it has an answer.
pub async fn capacity(work: &Arc<Work>, kind: Kind, span: Duration, wrong: &mut u64) -> f64 {
    let mut most: f64 = 0.0;
    for asking in ASKING {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..asking {
            let work = Arc::clone(work);
            clients.spawn(async move {
                let (mut answered, mut wrong) = (0_u64, 0);
                while began.elapsed() < span {
                    match work.ask(kind, next()).await {
                        Ended::Answered => answered += 1,
                        Ended::Refused => tokio::time::sleep(PAUSE).await,
                        Ended::Wrong => wrong += 1,
                    }
                }
                (answered, wrong)
            });
        }
        let mut all = 0;
        for (answered, mistaken) in clients.join_all().await {
            all += answered;
            *wrong += mistaken;
        }
        most = most.max(all as f64 / began.elapsed().as_secs_f64());
    }
    most
}

/// Asks so many times a second, whether those before are answered or not.
pub async fn at_rate(work: &Arc<Work>, kind: Kind, rate: f64, span: Duration) -> Counted {
    let mut calls = JoinSet::new();
    let mut counted = Counted::default();
    let began = Instant::now();
    let mut asked = 0_u64;
    loop {
        let planned = began + Duration::from_secs_f64(asked as f64 / rate);
        if planned >= began + WARM + span {
            break;
        }
        sleep_until(planned).await;
        while calls.len() >= OPEN
            && let Some(ended) = calls.join_next().await
        {
            counted.note(ended.expect("a call that ends"));
        }
        let work = Arc::clone(work);
        let is_warm = planned >= began + WARM;
        calls.spawn(async move {
            let sent = Instant::now();
            let ended = work.ask(kind, next()).await;
            (is_warm, ended, sent.elapsed(), planned.elapsed())
        });
        while let Some(ended) = calls.try_join_next() {
            counted.note(ended.expect("a call that ends"));
        }
        asked += 1;
    }
    while let Some(ended) = calls.join_next().await {
        counted.note(ended.expect("a call that ends"));
    }
    counted
}

impl Counted {
    fn note(&mut self, (is_warm, ended, sent, planned): (bool, Ended, Duration, Duration)) {
        match ended {
            Ended::Wrong => self.wrong += 1,
            Ended::Answered if is_warm => {
                self.sent.push(sent);
                self.planned.push(planned);
            }
            Ended::Refused if is_warm => self.refused.push(sent),
            Ended::Answered | Ended::Refused => {}
        }
    }
}
