//! Any bytes in the place of one section of a real snapshot are refused, or a population that
//! answers without panicking. The first byte names the section.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use headcount::filter::parse;
use headcount::model::{Revision, StoreLimits, Timestamp};
use headcount::population::Population;
use headcount::query::{Stop, bind, count, members};
use headcount::testing::generate::{Choices, action};
use libfuzzer_sys::{Corpus, fuzz_target};

/// What every section's file begins with: magic and version.
const HEADER: usize = 8;
const REVISION: u64 = 33;

/// The sections of a snapshot that is kept with the tests.
static SECTIONS: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../tests/golden/v2/data/snapshots/00000000000000000033");
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().path());
    let of_default = files.filter_map(|file| {
        let name = file.file_name()?.to_str()?.strip_prefix("default+")?;
        Some((
            name.to_owned(),
            std::fs::read(&file).unwrap().split_off(HEADER),
        ))
    });
    of_default.collect()
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((number, bytes)) = input.split_first() else {
        return Corpus::Reject;
    };
    let (name, real) = SECTIONS
        .iter()
        .nth(usize::from(*number) % SECTIONS.len())
        .unwrap();
    let mut section = bytes.to_vec();
    if name == "catalog" {
        // How many ordinals and property numbers were given out. Tables are as long as that, so
        // that wrong ones cost gigabytes: only the checksum refuses them.
        let counts = real.len().min(8);
        if section.len() < counts {
            return Corpus::Reject;
        }
        section[..counts].copy_from_slice(&real[..counts]);
    }
    let limits = StoreLimits::default();
    let restored = Population::restore(limits, Revision::new(REVISION), |part| {
        if part == name {
            Some(section.clone())
        } else {
            SECTIONS.get(part).cloned()
        }
    });
    let Ok(restored) = restored else {
        return Corpus::Keep;
    };
    let all = restored.user_count();
    for filter in [
        "TRUE",
        "city = 'paris'",
        "age >= 30",
        "tags HAS ANY ('chess')",
        "count(purchase) >= 2",
        "sum(purchase, 14d) > 19.99",
        "segment('in Paris')",
        "segment('everyone then')",
    ] {
        let expression = parse(filter).unwrap();
        let Ok(bound) = bind(&restored, &expression, Timestamp::MAX) else {
            continue;
        };
        assert!(count(&restored, &bound, &Stop::never()).unwrap() <= all);
        let page = members(&restored, &bound, None, 100, &Stop::never()).unwrap();
        for user in page.users {
            let _ = restored.user(&user);
            let _ = restored.user_events(&user, Timestamp::MAX);
        }
    }
    let mut choices = Choices::new(bytes);
    for number in 1..=3 {
        let action = action(&mut choices);
        let _ = restored.apply(Revision::new(REVISION + number), &action);
    }
    Corpus::Keep
});
