//! Single users.

use tonic::{Request, Response};

use super::access::begin;
use super::convert::{self, Origins, Path};
use super::error::ApiError;
use super::query::TIME_RESOLUTION;
use super::{Api, RpcStatus};
use crate::engine::record;
use crate::model::{Action, Command, Once, Reason};
use crate::proto::{
    DeleteUserRequest, DeleteUserResponse, GetUserRequest, GetUserResponse, User,
    user_service_server::UserService,
};

fn user_not_found() -> ApiError {
    ApiError::new(
        Reason::UserNotFound,
        "the user does not exist: nothing was written to it, or it was erased",
    )
}

#[tonic::async_trait]
impl UserService for Api {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let user = convert::user_id(request.user_id, &Path::Field(&Path::Root, "user_id"))?;
        self.reach(&request.min_revision, deadline).await?;
        let population = self.population(&name)?;
        let has_events = population.catalog().events().len() > 0;
        let given = request.as_of;
        let api = self.clone();
        let look = move || {
            let revision = api.applied();
            // After the revision, so that all events up to there have happened.
            let as_of = api.as_of(given)?;
            let found = population.user_with_events(&user, as_of);
            let (properties, events) = found.ok_or_else(user_not_found)?;
            let properties = properties
                .into_iter()
                .map(|(name, value)| (name.as_str().to_owned(), convert::value_message(value)));
            Ok(GetUserResponse {
                user: Some(User {
                    user_id: user.as_str().to_owned(),
                    properties: properties.collect(),
                    events: events.iter().map(convert::user_events_message).collect(),
                }),
                revision,
                as_of: Some(convert::timestamp_message(as_of)),
                time_resolution: Some(TIME_RESOLUTION),
            })
        };
        let response = if has_events {
            // One user can have done very much.
            self.small_step(deadline, move |_| look()).await?
        } else {
            look()?
        };
        Ok(Response::new(response))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let user = convert::user_id(request.user_id, &Path::Field(&Path::Root, "user_id"))?;
        let request_id =
            convert::request_id(request.request_id, &Path::Field(&Path::Root, "request_id"))?;
        // An erasure must not create a population.
        match self.population(&name) {
            Ok(_) => {}
            Err(_) if request.allow_missing => {
                return Ok(Response::new(DeleteUserResponse {
                    revision: self.applied(),
                    erase_time: Some(convert::timestamp_message(self.engine.now())),
                    existed: false,
                    replayed: false,
                    erased_from_disk_by: None,
                }));
            }
            Err(error) => return Err(error.into()),
        }
        let action = Action::Erase(user);
        let once = request_id.map(|id| Once::Request {
            id,
            content: record::content(&action),
        });
        let command = Command::Population { name, once, action };
        let committed = deadline
            .bound(async {
                let outcome = self.engine.commit(command).await;
                outcome.map_err(|error| {
                    ApiError::refused_write(error, &Origins::default(), &Path::Root)
                })
            })
            .await?;
        let existed = committed.changes.erased;
        if !existed && !request.allow_missing {
            let error = user_not_found();
            return Err(if committed.replayed {
                error.fact("replayed", true).into()
            } else {
                error.into()
            });
        }
        Ok(Response::new(DeleteUserResponse {
            revision: self.revision(committed.revision),
            erase_time: Some(convert::timestamp_message(self.engine.now())),
            existed,
            replayed: committed.replayed,
            erased_from_disk_by: self.engine.erased_by().map(convert::timestamp_message),
        }))
    }
}
