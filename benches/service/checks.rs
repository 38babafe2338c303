//! `Check` beside the empty call: calls a second with many in flight, and the time of one alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::proto::CheckRequest;
use headcount::proto::query_service_client::QueryServiceClient;
use tonic::transport::Channel;

use crate::empty::EmptyClient;
use crate::host::Host;
use crate::measure::{Times, mark, median, ratio, short};
use crate::questions::SEGMENTS;
use crate::world::user_id;

const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 2;
/// Short and many, so that what else the machine does meets all kinds alike.
const ROUNDS: usize = 31;
const ROUND: Duration = Duration::from_millis(120);
const REQUESTS: u64 = 4_096;
const CALLS_ALONE: usize = 100;
const GOAL: f64 = 0.9;

#[derive(Clone)]
enum Caller {
    Empty(EmptyClient),
    Unchecked(EmptyClient, Arc<[CheckRequest]>),
    Check(QueryServiceClient<Channel>, Arc<[CheckRequest]>),
}

impl Caller {
    async fn call(&mut self, user: u64) {
        match self {
            Self::Empty(client) => client.call().await,
            Self::Unchecked(client, requests) => {
                let request = requests[user as usize % requests.len()].clone();
                client.check_nothing(request).await;
            }
            Self::Check(client, requests) => {
                let request = requests[user as usize % requests.len()].clone();
                let answer = client.check(request).await;
                assert!(answer.expect("an answer").into_inner().user_exists);
            }
        }
    }
}

/// Made in advance: what it takes to make an id is no part of a call.
fn requests(users: u64, filters: usize) -> Arc<[CheckRequest]> {
    let some = (0..REQUESTS).map(|n| request(n * 104_729 % users, filters));
    some.collect()
}

pub fn request(user: u64, filters: usize) -> CheckRequest {
    CheckRequest {
        user_id: user_id(user),
        filters: SEGMENTS[..filters]
            .iter()
            .map(ToString::to_string)
            .collect(),
        ..Default::default()
    }
}

/// The processor time of this process, clients and servers, in seconds.
pub fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name, which may have spaces: state, then ten numbers before the two times.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum();
    // USER_HZ is 100 wherever Linux runs for users.
    ticks as f64 / 100.0
}

/// Calls over some connections with many in flight.
struct Burst {
    calls: u64,
    elapsed: Duration,
    processor: f64,
}

impl Burst {
    fn rate(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

async fn burst(callers: &[Caller]) -> Burst {
    let processor = processor_time();
    let start = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|task| {
            let mut caller = callers[task % callers.len()].clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while start.elapsed() < ROUND {
                    caller.call(task as u64 * 7_919 + calls).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.expect("calls that end");
    }
    Burst {
        calls,
        elapsed: start.elapsed(),
        processor: processor_time() - processor,
    }
}

async fn alone(caller: &mut Caller, times: &mut Times) {
    for call in 0..CALLS_ALONE as u64 {
        let start = Instant::now();
        caller.call(call).await;
        times.push(start.elapsed());
    }
}

pub async fn measure(host: &Host, users: u64) {
    let names = [
        "empty call",
        "Check, 1 filter",
        "Check, 10 filters",
        "1 filter, unread",
        "10 filters, unread",
    ];
    let mut callers: [Vec<Caller>; 5] = Default::default();
    let (one, ten) = (requests(users, 1), requests(users, SEGMENTS.len()));
    for _ in 0..CONNECTIONS {
        let query = QueryServiceClient::new(host.connect().await);
        let empty = EmptyClient::new(host.connect_empty().await);
        callers[0].push(Caller::Empty(empty.clone()));
        callers[3].push(Caller::Unchecked(empty.clone(), Arc::clone(&one)));
        callers[4].push(Caller::Unchecked(empty, Arc::clone(&ten)));
        callers[1].push(Caller::Check(query.clone(), Arc::clone(&one)));
        callers[2].push(Caller::Check(query, Arc::clone(&ten)));
    }
    let mut rates: [Vec<f64>; 5] = Default::default();
    let mut times: [Times; 5] = Default::default();
    let (mut calls, mut processor) = ([0; 5], [0.0; 5]);
    for round in 0..=ROUNDS {
        for (kind, callers) in callers.iter_mut().enumerate() {
            let burst = burst(callers).await;
            let mut alone_times = Times::default();
            alone(&mut callers[0], &mut alone_times).await;
            // The first round warms.
            if round > 0 {
                rates[kind].push(burst.rate());
                calls[kind] += burst.calls;
                processor[kind] += burst.processor;
                times[kind].extend(alone_times);
            }
        }
    }
    println!(
        "{:<21} {:>9} {:>6} {:>5} {:>12} {:>22} {:>18}",
        "64 in flight, 2 conns",
        "calls/s",
        "ratio",
        "goal",
        "CPU us/call",
        "alone: median (ratio)",
        "p99 (ratio)"
    );
    let rates = rates.map(median);
    for (kind, name) in names.iter().enumerate() {
        let (rate, times_of) = (rates[kind], &times[kind]);
        let cost = processor[kind] * 1e6 / calls[kind] as f64;
        let to_empty = rate / rates[0];
        let (goal, missed) = if name.starts_with("Check") {
            (GOAL.to_string(), mark(to_empty, GOAL))
        } else {
            (String::new(), "")
        };
        let part = |part: f64| {
            let time = times_of.within(part);
            format!(
                "{} ({:.2})",
                short(time),
                ratio(time, times[0].within(part))
            )
        };
        println!(
            "{name:<21} {rate:>9.0} {to_empty:>6.3} {goal:>5} {cost:>12.2} {:>22} {:>18}{missed}",
            part(0.5),
            part(0.99),
        );
    }
    println!(
        "(CPU time: of the whole process, client and server; unread: as much is sent and answered, nothing is checked)\n"
    );
}
