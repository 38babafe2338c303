//! What durability costs while serving and at the start, each beside something plain timed in the
//! same run: the pauses of single writes and checks during a snapshot beside those without one, the
//! start beside reading the same files and their CRC-32, the bytes that a second snapshot writes
//! beside those of the first.
//!
//! `cargo bench --bench durability -- 10000000` for ten million users; 100,000 if no number is given.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a program that prints numbers about disks"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../engine/load.rs"]
mod load;
#[path = "../service/measure.rs"]
#[allow(dead_code, reason = "shared with the bench of the service")]
mod measure;
mod pauses;
#[path = "../engine/world.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod world;

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::clock::SystemClock;
use headcount::engine::{Engine, EngineOptions};
use headcount::model::{
    Action, Change, Command, NonEmpty, Operation, PopulationName, PropertyName, UserId, UserUpdate,
    Value,
};

use load::Names;
use world::{World, user_id};

const BATCH: usize = 500;
const IN_FLIGHT: usize = 256;
/// Users of a shard: those who were added together.
const TOGETHER: u64 = 1_000;
const MEBIBYTE: f64 = 1_048_576.0;

fn command(action: Action) -> Command {
    Command::Population {
        name: PopulationName::default(),
        once: None,
        action,
    }
}

/// A command that sets one number of one user.
pub(crate) fn one_value(user: u64, value: i64) -> Command {
    let change = Change {
        property: PropertyName::new("age").expect("a good name"),
        operation: Operation::Set(Value::Int64(value)),
    };
    let update = UserUpdate {
        user: UserId::new(user_id(user)).expect("a short id"),
        value_time: None,
        changes: vec![change],
        events: Vec::new(),
    };
    command(Action::Write(NonEmpty::one(update)))
}

/// Commits all, with many in flight.
async fn commit_all(engine: &Engine, commands: impl Iterator<Item = Command>) {
    let mut waiting = VecDeque::new();
    for command in commands {
        if waiting.len() == IN_FLIGHT {
            let first: tokio::task::JoinHandle<_> = waiting.pop_front().expect("one");
            first.await.expect("a task that ends");
        }
        let engine = engine.clone();
        waiting.push_back(tokio::spawn(async move {
            engine.commit(command).await.expect("a write");
        }));
    }
    for task in waiting {
        task.await.expect("a task that ends");
    }
}

/// Bytes of all files below a folder, and of those that no other name shares.
fn bytes(folder: &Path) -> (u64, u64) {
    let (mut all, mut own) = (0, 0);
    for entry in folder.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("a file");
        if about.is_dir() {
            let below = bytes(&entry.path());
            all += below.0;
            own += below.1;
        } else {
            all += about.len();
            own += if about.nlink() == 1 { about.len() } else { 0 };
        }
    }
    (all, own)
}

/// Reads all files below a folder and computes their CRC-32: the floor of every start.
fn read(folder: &Path) -> u32 {
    let mut sum = 0;
    let mut buffer = vec![0; 1 << 20];
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sum ^= read(&path);
            continue;
        }
        let mut file = std::fs::File::open(&path).expect("a file");
        let mut hasher = crc32fast::Hasher::new();
        loop {
            let length = file.read(&mut buffer).expect("bytes");
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
        }
        sum ^= hasher.finalize();
    }
    sum
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let answer = work();
    (answer, start.elapsed())
}

/// The newest folder of a snapshot.
fn newest(data: &Path) -> std::path::PathBuf {
    let folders = data.join("snapshots").read_dir().expect("snapshots");
    let names = folders.map(|entry| entry.expect("an entry").path());
    names.max().expect("a snapshot")
}

fn main() {
    let users = std::env::args()
        .skip(1)
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(100_000_u64)
        .max(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = EngineOptions::new(folder.path().join("data"));
    // Only the snapshots that are asked for.
    options.snapshot_interval = None;
    options.snapshot_log_bytes = u64::MAX;
    let data = options.data.clone();
    let open = || Engine::open(&options, Arc::new(SystemClock)).expect("a store");
    println!("{users} users, 13 properties\n");

    let engine = open();
    let (world, names) = (World::new(), Names::new());
    let batches = (0..users).step_by(BATCH).map(|first| {
        let last = users.min(first + BATCH as u64);
        let rows: Vec<_> = (first..last).map(|number| world.row(number)).collect();
        command(names.write(first, &rows))
    });
    runtime.block_on(commit_all(&engine, batches));

    println!("snapshots");
    let snapshot = || runtime.block_on(engine.snapshot()).expect("a snapshot");
    let (first, took) = timed(snapshot);
    let first_bytes = first.bytes as f64;
    println!(
        "  the first: {:.1} MiB in {:.2} s",
        first_bytes / MEBIBYTE,
        took.as_secs_f64()
    );
    for touched in [1, 2, 4] {
        let commands = (0..touched).flat_map(|part| {
            let from = part * (users / 4);
            (from..from + TOGETHER).map(|user| one_value(user, 90))
        });
        runtime.block_on(commit_all(&engine, commands));
        let (_, took) = timed(snapshot);
        let (all, own) = bytes(&newest(&data));
        println!(
            "  after {TOGETHER} updates in {touched} places: {:.1} MiB written, {:.3} of the whole, in {:.2} s",
            own as f64 / MEBIBYTE,
            own as f64 / all as f64,
            took.as_secs_f64()
        );
    }

    pauses::measure(&engine, &runtime, users);

    println!("start");
    runtime.block_on(engine.shutdown());
    drop(engine);
    // Whatever is to be read twice is in the cache of the kernel both times.
    let snapshots = newest(&data);
    read(&snapshots);
    let (_, floor) = timed(|| read(&snapshots));
    let (engine, with_little_log) = timed(open);
    let gigabytes = bytes(&snapshots).0 as f64 / 1e9;
    println!(
        "  snapshot of {gigabytes:.2} GB: {:.2} s, {:.2} s per GB, {:.1} of reading it with CRC-32",
        with_little_log.as_secs_f64(),
        with_little_log.as_secs_f64() / gigabytes,
        measure::ratio(with_little_log, floor),
    );
    let records = (users / 4).clamp(10_000, 1_000_000);
    let commands = (0..records).map(|n| one_value((n * 7_919) % users, (n % 80) as i64));
    runtime.block_on(commit_all(&engine, commands));
    runtime.block_on(engine.shutdown());
    drop(engine);
    let (engine, with_log) = timed(open);
    let log = with_log.saturating_sub(with_little_log);
    println!(
        "  {records} records of log on top: {:.2} s more, {:.2} s per million",
        log.as_secs_f64(),
        log.as_secs_f64() * 1e6 / records as f64,
    );
    runtime.block_on(engine.shutdown());
}
