//! What it takes to tell who enters and leaves segments that are watched: an update of one user with
//! and without, in turns.

use std::time::{Duration, Instant};

use headcount::model::{
    Action, Change, NonEmpty, Number, Operation, PropertyName, Revision, Text, Timestamp, UserId,
    UserUpdate, Value,
};
use headcount::population::Population;
use headcount::query::WatchedSegments;

use crate::world::{NOW, PLANS, user_id};

/// Updates that are timed of each kind.
const UPDATES: u64 = 20_000;
/// How many updates a second are to be carried out.
const RATE: f64 = 20_000.0;

/// The updates, each of one property of one user.
fn update(kind: &str, number: u64, users: u64) -> Action {
    let at = |micros: i64| Timestamp::from_micros(micros).expect("an instant");
    let (property, value) = match kind {
        "age, any other" | "age, a year more" => ("age", Value::Int64((18 + number % 60) as i64)),
        "plan" | "plan, of a new user" => {
            let plan = PLANS[number as usize % PLANS.len()].0;
            (
                "plan",
                Value::String(Text::new(plan).expect("a short text")),
            )
        }
        "last_seen" => {
            let ago = (number % 100) as i64 * 86_400_000_000;
            ("last_seen", Value::Timestamp(at(NOW * 1_000_000 - ago)))
        }
        _ => ("not_mentioned", Value::Int64(number as i64)),
    };
    let operation = match kind {
        // As on a birthday.
        "age, a year more" => Operation::Increment(Number::Int64(1)),
        _ => Operation::Set(value),
    };
    let user = match kind {
        "plan, of a new user" => users + number,
        _ => number * 7_919 % users,
    };
    Action::Write(NonEmpty::one(UserUpdate {
        user: UserId::new(user_id(user)).expect("a short id"),
        value_time: None,
        changes: vec![Change {
            property: PropertyName::new(property).expect("a good name"),
            operation,
        }],
        events: Vec::new(),
    }))
}

/// Times updates while all saved segments are watched.
pub fn run(population: &Population, users: u64, mut revision: Revision) {
    let catalog = population.catalog();
    let as_of = Timestamp::from_micros(NOW * 1_000_000).expect("an instant");
    let begin = Instant::now();
    let names = catalog.segments().map(|segment| segment.name());
    let mut watched = WatchedSegments::new(population, &catalog, names, as_of);
    let count = watched.names().len();
    println!(
        "\nbeginning to watch {count} segments: {}; the clock's next minute: {}",
        crate::short(begin.elapsed()),
        {
            let begin = Instant::now();
            let to = Timestamp::from_micros(NOW * 1_000_000 + 60_000_000).expect("an instant");
            let due = watched.sources().scan(population, as_of, to, 1 << 22);
            let due = due.expect("few enough").len();
            format!(
                "{due} users to look at, found in {}",
                crate::short(begin.elapsed())
            )
        }
    );
    println!(
        "an update of one user, average                unwatched     watched    told  of a core at 20,000/s"
    );
    let mut number = 0;
    for kind in [
        "age, a year more",
        "age, any other",
        "plan",
        "plan, of a new user",
        "last_seen",
        "not mentioned",
    ] {
        let (mut plain, mut with, mut told) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..UPDATES {
            number += 1;
            revision = revision.next();
            let action = update(kind, number, users);
            let start = Instant::now();
            population.apply(revision, &action).expect("a good write");
            plain += start.elapsed();

            number += 1;
            revision = revision.next();
            let action = update(kind, number, users);
            // Each is at an instant of its own, so that what looks back is bound anew.
            let now = Timestamp::from_micros(NOW * 1_000_000 + number as i64);
            let now = now.expect("an instant");
            let start = Instant::now();
            let before = watched.before(population, &action, now, now);
            let before = before.expect("a write");
            population.apply(revision, &action).expect("a good write");
            told += watched.after(population, &before, usize::MAX).changes.len();
            with += start.elapsed();
        }
        let (plain, with) = (plain / UPDATES as u32, with / UPDATES as u32);
        println!(
            "{kind:>42} {:>12} {:>11} {:>7.2} {:>22.1} %",
            crate::short(plain),
            crate::short(with),
            told as f64 / UPDATES as f64,
            (with.saturating_sub(plain)).as_secs_f64() * RATE * 100.0
        );
    }
}
