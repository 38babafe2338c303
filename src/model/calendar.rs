//! The calendar of a zone: when its days, weeks and months begin, and which instants a window has.
//!
//! Invariant: every stretch of the calendar is half-open, and those of one unit follow each other
//! without gap or overlap, whatever a zone does to its clocks. A date begins at the first instant
//! at which the local date is this one or a later one. So a midnight that daylight saving skips
//! moves the beginning of its day; a midnight that comes twice counts once, the first time; and a
//! date that a zone skips altogether, as Samoa did in 2011, is empty.
//!
//! Dates are numbers of days since 1970 here. The conversion to years and months is Howard
//! Hinnant's ("chrono-compatible low-level date algorithms"): it has no bounds to run into, whereas
//! the local year of an instant of ours can be 0 or 10000.

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::event::{CalendarUnit, EventPredicate, Window};
use super::time::Timestamp;
use super::zone::Zone;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Dates are cut off here, far outside of the years 1 to 9999, so that no arithmetic overflows.
const FURTHEST_DATE: i64 = 10_000_000;

/// The instants from one to another. The first belongs to it, the last does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    from: Timestamp,
    to: Timestamp,
}

impl Interval {
    /// The instants `from <= t < to`: none, unless `from` comes before `to`.
    #[must_use]
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from: from.min(to),
            to,
        }
    }

    /// The first instant.
    #[must_use]
    pub const fn from(self) -> Timestamp {
        self.from
    }

    /// The first instant after.
    #[must_use]
    pub const fn to(self) -> Timestamp {
        self.to
    }

    /// Whether it has no instant.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// Whether an instant belongs to it.
    #[must_use]
    pub fn contains(self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.to
    }
}

impl EventPredicate {
    /// The instants of its window.
    #[must_use]
    pub fn interval(&self, as_of: Timestamp) -> Interval {
        self.window.interval(&self.zone, as_of)
    }
}

impl Window {
    /// The instants that it is for one `as_of`, by the calendar of a zone.
    #[must_use]
    pub fn interval(&self, zone: &Zone, as_of: Timestamp) -> Interval {
        match *self {
            Self::Ever => Interval::new(Timestamp::MIN, as_of),
            Self::Rolling(span) => Interval::new(as_of.saturating_add(span.reversed()), as_of),
            Self::Between { from, to } => {
                Interval::new(from.resolve(as_of), to.resolve(as_of).min(as_of))
            }
            Self::This(unit) => Interval::new(unit.start_of(zone, as_of), as_of),
            Self::Last(count, unit) => {
                let calendar = Calendar::new(zone);
                let this = calendar.current(unit, as_of);
                let first = unit.stepped(this, -i64::from(count.get()));
                Interval::new(
                    clamped(calendar.start(first)),
                    clamped(calendar.start(this)),
                )
            }
        }
    }
}

impl CalendarUnit {
    /// When the day, week or month that an instant is in began in a zone.
    #[must_use]
    pub fn start_of(self, zone: &Zone, instant: Timestamp) -> Timestamp {
        let calendar = Calendar::new(zone);
        clamped(calendar.start(calendar.current(self, instant)))
    }

    /// When the day, week or month began that lies so many before the one that an instant is in.
    pub(super) fn start_before(self, zone: &Zone, instant: Timestamp, back: u32) -> Timestamp {
        let calendar = Calendar::new(zone);
        let this = calendar.current(self, instant);
        clamped(calendar.start(self.stepped(this, -i64::from(back))))
    }

    /// The first instant for which [`Self::start_before`] lies after another one; `None` if there is
    /// none.
    pub(super) fn first_after(
        self,
        zone: &Zone,
        instant: Timestamp,
        back: u32,
    ) -> Option<Timestamp> {
        let calendar = Calendar::new(zone);
        let next = self.stepped(calendar.current(self, instant), 1);
        let first = calendar.start(self.stepped(next, i64::from(back)));
        // Edges are cut off at the last instant of all.
        let is_reached = instant < Timestamp::MAX;
        let first = Timestamp::from_micros(first.max(Timestamp::MIN.micros())).ok();
        first.filter(|_| is_reached)
    }

    /// The instants inside an interval, but not at its ends, at which a day, week or month begins
    /// in a zone. In their order; as many as the interval is long.
    #[must_use]
    pub fn starts_within(self, zone: &Zone, within: Interval) -> Vec<Timestamp> {
        let calendar = Calendar::new(zone);
        let mut starts: Vec<Timestamp> = Vec::new();
        if within.is_empty() {
            return starts;
        }
        let mut date = calendar.current(self, within.from);
        let mut last = within.from.micros();
        loop {
            date = self.stepped(date, 1);
            let start = calendar.start(date);
            if start >= within.to.micros() {
                return starts;
            }
            // Skipped dates begin together.
            if start > last {
                starts.push(clamped(start));
                last = start;
            }
        }
    }

    /// The date at which the one that a date is in begins.
    fn first_date(self, date: i64) -> i64 {
        match self {
            Self::Day => date,
            // 1970 began on a Thursday.
            Self::Week => date - (date + 3).rem_euclid(7),
            Self::Month => first_of_month(month_of(date)),
        }
    }

    /// The first date so many further, from the first date of one.
    fn stepped(self, first: i64, count: i64) -> i64 {
        match self {
            Self::Day => first + count,
            Self::Week => first + 7 * count,
            Self::Month => first_of_month(month_of(first) + count),
        }
    }
}

impl Zone {
    /// When the date that an instant has in UTC begins in this zone.
    #[must_use]
    pub fn start_of_date(&self, in_utc: Timestamp) -> Timestamp {
        let date = in_utc.micros().div_euclid(MICROS_PER_DAY);
        clamped(Calendar::new(self).start(date))
    }
}

/// A zone with its rules at hand. Instants are microseconds here, since dates at the ends of time
/// begin or end beyond the first and the last [`Timestamp`].
struct Calendar {
    /// None for UTC, of which everything is known.
    rules: Option<TimeZone>,
}

impl Calendar {
    fn new(zone: &Zone) -> Self {
        Self {
            rules: (*zone != Zone::utc()).then(|| zone.rules()),
        }
    }

    /// The first date of the day, week or month that an instant is in.
    fn current(&self, unit: CalendarUnit, instant: Timestamp) -> i64 {
        let micros = instant.micros();
        let local = micros + self.offset_at(micros);
        let mut current = unit.first_date(local.div_euclid(MICROS_PER_DAY));
        // Clocks set back over midnight show a date that is over.
        loop {
            let next = unit.stepped(current, 1);
            if self.start(next) > micros {
                return current;
            }
            current = next;
        }
    }

    /// How far local time is ahead of UTC.
    fn offset_at(&self, micros: i64) -> i64 {
        let Some(rules) = &self.rules else {
            return 0;
        };
        // Clocks change at whole seconds, and not in the last day of all, which jiff does not know.
        let seconds = micros.div_euclid(MICROS_PER_SECOND).clamp(
            jiff::Timestamp::MIN.as_second(),
            jiff::Timestamp::MAX.as_second(),
        );
        jiff::Timestamp::from_second(seconds)
            .map_or(0, |instant| in_micros(rules.to_offset(instant)))
    }

    /// The first instant at which the local date is this one or later.
    fn start(&self, date: i64) -> i64 {
        let date = date.clamp(-FURTHEST_DATE, FURTHEST_DATE);
        let midnight = date * MICROS_PER_DAY;
        let Some(rules) = &self.rules else {
            return midnight;
        };
        let Some(civil) = civil_midnight(date) else {
            return midnight - self.offset_at(midnight);
        };
        match rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => midnight - in_micros(offset),
            AmbiguousOffset::Fold { before, .. } => midnight - in_micros(before),
            AmbiguousOffset::Gap { before, after } => {
                // Where the clocks are set forward over midnight: the one moment in between at
                // which the date changes.
                let mut earlier = midnight - in_micros(after);
                let mut later = midnight - in_micros(before);
                while later - earlier > 1 {
                    let middle = earlier + (later - earlier) / 2;
                    if middle + self.offset_at(middle) < midnight {
                        earlier = middle;
                    } else {
                        later = middle;
                    }
                }
                later
            }
        }
    }
}

fn in_micros(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * MICROS_PER_SECOND
}

/// The midnight of a date, in the years that jiff knows.
fn civil_midnight(date: i64) -> Option<jiff::civil::DateTime> {
    let (month, first) = (month_of(date), first_of_month(month_of(date)));
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let number = i8::try_from(month.rem_euclid(12) + 1).ok()?;
    let day = i8::try_from(date - first + 1).ok()?;
    jiff::civil::DateTime::new(year, number, day, 0, 0, 0, 0).ok()
}

/// The number of the month that a date is in, counted from January of the year 0.
const fn month_of(date: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of a year.
    let days = date + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era) * 12 + month_of_year + 2
}

/// The first date of a month, counted from January of the year 0.
const fn first_of_month(month: i64) -> i64 {
    let since_march = month - 2;
    let year = since_march.div_euclid(12);
    let month_of_year = since_march.rem_euclid(12);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_of_year + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The instant, or the first or last one of all.
fn clamped(micros: i64) -> Timestamp {
    let micros = micros.clamp(Timestamp::MIN.micros(), Timestamp::MAX.micros());
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
