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
mod new_folder;
mod overlay;
mod repair;
mod snapshot;
mod survey;

pub use disk::{
    Disk, DiskError, DiskFile, DiskLock, DiskOperation, EntryKind, FolderEntry, RealDisk,
};
pub use error::{StorageError, WayOut};
pub use folder::{DataFolder, identity};
pub use log::{
    AppendError, Batch, COPIED_LOG_BYTES, LogFile, LogOptions, LogReader, LogTrimmer, LogWriter,
    Stretch, TornTail, log_start,
};
pub use new_folder::{NewFile, NewFolder};
pub use overlay::OverlayDisk;
pub use repair::{keep_stretches, set_aside, start_log, write_identity};
pub use snapshot::{Manifest, Section, SnapshotReader, SnapshotWriter, Snapshots};
pub use survey::{
    Fault, FaultKind, Holds, Survey, SurveyedFile, SurveyedSnapshot, lock_as_it_is, survey,
};

/// The CRC-32 of some bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC-32 of bytes that come in pieces.
#[derive(Clone, Debug, Default)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// Adds what follows.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all of it.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}
