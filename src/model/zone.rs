//! Time zones: which instants make up a day, a week or a month somewhere.
//!
//! Invariant: the rules of a zone are those built into the program, never those of the machine, so
//! that the same question has the same answer everywhere.

use std::fmt;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::near::distance;

/// A zone of the database that stands for "not configured" and has no rules.
const NO_ZONES: [&str; 2] = ["Factory", "Etc/Unknown"];

/// Why a text is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time zone of the IANA database{}", way_out(near.as_deref()))]
pub struct ZoneError {
    /// The text.
    pub text: String,
    /// What was probably meant.
    pub near: Option<String>,
}

fn way_out(near: Option<&str>) -> String {
    match near {
        Some(near) => format!("; did you mean '{near}'?"),
        None => ", such as 'Europe/Paris'".into(),
    }
}

/// The name of a time zone in the IANA database, such as `Europe/Paris`.
///
/// Of the several names that some zones have, it is the one in use today, so that equal zones are
/// equal: `asia/calcutta` becomes `Asia/Kolkata`, and `Etc/UTC` becomes `UTC`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Box<str>);

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self("UTC".into())
    }

    /// The zone of a name, written in whatever case.
    ///
    /// # Errors
    /// [`ZoneError`] if there is none, with what was probably meant.
    pub fn new(text: &str) -> Result<Self, ZoneError> {
        let known = NO_ZONES.iter().all(|name| !name.eq_ignore_ascii_case(text));
        let rules = known
            .then(|| TimeZoneDatabase::bundled().get(text).ok())
            .flatten();
        rules
            .as_ref()
            .and_then(|rules| rules.primary_iana_name().or_else(|| rules.iana_name()))
            .map(|name| Self(name.into()))
            .ok_or_else(|| ZoneError {
                text: text.chars().take(64).collect(),
                near: near(text),
            })
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its rules.
    pub(super) fn rules(&self) -> TimeZone {
        // A zone exists only if the database has it.
        TimeZoneDatabase::bundled()
            .get(&self.0)
            .unwrap_or(TimeZone::UTC)
    }
}

/// The name nearest to a misspelt one: a place without its continent, or up to two wrong letters.
fn near(text: &str) -> Option<String> {
    /// No zone has a longer name, by far.
    const LONGEST: usize = 40;

    if text.len() > LONGEST {
        return None;
    }
    let text = text.trim().replace(' ', "_").to_ascii_lowercase();
    let database = TimeZoneDatabase::bundled();
    let names = database.available().map(|name| name.as_str().to_owned());
    names
        .filter(|name| !NO_ZONES.contains(&name.as_str()))
        .filter_map(|name| {
            let lower = name.to_ascii_lowercase();
            let place = lower.rsplit('/').next().unwrap_or(&lower);
            let (given, allowed) = (text.as_bytes(), if text.len() < 5 { 0 } else { 2 });
            let wrong = distance(given, lower.as_bytes()).min(distance(given, place.as_bytes()));
            (wrong <= allowed).then_some((wrong, name))
        })
        .min()
        .map(|(_, name)| name)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_one_name() {
        for (given, name) in [
            ("Europe/Paris", "Europe/Paris"),
            ("europe/PARIS", "Europe/Paris"),
            ("Asia/Calcutta", "Asia/Kolkata"),
            (
                "America/Argentina/Buenos_Aires",
                "America/Argentina/Buenos_Aires",
            ),
            ("utc", "UTC"),
            ("Etc/UTC", "UTC"),
            ("Zulu", "UTC"),
            ("Etc/GMT+5", "Etc/GMT+5"),
        ] {
            let zone = Zone::new(given).unwrap();
            assert_eq!(zone.as_str(), name);
            assert_eq!(Zone::new(name), Ok(zone));
        }
        assert_eq!(Zone::new("UTC"), Ok(Zone::utc()));
    }

    #[test]
    fn every_zone_of_the_database_has_a_name_with_the_same_rules() {
        let database = TimeZoneDatabase::bundled();
        for name in database
            .available()
            .filter(|name| name.as_str() != "Factory")
        {
            let zone = Zone::new(name.as_str()).unwrap();
            assert_eq!(Zone::new(zone.as_str()), Ok(zone.clone()), "{name}");
            let given = database.get(name.as_str()).unwrap();
            for seconds in (-5_000_000_000_i64..5_000_000_000).step_by(8_640_000) {
                let instant = jiff::Timestamp::from_second(seconds).unwrap();
                assert_eq!(
                    given.to_offset(instant),
                    zone.rules().to_offset(instant),
                    "{name} {instant}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_zone_is_refused_with_the_way_out() {
        for (given, error) in [
            (
                "Europe/Pariss",
                "\"Europe/Pariss\" is no time zone of the IANA database; did you mean 'Europe/Paris'?",
            ),
            (
                "new york",
                "\"new york\" is no time zone of the IANA database; did you mean 'America/New_York'?",
            ),
            (
                "+02:00",
                "\"+02:00\" is no time zone of the IANA database, such as 'Europe/Paris'",
            ),
            (
                "",
                "\"\" is no time zone of the IANA database, such as 'Europe/Paris'",
            ),
            (
                "Factory",
                "\"Factory\" is no time zone of the IANA database, such as 'Europe/Paris'",
            ),
        ] {
            assert_eq!(Zone::new(given).unwrap_err().to_string(), error);
        }
        assert!(
            Zone::new(&"x".repeat(100_000))
                .unwrap_err()
                .to_string()
                .len()
                < 200
        );
    }
}
