//! The manifest of a snapshot: what the snapshot is, and the length and checksum of every file.
//!
//! Invariant: written after everything that it names is durable; believed only whole.
//!
//! ```text
//! magic "HCSM", u32 version, u64 store, u64 revision, i64 microseconds of creation,
//! count of sections, each: text name, u64 length of the file, u32 CRC-32 of the file;
//! u32 CRC-32 of everything before
//! ```

use std::collections::HashSet;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{Revision, Timestamp};

/// The newest version of the format. The second one has events; else it is as the first.
pub(super) const VERSION: u32 = 2;

const MAGIC: [u8; 4] = *b"HCSM";

/// The file of the manifest; no section has this name.
pub(super) const FILE: &str = "manifest";

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The store it belongs to.
    pub store_id: u64,
    /// The last revision whose effects it holds.
    pub revision: Revision,
    /// When it was begun.
    pub created: Timestamp,
    /// Its sections, in the order in which they were written.
    pub sections: Vec<Section>,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its CRC-32.
    pub checksum: u32,
}

/// What is wrong with a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ManifestFault {
    Damaged { offset: u64, fault: String },
    NewerVersion { found: u32 },
}

impl From<DecodeError> for ManifestFault {
    fn from(error: DecodeError) -> Self {
        Self::Damaged {
            offset: error.offset as u64,
            fault: error.fault.to_string(),
        }
    }
}

impl Manifest {
    /// The bytes of all sections.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sections.iter().map(|section| section.length).sum()
    }

    /// The section of a name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.raw(&MAGIC);
        encoder.u32(VERSION);
        encoder.u64(self.store_id);
        encoder.u64(self.revision.number());
        encoder.i64(self.created.micros());
        encoder.count(self.sections.len() as u64);
        for section in &self.sections {
            encoder.text(&section.name);
            encoder.u64(section.length);
            encoder.u32(section.checksum);
        }
        let mut bytes = encoder.into_bytes();
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ManifestFault> {
        let damaged = |offset: usize, fault: &str| ManifestFault::Damaged {
            offset: offset as u64,
            fault: fault.into(),
        };
        let Some((covered, checksum)) = bytes.split_last_chunk() else {
            return Err(damaged(0, "the file is too short"));
        };
        let mut decoder = Decoder::new(covered);
        if decoder.raw(MAGIC.len())? != MAGIC {
            return Err(damaged(0, "this is no manifest"));
        }
        let version = decoder.u32()?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
            return Err(damaged(MAGIC.len(), "the checksum is wrong"));
        }
        // Only after the checksum: a flipped bit is no newer version.
        if version > VERSION {
            return Err(ManifestFault::NewerVersion { found: version });
        }
        let store_id = decoder.u64()?;
        let revision = Revision::new(decoder.u64()?);
        let created = Timestamp::from_micros(decoder.i64()?)
            .map_err(|_| damaged(24, "the time of creation is out of range"))?;
        // A name of one byte behind its length, and the two numbers.
        let count = decoder.length(14)?;
        let mut sections = Vec::with_capacity(count);
        let mut names = HashSet::with_capacity(count);
        for _ in 0..count {
            let at = covered.len() - decoder.remaining();
            let name = decoder.text()?;
            // The checksum is none against whoever makes up a backup: no file but those beside the
            // manifest may be read for it.
            if !is_file_name(name) {
                return Err(damaged(
                    at,
                    "a section has a name that no file of a snapshot has",
                ));
            }
            if !names.insert(name) {
                return Err(damaged(at, "two sections have one name"));
            }
            sections.push(Section {
                name: name.into(),
                length: decoder.u64()?,
                checksum: decoder.u32()?,
            });
        }
        decoder.finish()?;
        Ok(Self {
            store_id,
            revision,
            created,
            sections,
        })
    }
}

/// Whether a section can have this name: that of a file in the folder of the manifest.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | FILE) && !name.contains(['/', '\\', '\0'])
}

/// For fuzzing: the bytes are no manifest for others.
#[cfg(feature = "testing")]
impl Manifest {
    /// The bytes of its file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads the bytes of its file; `None` if they are damaged or of a newer version.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            store_id: 7,
            revision: Revision::new(42),
            created: Timestamp::MIN,
            sections: vec![
                Section {
                    name: "a".into(),
                    length: 1,
                    checksum: 2,
                },
                Section {
                    name: "default+shard-0".into(),
                    length: u64::MAX,
                    checksum: u32::MAX,
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Manifest::decode(&manifest().encode()), Ok(manifest()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fault = Manifest::decode(&flipped).unwrap_err();
            assert!(matches!(fault, ManifestFault::Damaged { .. }), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "cut {length}");
        }
    }

    #[test]
    fn a_manifest_names_files_beside_itself_only_and_each_once() {
        let named = |names: &[&str]| {
            let mut manifest = manifest();
            manifest.sections = names
                .iter()
                .map(|name| Section {
                    name: (*name).into(),
                    length: 8,
                    checksum: 0,
                })
                .collect();
            Manifest::decode(&manifest.encode())
        };
        assert!(named(&["a", "default+shard-0", "..a", "a.b"]).is_ok());
        // Too short for its numbers, too.
        assert!(named(&["a", ""]).is_err());
        for name in [
            ".",
            "..",
            "manifest",
            "/etc/passwd",
            "../../other/data/headcount",
            "a/b",
            "a\\b",
            "a\0b",
        ] {
            let fault = named(&["a", name]).unwrap_err();
            assert!(
                matches!(&fault, ManifestFault::Damaged { fault, .. } if fault.contains("name")),
                "{name:?}: {fault:?}"
            );
        }
        assert!(named(&["a", "b", "a"]).is_err());
    }

    #[test]
    fn a_newer_version_is_no_damage_and_an_older_one_is_read() {
        let of_version = |version| {
            let mut bytes = manifest().encode();
            bytes[4] = version;
            let end = bytes.len() - 4;
            let checksum = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&checksum.to_le_bytes());
            Manifest::decode(&bytes)
        };
        assert_eq!(of_version(1), Ok(manifest()));
        assert_eq!(of_version(2), Ok(manifest()));
        assert_eq!(of_version(3), Err(ManifestFault::NewerVersion { found: 3 }));
    }
}
