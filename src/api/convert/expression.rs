//! Expression trees.
//!
//! Invariant: depth and number of nodes are checked before a node is walked, so that no tree is
//! recursed into beyond the limit.

use std::num::NonZeroU32;

use crate::api::error::ApiError;
use crate::model::{
    BucketError, BucketPredicate, BucketTest, Buckets, Comparison, Expression, ExpressionBudget,
    NonEmpty, Operand, Predicate, Quantifier, Salt, Test, Text, Value, ValueType, limit,
};
use crate::proto::{self, Operator, expression::Kind};

use super::Path;
use super::event_predicate::event_predicate;
use super::value::{property_name, segment_name, span, value};

/// An expression from its tree.
pub(super) fn expression(
    message: proto::Expression,
    path: &Path<'_>,
) -> Result<Expression, ApiError> {
    node(message, 1, &mut ExpressionBudget::default(), path)
}

fn node(
    message: proto::Expression,
    level: u64,
    budget: &mut ExpressionBudget,
    path: &Path<'_>,
) -> Result<Expression, ApiError> {
    budget
        .node(level)
        .map_err(|exceeded| ApiError::limit(path, &exceeded))?;
    match message.kind {
        None => Err(ApiError::field(
            path,
            "is empty; set one of predicate, event, segment, bucket, all_of, any_of, negation, at_least and everyone",
        )),
        Some(Kind::Everyone(proto::Everyone {})) => Ok(Expression::Everyone),
        Some(Kind::Predicate(message)) => {
            predicate(*message, &path.field("predicate")).map(Expression::Predicate)
        }
        Some(Kind::Event(message)) => event_predicate(*message, &path.field("event"))
            .map(|predicate| Expression::Event(Box::new(predicate))),
        Some(Kind::Segment(name)) => {
            segment_name(name, &path.field("segment")).map(Expression::Segment)
        }
        Some(Kind::Bucket(message)) => bucket(&message, &path.field("bucket"))
            .map(|predicate| Expression::Bucket(Box::new(predicate))),
        Some(Kind::Negation(operand)) => {
            let operand = node(*operand, level + 1, budget, &path.field("negation"))?;
            Ok(Expression::Not(Box::new(operand)))
        }
        Some(Kind::AllOf(list)) => {
            let operands = operands(list.expressions, level, budget, &path.field("all_of"))?;
            Ok(one_or(operands, Expression::And))
        }
        Some(Kind::AnyOf(list)) => {
            let operands = operands(list.expressions, level, budget, &path.field("any_of"))?;
            Ok(one_or(operands, Expression::Or))
        }
        Some(Kind::AtLeast(message)) => {
            let path = path.field("at_least");
            let of = operands(message.expressions, level, budget, &path)?;
            let count = NonZeroU32::new(message.count)
                .filter(|count| count.get() as usize <= of.len())
                .ok_or_else(|| {
                    ApiError::field(
                        &path.field("count"),
                        format!(
                            "expected a number from 1 to the {} expressions given, found {}",
                            of.len(),
                            message.count
                        ),
                    )
                })?;
            Ok(Expression::AtLeast { count, of })
        }
    }
}

fn operands(
    messages: Vec<proto::Expression>,
    level: u64,
    budget: &mut ExpressionBudget,
    path: &Path<'_>,
) -> Result<NonEmpty<Expression>, ApiError> {
    let path = path.field("expressions");
    let mut operands = Vec::new();
    for (position, message) in messages.into_iter().enumerate() {
        operands.push(node(message, level + 1, budget, &path.index(position))?);
    }
    NonEmpty::new(operands)
        .ok_or_else(|| ApiError::field(&path, "must not be empty; for every user use everyone"))
}

/// A combination of one operand is the operand.
fn one_or(
    operands: NonEmpty<Expression>,
    combine: impl FnOnce(NonEmpty<Expression>) -> Expression,
) -> Expression {
    match <[Expression; 1]>::try_from(operands.into_vec()) {
        Ok([operand]) => operand,
        Err(several) => match NonEmpty::new(several) {
            Some(several) => combine(several),
            None => Expression::Everyone,
        },
    }
}

/// What an operator asks for.
enum Asks {
    Compare(Comparison),
    In { negated: bool },
    Has(Quantifier),
    IsSet { negated: bool },
}

fn operator(number: i32, path: &Path<'_>) -> Result<Asks, ApiError> {
    Ok(match Operator::try_from(number) {
        Ok(Operator::Equal) => Asks::Compare(Comparison::Equal),
        Ok(Operator::NotEqual) => Asks::Compare(Comparison::NotEqual),
        Ok(Operator::Less) => Asks::Compare(Comparison::Less),
        Ok(Operator::LessOrEqual) => Asks::Compare(Comparison::LessOrEqual),
        Ok(Operator::Greater) => Asks::Compare(Comparison::Greater),
        Ok(Operator::GreaterOrEqual) => Asks::Compare(Comparison::GreaterOrEqual),
        Ok(Operator::In) => Asks::In { negated: false },
        Ok(Operator::NotIn) => Asks::In { negated: true },
        Ok(Operator::HasAny) => Asks::Has(Quantifier::Any),
        Ok(Operator::HasAll) => Asks::Has(Quantifier::All),
        Ok(Operator::HasNone) => Asks::Has(Quantifier::None),
        Ok(Operator::IsSet) => Asks::IsSet { negated: false },
        Ok(Operator::IsNotSet) => Asks::IsSet { negated: true },
        Ok(Operator::Unspecified) | Err(_) => {
            return Err(ApiError::field(
                path,
                "expected an operator, such as OPERATOR_EQUAL",
            ));
        }
    })
}

fn predicate(message: proto::Predicate, path: &Path<'_>) -> Result<Predicate, ApiError> {
    let property = property_name(message.property, &path.field("property"))?;
    let asks = operator(message.operator, &path.field("operator"))?;
    let offset = path.field("as_of_offset");
    if message.as_of_offset.is_some() && !matches!(asks, Asks::Compare(_)) {
        return Err(ApiError::field(
            &offset,
            "goes only with a comparison, such as OPERATOR_LESS",
        ));
    }
    let values = path.field("values");
    limit::LIST_VALUES
        .check(message.values.len() as u64)
        .map_err(|exceeded| ApiError::limit(&values, &exceeded))?;
    let test = match asks {
        Asks::Compare(comparison) => Test::Compare {
            comparison,
            operand: operand(message.values, message.as_of_offset, &values, &offset)?,
        },
        Asks::In { negated } => Test::In {
            values: list(message.values, &values, literal)?,
            negated,
        },
        Asks::Has(quantifier) => Test::Has {
            quantifier,
            elements: list(message.values, &values, element)?,
        },
        Asks::IsSet { negated } if message.values.is_empty() => Test::IsSet { negated },
        Asks::IsSet { .. } => {
            return Err(ApiError::field(
                &values,
                "must be empty for OPERATOR_IS_SET and OPERATOR_IS_NOT_SET",
            ));
        }
    };
    Ok(Predicate { property, test })
}

fn bucket(message: &proto::BucketPredicate, path: &Path<'_>) -> Result<BucketPredicate, ApiError> {
    let wrong = |path: &Path<'_>, error: BucketError| match error {
        BucketError::Limit(exceeded) => ApiError::limit(path, &exceeded),
        error @ (BucketError::Nul { .. } | BucketError::None | BucketError::Number { .. }) => {
            ApiError::field(path, error)
        }
    };
    let salt = Salt::new(message.salt.as_str());
    let salt = salt.map_err(|error| wrong(&path.field("salt"), error))?;
    let buckets = Buckets::new(message.buckets.into());
    let buckets = buckets.map_err(|error| wrong(&path.field("buckets"), error))?;
    let operator_path = path.field("operator");
    let asks = operator(message.operator, &operator_path)?;
    let path = path.field("numbers");
    let given = &message.numbers;
    limit::LIST_VALUES
        .check(given.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let test = match asks {
        Asks::Compare(comparison) => {
            let [number] = given[..] else {
                return Err(ApiError::field(
                    &path,
                    format!("expected one number to compare with, found {}", given.len()),
                ));
            };
            BucketTest::compare(comparison, number.into(), buckets)
                .map_err(|error| wrong(&path.index(0), error))?
        }
        Asks::In { negated } => {
            let numbers = given.iter().enumerate().map(|(position, number)| {
                BucketTest::listed((*number).into(), buckets)
                    .map_err(|error| wrong(&path.index(position), error))
            });
            let numbers = NonEmpty::new(numbers.collect::<Result<_, _>>()?);
            let numbers = numbers.ok_or_else(|| {
                ApiError::field(&path, "must not be empty; give at least one number")
            })?;
            BucketTest::In { numbers, negated }
        }
        Asks::Has(_) | Asks::IsSet { .. } => {
            return Err(ApiError::field(
                &operator_path,
                "expected a comparison, OPERATOR_IN or OPERATOR_NOT_IN",
            ));
        }
    };
    Ok(BucketPredicate::new(salt, buckets, test))
}

fn operand(
    given: Vec<proto::Value>,
    offset: Option<prost_types::Duration>,
    values: &Path<'_>,
    offset_path: &Path<'_>,
) -> Result<Operand, ApiError> {
    match (<[proto::Value; 1]>::try_from(given), offset) {
        (Ok([value]), None) => literal(value, &values.index(0)).map(Operand::Value),
        (Err(values), Some(offset)) if values.is_empty() => {
            span(offset, offset_path).map(Operand::AsOfPlus)
        }
        (Err(given), None) => Err(ApiError::field(
            values,
            format!("expected one value to compare with, found {}", given.len()),
        )),
        (_, Some(_)) => Err(ApiError::field(
            offset_path,
            "stands in the place of a value; give one of the two",
        )),
    }
}

fn list<T>(
    given: Vec<proto::Value>,
    path: &Path<'_>,
    item: impl Fn(proto::Value, &Path<'_>) -> Result<T, ApiError>,
) -> Result<NonEmpty<T>, ApiError> {
    let items = given.into_iter().enumerate();
    let items = items.map(|(position, value)| item(value, &path.index(position)));
    NonEmpty::new(items.collect::<Result<_, _>>()?)
        .ok_or_else(|| ApiError::field(path, "must not be empty; give at least one value"))
}

/// A value to compare with: no null and no set.
fn literal(message: proto::Value, path: &Path<'_>) -> Result<Value, ApiError> {
    match value(message, path)? {
        Some(Value::StringSet(_)) => Err(ApiError::field(
            path,
            "a set can't be compared; use OPERATOR_HAS_ANY, OPERATOR_HAS_ALL or OPERATOR_HAS_NONE with texts",
        )),
        Some(value) => Ok(value),
        None => Err(ApiError::field(
            path,
            "a null can't be compared; use OPERATOR_IS_SET or OPERATOR_IS_NOT_SET",
        )),
    }
}

fn element(message: proto::Value, path: &Path<'_>) -> Result<Text, ApiError> {
    match literal(message, path)? {
        Value::String(text) => Ok(text),
        other @ (Value::Bool(_)
        | Value::StringSet(_)
        | Value::Int64(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Version(_)) => Err(ApiError::field(
            path,
            format!(
                "expected a {}, found a {}",
                ValueType::String,
                other.value_type()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::proto::value;
    use crate::testing::generate::{self, Choices, Vocabulary};
    use crate::testing::wire;

    fn text(value: &str) -> proto::Value {
        proto::Value {
            kind: Some(value::Kind::StringValue(value.into())),
        }
    }

    fn test_of(operator: Operator, values: Vec<proto::Value>) -> proto::Predicate {
        proto::Predicate {
            property: "p".into(),
            operator: operator.into(),
            values,
            as_of_offset: None,
        }
    }

    fn of(kind: Kind) -> proto::Expression {
        proto::Expression { kind: Some(kind) }
    }

    fn everyone() -> proto::Expression {
        of(Kind::Everyone(proto::Everyone {}))
    }

    fn list_of(expressions: Vec<proto::Expression>) -> proto::ExpressionList {
        proto::ExpressionList { expressions }
    }

    fn convert(message: proto::Expression) -> Result<Expression, ApiError> {
        expression(message, &Path::Root.field("expression"))
    }

    #[test]
    fn any_expression_comes_back_as_it_was() {
        for seed in 0..2_000 {
            let bytes = generate::bytes(seed, 600);
            let word = generate::expression(&mut Choices::new(&bytes), Vocabulary::Anything);
            let back = convert(wire::expression(&word)).unwrap();
            assert_eq!(back, word, "seed {seed}");
        }
    }

    #[test]
    fn a_combination_of_one_is_the_one() {
        for kind in [Kind::AllOf, Kind::AnyOf] {
            let message = of(kind(list_of(vec![everyone()])));
            assert_eq!(convert(message).unwrap(), Expression::Everyone);
        }
    }

    #[test]
    fn depth_and_nodes_are_limited() {
        let nested = |levels: usize| {
            (1..levels).fold(everyone(), |inner, _| of(Kind::Negation(Box::new(inner))))
        };
        assert!(convert(nested(16)).is_ok());
        let error = convert(nested(17)).unwrap_err();
        assert_eq!(error.reason, Reason::RequestLimitExceeded);
        assert!(error.facts.contains(&("limit", "expression_depth".into())));

        let wide = |nodes: usize| of(Kind::AnyOf(list_of(vec![everyone(); nodes - 1])));
        assert!(convert(wide(256)).is_ok());
        let error = convert(wide(257)).unwrap_err();
        assert!(error.facts.contains(&("limit", "expression_nodes".into())));
    }

    #[test]
    fn long_lists_are_limited() {
        let list = |length| {
            of(Kind::Predicate(Box::new(test_of(
                Operator::In,
                vec![text("x"); length],
            ))))
        };
        assert!(convert(list(10_000)).is_ok());
        let error = convert(list(10_001)).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("expression.predicate.values"));
    }

    #[test]
    fn malformed_trees_are_refused_with_their_path() {
        let null = proto::Value {
            kind: Some(value::Kind::NullValue(0)),
        };
        let set = proto::Value {
            kind: Some(value::Kind::StringSetValue(proto::StringSet::default())),
        };
        let nan = proto::Value {
            kind: Some(value::Kind::DoubleValue(f64::NAN)),
        };
        let number = proto::Value {
            kind: Some(value::Kind::Int64Value(1)),
        };
        let at_least = |count| {
            of(Kind::AtLeast(proto::AtLeast {
                count,
                expressions: vec![everyone(), everyone()],
            }))
        };
        let offset = |seconds, nanos| {
            of(Kind::Predicate(Box::new(proto::Predicate {
                as_of_offset: Some(prost_types::Duration { seconds, nanos }),
                ..test_of(Operator::Less, vec![])
            })))
        };
        let long = "x".repeat(257);
        let bucket = |salt: &str, buckets, operator: Operator, numbers: &[u32]| {
            of(Kind::Bucket(Box::new(proto::BucketPredicate {
                salt: salt.into(),
                buckets,
                operator: operator.into(),
                numbers: numbers.to_vec(),
            })))
        };
        let of_predicate =
            |operator, values| of(Kind::Predicate(Box::new(test_of(operator, values))));
        for (message, expected) in [
            (proto::Expression { kind: None }, ""),
            (of(Kind::AllOf(list_of(vec![]))), ".all_of.expressions"),
            (of(Kind::AnyOf(list_of(vec![]))), ".any_of.expressions"),
            (
                of(Kind::AnyOf(list_of(vec![
                    everyone(),
                    of_predicate(Operator::Unspecified, vec![]),
                ]))),
                ".any_of.expressions[1].predicate.operator",
            ),
            (at_least(0), ".at_least.count"),
            (at_least(3), ".at_least.count"),
            (of_predicate(Operator::Equal, vec![]), ".predicate.values"),
            (
                of_predicate(Operator::Equal, vec![text("a"), text("b")]),
                ".predicate.values",
            ),
            (
                of_predicate(Operator::Equal, vec![null]),
                ".predicate.values[0]",
            ),
            (
                of_predicate(Operator::Equal, vec![set]),
                ".predicate.values[0]",
            ),
            (
                of_predicate(Operator::Less, vec![nan]),
                ".predicate.values[0]",
            ),
            (of_predicate(Operator::In, vec![]), ".predicate.values"),
            (
                of_predicate(Operator::HasAny, vec![text("a"), number]),
                ".predicate.values[1]",
            ),
            (
                of_predicate(Operator::IsSet, vec![text("a")]),
                ".predicate.values",
            ),
            (bucket("a\0", 10, Operator::Less, &[1]), ".bucket.salt"),
            (bucket(&long, 10, Operator::Less, &[1]), ".bucket.salt"),
            (bucket("a", 0, Operator::Less, &[1]), ".bucket.buckets"),
            (
                bucket("a", 1_000_001, Operator::Less, &[1]),
                ".bucket.buckets",
            ),
            (bucket("a", 10, Operator::Less, &[]), ".bucket.numbers"),
            (bucket("a", 10, Operator::Less, &[11]), ".bucket.numbers[0]"),
            (
                bucket("a", 10, Operator::In, &[9, 10]),
                ".bucket.numbers[1]",
            ),
            (bucket("a", 10, Operator::NotIn, &[]), ".bucket.numbers"),
            (bucket("a", 10, Operator::HasAny, &[1]), ".bucket.operator"),
            (offset(1, -1), ".predicate.as_of_offset"),
            (offset(i64::MAX, 0), ".predicate.as_of_offset"),
        ] {
            let error = convert(message).unwrap_err();
            assert_eq!(error.field.unwrap(), format!("expression{expected}"));
        }
    }
}
