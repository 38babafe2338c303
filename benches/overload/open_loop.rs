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
const OPEN: usize = 2_000;
/// In the closed loop, who is refused asks again after this.
const PAUSE: Duration = Duration::from_millis(2);
/// How many ask at once in the closed loop.
const ASKING: [u64; 5] = [2, 8, 32, 128, 512];

/// How long after the end of a load it is waited for calls that were sent.
const LATE: Duration = Duration::from_secs(30);

/// What became of the calls of one load. Answers and refusals are those that came in the time that is
/// counted, by the clock.
#[derive(Default)]
pub struct Counted {
    /// How many were to be sent in that time, and how many of them the client could not send in it.
    pub planned_calls: u64,
    pub unsent: u64,
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

/// Times between calls that come at random, from a fixed seed.
struct Gaps {
    random: u64,
    rate: f64,
}

impl Gaps {
    fn next(&mut self) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let part = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - part).ln() / self.rate)
    }
}

/// Asks so many times a second at random moments, whether those before are answered or not.
pub async fn at_rate(work: &Arc<Work>, kind: Kind, rate: f64, span: Duration) -> Counted {
    let mut calls = JoinSet::new();
    let began = Instant::now();
    let (from, until) = (began + WARM, began + WARM + span);
    let mut counted = Counted::default();
    let note = |counted: &mut Counted, ended: Call| {
        if ended.at >= from && ended.at <= until {
            counted.note(&ended);
        } else if matches!(ended.ended, Ended::Wrong) {
            counted.wrong += 1;
        }
    };
    let mut gaps = Gaps { random: 7, rate };
    let mut planned = began + gaps.next();
    while planned < until {
        sleep_until(planned).await;
        while calls.len() >= OPEN
            && let Some(ended) = calls.join_next().await
        {
            note(&mut counted, ended.expect("a call that ends"));
        }
        if Instant::now() >= until {
            break;
        }
        counted.planned_calls += u64::from(planned >= from);
        let work = Arc::clone(work);
        calls.spawn(async move {
            let sent = Instant::now();
            let ended = work.ask(kind, next()).await;
            Call {
                planned,
                sent,
                at: Instant::now(),
                ended,
            }
        });
        while let Some(ended) = calls.try_join_next() {
            note(&mut counted, ended.expect("a call that ends"));
        }
        planned += gaps.next();
    }
    while planned < until {
        counted.planned_calls += u64::from(planned >= from);
        counted.unsent += u64::from(planned >= from);
        planned += gaps.next();
    }
    // What is done after the end is not counted, but has to be right; and the next load begins on a
    // server that has nothing to do.
    let rest = async {
        while let Some(ended) = calls.join_next().await {
            note(&mut counted, ended.expect("a call that ends"));
        }
    };
    if tokio::time::timeout(LATE, rest).await.is_err() {
        println!("{}: calls that have no answer after {LATE:?}", kind.name());
        counted.wrong += calls.len() as u64;
    }
    counted
}

/// A call that ended.
struct Call {
    planned: Instant,
    sent: Instant,
    at: Instant,
    ended: Ended,
}

impl Counted {
    fn note(&mut self, call: &Call) {
        match call.ended {
            Ended::Wrong => self.wrong += 1,
            Ended::Answered => {
                self.sent.push(call.at - call.sent);
                self.planned.push(call.at - call.planned);
            }
            Ended::Refused => self.refused.push(call.at - call.sent),
        }
    }
}
