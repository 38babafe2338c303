//! The semantics, checked against the naive twin: every operator, random commands and expressions.

#![expect(clippy::cast_possible_truncation, reason = "a test world is small")]

mod analysis;
mod comparisons;
mod event_edges;
mod event_laws;
mod events;
mod filters;
mod generate;
mod laws;
mod lists;
mod many_users;
mod measures;
mod preview;
mod retries;
mod seed_example;
mod valid_until;

use std::collections::BTreeSet;
use std::sync::Arc;

use generate::{cases, expression, history, now, users};
use headcount::model::{Action, Expression, Revision, StoreLimits, Timestamp, UserId};
use headcount::population::{Changes, Population, Refusal};
use headcount::query::{
    Bound, Stop, bind, check, check_many, count, explain, explain_check, members,
};
use headcount::testing::naive::{NaiveChanges, NaivePopulation, Refused};
use proptest::prelude::*;

fn bound(population: &Population, expression: &Expression) -> Bound {
    bound_at(population, expression, now())
}

fn bound_at(population: &Population, expression: &Expression, as_of: Timestamp) -> Bound {
    bind(population, expression, as_of).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Compares what became of an action.
fn same_outcome(ours: &Result<Changes, Refusal>, twins: &Result<NaiveChanges, Refused>) {
    match (ours, twins) {
        (Ok(ours), Ok(twins)) => {
            assert_eq!(ours.stale, twins.stale);
            let refused = ours.refused_events.iter();
            let refused: Vec<_> = refused.map(|e| (e.update, e.event, e.fault)).collect();
            assert_eq!(refused, twins.refused_events);
            assert_eq!(ours.members.changed, twins.members);
            assert_eq!(ours.members.unknown, twins.unknown);
        }
        (Err(_), Err(_)) => {}
        (ours, twins) => panic!("{ours:?} but {twins:?}"),
    }
}

/// All members by pages of a few.
fn all_members(population: &Population, bound: &Bound, page: usize) -> Vec<UserId> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let found = members(population, bound, from, page, &Stop::never()).unwrap();
        assert!(found.users.len() <= page);
        all.extend(found.users);
        match found.next {
            Some(next) => from = Some(next),
            None => return all,
        }
    }
}

/// Compares the answers to expressions that can be answered.
fn agree(
    population: &Population,
    naive: &NaivePopulation,
    expressions: &[Expression],
    as_of: Timestamp,
) {
    assert_eq!(population.user_count() as usize, naive.user_ids().count());
    for user in users() {
        assert_eq!(population.user(&user).as_ref(), naive.user(&user), "{user}");
    }
    let bounds: Vec<Bound> = expressions
        .iter()
        .map(|expression| bound_at(population, expression, as_of))
        .collect();
    let properties: Vec<_> = population
        .properties()
        .into_iter()
        .map(|property| (property.declaration.name, property.declaration.value_type))
        .collect();
    let mut selected = Vec::new();
    for (expression, bound) in expressions.iter().zip(&bounds) {
        let expected = naive.select(expression, as_of);
        let listed = all_members(population, bound, 7);
        assert_eq!(
            listed.iter().cloned().collect::<BTreeSet<_>>(),
            expected,
            "{expression}"
        );
        assert_eq!(
            listed.len(),
            expected.len(),
            "{expression} lists a user twice"
        );
        let counted = count(population, bound, &Stop::never()).unwrap();
        assert_eq!(counted as usize, expected.len(), "{expression}");
        let explained = explain(population, bound, &Stop::never()).unwrap();
        assert_eq!(
            (explained.count, explained.root.count),
            (counted, counted),
            "{expression}"
        );
        analysis::agree(population, naive, bound, &expected, &properties, 3);
        selected.push(expected);
    }
    let all: Vec<UserId> = users().chain(users()).collect();
    let together: Vec<&UserId> = all.iter().collect();
    let together = check_many(population, &together, &bounds, &Stop::never()).unwrap();
    for (position, user) in all.iter().enumerate() {
        assert_eq!(
            together[position],
            check(population, user, &bounds),
            "{user}"
        );
    }
    for user in users() {
        let checked = check(population, &user, &bounds);
        let expected = naive.user(&user).map(|_| {
            selected
                .iter()
                .map(|selected| selected.contains(&user))
                .collect()
        });
        assert_eq!(checked, expected, "{user}");
    }
    for user in users().step_by(5) {
        let explained = explain_check(population, &user, &bounds, &Stop::never()).unwrap();
        let explained = explained.map(|all| all.iter().map(|one| one.clause.holds).collect());
        assert_eq!(explained, check(population, &user, &bounds), "{user}");
    }
}

/// Builds the population anew from the parts of a capture.
fn restored(population: &Arc<Population>, revision: Revision) -> Population {
    let capture = population.begin_capture();
    let parts: std::collections::BTreeMap<String, Vec<u8>> = capture
        .parts()
        .map(|part| (part.name(), part.take(None).unwrap()))
        .collect();
    Population::restore(StoreLimits::default(), revision, |name| {
        parts.get(name).cloned()
    })
    .unwrap()
}

fn parts(population: &Arc<Population>) -> Vec<(String, Vec<u8>)> {
    let capture = population.begin_capture();
    capture
        .parts()
        .map(|part| (part.name(), part.take(None).unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn commands_against_naive(
        history in history(1..60),
        expressions in prop::collection::vec(expression(), 1..12),
        restart_at in 0..60_usize,
    ) {
        let mut population = Arc::new(Population::new(StoreLimits::default()));
        let mut naive = NaivePopulation::default();
        for action in generate::declarations() {
            population.apply(Revision::new(1), &action).unwrap();
            naive.apply(&action).unwrap();
        }
        for (position, action) in history.actions.iter().enumerate() {
            let revision = Revision::new(position as u64 + 2);
            let before = naive.clone();
            let (ours, twins) = (population.apply(revision, action), naive.apply(action));
            same_outcome(&ours, &twins);
            if twins.is_err() {
                prop_assert_eq!(&before, &naive);
            }
            if position == restart_at {
                population = Arc::new(restored(&population, revision));
            }
        }
        agree(&population, &naive, &expressions, now());
        agree(&restored(&population, Revision::new(99)), &naive, &expressions, now());
    }

    /// Also with snapshots in between, and taken while writes go on.
    #[test]
    fn replay_is_identical(
        history in history(1..60),
        restart_at in 0..60_usize,
        changes_while_captured in 0..20_usize,
    ) {
        let straight = Arc::new(Population::new(StoreLimits::default()));
        let mut restarted = Arc::new(Population::new(StoreLimits::default()));
        let setup = generate::declarations();
        let all: Vec<&Action> = setup.iter().chain(&history.actions).collect();
        for (position, action) in all.iter().enumerate() {
            let revision = Revision::new(position as u64 + 1);
            let _ = straight.apply(revision, action);
        }
        let mut capture = None;
        let mut state = Vec::new();
        for (position, action) in all.iter().enumerate() {
            let revision = Revision::new(position as u64 + 1);
            let _ = restarted.apply(revision, action);
            if position == restart_at {
                restarted = Arc::new(restored(&restarted, revision));
                state = parts(&restarted);
                capture = Some(restarted.begin_capture());
            }
            if position == restart_at + changes_while_captured && let Some(capture) = capture.take() {
                let captured: Vec<_> =
                    capture.parts().map(|part| (part.name(), part.take(None).unwrap())).collect();
                prop_assert_eq!(&captured, &state);
            }
        }
        drop(capture);
        prop_assert_eq!(parts(&straight), parts(&restarted));
    }
}
