//! Checking a data folder: every fault is found, and nothing is changed.

use std::path::Path;

use super::*;
use crate::model::Text;
use crate::storage::{Holds, StorageError};

fn verify(disk: &LyingDisk) -> Verification {
    let before = disk.files();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let verification = crate::engine::verify(&dyn_disk, Path::new("/data")).unwrap();
    assert!(disk.files() == before, "something was changed");
    verification
}

async fn worked() -> LyingDisk {
    let disk = LyingDisk::new();
    run(&disk, &workload()).await;
    disk
}

/// The newest file of the log.
fn newest_log(disk: &LyingDisk) -> PathBuf {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|e| e == "log");
    disk.files().into_keys().rfind(is_log).unwrap()
}

#[tokio::test]
async fn a_sound_folder_is_told_as_it_is() {
    let disk = worked().await;
    let verification = verify(&disk);
    assert!(verification.is_sound(), "{verification:?}");
    let engine = open_on(&disk).unwrap();
    let started = verification.start.unwrap();
    assert_eq!(started.revision, engine.applied());
    assert_eq!(verification.store_id, Some(engine.store_id()));
    let users = engine.populations().into_iter();
    let users: u64 = users.map(|(_, population)| population.user_count()).sum();
    assert_eq!((started.populations, started.users), (2, users));

    let in_use: Arc<dyn Disk> = Arc::new(disk.clone());
    let error = crate::engine::verify(&in_use, Path::new("/data")).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    let error = crate::engine::verify(&in_use, Path::new("/none")).unwrap_err();
    assert!(matches!(error, StorageError::NoData { .. }), "{error}");
}

#[tokio::test]
async fn a_flipped_byte_is_found_where_it_is() {
    let disk = worked().await;
    let newest = newest_log(&disk);
    let last = disk.files()[&newest].iter().rposition(|byte| *byte != 0);
    let end = last.unwrap() + 1;
    let (mut damaged, mut torn) = (0, 0);
    for (path, bytes) in disk.files() {
        // Every third byte, which meets every field.
        for position in (0..bytes.len()).step_by(3) {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[position] ^= 1 << (position % 8));
            let verification = verify(&copy);
            let name = path.display();
            if verification.is_sound() {
                let file = verification.files.iter().find(|file| file.path == path);
                let file = file.unwrap();
                if path == newest {
                    // In the closing frame of 20 bytes, or behind it.
                    let in_no_record = position + 20 >= end;
                    assert!(in_no_record && file.torn.is_some(), "{name} {position}");
                    torn += 1;
                } else {
                    assert_eq!(file.holds, Holds::Nothing, "{name} {position}");
                }
                assert!(open_on(&copy).is_ok(), "{name} {position}");
            } else {
                let file = verification.files.iter().find(|file| file.path == path);
                let faults = file.map(|file| file.faults.len()).unwrap_or_default();
                assert!(faults > 0, "{name} {position}: {:?}", verification.files);
                damaged += 1;
            }
        }
    }
    assert!(damaged > 300 && torn > 10, "{damaged} {torn}");
}

#[tokio::test]
async fn all_faults_are_told_and_not_only_the_first() {
    let disk = worked().await;
    let newest = newest_log(&disk);
    let mut sections = disk
        .files()
        .into_keys()
        .filter(|path| path.starts_with("/data/snapshots") && path.ends_with("default+shard-0"));
    let section = sections.next_back().unwrap();
    disk.tamper(&section, |bytes| bytes[20] ^= 1);
    disk.tamper(&newest, |bytes| bytes[40] ^= 1);
    disk.tamper(Path::new("/data/headcount"), |bytes| bytes[9] ^= 1);
    disk.create(Path::new("/data/log/notes.txt"), 3).unwrap();
    let verification = verify(&disk);
    let faulty = verification.files.iter();
    let mut faulty: Vec<_> = faulty
        .filter(|file| !file.faults.is_empty())
        .map(|file| file.path.clone())
        .collect();
    // A file that two snapshots share is told of with each.
    faulty.dedup_by(|a, b| a.file_name() == b.file_name());
    assert_eq!(
        faulty,
        [
            PathBuf::from("/data/headcount"),
            section,
            newest.clone(),
            "/data/log/notes.txt".into()
        ]
    );
    assert!(verification.start.is_err());
    let log = verification.files.iter().find(|file| file.path == newest);
    assert_eq!(log.unwrap().faults[0].offset, 36);
}

#[tokio::test]
async fn a_missing_file_of_the_log_is_told_with_its_revisions() {
    let disk = LyingDisk::new();
    let steps: Vec<Step> = workload()
        .into_iter()
        .filter(|step| matches!(step, Step::Commit(_)))
        .collect();
    run(&disk, &steps).await;
    let is_log = |path: &PathBuf| path.extension().is_some_and(|e| e == "log");
    let logs: Vec<PathBuf> = disk.files().into_keys().filter(is_log).collect();
    disk.remove_file(&logs[1]).unwrap();
    let verification = verify(&disk);
    let after = verification.files.iter().find(|file| file.path == logs[2]);
    let what = &after.unwrap().faults[0].what;
    assert!(
        what.starts_with("before this file, the revisions from"),
        "{what}"
    );
    assert!(!verification.is_sound());
}

#[tokio::test]
async fn a_torn_tail_is_told_and_is_no_damage() {
    // More than a sector each, so that a part of one can be kept.
    let text = Value::String(Text::new("x".repeat(900)).unwrap());
    let long = |user: &str| {
        in_population(
            "default",
            Action::Write(NonEmpty::one(UserUpdate {
                user: UserId::new(user).unwrap(),
                value_time: None,
                changes: vec![Change {
                    property: PropertyName::new("note").unwrap(),
                    operation: Operation::Set(text.clone()),
                }],
                events: Vec::new(),
            })),
        )
    };
    let steps = ["u1", "u2", "u3"].map(|user| Step::Commit(long(user)));
    let whole = LyingDisk::new();
    run(&whole, &steps).await;
    let mut torn = 0;
    for operation in 1..=whole.operations() {
        let disk = LyingDisk::new();
        disk.fail_at(operation, Failure::PowerOut);
        run(&disk, &steps).await;
        for seed in 0..8 {
            let crash = Crash::Tears {
                seed: 10 * operation + seed,
            };
            let found = disk.after_crash(crash);
            // Before that, there is no data.
            if found.files().contains_key(Path::new("/data/headcount")) {
                let verification = verify(&found);
                assert!(verification.is_sound(), "{operation}: {verification:?}");
                torn += usize::from(verification.files.iter().any(|file| file.torn.is_some()));
                assert!(open_on(&found).is_ok());
            }
        }
    }
    assert!(torn > 0, "no crash left a torn tail");
}
