//! Following the clock: whom it moves is looked up ahead, and moved at the very instant.
//!
//! Invariant: the instant of the mark is moved past nobody; those whom it moves at one instant and who
//! are not moved yet are held apart.

use std::cmp::Reverse;
use std::sync::Arc;

use super::State;
use crate::engine::watch::ring::{ResyncCause, Ring};
use crate::model::{Timestamp, UserId};
use crate::population::Population;
use crate::query::{Due, Place, Sources, TooMany};

/// Users whom the clock moves at most before a command.
const MOVED_BEFORE_A_COMMAND: usize = 64;
/// How far the clock may be set back before all is begun anew, in microseconds.
const SET_BACK: i64 = 60_000_000;
/// How far it is looked ahead, in microseconds.
const AHEAD: i64 = 60_000_000;
/// The farthest that it is looked ahead at once after the clock jumped.
const FARTHEST: i64 = 86_400_000_000;

/// Whom the clock moves has to be looked up.
pub(in crate::engine::watch) struct Scan {
    generation: u64,
    sources: Arc<Sources>,
    from: Timestamp,
    to: Timestamp,
    most: usize,
}

impl Scan {
    pub(in crate::engine::watch) fn run(
        &self,
        population: &Population,
    ) -> Result<Vec<Due>, TooMany> {
        self.sources.scan(population, self.from, self.to, self.most)
    }
}

impl State {
    /// The stretch of time to be looked at next, if it is time to.
    pub(in crate::engine::watch) fn scan(&mut self, now: Timestamp) -> Option<Scan> {
        let reached = now.max(self.mark.time).micros();
        let has_enough = !self.passing.is_empty() || self.due.len() >= self.bounds.due;
        if self.segments.sources().is_empty() || has_enough {
            return None;
        }
        if self.scanned.micros() - reached > AHEAD / 2 {
            return None;
        }
        let to = (reached + AHEAD).min(self.scanned.micros() + FARTHEST);
        self.horizon = Timestamp::from_micros(to).unwrap_or(Timestamp::MAX);
        Some(Scan {
            generation: self.generation,
            sources: Arc::clone(self.segments.sources()),
            from: self.scanned,
            to: self.horizon,
            most: self.bounds.due,
        })
    }

    /// Takes over what was looked up.
    pub(in crate::engine::watch) fn scanned(
        &mut self,
        scan: &Scan,
        found: Result<Vec<Due>, TooMany>,
        ring: &Ring,
    ) {
        if scan.generation != self.generation {
            return;
        }
        if let Ok(found) = found {
            self.due.extend(found.into_iter().map(Reverse));
        } else {
            self.lost.insert(scan.to);
            ring.add(None, self.mark, self.is_settled());
        }
        self.scanned = scan.to;
    }

    /// Moves the instant on, as far as it can be told by now whom that moves, and as far as some users
    /// are moved. Tells whether there are more.
    pub(in crate::engine::watch) fn advance(
        &mut self,
        population: &Population,
        ring: &Ring,
        to: Timestamp,
    ) -> bool {
        self.advance_by(population, ring, to, self.bounds.moved)
    }

    fn advance_by(
        &mut self,
        population: &Population,
        ring: &Ring,
        to: Timestamp,
        most: usize,
    ) -> bool {
        let can_reach = if self.segments.sources().is_empty() {
            self.scanned = self.scanned.max(to);
            self.horizon = self.scanned;
            to
        } else {
            to.min(self.scanned)
        };
        let mut left = most;
        loop {
            if !self.passing.is_empty() {
                if left == 0 {
                    return true;
                }
                left -= self.pass_some(population, ring, left);
                continue;
            }
            let next = self.due.peek().map(|Reverse(due)| due.at);
            let Some(at) = next.filter(|at| *at <= can_reach) else {
                break;
            };
            self.mark.time = self.mark.time.max(at);
            while let Some(Reverse(due)) = self.due.peek().filter(|due| due.0.at == at) {
                self.passing.entry(due.place()).or_default().push(*due);
                self.due.pop();
            }
        }
        if can_reach > self.mark.time {
            self.mark.time = can_reach;
            let behind = self.lost.split_off(&can_reach);
            let is_lost = !self.lost.is_empty() || behind.contains(&can_reach);
            self.lost = behind;
            self.lost.remove(&can_reach);
            if is_lost {
                self.lose_all(ResyncCause::TooManyChanges, ring);
            }
            if self.known_from.is_some_and(|from| from <= can_reach) {
                let before = self.look_for_unknown(population);
                let known: Vec<u32> = before.difference(&self.unknown).copied().collect();
                self.lose(&known, ResyncCause::EventsDropped, ring);
            }
            ring.add(None, self.mark, self.is_settled());
        }
        can_reach < to
    }

    /// Moves the instant on where that takes no time worth mentioning. Users whom the clock moves at
    /// the moment are left to whoever follows it, save those of the command.
    pub(in crate::engine::watch) fn advance_before_a_command(
        &mut self,
        population: &Population,
        ring: &Ring,
        to: Timestamp,
    ) {
        if self.passing.is_empty() {
            let most = MOVED_BEFORE_A_COMMAND.min(self.bounds.moved);
            self.advance_by(population, ring, to, most);
        }
    }

    /// Moves some of those whom the clock moves at the instant of the mark; tells how many.
    fn pass_some(&mut self, population: &Population, ring: &Ring, most: usize) -> usize {
        let mut some = Vec::new();
        let mut users = 0;
        while users < most
            && let Some((_, due)) = self.passing.pop_first()
        {
            some.extend(due);
            users += 1;
        }
        self.pass(population, ring, &some);
        users
    }

    /// Begins anew if the clock was set back by more than a little.
    pub(in crate::engine::watch) fn follow_back(
        &mut self,
        population: &Population,
        ring: &Ring,
        now: Timestamp,
    ) {
        if self.mark.time.micros() - now.micros() > SET_BACK {
            self.passing.clear();
            self.mark.time = now;
            self.rebuild(population, ring);
            self.lose_all(ResyncCause::ClockSetBack, ring);
        }
    }

    fn pass(&mut self, population: &Population, ring: &Ring, due: &[Due]) {
        let Some(at) = due.first().map(|due| due.at) else {
            return;
        };
        let changes = self.segments.pass(population, at, due, self.bounds.kept);
        match changes {
            Ok(changes) => self.tell(changes, ring),
            Err(TooMany) => self.lose_all(ResyncCause::TooManyChanges, ring),
        }
    }

    pub(super) fn finish_passing(&mut self, population: &Population, ring: &Ring) {
        while !self.passing.is_empty() {
            self.pass_some(population, ring, self.bounds.moved);
        }
    }

    /// Moves those users first whom a command is about to change.
    pub(super) fn pass_users(&mut self, population: &Population, ring: &Ring, users: &[&UserId]) {
        if self.passing.is_empty() {
            return;
        }
        let mut places = Place::of_users(population, users);
        places.sort_unstable();
        let due: Vec<Due> = places
            .iter()
            .filter_map(|place| self.passing.remove(place))
            .flatten()
            .collect();
        self.pass(population, ring, &due);
    }
}
