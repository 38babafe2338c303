//! What is declared and known of events: the part of the schema that is about them.

use std::sync::Arc;

use super::Api;
use super::convert::{self, CATALOG_PAGE, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::token::{Page, Tokens, request_hash};
use crate::engine::{CommitError, Committed};
use crate::model::{
    Action, Amount, Command, Comparison, EventDeclaration, EventName, EventPredicate, EventTest,
    Expression, Measure, PopulationName, Reason, Timestamp, Window, Zone,
};
use crate::population::{EventInfo, Population, Refusal};
use crate::proto::{
    self, CreateEventRequest, CreateEventResponse, DeleteEventRequest, DeleteEventResponse,
    GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse, UpdateEventRequest,
    UpdateEventResponse,
};
use crate::query::{self, BindError, Stop};

const ROOT: Path<'static> = Path::Root;
/// The only field of a declaration that can be changed.
const RETENTION: &str = "retention";
/// Stands for all fields in a mask.
const ALL: &str = "*";

impl Api {
    fn declaration(
        &self,
        given: Option<proto::EventDeclaration>,
    ) -> Result<(proto::EventDeclaration, EventDeclaration), ApiError> {
        let default = self.engine.limits().event_retention();
        convert::event_declaration(given, default, &Path::Field(&ROOT, "event"))
    }

    pub(super) async fn event_created(
        &self,
        request: CreateEventRequest,
        deadline: Deadline,
    ) -> Result<CreateEventResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let (_, declaration) = self.declaration(request.event)?;
        let action = Action::CreateEvent(declaration.clone());
        let committed = self.commit_event(name, action, deadline).await;
        let committed = committed.map_err(|error| {
            let error = ApiError::from(error);
            let of_name = [Reason::EventExists, Reason::StoreLimitExceeded];
            if of_name.contains(&error.reason) {
                error.at("event.name")
            } else {
                error
            }
        })?;
        Ok(CreateEventResponse {
            event: Some(convert::event_info_message(&without_events(declaration), 0)),
            revision: self.revision(committed.revision),
        })
    }

    pub(super) async fn event_told(
        &self,
        request: GetEventRequest,
        deadline: Deadline,
    ) -> Result<GetEventResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let event = convert::event_name(request.name, &Path::Field(&ROOT, "name"))?;
        let population = self.population(&name)?;
        let revision = self.applied();
        let now = self.engine.now();
        let message = self
            .small_step(deadline, move |stop| {
                let info = population.event(&event).ok_or_else(|| {
                    ApiError::event_not_found(&event, &population.catalog().near_events(&event))
                        .at("name")
                })?;
                told(&population, &info, now, stop)
            })
            .await?;
        Ok(GetEventResponse {
            event: Some(message),
            revision,
        })
    }

    pub(super) async fn event_updated(
        &self,
        request: UpdateEventRequest,
        deadline: Deadline,
    ) -> Result<UpdateEventResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let (given, declaration) = self.declaration(request.event)?;
        check_mask(request.update_mask.as_ref())?;
        if given.retention.is_none() {
            return Err(ApiError::field(
                &Path::Field(&Path::Field(&ROOT, "event"), RETENTION),
                "is missing; it is all that can be changed",
            ));
        }
        let population = self.population(&name)?;
        // What may be waited for, or take too long, comes before the change.
        let permit = Arc::new(super::permit(&self.small_steps, deadline).await?);
        let (counted, event, now) = (
            Arc::clone(&population),
            declaration.name.clone(),
            self.engine.now(),
        );
        let count = move |stop: &Stop| users(&counted, &event, now, stop);
        let users_before = self.step_with(Arc::clone(&permit), deadline, count).await?;
        let action = Action::UpdateEvent(declaration.clone());
        let committed = self.commit_event(name, action, deadline).await;
        let committed = committed.map_err(|error| of_event(error, &population, "event.name"))?;
        let now = self.engine.now();
        // Who deletes them meanwhile leaves what was declared.
        let info = population.event(&declaration.name);
        let info = info.unwrap_or_else(|| without_events(declaration));
        let known = convert::event_info_message(&info, users_before);
        let message = self.step_with(permit, deadline, move |stop| {
            told(&population, &info, now, stop)
        });
        // The change was made, so that nothing else may be said of it any more: how many users there
        // were just before is known whatever there is to do.
        let message = message.await.unwrap_or(known);
        Ok(UpdateEventResponse {
            event: Some(message),
            revision: self.revision(committed.revision),
        })
    }

    pub(super) async fn event_deleted(
        &self,
        request: DeleteEventRequest,
        deadline: Deadline,
    ) -> Result<DeleteEventResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let event = convert::event_name(request.name, &Path::Field(&ROOT, "name"))?;
        let population = self.population(&name)?;
        let action = Action::DeleteEvent(event);
        let committed = self.commit_event(name, action, deadline).await;
        let committed = committed.map_err(|error| of_event(error, &population, "name"))?;
        Ok(DeleteEventResponse {
            revision: self.revision(committed.revision),
        })
    }

    pub(super) async fn events_listed(
        &self,
        request: ListEventsRequest,
        deadline: Deadline,
    ) -> Result<ListEventsResponse, ApiError> {
        let name = convert::population_name(request.population)?;
        let size = CATALOG_PAGE.asked(request.page_size)?;
        let hash = request_hash(&("events", &name));
        let after = match self.tokens.read_page(hash, &request.page_token)? {
            None => None,
            Some(page) => {
                let text = String::from_utf8(page.place).ok();
                let name = text.and_then(|text| EventName::new(text).ok());
                Some(name.ok_or_else(Tokens::bad_page)?)
            }
        };
        let population = self.population(&name)?;
        let revision = self.applied();
        let now = self.engine.now();
        let (events, has_more) = self
            .small_step(deadline, move |stop| {
                let mut listed = population.events();
                listed.retain(|info| {
                    after
                        .as_ref()
                        .is_none_or(|after| info.declaration.name > *after)
                });
                let has_more = listed.len() > size;
                listed.truncate(size);
                let events = listed.iter().map(|info| told(&population, info, now, stop));
                Ok((events.collect::<Result<Vec<_>, _>>()?, has_more))
            })
            .await?;
        let last = events.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |last| {
            let place = last.name.as_bytes().to_vec();
            self.tokens.page(hash, &Page { as_of: None, place })
        });
        Ok(ListEventsResponse {
            events,
            next_page_token,
            revision,
        })
    }

    async fn commit_event(
        &self,
        name: PopulationName,
        action: Action,
        deadline: Deadline,
    ) -> Result<Committed, EventError> {
        let command = Command::Population {
            name,
            once: None,
            action,
        };
        deadline
            .bound(async { Ok(self.engine.commit(command).await) })
            .await
            .map_err(EventError::Api)?
            .map_err(EventError::Commit)
    }
}

/// Why a change of what is declared was not carried out.
enum EventError {
    Commit(CommitError),
    Api(ApiError),
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Commit(error) => error.into(),
            EventError::Api(error) => error,
        }
    }
}

/// Names that may have been meant, where there are no events of a name.
fn of_event(error: EventError, population: &Population, field: &str) -> ApiError {
    match error {
        EventError::Commit(CommitError::Refused(Refusal::EventNotFound { event })) => {
            let near = population.catalog().near_events(&event);
            ApiError::event_not_found(&event, &near).at(field)
        }
        error @ EventError::Commit(CommitError::Refused(Refusal::SegmentInUse { .. })) => {
            ApiError::from(error).at(field)
        }
        error @ (EventError::Commit(_) | EventError::Api(_)) => error.into(),
    }
}

fn check_mask(mask: Option<&prost_types::FieldMask>) -> Result<(), ApiError> {
    let path = Path::Field(&ROOT, "update_mask");
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
        return Ok(());
    };
    let is_allowed = |field: &&String| *field == RETENTION || *field == ALL;
    match mask.paths.iter().find(|field| !is_allowed(field)) {
        None => Ok(()),
        Some(field) => Err(ApiError::field(
            &path,
            format!("names {field:?}; all that can be changed is {RETENTION:?}"),
        )),
    }
}

fn without_events(declaration: EventDeclaration) -> EventInfo {
    EventInfo {
        declaration,
        events: 0,
        duplicates: 0,
        too_old: 0,
        too_far_ahead: 0,
        kept_from: None,
    }
}

/// What is known of the events of a name, and how many users have any.
fn told(
    population: &Population,
    info: &EventInfo,
    now: Timestamp,
    stop: &Stop,
) -> Result<proto::EventDeclaration, ApiError> {
    let users = users(population, &info.declaration.name, now, stop)?;
    Ok(convert::event_info_message(info, users))
}

/// How many users have events of a name.
fn users(
    population: &Population,
    name: &EventName,
    now: Timestamp,
    stop: &Stop,
) -> Result<u64, ApiError> {
    let any = Expression::Event(Box::new(EventPredicate {
        event: name.clone(),
        window: Window::Ever,
        zone: Zone::utc(),
        test: EventTest::Number {
            measure: Measure::Count,
            comparison: Comparison::Greater,
            operand: Amount::ZERO,
        },
    }));
    match query::bind(population, &any, now) {
        Ok(bound) => Ok(query::count(population, &bound, stop)?),
        // They were deleted meanwhile.
        Err(BindError::UnknownEvent { .. }) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_retention_can_be_changed() {
        let mask = |paths: &[&str]| {
            let paths = paths.iter().map(ToString::to_string).collect();
            check_mask(Some(&prost_types::FieldMask { paths }))
        };
        assert!(check_mask(None).is_ok());
        for right in [&[][..], &["retention"], &["*"]] {
            assert!(mask(right).is_ok());
        }
        for wrong in [&["name"][..], &["retention", "events"]] {
            let error = mask(wrong).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("update_mask"));
        }
    }
}
