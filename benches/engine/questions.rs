//! The questions, asked of floor and engine.

use croaring::Bitmap;
use headcount::filter;
use headcount::model::{PropertyName, Timestamp, UserId, Value};
use headcount::population::Population;
use headcount::query::{
    Bound, HistogramBins, Prepared, Stop, bind, breakdown, check, check_many, count, members,
    summarize,
};

use crate::floor::{FIRST_SECOND, Floor};
use crate::world::{DAY, NOW, World, country_name, tag_name, user_id};

/// What was found out, for comparison.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Count(u64),
    Counts(Vec<u64>),
    Numbers(Vec<f64>),
    Bits(Vec<bool>),
    Length(usize),
}

pub struct Question<'a> {
    pub name: &'static str,
    /// At most so many times the floor's time.
    pub goal: f64,
    pub floor: Box<dyn Fn() -> Answer + 'a>,
    pub engine: Box<dyn Fn() -> Answer + 'a>,
}

fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000).expect("an instant of this century")
}

fn bound(population: &Population, text: &str) -> Bound {
    let expression = filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    bind(population, &expression, now()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn union(bitmaps: &[&Bitmap]) -> Bitmap {
    Bitmap::fast_or(bitmaps)
}

fn timestamp(seconds: i64) -> String {
    let instant = Timestamp::from_micros(seconds * 1_000_000).expect("an instant of this century");
    format!("TIMESTAMP '{instant}'")
}

pub fn all<'a>(floor: &'a Floor, population: &'a Population, _world: &World) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    // As the service asks: it keeps the texts that it has parsed, and how they were bound.
    let mut ask = |name, goal, text: String, by_floor: Box<dyn Fn() -> u64 + 'a>| {
        let expression = filter::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let prepared = Prepared::new(expression);
        questions.push(Question {
            name,
            goal,
            floor: Box::new(move || Answer::Count(by_floor())),
            engine: Box::new(move || {
                let bound = prepared.bound(population, now()).expect("known properties");
                Answer::Count(count(population, &bound, &Stop::never()).expect("no deadline"))
            }),
        });
    };
    let seconds = |at: i64| (at - FIRST_SECOND) as u64;

    ask(
        "one value",
        1.0,
        "plan = 'free'".into(),
        Box::new(|| floor.plans[0].cardinality()),
    );
    ask(
        "NOT of one",
        1.0,
        "NOT plan = 'free'".into(),
        Box::new(|| floor.users - floor.plans[0].cardinality()),
    );
    ask(
        "a rare value",
        1.0,
        "country = 'C199'".into(),
        Box::new(|| floor.countries[199].cardinality()),
    );
    ask(
        "AND of 2",
        1.2,
        "plan = 'free' AND subscriber = TRUE".into(),
        Box::new(|| floor.plans[0].and_cardinality(&floor.subscribers)),
    );
    ask(
        "AND of 5",
        0.15,
        "plan = 'free' AND os = 'android' AND gender = 'female' AND subscriber = TRUE AND language = 'l00'".into(),
        Box::new(|| {
            let mut all = floor.plans[0].and(&floor.systems[0]);
            all.and_inplace(&floor.genders[0]);
            all.and_inplace(&floor.subscribers);
            all.and_cardinality(&floor.languages[0])
        }),
    );
    let twenty: Vec<String> = (5..25)
        .map(|country| format!("'{}'", country_name(country)))
        .collect();
    let in_twenty = format!("country IN ({})", twenty.join(", "));
    ask(
        "IN of 20 countries, counted",
        0.01,
        in_twenty.clone(),
        Box::new(|| union(&floor.countries[5..25].iter().collect::<Vec<_>>()).cardinality()),
    );
    ask(
        "IN of 20 countries AND subscriber",
        0.8,
        format!("{in_twenty} AND subscriber = TRUE"),
        Box::new(|| {
            union(&floor.countries[5..25].iter().collect::<Vec<_>>())
                .and_cardinality(&floor.subscribers)
        }),
    );
    ask(
        "amount > x (18 %)",
        0.5,
        "amount > 45.00".into(),
        Box::new(|| floor.amount.at_least(4_501).cardinality()),
    );
    ask(
        "range AND equality AND NOT",
        0.5,
        "age >= 25 AND age < 35 AND plan = 'free' AND NOT os = 'ios'".into(),
        Box::new(|| {
            let mut all = floor.age.between(25, 35);
            all.and_inplace(&floor.plans[0]);
            all.andnot_cardinality(&floor.systems[1])
        }),
    );
    let (from, to) = (NOW - 400 * DAY, NOW - 272 * DAY);
    ask(
        "months of sign-ups (7 %)",
        0.15,
        format!(
            "signed_up >= {} AND signed_up < {}",
            timestamp(from),
            timestamp(to)
        ),
        Box::new(move || {
            floor
                .signed_up
                .between(seconds(from), seconds(to))
                .cardinality()
        }),
    );
    let tags = |from: usize, to: usize| {
        let names: Vec<String> = (from..to)
            .map(|tag| format!("'{}'", tag_name(tag)))
            .collect();
        names.join(", ")
    };
    ask(
        "any of 5 tags",
        0.5,
        format!("tags HAS ANY ({})", tags(20, 25)),
        Box::new(|| union(&floor.tags[20..25].iter().collect::<Vec<_>>()).cardinality()),
    );
    ask(
        "all of 3 tags",
        0.5,
        format!("tags HAS ALL ({})", tags(0, 3)),
        Box::new(|| {
            floor.tags[0]
                .and(&floor.tags[1])
                .and_cardinality(&floor.tags[2])
        }),
    );
    let month = NOW - 30 * DAY;
    ask(
        "nested",
        0.2,
        format!(
            "country IN ('C000', 'C001', 'C002') AND (plan IN ('pro', 'enterprise') OR amount > 100.0 \
             OR tags HAS ANY ('tag-003')) AND NOT last_seen < {}",
            timestamp(month)
        ),
        Box::new(move || {
            let countries = union(&[
                &floor.countries[0],
                &floor.countries[1],
                &floor.countries[2],
            ]);
            let rich = floor.amount.at_least(10_001);
            let mut all = union(&[&floor.plans[2], &floor.plans[3], &rich, &floor.tags[3]]);
            all.and_inplace(&countries);
            all.andnot_cardinality(&floor.last_seen.below(seconds(month)))
        }),
    );
    questions.extend(of_segments(floor, population));
    questions.extend(of_users(floor, population));
    questions
}

const SEGMENT: &str = "plan = 'free' AND subscriber = TRUE";

/// What the users of a segment are like.
fn of_segments<'a>(floor: &'a Floor, population: &'a Population) -> Vec<Question<'a>> {
    let broken_down = |by: &'static str, limit: usize| {
        let segment = bound(population, SEGMENT);
        let property = PropertyName::new(by).expect("a good name");
        move || {
            let properties = std::slice::from_ref(&property);
            let limit = Some(limit);
            let found = breakdown(population, &segment, properties, limit, &Stop::never());
            let values = found.expect("no deadline").properties.remove(0).values;
            let counts = values.into_iter().map(|counted| counted.count);
            Answer::Counts(counts.collect())
        }
    };
    // The floor gives the largest counts, too, in their order.
    let by_floor = |values: &'a [Bitmap], limit: usize| {
        move || {
            let segment = floor.plans[0].and(&floor.subscribers);
            let counts = values.iter().map(|value| value.and_cardinality(&segment));
            let mut counts: Vec<u64> = counts.filter(|count| *count > 0).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.truncate(limit);
            Answer::Counts(counts)
        }
    };
    let segment = bound(population, SEGMENT);
    let age = PropertyName::new("age").expect("a good name");
    vec![
        Question {
            name: "breakdown by 200 countries",
            goal: 0.25,
            floor: Box::new(by_floor(&floor.countries, 200)),
            engine: Box::new(broken_down("country", 200)),
        },
        Question {
            name: "top 10 of 5,000 cities",
            goal: 0.02,
            floor: Box::new(by_floor(&floor.cities, 10)),
            engine: Box::new(broken_down("city", 10)),
        },
        Question {
            name: "mean and median age",
            goal: 0.4,
            floor: Box::new(|| {
                let segment = floor.plans[0].and(&floor.subscribers);
                let count = segment.cardinality();
                let mean = floor.age.sum(&segment) as f64 / count as f64;
                let low = floor.age.at_place(&segment, (count - 1) / 2);
                let high = floor.age.at_place(&segment, count / 2);
                Answer::Numbers(vec![mean, (low + high) as f64 / 2.0])
            }),
            engine: Box::new(move || {
                let bins = HistogramBins::Suitable;
                let found = summarize(
                    population,
                    &segment,
                    &age.clone().into(),
                    &[],
                    &bins,
                    &Stop::never(),
                );
                let found = found.expect("no deadline").statistics.expect("some users");
                let numbers = [found.mean, found.median].map(|value| {
                    let Value::Double(number) = value else {
                        panic!("{value:?} is no double");
                    };
                    number.get()
                });
                Answer::Numbers(numbers.to_vec())
            }),
        },
    ]
}

/// Ten segments, as text and as a program for the floor that tells whether a user is in each.
fn segments() -> [String; 10] {
    let month = timestamp(NOW - 30 * DAY);
    [
        "plan = 'free'".into(),
        "country IN ('C000', 'C001', 'C002') AND subscriber = TRUE".into(),
        "age >= 25 AND age < 35".into(),
        "amount > 100.0 OR plan = 'enterprise'".into(),
        "tags HAS ANY ('tag-000', 'tag-001')".into(),
        format!("NOT last_seen < {month}"),
        "os = 'ios' AND NOT gender = 'male'".into(),
        "language != 'l00' AND plan IN ('pro', 'basic')".into(),
        "tags HAS ALL ('tag-000', 'tag-002')".into(),
        format!("signed_up >= {month} AND os = 'android'"),
    ]
}

fn floor_segments(floor: &Floor, user: u32) -> Vec<bool> {
    let month = (NOW - 30 * DAY - FIRST_SECOND) as u64;
    let age = floor.age.value(user);
    vec![
        floor.plans[0].contains(user),
        floor.countries[..3]
            .iter()
            .any(|country| country.contains(user))
            && floor.subscribers.contains(user),
        (25..35).contains(&age),
        floor.amount.value(user) > 10_000 || floor.plans[3].contains(user),
        floor.tags[0].contains(user) || floor.tags[1].contains(user),
        floor.last_seen.value(user) >= month,
        floor.systems[1].contains(user) && !floor.genders[1].contains(user),
        !floor.languages[0].contains(user)
            && (floor.plans[2].contains(user) || floor.plans[1].contains(user)),
        floor.tags[0].contains(user) && floor.tags[2].contains(user),
        floor.signed_up.value(user) >= month && floor.systems[0].contains(user),
    ]
}

fn of_users<'a>(floor: &'a Floor, population: &'a Population) -> Vec<Question<'a>> {
    let bounds: Vec<Bound> = segments()
        .iter()
        .map(|text| bound(population, text))
        .collect();
    let many = bounds.clone();
    let ordinal = (floor.users / 2) as u32;
    let id = UserId::new(user_id(u64::from(ordinal))).expect("a short id");
    let step = (floor.users / 1_000).max(1);
    let some: Vec<(u32, UserId)> = (0..1_000)
        .map(|n| (n * step) % floor.users)
        .map(|n| (n as u32, UserId::new(user_id(n)).expect("a short id")))
        .collect();
    let ordinals: Vec<u32> = some.iter().map(|(ordinal, _)| *ordinal).collect();
    let listed = bound(
        population,
        "age >= 25 AND age < 35 AND plan = 'free' AND NOT os = 'ios'",
    );
    vec![
        // The floor is given the ordinal: it has no ids.
        Question {
            name: "one user against 10 segments",
            goal: 0.3,
            floor: Box::new(move || Answer::Bits(floor_segments(floor, ordinal))),
            engine: Box::new(move || {
                Answer::Bits(check(population, &id, &bounds).expect("a user"))
            }),
        },
        Question {
            name: "1,000 users against 10 segments",
            goal: 0.08,
            floor: Box::new(move || {
                Answer::Bits(
                    ordinals
                        .iter()
                        .flat_map(|user| floor_segments(floor, *user))
                        .collect(),
                )
            }),
            engine: Box::new(move || {
                let users: Vec<&UserId> = some.iter().map(|(_, user)| user).collect();
                let answers = check_many(population, &users, &many, &Stop::never());
                let answers = answers.expect("no deadline").into_iter();
                Answer::Bits(answers.flat_map(|answer| answer.expect("a user")).collect())
            }),
        },
        Question {
            name: "first 1,000 members",
            goal: 0.01,
            floor: Box::new(|| {
                let mut all = floor.age.between(25, 35);
                all.and_inplace(&floor.plans[0]);
                all.andnot_inplace(&floor.systems[1]);
                Answer::Length(all.iter().take(1_000).count())
            }),
            engine: Box::new(move || {
                let page =
                    members(population, &listed, None, 1_000, &Stop::never()).expect("no deadline");
                Answer::Length(page.users.len())
            }),
        },
    ]
}
