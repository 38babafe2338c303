//! A property that nearly every user has another value of, such as an e-mail address: what it costs
//! in memory; and what it takes to find a user by its id.

use std::time::Instant;

use headcount::model::{
    Action, Change, NonEmpty, Operation, PropertyName, Revision, StoreLimits, Text, UserId,
    UserUpdate, Value,
};
use headcount::population::Population;

use crate::world::user_id;

/// The most bytes that a value may cost beside its text.
const GOAL: f64 = 64.0;
const WRITE: u64 = 1_000;

fn email(number: u64) -> String {
    format!(
        "{:07}.user@example.com",
        number.wrapping_mul(7_919) % 10_000_000
    )
}

/// Prints the bytes by part for so many values.
pub fn print_memory(values: u64) {
    let population = Population::new(StoreLimits::default());
    let property = PropertyName::new("email").expect("a good name");
    let id = |number| UserId::new(user_id(number)).expect("a short id");
    let mut revision = Revision::ZERO;
    let mut first = 0;
    while first < values {
        let updates = (first..values.min(first + WRITE)).map(|number| UserUpdate {
            user: id(number),
            value_time: None,
            changes: vec![Change {
                property: property.clone(),
                operation: Operation::Set(Value::String(
                    Text::new(email(number)).expect("a short text"),
                )),
            }],
            events: Vec::new(),
        });
        revision = revision.next();
        let write = Action::Write(NonEmpty::new(updates.collect()).expect("some users"));
        population.apply(revision, &write).expect("a good write");
        first += WRITE;
    }
    println!("\na property with {values} distinct values, in bytes a value:");
    let mut sum = 0.0;
    for (part, bytes) in population.memory() {
        let bytes = bytes as f64 / values as f64;
        if ["columns", "postings", "dictionary", "counts"].contains(&part) {
            sum += bytes;
            println!("  {part:<12} {bytes:>6.1}");
        }
    }
    let mark = if sum <= GOAL { "" } else { "  missed" };
    println!("  beside texts {sum:>6.1}   goal {GOAL}{mark}");
}

/// Prints the time to look up one of so many users by its id, and to find that there is nobody.
pub fn print_lookups(population: &Population, users: u64) {
    let id = |number| UserId::new(user_id(number)).expect("a short id");
    let ids: Vec<UserId> = (0..100_000)
        .map(|number: u64| id(number.wrapping_mul(104_729) % users))
        .collect();
    let absent: Vec<UserId> = (0..100_000).map(|number| id(users + number)).collect();
    for (name, ids) in [("a user", &ids), ("nobody", &absent)] {
        let start = Instant::now();
        let found = ids.iter().filter(|id| {
            let place = population.with_user(id, |_, place| place);
            std::hint::black_box(place).is_some()
        });
        let found = found.count();
        let each = start.elapsed().as_nanos() as f64 / ids.len() as f64;
        println!("an id looked up, {name}: {each:.0} ns ({found} found; goal 300)");
    }
}
