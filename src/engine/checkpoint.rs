//! Writes snapshots while the store serves, on request and on a schedule, and trims the log to
//! what the older of the two snapshots kept still needs.
//!
//! Invariant: the log is trimmed only after both snapshots are durable, and never beyond the older
//! one: if the newest is ever damaged, the one before and the log after it hold everything. Only
//! where a user was erased, and nothing was written after the newest snapshot for as long as the
//! schedule says, all that is older than it goes: the erased must not stay because nobody writes.
//! A store that stops does not wait for a snapshot: one that is being written is given up before its
//! next section, and the log has what it would have held.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::backup::Backup;
use super::commit::{Captured, Counters, Task};
use super::state::State;
use super::{Announcer, Answer};
use crate::clock::Clock;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{PopulationName, Reason, Revision, Span, StoreLimits, Timestamp};
use crate::storage::{DiskError, LogTrimmer, SnapshotReader, Snapshots};

/// How many snapshots are kept.
const KEPT: usize = 2;
/// How often the schedule is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a failed snapshot keeps the schedule from trying again.
const PAUSE: Duration = Duration::from_mins(1);

/// The section that names the populations.
pub(super) const STORE: &str = "store";
const STORE_VERSION: u8 = 1;
/// Limits without those of events, as the first version of the format had them.
const LIMITS: u8 = 1;
const LIMITS_WITH_EVENTS: u8 = 2;

/// What a snapshot is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last revision whose effects it holds.
    pub revision: Revision,
    /// When it was begun.
    pub created: Timestamp,
    /// Its size on disk, with what it shares with the one before.
    pub bytes: u64,
    /// Users of all populations.
    pub users: u64,
}

/// Why no snapshot was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed. The snapshots before and the log are whole.
    #[error("{0}; the snapshots before and the log are whole")]
    Disk(#[from] DiskError),
    /// The disk failed earlier.
    #[error(
        "the store is read-only since the disk failed ({cause}); restart the service once the disk is sound"
    )]
    ReadOnly {
        /// What failed.
        cause: String,
    },
    /// The store is being shut down.
    #[error("the store is stopping; try again after a moment")]
    Stopping,
}

impl SnapshotError {
    /// The stable cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Disk(error) if error.is_full() => Reason::StorageFull,
            Self::Disk(_) => Reason::Internal,
            Self::ReadOnly { .. } => Reason::StorageReadOnly,
            Self::Stopping => Reason::NotServing,
        }
    }
}

/// What the thread can be asked.
#[derive(Debug)]
pub(super) enum Request {
    Snapshot(Answer<SnapshotInfo>),
    Backup(Answer<Backup>),
    Stop,
}

/// When snapshots are written without being asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// So long after the one before, if anything was written since.
    pub(super) interval: Option<Span>,
    /// After so many bytes of log.
    pub(super) log_bytes: u64,
}

/// The state of the checkpoint thread.
pub(super) struct Checkpointer {
    pub(super) requests: Receiver<Request>,
    pub(super) commits: tokio::sync::mpsc::Sender<Task>,
    pub(super) snapshots: Snapshots,
    /// The newest snapshot, from which unchanged sections are shared.
    pub(super) newest: Option<(SnapshotReader, SnapshotInfo)>,
    /// Snapshots that backups read, for as long as these exist.
    pub(super) pinned: Vec<(Revision, Weak<()>)>,
    pub(super) trimmer: LogTrimmer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) schedule: Schedule,
    /// Whether the last file for the log could not be made in advance.
    pub(super) lacks_spare: bool,
    pub(super) announcer: Arc<Announcer>,
    pub(super) counters: Arc<Counters>,
}

impl Checkpointer {
    /// Serves until it is told to stop, or nobody is left to ask.
    pub(super) fn run(mut self) {
        let started = self.clock.now();
        let mut paused_until: Option<Instant> = None;
        loop {
            match self.requests.recv_timeout(TICK) {
                Ok(Request::Snapshot(answer)) => answer.send(self.snapshot()),
                Ok(Request::Backup(answer)) => answer.send(self.backup()),
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.clock.now();
                    let paused = paused_until.is_some_and(|until| Instant::now() < until);
                    if !paused
                        && self.is_due(now, started)
                        && let Err(error) = self.snapshot()
                        && !matches!(error, SnapshotError::Stopping)
                    {
                        tracing::error!(%error, "no snapshot could be written");
                        paused_until = Some(Instant::now() + PAUSE);
                    }
                    self.prepare();
                }
            }
        }
    }

    fn is_due(&self, now: Timestamp, started: Timestamp) -> bool {
        // On a full disk a snapshot may not fit; if it does, it makes space.
        if !matches!(self.announcer.state(), State::Serving | State::Full { .. }) {
            return false;
        }
        let log_bytes = self.counters.log_bytes.load(Ordering::Relaxed);
        let since = self
            .newest
            .as_ref()
            .map_or(started, |(_, info)| info.created);
        let is_late = self
            .schedule
            .interval
            .is_some_and(|interval| now >= since.saturating_add(interval));
        log_bytes >= self.schedule.log_bytes
            || (is_late && (log_bytes > 0 || self.has_erased_data()))
    }

    /// Whether there can be something on disk of a user who was erased.
    fn has_erased_data(&self) -> bool {
        let erased = Revision::new(self.counters.last_erasure.load(Ordering::Acquire));
        let oldest = self.snapshots.revisions().first();
        erased > Revision::ZERO
            && (oldest.is_none_or(|oldest| *oldest < erased) || self.trimmer.begins() <= erased)
    }

    /// Makes a spare file for the log, so that the commit thread need not. Where there is space for
    /// one, the disk is not full any more.
    fn prepare(&mut self) {
        let state = self.announcer.state();
        if !matches!(state, State::Serving | State::Full { .. }) {
            return;
        }
        match self.trimmer.prepare() {
            Ok(()) => {
                self.announcer.become_(State::Serving);
                self.lacks_spare = false;
            }
            Err(error) => {
                self.note(&error);
                // Once, not each second.
                if !self.lacks_spare {
                    tracing::warn!(%error, "no file could be made for the log in advance");
                }
                self.lacks_spare = true;
            }
        }
    }

    /// A failed sync is final, whatever file it was for: the disk can't be trusted any more.
    fn note(&self, error: &DiskError) {
        if error.is_sync() {
            self.announcer.become_(State::ReadOnly {
                cause: error.to_string(),
            });
        }
    }

    fn backup(&mut self) -> Result<Backup, SnapshotError> {
        self.snapshot()?;
        // There is one since then.
        let (reader, info) = self.newest.clone().ok_or(SnapshotError::Stopping)?;
        let pin = Arc::new(());
        self.pinned.push((info.revision, Arc::downgrade(&pin)));
        Ok(Backup::new(info, reader, pin))
    }

    fn snapshot(&mut self) -> Result<SnapshotInfo, SnapshotError> {
        match self.announcer.state() {
            State::Serving | State::Full { .. } => {}
            State::ReadOnly { cause } => return Err(SnapshotError::ReadOnly { cause }),
            State::Stopping => return Err(SnapshotError::Stopping),
        }
        let (reply, captured) = sync_channel(1);
        let stopping = |_| SnapshotError::Stopping;
        let began = Instant::now();
        let sent = self.commits.blocking_send(Task::Capture(reply));
        sent.map_err(|_| SnapshotError::Stopping)?;
        let captured = captured.recv().map_err(stopping)?;
        if let Some((_, newest)) = &self.newest
            && newest.revision == captured.revision
        {
            let newest = *newest;
            drop(captured);
            if self.has_erased_data() {
                let removed = self.remove_older();
                removed.inspect_err(|error| self.note(error))?;
            }
            return Ok(newest);
        }
        let revision = captured.revision;
        let log_bytes = captured.log_bytes;
        let outcome = self.write(&captured);
        drop(captured);
        let (reader, info) = outcome.inspect_err(|error| {
            if let SnapshotError::Disk(error) = error {
                self.counters.meters.snapshot_failed();
                self.note(error);
            }
            self.snapshots.remove_unfinished(revision);
        })?;
        tracing::info!(
            revision = info.revision.number(),
            bytes = info.bytes,
            users = info.users,
            "a snapshot was written"
        );
        self.newest = Some((reader, info));
        self.counters
            .log_bytes
            .fetch_sub(log_bytes, Ordering::Relaxed);
        self.counters.meters.snapshot(info, began);
        // The snapshot counts from here on, whatever becomes of the files no longer needed.
        if let Err(error) = self.trim() {
            self.note(&error);
            tracing::error!(%error, "what the new snapshot replaces could not be removed");
        }
        Ok(info)
    }

    /// Gives up between two sections once the store stops.
    fn write(
        &mut self,
        captured: &Captured,
    ) -> Result<(SnapshotReader, SnapshotInfo), SnapshotError> {
        let created = self.clock.now();
        let previous = self.newest.as_ref().map(|(reader, _)| reader);
        let mut writer = self.snapshots.write(captured.revision, created, previous)?;
        let summary = Summary {
            limits: captured.limits,
            populations: captured
                .populations
                .iter()
                .map(|(name, capture)| (name.clone(), capture.users()))
                .collect(),
        };
        writer.add(STORE, &summary.encode())?;
        for (population, capture) in &captured.populations {
            for part in capture.parts() {
                if self.announcer.state() == State::Stopping {
                    tracing::info!("a snapshot was given up: the store is stopping");
                    return Err(SnapshotError::Stopping);
                }
                let name = section_name(population, &part.name());
                let known = previous.filter(|reader| reader.manifest().section(&name).is_some());
                let unchanged_since = known.map(|reader| reader.manifest().revision);
                match part.take(unchanged_since) {
                    Some(bytes) => writer.add(&name, &bytes)?,
                    None => writer.share(&name)?,
                }
            }
        }
        let reader = self.snapshots.finish(writer)?;
        let info = SnapshotInfo {
            revision: captured.revision,
            created,
            bytes: reader.manifest().bytes(),
            users: summary.users(),
        };
        Ok((reader, info))
    }

    /// Removes all that is older than the newest snapshot, but for what a backup reads.
    fn remove_older(&mut self) -> Result<(), DiskError> {
        self.keep(1)?;
        match self.snapshots.revisions() {
            [oldest, ..] => self.trimmer.trim(*oldest),
            [] => Ok(()),
        }
    }

    fn trim(&mut self) -> Result<(), DiskError> {
        self.keep(KEPT)?;
        match self.snapshots.revisions() {
            // With a single snapshot, the whole log is what there is to fall back to.
            [older, .., _] => self.trimmer.trim(*older),
            [] | [_] => Ok(()),
        }
    }

    fn keep(&mut self, count: usize) -> Result<(), DiskError> {
        self.pinned.retain(|(_, pin)| pin.strong_count() > 0);
        let pinned: Vec<Revision> = self.pinned.iter().map(|(revision, _)| *revision).collect();
        self.snapshots.keep_newest(count, &pinned)
    }
}

/// The section that holds a part of a population. `+` is in no population's name.
pub(super) fn section_name(population: &PopulationName, part: &str) -> String {
    format!("{population}+{part}")
}

/// What a snapshot says about the store as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) limits: Option<StoreLimits>,
    /// The populations, with how many users they have.
    pub(super) populations: Vec<(PopulationName, u64)>,
}

impl Summary {
    pub(super) fn users(&self) -> u64 {
        self.populations.iter().map(|(_, users)| users).sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.u8(STORE_VERSION);
        match &self.limits {
            None => encoder.u8(0),
            Some(limits) => {
                encoder.u8(LIMITS_WITH_EVENTS);
                super::record::encode_limits(&mut encoder, limits);
            }
        }
        encoder.count(self.populations.len() as u64);
        for (name, users) in &self.populations {
            encoder.text(name.as_str());
            encoder.count(*users);
        }
        encoder.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != STORE_VERSION {
            return Err(decoder.bad_value("the version of the section", version));
        }
        let limits = match decoder.u8()? {
            0 => None,
            kind @ (LIMITS | LIMITS_WITH_EVENTS) => {
                let with_events = kind == LIMITS_WITH_EVENTS;
                Some(super::record::decode_limits(&mut decoder, with_events)?)
            }
            other => return Err(decoder.bad_value("whether there are limits", other)),
        };
        // A name of one byte behind its length, and the count.
        let count = decoder.length(3)?;
        let mut populations = Vec::with_capacity(count);
        for _ in 0..count {
            let name = super::record::checked(&mut decoder, "a population's name", |text| {
                PopulationName::new(text).ok()
            })?;
            populations.push((name, decoder.count()?));
        }
        decoder.finish()?;
        Ok(Self {
            limits,
            populations,
        })
    }
}
