//! `rfm`: how recently, how often and for how much each user did something, in scores, and the
//! groups of users that marketing people make of these.
//!
//! Every number that is printed is the answer of a public question to the service: the edges are
//! percentiles of `Summarize`, all counts those of `BatchCount` for filters that are printed, so that
//! a group is what its filter selects.
//!
//! Invariants: users with equal values have the same score; each user with such an event has one
//! score of each kind and is in one group.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::measure;
use super::output::{self, Output, printable};
use super::query::{EVERYONE, instant};
use crate::filter;
use crate::model::{
    Amount, EventMeasure, EventName, Expression, Instant, Measure, Measured, Span, WhichEvent,
    Window, Zone,
};
use crate::proto::value::Kind;
use crate::proto::{
    BatchCountRequest, Selection, SummarizeRequest, SummarizeResponse, Value, selection,
    summarize_request,
};

mod edges;
mod show;

use edges::{Edges, Scale};

#[derive(Debug, Args)]
pub(super) struct RfmArgs {
    /// The name of the events, such as purchase.
    event: String,
    /// The filter; everyone if left out.
    #[arg(default_value = EVERYONE)]
    filter: String,
    /// Which events by their time, such as 365d or "last 12 months"; all that are kept if left out.
    #[arg(long)]
    window: Option<String>,
    /// How many scores there are. The groups have names if there are 5.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=10))]
    quantiles: u8,
    /// The instant that `now()` stands for: a date or RFC 3339; the present if left out.
    #[arg(long)]
    as_of: Option<String>,
}

/// A group by its scores of recency and frequency, both ends included.
struct Named {
    name: &'static str,
    recency: (usize, usize),
    frequency: (usize, usize),
}

const fn named(name: &'static str, recency: (usize, usize), frequency: (usize, usize)) -> Named {
    Named {
        name,
        recency,
        frequency,
    }
}

/// The number of scores that the groups are made of.
const SCORES: usize = 5;

/// The groups as they are usually made of five scores: they cover all 25 pairs, each once.
const GROUPS: [Named; 10] = [
    named("champions", (5, 5), (4, 5)),
    named("loyal", (3, 4), (4, 5)),
    named("potential loyal", (4, 5), (2, 3)),
    named("new", (5, 5), (1, 1)),
    named("promising", (4, 4), (1, 1)),
    named("need attention", (3, 3), (3, 3)),
    named("about to sleep", (3, 3), (1, 2)),
    named("can't lose", (1, 2), (5, 5)),
    named("at risk", (1, 2), (3, 4)),
    named("hibernating", (1, 2), (1, 2)),
];

/// One of the three scores.
struct Score {
    name: &'static str,
    edges: Edges,
    /// By score, from 1: the values as people read them, the filter, how many users.
    rows: Vec<Row>,
}

struct Row {
    range: String,
    filter: String,
    users: u64,
}

struct Cell {
    recency: usize,
    frequency: usize,
    filter: String,
    users: u64,
}

struct Group {
    name: &'static str,
    filter: String,
    users: u64,
    /// The mean of the sums.
    mean: Option<f64>,
}

/// All that is told.
struct Report {
    /// How many users have such an event.
    users: u64,
    filter: String,
    as_of: String,
    revision: String,
    scores: [Score; 3],
    cells: Vec<Cell>,
    groups: Vec<Group>,
}

pub(super) async fn rfm(client: Client, args: RfmArgs, output: Output) -> Result<u8, CliError> {
    let asker = Asker::new(client, &args)?;
    let Some(report) = asker.report(&args).await? else {
        let filter = asker.someone(&args.filter)?.with(&[], false);
        output.answer(
            || format!("nobody: {}", printable(&filter)),
            || json!({ "users": 0, "filter": filter }),
        )?;
        return Ok(0);
    };
    output.answer(|| show::text(&report), || show::json(&report))?;
    if !output.is_json() {
        for line in show::uneven(&report) {
            output::note(&line);
        }
    }
    Ok(0)
}

/// What all questions have in common.
struct Asker {
    client: Client,
    event: EventName,
    window: Window,
    zone: Zone,
}

impl Asker {
    fn new(client: Client, args: &RfmArgs) -> Result<Self, CliError> {
        let event = EventName::new(args.event.as_str())
            .map_err(|error| CliError::Input(format!("the name of the event: {error}")))?;
        let (window, zone) = match &args.window {
            None => (Window::Ever, Zone::utc()),
            Some(window) => {
                let read = measure::read("--window", &format!("count(event, {window})"))?;
                (read.window, read.zone)
            }
        };
        Ok(Self {
            client,
            event,
            window,
            zone,
        })
    }

    fn measure(&self, measured: Measured) -> EventMeasure {
        EventMeasure {
            event: self.event.clone(),
            window: self.window.clone(),
            zone: self.zone.clone(),
            measured,
        }
    }

    async fn summarize(
        &self,
        measured: Measured,
        filter: &str,
        percentiles: Vec<f64>,
        as_of: Option<prost_types::Timestamp>,
    ) -> Result<SummarizeResponse, CliError> {
        let request = SummarizeRequest {
            population: self.client.population.clone(),
            selection: Some(summarize_request::Selection::Filter(filter.to_owned())),
            of_events: Some(measure::message(&self.measure(measured))),
            percentiles,
            as_of,
            ..SummarizeRequest::default()
        };
        let answer = self.client.query().summarize(request).await;
        Ok(answer
            .map_err(|status| CliError::from(status).about_filter(filter))?
            .into_inner())
    }

    async fn count(
        &self,
        filters: &[String],
        as_of: Option<prost_types::Timestamp>,
    ) -> Result<(Vec<u64>, String), CliError> {
        let selections = filters.iter().map(|filter| Selection {
            selection: Some(selection::Selection::Filter(filter.clone())),
        });
        let request = BatchCountRequest {
            population: self.client.population.clone(),
            selections: selections.collect(),
            as_of,
            min_revision: String::new(),
        };
        let answer = self.client.query().batch_count(request).await?;
        let answer = answer.into_inner();
        Ok((answer.counts, answer.revision))
    }

    /// `None` if nobody has such an event.
    async fn report(&self, args: &RfmArgs) -> Result<Option<Report>, CliError> {
        let last = Measured::Time(WhichEvent::Last);
        let count = Measured::Number(Measure::Count);
        let sum = Measured::Number(Measure::Sum);
        let scores = usize::from(args.quantiles);
        let percentiles: Vec<f64> = (1..args.quantiles)
            .map(|n| f64::from(n) * 100.0 / f64::from(args.quantiles))
            .collect();
        let asked = instant(args.as_of.as_deref())?;
        let recency = self.summarize(last, &args.filter, percentiles.clone(), asked);
        let recency = recency.await?;
        // The same instant for all that follows.
        let as_of = recency.as_of;
        let frequency = self.summarize(count, &args.filter, percentiles.clone(), as_of);
        let frequency = frequency.await?;
        let monetary = self
            .summarize(sum, &args.filter, percentiles, as_of)
            .await?;
        let edges = [
            (Scale::Time(micros(as_of)), last, &recency),
            (Scale::Whole, count, &frequency),
            (Scale::Amount, sum, &monetary),
        ]
        .map(|(scale, measured, answer)| {
            let statistics = answer.statistics.as_ref()?;
            let text = self.measure(measured).to_string();
            let percentiles = statistics.percentiles.iter().map(|found| &found.value);
            let numbers: Option<Vec<f64>> =
                percentiles.map(|value| number(value.as_ref())).collect();
            let ends = (
                number(statistics.min.as_ref())?,
                number(statistics.max.as_ref())?,
            );
            Some(Edges::new(text, scale, &numbers?, ends))
        });
        let [Some(recency), Some(frequency), Some(monetary)] = edges else {
            return Ok(None);
        };
        let someone = self.someone(&args.filter)?;
        let mut report = Report::new(scores, &someone, [recency, frequency, monetary]);
        report.as_of = as_of
            .as_ref()
            .map(super::value::timestamp_text)
            .unwrap_or_default();
        let (counts, revision) = self.count(&report.filters(), as_of).await?;
        report.revision = revision;
        report.take_counts(&counts);
        for group in &mut report.groups {
            let answer = self
                .summarize(sum, &group.filter, Vec::new(), as_of)
                .await?;
            let mean = answer.statistics.and_then(|statistics| statistics.mean);
            group.mean = number(mean.as_ref());
        }
        Ok(Some(report))
    }

    /// The filter of those who have such an event, and what it asks beside that.
    fn someone(&self, given: &str) -> Result<Someone, CliError> {
        let parsed = filter::parse(given);
        let parsed = parsed.map_err(|error| CliError::Input(error.to_string()))?;
        let given = match &parsed {
            Expression::Everyone => None,
            Expression::Or(_) => Some(format!("({parsed})")),
            Expression::Not(_)
            | Expression::And(_)
            | Expression::AtLeast { .. }
            | Expression::Predicate(_)
            | Expression::Event(_)
            | Expression::Segment(_)
            | Expression::Bucket(_) => Some(parsed.to_string()),
        };
        let has_event = format!("{} >= 1", self.measure(Measured::Number(Measure::Count)));
        Ok(Someone { given, has_event })
    }
}

/// Those who are scored.
struct Someone {
    /// What was asked of them, if anything.
    given: Option<String>,
    has_event: String,
}

impl Someone {
    /// Those of them for whom all conditions are true. The time of an event is missing where there
    /// is none; other conditions need to be told.
    fn with(&self, conditions: &[String], asks_time: bool) -> String {
        let has_event = (!asks_time).then_some(&self.has_event);
        let all = self.given.iter().chain(has_event).chain(conditions);
        all.map(String::as_str).collect::<Vec<_>>().join(" AND ")
    }
}

impl Report {
    fn new(scores: usize, someone: &Someone, edges: [Edges; 3]) -> Self {
        let groups = if scores == SCORES { &GROUPS[..] } else { &[] };
        let [recency, frequency, monetary] = edges;
        let both = |of_recency, of_frequency| {
            let mut conditions = recency.between(of_recency);
            let asks_time = !conditions.is_empty();
            conditions.extend(frequency.between(of_frequency));
            someone.with(&conditions, asks_time)
        };
        let pairs = (1..=scores)
            .rev()
            .flat_map(|r| (1..=scores).map(move |f| (r, f)));
        let cells = pairs.map(|(r, f)| Cell {
            recency: r,
            frequency: f,
            filter: both((r, r), (f, f)),
            users: 0,
        });
        let cells = cells.collect();
        let groups = groups.iter().map(|group| Group {
            name: group.name,
            filter: both(group.recency, group.frequency),
            users: 0,
            mean: None,
        });
        let groups = groups.collect();
        let filter = someone.with(&[], false);
        let score = |name, edges: Edges| {
            let rows = (1..=scores).map(|score| Row {
                range: edges.range(score),
                filter: someone.with(&edges.between((score, score)), edges.is_time()),
                users: 0,
            });
            Score {
                name,
                rows: rows.collect(),
                edges,
            }
        };
        Self {
            users: 0,
            filter,
            as_of: String::new(),
            revision: String::new(),
            scores: [
                score("recency", recency),
                score("frequency", frequency),
                score("monetary", monetary),
            ],
            cells,
            groups,
        }
    }

    /// All that is to be counted: the places of the counts, and their filters.
    fn places(&mut self) -> Vec<(&mut u64, &String)> {
        let mut places = vec![(&mut self.users, &self.filter)];
        let rows = self.scores.iter_mut().flat_map(|score| &mut score.rows);
        places.extend(rows.map(|row| (&mut row.users, &row.filter)));
        places.extend(
            self.cells
                .iter_mut()
                .map(|cell| (&mut cell.users, &cell.filter)),
        );
        places.extend(
            self.groups
                .iter_mut()
                .map(|group| (&mut group.users, &group.filter)),
        );
        places
    }

    fn filters(&mut self) -> Vec<String> {
        let places = self.places().into_iter();
        places.map(|(_, filter)| filter.clone()).collect()
    }

    fn take_counts(&mut self, counts: &[u64]) {
        for ((users, _), count) in self.places().into_iter().zip(counts) {
            *users = *count;
        }
    }
}

/// Microseconds since 1970.
fn micros(timestamp: Option<prost_types::Timestamp>) -> i64 {
    let timestamp = timestamp.unwrap_or_default();
    let seconds = timestamp.seconds.saturating_mul(1_000_000);
    seconds.saturating_add(i64::from(timestamp.nanos / 1_000))
}

/// A value as a number; of an instant, microseconds since 1970.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and the microseconds of thousands of years fit exactly"
)]
fn number(value: Option<&Value>) -> Option<f64> {
    match value?.kind.as_ref()? {
        Kind::DoubleValue(number) => Some(*number),
        Kind::Int64Value(number) => Some(*number as f64),
        Kind::TimestampValue(timestamp) => Some(micros(Some(*timestamp)) as f64),
        Kind::NullValue(_)
        | Kind::BoolValue(_)
        | Kind::StringValue(_)
        | Kind::StringSetValue(_)
        | Kind::VersionValue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_scores_is_in_one_group() {
        for recency in 1..=SCORES {
            for frequency in 1..=SCORES {
                let within = |(from, to): (usize, usize), score| from <= score && score <= to;
                let holds =
                    |g: &&Named| within(g.recency, recency) && within(g.frequency, frequency);
                assert_eq!(
                    GROUPS.iter().filter(holds).count(),
                    1,
                    "{recency} {frequency}"
                );
            }
        }
    }
}
