//! Where in the body of a request its messages begin and end.
//!
//! Invariant: bytes are counted, never kept; the length that a message announces is at most 4 GiB, so
//! that no sum here overflows.

/// The bytes before each message: whether it is compressed, and its length.
const HEADER: usize = 5;

/// How far a body came within a message.
#[derive(Debug, Default)]
pub(super) struct Framing {
    came: usize,
    length: usize,
}

impl Framing {
    /// Notes the next bytes of the body.
    pub(super) fn pass(&mut self, mut data: &[u8]) {
        while let Some((&first, rest)) = data.split_first() {
            if self.came < HEADER {
                if self.came > 0 {
                    self.length = (self.length << 8) | usize::from(first);
                }
                self.came += 1;
                data = rest;
            } else {
                let taken = data.len().min(self.length + HEADER - self.came);
                self.came += taken;
                data = data.get(taken..).unwrap_or_default();
            }
            if self.came >= HEADER && self.came == self.length + HEADER {
                *self = Self::default();
            }
        }
    }

    /// Bytes of the message that is not whole yet, with those before it; 0 between messages.
    pub(super) fn partial(&self) -> usize {
        self.came
    }

    /// The length that the message announces whose rest is awaited, once it did.
    pub(super) fn announced(&self) -> Option<usize> {
        (self.came >= HEADER).then_some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(HEADER + length as usize, 7);
        bytes
    }

    #[test]
    fn messages_end_where_they_end_however_they_are_cut() {
        let all = [message(3), message(0), message(300), message(70_000)].concat();
        for cut in [1, 2, 5, 7, 8, 64, 1_000, 100_000] {
            let mut framing = Framing::default();
            for part in all.chunks(cut) {
                framing.pass(part);
            }
            assert_eq!((framing.partial(), framing.announced()), (0, None), "{cut}");
            framing.pass(&message(3)[..4]);
            assert_eq!((framing.partial(), framing.announced()), (4, None));
            framing.pass(&message(3)[4..6]);
            assert_eq!((framing.partial(), framing.announced()), (6, Some(3)));
        }
    }
}
