//! The corpus that fuzzing starts from, in `fuzz/seeds/`: made of the golden folders, of the sample
//! data and of the words of the protocol, so that every target begins with what is right. A new kind
//! of record, or a new method, gets its seed here; then they are written anew by
//!
//! ```text
//! cargo test --test golden -- --ignored write_the_seeds
//! ```
//!
//! What fuzzing itself found worth keeping may stand beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headcount::cli::probe::{ImportFormat, ImportRow, import_rows, read_settings};
use headcount::engine::record;
use headcount::filter;
use headcount::index::Posting;
use headcount::proto::{
    AddSegmentMembersRequest, BreakdownRequest, CompareRequest, CreateSegmentRequest,
    DeletePropertyRequest, ExportFormat, ExportMembersRequest, GetSegmentRequest,
    ListUserSegmentsRequest, OverlapRequest, RemoveSegmentMembersRequest, Segment, Selection,
    StreamMembersRequest, SummarizeRequest, UserUpdate, VerifyRequest, WatchSegmentsRequest,
    WriteStreamRequest, breakdown_request, compare_request, segment, selection,
    stream_members_request, summarize_request,
};
use headcount::storage::{Disk, Manifest, RealDisk, survey};
use headcount::testing::generate::bytes;
use prost::Message;

use super::{V1, V2};

/// Targets that make what they need of any bytes.
const OF_CHOICES: [&str; 6] = [
    "commands_against_naive",
    "expression_tree",
    "filter_tree",
    "log_file",
    "snapshot_part",
    "write_request",
];

/// Bytes of the seeds of one target at most.
const MOST: usize = 16 << 10;

/// By target and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn seeds_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for target in OF_CHOICES {
        for seed in 0..6 {
            let name = format!("choices-{seed}");
            seeds.insert((target, name), bytes(seed, 16 << seed));
        }
    }
    records(&mut seeds);
    snapshots(&mut seeds);
    bitmaps(&mut seeds);
    texts(&mut seeds);
    requests(&mut seeds);
    seeds
}

/// Two records of each kind of each version.
fn records(seeds: &mut Seeds) {
    for golden in [V1, V2] {
        let mut found: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
        let folder = golden.copied();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut note = |record: &[u8]| {
            found.entry(record[1]).or_default().push(record.to_vec());
            None
        };
        survey(&disk, folder.path(), &mut note).unwrap();
        for (kind, records) in found {
            for (number, record) in records.into_iter().take(2).enumerate() {
                let name = format!("{}-kind-{kind:02}-{number}", golden.name);
                seeds.insert(("record", name), record);
            }
        }
    }
}

/// Manifests, and each section of the newest snapshot behind its number.
fn snapshots(seeds: &mut Seeds) {
    for golden in [V1, V2] {
        let manifests = golden.files().into_iter();
        let manifests = manifests.filter(|(path, _)| path.ends_with("manifest"));
        for (number, (_, bytes)) in manifests.enumerate() {
            seeds.insert(("manifest", format!("{}-{number}", golden.name)), bytes);
        }
    }
    let sections = V2.files().into_iter().filter_map(|(path, bytes)| {
        let newest = path.parent()?.ends_with("00000000000000000033");
        let name = path.file_name()?.to_str()?.strip_prefix("default+")?;
        newest.then(|| (name.to_owned(), bytes))
    });
    let sections: BTreeMap<String, Vec<u8>> = sections.collect();
    for (number, (name, bytes)) in sections.into_iter().enumerate() {
        // What a section's file begins with is no part of the section.
        let content = [&[u8::try_from(number).unwrap()], &bytes[8..]].concat();
        seeds.insert(("snapshot_section", name), content);
    }
}

fn bitmaps(seeds: &mut Seeds) {
    let sets: [(&str, Vec<u16>); 5] = [
        ("empty", Vec::new()),
        ("few", vec![0, 7, u16::MAX]),
        ("array", (0..200).map(|n| n * 3).collect()),
        ("run", (100..9_000).collect()),
        ("dense", (0..5_000).map(|n| n * 13).collect()),
    ];
    for (name, users) in sets {
        let mut posting = Posting::default();
        for user in users {
            posting.insert(user);
        }
        seeds.insert(("bitmap", name.into()), posting.to_portable());
    }
}

/// The first lines of a file that ships with the project.
fn first_lines(file: &str, lines: usize) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    text.split_inclusive('\n')
        .take(lines)
        .collect::<String>()
        .into()
}

fn texts(seeds: &mut Seeds) {
    let mut add = |target, name: &str, text: &str| {
        seeds.insert((target, name.into()), text.into());
    };
    for (number, filter) in [
        "TRUE",
        "NOT (a = 'x' OR b != 'it''s') AND TRUE",
        "age >= 30 AND age < 40.5 AND n IN (1, -2, 3)",
        "score IS NOT SET OR \"a b\" IS SET",
        "tags HAS ANY ('a', 'b') AND NOT tags HAS ALL ('c')",
        "app < VERSION '2.10.0' AND seen >= now() - 30d",
        "seen < DATE '1970-01-01' OR seen > TIMESTAMP '2026-01-01T00:00:00Z'",
        "visits BETWEEN 2 AND 5",
        "age NOT BETWEEN 2 AND 5e3 OR tags HAS NONE ('x') -- a comment",
        "count(purchase, 14d) >= 2",
        "sum(purchase, last 4 days IN 'America/New_York') > 19.99",
        "last(login) >= now() - 1d AND days(login, 7d) = 1 OR avg(\"a b\", this month) IN (1, 2)",
        "segment('in Paris') AND NOT segment('it''s')",
        "bucket('salt', 100) < 10",
        "AT LEAST 2 OF (a = 1, b = 2, c = 3)",
    ]
    .iter()
    .enumerate()
    {
        add("filter_text", &format!("filter-{number:02}"), filter);
    }
    add("settings", "empty", "");
    add(
        "settings",
        "some",
        "[store]\ndata = \"/var/lib/headcount\"\nsnapshot_interval = \"30m\"\n\n[server]\n\
         listen = \"127.0.0.1:0\"\n\n[limits]\nmax_users = 5_000_000\n\n[log]\nformat = 'json'\n",
    );
    add(
        "settings",
        "mistakes",
        "data = 1\n[store]\ndat = \"x\"\n[server]\nlisten = 7171\n[limit]\nmax_users = []\n\
         [log]\nlevels = \"wrong\"\n",
    );
    add(
        "settings",
        "no-toml",
        "[store]\ndata = /var/lib/headcount\n",
    );
    add(
        "import_csv",
        "quotes",
        "id,\"a\",b\r\n1,\"x, \"\"y\"\"\nz\",\r\n2,,true\r\n\r\n3,\"open\n",
    );
    add(
        "import_csv",
        "semicolons",
        "user_id;a;n\nu1;x,y;007\nu2;;-1\n",
    );
    add("import_csv", "uneven", "user_id,a\nu1\nu2,b,c\n,d\nu3,e\n");
    add(
        "import_ndjson",
        "users",
        "{\"user_id\":\"u1\",\"age\":41,\"tags\":[\"a\",\"b\"],\"plan\":null,\"x\":1.5}\n\n\
         {\"user_id\":7,\"age\":\"x\",\"seen\":\"2026-01-31\",\"b\":true}\n\
         {\"user_id\":\"\"}\n[1]\n{\"a\":\n{\"user_id\":\"u2\",\"o\":{\"p\":1},\"n\":18446744073709551615}\n",
    );
    add(
        "import_ndjson",
        "events",
        "{\"user_id\":\"u1\",\"event\":\"purchase\",\"time\":\"2026-01-31T10:00:00Z\",\"amount\":9.99,\"event_id\":\"e1\"}\n\
         {\"user_id\":\"u1\",\"event\":\"login\",\"time\":\"2026-01-31\"}\n\
         {\"user_id\":\"u2\",\"event\":\"login\",\"time\":12}\n",
    );
    seeds.insert(
        ("import_csv", "customers".into()),
        first_lines("telco_customers.csv", 4),
    );
    seeds.insert(
        ("import_csv", "purchases".into()),
        first_lines("cdnow_purchases.csv", 5),
    );
}

/// Messages of the methods that have none among the seeds that are kept by hand, each behind the
/// number that the target gives its method.
#[expect(clippy::too_many_lines, reason = "a few lines for each method")]
fn requests(seeds: &mut Seeds) {
    let mut add = |number: u8, name: &str, message: Vec<u8>| {
        let message = [&[number], message.as_slice()].concat();
        seeds.insert(("request", name.into()), message);
    };
    let filter = || "s = 'FR' AND i < 3".to_owned();
    let selections = || {
        [filter(), "TRUE".into()]
            .map(|filter| Selection {
                selection: Some(selection::Selection::Filter(filter)),
            })
            .to_vec()
    };
    let name = || "vip".to_owned();
    let user_ids = || vec!["u1".to_owned(), "u2".to_owned()];
    let saved = |definition| CreateSegmentRequest {
        segment: Some(Segment {
            name: name(),
            definition,
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    let definition = segment::Definition::Filter(filter());
    add(
        19,
        "create_segment",
        saved(Some(definition)).encode_to_vec(),
    );
    let listed = CreateSegmentRequest {
        user_ids: user_ids(),
        ..saved(None)
    };
    add(19, "create_list", listed.encode_to_vec());
    let of_user = ListUserSegmentsRequest {
        user_id: "u1".into(),
        want_valid_until: true,
        ..ListUserSegmentsRequest::default()
    };
    add(24, "user_segments", of_user.encode_to_vec());
    let get = GetSegmentRequest {
        name: name(),
        ..GetSegmentRequest::default()
    };
    add(25, "get_segment", get.encode_to_vec());
    let members = AddSegmentMembersRequest {
        name: name(),
        user_ids: user_ids(),
        ..AddSegmentMembersRequest::default()
    };
    add(26, "add_members", members.encode_to_vec());
    let members = RemoveSegmentMembersRequest {
        name: name(),
        user_ids: user_ids(),
        ..RemoveSegmentMembersRequest::default()
    };
    add(27, "remove_members", members.encode_to_vec());
    let breakdown = BreakdownRequest {
        selection: Some(breakdown_request::Selection::Filter(filter())),
        properties: vec!["s".into(), "g".into()],
        limit: 5,
        ..BreakdownRequest::default()
    };
    add(28, "breakdown", breakdown.encode_to_vec());
    let summarize = SummarizeRequest {
        selection: Some(summarize_request::Selection::Filter(filter())),
        property: "i".into(),
        percentiles: vec![0.5, 0.9],
        bins: Some(summarize_request::Bins::BinCount(4)),
        ..SummarizeRequest::default()
    };
    add(29, "summarize", summarize.encode_to_vec());
    let overlap = OverlapRequest {
        selections: selections(),
        ..OverlapRequest::default()
    };
    add(30, "overlap", overlap.encode_to_vec());
    let compare = CompareRequest {
        selection: Some(compare_request::Selection::Filter(filter())),
        against: selections().pop(),
        properties: vec!["s".into()],
        ..CompareRequest::default()
    };
    add(31, "compare", compare.encode_to_vec());
    let delete = DeletePropertyRequest {
        name: "v".into(),
        ..DeletePropertyRequest::default()
    };
    add(32, "delete_property", delete.encode_to_vec());
    let verify = VerifyRequest {
        sample_shards: 1,
        seed: 7,
        ..VerifyRequest::default()
    };
    add(33, "verify", verify.encode_to_vec());
    let stream = StreamMembersRequest {
        selection: Some(stream_members_request::Selection::Filter(filter())),
        ..StreamMembersRequest::default()
    };
    add(34, "stream_members", stream.encode_to_vec());
    for (kind, format) in [
        ("ids", ExportFormat::Ids),
        ("bitmaps", ExportFormat::Bitmaps),
    ] {
        let export = ExportMembersRequest {
            selections: selections(),
            format: format.into(),
            ..ExportMembersRequest::default()
        };
        add(35, &format!("export_{kind}"), export.encode_to_vec());
    }
    let watch = WatchSegmentsRequest {
        segments: vec![name()],
        include_members: true,
        ..WatchSegmentsRequest::default()
    };
    add(36, "watch_segments", watch.encode_to_vec());
    let batches = (1..=2).flat_map(|sequence| {
        let batch = WriteStreamRequest {
            sequence,
            updates: vec![UserUpdate {
                user_id: "u1".into(),
                ..UserUpdate::default()
            }],
            ..WriteStreamRequest::default()
        };
        let batch = batch.encode_to_vec();
        let length = u32::try_from(batch.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &batch].concat()
    });
    add(37, "write_stream", batches.collect());
}

#[test]
fn the_seeds_are_kept_and_small() {
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    for ((target, name), seed) in seeds() {
        let file = seeds_folder().join(target).join(&name);
        let kept = std::fs::read(&file);
        let kept = kept.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(kept == seed, "{} is another one", file.display());
        *bytes.entry(target).or_default() += seed.len();
    }
    for (target, bytes) in bytes {
        assert!(bytes <= MOST, "{target}: {bytes} bytes");
    }
}

/// A seed that is refused at once leads nowhere.
#[test]
fn the_seeds_are_what_they_stand_for() {
    let mut kinds = std::collections::BTreeSet::new();
    for ((target, name), seed) in seeds() {
        match target {
            "record" => {
                record::decode(&seed).unwrap_or_else(|error| panic!("{name}: {error}"));
                kinds.insert(seed[1]);
            }
            "manifest" => assert!(Manifest::of_bytes(&seed).is_some(), "{name}"),
            "bitmap" => assert!(Posting::from_portable(&seed).is_some(), "{name}"),
            "filter_text" => {
                let text = String::from_utf8(seed).unwrap();
                filter::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            }
            "settings" => {
                let read = read_settings(std::str::from_utf8(&seed).unwrap());
                assert_eq!(
                    read.is_ok(),
                    ["empty", "some"].contains(&name.as_str()),
                    "{read:?}"
                );
            }
            "import_csv" | "import_ndjson" => {
                let format = if target == "import_csv" {
                    ImportFormat::Csv
                } else {
                    ImportFormat::Ndjson
                };
                let flags: &[&str] = match name.as_str() {
                    "purchases" => &["--events", "--ignore", "quantity"],
                    "events" => &["--events"],
                    "semicolons" => &["--delimiter", ";"],
                    _ => &[],
                };
                let rows = import_rows(seed, format, flags).unwrap();
                let is_good = |row: &ImportRow| matches!(row, ImportRow::Update(..));
                assert!(rows.iter().any(is_good), "{name}: {rows:?}");
            }
            _ => {}
        }
    }
    assert!(kinds.into_iter().eq(1..=16), "a kind of record has no seed");
}

/// Not a test: writes the seeds.
#[test]
#[ignore = "writes the seeds"]
fn write_the_seeds() {
    for ((target, name), seed) in seeds() {
        let folder = seeds_folder().join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), seed).unwrap();
    }
}
