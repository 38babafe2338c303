//! Reads the sections of a snapshot.
//!
//! Invariant: bytes are handed out only if the whole file has the length and the checksum that the
//! manifest says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{self, Manifest, ManifestFault};
use crate::model::Revision;
use crate::storage::disk::Disk;
use crate::storage::error::{StorageError, WayOut};

/// The newest version of a section's file, and the only one so far.
const SECTION_VERSION: u32 = 1;

const SECTION_MAGIC: [u8; 4] = *b"HCSS";

/// Bytes before the content of a section: magic and version.
pub(super) const SECTION_HEADER: usize = 8;

pub(super) fn section_header() -> [u8; SECTION_HEADER] {
    let [m0, m1, m2, m3] = SECTION_MAGIC;
    let [v0, v1, v2, v3] = SECTION_VERSION.to_le_bytes();
    [m0, m1, m2, m3, v0, v1, v2, v3]
}

/// A snapshot whose manifest is whole.
#[derive(Clone, Debug)]
pub struct SnapshotReader {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    manifest: Manifest,
}

impl SnapshotReader {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        store_id: Option<u64>,
        revision: Revision,
    ) -> Result<Self, StorageError> {
        let file = path.join(manifest::FILE);
        if disk.kind(&file)?.is_none() {
            return Err(damaged(&file, 0, "the file is missing".into()));
        }
        let bytes = disk.open_to_read(&file)?.read_all()?;
        let manifest = Manifest::decode(&bytes).map_err(|fault| match fault {
            ManifestFault::Damaged { offset, fault } => damaged(&file, offset, fault),
            ManifestFault::NewerVersion { found } => StorageError::NewerVersion {
                file: file.clone(),
                found,
                supported: manifest::VERSION,
            },
        })?;
        if store_id.is_some_and(|id| manifest.store_id != id) {
            return Err(StorageError::OtherStore { file });
        }
        if manifest.revision != revision {
            let found = manifest.revision.number();
            let fault = format!("expected revision {}, found {found}", revision.number());
            return Err(damaged(&file, 16, fault));
        }
        Ok(Self {
            disk,
            path,
            manifest,
        })
    }

    pub(super) fn written(disk: Arc<dyn Disk>, path: PathBuf, manifest: Manifest) -> Self {
        Self {
            disk,
            path,
            manifest,
        }
    }

    /// What the snapshot is.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder of the snapshot.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of its folder.
    #[must_use]
    pub fn folder_name(&self) -> String {
        super::folder_name(self.manifest.revision)
    }

    /// The name of the manifest's file, and its bytes.
    #[must_use]
    pub fn manifest_file(&self) -> (&'static str, Vec<u8>) {
        (manifest::FILE, self.manifest.encode())
    }

    /// Fills the buffer with bytes of a section's file, unchecked.
    ///
    /// # Errors
    /// If the file ends before, or the disk fails.
    pub fn read_at(
        &self,
        section: &str,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), StorageError> {
        let file = self.disk.open_to_read(&self.path.join(section))?;
        Ok(file.read_at(offset, buffer)?)
    }

    /// Reads a section; `None` if the snapshot has no section of the name.
    ///
    /// # Errors
    /// If the file is missing, damaged or of a newer version, or the disk fails.
    pub fn section(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(section) = self.manifest.section(name) else {
            return Ok(None);
        };
        let file = self.path.join(name);
        if self.disk.kind(&file)?.is_none() {
            return Err(damaged(&file, 0, "the file is missing".into()));
        }
        let open = self.disk.open_to_read(&file)?;
        let length = open.length()?;
        if length != section.length {
            let fault = format!("expected {} bytes, found {length}", section.length);
            return Err(damaged(&file, length.min(section.length), fault));
        }
        let mut bytes = open.read_all()?;
        let checksum = crc32fast::hash(&bytes);
        if checksum != section.checksum {
            let fault = format!(
                "expected the checksum {:08x}, found {checksum:08x}",
                section.checksum
            );
            return Err(damaged(&file, 0, fault));
        }
        let version = match bytes.first_chunk::<SECTION_HEADER>() {
            Some([m0, m1, m2, m3, version @ ..]) if [*m0, *m1, *m2, *m3] == SECTION_MAGIC => {
                u32::from_le_bytes(*version)
            }
            Some(_) | None => return Err(damaged(&file, 0, "this is no section".into())),
        };
        if version > SECTION_VERSION {
            return Err(StorageError::NewerVersion {
                file,
                found: version,
                supported: SECTION_VERSION,
            });
        }
        bytes.drain(..SECTION_HEADER);
        Ok(Some(bytes))
    }
}

fn damaged(file: &Path, offset: u64, fault: String) -> StorageError {
    StorageError::Damaged {
        file: file.to_path_buf(),
        offset,
        fault,
        way_out: WayOut::EarlierSnapshot,
    }
}
