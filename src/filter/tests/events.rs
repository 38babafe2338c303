//! Good and bad functions of events.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::{parse, printed, refused};
use crate::filter::{begins_measure, caret, parse_measure};
use crate::model::{
    Amount, CalendarUnit, Comparison, EventName, EventPredicate, EventTest, Expression, Instant,
    Measure, Timestamp, WhichEvent, Window, Zone,
};

/// What is written, and the same as it is printed.
#[rustfmt::skip]
const GOOD: &[(&str, &str)] = &[
    ("count(purchase, 30d) >= 3",
     "count(purchase, 30d) >= 3"),
    ("COUNT ( purchase , 2w ) = 0",
     "count(purchase, 14d) = 0"),
    ("count(purchase) > 0",
     "count(purchase) > 0"),
    ("count(\"Order Placed\", 12h) <> 1",
     "count(\"Order Placed\", 12h) != 1"),
    ("count(\"count\", 1us) < 2.0 and count(count) = 1e3",
     "count(count, 1us) < 2 AND count(count) = 1000"),
    ("count(\"in\" in 'europe/paris') = 1",
     "count(\"in\" IN 'Europe/Paris') = 1"),
    ("days(login, last 7 days) >= 5",
     "days(login, last 7 days) >= 5"),
    ("weeks(login, LAST 1 WEEK) = 1 AND months(login, Last 12 Months IN 'Asia/Calcutta') = 12",
     "weeks(login, last 1 weeks) = 1 AND months(login, last 12 months IN 'Asia/Kolkata') = 12"),
    ("days(login, this month) > 3 or days(login, This Week) > 2 or days(login, THIS DAY) > 0",
     "days(login, this month) > 3 OR days(login, this week) > 2 OR days(login, this day) > 0"),
    ("count(login, this day in 'UTC') > 0",
     "count(login, this day) > 0"),
    ("sum(purchase, 90d) >= 1000.50 AND avg(purchase, 90d) > 25.0",
     "sum(purchase, 90d) >= 1000.5 AND avg(purchase, 90d) > 25"),
    ("min(purchase) < -0.000001 and max(purchase) <= - 2",
     "min(purchase) < -0.000001 AND max(purchase) <= -2"),
    ("sum(purchase) = 999999999999.999999",
     "sum(purchase) = 999999999999.999999"),
    ("sum(purchase) = 1.5e-3",
     "sum(purchase) = 0.0015"),
    ("last(login) < now() - 14d",
     "last(login) < now() - 14d"),
    ("first(login, 30d) >= TIMESTAMP '2026-01-31T09:30:00+01:00'",
     "first(login, 30d) >= TIMESTAMP '2026-01-31T08:30:00Z'"),
    ("first(login) >= DATE '2026-01-31'",
     "first(login) >= TIMESTAMP '2026-01-31T00:00:00Z'"),
    ("last(login IN 'Europe/Paris') < date '2026-07-14'",
     "last(login IN 'Europe/Paris') < TIMESTAMP '2026-07-13T22:00:00Z'"),
    ("count(x, DATE '2026-03-01', DATE '2026-04-01') > 0",
     "count(x, TIMESTAMP '2026-03-01T00:00:00Z', TIMESTAMP '2026-04-01T00:00:00Z') > 0"),
    ("count(x, DATE '2026-03-01', DATE '2026-04-01' IN 'Europe/Paris') > 0",
     "count(x, TIMESTAMP '2026-02-28T23:00:00Z', TIMESTAMP '2026-03-31T22:00:00Z' IN 'Europe/Paris') > 0"),
    ("count(x, timestamp '2026-03-01', timestamp '2026-04-01T00:00:00Z' IN 'Europe/Paris') > 0",
     "count(x, TIMESTAMP '2026-03-01T00:00:00Z', TIMESTAMP '2026-04-01T00:00:00Z' IN 'Europe/Paris') > 0"),
    ("count(x, now() - 60d, NOW() - 30d) > 0",
     "count(x, now() - 60d, now() - 30d) > 0"),
    ("count(x, now() + 1h, now()) > 0",
     "count(x, now() + 1h, now()) > 0"),
    ("count(x, 30d) BETWEEN 2 AND 5 AND a = 1",
     "(count(x, 30d) >= 2 AND count(x, 30d) <= 5) AND a = 1"),
    ("last(x) NOT BETWEEN now() - 7d AND now()",
     "NOT (last(x) >= now() - 7d AND last(x) <= now())"),
    ("first(x IN 'Asia/Tokyo') BETWEEN DATE '2026-01-01' AND DATE '2026-01-02'",
     "first(x IN 'Asia/Tokyo') >= TIMESTAMP '2025-12-31T15:00:00Z' AND first(x IN 'Asia/Tokyo') <= TIMESTAMP '2026-01-01T15:00:00Z'"),
    ("count(x) IN (1, 3) AND NOT count(x) NOT IN (2)",
     "(count(x) = 1 OR count(x) = 3) AND NOT NOT count(x) = 2"),
    ("avg(x) NOT IN (1.5, 2)",
     "NOT (avg(x) = 1.5 OR avg(x) = 2)"),
    ("NOT count(x) > 0 OR at least 1 of (count(x) = 1, sum(x) = 2)",
     "NOT count(x) > 0 OR AT LEAST 1 OF (count(x) = 1, sum(x) = 2)"),
    ("count = 1 AND last IN (1) AND \"sum\" IS SET AND days BETWEEN 1 AND 2",
     "count = 1 AND last IN (1) AND sum IS SET AND (days >= 1 AND days <= 2)"),
    ("count -- how many\n(purchase -- of these\n, 30d) > 1",
     "count(purchase, 30d) > 1"),
];

/// What is written, and what is wrong with it.
#[rustfmt::skip]
const BAD: &[(&str, &str)] = &[
    ("count()",
     "line 1, column 7: expected the name of an event, found `)`; a function is about one event: count(purchase)"),
    ("count('purchase') > 1",
     "line 1, column 7: expected the name of an event, found the text 'purchase'; the name of an event stands plain or in double quotes: \"purchase\""),
    ("count(in) > 1",
     "line 1, column 7: expected the name of an event, found `in`; `in` is a keyword: as the name of an event it needs double quotes: \"in\""),
    ("count(7up) > 1",
     "line 1, column 7: expected the name of an event, found `7up`; a name that starts with a digit needs double quotes"),
    ("count(*) > 1",
     "line 1, column 7: expected a name, a value or a keyword, found the character '*'"),
    ("count(\"\") > 1",
     "line 1, column 7: expected the name of an event, found the name \"\""),
    ("count(app-open) > 1",
     "line 1, column 10: expected `,` and a window, IN and a time zone, or `)`, found `-`; a name with other characters than letters, digits, `_` and `.` needs double quotes: \"app-open\""),
    ("count(app open) > 1",
     "line 1, column 11: expected `,` and a window, IN and a time zone, or `)`, found `open`; a name with other characters than letters, digits, `_` and `.` needs double quotes: \"app open\""),
    ("count(purchase",
     "line 1, column 15: expected `,` and a window, IN and a time zone, or `)`, found the end of the text; a `(` is not closed"),
    ("count(purchase > 3)",
     "line 1, column 16: expected `,` and a window, IN and a time zone, or `)`, found `>`; the comparison stands after the parenthesis: count(purchase) > 3"),
    ("count(purchase WHERE price > 3) > 1",
     "line 1, column 16: expected `,` and a window, IN and a time zone, or `)`, found `WHERE`; events have no properties of their own to test"),
    ("count(purchase 30d) > 1",
     "line 1, column 16: expected `,` and a window, IN and a time zone, or `)`, found `30d`; a window stands after a comma: count(purchase, 30d)"),
    ("count(purchase last 30 days) > 1",
     "line 1, column 16: expected `,` and a window, IN and a time zone, or `)`, found `last`; a window stands after a comma: count(purchase, last 30 days)"),
    ("count(purchase, 30d, 5) > 1",
     "line 1, column 20: expected IN and a time zone, or `)`, found `,`; a function has one event and one window"),
    ("count(purchase, 30d 'Europe/Paris') > 1",
     "line 1, column 21: expected IN and a time zone, or `)`, found the text 'Europe/Paris'; a time zone stands after IN: IN 'Europe/Paris'"),
    ("count(purchase, 30d - 7d) > 1",
     "line 1, column 21: expected IN and a time zone, or `)`, found `-`; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("count(purchase,) > 1",
     "line 1, column 16: expected a window such as 30d, this month, last 4 weeks, or two instants, found `)`"),
    ("count(purchase, 30) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the number 30; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("count(purchase, 30 days) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the number 30; write 30d for so much time, or last 30 days for whole days"),
    ("count(purchase, 3 hours) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the number 3; write 3h"),
    ("count(purchase, 3 months) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the number 3; write last 3 months"),
    ("count(purchase, 30x) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `30x`; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("count(purchase, 9999999d) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `9999999d`; the span is longer than 10,000 years"),
    ("count(purchase, 0d) > 1",
     "line 1, column 17: expected a window longer than nothing, found `0d`"),
    ("count(purchase, '30d') > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the text '30d'; a window stands without quotes: 30d"),
    ("count(purchase, today) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `today`; write this day"),
    ("count(purchase, yesterday) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `yesterday`; write last 1 day"),
    ("count(purchase, INTERVAL '30 days') > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `INTERVAL`; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("count(purchase, last month) > 1",
     "line 1, column 22: expected a whole number from 1 to 4294967295, found `month`; write last 1 month"),
    ("count(purchase, last 30d) > 1",
     "line 1, column 22: expected a whole number from 1 to 4294967295, found `30d`; a span stands alone: 30d; whole days, weeks and months stand after LAST: last 30 days"),
    ("count(purchase, last 3 hours) > 1",
     "line 1, column 24: expected days, weeks or months, found `hours`; windows of hours and less are exact: 3h"),
    ("count(purchase, last 3 years) > 1",
     "line 1, column 24: expected days, weeks or months, found `years`; years are counted in months: last 12 months"),
    ("count(purchase, last 3 dasy) > 1",
     "line 1, column 24: expected days, weeks or months, found `dasy`; did you mean days?"),
    ("count(purchase, last 0 days) > 1",
     "line 1, column 22: expected a whole number from 1 to 4294967295, found the number 0"),
    ("count(purchase, last 1.5 days) > 1",
     "line 1, column 22: expected a whole number from 1 to 4294967295, found the number 1.5"),
    ("count(purchase, last 4294967296 days) > 1",
     "line 1, column 22: expected a whole number from 1 to 4294967295, found the number 4294967296"),
    ("count(purchase, this year) > 1",
     "line 1, column 22: expected days, weeks or months, found `year`; years are counted in months: last 12 months"),
    ("count(purchase, this hour) > 1",
     "line 1, column 22: expected days, weeks or months, found `hour`; windows of hours and less are exact: 1h"),
    ("count(purchase, now) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `now`; the instant of the question is now()"),
    ("count(purchase, now() - 30d) > 1",
     "line 1, column 28: expected `,` and the end of the window, found `)`; a window has two instants; up to now is: DATE '2026-01-31', now()"),
    ("count(purchase, DATE '2026-01-01') > 1",
     "line 1, column 34: expected `,` and the end of the window, found `)`; a window has two instants; up to now is: DATE '2026-01-31', now()"),
    ("count(purchase, DATE '2026-01-01', 30d) > 1",
     "line 1, column 36: expected the end of the window, found `30d`; spans are added to now(): now() - 30d"),
    ("count(purchase, DATE '2026-02-30', now()) > 1",
     "line 1, column 22: expected a date such as '2026-01-31', found `'2026-02-30'`"),
    ("count(purchase, DATE '2026-01-01T00:00:00Z', now()) > 1",
     "line 1, column 22: expected a date such as '2026-01-31', found `'2026-01-01T00:00:00Z'`; write TIMESTAMP before a date with a time"),
    ("count(purchase, TIMESTAMP 'x', now()) > 1",
     "line 1, column 27: expected a date such as '2026-01-31', or RFC 3339 with an offset such as '2026-01-31T09:30:00Z', found `'x'`"),
    ("count(purchase, DATE \"2026-01-01\", now()) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found `DATE`; use single quotes for texts"),
    ("count(purchase, '2026-01-01', '2026-02-01') > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the text '2026-01-01'; an instant needs its word: DATE '2026-01-01'"),
    ("count(purchase, 2026-01-01, 2026-02-01) > 1",
     "line 1, column 17: expected a window such as 30d, this month, last 4 weeks, or two instants, found the number 2026; a date needs its word and single quotes: DATE '2026-01-31'"),
    ("count(purchase, 30d IN Europe) > 1",
     "line 1, column 24: expected a time zone in single quotes such as 'Europe/Paris', found `Europe`; the name of a zone stands in single quotes: 'Europe'"),
    ("count(purchase, 30d IN \"Europe/Paris\") > 1",
     "line 1, column 24: expected a time zone in single quotes such as 'Europe/Paris', found the name \"Europe/Paris\"; the name of a zone stands in single quotes: 'Europe/Paris'"),
    ("count(purchase, 30d IN 'Europe/Pariss') > 1",
     "line 1, column 24: expected a time zone of the IANA database such as 'Europe/Paris', found the text 'Europe/Pariss'; did you mean 'Europe/Paris'?"),
    ("count(purchase, 30d IN 'CEST') > 1",
     "line 1, column 24: expected a time zone of the IANA database such as 'Europe/Paris', found the text 'CEST'"),
    ("count(purchase, 30d IN 'UTC' x) > 1",
     "line 1, column 30: expected `)`, found `x`"),
    ("count(purchase)",
     "line 1, column 16: expected a comparison such as `=`, `>=`, IN or BETWEEN, found the end of the text; a function of events alone is no test: whether there are any is count(..) > 0"),
    ("count(purchase) AND age = 1",
     "line 1, column 17: expected a comparison such as `=`, `>=`, IN or BETWEEN, found `AND`; a function of events alone is no test: whether there are any is count(..) > 0"),
    ("count(purchase) IS SET",
     "line 1, column 17: expected a comparison such as `=`, `>=`, IN or BETWEEN, found `IS`; a function of events alone is no test: whether there are any is count(..) > 0"),
    ("count(purchase) bewteen 1 and 2",
     "line 1, column 17: expected a comparison such as `=`, `>=`, IN or BETWEEN, found `bewteen`; did you mean BETWEEN?"),
    ("count(purchase) NOT = 1",
     "line 1, column 21: expected IN or BETWEEN, found `=`; write `!=`"),
    ("count(purchase) ==",
     "line 1, column 17: expected `=`, found `==`; write `=` to compare"),
    ("count(purchase) >= = 1",
     "line 1, column 20: expected a whole number of at least 0, found `=`"),
    ("count(purchase) > -1",
     "line 1, column 19: expected a whole number of at least 0, found `-1`; it is compared with a number of things"),
    ("count(purchase) > 1.5",
     "line 1, column 19: expected a whole number of at least 0, found `1.5`; it is compared with a number of things"),
    ("count(purchase) > 'three'",
     "line 1, column 19: expected a whole number of at least 0, found the text 'three'; numbers stand without quotes"),
    ("count(purchase) > NULL",
     "line 1, column 19: expected a whole number of at least 0, found `NULL`; users without events are found by count(..) = 0"),
    ("count(purchase) > now()",
     "line 1, column 19: expected a whole number of at least 0, found `now`; the time of events is compared by first(..) and last(..)"),
    ("count(purchase) > 30d",
     "line 1, column 19: expected a whole number of at least 0, found `30d`; the time of events is compared by first(..) and last(..)"),
    ("count(purchase) > sum(purchase)",
     "line 1, column 19: expected a whole number of at least 0, found `sum`; two functions of events can't be compared with each other"),
    ("count(purchase) = (1, 2)",
     "line 1, column 19: expected a whole number of at least 0, found `(`; a list needs IN: count(purchase) IN (1, 2)"),
    ("count(purchase) > three",
     "line 1, column 19: expected a whole number of at least 0, found `three`"),
    ("count(purchase) > - x",
     "line 1, column 19: expected a whole number of at least 0, found `-`"),
    ("sum(purchase) > 0.0000001",
     "line 1, column 17: expected a number with at most 6 decimals, found `0.0000001`"),
    ("sum(purchase) > 1000000000000.5",
     "line 1, column 17: expected a number from -1000000000000 to 1000000000000, found `1000000000000.5`"),
    ("sum(purchase) > 1e300",
     "line 1, column 17: expected a number from -1000000000000 to 1000000000000, found `1e300`"),
    ("sum(purchase) > 1e999",
     "line 1, column 17: expected a number from -1000000000000 to 1000000000000, found `1e999`"),
    ("sum(purchase) > 1_000",
     "line 1, column 17: expected a number, found `1_000`; numbers stand without separators: 1000"),
    ("sum(purchase) > 1,000",
     "line 1, column 18: expected AND, OR or the end of the text, found `,`; numbers stand without separators, with a point before decimals: 1000000 or 0.5"),
    ("count(purchase) BETWEEN 1",
     "line 1, column 26: expected AND and the upper bound, found the end of the text; both bounds belong to it: count(purchase) BETWEEN 1 AND 5"),
    ("count(purchase) IN 1",
     "line 1, column 20: expected `(` and a list, found the number 1; a list stands in parentheses: IN (1, 2)"),
    ("count(purchase) IN ()",
     "line 1, column 21: expected a value, found `)`; an empty list is an error: it would select nobody"),
    ("count(purchase) IN (1, 2",
     "line 1, column 25: expected `,` or `)`, found the end of the text"),
    ("last(login) < 14d",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found `14d`; spans are added to now(): now() - 14d"),
    ("last(login) < 14",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found the number 14; a date needs its word and single quotes: DATE '2026-01-31'"),
    ("last(login) < '2026-01-01'",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found the text '2026-01-01'; an instant needs its word: DATE '2026-01-01'"),
    ("last(login) < NULL",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found `NULL`; users without events are found by count(..) = 0"),
    ("last(login) < now",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found `now`; the instant of the question is now()"),
    ("last(login) < last(logout)",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found `last`; two functions of events can't be compared with each other"),
    ("last(login) < INTERVAL '14 days'",
     "line 1, column 15: expected an instant such as now() - 14d or DATE '2026-01-31', found `INTERVAL`; spans are added to now(): now() - 30d; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("last(login) < now() - 14",
     "line 1, column 23: expected a span of time such as 30d, found the number 14; a span is a whole number and its unit without space between: us, ms, s, m, h, d or w"),
    ("average(purchase) > 1",
     "line 1, column 1: expected a property, found `average`; did you mean avg? The functions of events are count, days, weeks, months, sum, avg, min, max, first, last"),
    ("cuont(purchase) > 1",
     "line 1, column 1: expected a property, found `cuont`; did you mean count? The functions of events are count, days, weeks, months, sum, avg, min, max, first, last"),
    ("day(purchase) > 1",
     "line 1, column 1: expected a property, found `day`; did you mean days? The functions of events are count, days, weeks, months, sum, avg, min, max, first, last"),
    ("round(purchase) > 1",
     "line 1, column 1: expected a property, found `round`; functions of properties, such as `round`, are not supported yet"),
    ("sequence(signup, purchase)",
     "line 1, column 1: expected a property, found `sequence`; the order of events, such as one and then another within 7 days, can't be asked yet"),
    ("funnel(signup, purchase, 7d) = 2",
     "line 1, column 1: expected a property, found `funnel`; the order of events, such as one and then another within 7 days, can't be asked yet"),
    ("count(signup) > 0 THEN count(purchase) > 0",
     "line 1, column 19: expected AND, OR or the end of the text, found `THEN`; the order of events, such as one and then another within 7 days, can't be asked yet"),
    ("count(signup) THEN count(purchase)",
     "line 1, column 15: expected a comparison such as `=`, `>=`, IN or BETWEEN, found `THEN`; the order of events, such as one and then another within 7 days, can't be asked yet"),
    ("followed_by(a, b)",
     "line 1, column 1: expected a property, found `followed_by`; the order of events, such as one and then another within 7 days, can't be asked yet"),
];

#[test]
fn good_functions() {
    for (text, expected) in GOOD {
        assert_eq!(printed(text), *expected, "{text}");
        assert_eq!(parse(text), parse(expected), "{text}");
    }
}

#[test]
fn bad_functions() {
    for (text, expected) in BAD {
        assert_eq!(refused(text), *expected, "{text}");
    }
}

fn predicate(window: Window, zone: &str, test: EventTest) -> Expression {
    Expression::Event(Box::new(EventPredicate {
        event: EventName::new("login").unwrap(),
        window,
        zone: Zone::new(zone).unwrap(),
        test,
    }))
}

#[test]
fn functions_mean_what_they_say() {
    let count = |measure, operand| EventTest::Number {
        measure,
        comparison: Comparison::GreaterOrEqual,
        operand: Amount::whole(operand).unwrap(),
    };
    let last = |operand| EventTest::Time {
        which: WhichEvent::Last,
        comparison: Comparison::Less,
        operand,
    };
    let month = Window::Rolling("30d".parse().unwrap());
    let week = Window::Last(NonZeroU32::new(7).unwrap(), CalendarUnit::Day);
    let at: Timestamp = "2026-01-31".parse().unwrap();
    for (text, expected) in [
        (
            "count(login, 30d) >= 3",
            predicate(month, "UTC", count(Measure::Count, 3)),
        ),
        (
            "days(login, last 7 days IN 'Europe/Paris') >= 5",
            predicate(week, "Europe/Paris", count(Measure::Days, 5)),
        ),
        (
            "last(login) < DATE '2026-01-31'",
            predicate(Window::Ever, "UTC", last(Instant::At(at))),
        ),
        (
            "last(login) < now() - 14d",
            predicate(
                Window::Ever,
                "UTC",
                last(Instant::AsOfPlus(
                    "14d".parse::<crate::model::Span>().unwrap().reversed(),
                )),
            ),
        ),
    ] {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_function_is_one_node_and_a_list_as_many_as_it_has_values() {
    let several = |count: usize| vec!["count(a, 30d) > 1"; count].join(" OR ");
    assert!(parse(&several(255)).is_ok());
    assert!(parse(&several(256)).is_err(), "the OR is a node, too");
    let list = |count: usize| format!("count(a) IN ({})", vec!["1"; count].join(","));
    assert!(parse(&list(255)).is_ok());
    assert_eq!(
        refused(&list(257)),
        "line 1, column 526: 257 nodes are more than the limit expression_nodes allows (256)"
    );
    let deepest = "NOT ".repeat(15) + "count(a) = 1";
    assert_eq!(parse(&deepest).unwrap().check_size(), Ok(()));
    assert!(parse(&("NOT ".to_owned() + &deepest)).is_err());
    assert_eq!(
        refused(&format!("count({}) > 1", "x".repeat(129))),
        "line 1, column 7: 129 bytes are more than the limit event_name_bytes allows (128)"
    );
}

proptest! {
    #![proptest_config(super::cases())]

    #[test]
    fn a_good_function_with_mistakes_has_an_answer(
        choice in 0..GOOD.len(),
        at in any::<proptest::sample::Index>(),
        with in any::<char>(),
    ) {
        let mut characters: Vec<char> = GOOD[choice].0.chars().collect();
        let at = at.index(characters.len());
        for change in 0..4 {
            match change {
                0 => characters.insert(at, with),
                1 => drop(characters.remove(at)),
                2 => characters[at] = with,
                _ => characters.truncate(at),
            }
            let text: String = characters.iter().collect();
            match parse(&text) {
                Ok(expression) => {
                    prop_assert_eq!(parse(&expression.to_string()), Ok(expression));
                }
                Err(error) => drop(caret(&text, error.line(), error.column())),
            }
        }
    }
}

#[test]
fn functions_are_read_alone() {
    for (text, printed) in [
        ("sum(purchase, 365d)", "sum(purchase, 365d)"),
        (
            " LAST (\"Order Placed\" , last 2 weeks in 'europe/paris' ) -- the latest",
            "last(\"Order Placed\", last 2 weeks IN 'Europe/Paris')",
        ),
        ("days(login)", "days(login)"),
    ] {
        let measure = parse_measure(text).unwrap();
        assert!(begins_measure(text), "{text}");
        assert_eq!(measure.to_string(), printed);
        assert_eq!(parse_measure(printed), Ok(measure));
    }
    for (text, part) in [
        ("", "expected a function of events"),
        ("age", "expected a function of events"),
        ("sum", "expected `(`"),
        ("sum(purchase", "expected `,` and a window"),
        ("sum(purchase) > 3", "expected the end of the text"),
    ] {
        let error = parse_measure(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(!begins_measure("age") && !begins_measure("sum") && !begins_measure("'"));
}
