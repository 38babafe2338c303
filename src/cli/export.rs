//! `export`: the users of filters in files, as they were at one moment.
//!
//! Invariant: a file or folder has its name only once all of it was written; where the connection
//! breaks, the export goes on where it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, counted, printable};
use super::overlap::{Named, named};
use super::query::{EVERYONE, instant};
use crate::proto::{
    ExportFormat, ExportHeader, ExportMembersRequest, Selection, export_members_response::Part,
    selection,
};
use crate::storage::{Disk, DiskError, DiskFile, EntryKind, RealDisk};

/// How often in a row it is tried to go on without anything coming of it.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// The file of the ids in a folder of bitmaps.
const IDS_FILE: &str = "ids.txt";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportAs {
    /// A file with an id a line.
    Ids,
    /// A folder: an id a line in ids.txt, and a portable Roaring bitmap of the numbers of these lines,
    /// from 0, for each filter.
    Bitmaps,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The filter; for bitmaps up to 64, each with a name before it if you like: "paying: plan =
    /// 'pro'". Everyone if left out.
    #[arg(default_value = EVERYONE)]
    filters: Vec<String>,
    /// The file to write, or for bitmaps the folder to make; it takes the place of a file, and
    /// of an empty folder.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = ExportAs::Ids)]
    format: ExportAs,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

impl From<DiskError> for CliError {
    fn from(error: DiskError) -> Self {
        Self::Other(error.to_string())
    }
}

pub(super) async fn export(
    client: Client,
    args: ExportArgs,
    output: Output,
) -> Result<u8, CliError> {
    let filters = args.filters.iter().enumerate();
    let filters: Vec<Named> = filters.map(|(place, text)| named(text, place)).collect();
    let is_ids = args.format == ExportAs::Ids;
    if is_ids && filters.len() > 1 {
        return Err(CliError::Input(
            "a file of ids is of one filter; --format bitmaps takes several".into(),
        ));
    }
    for (place, one) in filters.iter().enumerate() {
        let is_same = |other: &Named| other.name == one.name;
        if filters.iter().take(place).any(is_same) {
            let text = format!("two filters are named {:?}", one.name);
            return Err(CliError::Input(text));
        }
    }
    let format = if is_ids {
        ExportFormat::Ids
    } else {
        ExportFormat::Bitmaps
    };
    let selections = filters.iter().map(|named| Selection {
        selection: Some(selection::Selection::Filter(named.filter.clone())),
    });
    let request = ExportMembersRequest {
        population: client.population.clone(),
        selections: selections.collect(),
        format: format.into(),
        as_of: instant(args.as_of.as_deref())?,
        ..ExportMembersRequest::default()
    };
    let mut files = Files::begin(&args.out, is_ids)?;
    let received = receive(&client, request, &filters, &mut files).await;
    let header = match received {
        Ok(header) => header,
        Err(error) => {
            // The first error is the one to be told.
            let _ = files.discard();
            return Err(error);
        }
    };
    let ids = files.ids_written;
    files.publish()?;
    tell(&args.out, &filters, &header, ids, output)?;
    Ok(0)
}

fn tell(
    out: &Path,
    filters: &[Named],
    header: &ExportHeader,
    ids: u64,
    output: Output,
) -> Result<(), CliError> {
    let out = out.display().to_string();
    output.answer(
        || format!("exported {} to {}", counted(ids, "user"), printable(&out)),
        || {
            let selections = filters.iter().zip(&header.counts);
            let selections = selections.map(
                |(named, count)| json!({ "name": named.name, "filter": named.filter, "count": count }),
            );
            json!({
                "out": out,
                "users": ids,
                "selections": selections.collect::<Vec<_>>(),
                "revision": header.revision,
            })
        },
    )
}

/// Reads the export to its end, going on after a connection that broke.
async fn receive(
    client: &Client,
    mut request: ExportMembersRequest,
    filters: &[Named],
    files: &mut Files,
) -> Result<ExportHeader, CliError> {
    let texts: Vec<String> = filters.iter().map(|named| named.filter.clone()).collect();
    let mut header = None;
    let mut failed = 0;
    loop {
        let before = request.resume_token.clone();
        let read = read(client, &mut request, filters, files, &mut header).await;
        let error = match read {
            Ok(()) => {
                return header.ok_or_else(|| CliError::Broken {
                    cause: "the export was not sent whole".into(),
                });
            }
            Err(error) => error.about_one_of(&texts),
        };
        failed = if request.resume_token == before {
            failed + 1
        } else {
            1
        };
        // What has not begun is asked again by whoever asked, and what is refused for good not at all.
        let may_pass = error.exit_code() == 3;
        if !may_pass || request.resume_token.is_empty() || failed > TRIES {
            return Err(error);
        }
        output::note(&format!("{}; going on", printable(&error.to_string())));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads until the end or until the connection breaks, and notes what to go on with.
async fn read(
    client: &Client,
    request: &mut ExportMembersRequest,
    filters: &[Named],
    files: &mut Files,
    header: &mut Option<ExportHeader>,
) -> Result<(), CliError> {
    let answer = client.query().export_members(request.clone()).await?;
    let mut messages = answer.into_inner();
    while let Some(message) = messages.message().await? {
        match message.part {
            Some(Part::Header(found)) => *header = Some(found),
            Some(Part::Ids(part)) => files.ids(&part.user_ids)?,
            Some(Part::Bitmap(part)) => {
                let place = usize::try_from(part.selection).unwrap_or(usize::MAX);
                let Some(named) = filters.get(place) else {
                    return Err(CliError::Other(format!(
                        "the service sent a bitmap of selection {place}, which was not asked for"
                    )));
                };
                files.bitmap(&named.name, &part.data)?;
            }
            // What a later version may tell besides.
            None => {}
        }
        request.resume_token = message.resume_token;
    }
    Ok(())
}

/// What is being written, under a temporary name.
struct Files {
    disk: RealDisk,
    out: PathBuf,
    temporary: PathBuf,
    /// `None` if there is a file of ids alone.
    folder: Option<Vec<PathBuf>>,
    ids: Growing,
    ids_written: u64,
    bitmap: Option<(String, Growing)>,
}

/// A file that is written to its end.
struct Growing {
    file: Box<dyn DiskFile>,
    written: u64,
}

impl Growing {
    fn create(disk: RealDisk, path: &Path) -> Result<Self, DiskError> {
        let file = disk.create(path, 0)?;
        Ok(Self { file, written: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_at(self.written, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Files {
    fn begin(out: &Path, is_ids: bool) -> Result<Self, CliError> {
        let disk = RealDisk;
        // Without a slash at the end, behind which the other name would be one inside.
        let out: PathBuf = out.components().collect();
        let out = out.as_path();
        // Before the service works for nothing.
        let is_taken = match disk.kind(out)? {
            None => false,
            Some(EntryKind::File) => !is_ids,
            Some(EntryKind::Folder) => is_ids || !disk.list(out)?.is_empty(),
        };
        if is_taken {
            return Err(CliError::Input(format!(
                "{} is there already; only a file of ids takes the place of a file, and a folder that of an empty one",
                out.display()
            )));
        }
        let mut temporary = out.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        if disk.kind(&temporary)?.is_some() {
            return Err(CliError::Input(format!(
                "{} is there already, left over by an export that was cut off or being written by another one; remove it first",
                temporary.display()
            )));
        }
        let file = if is_ids {
            temporary.clone()
        } else {
            disk.create_folder(&temporary)?;
            temporary.join(IDS_FILE)
        };
        let ids = Growing::create(disk, &file)?;
        Ok(Self {
            disk,
            out: out.to_path_buf(),
            temporary,
            folder: (!is_ids).then(|| vec![file]),
            ids,
            ids_written: 0,
            bitmap: None,
        })
    }

    fn ids(&mut self, ids: &[String]) -> Result<(), CliError> {
        let mut lines = String::with_capacity(ids.iter().map(|id| id.len() + 1).sum());
        for id in ids {
            lines.push_str(id);
            lines.push('\n');
        }
        self.ids.write(lines.as_bytes())?;
        self.ids_written += ids.len() as u64;
        Ok(())
    }

    fn bitmap(&mut self, name: &str, bytes: &[u8]) -> Result<(), CliError> {
        let bitmap = match &mut self.bitmap {
            Some((current, file)) if current == name => file,
            other => {
                if let Some((_, file)) = other.take() {
                    file.file.sync()?;
                }
                let path = self.temporary.join(format!("{name}.roaring"));
                let file = Growing::create(self.disk, &path)?;
                self.folder.get_or_insert_default().push(path);
                &mut other.insert((name.to_owned(), file)).1
            }
        };
        Ok(bitmap.write(bytes)?)
    }

    fn publish(mut self) -> Result<(), CliError> {
        self.ids.file.sync()?;
        if let Some((_, file)) = self.bitmap.take() {
            file.file.sync()?;
        }
        if self.folder.is_some() {
            self.disk.sync_folder(&self.temporary)?;
        }
        let renamed = self.disk.rename(&self.temporary, &self.out);
        if let Err(error) = renamed {
            let _ = self.discard();
            return Err(error.into());
        }
        let above = match self.out.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => Path::new("/"),
        };
        Ok(self.disk.sync_folder(above)?)
    }

    /// Removes what was written.
    fn discard(self) -> Result<(), DiskError> {
        let Some(files) = self.folder else {
            return self.disk.remove_file(&self.temporary);
        };
        for file in files {
            self.disk.remove_file(&file)?;
        }
        self.disk.remove_folder(&self.temporary)
    }
}
