//! Random actions and expressions over a small world, edges first.

use std::num::NonZeroU32;

use headcount::model::{
    Action, Change, Comparison, EventDeclaration, Expression, Finite, FirstMembers, Labels,
    ListDeclaration, NonEmpty, Number, Operand, Operation, Predicate, PropertyDeclaration,
    PropertyName, Quantifier, SegmentName, Span, Test, Text, Timestamp, UserId, UserUpdate, Value,
    ValueType,
};
use headcount::testing::generate::{Choices, bucket, events};
use headcount::testing::generate_events::{declaration, edge, event_names, event_predicate};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// So many cases, the same at every run unless `PROPTEST_RNG_SEED` says otherwise.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    match config.rng_seed {
        RngSeed::Random => ProptestConfig {
            rng_seed: RngSeed::Fixed(1_789),
            ..config
        },
        RngSeed::Fixed(_) => config,
    }
}

/// What `now()` stands for.
pub(crate) fn now() -> Timestamp {
    "2026-03-01".parse().unwrap()
}

/// All users there can be.
pub(crate) fn users() -> impl Iterator<Item = UserId> {
    (0..40).map(|number| UserId::new(format!("user-{number}")).unwrap())
}

fn name(text: &str) -> PropertyName {
    PropertyName::new(text).unwrap()
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

/// A property of each type, and one that disregards case. Further ones appear by writes.
const PROPERTIES: [(&str, ValueType, bool); 9] = [
    ("subscriber", ValueType::Bool, false),
    ("plan", ValueType::String, false),
    ("city", ValueType::String, true),
    ("tags", ValueType::StringSet, false),
    ("labels", ValueType::StringSet, true),
    ("age", ValueType::Int64, false),
    ("amount", ValueType::Double, false),
    ("last_seen", ValueType::Timestamp, false),
    ("app", ValueType::Version, false),
];

pub(crate) fn declarations() -> Vec<Action> {
    let declare = |(property, value_type, case_insensitive)| {
        Action::CreateProperty(PropertyDeclaration {
            name: name(property),
            value_type,
            case_insensitive,
        })
    };
    PROPERTIES.into_iter().map(declare).collect()
}

fn texts() -> impl Strategy<Value = Text> {
    select(vec!["", "a", "A", "ä", "Ä", "it's", "b", "pro", "Pro"]).prop_map(text)
}

pub(crate) fn value(value_type: ValueType) -> BoxedStrategy<Value> {
    match value_type {
        ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ValueType::String => texts().prop_map(Value::String).boxed(),
        ValueType::StringSet => prop::collection::btree_set(texts(), 0..4)
            .prop_map(Value::StringSet)
            .boxed(),
        ValueType::Int64 => select(vec![0, -1, 1, 2, 39, 40, 300, i64::MIN, i64::MAX])
            .prop_map(Value::Int64)
            .boxed(),
        ValueType::Double => select(vec![
            0.0,
            -0.5,
            1.0,
            1.5,
            29.85,
            -1e300,
            1e300,
            f64::MIN,
            f64::MAX,
        ])
        .prop_map(|number| Value::Double(Finite::new(number).unwrap()))
        .boxed(),
        ValueType::Timestamp => select(vec![
            "0001-01-01",
            "1969-12-31",
            "1970-01-01",
            "2026-01-30",
            "2026-02-28",
            "2026-03-01",
            "2026-03-01T00:00:00.000001Z",
            "9999-12-31",
        ])
        .prop_map(|text| Value::Timestamp(text.parse().unwrap()))
        .boxed(),
        ValueType::Version => select(vec!["2.9", "2.10", "2.10.0-rc.1", "10", "0.0.1"])
            .prop_map(|text| Value::Version(text.parse().unwrap()))
            .boxed(),
    }
}

fn declared() -> impl Strategy<Value = (PropertyName, ValueType)> {
    select(PROPERTIES.to_vec()).prop_map(|(property, value_type, _)| (name(property), value_type))
}

fn user() -> impl Strategy<Value = UserId> {
    select(users().collect::<Vec<_>>())
}

fn operation(value_type: ValueType) -> BoxedStrategy<Operation> {
    let set = value(value_type);
    let number = match value_type {
        ValueType::Double => select(vec![
            Number::Double(Finite::new(0.25).unwrap()),
            Number::Int64(3),
            Number::Double(Finite::new(f64::MAX).unwrap()),
        ]),
        ValueType::Bool
        | ValueType::String
        | ValueType::StringSet
        | ValueType::Int64
        | ValueType::Timestamp
        | ValueType::Version => select(vec![
            Number::Int64(1),
            Number::Int64(-1),
            Number::Int64(i64::MAX),
        ]),
    };
    let elements =
        || prop::collection::vec(texts(), 1..4).prop_map(|texts| NonEmpty::new(texts).unwrap());
    prop_oneof![
        6 => set.clone().prop_map(Operation::Set),
        2 => set.prop_map(Operation::SetOnce),
        2 => Just(Operation::Unset),
        2 => number.prop_map(Operation::Increment),
        2 => elements().prop_map(Operation::AddToSet),
        2 => elements().prop_map(Operation::RemoveFromSet),
    ]
    // Mostly operations that fit the type, now and then one that does not.
    .prop_filter("rarely the wrong kind", move |operation| match operation {
        Operation::Increment(_) => matches!(value_type, ValueType::Int64 | ValueType::Double),
        Operation::AddToSet(_) | Operation::RemoveFromSet(_) => value_type == ValueType::StringSet,
        Operation::Set(_) | Operation::SetOnce(_) | Operation::Unset => true,
    })
    .boxed()
}

fn change() -> BoxedStrategy<Change> {
    let fitting = declared().prop_flat_map(|(property, value_type)| {
        operation(value_type).prop_map(move |operation| Change {
            property: property.clone(),
            operation,
        })
    });
    let any_type = || select(ValueType::ALL.to_vec()).prop_flat_map(operation);
    let new_property =
        (select(vec!["new", "other"]), any_type()).prop_map(|(property, operation)| Change {
            property: name(property),
            operation,
        });
    let misfit = (declared(), any_type()).prop_map(|((property, _), operation)| Change {
        property,
        operation,
    });
    prop_oneof![40 => fitting, 3 => new_property, 1 => misfit].boxed()
}

fn update() -> BoxedStrategy<UserUpdate> {
    let plain =
        (user(), prop::collection::vec(change(), 0..4)).prop_map(|(user, changes)| UserUpdate {
            user,
            value_time: None,
            changes,
            events: Vec::new(),
        });
    let timed_change = declared().prop_flat_map(|(property, value_type)| {
        prop_oneof![4 => value(value_type).prop_map(Operation::Set), 1 => Just(Operation::Unset)]
            .prop_map(move |operation| Change {
                property: property.clone(),
                operation,
            })
    });
    let time = (0..6_i64).prop_map(|time| Timestamp::from_micros(time).unwrap());
    let timed = (user(), time, prop::collection::vec(timed_change, 1..3)).prop_map(
        |(user, time, changes)| UserUpdate {
            user,
            value_time: Some(time),
            changes,
            events: Vec::new(),
        },
    );
    prop_oneof![3 => plain, 1 => timed].boxed()
}

pub(crate) fn command() -> BoxedStrategy<Action> {
    let write = prop::collection::vec(update(), 1..8)
        .prop_map(|updates| Action::Write(NonEmpty::new(updates).unwrap()));
    let redeclare = value_type().prop_map(|value_type| {
        Action::CreateProperty(PropertyDeclaration {
            name: name("new"),
            value_type,
            case_insensitive: false,
        })
    });
    prop_oneof![
        30 => write,
        4 => user().prop_map(Action::Erase),
        1 => redeclare,
        1 => select(vec!["new", "other"]).prop_map(|property| Action::DeleteProperty(name(property))),
        6 => change_list(),
    ]
    .boxed()
}

/// The names of all static lists there can be.
pub(crate) fn list_names() -> Vec<SegmentName> {
    let names = ["asked", "vip", "it's"];
    names.map(|name| SegmentName::new(name).unwrap()).into()
}

pub(crate) fn list_name() -> impl Strategy<Value = SegmentName> {
    select(list_names())
}

/// The creation of a static list.
pub(crate) fn create_list(name: SegmentName, members: FirstMembers) -> Action {
    let declaration = ListDeclaration {
        name,
        description: text("who was asked"),
        labels: Labels::new(),
        members,
    };
    Action::CreateList(Box::new(declaration), now())
}

fn change_list() -> BoxedStrategy<Action> {
    let users = || prop::collection::vec(user(), 0..12);
    let some = || prop::collection::vec(user(), 1..12).prop_map(|u| NonEmpty::new(u).unwrap());
    prop_oneof![
        3 => (list_name(), users())
            .prop_map(|(name, users)| create_list(name, FirstMembers::Users(users))),
        6 => (list_name(), some()).prop_map(|(name, users)| Action::AddMembers(name, users)),
        4 => (list_name(), some()).prop_map(|(name, users)| Action::RemoveMembers(name, users)),
        1 => list_name().prop_map(|name| Action::DeleteSegment(name, None)),
    ]
    .boxed()
}

/// Commands with events, received one after another over days and months.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) actions: Vec<Action>,
    /// When the last one was received.
    pub(crate) end: Timestamp,
}

impl History {
    /// Only what writes and erases.
    pub(crate) fn without_declarations(mut self) -> Self {
        self.actions
            .retain(|action| matches!(action, Action::Write(_) | Action::Erase(_)));
        self
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn declare_events() -> BoxedStrategy<Action> {
    let declaration = || bytes(3).prop_map(|bytes| declaration(&mut Choices::new(&bytes)));
    prop_oneof![
        1 => declaration().prop_map(Action::CreateEvent),
        3 => declaration().prop_map(Action::UpdateEvent),
        1 => declaration().prop_map(|declaration| Action::DeleteEvent(declaration.name)),
    ]
    .boxed()
}

pub(crate) fn history(steps: std::ops::Range<usize>) -> BoxedStrategy<History> {
    let advance = prop_oneof![
        20 => Just(0),
        20 => Just(HOUR),
        20 => Just(DAY),
        8 => Just(3 * DAY - 1),
        4 => Just(20 * DAY),
        1 => Just(401 * DAY),
    ];
    let action = prop_oneof![12 => command(), 1 => declare_events()];
    prop::collection::vec((advance, action, bytes(64)), steps)
        .prop_map(|steps| {
            let mut end: Timestamp = "2025-10-24".parse().unwrap();
            let mut actions = Vec::new();
            for (advance, action, bytes) in steps {
                end = end.saturating_add(Span::from_micros(advance).unwrap());
                let mut choices = Choices::new(&bytes);
                actions.push(match action {
                    Action::Write(updates) => {
                        let with_events = updates.iter().map(|update| UserUpdate {
                            // Many events of few users.
                            user: if choices.yes() {
                                UserId::new(format!("user-{}", choices.below(4))).unwrap()
                            } else {
                                update.user.clone()
                            },
                            events: events(&mut choices, end),
                            ..update.clone()
                        });
                        Action::Write(NonEmpty::new(with_events.collect()).unwrap())
                    }
                    Action::Erase(_)
                    | Action::CreateProperty(_)
                    | Action::DeleteProperty(_)
                    | Action::CreateEvent(_)
                    | Action::UpdateEvent(_)
                    | Action::DeleteEvent(_)
                    | Action::CreateSegment(..)
                    | Action::UpdateSegment(..)
                    | Action::DeleteSegment(..)
                    | Action::CreateList(..)
                    | Action::AddMembers(..)
                    | Action::RemoveMembers(..) => action,
                });
            }
            History { actions, end }
        })
        .boxed()
}

/// Declarations of all events there can be, never to be dropped.
pub(crate) fn lasting_events() -> Vec<Action> {
    let declare = |name| {
        Action::CreateEvent(EventDeclaration {
            name,
            retention: Span::LONGEST,
        })
    };
    event_names().into_iter().map(declare).collect()
}

/// An instant to ask as of: where something begins or ends, or a time of day among the events.
pub(crate) fn as_of() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        2 => Just(now()),
        2 => bytes(3).prop_map(|bytes| edge(&mut Choices::new(&bytes))),
        1 => (0..3_600_i64).prop_map(|hours| {
            now().saturating_add(Span::from_micros((hours - 3_000) * HOUR + 1).unwrap())
        }),
    ]
}

/// A test of events, the edges of which are often where something else begins or ends.
pub(crate) fn event_test() -> BoxedStrategy<Expression> {
    bytes(24)
        .prop_map(|bytes| {
            let mut choices = Choices::new(&bytes);
            let around = [now(), edge(&mut choices)];
            let predicate = event_predicate(&mut choices, &event_names(), &around);
            Expression::Event(Box::new(predicate))
        })
        .boxed()
}

fn value_type() -> impl Strategy<Value = ValueType> {
    select(ValueType::ALL.to_vec())
}

fn predicate() -> BoxedStrategy<Expression> {
    declared()
        .prop_flat_map(|(property, value_type)| {
            test(value_type).prop_map(move |test| {
                Expression::Predicate(Predicate {
                    property: property.clone(),
                    test,
                })
            })
        })
        .boxed()
}

fn test(value_type: ValueType) -> BoxedStrategy<Test> {
    let is_set = any::<bool>().prop_map(|negated| Test::IsSet { negated });
    if value_type == ValueType::StringSet {
        let quantifier = select(vec![Quantifier::Any, Quantifier::All, Quantifier::None]);
        let has = (quantifier, prop::collection::vec(texts(), 1..4)).prop_map(
            |(quantifier, elements)| Test::Has {
                quantifier,
                elements: NonEmpty::new(elements).unwrap(),
            },
        );
        return prop_oneof![5 => has, 1 => is_set].boxed();
    }
    let comparisons = if value_type.is_ordered() {
        vec![
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ]
    } else {
        vec![Comparison::Equal, Comparison::NotEqual]
    };
    let operand = if value_type == ValueType::Timestamp {
        let day = 86_400_000_000_i64;
        let spans = select(vec![0, -30 * day, -1, 1, day])
            .prop_map(|micros| Operand::AsOfPlus(Span::from_micros(micros).unwrap()));
        prop_oneof![value(value_type).prop_map(Operand::Value), spans].boxed()
    } else if value_type == ValueType::Double {
        let whole = select(vec![0, 1, -3]).prop_map(|number| Operand::Value(Value::Int64(number)));
        prop_oneof![value(value_type).prop_map(Operand::Value), whole].boxed()
    } else {
        value(value_type).prop_map(Operand::Value).boxed()
    };
    let compare = (select(comparisons), operand).prop_map(|(comparison, operand)| Test::Compare {
        comparison,
        operand,
    });
    let is_in = (
        prop::collection::vec(value(value_type), 1..4),
        any::<bool>(),
    )
        .prop_map(|(values, negated)| Test::In {
            values: NonEmpty::new(values).unwrap(),
            negated,
        });
    prop_oneof![5 => compare, 3 => is_in, 1 => is_set].boxed()
}

fn bucket_test() -> impl Strategy<Value = Expression> {
    prop::collection::vec(any::<u8>(), 0..16)
        .prop_map(|bytes| Expression::Bucket(Box::new(bucket(&mut Choices::new(&bytes)))))
}

/// An expression whose properties exist, with literals of their types.
pub(crate) fn expression() -> BoxedStrategy<Expression> {
    let leaf = prop_oneof![20 => predicate(), 2 => bucket_test(), 1 => Just(Expression::Everyone)];
    combined(leaf.boxed())
}

/// An expression in which static lists are named.
pub(crate) fn with_lists() -> BoxedStrategy<Expression> {
    let named = list_name().prop_map(Expression::Segment);
    combined(prop_oneof![8 => predicate(), 12 => named].boxed())
}

/// An expression of properties that exist and of events that may exist.
pub(crate) fn mixed() -> BoxedStrategy<Expression> {
    let leaf = prop_oneof![
        8 => predicate(),
        16 => event_test(),
        2 => bucket_test(),
        1 => Just(Expression::Everyone),
    ];
    combined(leaf.boxed())
}

fn combined(leaf: BoxedStrategy<Expression>) -> BoxedStrategy<Expression> {
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = || {
            prop::collection::vec(inner.clone(), 2..5).prop_map(|all| NonEmpty::new(all).unwrap())
        };
        prop_oneof![
            several().prop_map(Expression::And),
            several().prop_map(Expression::Or),
            inner.clone().prop_map(|one| Expression::Not(Box::new(one))),
            (several(), 1..5_u32).prop_map(|(of, count)| Expression::AtLeast {
                count: NonZeroU32::new(count.min(of.len() as u32)).unwrap(),
                of,
            }),
        ]
    })
    .boxed()
}
