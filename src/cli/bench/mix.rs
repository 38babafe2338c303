//! Which kinds of calls a bench sends, and how many of each.

use std::fmt;
use std::str::FromStr;

use super::chance;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `Check` of one user against 1 to 10 filters and segments.
    Check,
    /// `Count` of one filter.
    Count,
    /// `Write` of one or more users.
    Write,
    /// `Write` of one user, who thereby enters or leaves a segment that is watched.
    Move,
}

impl Operation {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [Self::Check, Self::Count, Self::Write, Self::Move];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Count => "count",
            Self::Write => "write",
            Self::Move => "move",
        }
    }

    /// Its place in `ALL`.
    pub(super) fn place(self) -> usize {
        self as usize
    }
}

/// How often each kind of call is sent, as weights; one at least is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    weights: [u32; Operation::ALL.len()],
}

/// Why a text is no mix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MixError {
    #[error(
        "{0:?} is no kind of call with its weight, such as check=80; the kinds are check, count, write and move"
    )]
    Part(String),
    #[error("{0} is there twice")]
    Twice(&'static str),
    #[error("no kind of call has a weight above 0")]
    Empty,
}

impl Mix {
    /// The largest weight of one kind.
    const MOST: u32 = 1_000_000;

    pub(super) fn new(weights: &[(Operation, u32)]) -> Self {
        let mut mix = Self {
            weights: [0; Operation::ALL.len()],
        };
        for (operation, weight) in weights {
            mix.weights[operation.place()] = *weight;
        }
        mix
    }

    pub(super) fn has(&self, operation: Operation) -> bool {
        self.weights[operation.place()] > 0
    }

    /// The kind of the call with this number: always the same for one seed.
    pub(super) fn pick(&self, seed: u64, number: u64) -> Operation {
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut drawn = chance::below(chance::of(seed, number, chance::KIND), total);
        for operation in Operation::ALL {
            let weight = u64::from(self.weights[operation.place()]);
            if drawn < weight {
                return operation;
            }
            drawn -= weight;
        }
        Operation::Check
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut mix = Self::new(&[]);
        let mut seen = [false; Operation::ALL.len()];
        for part in text.split(',') {
            let wrong = || MixError::Part(part.into());
            let (name, weight) = part.trim().split_once('=').ok_or_else(wrong)?;
            let known = Operation::ALL.into_iter();
            let operation = known
                .into_iter()
                .find(|operation| operation.name() == name)
                .ok_or_else(wrong)?;
            let weight: u32 = weight.parse().map_err(|_| wrong())?;
            if weight > Self::MOST {
                return Err(wrong());
            }
            if std::mem::replace(&mut seen[operation.place()], true) {
                return Err(MixError::Twice(operation.name()));
            }
            mix.weights[operation.place()] = weight;
        }
        if mix.weights.iter().all(|weight| *weight == 0) {
            return Err(MixError::Empty);
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for operation in Operation::ALL.into_iter().filter(|kind| self.has(*kind)) {
            let weight = self.weights[operation.place()];
            write!(f, "{separator}{}={weight}", operation.name())?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_printed() {
        let mix: Mix = "write=5, check=80,count=15".parse().unwrap();
        assert_eq!(mix.to_string(), "check=80,count=15,write=5");
        assert!(mix.has(Operation::Write) && !mix.has(Operation::Move));
        let part = |text: &str| Err(MixError::Part(text.into()));
        for (text, error) in [
            ("", part("")),
            ("check", part("check")),
            ("check=80,", part("")),
            ("check=-1", part("check=-1")),
            ("check=1000001", part("check=1000001")),
            ("read=1", part("read=1")),
            ("check=1,check=2", Err(MixError::Twice("check"))),
            ("check=0,count=0", Err(MixError::Empty)),
        ] {
            assert_eq!(text.parse::<Mix>(), error, "{text}");
        }
    }

    #[test]
    fn kinds_come_as_often_as_their_weights_say() {
        let mix: Mix = "check=80,count=15,write=5".parse().unwrap();
        let mut counts = [0_u32; 4];
        for number in 0..100_000 {
            let picked = mix.pick(7, number);
            assert_eq!(picked, mix.pick(7, number), "the same each time");
            counts[picked.place()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([80_000_u32, 15_000, 5_000, 0]) {
            // Six standard deviations are less than that.
            assert!(
                count.abs_diff(expected) <= expected.div_ceil(100) * 10,
                "{counts:?}"
            );
        }
        assert_eq!(counts[3], 0);
        let other = (0..1_000).filter(|number| mix.pick(7, *number) != mix.pick(8, *number));
        assert!(other.count() > 100, "another seed picks otherwise");
    }
}
