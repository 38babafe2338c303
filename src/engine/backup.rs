//! Backups: a snapshot with all that a data folder needs besides, of a store that serves or of a
//! data folder that no process uses; and back.
//!
//! Invariant: a backup is a data folder of its own. It holds everything up to one revision, and is
//! checked whole before it gets its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::SnapshotInfo;
use super::verify::{Verification, verify_locked};
use crate::storage::{self, Disk, NewFolder, SnapshotReader, StorageError, Survey, lock_as_it_is};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A folder or a file can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is to be copied is damaged.
    #[error(
        "{folder} is damaged, so that it was not copied; `headcount verify --data {folder}` tells all faults"
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
    },
    /// The copy is not what was to be copied.
    #[error("the copy in {folder} does not check out, so that it was removed: {fault}")]
    BadCopy {
        /// The folder.
        folder: PathBuf,
        /// The first fault.
        fault: String,
    },
}

/// A snapshot that is kept while this exists, with the files of the data folder that it makes.
#[derive(Debug)]
pub struct Backup {
    /// The snapshot.
    pub info: SnapshotInfo,
    files: Vec<BackupFile>,
    reader: SnapshotReader,
    _pin: Arc<()>,
}

/// A file of a backup.
#[derive(Clone, Debug)]
pub struct BackupFile {
    /// Its path within the data folder, with `/` between the parts.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// Its CRC-32.
    pub checksum: u32,
    /// Its bytes; `None` for a section.
    bytes: Option<Vec<u8>>,
}

impl BackupFile {
    fn of(name: String, bytes: Vec<u8>) -> Self {
        Self {
            name,
            length: bytes.len() as u64,
            checksum: storage::checksum(&bytes),
            bytes: Some(bytes),
        }
    }
}

impl Backup {
    pub(super) fn new(info: SnapshotInfo, reader: SnapshotReader, pin: Arc<()>) -> Self {
        let store_id = reader.manifest().store_id;
        let folder = reader.folder_name();
        let sections = reader.manifest().sections.iter().map(|section| BackupFile {
            name: format!("snapshots/{folder}/{}", section.name),
            length: section.length,
            checksum: section.checksum,
            bytes: None,
        });
        let mut files: Vec<BackupFile> = sections.collect();
        let (manifest, bytes) = reader.manifest_file();
        files.push(BackupFile::of(
            format!("snapshots/{folder}/{manifest}"),
            bytes,
        ));
        let (log, bytes) = storage::log_start(store_id, info.revision.next());
        files.push(BackupFile::of(format!("log/{log}"), bytes));
        // The last: what has no identity is no data folder.
        files.push(BackupFile::of(
            "headcount".into(),
            storage::identity(store_id),
        ));
        Self {
            info,
            files,
            reader,
            _pin: pin,
        }
    }

    /// The files, in the order in which they are to be written.
    #[must_use]
    pub fn files(&self) -> &[BackupFile] {
        &self.files
    }

    /// Reads a part of a file: from `offset` on, `most` bytes at most, none at its end.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(
        &self,
        file: &BackupFile,
        offset: u64,
        most: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let rest = file.length.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(most).min(most);
        if let Some(bytes) = &file.bytes {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let part = bytes.get(start..).unwrap_or_default();
            return Ok(part.get(..length).unwrap_or_default().to_vec());
        }
        let section = file.name.rsplit('/').next().unwrap_or_default();
        let mut bytes = vec![0; length];
        self.reader.read_at(section, offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// Copies a data folder that no process uses to where nothing is yet: to back it up, or to restore
/// a backup.
///
/// # Errors
/// [`BackupError`] if the folder is in use or damaged, something is in the place of the copy, or
/// the disk fails.
pub fn copy(disk: &Arc<dyn Disk>, from: &Path, to: &Path) -> Result<Verification, BackupError> {
    let _lock = lock_as_it_is(disk.as_ref(), from)?;
    let survey = super::verify::examine(disk, from)?;
    let start = super::verify::start(disk, from);
    let is_sound = survey.files().all(|file| file.faults.is_empty());
    if !is_sound || start.is_err() {
        return Err(BackupError::Damaged {
            folder: from.to_path_buf(),
        });
    }
    let mut folder = NewFolder::begin(Arc::clone(disk), to)?;
    match copy_files(disk.as_ref(), &survey, from, &mut folder) {
        Ok(()) => publish(disk, folder),
        Err(error) => {
            // The first error is the one to be told.
            let _ = folder.discard();
            Err(error)
        }
    }
}

fn copy_files(
    disk: &dyn Disk,
    survey: &Survey,
    from: &Path,
    folder: &mut NewFolder,
) -> Result<(), BackupError> {
    let snapshots = survey.snapshots.iter().flat_map(|snapshot| &snapshot.files);
    let snapshots = snapshots.map(|file| (file, file.bytes));
    // Without the zeros for later, and what a crash left of the last write.
    let log = survey.log.iter().map(|log| (&log.file, log.end()));
    let newest_log = survey.log.last().map(|log| &log.file.path);
    let identity = (&survey.identity, survey.identity.bytes);
    for (file, length) in snapshots.chain(log).chain([identity]) {
        let inside = file.path.strip_prefix(from).unwrap_or(&file.path);
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let source = disk.open_to_read(&file.path).map_err(StorageError::from)?;
        let mut target = folder.file(&parts.join("/"))?;
        let mut hasher = storage::Checksum::default();
        let mut offset = 0;
        let mut piece = vec![0; PIECE];
        while offset < length {
            let rest = usize::try_from(length - offset).unwrap_or(PIECE).min(PIECE);
            let Some(piece) = piece.get_mut(..rest) else {
                break;
            };
            source.read_at(offset, piece).map_err(StorageError::from)?;
            hasher.update(piece);
            target.write(piece)?;
            offset += piece.len() as u64;
        }
        if newest_log == Some(&file.path) {
            let rest = storage::COPIED_LOG_BYTES.saturating_sub(length);
            let zeros = vec![0; usize::try_from(rest).unwrap_or(0)];
            hasher.update(&zeros);
            target.write(&zeros)?;
            offset += rest;
        }
        target.finish(offset, hasher.finish())?;
    }
    Ok(())
}

/// Checks a folder in the making and gives it its name.
///
/// # Errors
/// [`BackupError::BadCopy`] if it does not check out, or if the disk fails. It is removed then.
pub fn publish(disk: &Arc<dyn Disk>, folder: NewFolder) -> Result<Verification, BackupError> {
    let checked = folder
        .sync()
        .and_then(|()| verify_locked(disk, folder.temporary()));
    let verification = match checked {
        Ok(verification) => verification,
        Err(error) => {
            let _ = folder.discard();
            return Err(error.into());
        }
    };
    if let Some(fault) = verification.first_fault() {
        let temporary = folder.temporary().to_path_buf();
        let _ = folder.discard();
        return Err(BackupError::BadCopy {
            folder: temporary,
            fault,
        });
    }
    folder.publish()?;
    Ok(verification)
}
