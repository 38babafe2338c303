//! How much may wait to be carried out.
//!
//! Invariant: single writes and batches of streams never take each other's room. A single write that
//! finds none is refused; a batch waits for some in its turn, so that who sends a stream is slowed
//! down. What is alone in its room is taken, however large it is.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many single writes may wait.
const SINGLE_WRITES: usize = 4_096;
/// How many bytes of them.
const SINGLE_BYTES: u32 = 32 << 20;
/// How many batches of all streams together may wait.
const BATCHES: usize = 2_048;
/// How many bytes of them. So much is two syncs' worth: more would make nothing faster, and single
/// writes wait behind it.
const BATCH_BYTES: u32 = 8 << 20;

/// How many commands may wait in all, beside what else the commit thread is asked.
pub(super) const COMMANDS: usize = SINGLE_WRITES + BATCHES;

/// The room for what waits.
#[derive(Debug)]
pub(super) struct Rooms {
    single: Room,
    streams: Room,
}

#[derive(Debug)]
struct Room {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most_bytes: u32,
}

/// What a command takes of a room, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            single: Room::new(SINGLE_WRITES, SINGLE_BYTES),
            streams: Room::new(BATCHES, BATCH_BYTES),
        }
    }
}

impl Rooms {
    /// Takes room for a single write, if there is some.
    pub(super) fn single(&self, bytes: usize) -> Option<Taken> {
        let room = &self.single;
        let place = Arc::clone(&room.places).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&room.bytes).try_acquire_many_owned(room.share(bytes));
        Some(Taken {
            _place: place,
            _bytes: bytes.ok()?,
        })
    }

    /// Waits for room for a batch of a stream. `None` is never returned while the rooms exist.
    pub(super) async fn batch(&self, bytes: usize) -> Option<Taken> {
        let room = &self.streams;
        let place = Arc::clone(&room.places).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&room.bytes).acquire_many_owned(room.share(bytes));
        Some(Taken {
            _place: place,
            _bytes: bytes.await.ok()?,
        })
    }
}

impl Room {
    fn new(places: usize, bytes: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            bytes: Arc::new(Semaphore::new(bytes as usize)),
            most_bytes: bytes,
        }
    }

    /// What is larger than the room takes all of it.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).map_or(self.most_bytes, |bytes| bytes.min(self.most_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn batches_wait_in_turn_and_take_nothing_of_single_writes() {
        let rooms = Rooms::default();
        let first = rooms.batch(BATCH_BYTES as usize).await.unwrap();
        assert!(timeout(MOMENT, rooms.batch(1)).await.is_err());
        assert!(rooms.single(SINGLE_BYTES as usize).is_some());
        drop(first);
        assert!(timeout(MOMENT, rooms.batch(1)).await.is_ok());
    }

    #[tokio::test]
    async fn single_writes_are_refused_and_take_nothing_of_streams() {
        let rooms = Rooms::default();
        let large = rooms.single(SINGLE_BYTES as usize - 1).unwrap();
        assert!(rooms.single(2).is_none());
        let small = rooms.single(1).unwrap();
        assert!(
            timeout(MOMENT, rooms.batch(BATCH_BYTES as usize))
                .await
                .is_ok()
        );
        drop((large, small));
        let all: Vec<Taken> = (0..SINGLE_WRITES)
            .map(|_| rooms.single(1).unwrap())
            .collect();
        assert!(rooms.single(1).is_none());
        drop(all);
        // Alone.
        assert!(rooms.single(usize::MAX).is_some());
    }
}
