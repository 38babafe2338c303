//! A data folder in the making: a copy of another one, or of what a service sends.
//!
//! Invariant: a folder has its final name only once every file of it is durable and was checked;
//! no file is written outside of it, whatever name it is said to have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, EntryKind};
use super::error::StorageError;
use super::folder::{IDENTITY, LOG, SNAPSHOTS};
use super::{log, snapshot};

const TEMP: &str = ".tmp";

/// A data folder under a temporary name.
#[derive(Debug)]
pub struct NewFolder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temp: PathBuf,
    /// The folders in it, to be synced.
    folders: Vec<PathBuf>,
}

/// A file of such a folder.
#[derive(Debug)]
pub struct NewFile {
    name: String,
    file: Box<dyn DiskFile>,
    written: u64,
    hasher: crc32fast::Hasher,
}

impl NewFolder {
    /// Begins a folder that is to be at `path`, where nothing or an empty folder may be.
    ///
    /// # Errors
    /// [`StorageError::Exists`] if something is there, or in the place of the temporary folder;
    /// or if the disk fails.
    pub fn begin(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, StorageError> {
        let taken = match disk.kind(path)? {
            None => false,
            Some(EntryKind::File) => true,
            Some(EntryKind::Folder) => !disk.list(path)?.is_empty(),
        };
        if taken {
            return Err(StorageError::Exists {
                path: path.to_path_buf(),
            });
        }
        let mut temp = path.as_os_str().to_owned();
        temp.push(TEMP);
        let temp = PathBuf::from(temp);
        if disk.kind(&temp)?.is_some() {
            return Err(StorageError::LeftOver { path: temp });
        }
        let mut folders = vec![temp.clone()];
        folders.extend([LOG, SNAPSHOTS].map(|name| temp.join(name)));
        for folder in &folders {
            disk.create_folder(folder)?;
        }
        Ok(Self {
            disk,
            path: path.to_path_buf(),
            temp,
            folders,
        })
    }

    /// Where the folder is until it is published.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temp
    }

    /// Begins a file, named by its path within a data folder, with `/` between the parts.
    ///
    /// # Errors
    /// [`StorageError::BadName`] if a backup has no file of such a name; or if there is one
    /// already, or the disk fails.
    pub fn file(&mut self, name: &str) -> Result<NewFile, StorageError> {
        let parts: Vec<&str> = name.split('/').collect();
        let folder = match parts.as_slice() {
            [IDENTITY] => self.temp.clone(),
            [LOG, file] if log::is_file_name(file) => self.temp.join(LOG),
            [SNAPSHOTS, folder, section]
                if snapshot::is_folder_name(folder) && is_section_name(section) =>
            {
                let folder = self.temp.join(SNAPSHOTS).join(folder);
                if !self.folders.contains(&folder) {
                    self.disk.create_folder(&folder)?;
                    self.folders.push(folder.clone());
                }
                folder
            }
            _ => return Err(StorageError::BadName { name: name.into() }),
        };
        let own = parts.last().copied().unwrap_or_default();
        Ok(NewFile {
            name: name.into(),
            file: self.disk.create(&folder.join(own), 0)?,
            written: 0,
            hasher: crc32fast::Hasher::new(),
        })
    }

    /// Makes all names durable. What was written can be checked then.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<(), StorageError> {
        for folder in self.folders.iter().rev() {
            self.disk.sync_folder(folder)?;
        }
        Ok(())
    }

    /// Gives the folder its name, durably.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn publish(self) -> Result<(), StorageError> {
        self.sync()?;
        self.disk.rename(&self.temp, &self.path)?;
        let above = match self.path.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => Path::new("/"),
        };
        Ok(self.disk.sync_folder(above)?)
    }

    /// Removes what was made, which is a copy only.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard(self) -> Result<(), StorageError> {
        for folder in self.folders.iter().rev() {
            for entry in self.disk.list(folder)? {
                if entry.kind == EntryKind::File {
                    self.disk.remove_file(&folder.join(entry.name))?;
                }
            }
            self.disk.remove_folder(folder)?;
        }
        Ok(())
    }
}

impl NewFile {
    /// Writes what follows.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_at(self.written, bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file durable, if it is as long as it has to be and has this checksum.
    ///
    /// # Errors
    /// [`StorageError::Incomplete`] if it is not; or if the disk fails.
    pub fn finish(self, length: u64, checksum: u32) -> Result<(), StorageError> {
        if self.written != length || self.hasher.finalize() != checksum {
            return Err(StorageError::Incomplete { name: self.name });
        }
        Ok(self.file.sync()?)
    }
}

/// Whether a section, or the manifest, can have this name: of the characters of a population's name
/// and `+`. Two such names are those of folders.
fn is_section_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    !["", ".", ".."].contains(&name) && name.chars().all(is_plain)
}

#[cfg(all(test, feature = "testing"))]
mod tests;
