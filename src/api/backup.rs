//! Sends the files of a snapshot, in pieces that are read on the query threads.
//!
//! Invariant: memory is bounded by the pieces that wait for a client that reads slowly; the last
//! message says that everything was sent, so that a stream that broke is never taken for whole.

use std::sync::Arc;
use std::time::Duration;

use super::Api;
use super::convert;
use super::deadline::Deadline;
use super::error::ApiError;
use super::parts::{self, Gone, Sender, parts};
use crate::engine::Backup;
use crate::model::Reason;
use crate::proto::backup_response::Part;
use crate::proto::{BackupCompletion, BackupFile, BackupResponse, BackupSummary};

/// Bytes of a piece.
const PIECE: usize = 1 << 20;
/// Pieces that wait for a client that reads slowly.
const WAITING: usize = 2;
/// How long a piece waits before it asks again for a thread, where all are busy.
const BUSY: Duration = Duration::from_millis(20);
/// How much longer than of other streams nothing may be read, since pieces are large, and whoever
/// reads them may write to a slow disk.
const LONGER: u32 = 5;

type Parts = Sender<BackupResponse>;
pub(super) type BackupStream = parts::Receiver<BackupResponse>;

/// Why nothing more is sent.
enum Ended {
    /// Nobody reads any more.
    Gone,
    Failed(ApiError),
}

impl From<Gone> for Ended {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// Makes a snapshot and begins to send it.
pub(super) async fn backup(api: &Api, deadline: Deadline) -> Result<BackupStream, ApiError> {
    let made = async { Ok(api.engine.backup().await?) };
    let backup = Arc::new(deadline.bound(made).await?);
    let (parts, receiver) = parts(WAITING, api.patience.saturating_mul(LONGER));
    let api = api.clone();
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            () = parts.closed() => Err(Ended::Gone),
            ended = send(&api, deadline, &backup, &parts) => ended,
            () = api.closed() => Err(ApiError::stopping().into()),
        };
        if let Err(Ended::Failed(error)) = ended {
            parts.fail(error);
        }
    });
    Ok(receiver)
}

async fn send(
    api: &Api,
    deadline: Deadline,
    backup: &Arc<Backup>,
    parts: &Parts,
) -> Result<(), Ended> {
    let info = &backup.info;
    let summary = BackupSummary {
        revision: api.revision(info.revision),
        create_time: Some(convert::timestamp_message(info.created)),
        users: info.users,
        bytes: backup.files().iter().map(|file| file.length).sum(),
    };
    pass(parts, Part::Summary(summary)).await?;
    for (position, file) in backup.files().iter().enumerate() {
        let named = BackupFile {
            name: file.name.clone(),
            length: file.length,
            checksum: file.checksum,
        };
        pass(parts, Part::File(named)).await?;
        let mut offset = 0;
        while offset < file.length {
            let content = piece(api, deadline, backup, position, offset).await?;
            offset += content.len() as u64;
            pass(parts, Part::Content(content)).await?;
        }
    }
    let files = backup.files().len() as u64;
    pass(parts, Part::Completion(BackupCompletion { files })).await
}

async fn pass(parts: &Parts, part: Part) -> Result<(), Ended> {
    Ok(parts.send(BackupResponse { part: Some(part) }).await?)
}

/// Reads a piece of a file, when a query thread is free.
async fn piece(
    api: &Api,
    deadline: Deadline,
    backup: &Arc<Backup>,
    position: usize,
    offset: u64,
) -> Result<Vec<u8>, ApiError> {
    loop {
        let backup = Arc::clone(backup);
        let read = api.evaluate(deadline, move |_| {
            let file = backup.files().get(position);
            let read = file.map(|file| backup.read(file, offset, PIECE));
            read.transpose()
                .map_err(|error| ApiError::new(Reason::Internal, error.to_string()))
        });
        match read.await {
            Ok(Some(bytes)) if !bytes.is_empty() => return Ok(bytes),
            Ok(_) => return Err(ApiError::new(Reason::Internal, "a file ended too early")),
            Err(error) if error.reason == Reason::Overloaded => tokio::time::sleep(BUSY).await,
            Err(error) => return Err(error),
        }
    }
}
