//! Reads a log from its oldest file to its end, where it becomes the writer.
//!
//! Invariant: hands out batches in order without a gap, each checked whole. Changes nothing on
//! disk until it becomes the writer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogOptions;
use super::files::{self, LogFiles};
use super::recover::{self, Verdict};
use super::writer::LogWriter;
use crate::model::Revision;
use crate::storage::disk::Disk;
use crate::storage::error::{StorageError, WayOut};
use crate::storage::folder::{DataFolder, unused_path};
use crate::storage::frame::{
    self, FILE_HEADER, FRAME_HEADER, FileHeader, FrameKind, HeaderFault, Salt, VERSION,
};

/// A log being read.
#[derive(Debug)]
pub struct LogReader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    set_aside: PathBuf,
    store_id: u64,
    options: LogOptions,
    firsts: Vec<Revision>,
    /// How many files have been loaded.
    loaded: usize,
    /// The file loaded last.
    bytes: Vec<u8>,
    /// Its salt; before the first file, that of a log yet to be begun.
    salt: Salt,
    offset: usize,
    next: Revision,
    end: Option<End>,
}

/// How the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Torn,
}

/// Records that were made durable together.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The revision of the first record; each record has the revision after the one before.
    pub first: Revision,
    /// The records.
    pub records: Vec<&'a [u8]>,
    /// The file of the log.
    pub file: PathBuf,
    /// Where their frame begins in the file, in bytes from 0.
    pub offset: u64,
}

/// What a crash left of the last write, which was never acknowledged: it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file of the log.
    pub file: PathBuf,
    /// Where the cut was made, in bytes from 0.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// The file that has them now.
    pub set_aside: PathBuf,
}

impl LogReader {
    /// Begins to read the log of a data folder.
    ///
    /// # Errors
    /// If the folder has files that are not of the log, or the disk fails.
    pub fn open(
        disk: Arc<dyn Disk>,
        data: &DataFolder,
        options: LogOptions,
    ) -> Result<Self, StorageError> {
        let folder = data.log();
        let firsts = files::list(disk.as_ref(), &folder)?;
        Ok(Self {
            disk,
            set_aside: data.set_aside(),
            store_id: data.store_id(),
            options,
            next: firsts.first().copied().unwrap_or(Revision::ZERO.next()),
            firsts,
            folder,
            loaded: 0,
            bytes: Vec::new(),
            salt: Salt::random(),
            offset: 0,
            end: None,
        })
    }

    /// The revision of the next record to be read; at the end, of the next to be written.
    #[must_use]
    pub const fn next_revision(&self) -> Revision {
        self.next
    }

    /// Reads the next batch; `None` at the end of the log.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] and its kin if the log is not whole, or if the disk fails.
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_>>, StorageError> {
        while self.end.is_none() {
            if self.loaded == 0 && !self.load_next_file()? {
                self.end = Some(End::Clean);
                break;
            }
            let is_newest = self.loaded == self.firsts.len();
            match recover::judge(&self.bytes, self.salt, self.offset, self.next, is_newest) {
                Verdict::Frame { kind, length } => {
                    let payload = self.offset + FRAME_HEADER..self.offset + length;
                    let at = self.offset;
                    self.offset += length;
                    if kind == FrameKind::Closed {
                        continue;
                    }
                    // Decoded twice on the bad path only, to please the borrow checker.
                    if frame::records(self.bytes.get(payload.clone()).unwrap_or_default()).is_none()
                    {
                        return Err(self.damaged(at, "the records do not fill the frame".into()));
                    }
                    let first = self.next;
                    let payload = self.bytes.get(payload).unwrap_or_default();
                    let records = frame::records(payload).unwrap_or_default();
                    self.next = Revision::new(first.number() + records.len() as u64);
                    return Ok(Some(Batch {
                        first,
                        records,
                        file: self.path(),
                        offset: at as u64,
                    }));
                }
                Verdict::End => {
                    if !self.load_next_file()? {
                        self.end = Some(End::Clean);
                    }
                }
                Verdict::Torn => self.end = Some(End::Torn),
                Verdict::Damage { fault } => return Err(self.damaged(self.offset, fault)),
            }
        }
        Ok(None)
    }

    /// Loads the file after the one loaded; `false` if there is none.
    fn load_next_file(&mut self) -> Result<bool, StorageError> {
        let Some(&first) = self.firsts.get(self.loaded) else {
            return Ok(false);
        };
        if first > self.next {
            return Err(StorageError::LogGap {
                folder: self.folder.clone(),
                from: self.next,
                to: Revision::new(first.number() - 1),
            });
        }
        self.loaded += 1;
        let path = self.folder.join(files::file_name(first));
        self.bytes = self.disk.open(&path)?.read_all()?;
        self.offset = FILE_HEADER;
        let header = FileHeader::decode(&self.bytes).map_err(|fault| match fault {
            HeaderFault::Damaged { offset, fault } => damaged(&path, offset, fault.into()),
            HeaderFault::NewerVersion { found } => StorageError::NewerVersion {
                file: path.clone(),
                found,
                supported: VERSION,
            },
        })?;
        if header.store_id != self.store_id {
            return Err(StorageError::OtherStore { file: path });
        }
        if header.first != first || first != self.next {
            let fault = format!(
                "expected revision {}, found {}",
                self.next.number(),
                header.first.number()
            );
            return Err(damaged(&path, 16, fault));
        }
        self.salt = header.salt;
        Ok(true)
    }

    fn damaged(&self, offset: usize, fault: String) -> StorageError {
        damaged(&self.path(), offset as u64, fault)
    }

    /// The file loaded last.
    fn path(&self) -> PathBuf {
        let first = self
            .loaded
            .checked_sub(1)
            .and_then(|at| self.firsts.get(at));
        self.folder
            .join(files::file_name(first.copied().unwrap_or(self.next)))
    }

    /// Reads to the end and becomes the writer. What a crash left of the last write is put aside
    /// first. `durable_up_to` is known to have been durable from elsewhere, such as a snapshot.
    ///
    /// # Errors
    /// If the log is not whole or does not reach that revision, or if the disk fails.
    pub fn into_writer(
        mut self,
        durable_up_to: Revision,
    ) -> Result<(LogWriter, Option<TornTail>), StorageError> {
        while self.next_batch()?.is_some() {}
        if self.next <= durable_up_to {
            // Nothing of it was torn by a crash, then.
            return Err(if self.end == Some(End::Torn) {
                let fault = format!(
                    "the log ends here, before revision {}, which a snapshot holds",
                    durable_up_to.number()
                );
                self.damaged(self.offset, fault)
            } else {
                StorageError::LogGap {
                    folder: self.folder,
                    from: self.next,
                    to: durable_up_to,
                }
            });
        }
        let torn = match self.end {
            Some(End::Torn) => Some(self.cut()?),
            Some(End::Clean) | None => None,
        };
        let current = self.firsts.last().copied();
        let path = self.path();
        let files = LogFiles::new(
            Arc::clone(&self.disk),
            self.folder,
            self.options.file_bytes,
            self.firsts,
        );
        let writer = match current {
            Some(first) => LogWriter::resume(
                files,
                self.store_id,
                self.salt,
                self.disk.open(&path)?,
                first,
                self.next,
                self.offset as u64,
            )?,
            None => LogWriter::create(files, self.store_id, self.salt, self.next)?,
        };
        Ok((writer, torn))
    }

    /// Copies the torn tail into a file of its own, then overwrites it with zeros.
    fn cut(&self) -> Result<TornTail, StorageError> {
        let disk = self.disk.as_ref();
        let path = self.path();
        let end = recover::without_zeros(&self.bytes).max(self.offset);
        let tail = self.bytes.get(self.offset..end).unwrap_or_default();
        let name = format!(
            "{}-from-{}",
            files::file_name(self.firsts.last().copied().unwrap_or_default()),
            self.offset
        );
        let set_aside = unused_path(disk, &self.set_aside, &name)?;
        let copy = disk.create(&set_aside, 0)?;
        copy.write_at(0, tail)?;
        copy.sync()?;
        disk.sync_folder(&self.set_aside)?;
        let file = disk.open(&path)?;
        files::zero_range(file.as_ref(), self.offset as u64, end as u64)?;
        file.sync()?;
        Ok(TornTail {
            file: path,
            offset: self.offset as u64,
            bytes: tail.len() as u64,
            set_aside,
        })
    }
}

fn damaged(file: &Path, offset: u64, fault: String) -> StorageError {
    StorageError::Damaged {
        file: file.to_path_buf(),
        offset,
        fault,
        way_out: WayOut::RestoreFile,
    }
}
