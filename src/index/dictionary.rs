//! The texts of one property and their codes, for all shards of a population.
//!
//! Invariant: every text in use has one code, and a code that went out of use is not given to
//! another text before [`QUARANTINE`] more went out of use. A reader that looked up a code earlier
//! can so tell, from how many went out of use meanwhile, whether the code can have changed its
//! meaning under it. All this depends on the order of calls alone, never on readers.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

/// How many codes go out of use before the first of them is used again.
pub const QUARANTINE: u64 = 65_536;

/// Texts and their codes.
#[derive(Debug)]
pub struct Dictionary {
    pub(super) texts: Vec<Option<Box<str>>>,
    table: HashTable<u32>,
    /// Codes by lower-case text, where case does not matter.
    folded: Option<HashMap<Box<str>, Vec<u32>, RandomState>>,
    pub(super) quarantine: VecDeque<u32>,
    changes: Arc<DictionaryChanges>,
    hasher: RandomState,
}

/// How far a dictionary has changed, to be looked at without the dictionary's lock: who sees what a
/// change led to sees the change here.
#[derive(Debug, Default)]
pub struct DictionaryChanges {
    /// How many codes have been given since the process began: for readers, and part of no answer.
    given: AtomicU64,
    freed: AtomicU64,
}

impl DictionaryChanges {
    /// How far it has changed so far.
    #[must_use]
    pub fn stamp(&self) -> DictionaryStamp {
        DictionaryStamp {
            given: self.given.load(Ordering::Acquire),
            freed: self.freed.load(Ordering::Acquire),
        }
    }
}

/// How far a dictionary had changed when it was asked something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DictionaryStamp {
    given: u64,
    freed: u64,
}

impl DictionaryStamp {
    /// Whether every text has the code, or lack of one, that it had at an earlier stamp.
    #[must_use]
    pub fn is_unchanged_since(self, earlier: Self) -> bool {
        self == earlier
    }

    /// Whether no code can have got another meaning since an earlier stamp.
    #[must_use]
    pub fn keeps_meanings_since(self, earlier: Self) -> bool {
        self.freed - earlier.freed < QUARANTINE
    }
}

impl Dictionary {
    /// An empty dictionary.
    #[must_use]
    pub fn new(case_insensitive: bool) -> Self {
        Self {
            texts: Vec::new(),
            table: HashTable::new(),
            folded: case_insensitive.then(HashMap::default),
            quarantine: VecDeque::new(),
            changes: Arc::default(),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn from_parts(
        case_insensitive: bool,
        texts: Vec<Option<Box<str>>>,
        quarantine: VecDeque<u32>,
        freed: u64,
    ) -> Self {
        let mut dictionary = Self::new(case_insensitive);
        dictionary.texts.reserve_exact(texts.len());
        for (code, text) in (0..).zip(texts) {
            dictionary.texts.push(None);
            if let Some(text) = text {
                dictionary.put(code, &text);
            }
        }
        dictionary.quarantine = quarantine;
        dictionary.changes.freed.store(freed, Ordering::Release);
        dictionary
    }

    /// The code of a text, exactly as written.
    #[must_use]
    pub fn code(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table
            .find(hash, |&code| self.text(code) == Some(text))
            .copied()
    }

    /// The codes of the texts that match a text: itself or, where case does not matter, all that
    /// are the same in lower case. Sorted.
    #[must_use]
    pub fn matching(&self, text: &str) -> Vec<u32> {
        match &self.folded {
            None => self.code(text).into_iter().collect(),
            Some(folded) => folded
                .get(text.to_lowercase().as_str())
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// The text of a code in use.
    #[must_use]
    pub fn text(&self, code: u32) -> Option<&str> {
        self.texts.get(code as usize)?.as_deref()
    }

    /// The code of a text, which gets one if it has none.
    ///
    /// # Panics
    /// At the 2^32nd text in use.
    pub fn code_or_insert(&mut self, text: &str) -> u32 {
        if let Some(code) = self.code(text) {
            return code;
        }
        let code = if self.quarantine.len() as u64 > QUARANTINE {
            self.quarantine.pop_front()
        } else {
            None
        };
        let code = code.unwrap_or_else(|| {
            self.texts.push(None);
            u32::try_from(self.texts.len() - 1).expect("limits keep texts below 2^32")
        });
        self.put(code, text);
        self.changes.given.fetch_add(1, Ordering::Release);
        code
    }

    fn put(&mut self, code: u32, text: &str) {
        let Self {
            texts,
            table,
            hasher,
            folded,
            ..
        } = self;
        texts[code as usize] = Some(text.into());
        table.insert_unique(hasher.hash_one(text), code, |&code| {
            texts[code as usize]
                .as_deref()
                .map_or(0, |text| hasher.hash_one(text))
        });
        if let Some(folded) = folded {
            let codes = folded.entry(text.to_lowercase().into()).or_default();
            let position = codes.partition_point(|&other| other < code);
            codes.insert(position, code);
        }
    }

    /// Puts a code out of use.
    pub fn free(&mut self, code: u32) {
        let Some(text) = self.texts.get_mut(code as usize).and_then(Option::take) else {
            return;
        };
        let hash = self.hasher.hash_one(&*text);
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == code) {
            entry.remove();
        }
        if let Some(folded) = &mut self.folded {
            let key = text.to_lowercase();
            if let Some(codes) = folded.get_mut(key.as_str()) {
                codes.retain(|&other| other != code);
                if codes.is_empty() {
                    folded.remove(key.as_str());
                }
            }
        }
        self.quarantine.push_back(code);
        self.changes.freed.fetch_add(1, Ordering::Release);
    }

    /// How many codes have ever gone out of use.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.changes.freed.load(Ordering::Acquire)
    }

    /// How far it has changed so far.
    #[must_use]
    pub fn stamp(&self) -> DictionaryStamp {
        self.changes.stamp()
    }

    /// What tells how far it has changed.
    #[must_use]
    pub fn changes(&self) -> &Arc<DictionaryChanges> {
        &self.changes
    }

    /// Bytes of memory on the heap: the texts themselves, then all else.
    #[must_use]
    pub fn heap_bytes(&self) -> (usize, usize) {
        let texts: usize = self.texts.iter().flatten().map(|text| text.len()).sum();
        let folded = self.folded.as_ref().map_or(0, |folded| {
            let keys = folded.keys().map(|key| key.len()).sum::<usize>();
            let codes = folded
                .values()
                .map(|codes| codes.capacity() * size_of::<u32>());
            folded.allocation_size() + keys + codes.sum::<usize>()
        });
        let places = self.texts.capacity() * size_of::<Option<Box<str>>>();
        let quarantine = self.quarantine.capacity() * size_of::<u32>();
        (
            texts,
            places + self.table.allocation_size() + folded + quarantine,
        )
    }

    /// No code is this large or larger.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::try_from(self.texts.len()).unwrap_or(u32::MAX)
    }

    /// How many texts are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no text is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The texts in use with their codes, in the order of the codes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        let texts = (0..).zip(&self.texts);
        texts.filter_map(|(code, text)| Some((code, text.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_codes_find_each_other() {
        let mut dictionary = Dictionary::new(false);
        assert_eq!(dictionary.code_or_insert("a"), 0);
        assert_eq!(dictionary.code_or_insert("A"), 1);
        assert_eq!(dictionary.code_or_insert("a"), 0);
        assert_eq!(dictionary.code_or_insert(""), 2);
        assert_eq!(dictionary.text(1), Some("A"));
        assert_eq!(dictionary.matching("A"), [1]);
        dictionary.free(1);
        assert_eq!(
            (dictionary.text(1), dictionary.code("A"), dictionary.len()),
            (None, None, 2)
        );
        assert_eq!(dictionary.code_or_insert("A"), 3);
    }

    #[test]
    fn case_can_be_disregarded() {
        let mut dictionary = Dictionary::new(true);
        for text in ["straße", "Straße", "STRASSE", "ÄPFEL", "äpfel"] {
            dictionary.code_or_insert(text);
        }
        assert_eq!(dictionary.matching("sTRAßE"), [0, 1]);
        assert_eq!(dictionary.matching("Äpfel"), [3, 4]);
        dictionary.free(0);
        assert_eq!(dictionary.matching("STRAßE"), [1]);
        dictionary.free(1);
        assert!(dictionary.matching("straße").is_empty());
    }

    #[test]
    fn a_code_is_used_again_only_after_the_quarantine() {
        let mut dictionary = Dictionary::new(false);
        let first = dictionary.code_or_insert("first");
        dictionary.free(first);
        for freed in 1..=QUARANTINE {
            let code = dictionary.code_or_insert(&freed.to_string());
            assert_ne!(code, first);
            dictionary.free(code);
        }
        assert_eq!(dictionary.freed(), QUARANTINE + 1);
        assert_eq!(dictionary.code_or_insert("next"), first);
    }
}
