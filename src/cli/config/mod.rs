//! The configuration of `serve`: one file, environment variables and flags, read by one table of
//! settings, and what of it is in force.
//!
//! Invariant: a flag goes before an environment variable, that before the file, that before the
//! default. What is not understood, wherever it is written, is an error that names the place; it
//! is never passed over.

mod args;
mod environment;
mod file;
mod in_force;
mod setting;
mod show;
mod table;
#[cfg(test)]
mod tests;

use clap::Args;

use super::error::CliError;
use super::output::{self, Output};

pub(super) use args::ServeArgs;
pub(super) use environment::unknown;
pub(super) use setting::Settings;
pub(super) use show::changed;

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Print a file with all settings, as they are if nothing is said.
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

/// Prints the settings in force, and where each comes from.
pub(super) fn config(args: &ConfigArgs, output: Output) -> Result<u8, CliError> {
    if args.example {
        output::line(show::example().trim_end())?;
        return Ok(0);
    }
    let in_force = args.serve.in_force()?;
    let unknown = unknown(std::env::vars_os().map(|(name, _)| name));
    output.answer(
        || show::table(&in_force),
        || show::json(&in_force, &unknown),
    )?;
    for variable in unknown {
        output::note(&format!("warning: {variable}"));
    }
    Ok(0)
}

/// Reads a text as the file of settings that nothing else is said beside, for fuzzing.
///
/// # Errors
/// What is wrong with it, as people are told.
#[cfg(feature = "testing")]
pub fn read_settings(text: &str) -> Result<(), String> {
    let file = Some((std::path::Path::new("file"), text));
    match in_force::InForce::new(file, &[]) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
