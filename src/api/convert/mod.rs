//! From messages to words and back: the conversion is the validation.
//!
//! Invariants: what comes out is well-formed; what does not is refused with the path of the field
//! at fault; a list or a tree is measured before it is walked; nothing here looks at the state of
//! the service.

mod event;
mod event_predicate;
mod explanation;
mod expression;
mod mutation;
mod page;
mod path;
mod segment;
mod selection;
mod value;

pub(super) use event::{
    event_declaration, event_info_message, refused_events_message, user_events_message,
};
pub(super) use event_predicate::event_measure;
pub(super) use explanation::explanation_message;
pub(super) use mutation::{Origins, updates};
pub(super) use page::{CATALOG_PAGE, MEMBERS_PAGE, SAMPLE, VALUES_PAGE};
pub(super) use path::Path;
pub(super) use segment::{
    ChangedSegment, NewSegment, members, new_segment, past_message, previewed_definition,
    segment_change, segment_message,
};
pub(super) use selection::{Selected, selection, selections};
pub(super) use value::{
    duration_message, event_name, population_name, property_name, request_id, seconds,
    segment_name, stream_id, timestamp, user_id, value, value_count_message, value_type,
    value_type_message,
};
pub(crate) use value::{timestamp_message, value_message};
