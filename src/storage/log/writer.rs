//! Appends batches to a log.
//!
//! Invariants: a batch is written by one write and made durable by one sync, and its revisions are
//! returned only then. After the first failure nothing is ever written again: what is on disk is
//! unknown until the next start has read it.

use std::sync::Arc;

use super::files::{LogFiles, LogTrimmer};
use crate::model::Revision;
use crate::storage::disk::{DiskError, DiskFile, DiskOperation};
use crate::storage::frame::{self, FILE_HEADER, FileHeader, Salt};

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
        let file = files.start_file(next, &header.encode())?;
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
            failed: None,
        })
    }

    /// The revision that the next record will have.
    #[must_use]
    pub const fn next_revision(&self) -> Revision {
        self.next
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
    /// If the disk fails or has failed before. The records may be durable or not: only the next
    /// start can tell.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<(Revision, u64), DiskError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let first = self.next;
        if records.is_empty() {
            return Ok((first, 0));
        }
        self.buffer.clear();
        if frame::encode_batch(&mut self.buffer, self.salt, first, records).is_none() {
            let cause = std::io::Error::other("the records are more than 4 GiB");
            let folder = &self.files.folder;
            return Err(DiskError::new(DiskOperation::Write, folder, cause));
        }
        match self.write_buffer() {
            Ok(()) => {
                self.next = Revision::new(first.number() + records.len() as u64);
                Ok((first, self.buffer.len() as u64))
            }
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Records that everything before was durable, so that the next start takes nothing at the end
    /// for the remains of a crash. Does nothing after a failure.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn close(mut self) -> Result<(), DiskError> {
        if self.failed.is_some() {
            return Ok(());
        }
        self.buffer.clear();
        frame::encode_closed(&mut self.buffer, self.salt, self.next);
        self.write_buffer()
    }

    fn write_buffer(&mut self) -> Result<(), DiskError> {
        let length = self.buffer.len() as u64;
        // A file without records is never left behind, however large the frame: the next file
        // would have the same name.
        if self.offset + length > self.capacity && self.first < self.next {
            let header = FileHeader {
                store_id: self.store_id,
                first: self.next,
                salt: self.salt,
            };
            self.file = self.files.start_file(self.next, &header.encode())?;
            self.first = self.next;
            self.offset = FILE_HEADER as u64;
            self.capacity = self.files.file_bytes;
        }
        self.file.write_at(self.offset, &self.buffer)?;
        self.file.sync()?;
        self.offset += length;
        Ok(())
    }
}
