//! What a new definition of a segment would change, before anything is saved.

use super::Api;
use super::convert::{self, Path, SAMPLE};
use super::deadline::Deadline;
use super::error::ApiError;
use super::query::TIME_RESOLUTION;
use crate::model::{SegmentName, UserId};
use crate::population::Refusal;
use crate::proto::{
    DependentSegment, PreviewClause, PreviewSegmentRequest, PreviewSegmentResponse,
};
use crate::query::{self, BindError, Preview, PreviewError, Previewed};

const ROOT: Path<'static> = Path::Root;
/// Of so many segments that are made of the previewed one the names are told.
const NAMED_DEPENDENTS: usize = 100;

impl Api {
    pub(super) async fn previewed(
        &self,
        request: PreviewSegmentRequest,
        deadline: Deadline,
    ) -> Result<PreviewSegmentResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let segment = match request.name.as_str() {
            "" => None,
            name => Some(convert::segment_name(name, &Path::Field(&ROOT, "name"))?),
        };
        let (definition, from) = convert::previewed_definition(request.definition)?;
        let sample = SAMPLE.asked_by("sample_size", request.sample_size)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            // As for one that is saved: first whether it can have a definition, then what that names,
            // then what it would lead to.
            let judged = population.judge_definition(segment.as_ref(), &definition);
            if let Err(refusal @ Refusal::SegmentIsList { .. }) = judged {
                return Err(ApiError::from(refusal).at(&from));
            }
            match query::bind(&population, &definition, as_of) {
                // How large it may be is judged, as for one that is saved.
                Ok(_) | Err(BindError::TooLarge { .. }) => {}
                Err(BindError::UnknownSegment { segment: named, .. })
                    if segment.as_ref() == Some(&named) => {}
                Err(error) => return Err(ApiError::from(error).at(&from)),
            }
            let judged = judged.map_err(|refusal| ApiError::from(refusal).at(&from))?;
            let bound = Previewed::bind(&population, segment.as_ref(), &definition, &judged, as_of);
            let bound = bound.map_err(|error| preview_error(error, &from))?;
            let preview = query::preview(&population, &bound, sample, stop)?;
            let time_resolution = bound.depends_on_time().then_some(TIME_RESOLUTION);
            Ok(PreviewSegmentResponse {
                exists: judged.exists,
                revision,
                as_of: Some(convert::timestamp_message(as_of)),
                time_resolution,
                ..preview_message(preview, &judged.dependents)
            })
        })
        .await
    }
}

fn preview_error(error: PreviewError, from: &str) -> ApiError {
    match error {
        PreviewError::Definition(error) => ApiError::from(error).at(from),
        PreviewError::Before(error) => ApiError::from(error).at("name"),
    }
}

fn ids(users: &[UserId]) -> Vec<String> {
    users.iter().map(|user| user.as_str().to_owned()).collect()
}

fn preview_message(preview: Preview, dependents: &[SegmentName]) -> PreviewSegmentResponse {
    let passage = preview.passage;
    let mut counted = preview.dependents.into_iter();
    let named = dependents.iter().take(NAMED_DEPENDENTS).map(|name| {
        let passage = counted.next().flatten();
        DependentSegment {
            name: name.as_str().to_owned(),
            entering: passage.map(|passage| passage.enter),
            leaving: passage.map(|passage| passage.leave),
        }
    });
    let named = named.collect();
    let clauses = preview.clauses.into_iter();
    PreviewSegmentResponse {
        users: preview.users,
        count_now: passage.now(),
        count_then: passage.then(),
        entering: passage.enter,
        leaving: passage.leave,
        staying: passage.stay,
        entering_user_ids: ids(&preview.entering),
        leaving_user_ids: ids(&preview.leaving),
        clauses: clauses
            .map(|clause| PreviewClause {
                filter: clause.filter,
                count: clause.count,
                remaining: clause.remaining,
            })
            .collect(),
        dependent_count: u32::try_from(dependents.len()).unwrap_or(u32::MAX),
        dependents: named,
        ..PreviewSegmentResponse::default()
    }
}
