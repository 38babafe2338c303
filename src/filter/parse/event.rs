//! Reads functions of events: `count(purchase, 30d) >= 3`.

use std::num::NonZeroU32;

use super::{Parsed, Parser};
use crate::filter::error::Fault;
use crate::filter::help;
use crate::filter::literal;
use crate::filter::token::{Kind, quote};
use crate::model::{
    Amount, AmountError, CalendarUnit, Comparison, EventMeasure, EventName, EventPredicate,
    EventTest, Expression, Instant, Measure, Measured, NonEmpty, Span, Timestamp, WhichEvent,
    Window, Zone,
};

/// The functions and their names.
const FUNCTIONS: [(&str, Measured); 10] = [
    ("count", Measured::Number(Measure::Count)),
    ("days", Measured::Number(Measure::Days)),
    ("weeks", Measured::Number(Measure::Weeks)),
    ("months", Measured::Number(Measure::Months)),
    ("sum", Measured::Number(Measure::Sum)),
    ("avg", Measured::Number(Measure::Average)),
    ("min", Measured::Number(Measure::Least)),
    ("max", Measured::Number(Measure::Greatest)),
    ("first", Measured::Time(WhichEvent::First)),
    ("last", Measured::Time(WhichEvent::Last)),
];

/// The function that a word names.
fn function(word: &str) -> Option<Measured> {
    FUNCTIONS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, function)| *function)
}

/// An instant as it is written. Where a date begins is known only once the zone is.
#[derive(Clone, Copy)]
enum Written {
    Instant(Instant),
    Date(Timestamp),
}

impl Written {
    fn within(self, zone: &Zone) -> Instant {
        match self {
            Self::Instant(instant) => instant,
            Self::Date(date) => Instant::At(zone.start_of_date(date)),
        }
    }
}

/// A window as it is written.
enum WrittenWindow {
    Window(Window),
    Between(Written, Written),
}

impl Parser<'_> {
    /// Whether a function of events starts here. Without a parenthesis it is a property.
    pub(super) fn at_event_function(&self) -> bool {
        matches!(self.current.kind, Kind::Word(word) if function(word).is_some())
            && self.following() == Kind::Symbol("(")
    }

    pub(super) fn event_predicate(&mut self) -> Result<Parsed, Fault> {
        let start = self.current.start;
        let events = self.events()?;
        if let Some(comparison) = self.comparison() {
            let at = self.current.start;
            self.advance()?;
            if self.current.start == at + 1 && self.at_symbol("=") {
                return Err(self.expected("a value").help("write `=` to compare"));
            }
            let predicate = self.compared(&events, comparison)?;
            return self.node(start, 1, predicate);
        }
        let negated = self.accept_word("NOT")?;
        let parsed = if self.accept_word("BETWEEN")? {
            self.event_between(start, &events)?
        } else if self.accept_word("IN")? {
            self.event_in(start, &events)?
        } else {
            let (expected, help) = if negated {
                ("IN or BETWEEN", help::after_not(&self.current.kind))
            } else {
                (
                    "a comparison such as `=`, `>=`, IN or BETWEEN",
                    help::in_place_of_event_test(&self.current.kind),
                )
            };
            return Err(self.expected(expected).maybe_help(help));
        };
        if negated {
            self.complement(start, parsed)
        } else {
            Ok(parsed)
        }
    }

    /// The function with what stands in its parentheses.
    pub(super) fn events(&mut self) -> Result<EventMeasure, Fault> {
        let named = if let Kind::Word(word) = self.current.kind {
            function(word)
        } else {
            None
        };
        let Some(measured) = named else {
            return Err(self.expected("a function of events such as count"));
        };
        self.advance()?;
        if !self.accept_symbol("(")? {
            return Err(self.expected("`(` and the name of an event"));
        }
        let event = self.event_name()?;
        let windowed = self.accept_symbol(",")?;
        let window = if windowed {
            self.window()?
        } else {
            WrittenWindow::Window(Window::Ever)
        };
        let zoned = self.accept_word("IN")?;
        let zone = if zoned { self.zone()? } else { Zone::utc() };
        if !self.accept_symbol(")")? {
            let expected = if zoned {
                "`)`"
            } else if windowed {
                "IN and a time zone, or `)`"
            } else {
                "`,` and a window, IN and a time zone, or `)`"
            };
            return Err(self.expected(expected).maybe_help(help::after_event(
                self.previous,
                &self.current.kind,
                &self.following(),
                windowed,
            )));
        }
        let window = match window {
            WrittenWindow::Window(window) => window,
            WrittenWindow::Between(from, to) => Window::Between {
                from: from.within(&zone),
                to: to.within(&zone),
            },
        };
        Ok(EventMeasure {
            event,
            window,
            zone,
            measured,
        })
    }

    fn event_name(&mut self) -> Result<EventName, Fault> {
        let name = match &self.current.kind {
            Kind::QuotedName(name) => EventName::new(name.as_ref()),
            Kind::Word(word) if !super::is_reserved(word) => EventName::new(*word),
            Kind::Word(_)
            | Kind::Text(_)
            | Kind::Number(_)
            | Kind::Suffixed(_)
            | Kind::Symbol(_)
            | Kind::End => {
                let help = help::in_place_of_event(&self.current.kind);
                return Err(self.expected("the name of an event").maybe_help(help));
            }
        };
        self.named(name, "the name of an event")
    }

    // Windows.

    fn window(&mut self) -> Result<WrittenWindow, Fault> {
        const WINDOW: &str = "a window such as 30d, this month, last 4 weeks, or two instants";

        if self.accept_word("THIS")? {
            return Ok(WrittenWindow::Window(Window::This(self.calendar_unit()?)));
        }
        if self.accept_word("LAST")? {
            let count = self.whole_units()?;
            let unit = self.calendar_unit()?;
            return Ok(WrittenWindow::Window(Window::Last(count, unit)));
        }
        if let Kind::Suffixed(written) = self.current.kind {
            let span: Span = written
                .parse()
                .map_err(|error| self.expected(WINDOW).help(help::span(&error)))?;
            if span == Span::ZERO {
                return Err(self.expected("a window longer than nothing"));
            }
            self.advance()?;
            return Ok(WrittenWindow::Window(Window::Rolling(span)));
        }
        let Some(from) = self.instant()? else {
            let help = help::in_place_of_window(&self.current.kind, &self.following());
            return Err(self.expected(WINDOW).maybe_help(help));
        };
        if !self.accept_symbol(",")? {
            return Err(self
                .expected("`,` and the end of the window")
                .help("a window has two instants; up to now is: DATE '2026-01-31', now()"));
        }
        match self.instant()? {
            Some(to) => Ok(WrittenWindow::Between(from, to)),
            None => Err(self
                .expected("the end of the window")
                .maybe_help(help::in_place_of_instant(&self.current.kind))),
        }
    }

    /// How many units.
    fn whole_units(&mut self) -> Result<NonZeroU32, Fault> {
        let expected = "a whole number from 1 to 4294967295";
        let Kind::Number(digits) = self.current.kind else {
            let help = help::in_place_of_units(&self.current.kind);
            return Err(self.expected(expected).maybe_help(help));
        };
        let count = digits.parse().map_err(|_| self.expected(expected))?;
        self.advance()?;
        Ok(count)
    }

    fn calendar_unit(&mut self) -> Result<CalendarUnit, Fault> {
        let unit = match &self.current.kind {
            kind if kind.is_word("day") || kind.is_word("days") => CalendarUnit::Day,
            kind if kind.is_word("week") || kind.is_word("weeks") => CalendarUnit::Week,
            kind if kind.is_word("month") || kind.is_word("months") => CalendarUnit::Month,
            other => {
                return Err(self
                    .expected("days, weeks or months")
                    .maybe_help(help::in_place_of_unit(other, self.previous)));
            }
        };
        self.advance()?;
        Ok(unit)
    }

    fn zone(&mut self) -> Result<Zone, Fault> {
        let expected = "a time zone in single quotes such as 'Europe/Paris'";
        let Kind::Text(text) = &self.current.kind else {
            let help = help::in_place_of_zone(&self.current.kind);
            return Err(self.expected(expected).maybe_help(help));
        };
        let zone = Zone::new(text).map_err(|error| {
            let near = error.near.map(|near| format!("did you mean '{near}'?"));
            self.expected("a time zone of the IANA database such as 'Europe/Paris'")
                .maybe_help(near)
        })?;
        self.advance()?;
        Ok(zone)
    }

    /// An instant, or nothing if something else stands here.
    fn instant(&mut self) -> Result<Option<Written>, Fault> {
        if self.at_now() {
            let span = self.now()?;
            return Ok(Some(Written::Instant(Instant::AsOfPlus(span))));
        }
        let date = self.at_word("DATE");
        let Kind::Text(text) = self.following() else {
            return Ok(None);
        };
        if !date && !self.at_word("TIMESTAMP") {
            return Ok(None);
        }
        self.advance()?;
        let start = self.current.start;
        let read = if date {
            literal::date(&text, "a date such as '2026-01-31'")
        } else {
            literal::timestamp(&text)
        };
        let instant = read.map_err(|problem| problem.at(start, &format!("'{text}'")))?;
        self.advance()?;
        Ok(Some(if date {
            Written::Date(instant)
        } else {
            Written::Instant(Instant::At(instant))
        }))
    }

    // Tests.

    /// A comparison with what stands here.
    fn compared(
        &mut self,
        events: &EventMeasure,
        comparison: Comparison,
    ) -> Result<Expression, Fault> {
        let test = match events.measured {
            Measured::Number(measure) => EventTest::Number {
                measure,
                comparison,
                operand: self.amount(measure)?,
            },
            Measured::Time(which) => EventTest::Time {
                which,
                comparison,
                operand: self.compared_instant(&events.zone)?,
            },
        };
        Ok(Expression::Event(Box::new(EventPredicate {
            event: events.event.clone(),
            window: events.window.clone(),
            zone: events.zone.clone(),
            test,
        })))
    }

    fn compared_instant(&mut self, zone: &Zone) -> Result<Instant, Fault> {
        match self.instant()? {
            Some(written) => Ok(written.within(zone)),
            None => Err(self
                .expected("an instant such as now() - 14d or DATE '2026-01-31'")
                .maybe_help(help::in_place_of_instant(&self.current.kind))),
        }
    }

    fn amount(&mut self, measure: Measure) -> Result<Amount, Fault> {
        let expected = if measure.counts() {
            "a whole number of at least 0"
        } else {
            "a number"
        };
        let start = self.current.start;
        let negative = self.at_symbol("-");
        let number = if negative {
            self.following()
        } else {
            self.current.kind.clone()
        };
        let Kind::Number(digits) = number else {
            let help = help::in_place_of_amount(&self.current.kind);
            return Err(self.expected(expected).maybe_help(help));
        };
        let written = format!("{}{digits}", if negative { "-" } else { "" });
        let fault = |expected: &str| Fault::new(start, expected, quote(&written));
        let amount = exact(&written).map_err(|error| {
            fault(match error {
                AmountError::Decimals => "a number with at most 6 decimals",
                AmountError::Range | AmountError::Form => {
                    "a number from -1000000000000 to 1000000000000"
                }
            })
        })?;
        if measure.counts() && (amount < Amount::ZERO || amount.as_whole().is_none()) {
            return Err(fault(expected).help("it is compared with a number of things"));
        }
        if negative {
            self.advance()?;
        }
        self.advance()?;
        Ok(amount)
    }

    fn event_between(&mut self, start: usize, events: &EventMeasure) -> Result<Parsed, Fault> {
        let low = self.compared(events, Comparison::GreaterOrEqual)?;
        if !self.accept_word("AND")? {
            return Err(self
                .expected("AND and the upper bound")
                .help("both bounds belong to it: count(purchase) BETWEEN 1 AND 5"));
        }
        let high = self.compared(events, Comparison::LessOrEqual)?;
        let mut both = NonEmpty::one(self.node(start, 1, low)?.expression);
        both.push(self.node(start, 1, high)?.expression);
        self.node(start, 2, Expression::And(both))
    }

    /// A list stands for its equalities, each of which is a node.
    fn event_in(&mut self, start: usize, events: &EventMeasure) -> Result<Parsed, Fault> {
        if !self.accept_symbol("(")? {
            return Err(self
                .expected("`(` and a list")
                .help("a list stands in parentheses: IN (1, 2)"));
        }
        if self.at_symbol(")") {
            return Err(self
                .expected("a value")
                .help("an empty list is an error: it would select nobody"));
        }
        let first = self.compared(events, Comparison::Equal)?;
        let mut any = NonEmpty::one(self.node(start, 1, first)?.expression);
        while self.accept_symbol(",")? {
            let at = self.current.start;
            let next = self.compared(events, Comparison::Equal)?;
            any.push(self.node(at, 1, next)?.expression);
        }
        if !self.accept_symbol(")")? {
            return Err(self.expected("`,` or `)`").maybe_help(help::after_value(
                self.previous,
                self.adjacent(),
                &self.current.kind,
            )));
        }
        match <[Expression; 1]>::try_from(any.into_vec()) {
            Ok([expression]) => Ok(Parsed {
                expression,
                height: 1,
            }),
            Err(several) => match NonEmpty::new(several) {
                Some(several) => self.node(start, 2, Expression::Or(several)),
                None => Err(self.expected("a value")),
            },
        }
    }
}

/// The amount that is written: exactly, also where a floating point number would not be.
fn exact(written: &str) -> Result<Amount, AmountError> {
    match written.parse() {
        // With an exponent.
        Err(AmountError::Form) => {
            let number: f64 = written.parse().map_err(|_| AmountError::Form)?;
            Amount::exactly(number)
        }
        read => read,
    }
}
