//! A connection to the service.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::Global;
use super::error::CliError;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::ingest_service_client::IngestServiceClient;
use crate::proto::query_service_client::QueryServiceClient;
use crate::proto::schema_service_client::SchemaServiceClient;
use crate::proto::segment_service_client::SegmentServiceClient;
use crate::proto::user_service_client::UserServiceClient;

/// The population if none is named.
const DEFAULT: &str = "default";
const CONNECT: Duration = Duration::from_secs(5);
/// A page of 10,000 user ids at their limit fits.
const ANSWER_BYTES: usize = 16 << 20;

/// A connection, and the population to ask about.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) channel: Channel,
    pub(super) population: String,
}

impl Client {
    pub(super) async fn connect(global: &Global) -> Result<Self, CliError> {
        let server = if global.server.contains("://") {
            global.server.clone()
        } else {
            format!("http://{}", global.server)
        };
        let endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| {
                CliError::Input(format!("--server {server:?} is no address: {error}"))
            })?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| CliError::Unreachable {
                server,
                cause: innermost(&error),
            })?;
        Ok(Self {
            channel,
            population: global.population.clone().unwrap_or_else(|| DEFAULT.into()),
        })
    }

    pub(super) fn query(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone())
    }

    pub(super) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    pub(super) fn schema(&self) -> SchemaServiceClient<Channel> {
        SchemaServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }
}

/// The first cause of an error: "connection refused" rather than "transport error".
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
