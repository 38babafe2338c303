//! The naive twin's calendar: which date it is somewhere, found by looking at the clocks there.
//!
//! It shares no code with what it checks, save the words and the database of zones. The date of an
//! instant is the latest that clocks have shown up to it; a date begins at the first instant that
//! has it or a later one, which is searched for second by second, halving what is left.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp as Moment, ToSpan};

use crate::model::{CalendarUnit, Zone};

/// Clocks differ from UTC by less than this, in seconds.
const FURTHEST: i64 = 30 * 3_600;

pub(super) struct NaiveCalendar(TimeZone);

impl NaiveCalendar {
    pub(super) fn of(zone: &Zone) -> Self {
        let rules = TimeZoneDatabase::bundled().get(zone.as_str());
        Self(rules.expect("a zone is in the database"))
    }

    /// The date at an instant, in microseconds since 1970.
    pub(super) fn date(&self, micros: i64) -> Date {
        let moment = Moment::from_microsecond(micros).expect("an instant that jiff knows");
        let shown = |moment| self.0.to_datetime(moment).date();
        let soon = moment + SignedDuration::from_micros(1);
        let changes = self.0.preceding(soon).take(3);
        // Clocks that are set back can show a date once more that is over.
        let before =
            changes.map(|change| shown(change.timestamp() - SignedDuration::from_micros(1)));
        before.fold(shown(moment), Date::max)
    }

    /// When a date begins, in microseconds since 1970.
    pub(super) fn start(&self, date: Date) -> i64 {
        let midnight = date
            .to_zoned(TimeZone::UTC)
            .expect("a date that jiff knows");
        let midnight = midnight.timestamp().as_second();
        let (mut before, mut begun) = (midnight - FURTHEST, midnight + FURTHEST);
        while begun - before > 1 {
            let middle = before + (begun - before) / 2;
            if self.date(middle * 1_000_000) < date {
                before = middle;
            } else {
                begun = middle;
            }
        }
        begun * 1_000_000
    }

    /// The first date of the day, week or month that an instant is in.
    pub(super) fn first_date(&self, unit: CalendarUnit, micros: i64) -> Date {
        let mut date = self.date(micros);
        let is_first = |date: Date| match unit {
            CalendarUnit::Day => true,
            CalendarUnit::Week => date.weekday() == Weekday::Monday,
            CalendarUnit::Month => date.day() == 1,
        };
        while !is_first(date) {
            date = date.yesterday().expect("a date that jiff knows");
        }
        date
    }

    /// The first date of the unit so many before, from the first date of one.
    pub(super) fn back(unit: CalendarUnit, first: Date, count: u32) -> Date {
        let count = i64::from(count);
        let span = match unit {
            CalendarUnit::Day => count.days(),
            CalendarUnit::Week => count.weeks(),
            CalendarUnit::Month => count.months(),
        };
        first.checked_sub(span).expect("a date that jiff knows")
    }

    /// In how many different days, ISO weeks or months some instants lie.
    pub(super) fn different(
        &self,
        unit: CalendarUnit,
        instants: impl Iterator<Item = i64>,
    ) -> usize {
        let dates = instants.map(|micros| self.date(micros));
        let named = dates.map(|date| match unit {
            CalendarUnit::Day => (i32::from(date.year()), i32::from(date.day_of_year())),
            CalendarUnit::Week => {
                let week = date.iso_week_date();
                (i32::from(week.year()), i32::from(week.week()))
            }
            CalendarUnit::Month => (i32::from(date.year()), i32::from(date.month())),
        });
        named.collect::<BTreeSet<_>>().len()
    }
}
