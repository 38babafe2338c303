//! Copies that are whole, broken off, or sent by somebody hostile.

use super::*;
use crate::testing::disk::{Crash, LyingDisk};

fn begin(disk: &LyingDisk) -> Result<NewFolder, StorageError> {
    NewFolder::begin(Arc::new(disk.clone()), Path::new("/copy"))
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let disk = LyingDisk::new();
    let mut folder = begin(&disk).unwrap();
    let before = disk.files();
    let revision = "00000000000000000007";
    for name in [
        "",
        "/etc/passwd",
        "../headcount",
        "lock",
        "log/../headcount",
        "log/notes.txt",
        "log/00000000000000000001.log/x",
        "snapshots/7/manifest",
        "snapshots/00000000000000000007/../x",
        "snapshots/00000000000000000007/..",
        "snapshots/00000000000000000007/.",
        "snapshots/00000000000000000007/",
        "snapshots/00000000000000000007/a/b",
        "snapshots/00000000000000000007/a\\b",
        "snapshots/00000000000000000007/a\0",
        "set-aside/x",
    ] {
        let error = folder.file(name).unwrap_err();
        assert!(matches!(error, StorageError::BadName { .. }), "{name:?}");
    }
    assert_eq!(disk.files(), before);
    for name in [
        "headcount".to_owned(),
        "log/00000000000000000008.log".into(),
        format!("snapshots/{revision}/manifest"),
        format!("snapshots/{revision}/default+shard-0"),
    ] {
        assert!(folder.file(&name).is_ok(), "{name}");
        assert!(folder.file(&name).is_err(), "{name} twice");
    }
}

#[test]
fn a_folder_has_its_name_only_when_it_is_durable() {
    let disk = LyingDisk::new();
    let mut folder = begin(&disk).unwrap();
    let mut file = folder.file("headcount").unwrap();
    file.write(b"some ").unwrap();
    file.write(b"bytes").unwrap();
    let checksum = crc32fast::hash(b"some bytes");
    file.finish(10, checksum).unwrap();
    folder.publish().unwrap();
    let found = disk.after_crash(Crash::LosesAll);
    assert_eq!(found.files()[Path::new("/copy/headcount")], b"some bytes");
    assert!(found.kind(Path::new("/copy.tmp")).unwrap().is_none());
    assert!(matches!(begin(&found), Err(StorageError::Exists { .. })));
}

#[test]
fn what_was_cut_or_changed_on_the_way_is_noticed_and_can_be_discarded() {
    let disk = LyingDisk::new();
    for (length, checksum) in [(5, crc32fast::hash(b"bytes")), (4, 7), (4, 0)] {
        let mut folder = begin(&disk).unwrap();
        let mut file = folder.file("headcount").unwrap();
        file.write(b"byte").unwrap();
        let error = file.finish(length, checksum).unwrap_err();
        assert!(matches!(error, StorageError::Incomplete { .. }));
        assert!(matches!(begin(&disk), Err(StorageError::LeftOver { .. })));
        folder.discard().unwrap();
    }
    assert!(disk.files().is_empty());
}
