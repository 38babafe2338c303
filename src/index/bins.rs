//! The users of one shard in the order of their numbers: a binned index.
//!
//! Each bin holds the users whose numbers lie in one range, most of them in the order of their
//! numbers, so that all bins but the two at the ends of a question are counted or listed as they
//! are, and those two need a few looks at the column: with users in the order of their places
//! instead, the whole bin had to be looked at, which at 10 million users took 24 us a shard, nearly
//! all of it waiting for memory. Bins split when they have grown; a bin of a single number can't,
//! and grows on.
//!
//! A new user goes to the end of its bin, and only a tail of some length is sorted into the rest:
//! finding the place of each user on its own took a quarter of the time of loading. What a question
//! has to look at is the tails of two bins.
//!
//! Invariant: bins are in ascending order, a bin's users have numbers from its least up to the
//! next bin's least, and every user with a number is in exactly one bin. A bin's first `sorted`
//! users are in the order of their numbers, then of their places; at most [`TAIL`] come after them.

use super::column::NumberColumn;

/// Users that a bin holds before it splits. Small bins make the two ends cheap, large ones the
/// sum over the bins between them.
const SPLIT_ABOVE: usize = 512;
/// A bin this small is joined with its neighbour.
const JOIN_BELOW: usize = 64;
/// Users behind the sorted ones, at most. Long tails make loading cheap, short ones questions.
const TAIL: usize = 64;
/// Users are searched one by one up to here, which needs no look at the column.
const SEARCHED_IN_A_ROW: usize = 2_048;

#[derive(Clone, Debug)]
struct Bin {
    /// No number of the bin is below; the next bin's least is above all of them.
    least: i64,
    /// How many of the users are sorted.
    sorted: usize,
    users: Vec<u16>,
}

impl Bin {
    fn insert(&mut self, user: u16, number: i64, column: &NumberColumn) {
        // New users come in ascending order and often with the greatest number so far, or with
        // one that all have.
        if self.sorted == self.users.len() && self.ends_below(user, number, column) {
            self.sorted += 1;
        }
        self.users.push(user);
        if self.users.len() - self.sorted > TAIL {
            self.sort(column);
        }
    }

    fn ends_below(&self, user: u16, number: i64, column: &NumberColumn) -> bool {
        let last = self.users.last();
        last.is_none_or(|&last| (column.held(last), last) < (number, user))
    }

    /// Sorts the tail into the rest.
    fn sort(&mut self, column: &NumberColumn) {
        column.merge_sort(&mut self.users, self.sorted);
        self.sorted = self.users.len();
    }

    fn remove(&mut self, user: u16, number: i64, column: &NumberColumn) {
        if let Some(place) = position(&self.users[self.sorted..], user) {
            self.users.swap_remove(self.sorted + place);
            return;
        }
        let sorted = &self.users[..self.sorted];
        let place = if sorted.len() <= SEARCHED_IN_A_ROW {
            position(sorted, user)
        } else {
            let place =
                sorted.partition_point(|&other| (column.held(other), other) < (number, user));
            (sorted.get(place) == Some(&user)).then_some(place)
        };
        if let Some(place) = place {
            self.users.remove(place);
            self.sorted -= 1;
        }
    }

    /// Calls `visit` with the users with numbers in `least..=greatest`, a part at a time.
    fn between(
        &self,
        least: i64,
        greatest: i64,
        column: &NumberColumn,
        visit: &mut impl FnMut(&[u16]),
    ) {
        let (sorted, tail) = self.users.split_at(self.sorted);
        visit(column.between_sorted(sorted, least, greatest));
        let mut found = [0; TAIL];
        let count = column.copy_between(tail, least, greatest, &mut found);
        visit(&found[..count]);
    }
}

/// A bin as whoever checks it sees it.
pub(super) struct BinView<'a> {
    pub(super) least: i64,
    /// All numbers are below; `None` for the last bin.
    pub(super) below: Option<i64>,
    pub(super) users: &'a [u16],
    pub(super) is_in_order: bool,
}

/// Where a user is in a list, looking at many at a time.
fn position(users: &[u16], user: u16) -> Option<usize> {
    const AT_A_TIME: usize = 64;
    let chunks = users.chunks(AT_A_TIME).enumerate();
    for (number, chunk) in chunks {
        // To the end of the chunk also if found, so that it is compared as a whole.
        let here = chunk.iter().filter(|&&other| other == user).count();
        if here > 0 {
            let within = chunk.iter().position(|&other| other == user)?;
            return Some(number * AT_A_TIME + within);
        }
    }
    None
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
                sorted: 0,
                users: Vec::new(),
            });
        }
        let position = self.bin_of(number);
        let bin = &mut self.bins[position];
        bin.insert(user, number, column);
        let users = bin.users.len();
        // A bin of a single number is looked at again each time it has grown by as much again.
        if users > SPLIT_ABOVE && users.is_multiple_of(SPLIT_ABOVE) {
            self.split(position, column);
        }
    }

    fn split(&mut self, position: usize, column: &NumberColumn) {
        let bin = &mut self.bins[position];
        bin.sort(column);
        let users = &mut bin.users;
        let number_at = |place: usize| column.held(users[place]);
        let (first, middle) = (number_at(0), number_at(users.len() / 2));
        // The cut that leaves something on both sides: at the median, or just above it.
        let cut = if first < middle {
            middle
        } else {
            middle.saturating_add(1)
        };
        let place = users.partition_point(|&user| column.held(user) < cut);
        if place == users.len() {
            return;
        }
        let high = users.split_off(place);
        users.shrink_to_fit();
        bin.sorted = place;
        let high = Bin {
            least: column.held(high[0]),
            sorted: high.len(),
            users: high,
        };
        self.bins.insert(position + 1, high);
    }

    /// Sorts all tails, which makes questions a little faster.
    pub(super) fn sort(&mut self, column: &NumberColumn) {
        for bin in &mut self.bins {
            bin.sort(column);
        }
    }

    /// Removes a user who has this number, in the column too so far.
    pub(super) fn remove(&mut self, user: u16, number: i64, column: &NumberColumn) {
        if self.bins.is_empty() {
            return;
        }
        let position = self.bin_of(number);
        let bin = &mut self.bins[position];
        bin.remove(user, number, column);
        let left = bin.users.len();
        if left < JOIN_BELOW
            && let Some(before) = position.checked_sub(1)
            && self.bins[before].users.len() + left <= SPLIT_ABOVE / 2
        {
            let mut joined = self.bins.remove(position);
            joined.sort(column);
            let before = &mut self.bins[before];
            before.sort(column);
            before.users.extend(joined.users);
            before.sorted = before.users.len();
        }
    }

    /// How many users have a number in `least..=greatest`.
    pub(super) fn count_between(&self, least: i64, greatest: i64, column: &NumberColumn) -> u32 {
        let mut count = 0;
        self.between(least, greatest, |bin, within| {
            if let Some((least, greatest)) = within {
                bin.between(least, greatest, column, &mut |users| count += users.len());
            } else {
                count += bin.users.len();
            }
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
        let mut visit_all = |users: &[u16]| users.iter().copied().for_each(&mut visit);
        self.between(least, greatest, |bin, within| {
            if let Some((least, greatest)) = within {
                bin.between(least, greatest, column, &mut visit_all);
            } else {
                visit_all(&bin.users);
            }
        });
    }

    /// At most how many users have a number in `least..=greatest`.
    pub(super) fn at_most_between(&self, least: i64, greatest: i64) -> usize {
        let mut count = 0;
        self.between(least, greatest, |bin, _| count += bin.users.len());
        count
    }

    /// Calls `visit` with each bin that a range touches and, if the range may begin or end within
    /// the bin, where it does: an end that lies outside is as far out as can be.
    fn between(&self, least: i64, greatest: i64, mut visit: impl FnMut(&Bin, Option<(i64, i64)>)) {
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
            let within = (
                if begins_within { least } else { i64::MIN },
                if ends_within { greatest } else { i64::MAX },
            );
            visit(bin, (begins_within || ends_within).then_some(within));
        }
    }

    /// All bins, to be compared with the column.
    pub(super) fn views<'a>(
        &'a self,
        column: &'a NumberColumn,
    ) -> impl Iterator<Item = BinView<'a>> + 'a {
        self.bins.iter().enumerate().map(move |(position, bin)| {
            let (sorted, tail) = bin.users.split_at(bin.sorted);
            BinView {
                least: bin.least,
                below: self.bins.get(position + 1).map(|next| next.least),
                users: &bin.users,
                is_in_order: sorted.is_sorted_by_key(|&user| (column.held(user), user))
                    && tail.len() <= TAIL,
            }
        })
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
        for bin in bins.views(column) {
            for &user in bin.users {
                let number = column.get(user).unwrap();
                assert!(bin.least <= number && bin.below.is_none_or(|next| number < next));
            }
            assert!(bin.is_in_order);
            users.extend(bin.users);
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
                    bins.remove(user, number, &column);
                    column.set(user, None);
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
