//! Users who are moved into and out of a segment that is watched: how long after the acknowledged write each
//! watcher is told, and whether each is told everything.
//!
//! Invariant: each user is moved by one sender alone, one move after the other, so that the n-th change that
//! a watcher is told of a user is that of the n-th move.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Streaming;

use super::people::{self, WATCHED};
use super::tally::Times;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::proto::{
    MembershipChange, WatchSegmentsRequest, WatchSegmentsResponse, watch_segments_response::Part,
};

/// Users who are moved at most, if no more calls than that are in flight.
pub(super) const MOVED: u64 = 10_000;
/// How long the first watermark may take.
const FIRST: Duration = Duration::from_secs(10);
/// How long after the last move all must be told.
pub(super) const LAST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// A move of a user: the user, and how many moves there were before.
type Move = (u64, u32);

/// Whom one sender moves, in turn.
#[derive(Debug)]
pub(super) struct Mover {
    users: Vec<Move>,
    at: usize,
}

impl Mover {
    /// The one of this number among so many senders, who share the first users.
    pub(super) fn new(sender: u64, senders: u64, users: u64) -> Self {
        let step = usize::try_from(senders.max(1)).unwrap_or(usize::MAX);
        Self {
            users: (sender..users)
                .step_by(step)
                .map(|user| (user, 0))
                .collect(),
            at: 0,
        }
    }

    /// The next user to move, and whether the user enters; nothing if none is left.
    pub(super) fn next(&self) -> Option<(Move, bool)> {
        let moved = *self.users.get(self.at)?;
        Some((moved, moved.1.is_multiple_of(2)))
    }

    /// The move was acknowledged.
    pub(super) fn moved(&mut self) {
        self.users[self.at].1 += 1;
        self.at = (self.at + 1) % self.users.len();
    }

    /// It can't be told where the user is now: nobody moves this user any more.
    pub(super) fn unsure(&mut self) {
        self.users.remove(self.at);
        if self.at >= self.users.len() {
            self.at = 0;
        }
    }
}

/// What a watcher and those who send have not told each other yet.
#[derive(Debug, Default)]
struct Open {
    /// Acknowledged when, and whether it counts; not told yet.
    acknowledged: HashMap<Move, (Instant, bool), RandomState>,
    /// Told when; not acknowledged yet.
    told: HashMap<Move, Instant, RandomState>,
    times: Times,
    told_first: u64,
    out_of_turn: u64,
    resyncs: u64,
    broken: Option<String>,
}

impl Open {
    fn settle(&mut self, acknowledged: Instant, told: Instant, counts: bool) {
        if !counts {
            return;
        }
        if told < acknowledged {
            self.told_first += 1;
        }
        self.times
            .record(told.saturating_duration_since(acknowledged));
    }

    fn acknowledge(&mut self, moved: Move, at: Instant, counts: bool) {
        match self.told.remove(&moved) {
            Some(told) => self.settle(at, told, counts),
            None => {
                self.acknowledged.insert(moved, (at, counts));
            }
        }
    }

    fn tell(&mut self, moved: Move, at: Instant) {
        match self.acknowledged.remove(&moved) {
            Some((acknowledged, counts)) => self.settle(acknowledged, at, counts),
            None => {
                self.told.insert(moved, at);
            }
        }
    }
}

/// All who watch.
#[derive(Debug)]
pub(super) struct Watchers {
    open: Vec<Mutex<Open>>,
    users: u64,
}

/// What all watchers together were told.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) watchers: usize,
    /// From the acknowledgement to the change.
    pub(super) times: Times,
    /// Of these, the changes that came before the acknowledgement did: told within no time.
    pub(super) told_first: u64,
    /// Acknowledged moves that a watcher was not told.
    pub(super) lost: u64,
    /// Changes that are not those that should have come next of a user.
    pub(super) out_of_turn: u64,
    pub(super) resyncs: u64,
    /// Why streams ended.
    pub(super) broken: Vec<String>,
}

impl Watched {
    /// Whether every watcher was told everything, in order.
    pub(super) fn is_whole(&self) -> bool {
        self.lost == 0 && self.out_of_turn == 0 && self.resyncs == 0 && self.broken.is_empty()
    }
}

fn lock(open: &Mutex<Open>) -> std::sync::MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchers {
    pub(super) fn new(watchers: usize, users: u64) -> Self {
        Self {
            open: (0..watchers).map(|_| Mutex::default()).collect(),
            users,
        }
    }

    pub(super) fn acknowledge(&self, moved: Move, at: Instant, counts: bool) {
        for open in &self.open {
            lock(open).acknowledge(moved, at, counts);
        }
    }

    /// Reads what one watcher is told until the stream ends.
    async fn listen(&self, watcher: usize, mut messages: Streaming<WatchSegmentsResponse>) {
        let mut moves: HashMap<u64, u32, RandomState> = HashMap::default();
        let broken = loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => break "the service ended the stream".to_owned(),
                Err(status) => break CliError::from(status).to_string(),
            };
            let now = Instant::now();
            match message.part {
                Some(Part::Changes(changes)) => {
                    let mut open = lock(&self.open[watcher]);
                    for change in &changes.changes {
                        self.told(&mut open, &mut moves, change, now);
                    }
                }
                Some(Part::Resync(_)) => lock(&self.open[watcher]).resyncs += 1,
                Some(Part::Members(_) | Part::Watermark(_)) | None => {}
            }
        };
        lock(&self.open[watcher]).broken = Some(broken);
    }

    fn told(
        &self,
        open: &mut Open,
        moves: &mut HashMap<u64, u32, RandomState>,
        change: &MembershipChange,
        now: Instant,
    ) {
        let user = people::number(&change.user_id).filter(|user| *user < self.users);
        let Some(user) = user else {
            open.out_of_turn += 1;
            return;
        };
        let before = moves.entry(user).or_default();
        if change.entered != before.is_multiple_of(2) {
            open.out_of_turn += 1;
            return;
        }
        open.tell((user, *before), now);
        *before += 1;
    }

    /// Waits until all was told, or for no longer than it may take; returns what was.
    pub(super) async fn ended(&self, patience: Duration) -> Watched {
        let is_settled = |open: &Mutex<Open>| {
            let open = lock(open);
            open.acknowledged.is_empty() || open.broken.is_some()
        };
        let begin = Instant::now();
        while begin.elapsed() < patience && !self.open.iter().all(is_settled) {
            tokio::time::sleep(LOOK).await;
        }
        let mut watched = Watched {
            watchers: self.open.len(),
            ..Watched::default()
        };
        for open in &self.open {
            let open = lock(open);
            watched.times.add(&open.times);
            watched.told_first += open.told_first;
            watched.lost += open.acknowledged.len() as u64;
            watched.out_of_turn += open.out_of_turn;
            watched.resyncs += open.resyncs;
            watched.broken.extend(open.broken.clone());
        }
        watched
    }
}

/// Streams that watch, each from its first watermark on, so that nothing is missed that comes after this.
pub(super) async fn watch(
    clients: &[Client],
    watchers: &std::sync::Arc<Watchers>,
) -> Result<Vec<JoinHandle<()>>, CliError> {
    let mut listening = Vec::new();
    for (watcher, client) in (0..watchers.open.len()).zip(clients.iter().cycle()) {
        let request = WatchSegmentsRequest {
            population: client.population.clone(),
            segments: vec![WATCHED.into()],
            ..WatchSegmentsRequest::default()
        };
        let messages = client
            .segments()
            .watch_segments(request)
            .await?
            .into_inner();
        let messages = timeout(FIRST, begun(messages)).await.map_err(|_| {
            CliError::Other("a stream that watches had no watermark within 10 s".into())
        })??;
        let watchers = std::sync::Arc::clone(watchers);
        listening.push(tokio::spawn(async move {
            watchers.listen(watcher, messages).await;
        }));
    }
    Ok(listening)
}

async fn begun(
    mut messages: Streaming<WatchSegmentsResponse>,
) -> Result<Streaming<WatchSegmentsResponse>, CliError> {
    while let Some(message) = messages.message().await? {
        if matches!(message.part, Some(Part::Watermark(_))) {
            return Ok(messages);
        }
    }
    Err(CliError::Broken {
        cause: "it ended a stream that watches".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_one_mover() {
        let mut users = Vec::new();
        for sender in 0..3 {
            let mut mover = Mover::new(sender, 3, 10);
            for _ in 0..mover.users.len() {
                let ((user, before), enters) = mover.next().unwrap();
                assert!(before == 0 && enters);
                users.push(user);
                mover.moved();
            }
            let ((user, before), enters) = mover.next().unwrap();
            assert_eq!((user, before, enters), (sender, 1, false), "once around");
        }
        users.sort_unstable();
        assert_eq!(users, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn who_may_have_been_moved_is_left_alone() {
        let mut mover = Mover::new(0, 1, 2);
        mover.moved();
        mover.unsure();
        assert_eq!(mover.next(), Some(((0, 1), false)));
        mover.unsure();
        assert_eq!(mover.next(), None);
    }

    fn change(user: u64, entered: bool) -> MembershipChange {
        MembershipChange {
            user_id: people::id(user),
            entered,
            ..MembershipChange::default()
        }
    }

    #[tokio::test]
    async fn what_is_acknowledged_and_not_told_is_lost() {
        let watchers = Watchers::new(1, 10);
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut moves = HashMap::default();
        let mut tell = |user, entered, millis| {
            let mut open = lock(&watchers.open[0]);
            watchers.told(&mut open, &mut moves, &change(user, entered), after(millis));
        };
        watchers.acknowledge((1, 0), after(10), true);
        tell(1, true, 30);
        // Told before the acknowledgement came.
        tell(2, true, 40);
        watchers.acknowledge((2, 0), after(50), true);
        // Once more, and of one whom nobody moves.
        tell(2, true, 60);
        tell(77, true, 60);
        // In the warm-up.
        watchers.acknowledge((1, 1), after(70), false);
        tell(1, false, 80);
        watchers.acknowledge((3, 0), after(90), true);
        let watched = watchers.ended(Duration::ZERO).await;
        assert_eq!(
            (watched.lost, watched.out_of_turn, watched.told_first),
            (1, 2, 1)
        );
        assert!(!watched.is_whole());
        let times = watched.times.histogram();
        assert_eq!((times.len(), times.min()), (2, 0));
        assert!(times.max().abs_diff(20_000) < 20);
    }
}
