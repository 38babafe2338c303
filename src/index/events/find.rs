//! Single events of one user.

use super::{EventIndex, day_start};

impl EventIndex {
    /// The time of one of the events of a user from an instant on: that before which there are
    /// `skipped` others. `None` if there are not so many.
    #[must_use]
    pub fn nth_from(&self, user: u16, from: i64, skipped: u64) -> Option<i64> {
        let mut left = skipped;
        for (day, number, part) in self.parts(from, i64::MAX) {
            let count = u64::from(day.count_of(user, part));
            if count <= left {
                left -= count;
                continue;
            }
            let mut found = None;
            day.events_of(user, part, |time, _| {
                if left == 0 {
                    found = found.or(Some(day_start(number) + time));
                } else {
                    left -= 1;
                }
            });
            return found;
        }
        None
    }

    /// The time of the last event of a user from `from` on and before `to`.
    #[must_use]
    pub fn last_of(&self, user: u16, from: i64, to: i64) -> Option<i64> {
        let days = self.days_between(from, to).iter().rev();
        let times = days.filter_map(|(number, day)| {
            let start = day_start(*number);
            let part = day.part(from.saturating_sub(start), to.saturating_sub(start))?;
            let mut last = None;
            day.events_of(user, part, |time, _| last = Some(start + time));
            last
        });
        times.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DAY, StoredEvent};
    use super::*;

    #[test]
    fn single_events_are_found_across_days() {
        let mut index = EventIndex::default();
        let times = [-DAY - 5, -1, 0, 0, 7, DAY, 3 * DAY + 2];
        for time in times {
            for user in [3, 9] {
                let event = StoredEvent {
                    time: time + i64::from(user),
                    amount: None,
                    id: 0,
                };
                index.insert(user, event);
            }
        }
        let of_three: Vec<i64> = times.iter().map(|time| time + 3).collect();
        let edges = || of_three.iter().flat_map(|time| [time - 1, *time, time + 1]);
        for from in edges().chain([i64::MIN]) {
            let later: Vec<i64> = of_three.iter().copied().filter(|t| *t >= from).collect();
            for skipped in 0..=times.len() {
                let found = index.nth_from(3, from, skipped as u64);
                assert_eq!(found, later.get(skipped).copied(), "{from} {skipped}");
            }
            for to in edges().chain([i64::MAX]) {
                let last = later.iter().copied().filter(|t| *t < to).max();
                assert_eq!(index.last_of(3, from, to), last, "{from} {to}");
            }
            assert_eq!(index.nth_from(4, from, 0), None);
            assert_eq!(index.last_of(4, from, i64::MAX), None);
        }
    }
}
