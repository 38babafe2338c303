//! Repairing a data folder: what is set aside, what is lost, and that nothing else changes.

use std::path::Path;

use super::*;

const DATA: &str = "/data";

/// Only records, of 30 commands: each adds 1 to `n` of one user, the nth has the revision n + 1.
async fn log_only() -> LyingDisk {
    with_snapshots(&[]).await
}

/// The same with snapshots after some of the commands.
async fn with_snapshots(after: &[i64]) -> LyingDisk {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    for number in 1..=30_i64 {
        engine.commit(set("u", "n", number)).await.unwrap();
        if after.contains(&number) {
            engine.snapshot().await.unwrap();
        }
    }
    engine.shutdown().await;
    disk
}

fn logs(disk: &LyingDisk) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| {
        path.starts_with("/data/log") && path.extension().is_some_and(|e| e == "log")
    };
    disk.files().into_keys().filter(is_log).collect()
}

fn dyn_disk(disk: &LyingDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Everything that every file of the folder held is still held by some file.
fn nothing_is_gone(before: &LyingDisk, after: &LyingDisk) {
    let held: Vec<Vec<u8>> = after.files().into_values().collect();
    for (path, bytes) in before.files() {
        let is_spare = path.to_string_lossy().contains("spare");
        assert!(is_spare || held.contains(&bytes), "{}", path.display());
    }
}

/// Plans, which changes nothing, and repairs; returns what was done and the disk after.
#[track_caller]
fn repaired(disk: &LyingDisk) -> (Repair, LyingDisk) {
    let before = disk.files();
    let planned = plan_repair(&dyn_disk(disk), Path::new(DATA)).unwrap();
    assert!(disk.files() == before, "a plan changed something");
    assert!(planned.after.is_sound());
    let after = disk.copy();
    if let Some(loss) = planned.loss {
        let error = repair(&dyn_disk(&after), Path::new(DATA), false).unwrap_err();
        assert!(matches!(error, RepairError::WouldLose(told) if told == loss));
        assert!(after.files() == before, "changed without consent");
    }
    let done = repair(&dyn_disk(&after), Path::new(DATA), true).unwrap();
    assert_eq!((&done.steps, done.loss), (&planned.steps, planned.loss));
    assert!(done.after.is_sound(), "{:?}", done.after);
    nothing_is_gone(disk, &after);
    let durable = after.after_crash(Crash::LosesAll);
    let verification = verify(&dyn_disk(&durable), Path::new(DATA)).unwrap();
    assert!(verification.is_sound());
    let again = plan_repair(&dyn_disk(&durable), Path::new(DATA)).unwrap();
    assert!(again.steps.is_empty(), "{:?}", again.steps);
    (done, durable)
}

/// The value after a start, which takes writes and keeps them.
async fn value_after(disk: &LyingDisk) -> Option<Value> {
    let engine = open_on(disk).unwrap();
    let found = value(&engine, "u", "n");
    engine.commit(set("other", "n", 1)).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let engine = open_on(disk).unwrap();
    assert_eq!(value(&engine, "other", "n"), Some(Value::Int64(1)));
    assert_eq!(value(&engine, "u", "n"), found);
    found
}

#[tokio::test]
async fn a_sound_folder_needs_nothing() {
    for disk in [log_only().await, with_snapshots(&[5, 11, 20]).await] {
        let (done, after) = repaired(&disk);
        assert_eq!((done.steps.len(), done.loss), (0, None));
        assert_eq!(value_after(&after).await, Some(Value::Int64(30)));
    }
}

#[tokio::test]
async fn damaged_snapshots_are_set_aside_if_the_log_has_what_they_held() {
    let disk = with_snapshots(&[10, 20]).await;
    for number in [11, 21] {
        let damaged = disk.copy();
        let manifest = format!("/data/snapshots/{number:020}/manifest");
        damaged.tamper(Path::new(&manifest), |bytes| bytes[20] ^= 1);
        let (done, after) = repaired(&damaged);
        let path = PathBuf::from(format!("/data/snapshots/{number:020}"));
        assert!(
            matches!(&done.steps[..], [RepairStep::SetAside { path: told, .. }] if *told == path)
        );
        assert_eq!(done.loss, None);
        assert_eq!(value_after(&after).await, Some(Value::Int64(30)));
    }
}

#[tokio::test]
async fn a_damaged_record_cuts_the_log_and_the_loss_is_named() {
    let disk = log_only().await;
    let files = logs(&disk);
    assert!(files.len() > 2);
    // The first frame of the second file.
    disk.tamper(&files[1], |bytes| bytes[60] ^= 1);
    let first = files[1].file_stem().unwrap().to_str().unwrap();
    let first: u64 = first.parse().unwrap();
    let (done, after) = repaired(&disk);
    let loss = done.loss.unwrap();
    assert_eq!((loss.from.number(), loss.to.number()), (first, 31));
    assert_eq!(done.steps.len(), files.len() - 1);
    let last = i64::try_from(first).unwrap() - 2;
    assert_eq!(value_after(&after).await, Some(Value::Int64(last)));
}

#[tokio::test]
async fn a_record_damaged_anywhere_loses_nothing_before_it() {
    let disk = log_only().await;
    let mut cuts = 0;
    for path in logs(&disk) {
        let length = disk.files()[&path].len();
        for position in (36..length).step_by(59) {
            let damaged = disk.copy();
            damaged.tamper(&path, |bytes| bytes[position] ^= 1);
            match plan_repair(&dyn_disk(&damaged), Path::new(DATA)) {
                Ok(plan) if plan.steps.is_empty() => continue,
                Ok(_) => {}
                Err(error) => {
                    // The first frame of all, without which nothing can be replayed.
                    let is_first = path == logs(&disk)[0] && position < 80;
                    assert!(is_first, "{} {position}: {error}", path.display());
                    continue;
                }
            }
            cuts += 1;
            let (done, after) = repaired(&damaged);
            let expected = done
                .loss
                .map_or(30, |loss| loss.from.number().cast_signed() - 2);
            let found = value_after(&after).await;
            let found = found.unwrap_or(Value::Int64(0));
            assert_eq!(
                found,
                Value::Int64(expected.max(0)),
                "{} {position}",
                path.display()
            );
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[tokio::test]
async fn damage_to_what_a_snapshot_holds_loses_nothing() {
    let disk = with_snapshots(&[20]).await;
    let files = logs(&disk);
    for path in &files[..2] {
        let damaged = disk.copy();
        damaged.tamper(path, |bytes| bytes[60] ^= 1);
        let (done, after) = repaired(&damaged);
        assert_eq!(done.loss, None, "{:?}", done.steps);
        assert_eq!(value_after(&after).await, Some(Value::Int64(30)));
    }
    // All of it is damaged but what the snapshot has.
    let damaged = disk.copy();
    for path in &files {
        damaged.tamper(path, |bytes| bytes[2] ^= 1);
    }
    let (done, after) = repaired(&damaged);
    assert!(done.loss.is_some());
    assert_eq!(value_after(&after).await, Some(Value::Int64(20)));
}

#[tokio::test]
async fn a_missing_file_of_the_log_cuts_it() {
    let disk = log_only().await;
    let files = logs(&disk);
    disk.remove_file(&files[1]).unwrap();
    let (done, after) = repaired(&disk);
    let first: u64 = files[1]
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(done.loss.map(|loss| loss.from.number()), Some(first));
    let expected = i64::try_from(first).unwrap() - 2;
    assert_eq!(value_after(&after).await, Some(Value::Int64(expected)));
}

#[tokio::test]
async fn a_missing_or_damaged_identity_is_written_anew_if_all_files_agree() {
    let disk = with_snapshots(&[20]).await;
    let identity = Path::new("/data/headcount");
    let before = disk.files()[identity].clone();
    let missing = disk.copy();
    missing.remove_file(identity).unwrap();
    let damaged = disk.copy();
    damaged.tamper(identity, |bytes| bytes[10] ^= 1);
    for disk in [missing, damaged] {
        let (done, after) = repaired(&disk);
        assert!(matches!(
            done.steps.last(),
            Some(RepairStep::WriteIdentity { .. })
        ));
        assert_eq!(after.files()[identity], before);
        assert_eq!(value_after(&after).await, Some(Value::Int64(30)));
    }
    // A file of another store.
    let other = log_only().await;
    let foreign = other.files()[&logs(&other)[0]].clone();
    let mixed = disk.copy();
    mixed.remove_file(identity).unwrap();
    mixed.tamper(&logs(&disk)[0], |bytes| *bytes = foreign);
    let error = plan_repair(&dyn_disk(&mixed), Path::new(DATA)).unwrap_err();
    assert!(matches!(error, RepairError::NoIdentity { .. }), "{error}");
}

#[tokio::test]
async fn unknown_files_are_set_aside() {
    let disk = log_only().await;
    disk.create(Path::new("/data/log/notes.txt"), 3).unwrap();
    disk.create_folder(Path::new("/data/snapshots/old"))
        .unwrap();
    disk.create(Path::new("/data/snapshots/old/x"), 3).unwrap();
    assert!(open_on(&disk.copy()).is_err());
    let (done, after) = repaired(&disk);
    assert_eq!((done.steps.len(), done.loss), (2, None));
    assert!(
        after
            .files()
            .contains_key(Path::new("/data/set-aside/notes.txt"))
    );
    assert_eq!(value_after(&after).await, Some(Value::Int64(30)));
}

#[tokio::test]
async fn what_can_t_be_repaired_or_is_newer_is_left_as_it_is() {
    let disk = log_only().await;
    let first = logs(&disk).remove(0);
    let beginning = disk.copy();
    beginning.tamper(&first, |bytes| bytes[0] ^= 1);
    let newer = disk.copy();
    newer.tamper(&first, |bytes| {
        bytes[4] = 2;
        let checksum = crate::storage::checksum(&bytes[..32]);
        bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
    });
    for (disk, expected) in [
        (beginning, "nothing to start from"),
        (newer, "format version 2"),
    ] {
        let before = disk.files();
        for accepts_loss in [false, true] {
            let error = repair(&dyn_disk(&disk), Path::new(DATA), accepts_loss).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(disk.files() == before, "something was changed");
        }
    }
    let engine = open_on(&disk).unwrap();
    let error = repair(&dyn_disk(&disk), Path::new(DATA), true).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(engine);
}

/// A repair that a crash breaks off can be made again, and no start in between finds anything
/// else than what the repair was to leave.
#[tokio::test]
async fn a_repair_survives_a_crash_at_every_operation() {
    let disk = with_snapshots(&[8]).await;
    let files = logs(&disk);
    disk.tamper(&files[files.len() - 2], |bytes| bytes[60] ^= 1);
    let (done, after) = repaired(&disk);
    assert!(done.steps.len() >= 2 && done.loss.is_some());
    let expected = value_after(&after).await;
    // Planning changes nothing.
    let planned = disk.after_crash(Crash::KeepsAll);
    plan_repair(&dyn_disk(&planned), Path::new(DATA)).unwrap();
    let mut broken_off = 0;
    for operation in planned.operations().. {
        let broken = disk.after_crash(Crash::KeepsAll);
        broken.fail_at(operation, Failure::PowerOut);
        // Also if it was done, and only the check after it failed.
        let _ = repair(&dyn_disk(&broken), Path::new(DATA), true);
        let mut is_done = true;
        for crash in [Crash::LosesAll, Crash::Tears { seed: operation }] {
            let found = broken.after_crash(crash);
            nothing_is_gone(&disk, &found);
            if let Ok(engine) = open_on(&found.copy()) {
                assert_eq!(value(&engine, "u", "n"), expected, "{operation} {crash:?}");
            }
            let (again, repaired) = repaired(&found);
            is_done &= again.steps.is_empty();
            assert_eq!(
                value_after(&repaired).await,
                expected,
                "{operation} {crash:?}"
            );
        }
        if is_done {
            break;
        }
        broken_off += 1;
    }
    assert!(broken_off > 5, "{broken_off}");
}
