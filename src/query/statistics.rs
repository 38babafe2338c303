//! Whether shares of users differ by more than chance, and by how much: tests, intervals, effects.
//!
//! Invariant: every figure is defined for all counts. A share of nobody is 0, what can't be
//! estimated from a count of 0 is `None`, and no p-value is beyond 0 to 1.
#![expect(
    clippy::cast_precision_loss,
    reason = "shares are approximate numbers; counts of users fit exactly"
)]

/// The 97.5th percentile of the normal distribution: 95 % lie within so many deviations.
const Z_95: f64 = 1.959_963_984_540_054;
/// With a smaller expected count in one of the four cells the normal distribution is no good
/// approximation (Cochran 1954, "Some methods for strengthening the common chi-square tests").
const LEAST_EXPECTED: f64 = 5.0;
/// Tables whose probabilities differ by no more than rounding are equally likely.
const EQUALLY_LIKELY: f64 = 1.0 + 1e-7;
/// What adds no more than this to a sum of 1 is not added.
const NEGLIGIBLE: f64 = 1e-18;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
}

/// How many users of two groups have something: `count` of `users`, `against` of `against_users`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) count: u64,
    pub(super) users: u64,
    pub(super) against: u64,
    pub(super) against_users: u64,
}

impl Shares {
    pub(super) fn share(self) -> f64 {
        ratio(self.count, self.users)
    }

    pub(super) fn against_share(self) -> f64 {
        ratio(self.against, self.against_users)
    }

    /// How likely a difference of the shares as great as this, either way, is if both groups are
    /// random parts of one: by the z-test of two proportions, with the variance of both groups
    /// together; by Fisher's exact test where an expected count is below 5.
    pub(super) fn p_value(self) -> f64 {
        let all = self.users + self.against_users;
        let having = self.count + self.against;
        let smaller = |one: u64| one.min(all - one) as f64;
        if smaller(self.users) * smaller(having) < LEAST_EXPECTED * all as f64 {
            return self.exact_p_value();
        }
        erfc(self.z().abs() / std::f64::consts::SQRT_2)
    }

    /// The difference of the shares in deviations; 0 where all have it or nobody.
    fn z(self) -> f64 {
        let together = ratio(
            self.count + self.against,
            self.users.saturating_add(self.against_users),
        );
        let variance = together
            * (1.0 - together)
            * (1.0 / self.users as f64 + 1.0 / self.against_users as f64);
        if variance > 0.0 && variance.is_finite() {
            (self.share() - self.against_share()) / variance.sqrt()
        } else {
            0.0
        }
    }

    /// Fisher's exact test (Fisher 1934), with two sides: the probability of all tables with the
    /// same sums that are no more likely than this one.
    ///
    /// The probabilities are those of the hypergeometric distribution, each taken from its
    /// neighbour, in units of that of this table.
    fn exact_p_value(self) -> f64 {
        let having = self.count + self.against;
        // How much more likely one more user with it among `count` is than one less.
        let up = |count: u64| {
            let others = self.against_users + count + 1;
            (having - count) as f64 * (self.users - count) as f64
                / ((count + 1) as f64 * others.saturating_sub(having) as f64)
        };
        let (mut all, mut as_unlikely) = (1.0, 1.0);
        let mut add = |weight: f64| {
            all += weight;
            if weight <= EQUALLY_LIKELY {
                as_unlikely += weight;
            }
            weight > NEGLIGIBLE * all
        };
        let mut weight = 1.0;
        for count in self.count..having.min(self.users) {
            let factor = up(count);
            weight *= factor;
            if !add(weight) && factor < 1.0 {
                break;
            }
        }
        weight = 1.0;
        for count in (having.saturating_sub(self.against_users)..self.count).rev() {
            let factor = 1.0 / up(count);
            weight *= factor;
            if !add(weight) && factor < 1.0 {
                break;
            }
        }
        // Nothing is as unlikely as a table beside which another is beyond all numbers.
        if all.is_finite() {
            (as_unlikely / all).min(1.0)
        } else {
            0.0
        }
    }

    /// The coefficient phi of the two by two table (Yule 1912), from -1 to 1: the correlation of
    /// having it and being in the first group.
    pub(super) fn phi(self) -> f64 {
        let all = self.users.saturating_add(self.against_users);
        (self.z() / (all.max(1) as f64).sqrt()).clamp(-1.0, 1.0)
    }

    /// The interval of the difference of the shares: method 10 of Newcombe (1998, "Interval
    /// estimation for the difference between independent proportions"), of the intervals of Wilson.
    pub(super) fn difference(self) -> Interval {
        let (share, against) = (self.share(), self.against_share());
        let one = wilson(self.count, self.users);
        let other = wilson(self.against, self.against_users);
        let difference = share - against;
        let down = (share - one.lower).hypot(other.upper - against);
        let up = (one.upper - share).hypot(against - other.lower);
        Interval {
            lower: (difference - down).max(-1.0),
            upper: (difference + up).min(1.0),
        }
    }

    /// How many times as large the share of the first group is; `None` if the other one is 0.
    pub(super) fn lift(self) -> Option<f64> {
        (self.against > 0).then(|| self.share() / self.against_share())
    }

    /// The interval of the lift, whose logarithm is about normal (Katz, Baptista, Azen and Pike
    /// 1978, "Obtaining confidence intervals for the risk ratio in cohort studies"); `None` if
    /// nobody of a group has it.
    pub(super) fn lift_interval(self) -> Option<Interval> {
        let lift = self.lift().filter(|_| self.count > 0)?;
        let part = |count: u64, users: u64| 1.0 / count as f64 - 1.0 / users as f64;
        let variance = part(self.count, self.users) + part(self.against, self.against_users);
        let factor = (Z_95 * variance.max(0.0).sqrt()).exp();
        Some(Interval {
            lower: lift / factor,
            upper: lift * factor,
        })
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The score interval of a share (Wilson 1927, "Probable inference, the law of succession, and
/// statistical inference"); all of 0 to 1 for a share of nobody.
fn wilson(count: u64, users: u64) -> Interval {
    if users == 0 {
        return Interval {
            lower: 0.0,
            upper: 1.0,
        };
    }
    let (share, number) = (ratio(count, users), users as f64);
    let squared = Z_95 * Z_95;
    let whole = 1.0 + squared / number;
    let centre = (share + squared / (2.0 * number)) / whole;
    let spread = (share * (1.0 - share) / number + squared / (4.0 * number * number)).sqrt();
    let half = Z_95 * spread / whole;
    Interval {
        // Exactly 0 and 1 where nobody and all have it.
        lower: if count == 0 { 0.0 } else { centre - half },
        upper: if count == users { 1.0 } else { centre + half },
    }
}

/// The complement of the error function, for numbers from 0: the probability that a normal number
/// lies beyond `x` times the root of 2, either way.
///
/// Up to 1.5 by the series of positive terms, beyond by the continued fraction (Abramowitz and Stegun
/// 1964, 7.1.6 and 7.1.14), both to some units of the last place.
fn erfc(x: f64) -> f64 {
    /// So many terms of the fraction that more change nothing from 1.5 on.
    const TERMS: u32 = 120;
    let root_of_pi = std::f64::consts::PI.sqrt();
    if x < 1.5 {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 / root_of_pi * (-x * x).exp() * sum;
    }
    let fraction = (1..=TERMS)
        .rev()
        .fold(x, |below, term| x + f64::from(term) / 2.0 / below);
    (-x * x).exp() / root_of_pi / fraction
}

/// The p-values corrected for their number, in the same order: of those up to some level, that is
/// the share of false ones that is to be expected (Benjamini and Hochberg 1995, "Controlling the
/// false discovery rate").
pub(super) fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let p_value = |position: usize| p_values.get(position).copied().unwrap_or(1.0);
    order.sort_by(|a, b| p_value(*a).total_cmp(&p_value(*b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (rank, position) in order.into_iter().enumerate().rev() {
        least = least.min(p_value(position) * p_values.len() as f64 / (rank + 1) as f64);
        if let Some(adjusted) = adjusted.get_mut(position) {
            *adjusted = least;
        }
    }
    adjusted
}

/// How well some categories tell two groups apart, from 0 to 1: Cramér's V (1946) of the counts of
/// each category in both groups, corrected for what chance alone would give so many categories
/// (Bergsma 2013, "A bias-correction for Cramér's V and Tschuprow's T").
pub(super) fn cramers_v(categories: impl Iterator<Item = (u64, u64)> + Clone) -> f64 {
    let used = categories.filter(|(count, against)| count + against > 0);
    let (mut users, mut against_users, mut number) = (0, 0, 0_u64);
    for (count, against) in used.clone() {
        users += count;
        against_users += against;
        number += 1;
    }
    let all = (users + against_users) as f64;
    if users == 0 || against_users == 0 || all < 2.0 {
        return 0.0;
    }
    // The chi-square of two rows by their number, which is all of them together in terms of one.
    let (share, against_share) = (users as f64 / all, against_users as f64 / all);
    let mut squares = 0.0;
    for (count, against) in used {
        let having = (count + against) as f64;
        let difference = count as f64 - having * share;
        squares += difference * difference / having;
    }
    let phi_squared = squares / (all * share * against_share);
    let columns = number as f64 - 1.0;
    let corrected = (phi_squared - columns / (all - 1.0)).max(0.0);
    // The smaller one of the corrected numbers of rows and columns, less one.
    let rows_left = 1.0 - 1.0 / (all - 1.0);
    let columns_left = columns - columns * columns / (all - 1.0);
    let smaller = rows_left.min(columns_left);
    if smaller > 0.0 {
        (corrected / smaller).sqrt().min(1.0)
    } else {
        0.0
    }
}

/// The distance of Kolmogorov (1933) and Smirnov (1939): how far the shares of two groups that lie
/// up to one and the same number are apart at most. Both ascend by number; 0 if one is empty.
pub(super) fn distance(
    one: impl Iterator<Item = (i64, u64)> + Clone,
    other: impl Iterator<Item = (i64, u64)> + Clone,
) -> f64 {
    let sum = |count: u64, (_, users): (i64, u64)| count + users;
    let (all, others) = (one.clone().fold(0, sum), other.clone().fold(0, sum));
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let (mut below, mut others_below) = (0, 0);
    let mut greatest: f64 = 0.0;
    while let (Some(&(number, _)), Some(&(others_number, _))) = (one.peek(), other.peek()) {
        let upto = number.min(others_number);
        while let Some((_, users)) = one.next_if(|(number, _)| *number <= upto) {
            below += users;
        }
        while let Some((_, users)) = other.next_if(|(number, _)| *number <= upto) {
            others_below += users;
        }
        greatest = greatest.max((ratio(below, all) - ratio(others_below, others)).abs());
    }
    greatest
}

#[cfg(test)]
mod tests {
    //! The expected numbers were worked out with 40 digits by the textbook formulas in another
    //! language, those of Fisher's test with whole numbers.

    use super::*;

    fn shares(count: u64, users: u64, against: u64, against_users: u64) -> Shares {
        Shares {
            count,
            users,
            against,
            against_users,
        }
    }

    #[track_caller]
    fn close(found: f64, expected: f64, relative: f64) {
        let difference = (found - expected).abs();
        assert!(
            difference <= relative * expected.abs().max(f64::MIN_POSITIVE),
            "{found} is not {expected}"
        );
    }

    #[test]
    fn the_tail_of_the_normal_distribution_is_exact_far_out() {
        for (x, expected) in [
            (0.0, 1.0),
            (0.1, 0.887_537_083_981_715_2),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (1.5, 0.033_894_853_524_689_274),
            (1.999, 0.004_698_443_348_629_488),
            (2.0, 0.004_677_734_981_047_265),
            (2.001, 0.004_657_109_281_475_35),
            (3.0, 2.209_049_699_858_543_8e-5),
            (5.0, 1.537_459_794_428_035_1e-12),
            (10.0, 2.088_487_583_762_545e-45),
            (26.0, 5.663_192_408_856_143e-296),
        ] {
            close(erfc(x), expected, 1e-13);
        }
        close(erfc(1e3), 0.0, 0.0);
    }

    /// The first three are those of table I of Newcombe's paper of 1998 on single proportions.
    #[test]
    fn intervals_of_shares_are_those_of_wilson() {
        for (count, users, lower, upper) in [
            (81, 263, 0.255_288_519_878, 0.366_209_576_983),
            (15, 148, 0.062_386_399_530_7, 0.160_487_241_723),
            (1, 29, 0.006_113_214_292_76, 0.171_755_218_793),
            (0, 10, 0.0, 0.277_532_799_863),
            (10, 10, 0.722_467_200_137, 1.0),
            (0, 0, 0.0, 1.0),
        ] {
            let found = wilson(count, users);
            close(found.lower, lower, 1e-10);
            close(found.upper, upper, 1e-10);
        }
    }

    /// The first two are those of table II of Newcombe's paper of 1998 on differences.
    #[test]
    fn intervals_of_differences_are_those_of_newcombe() {
        for (given, lower, upper) in [
            (
                shares(56, 70, 48, 80),
                0.052_431_472_402_4,
                0.333_872_654_037,
            ),
            (shares(9, 10, 3, 10), 0.170_522_723_935, 0.809_017_973_535),
            (shares(10, 10, 0, 20), 0.679_086_037_142, 1.0),
            (shares(0, 10, 0, 20), -0.161_125_158_053, 0.277_532_799_863),
            (shares(0, 0, 0, 0), -1.0, 1.0),
        ] {
            let found = given.difference();
            close(found.lower, lower, 1e-10);
            close(found.upper, upper, 1e-10);
        }
    }

    /// The second one is the trial of aspirin of 1989: 189 of 11,034 and 104 of 11,037, 1.43 to 2.31.
    #[test]
    fn lifts_have_the_interval_of_their_logarithm() {
        for (given, lift, lower, upper) in [
            (
                shares(56, 70, 48, 80),
                1.333_333_333_33,
                1.076_626_422_76,
                1.651_248_511_27,
            ),
            (
                shares(189, 11_034, 104, 11_037),
                1.817_801_794_45,
                1.433_030_903_05,
                2.305_884_232_42,
            ),
        ] {
            let interval = given.lift_interval().unwrap();
            close(given.lift().unwrap(), lift, 1e-10);
            close(interval.lower, lower, 1e-10);
            close(interval.upper, upper, 1e-10);
        }
        assert_eq!(shares(3, 10, 0, 10).lift(), None);
        assert_eq!(shares(0, 10, 3, 10).lift(), Some(0.0));
        assert_eq!(shares(3, 10, 0, 10).lift_interval(), None);
        assert_eq!(shares(0, 10, 3, 10).lift_interval(), None);
    }

    #[test]
    fn differences_are_tested_by_the_normal_distribution() {
        for (given, p_value, phi) in [
            (
                shares(56, 70, 48, 80),
                0.008_045_081_368_196_6,
                0.216_385_633_707_32,
            ),
            (
                shares(15, 100, 5, 100),
                0.018_422_125_454_099,
                0.166_666_666_666_67,
            ),
            (
                shares(1_655, 1_869, 2_220, 5_174),
                2.443_605_125_989_9e-253,
                0.405_102_910_687_99,
            ),
        ] {
            close(given.p_value(), p_value, 1e-11);
            close(given.phi(), phi, 1e-11);
        }
        // Mirrored, the difference is as likely.
        let (one, other) = (shares(15, 100, 5, 100), shares(5, 100, 15, 100));
        close(one.p_value(), other.p_value(), 1e-14);
        close(one.phi(), -other.phi(), 1e-14);
    }

    /// The first one is the lady who tasted tea.
    #[test]
    fn few_users_are_tested_exactly() {
        for (given, p_value) in [
            (shares(3, 4, 1, 4), 0.485_714_285_714_285_7),
            (shares(0, 5, 4, 5), 0.047_619_047_619_047_616),
            (shares(1, 24, 5, 40), 0.396_850_400_926_353_93),
            (shares(10, 12, 2, 11), 0.003_328_949_957_029_106_5),
            (shares(3, 2_000, 9, 30_000), 0.035_045_089_185_844_015),
            (shares(0, 1_869, 3, 5_174), 0.570_254_433_014_785_4),
            (shares(5, 10, 0, 1_000), 2.905_904_004_436_938_6e-11),
        ] {
            close(given.exact_p_value(), p_value, 1e-11);
        }
        let rare = shares(3, 2_000, 9, 30_000);
        close(rare.p_value(), rare.exact_p_value(), 0.0);
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing() {
        for given in [
            shares(0, 0, 0, 0),
            shares(0, 10, 0, 0),
            shares(0, 10, 0, 20),
            shares(10, 10, 20, 20),
            shares(0, 1_000_000, 0, 99_000_000),
        ] {
            close(given.p_value(), 1.0, 1e-12);
            assert!(given.phi().abs() <= 0.0, "{given:?}");
        }
        // So unlikely that it is 0 as a double.
        assert!(shares(10_000, 10_000, 0, 90_000_000).p_value() < 1e-300);
        assert!(shares(50_000_000, 50_000_000, 0, 50_000_000).p_value() < 1e-300);
    }

    /// The p-values of the example in the paper of Benjamini and Hochberg, four of which are
    /// significant at 5 %.
    #[test]
    fn many_tests_are_corrected_for() {
        let given = [
            0.0344, 0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let found = adjusted(&given);
        assert_eq!(found.iter().filter(|p_value| **p_value <= 0.05).count(), 4);
        close(found[0], 0.0645, 1e-9);
        close(found[1], 0.0015, 1e-9);
        close(found[4], 0.035_625, 1e-9);
        close(found[5], 0.060_3, 1e-3);
        close(found[14], 1.0, 0.0);
        close(adjusted(&[0.04, 0.041])[0], 0.041, 1e-12);
        assert!(adjusted(&[]).is_empty());
    }

    #[test]
    fn categories_tell_groups_apart_by_more_than_their_number() {
        let v = |categories: &[(u64, u64)]| cramers_v(categories.iter().copied());
        close(
            v(&[(1_655, 2_220), (166, 1_307), (48, 1_647)]),
            0.409_798_391_825_53,
            1e-11,
        );
        close(
            v(&[(30, 10), (10, 30), (0, 0)]),
            0.490_290_337_845_46,
            1e-11,
        );
        close(v(&[(10, 0), (0, 30)]), 1.0, 1e-9);
        // A value for each user tells every user apart, and says nothing.
        let ids = [[(1, 0); 50], [(0, 1); 50]].concat();
        for nothing in [&ids[..], &[(10, 10), (20, 20)], &[(5, 9)], &[(5, 0)], &[]] {
            close(v(nothing), 0.0, 0.0);
        }
    }

    #[test]
    fn distributions_are_as_far_apart_as_their_shares_below_a_number() {
        let far = |one: &[(i64, u64)], other: &[(i64, u64)]| {
            distance(one.iter().copied(), other.iter().copied())
        };
        close(far(&[(1, 2), (3, 2)], &[(2, 1), (4, 3)]), 0.75, 1e-12);
        close(far(&[(1, 1), (2, 1)], &[(1, 5), (2, 5)]), 0.0, 0.0);
        close(far(&[(1, 3)], &[(9, 1)]), 1.0, 0.0);
        close(far(&[], &[(9, 1)]), 0.0, 0.0);
    }
}
