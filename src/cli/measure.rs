//! Functions of events on the command line: `sum(purchase, 365d)`, and the same as the protocol has
//! them.

use super::error::CliError;
use super::value;
use crate::filter::{self, caret};
use crate::model::{CalendarUnit, EventMeasure, Instant, Measure, Measured, WhichEvent, Window};
use crate::proto;
use crate::proto::{instant, window};

/// The function that an argument names.
pub(super) fn read(argument: &str, text: &str) -> Result<EventMeasure, CliError> {
    filter::parse_measure(text).map_err(|error| {
        let shown = caret(text, error.line(), error.column());
        CliError::Input(format!("{argument}: {error}\n{shown}"))
    })
}

/// The function as the protocol has it.
pub(super) fn message(measure: &EventMeasure) -> proto::EventMeasure {
    let told = match measure.measured {
        Measured::Number(Measure::Count) => proto::Measure::Count,
        Measured::Number(Measure::Days) => proto::Measure::Days,
        Measured::Number(Measure::Weeks) => proto::Measure::Weeks,
        Measured::Number(Measure::Months) => proto::Measure::Months,
        Measured::Number(Measure::Sum) => proto::Measure::Sum,
        Measured::Number(Measure::Average) => proto::Measure::Average,
        Measured::Number(Measure::Least) => proto::Measure::Minimum,
        Measured::Number(Measure::Greatest) => proto::Measure::Maximum,
        Measured::Time(WhichEvent::First) => proto::Measure::First,
        Measured::Time(WhichEvent::Last) => proto::Measure::Last,
    };
    proto::EventMeasure {
        event: measure.event.as_str().to_owned(),
        measure: told.into(),
        window: window_message(&measure.window),
        zone: measure.zone.as_str().to_owned(),
    }
}

fn window_message(window: &Window) -> Option<proto::Window> {
    let kind = match window {
        Window::Ever => return None,
        Window::Rolling(span) => window::Kind::Rolling(value::span_message(*span)),
        Window::Between { from, to } => window::Kind::Between(proto::InstantRange {
            from: Some(instant_message(*from)),
            to: Some(instant_message(*to)),
        }),
        Window::This(unit) => window::Kind::ThisUnit(unit_message(*unit).into()),
        Window::Last(count, unit) => window::Kind::Last(proto::LastUnits {
            count: count.get(),
            unit: unit_message(*unit).into(),
        }),
    };
    Some(proto::Window { kind: Some(kind) })
}

fn instant_message(instant: Instant) -> proto::Instant {
    let kind = match instant {
        Instant::At(at) => instant::Kind::Time(value::timestamp_message(at)),
        Instant::AsOfPlus(span) => instant::Kind::AsOfOffset(value::span_message(span)),
    };
    proto::Instant { kind: Some(kind) }
}

fn unit_message(unit: CalendarUnit) -> proto::CalendarUnit {
    match unit {
        CalendarUnit::Day => proto::CalendarUnit::Day,
        CalendarUnit::Week => proto::CalendarUnit::Week,
        CalendarUnit::Month => proto::CalendarUnit::Month,
    }
}
