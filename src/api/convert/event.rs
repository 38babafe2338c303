//! Events: those of a write, what became of them, and what is told of them.

use crate::api::error::ApiError;
use crate::model::{Amount, Event, EventDeclaration, EventFault, EventId, Span, Timestamp};
use crate::population::{EventInfo, RefusedEvent, UserDay, UserEvents};
use crate::proto;

use super::Path;
use super::value::span;
use super::value::{event_name, name_error, span_message, timestamp, timestamp_message};

/// The events of one update, which arrived at an instant.
pub(super) fn events(
    messages: Vec<proto::Event>,
    received: Timestamp,
    path: &Path<'_>,
) -> Result<Vec<Event>, ApiError> {
    let messages = messages.into_iter().enumerate();
    let events =
        messages.map(|(position, message)| event(message, received, &path.index(position)));
    events.collect()
}

fn event(message: proto::Event, received: Timestamp, path: &Path<'_>) -> Result<Event, ApiError> {
    let name = event_name(message.name, &path.field("name"))?;
    let time = message
        .time
        .map(|time| timestamp(time, &path.field("time")));
    let amount = message
        .amount
        .map(|amount| {
            Amount::nearest(amount).map_err(|error| ApiError::field(&path.field("amount"), error))
        })
        .transpose()?;
    let id = (!message.event_id.is_empty())
        .then(|| EventId::new(message.event_id))
        .transpose()
        .map_err(|error| name_error(&path.field("event_id"), &error))?;
    Ok(Event {
        name,
        time: time.transpose()?,
        received,
        amount,
        id,
    })
}

/// The events that do not count.
pub(in crate::api) fn refused_events_message(refused: &[RefusedEvent]) -> Vec<proto::RefusedEvent> {
    let index = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    let refused = refused.iter().map(|refused| proto::RefusedEvent {
        update_index: index(refused.update),
        event_index: index(refused.event),
        reason: match refused.fault {
            EventFault::Duplicate => proto::EventRefusal::Duplicate,
            EventFault::TooOld => proto::EventRefusal::TooOld,
            EventFault::TooFarAhead => proto::EventRefusal::TooFarAhead,
        }
        .into(),
    });
    refused.collect()
}

/// What a user did of one name.
pub(in crate::api) fn user_events_message(events: &UserEvents) -> proto::EventSummary {
    proto::EventSummary {
        name: events.name.as_str().to_owned(),
        count: events.count,
        first_time: Some(timestamp_message(events.first)),
        last_time: Some(timestamp_message(events.last)),
        sum: events.sum.map(sum_message),
        last_30_days: events.days.iter().map(day_message).collect(),
    }
}

fn day_message(day: &UserDay) -> proto::EventDay {
    proto::EventDay {
        day: Some(timestamp_message(day.day)),
        count: day.count,
        sum: day.sum.map(sum_message),
    }
}

/// A sum of amounts: the number nearest to it.
#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest is what is asked for"
)]
fn sum_message(millionths: i128) -> f64 {
    millionths as f64 / 1e6
}

/// What is declared of events; what else there is in the message is set by the service.
pub(in crate::api) fn event_declaration(
    given: Option<proto::EventDeclaration>,
    default: Span,
    path: &Path<'_>,
) -> Result<(proto::EventDeclaration, EventDeclaration), ApiError> {
    let given = given.ok_or_else(|| ApiError::field(path, "is missing; give a name at least"))?;
    let name = event_name(given.name.as_str(), &path.field("name"))?;
    let retention = match given.retention {
        Some(retention) => retention_of(retention, &path.field("retention"))?,
        None => default,
    };
    Ok((given, EventDeclaration { name, retention }))
}

fn retention_of(message: prost_types::Duration, path: &Path<'_>) -> Result<Span, ApiError> {
    let retention = span(message, path)?;
    if retention > Span::ZERO {
        Ok(retention)
    } else {
        Err(ApiError::field(
            path,
            "expected more than nothing, such as 34560000s for 400 days",
        ))
    }
}

/// The events of a name, which so many users have.
pub(in crate::api) fn event_info_message(info: &EventInfo, users: u64) -> proto::EventDeclaration {
    proto::EventDeclaration {
        name: info.declaration.name.as_str().to_owned(),
        retention: Some(span_message(info.declaration.retention)),
        events: info.events,
        users,
        duplicates: info.duplicates,
        too_old: info.too_old,
        too_far_ahead: info.too_far_ahead,
        kept_from: info.kept_from.map(timestamp_message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventName, Reason};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn purchase() -> proto::Event {
        proto::Event {
            name: "purchase".into(),
            ..Default::default()
        }
    }

    fn converted(message: proto::Event) -> Result<Event, ApiError> {
        let path = Path::Root.field("events");
        let events = events(vec![purchase(), message], at("2026-01-01"), &path)?;
        Ok(events[1].clone())
    }

    #[test]
    fn an_event_arrives_with_all_that_was_said() {
        let event = converted(proto::Event {
            time: Some(timestamp_message(at("2025-12-31T23:59:59.5Z"))),
            amount: Some(11.77),
            event_id: "order-17".into(),
            ..purchase()
        });
        let expected = Event {
            name: EventName::new("purchase").unwrap(),
            time: Some(at("2025-12-31T23:59:59.5Z")),
            received: at("2026-01-01"),
            amount: Some(Amount::exactly(11.77).unwrap()),
            id: Some(EventId::new("order-17").unwrap()),
        };
        assert_eq!(event.unwrap(), expected);
    }

    #[test]
    fn what_is_not_said_of_an_event_is_missing() {
        let event = converted(purchase()).unwrap();
        assert_eq!((event.time, event.amount, event.id), (None, None, None));
        let nothing = proto::Event {
            amount: Some(0.0),
            ..purchase()
        };
        assert_eq!(converted(nothing).unwrap().amount, Some(Amount::ZERO));
    }

    #[test]
    fn amounts_are_rounded_to_the_nearest_millionth() {
        for (given, millionths) in [(0.1, 100_000), (-2.000_000_5, -2_000_001), (1e-9, 0)] {
            let event = proto::Event {
                amount: Some(given),
                ..purchase()
            };
            let amount = converted(event).unwrap().amount.unwrap();
            assert_eq!(amount.millionths(), millionths);
        }
    }

    #[test]
    fn malformed_events_are_refused_with_their_path() {
        let with = |change: fn(&mut proto::Event)| {
            let mut event = purchase();
            change(&mut event);
            let error = converted(event).unwrap_err();
            (error.field.unwrap(), error.reason)
        };
        let malformed = Reason::InvalidField;
        let too_long = Reason::RequestLimitExceeded;
        for (found, field, reason) in [
            (with(|event| event.name.clear()), "name", malformed),
            (with(|event| event.name.push('\n')), "name", malformed),
            (with(|event| event.name = "x".repeat(129)), "name", too_long),
            (
                with(|event| {
                    event.time = Some(prost_types::Timestamp {
                        seconds: i64::MAX,
                        nanos: 0,
                    });
                }),
                "time",
                malformed,
            ),
            (
                with(|event| event.amount = Some(f64::NAN)),
                "amount",
                malformed,
            ),
            (
                with(|event| event.amount = Some(-1.1e12)),
                "amount",
                malformed,
            ),
            (
                with(|event| event.amount = Some(f64::INFINITY)),
                "amount",
                malformed,
            ),
            (
                with(|event| event.event_id = "x".repeat(129)),
                "event_id",
                too_long,
            ),
        ] {
            assert_eq!(found, (format!("events[1].{field}"), reason));
        }
    }

    #[test]
    fn events_are_kept_for_400_days_unless_it_is_said() {
        let path = Path::Root.field("event");
        let declared = |seconds: Option<i64>| {
            let given = proto::EventDeclaration {
                name: "purchase".into(),
                retention: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
                ..Default::default()
            };
            event_declaration(
                Some(given),
                crate::model::StoreLimits::default().event_retention(),
                &path,
            )
            .map(|(_, declared)| declared.retention.to_string())
        };
        assert_eq!(declared(None).unwrap(), "400d");
        assert_eq!(declared(Some(3_600)).unwrap(), "1h");
        for seconds in [0, -1, i64::MAX] {
            let error = declared(Some(seconds)).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("event.retention"));
        }
        assert!(event_declaration(None, Span::LONGEST, &path).is_err());
    }

    #[test]
    fn a_user_is_told_with_sums_only_where_there_are_amounts() {
        let day = UserDay {
            day: at("2025-12-31"),
            count: 2,
            sum: Some(-500_000),
        };
        let events = UserEvents {
            name: EventName::new("purchase").unwrap(),
            count: 3,
            first: at("2025-01-01"),
            last: at("2025-12-31T12:00:00Z"),
            sum: None,
            days: vec![day],
        };
        let message = user_events_message(&events);
        assert_eq!((message.count, message.sum), (3, None));
        assert_eq!(message.last_time.unwrap().seconds, 1_767_182_400);
        assert_eq!(message.last_30_days[0].sum, Some(-0.5));
    }
}
