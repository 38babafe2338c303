//! Any bytes are a Roaring bitmap of the users of a shard or refused. One that was read has the same
//! users by every way to ask, and is written as bytes that are read as the same set; and a set that
//! grows and shrinks is that of a plain list of users.

#![no_main]

use std::collections::BTreeSet;

use headcount::bits::Block;
use headcount::index::{PortableSet, Posting};
use headcount::testing::generate::Choices;
use libfuzzer_sys::fuzz_target;

fn judge(posting: &Posting, users: &BTreeSet<u16>) {
    let mut listed = Vec::new();
    posting.for_each(|user| listed.push(user));
    assert!(listed.iter().eq(users));
    assert_eq!(posting.count() as usize, users.len());
    let block = posting.to_block();
    assert!(block.ones().eq(users.iter().copied()));
    assert_eq!(posting.count_in(&block), posting.count());
    assert_eq!(Posting::of_block(&block), *posting);
    let written = posting.to_portable();
    let read = Posting::from_portable(&written).expect("what was written is read");
    assert_eq!(read, *posting);
    assert_eq!(read.to_portable(), written);
    // As an export hands it out.
    let mut set = PortableSet::default();
    let numbers: Vec<u32> = users.iter().map(|user| u32::from(*user)).collect();
    set.add(&numbers);
    assert_eq!(set.into_portable(), written);
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(mut posting) = Posting::from_portable(bytes) {
        let mut users = BTreeSet::new();
        posting.for_each(|user| {
            users.insert(user);
        });
        judge(&posting, &users);
        // It can be changed like any other.
        for user in [0, 7, u16::MAX] {
            assert_eq!(posting.insert(user), users.insert(user));
        }
        judge(&posting, &users);
    }

    let mut choices = Choices::new(bytes);
    let (mut posting, mut users) = (Posting::default(), BTreeSet::new());
    for _ in 0..choices.below(24) {
        let first = choices.below(65_536);
        let length = choices.pick(&[1, 1, 3, 10, 200, 2_000]);
        let step = choices.pick(&[1, 1, 2, 63, 64]);
        let adding = !choices.yes();
        for number in 0..length {
            let user = ((first + number * step) % 65_536) as u16;
            if adding {
                assert_eq!(posting.insert(user), users.insert(user));
            } else {
                assert_eq!(posting.remove(user), users.remove(&user));
            }
        }
        let probe = choices.below(65_536) as u16;
        assert_eq!(posting.contains(probe), users.contains(&probe));
    }
    judge(&posting, &users);
    let other = Posting::from_portable(bytes).unwrap_or_default();
    let mut both = posting.to_block();
    other.and_into(&mut both, &mut Block::new());
    assert_eq!(posting.and_count(&other), both.count());
});
