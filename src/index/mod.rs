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
mod number;
mod posting;
mod rare;
mod set_column;
mod sets;
mod shard;

pub use cells::{Cells, Difference};
pub use codes::CodeIndex;
pub use column::{CodeColumn, NumberColumn};
pub use dictionary::{Dictionary, DictionaryChanges, DictionaryStamp, QUARANTINE};
pub use encode::{decode_dictionary, decode_shard, encode_dictionary, encode_shard};
pub use number::{NumberIndex, double_from_key, double_to_key};
pub use posting::Posting;
pub use set_column::CodeSet;
pub use sets::SetIndex;
pub use shard::{IndexKind, PropertyIndex, PropertySlot, Shard, Stored};

/// Users of one shard: one block.
pub const SHARD_USERS: u32 = 65_536;
