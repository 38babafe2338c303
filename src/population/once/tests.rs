//! What is remembered, for how long, and that a capture has all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{
    Change, LimitExceeded, NonEmpty, Number, Operation, PropertyName, StoreLimits, Text, Timestamp,
    UserId, UserUpdate, Value, ValueType, limit,
};
use crate::population::{MemberChanges, RestoreError};

fn name(text: &str) -> PropertyName {
    PropertyName::new(text).unwrap()
}

fn write(user: &str, operations: Vec<(&str, Operation)>) -> UserUpdate {
    UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: None,
        changes: operations
            .into_iter()
            .map(|(property, operation)| Change {
                property: name(property),
                operation,
            })
            .collect(),
        events: Vec::new(),
    }
}

fn increment(user: &str) -> Action {
    let one = Operation::Increment(Number::Int64(1));
    Action::Write(NonEmpty::one(write(user, vec![("n", one)])))
}

fn set_text(user: &str, property: &str) -> Action {
    let text = Operation::Set(Value::String(Text::new("x").unwrap()));
    Action::Write(NonEmpty::one(write(user, vec![(property, text)])))
}

fn request(id: &str, content: u64) -> Once {
    Once::Request {
        id: RequestId::new(id).unwrap(),
        content,
    }
}

fn batch(stream: &str, previous: u64, sequence: u64) -> Once {
    Once::Batch {
        stream: StreamId::new(stream).unwrap(),
        previous,
        sequence,
    }
}

/// A population, and the revision of its last command.
struct World {
    population: Arc<Population>,
    revision: u64,
}

impl World {
    fn new(request_ids: u64, streams: u64) -> Self {
        let limits = StoreLimits {
            request_ids,
            streams,
            ..StoreLimits::default()
        };
        Self {
            population: Arc::new(Population::new(limits)),
            revision: 0,
        }
    }

    fn apply(&mut self, once: &Once, action: &Action) -> Judged {
        self.revision += 1;
        let revision = Revision::new(self.revision);
        self.population.apply_once(revision, Some(once), action)
    }

    /// The number of a user; 0 if there is none.
    fn n(&self, user: &str) -> i64 {
        let user = self.population.user(&UserId::new(user).unwrap());
        match user.unwrap_or_default().get(&name("n")) {
            Some(Value::Int64(number)) => *number,
            None => 0,
            other => panic!("{other:?}"),
        }
    }

    fn parts(&self) -> BTreeMap<String, Vec<u8>> {
        let capture = self.population.begin_capture();
        let parts = capture.parts();
        parts
            .map(|part| (part.name(), part.take(None).unwrap()))
            .collect()
    }

    fn restart(&mut self) {
        let limits = self.population.writer().limits;
        self.population = Arc::new(restore(limits, self.revision, &self.parts()).unwrap());
    }
}

fn restore(
    limits: StoreLimits,
    revision: u64,
    parts: &BTreeMap<String, Vec<u8>>,
) -> Result<Population, RestoreError> {
    Population::restore(limits, Revision::new(revision), |name| {
        parts.get(name).cloned()
    })
}

#[test]
fn a_request_takes_effect_once_and_its_answer_is_the_first_ones() {
    let mut world = World::new(10, 10);
    let first = world.apply(&request("r", 7), &increment("u"));
    assert!(!first.replayed);
    world.apply(&request("other", 7), &increment("u"));
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        let again = world.apply(&request("r", 7), &increment("u"));
        assert_eq!(
            again,
            Judged {
                replayed: true,
                ..first.clone()
            }
        );
        let reused = world.apply(&request("r", 8), &increment("u"));
        assert_eq!(reused.outcome, Err(Refusal::RequestIdReused));
        assert!(!reused.replayed);
        assert_eq!(world.n("u"), 2);
    }
}

#[test]
fn an_id_is_forgotten_exactly_when_as_many_newer_ones_are_remembered_as_allowed() {
    const ALLOWED: u64 = 5;
    let mut world = World::new(ALLOWED, 1);
    world.apply(&request("first", 0), &increment("u"));
    for number in 1..ALLOWED {
        world.apply(&request(&format!("r{number}"), 0), &increment("u"));
        // Neither repeats nor refusals of a used id make it newer, or others older.
        assert!(world.apply(&request("first", 0), &increment("u")).replayed);
        world.apply(&request("first", 1), &increment("u"));
    }
    assert_eq!(world.n("u"), 5);
    world.restart();
    assert!(world.apply(&request("first", 0), &increment("u")).replayed);
    world.apply(&request("last", 0), &increment("u"));
    assert_eq!(world.population.writer().requests.len(), ALLOWED);
    let again = world.apply(&request("first", 0), &increment("u"));
    assert!(!again.replayed, "it was forgotten");
    assert_eq!(world.n("u"), 7);
    let oldest = world.apply(&request("r1", 0), &increment("u"));
    assert!(!oldest.replayed, "it made place for `first`");
    assert!(world.apply(&request("r3", 0), &increment("u")).replayed);
}

#[test]
fn fewer_are_remembered_when_the_limit_sinks() {
    let mut world = World::new(100, 100);
    for number in 0..10 {
        world.apply(&request(&format!("r{number}"), 0), &increment("u"));
        world.apply(&batch(&format!("s{number}"), 0, 1), &increment("u"));
    }
    world.population.set_limits(StoreLimits {
        request_ids: 0,
        streams: 0,
        ..StoreLimits::default()
    });
    world.apply(&request("one", 0), &increment("u"));
    world.apply(&batch("one", 0, 1), &increment("u"));
    // One at least: otherwise no stream could go on.
    assert!(world.apply(&request("one", 0), &increment("u")).replayed);
    assert!(!world.apply(&request("r9", 0), &increment("u")).replayed);
    let next = world.apply(&batch("one", 1, 2), &increment("u"));
    assert!(next.outcome.is_ok() && !next.replayed);
    assert!(!world.apply(&batch("s9", 0, 1), &increment("u")).replayed);
}

#[test]
fn outcomes_that_take_much_memory_leave_place_for_fewer_ids() {
    const ALLOWED: u64 = 100;
    let mut world = World::new(ALLOWED, 1);
    let property = "p".repeat(120);
    world.apply(&request("n", 0), &increment("u"));
    world.apply(&request("p", 0), &set_text("u", &property));
    let conflict = Operation::Set(Value::Bool(true));
    let refused = Action::Write(NonEmpty::one(write("u", vec![(&property, conflict)])));
    for number in 0..3 * ALLOWED {
        let judged = world.apply(&request(&format!("r{number}"), 0), &refused);
        let detail = outcome::encode(&refused, &judged.outcome).len() as u64;
        assert!(detail > requests::DETAIL_BYTES, "{detail}");
    }
    let remembered = world.population.writer().requests.len();
    // About 125 bytes each, and 6,400 are allowed.
    assert!((50..=52).contains(&remembered), "{remembered}");
    // What was forgotten does not count after a restart either.
    world.restart();
    world.apply(&request("after", 0), &refused);
    assert_eq!(world.population.writer().requests.len(), remembered);
    // Small ones take their place again.
    for number in 0..2 * ALLOWED {
        world.apply(&request(&format!("s{number}"), 0), &increment("u"));
    }
    assert_eq!(world.population.writer().requests.len(), ALLOWED);
}

#[test]
fn a_refusal_is_told_again_though_it_would_be_accepted_now() {
    let mut world = World::new(10, 10);
    world.apply(&request("text", 0), &set_text("u", "n"));
    let first = world.apply(&request("r", 1), &increment("u"));
    assert!(matches!(first.outcome, Err(Refusal::TypeConflict { .. })));
    let in_stream = world.apply(&batch("s", 0, 4), &increment("u"));
    assert_eq!(in_stream.outcome, first.outcome);
    world.apply(&request("away", 0), &Action::DeleteProperty(name("n")));
    world.restart();
    let again = world.apply(&request("r", 1), &increment("u"));
    assert_eq!(
        again,
        Judged {
            replayed: true,
            ..first
        }
    );
    let again = world.apply(&batch("s", 0, 4), &increment("u"));
    assert_eq!(
        again,
        Judged {
            replayed: true,
            ..in_stream
        }
    );
    assert_eq!(world.n("u"), 0);
    // The refused one used up its sequence.
    let next = world.apply(&batch("s", 4, 5), &increment("u"));
    assert!(next.outcome.is_ok());
    assert_eq!(world.n("u"), 1);
}

#[test]
fn every_outcome_comes_back_as_it_was() {
    let property = name("a property");
    let exceeded = |limit| LimitExceeded {
        limit,
        allowed: 3,
        given: u64::MAX,
    };
    let (update, value_type) = (9_999, ValueType::Version);
    let refusals = [
        Refusal::TypeConflict {
            update,
            property: property.clone(),
            expected: value_type,
            given: ValueType::Bool,
        },
        Refusal::Inexact {
            update,
            property: property.clone(),
            number: i64::MIN,
        },
        Refusal::OutOfRange {
            update,
            property: property.clone(),
            value_type,
        },
        Refusal::SetTooLarge {
            update,
            property: property.clone(),
            exceeded: exceeded(limit::SET_ELEMENTS),
        },
        Refusal::TooManyValues {
            property: property.clone(),
            exceeded: exceeded(limit::DISTINCT_VALUES),
        },
        Refusal::TooManyProperties {
            property: property.clone(),
            exceeded: exceeded(limit::PROPERTIES),
        },
        Refusal::TooManyUsers {
            exceeded: exceeded(limit::USERS),
        },
        Refusal::TooManyPopulations {
            exceeded: exceeded(limit::POPULATIONS),
        },
        Refusal::PropertyExists {
            property: property.clone(),
            value_type,
        },
        Refusal::PropertyNotFound { property },
        Refusal::RequestIdReused,
        Refusal::SequenceConflict {
            previous: 7,
            last: 0,
        },
    ];
    let action = increment("u");
    let mut outcomes: Vec<Result<Changes, Refusal>> = refusals.into_iter().map(Err).collect();
    outcomes.push(Ok(Changes {
        erased: true,
        ..Changes::default()
    }));
    outcomes.push(Ok(Changes {
        members: MemberChanges {
            changed: 300,
            unknown: vec![0, 9_999],
        },
        ..Changes::default()
    }));
    for outcome in outcomes {
        let bytes = outcome::encode(&action, &outcome);
        assert_eq!(outcome::check(&bytes), Ok(()));
        assert_eq!(outcome::decode(&bytes, &action), outcome);
        for length in 1..bytes.len() {
            assert!(outcome::check(&bytes[..length]).is_err());
        }
    }
    let plain = outcome::encode(&action, &Ok(Changes::default()));
    assert!(plain.is_empty(), "most take no memory");
}

#[test]
fn stale_changes_come_back_by_their_places() {
    let properties = ["a", "b", "c", "d"];
    let updates: Vec<UserUpdate> = (0..3)
        .map(|number| {
            let changes = properties.map(|property| (property, Operation::Unset));
            UserUpdate {
                value_time: Some(Timestamp::MIN),
                ..write(&format!("u{number}"), changes.to_vec())
            }
        })
        .collect();
    let action = Action::Write(NonEmpty::new(updates).unwrap());
    let all: Vec<(usize, PropertyName)> = (0..3)
        .flat_map(|update| properties.map(|property| (update, name(property))))
        .collect();
    for mask in 0..1_u32 << all.len() {
        let stale = all.iter().enumerate();
        let stale = stale.filter(|(place, _)| mask >> place & 1 == 1);
        let outcome = Ok(Changes {
            stale: stale.map(|(_, change)| change.clone()).collect(),
            ..Changes::default()
        });
        let bytes = outcome::encode(&action, &outcome);
        assert_eq!(outcome::check(&bytes), Ok(()));
        assert_eq!(outcome::decode(&bytes, &action), outcome, "{mask:b}");
    }
}

#[test]
fn a_stream_carries_each_sequence_out_once_and_in_order() {
    let mut world = World::new(10, 10);
    let stream = StreamId::new("s").unwrap();
    assert_eq!(world.population.last_of_stream(&stream), None);
    for (previous, sequence) in [(0, 3), (3, 4), (4, 9)] {
        let judged = world.apply(&batch("s", previous, sequence), &increment("u"));
        assert!(!judged.replayed && judged.outcome.is_ok());
    }
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        let last = Some((9, Revision::new(3)));
        assert_eq!(world.population.last_of_stream(&stream), last);
        // Also a number in between that was never sent: it can't come any more.
        for (previous, sequence) in [(9, 3), (0, 4), (4, 9), (0, 1), (9, 5)] {
            let judged = world.apply(&batch("s", previous, sequence), &increment("u"));
            assert!(judged.replayed, "{sequence}");
            assert_eq!(judged.outcome, Ok(Changes::default()));
            assert_eq!(judged.revision, Revision::new(3));
        }
        // Behind one that was not carried out, or in front of which another one came.
        for (previous, sequence) in [(10, 11), (4, 10), (0, 10)] {
            let judged = world.apply(&batch("s", previous, sequence), &increment("u"));
            let conflict = Refusal::SequenceConflict { previous, last: 9 };
            assert_eq!(judged.outcome, Err(conflict));
            assert!(!judged.replayed);
        }
        assert_eq!(world.n("u"), 3);
        assert_eq!(world.population.last_of_stream(&stream), last);
    }
    // Another stream has sequences of its own.
    assert!(!world.apply(&batch("t", 0, 1), &increment("u")).replayed);
    assert_eq!(world.n("u"), 4);
}

#[test]
fn the_streams_used_last_are_remembered() {
    let mut world = World::new(10, 3);
    for stream in ["a", "b", "c"] {
        world.apply(&batch(stream, 0, 1), &increment("u"));
    }
    world.apply(&batch("a", 1, 2), &increment("u"));
    world.restart();
    world.apply(&batch("d", 0, 1), &increment("u"));
    let last = |world: &World, stream: &str| {
        let stream = StreamId::new(stream).unwrap();
        world
            .population
            .last_of_stream(&stream)
            .map(|(last, _)| last)
    };
    let found = ["a", "b", "c", "d"].map(|stream| last(&world, stream));
    assert_eq!(found, [Some(2), None, Some(1), Some(1)]);
    // Who goes on with a stream that was forgotten is told, and nothing is done twice.
    let judged = world.apply(&batch("b", 1, 2), &increment("u"));
    let conflict = Refusal::SequenceConflict {
        previous: 1,
        last: 0,
    };
    assert_eq!(judged.outcome, Err(conflict));
}

/// A stream that was forgotten begins anew, and so do its sequences.
#[test]
fn a_refusal_is_not_told_to_a_later_stream_of_the_same_name() {
    let mut world = World::new(10, 1);
    world.apply(&request("text", 0), &set_text("u", "n"));
    let refused = world.apply(&batch("s", 0, 1), &increment("u"));
    assert!(refused.outcome.is_err());
    world.apply(&request("away", 0), &Action::DeleteProperty(name("n")));
    world.apply(&batch("another", 0, 1), &increment("v"));
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        let judged = world.apply(&batch("s", 0, 1), &increment("u"));
        assert_eq!(judged.outcome, Ok(Changes::default()));
        assert_eq!(judged.replayed, restarted);
    }
    assert_eq!(world.n("u"), 1);
}

#[test]
fn ids_of_requests_and_streams_do_not_meet() {
    let mut world = World::new(10, 10);
    world.apply(&batch("same", 0, 1), &increment("u"));
    assert!(!world.apply(&request("same", 0), &increment("u")).replayed);
    assert_eq!(world.n("u"), 2);
}

#[test]
fn a_capture_has_the_requests_and_streams_of_its_moment_while_writes_go_on() {
    const BEFORE: u64 = requests::SEGMENT_ENTRIES as u64 + 100;
    let mut world = World::new(BEFORE, 50);
    let action = increment("u");
    for number in 0..BEFORE + 50 {
        world.apply(&request(&format!("r{number}"), 0), &action);
    }
    for number in 0..60 {
        world.apply(&batch(&format!("s{number}"), 0, 1), &action);
    }
    let revision = world.revision;
    let expected = world.parts();
    let capture = world.population.begin_capture();
    let mut parts = capture.parts();
    let mut captured = BTreeMap::new();
    let mut number = BEFORE + 50;
    for _ in 0..4 {
        if let Some(part) = parts.next() {
            captured.insert(part.name(), part.take(None).unwrap());
        }
        // Enough to begin a new segment and to forget a whole one.
        for _ in 0..BEFORE / 4 + 100 {
            world.apply(&request(&format!("r{number}"), 0), &action);
            number += 1;
        }
        world.apply(&batch("s59", 1, number), &action);
    }
    captured.extend(parts.map(|part| (part.name(), part.take(None).unwrap())));
    assert!(captured == expected, "the capture is of another moment");
    drop(capture);

    let limits = world.population.writer().limits;
    let mut then = World {
        population: Arc::new(restore(limits, revision, &captured).unwrap()),
        revision,
    };
    assert_eq!(then.population.writer().requests.len(), BEFORE);
    let judged = then.apply(&request("r50", 0), &action);
    assert!(judged.replayed, "the oldest that is remembered");
    assert_eq!(judged.revision, Revision::new(51));
    let judged = then.apply(&request(&format!("r{}", BEFORE + 49), 0), &action);
    assert!(judged.replayed, "the newest");
    assert!(!then.apply(&request("r49", 0), &action).replayed);
    assert!(then.apply(&batch("s59", 0, 1), &action).replayed);
    assert!(!then.apply(&batch("s9", 0, 1), &action).replayed);
}

#[test]
fn full_segments_are_shared_between_snapshots() {
    let mut world = World::new(u64::MAX, 1);
    let action = increment("u");
    for number in 0..=requests::SEGMENT_ENTRIES {
        world.apply(&request(&format!("r{number}"), 0), &action);
    }
    let since = Revision::new(world.revision);
    world.apply(&request("one more", 0), &action);
    let capture = world.population.begin_capture();
    let changed: Vec<String> = capture
        .parts()
        .filter_map(|part| {
            let name = part.name();
            part.take(Some(since)).map(|_| name)
        })
        .filter(|name| name.starts_with("requests"))
        .collect();
    let newest = format!("requests-{}", requests::SEGMENT_ENTRIES);
    assert_eq!(changed, ["requests".to_owned(), newest]);
}

#[test]
fn parts_that_are_missing_or_do_not_fit_are_refused() {
    let mut world = World::new(20_000, 10);
    for number in 0..requests::SEGMENT_ENTRIES + 5 {
        world.apply(&request(&format!("r{number}"), 0), &increment("u"));
    }
    let refused = set_text("u", "n");
    world.apply(&request("refused", 0), &refused);
    world.apply(&batch("s", 0, 1), &increment("u"));
    let parts = world.parts();
    let limits = world.population.writer().limits;
    let newest = format!("requests-{}", requests::SEGMENT_ENTRIES);
    for name in ["requests", "requests-0", &newest, "streams"] {
        let mut without = parts.clone();
        without.remove(name).unwrap();
        let error = restore(limits, 1, &without).unwrap_err();
        let section = name.to_owned();
        assert_eq!(error, RestoreError::Missing { section });

        let mut cut = parts.clone();
        cut.get_mut(name).unwrap().pop();
        let error = restore(limits, 1, &cut).unwrap_err();
        assert!(
            matches!(&error, RestoreError::Damaged { section, .. } if section == name),
            "{error}"
        );
    }
    let mut swapped = parts.clone();
    swapped.insert("requests-0".into(), parts[&newest].clone());
    let error = restore(limits, 1, &swapped).unwrap_err();
    assert!(matches!(error, RestoreError::Mismatch { .. }), "{error}");
}

/// A damaged part whose checksum happens to fit is refused, or is one that never panics.
#[test]
fn damage_is_refused_or_remembers_something_else() {
    let mut world = World::new(4, 3);
    let refused = set_text("u", "n");
    let sent = |number: u64| {
        [
            (request(&format!("r{number}"), 7), increment("u")),
            (request(&format!("refused {number}"), 7), refused.clone()),
            (batch(&format!("s{number}"), 0, 1), increment("u")),
            (batch(&format!("s{number}"), 1, 2), refused.clone()),
        ]
    };
    for (once, action) in (0..4).flat_map(sent) {
        world.apply(&once, &action);
    }
    let limits = world.population.writer().limits;
    let parts = world.parts();
    let names = parts
        .keys()
        .filter(|name| name.starts_with("requests") || *name == "streams");
    let (mut accepted, mut found_damaged) = (0, 0);
    for name in names {
        for position in 0..parts[name].len() {
            let mut damaged = parts.clone();
            damaged.get_mut(name).unwrap()[position] ^= 1 << (position % 8);
            let Ok(population) = restore(limits, world.revision, &damaged) else {
                found_damaged += 1;
                continue;
            };
            accepted += 1;
            let mut world = World {
                population: Arc::new(population),
                revision: world.revision,
            };
            for (once, action) in (2..7).flat_map(sent) {
                world.apply(&once, &action);
            }
            world.restart();
        }
    }
    assert!(
        accepted > 20 && found_damaged > 20,
        "{accepted} {found_damaged}"
    );
}

/// Digests that differ, without the work of making them.
fn digest(number: u64) -> Digest {
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Digest::from_bytes(spread.to_le_bytes())
}

/// Remembers so many request ids with outcomes of some size; returns how many are remembered and
/// the bytes that takes.
fn remember(number: u64, detail: usize) -> (u64, usize) {
    let mut requests = Requests::default();
    let first = requests::First {
        revision: Revision::new(1),
        content: 1,
        detail: vec![0; detail],
    };
    for number in 0..number {
        requests.remember(digest(number), &first, 0, limit::REQUEST_IDS.default);
    }
    (requests.len(), requests.heap_bytes())
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "numbers to print")]
fn memory_is_what_the_documentation_says() {
    let most = limit::REQUEST_IDS.default;
    // More than are remembered, so that what is forgotten is counted while it stays.
    let more = most + requests::SEGMENT_ENTRIES as u64 - 1;
    let (remembered, bytes) = remember(more, 0);
    assert_eq!(remembered, most);
    let each = bytes as f64 / most as f64;
    println!("{each:.1} bytes a request id");
    assert!(each < 60.0 && bytes < 62_000_000, "{bytes}");

    for (number, detail) in [(more, 64), (2_000, 100_000)] {
        let (remembered, bytes) = remember(number, detail);
        println!("{bytes} bytes for {remembered} request ids with outcomes of {detail} bytes");
        let allowed = most * requests::DETAIL_BYTES;
        assert!((remembered + 1) * detail as u64 > allowed, "{remembered}");
        assert!(bytes < 62_000_000 + 70_000_000, "{bytes}");
    }

    let most = limit::STREAMS.default;
    let mut streams = Streams::default();
    for number in 0..2 * most {
        let stream = Stream {
            sequence: 1,
            revision: Revision::new(number),
            since: Revision::new(number),
        };
        streams.put(digest(number), stream, most);
    }
    let each = streams.heap_bytes() as f64 / most as f64;
    println!("{each:.1} bytes a stream");
    assert!(each < 120.0, "{each} bytes a stream");
}
