//! A damaged part of a snapshot whose checksum happens to fit is refused, or is a population that
//! answers without panicking.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use headcount::model::{Expression, Revision, StoreLimits, Timestamp};
use headcount::population::Population;
use headcount::query::{Stop, bind, count, members};
use headcount::testing::generate::{Choices, Vocabulary, action, expression, once};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let population = Arc::new(Population::new(StoreLimits::default()));
    let actions = 1 + choices.below(12) as u64;
    for number in 1..=actions {
        let once = once(&mut choices);
        let action = action(&mut choices);
        let _ = population.apply_once(Revision::new(number), once.as_ref(), &action);
    }
    let capture = population.begin_capture();
    let mut parts: BTreeMap<String, Vec<u8>> = capture
        .parts()
        .map(|part| (part.name(), part.take(None).unwrap()))
        .collect();
    drop(capture);

    let damaged = choices.below(parts.len());
    let (name, part) = parts.iter_mut().nth(damaged).unwrap();
    // The catalog starts with how many ordinals and property numbers were given out, each in four
    // bytes. Tables are as long as the latter says, so that a wrong one costs gigabytes: whether
    // that can be refused is for the checksum to say.
    let from = if name == "catalog" { 8 } else { 0 };
    for _ in 0..1 + choices.below(4) {
        if part.len() <= from {
            break;
        }
        let at = from + choices.below(part.len() - from);
        match choices.below(4) {
            0 => part.truncate(at),
            1 => part.insert(at, choices.below(256) as u8),
            _ => part[at] = choices.below(256) as u8,
        }
    }

    let restored = Population::restore(StoreLimits::default(), Revision::new(actions), |name| {
        parts.get(name).cloned()
    });
    let Ok(restored) = restored else { return };
    let known: Vec<_> = restored
        .properties()
        .into_iter()
        .map(|property| (property.declaration.name, property.declaration.value_type))
        .collect();
    let as_of = Timestamp::MAX;
    let everyone = bind(&restored, &Expression::Everyone, as_of).unwrap();
    let all = count(&restored, &everyone, &Stop::never()).unwrap();
    for _ in 0..4 {
        let expression = expression(&mut choices, Vocabulary::Properties(&known));
        let Ok(bound) = bind(&restored, &expression, as_of) else {
            continue;
        };
        assert!(count(&restored, &bound, &Stop::never()).unwrap() <= all);
        let page = members(&restored, &bound, None, 100, &Stop::never()).unwrap();
        for user in page.users {
            let _ = restored.user(&user);
        }
    }
    for number in 1..=4 {
        let once = once(&mut choices);
        let action = action(&mut choices);
        let _ = restored.apply_once(Revision::new(actions + number), once.as_ref(), &action);
    }
});
