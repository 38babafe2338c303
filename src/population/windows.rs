//! Which windows of events are asked for so often that counts of their days are kept.
//!
//! Invariant: no more windows are kept than [`KEPT_WINDOWS`], the ones asked for last. What is kept
//! is derived from the events: it is in no snapshot, and never the only place where anything is.

use std::sync::PoisonError;

use super::Population;
use crate::index::KeptWindow;

/// Windows of which counts are kept: a byte a user each.
const KEPT_WINDOWS: usize = 16;
/// Windows of which it is remembered that they were asked for once.
const ASKED_ONCE: usize = 64;

/// The windows that are asked for, the last one last.
#[derive(Debug, Default)]
pub(super) struct Windows {
    kept: Vec<(u32, KeptWindow)>,
    asked: Vec<(u32, KeptWindow)>,
}

impl Windows {
    /// Notes that a window was asked for. Returns the windows of the event to be kept if it is one
    /// of them from now on.
    fn ask(&mut self, event: u32, window: KeptWindow) -> Option<Vec<KeptWindow>> {
        let asked = (event, window);
        if let Some(place) = self.kept.iter().position(|kept| *kept == asked) {
            self.kept.remove(place);
            self.kept.push(asked);
            return None;
        }
        let Some(place) = self.asked.iter().position(|other| *other == asked) else {
            if self.asked.len() >= ASKED_ONCE {
                self.asked.remove(0);
            }
            self.asked.push(asked);
            return None;
        };
        self.asked.remove(place);
        if self.kept.len() >= KEPT_WINDOWS {
            self.kept.remove(0);
        }
        self.kept.push(asked);
        let of_event = self.kept.iter().filter(|(other, _)| *other == event);
        Some(of_event.map(|(_, window)| *window).collect())
    }
}

impl Population {
    /// Notes that a window of events was asked for. If that was so before, counts of its days are
    /// kept from now on, which takes about as long as the question did.
    pub fn asked_for_window(&self, event: u32, window: KeptWindow) {
        let windows = {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows.ask(event, window)
        };
        let Some(windows) = windows else { return };
        for cell in self.shards.load().iter() {
            cell.derive(|state| state.shard.keep_window(event, window, &windows));
        }
    }
}
