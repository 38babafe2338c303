//! How many elements a message has, counted on its bytes before any of them is made.
//!
//! A message of 4 MiB can hold two million empty elements of two bytes each, which take many times
//! as much memory once they are decoded, only to be refused for their number. Counting them takes a
//! walk over the bytes and next to no memory.
//!
//! Invariants: no more is made of a message than is allowed, in however many parts it is sent: what
//! comes again of a field that is not repeated is counted with what came before, as decoding merges
//! it. Bytes that are no message are left to whoever decodes them; the walk goes no deeper than an
//! expression may.
//!
//! What is refused here would be refused once it was decoded, but for two things: too many values of
//! all lists together, which only a message that is looked at can have; and what is overwritten in
//! decoding, since the last member of a `oneof` that was set more than once counts there, and all of
//! them here. No client of ours sends such a message.

use std::any::TypeId;

use super::convert::Path;
use super::error::ApiError;
use crate::model::{Limit, limit};
use crate::proto::{
    AddSegmentMembersRequest, BatchCheckRequest, BatchCountRequest, BreakdownRequest, CheckRequest,
    CompareRequest, CountRequest, CreateSegmentRequest, ExplainRequest, ExportMembersRequest,
    ListMembersRequest, OverlapRequest, PreviewSegmentRequest, RemoveSegmentMembersRequest,
    StreamMembersRequest, SummarizeRequest, UpdateSegmentRequest, WriteRequest, WriteStreamRequest,
};

/// What is counted of a message.
pub(super) struct Shape(&'static [Field]);

/// A field of which something is counted.
struct Field {
    number: u32,
    name: &'static str,
    /// What each of a repeated field is counted as.
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
    /// A message that errors name with its place.
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
static SELECTION: Shape = Shape(&[field(2, "expression", None, Inner::Expression)]);
static SELECTIONS: Shape = Shape(&[field(
    2,
    "selections",
    Some(Counted::Selections),
    Inner::Selection(&SELECTION),
)]);
static ONE_SELECTION: Shape = Shape(&[field(3, "expression", None, Inner::Expression)]);
static COMPARE: Shape = Shape(&[
    field(3, "expression", None, Inner::Expression),
    field(5, "against", None, Inner::Selection(&SELECTION)),
]);
static PREVIEW_SEGMENT: Shape = Shape(&[field(4, "expression", None, Inner::Expression)]);
static CHECK: Shape = Shape(&[
    field(3, "filters", Some(Counted::Selections), Inner::Leaf),
    field(
        4,
        "expressions",
        Some(Counted::Selections),
        Inner::Expression,
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
        Inner::Expression,
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
        (TypeId::of::<CountRequest>(), &ONE_SELECTION),
        (TypeId::of::<ListMembersRequest>(), &ONE_SELECTION),
        (TypeId::of::<StreamMembersRequest>(), &ONE_SELECTION),
        (TypeId::of::<BreakdownRequest>(), &ONE_SELECTION),
        (TypeId::of::<SummarizeRequest>(), &ONE_SELECTION),
        (TypeId::of::<ExplainRequest>(), &ONE_SELECTION),
        (TypeId::of::<CompareRequest>(), &COMPARE),
        (TypeId::of::<BatchCountRequest>(), &SELECTIONS),
        (TypeId::of::<OverlapRequest>(), &SELECTIONS),
        (TypeId::of::<ExportMembersRequest>(), &SELECTIONS),
        (TypeId::of::<CheckRequest>(), &CHECK),
        (TypeId::of::<BatchCheckRequest>(), &BATCH_CHECK),
        (TypeId::of::<CreateSegmentRequest>(), &CREATE_SEGMENT),
        (TypeId::of::<UpdateSegmentRequest>(), &UPDATE_SEGMENT),
        (TypeId::of::<PreviewSegmentRequest>(), &PREVIEW_SEGMENT),
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
        counts.request(self, message)?;
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
    /// Counts a whole message. The expressions in a field of it are counted together, unless the field
    /// is repeated: each of those has a tree of its own.
    fn request(&mut self, shape: &Shape, message: &[u8]) -> Result<(), ApiError> {
        let mut trees = vec![Tree::default(); shape.0.len()];
        for (number, content) in Fields(message) {
            let fields = shape.0.iter().zip(&mut trees);
            let Some((field, tree)) = fields.into_iter().find(|(field, _)| field.number == number)
            else {
                continue;
            };
            self.tree = match field.counted {
                Some(_) => Tree::default(),
                None => *tree,
            };
            self.field(field, content)?;
            *tree = self.tree;
        }
        Ok(())
    }

    fn message(&mut self, shape: &Shape, message: &[u8]) -> Result<(), ApiError> {
        for (number, content) in Fields(message) {
            if let Some(field) = shape.0.iter().find(|field| field.number == number) {
                self.field(field, content)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, content: &[u8]) -> Result<(), ApiError> {
        if let Some(counted) = field.counted
            && let Some(total) = self.totals.get_mut(counted as usize)
        {
            *total = (total.0 + 1, field.name);
        }
        let at_place = |counts: &Self, error: ApiError| match field.counted {
            Some(counted) => {
                let total = counts.totals.get(counted as usize);
                let position = total.map_or(0, |total| total.0.saturating_sub(1));
                error.at(format!("{}[{position}]", field.name))
            }
            None => error.at(field.name),
        };
        match field.inner {
            Inner::Leaf => Ok(()),
            Inner::Message(shape) => self.message(shape, content),
            Inner::Selection(shape) => {
                let outcome = self.message(shape, content);
                outcome.map_err(|error| at_place(self, error))
            }
            Inner::Expression => {
                let outcome = self.expression(content, 1, field.name);
                outcome.map_err(|error| at_place(self, error))
            }
        }
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
        of(expression::Kind::Predicate(Box::new(Predicate {
            values: vec![Value::default(); values],
            ..Predicate::default()
        })))
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
        let error = SELECTIONS.check(&request).unwrap_err();
        assert_eq!(error.facts[0].1, limit::LIST_VALUES.name);
    }

    fn nested(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(number << 3) | LENGTH];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend(content);
        bytes
    }

    /// Each occurrence of a field that is not repeated adds to what decoding makes of it.
    #[test]
    fn a_field_that_comes_again_is_counted_with_what_came_before() {
        let nodes = |count: usize| any_of(vec![Expression::default(); count - 1]).encode_to_vec();
        let refused = |shape: &Shape, bytes: &[u8]| {
            let error = shape.check(bytes).unwrap_err();
            (error.facts[0].1.clone(), error.field.unwrap())
        };
        let expected = |field: &str| (limit::EXPRESSION_NODES.name.to_owned(), field.to_owned());
        let freeze = nested(4, &nested(2, &nodes(200)));
        let segment = nested(2, &nested(3, &nodes(200)));
        let shape = &CREATE_SEGMENT;
        let both = [freeze.clone(), segment.clone()].concat();
        assert!(shape.check(&both).is_ok(), "each has a tree of its own");
        let again = [both.clone(), freeze.clone()].concat();
        assert_eq!(refused(shape, &again), expected("freeze"));
        let decoded = CreateSegmentRequest::decode(again.as_slice()).unwrap();
        let merged = decoded.freeze.unwrap().encode_to_vec();
        assert_eq!(merged.len(), nested(2, &nested(3, &[0; 2 * 398])).len());
        let again = [both, segment.clone()].concat();
        assert_eq!(refused(shape, &again), expected("expression"));
        assert_eq!(
            refused(&UPDATE_SEGMENT, &segment.repeat(2)),
            expected("expression")
        );

        let expression = nested(3, &nodes(200));
        let against = nested(5, &nested(2, &nodes(200)));
        let both = [expression.clone(), against.clone()].concat();
        assert!(COMPARE.check(&both).is_ok());
        let again = [both.clone(), against].concat();
        assert_eq!(refused(&COMPARE, &again), expected("against"));
        let again = [both, expression.clone()].concat();
        assert_eq!(refused(&COMPARE, &again), expected("expression"));
        assert_eq!(
            refused(&ONE_SELECTION, &expression.repeat(2)),
            expected("expression")
        );
        assert_eq!(
            refused(&PREVIEW_SEGMENT, &nested(4, &nodes(200)).repeat(2)),
            expected("expression")
        );
        let twice = nested(2, &nested(2, &nodes(200)).repeat(2));
        assert_eq!(refused(&SELECTIONS, &twice), expected("selections[0]"));
    }

    /// The one thing besides that is refused here and might not be later.
    #[test]
    fn what_is_overwritten_counts_too() {
        let list = |number| nested(number, &nested(1, &[]).repeat(200));
        let bytes = nested(3, &[list(2), list(3)].concat());
        let decoded = CountRequest::decode(bytes.as_slice()).unwrap();
        let of_last = any_of(vec![Expression::default(); 200]);
        assert_eq!(
            decoded.selection,
            Some(proto::count_request::Selection::Expression(of_last))
        );
        assert!(ONE_SELECTION.check(&bytes).is_err());
    }

    /// What the documents say of `max_request_bytes`.
    #[test]
    fn no_element_takes_more_memory_than_is_said() {
        const AT_WORST: usize = 110;
        let sizes = [
            ("update", size_of::<UserUpdate>(), 2),
            ("event", size_of::<Event>(), 2),
            ("selection", size_of::<Selection>(), 2),
            ("expression", size_of::<Expression>(), 2),
            ("value", size_of::<Value>(), 2),
            ("past definition", size_of::<proto::SegmentDefinition>(), 2),
            ("string", size_of::<String>(), 2),
            ("negation", size_of::<Expression>(), 2),
            (
                "predicate",
                size_of::<Expression>() + size_of::<Predicate>(),
                4,
            ),
            (
                "event",
                size_of::<Expression>() + size_of::<proto::EventPredicate>(),
                4,
            ),
            (
                "bucket",
                size_of::<Expression>() + size_of::<proto::BucketPredicate>(),
                4,
            ),
        ];
        for (name, memory, bytes) in sizes {
            assert!(memory <= AT_WORST * bytes, "{name}");
        }
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
                assert!(SELECTIONS.check(&bytes).is_ok());
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
            (
                expression::Kind::Predicate(Box::new(predicate)),
                number::PREDICATE,
            ),
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
