//! Scores and groups as people and programs read them.

use serde_json::{Value as Json, json};

use super::{Cell, Report, Score};
use crate::cli::analysis::short_number;
use crate::cli::output::{Table, bar, counted, grouped, percent, shade};

/// Characters of the longest bar.
const BAR: usize = 16;

/// A score with more than so many times the users that it would have if all were equal is worth a
/// word, as is one without any.
const UNEVEN: u64 = 3;
const UNEVEN_OF: u64 = 2;

pub(super) fn text(report: &Report) -> String {
    let mut parts = vec![
        format!("{} as of {}", counted(report.users, "user"), report.as_of),
        scores(report),
        grid(report),
    ];
    if !report.groups.is_empty() {
        parts.push(groups(report));
        parts.push(filters(report));
    }
    parts.join("\n\n")
}

fn scores(report: &Report) -> String {
    let [recency, frequency, monetary] = &report.scores;
    let ago = format!(">{} since", recency.edges.unit_name());
    let mut table = Table::new(&[
        "score",
        &ago,
        ">users",
        ">frequency",
        ">users",
        ">monetary",
        ">users",
    ]);
    for score in (1..=recency.rows.len()).rev() {
        let mut cells = vec![score.to_string()];
        for of in [recency, frequency, monetary] {
            let row = of.rows.get(score - 1);
            cells.push(row.map(|row| row.range.clone()).unwrap_or_default());
            cells.push(row.map(|row| grouped(row.users)).unwrap_or_default());
        }
        table.row(cells);
    }
    table.render()
}

/// Recency down, frequency across.
fn grid(report: &Report) -> String {
    let scores = report.scores[0].rows.len();
    let most = report
        .cells
        .iter()
        .map(|cell| cell.users)
        .max()
        .unwrap_or(0);
    let headings = (1..=scores).map(|score| format!(">frequency {score}"));
    let headings: Vec<String> = ["recency".into()].into_iter().chain(headings).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for row in report.cells.chunks(scores) {
        let score = row.first().map_or(0, |cell| cell.recency).to_string();
        let cell = |cell: &Cell| {
            let share = percent(cell.users, report.users);
            format!(
                "{} {share:>6} {}",
                grouped(cell.users),
                shade(cell.users, most)
            )
        };
        table.row([score].into_iter().chain(row.iter().map(cell)));
    }
    table.render()
}

fn groups(report: &Report) -> String {
    let most = report.groups.iter().map(|group| group.users).max();
    let mut table = Table::new(&["group", ">users", ">share", ">average", ""]);
    for group in &report.groups {
        table.row([
            group.name.into(),
            grouped(group.users),
            percent(group.users, report.users),
            group.mean.map(short_number).unwrap_or_default(),
            bar(group.users, most.unwrap_or(0), BAR),
        ]);
    }
    table.render()
}

fn filters(report: &Report) -> String {
    let mut table = Table::new(&["group", "filter"]);
    for group in &report.groups {
        table.row([group.name.into(), group.filter.clone()]);
    }
    table.render()
}

/// What is to be said of scores that are far from equal.
pub(super) fn uneven(report: &Report) -> Vec<String> {
    let told = report.scores.iter().filter_map(|score| {
        let scores = score.rows.len() as u64;
        let largest = score
            .rows
            .iter()
            .enumerate()
            .max_by_key(|(_, row)| row.users)?;
        let (place, row) = largest;
        (row.users * scores * UNEVEN_OF > report.users * UNEVEN).then(|| {
            format!(
                "{}: score {} has {} of the users, since equal values have equal scores{}",
                score.name,
                place + 1,
                percent(row.users, report.users),
                without(score),
            )
        })
    });
    let mut lines: Vec<String> = told.collect();
    let in_groups: u64 = report.groups.iter().map(|group| group.users).sum();
    if !report.groups.is_empty() && in_groups != report.users {
        lines.push("users changed while they were counted: the groups do not add up".into());
    }
    lines
}

/// Which scores nobody has.
fn without(score: &Score) -> String {
    let rows = score.rows.iter().enumerate();
    let empty = rows.filter(|(_, row)| row.users == 0);
    let empty: Vec<String> = empty.map(|(place, _)| (place + 1).to_string()).collect();
    if empty.is_empty() {
        String::new()
    } else {
        format!("; nobody has score {}", empty.join(" or "))
    }
}

pub(super) fn json(report: &Report) -> Json {
    let scores = report.scores.iter().map(|score| {
        let rows = score.rows.iter().enumerate().map(|(place, row)| {
            json!({
                "score": place + 1,
                "edge": score.edges.edge(place + 1),
                "range": row.range,
                "users": row.users,
                "filter": row.filter,
            })
        });
        (score.name.to_owned(), rows.collect::<Vec<_>>().into())
    });
    let cells = report.cells.iter().map(|cell| {
        json!({
            "recency": cell.recency,
            "frequency": cell.frequency,
            "users": cell.users,
            "filter": cell.filter,
        })
    });
    let groups = report.groups.iter().map(|group| {
        json!({
            "name": group.name,
            "users": group.users,
            "average": group.mean,
            "filter": group.filter,
        })
    });
    json!({
        "users": report.users,
        "filter": report.filter,
        "as_of": report.as_of,
        "unit": report.scores[0].edges.unit_name(),
        "scores": scores.collect::<serde_json::Map<String, Json>>(),
        "cells": cells.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "revision": report.revision,
    })
}
