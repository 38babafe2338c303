//! A service of a test's own, and commands asked of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_headcount");

/// The customers that ship with the project.
pub(crate) fn customers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/telco_customers.csv")
}

/// A service that is killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    address: String,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Runs the program without a service.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    command()
        .args(arguments)
        .output()
        .expect("the program starts")
        .into()
}

/// The program, told nothing by the environment of the test.
pub(crate) fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("HEADCOUNT_") {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::null());
    command
}

impl Service {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut command = command();
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--data",
            ])
            .arg(data)
            .args(arguments);
        Self::started_by(&mut command)
    }

    /// The service that a command starts.
    pub(crate) fn started_by(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line
            .trim()
            .strip_prefix("serving on ")
            .expect("the address")
            .to_owned();
        Self { child, address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Ended {
        self.command(arguments)
            .output()
            .expect("the program starts")
            .into()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.args(["--server", &self.address]).args(arguments);
        command
    }

    /// Runs a command with something on its standard input.
    pub(crate) fn ask_with(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A command that found a bad row does not read on.
        let _ = child.stdin.take().expect("it is piped").write_all(input);
        child.wait_with_output().expect("it ends").into()
    }

    pub(crate) fn count(&self, filter: &str) -> u64 {
        let ended = self.ask(&["--output", "json", "count", filter]);
        ended.json()["count"].as_u64().expect("a count")
    }

    /// What it writes to standard error, if that was piped.
    pub(crate) fn log(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("it is piped")
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the service without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Tells the service to stop; returns its exit code.
    pub(crate) fn terminate(mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .arg(&id)
                .status()
                .expect("kill")
                .success()
        );
        self.child
            .wait()
            .expect("it ends")
            .code()
            .expect("it ended by itself")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
