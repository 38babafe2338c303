//! The questions, asked of floor and engine.

use std::ops::Range;
use std::rc::Rc;

use headcount::filter;
use headcount::query::{Bound, Stop, bind, check, check_many, count};

use crate::floor::Floor;
use crate::load::{Loaded, id, timestamp};
use crate::purchases::{LAST_DAY, MIDNIGHT, NOW};

pub struct Question<'a> {
    pub name: &'static str,
    /// At most so many times the floor's time: first asked, and kept.
    pub goals: (f64, f64),
    pub floor: Box<dyn Fn() -> u64 + 'a>,
    /// By the instant that is now.
    pub engine: Box<dyn Fn(i64) -> u64 + 'a>,
    /// Whether both find the same where now is midnight.
    pub same: bool,
}

/// The whole days before the last midnight.
fn last(days: usize) -> Range<usize> {
    LAST_DAY - days..LAST_DAY
}

fn bound(loaded: &Loaded, text: &str, now: i64) -> Bound {
    let expression = filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    bind(&loaded.population, &expression, timestamp(now))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Asks for so many windows of another event that those asked for once are forgotten.
pub fn forget(loaded: &Loaded) {
    for days in 10..75 {
        let bound = bound(loaded, &format!("count(other, {days}d) > 0"), NOW);
        count(&loaded.population, &bound, &Stop::never()).expect("no deadline");
    }
}

pub fn all<'a>(floor: &'a Floor, loaded: &'a Loaded) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut ask = |name, goals, text: &'static str, same, by_floor: Box<dyn Fn() -> u64 + 'a>| {
        questions.push(Question {
            name,
            goals,
            floor: by_floor,
            engine: Box::new(move |now| {
                let bound = bound(loaded, text, now);
                count(&loaded.population, &bound, &Stop::never()).expect("no deadline")
            }),
            same,
        });
    };
    const COUNTED: (f64, f64) = (0.4, 0.02);
    // No slower than the floor: what is asked for here is one union to it, or one sum a user.
    const OTHER: (f64, f64) = (1.0, 1.0);
    ask(
        "at least 3 in 30 days",
        COUNTED,
        "count(purchase, 30d) >= 3",
        true,
        Box::new(|| floor.at_least_3(last(30)).cardinality()),
    );
    ask(
        "at least 3 in 7 days",
        COUNTED,
        "count(purchase, 7d) >= 3",
        true,
        Box::new(|| floor.at_least_3(last(7)).cardinality()),
    );
    ask(
        "at least 3 in 90 days",
        COUNTED,
        "count(purchase, 90d) >= 3",
        true,
        Box::new(|| floor.at_least_3(last(90)).cardinality()),
    );
    ask(
        "on at least 3 of 30 days",
        COUNTED,
        "days(purchase, last 30 days) >= 3",
        true,
        Box::new(|| floor.at_least_3_days(last(30)).cardinality()),
    );
    ask(
        "none in 29 days",
        OTHER,
        "count(purchase, 29d) = 0",
        true,
        Box::new(|| floor.users - floor.any(last(29)).cardinality()),
    );
    ask(
        "stopped: last one before 14 days",
        OTHER,
        "last(purchase) < now() - 14d",
        true,
        Box::new(|| {
            let before = floor.any(0..LAST_DAY - 14);
            before.andnot_cardinality(&floor.any(last(14)))
        }),
    );
    ask(
        "at least 3 in 28 days AND a plan",
        COUNTED,
        "count(purchase, 28d) >= 3 AND plan = 'pro'",
        true,
        Box::new(|| floor.with_plan(&floor.at_least_3(last(28)))),
    );
    ask(
        "at least 3 in the last 2 weeks of Paris",
        COUNTED,
        "count(purchase, last 2 weeks IN 'Europe/Paris') >= 3",
        // Its days are others.
        false,
        Box::new(|| {
            floor
                .at_least_3(last(17).start..last(3).start)
                .cardinality()
        }),
    );
    ask(
        "more than 100 paid in 30 days",
        OTHER,
        "sum(purchase, 30d) > 100",
        true,
        Box::new(|| floor.paid_more(last(30), 10_000)),
    );
    ask(
        "more than 25 on average in 30 days",
        OTHER,
        "avg(purchase, 30d) > 25",
        true,
        Box::new(|| floor.mean_more(last(30), 2_500)),
    );
    questions
}

/// One user, and 1,000, who are looked up by id in the engine and by number in the floor.
pub fn checks<'a>(floor: &'a Floor, loaded: &'a Loaded) -> Vec<Question<'a>> {
    const TEXT: &str = "count(purchase, 30d) >= 3";
    let step = (floor.users / 1_000).max(1);
    let users: Vec<u64> = (0..1_000).map(|n| n * step % floor.users).collect();
    let numbers: Vec<u32> = users.iter().map(|user| *user as u32).collect();
    let ids: Vec<_> = users.iter().map(|user| id(*user)).collect();
    // One who has something to be counted.
    let few = floor.any(last(30));
    let user = few.iter().nth(few.cardinality() as usize / 2);
    let user = user.expect("a user with purchases");
    let user_id = id(user.into());
    let at_midnight = Rc::new(bound(loaded, TEXT, MIDNIGHT));
    let at_now = Rc::new(bound(loaded, TEXT, NOW));
    let at = move |now| Rc::clone(if now == NOW { &at_now } else { &at_midnight });
    let at_too = at.clone();
    vec![
        Question {
            name: "one user, at least 3 in 30 days",
            goals: (1.0, 1.0),
            floor: Box::new(move || u64::from(floor.has_3(user, last(30)))),
            engine: Box::new(move |now| {
                let answers = check(&loaded.population, &user_id, &[at(now)]);
                u64::from(answers.expect("a user")[0])
            }),
            same: true,
        },
        Question {
            name: "1,000 users, at least 3 in 30 days",
            goals: (1.0, 1.0),
            floor: Box::new(move || {
                let users = numbers.iter();
                users.filter(|user| floor.has_3(**user, last(30))).count() as u64
            }),
            engine: Box::new(move |now| {
                let users: Vec<_> = ids.iter().collect();
                let bounds = [at_too(now)];
                let answers = check_many(&loaded.population, &users, &bounds, &Stop::never());
                let answers = answers.expect("no deadline").into_iter();
                answers
                    .filter(|user| user.as_ref().expect("a user")[0])
                    .count() as u64
            }),
            same: true,
        },
    ]
}
