//! Whether the store takes reads and writes: one value, asked at the door.

/// What the store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Reads and writes are served.
    Serving,
    /// The disk failed: reads are served, writes are refused until a restart.
    ReadOnly {
        /// What failed, with the file.
        cause: String,
    },
    /// The store is shutting down.
    Stopping,
}
