//! What saving a definition would come to, judged as the command would be, with nothing changed.
//!
//! Invariant: a definition is accepted here if and only if a command that saves it would be accepted
//! now, as far as that depends on the definition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{SavedSegment, check_sizes};
use crate::model::{
    Expression, Labels, Revision, SegmentDeclaration, SegmentName, Text, Timestamp,
};
use crate::population::{Catalog, Population, Refusal};

/// A definition that could be saved.
#[derive(Clone, Debug)]
pub struct Redefinition {
    /// The segments as they are.
    pub catalog: Arc<Catalog>,
    /// Whether there is a segment of the name.
    pub exists: bool,
    /// The segments that are made of it, however indirectly, in the order of their names.
    pub dependents: Vec<SegmentName>,
}

impl Population {
    /// Judges a definition as that of the segment of a name, which may not exist so far, or of a
    /// segment that has no name yet. Changes nothing.
    ///
    /// # Errors
    /// [`Refusal`] says why a command that saves the definition would be refused.
    pub fn judge_definition(
        &self,
        name: Option<&SegmentName>,
        definition: &Expression,
    ) -> Result<Redefinition, Refusal> {
        let catalog = self.catalog();
        let segment = name.and_then(|name| catalog.segment(name));
        let exists = segment.is_some();
        if let Some(list) = segment.filter(|segment| segment.definition().list().is_some()) {
            return Err(Refusal::SegmentIsList {
                segment: list.name().clone(),
            });
        }
        let mut next = Catalog::clone(&catalog);
        if let Some(name) = name.cloned().or_else(|| unused_name(&catalog)) {
            let declaration = SegmentDeclaration {
                name: name.clone(),
                definition: definition.clone(),
                description: Text::default(),
                labels: Labels::new(),
            };
            let segment = SavedSegment::new(declaration, Revision::ZERO, Timestamp::MIN);
            next.insert_segment(segment);
            check_sizes(&next, &name)?;
        }
        let dependents = name.map(|name| dependents(&catalog, name));
        Ok(Redefinition {
            exists,
            dependents: dependents.unwrap_or_default(),
            catalog,
        })
    }
}

/// A name that no segment has.
fn unused_name(catalog: &Catalog) -> Option<SegmentName> {
    (0..=catalog.segments().len())
        .filter_map(|number| SegmentName::new(format!("preview {number}")).ok())
        .find(|name| catalog.segment(name).is_none())
}

/// All segments in whose definitions a segment is, or one that it is in.
fn dependents(catalog: &Catalog, name: &SegmentName) -> Vec<SegmentName> {
    let mut users: BTreeMap<&SegmentName, Vec<&SegmentName>> = BTreeMap::new();
    for segment in catalog.segments() {
        for mentioned in &segment.mentions {
            users.entry(mentioned).or_default().push(segment.name());
        }
    }
    let mut found = BTreeSet::new();
    let mut pending = vec![name];
    while let Some(name) = pending.pop() {
        for user in users.get(name).into_iter().flatten() {
            if found.insert(*user) {
                pending.push(user);
            }
        }
    }
    found.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, SegmentChange, StoreLimits};

    fn name(text: &str) -> SegmentName {
        SegmentName::new(text).unwrap()
    }

    fn in_all(names: &[&str]) -> Expression {
        let text: Vec<String> = names.iter().map(|n| format!("segment('{n}')")).collect();
        crate::filter::parse(&text.join(" AND ")).unwrap()
    }

    fn create(population: &Population, segment: &str, definition: Expression) {
        let declaration = SegmentDeclaration {
            name: name(segment),
            definition,
            description: Text::default(),
            labels: Labels::new(),
        };
        let create = Action::CreateSegment(Box::new(declaration), Timestamp::MIN);
        population.apply(Revision::new(1), &create).unwrap();
    }

    /// What a command that saves the definition is answered with.
    fn update(
        population: &Population,
        segment: &str,
        definition: Expression,
    ) -> Result<(), Refusal> {
        let change = SegmentChange {
            name: name(segment),
            definition: Some(definition),
            description: None,
            labels: None,
            unchanged_since: None,
        };
        let update = Action::UpdateSegment(Box::new(change), Timestamp::MIN);
        population.apply(Revision::new(2), &update).map(|_| ())
    }

    #[test]
    fn what_is_refused_is_what_the_command_is_refused_for_and_nothing_changes() {
        let population = Population::new(StoreLimits::default());
        create(&population, "s0", Expression::Everyone);
        for level in 1..8 {
            let below = format!("s{}", level - 1);
            create(&population, &format!("s{level}"), in_all(&[&below]));
        }
        create(&population, "other", Expression::Everyone);
        let before = population.catalog();
        for definition in [
            in_all(&["s7"]),
            in_all(&["s3", "other"]),
            in_all(&["nobody"]),
            in_all(&["other"]),
        ] {
            let judged = population.judge_definition(Some(&name("s0")), &definition);
            assert!(Arc::ptr_eq(&before, &population.catalog()));
            let refused = update(&population, "s0", definition.clone()).unwrap_err();
            assert_eq!(judged.unwrap_err(), refused, "{definition}");
        }
        // Eight levels are full, with a name and without one.
        for named in [None, Some(name("new"))] {
            let judged = population.judge_definition(named.as_ref(), &in_all(&["s7"]));
            assert!(matches!(judged, Err(Refusal::SegmentTooLarge { .. })));
            let judged = population.judge_definition(named.as_ref(), &in_all(&["s6"]));
            let judged = judged.unwrap();
            assert!(!judged.exists && judged.dependents.is_empty());
        }
    }

    #[test]
    fn all_that_are_made_of_a_segment_are_found() {
        let population = Population::new(StoreLimits::default());
        create(&population, "a", Expression::Everyone);
        create(&population, "z", in_all(&["a"]));
        create(&population, "m", in_all(&["z", "a"]));
        create(&population, "other", Expression::Everyone);
        let judged = population.judge_definition(Some(&name("a")), &Expression::Everyone);
        let judged = judged.unwrap();
        assert_eq!(judged.dependents, [name("m"), name("z")]);
        assert!(judged.exists);
        let judged = population.judge_definition(Some(&name("m")), &Expression::Everyone);
        assert!(judged.unwrap().dependents.is_empty());
    }
}
