//! Looks at every file of every snapshot.
//!
//! Invariant: all faults of all files are told, not only the first.

use std::path::Path;
use std::sync::Arc;

use super::manifest;
use super::reader::SnapshotReader;
use super::{REMOVED, TEMP, revision_of};
use crate::model::Revision;
use crate::storage::disk::{Disk, EntryKind};
use crate::storage::error::StorageError;
use crate::storage::survey::{
    Fault, FaultKind, Holds, SurveyedFile, SurveyedSnapshot, entries, length,
};

/// The snapshots in a folder, oldest first. What is no snapshot is added to `others`.
pub(in crate::storage) fn survey(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    store_id: Option<u64>,
    others: &mut Vec<SurveyedFile>,
) -> Result<Vec<SurveyedSnapshot>, StorageError> {
    let mut snapshots = Vec::new();
    for entry in entries(disk.as_ref(), folder)? {
        let path = folder.join(&entry.name);
        let unfinished = [TEMP, REMOVED]
            .iter()
            .find_map(|suffix| entry.name.strip_suffix(suffix));
        match (entry.kind, revision_of(&entry.name), unfinished) {
            (EntryKind::Folder, Some(revision), _) => {
                snapshots.push(one(disk, &path, store_id, revision)?);
            }
            (EntryKind::Folder, None, Some(name)) if revision_of(name).is_some() => {
                others.push(SurveyedFile::new(path, 0, Holds::Nothing));
            }
            (kind, _, _) => {
                let bytes = length(disk.as_ref(), &path, kind)?;
                others.push(SurveyedFile::unknown(path, bytes));
            }
        }
    }
    snapshots.sort_by_key(|snapshot| snapshot.revision);
    Ok(snapshots)
}

fn one(
    disk: &Arc<dyn Disk>,
    path: &Path,
    store_id: Option<u64>,
    revision: Revision,
) -> Result<SurveyedSnapshot, StorageError> {
    let file = path.join(manifest::FILE);
    let bytes = match disk.kind(&file)? {
        Some(kind) => length(disk.as_ref(), &file, kind)?,
        None => 0,
    };
    let mut files = Vec::new();
    let reader =
        match SnapshotReader::open(Arc::clone(disk), path.to_path_buf(), store_id, revision) {
            Ok(reader) => {
                let sections = reader.manifest().sections.len();
                let holds = Holds::Manifest { revision, sections };
                files.push(SurveyedFile::new(file, bytes, holds));
                Some(reader)
            }
            Err(error) => {
                let fault = Fault::of(error)?;
                files.push(SurveyedFile::new(file, bytes, Holds::Unknown).with(fault));
                None
            }
        };
    for section in reader.iter().flat_map(|reader| &reader.manifest().sections) {
        let path = path.join(&section.name);
        let bytes = match disk.kind(&path)? {
            Some(kind) => length(disk.as_ref(), &path, kind)?,
            None => 0,
        };
        let mut file = SurveyedFile::new(path, bytes, Holds::Section { revision });
        if let Some(Err(error)) = reader.as_ref().map(|reader| reader.section(&section.name)) {
            file.faults.push(Fault::of(error)?);
        }
        files.push(file);
    }
    Ok(SurveyedSnapshot {
        revision,
        path: path.to_path_buf(),
        files,
        reader,
    })
}

impl SurveyedFile {
    /// A name that has no business where it is.
    pub(in crate::storage) fn unknown(path: std::path::PathBuf, bytes: u64) -> Self {
        Self::new(path, bytes, Holds::Unknown).with(Fault {
            kind: FaultKind::UnknownFile,
            offset: 0,
            what: "this is not one of Headcount's files".into(),
        })
    }
}
