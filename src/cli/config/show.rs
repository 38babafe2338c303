//! The settings as people and programs read them: those in force, and an example of a file.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::super::output::{Table, printable};
use super::environment::Unknown;
use super::in_force::{InForce, Line, Source};
use super::setting::{Kind, Place, Setting};
use super::table::{SECTIONS, SETTINGS};

/// Characters of a line of the example.
const WIDTH: usize = 100;

/// The settings in force as a table.
pub(super) fn table(in_force: &InForce) -> String {
    let mut table = Table::new(&["setting", "value", "from"]);
    for line in &in_force.lines {
        let from = from(in_force, line);
        table.row([line.setting.name(), line.value.text(), from]);
    }
    let read = match &in_force.file {
        Some(file) => format!("read {}", printable(&file.display().to_string())),
        None => "no file was read: none was named".into(),
    };
    format!("{read}\n\n{}", table.render())
}

/// A sentence for each setting of which something was said.
pub(in crate::cli) fn changed(in_force: &InForce) -> Vec<String> {
    let lines = in_force.lines.iter();
    lines
        .filter(|line| line.source != Source::Default)
        .map(|line| {
            let value = printable(&line.value.text());
            let from = from(in_force, line);
            format!("{} is {value}, from {from}", line.setting.name())
        })
        .collect()
}

/// Where a value comes from, in a word.
fn from(in_force: &InForce, line: &Line) -> String {
    match (line.source, &in_force.file) {
        (Source::File(number), Some(file)) => {
            format!("{}:{number}", printable(&file.display().to_string()))
        }
        (Source::File(_) | Source::Default, _) => "default".into(),
        (Source::Variable, _) => line.setting.variable.into(),
        (Source::Flag, _) => format!("--{}", line.setting.flag),
    }
}

/// The same for programs.
pub(super) fn json(in_force: &InForce, unknown: &[Unknown]) -> Json {
    let file = in_force.file.as_ref();
    let file = file.map(|file| file.display().to_string());
    let settings = in_force.lines.iter().map(|line| {
        let mut object = Map::new();
        let mut set = |key: &str, value: Json| object.insert(key.into(), value);
        set("setting", line.setting.name().into());
        set("value", line.value.json());
        match line.source {
            Source::Default => {
                set("from", "default".into());
            }
            Source::File(number) => {
                set("from", "file".into());
                set("line", number.into());
            }
            Source::Variable => {
                set("from", "environment".into());
                set("variable", line.setting.variable.into());
            }
            Source::Flag => {
                set("from", "flag".into());
                set("flag", format!("--{}", line.setting.flag).into());
            }
        }
        Json::Object(object)
    });
    let settings: Vec<Json> = settings.collect();
    let unknown: Vec<&str> = unknown.iter().map(|u| u.name.as_str()).collect();
    json!({ "file": file, "settings": settings, "unknown_variables": unknown })
}

/// A file with all settings at their defaults.
pub(super) fn example() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "The settings of `headcount serve`, all at their defaults: leave out what is to stay so. A \
         flag goes before an environment variable, and that before this file. `headcount config` \
         shows what is in force, and where it comes from. Paths are relative to the folder that the \
         service is started in.",
    );
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, &format!("{}.", section.about));
        let _ = writeln!(text, "[{}]", section.name);
        for setting in SETTINGS.iter().filter(|s| s.section == section.name) {
            text.push('\n');
            comment(&mut text, &about(setting));
            let expected = setting.kind.expected(Place::File);
            comment(&mut text, &format!("Expected: {expected}."));
            comment(
                &mut text,
                &format!("Also: --{}, {}", setting.flag, setting.variable),
            );
            let default = setting.kind.default().toml();
            let _ = writeln!(text, "{} = {default}", setting.key);
        }
    }
    text
}

/// What a setting is, with the name that errors know it by if that is another.
pub(super) fn about(setting: &Setting) -> String {
    match &setting.kind {
        Kind::Number {
            limit: Some(limit), ..
        } if *limit != setting.key => format!("{} Errors call it {limit}.", setting.help),
        Kind::Number { .. }
        | Kind::Span { .. }
        | Kind::Switch { .. }
        | Kind::File { .. }
        | Kind::Text { .. } => setting.help.into(),
    }
}

/// Adds a comment, in lines that are not too long.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = "#".into();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
