//! Makes a damaged data folder openable: sets aside what can't be used.
//!
//! Invariant: nothing is deleted, and no revision is given up that a whole snapshot or an intact
//! part of the log behind it holds. A plan is tried on an overlay first: what is not sound then is
//! never done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::verify::{self, Verification};
use crate::model::Revision;
use crate::storage::{
    self, Disk, FaultKind, LogFile, OverlayDisk, StorageError, Stretch, Survey, lock_as_it_is,
};

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairStep {
    /// Moves a file or a folder into `set-aside/`.
    SetAside {
        /// What is moved.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Says anew which store the folder is of.
    WriteIdentity {
        /// The store, as all other files say.
        store_id: u64,
    },
    /// Copies the intact part of a log file into a new one; the file is set aside.
    Keep {
        /// The file.
        path: PathBuf,
        /// What of it stays.
        stretches: Vec<Stretch>,
        /// Why not all of it.
        why: String,
    },
    /// Begins a log.
    StartLog {
        /// The store.
        store_id: u64,
        /// The first revision that it is to hold.
        first: Revision,
    },
}

/// Acknowledged revisions that are in no file that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first revision lost.
    pub from: Revision,
    /// The last one that is known of: there may have been more.
    pub to: Revision,
}

/// What a repair does, or would do.
#[derive(Debug)]
pub struct Repair {
    /// The steps, in their order; none if the folder is sound.
    pub steps: Vec<RepairStep>,
    /// What is lost with it.
    pub loss: Option<Loss>,
    /// What the folder is like after.
    pub after: Verification,
}

/// Why a data folder can't be repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The folder can't be used, or the disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file is of a newer version, and so may be whole.
    #[error("{file}: {what}; use the version that wrote it, or a newer one. Nothing was changed")]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// What it says.
        what: String,
    },
    /// Nothing says which store this is.
    #[error(
        "{file} is missing or damaged, and the other files do not agree on which store this is; restore a backup. Nothing was changed"
    )]
    NoIdentity {
        /// The file.
        file: PathBuf,
    },
    /// There is neither a whole snapshot nor the beginning of the log.
    #[error(
        "{folder} has neither a whole snapshot nor the beginning of the log, so that there is nothing to start from; restore a backup. Nothing was changed"
    )]
    NothingToStartFrom {
        /// The folder.
        folder: PathBuf,
    },
    /// Acknowledged writes would be lost.
    #[error(
        "the revisions from {} to {} at least would be lost; restore a backup that has them or, to go on without them, use --accept-loss. Nothing was changed",
        .0.from.number(), .0.to.number()
    )]
    WouldLose(Loss),
    /// Setting aside what is known to be damaged does not help.
    #[error(
        "the folder would not be sound after a repair: {fault}; restore a backup. Nothing was changed"
    )]
    NotEnough {
        /// The first fault that would be left.
        fault: String,
    },
}

/// Says what a repair would do. Changes nothing.
///
/// # Errors
/// [`RepairError`] if the folder is in use, or can't be repaired.
pub fn plan_repair(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Repair, RepairError> {
    let _lock = lock_as_it_is(disk.as_ref(), folder)?;
    tried(disk, folder)
}

/// Repairs a data folder.
///
/// # Errors
/// [`RepairError`] if the folder is in use, or can't be repaired, or if revisions would be lost and
/// that is not accepted; nothing is changed then. If the disk fails, the folder can be repaired
/// again.
pub fn repair(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    accepts_loss: bool,
) -> Result<Repair, RepairError> {
    let _lock = lock_as_it_is(disk.as_ref(), folder)?;
    let mut repair = tried(disk, folder)?;
    if let Some(loss) = repair.loss.filter(|_| !accepts_loss) {
        return Err(RepairError::WouldLose(loss));
    }
    if !repair.steps.is_empty() {
        carry_out(disk.as_ref(), folder, &repair.steps)?;
        repair.after = verify::verify_locked(disk, folder)?;
    }
    Ok(repair)
}

/// Makes a plan and carries it out on an overlay.
fn tried(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Repair, RepairError> {
    let survey = verify::examine(disk, folder)?;
    let (steps, loss) = plan(&survey, folder)?;
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::clone(disk)));
    carry_out(overlay.as_ref(), folder, &steps)?;
    let after = verify::verify_locked(&overlay, folder)?;
    match after.first_fault() {
        None => Ok(Repair { steps, loss, after }),
        Some(fault) => Err(RepairError::NotEnough { fault }),
    }
}

fn carry_out(disk: &dyn Disk, folder: &Path, steps: &[RepairStep]) -> Result<(), StorageError> {
    for step in steps {
        match step {
            RepairStep::SetAside { path, .. } => {
                storage::set_aside(disk, folder, path)?;
            }
            RepairStep::WriteIdentity { store_id } => {
                storage::write_identity(disk, folder, *store_id)?;
            }
            RepairStep::Keep {
                path, stretches, ..
            } => {
                storage::keep_stretches(disk, folder, path, stretches)?;
            }
            RepairStep::StartLog { store_id, first } => {
                storage::start_log(disk, folder, *store_id, *first)?;
            }
        }
    }
    Ok(())
}

/// What has to be done, and what is lost with it.
fn plan(survey: &Survey, folder: &Path) -> Result<(Vec<RepairStep>, Option<Loss>), RepairError> {
    for file in survey.files() {
        let newer = |kind| kind == FaultKind::NewerVersion;
        if let Some(fault) = file.faults.iter().find(|fault| newer(fault.kind)) {
            return Err(RepairError::NewerVersion {
                file: file.path.clone(),
                what: fault.what.clone(),
            });
        }
    }
    let mut steps = Vec::new();
    let store_id = match survey.store_id {
        Some(store_id) => store_id,
        None => survey.others_say.ok_or_else(|| RepairError::NoIdentity {
            file: survey.identity.path.clone(),
        })?,
    };
    for file in survey.others.iter().filter(|file| !file.faults.is_empty()) {
        steps.push(set_aside(&file.path, &file.faults[0].what));
    }
    for snapshot in survey
        .snapshots
        .iter()
        .filter(|snapshot| !snapshot.is_whole())
    {
        let faults = snapshot.files.iter().flat_map(|file| &file.faults);
        let why = faults.map(|fault| fault.what.as_str()).next();
        steps.push(set_aside(&snapshot.path, why.unwrap_or_default()));
    }
    let whole = survey
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.is_whole());
    let base = whole.map(|snapshot| snapshot.revision).max();
    let base = base.unwrap_or(Revision::ZERO);

    let chain = chain(&survey.log, base.next());
    let Some(next) = chain.last().map(|(_, stretch)| stretch.next) else {
        if base == Revision::ZERO {
            return Err(RepairError::NothingToStartFrom {
                folder: folder.to_path_buf(),
            });
        }
        // Newest first: what is left in between is a log that lacks something, and is refused.
        for log in survey.log.iter().rev() {
            steps.push(set_aside(
                &log.file.path,
                &why(log, "it ends before the newest snapshot"),
            ));
        }
        let first = base.next();
        steps.push(RepairStep::StartLog { store_id, first });
        identify(survey, store_id, &mut steps);
        return Ok((steps, loss(survey, first)));
    };
    for (position, log) in survey.log.iter().enumerate().rev() {
        let of_file = chain.iter().filter(|(file, _)| *file == position);
        let kept: Vec<Stretch> = of_file.map(|(_, stretch)| *stretch).collect();
        let is_all = kept == pieces(log);
        if kept.is_empty() {
            steps.push(set_aside(
                &log.file.path,
                &why(log, "the log before it is not whole"),
            ));
        } else if !is_all || !log.file.faults.is_empty() {
            steps.push(RepairStep::Keep {
                path: log.file.path.clone(),
                stretches: kept,
                why: why(log, "a part of it does not follow on the rest of the log"),
            });
        }
    }
    identify(survey, store_id, &mut steps);
    Ok((steps, loss(survey, next)))
}

/// The last step, since without it the folder is refused.
fn identify(survey: &Survey, store_id: u64, steps: &mut Vec<RepairStep>) {
    if survey.store_id.is_none() {
        if survey.identity.bytes > 0 {
            steps.push(set_aside(
                &survey.identity.path,
                &survey.identity.faults[0].what,
            ));
        }
        steps.push(RepairStep::WriteIdentity { store_id });
    }
}

fn set_aside(path: &Path, why: &str) -> RepairStep {
    RepairStep::SetAside {
        path: path.to_path_buf(),
        why: why.to_owned(),
    }
}

fn why(log: &LogFile, otherwise: &str) -> String {
    let fault = log.file.faults.first();
    fault.map_or_else(
        || otherwise.to_owned(),
        |fault| format!("byte {}: {}", fault.offset, fault.what),
    )
}

/// What of a log file can be used: its stretches, or an empty one if it holds nothing so far.
fn pieces(log: &LogFile) -> Vec<Stretch> {
    if log.stretches.is_empty() && log.file.faults.is_empty() {
        let (first, end) = (log.first, log.end());
        return vec![Stretch {
            first,
            next: first,
            start: end,
            end,
        }];
    }
    log.stretches.clone()
}

/// The longest part of the log without a gap in which the record of `wanted` has a place, or comes
/// next: each stretch with the position of its file.
fn chain(log: &[LogFile], wanted: Revision) -> Vec<(usize, Stretch)> {
    let mut chains: Vec<Vec<(usize, Stretch)>> = Vec::new();
    for (position, log) in log.iter().enumerate() {
        for stretch in pieces(log) {
            match chains.last_mut() {
                Some(chain)
                    if chain
                        .last()
                        .is_some_and(|(_, last)| last.next == stretch.first) =>
                {
                    chain.push((position, stretch));
                }
                Some(_) | None => chains.push(vec![(position, stretch)]),
            }
        }
    }
    chains.retain(|chain| {
        let first = chain.first().map(|(_, stretch)| stretch.first);
        let next = chain.last().map(|(_, stretch)| stretch.next);
        first.is_some_and(|first| first <= wanted) && next.is_some_and(|next| wanted <= next)
    });
    let reach = |chain: &Vec<(usize, Stretch)>| chain.last().map(|(_, stretch)| stretch.next);
    chains.into_iter().max_by_key(reach).unwrap_or_default()
}

/// What is lost if the next revision will be `next`.
fn loss(survey: &Survey, next: Revision) -> Option<Loss> {
    let stretches = survey.log.iter().flat_map(|log| &log.stretches);
    // A closed frame tells as well how far the log went.
    let in_log = stretches.map(|stretch| Revision::new(stretch.next.number().saturating_sub(1)));
    let in_snapshots = survey.snapshots.iter().map(|snapshot| snapshot.revision);
    // Of a file that can't be read, only the name tells something.
    let unread = survey.log.iter().filter(|log| log.stretches.is_empty());
    let unread = unread.filter(|log| !log.file.faults.is_empty());
    let unread = unread.map(|log| log.first);
    let last = in_log.chain(in_snapshots).chain(unread).max()?;
    (last >= next).then_some(Loss {
        from: next,
        to: last,
    })
}
