//! A number of each user that never changes: which of so many buckets an id falls into.
//!
//! Invariant: the number follows from the salt, the count of buckets and the id alone, by a hash that
//! every language has, so that an experiment can be set up anywhere and asked about here. Nothing of
//! it may ever change. A salt has no NUL, which ends it in what is hashed.

use std::fmt;
use std::num::NonZeroU32;

use super::digest::Digest;
use super::expression::{Comparison, write_list};
use super::limits::{LimitExceeded, limit};
use super::non_empty::NonEmpty;

/// What tells one division into buckets from another: any text without NUL, of at most 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Salt(Box<str>);

impl Salt {
    /// Takes a text as a salt.
    ///
    /// # Errors
    /// [`BucketError`] if it is too long or has a NUL.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, BucketError> {
        let text = text.into();
        limit::SALT_BYTES.check(text.len() as u64)?;
        match text.find('\0') {
            Some(offset) => Err(BucketError::Nul { offset }),
            None => Ok(Self(text)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many buckets there are: 1 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buckets(NonZeroU32);

impl Buckets {
    /// Takes a number of buckets.
    ///
    /// # Errors
    /// [`BucketError`] if there are none or too many.
    pub fn new(count: u64) -> Result<Self, BucketError> {
        limit::BUCKETS.check(count)?;
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        count.map(Self).ok_or(BucketError::None)
    }

    /// How many there are.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The bucket of a user, below the number of them.
    #[must_use]
    pub fn of(self, salt: &Salt, user: &[u8]) -> u32 {
        let head = Digest::of(&[salt.0.as_bytes(), b"\0", user]).head();
        // Below a number of 32 bits.
        u32::try_from(head % u64::from(self.get())).unwrap_or(u32::MAX)
    }
}

/// Why something is no test of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The salt is too long, or there are too many buckets.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The salt has a character that it can't have.
    #[error("has the character '\\0' at byte {offset}, which ends a salt")]
    Nul {
        /// Where it is, in bytes from 0.
        offset: usize,
    },
    /// There is no bucket.
    #[error("must be at least 1")]
    None,
    /// There is no bucket of this number.
    #[error("{number} is no bucket of {buckets}: they are numbered from 0 to {}", .buckets - 1)]
    Number {
        /// The number.
        number: u64,
        /// How many buckets there are.
        buckets: u32,
    },
}

/// One test of the bucket of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketPredicate {
    salt: Salt,
    buckets: Buckets,
    test: BucketTest,
}

/// What is asked of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BucketTest {
    /// Comparison with one number.
    Compare(Comparison, u32),
    /// Whether it is one of a list.
    In {
        /// The list.
        numbers: NonEmpty<u32>,
        /// Whether users *not* in the list are meant: the complement.
        negated: bool,
    },
}

impl BucketTest {
    /// How many numbers its list has.
    pub(crate) fn listed_values(&self) -> u64 {
        match self {
            Self::Compare(..) => 0,
            Self::In { numbers, .. } => numbers.len() as u64,
        }
    }

    /// Makes a comparison with a number.
    ///
    /// # Errors
    /// [`BucketError::Number`] if there is no such bucket. The number of buckets itself may bound
    /// them from above: all are `< 100`.
    pub fn compare(
        comparison: Comparison,
        number: u64,
        buckets: Buckets,
    ) -> Result<Self, BucketError> {
        let beyond = match comparison {
            Comparison::Less | Comparison::GreaterOrEqual => 1,
            Comparison::Equal
            | Comparison::NotEqual
            | Comparison::LessOrEqual
            | Comparison::Greater => 0,
        };
        bucket_below(number, buckets.get() + beyond, buckets)
            .map(|number| Self::Compare(comparison, number))
    }

    /// Takes a number of a list.
    ///
    /// # Errors
    /// [`BucketError::Number`] if there is no such bucket.
    pub fn listed(number: u64, buckets: Buckets) -> Result<u32, BucketError> {
        bucket_below(number, buckets.get(), buckets)
    }
}

fn bucket_below(number: u64, end: u32, buckets: Buckets) -> Result<u32, BucketError> {
    let error = BucketError::Number {
        number,
        buckets: buckets.get(),
    };
    let number = u32::try_from(number).ok().filter(|number| *number < end);
    number.ok_or(error)
}

impl BucketPredicate {
    /// Tests the bucket that a user falls into.
    #[must_use]
    pub const fn new(salt: Salt, buckets: Buckets, test: BucketTest) -> Self {
        Self {
            salt,
            buckets,
            test,
        }
    }

    /// What tells this division into buckets from another.
    #[must_use]
    pub const fn salt(&self) -> &Salt {
        &self.salt
    }

    /// How many buckets there are.
    #[must_use]
    pub const fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// What is asked of the bucket.
    #[must_use]
    pub const fn test(&self) -> &BucketTest {
        &self.test
    }

    /// The bucket of a user.
    #[must_use]
    pub fn bucket(&self, user: &[u8]) -> u32 {
        self.buckets.of(&self.salt, user)
    }
}

impl fmt::Display for BucketPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let salt = self.salt.0.replace('\'', "''");
        write!(f, "bucket('{salt}', {}) ", self.buckets.get())?;
        match &self.test {
            BucketTest::Compare(comparison, number) => write!(f, "{comparison} {number}"),
            BucketTest::In { numbers, negated } => {
                f.write_str(if *negated { "NOT IN (" } else { "IN (" })?;
                write_list(f, numbers)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(salt: &str, buckets: u64, user: &str) -> u32 {
        let salt = Salt::new(salt).unwrap();
        Buckets::new(buckets).unwrap().of(&salt, user.as_bytes())
    }

    /// Written by the six lines of Python in `docs/filter.md`.
    #[test]
    fn buckets_are_what_they_are_everywhere() {
        let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        let long = "x".repeat(256);
        for (salt, buckets, user, expected) in [
            ("spring-test", 100, "u1", 67),
            ("spring-test", 100, "u2", 59),
            ("spring-test", 1_000_000, "u1", 952_767),
            ("spring-test", 1, "u1", 0),
            ("holdout 2026", 1_000, "u1", 861),
            ("", 10, "u1", 7),
            ("Größe", 7, "日本", 3),
            ("it's", 1_000, uuid, 701),
            ("a", 999_983, &long, 579_044),
        ] {
            assert_eq!(bucket(salt, buckets, user), expected, "{salt} {user}");
        }
    }

    /// So unevenly are 100 buckets of 100,000 users filled by chance in one of 1,000 cases.
    #[test]
    fn buckets_are_as_even_as_by_chance() {
        const BY_CHANCE: f64 = 148.2;
        for salt in ["spring-test", "", "holdout 2026"] {
            let mut counts = [0_u32; 100];
            for user in 0..100_000 {
                counts[bucket(salt, 100, &format!("user-{user}")) as usize] += 1;
            }
            let squares = counts.iter().map(|count| (f64::from(*count) - 1e3).powi(2));
            let deviation = squares.sum::<f64>() / 1e3;
            assert!(deviation < BY_CHANCE, "{salt}: {deviation}");
        }
    }

    /// Ten buckets by each of two salts: as even as 100 buckets.
    #[test]
    fn what_one_salt_says_tells_nothing_of_another() {
        const BY_CHANCE: f64 = 148.2;
        for (one, other) in [("a", "b"), ("spring-test", "spring-test-2")] {
            let mut counts = [0_u32; 100];
            for user in 0..100_000 {
                let user = format!("u{user}");
                counts[(bucket(one, 10, &user) * 10 + bucket(other, 10, &user)) as usize] += 1;
            }
            let squares = counts.iter().map(|count| (f64::from(*count) - 1e3).powi(2));
            let deviation = squares.sum::<f64>() / 1e3;
            assert!(deviation < BY_CHANCE, "{one} {other}: {deviation}");
        }
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        assert_eq!(Salt::new("a\0b"), Err(BucketError::Nul { offset: 1 }));
        assert!(Salt::new("x".repeat(256)).is_ok() && Salt::new("").is_ok());
        assert!(matches!(
            Salt::new("x".repeat(257)),
            Err(BucketError::Limit(_))
        ));
        assert_eq!(Buckets::new(0), Err(BucketError::None));
        assert!(Buckets::new(1_000_000).is_ok());
        assert!(matches!(
            Buckets::new(1_000_001),
            Err(BucketError::Limit(_))
        ));
        let ten = Buckets::new(10).unwrap();
        for (comparison, most) in [
            (Comparison::Equal, 9),
            (Comparison::NotEqual, 9),
            (Comparison::Less, 10),
            (Comparison::LessOrEqual, 9),
            (Comparison::Greater, 9),
            (Comparison::GreaterOrEqual, 10),
        ] {
            assert!(BucketTest::compare(comparison, most, ten).is_ok());
            let error = BucketTest::compare(comparison, most + 1, ten).unwrap_err();
            assert!(matches!(error, BucketError::Number { buckets: 10, .. }));
        }
        assert!(BucketTest::listed(9, ten).is_ok() && BucketTest::listed(10, ten).is_err());
    }
}
