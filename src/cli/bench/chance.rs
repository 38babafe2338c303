//! Numbers that look random and are the same for the same seed, in any order of asking.

/// What is drawn, so that two draws about one number have nothing to do with each other.
pub(super) const KIND: u64 = 1;
pub(super) const REQUEST: u64 = 2;
pub(super) const USER: u64 = 3;
pub(super) const FILTERS: u64 = 4;
pub(super) const SCORE: u64 = 5;
/// Of a user: the property, or the event and its place, is added.
pub(super) const PROPERTY: u64 = 1 << 16;
pub(super) const EVENT: u64 = 1 << 32;

/// A draw: any 64 bits (as by `SplitMix64`, Steele and others 2014).
pub(super) fn of(seed: u64, number: u64, what: u64) -> u64 {
    mixed(mixed(seed ^ mixed(what)).wrapping_add(number))
}

fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A draw as a number below `end`; 0 if that is 0.
pub(super) fn below(draw: u64, end: u64) -> u64 {
    let product = u128::from(draw) * u128::from(end);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// A draw as the place in some weights, each as often as its weight says.
pub(super) fn weighted<T: Copy>(draw: u64, choices: &[(T, u64)]) -> Option<T> {
    let total = choices.iter().map(|(_, weight)| weight).sum();
    let mut drawn = below(draw, total);
    for (choice, weight) in choices {
        if drawn < *weight {
            return Some(*choice);
        }
        drawn -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly() {
        let mut counts = [0_u32; 10];
        for number in 0..100_000 {
            counts[usize::try_from(below(of(1, number, USER), 10)).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_000..11_000).contains(count)),
            "{counts:?}"
        );
        assert_ne!(of(1, 2, USER), of(1, 2, SCORE));
        assert_ne!(of(1, 2, USER), of(2, 1, USER));
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(u64::MAX, 0), 0);
    }

    #[test]
    fn choices_come_as_often_as_their_weights_say() {
        let choices = [('a', 1), ('b', 0), ('c', 3)];
        let drawn = (0..10_000).filter_map(|n| weighted(of(3, n, USER), &choices));
        let drawn: String = drawn.collect();
        assert_eq!(drawn.len(), 10_000);
        let of_c = drawn.matches('c').count();
        assert!(
            (7_300..7_700).contains(&of_c) && !drawn.contains('b'),
            "{of_c}"
        );
        assert_eq!(weighted::<char>(1, &[]), None);
    }
}
