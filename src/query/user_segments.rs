//! One user against all saved segments.
//!
//! Invariant: each distinct part of the definitions is worked out at most once for a user, however
//! many segments share it, and only if something depends on it; the answer is what checking the
//! segments one by one would give. What was made of the definitions is used again until a segment,
//! property or event is declared, changed or deleted.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;

use super::bind::{Bound, answer_all};
use super::bind_error::BindError;
use super::check::holds;
use super::definitions::{Definitions, Memo};
use super::stop::{Stop, Stopped};
use super::valid_until::Search;
use crate::model::{SegmentName, Timestamp, UserId};
use crate::population::{Catalog, Population};

/// Predicates that are bound between two looks at whether to go on.
const PREDICATES_AT_ONCE: u32 = 64;

/// The segments of a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserSegments {
    /// Those that the user is in, in the order of their names.
    pub segments: Vec<SegmentName>,
    /// Those of which it can't be told, and why: a window that reaches back to events that are not
    /// kept any more.
    pub unknown: Vec<(SegmentName, BindError)>,
    /// If that was asked for, the first instant at which a predicate of the others says something else
    /// by the clock alone, or an earlier one: none of their answers is another before. `None` if there
    /// is none.
    pub valid_until: Option<Timestamp>,
}

/// Checks users against all segments of one population, and remembers what it made of them.
#[derive(Debug, Default)]
pub struct SegmentChecker {
    last: ArcSwapOption<AllSegments>,
}

/// The definitions of all segments of a catalog.
#[derive(Debug)]
struct AllSegments {
    catalog: Weak<Catalog>,
    definitions: Definitions,
}

impl AllSegments {
    fn of(catalog: &Arc<Catalog>) -> Self {
        let names = catalog.segments().map(|segment| segment.name());
        Self {
            catalog: Arc::downgrade(catalog),
            definitions: Definitions::of(catalog, names),
        }
    }

    fn check(
        &self,
        population: &Population,
        user: &UserId,
        as_of: Timestamp,
        until: bool,
        stop: &Stop,
    ) -> Result<Option<Found>, Stopped> {
        let definitions = &self.definitions;
        let mut errors: HashMap<u32, BindError> = HashMap::new();
        let mut places = vec![u32::MAX; definitions.predicates.len()];
        let mut bounds: Vec<Arc<Bound>> = Vec::with_capacity(definitions.predicates.len());
        for (number, predicate) in (0..).zip(&definitions.predicates) {
            if number % PREDICATES_AT_ONCE == 0 {
                stop.check()?;
            }
            match predicate.bound(population, as_of) {
                Ok(bound) => {
                    places[number as usize] = u32::try_from(bounds.len()).unwrap_or(u32::MAX);
                    bounds.push(bound);
                }
                Err(error) => {
                    errors.insert(number, error);
                }
            }
        }
        let members = answer_all(population, &bounds, |bounds| {
            population.with_user(user, |reader, user| {
                let mut memo = Memo::new(definitions.parts.len());
                // Whether a predicate holds, or the predicate for which it can't be told.
                let mut truth = |number: u32| {
                    let bound = bounds.get(places[number as usize] as usize);
                    let bound = bound.ok_or(number)?;
                    Ok(holds(&bound.root, reader, user))
                };
                let segments = definitions.segments.iter();
                let members =
                    segments.map(|(_, part)| definitions.holds(*part, &mut memo, &mut truth));
                let members = members.collect::<Vec<_>>();
                let mut search = Search::new(population, reader, user, stop);
                for bound in bounds
                    .iter()
                    .filter(|bound| until && bound.depends_on_time())
                {
                    search.look_at(bound, holds(&bound.root, reader, user))?;
                }
                Ok((members, search.earliest))
            })
        });
        let members = members.transpose()?;
        stop.check()?;
        Ok(members.map(|(members, valid_until)| Found {
            members,
            valid_until,
            errors,
        }))
    }
}

struct Found {
    /// Whether the user is in each segment; the predicate for which it can't be told.
    members: Vec<Result<bool, u32>>,
    valid_until: Option<Timestamp>,
    errors: HashMap<u32, BindError>,
}

impl SegmentChecker {
    /// How many different predicates all segments have together, if that is known without looking
    /// at all of them.
    #[must_use]
    pub fn known_predicates(&self, population: &Population) -> Option<usize> {
        let last = self.last.load();
        let last = last.as_ref()?;
        let is_current = population.has_catalog(&last.catalog);
        is_current.then(|| last.definitions.predicates.len())
    }

    /// The segments that a user is in; `None` if there is no such user. All are answered by what is
    /// known of the user at one moment. Until when that holds is told if it is asked for.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` said so before all were checked.
    pub fn check(
        &self,
        population: &Population,
        user: &UserId,
        as_of: Timestamp,
        until: bool,
        stop: &Stop,
    ) -> Result<Option<UserSegments>, Stopped> {
        let all = self.all(population);
        let Some(found) = all.check(population, user, as_of, until, stop)? else {
            return Ok(None);
        };
        let mut answer = UserSegments {
            valid_until: found.valid_until,
            ..UserSegments::default()
        };
        for ((name, _), member) in all.definitions.segments.iter().zip(found.members) {
            match member {
                Ok(true) => answer.segments.push(name.clone()),
                Ok(false) => {}
                Err(predicate) => {
                    let error = found.errors.get(&predicate).cloned();
                    answer
                        .unknown
                        .extend(error.map(|error| (name.clone(), error)));
                }
            }
        }
        Ok(Some(answer))
    }

    fn all(&self, population: &Population) -> Arc<AllSegments> {
        if let Some(last) = &*self.last.load()
            && population.has_catalog(&last.catalog)
        {
            return Arc::clone(last);
        }
        let all = Arc::new(AllSegments::of(&population.catalog()));
        self.last.store(Some(Arc::clone(&all)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use crate::model::{
        Action, Change, Event, EventName, Expression, Labels, NonEmpty, Operation, PropertyName,
        Revision, SegmentChange, SegmentDeclaration, StoreLimits, Text, UserUpdate, Value,
    };
    use crate::query::{bind, check};

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn id(number: i64) -> UserId {
        UserId::new(format!("u{number}")).unwrap()
    }

    fn name(text: &str) -> SegmentName {
        SegmentName::new(text).unwrap()
    }

    fn create(text: &str, filter: &str) -> Action {
        let declaration = SegmentDeclaration {
            name: name(text),
            definition: filter::parse(filter).unwrap(),
            description: Text::new("").unwrap(),
            labels: Labels::new(),
        };
        Action::CreateSegment(Box::new(declaration), at(0))
    }

    /// Users `u0` to `u99`: their age is their number, and so many days ago they logged in.
    fn population() -> Population {
        let population = Population::new(StoreLimits::default());
        let updates = (0..100).map(|number| UserUpdate {
            user: id(number),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new("age").unwrap(),
                operation: Operation::Set(Value::Int64(number)),
            }],
            events: vec![Event {
                name: EventName::new("login").unwrap(),
                time: Some(at(-number * 86_400_000_000)),
                received: at(0),
                amount: None,
                id: None,
            }],
        });
        let write = Action::Write(NonEmpty::new(updates.collect()).unwrap());
        population.apply(Revision::new(1), &write).unwrap();
        population
    }

    #[test]
    fn all_at_once_is_what_one_by_one_is() {
        let population = population();
        let checker = SegmentChecker::default();
        let filters = [
            ("adult", "age >= 18"),
            ("active", "count(login, 30d) >= 1"),
            ("both", "segment('adult') AND segment('active')"),
            ("neither", "NOT (segment('adult') OR segment('active'))"),
            (
                "some",
                "AT LEAST 2 OF (age >= 18, age < 50, segment('active'))",
            ),
            ("same", "age >= 18 AND count(login, 30d) >= 1"),
            ("all", "TRUE"),
            ("nobody", "FALSE"),
        ];
        for (number, (segment, filter)) in (2..).zip(filters) {
            let action = create(segment, filter);
            population.apply(Revision::new(number), &action).unwrap();
        }
        for as_of in [at(1), at(5 * 86_400_000_000)] {
            for number in 0..100 {
                let user = id(number);
                let found = checker.check(&population, &user, as_of, false, &Stop::never());
                let found = found.unwrap().unwrap();
                assert!(found.unknown.is_empty());
                let mut expected: Vec<SegmentName> = filters
                    .iter()
                    .filter(|(segment, _)| {
                        let segment = Expression::Segment(name(segment));
                        let bound = bind(&population, &segment, as_of).unwrap();
                        check(&population, &user, &[bound]) == Some(vec![true])
                    })
                    .map(|(segment, _)| name(segment))
                    .collect();
                expected.sort();
                assert_eq!(found.segments, expected, "{user} at {as_of}");
            }
        }
        // "both" and "same" are one part, and there are two predicates beside those of "some".
        let definitions = &checker.all(&population).definitions;
        assert_eq!(definitions.predicates.len(), 3);
        let part = |segment: &str| {
            let mut segments = definitions.segments.iter();
            segments
                .find(|(other, _)| *other == name(segment))
                .unwrap()
                .1
        };
        assert_eq!(part("both"), part("same"));
        let nobody = UserId::new("nobody").unwrap();
        let found = checker.check(&population, &nobody, at(1), false, &Stop::never());
        assert_eq!(found, Ok(None));
        let stop = Stop::never();
        stop.cancel();
        assert_eq!(
            checker.check(&population, &id(1), at(1), false, &stop),
            Err(Stopped)
        );

        let change = SegmentChange {
            name: name("adult"),
            definition: Some(filter::parse("age >= 21").unwrap()),
            description: None,
            labels: None,
            unchanged_since: None,
        };
        let change = Action::UpdateSegment(Box::new(change), at(1));
        population.apply(Revision::new(99), &change).unwrap();
        let found = checker.check(&population, &id(20), at(1), false, &Stop::never());
        let found = found.unwrap().unwrap();
        assert!(!found.segments.contains(&name("adult")));
        assert!(!found.segments.contains(&name("both")));
        assert!(found.segments.contains(&name("same")));
    }
}
