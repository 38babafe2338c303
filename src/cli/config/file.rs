//! The file of settings: which values it has, on which lines, and what in it is none.

use std::fmt::Write as _;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::CliError;
use super::super::output::printable;
use super::setting::{Kind, Setting, shown};
use super::table::{SECTIONS, SETTINGS};
use crate::model::distance;

/// The largest file that is read: ten times one with all settings.
const FILE_BYTES: u64 = 64 << 10;

/// A value of a setting in the file.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) setting: &'static Setting,
    pub(super) value: Spanned<DeValue<'a>>,
    pub(super) line: usize,
}

/// What is wrong in the file, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The text of a file.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of the operator's, not of the data folder"
)]
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let fault = |fault: String| CliError::Input(format!("{}: {fault}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(fault(format!(
            "is larger than {FILE_BYTES} bytes; is it a file of settings?"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.utf8_error().valid_up_to();
        let line = line_at(error.as_bytes(), before);
        CliError::Input(format!("{}:{line}: is no UTF-8 text", path.display()))
    })
}

/// The values of settings in a text, and what in it is wrong.
pub(super) fn entries(text: &str) -> (Vec<Entry<'_>>, Vec<Mistake>) {
    let line = |span: Range<usize>| line_at(text.as_bytes(), span.start);
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    let sections = match DeTable::parse(text) {
        Ok(sections) => sections.into_inner(),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            let mut message = printable(&error.message().replace('\n', "; "));
            if is_bare_text(text, span.start) {
                message.push_str(": a text stands in quotes");
            }
            let line = line(span);
            return (
                entries,
                vec![Mistake {
                    line,
                    text: message,
                }],
            );
        }
    };
    for (name, section) in sections {
        let at = line(name.span());
        let mut wrong = |line, text| mistakes.push(Mistake { line, text });
        let known = SECTIONS.iter().any(|known| known.name == name.get_ref());
        match section.into_inner() {
            DeValue::Table(keys) if known => {
                for (key, value) in keys {
                    let line = line(key.span());
                    let mut of_section = SETTINGS.iter().filter(|s| s.section == name.get_ref());
                    match of_section.find(|setting| setting.key == key.get_ref()) {
                        Some(setting) => entries.push(Entry {
                            setting,
                            value,
                            line,
                        }),
                        None => wrong(line, unknown_key(Some(name.get_ref()), key.get_ref())),
                    }
                }
            }
            DeValue::Table(_) => wrong(at, unknown_section(name.get_ref())),
            _ if known => wrong(
                at,
                format!(
                    "{0} is a section: write [{0}] and its keys below",
                    name.get_ref()
                ),
            ),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => wrong(at, unknown_key(None, name.get_ref())),
        }
    }
    (entries, mistakes)
}

/// A value as it is written, with what it is.
pub(super) fn written(text: &str, value: &Spanned<DeValue<'_>>) -> String {
    let source = text.get(value.span()).unwrap_or_default();
    let what = match value.get_ref() {
        DeValue::String(text) => return format!("the text {}", shown(text)),
        DeValue::Integer(_) => "the whole number",
        DeValue::Float(_) => "the number",
        DeValue::Boolean(_) => "the truth value",
        DeValue::Datetime(_) => "the time",
        DeValue::Array(_) => return "a list".into(),
        DeValue::Table(_) => return "a section".into(),
    };
    format!("{what} {}", printable(source))
}

/// Whether a place is in a value that may be a text without its quotes.
fn is_bare_text(text: &str, place: usize) -> bool {
    let before = text.get(..place).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next());
    let value = line.and_then(|line| line.split_once('='));
    value.is_some_and(|(key, value)| {
        start + key.len() < place && !value.trim_start().starts_with(['"', '\'', '[', '{'])
    })
}

/// The line of a place, from 1.
fn line_at(text: &[u8], place: usize) -> usize {
    let before = text.get(..place).unwrap_or(text);
    before.split(|byte| *byte == b'\n').count()
}

fn unknown_section(given: &str) -> String {
    let mut text = format!("there is no section {}", shown(given));
    let names = SECTIONS.iter().map(|section| (section.name, section.name));
    if let Some(name) = nearest(given, names) {
        let _ = write!(text, "; did you mean [{name}]?");
    } else {
        let names: Vec<_> = SECTIONS.iter().map(|s| format!("[{}]", s.name)).collect();
        let _ = write!(text, "; there are {}", names.join(", "));
    }
    text
}

/// An unknown key of a section, or of none.
fn unknown_key(section: Option<&str>, given: &str) -> String {
    let place = match section {
        Some(section) => format!("in [{section}]"),
        None => "before the first section".into(),
    };
    let mut text = format!("there is no key {} {place}", shown(given));
    let here = SETTINGS.iter().filter(|s| Some(s.section) == section);
    // A key of another section, as it is; else the nearest of this section; else of any.
    let named = SETTINGS.iter().flat_map(names).find(|(n, _)| *n == given);
    let found = named
        .map(|(_, setting)| setting)
        .or_else(|| nearest(given, here.flat_map(names)))
        .or_else(|| nearest(given, SETTINGS.iter().flat_map(names)));
    match found {
        Some(setting) if Some(setting.section) == section => {
            let _ = write!(text, "; did you mean {}?", setting.key);
        }
        Some(setting) => {
            let _ = write!(
                text,
                "; did you mean {} in [{}]?",
                setting.key, setting.section
            );
        }
        None => text.push_str("; `headcount config --example` prints all"),
    }
    text
}

/// What people may call a setting: its key, its flag, the limit that an error names.
fn names(setting: &'static Setting) -> impl Iterator<Item = (&'static str, &'static Setting)> {
    let limit = match &setting.kind {
        Kind::Number { limit, .. } => *limit,
        Kind::Span { .. } | Kind::Switch { .. } | Kind::File { .. } | Kind::Text { .. } => None,
    };
    [Some(setting.key), Some(setting.flag), limit]
        .into_iter()
        .flatten()
        .map(move |name| (name, setting))
}

/// What has the name nearest to a misspelt one, if one is near: a third of its letters may be
/// wrong.
pub(super) fn nearest<T>(given: &str, names: impl Iterator<Item = (&'static str, T)>) -> Option<T> {
    let given = given.to_lowercase();
    names
        .map(|(name, what)| {
            let wrong = distance(given.as_bytes(), name.to_lowercase().as_bytes());
            (wrong, name.len(), what)
        })
        .filter(|(wrong, length, _)| wrong * 3 <= *length)
        .min_by_key(|(wrong, _, _)| *wrong)
        .map(|(_, _, what)| what)
}
