//! Makes random things from bytes: expressions, filter texts and actions.
//!
//! Invariant: the same bytes always make the same thing, and fewer or smaller bytes make a simpler
//! one, so that a test that shrinks its bytes shrinks what they stand for. No bytes at all make
//! the simplest thing.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::generate_events;
use crate::model::{
    Action, BucketPredicate, BucketTest, Buckets, Change, Comparison, Event, EventName, Expression,
    Finite, FirstMembers, Labels, ListDeclaration, NonEmpty, Number, Once, Operand, Operation,
    Predicate, PropertyDeclaration, PropertyName, Quantifier, RequestId, Salt, SegmentName, Span,
    StreamId, Test, Text, Timestamp, UserId, UserUpdate, Value, ValueType, Version, limit,
};

/// Choices made by bytes, one after another. When they are used up, every choice is the first.
#[derive(Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Chooses by these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        if end <= 256 {
            usize::from(self.byte()) % end.max(1)
        } else {
            (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end
        }
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Yes or no; no when the bytes are used up.
    pub fn yes(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn integer(&mut self) -> i64 {
        let mut bytes = [0; 8];
        for byte in &mut bytes {
            *byte = self.byte();
        }
        i64::from_le_bytes(bytes)
    }

    /// A list of at least `least` and less than `least + 4` things.
    fn several<T>(&mut self, least: usize, mut thing: impl FnMut(&mut Self) -> T) -> NonEmpty<T> {
        let more = self.below(4);
        let mut list = NonEmpty::one(thing(self));
        for _ in 1..least + more {
            list.push(thing(self));
        }
        list
    }
}

/// Bytes from a seed, for tests that loop over seeds and print the one that failed.
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(length.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

/// A value of a type. Values repeat, and those at the edges are frequent. Sets are never empty.
pub fn value(choices: &mut Choices<'_>, value_type: ValueType) -> Value {
    match value_type {
        ValueType::Bool => Value::Bool(choices.yes()),
        ValueType::String => Value::String(text(choices)),
        ValueType::StringSet => {
            let elements = choices.several(1, text);
            Value::StringSet(elements.iter().cloned().collect::<BTreeSet<_>>())
        }
        ValueType::Int64 => Value::Int64(whole(choices)),
        ValueType::Double => Value::Double(double(choices)),
        ValueType::Timestamp => Value::Timestamp(timestamp(choices)),
        ValueType::Version => Value::Version(version(choices)),
    }
}

/// A text, often one of a few.
pub fn text(choices: &mut Choices<'_>) -> Text {
    const COMMON: [&str; 12] = [
        "a",
        "b",
        "FR",
        "",
        "it's",
        "''",
        "AND",
        "-- no comment",
        "Größe",
        "line\nfeed",
        "\u{0}",
        "日本",
    ];
    let text: String = if choices.below(4) == 3 {
        let length = choices.below(8);
        (0..length).map(|_| char::from(choices.byte())).collect()
    } else {
        choices.pick(&COMMON).into()
    };
    Text::new(text).expect("short texts are texts")
}

fn whole(choices: &mut Choices<'_>) -> i64 {
    match choices.below(5) {
        0 => choices.pick(&[0, 1, -1, i64::MIN, i64::MAX, 1 << 53]),
        1 => choices.integer(),
        _ => i64::from(choices.byte()) - 20,
    }
}

fn double(choices: &mut Choices<'_>) -> Finite {
    const EDGES: [f64; 9] = [
        0.0,
        1.0,
        -1.0,
        0.1,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1e21,
    ];
    let number = if choices.below(3) == 2 {
        f64::from_bits(choices.integer().cast_unsigned())
    } else {
        choices.pick(&EDGES)
    };
    Finite::new(number).unwrap_or_else(|| Finite::new(0.5).expect("0.5 is finite"))
}

fn timestamp(choices: &mut Choices<'_>) -> Timestamp {
    match choices.below(4) {
        0 => choices.pick(&[Timestamp::MIN, Timestamp::MAX]),
        1 => Timestamp::from_micros(choices.integer() >> 8).unwrap_or(Timestamp::MIN),
        _ => Timestamp::from_micros(choices.pick(&[0, -1, 1, 1_767_225_600_000_000]))
            .expect("near 1970"),
    }
}

fn version(choices: &mut Choices<'_>) -> Version {
    let mut text = choices.several(1, |c| c.byte().to_string()).join(".");
    if choices.yes() {
        text.push_str(choices.pick(&["-alpha", "-beta.2", "-0.x-y"]));
    }
    text.parse().expect("one to four numbers")
}

fn span(choices: &mut Choices<'_>) -> Span {
    let unit = choices.pick(&[1, 1_000, 1_000_000, 3_600_000_000, 86_400_000_000]);
    let count = i64::from(choices.byte()) - 100;
    Span::from_micros(count * unit).expect("at most 155 days")
}

/// Where expressions take their properties from.
#[derive(Clone, Copy, Debug)]
pub enum Vocabulary<'a> {
    /// Any name and any type of values: expressions that can be written, not more.
    Anything,
    /// These properties, used according to their types: expressions that also can be answered.
    Properties(&'a [(PropertyName, ValueType)]),
    /// These properties, and these events: at least one.
    Known {
        /// The properties, as above.
        properties: &'a [(PropertyName, ValueType)],
        /// The names of the events.
        events: &'a [EventName],
        /// Near these instants something is to begin or end.
        around: &'a [Timestamp],
    },
}

/// An expression within the limits.
pub fn expression(choices: &mut Choices<'_>, vocabulary: Vocabulary<'_>) -> Expression {
    let deepest = limit::EXPRESSION_DEPTH.default - 1;
    let levels = choices.below(usize::try_from(deepest).unwrap_or(0) + 1);
    let expression = at_most(choices, vocabulary, levels);
    if expression.check_size().is_ok() {
        expression
    } else {
        // Too many nodes: one predicate is as good as any.
        at_most(choices, vocabulary, 0)
    }
}

fn at_most(choices: &mut Choices<'_>, vocabulary: Vocabulary<'_>, below: usize) -> Expression {
    let kind = if below == 0 { 0 } else { choices.below(8) };
    let operand = |choices: &mut Choices<'_>| {
        let below = choices.below(below);
        at_most(choices, vocabulary, below)
    };
    match kind {
        1 => {
            if matches!(vocabulary, Vocabulary::Anything) && choices.below(4) == 3 {
                Expression::Segment(segment_name(choices))
            } else {
                Expression::Everyone
            }
        }
        2 | 3 => Expression::And(choices.several(2, operand)),
        4 | 5 => Expression::Or(choices.several(2, operand)),
        // The only way to the deepest levels that does not need many nodes.
        6 => Expression::Not(Box::new(at_most(choices, vocabulary, below - 1))),
        7 => {
            let of = choices.several(1, operand);
            let count = 1 + choices.below(of.len());
            let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
            Expression::AtLeast {
                count: count.unwrap_or(NonZeroU32::MIN),
                of,
            }
        }
        _ if matches!(vocabulary, Vocabulary::Anything) && choices.yes() => {
            let event = generate_events::event_name(choices);
            let around = [timestamp(choices)];
            let predicate = generate_events::event_predicate(choices, &[event], &around);
            Expression::Event(Box::new(predicate))
        }
        _ if let Vocabulary::Known {
            properties,
            events,
            around,
        } = vocabulary
            && (properties.is_empty() || choices.yes()) =>
        {
            let predicate = generate_events::event_predicate(choices, events, around);
            Expression::Event(Box::new(predicate))
        }
        _ if choices.below(8) == 7 => Expression::Bucket(Box::new(bucket(choices))),
        _ => Expression::Predicate(predicate(choices, vocabulary)),
    }
}

/// A test of a bucket, with few and with many of them.
pub fn bucket(choices: &mut Choices<'_>) -> BucketPredicate {
    let salt = Salt::new(choices.pick(&["", "a", "it's", "Größe", "-- no comment"]));
    let count = choices.pick(&[1_u64, 2, 7, 100, limit::BUCKETS.default]);
    let buckets = Buckets::new(count).expect("within the limit");
    let number = |choices: &mut Choices<'_>| {
        let number = u64::from(choices.byte()) % count;
        BucketTest::listed(number, buckets).expect("below their number")
    };
    let test = if choices.below(3) == 2 {
        BucketTest::In {
            negated: choices.yes(),
            numbers: choices.several(1, number),
        }
    } else {
        BucketTest::Compare(comparison(choices, ValueType::Int64), number(choices))
    };
    BucketPredicate::new(salt.expect("a short salt"), buckets, test)
}

/// A predicate.
pub fn predicate(choices: &mut Choices<'_>, vocabulary: Vocabulary<'_>) -> Predicate {
    let (property, value_type) = match vocabulary {
        Vocabulary::Properties(properties) | Vocabulary::Known { properties, .. }
            if !properties.is_empty() =>
        {
            properties[choices.below(properties.len())].clone()
        }
        Vocabulary::Properties(_) | Vocabulary::Known { .. } | Vocabulary::Anything => {
            (property_name(choices), choices.pick(&ValueType::ALL))
        }
    };
    let test = if choices.below(8) == 7 {
        Test::IsSet {
            negated: choices.yes(),
        }
    } else if value_type == ValueType::StringSet {
        Test::Has {
            quantifier: choices.pick(&[Quantifier::Any, Quantifier::All, Quantifier::None]),
            elements: choices.several(1, text),
        }
    } else if choices.below(3) == 2 {
        Test::In {
            negated: choices.yes(),
            values: choices.several(1, |choices| value(choices, value_type)),
        }
    } else {
        Test::Compare {
            comparison: comparison(choices, value_type),
            operand: if value_type == ValueType::Timestamp && choices.yes() {
                Operand::AsOfPlus(span(choices))
            } else {
                Operand::Value(value(choices, value_type))
            },
        }
    };
    Predicate { property, test }
}

fn comparison(choices: &mut Choices<'_>, value_type: ValueType) -> Comparison {
    const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    let usable = if value_type.is_ordered() { 6 } else { 2 };
    choices.pick(&ALL[..usable])
}

/// A segment's name, some of which have quotes.
pub fn segment_name(choices: &mut Choices<'_>) -> SegmentName {
    const COMMON: [&str; 4] = ["vip", "it's", "''", "two words"];
    SegmentName::new(choices.pick(&COMMON)).expect("well-formed names")
}

/// A property's name, often one that needs quotes.
pub fn property_name(choices: &mut Choices<'_>) -> PropertyName {
    const COMMON: [&str; 16] = [
        "age",
        "plan",
        "a.b_c",
        "_",
        "not",
        "IN",
        "at",
        "now",
        "version",
        "date",
        "any",
        "two words",
        "a\"b",
        "Größe",
        "1st",
        "least",
    ];
    PropertyName::new(choices.pick(&COMMON)).expect("well-formed names")
}

/// A property of each type, and one that disregards case.
#[must_use]
pub fn properties() -> Vec<PropertyDeclaration> {
    let kinds = ValueType::ALL.map(|value_type| (value_type, false));
    kinds
        .into_iter()
        .chain([(ValueType::String, true)])
        .enumerate()
        .map(
            |(number, (value_type, case_insensitive))| PropertyDeclaration {
                name: PropertyName::new(format!("p{number}")).expect("a plain name"),
                value_type,
                case_insensitive,
            },
        )
        .collect()
}

/// One of a few ids or places in a stream, or none.
pub fn once(choices: &mut Choices<'_>) -> Option<Once> {
    match choices.below(4) {
        2 => Some(Once::Request {
            id: RequestId::new(format!("r{}", choices.below(6))).expect("a short id"),
            content: choices.below(2) as u64,
        }),
        3 => {
            let sequence = 1 + choices.below(6);
            Some(Once::Batch {
                stream: StreamId::new(format!("s{}", choices.below(3))).expect("a short id"),
                previous: choices.below(sequence) as u64,
                sequence: sequence as u64,
            })
        }
        _ => None,
    }
}

/// One of a few users.
pub fn user(choices: &mut Choices<'_>) -> UserId {
    UserId::new(format!("user-{}", choices.below(12))).expect("a short id")
}

/// An action on a population that has some of [`properties`] and of
/// [`generate_events::event_names`]. Mostly writes that fit the types; some are to be refused.
pub fn action(choices: &mut Choices<'_>) -> Action {
    let properties = properties();
    let declaration = properties[choices.below(properties.len())].clone();
    match choices.below(24) {
        20 => Action::CreateList(
            Box::new(ListDeclaration {
                name: segment_name(choices),
                description: text(choices),
                labels: Labels::new(),
                members: FirstMembers::Users(choices.several(1, user).into_vec()),
            }),
            timestamp(choices),
        ),
        21 => Action::AddMembers(segment_name(choices), choices.several(1, user)),
        22 => Action::RemoveMembers(segment_name(choices), choices.several(1, user)),
        23 => Action::DeleteSegment(segment_name(choices), None),
        13 => Action::Erase(user(choices)),
        14 => Action::CreateProperty(declaration),
        15 => Action::DeleteProperty(declaration.name),
        16 => Action::CreateEvent(generate_events::declaration(choices)),
        17 | 18 => Action::UpdateEvent(generate_events::declaration(choices)),
        19 => Action::DeleteEvent(generate_events::declaration(choices).name),
        _ => {
            let received = generate_events::received(choices);
            Action::Write(choices.several(1, |choices| update(choices, &properties, received)))
        }
    }
}

fn update(
    choices: &mut Choices<'_>,
    properties: &[PropertyDeclaration],
    received: Timestamp,
) -> UserUpdate {
    let timed = choices.below(4) == 3;
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..choices.below(4) {
        let declaration = &properties[choices.below(properties.len())];
        let value_type = if choices.below(32) == 31 {
            choices.pick(&ValueType::ALL)
        } else {
            declaration.value_type
        };
        // No update names a property twice.
        if changes
            .iter()
            .all(|change| change.property != declaration.name)
        {
            changes.push(Change {
                property: declaration.name.clone(),
                operation: operation(choices, value_type, timed),
            });
        }
    }
    UserUpdate {
        user: user(choices),
        value_time: timed.then(|| timestamp(choices)),
        changes,
        events: events(choices, received),
    }
}

/// No events or a few that were received at an instant.
pub fn events(choices: &mut Choices<'_>, received: Timestamp) -> Vec<Event> {
    let names = generate_events::event_names();
    let count = choices.pick(&[0, 0, 1, 1, 2, 3]);
    let event = || generate_events::event(choices, &names, received);
    std::iter::repeat_with(event).take(count).collect()
}

fn operation(choices: &mut Choices<'_>, value_type: ValueType, timed: bool) -> Operation {
    let kinds = if timed { 3 } else { 6 };
    match (choices.below(kinds), value_type) {
        (2, _) => Operation::Unset,
        (3, _) => Operation::SetOnce(value(choices, value_type)),
        (4 | 5, ValueType::Int64) => Operation::Increment(Number::Int64(whole(choices))),
        (4 | 5, ValueType::Double) => Operation::Increment(Number::Double(double(choices))),
        (4, ValueType::StringSet) => Operation::AddToSet(choices.several(1, text)),
        (5, ValueType::StringSet) => Operation::RemoveFromSet(choices.several(1, text)),
        _ => Operation::Set(value(choices, value_type)),
    }
}

/// A text made of pieces of the filter language in any order: mostly wrong, but wrong late.
pub fn filter_like(choices: &mut Choices<'_>) -> String {
    const PIECES: [&str; 68] = [
        "age",
        "plan",
        " ",
        " ",
        " ",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "(",
        ")",
        ",",
        " IN (",
        " AND ",
        " OR ",
        " NOT ",
        " IS ",
        " SET",
        " BETWEEN ",
        " HAS ",
        "ANY (",
        "ALL (",
        "AT LEAST ",
        " OF (",
        "TRUE",
        "FALSE",
        "NULL",
        "now()",
        "-",
        "+",
        "30d",
        "'text'",
        "'",
        "\"name\"",
        "\"",
        "12",
        "0.5",
        "1e9",
        "VERSION '2.10'",
        "DATE '2026-01-31'",
        "TIMESTAMP '",
        "--",
        "\n",
        "é",
        ".",
        "1_000",
        "count(",
        "days(",
        "sum(",
        "avg(",
        "first(",
        "last(",
        "purchase",
        ", 30d",
        ", this month",
        ", last 7 days",
        ", last ",
        " weeks",
        "DATE '2026-01-01', now()",
        " IN 'Europe/Paris'",
        ") > ",
        ") >= 3",
        " THEN ",
        "sequence(",
        "bucket('s', 100)",
        "bucket(",
    ];
    let length = choices.below(64);
    (0..length).map(|_| choices.pick(&PIECES)).collect()
}
