//! After any actions, every question has the same answer as from the naive twin: from the text of
//! an expression, for all users and one by one, also after a snapshot was taken and restored, and
//! from what is kept of windows of events.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headcount::filter::parse;
use headcount::model::{EventName, PropertyName, Revision, StoreLimits, Timestamp, ValueType};
use headcount::population::Population;
use headcount::query::{BindError, Stop, bind, check, count, members};
use headcount::testing::generate::{Choices, Vocabulary, action, expression, properties};
use headcount::testing::generate_events::edge;
use headcount::testing::naive::NaivePopulation;
use headcount::testing::naive_events::Unanswerable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let mut population = Arc::new(Population::new(StoreLimits::default()));
    let mut naive = NaivePopulation::default();
    let actions = choices.below(24);
    for number in 1..=actions {
        let action = action(&mut choices);
        let revision = Revision::new(number as u64);
        match (population.apply(revision, &action), naive.apply(&action)) {
            (Ok(ours), Ok(twins)) => {
                assert_eq!(ours.stale, twins.stale, "{action:?}");
                let refused = ours.refused_events.iter();
                let refused: Vec<_> = refused.map(|e| (e.update, e.event, e.fault)).collect();
                assert_eq!(refused, twins.refused_events, "{action:?}");
            }
            (Err(_), Err(_)) => {}
            (ours, twins) => panic!("{ours:?} but {twins:?} for {action:?}"),
        }
        if choices.below(16) == 15 {
            population = Arc::new(restored(&population, revision));
        }
    }

    for info in population.events() {
        let name = &info.declaration.name;
        assert_eq!(info.events, naive.events().count(name), "{name:?}");
    }

    let first = Timestamp::from_micros(1_767_225_600_000_000).unwrap();
    // Questions need properties that exist; `CreateProperty` or a write may have made them.
    let properties: Vec<(PropertyName, ValueType)> = properties()
        .into_iter()
        .filter_map(|declaration| {
            let value_type = naive.value_type(&declaration.name)?;
            Some((declaration.name, value_type))
        })
        .collect();
    let names = naive.events().names();
    let events: Vec<EventName> = names.map(|(name, _)| name.clone()).collect();
    if properties.is_empty() && events.is_empty() {
        return;
    }
    for _ in 0..1 + choices.below(6) {
        let around = [first, edge(&mut choices)];
        let as_of = choices.pick(&around);
        let vocabulary = if events.is_empty() {
            Vocabulary::Properties(&properties)
        } else {
            Vocabulary::Known {
                properties: &properties,
                events: &events,
                around: &around,
            }
        };
        let expression = expression(&mut choices, vocabulary);
        let expression = parse(&expression.to_string()).unwrap();
        let bound = match (
            bind(&population, &expression, as_of),
            naive.unanswerable(&expression, as_of),
        ) {
            (Ok(bound), None) => bound,
            (Err(BindError::BeyondRetention { event, .. }), Some(Unanswerable::Dropped(name))) => {
                assert_eq!(event, name, "{expression}");
                continue;
            }
            (ours, twins) => panic!("{ours:?} but {twins:?} for {expression}"),
        };
        let expected = naive.select(&expression, as_of);
        for _ in 0..3 {
            let counted = count(&population, &bound, &Stop::never()).unwrap();
            assert_eq!(counted, expected.len() as u64, "{expression}");
        }
        let page = members(&population, &bound, None, 1_000, &Stop::never()).unwrap();
        let listed: BTreeSet<_> = page.users.into_iter().collect();
        assert_eq!(listed, expected, "{expression}");
        for user in naive.user_ids() {
            let checked = check(&population, user, std::slice::from_ref(&bound));
            assert_eq!(checked, Some(vec![expected.contains(user)]), "{expression}");
        }
    }
});

fn restored(population: &Arc<Population>, revision: Revision) -> Population {
    let capture = population.begin_capture();
    let parts: BTreeMap<String, Vec<u8>> = capture
        .parts()
        .map(|part| (part.name(), part.take(None).unwrap()))
        .collect();
    Population::restore(StoreLimits::default(), revision, |name| {
        parts.get(name).cloned()
    })
    .unwrap()
}
