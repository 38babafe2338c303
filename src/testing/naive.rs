//! The naive twin of a population: a map of users, every question answered by looking at each.
//!
//! It shares no code with what it checks, save the words.

use std::collections::{BTreeMap, BTreeSet};

use super::naive_events::{Asked, NaiveEvents, Unanswerable};
use crate::model::{
    Action, BucketPredicate, BucketTest, Comparison, EventFault, Expression, Finite, FirstMembers,
    Number, Operand, Operation, Predicate, PropertyName, Quantifier, SegmentName, Test, Text,
    Timestamp, UserId, UserUpdate, Value, ValueType,
};

/// A population as a map of users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NaivePopulation {
    users: BTreeMap<UserId, NaiveUser>,
    /// Type, and whether case is disregarded.
    properties: BTreeMap<PropertyName, (ValueType, bool)>,
    events: NaiveEvents,
    lists: BTreeMap<SegmentName, BTreeSet<UserId>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct NaiveUser {
    values: BTreeMap<PropertyName, Value>,
    times: BTreeMap<PropertyName, Timestamp>,
}

/// What an accepted action did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NaiveChanges {
    /// The changes that were stale: the position of the update, the property.
    pub stale: Vec<(usize, PropertyName)>,
    /// The events that do not count: the position of the update, that within it, and why.
    pub refused_events: Vec<(usize, usize, EventFault)>,
    /// How many users entered or left a static list.
    pub members: u64,
    /// The positions of users of a list's command who do not exist.
    pub unknown: Vec<usize>,
}

/// The action was refused, and nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl NaivePopulation {
    /// Carries out an action, or refuses it as a whole.
    ///
    /// # Errors
    /// [`Refused`] if the action may not be carried out.
    pub fn apply(&mut self, action: &Action) -> Result<NaiveChanges, Refused> {
        let mut next = self.clone();
        let mut changes = NaiveChanges::default();
        match action {
            Action::Write(updates) => {
                for (position, update) in updates.iter().enumerate() {
                    next.update(update, position, &mut changes.stale)?;
                    for (place, event) in update.events.iter().enumerate() {
                        let fault = next.events.receive(&update.user, event);
                        let refused = fault.map(|fault| (position, place, fault));
                        changes.refused_events.extend(refused);
                    }
                }
                let events = updates.iter().flat_map(|update| &update.events);
                if let Some(received) = events.map(|event| event.received.micros()).max() {
                    next.events.drop_old(received);
                }
            }
            Action::Erase(user) => {
                next.users.remove(user);
                next.events.erase(user);
                for members in next.lists.values_mut() {
                    members.remove(user);
                }
            }
            Action::CreateProperty(declaration) => {
                let kind = (declaration.value_type, declaration.case_insensitive);
                if next
                    .properties
                    .insert(declaration.name.clone(), kind)
                    .is_some()
                {
                    return Err(Refused);
                }
            }
            Action::CreateEvent(declaration) => next.events.create(declaration)?,
            Action::UpdateEvent(declaration) => next.events.update(declaration)?,
            Action::DeleteEvent(name) => next.events.delete(name)?,
            Action::CreateList(declaration, _) => {
                let FirstMembers::Users(users) = &declaration.members else {
                    unreachable!("what is frozen is told by create_list");
                };
                next.create_list(&declaration.name, BTreeSet::new())?;
                changes = next.change_list(&declaration.name, users, true)?;
            }
            Action::AddMembers(name, users) => changes = next.change_list(name, users, true)?,
            Action::RemoveMembers(name, users) => changes = next.change_list(name, users, false)?,
            Action::DeleteSegment(name, _) => {
                next.lists.remove(name).ok_or(Refused)?;
            }
            Action::CreateSegment(..) | Action::UpdateSegment(..) => {
                unreachable!("segments that are no lists are not generated")
            }
            Action::DeleteProperty(name) => {
                next.properties.remove(name).ok_or(Refused)?;
                for user in next.users.values_mut() {
                    user.values.remove(name);
                    user.times.remove(name);
                }
            }
        }
        *self = next;
        Ok(changes)
    }

    fn update(
        &mut self,
        update: &UserUpdate,
        position: usize,
        stale: &mut Vec<(usize, PropertyName)>,
    ) -> Result<(), Refused> {
        let user = self.users.entry(update.user.clone()).or_default();
        for change in &update.changes {
            let name = &change.property;
            let given = match &change.operation {
                Operation::Set(Value::StringSet(elements))
                | Operation::SetOnce(Value::StringSet(elements))
                    if elements.is_empty() && !self.properties.contains_key(name) =>
                {
                    continue;
                }
                Operation::Set(value) | Operation::SetOnce(value) => Some(value.value_type()),
                Operation::Increment(Number::Int64(_)) => Some(ValueType::Int64),
                Operation::Increment(Number::Double(_)) => Some(ValueType::Double),
                Operation::AddToSet(_) => Some(ValueType::StringSet),
                Operation::RemoveFromSet(_) if self.properties.contains_key(name) => {
                    Some(ValueType::StringSet)
                }
                Operation::Unset | Operation::RemoveFromSet(_) => None,
            };
            if given.is_none() && !self.properties.contains_key(name) {
                continue;
            }
            let expected = match given {
                Some(given) => {
                    let (expected, _) = *self
                        .properties
                        .entry(name.clone())
                        .or_insert((given, false));
                    let widened = given == ValueType::Int64 && expected == ValueType::Double;
                    if given != expected && !widened {
                        return Err(Refused);
                    }
                    expected
                }
                None => self.properties[name].0,
            };
            let fit = |value: &Value| match (value, expected) {
                (Value::Int64(number), ValueType::Double) => widen(*number).map(Value::Double),
                _ => Ok(value.clone()),
            };
            let next = match &change.operation {
                Operation::Set(value) | Operation::SetOnce(value) => Some(fit(value)?),
                Operation::Unset
                | Operation::Increment(_)
                | Operation::AddToSet(_)
                | Operation::RemoveFromSet(_) => None,
            };
            if let Some(time) = update.value_time {
                if user
                    .times
                    .get(name)
                    .is_some_and(|recorded| time < *recorded)
                {
                    stale.push((position, name.clone()));
                    continue;
                }
                user.times.insert(name.clone(), time);
            }
            let current = user.values.remove(name);
            let next = match &change.operation {
                Operation::Set(_) => next,
                Operation::SetOnce(_) => current.or(next),
                Operation::Unset => None,
                Operation::Increment(number) => Some(add(current.as_ref(), *number, expected)?),
                Operation::AddToSet(added) => {
                    let mut elements = elements_of(current);
                    elements.extend(added.iter().cloned());
                    Some(Value::StringSet(elements))
                }
                Operation::RemoveFromSet(removed) => {
                    let mut elements = elements_of(current);
                    elements.retain(|element| !removed.contains(element));
                    Some(Value::StringSet(elements))
                }
            };
            if let Some(value) = next.filter(|value| *value != Value::StringSet(BTreeSet::new())) {
                user.values.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Makes a list of those of some users who exist.
    ///
    /// # Errors
    /// [`Refused`] if there is a list of the name.
    pub fn create_list(
        &mut self,
        name: &SegmentName,
        mut users: BTreeSet<UserId>,
    ) -> Result<(), Refused> {
        if self.lists.contains_key(name) {
            return Err(Refused);
        }
        users.retain(|user| self.users.contains_key(user));
        self.lists.insert(name.clone(), users);
        Ok(())
    }

    /// The users of a list; `None` if there is none of the name.
    #[must_use]
    pub fn list(&self, name: &SegmentName) -> Option<&BTreeSet<UserId>> {
        self.lists.get(name)
    }

    fn change_list(
        &mut self,
        name: &SegmentName,
        users: &[UserId],
        add: bool,
    ) -> Result<NaiveChanges, Refused> {
        let members = self.lists.get_mut(name).ok_or(Refused)?;
        let mut changes = NaiveChanges::default();
        for (position, user) in users.iter().enumerate() {
            if !self.users.contains_key(user) {
                changes.unknown.push(position);
            } else if add {
                changes.members += u64::from(members.insert(user.clone()));
            } else {
                changes.members += u64::from(members.remove(user));
            }
        }
        Ok(changes)
    }

    /// The properties of a user.
    #[must_use]
    pub fn user(&self, id: &UserId) -> Option<&BTreeMap<PropertyName, Value>> {
        self.users.get(id).map(|user| &user.values)
    }

    /// All users.
    pub fn user_ids(&self) -> impl Iterator<Item = &UserId> {
        self.users.keys()
    }

    /// The type of a property.
    #[must_use]
    pub fn value_type(&self, name: &PropertyName) -> Option<ValueType> {
        self.properties.get(name).map(|(value_type, _)| *value_type)
    }

    /// The events of all users.
    #[must_use]
    pub const fn events(&self) -> &NaiveEvents {
        &self.events
    }

    /// Why an expression can't be answered, as far as events are concerned.
    #[must_use]
    pub fn unanswerable(&self, expression: &Expression, as_of: Timestamp) -> Option<Unanswerable> {
        self.events.unanswerable(expression, as_of)
    }

    /// The users whom an expression selects. Its properties exist and its literals are of their
    /// types.
    #[must_use]
    pub fn select(&self, expression: &Expression, as_of: Timestamp) -> BTreeSet<UserId> {
        let asked = Asked::of(expression, as_of);
        let users = self.users.iter();
        users
            .filter(|user| self.holds(expression, &asked, *user, as_of))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether an expression selects a user, as for [`Self::select`].
    #[must_use]
    pub fn is_member(&self, user: &UserId, expression: &Expression, as_of: Timestamp) -> bool {
        let found = self.users.get_key_value(user);
        let asked = Asked::of(expression, as_of);
        found.is_some_and(|user| self.holds(expression, &asked, user, as_of))
    }

    fn holds(
        &self,
        expression: &Expression,
        asked: &Asked<'_>,
        user: (&UserId, &NaiveUser),
        as_of: Timestamp,
    ) -> bool {
        let holds = |one: &&Expression| self.holds(one, asked, user, as_of);
        match expression {
            Expression::Everyone => true,
            Expression::And(all) => all.iter().all(|one| holds(&one)),
            Expression::Or(any) => any.iter().any(|one| holds(&one)),
            Expression::Not(one) => !holds(&&**one),
            Expression::AtLeast { count, of } => {
                of.iter().filter(holds).count() >= count.get() as usize
            }
            Expression::Predicate(predicate) => self.passes(predicate, user.1, as_of),
            Expression::Event(test) => self.events.passes(test, asked, user.0, as_of),
            Expression::Bucket(predicate) => in_bucket(predicate, user.0),
            Expression::Segment(name) => self.lists[name].contains(user.0),
        }
    }

    fn passes(&self, predicate: &Predicate, user: &NaiveUser, as_of: Timestamp) -> bool {
        let held = user.values.get(&predicate.property);
        let (_, fold) = self.properties[&predicate.property];
        let same_text = |a: &Text, b: &Text| {
            a == b || fold && a.as_str().to_lowercase() == b.as_str().to_lowercase()
        };
        let same = |a: &Value, b: &Value| match (a, b) {
            (Value::String(a), Value::String(b)) => same_text(a, b),
            (a, b) => compare(a, b) == Some(std::cmp::Ordering::Equal),
        };
        match &predicate.test {
            Test::IsSet { negated } => held.is_some() != *negated,
            Test::In { values, negated } => {
                let is_in = held.is_some_and(|held| values.iter().any(|value| same(held, value)));
                is_in != *negated
            }
            Test::Has {
                quantifier,
                elements,
            } => {
                let set = match held {
                    Some(Value::StringSet(set)) => set.clone(),
                    _ => BTreeSet::new(),
                };
                let has = |element: &Text| set.iter().any(|held| same_text(held, element));
                match quantifier {
                    Quantifier::Any => elements.iter().any(has),
                    Quantifier::All => elements.iter().all(has),
                    Quantifier::None => !elements.iter().any(has),
                }
            }
            Test::Compare {
                comparison,
                operand,
            } => {
                let value = match operand {
                    Operand::Value(value) => value.clone(),
                    Operand::AsOfPlus(span) => Value::Timestamp(as_of.saturating_add(*span)),
                };
                let order = held.and_then(|held| compare(held, &value));
                match comparison {
                    Comparison::Equal => held.is_some_and(|held| same(held, &value)),
                    Comparison::NotEqual => !held.is_some_and(|held| same(held, &value)),
                    Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
                    Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
                    Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
                    Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
                }
            }
        }
    }
}

/// By the whole hash as a number, a digit at a time.
fn in_bucket(predicate: &BucketPredicate, user: &UserId) -> bool {
    use sha2::Digest as _;
    let text = format!("{}\0{user}", predicate.salt().as_str());
    let hash = sha2::Sha256::digest(text);
    let buckets = u64::from(predicate.buckets().get());
    let bucket = hash
        .iter()
        .take(8)
        .fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % buckets);
    match predicate.test() {
        BucketTest::Compare(comparison, number) => {
            comparison.holds(bucket.cmp(&u64::from(*number)))
        }
        BucketTest::In { numbers, negated } => {
            numbers.iter().any(|number| u64::from(*number) == bucket) != *negated
        }
    }
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        #[expect(clippy::cast_precision_loss, reason = "generated numbers are small")]
        (Value::Double(a), Value::Int64(b)) => a.get().partial_cmp(&(*b as f64)),
        (Value::Double(a), Value::Double(b)) => a.get().partial_cmp(&b.get()),
        (a, b) => Some(a.cmp(b)),
    }
}

fn elements_of(value: Option<Value>) -> BTreeSet<Text> {
    match value {
        Some(Value::StringSet(elements)) => elements,
        _ => BTreeSet::new(),
    }
}

fn widen(number: i64) -> Result<Finite, Refused> {
    #[expect(clippy::cast_precision_loss, reason = "checked by printing")]
    let double = number as f64;
    if format!("{double:.0}") == number.to_string() {
        Finite::new(double).ok_or(Refused)
    } else {
        Err(Refused)
    }
}

fn add(current: Option<&Value>, number: Number, expected: ValueType) -> Result<Value, Refused> {
    let added = match (number, expected) {
        (Number::Int64(number), ValueType::Double) => widen(number)?.get(),
        (Number::Double(number), _) => number.get(),
        (Number::Int64(added), _) => {
            let current = match current {
                Some(Value::Int64(current)) => *current,
                _ => 0,
            };
            return current.checked_add(added).map(Value::Int64).ok_or(Refused);
        }
    };
    let current = match current {
        Some(Value::Double(current)) => current.get(),
        _ => 0.0,
    };
    Finite::new(current + added)
        .map(Value::Double)
        .ok_or(Refused)
}
