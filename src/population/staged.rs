//! The values that a write leads to as the index stores them, property by property.
//!
//! Invariant: no text gets a code before it is certain that the write is not refused. The codes
//! hold until the write has been carried out, since none goes out of use before.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::catalog::Property;
use super::cell::Cell;
use super::judge::{Effect, Effects};
use super::refusal::Refusal;
use super::users::Ordinal;
use super::values::{bool_code, number_of};
use super::{Population, Writer, split};
use crate::index::{Cells, Dictionary, Difference, IndexKind, Shard, encode_dictionary};
use crate::model::{LimitExceeded, Revision, Timestamp, Value, Version, limit};

/// New texts that get their codes under one lock.
const NEW_TEXTS: usize = 256;
/// Stands where the code of a new text will be.
const NO_CODE: u32 = 0;

/// What a write makes of one property.
pub(super) struct Staged {
    pub(super) property: Arc<Property>,
    /// What the users changed last made of the counts.
    pub(super) difference: Difference,
    /// Codes that nobody had any more after some users had been changed.
    pub(super) unused: Vec<u32>,
    /// By the position of the user among those named.
    cells: Cells,
    times: Vec<(u32, Timestamp)>,
    /// The cells to be carried out next.
    next: Range<usize>,
    /// How many times have been carried out.
    times_done: usize,
}

impl Population {
    /// Turns values into what the index stores, unless there would be too many texts.
    pub(super) fn stage(
        &self,
        writer: &Writer,
        revision: Revision,
        effects: Vec<Effects<'_>>,
    ) -> Result<Vec<Staged>, Refusal> {
        let mut looked_up: Vec<(Cells, Texts<'_>)> = effects.iter().map(cells_of).collect();
        let allowed = writer.limits.distinct_values;
        let exceeded = effects
            .iter()
            .zip(&looked_up)
            .filter_map(|(effects, (_, texts))| {
                let exceeded = texts.check(allowed).err()?;
                Some((&effects.property.declaration.name, exceeded))
            });
        if let Some((name, exceeded)) = exceeded.min_by_key(|(name, _)| *name) {
            return Err(Refusal::TooManyValues {
                property: name.clone(),
                exceeded,
            });
        }
        for (effects, (cells, texts)) in effects.iter().zip(&mut looked_up) {
            if let Some(dictionary) = &effects.property.dictionary {
                self.give_codes(revision, dictionary, cells, texts);
            }
        }
        let cells: Vec<Cells> = looked_up.into_iter().map(|(cells, _)| cells).collect();
        Ok(effects
            .into_iter()
            .zip(cells)
            .map(|(effects, cells)| Staged {
                property: effects.property,
                difference: Difference::default(),
                unused: Vec::new(),
                cells,
                times: effects.times,
                next: 0..0,
                times_done: 0,
            })
            .collect())
    }

    /// Gives codes to new texts, and puts them into the cells.
    fn give_codes(
        &self,
        revision: Revision,
        dictionary: &Cell<Dictionary>,
        cells: &mut Cells,
        texts: &Texts<'_>,
    ) {
        for some in texts.new.chunks(NEW_TEXTS) {
            let mut dictionary = dictionary.write(revision, self.epoch(), encode_dictionary);
            for (position, text) in some {
                let code = dictionary.code_or_insert(text);
                match cells {
                    Cells::Codes(cells) => cells[*position].1 = Some(code),
                    Cells::Sets(_, codes) => codes[*position] = code,
                    Cells::Numbers(_) => {}
                }
            }
        }
        if let Cells::Sets(cells, codes) = cells {
            for (_, set) in cells {
                codes[set.clone()].sort_unstable();
            }
        }
    }
}

impl Staged {
    /// Brings what is staged in the order of the users' ordinals.
    pub(super) fn sort(&mut self, ordinals: &[Ordinal]) {
        let ordinal = |user: u32| ordinals[user as usize];
        self.cells.sort_by_key(ordinal);
        self.times.sort_by_key(|(user, _)| ordinal(*user));
    }

    /// Goes on to the next users of a shard, up to one of them. What these have is read without
    /// looking at it, so that it is on its way from memory when it is replaced.
    pub(super) fn advance(&mut self, shard: &Shard, ordinals: &[Ordinal], last: Ordinal) {
        let from = self.next.end;
        let mut to = from;
        while let Some(user) = self.cells.user_at(to)
            && ordinals[user as usize] <= last
        {
            to += 1;
        }
        self.next = from..to;
        if let Some(index) = shard.index(self.property.number) {
            let users = (from..to).filter_map(|position| self.cells.user_at(position));
            index.touch(users.map(|user| split(ordinals[user as usize]).1));
        }
    }

    /// Carries out what is staged for those users, and notes what that changes.
    pub(super) fn carry_out(&mut self, shard: &mut Shard, ordinals: &[Ordinal], last: Ordinal) {
        self.difference.clear();
        let user_of = |user: u32| split(ordinals[user as usize]).1;
        let number = self.property.number;
        if !self.next.is_empty() {
            let (cells, next) = (&self.cells, self.next.clone());
            shard.set_all(number, cells, next, user_of, &mut self.difference);
        }
        while let Some(&(user, time)) = self.times.get(self.times_done)
            && ordinals[user as usize] <= last
        {
            shard.set_value_time(number, self.property.kind(), user_of(user), time.micros());
            self.times_done += 1;
        }
    }
}

/// The texts of a write for one property.
#[derive(Default)]
struct Texts<'a> {
    /// How many texts the property has already.
    held: u64,
    /// Whether the write has any.
    any: bool,
    /// Those without a code, and where that belongs: among the cells or, for sets, the codes.
    new: Vec<(usize, Cow<'a, str>)>,
}

impl<'a> Texts<'a> {
    fn check(&self, allowed: u64) -> Result<(), LimitExceeded> {
        if !self.any || self.held + self.new.len() as u64 <= allowed {
            return Ok(());
        }
        let distinct: HashSet<&str, RandomState> =
            self.new.iter().map(|(_, text)| &**text).collect();
        limit::DISTINCT_VALUES.check_against(allowed, self.held + distinct.len() as u64)
    }

    /// The code of a text; if it has none, notes that it belongs at a position.
    fn code(&mut self, dictionary: &Dictionary, text: Cow<'a, str>, position: usize) -> u32 {
        dictionary.code(&text).unwrap_or_else(|| {
            self.new.push((position, text));
            NO_CODE
        })
    }
}

fn cells_of<'a>(effects: &'a Effects<'_>) -> (Cells, Texts<'a>) {
    let property = &effects.property;
    let values = &effects.values;
    let Some(dictionary) = &property.dictionary else {
        let cells = if property.kind() == IndexKind::Numbers {
            let number =
                |effect: &Effect<'_>| (effect.user, effect.value.value().and_then(number_of));
            Cells::Numbers(values.iter().map(number).collect())
        } else {
            let code = |value: &Value| matches!(value, Value::Bool(true));
            let code = |effect: &Effect<'_>| {
                let value = effect.value.value();
                (effect.user, value.map(|value| bool_code(code(value))))
            };
            Cells::Codes(values.iter().map(code).collect())
        };
        return (cells, Texts::default());
    };
    let dictionary = &*dictionary.read();
    let mut texts = Texts {
        held: dictionary.len() as u64,
        ..Texts::default()
    };
    let cells = if property.kind() == IndexKind::Sets {
        set_cells(values, dictionary, &mut texts)
    } else {
        text_cells(values, dictionary, &mut texts)
    };
    (cells, texts)
}

fn text_cells<'a>(
    values: &'a [Effect<'_>],
    dictionary: &Dictionary,
    texts: &mut Texts<'a>,
) -> Cells {
    // Printing a version takes longer than finding it here.
    let mut versions: HashMap<&Version, u32, RandomState> = HashMap::default();
    let mut cells = Vec::with_capacity(values.len());
    for (position, effect) in values.iter().enumerate() {
        let code = match effect.value.value() {
            Some(Value::String(text)) => {
                Some(texts.code(dictionary, text.as_str().into(), position))
            }
            Some(Value::Version(version)) => {
                let known = versions.get(version).copied();
                Some(known.unwrap_or_else(|| {
                    let new = texts.new.len();
                    let code = texts.code(dictionary, version.to_string().into(), position);
                    if new == texts.new.len() && values.len() > 1 {
                        versions.insert(version, code);
                    }
                    code
                }))
            }
            _ => None,
        };
        texts.any |= code.is_some();
        cells.push((effect.user, code));
    }
    Cells::Codes(cells)
}

fn set_cells<'a>(
    values: &'a [Effect<'_>],
    dictionary: &Dictionary,
    texts: &mut Texts<'a>,
) -> Cells {
    let mut codes = Vec::new();
    let mut cells = Vec::with_capacity(values.len());
    for effect in values {
        let first = codes.len();
        if let Some(Value::StringSet(elements)) = effect.value.value() {
            for text in elements {
                codes.push(texts.code(dictionary, text.as_str().into(), codes.len()));
            }
        }
        cells.push((effect.user, first..codes.len()));
    }
    texts.any = !codes.is_empty();
    Cells::Sets(cells, codes)
}
