//! Appends batches to a log.
//!
//! Invariants: a batch is written by one write and made durable by one sync, and its revisions are
//! returned only then. After the first failure nothing is ever written again: what is on disk is
//! unknown until the next start has read it. That there is no space for another file is no such
//! failure: nothing was written then, and appending can be tried again.
//!
//! The end of the last file for which there is space is a reserve, for what must be possible on a
//! full disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::{LogFiles, LogTrimmer};
use crate::model::Revision;
use crate::storage::disk::{DiskError, DiskFile, DiskOperation};
use crate::storage::frame::{self, FILE_HEADER, FileHeader, Salt};

/// This part of a file is the reserve.
const RESERVE: u64 = 16;

/// Why records were not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no space. Nothing was written, and it can be tried again.
    #[error(transparent)]
    Full(DiskError),
    /// The disk fails or has failed before. The records may be durable or not: only the next start
    /// can tell.
    #[error(transparent)]
    Failed(DiskError),
}

impl From<AppendError> for DiskError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(error) | AppendError::Failed(error) => error,
        }
    }
}

/// A log that can be appended to.
#[derive(Debug)]
pub struct LogWriter {
    files: Arc<LogFiles>,
    store_id: u64,
    /// Of the current file, and of all that are begun after it.
    salt: Salt,
    file: Box<dyn DiskFile>,
    /// The first revision of the file.
    first: Revision,
    next: Revision,
    /// Where the next frame goes.
    offset: u64,
    /// How many bytes the file was made with.
    capacity: u64,
    buffer: Vec<u8>,
    /// How long the last sync took.
    synced_in: Duration,
    failed: Option<DiskError>,
}

impl LogWriter {
    pub(super) fn create(
        files: LogFiles,
        store_id: u64,
        salt: Salt,
        next: Revision,
    ) -> Result<Self, DiskError> {
        let header = FileHeader {
            store_id,
            first: next,
            salt,
        };
        let file = files.start_file(next, &header.encode(), 0)?;
        Self::resume(files, store_id, salt, file, next, next, FILE_HEADER as u64)
    }

    pub(super) fn resume(
        files: LogFiles,
        store_id: u64,
        salt: Salt,
        file: Box<dyn DiskFile>,
        first: Revision,
        next: Revision,
        offset: u64,
    ) -> Result<Self, DiskError> {
        Ok(Self {
            files: Arc::new(files),
            store_id,
            salt,
            capacity: file.length()?,
            file,
            first,
            next,
            offset,
            buffer: Vec::new(),
            synced_in: Duration::ZERO,
            failed: None,
        })
    }

    /// The revision that the next record will have.
    #[must_use]
    pub const fn next_revision(&self) -> Revision {
        self.next
    }

    /// How long it took to make durable what was appended last.
    #[must_use]
    pub const fn synced_in(&self) -> Duration {
        self.synced_in
    }

    /// What removes files that are no longer needed.
    #[must_use]
    pub fn trimmer(&self) -> LogTrimmer {
        LogTrimmer(Arc::clone(&self.files))
    }

    /// Appends records and makes them durable. Returns the revision of the first one and the
    /// number of bytes written.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append<R: AsRef<[u8]>>(
        &mut self,
        records: &[R],
    ) -> Result<(Revision, u64), AppendError> {
        self.append_up_to(records, self.capacity.saturating_sub(self.reserve()))
    }

    /// Appends records as [`LogWriter::append`] does, in the reserve if there is no other space.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_in_reserve<R: AsRef<[u8]>>(
        &mut self,
        records: &[R],
    ) -> Result<(Revision, u64), AppendError> {
        self.append_up_to(records, self.capacity)
    }

    /// Bytes at the end of the file that are kept free: none while there is another file to go on
    /// with.
    fn reserve(&self) -> u64 {
        if self.files.has_spare() {
            0
        } else {
            self.files.file_bytes / RESERVE
        }
    }

    fn append_up_to<R: AsRef<[u8]>>(
        &mut self,
        records: &[R],
        end: u64,
    ) -> Result<(Revision, u64), AppendError> {
        if let Some(error) = &self.failed {
            return Err(AppendError::Failed(error.clone()));
        }
        let first = self.next;
        if records.is_empty() {
            return Ok((first, 0));
        }
        self.buffer.clear();
        if frame::encode_batch(&mut self.buffer, self.salt, first, records).is_none() {
            let cause = std::io::Error::other("the records are more than 4 GiB");
            let folder = &self.files.folder;
            let error = DiskError::new(DiskOperation::Write, folder, cause);
            return Err(AppendError::Failed(error));
        }
        match self.write_buffer(end) {
            Ok(()) => {
                self.next = Revision::new(first.number() + records.len() as u64);
                Ok((first, self.buffer.len() as u64))
            }
            Err(error) => {
                if let AppendError::Failed(error) = &error {
                    self.failed = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    /// Goes on in another file, so that what was written so far can be trimmed as a whole. Does
    /// nothing if nothing was written to this one.
    ///
    /// # Errors
    /// See [`AppendError`]. On a full disk the log goes on in this file.
    pub fn rotate(&mut self) -> Result<(), AppendError> {
        if let Some(error) = &self.failed {
            return Err(AppendError::Failed(error.clone()));
        }
        if self.first == self.next {
            return Ok(());
        }
        let begun = self.begin_file(0);
        if let Err(AppendError::Failed(error)) = &begun {
            self.failed = Some(error.clone());
        }
        begun
    }

    /// Records that everything before was durable, so that the next start takes nothing at the end
    /// for the remains of a crash. Does nothing after a failure.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn close(mut self) -> Result<(), AppendError> {
        if self.failed.is_some() {
            return Ok(());
        }
        self.buffer.clear();
        frame::encode_closed(&mut self.buffer, self.salt, self.next);
        self.write_buffer(self.capacity)
    }

    /// Begins a file for a frame of so many bytes.
    fn begin_file(&mut self, length: u64) -> Result<(), AppendError> {
        let header = FileHeader {
            store_id: self.store_id,
            first: self.next,
            salt: self.salt,
        };
        let bytes = FILE_HEADER as u64 + length;
        let file = self.files.start_file(self.next, &header.encode(), bytes);
        self.file = file.map_err(|error| {
            if error.is_full() {
                AppendError::Full(error)
            } else {
                AppendError::Failed(error)
            }
        })?;
        self.first = self.next;
        self.offset = FILE_HEADER as u64;
        self.capacity = bytes.max(self.files.file_bytes);
        Ok(())
    }

    /// Writes the buffer to the file, unless it would reach beyond `end`: then to another one.
    fn write_buffer(&mut self, end: u64) -> Result<(), AppendError> {
        let length = self.buffer.len() as u64;
        // A file without records is never left behind, however large the frame: the next file
        // would have the same name.
        if self.offset + length > end && self.first < self.next {
            self.begin_file(length)?;
        }
        let written = self.file.write_at(self.offset, &self.buffer);
        let began = Instant::now();
        // Space that the file has was given to it before, so that even a full disk is a failure.
        written
            .and_then(|()| self.file.sync())
            .map_err(AppendError::Failed)?;
        self.synced_in = began.elapsed();
        self.offset += length;
        Ok(())
    }
}
