//! Names to numbers, literals to what the index stores, `now()` to an instant. All errors about
//! names and types arise here.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use smallvec::{SmallVec, smallvec};

use super::bind_bucket::BucketLeaf;
use super::bind_error::BindError;
use super::bind_event::{EventLeaf, Relied, bind_event, oldest};
use super::valid_until::Timed;
use crate::index::{Dictionary, DictionaryChanges, DictionaryStamp, IndexKind};
use crate::model::{
    CoercionError, Comparison, Expression, Limit, Operand, Predicate, Quantifier, SegmentName,
    Test, Text, Timestamp, Value, ValueType, Version, limit,
};
use crate::population::{Catalog, Definition, LISTS, Population, Property, number_of};

/// An expression with all names and types resolved against one population.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(super) root: Node,
    source: Arc<Expression>,
    as_of: Timestamp,
    /// Whether `now()` is in it, or a test of events.
    depends_on_time: bool,
    /// What the clock moves, of each predicate that depends on time.
    timed: Vec<Timed>,
    /// How much there is to bind, and to bind again for another instant.
    weight: u64,
    size: u64,
    /// Not kept alive: what is deleted is to go, whoever remembers this expression.
    catalog: Weak<Catalog>,
    /// What tells of the dictionaries that were asked how far they changed, and how far they had.
    dictionaries: Vec<(Arc<DictionaryChanges>, DictionaryStamp)>,
    /// What is known of the events that are asked for.
    events: Vec<Relied>,
    /// Whether an answer found that codes had changed since, and had to bind anew.
    is_outdated: Arc<AtomicBool>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Everyone,
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    AtLeast(usize, Vec<Node>),
    Leaf(Leaf),
    Event(EventLeaf),
    Bucket(BucketLeaf),
}

/// One test of one property, in terms of the index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) property: u32,
    pub(super) kind: IndexKind,
    pub(super) test: LeafTest,
    /// Which of the predicates of the expression it stands for, counted from the left: one, or
    /// several that were made one.
    pub(super) predicates: SmallVec<[usize; 2]>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum LeafTest {
    /// Has one of the codes: sorted.
    AnyCode(Vec<u32>),
    /// Has a number in the range, both ends included.
    Between(i64, i64),
    /// Has one of the numbers: sorted.
    AnyNumber(Vec<i64>),
    /// Has a value.
    Present,
}

impl Bound {
    /// The expression that was bound.
    #[must_use]
    pub fn expression(&self) -> &Expression {
        &self.source
    }

    /// The instant that `now()` stands for.
    pub(super) const fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// The expression that was bound, shared.
    pub(super) const fn source(&self) -> &Arc<Expression> {
        &self.source
    }

    /// The catalog it was bound to, if that is still known.
    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.upgrade()
    }

    /// What the clock moves, of each predicate that depends on time.
    pub(super) fn timed(&self) -> &[Timed] {
        &self.timed
    }

    /// How many nodes and values in lists there are, with those of segments.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// How much there is to bind, and to bind again for another instant: nodes with those of segments,
    /// values in lists, days, weeks and months of zones, and texts of dictionaries that are gone
    /// through.
    pub(super) const fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether the answer depends on the instant that it is asked for: `now()` is in it, or a test
    /// of events.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }

    /// The predicates of the expression as filter text, from the left, each without its negation,
    /// which is a part of its own.
    pub(super) fn predicate_texts(&self) -> Vec<String> {
        fn collect(expression: &Expression, texts: &mut Vec<String>) {
            match expression {
                Expression::Everyone => {}
                Expression::Not(operand) => collect(operand, texts),
                Expression::And(operands)
                | Expression::Or(operands)
                | Expression::AtLeast { of: operands, .. } => {
                    operands.iter().for_each(|operand| collect(operand, texts));
                }
                Expression::Predicate(predicate) => texts.push(positive(predicate).to_string()),
                Expression::Event(predicate) => texts.push(predicate.to_string()),
                Expression::Segment(_) | Expression::Bucket(_) => {
                    texts.push(expression.to_string());
                }
            }
        }
        let mut texts = Vec::new();
        collect(&self.source, &mut texts);
        texts
    }

    /// Whether binding the expression anew, for this instant, would lead to the same, as far as is
    /// known without looking at dictionaries: an answer does that in any case.
    pub(super) fn is_current(&self, population: &Population, as_of: Timestamp) -> bool {
        population.has_catalog(&self.catalog)
            && (!self.depends_on_time || self.as_of == as_of)
            && !self.is_outdated.load(Ordering::Relaxed)
            && self.has_same_events(population)
    }

    /// Whether no day of events came before those that there were, and none went.
    fn has_same_events(&self, population: &Population) -> bool {
        let mut events = self.events.iter();
        events.all(|(event, relied)| oldest(population, *event) == *relied)
    }

    /// Whether `holds` is true of each dictionary's stamp now and when it was asked.
    fn all_dictionaries(&self, holds: impl Fn(DictionaryStamp, DictionaryStamp) -> bool) -> bool {
        self.dictionaries
            .iter()
            .all(|(changes, earlier)| holds(changes.stamp(), *earlier))
    }

    /// Whether all codes are still those of their literals, and events as they were.
    pub(super) fn is_exact(&self, population: &Population) -> bool {
        self.all_dictionaries(DictionaryStamp::is_unchanged_since)
            && self.has_same_events(population)
    }

    /// Answers one expression as [`answer_all`] does many.
    pub(super) fn answer<T>(&self, population: &Population, answer: impl Fn(&Node) -> T) -> T {
        answer_all(population, &[self], |bounds| {
            // One came in, so one comes here.
            answer(bounds.first().map_or(&self.root, |bound| &bound.root))
        })
    }
}

/// Answers by `answer`, and again should the codes that the expressions were bound to not be those
/// of their literals any more: a literal that nobody had can get a code meanwhile, and a code that
/// has gone out of use another meaning. So too should an event have come that is older than all that
/// there were: the weeks before that one were not told apart. The answer is then one of after the
/// change.
pub(super) fn answer_all<T>(
    population: &Population,
    bounds: &[impl Borrow<Bound>],
    answer: impl Fn(&[&Bound]) -> T,
) -> T {
    let bounds: SmallVec<[&Bound; 16]> = bounds.iter().map(Borrow::borrow).collect();
    let mut result = answer(&bounds);
    let unchanged = |bound: &Bound| bound.is_exact(population);
    if bounds.iter().all(|bound| unchanged(bound)) {
        return result;
    }
    let mut asked: Vec<Bound> = bounds.iter().map(|&bound| bound.clone()).collect();
    loop {
        let again = asked
            .iter()
            .map(|bound| bind_shared(population, &bound.source, bound.as_of))
            .collect::<Result<Vec<_>, _>>();
        // A property can have been deleted meanwhile: nobody had it any more, as was answered. Or
        // events were dropped that a window reaches: the answer is that of those that are left.
        let Ok(again) = again else { return result };
        // Other texts come and go all the time; only those of the expressions matter.
        let same = again
            .iter()
            .zip(&asked)
            .all(|(again, asked)| again.root == asked.root);
        for bound in &bounds {
            if !unchanged(bound) {
                bound.is_outdated.store(true, Ordering::Relaxed);
            }
        }
        let kept = |bound: &Bound| bound.all_dictionaries(DictionaryStamp::keeps_meanings_since);
        if same && asked.iter().all(kept) {
            return result;
        }
        result = answer(&again.iter().collect::<Vec<_>>());
        asked = again;
    }
}

/// Resolves an expression against the properties of a population. `now()` stands for `as_of`.
///
/// # Errors
/// [`BindError`] names the property that does not exist or is used against its type, or the limit
/// that is exceeded with all segments in the expression.
pub fn bind(
    population: &Population,
    expression: &Expression,
    as_of: Timestamp,
) -> Result<Bound, BindError> {
    bind_shared(population, &Arc::new(expression.clone()), as_of)
}

/// Resolves an expression as [`bind`] does, without copying it.
///
/// # Errors
/// As for [`bind`].
pub fn bind_shared(
    population: &Population,
    expression: &Arc<Expression>,
    as_of: Timestamp,
) -> Result<Bound, BindError> {
    bind_to(population, population.catalog(), expression, as_of)
}

/// Resolves an expression against a catalog of a population, maybe no longer the one of now.
///
/// # Errors
/// As for [`bind`].
pub(super) fn bind_to(
    population: &Population,
    catalog: Arc<Catalog>,
    expression: &Arc<Expression>,
    as_of: Timestamp,
) -> Result<Bound, BindError> {
    let mut binder = Binder {
        catalog,
        as_of,
        depends_on_time: false,
        timed: Vec::new(),
        nodes: 0,
        values: 0,
        texts: 0,
        dictionaries: Vec::new(),
        events: Vec::new(),
        population,
        units_left: limit::WINDOW_UNITS.default,
        predicates: 0,
        within: None,
    };
    let root = binder.node(expression)?;
    Ok(Bound {
        root,
        source: Arc::clone(expression),
        as_of,
        depends_on_time: binder.depends_on_time,
        timed: binder.timed,
        size: binder.nodes + binder.values,
        weight: binder.nodes
            + binder.values
            + binder.texts
            + (limit::WINDOW_UNITS.default - binder.units_left),
        catalog: Arc::downgrade(&binder.catalog),
        dictionaries: binder.dictionaries,
        events: binder.events,
        is_outdated: Arc::default(),
    })
}

struct Binder<'a> {
    population: &'a Population,
    catalog: Arc<Catalog>,
    as_of: Timestamp,
    depends_on_time: bool,
    timed: Vec<Timed>,
    nodes: u64,
    /// How many values the lists have together.
    values: u64,
    /// How many texts of dictionaries were gone through.
    texts: u64,
    dictionaries: Vec<(Arc<DictionaryChanges>, DictionaryStamp)>,
    events: Vec<Relied>,
    /// How many days, weeks and months of zones may still be counted.
    units_left: u64,
    /// How many predicates have been begun.
    predicates: usize,
    /// The predicate that stands for the segment whose definition is bound.
    within: Option<usize>,
}

impl Binder<'_> {
    fn node(&mut self, expression: &Expression) -> Result<Node, BindError> {
        // What a segment is defined by takes the place of its name.
        let takes_place = matches!(expression, Expression::Segment(_));
        self.nodes += u64::from(!takes_place);
        within(limit::SELECTION_NODES, self.nodes)?;
        Ok(match expression {
            Expression::Everyone => Node::Everyone,
            Expression::Not(operand) => Node::Not(Box::new(self.node(operand)?)),
            Expression::And(operands) => Node::And(self.nodes(operands)?),
            Expression::Or(operands) => Node::Or(self.nodes(operands)?),
            Expression::AtLeast { count, of } => {
                Node::AtLeast(count.get() as usize, self.nodes(of)?)
            }
            Expression::Predicate(predicate) => self.predicate(predicate)?,
            Expression::Event(predicate) => {
                let position = self.position();
                // All windows end with it.
                self.depends_on_time = true;
                let (node, relied) = bind_event(
                    self.population,
                    &self.catalog,
                    predicate,
                    self.as_of,
                    position,
                    &mut self.units_left,
                )?;
                self.timed.push(Timed::of_events(relied.0, predicate));
                self.events.push(relied);
                node
            }
            Expression::Segment(name) => self.segment(name)?,
            Expression::Bucket(predicate) => {
                self.list(predicate.test().listed_values())?;
                Node::Bucket(BucketLeaf::new(predicate, self.position()))
            }
        })
    }

    /// Accounts for the values of a list, before anything is made of them.
    fn list(&mut self, values: u64) -> Result<(), BindError> {
        self.values += values;
        within(limit::SELECTION_VALUES, self.values)
    }

    /// The place in the expression of the predicate that is begun.
    fn position(&mut self) -> usize {
        self.within.unwrap_or_else(|| {
            self.predicates += 1;
            self.predicates - 1
        })
    }

    /// What a segment stands for: its definition.
    fn segment(&mut self, name: &SegmentName) -> Result<Node, BindError> {
        let Some(segment) = self.catalog.segment(name).map(Arc::clone) else {
            return Err(BindError::UnknownSegment {
                segment: name.clone(),
                suggestions: self.catalog.near_segments(name),
            });
        };
        let outer = self.within;
        let position = self.position();
        let definition = match segment.definition() {
            Definition::Filter(definition) => definition,
            Definition::List(number) => {
                self.nodes += 1;
                within(limit::SELECTION_NODES, self.nodes)?;
                return Ok(in_list(*number, position));
            }
        };
        self.within = Some(position);
        let node = self.node(definition);
        self.within = outer;
        node
    }

    fn nodes(&mut self, expressions: &[Expression]) -> Result<Vec<Node>, BindError> {
        expressions
            .iter()
            .map(|expression| self.node(expression))
            .collect()
    }

    fn predicate(&mut self, predicate: &Predicate) -> Result<Node, BindError> {
        let position = self.position();
        self.list(predicate.test.listed_values())?;
        let Some(property) = self.catalog.get(&predicate.property).map(Arc::clone) else {
            return Err(BindError::UnknownProperty {
                property: predicate.property.clone(),
                suggestions: self.catalog.near(&predicate.property),
            });
        };
        let (test, negated) = match &predicate.test {
            Test::IsSet { negated } => (LeafTest::Present, *negated),
            Test::In { values, negated } => (self.any_of(&property, values, "IN")?, *negated),
            Test::Has {
                quantifier,
                elements,
            } => return self.has(&property, position, *quantifier, elements),
            Test::Compare {
                comparison,
                operand,
            } => {
                let value = match operand {
                    Operand::Value(value) => value.clone(),
                    Operand::AsOfPlus(span) => {
                        self.depends_on_time = true;
                        let timed = Timed::of_values(property.number(), predicate);
                        self.timed.push(timed);
                        Value::Timestamp(self.as_of.saturating_add(*span))
                    }
                };
                self.compare(&property, *comparison, value)?
            }
        };
        Ok(negated_if(negated, leaf(&property, test, position)))
    }

    fn compare(
        &mut self,
        property: &Arc<Property>,
        comparison: Comparison,
        value: Value,
    ) -> Result<(LeafTest, bool), BindError> {
        match comparison {
            Comparison::Equal | Comparison::NotEqual => {
                let test = self.any_of(property, &[value], &comparison.to_string())?;
                return Ok((test, comparison == Comparison::NotEqual));
            }
            Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual => {}
        }
        if !property.value_type().is_ordered() {
            let way_out = if property.value_type() == ValueType::StringSet {
                "use HAS ANY, HAS ALL or HAS NONE"
            } else {
                "use =, !=, IN or NOT IN"
            };
            return Err(operator_error(property, &comparison.to_string(), way_out));
        }
        let value = literal(property, value)?;
        if let Value::Version(version) = &value {
            return Ok((self.versions(property, comparison, version), false));
        }
        let key = number_of(&value).unwrap_or_default();
        let (least, greatest) = match comparison {
            Comparison::Less => (i64::MIN, key.checked_sub(1)),
            Comparison::LessOrEqual => (i64::MIN, Some(key)),
            Comparison::Greater => match key.checked_add(1) {
                Some(next) => (next, Some(i64::MAX)),
                None => (i64::MAX, None),
            },
            Comparison::GreaterOrEqual | Comparison::Equal | Comparison::NotEqual => {
                (key, Some(i64::MAX))
            }
        };
        // Nothing is below the least number or above the greatest.
        let test = greatest.map_or(LeafTest::AnyNumber(Vec::new()), |greatest| {
            LeafTest::Between(least, greatest)
        });
        Ok((test, false))
    }

    /// The codes of the versions that pass a comparison.
    fn versions(
        &mut self,
        property: &Arc<Property>,
        comparison: Comparison,
        with: &Version,
    ) -> LeafTest {
        let passes = |version: &Version| match comparison {
            Comparison::Less => version < with,
            Comparison::LessOrEqual => version <= with,
            Comparison::Greater => version > with,
            Comparison::GreaterOrEqual => version >= with,
            Comparison::Equal => version == with,
            Comparison::NotEqual => version != with,
        };
        let mut texts = 0;
        let codes = self.codes(property, |dictionary| {
            texts = dictionary.len() as u64;
            let versions = dictionary
                .iter()
                .filter_map(|(code, text)| Some((code, text.parse().ok()?)));
            versions
                .filter(|(_, version)| passes(version))
                .map(|(code, _)| code)
                .collect()
        });
        self.texts += texts;
        LeafTest::AnyCode(codes)
    }

    fn any_of(
        &mut self,
        property: &Arc<Property>,
        values: &[Value],
        operator: &str,
    ) -> Result<LeafTest, BindError> {
        if property.value_type() == ValueType::StringSet {
            return Err(operator_error(
                property,
                operator,
                "use HAS ANY, HAS ALL or HAS NONE",
            ));
        }
        let values = values
            .iter()
            .map(|value| literal(property, value.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(numbers) = values
            .iter()
            .map(number_of)
            .collect::<Option<BTreeSet<i64>>>()
        {
            return Ok(match numbers.first() {
                Some(&number) if numbers.len() == 1 => LeafTest::Between(number, number),
                _ => LeafTest::AnyNumber(numbers.into_iter().collect()),
            });
        }
        if property.value_type() == ValueType::Bool {
            let codes: BTreeSet<u32> = values
                .iter()
                .map(|value| u32::from(*value == Value::Bool(true)))
                .collect();
            return Ok(LeafTest::AnyCode(codes.into_iter().collect()));
        }
        Ok(LeafTest::AnyCode(self.codes(property, |dictionary| {
            let codes = values.iter().flat_map(|value| match value {
                Value::String(text) => dictionary.matching(text.as_str()),
                Value::Version(version) => dictionary.matching(&version.to_string()),
                Value::Bool(_)
                | Value::StringSet(_)
                | Value::Int64(_)
                | Value::Double(_)
                | Value::Timestamp(_) => Vec::new(),
            });
            codes.collect()
        })))
    }

    fn has(
        &mut self,
        property: &Arc<Property>,
        predicate: usize,
        quantifier: Quantifier,
        elements: &[Text],
    ) -> Result<Node, BindError> {
        if property.value_type() != ValueType::StringSet {
            let operator = format!("HAS {quantifier}");
            return Err(operator_error(
                property,
                &operator,
                "use =, !=, IN or NOT IN",
            ));
        }
        let mut any = |elements: &[Text]| {
            let codes = self.codes(property, |dictionary| {
                elements
                    .iter()
                    .flat_map(|text| dictionary.matching(text.as_str()))
                    .collect()
            });
            leaf(property, LeafTest::AnyCode(codes), predicate)
        };
        Ok(match quantifier {
            Quantifier::Any => any(elements),
            Quantifier::None => Node::Not(Box::new(any(elements))),
            Quantifier::All => {
                let distinct: BTreeSet<&Text> = elements.iter().collect();
                let each = distinct
                    .into_iter()
                    .map(|element| any(std::slice::from_ref(element)));
                Node::And(each.collect())
            }
        })
    }

    /// Asks the dictionary of a property for codes, and remembers that it did.
    fn codes(
        &mut self,
        property: &Arc<Property>,
        find: impl FnOnce(&Dictionary) -> BTreeSet<u32>,
    ) -> Vec<u32> {
        let found = property.with_dictionary(|dictionary| {
            let changes = Arc::clone(dictionary.changes());
            let stamp = changes.stamp();
            self.dictionaries.push((changes, stamp));
            find(dictionary)
        });
        found.unwrap_or_default().into_iter().collect()
    }
}

/// Makes sure that an expression stays within a limit, however often segments are repeated in it.
fn within(limit: Limit, given: u64) -> Result<(), BindError> {
    let checked = limit.check(given);
    checked.map_err(|exceeded| BindError::TooLarge { exceeded })
}

/// Whether a user is in a static list.
fn in_list(list: u32, predicate: usize) -> Node {
    Node::Leaf(Leaf {
        property: LISTS,
        kind: IndexKind::Sets,
        test: LeafTest::AnyCode(vec![list]),
        predicates: smallvec![predicate],
    })
}

fn leaf(property: &Property, test: LeafTest, predicate: usize) -> Node {
    Node::Leaf(Leaf {
        property: property.number(),
        kind: property.kind(),
        test,
        predicates: smallvec![predicate],
    })
}

/// The predicate without its negation, which becomes a node of its own.
fn positive(predicate: &Predicate) -> Predicate {
    let test = match predicate.test.clone() {
        Test::Compare {
            comparison: Comparison::NotEqual,
            operand,
        } => Test::Compare {
            comparison: Comparison::Equal,
            operand,
        },
        Test::In { values, .. } => Test::In {
            values,
            negated: false,
        },
        Test::Has {
            quantifier: Quantifier::None,
            elements,
        } => Test::Has {
            quantifier: Quantifier::Any,
            elements,
        },
        Test::IsSet { .. } => Test::IsSet { negated: false },
        test @ (Test::Compare { .. } | Test::Has { .. }) => test,
    };
    Predicate {
        property: predicate.property.clone(),
        test,
    }
}

fn negated_if(negated: bool, node: Node) -> Node {
    if negated {
        Node::Not(Box::new(node))
    } else {
        node
    }
}

pub(super) fn literal(property: &Property, value: Value) -> Result<Value, BindError> {
    let name = || property.declaration().name.clone();
    value
        .coerced_to(property.value_type())
        .map_err(|error| match error {
            CoercionError::Type { expected, given } => BindError::LiteralType {
                property: name(),
                expected,
                given,
            },
            CoercionError::Inexact { number } => BindError::Inexact {
                property: name(),
                number,
            },
        })
}

pub(super) fn operator_error(
    property: &Property,
    operator: &str,
    way_out: &'static str,
) -> BindError {
    BindError::Operator {
        property: property.declaration().name.clone(),
        value_type: property.value_type(),
        operator: operator.into(),
        way_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Action, Change, NonEmpty, Operation, PropertyName, Revision, StoreLimits, UserId,
        UserUpdate,
    };
    use crate::query::{Stop, check, count};

    fn user() -> UserId {
        UserId::new("u").unwrap()
    }

    fn set(population: &Population, plan: &str) {
        let change = Change {
            property: PropertyName::new("plan").unwrap(),
            operation: Operation::Set(Value::String(Text::new(plan).unwrap())),
        };
        let update = UserUpdate {
            user: user(),
            value_time: None,
            changes: vec![change],
            events: Vec::new(),
        };
        let write = Action::Write(NonEmpty::one(update));
        population.apply(Revision::new(1), &write).unwrap();
    }

    /// The user has one of the two at every moment.
    #[test]
    fn a_value_that_appears_after_binding_is_seen() {
        let population = Population::new(StoreLimits::default());
        set(&population, "x");
        let values = ["x", "y"].map(|text| Value::String(Text::new(text).unwrap()));
        let expression = Expression::Predicate(Predicate {
            property: PropertyName::new("plan").unwrap(),
            test: Test::In {
                values: NonEmpty::new(values.to_vec()).unwrap(),
                negated: false,
            },
        });
        let now = Timestamp::from_micros(0).unwrap();
        let bound = bind(&population, &expression, now).unwrap();
        set(&population, "y");
        assert_eq!(count(&population, &bound, &Stop::never()), Ok(1));
        assert_eq!(check(&population, &user(), &[bound]), Some(vec![true]));
    }

    #[test]
    fn a_code_with_another_meaning_is_not_taken_for_the_old_one() {
        let population = Population::new(StoreLimits::default());
        set(&population, "x");
        let expression = Expression::Predicate(Predicate {
            property: PropertyName::new("plan").unwrap(),
            test: Test::In {
                values: NonEmpty::one(Value::String(Text::new("x").unwrap())),
                negated: false,
            },
        });
        let now = Timestamp::from_micros(0).unwrap();
        let bound = bind(&population, &expression, now).unwrap();
        // So often that the code of x is used again.
        for plan in 0..=crate::index::QUARANTINE {
            set(&population, &plan.to_string());
        }
        assert_eq!(count(&population, &bound, &Stop::never()), Ok(0));
    }
}
