//! One process per data folder, and the identity of the store in it.
//!
//! Invariant: while a [`DataFolder`] exists, no other process has one for the same folder; and its
//! identity never changes once data was written.
//!
//! ```text
//! DATA/headcount   which store this is: magic "HCID", u32 version, u64 store, CRC-32
//!      lock        held by the process that uses the folder
//!      log/        the log, one file after another
//!      snapshots/  a folder for each snapshot, named by its revision
//!      set-aside/  what could not be used, for people to look at
//! ```

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskError, DiskLock, EntryKind};
use super::error::{StorageError, WayOut};

pub(super) const IDENTITY: &str = "headcount";
pub(super) const IDENTITY_TEMP: &str = "headcount.tmp";
pub(super) const LOCK: &str = "lock";
pub(super) const LOG: &str = "log";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const SET_ASIDE: &str = "set-aside";
/// What a file system puts at its root.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

const MAGIC: [u8; 4] = *b"HCID";
const VERSION: u32 = 1;
const IDENTITY_BYTES: usize = 20;

/// A data folder that this process alone uses.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    store_id: u64,
    _lock: Box<dyn DiskLock>,
}

impl DataFolder {
    /// Locks the folder, creating it if it does not exist or is empty. A new store takes the
    /// identity that `new_id` returns.
    ///
    /// # Errors
    /// [`StorageError`] if the folder is in use, is a file or not a data folder, is damaged or from
    /// a newer version, or if the disk fails.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        new_id: impl FnOnce() -> u64,
    ) -> Result<Self, StorageError> {
        create_folders(disk.as_ref(), path)?;
        let names = disk.list(path)?;
        let is_ours = names.iter().any(|entry| entry.name == IDENTITY);
        // Before the lock: a folder that is not ours is left as it is.
        if !is_ours {
            let known = [
                IDENTITY_TEMP,
                LOCK,
                LOG,
                SNAPSHOTS,
                SET_ASIDE,
                LOST_AND_FOUND,
            ];
            let foreign = names.iter().find(|e| !known.contains(&e.name.as_str()));
            if let Some(foreign) = foreign {
                return Err(StorageError::NotOurs {
                    folder: path.to_path_buf(),
                    found: foreign.name.clone(),
                });
            }
        }
        let lock = disk
            .lock(&path.join(LOCK))?
            .ok_or_else(|| StorageError::InUse {
                folder: path.to_path_buf(),
            })?;
        // Again: another process may have created the store before we got the lock.
        let file = path.join(IDENTITY);
        let store_id = if disk.kind(&file)?.is_some() {
            read_identity(disk.as_ref(), &file)?
        } else {
            for data in [LOG, SNAPSHOTS] {
                let data = path.join(data);
                if disk.kind(&data)?.is_some() && !disk.list(&data)?.is_empty() {
                    return Err(StorageError::IdentityMissing { file });
                }
            }
            let store_id = new_id();
            create_identity(disk.as_ref(), path, store_id)?;
            store_id
        };
        for name in [LOG, SNAPSHOTS, SET_ASIDE] {
            disk.create_folder(&path.join(name))?;
        }
        disk.sync_folder(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            store_id,
            _lock: lock,
        })
    }

    /// Which store this is: chosen when it was created, and the same for good.
    #[must_use]
    pub const fn store_id(&self) -> u64 {
        self.store_id
    }

    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Where the snapshots are.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Where what can't be used is put.
    #[must_use]
    pub fn set_aside(&self) -> PathBuf {
        self.path.join(SET_ASIDE)
    }
}

/// A path in `folder` for something set aside, that nothing has yet.
pub(super) fn unused_path(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
) -> Result<PathBuf, DiskError> {
    let mut path = folder.join(name);
    let mut number = 2;
    while disk.kind(&path)?.is_some() {
        path = folder.join(format!("{name}-{number}"));
        number += 1;
    }
    Ok(path)
}

/// Creates the folder and those above it, durably.
fn create_folders(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.kind(path)? {
        Some(EntryKind::Folder) => Ok(()),
        Some(EntryKind::File) => Err(StorageError::NotAFolder {
            path: path.to_path_buf(),
        }),
        None => {
            let above = match path.parent() {
                // A relative path of one part lies in the present folder.
                Some(above) if above.as_os_str().is_empty() => Path::new("."),
                Some(above) => above,
                None => Path::new("/"),
            };
            create_folders(disk, above)?;
            disk.create_folder(path)?;
            Ok(disk.sync_folder(above)?)
        }
    }
}

/// The bytes that say which store a folder is of.
#[must_use]
pub fn identity(store_id: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&store_id.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

pub(super) fn create_identity(
    disk: &dyn Disk,
    folder: &Path,
    store_id: u64,
) -> Result<(), StorageError> {
    let bytes = identity(store_id);
    let temp = folder.join(IDENTITY_TEMP);
    if disk.kind(&temp)?.is_some() {
        disk.remove_file(&temp)?;
    }
    let file = disk.create(&temp, 0)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    disk.rename(&temp, &folder.join(IDENTITY))?;
    Ok(disk.sync_folder(folder)?)
}

pub(super) fn read_identity(disk: &dyn Disk, file: &Path) -> Result<u64, StorageError> {
    let damaged = |offset, fault: &str| StorageError::Damaged {
        file: file.to_path_buf(),
        offset,
        fault: fault.into(),
        way_out: WayOut::RestoreFile,
    };
    let bytes = disk.open_to_read(file)?.read_all()?;
    let Ok(bytes) = <[u8; IDENTITY_BYTES]>::try_from(bytes.as_slice()) else {
        return Err(damaged(0, "the length is wrong"));
    };
    let [m0, m1, m2, m3, v0, v1, v2, v3, id @ .., c0, c1, c2, c3] = bytes;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(damaged(0, "this is no identity of a store"));
    }
    let covered = bytes.get(..IDENTITY_BYTES - 4).unwrap_or_default();
    if u32::from_le_bytes([c0, c1, c2, c3]) != crc32fast::hash(covered) {
        return Err(damaged(4, "the checksum is wrong"));
    }
    let found = u32::from_le_bytes([v0, v1, v2, v3]);
    if found > VERSION {
        return Err(StorageError::NewerVersion {
            file: file.to_path_buf(),
            found,
            supported: VERSION,
        });
    }
    Ok(u64::from_le_bytes(id))
}
