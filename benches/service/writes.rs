//! Loading over a stream, and durable updates beside what the disk can do.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::clock::{Clock, SystemClock};
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::{Event, UserUpdate, Value, WriteRequest, WriteStreamRequest, value::Kind};
use headcount::testing::wire;
use prost_types::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::host::Host;
use crate::load::Names;
use crate::measure::{mark, median};
use crate::world::{World, user_id};

const BATCH: usize = 500;
const BATCHES_IN_FLIGHT: usize = 32;
/// Messages are made, and the clock stands still, so many users at a time.
const PART: u64 = 100_000;
const ROWS_GOAL: f64 = 300_000.0;
const IN_FLIGHT: u64 = 64;
/// Of the updates in flight, this part is to be acknowledged by each raw sync.
const UPDATES_GOAL: f64 = 0.8 * IN_FLIGHT as f64;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
const BLOCK: usize = 4_096;
const RAW_FILE: u64 = 64 << 20;

/// Sends batches over one stream, as many in flight as `permits` has; returns once all are
/// acknowledged.
async fn stream(host: &Host, batches: Vec<Vec<UserUpdate>>) {
    let permits = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
    let count = batches.len();
    let (sender, requests) = mpsc::channel(BATCHES_IN_FLIGHT);
    let giver = Arc::clone(&permits);
    tokio::spawn(async move {
        for (sequence, updates) in (1..).zip(batches) {
            giver.acquire().await.expect("permits").forget();
            let request = WriteStreamRequest {
                sequence,
                updates,
                ..Default::default()
            };
            sender.send(request).await.expect("an open stream");
        }
    });
    let mut client = IngestServiceClient::new(host.connect().await);
    let answers = client.write_stream(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await.expect("an answer") {
        assert_eq!(answer.error, None);
        permits.add_permits(1);
        answered += 1;
    }
    assert_eq!(answered, count);
}

/// Returns how many rows were written a second.
pub async fn load(host: &Host, users: u64) -> f64 {
    let (world, names) = (World::new(), Names::new());
    let mut elapsed = Duration::ZERO;
    let mut first = 0;
    while first < users {
        let updates: Vec<UserUpdate> = (first..users.min(first + PART))
            .map(|number| wire::user_update(&names.update(number, &world.row(number))))
            .collect();
        let batches = updates.chunks(BATCH).map(<[UserUpdate]>::to_vec).collect();
        drop(updates);
        let start = Instant::now();
        stream(host, batches).await;
        elapsed += start.elapsed();
        first += PART;
    }
    let rate = users as f64 / elapsed.as_secs_f64();
    println!(
        "load over one WriteStream, 500 a batch, 32 in flight: {rate:.0} rows/s (goal {ROWS_GOAL}){}\n",
        mark(rate, ROWS_GOAL)
    );
    rate
}

/// The purchase of a number, at an instant in milliseconds since 1970.
fn purchase(user: u64, number: u64, millis: i64, with_id: bool) -> UserUpdate {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let event = Event {
        name: "purchase".into(),
        time: Some(Timestamp {
            seconds: millis.div_euclid(1_000),
            nanos: millis.rem_euclid(1_000) as i32 * 1_000_000,
        }),
        amount: Some((spread >> 40 & 0xffff) as f64 / 100.0),
        event_id: if with_id {
            format!("order-{number}")
        } else {
            String::new()
        },
    };
    UserUpdate {
        user_id: user_id(user),
        events: vec![event],
        ..Default::default()
    }
}

/// Events of users who exist over one stream, beside the rows of properties that were written so.
pub async fn events(host: &Host, users: u64, rows: f64) {
    let now = SystemClock.now().micros() / 1_000;
    for with_id in [false, true] {
        let count = users.max(500_000);
        let mut elapsed = Duration::ZERO;
        for first in (0..count).step_by(PART as usize) {
            let updates: Vec<UserUpdate> = (first..count.min(first + PART))
                .map(|number| {
                    // Of users in no order, one after another over the last 90 days.
                    let user = number.wrapping_mul(7_368_787) % users;
                    let ago = (count - number) * 90 * 86_400_000 / count;
                    purchase(user, number, now - ago as i64, with_id)
                })
                .collect();
            let batches = updates.chunks(BATCH).map(<[UserUpdate]>::to_vec).collect();
            drop(updates);
            let start = Instant::now();
            stream(host, batches).await;
            elapsed += start.elapsed();
        }
        let rate = count as f64 / elapsed.as_secs_f64();
        println!(
            "{count} events{} over one WriteStream, 500 a batch, 32 in flight: {rate:.0} events/s, \
             {:.2} of the rows/s",
            if with_id { " with ids" } else { "" },
            rate / rows
        );
    }
    println!();
}

/// An update of three properties that depends on two numbers.
pub fn update(user: u64, change: u64) -> UserUpdate {
    let value = |kind| Value { kind: Some(kind) };
    UserUpdate {
        user_id: user_id(user),
        set: [
            (
                "age".into(),
                value(Kind::Int64Value(13 + (change % 70) as i64)),
            ),
            (
                "amount".into(),
                value(Kind::DoubleValue((change % 100_000) as f64 / 100.0)),
            ),
            (
                "subscriber".into(),
                value(Kind::BoolValue(change.is_multiple_of(3))),
            ),
        ]
        .into(),
        ..Default::default()
    }
}

/// A file that is there already, so that a sync has only the data to write.
struct Raw {
    file: std::fs::File,
    at: u64,
}

impl Raw {
    fn new(folder: &Path) -> Self {
        let path = folder.join("raw");
        let open = OpenOptions::new().create_new(true).write(true).open(path);
        let mut file = open.expect("a new file");
        let zeros = vec![0; 1 << 20];
        for _ in 0..RAW_FILE >> 20 {
            file.write_all(&zeros).expect("space for zeros");
        }
        file.sync_all().expect("a sync");
        Self { file, at: 0 }
    }

    fn rate(&mut self) -> f64 {
        let block = [0x5a; BLOCK];
        let (start, mut syncs) = (Instant::now(), 0_u64);
        while start.elapsed() < ROUND {
            self.file.write_all_at(&block, self.at).expect("a write");
            self.file.sync_data().expect("a sync");
            self.at = (self.at + BLOCK as u64) % RAW_FILE;
            syncs += 1;
        }
        syncs as f64 / start.elapsed().as_secs_f64()
    }
}

/// Acknowledged updates a second.
async fn rate(host: &Host, users: u64, round: u64) -> f64 {
    let channels = [host.connect().await, host.connect().await];
    let start = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|task| {
            let channel = channels[task as usize % channels.len()].clone();
            let mut client = IngestServiceClient::new(channel);
            tokio::spawn(async move {
                let mut writes = 0;
                while start.elapsed() < ROUND {
                    let change = round * 1_000_003 + task * 7_919 + writes * 104_729;
                    let request = WriteRequest {
                        updates: vec![update(change % users, change)],
                        ..Default::default()
                    };
                    client.write(request).await.expect("an acknowledgement");
                    writes += 1;
                }
                writes
            })
        })
        .collect();
    let mut writes = 0;
    for task in tasks {
        writes += task.await.expect("writes that end");
    }
    writes as f64 / start.elapsed().as_secs_f64()
}

pub async fn updates(host: &Host, users: u64) {
    let mut raw = Raw::new(host.folder.path());
    let (mut raws, mut rates) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (raw, rate) = (raw.rate(), rate(host, users, round as u64).await);
        // The first round warms.
        if round > 0 {
            raws.push(raw);
            rates.push(rate);
        }
    }
    let (raw, rate) = (median(raws), median(rates));
    let each = rate / raw;
    println!(
        "Write of one user, 64 in flight: {rate:.0} updates/s, raw 4 KiB + fdatasync: {raw:.0}/s, \
         {each:.1} updates per raw sync (goal {UPDATES_GOAL}){}\n",
        mark(each, UPDATES_GOAL)
    );
}
