//! Rows to updates of users: the columns settled, then one batch after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::events::{EventArgs, EventColumns};
use super::rows::{BadRow, Cell, Row, Rows, about_lines};
use super::types::{ColumnType, Inference, convert};
use crate::proto::UserUpdate;

/// Rows by which types are inferred.
const SAMPLE: usize = 1_000;
/// Rows of one batch at most.
const BATCH_ROWS: usize = 500;
/// Bytes of the rows of one batch at most, where they are not those of a single row.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a row at most: what a write may have, less its population and sequence number.
const SENT_BYTES: usize = (1 << 20) - 1_024;

/// An update and the line it comes from.
#[derive(Clone, Debug)]
pub(super) struct LineUpdate {
    pub(super) line: u64,
    pub(super) update: UserUpdate,
}

/// What reading a file leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// Updates to be written, in this order.
    Batch(Vec<LineUpdate>),
    /// A row that can't be read.
    Bad(BadRow),
}

/// How columns are to be read.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) id: String,
    pub(super) types: BTreeMap<String, ColumnType>,
}

/// What the rows of a file are.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// Users with properties.
    Properties(Columns),
    /// Events.
    Events(EventColumns),
}

/// The rows of a file, and how they are to be read.
pub(super) struct Updates {
    sample: std::vec::IntoIter<Result<Row, BadRow>>,
    rows: Rows,
    reading: Reading,
    waiting: Option<Result<LineUpdate, BadRow>>,
    ended: bool,
}

/// The first rows of a file.
struct Sample {
    rows: Vec<Result<Row, BadRow>>,
    inference: Inference,
    /// The columns of the header; of a file without one, those of these rows.
    names: Vec<String>,
}

impl Sample {
    fn of(rows: &mut Rows) -> Result<Self, String> {
        let sample: Vec<_> = rows.by_ref().take(SAMPLE).collect();
        let mut inference = Inference::default();
        for row in sample.iter().flatten() {
            for (column, cell) in &row.cells {
                inference.see(column, cell);
            }
        }
        let names: Vec<String> = match rows.columns() {
            Some(columns) => columns.iter().map(ToString::to_string).collect(),
            None => inference.columns().map(str::to_owned).collect(),
        };
        if names.is_empty() {
            return Err(match sample.into_iter().next() {
                Some(Err(bad)) => format!("line {}: {}", bad.line, bad.reason),
                Some(Ok(_)) | None => "the file has no rows".into(),
            });
        }
        Ok(Self {
            rows: sample,
            inference,
            names,
        })
    }
}

impl Updates {
    /// Users with properties. Settles the columns by what was said, what the service knows and a
    /// sample of the rows, in this order.
    pub(super) fn new(
        mut rows: Rows,
        id_column: Option<&str>,
        said: &[(String, ColumnType)],
        known: &BTreeMap<String, ColumnType>,
    ) -> Result<Self, String> {
        let Sample {
            rows: sample,
            inference,
            names,
        } = Sample::of(&mut rows)?;
        let id = choose_id(&names, id_column)?;
        for (name, _) in said {
            if !names.contains(name) && rows.columns().is_some() {
                return Err(format!(
                    "--types names the column {name:?}, which the file does not have"
                ));
            }
        }
        let mut types = BTreeMap::new();
        for name in names.into_iter().filter(|name| *name != id) {
            let said = said.iter().find(|(said, _)| *said == name);
            let settled = said
                .map(|(_, column_type)| column_type)
                .or_else(|| known.get(&name));
            let column_type = settled
                .cloned()
                .unwrap_or_else(|| inference.column_type(&name));
            types.insert(name, column_type);
        }
        Ok(Self {
            sample: sample.into_iter(),
            rows,
            reading: Reading::Properties(Columns { id, types }),
            waiting: None,
            ended: false,
        })
    }

    /// Events. Settles the columns by what was said and their names.
    pub(super) fn of_events(
        mut rows: Rows,
        id_column: Option<&str>,
        args: &EventArgs,
    ) -> Result<Self, String> {
        let sample = Sample::of(&mut rows)?;
        let has_header = rows.columns().is_some();
        let columns = EventColumns::new(&sample.names, has_header, id_column, args)?;
        Ok(Self {
            sample: sample.rows.into_iter(),
            rows,
            reading: Reading::Events(columns),
            waiting: None,
            ended: false,
        })
    }

    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }
}

impl Columns {
    fn update(&mut self, row: Row) -> Result<UserUpdate, String> {
        let mut update = UserUpdate::default();
        for (column, cell) in row.cells {
            if *column == *self.id {
                update.user_id = id_of(cell)?;
                continue;
            }
            // A name that first appears after the sample.
            let column_type = match self.types.get(&*column) {
                Some(column_type) => column_type.clone(),
                None => self.settle(&column, &cell),
            };
            if let Some(value) = convert(&column, &column_type, &cell)? {
                update.set.insert(column.to_string(), value);
            }
        }
        if update.user_id.is_empty() {
            return Err(format!(
                "column {:?} is empty: there is no user id",
                self.id
            ));
        }
        Ok(update)
    }

    fn settle(&mut self, column: &Arc<str>, cell: &Cell) -> ColumnType {
        let mut inference = Inference::default();
        inference.see(column, cell);
        let column_type = inference.column_type(column);
        if *cell != Cell::Json(serde_json::Value::Null) {
            self.types.insert(column.to_string(), column_type.clone());
        }
        column_type
    }
}

impl Updates {
    fn next_update(&mut self) -> Option<Result<LineUpdate, BadRow>> {
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        if self.ended {
            return None;
        }
        let row = self.sample.next().or_else(|| self.rows.next())?;
        let converted = row.and_then(|row| {
            let (line, lines) = (row.line, row.lines);
            let bad = |reason: String| BadRow {
                line,
                reason: format!("{reason}{}", about_lines(lines)),
                last: false,
            };
            let update = match &mut self.reading {
                Reading::Properties(columns) => columns.update(row),
                Reading::Events(columns) => columns.update(row),
            };
            let update = update.map_err(bad)?;
            let size = update.encoded_len();
            if size > SENT_BYTES {
                return Err(bad(format!(
                    "takes {size} bytes, more than a write may have ({SENT_BYTES})"
                )));
            }
            Ok(LineUpdate { line, update })
        });
        if let Err(bad) = &converted {
            self.ended |= bad.last;
        }
        Some(converted)
    }
}

impl Iterator for Updates {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_ROWS {
            match self.next_update() {
                None => break,
                Some(Ok(row)) => {
                    bytes += row.update.encoded_len();
                    if bytes > BATCH_BYTES && !batch.is_empty() {
                        self.waiting = Some(Ok(row));
                        break;
                    }
                    batch.push(row);
                }
                Some(Err(bad)) if batch.is_empty() => return Some(Step::Bad(bad)),
                Some(Err(bad)) => {
                    self.waiting = Some(Err(bad));
                    break;
                }
            }
        }
        (!batch.is_empty()).then_some(Step::Batch(batch))
    }
}

pub(super) fn id_of(cell: Cell) -> Result<String, String> {
    match cell {
        Cell::Text(text) | Cell::Json(serde_json::Value::String(text)) => Ok(text),
        // A larger number was rounded when it was read: it would be another user's id.
        Cell::Json(serde_json::Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(number.to_string())
        }
        Cell::Json(_) => Err("the user id is neither a text nor a whole number below 2^64".into()),
    }
}

/// `user_id`, `id`, or else the first column whose name ends in `_id`.
fn choose_id(names: &[String], said: Option<&str>) -> Result<String, String> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if let Some(said) = said {
        return if has(said) {
            Ok(said.into())
        } else {
            Err(format!(
                "--id-column {said:?}: the file has the columns {}",
                names.join(", ")
            ))
        };
    }
    let usual = ["user_id", "id"].into_iter().find(|usual| has(usual));
    usual
        .map(str::to_owned)
        .or_else(|| names.iter().find(|name| name.ends_with("_id")).cloned())
        .ok_or_else(|| {
            format!("no column is named user_id, id or .._id: say which has the user ids with --id-column, of {}", names.join(", "))
        })
}
