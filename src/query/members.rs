//! The users whom an expression selects, in the order of their ordinals, from any position on.

use super::bind::Bound;
use super::evaluate::Evaluator;
use super::plan::plan;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::SHARD_USERS;
use crate::model::UserId;
use crate::population::Population;

/// Where to go on. Good for as long as the population lives, whatever is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u32);

impl Position {
    /// The position as a number, to be kept in a page token.
    #[must_use]
    pub fn to_number(self) -> u32 {
        self.0
    }

    /// The position of a number from [`Position::to_number`]. Any number is a position.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Some users.
#[derive(Debug, PartialEq, Eq)]
pub struct MembersPage {
    /// The users.
    pub users: Vec<UserId>,
    /// Where the next user may be; `None` if there is none.
    pub next: Option<Position>,
}

/// Lists at most `limit` of the users whom an expression selects, from a position on. Looks at no
/// more shards than it needs.
///
/// # Errors
/// [`Stopped`] if `stop` said so before the page was complete.
pub fn members(
    population: &Population,
    bound: &Bound,
    from: Option<Position>,
    limit: usize,
    stop: &Stop,
) -> Result<MembersPage, Stopped> {
    let from = from.map_or(0, Position::to_number);
    bound.answer(population, |root| {
        let plan = plan(population, root);
        let mut evaluator = Evaluator::default();
        let mut selected = Block::new();
        let mut users = Vec::new();
        for number in from / SHARD_USERS..population.shard_count() {
            stop.check()?;
            let next = population.with_shard(number, |reader| {
                evaluator.fill(&plan, reader, &mut selected);
                let first = number * SHARD_USERS;
                let mut selected = selected
                    .ones()
                    .skip_while(|user| first + u32::from(*user) < from);
                let room = limit - users.len();
                let listed: Vec<u16> = selected.by_ref().take(room).collect();
                users.extend(reader.user_ids(&listed));
                let next = selected.next();
                next.map(|user| Position(first + u32::from(user)))
            });
            if let Some(next) = next.flatten() {
                return Ok(MembersPage {
                    users,
                    next: Some(next),
                });
            }
        }
        Ok(MembersPage { users, next: None })
    })
}
