//! The file of tokens: who may call, known by the hash of a token or of a certificate.
//!
//! Invariant: a token is never kept, shown or logged, only its hash; how long a wrong one takes to be
//! refused tells nothing about the right ones.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::ops::Range;
use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio_rustls::rustls::crypto::ring;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::api::{EVERYWHERE, Grants, Role};
use crate::model::{PopulationName, Timestamp, sha256};

/// What tokens begin with, so that those who look for secrets in files find them.
const PREFIX: &str = "hct_";
/// The table that an entry is one of.
const ENTRY: &str = "caller";
/// All entries are compared with on every call.
const ENTRIES: usize = 1_000;
/// Characters of the name of an entry.
const NAME_CHARACTERS: usize = 64;
/// What a name has to be.
const NAME: &str = "1 to 64 ASCII letters, digits, '_', '-' and '.', that are no token";
/// Populations of one role of an entry.
const POPULATIONS: usize = 1_000;

const ROLES: [Role; 3] = [Role::Read, Role::Write, Role::Admin];
const KEYS: &str = "name, token_sha256, certificate_sha256, expires, read, write and admin";

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// A token that was just made.
#[derive(Debug)]
pub struct NewToken {
    /// The token. It is shown once, and kept nowhere.
    pub token: String,
    /// Its hash in hexadecimal digits, for the file.
    pub sha256: String,
}

impl NewToken {
    /// Makes a token of 256 random bits; nothing if the system has no random numbers.
    ///
    /// So many bits can't be guessed, however fast a guess is: that is why a plain hash of them is
    /// as good as one that is slow on purpose, which every call would have to wait for.
    #[must_use]
    pub fn make() -> Option<Self> {
        let mut bits = [0; 32];
        let random = ring::default_provider().secure_random;
        random.fill(&mut bits).ok()?;
        let token = format!("{PREFIX}{}", hex(&bits));
        Some(Self {
            sha256: hex(&sha256(token.as_bytes())),
            token,
        })
    }
}

/// Whether an entry can be called so. A token can't be a name: names are logged.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = (1..=NAME_CHARACTERS).contains(&text.len());
    fits && text.chars().all(allowed) && !text.starts_with(PREFIX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn of_hex(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (high, low) = (digit(*pair.first()?)?, digit(*pair.get(1)?)?);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(hash)
}

/// What a caller showed, as far as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    kind: Kind,
    hash: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    Certificate,
}

impl Shown {
    /// A token.
    pub(super) fn token(token: &[u8]) -> Self {
        Self {
            kind: Kind::Token,
            hash: sha256(token),
        }
    }

    /// A certificate with this hash, which was checked.
    pub(super) fn certificate(hash: Hash) -> Self {
        Self {
            kind: Kind::Certificate,
            hash,
        }
    }
}

/// One who may call.
#[derive(Debug)]
struct Entry {
    name: String,
    shown: Shown,
    expires: Option<Timestamp>,
    grants: Arc<Grants>,
}

/// All who may call.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    entries: Vec<Entry>,
}

impl Tokens {
    /// Reads a file. What is wrong in it is said behind the number of the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Parser { text }.file()
    }

    /// How many may call.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Names of those that can't be used any more.
    pub(super) fn expired(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let expired = move |entry: &&Entry| entry.expires.is_some_and(|end| end <= now);
        self.entries
            .iter()
            .filter(expired)
            .map(|entry| entry.name.as_str())
    }

    /// What a caller may do; nothing if it is none. Compares with every entry, to the last byte of
    /// each.
    pub(super) fn grants(
        &self,
        shown: &Shown,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Arc<Grants>> {
        let entry = self.entry(shown)?;
        let is_over = entry.expires.is_some_and(|end| end <= now());
        (!is_over).then(|| Arc::clone(&entry.grants))
    }

    /// When the entry of a caller ends, if there is one and it does.
    pub(super) fn expires(&self, shown: &Shown) -> Option<Timestamp> {
        self.entry(shown)?.expires
    }

    fn entry(&self, shown: &Shown) -> Option<&Entry> {
        let mut place = u32::MAX;
        for (number, entry) in (0_u32..).zip(&self.entries) {
            let of_kind = Choice::from(u8::from(entry.shown.kind == shown.kind));
            let found = entry.shown.hash.ct_eq(&shown.hash) & of_kind;
            place.conditional_assign(&number, found);
        }
        self.entries.get(usize::try_from(place).ok()?)
    }
}

/// Reads the text of a file.
#[derive(Clone, Copy)]
struct Parser<'a> {
    text: &'a str,
}

impl Parser<'_> {
    fn file(self) -> Result<Tokens, String> {
        let file = DeTable::parse(self.text).map_err(|error| {
            // The message shows no source: there may be a token in it by mistake.
            let span = error.span().unwrap_or_default();
            self.mistake(&span, error.message().replace('\n', "; "))
        })?;
        let mut tokens = Tokens::default();
        let mut names = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        for (key, value) in file.into_inner() {
            let span = key.span();
            let is_entries = key.get_ref() == ENTRY;
            let DeValue::Array(entries) = value.into_inner() else {
                return Err(self.only_entries(&span));
            };
            if !is_entries {
                return Err(self.only_entries(&span));
            }
            for value in entries {
                let span = value.span();
                let entry = self.entry(value)?;
                if !names.insert(entry.name.clone()) {
                    let text = format!("there are two entries with the name {:?}", entry.name);
                    return Err(self.mistake(&span, text));
                }
                if !hashes.insert(entry.shown.hash) {
                    let text = format!("{:?} has the hash of another entry", entry.name);
                    return Err(self.mistake(&span, text));
                }
                tokens.entries.push(entry);
                if tokens.entries.len() > ENTRIES {
                    let text = format!("there are more than {ENTRIES} entries");
                    return Err(self.mistake(&span, text));
                }
            }
        }
        Ok(tokens)
    }

    fn only_entries(self, span: &Range<usize>) -> String {
        self.mistake(
            span,
            format!("only entries are expected here, each below a line [[{ENTRY}]]"),
        )
    }

    fn entry(self, value: Spanned<DeValue<'_>>) -> Result<Entry, String> {
        let whole = value.span();
        let DeValue::Table(keys) = value.into_inner() else {
            return Err(self.mistake(&whole, format!("expected a table, as [[{ENTRY}]] begins")));
        };
        let mut name = None;
        let mut shown = None;
        let mut expires = None;
        let mut grants = Grants::default();
        for (key, value) in keys {
            let role = ROLES
                .into_iter()
                .find(|role| role.to_string() == *key.get_ref());
            match (key.get_ref().as_ref(), role) {
                (_, Some(role)) => self.grant(&mut grants, role, &value)?,
                ("name", None) => name = Some(self.name(&value)?),
                ("token_sha256", None) => {
                    self.once(shown.is_some(), &key.span())?;
                    shown = Some(Shown {
                        kind: Kind::Token,
                        hash: self.hash(&value)?,
                    });
                }
                ("certificate_sha256", None) => {
                    self.once(shown.is_some(), &key.span())?;
                    shown = Some(Shown::certificate(self.hash(&value)?));
                }
                ("expires", None) => expires = Some(self.expires(&value)?),
                // The key is not shown: it may be a token that was put into the wrong place.
                (_, None) => {
                    return Err(self.mistake(
                        &key.span(),
                        format!("there is no such key; there are {KEYS}"),
                    ));
                }
            }
        }
        let missing = |what: &str| self.mistake(&whole, format!("the entry has no {what}"));
        let name = name.ok_or_else(|| missing("name"))?;
        let shown = shown.ok_or_else(|| missing("token_sha256 and no certificate_sha256"))?;
        Ok(Entry {
            name,
            shown,
            expires,
            grants: Arc::new(grants),
        })
    }

    fn once(self, is_there: bool, span: &Range<usize>) -> Result<(), String> {
        if is_there {
            return Err(self.mistake(
                span,
                "an entry has either token_sha256 or certificate_sha256",
            ));
        }
        Ok(())
    }

    fn name(self, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
        let name = value.get_ref().as_str().filter(|name| is_name(name));
        let name = name.map(ToOwned::to_owned);
        name.ok_or_else(|| self.mistake(&value.span(), format!("name: expected {NAME}, in quotes")))
    }

    fn hash(self, value: &Spanned<DeValue<'_>>) -> Result<Hash, String> {
        value.get_ref().as_str().and_then(of_hex).ok_or_else(|| {
            self.mistake(
                &value.span(),
                "expected a SHA-256 hash: 64 hexadecimal digits, in quotes",
            )
        })
    }

    fn expires(self, value: &Spanned<DeValue<'_>>) -> Result<Timestamp, String> {
        let text = match value.get_ref().as_datetime() {
            Some(time) => Some(time.to_string()),
            None => value.get_ref().as_str().map(ToOwned::to_owned),
        };
        text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            self.mistake(
                &value.span(),
                "expires: expected a date, or a time with its offset, such as 2027-01-31 or 2027-01-31T12:00:00Z",
            )
        })
    }

    fn grant(
        self,
        grants: &mut Grants,
        role: Role,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), String> {
        let expected = || {
            self.mistake(
                &value.span(),
                format!(
                    "{role}: expected a list of up to {POPULATIONS} names of populations, or [\"{EVERYWHERE}\"] for all"
                ),
            )
        };
        let DeValue::Array(names) = value.get_ref() else {
            return Err(expected());
        };
        if names.len() > POPULATIONS {
            return Err(expected());
        }
        for name in names {
            let DeValue::String(text) = name.get_ref() else {
                return Err(expected());
            };
            if text == EVERYWHERE {
                grants.everywhere(role);
                continue;
            }
            let population = PopulationName::new(text.as_ref())
                .map_err(|error| self.mistake(&name.span(), format!("{role}: a name {error}")))?;
            grants.inside(population, role);
        }
        Ok(())
    }

    fn mistake(self, span: &Range<usize>, text: impl Display) -> String {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        format!("{line}: {text}")
    }
}

#[cfg(test)]
mod tests;
