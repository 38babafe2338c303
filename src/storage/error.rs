//! What can be wrong with a data folder. Every error names the file, where it matters the offset,
//! and the way out.

use std::path::PathBuf;

use super::disk::DiskError;
use crate::model::Revision;

/// Why a data folder can't be used, or a part of it can't be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process uses the folder.
    #[error(
        "the data folder {folder} is in use by another process; stop that one, or choose another folder"
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The path of the data folder names a file.
    #[error(
        "{path} is a file, where a data folder was expected; name a folder, which is created if it does not exist"
    )]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder has files, but is no data folder.
    #[error(
        "{folder} holds {found:?} but no Headcount data; name an empty folder or one that Headcount made"
    )]
    NotOurs {
        /// The folder.
        folder: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// There is no data of Headcount.
    #[error("{folder} holds no Headcount data; name a folder that Headcount made")]
    NoData {
        /// The folder.
        folder: PathBuf,
    },
    /// Something is where a folder was to be made.
    #[error("{path} exists already; name a folder that does not exist, or an empty one")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A folder that was being made was left behind.
    #[error("{path} was left by a copy that was broken off; remove it and try again")]
    LeftOver {
        /// The path.
        path: PathBuf,
    },
    /// A file of a backup has a name that none has.
    #[error("{name:?} is no file of a backup")]
    BadName {
        /// The name.
        name: String,
    },
    /// A file did not arrive whole.
    #[error("{name} did not arrive as it was sent; try again")]
    Incomplete {
        /// The name.
        name: String,
    },
    /// The folder holds a log or snapshots, but the file that says which store they belong to is
    /// missing.
    #[error(
        "{file} is missing though there is data beside it; put it back from a backup, or see what `headcount repair --dry-run` would do"
    )]
    IdentityMissing {
        /// The file.
        file: PathBuf,
    },
    /// A name that has no business where it is.
    #[error(
        "{path} is not one of Headcount's files; move it out of the data folder, or let `headcount repair` do it"
    )]
    UnknownFile {
        /// The path.
        path: PathBuf,
    },
    /// Bytes are not what was written.
    #[error("{file} is damaged at byte {offset}: {fault}. Nothing was changed; {way_out}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes from 0.
        offset: u64,
        /// What is wrong.
        fault: String,
        /// What can be done.
        way_out: WayOut,
    },
    /// The file was written by a newer version of Headcount.
    #[error(
        "{file} has format version {found}, and this version of Headcount reads up to {supported}; use the version that wrote it, or a newer one"
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// The file belongs to another store.
    #[error(
        "{file} belongs to another store; put back the file that was here, or move this one away"
    )]
    OtherStore {
        /// The file.
        file: PathBuf,
    },
    /// A stretch of the log is missing.
    #[error("the log in {folder} lacks the revisions from {from} to {to}; put the missing files back, from a backup if need be, or see what `headcount repair --dry-run` would do", from = from.number(), to = to.number())]
    LogGap {
        /// The folder of the log.
        folder: PathBuf,
        /// The first revision missing.
        from: Revision,
        /// The last revision missing.
        to: Revision,
    },
}

/// What the operator can do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// For a part of the log or the identity of the store.
    RestoreFile,
    /// For a snapshot.
    EarlierSnapshot,
}

impl std::fmt::Display for WayOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RestoreFile => {
                "put the file back from a backup, or see what `headcount repair --dry-run` would do"
            }
            Self::EarlierSnapshot => {
                "move the snapshot's folder away to start from the one before and a longer log"
            }
        })
    }
}
