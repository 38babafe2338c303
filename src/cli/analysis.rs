//! `breakdown`, `summarize`: what the users of a segment are like.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, Table, bar, counted, grouped, percent, printable};
use super::query::{EVERYONE, instant};
use super::{measure, value};
use crate::proto::value::Kind;
use crate::proto::{
    BinEdges, BreakdownRequest, HistogramBin, PropertyBreakdown, Statistics, SummarizeRequest,
    SummarizeResponse, Value, breakdown_request, summarize_request,
};
use crate::{filter, model};

/// Characters of the longest bar.
const BAR: usize = 24;

#[derive(Debug, Args)]
pub(super) struct BreakdownArgs {
    /// The filter; everyone if left out.
    #[arg(default_value = EVERYONE)]
    filter: String,
    /// The properties to count by, with commas between them.
    #[arg(long, required = true, value_delimiter = ',')]
    by: Vec<String>,
    /// How many values to show of each property, the most frequent ones; all if 0.
    #[arg(long, default_value_t = 20)]
    limit: u16,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SummarizeArgs {
    /// The filter; everyone if left out.
    #[arg(default_value = EVERYONE)]
    filter: String,
    /// The property, a number or a timestamp; or a function of events such as "sum(purchase, 365d)".
    #[arg(long)]
    of: String,
    /// The percentiles to show beside the median, with commas between them.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,5,25,75,95,99",
        allow_negative_numbers = true
    )]
    percentiles: Vec<f64>,
    /// Show at most so many bars of equal width.
    #[arg(long)]
    bins: Option<u32>,
    /// Show bars between these values, with commas between them: numbers, dates or RFC 3339.
    #[arg(
        long,
        value_delimiter = ',',
        conflicts_with = "bins",
        allow_hyphen_values = true
    )]
    edges: Vec<String>,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

pub(super) async fn breakdown(
    client: Client,
    args: BreakdownArgs,
    output: Output,
) -> Result<u8, CliError> {
    let request = BreakdownRequest {
        population: client.population.clone(),
        selection: Some(breakdown_request::Selection::Filter(args.filter.clone())),
        properties: args.by.clone(),
        limit: args.limit.into(),
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.query().breakdown(request).await;
    let answer = answer
        .map_err(|status| CliError::from(status).about_filter(&args.filter))?
        .into_inner();
    output.answer(
        || {
            let tables = answer.properties.iter();
            let mut parts: Vec<String> = tables
                .map(|property| breakdown_table(property, answer.users))
                .collect();
            parts.push(counted(answer.users, "user"));
            parts.join("\n\n")
        },
        || {
            let properties = answer.properties.iter().map(|property| {
                let values = property.values.iter().map(|counted| {
                    json!({ "value": counted.value.as_ref().map(value::json), "count": counted.count })
                });
                json!({
                    "property": property.property,
                    "missing": property.missing,
                    "distinct_values": property.distinct_values,
                    "values": values.collect::<Vec<_>>(),
                })
            });
            json!({
                "users": answer.users,
                "properties": properties.collect::<Vec<_>>(),
                "revision": answer.revision,
            })
        },
    )?;
    Ok(0)
}

fn breakdown_table(property: &PropertyBreakdown, users: u64) -> String {
    let counts = property.values.iter().map(|counted| counted.count);
    let most = counts.chain([property.missing]).max().unwrap_or(0);
    let mut table = Table::new(&[&printable(&property.property), ">users", ">share", ""]);
    let mut row = |value: String, count: u64| {
        table.row([
            value,
            grouped(count),
            percent(count, users),
            bar(count, most, BAR),
        ]);
    };
    for counted in &property.values {
        let value = counted.value.as_ref().map(value::text).unwrap_or_default();
        row(value, counted.count);
    }
    if property.missing > 0 {
        row("(not set)".into(), property.missing);
    }
    let more = property.distinct_values - property.values.len() as u64;
    if more > 0 {
        let more = counted(more, "more value");
        return format!("{}\n({more}: --limit N shows them)", table.render());
    }
    table.render()
}

pub(super) async fn summarize(
    client: Client,
    args: SummarizeArgs,
    output: Output,
) -> Result<u8, CliError> {
    let bins = if let Some(count) = args.bins {
        Some(summarize_request::Bins::BinCount(count))
    } else if args.edges.is_empty() {
        None
    } else {
        let edges = args.edges.iter().map(|text| edge(text));
        Some(summarize_request::Bins::BinEdges(BinEdges {
            edges: edges.collect::<Result<_, _>>()?,
        }))
    };
    let of_events = if filter::begins_measure(&args.of) {
        Some(measure::message(&measure::read("--of", &args.of)?))
    } else {
        None
    };
    let property = if of_events.is_none() {
        args.of.clone()
    } else {
        String::new()
    };
    let request = SummarizeRequest {
        population: client.population.clone(),
        selection: Some(summarize_request::Selection::Filter(args.filter.clone())),
        property,
        of_events,
        percentiles: args.percentiles.clone(),
        bins,
        as_of: instant(args.as_of.as_deref())?,
        min_revision: String::new(),
    };
    let answer = client.query().summarize(request).await;
    let answer = answer
        .map_err(|status| CliError::from(status).about_filter(&args.filter))?
        .into_inner();
    output.answer(
        || summary_text(&answer, &args.of),
        || summary_json(&answer, &args.of),
    )?;
    if answer.statistics.as_ref().is_some_and(|found| found.skewed) && !output.is_json() {
        output::note("mean and median tell different stories: the mean says little of most users");
    }
    Ok(0)
}

/// A number, a date or an instant.
fn edge(text: &str) -> Result<Value, CliError> {
    let kind = if let Ok(number) = text.parse::<i64>() {
        Kind::Int64Value(number)
    } else if let Ok(number) = text.parse::<f64>() {
        Kind::DoubleValue(number)
    } else {
        let timestamp: Result<model::Timestamp, _> = text.parse();
        let timestamp = timestamp.map_err(|_| {
            CliError::Input(format!(
                "--edges: {text:?} is no number, date or instant such as 2026-01-31T09:30:00Z"
            ))
        })?;
        Kind::TimestampValue(value::timestamp_message(timestamp))
    };
    Ok(Value { kind: Some(kind) })
}

fn summary_text(answer: &SummarizeResponse, property: &str) -> String {
    let property = printable(property);
    let users = counted(answer.users, "user");
    let Some(statistics) = &answer.statistics else {
        return format!("nobody has a value of {property}; {users}");
    };
    let mut table = Table::new(&[&property, ">"]);
    let mut row = |name: &str, value: String| table.row([name.into(), value]);
    let shown = |value: &Option<Value>| value.as_ref().map(short).unwrap_or_default();
    row("users with a value", grouped(statistics.count));
    row("users without", grouped(answer.missing));
    row("least", shown(&statistics.min));
    let mut percentiles: Vec<(f64, String)> = statistics
        .percentiles
        .iter()
        .map(|found| (found.percent, shown(&found.value)))
        .collect();
    percentiles.push((50.0, shown(&statistics.median)));
    percentiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    percentiles.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    for (percent, value) in percentiles {
        if percent.total_cmp(&50.0).is_eq() {
            row("median", value);
        } else {
            row(&format!("{percent} %"), value);
        }
    }
    row("greatest", shown(&statistics.max));
    row("mean", shown(&statistics.mean));
    row("standard deviation", deviation(statistics));
    format!("{}\n\n{}\n\n{users}", table.render(), histogram(statistics))
}

/// The deviation, of instants in days.
fn deviation(statistics: &Statistics) -> String {
    let is_time = statistics
        .min
        .as_ref()
        .is_some_and(|min| matches!(min.kind, Some(Kind::TimestampValue(_))));
    if is_time {
        let days = statistics.standard_deviation / 86_400.0;
        return format!("{} days", short_number(days));
    }
    short_number(statistics.standard_deviation)
}

fn histogram(statistics: &Statistics) -> String {
    let Some(histogram) = &statistics.histogram else {
        return String::new();
    };
    let counts = histogram.bins.iter().map(|bin| bin.count);
    let most = counts
        .chain([histogram.below, histogram.above])
        .max()
        .unwrap_or(0);
    let mut table = Table::new(&[">from", ">to", ">users", ">share", ""]);
    let mut row = |from: String, to: String, count: u64| {
        table.row([
            from,
            to,
            grouped(count),
            percent(count, statistics.count),
            bar(count, most, BAR),
        ]);
    };
    let end = |end: &Option<Value>| end.as_ref().map(short).unwrap_or_default();
    if let (Some(first), 1..) = (histogram.bins.first(), histogram.below) {
        row("below".into(), end(&first.from), histogram.below);
    }
    for HistogramBin { from, to, count } in &histogram.bins {
        row(end(from), end(to), *count);
    }
    if let (Some(last), 1..) = (histogram.bins.last(), histogram.above) {
        row("above".into(), end(&last.to), histogram.above);
    }
    table.render()
}

/// A value as people read it: a double with a few digits.
pub(super) fn short(value: &Value) -> String {
    match &value.kind {
        Some(Kind::DoubleValue(number)) => short_number(*number),
        None
        | Some(
            Kind::NullValue(_)
            | Kind::BoolValue(_)
            | Kind::StringValue(_)
            | Kind::StringSetValue(_)
            | Kind::Int64Value(_)
            | Kind::TimestampValue(_)
            | Kind::VersionValue(_),
        ) => value::text(value),
    }
}

pub(super) fn short_number(number: f64) -> String {
    let size = number.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-4) {
        return format!("{number:.3e}");
    }
    let digits = if size >= 1.0 { 2 } else { 5 };
    let text = format!("{number:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn summary_json(answer: &SummarizeResponse, property: &str) -> serde_json::Value {
    let statistics = answer.statistics.as_ref().map(statistics_json);
    json!({
        "property": property,
        "users": answer.users,
        "missing": answer.missing,
        "statistics": statistics,
        "revision": answer.revision,
    })
}

pub(super) fn statistics_json(found: &Statistics) -> serde_json::Value {
    let of = |value: &Option<Value>| value.as_ref().map(value::json);
    let percentiles = found
        .percentiles
        .iter()
        .map(|percentile| json!({ "percent": percentile.percent, "value": of(&percentile.value) }));
    let histogram = found.histogram.as_ref().map(|histogram| {
        let bins = histogram
            .bins
            .iter()
            .map(|bin| json!({ "from": of(&bin.from), "to": of(&bin.to), "count": bin.count }));
        json!({
            "bins": bins.collect::<Vec<_>>(),
            "below": histogram.below,
            "above": histogram.above,
        })
    });
    json!({
        "count": found.count,
        "min": of(&found.min),
        "max": of(&found.max),
        "mean": of(&found.mean),
        "standard_deviation": found.standard_deviation,
        "median": of(&found.median),
        "percentiles": percentiles.collect::<Vec<_>>(),
        "skew": found.skew,
        "skewed": found.skewed,
        "histogram": histogram,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_few_digits() {
        for (number, text) in [
            (0.0, "0"),
            (-0.25, "-0.25"),
            (64.761_692, "64.76"),
            (1_200.0, "1200"),
            (1e300, "1.000e300"),
            (0.000_012, "1.200e-5"),
        ] {
            assert_eq!(short_number(number), text);
        }
    }

    #[test]
    fn edges_are_numbers_or_instants() {
        assert_eq!(edge("-5").unwrap().kind, Some(Kind::Int64Value(-5)));
        assert_eq!(edge("0.5").unwrap().kind, Some(Kind::DoubleValue(0.5)));
        assert!(matches!(
            edge("2026-01-31").unwrap().kind,
            Some(Kind::TimestampValue(_))
        ));
        assert!(edge("soon").is_err());
    }
}
