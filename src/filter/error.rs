//! What is wrong with a filter text, where, and the way out.
//!
//! Invariant: an error has a place in the text (line and column in characters, from 1) and quotes
//! no more than a few words of it.

use crate::model::{LimitExceeded, Reason};

/// Why a filter text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text does not follow the grammar.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The text, or something in it, is larger than allowed.
    #[error("line {line}, column {column}: {exceeded}")]
    Limit {
        /// The line, from 1, where the limit is passed.
        line: u32,
        /// The column in characters, from 1.
        column: u32,
        /// The limit, and what was given.
        exceeded: LimitExceeded,
    },
}

/// A filter text does not follow the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected {expected}, found {found}{}", help_part(help.as_deref()))]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The same place in bytes from the start of the text, from 0.
    pub offset: usize,
    /// What would have been right.
    pub expected: String,
    /// What is there instead.
    pub found: String,
    /// The way out, where one is known.
    pub help: Option<String>,
}

fn help_part(help: Option<&str>) -> String {
    help.map_or_else(String::new, |help| format!("; {help}"))
}

impl FilterError {
    /// The stable cause.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Syntax(_) => Reason::FilterSyntax,
            Self::Limit { .. } => Reason::RequestLimitExceeded,
        }
    }

    /// The line, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        match self {
            Self::Syntax(error) => error.line,
            Self::Limit { line, .. } => *line,
        }
    }

    /// The column in characters, from 1.
    #[must_use]
    pub const fn column(&self) -> u32 {
        match self {
            Self::Syntax(error) => error.column,
            Self::Limit { column, .. } => *column,
        }
    }
}

impl SyntaxError {
    /// Two lines for a terminal: the line of the text, and a caret below the place.
    #[must_use]
    pub fn render(&self, text: &str) -> String {
        caret(text, self.line, self.column)
    }
}

/// Shows a place in a text as two lines: the line itself, cut to a window if it is long, and a
/// caret below the place. Line and column count from 1, the column in characters.
#[must_use]
pub fn caret(text: &str, line: u32, column: u32) -> String {
    /// How many characters are shown on either side of the place.
    const WINDOW: usize = 60;

    let index =
        |from_one: u32| usize::try_from(from_one).map_or(usize::MAX, |n| n.saturating_sub(1));
    let line = text.split('\n').nth(index(line)).unwrap_or_default();
    let column = index(column).min(line.chars().count());
    let start = column.saturating_sub(WINDOW);

    let mut shown = String::from(if start > 0 { "..." } else { "" });
    let before = shown.len() + column - start;
    let end = column.saturating_add(WINDOW);
    for character in line.chars().skip(start).take(end - start) {
        // Each character takes one place, so that the caret stays below its own.
        shown.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    if line.chars().nth(end).is_some() {
        shown.push_str("...");
    }
    format!("{}\n{}^", shown.trim_end(), " ".repeat(before))
}

/// A mistake at a place that is not yet turned into line and column.
#[derive(Debug)]
pub(super) struct Fault {
    offset: usize,
    mistake: Mistake,
}

#[derive(Debug)]
enum Mistake {
    Syntax {
        expected: String,
        found: String,
        help: Option<String>,
    },
    Limit(LimitExceeded),
}

impl Fault {
    pub(super) fn new(
        offset: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            offset,
            mistake: Mistake::Syntax {
                expected: expected.into(),
                found: found.into(),
                help: None,
            },
        }
    }

    pub(super) const fn limit(offset: usize, exceeded: LimitExceeded) -> Self {
        Self {
            offset,
            mistake: Mistake::Limit(exceeded),
        }
    }

    /// Adds the way out.
    pub(super) fn help(mut self, way_out: impl Into<String>) -> Self {
        if let Mistake::Syntax { help, .. } = &mut self.mistake {
            *help = Some(way_out.into());
        }
        self
    }

    /// Adds the way out, if one is known.
    pub(super) fn maybe_help(self, way_out: Option<String>) -> Self {
        match way_out {
            Some(way_out) => self.help(way_out),
            None => self,
        }
    }

    /// Turns the offset into line and column.
    pub(super) fn located(self, text: &str) -> FilterError {
        let offset = self.offset;
        let before = text.get(..offset).unwrap_or(text);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line = count(before.matches('\n').count() + 1);
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let column = count(last_line.chars().count() + 1);
        match self.mistake {
            Mistake::Syntax {
                expected,
                found,
                help,
            } => FilterError::Syntax(SyntaxError {
                line,
                column,
                offset,
                expected,
                found,
                help,
            }),
            Mistake::Limit(exceeded) => FilterError::Limit {
                line,
                column,
                exceeded,
            },
        }
    }
}
