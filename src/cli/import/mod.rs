//! `import`: users, or what they did, from a CSV or NDJSON file into the service.
//!
//! Invariants: rows take effect in the order of the file; what is reported as imported is on the
//! service's disk; a bad row is named with its line and reason.

mod events;
#[cfg(feature = "testing")]
pub(super) mod probe;
mod rows;
mod send;
mod types;
mod updates;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, Table, counted, grouped, printable};
use super::{Global, schema};
use crate::proto::ValueType;
use events::{Declaring, EventArgs, EventColumns};
use rows::{BadRow, Rows};
use send::{Order, Sender, Written};
use types::{ColumnType, ColumnTypes};
use updates::{Columns, Reading, Step, Updates};

/// Bad rows that are named; all are counted.
const NAMED: usize = 20;
/// How long an import takes before its progress is shown.
const UNSHOWN: Duration = Duration::from_secs(1);
/// Steps that the reader is ahead of the service.
const AHEAD: usize = 64;

#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the text is help on the command line")]
pub(super) struct ImportArgs {
    /// The file; - for standard input.
    file: PathBuf,
    /// The format; by the ending of the file's name if left out.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The column with the user ids; user_id, id or the first that ends in _id if left out.
    #[arg(long, visible_alias = "user-column")]
    id_column: Option<String>,
    /// Types of columns, such as age=int64,tags=string_set(;),comment=ignore; the others are those
    /// that the service knows, or inferred from the first 1,000 rows. Types are bool, string,
    /// string_set, int64, double, timestamp, version and ignore.
    #[arg(long)]
    types: Vec<ColumnTypes>,
    /// What stands between the cells of a CSV file.
    #[arg(long, default_value = ",")]
    delimiter: char,
    /// What to do with a bad row: stop there, or leave it out and go on.
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,
    /// Show the columns with their types, and import nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    events: EventArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// Comma-separated values with a header line. An empty cell is no value.
    Csv,
    /// A JSON object a line. A list of texts is a set, null takes a value away.
    Ndjson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Import what is before the first bad row.
    Stop,
    /// Leave bad rows out.
    Skip,
}

/// What became of an import.
#[derive(Debug, Default)]
pub(super) struct Report {
    written: Written,
    bad: u64,
    named: Vec<BadRow>,
}

impl Report {
    fn bad(&mut self, row: BadRow) {
        self.bad += 1;
        if self.named.len() < NAMED {
            self.named.push(row);
        }
    }
}

pub(super) async fn import(
    global: &Global,
    mut args: ImportArgs,
    output: Output,
) -> Result<u8, CliError> {
    let client = match Client::connect(global).await {
        Ok(client) => Some(client),
        Err(error @ CliError::Unreachable { .. }) if args.dry_run => {
            output::note(&format!("{error}\nthe types are from the file alone"));
            None
        }
        Err(error) => return Err(error),
    };
    let said: Vec<_> = args
        .types
        .iter()
        .flat_map(|types| types.0.clone())
        .collect();
    let known = match &client {
        Some(client) if !args.events.events => known_types(client, &said).await?,
        Some(_) | None => BTreeMap::new(),
    };
    let (source, length) = open(&args.file)?;
    let progress = progress(length);
    let source = progress.wrap_read(source);
    let rows = read_as(&args, Box::new(source))?;
    let id_column = args.id_column.as_deref();
    let updates = if args.events.events {
        args.events.source = source_name(&args.file);
        Updates::of_events(rows, id_column, &args.events)
    } else {
        Updates::new(rows, id_column, &said, &known)
    };
    let updates = updates.map_err(CliError::Input)?;
    let Some(client) = client.filter(|_| !args.dry_run) else {
        progress.finish_and_clear();
        show_columns(updates.reading(), output)?;
        return Ok(0);
    };
    let start = Instant::now();
    let stop = args.on_error == OnError::Stop;
    let mut report = Report::default();
    let run = Run {
        client: &client,
        stop,
        progress: Some(&progress),
        declaring: args.events.retention.map(Declaring::new),
    };
    let ended = run.through(updates, &mut report).await;
    progress.finish_and_clear();
    let end = End {
        result: ended,
        stop,
        elapsed: start.elapsed(),
        events: args.events.events,
        harmless: !args.events.without_ids && source_name(&args.file).is_some(),
    };
    let ended_well = end.result.is_ok();
    let code = finish(&report, end, output);
    if ended_well {
        events::tell_way_out(&client, &report.written).await?;
    }
    code
}

/// Imports a CSV file that is in memory; returns how many rows it had.
pub(super) async fn import_bytes(client: &Client, bytes: &'static [u8]) -> Result<u64, CliError> {
    let rows = Rows::csv(Box::new(bytes), b',').map_err(CliError::Input)?;
    let updates = Updates::new(rows, None, &[], &BTreeMap::new()).map_err(CliError::Input)?;
    let mut report = Report::default();
    let run = Run {
        client,
        stop: true,
        progress: None,
        declaring: None,
    };
    run.through(updates, &mut report).await?;
    match report.named.first() {
        None => Ok(report.written.rows),
        Some(bad) => Err(CliError::Input(format!(
            "line {}: {}",
            bad.line, bad.reason
        ))),
    }
}

/// The types that the service knows, for columns that nothing was said about.
async fn known_types(
    client: &Client,
    said: &[(String, ColumnType)],
) -> Result<BTreeMap<String, ColumnType>, CliError> {
    let properties = match schema::all_properties(client).await {
        Ok((properties, _)) => properties,
        // A population appears with its first user.
        Err(CliError::Refused(status)) if status.code() == tonic::Code::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let known = properties
        .into_iter()
        .filter(|property| said.iter().all(|(name, _)| *name != property.name));
    Ok(known
        .map(|property| {
            let column_type = if property.r#type() == ValueType::StringSet {
                ColumnType::SetBy(';')
            } else {
                ColumnType::Of(property.r#type())
            };
            (property.name, column_type)
        })
        .collect())
}

/// The name of a file, without its folders; standard input has none.
fn source_name(file: &Path) -> Option<String> {
    if file == Path::new("-") {
        return None;
    }
    Some(file.file_name()?.to_string_lossy().into_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's, not of the data folder"
)]
pub(super) fn open(file: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), CliError> {
    if file == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let opened = std::fs::File::open(file).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, _)) if metadata.is_dir() => {
            Err(CliError::Input(format!("{}: is a folder", file.display())))
        }
        Ok((metadata, opened)) => Ok((Box::new(opened), Some(metadata.len()))),
        Err(error) => Err(CliError::Input(format!("{}: {error}", file.display()))),
    }
}

fn read_as(args: &ImportArgs, source: Box<dyn Read + Send>) -> Result<Rows, CliError> {
    let ending = args.file.extension().and_then(|ending| ending.to_str());
    let format = match (args.format, ending) {
        (Some(format), _) => format,
        (None, Some("csv")) => FileFormat::Csv,
        (None, Some("ndjson" | "jsonl")) => FileFormat::Ndjson,
        (None, _) => {
            let file = args.file.display();
            return Err(CliError::Input(format!(
                "{file}: can't tell the format; say --format csv or --format ndjson"
            )));
        }
    };
    match format {
        FileFormat::Ndjson => Ok(Rows::ndjson(source)),
        FileFormat::Csv => {
            let delimiter = u8::try_from(args.delimiter)
                .map_err(|_| CliError::Input("--delimiter is no ASCII character".into()))?;
            Rows::csv(source, delimiter).map_err(CliError::Input)
        }
    }
}

fn progress(length: Option<u64>) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    let template = if length.is_some() {
        "{bar:40} {percent:>3} %  {msg}"
    } else {
        "{spinner} {bytes}  {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_draw_target(ProgressDrawTarget::hidden());
    bar
}

/// An import under way.
struct Run<'a> {
    client: &'a Client,
    /// Whether it ends at the first bad row.
    stop: bool,
    progress: Option<&'a ProgressBar>,
    /// How events are declared ahead, if they are.
    declaring: Option<Declaring>,
}

impl Run<'_> {
    /// Reads on a thread of its own while the service writes. The report holds also if it fails.
    async fn through(mut self, updates: Updates, report: &mut Report) -> Result<(), CliError> {
        let order = match updates.reading() {
            Reading::Properties(_) => Order::Matters,
            Reading::Events(_) => Order::DoesNotMatter,
        };
        let (steps, mut received) = mpsc::channel(AHEAD);
        let reader = std::thread::Builder::new()
            .name("read".into())
            .spawn(move || {
                for step in updates {
                    // The other side ends early after a bad row.
                    if steps.blocking_send(step).is_err() {
                        return;
                    }
                }
            });
        reader.map_err(|error| CliError::Other(format!("can't start a thread: {error}")))?;

        let mut sender = Sender::open(self.client, order).await?;
        let mut next = received.recv().await;
        while let Some(step) = next.take() {
            let mut bad = None;
            let mut window = Vec::new();
            match step {
                Step::Batch(batch) => window.push(batch),
                Step::Bad(row) => bad = Some(row),
            }
            // Whatever has been read by now goes out together.
            while bad.is_none() && window.len() < send::window(self.stop) {
                match received.try_recv() {
                    Ok(Step::Batch(batch)) => window.push(batch),
                    Ok(Step::Bad(row)) => bad = Some(row),
                    Err(_) => break,
                }
            }
            if let Some(declaring) = &mut self.declaring {
                declaring.declare(self.client, &window).await?;
            }
            let refused = sender.write(window, self.stop, &mut report.written).await?;
            for row in refused {
                report.bad(row);
            }
            self.show(report.written.rows);
            if self.stop && report.bad > 0 {
                break;
            }
            if let Some(bad) = bad {
                report.bad(bad);
                if self.stop {
                    break;
                }
            }
            next = received.recv().await;
        }
        Ok(())
    }

    fn show(&self, rows: u64) {
        if let Some(progress) = self.progress {
            progress.set_message(format!("{} rows", grouped(rows)));
            let late = progress.is_hidden() && progress.elapsed() > UNSHOWN;
            if late && output::is_watched() {
                progress.set_draw_target(ProgressDrawTarget::stderr());
            }
        }
    }
}

fn show_columns(reading: &Reading, output: Output) -> Result<(), CliError> {
    match reading {
        Reading::Properties(columns) => show_property_columns(columns, output),
        Reading::Events(columns) => show_event_columns(columns, output),
    }
}

fn show_event_columns(columns: &EventColumns, output: Output) -> Result<(), CliError> {
    output.answer(
        || {
            let mut table = Table::new(&["column", "is"]);
            for (column, role) in columns.roles() {
                table.row([column.to_owned(), role.to_owned()]);
            }
            match columns.name() {
                None => table.render(),
                Some(name) => format!("{}\n\nall are events {name:?}", table.render()),
            }
        },
        || {
            let roles = columns
                .roles()
                .map(|(column, role)| (column.to_owned(), json!(role)));
            json!({ "columns": roles.collect::<serde_json::Map<_, _>>(), "event": columns.name() })
        },
    )
}

fn show_property_columns(columns: &Columns, output: Output) -> Result<(), CliError> {
    output.answer(
        || {
            let mut table = Table::new(&["column", "type"]);
            table.row([columns.id.clone(), "user id".into()]);
            for (name, column_type) in &columns.types {
                table.row([name.clone(), column_type.name()]);
            }
            table.render()
        },
        || {
            let types = columns
                .types
                .iter()
                .map(|(name, column_type)| (name.clone(), json!(column_type.name())));
            json!({ "id_column": columns.id, "types": types.collect::<serde_json::Map<_, _>>() })
        },
    )
}

/// How an import ended.
struct End {
    result: Result<(), CliError>,
    stop: bool,
    elapsed: Duration,
    /// Whether the rows are events.
    events: bool,
    /// Whether importing them again counts nothing twice.
    harmless: bool,
}

fn finish(report: &Report, end: End, output: Output) -> Result<u8, CliError> {
    let (written, stop, elapsed) = (&report.written, end.stop, end.elapsed);
    for row in &report.named {
        output::note(&printable(&format!("line {}: {}", row.line, row.reason)));
    }
    let more = report.bad - report.named.len() as u64;
    if more > 0 {
        output::note(&format!("and {} more bad rows", grouped(more)));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate to look at"
    )]
    let rate = (written.rows as f64 / elapsed.as_secs_f64().max(1e-6)) as u64;
    output.answer(
        || {
            let imported = counted(written.rows, "row");
            let seconds = elapsed.as_secs_f64();
            let left_out = if report.bad > 0 && !stop {
                format!(", left out {}", counted(report.bad, "bad row"))
            } else {
                String::new()
            };
            let events = if end.events {
                format!("\n{}", events::text(written))
            } else {
                String::new()
            };
            format!(
                "imported {imported} in {seconds:.1} s ({} a second){left_out}{events}",
                grouped(rate)
            )
        },
        || {
            let bad = report
                .named
                .iter()
                .map(|row| json!({ "line": row.line, "reason": row.reason }));
            let mut json = json!({
                "imported": written.rows,
                "bad": report.bad,
                "bad_rows": bad.collect::<Vec<_>>(),
                "complete": end.result.is_ok() && (report.bad == 0 || !stop),
                "seconds": elapsed.as_secs_f64(),
            });
            if end.events {
                json["events"] = json!({
                    "taken": written.taken,
                    "duplicates": written.duplicates,
                    "too_old": written.too_old,
                    "too_far_ahead": written.too_far_ahead,
                });
            }
            json
        },
    )?;
    if end.result.is_err() {
        output::note(if end.harmless {
            "the import ended early: what was imported stays, and importing all of the file again, unchanged, is harmless"
        } else {
            "the import ended early: what was imported stays, and would count twice if it were imported again"
        });
    }
    end.result?;
    match (report.bad, stop) {
        (0, _) if written.too_old + written.too_far_ahead > 0 => Ok(5),
        (0, _) => Ok(0),
        (_, false) => Ok(5),
        (_, true) if !end.harmless => Err(CliError::Input(
            "stopped at the bad row; what was imported stays and would count twice. Mend the row and import from there on, or leave bad rows out with --on-error skip".into(),
        )),
        (_, true) => Err(CliError::Input(
            "stopped at the bad row; what was imported stays. Mend the row and import again, or leave bad rows out with --on-error skip".into(),
        )),
    }
}
