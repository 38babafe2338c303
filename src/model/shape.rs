//! What an expression is like, without the values that it compares with.
//!
//! Invariant: a shape says which properties, events and segments are asked about, and how; never a
//! value, an instant or a salt. So it can be written where values of users must not be.

use std::fmt;

use super::event::{EventPredicate, EventTest, Measured, Window};
use super::expression::{Expression, Predicate, Test, write_name};

/// An expression without its values.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a>(pub &'a Expression);

impl Shape<'_> {
    /// A number that expressions of one shape share (FNV-1a of its text).
    #[must_use]
    pub fn fingerprint(self) -> u64 {
        let text = self.to_string();
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expression::Everyone => f.write_str("TRUE"),
            Expression::And(operands) => joined(f, operands, " AND "),
            Expression::Or(operands) => joined(f, operands, " OR "),
            Expression::Not(operand) => write!(f, "NOT {}", Shape(operand)),
            Expression::AtLeast { of, .. } => {
                f.write_str("AT LEAST ? OF ")?;
                joined(f, of, ", ")
            }
            Expression::Predicate(predicate) => property(f, predicate),
            Expression::Event(predicate) => event(f, predicate),
            Expression::Segment(name) => {
                f.write_str("segment(")?;
                write_name(f, name.as_str())?;
                f.write_str(")")
            }
            Expression::Bucket(_) => f.write_str("bucket(?)"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, operands: &[Expression], separator: &str) -> fmt::Result {
    for (position, operand) in operands.iter().enumerate() {
        f.write_str(if position == 0 { "(" } else { separator })?;
        write!(f, "{}", Shape(operand))?;
    }
    f.write_str(")")
}

fn property(f: &mut fmt::Formatter<'_>, predicate: &Predicate) -> fmt::Result {
    write_name(f, predicate.property.as_str())?;
    match &predicate.test {
        Test::Compare { comparison, .. } => write!(f, " {comparison} ?"),
        Test::In { negated: false, .. } => f.write_str(" IN (?)"),
        Test::In { negated: true, .. } => f.write_str(" NOT IN (?)"),
        Test::Has { quantifier, .. } => write!(f, " HAS {quantifier} (?)"),
        Test::IsSet { negated: false } => f.write_str(" IS SET"),
        Test::IsSet { negated: true } => f.write_str(" IS NOT SET"),
    }
}

fn event(f: &mut fmt::Formatter<'_>, predicate: &EventPredicate) -> fmt::Result {
    let (measured, comparison) = match &predicate.test {
        EventTest::Number {
            measure,
            comparison,
            ..
        } => (Measured::Number(*measure), comparison),
        EventTest::Time {
            which, comparison, ..
        } => (Measured::Time(*which), comparison),
    };
    write!(f, "{measured}(")?;
    write_name(f, predicate.event.as_str())?;
    match &predicate.window {
        Window::Ever => {}
        Window::Rolling(span) => write!(f, ", {span}")?,
        Window::Between { .. } => f.write_str(", ?, ?")?,
        Window::This(unit) => write!(f, ", this {unit}")?,
        Window::Last(count, unit) => write!(f, ", last {count} {unit}s")?,
    }
    write!(f, ") {comparison} ?")
}

#[cfg(test)]
mod tests {
    use super::super::{Comparison, NonEmpty, Operand, PropertyName, SegmentName, Text, Value};
    use super::*;

    fn compare(name: &str, value: &str) -> Expression {
        Expression::Predicate(Predicate {
            property: PropertyName::new(name).unwrap(),
            test: Test::Compare {
                comparison: Comparison::Equal,
                operand: Operand::Value(Value::String(Text::new(value).unwrap())),
            },
        })
    }

    #[test]
    fn a_shape_has_names_and_no_values() {
        let operands = vec![
            compare("plan", "secret"),
            Expression::Not(Box::new(compare("two words", "secret"))),
            Expression::Segment(SegmentName::new("vip").unwrap()),
            Expression::Predicate(Predicate {
                property: PropertyName::new("city").unwrap(),
                test: Test::In {
                    values: NonEmpty::new(vec![Value::String(Text::new("secret").unwrap())])
                        .unwrap(),
                    negated: true,
                },
            }),
        ];
        let all = Expression::And(NonEmpty::new(operands).unwrap());
        assert_eq!(
            Shape(&all).to_string(),
            r#"(plan = ? AND NOT "two words" = ? AND segment(vip) AND city NOT IN (?))"#
        );
    }

    #[test]
    fn a_fingerprint_is_that_of_the_shape() {
        let (a, b) = (compare("plan", "a"), compare("plan", "b"));
        assert_eq!(Shape(&a).fingerprint(), Shape(&b).fingerprint());
        let other = compare("city", "a");
        assert_ne!(Shape(&a).fingerprint(), Shape(&other).fingerprint());
    }
}
