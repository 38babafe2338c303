//! Questions about segments.

use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use tonic::{Request, Response};

use super::access::begin;
use super::convert::{self, MEMBERS_PAGE, Path, Selected};
use super::deadline::Deadline;
use super::error::ApiError;
use super::parts::{self, Gone, Sender, parts};
use super::token::{Page, Tokens, request_hash};
use super::{Api, RpcStatus, export};
use crate::model::{PopulationName, Timestamp, UserId, limit};
use crate::population::Population;
use crate::proto::{
    BatchCheckRequest, BatchCheckResponse, BatchCountRequest, BatchCountResponse, BreakdownRequest,
    BreakdownResponse, CheckExplanation, CheckRequest, CheckResponse, CompareRequest,
    CompareResponse, CountRequest, CountResponse, ExplainRequest, ExplainResponse,
    ExportMembersRequest, ListMembersRequest, ListMembersResponse, OverlapRequest, OverlapResponse,
    PlanNode, StreamMembersRequest, StreamMembersResponse, SummarizeRequest, SummarizeResponse,
    UserCheck, query_service_server::QueryService,
};
use crate::query::{self, Bound, Checked, ExplainCheckError, ExplainedNode, Position, Stop};

/// A check that is no larger than this is answered where it arrives, as a count is that is kept: it
/// mostly takes microseconds.
const INLINE_CHECK_BYTES: usize = 4_096;
/// With more segments than this, which say little in these bytes, a check is not answered there. Those
/// that are have as many nodes as segments can have: large definitions that depend on time are bound
/// anew each time, and take milliseconds.
const INLINE_CHECK_SEGMENTS: usize = 64;
/// Users in one part of a stream of members.
const STREAM_PART_USERS: usize = 1_000;
/// Parts that wait for a client that reads slowly.
const STREAM_PARTS: usize = 4;

const ROOT: Path<'static> = Path::Root;

/// How exactly instants are told apart: to the microsecond.
pub(super) const TIME_RESOLUTION: prost_types::Duration = prost_types::Duration {
    seconds: 0,
    nanos: 1_000,
};

/// Binds a selection; what is wrong with it is said of its field.
pub(super) fn bind(
    population: &Population,
    selected: &Selected,
    as_of: Timestamp,
) -> Result<Arc<Bound>, ApiError> {
    let bound = selected.prepared.bound(population, as_of);
    bound.map_err(|error| ApiError::from(error).at(&selected.field))
}

/// Binds all, all to one version of the catalog if none is written to meanwhile.
fn bind_all(
    population: &Population,
    selected: &[Selected],
    as_of: Timestamp,
) -> Result<Vec<Arc<Bound>>, ApiError> {
    let bound = selected.iter().map(|one| bind(population, one, as_of));
    bound.collect()
}

/// How exactly instants were told apart; `None` if nothing depends on time.
pub(super) fn time_resolution<'a>(
    bounds: impl IntoIterator<Item = &'a Arc<Bound>>,
) -> Option<prost_types::Duration> {
    let depends = bounds.into_iter().any(|bound| bound.depends_on_time());
    depends.then_some(TIME_RESOLUTION)
}

/// What is answered to a check of one user.
fn answered(
    checked: Option<Checked>,
    explanations: Vec<CheckExplanation>,
    bounds: &[Arc<Bound>],
    revision: String,
) -> CheckResponse {
    let user_exists = checked.is_some();
    let checked = checked.unwrap_or_else(|| not_found(bounds));
    CheckResponse {
        members: checked.members,
        user_exists,
        revision,
        time_resolution: time_resolution(bounds),
        valid_until: checked.valid_until.map(convert::timestamp_message),
        explanations,
    }
}

/// A user who does not exist is in nothing, whatever the time.
fn not_found(bounds: &[Arc<Bound>]) -> Checked {
    Checked {
        members: vec![false; bounds.len()],
        valid_until: None,
    }
}

fn explained(
    population: &Population,
    user: &UserId,
    bounds: &[Arc<Bound>],
    stop: &Stop,
) -> Result<(Option<Checked>, Vec<CheckExplanation>), ApiError> {
    let explained = query::explain_check(population, user, bounds, stop);
    let explained = explained.map_err(|error| match error {
        ExplainCheckError::Bind(error) => error.into(),
        ExplainCheckError::Stopped(stopped) => stopped.into(),
        ExplainCheckError::Limit(exceeded) => {
            ApiError::limit(&Path::Field(&ROOT, "explain"), &exceeded)
        }
    })?;
    let checked = explained.as_ref().map(|explained| Checked {
        members: explained.iter().map(|one| one.clause.holds).collect(),
        valid_until: explained.iter().filter_map(|one| one.valid_until).min(),
    });
    let explained = explained.into_iter().flatten();
    Ok((
        checked,
        explained.map(convert::explanation_message).collect(),
    ))
}

fn plan_node(node: ExplainedNode) -> PlanNode {
    PlanNode {
        description: node.description,
        access: node.access.to_owned(),
        estimate: node.estimate,
        count: node.count,
        shards: node.shards,
        elapsed: Some(convert::duration_message(node.elapsed)),
        children: node.children.into_iter().map(plan_node).collect(),
    }
}

fn ids(users: &[UserId]) -> Vec<String> {
    users.iter().map(|user| user.as_str().to_owned()).collect()
}

impl Api {
    async fn check_inline(
        &self,
        request: CheckRequest,
        deadline: Deadline,
    ) -> Result<CheckResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let user = convert::user_id(request.user_id, &Path::Field(&ROOT, "user_id"))?;
        let selected = convert::selections(
            &self.filters,
            &request.filters,
            request.expressions,
            &request.segments,
        )?;
        self.reach(&request.min_revision, deadline).await?;
        let population = self.population(&name)?;
        let revision = self.applied();
        // After the revision, so that all events up to there have happened.
        let as_of = self.as_of(request.as_of)?;
        let bounds = bind_all(&population, &selected, as_of)?;
        let stop = Stop::at(deadline.instant());
        let checked = query::check_until(&population, &user, &bounds, &stop)?;
        Ok(answered(checked, Vec::new(), &bounds, revision))
    }

    /// As a batch of one user: on the query threads.
    async fn check_many_filters(
        &self,
        request: CheckRequest,
        deadline: Deadline,
    ) -> Result<CheckResponse, ApiError> {
        let user = convert::user_id(request.user_id, &Path::Field(&ROOT, "user_id"))?;
        let name = convert::population_name(request.population)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let selected = convert::selections(
                &api.filters,
                &request.filters,
                request.expressions,
                &request.segments,
            )?;
            let revision = api.applied();
            let as_of = api.as_of(given)?;
            let bounds = bind_all(&population, &selected, as_of)?;
            if request.explain {
                let (checked, explanations) = explained(&population, &user, &bounds, stop)?;
                return Ok(answered(checked, explanations, &bounds, revision));
            }
            let checked = query::check_until(&population, &user, &bounds, stop)?;
            Ok(answered(checked, Vec::new(), &bounds, revision))
        })
        .await
    }

    /// The part of a list of members from a position on.
    async fn members(
        &self,
        deadline: Deadline,
        population: Arc<Population>,
        selected: Selected,
        as_of: Timestamp,
        from: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Position>, String), ApiError> {
        let api = self.clone();
        self.evaluate(deadline, move |stop| {
            let revision = api.applied();
            let bound = bind(&population, &selected, as_of)?;
            let page = query::members(&population, &bound, from, limit, stop)?;
            Ok((ids(&page.users), page.next, revision))
        })
        .await
    }
}

#[tonic::async_trait]
impl QueryService for Api {
    async fn count(
        &self,
        request: Request<CountRequest>,
    ) -> Result<Response<CountResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let is_small = request.encoded_len() <= INLINE_CHECK_BYTES;
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        if is_small {
            let revision = self.applied();
            let as_of = self.as_of(given)?;
            let bound = bind(&population, &selected, as_of)?;
            if let Some(count) = query::kept(&population, &bound) {
                return Ok(Response::new(CountResponse {
                    count,
                    revision,
                    as_of: Some(convert::timestamp_message(as_of)),
                    time_resolution: time_resolution([&bound]),
                }));
            }
        }
        let api = self.clone();
        let response = self
            .evaluate(deadline, move |stop| {
                let revision = api.applied();
                let as_of = api.as_of(given)?;
                let bound = bind(&population, &selected, as_of)?;
                Ok(CountResponse {
                    count: query::count(&population, &bound, stop)?,
                    revision,
                    as_of: Some(convert::timestamp_message(as_of)),
                    time_resolution: time_resolution([&bound]),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn batch_count(
        &self,
        request: Request<BatchCountRequest>,
    ) -> Result<Response<BatchCountResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let path = Path::Field(&ROOT, "selections");
        if request.selections.is_empty() {
            return Err(ApiError::field(&path, "must not be empty; give at least one").into());
        }
        limit::SELECTIONS_PER_REQUEST
            .check(request.selections.len() as u64)
            .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        let response = self
            .evaluate(deadline, move |stop| {
                let path = Path::Field(&ROOT, "selections");
                let revision = api.applied();
                let as_of = api.as_of(given)?;
                let selections = request.selections.into_iter().enumerate();
                let bounds = selections.map(|(position, given)| {
                    let selected = convert::selection(
                        &api.filters,
                        given.selection,
                        &Path::Index(&path, position),
                    )?;
                    bind(&population, &selected, as_of)
                });
                // Nothing is counted unless all are right.
                let bounds = bounds.collect::<Result<Vec<_>, ApiError>>()?;
                let counts = bounds
                    .iter()
                    .map(|bound| query::count(&population, bound, stop));
                Ok(BatchCountResponse {
                    counts: counts.collect::<Result<_, _>>()?,
                    revision,
                    as_of: Some(convert::timestamp_message(as_of)),
                    time_resolution: time_resolution(&bounds),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let is_small = request.encoded_len() <= INLINE_CHECK_BYTES
            && request.segments.len() <= INLINE_CHECK_SEGMENTS
            && !request.explain;
        if is_small {
            return Ok(Response::new(self.check_inline(request, deadline).await?));
        }
        // In a box, so that a small check does not carry what a large one needs.
        Ok(Response::new(
            Box::pin(self.check_many_filters(request, deadline)).await?,
        ))
    }

    async fn batch_check(
        &self,
        request: Request<BatchCheckRequest>,
    ) -> Result<Response<BatchCheckResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        check_size(&request)?;
        let name = convert::population_name(request.population)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        let response = self
            .evaluate(deadline, move |stop| {
                let selected = convert::selections(
                    &api.filters,
                    &request.filters,
                    request.expressions,
                    &request.segments,
                )?;
                let revision = api.applied();
                let as_of = api.as_of(given)?;
                let bounds = bind_all(&population, &selected, as_of)?;
                let until = request.want_valid_until;
                let users = check_users(&population, request.user_ids, &bounds, until, stop)?;
                Ok(BatchCheckResponse {
                    users,
                    revision,
                    time_resolution: time_resolution(&bounds),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        let limit = MEMBERS_PAGE.asked(request.page_size)?;
        let hash = members_hash(&name, &selected, request.as_of);
        let page = self.tokens.read_page(hash, &request.page_token)?;
        let from = page.as_ref().map(position).transpose()?;
        self.reach(&request.min_revision, deadline).await?;
        // The clock of the first page is that of all.
        let as_of = match page.and_then(|page| page.as_of) {
            Some(as_of) => as_of,
            None => self.as_of(request.as_of)?,
        };
        let population = self.population(&name)?;
        let time_resolution = time_resolution([&bind(&population, &selected, as_of)?]);
        let (user_ids, next, revision) = self
            .members(deadline, population, selected, as_of, from, limit)
            .await?;
        let next = next.map(|next| Page {
            as_of: Some(as_of),
            place: next.to_number().to_le_bytes().to_vec(),
        });
        Ok(Response::new(ListMembersResponse {
            user_ids,
            next_page_token: next.map_or_else(String::new, |page| self.tokens.page(hash, &page)),
            revision,
            time_resolution,
        }))
    }

    type StreamMembersStream = parts::Receiver<StreamMembersResponse>;

    async fn stream_members(
        &self,
        request: Request<StreamMembersRequest>,
    ) -> Result<Response<Self::StreamMembersStream>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        self.reach(&request.min_revision, deadline).await?;
        let as_of = self.as_of(request.as_of)?;
        let population = self.population(&name)?;
        // What is wrong with the question is said before the stream begins.
        bind(&population, &selected, as_of)?;
        let (parts, receiver) = parts(STREAM_PARTS, self.patience);
        let stream = MemberStream {
            api: self.clone(),
            population,
            selected,
            as_of,
            deadline,
        };
        tokio::spawn(async move {
            // Nobody reads any more: the work in hand is called off.
            let ended = tokio::select! {
                biased;
                () = parts.closed() => Ok(()),
                ended = stream.send(&parts) => ended,
            };
            if let Err(error) = ended {
                parts.fail(error);
            }
        });
        Ok(Response::new(receiver))
    }

    async fn breakdown(
        &self,
        request: Request<BreakdownRequest>,
    ) -> Result<Response<BreakdownResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = self.break_down(request, deadline).await?;
        Ok(Response::new(response))
    }

    async fn summarize(
        &self,
        request: Request<SummarizeRequest>,
    ) -> Result<Response<SummarizeResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = self.summary(request, deadline).await?;
        Ok(Response::new(response))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let selected = convert::selection(&self.filters, request.selection, &ROOT)?;
        self.reach(&request.min_revision, deadline).await?;
        let given = request.as_of;
        let population = self.population(&name)?;
        let api = self.clone();
        let response = self
            .evaluate(deadline, move |stop: &Stop| {
                let revision = api.applied();
                let as_of = api.as_of(given)?;
                let bound = bind(&population, &selected, as_of)?;
                let began = Instant::now();
                let explanation = query::explain(&population, &bound, stop)?;
                Ok(ExplainResponse {
                    filter: bound.expression().to_string(),
                    plan: Some(plan_node(explanation.root)),
                    count: explanation.count,
                    shards: explanation.shards,
                    elapsed: Some(convert::duration_message(began.elapsed())),
                    revision,
                    time_resolution: time_resolution([&bound]),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn overlap(
        &self,
        request: Request<OverlapRequest>,
    ) -> Result<Response<OverlapResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = self.overlap_of(request, deadline).await?;
        Ok(Response::new(response))
    }

    async fn compare(
        &self,
        request: Request<CompareRequest>,
    ) -> Result<Response<CompareResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = self.comparison(request, deadline).await?;
        Ok(Response::new(response))
    }

    type ExportMembersStream = export::ResponseStream;

    async fn export_members(
        &self,
        request: Request<ExportMembersRequest>,
    ) -> Result<Response<Self::ExportMembersStream>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let stream = self.export(request, deadline).await?;
        Ok(Response::new(stream))
    }
}

fn check_size(request: &BatchCheckRequest) -> Result<(), ApiError> {
    let path = Path::Field(&ROOT, "user_ids");
    let users = request.user_ids.len() as u64;
    let selections =
        (request.filters.len() + request.expressions.len() + request.segments.len()) as u64;
    if users == 0 {
        return Err(ApiError::field(
            &path,
            "must not be empty; give at least one user",
        ));
    }
    limit::USERS_PER_REQUEST
        .check(users)
        .and_then(|()| limit::CHECKS_PER_REQUEST.check(users.saturating_mul(selections)))
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))
}

/// Checks all users whose ids are well-formed; the others have an error each.
fn check_users(
    population: &Population,
    user_ids: Vec<String>,
    bounds: &[Arc<Bound>],
    want_valid_until: bool,
    stop: &Stop,
) -> Result<Vec<UserCheck>, ApiError> {
    let path = Path::Field(&ROOT, "user_ids");
    let users: Vec<Result<UserId, ApiError>> = user_ids
        .iter()
        .enumerate()
        .map(|(position, id)| convert::user_id(id.as_str(), &Path::Index(&path, position)))
        .collect();
    let well_formed: Vec<&UserId> = users.iter().flatten().collect();
    let depends_on_time = bounds.iter().any(|bound| bound.depends_on_time());
    let answers = if want_valid_until && depends_on_time {
        query::check_many_until(population, &well_formed, bounds, stop)?
    } else {
        let all = query::check_many(population, &well_formed, bounds, stop)?.into_iter();
        let checked = all.map(|members| {
            members.map(|members| Checked {
                members,
                valid_until: None,
            })
        });
        checked.collect()
    };
    let mut answers = answers.into_iter();
    let checks = users
        .iter()
        .zip(user_ids)
        .map(|(user, user_id)| match user {
            // One answer for each that is well-formed, in their order.
            Ok(_) => match answers.next().flatten() {
                Some(checked) => UserCheck {
                    user_id,
                    members: checked.members,
                    user_exists: true,
                    error: None,
                    valid_until: checked.valid_until.map(convert::timestamp_message),
                },
                None => UserCheck {
                    user_id,
                    members: not_found(bounds).members,
                    ..Default::default()
                },
            },
            Err(_) => UserCheck {
                user_id,
                ..Default::default()
            },
        });
    let mut checks: Vec<UserCheck> = checks.collect();
    for (check, user) in checks.iter_mut().zip(users) {
        check.error = user.err().map(Into::into);
    }
    Ok(checks)
}

/// What must be the same for all pages of one list.
fn members_hash(
    name: &PopulationName,
    selected: &Selected,
    as_of: Option<prost_types::Timestamp>,
) -> u64 {
    let as_of = as_of.map(|as_of| (as_of.seconds, as_of.nanos));
    request_hash(&("members", name, selected.prepared.expression(), as_of))
}

fn position(page: &Page) -> Result<Position, ApiError> {
    let number = <[u8; 4]>::try_from(page.place.as_slice()).map_err(|_| Tokens::bad_page())?;
    Ok(Position::from_number(u32::from_le_bytes(number)))
}

/// All members of one selection, part by part.
struct MemberStream {
    api: Api,
    population: Arc<Population>,
    selected: Selected,
    as_of: Timestamp,
    deadline: Deadline,
}

impl MemberStream {
    async fn send(&self, parts: &Sender<StreamMembersResponse>) -> Result<(), ApiError> {
        let mut from = None;
        let mut is_first = true;
        loop {
            let (user_ids, next, revision) = tokio::select! {
                biased;
                () = self.api.closed() => return Err(ApiError::stopping()),
                part = self.part(from) => part?,
            };
            if is_first || !user_ids.is_empty() {
                let response = StreamMembersResponse { user_ids, revision };
                // A client that does not read holds the stream up no longer than its deadline.
                let sent = self.deadline.bound(async {
                    tokio::select! {
                        sent = parts.send(response) => Ok(sent),
                        () = self.api.closed() => Err(ApiError::stopping()),
                    }
                });
                if let Err(Gone) = sent.await? {
                    return Ok(());
                }
            }
            is_first = false;
            if next.is_none() {
                return Ok(());
            }
            from = next;
        }
    }

    async fn part(
        &self,
        from: Option<Position>,
    ) -> Result<(Vec<String>, Option<Position>, String), ApiError> {
        self.api
            .members(
                self.deadline,
                Arc::clone(&self.population),
                self.selected.clone(),
                self.as_of,
                from,
                STREAM_PART_USERS,
            )
            .await
    }
}
