//! Imports of files by `headcount import`, one after another, killed in the middle and begun again:
//! a row is there with both of its values or not at all, and there are at least as many rows as
//! were acknowledged.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
}

impl Imports {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            whole: 0,
            of_next: 0,
        }
    }

    /// How many rows were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.whole * ROWS + self.of_next
    }

    #[expect(clippy::disallowed_methods, reason = "not a file of the data folder")]
    fn write_file(&self, file: &Path) {
        std::fs::write(file, content(self.whole)).unwrap();
    }

    /// Imports until the service is gone.
    pub(crate) fn go_on(&mut self, mut import: Command) {
        let file = self.folder.join("import.csv");
        import.args(["--output", "json", "import"]).arg(&file);
        import.stdin(Stdio::null());
        loop {
            self.write_file(&file);
            let output = import.output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let imported = imported(&printed);
            if !output.status.success() {
                self.of_next = self.of_next.max(imported);
                return;
            }
            assert_eq!(imported, ROWS, "{printed}");
            self.whole += 1;
            self.of_next = 0;
        }
    }

    /// Compares the rows with what is known. Returns how many there are.
    pub(crate) async fn check(&mut self, service: &Client) -> u64 {
        let first = self.whole.saturating_sub(FILES);
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
