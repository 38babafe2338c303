//! Static lists: segments whose members were given.
//!
//! Invariants: a list holds users who exist and no others; a list that can be named has all of its
//! first members. Lists are held as one string set of every user, by a property that no client can
//! name, whose codes are the numbers of the lists; so an erasure takes a user out of all of them, and
//! no number is given twice.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::capture::encode_state;
use super::catalog::Catalog;
use super::refusal::Refusal;
use super::segments::{
    Definition, SavedSegment, check_new, decode_name, decode_notes, encode_notes, timestamp,
};
use super::{Changes, MemberChanges, Population, Writer};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::index::{Difference, IndexKind, Posting, PropertyIndex, SetIndex, Shard, Stored};
use crate::model::{
    FirstMembers, FrozenUsers, ListDeclaration, Revision, SegmentName, Timestamp, UserId, limit,
};

/// The number of the property that holds the lists: declared ones never get there.
pub(crate) const LISTS: u32 = u32::MAX;

/// Users who are changed under one shard's lock. They take less than 100 us.
const USERS_AT_ONCE: usize = 256;

/// What is to become of users, as far as a list is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Added,
    Removed,
}

/// The lists of a shard's users; `None` if none ever was in one.
pub(super) fn lists_of(shard: &Shard) -> Option<&SetIndex> {
    match shard.index(LISTS) {
        Some(PropertyIndex::Sets(index)) => Some(index),
        Some(PropertyIndex::Codes(_) | PropertyIndex::Numbers(_)) | None => None,
    }
}

/// The numbers of all lists.
pub(super) fn list_numbers(catalog: &Catalog) -> BTreeSet<u32> {
    let segments = catalog.segments();
    segments
        .filter_map(|segment| segment.definition().list())
        .collect()
}

impl Population {
    /// How many users are in the static list of a number.
    #[must_use]
    pub fn member_count(&self, list: u32) -> u64 {
        self.kept(|kept| kept.with_code(LISTS, list))
    }

    pub(super) fn create_list(
        &self,
        writer: &Writer,
        revision: Revision,
        declaration: &ListDeclaration,
        time: Timestamp,
    ) -> Result<Changes, Refusal> {
        let name = &declaration.name;
        let mut catalog = Catalog::clone(&self.catalog());
        check_new(writer, &catalog, name)?;
        let too_many = |exceeded| Refusal::TooManyLists {
            segment: name.clone(),
            exceeded,
        };
        let segments = catalog.segments();
        let lists = segments.filter(|segment| segment.definition().list().is_some());
        let lists = lists.count() as u64;
        limit::STATIC_LISTS.check(lists + 1).map_err(too_many)?;
        if let FirstMembers::Frozen(users) = &declaration.members
            && writer.freed > users.since()
            && writer.reused > users.since()
        {
            return Err(Refusal::FreezeConflict {
                segment: name.clone(),
            });
        }
        let number = catalog.next_list;
        // Who finds the list finds all who are in it.
        let members = match &declaration.members {
            FirstMembers::Users(users) => self.put(revision, number, users, Membership::Added),
            FirstMembers::Frozen(users) => MemberChanges {
                changed: self.put_frozen(revision, number, users),
                unknown: Vec::new(),
            },
        };
        catalog.next_list += 1;
        catalog.insert_segment(SavedSegment::new_list(
            name.clone(),
            number,
            (declaration.description.clone(), declaration.labels.clone()),
            revision,
            (time, time),
        ));
        self.catalog.store(Arc::new(catalog));
        Ok(Changes {
            members,
            ..Changes::default()
        })
    }

    pub(super) fn change_members(
        &self,
        revision: Revision,
        name: &SegmentName,
        users: &[UserId],
        membership: Membership,
    ) -> Result<Changes, Refusal> {
        let catalog = self.catalog();
        let segment = catalog
            .segment(name)
            .ok_or_else(|| Refusal::SegmentNotFound {
                segment: name.clone(),
            })?;
        let Definition::List(number) = segment.definition() else {
            return Err(Refusal::SegmentIsNoList {
                segment: name.clone(),
            });
        };
        Ok(Changes {
            members: self.put(revision, *number, users, membership),
            ..Changes::default()
        })
    }

    /// Puts users into a list, or takes them out of it.
    fn put(
        &self,
        revision: Revision,
        list: u32,
        users: &[UserId],
        membership: Membership,
    ) -> MemberChanges {
        let ids: Vec<&UserId> = users.iter().collect();
        let mut exists = vec![false; ids.len()];
        let mut places: Vec<(u32, u16)> = Vec::new();
        self.with_users(&ids, |reader, found| {
            let lists = lists_of(reader.shard());
            for &(position, place) in found {
                exists[position] = true;
                let is_in = lists.is_some_and(|lists| lists.has_any(place, &[list]));
                if is_in != (membership == Membership::Added) {
                    places.push((reader.number(), place));
                }
            }
        });
        places.sort_unstable();
        places.dedup();
        for in_shard in places.chunk_by(|a, b| a.0 == b.0) {
            for some in in_shard.chunks(USERS_AT_ONCE) {
                self.change_lists(revision, list, some, membership);
            }
        }
        let positions = exists.iter().enumerate();
        MemberChanges {
            changed: places.len() as u64,
            unknown: positions
                .filter(|(_, exists)| !**exists)
                .map(|(position, _)| position)
                .collect(),
        }
    }

    /// Changes the lists of users of one shard, each of whom that changes.
    fn change_lists(
        &self,
        revision: Revision,
        list: u32,
        users: &[(u32, u16)],
        membership: Membership,
    ) {
        let shards = self.shards.load();
        let Some(cell) = users
            .first()
            .and_then(|(shard, _)| shards.get(*shard as usize))
        else {
            return;
        };
        let mut difference = Difference::default();
        let mut state = cell.write(revision, self.epoch(), encode_state);
        for &(_, place) in users {
            let before = lists_of(&state.shard).map(|lists| lists.get(place));
            let mut lists = before.unwrap_or_default();
            let had_any = !lists.is_empty();
            match (lists.binary_search(&list), membership) {
                (Err(position), Membership::Added) => {
                    lists.insert(position, list);
                    difference.added.push(list);
                }
                (Ok(position), Membership::Removed) => {
                    lists.remove(position);
                    difference.removed.push(list);
                }
                (Ok(_), Membership::Added) | (Err(_), Membership::Removed) => {}
            }
            difference.note_having(had_any, !lists.is_empty());
            let value = (!lists.is_empty()).then(|| Stored::Codes(lists.as_slice().into()));
            state.shard.set(LISTS, IndexKind::Sets, place, value);
        }
        // Under the shard's lock, so that who sees a member sees it counted.
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.change(LISTS, &difference, &mut Vec::new());
    }

    /// Puts those users into a new list whom a question found and who still exist; returns how
    /// many they are. A shard is locked for as long as it takes to go through all users of it.
    fn put_frozen(&self, revision: Revision, list: u32, users: &FrozenUsers) -> u64 {
        let shards = self.shards.load();
        let mut count = 0;
        for (number, bytes) in users.shards() {
            // Bytes that are no users were refused when the command was read.
            let (Some(cell), Some(found)) =
                (shards.get(*number as usize), Posting::from_portable(bytes))
            else {
                continue;
            };
            let mut living = found.to_block();
            living.and(&cell.read().shard.live().to_block());
            let found = Posting::of_block(&living);
            let members = u64::from(found.count());
            if members == 0 {
                continue;
            }
            let mut state = cell.write(revision, self.epoch(), encode_state);
            let new = state.shard.add_greatest(LISTS, list, found);
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.add_code(LISTS, list, members);
            kept.add_having(LISTS, u64::from(new));
            count += members;
        }
        count
    }

    /// Takes everyone out of a list that can't be named any more.
    pub(super) fn forget_list(&self, revision: Revision, list: u32) {
        let mut only = 0;
        for cell in self.shards.load().iter() {
            let has_members =
                lists_of(&cell.read().shard).is_some_and(|lists| lists.posting(list).is_some());
            if has_members {
                let mut state = cell.write(revision, self.epoch(), encode_state);
                let (_, emptied) = state.shard.remove_code(LISTS, list);
                only += u64::from(emptied);
            }
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.forget_code(LISTS, list, only);
    }
}

/// What a snapshot holds of lists besides their members.
#[derive(Debug, Default)]
pub(super) struct KnownLists {
    pub(super) next_list: u32,
    pub(super) freed: Revision,
    pub(super) reused: Revision,
    pub(super) lists: Vec<SavedSegment>,
}

/// Whether there is anything that [`encode_lists`] has to write.
pub(super) fn has_lists(catalog: &Catalog, writer: &Writer) -> bool {
    catalog.next_list > 0 || writer.freed > Revision::ZERO
}

/// Appends the lists of a catalog, and what users are frozen by.
pub(super) fn encode_lists(encoder: &mut Encoder, catalog: &Catalog, writer: &Writer) {
    encoder.u32(catalog.next_list);
    encoder.count(writer.freed.number());
    encoder.count(writer.reused.number());
    let lists = || {
        let segments = catalog.segments();
        segments.filter_map(|segment| Some((segment, segment.definition().list()?)))
    };
    encoder.count(lists().count() as u64);
    for (segment, number) in lists() {
        encoder.text(segment.name().as_str());
        encoder.u32(number);
        encode_notes(encoder, segment);
        encoder.count(segment.revision().number());
        encoder.i64(segment.created().micros());
        encoder.i64(segment.updated().micros());
    }
}

/// Reads what [`encode_lists`] wrote.
pub(super) fn decode_lists(decoder: &mut Decoder<'_>) -> Result<KnownLists, DecodeError> {
    let mut known = KnownLists {
        next_list: decoder.u32()?,
        freed: Revision::new(decoder.count()?),
        reused: Revision::new(decoder.count()?),
        lists: Vec::new(),
    };
    let mut numbers = BTreeSet::new();
    for _ in 0..decoder.length(24)? {
        let name = decode_name(decoder, known.lists.last())?;
        let number = decoder.u32()?;
        if number >= known.next_list || !numbers.insert(number) {
            return Err(decoder.bad_value("the number of a static list", number));
        }
        let notes = decode_notes(decoder)?;
        let revision = Revision::new(decoder.count()?);
        let times = (timestamp(decoder)?, timestamp(decoder)?);
        let list = SavedSegment::new_list(name, number, notes, revision, times);
        known.lists.push(list);
    }
    Ok(known)
}

/// Appends users as a question found them.
pub(crate) fn encode_frozen(encoder: &mut Encoder, users: &FrozenUsers) {
    encoder.count(users.since().number());
    encoder.count(users.shards().len() as u64);
    for (shard, users) in users.shards() {
        encoder.count(u64::from(*shard));
        encoder.byte_string(users);
    }
}

/// Reads what [`encode_frozen`] wrote.
///
/// # Errors
/// [`DecodeError`] if the bytes are no users.
pub(crate) fn decode_frozen(decoder: &mut Decoder<'_>) -> Result<FrozenUsers, DecodeError> {
    let since = Revision::new(decoder.count()?);
    let mut shards = Vec::new();
    for _ in 0..decoder.length(2)? {
        let number = decoder.count()?;
        let shard = u32::try_from(number)
            .map_err(|_| decoder.bad_value("the number of a shard", number))?;
        let users = decoder.byte_string()?;
        if Posting::from_portable(users).is_none_or(|users| users.is_empty()) {
            return Err(decoder.bad_value("the users of a shard", number));
        }
        shards.push((shard, users.to_vec()));
    }
    let count = shards.len() as u64;
    FrozenUsers::new(since, shards)
        .ok_or_else(|| decoder.bad_value("a number of shards in order", count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::index::SHARD_USERS;
    use crate::model::{Action, Labels, NonEmpty, StoreLimits, Text, UserUpdate};
    use crate::population::{CountsCompared, RestoreError};

    fn id(number: u32) -> UserId {
        UserId::new(format!("u{number}")).unwrap()
    }

    fn name(text: &str) -> SegmentName {
        SegmentName::new(text).unwrap()
    }

    fn create(list: &str, members: FirstMembers) -> Action {
        let declaration = ListDeclaration {
            name: name(list),
            description: Text::new("").unwrap(),
            labels: Labels::new(),
            members,
        };
        Action::CreateList(Box::new(declaration), Timestamp::MIN)
    }

    /// So many users, with a revision for each thing done to them.
    struct World {
        population: Arc<Population>,
        revision: Revision,
    }

    impl World {
        fn new(users: u32) -> Self {
            let mut world = Self {
                population: Arc::new(Population::new(StoreLimits::default())),
                revision: Revision::ZERO,
            };
            let updates = (0..users).map(|number| UserUpdate {
                user: id(number),
                value_time: None,
                changes: Vec::new(),
                events: Vec::new(),
            });
            let write = NonEmpty::new(updates.collect()).unwrap();
            world.apply(&Action::Write(write)).unwrap();
            world
        }

        fn apply(&mut self, action: &Action) -> Result<MemberChanges, Refusal> {
            self.revision = self.revision.next();
            let changes = self.population.apply(self.revision, action);
            changes.map(|changes| changes.members)
        }

        fn parts(&self) -> BTreeMap<String, Vec<u8>> {
            let capture = self.population.begin_capture();
            let parts = capture.parts().map(|part| (part.name(), part));
            parts
                .map(|(name, part)| (name, part.take(None).unwrap()))
                .collect()
        }

        fn count(&self, list: &str) -> u64 {
            let catalog = self.population.catalog();
            let number = catalog.segment(&name(list)).unwrap().definition().list();
            self.population.member_count(number.unwrap())
        }
    }

    fn restore(parts: &BTreeMap<String, Vec<u8>>) -> Result<Population, RestoreError> {
        let limits = StoreLimits::default();
        Population::restore(limits, Revision::new(9), |name| parts.get(name).cloned())
    }

    /// Nothing that is held twice differs.
    fn check(population: &Population) {
        for shard in 0..population.shard_count() {
            let compared = population.compare_lists(shard);
            assert!(compared.mismatches.is_empty(), "{compared:?}");
        }
        let CountsCompared::Done(mismatches) = population.compare_list_counts() else {
            panic!("nobody writes");
        };
        assert!(mismatches.is_empty(), "{mismatches:?}");
    }

    #[test]
    fn lists_of_many_shards_are_filled_and_forgotten() {
        let users = SHARD_USERS + 3_000;
        let mut world = World::new(users);
        let all = |step: usize| (0..users + 2).step_by(step).map(id).collect::<Vec<_>>();
        let given = world.apply(&create("thirds", FirstMembers::Users(all(3))));
        assert_eq!(given.unwrap().changed, u64::from(users.div_ceil(3)));
        let whole = |shard: u32| {
            let mut posting = Posting::default();
            for user in 0..=u16::MAX {
                if shard * SHARD_USERS + u32::from(user) < users + 500 {
                    posting.insert(user);
                }
            }
            posting.to_portable()
        };
        let frozen = FrozenUsers::new(
            world.revision,
            vec![(0, whole(0)), (1, whole(1)), (9, whole(0))],
        );
        // Places where nobody is are left out, and a shard that is not there, too.
        let action = create("all", FirstMembers::Frozen(frozen.unwrap()));
        assert_eq!(world.apply(&action).unwrap().changed, u64::from(users));
        let even = NonEmpty::new(all(2)).unwrap();
        let removed = world.apply(&Action::RemoveMembers(name("all"), even.clone()));
        assert_eq!(removed.unwrap().changed, u64::from(users.div_ceil(2)));
        let again = world.apply(&Action::RemoveMembers(name("all"), even));
        assert_eq!(again.unwrap().changed, 0);
        assert_eq!(world.count("all"), u64::from(users / 2));
        check(&world.population);

        let restored = restore(&world.parts()).unwrap();
        check(&restored);
        let again = World {
            population: Arc::new(restored),
            revision: world.revision,
        };
        assert_eq!(again.parts(), world.parts());
        let before = world.count("thirds");
        world
            .apply(&Action::DeleteSegment(name("all"), None))
            .unwrap();
        assert_eq!(world.count("thirds"), before);
        check(&world.population);
        let none = create("again", FirstMembers::Users(Vec::new()));
        world.apply(&none).unwrap();
        assert_eq!(world.count("again"), 0);
    }

    #[test]
    fn there_are_no_more_lists_than_may_be() {
        let mut world = World::new(1);
        let mut catalog = Catalog::default();
        let no_notes = || (Text::new("").unwrap(), Labels::new());
        let times = (Timestamp::MIN, Timestamp::MIN);
        for _ in 0..limit::STATIC_LISTS.default {
            let number = catalog.next_list;
            catalog.next_list += 1;
            catalog.insert_segment(SavedSegment::new_list(
                name(&number.to_string()),
                number,
                no_notes(),
                world.revision,
                times,
            ));
        }
        world.population.catalog.store(Arc::new(catalog));
        let more = create("more", FirstMembers::Users(Vec::new()));
        let refused = world.apply(&more);
        assert!(
            matches!(refused, Err(Refusal::TooManyLists { .. })),
            "{refused:?}"
        );
        world
            .apply(&Action::DeleteSegment(name("7"), None))
            .unwrap();
        world.apply(&more).unwrap();
        check(&world.population);
    }

    #[test]
    fn parts_that_do_not_fit_each_other_are_refused() {
        let mut world = World::new(3);
        let before = world.parts();
        world
            .apply(&create("asked", FirstMembers::Users(vec![id(1)])))
            .unwrap();
        let mut parts = world.parts();
        assert!(restore(&parts).is_ok());
        parts.insert("catalog".into(), before["catalog"].clone());
        let expected = RestoreError::Mismatch {
            section: "shard-0".into(),
            fault: "a static list is not in the catalog",
        };
        assert_eq!(restore(&parts).unwrap_err(), expected);
    }

    #[test]
    fn lists_of_a_catalog_that_can_not_be_are_refused() {
        let mut world = World::new(1);
        for list in ["a", "b"] {
            let list = create(list, FirstMembers::Users(Vec::new()));
            world.apply(&list).unwrap();
        }
        let catalog = world.population.catalog();
        let mut encoder = Encoder::new();
        encode_lists(&mut encoder, &catalog, &world.population.writer());
        let bytes = encoder.into_bytes();
        let decoded = |bytes: &[u8]| {
            let mut decoder = Decoder::new(bytes);
            let known = decode_lists(&mut decoder)?;
            decoder.finish().map(|()| known)
        };
        assert_eq!(decoded(&bytes).unwrap().lists.len(), 2);
        for length in 0..bytes.len() {
            assert!(decoded(&bytes[..length]).is_err());
        }
        // One list fewer than there are: the second has a number that was not given.
        let mut fewer = bytes.clone();
        fewer[0] = 1;
        assert!(decoded(&fewer).is_err());
        // The name of the second is that of the first.
        let mut same = bytes;
        let second = same.iter().position(|byte| *byte == b'b').unwrap();
        same[second] = b'a';
        assert!(decoded(&same).is_err());
    }
}
