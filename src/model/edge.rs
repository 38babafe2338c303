//! The instants that windows and comparisons with `now()` are cut at.
//!
//! Invariant: an edge moves with `as_of` and never back. So whether an instant lies before it changes
//! once, and when that is can be told.

use smallvec::{SmallVec, smallvec};

use super::event::{CalendarUnit, EventPredicate, EventTest, Instant, Window};
use super::expression::{Comparison, Operand, Predicate, Test};
use super::time::{Span, Timestamp};
use super::zone::Zone;

/// An instant that depends on `as_of`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The one this far from `as_of`.
    AsOfPlus(Span),
    /// When the day, week or month began that lies so many before the one that `as_of` is in.
    UnitStart {
        /// Days, weeks or months.
        unit: CalendarUnit,
        /// How many of them back.
        back: u32,
        /// Whose.
        zone: Zone,
    },
}

impl Edge {
    /// Where it lies for one `as_of`.
    #[must_use]
    pub fn at(&self, as_of: Timestamp) -> Timestamp {
        match self {
            Self::AsOfPlus(span) => as_of.saturating_add(*span),
            Self::UnitStart { unit, back, zone } => unit.start_before(zone, as_of, *back),
        }
    }

    /// The first `as_of` for which it lies after an instant; `None` if there is none.
    #[must_use]
    pub fn passes(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Self::AsOfPlus(span) => {
                let first = instant
                    .micros()
                    .checked_sub(span.micros())?
                    .checked_add(1)?;
                let first = first.max(Timestamp::MIN.micros());
                // Edges are cut off at the last instant of all, which none comes after.
                Timestamp::from_micros(first)
                    .ok()
                    .filter(|_| instant < Timestamp::MAX)
            }
            Self::UnitStart { unit, back, zone } => unit.first_after(zone, instant, *back),
        }
    }
}

/// The edges of one predicate.
pub type Edges = SmallVec<[Edge; 3]>;

impl EventPredicate {
    /// The edges that move with `as_of`, in no order. What the predicate says of a user changes by
    /// the clock only when one of them passes an event, so that it lies after that event's time and
    /// did not before.
    #[must_use]
    pub fn edges(&self) -> Edges {
        let start = self.start_edge().into_iter();
        let ends = start.chain(self.end_edges());
        ends.chain(self.operand_edges()).collect()
    }

    /// The edge that an event leaves the window at as it passes, if the window's start moves.
    #[must_use]
    pub fn start_edge(&self) -> Option<Edge> {
        match &self.window {
            Window::Ever => None,
            Window::Rolling(span) => Some(Edge::AsOfPlus(span.reversed())),
            Window::Between { from, .. } => edge_of(*from),
            Window::This(unit) => Some(self.unit_start(*unit, 0)),
            Window::Last(count, unit) => Some(self.unit_start(*unit, count.get())),
        }
    }

    /// The edges of which the earliest ends the window, as far as they move: an event enters when
    /// the last of them passes it.
    #[must_use]
    pub fn end_edges(&self) -> Edges {
        match &self.window {
            Window::Ever | Window::Rolling(_) | Window::This(_) => {
                smallvec![Edge::AsOfPlus(Span::ZERO)]
            }
            // What comes after `as_of` has not happened yet.
            Window::Between { to, .. } => edge_of(*to)
                .into_iter()
                .chain([Edge::AsOfPlus(Span::ZERO)])
                .collect(),
            Window::Last(_, unit) => smallvec![self.unit_start(*unit, 0)],
        }
    }

    /// The edges that the time of the first or the last event is compared with.
    #[must_use]
    pub fn operand_edges(&self) -> Edges {
        match &self.test {
            EventTest::Time {
                operand: Instant::AsOfPlus(span),
                ..
            } => {
                // Before it and up to it are told apart.
                let at = std::iter::once(Edge::AsOfPlus(*span));
                at.chain(later(*span).map(Edge::AsOfPlus)).collect()
            }
            EventTest::Time { .. } | EventTest::Number { .. } => Edges::new(),
        }
    }

    fn unit_start(&self, unit: CalendarUnit, back: u32) -> Edge {
        Edge::UnitStart {
            unit,
            back,
            zone: self.zone.clone(),
        }
    }
}

impl Predicate {
    /// The edges that move with `as_of`: none unless the property is compared with `now()`. What the
    /// predicate says of a user changes by the clock only when one of them passes the user's value.
    #[must_use]
    pub fn edges(&self) -> Edges {
        let Test::Compare {
            comparison,
            operand: Operand::AsOfPlus(span),
        } = &self.test
        else {
            return Edges::new();
        };
        let at = Edge::AsOfPlus(*span);
        let after = || later(*span).map(Edge::AsOfPlus);
        match comparison {
            Comparison::Less | Comparison::GreaterOrEqual => smallvec![at],
            Comparison::LessOrEqual | Comparison::Greater => after().into_iter().collect(),
            Comparison::Equal | Comparison::NotEqual => {
                std::iter::once(at).chain(after()).collect()
            }
        }
    }
}

fn edge_of(instant: Instant) -> Option<Edge> {
    match instant {
        Instant::At(_) => None,
        Instant::AsOfPlus(span) => Some(Edge::AsOfPlus(span)),
    }
}

fn later(span: Span) -> Option<Span> {
    Span::from_micros(span.micros().checked_add(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn edges() -> Vec<Edge> {
        let spans = ["0s", "30d", "90d"].map(|text| text.parse::<Span>().unwrap());
        let mut edges: Vec<Edge> = Vec::new();
        for span in spans {
            edges.push(Edge::AsOfPlus(span));
            edges.push(Edge::AsOfPlus(span.reversed()));
        }
        for zone in ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"] {
            for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month] {
                for back in [0, 1, 3] {
                    edges.push(Edge::UnitStart {
                        unit,
                        back,
                        zone: Zone::new(zone).unwrap(),
                    });
                }
            }
        }
        edges
    }

    /// An edge lies after an instant from exactly the moment on that is told: also where midnight is
    /// skipped (São Paulo, until 2018), comes twice, or a whole day is missing (Samoa, in 2011).
    #[test]
    fn an_edge_passes_an_instant_once() {
        let instants = [
            "2011-12-29T23:59:59.999999Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T09:59:59Z",
            "2018-02-18T01:30:00Z",
            "2018-11-04T02:59:59.999999Z",
            "2018-11-04T03:00:00Z",
            "2026-03-29T00:30:00Z",
            "2026-10-25T00:59:59Z",
            "2026-11-25T12:00:00Z",
            "2024-02-29T23:00:00Z",
        ];
        for edge in edges() {
            for instant in instants.map(at) {
                let first = edge.passes(instant).unwrap();
                let before = Timestamp::from_micros(first.micros() - 1).unwrap();
                assert!(
                    edge.at(first) > instant,
                    "{edge:?} at {first} and {instant}"
                );
                assert!(
                    edge.at(before) <= instant,
                    "{edge:?} at {before} and {instant}"
                );
            }
        }
    }

    #[test]
    fn nothing_passes_the_end_of_time() {
        for edge in edges() {
            assert_eq!(edge.passes(Timestamp::MAX), None, "{edge:?}");
            assert!(edge.passes(Timestamp::MIN).is_some(), "{edge:?}");
        }
    }
}
