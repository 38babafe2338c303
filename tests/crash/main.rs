//! A real `headcount serve`, killed in the middle of writes of every kind, and of snapshots and
//! trimming: whatever was acknowledged is there after the restart, and whatever was not is there
//! wholly or not at all.
//!
//! The seed is printed; set `HEADCOUNT_CRASH_SEED` to repeat a run, and `HEADCOUNT_CRASH_CYCLES` to
//! go on for longer than 20 lives.
//!
//! The same on a real file system whose power fails, for those who may mount one (root):
//!
//! ```sh
//! HEADCOUNT_CRASH_CYCLES=100 cargo test --test crash power -- --ignored --nocapture
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the tests break the files of a server from outside of it"
)]
#![expect(
    clippy::print_stdout,
    reason = "the seed, and what a long run has done so far"
)]

mod erasures;
mod imports;
mod power;
mod retries;
mod service;
mod unary;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use erasures::Erasures;
use headcount::proto::value::Kind;
use headcount::proto::{Event, Value};
use imports::Imports;
use power::FailingDisk;
use retries::Progress;
use service::{Client, Service};
use tokio::task::JoinHandle;
use unary::Known;

/// Tasks of each kind that write at the same time; imports come one after another.
const UNARY: u64 = 3;
const WRITERS: u64 = 2;
const STREAMS: u64 = 2;
const ERASERS: u64 = 2;

/// Vigna's `SplitMix64` (2015).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok().and_then(|text| text.parse().ok());
    value.unwrap_or(default)
}

fn int(number: u64) -> Value {
    let number = i64::try_from(number).unwrap();
    Value {
        kind: Some(Kind::Int64Value(number)),
    }
}

/// An event of now.
fn event(name: &str, id: &str) -> Event {
    Event {
        name: name.to_owned(),
        event_id: id.to_owned(),
        ..Event::default()
    }
}

fn number(properties: &BTreeMap<String, Value>, name: &str) -> u64 {
    match properties.get(name).and_then(|value| value.kind.as_ref()) {
        Some(Kind::Int64Value(number)) => u64::try_from(*number).unwrap(),
        other => panic!("{name} is {other:?}"),
    }
}

/// Everything that was ever sent, and what is known to have become of it.
struct Oracle {
    unary: Vec<Known>,
    writers: Vec<Progress>,
    streams: Vec<Progress>,
    erasures: Vec<Erasures>,
    imports: Imports,
}

/// Those who write to one life of the service.
struct Writing {
    unary: Vec<JoinHandle<Known>>,
    writers: Vec<JoinHandle<Progress>>,
    streams: Vec<JoinHandle<Progress>>,
    erasures: Vec<JoinHandle<Erasures>>,
    imports: std::thread::JoinHandle<Imports>,
}

/// Lets each of some tasks go on with its part of what is known.
fn begin<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    parts: &mut Vec<T>,
    task: impl Fn(u64, T) -> F,
) -> Vec<JoinHandle<T>> {
    let parts = (0..).zip(parts.drain(..));
    parts
        .map(|(number, part)| tokio::spawn(task(number, part)))
        .collect()
}

async fn end<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut parts = Vec::new();
    for task in tasks {
        parts.push(task.await.unwrap());
    }
    parts
}

impl Oracle {
    fn new(folder: &Path) -> Self {
        let named = |kind: &'static str, count| (0..count).map(move |n| format!("{kind}{n}"));
        Self {
            unary: (0..UNARY).map(|_| Known::default()).collect(),
            writers: named("writer", WRITERS).map(Progress::new).collect(),
            streams: named("stream", STREAMS).map(Progress::new).collect(),
            erasures: (0..ERASERS).map(Erasures::new).collect(),
            imports: Imports::new(folder),
        }
    }

    fn write(&mut self, service: &Service, seed: u64) -> Writing {
        let client = || service.client();
        Writing {
            unary: begin(&mut self.unary, |number, mut known| {
                let client = client();
                async move {
                    unary::write_until_killed(&client, number, seed, &mut known).await;
                    known
                }
            }),
            writers: begin(&mut self.writers, |_, mut progress| {
                let client = client();
                async move {
                    retries::write(&client, &mut progress, u64::MAX).await;
                    progress
                }
            }),
            streams: begin(&mut self.streams, |_, mut progress| {
                let client = client();
                async move {
                    let _ = retries::stream(&client, &mut progress, u64::MAX).await;
                    progress
                }
            }),
            erasures: begin(&mut self.erasures, |_, mut erasures| {
                let client = client();
                async move {
                    erasures.go_on(&client, seed).await;
                    erasures
                }
            }),
            imports: {
                let (mut imports, address) = (self.imports.clone(), service.address());
                std::thread::spawn(move || {
                    imports.go_on(|| service::command(&address));
                    imports
                })
            },
        }
    }

    async fn killed(&mut self, writing: Writing) {
        self.unary = end(writing.unary).await;
        self.writers = end(writing.writers).await;
        self.streams = end(writing.streams).await;
        self.erasures = end(writing.erasures).await;
        self.imports = writing.imports.join().unwrap();
    }

    /// Compares everything in the service with what is known, and learns what became of what was
    /// in doubt.
    async fn check(&mut self, service: &Client) {
        let mut users = 0;
        for known in &mut self.unary {
            unary::check(service, known).await;
            users += known.writes.values().filter(|writes| **writes > 0).count() as u64;
        }
        let all = self.unary.iter().flat_map(|known| known.writes.values());
        let all: Vec<u64> = all.copied().collect();
        for least in [1, 3, 10, 30] {
            let expected = all.iter().filter(|writes| **writes >= least).count();
            let filter = format!("unary >= {least} AND last >= {least}");
            assert_eq!(service.count(&filter).await, expected as u64, "{filter}");
        }
        for progress in self.writers.iter().chain(&self.streams) {
            users += u64::from(retries::check(service, progress).await > 0);
        }
        for erasures in &mut self.erasures {
            users += erasures.check(service).await;
        }
        users += self.imports.check(service).await;
        assert_eq!(
            service.count("TRUE").await,
            users,
            "users that nobody wrote"
        );
        // The index agrees with itself, and counts of events with the events.
        assert_eq!(service.mismatches().await, []);
    }

    fn progress(&self) -> String {
        let sum = |all: &[Progress], of: fn(&Progress) -> u64| all.iter().map(of).sum::<u64>();
        let unary: u64 = self.unary.iter().map(Known::acknowledged).sum();
        let erased: u64 = self.erasures.iter().map(Erasures::erased).sum();
        format!(
            "acknowledged: {unary} unary batches, {} with ids ({} after a retry), {} in streams ({} after a retry), {erased} erasures, {} rows and {} events of imports",
            sum(&self.writers, Progress::acknowledged),
            sum(&self.writers, Progress::replayed),
            sum(&self.streams, Progress::acknowledged),
            sum(&self.streams, Progress::replayed),
            self.imports.acknowledged(),
            self.imports.acknowledged_events(),
        )
    }
}

/// How a life of the service ends.
enum End<'a> {
    /// The process is killed; the kernel keeps what it wrote.
    Kill,
    /// The file system of its data loses its power, and then the process is killed.
    PowerFailure(&'a FailingDisk),
}

/// Lets the service live as often as asked for, in the folder and its `data`, and compares it with
/// what is known after each life.
async fn live(folder: &Path, data: &Path, end: End<'_>) {
    let seed = setting("HEADCOUNT_CRASH_SEED", 20_261_123);
    let cycles = setting("HEADCOUNT_CRASH_CYCLES", 20);
    println!("HEADCOUNT_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let mut oracle = Oracle::new(folder);
    let mut snapshots = 0;
    let mut lost = 0;
    for cycle in 0..cycles {
        if chance.next(4) == 0 {
            // Killed while it reads what there is, too, or just after.
            let after = Duration::from_millis(chance.next(60));
            Service::start_and_kill(data, after).await;
        }
        let mut service = Service::start(data).await;
        oracle.check(&service).await;
        let writing = oracle.write(&service, chance.next(u64::MAX));
        // Most lives see snapshots one after another, some only those of the schedule.
        let snapshotting = (chance.next(3) > 0).then(|| {
            let service = service.client();
            tokio::spawn(async move {
                let mut written = 0;
                while service.snapshot().await {
                    written += 1;
                }
                written
            })
        });
        let most = if chance.next(5) == 0 { 2_500 } else { 450 };
        let end_after = Duration::from_millis(20 + chance.next(most));
        tokio::time::sleep(end_after).await;
        if let End::PowerFailure(disk) = &end {
            disk.write_without_sync();
            disk.lose_power();
        }
        service.kill();
        oracle.killed(writing).await;
        if let Some(snapshotting) = snapshotting {
            snapshots += snapshotting.await.unwrap();
        }
        if let End::PowerFailure(disk) = &end {
            lost += u64::from(disk.come_back());
        }
        println!("life {cycle}, {end_after:?}: {}", oracle.progress());
    }
    let service = Service::start(data).await;
    oracle.check(&service).await;
    for progress in &mut oracle.writers {
        retries::finish_writes(&service, progress, &mut chance).await;
    }
    for progress in &mut oracle.streams {
        retries::finish_stream(&service, progress).await;
    }
    assert!(snapshots > 0, "no snapshot was written");
    println!("{snapshots} snapshots were asked for and written");
    let log = data.join("log");
    let first = log.join("00000000000000000001.log");
    assert!(log.is_dir() && !first.exists(), "the log was never trimmed");
    oracle.assert_all_kinds_were_written();
    if let End::PowerFailure(_) = end {
        println!("{lost} of {cycles} failures lost a file that was not synced");
        // A snapshot's sync can have taken the file along.
        assert!(lost > 0, "these are no power failures");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_being_killed_and_the_rest_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    live(folder.path(), &folder.path().join("data"), End::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root to mount a file system, mkfs.ext4 and python3"]
async fn what_is_acknowledged_survives_power_failures_of_a_real_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FailingDisk::new(folder.path());
    let data = disk.folder().join("data");
    live(folder.path(), &data, End::PowerFailure(&disk)).await;
}

impl Oracle {
    fn assert_all_kinds_were_written(&self) {
        assert!(self.unary.iter().all(|known| known.acknowledged() > 0));
        let retried = self.writers.iter().chain(&self.streams);
        assert!(retried.clone().all(|progress| progress.acknowledged() > 0));
        assert!(self.erasures.iter().all(|erasures| erasures.erased() > 0));
        assert!(self.imports.acknowledged() > 0);
        assert!(self.imports.acknowledged_events() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path()).await;
    let text = service::refused(folder.path());
    assert!(text.contains("in use"), "{text}");
    drop(service);

    let file = tempfile::NamedTempFile::new().unwrap();
    let text = service::refused(file.path());
    assert!(text.contains("is a file"), "{text}");
}
