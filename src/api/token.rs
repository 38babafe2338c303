//! Opaque texts that clients bring back: revisions, and places in a list.
//!
//! Invariant: a token is believed only if it was made by this store (and, for a page, for the same
//! request): a checksum over the store's number and all that the token holds tells. It guards
//! against mistakes, not against forgery: a forged token reads nothing that its maker could not
//! read anyway: the population that it is used for is that of a request whose caller was judged.

use std::hash::{BuildHasher, Hash};

use super::error::ApiError;
use crate::codec::{Decoder, Encoder};
use crate::engine::Cursor;
use crate::model::{Reason, Revision, Timestamp};

const CHECKSUM_BYTES: usize = 4;

/// Makes and reads the tokens of one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    store: u64,
}

/// What a token is for; part of the checksum, so that none passes for another.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Revision = 1,
    Page = 2,
    Cursor = 3,
    Export = 4,
}

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The instant that `now()` stood for on the first page.
    pub(super) as_of: Option<Timestamp>,
    /// Where to go on, in the words of the list.
    pub(super) place: Vec<u8>,
}

/// What comes next of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExportPlace {
    /// 0 for the header, 1 for the ids, then one for each bitmap.
    pub(super) stage: u32,
    /// The number of the next user, or of the next byte.
    pub(super) offset: u64,
}

impl Tokens {
    pub(super) fn new(store: u64) -> Self {
        Self { store }
    }

    /// A revision as clients see it.
    pub(super) fn revision(self, revision: Revision) -> String {
        let mut encoder = Encoder::new();
        encoder.u64(revision.number());
        self.seal(Kind::Revision, 0, encoder)
    }

    /// The revision of a text.
    pub(super) fn read_revision(self, text: &str) -> Result<Revision, ApiError> {
        self.open(Kind::Revision, 0, text)
            .and_then(|bytes| Decoder::new(&bytes).u64().ok())
            .map(Revision::new)
            .ok_or_else(|| {
                ApiError::new(
                    Reason::RevisionInvalid,
                    "this is no revision of this store; pass one as an answer of this store gave it, or none",
                )
                .at("min_revision")
            })
    }

    /// A place in the list that a request asks for.
    pub(super) fn page(self, request: u64, page: &Page) -> String {
        let mut encoder = Encoder::new();
        match page.as_of {
            None => encoder.u8(0),
            Some(as_of) => {
                encoder.u8(1);
                encoder.i64(as_of.micros());
            }
        }
        encoder.raw(&page.place);
        self.seal(Kind::Page, request, encoder)
    }

    /// The place that a token stands for, for the same request; `None` for the first page.
    pub(super) fn read_page(self, request: u64, text: &str) -> Result<Option<Page>, ApiError> {
        if text.is_empty() {
            return Ok(None);
        }
        self.open(Kind::Page, request, text)
            .and_then(|bytes| {
                let mut decoder = Decoder::new(&bytes);
                let as_of = match decoder.u8().ok()? {
                    0 => None,
                    _ => Some(Timestamp::from_micros(decoder.i64().ok()?).ok()?),
                };
                let place = decoder.raw(decoder.remaining()).ok()?.to_vec();
                Some(Page { as_of, place })
            })
            .map(Some)
            .ok_or_else(Self::bad_page)
    }

    /// The error about a page token that can't be used.
    pub(super) fn bad_page() -> ApiError {
        ApiError::new(
            Reason::PageTokenInvalid,
            "the page token is damaged or belongs to another request; pass next_page_token with all else the same, or begin anew without it",
        )
        .at("page_token")
    }

    /// Where a stream of changes goes on, for what it was asked for.
    pub(super) fn cursor(self, request: u64, cursor: Cursor) -> String {
        let mut encoder = Encoder::new();
        encoder.u64(cursor.run);
        encoder.u64(cursor.next);
        self.seal(Kind::Cursor, request, encoder)
    }

    /// The place that a text stands for, if the same is asked for; `None` if it is empty.
    pub(super) fn read_cursor(self, request: u64, text: &str) -> Result<Option<Cursor>, ApiError> {
        if text.is_empty() {
            return Ok(None);
        }
        let cursor = self.open(Kind::Cursor, request, text).and_then(|bytes| {
            let mut decoder = Decoder::new(&bytes);
            let run = decoder.u64().ok()?;
            let next = decoder.u64().ok()?;
            Some(Cursor { run, next })
        });
        let damaged = || {
            ApiError::new(
                Reason::InvalidField,
                "is no cursor of a stream of these segments; pass one as a message had it with all else the same, or none",
            )
            .at("cursor")
        };
        cursor.map(Some).ok_or_else(damaged)
    }

    /// Where an export goes on, for the same request.
    pub(super) fn export(self, request: u64, export: u64, place: ExportPlace) -> String {
        let mut encoder = Encoder::new();
        encoder.u64(export);
        encoder.u32(place.stage);
        encoder.u64(place.offset);
        self.seal(Kind::Export, request, encoder)
    }

    /// The export that a text stands for, and the place in it; `None` if it is empty.
    pub(super) fn read_export(
        self,
        request: u64,
        text: &str,
    ) -> Result<Option<(u64, ExportPlace)>, ApiError> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = self.open(Kind::Export, request, text).and_then(|bytes| {
            let mut decoder = Decoder::new(&bytes);
            let export = decoder.u64().ok()?;
            let stage = decoder.u32().ok()?;
            let offset = decoder.u64().ok()?;
            Some((export, ExportPlace { stage, offset }))
        });
        let damaged = || {
            ApiError::new(
                Reason::InvalidField,
                "is damaged or belongs to another request; pass one as a message had it, with all else the same, or none",
            )
            .at("resume_token")
        };
        read.map(Some).ok_or_else(damaged)
    }

    fn checksum(self, kind: Kind, request: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[kind as u8]);
        hasher.update(&self.store.to_le_bytes());
        hasher.update(&request.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }

    fn seal(self, kind: Kind, request: u64, encoder: Encoder) -> String {
        let bytes = encoder.into_bytes();
        let checksum = self.checksum(kind, request, &bytes).to_le_bytes();
        to_hex(bytes.iter().chain(&checksum))
    }

    fn open(self, kind: Kind, request: u64, text: &str) -> Option<Vec<u8>> {
        let mut bytes = from_hex(text)?;
        let checksum = bytes.split_off(bytes.len().checked_sub(CHECKSUM_BYTES)?);
        let expected = self.checksum(kind, request, &bytes).to_le_bytes();
        (checksum == expected).then_some(bytes)
    }
}

/// A number for what a list is asked of: the same for the same request, in every process.
pub(super) fn request_hash(request: &impl Hash) -> u64 {
    foldhash::quality::FixedState::with_seed(0x6865_6164).hash_one(request)
}

fn to_hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty()
        .then(|| {
            pairs
                .iter()
                .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Tokens = Tokens { store: 7 };
    const ELSEWHERE: Tokens = Tokens { store: 8 };

    #[test]
    fn a_revision_comes_back_to_its_own_store_only() {
        for number in [0, 1, u64::MAX] {
            let revision = Revision::new(number);
            let text = HERE.revision(revision);
            assert_eq!(HERE.read_revision(&text).unwrap(), revision);
            let error = ELSEWHERE.read_revision(&text).unwrap_err();
            assert_eq!(error.reason, Reason::RevisionInvalid);
        }
    }

    #[test]
    fn a_damaged_token_is_refused() {
        let text = HERE.revision(Revision::new(41));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(HERE.read_revision(&damaged).is_err(), "{damaged}");
            assert!(HERE.read_revision(&text[..at]).is_err());
        }
        for bad in ["", "x", "zz", "é", "41", "0x41"] {
            assert!(HERE.read_revision(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_belongs_to_its_request() {
        let cursor = Cursor { run: 7, next: 1 };
        let text = HERE.cursor(1, cursor);
        assert_eq!(HERE.read_cursor(1, &text).unwrap(), Some(cursor));
        assert_eq!(HERE.read_cursor(1, "").unwrap(), None);
        assert!(HERE.read_cursor(2, &text).is_err());
        assert!(ELSEWHERE.read_cursor(1, &text).is_err());
        assert!(HERE.read_page(1, &text).is_err());
    }

    #[test]
    fn an_export_belongs_to_its_request() {
        let place = ExportPlace {
            stage: 3,
            offset: u64::MAX,
        };
        let text = HERE.export(1, 9, place);
        assert_eq!(HERE.read_export(1, &text).unwrap(), Some((9, place)));
        assert_eq!(HERE.read_export(1, "").unwrap(), None);
        let error = HERE.read_export(2, &text).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("resume_token"));
        assert!(ELSEWHERE.read_export(1, &text).is_err());
        assert!(HERE.read_page(1, &text).is_err());
    }

    #[test]
    fn a_page_belongs_to_its_request() {
        let page = Page {
            as_of: Some(Timestamp::MIN),
            place: vec![0, 255, 3],
        };
        let (one, other) = (request_hash(&"one"), request_hash(&"other"));
        let text = HERE.page(one, &page);
        assert_eq!(HERE.read_page(one, &text).unwrap(), Some(page));
        assert_eq!(HERE.read_page(one, "").unwrap(), None);
        assert!(HERE.read_page(other, &text).is_err());
        assert!(ELSEWHERE.read_page(one, &text).is_err());
        assert!(HERE.read_revision(&text).is_err());
        assert!(HERE.read_page(one, &HERE.revision(Revision::ZERO)).is_err());
    }
}
