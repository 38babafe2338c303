//! A data folder that this version of the format wrote, committed: what was kept once can be read
//! by every later version. And what a newer version wrote is refused, and left as it is.
//!
//! The folder is written anew, from the commands in `commands.rs`, by
//!
//! ```text
//! cargo test --test golden -- --ignored write_the_golden_folder
//! ```
//!
//! Once a version was released, its folder is not written again: a later format gets one of its
//! own beside it. What the folder has to hold is written by hand in `v1/expected.txt`.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test, not of a service"
)]

mod commands;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commands::{Step, limits, steps};
use headcount::engine::{CommitError, Engine, EngineOptions, verify};
use headcount::filter;
use headcount::model::{Command, Once, PopulationName, StoreLimits, StreamId, Timestamp, UserId};
use headcount::query::{Stop, bind, count};
use headcount::storage::{Disk, RealDisk, checksum, survey};
use headcount::testing::clock::ManualClock;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn open(data: &Path, limits: StoreLimits) -> Result<Engine, String> {
    let options = EngineOptions {
        limits,
        query_threads: 1,
        snapshot_interval: None,
        log_file_bytes: 700,
        ..EngineOptions::new(data)
    };
    let opened = Engine::open(&options, Arc::new(ManualClock::new(now())));
    opened.map_err(|error| error.to_string())
}

/// Every file below a folder, by its path from there, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
            } else {
                let inside = path.strip_prefix(root).unwrap().to_path_buf();
                found.insert(inside, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(folder, folder, &mut found);
    // It is there while a service runs, and holds nothing.
    found.remove(Path::new("lock"));
    found
}

fn write_files(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A copy of the golden folder.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), &files(&golden().join("data")));
    folder
}

/// Everything that can be read, as in `expected.txt`.
fn contents(engine: &Engine) -> String {
    let mut text = format!("revision {}\n", engine.applied().number());
    for (name, population) in engine.populations() {
        writeln!(text, "population {name}").unwrap();
        for info in population.properties() {
            let declaration = &info.declaration;
            let case = if declaration.case_insensitive {
                ", case does not matter"
            } else {
                ""
            };
            let (name, value_type) = (declaration.name.as_str(), declaration.value_type);
            writeln!(
                text,
                "  property {name} {value_type}{case}: {} users",
                info.users
            )
            .unwrap();
        }
        for id in ["d1", "refused", "u1", "u2", "u3", "u4", "u5", "u6"] {
            if let Some(values) = population.user(&UserId::new(id).unwrap()) {
                let values = values.iter();
                let values = values.map(|(name, value)| format!(" {}={value}", name.as_str()));
                writeln!(text, "  {id}{}", values.collect::<String>()).unwrap();
            }
        }
        writeln!(text, "  {} users", population.user_count()).unwrap();
    }
    let population = engine.population(&PopulationName::default()).unwrap();
    for filter in [
        "true",
        "city = 'paris'",
        "age >= 30",
        "app < VERSION '2.10.0'",
        "seen < DATE '1970-01-01'",
        "tags HAS ANY ('chess')",
        "score IS NOT SET",
        "visits BETWEEN 2 AND 5",
    ] {
        let bound = bind(&population, &filter::parse(filter).unwrap(), now()).unwrap();
        let count = count(&population, &bound, &Stop::never()).unwrap();
        writeln!(text, "count {count}: {filter}").unwrap();
    }
    let stream = StreamId::new("s").unwrap();
    let (last, revision) = population.last_of_stream(&stream).unwrap();
    writeln!(text, "stream s: {last} at revision {}", revision.number()).unwrap();
    text
}

/// What becomes of commands that are sent again.
async fn sent_again(engine: &Engine) -> String {
    let mut text = String::new();
    for step in steps() {
        let Step::Commit(command) = step else {
            continue;
        };
        let name = match &command {
            Command::Population {
                once: Some(Once::Request { id, .. }),
                ..
            } => id.as_str().to_owned(),
            // Of a stream, the last batch is remembered.
            Command::Population {
                once: Some(Once::Batch { sequence: 40, .. }),
                ..
            } => "batch 40".into(),
            Command::Population { .. } | Command::SetLimits(_) => continue,
        };
        write!(text, "again {name}: ").unwrap();
        match engine.commit(command).await {
            Ok(committed) => {
                assert!(committed.replayed, "{name} was carried out again");
                write!(text, "revision {}", committed.revision.number()).unwrap();
                for (_, property) in &committed.changes.stale {
                    write!(text, ", stale {}", property.as_str()).unwrap();
                }
                text += if committed.changes.erased {
                    ", erased\n"
                } else {
                    "\n"
                };
            }
            Err(CommitError::RefusedBefore(refusal)) => {
                writeln!(text, "refused, {:?}", refusal.reason()).unwrap();
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    text
}

#[tokio::test]
async fn what_was_kept_is_read() {
    let folder = copied();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let verification = verify(&disk, folder.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.first_fault());
    let expected = std::fs::read_to_string(golden().join("expected.txt")).unwrap();

    let engine = open(folder.path(), limits()).unwrap();
    let before = contents(&engine);
    let found = before.clone() + &sent_again(&engine).await;
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
    engine.shutdown().await;
    drop(engine);

    // From the snapshot before and the log, which has a record of every kind.
    let newest = folder.path().join("snapshots").read_dir().unwrap();
    let newest = newest.map(|entry| entry.unwrap().path()).max().unwrap();
    std::fs::remove_dir_all(newest).unwrap();
    let engine = open(folder.path(), limits()).unwrap();
    // What was sent again is in the log, too, and changed nothing.
    let after = contents(&engine);
    let state = |contents: &str| contents.split_once('\n').unwrap().1.to_owned();
    assert_eq!(state(&after), state(&before));
}

#[test]
fn the_folder_is_small_and_has_files_of_every_kind() {
    let files = files(&golden().join("data"));
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(bytes < 200 << 10, "{bytes} bytes");
    let count = |magic: &[u8]| {
        files
            .values()
            .filter(|bytes| bytes.starts_with(magic))
            .count()
    };
    assert_eq!((count(b"HCID"), count(b"HCSM")), (1, 2));
    assert!(count(b"HCLG") > 1 && count(b"HCSS") > 10);
    assert!(files.values().all(|bytes| bytes.starts_with(b"HC")));
}

#[test]
fn the_log_has_a_record_of_every_kind() {
    let folder = copied();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut kinds = BTreeSet::new();
    // The second byte, behind the version of the record: see docs/format.md.
    let mut note = |record: &[u8]| {
        kinds.insert(record[1]);
        None
    };
    survey(&disk, folder.path(), &mut note).unwrap();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

/// Makes the version of a file 2, with the checksum that belongs to it.
fn newer(bytes: &mut [u8], checksum_at: Option<usize>) {
    assert_eq!(bytes[4..8], [1, 0, 0, 0]);
    bytes[4] = 2;
    if let Some(at) = checksum_at {
        let checksum = checksum(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Opens the golden folder with some files changed: it has to be refused, with both versions and
/// the file named, and left as it is.
#[track_caller]
fn refused(changed: &str, change: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>)) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&golden().join("data"));
    change(&mut files);
    write_files(folder.path(), &files);
    let error = open(folder.path(), limits()).unwrap_err();
    for part in ["has format version 2", "reads up to 1", changed] {
        assert!(error.contains(part), "{error}");
    }
    assert!(self::files(folder.path()) == files, "something was changed");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let repair = headcount::engine::repair(&disk, folder.path(), true).unwrap_err();
    assert!(repair.to_string().contains("format version 2"), "{repair}");
    assert!(self::files(folder.path()) == files, "something was changed");
}

/// The newest path that ends so.
fn newest(files: &BTreeMap<PathBuf, Vec<u8>>, ending: &str) -> PathBuf {
    let mut paths = files.keys();
    let path = paths.rfind(|path| path.to_str().unwrap().ends_with(ending));
    path.unwrap().clone()
}

#[test]
fn a_newer_identity_is_refused() {
    refused("headcount has", |files| {
        newer(files.get_mut(Path::new("headcount")).unwrap(), Some(16));
    });
}

#[test]
fn a_newer_log_file_is_refused() {
    refused(".log has", |files| {
        let path = newest(files, ".log");
        newer(files.get_mut(&path).unwrap(), Some(32));
    });
}

#[test]
fn a_newer_manifest_is_refused() {
    refused("manifest has", |files| {
        let path = newest(files, "/manifest");
        let manifest = files.get_mut(&path).unwrap();
        let end = manifest.len() - 4;
        newer(manifest, Some(end));
    });
}

#[test]
fn a_newer_section_is_refused() {
    refused("default+shard-0 has", |files| {
        let path = newest(files, "/default+shard-0");
        let section = files.get_mut(&path).unwrap();
        let before = checksum(section).to_le_bytes();
        newer(section, None);
        let after = checksum(section).to_le_bytes();
        // The manifest has the checksum of the section, and ends with one of its own.
        let manifest = files.get_mut(&path.with_file_name("manifest")).unwrap();
        let at = manifest
            .windows(4)
            .position(|bytes| bytes == before)
            .unwrap();
        manifest[at..at + 4].copy_from_slice(&after);
        let end = manifest.len() - 4;
        let own = checksum(&manifest[..end]).to_le_bytes();
        manifest[end..].copy_from_slice(&own);
    });
}

/// Not a test: writes the golden folder of this version.
#[tokio::test]
#[ignore = "writes the golden folder"]
async fn write_the_golden_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), StoreLimits::default()).unwrap();
    for step in steps() {
        match step {
            Step::Commit(command) => {
                // Some are refused, as they should be.
                let _ = engine.commit(command).await;
            }
            Step::Snapshot => {
                engine.snapshot().await.unwrap();
            }
            Step::Restart => {
                engine.shutdown().await;
                drop(engine);
                engine = open(folder.path(), limits()).unwrap();
            }
        }
    }
    engine.shutdown().await;
    drop(engine);
    let mut files = files(folder.path());
    // Files of zeros for later hold nothing.
    files.retain(|path, _| !path.to_str().unwrap().contains("spare"));
    let data = golden().join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).unwrap();
    }
    write_files(&data, &files);
}
