//! One user against all saved segments, which share their predicates as those of a company do.

use std::time::{Duration, Instant};

use headcount::filter;
use headcount::model::{
    Action, Expression, Labels, Revision, SegmentDeclaration, SegmentName, Text, Timestamp, UserId,
};
use headcount::population::Population;
use headcount::query::{Bound, SegmentChecker, Stop, bind, check};

use crate::world::{COUNTRIES, NOW, PLANS, SYSTEMS, country_name, language_name, user_id};

/// Users who are asked about, in turns.
const USERS: u64 = 1_000;
/// A user is checked against so many segments in at most so long.
const GOAL: Duration = Duration::from_micros(200);

/// The definition of a segment: two to four of some 500 predicates, as teams combine them.
fn definition(number: usize) -> String {
    let country = country_name(number * 7 % COUNTRIES);
    let plan = PLANS[number % PLANS.len()].0;
    let system = SYSTEMS[number / 3 % SYSTEMS.len()].0;
    let age = 18 + number % 50;
    let days = [1, 7, 14, 30, 60, 90, 180, 365][number / 5 % 8];
    let language = language_name(number / 11 % 40);
    match number % 6 {
        0 => format!("country = '{country}' AND plan = '{plan}'"),
        1 => format!("country = '{country}' AND age >= {age} AND NOT plan = '{plan}'"),
        2 => format!("(os = '{system}' OR language = '{language}') AND age < {age}"),
        3 => format!("last_seen >= now() - {days}d AND plan = '{plan}' AND os = '{system}'"),
        4 => format!("signed_up >= now() - {days}d AND country != '{country}'"),
        _ => {
            format!("AT LEAST 2 OF (subscriber = TRUE, age >= {age}, last_seen >= now() - {days}d)")
        }
    }
}

fn name(number: usize) -> SegmentName {
    SegmentName::new(format!("segment-{number}")).expect("a good name")
}

/// Saves segments and prints what it takes to check a user against all of them.
pub fn run(population: &Population, users: u64, mut revision: Revision) {
    println!(
        "\none user against saved segments, average   segments  all at once  one by one  ratio"
    );
    let mut saved = 0;
    for count in [100, 1_000, 10_000] {
        for number in saved..count {
            let declaration = SegmentDeclaration {
                name: name(number),
                definition: filter::parse(&definition(number)).expect("a good filter"),
                description: Text::new("").expect("a short text"),
                labels: Labels::new(),
            };
            revision = revision.next();
            let now = Timestamp::from_micros(NOW * 1_000_000).expect("an instant");
            let action = Action::CreateSegment(Box::new(declaration), now);
            population.apply(revision, &action).expect("a good segment");
        }
        saved = count;
        measure(population, users, count);
    }
}

fn measure(population: &Population, users: u64, count: usize) {
    let checker = SegmentChecker::default();
    // Each call is at an instant of its own, so that nothing bound to one is used for another.
    let at = |call: u64| Timestamp::from_micros(NOW * 1_000_000 + call as i64).expect("an instant");
    let user = |call: u64| UserId::new(user_id(call * 7_919 % users)).expect("a short id");
    let mut expected: Vec<(SegmentName, Bound)> = (0..count)
        .map(|number| {
            let segment = Expression::Segment(name(number));
            (
                name(number),
                bind(population, &segment, at(0)).expect("a good filter"),
            )
        })
        .collect();
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    let bounds: Vec<&Bound> = expected.iter().map(|(_, bound)| bound).collect();
    let (mut all, mut single) = (Duration::ZERO, Duration::ZERO);
    let calls = USERS.min(users);
    for call in 0..calls {
        let (user, at) = (user(call), at(call));
        let start = Instant::now();
        let found = checker.check(population, &user, at, false, &Stop::never());
        let found = found.expect("never stopped").expect("a user");
        let between = Instant::now();
        let one_by_one = check(population, &user, &bounds).expect("a user");
        single += between.elapsed();
        // The first call makes something of the definitions, which is not done again.
        if call > 0 {
            all += between - start;
        }
        if call % 100 == 0 {
            let members = expected
                .iter()
                .zip(one_by_one)
                .filter(|(_, member)| *member);
            let members: Vec<&SegmentName> = members.map(|((name, _), _)| name).collect();
            assert!(found.segments.iter().eq(members), "{user}");
        }
    }
    let (all, single) = (all / (calls - 1) as u32, single / calls as u32);
    let missed = if count == 10_000 && all > GOAL {
        "  missed"
    } else {
        ""
    };
    println!(
        "{:>52} {:>12} {:>11} {:>6.2}{missed}",
        count,
        crate::short(all),
        crate::short(single),
        all.as_secs_f64() / single.as_secs_f64()
    );
}
