//! Looks at everything in a data folder and says what each file holds and all that is wrong with
//! it, where a start stops at the first fault.
//!
//! Invariant: changes nothing on disk, and judges the bytes of the log by the one function that
//! decides what a crash left behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskError, DiskLock, EntryKind, FolderEntry};
use super::error::StorageError;
use super::folder::{
    self, IDENTITY, IDENTITY_TEMP, LOCK, LOG, LOST_AND_FOUND, SET_ASIDE, SNAPSHOTS,
};
use super::log::{LogFile, LogSurvey};
use super::snapshot::{self, SnapshotReader};
use crate::model::Revision;

/// What a file of a data folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Which store this is.
    Identity {
        /// The store.
        store_id: u64,
    },
    /// A part of the log.
    Log {
        /// The first revision in it.
        first: Revision,
        /// The revision after its last.
        next: Revision,
    },
    /// What a snapshot consists of.
    Manifest {
        /// The revision of the snapshot.
        revision: Revision,
        /// How many sections it has.
        sections: usize,
    },
    /// A part of a snapshot.
    Section {
        /// The revision of the snapshot.
        revision: Revision,
    },
    /// Nothing: it is made anew when it is needed, or was left half made or half removed.
    Nothing,
    /// What was set aside. It is not looked at.
    SetAside,
    /// Nothing that can be told.
    Unknown,
}

/// Of which kind a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Bytes are missing, or not what was written.
    Damage,
    /// The file was written by a newer version of Headcount.
    NewerVersion,
    /// The file belongs to another store.
    OtherStore,
    /// The file is none of Headcount's.
    UnknownFile,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind it is.
    pub kind: FaultKind,
    /// Where in the file, in bytes from 0.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    /// Bytes that are not what was written.
    #[must_use]
    pub fn damage(offset: u64, what: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Damage,
            offset,
            what: what.into(),
        }
    }

    /// What an error says of its file; the error itself if the disk failed.
    pub(super) fn of(error: StorageError) -> Result<Self, StorageError> {
        let fault = |kind, offset, what| Ok(Self { kind, offset, what });
        match error {
            StorageError::Damaged { offset, fault, .. } => Ok(Self::damage(offset, fault)),
            StorageError::NewerVersion {
                found, supported, ..
            } => {
                let what = format!(
                    "format version {found}, and this version of Headcount reads up to {supported}"
                );
                fault(FaultKind::NewerVersion, 4, what)
            }
            StorageError::OtherStore { .. } => {
                let what = "the file belongs to another store".to_owned();
                fault(FaultKind::OtherStore, 8, what)
            }
            other @ (StorageError::Disk(_)
            | StorageError::InUse { .. }
            | StorageError::NotAFolder { .. }
            | StorageError::NotOurs { .. }
            | StorageError::NoData { .. }
            | StorageError::Exists { .. }
            | StorageError::LeftOver { .. }
            | StorageError::BadName { .. }
            | StorageError::Incomplete { .. }
            | StorageError::IdentityMissing { .. }
            | StorageError::UnknownFile { .. }
            | StorageError::LogGap { .. }) => Err(other),
        }
    }
}

/// A file, or a folder that was set aside or is unknown.
#[derive(Clone, Debug)]
pub struct SurveyedFile {
    /// Its path.
    pub path: PathBuf,
    /// Its length; 0 for a folder.
    pub bytes: u64,
    /// What it holds.
    pub holds: Holds,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What a crash left of the last write, which is no fault: where, and how many bytes.
    pub torn: Option<(u64, u64)>,
}

impl SurveyedFile {
    pub(super) fn new(path: PathBuf, bytes: u64, holds: Holds) -> Self {
        Self {
            path,
            bytes,
            holds,
            faults: Vec::new(),
            torn: None,
        }
    }

    pub(super) fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// A snapshot that has its final name.
#[derive(Debug)]
pub struct SurveyedSnapshot {
    /// The revision in its name.
    pub revision: Revision,
    /// Its folder.
    pub path: PathBuf,
    /// Its files; the manifest is the first.
    pub files: Vec<SurveyedFile>,
    /// Reads it, if its manifest is whole.
    pub reader: Option<SnapshotReader>,
}

impl SurveyedSnapshot {
    /// Whether every file of it is as it was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.reader.is_some() && self.files.iter().all(|file| file.faults.is_empty())
    }
}

/// All that is in a data folder.
#[derive(Debug)]
pub struct Survey {
    /// The store that the folder says it is of; `None` if it does not say.
    pub store_id: Option<u64>,
    /// The store that other files say they are of, if these agree.
    pub others_say: Option<u64>,
    /// The file that says which store this is.
    pub identity: SurveyedFile,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SurveyedSnapshot>,
    /// The files of the log, oldest first.
    pub log: Vec<LogFile>,
    /// All other files.
    pub others: Vec<SurveyedFile>,
}

impl Survey {
    /// All files, in the order of the fields.
    pub fn files(&self) -> impl Iterator<Item = &SurveyedFile> {
        std::iter::once(&self.identity)
            .chain(self.snapshots.iter().flat_map(|snapshot| &snapshot.files))
            .chain(self.log.iter().map(|log| &log.file))
            .chain(&self.others)
    }
}

/// Locks a data folder without making anything in it. A folder that no process ever used has no
/// file to lock, and none uses it then.
///
/// # Errors
/// [`StorageError`] if the folder is in use, or holds no data of Headcount.
pub fn lock_as_it_is(
    disk: &dyn Disk,
    folder: &Path,
) -> Result<Option<Box<dyn DiskLock>>, StorageError> {
    match disk.kind(folder)? {
        Some(EntryKind::Folder) => {}
        Some(EntryKind::File) => {
            return Err(StorageError::NotAFolder {
                path: folder.to_path_buf(),
            });
        }
        None => {
            return Err(StorageError::NoData {
                folder: folder.to_path_buf(),
            });
        }
    }
    let names = disk.list(folder)?;
    if !names.iter().any(|entry| entry.name == IDENTITY) {
        let holds_data = |name: &str| -> Result<bool, DiskError> {
            let path = folder.join(name);
            Ok(disk.kind(&path)? == Some(EntryKind::Folder) && !disk.list(&path)?.is_empty())
        };
        if !holds_data(LOG)? && !holds_data(SNAPSHOTS)? {
            return Err(StorageError::NoData {
                folder: folder.to_path_buf(),
            });
        }
    }
    if !names.iter().any(|entry| entry.name == LOCK) {
        return Ok(None);
    }
    match disk.lock(&folder.join(LOCK))? {
        Some(lock) => Ok(Some(lock)),
        None => Err(StorageError::InUse {
            folder: folder.to_path_buf(),
        }),
    }
}

/// Looks at everything in a data folder. `check_record` says what is wrong with a record whose
/// checksum is right.
///
/// # Errors
/// If the disk fails.
pub fn survey(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    check_record: &mut dyn FnMut(&[u8]) -> Option<Fault>,
) -> Result<Survey, StorageError> {
    let (identity, store_id) = identity(disk.as_ref(), folder)?;
    let mut others = Vec::new();
    for entry in disk.list(folder)? {
        let path = folder.join(&entry.name);
        match (entry.name.as_str(), entry.kind) {
            (IDENTITY | LOST_AND_FOUND, _) | (LOG | SNAPSHOTS | SET_ASIDE, EntryKind::Folder) => {}
            (LOCK | IDENTITY_TEMP, EntryKind::File) => {
                let bytes = length(disk.as_ref(), &path, entry.kind)?;
                others.push(SurveyedFile::new(path, bytes, Holds::Nothing));
            }
            (_, kind) => {
                // A start does not mind what lies beside its own files.
                let bytes = length(disk.as_ref(), &path, kind)?;
                others.push(SurveyedFile::new(path, bytes, Holds::Unknown));
            }
        }
    }
    let set_aside = folder.join(SET_ASIDE);
    for entry in entries(disk.as_ref(), &set_aside)? {
        let path = set_aside.join(&entry.name);
        let bytes = length(disk.as_ref(), &path, entry.kind)?;
        others.push(SurveyedFile::new(path, bytes, Holds::SetAside));
    }
    let snapshots = snapshot::survey(disk, &folder.join(SNAPSHOTS), store_id, &mut others)?;
    let newest = snapshots.iter().map(|s| s.revision).max();
    let log = LogSurvey {
        disk: disk.as_ref(),
        folder: folder.join(LOG),
        store_id,
        durable_up_to: newest.unwrap_or_default(),
        check_record,
    }
    .run(&mut others)?;
    Ok(Survey {
        store_id,
        others_say: others_say(&snapshots, &log),
        identity,
        snapshots,
        log,
        others,
    })
}

fn identity(disk: &dyn Disk, folder: &Path) -> Result<(SurveyedFile, Option<u64>), StorageError> {
    let path = folder.join(IDENTITY);
    if disk.kind(&path)? != Some(EntryKind::File) {
        let missing = SurveyedFile::new(path, 0, Holds::Unknown);
        return Ok((missing.with(Fault::damage(0, "the file is missing")), None));
    }
    let bytes = length(disk, &path, EntryKind::File)?;
    match folder::read_identity(disk, &path) {
        Ok(store_id) => {
            let file = SurveyedFile::new(path, bytes, Holds::Identity { store_id });
            Ok((file, Some(store_id)))
        }
        Err(error) => {
            let file = SurveyedFile::new(path, bytes, Holds::Unknown);
            Ok((file.with(Fault::of(error)?), None))
        }
    }
}

/// The store that every snapshot and file of the log that says so is of.
fn others_say(snapshots: &[SurveyedSnapshot], log: &[LogFile]) -> Option<u64> {
    let of_snapshots = snapshots.iter().filter_map(|snapshot| {
        let reader = snapshot.reader.as_ref()?;
        Some(reader.manifest().store_id)
    });
    let mut said = of_snapshots.chain(log.iter().filter_map(LogFile::store_id));
    let first = said.next()?;
    said.all(|other| other == first).then_some(first)
}

/// What a folder has; nothing if there is none.
pub(super) fn entries(disk: &dyn Disk, folder: &Path) -> Result<Vec<FolderEntry>, DiskError> {
    match disk.kind(folder)? {
        Some(EntryKind::Folder) => disk.list(folder),
        Some(EntryKind::File) | None => Ok(Vec::new()),
    }
}

pub(super) fn length(disk: &dyn Disk, path: &Path, kind: EntryKind) -> Result<u64, DiskError> {
    match kind {
        EntryKind::File => disk.open_to_read(path)?.length(),
        EntryKind::Folder => Ok(0),
    }
}
