//! What the users of a selection are like: breakdowns and summaries.

use prost::Message;

use super::Api;
use super::convert::{self, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::query::{TIME_RESOLUTION, bind, time_resolution};
use crate::model::{PropertyName, Reason, Timestamp, limit};
use crate::proto::{
    self, BreakdownRequest, BreakdownResponse, SummarizeRequest, SummarizeResponse,
    summarize_request,
};
use crate::query::{
    self, Breakdown, BreakdownError, Deviation, HistogramBins, Statistics, Subject, SummaryError,
};

const ROOT: Path<'static> = Path::Root;

impl Api {
    pub(super) async fn break_down(
        &self,
        request: BreakdownRequest,
        deadline: Deadline,
    ) -> Result<BreakdownResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        let properties = properties(&request.properties)?;
        let limit = value_limit(request.limit)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            let bound = bind(&population, &selected, as_of)?;
            let breakdown = query::breakdown(&population, &bound, &properties, limit, stop)
                .map_err(|error| breakdown_error(&error, &properties))?;
            let as_of = convert::timestamp_message(as_of);
            let response = BreakdownResponse {
                time_resolution: time_resolution([&bound]),
                ..breakdown_message(breakdown, revision, as_of)
            };
            limit::ANSWER_BYTES
                .check(response.encoded_len() as u64)
                .map_err(|exceeded| ApiError::limit(&Path::Field(&ROOT, "limit"), &exceeded))?;
            Ok(response)
        })
        .await
    }

    pub(super) async fn summary(
        &self,
        request: SummarizeRequest,
        deadline: Deadline,
    ) -> Result<SummarizeResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        check_percentiles(&request.percentiles)?;
        let bins = bins(request.bins)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        let percentiles = request.percentiles;
        let (property, of_events) = (request.property, request.of_events);
        self.evaluate(deadline, move |stop| {
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            let subject = subject(property, of_events, as_of)?;
            let bound = bind(&population, &selected, as_of)?;
            let is_of_events = matches!(subject, Subject::Events(..));
            let summary =
                query::summarize(&population, &bound, &subject, &percentiles, &bins, stop)
                    .map_err(summary_error)?;
            let count = summary.users - summary.missing;
            Ok(SummarizeResponse {
                users: summary.users,
                missing: summary.missing,
                statistics: summary
                    .statistics
                    .map(|statistics| statistics_message(statistics, count, &percentiles)),
                revision,
                as_of: Some(convert::timestamp_message(as_of)),
                time_resolution: time_resolution([&bound])
                    .or(is_of_events.then_some(TIME_RESOLUTION)),
            })
        })
        .await
    }
}

fn properties(names: &[String]) -> Result<Vec<PropertyName>, ApiError> {
    let path = Path::Field(&ROOT, "properties");
    if names.is_empty() {
        return Err(ApiError::field(
            &path,
            "must not be empty; give at least one property",
        ));
    }
    limit::PROPERTIES_PER_BREAKDOWN
        .check(names.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let names = names.iter().enumerate();
    names
        .map(|(position, name)| convert::property_name(name.as_str(), &path.index(position)))
        .collect()
}

/// A property or a measure of events, whichever is given.
fn subject(
    property: String,
    of_events: Option<proto::EventMeasure>,
    as_of: Timestamp,
) -> Result<Subject, ApiError> {
    let path = Path::Field(&ROOT, "property");
    match of_events {
        None => convert::property_name(property, &path).map(Subject::Property),
        Some(_) if !property.is_empty() => Err(ApiError::field(
            &path,
            "must be empty where of_events is set: a summary is of one of them",
        )),
        Some(measure) => {
            let measure = convert::event_measure(measure, &Path::Field(&ROOT, "of_events"))?;
            Ok(Subject::Events(measure, as_of))
        }
    }
}

/// `None` for all values.
fn value_limit(given: i32) -> Result<Option<usize>, ApiError> {
    let path = Path::Field(&ROOT, "limit");
    let Ok(given) = u32::try_from(given) else {
        return Err(ApiError::field(
            &path,
            format!("expected a number from 0, found {given}"),
        ));
    };
    limit::VALUES_PER_BREAKDOWN
        .check(given.into())
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    Ok((given > 0).then_some(given as usize))
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), ApiError> {
    let path = Path::Field(&ROOT, "percentiles");
    limit::PERCENTILES_PER_SUMMARY
        .check(percentiles.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    for (position, percent) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(percent) {
            return Err(ApiError::field(
                &path.index(position),
                format!("expected a number from 0 to 100, found {percent}"),
            ));
        }
    }
    Ok(())
}

fn bins(given: Option<summarize_request::Bins>) -> Result<HistogramBins, ApiError> {
    match given {
        None => Ok(HistogramBins::Suitable),
        Some(summarize_request::Bins::BinCount(count)) => {
            let path = Path::Field(&ROOT, "bin_count");
            if count == 0 {
                return Err(ApiError::field(&path, "expected a number from 1, found 0"));
            }
            limit::BINS_PER_HISTOGRAM
                .check(count.into())
                .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
            Ok(HistogramBins::Equal(count.into()))
        }
        Some(summarize_request::Bins::BinEdges(given)) => {
            let path = Path::Field(&ROOT, "bin_edges");
            let path = Path::Field(&path, "edges");
            limit::BINS_PER_HISTOGRAM
                .check((given.edges.len() as u64).saturating_sub(1))
                .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
            let edges = given.edges.into_iter().enumerate();
            let edges = edges.map(|(position, edge)| {
                let path = path.index(position);
                convert::value(edge, &path)?
                    .ok_or_else(|| ApiError::field(&path, "an edge can't be null"))
            });
            Ok(HistogramBins::Edges(edges.collect::<Result<_, _>>()?))
        }
    }
}

fn breakdown_error(error: &BreakdownError, properties: &[PropertyName]) -> ApiError {
    let list = Path::Field(&ROOT, "properties");
    let field = |property: &str| {
        let position = properties.iter().position(|name| name.as_str() == property);
        list.index(position.unwrap_or(0)).to_string()
    };
    match error {
        BreakdownError::Property(cause) => {
            let field = field(cause.subject().1);
            ApiError::from(cause.clone()).at(field)
        }
        BreakdownError::TooManyValues { property, exceeded }
        | BreakdownError::TooManyNumbers { property, exceeded } => ApiError::limit(&list, exceeded)
            .saying(error)
            .fact("property", property)
            .at(field(property.as_str())),
        BreakdownError::Stopped(stopped) => (*stopped).into(),
    }
}

fn summary_error(error: SummaryError) -> ApiError {
    match error {
        SummaryError::Subject(cause) => {
            let reason = cause.reason();
            let field = if reason == Reason::UnknownEvent {
                "of_events.event"
            } else if reason == Reason::BeyondRetention {
                "of_events.window"
            } else if reason == Reason::UnknownProperty || cause.is_operator() {
                "property"
            } else {
                "bin_edges.edges"
            };
            ApiError::from(cause).at(field)
        }
        SummaryError::EdgeType { position, .. } | SummaryError::Edges { position } => {
            let path = Path::Field(&ROOT, "bin_edges");
            let path = Path::Field(&path, "edges");
            ApiError::field(&path.index(position), error)
        }
        SummaryError::Stopped(stopped) => stopped.into(),
    }
}

fn breakdown_message(
    breakdown: Breakdown,
    revision: String,
    as_of: prost_types::Timestamp,
) -> BreakdownResponse {
    let properties = breakdown.properties.into_iter();
    let properties = properties.map(|counted| proto::PropertyBreakdown {
        property: counted.property.as_str().to_owned(),
        missing: counted.missing,
        distinct_values: counted.distinct_values,
        values: counted
            .values
            .into_iter()
            .map(convert::value_count_message)
            .collect(),
    });
    BreakdownResponse {
        users: breakdown.users,
        properties: properties.collect(),
        revision,
        as_of: Some(as_of),
        time_resolution: None,
    }
}

pub(super) fn statistics_message(
    statistics: Statistics,
    count: u64,
    percentiles: &[f64],
) -> proto::Statistics {
    let skewed = statistics.is_skewed();
    let value = |value| Some(convert::value_message(value));
    let percentiles = percentiles.iter().zip(statistics.percentiles);
    let bins = statistics.histogram.bins.into_iter();
    proto::Statistics {
        count,
        min: value(statistics.min),
        max: value(statistics.max),
        mean: value(statistics.mean),
        standard_deviation: match statistics.standard_deviation {
            Deviation::Number(number) => number,
            Deviation::Span(span) => convert::seconds(span),
        },
        median: value(statistics.median),
        percentiles: percentiles
            .map(|(&percent, found)| proto::Percentile {
                percent,
                value: value(found),
            })
            .collect(),
        skew: statistics.skew,
        skewed,
        histogram: Some(proto::Histogram {
            bins: bins
                .map(|bin| proto::HistogramBin {
                    from: value(bin.from),
                    to: value(bin.to),
                    count: bin.count,
                })
                .collect(),
            below: statistics.histogram.below,
            above: statistics.histogram.above,
        }),
    }
}
