//! Static lists: `segments create --list` and `--freeze`, `segments add`, `segments remove`.
//!
//! A file of ids is read as far as one request takes them, so that it may be of any length. It is
//! checked to its end before the first request; what fails later, as a connection or what comes from
//! standard input can, leaves a list with some of its users, which is said.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::import;
use super::output::{self, Output, counted, grouped, printable};
use super::query::instant;
use super::segments::segment_json;
use crate::model::UserId;
use crate::proto::{
    AddSegmentMembersRequest, CreateSegmentRequest, FreezeSource, RemoveSegmentMembersRequest,
    Segment, StaticList, freeze_source, segment,
};

/// Users of one request.
const TOGETHER: usize = 10_000;
/// Users who do not exist that are named.
const NAMED: usize = 100;
/// Bytes of one line that are read: more than any id has.
const LINE_BYTES: u64 = 65_536;

/// The first members of a list that is to be created.
#[derive(Debug, Args)]
pub(super) struct FirstMembers {
    /// Save a static list: users who are added and removed, not defined.
    #[arg(long, conflicts_with = "filter")]
    list: bool,
    /// A user in the list. Can be given several times.
    #[arg(long = "user", value_name = "USER_ID", requires = "list")]
    users: Vec<String>,
    /// A file with the users in the list, an id a line; - for standard input.
    #[arg(long, value_name = "FILE", requires = "list")]
    from_file: Option<PathBuf>,
    /// Save a static list of the users that a filter selects now.
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["filter", "users", "from_file"])]
    freeze: Option<String>,
    /// The instant that `now()` stands for while they are selected; the present if left out.
    #[arg(long, requires = "freeze")]
    as_of: Option<String>,
}

impl FirstMembers {
    /// Whether a static list is to be created.
    pub(super) fn is_given(&self) -> bool {
        self.list || self.freeze.is_some()
    }
}

/// Users to add or to remove.
#[derive(Debug, Args)]
pub(super) struct Members {
    /// The name of the list.
    name: String,
    /// The users.
    #[arg(required_unless_present = "from_file")]
    user_ids: Vec<String>,
    /// A file with the users, an id a line; - for standard input.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

/// What became of users.
#[derive(Debug, Default)]
struct Changed {
    count: u64,
    unknown: u64,
    named: Vec<String>,
    revision: String,
}

impl Changed {
    fn add(&mut self, count: u32, unknown: u32, named: Vec<String>, revision: String) {
        self.count += u64::from(count);
        self.unknown += u64::from(unknown);
        let room = NAMED - self.named.len();
        self.named.extend(named.into_iter().take(room));
        self.revision = revision;
    }

    /// Says which users there are not.
    fn note_unknown(&self) {
        if self.unknown == 0 {
            return;
        }
        let named: Vec<String> = self.named.iter().take(5).map(|id| printable(id)).collect();
        let more = if self.unknown > named.len() as u64 {
            ", .."
        } else {
            ""
        };
        output::note(&format!(
            "{} of those given {} no user: {}{more}",
            grouped(self.unknown),
            if self.unknown == 1 { "is" } else { "are" },
            named.join(", ")
        ));
    }
}

/// Where ids come from: the command line, then a file.
struct Ids {
    given: std::vec::IntoIter<String>,
    file: Option<(String, BufReader<Box<dyn Read + Send>>)>,
    line: u64,
}

impl Ids {
    fn of(given: Vec<String>, file: Option<&Path>) -> Result<Self, CliError> {
        let file = match file {
            None => None,
            Some(path) => {
                let open = || {
                    let (source, _) = import::open(path)?;
                    Ok::<_, CliError>((path.display().to_string(), BufReader::new(source)))
                };
                let can_be_read_twice = std::fs::metadata(path).is_ok_and(|file| file.is_file());
                if can_be_read_twice {
                    Self::new(Vec::new(), Some(open()?)).check()?;
                }
                Some(open()?)
            }
        };
        Ok(Self::new(given, file))
    }

    fn new(given: Vec<String>, file: Option<(String, BufReader<Box<dyn Read + Send>>)>) -> Self {
        Self {
            given: given.into_iter(),
            file,
            line: 0,
        }
    }

    /// Reads the file to its end.
    fn check(mut self) -> Result<(), CliError> {
        while self.next_of_file()?.is_some() {}
        Ok(())
    }

    /// The next ids, as many as one request takes; none at the end.
    fn next(&mut self) -> Result<Vec<String>, CliError> {
        let mut ids: Vec<String> = self.given.by_ref().take(TOGETHER).collect();
        while ids.len() < TOGETHER
            && let Some(id) = self.next_of_file()?
        {
            ids.push(id);
        }
        Ok(ids)
    }

    fn next_of_file(&mut self) -> Result<Option<String>, CliError> {
        let Some((name, file)) = &mut self.file else {
            return Ok(None);
        };
        loop {
            let mut line = String::new();
            self.line += 1;
            let at = format!("{name}: line {}", self.line);
            let read = file.by_ref().take(LINE_BYTES).read_line(&mut line);
            if read.map_err(|error| CliError::Input(format!("{at}: {error}")))? == 0 {
                return Ok(None);
            }
            let id = line.trim_end_matches(['\n', '\r']);
            if id.is_empty() {
                continue;
            }
            UserId::new(id).map_err(|error| CliError::Input(format!("{at}: {error}")))?;
            return Ok(Some(id.to_owned()));
        }
    }
}

/// Saves a static list.
pub(super) async fn create(
    client: &Client,
    segment: Segment,
    first: FirstMembers,
    output: Output,
) -> Result<(), CliError> {
    let name = segment.name.clone();
    let mut ids = Ids::of(first.users, first.from_file.as_deref())?;
    let request = CreateSegmentRequest {
        population: client.population.clone(),
        segment: Some(Segment {
            definition: Some(segment::Definition::StaticList(StaticList::default())),
            ..segment
        }),
        user_ids: ids.next()?,
        freeze: match &first.freeze {
            None => None,
            Some(filter) => Some(FreezeSource {
                selection: Some(freeze_source::Selection::Filter(filter.clone())),
                as_of: instant(first.as_of.as_deref())?,
            }),
        },
    };
    let answer = client.segments().create_segment(request).await;
    let answer = answer.map_err(|status| match &first.freeze {
        Some(filter) => CliError::from(status).about_filter(filter),
        None => status.into(),
    })?;
    let answer = answer.into_inner();
    let saved = answer.segment.unwrap_or_default();
    let members = match &saved.definition {
        Some(segment::Definition::StaticList(list)) => list.member_count,
        Some(segment::Definition::Filter(_) | segment::Definition::Expression(_)) | None => 0,
    };
    let mut changed = Changed::default();
    changed.add(
        u32::try_from(members).unwrap_or(u32::MAX),
        answer.unknown_user_count,
        answer.unknown_user_ids,
        answer.revision,
    );
    let filled = add_all(client, &name, &mut ids, &mut changed).await;
    filled.inspect_err(|_| {
        output::note(&format!(
            "{} is saved, with at least {} so far; go on with `segments add`: those who are in it stay",
            printable(&name),
            counted(changed.count, "user")
        ));
    })?;
    output.answer(
        || {
            let users = counted(changed.count, "user");
            format!("saved {}: a static list of {users}", printable(&name))
        },
        || {
            // As what is answered to a segment with a filter, with what became of the users.
            let mut answer = changed_json(&name, "users", &changed);
            answer["segment"] = segment_json(&saved);
            answer
        },
    )?;
    changed.note_unknown();
    Ok(())
}

async fn add_all(
    client: &Client,
    name: &str,
    ids: &mut Ids,
    changed: &mut Changed,
) -> Result<(), CliError> {
    loop {
        let user_ids = ids.next()?;
        if user_ids.is_empty() {
            return Ok(());
        }
        let request = AddSegmentMembersRequest {
            population: client.population.clone(),
            name: name.to_owned(),
            user_ids,
        };
        let answer = client.segments().add_segment_members(request).await?;
        let answer = answer.into_inner();
        changed.add(
            answer.added_count,
            answer.unknown_user_count,
            answer.unknown_user_ids,
            answer.revision,
        );
    }
}

/// Adds users to a list.
pub(super) async fn add(client: &Client, args: Members, output: Output) -> Result<(), CliError> {
    let mut ids = Ids::of(args.user_ids, args.from_file.as_deref())?;
    let mut changed = Changed::default();
    let added = add_all(client, &args.name, &mut ids, &mut changed).await;
    added.inspect_err(|_| note_unfinished("added", &changed))?;
    output.answer(
        || {
            let users = counted(changed.count, "user");
            format!("added {users} to {}", printable(&args.name))
        },
        || changed_json(&args.name, "added", &changed),
    )?;
    changed.note_unknown();
    Ok(())
}

/// Says what became of a part of the users, if anything did.
fn note_unfinished(what: &str, changed: &Changed) {
    if !changed.revision.is_empty() {
        let users = counted(changed.count, "user");
        output::note(&format!(
            "{what} at least {users} before that; the same command goes on"
        ));
    }
}

async fn remove_all(
    client: &Client,
    name: &str,
    ids: &mut Ids,
    changed: &mut Changed,
) -> Result<(), CliError> {
    loop {
        let user_ids = ids.next()?;
        if user_ids.is_empty() {
            return Ok(());
        }
        let request = RemoveSegmentMembersRequest {
            population: client.population.clone(),
            name: name.to_owned(),
            user_ids,
        };
        let answer = client.segments().remove_segment_members(request).await?;
        let answer = answer.into_inner();
        changed.add(
            answer.removed_count,
            answer.unknown_user_count,
            answer.unknown_user_ids,
            answer.revision,
        );
    }
}

/// Removes users from a list.
pub(super) async fn remove(client: &Client, args: Members, output: Output) -> Result<(), CliError> {
    let mut ids = Ids::of(args.user_ids, args.from_file.as_deref())?;
    let mut changed = Changed::default();
    let removed = remove_all(client, &args.name, &mut ids, &mut changed).await;
    removed.inspect_err(|_| note_unfinished("removed", &changed))?;
    output.answer(
        || {
            let users = counted(changed.count, "user");
            format!("removed {users} from {}", printable(&args.name))
        },
        || changed_json(&args.name, "removed", &changed),
    )?;
    changed.note_unknown();
    Ok(())
}

fn changed_json(name: &str, what: &str, changed: &Changed) -> serde_json::Value {
    json!({
        "name": name,
        what: changed.count,
        "unknown": changed.unknown,
        "unknown_user_ids": changed.named,
        "revision": changed.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(given: &[&str], file: &[u8]) -> Ids {
        let source: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(file.to_vec()));
        let given = given.iter().map(ToString::to_string).collect();
        Ids::new(given, Some(("ids.txt".into(), BufReader::new(source))))
    }

    #[test]
    fn ids_are_read_a_line_each_in_parts() {
        let mut some = ids(&["u1"], b"u2\r\n\n two words \nu3");
        assert_eq!(some.next().unwrap(), ["u1", "u2", " two words ", "u3"]);
        assert!(some.next().unwrap().is_empty());
        let many: Vec<String> = (0..25_000).map(|n| format!("u{n}\n")).collect();
        let mut many = ids(&[], many.concat().as_bytes());
        let parts: Vec<usize> =
            std::iter::from_fn(|| Some(many.next().unwrap().len()).filter(|&n| n > 0)).collect();
        assert_eq!(parts, [10_000, 10_000, 5_000]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let long = "x".repeat(257);
        let error = ids(&[], format!("u1\n{long}\n").as_bytes()).next();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("ids.txt: line 2: "), "{error}");
        assert!(ids(&[], b"u1\n\xff\n").next().is_err());
        // Of a line without an end no more is read than is needed to refuse it.
        let endless: Box<dyn Read + Send> = Box::new(std::io::repeat(b'x'));
        let mut endless = Ids::new(
            Vec::new(),
            Some(("ids.txt".into(), BufReader::new(endless))),
        );
        let error = endless.next().unwrap_err().to_string();
        assert!(error.contains("user_id_bytes"), "{error}");
    }

    #[test]
    fn only_the_first_unknown_users_are_kept() {
        let mut changed = Changed::default();
        for _ in 0..3 {
            let named = vec!["nobody".to_owned(); 80];
            changed.add(1, 90, named, "r".into());
        }
        assert_eq!((changed.count, changed.unknown), (3, 270));
        assert_eq!(changed.named.len(), NAMED);
    }
}
