//! Static lists: created with members, and changed.
//!
//! Which users exist is known for sure only when a command is carried out, so the population says who
//! of those given does not. What a selection stands for is found on the query threads first and put
//! into the list by one command; if users were erased and others took their places in between, it is
//! found again.

use std::sync::Arc;

use super::Api;
use super::convert::{self, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::query::bind;
use super::segments::Fields;
use crate::model::{
    Action, FirstMembers, FrozenUsers, ListDeclaration, NonEmpty, PopulationName, Reason,
    SegmentName, Timestamp, UserId,
};
use crate::population::{MemberChanges, Population};
use crate::proto::{CreateSegmentResponse, FreezeSource};
use crate::query::{self, FreezeError};

const ROOT: Path<'static> = Path::Root;

/// How often a selection is frozen anew because users were erased and others came.
const FREEZE_TRIES: usize = 5;

/// How many users who do not exist are named.
const NAMED_UNKNOWN: usize = 100;

/// The first members of a static list, as a request gives them.
pub(super) struct First {
    pub(super) user_ids: Vec<String>,
    pub(super) freeze: Option<FreezeSource>,
}

/// What became of the users that a request names.
pub(super) struct Changed {
    pub(super) revision: String,
    pub(super) count: u32,
    pub(super) unknown: Unknown,
}

/// Those who do not exist.
pub(super) struct Unknown {
    pub(super) count: u32,
    pub(super) first: Vec<String>,
}

impl Unknown {
    fn of(users: &[UserId], changes: &MemberChanges) -> Self {
        let positions = changes.unknown.iter().take(NAMED_UNKNOWN);
        let first = positions.filter_map(|position| users.get(*position));
        Self {
            count: counted(changes.unknown.len() as u64),
            first: first.map(|user| user.as_str().to_owned()).collect(),
        }
    }
}

/// A number of users of one request, which has not that many.
fn counted(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Where what is at fault is in a request that creates a list.
const CREATED: Fields<'static> = Fields {
    name: "segment.name",
    etag: "segment.etag",
    definition: "segment.static_list",
};

impl Api {
    pub(super) async fn create_list(
        &self,
        name: PopulationName,
        mut declaration: ListDeclaration,
        first: First,
        deadline: Deadline,
    ) -> Result<CreateSegmentResponse, ApiError> {
        let Some(source) = first.freeze else {
            let users = convert::members(first.user_ids)?;
            let population = self.population(&name)?;
            declaration.members = FirstMembers::Users(users.clone());
            return self
                .save_list(name, declaration, &users, &population, deadline)
                .await;
        };
        if !first.user_ids.is_empty() {
            return Err(ApiError::field(
                &Path::Field(&ROOT, "freeze"),
                "and user_ids are both set; set one of them, and add other users later",
            ));
        }
        let population = self.population(&name)?;
        let mut tries = 1;
        loop {
            let users = self.freeze(&population, source.clone(), deadline).await?;
            let declaration = ListDeclaration {
                members: FirstMembers::Frozen(users),
                ..declaration.clone()
            };
            let saved = self
                .save_list(name.clone(), declaration, &[], &population, deadline)
                .await;
            match saved {
                Err(error) if error.reason == Reason::FreezeConflict && tries < FREEZE_TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn save_list(
        &self,
        name: PopulationName,
        declaration: ListDeclaration,
        users: &[UserId],
        population: &Population,
        deadline: Deadline,
    ) -> Result<CreateSegmentResponse, ApiError> {
        let segment = declaration.name.clone();
        let action = Action::CreateList(Box::new(declaration), self.engine.now());
        let committed = self
            .commit_segment(name, action, population, &CREATED, deadline)
            .await?;
        let unknown = Unknown::of(users, &committed.changes.members);
        Ok(CreateSegmentResponse {
            segment: Some(self.saved(population, &segment, CREATED.name)?),
            revision: self.revision(committed.revision),
            unknown_user_count: unknown.count,
            unknown_user_ids: unknown.first,
        })
    }

    /// The users whom a request selects, as they are now.
    async fn freeze(
        &self,
        population: &Arc<Population>,
        source: FreezeSource,
        deadline: Deadline,
    ) -> Result<FrozenUsers, ApiError> {
        let path = Path::Field(&ROOT, "freeze");
        let selected = convert::selection(&self.filters, source.selection, &path)?;
        let as_of = source.as_of.map(|time| at(time, &path)).transpose()?;
        let (api, population) = (self.clone(), Arc::clone(population));
        self.evaluate(deadline, move |stop| {
            let since = api.engine.applied();
            // After the revision, so that all events up to there have happened.
            let as_of = as_of.unwrap_or_else(|| api.engine.as_of());
            let bound = bind(&population, &selected, as_of)?;
            let frozen = query::freeze(&population, &bound, since, stop);
            frozen.map_err(|error| match error {
                FreezeError::Stopped(stopped) => stopped.into(),
                FreezeError::TooLarge(ref exceeded) => {
                    ApiError::limit(&Path::Field(&ROOT, "freeze"), exceeded).saying(&error)
                }
            })
        })
        .await
    }

    /// Adds the users of a request to a static list, or removes them.
    pub(super) async fn change_members(
        &self,
        (population, segment, user_ids): (String, String, Vec<String>),
        action: fn(SegmentName, NonEmpty<UserId>) -> Action,
        deadline: Deadline,
    ) -> Result<Changed, ApiError> {
        let name = convert::population_name(population)?;
        let segment = convert::segment_name(segment, &Path::Field(&ROOT, "name"))?;
        let users = NonEmpty::new(convert::members(user_ids)?).ok_or_else(|| {
            ApiError::field(
                &Path::Field(&ROOT, "user_ids"),
                "must not be empty; give at least one user",
            )
        })?;
        let population = self.population(&name)?;
        let fields = Fields {
            name: "name",
            etag: "name",
            definition: "name",
        };
        let action = action(segment, users.clone());
        let committed = self
            .commit_segment(name, action, &population, &fields, deadline)
            .await?;
        let members = &committed.changes.members;
        Ok(Changed {
            revision: self.revision(committed.revision),
            count: counted(members.changed),
            unknown: Unknown::of(&users, members),
        })
    }
}

fn at(time: prost_types::Timestamp, path: &Path<'_>) -> Result<Timestamp, ApiError> {
    convert::timestamp(time, &Path::Field(path, "as_of"))
}
