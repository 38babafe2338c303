//! Rows that are events: what each column is, rows to updates, and what became of them.
//!
//! Invariant: a row whose event has no id is given one, made of its line, its time and its amount,
//! so that a file can be imported again without counting anything twice.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::Value as Json;

use super::rows::{Cell, Row};
use super::send::Written;
use super::types::parse_double;
use super::updates::{LineUpdate, id_of};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::events::{parse_retention, retention_text};
use crate::cli::output::{self, counted, grouped, printable};
use crate::cli::value::{span_message, span_text, timestamp_message};
use crate::model::{Amount, Digest, Span, Timestamp};
use crate::proto::{CreateEventRequest, Event, EventDeclaration, GetEventRequest, UserUpdate};

const NAMES: [&str; 1] = ["event"];
const TIMES: [&str; 2] = ["time", "timestamp"];
const AMOUNTS: [&str; 2] = ["amount", "value"];
const IDS: [&str; 1] = ["event_id"];

/// Names for which the way out is said when their events are too old.
const TOLD: usize = 3;

#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the text is help on the command line")]
pub(super) struct EventArgs {
    /// The rows are events, not users with properties.
    #[arg(long, conflicts_with = "types")]
    pub(super) events: bool,
    /// With --events: the name of all events of the file, if no column has it.
    #[arg(long, requires = "events", conflicts_with = "event_column")]
    event: Option<String>,
    /// With --events: the column with the names of the events; event if left out.
    #[arg(long, requires = "events")]
    event_column: Option<String>,
    /// With --events: the column with the times of the events, as dates (midnight UTC) or RFC 3339;
    /// time or timestamp if left out.
    #[arg(long, requires = "events")]
    time_column: Option<String>,
    /// With --events: the column with the amounts of the events; amount or value if left out.
    #[arg(long, requires = "events")]
    amount_column: Option<String>,
    /// With --events: the column with the ids of the events; event_id if left out.
    #[arg(long, requires = "events")]
    event_id_column: Option<String>,
    /// With --events: columns to leave out, such as quantity,currency.
    #[arg(long, requires = "events", value_delimiter = ',')]
    ignore: Vec<String>,
    /// With --events: how long after their time to keep events whose name is not declared yet, such
    /// as 36500d.
    #[arg(long, requires = "events", value_parser = parse_retention)]
    pub(super) retention: Option<Span>,
    /// With --events: give no ids to events that have none. They take less memory, and count twice
    /// if the file is imported twice. Else an event of a file gets an id from the name of the file,
    /// its line, time and amount, so that the same file, unchanged, is imported once however often.
    /// Events from standard input get none.
    #[arg(long, requires = "events")]
    pub(super) without_ids: bool,
    /// The name of the file, if it is one.
    #[arg(skip)]
    pub(super) source: Option<String>,
}

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Name,
    Time,
    Amount,
    Id,
    Ignored,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "user id",
            Self::Name => "event",
            Self::Time => "time",
            Self::Amount => "amount",
            Self::Id => "event id",
            Self::Ignored => "ignore",
        }
    }
}

/// How columns are to be read.
#[derive(Clone, Debug)]
pub(super) struct EventColumns {
    roles: BTreeMap<String, Role>,
    /// The name of all events, if no column has it.
    name: Option<String>,
    /// What the rows come from, if events without an id get one.
    source: Option<String>,
}

impl EventColumns {
    /// Settles the columns of a file by what was said and their names. Of a file without a header
    /// there can be others in later rows.
    pub(super) fn new(
        names: &[String],
        has_header: bool,
        user: Option<&str>,
        args: &EventArgs,
    ) -> Result<Self, String> {
        let find = |said: Option<&str>, flag: &str, usual: &[&str]| match said {
            Some(said) if has_header && !names.iter().any(|name| name == said) => Err(format!(
                "{flag} {said:?}: the file has the columns {}",
                names.join(", ")
            )),
            Some(said) => Ok(Some(said.to_owned())),
            None => {
                let found = usual
                    .iter()
                    .find(|usual| names.iter().any(|name| name == *usual));
                // What no row of the sample has may come later.
                let found = found.or_else(|| usual.first().filter(|_| !has_header));
                Ok(found.map(|found| (*found).to_owned()))
            }
        };
        let id = find(args.event_id_column.as_deref(), "--event-id-column", &IDS)?;
        let time = find(args.time_column.as_deref(), "--time-column", &TIMES)?.ok_or_else(|| {
            format!(
                "no column is named time or timestamp: say which has the times of the events with --time-column, of {}",
                names.join(", ")
            )
        })?;
        let amount = find(args.amount_column.as_deref(), "--amount-column", &AMOUNTS)?;
        let name = if args.event.is_some() {
            None
        } else {
            let found = find(args.event_column.as_deref(), "--event-column", &NAMES)?;
            Some(found.ok_or_else(|| {
                format!(
                    "no column is named event: say which has the names of the events with --event-column, of {}, or name them all with --event NAME",
                    names.join(", ")
                )
            })?)
        };
        let user = match user {
            Some(user) => find(Some(user), "--id-column", &[])?,
            None => Some(choose_user(names, id.as_deref())?),
        };
        let mut roles = BTreeMap::new();
        let taken = [
            (user, Role::User),
            (name, Role::Name),
            (Some(time), Role::Time),
            (amount, Role::Amount),
            (id, Role::Id),
        ];
        let ignored = args
            .ignore
            .iter()
            .map(|name| (Some(name.clone()), Role::Ignored));
        for (column, role) in taken.into_iter().chain(ignored) {
            let Some(column) = column else { continue };
            if let Some(other) = roles.insert(column.clone(), role)
                && other != role
            {
                return Err(format!(
                    "column {column:?} can't be both {} and {}",
                    other.name(),
                    role.name()
                ));
            }
        }
        if let Some(other) = names.iter().find(|name| !roles.contains_key(*name)) {
            return Err(unused(other));
        }
        Ok(Self {
            roles,
            name: args.event.clone(),
            source: args.source.clone().filter(|_| !args.without_ids),
        })
    }

    /// The columns and what they are.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let roles = self.roles.iter();
        roles.map(|(column, role)| (column.as_str(), role.name()))
    }

    /// The name of all events, if no column has it.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn column(&self, wanted: Role) -> &str {
        let mut roles = self.roles.iter();
        let found = roles.find(|(_, role)| **role == wanted);
        found.map_or("", |(column, _)| column)
    }

    /// The update that a row is.
    pub(super) fn update(&self, row: Row) -> Result<UserUpdate, String> {
        let mut update = UserUpdate::default();
        let mut event = Event {
            name: self.name.clone().unwrap_or_default(),
            ..Event::default()
        };
        let mut time = None;
        for (column, cell) in row.cells {
            let role = self.roles.get(&*column).ok_or_else(|| unused(&column))?;
            if cell == Cell::Json(Json::Null) {
                continue;
            }
            match role {
                Role::User => update.user_id = id_of(cell)?,
                Role::Name => event.name = text_of(&column, cell)?,
                Role::Time => time = Some(time_of(&column, &cell)?),
                Role::Amount => event.amount = Some(amount_of(&column, &cell)?),
                Role::Id => {
                    event.event_id = id_of(cell).map_err(|_| {
                        format!("column {column:?}: neither a text nor a whole number below 2^64")
                    })?;
                }
                Role::Ignored => {}
            }
        }
        let empty = |role: Role| {
            let column = self.column(role);
            Err(format!(
                "column {column:?} is empty: there is no {}",
                role.name()
            ))
        };
        if update.user_id.is_empty() {
            return empty(Role::User);
        }
        if event.name.is_empty() {
            return empty(Role::Name);
        }
        let Some(time) = time else {
            return empty(Role::Time);
        };
        event.time = Some(timestamp_message(time));
        if event.event_id.is_empty()
            && let Some(source) = &self.source
        {
            event.event_id = id_of_row(source, row.line, time, event.amount);
        }
        update.events.push(event);
        Ok(update)
    }
}

/// The id of an event that has none: the same whenever its file is imported, and another one for
/// each row of it and for rows of other files.
fn id_of_row(source: &str, line: u64, time: Timestamp, amount: Option<f64>) -> String {
    let amount = amount.map(|amount| amount.to_string()).unwrap_or_default();
    let row = format!("{line} {} {amount} {source}", time.micros());
    format!("{:016x}", Digest::of(&[row.as_bytes()]).head())
}

fn unused(column: &str) -> String {
    format!(
        "column {column:?}: an event has a user, a name, a time, an amount and an id, and this is none of them (to leave the column out: --ignore '{column}')"
    )
}

/// `user_id`, or else the only column besides that of the event's id whose name ends in `_id`, or
/// else `id`.
fn choose_user(names: &[String], event_id: Option<&str>) -> Result<String, String> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has("user_id") {
        return Ok("user_id".into());
    }
    let others = names
        .iter()
        .filter(|name| name.ends_with("_id") && Some(name.as_str()) != event_id);
    match others.collect::<Vec<_>>()[..] {
        [one] => Ok(one.clone()),
        [] if has("id") => Ok("id".into()),
        _ => Err(format!(
            "no column is named user_id: say which has the user ids with --id-column, of {}",
            names.join(", ")
        )),
    }
}

fn text_of(column: &str, cell: Cell) -> Result<String, String> {
    match cell {
        Cell::Text(text) | Cell::Json(Json::String(text)) => Ok(text),
        Cell::Json(json) => Err(format!("column {column:?}: {json} is no text")),
    }
}

fn time_of(column: &str, cell: &Cell) -> Result<Timestamp, String> {
    let parsed = match cell {
        Cell::Text(text) | Cell::Json(Json::String(text)) => text.parse(),
        Cell::Json(json) => json.to_string().parse(),
    };
    parsed.map_err(|error: crate::model::TimestampError| format!("column {column:?}: {error}"))
}

fn amount_of(column: &str, cell: &Cell) -> Result<f64, String> {
    let number = match cell {
        Cell::Text(text) => parse_double(text),
        Cell::Json(Json::Number(number)) => number.as_f64(),
        Cell::Json(_) => None,
    };
    let number = number.ok_or_else(|| {
        let given = match cell {
            Cell::Text(text) => text.chars().take(40).collect(),
            Cell::Json(json) => json.to_string().chars().take(40).collect::<String>(),
        };
        format!("column {column:?}: {given:?} is no number")
    })?;
    Amount::nearest(number).map_err(|error| format!("column {column:?}: {error}"))?;
    Ok(number)
}

/// Declares the events of names that come up, before the first of them is written.
pub(super) struct Declaring {
    retention: Span,
    known: BTreeSet<String>,
}

impl Declaring {
    pub(super) fn new(retention: Span) -> Self {
        Self {
            retention,
            known: BTreeSet::new(),
        }
    }

    pub(super) async fn declare(
        &mut self,
        client: &Client,
        batches: &[Vec<LineUpdate>],
    ) -> Result<(), CliError> {
        let events = batches.iter().flatten().flat_map(|row| &row.update.events);
        for event in events {
            if self.known.contains(&event.name) {
                continue;
            }
            self.known.insert(event.name.clone());
            let request = CreateEventRequest {
                population: client.population.clone(),
                event: Some(EventDeclaration {
                    name: event.name.clone(),
                    retention: Some(span_message(self.retention)),
                    ..EventDeclaration::default()
                }),
            };
            match client.schema().create_event(request).await {
                Ok(_) => {}
                Err(status) if status.code() == tonic::Code::AlreadyExists => {
                    self.tell_known(client, &event.name).await?;
                }
                Err(status) => {
                    let error = CliError::from(status);
                    // A bad name is said of its row.
                    if !error.blames_what_was_written() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Says that events are kept for another time than was asked for.
    async fn tell_known(&self, client: &Client, name: &str) -> Result<(), CliError> {
        let Some(event) = known(client, name).await? else {
            return Ok(());
        };
        let (kept, asked) = (
            retention_text(&event),
            span_text(&span_message(self.retention)),
        );
        if kept != asked {
            output::note(&printable(&format!(
                "events {name:?} are declared already, to be kept for {kept}; to change that: headcount events update '{name}' --retention {asked}"
            )));
        }
        Ok(())
    }
}

/// What is known of the events of a name.
async fn known(client: &Client, name: &str) -> Result<Option<EventDeclaration>, CliError> {
    let request = GetEventRequest {
        population: client.population.clone(),
        name: name.to_owned(),
    };
    match client.schema().get_event(request).await {
        Ok(answer) => Ok(answer.into_inner().event),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// Says how events that are too old can be kept.
pub(super) async fn tell_way_out(client: &Client, written: &Written) -> Result<(), CliError> {
    for (name, count) in written.old.iter().take(TOLD) {
        let event = known(client, name).await?;
        let (verb, kept) = match &event {
            Some(event) => ("update", retention_text(event)),
            None => ("create", "400d".into()),
        };
        let dropped = event.as_ref().and_then(|event| event.kept_from.as_ref());
        let way_out = if dropped.is_some() {
            "some that old were dropped already, and none of them is taken any more: only deleting all events of the name makes room for them".into()
        } else {
            let name = name.replace('\'', "'\\''");
            let population = match client.population.as_str() {
                "default" => String::new(),
                population => format!(" --population {population}"),
            };
            format!(
                "to keep such events, for a hundred years say, and import them again: headcount{population} events {verb} '{name}' --retention 36500d"
            )
        };
        output::note(&printable(&format!(
            "events {name:?} are kept for {kept} after their time, and {} older; {way_out}",
            if *count == 1 {
                "1 is".into()
            } else {
                format!("{} are", grouped(*count))
            }
        )));
    }
    Ok(())
}

/// What became of the events, for people.
pub(super) fn text(written: &Written) -> String {
    let reasons = [
        (written.duplicates, "duplicate", "duplicates"),
        (written.too_old, "too old", "too old"),
        (written.too_far_ahead, "too far ahead", "too far ahead"),
    ];
    let reasons = reasons.iter().filter(|(count, ..)| *count > 0);
    let reasons: Vec<String> = reasons
        .map(|(count, one, many)| {
            format!(
                "{} {}",
                grouped(*count),
                if *count == 1 { one } else { many }
            )
        })
        .collect();
    let taken = format!("took {}", counted(written.taken, "event"));
    if reasons.is_empty() {
        format!("{taken}, refused none")
    } else {
        let refused = written.duplicates + written.too_old + written.too_far_ahead;
        format!(
            "{taken}, refused {}: {}",
            grouped(refused),
            reasons.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: EventArgs,
        #[arg(long)]
        types: Option<String>,
    }

    fn args(given: &str) -> EventArgs {
        let given = ["import", "--events"]
            .into_iter()
            .chain(given.split_whitespace());
        EventArgs {
            source: Some("purchases.csv".into()),
            ..Alone::parse_from(given).args
        }
    }

    fn settled(columns: &str, given: &str) -> Result<String, String> {
        let names: Vec<String> = columns.split(',').map(str::to_owned).collect();
        let columns = EventColumns::new(&names, true, None, &args(given))?;
        let roles = columns
            .roles()
            .map(|(column, role)| format!("{column}={role}"));
        Ok(roles.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn usual_columns_are_recognised() {
        assert_eq!(
            settled("user_id,event,timestamp,value,event_id", "").unwrap(),
            "event=event, event_id=event id, timestamp=time, user_id=user id, value=amount"
        );
        assert_eq!(
            settled("customer_id,time,amount,event_id", "--event purchase").unwrap(),
            "amount=amount, customer_id=user id, event_id=event id, time=time"
        );
        assert_eq!(
            settled("id,what,day", "--event-column what --time-column day").unwrap(),
            "day=time, id=user id, what=event"
        );
    }

    #[test]
    fn columns_that_can_not_be_settled_are_named() {
        for (columns, given, said) in [
            ("user_id,event,time,quantity", "", "--ignore 'quantity'"),
            ("user_id,event", "", "--time-column"),
            ("user_id,time", "", "--event-column"),
            ("user_id,event,time,timestamp", "", "\"timestamp\""),
            ("a_id,b_id,event,time", "", "--id-column"),
            ("user_id,event,time", "--amount-column price", "\"price\""),
            ("user_id,event,time", "--ignore time", "both"),
        ] {
            let error = settled(columns, given).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(settled("user_id,event,time,quantity", "--ignore quantity").is_ok());
    }

    fn read(given: &str, row: &Json) -> Result<Event, String> {
        let cells = row.as_object().unwrap().iter();
        let names: Vec<String> = row.as_object().unwrap().keys().cloned().collect();
        let columns = EventColumns::new(&names, false, None, &args(given))?;
        let update = columns.update(Row {
            line: 7,
            lines: 1,
            cells: cells
                .map(|(name, json)| (name.as_str().into(), Cell::Json(json.clone())))
                .collect(),
        })?;
        assert_eq!(update.user_id, "u");
        Ok(update.events[0].clone())
    }

    #[test]
    fn a_row_becomes_an_event() {
        let row = serde_json::json!({
            "user_id": "u", "event": "purchase", "time": "2026-01-31", "amount": 11.77, "event_id": 5
        });
        let event = read("", &row).unwrap();
        assert_eq!(
            (event.name.as_str(), event.amount),
            ("purchase", Some(11.77))
        );
        assert_eq!(event.event_id, "5");
        assert_eq!(event.time.unwrap().seconds, 1_769_817_600);
    }

    #[test]
    fn an_event_without_an_id_is_known_by_its_row() {
        let row = |amount: Option<f64>| serde_json::json!({ "user_id": "u", "event": "e", "time": "2026-01-31", "amount": amount });
        let id = |row: &Json| read("", row).unwrap().event_id;
        assert_eq!(id(&row(None)).len(), 16);
        assert_eq!(id(&row(Some(1.0))), id(&row(Some(1.0))));
        assert_ne!(id(&row(Some(1.0))), id(&row(None)));
        assert_eq!(read("--without-ids", &row(None)).unwrap().event_id, "");
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_of_its_column() {
        for (change, said) in [
            (serde_json::json!({ "time": null }), "\"time\" is empty"),
            (
                serde_json::json!({ "time": 5 }),
                "\"time\": \"5\" is no timestamp",
            ),
            (serde_json::json!({ "event": "" }), "\"event\" is empty"),
            (
                serde_json::json!({ "user_id": null }),
                "\"user_id\" is empty",
            ),
            (serde_json::json!({ "amount": "x" }), "\"amount\""),
            (serde_json::json!({ "amount": 1e13 }), "\"amount\": must be"),
        ] {
            let mut row = serde_json::json!({ "user_id": "u", "event": "e", "time": "2026-01-31" });
            for (name, value) in change.as_object().unwrap() {
                row[name] = value.clone();
            }
            let error = read("", &row).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
