//! Which of the values of a setting is in force, and where it comes from.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::super::error::CliError;
use super::super::output::printable;
use super::file::{self, Mistake};
use super::setting::{Place, Setting, Settings, Value, shown};
use super::table::SETTINGS;
use crate::engine::EngineOptions;
use crate::server::ServerConfig;
use crate::server::telemetry::LogFormat;

/// Mistakes that are told at once.
const MISTAKES: usize = 20;

/// What a flag or an environment variable says.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) text: OsString,
    pub(super) source: Source,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nothing was said.
    Default,
    /// The file, on this line.
    File(usize),
    /// The environment variable of the setting.
    Variable,
    /// The flag of the setting.
    Flag,
}

/// The value of a setting.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// All settings as they are in force.
#[derive(Debug)]
pub(in crate::cli) struct InForce {
    pub(in crate::cli) settings: Settings,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// In the order of the table.
    pub(super) lines: Vec<Line>,
}

impl InForce {
    /// Puts together the defaults, a file with its text, and what else was said.
    pub(super) fn new(file: Option<(&Path, &str)>, given: &[Given]) -> Result<Self, CliError> {
        let mut mistakes = Vec::new();
        let mut in_force = Self {
            settings: nothing_said(),
            file: file.map(|(path, _)| path.into()),
            lines: Vec::with_capacity(SETTINGS.len()),
        };
        for setting in SETTINGS {
            let value = setting.kind.default();
            if setting.kind.put(&mut in_force.settings, &value).is_none() {
                mistakes.push(format!("the default of {} is not allowed", setting.name()));
            }
            in_force.lines.push(Line {
                setting,
                value,
                source: Source::Default,
            });
        }
        if let Some((path, text)) = file {
            let path = printable(&path.display().to_string());
            for Mistake { line, text } in in_force.take_file(text) {
                mistakes.push(format!("{path}:{line}: {text}"));
            }
        }
        for variables in [true, false] {
            let of_kind = |given: &&Given| (given.source == Source::Variable) == variables;
            for given in given.iter().filter(of_kind) {
                mistakes.extend(in_force.take(given));
            }
        }
        match mistakes.as_slice() {
            [] => Ok(in_force),
            [mistake] => Err(CliError::Input(mistake.clone())),
            _ => Err(CliError::Input(listed(&mistakes))),
        }
    }

    fn take_file(&mut self, text: &str) -> Vec<Mistake> {
        let (entries, mut mistakes) = file::entries(text);
        for entry in entries {
            let kind = &entry.setting.kind;
            let value = kind.of_file(entry.value.get_ref()).filter(|value| {
                // All of the file is judged, also what a flag goes before.
                kind.put(&mut self.settings, value).is_some()
            });
            match value {
                Some(value) => self.note(entry.setting, value, Source::File(entry.line)),
                None => mistakes.push(Mistake {
                    line: entry.line,
                    text: format!(
                        "{} is {}: expected {}",
                        entry.setting.name(),
                        file::written(text, &entry.value),
                        kind.expected(Place::File)
                    ),
                }),
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Takes what a flag or a variable says, or says what is wrong with it.
    fn take(&mut self, given: &Given) -> Option<String> {
        let setting = given.setting;
        let value = setting.kind.of_text(&given.text);
        let value = value.filter(|value| setting.kind.put(&mut self.settings, value).is_some());
        if let Some(value) = value {
            self.note(setting, value, given.source);
            return None;
        }
        let place = match given.source {
            Source::Variable => setting.variable.to_owned(),
            Source::Flag | Source::File(_) | Source::Default => format!("--{}", setting.flag),
        };
        Some(format!(
            "{place} is {}: expected {}",
            shown(&given.text.to_string_lossy()),
            setting.kind.expected(Place::Command)
        ))
    }

    fn note(&mut self, setting: &'static Setting, value: Value, source: Source) {
        let mut lines = self.lines.iter_mut();
        if let Some(line) = lines.find(|line| std::ptr::eq(line.setting, setting)) {
            line.value = value;
            line.source = source;
        }
    }
}

/// Something for the defaults to be put into.
fn nothing_said() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: None,
        admin_insecure: false,
        engine: EngineOptions::new(PathBuf::new()),
        server: ServerConfig::default(),
        log_levels: String::new(),
        log_format: LogFormat::Text,
    }
}

fn listed(mistakes: &[String]) -> String {
    let mut text = format!("{} settings can't be used:", mistakes.len());
    for mistake in mistakes.iter().take(MISTAKES) {
        text.push_str("\n  ");
        text.push_str(mistake);
    }
    if let Some(more) = mistakes
        .len()
        .checked_sub(MISTAKES)
        .filter(|more| *more > 0)
    {
        let _ = write!(text, "\n  and {more} more");
    }
    text
}
