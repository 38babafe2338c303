//! What a setting is: its names, what it takes, and where it goes.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::super::output::{grouped, printable};
use crate::engine::EngineOptions;
use crate::model::{Limit, Span};
use crate::server::ServerConfig;
use crate::server::telemetry::LogFormat;

/// Characters of a value that an error shows.
const SHOWN: usize = 80;

/// All that `serve` is told.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) listen: SocketAddr,
    /// Nothing, if there is to be no admin port.
    pub(in crate::cli) admin_listen: Option<SocketAddr>,
    pub(in crate::cli) admin_insecure: bool,
    pub(in crate::cli) engine: EngineOptions,
    pub(in crate::cli) server: ServerConfig,
    pub(in crate::cli) log_levels: String,
    pub(in crate::cli) log_format: LogFormat,
}

/// A setting of `serve`.
#[derive(Debug)]
pub(super) struct Setting {
    /// The section of the file that its key is in.
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// The flag, without its dashes.
    pub(super) flag: &'static str,
    /// The environment variable.
    pub(super) variable: &'static str,
    /// What it is, in a sentence or two.
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

impl Setting {
    /// Its name: section and key.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// What a setting takes, what it is where nothing is said, and where it goes.
#[derive(Debug)]
pub(super) enum Kind {
    /// A whole number.
    Number {
        default: u64,
        least: u64,
        most: u64,
        /// What is counted.
        unit: &'static str,
        /// What 0 means, if it is allowed beside the range.
        zero: Option<&'static str>,
        /// The limit that errors name where more is asked for.
        limit: Option<&'static str>,
        put: fn(&mut Settings, u64),
    },
    /// A span of time. Its bounds are in seconds.
    Span {
        default: u32,
        least: u32,
        most: u32,
        /// What 0 means, if it is allowed beside the range.
        zero: Option<&'static str>,
        put: fn(&mut Settings, Duration),
    },
    /// Something that is so or not; not, where nothing is said.
    Switch { put: fn(&mut Settings, bool) },
    /// The path of a file, of which there need be none.
    File {
        put: fn(&mut Settings, Option<PathBuf>),
    },
    /// A text with a meaning.
    Text {
        default: &'static str,
        /// What it stands for, in a word, for the help of a flag.
        word: &'static str,
        /// What is expected.
        expected: &'static str,
        /// Nothing, if it is not what is expected.
        put: fn(&mut Settings, &OsStr) -> Option<()>,
    },
}

impl Kind {
    /// A limit of the store: its default and unit stand where the limit does.
    pub(super) const fn limit(
        limit: Limit,
        least: u64,
        most: u64,
        put: fn(&mut Settings, u64),
    ) -> Self {
        Self::Number {
            default: limit.default,
            least,
            most,
            unit: limit.unit,
            zero: None,
            limit: Some(limit.name),
            put,
        }
    }

    /// A number of bytes.
    pub(super) const fn bytes(
        default: u64,
        least: u64,
        most: u64,
        put: fn(&mut Settings, u64),
    ) -> Self {
        Self::Number {
            default,
            least,
            most,
            unit: "bytes",
            zero: None,
            limit: None,
            put,
        }
    }

    /// The value where nothing else is said.
    pub(super) fn default(&self) -> Value {
        match self {
            Self::Number { default, .. } => Value::Number(*default),
            Self::Span { default, .. } => Value::Span(seconds(*default)),
            Self::Switch { .. } => Value::Switch(false),
            Self::File { .. } => Value::Text(OsString::new()),
            Self::Text { default, .. } => Value::Text((*default).into()),
        }
    }

    /// What is expected, in words; in a file, what is no number stands in quotes.
    pub(super) fn expected(&self, place: Place) -> String {
        let quotes = match place {
            Place::File => ", in quotes",
            Place::Command => "",
        };
        let allowed = self.allowed();
        match self {
            Self::Number { unit, .. } => format!("a whole number of {unit} from {allowed}"),
            Self::Span { .. } => format!("a span of time such as 90s{quotes}, from {allowed}"),
            Self::Switch { .. } => allowed,
            Self::File { .. } if place == Place::Command => "the path of a file".into(),
            Self::File { .. } | Self::Text { .. } => format!("{allowed}{quotes}"),
        }
    }

    /// What is allowed: a range, or what a text has to be.
    pub(super) fn allowed(&self) -> String {
        let (range, zero) = match self {
            Self::Number {
                least, most, zero, ..
            } => (format!("{} to {}", grouped(*least), grouped(*most)), zero),
            Self::Span {
                least, most, zero, ..
            } => (format!("{} to {}", seconds(*least), seconds(*most)), zero),
            Self::Switch { .. } => ("true or false".into(), &None),
            Self::File { .. } => ("the path of a file, or nothing".into(), &None),
            Self::Text { expected, .. } => ((*expected).into(), &None),
        };
        match zero {
            Some(meaning) => format!("{range}, or 0 for {meaning}"),
            None => range,
        }
    }

    /// Reads what a flag or an environment variable says; nothing if it is of another type.
    pub(super) fn of_text(&self, text: &OsStr) -> Option<Value> {
        match self {
            Self::Number { .. } => {
                // No sign, which the parser of numbers would take.
                let digits = text.to_str()?;
                let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
                plain.then(|| digits.parse().ok().map(Value::Number))?
            }
            Self::Span { .. } => span(text.to_str()?),
            Self::Switch { .. } => text.to_str()?.parse().ok().map(Value::Switch),
            // A variable that is empty by mistake must not take away what protects the service.
            Self::File { .. } => (!text.is_empty()).then(|| Value::Text(text.into())),
            Self::Text { .. } => Some(Value::Text(text.into())),
        }
    }

    /// Reads what a file says; nothing if it is of another type.
    pub(super) fn of_file(&self, value: &DeValue<'_>) -> Option<Value> {
        match (self, value) {
            (Self::Number { .. }, DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix());
                number.ok().map(Value::Number)
            }
            // Nothing needs no unit.
            (Self::Span { .. }, DeValue::Integer(number)) if number.as_str() == "0" => {
                Some(Value::Span(Span::ZERO))
            }
            (Self::Span { .. }, DeValue::String(text)) => span(text),
            (Self::Switch { .. }, DeValue::Boolean(is_on)) => Some(Value::Switch(*is_on)),
            (Self::File { .. } | Self::Text { .. }, DeValue::String(text)) => {
                Some(Value::Text(text.as_ref().into()))
            }
            _ => None,
        }
    }

    /// Puts a value where it goes; nothing is changed if it is none that is allowed.
    pub(super) fn put(&self, settings: &mut Settings, value: &Value) -> Option<()> {
        match (self, value) {
            (
                Self::Number {
                    least,
                    most,
                    zero,
                    put,
                    ..
                },
                Value::Number(number),
            ) => {
                let allowed = (*least..=*most).contains(number) || (zero.is_some() && *number == 0);
                allowed.then(|| put(settings, *number))
            }
            (
                Self::Span {
                    least,
                    most,
                    zero,
                    put,
                    ..
                },
                Value::Span(span),
            ) => {
                let allowed = (seconds(*least)..=seconds(*most)).contains(span)
                    || (zero.is_some() && *span == Span::ZERO);
                let micros = u64::try_from(span.micros()).ok()?;
                allowed.then(|| put(settings, Duration::from_micros(micros)))
            }
            (Self::Switch { put }, Value::Switch(is_on)) => {
                put(settings, *is_on);
                Some(())
            }
            (Self::File { put }, Value::Text(path)) => {
                put(settings, (!path.is_empty()).then(|| path.into()));
                Some(())
            }
            (Self::Text { put, .. }, Value::Text(text)) => put(settings, text),
            _ => None,
        }
    }

    /// What stands for the value in the help of a flag.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Number { .. } => "NUMBER",
            Self::Span { .. } => "SPAN",
            Self::Switch { .. } => "true|false",
            Self::File { .. } => "FILE",
            Self::Text { word, .. } => word,
        }
    }
}

/// Where a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file.
    File,
    /// In a flag or an environment variable.
    Command,
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Span(Span),
    Switch(bool),
    Text(OsString),
}

impl Value {
    /// The text that a flag takes.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Span(Span::ZERO) => "0s".into(),
            Self::Span(span) => span.to_string(),
            Self::Switch(is_on) => is_on.to_string(),
            Self::Text(text) => text.to_string_lossy().into_owned(),
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Switch(is_on) => (*is_on).into(),
            Self::Span(_) | Self::Text(_) => self.text().into(),
        }
    }

    /// The text that a file takes. No default has a character that would have to be escaped.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Number(number) => grouped(*number).replace(',', "_"),
            Self::Switch(is_on) => is_on.to_string(),
            Self::Span(_) | Self::Text(_) => format!("\"{}\"", self.text()),
        }
    }
}

/// A text as an error shows it: in quotes, on one line, its beginning if it is long.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut beginning: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        beginning.push_str("..");
    }
    format!("\"{}\"", printable(&beginning))
}

fn span(text: &str) -> Option<Value> {
    if text == "0" {
        return Some(Value::Span(Span::ZERO));
    }
    text.parse().ok().map(Value::Span)
}

pub(super) fn seconds(seconds: u32) -> Span {
    Span::from_micros(i64::from(seconds) * 1_000_000).unwrap_or(Span::LONGEST)
}
