//! Whether the store takes reads and writes: one value, asked at the door.
//!
//! Invariant: a store that is read-only or stopping never takes writes again in this process. One
//! whose disk is full does, as soon as there is space.

/// What the store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Reads and writes are served.
    Serving,
    /// The disk is full: reads and erasures are served, other writes are refused until there is
    /// space.
    Full {
        /// What could not be done, with the file.
        cause: String,
    },
    /// The disk failed: reads are served, writes are refused until a restart.
    ReadOnly {
        /// What failed, with the file.
        cause: String,
    },
    /// The store is shutting down.
    Stopping,
}

impl State {
    /// Whether `next` may follow this state.
    pub(super) const fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Serving, Self::Full { .. })
            | (Self::Full { .. }, Self::Serving)
            | (Self::Serving | Self::Full { .. }, Self::ReadOnly { .. })
            | (Self::Serving | Self::Full { .. } | Self::ReadOnly { .. }, Self::Stopping) => true,
            (Self::Serving, Self::Serving)
            | (Self::Full { .. }, Self::Full { .. })
            | (
                Self::ReadOnly { .. } | Self::Stopping,
                Self::Serving | Self::Full { .. } | Self::ReadOnly { .. },
            )
            | (Self::Stopping, Self::Stopping) => false,
        }
    }
}
