//! The service over gRPC beside a service that does nothing: both in this process, both called
//! through real clients over the loopback, in turns, in the same run.
//!
//! `cargo bench --bench service -- 1000000` for a million users; 100,000 if no number is given.
//! Clients and servers share the processors, so that what counts is the ratios.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a program that prints numbers about a service and a disk"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod empty;
mod rows;
mod timing;
#[path = "../engine/world.rs"]
mod world;

use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headcount::engine::{Engine, EngineOptions};
use headcount::filter;
use headcount::model::{PopulationName, Timestamp, UserId};
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::{
    BatchCheckRequest, BreakdownRequest, CheckRequest, CountRequest, SummarizeRequest,
    WriteRequest, WriteStreamRequest, breakdown_request, count_request, summarize_request,
};
use headcount::query::{Stop, bind, check, count};
use headcount::server::{self, ServerConfig};
use headcount::testing::clock::ManualClock;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use timing::{Latencies, one_by_one, paced, throughput};
use world::{NOW, World, user_id};

const IN_FLIGHT: usize = 64;
const WINDOW: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// Users in one batch of a stream, and batches on their way.
const BATCH: u64 = 500;
const BATCHES_IN_FLIGHT: usize = 32;

const ONE: &str = "plan = 'pro' AND NOT country = 'C000'";
const TEN: [&str; 10] = [
    "plan = 'free'",
    "country IN ('C000', 'C001', 'C002') AND subscriber = TRUE",
    "age >= 25 AND age < 35",
    "amount > 100.0 OR plan = 'enterprise'",
    "tags HAS ANY ('tag-000', 'tag-001')",
    "NOT last_seen < TIMESTAMP '2025-12-02T00:00:00Z'",
    "os = 'ios' AND NOT gender = 'male'",
    "language != 'l00' AND plan IN ('pro', 'basic')",
    "tags HAS ALL ('tag-000', 'tag-002')",
    "signed_up >= TIMESTAMP '2025-12-02T00:00:00Z' AND os = 'android'",
];

#[tokio::main]
async fn main() {
    let users = std::env::args()
        .skip(1)
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(100_000_u64);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let now = Timestamp::from_micros(NOW * 1_000_000).expect("an instant of this century");
    let options = EngineOptions::new(folder.path().join("data"));
    let engine = Engine::open(&options, Arc::new(ManualClock::new(now))).expect("a new store");
    let (listener, address) = listen().await;
    tokio::spawn(server::run(
        engine.clone(),
        listener,
        ServerConfig::default(),
        std::future::pending(),
    ));
    let (listener, empty_address) = listen().await;
    tokio::spawn(empty::serve(listener));
    let channels = [connect(&address).await, connect(&address).await];
    let empty_channels = [connect(&empty_address).await, connect(&empty_address).await];

    println!("{users} users, 13 properties; clients and servers on the same processors\n");
    load(&channels[0], users).await;
    same_answers(&engine, &channels[0], users, now).await;
    checks(&channels, &empty_channels, users).await;
    costs(&channels[0], &empty_channels[0], users).await;
    updates(&channels, users, folder.path()).await;
    under_load(&channels, &address, users).await;
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}"))
}

async fn connect(address: &str) -> Channel {
    let endpoint = Channel::from_shared(address.to_owned()).expect("an address");
    endpoint
        .tcp_nodelay(true)
        .connect()
        .await
        .expect("a connection")
}

/// Users one after another, scattered.
struct Users {
    next: AtomicU64,
    count: u64,
}

impl Users {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(0),
            count,
        })
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        user_id(number.wrapping_mul(104_729) % self.count)
    }
}

async fn load(channel: &Channel, users: u64) {
    let world = World::new();
    let mut requests = Vec::new();
    for first in (0..users).step_by(BATCH as usize) {
        let numbers = first..users.min(first + BATCH);
        requests.push(WriteStreamRequest {
            sequence: first + 1,
            updates: numbers
                .map(|number| rows::update(number, &world.row(number)))
                .collect(),
            ..Default::default()
        });
    }
    let begin = Instant::now();
    let batches = requests.len();
    stream(channel, requests, None).await;
    let rate = users as f64 / begin.elapsed().as_secs_f64();
    println!(
        "loading over one stream, {BATCH} users a batch: {rate:.0} rows/s in {batches} batches (goal 300,000)\n"
    );
}

/// Writes batches over one stream, so many a second if that is said, and waits for all to be
/// acknowledged.
async fn stream(channel: &Channel, requests: Vec<WriteStreamRequest>, a_second: Option<u32>) {
    let (sender, receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
    let count = requests.len();
    tokio::spawn(async move {
        let begin = Instant::now();
        for (sent, request) in requests.into_iter().enumerate() {
            if let Some(a_second) = a_second {
                let due = Duration::from_secs_f64(sent as f64 / f64::from(a_second));
                tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
            }
            sender.send(request).await.expect("the stream goes on");
        }
    });
    let mut ingest = IngestServiceClient::new(channel.clone());
    let answers = ingest.write_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut acknowledged = 0;
    while let Some(answer) = answers.message().await.expect("an acknowledgement") {
        assert!(answer.error.is_none(), "{answer:?}");
        acknowledged += usize::from(answer.opened.is_none());
    }
    assert_eq!(acknowledged, count);
}

fn check_request(user_id: String, filters: &[&str]) -> CheckRequest {
    CheckRequest {
        user_id,
        filters: filters.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn count_request(filter: &str) -> CountRequest {
    CountRequest {
        selection: Some(count_request::Selection::Filter(filter.to_owned())),
        ..Default::default()
    }
}

/// What comes over gRPC is what the engine finds.
async fn same_answers(engine: &Engine, channel: &Channel, users: u64, now: Timestamp) {
    let population = engine.population(&PopulationName::default());
    let population = population.expect("the population that was loaded");
    let mut query = QueryServiceClient::new(channel.clone());
    let bounds: Vec<_> = TEN
        .iter()
        .map(|text| {
            let expression = filter::parse(text).expect("a good filter");
            bind(&population, &expression, now).expect("known properties")
        })
        .collect();
    for (text, bound) in TEN.iter().zip(&bounds) {
        let answer = query.count(count_request(text)).await.expect("a count");
        let expected = count(&population, bound, &Stop::never()).expect("no deadline");
        assert_eq!(answer.into_inner().count, expected, "{text}");
    }
    for number in (0..users).step_by((users / 100).max(1) as usize) {
        let id = user_id(number);
        let answer = query.check(check_request(id.clone(), &TEN)).await;
        let user = UserId::new(id).expect("a short id");
        let expected = check(&population, &user, &bounds).expect("a user");
        assert_eq!(answer.expect("a check").into_inner().members, expected);
    }
}

/// Calls a second and latency of checks beside those of the empty call.
async fn checks(channels: &[Channel; 2], empty_channels: &[Channel; 2], users: u64) {
    println!("{IN_FLIGHT} in flight over 2 connections       calls/s   ratio   goal");
    let ids = Users::new(users);
    let (mut empty_rates, mut rates) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let to = empty_channels.clone();
        let call = move |caller: usize| empty::call(to[caller % 2].clone());
        empty_rates.push(throughput(IN_FLIGHT, WINDOW, call).await);
        for (filters, rates) in [&[ONE][..], &TEN].into_iter().zip(&mut rates) {
            let (to, ids) = (channels.clone(), Arc::clone(&ids));
            let call = move |caller: usize| {
                let mut query = QueryServiceClient::new(to[caller % 2].clone());
                let request = check_request(ids.next(), filters);
                async move {
                    query.check(request).await.expect("a check");
                }
            };
            rates.push(throughput(IN_FLIGHT, WINDOW, call).await);
        }
    }
    let empty_rate = median(empty_rates);
    println!("  {:<35} {empty_rate:>9.0}", "empty call");
    let names = ["Check, one filter", "Check, ten filters"];
    for (name, rates) in names.into_iter().zip(rates) {
        let rate = median(rates);
        println!("  {name:<35} {rate:>9.0} {:>7.2}    0.9", rate / empty_rate);
    }
    println!();
}

/// What calls take one after another, and what of it is not the call itself.
async fn costs(channel: &Channel, empty_channel: &Channel, users: u64) {
    println!("one call after another                 p50        p99   above the empty call");
    let empty = one_by_one(3_000, || empty::call(empty_channel.clone())).await;
    let floor = empty.percentile(50);
    let print = |name: &str, found: &Latencies| {
        println!(
            "  {name:<30} {:>8.1} us {:>8.1} us {:>8.1} us",
            micros(found.percentile(50)),
            micros(found.percentile(99)),
            micros(found.percentile(50).saturating_sub(floor)),
        );
    };
    print("empty call", &empty);
    let ids = Users::new(users);
    let query = || QueryServiceClient::new(channel.clone());
    for (name, filters) in [
        ("Check, one filter", &[ONE][..]),
        ("Check, ten filters", &TEN),
    ] {
        let call = || async {
            let request = check_request(ids.next(), filters);
            query().check(request).await.expect("a check");
        };
        print(name, &one_by_one(3_000, call).await);
    }
    for users in [100, 1_000] {
        let call = || async {
            let request = BatchCheckRequest {
                user_ids: (0..users).map(|_| ids.next()).collect(),
                filters: TEN.iter().map(ToString::to_string).collect(),
                ..Default::default()
            };
            query().batch_check(request).await.expect("checks");
        };
        let name = format!("BatchCheck, {users} users x 10");
        print(&name, &one_by_one(200, call).await);
    }
    let countries: Vec<String> = (5..25)
        .map(|n| format!("'{}'", world::country_name(n)))
        .collect();
    let list = format!(
        "country IN ({}) AND subscriber = TRUE",
        countries.join(", ")
    );
    for (name, filter) in [
        ("Count, one value", "plan = 'free'"),
        ("Count, AND of 2", "plan = 'free' AND subscriber = TRUE"),
        ("Count, list of 20 AND 1", list.as_str()),
        ("Count, range", "amount > 45.0"),
    ] {
        let call = || async {
            query().count(count_request(filter)).await.expect("a count");
        };
        print(name, &one_by_one(500, call).await);
    }
    let call = || async {
        query()
            .breakdown(breakdown_request())
            .await
            .expect("counts");
    };
    print("Breakdown, 200 countries", &one_by_one(100, call).await);
    let call = || async {
        let filter = "plan = 'free' AND subscriber = TRUE".to_owned();
        let request = SummarizeRequest {
            selection: Some(summarize_request::Selection::Filter(filter)),
            property: "age".into(),
            ..Default::default()
        };
        query().summarize(request).await.expect("a summary");
    };
    print("Summarize, age", &one_by_one(100, call).await);
    println!();
}

fn breakdown_request() -> BreakdownRequest {
    let filter = "plan = 'free' AND subscriber = TRUE".to_owned();
    BreakdownRequest {
        selection: Some(breakdown_request::Selection::Filter(filter)),
        properties: vec!["country".into()],
        limit: 200,
        ..Default::default()
    }
}

/// Acknowledged writes a second beside plain syncs of the same disk.
async fn updates(channels: &[Channel; 2], users: u64, folder: &Path) {
    let (mut syncs, mut rates) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        let file = folder.join("plain");
        let sync = tokio::task::spawn_blocking(move || raw_syncs(&file));
        syncs.push(sync.await.expect("syncs"));
        let to = channels.clone();
        let step = Arc::new(AtomicU64::new(round << 32));
        let call = move |caller: usize| {
            let mut ingest = IngestServiceClient::new(to[caller % 2].clone());
            let step = step.fetch_add(1, Ordering::Relaxed);
            let request = WriteRequest {
                updates: vec![rows::change(step.wrapping_mul(104_729) % users, step)],
                ..Default::default()
            };
            async move {
                ingest.write(request).await.expect("a write");
            }
        };
        rates.push(throughput(IN_FLIGHT, WINDOW, call).await);
    }
    let (sync, rate) = (median(syncs), median(rates));
    println!(
        "updates of one user, {IN_FLIGHT} in flight: {rate:.0}/s acknowledged; plain fdatasync of 4 KiB: {sync:.0}/s; \
         {:.1} updates a sync (goal {:.1})\n",
        rate / sync,
        0.8 * IN_FLIGHT as f64
    );
}

/// Appends and syncs 4 KiB of a file of zeros, again and again.
fn raw_syncs(path: &Path) -> f64 {
    let mut file = std::fs::File::create(path).expect("a file");
    let block = vec![1_u8; 4_096];
    for _ in 0..4_096 {
        file.write_all(&[0; 4_096]).expect("space");
    }
    file.sync_all().expect("a sync");
    file.rewind().expect("the beginning");
    let begin = Instant::now();
    let mut syncs = 0;
    while begin.elapsed() < WINDOW && syncs < 4_096 {
        file.write_all(&block).expect("space");
        file.sync_data().expect("a sync");
        syncs += 1;
    }
    f64::from(syncs) / begin.elapsed().as_secs_f64()
}

/// The latency of checks while other work goes on.
async fn under_load(channels: &[Channel; 2], address: &str, users: u64) {
    println!("Check, 2,000 calls a second            p50        p99   p99 to idle");
    let ids = Users::new(users);
    let to = channels[0].clone();
    let measure = || {
        let (ids, to) = (Arc::clone(&ids), to.clone());
        paced(2_000, 2 * WINDOW, move || {
            let mut query = QueryServiceClient::new(to.clone());
            let request = check_request(ids.next(), &TEN);
            async move {
                query.check(request).await.expect("a check");
            }
        })
    };
    let idle = measure().await;
    let print = |name: &str, found: &Latencies| {
        println!(
            "  {name:<30} {:>8.1} us {:>8.1} us {:>8.2}",
            micros(found.percentile(50)),
            micros(found.percentile(99)),
            found.percentile(99).as_secs_f64() / idle.percentile(99).as_secs_f64(),
        );
    };
    print("idle", &idle);

    let stop = Arc::new(AtomicBool::new(false));
    let heavy = connect(address).await;
    let stopped = Arc::clone(&stop);
    let broken_down = tokio::spawn(async move {
        let mut breakdowns = 0;
        while !stopped.load(Ordering::Relaxed) {
            let mut request = breakdown_request();
            let filter = "plan IS SET OR age > 20".to_owned();
            request.selection = Some(breakdown_request::Selection::Filter(filter));
            request.properties = ["city", "tags", "age", "country"]
                .map(String::from)
                .to_vec();
            let mut query = QueryServiceClient::new(heavy.clone());
            query.breakdown(request).await.expect("counts");
            breakdowns += 1;
        }
        breakdowns
    });
    let during = measure().await;
    stop.store(true, Ordering::Relaxed);
    let breakdowns = broken_down.await.expect("breakdowns");
    print("while all are broken down", &during);

    let seconds = 2 * WINDOW.as_secs() + 1;
    let requests = (0..seconds * 200)
        .map(|batch| WriteStreamRequest {
            sequence: batch + 1,
            updates: (0..100)
                .map(|n| batch * 100 + n)
                .map(|step| rows::change(step.wrapping_mul(104_729) % users, step))
                .collect(),
            ..Default::default()
        })
        .collect();
    let writer = connect(address).await;
    let writing = tokio::spawn(async move { stream(&writer, requests, Some(200)).await });
    let during = measure().await;
    writing.await.expect("all is written");
    print("while 20,000 updates/s arrive", &during);
    println!("  ({breakdowns} breakdowns by city, tags, age and country meanwhile)");
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
