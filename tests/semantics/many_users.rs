//! Enough users for every form that the index has: dense and sparse postings, bins that split,
//! columns that widen, more than one shard. Still the naive twin's answers.

use std::collections::BTreeSet;

use headcount::model::{
    Action, Change, Finite, NonEmpty, Operation, PropertyName, Revision, StoreLimits, Text,
    Timestamp, UserId, UserUpdate, Value, ValueType,
};
use headcount::population::Population;
use headcount::query::{Stop, bind, check, check_many, count, explain, members};
use headcount::testing::generate::{Choices, Vocabulary, bytes, expression};
use headcount::testing::naive::NaivePopulation;

use crate::analysis;
use crate::generate::now;

/// More than the 65,536 of one shard.
const USERS: usize = 66_500;

fn user(number: usize) -> UserId {
    UserId::new(format!("user-{number}")).unwrap()
}

fn text(text: impl Into<String>) -> Text {
    Text::new(text.into()).unwrap()
}

/// The value of a user for a property; from a few values up to one for each user, and missing for
/// some.
fn value(property: usize, number: u64) -> Option<Value> {
    let byte = number & 0xff;
    let whole = i64::try_from(number >> 8).unwrap();
    Some(match property {
        0 => Value::Bool(byte < 100),
        1 => Value::Int64(whole % 100 - 20),
        2 if byte < 128 => Value::Int64(whole),
        3 if byte < 250 => Value::Double(Finite::new(f64::from(number as u32) / 8.0).unwrap()),
        4 => Value::String(text(
            ["FR", "a", "b", "", "rare"][[0, 0, 0, 1, 1, 2, 3][(byte % 7) as usize]],
        )),
        5 if byte < 200 => Value::String(text(format!("value {}", whole % 5_000))),
        6 => Value::StringSet(
            ["a", "b", "FR"]
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| byte >> bit & 1 == 1)
                .map(|(_, element)| text(element))
                .collect(),
        ),
        7 => Value::Timestamp(
            Timestamp::from_micros(1_767_225_600_000_000 - whole % (90 * 86_400_000_000)).unwrap(),
        ),
        8 if byte < 30 => Value::Version(format!("{}.{}", whole % 3, byte).parse().unwrap()),
        _ => return None,
    })
}

const TYPES: [ValueType; 9] = [
    ValueType::Bool,
    ValueType::Int64,
    ValueType::Int64,
    ValueType::Double,
    ValueType::String,
    ValueType::String,
    ValueType::StringSet,
    ValueType::Timestamp,
    ValueType::Version,
];

fn name(property: usize) -> PropertyName {
    PropertyName::new(format!("p{property}")).unwrap()
}

/// Sets all properties of some users to what a seed says.
fn write(users: impl Iterator<Item = usize>, seed: u64) -> Action {
    let updates = users
        .map(|number| UserUpdate {
            user: user(number),
            value_time: None,
            changes: bytes(seed ^ (number as u64) << 8, TYPES.len() * 8)
                .chunks_exact(8)
                .enumerate()
                .map(|(property, random)| Change {
                    property: name(property),
                    operation: value(property, u64::from_le_bytes(random.try_into().unwrap()))
                        .map_or(Operation::Unset, Operation::Set),
                })
                .collect(),
            events: Vec::new(),
        })
        .collect();
    Action::Write(NonEmpty::new(updates).unwrap())
}

#[test]
fn many_users_against_naive() {
    let population = Population::new(StoreLimits::default());
    let mut naive = NaivePopulation::default();
    let mut revision = 0;
    let mut apply = |action: Action| {
        revision += 1;
        population.apply(Revision::new(revision), &action).unwrap();
        naive.apply(&action).unwrap();
    };
    apply(write(0..USERS, 1));
    // Many move between values, dense postings become sparse again, ordinals are used again.
    apply(write((0..USERS).step_by(3), 2));
    for number in (0..USERS).step_by(9_973) {
        apply(Action::Erase(user(number)));
    }
    apply(write((0..200).map(|number| USERS + number), 3));

    let properties: Vec<(PropertyName, ValueType)> = TYPES
        .iter()
        .enumerate()
        .map(|(property, value_type)| (name(property), *value_type))
        .collect();
    for seed in 0..40 {
        let random = bytes(seed, 300);
        let mut choices = Choices::new(&random);
        let expression = expression(&mut choices, Vocabulary::Properties(&properties));
        let bound = bind(&population, &expression, now()).unwrap();
        let expected = naive.select(&expression, now());
        let context = format!("seed {seed}: {expression}");
        let counted = count(&population, &bound, &Stop::never()).unwrap();
        assert_eq!(counted, expected.len() as u64, "{context}");
        let explained = explain(&population, &bound, &Stop::never()).unwrap();
        assert_eq!(explained.count, counted, "{context}");
        let listed = members(&population, &bound, None, usize::MAX, &Stop::never()).unwrap();
        assert_eq!(listed.users.len(), expected.len(), "{context}");
        assert_eq!(
            listed.users.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{context}"
        );
        if seed % 4 == 0 {
            analysis::agree(&population, &naive, &bound, &expected, &properties, 100);
        }
        let ids: Vec<UserId> = (0..USERS + 200).step_by(97).map(user).collect();
        let asked: Vec<&UserId> = ids.iter().collect();
        let bounds = std::slice::from_ref(&bound);
        let together = check_many(&population, &asked, bounds, &Stop::never()).unwrap();
        for (id, checked) in ids.iter().zip(together) {
            let expected = naive.user(id).map(|_| vec![expected.contains(id)]);
            assert_eq!(checked, expected, "{context}: {id}");
        }
        for number in (0..USERS + 200).step_by(997) {
            let id = user(number);
            let expected = naive.user(&id).map(|_| vec![expected.contains(&id)]);
            let checked = check(&population, &id, std::slice::from_ref(&bound));
            assert_eq!(checked, expected, "{context}: {id}");
        }
    }
}
