//! Backups: of one moment while writes go on, kept while they are read, and restored the same.

use std::path::Path;

use super::*;
use crate::storage::{self, NewFolder};

/// Writes a backup into a folder, as a client would, in pieces of a few bytes.
fn receive(disk: &LyingDisk, backup: &Backup, to: &str) -> Result<Verification, BackupError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut folder = NewFolder::begin(Arc::clone(&disk), Path::new(to)).unwrap();
    for file in backup.files() {
        let mut target = folder.file(&file.name).unwrap();
        let mut offset = 0;
        while offset < file.length {
            let piece = backup.read(file, offset, 100).unwrap();
            offset += piece.len() as u64;
            target.write(&piece).unwrap();
        }
        assert!(backup.read(file, offset, 100).unwrap().is_empty());
        target.finish(file.length, file.checksum).unwrap();
    }
    publish(&disk, folder)
}

fn open_at(disk: &LyingDisk, path: &str) -> Engine {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = EngineOptions {
        data: path.into(),
        ..small()
    };
    Engine::open_on(&disk, &options, Arc::new(SystemClock)).unwrap()
}

#[tokio::test]
async fn a_backup_is_of_one_revision_while_writes_go_on() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    let writer = {
        let engine = engine.clone();
        tokio::spawn(async move {
            // The nth command has the revision n + 1: the limits come first.
            for number in 1..=400_i64 {
                let mut command = set("a", "n", number);
                if let Command::Population {
                    action: Action::Write(updates),
                    ..
                } = &mut command
                {
                    let (mut other, own) = (updates[0].clone(), updates[0].clone());
                    other.user = UserId::new("b").unwrap();
                    *updates = NonEmpty::new(vec![own, other]).unwrap();
                }
                engine.commit(command).await.unwrap();
            }
        })
    };
    let mut revisions = std::collections::BTreeSet::new();
    for number in 0.. {
        let is_last = writer.is_finished();
        let backup = engine.backup().await.unwrap();
        let verification = receive(&disk, &backup, &format!("/backup-{number}")).unwrap();
        let revision = verification.start.unwrap().revision;
        assert_eq!(revision, backup.info.revision);
        let restored = open_at(&disk, &format!("/backup-{number}"));
        assert_eq!(restored.store_id(), engine.store_id());
        let expected = i64::try_from(revision.number()).unwrap() - 1;
        if expected > 0 {
            for user in ["a", "b"] {
                assert_eq!(value(&restored, user, "n"), Some(Value::Int64(expected)));
            }
        }
        revisions.insert(revision);
        if is_last {
            assert_eq!(expected, 400);
            break;
        }
    }
    assert!(revisions.len() > 2, "{revisions:?}");
}

#[tokio::test]
async fn a_snapshot_stays_for_as_long_as_it_is_read() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    engine.commit(set("u", "n", 0)).await.unwrap();
    let backup = engine.backup().await.unwrap();
    let folder = format!("/data/snapshots/{:020}", backup.info.revision.number());
    let exists = || disk.kind(Path::new(&folder)).unwrap().is_some();
    for number in 1..5 {
        engine.commit(set("u", "n", number)).await.unwrap();
        engine.snapshot().await.unwrap();
    }
    assert!(exists());
    receive(&disk, &backup, "/backup").unwrap();
    drop(backup);
    engine.commit(set("u", "n", 5)).await.unwrap();
    engine.snapshot().await.unwrap();
    assert!(!exists());
    assert_eq!(disk.list(Path::new("/data/snapshots")).unwrap().len(), 2);
    engine.shutdown().await;
    let restored = open_at(&disk, "/backup");
    assert_eq!(value(&restored, "u", "n"), Some(Value::Int64(0)));
}

#[tokio::test]
async fn what_is_copied_and_restored_is_the_same_and_durable() {
    let disk = LyingDisk::new();
    run(&disk, &workload()).await;
    let before = disk.files();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    copy(&dyn_disk, Path::new("/data"), Path::new("/backup")).unwrap();
    copy(&dyn_disk, Path::new("/backup"), Path::new("/restored")).unwrap();
    let mut unchanged = disk.files();
    unchanged.retain(|path, _| path.starts_with("/data"));
    assert!(unchanged == before, "what was copied was changed");

    let found = disk.after_crash(Crash::LosesAll);
    let original = open_on(&found).unwrap();
    let restored = open_at(&found, "/restored");
    assert_eq!(contents(&restored), contents(&original));
    assert_eq!(restored.applied(), original.applied());
    // It goes on like the original.
    for engine in [&original, &restored] {
        engine.commit(increment("u1", "visits")).await.unwrap();
        engine.shutdown().await;
    }
    drop((original, restored));
    let again = open_at(&found, "/restored");
    assert_eq!(contents(&again), contents(&open_on(&found).unwrap()));
}

#[tokio::test]
async fn nothing_is_copied_over_something_or_of_something_damaged() {
    let disk = LyingDisk::new();
    run(&disk, &workload()).await;
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    copy(&dyn_disk, Path::new("/data"), Path::new("/backup")).unwrap();
    let before = disk.files();
    let error = copy(&dyn_disk, Path::new("/data"), Path::new("/backup")).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    let mut sections = before
        .keys()
        .filter(|path| path.starts_with("/backup/snapshots") && path.ends_with("default+catalog"));
    let section = sections.next_back().unwrap();
    disk.tamper(section, |bytes| bytes[9] ^= 1);
    let error = copy(&dyn_disk, Path::new("/backup"), Path::new("/restored")).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    disk.tamper(section, |bytes| bytes[9] ^= 1);
    assert!(disk.files() == before, "something was changed");
}

/// A copy that a crash breaks off has no name that a start would take for a data folder's.
#[tokio::test]
async fn a_crash_at_every_operation_leaves_a_whole_copy_or_none() {
    let source = LyingDisk::new();
    run(&source, &workload()).await;
    let expected = contents(&open_on(&source.copy()).unwrap());
    let source = source.after_crash(Crash::LosesAll);
    let (mut whole, mut none) = (0, 0);
    for operation in 1.. {
        let disk = source.copy();
        disk.fail_at(operation, Failure::PowerOut);
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let copied = copy(&dyn_disk, Path::new("/data"), Path::new("/backup"));
        for crash in [
            Crash::LosesAll,
            Crash::KeepsAll,
            Crash::Tears { seed: operation },
        ] {
            let found = disk.after_crash(crash);
            if found.kind(Path::new("/backup")).unwrap().is_some() {
                assert_eq!(contents(&open_at(&found, "/backup")), expected);
                whole += 1;
            } else {
                assert!(copied.is_err(), "operation {operation}, {crash:?}");
                none += 1;
            }
        }
        if copied.is_ok() {
            break;
        }
    }
    assert!(whole > 0 && none > 10, "{whole} {none}");
    assert_eq!(storage::checksum(b"123456789"), 0xcbf4_3926);
}

#[tokio::test]
async fn the_first_write_after_a_restore_needs_no_space() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    engine.commit(set("u", "n", 1)).await.unwrap();
    let backup = engine.backup().await.unwrap();
    receive(&disk, &backup, "/backup").unwrap();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    copy(&dyn_disk, Path::new("/backup"), Path::new("/restored")).unwrap();
    for folder in ["/backup", "/restored"] {
        let restored = open_at(&disk, folder);
        disk.set_capacity(Some(disk.used()));
        restored.commit(set("u", "n", 2)).await.unwrap();
        assert_eq!(value(&restored, "u", "n"), Some(Value::Int64(2)));
        disk.set_capacity(None);
        restored.shutdown().await;
    }
}
