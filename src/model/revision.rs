//! The position in the log up to which an answer holds.

/// A position in the log. Revisions are totally ordered, and every accepted or refused command has
/// one of its own. Clients see it as opaque text only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Before the first command.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number: 1 for the first command of a store, then one more for each.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The revision of the next command.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
