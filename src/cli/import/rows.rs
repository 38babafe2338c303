//! Rows out of a CSV or NDJSON file, one after another, each with its line number.
//!
//! Invariant: a row that can't be read is an error of that row, not of the file, and no row takes
//! more memory than [`ROW_BYTES`].

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value as Json;

/// Bytes of a row at most: more than any row that a write could hold.
const ROW_BYTES: u64 = 4 << 20;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Of a CSV file: never empty.
    Text(String),
    /// Of a JSON object.
    Json(Json),
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// How many lines it takes.
    pub(super) lines: u64,
    /// Column and cell, without empty cells.
    pub(super) cells: Vec<(Arc<str>, Cell)>,
}

/// A row that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadRow {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// What is wrong.
    pub(super) reason: String,
    /// Whether what follows can't be read either.
    pub(super) last: bool,
}

/// Reads rows.
pub(super) enum Rows {
    Csv {
        reader: Box<csv::Reader<Bounded>>,
        columns: Vec<Arc<str>>,
        watch: Arc<Watch>,
        record: csv::StringRecord,
    },
    Ndjson {
        reader: BufReader<Box<dyn Read + Send>>,
        line: u64,
        ended: bool,
    },
}

/// A reader that fails when a row takes too many bytes, and counts quotes.
pub(super) struct Bounded {
    inner: Box<dyn Read + Send>,
    watch: Arc<Watch>,
}

/// What is known of the bytes that were read.
#[derive(Debug)]
pub(super) struct Watch {
    /// Bytes that the row may still take.
    budget: AtomicU64,
    /// Whether the number of quotes so far is odd.
    odd_quotes: AtomicBool,
    /// Whether the end was reached.
    ended: AtomicBool,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.watch.budget.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other(format!(
                "a row is longer than {ROW_BYTES} bytes; is a quote missing?"
            )));
        }
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.watch.budget.fetch_sub(read as u64, Ordering::Relaxed);
        let odd = buffer[..read]
            .iter()
            .fold(false, |odd, &byte| odd ^ (byte == b'"'));
        self.watch.odd_quotes.fetch_xor(odd, Ordering::Relaxed);
        self.watch.ended.store(read == 0, Ordering::Relaxed);
        Ok(read)
    }
}

impl Rows {
    /// Reads a CSV file with a header line.
    pub(super) fn csv(inner: Box<dyn Read + Send>, delimiter: u8) -> Result<Self, String> {
        let watch = Arc::new(Watch {
            budget: AtomicU64::new(ROW_BYTES),
            odd_quotes: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            // Lines end with \n, and a \r before it is cut off below: with the reader's own
            // handling of \r\n a row would seem to begin on the line before.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Bounded {
                inner,
                watch: Arc::clone(&watch),
            });
        let header = reader
            .headers()
            .map_err(|error| format!("line 1: {error}"))?;
        let columns: Vec<Arc<str>> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().into())
            .collect();
        for (position, column) in columns.iter().enumerate() {
            if column.is_empty() {
                return Err(format!("line 1: column {} has no name", position + 1));
            }
            if columns[..position].contains(column) {
                return Err(format!("line 1: there are two columns {column:?}"));
            }
        }
        if columns.is_empty() {
            return Err(
                "the file is empty: expected a header line with the names of the columns".into(),
            );
        }
        Ok(Self::Csv {
            reader: Box::new(reader),
            columns,
            watch,
            record: csv::StringRecord::new(),
        })
    }

    /// Reads one JSON object a line.
    pub(super) fn ndjson(inner: Box<dyn Read + Send>) -> Self {
        Self::Ndjson {
            reader: BufReader::new(inner),
            line: 0,
            ended: false,
        }
    }

    /// The columns, where the file has a header.
    pub(super) fn columns(&self) -> Option<&[Arc<str>]> {
        match self {
            Self::Csv { columns, .. } => Some(columns),
            Self::Ndjson { .. } => None,
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Csv {
                reader,
                columns,
                watch,
                record,
            } => next_csv(reader, columns, watch, record),
            Self::Ndjson {
                reader,
                line,
                ended,
            } => next_ndjson(reader, line, ended),
        }
    }
}

fn next_csv(
    reader: &mut csv::Reader<Bounded>,
    columns: &[Arc<str>],
    watch: &Watch,
    record: &mut csv::StringRecord,
) -> Option<Result<Row, BadRow>> {
    let line = reader.position().line();
    let read = loop {
        watch.budget.store(ROW_BYTES, Ordering::Relaxed);
        let read = reader.read_record(record);
        let is_blank = matches!(read, Ok(true)) && record.len() == 1 && record.get(0) == Some("\r");
        if !is_blank {
            break read;
        }
    };
    match read {
        Ok(false) => return None,
        Ok(true) => {}
        Err(error) => {
            let last = matches!(error.kind(), csv::ErrorKind::Io(_));
            let reason = if let csv::ErrorKind::Utf8 { err, .. } = error.kind() {
                format!("field {} is no UTF-8", err.field() + 1)
            } else if let csv::ErrorKind::Io(error) = error.kind() {
                error.to_string()
            } else {
                error.to_string()
            };
            let line = error.position().map_or(line, csv::Position::line);
            return Some(Err(BadRow { line, reason, last }));
        }
    }
    let line = record.position().map_or(line, csv::Position::line);
    // The reader takes a quote that is never closed for one at the end of the file: all rows behind
    // it would be lost in a cell.
    let is_open = watch.ended.load(Ordering::Relaxed) && watch.odd_quotes.load(Ordering::Relaxed);
    if is_open && record.iter().any(|cell| cell.contains('\n')) {
        return Some(Err(BadRow {
            line,
            reason: "a quote is opened and never closed".into(),
            last: true,
        }));
    }
    let lines = reader.position().line().saturating_sub(line).max(1);
    if record.len() != columns.len() {
        let reason = format!(
            "has {} fields, the header has {}{}",
            record.len(),
            columns.len(),
            about_lines(lines)
        );
        return Some(Err(BadRow {
            line,
            reason,
            last: false,
        }));
    }
    let last = columns.len() - 1;
    let texts = record.iter().enumerate().map(|(position, text)| {
        if position == last {
            text.strip_suffix('\r').unwrap_or(text)
        } else {
            text
        }
    });
    let cells = columns
        .iter()
        .zip(texts)
        .filter(|(_, text)| !text.is_empty());
    let cells = cells.map(|(column, text)| (Arc::clone(column), Cell::Text(text.to_owned())));
    Some(Ok(Row {
        line,
        lines,
        cells: cells.collect(),
    }))
}

/// What to say of a bad row that takes several lines: it may have swallowed good ones.
pub(super) fn about_lines(lines: u64) -> String {
    if lines > 1 {
        format!("; the row takes {lines} lines: is a quote missing?")
    } else {
        String::new()
    }
}

fn next_ndjson(
    reader: &mut BufReader<Box<dyn Read + Send>>,
    line: &mut u64,
    ended: &mut bool,
) -> Option<Result<Row, BadRow>> {
    loop {
        if *ended {
            return None;
        }
        *line += 1;
        let mut bytes = Vec::new();
        let read = reader
            .by_ref()
            .take(ROW_BYTES)
            .read_until(b'\n', &mut bytes);
        let bad = |reason: String, last| {
            Some(Err(BadRow {
                line: *line,
                reason,
                last,
            }))
        };
        match read {
            Err(error) => {
                *ended = true;
                return bad(error.to_string(), true);
            }
            Ok(0) => return None,
            Ok(_) if !bytes.ends_with(b"\n") && bytes.len() as u64 == ROW_BYTES => {
                *ended = true;
                return bad(format!("is longer than {ROW_BYTES} bytes"), true);
            }
            Ok(_) => {}
        }
        let text = bytes.trim_ascii();
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        if text.is_empty() {
            continue;
        }
        return match serde_json::from_slice::<Json>(text) {
            Ok(Json::Object(object)) => Some(Ok(Row {
                line: *line,
                lines: 1,
                cells: object
                    .into_iter()
                    .map(|(name, json)| (name.into(), Cell::Json(json)))
                    .collect(),
            })),
            Ok(_) => bad("is no JSON object".into(), false),
            Err(error) => bad(format!("is no JSON: {error}"), false),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(text: &'static str) -> Box<dyn Read + Send> {
        Box::new(text.as_bytes())
    }

    fn shown(rows: Rows) -> Vec<String> {
        rows.map(|row| match row {
            Ok(row) => {
                let cells = row.cells.iter().map(|(column, cell)| match cell {
                    Cell::Text(text) => format!("{column}={text}"),
                    Cell::Json(json) => format!("{column}={json}"),
                });
                format!("{}: {}", row.line, cells.collect::<Vec<_>>().join(" "))
            }
            Err(bad) => format!("{}: bad: {}", bad.line, bad.reason),
        })
        .collect()
    }

    #[test]
    fn csv_rows_have_their_lines_and_bad_ones_do_not_end_the_file() {
        let text = "\u{feff}id,name\r\nu1,\"a\nb\"\r\nu2,\r\nu3\r\nu4,x,y\nu5,\"say \"\"hi\"\"\"\n";
        let rows = shown(Rows::csv(boxed(text), b',').unwrap());
        assert_eq!(
            rows,
            [
                "2: id=u1 name=a\nb",
                "4: id=u2",
                "5: bad: has 1 fields, the header has 2",
                "6: bad: has 3 fields, the header has 2",
                "7: id=u5 name=say \"hi\"",
            ]
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_rows() {
        let text = "id,a\nu1,1\nu2,\"x\nu3,3\nu4,4\n";
        let rows = shown(Rows::csv(boxed(text), b',').unwrap());
        assert_eq!(
            rows,
            ["2: id=u1 a=1", "3: bad: a quote is opened and never closed"]
        );
        // An inch is no open quote.
        let text = "id,a\nu1,5\" pipe\nu2,\"a\nb\"\n";
        let rows = shown(Rows::csv(boxed(text), b',').unwrap());
        assert_eq!(rows.len(), 2, "{rows:?}");
    }

    #[test]
    fn headers_are_checked() {
        assert!(Rows::csv(boxed(""), b',').is_err());
        assert!(Rows::csv(boxed("id,,x\n"), b',').is_err());
        assert!(Rows::csv(boxed("id,x,x\n"), b',').is_err());
    }

    #[test]
    fn a_row_without_end_is_bounded() {
        let endless = Box::new(b"id\n\"".chain(io::repeat(b'x')));
        let rows: Vec<_> = Rows::csv(endless, b',').unwrap().collect();
        assert!(matches!(&rows[..], [Err(bad)] if bad.last), "{rows:?}");
        let endless: Box<dyn Read + Send> = Box::new(io::repeat(b'x'));
        let rows: Vec<_> = Rows::ndjson(endless).collect();
        assert!(matches!(&rows[..], [Err(bad)] if bad.last), "{rows:?}");
    }

    #[test]
    fn ndjson_rows_have_their_lines() {
        let text = "{\"id\": \"u1\", \"n\": 1}\n\n[1]\n{\"id\n{\"id\": \"u2\", \"tags\": [\"a\"]}";
        let rows = shown(Rows::ndjson(boxed(text)));
        assert_eq!(rows[0], "1: id=\"u1\" n=1");
        assert_eq!(rows[1], "3: bad: is no JSON object");
        assert!(rows[2].starts_with("4: bad: is no JSON"), "{}", rows[2]);
        assert_eq!(rows[3], "5: id=\"u2\" tags=[\"a\"]");
        assert_eq!(rows.len(), 4);
    }
}
