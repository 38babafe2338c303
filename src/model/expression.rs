//! Expressions: which users are meant.
//!
//! Logic has two values. Every comparison with a missing value is false; the negated forms are the
//! exact complements of the plain ones. An expression prints as filter text that parses back to
//! the same expression.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;

use super::bucket::BucketPredicate;
use super::event::EventPredicate;
use super::limits::{LimitExceeded, limit};
use super::name::{EventName, PropertyName, SegmentName};
use super::non_empty::NonEmpty;
use super::time::Span;
use super::value::{Text, Value};

/// Words that can't name a property in a filter text without double quotes, in lower case. Case
/// does not matter.
pub const RESERVED_WORDS: [&str; 10] = [
    "and", "between", "false", "has", "in", "is", "not", "null", "or", "true",
];

/// Selects users: true or false for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Every user.
    Everyone,
    /// The users for whom all are true. At least two operands: of one, it is the operand itself.
    And(NonEmpty<Expression>),
    /// The users for whom at least one is true. At least two operands, as for `And`.
    Or(NonEmpty<Expression>),
    /// The users for whom it is false.
    Not(Box<Expression>),
    /// The users for whom at least `count` are true. No more than there are expressions.
    AtLeast {
        /// How many must be true.
        count: NonZeroU32,
        /// The expressions to choose from.
        of: NonEmpty<Expression>,
    },
    /// The users who pass one test of one property.
    Predicate(Predicate),
    /// The users who pass one test of what they did.
    Event(Box<EventPredicate>),
    /// The users of a saved segment.
    Segment(SegmentName),
    /// The users in some of the buckets that all are divided into.
    Bucket(Box<BucketPredicate>),
}

/// One test of one property.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Predicate {
    /// The property.
    pub property: PropertyName,
    /// The test.
    pub test: Test,
}

/// What is asked of a property.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// Comparison with one value.
    Compare {
        /// How to compare.
        comparison: Comparison,
        /// With what.
        operand: Operand,
    },
    /// Whether the value is one of a list.
    In {
        /// The list.
        values: NonEmpty<Value>,
        /// Whether users *not* in the list are meant: the complement.
        negated: bool,
    },
    /// Whether the set has elements of a list.
    Has {
        /// How many of them.
        quantifier: Quantifier,
        /// The list.
        elements: NonEmpty<Text>,
    },
    /// Whether there is a value.
    IsSet {
        /// Whether users *without* a value are meant: the complement.
        negated: bool,
    },
}

impl Test {
    /// How many values its list has.
    pub(crate) fn listed_values(&self) -> u64 {
        match self {
            Self::In { values, .. } => values.len() as u64,
            Self::Has { elements, .. } => elements.len() as u64,
            Self::Compare { .. } | Self::IsSet { .. } => 0,
        }
    }
}

/// A way to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`: the complement of `=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it holds between two things that are ordered so.
    #[must_use]
    pub const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The comparison that holds where this one does not.
    #[must_use]
    pub const fn complement(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }
}

/// How many elements of a list a set must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// Every one.
    All,
    /// Not one: the complement of `Any`.
    None,
}

/// What a property is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A value. Never a set.
    Value(Value),
    /// The instant this far from the question's `as_of`.
    AsOfPlus(Span),
}

/// Counts the size of an expression while it is made, so that none grows past the limits.
#[derive(Debug, Default)]
pub struct ExpressionBudget {
    nodes: u64,
}

impl ExpressionBudget {
    /// Accounts for one node at a level, 1 for the root.
    ///
    /// # Errors
    /// [`LimitExceeded`] if the node would be too deep or one too many.
    pub fn node(&mut self, level: u64) -> Result<(), LimitExceeded> {
        Self::level(level)?;
        self.nodes += 1;
        limit::EXPRESSION_NODES.check(self.nodes)
    }

    /// Checks a level alone, before what is on it is known.
    ///
    /// # Errors
    /// [`LimitExceeded`] if the level is too deep.
    pub fn level(level: u64) -> Result<(), LimitExceeded> {
        limit::EXPRESSION_DEPTH.check(level)
    }
}

/// A name that an expression mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mentioned<'a> {
    /// A property.
    Property(&'a PropertyName),
    /// An event.
    Event(&'a EventName),
    /// A segment.
    Segment(&'a SegmentName),
}

impl Expression {
    /// Visits every name that is mentioned, from the left; returns the number of nodes.
    pub fn mentioned<'a>(&'a self, visit: &mut impl FnMut(Mentioned<'a>)) -> u64 {
        1 + match self {
            Self::Everyone | Self::Bucket(_) => 0,
            Self::Predicate(predicate) => {
                visit(Mentioned::Property(&predicate.property));
                0
            }
            Self::Event(predicate) => {
                visit(Mentioned::Event(&predicate.event));
                0
            }
            Self::Segment(name) => {
                visit(Mentioned::Segment(name));
                0
            }
            Self::Not(operand) => operand.mentioned(visit),
            Self::And(operands) | Self::Or(operands) | Self::AtLeast { of: operands, .. } => {
                operands
                    .iter()
                    .map(|operand| operand.mentioned(visit))
                    .sum()
            }
        }
    }

    /// How many values its lists have together, without those of segments.
    #[must_use]
    pub fn listed_values(&self) -> u64 {
        match self {
            Self::Everyone | Self::Event(_) | Self::Segment(_) => 0,
            Self::Predicate(predicate) => predicate.test.listed_values(),
            Self::Bucket(predicate) => predicate.test().listed_values(),
            Self::Not(operand) => operand.listed_values(),
            Self::And(operands) | Self::Or(operands) | Self::AtLeast { of: operands, .. } => {
                operands.iter().map(Self::listed_values).sum()
            }
        }
    }

    /// Checks depth and number of nodes.
    ///
    /// # Errors
    /// [`LimitExceeded`] if the expression is too deep or has too many nodes.
    pub fn check_size(&self) -> Result<(), LimitExceeded> {
        fn visit(
            expression: &Expression,
            level: u64,
            budget: &mut ExpressionBudget,
        ) -> Result<(), LimitExceeded> {
            budget.node(level)?;
            match expression {
                Expression::Everyone
                | Expression::Predicate(_)
                | Expression::Event(_)
                | Expression::Segment(_)
                | Expression::Bucket(_) => Ok(()),
                Expression::Not(operand) => visit(operand, level + 1, budget),
                Expression::And(operands)
                | Expression::Or(operands)
                | Expression::AtLeast { of: operands, .. } => operands
                    .iter()
                    .try_for_each(|operand| visit(operand, level + 1, budget)),
            }
        }
        visit(self, 1, &mut ExpressionBudget::default())
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("TRUE"),
            Self::And(operands) => write_joined(f, operands, " AND ", true),
            Self::Or(operands) => write_joined(f, operands, " OR ", true),
            Self::Not(operand) => {
                f.write_str("NOT ")?;
                write_operand(f, operand)
            }
            Self::AtLeast { count, of } => {
                write!(f, "AT LEAST {count} OF (")?;
                write_joined(f, of, ", ", false)?;
                f.write_str(")")
            }
            Self::Predicate(predicate) => write!(f, "{predicate}"),
            Self::Event(predicate) => write!(f, "{predicate}"),
            Self::Segment(name) => write!(f, "segment('{}')", name.as_str().replace('\'', "''")),
            Self::Bucket(predicate) => write!(f, "{predicate}"),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    operands: &[Expression],
    separator: &str,
    parentheses: bool,
) -> fmt::Result {
    for (position, operand) in operands.iter().enumerate() {
        f.write_str(if position == 0 { "" } else { separator })?;
        if parentheses {
            write_operand(f, operand)?;
        } else {
            write!(f, "{operand}")?;
        }
    }
    Ok(())
}

fn write_operand(f: &mut fmt::Formatter<'_>, operand: &Expression) -> fmt::Result {
    match operand {
        Expression::And(_) | Expression::Or(_) => write!(f, "({operand})"),
        Expression::Everyone
        | Expression::Not(_)
        | Expression::AtLeast { .. }
        | Expression::Predicate(_)
        | Expression::Event(_)
        | Expression::Segment(_)
        | Expression::Bucket(_) => write!(f, "{operand}"),
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, self.property.as_str())?;
        match &self.test {
            Test::Compare {
                comparison,
                operand,
            } => write!(f, " {comparison} {operand}"),
            Test::In { values, negated } => {
                f.write_str(if *negated { " NOT IN (" } else { " IN (" })?;
                write_list(f, values)
            }
            Test::Has {
                quantifier,
                elements,
            } => {
                write!(f, " HAS {quantifier} (")?;
                write_list(f, elements)
            }
            Test::IsSet { negated: false } => f.write_str(" IS SET"),
            Test::IsSet { negated: true } => f.write_str(" IS NOT SET"),
        }
    }
}

pub(super) fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        f.write_str(if position == 0 { "" } else { ", " })?;
        write!(f, "{item}")?;
    }
    f.write_str(")")
}

pub(super) fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let reserved = RESERVED_WORDS
        .iter()
        .any(|word| word.eq_ignore_ascii_case(name));
    if plain && !reserved {
        f.write_str(name)
    } else {
        write!(f, "\"{}\"", name.replace('"', "\"\""))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Quantifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "ANY",
            Self::All => "ALL",
            Self::None => "NONE",
        })
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::AsOfPlus(span) if *span == Span::ZERO => f.write_str("now()"),
            Self::AsOfPlus(span) if span.micros() < 0 => {
                write!(f, "now() - {}", span.reversed())
            }
            Self::AsOfPlus(span) => write!(f, "now() + {span}"),
        }
    }
}
