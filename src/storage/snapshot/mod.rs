//! Snapshots: named sections of bytes that hold the state at one revision.
//!
//! Invariants: a snapshot with its final name is whole and durable; what it holds is never changed
//! after; files that two snapshots share hold the same bytes for both.
//!
//! A snapshot is a folder, named by its revision in 20 digits. It is written under a name that ends
//! in `.tmp`: the sections first, each synced, then the manifest with the length and checksum of
//! every file, then the folder is synced, renamed, and the folder above synced.

mod manifest;
mod reader;
mod survey;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use manifest::{Manifest, Section};
pub use reader::SnapshotReader;
pub(super) use survey::survey;
pub use writer::SnapshotWriter;

/// Whether a snapshot can have a folder of this name.
pub(super) fn is_folder_name(name: &str) -> bool {
    revision_of(name).is_some()
}

use super::disk::{Disk, DiskError, EntryKind};
use super::error::StorageError;
use super::folder::{DataFolder, unused_path};
use crate::model::{Revision, Timestamp};

/// Digits of the largest revision.
const DIGITS: usize = 20;
const TEMP: &str = ".tmp";
const REMOVED: &str = ".removed";

/// The snapshots of a data folder.
#[derive(Debug)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    set_aside: PathBuf,
    store_id: u64,
    /// Oldest first.
    revisions: Vec<Revision>,
}

fn folder_name(revision: Revision) -> String {
    format!("{:0DIGITS$}", revision.number())
}

fn revision_of(name: &str) -> Option<Revision> {
    let all_digits = name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| name.parse().ok().map(Revision::new))?
}

impl Snapshots {
    /// Lists the snapshots of a data folder. What a crash left half written or half removed is
    /// removed.
    ///
    /// # Errors
    /// If there are files that are no snapshots, or the disk fails.
    pub fn open(disk: Arc<dyn Disk>, data: &DataFolder) -> Result<Self, StorageError> {
        let folder = data.snapshots();
        let mut revisions = Vec::new();
        for entry in disk.list(&folder)? {
            let path = folder.join(&entry.name);
            let unfinished = [TEMP, REMOVED]
                .iter()
                .find_map(|suffix| entry.name.strip_suffix(suffix));
            match (entry.kind, revision_of(&entry.name), unfinished) {
                (EntryKind::Folder, Some(revision), _) => revisions.push(revision),
                (EntryKind::Folder, None, Some(name)) if revision_of(name).is_some() => {
                    remove_with_files(disk.as_ref(), &path)?;
                }
                (_, _, _) => return Err(StorageError::UnknownFile { path }),
            }
        }
        revisions.sort_unstable();
        Ok(Self {
            disk,
            folder,
            set_aside: data.set_aside(),
            store_id: data.store_id(),
            revisions,
        })
    }

    /// The revisions of the snapshots, oldest first.
    #[must_use]
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// Begins to read a snapshot.
    ///
    /// # Errors
    /// If its manifest is damaged, from a newer version or another store, or the disk fails.
    pub fn read(&self, revision: Revision) -> Result<SnapshotReader, StorageError> {
        SnapshotReader::open(
            Arc::clone(&self.disk),
            self.folder.join(folder_name(revision)),
            Some(self.store_id),
            revision,
        )
    }

    /// Begins to write a snapshot. Sections that did not change since `previous` can be shared.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(
        &self,
        revision: Revision,
        created: Timestamp,
        previous: Option<&SnapshotReader>,
    ) -> Result<SnapshotWriter, DiskError> {
        let temp = self.folder.join(format!("{}{TEMP}", folder_name(revision)));
        if self.disk.kind(&temp)?.is_some() {
            remove_with_files(self.disk.as_ref(), &temp)?;
        }
        self.disk.create_folder(&temp)?;
        Ok(SnapshotWriter::new(
            Arc::clone(&self.disk),
            temp,
            self.folder.join(folder_name(revision)),
            Manifest {
                store_id: self.store_id,
                revision,
                created,
                sections: Vec::new(),
            },
            previous,
        ))
    }

    /// Removes what there is of a snapshot that could not be written, as far as the disk lets it: it
    /// takes space. The next start removes the rest.
    pub fn remove_unfinished(&self, revision: Revision) {
        let temp = self.folder.join(format!("{}{TEMP}", folder_name(revision)));
        let _ = remove_with_files(self.disk.as_ref(), &temp);
    }

    /// Makes a written snapshot one of the snapshots, durably.
    ///
    /// # Errors
    /// If the disk fails. Then the snapshot may be there after a restart, whole.
    pub fn finish(&mut self, writer: SnapshotWriter) -> Result<SnapshotReader, DiskError> {
        let reader = writer.finish()?;
        self.disk.sync_folder(&self.folder)?;
        self.revisions.push(reader.manifest().revision);
        Ok(reader)
    }

    /// Moves a snapshot that can't be used out of the way. Returns where it is now.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_aside(&mut self, revision: Revision) -> Result<PathBuf, DiskError> {
        let name = format!("snapshot-{}", folder_name(revision));
        let to = unused_path(self.disk.as_ref(), &self.set_aside, &name)?;
        self.disk
            .rename(&self.folder.join(folder_name(revision)), &to)?;
        self.disk.sync_folder(&self.set_aside)?;
        self.disk.sync_folder(&self.folder)?;
        self.revisions.retain(|&other| other != revision);
        Ok(to)
    }

    /// Removes all but the newest `count` snapshots and those that are in use.
    ///
    /// # Errors
    /// If the disk fails; the newest are whole all the same.
    pub fn keep_newest(&mut self, count: usize, in_use: &[Revision]) -> Result<(), DiskError> {
        let old = self.revisions.len().saturating_sub(count);
        let old: Vec<Revision> = self.revisions.iter().take(old).copied().collect();
        for oldest in old.into_iter().filter(|old| !in_use.contains(old)) {
            self.revisions.retain(|&other| other != oldest);
            let path = self.folder.join(folder_name(oldest));
            let removed = self
                .folder
                .join(format!("{}{REMOVED}", folder_name(oldest)));
            // A snapshot loses its name first: what has a snapshot's name is whole.
            self.disk.rename(&path, &removed)?;
            self.disk.sync_folder(&self.folder)?;
            remove_with_files(self.disk.as_ref(), &removed)?;
            // What was erased must not come back with a power failure.
            self.disk.sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

/// Removes a folder of files.
fn remove_with_files(disk: &dyn Disk, folder: &Path) -> Result<(), DiskError> {
    for entry in disk.list(folder)? {
        disk.remove_file(&folder.join(entry.name))?;
    }
    disk.sync_folder(folder)?;
    disk.remove_folder(folder)
}
