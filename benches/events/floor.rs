//! The floor: the same questions asked of plain CRoaring, as a good program would that holds, for
//! each day, bitmaps of the users with at least 1, 2, 3 purchases, and takes whole days. For amounts
//! it holds a list of users and cents for each day, and adds these up in an array of all users.

use std::ops::Range;

use croaring::Bitmap;

use crate::purchases::{LAST_DAY, Purchase, day, has_plan};

/// Levels that a day is held at: no question asks for more than 3.
const LEVELS: usize = 3;

#[derive(Default)]
struct Day {
    /// Users with at least so many purchases, from 1 on.
    at_least: [Bitmap; LEVELS],
    /// Users and cents, in the order of the users.
    amounts: Vec<(u32, u32)>,
}

pub struct Floor {
    pub users: u64,
    days: Vec<Day>,
    plan: Bitmap,
}

impl Floor {
    pub fn new(users: u64, purchases: impl Iterator<Item = Purchase>) -> Self {
        let mut days: Vec<Day> = Vec::new();
        days.resize_with(LAST_DAY + 1, Day::default);
        for purchase in purchases {
            let day = &mut days[day(purchase.time)];
            day.amounts.push((purchase.user, purchase.cents));
        }
        for day in &mut days {
            day.amounts.sort_unstable();
            let mut lists: [Vec<u32>; LEVELS] = Default::default();
            for same in day.amounts.chunk_by(|a, b| a.0 == b.0) {
                for list in lists.iter_mut().take(same.len()) {
                    list.push(same[0].0);
                }
            }
            day.at_least = lists.map(|list| {
                let mut bitmap = Bitmap::of(&list);
                bitmap.run_optimize();
                bitmap.shrink_to_fit();
                bitmap
            });
        }
        let plan = (0..users).filter(|user| has_plan(*user));
        Self {
            users,
            days,
            plan: plan.map(|user| user as u32).collect(),
        }
    }

    pub fn events(&self) -> u64 {
        self.days.iter().map(|day| day.amounts.len() as u64).sum()
    }

    /// How often a user bought something on a day.
    pub fn user_days(&self) -> u64 {
        let days = self.days.iter();
        days.map(|day| day.at_least[0].cardinality()).sum()
    }

    /// Users with at least 3 purchases on some days.
    pub fn at_least_3(&self, days: Range<usize>) -> Bitmap {
        let [mut one, mut two, mut three] = [Bitmap::new(), Bitmap::new(), Bitmap::new()];
        for day in &self.days[days] {
            let [first, second, third] = &day.at_least;
            three.or_inplace(&two.and(first));
            three.or_inplace(&one.and(second));
            three.or_inplace(third);
            two.or_inplace(&one.and(first));
            two.or_inplace(second);
            one.or_inplace(first);
        }
        three
    }

    /// The same by adding to two bits of a number, and to a bit for what is more than they hold.
    pub fn at_least_3_by_bits(&self, days: Range<usize>) -> Bitmap {
        let [mut ones, mut twos, mut more] = [Bitmap::new(), Bitmap::new(), Bitmap::new()];
        for day in &self.days[days] {
            for level in &day.at_least {
                let carried = ones.and(level);
                ones.xor_inplace(level);
                more.or_inplace(&twos.and(&carried));
                twos.xor_inplace(&carried);
            }
        }
        ones.and_inplace(&twos);
        more.or_inplace(&ones);
        more
    }

    pub fn at_least_3_days(&self, days: Range<usize>) -> Bitmap {
        let [mut one, mut two, mut three] = [Bitmap::new(), Bitmap::new(), Bitmap::new()];
        for day in &self.days[days] {
            let active = &day.at_least[0];
            three.or_inplace(&two.and(active));
            two.or_inplace(&one.and(active));
            one.or_inplace(active);
        }
        three
    }

    pub fn any(&self, days: Range<usize>) -> Bitmap {
        let active = self.days[days].iter().map(|day| &day.at_least[0]);
        Bitmap::fast_or(&active.collect::<Vec<_>>())
    }

    pub fn with_plan(&self, users: &Bitmap) -> u64 {
        users.and_cardinality(&self.plan)
    }

    /// How many users paid more than so many cents on some days.
    pub fn paid_more(&self, days: Range<usize>, cents: u32) -> u64 {
        let mut sums = vec![0_u32; self.users as usize];
        for day in &self.days[days] {
            for (user, cents) in &day.amounts {
                sums[*user as usize] += cents;
            }
        }
        sums.iter().filter(|sum| **sum > cents).count() as u64
    }

    /// How many users paid more than so many cents on average on some days.
    pub fn mean_more(&self, days: Range<usize>, cents: u32) -> u64 {
        let mut sums = vec![(0_u32, 0_u32); self.users as usize];
        for day in &self.days[days] {
            for (user, cents) in &day.amounts {
                let (sum, count) = &mut sums[*user as usize];
                *sum += cents;
                *count += 1;
            }
        }
        let more = sums.iter().filter(|(sum, count)| *sum > count * cents);
        more.count() as u64
    }

    /// Whether a user has at least 3 purchases on some days.
    pub fn has_3(&self, user: u32, days: Range<usize>) -> bool {
        let mut count = 0;
        for day in &self.days[days] {
            for level in &day.at_least {
                if !level.contains(user) {
                    break;
                }
                count += 1;
            }
            if count >= LEVELS {
                return true;
            }
        }
        false
    }

    pub fn bitmap_bytes(&self) -> usize {
        let bitmaps = self.days.iter().flat_map(|day| &day.at_least);
        let bytes = bitmaps.map(|bitmap| {
            let statistics = bitmap.statistics();
            (statistics.n_bytes_array_containers
                + statistics.n_bytes_bitset_containers
                + statistics.n_bytes_run_containers) as usize
                + statistics.n_containers as usize * (8 + 2 + 1 + 16)
        });
        bytes.sum()
    }
}
