//! What the server allows a client, and for how long.

use std::time::Duration;

use super::SecurityConfig;

/// The bounds of a server. The defaults hold under attack.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Bytes of one write, and of one batch on a stream of writes.
    pub write_bytes: usize,
    /// Bytes of one question, and of a change of a segment: a filter text or a list of values at its
    /// limit fits.
    pub query_bytes: usize,
    /// Bytes of one `BatchCheck` or `BatchCount`, of a segment to save, and of members of one: 10,000
    /// users with ids at their limit fit.
    pub batch_query_bytes: usize,
    /// Bytes of any other request.
    pub other_bytes: usize,
    /// Connections at once; more are closed as soon as they are made.
    pub connections: usize,
    /// How long a new connection may take to say that it speaks HTTP/2.
    pub handshake_timeout: Duration,
    /// Calls that one connection may have open.
    pub streams_per_connection: u32,
    /// Checks under way at once, over all connections. More are refused, as are more of the others.
    pub checks: usize,
    /// Queries under way at once.
    pub queries: usize,
    /// Writes under way at once.
    pub writes: usize,
    /// Any other calls under way at once.
    pub other_calls: usize,
    /// Streams under way at once of members, exports, changes of segments and backups.
    pub read_streams: usize,
    /// Streams of writes under way at once.
    pub write_streams: usize,
    /// Bytes of requests that were received and are not answered yet. What they are read into is
    /// often 4 times as large, and at worst 110 times.
    pub request_bytes: usize,
    /// How long one message of a client may take to arrive once it is waited for.
    pub body_timeout: Duration,
    /// How often a silent client is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long a stream or a large answer is kept of which its client reads nothing.
    pub unread_timeout: Duration,
    /// What protects the server.
    pub security: SecurityConfig,
    /// How long calls are still served once the server is told to stop, while its health says that it
    /// does not serve, so that load balancers see it before calls are refused.
    pub drain_grace: Duration,
    /// How long open calls may take to end after that.
    pub drain: Duration,
    /// Calls with one answer that take longer are told of in the log; `None` for none.
    pub slow_call: Option<Duration>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            write_bytes: 1 << 20,
            query_bytes: 256 << 10,
            batch_query_bytes: 4 << 20,
            other_bytes: 64 << 10,
            connections: 4_096,
            handshake_timeout: Duration::from_secs(10),
            streams_per_connection: 1_024,
            checks: 512,
            queries: 1_024,
            writes: 512,
            other_calls: 256,
            read_streams: 1_024,
            write_streams: 256,
            request_bytes: 16 << 20,
            body_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain_grace: Duration::ZERO,
            unread_timeout: Duration::from_mins(1),
            security: SecurityConfig::default(),
            drain: Duration::from_secs(10),
            slow_call: Some(Duration::from_secs(1)),
        }
    }
}
