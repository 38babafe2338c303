//! Time zones: which instants make up a day, a week or a month somewhere.

use std::fmt;

/// The name of a time zone in the IANA database, such as `Europe/Paris`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Box<str>);

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self("UTC".into())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
