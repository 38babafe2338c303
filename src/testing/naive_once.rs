//! The naive twin of what a population remembers, to carry out once what is sent again: lists that
//! are searched from end to end.
//!
//! It shares no code with what it checks, save the words.

use super::naive::{NaiveChanges, NaivePopulation, Refused};
use crate::model::{Action, Once, RequestId, StreamId};

/// A population as a map of users, with the commands that it remembers.
#[derive(Clone, Debug)]
pub struct NaiveOnce {
    /// The users.
    pub population: NaivePopulation,
    /// Requests, and batches that were refused: the newest, the oldest of them first.
    requests: Vec<(Name, Action, usize)>,
    /// Streams with their last sequence and the command that had it: those used last, the least
    /// recently used first.
    streams: Vec<(StreamId, u64, usize)>,
    most_requests: usize,
    most_streams: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Name {
    Request(RequestId),
    Batch(StreamId, u64),
    /// A batch of a stream that is not remembered.
    Forgotten,
}

/// What became of a command. Commands are known by their position in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out now, or refused; with what it did.
    First(Result<NaiveChanges, Refused>),
    /// The answer is that to an earlier command.
    AsFor(usize),
    /// It is a batch that was accepted before, and at the latest by this command.
    AcceptedBy(usize),
    /// Its id is that of another command.
    Reused,
    /// It does not follow the last batch of its stream.
    Conflict(u64),
}

impl NaiveOnce {
    /// An empty population that remembers so many.
    #[must_use]
    pub fn new(most_requests: usize, most_streams: usize) -> Self {
        Self {
            population: NaivePopulation::default(),
            requests: Vec::new(),
            streams: Vec::new(),
            most_requests,
            most_streams,
        }
    }

    /// The last sequence of a stream, 0 if none is remembered.
    #[must_use]
    pub fn last(&self, stream: &StreamId) -> u64 {
        let found = self.streams.iter().find(|(known, ..)| known == stream);
        found.map_or(0, |(_, last, _)| *last)
    }

    /// Carries out a command, unless it was before.
    pub fn apply(&mut self, position: usize, once: Option<&Once>, action: &Action) -> Fate {
        match once {
            None => Fate::First(self.population.apply(action)),
            Some(Once::Request { id, .. }) => {
                let name = Name::Request(id.clone());
                match self.find(&name) {
                    Some((known, first)) if known == action => Fate::AsFor(*first),
                    Some(_) => Fate::Reused,
                    None => {
                        let outcome = self.population.apply(action);
                        self.remember(name, action, position);
                        Fate::First(outcome)
                    }
                }
            }
            Some(Once::Batch {
                stream,
                previous,
                sequence,
            }) => {
                let name = Name::Batch(stream.clone(), *sequence);
                let place = self.streams.iter().position(|(known, ..)| known == stream);
                let last = self.last(stream);
                if *sequence <= last {
                    let by = place.map_or(0, |place| self.streams[place].2);
                    let refused = self.find(&name);
                    return refused.map_or(Fate::AcceptedBy(by), |(_, first)| Fate::AsFor(*first));
                }
                if *previous != last {
                    return Fate::Conflict(last);
                }
                let outcome = self.population.apply(action);
                if outcome.is_err() {
                    self.remember(name, action, position);
                }
                if let Some(place) = place {
                    self.streams.remove(place);
                }
                self.streams.push((stream.clone(), *sequence, position));
                if self.streams.len() > self.most_streams {
                    let (forgotten, ..) = self.streams.remove(0);
                    // They keep their place, but nobody asks for them any more.
                    for (name, ..) in &mut self.requests {
                        if matches!(name, Name::Batch(of, _) if *of == forgotten) {
                            *name = Name::Forgotten;
                        }
                    }
                }
                Fate::First(outcome)
            }
        }
    }

    fn find(&self, name: &Name) -> Option<(&Action, &usize)> {
        let found = self.requests.iter().find(|(known, ..)| known == name);
        found.map(|(_, action, first)| (action, first))
    }

    fn remember(&mut self, name: Name, action: &Action, position: usize) {
        self.requests.push((name, action.clone(), position));
        if self.requests.len() > self.most_requests {
            self.requests.remove(0);
        }
    }
}
