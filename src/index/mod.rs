//! One shard of the index: which of its users have which value, and which value each user has.
//!
//! Invariant: the two directions always agree, and nothing here knows names, locks, files or the
//! clock. Users are local numbers below [`SHARD_USERS`], values are dictionary codes or numbers
//! whose order is that of the values.

mod bins;
mod cells;
mod codes;
mod column;
mod dictionary;
mod encode;
mod events;
mod number;
mod posting;
mod rare;
mod set_column;
mod sets;
mod shard;
mod verify;

pub use cells::{Cells, Difference};
pub use codes::CodeIndex;
pub use column::{CodeColumn, NumberColumn};
pub use dictionary::{Dictionary, DictionaryChanges, DictionaryStamp, QUARANTINE};
pub use encode::{decode_dictionary, decode_shard, encode_dictionary, encode_shard};
pub use events::{
    AmountTest, Counted, EventIndex, Extreme, KeptWindow, StoredEvent, Tally, UserTally,
    WindowKind, day_of, day_start,
};
pub use number::{NumberIndex, double_from_key, double_to_key};
pub use posting::{PortableSet, Posting};
pub use set_column::CodeSet;
pub use sets::SetIndex;
pub use shard::{IndexKind, PropertyIndex, PropertySlot, Shard, Stored};
pub use verify::{Compared, Mismatches};

/// Users of one shard: one block.
pub const SHARD_USERS: u32 = 65_536;

/// A list of one item per user that has grown to this many is soon as long as the shard.
const SOON_FULL: usize = 16_384;

/// Makes a list of one item per user long enough for a place in it. Doubling it again and again
/// would copy it, and have fresh memory cleared, more often than needed.
pub fn lengthen<T: Clone>(list: &mut Vec<T>, place: usize, item: T) {
    if place >= list.len() {
        if place >= list.capacity() && place >= SOON_FULL {
            list.reserve_exact((SHARD_USERS as usize).max(place + 1) - list.len());
        }
        list.resize(place + 1, item);
    }
}
