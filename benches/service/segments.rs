//! All segments of a user beside the empty call; and what it takes to watch segments while users are
//! updated at a steady rate.

use std::time::{Duration, Instant};

use headcount::clock::{Clock, SystemClock};
use headcount::model::{Command, PopulationName};
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::segment_service_client::SegmentServiceClient;
use headcount::proto::{
    ListUserSegmentsRequest, UserUpdate, Value, WatchSegmentsRequest, WriteStreamRequest,
    value::Kind, watch_segments_response::Part,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::checks::processor_time;
use crate::definitions::create;
use crate::empty::EmptyClient;
use crate::host::Host;
use crate::measure::{Times, short};
use crate::world::{PLANS, user_id};

/// Calls of each kind that are timed.
const CALLS: u64 = 2_000;
/// Updates a second.
const RATE: u64 = 20_000;
/// Each is a command of its own; so many are sent at once.
const AT_ONCE: u64 = 50;
const SECONDS: u64 = 4;
/// Users who are seen again and again.
const ACTIVE: u64 = 2_000;

async fn save(host: &Host, numbers: std::ops::Range<usize>) {
    let mut submitted = Vec::new();
    for number in numbers {
        let command = Command::Population {
            name: PopulationName::default(),
            once: None,
            action: create(number),
        };
        submitted.push(host.engine.submit(command).await.expect("a queue"));
    }
    for outcome in submitted {
        outcome.await.expect("a good segment");
    }
}

pub async fn measure(host: &Host, users: u64) {
    println!("all segments of one user                       median         99 %");
    let mut empty = EmptyClient::new(host.connect_empty().await);
    let mut client = SegmentServiceClient::new(host.connect().await);
    let mut saved = 0;
    for segments in [1_000, 10_000] {
        save(host, saved..segments).await;
        saved = segments;
        let (mut floor, mut times) = (Times::default(), Times::default());
        let mut listed = 0;
        for call in 0..CALLS {
            let start = Instant::now();
            empty.call().await;
            let between = Instant::now();
            listed += list(&mut client, call * 7_919 % users).await;
            // The first call makes something of the definitions, which is not done again.
            if call > 0 {
                floor.push(between - start);
                times.push(between.elapsed());
            }
        }
        for (name, times) in [("the empty call", floor), ("ListUserSegments", times)] {
            println!(
                "{name:>20} {:>16} {:>9} {:>12}",
                if name == "the empty call" {
                    String::new()
                } else {
                    format!("{segments} segments")
                },
                short(times.median()),
                short(times.within(0.99)),
            );
        }
        println!(
            "{:>37} {:.0} of them each user is in",
            "",
            listed as f64 / CALLS as f64
        );
    }
    println!(
        "\n{RATE} updates/s, each a command of one property, over one WriteStream for {SECONDS} s; \
         10,000 segments"
    );
    println!(
        "                    processor   acknowledged within 50 %, 99 %     changes/s   told within 50 %, 99 %"
    );
    for (round, is_watched) in (0..).zip([false, false, true, true]) {
        pace(host, users, round, is_watched).await;
    }
    println!();
}

async fn list(client: &mut SegmentServiceClient<Channel>, user: u64) -> usize {
    let request = ListUserSegmentsRequest {
        user_id: user_id(user),
        ..Default::default()
    };
    let answer = client.list_user_segments(request).await;
    let answer = answer.expect("an answer").into_inner();
    assert!(answer.user_exists && answer.errors.is_empty());
    answer.segments.len()
}

/// The update of a number: mostly of active users who are seen again, as on a page view, some of what
/// no segment mentions, a birthday, rarely another plan.
fn update(number: u64, round: u64, users: u64) -> UserUpdate {
    let anybody = user_id((number + round * 7).wrapping_mul(7_368_787) % users);
    let value = |kind| Value { kind: Some(kind) };
    let set = |user_id, property: &str, kind| UserUpdate {
        user_id,
        set: [(property.into(), value(kind))].into(),
        ..Default::default()
    };
    match number % 100 {
        0 => {
            let plan = PLANS[(number / 100 + round) as usize % PLANS.len()].0;
            set(anybody, "plan", Kind::StringValue(plan.into()))
        }
        1..10 => UserUpdate {
            user_id: anybody,
            increment: [("age".into(), value(Kind::Int64Value(1)))].into(),
            ..Default::default()
        },
        10..30 => set(anybody, "not_mentioned", Kind::Int64Value(number as i64)),
        _ => {
            let now = SystemClock.now().micros();
            let now = prost_types::Timestamp {
                seconds: now.div_euclid(1_000_000),
                nanos: now.rem_euclid(1_000_000) as i32 * 1_000,
            };
            let active = user_id(number % ACTIVE.min(users));
            set(active, "last_seen", Kind::TimestampValue(now))
        }
    }
}

/// Counts changes, and how long after the instant as of which they were they came.
async fn watch(host: &Host) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Times>) {
    let mut client = SegmentServiceClient::new(host.connect().await);
    let answer = client.watch_segments(WatchSegmentsRequest::default()).await;
    let mut messages = answer.expect("a stream").into_inner();
    messages.message().await.expect("a watermark");
    let (stop, mut stopped) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let mut lags = Times::default();
        loop {
            let message = tokio::select! {
                message = messages.message() => message.expect("a message").expect("no end"),
                _ = stopped.recv() => return lags,
            };
            let now = SystemClock.now().micros();
            if let Some(Part::Changes(changes)) = message.part {
                for change in changes.changes {
                    let time = change.time.expect("a time");
                    let micros = time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
                    lags.push(Duration::from_micros((now - micros).max(0) as u64));
                }
            } else {
                assert!(
                    matches!(message.part, Some(Part::Watermark(_))),
                    "more changes than can be read in time"
                );
            }
        }
    });
    (stop, task)
}

async fn pace(host: &Host, users: u64, round: u64, is_watched: bool) {
    let watching = if is_watched {
        Some(watch(host).await)
    } else {
        None
    };
    let (sender, requests) = mpsc::channel(4_096);
    let (sent, mut sent_at) = mpsc::channel(1 << 17);
    let start = Instant::now();
    let processor = processor_time();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(AT_ONCE * 1_000_000 / RATE));
        let mut number = 0;
        while start.elapsed() < Duration::from_secs(SECONDS) {
            ticks.tick().await;
            for _ in 0..AT_ONCE {
                number += 1;
                let request = WriteStreamRequest {
                    sequence: number,
                    updates: vec![update(number, round, users)],
                    ..Default::default()
                };
                sent.send(Instant::now()).await.expect("room");
                sender.send(request).await.expect("an open stream");
            }
        }
    });
    let mut client = IngestServiceClient::new(host.connect().await);
    let answers = client.write_stream(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut times = Times::default();
    let mut answered = 0_u64;
    while let Some(answer) = answers.message().await.expect("an answer") {
        assert_eq!(answer.error, None);
        answered += 1;
        let at = sent_at.recv().await.expect("one for each");
        times.push(at.elapsed());
    }
    let elapsed = start.elapsed().as_secs_f64();
    let processor = (processor_time() - processor) / elapsed;
    let mut told = String::new();
    if let Some((stop, task)) = watching {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stop.send(()).await;
        let lags = task.await.expect("all that was told");
        told = format!(
            "{:>10.0} {:>12} {:>10}",
            lags.len() as f64 / elapsed,
            short(lags.median()),
            short(lags.within(0.99))
        );
    }
    println!(
        "{:>15} {processor:>7.2} cores {:>13} {:>12} {told}   ({:.0} updates/s)",
        if is_watched { "watched" } else { "not watched" },
        short(times.median()),
        short(times.within(0.99)),
        answered as f64 / elapsed,
    );
}
