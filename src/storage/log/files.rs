//! Which files make up the log: their names, a spare one made in advance, and which can go.
//!
//! Invariants: files go oldest first and each durably before the next, so that a crash never
//! leaves a gap; a file is filled with zeros for reuse only after its old name is durably gone.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Revision;
use crate::storage::disk::{Disk, DiskError, DiskFile, EntryKind};
use crate::storage::error::StorageError;

const SUFFIX: &str = ".log";
/// Digits of the largest revision.
const DIGITS: usize = 20;
/// Begins the name of a file full of zeros, ready for use. A number follows, since the next one
/// may be made while the writer still gives this one its place.
const SPARE: &str = "spare-";
/// A file that is to become the spare one.
const SPARE_TEMP: &str = "spare.tmp";
/// A file that is to become part of the log.
pub(in crate::storage) const NEW_TEMP: &str = "new.tmp";

pub(in crate::storage) fn file_name(first: Revision) -> String {
    format!("{:0DIGITS$}{SUFFIX}", first.number())
}

/// Whether a file of the log can have this name.
pub(in crate::storage) fn is_file_name(name: &str) -> bool {
    revision_of(name).is_some()
}

pub(super) fn revision_of(name: &str) -> Option<Revision> {
    let digits = name.strip_suffix(SUFFIX)?;
    let all_digits = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(Revision::new))?
}

/// The first revisions of the files in the folder, in order. What a crash left half made is
/// removed.
pub(super) fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<Revision>, StorageError> {
    let mut firsts = Vec::new();
    for entry in disk.list(folder)? {
        let path = folder.join(&entry.name);
        match (revision_of(&entry.name), entry.kind) {
            (Some(first), EntryKind::File) => firsts.push(first),
            (None, EntryKind::File) if is_unfinished(&entry.name) => disk.remove_file(&path)?,
            (_, EntryKind::File | EntryKind::Folder) => {
                return Err(StorageError::UnknownFile { path });
            }
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Whether a file of this name holds nothing: it is made anew when it is needed.
pub(super) fn is_unfinished(name: &str) -> bool {
    let number = name.strip_prefix(SPARE);
    let is_spare = number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
    is_spare || [SPARE_TEMP, NEW_TEMP].contains(&name)
}

/// What the writer and the trimmer share.
#[derive(Debug)]
pub(super) struct LogFiles {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) file_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first revisions of the files, oldest first; the writer writes to the last.
    firsts: VecDeque<Revision>,
    spare: Option<PathBuf>,
    spares_made: u64,
}

impl LogFiles {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        file_bytes: u64,
        firsts: Vec<Revision>,
    ) -> Self {
        Self {
            disk,
            folder,
            file_bytes,
            state: Mutex::new(State {
                firsts: firsts.into(),
                spare: None,
                spares_made: 0,
            }),
        }
    }

    // No code that can panic runs under this lock, and none waits for the disk.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first revision of the oldest file, if all of it is at or before `revision`.
    fn oldest_without(&self, revision: Revision) -> Option<Revision> {
        let state = self.state();
        let second = state.firsts.get(1)?;
        (*second <= revision.next()).then(|| state.firsts.front().copied())?
    }

    /// Whether a file is ready to be used.
    pub(super) fn has_spare(&self) -> bool {
        self.state().spare.is_some()
    }

    /// Takes the spare file, or makes one of at least so many bytes, and gives it the name for
    /// `first` and this header.
    ///
    /// # Errors
    /// If the disk fails. If it is full ([`DiskError::is_full`]), everything is as it was before.
    pub(super) fn start_file(
        &self,
        first: Revision,
        header: &[u8],
        bytes: u64,
    ) -> Result<Box<dyn DiskFile>, DiskError> {
        let spare = if bytes <= self.file_bytes {
            self.state().spare.take()
        } else {
            None
        };
        let path = spare.clone().unwrap_or_else(|| self.folder.join(NEW_TEMP));
        let named = self.fill_and_name(&path, spare.is_some(), first, header, bytes);
        if let Err(error) = &named
            && error.is_full()
        {
            match spare {
                Some(spare) => self.state().spare = Some(spare),
                // It takes space that is needed; if it stays, the next start removes it.
                None => _ = self.disk.remove_file(&path),
            }
        }
        let file = named?;
        self.disk.sync_folder(&self.folder)?;
        self.state().firsts.push_back(first);
        Ok(file)
    }

    fn fill_and_name(
        &self,
        path: &Path,
        is_spare: bool,
        first: Revision,
        header: &[u8],
        bytes: u64,
    ) -> Result<Box<dyn DiskFile>, DiskError> {
        let file = if is_spare {
            self.disk.open(path)?
        } else {
            if self.disk.kind(path)?.is_some() {
                self.disk.remove_file(path)?;
            }
            self.disk.create(path, bytes.max(self.file_bytes))?
        };
        file.write_at(0, header)?;
        // The name comes last: a file with its name always has its header and its zeros.
        file.sync()?;
        self.disk
            .rename(path, &self.folder.join(file_name(first)))?;
        Ok(file)
    }
}

/// Looks after the files of a log while another thread appends to it.
#[derive(Clone, Debug)]
pub struct LogTrimmer(pub(super) Arc<LogFiles>);

impl LogTrimmer {
    /// Removes the files that hold nothing after `revision`, or keeps one to be used again. The
    /// file that is appended to always stays.
    ///
    /// # Errors
    /// If the disk fails; the log is whole all the same.
    pub fn trim(&self, revision: Revision) -> Result<(), DiskError> {
        let files = &self.0;
        loop {
            let Some(oldest) = files.oldest_without(revision) else {
                return self.prepare();
            };
            let path = files.folder.join(file_name(oldest));
            let recycled = files.folder.join(SPARE_TEMP);
            let reuses = files.state().spare.is_none() && files.disk.kind(&recycled)?.is_none();
            if reuses {
                files.disk.rename(&path, &recycled)?;
            } else {
                files.disk.remove_file(&path)?;
            }
            // From here on the file is no part of the log, whatever else fails.
            files.state().firsts.pop_front();
            files.disk.sync_folder(&files.folder)?;
            if reuses {
                let file = files.disk.open(&recycled)?;
                zero(file.as_ref(), file.length()?.max(files.file_bytes))?;
                self.finish_spare(file.as_ref())?;
            }
        }
    }

    /// The first revision that the log holds.
    #[must_use]
    pub fn begins(&self) -> Revision {
        let state = self.0.state();
        state.firsts.front().copied().unwrap_or_default()
    }

    /// Makes a spare file if there is none, so that the writer need not wait for one.
    ///
    /// # Errors
    /// If the disk fails; the log is whole all the same.
    pub fn prepare(&self) -> Result<(), DiskError> {
        let files = &self.0;
        if files.state().spare.is_some() {
            return Ok(());
        }
        let temp = files.folder.join(SPARE_TEMP);
        if files.disk.kind(&temp)?.is_some() {
            files.disk.remove_file(&temp)?;
        }
        let file = files.disk.create(&temp, files.file_bytes)?;
        self.finish_spare(file.as_ref())
    }

    fn finish_spare(&self, file: &dyn DiskFile) -> Result<(), DiskError> {
        let files = &self.0;
        file.sync()?;
        let temp = files.folder.join(SPARE_TEMP);
        let number = {
            let mut state = files.state();
            state.spares_made += 1;
            state.spares_made
        };
        let spare = files.folder.join(format!("{SPARE}{number}"));
        files.disk.rename(&temp, &spare)?;
        files.state().spare = Some(spare);
        Ok(())
    }
}

/// Overwrites the first `length` bytes with zeros.
pub(super) fn zero(file: &dyn DiskFile, length: u64) -> Result<(), DiskError> {
    zero_range(file, 0, length)
}

/// Overwrites the bytes from `start` to `end` with zeros.
pub(super) fn zero_range(file: &dyn DiskFile, start: u64, end: u64) -> Result<(), DiskError> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut offset = start;
    while offset < end {
        let rest = usize::try_from(end - offset).unwrap_or(ZEROS.len());
        let piece = ZEROS.get(..rest.min(ZEROS.len())).unwrap_or(&ZEROS);
        file.write_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}
