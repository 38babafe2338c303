//! Carries one action out, unless it is refused.
//!
//! Invariant: deterministic and total. The outcome follows from the actions before it and nothing
//! else: no clock, no I/O, no configuration. An action is judged as a whole before its first
//! change, so that a refused one changes nothing.
//!
//! A write is judged (in `judge`) by working out, user by user, which values its changes lead to.
//! What is then carried out here can't fail.

use std::cmp::Reverse;
use std::sync::{Arc, PoisonError};

use super::capture::encode_state;
use super::catalog::{Catalog, Property};
use super::cell::Cell;
use super::judge::{Effect, Outcome, check_property_count};
use super::refusal::Refusal;
use super::users::Ordinal;
use super::values::{bool_code, number_of};
use super::{Changes, Population, ShardState, Writer, split};
use crate::index::{Dictionary, SHARD_USERS, Stored, encode_dictionary};
use crate::model::{
    Action, PropertyDeclaration, PropertyName, Revision, UserId, UserUpdate, Value,
};

impl Population {
    /// Judges an action and, unless it is refused, carries it out. To be called by one thread at
    /// a time, in the order of revisions.
    ///
    /// # Errors
    /// [`Refusal`] says why nothing was changed.
    pub fn apply(&self, revision: Revision, action: &Action) -> Result<Changes, Refusal> {
        self.carry(&mut self.writer(), revision, action)
    }

    pub(super) fn carry(
        &self,
        writer: &mut Writer,
        revision: Revision,
        action: &Action,
    ) -> Result<Changes, Refusal> {
        match action {
            Action::Write(updates) => self.write(writer, revision, updates),
            Action::Erase(user) => Ok(self.erase(writer, revision, user)),
            Action::CreateProperty(declaration) => {
                self.create_property(writer, revision, declaration)
            }
            Action::DeleteProperty(name) => self.delete_property(revision, name),
        }
    }

    fn create_property(
        &self,
        writer: &Writer,
        revision: Revision,
        declaration: &PropertyDeclaration,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        if let Some(existing) = catalog.get(&declaration.name) {
            return Err(Refusal::PropertyExists {
                property: declaration.name.clone(),
                value_type: existing.value_type(),
            });
        }
        check_property_count(writer, &catalog, &declaration.name)?;
        catalog.insert(self.new_property(catalog.next_number, revision, declaration.clone()));
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
    }

    pub(super) fn new_property(
        &self,
        number: u32,
        revision: Revision,
        declaration: PropertyDeclaration,
    ) -> Property {
        let dictionary = Property::needs_dictionary(declaration.value_type).then(|| {
            let dictionary = Dictionary::new(declaration.case_insensitive);
            Cell::new(dictionary, revision, self.epoch())
        });
        Property::new(number, declaration, dictionary)
    }

    fn delete_property(&self, revision: Revision, name: &PropertyName) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let Some(property) = catalog.remove(name) else {
            return Err(Refusal::PropertyNotFound {
                property: name.clone(),
            });
        };
        self.catalog.store(Arc::new(catalog));
        for cell in self.shards.load().iter() {
            if cell.read().shard.index(property.number).is_some() {
                let mut state = cell.write(revision, self.epoch(), encode_state);
                state.shard.remove_property(property.number);
            }
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.forget_property(property.number);
        Ok(Changes::default())
    }

    fn erase(&self, writer: &mut Writer, revision: Revision, user: &UserId) -> Changes {
        let Some(ordinal) = self.ordinal_of(user) else {
            return Changes::default();
        };
        let (shard, place) = split(ordinal);
        self.table.remove(user.as_str(), ordinal);
        if let Some(cell) = self.shards.load().get(shard as usize) {
            let mut state = cell.write(revision, self.epoch(), encode_state);
            let values = state.shard.remove_user(place);
            state.ids.clear(place);
            drop(state);
            let before = values
                .into_iter()
                .map(|(number, value)| (number, Some(value), None));
            self.count(revision, false, true, &before.collect::<Vec<_>>());
        }
        writer.free.push(Reverse(ordinal));
        Changes {
            erased: true,
            ..Changes::default()
        }
    }

    fn write(
        &self,
        writer: &mut Writer,
        revision: Revision,
        updates: &[UserUpdate],
    ) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        let catalog = self.catalog();
        let (grown, outcomes) = self.judge(writer, &catalog, revision, updates, &mut changes)?;
        if let Some(catalog) = grown {
            self.catalog.store(Arc::new(catalog));
        }
        for outcome in &outcomes {
            self.carry_out(writer, revision, outcome);
        }
        Ok(changes)
    }

    fn carry_out(&self, writer: &mut Writer, revision: Revision, outcome: &Outcome<'_>) {
        let known = self.ordinal_of(outcome.user);
        let ordinal = known.unwrap_or_else(|| self.next_ordinal(writer, revision));
        let (shard, place) = split(ordinal);
        let shards = self.shards.load();
        let Some(cell) = shards.get(shard as usize) else {
            return;
        };
        let mut before = Vec::with_capacity(outcome.effects.len());
        {
            let mut state = cell.write(revision, self.epoch(), encode_state);
            if known.is_none() {
                state.ids.set(place, outcome.user.as_str());
                state.shard.insert_user(place);
            }
            for effect in &outcome.effects {
                self.carry_out_effect(&mut state, revision, place, effect, &mut before);
            }
            // Under the shard's lock, so that who sees the new value sees it counted.
            self.count(revision, known.is_none(), false, &before);
        }
        if known.is_none() {
            self.table.insert(outcome.user.as_str(), ordinal);
        }
    }

    fn carry_out_effect(
        &self,
        state: &mut ShardState,
        revision: Revision,
        place: u16,
        effect: &Effect<'_>,
        before: &mut Vec<(u32, Option<Stored>, Option<Stored>)>,
    ) {
        let property = &effect.property;
        let after = effect
            .value
            .as_deref()
            .map(|value| self.store(property, revision, value));
        let replaced = state
            .shard
            .set(property.number, property.kind(), place, after.clone());
        if let Some(time) = effect.time {
            state
                .shard
                .set_value_time(property.number, property.kind(), place, time.micros());
        }
        if replaced != after {
            before.push((property.number, replaced, after));
        }
    }

    /// What the index stores for a value; texts get codes.
    fn store(&self, property: &Property, revision: Revision, value: &Value) -> Stored {
        let code = |text: &str| {
            property.dictionary.as_ref().map_or(0, |cell| {
                // Nearly always the text is known, and readers need not wait.
                let known = cell.read().code(text);
                known.unwrap_or_else(|| {
                    cell.write(revision, self.epoch(), encode_dictionary)
                        .code_or_insert(text)
                })
            })
        };
        match value {
            Value::Bool(value) => Stored::Code(bool_code(*value)),
            Value::String(text) => Stored::Code(code(text.as_str())),
            Value::Version(version) => Stored::Code(code(&version.to_string())),
            Value::StringSet(elements) => {
                let mut codes: Vec<u32> = elements.iter().map(|text| code(text.as_str())).collect();
                codes.sort_unstable();
                Stored::Codes(codes.into())
            }
            Value::Int64(_) | Value::Double(_) | Value::Timestamp(_) => {
                Stored::Number(number_of(value).unwrap_or_default())
            }
        }
    }

    /// Keeps the counts up to date with values replaced, and frees the codes that nobody has any
    /// more.
    fn count(
        &self,
        revision: Revision,
        appeared: bool,
        erased: bool,
        replaced: &[(u32, Option<Stored>, Option<Stored>)],
    ) {
        let mut unused = Vec::new();
        {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            if appeared {
                kept.add_users(1);
            }
            if erased {
                kept.remove_user();
            }
            for (number, before, after) in replaced {
                match (before.is_some(), after.is_some()) {
                    (false, true) => kept.add_having(*number, 1),
                    (true, false) => kept.remove_having(*number),
                    (true, true) | (false, false) => {}
                }
                for &code in codes(after.as_ref()) {
                    kept.add_code(*number, code, 1);
                }
                for &code in codes(before.as_ref()) {
                    if kept.remove_code(*number, code) {
                        unused.push((*number, code));
                    }
                }
            }
        }
        if unused.is_empty() {
            return;
        }
        // A user's value can change and change back in one write.
        self.kept(|kept| unused.retain(|&(number, code)| kept.with_code(number, code) == 0));
        let catalog = self.catalog();
        for (number, code) in unused {
            let property = catalog.iter().find(|property| property.number == number);
            if let Some(cell) = property.and_then(|property| property.dictionary.as_ref()) {
                cell.write(revision, self.epoch(), encode_dictionary)
                    .free(code);
            }
        }
    }

    pub(super) fn ordinal_of(&self, user: &UserId) -> Option<Ordinal> {
        let found = self.table.find(user.as_str(), |ordinal| {
            let (number, place) = split(ordinal);
            let is_user =
                self.with_shard(number, |reader| reader.state.ids.is(place, user.as_str()));
            is_user?.then_some(())
        });
        found.map(|(ordinal, ())| ordinal)
    }

    fn next_ordinal(&self, writer: &mut Writer, revision: Revision) -> Ordinal {
        if let Some(Reverse(ordinal)) = writer.free.pop() {
            return ordinal;
        }
        let ordinal = writer.next_ordinal;
        writer.next_ordinal += 1;
        if ordinal.is_multiple_of(SHARD_USERS) {
            let mut shards = self.shards.load().to_vec();
            shards.push(Arc::new(Cell::new(
                ShardState::default(),
                revision,
                self.epoch(),
            )));
            self.shards.store(Arc::new(shards));
        }
        ordinal
    }
}

fn codes(stored: Option<&Stored>) -> &[u32] {
    match stored {
        Some(Stored::Code(code)) => std::slice::from_ref(code),
        Some(Stored::Codes(codes)) => codes,
        Some(Stored::Number(_)) | None => &[],
    }
}
