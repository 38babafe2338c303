//! `backup` and `restore`: a data folder as it was at one moment, checked whole.
//!
//! Invariant: what a service sends is written nowhere but into the new folder, and the folder has
//! its name only after everything arrived, is durable and was checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Global;
use super::client::Client;
use super::error::CliError;
use super::output::{Output, counted, grouped};
use super::verify::blocking;
use crate::engine::{self, BackupError, Started, Verification};
use crate::proto::backup_response::Part;
use crate::proto::{BackupFile, BackupRequest};
use crate::storage::{Disk, NewFile, NewFolder, RealDisk, StorageError};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The folder to make: a data folder of its own, which must not exist or be empty.
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// Copy this data folder, which no service may use, instead of asking the service.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FOLDER")]
    backup: PathBuf,
    /// The data folder to make, which must not exist or be empty.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Storage(error) => error.into(),
            // What was asked about is damaged; `verify` says so with the same code.
            BackupError::Damaged { .. } | BackupError::BadCopy { .. } => {
                Self::Damaged(error.to_string())
            }
        }
    }
}

impl From<StorageError> for CliError {
    fn from(error: StorageError) -> Self {
        if let StorageError::Disk(error) = error {
            Self::Other(error.to_string())
        } else {
            Self::Input(error.to_string())
        }
    }
}

pub(super) async fn backup(
    global: &Global,
    args: BackupArgs,
    output: Output,
) -> Result<u8, CliError> {
    let verification = match &args.data {
        Some(data) => copy(data, &args.to).await?,
        None => receive(global, &args.to).await?,
    };
    tell("backed up", &args.to, verification, output)
}

pub(super) async fn restore(args: RestoreArgs, output: Output) -> Result<u8, CliError> {
    let verification = copy(&args.backup, &args.data).await?;
    tell("restored", &args.data, verification, output)
}

fn tell(
    done: &str,
    folder: &Path,
    verification: Verification,
    output: Output,
) -> Result<u8, CliError> {
    let bytes: u64 = verification.files.iter().map(|file| file.bytes).sum();
    let Started {
        revision, users, ..
    } = verification
        .start
        .map_err(|error| CliError::Damaged(error.to_string()))?;
    let folder = folder.display().to_string();
    output.answer(
        || {
            let (users, bytes) = (counted(users, "user"), grouped(bytes));
            let revision = revision.number();
            format!("{done} {users} as of revision {revision}: {folder}, {bytes} bytes, checked")
        },
        || {
            json!({
                "folder": folder,
                "users": users,
                "bytes": bytes,
                "revision": revision.number(),
            })
        },
    )?;
    Ok(0)
}

async fn copy(from: &Path, to: &Path) -> Result<Verification, CliError> {
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    let copied = blocking("copy", move || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        engine::copy(&disk, &from, &to)
    });
    Ok(copied.await??)
}

/// Has the service send a snapshot, and makes a data folder of it.
async fn receive(global: &Global, to: &Path) -> Result<Verification, CliError> {
    let client = Client::connect(global).await?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // Before the service makes a snapshot for nothing.
    let mut folder = NewFolder::begin(Arc::clone(&disk), to)?;
    match receive_files(&client, &mut folder).await {
        Ok(()) => {
            let published = blocking("check", move || engine::publish(&disk, folder));
            Ok(published.await??)
        }
        Err(error) => {
            // The first error is the one to be told.
            let _ = folder.discard();
            Err(error)
        }
    }
}

async fn receive_files(client: &Client, folder: &mut NewFolder) -> Result<(), CliError> {
    let mut answers = client.admin().backup(BackupRequest {}).await?.into_inner();
    let mut current: Option<(NewFile, BackupFile)> = None;
    let (mut files, mut is_complete) = (0_u64, false);
    while let Some(answer) = answers.message().await? {
        match answer.part {
            Some(Part::Content(content)) => match &mut current {
                Some((file, _)) => file.write(&content)?,
                None => return Err(cut()),
            },
            Some(Part::File(named)) => {
                finish(current.take())?;
                files += 1;
                current = Some((folder.file(&named.name)?, named));
            }
            Some(Part::Completion(completion)) => {
                finish(current.take())?;
                is_complete = completion.files == files;
            }
            // What a later version may tell besides.
            Some(Part::Summary(_)) | None => {}
        }
    }
    if is_complete { Ok(()) } else { Err(cut()) }
}

fn finish(current: Option<(NewFile, BackupFile)>) -> Result<(), CliError> {
    match current {
        None => Ok(()),
        Some((file, named)) => Ok(file.finish(named.length, named.checksum)?),
    }
}

fn cut() -> CliError {
    CliError::Broken {
        cause: "the backup was not sent whole".into(),
    }
}
