//! The definitions of many segments, what they have in common only once.
//!
//! Invariant: two parts that say the same are one, and a part comes after those that it is made of;
//! so each is worked out at most once for a user, however many segments share it.

use std::collections::HashMap;

use super::prepared::Prepared;
use crate::model::{Expression, SegmentName};
use crate::population::{Catalog, Definition};

/// Definitions of segments.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub(super) parts: Vec<Part>,
    /// The different predicates; that a user is in a static list is one, too.
    pub(super) predicates: Vec<Prepared>,
    /// Each segment with the part that is its definition, in the order that they were given in.
    pub(super) segments: Vec<(SegmentName, u32)>,
}

/// A part of a definition; others are meant by their places, which are lower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Everyone,
    Predicate(u32),
    Not(u32),
    And(Box<[u32]>),
    Or(Box<[u32]>),
    AtLeast(u32, Box<[u32]>),
}

impl Definitions {
    /// The definitions of some segments. Those that do not exist are left out.
    pub(super) fn of<'a>(
        catalog: &'a Catalog,
        names: impl Iterator<Item = &'a SegmentName>,
    ) -> Self {
        let mut builder = Builder {
            catalog,
            parts: Vec::new(),
            places: HashMap::new(),
            predicates: Vec::new(),
            known: HashMap::new(),
            segments: HashMap::new(),
        };
        let existing = names.filter_map(|name| catalog.segment(name));
        let segments = existing.map(|segment| {
            let place = builder.segment(segment.name());
            (segment.name().clone(), place)
        });
        let segments = segments.collect();
        Self {
            parts: builder.parts,
            predicates: builder.predicates,
            segments,
        }
    }

    /// Whether a part holds, given the truth of predicates.
    ///
    /// # Errors
    /// What `truth` says of a predicate for which it can't be told.
    pub(super) fn holds<E>(
        &self,
        part: u32,
        memo: &mut Memo,
        truth: &mut impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<bool, E> {
        if let Some(holds) = memo.get(part) {
            return Ok(holds);
        }
        let holds = match &self.parts[part as usize] {
            Part::Everyone => true,
            Part::Predicate(number) => truth(*number)?,
            Part::Not(operand) => !self.holds(*operand, memo, truth)?,
            Part::And(operands) => !self.has(operands, false, memo, truth)?,
            Part::Or(operands) => self.has(operands, true, memo, truth)?,
            Part::AtLeast(count, operands) => {
                let mut missing = *count;
                for operand in operands {
                    if missing == 0 {
                        break;
                    }
                    missing -= u32::from(self.holds(*operand, memo, truth)?);
                }
                missing == 0
            }
        };
        memo.set(part, holds);
        Ok(holds)
    }

    /// Whether one of some parts holds, or does not.
    fn has<E>(
        &self,
        parts: &[u32],
        wanted: bool,
        memo: &mut Memo,
        truth: &mut impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<bool, E> {
        for part in parts {
            if self.holds(*part, memo, truth)? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For each predicate the positions of the segments that have it in their definitions, in their
    /// order.
    pub(super) fn segments_by_predicate(&self) -> Vec<Vec<u32>> {
        let mut segments = vec![Vec::new(); self.predicates.len()];
        let mut seen = vec![u32::MAX; self.parts.len()];
        let mut pending = Vec::new();
        for (position, (_, root)) in (0..).zip(&self.segments) {
            pending.push(*root);
            while let Some(part) = pending.pop() {
                if std::mem::replace(&mut seen[part as usize], position) == position {
                    continue;
                }
                match &self.parts[part as usize] {
                    Part::Everyone => {}
                    Part::Predicate(number) => segments[*number as usize].push(position),
                    Part::Not(operand) => pending.push(*operand),
                    Part::And(operands) | Part::Or(operands) | Part::AtLeast(_, operands) => {
                        pending.extend(operands);
                    }
                }
            }
        }
        segments
    }
}

/// What is known of parts, for one user at a time.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// For each part the number of the user for whom it is known, twice, and 1 more if it holds.
    known: Vec<u32>,
    user: u32,
}

impl Memo {
    /// A memo for a user, for so many parts.
    pub(super) fn new(parts: usize) -> Self {
        Self {
            known: vec![0; parts],
            user: 1,
        }
    }

    /// Goes on to another user.
    pub(super) fn next_user(&mut self) {
        self.user += 1;
        if self.user > u32::MAX / 2 {
            self.known.fill(0);
            self.user = 1;
        }
    }

    fn get(&self, part: u32) -> Option<bool> {
        let known = self.known[part as usize];
        (known >> 1 == self.user).then_some(known & 1 == 1)
    }

    fn set(&mut self, part: u32, holds: bool) {
        self.known[part as usize] = self.user << 1 | u32::from(holds);
    }
}

/// Gives parts their places.
struct Builder<'a> {
    catalog: &'a Catalog,
    parts: Vec<Part>,
    places: HashMap<Part, u32>,
    predicates: Vec<Prepared>,
    known: HashMap<&'a Expression, u32>,
    segments: HashMap<&'a SegmentName, u32>,
}

impl<'a> Builder<'a> {
    fn place(&mut self, part: Part) -> u32 {
        let next = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        *self.places.entry(part.clone()).or_insert_with(|| {
            self.parts.push(part);
            next
        })
    }

    fn all(&mut self, operands: &'a [Expression]) -> Box<[u32]> {
        operands.iter().map(|operand| self.part(operand)).collect()
    }

    fn part(&mut self, expression: &'a Expression) -> u32 {
        let part = match expression {
            Expression::Everyone => Part::Everyone,
            Expression::Not(operand) => Part::Not(self.part(operand)),
            Expression::And(operands) => Part::And(self.all(operands)),
            Expression::Or(operands) => Part::Or(self.all(operands)),
            Expression::AtLeast { count, of } => Part::AtLeast(count.get(), self.all(of)),
            Expression::Segment(name) => return self.segment(name),
            Expression::Predicate(_) | Expression::Event(_) | Expression::Bucket(_) => {
                let next = u32::try_from(self.predicates.len()).unwrap_or(u32::MAX);
                let number = *self.known.entry(expression).or_insert(next);
                if number == next {
                    self.predicate(expression.clone())
                } else {
                    Part::Predicate(number)
                }
            }
        };
        self.place(part)
    }

    /// Another predicate.
    fn predicate(&mut self, expression: Expression) -> Part {
        let number = u32::try_from(self.predicates.len()).unwrap_or(u32::MAX);
        self.predicates.push(Prepared::new(expression));
        Part::Predicate(number)
    }

    fn segment(&mut self, name: &'a SegmentName) -> u32 {
        if let Some(place) = self.segments.get(name) {
            return *place;
        }
        let place = if let Some(segment) = self.catalog.segment(name) {
            match segment.definition() {
                Definition::Filter(definition) => self.part(definition),
                Definition::List(_) => {
                    let part = self.predicate(Expression::Segment(name.clone()));
                    self.place(part)
                }
            }
        } else {
            // No definition mentions a segment that does not exist.
            let everyone = self.place(Part::Everyone);
            self.place(Part::Not(everyone))
        };
        self.segments.insert(name, place);
        place
    }
}
