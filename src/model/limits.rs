//! Every limit: its name, its default, its unit, and the one error that says it was exceeded.

use super::time::Span;

/// A limit with the name that errors and configuration call it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name, as in configuration: lower case with underscores.
    pub name: &'static str,
    /// What is allowed where nothing else is configured.
    pub default: u64,
    /// What is counted, such as `bytes`.
    pub unit: &'static str,
}

impl Limit {
    /// Accepts `given` up to the default.
    ///
    /// # Errors
    /// [`LimitExceeded`] if `given` is more than the default.
    pub fn check(&self, given: u64) -> Result<(), LimitExceeded> {
        self.check_against(self.default, given)
    }

    /// Accepts `given` up to `allowed`.
    ///
    /// # Errors
    /// [`LimitExceeded`] if `given` is more than `allowed`.
    pub fn check_against(&self, allowed: u64, given: u64) -> Result<(), LimitExceeded> {
        if given <= allowed {
            Ok(())
        } else {
            Err(LimitExceeded {
                limit: *self,
                allowed,
                given,
            })
        }
    }
}

/// More was asked for than a limit allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} {unit} are more than the limit {name} allows ({allowed})", unit = limit.unit, name = limit.name)]
pub struct LimitExceeded {
    /// The limit.
    pub limit: Limit,
    /// What it allows.
    pub allowed: u64,
    /// What was given; where counting stopped at the limit, one more than allowed.
    pub given: u64,
}

/// The limits by name.
pub mod limit {
    use super::Limit;

    macro_rules! limits {
        ($($(#[$doc:meta])* $constant:ident = $name:literal, $default:literal, $unit:literal;)*) => {
            $($(#[$doc])* pub const $constant: Limit = Limit {
                name: $name,
                default: $default,
                unit: $unit,
            };)*

            /// All of them.
            pub const ALL: &[Limit] = &[$($constant),*];
        };
    }

    limits! {
        /// Length of a user id.
        USER_ID_BYTES = "user_id_bytes", 256, "bytes";
        /// Length of a property's name.
        PROPERTY_NAME_BYTES = "property_name_bytes", 128, "bytes";
        /// Length of an event's name.
        EVENT_NAME_BYTES = "event_name_bytes", 128, "bytes";
        /// Length of a segment's name.
        SEGMENT_NAME_BYTES = "segment_name_bytes", 128, "bytes";
        /// Length of the id of an event.
        EVENT_ID_BYTES = "event_id_bytes", 128, "bytes";
        /// Length of a population's name.
        POPULATION_NAME_BYTES = "population_name_bytes", 64, "bytes";
        /// Length of the id of a request.
        REQUEST_ID_BYTES = "request_id_bytes", 128, "bytes";
        /// Length of the id of a stream of writes.
        STREAM_ID_BYTES = "stream_id_bytes", 128, "bytes";
        /// Length of the salt of a division into buckets.
        SALT_BYTES = "salt_bytes", 256, "bytes";
        /// Buckets that users are divided into.
        BUCKETS = "buckets", 1_000_000, "buckets";
        /// Length of one text: a string value, or an element of a set.
        TEXT_BYTES = "text_bytes", 1_024, "bytes";
        /// Length of a version number as text.
        VERSION_BYTES = "version_bytes", 128, "bytes";
        /// Length of a filter text.
        FILTER_BYTES = "filter_bytes", 65_536, "bytes";
        /// Levels of an expression tree, and of parentheses in a filter text.
        EXPRESSION_DEPTH = "expression_depth", 16, "levels";
        /// Nodes of an expression tree: predicates and combinations.
        EXPRESSION_NODES = "expression_nodes", 256, "nodes";
        /// Nodes of a selection with those of all segments in it.
        SELECTION_NODES = "selection_nodes", 4_096, "nodes";
        /// Values of all lists in a selection, or in the definition of a segment, with those of all
        /// segments in it.
        SELECTION_VALUES = "selection_values", 100_000, "values in lists";
        /// Days, weeks or months of zones in the windows of one expression, all together.
        WINDOW_UNITS = "window_units", 20_000, "days, weeks and months";
        /// Values of one list in an expression.
        LIST_VALUES = "list_values", 10_000, "values";
        /// Values of all lists in one request, whose selections have limits of their own.
        VALUES_PER_REQUEST = "values_per_request", 500_000, "values in lists";
        /// Updates of one write request.
        UPDATES_PER_REQUEST = "updates_per_request", 10_000, "updates";
        /// Events of one write request.
        EVENTS_PER_REQUEST = "events_per_request", 10_000, "events";
        /// Labels of one segment.
        SEGMENT_LABELS = "segment_labels", 64, "labels";
        /// Levels of segments that are defined by segments.
        SEGMENT_DEPTH = "segment_depth", 8, "levels";
        /// Nodes of the definition of a segment, with those of all segments in it.
        SEGMENT_NODES = "segment_nodes", 4_096, "nodes";
        /// Past definitions of a segment that are kept: the newest ones.
        SEGMENT_HISTORY = "segment_history", 100, "definitions";
        /// Static lists of one population.
        STATIC_LISTS = "static_lists_per_population", 10_000, "static lists";
        /// Users that one request adds to a static list, or removes from one.
        MEMBERS_PER_REQUEST = "members_per_request", 10_000, "users";
        /// Bytes of the users that are frozen into a static list: at most 8 KiB for 65,536 users.
        FREEZE_BYTES = "freeze_bytes", 16_777_216, "bytes";
        /// Streams that watch segments at once.
        WATCHERS = "watchers", 1_000, "watchers";
        /// Selections of one request.
        SELECTIONS_PER_REQUEST = "selections_per_request", 1_000, "selections";
        /// Parts of the expressions of a check that is explained, with the definitions in them.
        EXPLAINED_NODES = "explained_nodes", 10_000, "nodes";
        /// Levels of an expression of a check that is explained, with the definitions in it.
        EXPLAINED_DEPTH = "explained_depth", 64, "levels";
        /// Users of one batch check.
        USERS_PER_REQUEST = "users_per_request", 10_000, "users";
        /// Users times selections of one batch check.
        CHECKS_PER_REQUEST = "checks_per_request", 1_000_000, "checks";
        /// Properties of one breakdown.
        PROPERTIES_PER_BREAKDOWN = "properties_per_breakdown", 16, "properties";
        /// Values of one property that a breakdown returns.
        VALUES_PER_BREAKDOWN = "values_per_breakdown", 10_000, "values";
        /// Different numbers or instants that a breakdown counts.
        NUMBERS_PER_BREAKDOWN = "numbers_per_breakdown", 100_000, "values";
        /// Percentiles of one summary.
        PERCENTILES_PER_SUMMARY = "percentiles_per_summary", 100, "percentiles";
        /// Bins of one histogram.
        BINS_PER_HISTOGRAM = "bins_per_histogram", 1_000, "bins";
        /// Selections of one question for their overlap.
        SELECTIONS_PER_OVERLAP = "selections_per_overlap", 100, "selections";
        /// Users times selections of one question for their overlap.
        MEMBERSHIPS_PER_OVERLAP = "memberships_per_overlap", 2_000_000_000, "users times selections";
        /// Properties that one comparison names.
        PROPERTIES_PER_COMPARISON = "properties_per_comparison", 1_000, "properties";
        /// Findings of one comparison.
        FINDINGS_PER_COMPARISON = "findings_per_comparison", 1_000, "findings";
        /// Selections of one export.
        SELECTIONS_PER_EXPORT = "selections_per_export", 64, "selections";
        /// Exports that are kept to be gone on with.
        EXPORTS = "exports", 16, "exports";
        /// Bytes of memory of all exports that are kept.
        EXPORT_BYTES = "export_bytes", 536_870_912, "bytes";
        /// Bytes of one answer: clients take 4 MiB unless told otherwise.
        ANSWER_BYTES = "answer_bytes", 3_145_728, "bytes";
        /// Populations of a store.
        POPULATIONS = "populations", 100, "populations";
        /// Users of one population.
        USERS = "users_per_population", 100_000_000, "users";
        /// Properties of one population.
        PROPERTIES = "properties_per_population", 1_000, "properties";
        /// Different values of one property that are in use.
        DISTINCT_VALUES = "distinct_values_per_property", 2_000_000, "values";
        /// Elements of one set.
        SET_ELEMENTS = "elements_per_set", 1_000, "elements";
        /// Saved segments of one population.
        SEGMENTS = "segments_per_population", 20_000, "segments";
        /// Names of events of one population.
        EVENT_NAMES = "event_names_per_population", 1_000, "names of events";
        /// Events of one population that are kept.
        EVENTS = "events_per_population", 2_000_000_000, "events";
        /// How long events are kept after their time unless their name is declared otherwise.
        EVENT_RETENTION = "event_retention_days", 400, "days";
        /// How far ahead of the time when it is received an event may lie.
        EVENT_AHEAD = "event_ahead_seconds", 86_400, "seconds";
        /// Request ids that a population remembers: the newest ones.
        REQUEST_IDS = "request_ids_per_population", 1_048_576, "request ids";
        /// Streams of writes of which a population remembers how far they got: those used last.
        STREAMS = "streams_per_population", 65_536, "streams";
    }
}

/// The limits by which commands are judged. They are recorded in the log when they change, so that
/// a changed configuration never changes how an old command was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// See [`limit::POPULATIONS`].
    pub populations: u64,
    /// See [`limit::USERS`].
    pub users: u64,
    /// See [`limit::PROPERTIES`].
    pub properties: u64,
    /// See [`limit::DISTINCT_VALUES`].
    pub distinct_values: u64,
    /// See [`limit::SET_ELEMENTS`].
    pub set_elements: u64,
    /// See [`limit::REQUEST_IDS`].
    pub request_ids: u64,
    /// See [`limit::STREAMS`].
    pub streams: u64,
    /// See [`limit::EVENT_NAMES`].
    pub event_names: u64,
    /// See [`limit::EVENTS`].
    pub events: u64,
    /// See [`limit::EVENT_RETENTION`].
    pub event_retention_days: u64,
    /// See [`limit::EVENT_AHEAD`].
    pub event_ahead_seconds: u64,
    /// See [`limit::SEGMENTS`].
    pub segments: u64,
}

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Ten thousand years, the longest span.
const LONGEST_DAYS: u64 = 3_652_500;

impl StoreLimits {
    /// How long events are kept after their time unless their name is declared otherwise.
    #[must_use]
    pub fn event_retention(&self) -> Span {
        let days = i64::try_from(self.event_retention_days).unwrap_or(i64::MAX);
        Span::from_micros(days.saturating_mul(MICROS_PER_DAY)).unwrap_or(Span::LONGEST)
    }

    /// The limits, none of them above what can be numbered: places of users, codes of values and
    /// places of request ids have 32 bits, the size of a set has 16, a span is 10,000 years at most.
    /// At least one request id and one stream are remembered: without the last, none could go on.
    #[must_use]
    pub fn capped(self) -> Self {
        let numbers = u64::from(u32::MAX / 2);
        Self {
            populations: self.populations,
            users: self.users.min(numbers),
            properties: self.properties.min(numbers),
            distinct_values: self.distinct_values.min(numbers),
            set_elements: self.set_elements.min(u64::from(u16::MAX)),
            request_ids: self.request_ids.clamp(1, numbers),
            streams: self.streams.clamp(1, numbers),
            event_names: self.event_names.min(numbers),
            events: self.events,
            event_retention_days: self.event_retention_days.clamp(1, LONGEST_DAYS),
            event_ahead_seconds: self.event_ahead_seconds.min(LONGEST_DAYS * 86_400),
            segments: self.segments.min(numbers),
        }
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            populations: limit::POPULATIONS.default,
            users: limit::USERS.default,
            properties: limit::PROPERTIES.default,
            distinct_values: limit::DISTINCT_VALUES.default,
            set_elements: limit::SET_ELEMENTS.default,
            request_ids: limit::REQUEST_IDS.default,
            streams: limit::STREAMS.default,
            event_names: limit::EVENT_NAMES.default,
            events: limit::EVENTS.default,
            event_retention_days: limit::EVENT_RETENTION.default,
            event_ahead_seconds: limit::EVENT_AHEAD.default,
            segments: limit::SEGMENTS.default,
        }
    }
}
