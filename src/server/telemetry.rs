//! Logs of the process. Nothing is logged per request, and never a user id or the value of a
//! property.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Why logs can't be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error(
        "{filter:?} is no log filter: expected a level such as info, or targets with levels such as headcount=debug,h2=warn ({source})"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logs are set up already.
    #[error("logs are set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Whether a filter can be read, and each part of it has a level: a word that is none, such as
/// `warning`, would be a target, so that nothing else is logged.
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    let has_level = |part: &str| {
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        is_level || part.contains(['=', '['])
    };
    filter.split(',').all(has_level) && levels(filter).is_ok()
}

fn levels(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.into(),
        source,
    })
}

/// Writes the logs of this process to standard error from now on.
///
/// # Errors
/// [`TelemetryError`] if the filter can't be read, or logs are set up already.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let levels = levels(filter)?;
    // Colours are for people: not in files, and not for those who said so (no-color.org).
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(wanted && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(levels);
    match format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json()).try_init()?,
    }
    Ok(())
}
