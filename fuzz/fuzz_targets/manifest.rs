//! Any bytes, with whatever checksum fits, are a manifest or refused; one that was read is written
//! as it was read, and names nothing but files beside it, each once.

#![no_main]

use std::collections::BTreeSet;

use headcount::storage::{Manifest, checksum};
use libfuzzer_sys::fuzz_target;

fn judge(bytes: &[u8]) {
    let Some(manifest) = Manifest::of_bytes(bytes) else {
        return;
    };
    let names: BTreeSet<&str> = manifest.sections.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names.len(), manifest.sections.len(), "{names:?}");
    let folder = std::path::Path::new("/folder");
    for name in names {
        let path = folder.join(name);
        assert_eq!(path.parent(), Some(folder), "{name:?}");
        assert_ne!(name, "manifest");
    }
    let written = manifest.to_bytes();
    assert_eq!(Manifest::of_bytes(&written), Some(manifest));
}

fuzz_target!(|bytes: &[u8]| {
    judge(bytes);
    // The checksum of a seed, or of what was made of one, is in the way of nothing.
    let content = &bytes[..bytes.len().saturating_sub(4)];
    let sum = checksum(content);
    judge(&[content, &sum.to_le_bytes()].concat());
});
