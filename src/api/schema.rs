//! Properties and their values. Events are in `events`.

use tonic::{Request, Response};

use super::access::begin;
use super::convert::{self, CATALOG_PAGE, Path, VALUES_PAGE};
use super::error::ApiError;
use super::token::{Page, Tokens, request_hash};
use super::{Api, RpcStatus};
use crate::engine::CommitError;
use crate::model::{Action, Command, PropertyDeclaration, PropertyName, Text, Value, ValueType};
use crate::population::{PropertyInfo, Refusal};
use crate::proto::{
    CreateEventRequest, CreateEventResponse, CreatePropertyRequest, CreatePropertyResponse,
    DeleteEventRequest, DeleteEventResponse, DeletePropertyRequest, DeletePropertyResponse,
    GetEventRequest, GetEventResponse, GetPropertyRequest, GetPropertyResponse, ListEventsRequest,
    ListEventsResponse, ListPropertiesRequest, ListPropertiesResponse, ListValuesRequest,
    ListValuesResponse, Property, UpdateEventRequest, UpdateEventResponse,
    schema_service_server::SchemaService,
};

const ROOT: Path<'static> = Path::Root;

/// The most bytes of values in one answer: clients take 4 MiB unless told otherwise.
const ANSWER_BYTES: usize = 2 << 20;
/// What a value takes beside its text.
const VALUE_BYTES: usize = 32;
/// What a version takes at most.
const VERSION_BYTES: usize = 128;

fn property_message(info: &PropertyInfo) -> Property {
    Property {
        name: info.declaration.name.as_str().to_owned(),
        r#type: convert::value_type_message(info.declaration.value_type).into(),
        case_insensitive: info.declaration.case_insensitive,
        users: info.users,
        distinct_values: info.distinct_values,
    }
}

fn declaration(given: Option<Property>) -> Result<PropertyDeclaration, ApiError> {
    let path = Path::Field(&ROOT, "property");
    let given = given
        .ok_or_else(|| ApiError::field(&path, "is missing; give a name and a type at least"))?;
    let name = convert::property_name(given.name, &Path::Field(&path, "name"))?;
    let value_type = convert::value_type(given.r#type, &Path::Field(&path, "type"))?;
    if given.case_insensitive && !matches!(value_type, ValueType::String | ValueType::StringSet) {
        return Err(ApiError::field(
            &Path::Field(&path, "case_insensitive"),
            format!("goes only with the types string and string set, not with {value_type}"),
        ));
    }
    Ok(PropertyDeclaration {
        name,
        value_type,
        case_insensitive: given.case_insensitive,
    })
}

#[tonic::async_trait]
impl SchemaService for Api {
    async fn create_property(
        &self,
        request: Request<CreatePropertyRequest>,
    ) -> Result<Response<CreatePropertyResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let declaration = declaration(request.property)?;
        let command = Command::Population {
            name,
            once: None,
            action: Action::CreateProperty(declaration.clone()),
        };
        let committed = deadline
            .bound(async {
                let outcome = self.engine.commit(command).await;
                outcome.map_err(|error| ApiError::from(error).at("property.name"))
            })
            .await?;
        let info = PropertyInfo {
            declaration,
            users: 0,
            distinct_values: 0,
        };
        Ok(Response::new(CreatePropertyResponse {
            property: Some(property_message(&info)),
            revision: self.revision(committed.revision),
        }))
    }

    async fn get_property(
        &self,
        request: Request<GetPropertyRequest>,
    ) -> Result<Response<GetPropertyResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let property = convert::property_name(request.name, &Path::Field(&ROOT, "name"))?;
        let population = self.population(&name)?;
        let revision = self.applied();
        let message = self
            .small_step(deadline, move |_| {
                let info = population.property(&property).ok_or_else(|| {
                    ApiError::property_not_found(&property, &population.catalog().near(&property))
                        .at("name")
                })?;
                Ok(property_message(&info))
            })
            .await?;
        Ok(Response::new(GetPropertyResponse {
            property: Some(message),
            revision,
        }))
    }

    async fn list_properties(
        &self,
        request: Request<ListPropertiesRequest>,
    ) -> Result<Response<ListPropertiesResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let size = CATALOG_PAGE.asked(request.page_size)?;
        let hash = request_hash(&("properties", &name));
        let after = match self.tokens.read_page(hash, &request.page_token)? {
            None => None,
            Some(page) => {
                let text = String::from_utf8(page.place).ok();
                let name = text.and_then(|text| PropertyName::new(text).ok());
                Some(name.ok_or_else(Tokens::bad_page)?)
            }
        };
        let population = self.population(&name)?;
        let revision = self.applied();
        let users = population.user_count();
        let mut listed = self
            .small_step(deadline, move |_| {
                let mut listed = population.properties();
                listed.retain(|info| {
                    after
                        .as_ref()
                        .is_none_or(|after| info.declaration.name > *after)
                });
                listed.truncate(size + 1);
                Ok(listed)
            })
            .await?;
        let has_more = listed.len() > size;
        listed.truncate(size);
        let last = listed.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |last| {
            let place = last.declaration.name.as_str().as_bytes().to_vec();
            self.tokens.page(hash, &Page { as_of: None, place })
        });
        Ok(Response::new(ListPropertiesResponse {
            properties: listed.iter().map(property_message).collect(),
            next_page_token,
            users,
            revision,
        }))
    }

    async fn delete_property(
        &self,
        request: Request<DeletePropertyRequest>,
    ) -> Result<Response<DeletePropertyResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let property = convert::property_name(request.name, &Path::Field(&ROOT, "name"))?;
        let population = self.population(&name)?;
        let command = Command::Population {
            name,
            once: None,
            action: Action::DeleteProperty(property),
        };
        let committed = deadline
            .bound(async {
                let outcome = self.engine.commit(command).await;
                outcome.map_err(|error| match error {
                    CommitError::Refused(Refusal::PropertyNotFound { property }) => {
                        let near = population.catalog().near(&property);
                        ApiError::property_not_found(&property, &near).at("name")
                    }
                    error @ CommitError::Refused(Refusal::SegmentInUse { .. }) => {
                        ApiError::from(error).at("name")
                    }
                    error @ (CommitError::Refused(_)
                    | CommitError::RefusedBefore(_)
                    | CommitError::ReadOnly { .. }
                    | CommitError::Full { .. }
                    | CommitError::Stopping
                    | CommitError::Overloaded(_)) => error.into(),
                })
            })
            .await?;
        Ok(Response::new(DeletePropertyResponse {
            revision: self.revision(committed.revision),
        }))
    }

    async fn list_values(
        &self,
        request: Request<ListValuesRequest>,
    ) -> Result<Response<ListValuesResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let property = convert::property_name(request.property, &Path::Field(&ROOT, "property"))?;
        let size = VALUES_PAGE.asked(request.page_size)?;
        let hash = request_hash(&("values", &name, &property, &request.prefix));
        let after = match self.tokens.read_page(hash, &request.page_token)? {
            None => None,
            Some(page) => Some(value_at(&page).ok_or_else(Tokens::bad_page)?),
        };
        let population = self.population(&name)?;
        let revision = self.applied();
        let prefix = request.prefix;
        let mut values = self
            .evaluate(deadline, move |stop| {
                let go_on = || stop.check().is_ok();
                let values = population
                    .values(&property, &prefix, after.as_ref(), size + 1, go_on)
                    .map_err(|error| match error {
                        crate::population::ValuesError::NotFound { property } => {
                            let near = population.catalog().near(&property);
                            ApiError::property_not_found(&property, &near).at("property")
                        }
                        error @ crate::population::ValuesError::Type { .. } => error.into(),
                    });
                // Those of a list that was stopped are not all.
                stop.check()?;
                values
            })
            .await?;
        let asked = values.len();
        values.truncate(size);
        values.truncate(fitting(&values));
        let has_more = values.len() < asked;
        let last = values.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |last| {
            let place = place_of(&last.value);
            self.tokens.page(hash, &Page { as_of: None, place })
        });
        let values = values.into_iter().map(convert::value_count_message);
        Ok(Response::new(ListValuesResponse {
            values: values.collect(),
            next_page_token,
            revision,
        }))
    }

    async fn create_event(
        &self,
        request: Request<CreateEventRequest>,
    ) -> Result<Response<CreateEventResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let answer = self.event_created(request, deadline).await?;
        Ok(Response::new(answer))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let answer = self.event_told(request, deadline).await?;
        Ok(Response::new(answer))
    }

    async fn update_event(
        &self,
        request: Request<UpdateEventRequest>,
    ) -> Result<Response<UpdateEventResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let answer = self.event_updated(request, deadline).await?;
        Ok(Response::new(answer))
    }

    async fn delete_event(
        &self,
        request: Request<DeleteEventRequest>,
    ) -> Result<Response<DeleteEventResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let answer = self.event_deleted(request, deadline).await?;
        Ok(Response::new(answer))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let answer = self.events_listed(request, deadline).await?;
        Ok(Response::new(answer))
    }
}

/// How many values fit into one answer: at least one.
fn fitting(values: &[crate::population::ValueCount]) -> usize {
    let mut bytes = 0;
    let fitting = values.iter().take_while(|counted| {
        bytes += VALUE_BYTES
            + match &counted.value {
                Value::String(text) => text.as_str().len(),
                Value::Version(_) => VERSION_BYTES,
                Value::Bool(_)
                | Value::StringSet(_)
                | Value::Int64(_)
                | Value::Double(_)
                | Value::Timestamp(_) => 0,
            };
        bytes <= ANSWER_BYTES
    });
    fitting.count().max(1)
}

/// A listed value as the place in its list: a letter for its type, and its text.
fn place_of(value: &Value) -> Vec<u8> {
    let text = match value {
        Value::Bool(value) => format!("b{value}"),
        Value::String(text) => format!("s{}", text.as_str()),
        Value::Version(version) => format!("v{version}"),
        // Values of these types are not listed.
        Value::StringSet(_) | Value::Int64(_) | Value::Double(_) | Value::Timestamp(_) => {
            String::new()
        }
    };
    text.into_bytes()
}

fn value_at(page: &Page) -> Option<Value> {
    let text = std::str::from_utf8(&page.place).ok()?;
    let rest = text.get(1..)?;
    match text.chars().next()? {
        'b' => rest.parse().ok().map(Value::Bool),
        's' => Text::new(rest).ok().map(Value::String),
        'v' => rest.parse().ok().map(Value::Version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_list_of_values_comes_back_as_it_was() {
        for value in [
            Value::Bool(true),
            Value::String(Text::new("").unwrap()),
            Value::String(Text::new("Größe").unwrap()),
            Value::Version("2.10-rc.1".parse().unwrap()),
        ] {
            let page = Page {
                as_of: None,
                place: place_of(&value),
            };
            assert_eq!(value_at(&page), Some(value));
        }
    }

    #[test]
    fn matching_without_case_is_for_texts() {
        let given = |value_type: crate::proto::ValueType| {
            declaration(Some(Property {
                name: "p".into(),
                r#type: value_type.into(),
                case_insensitive: true,
                ..Default::default()
            }))
        };
        assert!(given(crate::proto::ValueType::StringSet).is_ok());
        let error = given(crate::proto::ValueType::Int64).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("property.case_insensitive"));
        assert!(declaration(None).is_err());
    }
}
