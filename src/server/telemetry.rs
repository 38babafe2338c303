//! Logs of the process: where they go, and in which form.
//!
//! Invariant: no line holds a user id or the value of a property; of a panic, whose text may quote
//! anything, there is no more than where it was.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

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

/// Writes the logs of this process to standard error from now on, panics among them.
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
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Tells where a thread panicked, and not what it said.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        location = location.unwrap_or_default(),
        thread = std::thread::current().name().unwrap_or_default(),
        "a thread panicked: a fault of the program"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn of_a_panic_only_the_place_is_told() {
        let lines = Lines::default();
        let written = lines.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .with_writer(move || written.clone())
            .finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(panicked));
        let outcome = tracing::subscriber::with_default(log, || {
            std::panic::catch_unwind(|| panic!("the plan of ann@example.com"))
        });
        std::panic::set_hook(before);
        assert!(outcome.is_err());
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("src/server/telemetry.rs:"), "{text}");
        assert!(text.contains("\"level\":\"ERROR\""), "{text}");
        assert!(!text.contains("ann@example.com"), "{text}");
    }
}
