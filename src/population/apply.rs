//! Carries one action out, unless it is refused.
//!
//! Invariant: deterministic and total. The outcome follows from the actions before it and nothing
//! else: no clock, no I/O, no configuration. An action is judged as a whole before its first
//! change, so that a refused one changes nothing.
//!
//! Writes, which are nearly all actions, are carried out in `write`.

use std::cmp::Reverse;
use std::sync::{Arc, PoisonError};

use super::capture::encode_state;
use super::catalog::{Catalog, Property};
use super::cell::Cell;
use super::judge::check_property_count;
use super::lists::Membership;
use super::refusal::Refusal;
use super::segments::check_unused;
use super::users::{IdHash, Ordinal};
use super::{Changes, Population, ShardState, Writer, split};
use crate::index::{Dictionary, Difference, SHARD_USERS, Stored, encode_dictionary};
use crate::model::{Action, Mentioned, PropertyDeclaration, PropertyName, Revision, UserId};

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
            Action::CreateEvent(declaration) => self.create_event(writer, declaration),
            Action::UpdateEvent(declaration) => self.update_event(writer, declaration),
            Action::DeleteEvent(name) => self.delete_event(revision, name),
            Action::CreateSegment(declaration, time) => {
                self.create_segment(writer, revision, declaration, *time)
            }
            Action::UpdateSegment(change, time) => self.update_segment(revision, change, *time),
            Action::DeleteSegment(name, since) => self.delete_segment(revision, name, *since),
            Action::CreateList(declaration, time) => {
                self.create_list(writer, revision, declaration, *time)
            }
            Action::AddMembers(name, users) => {
                self.change_members(revision, name, users, Membership::Added)
            }
            Action::RemoveMembers(name, users) => {
                self.change_members(revision, name, users, Membership::Removed)
            }
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
        check_unused(&catalog, Mentioned::Property(name))?;
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
        let hash = self.table.hash(user.as_str());
        let Some(ordinal) = self.ordinal_of(user, hash) else {
            return Changes::default();
        };
        let (shard, place) = split(ordinal);
        self.table.remove(hash, ordinal);
        if let Some(cell) = self.shards.load().get(shard as usize) {
            let mut state = cell.write(revision, self.epoch(), encode_state);
            let values = state.shard.remove_user(place);
            let events = state.shard.remove_events_of(place);
            state.ids.clear(place);
            self.erasures.note(shard, place);
            drop(state);
            self.forget_values(revision, &values);
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            for (event, count) in events {
                kept.events_mut(event).events -= count;
            }
        }
        writer.free.push(Reverse(ordinal));
        writer.freed = revision;
        Changes {
            erased: true,
            ..Changes::default()
        }
    }

    /// Keeps the counts up to date with a user who had these values.
    fn forget_values(&self, revision: Revision, values: &[(u32, Stored)]) {
        let mut unused = Vec::new();
        {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.remove_user();
            for (number, value) in values {
                let mut difference = Difference::default();
                match value {
                    Stored::Code(code) => difference.note(&[*code], &[]),
                    Stored::Codes(codes) => difference.note(codes, &[]),
                    Stored::Number(_) => difference.note_having(true, false),
                }
                let mut codes = Vec::new();
                kept.change(*number, &difference, &mut codes);
                unused.push((*number, codes));
            }
        }
        let catalog = self.catalog();
        for (number, codes) in unused.iter().filter(|(_, codes)| !codes.is_empty()) {
            if let Some(property) = catalog.iter().find(|property| property.number == *number) {
                self.free(property, revision, codes);
            }
        }
    }

    /// Puts codes out of use that nobody has any more.
    pub(super) fn free(&self, property: &Property, revision: Revision, codes: &[u32]) {
        if let Some(cell) = &property.dictionary {
            let mut dictionary = cell.write(revision, self.epoch(), encode_dictionary);
            for &code in codes {
                dictionary.free(code);
            }
        }
    }

    pub(super) fn ordinal_of(&self, user: &UserId, hash: IdHash) -> Option<Ordinal> {
        let found = self.table.find(hash, |ordinal| {
            let (number, place) = split(ordinal);
            let is_user =
                self.with_shard(number, |reader| reader.state.ids.is(place, user.as_str()));
            is_user?.then_some(())
        });
        found.map(|(ordinal, ())| ordinal)
    }

    pub(super) fn next_ordinal(&self, writer: &mut Writer, revision: Revision) -> Ordinal {
        if let Some(Reverse(ordinal)) = writer.free.pop() {
            writer.reused = revision;
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
