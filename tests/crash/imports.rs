//! Imports of files by `headcount import`, one after another, killed in the middle and begun again:
//! a row is there with both of its values or not at all, and there are at least as many rows as
//! were acknowledged. After each file of users comes one with an event of each of them, which is
//! there at most once.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use headcount::clock::{Clock, SystemClock};
use headcount::model::{Span, Timestamp};

use crate::service::Client;

/// Rows of each file.
const ROWS: u64 = 5_000;
/// A file has the users of the one so many before, so that a long run needs no more memory.
const FILES: u64 = 20;

/// What is known of the imports.
#[derive(Clone, Debug)]
pub(crate) struct Imports {
    folder: PathBuf,
    /// Files that were imported whole.
    whole: u64,
    /// Rows of the file after those that are known to be there.
    of_next: u64,
    /// The same of the events that belong to it.
    events_of_next: u64,
    /// When the events of the first file happened; those of each later one, a minute later.
    begun: Timestamp,
}

/// So that events are neither too old nor ahead of the clock, however long this goes on.
fn some_days_ago() -> Timestamp {
    let days = Span::from_micros(-10 * 86_400_000_000).unwrap();
    // Whole seconds, as they are written in the file.
    let micros = SystemClock.now().saturating_add(days).micros();
    Timestamp::from_micros(micros - micros % 1_000_000).unwrap()
}

impl Imports {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            whole: 0,
            of_next: 0,
            events_of_next: 0,
            begun: some_days_ago(),
        }
    }

    /// When the events of a file happened.
    fn happened(&self, file: u64) -> Timestamp {
        let minutes = i64::try_from(file).unwrap() * 60_000_000;
        let minutes = Span::from_micros(minutes).unwrap();
        self.begun.saturating_add(minutes)
    }

    /// How many rows were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.whole * ROWS + self.of_next
    }

    /// How many events were acknowledged.
    pub(crate) fn acknowledged_events(&self) -> u64 {
        self.whole * ROWS + self.events_of_next
    }

    #[expect(clippy::disallowed_methods, reason = "not a file of the data folder")]
    fn write_files(&self, users: &Path, events: &Path) {
        std::fs::write(users, content(self.whole)).unwrap();
        let happened = self.happened(self.whole);
        std::fs::write(events, content_of_events(self.whole, happened)).unwrap();
    }

    /// Imports until the service is gone.
    pub(crate) fn go_on(&mut self, command: impl Fn() -> Command) {
        let import = |file: &str, options: &[&str]| {
            let file = self.folder.join(file);
            let mut import = command();
            import.args(["--output", "json", "import"]).arg(&file);
            import.args(options).stdin(Stdio::null());
            (file, import)
        };
        let (file, mut users) = import("import.csv", &[]);
        let (events_file, mut events) = import("events.csv", &["--events"]);
        loop {
            self.write_files(&file, &events_file);
            // Users of whom it is known that they are all there have nothing new.
            if self.of_next < ROWS {
                let (rows, is_whole) = run(&mut users);
                self.of_next = self.of_next.max(rows);
                if !is_whole {
                    return;
                }
            }
            let (rows, is_whole) = run(&mut events);
            self.events_of_next = self.events_of_next.max(rows);
            if !is_whole {
                return;
            }
            self.whole += 1;
            self.of_next = 0;
            self.events_of_next = 0;
        }
    }

    /// Compares the events with what is known.
    async fn check_events(&mut self, service: &Client, first: u64) {
        for file in first..=self.whole {
            let (from, to) = (self.happened(file), self.happened(file + 1));
            let did = format!("count(import, TIMESTAMP '{from}', TIMESTAMP '{to}')");
            let found = service.count(&format!("{did} = 1")).await;
            let any = service.count(&format!("{did} > 0")).await;
            assert_eq!(found, any, "counted twice: {self:?}");
            if file < self.whole {
                assert_eq!(found, ROWS, "events of file {file}: {self:?}");
            } else {
                let possible = self.events_of_next..=ROWS;
                assert!(possible.contains(&found), "{found}: {self:?}");
                self.events_of_next = found;
            }
        }
    }

    /// Compares the rows with what is known. Returns how many there are.
    pub(crate) async fn check(&mut self, service: &Client) -> u64 {
        let first = self.whole.saturating_sub(FILES);
        self.check_events(service, first).await;
        let mut of_files = Vec::new();
        for file in first..=self.whole {
            let found = service.count(&format!("file = {file}")).await;
            let both = format!("file = {file} AND double_file = {}", 2 * file);
            assert_eq!(service.count(&both).await, found, "half of a row");
            of_files.push(found);
        }
        let users = of_files.iter().sum();
        let of_next = of_files.pop().unwrap();
        let possible = self.of_next..=ROWS;
        assert!(possible.contains(&of_next), "{of_next}: {self:?}");
        self.of_next = of_next;
        if self.whole >= FILES {
            // The users that the next file has got already.
            of_files[0] += of_next;
        }
        assert!(of_files.iter().all(|found| *found == ROWS), "{of_files:?}");
        users
    }
}

fn content(file: u64) -> String {
    let mut rows = String::from("user_id,file,double_file\n");
    for row in 0..ROWS {
        writeln!(rows, "f{}-{row},{file},{}", file % FILES, 2 * file).unwrap();
    }
    rows
}

fn content_of_events(file: u64, happened: Timestamp) -> String {
    let mut rows = String::from("user_id,event,time,amount\n");
    for row in 0..ROWS {
        let user = format!("f{}-{row}", file % FILES);
        writeln!(rows, "{user},import,{happened},{row}.25").unwrap();
    }
    rows
}

/// Imports a file. Returns how many of its rows were acknowledged, and whether that is all.
fn run(import: &mut Command) -> (u64, bool) {
    let output = import.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let imported = imported(&printed);
    let is_whole = output.status.success();
    if is_whole {
        assert_eq!(imported, ROWS, "{printed}");
    }
    (imported, is_whole)
}

/// How many rows an import says were acknowledged; 0 if it could not even begin.
fn imported(printed: &str) -> u64 {
    let (_, rest) = printed.split_once("\"imported\":").unwrap_or(("", "0"));
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}
