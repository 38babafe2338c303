//! Data folders that versions of the format wrote, committed: what was kept once can be read by
//! every later version. And what a newer version wrote is refused, and left as it is.
//!
//! `v1` was written before there were events, from the commands in `commands.rs`; `v2` with events,
//! from those in `events.rs`. Whoever adds a kind of record, an operation or a type of values adds it
//! there, behind the last command, and to `v2/expected.txt`; then that folder is written anew by
//!
//! ```text
//! cargo test --test golden -- --ignored write_the_golden_folder
//! ```
//!
//! Once a version was released, its folder is not written again: a later format gets one of its
//! own beside it. What a folder has to hold is written by hand in its `expected.txt`.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test, not of a service"
)]

mod commands;
mod events;
mod seeds;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commands::{Step, limits};
use headcount::engine::{CommitError, Engine, EngineOptions, verify};
use headcount::filter;
use headcount::model::{
    Command, EventName, Once, PopulationName, StoreLimits, StreamId, Timestamp, UserId,
};
use headcount::population::{Definition, EventInfo, MemberChanges, SavedSegment, UserEvents};
use headcount::query::{Stop, bind, count};
use headcount::storage::{Disk, RealDisk, checksum, survey};
use headcount::testing::clock::ManualClock;

/// A version of the format, of which there is a folder.
struct Golden {
    name: &'static str,
    steps: fn() -> Vec<Step>,
    /// The kinds of the records in its log.
    kinds: &'static [u8],
    /// The last batch of the stream.
    last_batch: u64,
}

const V1: Golden = Golden {
    name: "v1",
    steps: commands::steps,
    kinds: &[1, 2, 3, 4, 5],
    last_batch: 40,
};

const V2: Golden = Golden {
    name: "v2",
    steps: events::steps,
    // Limits without those of events, which were kind 1, are not written any more.
    kinds: &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    last_batch: 50,
};

impl Golden {
    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(self.name)
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.folder().join("data"))
    }

    /// A copy of the folder.
    fn copied(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &self.files());
        folder
    }
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
            let id = UserId::new(id).unwrap();
            if let Some(values) = population.user(&id) {
                let values = values.iter();
                let values = values.map(|(name, value)| format!(" {}={value}", name.as_str()));
                writeln!(text, "  {id}{}", values.collect::<String>()).unwrap();
                for event in population.user_events(&id, Timestamp::MAX).unwrap() {
                    writeln!(text, "    {}", told(&event)).unwrap();
                }
            }
        }
        writeln!(text, "  {} users", population.user_count()).unwrap();
        for event in population.events() {
            writeln!(text, "  event {}", declared(&event)).unwrap();
        }
        for segment in population.catalog().segments() {
            writeln!(text, "  segment {}", saved(segment)).unwrap();
        }
    }
    let population = engine.population(&PopulationName::default()).unwrap();
    // The last one that is declared.
    let signup = EventName::new("signup").unwrap();
    let of_events: &[&str] = if population.event(&signup).is_none() {
        &[]
    } else {
        &[
            "count(purchase) >= 2",
            "sum(purchase, 14d) > 19.99",
            "last(login) >= now() - 1d",
            "days(login, last 4 days IN 'America/New_York') = 1",
            "min(\"Order Placed\") < 0 OR count(signup) > 0",
            "segment('in Paris')",
            "segment('it''s bought')",
            "segment('asked')",
            "segment('everyone then') AND NOT segment('asked')",
        ]
    };
    let of_properties = [
        "true",
        "city = 'paris'",
        "age >= 30",
        "app < VERSION '2.10.0'",
        "seen < DATE '1970-01-01'",
        "tags HAS ANY ('chess')",
        "score IS NOT SET",
        "visits BETWEEN 2 AND 5",
    ];
    for filter in of_properties.iter().chain(of_events) {
        let bound = bind(&population, &filter::parse(filter).unwrap(), now()).unwrap();
        let count = count(&population, &bound, &Stop::never()).unwrap();
        writeln!(text, "count {count}: {filter}").unwrap();
    }
    let stream = StreamId::new("s").unwrap();
    let (last, revision) = population.last_of_stream(&stream).unwrap();
    writeln!(text, "stream s: {last} at revision {}", revision.number()).unwrap();
    text
}

/// A segment, with what it was before.
fn saved(segment: &SavedSegment) -> String {
    let mut text = format!(
        "{} since revision {} for {:?}: {}",
        segment.name(),
        segment.revision().number(),
        segment.description().as_str(),
        match segment.definition() {
            Definition::Filter(definition) => definition.to_string(),
            Definition::List(number) => format!("static list {number}"),
        }
    );
    for (key, value) in segment.labels() {
        write!(text, "; {} {}", key.as_str(), value.as_str()).unwrap();
    }
    for past in segment.history() {
        write!(text, "; before {}", past.definition).unwrap();
    }
    text
}

/// What a user did of one name.
fn told(event: &UserEvents) -> String {
    let UserEvents {
        name,
        count,
        first,
        last,
        sum,
        days: _,
    } = event;
    let sum = sum.map_or_else(String::new, |sum| format!(", sum {sum} millionths"));
    format!("{}: {count} from {first} to {last}{sum}", name.as_str())
}

/// What is known of the events of one name.
fn declared(event: &EventInfo) -> String {
    let EventInfo {
        declaration,
        events,
        duplicates,
        too_old,
        too_far_ahead,
        kept_from,
    } = event;
    let kept_from = kept_from.map_or_else(String::new, |from| format!(", from {from} on"));
    format!(
        "{} kept for {}{kept_from}: {events}, refused {duplicates} duplicates, {too_old} too old, {too_far_ahead} too far ahead",
        declaration.name.as_str(),
        declaration.retention,
    )
}

/// What becomes of commands that are sent again.
async fn sent_again(golden: &Golden, engine: &Engine) -> String {
    let mut text = String::new();
    for step in (golden.steps)() {
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
                once: Some(Once::Batch { sequence, .. }),
                ..
            } if *sequence == golden.last_batch => format!("batch {sequence}"),
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
                for event in &committed.changes.refused_events {
                    write!(text, ", {:?} {}", event.fault, event.event).unwrap();
                }
                let members = &committed.changes.members;
                if *members != MemberChanges::default() {
                    let (changed, unknown) = (members.changed, &members.unknown);
                    write!(text, ", {changed} members, no users: {unknown:?}").unwrap();
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

async fn what_was_kept_is_read(golden: &Golden) {
    let folder = golden.copied();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let verification = verify(&disk, folder.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.first_fault());
    let expected = std::fs::read_to_string(golden.folder().join("expected.txt")).unwrap();

    let engine = open(folder.path(), limits()).unwrap();
    let before = contents(&engine);
    let found = before.clone() + &sent_again(golden, &engine).await;
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

#[tokio::test]
async fn what_was_kept_before_there_were_events_is_read() {
    what_was_kept_is_read(&V1).await;
}

#[tokio::test]
async fn what_was_kept_with_events_is_read() {
    what_was_kept_is_read(&V2).await;
}

/// A folder of before events has no limits of them: then the default ones are in force. They are not
/// recorded, so that the version before can still be used, unless others are configured.
#[tokio::test]
async fn limits_of_before_there_were_events_are_the_default_ones() {
    let folder = V1.copied();
    let engine = open(folder.path(), limits()).unwrap();
    assert_eq!(engine.applied().number(), 24);
    engine.shutdown().await;
    drop(engine);
    assert_eq!(kinds(folder.path()), V1.kinds);

    let one_name = StoreLimits {
        event_names: 1,
        ..limits()
    };
    let engine = open(folder.path(), one_name).unwrap();
    assert_eq!(engine.applied().number(), 25);
    engine.shutdown().await;
    drop(engine);
    assert_eq!(kinds(folder.path()), [V1.kinds, &[10]].concat());
}

/// A folder of before events takes events, and has them after a snapshot and a restart.
#[tokio::test]
async fn a_folder_of_before_there_were_events_goes_on_with_events() {
    let folder = V1.copied();
    let engine = open(folder.path(), limits()).unwrap();
    let before = contents(&engine);
    for step in events::between_the_snapshots() {
        if let Step::Commit(command) = step {
            engine.commit(command).await.unwrap();
        }
    }
    let written = contents(&engine);
    assert_ne!(written, before);
    engine.snapshot().await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), limits()).unwrap();
    assert_eq!(contents(&engine), written);
}

#[test]
fn folders_are_small_and_have_files_of_every_kind() {
    for golden in [V1, V2] {
        is_small_and_has_files_of_every_kind(&golden.files());
    }
}

fn is_small_and_has_files_of_every_kind(files: &BTreeMap<PathBuf, Vec<u8>>) {
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

/// The kinds of the records in the log of a folder.
fn kinds(folder: &Path) -> Vec<u8> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut kinds = BTreeSet::new();
    // The second byte, behind the version of the record: see docs/format.md.
    let mut note = |record: &[u8]| {
        kinds.insert(record[1]);
        None
    };
    survey(&disk, folder, &mut note).unwrap();
    kinds.into_iter().collect()
}

#[test]
fn logs_have_a_record_of_every_kind() {
    for golden in [V1, V2] {
        assert_eq!(kinds(golden.copied().path()), golden.kinds);
    }
}

/// Makes the version of a file the one after the newest that is read, with the checksum that belongs
/// to it.
fn newer(bytes: &mut [u8], newest: u8, checksum_at: Option<usize>) {
    assert!(bytes[4] <= newest && bytes[5..8] == [0, 0, 0]);
    bytes[4] = newest + 1;
    if let Some(at) = checksum_at {
        let checksum = checksum(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Opens the golden folders with some files changed: each has to be refused, with both versions and
/// the file named, and left as it is.
#[track_caller]
fn refused(changed: &str, newest: u8, change: impl Fn(&mut BTreeMap<PathBuf, Vec<u8>>)) {
    for golden in [V1, V2] {
        refused_folder(&golden, changed, newest, &change);
    }
}

#[track_caller]
fn refused_folder(
    golden: &Golden,
    changed: &str,
    newest: u8,
    change: &impl Fn(&mut BTreeMap<PathBuf, Vec<u8>>),
) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = golden.files();
    change(&mut files);
    let found = format!("format version {}", newest + 1);
    write_files(folder.path(), &files);
    let error = open(folder.path(), limits()).unwrap_err();
    let up_to = format!("reads up to {newest}");
    for part in [&found, &up_to, changed] {
        assert!(error.contains(part), "{error}");
    }
    assert!(self::files(folder.path()) == files, "something was changed");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let repair = headcount::engine::repair(&disk, folder.path(), true).unwrap_err();
    assert!(repair.to_string().contains(&found), "{repair}");
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
    refused("headcount has", 1, |files| {
        newer(files.get_mut(Path::new("headcount")).unwrap(), 1, Some(16));
    });
}

#[test]
fn a_newer_log_file_is_refused() {
    refused(".log has", 1, |files| {
        let path = newest(files, ".log");
        newer(files.get_mut(&path).unwrap(), 1, Some(32));
    });
}

#[test]
fn a_newer_manifest_is_refused() {
    refused("manifest has", 2, |files| {
        let path = newest(files, "/manifest");
        let manifest = files.get_mut(&path).unwrap();
        let end = manifest.len() - 4;
        newer(manifest, 2, Some(end));
    });
}

#[test]
fn a_newer_section_is_refused() {
    refused("default+shard-0 has", 1, |files| {
        let path = newest(files, "/default+shard-0");
        let section = files.get_mut(&path).unwrap();
        let before = checksum(section).to_le_bytes();
        newer(section, 1, None);
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

/// Manifests say that there can be events, which the version before does not know.
#[test]
fn manifests_with_events_are_those_of_a_newer_version() {
    for (golden, version) in [(V1, 1), (V2, 2)] {
        let files = golden.files();
        let manifests = files.values().filter(|bytes| bytes.starts_with(b"HCSM"));
        assert!(manifests.clone().count() == 2);
        assert!(manifests.into_iter().all(|bytes| bytes[4] == version));
    }
}

/// Not a test: writes the golden folder of this version.
#[tokio::test]
#[ignore = "writes the golden folder"]
async fn write_the_golden_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), StoreLimits::default()).unwrap();
    for step in (V2.steps)() {
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
    let data = V2.folder().join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).unwrap();
    }
    write_files(&data, &files);
}
