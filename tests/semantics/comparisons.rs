//! Overlaps and comparisons beside those of a plain list of users.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headcount::model::{
    Action, Expression, NonEmpty, PropertyName, Revision, StoreLimits, UserId, UserUpdate, Value,
};
use headcount::population::Population;
use headcount::query::{
    Bound, CompareError, Comparison, Overlap, OverlapError, Pair, Reach, Region, Stop, Stopped,
    What, bind, compare, overlap,
};
use headcount::testing::naive::NaivePopulation;
use proptest::prelude::*;

use crate::generate::{self, cases, expression, history, now};

/// Users divided by the selections they are in, and what follows from that.
fn naive_overlap(users: &BTreeSet<UserId>, selected: &[BTreeSet<UserId>]) -> Overlap {
    let size = |set: &BTreeSet<UserId>| set.len() as u64;
    let mut by_region: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
    for user in users {
        let region = (0..selected.len()).filter(|place| selected[*place].contains(user));
        *by_region.entry(region.collect()).or_insert(0) += 1;
    }
    let none = by_region.remove(&Vec::new()).unwrap_or(0);
    let only = (0..selected.len()).map(|place| by_region.get(&vec![place]).copied().unwrap_or(0));
    let only = only.collect();
    let mut pairs = Vec::new();
    for first in 0..selected.len() {
        for second in first + 1..selected.len() {
            let both = selected[first].intersection(&selected[second]);
            let count = both.count() as u64;
            pairs.push(Pair {
                first,
                second,
                count,
            });
        }
    }
    let mut regions: Vec<Region> = by_region
        .into_iter()
        .map(|(selections, count)| Region { selections, count })
        .collect();
    regions.sort_by_key(|region| std::cmp::Reverse(region.count));
    if selected.len() > 8 {
        regions.clear();
    }
    let mut reach: Vec<Reach> = Vec::new();
    let mut reached = BTreeSet::new();
    let mut left: Vec<usize> = (0..selected.len()).collect();
    while !left.is_empty() {
        let adds = |place: usize| selected[place].difference(&reached).count() as u64;
        // The first of the greatest.
        let best = *left.iter().rev().max_by_key(|place| adds(**place)).unwrap();
        let added = adds(best);
        left.retain(|place| *place != best);
        reached.extend(selected[best].iter().cloned());
        reach.push(Reach {
            selection: best,
            added,
            reached: size(&reached),
        });
    }
    Overlap {
        users: size(users),
        in_any: size(users) - none,
        counts: selected.iter().map(size).collect(),
        only,
        pairs,
        regions,
        reach,
    }
}

/// Whether a user has what a finding says.
fn has(found: &What, value: Option<&Value>) -> bool {
    match (found, value) {
        (What::NotSet, value) => value.is_none(),
        (_, None) => false,
        (What::Value(Value::String(text)), Some(Value::StringSet(elements))) => {
            elements.contains(text)
        }
        (What::Value(wanted), Some(value)) => wanted == value,
        (
            What::Range {
                from,
                to,
                includes_to,
            },
            Some(value),
        ) => {
            from.as_ref().is_none_or(|from| value >= from)
                && to
                    .as_ref()
                    .is_none_or(|to| value < to || *includes_to && value == to)
        }
    }
}

/// Counts what the comparison found again, user by user.
fn found_again(
    naive: &NaivePopulation,
    comparison: &Comparison,
    users: &BTreeSet<UserId>,
    others: &BTreeSet<UserId>,
) {
    assert_eq!(comparison.users, users.len() as u64);
    assert_eq!(comparison.against_users, others.len() as u64);
    let count = |side: &BTreeSet<UserId>, property: &PropertyName, what: &What| {
        let value = |user| naive.user(user).and_then(|values| values.get(property));
        side.iter().filter(|user| has(what, value(*user))).count() as u64
    };
    for found in &comparison.findings {
        let counts = (
            count(users, &found.property, &found.what),
            count(others, &found.property, &found.what),
        );
        assert_eq!((found.count, found.against_count), counts, "{found:?}");
        assert!(found.adjusted_p_value <= 0.05 && found.p_value <= found.adjusted_p_value);
        assert_eq!(
            found.effect > 0.0,
            found.share > found.against_share,
            "{found:?}"
        );
    }
    let effects = comparison.findings.iter().map(|found| found.effect.abs());
    assert!(effects.is_sorted_by(|a, b| a >= b));
    for property in &comparison.properties {
        assert!((0.0..=1.0).contains(&property.effect), "{property:?}");
        let missing = |side| count(side, &property.property, &What::NotSet);
        assert_eq!(
            (property.missing, property.against_missing),
            (missing(users), missing(others)),
        );
        let Some(numbers) = &property.numbers else {
            continue;
        };
        assert!((0.0..=1.0).contains(&numbers.distance));
        for (statistics, side) in [
            (&numbers.statistics, users),
            (&numbers.against_statistics, others),
        ] {
            let Some(statistics) = statistics else {
                assert_eq!(missing(side), side.len() as u64);
                continue;
            };
            let last = statistics.histogram.bins.len() - 1;
            let mut all = missing(side);
            for (position, bin) in statistics.histogram.bins.iter().enumerate() {
                let range = What::Range {
                    from: Some(bin.from.clone()),
                    to: Some(bin.to.clone()),
                    includes_to: position == last,
                };
                assert_eq!(
                    bin.count,
                    count(side, &property.property, &range),
                    "{bin:?}"
                );
                all += bin.count;
            }
            assert_eq!(all, side.len() as u64, "{property:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn overlaps_and_comparisons_against_naive(
        history in history(1..60),
        expressions in prop::collection::vec(expression(), 2..12),
    ) {
        let population = Population::new(StoreLimits::default());
        let mut naive = NaivePopulation::default();
        let declarations = generate::declarations();
        for (action, number) in declarations.iter().chain(&history.actions).zip(1..) {
            let _ = population.apply(Revision::new(number), action);
            let _ = naive.apply(action);
        }
        let bounds: Vec<Arc<Bound>> = expressions
            .iter()
            .map(|expression| Arc::new(bind(&population, expression, now()).unwrap()))
            .collect();
        let selected: Vec<BTreeSet<UserId>> = expressions
            .iter()
            .map(|expression| naive.select(expression, now()))
            .collect();
        let users = naive.select(&Expression::Everyone, now());
        let stop = Stop::never();
        for count in [2, 8, 9] {
            let count = count.min(bounds.len());
            let found = overlap(&population, &bounds[..count], &stop).unwrap();
            prop_assert_eq!(found, naive_overlap(&users, &selected[..count]));
        }

        let properties: Vec<PropertyName> = population
            .properties()
            .into_iter()
            .map(|property| property.declaration.name)
            .collect();
        let others: BTreeSet<UserId> = users.difference(&selected[0]).cloned().collect();
        let against = [(None, &others), (Some(&bounds[1]), &selected[1])];
        for (against, others) in against {
            let asked = [&properties[..], &[]];
            for asked in asked {
                let found = compare(&population, &bounds[0], against, asked, 1_000, &stop).unwrap();
                found_again(&naive, &found, &selected[0], others);
                let is_empty = selected[0].is_empty() || others.is_empty();
                let compared = found.properties.len() + found.left_out.len();
                prop_assert!(is_empty || compared == properties.len());
                prop_assert_eq!(found.significant, found.findings.len() as u64);
            }
        }
    }
}

#[test]
fn work_that_is_stopped_has_no_answer() {
    let population = Population::new(StoreLimits::default());
    for action in generate::declarations() {
        population.apply(Revision::new(1), &action).unwrap();
    }
    let update = UserUpdate {
        user: UserId::new("one").unwrap(),
        value_time: None,
        changes: Vec::new(),
        events: Vec::new(),
    };
    let write = Action::Write(NonEmpty::one(update));
    population.apply(Revision::new(2), &write).unwrap();
    let everyone = Arc::new(bind(&population, &Expression::Everyone, now()).unwrap());
    let stop = Stop::never();
    let bounds = [Arc::clone(&everyone), Arc::clone(&everyone)];
    assert_eq!(overlap(&population, &bounds, &stop).unwrap().in_any, 1);
    stop.cancel();
    assert_eq!(
        overlap(&population, &bounds, &stop),
        Err(OverlapError::Stopped(Stopped))
    );
    let compared = compare(&population, &everyone, Some(&everyone), &[], 1, &stop);
    assert_eq!(compared, Err(CompareError::Stopped(Stopped)));
}
