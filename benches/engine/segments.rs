//! One user against all saved segments, which share their predicates as those of a company do.

use std::time::{Duration, Instant};

use headcount::model::{Expression, Revision, SegmentName, Timestamp, UserId};
use headcount::population::Population;
use headcount::query::{Bound, SegmentChecker, Stop, bind, check};

use crate::definitions::{create, name};
use crate::world::{NOW, user_id};

/// Users who are asked about, in turns.
const USERS: u64 = 1_000;
/// A user is checked against so many segments in at most so long.
const GOAL: Duration = Duration::from_micros(200);

/// Saves segments and prints what it takes to check a user against all of them.
pub fn run(population: &Population, users: u64, mut revision: Revision) {
    println!(
        "\none user against saved segments, average   segments  all at once  one by one  ratio"
    );
    let mut saved = 0;
    for count in [100, 1_000, 10_000] {
        for number in saved..count {
            revision = revision.next();
            let action = create(number);
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
