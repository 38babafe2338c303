//! A disk whose changes stay in memory: what lies below is read and never written.
//!
//! Invariant: no operation on an overlay changes anything on the disk below, whatever the code
//! that uses it does. So the real start, and a repair, can be tried out on a data folder.

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskError, DiskFile, DiskLock, DiskOperation, EntryKind, FolderEntry};

/// A disk over another one.
#[derive(Clone, Debug)]
pub struct OverlayDisk {
    below: Arc<dyn Disk>,
    places: Arc<Mutex<BTreeMap<PathBuf, Place>>>,
}

/// What a path names now, where that is not what it names below.
#[derive(Clone, Debug)]
enum Place {
    /// Nothing.
    Gone,
    /// A folder of which nothing is below.
    Folder,
    /// What this path names below.
    Below(PathBuf),
    /// A file.
    File(Arc<Mutex<Content>>),
}

/// The bytes of a file.
#[derive(Debug)]
enum Content {
    Below(PathBuf),
    Memory(Vec<u8>),
}

#[derive(Debug)]
struct OverlayFile {
    below: Arc<dyn Disk>,
    path: PathBuf,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug)]
struct NoLock;

impl DiskLock for NoLock {}

type Places = BTreeMap<PathBuf, Place>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(operation: DiskOperation, path: &Path, kind: io::ErrorKind) -> DiskError {
    DiskError::new(operation, path, kind.into())
}

/// What a path names, by the nearest place that is known.
fn resolve(places: &Places, path: &Path) -> Place {
    for (depth, above) in path.ancestors().enumerate() {
        let rest = || path.strip_prefix(above).unwrap_or(Path::new(""));
        match (places.get(above), depth) {
            (None, _) => {}
            (Some(place), 0) => return place.clone(),
            (Some(Place::Below(below)), _) => return Place::Below(below.join(rest())),
            (Some(Place::Gone | Place::Folder | Place::File(_)), _) => return Place::Gone,
        }
    }
    Place::Below(path.to_path_buf())
}

impl OverlayDisk {
    /// A disk that shows what `below` has. Whoever wants the folder to stay as it is meanwhile
    /// holds its lock: locks are not passed on.
    #[must_use]
    pub fn new(below: Arc<dyn Disk>) -> Self {
        Self {
            below,
            places: Arc::default(),
        }
    }

    fn kind_in(&self, places: &Places, path: &Path) -> Result<Option<EntryKind>, DiskError> {
        match resolve(places, path) {
            Place::Gone => Ok(None),
            Place::Folder => Ok(Some(EntryKind::Folder)),
            Place::File(_) => Ok(Some(EntryKind::File)),
            Place::Below(below) => self.below.kind(&below),
        }
    }

    /// Fails if the folder that is to hold the path does not exist.
    fn expect_parent(
        &self,
        places: &Places,
        operation: DiskOperation,
        path: &Path,
    ) -> Result<(), DiskError> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        match parent
            .map(|parent| self.kind_in(places, parent))
            .transpose()?
        {
            None | Some(Some(EntryKind::Folder)) => Ok(()),
            Some(Some(EntryKind::File) | None) => {
                Err(failed(operation, path, io::ErrorKind::NotFound))
            }
        }
    }

    fn content(
        &self,
        places: &mut Places,
        operation: DiskOperation,
        path: &Path,
    ) -> Result<Arc<Mutex<Content>>, DiskError> {
        let content = match resolve(places, path) {
            Place::File(content) => return Ok(content),
            Place::Below(below) if self.below.kind(&below)? == Some(EntryKind::File) => {
                Content::Below(below)
            }
            Place::Gone | Place::Folder | Place::Below(_) => {
                return Err(failed(operation, path, io::ErrorKind::NotFound));
            }
        };
        let content = Arc::new(Mutex::new(content));
        places.insert(path.to_path_buf(), Place::File(Arc::clone(&content)));
        Ok(content)
    }

    fn file(&self, path: &Path, content: Arc<Mutex<Content>>) -> Box<dyn DiskFile> {
        Box::new(OverlayFile {
            below: Arc::clone(&self.below),
            path: path.to_path_buf(),
            content,
        })
    }
}

impl DiskFile for OverlayFile {
    fn length(&self) -> Result<u64, DiskError> {
        match &*lock(&self.content) {
            Content::Below(path) => self.below.open_to_read(path)?.length(),
            Content::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        match &*lock(&self.content) {
            Content::Below(path) => self.below.open_to_read(path)?.read_at(offset, buffer),
            Content::Memory(bytes) => {
                let found = usize::try_from(offset)
                    .ok()
                    .and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
                let found = found.ok_or_else(|| {
                    let end = io::ErrorKind::UnexpectedEof;
                    failed(DiskOperation::Read, &self.path, end)
                })?;
                buffer.copy_from_slice(found);
                Ok(())
            }
        }
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> Result<(), DiskError> {
        let mut content = lock(&self.content);
        if let Content::Below(path) = &*content {
            *content = Content::Memory(self.below.open_to_read(path)?.read_all()?);
        }
        if let Content::Memory(bytes) = &mut *content {
            let range = usize::try_from(offset)
                .ok()
                .and_then(|start| Some(start..start.checked_add(written.len())?));
            let too_large = || {
                failed(
                    DiskOperation::Write,
                    &self.path,
                    io::ErrorKind::FileTooLarge,
                )
            };
            let range = range.ok_or_else(too_large)?;
            if bytes.len() < range.end {
                bytes.resize(range.end, 0);
            }
            if let Some(place) = bytes.get_mut(range) {
                place.copy_from_slice(written);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        Ok(())
    }
}

impl Disk for OverlayDisk {
    fn kind(&self, path: &Path) -> Result<Option<EntryKind>, DiskError> {
        self.kind_in(&lock(&self.places), path)
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        let mut places = lock(&self.places);
        if self.kind_in(&places, path)?.is_none() {
            self.expect_parent(&places, DiskOperation::CreateFolder, path)?;
            places.insert(path.to_path_buf(), Place::Folder);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<FolderEntry>, DiskError> {
        let places = lock(&self.places);
        let not_found = || failed(DiskOperation::Read, path, io::ErrorKind::NotFound);
        let below = match resolve(&places, path) {
            Place::Below(below) => self.below.list(&below)?,
            Place::Folder => Vec::new(),
            Place::Gone | Place::File(_) => return Err(not_found()),
        };
        let mut names: BTreeSet<String> = below.into_iter().map(|entry| entry.name).collect();
        for known in places.keys().filter(|known| known.parent() == Some(path)) {
            if let Some(name) = known.file_name() {
                names.insert(name.to_string_lossy().into_owned());
            }
        }
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            if let Some(kind) = self.kind_in(&places, &path.join(&name))? {
                entries.push(FolderEntry { name, kind });
            }
        }
        Ok(entries)
    }

    fn create(&self, path: &Path, length: u64) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut places = lock(&self.places);
        self.expect_parent(&places, DiskOperation::Create, path)?;
        if self.kind_in(&places, path)?.is_some() {
            let exists = io::ErrorKind::AlreadyExists;
            return Err(failed(DiskOperation::Create, path, exists));
        }
        let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
        let content = Arc::new(Mutex::new(Content::Memory(zeros)));
        places.insert(path.to_path_buf(), Place::File(Arc::clone(&content)));
        Ok(self.file(path, content))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut places = lock(&self.places);
        let content = self.content(&mut places, DiskOperation::Open, path)?;
        Ok(self.file(path, content))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut places = lock(&self.places);
        self.expect_parent(&places, DiskOperation::Rename, to)?;
        if self.kind_in(&places, from)?.is_none() {
            return Err(failed(DiskOperation::Rename, from, io::ErrorKind::NotFound));
        }
        let place = resolve(&places, from);
        let inside: Vec<PathBuf> = places
            .keys()
            .filter(|known| known.starts_with(from) && *known != from)
            .cloned()
            .collect();
        places.retain(|known, _| !known.starts_with(to));
        places.insert(to.to_path_buf(), place);
        for known in inside {
            if let (Some(place), Ok(rest)) = (places.remove(&known), known.strip_prefix(from)) {
                places.insert(to.join(rest), place);
            }
        }
        places.insert(from.to_path_buf(), Place::Gone);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut places = lock(&self.places);
        self.expect_parent(&places, DiskOperation::Link, to)?;
        if self.kind_in(&places, to)?.is_some() {
            let exists = io::ErrorKind::AlreadyExists;
            return Err(failed(DiskOperation::Link, to, exists));
        }
        let content = self.content(&mut places, DiskOperation::Link, from)?;
        places.insert(to.to_path_buf(), Place::File(content));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let mut places = lock(&self.places);
        if self.kind_in(&places, path)? != Some(EntryKind::File) {
            return Err(failed(DiskOperation::Remove, path, io::ErrorKind::NotFound));
        }
        places.insert(path.to_path_buf(), Place::Gone);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        if !self.list(path)?.is_empty() {
            let full = io::ErrorKind::DirectoryNotEmpty;
            return Err(failed(DiskOperation::Remove, path, full));
        }
        let mut places = lock(&self.places);
        places.retain(|known, _| !known.starts_with(path));
        places.insert(path.to_path_buf(), Place::Gone);
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> Result<(), DiskError> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> Result<Option<Box<dyn DiskLock>>, DiskError> {
        Ok(Some(Box::new(NoLock)))
    }
}
