//! Commands that are sent again, at random and across restarts, against the naive twin.

use std::collections::BTreeMap;
use std::sync::Arc;

use headcount::engine::record::content;
use headcount::model::{Action, Once, RequestId, Revision, StoreLimits, StreamId};
use headcount::population::{Changes, Judged, Population, Refusal};
use headcount::testing::naive_once::{Fate, NaiveOnce};
use proptest::prelude::*;

use crate::generate::{cases, declarations, history, users};
use crate::{events, same_outcome};

/// How a command is sent.
#[derive(Clone, Debug)]
enum Sent {
    /// With no name.
    Plain,
    /// With one of a few ids.
    Request(u8),
    /// In one of a few streams, so far above the last sequence that the sender knows of.
    Batch { stream: u8, above: u64 },
    /// In one of a few streams, with numbers out of order.
    Stray {
        stream: u8,
        previous: u64,
        sequence: u64,
    },
    /// As an earlier command was.
    Again(usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        1 => Just(Sent::Plain),
        4 => (0..12_u8).prop_map(Sent::Request),
        4 => (0..4_u8, 1..3_u64).prop_map(|(stream, above)| Sent::Batch { stream, above }),
        1 => (0..4_u8, 0..9_u64, 1..9_u64).prop_map(|(stream, previous, sequence)| Sent::Stray {
            stream,
            previous,
            sequence,
        }),
        10 => (0..12_usize).prop_map(Sent::Again),
    ]
}

fn stream(number: u8) -> StreamId {
    StreamId::new(format!("s{number}")).unwrap()
}

fn restarted(population: &Arc<Population>, limits: StoreLimits, revision: Revision) -> Population {
    let capture = population.begin_capture();
    let parts: BTreeMap<String, Vec<u8>> = capture
        .parts()
        .map(|part| (part.name(), part.take(None).unwrap()))
        .collect();
    Population::restore(limits, revision, |name| parts.get(name).cloned()).unwrap()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_is_sent_again_takes_effect_once(
        sent in prop::collection::vec(sent(), 80),
        sending in history(1..80),
        restart_at in prop::collection::btree_set(0..80_usize, 0..4),
        most_requests in 1..9_usize,
        most_streams in 1..4_usize,
    ) {
        let limits = StoreLimits {
            request_ids: most_requests as u64,
            streams: most_streams as u64,
            ..StoreLimits::default()
        };
        let mut ours = Arc::new(Population::new(limits));
        let mut twin = NaiveOnce::new(most_requests, most_streams);
        for action in declarations() {
            ours.apply(Revision::new(1), &action).unwrap();
            twin.population.apply(&action).unwrap();
        }
        let revision = |position: usize| Revision::new(position as u64 + 2);
        let mut history: Vec<(Option<Once>, Action)> = Vec::new();
        let mut answers: Vec<Judged> = Vec::new();
        for (position, (sent, action)) in sent.into_iter().zip(sending.actions).enumerate() {
            let command = match sent {
                Sent::Plain => (None, action),
                Sent::Request(id) => {
                    let id = RequestId::new(format!("r{id}")).unwrap();
                    let content = content(&action);
                    (Some(Once::Request { id, content }), action)
                }
                Sent::Batch { stream: number, above } => {
                    let stream = stream(number);
                    let previous = twin.last(&stream);
                    let sequence = previous + above;
                    (Some(Once::Batch { stream, previous, sequence }), action)
                }
                Sent::Stray { stream: number, previous, sequence } => {
                    let stream = stream(number);
                    (Some(Once::Batch { stream, previous, sequence }), action)
                }
                Sent::Again(back) => match position.checked_sub(back + 1) {
                    Some(earlier) => history[earlier].clone(),
                    None => (None, action),
                },
            };
            let (once, action) = &command;
            let judged = ours.apply_once(revision(position), once.as_ref(), action);
            let expected = match twin.apply(position, once.as_ref(), action) {
                Fate::First(outcome) => {
                    same_outcome(&judged.outcome, &outcome);
                    // What it did shows below, in the users.
                    Judged::first(revision(position), judged.outcome.clone())
                }
                Fate::AsFor(first) => Judged { replayed: true, ..answers[first].clone() },
                Fate::AcceptedBy(last) => Judged {
                    revision: revision(last),
                    outcome: Ok(Changes::default()),
                    replayed: true,
                },
                Fate::Reused => Judged::first(revision(position), Err(Refusal::RequestIdReused)),
                Fate::Conflict(last) => {
                    let previous = match once {
                        Some(Once::Batch { previous, .. }) => *previous,
                        Some(Once::Request { .. }) | None => unreachable!("no batch"),
                    };
                    let refusal = Refusal::SequenceConflict { previous, last };
                    Judged::first(revision(position), Err(refusal))
                }
            };
            prop_assert_eq!(&judged, &expected);
            answers.push(judged);
            history.push(command);
            if restart_at.contains(&position) {
                ours = Arc::new(restarted(&ours, limits, revision(position)));
            }
            for number in 0..4 {
                let stream = stream(number);
                let last = ours.last_of_stream(&stream).map_or(0, |(last, _)| last);
                prop_assert_eq!(last, twin.last(&stream));
            }
        }
        for user in users() {
            let found = ours.user(&user);
            prop_assert_eq!(found.as_ref(), twin.population.user(&user));
        }
        events::same_events(&ours, &twin.population, sending.end);
    }
}
