//! `serve`: the service in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use super::output::{self, Output};
use crate::clock::SystemClock;
use crate::engine::{Engine, EngineOptions};
use crate::model::{Span, StoreLimits, limit};
use crate::server::telemetry::{self, LogFormat};
use crate::server::{self, ServerConfig};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The data folder; made if it does not exist.
    #[arg(long, env = "HEADCOUNT_DATA", default_value = "headcount-data")]
    data: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, env = "HEADCOUNT_LISTEN", default_value = "127.0.0.1:7171")]
    listen: SocketAddr,
    /// Threads for queries; as many as there are processors if 0.
    #[arg(long, default_value_t = 0)]
    query_threads: usize,
    /// Write a snapshot this long after the last one if anything changed, such as 30m; 0s for
    /// never.
    #[arg(long, default_value = "1h")]
    snapshot_interval: Span,
    /// Write a snapshot after so many bytes of log.
    #[arg(long, default_value_t = 256 << 20)]
    snapshot_log_bytes: u64,
    /// How large files of the log are made in advance, in bytes: 64 KiB to 1 GiB. An erasure has
    /// room in the last 16th of one when the disk is full.
    #[arg(
        long,
        default_value_t = 16 << 20,
        value_parser = clap::value_parser!(u64).range(65_536..=1 << 30)
    )]
    log_file_bytes: u64,
    /// Levels of the log: a level, or targets with levels such as headcount=debug.
    #[arg(long, env = "HEADCOUNT_LOG", default_value = "info")]
    log: String,
    /// Write the log as one JSON object a line.
    #[arg(long)]
    log_json: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Args)]
struct LimitArgs {
    /// Populations of the store.
    #[arg(long, default_value_t = limit::POPULATIONS.default)]
    max_populations: u64,
    /// Users of one population.
    #[arg(long, default_value_t = limit::USERS.default)]
    max_users: u64,
    /// Properties of one population.
    #[arg(long, default_value_t = limit::PROPERTIES.default)]
    max_properties: u64,
    /// Different values of one property.
    #[arg(long, default_value_t = limit::DISTINCT_VALUES.default)]
    max_distinct_values: u64,
    /// Elements of one set.
    #[arg(long, default_value_t = limit::SET_ELEMENTS.default)]
    max_set_elements: u64,
    /// Request ids that one population remembers, the newest ones.
    #[arg(long, default_value_t = limit::REQUEST_IDS.default)]
    max_request_ids: u64,
    /// Streams of writes that one population remembers, those used last.
    #[arg(long, default_value_t = limit::STREAMS.default)]
    max_streams: u64,
    /// Names of events of one population.
    #[arg(long, default_value_t = limit::EVENT_NAMES.default)]
    max_event_names: u64,
    /// Events of one population that are kept.
    #[arg(long, default_value_t = limit::EVENTS.default)]
    max_events: u64,
    /// For how many days after their time events are kept, if their name is not declared otherwise.
    #[arg(long, default_value_t = limit::EVENT_RETENTION.default)]
    event_retention_days: u64,
    /// How many seconds ahead of the clock the time of an event may be.
    #[arg(long, default_value_t = limit::EVENT_AHEAD.default)]
    event_ahead_seconds: u64,
}

pub(super) async fn serve(args: ServeArgs, output: Output) -> Result<u8, CliError> {
    let format = if args.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    telemetry::start(format, &args.log).map_err(|error| CliError::Input(error.to_string()))?;
    let interval = u64::try_from(args.snapshot_interval.micros()).unwrap_or(0);
    let options = EngineOptions {
        limits: StoreLimits {
            populations: args.limits.max_populations,
            users: args.limits.max_users,
            properties: args.limits.max_properties,
            distinct_values: args.limits.max_distinct_values,
            set_elements: args.limits.max_set_elements,
            request_ids: args.limits.max_request_ids,
            streams: args.limits.max_streams,
            event_names: args.limits.max_event_names,
            events: args.limits.max_events,
            event_retention_days: args.limits.event_retention_days,
            event_ahead_seconds: args.limits.event_ahead_seconds,
        },
        query_threads: args.query_threads,
        snapshot_interval: (interval > 0).then(|| Duration::from_micros(interval)),
        snapshot_log_bytes: args.snapshot_log_bytes,
        log_file_bytes: args.log_file_bytes,
        ..EngineOptions::new(args.data)
    };
    // The address first: a port that is taken is known at once, not after minutes of loading.
    let listener = bind(args.listen).await?;
    let engine = open(options).await?;
    let address = address_of(&listener)?;
    announce(address, output)?;
    server::run(
        engine.clone(),
        listener,
        ServerConfig::default(),
        interruption()?,
    )
    .await
    .map_err(|error| CliError::Other(error.to_string()))?;
    engine.shutdown().await;
    Ok(0)
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::Input(format!(
            "can't listen on {address}: {error}; choose another with --listen"
        ))
    })
}

pub(super) fn address_of(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener
        .local_addr()
        .map_err(|error| CliError::Other(format!("can't tell the address: {error}")))
}

/// Opens a store, which may take long, away from the threads that serve.
pub(super) async fn open(options: EngineOptions) -> Result<Engine, CliError> {
    let (sender, opened) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("open".into())
        .spawn(move || {
            let _ = sender.send(Engine::open(&options, Arc::new(SystemClock)));
        })
        .map_err(|error| CliError::Other(format!("can't start a thread: {error}")))?;
    match opened.await {
        Ok(Ok(engine)) => Ok(engine),
        Ok(Err(error)) => Err(CliError::Input(error.to_string())),
        Err(_) => Err(CliError::Other(
            "the store could not be opened: a fault of the program".into(),
        )),
    }
}

fn announce(address: SocketAddr, output: Output) -> Result<(), CliError> {
    if output.is_json() {
        output::line(&serde_json::json!({ "listening": address.to_string() }).to_string())
    } else {
        output::line(&format!("serving on http://{address}"))
    }
}

/// Listens from now on for being told to stop: what is returned resolves then.
pub(super) fn interruption() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::Other(format!("can't listen for signals: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
