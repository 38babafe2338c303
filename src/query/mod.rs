//! From an expression to an answer.
//!
//! Names and types are resolved once, by [`bind()`]; what is bound can't be misspelt or of the wrong
//! type. A bound expression is evaluated shard by shard, the whole expression at once, so that
//! intermediate results stay in the cache; one user is checked by the columns alone.
//!
//! Invariants: nothing here changes anything; an answer is exact for every user as of some moment
//! while it was worked out; ordinals do not leave this room.

mod bind;
mod bind_bucket;
mod bind_error;
mod bind_event;
mod breakdown;
mod check;
mod compare;
mod compare_numbers;
mod count;
mod definitions;
mod distribution;
mod evaluate;
mod explain;
mod explain_check;
mod export;
mod freeze;
mod held;
mod histogram;
mod keep;
mod members;
mod overlap;
mod plan;
mod prepared;
mod preview;
mod shards;
mod statistics;
mod stop;
mod summarize;
mod user_segments;
mod valid_until;
mod watched;

pub use bind::{Bound, bind, bind_shared};
pub use bind_error::BindError;
pub use breakdown::{Breakdown, BreakdownError, PropertyBreakdown, breakdown};
pub use check::{check, check_many};
pub use compare::{CompareError, Comparison, Finding, PropertyComparison, What, compare};
pub use compare_numbers::{COMPARED_PERCENTILES, NumberComparison};
pub use count::{count, kept};
pub use explain::{ExplainedNode, Explanation, explain};
pub use explain_check::{ExplainCheckError, ExplainedCheck, ExplainedClause, explain_check};
pub use export::{Export, ExportError, export};
pub use freeze::{FreezeError, freeze};
pub use keep::KeptFor;
pub use members::{MembersPage, Position, members};
pub use overlap::{Overlap, OverlapError, Pair, Reach, Region, overlap};
pub use prepared::Prepared;
pub use preview::{COUNTED_DEPENDENTS, Clause, Passage, Preview, PreviewError, Previewed, preview};
pub use statistics::Interval;
pub use stop::{Stop, Stopped};
pub use summarize::{
    Deviation, Histogram, HistogramBin, HistogramBins, Statistics, Subject, Summary, SummaryError,
    summarize,
};
pub use user_segments::{SegmentChecker, UserSegments};
#[cfg(feature = "testing")]
pub use valid_until::check_until_exactly;
pub use valid_until::{Checked, check_many_until, check_until};
pub use watched::{
    Before, Cause, DefinedBefore, Difference, Due, MembersSlice, MembershipChange, Passages, Place,
    Sources, TooMany, WatchedSegments, members_from,
};
