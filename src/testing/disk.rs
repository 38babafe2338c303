//! A disk in memory that does no more than a disk must: it forgets what was not synced, it fails
//! on demand, it tears writes.
//!
//! Invariant: stricter than a real disk. Bytes survive a crash only if their file was synced, names
//! only if their folder was; a failed sync loses the bytes for good, though reads still return
//! them and the next sync reports success.
//!
//! What it assumes of real disks: names change in the order in which they were changed, so that a
//! crash keeps some first part of the changes; a sector of 512 bytes is written whole or not at
//! all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::storage::{Disk, DiskError, DiskFile, DiskLock, DiskOperation, EntryKind, FolderEntry};

/// Bytes that are written whole or not at all.
const SECTOR: usize = 512;

/// The folder that everything is in.
const ROOT: usize = 0;

/// What a crash does with what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of it is lost.
    LosesAll,
    /// None of it is lost, as when only the process dies.
    KeepsAll,
    /// Some sectors and some first part of the changes of names are kept, chosen by the seed.
    Tears {
        /// Chooses.
        seed: u64,
    },
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device reports an error.
    Io,
    /// There is no space left. Concerns only what needs space.
    Full,
    /// The power is out: this operation and all later ones fail.
    PowerOut,
}

#[derive(Clone, Debug)]
enum Node {
    Folder(Folder),
    File(Content),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    durable: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    /// Changes that are not durable, with their place in the order of all changes.
    pending: Vec<(u64, Vec<NameChange>)>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(String, usize),
    Take(String),
}

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    /// How many changes of names there were.
    changes: u64,
    operations: u64,
    syncs: u64,
    /// The operation that fails, counted from the first, and how.
    failure: Option<(u64, Failure)>,
    /// What failed, the last time something was to.
    failed: Option<DiskOperation>,
    /// How many bytes all files together may have.
    capacity: Option<u64>,
    /// Syncs of this kind report success and do nothing.
    ignored_syncs: Option<EntryKind>,
    /// How long each sync takes.
    sync_time: Duration,
    locked: Vec<PathBuf>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct LyingDisk(Arc<Mutex<State>>);

impl Default for LyingDisk {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            nodes: vec![Node::Folder(Folder::default())],
            ..State::default()
        })))
    }
}

impl LyingDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations there were, reads included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many syncs there were, of files and folders.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Lets the operation of this number, counted from 1 since the disk was made, fail.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        self.state().failure = Some((operation, failure));
    }

    /// The operation that failed as it was told to, if one has.
    #[must_use]
    pub fn failed(&self) -> Option<DiskOperation> {
        self.state().failed
    }

    /// Lets there be space for so many bytes of files in all; as many as there are if `None`. Names
    /// take no space.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// How many bytes all files have that have a name.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Lets all syncs of files, or all of folders, report success and do nothing from now on: what
    /// a test of crashes must notice, or it proves nothing. A copy of the disk is honest again.
    pub fn ignore_syncs(&self, of: EntryKind) {
        self.state().ignored_syncs = Some(of);
    }

    /// Lets each sync take so long from now on. A copy of the disk is fast again.
    pub fn slow_down(&self, sync_time: Duration) {
        self.state().sync_time = sync_time;
    }

    /// The disk as it is found after the power went out now.
    #[must_use]
    pub fn after_crash(&self, crash: Crash) -> Self {
        let state = self.state();
        let mut choices = match crash {
            Crash::Tears { seed } => seed | 1,
            Crash::LosesAll | Crash::KeepsAll => 1,
        };
        // Marsaglia's xorshift (2003).
        let mut choose = |among: u64| {
            choices ^= choices << 13;
            choices ^= choices >> 7;
            choices ^= choices << 17;
            choices % among
        };
        let kept_changes = match crash {
            Crash::LosesAll => 0,
            Crash::KeepsAll => u64::MAX,
            Crash::Tears { .. } => choose(state.changes + 1),
        };
        let nodes = state.nodes.iter().map(|node| match node {
            Node::Folder(folder) => {
                let mut names = folder.durable.clone();
                for (_, changes) in folder.pending.iter().filter(|(at, _)| *at <= kept_changes) {
                    apply(&mut names, changes);
                }
                Node::Folder(Folder {
                    durable: names.clone(),
                    current: names,
                    pending: Vec::new(),
                })
            }
            Node::File(content) => {
                let mut bytes = content.durable.clone();
                for (offset, written) in &content.pending {
                    let mut at = 0;
                    while at < written.len() {
                        let sector = SECTOR - (offset + at) % SECTOR;
                        let end = written.len().min(at + sector);
                        let keeps = match crash {
                            Crash::LosesAll => false,
                            Crash::KeepsAll => true,
                            Crash::Tears { .. } => choose(2) == 0,
                        };
                        if keeps {
                            write(&mut bytes, offset + at, &written[at..end]);
                        }
                        at = end;
                    }
                }
                Node::File(Content {
                    durable: bytes.clone(),
                    current: bytes,
                    pending: Vec::new(),
                })
            }
        });
        Self(Arc::new(Mutex::new(State {
            nodes: nodes.collect(),
            ..State::default()
        })))
    }

    /// All files with their bytes as they are read now.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let mut files = BTreeMap::new();
        let mut folders = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = folders.pop() {
            match &state.nodes[node] {
                Node::File(content) => {
                    files.insert(path, content.current.clone());
                }
                Node::Folder(folder) => {
                    let entries = folder.current.iter();
                    folders.extend(entries.map(|(name, node)| (path.join(name), *node)));
                }
            }
        }
        files
    }

    /// Changes the bytes of a file durably, behind everyone's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let node = state.find(path);
        if let Some(Node::File(content)) = node.and_then(|node| state.nodes.get_mut(node)) {
            change(&mut content.current);
            content.durable.clone_from(&content.current);
            content.pending.clear();
        }
    }

    /// A copy of the disk, to try one thing after another with.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            nodes: state.nodes.clone(),
            ..State::default()
        })))
    }

    /// Waits for as long as a sync takes. Others may use the disk meanwhile.
    fn take_time(&self) {
        let sync_time = self.state().sync_time;
        if !sync_time.is_zero() {
            std::thread::sleep(sync_time);
        }
    }

    /// Counts an operation and, if it is not to fail, carries it out.
    fn run<T>(
        &self,
        operation: DiskOperation,
        path: &Path,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        if operation == DiskOperation::Sync {
            self.take_time();
        }
        let mut state = self.state();
        let outcome = state.count(operation).and_then(|()| work(&mut state));
        outcome.map_err(|cause| DiskError::new(operation, path, cause))
    }
}

fn apply(names: &mut BTreeMap<String, usize>, changes: &[NameChange]) {
    for change in changes {
        match change {
            NameChange::Put(name, node) => {
                names.insert(name.clone(), *node);
            }
            NameChange::Take(name) => {
                names.remove(name);
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    if bytes.len() < offset + written.len() {
        bytes.resize(offset + written.len(), 0);
    }
    bytes[offset..offset + written.len()].copy_from_slice(written);
}

fn parts(path: &Path) -> Vec<String> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect()
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl State {
    fn count(&mut self, operation: DiskOperation) -> io::Result<()> {
        self.operations += 1;
        if operation == DiskOperation::Sync {
            self.syncs += 1;
        }
        let needs_space = match operation {
            DiskOperation::CreateFolder
            | DiskOperation::Create
            | DiskOperation::Write
            | DiskOperation::Sync
            | DiskOperation::Rename
            | DiskOperation::Link => true,
            DiskOperation::Open
            | DiskOperation::Read
            | DiskOperation::Remove
            | DiskOperation::Lock => false,
        };
        let outcome = match self.failure {
            Some((at, Failure::PowerOut)) if self.operations >= at => {
                Err(io::Error::other("the power is out"))
            }
            Some((at, Failure::Io)) if self.operations == at => {
                Err(io::Error::other("the device reports an error"))
            }
            Some((at, Failure::Full)) if self.operations == at && needs_space => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Some(_) | None => Ok(()),
        };
        if outcome.is_err() {
            self.failed = Some(operation);
        }
        outcome
    }

    fn used(&self) -> u64 {
        let (mut used, mut counted, mut nodes) = (0, BTreeSet::new(), vec![ROOT]);
        while let Some(node) = nodes.pop() {
            match &self.nodes[node] {
                Node::File(content) if counted.insert(node) => used += content.current.len() as u64,
                Node::File(_) => {}
                Node::Folder(folder) => nodes.extend(folder.current.values()),
            }
        }
        used
    }

    /// Takes space for more bytes of files.
    fn take(&self, bytes: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if bytes > 0 && self.used() + bytes as u64 > capacity => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = ROOT;
        for name in parts(path) {
            match self.nodes.get(node)? {
                Node::Folder(folder) => node = *folder.current.get(&name)?,
                Node::File(_) => return None,
            }
        }
        Some(node)
    }

    fn kind(&self, path: &Path) -> Option<EntryKind> {
        self.find(path).map(|node| match self.nodes[node] {
            Node::Folder(_) => EntryKind::Folder,
            Node::File(_) => EntryKind::File,
        })
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        let node = self.find(path).ok_or_else(not_found)?;
        match &mut self.nodes[node] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn file(&mut self, node: usize) -> io::Result<&mut Content> {
        match &mut self.nodes[node] {
            Node::File(content) => Ok(content),
            Node::Folder(_) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        }
    }

    /// Changes the names of one folder, as one change.
    fn change(&mut self, folder: &Path, at: u64, changes: Vec<NameChange>) -> io::Result<()> {
        let folder = self.folder(folder)?;
        apply(&mut folder.current, &changes);
        folder.pending.push((at, changes));
        Ok(())
    }

    fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        if self.find(path).is_some() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let number = self.nodes.len();
        let (above, name) = split(path)?;
        let at = self.next_change();
        self.change(above, at, vec![NameChange::Put(name, number)])?;
        self.nodes.push(node);
        Ok(number)
    }
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    let name = path.file_name().ok_or_else(not_found)?;
    let above = path.parent().unwrap_or(Path::new("/"));
    Ok((above, name.to_string_lossy().into_owned()))
}

#[derive(Debug)]
struct LyingFile {
    disk: LyingDisk,
    path: PathBuf,
    node: usize,
}

impl DiskFile for LyingFile {
    fn length(&self) -> Result<u64, DiskError> {
        self.disk.run(DiskOperation::Read, &self.path, |state| {
            Ok(state.file(self.node)?.current.len() as u64)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.disk.run(DiskOperation::Read, &self.path, |state| {
            let content = &state.file(self.node)?.current;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(buffer.len());
            let bytes = content.get(start..end);
            let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.run(DiskOperation::Write, &self.path, |state| {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let length = state.file(self.node)?.current.len();
            state.take((offset + bytes.len()).saturating_sub(length))?;
            let content = state.file(self.node)?;
            write(&mut content.current, offset, bytes);
            content.pending.push((offset, bytes.to_vec()));
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.take_time();
        let mut state = self.disk.state();
        let outcome = state.count(DiskOperation::Sync);
        let power_is_out = matches!(state.failure, Some((_, Failure::PowerOut)));
        let failed = outcome.is_err();
        let ignored = state.ignored_syncs == Some(EntryKind::File);
        let synced = outcome.and_then(|()| {
            if ignored {
                return Ok(());
            }
            let content = state.file(self.node)?;
            content.durable.clone_from(&content.current);
            content.pending.clear();
            Ok(())
        });
        if failed && !power_is_out {
            // The kernel gave up on these bytes: a later sync has nothing to do, and says so.
            if let Ok(content) = state.file(self.node) {
                content.pending.clear();
            }
        }
        synced.map_err(|cause| DiskError::new(DiskOperation::Sync, &self.path, cause))
    }
}

#[derive(Debug)]
struct LyingLock {
    disk: LyingDisk,
    path: PathBuf,
}

impl DiskLock for LyingLock {}

impl Drop for LyingLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.locked.retain(|locked| *locked != self.path);
    }
}

impl Disk for LyingDisk {
    fn kind(&self, path: &Path) -> Result<Option<EntryKind>, DiskError> {
        self.run(DiskOperation::Open, path, |state| Ok(state.kind(path)))
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::CreateFolder, path, |state| {
            if state.kind(path) == Some(EntryKind::Folder) {
                return Ok(());
            }
            state.add(path, Node::Folder(Folder::default())).map(|_| ())
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<FolderEntry>, DiskError> {
        self.run(DiskOperation::Read, path, |state| {
            let names: Vec<String> = state.folder(path)?.current.keys().cloned().collect();
            let entries = names.into_iter().filter_map(|name| {
                let kind = state.kind(&path.join(&name))?;
                Some(FolderEntry { name, kind })
            });
            Ok(entries.collect())
        })
    }

    fn create(&self, path: &Path, length: u64) -> Result<Box<dyn DiskFile>, DiskError> {
        let node = self.run(DiskOperation::Create, path, |state| {
            let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
            state.take(zeros.len())?;
            let content = Content {
                durable: Vec::new(),
                current: zeros.clone(),
                pending: vec![(0, zeros)],
            };
            state.add(path, Node::File(content))
        })?;
        Ok(Box::new(LyingFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            node,
        }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let node = self.run(DiskOperation::Open, path, |state| {
            let node = state.find(path).ok_or_else(not_found)?;
            state.file(node).map(|_| node)
        })?;
        Ok(Box::new(LyingFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            node,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::Rename, from, |state| {
            let node = state.find(from).ok_or_else(not_found)?;
            if state.kind(to) == Some(EntryKind::Folder) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            let (from_folder, old) = split(from)?;
            let (to_folder, new) = split(to)?;
            state.folder(to_folder)?;
            let at = state.next_change();
            let take = NameChange::Take(old);
            let put = NameChange::Put(new, node);
            if from_folder == to_folder {
                state.change(to_folder, at, vec![take, put])
            } else {
                state.change(to_folder, at, vec![put])?;
                state.change(from_folder, at, vec![take])
            }
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::Link, from, |state| {
            let node = state.find(from).ok_or_else(not_found)?;
            state.file(node)?;
            if state.find(to).is_some() {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            let (folder, name) = split(to)?;
            let at = state.next_change();
            state.change(folder, at, vec![NameChange::Put(name, node)])
        })
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::Remove, path, |state| {
            let node = state.find(path).ok_or_else(not_found)?;
            state.file(node)?;
            let (folder, name) = split(path)?;
            let at = state.next_change();
            state.change(folder, at, vec![NameChange::Take(name)])
        })
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::Remove, path, |state| {
            if !state.folder(path)?.current.is_empty() {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
            let (folder, name) = split(path)?;
            let at = state.next_change();
            state.change(folder, at, vec![NameChange::Take(name)])
        })
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.run(DiskOperation::Sync, path, |state| {
            let ignored = state.ignored_syncs == Some(EntryKind::Folder);
            let folder = state.folder(path)?;
            if ignored {
                return Ok(());
            }
            folder.durable.clone_from(&folder.current);
            folder.pending.clear();
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, DiskError> {
        let taken = self.run(DiskOperation::Lock, path, |state| {
            if state.find(path).is_none() {
                state.add(path, Node::File(Content::default()))?;
            }
            let free = !state.locked.iter().any(|locked| locked == path);
            if free {
                state.locked.push(path.to_path_buf());
            }
            Ok(free)
        })?;
        let lock = LyingLock {
            disk: self.clone(),
            path: path.to_path_buf(),
        };
        if taken {
            return Ok(Some(Box::new(lock)));
        }
        // Dropping it would free what another holds.
        std::mem::forget(lock);
        Ok(None)
    }
}
