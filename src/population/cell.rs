//! A value behind a lock that can be captured as it was at one moment while it goes on changing.
//!
//! Invariant: once a capture has begun, the value is encoded as it was at that moment exactly
//! once: by the capture when it gets there or, if the writer is first, by the writer before its
//! first change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::Revision;

/// A number for each capture, 0 for none.
pub(super) type Epoch = u64;

type SetAside = Option<(Epoch, Vec<u8>)>;

/// A value that readers share and one writer changes.
#[derive(Debug)]
pub(super) struct Cell<T> {
    value: RwLock<Versioned<T>>,
    /// The last capture that has this value, or that began before it existed.
    captured_in: AtomicU64,
    /// What the writer encoded for a capture that has not come here yet, and for which: a writer
    /// can be about to encode for a capture that ends meanwhile, and that must not be taken for
    /// the value at the beginning of a later one. Held by whoever encodes: if the writer waited for
    /// the capture at the lock of the value instead, readers would wait behind the writer.
    set_aside: Mutex<SetAside>,
}

#[derive(Debug)]
struct Versioned<T> {
    value: T,
    last_changed: Revision,
}

/// Read access to the value.
pub(super) struct Reading<'a, T>(RwLockReadGuard<'a, Versioned<T>>);

impl<T> std::ops::Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// Write access to the value.
pub(super) struct Writing<'a, T>(RwLockWriteGuard<'a, Versioned<T>>);

impl<T> std::ops::Deref for Writing<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> std::ops::DerefMut for Writing<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value
    }
}

impl<T> Cell<T> {
    /// A value that did not exist when the capture `epoch` began.
    pub(super) fn new(value: T, last_changed: Revision, epoch: Epoch) -> Self {
        Self {
            value: RwLock::new(Versioned {
                value,
                last_changed,
            }),
            captured_in: AtomicU64::new(epoch),
            set_aside: Mutex::new(None),
        }
    }

    // A panic while a lock is held ends the process (the writer) or only read (everyone else), so
    // that a poisoned value is whole.
    pub(super) fn read(&self) -> Reading<'_, T> {
        Reading(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last revision that changed the value.
    pub(super) fn last_changed(&self) -> Revision {
        self.read().0.last_changed
    }

    /// Gives the one writer access, after `encode` if the capture `epoch` still needs the value as
    /// it is.
    pub(super) fn write(
        &self,
        revision: Revision,
        epoch: Epoch,
        encode: impl FnOnce(&T) -> Vec<u8>,
    ) -> Writing<'_, T> {
        if epoch > self.captured_in.load(Ordering::Acquire) {
            let mut set_aside = self.set_aside();
            if epoch > self.captured_in.load(Ordering::Acquire) {
                // Readers go on while this takes its time; there is no second writer to fear.
                let reading = self.value.read().unwrap_or_else(PoisonError::into_inner);
                *set_aside = Some((epoch, encode(&reading.value)));
                self.captured_in.store(epoch, Ordering::Release);
            }
        }
        let mut writing = self.value.write().unwrap_or_else(PoisonError::into_inner);
        writing.last_changed = revision;
        Writing(writing)
    }

    /// Gives access to what is derived from the value and encoded nowhere.
    pub(super) fn derive<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        // Behind whoever encodes the value, as in `write`, so that readers do not wait meanwhile.
        let _not_encoded = self.set_aside();
        let mut writing = self.value.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut writing.value)
    }

    /// Returns the value as it was when the capture `epoch` began, encoded; `None` if it had not
    /// changed after `unchanged_since`.
    pub(super) fn capture(
        &self,
        epoch: Epoch,
        unchanged_since: Option<Revision>,
        encode: impl FnOnce(&T) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let mut set_aside = self.set_aside();
        if let Some((captured_for, captured)) = set_aside.take()
            && captured_for == epoch
        {
            return Some(captured);
        }
        let reading = self.value.read().unwrap_or_else(PoisonError::into_inner);
        let unchanged = unchanged_since.is_some_and(|since| reading.last_changed <= since);
        let bytes = (!unchanged).then(|| encode(&reading.value));
        // Before a writer that waits is let in, and without the reading that it would wait for next.
        drop(reading);
        self.captured_in.store(epoch, Ordering::Release);
        bytes
    }

    /// Drops what was encoded for a capture that will not come.
    pub(super) fn forget_capture(&self) {
        *self.set_aside() = None;
    }

    fn set_aside(&self) -> std::sync::MutexGuard<'_, SetAside> {
        self.set_aside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the shape that cells need"
    )]
    fn encode(value: &u8) -> Vec<u8> {
        vec![*value]
    }

    #[test]
    fn a_capture_has_the_value_from_before_later_changes() {
        let cell = Cell::new(1, Revision::new(1), 0);
        *cell.write(Revision::new(5), 1, encode) = 2;
        *cell.write(Revision::new(6), 1, encode) = 3;
        assert_eq!(cell.capture(1, None, encode), Some(vec![1]));
        assert_eq!(*cell.read(), 3);
        assert_eq!(cell.capture(2, None, encode), Some(vec![3]));
        *cell.write(Revision::new(7), 2, |_| panic!("captured already")) = 4;
    }

    #[test]
    fn what_was_set_aside_for_one_capture_is_not_taken_for_the_next() {
        let cell = Cell::new(1, Revision::new(1), 0);
        // The writer learned of capture 1 before that was given up, and got here after.
        cell.forget_capture();
        *cell.write(Revision::new(5), 1, encode) = 2;
        assert_eq!(cell.capture(2, None, encode), Some(vec![2]));
    }

    #[test]
    fn readers_do_not_wait_behind_a_writer_who_waits_for_a_capture() {
        let cell = Cell::new(1, Revision::new(1), 0);
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (end, may_end) = std::sync::mpsc::channel();
        let cell = &cell;
        std::thread::scope(|scope| {
            let capture = scope.spawn(move || {
                cell.capture(1, None, |value| {
                    begun.send(()).unwrap();
                    may_end.recv().unwrap();
                    encode(value)
                })
            });
            has_begun.recv().unwrap();
            let writer = scope.spawn(|| *cell.write(Revision::new(5), 1, |_| vec![9]) = 2);
            // Long enough for the writer to wait, wherever it does.
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(cell.value.try_read().is_ok());
            end.send(()).unwrap();
            writer.join().unwrap();
            // Encoded once, by the capture.
            assert_eq!(capture.join().unwrap(), Some(vec![1]));
        });
        assert_eq!(cell.set_aside().take(), None);
        assert_eq!(*cell.read(), 2);
    }

    #[test]
    fn what_did_not_change_is_not_encoded() {
        let cell = Cell::new(1, Revision::new(3), 0);
        assert_eq!(
            cell.capture(1, Some(Revision::new(3)), |_| panic!("unchanged")),
            None
        );
        assert_eq!(
            cell.capture(2, Some(Revision::new(2)), encode),
            Some(vec![1])
        );
    }
}
