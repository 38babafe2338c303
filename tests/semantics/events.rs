//! What users did, at random, against the naive twin: which events count, what is dropped and when,
//! and every test of them at several instants, asked again and again while events go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use headcount::filter::parse;
use headcount::model::{
    Action, Event, EventName, Expression, NonEmpty, Revision, Span, StoreLimits, Timestamp, UserId,
    UserUpdate,
};
use headcount::population::{Population, UserDay, UserEvents};
use headcount::query::{BindError, Bound, Stop, bind, check, count, members};
use headcount::testing::generate::{Choices, Vocabulary, action, bytes, expression};
use headcount::testing::generate_events::edge;
use headcount::testing::naive::NaivePopulation;
use headcount::testing::naive_events::{NaiveEvent, Unanswerable};
use proptest::prelude::*;

use crate::generate::{as_of, cases, declarations, event_test, history, mixed, now, users};
use crate::{agree, bound_at, restored, same_outcome};

const DAY: i64 = 86_400_000_000;

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn sum<'a>(events: impl Iterator<Item = &'a NaiveEvent>) -> Option<i128> {
    let amounts = events.filter_map(|event| event.amount.map(i128::from));
    amounts.reduce(|a, b| a + b)
}

/// What is told of a user's events of one name before an instant.
fn told(naive: &NaivePopulation, events: &[NaiveEvent], as_of: i64) -> Option<UserEvents> {
    let mut before: Vec<&NaiveEvent> = events.iter().filter(|event| event.time < as_of).collect();
    before.sort_by_key(|event| event.time);
    let (first, last) = (before.first()?.time, before.last()?.time);
    let today = as_of.div_euclid(DAY);
    let days = (today - 29..=today).filter_map(|day| {
        let of_day = || before.iter().filter(move |e| e.time.div_euclid(DAY) == day);
        (of_day().count() > 0).then(|| UserDay {
            day: instant(day * DAY),
            count: of_day().count() as u64,
            sum: sum(of_day().copied()),
        })
    });
    let (name, _) = naive.events().names().next()?;
    Some(UserEvents {
        name: name.clone(),
        count: before.len() as u64,
        first: instant(first),
        last: instant(last),
        sum: sum(before.iter().copied()),
        days: days.collect(),
    })
}

/// Compares what is known of each name, and what is told of each user.
pub(crate) fn same_events(population: &Population, naive: &NaivePopulation, as_of: Timestamp) {
    let ours = population.events();
    assert_eq!(ours.len(), naive.events().names().count());
    for (ours, (name, known)) in ours.iter().zip(naive.events().names()) {
        assert_eq!(&ours.declaration.name, name);
        assert_eq!(ours.declaration.retention.micros(), known.retention);
        assert_eq!(ours.events, naive.events().count(name), "{name}");
        let refused = (ours.duplicates, ours.too_old, ours.too_far_ahead);
        let twins = (known.duplicates, known.too_old, known.too_far_ahead);
        assert_eq!(refused, twins, "{name}");
        let kept_from = known.kept_from.map(|day| instant(day * DAY));
        assert_eq!(ours.kept_from, kept_from, "{name}");
        assert_eq!(population.event(name).as_ref(), Some(ours));
    }
    for user in users() {
        let names = naive.events().names();
        let told = names.filter_map(|(name, _)| {
            let told = told(naive, naive.events().of(&user, name), as_of.micros())?;
            Some(UserEvents {
                name: name.clone(),
                ..told
            })
        });
        let expected = naive.user(&user).map(|_| told.collect());
        assert_eq!(population.user_events(&user, as_of), expected, "{user}");
    }
}

/// Those of some expressions that can be answered. The others are refused, for the same reason.
fn answerable(
    population: &Population,
    naive: &NaivePopulation,
    expressions: &[Expression],
    as_of: Timestamp,
) -> Vec<Expression> {
    let mut answerable = Vec::new();
    for expression in expressions {
        let ours = bind(population, expression, as_of).err();
        match (naive.unanswerable(expression, as_of), ours) {
            (None, None) => answerable.push(expression.clone()),
            (Some(Unanswerable::Unknown(name)), Some(BindError::UnknownEvent { event, .. })) => {
                assert_eq!(name, event, "{expression}");
            }
            (
                Some(Unanswerable::Dropped(name)),
                Some(BindError::BeyondRetention {
                    event, kept_from, ..
                }),
            ) => {
                assert_eq!(name, event, "{expression}");
                assert_eq!(population.event(&name).unwrap().kept_from, Some(kept_from));
            }
            (twins, ours) => panic!("{ours:?} but {twins:?} for {expression} as of {as_of}"),
        }
    }
    answerable
}

/// Compares counts, each asked for once.
fn same_counts(
    population: &Population,
    naive: &NaivePopulation,
    expressions: &[Expression],
    as_of: Timestamp,
) -> Vec<Bound> {
    let mut bounds = Vec::new();
    for expression in answerable(population, naive, expressions, as_of) {
        let bound = bound_at(population, &expression, as_of);
        let counted = count(population, &bound, &Stop::never()).unwrap();
        let expected = naive.select(&expression, as_of);
        let context = || format!("{expression} as of {as_of}");
        assert_eq!(counted, expected.len() as u64, "{}", context());
        let listed = members(population, &bound, None, 1_000, &Stop::never()).unwrap();
        let listed: BTreeSet<_> = listed.users.into_iter().collect();
        assert_eq!(listed, expected, "{}", context());
        bounds.push(bound);
    }
    bounds
}

/// Whatever came after they were bound.
fn same_answers_as_now(
    population: &Population,
    naive: &NaivePopulation,
    bounds: &[Bound],
    as_of: Timestamp,
) {
    for bound in bounds {
        let expression = bound.expression();
        if naive.unanswerable(expression, as_of).is_none() {
            let expected = naive.select(expression, as_of).len() as u64;
            let counted = count(population, bound, &Stop::never()).unwrap();
            assert_eq!(counted, expected, "{expression} as of {as_of}");
        }
    }
}

/// No kept window differs from a recount.
fn windows_are_sound(population: &Population) {
    for number in 0..population.shard_count() {
        population.with_shard(number, |reader| {
            for (_, index) in reader.shard().all_events() {
                assert_eq!(index.unsound_windows(), 0);
                assert_eq!(index.unsound_days(), 0);
            }
        });
    }
}

#[test]
fn an_event_older_than_all_others_counts_at_once() {
    let population = Population::new(StoreLimits::default());
    let write = |day: i64| {
        let event = Event {
            name: EventName::new("login").unwrap(),
            time: Some(instant((20_500 - day) * DAY)),
            received: instant(20_500 * DAY),
            amount: None,
            id: None,
        };
        let update = UserUpdate {
            user: UserId::new("u").unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: vec![event],
        };
        let write = Action::Write(NonEmpty::one(update));
        population.apply(Revision::new(1), &write).unwrap();
    };
    write(1);
    let as_of = instant(20_500 * DAY);
    let expression = parse("weeks(login, 90d) >= 4").unwrap();
    let bound = bound_at(&population, &expression, as_of);
    assert_eq!(count(&population, &bound, &Stop::never()), Ok(0));
    for day in [70, 50, 30] {
        write(day);
    }
    let anew = bound_at(&population, &expression, as_of);
    for bound in [&anew, &bound] {
        assert_eq!(count(&population, bound, &Stop::never()), Ok(1));
        assert_eq!(
            check(&population, &UserId::new("u").unwrap(), &[bound]),
            Some(vec![true])
        );
    }
}

/// As the fuzzer makes them: the clock also goes back.
#[test]
fn actions_made_of_bytes_against_naive() {
    for seed in 0..150 {
        let random = bytes(seed, 4_000);
        let mut choices = Choices::new(&random);
        let mut population = Arc::new(Population::new(StoreLimits::default()));
        let mut naive = NaivePopulation::default();
        for number in 1..=10 + choices.below(60) {
            let action = action(&mut choices);
            let revision = Revision::new(number as u64);
            same_outcome(&population.apply(revision, &action), &naive.apply(&action));
            if choices.below(32) == 31 {
                population = Arc::new(restored(&population, revision));
            }
        }
        let names = naive.events().names();
        let events: Vec<EventName> = names.map(|(name, _)| name.clone()).collect();
        if events.is_empty() {
            continue;
        }
        let around = [now(), edge(&mut choices)];
        let expressions = (0..4).map(|_| {
            let vocabulary = Vocabulary::Known {
                properties: &[],
                events: &events,
                around: &around,
            };
            expression(&mut choices, vocabulary)
        });
        let expressions: Vec<Expression> = expressions.collect();
        for as_of in around {
            same_events(&population, &naive, as_of);
            for _ in 0..3 {
                same_counts(&population, &naive, &expressions, as_of);
            }
        }
        windows_are_sound(&population);
    }
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn events_against_naive(
        history in history(1..50),
        mixed in prop::collection::vec(mixed(), 1..4),
        tests in prop::collection::vec(event_test(), 1..8),
        as_of in prop::collection::vec(as_of(), 1..3),
        restart_at in 0..50_usize,
        every in 1..12_usize,
    ) {
        let mut population = Arc::new(Population::new(StoreLimits::default()));
        let mut naive = NaivePopulation::default();
        for action in declarations() {
            population.apply(Revision::new(1), &action).unwrap();
            naive.apply(&action).unwrap();
        }
        let expressions = [mixed, tests].concat();
        let mut bounds = Vec::new();
        for (position, action) in history.actions.iter().enumerate() {
            let revision = Revision::new(position as u64 + 2);
            same_outcome(&population.apply(revision, action), &naive.apply(action));
            if position == restart_at {
                population = Arc::new(restored(&population, revision));
                bounds.clear();
            }
            if matches!(action, Action::DeleteEvent(_) | Action::DeleteProperty(_)) {
                bounds.clear();
            }
            // From the third time on answered from what is kept of windows, which goes on changing.
            if position % every == 0 {
                same_answers_as_now(&population, &naive, &bounds, as_of[0]);
                bounds = same_counts(&population, &naive, &expressions, as_of[0]);
            }
        }
        for _ in 0..3 {
            same_counts(&population, &naive, &expressions, as_of[0]);
        }
        windows_are_sound(&population);
        let again = restored(&population, Revision::new(99));
        let later = history.end.saturating_add(Span::hours(36));
        for as_of in as_of.into_iter().chain([history.end, later]) {
            for population in [&population, &again] {
                same_events(population, &naive, as_of);
                let asked = answerable(population, &naive, &expressions, as_of);
                agree(population, &naive, &asked, as_of);
            }
        }
    }
}
