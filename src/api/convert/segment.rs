//! Saved segments: what is to be saved of them, and what is told of them.

use std::collections::{BTreeMap, HashSet};

use crate::api::error::ApiError;
use crate::filter;
use crate::model::{
    Expression, FirstMembers, Labels, ListDeclaration, PastDefinition, Reason, Revision,
    SegmentChange, SegmentDeclaration, UserId, limit,
};
use crate::population::{Definition, SavedSegment};
use crate::proto::{self, preview_segment_request, segment};

use super::Path;
use super::expression::expression;
use super::value::{segment_name, text, timestamp_message, user_id};

const ROOT: Path<'static> = Path::Root;
/// Where the segment is in a request that saves one.
const SEGMENT: Path<'static> = Path::Field(&ROOT, "segment");

/// What can be changed of a segment, as masks name it.
const FILTER: &str = "filter";
const EXPRESSION: &str = "expression";
/// Can be named where it is one already.
const STATIC_LIST: &str = "static_list";
const DESCRIPTION: &str = "description";
const LABELS: &str = "labels";
/// Stands for all fields in a mask.
const ALL: &str = "*";

/// A segment to create.
pub(in crate::api) enum NewSegment {
    /// One that is defined by an expression, and the path of the field that this came from.
    Filter(SegmentDeclaration, String),
    /// A static list, without members so far.
    List(ListDeclaration),
}

/// A segment to create.
pub(in crate::api) fn new_segment(given: Option<proto::Segment>) -> Result<NewSegment, ApiError> {
    let given = given.ok_or_else(|| {
        ApiError::field(
            &SEGMENT,
            "is missing; give a name and a definition at least",
        )
    })?;
    let name = segment_name(given.name, &SEGMENT.field("name"))?;
    let description = text(given.description, &SEGMENT.field(DESCRIPTION))?;
    let labels = labels(given.labels)?;
    if let Some(segment::Definition::StaticList(_)) = given.definition {
        return Ok(NewSegment::List(ListDeclaration {
            name,
            description,
            labels,
            members: FirstMembers::Users(Vec::new()),
        }));
    }
    let (definition, from) =
        definition(given.definition, &SEGMENT)?.ok_or_else(missing_definition)?;
    let declaration = SegmentDeclaration {
        name,
        definition,
        description,
        labels,
    };
    Ok(NewSegment::Filter(declaration, from))
}

/// Users to add to a static list or to remove from one, each once, in the order given.
pub(in crate::api) fn members(user_ids: Vec<String>) -> Result<Vec<UserId>, ApiError> {
    let path = ROOT.field("user_ids");
    limit::MEMBERS_PER_REQUEST
        .check(user_ids.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let mut known = HashSet::with_capacity(user_ids.len());
    let mut members = Vec::with_capacity(user_ids.len());
    for (position, id) in user_ids.into_iter().enumerate() {
        let member = user_id(id, &path.index(position))?;
        if known.insert(member.clone()) {
            members.push(member);
        }
    }
    Ok(members)
}

/// A segment to change.
pub(in crate::api) struct ChangedSegment {
    /// What is to be changed of it.
    pub(in crate::api) change: SegmentChange,
    /// If that has a definition, the path of the field that it came from.
    pub(in crate::api) from: Option<String>,
    /// Whether it is said to be a static list, which has to be so: that changes nothing.
    pub(in crate::api) is_list: bool,
}

/// What is to be changed of a segment: what the mask names, or all that is set without one.
pub(in crate::api) fn segment_change(
    given: Option<proto::Segment>,
    mask: Option<&prost_types::FieldMask>,
    unchanged_since: impl FnOnce(&str) -> Result<Option<Revision>, ApiError>,
) -> Result<ChangedSegment, ApiError> {
    let given = given.ok_or_else(|| {
        ApiError::field(
            &SEGMENT,
            "is missing; give a name and what is to be changed",
        )
    })?;
    let name = segment_name(given.name.as_str(), &SEGMENT.field("name"))?;
    let unchanged_since = unchanged_since(&given.etag)?;
    let masked = Masked::new(&given, mask)?;
    let is_list =
        masked.definition && matches!(given.definition, Some(segment::Definition::StaticList(_)));
    let definition = if masked.definition && !is_list {
        let definition = definition(given.definition, &SEGMENT)?;
        Some(definition.ok_or_else(missing_definition)?)
    } else {
        None
    };
    let (definition, from) = definition.unzip();
    let description = masked
        .description
        .then(|| text(given.description, &SEGMENT.field(DESCRIPTION)));
    let change = SegmentChange {
        name,
        definition,
        description: description.transpose()?,
        labels: masked.labels.then(|| labels(given.labels)).transpose()?,
        unchanged_since,
    };
    Ok(ChangedSegment {
        change,
        from,
        is_list,
    })
}

/// Which fields are to be changed.
struct Masked {
    definition: bool,
    description: bool,
    labels: bool,
}

impl Masked {
    fn new(
        given: &proto::Segment,
        mask: Option<&prost_types::FieldMask>,
    ) -> Result<Self, ApiError> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            let masked = Self {
                definition: given.definition.is_some(),
                description: !given.description.is_empty(),
                labels: !given.labels.is_empty(),
            };
            // That it is a static list can't be changed.
            let is_list = matches!(given.definition, Some(segment::Definition::StaticList(_)));
            if (masked.definition && !is_list) || masked.description || masked.labels {
                return Ok(masked);
            }
            return Err(ApiError::field(
                &SEGMENT,
                "has nothing to be changed; set filter or expression, description or labels, or name them in update_mask to empty them",
            ));
        };
        let mut masked = Self {
            definition: false,
            description: false,
            labels: false,
        };
        for field in &mask.paths {
            match field.as_str() {
                FILTER => {
                    if !matches!(given.definition, Some(segment::Definition::Filter(_))) {
                        return Err(not_set(FILTER));
                    }
                    masked.definition = true;
                }
                EXPRESSION => {
                    if !matches!(given.definition, Some(segment::Definition::Expression(_))) {
                        return Err(not_set(EXPRESSION));
                    }
                    masked.definition = true;
                }
                STATIC_LIST => {
                    if !matches!(given.definition, Some(segment::Definition::StaticList(_))) {
                        return Err(not_set(STATIC_LIST));
                    }
                    masked.definition = true;
                }
                DESCRIPTION => masked.description = true,
                LABELS => masked.labels = true,
                ALL => {
                    masked = Self {
                        definition: true,
                        description: true,
                        labels: true,
                    };
                }
                _ => {
                    return Err(ApiError::field(
                        &ROOT.field("update_mask"),
                        format!(
                            "names {field:?}; what can be changed is {FILTER:?} or {EXPRESSION:?}, {DESCRIPTION:?} and {LABELS:?}; {STATIC_LIST:?} can be named of a static list"
                        ),
                    ));
                }
            }
        }
        Ok(masked)
    }
}

fn missing_definition() -> ApiError {
    ApiError::field(
        &SEGMENT.field(FILTER),
        "the segment has no definition; set filter or expression, the filter \"TRUE\" for every user, or static_list",
    )
}

fn not_set(field: &'static str) -> ApiError {
    ApiError::field(
        &SEGMENT.field(field),
        "is named in update_mask and not set; a definition can't be emptied",
    )
}

fn labels(given: BTreeMap<String, String>) -> Result<Labels, ApiError> {
    let path = SEGMENT.field(LABELS);
    limit::SEGMENT_LABELS
        .check(given.len() as u64)
        .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
    let mut labels = Labels::new();
    for (key, value) in given {
        let path = path.key(&key);
        if key.is_empty() {
            return Err(ApiError::field(
                &path,
                "has an empty key; give each label a name",
            ));
        }
        labels.insert(text(key.clone(), &path)?, text(value, &path)?);
    }
    Ok(labels)
}

/// A definition to preview, and the path of the field that it came from.
pub(in crate::api) fn previewed_definition(
    given: Option<preview_segment_request::Definition>,
) -> Result<(Expression, String), ApiError> {
    use preview_segment_request::Definition as Given;
    let given = given.map(|given| match given {
        Given::Filter(text) => segment::Definition::Filter(text),
        Given::Expression(tree) => segment::Definition::Expression(tree),
    });
    definition(given, &ROOT)?.ok_or_else(|| {
        ApiError::field(
            &ROOT.field(FILTER),
            "there is no definition to preview; set filter or expression, the filter \"TRUE\" for every user",
        )
    })
}

/// A definition that can be saved: its filter text is within the limit, and reads back the same.
fn definition(
    given: Option<segment::Definition>,
    parent: &Path<'_>,
) -> Result<Option<(Expression, String)>, ApiError> {
    let (definition, path) = match given {
        None | Some(segment::Definition::StaticList(_)) => return Ok(None),
        Some(segment::Definition::Filter(text)) => {
            let path = parent.field(FILTER);
            let parsed = filter::parse(&text);
            (
                parsed.map_err(|error| ApiError::from(error).at(path))?,
                path,
            )
        }
        Some(segment::Definition::Expression(tree)) => {
            let path = parent.field(EXPRESSION);
            (expression(tree, &path)?, path)
        }
    };
    let printed = definition.to_string();
    limit::FILTER_BYTES
        .check(printed.len() as u64)
        .map_err(|exceeded| {
            ApiError::limit(&path, &exceeded)
                .saying(format!("as filter text, in which it is saved: {exceeded}"))
        })?;
    if filter::parse(&printed).ok().as_ref() != Some(&definition) {
        // What is in the log must be read at the next start: better refused than lost.
        return Err(ApiError::new(
            Reason::Internal,
            "the definition does not read back as it was given; write it another way",
        )
        .at(path));
    }
    Ok(Some((definition, path.to_string())))
}

/// A segment as it is, without its history. `members` says how many users a static list has,
/// `revision` makes the text of a revision.
pub(in crate::api) fn segment_message(
    segment: &SavedSegment,
    members: impl Fn(u32) -> u64,
    revision: impl Fn(Revision) -> String,
) -> proto::Segment {
    let labels = segment.labels().iter();
    let labels = labels.map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()));
    let revision = revision(segment.revision());
    proto::Segment {
        name: segment.name().as_str().to_owned(),
        definition: Some(match segment.definition() {
            Definition::Filter(definition) => segment::Definition::Filter(definition.to_string()),
            Definition::List(number) => segment::Definition::StaticList(proto::StaticList {
                member_count: members(*number),
            }),
        }),
        description: segment.description().as_str().to_owned(),
        labels: labels.collect(),
        create_time: Some(timestamp_message(segment.created())),
        update_time: Some(timestamp_message(segment.updated())),
        etag: revision.clone(),
        revision,
        history: Vec::new(),
    }
}

/// A definition that a segment had.
pub(in crate::api) fn past_message(
    past: &PastDefinition,
    revision: impl Fn(Revision) -> String,
) -> proto::SegmentDefinition {
    proto::SegmentDefinition {
        filter: past.definition.to_string(),
        revision: revision(past.revision),
        save_time: Some(timestamp_message(past.saved)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> segment::Definition {
        segment::Definition::Filter(text.into())
    }

    fn given(definition: Option<segment::Definition>) -> proto::Segment {
        proto::Segment {
            name: "vip".into(),
            definition,
            ..proto::Segment::default()
        }
    }

    fn change(
        segment: Option<proto::Segment>,
        mask: &[&str],
    ) -> Result<(SegmentChange, Option<String>), ApiError> {
        let mask = prost_types::FieldMask {
            paths: mask.iter().map(ToString::to_string).collect(),
        };
        let asked = segment_change(segment, Some(&mask), |_| Ok(None))?;
        Ok((asked.change, asked.from))
    }

    #[test]
    fn a_mask_says_what_changes() {
        let (set, from) = change(Some(given(Some(filter("a = 1")))), &[]).unwrap();
        assert_eq!(from.as_deref(), Some("segment.filter"));
        assert!(set.definition.is_some() && set.description.is_none() && set.labels.is_none());
        let (emptied, from) = change(
            Some(given(Some(filter("a = 1")))),
            &["description", "labels"],
        )
        .unwrap();
        assert!(from.is_none() && emptied.definition.is_none());
        assert!(emptied.description.is_some() && emptied.labels.is_some());
        let (all, _) = change(Some(given(Some(filter("a = 1")))), &["*"]).unwrap();
        assert!(all.definition.is_some() && all.description.is_some() && all.labels.is_some());
    }

    #[test]
    fn a_mask_that_can_not_be_followed_is_refused() {
        for (segment, mask, field) in [
            (None, &[][..], "segment"),
            (Some(given(None)), &[], "segment"),
            (Some(given(None)), &["filter"], "segment.filter"),
            (Some(given(None)), &["*"], "segment.filter"),
            (
                Some(given(Some(filter("a = 1")))),
                &["expression"],
                "segment.expression",
            ),
            (Some(given(Some(filter("a = 1")))), &["name"], "update_mask"),
            (
                Some(given(Some(filter("a = 1")))),
                &["filter", "etag"],
                "update_mask",
            ),
        ] {
            let error = change(segment, mask).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{mask:?}");
        }
    }

    #[test]
    fn what_is_printed_is_within_the_limit_of_a_filter() {
        let list: Vec<String> = (10_000..20_000).map(|n| n.to_string()).collect();
        // As given it fits; as printed, with a space after each comma, it does not.
        let text = format!("n IN ({})", list.join(","));
        assert!(text.len() <= 65_536);
        let error = new_segment(Some(given(Some(filter(&text)))))
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.reason, Reason::RequestLimitExceeded);
        assert_eq!(error.field.as_deref(), Some("segment.filter"));
        assert!(error.facts.contains(&("limit", "filter_bytes".into())));
    }

    #[test]
    fn labels_are_counted_and_named() {
        let with = |labels: BTreeMap<String, String>| {
            let segment = proto::Segment {
                labels,
                ..given(Some(filter("TRUE")))
            };
            let made = new_segment(Some(segment)).map(|_| ());
            made.map_err(|error| error.field.unwrap_or_default())
        };
        let many = |count| {
            (0..count)
                .map(|n| (n.to_string(), "v".to_owned()))
                .collect()
        };
        assert!(with(many(64)).is_ok());
        assert_eq!(with(many(65)).unwrap_err(), "segment.labels");
        let one = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        assert_eq!(with(one("", "v")).unwrap_err(), "segment.labels[\"\"]");
        let long = "x".repeat(1_025);
        assert_eq!(with(one("k", &long)).unwrap_err(), "segment.labels[\"k\"]");
    }
}
