//! Version numbers, ordered as semantic versions are (semver.org 2.0.0, section 11): 2.10 > 2.9.
//!
//! Application versions in the wild have one to four numbers, so these are accepted too; numbers
//! not given are zero. Two versions are equal exactly when neither is before the other.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::limits::{LimitExceeded, limit};

/// Why a text is no version number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text is too long.
    #[error(transparent)]
    TooLong(#[from] LimitExceeded),
    /// The part before any `-` is not one to four numbers.
    #[error(
        "{text:?} is no version: expected 1 to 4 numbers below 2^32 with dots between, such as 2.10 or 2.10.1-beta.2"
    )]
    Numbers {
        /// The text.
        text: String,
    },
    /// The part after `-` is not made of identifiers.
    #[error(
        "{text:?} is no version: expected identifiers of ASCII letters, digits and '-' with dots between after the first '-'"
    )]
    Identifier {
        /// The text.
        text: String,
    },
}

/// A version number: up to four numbers and a pre-release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    numbers: [u32; 4],
    /// Empty for a release.
    pre_release: Box<[Identifier]>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Identifier {
    // The order of the variants is the order of precedence: numbers before texts.
    Number(u64),
    Text(Box<str>),
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        limit::VERSION_BYTES.check(text.len() as u64)?;
        let numbers_error = || VersionError::Numbers { text: text.into() };
        let identifier_error = || VersionError::Identifier { text: text.into() };

        let (precedence, build) = text
            .split_once('+')
            .map_or((text, None), |(p, b)| (p, Some(b)));
        if let Some(build) = build {
            for part in build.split('.') {
                check_identifier(part).ok_or_else(identifier_error)?;
            }
        }
        let (core, pre_release) = precedence
            .split_once('-')
            .map_or((precedence, None), |(c, p)| (c, Some(p)));

        let mut numbers = [0; 4];
        for (position, part) in core.split('.').enumerate() {
            let slot = numbers.get_mut(position).ok_or_else(numbers_error)?;
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(numbers_error());
            }
            *slot = part.parse().map_err(|_| numbers_error())?;
        }
        let pre_release = match pre_release {
            None => Box::default(),
            Some(parts) => parts
                .split('.')
                .map(|part| {
                    check_identifier(part)?;
                    if part.bytes().all(|b| b.is_ascii_digit()) {
                        part.parse().ok().map(Identifier::Number)
                    } else {
                        Some(Identifier::Text(part.into()))
                    }
                })
                .collect::<Option<_>>()
                .ok_or_else(identifier_error)?,
        };
        let version = Self {
            numbers,
            pre_release,
        };
        // Printing writes out two numbers that may have been left out. What is printed must be
        // read again, from a log too, so it has to be within the limit as well.
        if (text.len() + ".0.0".len()) as u64 > limit::VERSION_BYTES.default {
            limit::VERSION_BYTES.check(version.to_string().len() as u64)?;
        }
        Ok(version)
    }
}

fn check_identifier(part: &str) -> Option<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (!part.is_empty() && part.bytes().all(allowed)).then_some(())
}

impl fmt::Display for Version {
    /// Prints three numbers, four if the fourth is not zero, then the pre-release.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, fourth] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if fourth != 0 {
            write!(f, ".{fourth}")?;
        }
        for (position, identifier) in self.pre_release.iter().enumerate() {
            f.write_str(if position == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Text(text) => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
                (true, true) => Ordering::Equal,
                // A release comes after its pre-releases.
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre_release.cmp(&other.pre_release),
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn order_is_that_of_semantic_versions() {
        // The example of semver.org, section 11, with our longer and shorter forms around it.
        let ascending = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1",
            "1.0.0.1",
            "2.9",
            "2.10",
            "131.0.6778.85",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn missing_numbers_are_zero_and_build_metadata_has_no_weight() {
        assert_eq!(version("2"), version("2.0.0.0"));
        assert_eq!(version("1.2.3+45"), version("1.2.3"));
    }

    #[test]
    fn prints_what_parses_to_the_same() {
        for (given, printed) in [
            ("2", "2.0.0"),
            ("2.10", "2.10.0"),
            ("1.2.3.4", "1.2.3.4"),
            ("1.0-rc-1.007x.5", "1.0.0-rc-1.007x.5"),
        ] {
            assert_eq!(version(given).to_string(), printed);
            assert_eq!(version(printed), version(given));
        }
    }

    #[test]
    fn what_is_printed_is_within_the_limit_too() {
        for core in ["1", "1.2", "1.2.3", "1.2.3.4", "007"] {
            for length in 110..128 {
                let text = format!("{core}-{}", "x".repeat(length));
                if let Ok(version) = text.parse::<Version>() {
                    assert_eq!(version.to_string().parse(), Ok(version), "{text}");
                }
            }
        }
        assert!(format!("1-{}", "x".repeat(122)).parse::<Version>().is_ok());
        assert!(format!("1-{}", "x".repeat(123)).parse::<Version>().is_err());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "v1",
            "1.",
            ".1",
            "1.2.3.4.5",
            "1.x",
            "4294967296",
            "1-",
            "1-a..b",
            "1-é",
            "1+",
            "-1",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
        assert!("1-".to_string().parse::<Version>().is_err());
        assert!(format!("1-{}", "a".repeat(127)).parse::<Version>().is_err());
    }
}
