//! Data folders that are new, in use, damaged, or none at all.

use super::*;
use crate::storage::RealDisk;
use crate::testing::disk::{Crash, LyingDisk};

fn open(disk: &LyingDisk, path: &str, id: u64) -> Result<DataFolder, StorageError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    DataFolder::open(&disk, Path::new(path), || id)
}

#[test]
fn a_store_keeps_its_identity() {
    let disk = LyingDisk::new();
    assert_eq!(open(&disk, "/a/b/data", 3).unwrap().store_id(), 3);
    let disk = disk.after_crash(Crash::LosesAll);
    assert_eq!(open(&disk, "/a/b/data", 4).unwrap().store_id(), 3);
}

#[test]
fn a_folder_in_use_is_refused_until_it_is_free() {
    let disk = LyingDisk::new();
    let first = open(&disk, "/data", 3).unwrap();
    let error = open(&disk, "/data", 3).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }));
    drop(first);
    assert!(open(&disk, "/data", 3).is_ok());

    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    let folder = tempfile::tempdir().unwrap();
    let first = DataFolder::open(&real, folder.path(), || 3).unwrap();
    let error = DataFolder::open(&real, folder.path(), || 3).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }));
    drop(first);
    assert!(DataFolder::open(&real, folder.path(), || 3).is_ok());
}

#[test]
fn what_is_no_data_folder_is_refused_and_left_alone() {
    let disk = LyingDisk::new();
    disk.create_folder(Path::new("/home")).unwrap();
    disk.create(Path::new("/home/letter"), 5).unwrap();
    let before = disk.files();
    let error = open(&disk, "/home", 3).unwrap_err();
    assert!(matches!(error, StorageError::NotOurs { found, .. } if found == "letter"));
    let error = open(&disk, "/home/letter", 3).unwrap_err();
    assert!(matches!(error, StorageError::NotAFolder { .. }));
    assert_eq!(disk.files(), before);
}

#[test]
fn a_damaged_or_missing_identity_is_refused() {
    let disk = LyingDisk::new();
    let data = open(&disk, "/data", 3).unwrap();
    disk.create(&data.log().join("x"), 5).unwrap();
    drop(data);
    let file = Path::new("/data/headcount");
    for bit in 0..IDENTITY_BYTES * 8 {
        let copy = disk.copy();
        copy.tamper(file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = open(&copy, "/data", 3).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "bit {bit}");
    }
    disk.remove_file(file).unwrap();
    let error = open(&disk, "/data", 3).unwrap_err();
    assert!(matches!(error, StorageError::IdentityMissing { .. }));
}
