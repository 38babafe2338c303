//! `events`, `events create`, `update`, `delete`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, grouped};
use super::value;
use crate::model::Span;
use crate::proto::{
    CreateEventRequest, DeleteEventRequest, EventDeclaration, ListEventsRequest, UpdateEventRequest,
};

#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// List the events by name: how many, of how many users, what was refused.
    List,
    /// Declare the events of a name.
    Create {
        /// Their name.
        name: String,
        /// How long after their time they are kept, such as 36500d; 400d if left out.
        #[arg(long, value_parser = parse_retention)]
        retention: Option<Span>,
    },
    /// Change how long the events of a name are kept.
    Update {
        /// Their name.
        name: String,
        /// How long after their time they are kept, such as 36500d.
        #[arg(long, value_parser = parse_retention)]
        retention: Span,
    },
    /// Delete all events of a name.
    Delete {
        /// Their name.
        name: String,
    },
}

/// Reads how long events are to be kept.
pub(super) fn parse_retention(text: &str) -> Result<Span, String> {
    let span: Span = text
        .parse()
        .map_err(|error: crate::model::SpanError| error.to_string())?;
    if span > Span::ZERO {
        Ok(span)
    } else {
        Err("expected more than nothing, such as 400d".into())
    }
}

pub(super) async fn events(
    client: Client,
    command: Option<EventsCommand>,
    output: Output,
) -> Result<u8, CliError> {
    let population = client.population.clone();
    match command {
        None | Some(EventsCommand::List) => list(&client, output).await?,
        Some(EventsCommand::Create { name, retention }) => {
            let request = CreateEventRequest {
                population,
                event: Some(EventDeclaration {
                    name,
                    retention: retention.map(value::span_message),
                    ..EventDeclaration::default()
                }),
            };
            let answer = client.schema().create_event(request).await?.into_inner();
            declared(answer.event, &answer.revision, "declared", output)?;
        }
        Some(EventsCommand::Update { name, retention }) => {
            let request = UpdateEventRequest {
                population,
                event: Some(EventDeclaration {
                    name,
                    retention: Some(value::span_message(retention)),
                    ..EventDeclaration::default()
                }),
                update_mask: None,
            };
            let answer = client.schema().update_event(request).await?.into_inner();
            declared(answer.event, &answer.revision, "updated", output)?;
        }
        Some(EventsCommand::Delete { name }) => {
            let request = DeleteEventRequest {
                population,
                name: name.clone(),
            };
            let answer = client.schema().delete_event(request).await?.into_inner();
            output.answer(
                || format!("deleted {name}"),
                || json!({ "name": name, "revision": answer.revision }),
            )?;
        }
    }
    Ok(0)
}

fn declared(
    event: Option<EventDeclaration>,
    revision: &str,
    done: &str,
    output: Output,
) -> Result<(), CliError> {
    let event = event.unwrap_or_default();
    output.answer(
        || format!("{done} {}, kept for {}", event.name, retention_text(&event)),
        || json!({ "event": event_json(&event), "revision": revision }),
    )
}

/// How long events are kept, as on the command line.
pub(super) fn retention_text(event: &EventDeclaration) -> String {
    let retention = event.retention.as_ref();
    retention.map(value::span_text).unwrap_or_default()
}

fn event_json(event: &EventDeclaration) -> serde_json::Value {
    json!({
        "name": event.name,
        "retention": retention_text(event),
        "events": event.events,
        "users": event.users,
        "duplicates": event.duplicates,
        "too_old": event.too_old,
        "too_far_ahead": event.too_far_ahead,
        "kept_from": event.kept_from.as_ref().map(value::timestamp_text),
    })
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEventsRequest {
            population: client.population.clone(),
            page_size: 1_000,
            page_token,
        };
        let page = client.schema().list_events(request).await?.into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output.answer(
        || {
            let mut table = Table::new(&[
                "event",
                ">events",
                ">users",
                ">retention",
                ">duplicates",
                ">too old",
                ">too far ahead",
            ]);
            for event in &events {
                table.row([
                    event.name.clone(),
                    grouped(event.events),
                    grouped(event.users),
                    retention_text(event),
                    grouped(event.duplicates),
                    grouped(event.too_old),
                    grouped(event.too_far_ahead),
                ]);
            }
            table.render()
        },
        || json!({ "events": events.iter().map(event_json).collect::<Vec<_>>() }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_a_span_of_some_length() {
        let read = |text| parse_retention(text).map(|span| span.to_string());
        assert_eq!(read("400d"), Ok("400d".into()));
        assert_eq!(read("2w"), Ok("14d".into()));
        for wrong in ["0d", "400", "-1d", "99999999d"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
