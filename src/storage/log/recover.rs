//! Decides what the bytes at one place of the log are: a frame, the end, what a crash left of the
//! last write, or damage. Nothing else in Headcount makes that decision.
//!
//! The rule: a crash can only leave something in the frame that was being written, and that frame
//! is the last of the newest file. So bytes that are no intact frame are the remains of a crash
//! only if they are in the newest file and no intact frame of this log follows them. Everything
//! else is damage.
//!
//! What can't be told apart: damage to the last frame alone, from a torn write of it. A log that
//! was closed ends with a frame without records, so that this can happen only after a crash.

use crate::model::Revision;
use crate::storage::frame::{self, FRAME_HEADER, FrameKind, Salt};

/// What the bytes at a place are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An intact frame of the revision expected.
    Frame {
        kind: FrameKind,
        /// Bytes of the frame, header and payload.
        length: usize,
    },
    /// Nothing was ever written here or after.
    End,
    /// What a crash left of the last write.
    Torn,
    /// Bytes that were written and acknowledged have changed.
    Damage { fault: String },
}

/// Judges the bytes of a file from `offset` on, where the next record has the revision `next`.
pub(super) fn judge(
    bytes: &[u8],
    salt: Salt,
    offset: usize,
    next: Revision,
    is_newest: bool,
) -> Verdict {
    let rest = bytes.get(offset..).unwrap_or_default();
    if let Some(frame) = frame::decode(rest, salt) {
        if frame.revision != next {
            return Verdict::Damage {
                fault: format!(
                    "expected revision {}, found {}",
                    next.number(),
                    frame.revision.number()
                ),
            };
        }
        return Verdict::Frame {
            kind: frame.kind,
            length: frame.length(),
        };
    }
    if is_zero(rest) {
        return Verdict::End;
    }
    if !is_newest {
        return Verdict::Damage {
            fault: "expected a frame or zeros, found neither, and later files follow".into(),
        };
    }
    match later_frame(rest, salt, next) {
        Some(distance) => Verdict::Damage {
            fault: format!(
                "expected a frame, found none, and an intact one follows at byte {}",
                offset + distance
            ),
        },
        None => Verdict::Torn,
    }
}

/// Where the first intact frame of this log is, at the front of `rest` or behind it, and its
/// revision.
pub(super) fn intact_frame(rest: &[u8], salt: Salt, next: Revision) -> Option<(usize, Revision)> {
    let distance = match frame::decode(rest, salt) {
        Some(_) => 0,
        None => later_frame(rest, salt, next)?,
    };
    let frame = frame::decode(rest.get(distance..)?, salt)?;
    Some((distance, frame.revision))
}

/// Where the first intact frame of this log is behind the front of `rest`.
fn later_frame(rest: &[u8], salt: Salt, next: Revision) -> Option<usize> {
    // A frame of one record takes more than one byte, so a later frame has no revision above this.
    let last = next.number().saturating_add(rest.len() as u64);
    (1..rest.len().saturating_sub(FRAME_HEADER - 1)).find(|&distance| {
        rest.get(distance..)
            .filter(|bytes| bytes.get(5..8) == Some(&[0; 3]))
            .and_then(|bytes| frame::decode(bytes, salt))
            .is_some_and(|frame| (next.number()..=last).contains(&frame.revision.number()))
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

/// The length of the bytes without the zeros at their end.
pub(super) fn without_zeros(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(7);

    fn two_frames() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        frame::encode_batch(&mut bytes, SALT, Revision::new(1), &[b"a", b"b"]).unwrap();
        let second = bytes.len();
        frame::encode_batch(&mut bytes, SALT, Revision::new(3), &[b"c"]).unwrap();
        bytes.resize(bytes.len() + 100, 0);
        (bytes, second)
    }

    #[test]
    fn frames_and_the_end_are_seen() {
        let (bytes, second) = two_frames();
        let kind = FrameKind::Batch;
        assert_eq!(
            judge(&bytes, SALT, 0, Revision::new(1), true),
            Verdict::Frame {
                kind,
                length: second
            }
        );
        assert_eq!(
            judge(&bytes, SALT, bytes.len() - 100, Revision::new(4), true),
            Verdict::End
        );
        assert_eq!(
            judge(&bytes, SALT, bytes.len(), Revision::new(4), false),
            Verdict::End
        );
    }

    #[test]
    fn a_damaged_frame_before_an_intact_one_is_no_torn_tail() {
        let (bytes, second) = two_frames();
        for bit in 0..second * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verdict = judge(&flipped, SALT, 0, Revision::new(1), true);
            assert!(matches!(verdict, Verdict::Damage { .. }), "bit {bit}");
        }
    }

    #[test]
    fn a_damaged_last_frame_is_a_torn_tail_in_the_newest_file_only() {
        let (mut bytes, second) = two_frames();
        bytes[second + FRAME_HEADER] ^= 1;
        assert_eq!(
            judge(&bytes, SALT, second, Revision::new(3), true),
            Verdict::Torn
        );
        let verdict = judge(&bytes, SALT, second, Revision::new(3), false);
        assert!(matches!(verdict, Verdict::Damage { .. }));
    }

    #[test]
    fn an_intact_frame_of_another_revision_is_damage() {
        let (bytes, _) = two_frames();
        let verdict = judge(&bytes, SALT, 0, Revision::new(2), true);
        assert!(matches!(verdict, Verdict::Damage { .. }));
    }

    /// A client that knows the format but not the salt writes a frame into a value.
    #[test]
    fn a_frame_within_a_value_of_a_torn_frame_is_none() {
        let mut planted = Vec::new();
        frame::encode_batch(&mut planted, Salt(0), Revision::new(2), &[b"x"]).unwrap();
        let mut bytes = Vec::new();
        frame::encode_batch(&mut bytes, SALT, Revision::new(1), &[planted]).unwrap();
        let length = bytes.len();
        bytes.resize(length + 100, 0);
        let next = Revision::new(1);
        assert!(matches!(
            judge(&bytes, SALT, 0, next, true),
            Verdict::Frame { .. }
        ));
        bytes[0] ^= 1;
        assert_eq!(judge(&bytes, SALT, 0, next, true), Verdict::Torn);
    }
}
