//! `Check` beside the empty call: calls a second with many in flight, and the time of one alone.

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
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(400);
const CALLS_ALONE: usize = 300;
const GOAL: f64 = 0.9;

#[derive(Clone)]
enum Caller {
    Empty(EmptyClient),
    Check(QueryServiceClient<Channel>, usize),
}

impl Caller {
    async fn call(&mut self, user: u64) {
        match self {
            Self::Empty(client) => client.call().await,
            Self::Check(client, filters) => {
                let answer = client.check(request(user, *filters)).await;
                assert!(answer.expect("an answer").into_inner().user_exists);
            }
        }
    }
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

/// Calls a second over some connections with many in flight.
async fn rate(callers: &[Caller], users: u64) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|task| {
            let mut caller = callers[task % callers.len()].clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while start.elapsed() < ROUND {
                    caller
                        .call((task as u64 * 7_919 + calls * 104_729) % users)
                        .await;
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
    calls as f64 / start.elapsed().as_secs_f64()
}

async fn alone(caller: &mut Caller, users: u64, times: &mut Times) {
    for call in 0..CALLS_ALONE as u64 {
        let start = Instant::now();
        caller.call(call * 104_729 % users).await;
        times.push(start.elapsed());
    }
}

pub async fn measure(host: &Host, users: u64) {
    let names = ["empty call", "Check, 1 filter", "Check, 10 filters"];
    let mut callers: [Vec<Caller>; 3] = Default::default();
    for _ in 0..CONNECTIONS {
        let query = QueryServiceClient::new(host.connect().await);
        callers[0].push(Caller::Empty(EmptyClient::new(host.connect_empty().await)));
        callers[1].push(Caller::Check(query.clone(), 1));
        callers[2].push(Caller::Check(query, SEGMENTS.len()));
    }
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut times: [Times; 3] = Default::default();
    for round in 0..=ROUNDS {
        for (kind, callers) in callers.iter_mut().enumerate() {
            let rate = rate(callers, users).await;
            let mut alone_times = Times::default();
            alone(&mut callers[0], users, &mut alone_times).await;
            // The first round warms.
            if round > 0 {
                rates[kind].push(rate);
                times[kind].extend(alone_times);
            }
        }
    }
    println!(
        "{:<20} {:>10} {:>7} {:>5}   {:>22}   {:>22}",
        "64 in flight, 2 conns", "calls/s", "ratio", "goal", "alone: median (ratio)", "p99 (ratio)"
    );
    let rates = rates.map(median);
    for ((name, rate), times_of) in names.iter().zip(rates).zip(&times) {
        let to_empty = rate / rates[0];
        let (goal, missed) = if *name == names[0] {
            (String::new(), "")
        } else {
            (GOAL.to_string(), mark(to_empty, GOAL))
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
            "{name:<21} {rate:>10.0} {to_empty:>7.3} {goal:>5}   {:>22}   {:>22}{missed}",
            part(0.5),
            part(0.99),
        );
    }
    println!();
}
