//! How bytes are laid out in a file of the log, so that damage is noticed.
//!
//! A file begins with a header; frames follow one another without gaps; the rest is zeros.
//!
//! ```text
//! header  0  magic "HCLG"      frame  0  u32 length of the payload
//!         4  u32 version              4  u32 kind: 0 never written, 1 batch, 2 closed
//!         8  u64 store                8  u64 revision of the first record
//!        16  u64 first revision      16  u32 CRC-32 of the salt, bytes 0..16 and the payload
//!        24  u64 salt                20  payload
//!        32  u32 CRC-32 of 0..32
//! ```
//!
//! The salt is a random number that no client knows, so that no value that a client writes can be
//! taken for a frame.
//!
//! A frame holds all that one sync made durable. So a crash damages one frame at most, and an
//! intact frame behind a damaged one proves that the damage happened later.

use std::hash::{BuildHasher, RandomState};

use crate::model::Revision;

/// The newest version of the file format, and the only one so far.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 4] = *b"HCLG";

/// Bytes of a file's header.
pub(super) const FILE_HEADER: usize = 36;

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER: usize = 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Records, each behind its length in four bytes.
    Batch,
    /// Everything before was durable when the log was closed. No payload.
    Closed,
}

impl FrameKind {
    const fn code(self) -> u32 {
        match self {
            Self::Batch => 1,
            Self::Closed => 2,
        }
    }
}

/// An intact frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: FrameKind,
    /// The revision of the first record; of the next one for a frame without records.
    pub(super) revision: Revision,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame in the file.
    pub(super) fn length(&self) -> usize {
        FRAME_HEADER + self.payload.len()
    }
}

/// What is wrong with the header of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Damaged { offset: u64, fault: &'static str },
    NewerVersion { found: u32 },
}

/// What the checksums of a file's frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u64);

impl Salt {
    /// One that nobody can foresee: the standard library seeds its hashers from the system.
    pub(super) fn random() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

/// What the header of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) store_id: u64,
    pub(super) first: Revision,
    pub(super) salt: Salt,
}

impl FileHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.store_id.to_le_bytes());
        bytes.extend_from_slice(&self.first.number().to_le_bytes());
        bytes.extend_from_slice(&self.salt.0.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let damaged = |offset, fault| HeaderFault::Damaged { offset, fault };
        let too_short = || damaged(0, "the file is shorter than its header");
        let covered = bytes.get(..FILE_HEADER - 4).ok_or_else(too_short)?;
        if covered.get(..4) != Some(&MAGIC) {
            return Err(damaged(0, "this is no file of the log"));
        }
        let version = u32_at(bytes, 4).ok_or_else(too_short)?;
        let checksum = u32_at(bytes, FILE_HEADER - 4).ok_or_else(too_short)?;
        if checksum != crc32fast::hash(covered) {
            return Err(damaged(4, "the checksum of the header is wrong"));
        }
        // Only after the checksum: a flipped bit is no newer version.
        if version > VERSION {
            return Err(HeaderFault::NewerVersion { found: version });
        }
        Ok(Self {
            store_id: u64_at(bytes, 8).ok_or_else(too_short)?,
            first: Revision::new(u64_at(bytes, 16).ok_or_else(too_short)?),
            salt: Salt(u64_at(bytes, 24).ok_or_else(too_short)?),
        })
    }
}

/// Appends a frame of records to a buffer; `None`, with the buffer unchanged, if they are too many
/// bytes for one frame.
pub(super) fn encode_batch<R: AsRef<[u8]>>(
    buffer: &mut Vec<u8>,
    salt: Salt,
    first: Revision,
    records: &[R],
) -> Option<()> {
    let mut total = 0_usize;
    for record in records {
        u32::try_from(record.as_ref().len()).ok()?;
        total = total.checked_add(4 + record.as_ref().len())?;
    }
    let length = u32::try_from(total).ok()?;
    buffer.reserve(FRAME_HEADER + total);
    let start = buffer.len();
    begin(buffer, FrameKind::Batch, first, length);
    for record in records {
        let record = record.as_ref();
        // Checked above to fit.
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(record);
    }
    seal(buffer, salt, start);
    Some(())
}

/// Appends a frame that says that everything before it was durable.
pub(super) fn encode_closed(buffer: &mut Vec<u8>, salt: Salt, next: Revision) {
    let start = buffer.len();
    begin(buffer, FrameKind::Closed, next, 0);
    seal(buffer, salt, start);
}

fn begin(buffer: &mut Vec<u8>, kind: FrameKind, revision: Revision, length: u32) {
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&kind.code().to_le_bytes());
    buffer.extend_from_slice(&revision.number().to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
}

/// Fills in the checksum of the frame that begins at `start` and ends with the buffer.
fn seal(buffer: &mut [u8], salt: Salt, start: usize) {
    let Some(frame) = buffer.get_mut(start..) else {
        return;
    };
    let checksum = checksum_of(frame, salt).unwrap_or_default();
    if let Some(place) = frame.get_mut(FRAME_HEADER - 4..FRAME_HEADER) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}

fn checksum_of(frame: &[u8], salt: Salt) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.0.to_le_bytes());
    hasher.update(frame.get(..FRAME_HEADER - 4)?);
    hasher.update(frame.get(FRAME_HEADER..)?);
    Some(hasher.finalize())
}

/// The frame of a file with this salt at the front of the bytes, if it is intact.
pub(super) fn decode(bytes: &[u8], salt: Salt) -> Option<Frame<'_>> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = match u32_at(bytes, 4)? {
        1 => FrameKind::Batch,
        2 => FrameKind::Closed,
        _ => return None,
    };
    let frame = bytes.get(..FRAME_HEADER.checked_add(length)?)?;
    if u32_at(bytes, FRAME_HEADER - 4)? != checksum_of(frame, salt)? {
        return None;
    }
    Some(Frame {
        kind,
        revision: Revision::new(u64_at(bytes, 8)?),
        payload: frame.get(FRAME_HEADER..)?,
    })
}

/// The records of a batch; `None` if the lengths do not add up.
pub(super) fn records(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let length = u32_at(rest, 0)? as usize;
        let end = length.checked_add(4)?;
        records.push(rest.get(4..end)?);
        rest = rest.get(end..)?;
    }
    Some(records)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(0x0123_4567_89ab_cdef);

    #[test]
    fn what_is_written_is_read() {
        let mut buffer = Vec::new();
        let written: [&[u8]; 3] = [b"one", b"", b"three"];
        encode_batch(&mut buffer, SALT, Revision::new(7), &written).unwrap();
        let length = buffer.len();
        encode_closed(&mut buffer, SALT, Revision::new(10));
        let frame = decode(&buffer, SALT).unwrap();
        assert_eq!(frame.length(), length);
        assert_eq!(
            (frame.kind, frame.revision),
            (FrameKind::Batch, Revision::new(7))
        );
        assert_eq!(records(frame.payload).unwrap(), written);
        let closed = decode(&buffer[length..], SALT).unwrap();
        assert_eq!(
            (closed.kind, closed.revision),
            (FrameKind::Closed, Revision::new(10))
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut buffer = Vec::new();
        encode_batch(&mut buffer, SALT, Revision::new(7), &[b"some bytes"]).unwrap();
        let header = FileHeader {
            store_id: 3,
            first: Revision::new(1),
            salt: SALT,
        };
        let header = header.encode();
        for bit in 0..buffer.len() * 8 {
            let mut flipped = buffer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped, SALT), None, "bit {bit}");
        }
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fault = FileHeader::decode(&flipped).unwrap_err();
            assert!(matches!(fault, HeaderFault::Damaged { .. }), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_salt_is_none() {
        let mut buffer = Vec::new();
        encode_batch(&mut buffer, SALT, Revision::new(7), &[b"some bytes"]).unwrap();
        for bit in 0..64 {
            assert_eq!(decode(&buffer, Salt(SALT.0 ^ 1 << bit)), None, "bit {bit}");
        }
        assert_ne!(Salt::random(), Salt::random());
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(decode(&[0; 100], SALT), None);
        assert_eq!(decode(&[], SALT), None);
    }
}
