//! Names of populations, properties and users. A name exists only if it is well-formed.

use std::fmt;

use super::limits::{Limit, LimitExceeded, limit};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no bytes.
    #[error("must not be empty")]
    Empty,
    /// The text is too long.
    #[error(transparent)]
    TooLong(#[from] LimitExceeded),
    /// The text has a character that this kind of name can't have.
    #[error("has the character {character:?} at byte {offset}; allowed are {allowed}")]
    Character {
        /// The character.
        character: char,
        /// Where it is, in bytes from 0.
        offset: usize,
        /// Which characters can be used.
        allowed: &'static str,
    },
}

fn check(
    text: &str,
    limit: Limit,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    limit.check(text.len() as u64)?;
    match text.char_indices().find(|&(_, c)| !is_allowed(c)) {
        None => Ok(()),
        Some((offset, character)) => Err(NameError::Character {
            character,
            offset,
            allowed,
        }),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $limit:expr, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a well-formed text.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text, $limit, $allowed, $is_allowed)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a population: 1 to 64 ASCII letters, digits, `_`, `-` and `.`.
    PopulationName,
    limit::POPULATION_NAME_BYTES,
    "ASCII letters, digits, '_', '-' and '.'",
    |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
);
name!(
    /// The name of a property: 1 to 128 bytes of UTF-8 without control characters.
    PropertyName,
    limit::PROPERTY_NAME_BYTES,
    "all but control characters",
    |c: char| !c.is_control()
);
name!(
    /// The name of a kind of events: 1 to 128 bytes of UTF-8 without control characters.
    EventName,
    limit::EVENT_NAME_BYTES,
    "all but control characters",
    |c: char| !c.is_control()
);
name!(
    /// The name of a segment: 1 to 128 bytes of UTF-8 without control characters.
    SegmentName,
    limit::SEGMENT_NAME_BYTES,
    "all but control characters",
    |c: char| !c.is_control()
);
name!(
    /// Names a user within a population: 1 to 256 bytes of UTF-8, compared byte for byte.
    UserId,
    limit::USER_ID_BYTES,
    "all",
    |_| true
);

name!(
    /// Names one write, so that it takes effect once however often it is sent: 1 to 128 bytes of
    /// UTF-8.
    RequestId,
    limit::REQUEST_ID_BYTES,
    "all",
    |_| true
);
name!(
    /// Names one event, so that it counts once however often it is sent: 1 to 128 bytes of UTF-8.
    EventId,
    limit::EVENT_ID_BYTES,
    "all",
    |_| true
);
name!(
    /// Names a stream of writes that can be resumed: 1 to 128 bytes of UTF-8.
    StreamId,
    limit::STREAM_ID_BYTES,
    "all",
    |_| true
);

impl Default for PopulationName {
    /// The population that is meant when none is named.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Debug for PopulationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for UserId {
    /// Shows the id: user ids are personal data, so none may be formatted into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked_at_the_edge() {
        assert!(UserId::new("x".repeat(256)).is_ok());
        assert_eq!(
            UserId::new("x".repeat(257)),
            Err(NameError::TooLong(LimitExceeded {
                limit: limit::USER_ID_BYTES,
                allowed: 256,
                given: 257
            }))
        );
        assert_eq!(UserId::new(""), Err(NameError::Empty));
    }

    #[test]
    fn length_counts_bytes_not_characters() {
        assert!(UserId::new("é".repeat(128)).is_ok());
        assert!(UserId::new("é".repeat(129)).is_err());
    }

    #[test]
    fn characters_are_checked() {
        assert!(PropertyName::new("Größe in cm").is_ok());
        assert_eq!(
            PropertyName::new("a\nb"),
            Err(NameError::Character {
                character: '\n',
                offset: 1,
                allowed: "all but control characters"
            })
        );
        assert!(PopulationName::new("drivers-eu.v2").is_ok());
        assert!(PopulationName::new("drivers/eu").is_err());
    }
}
