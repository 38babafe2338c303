//! Writes the files of a snapshot.
//!
//! Invariant: the manifest is written after every section is durable, and the snapshot gets its
//! name after the manifest is.

use std::path::PathBuf;
use std::sync::Arc;

use super::manifest::{self, Manifest, Section};
use super::reader::{SECTION_HEADER, SnapshotReader, section_header};
use crate::storage::disk::{Disk, DiskError, DiskOperation};

/// A snapshot being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    temp: PathBuf,
    path: PathBuf,
    manifest: Manifest,
    previous: Option<SnapshotReader>,
}

impl SnapshotWriter {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        temp: PathBuf,
        path: PathBuf,
        manifest: Manifest,
        previous: Option<&SnapshotReader>,
    ) -> Self {
        Self {
            disk,
            temp,
            path,
            manifest,
            previous: previous.cloned(),
        }
    }

    /// Writes a section. The name is a file's name, used once.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let header = section_header();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header);
        hasher.update(bytes);
        let file = self.disk.create(&self.temp.join(name), 0)?;
        file.write_at(0, &header)?;
        file.write_at(SECTION_HEADER as u64, bytes)?;
        file.sync()?;
        self.manifest.sections.push(Section {
            name: name.into(),
            length: (SECTION_HEADER + bytes.len()) as u64,
            checksum: hasher.finalize(),
        });
        Ok(())
    }

    /// Takes a section over from the previous snapshot, which has it unchanged.
    ///
    /// # Errors
    /// If the previous snapshot has no such section, or the disk fails.
    pub fn share(&mut self, name: &str) -> Result<(), DiskError> {
        let to = self.temp.join(name);
        let shared = self.previous.as_ref().and_then(|previous| {
            let section = previous.manifest().section(name)?;
            Some((previous.path().join(name), section.clone()))
        });
        let Some((from, section)) = shared else {
            let cause = std::io::Error::other("the previous snapshot has no such section");
            return Err(DiskError::new(DiskOperation::Link, &to, cause));
        };
        self.disk.hard_link(&from, &to)?;
        self.manifest.sections.push(section);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<SnapshotReader, DiskError> {
        let file = self.disk.create(&self.temp.join(manifest::FILE), 0)?;
        file.write_at(0, &self.manifest.encode())?;
        file.sync()?;
        self.disk.sync_folder(&self.temp)?;
        self.disk.rename(&self.temp, &self.path)?;
        Ok(SnapshotReader::written(self.disk, self.path, self.manifest))
    }
}
