//! Increments that are sent until they are acknowledged, to a service that is killed again and
//! again: each takes effect exactly once, with request ids and in streams that are resumed.

use std::time::Duration;

use headcount::proto::{UserUpdate, WriteRequest, WriteStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::service::{Client, Service};
use crate::{Chance, int, number, setting};

/// Tasks that write with request ids, and tasks that write streams.
const WRITERS: u64 = 4;
const STREAMS: u64 = 3;
/// Batches of a stream that are not acknowledged yet.
const IN_FLIGHT: u64 = 32;

/// What one task did: so many increments of its user were sent, of which so many were acknowledged
/// already, all but the last few.
#[derive(Clone, Debug)]
struct Progress {
    user: String,
    sent: u64,
    acknowledged: u64,
    /// How many were found to have been kept though nobody had been told.
    replayed: u64,
}

impl Progress {
    fn new(user: String) -> Self {
        Self {
            user,
            sent: 0,
            acknowledged: 0,
            replayed: 0,
        }
    }

    fn updates(&self) -> Vec<UserUpdate> {
        let increment = [("n".to_owned(), int(1))];
        vec![UserUpdate {
            user_id: self.user.clone(),
            increment: increment.into(),
            ..UserUpdate::default()
        }]
    }

    fn request(&self, number: u64) -> WriteRequest {
        WriteRequest {
            updates: self.updates(),
            request_id: format!("{} {number}", self.user),
            ..WriteRequest::default()
        }
    }
}

/// Writes with request ids until `most` are acknowledged or the service is gone, the one in doubt
/// first.
async fn write(service: &Client, progress: &mut Progress, most: u64) {
    let mut client = service.writer();
    while progress.acknowledged < most {
        let next = progress.acknowledged + 1;
        let in_doubt = progress.sent == next;
        progress.sent = next;
        let Ok(response) = client.write(progress.request(next)).await else {
            return;
        };
        let replayed = response.into_inner().replayed;
        assert!(in_doubt || !replayed, "{next} had never been sent");
        progress.replayed += u64::from(replayed);
        progress.acknowledged = next;
    }
}

/// Resumes a stream, and goes on until `most` are acknowledged; `None` if the service is gone
/// before.
async fn stream(service: &Client, progress: &mut Progress, most: u64) -> Option<()> {
    let (requests, receiver) = mpsc::channel(64);
    let mut client = service.writer();
    let opening = WriteStreamRequest {
        stream_id: progress.user.clone(),
        ..WriteStreamRequest::default()
    };
    let _ = requests.send(opening).await;
    let response = client
        .write_stream(ReceiverStream::new(receiver))
        .await
        .ok()?;
    let mut answers = response.into_inner();
    let first = answers.message().await.ok()??;
    let last = first.opened.expect("a stream that is opened").last_sequence;
    assert!(
        progress.acknowledged <= last && last <= progress.sent,
        "{last}: {progress:?}"
    );
    let mut sent = progress.acknowledged;
    while progress.acknowledged < most {
        while sent < most && sent < progress.acknowledged + IN_FLIGHT {
            sent += 1;
            progress.sent = progress.sent.max(sent);
            let batch = WriteStreamRequest {
                sequence: sent,
                updates: progress.updates(),
                ..WriteStreamRequest::default()
            };
            let _ = requests.send(batch).await;
        }
        let answer = answers.message().await.ok()??;
        assert_eq!(answer.sequence, progress.acknowledged + 1);
        assert_eq!(answer.error, None);
        assert_eq!(answer.replayed, answer.sequence <= last);
        progress.replayed += u64::from(answer.replayed);
        progress.acknowledged = answer.sequence;
    }
    Some(())
}

async fn count(service: &Client, progress: &Progress) -> u64 {
    let user = service.user(&progress.user).await;
    user.map_or(0, |properties| number(&properties, "n"))
}

async fn send_to_a_service_that_is_killed(snapshots: bool, default_seed: u64, cycles: u64) {
    let seed = setting("HEADCOUNT_CRASH_SEED", default_seed);
    let cycles = setting("HEADCOUNT_CRASH_CYCLES", cycles);
    println!("HEADCOUNT_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let folder = tempfile::tempdir().unwrap();
    let names = |kind: &'static str, count| (0..count).map(move |n| format!("{kind}{n}"));
    let mut writers: Vec<_> = names("writer", WRITERS).map(Progress::new).collect();
    let mut streams: Vec<_> = names("stream", STREAMS).map(Progress::new).collect();
    for cycle in 0..cycles {
        let mut service = Service::start(folder.path()).await;
        let write_tasks: Vec<_> = writers
            .drain(..)
            .map(|mut progress| {
                let service = service.client();
                tokio::spawn(async move {
                    write(&service, &mut progress, u64::MAX).await;
                    progress
                })
            })
            .collect();
        let stream_tasks: Vec<_> = streams
            .drain(..)
            .map(|mut progress| {
                let service = service.client();
                tokio::spawn(async move {
                    let _ = stream(&service, &mut progress, u64::MAX).await;
                    progress
                })
            })
            .collect();
        let snapshotting = snapshots.then(|| {
            let service = service.client();
            tokio::spawn(async move { while service.snapshot().await {} })
        });
        let kill_after = Duration::from_millis(50 + chance.next(400));
        tokio::time::sleep(kill_after).await;
        service.kill();
        for task in write_tasks {
            writers.push(task.await.unwrap());
        }
        for task in stream_tasks {
            streams.push(task.await.unwrap());
        }
        if let Some(snapshotting) = snapshotting {
            snapshotting.await.unwrap();
        }
        let all = writers.iter().chain(&streams);
        let (sent, replayed) = all.fold((0, 0), |(sent, replayed), progress| {
            (sent + progress.sent, replayed + progress.replayed)
        });
        println!("cycle {cycle}: killed after {kill_after:?}, {sent} sent, {replayed} replayed");
    }

    let service = Service::start(folder.path()).await;
    for progress in &mut writers {
        let all = progress.sent;
        write(&service, progress, all).await;
        assert!(progress.sent > 0, "nothing was written at all");
        assert_eq!(count(&service, progress).await, all, "{progress:?}");
        // Also what was acknowledged long ago is known still.
        for _ in 0..20 {
            let request = progress.request(1 + chance.next(all));
            let response = service.writer().write(request).await.unwrap();
            assert!(response.into_inner().replayed);
        }
        assert_eq!(count(&service, progress).await, all, "{progress:?}");
    }
    for progress in &mut streams {
        let all = progress.sent;
        stream(&service, progress, all).await.unwrap();
        assert!(progress.sent > 0, "nothing was written at all");
        assert_eq!(count(&service, progress).await, all, "{progress:?}");
        // As if no acknowledgement had ever come.
        let mut forgetful = Progress {
            acknowledged: 0,
            ..progress.clone()
        };
        stream(&service, &mut forgetful, all).await.unwrap();
        assert_eq!(count(&service, progress).await, all, "{progress:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_until_it_is_acknowledged_takes_effect_once() {
    send_to_a_service_that_is_killed(false, 1_123, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_until_it_is_acknowledged_takes_effect_once_while_snapshots_are_written() {
    send_to_a_service_that_is_killed(true, 90_210, 5).await;
}
