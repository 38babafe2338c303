//! The log on a disk that lies, is cut and is damaged.

use std::path::Path;
use std::sync::Arc;

use super::{AppendError, LogOptions, LogReader, LogWriter, TornTail};
use crate::model::Revision;
use crate::storage::frame::FILE_HEADER;
use crate::storage::{DataFolder, Disk, EntryKind, StorageError};
use crate::testing::disk::{Crash, Failure, LyingDisk};

const FOLDER: &str = "/data";
const FILE: &str = "/data/log/00000000000000000001.log";

fn options() -> LogOptions {
    LogOptions { file_bytes: 512 }
}

type Records = Vec<Vec<u8>>;

fn open(disk: &LyingDisk) -> Result<(DataFolder, Records, LogReader), StorageError> {
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let data = DataFolder::open(&dyn_disk, Path::new(FOLDER), || 7)?;
    let mut reader = LogReader::open(dyn_disk, &data, options())?;
    let mut records = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        assert_eq!(batch.first.number(), records.len() as u64 + 1);
        records.extend(batch.records.into_iter().map(<[u8]>::to_vec));
    }
    Ok((data, records, reader))
}

fn open_to_write(
    disk: &LyingDisk,
) -> Result<(DataFolder, Records, LogWriter, Option<TornTail>), StorageError> {
    let (data, records, reader) = open(disk)?;
    let (writer, torn) = reader.into_writer(Revision::ZERO)?;
    Ok((data, records, writer, torn))
}

/// Batches of one to three records of different lengths; the numbers are in the records.
fn batch(number: usize) -> Records {
    let count = 1 + number % 3;
    (0..count)
        .map(|at| format!("{number}.{at}:{}", "x".repeat(number * 7 % 40)).into_bytes())
        .collect()
}

/// Appends batches until the disk fails. Returns the records of those that were acknowledged, and
/// those of the one after.
fn write(disk: &LyingDisk, batches: usize) -> (Records, Records) {
    let mut acknowledged = Vec::new();
    let Ok((_data, before, mut writer, _)) = open_to_write(disk) else {
        return (Vec::new(), batch(0));
    };
    acknowledged.extend(before);
    for number in 0..batches {
        let records = batch(number);
        if writer.append(&records).is_err() {
            return (acknowledged, records);
        }
        acknowledged.extend(records);
    }
    (acknowledged, Vec::new())
}

#[test]
fn what_was_appended_is_read_over_many_files() {
    let disk = LyingDisk::new();
    let (written, _) = write(&disk, 60);
    let files = disk.files().into_keys();
    let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
    assert!(logs.count() > 3);
    let disk = disk.after_crash(Crash::LosesAll);
    let (_, read, _) = open(&disk).unwrap();
    assert_eq!(read, written);
}

#[test]
fn a_frame_larger_than_a_file_has_one_of_its_own() {
    let disk = LyingDisk::new();
    let large = vec![vec![7_u8; 3_000]];
    {
        let (_data, _, mut writer, _) = open_to_write(&disk).unwrap();
        for _ in 0..3 {
            writer.append(&large).unwrap();
        }
    }
    let (_, read, _) = open(&disk.after_crash(Crash::LosesAll)).unwrap();
    assert_eq!(read, [large.clone(), large.clone(), large].concat());
}

/// Lets the power go out at every operation of a workload on a new disk, and looks at what is
/// found by so many seeds. Returns how often, or what was lost first.
fn crash_everywhere(new_disk: impl Fn() -> LyingDisk, seeds: u64) -> Result<u64, String> {
    let count = {
        let disk = new_disk();
        write(&disk, 40);
        disk.operations()
    };
    let mut crash_count = 0;
    for operation in 1..=count {
        let disk = new_disk();
        disk.fail_at(operation, Failure::PowerOut);
        let (acknowledged, unknown) = write(&disk, 40);
        let with_unknown = [acknowledged.clone(), unknown].concat();
        let tears = (0..seeds).map(|seed| Crash::Tears {
            seed: operation * 1_000_000 + seed,
        });
        for crash in [Crash::LosesAll, Crash::KeepsAll].into_iter().chain(tears) {
            let found = disk.after_crash(crash);
            let (_data, read, mut writer, _) = open_to_write(&found)
                .map_err(|error| format!("operation {operation}, {crash:?}: {error}"))?;
            if read != acknowledged && read != with_unknown {
                let (read, written) = (read.len(), acknowledged.len());
                return Err(format!(
                    "operation {operation}, {crash:?}: {read} of {written} records"
                ));
            }
            // And the log goes on from there, also through another crash.
            writer.append(&[b"after"]).unwrap();
            let (_, again, _) = open(&found.after_crash(Crash::LosesAll)).unwrap();
            assert_eq!(again, [read, vec![b"after".to_vec()]].concat());
            crash_count += 1;
        }
    }
    Ok(crash_count)
}

#[test]
fn a_crash_at_every_operation_keeps_what_was_acknowledged() {
    let crashes = crash_everywhere(LyingDisk::new, 8).unwrap();
    assert!(crashes > 1_000, "{crashes}");
}

#[test]
fn crashes_show_when_syncs_of_files_or_folders_do_nothing() {
    for kind in [EntryKind::File, EntryKind::Folder] {
        let outcome = crash_everywhere(
            || {
                // Honest until the folder is made, so that only what is appended can be lost.
                let disk = LyingDisk::new();
                open_to_write(&disk).unwrap();
                disk.ignore_syncs(kind);
                disk
            },
            8,
        );
        let lost = outcome.expect_err("a crash loses what no sync made durable");
        assert!(lost.ends_with(" records"), "{kind:?}: {lost}");
    }
}

#[test]
#[ignore = "long: HEADCOUNT_CRASH_SEEDS says how many seeds for each operation"]
fn a_crash_at_every_operation_by_many_seeds() {
    let seeds = std::env::var("HEADCOUNT_CRASH_SEEDS").map_or(1_000, |seeds| {
        seeds.parse().expect("HEADCOUNT_CRASH_SEEDS is a number")
    });
    let crashes = crash_everywhere(LyingDisk::new, seeds).unwrap();
    println!("{crashes} crashes, {seeds} seeds for each operation: nothing acknowledged was lost");
}

#[test]
fn a_log_cut_at_every_byte_has_what_was_whole() {
    let disk = LyingDisk::new();
    let mut ends = vec![(FILE_HEADER, 0)];
    {
        let (_data, _, mut writer, _) = open_to_write(&disk).unwrap();
        let mut records = 0;
        for number in 0..5 {
            let (_, bytes) = writer.append(&batch(number)).unwrap();
            records += batch(number).len();
            let (end, _) = ends[ends.len() - 1];
            ends.push((end + usize::try_from(bytes).unwrap(), records));
        }
    }
    let (_, all, _) = open(&disk).unwrap();
    let (end, _) = ends[ends.len() - 1];
    for cut in FILE_HEADER..=end {
        // Cut short, or zeros from there on: how it looks depends on the file system.
        for truncates in [true, false] {
            let copy = disk.copy();
            copy.tamper(Path::new(FILE), |bytes| {
                if truncates {
                    bytes.truncate(cut);
                } else {
                    bytes[cut..].fill(0);
                }
            });
            let (_, whole) = *ends.iter().rfind(|(end, _)| *end <= cut).unwrap();
            let (data, read, mut writer, torn) = open_to_write(&copy).unwrap();
            // A record may end in a zero that the cut did not change: none here does.
            assert_eq!(read, all[..whole], "cut at {cut}");
            let is_clean = ends.iter().any(|(end, _)| *end == cut);
            assert_eq!(torn.is_none(), is_clean, "cut at {cut}");
            if let Some(torn) = torn {
                let kept = copy.files()[&torn.set_aside].clone();
                let original = &disk.files()[Path::new(FILE)];
                let start = usize::try_from(torn.offset).unwrap();
                assert!(original[start..].starts_with(&kept));
                assert!(original[start + kept.len()..cut].iter().all(|b| *b == 0));
            }
            // What comes next takes the place of what was cut off.
            writer.append(&[b"next"]).unwrap();
            drop((data, writer));
            let (_, read, _) = open(&copy.after_crash(Crash::LosesAll)).unwrap();
            assert_eq!(read.len(), whole + 1);
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_in_the_last_frame() {
    let disk = LyingDisk::new();
    let (all, _) = write(&disk, 14);
    let logs: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "log"))
        .collect();
    assert!(logs.len() > 1);
    let last_batch = batch(13).len();
    for (path, bytes) in &logs {
        let is_newest = *path == logs[logs.len() - 1].0;
        for bit in 0..bytes.len() * 8 {
            let copy = disk.copy();
            copy.tamper(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match open_to_write(&copy) {
                Err(StorageError::Damaged { file, offset, .. }) => {
                    assert_eq!(file, *path);
                    assert!(offset <= (bit / 8) as u64, "bit {bit}");
                }
                Err(other) => panic!("bit {bit} of {}: {other}", path.display()),
                // Behind the last frame nothing is lost; in it, it can't be told from torn.
                Ok((_, read, _, torn)) => {
                    assert!(is_newest, "bit {bit} of {}", path.display());
                    assert!(torn.is_some());
                    let lost = all.len() - read.len();
                    assert!(lost == 0 || lost == last_batch, "bit {bit}: {lost} lost");
                    assert_eq!(read, all[..read.len()]);
                }
            }
        }
    }
}

#[test]
fn a_log_that_was_closed_shows_every_flipped_bit() {
    let disk = LyingDisk::new();
    let mut end = FILE_HEADER as u64;
    {
        let (_data, _, mut writer, _) = open_to_write(&disk).unwrap();
        for number in 0..3 {
            end += writer.append(&batch(number)).unwrap().1;
        }
        writer.close().unwrap();
    }
    for bit in 0..usize::try_from(end).unwrap() * 8 {
        let copy = disk.copy();
        copy.tamper(Path::new(FILE), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = open(&copy).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "bit {bit}");
    }
    let (data, read, mut writer, torn) = open_to_write(&disk).unwrap();
    assert_eq!((read.len(), torn), (6, None));
    writer.append(&[b"on it goes"]).unwrap();
    drop(data);
    assert_eq!(open(&disk).unwrap().1.len(), 7);
}

/// Appends ten batches to a log on a disk that fails at every operation in turn: each is there
/// afterwards if it was acknowledged, and is not if it was refused for want of space.
fn fail_everywhere(failure: Failure, retries: bool) {
    let count = {
        let disk = LyingDisk::new();
        write(&disk, 10);
        disk.operations()
    };
    let mut refusals = 0;
    for operation in 1..=count {
        let disk = LyingDisk::new();
        disk.fail_at(operation, failure);
        let mut acknowledged = Vec::new();
        let mut unknown = Vec::new();
        if let Ok((_data, _, mut writer, _)) = open_to_write(&disk) {
            for number in 0..10 {
                match writer.append(&batch(number)) {
                    Ok(_) => {
                        assert!(unknown.is_empty(), "written after a failure");
                        acknowledged.extend(batch(number));
                    }
                    Err(AppendError::Full(_)) => {
                        assert!(retries, "{operation}");
                        refusals += 1;
                    }
                    Err(AppendError::Failed(_)) if unknown.is_empty() => unknown = batch(number),
                    Err(AppendError::Failed(_)) => {}
                }
            }
        }
        let found = disk.after_crash(Crash::LosesAll);
        let (_, read, _) = open(&found).unwrap();
        let with_unknown = [acknowledged.clone(), unknown].concat();
        assert!(read == acknowledged || read == with_unknown, "{operation}");
    }
    assert_eq!(refusals > 0, retries);
}

#[test]
fn a_failure_is_final() {
    fail_everywhere(Failure::Io, false);
}

#[test]
fn a_full_disk_refuses_one_batch_and_takes_the_next() {
    fail_everywhere(Failure::Full, true);
}

#[test]
fn a_full_disk_leaves_a_reserve_and_takes_writes_as_soon_as_there_is_space() {
    let disk = LyingDisk::new();
    let (_data, _, mut writer, _) = open_to_write(&disk).unwrap();
    let trimmer = writer.trimmer();
    writer.append(&[b"before"]).unwrap();
    let mut written = vec![b"before".to_vec()];
    disk.set_capacity(Some(disk.used()));
    assert!(trimmer.prepare().unwrap_err().is_full());
    let record = || vec![b'x'; 10];
    for step in 0..2 {
        // The file that there is takes them, but for the reserve.
        let ordinary = std::iter::repeat_with(|| writer.append(&[record()]).is_ok());
        let count = ordinary.take_while(|appended| *appended).count();
        written.extend(std::iter::repeat_n(record(), count));
        assert!(count > 5, "{count}");
        let error = writer.append(&[record()]).unwrap_err();
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        let used = disk.used();
        let reserve = std::iter::repeat_with(|| writer.append_in_reserve(&[b"e"]).is_ok());
        let count = reserve.take_while(|appended| *appended).count();
        written.extend(std::iter::repeat_n(b"e".to_vec(), count));
        assert!(count > 0, "step {step}");
        let error = writer.append_in_reserve(&[b"e"]).unwrap_err();
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        assert_eq!(disk.used(), used, "a file was left half made");
        // Space comes back, once for a spare file and once for one made while appending.
        disk.set_capacity(Some(used + options().file_bytes));
        if step == 0 {
            trimmer.prepare().unwrap();
        }
        writer.append(&[b"again"]).unwrap();
        written.push(b"again".to_vec());
    }
    assert_eq!(open(&disk.after_crash(Crash::LosesAll)).unwrap().1, written);
}

#[test]
fn a_batch_larger_than_a_file_needs_space_for_all_of_it() {
    let disk = LyingDisk::new();
    let (_data, _, mut writer, _) = open_to_write(&disk).unwrap();
    writer.append(&[b"small".to_vec()]).unwrap();
    let large = vec![b'x'; 3 * usize::try_from(options().file_bytes).unwrap()];
    disk.set_capacity(Some(disk.used() + options().file_bytes));
    let used = disk.used();
    let error = writer.append(std::slice::from_ref(&large)).unwrap_err();
    assert!(matches!(error, AppendError::Full(_)), "{error}");
    assert_eq!(disk.used(), used);
    disk.set_capacity(None);
    writer.append(std::slice::from_ref(&large)).unwrap();
    let found = disk.after_crash(Crash::LosesAll);
    assert_eq!(open(&found).unwrap().1, [b"small".to_vec(), large]);
}

#[test]
fn trimming_leaves_what_comes_after_and_a_crash_leaves_no_gap() {
    let write_and_trim = |disk: &LyingDisk| -> Option<(Records, u64)> {
        let (written, _) = write(disk, 60);
        let (_data, _, mut writer, _) = open_to_write(disk).ok()?;
        let keep_after = written.len() as u64 / 2;
        writer.trimmer().trim(Revision::new(keep_after)).ok()?;
        writer.append(&batch(0)).ok()?;
        for number in 0..20 {
            writer.append(&batch(number)).ok()?;
        }
        Some((written, keep_after))
    };
    let disk = LyingDisk::new();
    let (written, keep_after) = write_and_trim(&disk).unwrap();
    let count = disk.operations();
    let first_kept = |disk: &LyingDisk| {
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let data = DataFolder::open(&dyn_disk, Path::new(FOLDER), || 7).unwrap();
        let mut reader = LogReader::open(dyn_disk, &data, options()).unwrap();
        let first = reader.next_revision().number();
        while let Some(batch) = reader.next_batch().unwrap() {
            for (record, at) in batch.records.iter().zip(batch.first.number() - 1..) {
                if let Some(expected) = written.get(usize::try_from(at).unwrap()) {
                    assert_eq!(record, expected);
                }
            }
        }
        (first, reader.next_revision().number())
    };
    let (first, next) = first_kept(&disk.after_crash(Crash::LosesAll));
    assert!(1 < first && first <= keep_after + 1, "{first}");
    assert!(next > written.len() as u64);
    let written_by = {
        let disk = LyingDisk::new();
        write(&disk, 60);
        disk.operations()
    };
    for operation in written_by + 1..=count {
        for seed in 0..4 {
            let disk = LyingDisk::new();
            disk.fail_at(operation, Failure::PowerOut);
            write_and_trim(&disk);
            let (first, next) = first_kept(&disk.after_crash(Crash::Tears { seed }));
            assert!(first <= keep_after + 1 && first <= next);
        }
    }
}

#[test]
fn a_missing_file_is_a_gap() {
    let disk = LyingDisk::new();
    write(&disk, 60);
    let logs: Vec<_> = disk.files().into_keys().collect();
    let logs: Vec<_> = logs
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    let copy = disk.copy();
    copy.remove_file(&logs[1]).unwrap();
    assert!(matches!(open(&copy), Err(StorageError::LogGap { .. })));
    // The newest one missing shows only by what is known from elsewhere.
    let copy = disk.copy();
    copy.remove_file(&logs[logs.len() - 1]).unwrap();
    let (_data, read, reader) = open(&copy).unwrap();
    let error = reader.into_writer(Revision::new(read.len() as u64 + 1));
    assert!(matches!(error, Err(StorageError::LogGap { .. })));
}
