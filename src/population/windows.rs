//! Which windows of events are asked for so often that counts of their days are kept.
//!
//! Invariant: no more windows are kept than [`KEPT_WINDOWS`], the ones asked for last. What is kept
//! is derived from the events: it is in no snapshot, and never the only place where anything is.

use std::sync::PoisonError;

use super::Population;
use crate::index::KeptWindow;

/// Windows of which counts are kept: a byte a user each.
const KEPT_WINDOWS: usize = 16;
/// Windows of saved segments of which counts are kept besides: a byte a user each.
const PINNED_WINDOWS: usize = 32;
/// Windows of which it is remembered that they were asked for once.
const ASKED_ONCE: usize = 64;

/// The windows that are asked for, the last one last.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Those of saved segments.
    pinned: Vec<(u32, KeptWindow)>,
    kept: Vec<(u32, KeptWindow)>,
    asked: Vec<(u32, KeptWindow)>,
}

impl Windows {
    /// Notes that a window was asked for. Returns the windows of the event to be kept if it is one
    /// of them from now on.
    fn ask(&mut self, event: u32, window: KeptWindow) -> Option<Vec<KeptWindow>> {
        let asked = (event, window);
        if self.pinned.contains(&asked) {
            return None;
        }
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
        Some(self.of_event(event))
    }

    /// All windows of an event that are kept.
    fn of_event(&self, event: u32) -> Vec<KeptWindow> {
        let all = self.pinned.iter().chain(&self.kept);
        let of_event = all.filter(|(other, _)| *other == event);
        of_event.map(|(_, window)| *window).collect()
    }
}

impl Population {
    /// Keeps the counts of the windows that saved segments ask for, the first [`PINNED_WINDOWS`] of
    /// them, and of no others on their account.
    pub fn pin_windows(&self, windows: &[(u32, KeptWindow)]) {
        let pinned = &windows[..windows.len().min(PINNED_WINDOWS)];
        let new: Vec<(u32, KeptWindow, Vec<KeptWindow>)> = {
            let mut known = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            if known.pinned == pinned {
                return;
            }
            let before = std::mem::replace(&mut known.pinned, pinned.to_vec());
            let is_new = |window: &&(u32, KeptWindow)| {
                !before.contains(window) && !known.kept.contains(window)
            };
            let new = pinned.iter().filter(is_new);
            new.map(|(event, window)| (*event, *window, known.of_event(*event)))
                .collect()
        };
        for (event, window, windows) in new {
            self.keep_window(event, window, &windows);
        }
    }

    fn keep_window(&self, event: u32, window: KeptWindow, windows: &[KeptWindow]) {
        for cell in self.shards.load().iter() {
            cell.derive(|state| state.shard.keep_window(event, window, windows));
        }
    }

    /// Notes that a window of events was asked for. If that was so before, counts of its days are
    /// kept from now on, which takes about as long as the question did.
    pub fn asked_for_window(&self, event: u32, window: KeptWindow) {
        let windows = {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows.ask(event, window)
        };
        let Some(windows) = windows else { return };
        self.keep_window(event, window, &windows);
    }
}
