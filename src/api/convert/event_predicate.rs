//! Tests of what users did.

use std::num::NonZeroU32;

use crate::api::error::ApiError;
use crate::model::{
    Amount, CalendarUnit, Comparison, EventMeasure, EventPredicate, EventTest, Instant, Measure,
    Measured, Span, WhichEvent, Window, Zone,
};
use crate::proto::{self, Operator, event_predicate::Operand, instant, window};

use super::Path;
use super::value::{event_name, span, timestamp};

/// A measure without anything that it is compared with.
pub(in crate::api) fn event_measure(
    message: proto::EventMeasure,
    path: &Path<'_>,
) -> Result<EventMeasure, ApiError> {
    Ok(EventMeasure {
        event: event_name(message.event, &path.field("event"))?,
        measured: measure(message.measure, &path.field("measure"))?,
        window: window_or_ever(message.window, path)?,
        zone: zone(&message.zone, &path.field("zone"))?,
    })
}

fn window_or_ever(message: Option<proto::Window>, path: &Path<'_>) -> Result<Window, ApiError> {
    message.map_or(Ok(Window::Ever), |message| {
        window(message, &path.field("window"))
    })
}

pub(super) fn event_predicate(
    message: proto::EventPredicate,
    path: &Path<'_>,
) -> Result<EventPredicate, ApiError> {
    let event = event_name(message.event, &path.field("event"))?;
    let measured = measure(message.measure, &path.field("measure"))?;
    let window = window_or_ever(message.window, path)?;
    let zone = zone(&message.zone, &path.field("zone"))?;
    let comparison = comparison(message.operator, &path.field("operator"))?;
    let test = match measured {
        Measured::Number(measure) => EventTest::Number {
            measure,
            comparison,
            operand: number(measure, message.operand, path)?,
        },
        Measured::Time(which) => EventTest::Time {
            which,
            comparison,
            operand: time(message.operand, path)?,
        },
    };
    Ok(EventPredicate {
        event,
        window,
        zone,
        test,
    })
}

fn measure(number: i32, path: &Path<'_>) -> Result<Measured, ApiError> {
    use crate::proto::Measure as Given;
    Ok(match Given::try_from(number) {
        Ok(Given::Count) => Measured::Number(Measure::Count),
        Ok(Given::Days) => Measured::Number(Measure::Days),
        Ok(Given::Weeks) => Measured::Number(Measure::Weeks),
        Ok(Given::Months) => Measured::Number(Measure::Months),
        Ok(Given::Sum) => Measured::Number(Measure::Sum),
        Ok(Given::Average) => Measured::Number(Measure::Average),
        Ok(Given::Minimum) => Measured::Number(Measure::Least),
        Ok(Given::Maximum) => Measured::Number(Measure::Greatest),
        Ok(Given::First) => Measured::Time(WhichEvent::First),
        Ok(Given::Last) => Measured::Time(WhichEvent::Last),
        Ok(Given::Unspecified) | Err(_) => {
            return Err(ApiError::field(
                path,
                "expected a measure, such as MEASURE_COUNT",
            ));
        }
    })
}

fn comparison(number: i32, path: &Path<'_>) -> Result<Comparison, ApiError> {
    match Operator::try_from(number) {
        Ok(Operator::Equal) => Ok(Comparison::Equal),
        Ok(Operator::NotEqual) => Ok(Comparison::NotEqual),
        Ok(Operator::Less) => Ok(Comparison::Less),
        Ok(Operator::LessOrEqual) => Ok(Comparison::LessOrEqual),
        Ok(Operator::Greater) => Ok(Comparison::Greater),
        Ok(Operator::GreaterOrEqual) => Ok(Comparison::GreaterOrEqual),
        Ok(
            Operator::Unspecified
            | Operator::In
            | Operator::NotIn
            | Operator::HasAny
            | Operator::HasAll
            | Operator::HasNone
            | Operator::IsSet
            | Operator::IsNotSet,
        )
        | Err(_) => Err(ApiError::field(
            path,
            "expected a comparison, such as OPERATOR_GREATER_OR_EQUAL",
        )),
    }
}

fn zone(text: &str, path: &Path<'_>) -> Result<Zone, ApiError> {
    if text.is_empty() {
        return Ok(Zone::utc());
    }
    Zone::new(text).map_err(|error| ApiError::field(path, error))
}

fn window(message: proto::Window, path: &Path<'_>) -> Result<Window, ApiError> {
    let Some(kind) = message.kind else {
        return Err(ApiError::field(
            path,
            "is empty; set one of rolling, between, this_unit and last, or leave the window out",
        ));
    };
    Ok(match kind {
        window::Kind::Rolling(message) => {
            let path = path.field("rolling");
            let span = span(message, &path)?;
            if span <= Span::ZERO {
                return Err(ApiError::field(&path, "must be more than nothing"));
            }
            Window::Rolling(span)
        }
        window::Kind::Between(message) => {
            let path = path.field("between");
            Window::Between {
                from: instant(message.from, &path.field("from"))?,
                to: instant(message.to, &path.field("to"))?,
            }
        }
        window::Kind::ThisUnit(number) => {
            Window::This(calendar_unit(number, &path.field("this_unit"))?)
        }
        window::Kind::Last(message) => {
            let path = path.field("last");
            let count = NonZeroU32::new(message.count)
                .ok_or_else(|| ApiError::field(&path.field("count"), "must be at least 1"))?;
            Window::Last(count, calendar_unit(message.unit, &path.field("unit"))?)
        }
    })
}

fn calendar_unit(number: i32, path: &Path<'_>) -> Result<CalendarUnit, ApiError> {
    use crate::proto::CalendarUnit as Given;
    match Given::try_from(number) {
        Ok(Given::Day) => Ok(CalendarUnit::Day),
        Ok(Given::Week) => Ok(CalendarUnit::Week),
        Ok(Given::Month) => Ok(CalendarUnit::Month),
        Ok(Given::Unspecified) | Err(_) => Err(ApiError::field(
            path,
            "expected a unit, such as CALENDAR_UNIT_DAY",
        )),
    }
}

fn instant(message: Option<proto::Instant>, path: &Path<'_>) -> Result<Instant, ApiError> {
    match message.and_then(|message| message.kind) {
        Some(instant::Kind::Time(message)) => {
            timestamp(message, &path.field("time")).map(Instant::At)
        }
        Some(instant::Kind::AsOfOffset(message)) => {
            span(message, &path.field("as_of_offset")).map(Instant::AsOfPlus)
        }
        None => Err(ApiError::field(
            path,
            "has no instant; set time or as_of_offset",
        )),
    }
}

fn number(measure: Measure, operand: Option<Operand>, path: &Path<'_>) -> Result<Amount, ApiError> {
    match operand {
        Some(Operand::Number(number)) => {
            let path = path.field("number");
            let amount = Amount::exactly(number).map_err(|error| ApiError::field(&path, error))?;
            if measure.counts() && (amount < Amount::ZERO || amount.as_whole().is_none()) {
                return Err(ApiError::field(
                    &path,
                    format!("must be a whole number of at least 0, as {measure} counts"),
                ));
            }
            Ok(amount)
        }
        Some(Operand::Time(_)) => Err(no_time(&path.field("time"))),
        Some(Operand::AsOfOffset(_)) => Err(no_time(&path.field("as_of_offset"))),
        None => Err(ApiError::field(
            &path.field("number"),
            "is missing: it is what the measure is compared with",
        )),
    }
}

fn no_time(path: &Path<'_>) -> ApiError {
    ApiError::field(
        path,
        "goes only with MEASURE_FIRST and MEASURE_LAST; compare with a number",
    )
}

fn time(operand: Option<Operand>, path: &Path<'_>) -> Result<Instant, ApiError> {
    match operand {
        Some(Operand::Time(message)) => timestamp(message, &path.field("time")).map(Instant::At),
        Some(Operand::AsOfOffset(message)) => {
            span(message, &path.field("as_of_offset")).map(Instant::AsOfPlus)
        }
        Some(Operand::Number(_)) => Err(ApiError::field(
            &path.field("number"),
            "does not go with MEASURE_FIRST and MEASURE_LAST; set time or as_of_offset",
        )),
        None => Err(ApiError::field(
            &path.field("time"),
            "is missing: set time or as_of_offset, with which the event's time is compared",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use crate::model::Expression;
    use crate::testing::wire;
    use prost_types::{Duration, Timestamp};

    /// `count(purchase, 30d) >= 3`
    fn good() -> proto::EventPredicate {
        proto::EventPredicate {
            event: "purchase".into(),
            measure: proto::Measure::Count.into(),
            window: Some(rolling(2_592_000)),
            zone: String::new(),
            operator: Operator::GreaterOrEqual.into(),
            operand: Some(Operand::Number(3.0)),
        }
    }

    fn of(kind: window::Kind) -> proto::Window {
        proto::Window { kind: Some(kind) }
    }

    fn rolling(seconds: i64) -> proto::Window {
        of(window::Kind::Rolling(Duration { seconds, nanos: 0 }))
    }

    fn last(count: u32, unit: i32) -> proto::Window {
        of(window::Kind::Last(proto::LastUnits { count, unit }))
    }

    fn between(from: Option<instant::Kind>, to: Option<instant::Kind>) -> proto::Window {
        let instant = |kind| Some(proto::Instant { kind });
        of(window::Kind::Between(proto::InstantRange {
            from: instant(from),
            to: instant(to),
        }))
    }

    fn convert(message: proto::EventPredicate) -> Result<EventPredicate, ApiError> {
        event_predicate(message, &Path::Root.field("event"))
    }

    #[test]
    fn trees_mean_what_texts_mean() {
        let month = proto::CalendarUnit::Month;
        let day = proto::CalendarUnit::Day.into();
        let zero = Duration::default();
        let time = proto::Measure::Last;
        for (message, text) in [
            (good(), "count(purchase, 30d) >= 3"),
            (
                proto::EventPredicate {
                    zone: "europe/paris".into(),
                    ..good()
                },
                "count(purchase, 30d IN 'Europe/Paris') >= 3",
            ),
            (
                proto::EventPredicate {
                    window: None,
                    measure: proto::Measure::Average.into(),
                    operand: Some(Operand::Number(-0.1)),
                    ..good()
                },
                "avg(purchase) >= -0.1",
            ),
            (
                proto::EventPredicate {
                    window: Some(last(7, day)),
                    measure: proto::Measure::Days.into(),
                    ..good()
                },
                "days(purchase, last 7 days) >= 3",
            ),
            (
                proto::EventPredicate {
                    window: Some(of(window::Kind::ThisUnit(month.into()))),
                    measure: time.into(),
                    operand: Some(Operand::AsOfOffset(Duration {
                        seconds: -86_400,
                        nanos: 0,
                    })),
                    ..good()
                },
                "last(purchase, this month) >= now() - 1d",
            ),
            (
                proto::EventPredicate {
                    window: Some(between(
                        Some(instant::Kind::Time(Timestamp::default())),
                        Some(instant::Kind::AsOfOffset(zero)),
                    )),
                    measure: time.into(),
                    operand: Some(Operand::Time(Timestamp::default())),
                    ..good()
                },
                "last(purchase, DATE '1970-01-01', now()) >= DATE '1970-01-01'",
            ),
        ] {
            let expression = Expression::Event(Box::new(convert(message.clone()).unwrap()));
            assert_eq!(filter::parse(text).unwrap(), expression, "{text}");
            let sent = wire::expression(&expression).kind;
            let back = match sent {
                Some(proto::expression::Kind::Event(back)) => convert(*back).unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(back, convert(message).unwrap());
        }
    }

    #[test]
    fn malformed_windows_are_refused_with_their_path() {
        let day = proto::CalendarUnit::Day.into();
        let now = Some(instant::Kind::AsOfOffset(Duration::default()));
        let never = Some(instant::Kind::Time(Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }));
        for (window, field) in [
            (proto::Window { kind: None }, ""),
            (rolling(0), ".rolling"),
            (rolling(-1), ".rolling"),
            (rolling(i64::MAX), ".rolling"),
            (between(None, now), ".between.from"),
            (between(now, None), ".between.to"),
            (between(never, now), ".between.from.time"),
            (
                between(
                    now,
                    Some(instant::Kind::AsOfOffset(Duration {
                        seconds: 1,
                        nanos: -1,
                    })),
                ),
                ".between.to.as_of_offset",
            ),
            (
                of(window::Kind::Between(proto::InstantRange::default())),
                ".between.from",
            ),
            (of(window::Kind::ThisUnit(0)), ".this_unit"),
            (of(window::Kind::ThisUnit(99)), ".this_unit"),
            (last(0, day), ".last.count"),
            (last(1, 0), ".last.unit"),
        ] {
            let message = proto::EventPredicate {
                window: Some(window),
                ..good()
            };
            let error = convert(message).unwrap_err();
            assert_eq!(error.field.unwrap(), format!("event.window{field}"));
        }
    }

    #[test]
    fn malformed_tests_are_refused_with_their_path() {
        let number = |number| Some(Operand::Number(number));
        let time = Some(Operand::Time(Timestamp::default()));
        let offset = Some(Operand::AsOfOffset(Duration::default()));
        let (count, sum, last) = (
            proto::Measure::Count,
            proto::Measure::Sum,
            proto::Measure::Last,
        );
        for (measure, operand, field) in [
            (proto::Measure::Unspecified, number(1.0), "measure"),
            (count, None, "number"),
            (count, number(-1.0), "number"),
            (count, number(0.5), "number"),
            (count, time, "time"),
            (sum, offset, "as_of_offset"),
            (sum, number(f64::NAN), "number"),
            (sum, number(f64::INFINITY), "number"),
            (sum, number(1e13), "number"),
            (sum, number(1e-7), "number"),
            (last, number(1.0), "number"),
            (last, None, "time"),
            (
                last,
                Some(Operand::Time(Timestamp {
                    seconds: 0,
                    nanos: -1,
                })),
                "time",
            ),
            (
                last,
                Some(Operand::AsOfOffset(Duration {
                    seconds: i64::MIN,
                    nanos: 0,
                })),
                "as_of_offset",
            ),
        ] {
            let message = proto::EventPredicate {
                measure: measure.into(),
                operand,
                ..good()
            };
            let error = convert(message).unwrap_err();
            assert_eq!(error.field.unwrap(), format!("event.{field}"));
        }
        for (message, field) in [
            (
                proto::EventPredicate {
                    event: String::new(),
                    ..good()
                },
                "event",
            ),
            (
                proto::EventPredicate {
                    event: "x".repeat(129),
                    ..good()
                },
                "event",
            ),
            (
                proto::EventPredicate {
                    zone: "Europe/Pariss".into(),
                    ..good()
                },
                "zone",
            ),
            (
                proto::EventPredicate {
                    operator: 0,
                    ..good()
                },
                "operator",
            ),
            (
                proto::EventPredicate {
                    operator: Operator::In.into(),
                    ..good()
                },
                "operator",
            ),
        ] {
            let error = convert(message).unwrap_err();
            assert_eq!(error.field.unwrap(), format!("event.{field}"));
        }
    }
}
