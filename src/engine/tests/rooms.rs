//! That single writes and streams leave each other's room alone, while nothing is carried out.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::model::{Reason, Text};

const MOMENT: Duration = Duration::from_millis(100);

/// The commit thread does nothing until this is dropped.
async fn stalled(engine: &Engine) -> Receiver<commit::Captured> {
    let (reply, held) = sync_channel(0);
    engine.0.commits.send(Task::Capture(reply)).await.unwrap();
    held
}

fn large(user: usize, bytes: usize) -> Command {
    let mut command = set(&format!("u{user}"), "text", 0);
    if let Command::Population {
        action: Action::Write(updates),
        ..
    } = &mut command
    {
        let mut update = updates[0].clone();
        let text = Text::new("x".repeat(1_000)).unwrap();
        update.changes = (0..bytes / 1_000)
            .map(|number| Change {
                property: PropertyName::new(format!("p{number}")).unwrap(),
                operation: Operation::Set(Value::String(text.clone())),
            })
            .collect();
        *updates = NonEmpty::one(update);
    }
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_wait_for_room_and_leave_single_writes_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let held = stalled(&engine).await;
    let mut submitting = JoinSet::new();
    for user in 0..20 {
        let engine = engine.clone();
        submitting.spawn(async move { engine.submit(large(user, 900_000)).await });
    }
    // Those that have room are in the queue; the others wait, and are not refused.
    let mut taken = Vec::new();
    while let Ok(submitted) = timeout(MOMENT, submitting.join_next()).await {
        taken.push(submitted.unwrap().unwrap().unwrap());
    }
    assert!((4..16).contains(&taken.len()), "{}", taken.len());
    let single = tokio::spawn({
        let engine = engine.clone();
        async move { engine.commit(set("single", "a", 1)).await }
    });
    assert!(
        timeout(MOMENT, async {
            while !single.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .is_err(),
        "it was refused"
    );
    drop(held);
    single.await.unwrap().unwrap();
    while let Some(submitted) = submitting.join_next().await {
        taken.push(submitted.unwrap().unwrap());
    }
    assert_eq!(taken.len(), 20);
    for submitted in taken {
        submitted.await.unwrap();
    }
    assert_eq!(engine.statistics().waiting_bytes, 0);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_writes_are_refused_without_room_and_leave_streams_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let held = stalled(&engine).await;
    let mut single = JoinSet::new();
    for number in 0..5_000 {
        let engine = engine.clone();
        single.spawn(async move { engine.commit(set("u", "a", number)).await });
    }
    // One that finds no place is answered at once.
    let refused = timeout(Duration::from_secs(30), single.join_next()).await;
    let refused = refused.unwrap().unwrap().unwrap();
    assert_eq!(refused.unwrap_err().reason(), Reason::Overloaded);
    let submitted = timeout(MOMENT * 100, engine.submit(set("u", "b", 1))).await;
    let submitted = submitted.unwrap().unwrap();
    drop(held);
    submitted.await.unwrap();
    let (mut carried_out, mut refused) = (0, 1);
    while let Some(outcome) = single.join_next().await {
        match outcome.unwrap() {
            Ok(_) => carried_out += 1,
            Err(error) => {
                assert_eq!(error.reason(), Reason::Overloaded);
                refused += 1;
            }
        }
    }
    assert!(carried_out >= 4_096, "{carried_out}");
    assert_eq!(carried_out + refused, 5_000);
    engine.shutdown().await;
}
