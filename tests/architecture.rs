//! The house keeps its own rules: who may import whom, where foreign crates stop, and what every
//! file and every promise in the documentation must have.
//!
//! A rule that is broken here is changed in the table only together with `docs/architecture.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Which rooms of `src/` each room may import. `testing` is test equipment and may import all.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("codec", &[]),
    ("bits", &[]),
    ("proto", &[]),
    ("clock", &["model"]),
    ("meter", &[]),
    ("filter", &["model"]),
    ("index", &["bits", "codec", "model"]),
    ("population", &["codec", "filter", "index", "model"]),
    ("query", &["bits", "index", "model", "population"]),
    ("storage", &["codec", "model"]),
    (
        "engine",
        &[
            "clock",
            "codec",
            "meter",
            "model",
            "population",
            "query",
            "storage",
        ],
    ),
    (
        "api",
        &[
            "codec",
            "engine",
            "filter",
            "meter",
            "model",
            "population",
            "proto",
            "query",
        ],
    ),
    (
        "server",
        &["api", "clock", "engine", "meter", "model", "proto"],
    ),
    (
        "cli",
        &[
            "clock", "engine", "filter", "model", "proto", "server", "storage",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Which foreign crates are for some rooms or files only.
const CRATES: &[(&str, &[&str])] = &[
    ("croaring", &["src/index/posting.rs"]),
    (
        "jiff",
        &[
            "src/model/calendar.rs",
            "src/model/time.rs",
            "src/model/zone.rs",
        ],
    ),
    ("sha2", &["src/model/digest.rs"]),
    (
        "dashmap",
        &["src/population/users.rs", "src/engine/registry.rs"],
    ),
    ("rayon", &["src/engine/", "src/query/"]),
    // Protobuf stops at the edge: nothing below has heard of it.
    ("prost", &["src/proto.rs", "src/api/", "src/cli/"]),
    ("prost_types", &["src/proto.rs", "src/api/", "src/cli/"]),
    (
        "tonic",
        &["src/proto.rs", "src/api/", "src/server/", "src/cli/"],
    ),
    // The core is synchronous; the runtime is the skin around it.
    (
        "tokio",
        &[
            "src/engine/",
            "src/api/",
            "src/server/",
            "src/cli/",
            "src/main.rs",
        ],
    ),
    ("http_body", &["src/server/"]),
    ("mimalloc", &["src/main.rs"]),
    ("hyper", &["src/server/admin.rs"]),
    ("hyper_util", &["src/server/admin.rs"]),
    ("opentelemetry", &["src/server/observe/spans.rs"]),
    ("opentelemetry_otlp", &["src/server/observe/spans.rs"]),
    ("opentelemetry_sdk", &["src/server/observe/spans.rs"]),
    (
        "rustix",
        &[
            "src/engine/pool.rs",
            "src/server/observe/process.rs",
            "src/server/seats.rs",
        ],
    ),
    ("quick_cache", &["src/api/filters.rs"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("csv", &["src/cli/"]),
    ("hdrhistogram", &["src/cli/bench/"]),
    ("indicatif", &["src/cli/"]),
    ("serde_json", &["src/cli/"]),
    ("toml", &["src/cli/config/", "src/server/tokens.rs"]),
    // One TLS library, where connections come in; tonic has it for those that go out.
    (
        "tokio_rustls",
        &[
            "src/server/connection.rs",
            "src/server/security.rs",
            "src/server/tls.rs",
            "src/server/tokens.rs",
        ],
    ),
    ("subtle", &["src/server/tokens.rs"]),
];

/// The most lines a file may have.
const LONGEST_FILE: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file as its path from the root and its content.
struct File {
    path: String,
    content: String,
}

/// All files below some folders that have one of these extensions, by path. Folders that do not
/// exist have none.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<File> {
    fn visit(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
        let Ok(entries) = folder.read_dir() else {
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let built = path.ends_with("target") || path.ends_with("node_modules");
            if path.is_dir() && !built {
                visit(&path, extensions, found);
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        visit(&root().join(folder), extensions, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| File {
            content: std::fs::read_to_string(&path).unwrap(),
            path: path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/"),
        })
        .collect()
}

fn rust_files() -> Vec<File> {
    let folders = [
        "src",
        "tests",
        "benches",
        "examples",
        "fuzz/fuzz_targets",
        "fuzz/src",
    ];
    let mut files = files(&folders, &["rs"]);
    files.push(File {
        path: "build.rs".into(),
        content: std::fs::read_to_string(root().join("build.rs")).unwrap(),
    });
    files
}

/// The files of the product, each without its tests and its comments.
fn product() -> Vec<File> {
    files(&["src"], &["rs"])
        .into_iter()
        .filter(|file| room(&file.path) != "testing")
        .filter(|file| !file.path.ends_with("/tests.rs") && !file.path.contains("/tests/"))
        .map(|file| {
            // Tests stand at the end of their file.
            let product = file
                .content
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            let content = product
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .fold(String::new(), |text, line| text + line + "\n");
            File { content, ..file }
        })
        .collect()
}

/// The room a file of `src/` belongs to: its folder, or its own name.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let room = inside.split('/').next().unwrap_or_default();
    room.strip_suffix(".rs").unwrap_or(room)
}

/// The identifier that a text starts with.
fn identifier(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The rooms named after `crate::`, also in `crate::{a, b::C}`. For the binary, the library is
/// called by its name.
fn imported_rooms(content: &str) -> BTreeSet<&str> {
    let mut rooms = BTreeSet::new();
    for start in ["crate::", "headcount::"] {
        for after in content.split(start).skip(1) {
            let Some(group) = after.strip_prefix('{') else {
                rooms.insert(identifier(after));
                continue;
            };
            let mut depth = 0;
            let mut expecting = true;
            for (position, character) in group.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => expecting = true,
                    c if expecting && !c.is_whitespace() => {
                        rooms.insert(identifier(&group[position..]));
                        expecting = false;
                    }
                    _ => {}
                }
            }
        }
    }
    rooms
}

/// Fails with all violations at once.
#[track_caller]
fn none(violations: &[String]) {
    let mut list = String::new();
    for violation in violations {
        write!(list, "\n  {violation}").unwrap();
    }
    assert!(violations.is_empty(), "{list}");
}

#[test]
fn imports_are_read_in_every_form() {
    let content = "use crate::model::{Value, Text};\n\
        use crate::{bits::Block, index::{Shard, posting}, clock};\n\
        let x = crate::codec::read(headcount::cli::run());";
    assert_eq!(
        imported_rooms(content).into_iter().collect::<Vec<_>>(),
        ["bits", "cli", "clock", "codec", "index", "model"]
    );
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut violations = Vec::new();
    let all: BTreeSet<String> = files(&["src"], &["rs"])
        .iter()
        .map(|file| room(&file.path).to_string())
        .collect();
    for file in product() {
        let own = room(&file.path);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == own) else {
            violations.push(format!("{}: the room {own} is not in the table", file.path));
            continue;
        };
        for imported in imported_rooms(&file.content) {
            if imported != own && all.contains(imported) && !allowed.contains(&imported) {
                violations.push(format!("{}: {own} may not import {imported}", file.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_table_of_rooms_has_no_circle() {
    // Each room may import only rooms that stand above it in the table.
    for (position, (room, allowed)) in ROOMS.iter().enumerate() {
        for imported in *allowed {
            assert!(
                ROOMS[..position].iter().any(|(above, _)| above == imported),
                "{room} imports {imported}, which does not stand above it"
            );
        }
    }
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut violations = Vec::new();
    for file in product() {
        for (name, allowed) in CRATES {
            let used = file
                .content
                .match_indices(&format!("{name}::"))
                .any(|(at, _)| {
                    !file.content[..at]
                        .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
            if used && !allowed.iter().any(|place| file.path.starts_with(place)) {
                violations.push(format!("{}: {name} is not for this file", file.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn every_file_says_what_it_is_for() {
    let violations: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.content.starts_with("//! "))
        .map(|file| format!("{}: the first line is no `//!`", file.path))
        .collect();
    none(&violations);
}

#[test]
fn every_room_states_its_invariant() {
    let violations: Vec<String> = files(&["src"], &["rs"])
        .iter()
        .filter(|file| file.path.ends_with("/mod.rs"))
        .filter(|file| {
            let doc = file
                .content
                .lines()
                .take_while(|line| line.starts_with("//!"));
            !doc.fold(String::new(), |doc, line| doc + line)
                .contains("Invariant")
        })
        .map(|file| format!("{}: its documentation has no `Invariant`", file.path))
        .collect();
    none(&violations);
}

#[test]
fn no_file_is_too_long() {
    let violations: Vec<String> = rust_files()
        .iter()
        .map(|file| (&file.path, file.content.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {LONGEST_FILE}"))
        .collect();
    none(&violations);
}

#[test]
fn nothing_is_put_off() {
    // In pieces, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut violations = Vec::new();
    let mut all = rust_files();
    all.extend(files(&["proto"], &["proto"]));
    all.extend(documents());
    for file in all {
        for (number, line) in file.content.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric());
            if words.into_iter().any(|word| marks.contains(&word)) {
                violations.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

fn documents() -> Vec<File> {
    let mut documents = files(&["docs"], &["md"]);
    for name in ["README.md", "SECURITY.md", "fuzz/README.md"] {
        if let Ok(content) = std::fs::read_to_string(root().join(name)) {
            documents.push(File {
                path: name.into(),
                content,
            });
        }
    }
    documents
}

#[test]
fn paths_named_in_the_documentation_exist() {
    const FOLDERS: [&str; 10] = [
        "src/",
        "deploy/",
        "proto/",
        "tests/",
        "docs/",
        "fuzz/",
        "benches/",
        "examples/",
        "data/",
        ".ci/",
    ];
    let mut violations = Vec::new();
    for file in documents() {
        // Links, as seen from the document's own folder.
        let folder = root().join(&file.path).parent().unwrap().to_path_buf();
        for link in file.content.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") && !folder.join(link).exists() {
                violations.push(format!("{}: the link {link} leads nowhere", file.path));
            }
        }
        // Paths from the root, wherever they stand; patterns and placeholders are none.
        let pieces = file
            .content
            .split(|c: char| c.is_whitespace() || "`()[],;:'\"|".contains(c));
        for path in pieces.filter(|piece| FOLDERS.iter().any(|folder| piece.starts_with(folder))) {
            let path = path.trim_end_matches('.');
            let pattern = path.contains(['*', '<', '{', '$']);
            let made = path.starts_with("fuzz/artifacts") || path.starts_with("fuzz/corpus");
            if !pattern && !made && !root().join(path).exists() {
                violations.push(format!("{}: there is no {path}", file.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn every_target_of_fuzzing_is_built_described_and_has_a_corpus() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (manifest, readme) = (read("fuzz/Cargo.toml"), read("fuzz/README.md"));
    let mut violations = Vec::new();
    let targets = files(&["fuzz/fuzz_targets"], &["rs"]);
    for file in &targets {
        let name = Path::new(&file.path).file_stem().unwrap().to_str().unwrap();
        if !manifest.contains(&format!(
            "[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/"
        )) {
            violations.push(format!("{name} is no [[bin]] in fuzz/Cargo.toml"));
        }
        if !readme.contains(&format!("\n| `{name}` | ")) {
            violations.push(format!("{name} has no row in fuzz/README.md"));
        }
        let seeds = root().join("fuzz/seeds").join(name);
        let seeds = seeds.read_dir().map_or(0, Iterator::count);
        if seeds == 0 {
            violations.push(format!("there is nothing in fuzz/seeds/{name}"));
        }
    }
    let built = manifest.matches("[[bin]]").count();
    let seeded = root().join("fuzz/seeds").read_dir().unwrap().count();
    assert_eq!((built, seeded), (targets.len(), targets.len()));
    none(&violations);
}

#[test]
fn every_error_reason_has_an_example_and_is_sent() {
    let proto =
        std::fs::read_to_string(root().join("proto/headcount/v1/error_reason.proto")).unwrap();
    // The one table from causes to statuses.
    let status = std::fs::read_to_string(root().join("src/api/status.rs")).ok();
    let mut violations = Vec::new();
    let mut comment = String::new();
    let mut reasons = 0;
    for line in proto.lines().map(str::trim) {
        if line.starts_with("//") {
            comment += line;
            continue;
        }
        let comment = std::mem::take(&mut comment);
        let Some(name) = line
            .strip_prefix("ERROR_REASON_")
            .map(identifier)
            .filter(|name| *name != "UNSPECIFIED")
        else {
            continue;
        };
        reasons += 1;
        if !comment.contains("Example: `{") {
            violations.push(format!("{name} has no example"));
        }
        let camel: String = name
            .split('_')
            .map(|word| word[..1].to_string() + &word[1..].to_ascii_lowercase())
            .collect();
        if status
            .as_ref()
            .is_some_and(|table| !table.contains(&format!("ErrorReason::{camel}")))
        {
            violations.push(format!("{name} is not sent by src/api/status.rs"));
        }
    }
    assert!(reasons >= 18, "only {reasons} reasons were read");
    none(&violations);
}
