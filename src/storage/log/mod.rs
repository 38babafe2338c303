//! The log: records in the order of their revisions, in files that are named by the first revision
//! they hold.
//!
//! Invariants: the revisions of a log have no gaps; a record is handed out only if every byte of
//! its frame checks out; appending begins where reading has ended, so that nothing is ever written
//! over what was not read.

mod files;
mod reader;
mod recover;
mod survey;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod writer;

use super::frame::{self, FileHeader, Salt};
use crate::model::Revision;

pub use files::LogTrimmer;
pub(super) use files::{NEW_TEMP, file_name, is_file_name};
pub use reader::{Batch, LogReader, TornTail};
pub(super) use survey::LogSurvey;
pub use survey::{LogFile, Stretch};
pub use writer::{AppendError, LogWriter};

/// How large the newest file of a copied log is made at least, so that the first write after finds
/// its space: the next one goes into a file of the full size.
pub const COPIED_LOG_BYTES: u64 = 1 << 16;

/// The name and the bytes of the first file of a log that begins at a revision, and was closed
/// there.
#[must_use]
pub fn log_start(store_id: u64, first: Revision) -> (String, Vec<u8>) {
    let salt = Salt::random();
    let header = FileHeader {
        store_id,
        first,
        salt,
    };
    let mut bytes = header.encode();
    frame::encode_closed(&mut bytes, salt, first);
    bytes.resize(
        usize::try_from(COPIED_LOG_BYTES)
            .unwrap_or(0)
            .max(bytes.len()),
        0,
    );
    (file_name(first), bytes)
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How large each file is made in advance, in bytes.
    pub file_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
        }
    }
}
