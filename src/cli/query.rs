//! `count`, `check`, `members`, `explain`.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, Table, counted, grouped, percent, printable};
use super::value;
use crate::model;
use crate::proto::{
    CheckRequest, CheckResponse, CountRequest, ExplainRequest, ExplainedClause, ListMembersRequest,
    PlanNode, StreamMembersRequest, count_request, explain_request, list_members_request,
    stream_members_request,
};

pub(super) const EVERYONE: &str = "TRUE";

#[derive(Debug, Args)]
pub(super) struct CountArgs {
    /// The filter, such as "country IN ('FR', 'DE') AND age >= 40"; everyone if left out.
    #[arg(default_value = EVERYONE)]
    filter: String,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The user.
    user_id: String,
    /// The filters to check.
    #[arg(required = true)]
    filters: Vec<String>,
    /// Tell of each part of the filters whether it is true for the user, and what it saw.
    #[arg(long)]
    explain: bool,
    /// The instant that `now()` stands for; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct MembersArgs {
    /// The filter; everyone if left out.
    #[arg(default_value = EVERYONE)]
    filter: String,
    /// How many users to list at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// List all users, however many.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// The instant that `now()` stands for; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The filter.
    filter: String,
    /// The instant that `now()` stands for; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

/// The instant that an `--as-of` names.
pub(super) fn instant(text: Option<&str>) -> Result<Option<prost_types::Timestamp>, CliError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let timestamp: model::Timestamp = text
        .parse()
        .map_err(|error| CliError::Input(format!("--as-of: {error}")))?;
    Ok(Some(value::timestamp_message(timestamp)))
}

pub(super) async fn count(client: Client, args: CountArgs, output: Output) -> Result<u8, CliError> {
    let as_of = instant(args.as_of.as_deref())?;
    let ask = async |filter: &str| {
        let request = CountRequest {
            population: client.population.clone(),
            selection: Some(count_request::Selection::Filter(filter.into())),
            as_of,
            min_revision: String::new(),
        };
        let answer = client.query().count(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| CliError::from(status).about_filter(filter))
    };
    let answer = ask(&args.filter).await?;
    let all = if args.filter == EVERYONE {
        answer.count
    } else {
        ask(EVERYONE).await?.count
    };
    output.answer(
        || {
            let of_all = format!("{} of {}", percent(answer.count, all), grouped(all));
            format!("{} ({of_all})", counted(answer.count, "user"))
        },
        || json!({ "count": answer.count, "users": all, "revision": answer.revision }),
    )?;
    Ok(0)
}

pub(super) async fn check(client: Client, args: CheckArgs, output: Output) -> Result<u8, CliError> {
    let request = CheckRequest {
        population: client.population.clone(),
        user_id: args.user_id.clone(),
        filters: args.filters.clone(),
        expressions: Vec::new(),
        segments: Vec::new(),
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
        explain: args.explain,
    };
    let answer = client
        .query()
        .check(request)
        .await
        .map_err(|status| CliError::from(status).about_one_of(&args.filters))?;
    let answer = answer.into_inner();
    output.answer(
        || {
            if !answer.user_exists {
                return format!("no: there is no user {}", printable(&args.user_id));
            }
            if args.explain {
                return explained(&answer);
            }
            let mut table = Table::new(&["member", "filter"]);
            for (member, filter) in answer.members.iter().zip(&args.filters) {
                table.row([if *member { "yes" } else { "no" }.into(), filter.clone()]);
            }
            table.render()
        },
        || {
            let filters = args.filters.iter().zip(&answer.members).enumerate();
            let filters = filters.map(|(place, (filter, member))| {
                let mut filter = json!({ "filter": filter, "member": member });
                if let Some(explanation) = answer.explanations.get(place) {
                    filter["clause"] = json!(explanation.clause.as_ref().map(clause_json));
                    filter["valid_until"] = until_json(explanation.valid_until.as_ref());
                }
                filter
            });
            json!({
                "user_id": args.user_id,
                "user_exists": answer.user_exists,
                "filters": filters.collect::<Vec<_>>(),
                "valid_until": until_json(answer.valid_until.as_ref()),
                "revision": answer.revision,
            })
        },
    )?;
    Ok(u8::from(!answer.members.contains(&true)))
}

/// Each part of each filter on a line of its own, below what it belongs to; until when it holds.
fn explained(answer: &CheckResponse) -> String {
    fn add(table: &mut Table, clause: &ExplainedClause, depth: usize) {
        let saw = match &clause.value {
            Some(value) => value::text(value),
            None if is_predicate(clause) => "missing".into(),
            None => String::new(),
        };
        table.row([
            if clause.holds { "yes" } else { "no" }.into(),
            format!("{}{}", "  ".repeat(depth), clause.text),
            saw,
        ]);
        for below in &clause.clauses {
            add(table, below, depth + 1);
        }
    }
    let mut table = Table::new(&["true", "clause", "saw"]);
    for (place, explanation) in answer.explanations.iter().enumerate() {
        if place > 0 {
            table.row([String::new()]);
        }
        if let Some(clause) = &explanation.clause {
            add(&mut table, clause, 0);
        }
    }
    let until = answer.valid_until.as_ref().map(|until| {
        let until = value::timestamp_text(until);
        format!("\n\nholds until {until} unless something is written")
    });
    table.render() + &until.unwrap_or_default()
}

/// Whether there is something that it looked at. Of a segment without a definition below it, which is
/// a static list, there is nothing but whether the user is in it.
fn is_predicate(clause: &ExplainedClause) -> bool {
    let is_list = clause.text.starts_with("segment('");
    clause.clauses.is_empty() && !is_list && clause.text != EVERYONE
}

fn until_json(until: Option<&prost_types::Timestamp>) -> serde_json::Value {
    json!(until.map(value::timestamp_text))
}

fn clause_json(clause: &ExplainedClause) -> serde_json::Value {
    json!({
        "text": clause.text,
        "holds": clause.holds,
        "value": clause.value.as_ref().map(value::json),
        "clauses": clause.clauses.iter().map(clause_json).collect::<Vec<_>>(),
    })
}

pub(super) async fn members(
    client: Client,
    args: MembersArgs,
    output: Output,
) -> Result<u8, CliError> {
    let as_of = instant(args.as_of.as_deref())?;
    let print = |user: &String| {
        if output.is_json() {
            output::line(&json!({ "user_id": user }).to_string())
        } else {
            output::line(&printable(user))
        }
    };
    let about = |status| CliError::from(status).about_filter(&args.filter);
    if args.all {
        let request = StreamMembersRequest {
            population: client.population.clone(),
            selection: Some(stream_members_request::Selection::Filter(
                args.filter.clone(),
            )),
            as_of,
            min_revision: String::new(),
        };
        let mut parts = client
            .query()
            .stream_members(request)
            .await
            .map_err(about)?
            .into_inner();
        while let Some(part) = parts.message().await.map_err(about)? {
            part.user_ids.iter().try_for_each(print)?;
        }
        return Ok(0);
    }
    let (mut left, mut page_token) = (args.limit, String::new());
    while left > 0 {
        let request = ListMembersRequest {
            population: client.population.clone(),
            selection: Some(list_members_request::Selection::Filter(args.filter.clone())),
            page_size: i32::try_from(left.min(10_000)).unwrap_or(10_000),
            page_token,
            as_of,
            min_revision: String::new(),
        };
        let page = client
            .query()
            .list_members(request)
            .await
            .map_err(about)?
            .into_inner();
        page.user_ids.iter().try_for_each(print)?;
        left = left.saturating_sub(page.user_ids.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(0);
        }
    }
    if !output.is_json() {
        output::note("there are more: --limit N or --all lists them");
    }
    Ok(0)
}

pub(super) async fn explain(
    client: Client,
    args: ExplainArgs,
    output: Output,
) -> Result<u8, CliError> {
    let request = ExplainRequest {
        population: client.population.clone(),
        selection: Some(explain_request::Selection::Filter(args.filter.clone())),
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.query().explain(request).await;
    let answer = answer
        .map_err(|status| CliError::from(status).about_filter(&args.filter))?
        .into_inner();
    let elapsed = answer.elapsed.map(microseconds).unwrap_or_default();
    output.answer(
        || {
            let mut table =
                Table::new(&["part", "access", ">expected", ">users", ">shards", ">time"]);
            if let Some(plan) = &answer.plan {
                add_rows(&mut table, plan, 0);
            }
            format!(
                "{}\n\n{}\n\n{} in {} us, {}",
                printable(&answer.filter),
                table.render(),
                counted(answer.count, "user"),
                grouped(elapsed),
                counted(u64::from(answer.shards), "shard")
            )
        },
        || {
            json!({
                "filter": answer.filter,
                "count": answer.count,
                "shards": answer.shards,
                "elapsed_us": elapsed,
                "plan": answer.plan.as_ref().map(plan_json),
                "revision": answer.revision,
            })
        },
    )?;
    Ok(0)
}

fn microseconds(duration: prost_types::Duration) -> u64 {
    u64::try_from(duration.seconds * 1_000_000 + i64::from(duration.nanos / 1_000)).unwrap_or(0)
}

fn add_rows(table: &mut Table, node: &PlanNode, depth: usize) {
    let time = node.elapsed.map(microseconds).unwrap_or_default();
    table.row([
        format!("{}{}", "  ".repeat(depth), node.description),
        node.access.clone(),
        grouped(node.estimate),
        grouped(node.count),
        node.shards.to_string(),
        format!("{} us", grouped(time)),
    ]);
    for child in &node.children {
        add_rows(table, child, depth + 1);
    }
}

fn plan_json(node: &PlanNode) -> serde_json::Value {
    json!({
        "description": node.description,
        "access": node.access,
        "estimate": node.estimate,
        "count": node.count,
        "shards": node.shards,
        "elapsed_us": node.elapsed.map(microseconds).unwrap_or_default(),
        "children": node.children.iter().map(plan_json).collect::<Vec<_>>(),
    })
}
