//! Environment variables that look like settings and are none: most likely misspelt.

use std::ffi::OsString;
use std::fmt;

use super::super::output::printable;
use super::args::CONFIG_VARIABLE;
use super::file::nearest;
use super::table::SETTINGS;

const PREFIX: &str = "HEADCOUNT_";
/// Variables of the commands that talk to a service.
const OF_CLIENTS: [&str; 7] = [
    "HEADCOUNT_SERVER",
    "HEADCOUNT_POPULATION",
    "HEADCOUNT_TOKEN",
    "HEADCOUNT_TOKEN_FILE",
    "HEADCOUNT_CA",
    "HEADCOUNT_CLIENT_CERTIFICATE",
    "HEADCOUNT_CLIENT_KEY",
];
/// Variables that are told of, at most.
const MOST: usize = 20;

/// A variable that is none of Headcount's. Its value is never shown: nobody knows what is in it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Unknown {
    pub(super) name: String,
    /// What was probably meant.
    pub(super) meant: Option<&'static str>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(&self.name);
        write!(f, "there is no setting {name}, which is in the environment")?;
        match self.meant {
            Some(meant) => write!(f, "; did you mean {meant}?"),
            None => Ok(()),
        }
    }
}

/// The variables among these that look like settings and are none, by name.
pub(in crate::cli) fn unknown(names: impl Iterator<Item = OsString>) -> Vec<Unknown> {
    let known = || {
        let settings = SETTINGS.iter().map(|setting| setting.variable);
        settings.chain(OF_CLIENTS).chain([CONFIG_VARIABLE])
    };
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(PREFIX) && !is_of_kubernetes(name))
        .filter(|name| known().all(|known| known != name))
        .collect();
    names.sort();
    names.truncate(MOST);
    let meant = |name: &str| {
        let after = |variable: &'static str| variable.strip_prefix(PREFIX).unwrap_or(variable);
        let given = name.strip_prefix(PREFIX).unwrap_or(name);
        nearest(given, known().map(|variable| (after(variable), variable)))
    };
    names
        .into_iter()
        .map(|name| Unknown {
            meant: meant(&name),
            name,
        })
        .collect()
}

/// Whether Kubernetes makes a variable of this name for a service that is called `headcount`, in
/// every container beside it.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}
