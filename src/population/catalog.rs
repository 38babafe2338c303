//! The properties of a population: names, numbers, types and dictionaries.
//!
//! Invariant: a catalog never changes; a changed one takes its place as a whole. A property's
//! number is never given to another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cell::Cell;
use super::segments::SavedSegment;
use crate::index::{Dictionary, IndexKind};
use crate::model::{
    EventDeclaration, EventName, PropertyDeclaration, PropertyName, SegmentName, ValueType,
};

/// A property of a population.
#[derive(Debug)]
pub struct Property {
    pub(super) number: u32,
    pub(super) declaration: PropertyDeclaration,
    /// Of strings, string sets and versions.
    pub(super) dictionary: Option<Cell<Dictionary>>,
}

impl Property {
    pub(super) fn new(
        number: u32,
        declaration: PropertyDeclaration,
        dictionary: Option<Cell<Dictionary>>,
    ) -> Self {
        Self {
            number,
            declaration,
            dictionary,
        }
    }

    /// Whether values of a type have a dictionary.
    pub(super) fn needs_dictionary(value_type: ValueType) -> bool {
        matches!(
            value_type,
            ValueType::String | ValueType::StringSet | ValueType::Version
        )
    }

    /// Its number within the population, for the index.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What was declared.
    #[must_use]
    pub fn declaration(&self) -> &PropertyDeclaration {
        &self.declaration
    }

    /// The type of its values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.declaration.value_type
    }

    /// The kind of its index.
    #[must_use]
    pub fn kind(&self) -> IndexKind {
        match self.declaration.value_type {
            ValueType::Bool | ValueType::String | ValueType::Version => IndexKind::Codes,
            ValueType::StringSet => IndexKind::Sets,
            ValueType::Int64 | ValueType::Double | ValueType::Timestamp => IndexKind::Numbers,
        }
    }

    /// Reads the dictionary; `None` if the type has none.
    pub fn with_dictionary<T>(&self, read: impl FnOnce(&Dictionary) -> T) -> Option<T> {
        self.dictionary.as_ref().map(|cell| read(&cell.read()))
    }
}

/// The events of one name that a population knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    pub(super) number: u32,
    pub(super) declaration: EventDeclaration,
}

impl KnownEvent {
    /// Its number within the population, for the index.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What was declared.
    #[must_use]
    pub fn declaration(&self) -> &EventDeclaration {
        &self.declaration
    }
}

/// The properties, events and segments of a population.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    properties: BTreeMap<PropertyName, Arc<Property>>,
    pub(super) next_number: u32,
    events: BTreeMap<EventName, Arc<KnownEvent>>,
    pub(super) next_event: u32,
    segments: BTreeMap<SegmentName, Arc<SavedSegment>>,
    /// No number of a static list is given twice.
    pub(super) next_list: u32,
}

impl Catalog {
    /// The property of a name.
    #[must_use]
    pub fn get(&self, name: &PropertyName) -> Option<&Arc<Property>> {
        self.properties.get(name)
    }

    /// All properties, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Property>> {
        self.properties.values()
    }

    /// How many properties there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.properties.len()
    }

    /// Whether there are no properties.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty()
    }

    /// The events of a name.
    #[must_use]
    pub fn event(&self, name: &EventName) -> Option<&Arc<KnownEvent>> {
        self.events.get(name)
    }

    /// All events, in the order of their names.
    #[must_use]
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Arc<KnownEvent>> {
        self.events.values()
    }

    /// The segment of a name.
    #[must_use]
    pub fn segment(&self, name: &SegmentName) -> Option<&Arc<SavedSegment>> {
        self.segments.get(name)
    }

    /// All segments, in the order of their names.
    #[must_use]
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Arc<SavedSegment>> {
        self.segments.values()
    }

    /// Names of segments like the one given, the nearest first: at most three.
    #[must_use]
    pub fn near_segments(&self, name: &SegmentName) -> Vec<SegmentName> {
        nearest(name.as_str(), self.segments.keys(), SegmentName::as_str)
    }

    /// Adds a segment, or takes another one of the same name for it.
    pub(super) fn insert_segment(&mut self, segment: SavedSegment) {
        self.segments
            .insert(segment.name().clone(), Arc::new(segment));
    }

    pub(super) fn remove_segment(&mut self, name: &SegmentName) -> Option<Arc<SavedSegment>> {
        self.segments.remove(name)
    }

    /// Names of events like the one given, the nearest first: at most three.
    #[must_use]
    pub fn near_events(&self, name: &EventName) -> Vec<EventName> {
        nearest(name.as_str(), self.events.keys(), EventName::as_str)
    }

    /// Adds events, or takes others of the same name for them.
    pub(super) fn insert_event(&mut self, event: KnownEvent) {
        self.next_event = self.next_event.max(event.number + 1);
        self.events
            .insert(event.declaration.name.clone(), Arc::new(event));
    }

    pub(super) fn remove_event(&mut self, name: &EventName) -> Option<Arc<KnownEvent>> {
        self.events.remove(name)
    }

    pub(super) fn insert(&mut self, property: Property) {
        self.next_number = self.next_number.max(property.number + 1);
        self.properties
            .insert(property.declaration.name.clone(), Arc::new(property));
    }

    pub(super) fn remove(&mut self, name: &PropertyName) -> Option<Arc<Property>> {
        self.properties.remove(name)
    }

    /// Names like the one given, the nearest first: at most three.
    #[must_use]
    pub fn near(&self, name: &PropertyName) -> Vec<PropertyName> {
        nearest(name.as_str(), self.properties.keys(), PropertyName::as_str)
    }
}

/// The at most three candidates that differ from a text by few letters, the nearest first.
pub(crate) fn nearest<'a, T: Clone + 'a>(
    text: &str,
    candidates: impl Iterator<Item = &'a T>,
    as_str: impl Fn(&T) -> &str,
) -> Vec<T> {
    let wanted = text.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &T)> = candidates
        .filter_map(|candidate| {
            let lower = as_str(candidate).to_lowercase();
            let distance = if lower.starts_with(&wanted) && wanted.len() >= 3 {
                1
            } else {
                edit_distance(&wanted, &lower)
            };
            (distance <= most).then_some((distance, candidate))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.clone())
        .collect()
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn
/// one text into the other (optimal string alignment distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first() {
        let names = [
            "country",
            "contract",
            "city",
            "age",
            "page",
            "monthly_charges",
        ];
        let near = |text| nearest(text, names.iter(), |name| name);
        assert_eq!(near("contry"), ["country"]);
        assert_eq!(near("Contarct"), ["contract"]);
        assert_eq!(near("monthly"), ["monthly_charges"]);
        assert_eq!(near("agee"), ["age"]);
        assert!(near("zzz").is_empty());
        assert_eq!(edit_distance("ab", "ba"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
