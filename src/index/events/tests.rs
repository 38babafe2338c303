//! The index of events against a list of them that is looked through for every question.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::day::DAY;
use super::page::PAGE_EVENTS;
use super::*;
use crate::bits::Block;
use crate::codec::{Decoder, Encoder};
use crate::model::Comparison;

/// All events, by user, in the order in which they were added.
#[derive(Debug, Default)]
struct List(Vec<(u16, StoredEvent)>);

impl List {
    fn insert(&mut self, user: u16, event: StoredEvent) -> bool {
        let same = |(other, known): &(u16, StoredEvent)| {
            *other == user
                && known.id == event.id
                && known.time.abs_diff(event.time) <= 86_400_000_000
        };
        if event.id != 0 && self.0.iter().any(same) {
            return false;
        }
        self.0.push((user, event));
        true
    }

    /// The events of each user between two instants.
    fn between(&self, from: i64, to: i64) -> BTreeMap<u16, Vec<StoredEvent>> {
        let mut users: BTreeMap<u16, Vec<StoredEvent>> = BTreeMap::new();
        for (user, event) in &self.0 {
            if from <= event.time && event.time < to {
                users.entry(*user).or_default().push(*event);
            }
        }
        users
    }

    fn who(&self, from: i64, to: i64, passes: impl Fn(&[StoredEvent]) -> bool) -> Vec<u16> {
        let users = self.between(from, to).into_iter();
        users
            .filter(|(_, events)| passes(events))
            .map(|(user, _)| user)
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, StoredEvent),
    RemoveUser(u16),
    DropBefore(i32),
    Keep(WindowKind, i32, i32),
    Restore,
}

const USERS: [u16; 9] = [0, 1, 2, 3, 63, 64, 40_000, 65_534, 65_535];

/// Instants near the beginnings of days, and others; many twice.
fn instant() -> impl Strategy<Value = i64> {
    let day = -3..6_i64;
    let within = prop_oneof![
        Just(0),
        Just(DAY - 1),
        Just(1),
        (0..24_i64).prop_map(|hour| hour * 3_600_000_000),
        0..DAY,
    ];
    (day, within).prop_map(|(day, within)| day * DAY + within)
}

fn user() -> impl Strategy<Value = u16> {
    prop::sample::select(&USERS[..])
}

fn event() -> impl Strategy<Value = StoredEvent> {
    let amount = prop_oneof![
        Just(None),
        (-3..4_i64).prop_map(|units| Some(units * 500_000)),
        Just(Some(1_000_000_000_000_000_000)),
        Just(Some(-1)),
    ];
    let id = prop_oneof![2 => Just(0), 1 => 1..4_u64];
    (instant(), amount, id).prop_map(|(time, amount, id)| StoredEvent { time, amount, id })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(WindowKind::Events), Just(WindowKind::Days)];
    prop_oneof![
        30 => (user(), event()).prop_map(|(user, event)| Step::Insert(user, event)),
        1 => user().prop_map(Step::RemoveUser),
        1 => (-3..3_i32).prop_map(Step::DropBefore),
        2 => (kind, -4..3_i32, 3..6_i32)
            .prop_map(|(kind, from, days)| Step::Keep(kind, from, from + days)),
        1 => Just(Step::Restore),
    ]
}

fn everyone() -> Block {
    let mut live = Block::new();
    for user in USERS {
        live.insert(user);
    }
    live
}

fn encoded(index: &EventIndex) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encode_events(&mut encoder, index);
    encoder.into_bytes()
}

fn restored(index: &EventIndex) -> EventIndex {
    let bytes = encoded(index);
    let mut decoder = Decoder::new(&bytes);
    let restored = decode_events(&mut decoder, &everyone()).unwrap();
    decoder.finish().unwrap();
    assert_eq!(encoded(&restored), bytes);
    restored
}

fn run(steps: &[Step]) -> (EventIndex, List) {
    let (mut index, mut list) = (EventIndex::default(), List::default());
    let mut windows = Vec::new();
    for step in steps {
        match *step {
            Step::Insert(user, event) => {
                assert_eq!(index.insert(user, event), list.insert(user, event));
            }
            Step::RemoveUser(user) => {
                let before = list.0.len();
                list.0.retain(|(other, _)| *other != user);
                let removed = index.remove_user(user);
                assert_eq!(removed, (before - list.0.len()) as u64);
            }
            Step::DropBefore(day) => {
                let before = list.0.len();
                list.0.retain(|(_, event)| event.time >= day_start(day));
                let dropped = index.drop_before(day);
                assert_eq!(dropped, (before - list.0.len()) as u64);
            }
            Step::Keep(kind, from_day, to_day) => {
                let window = KeptWindow {
                    kind,
                    from_day,
                    to_day,
                };
                windows.push(window);
                windows.drain(..windows.len().saturating_sub(3));
                index.keep(window, &windows);
            }
            Step::Restore => index = restored(&index),
        }
    }
    assert_eq!(index.unsound_days(), 0);
    assert_eq!(index.unsound_windows(), 0);
    (index, list)
}

fn filled(fill: impl FnOnce(&mut Block)) -> Vec<u16> {
    // What was in it before does not matter.
    let mut block = everyone();
    fill(&mut block);
    block.ones().collect()
}

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

proptest! {
    // Each case goes through all users of a shard dozens of times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_question_has_the_answer_of_the_list(
        steps in prop::collection::vec(step(), 0..150),
        windows in prop::collection::vec((instant(), instant()), 2),
        comparison in prop::sample::select(&COMPARISONS[..]),
        starts in prop::collection::btree_set(instant(), 0..6),
        least in 1..5_u64,
        more in prop_oneof![0..4_u64, Just(u64::MAX)],
        operand in prop_oneof![
            (-3..4_i64).prop_map(|units| units * 500_000),
            Just(1_000_000_000_000_000_000),
        ],
    ) {
        let (index, list) = run(&steps);
        let most = least.saturating_add(more);
        let starts: Vec<i64> = starts.into_iter().collect();
        let mut tally = Tally::default();
        prop_assert_eq!(index.len(), list.0.len() as u64);
        prop_assert_eq!(index.oldest_day(), list.0.iter().map(|(_, e)| day_of(e.time)).min());
        for (a, b) in windows.into_iter().chain([(i64::MIN, i64::MAX)]) {
            let (from, to) = (a.min(b), a.max(b));
            let within = |count: usize| (least..=most).contains(&(count as u64));
            let units = |counted: Counted<'_>, events: &[StoredEvent]| match counted {
                Counted::Events => events.len(),
                Counted::Days => {
                    let days: BTreeSet<i32> = events.iter().map(|e| day_of(e.time)).collect();
                    days.len()
                }
                Counted::Units(starts) => {
                    let unit = |e: &StoredEvent| {
                        starts.iter().filter(|start| from < **start && **start <= e.time).count()
                    };
                    events.iter().map(unit).collect::<BTreeSet<_>>().len()
                }
            };
            for counted in [Counted::Events, Counted::Days, Counted::Units(&starts)] {
                let found = filled(|block| {
                    tally.fill_counts(&index, counted, (from, to), (least, most), block);
                });
                let expected = list.who(from, to, |events| within(units(counted, events)));
                prop_assert_eq!(found, expected, "{:?}", counted);
                for (user, events) in list.between(from, to) {
                    let of_user = index.units_of(user, counted, from, to);
                    prop_assert_eq!(of_user, units(counted, &events) as u64);
                }
            }
            let amounts = |events: &[StoredEvent]| -> Vec<i128> {
                events.iter().filter_map(|e| e.amount).map(i128::from).collect()
            };
            {
                let test = AmountTest { comparison, operand };
                let right = i128::from(operand);
                let sum = filled(|block| tally.fill_sums(&index, (from, to), test, block));
                let expected: Vec<u16> = USERS
                    .into_iter()
                    .filter(|user| {
                        let events = list.between(from, to).remove(user).unwrap_or_default();
                        comparison.holds(amounts(&events).iter().sum::<i128>().cmp(&right))
                    })
                    .collect();
                let sum: Vec<u16> = sum.into_iter().filter(|user| USERS.contains(user)).collect();
                prop_assert_eq!(sum, expected);
                let mean = filled(|block| tally.fill_means(&index, (from, to), test, block));
                let expected = list.who(from, to, |events| {
                    let amounts = amounts(events);
                    let count = amounts.len() as i128;
                    count > 0 && comparison.holds(amounts.iter().sum::<i128>().cmp(&(right * count)))
                });
                prop_assert_eq!(mean, expected);
                for (which, extreme) in [
                    (Extreme::Least, Iterator::min as fn(std::vec::IntoIter<i128>) -> Option<i128>),
                    (Extreme::Greatest, Iterator::max),
                ] {
                    let found = filled(|block| {
                        tally.fill_extremes(&index, (from, to), (which, test), block);
                    });
                    let expected = list.who(from, to, |events| {
                        extreme(amounts(events).into_iter())
                            .is_some_and(|extreme| comparison.holds(extreme.cmp(&right)))
                    });
                    prop_assert_eq!(found, expected);
                }
            }
            // Numbers of some of the users, in their order.
            let mut some = everyone();
            some.remove(2);
            let of_some = |number: &dyn Fn(&[StoredEvent]) -> Option<i128>| -> Vec<i128> {
                let users = list.between(from, to).into_iter().filter(|(user, _)| *user != 2);
                users.filter_map(|(_, events)| number(&events)).collect()
            };
            for counted in [Counted::Events, Counted::Days, Counted::Units(&starts)] {
                let mut found: Vec<i128> = Vec::new();
                tally.each_count(&index, counted, (from, to), &some, |n| found.push(i128::from(n)));
                let expected = of_some(&|events| Some(units(counted, events) as i128));
                prop_assert_eq!(found, expected, "{:?}", counted);
            }
            let mut found: Vec<i128> = Vec::new();
            tally.each_sum(&index, (from, to), &some, |sum| found.push(sum));
            prop_assert_eq!(found, of_some(&|events| Some(amounts(events).iter().sum())));
            let (mut sums, mut counts): (Vec<i128>, Vec<i128>) = (Vec::new(), Vec::new());
            tally.each_mean(&index, (from, to), &some, |sum, count| {
                sums.push(sum);
                counts.push(i128::from(count));
            });
            let any = |events: &[StoredEvent]| Some(amounts(events)).filter(|all| !all.is_empty());
            prop_assert_eq!(sums, of_some(&|events| Some(any(events)?.iter().sum())));
            prop_assert_eq!(counts, of_some(&|events| Some(any(events)?.len() as i128)));
            for (which, extreme) in [
                (Extreme::Least, Iterator::min as fn(std::vec::IntoIter<i128>) -> Option<i128>),
                (Extreme::Greatest, Iterator::max),
            ] {
                let mut found: Vec<i128> = Vec::new();
                tally.each_extreme(&index, (from, to), which, &some, |n| found.push(n.into()));
                prop_assert_eq!(found, of_some(&|events| extreme(amounts(events).into_iter())));
                let mut found: Vec<i128> = Vec::new();
                tally.each_time(&index, (from, to), which, &some, |n| found.push(n.into()));
                let times = |events: &[StoredEvent]| -> Vec<i128> {
                    events.iter().map(|event| event.time.into()).collect()
                };
                prop_assert_eq!(found, of_some(&|events| extreme(times(events).into_iter())));
            }
            for user in USERS {
                let events = list.between(from, to).remove(&user).unwrap_or_default();
                let amounts = amounts(&events);
                let tally = index.tally_of(user, from, to);
                prop_assert_eq!(tally.events, events.len() as u64);
                prop_assert_eq!(tally.amounts, amounts.len() as u64);
                prop_assert_eq!(tally.sum, amounts.iter().sum::<i128>());
                prop_assert_eq!(tally.least.map(i128::from), amounts.iter().copied().min());
                prop_assert_eq!(tally.greatest.map(i128::from), amounts.iter().copied().max());
                let mut times = Vec::new();
                index.events_of(user, from, to, |time, _| times.push(time));
                prop_assert!(times.is_sorted());
                let mut expected: Vec<i64> = events.iter().map(|event| event.time).collect();
                expected.sort_unstable();
                prop_assert_eq!(times, expected);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_events_are_refused_and_never_a_panic(
        steps in prop::collection::vec(step(), 1..20), at in any::<u16>(), bits in 1..=u8::MAX,
    ) {
        let (index, _) = run(&steps);
        let mut bytes = encoded(&index);
        let place = usize::from(at) % bytes.len();
        bytes[place] ^= bits;
        let mut decoder = Decoder::new(&bytes);
        if let Ok(other) = decode_events(&mut decoder, &everyone()) {
            prop_assert_eq!(other.unsound_days(), 0);
        }
    }
}

#[test]
fn events_that_come_backwards_share_pages() {
    let event = |time| StoredEvent {
        time,
        amount: None,
        id: 0,
    };
    let mut index = EventIndex::default();
    // A full page, and behind it users who come one by one, each before the one before.
    for user in 0..16 {
        index.insert(user, event(0));
    }
    for user in (16..1_000_u16).rev() {
        index.insert(user, event(0));
    }
    let (bytes, _) = index.heap_bytes();
    assert!(bytes < 40 * 1_000, "{bytes} bytes");
    assert_eq!((index.unsound_days(), index.len()), (0, 1_000));
    let mut users = Vec::new();
    index.for_each_user(|user| users.push(user));
    assert!(users.into_iter().eq(0..1_000));
}

#[test]
fn counts_above_what_a_byte_holds_are_exact() {
    let mut index = EventIndex::default();
    for number in 0..400_i64 {
        let time = number * 1_000;
        for (user, every) in [(1_u16, 1), (2, 2), (3, 400)] {
            if number % every == 0 {
                index.insert(
                    user,
                    StoredEvent {
                        time,
                        amount: None,
                        id: 0,
                    },
                );
            }
        }
    }
    let window = KeptWindow {
        kind: WindowKind::Events,
        from_day: -1,
        to_day: 4,
    };
    let mut tally = Tally::default();
    for kept in [false, true] {
        if kept {
            index.keep(window, &[window]);
        }
        for (least, most, expected) in [
            (1, u64::MAX, vec![1, 2, 3]),
            (254, 254, vec![]),
            (200, 200, vec![2]),
            (200, 254, vec![2]),
            (200, 255, vec![2]),
            (255, u64::MAX, vec![1]),
            (400, 400, vec![1]),
            (401, u64::MAX, vec![]),
            (256, 399, vec![]),
            (2, 300, vec![2]),
        ] {
            let found = filled(|block| {
                let span = (-DAY, 4 * DAY);
                tally.fill_counts(&index, Counted::Events, span, (least, most), block);
            });
            assert_eq!(found, expected, "{least} to {most}");
        }
        assert_eq!(index.count_of(1, -DAY, 4 * DAY), 400);
        assert_eq!(index.count_of(2, -DAY, 1), 1);
    }
}

#[test]
fn an_event_in_the_order_of_time_takes_few_bytes() {
    let mut index = EventIndex::default();
    let users = 2_000_u16;
    for user in 0..users {
        let time = i64::from(user) * 7_000;
        index.insert(
            user,
            StoredEvent {
                time,
                amount: Some(11_770_000 + i64::from(user) * 10_000),
                id: 0,
            },
        );
    }
    let (bytes, _) = index.heap_bytes();
    let each = bytes / usize::from(users);
    println!("{each} bytes an event, in pages of {PAGE_EVENTS}");
    // Two for the user, four for the time, two for the amount; the rest is what small pages cost.
    assert!(each <= 24, "{each}");
}
