//! Checks a data folder that no process uses: every checksum, every record, and whether a start
//! would succeed.
//!
//! Invariant: nothing on disk is changed. The start that is tried is the real one, on an overlay
//! that keeps its changes in memory.

use std::path::Path;
use std::sync::Arc;

use super::record;
use super::recover::{self, OpenError, Progress};
use crate::model::Revision;
use crate::storage::{
    DataFolder, Disk, Fault, FaultKind, LogOptions, OverlayDisk, StorageError, Survey,
    SurveyedFile, lock_as_it_is, survey,
};

/// What was found in a data folder.
#[derive(Debug)]
pub struct Verification {
    /// The store; `None` if the folder does not say.
    pub store_id: Option<u64>,
    /// Every file, with all that is wrong with it.
    pub files: Vec<SurveyedFile>,
    /// What a start would make of the folder, or why it would fail.
    pub start: Result<Started, OpenError>,
}

/// What a start makes of a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The last revision.
    pub revision: Revision,
    /// The snapshot that it begins with; `None` if with the log alone.
    pub snapshot: Option<Revision>,
    /// How many populations there are.
    pub populations: usize,
    /// How many users they have.
    pub users: u64,
}

impl Verification {
    /// Whether everything is as it was written. What a crash left of the last write, which nobody
    /// was told of, does not count against it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.start.is_ok() && self.files.iter().all(|file| file.faults.is_empty())
    }

    /// The first of what is wrong; `None` if all is sound.
    #[must_use]
    pub fn first_fault(&self) -> Option<String> {
        let fault = self.files.iter().find_map(|file| {
            let fault = file.faults.first()?;
            let (path, offset) = (file.path.display(), fault.offset);
            Some(format!("{path} at byte {offset}: {}", fault.what))
        });
        fault.or_else(|| self.start.as_ref().err().map(ToString::to_string))
    }
}

/// Checks a data folder as it is. Takes its lock meanwhile.
///
/// # Errors
/// [`StorageError`] if the folder is in use, holds no data, or the disk fails; not if the data is
/// damaged.
pub fn verify(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Verification, StorageError> {
    let _lock = lock_as_it_is(disk.as_ref(), folder)?;
    verify_locked(disk, folder)
}

/// Checks a data folder that is locked by the caller.
pub(super) fn verify_locked(
    disk: &Arc<dyn Disk>,
    folder: &Path,
) -> Result<Verification, StorageError> {
    let survey = examine(disk, folder)?;
    Ok(Verification {
        store_id: survey.store_id,
        files: survey.files().cloned().collect(),
        start: start(disk, folder),
    })
}

/// Looks at every file, record and population of a data folder.
pub(super) fn examine(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Survey, StorageError> {
    let mut check_record = |bytes: &[u8]| {
        let error = record::decode(bytes).err()?;
        // Its checksum is right, so that it was written as it is.
        Some(Fault {
            kind: FaultKind::NewerVersion,
            offset: 0,
            what: format!("no command of this version of Headcount ({error})"),
        })
    };
    let mut survey = survey(disk, folder, &mut check_record)?;
    for snapshot in &mut survey.snapshots {
        if !snapshot.is_whole() {
            continue;
        }
        let loaded = snapshot.reader.as_ref().map(|reader| {
            let mut progress = Progress::begin();
            recover::load(reader, &mut progress).map(|_| ())
        });
        if let (Some(Err(error)), Some(manifest)) = (loaded, snapshot.files.first_mut()) {
            manifest.faults.push(Fault::damage(0, error.to_string()));
        }
    }
    Ok(survey)
}

/// Starts on an overlay.
pub(super) fn start(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Started, OpenError> {
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::clone(disk)));
    let data = DataFolder::open(&overlay, folder, super::new_store_id)?;
    let recovered = recover::recover(&overlay, &data, LogOptions::default())?;
    let populations = recovered.registry.all();
    let users = populations
        .iter()
        .map(|(_, population)| population.user_count());
    Ok(Started {
        revision: Revision::new(recovered.log.next_revision().number() - 1),
        snapshot: recovered.newest.as_ref().map(|(_, info)| info.revision),
        populations: populations.len(),
        users: users.sum(),
    })
}
