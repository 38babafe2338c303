//! `segments preview`: what a definition would change.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, bar, counted, grouped, percent, printable};
use super::query::instant;
use crate::proto::{PreviewSegmentRequest, PreviewSegmentResponse, preview_segment_request};

/// Characters of the longest bar.
const BAR: usize = 24;

#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    /// The segment that would be defined so; of one that does not exist, or none, everybody is new.
    name: Option<String>,
    /// Who would be in it.
    #[arg(long)]
    filter: String,
    /// How many of those who would enter or leave are named, at most 100.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=100))]
    sample: i32,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

pub(super) async fn preview(
    client: &Client,
    args: PreviewArgs,
    output: Output,
) -> Result<(), CliError> {
    let request = PreviewSegmentRequest {
        population: client.population.clone(),
        name: args.name.clone().unwrap_or_default(),
        definition: Some(preview_segment_request::Definition::Filter(
            args.filter.clone(),
        )),
        sample_size: args.sample,
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.segments().preview_segment(request).await;
    let answer = answer
        .map_err(|status| CliError::from(status).about_filter(&args.filter))?
        .into_inner();
    let name = args.name.as_deref();
    output.answer(|| text(name, &answer), || to_json(name, &answer))
}

fn text(name: Option<&str>, answer: &PreviewSegmentResponse) -> String {
    let mut parts = vec![changes(answer), clauses(answer)];
    let samples = [
        ("would enter", &answer.entering_user_ids, answer.entering),
        ("would leave", &answer.leaving_user_ids, answer.leaving),
    ];
    let samples = samples
        .into_iter()
        .filter(|(_, users, _)| !users.is_empty());
    let samples: Vec<String> = samples
        .map(|(what, users, all)| sample(what, users, all))
        .collect();
    if !samples.is_empty() {
        parts.push(samples.join("\n"));
    }
    if answer.dependent_count > 0 {
        parts.push(dependents(answer));
    }
    parts.push(match name {
        Some(name) if answer.exists => {
            format!("nothing was saved: {} is as it was", printable(name))
        }
        Some(name) => format!(
            "nothing was saved: there is no segment {} yet",
            printable(name)
        ),
        None => "nothing was saved".into(),
    });
    parts.join("\n\n")
}

fn changes(answer: &PreviewSegmentResponse) -> String {
    let mut table = Table::new(&["segment", ">users", ">share", ""]);
    for (what, count) in [
        ("now", answer.count_now),
        ("would enter", answer.entering),
        ("would leave", answer.leaving),
        ("would stay", answer.staying),
        ("then", answer.count_then),
    ] {
        table.row([
            what.into(),
            grouped(count),
            percent(count, answer.users),
            bar(count, answer.users, BAR),
        ]);
    }
    table.render()
}

fn clauses(answer: &PreviewSegmentResponse) -> String {
    let mut table = Table::new(&["definition", ">alone", ">left", ">share", ""]);
    let everyone = ("(everyone)".to_owned(), answer.users, answer.users);
    let clauses = answer.clauses.iter();
    let clauses = clauses.map(|clause| (clause.filter.clone(), clause.count, clause.remaining));
    for (filter, alone, left) in [everyone].into_iter().chain(clauses) {
        table.row([
            filter,
            grouped(alone),
            grouped(left),
            percent(left, answer.users),
            bar(left, answer.users, BAR),
        ]);
    }
    table.render()
}

fn sample(what: &str, users: &[String], all: u64) -> String {
    let named: Vec<String> = users.iter().map(|user| printable(user)).collect();
    let more = all.saturating_sub(users.len() as u64);
    let more = if more > 0 {
        format!(" and {} more", grouped(more))
    } else {
        String::new()
    };
    format!("{what}: {}{more}", named.join(", "))
}

fn dependents(answer: &PreviewSegmentResponse) -> String {
    let mut table = Table::new(&["changes with it", ">enter", ">leave"]);
    let count = |count: Option<u64>| count.map_or_else(|| "?".into(), grouped);
    for dependent in &answer.dependents {
        table.row([
            dependent.name.clone(),
            count(dependent.entering),
            count(dependent.leaving),
        ]);
    }
    let more = u64::from(answer.dependent_count).saturating_sub(answer.dependents.len() as u64);
    if more > 0 {
        return format!(
            "{}\n(and {})",
            table.render(),
            counted(more, "more segment")
        );
    }
    table.render()
}

fn to_json(name: Option<&str>, answer: &PreviewSegmentResponse) -> serde_json::Value {
    let clauses = answer.clauses.iter().map(|clause| {
        json!({
            "filter": clause.filter,
            "count": clause.count,
            "remaining": clause.remaining,
        })
    });
    let dependents = answer.dependents.iter().map(|dependent| {
        json!({
            "name": dependent.name,
            "entering": dependent.entering,
            "leaving": dependent.leaving,
        })
    });
    json!({
        "name": name,
        "exists": answer.exists,
        "users": answer.users,
        "count_now": answer.count_now,
        "count_then": answer.count_then,
        "entering": answer.entering,
        "leaving": answer.leaving,
        "staying": answer.staying,
        "entering_user_ids": answer.entering_user_ids,
        "leaving_user_ids": answer.leaving_user_ids,
        "clauses": clauses.collect::<Vec<_>>(),
        "dependent_count": answer.dependent_count,
        "dependents": dependents.collect::<Vec<_>>(),
        "revision": answer.revision,
    })
}
