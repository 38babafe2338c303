//! The flags and environment variables of `serve`, made from the table of settings.
//!
//! The parser of the command line takes them as texts: what they mean is read where the file is
//! read, so that errors are the same wherever a value comes from.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches, value_parser};

use super::super::error::CliError;
use super::file;
use super::in_force::{Given, InForce, Source};
use super::setting::{Kind, Setting};
use super::table::{SECTIONS, SETTINGS};

const CONFIG: &str = "config";
/// The environment variable that names the file.
pub(super) const CONFIG_VARIABLE: &str = "HEADCOUNT_CONFIG";

/// What the command line and the environment say about the settings.
#[derive(Debug)]
pub(in crate::cli) struct ServeArgs {
    file: Option<PathBuf>,
    given: Vec<Given>,
}

impl ServeArgs {
    /// Reads the file, if one is named, and finds what is in force.
    pub(in crate::cli) fn in_force(&self) -> Result<InForce, CliError> {
        match &self.file {
            Some(path) => InForce::new(Some((path, &file::read(path)?)), &self.given),
            None => InForce::new(None, &self.given),
        }
    }
}

impl clap::Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .env(CONFIG_VARIABLE)
            .hide_env_values(true)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read settings from this file; none is read if none is named");
        let command = command.arg(config);
        SECTIONS.iter().fold(command, |command, section| {
            let settings = SETTINGS.iter().filter(|s| s.section == section.name);
            command.args(settings.map(|setting| flag(setting).help_heading(section.about)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().filter_map(|setting| {
            let text = matches.get_one::<OsString>(setting.flag)?;
            let of_variable = matches.value_source(setting.flag) == Some(ValueSource::EnvVariable);
            let source = if of_variable {
                Source::Variable
            } else {
                Source::Flag
            };
            Some(Given {
                setting,
                text: text.clone(),
                source,
            })
        });
        Ok(Self {
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            given: given.collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let about = setting.help.trim_end_matches('.');
    let mut notes = Vec::new();
    match &setting.kind {
        Kind::Number { .. } | Kind::Span { .. } => {
            notes.push(format!("[allowed: {}]", setting.kind.allowed()));
        }
        // What it has to be is in the sentence.
        Kind::Switch { .. } | Kind::File { .. } | Kind::Text { .. } => {}
    }
    notes.push(format!("[env: {}]", setting.variable));
    let default = setting.kind.default().text();
    if !default.is_empty() {
        notes.push(format!("[default: {default}]"));
    }
    // The default is none to the parser of the command line: the file goes before it.
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .env(setting.variable)
        .hide_env(true)
        .value_name(setting.kind.word())
        .value_parser(value_parser!(OsString))
        .help(format!("{about} {}", notes.join(" ")))
        .long_help(format!("{about}\n\n{}", notes.join("\n")));
    match &setting.kind {
        // Alone, the flag says that it is so.
        Kind::Switch { .. } => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Number { .. } | Kind::Span { .. } | Kind::File { .. } | Kind::Text { .. } => arg,
    }
}
