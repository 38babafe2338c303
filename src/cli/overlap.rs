//! `overlap`: how several segments overlap.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, bar, counted, grouped, percent, printable};
use super::query::instant;
use crate::proto::{OverlapRequest, OverlapResponse, Selection, selection};

/// Characters of the longest bar.
const BAR: usize = 24;
/// A table of more segments would be wider than most terminals.
const WIDEST_MATRIX: usize = 10;
/// Pairs that are shown where there is no room for all.
const PAIRS: usize = 20;

#[derive(Debug, Args)]
pub(super) struct OverlapArgs {
    /// The filters, 2 to 100, each with a name before it if you like: "paying: plan = 'pro'".
    #[arg(required = true, num_args = 2..)]
    filters: Vec<String>,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

/// A filter and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) filter: String,
    /// Whether the name was given.
    is_given: bool,
}

/// Takes the name off a filter; one without a name has a letter, or a number after the letters.
/// No filter begins with a word and a colon, so that none is taken for a name.
pub(super) fn named(text: &str, position: usize) -> Named {
    if let Some((name, filter)) = text.split_once(':')
        && !name.trim().is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '))
    {
        return Named {
            name: name.trim().to_owned(),
            filter: filter.trim_start().to_owned(),
            is_given: true,
        };
    }
    let letter = u8::try_from(position).ok().filter(|place| *place < 26);
    Named {
        name: letter.map_or_else(
            || (position + 1).to_string(),
            |place| char::from(b'A' + place).to_string(),
        ),
        filter: text.to_owned(),
        is_given: false,
    }
}

pub(super) async fn overlap(
    client: Client,
    args: OverlapArgs,
    output: Output,
) -> Result<u8, CliError> {
    let filters = args.filters.iter().enumerate();
    let filters: Vec<Named> = filters.map(|(place, text)| named(text, place)).collect();
    let selections = filters.iter().map(|named| Selection {
        selection: Some(selection::Selection::Filter(named.filter.clone())),
    });
    let request = OverlapRequest {
        population: client.population.clone(),
        selections: selections.collect(),
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.query().overlap(request).await;
    let texts: Vec<String> = filters.iter().map(|named| named.filter.clone()).collect();
    let answer = answer
        .map_err(|status| CliError::from(status).about_one_of(&texts))?
        .into_inner();
    output.answer(|| text(&answer, &filters), || to_json(&answer, &filters))?;
    Ok(0)
}

fn name(filters: &[Named], position: u32) -> String {
    let place = usize::try_from(position).unwrap_or(usize::MAX);
    filters
        .get(place)
        .map_or_else(String::new, |named| named.name.clone())
}

fn names(filters: &[Named], positions: &[u32]) -> Vec<String> {
    let names = positions.iter().map(|position| name(filters, *position));
    names.collect()
}

fn text(answer: &OverlapResponse, filters: &[Named]) -> String {
    let mut parts = vec![
        segments(answer, filters),
        if filters.len() <= WIDEST_MATRIX {
            matrix(answer, filters)
        } else {
            closest(answer, filters)
        },
    ];
    if !answer.regions.is_empty() {
        parts.push(regions(answer, filters));
    }
    parts.push(reach(answer, filters));
    parts.push(format!(
        "{} in any of them, {} in none",
        counted(answer.users_in_any, "user"),
        grouped(answer.users_in_none)
    ));
    parts.join("\n\n")
}

fn segments(answer: &OverlapResponse, filters: &[Named]) -> String {
    let mut table = Table::new(&["segment", ">users", ">share", ">only here", "filter"]);
    for (named, found) in filters.iter().zip(&answer.selections) {
        table.row([
            named.name.clone(),
            grouped(found.count),
            percent(found.count, answer.users),
            grouped(found.only_here),
            named.filter.clone(),
        ]);
    }
    table.render()
}

/// How many users of the segment of a row are in that of a column, and their share of the row's.
fn matrix(answer: &OverlapResponse, filters: &[Named]) -> String {
    let count = |place: usize| answer.selections.get(place).map_or(0, |found| found.count);
    let mut both = vec![vec![0; filters.len()]; filters.len()];
    for pair in &answer.pairs {
        let place = |position: u32| usize::try_from(position).unwrap_or(usize::MAX);
        let (first, second) = (place(pair.first), place(pair.second));
        for (row, column) in [(first, second), (second, first)] {
            if let Some(cell) = both.get_mut(row).and_then(|row| row.get_mut(column)) {
                *cell = pair.count;
            }
        }
    }
    let columns = filters
        .iter()
        .map(|named| format!(">in {}", printable(&named.name)));
    let headings: Vec<String> = ["of".to_owned()].into_iter().chain(columns).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for (row, (named, cells)) in filters.iter().zip(&both).enumerate() {
        let shown = cells.iter().enumerate().map(|(column, both)| {
            if row == column {
                return "-".to_owned();
            }
            format!("{} {:>7}", grouped(*both), percent(*both, count(row)))
        });
        table.row([named.name.clone()].into_iter().chain(shown));
    }
    table.render()
}

/// The pairs that have most in common for their size.
fn closest(answer: &OverlapResponse, filters: &[Named]) -> String {
    let mut pairs: Vec<_> = answer.pairs.iter().collect();
    pairs.sort_by(|a, b| b.jaccard.total_cmp(&a.jaccard));
    let mut table = Table::new(&[
        "segment",
        "and",
        ">users",
        ">of first",
        ">of second",
        ">Jaccard",
    ]);
    for pair in pairs.iter().take(PAIRS) {
        table.row([
            name(filters, pair.first),
            name(filters, pair.second),
            grouped(pair.count),
            format!("{:.1} %", pair.share_of_first * 100.0),
            format!("{:.1} %", pair.share_of_second * 100.0),
            format!("{:.3}", pair.jaccard),
        ]);
    }
    let more = pairs.len().saturating_sub(PAIRS) as u64;
    if more > 0 {
        let more = counted(more, "more pair");
        return format!("{}\n({more}: --output json shows them)", table.render());
    }
    table.render()
}

fn regions(answer: &OverlapResponse, filters: &[Named]) -> String {
    let most = answer.regions.iter().map(|region| region.count).max();
    let most = most.unwrap_or(0).max(answer.users_in_none);
    let mut table = Table::new(&["exactly in", ">users", ">share", ""]);
    let mut row = |name: String, count: u64| {
        table.row([
            name,
            grouped(count),
            percent(count, answer.users),
            bar(count, most, BAR),
        ]);
    };
    for region in &answer.regions {
        let names = names(filters, &region.selections);
        let only = if names.len() == 1 { " only" } else { "" };
        row(format!("{}{only}", names.join(" + ")), region.count);
    }
    row("(none)".into(), answer.users_in_none);
    table.render()
}

fn reach(answer: &OverlapResponse, filters: &[Named]) -> String {
    let mut table = Table::new(&["to reach the most", ">adds", ">together", ">share", ""]);
    for (step, number) in answer.reach.iter().zip(1..) {
        table.row([
            format!("{number}. {}", name(filters, step.selection)),
            grouped(step.added),
            grouped(step.reached),
            percent(step.reached, answer.users),
            bar(step.reached, answer.users_in_any, BAR),
        ]);
    }
    table.render()
}

fn to_json(answer: &OverlapResponse, filters: &[Named]) -> serde_json::Value {
    let selections = filters.iter().zip(&answer.selections);
    let selections = selections.map(|(named, found)| {
        json!({
            "name": named.is_given.then_some(&named.name),
            "filter": named.filter,
            "count": found.count,
            "only_here": found.only_here,
        })
    });
    let pairs = answer.pairs.iter().map(|pair| {
        json!({
            "first": pair.first,
            "second": pair.second,
            "count": pair.count,
            "jaccard": pair.jaccard,
            "share_of_first": pair.share_of_first,
            "share_of_second": pair.share_of_second,
        })
    });
    let regions = answer
        .regions
        .iter()
        .map(|region| json!({ "selections": region.selections, "count": region.count }));
    let reach = answer.reach.iter().map(
        |step| json!({ "selection": step.selection, "added": step.added, "reached": step.reached }),
    );
    json!({
        "users": answer.users,
        "users_in_any": answer.users_in_any,
        "users_in_none": answer.users_in_none,
        "selections": selections.collect::<Vec<_>>(),
        "pairs": pairs.collect::<Vec<_>>(),
        "regions": regions.collect::<Vec<_>>(),
        "reach": reach.collect::<Vec<_>>(),
        "as_of": answer.as_of.as_ref().map(super::value::timestamp_text),
        "revision": answer.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_before_a_colon() {
        for (text, name, filter, is_given) in [
            ("paying: plan = 'pro'", "paying", "plan = 'pro'", true),
            ("two years:TRUE", "two years", "TRUE", true),
            ("plan = 'a:b'", "C", "plan = 'a:b'", false),
            ("plan='pro'", "C", "plan='pro'", false),
            (": TRUE", "C", ": TRUE", false),
            (
                "seen >= '2026-01-01T10:00:00Z'",
                "C",
                "seen >= '2026-01-01T10:00:00Z'",
                false,
            ),
        ] {
            let expected = Named {
                name: name.into(),
                filter: filter.into(),
                is_given,
            };
            assert_eq!(named(text, 2), expected, "{text}");
        }
        assert_eq!(named("TRUE", 25).name, "Z");
        assert_eq!(named("TRUE", 26).name, "27");
    }
}
