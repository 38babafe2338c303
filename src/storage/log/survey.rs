//! Looks at every frame of every file of the log, and goes on behind damage.
//!
//! Invariant: what an intact log holds is told as [`super::LogReader`] would hand it out; what is
//! behind damage is told only where it is a frame of this log, by its checksum.

use std::path::{Path, PathBuf};

use super::files;
use super::recover::{self, Verdict};
use crate::model::Revision;
use crate::storage::disk::{Disk, EntryKind};
use crate::storage::error::StorageError;
use crate::storage::frame::{
    self, FILE_HEADER, FRAME_HEADER, FileHeader, FrameKind, HeaderFault, Salt, VERSION,
};
use crate::storage::survey::{Fault, Holds, SurveyedFile, entries, length};

/// Frames that follow one another without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The revision of the first record.
    pub first: Revision,
    /// The revision after the last record.
    pub next: Revision,
    /// Where the first frame begins, in bytes from 0.
    pub start: u64,
    /// Where the last frame ends.
    pub end: u64,
}

/// A file of the log.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The file, and what is wrong with it.
    pub file: SurveyedFile,
    /// The first revision, as in the name.
    pub first: Revision,
    /// What of it can be read.
    pub stretches: Vec<Stretch>,
    store_id: Option<u64>,
}

impl LogFile {
    /// The store that the file says it is of; `None` if its header can't be read.
    #[must_use]
    pub const fn store_id(&self) -> Option<u64> {
        self.store_id
    }

    /// Where the last frame ends, in bytes from 0.
    #[must_use]
    pub fn end(&self) -> u64 {
        let last = self.stretches.last();
        last.map_or(FILE_HEADER as u64, |last| last.end)
    }
}

/// Looks at a log.
pub(in crate::storage) struct LogSurvey<'a> {
    pub(in crate::storage) disk: &'a dyn Disk,
    pub(in crate::storage) folder: PathBuf,
    /// The store that the files have to be of, if that is known.
    pub(in crate::storage) store_id: Option<u64>,
    /// Known to have been durable from a snapshot.
    pub(in crate::storage) durable_up_to: Revision,
    pub(in crate::storage) check_record: &'a mut dyn FnMut(&[u8]) -> Option<Fault>,
}

impl LogSurvey<'_> {
    /// The files of the log, oldest first. What is no file of it is added to `others`.
    pub(in crate::storage) fn run(
        mut self,
        others: &mut Vec<SurveyedFile>,
    ) -> Result<Vec<LogFile>, StorageError> {
        let mut firsts = Vec::new();
        for entry in entries(self.disk, &self.folder)? {
            let path = self.folder.join(&entry.name);
            match (files::revision_of(&entry.name), entry.kind) {
                (Some(first), EntryKind::File) => firsts.push((first, path)),
                (None, EntryKind::File) if files::is_unfinished(&entry.name) => {
                    let bytes = length(self.disk, &path, entry.kind)?;
                    others.push(SurveyedFile::new(path, bytes, Holds::Nothing));
                }
                (_, kind) => {
                    let bytes = length(self.disk, &path, kind)?;
                    others.push(SurveyedFile::unknown(path, bytes));
                }
            }
        }
        firsts.sort_unstable();
        let newest = firsts.last().map(|(first, _)| *first);
        let mut found = Vec::with_capacity(firsts.len());
        let mut next = None;
        for (first, path) in firsts {
            found.push(self.file(&path, first, &mut next, Some(first) == newest)?);
        }
        // Nothing that a snapshot holds can have been torn by a crash.
        if let (Some(last), Some(next)) = (found.last_mut(), next)
            && next <= self.durable_up_to
        {
            let offset = last.file.torn.take().map(|(offset, _)| offset);
            let end = last.stretches.last().map_or(FILE_HEADER as u64, |s| s.end);
            last.file.faults.push(Fault::damage(
                offset.unwrap_or(end),
                format!(
                    "the log ends here, before revision {}, which a snapshot holds",
                    self.durable_up_to.number()
                ),
            ));
        }
        Ok(found)
    }

    /// Looks at one file. `next` is the revision that the file has to begin with, then that after
    /// its last.
    fn file(
        &mut self,
        path: &Path,
        first: Revision,
        next: &mut Option<Revision>,
        is_newest: bool,
    ) -> Result<LogFile, StorageError> {
        let bytes = self.disk.open_to_read(path)?.read_all()?;
        let holds = Holds::Log { first, next: first };
        let mut log = LogFile {
            file: SurveyedFile::new(path.to_path_buf(), bytes.len() as u64, holds),
            first,
            stretches: Vec::new(),
            store_id: None,
        };
        let expected = next.replace(first).unwrap_or(first);
        if first != expected {
            let what = if first > expected {
                format!(
                    "before this file, the revisions from {} to {} are missing",
                    expected.number(),
                    first.number() - 1
                )
            } else {
                format!(
                    "expected revision {}, found {}",
                    expected.number(),
                    first.number()
                )
            };
            log.file.faults.push(Fault::damage(16, what));
        }
        let header = match FileHeader::decode(&bytes) {
            Ok(header) => header,
            Err(fault) => {
                log.file.faults.push(match fault {
                    HeaderFault::Damaged { offset, fault } => Fault::damage(offset, fault),
                    HeaderFault::NewerVersion { found } => Fault::of(StorageError::NewerVersion {
                        file: path.to_path_buf(),
                        found,
                        supported: VERSION,
                    })?,
                });
                return Ok(log);
            }
        };
        log.store_id = Some(header.store_id);
        if self.store_id.is_some_and(|id| id != header.store_id) {
            let file = path.to_path_buf();
            log.file
                .faults
                .push(Fault::of(StorageError::OtherStore { file })?);
            return Ok(log);
        }
        if header.first != first {
            let what = format!(
                "expected revision {}, found {}",
                first.number(),
                header.first.number()
            );
            log.file.faults.push(Fault::damage(16, what));
            return Ok(log);
        }
        let end = self.frames(&mut log, &bytes, header.salt, is_newest);
        *next = Some(end);
        log.file.holds = Holds::Log { first, next: end };
        Ok(log)
    }

    /// Looks at the frames of a file. Returns the revision after the last.
    fn frames(&mut self, log: &mut LogFile, bytes: &[u8], salt: Salt, is_newest: bool) -> Revision {
        let mut next = log.first;
        let mut offset = FILE_HEADER;
        let mut stretch: Option<Stretch> = None;
        loop {
            match recover::judge(bytes, salt, offset, next, is_newest) {
                Verdict::Frame { kind, length } => {
                    let payload = bytes.get(offset + FRAME_HEADER..offset + length);
                    let first = next;
                    if kind == FrameKind::Batch {
                        let payload = payload.unwrap_or_default();
                        match frame::records(payload) {
                            Some(records) => {
                                for record in &records {
                                    self.record(log, record, offset, next);
                                    next = next.next();
                                }
                            }
                            None => log.file.faults.push(Fault::damage(
                                offset as u64,
                                "the records do not fill the frame",
                            )),
                        }
                    }
                    offset += length;
                    let stretch = stretch.get_or_insert(Stretch {
                        first,
                        next,
                        start: (offset - length) as u64,
                        end: 0,
                    });
                    (stretch.next, stretch.end) = (next, offset as u64);
                }
                Verdict::End => break,
                Verdict::Torn => {
                    let end = recover::without_zeros(bytes).max(offset);
                    log.file.torn = Some((offset as u64, (end - offset) as u64));
                    break;
                }
                Verdict::Damage { fault } => {
                    log.file.faults.push(Fault::damage(offset as u64, fault));
                    log.stretches.extend(stretch.take());
                    // Behind the damage, what is intact tells how far the log went.
                    let rest = bytes.get(offset..).unwrap_or_default();
                    let Some((distance, revision)) = recover::intact_frame(rest, salt, next) else {
                        break;
                    };
                    offset += distance;
                    next = revision;
                }
            }
        }
        log.stretches.extend(stretch);
        next
    }

    fn record(&mut self, log: &mut LogFile, record: &[u8], frame: usize, revision: Revision) {
        if let Some(fault) = (self.check_record)(record) {
            log.file.faults.push(Fault {
                offset: frame as u64,
                what: format!(
                    "the record of revision {} in this frame: {}",
                    revision.number(),
                    fault.what
                ),
                kind: fault.kind,
            });
        }
    }
}
