//! `user get`, `user delete`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, bars, grouped, printable};
use super::{query, value};
use crate::proto::{DeleteUserRequest, EventSummary, GetUserRequest};

const DAY_SECONDS: i64 = 86_400;
/// The days that are told one by one.
const DAYS: usize = 30;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Show all properties of a user, and what the user did.
    Get {
        /// The user.
        user_id: String,
        /// The instant up to which events are told; the present if left out.
        #[arg(long)]
        as_of: Option<String>,
    },
    /// Erase a user with all properties and events.
    Delete {
        /// The user.
        user_id: String,
        /// Succeed also when there is no such user.
        #[arg(long)]
        allow_missing: bool,
    },
}

pub(super) async fn user(
    client: Client,
    command: UserCommand,
    output: Output,
) -> Result<u8, CliError> {
    match command {
        UserCommand::Get { user_id, as_of } => {
            let request = GetUserRequest {
                population: client.population.clone(),
                user_id,
                as_of: query::instant(as_of.as_deref())?,
                ..GetUserRequest::default()
            };
            let answer = client.users().get_user(request).await?.into_inner();
            let user = answer.user.unwrap_or_default();
            let as_of = answer.as_of.unwrap_or_default();
            output.answer(
                || {
                    let mut table = Table::new(&["property", "value"]);
                    for (name, value) in &user.properties {
                        table.row([name.clone(), value::text(value)]);
                    }
                    let events = events_table(&user.events, as_of);
                    let id = printable(&user.user_id);
                    if user.properties.is_empty() && !user.events.is_empty() {
                        format!("{id}{events}")
                    } else {
                        format!("{id}\n\n{}{events}", table.render())
                    }
                },
                || {
                    let properties = user.properties.iter();
                    let properties: serde_json::Map<String, serde_json::Value> = properties
                        .map(|(name, value)| (name.clone(), value::json(value)))
                        .collect();
                    let events = user.events.iter().map(summary_json);
                    json!({
                        "user_id": user.user_id,
                        "properties": properties,
                        "events": events.collect::<Vec<_>>(),
                        "as_of": value::timestamp_text(&as_of),
                        "revision": answer.revision,
                    })
                },
            )?;
        }
        UserCommand::Delete {
            user_id,
            allow_missing,
        } => {
            let request = DeleteUserRequest {
                population: client.population.clone(),
                user_id: user_id.clone(),
                allow_missing,
                ..DeleteUserRequest::default()
            };
            let answer = client.users().delete_user(request).await?.into_inner();
            let time = answer.erase_time.as_ref().map(value::timestamp_text);
            let gone_by = answer.erased_from_disk_by.as_ref();
            let gone_by = gone_by.map(value::timestamp_text);
            output.answer(
                || {
                    let user = printable(&user_id);
                    match &gone_by {
                        _ if !answer.existed => format!("there was no user {user}"),
                        Some(time) => format!("erased {user}, off the disk by {time}"),
                        None => format!("erased {user}"),
                    }
                },
                || {
                    json!({
                        "user_id": user_id,
                        "existed": answer.existed,
                        "erase_time": time,
                        "erased_from_disk_by": gone_by,
                        "revision": answer.revision,
                    })
                },
            )?;
        }
    }
    Ok(0)
}

/// What the user did, name by name, below what else is shown; nothing if the user did nothing.
fn events_table(events: &[EventSummary], as_of: prost_types::Timestamp) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["event", ">events", "first", "last", ">sum", "last 30 days"]);
    for event in events {
        let time = |time: &Option<prost_types::Timestamp>| {
            time.as_ref().map(value::timestamp_text).unwrap_or_default()
        };
        table.row([
            event.name.clone(),
            grouped(event.count),
            time(&event.first_time),
            time(&event.last_time),
            event.sum.map(|sum| sum.to_string()).unwrap_or_default(),
            bars(&by_day(event, as_of)),
        ]);
    }
    format!("\n\n{}", table.render())
}

/// How many events there are on each of the last days, that of `as_of` last.
fn by_day(event: &EventSummary, as_of: prost_types::Timestamp) -> [u64; DAYS] {
    let mut counts = [0; DAYS];
    let today = as_of.seconds.div_euclid(DAY_SECONDS);
    for told in &event.last_30_days {
        let day = told
            .day
            .map_or(0, |day| day.seconds.div_euclid(DAY_SECONDS));
        let place = usize::try_from(today.saturating_sub(day)).ok();
        let place = place.and_then(|ago| (DAYS - 1).checked_sub(ago));
        if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
            *count = told.count;
        }
    }
    counts
}

fn summary_json(event: &EventSummary) -> serde_json::Value {
    let days = event.last_30_days.iter().map(|told| {
        json!({
            "day": told.day.as_ref().map(value::timestamp_text),
            "count": told.count,
            "sum": told.sum,
        })
    });
    json!({
        "name": event.name,
        "count": event.count,
        "first_time": event.first_time.as_ref().map(value::timestamp_text),
        "last_time": event.last_time.as_ref().map(value::timestamp_text),
        "sum": event.sum,
        "last_30_days": days.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::EventDay;

    #[test]
    fn days_have_their_places_and_the_last_is_today() {
        let day = |day: i64, count| EventDay {
            day: Some(prost_types::Timestamp {
                seconds: day * DAY_SECONDS,
                nanos: 0,
            }),
            count,
            sum: None,
        };
        let event = EventSummary {
            last_30_days: vec![day(69, 9), day(70, 4), day(71, 8), day(99, 1)],
            ..EventSummary::default()
        };
        let noon = prost_types::Timestamp {
            seconds: 99 * DAY_SECONDS + DAY_SECONDS / 2,
            nanos: 0,
        };
        let counts = by_day(&event, noon);
        assert_eq!((counts[0], counts[1], counts[29]), (4, 8, 1));
        assert_eq!(counts.iter().sum::<u64>(), 13);
    }
}
