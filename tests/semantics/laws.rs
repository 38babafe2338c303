//! The laws of two-valued logic, on expressions and users at random.

use std::num::NonZeroU32;

use headcount::model::{Action, Expression, NonEmpty, Revision, StoreLimits};
use headcount::population::Population;
use headcount::query::{Stop, count};
use proptest::prelude::*;

use crate::generate::{cases, declarations, history, lasting_events, mixed, users};
use crate::{all_members, bound};
use headcount::query::check;

pub(crate) fn population(commands: &[Action]) -> Population {
    let population = Population::new(StoreLimits::default());
    let declared = [declarations(), lasting_events()].concat();
    for action in declared.iter().chain(commands) {
        let _ = population.apply(Revision::new(1), action);
    }
    population
}

pub(crate) fn size(population: &Population, expression: &Expression) -> u64 {
    count(population, &bound(population, expression), &Stop::never()).unwrap()
}

fn several(all: &[&Expression]) -> NonEmpty<Expression> {
    NonEmpty::new(all.iter().map(|&one| one.clone()).collect()).unwrap()
}

fn and(all: &[&Expression]) -> Expression {
    Expression::And(several(all))
}

fn or(all: &[&Expression]) -> Expression {
    Expression::Or(several(all))
}

pub(crate) fn not(one: &Expression) -> Expression {
    Expression::Not(Box::new(one.clone()))
}

fn at_least(count: u32, of: &[&Expression]) -> Expression {
    Expression::AtLeast {
        count: NonZeroU32::new(count).unwrap(),
        of: several(of),
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn laws(history in history(1..30), a in mixed(), b in mixed(), c in mixed()) {
        let population = population(&history.without_declarations().actions);
        let size = |expression: &Expression| size(&population, expression);
        let everyone = population.user_count();

        // a or not a is everyone; nobody is in both
        prop_assert_eq!(size(&or(&[&a, &not(&a)])), everyone);
        prop_assert_eq!(size(&and(&[&a, &not(&a)])), 0);
        prop_assert_eq!(size(&not(&a)), everyone - size(&a));
        prop_assert_eq!(size(&not(&not(&a))), size(&a));
        // De Morgan
        let members = |expression: &Expression| all_members(&population, &bound(&population, expression), 1_000);
        prop_assert_eq!(members(&not(&and(&[&a, &b]))), members(&or(&[&not(&a), &not(&b)])));
        prop_assert_eq!(members(&not(&or(&[&a, &b]))), members(&and(&[&not(&a), &not(&b)])));
        // the order of operands is irrelevant
        prop_assert_eq!(members(&and(&[&a, &b, &c])), members(&and(&[&c, &a, &b])));
        prop_assert_eq!(members(&or(&[&a, &b, &c])), members(&or(&[&b, &c, &a])));
        // inclusion and exclusion, distribution
        prop_assert_eq!(size(&or(&[&a, &b])) + size(&and(&[&a, &b])), size(&a) + size(&b));
        prop_assert_eq!(members(&and(&[&a, &or(&[&b, &c])])), members(&or(&[&and(&[&a, &b]), &and(&[&a, &c])])));
        // at least one is any, at least all is all, and each user counts once for each that holds
        prop_assert_eq!(members(&at_least(1, &[&a, &b, &c])), members(&or(&[&a, &b, &c])));
        prop_assert_eq!(members(&at_least(3, &[&a, &b, &c])), members(&and(&[&a, &b, &c])));
        let by_number: u64 = (1..=3).map(|n| size(&at_least(n, &[&a, &b, &c]))).sum();
        prop_assert_eq!(by_number, size(&a) + size(&b) + size(&c));
        // a check agrees with the members, whose number is the count
        let listed = members(&a);
        prop_assert_eq!(listed.len() as u64, size(&a));
        for user in users() {
            let checked = check(&population, &user, &[bound(&population, &a)]);
            let exists = population.user(&user).is_some();
            prop_assert_eq!(checked, exists.then(|| vec![listed.contains(&user)]));
        }
    }
}
