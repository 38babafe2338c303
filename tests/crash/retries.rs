//! Increments and events that are sent until they are acknowledged: each takes effect exactly once,
//! with request ids and in streams that are resumed. The events have no ids of their own.

use headcount::proto::{UserUpdate, WriteRequest, WriteStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::service::Client;
use crate::{Chance, event, int, number};

/// Batches of a stream that are not acknowledged yet.
const IN_FLIGHT: u64 = 32;

/// What one task did: so many increments of its user were sent, of which so many were acknowledged
/// already, all but the last few.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    user: String,
    sent: u64,
    acknowledged: u64,
    /// How many were found to have been kept though nobody had been told.
    replayed: u64,
}

impl Progress {
    pub(crate) fn new(user: String) -> Self {
        Self {
            user,
            sent: 0,
            acknowledged: 0,
            replayed: 0,
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    fn updates(&self) -> Vec<UserUpdate> {
        let increment = [("n".to_owned(), int(1))];
        vec![UserUpdate {
            user_id: self.user.clone(),
            increment: increment.into(),
            events: vec![event("retried", "")],
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
pub(crate) async fn write(service: &Client, progress: &mut Progress, most: u64) {
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
pub(crate) async fn stream(service: &Client, progress: &mut Progress, most: u64) -> Option<()> {
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
    user.map_or(0, |found| {
        let increments = number(&found.properties, "n");
        assert_eq!(found.did("retried"), increments, "{progress:?}");
        increments
    })
}

/// Makes sure that a user has as many increments as there can be, and events; returns how many.
pub(crate) async fn check(service: &Client, progress: &Progress) -> u64 {
    let found = count(service, progress).await;
    let possible = progress.acknowledged..=progress.sent;
    assert!(possible.contains(&found), "{found}: {progress:?}");
    found
}

/// Sends again what is in doubt, and some of what was acknowledged long ago.
pub(crate) async fn finish_writes(service: &Client, progress: &mut Progress, chance: &mut Chance) {
    let all = progress.sent;
    write(service, progress, all).await;
    assert_eq!(count(service, progress).await, all, "{progress:?}");
    for _ in 0..20 {
        let request = progress.request(1 + chance.next(all));
        let response = service.writer().write(request).await.unwrap();
        assert!(response.into_inner().replayed);
    }
    assert_eq!(count(service, progress).await, all, "{progress:?}");
}

/// Sends again what is in doubt, and then everything, as if no acknowledgement had ever come.
pub(crate) async fn finish_stream(service: &Client, progress: &mut Progress) {
    let all = progress.sent;
    stream(service, progress, all).await.unwrap();
    assert_eq!(count(service, progress).await, all, "{progress:?}");
    let mut forgetful = Progress {
        acknowledged: 0,
        ..progress.clone()
    };
    stream(service, &mut forgetful, all).await.unwrap();
    assert_eq!(count(service, progress).await, all, "{progress:?}");
}
