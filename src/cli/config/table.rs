//! Every setting of `serve`, each in one place: adding one is adding it here.

use super::setting::{Kind, Setting};
use crate::model::limit;
use crate::server::telemetry::{self, LogFormat};

/// What the store can number: places of users, codes of values, places of request ids.
const NUMBERS: u64 = (u32::MAX / 2) as u64;
/// The days of the longest span of time.
const LONGEST_DAYS: u64 = 3_652_500;
const HOUR: u32 = 3_600;

/// A section of the file.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// What is in it.
    pub(super) about: &'static str,
}

/// The sections of the file.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "store",
        about: "Where data is kept, and how",
    },
    Section {
        name: "server",
        about: "What clients may ask, and how much at once",
    },
    Section {
        name: "auth",
        about: "Who may call",
    },
    Section {
        name: "tls",
        about: "Connections that nobody can listen in on",
    },
    Section {
        name: "limits",
        about: "How large the store may grow",
    },
    Section {
        name: "log",
        about: "What the service says about itself",
    },
];

/// The settings, those of a section together.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        section: "store",
        key: "data",
        flag: "data",
        variable: "HEADCOUNT_DATA",
        help: "The data folder; made if it does not exist.",
        kind: Kind::Text {
            default: "headcount-data",
            word: "FOLDER",
            expected: "the path of a folder",
            put: |settings, text| (!text.is_empty()).then(|| settings.engine.data = text.into()),
        },
    },
    Setting {
        section: "store",
        key: "snapshot_interval",
        flag: "snapshot-interval",
        variable: "HEADCOUNT_SNAPSHOT_INTERVAL",
        help: "Write a snapshot this long after the last one if anything changed.",
        kind: Kind::Span {
            default: HOUR,
            least: 1,
            most: 366 * 24 * HOUR,
            zero: Some("never"),
            put: |settings, span| {
                settings.engine.snapshot_interval = (!span.is_zero()).then_some(span);
            },
        },
    },
    Setting {
        section: "store",
        key: "snapshot_log_bytes",
        flag: "snapshot-log-bytes",
        variable: "HEADCOUNT_SNAPSHOT_LOG_BYTES",
        help: "Write a snapshot after so many bytes of log.",
        kind: Kind::bytes(256 << 20, 64 << 10, 1 << 40, |settings, number| {
            settings.engine.snapshot_log_bytes = number;
        }),
    },
    Setting {
        section: "store",
        key: "log_file_bytes",
        flag: "log-file-bytes",
        variable: "HEADCOUNT_LOG_FILE_BYTES",
        help: "How large files of the log are made in advance. An erasure has room in the last 16th \
               of one when the disk is full.",
        kind: Kind::bytes(16 << 20, 64 << 10, 1 << 30, |settings, number| {
            settings.engine.log_file_bytes = number;
        }),
    },
    Setting {
        section: "server",
        key: "listen",
        flag: "listen",
        variable: "HEADCOUNT_LISTEN",
        help: "The address to listen on; port 0 takes a free one.",
        kind: Kind::Text {
            default: "127.0.0.1:7171",
            word: "ADDRESS",
            expected: "an address and a port, such as 127.0.0.1:7171 or [::1]:7171",
            put: |settings, text| {
                settings.listen = text.to_str()?.parse().ok()?;
                Some(())
            },
        },
    },
    Setting {
        section: "server",
        key: "admin_listen",
        flag: "admin-listen",
        variable: "HEADCOUNT_ADMIN_LISTEN",
        help: "The address of the admin port, which has /metrics, /livez and /readyz for everyone who \
               reaches it; port 0 takes a free one.",
        kind: Kind::Text {
            default: "off",
            word: "ADDRESS",
            expected: "an address and a port, such as 127.0.0.1:9171, or off",
            put: |settings, text| {
                settings.admin_listen = match text.to_str()? {
                    "off" => None,
                    address => Some(address.parse().ok()?),
                };
                Some(())
            },
        },
    },
    Setting {
        section: "server",
        key: "admin_insecure",
        flag: "admin-insecure",
        variable: "HEADCOUNT_ADMIN_INSECURE",
        help: "Open the admin port also where others than this machine can reach it. It has no TLS, \
               asks nobody who they are, and tells the names of populations and properties.",
        kind: Kind::Switch {
            put: |settings, is_on| settings.admin_insecure = is_on,
        },
    },
    Setting {
        section: "server",
        key: "insecure",
        flag: "insecure",
        variable: "HEADCOUNT_INSECURE",
        help: "Listen without TLS also where others than this machine can reach the service.",
        kind: Kind::Switch {
            put: |settings, is_on| settings.server.security.insecure = is_on,
        },
    },
    Setting {
        section: "server",
        key: "query_threads",
        flag: "query-threads",
        variable: "HEADCOUNT_QUERY_THREADS",
        help: "Threads for queries.",
        kind: Kind::Number {
            default: 0,
            least: 1,
            most: 1_024,
            unit: "threads",
            zero: Some("as many as there are processors"),
            limit: None,
            put: |settings, number| settings.engine.query_threads = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_connections",
        flag: "max-connections",
        variable: "HEADCOUNT_MAX_CONNECTIONS",
        help: "Connections at once; more are closed as soon as they are made. Fewer if the process may \
               not open so many files.",
        kind: Kind::Number {
            default: 4_096,
            least: 1,
            most: 1_000_000,
            unit: "connections",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.connections = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_checks",
        flag: "max-checks",
        variable: "HEADCOUNT_MAX_CHECKS",
        help: "Checks under way at once, over all connections; more are refused at once. A check takes \
               microseconds of a processor: more of them would only wait for each other, for longer \
               than they take.",
        kind: Kind::Number {
            default: 512,
            least: 1,
            most: 65_536,
            unit: "checks",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.checks = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_queries",
        flag: "max-queries",
        variable: "HEADCOUNT_MAX_QUERIES",
        help: "Queries under way at once, over all connections; more are refused at once.",
        kind: Kind::Number {
            default: 1_024,
            least: 1,
            most: 65_536,
            unit: "queries",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.queries = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_writes",
        flag: "max-writes",
        variable: "HEADCOUNT_MAX_WRITES",
        help: "Writes under way at once, over all connections; more are refused at once. They share what \
               serves them: where each has hundreds of users, more of them would only wait for each other.",
        kind: Kind::Number {
            default: 512,
            least: 1,
            most: 65_536,
            unit: "writes",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.writes = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_other_calls",
        flag: "max-other-calls",
        variable: "HEADCOUNT_MAX_OTHER_CALLS",
        help: "Any other calls under way at once, over all connections; more are refused at once.",
        kind: Kind::Number {
            default: 256,
            least: 1,
            most: 65_536,
            unit: "calls",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.other_calls = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_read_streams",
        flag: "max-read-streams",
        variable: "HEADCOUNT_MAX_READ_STREAMS",
        help: "Streams of members, exports, changes of segments and backups open at once, over all \
               connections; more are refused at once.",
        kind: Kind::Number {
            default: 1_024,
            least: 1,
            most: 65_536,
            unit: "streams",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.read_streams = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_write_streams",
        flag: "max-write-streams",
        variable: "HEADCOUNT_MAX_WRITE_STREAMS",
        help: "Streams of writes open at once, over all connections; more are refused at once.",
        kind: Kind::Number {
            default: 256,
            least: 1,
            most: 65_536,
            unit: "streams",
            zero: None,
            limit: None,
            put: |settings, number| settings.server.write_streams = size(number),
        },
    },
    Setting {
        section: "server",
        key: "max_request_bytes",
        flag: "max-request-bytes",
        variable: "HEADCOUNT_MAX_REQUEST_BYTES",
        help: "Bytes of requests that came in and are not answered yet, over all connections. In memory \
               they are often 4 times as large, and at worst 110 times.",
        kind: Kind::bytes(16 << 20, 64 << 10, 1 << 40, |settings, number| {
            settings.server.request_bytes = size(number);
        }),
    },
    Setting {
        section: "server",
        key: "body_timeout",
        flag: "body-timeout",
        variable: "HEADCOUNT_BODY_TIMEOUT",
        help: "How long one message of a client may take to arrive.",
        kind: Kind::Span {
            default: 30,
            least: 1,
            most: HOUR,
            zero: None,
            put: |settings, span| settings.server.body_timeout = span,
        },
    },
    Setting {
        section: "server",
        key: "max_calls_per_connection",
        flag: "max-calls-per-connection",
        variable: "HEADCOUNT_MAX_CALLS_PER_CONNECTION",
        help: "Calls that one connection may have open; more wait.",
        kind: Kind::Number {
            default: 1_024,
            least: 1,
            most: 65_536,
            unit: "calls",
            zero: None,
            limit: None,
            put: |settings, number| {
                settings.server.streams_per_connection = u32::try_from(number).unwrap_or(u32::MAX);
            },
        },
    },
    Setting {
        section: "server",
        key: "max_write_bytes",
        flag: "max-write-bytes",
        variable: "HEADCOUNT_MAX_WRITE_BYTES",
        help: "Size of one write, and of one batch on a stream of writes. An import sends up to 1 MiB \
               at once.",
        kind: Kind::bytes(1 << 20, 64 << 10, 64 << 20, |settings, number| {
            settings.server.write_bytes = size(number);
        }),
    },
    Setting {
        section: "server",
        key: "max_query_bytes",
        flag: "max-query-bytes",
        variable: "HEADCOUNT_MAX_QUERY_BYTES",
        help: "Size of one question, and of a change of a segment.",
        kind: Kind::bytes(256 << 10, 4 << 10, 16 << 20, |settings, number| {
            settings.server.query_bytes = size(number);
        }),
    },
    Setting {
        section: "server",
        key: "max_batch_query_bytes",
        flag: "max-batch-query-bytes",
        variable: "HEADCOUNT_MAX_BATCH_QUERY_BYTES",
        help: "Size of one batch of questions, of a segment to save, and of members of one.",
        kind: Kind::bytes(4 << 20, 4 << 10, 64 << 20, |settings, number| {
            settings.server.batch_query_bytes = size(number);
        }),
    },
    Setting {
        section: "server",
        key: "max_other_bytes",
        flag: "max-other-bytes",
        variable: "HEADCOUNT_MAX_OTHER_BYTES",
        help: "Size of any other request.",
        kind: Kind::bytes(64 << 10, 4 << 10, 16 << 20, |settings, number| {
            settings.server.other_bytes = size(number);
        }),
    },
    Setting {
        section: "server",
        key: "handshake_timeout",
        flag: "handshake-timeout",
        variable: "HEADCOUNT_HANDSHAKE_TIMEOUT",
        help: "How long a new connection may take to say that it speaks HTTP/2.",
        kind: Kind::Span {
            default: 10,
            least: 1,
            most: HOUR,
            zero: None,
            put: |settings, span| settings.server.handshake_timeout = span,
        },
    },
    Setting {
        section: "server",
        key: "unread_timeout",
        flag: "unread-timeout",
        variable: "HEADCOUNT_UNREAD_TIMEOUT",
        help: "How long a stream or a large answer is kept of which its client reads nothing; five times \
               as long for a backup.",
        kind: Kind::Span {
            default: 60,
            least: 1,
            most: HOUR,
            zero: None,
            put: |settings, span| settings.server.unread_timeout = span,
        },
    },
    Setting {
        section: "server",
        key: "keepalive_interval",
        flag: "keepalive-interval",
        variable: "HEADCOUNT_KEEPALIVE_INTERVAL",
        help: "How often a silent client is asked whether it is still there.",
        kind: Kind::Span {
            default: 30,
            least: 1,
            most: 24 * HOUR,
            zero: None,
            put: |settings, span| settings.server.keepalive_interval = span,
        },
    },
    Setting {
        section: "server",
        key: "keepalive_timeout",
        flag: "keepalive-timeout",
        variable: "HEADCOUNT_KEEPALIVE_TIMEOUT",
        help: "How long it may take to answer before its connection is dropped.",
        kind: Kind::Span {
            default: 10,
            least: 1,
            most: HOUR,
            zero: None,
            put: |settings, span| settings.server.keepalive_timeout = span,
        },
    },
    Setting {
        section: "server",
        key: "drain_grace",
        flag: "drain-grace",
        variable: "HEADCOUNT_DRAIN_GRACE",
        help: "How long calls are still served once the service is told to stop, while its health says that it does not serve.",
        kind: Kind::Span {
            default: 0,
            least: 1,
            most: HOUR,
            zero: Some("not at all"),
            put: |settings, span| settings.server.drain_grace = span,
        },
    },
    Setting {
        section: "server",
        key: "drain_timeout",
        flag: "drain-timeout",
        variable: "HEADCOUNT_DRAIN_TIMEOUT",
        help: "How long open calls may take to end after that.",
        kind: Kind::Span {
            default: 10,
            least: 1,
            most: HOUR,
            zero: Some("not at all"),
            put: |settings, span| settings.server.drain = span,
        },
    },
    Setting {
        section: "auth",
        key: "tokens",
        flag: "tokens",
        variable: "HEADCOUNT_TOKENS",
        help: "Who may call, and what they may do, each known by a token or a certificate; without it, \
               all may do all.",
        kind: Kind::File {
            put: |settings, path| settings.server.security.tokens = path,
        },
    },
    Setting {
        section: "auth",
        key: "reload_interval",
        flag: "reload-interval",
        variable: "HEADCOUNT_RELOAD_INTERVAL",
        help: "How often the files of [auth] and [tls] are looked at, to be read again if they changed.",
        kind: Kind::Span {
            default: 5,
            least: 1,
            most: HOUR,
            zero: None,
            put: |settings, span| settings.server.security.reload_interval = span,
        },
    },
    Setting {
        section: "tls",
        key: "certificate",
        flag: "tls-certificate",
        variable: "HEADCOUNT_TLS_CERTIFICATE",
        help: "The certificate of the service, and those between it and a root, as PEM; without it, \
               there is no TLS.",
        kind: Kind::File {
            put: |settings, path| settings.server.security.certificate = path,
        },
    },
    Setting {
        section: "tls",
        key: "key",
        flag: "tls-key",
        variable: "HEADCOUNT_TLS_KEY",
        help: "The private key of the certificate, as PEM.",
        kind: Kind::File {
            put: |settings, path| settings.server.security.key = path,
        },
    },
    Setting {
        section: "tls",
        key: "client_ca",
        flag: "tls-client-ca",
        variable: "HEADCOUNT_TLS_CLIENT_CA",
        help: "Certificates, as PEM: clients must show one that is signed by one of them. Without it, \
               they show none.",
        kind: Kind::File {
            put: |settings, path| settings.server.security.client_ca = path,
        },
    },
    Setting {
        section: "limits",
        key: "max_populations",
        flag: "max-populations",
        variable: "HEADCOUNT_MAX_POPULATIONS",
        help: "Populations of the store.",
        kind: Kind::limit(limit::POPULATIONS, 1, 1_000_000, |settings, number| {
            settings.engine.limits.populations = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_users",
        flag: "max-users",
        variable: "HEADCOUNT_MAX_USERS",
        help: "Users of one population.",
        kind: Kind::limit(limit::USERS, 1, NUMBERS, |settings, number| {
            settings.engine.limits.users = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_properties",
        flag: "max-properties",
        variable: "HEADCOUNT_MAX_PROPERTIES",
        help: "Properties of one population.",
        kind: Kind::limit(limit::PROPERTIES, 1, NUMBERS, |settings, number| {
            settings.engine.limits.properties = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_distinct_values",
        flag: "max-distinct-values",
        variable: "HEADCOUNT_MAX_DISTINCT_VALUES",
        help: "Different values of one property.",
        kind: Kind::limit(limit::DISTINCT_VALUES, 1, NUMBERS, |settings, number| {
            settings.engine.limits.distinct_values = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_set_elements",
        flag: "max-set-elements",
        variable: "HEADCOUNT_MAX_SET_ELEMENTS",
        help: "Elements of one set.",
        kind: Kind::limit(
            limit::SET_ELEMENTS,
            1,
            u16::MAX as u64,
            |settings, number| {
                settings.engine.limits.set_elements = number;
            },
        ),
    },
    Setting {
        section: "limits",
        key: "max_request_ids",
        flag: "max-request-ids",
        variable: "HEADCOUNT_MAX_REQUEST_IDS",
        help: "Request ids that one population remembers, the newest ones.",
        kind: Kind::limit(limit::REQUEST_IDS, 1, NUMBERS, |settings, number| {
            settings.engine.limits.request_ids = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_streams",
        flag: "max-streams",
        variable: "HEADCOUNT_MAX_STREAMS",
        help: "Streams of writes that one population remembers, those used last.",
        kind: Kind::limit(limit::STREAMS, 1, NUMBERS, |settings, number| {
            settings.engine.limits.streams = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_event_names",
        flag: "max-event-names",
        variable: "HEADCOUNT_MAX_EVENT_NAMES",
        help: "Names of events of one population.",
        kind: Kind::limit(limit::EVENT_NAMES, 0, NUMBERS, |settings, number| {
            settings.engine.limits.event_names = number;
        }),
    },
    Setting {
        section: "limits",
        key: "max_events",
        flag: "max-events",
        variable: "HEADCOUNT_MAX_EVENTS",
        help: "Events of one population that are kept.",
        kind: Kind::limit(limit::EVENTS, 0, 1_000_000_000_000, |settings, number| {
            settings.engine.limits.events = number;
        }),
    },
    Setting {
        section: "limits",
        key: "event_retention_days",
        flag: "event-retention-days",
        variable: "HEADCOUNT_EVENT_RETENTION_DAYS",
        help: "For how many days after their time events are kept, if their name is not declared \
               otherwise.",
        kind: Kind::limit(
            limit::EVENT_RETENTION,
            1,
            LONGEST_DAYS,
            |settings, number| {
                settings.engine.limits.event_retention_days = number;
            },
        ),
    },
    Setting {
        section: "limits",
        key: "event_ahead_seconds",
        flag: "event-ahead-seconds",
        variable: "HEADCOUNT_EVENT_AHEAD_SECONDS",
        help: "How many seconds ahead of the clock the time of an event may be.",
        kind: Kind::limit(
            limit::EVENT_AHEAD,
            0,
            LONGEST_DAYS * 86_400,
            |settings, number| {
                settings.engine.limits.event_ahead_seconds = number;
            },
        ),
    },
    Setting {
        section: "limits",
        key: "max_segments",
        flag: "max-segments",
        variable: "HEADCOUNT_MAX_SEGMENTS",
        help: "Saved segments of one population.",
        kind: Kind::limit(limit::SEGMENTS, 0, NUMBERS, |settings, number| {
            settings.engine.limits.segments = number;
        }),
    },
    Setting {
        section: "log",
        key: "levels",
        flag: "log",
        variable: "HEADCOUNT_LOG",
        help: "How much is logged: a level, or targets with levels.",
        kind: Kind::Text {
            default: "info",
            word: "LEVELS",
            expected: "a level such as info, or targets with levels such as headcount=debug,h2=warn",
            put: |settings, text| {
                let levels = text.to_str()?;
                telemetry::is_filter(levels).then(|| settings.log_levels = levels.into())
            },
        },
    },
    Setting {
        section: "log",
        key: "format",
        flag: "log-format",
        variable: "HEADCOUNT_LOG_FORMAT",
        help: "How lines of the log are written: text for people, json for programs.",
        kind: Kind::Text {
            default: "text",
            word: "FORMAT",
            expected: "text or json",
            put: |settings, text| {
                settings.log_format = match text.to_str()? {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return None,
                };
                Some(())
            },
        },
    },
    Setting {
        section: "log",
        key: "slow_call",
        flag: "log-slow-call",
        variable: "HEADCOUNT_LOG_SLOW_CALL",
        help: "Calls with one answer that take longer are logged, with the shape of what they ask and \
               without any value.",
        kind: Kind::Span {
            default: 1,
            least: 0,
            most: HOUR,
            zero: Some("none"),
            put: |settings, span| {
                settings.server.slow_call = (!span.is_zero()).then_some(span);
            },
        },
    },
];

/// A number that was checked to be within its range.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
