//! Where one score ends and the next begins.
//!
//! A score is one more than the number of edges that a value lies above, so that equal values have
//! equal scores and the lowest value has the lowest one. An edge that lies between two values of
//! users is moved down to the nearest one that a filter can name, which no value lies between:
//! a whole number, a millionth, or, of times, a whole number of days before `now()` (of hours,
//! minutes or seconds where most users did something within so little time).

use super::{Amount, Instant, Span};
use crate::cli::analysis::short_number;
use crate::cli::output::grouped;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Units of recency, the largest first.
const UNITS: [(i64, &str); 5] = [
    (DAY, "days"),
    (HOUR, "hours"),
    (MINUTE, "minutes"),
    (SECOND, "seconds"),
    (1, "microseconds"),
];

/// A unit is small enough if the edge of the most recent is at least so many away.
const FEWEST_UNITS: i64 = 3;

/// Millionths in one.
const MILLIONTHS: f64 = 1e6;

/// So near to a number that a filter can name, an edge is meant to be that number: percentiles are
/// floating point numbers.
const HAIR: f64 = 1e-3;

/// What the values are.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    /// Instants before this one, in microseconds.
    Time(i64),
    /// Numbers of things.
    Whole,
    /// Amounts.
    Amount,
}

/// The edges of one kind of score, by the function of events that it is of.
pub(super) struct Edges {
    function: String,
    scale: Scale,
    /// What a number is in: microseconds of a unit of recency, else 1.
    unit: i64,
    unit_name: &'static str,
    /// The highest value that is below each score but the first: units since `now()` of the
    /// latest event that is too early, things, or millionths. Of recency it falls with the score.
    values: Vec<i64>,
    /// The lowest and the highest value.
    ends: (i64, i64),
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "casts of floating point numbers saturate, far beyond what can be counted"
)]
fn floor(number: f64) -> i64 {
    (number + HAIR).floor() as i64
}

impl Edges {
    /// The edges at some percentiles, ascending, of values from the first to the last of `ends`.
    pub(super) fn new(
        function: String,
        scale: Scale,
        percentiles: &[f64],
        ends: (f64, f64),
    ) -> Self {
        let (mut unit, mut unit_name) = (1, "");
        let (values, ends) = match scale {
            Scale::Time(as_of) => {
                let ago = |micros: f64| as_of.saturating_sub(floor(micros));
                let nearest = percentiles.last().map_or(0, |micros| ago(*micros));
                let small = |(unit, _): &&(i64, &str)| nearest >= FEWEST_UNITS * unit;
                (unit, unit_name) = *UNITS.iter().find(small).unwrap_or(&UNITS[4]);
                // Whoever did it this long ago or less is above the edge.
                let units = |micros: f64| ago(micros).saturating_add(unit - 1) / unit;
                let edges = percentiles.iter().map(|micros| units(*micros) - 1);
                (edges.collect(), (units(ends.1), units(ends.0)))
            }
            Scale::Whole => {
                let edges = percentiles.iter().map(|number| floor(*number));
                (edges.collect(), (floor(ends.0), floor(ends.1)))
            }
            Scale::Amount => {
                let millionths = |number: f64| floor(number * MILLIONTHS);
                let edges = percentiles.iter().map(|number| millionths(*number));
                (edges.collect(), (millionths(ends.0), millionths(ends.1)))
            }
        };
        Self {
            function,
            scale,
            unit,
            unit_name,
            values,
            ends,
        }
    }

    pub(super) fn is_time(&self) -> bool {
        matches!(self.scale, Scale::Time(_))
    }

    /// What the numbers of the edges are: days and the like, of recency.
    pub(super) fn unit_name(&self) -> &'static str {
        self.unit_name
    }

    /// What is true of values whose score is within a range, both ends included: nothing where all
    /// scores are.
    pub(super) fn between(&self, (from, to): (usize, usize)) -> Vec<String> {
        let function = &self.function;
        let edge = |score: usize| self.values.get(score.wrapping_sub(2)).copied();
        let (above, below) = match self.scale {
            Scale::Time(_) => (">=", "<"),
            Scale::Whole | Scale::Amount => (">", "<="),
        };
        if let (Scale::Whole, Some(below), Some(to)) = (self.scale, edge(from), edge(to + 1))
            && below + 1 == to
        {
            return vec![format!("{function} = {to}")];
        }
        let above = edge(from).map(|edge| format!("{function} {above} {}", self.operand(edge)));
        let below = edge(to + 1).map(|edge| format!("{function} {below} {}", self.operand(edge)));
        above.into_iter().chain(below).collect()
    }

    fn operand(&self, edge: i64) -> String {
        match self.scale {
            Scale::Time(_) => {
                let micros = edge.saturating_mul(-self.unit);
                let span = Span::from_micros(micros).unwrap_or(Span::ZERO);
                Instant::AsOfPlus(span).to_string()
            }
            Scale::Whole => edge.to_string(),
            Scale::Amount => amount(edge).to_string(),
        }
    }

    /// The edge below a score as a number: the first score has none.
    pub(super) fn edge(&self, score: usize) -> Option<f64> {
        let edge = *self.values.get(score.checked_sub(2)?)?;
        Some(match self.scale {
            #[expect(clippy::cast_precision_loss, reason = "for programs, as JSON has it")]
            Scale::Time(_) | Scale::Whole => edge as f64,
            Scale::Amount => amount(edge).to_f64(),
        })
    }

    /// The values of a score as people read them.
    pub(super) fn range(&self, score: usize) -> String {
        let below = score
            .checked_sub(2)
            .and_then(|place| self.values.get(place));
        let above = self.values.get(score - 1);
        let (low, high) = match self.scale {
            Scale::Time(_) => (
                above.map_or(self.ends.0, |edge| edge + 1),
                below.copied().unwrap_or(self.ends.1),
            ),
            Scale::Whole => (
                below.map_or(self.ends.0, |edge| edge + 1),
                above.copied().unwrap_or(self.ends.1),
            ),
            Scale::Amount => {
                let low = below.copied().unwrap_or(self.ends.0);
                let high = above.copied().unwrap_or(self.ends.1);
                if low >= high && score > 1 {
                    return "none".into();
                }
                let over = if score > 1 { "over " } else { "" };
                let text = |millionths| short_number(amount(millionths).to_f64());
                return format!("{over}{} to {}", text(low), text(high));
            }
        };
        let text = |number: i64| grouped(number.unsigned_abs());
        match low.cmp(&high) {
            std::cmp::Ordering::Less => format!("{} to {}", text(low), text(high)),
            std::cmp::Ordering::Equal => text(low),
            std::cmp::Ordering::Greater => "none".into(),
        }
    }
}

/// An amount of so many millionths, as far as there are amounts.
fn amount(millionths: i64) -> Amount {
    Amount::from_millionths(millionths).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_moved_to_what_a_filter_can_name() {
        let counts = Edges::new(
            "count(e)".into(),
            Scale::Whole,
            &[1.0, 1.0, 2.4, 5.999_999_9],
            (1.0, 9.0),
        );
        let of = |score| counts.between((score, score)).join(" AND ");
        assert_eq!(of(1), "count(e) <= 1");
        assert_eq!(of(2), "count(e) > 1 AND count(e) <= 1");
        assert_eq!(of(3), "count(e) = 2");
        assert_eq!(of(4), "count(e) > 2 AND count(e) <= 6");
        assert_eq!(of(5), "count(e) > 6");
        let ranges: Vec<String> = (1..=5).map(|score| counts.range(score)).collect();
        assert_eq!(ranges, ["1", "none", "2", "3 to 6", "7 to 9"]);
        assert!(counts.between((1, 5)).is_empty());
        let sums = Edges::new(
            "sum(e)".into(),
            Scale::Amount,
            &[-0.5, 88.974_3],
            (-2.0, 100.0),
        );
        assert_eq!(sums.between((2, 2)), ["sum(e) > -0.5", "sum(e) <= 88.9743"]);
        assert_eq!(sums.range(2), "over -0.5 to 88.97");
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "whole days")]
    fn recency_is_in_whole_units() {
        let as_of = 100 * DAY;
        let days = |days: f64| as_of as f64 - days * DAY as f64;
        let edges = |percentiles: &[f64]| {
            let ends = (days(90.0), days(0.5));
            Edges::new("last(e)".into(), Scale::Time(as_of), percentiles, ends)
        };
        // A user of the very day of an edge is below it.
        let last = edges(&[days(30.0), days(10.2)]);
        assert_eq!(last.between((3, 3)), ["last(e) >= now() - 10d"]);
        assert_eq!(last.between((1, 1)), ["last(e) < now() - 29d"]);
        let ranges: Vec<String> = (1..=3).map(|score| last.range(score)).collect();
        assert_eq!(ranges, ["30 to 90", "11 to 29", "1 to 10"]);
        let soon = edges(&[days(30.0), days(2.0)]);
        assert_eq!(soon.between((3, 3)), ["last(e) >= now() - 47h"]);
        assert_eq!(soon.unit_name(), "hours");
    }
}
