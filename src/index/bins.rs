//! The users of one shard in the order of their numbers, roughly: a binned index.
//!
//! Each bin holds the users whose numbers lie in one range, so that all bins but the two at the
//! ends of a question are counted or listed as they are, and only those two need a look at the
//! column. Bins split when they have grown; a bin of a single number can't, and grows on.
//!
//! Invariant: bins are in ascending order, a bin's users have numbers from its least up to the
//! next bin's least, and every user with a number is in exactly one bin.

use super::column::NumberColumn;

/// Users that a bin holds before it splits. Small bins make the two ends cheap, large ones the
/// sum over the bins between them.
const SPLIT_ABOVE: usize = 512;
/// A bin this small is joined with its neighbour.
const JOIN_BELOW: usize = 64;

#[derive(Clone, Debug)]
struct Bin {
    /// No number of the bin is below; the next bin's least is above all of them.
    least: i64,
    /// Ascending.
    users: Vec<u16>,
}

/// The users of one shard by ranges of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Bins {
    bins: Vec<Bin>,
}

impl Bins {
    /// The bin that a number belongs to.
    fn bin_of(&self, number: i64) -> usize {
        self.bins
            .partition_point(|bin| bin.least <= number)
            .saturating_sub(1)
    }

    /// Adds a user, whose number the column has already.
    pub(super) fn insert(&mut self, user: u16, number: i64, column: &NumberColumn) {
        if self.bins.is_empty() {
            self.bins.push(Bin {
                least: i64::MIN,
                users: Vec::new(),
            });
        }
        let position = self.bin_of(number);
        let users = &mut self.bins[position].users;
        // New users come in ascending order, so that this is mostly an append.
        match users.last() {
            Some(&last) if last >= user => {
                if let Err(place) = users.binary_search(&user) {
                    users.insert(place, user);
                }
            }
            Some(_) | None => users.push(user),
        }
        // A bin of a single number is looked at again each time it has grown by as much again.
        if users.len() > SPLIT_ABOVE && users.len().is_multiple_of(SPLIT_ABOVE) {
            self.split(position, column);
        }
    }

    fn split(&mut self, position: usize, column: &NumberColumn) {
        let Bin { least, users } = &self.bins[position];
        let mut numbers: Vec<i64> = users.iter().map(|&user| column.held(user)).collect();
        let middle = numbers.len() / 2;
        let (below, &mut median, above) = numbers.select_nth_unstable(middle);
        // The cut that leaves something on both sides: at the median, or just above it.
        let cut = if below.iter().any(|&number| number < median) {
            median
        } else if let Some(&next) = above.iter().filter(|&&number| number > median).min() {
            next
        } else {
            return;
        };
        debug_assert!(cut > *least, "a cut lies within the bin");
        let (low, high): (Vec<u16>, Vec<u16>) =
            users.iter().partition(|&&user| column.held(user) < cut);
        self.bins[position].users = low;
        self.bins.insert(
            position + 1,
            Bin {
                least: cut,
                users: high,
            },
        );
    }

    /// Removes a user who has, or had, this number.
    pub(super) fn remove(&mut self, user: u16, number: i64) {
        if self.bins.is_empty() {
            return;
        }
        let position = self.bin_of(number);
        let users = &mut self.bins[position].users;
        if let Ok(place) = users.binary_search(&user) {
            users.remove(place);
        }
        let few = users.len() < JOIN_BELOW;
        if few
            && let Some(before) = position.checked_sub(1)
            && self.bins[before].users.len() + self.bins[position].users.len() <= SPLIT_ABOVE / 2
        {
            let joined = self.bins.remove(position);
            let users = &mut self.bins[before].users;
            users.extend(joined.users);
            users.sort_unstable();
        }
    }

    /// How many users have a number in `least..=greatest`.
    pub(super) fn count_between(&self, least: i64, greatest: i64, column: &NumberColumn) -> u32 {
        let mut count = 0;
        self.between(least, greatest, |users, ends| {
            count += if ends {
                users
                    .iter()
                    .filter(|&&user| (least..=greatest).contains(&column.held(user)))
                    .count()
            } else {
                users.len()
            };
        });
        #[expect(clippy::cast_possible_truncation, reason = "a shard has 65,536 users")]
        let count = count as u32;
        count
    }

    /// Calls `visit` with each user who has a number in `least..=greatest`, in no order.
    pub(super) fn for_each_between(
        &self,
        least: i64,
        greatest: i64,
        column: &NumberColumn,
        mut visit: impl FnMut(u16),
    ) {
        self.between(least, greatest, |users, ends| {
            for &user in users {
                if !ends || (least..=greatest).contains(&column.held(user)) {
                    visit(user);
                }
            }
        });
    }

    /// At most how many users have a number in `least..=greatest`.
    pub(super) fn at_most_between(&self, least: i64, greatest: i64) -> usize {
        let mut count = 0;
        self.between(least, greatest, |users, _| count += users.len());
        count
    }

    /// Calls `visit` with the users of each bin that a range touches, and whether the range may
    /// end within the bin.
    fn between(&self, least: i64, greatest: i64, mut visit: impl FnMut(&[u16], bool)) {
        if greatest < least || self.bins.is_empty() {
            return;
        }
        let (from, to) = (self.bin_of(least), self.bin_of(greatest));
        for (position, bin) in self.bins[..=to].iter().enumerate().skip(from) {
            let begins_within = position == from && least > bin.least;
            let ends_within = position == to
                && self
                    .bins
                    .get(to + 1)
                    .is_none_or(|next| greatest < next.least - 1)
                && greatest < i64::MAX;
            visit(&bin.users, begins_within || ends_within);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let users: usize = self
            .bins
            .iter()
            .map(|bin| bin.users.capacity() * size_of::<u16>())
            .sum();
        users + self.bins.capacity() * size_of::<Bin>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of several kinds of spread: even, all the same, a few, one and others.
    fn spreads() -> Vec<fn(u16) -> i64> {
        vec![
            |user| i64::from(user.wrapping_mul(40_503)) - 30_000,
            |_| 0,
            |user| i64::from(user % 5),
            |user| if user % 3 == 0 { i64::from(user) } else { 7 },
            |user| if user % 2 == 0 { i64::MIN } else { i64::MAX },
        ]
    }

    fn validate(bins: &Bins, column: &NumberColumn) {
        let mut users: Vec<u16> = Vec::new();
        for (position, bin) in bins.bins.iter().enumerate() {
            let next = bins.bins.get(position + 1).map(|next| next.least);
            for &user in &bin.users {
                let number = column.get(user).unwrap();
                assert!(bin.least <= number && next.is_none_or(|next| number < next));
            }
            assert!(bin.users.is_sorted());
            users.extend(&bin.users);
        }
        users.sort_unstable();
        assert!(users.iter().copied().eq(column.present().ones()));
    }

    #[test]
    fn bins_agree_with_the_column() {
        for spread in spreads() {
            let (mut bins, mut column) = (Bins::default(), NumberColumn::default());
            for user in 0..6_000 {
                let user = if user % 2 == 0 { user } else { 20_000 - user };
                column.set(user, Some(spread(user)));
                bins.insert(user, spread(user), &column);
            }
            validate(&bins, &column);
            for user in (0..6_000).filter(|user| user % 7 != 0) {
                if let Some(number) = column.get(user) {
                    column.set(user, None);
                    bins.remove(user, number);
                }
            }
            validate(&bins, &column);
            let edges = [
                i64::MIN,
                -30_000,
                -1,
                0,
                1,
                4,
                7,
                8,
                3_000,
                i64::MAX - 1,
                i64::MAX,
            ];
            for least in edges {
                for greatest in edges {
                    let expected: Vec<u16> = column
                        .present()
                        .ones()
                        .filter(|&user| (least..=greatest).contains(&column.get(user).unwrap()))
                        .collect();
                    let mut found = Vec::new();
                    bins.for_each_between(least, greatest, &column, |user| found.push(user));
                    found.sort_unstable();
                    assert_eq!(found, expected, "{least}..={greatest}");
                    assert_eq!(
                        bins.count_between(least, greatest, &column) as usize,
                        expected.len()
                    );
                    assert!(bins.at_most_between(least, greatest) >= expected.len());
                }
            }
        }
    }
}
