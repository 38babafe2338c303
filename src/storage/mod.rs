//! Durable bytes: how revisions and sections are kept on disk, without knowing what they mean.
//!
//! Invariants: what was reported as durable is returned by the next start, or the start is refused
//! with the file and the offset; bytes that do not check out are never handed out and never
//! deleted. `docs/format.md` shows every byte and every crash case.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod disk;
mod error;
mod folder;
mod frame;
mod log;
mod overlay;
mod snapshot;
mod survey;

pub use disk::{
    Disk, DiskError, DiskFile, DiskLock, DiskOperation, EntryKind, FolderEntry, RealDisk,
};
pub use error::{StorageError, WayOut};
pub use folder::DataFolder;
pub use log::{AppendError, Batch, LogFile, LogOptions, LogReader, LogTrimmer, LogWriter, Stretch, TornTail};
pub use overlay::OverlayDisk;
pub use snapshot::{Manifest, Section, SnapshotReader, SnapshotWriter, Snapshots};
pub use survey::{
    Fault, FaultKind, Holds, Survey, SurveyedFile, SurveyedSnapshot, lock_as_it_is, survey,
};
