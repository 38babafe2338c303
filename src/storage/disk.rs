//! The disk, as narrow as the store needs it, so that tests can put a lying one in its place.
//!
//! Contract of every implementation: bytes written to a file may be lost in a crash until
//! [`DiskFile::sync`] returned `Ok`; names created, renamed, linked or removed may be lost or kept
//! until [`Disk::sync_folder`] of their folder returned `Ok`. A failed sync must never be tried
//! again: the kernel may have dropped the data and report success the second time.
//!
//! This file alone uses `std::fs`.

#![expect(clippy::disallowed_methods, reason = "this is the disk")]

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// Create a folder.
    CreateFolder,
    /// Create a file.
    Create,
    /// Open a file, or look whether it exists.
    Open,
    /// Read from a file, or list a folder.
    Read,
    /// Write to a file.
    Write,
    /// Make a file or a folder durable.
    Sync,
    /// Give a file or a folder another name.
    Rename,
    /// Give a file a second name.
    Link,
    /// Remove a file or a folder.
    Remove,
    /// Lock a file.
    Lock,
}

impl fmt::Display for DiskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateFolder => "create the folder",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::Lock => "lock",
        })
    }
}

/// The disk could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("can't {operation} {path}: {cause}")]
pub struct DiskError {
    /// What was asked.
    pub operation: DiskOperation,
    /// Of which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub cause: Arc<io::Error>,
}

impl DiskError {
    /// The error of one operation.
    #[must_use]
    pub fn new(operation: DiskOperation, path: &Path, cause: io::Error) -> Self {
        Self {
            operation,
            path: path.to_path_buf(),
            cause: Arc::new(cause),
        }
    }

    /// Whether something could not be made durable: what is on disk is unknown from then on.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        self.operation == DiskOperation::Sync
    }

    /// Whether there is no space left, for the disk or for whom it is used by. Not so where
    /// something could not be made durable: that is final, whatever the cause.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let kind = self.cause.kind();
        let no_space = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&kind);
        no_space && !self.is_sync()
    }

    /// Whether the file or folder does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }
}

/// A file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// Anything else.
    File,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// The name; where it is no UTF-8, with replacement characters.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// If the disk fails.
    fn length(&self) -> Result<u64, DiskError>;

    /// Fills the buffer from `offset` on.
    ///
    /// # Errors
    /// If the file ends before, or the disk fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all the bytes at `offset`, in the cache only.
    ///
    /// # Errors
    /// If the disk fails or is full; some of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes what was written durable, with the length.
    ///
    /// # Errors
    /// If the disk fails. Final: see the top of this file.
    fn sync(&self) -> Result<(), DiskError>;

    /// Reads the whole file.
    ///
    /// # Errors
    /// If the disk fails.
    fn read_all(&self) -> Result<Vec<u8>, DiskError> {
        let length = usize::try_from(self.length()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// Files and folders.
pub trait Disk: Send + Sync + fmt::Debug {
    /// What a path names; `None` if nothing.
    ///
    /// # Errors
    /// If the disk fails.
    fn kind(&self, path: &Path) -> Result<Option<EntryKind>, DiskError>;

    /// Creates a folder unless it exists.
    ///
    /// # Errors
    /// If the folder above does not exist, or the disk fails.
    fn create_folder(&self, path: &Path) -> Result<(), DiskError>;

    /// Everything in a folder, sorted by name.
    ///
    /// # Errors
    /// If the disk fails.
    fn list(&self, path: &Path) -> Result<Vec<FolderEntry>, DiskError>;

    /// Creates a file of so many zero bytes, all of them written.
    ///
    /// # Errors
    /// If it exists, or the disk fails or is full. A file that could not be filled is removed, so
    /// that it takes no space.
    fn create(&self, path: &Path, length: u64) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Opens a file that exists, to read and to write.
    ///
    /// # Errors
    /// If the disk fails.
    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Opens a file that exists, for reading alone.
    ///
    /// # Errors
    /// If the disk fails.
    fn open_to_read(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open(path)
    }

    /// Gives a file or a folder another name; a file of that name is replaced.
    ///
    /// # Errors
    /// If the disk fails.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// If the name exists, or the disk fails.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes one name of a file.
    ///
    /// # Errors
    /// If the disk fails.
    fn remove_file(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// If it is not empty, or the disk fails.
    fn remove_folder(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// If the disk fails. Final: see the top of this file.
    fn sync_folder(&self, path: &Path) -> Result<(), DiskError>;

    /// Locks a file against other processes, creating it if there is none, until the returned
    /// value is dropped or the process ends; `None` if another holds it.
    ///
    /// # Errors
    /// If the disk fails.
    fn lock(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, DiskError>;
}

/// Holds a lock until it is dropped.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// The disk of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl DiskLock for File {}

/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 18;

fn failed<T>(
    operation: DiskOperation,
    path: &Path,
    outcome: io::Result<T>,
) -> Result<T, DiskError> {
    outcome.map_err(|cause| DiskError::new(operation, path, cause))
}

impl DiskFile for RealFile {
    fn length(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata();
        failed(DiskOperation::Read, &self.path, metadata).map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let outcome = self.file.read_exact_at(buffer, offset);
        failed(DiskOperation::Read, &self.path, outcome)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let outcome = self.file.write_all_at(bytes, offset);
        failed(DiskOperation::Write, &self.path, outcome)
    }

    fn sync(&self) -> Result<(), DiskError> {
        failed(DiskOperation::Sync, &self.path, self.file.sync_data())
    }
}

impl Disk for RealDisk {
    fn kind(&self, path: &Path) -> Result<Option<EntryKind>, DiskError> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Some(EntryKind::Folder)),
            Ok(_) => Ok(Some(EntryKind::File)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new(DiskOperation::Open, path, error)),
        }
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => failed(DiskOperation::CreateFolder, path, outcome),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<FolderEntry>, DiskError> {
        let listed = std::fs::read_dir(path).and_then(|entries| {
            let entries = entries.map(|entry| {
                let entry = entry?;
                Ok(FolderEntry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    kind: if entry.file_type()?.is_dir() {
                        EntryKind::Folder
                    } else {
                        EntryKind::File
                    },
                })
            });
            entries.collect::<io::Result<Vec<_>>>()
        });
        let mut entries = failed(DiskOperation::Read, path, listed)?;
        entries.sort();
        Ok(entries)
    }

    fn create(&self, path: &Path, length: u64) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = failed(DiskOperation::Create, path, options.open(path))?;
        let zeros = vec![0; ZEROS];
        let mut offset = 0;
        while offset < length {
            let rest = usize::try_from(length - offset).unwrap_or(ZEROS);
            let piece = zeros.get(..rest.min(ZEROS)).unwrap_or(&zeros);
            if let Err(cause) = file.write_all_at(piece, offset) {
                // What failed first is what matters.
                let _ = std::fs::remove_file(path);
                return Err(DiskError::new(DiskOperation::Write, path, cause));
            }
            offset += piece.len() as u64;
        }
        Ok(Box::new(RealFile {
            file,
            path: path.to_path_buf(),
        }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        Ok(Box::new(RealFile {
            file: failed(DiskOperation::Open, path, opened)?,
            path: path.to_path_buf(),
        }))
    }

    fn open_to_read(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(RealFile {
            file: failed(DiskOperation::Open, path, File::open(path))?,
            path: path.to_path_buf(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        failed(DiskOperation::Rename, from, std::fs::rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        failed(DiskOperation::Link, from, std::fs::hard_link(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        failed(DiskOperation::Remove, path, std::fs::remove_file(path))
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        failed(DiskOperation::Remove, path, std::fs::remove_dir(path))
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        let outcome = File::open(path).and_then(|folder| folder.sync_all());
        failed(DiskOperation::Sync, path, outcome)
    }

    fn lock(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = failed(DiskOperation::Lock, path, options.open(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(DiskError::new(DiskOperation::Lock, path, error))
            }
        }
    }
}
