//! Which windows of events are asked for so often that counts of their days are kept.
//!
//! Invariant: no more windows are kept than [`KEPT_WINDOWS`], the ones asked for last, and
//! [`PINNED_WINDOWS`] of saved segments. What is kept is derived from the events: it is in no
//! snapshot, and never the only place where anything is.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::Population;
use crate::index::KeptWindow;

/// Windows of which counts are kept: a byte a user each, and the events of the two days that each
/// cuts through.
const KEPT_WINDOWS: usize = 16;
/// Windows of saved segments of which counts are kept besides.
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
    /// Notes that a window was asked for. Returns what is to be kept from now on, if it is one more.
    fn ask(&mut self, event: u32, window: KeptWindow) -> Option<Anew> {
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
        let is_full = self.kept.len() >= KEPT_WINDOWS;
        let dropped = is_full.then(|| self.kept.remove(0).0);
        self.kept.push(asked);
        Some(Anew {
            of_event: self.of_event(event),
            of_dropped: dropped
                .filter(|dropped| *dropped != event)
                .map(|dropped| (dropped, self.of_event(dropped))),
        })
    }

    /// All windows of an event that are kept.
    fn of_event(&self, event: u32) -> Vec<KeptWindow> {
        let all = self.pinned.iter().chain(&self.kept);
        let of_event = all.filter(|(other, _)| *other == event);
        let mut windows: Vec<KeptWindow> = of_event.map(|(_, window)| *window).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

/// The windows to be kept once there is one more.
struct Anew {
    /// Those of its event.
    of_event: Vec<KeptWindow>,
    /// Another event, of which a window is not kept any more, and its windows.
    of_dropped: Option<(u32, Vec<KeptWindow>)>,
}

impl Population {
    /// Keeps the counts of the windows that saved segments ask for, the first 32 of
    /// them, and of no others on their account. Costs little where they are kept already.
    pub fn pin_windows(&self, windows: &[(u32, KeptWindow)]) {
        let pinned = &windows[..windows.len().min(PINNED_WINDOWS)];
        let of_events: BTreeMap<u32, Vec<KeptWindow>> = {
            let mut known = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut known.pinned, pinned.to_vec());
            let events = before.iter().chain(pinned).map(|(event, _)| *event);
            events.map(|event| (event, known.of_event(event))).collect()
        };
        for cell in self.shards.load().iter() {
            for (event, windows) in &of_events {
                if cell.read().shard.keeps_only(*event, windows) {
                    continue;
                }
                cell.derive(|state| state.shard.keep_only(*event, windows));
                // One at a time, so that nobody waits for all of them.
                for window in windows {
                    cell.derive(|state| state.shard.keep_window(*event, *window, windows));
                }
            }
        }
    }

    /// Notes that a window of events was asked for. If that was so before, counts of its days are
    /// kept from now on, which takes about as long as the question did.
    pub fn asked_for_window(&self, event: u32, window: KeptWindow) {
        let anew = {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows.ask(event, window)
        };
        let Some(anew) = anew else { return };
        for cell in self.shards.load().iter() {
            cell.derive(|state| {
                state.shard.keep_window(event, window, &anew.of_event);
                if let Some((dropped, windows)) = &anew.of_dropped {
                    state.shard.keep_only(*dropped, windows);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::Block;
    use crate::index::{Counted, SHARD_USERS, Tally, WindowKind, day_start};
    use crate::model::{
        Action, Event, EventName, NonEmpty, Revision, StoreLimits, Timestamp, UserId, UserUpdate,
    };

    const TODAY: i32 = 20_500;

    fn happened(user: u32, name: &str, day: i32) -> UserUpdate {
        UserUpdate {
            user: UserId::new(format!("user-{user}")).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: vec![Event {
                name: EventName::new(name).unwrap(),
                time: Some(Timestamp::from_micros(day_start(day)).unwrap()),
                received: Timestamp::from_micros(day_start(TODAY)).unwrap(),
                amount: None,
                id: None,
            }],
        }
    }

    fn apply(population: &Population, updates: Vec<UserUpdate>) {
        let write = Action::Write(NonEmpty::new(updates).unwrap());
        population.apply(Revision::new(1), &write).unwrap();
    }

    /// A window that ends today.
    fn days(count: i32) -> KeptWindow {
        KeptWindow {
            kind: WindowKind::Events,
            from_day: TODAY - count,
            to_day: TODAY,
        }
    }

    /// How many users have events in a window, and how many windows are kept.
    fn users_within(population: &Population, event: u32, window: KeptWindow) -> u32 {
        let (mut tally, mut block) = (Tally::default(), Block::default());
        let within = (day_start(window.from_day), day_start(window.to_day));
        let in_shard = (0..population.shard_count()).map(|number| {
            population.with_shard(number, |reader| {
                let Some(index) = reader.shard().events(event) else {
                    return 0;
                };
                assert_eq!(index.unsound_windows(), 0);
                tally.fill_counts(index, Counted::Events, within, (1, u64::MAX), &mut block);
                block.count()
            })
        });
        in_shard.map(Option::unwrap).sum()
    }

    fn kept(population: &Population) -> usize {
        let memory = population.memory();
        let windows = memory.iter().find(|(part, _)| *part == "windows");
        windows.unwrap().1 / SHARD_USERS as usize
    }

    #[test]
    fn no_more_windows_are_kept_than_16_of_all_events() {
        let population = Population::new(StoreLimits::default());
        apply(
            &population,
            vec![happened(1, "a", TODAY - 2), happened(2, "b", TODAY - 2)],
        );
        for (asked, event) in [0, 1].into_iter().enumerate() {
            for count in 3..20 {
                let before = kept(&population);
                population.asked_for_window(event, days(count));
                assert_eq!(kept(&population), before, "asked for once");
                population.asked_for_window(event, days(count));
                let all = asked * 17 + usize::try_from(count - 2).unwrap();
                assert_eq!(kept(&population), all.min(KEPT_WINDOWS));
            }
        }
        // Those that are not kept any more are answered as before, and so are those that are.
        apply(
            &population,
            vec![happened(3, "a", TODAY - 3), happened(3, "b", TODAY - 3)],
        );
        for event in [0, 1] {
            for count in 3..20 {
                assert_eq!(users_within(&population, event, days(count)), 2);
            }
        }
    }

    #[test]
    fn the_window_asked_for_last_stays() {
        let population = Population::new(StoreLimits::default());
        apply(&population, vec![happened(1, "a", TODAY - 2)]);
        let ask_twice = |count| {
            population.asked_for_window(0, days(count));
            population.asked_for_window(0, days(count));
        };
        (3..19).for_each(ask_twice);
        // The oldest is asked for again, so that the next one takes the place of the second oldest.
        population.asked_for_window(0, days(3));
        ask_twice(19);
        let windows = population.windows.lock().unwrap();
        assert!(windows.kept.contains(&(0, days(3))) && !windows.kept.contains(&(0, days(4))));
        assert_eq!(windows.kept.len(), KEPT_WINDOWS);
    }

    #[test]
    fn a_shard_that_appears_later_is_counted_too() {
        let population = Population::new(StoreLimits::default());
        apply(&population, vec![happened(0, "a", TODAY - 2)]);
        population.asked_for_window(0, days(7));
        population.asked_for_window(0, days(7));
        assert_eq!(
            (kept(&population), users_within(&population, 0, days(7))),
            (1, 1)
        );
        let users = SHARD_USERS + 10;
        let others =
            (1..users).map(|user| happened(user, "a", TODAY - 1 - (user % 10).cast_signed()));
        apply(&population, others.collect());
        assert_eq!(population.shard_count(), 2);
        let within = (1..users).filter(|user| user % 10 < 7).count();
        assert_eq!(users_within(&population, 0, days(7)) as usize, 1 + within);
        // Asked for once more, or another one beside it: nothing changes.
        population.asked_for_window(0, days(7));
        population.asked_for_window(0, days(5));
        population.asked_for_window(0, days(5));
        assert_eq!(users_within(&population, 0, days(7)) as usize, 1 + within);
    }
}
