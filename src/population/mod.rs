//! One population: names on top of shards.
//!
//! Invariants: [`Population::apply`] is the only way in, and its outcome follows from the commands
//! before it alone. All that one command changes of a user becomes visible at once. Locks are
//! taken in the order shard, dictionary, kept counts, and none is held across I/O; ordinals that
//! were read without a shard's lock are checked again under it.

mod apply;
mod capture;
mod capture_events;
mod catalog;
mod cell;
mod erasures;
mod events;
mod judge;
mod judge_events;
mod kept;
mod lists;
mod named;
mod once;
mod refusal;
mod segments;
mod staged;
mod users;
mod values;
mod verify;
mod windows;
mod write;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use arc_swap::ArcSwap;

pub use capture::{Capture, Part, RestoreError, SectionName};
pub(crate) use catalog::nearest;
pub use catalog::{Catalog, KnownEvent, Property};
pub use erasures::Erasures;
pub use events::{EventInfo, UserDay, UserEvents};
pub use kept::{EventCounts, KeptCounts};
pub(crate) use lists::{LISTS, decode_frozen, encode_frozen};
pub use refusal::Refusal;
pub use segments::{Definition, Redefinition, SavedSegment};
pub(crate) use segments::{decode_definition, encode_definition};
pub(crate) use values::number_of;
pub use values::{ValueCount, ValuesError};
pub use verify::CountsCompared;

use crate::index::{Dictionary, SHARD_USERS, Shard};
use crate::model::{
    EventFault, PropertyDeclaration, PropertyName, Revision, StoreLimits, UserId, Value,
};
use cell::{Cell, Reading};
use erasures::Observers;
use once::{Requests, Streams};
use users::{IdHash, Ids, Ordinal, UserTable};
use windows::Windows;

/// One population.
#[derive(Debug)]
pub struct Population {
    catalog: ArcSwap<Catalog>,
    shards: ArcSwap<Vec<Arc<ShardCell>>>,
    table: UserTable,
    kept: RwLock<KeptCounts>,
    writer: Mutex<Writer>,
    /// How far streams of commands got.
    streams: Cell<Streams>,
    /// The capture that is under way, 0 for none.
    capturing: AtomicU64,
    /// The windows of events of which counts are kept.
    windows: Mutex<Windows>,
    /// Who is told of erasures. Locked last, under the lock of a shard.
    erasures: Observers,
}

type ShardCell = Cell<ShardState>;

/// A shard with the ids of its users.
#[derive(Debug, Default)]
pub(crate) struct ShardState {
    ids: Ids,
    shard: Shard,
}

/// What only the writer needs.
#[derive(Debug)]
struct Writer {
    limits: StoreLimits,
    next_ordinal: Ordinal,
    /// Ordinals of erased users. The smallest is used first, whatever the order of erasure.
    free: BinaryHeap<Reverse<Ordinal>>,
    /// When an erased user's ordinal was last given back, and one was last given to a new user.
    freed: Revision,
    reused: Revision,
    /// What became of commands that had an id.
    requests: Requests,
    captures_begun: u64,
    /// The last day on which old events were dropped.
    expired_on: i32,
}

/// What is known of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyInfo {
    /// What was declared.
    pub declaration: PropertyDeclaration,
    /// How many users have a value.
    pub users: u64,
    /// How many different values are in use; 0 for numbers and timestamps, which are not listed.
    pub distinct_values: u64,
}

/// What an accepted action did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes that lost against a newer value time: the position of the update, the property.
    pub stale: Vec<(usize, PropertyName)>,
    /// Whether the user to be erased existed.
    pub erased: bool,
    /// Events that do not count, in the order of the command.
    pub refused_events: Vec<RefusedEvent>,
    /// What it did to the members of a static list.
    pub members: MemberChanges,
}

/// What an accepted action did to the members of a static list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberChanges {
    /// How many users were added, or removed.
    pub changed: u64,
    /// The positions of users of the command who do not exist.
    pub unknown: Vec<usize>,
}

/// An event of an accepted write that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedEvent {
    /// The position of the update.
    pub update: usize,
    /// The position of the event within the update.
    pub event: usize,
    /// Why.
    pub fault: EventFault,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The revision from which on it is in every answer; of a command that was sent before, that
    /// of the first one or, where this is not remembered, a later one.
    pub revision: Revision,
    /// What it did, or why it did nothing.
    pub outcome: Result<Changes, Refusal>,
    /// Whether the command had been sent before, so that this is the first one's outcome and
    /// nothing was done again.
    pub replayed: bool,
}

impl Judged {
    /// What became of a command that had not been sent before.
    #[must_use]
    pub fn first(revision: Revision, outcome: Result<Changes, Refusal>) -> Self {
        Self {
            revision,
            outcome,
            replayed: false,
        }
    }
}

/// A shard as a reader sees it, while its lock is held.
pub struct ShardReader<'a> {
    number: u32,
    state: Reading<'a, ShardState>,
}

impl ShardReader<'_> {
    /// The index of the shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.state.shard
    }

    /// The number of the shard.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Reads the bytes of the id of a live user of the shard, without a copy of them.
    pub fn with_user_id<T>(&self, user: u16, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.state.ids.with(user, read)
    }

    /// The ids of live users of the shard. They are read ahead, so that the reads wait for memory
    /// together.
    pub fn user_ids(&self, users: &[u16]) -> impl Iterator<Item = UserId> {
        self.state.ids.touch(users.iter().copied());
        let ids = users.iter();
        ids.filter_map(|user| UserId::new(self.state.ids.get(*user)?).ok())
    }
}

impl Population {
    /// A population without users, to be judged by these limits.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            catalog: ArcSwap::default(),
            shards: ArcSwap::default(),
            table: UserTable::default(),
            kept: RwLock::default(),
            writer: Mutex::new(Writer {
                limits: limits.capped(),
                next_ordinal: 0,
                free: BinaryHeap::new(),
                freed: Revision::ZERO,
                reused: Revision::ZERO,
                requests: Requests::default(),
                captures_begun: 0,
                expired_on: i32::MIN,
            }),
            windows: Mutex::default(),
            erasures: Observers::default(),
            streams: Cell::new(Streams::default(), Revision::ZERO, 0),
            capturing: AtomicU64::new(0),
        }
    }

    /// Judges later actions by these limits.
    pub fn set_limits(&self, limits: StoreLimits) {
        self.writer().limits = limits.capped();
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> u64 {
        self.kept(KeptCounts::users)
    }

    /// The properties as they are now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Whether a catalog is the one of now.
    #[must_use]
    pub fn has_catalog(&self, catalog: &Weak<Catalog>) -> bool {
        // Its place in memory is not given to another one for as long as it is known here.
        std::ptr::eq(Arc::as_ptr(&self.catalog.load()), catalog.as_ptr())
    }

    /// All properties, in the order of their names.
    #[must_use]
    pub fn properties(&self) -> Vec<PropertyInfo> {
        self.catalog()
            .iter()
            .map(|property| self.info(property))
            .collect()
    }

    /// The property of a name.
    #[must_use]
    pub fn property(&self, name: &PropertyName) -> Option<PropertyInfo> {
        Some(self.info(self.catalog().get(name)?))
    }

    fn info(&self, property: &Property) -> PropertyInfo {
        let in_dictionary = property.with_dictionary(|dictionary| dictionary.len() as u64);
        self.kept(|kept| PropertyInfo {
            declaration: property.declaration.clone(),
            users: kept.having(property.number),
            distinct_values: in_dictionary.unwrap_or_else(|| kept.codes_in_use(property.number)),
        })
    }

    /// All properties of a user that are set; `None` if there is no such user.
    #[must_use]
    pub fn user(&self, id: &UserId) -> Option<BTreeMap<PropertyName, Value>> {
        self.with_user(id, |reader, user| {
            values_of(&self.catalog(), reader.shard(), user)
        })
    }

    /// Reads what the kept counts say.
    pub fn kept<T>(&self, read: impl FnOnce(&KeptCounts) -> T) -> T {
        read(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "ordinals are u32")]
        let count = self.shards.load().len() as u32;
        count
    }

    /// Reads a shard under its lock; `None` if there is no such shard.
    pub fn with_shard<T>(
        &self,
        number: u32,
        read: impl FnOnce(&ShardReader<'_>) -> T,
    ) -> Option<T> {
        let shards = self.shards.load();
        let state = shards.get(number as usize)?.read();
        Some(read(&ShardReader { number, state }))
    }

    /// Reads the shard of a user, and the user's place in it, under the shard's lock; `None` if
    /// there is no such user.
    pub fn with_user<T>(
        &self,
        id: &UserId,
        read: impl Fn(&ShardReader<'_>, u16) -> T,
    ) -> Option<T> {
        let hash = self.table.hash(id.as_str());
        let found = self.table.find(hash, |ordinal| {
            let (number, user) = split(ordinal);
            self.with_shard(number, |reader| {
                let is_user = reader.state.ids.is(user, id.as_str());
                is_user.then(|| read(reader, user))
            })?
        });
        found.map(|(_, result)| result)
    }

    /// Reads many users, shard by shard: `read` is given the shard under its lock, and for each of
    /// the users found there the position in `ids` and the place in the shard. Users who do not
    /// exist are left out.
    pub fn with_users(&self, ids: &[&UserId], read: impl FnMut(&ShardReader<'_>, &[(usize, u16)])) {
        let hashed = |id: &&'_ UserId| self.table.hash(id.as_str());
        let ids: Vec<(&UserId, IdHash)> = ids.iter().map(|id| (*id, hashed(id))).collect();
        self.with_hashed_users(&ids, read);
    }

    fn with_hashed_users(
        &self,
        ids: &[(&UserId, IdHash)],
        mut read: impl FnMut(&ShardReader<'_>, &[(usize, u16)]),
    ) {
        let candidates = self
            .table
            .first_candidates(ids.iter().map(|(_, hash)| *hash));
        let mut by_ordinal: Vec<(Ordinal, usize)> = candidates
            .into_iter()
            .enumerate()
            .filter_map(|(position, ordinal)| Some((ordinal?, position)))
            .collect();
        by_ordinal.sort_unstable();
        // Two ids with the same part of a hash, or a user who was erased meanwhile: rare.
        let mut others = Vec::new();
        let mut found = Vec::new();
        for same in by_ordinal.chunk_by(|(a, _), (b, _)| split(*a).0 == split(*b).0) {
            found.clear();
            self.with_shard(split(same[0].0).0, |reader| {
                let places = same.iter().map(|(ordinal, _)| split(*ordinal).1);
                reader.state.ids.touch(places);
                for &(ordinal, position) in same {
                    let (_, user) = split(ordinal);
                    if reader.state.ids.is(user, ids[position].0.as_str()) {
                        found.push((position, user));
                    } else {
                        others.push(position);
                    }
                }
                if !found.is_empty() {
                    read(reader, &found);
                }
            });
        }
        for position in others {
            let (id, hash) = ids[position];
            let place = self.ordinal_of(id, hash).map(split);
            if let Some((number, user)) = place {
                self.with_shard(number, |reader| {
                    if reader.state.ids.is(user, ids[position].0.as_str()) {
                        read(reader, &[(position, user)]);
                    }
                });
            }
        }
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn epoch(&self) -> u64 {
        self.capturing.load(Ordering::Acquire)
    }

    /// Bytes of memory on the heap by part, as far as is told: what an allocator adds is not.
    #[must_use]
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        use crate::index::PropertyIndex;
        let (mut ids, mut columns, mut postings) = (self.table.heap_bytes(), 0, 0);
        let (mut numbers_bytes, mut events, mut windows) = (0, 0, 0);
        for cell in self.shards.load().iter() {
            let state = cell.read();
            ids += state.ids.heap_bytes();
            postings += state.shard.live().heap_bytes();
            for (_, index) in state.shard.all_events() {
                let (of_events, of_windows) = index.heap_bytes();
                events += of_events;
                windows += of_windows;
            }
            let catalog = self.catalog();
            let numbers = catalog.iter().map(|property| property.number);
            for number in numbers.chain([LISTS]) {
                match state.shard.index(number) {
                    None => {}
                    Some(PropertyIndex::Codes(index)) => {
                        let (column, posting) = index.heap_bytes();
                        columns += column;
                        postings += posting;
                    }
                    Some(PropertyIndex::Sets(index)) => {
                        let (column, posting) = index.heap_bytes();
                        columns += column;
                        postings += posting;
                    }
                    Some(PropertyIndex::Numbers(index)) => numbers_bytes += index.heap_bytes(),
                }
            }
        }
        let (mut texts, mut dictionaries) = (0, 0);
        for property in self.catalog().iter() {
            let (text, other) = property
                .with_dictionary(Dictionary::heap_bytes)
                .unwrap_or_default();
            texts += text;
            dictionaries += other;
        }
        vec![
            ("ids", ids),
            ("columns", columns),
            ("postings", postings),
            ("numbers", numbers_bytes),
            ("events", events),
            ("windows", windows),
            ("texts", texts),
            ("dictionary", dictionaries),
            ("counts", self.kept(KeptCounts::heap_bytes)),
            ("requests", self.writer().requests.heap_bytes()),
            ("streams", self.streams.read().heap_bytes()),
        ]
    }
}

/// All properties of a user that are set.
fn values_of(catalog: &Catalog, shard: &Shard, user: u16) -> BTreeMap<PropertyName, Value> {
    let values = catalog.iter().filter_map(|property| {
        let stored = shard.get(property.number, user)?;
        Some((
            property.declaration.name.clone(),
            property.value_of(&stored)?,
        ))
    });
    values.collect()
}

/// The shard of an ordinal, and the place in it.
fn split(ordinal: Ordinal) -> (u32, u16) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the rest of a division by 2^16"
    )]
    let user = (ordinal % SHARD_USERS) as u16;
    (ordinal / SHARD_USERS, user)
}
