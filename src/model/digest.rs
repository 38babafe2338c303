//! A short stand-in for bytes that nobody can find a second meaning for.
//!
//! Invariant: the same bytes have the same digest for good, in every process and on every machine,
//! since digests are kept on disk. They need no key: nobody knows how to make two inputs of
//! SHA-256 collide, also in the half of it that is kept.

use sha2::{Digest as _, Sha256};

/// The first half of a SHA-256 hash (FIPS 180-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of some parts, one behind the other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        Self(first)
    }

    /// A digest that was made earlier.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its first eight bytes as a number.
    #[must_use]
    pub fn head(&self) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(head)
    }
}

/// The whole SHA-256 hash of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests are kept on disk: the first example of FIPS 180-4, "abc".
    #[test]
    fn digests_are_what_they_always_were() {
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23,
        ];
        assert_eq!(Digest::of(&[b"abc"]).bytes(), &expected);
        assert_eq!(Digest::of(&[b"a", b"", b"bc"]).bytes(), &expected);
        assert_eq!(sha256(b"abc")[..16], expected);
        assert_eq!(sha256(b"abc")[28..], [0xf2, 0x00, 0x15, 0xad]);
        assert_ne!(Digest::of(&[b"abd"]), Digest::from_bytes(expected));
    }
}
