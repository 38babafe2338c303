//! How many elements a message has, counted on its bytes before any of them is made.
//!
//! A message of 4 MiB can hold two million empty elements of two bytes each, which take forty times
//! as much memory once they are decoded, only to be refused for their number. Counting them takes a
//! walk over the bytes and no memory.
//!
//! Invariants: nothing is refused here that would not be refused once it was decoded, but for too many
//! values of all lists together, which only a message that is looked at can have; bytes that are no
//! message are left to whoever decodes them; the walk goes no deeper than an expression may.

use std::any::TypeId;

use super::convert::Path;
use super::error::ApiError;
use crate::model::{Limit, limit};
use crate::proto::{
    AddSegmentMembersRequest, BatchCheckRequest, BatchCountRequest, CheckRequest,
    CreateSegmentRequest, RemoveSegmentMembersRequest, UpdateSegmentRequest, WriteRequest,
    WriteStreamRequest,
};

/// What is counted of a message.
pub(super) struct Shape(&'static [Field]);

/// A field of which something is counted.
struct Field {
    number: u32,
    name: &'static str,
    counted: Option<Counted>,
    inner: Inner,
}

/// What is counted over a whole message.
#[derive(Clone, Copy)]
enum Counted {
    Updates,
    Events,
    Selections,
    Users,
    Members,
    History,
    Values,
}

const COUNTED: [Limit; 7] = [
    limit::UPDATES_PER_REQUEST,
    limit::EVENTS_PER_REQUEST,
    limit::SELECTIONS_PER_REQUEST,
    limit::USERS_PER_REQUEST,
    limit::MEMBERS_PER_REQUEST,
    limit::SEGMENT_HISTORY,
    limit::VALUES_PER_REQUEST,
];

/// What is in a field.
enum Inner {
    /// Nothing that is counted.
    Leaf,
    Message(&'static Shape),
    /// A message whose expressions are counted by themselves.
    Selection(&'static Shape),
    Expression,
}

const fn field(number: u32, name: &'static str, counted: Option<Counted>, inner: Inner) -> Field {
    Field {
        number,
        name,
        counted,
        inner,
    }
}

// Of which update they are is not known, so that the field is that of all updates, as in other errors.
static EVENTS: Shape = Shape(&[field(9, "updates", Some(Counted::Events), Inner::Leaf)]);
static WRITE: Shape = Shape(&[field(
    2,
    "updates",
    Some(Counted::Updates),
    Inner::Message(&EVENTS),
)]);
static WRITE_STREAM: Shape = Shape(&[field(
    3,
    "updates",
    Some(Counted::Updates),
    Inner::Message(&EVENTS),
)]);
static TREE: Shape = Shape(&[field(0, "", None, Inner::Expression)]);
static SELECTION: Shape = Shape(&[field(2, "expression", None, Inner::Expression)]);
static BATCH_COUNT: Shape = Shape(&[field(
    2,
    "selections",
    Some(Counted::Selections),
    Inner::Selection(&SELECTION),
)]);
static CHECK: Shape = Shape(&[
    field(3, "filters", Some(Counted::Selections), Inner::Leaf),
    field(
        4,
        "expressions",
        Some(Counted::Selections),
        Inner::Selection(&TREE),
    ),
    field(7, "segments", Some(Counted::Selections), Inner::Leaf),
]);
static BATCH_CHECK: Shape = Shape(&[
    field(2, "user_ids", Some(Counted::Users), Inner::Leaf),
    field(3, "filters", Some(Counted::Selections), Inner::Leaf),
    field(
        4,
        "expressions",
        Some(Counted::Selections),
        Inner::Selection(&TREE),
    ),
    field(7, "segments", Some(Counted::Selections), Inner::Leaf),
]);
static SEGMENT: Shape = Shape(&[
    field(3, "expression", None, Inner::Expression),
    field(10, "history", Some(Counted::History), Inner::Leaf),
]);
static CREATE_SEGMENT: Shape = Shape(&[
    field(2, "segment", None, Inner::Message(&SEGMENT)),
    field(3, "user_ids", Some(Counted::Members), Inner::Leaf),
    field(4, "freeze", None, Inner::Selection(&SELECTION)),
]);
static UPDATE_SEGMENT: Shape = Shape(&[field(2, "segment", None, Inner::Message(&SEGMENT))]);
static MEMBERS: Shape = Shape(&[field(3, "user_ids", Some(Counted::Members), Inner::Leaf)]);

/// What is counted of messages of a type.
pub(super) fn shape_of<T: 'static>() -> Option<&'static Shape> {
    let given = TypeId::of::<T>();
    let shapes = [
        (TypeId::of::<WriteRequest>(), &WRITE),
        (TypeId::of::<WriteStreamRequest>(), &WRITE_STREAM),
        (TypeId::of::<BatchCountRequest>(), &BATCH_COUNT),
        (TypeId::of::<CheckRequest>(), &CHECK),
        (TypeId::of::<BatchCheckRequest>(), &BATCH_CHECK),
        (TypeId::of::<CreateSegmentRequest>(), &CREATE_SEGMENT),
        (TypeId::of::<UpdateSegmentRequest>(), &UPDATE_SEGMENT),
        (TypeId::of::<AddSegmentMembersRequest>(), &MEMBERS),
        (TypeId::of::<RemoveSegmentMembersRequest>(), &MEMBERS),
    ];
    let found = shapes.into_iter().find(|(known, _)| *known == given);
    found.map(|(_, shape)| shape)
}

impl Shape {
    /// Refuses a message with more elements than are allowed.
    ///
    /// # Errors
    /// The limit that is exceeded, and the field.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), ApiError> {
        let mut counts = Counts::default();
        counts.message(self, message)?;
        for (limit, (count, name)) in COUNTED.iter().zip(counts.totals) {
            limit
                .check(count)
                .map_err(|exceeded| ApiError::limit(&Path::Field(&Path::Root, name), &exceeded))?;
        }
        Ok(())
    }
}

/// The fields of an expression's messages that lead to others.
mod number {
    pub(super) const PREDICATE: u32 = 1;
    pub(super) const ALL_OF: u32 = 2;
    pub(super) const ANY_OF: u32 = 3;
    pub(super) const NEGATION: u32 = 4;
    pub(super) const AT_LEAST: u32 = 5;
    pub(super) const OF_LIST: u32 = 1;
    pub(super) const OF_AT_LEAST: u32 = 2;
    pub(super) const VALUES: u32 = 3;
}

#[derive(Default)]
struct Counts {
    /// Of each of [`COUNTED`]: how many, and in which field the last one was.
    totals: [(u64, &'static str); COUNTED.len()],
    /// Of the expression at hand.
    tree: Tree,
}

#[derive(Clone, Copy, Default)]
struct Tree {
    nodes: u64,
    /// The values of one list.
    values: u64,
}

impl Counts {
    fn message(&mut self, shape: &Shape, message: &[u8]) -> Result<(), ApiError> {
        if let [
            Field {
                number: 0, name, ..
            },
        ] = shape.0
        {
            // The message is itself what is looked for.
            return self.expression(message, 1, name);
        }
        for (number, content) in Fields(message) {
            let field = shape.0.iter().find(|field| field.number == number);
            let Some(field) = field else {
                continue;
            };
            if let Some(counted) = field.counted
                && let Some(total) = self.totals.get_mut(counted as usize)
            {
                *total = (total.0 + 1, field.name);
            }
            match field.inner {
                Inner::Leaf => {}
                Inner::Message(shape) => self.message(shape, content)?,
                Inner::Selection(shape) => {
                    self.tree = Tree::default();
                    let outcome = self.message(shape, content);
                    outcome.map_err(|error| match field.counted {
                        Some(counted) => {
                            let total = self.totals.get(counted as usize);
                            let position = total.map_or(0, |total| total.0.saturating_sub(1));
                            error.at(format!("{}[{position}]", field.name))
                        }
                        None => error.at(field.name),
                    })?;
                }
                Inner::Expression => self.expression(content, 1, field.name)?,
            }
        }
        Ok(())
    }

    fn expression(
        &mut self,
        message: &[u8],
        level: u64,
        name: &'static str,
    ) -> Result<(), ApiError> {
        let over = |exceeded| ApiError::limit(&Path::Field(&Path::Root, name), &exceeded);
        limit::EXPRESSION_DEPTH.check(level).map_err(over)?;
        self.tree.nodes += 1;
        limit::EXPRESSION_NODES
            .check(self.tree.nodes)
            .map_err(over)?;
        for (number, content) in Fields(message) {
            match number {
                number::PREDICATE => {
                    let values = Fields(content).filter(|(number, _)| *number == number::VALUES);
                    let values = values.count() as u64;
                    self.tree.values += values;
                    if let Some(total) = self.totals.get_mut(Counted::Values as usize) {
                        *total = (total.0 + values, name);
                    }
                    limit::LIST_VALUES.check(self.tree.values).map_err(over)?;
                }
                // What comes twice is one message with the contents of both, so that the values of all
                // of them are those of one list.
                number::NEGATION => self.expression(content, level + 1, name)?,
                number::ALL_OF | number::ANY_OF => {
                    self.operands(content, number::OF_LIST, level, name)?;
                }
                number::AT_LEAST => self.operands(content, number::OF_AT_LEAST, level, name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn operands(
        &mut self,
        message: &[u8],
        operands: u32,
        level: u64,
        name: &'static str,
    ) -> Result<(), ApiError> {
        for (_, content) in Fields(message).filter(|(number, _)| *number == operands) {
            let values = std::mem::take(&mut self.tree.values);
            self.expression(content, level + 1, name)?;
            self.tree.values = values;
        }
        Ok(())
    }
}

/// The fields of a message that have contents, with them. Ends where the bytes are no message.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn tag(&mut self) -> Option<(u32, u8)> {
        let tag = self.varint()?;
        Some((u32::try_from(tag >> 3).ok()?, (tag & 7) as u8))
    }
}

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;
const GROUP: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED_32: u8 = 5;

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // No field of ours is a group, but those of others are passed over.
        let mut groups = 0_u32;
        loop {
            let (number, kind) = self.tag()?;
            match kind {
                VARINT => {
                    self.varint()?;
                }
                FIXED_64 => self.skip(8)?,
                FIXED_32 => self.skip(4)?,
                GROUP => groups += 1,
                GROUP_END => groups = groups.checked_sub(1)?,
                LENGTH => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    let content = self.0.get(..length)?;
                    self.skip(length)?;
                    if groups == 0 {
                        return Some((number, content));
                    }
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{
        self, Event, Expression, ExpressionList, Predicate, Segment, Selection, UserUpdate, Value,
        expression, segment, selection,
    };

    fn check<T: Message + 'static>(message: &T) -> Result<(), (String, String)> {
        let shape = shape_of::<T>().unwrap();
        shape.check(&message.encode_to_vec()).map_err(|error| {
            let (_, limit) = error.facts.first().unwrap().clone();
            (limit, error.field.unwrap())
        })
    }

    fn over(limit: Limit, field: &str) -> Result<(), (String, String)> {
        Err((limit.name.to_owned(), field.to_owned()))
    }

    fn write(updates: usize, events: usize) -> WriteRequest {
        let update = UserUpdate {
            events: vec![Event::default(); events],
            ..UserUpdate::default()
        };
        WriteRequest {
            updates: vec![update; updates],
            ..WriteRequest::default()
        }
    }

    #[test]
    fn updates_and_events_are_counted() {
        assert_eq!(check(&write(10_000, 1)), Ok(()));
        let expected = over(limit::UPDATES_PER_REQUEST, "updates");
        assert_eq!(check(&write(10_001, 0)), expected);
        let expected = over(limit::EVENTS_PER_REQUEST, "updates");
        assert_eq!(check(&write(2, 5_001)), expected);
        let batch = WriteStreamRequest {
            updates: write(10_001, 0).updates,
            ..WriteStreamRequest::default()
        };
        let expected = over(limit::UPDATES_PER_REQUEST, "updates");
        assert_eq!(check(&batch), expected);
    }

    #[test]
    fn users_and_selections_are_counted() {
        let batch = |users, filters, expressions, segments| BatchCheckRequest {
            user_ids: vec![String::new(); users],
            filters: vec![String::new(); filters],
            expressions: vec![Expression::default(); expressions],
            segments: vec![String::new(); segments],
            ..BatchCheckRequest::default()
        };
        assert_eq!(check(&batch(10_000, 400, 300, 300)), Ok(()));
        let expected = over(limit::USERS_PER_REQUEST, "user_ids");
        assert_eq!(check(&batch(10_001, 1, 0, 0)), expected);
        let expected = over(limit::SELECTIONS_PER_REQUEST, "segments");
        assert_eq!(check(&batch(1, 400, 300, 301)), expected);
        let count = BatchCountRequest {
            selections: vec![Selection::default(); 1_001],
            ..BatchCountRequest::default()
        };
        let expected = over(limit::SELECTIONS_PER_REQUEST, "selections");
        assert_eq!(check(&count), expected);
        let members = AddSegmentMembersRequest {
            user_ids: vec![String::new(); 10_001],
            ..AddSegmentMembersRequest::default()
        };
        let expected = over(limit::MEMBERS_PER_REQUEST, "user_ids");
        assert_eq!(check(&members), expected);
    }

    fn of(kind: expression::Kind) -> Expression {
        Expression { kind: Some(kind) }
    }

    fn any_of(expressions: Vec<Expression>) -> Expression {
        of(expression::Kind::AnyOf(ExpressionList { expressions }))
    }

    fn listed(values: usize) -> Expression {
        of(expression::Kind::Predicate(Predicate {
            values: vec![Value::default(); values],
            ..Predicate::default()
        }))
    }

    fn counting(expressions: Vec<Expression>) -> BatchCountRequest {
        let selection = |expression| Selection {
            selection: Some(selection::Selection::Expression(expression)),
        };
        BatchCountRequest {
            selections: expressions.into_iter().map(selection).collect(),
            ..BatchCountRequest::default()
        }
    }

    #[test]
    fn nodes_and_levels_and_values_are_those_of_one_expression() {
        let wide = |nodes: usize| any_of(vec![Expression::default(); nodes - 1]);
        assert_eq!(check(&counting(vec![wide(256); 3])), Ok(()));
        let expected = over(limit::EXPRESSION_NODES, "selections[1]");
        assert_eq!(check(&counting(vec![wide(256), wide(257)])), expected);
        let request = CheckRequest {
            expressions: vec![wide(256), wide(256), wide(257)],
            ..CheckRequest::default()
        };
        let expected = over(limit::EXPRESSION_NODES, "expressions[2]");
        assert_eq!(check(&request), expected);

        let deep = |levels: usize| {
            (1..levels).fold(Expression::default(), |inner, _| {
                of(expression::Kind::Negation(Box::new(inner)))
            })
        };
        assert_eq!(check(&counting(vec![deep(16)])), Ok(()));
        let expected = over(limit::EXPRESSION_DEPTH, "selections[0]");
        assert_eq!(check(&counting(vec![deep(17)])), expected);

        let lists = any_of(vec![listed(10_000); 3]);
        assert_eq!(check(&counting(vec![lists])), Ok(()));
        let expected = over(limit::LIST_VALUES, "selections[0]");
        let lists = any_of(vec![listed(1), any_of(vec![listed(10_001)])]);
        assert_eq!(check(&counting(vec![lists])), expected);
        let many = vec![any_of(vec![listed(10_000); 10]); 5];
        assert_eq!(check(&counting(many.clone())), Ok(()));
        let more = many.into_iter().chain([listed(1)]).collect();
        let expected = over(limit::VALUES_PER_REQUEST, "expression");
        assert_eq!(check(&counting(more)), expected);
        let segment = CreateSegmentRequest {
            segment: Some(Segment {
                definition: Some(segment::Definition::Expression(wide(257))),
                ..Segment::default()
            }),
            ..CreateSegmentRequest::default()
        };
        let expected = over(limit::EXPRESSION_NODES, "expression");
        assert_eq!(check(&segment), expected);
    }

    /// What comes twice is merged: the way to get more into one message than each part seems to have.
    #[test]
    fn parts_of_one_message_are_counted_together() {
        let mut twice = Vec::new();
        for _ in 0..2 {
            twice.extend(of(expression::Kind::Negation(Box::new(listed(6_000)))).encode_to_vec());
        }
        let mut bytes = vec![(2 << 3) | LENGTH];
        prost::encoding::encode_varint(twice.len() as u64, &mut bytes);
        bytes.extend(&twice);
        let merged = Selection::decode(bytes.as_slice()).unwrap();
        let both = of(expression::Kind::Negation(Box::new(listed(12_000))));
        assert_eq!(
            merged.selection,
            Some(selection::Selection::Expression(both))
        );
        let mut request = vec![(2 << 3) | LENGTH];
        prost::encoding::encode_varint(bytes.len() as u64, &mut request);
        request.extend(&bytes);
        let error = BATCH_COUNT.check(&request).unwrap_err();
        assert_eq!(error.facts[0].1, limit::LIST_VALUES.name);
    }

    #[test]
    fn groups_hide_nothing_and_garbage_ends_the_count() {
        // A group that is the field 99.
        let mut bytes = vec![0x98 | GROUP, 6];
        assert_eq!(Fields(&bytes).count(), 0);
        bytes.extend([(1 << 3) | LENGTH, 1, b'x']);
        bytes.extend([0x98 | GROUP_END, 6]);
        bytes.extend([(2 << 3) | LENGTH, 0]);
        let found: Vec<u32> = Fields(&bytes).map(|(number, _)| number).collect();
        assert_eq!(found, [2]);
        bytes.extend([(2 << 3) | LENGTH, 100, 1]);
        assert_eq!(Fields(&bytes).count(), 1);

        let mut bytes = write(10_001, 0).encode_to_vec();
        bytes.push(0xff);
        assert!(WriteRequest::decode(bytes.as_slice()).is_err());
        assert!(WRITE.check(&bytes).is_err());
        for seed in 0..2_000 {
            let bytes = crate::testing::generate::bytes(seed, 300);
            let decoded = BatchCountRequest::decode(bytes.as_slice());
            if decoded.is_ok() {
                assert!(BATCH_COUNT.check(&bytes).is_ok());
            }
        }
    }

    /// The numbers of the fields are those of the protocol.
    #[test]
    fn shapes_are_those_of_the_messages() {
        fn first<T: Message>(message: &T) -> u32 {
            Fields(&message.encode_to_vec()).next().unwrap().0
        }
        let predicate = Predicate {
            values: vec![Value::default()],
            ..Predicate::default()
        };
        assert_eq!(first(&predicate), number::VALUES);
        let at_least = proto::AtLeast {
            expressions: vec![Expression::default()],
            ..proto::AtLeast::default()
        };
        assert_eq!(first(&at_least), number::OF_AT_LEAST);
        for (kind, expected) in [
            (expression::Kind::Predicate(predicate), number::PREDICATE),
            (
                expression::Kind::AllOf(ExpressionList::default()),
                number::ALL_OF,
            ),
            (expression::Kind::AtLeast(at_least), number::AT_LEAST),
        ] {
            assert_eq!(first(&of(kind)), expected);
        }
        let members = RemoveSegmentMembersRequest {
            user_ids: vec![String::new(); 10_001],
            ..RemoveSegmentMembersRequest::default()
        };
        assert!(check(&members).is_err());
        let create = CreateSegmentRequest {
            user_ids: members.user_ids,
            ..CreateSegmentRequest::default()
        };
        assert!(check(&create).is_err());
        let update = UpdateSegmentRequest {
            segment: Some(Segment {
                history: vec![proto::SegmentDefinition::default(); 101],
                ..Segment::default()
            }),
            ..UpdateSegmentRequest::default()
        };
        assert_eq!(check(&update), over(limit::SEGMENT_HISTORY, "history"));
    }
}
