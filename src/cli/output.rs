//! All that is printed: tables for people, JSON for programs. The only file that prints.
//!
//! Invariant: an answer that could not be printed is an error of the command; it is never lost
//! without a word. A pipe that was closed, as by `head`, ends the command quietly.

use std::io::{ErrorKind, IsTerminal, Write};

use serde_json::Value;

use super::error::CliError;

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned text for people.
    Table,
    /// One JSON document for programs; one line per user for `members`, and per message for `watch`.
    Json,
}

/// Where a command's answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints text or JSON, whichever was asked for.
    pub(super) fn answer(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<(), CliError> {
        if self.is_json() {
            line(&format!("{:#}", json()))
        } else {
            line(&text())
        }
    }
}

/// Prints a line to standard output.
pub(super) fn line(line: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                CliError::Unread
            } else {
                CliError::Other(format!("can't write to standard output: {error}"))
            }
        })
}

/// Prints a line for people to standard error. If nobody can read it there is nobody to tell.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints an error to standard error.
pub(super) fn error(error: &CliError) {
    if colour() {
        note(&format!("\u{1b}[1;31merror:\u{1b}[0m {error}"));
    } else {
        note(&format!("error: {error}"));
    }
}

/// Whether a progress bar would be seen.
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

fn colour() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A table with aligned columns; numbers are those that begin on the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; those that begin with `>` are aligned to the right.
    pub(super) fn new(headings: &[&str]) -> Self {
        let right = headings
            .iter()
            .map(|heading| heading.starts_with('>'))
            .collect();
        let headings = headings
            .iter()
            .map(|heading| heading.trim_start_matches('>').to_owned());
        Self {
            rows: vec![headings.collect()],
            right,
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(super) fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.right.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut lines = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if *right {
                    (gap.as_str(), "")
                } else {
                    ("", gap.as_str())
                };
                if !line.is_empty() {
                    line.push_str("  ");
                }
                line.push_str(before);
                line.push_str(cell);
                line.push_str(after);
            }
            lines.push(line.trim_end().to_owned());
        }
        lines.join("\n")
    }
}

/// A text without control characters, which could command the terminal.
pub(super) fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    } else {
        text.to_owned()
    }
}

/// A number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things: `1 user`, `7,043 users`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// A part of a whole in per cent, with one decimal.
pub(super) fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let percent = if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    };
    format!("{percent:.1} %")
}

/// A bar of at most `width` characters for a part of a whole.
pub(super) fn bar(part: u64, whole: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part * width as u64 * 8).checked_div(whole).unwrap_or(0);
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX);
    let eighths = eighths.min(width * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// How dark a part of the largest is: a blank for nothing.
pub(super) fn shade(part: u64, most: u64) -> char {
    const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
    let quarter = part.saturating_mul(4).div_ceil(most.max(1));
    let place = usize::try_from(quarter).unwrap_or(usize::MAX);
    place
        .checked_sub(1)
        .map_or(' ', |place| SHADES[place.min(3)])
}

/// A line with a bar for each count; a dot where there is nothing.
pub(super) fn bars(counts: &[u64]) -> String {
    const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0);
    let bar = |count: u64| {
        let eighth = (count.saturating_mul(8)).div_ceil(most.max(1));
        let place = usize::try_from(eighth).unwrap_or(usize::MAX);
        match place.checked_sub(1) {
            None => '·',
            Some(place) => EIGHTHS[place.min(7)],
        }
    };
    counts.iter().map(|count| bar(*count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let mut table = Table::new(&["value", ">users"]);
        table.row(["a".into(), "7,043".into()]);
        table.row(["Größe\n".into(), "1".into()]);
        assert_eq!(
            table.render(),
            "value   users\na       7,043\nGröße\u{fffd}      1"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(counted(1, "user"), "1 user");
        assert_eq!(counted(2_000, "user"), "2,000 users");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(1, 0), "0.0 %");
        assert_eq!(bar(1, 2, 4), "██");
        assert_eq!(bar(5, 8, 1), "▋");
        assert_eq!(bar(1, 0, 4), "");
        assert_eq!(bars(&[0, 1, 4, 8]), "·▁▄█");
        assert_eq!(bars(&[0, 0]), "··");
        assert_eq!(
            [0, 1, 2, 3, 8].map(|part| shade(part, 8)),
            [' ', '░', '░', '▒', '█']
        );
    }
}
