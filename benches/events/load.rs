//! Purchases to what the engine takes, and how fast it does.

use std::cell::Cell;
use std::time::{Duration, Instant};

use headcount::model::{
    Action, Amount, Change, Event, EventId, EventName, NonEmpty, Operation, PropertyName, Revision,
    StoreLimits, Text, Timestamp, UserId, UserUpdate, Value,
};
use headcount::population::Population;

use crate::people::user_id;
use crate::purchases::{DAY, MIDNIGHT, NOW, Purchase, Purchases, has_plan};

/// Updates of a command.
pub const WRITE: usize = 1_000;

/// How events are written.
#[derive(Clone, Copy)]
pub struct Form {
    /// Times are whole days, amounts whole cents.
    pub whole_days: bool,
    pub ids: bool,
}

pub const USUAL: Form = Form {
    whole_days: false,
    ids: false,
};

pub struct Loaded {
    pub population: Population,
    revision: Cell<Revision>,
    purchase: EventName,
}

pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).expect("an instant of this century")
}

pub fn id(user: u64) -> UserId {
    UserId::new(user_id(user)).expect("a short id")
}

fn update(user: u64) -> UserUpdate {
    UserUpdate {
        user: id(user),
        value_time: None,
        changes: Vec::new(),
        events: Vec::new(),
    }
}

impl Loaded {
    /// Users, each with a plan, and nothing done yet.
    pub fn of_users(users: u64) -> Self {
        let loaded = Self {
            population: Population::new(StoreLimits::default()),
            revision: Cell::new(Revision::ZERO),
            purchase: EventName::new("purchase").expect("a good name"),
        };
        let property = PropertyName::new("plan").expect("a good name");
        for first in (0..users).step_by(WRITE) {
            let some = first..users.min(first + WRITE as u64);
            let updates = some.map(|user| {
                let plan = if has_plan(user) { "pro" } else { "free" };
                let change = Change {
                    property: property.clone(),
                    operation: Operation::Set(Value::String(Text::new(plan).expect("short"))),
                };
                UserUpdate {
                    changes: vec![change],
                    ..update(user)
                }
            });
            loaded.apply(updates.collect());
        }
        // Of another event, which is asked for so that the windows of others are forgotten.
        let mut other = loaded.event(MIDNIGHT - DAY, None);
        other.name = EventName::new("other").expect("a good name");
        let events = vec![other];
        loaded.apply(vec![UserUpdate {
            events,
            ..update(0)
        }]);
        loaded
    }

    fn event(&self, time: i64, amount: Option<Amount>) -> Event {
        Event {
            name: self.purchase.clone(),
            time: Some(timestamp(time)),
            received: timestamp(NOW),
            amount,
            id: None,
        }
    }

    /// Applies a write and returns how long that took.
    fn apply(&self, updates: Vec<UserUpdate>) -> Duration {
        let write = Action::Write(NonEmpty::new(updates).expect("some updates"));
        let revision = self.revision.get().next();
        self.revision.set(revision);
        let start = Instant::now();
        let changes = self.population.apply(revision, &write);
        let elapsed = start.elapsed();
        assert!(changes.expect("a good write").refused_events.is_empty());
        elapsed
    }

    fn update(&self, purchase: &Purchase, form: Form) -> UserUpdate {
        let time = if form.whole_days {
            purchase.time.div_euclid(DAY) * DAY
        } else {
            purchase.time
        };
        let cents = i64::from(purchase.cents);
        let amount = Amount::from_millionths(cents * 10_000).expect("a usual amount");
        let event = Event {
            received: timestamp(purchase.arrival),
            id: form.ids.then(|| {
                let id = format!("{}-{}", purchase.user, purchase.time);
                EventId::new(id).expect("a short id")
            }),
            ..self.event(time, Some(amount))
        };
        UserUpdate {
            events: vec![event],
            ..update(purchase.user.into())
        }
    }

    /// Writes the purchases of all users as they arrive; returns how many there were, and how long
    /// applying them took.
    pub fn write(&self, purchases: Vec<Vec<Purchase>>, form: Form) -> (u64, Duration) {
        let (mut count, mut elapsed) = (0, Duration::ZERO);
        for day in purchases {
            for some in day.chunks(WRITE) {
                let updates = some.iter().map(|purchase| self.update(purchase, form));
                elapsed += self.apply(updates.collect());
                count += some.len() as u64;
            }
        }
        (count, elapsed)
    }

    /// Writes one event per command, days after it happened; returns the time of each.
    pub fn write_late(&self, users: u64, round: u64) -> Duration {
        const EVENTS: u64 = 20_000;
        let mut elapsed = Duration::ZERO;
        for number in 0..EVENTS {
            let user = (number * 7_368_787 + round * 104_729) % users;
            let number = number.cast_signed();
            let ago = (2 + number % 20) * DAY + number * 1_000;
            let purchase = Purchase {
                user: user as u32,
                cents: 1 + (number % 60_000) as u32,
                time: (NOW - ago) / 1_000 * 1_000,
                arrival: NOW,
            };
            let update = self.update(&purchase, USUAL);
            elapsed += self.apply(vec![update]);
        }
        elapsed / EVENTS as u32
    }

    fn bytes(&self, part: &str) -> usize {
        let memory = self.population.memory();
        let found = memory.iter().find(|(name, _)| *name == part);
        found.expect("a part of the memory").1
    }

    pub fn event_bytes(&self) -> usize {
        self.bytes("events")
    }

    pub fn window_bytes(&self) -> usize {
        self.bytes("windows")
    }
}

/// Prints what an event costs in memory, by how it is written: two shards say as much as all.
pub fn print_memory(purchases: &Purchases) {
    let users = 131_072;
    println!("\nbytes an event, of 131,072 users:");
    for (name, whole_days, ids) in [
        ("times in milliseconds", false, false),
        ("times in milliseconds, with ids", false, true),
        ("times in whole days", true, false),
        ("times in whole days, with ids", true, true),
    ] {
        let loaded = Loaded::of_users(users);
        let form = Form { whole_days, ids };
        let (count, _) = loaded.write(purchases.by_arrival(users), form);
        let bytes = loaded.event_bytes() as f64 / count as f64;
        println!("  {name:<34} {bytes:>6.2}");
    }
}
