//! Batches of two users in unary calls, each a sum, a value and a number of events that must agree: a
//! batch that was not acknowledged is there for both users or for neither. With each event the one
//! before is sent again, which its id makes harmless.

use std::collections::BTreeMap;

use headcount::proto::UserUpdate;

use crate::service::Client;
use crate::{Chance, event, int, number};

/// Users of each task.
const USERS: u64 = 5;

/// What one task knows of its users: how often each was written, and the one write of which it
/// never learned what became.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) writes: BTreeMap<String, u64>,
    in_doubt: Option<Vec<String>>,
    acknowledged: u64,
}

impl Known {
    /// How many batches were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

/// One batch: adds 1 to `unary` of two users, says so in `last` too, and adds an event.
fn batch(users: &[String], known: &Known) -> Vec<UserUpdate> {
    let updates = users.iter().map(|user| {
        let writes = known.writes.get(user).copied().unwrap_or_default();
        UserUpdate {
            user_id: user.clone(),
            set: BTreeMap::from([("last".to_owned(), int(writes + 1))]),
            increment: BTreeMap::from([("unary".to_owned(), int(1))]),
            events: (writes.max(1)..=writes + 1)
                .map(|number| event("unary", &number.to_string()))
                .collect(),
            ..UserUpdate::default()
        }
    });
    updates.collect()
}

/// Writes until the service is gone.
pub(crate) async fn write_until_killed(
    service: &Client,
    writer: u64,
    seed: u64,
    known: &mut Known,
) {
    let mut chance = Chance(seed ^ (writer << 32));
    let mut client = service.ingest();
    loop {
        let first = chance.next(USERS);
        let second = (first + 1 + chance.next(USERS - 1)) % USERS;
        let users = [first, second].map(|user| format!("w{writer}-u{user}"));
        if client.write(batch(&users, known)).await.is_err() {
            known.in_doubt = Some(users.to_vec());
            return;
        }
        known.acknowledged += 1;
        for user in users {
            *known.writes.entry(user).or_default() += 1;
        }
    }
}

/// Compares what the service has with what is known, and learns what became of what was in doubt.
pub(crate) async fn check(service: &Client, known: &mut Known) {
    let doubted = known.in_doubt.take().unwrap_or_default();
    let mut kept = Vec::new();
    let mut users: Vec<String> = known.writes.keys().cloned().collect();
    users.extend(
        doubted
            .iter()
            .filter(|user| !known.writes.contains_key(*user))
            .cloned(),
    );
    for user in users {
        let writes = known.writes.get(&user).copied().unwrap_or_default();
        let found = match service.user(&user).await {
            Some(user_found) => {
                let properties = &user_found.properties;
                let found = number(properties, "unary");
                assert_eq!(number(properties, "last"), found, "half a write of {user}");
                assert_eq!(user_found.did("unary"), found, "events of {user}");
                found
            }
            None => 0,
        };
        if doubted.contains(&user) {
            assert!(
                found == writes || found == writes + 1,
                "{user}: {found}, {writes} known"
            );
            kept.push(found - writes);
        } else {
            assert_eq!(found, writes, "{user}");
        }
        if found > 0 {
            known.writes.insert(user, found);
        }
    }
    assert!(
        kept.windows(2).all(|pair| pair[0] == pair[1]),
        "half of a batch was kept: {kept:?}"
    );
}
