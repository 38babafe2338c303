//! Works out which values the changes of a write lead to, or why the write is refused.
//!
//! Invariant: judging changes nothing, and what it lets pass can be carried out without failing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::catalog::{Catalog, Property};
use super::judge_events::StagedEvents;
use super::named::{Named, NamedUsers};
use super::refusal::Refusal;
use super::{Changes, Population, Writer, split};
use crate::model::{
    Change, CoercionError, Finite, LimitExceeded, Number, Operation, PropertyDeclaration,
    PropertyName, Revision, Text, Timestamp, UserUpdate, Value, ValueType, limit,
};

/// What the changes of a write make of one property, in the order in which it names them.
pub(super) struct Effects<'a> {
    pub(super) property: Arc<Property>,
    pub(super) values: Vec<Effect<'a>>,
    /// The times that the write gives, by the position of the user among those named.
    pub(super) times: Vec<(u32, Timestamp)>,
}

/// A value that a user will have.
pub(super) struct Effect<'a> {
    /// The position of the user among those named.
    pub(super) user: u32,
    pub(super) value: Became<'a>,
}

/// What a value became. Small, since a write has very many.
pub(super) enum Became<'a> {
    Missing,
    Given(&'a Value),
    Made(Box<Value>),
}

impl Became<'_> {
    pub(super) fn value(&self) -> Option<&Value> {
        match self {
            Self::Missing => None,
            Self::Given(value) => Some(value),
            Self::Made(value) => Some(value),
        }
    }
}

impl<'a> From<Option<Cow<'a, Value>>> for Became<'a> {
    fn from(value: Option<Cow<'a, Value>>) -> Self {
        match value {
            None => Self::Missing,
            Some(Cow::Borrowed(value)) => Self::Given(value),
            Some(Cow::Owned(value)) => Self::Made(Box::new(value)),
        }
    }
}

/// A change that may fail did.
enum Fault {
    Coercion(CoercionError),
    OutOfRange,
    SetTooLarge(LimitExceeded),
}

impl Fault {
    fn refusal(self, update: usize, property: &Property) -> Refusal {
        let name = property.declaration.name.clone();
        match self {
            Self::Coercion(CoercionError::Type { expected, given }) => Refusal::TypeConflict {
                update,
                property: name,
                expected,
                given,
            },
            Self::Coercion(CoercionError::Inexact { number }) => Refusal::Inexact {
                update,
                property: name,
                number,
            },
            Self::OutOfRange => Refusal::OutOfRange {
                update,
                property: name,
                value_type: property.value_type(),
            },
            Self::SetTooLarge(exceeded) => Refusal::SetTooLarge {
                update,
                property: name,
                exceeded,
            },
        }
    }
}

impl Population {
    /// Works out what a write leads to: the catalog, if it gets new properties or events, the values
    /// by property, and the events. How many different texts there may be is left to be checked.
    pub(super) fn judge<'a>(
        &self,
        writer: &Writer,
        catalog: &Catalog,
        revision: Revision,
        updates: &'a [UserUpdate],
        users: &mut NamedUsers<'a>,
        changes: &mut Changes,
    ) -> Result<(Option<Catalog>, Vec<Effects<'a>>, StagedEvents), Refusal> {
        let mut judge = Judge {
            population: self,
            writer,
            revision,
            catalog: Cow::Borrowed(catalog),
            effects: Vec::new(),
            by_number: HashMap::default(),
            expected: Vec::new(),
            pending: HashMap::default(),
            needs_pending: updates.iter().any(depends_on_state),
        };
        for (position, update) in updates.iter().enumerate() {
            let (number, user) = users.of_update(position);
            judge.update(position, update, number, user, changes)?;
        }
        let (allowed, held) = (writer.limits.users, self.user_count());
        limit::USERS
            .check_against(allowed, held + users.new_users())
            .map_err(|exceeded| Refusal::TooManyUsers { exceeded })?;
        let events = self.judge_events(writer, &mut judge.catalog, updates, users, changes)?;
        let grown = match judge.catalog {
            Cow::Borrowed(_) => None,
            Cow::Owned(catalog) => Some(catalog),
        };
        Ok((grown, judge.effects, events))
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
struct Judge<'p, 'a> {
    population: &'p Population,
    writer: &'p Writer,
    revision: Revision,
    /// Owned once it has got a new property.
    catalog: Cow<'p, Catalog>,
    effects: Vec<Effects<'a>>,
    /// Where the effects on a property are.
    by_number: HashMap<u32, usize, RandomState>,
    /// Where the effects of the last change at each position of an update are: most updates of a
    /// write name the same properties in the same order.
    expected: Vec<usize>,
    /// The last effect on a property of a user, kept only if some change of the write depends on
    /// state.
    pending: HashMap<(u32, u32), Pending, RandomState>,
    needs_pending: bool,
}

#[derive(Clone, Copy)]
struct Pending {
    /// Its position among the effects on the property.
    effect: usize,
    time: Option<Timestamp>,
}

impl<'a> Judge<'_, 'a> {
    fn update(
        &mut self,
        position: usize,
        update: &'a UserUpdate,
        number: u32,
        user: &mut Named<'a>,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        for (place, change) in update.changes.iter().enumerate() {
            let Some(found) = self.effects_of(place, change)? else {
                // Nothing is taken away from a property that does not exist.
                continue;
            };
            if self.needs_pending {
                self.dependent(position, update, change, number, user, found, changes)?;
                continue;
            }
            let effects = &mut self.effects[found];
            let most_elements = self.writer.limits.set_elements;
            let value = match &change.operation {
                Operation::Set(value) => {
                    coerced(value, effects.property.value_type(), most_elements)
                        .map_err(|fault| fault.refusal(position, &effects.property))?
                        .into()
                }
                // All others depend on what the user has.
                Operation::Unset
                | Operation::SetOnce(_)
                | Operation::Increment(_)
                | Operation::AddToSet(_)
                | Operation::RemoveFromSet(_) => Became::Missing,
            };
            effects.values.push(Effect {
                user: number,
                value,
            });
            user.effects += 1;
        }
        Ok(())
    }

    /// A change of a write in which some change depends on what the user has.
    #[expect(clippy::too_many_arguments, reason = "the rest of the function above")]
    fn dependent(
        &mut self,
        position: usize,
        update: &'a UserUpdate,
        change: &'a Change,
        number: u32,
        user: &mut Named<'a>,
        found: usize,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let effects = &mut self.effects[found];
        let property = &*effects.property;
        let refuse = |fault: Fault| fault.refusal(position, property);
        let last = self.pending.get(&(number, property.number)).copied();
        let recorded = last.and_then(|last| last.time);
        if let Some(time) = update.value_time {
            let recorded =
                recorded.or_else(|| self.population.recorded_time(user, property.number));
            if recorded.is_some_and(|recorded| time < recorded) {
                // Even a stale value must be one of the property's type.
                check_type(property, &change.operation).map_err(refuse)?;
                changes.stale.push((position, change.property.clone()));
                return Ok(());
            }
        }
        let current = || match last {
            Some(last) => effects.values[last.effect].value.value().cloned(),
            None => self.population.current_value(user, property),
        };
        let next = next_value(
            property.value_type(),
            &change.operation,
            self.writer.limits.set_elements,
            current,
        )
        .map_err(refuse)?;
        let value = match next {
            Next::Keep => return Ok(()),
            Next::Become(value) => value.into(),
        };
        let pending = Pending {
            effect: effects.values.len(),
            time: update.value_time.or(recorded),
        };
        self.pending.insert((number, property.number), pending);
        effects
            .times
            .extend(update.value_time.map(|time| (number, time)));
        effects.values.push(Effect {
            user: number,
            value,
        });
        user.effects += 1;
        Ok(())
    }

    /// Where the effects on the property of a change are, which may be new with it; `None` if
    /// there is neither a property nor a value.
    fn effects_of(&mut self, place: usize, change: &Change) -> Result<Option<usize>, Refusal> {
        if let Some(&expected) = self.expected.get(place)
            && self.effects[expected].property.declaration.name == change.property
        {
            return Ok(Some(expected));
        }
        let Some(property) = self.property(&change.property, &change.operation)? else {
            return Ok(None);
        };
        let effects = &mut self.effects;
        let found = *self.by_number.entry(property.number).or_insert_with(|| {
            effects.push(Effects {
                property,
                values: Vec::new(),
                times: Vec::new(),
            });
            effects.len() - 1
        });
        if place == self.expected.len() {
            self.expected.push(found);
        } else if let Some(expected) = self.expected.get_mut(place) {
            *expected = found;
        }
        Ok(Some(found))
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
}

impl Population {
    fn current_value(&self, user: &Named<'_>, property: &Property) -> Option<Value> {
        let (shard, place) = split(user.ordinal?);
        self.with_shard(shard, |reader| {
            property.value_of(&reader.shard().get(property.number, place)?)
        })?
    }

    fn recorded_time(&self, user: &Named<'_>, property: u32) -> Option<Timestamp> {
        let (shard, place) = split(user.ordinal?);
        let micros =
            self.with_shard(shard, |reader| reader.shard().value_time(property, place))??;
        Timestamp::from_micros(micros).ok()
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
