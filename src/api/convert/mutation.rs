//! Updates of users.

use std::collections::BTreeMap;

use crate::api::error::ApiError;
use crate::model::{
    Change, NonEmpty, Number, Operation, PropertyName, Text, Timestamp, UserUpdate, Value, limit,
};
use crate::proto;

use super::Path;
use super::event::events;
use super::value::{property_name, text, timestamp, user_id, value};

/// The field of an update that a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Set,
    SetOnce,
    Unset,
    Increment,
    AddToSet,
    RemoveFromSet,
}

impl Origin {
    const fn field(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::SetOnce => "set_once",
            Self::Unset => "unset",
            Self::Increment => "increment",
            Self::AddToSet => "add_to_set",
            Self::RemoveFromSet => "remove_from_set",
        }
    }
}

/// What is to be known of a request when it is answered.
#[derive(Debug, Default)]
pub(in crate::api) struct Origins {
    /// Which field each change comes from, to be asked when one is refused. Updates that only set,
    /// which most do, are not kept.
    changes: BTreeMap<usize, Vec<(PropertyName, Origin)>>,
    /// How many events there are.
    events: u64,
}

impl Origins {
    /// How many events the request has.
    pub(in crate::api) fn events(&self) -> u64 {
        self.events
    }

    /// The path of a change: `updates[3].set["age"]`; of the update, where no property is known.
    pub(in crate::api) fn field(
        &self,
        update: Option<usize>,
        property: Option<&PropertyName>,
        root: &Path<'_>,
    ) -> Option<String> {
        let position = update?;
        let updates = root.field("updates");
        let update = updates.index(position);
        let Some(property) = property else {
            return Some(update.to_string());
        };
        let origin = match self.changes.get(&position) {
            None => Origin::Set,
            Some(changes) => {
                let found = changes.iter().find(|(name, _)| name == property);
                found.map_or(Origin::Set, |(_, origin)| *origin)
            }
        };
        let field = update.field(origin.field());
        Some(match origin {
            Origin::Unset => field.to_string(),
            Origin::Set
            | Origin::SetOnce
            | Origin::Increment
            | Origin::AddToSet
            | Origin::RemoveFromSet => field.key(property.as_str()).to_string(),
        })
    }
}

/// The updates of one request, which arrived at an instant.
pub(in crate::api) fn updates(
    messages: Vec<proto::UserUpdate>,
    received: Timestamp,
    root: &Path<'_>,
) -> Result<(NonEmpty<UserUpdate>, Origins), ApiError> {
    let path = root.field("updates");
    limit::UPDATES_PER_REQUEST
        .check(messages.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let events = messages.iter().map(|message| message.events.len() as u64);
    let mut origins = Origins {
        events: events.sum(),
        ..Origins::default()
    };
    limit::EVENTS_PER_REQUEST
        .check(origins.events)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let mut updates = Vec::with_capacity(messages.len());
    for (position, message) in messages.into_iter().enumerate() {
        let only_sets = message.set_once.is_empty()
            && message.unset.is_empty()
            && message.increment.is_empty()
            && message.add_to_set.is_empty()
            && message.remove_from_set.is_empty();
        let mut changes = Changes {
            changes: Vec::with_capacity(message.set.len()),
            origins: (!only_sets).then(Vec::new),
        };
        updates.push(update(
            message,
            received,
            &mut changes,
            &path.index(position),
        )?);
        if let Some(kept) = changes.origins {
            origins.changes.insert(position, kept);
        }
    }
    let updates = NonEmpty::new(updates)
        .ok_or_else(|| ApiError::field(&path, "must not be empty; give at least one update"))?;
    Ok((updates, origins))
}

/// The changes of one update as they are collected.
struct Changes {
    changes: Vec<Change>,
    origins: Option<Vec<(PropertyName, Origin)>>,
}

impl Changes {
    fn push(&mut self, property: PropertyName, operation: Operation, origin: Origin) {
        if let Some(origins) = &mut self.origins {
            origins.push((property.clone(), origin));
        }
        self.changes.push(Change {
            property,
            operation,
        });
    }
}

fn update(
    message: proto::UserUpdate,
    received: Timestamp,
    changes: &mut Changes,
    path: &Path<'_>,
) -> Result<UserUpdate, ApiError> {
    let user = user_id(message.user_id, &path.field("user_id"))?;
    let value_time = message
        .value_time
        .map(|time| timestamp(time, &path.field("value_time")))
        .transpose()?;

    let field = path.field(Origin::Set.field());
    for (name, message) in message.set {
        let operation = match value(message, &field.key(&name))? {
            Some(value) => Operation::Set(value),
            None => Operation::Unset,
        };
        let property = property_name(name.as_str(), &field.key(&name))?;
        changes.push(property, operation, Origin::Set);
    }
    let field = path.field(Origin::SetOnce.field());
    for (name, message) in message.set_once {
        let path = field.key(&name);
        let value = value(message, &path)?.ok_or_else(|| {
            ApiError::field(
                &path,
                "a null can't be set once; to take a value away use unset",
            )
        })?;
        let property = property_name(name.as_str(), &path)?;
        changes.push(property, Operation::SetOnce(value), Origin::SetOnce);
    }
    let field = path.field(Origin::Unset.field());
    for (position, name) in message.unset.into_iter().enumerate() {
        let property = property_name(name, &field.index(position))?;
        changes.push(property, Operation::Unset, Origin::Unset);
    }
    let field = path.field(Origin::Increment.field());
    for (name, message) in message.increment {
        let path = field.key(&name);
        let number = number(message, &path)?;
        let property = property_name(name.as_str(), &path)?;
        changes.push(property, Operation::Increment(number), Origin::Increment);
    }
    let field = path.field(Origin::AddToSet.field());
    for (name, set) in message.add_to_set {
        let path = field.key(&name);
        let operation = Operation::AddToSet(elements(set, &path)?);
        let property = property_name(name.as_str(), &path)?;
        changes.push(property, operation, Origin::AddToSet);
    }
    let field = path.field(Origin::RemoveFromSet.field());
    for (name, set) in message.remove_from_set {
        let path = field.key(&name);
        let operation = Operation::RemoveFromSet(elements(set, &path)?);
        let property = property_name(name.as_str(), &path)?;
        changes.push(property, operation, Origin::RemoveFromSet);
    }

    // The keys of one map differ: only an update that uses several fields can name one twice.
    if changes.origins.is_some() {
        each_named_once(&changes.changes, path)?;
    }
    if value_time.is_some() {
        let timed =
            |change: &&Change| !matches!(change.operation, Operation::Set(_) | Operation::Unset);
        if let Some(change) = changes.changes.iter().find(timed) {
            return Err(ApiError::field(
                &path.field("value_time"),
                format!(
                    "a time of values goes only with set and unset, not with the change of property {:?}; use an update of its own",
                    change.property
                ),
            ));
        }
    }
    Ok(UserUpdate {
        user,
        value_time,
        changes: std::mem::take(&mut changes.changes),
        events: events(message.events, received, &path.field("events"))?,
    })
}

fn each_named_once(changes: &[Change], path: &Path<'_>) -> Result<(), ApiError> {
    let mut names: Vec<&PropertyName> = changes.iter().map(|change| &change.property).collect();
    names.sort_unstable();
    match names.array_windows().find(|[one, next]| one == next) {
        None => Ok(()),
        Some([name, _]) => Err(ApiError::field(
            path,
            format!("names property {name:?} twice; to change it twice use two updates"),
        )
        .fact("property", name)),
    }
}

fn number(message: proto::Value, path: &Path<'_>) -> Result<Number, ApiError> {
    match value(message, path)? {
        Some(Value::Int64(number)) => Ok(Number::Int64(number)),
        Some(Value::Double(number)) => Ok(Number::Double(number)),
        Some(
            other @ (Value::Bool(_)
            | Value::String(_)
            | Value::StringSet(_)
            | Value::Timestamp(_)
            | Value::Version(_)),
        ) => Err(ApiError::field(
            path,
            format!(
                "expected an int64 or a double, found a {}",
                other.value_type()
            ),
        )),
        None => Err(ApiError::field(
            path,
            "expected an int64 or a double, found null",
        )),
    }
}

fn elements(set: proto::StringSet, path: &Path<'_>) -> Result<NonEmpty<Text>, ApiError> {
    let path = path.field("elements");
    let elements = set.elements.into_iter().enumerate();
    let elements = elements.map(|(position, element)| text(element, &path.index(position)));
    NonEmpty::new(elements.collect::<Result<_, _>>()?)
        .ok_or_else(|| ApiError::field(&path, "must not be empty; give at least one element"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::proto::value::Kind;

    fn kind(kind: Kind) -> proto::Value {
        proto::Value { kind: Some(kind) }
    }

    fn int(number: i64) -> proto::Value {
        kind(Kind::Int64Value(number))
    }

    fn set(elements: &[&str]) -> proto::StringSet {
        proto::StringSet {
            elements: elements.iter().map(ToString::to_string).collect(),
        }
    }

    fn of<V>(name: &str, value: V) -> BTreeMap<String, V> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    fn user() -> proto::UserUpdate {
        proto::UserUpdate {
            user_id: "u".into(),
            ..Default::default()
        }
    }

    fn converted(
        messages: Vec<proto::UserUpdate>,
    ) -> Result<(NonEmpty<UserUpdate>, Origins), ApiError> {
        updates(messages, Timestamp::MIN, &Path::Root)
    }

    /// The field and the message of what is wrong with the second of two updates.
    fn refused(update: proto::UserUpdate) -> (String, String) {
        let error = converted(vec![user(), update]).unwrap_err();
        (error.field.unwrap(), error.message)
    }

    #[test]
    fn all_changes_arrive() {
        let update = proto::UserUpdate {
            set: BTreeMap::from([("a".into(), int(1)), ("b".into(), kind(Kind::NullValue(0)))]),
            set_once: of("c", int(2)),
            unset: vec!["d".into()],
            increment: of("e", kind(Kind::DoubleValue(0.5))),
            add_to_set: of("f", set(&["x", "x"])),
            remove_from_set: of("g", set(&["y"])),
            ..user()
        };
        let (updates, origins) = converted(vec![update]).unwrap();
        let changes = &updates[0].changes;
        let names: Vec<&str> = changes.iter().map(|c| c.property.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(changes[0].operation, Operation::Set(Value::Int64(1)));
        assert_eq!(changes[1].operation, Operation::Unset);

        let field = |name: &str| {
            let name = PropertyName::new(name).unwrap();
            origins.field(Some(0), Some(&name), &Path::Root).unwrap()
        };
        assert_eq!(field("a"), r#"updates[0].set["a"]"#);
        assert_eq!(field("c"), r#"updates[0].set_once["c"]"#);
        assert_eq!(field("d"), "updates[0].unset");
        assert_eq!(field("g"), r#"updates[0].remove_from_set["g"]"#);
    }

    #[test]
    fn a_change_of_an_update_that_only_sets_is_found_too() {
        let update = proto::UserUpdate {
            set: of("a", int(1)),
            ..user()
        };
        let (_, origins) = converted(vec![update]).unwrap();
        let name = PropertyName::new("a").unwrap();
        assert_eq!(
            origins.field(Some(0), Some(&name), &Path::Root).unwrap(),
            r#"updates[0].set["a"]"#
        );
        assert_eq!(origins.field(None, Some(&name), &Path::Root), None);
    }

    #[test]
    fn no_updates_or_too_many_are_refused() {
        let field = |count| {
            let error = converted(vec![user(); count]).unwrap_err();
            (error.field.unwrap(), error.reason)
        };
        assert_eq!(field(0), ("updates".into(), Reason::InvalidField));
        assert_eq!(
            field(10_001),
            ("updates".into(), Reason::RequestLimitExceeded)
        );
        assert!(converted(vec![user(); 10_000]).is_ok());
    }

    #[test]
    fn a_property_is_named_once() {
        let (field, message) = refused(proto::UserUpdate {
            set: of("a", int(1)),
            increment: of("a", int(1)),
            ..user()
        });
        assert_eq!(field, "updates[1]");
        assert!(message.contains("\"a\" twice"), "{message}");
        refused(proto::UserUpdate {
            unset: vec!["a".into(), "a".into()],
            ..user()
        });
    }

    #[test]
    fn a_time_of_values_goes_with_set_and_unset_only() {
        let timed = proto::UserUpdate {
            value_time: Some(prost_types::Timestamp::default()),
            set: of("a", int(1)),
            unset: vec!["b".into()],
            ..user()
        };
        assert!(converted(vec![timed.clone()]).is_ok());
        let (field, _) = refused(proto::UserUpdate {
            increment: of("c", int(1)),
            ..timed
        });
        assert_eq!(field, "updates[1].value_time");
    }

    #[test]
    fn malformed_fields_are_refused_with_their_path() {
        for (update, expected) in [
            (
                proto::UserUpdate {
                    user_id: "x".repeat(257),
                    ..user()
                },
                "updates[1].user_id",
            ),
            (
                proto::UserUpdate {
                    user_id: String::new(),
                    ..user()
                },
                "updates[1].user_id",
            ),
            (
                proto::UserUpdate {
                    set: of("age", kind(Kind::DoubleValue(f64::NAN))),
                    ..user()
                },
                r#"updates[1].set["age"]"#,
            ),
            (
                proto::UserUpdate {
                    set: of("", int(1)),
                    ..user()
                },
                r#"updates[1].set[""]"#,
            ),
            (
                proto::UserUpdate {
                    set_once: of("a", kind(Kind::NullValue(0))),
                    ..user()
                },
                r#"updates[1].set_once["a"]"#,
            ),
            (
                proto::UserUpdate {
                    increment: of("a", kind(Kind::StringValue("1".into()))),
                    ..user()
                },
                r#"updates[1].increment["a"]"#,
            ),
            (
                proto::UserUpdate {
                    add_to_set: of("a", set(&[])),
                    ..user()
                },
                r#"updates[1].add_to_set["a"].elements"#,
            ),
            (
                proto::UserUpdate {
                    unset: vec!["a".into(), "b\n".into()],
                    ..user()
                },
                "updates[1].unset[1]",
            ),
        ] {
            assert_eq!(refused(update).0, expected);
        }
    }

    #[test]
    fn events_come_with_the_changes_and_are_counted() {
        let event = || proto::Event {
            name: "login".into(),
            ..Default::default()
        };
        let update = proto::UserUpdate {
            set: of("a", int(1)),
            value_time: Some(prost_types::Timestamp::default()),
            events: vec![event(), event()],
            ..user()
        };
        let many = proto::UserUpdate {
            events: vec![event(); 9_998],
            ..user()
        };
        let (updates, origins) = converted(vec![update.clone(), many.clone()]).unwrap();
        assert_eq!((updates[0].changes.len(), updates[0].events.len()), (1, 2));
        assert_eq!(updates[0].events[0].received, Timestamp::MIN);
        assert_eq!(origins.events(), 10_000);
        let error = converted(vec![update.clone(), many, update]).unwrap_err();
        assert_eq!(error.reason, Reason::RequestLimitExceeded);
        assert_eq!(error.field.as_deref(), Some("updates"));
        let (field, _) = refused(proto::UserUpdate {
            events: vec![
                event(),
                proto::Event {
                    amount: Some(f64::NAN),
                    ..event()
                },
            ],
            ..user()
        });
        assert_eq!(field, "updates[1].events[1].amount");
    }
}
