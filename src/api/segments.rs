//! Saved segments: kept, changed, and told of users.
//!
//! A definition is bound before it is saved, so that what it names exists and has the right type;
//! whether segments lead back to themselves, and how large they are together, is judged by the
//! population.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tonic::{Request, Response};

use super::access::{Asks, Caller, begin, begin_as};
use super::convert::{self, CATALOG_PAGE, ChangedSegment, NewSegment, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::lists::First;
use super::token::{Page, Tokens, request_hash};
use super::{Api, RpcStatus, watch};
use crate::engine::{CommitError, Committed};
use crate::model::{
    Action, Command, Expression, PopulationName, Reason, Revision, SegmentName, UserId, limit,
};
use crate::population::{Population, Refusal, SavedSegment};
use crate::proto::{
    AddSegmentMembersRequest, AddSegmentMembersResponse, CreateSegmentRequest,
    CreateSegmentResponse, DeleteSegmentRequest, DeleteSegmentResponse, GetSegmentRequest,
    GetSegmentResponse, ListSegmentsRequest, ListSegmentsResponse, ListUserSegmentsRequest,
    ListUserSegmentsResponse, PreviewSegmentRequest, PreviewSegmentResponse,
    RemoveSegmentMembersRequest, RemoveSegmentMembersResponse, Segment, SegmentError,
    UpdateSegmentRequest, UpdateSegmentResponse, WatchSegmentsRequest,
    segment_service_server::SegmentService,
};
use crate::query::{self, BindError, SegmentChecker, Stop};

const ROOT: Path<'static> = Path::Root;

/// With no more different predicates than these in all segments, a user is checked against all of
/// them where the call arrives.
const INLINE_PREDICATES: usize = 256;

/// Where in a request that changes a segment what can be at fault is.
pub(super) struct Fields<'a> {
    pub(super) name: &'a str,
    pub(super) etag: &'a str,
    pub(super) definition: &'a str,
}

#[tonic::async_trait]
impl SegmentService for Api {
    type WatchSegmentsStream = watch::ResponseStream;

    async fn watch_segments(
        &self,
        request: Request<WatchSegmentsRequest>,
    ) -> Result<Response<Self::WatchSegmentsStream>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let stream = self.watch(request, deadline).await?;
        Ok(Response::new(stream))
    }

    async fn create_segment(
        &self,
        request: Request<CreateSegmentRequest>,
    ) -> Result<Response<CreateSegmentResponse>, RpcStatus> {
        let (deadline, caller, request) = begin_as(request)?;
        let reads = reads(caller.as_ref(), &request);
        let name = convert::population_name(request.population)?;
        let (declaration, from) = match convert::new_segment(request.segment)? {
            NewSegment::Filter(declaration, from) => (declaration, from),
            NewSegment::List(declaration) => {
                let first = First {
                    user_ids: request.user_ids,
                    freeze: request.freeze,
                };
                let created = self.create_list(name, declaration, first, deadline);
                let mut created = created.await?;
                created.segment = created.segment.map(|segment| shown(segment, reads));
                return Ok(Response::new(created));
            }
        };
        let of_lists = [
            (!request.user_ids.is_empty(), "user_ids"),
            (request.freeze.is_some(), "freeze"),
        ];
        if let Some((_, field)) = of_lists.into_iter().find(|(is_given, _)| *is_given) {
            return Err(ApiError::field(
                &Path::Field(&ROOT, field),
                "gives the first members of a static list; set segment.static_list, and neither filter nor expression",
            )
            .into());
        }
        let population = self.population(&name)?;
        let segment = declaration.name.clone();
        let definition = declaration.definition.clone();
        self.check_definition(&population, &segment, definition, &from, deadline)
            .await?;
        let action = Action::CreateSegment(Box::new(declaration), self.engine.now());
        let fields = Fields {
            name: "segment.name",
            etag: "segment.etag",
            definition: &from,
        };
        let committed = self
            .commit_segment(name, action, &population, &fields, deadline)
            .await?;
        Ok(Response::new(CreateSegmentResponse {
            segment: Some(shown(
                self.saved(&population, &segment, fields.name)?,
                reads,
            )),
            revision: self.revision(committed.revision),
            ..CreateSegmentResponse::default()
        }))
    }

    async fn add_segment_members(
        &self,
        request: Request<AddSegmentMembersRequest>,
    ) -> Result<Response<AddSegmentMembersResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let asked = (request.population, request.name, request.user_ids);
        let changed = self.change_members(asked, Action::AddMembers, deadline);
        let changed = changed.await?;
        Ok(Response::new(AddSegmentMembersResponse {
            revision: changed.revision,
            added_count: changed.count,
            unknown_user_count: changed.unknown.count,
            unknown_user_ids: changed.unknown.first,
        }))
    }

    async fn remove_segment_members(
        &self,
        request: Request<RemoveSegmentMembersRequest>,
    ) -> Result<Response<RemoveSegmentMembersResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let asked = (request.population, request.name, request.user_ids);
        let changed = self.change_members(asked, Action::RemoveMembers, deadline);
        let changed = changed.await?;
        Ok(Response::new(RemoveSegmentMembersResponse {
            revision: changed.revision,
            removed_count: changed.count,
            unknown_user_count: changed.unknown.count,
            unknown_user_ids: changed.unknown.first,
        }))
    }

    async fn get_segment(
        &self,
        request: Request<GetSegmentRequest>,
    ) -> Result<Response<GetSegmentResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let segment = convert::segment_name(request.name, &Path::Field(&ROOT, "name"))?;
        let population = self.population(&name)?;
        let revision = self.applied();
        let api = self.clone();
        let segment = self
            .small_step(deadline, move |_| {
                let saved = find(&population, &segment, "name")?;
                Ok(api.with_history(&population, &saved))
            })
            .await?;
        Ok(Response::new(GetSegmentResponse {
            segment: Some(segment),
            revision,
        }))
    }

    async fn list_segments(
        &self,
        request: Request<ListSegmentsRequest>,
    ) -> Result<Response<ListSegmentsResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let size = CATALOG_PAGE.asked(request.page_size)?;
        let hash = request_hash(&("segments", &name));
        let after = match self.tokens.read_page(hash, &request.page_token)? {
            None => None,
            Some(page) => {
                let text = String::from_utf8(page.place).ok();
                let name = text.and_then(|text| SegmentName::new(text).ok());
                Some(name.ok_or_else(Tokens::bad_page)?)
            }
        };
        let population = self.population(&name)?;
        let revision = self.applied();
        let api = self.clone();
        let (segments, has_more) = self
            .small_step(deadline, move |_| {
                Ok(api.page(&population, after.as_ref(), size))
            })
            .await?;
        let last = segments.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |last| {
            let place = last.name.as_bytes().to_vec();
            self.tokens.page(hash, &Page { as_of: None, place })
        });
        Ok(Response::new(ListSegmentsResponse {
            segments,
            next_page_token,
            revision,
        }))
    }

    async fn update_segment(
        &self,
        request: Request<UpdateSegmentRequest>,
    ) -> Result<Response<UpdateSegmentResponse>, RpcStatus> {
        let (deadline, caller, request) = begin_as(request)?;
        let reads = reads(caller.as_ref(), &request);
        let name = convert::population_name(request.population)?;
        let mask = request.update_mask.as_ref();
        let etag = |text: &str| self.read_etag(text, "segment.etag");
        let ChangedSegment {
            change,
            from,
            is_list: as_list,
        } = convert::segment_change(request.segment, mask, etag)?;
        let population = self.population(&name)?;
        let segment = change.name.clone();
        let mut fields = Fields {
            name: "segment.name",
            etag: "segment.etag",
            definition: "segment",
        };
        // What can't be changed is not said to be badly defined.
        let saved = find(&population, &segment, fields.name)?;
        let is_list = saved.definition().list().is_some();
        // A static list that is given back as it was read stays one.
        if as_list && !is_list {
            let refusal = Refusal::SegmentIsNoList { segment };
            return Err(ApiError::from(refusal).at("segment.static_list").into());
        }
        if change.definition.is_some() && is_list {
            let refusal = Refusal::SegmentIsList { segment };
            let field = from.as_deref().unwrap_or(fields.definition);
            return Err(ApiError::from(refusal).at(field).into());
        }
        if let Some((definition, from)) = change.definition.clone().zip(from.as_ref()) {
            fields.definition = from;
            self.check_definition(&population, &segment, definition, from, deadline)
                .await?;
        }
        let action = Action::UpdateSegment(Box::new(change), self.engine.now());
        let committed = self
            .commit_segment(name, action, &population, &fields, deadline)
            .await?;
        Ok(Response::new(UpdateSegmentResponse {
            segment: Some(shown(
                self.saved(&population, &segment, fields.name)?,
                reads,
            )),
            revision: self.revision(committed.revision),
        }))
    }

    async fn delete_segment(
        &self,
        request: Request<DeleteSegmentRequest>,
    ) -> Result<Response<DeleteSegmentResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let segment = convert::segment_name(request.name, &Path::Field(&ROOT, "name"))?;
        let unchanged_since = self.read_etag(&request.etag, "etag")?;
        let missing = |revision| {
            Response::new(DeleteSegmentResponse {
                revision,
                existed: false,
            })
        };
        let population = match self.population(&name) {
            Ok(population) => population,
            Err(_) if request.allow_missing => return Ok(missing(self.applied())),
            Err(error) => return Err(error.into()),
        };
        if request.allow_missing && population.catalog().segment(&segment).is_none() {
            return Ok(missing(self.applied()));
        }
        let action = Action::DeleteSegment(segment, unchanged_since);
        let fields = Fields {
            name: "name",
            etag: "etag",
            definition: "name",
        };
        let committed = self
            .commit_segment(name, action, &population, &fields, deadline)
            .await;
        match committed {
            Ok(committed) => Ok(Response::new(DeleteSegmentResponse {
                revision: self.revision(committed.revision),
                existed: true,
            })),
            // Another one deleted it meanwhile.
            Err(error) if request.allow_missing && error.reason == Reason::SegmentNotFound => {
                Ok(missing(self.applied()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn list_user_segments(
        &self,
        request: Request<ListUserSegmentsRequest>,
    ) -> Result<Response<ListUserSegmentsResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let user = convert::user_id(request.user_id, &Path::Field(&ROOT, "user_id"))?;
        self.reach(&request.min_revision, deadline).await?;
        let population = self.population(&name)?;
        let checker = self.checkers.of(&name);
        let given = (request.as_of, request.want_valid_until);
        let predicates = checker.known_predicates(&population);
        let is_small = predicates.is_some_and(|predicates| predicates <= INLINE_PREDICATES);
        if is_small && !request.want_valid_until {
            let stop = Stop::at(deadline.instant());
            let response = self.user_segments(&population, &checker, &user, given, &stop)?;
            return Ok(Response::new(response));
        }
        let api = self.clone();
        let response = self
            .evaluate(deadline, move |stop| {
                api.user_segments(&population, &checker, &user, given, stop)
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn preview_segment(
        &self,
        request: Request<PreviewSegmentRequest>,
    ) -> Result<Response<PreviewSegmentResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = self.previewed(request, deadline).await?;
        Ok(Response::new(response))
    }
}

/// What was made of the segments of each population, to check users against all of them.
#[derive(Debug, Default)]
pub(super) struct Checkers(RwLock<BTreeMap<PopulationName, Arc<SegmentChecker>>>);

impl Checkers {
    /// That of a population, which exists: there are no more than populations.
    fn of(&self, population: &PopulationName) -> Arc<SegmentChecker> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(checker) = known.get(population) {
            return Arc::clone(checker);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(population.clone()).or_default())
    }
}

impl Api {
    fn user_segments(
        &self,
        population: &Population,
        checker: &SegmentChecker,
        user: &UserId,
        (as_of, until): (Option<prost_types::Timestamp>, bool),
        stop: &Stop,
    ) -> Result<ListUserSegmentsResponse, ApiError> {
        let revision = self.applied();
        // After the revision, so that all events up to there have happened.
        let as_of = self.as_of(as_of)?;
        let found = checker.check(population, user, as_of, until, stop)?;
        let user_exists = found.is_some();
        let found = found.unwrap_or_default();
        let segments = found.segments.iter();
        let errors = found.unknown.into_iter();
        Ok(ListUserSegmentsResponse {
            segments: segments.map(|name| name.as_str().into()).collect(),
            user_exists,
            revision,
            time_resolution: Some(super::query::TIME_RESOLUTION),
            valid_until: found.valid_until.map(convert::timestamp_message),
            errors: errors
                .map(|(name, error)| SegmentError {
                    segment: name.as_str().into(),
                    error: Some(ApiError::from(error).into()),
                })
                .collect(),
        })
    }
}

/// A segment, which must exist.
pub(super) fn find(
    population: &Population,
    name: &SegmentName,
    field: &str,
) -> Result<Arc<SavedSegment>, ApiError> {
    let catalog = population.catalog();
    let segment = catalog.segment(name).map(Arc::clone);
    segment.ok_or_else(|| ApiError::segment_not_found(name, &catalog.near_segments(name)).at(field))
}

/// Whether a request may be answered with what is kept.
fn reads(caller: Option<&Caller>, request: &impl Asks) -> bool {
    caller.is_none_or(|caller| caller.reads(&request.about()))
}

/// What is shown of a segment that was saved: to those who may not read, only what they need to
/// change it again.
fn shown(segment: Segment, reads: bool) -> Segment {
    if reads {
        return segment;
    }
    Segment {
        name: segment.name,
        revision: segment.revision,
        etag: segment.etag,
        ..Segment::default()
    }
}

/// What a segment takes in an answer, about.
fn bytes(segment: &Segment) -> usize {
    prost::Message::encoded_len(segment)
}

impl Api {
    /// Binds a definition as it would be asked, to say what is wrong with it.
    async fn check_definition(
        &self,
        population: &Arc<Population>,
        segment: &SegmentName,
        definition: Expression,
        field: &str,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        let (population, segment) = (Arc::clone(population), segment.clone());
        let as_of = self.engine.as_of();
        let bound = self.small_step(deadline, move |_| {
            match query::bind(&population, &definition, as_of) {
                // How large it may be, which is no more than can be asked, is for the population to say.
                Ok(_) | Err(BindError::TooLarge { .. }) => Ok(()),
                // So is that a segment would be defined by itself.
                Err(BindError::UnknownSegment { segment: named, .. }) if named == segment => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        bound.await.map_err(|error: ApiError| error.at(field))
    }

    pub(super) async fn commit_segment(
        &self,
        name: PopulationName,
        action: Action,
        population: &Population,
        fields: &Fields<'_>,
        deadline: Deadline,
    ) -> Result<Committed, ApiError> {
        let command = Command::Population {
            name,
            once: None,
            action,
        };
        let committed = async {
            let outcome = self.engine.commit(command).await;
            outcome.map_err(|error| of_segment(error, population, fields))
        };
        deadline.bound(committed).await
    }

    /// A segment as it was saved just now, or as it was changed since.
    pub(super) fn saved(
        &self,
        population: &Population,
        name: &SegmentName,
        field: &str,
    ) -> Result<Segment, ApiError> {
        let segment = find(population, name, field)?;
        Ok(self.message(population, &segment))
    }

    fn message(&self, population: &Population, segment: &SavedSegment) -> Segment {
        convert::segment_message(
            segment,
            |list| population.member_count(list),
            |revision| self.revision(revision),
        )
    }

    /// A segment with its history, of which the oldest is left out if it does not fit.
    fn with_history(&self, population: &Population, segment: &SavedSegment) -> Segment {
        let mut message = self.message(population, segment);
        let mut size = bytes(&message);
        for past in segment.history().iter().rev() {
            let past = convert::past_message(past, |revision| self.revision(revision));
            size += prost::Message::encoded_len(&past) + 8;
            if size as u64 > limit::ANSWER_BYTES.default {
                break;
            }
            message.history.push(past);
        }
        message.history.reverse();
        message
    }

    /// The segments after a name that fit into one answer, and whether there are more.
    fn page(
        &self,
        population: &Population,
        after: Option<&SegmentName>,
        most: usize,
    ) -> (Vec<Segment>, bool) {
        let catalog = population.catalog();
        let mut left = catalog
            .segments()
            .skip_while(|segment| after.is_some_and(|after| segment.name() <= after))
            .peekable();
        let (mut page, mut size) = (Vec::new(), 0);
        while page.len() < most
            && let Some(segment) = left.peek()
        {
            let message = self.message(population, segment);
            size += bytes(&message) + 8;
            if size as u64 > limit::ANSWER_BYTES.default && !page.is_empty() {
                break;
            }
            page.push(message);
            left.next();
        }
        let has_more = left.peek().is_some();
        (page, has_more)
    }

    /// The revision that an etag stands for; `None` if there is none.
    fn read_etag(&self, text: &str, field: &str) -> Result<Option<Revision>, ApiError> {
        if text.is_empty() {
            return Ok(None);
        }
        let revision = self.tokens.read_revision(text).map_err(|_| {
            ApiError::new(
                Reason::InvalidField,
                "is no etag of this store; pass one as an answer gave it, or none",
            )
            .at(field)
        })?;
        Ok(Some(revision))
    }
}

/// Says which field of a request a refusal is about.
fn of_segment(error: CommitError, population: &Population, fields: &Fields<'_>) -> ApiError {
    let CommitError::Refused(refusal) = error else {
        return error.into();
    };
    if let Refusal::SegmentNotFound { segment } = &refusal {
        let near = population.catalog().near_segments(segment);
        return ApiError::segment_not_found(segment, &near).at(fields.name);
    }
    let is_of_definition = matches!(
        refusal,
        Refusal::SegmentIsList { .. }
            | Refusal::UnknownSegment { .. }
            | Refusal::SegmentTooLarge { .. }
            | Refusal::SegmentCycle { .. }
    );
    let field = if is_of_definition {
        fields.definition
    } else if matches!(refusal, Refusal::SegmentChanged { .. }) {
        fields.etag
    } else {
        fields.name
    };
    ApiError::from(refusal).at(field)
}
