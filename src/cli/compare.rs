//! `compare`: what sets the users of a segment apart.

use clap::Args;
use serde_json::json;

use super::analysis::{short, short_number, statistics_json};
use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, bar, counted, grouped, printable};
use super::query::instant;
use super::value;
use crate::proto::finding::What;
use crate::proto::value::Kind;
use crate::proto::{
    CompareRequest, CompareResponse, Finding, Interval, PropertyComparison, Selection, Statistics,
    Value, compare_request, selection,
};

/// Characters of the longest bar.
const BAR: usize = 16;
/// Properties that are shown; JSON has all.
const PROPERTIES: usize = 12;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The filter of the users to describe.
    filter: String,
    /// The filter of those to compare them with; everyone else if left out.
    #[arg(long)]
    against: Option<String>,
    /// How many findings to show, the greatest ones: 1 to 1,000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    top: u16,
    /// The properties to compare, with commas between them; all but those that the filters test if
    /// left out.
    #[arg(long, value_delimiter = ',')]
    properties: Vec<String>,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

pub(super) async fn compare(
    client: Client,
    args: CompareArgs,
    output: Output,
) -> Result<u8, CliError> {
    let request = CompareRequest {
        population: client.population.clone(),
        selection: Some(compare_request::Selection::Filter(args.filter.clone())),
        against: args.against.clone().map(|filter| Selection {
            selection: Some(selection::Selection::Filter(filter)),
        }),
        properties: args.properties.clone(),
        limit: args.top.into(),
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.query().compare(request).await;
    let answer = answer
        .map_err(|status| {
            let error = CliError::from(status);
            let is_against = error
                .field()
                .is_some_and(|field| field.starts_with("against"));
            let filter = args.against.as_ref().filter(|_| is_against);
            error.about_filter(filter.unwrap_or(&args.filter))
        })?
        .into_inner();
    output.answer(
        || text(&answer, args.against.is_some()),
        || to_json(&answer),
    )?;
    Ok(0)
}

fn text(answer: &CompareResponse, is_against_some: bool) -> String {
    let (users, others) = (counted(answer.users, "user"), grouped(answer.against_users));
    let head = if is_against_some {
        format!("{users} beside {others} others")
    } else {
        format!("{users} beside all {others} others")
    };
    if answer.users == 0 || answer.against_users == 0 {
        return format!("{head}: nothing can be compared with nobody");
    }
    let mut parts = vec![head];
    if answer.findings.is_empty() {
        parts.push("nothing differs by more than chance".into());
    } else {
        parts.push(findings(answer));
    }
    if !answer.properties.is_empty() {
        parts.push(properties(answer));
    }
    let shown = answer.findings.len() as u64;
    let mut last = format!(
        "{} from {}, significant at 5 %, corrected for their number (Benjamini and Hochberg)",
        counted(answer.significant, "finding"),
        counted(answer.tests, "test"),
    );
    if answer.significant > shown {
        last += "; --top N shows more";
    }
    parts.push(last);
    if !answer.left_out.is_empty() {
        let left_out: Vec<String> = answer.left_out.iter().map(|name| printable(name)).collect();
        parts.push(format!(
            "left out, since the filters test it: {} (--properties compares it)",
            left_out.join(", ")
        ));
    }
    parts.join("\n\n")
}

fn findings(answer: &CompareResponse) -> String {
    let mut table = Table::new(&[
        "what sets them apart",
        "",
        ">users",
        ">others",
        ">difference, 95 %",
        ">lift",
        ">effect",
        "",
    ]);
    for found in &answer.findings {
        table.row([
            found.property.clone(),
            what(found),
            percent(found.share),
            percent(found.against_share),
            difference(found.difference.as_ref()),
            found.lift.map_or_else(String::new, lift),
            format!("{:+.2}", found.effect),
            share_bar(found.effect.abs()),
        ]);
    }
    table.render()
}

fn properties(answer: &CompareResponse) -> String {
    let mut table = Table::new(&["property", ">effect", "", ">users", ">others"]);
    for property in answer.properties.iter().take(PROPERTIES) {
        let numbers = property.numbers.as_ref();
        let median = |statistics: Option<&Statistics>| {
            let median = statistics.and_then(|found| found.median.as_ref());
            median.map_or_else(String::new, |median| format!("median {}", short(median)))
        };
        table.row([
            property.property.clone(),
            format!("{:.2}", property.effect),
            share_bar(property.effect),
            median(numbers.and_then(|numbers| numbers.statistics.as_ref())),
            median(numbers.and_then(|numbers| numbers.against_statistics.as_ref())),
        ]);
    }
    let more = answer.properties.len().saturating_sub(PROPERTIES) as u64;
    if more == 0 {
        return table.render();
    }
    let more = match more {
        1 => "1 more property".to_owned(),
        more => format!("{} more properties", grouped(more)),
    };
    format!("{}\n({more}: --output json shows them)", table.render())
}

/// The value or the range.
fn what(found: &Finding) -> String {
    match &found.what {
        None => String::new(),
        Some(What::NotSet(_)) => "(not set)".into(),
        Some(What::Value(value)) => short(value),
        Some(What::Range(range)) => match (&range.from, &range.to) {
            (Some(from), Some(to)) => match last_whole(to, range.includes_to) {
                Some(last) => format!("{} to {last}", short(from)),
                None => format!("{} to {}", short(from), short(to)),
            },
            (Some(from), None) => format!("from {}", short(from)),
            (None, Some(to)) => format!("below {}", short(to)),
            (None, None) => String::new(),
        },
    }
}

/// The last whole number before an end that is not included.
fn last_whole(to: &Value, includes_to: bool) -> Option<String> {
    match to.kind {
        Some(Kind::Int64Value(to)) if !includes_to => Some(to.saturating_sub(1).to_string()),
        _ => None,
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The interval of a difference in percentage points.
fn difference(interval: Option<&Interval>) -> String {
    interval.map_or_else(String::new, |interval| {
        format!(
            "{:+.1} to {:+.1}",
            interval.lower * 100.0,
            interval.upper * 100.0
        )
    })
}

fn lift(lift: f64) -> String {
    if lift < 0.01 {
        return format!("{}x", short_number(lift));
    }
    format!("{lift:.2}x")
}

/// A bar for a number from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar has some hundred steps"
)]
fn share_bar(share: f64) -> String {
    bar((share * 1_000.0).round() as u64, 1_000, BAR)
}

fn to_json(answer: &CompareResponse) -> serde_json::Value {
    let findings = answer.findings.iter().map(finding_json);
    let properties = answer.properties.iter().map(property_json);
    json!({
        "users": answer.users,
        "against_users": answer.against_users,
        "tests": answer.tests,
        "significant": answer.significant,
        "findings": findings.collect::<Vec<_>>(),
        "properties": properties.collect::<Vec<_>>(),
        "left_out": answer.left_out,
        "as_of": answer.as_of.as_ref().map(value::timestamp_text),
        "revision": answer.revision,
    })
}

fn finding_json(found: &Finding) -> serde_json::Value {
    let interval = |interval: Option<&Interval>| {
        interval.map(|interval| json!([interval.lower, interval.upper]))
    };
    let mut json = json!({
        "property": found.property,
        "count": found.count,
        "against_count": found.against_count,
        "share": found.share,
        "against_share": found.against_share,
        "difference": interval(found.difference.as_ref()),
        "lift": found.lift,
        "lift_interval": interval(found.lift_interval.as_ref()),
        "effect": found.effect,
        "p_value": found.p_value,
        "adjusted_p_value": found.adjusted_p_value,
    });
    let (name, what) = match &found.what {
        None | Some(What::NotSet(_)) => ("not_set", json!(true)),
        Some(What::Value(found)) => ("value", value::json(found)),
        Some(What::Range(range)) => (
            "range",
            json!({
                "from": range.from.as_ref().map(value::json),
                "to": range.to.as_ref().map(value::json),
                "includes_to": range.includes_to,
            }),
        ),
    };
    if let Some(members) = json.as_object_mut() {
        members.insert(name.into(), what);
    }
    json
}

fn property_json(compared: &PropertyComparison) -> serde_json::Value {
    let numbers = compared.numbers.as_ref().map(|numbers| {
        json!({
            "statistics": numbers.statistics.as_ref().map(statistics_json),
            "against_statistics": numbers.against_statistics.as_ref().map(statistics_json),
            "distance": numbers.distance,
        })
    });
    json!({
        "property": compared.property,
        "effect": compared.effect,
        "missing": compared.missing,
        "against_missing": compared.against_missing,
        "tests": compared.tests,
        "significant": compared.significant,
        "untested_values": compared.untested_values,
        "numbers": numbers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ValueRange;

    fn whole(number: i64) -> Value {
        Value {
            kind: Some(Kind::Int64Value(number)),
        }
    }

    #[test]
    fn ranges_are_read_as_people_say_them() {
        let half = Some(Value {
            kind: Some(Kind::DoubleValue(0.5)),
        });
        for (from, to, includes_to, text) in [
            (Some(whole(1)), Some(whole(7)), false, "1 to 6"),
            (Some(whole(1)), Some(whole(7)), true, "1 to 7"),
            (None, Some(whole(7)), false, "below 7"),
            (Some(whole(7)), None, false, "from 7"),
            (half.clone(), half, true, "0.5 to 0.5"),
        ] {
            let found = Finding {
                what: Some(What::Range(ValueRange {
                    from,
                    to,
                    includes_to,
                })),
                ..Finding::default()
            };
            assert_eq!(what(&found), text);
        }
    }

    #[test]
    fn figures_have_a_few_digits() {
        assert_eq!(
            [2.063_774, 0.080_68, 0.000_5, 0.0].map(lift),
            ["2.06x", "0.08x", "0.0005x", "0x"]
        );
        assert_eq!([0.5, -0.2].map(share_bar), ["████████", ""]);
        let interval = Interval {
            lower: -0.01,
            upper: 0.125,
        };
        assert_eq!(difference(Some(&interval)), "-1.0 to +12.5");
        assert_eq!(difference(None), "");
    }
}
