//! A byte of a log that changed on disk is noticed, or only the last batch of a log that was not
//! closed is missing, which can't be told from a write that a crash has torn. Whatever is read is
//! what was written.

#![no_main]

use std::path::Path;
use std::sync::Arc;

use headcount::model::Revision;
use headcount::storage::{DataFolder, Disk, LogOptions, LogReader, RealDisk};
use headcount::testing::generate::Choices;
use libfuzzer_sys::fuzz_target;

/// Small, so that a few batches fill several files.
const OPTIONS: LogOptions = LogOptions { file_bytes: 1_024 };

/// All batches, or nothing if the log is damaged.
fn read(disk: &Arc<dyn Disk>, folder: &Path) -> Option<Vec<Vec<Vec<u8>>>> {
    let data = DataFolder::open(disk, folder, || 7).ok()?;
    let mut reader = LogReader::open(Arc::clone(disk), &data, OPTIONS).ok()?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch().ok()? {
        batches.push(batch.records.iter().map(|record| record.to_vec()).collect());
    }
    // Cutting a torn tail off must work, too.
    reader.into_writer(Revision::ZERO).ok()?;
    Some(batches)
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("data");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);

    let mut written: Vec<Vec<Vec<u8>>> = Vec::new();
    let closed = choices.yes();
    {
        let data = DataFolder::open(&disk, &folder, || 7).unwrap();
        let reader = LogReader::open(Arc::clone(&disk), &data, OPTIONS).unwrap();
        let (mut writer, _) = reader.into_writer(Revision::ZERO).unwrap();
        for number in 0..1 + choices.below(6) {
            let record = |length: usize| vec![number as u8; length];
            let batch: Vec<Vec<u8>> = (0..1 + choices.below(3))
                .map(|_| record(choices.below(700)))
                .collect();
            writer.append(&batch).unwrap();
            written.push(batch);
        }
        if closed {
            writer.close().unwrap();
        }
    }

    let mut files: Vec<_> = std::fs::read_dir(folder.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let file = &files[choices.below(files.len())];
    let mut content = std::fs::read(file).unwrap();
    let at = choices.below(content.len());
    content[at] ^= 1 + choices.below(255) as u8;
    std::fs::write(file, &content).unwrap();

    if let Some(read) = read(&disk, &folder) {
        let without_last = &written[..written.len() - 1];
        assert!(
            read == written || !closed && read == without_last,
            "byte {at} of {file:?} changed; {} of {} batches were read",
            read.len(),
            written.len()
        );
    }
});
