//! Users who exist get other values, one user per command, as events do that come one by one.

use std::time::{Duration, Instant};

use headcount::model::{
    Action, Change, NonEmpty, Operation, PropertyName, Revision, Text, Timestamp, UserId,
    UserUpdate, Value,
};
use headcount::population::Population;

use crate::floor::{FIRST_SECOND, Floor};
use crate::world::{NOW, PLANS, Row, World, language_name, user_id};

/// Users that are updated, each once.
const UPDATES: u64 = 50_000;
/// Updates between two looks at the clock.
const IN_A_ROW: usize = 1_000;
/// A prime: steps of its length meet every user before one of them again.
const STEP: u64 = 7_368_787;

/// What becomes of a user.
struct Update {
    number: u64,
    before: Row,
    plan: usize,
    language: usize,
    last_seen: i64,
}

impl Update {
    fn new(world: &World, users: u64, position: u64) -> Self {
        let number = position * STEP % users;
        // Somebody else's values, which are spread as all are.
        let other = world.row(users + position);
        Self {
            number,
            before: world.row(number),
            plan: other.plan,
            language: other.language,
            last_seen: NOW + position as i64,
        }
    }

    fn action(&self) -> Action {
        let text = |text: String| Value::String(Text::new(text).expect("a short text"));
        let seen = Timestamp::from_micros(self.last_seen * 1_000_000);
        let values = [
            ("plan", text(PLANS[self.plan].0.to_owned())),
            ("language", text(language_name(self.language))),
            ("last_seen", Value::Timestamp(seen.expect("an instant"))),
        ];
        let changes = values.map(|(name, value)| Change {
            property: PropertyName::new(name).expect("a good name"),
            operation: Operation::Set(value),
        });
        let update = UserUpdate {
            user: UserId::new(user_id(self.number)).expect("a short id"),
            value_time: None,
            changes: changes.into(),
            events: Vec::new(),
        };
        Action::Write(NonEmpty::new(vec![update]).expect("one update"))
    }

    fn apply_to_floor(&self, floor: &mut Floor) {
        let user = self.number as u32;
        floor.plans[self.before.plan].remove(user);
        floor.plans[self.plan].add(user);
        floor.languages[self.before.language].remove(user);
        floor.languages[self.language].add(user);
        let seconds = |instant: i64| (instant - FIRST_SECOND) as u64;
        let (before, after) = (seconds(self.before.last_seen), seconds(self.last_seen));
        floor.last_seen.replace(user, before, after);
    }
}

/// Updates users in turns and prints how many a second.
pub fn run(
    world: &World,
    users: u64,
    floor: &mut Floor,
    population: &Population,
    mut revision: Revision,
) {
    let updates: Vec<Update> = (0..UPDATES.min(users))
        .map(|position| Update::new(world, users, position))
        .collect();
    let (mut floor_time, mut engine_time) = (Duration::ZERO, Duration::ZERO);
    for some in updates.chunks(IN_A_ROW) {
        let start = Instant::now();
        for update in some {
            update.apply_to_floor(floor);
        }
        floor_time += start.elapsed();
        let actions: Vec<Action> = some.iter().map(Update::action).collect();
        let start = Instant::now();
        for action in &actions {
            revision = revision.next();
            population.apply(revision, action).expect("a good write");
        }
        engine_time += start.elapsed();
    }
    let plan = PropertyName::new("plan").expect("a good name");
    for counted in population
        .values(&plan, "", None, PLANS.len(), || true)
        .expect("strings")
    {
        let place = PLANS
            .iter()
            .position(|(name, _)| counted.value == Value::String(Text::new(*name).expect("short")));
        let held = &floor.plans[place.expect("a plan of the world")];
        assert_eq!(counted.count, held.cardinality(), "{:?}", counted.value);
    }
    let rate = |elapsed: Duration| updates.len() as f64 / elapsed.as_secs_f64() / 1e6;
    println!(
        "updates of one user (3 properties) a second: floor {:.2} M, engine {:.2} M, ratio {:.2}, goal 0.7",
        rate(floor_time),
        rate(engine_time),
        rate(engine_time) / rate(floor_time)
    );
}
