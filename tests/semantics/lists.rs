//! Static lists against the naive twin: given, frozen, erased from, and named in expressions.

use std::collections::BTreeSet;
use std::sync::Arc;

use headcount::model::{
    Action, Expression, FirstMembers, FrozenUsers, Revision, SegmentName, StoreLimits, UserId,
};
use headcount::population::{CountsCompared, Population, Refusal};
use headcount::query::{SegmentChecker, Stop, WatchedSegments, freeze};
use headcount::testing::naive::NaivePopulation;
use proptest::prelude::*;

use crate::generate::{
    cases, command, create_list, declarations, expression, list_name, list_names, now, users,
    with_lists,
};
use crate::{agree, bound, parts, restored, same_outcome};

#[derive(Clone, Debug)]
enum Step {
    Do(Action),
    /// Freezes whom an expression selects, into a list that is created after some more steps.
    Freeze(SegmentName, Expression, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let freeze = (list_name(), expression(), 0..4_usize)
        .prop_map(|(name, expression, later)| Step::Freeze(name, expression, later));
    prop::collection::vec(
        prop_oneof![8 => command().prop_map(Step::Do), 1 => freeze],
        1..60,
    )
}

/// What was frozen and is to be created at a step: by us, and by the twin.
struct Frozen {
    due: usize,
    name: SegmentName,
    ours: FrozenUsers,
    twins: BTreeSet<UserId>,
    /// How many users were erased, and how many appeared, before.
    erased: usize,
    appeared: usize,
}

/// A population and its twin.
struct World {
    population: Arc<Population>,
    naive: NaivePopulation,
    revision: Revision,
    erased: usize,
    appeared: usize,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            population: Arc::new(Population::new(StoreLimits::default())),
            naive: NaivePopulation::default(),
            revision: Revision::ZERO,
            erased: 0,
            appeared: 0,
        };
        for action in declarations() {
            world.apply(&action);
        }
        world
    }

    fn apply(&mut self, action: &Action) {
        let before: BTreeSet<UserId> = self.naive.user_ids().cloned().collect();
        let members_before = self.members();
        self.revision = self.revision.next();
        let catalog = self.population.catalog();
        let names = list_names();
        let mut watched = WatchedSegments::new(&self.population, &catalog, names.iter(), now());
        let looked_at = watched.before(&self.population, action, now(), now());
        let ours = self.population.apply(self.revision, action);
        let twins = self.naive.apply(action);
        same_outcome(&ours, &twins);
        if matches!(action, Action::CreateList(..) | Action::DeleteSegment(..)) {
            // Other definitions are compared as a whole.
            return;
        }
        let passages =
            looked_at.map(|looked_at| watched.after(&self.population, &looked_at, usize::MAX));
        let changes = passages.unwrap_or_default().changes.into_iter();
        let watched: Vec<&SegmentName> = watched.names().collect();
        let mut moved: Vec<_> = changes
            .map(|change| {
                let list = watched[change.segment as usize].clone();
                (list, UserId::clone(&change.user), change.enters)
            })
            .collect();
        moved.sort();
        let members = self.members();
        let expected: Vec<_> = members_before
            .symmetric_difference(&members)
            .map(|(list, user)| {
                let enters = members.contains(&(list.clone(), user.clone()));
                (list.clone(), user.clone(), enters)
            })
            .collect();
        assert_eq!(moved, expected, "{action:?}");
        let after: BTreeSet<UserId> = self.naive.user_ids().cloned().collect();
        self.erased += before.difference(&after).count();
        self.appeared += after.difference(&before).count();
    }

    /// Who is in which list.
    fn members(&self) -> BTreeSet<(SegmentName, UserId)> {
        let lists = list_names().into_iter();
        let lists = lists.filter_map(|name| Some((self.naive.list(&name)?, name)));
        lists
            .flat_map(|(members, name)| {
                let members = members.iter().cloned();
                members.map(move |user| (name.clone(), user))
            })
            .collect()
    }

    fn freeze(&self, name: SegmentName, expression: &Expression, due: usize) -> Frozen {
        let bound = bound(&self.population, expression);
        let ours = freeze(&self.population, &bound, self.revision, &Stop::never());
        Frozen {
            due,
            name,
            ours: ours.unwrap(),
            twins: self.naive.select(expression, now()),
            erased: self.erased,
            appeared: self.appeared,
        }
    }

    fn create(&mut self, frozen: Frozen) {
        self.revision = self.revision.next();
        let action = create_list(frozen.name.clone(), FirstMembers::Frozen(frozen.ours));
        match self.population.apply(self.revision, &action) {
            Ok(changes) => {
                self.naive.create_list(&frozen.name, frozen.twins).unwrap();
                let members = self.naive.list(&frozen.name).unwrap();
                assert_eq!(changes.members.changed as usize, members.len());
            }
            Err(Refusal::SegmentExists { .. }) => assert!(self.naive.list(&frozen.name).is_some()),
            Err(Refusal::FreezeConflict { .. }) => {
                assert!(self.erased > frozen.erased && self.appeared > frozen.appeared);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Compares what is said of lists, and what is held twice.
    fn check(&self) {
        let catalog = self.population.catalog();
        for name in list_names() {
            let number = catalog.segment(&name).map(|list| list.definition().list());
            let count = number.map(|number| self.population.member_count(number.unwrap()));
            let expected = self.naive.list(&name).map(|members| members.len() as u64);
            assert_eq!(count, expected, "{name}");
        }
        let checker = SegmentChecker::default();
        for user in users() {
            let found = checker.check(&self.population, &user, now(), false, &Stop::never());
            let found = found.unwrap().map(|found| found.segments);
            let in_list = |name: &SegmentName| {
                let members = self.naive.list(name);
                members.is_some_and(|members| members.contains(&user))
            };
            let mut expected: Vec<_> = list_names().into_iter().filter(in_list).collect();
            expected.sort();
            assert_eq!(found, self.naive.user(&user).map(|_| expected), "{user}");
        }
        for shard in 0..self.population.shard_count() {
            assert!(self.population.compare_lists(shard).mismatches.is_empty());
        }
        match self.population.compare_list_counts() {
            CountsCompared::Done(mismatches) => assert!(mismatches.is_empty(), "{mismatches:?}"),
            CountsCompared::Changing => panic!("nobody writes"),
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn lists_against_naive(
        steps in steps(),
        expressions in prop::collection::vec(with_lists(), 1..12),
        restart_at in 0..60_usize,
    ) {
        let mut world = World::new();
        let mut waiting: Vec<Frozen> = Vec::new();
        for (position, step) in steps.into_iter().enumerate() {
            match step {
                Step::Do(action) => world.apply(&action),
                Step::Freeze(name, expression, later) => {
                    waiting.push(world.freeze(name, &expression, position + later));
                }
            }
            for due in waiting.extract_if(.., |frozen| frozen.due <= position) {
                world.create(due);
            }
            if position == restart_at {
                let restored = Arc::new(restored(&world.population, world.revision));
                prop_assert_eq!(parts(&world.population), parts(&restored));
                world.population = restored;
                world.check();
            }
        }
        world.check();
        // So that all can be named.
        for name in list_names() {
            if world.naive.list(&name).is_none() {
                world.apply(&create_list(name, FirstMembers::Users(users().take(9).collect())));
            }
        }
        agree(&world.population, &world.naive, &expressions, now());
        let restored = restored(&world.population, world.revision);
        agree(&restored, &world.naive, &expressions, now());
    }
}

/// An ordinal that was erased and given to someone else does not bring that one into a list.
#[test]
fn who_takes_the_place_of_an_erased_user_is_not_frozen() {
    let mut world = World::new();
    let write = |user: &str| {
        let update = headcount::model::UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: Vec::new(),
        };
        Action::Write(headcount::model::NonEmpty::one(update))
    };
    let name = |number: usize| list_names()[number].clone();
    for user in ["user-1", "user-2"] {
        world.apply(&write(user));
    }
    let frozen = |world: &World, number| world.freeze(name(number), &Expression::Everyone, 0);
    let (first, second) = (frozen(&world, 0), frozen(&world, 1));
    world.apply(&Action::Erase(UserId::new("user-1").unwrap()));
    // So far nobody has the place of the erased one.
    world.create(first);
    assert_eq!(world.naive.list(&name(0)).unwrap().len(), 1);
    world.apply(&write("user-3"));
    let action = create_list(name(1), FirstMembers::Frozen(second.ours));
    let refused = world.population.apply(world.revision.next(), &action);
    assert_eq!(refused, Err(Refusal::FreezeConflict { segment: name(1) }));
    // As after a restart: what it is judged by is in the snapshot.
    let restored = restored(&world.population, world.revision);
    let again = restored.apply(world.revision.next(), &action);
    assert_eq!(again, refused);
    let found_anew = frozen(&world, 1);
    world.create(found_anew);
    assert_eq!(world.naive.list(&name(1)).unwrap().len(), 2);
    world.check();
}
