//! A real `headcount serve`, killed in the middle of writes: whatever was acknowledged is there
//! after the restart, and whatever was not is there wholly or not at all.
//!
//! The seed of each test is printed; set `HEADCOUNT_CRASH_SEED` to repeat one, and
//! `HEADCOUNT_CRASH_CYCLES` to go on for longer.

#![expect(
    clippy::print_stdout,
    reason = "the seed, to repeat a test that failed"
)]

mod retries;
mod service;

use std::collections::BTreeMap;
use std::time::Duration;

use headcount::proto::value::Kind;
use headcount::proto::{UserUpdate, Value};
use service::{Client, Service};

/// Tasks that write at the same time.
const WRITERS: u64 = 8;
/// Users of each task.
const USERS: u64 = 5;

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

fn number(properties: &BTreeMap<String, Value>, name: &str) -> u64 {
    match properties.get(name).and_then(|value| value.kind.as_ref()) {
        Some(Kind::Int64Value(number)) => u64::try_from(*number).unwrap(),
        other => panic!("{name} is {other:?}"),
    }
}

/// What one task knows of its users: how often each was written, and the one write of which it
/// never learned what became.
#[derive(Debug, Default)]
struct Known {
    writes: BTreeMap<String, u64>,
    in_doubt: Option<Vec<String>>,
}

/// One batch: adds 1 to `n` of two users and says so in `last` too.
fn batch(users: &[String], known: &Known) -> Vec<UserUpdate> {
    let updates = users.iter().map(|user| {
        let writes = known.writes.get(user).copied().unwrap_or_default();
        UserUpdate {
            user_id: user.clone(),
            set: BTreeMap::from([("last".to_owned(), int(writes + 1))]),
            increment: BTreeMap::from([("n".to_owned(), int(1))]),
            ..UserUpdate::default()
        }
    });
    updates.collect()
}

/// Writes until the service is gone. Returns how many batches were acknowledged.
async fn write_until_killed(service: &Client, writer: u64, seed: u64, known: &mut Known) -> usize {
    let mut chance = Chance(seed ^ (writer << 32));
    let mut acknowledged = 0;
    let mut client = service.ingest();
    loop {
        let first = chance.next(USERS);
        let second = (first + 1 + chance.next(USERS - 1)) % USERS;
        let users = [first, second].map(|user| format!("w{writer}-u{user}"));
        if client.write(batch(&users, known)).await.is_err() {
            known.in_doubt = Some(users.to_vec());
            return acknowledged;
        }
        acknowledged += 1;
        for user in users {
            *known.writes.entry(user).or_default() += 1;
        }
    }
}

/// Compares what the service has with what is known, and learns what became of what was in doubt.
async fn check(service: &Client, known: &mut Known) {
    let doubted = known.in_doubt.take().unwrap_or_default();
    let mut kept = Vec::new();
    let mut users: Vec<String> = known.writes.keys().cloned().collect();
    users.extend(
        doubted
            .iter()
            .filter(|user| !known.writes.contains_key(*user))
            .cloned(),
    );
    for user in users {
        let writes = known.writes.get(&user).copied().unwrap_or_default();
        let found = match service.user(&user).await {
            Some(properties) => {
                let found = number(&properties, "n");
                assert_eq!(number(&properties, "last"), found, "half a write of {user}");
                found
            }
            None => 0,
        };
        if doubted.contains(&user) {
            assert!(
                found == writes || found == writes + 1,
                "{user}: {found}, {writes} known"
            );
            kept.push(found - writes);
        } else {
            assert_eq!(found, writes, "{user}");
        }
        if found > 0 {
            known.writes.insert(user, found);
        }
    }
    assert!(
        kept.windows(2).all(|pair| pair[0] == pair[1]),
        "half of a batch was kept: {kept:?}"
    );
}

/// Compares answers over all users with what is known.
async fn check_counts(service: &Client, known: &[Known]) {
    let all: Vec<u64> = known
        .iter()
        .flat_map(|known| known.writes.values().copied())
        .collect();
    for least in [1, 3, 10, 30] {
        let expected = all.iter().filter(|writes| **writes >= least).count();
        let filter = format!("n >= {least} AND last >= {least}");
        assert_eq!(service.count(&filter).await, expected as u64, "{filter}");
    }
}

async fn kill_again_and_again(snapshots: bool, default_seed: u64, cycles: u64) {
    let seed = setting("HEADCOUNT_CRASH_SEED", default_seed);
    let cycles = setting("HEADCOUNT_CRASH_CYCLES", cycles);
    println!("HEADCOUNT_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let mut acknowledged = 0;
    for cycle in 0..cycles {
        let mut service = Service::start(folder.path()).await;
        for known in &mut known {
            check(&service, known).await;
        }
        check_counts(&service, &known).await;

        let kill_after = Duration::from_millis(50 + chance.next(400));
        let seed = chance.next(u64::MAX);
        let mut tasks = Vec::new();
        for (writer, mut known) in known.drain(..).enumerate() {
            let service = service.client();
            tasks.push(tokio::spawn(async move {
                let acknowledged =
                    write_until_killed(&service, writer as u64, seed, &mut known).await;
                (known, acknowledged)
            }));
        }
        let snapshotting = snapshots.then(|| {
            let service = service.client();
            tokio::spawn(async move { while service.snapshot().await {} })
        });
        tokio::time::sleep(kill_after).await;
        service.kill();
        for task in tasks {
            let (task_known, count) = task.await.unwrap();
            known.push(task_known);
            acknowledged += count;
        }
        if let Some(snapshotting) = snapshotting {
            snapshotting.await.unwrap();
        }
        println!("cycle {cycle}: killed after {kill_after:?}, {acknowledged} batches so far");
    }
    let service = Service::start(folder.path()).await;
    for known in &mut known {
        check(&service, known).await;
    }
    check_counts(&service, &known).await;
    assert!(acknowledged > 0, "nothing was written at all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_a_kill() {
    kill_again_and_again(false, 20_261_123, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_a_kill_while_snapshots_are_written() {
    kill_again_and_again(true, 47_110_815, 5).await;
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
