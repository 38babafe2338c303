//! The floor: the same questions asked of plain CRoaring, as a good program would that holds one
//! bitmap of the whole population per value, bit slices for numbers (O'Neil and Quass 1997), and
//! does one operation after another.

use croaring::Bitmap;

use crate::world::{
    APP_VERSIONS, CITIES_PER_COUNTRY, COUNTRIES, GENDERS, LANGUAGES, PLANS, Row, SYSTEMS, TAGS,
};

pub struct Slices {
    /// From the least significant bit.
    bits: Vec<Bitmap>,
    all: Bitmap,
}

pub struct Floor {
    pub users: u64,
    pub countries: Vec<Bitmap>,
    pub cities: Vec<Bitmap>,
    pub plans: Vec<Bitmap>,
    pub systems: Vec<Bitmap>,
    pub app_versions: Vec<Bitmap>,
    pub languages: Vec<Bitmap>,
    pub genders: Vec<Bitmap>,
    pub subscribers: Bitmap,
    pub tags: Vec<Bitmap>,
    pub age: Slices,
    pub amount: Slices,
    pub signed_up: Slices,
    pub last_seen: Slices,
}

fn postings(values: usize, rows: &[Row], value: impl Fn(&Row) -> usize) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); values];
    for (user, row) in (0..).zip(rows) {
        lists[value(row)].push(user);
    }
    lists
}

fn bitmaps(lists: &[Vec<u32>], base: u32, into: &mut [Bitmap]) {
    for (list, bitmap) in lists.iter().zip(into) {
        let users: Vec<u32> = list.iter().map(|user| base + user).collect();
        bitmap.add_many(&users);
    }
}

impl Slices {
    fn new(bits: u32) -> Self {
        Self {
            bits: vec![Bitmap::new(); bits as usize],
            all: Bitmap::new(),
        }
    }

    fn add(&mut self, base: u32, values: &[u64]) {
        for (bit, slice) in self.bits.iter_mut().enumerate() {
            let users = (0..)
                .zip(values)
                .filter(|(_, value)| *value >> bit & 1 == 1);
            slice.add_many(
                &users
                    .map(|(user, _): (u32, _)| base + user)
                    .collect::<Vec<_>>(),
            );
        }
        self.all.add_range(base..base + values.len() as u32);
    }

    /// Replaces the value of a user.
    pub fn replace(&mut self, user: u32, before: u64, after: u64) {
        for (bit, slice) in self.bits.iter_mut().enumerate() {
            match (before >> bit & 1, after >> bit & 1) {
                (0, 1) => slice.add(user),
                (1, 0) => slice.remove(user),
                _ => {}
            }
        }
    }

    fn optimize(&mut self) {
        self.bits
            .iter_mut()
            .chain([&mut self.all])
            .for_each(|bitmap| {
                bitmap.run_optimize();
                bitmap.shrink_to_fit();
            });
    }

    /// Users with a value below `bound`.
    pub fn below(&self, bound: u64) -> Bitmap {
        let mut equal = self.all.clone();
        let mut less = Bitmap::new();
        for (bit, slice) in self.bits.iter().enumerate().rev() {
            if bound >> bit & 1 == 1 {
                less.or_inplace(&equal.andnot(slice));
                equal.and_inplace(slice);
            } else {
                equal.andnot_inplace(slice);
            }
            if equal.is_empty() {
                break;
            }
        }
        less
    }

    pub fn at_least(&self, bound: u64) -> Bitmap {
        self.all.andnot(&self.below(bound))
    }

    pub fn between(&self, from: u64, to: u64) -> Bitmap {
        self.below(to).andnot(&self.below(from))
    }

    /// The sum of the values of some users.
    pub fn sum(&self, users: &Bitmap) -> u64 {
        let bits = self.bits.iter().enumerate();
        bits.map(|(bit, slice)| slice.and_cardinality(users) << bit)
            .sum()
    }

    /// The value at a place among those of some users, in their order.
    pub fn at_place(&self, users: &Bitmap, mut place: u64) -> u64 {
        let mut left = users.clone();
        let mut value = 0;
        for (bit, slice) in self.bits.iter().enumerate().rev() {
            let zeros = left.andnot(slice);
            if place < zeros.cardinality() {
                left = zeros;
            } else {
                place -= zeros.cardinality();
                left.and_inplace(slice);
                value |= 1 << bit;
            }
        }
        value
    }

    pub fn value(&self, user: u32) -> u64 {
        let bits = self.bits.iter().enumerate();
        bits.map(|(bit, slice)| u64::from(slice.contains(user)) << bit)
            .sum()
    }

    fn bytes(&self) -> usize {
        self.bits.iter().chain([&self.all]).map(bytes).sum()
    }
}

fn bytes(bitmap: &Bitmap) -> usize {
    let statistics = bitmap.statistics();
    size_of::<Bitmap>()
        + (statistics.n_bytes_array_containers
            + statistics.n_bytes_bitset_containers
            + statistics.n_bytes_run_containers) as usize
        // A pointer, a key and a kind for each container, and the container's own header.
        + statistics.n_containers as usize * (8 + 2 + 1 + 16)
}

/// Where seconds begin: before any of the world's instants.
pub const FIRST_SECOND: i64 = crate::world::NOW - 6 * 365 * crate::world::DAY;

impl Floor {
    pub fn new() -> Self {
        let some = |values| vec![Bitmap::new(); values];
        Self {
            users: 0,
            countries: some(COUNTRIES),
            cities: some(COUNTRIES * CITIES_PER_COUNTRY),
            plans: some(PLANS.len()),
            systems: some(SYSTEMS.len()),
            app_versions: some(APP_VERSIONS),
            languages: some(LANGUAGES),
            genders: some(GENDERS.len()),
            subscribers: Bitmap::new(),
            tags: some(TAGS),
            age: Slices::new(7),
            amount: Slices::new(30),
            signed_up: Slices::new(28),
            last_seen: Slices::new(28),
        }
    }

    pub fn add(&mut self, rows: &[Row]) {
        let base = self.users as u32;
        let by_value = |into: &mut Vec<Bitmap>, value: fn(&Row) -> usize| {
            bitmaps(&postings(into.len(), rows, value), base, into);
        };
        by_value(&mut self.countries, |row| row.country);
        by_value(&mut self.cities, |row| row.city);
        by_value(&mut self.plans, |row| row.plan);
        by_value(&mut self.systems, |row| row.system);
        by_value(&mut self.app_versions, |row| row.app_version);
        by_value(&mut self.languages, |row| row.language);
        by_value(&mut self.genders, |row| row.gender);
        let mut subscribers = vec![Bitmap::new(); 2];
        by_value(&mut subscribers, |row| usize::from(row.subscriber));
        self.subscribers.or_inplace(&subscribers[1]);
        let mut tags = vec![Vec::new(); TAGS];
        for (user, row) in (0..).zip(rows) {
            for &tag in &row.tags {
                tags[tag].push(user);
            }
        }
        bitmaps(&tags, base, &mut self.tags);
        let numbers = |value: fn(&Row) -> i64| -> Vec<u64> {
            rows.iter().map(|row| value(row) as u64).collect()
        };
        self.age.add(base, &numbers(|row| row.age));
        self.amount.add(base, &numbers(|row| row.amount));
        self.signed_up
            .add(base, &numbers(|row| row.signed_up - FIRST_SECOND));
        self.last_seen
            .add(base, &numbers(|row| row.last_seen - FIRST_SECOND));
        self.users += rows.len() as u64;
    }

    fn lists_mut(&mut self) -> impl Iterator<Item = &mut Bitmap> {
        self.countries
            .iter_mut()
            .chain(&mut self.cities)
            .chain(&mut self.plans)
            .chain(&mut self.systems)
            .chain(&mut self.app_versions)
            .chain(&mut self.languages)
            .chain(&mut self.genders)
            .chain(&mut self.tags)
            .chain([&mut self.subscribers])
    }

    pub fn optimize(&mut self) {
        for bitmap in self.lists_mut() {
            bitmap.run_optimize();
            bitmap.shrink_to_fit();
        }
        for slices in [
            &mut self.age,
            &mut self.amount,
            &mut self.signed_up,
            &mut self.last_seen,
        ] {
            slices.optimize();
        }
    }

    pub fn bytes(&mut self) -> usize {
        let lists: usize = self.lists_mut().map(|bitmap| bytes(bitmap)).sum();
        let slices = [&self.age, &self.amount, &self.signed_up, &self.last_seen];
        lists + slices.into_iter().map(Slices::bytes).sum::<usize>()
    }
}
