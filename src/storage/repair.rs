//! What a repair does to a data folder, a step at a time.
//!
//! Invariant: nothing is ever deleted. What loses its place has another one in `set-aside/`
//! before, durably; a file of the log is replaced by a part of itself in one rename.

use std::path::{Path, PathBuf};

use super::disk::{Disk, EntryKind};
use super::error::StorageError;
use super::folder::{self, LOG, SET_ASIDE, SNAPSHOTS, unused_path};
use super::frame::{self, FileHeader};
use super::log::{NEW_TEMP, Stretch, file_name, log_start};
use crate::model::Revision;

/// Moves a file or a folder into `set-aside/`. Returns where it is now.
///
/// # Errors
/// If the disk fails.
pub fn set_aside(disk: &dyn Disk, data: &Path, path: &Path) -> Result<PathBuf, StorageError> {
    let to = place(disk, data, path)?;
    disk.rename(path, &to)?;
    disk.sync_folder(&data.join(SET_ASIDE))?;
    if let Some(above) = path.parent() {
        disk.sync_folder(above)?;
    }
    Ok(to)
}

/// Where a file or a folder is to be set aside.
fn place(disk: &dyn Disk, data: &Path, path: &Path) -> Result<PathBuf, StorageError> {
    let folder = data.join(SET_ASIDE);
    if disk.kind(&folder)?.is_none() {
        disk.create_folder(&folder)?;
        disk.sync_folder(data)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_snapshot = path.parent() == Some(&data.join(SNAPSHOTS));
    let name = if is_snapshot && disk.kind(path)? == Some(EntryKind::Folder) {
        format!("snapshot-{name}")
    } else {
        name.into_owned()
    };
    Ok(unused_path(disk, &folder, &name)?)
}

/// Says anew which store the folder is of.
///
/// # Errors
/// If the disk fails.
pub fn write_identity(disk: &dyn Disk, data: &Path, store_id: u64) -> Result<(), StorageError> {
    folder::create_identity(disk, data, store_id)
}

/// Replaces a file of the log by one that holds some of its stretches, which follow one another
/// without a gap, and was closed then. The whole file is set aside; returns where.
///
/// # Errors
/// If the disk fails.
pub fn keep_stretches(
    disk: &dyn Disk,
    data: &Path,
    path: &Path,
    stretches: &[Stretch],
) -> Result<PathBuf, StorageError> {
    let bytes = disk.open_to_read(path)?.read_all()?;
    let unreadable = |_| StorageError::UnknownFile {
        path: path.to_path_buf(),
    };
    let header = FileHeader::decode(&bytes).map_err(unreadable)?;
    let first = stretches.first().map_or(header.first, |kept| kept.first);
    let next = stretches.last().map_or(first, |kept| kept.next);
    let salt = header.salt;
    let mut kept = FileHeader { first, ..header }.encode();
    for stretch in stretches {
        let offset = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        let range = offset(stretch.start)..offset(stretch.end);
        kept.extend_from_slice(bytes.get(range).unwrap_or_default());
    }
    frame::encode_closed(&mut kept, salt, next);

    let to = place(disk, data, path)?;
    disk.hard_link(path, &to)?;
    disk.sync_folder(&data.join(SET_ASIDE))?;
    let target = data.join(LOG).join(file_name(first));
    write_log_file(disk, data, &target, &kept)?;
    if target != path {
        disk.remove_file(path)?;
        disk.sync_folder(&data.join(LOG))?;
    }
    Ok(to)
}

/// Begins a log that holds nothing so far. Returns its file.
///
/// # Errors
/// If the disk fails.
pub fn start_log(
    disk: &dyn Disk,
    data: &Path,
    store_id: u64,
    first: Revision,
) -> Result<PathBuf, StorageError> {
    let folder = data.join(LOG);
    disk.create_folder(&folder)?;
    disk.sync_folder(data)?;
    let (name, bytes) = log_start(store_id, first);
    let path = folder.join(name);
    write_log_file(disk, data, &path, &bytes)?;
    Ok(path)
}

fn write_log_file(
    disk: &dyn Disk,
    data: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let folder = data.join(LOG);
    let temp = folder.join(NEW_TEMP);
    if disk.kind(&temp)?.is_some() {
        // It never holds anything: a log file has its name from its first frame on.
        disk.remove_file(&temp)?;
    }
    let file = disk.create(&temp, 0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&temp, path)?;
    Ok(disk.sync_folder(&folder)?)
}
