//! How near two words are, to tell what a misspelt one was probably meant to be.

/// How many letters must be inserted, left out, replaced or swapped with their neighbour to make
/// one word of another.
#[must_use]
pub fn distance(one: &[u8], other: &[u8]) -> usize {
    // The rows of the usual table: two before, one before, current.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(a != b);
            let inserted = at(&row, j) + 1;
            let left_out = at(&last, j + 1) + 1;
            let mut best = replaced.min(inserted).min(left_out);
            let swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    at(&last, other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_one_step() {
        for (one, other, steps) in [
            ("paris", "paris", 0),
            ("pariss", "paris", 1),
            ("pais", "paris", 1),
            ("paros", "paris", 1),
            ("pairs", "paris", 1),
            ("", "paris", 5),
            ("rome", "paris", 5),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), steps);
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), steps);
        }
    }
}
