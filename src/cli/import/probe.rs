//! The way from the bytes of a file to updates, for fuzzing: without a service, all at once.

use std::collections::BTreeMap;

use clap::Parser;

use super::rows::Rows;
use super::types::ColumnTypes;
use super::updates::{Step, Updates};
use super::{FileFormat, ImportArgs};
use crate::proto::UserUpdate;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// Cells with a header line.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// What a file says, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportRow {
    /// An update, and the line that it begins on.
    Update(u64, UserUpdate),
    /// A bad row, the line that it begins on, and what is wrong with it.
    Bad(u64, String),
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    import: ImportArgs,
}

/// Reads a file as `import` would with these flags, as far as they are about columns.
///
/// # Errors
/// What is wrong with the file as a whole, or with the flags.
pub fn import_rows(
    bytes: Vec<u8>,
    format: ImportFormat,
    flags: &[&str],
) -> Result<Vec<ImportRow>, String> {
    let line = ["import", "-"].iter().chain(flags);
    let mut args = Line::try_parse_from(line)
        .map_err(|error| error.to_string())?
        .import;
    args.format = Some(match format {
        ImportFormat::Csv => FileFormat::Csv,
        ImportFormat::Ndjson => FileFormat::Ndjson,
    });
    let rows: Rows = super::read_as(&args, Box::new(std::io::Cursor::new(bytes)))
        .map_err(|error| error.to_string())?;
    let said: Vec<_> = args
        .types
        .iter()
        .flat_map(|ColumnTypes(types)| types.clone())
        .collect();
    let id_column = args.id_column.as_deref();
    let updates = if args.events.events {
        args.events.source = Some("file".into());
        Updates::of_events(rows, id_column, &args.events)?
    } else {
        Updates::new(rows, id_column, &said, &BTreeMap::new())?
    };
    let mut read = Vec::new();
    for step in updates {
        match step {
            Step::Batch(batch) => read.extend(
                batch
                    .into_iter()
                    .map(|row| ImportRow::Update(row.line, row.update)),
            ),
            Step::Bad(bad) => read.push(ImportRow::Bad(bad.line, bad.reason)),
        }
    }
    Ok(read)
}
