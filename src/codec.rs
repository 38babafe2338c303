//! The one way that values become bytes on disk: little-endian numbers, variable-length counts
//! (LEB128), and texts and byte strings behind their length.
//!
//! Invariant: reading never panics and never allocates more than the input could fill, whatever
//! the input is.

use std::str::Utf8Error;

/// Bytes do not hold what was expected of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {fault}")]
pub struct DecodeError {
    /// Where in the input, in bytes from 0.
    pub offset: usize,
    /// What is wrong.
    pub fault: DecodeFault,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The input ends too early.
    #[error("{missing} bytes are missing")]
    Truncated {
        /// How many bytes more are needed.
        missing: u64,
    },
    /// A count has more than 64 bits.
    #[error("a count is longer than 64 bits")]
    CountTooLong,
    /// A text is no UTF-8.
    #[error("a text is no UTF-8: {0}")]
    Utf8(Utf8Error),
    /// A value is none of those that can stand here.
    #[error("{what} can't be {given}")]
    Value {
        /// What stands here.
        what: &'static str,
        /// The value found.
        given: u64,
    },
    /// Bytes are left over.
    #[error("{extra} bytes are left over")]
    Extra {
        /// How many.
        extra: usize,
    },
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A count: 1 byte below 128, 10 at most.
    pub fn count(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits and the mark")]
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 128 by the loop")]
        self.bytes.push(value as u8);
    }

    /// A byte string behind its length.
    pub fn byte_string(&mut self, value: &[u8]) {
        self.count(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A text behind its length in bytes.
    pub fn text(&mut self, value: &str) {
        self.byte_string(value.as_bytes());
    }

    /// Bytes as they are, whose number the reader knows.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }
}

/// Reads values from bytes, front to back.
#[derive(Debug)]
pub struct Decoder<'a> {
    input: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Reads from the front of `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, offset: 0 }
    }

    /// An error at the present position.
    #[must_use]
    pub fn error(&self, fault: DecodeFault) -> DecodeError {
        DecodeError {
            offset: self.offset,
            fault,
        }
    }

    /// An error about a value that can't stand here.
    pub fn bad_value(&self, what: &'static str, given: impl Into<u64>) -> DecodeError {
        self.error(DecodeFault::Value {
            what,
            given: given.into(),
        })
    }

    /// How many bytes have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.input.len() - self.offset
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.checked_add(length);
        match end.and_then(|end| self.input.get(self.offset..end)) {
            Some(bytes) => {
                self.offset += length;
                Ok(bytes)
            }
            None => Err(self.error(DecodeFault::Truncated {
                missing: (length - self.remaining()) as u64,
            })),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count.
    ///
    /// # Errors
    /// If the input ends before, or the count has more than 64 bits.
    pub fn count(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.error(DecodeFault::CountTooLong));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeFault::CountTooLong))
    }

    /// The count of things that follow and take at least `least_bytes` (1 or more) each: refused
    /// if the input can't hold them, so that it is safe to reserve memory by.
    ///
    /// # Errors
    /// If the input ends before, or is too short for the things counted.
    pub fn length(&mut self, least_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.count()?;
        let remaining = self.remaining() as u64;
        let needed = count.saturating_mul(least_bytes as u64);
        match usize::try_from(count) {
            Ok(count) if needed <= remaining => Ok(count),
            _ => Err(self.error(DecodeFault::Truncated {
                missing: needed.saturating_sub(remaining),
            })),
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// If the input ends before.
    pub fn byte_string(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length(1)?;
        self.raw(length)
    }

    /// A text.
    ///
    /// # Errors
    /// If the input ends before, or the text is no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.byte_string()?;
        std::str::from_utf8(bytes).map_err(|error| self.error(DecodeFault::Utf8(error)))
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// If bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(self.error(DecodeFault::Extra { extra })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let counts = [0, 1, 127, 128, 16_383, 16_384, u64::MAX];
        let mut encoder = Encoder::new();
        for count in counts {
            encoder.count(count);
        }
        encoder.u8(7);
        encoder.u32(u32::MAX);
        encoder.u64(u64::MAX - 1);
        encoder.i64(i64::MIN);
        encoder.text("Größe");
        encoder.byte_string(&[1, 2]);
        let bytes = encoder.into_bytes();
        let mut decoder = Decoder::new(&bytes);
        for count in counts {
            assert_eq!(decoder.count(), Ok(count));
        }
        assert_eq!(decoder.u8(), Ok(7));
        assert_eq!(decoder.u32(), Ok(u32::MAX));
        assert_eq!(decoder.u64(), Ok(u64::MAX - 1));
        assert_eq!(decoder.i64(), Ok(i64::MIN));
        assert_eq!(decoder.text(), Ok("Größe"));
        assert_eq!(decoder.byte_string(), Ok([1, 2].as_slice()));
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn bad_bytes_are_errors_with_their_place() {
        assert_eq!(
            Decoder::new(&[1, 2]).u32(),
            Err(DecodeError {
                offset: 0,
                fault: DecodeFault::Truncated { missing: 2 }
            })
        );
        assert!(Decoder::new(&[0xff; 10]).count().is_err());
        assert!(
            Decoder::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2])
                .count()
                .is_err()
        );
        assert!(Decoder::new(&[2, 0xc3, 0x28]).text().is_err());
        assert!(
            Decoder::new(&[0xff, 0xff, 0xff, 0x7f])
                .byte_string()
                .is_err()
        );
        assert!(Decoder::new(&[0]).finish().is_err());
    }
}
