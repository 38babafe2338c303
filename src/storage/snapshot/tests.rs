//! Snapshots on a disk that lies and is damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Snapshots;
use crate::model::{Revision, Timestamp};
use crate::storage::{DataFolder, Disk, DiskError, StorageError};
use crate::testing::disk::{Crash, Failure, LyingDisk};

type Sections = BTreeMap<String, Vec<u8>>;

fn open(disk: &LyingDisk) -> Result<(DataFolder, Snapshots), StorageError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let data = DataFolder::open(&disk, Path::new("/data"), || 7)?;
    let snapshots = Snapshots::open(disk, &data)?;
    Ok((data, snapshots))
}

/// What the snapshot of a revision holds: one section that never changes, one that does every
/// second time, one that always does.
fn sections(revision: u64) -> Sections {
    let section = |name: &str, number: u64| {
        let content = format!("{name} {number} {}", "x".repeat(80));
        (name.to_owned(), content.into_bytes())
    };
    BTreeMap::from([
        section("same", 0),
        section("sometimes", revision / 20),
        section("store", revision),
    ])
}

fn write(snapshots: &mut Snapshots, revision: u64) -> Result<(), DiskError> {
    let previous = snapshots.revisions().last().copied();
    let previous = previous.and_then(|revision| snapshots.read(revision).ok());
    let created = Timestamp::MIN;
    let mut writer = snapshots.write(Revision::new(revision), created, previous.as_ref())?;
    for (name, bytes) in sections(revision) {
        let before = previous.as_ref().map(|previous| {
            let revision = previous.manifest().revision.number();
            sections(revision)[&name].clone()
        });
        if before.as_ref() == Some(&bytes) {
            writer.share(&name)?;
        } else {
            writer.add(&name, &bytes)?;
        }
    }
    snapshots.finish(writer)?;
    snapshots.keep_newest(2, &[])
}

fn read(snapshots: &Snapshots, revision: Revision) -> Result<Sections, StorageError> {
    let reader = snapshots.read(revision)?;
    let names = reader.manifest().sections.clone().into_iter();
    names
        .map(|section| {
            let bytes = reader.section(&section.name)?;
            Ok((section.name, bytes.unwrap()))
        })
        .collect()
}

/// Writes snapshots until the disk fails. Returns the revision of the last one that was finished.
fn write_many(disk: &LyingDisk) -> u64 {
    let mut finished = 0;
    if let Ok((_data, mut snapshots)) = open(disk) {
        for revision in [10, 20, 30, 40, 50] {
            let outcome = write(&mut snapshots, revision);
            if snapshots.revisions().last() == Some(&Revision::new(revision)) {
                finished = revision;
            }
            if outcome.is_err() {
                break;
            }
        }
    }
    finished
}

#[test]
fn two_snapshots_are_kept_and_share_what_is_the_same() {
    let disk = LyingDisk::new();
    assert_eq!(write_many(&disk), 50);
    let (_data, snapshots) = open(&disk.after_crash(Crash::LosesAll)).unwrap();
    assert_eq!(
        snapshots.revisions(),
        [Revision::new(40), Revision::new(50)]
    );
    for &revision in snapshots.revisions() {
        assert_eq!(
            read(&snapshots, revision).unwrap(),
            sections(revision.number())
        );
    }
}

#[test]
fn a_crash_at_every_operation_leaves_whole_snapshots_only() {
    let count = {
        let disk = LyingDisk::new();
        write_many(&disk);
        disk.operations()
    };
    for operation in 1..=count {
        let disk = LyingDisk::new();
        disk.fail_at(operation, Failure::PowerOut);
        let finished = write_many(&disk);
        let mut crashes = vec![Crash::LosesAll, Crash::KeepsAll];
        crashes.extend((0..6).map(|seed| Crash::Tears {
            seed: operation * 1_000 + seed,
        }));
        for crash in crashes {
            let found = disk.after_crash(crash);
            let (_data, mut snapshots) = open(&found).unwrap();
            let revisions = snapshots.revisions().to_vec();
            let newest = revisions.last().map_or(0, |revision| revision.number());
            assert!(newest >= finished, "{operation}, {crash:?}");
            assert!(finished < 20 || revisions.len() > 1, "{operation}");
            for &revision in &revisions {
                let expected = sections(revision.number());
                assert_eq!(read(&snapshots, revision).unwrap(), expected);
            }
            write(&mut snapshots, 60).unwrap();
            let expected = sections(60);
            assert_eq!(read(&snapshots, Revision::new(60)).unwrap(), expected);
        }
    }
}

#[test]
fn every_flipped_bit_and_every_missing_file_is_noticed() {
    let disk = LyingDisk::new();
    write_many(&disk);
    let newest = Revision::new(50);
    let files: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("/data/snapshots/00000000000000000050"))
        .collect();
    assert_eq!(files.len(), 4);
    for (path, bytes) in files {
        let noticed = |copy: &LyingDisk, what: &str| {
            let (_data, snapshots) = open(copy).unwrap();
            match read(&snapshots, newest) {
                Err(StorageError::Damaged { file, .. }) => assert_eq!(file, path, "{what}"),
                other => panic!("{what} of {}: {other:?}", path.display()),
            }
        };
        for bit in 0..bytes.len() * 8 {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            noticed(&copy, &format!("bit {bit}"));
        }
        for length in 0..bytes.len() {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes.truncate(length));
            noticed(&copy, &format!("length {length}"));
        }
        let copy = disk.copy();
        copy.remove_file(&path).unwrap();
        noticed(&copy, "absence");
    }
}

#[test]
fn a_snapshot_that_can_not_be_used_is_set_aside() {
    let disk = LyingDisk::new();
    write_many(&disk);
    let (_data, mut snapshots) = open(&disk).unwrap();
    let place = snapshots.set_aside(Revision::new(50)).unwrap();
    assert_eq!(snapshots.revisions(), [Revision::new(40)]);
    let files = disk.after_crash(Crash::LosesAll).files();
    assert_eq!(
        files.keys().filter(|path| path.starts_with(&place)).count(),
        4
    );
}

#[test]
fn what_is_no_snapshot_is_not_touched() {
    let disk = LyingDisk::new();
    write_many(&disk);
    let stranger = Path::new("/data/snapshots/notes");
    disk.create_folder(stranger).unwrap();
    let error = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(error, StorageError::UnknownFile { path } if path == stranger));
}
