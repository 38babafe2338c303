//! Rebuilds the state from disk: the newest whole snapshot, then the log after it.
//!
//! Invariant: the state is that of all acknowledged commands, in their order, or there is none and
//! the error says why. A damaged snapshot is passed over only if an earlier one, or nothing, and
//! the log after it reach as far.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::checkpoint::{STORE, SnapshotInfo, Summary, section_name};
use super::pool::PoolError;
use super::record;
use super::registry::Registry;
use crate::codec::DecodeError;
use crate::model::Revision;
use crate::population::{Population, RestoreError};
use crate::storage::{
    DataFolder, Disk, LogOptions, LogReader, LogWriter, SnapshotReader, Snapshots, StorageError,
};

/// Why a data folder can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder or a file in it can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record checks out, but is no command.
    #[error(
        "{file}: the record of revision {revision} in the frame at byte {offset} is no command of this version of Headcount ({error}); use the version that wrote it, or a newer one",
        revision = revision.number()
    )]
    Record {
        /// The file of the log.
        file: PathBuf,
        /// Where the frame of the record begins, in bytes from 0.
        offset: u64,
        /// The revision.
        revision: Revision,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A command could not be replayed, by a fault of Headcount.
    #[error(
        "replaying revision {revision}, in {file} in the frame at byte {offset}, failed by a fault of this version of Headcount; nothing was changed, please report it",
        revision = revision.number()
    )]
    Replay {
        /// The file of the log.
        file: PathBuf,
        /// Where the frame of the record begins, in bytes from 0.
        offset: u64,
        /// The revision.
        revision: Revision,
    },
    /// A snapshot's sections are as written, but make no population.
    #[error("the snapshot {folder} can't be used: {fault}")]
    Snapshot {
        /// The folder of the snapshot.
        folder: PathBuf,
        /// What is wrong.
        fault: SnapshotFault,
    },
    /// A snapshot can't be used, and the log does not reach back to the one before.
    #[error(
        "{damage}. The log begins at revision {log_begins}, too late to start from an earlier snapshot: put the snapshot back from a backup",
        log_begins = log_begins.number()
    )]
    NothingToFallBackTo {
        /// What is wrong with the snapshot.
        damage: Box<OpenError>,
        /// The first revision in the log.
        log_begins: Revision,
    },
    /// A thread could not be started.
    #[error("can't start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The query threads could not be started.
    #[error(transparent)]
    QueryThreads(#[from] PoolError),
}

/// What is wrong with a snapshot whose checksums are right.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The section of the store is missing.
    #[error("section {STORE} is missing")]
    NoStore,
    /// The section of the store can't be read.
    #[error("section {STORE}: {0}")]
    Store(#[from] DecodeError),
    /// A population can't be restored.
    #[error(transparent)]
    Population(#[from] RestoreError),
}

/// What was found on disk.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) registry: Registry,
    pub(super) log: LogWriter,
    pub(super) snapshots: Snapshots,
    pub(super) newest: Option<(SnapshotReader, SnapshotInfo)>,
    /// What the log holds.
    pub(super) replayed: Replayed,
}

/// Progress is reported this often.
const REPORT: Duration = Duration::from_secs(1);

/// Tells at times how far it is.
pub(super) struct Progress {
    begun: Instant,
    reported: Instant,
}

impl Progress {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            reported: now,
        }
    }

    /// Whether it is time to report.
    fn is_due(&mut self) -> bool {
        let due = self.reported.elapsed() >= REPORT;
        if due {
            self.reported = Instant::now();
        }
        due
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads everything and leaves the log ready to be appended to.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    data: &DataFolder,
    log: LogOptions,
) -> Result<Recovered, OpenError> {
    let mut progress = Progress::begin();
    let mut snapshots = Snapshots::open(Arc::clone(disk), data)?;
    let mut reader = LogReader::open(Arc::clone(disk), data, log)?;
    let log_begins = reader.next_revision();
    let snapshot_revisions = snapshots.revisions().to_vec();
    let newest_revision = snapshot_revisions.last().copied().unwrap_or_default();

    let mut unusable = Vec::new();
    let mut loaded = None;
    for &revision in snapshot_revisions.iter().rev() {
        let read = snapshots.read(revision).map_err(OpenError::from);
        match read.and_then(|reader| Ok((load(&reader, &mut progress)?, reader))) {
            Ok(((registry, info), reader)) => {
                loaded = Some((registry, reader, info));
                break;
            }
            Err(error) if is_damage(&error) => {
                tracing::error!(
                    revision = revision.number(),
                    %error,
                    "a snapshot is damaged: falling back to the one before and a longer log"
                );
                unusable.push((revision, error));
            }
            Err(error) => return Err(error),
        }
    }
    let (registry, newest) = match loaded {
        Some((registry, reader, info)) => (registry, Some((reader, info))),
        None => (Registry::new(), None),
    };
    let base = newest.as_ref().map_or(Revision::ZERO, |(_, i)| i.revision);
    if log_begins > base.next() {
        if let Some((_, damage)) = unusable.into_iter().next() {
            return Err(OpenError::NothingToFallBackTo {
                damage: Box::new(damage),
                log_begins,
            });
        }
        return Err(OpenError::Storage(StorageError::LogGap {
            folder: data.log(),
            from: base.next(),
            to: Revision::new(log_begins.number() - 1),
        }));
    }

    let replayed = replay(&mut reader, &registry, base, &mut progress)?;
    let last = Revision::new(reader.next_revision().number() - 1);
    let (log, torn) = reader.into_writer(newest_revision)?;
    if let Some(torn) = torn {
        tracing::warn!(
            file = %torn.file.display(),
            offset = torn.offset,
            bytes = torn.bytes,
            set_aside = %torn.set_aside.display(),
            "cut off what a crash left of the last write, which was never acknowledged"
        );
    }
    // Only now: until here nothing was changed, and an error left everything as it was.
    for (revision, _) in unusable {
        let folder = snapshots.set_aside(revision).map_err(StorageError::from)?;
        tracing::error!(
            revision = revision.number(),
            folder = %folder.display(),
            "set the damaged snapshot aside"
        );
    }
    tracing::info!(
        revision = last.number(),
        snapshot = base.number(),
        milliseconds = progress.milliseconds(),
        "read the data"
    );
    Ok(Recovered {
        registry,
        log,
        snapshots,
        newest,
        replayed,
    })
}

/// Whether an earlier snapshot may be used instead.
fn is_damage(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Storage(StorageError::Damaged { .. }) | OpenError::Snapshot { .. }
    )
}

/// Builds the populations of a snapshot.
pub(super) fn load(
    reader: &SnapshotReader,
    progress: &mut Progress,
) -> Result<(Registry, SnapshotInfo), OpenError> {
    let revision = reader.manifest().revision;
    let unusable = |fault| OpenError::Snapshot {
        folder: reader.path().to_path_buf(),
        fault,
    };
    let store = reader.section(STORE)?;
    let store = store.ok_or_else(|| unusable(SnapshotFault::NoStore))?;
    let summary = Summary::decode(&store).map_err(|error| unusable(error.into()))?;
    let total = reader.manifest().bytes();
    let read = Mutex::new((0, progress));
    let mut populations = Vec::new();
    for (name, _) in &summary.populations {
        // What the population asks for and the disk can't give: told apart from what is missing.
        let failed = Mutex::new(None);
        let section = |part: &str| match reader.section(&section_name(name, part)) {
            Ok(bytes) => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                read.0 += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                if read.1.is_due() {
                    tracing::info!(bytes = read.0, of = total, "reading the snapshot");
                }
                bytes
            }
            Err(error) => {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                None
            }
        };
        let limits = summary.limits.unwrap_or_default();
        let restored = Population::restore(limits, revision, section);
        let failed = failed.into_inner();
        if let Some(error) = failed.unwrap_or_else(PoisonError::into_inner) {
            return Err(error.into());
        }
        populations.push((
            name.clone(),
            restored.map_err(|error| unusable(error.into()))?,
        ));
    }
    let info = SnapshotInfo {
        revision,
        created: reader.manifest().created,
        bytes: total,
        users: summary.users(),
    };
    let registry = Registry::restored(summary.limits, populations);
    Ok((registry, info))
}

/// What was found in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replayed {
    /// Bytes of records that the snapshot does not hold.
    pub(super) log_bytes: u64,
    /// The revision of the last erasure of a user, those included that the snapshot holds; 0 if
    /// there is none.
    pub(super) last_erasure: u64,
}

/// Applies the records after `base`.
fn replay(
    reader: &mut LogReader,
    registry: &Registry,
    base: Revision,
    progress: &mut Progress,
) -> Result<Replayed, OpenError> {
    let mut replayed = Replayed::default();
    while let Some(batch) = reader.next_batch()? {
        let mut revision = batch.first;
        for &payload in &batch.records {
            if record::is_erasure(payload) {
                replayed.last_erasure = revision.number();
            }
            if revision > base {
                replayed.log_bytes += payload.len() as u64;
                let command = record::decode(payload).map_err(|error| OpenError::Record {
                    file: batch.file.clone(),
                    offset: batch.offset,
                    revision,
                    error,
                })?;
                // A refusal was the answer then, and is so now: nothing to do about it. A panic
                // would come again at every start, so that it has to say where.
                catch_unwind(AssertUnwindSafe(|| registry.apply(revision, &command))).map_err(
                    |_| OpenError::Replay {
                        file: batch.file.clone(),
                        offset: batch.offset,
                        revision,
                    },
                )?;
            }
            revision = revision.next();
        }
        if progress.is_due() {
            tracing::info!(revision = revision.number() - 1, "replaying the log");
        }
    }
    Ok(replayed)
}
