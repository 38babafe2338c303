//! Words as messages: what a client would send for them.

use crate::api::convert::{timestamp_message, value_message};
use crate::model::{
    Amount, BucketPredicate, BucketTest, CalendarUnit, Comparison, Event, EventPredicate,
    EventTest, Expression, Instant, Measure, Operand, Operation, Predicate, Quantifier, Span, Test,
    Text, UserUpdate, Value, WhichEvent, Window,
};
use crate::proto::event_predicate::Operand as EventOperand;
use crate::proto::{self, Operator, expression::Kind};

/// A value as a message.
#[must_use]
pub fn value(value: &Value) -> proto::Value {
    value_message(value.clone())
}

/// An expression as a tree.
#[must_use]
pub fn expression(expression: &Expression) -> proto::Expression {
    let list = |operands: &[Expression]| proto::ExpressionList {
        expressions: operands.iter().map(self::expression).collect(),
    };
    let kind = match expression {
        Expression::Everyone => Kind::Everyone(proto::Everyone {}),
        Expression::And(operands) => Kind::AllOf(list(operands)),
        Expression::Or(operands) => Kind::AnyOf(list(operands)),
        Expression::Not(operand) => Kind::Negation(Box::new(self::expression(operand))),
        Expression::AtLeast { count, of } => Kind::AtLeast(proto::AtLeast {
            count: count.get(),
            expressions: of.iter().map(self::expression).collect(),
        }),
        Expression::Predicate(test) => Kind::Predicate(Box::new(predicate(test))),
        Expression::Segment(name) => Kind::Segment(name.as_str().into()),
        Expression::Bucket(test) => Kind::Bucket(Box::new(bucket(test))),
        Expression::Event(test) => Kind::Event(Box::new(event_predicate(test))),
    };
    proto::Expression { kind: Some(kind) }
}

fn bucket(predicate: &BucketPredicate) -> proto::BucketPredicate {
    let (operator, numbers) = match predicate.test() {
        BucketTest::Compare(comparison, number) => (operator(*comparison), vec![*number]),
        BucketTest::In { numbers, negated } => {
            let operator = if *negated {
                Operator::NotIn
            } else {
                Operator::In
            };
            (operator, numbers.to_vec())
        }
    };
    proto::BucketPredicate {
        salt: predicate.salt().as_str().into(),
        buckets: predicate.buckets().get(),
        operator: operator.into(),
        numbers,
    }
}

fn predicate(predicate: &Predicate) -> proto::Predicate {
    let texts = |texts: &[Text]| {
        let values = texts.iter().cloned().map(Value::String);
        values.map(value_message).collect()
    };
    let (operator, values, as_of_offset) = match &predicate.test {
        Test::Compare {
            comparison,
            operand,
        } => {
            let operator = operator(*comparison);
            match operand {
                Operand::Value(operand) => (operator, vec![value(operand)], None),
                Operand::AsOfPlus(span) => (operator, vec![], Some(duration(*span))),
            }
        }
        Test::In { values, negated } => {
            let operator = if *negated {
                Operator::NotIn
            } else {
                Operator::In
            };
            (operator, values.iter().map(value).collect(), None)
        }
        Test::Has {
            quantifier,
            elements,
        } => {
            let operator = match quantifier {
                Quantifier::Any => Operator::HasAny,
                Quantifier::All => Operator::HasAll,
                Quantifier::None => Operator::HasNone,
            };
            (operator, texts(elements), None)
        }
        Test::IsSet { negated: false } => (Operator::IsSet, vec![], None),
        Test::IsSet { negated: true } => (Operator::IsNotSet, vec![], None),
    };
    proto::Predicate {
        property: predicate.property.as_str().into(),
        operator: operator.into(),
        values,
        as_of_offset,
    }
}

fn operator(comparison: Comparison) -> Operator {
    match comparison {
        Comparison::Equal => Operator::Equal,
        Comparison::NotEqual => Operator::NotEqual,
        Comparison::Less => Operator::Less,
        Comparison::LessOrEqual => Operator::LessOrEqual,
        Comparison::Greater => Operator::Greater,
        Comparison::GreaterOrEqual => Operator::GreaterOrEqual,
    }
}

fn event_predicate(predicate: &EventPredicate) -> proto::EventPredicate {
    let (measure, comparison, operand) = match &predicate.test {
        EventTest::Number {
            measure,
            comparison,
            operand,
        } => {
            let measure = match measure {
                Measure::Count => proto::Measure::Count,
                Measure::Days => proto::Measure::Days,
                Measure::Weeks => proto::Measure::Weeks,
                Measure::Months => proto::Measure::Months,
                Measure::Sum => proto::Measure::Sum,
                Measure::Average => proto::Measure::Average,
                Measure::Least => proto::Measure::Minimum,
                Measure::Greatest => proto::Measure::Maximum,
            };
            (measure, comparison, EventOperand::Number(operand.to_f64()))
        }
        EventTest::Time {
            which,
            comparison,
            operand,
        } => {
            let measure = match which {
                WhichEvent::First => proto::Measure::First,
                WhichEvent::Last => proto::Measure::Last,
            };
            let operand = match operand {
                Instant::At(at) => EventOperand::Time(timestamp_message(*at)),
                Instant::AsOfPlus(span) => EventOperand::AsOfOffset(duration(*span)),
            };
            (measure, comparison, operand)
        }
    };
    proto::EventPredicate {
        event: predicate.event.as_str().into(),
        measure: measure.into(),
        window: window(&predicate.window),
        zone: predicate.zone.as_str().into(),
        operator: operator(*comparison).into(),
        operand: Some(operand),
    }
}

fn window(window: &Window) -> Option<proto::Window> {
    use crate::proto::window::Kind;
    let kind = match window {
        Window::Ever => return None,
        Window::Rolling(span) => Kind::Rolling(duration(*span)),
        Window::Between { from, to } => Kind::Between(proto::InstantRange {
            from: Some(instant(*from)),
            to: Some(instant(*to)),
        }),
        Window::This(unit) => Kind::ThisUnit(calendar_unit(*unit).into()),
        Window::Last(count, unit) => Kind::Last(proto::LastUnits {
            count: count.get(),
            unit: calendar_unit(*unit).into(),
        }),
    };
    Some(proto::Window { kind: Some(kind) })
}

fn instant(instant: Instant) -> proto::Instant {
    use crate::proto::instant::Kind;
    let kind = match instant {
        Instant::At(at) => Kind::Time(timestamp_message(at)),
        Instant::AsOfPlus(span) => Kind::AsOfOffset(duration(span)),
    };
    proto::Instant { kind: Some(kind) }
}

fn calendar_unit(unit: CalendarUnit) -> proto::CalendarUnit {
    match unit {
        CalendarUnit::Day => proto::CalendarUnit::Day,
        CalendarUnit::Week => proto::CalendarUnit::Week,
        CalendarUnit::Month => proto::CalendarUnit::Month,
    }
}

fn duration(span: Span) -> prost_types::Duration {
    let micros = span.micros();
    prost_types::Duration {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default(),
    }
}

fn event(event: &Event) -> proto::Event {
    let id = event.id.as_ref();
    proto::Event {
        name: event.name.as_str().into(),
        time: event.time.map(timestamp_message),
        amount: event.amount.map(Amount::to_f64),
        event_id: id.map_or_else(String::new, |id| id.as_str().into()),
    }
}

/// An update as a message. When its events are received is for the service to say.
#[must_use]
pub fn user_update(update: &UserUpdate) -> proto::UserUpdate {
    let mut message = proto::UserUpdate {
        user_id: update.user.as_str().into(),
        value_time: update.value_time.map(timestamp_message),
        events: update.events.iter().map(event).collect(),
        ..Default::default()
    };
    let set = |texts: &[Text]| proto::StringSet {
        elements: texts.iter().map(|text| text.as_str().into()).collect(),
    };
    for change in &update.changes {
        let property = change.property.as_str().to_owned();
        match &change.operation {
            Operation::Set(to) => drop(message.set.insert(property, value(to))),
            Operation::SetOnce(to) => drop(message.set_once.insert(property, value(to))),
            Operation::Unset => message.unset.push(property),
            Operation::Increment(by) => {
                let by = value_message((*by).into());
                message.increment.insert(property, by);
            }
            Operation::AddToSet(texts) => drop(message.add_to_set.insert(property, set(texts))),
            Operation::RemoveFromSet(texts) => {
                message.remove_from_set.insert(property, set(texts));
            }
        }
    }
    message
}
