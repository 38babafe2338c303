//! Selections beside each other: how they overlap, and what sets the users of one apart.

use std::sync::Arc;

use prost::Message;

use super::Api;
use super::analysis::statistics_message;
use super::convert::{self, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::query::{bind, time_resolution};
use crate::model::{PropertyName, limit};
use crate::proto::{
    self, CompareRequest, CompareResponse, OverlapRequest, OverlapResponse, finding,
};
use crate::query::{
    self, Bound, COMPARED_PERCENTILES, CompareError, Comparison, Finding, Interval,
    NumberComparison, Overlap, OverlapError, PropertyComparison, What,
};

/// Findings that are returned if no limit is given.
const FINDINGS: usize = 20;

const ROOT: Path<'static> = Path::Root;

impl Api {
    pub(super) async fn overlap_of(
        &self,
        request: OverlapRequest,
        deadline: Deadline,
    ) -> Result<OverlapResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let path = Path::Field(&ROOT, "selections");
        if request.selections.len() < 2 {
            return Err(ApiError::field(&path, "give at least two selections"));
        }
        limit::SELECTIONS_PER_OVERLAP
            .check(request.selections.len() as u64)
            .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let path = Path::Field(&ROOT, "selections");
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            let selections = request.selections.into_iter().enumerate();
            let bounds = selections.map(|(position, given)| {
                stop.check()?;
                let path = Path::Index(&path, position);
                let selected = convert::selection(&api.filters, given.selection, &path)?;
                bind(&population, &selected, as_of)
            });
            // Nothing is counted unless all are right.
            let bounds = bounds.collect::<Result<Vec<_>, ApiError>>()?;
            let overlap = query::overlap(&population, &bounds, stop);
            let overlap = overlap.map_err(|error| match &error {
                OverlapError::TooMany(exceeded) => ApiError::limit(&path, exceeded).saying(&error),
                OverlapError::Stopped(stopped) => (*stopped).into(),
            })?;
            Ok(OverlapResponse {
                revision,
                as_of: Some(convert::timestamp_message(as_of)),
                time_resolution: time_resolution(&bounds),
                ..overlap_message(overlap)
            })
        })
        .await
    }

    pub(super) async fn comparison(
        &self,
        request: CompareRequest,
        deadline: Deadline,
    ) -> Result<CompareResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        let against = request.against.map(|against| {
            let path = Path::Field(&ROOT, "against");
            convert::selection(&self.filters, against.selection, &path)
        });
        let against = against.transpose()?;
        let properties = properties(&request.properties)?;
        let limit = finding_limit(request.limit)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            let bound = bind(&population, &selected, as_of)?;
            let against: Option<Arc<Bound>> = against
                .map(|against| bind(&population, &against, as_of))
                .transpose()?;
            let against = against.as_ref();
            let comparison = query::compare(&population, &bound, against, &properties, limit, stop)
                .map_err(|error| compare_error(error, &properties))?;
            let response = CompareResponse {
                revision,
                as_of: Some(convert::timestamp_message(as_of)),
                time_resolution: time_resolution([&bound].into_iter().chain(against)),
                ..comparison_message(comparison)
            };
            limit::ANSWER_BYTES
                .check(response.encoded_len() as u64)
                .map_err(|exceeded| {
                    ApiError::limit(&Path::Field(&ROOT, "limit"), &exceeded)
                        .saying(format!("{exceeded}; ask for fewer findings or properties"))
                })?;
            Ok(response)
        })
        .await
    }
}

/// The properties to compare, each once; none for all.
fn properties(names: &[String]) -> Result<Vec<PropertyName>, ApiError> {
    let path = Path::Field(&ROOT, "properties");
    limit::PROPERTIES_PER_COMPARISON
        .check(names.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let mut properties: Vec<PropertyName> = Vec::with_capacity(names.len());
    for (position, name) in names.iter().enumerate() {
        let path = path.index(position);
        let name = convert::property_name(name.as_str(), &path)?;
        if properties.contains(&name) {
            return Err(ApiError::field(
                &path,
                format!("property {name:?} is named twice; each is compared once"),
            ));
        }
        properties.push(name);
    }
    Ok(properties)
}

fn finding_limit(given: i32) -> Result<usize, ApiError> {
    let path = Path::Field(&ROOT, "limit");
    let Ok(given) = u16::try_from(given.min(u16::MAX.into())) else {
        return Err(ApiError::field(
            &path,
            format!("expected a number from 0, found {given}"),
        ));
    };
    limit::FINDINGS_PER_COMPARISON
        .check(given.into())
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    Ok(if given == 0 { FINDINGS } else { given.into() })
}

fn compare_error(error: CompareError, properties: &[PropertyName]) -> ApiError {
    match error {
        CompareError::Property(cause) => {
            let (_, name) = cause.subject();
            let position = properties.iter().position(|given| given.as_str() == name);
            let path = Path::Field(&ROOT, "properties");
            let field = path.index(position.unwrap_or(0)).to_string();
            ApiError::from(cause).at(field)
        }
        CompareError::Stopped(stopped) => stopped.into(),
    }
}

/// A part of a whole; 0 of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share is an approximate number"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The position of a selection: below 100.
fn position(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn overlap_message(overlap: Overlap) -> OverlapResponse {
    let count = |selection: usize| overlap.counts.get(selection).copied().unwrap_or(0);
    let pairs = overlap.pairs.iter().map(|pair| {
        let (first, second) = (count(pair.first), count(pair.second));
        proto::PairOverlap {
            first: position(pair.first),
            second: position(pair.second),
            count: pair.count,
            jaccard: share(pair.count, first + second - pair.count),
            share_of_first: share(pair.count, first),
            share_of_second: share(pair.count, second),
        }
    });
    let pairs = pairs.collect();
    let selections = overlap.counts.iter().zip(&overlap.only);
    let regions = overlap.regions.into_iter();
    let reach = overlap.reach.iter();
    OverlapResponse {
        users: overlap.users,
        users_in_any: overlap.in_any,
        users_in_none: overlap.users - overlap.in_any,
        selections: selections
            .map(|(&count, &only_here)| proto::SelectionReach { count, only_here })
            .collect(),
        pairs,
        regions: regions
            .map(|region| proto::OverlapRegion {
                selections: region.selections.into_iter().map(position).collect(),
                count: region.count,
            })
            .collect(),
        reach: reach
            .map(|step| proto::ReachStep {
                selection: position(step.selection),
                added: step.added,
                reached: step.reached,
            })
            .collect(),
        revision: String::new(),
        as_of: None,
        time_resolution: None,
    }
}

fn comparison_message(comparison: Comparison) -> CompareResponse {
    let left_out = comparison.left_out.iter();
    CompareResponse {
        users: comparison.users,
        against_users: comparison.against_users,
        tests: comparison.tests,
        significant: comparison.significant,
        findings: comparison
            .findings
            .into_iter()
            .map(finding_message)
            .collect(),
        properties: comparison
            .properties
            .into_iter()
            .map(|property| {
                let users = (comparison.users, comparison.against_users);
                property_message(property, users)
            })
            .collect(),
        left_out: left_out.map(|name| name.as_str().to_owned()).collect(),
        revision: String::new(),
        as_of: None,
        time_resolution: None,
    }
}

fn interval_message(interval: Interval) -> proto::Interval {
    proto::Interval {
        lower: interval.lower,
        upper: interval.upper,
    }
}

fn finding_message(finding: Finding) -> proto::Finding {
    proto::Finding {
        property: finding.property.as_str().to_owned(),
        what: Some(match finding.what {
            What::Value(value) => finding::What::Value(convert::value_message(value)),
            What::Range {
                from,
                to,
                includes_to,
            } => finding::What::Range(proto::ValueRange {
                from: from.map(convert::value_message),
                to: to.map(convert::value_message),
                includes_to,
            }),
            What::NotSet => finding::What::NotSet(true),
        }),
        count: finding.count,
        against_count: finding.against_count,
        share: finding.share,
        against_share: finding.against_share,
        difference: Some(interval_message(finding.difference)),
        lift: finding.lift,
        lift_interval: finding.lift_interval.map(interval_message),
        effect: finding.effect,
        p_value: finding.p_value,
        adjusted_p_value: finding.adjusted_p_value,
    }
}

fn property_message(
    compared: PropertyComparison,
    (users, against_users): (u64, u64),
) -> proto::PropertyComparison {
    let (having, against_having) = (
        users - compared.missing,
        against_users - compared.against_missing,
    );
    proto::PropertyComparison {
        property: compared.property.as_str().to_owned(),
        effect: compared.effect,
        missing: compared.missing,
        against_missing: compared.against_missing,
        tests: compared.tests,
        significant: compared.significant,
        untested_values: compared.untested_values,
        numbers: compared
            .numbers
            .map(|numbers| numbers_message(numbers, having, against_having)),
    }
}

fn numbers_message(
    numbers: NumberComparison,
    having: u64,
    against_having: u64,
) -> proto::NumberComparison {
    let message = |statistics, count| statistics_message(statistics, count, &COMPARED_PERCENTILES);
    proto::NumberComparison {
        statistics: numbers
            .statistics
            .map(|statistics| message(statistics, having)),
        against_statistics: numbers
            .against_statistics
            .map(|statistics| message(statistics, against_having)),
        distance: numbers.distance,
    }
}
