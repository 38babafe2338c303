//! The engine on a disk that takes its time, and what is counted of it.

use super::*;

/// So many populations that a snapshot has many sections, each of which is synced.
const POPULATIONS: u32 = 50;

async fn fill(engine: &Engine) {
    for number in 0..POPULATIONS {
        let mut command = set("u1", "a", 1);
        if let Command::Population { name, .. } = &mut command {
            *name = PopulationName::new(format!("p{number}")).unwrap();
        }
        engine.commit(command).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_does_not_wait_for_a_snapshot() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    fill(&engine).await;
    let (applied, files) = (engine.applied(), disk.files().len());
    disk.slow_down(Duration::from_millis(100));
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.snapshot().await }
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while disk.files().len() < files + 5 {
        assert!(std::time::Instant::now() < deadline, "no section was begun");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = std::time::Instant::now();
    engine.shutdown().await;
    // All of it would take longer than 10 s: there are two sections and more a population.
    assert!(
        told.elapsed() < Duration::from_secs(4),
        "{:?}",
        told.elapsed()
    );
    let refused = waiting.await.unwrap().unwrap_err();
    assert!(matches!(refused, SnapshotError::Stopping), "{refused}");
    let files = disk.files();
    let left = files
        .keys()
        .find(|path| path.starts_with("/data/snapshots"));
    assert_eq!(left, None, "it was not cleaned up");
    for crash in [Crash::LosesAll, Crash::KeepsAll] {
        let engine = open_on(&disk.after_crash(crash)).unwrap();
        assert_eq!(engine.applied(), applied);
        engine.snapshot().await.unwrap();
    }
}

/// What is written while a snapshot waits for its turn is in it, and does not count as unsaved.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_holds_is_not_unsaved() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    disk.slow_down(Duration::from_millis(300));
    let first = engine.submit(set("u1", "a", 0)).await.unwrap();
    // The thread waits for its sync, so that these are carried out after the snapshot is asked for.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut submitted = vec![first];
    for number in 1..10 {
        submitted.push(engine.submit(set("u1", "a", number)).await.unwrap());
    }
    let info = engine.snapshot().await.unwrap();
    for outcome in submitted {
        outcome.await.unwrap();
    }
    assert_eq!(info.revision, engine.applied());
    let statistics = engine.statistics();
    assert_eq!(statistics.unsaved_bytes, 0);
    assert_eq!(statistics.unsaved_for, None);
}

/// What only grows goes on doing so when the name goes of which the events were.
#[tokio::test]
async fn events_that_did_not_count_are_counted_for_good() {
    let engine = open_on(&LyingDisk::new()).unwrap();
    let declare = Action::CreateEvent(kept_for("visit", 30));
    engine
        .commit(in_population("default", declare))
        .await
        .unwrap();
    let update = did(
        "u1",
        100,
        &[
            ("visit", 100, Some("a")),
            ("visit", 100, Some("a")),
            ("visit", 1, None),
            ("visit", 190, None),
        ],
    );
    let write = Action::Write(NonEmpty::one(update));
    engine
        .commit(in_population("default", write))
        .await
        .unwrap();
    let counted = || {
        let statistics = engine.statistics();
        (
            statistics.duplicates,
            statistics.too_old,
            statistics.too_far_ahead,
        )
    };
    assert_eq!(counted(), (1, 1, 1));
    let delete = Action::DeleteEvent(event_name("visit"));
    engine
        .commit(in_population("default", delete))
        .await
        .unwrap();
    assert_eq!(counted(), (1, 1, 1));
}
