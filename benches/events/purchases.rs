//! Purchases made of numbers: always the same. Of the users 60 % bought something in 90 days, 1 to
//! 50 times; most bought once or twice.

use crate::people::{Random, zipf};

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;
pub const DAYS: i64 = 90;
/// 2026-01-01T00:00:00Z, in microseconds since 1970: the last midnight before the end.
pub const MIDNIGHT: i64 = crate::people::NOW * SECOND;
/// No event is later: an instant that no day begins or ends with.
pub const NOW: i64 = MIDNIGHT + 13 * 3_600 * SECOND + 34 * 60 * SECOND + 56_789_012;
/// Days by their number from the first that has purchases: that of the last.
pub const LAST_DAY: usize = DAYS as usize;

const BUYERS: f64 = 0.6;
const MOST: usize = 50;
/// So that buyers have 5.5 purchases on average.
const SKEW: f64 = 1.495;
/// Of the purchases, this part arrives up to two days late, and all others within a minute.
const LATE: f64 = 0.03;
const MILLISECOND: i64 = 1_000;

#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    pub user: u32,
    pub cents: u32,
    /// In microseconds since 1970.
    pub time: i64,
    /// In microseconds since 1970.
    pub arrival: i64,
}

/// The number of the day of an instant, from the first that has purchases.
pub fn day(time: i64) -> usize {
    ((time - MIDNIGHT).div_euclid(DAY) + DAYS) as usize
}

/// What a user pays for: every tenth has a plan that costs something.
pub fn has_plan(user: u64) -> bool {
    Random(user ^ 0x9e6c_63d0).next().is_multiple_of(10)
}

pub struct Purchases {
    counts: Vec<f64>,
}

impl Purchases {
    pub fn new() -> Self {
        Self {
            counts: zipf(MOST, SKEW),
        }
    }

    /// Calls `visit` with each purchase of a user, in no order.
    pub fn of(&self, user: u64, mut visit: impl FnMut(Purchase)) {
        let mut random = Random(user.wrapping_mul(0x2545_f491_4f6c_dd1d));
        if random.unit() >= BUYERS {
            return;
        }
        let count = random.pick(&self.counts) + 1;
        for _ in 0..count {
            let ago = (random.unit() * (DAYS * DAY) as f64) as i64 + MILLISECOND;
            let time = (NOW - ago).div_euclid(MILLISECOND) * MILLISECOND;
            let cents = ((3.2 + 0.8 * random.normal()).exp() * 100.0).round();
            let most_late = if random.unit() < LATE {
                2 * DAY
            } else {
                60 * SECOND
            };
            let late = (random.unit() * most_late as f64) as i64;
            visit(Purchase {
                user: user as u32,
                cents: cents.clamp(1.0, 1e8) as u32,
                time,
                arrival: (time + late).min(NOW),
            });
        }
    }

    /// Purchases of all users by the day of their arrival, each day in the order of arrivals.
    pub fn by_arrival(&self, users: u64) -> Vec<Vec<Purchase>> {
        let mut days = vec![Vec::new(); LAST_DAY + 1];
        for user in 0..users {
            self.of(user, |purchase| days[day(purchase.arrival)].push(purchase));
        }
        for day in &mut days {
            day.sort_unstable_by_key(|purchase| (purchase.arrival, purchase.user));
        }
        days
    }
}
