//! Works out which values the changes of a write lead to, or why the write is refused.
//!
//! Invariant: judging changes nothing, and what it lets pass can be carried out without failing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::catalog::{Catalog, Property};
use super::refusal::Refusal;
use super::{Changes, Population, Writer};
use crate::model::{
    CoercionError, Finite, LimitExceeded, Number, Operation, PropertyDeclaration, PropertyName,
    Revision, Text, Timestamp, UserId, UserUpdate, Value, ValueType, limit,
};

/// What one user's changes lead to.
pub(super) struct Outcome<'a> {
    pub(super) user: &'a UserId,
    pub(super) effects: Vec<Effect<'a>>,
}

/// A value that a property will have.
pub(super) struct Effect<'a> {
    pub(super) property: Arc<Property>,
    pub(super) value: Option<Cow<'a, Value>>,
    pub(super) time: Option<Timestamp>,
}

/// A change that may fail did.
enum Fault {
    Coercion(CoercionError),
    OutOfRange,
    SetTooLarge(LimitExceeded),
}

impl Population {
    /// Works out what a write leads to: the catalog, if it gets new properties, and the values by
    /// user, in the order in which the write names them first.
    pub(super) fn judge<'a>(
        &self,
        writer: &Writer,
        catalog: &Catalog,
        revision: Revision,
        updates: &'a [UserUpdate],
        changes: &mut Changes,
    ) -> Result<(Option<Catalog>, Vec<Outcome<'a>>), Refusal> {
        let mut judge = Judge {
            population: self,
            writer,
            revision,
            catalog: Cow::Borrowed(catalog),
            pending: HashMap::default(),
            needs_pending: updates.iter().any(depends_on_state),
            texts: HashMap::default(),
        };
        let mut outcomes: Vec<Outcome<'a>> = Vec::with_capacity(updates.len());
        let mut by_user: HashMap<&str, usize, RandomState> = HashMap::default();
        for (position, update) in updates.iter().enumerate() {
            let outcome = *by_user.entry(update.user.as_str()).or_insert_with(|| {
                outcomes.push(Outcome {
                    user: &update.user,
                    effects: Vec::with_capacity(update.changes.len()),
                });
                outcomes.len() - 1
            });
            judge.update(
                position,
                update,
                outcome,
                &mut outcomes[outcome].effects,
                changes,
            )?;
        }
        judge.check_users(&outcomes)?;
        judge.check_texts(&outcomes)?;
        let grown = match judge.catalog {
            Cow::Borrowed(_) => None,
            Cow::Owned(catalog) => Some(catalog),
        };
        Ok((grown, outcomes))
    }
}

pub(super) fn check_property_count(
    writer: &Writer,
    catalog: &Catalog,
    name: &PropertyName,
) -> Result<(), Refusal> {
    limit::PROPERTIES
        .check_against(writer.limits.properties, catalog.len() as u64 + 1)
        .map_err(|exceeded| Refusal::TooManyProperties {
            property: name.clone(),
            exceeded,
        })
}

/// Whether what an update leads to depends on the values that the user has.
fn depends_on_state(update: &UserUpdate) -> bool {
    update.value_time.is_some()
        || update.changes.iter().any(|change| match change.operation {
            Operation::Set(_) | Operation::Unset => false,
            Operation::SetOnce(_)
            | Operation::Increment(_)
            | Operation::AddToSet(_)
            | Operation::RemoveFromSet(_) => true,
        })
}

/// The state of judging one write.
struct Judge<'p> {
    population: &'p Population,
    writer: &'p Writer,
    revision: Revision,
    /// Owned once it has got a new property.
    catalog: Cow<'p, Catalog>,
    /// Where the effects list of a user has the last effect on a property, kept only if some
    /// change of the write depends on state.
    pending: HashMap<(usize, u32), usize, RandomState>,
    needs_pending: bool,
    /// How many texts the write may add to a property's dictionary at most.
    texts: HashMap<u32, u64, RandomState>,
}

impl Judge<'_> {
    fn update<'a>(
        &mut self,
        position: usize,
        update: &'a UserUpdate,
        outcome: usize,
        effects: &mut Vec<Effect<'a>>,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        for change in &update.changes {
            let name = &change.property;
            let Some(property) = self.property(name, &change.operation)? else {
                // Nothing is taken away from a property that does not exist.
                continue;
            };
            let refuse = |fault| match fault {
                Fault::Coercion(CoercionError::Type { expected, given }) => Refusal::TypeConflict {
                    update: position,
                    property: name.clone(),
                    expected,
                    given,
                },
                Fault::Coercion(CoercionError::Inexact { number }) => Refusal::Inexact {
                    update: position,
                    property: name.clone(),
                    number,
                },
                Fault::OutOfRange => Refusal::OutOfRange {
                    update: position,
                    property: name.clone(),
                    value_type: property.value_type(),
                },
                Fault::SetTooLarge(exceeded) => Refusal::SetTooLarge {
                    update: position,
                    property: name.clone(),
                    exceeded,
                },
            };
            let number = property.number;
            let last = self.pending.get(&(outcome, number)).map(|&at| &effects[at]);
            let user = &update.user;
            if let Some(time) = update.value_time {
                let recorded = last
                    .and_then(|effect| effect.time)
                    .or_else(|| self.recorded_time(user, number));
                if recorded.is_some_and(|recorded| time < recorded) {
                    // Even a stale value must be one of the property's type.
                    check_type(&property, &change.operation).map_err(refuse)?;
                    changes.stale.push((position, name.clone()));
                    continue;
                }
            }
            let time = update
                .value_time
                .or_else(|| last.and_then(|effect| effect.time));
            let current = || match last {
                Some(effect) => effect.value.as_deref().cloned(),
                None => self.current_value(user, &property),
            };
            let next = next_value(
                property.value_type(),
                &change.operation,
                self.writer.limits.set_elements,
                current,
            )
            .map_err(refuse)?;
            let value = match next {
                Next::Keep => continue,
                Next::Become(value) => value,
            };
            self.note_texts(number, value.as_deref());
            if self.needs_pending {
                self.pending.insert((outcome, number), effects.len());
            }
            effects.push(Effect {
                property,
                value,
                time,
            });
        }
        Ok(())
    }

    /// The property that an operation is about, which may be new with it; `None` if there is
    /// neither a property nor a value.
    fn property(
        &mut self,
        name: &PropertyName,
        operation: &Operation,
    ) -> Result<Option<Arc<Property>>, Refusal> {
        if let Some(property) = self.catalog.get(name) {
            return Ok(Some(Arc::clone(property)));
        }
        let value_type = match operation {
            Operation::Set(Value::StringSet(elements))
            | Operation::SetOnce(Value::StringSet(elements))
                if elements.is_empty() =>
            {
                return Ok(None);
            }
            Operation::Set(value) | Operation::SetOnce(value) => value.value_type(),
            Operation::Increment(Number::Int64(_)) => ValueType::Int64,
            Operation::Increment(Number::Double(_)) => ValueType::Double,
            Operation::AddToSet(_) => ValueType::StringSet,
            Operation::Unset | Operation::RemoveFromSet(_) => return Ok(None),
        };
        check_property_count(self.writer, &self.catalog, name)?;
        let declaration = PropertyDeclaration {
            name: name.clone(),
            value_type,
            case_insensitive: false,
        };
        let number = self.catalog.next_number;
        let property = self
            .population
            .new_property(number, self.revision, declaration);
        self.catalog.to_mut().insert(property);
        Ok(self.catalog.get(name).map(Arc::clone))
    }

    fn current_value(&self, user: &UserId, property: &Property) -> Option<Value> {
        self.population.with_user(user, |reader, place| {
            property.value_of(&reader.shard().get(property.number, place)?)
        })?
    }

    fn recorded_time(&self, user: &UserId, property: u32) -> Option<Timestamp> {
        let micros = self.population.with_user(user, |reader, place| {
            reader.shard().value_time(property, place)
        })??;
        Timestamp::from_micros(micros).ok()
    }

    fn note_texts(&mut self, property: u32, value: Option<&Value>) {
        let texts = match value {
            Some(Value::String(_) | Value::Version(_)) => 1,
            Some(Value::StringSet(elements)) => elements.len() as u64,
            Some(Value::Bool(_) | Value::Int64(_) | Value::Double(_) | Value::Timestamp(_))
            | None => {
                return;
            }
        };
        *self.texts.entry(property).or_default() += texts;
    }

    fn check_users(&self, outcomes: &[Outcome<'_>]) -> Result<(), Refusal> {
        let (allowed, users) = (self.writer.limits.users, self.population.user_count());
        if users + outcomes.len() as u64 <= allowed {
            return Ok(());
        }
        let new = outcomes
            .iter()
            .filter(|outcome| self.population.ordinal_of(outcome.user).is_none());
        limit::USERS
            .check_against(allowed, users + new.count() as u64)
            .map_err(|exceeded| Refusal::TooManyUsers { exceeded })
    }

    fn check_texts(&self, outcomes: &[Outcome<'_>]) -> Result<(), Refusal> {
        let allowed = self.writer.limits.distinct_values;
        for property in self.catalog.iter() {
            let Some(&at_most) = self.texts.get(&property.number) else {
                continue;
            };
            let held = property
                .with_dictionary(|dictionary| dictionary.len() as u64)
                .unwrap_or(0);
            if held + at_most <= allowed {
                continue;
            }
            let mut new: HashSet<String, RandomState> = HashSet::default();
            let effects = outcomes.iter().flat_map(|outcome| &outcome.effects);
            for effect in effects.filter(|effect| effect.property.number == property.number) {
                let mut note = |text: &str| {
                    let known = property.with_dictionary(|dictionary| dictionary.code(text));
                    if known.flatten().is_none() && !new.contains(text) {
                        new.insert(text.to_owned());
                    }
                };
                match effect.value.as_deref() {
                    Some(Value::String(text)) => note(text.as_str()),
                    Some(Value::Version(version)) => note(&version.to_string()),
                    Some(Value::StringSet(elements)) => {
                        for text in elements {
                            note(text.as_str());
                        }
                    }
                    Some(
                        Value::Bool(_) | Value::Int64(_) | Value::Double(_) | Value::Timestamp(_),
                    )
                    | None => {}
                }
            }
            limit::DISTINCT_VALUES
                .check_against(allowed, held + new.len() as u64)
                .map_err(|exceeded| Refusal::TooManyValues {
                    property: property.declaration.name.clone(),
                    exceeded,
                })?;
        }
        Ok(())
    }
}

/// What an operation makes of a value.
enum Next<'a> {
    Keep,
    Become(Option<Cow<'a, Value>>),
}

fn next_value(
    value_type: ValueType,
    operation: &Operation,
    most_elements: u64,
    current: impl FnOnce() -> Option<Value>,
) -> Result<Next<'_>, Fault> {
    let elements_of = |value| match value {
        Some(Value::StringSet(elements)) => elements,
        _ => BTreeSet::new(),
    };
    Ok(match operation {
        Operation::Set(value) => Next::Become(coerced(value, value_type, most_elements)?),
        Operation::SetOnce(value) => {
            let value = coerced(value, value_type, most_elements)?;
            if current().is_some() {
                Next::Keep
            } else {
                Next::Become(value)
            }
        }
        Operation::Unset => Next::Become(None),
        Operation::Increment(number) => {
            let sum = increment(value_type, *number, current())?;
            Next::Become(Some(Cow::Owned(sum)))
        }
        Operation::AddToSet(added) => {
            check_set_type(value_type)?;
            let mut elements = elements_of(current());
            elements.extend(added.iter().cloned());
            check_elements(&elements, most_elements)?;
            Next::Become(Some(Cow::Owned(Value::StringSet(elements))))
        }
        Operation::RemoveFromSet(removed) => {
            check_set_type(value_type)?;
            let mut elements = elements_of(current());
            for element in removed.iter() {
                elements.remove(element);
            }
            let left = (!elements.is_empty()).then_some(Cow::Owned(Value::StringSet(elements)));
            Next::Become(left)
        }
    })
}

fn check_type(property: &Property, operation: &Operation) -> Result<(), Fault> {
    match operation {
        Operation::Set(value) | Operation::SetOnce(value) => {
            coerced(value, property.value_type(), u64::MAX).map(|_| ())
        }
        Operation::Unset
        | Operation::Increment(_)
        | Operation::AddToSet(_)
        | Operation::RemoveFromSet(_) => Ok(()),
    }
}

fn check_set_type(value_type: ValueType) -> Result<(), Fault> {
    if value_type == ValueType::StringSet {
        Ok(())
    } else {
        Err(Fault::Coercion(CoercionError::Type {
            expected: value_type,
            given: ValueType::StringSet,
        }))
    }
}

fn check_elements(elements: &BTreeSet<Text>, most: u64) -> Result<(), Fault> {
    limit::SET_ELEMENTS
        .check_against(most, elements.len() as u64)
        .map_err(Fault::SetTooLarge)
}

fn coerced(
    value: &Value,
    value_type: ValueType,
    most_elements: u64,
) -> Result<Option<Cow<'_, Value>>, Fault> {
    if let Value::StringSet(elements) = value {
        check_set_type(value_type)?;
        check_elements(elements, most_elements)?;
        return Ok((!elements.is_empty()).then_some(Cow::Borrowed(value)));
    }
    if value.value_type() == value_type {
        return Ok(Some(Cow::Borrowed(value)));
    }
    let value = value
        .clone()
        .coerced_to(value_type)
        .map_err(Fault::Coercion)?;
    Ok(Some(Cow::Owned(value)))
}

fn increment(
    value_type: ValueType,
    number: Number,
    current: Option<Value>,
) -> Result<Value, Fault> {
    let added = Value::from(number)
        .coerced_to(value_type)
        .map_err(Fault::Coercion)?;
    match (current, added) {
        (Some(Value::Int64(current)), Value::Int64(added)) => {
            let sum = current.checked_add(added).ok_or(Fault::OutOfRange)?;
            Ok(Value::Int64(sum))
        }
        (Some(Value::Double(current)), Value::Double(added)) => {
            let sum = Finite::new(current.get() + added.get()).ok_or(Fault::OutOfRange)?;
            Ok(Value::Double(sum))
        }
        // A value there is has the property's type, which the increment was coerced to.
        (_, added) => Ok(added),
    }
}
