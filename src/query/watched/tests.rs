//! What is looked at, and what not.

use super::*;
use crate::filter;
use crate::model::{
    Change, Labels, NonEmpty, Operation, Revision, SegmentDeclaration, StoreLimits, Text, Value,
};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn set(user: &str, property: &str, value: i64) -> Action {
    Action::Write(NonEmpty::one(UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: None,
        changes: vec![Change {
            property: PropertyName::new(property).unwrap(),
            operation: Operation::Set(Value::Int64(value)),
        }],
        events: Vec::new(),
    }))
}

/// A population of one user with 20 properties, each of which has ten segments of two predicates.
fn watched() -> (Population, WatchedSegments) {
    let population = Population::new(StoreLimits::default());
    let mut revision = Revision::ZERO;
    let mut apply = |action: &Action| {
        revision = revision.next();
        population.apply(revision, action).unwrap();
    };
    for property in 0..20 {
        apply(&set("u", &format!("p{property}"), 5));
    }
    for property in 0..20 {
        for least in 0..10 {
            let definition = format!("p{property} >= {least} AND p{} < 100", (property + 1) % 20);
            let declaration = SegmentDeclaration {
                name: SegmentName::new(format!("s{property}-{least}")).unwrap(),
                definition: filter::parse(&definition).unwrap(),
                description: Text::new("").unwrap(),
                labels: Labels::new(),
            };
            apply(&Action::CreateSegment(Box::new(declaration), at(0)));
        }
    }
    let catalog = population.catalog();
    let names = catalog.segments().map(|segment| segment.name());
    let watched = WatchedSegments::new(&population, &catalog, names, at(0));
    (population, watched)
}

#[test]
fn only_what_mentions_a_change_is_looked_at() {
    let (population, mut watched) = watched();
    assert_eq!(watched.definitions.predicates.len(), 20 * 11);
    let action = set("u", "p3", 7);
    let before = watched.before(&population, &action, at(0), at(0)).unwrap();
    // Ten of its own and that of the segments of the property before.
    assert_eq!(before.touched.len(), 11);
    population.apply(Revision::new(1_000), &action).unwrap();
    let passages = watched.after(&population, &before, 1_000);
    let told = passages.changes.iter().map(|change| {
        let (name, _) = &watched.definitions.segments[change.segment as usize];
        assert!(change.enters && change.cause == Cause::Update);
        name.as_str().to_owned()
    });
    assert!(told.eq(["s3-6", "s3-7"]));
    // No other predicate was bound than those that were touched, and the one beside them.
    let round = watched.sight.round;
    let bound = watched.sight.bounds.iter();
    assert_eq!(bound.filter(|(of, _)| *of == round).count(), 12);

    let action = set("u", "other", 7);
    let before = watched.before(&population, &action, at(0), at(0)).unwrap();
    assert!(before.touched.is_empty());
    population.apply(Revision::new(1_001), &action).unwrap();
    assert!(
        watched
            .after(&population, &before, 1_000)
            .changes
            .is_empty()
    );
}

#[test]
fn a_user_who_is_new_enters_what_holds_of_nobody_else() {
    let (population, mut watched) = watched();
    let action = set("new", "p3", 200);
    let before = watched.before(&population, &action, at(0), at(0)).unwrap();
    population.apply(Revision::new(1_000), &action).unwrap();
    // `p4 < 100` is not true where there is no value.
    assert!(
        watched
            .after(&population, &before, 1_000)
            .changes
            .is_empty()
    );
    let action = set("new", "p4", 1);
    let before = watched.before(&population, &action, at(0), at(0)).unwrap();
    population.apply(Revision::new(1_001), &action).unwrap();
    assert_eq!(watched.after(&population, &before, 1_000).changes.len(), 10);
}

#[test]
fn more_changes_than_are_told_are_not_gathered() {
    let (population, mut watched) = watched();
    let action = set("u", "p3", 200);
    let before = watched.before(&population, &action, at(0), at(0)).unwrap();
    population.apply(Revision::new(1_000), &action).unwrap();
    let all = watched.after(&population, &before, 10);
    assert_eq!((all.changes.len(), all.are_too_many), (10, false));
    let some = watched.after(&population, &before, 9);
    assert_eq!((some.changes.len(), some.are_too_many), (0, true));
}
