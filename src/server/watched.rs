//! Files that are read again when they change.
//!
//! Invariant: what is in force is always something that was whole: a file that can't be read or
//! understood changes nothing, and is told of once.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;

/// The largest file that is read.
const FILE_BYTES: u64 = 1 << 20;

/// A file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// Reads a file.
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of the operator's, not of the data folder"
    )]
    fn read(path: &Path) -> Result<Self, String> {
        let mut content = Self {
            path: path.into(),
            bytes: Vec::new(),
        };
        let file = std::fs::File::open(path).map_err(|error| content.fault(error))?;
        file.take(FILE_BYTES + 1)
            .read_to_end(&mut content.bytes)
            .map_err(|error| content.fault(error))?;
        if content.bytes.len() as u64 > FILE_BYTES {
            return Err(content.fault(format!("is larger than {FILE_BYTES} bytes")));
        }
        Ok(content)
    }

    /// What is wrong with it, with its path.
    pub(super) fn fault(&self, fault: impl Display) -> String {
        format!("{}: {fault}", self.path.display())
    }
}

type Parse<T> = fn(&[Content]) -> Result<T, String>;

/// Something that is made of files, as they are now.
pub(super) struct Watched<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    current: Arc<ArcSwap<T>>,
    /// What was read last, whether it was whole or not.
    seen: Result<Vec<Content>, String>,
}

impl<T> Watched<T> {
    /// Reads files for the first time.
    pub(super) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        parse: Parse<T>,
    ) -> Result<Self, String> {
        let files = read(&paths)?;
        let current = Arc::new(ArcSwap::from_pointee(parse(&files)?));
        Ok(Self {
            what,
            paths,
            parse,
            current,
            seen: Ok(files),
        })
    }

    /// What is in force, now and later.
    pub(super) fn current(&self) -> Arc<ArcSwap<T>> {
        Arc::clone(&self.current)
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Content>, String> {
    paths.iter().map(|path| Content::read(path)).collect()
}

/// Something that can be read again.
pub(super) trait Look: Send {
    /// Reads again; what is new and whole is in force from then on.
    fn look(&mut self);
}

impl<T: Send + Sync> Look for Watched<T> {
    fn look(&mut self) {
        let files = read(&self.paths);
        if files == self.seen {
            return;
        }
        let parsed = match &files {
            Ok(files) => (self.parse)(files),
            Err(error) => Err(error.clone()),
        };
        self.seen = files;
        match parsed {
            Ok(parsed) => {
                self.current.store(Arc::new(parsed));
                tracing::info!("{} were read again, and are in force", self.what);
            }
            Err(error) => tracing::error!(
                "{} can't be read again, so that the old ones stay in force: {error}",
                self.what
            ),
        }
    }
}

/// Looks after files every so often, and whenever told to, until nobody can tell any more. To be
/// run on a thread of its own: a disk may take its time.
pub(super) fn keep_current(mut watched: Vec<Box<dyn Look>>, every: Duration, told: &Receiver<()>) {
    while !matches!(
        told.recv_timeout(every),
        Err(RecvTimeoutError::Disconnected)
    ) {
        for watched in &mut watched {
            watched.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(files: &[Content]) -> Result<u32, String> {
        let [file] = files else {
            return Err("one file".into());
        };
        let text = String::from_utf8_lossy(&file.bytes);
        text.trim().parse().map_err(|error| file.fault(error))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of an operator's")]
    fn what_is_new_and_whole_is_in_force_and_what_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let open = || Watched::open("numbers", vec![path.clone()], number);
        assert!(open().err().unwrap().contains("number"));
        std::fs::write(&path, "1").unwrap();
        let mut watched = open().unwrap();
        let current = watched.current();
        let mut now = || {
            watched.look();
            **current.load()
        };
        assert_eq!(now(), 1);
        std::fs::write(&path, "2").unwrap();
        assert_eq!(now(), 2);
        std::fs::write(&path, "broken").unwrap();
        assert_eq!(now(), 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(now(), 2);
        std::fs::write(&path, vec![b'1'; usize::try_from(FILE_BYTES).unwrap() + 1]).unwrap();
        assert_eq!(now(), 2);
        std::fs::write(&path, "3").unwrap();
        assert_eq!(now(), 3);
    }

    #[test]
    fn looking_ends_when_nobody_can_tell_any_more() {
        struct Count(std::sync::mpsc::Sender<()>);
        impl Look for Count {
            fn look(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (looked, looks) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            keep_current(
                vec![Box::new(Count(looked))],
                Duration::from_hours(1),
                &told,
            );
        });
        tell.send(()).unwrap();
        looks.recv().unwrap();
        drop(tell);
        thread.join().unwrap();
    }
}
