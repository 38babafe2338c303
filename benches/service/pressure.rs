//! The time of a paced `Check` while nothing else, heavy queries, or a stream of writes run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headcount::proto::WriteStreamRequest;
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::checks;
use crate::host::{self, Host};
use crate::measure::{Times, ratio, short};
use crate::questions::breaking_down;
use crate::writes;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
/// Two a millisecond: 2,000 a second.
const CHECKS_A_TICK: u64 = 2;
const CHECK_TICK: Duration = Duration::from_millis(1);
/// A hundred in five milliseconds: 20,000 a second.
const UPDATES_A_TICK: u64 = 100;
const UPDATE_TICK: Duration = Duration::from_millis(5);
/// Of most users.
const HEAVY: &str = "os = 'ios' OR age >= 20 OR amount > 10.0";
const NAMES: [&str; 3] = [
    "idle",
    "beside Breakdown in a loop",
    "beside 20,000 updates/s",
];

/// Sends checks by the clock, whether those before are answered or not.
async fn checked(channel: &Channel, users: u64) -> Times {
    let mut ticks = interval(CHECK_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let client = QueryServiceClient::new(channel.clone());
    let start = Instant::now();
    let mut calls = Vec::new();
    while start.elapsed() < ROUND {
        ticks.tick().await;
        for _ in 0..CHECKS_A_TICK {
            let mut client = client.clone();
            let request = checks::request(calls.len() as u64 * 104_729 % users, 1);
            let sent = Instant::now();
            calls.push(tokio::spawn(async move {
                client.check(request).await.expect("an answer");
                sent.elapsed()
            }));
        }
    }
    let mut times = Times::default();
    for call in calls {
        times.push(call.await.expect("a call that ends"));
    }
    times
}

/// Breaks most users down by city, again and again; counts how often.
async fn break_down(channel: Channel, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let mut client = QueryServiceClient::new(channel);
    while !stop.load(Ordering::Relaxed) {
        let request = breaking_down(HEAVY, "city", 10);
        client.breakdown(request).await.expect("an answer");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes by the clock; counts what is acknowledged.
async fn write(channel: Channel, users: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let (sender, requests) = mpsc::channel(256);
    let sending = tokio::spawn(async move {
        let mut ticks = interval(UPDATE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sequence = 0;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            sequence += 1;
            let updates = (0..UPDATES_A_TICK).map(|n| {
                let change = sequence * 1_000_003 + n * 7_919;
                writes::update(change % users, change)
            });
            let request = WriteStreamRequest {
                sequence,
                updates: updates.collect(),
                ..Default::default()
            };
            sender.send(request).await.expect("an open stream");
        }
    });
    let mut client = IngestServiceClient::new(channel);
    let answers = client.write_stream(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    while let Some(answer) = answers.message().await.expect("an answer") {
        assert_eq!(answer.error, None);
        done.fetch_add(UPDATES_A_TICK, Ordering::Relaxed);
    }
    sending.await.expect("an end");
}

/// The load of one kind, started on threads of its own.
fn start(
    kind: usize,
    threads: &Runtime,
    channel: Channel,
    users: u64,
    stop: &Arc<AtomicBool>,
    done: &Arc<AtomicU64>,
) -> Option<JoinHandle<()>> {
    let (stop, done) = (Arc::clone(stop), Arc::clone(done));
    match kind {
        1 => Some(threads.spawn(break_down(channel, stop, done))),
        2 => Some(threads.spawn(write(channel, users, stop, done))),
        _ => None,
    }
}

pub fn measure(host: &Host, clients: &Runtime, users: u64) {
    let others = host::runtime("load");
    let channel = clients.block_on(host.connect());
    let mut times: [Times; 3] = Default::default();
    let mut done = [0; 3];
    let mut elapsed = [Duration::ZERO; 3];
    for round in 0..=ROUNDS {
        for kind in 0..NAMES.len() {
            let (stop, counter) = (Arc::default(), Arc::default());
            let other = others.block_on(host.connect());
            let began = Instant::now();
            let load = start(kind, &others, other, users, &stop, &counter);
            let checked = clients.block_on(checked(&channel, users));
            stop.store(true, Ordering::Relaxed);
            if let Some(load) = load {
                others.block_on(load).expect("a load that ends");
            }
            // The first round warms.
            if round > 0 {
                times[kind].extend(checked);
                done[kind] += counter.load(Ordering::Relaxed);
                elapsed[kind] += began.elapsed();
            }
        }
    }
    println!(
        "{:<28} {:>20} {:>20} {:>22}",
        "Check, 2,000 a second", "p50 (to idle)", "p99 (to idle)", "done beside it"
    );
    for (kind, name) in NAMES.iter().enumerate() {
        let part = |part: f64| {
            let time = times[kind].within(part);
            format!(
                "{} ({:.2})",
                short(time),
                ratio(time, times[0].within(part))
            )
        };
        let rate = done[kind] as f64 / elapsed[kind].as_secs_f64();
        let beside = match kind {
            1 => format!("{rate:.0} breakdowns/s"),
            2 => format!("{rate:.0} updates/s"),
            _ => String::new(),
        };
        println!(
            "{name:<28} {:>20} {:>20} {beside:>22}",
            part(0.5),
            part(0.99)
        );
    }
}
