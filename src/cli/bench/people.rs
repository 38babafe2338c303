//! The users that a bench makes: always the same for one seed and day.
//!
//! `docs/load.md` says how their values are spread.

use super::chance::{self, EVENT, PROPERTY, below, weighted};
use crate::proto::{Event, StringSet, UserUpdate, Value, value::Kind};

/// Who has this property was made by a bench; its value is the seed.
pub(super) const MARK: &str = "bench_seed";
/// What a write adds 1 to.
pub(super) const WRITES: &str = "writes";
/// What a write sets, from 0 to 99.
pub(super) const SCORE: &str = "score";
/// 1 for who was moved into the segment that is watched, 0 for others.
pub(super) const TURN: &str = "bench_turn";
const DAY: u64 = 86_400;

const COUNTRIES: [(&str, u64); 20] = [
    ("US", 280),
    ("IN", 120),
    ("BR", 80),
    ("DE", 70),
    ("GB", 65),
    ("FR", 60),
    ("JP", 50),
    ("MX", 40),
    ("IT", 35),
    ("ES", 35),
    ("CA", 30),
    ("KR", 25),
    ("ID", 25),
    ("TR", 20),
    ("PL", 15),
    ("NL", 15),
    ("AU", 15),
    ("SE", 10),
    ("CH", 5),
    ("NZ", 5),
];
const PLANS: [(&str, u64); 3] = [("free", 80), ("pro", 15), ("team", 5)];
const DEVICES: [(&str, u64); 3] = [("android", 45), ("ios", 40), ("web", 15)];
const VERSIONS: [(&str, u64); 8] = [
    ("3.10.0", 40),
    ("3.9.2", 20),
    ("3.9.0", 12),
    ("3.8.1", 10),
    ("3.5.0", 8),
    ("3.2.4", 5),
    ("2.11.0", 3),
    ("2.4.7", 2),
];
/// How many tags users have.
const TAGS_OF_A_USER: [(u64, u64); 5] = [(0, 40), (1, 25), (2, 20), (3, 10), (4, 5)];
/// How many tags there are; the first is the most frequent.
const TAGS: u64 = 50;
/// How many purchases users have within 90 days.
const PURCHASES: [(u64, u64); 5] = [(0, 70), (1, 15), (2, 8), (3, 5), (8, 2)];
/// How often users opened the app within 30 days.
const OPENINGS: [(u64, u64); 4] = [(0, 35), (1, 30), (3, 25), (6, 10)];

/// What users did.
pub(super) const EVENTS: [&str; 2] = ["purchase", "open"];

/// The segments that are saved for a bench, each after those it is made of.
pub(super) const SEGMENTS: [(&str, &str); 7] = [
    ("bench-paying", "plan != 'free'"),
    ("bench-young", "age < 30"),
    (
        "bench-european",
        "country IN ('DE', 'GB', 'FR', 'IT', 'ES', 'PL', 'NL', 'SE', 'CH')",
    ),
    (
        "bench-outdated",
        "app_version < VERSION '3.8' AND NOT device = 'web'",
    ),
    ("bench-buyers", "count(purchase, 30d) >= 1"),
    (
        "bench-loyal",
        "segment('bench-paying') AND count(open, 30d) >= 3",
    ),
    (WATCHED, "bench_turn = 1"),
];
/// The segment that users are moved into and out of.
pub(super) const WATCHED: &str = "bench-moved";

/// What is counted, from what is kept to what takes events and sets; checks ask for some of the same.
pub(super) const FILTERS: [&str; 16] = [
    "plan = 'pro'",
    "NOT country = 'US'",
    "country IN ('DE', 'FR', 'IT', 'ES')",
    "age BETWEEN 25 AND 34",
    "age IS NOT SET",
    "plan != 'free' AND age >= 40",
    "country = 'FR' AND device = 'ios' AND tags HAS ANY ('tag-01', 'tag-02')",
    "tags HAS ALL ('tag-00', 'tag-01')",
    "app_version < VERSION '3.9' OR device = 'web'",
    "AT LEAST 2 OF (country = 'US', age < 30, plan = 'pro')",
    "bucket('bench', 100) < 10",
    "segment('bench-paying') AND device = 'android'",
    "segment('bench-european') AND NOT segment('bench-young')",
    "segment('bench-buyers')",
    "sum(purchase, 90d) > 50 AND plan = 'free'",
    "last(open) < now() - 14d",
];

/// The id of a user.
pub(super) fn id(number: u64) -> String {
    format!("bench-{number:09}")
}

/// The number of the user with an id.
pub(super) fn number(id: &str) -> Option<u64> {
    id.strip_prefix("bench-")?.parse().ok()
}

pub(super) fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

pub(super) fn int64(number: u64) -> Value {
    value(Kind::Int64Value(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// All that a user has and did, as an update. `today` is the last midnight, in seconds since 1970.
pub(super) fn user(seed: u64, number: u64, today: i64) -> UserUpdate {
    let draw = |what| chance::of(seed, number, what);
    let text = |draw, choices: &[(&str, u64)]| {
        let chosen = weighted(draw, choices).unwrap_or_default();
        value(Kind::StringValue(chosen.to_owned()))
    };
    // The sum of two dice, so that those in the middle are the most.
    let age = 18 + below(draw(PROPERTY), 32) + below(draw(PROPERTY + 1), 32);
    let version = weighted(draw(PROPERTY + 2), &VERSIONS).unwrap_or_default();
    let mut set = vec![
        (MARK, int64(seed)),
        (TURN, int64(0)),
        ("country", text(draw(PROPERTY + 3), &COUNTRIES)),
        ("plan", text(draw(PROPERTY + 4), &PLANS)),
        ("device", text(draw(PROPERTY + 5), &DEVICES)),
        ("app_version", value(Kind::VersionValue(version.to_owned()))),
        (SCORE, int64(below(draw(PROPERTY + 6), 100))),
    ];
    // One of 20 did not say how old.
    if below(draw(PROPERTY + 7), 20) > 0 {
        set.push(("age", int64(age)));
    }
    let tags = tags(|place| draw(PROPERTY + 8 + place));
    if !tags.is_empty() {
        set.push((
            "tags",
            value(Kind::StringSetValue(StringSet { elements: tags })),
        ));
    }
    UserUpdate {
        user_id: id(number),
        set: set
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
        events: events(number, today, draw),
        ..UserUpdate::default()
    }
}

fn tags(draw: impl Fn(u64) -> u64) -> Vec<String> {
    let count = weighted(draw(0), &TAGS_OF_A_USER).unwrap_or_default();
    let mut tags: Vec<String> = (1..=count)
        .map(|place| {
            // The smaller of two, so that the first are the most frequent.
            let (one, other) = (draw(2 * place), draw(2 * place + 1));
            format!("tag-{:02}", below(one, TAGS).min(below(other, TAGS)))
        })
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn events(number: u64, today: i64, draw: impl Fn(u64) -> u64) -> Vec<Event> {
    let mut events = Vec::new();
    for (kind, (name, counts, days)) in [
        ("purchase", PURCHASES.as_slice(), 90),
        ("open", OPENINGS.as_slice(), 30),
    ]
    .into_iter()
    .enumerate()
    {
        let first = EVENT * (kind as u64 + 1);
        let count = weighted(draw(first), counts).unwrap_or_default();
        for event in 1..=count {
            let ago = 1 + below(draw(first + 2 * event), days * DAY);
            let seconds = today - i64::try_from(ago).unwrap_or_default();
            // From 1.00 to 100.99, cheap ones most of all.
            let cents = below(draw(first + 2 * event + 1), 10_000);
            let cents = 100 + cents * cents / 10_000;
            events.push(Event {
                name: name.into(),
                time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
                amount: (name == "purchase")
                    .then(|| f64::from(u32::try_from(cents).unwrap_or_default()) / 100.0),
                event_id: format!("{number}-{event}"),
            });
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_the_same_for_the_same_seed() {
        assert_eq!(user(1, 5, 86_400_000), user(1, 5, 86_400_000));
        assert_ne!(user(1, 5, 86_400_000).set, user(2, 5, 86_400_000).set);
        assert_ne!(user(1, 5, 86_400_000).set, user(1, 6, 86_400_000).set);
        assert_eq!(number(&id(42)), Some(42));
        assert_eq!(id(42), "bench-000000042");
        assert_eq!(number("customer-0001"), None);
    }

    #[test]
    fn values_are_spread_as_documented() {
        let users: Vec<UserUpdate> = (0..10_000)
            .map(|number| user(1, number, 86_400_000))
            .collect();
        let share = |test: &dyn Fn(&UserUpdate) -> bool| {
            users.iter().filter(|user| test(user)).count() / 100
        };
        let is = |user: &UserUpdate, name: &str, text: &str| {
            user.set[name] == value(Kind::StringValue(text.into()))
        };
        assert!((78..=82).contains(&share(&|user| is(user, "plan", "free"))));
        assert!((26..=30).contains(&share(&|user| is(user, "country", "US"))));
        assert!((94..=96).contains(&share(&|user| user.set.contains_key("age"))));
        assert!((57..=63).contains(&share(&|user| user.set.contains_key("tags"))));
        let did =
            |user: &UserUpdate, name: &str| user.events.iter().any(|event| event.name == name);
        assert!((28..=32).contains(&share(&|user| did(user, "purchase"))));
        assert!((63..=67).contains(&share(&|user| did(user, "open"))));
        for event in users.iter().flat_map(|user| &user.events) {
            let ago = 86_400_000 - event.time.unwrap().seconds;
            assert!(ago > 0 && ago <= 90 * 86_400, "{event:?}");
            assert_eq!(event.amount.is_some(), event.name == "purchase");
            assert!(
                event
                    .amount
                    .is_none_or(|amount| (1.0..101.0).contains(&amount))
            );
        }
    }
}
