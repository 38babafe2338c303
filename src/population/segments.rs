//! The saved segments of a population.
//!
//! Invariants: a definition mentions no segment that does not exist, and none is defined by itself,
//! however indirectly; what is mentioned by a definition can't be deleted; a definition with all
//! segments in it stays within the limits, so that evaluating it does.

mod preview;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use preview::Redefinition;

use super::catalog::Catalog;
use super::refusal::Refusal;
use super::{Changes, Population, Writer};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::filter;
use crate::model::{
    Expression, Labels, Limit, Mentioned, PastDefinition, Revision, SegmentChange,
    SegmentDeclaration, SegmentName, Text, Timestamp, limit,
};

/// What says who is in a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// An expression: whoever it is true of.
    Filter(Expression),
    /// A static list, by its number: whoever was put into it.
    List(u32),
}

impl Definition {
    /// The expression, unless it is a static list.
    #[must_use]
    pub fn filter(&self) -> Option<&Expression> {
        match self {
            Self::Filter(expression) => Some(expression),
            Self::List(_) => None,
        }
    }

    /// The number of the static list, if it is one.
    #[must_use]
    pub fn list(&self) -> Option<u32> {
        match self {
            Self::Filter(_) => None,
            Self::List(number) => Some(*number),
        }
    }
}

/// A segment as it is saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedSegment {
    name: SegmentName,
    definition: Definition,
    description: Text,
    labels: Labels,
    /// The last change of anything.
    revision: Revision,
    created: Timestamp,
    updated: Timestamp,
    /// Since when it has its definition.
    defined: (Revision, Timestamp),
    /// The definitions before, the oldest first.
    history: Vec<PastDefinition>,
    /// The segments in its definition, without those in these; and how many nodes it has itself, and
    /// values in lists.
    mentions: Vec<SegmentName>,
    nodes: u64,
    values: u64,
}

impl SavedSegment {
    fn new(declaration: SegmentDeclaration, revision: Revision, time: Timestamp) -> Self {
        let mut segment = Self {
            name: declaration.name,
            definition: Definition::Filter(declaration.definition),
            description: declaration.description,
            labels: declaration.labels,
            revision,
            created: time,
            updated: time,
            defined: (revision, time),
            history: Vec::new(),
            mentions: Vec::new(),
            nodes: 1,
            values: 0,
        };
        segment.measure();
        segment
    }

    /// The static list of a number.
    pub(super) fn new_list(
        name: SegmentName,
        number: u32,
        (description, labels): (Text, Labels),
        revision: Revision,
        (created, updated): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            name,
            definition: Definition::List(number),
            description,
            labels,
            revision,
            created,
            updated,
            defined: (revision, created),
            history: Vec::new(),
            mentions: Vec::new(),
            nodes: 1,
            values: 0,
        }
    }

    fn measure(&mut self) {
        let Definition::Filter(expression) = &self.definition else {
            return;
        };
        let mut mentions = Vec::new();
        self.nodes = expression.mentioned(&mut |mentioned| {
            if let Mentioned::Segment(name) = mentioned {
                mentions.push(name.clone());
            }
        });
        self.values = expression.listed_values();
        self.mentions = mentions;
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// Who is in it.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> &Text {
        &self.description
    }

    /// Texts by key.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The revision of its last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When it was changed last.
    #[must_use]
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// The definitions that it had before, the oldest first: the newest
    /// [`limit::SEGMENT_HISTORY`] of them, with no more bytes than a filter has.
    #[must_use]
    pub fn history(&self) -> &[PastDefinition] {
        &self.history
    }
}

/// Makes sure that no segment is defined by something.
///
/// # Errors
/// [`Refusal::SegmentInUse`] names the first segment that is.
pub(super) fn check_unused(catalog: &Catalog, used: Mentioned<'_>) -> Result<(), Refusal> {
    for segment in catalog.segments() {
        let mut mentions = false;
        if let Definition::Filter(expression) = segment.definition() {
            expression.mentioned(&mut |mentioned| mentions |= mentioned == used);
        }
        if mentions {
            return Err(Refusal::SegmentInUse {
                segment: segment.name().clone(),
            });
        }
    }
    Ok(())
}

/// What a segment has, with all segments in it.
#[derive(Clone, Copy)]
struct Size {
    levels: u64,
    nodes: u64,
    values: u64,
}

/// Measures a segment and, before it, those that it is defined by.
fn size<'a>(
    catalog: &'a Catalog,
    name: &'a SegmentName,
    level: u64,
    known: &mut BTreeMap<&'a SegmentName, Option<Size>>,
) -> Result<Size, Refusal> {
    match known.get(name) {
        Some(Some(size)) => return Ok(*size),
        // It is being measured: it is within itself.
        Some(None) => {
            return Err(Refusal::SegmentCycle {
                segment: name.clone(),
            });
        }
        None => {}
    }
    let Some(segment) = catalog.segment(name) else {
        return Err(Refusal::UnknownSegment {
            segment: name.clone(),
        });
    };
    // Levels are counted going down, so that a long chain is refused before it exhausts the stack.
    check(name, limit::SEGMENT_DEPTH, level)?;
    known.insert(segment.name(), None);
    let mut whole = Size {
        levels: 1,
        nodes: segment.nodes,
        values: segment.values,
    };
    for mentioned in &segment.mentions {
        let inner = size(catalog, mentioned, level + 1, known)?;
        whole.levels = whole.levels.max(inner.levels + 1);
        whole.nodes = whole.nodes.saturating_add(inner.nodes);
        whole.values = whole.values.saturating_add(inner.values);
    }
    check(name, limit::SEGMENT_DEPTH, whole.levels)?;
    check(name, limit::SEGMENT_NODES, whole.nodes)?;
    check(name, limit::SELECTION_VALUES, whole.values)?;
    known.insert(segment.name(), Some(whole));
    Ok(whole)
}

fn check(segment: &SegmentName, limit: Limit, given: u64) -> Result<(), Refusal> {
    limit
        .check(given)
        .map_err(|exceeded| Refusal::SegmentTooLarge {
            segment: segment.clone(),
            exceeded,
        })
}

/// Makes sure that a segment that is new or changed, and all that are defined by it, are within the
/// limits.
fn check_sizes(catalog: &Catalog, name: &SegmentName) -> Result<(), Refusal> {
    let mut known = BTreeMap::new();
    size(catalog, name, 1, &mut known)?;
    let is_mentioned = catalog
        .segments()
        .any(|segment| segment.mentions.contains(name));
    if is_mentioned {
        for segment in catalog.segments() {
            size(catalog, segment.name(), 1, &mut known)?;
        }
    }
    Ok(())
}

/// Makes sure that there is no segment of a name, and that there may be one.
pub(super) fn check_new(
    writer: &Writer,
    catalog: &Catalog,
    name: &SegmentName,
) -> Result<(), Refusal> {
    if catalog.segment(name).is_some() {
        return Err(Refusal::SegmentExists {
            segment: name.clone(),
        });
    }
    limit::SEGMENTS
        .check_against(writer.limits.segments, catalog.segments().len() as u64 + 1)
        .map_err(|exceeded| Refusal::TooManySegments {
            segment: name.clone(),
            exceeded,
        })
}

/// Whether all segments of a catalog are such as are saved.
pub(super) fn all_are_sound(catalog: &Catalog) -> bool {
    let mut known = BTreeMap::new();
    let mut segments = catalog.segments();
    segments.all(|segment| size(catalog, segment.name(), 1, &mut known).is_ok())
}

impl Population {
    pub(super) fn create_segment(
        &self,
        writer: &Writer,
        revision: Revision,
        declaration: &SegmentDeclaration,
        time: Timestamp,
    ) -> Result<Changes, Refusal> {
        let name = &declaration.name;
        let mut catalog = Catalog::clone(&self.catalog());
        check_new(writer, &catalog, name)?;
        catalog.insert_segment(SavedSegment::new(declaration.clone(), revision, time));
        check_sizes(&catalog, name)?;
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
    }

    pub(super) fn update_segment(
        &self,
        revision: Revision,
        change: &SegmentChange,
        time: Timestamp,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let mut segment = unchanged(&catalog, &change.name, change.unchanged_since)?.clone();
        if let Some(description) = &change.description {
            segment.description = description.clone();
        }
        if let Some(labels) = &change.labels {
            segment.labels = labels.clone();
        }
        let mut redefined = false;
        if let Some(definition) = &change.definition {
            let Definition::Filter(expression) = &mut segment.definition else {
                return Err(Refusal::SegmentIsList {
                    segment: segment.name,
                });
            };
            redefined = expression != definition;
            if redefined {
                let (revision_before, saved) = segment.defined;
                segment.history.push(PastDefinition {
                    definition: std::mem::replace(expression, definition.clone()),
                    revision: revision_before,
                    saved,
                });
                forget_oldest(&mut segment.history);
                segment.defined = (revision, time);
                segment.measure();
            }
        }
        segment.revision = revision;
        segment.updated = time;
        catalog.insert_segment(segment);
        if redefined {
            check_sizes(&catalog, &change.name)?;
        }
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
    }

    pub(super) fn delete_segment(
        &self,
        revision: Revision,
        name: &SegmentName,
        unchanged_since: Option<Revision>,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let list = unchanged(&catalog, name, unchanged_since)?
            .definition()
            .list();
        catalog.remove_segment(name);
        check_unused(&catalog, Mentioned::Segment(name))?;
        self.catalog.store(Arc::new(catalog));
        if let Some(number) = list {
            self.forget_list(revision, number);
        }
        Ok(Changes::default())
    }
}

/// Forgets the oldest definitions beyond those that are kept: so many, and with as many bytes as a
/// filter can have.
fn forget_oldest(history: &mut Vec<PastDefinition>) {
    let most = usize::try_from(limit::SEGMENT_HISTORY.default).unwrap_or(usize::MAX);
    let mut bytes = 0;
    let newest = history.iter().rev().take(most).take_while(|past| {
        bytes += past.definition.to_string().len() as u64;
        limit::FILTER_BYTES.check(bytes).is_ok()
    });
    let forgotten = history.len() - newest.count();
    history.drain(..forgotten);
}

/// The segment of a name, unless it was changed since.
fn unchanged<'a>(
    catalog: &'a Catalog,
    name: &SegmentName,
    since: Option<Revision>,
) -> Result<&'a SavedSegment, Refusal> {
    let segment = catalog
        .segment(name)
        .ok_or_else(|| Refusal::SegmentNotFound {
            segment: name.clone(),
        })?;
    if since.is_some_and(|since| since != segment.revision) {
        return Err(Refusal::SegmentChanged {
            segment: name.clone(),
        });
    }
    Ok(segment)
}

/// Appends a definition as its filter text.
pub(crate) fn encode_definition(encoder: &mut Encoder, definition: &Expression) {
    encoder.text(&definition.to_string());
}

/// Reads a definition.
///
/// # Errors
/// [`DecodeError`] if the text is no filter.
pub(crate) fn decode_definition(decoder: &mut Decoder<'_>) -> Result<Expression, DecodeError> {
    let text = decoder.text()?;
    filter::parse(text).map_err(|_| decoder.bad_value("a filter of this length", text.len() as u64))
}

/// Appends a description and labels.
pub(super) fn encode_notes(encoder: &mut Encoder, segment: &SavedSegment) {
    encoder.text(segment.description().as_str());
    encoder.count(segment.labels().len() as u64);
    for (key, value) in segment.labels() {
        encoder.text(key.as_str());
        encoder.text(value.as_str());
    }
}

/// Reads a description and labels.
pub(super) fn decode_notes(decoder: &mut Decoder<'_>) -> Result<(Text, Labels), DecodeError> {
    let description = text(decoder)?;
    let mut labels = Labels::new();
    for _ in 0..decoder.length(2)? {
        labels.insert(text(decoder)?, text(decoder)?);
    }
    Ok((description, labels))
}

/// Reads the name of a segment, which comes after that of the one before.
pub(super) fn decode_name(
    decoder: &mut Decoder<'_>,
    before: Option<&SavedSegment>,
) -> Result<SegmentName, DecodeError> {
    let text = decoder.text()?;
    SegmentName::new(text)
        .ok()
        .filter(|name| before.is_none_or(|before| before.name() < name))
        .ok_or_else(|| decoder.bad_value("the name of a segment", text.len() as u64))
}

/// Appends the segments of a catalog, save static lists.
pub(super) fn encode_segments(encoder: &mut Encoder, catalog: &Catalog) {
    let filters = || {
        let segments = catalog.segments();
        segments.filter_map(|segment| Some((segment, segment.definition().filter()?)))
    };
    encoder.count(filters().count() as u64);
    for (segment, definition) in filters() {
        encoder.text(segment.name().as_str());
        encode_definition(encoder, definition);
        encode_notes(encoder, segment);
        encoder.count(segment.revision.number());
        encoder.i64(segment.created.micros());
        encoder.i64(segment.updated.micros());
        encoder.count(segment.defined.0.number());
        encoder.i64(segment.defined.1.micros());
        encoder.count(segment.history.len() as u64);
        for past in &segment.history {
            encode_definition(encoder, &past.definition);
            encoder.count(past.revision.number());
            encoder.i64(past.saved.micros());
        }
    }
}

/// Reads the segments of a catalog, save static lists.
pub(super) fn decode_segments(decoder: &mut Decoder<'_>) -> Result<Vec<SavedSegment>, DecodeError> {
    let mut segments: Vec<SavedSegment> = Vec::new();
    // A name of one byte and TRUE behind their lengths, three instants, and five counts.
    for _ in 0..decoder.length(36)? {
        let name = decode_name(decoder, segments.last())?;
        let definition = decode_definition(decoder)?;
        let (description, labels) = decode_notes(decoder)?;
        let revision = Revision::new(decoder.count()?);
        let created = timestamp(decoder)?;
        let updated = timestamp(decoder)?;
        let defined = (Revision::new(decoder.count()?), timestamp(decoder)?);
        let mut history = Vec::new();
        for _ in 0..decoder.length(11)? {
            history.push(PastDefinition {
                definition: decode_definition(decoder)?,
                revision: Revision::new(decoder.count()?),
                saved: timestamp(decoder)?,
            });
        }
        let declaration = SegmentDeclaration {
            name,
            definition,
            description,
            labels,
        };
        segments.push(SavedSegment {
            updated,
            defined,
            history,
            ..SavedSegment::new(declaration, revision, created)
        });
    }
    Ok(segments)
}

fn text(decoder: &mut Decoder<'_>) -> Result<Text, DecodeError> {
    let text = decoder.text()?;
    Text::new(text).map_err(|_| decoder.bad_value("the length of a text", text.len() as u64))
}

pub(super) fn timestamp(decoder: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    let micros = decoder.i64()?;
    Timestamp::from_micros(micros)
        .map_err(|_| decoder.bad_value("an instant", micros.unsigned_abs()))
}
