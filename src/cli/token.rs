//! `token`: a token, and what the service is told of it.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::output::Output;
use crate::model::{PopulationName, Timestamp};
use crate::server::{self, NewToken};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// What the entry is called, in the file and in the log.
    name: String,
    /// A population to ask about; * for all. Can be given several times.
    #[arg(long, value_name = "POPULATION")]
    read: Vec<String>,
    /// A population to write users, events and segments of; * for all. Does not include --read.
    #[arg(long, value_name = "POPULATION")]
    write: Vec<String>,
    /// A population to do all in, schema included; * for all, and to look after the service.
    #[arg(long, value_name = "POPULATION")]
    admin: Vec<String>,
    /// When the token ends: a date, or a time such as 2027-01-31T12:00:00Z. Never, if left out.
    #[arg(long, value_name = "TIME")]
    expires: Option<Timestamp>,
}

pub(super) fn token(args: &TokenArgs, output: Output) -> Result<u8, CliError> {
    // The name is not shown: it may be a token that was made before.
    if !server::is_name(&args.name) {
        return Err(CliError::Input(
            "the name should be 1 to 64 ASCII letters, digits, '_', '-' and '.', and no token"
                .into(),
        ));
    }
    let roles = [
        ("read", &args.read),
        ("write", &args.write),
        ("admin", &args.admin),
    ];
    for (role, populations) in roles {
        for population in populations.iter().filter(|name| *name != "*") {
            PopulationName::new(population.as_str()).map_err(|error| {
                CliError::Input(format!("--{role} {population:?}: the name {error}"))
            })?;
        }
    }
    let new = NewToken::make().ok_or_else(|| {
        CliError::Other("the system gives no random numbers to make a token of".into())
    })?;
    let mut entry = format!(
        "[[caller]]\nname = \"{}\"\ntoken_sha256 = \"{}\"\n",
        args.name, new.sha256
    );
    if let Some(expires) = args.expires {
        let _ = writeln!(entry, "expires = \"{expires}\"");
    }
    for (role, populations) in roles {
        let quoted: Vec<String> = populations.iter().map(|p| format!("\"{p}\"")).collect();
        let _ = writeln!(entry, "{role} = [{}]", quoted.join(", "));
    }
    output.answer(
        || {
            format!(
                "The token, which is shown this once and kept nowhere:\n\n{}\n\n\
                 What to put into the file of tokens, which `serve --tokens` reads:\n\n{}",
                new.token,
                entry.trim_end()
            )
        },
        || json!({ "token": new.token, "sha256": new.sha256, "entry": entry }),
    )?;
    Ok(0)
}
