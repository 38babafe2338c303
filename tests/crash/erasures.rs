//! Users who are written, erased and written again: an erased user does not come back, and one who
//! was written again has nothing from before, no event either.

use std::collections::BTreeMap;

use headcount::proto::UserUpdate;

use crate::service::Client;
use crate::{Chance, event, int, number};

/// Users of each task.
const USERS: u64 = 4;

/// What one task knows of its users.
#[derive(Debug)]
pub(crate) struct Erasures {
    task: u64,
    /// The number of the write that each user has, if it is there.
    users: Vec<Option<u64>>,
    /// The user of whom it is not known what became of the last step, and what that would lead to.
    in_doubt: Option<(u64, Option<u64>)>,
    writes: u64,
    erased: u64,
}

impl Erasures {
    pub(crate) fn new(task: u64) -> Self {
        Self {
            task,
            users: (0..USERS).map(|_| None).collect(),
            in_doubt: None,
            writes: 0,
            erased: 0,
        }
    }

    /// How many erasures of users who were there were acknowledged.
    pub(crate) fn erased(&self) -> u64 {
        self.erased
    }

    fn id(&self, user: u64) -> String {
        format!("e{}-u{user}", self.task)
    }

    fn state(&mut self, user: u64) -> &mut Option<u64> {
        &mut self.users[usize::try_from(user).unwrap()]
    }

    /// Writes and erases until the service is gone.
    pub(crate) async fn go_on(&mut self, service: &Client, seed: u64) {
        let mut chance = Chance(seed ^ (self.task << 40));
        let mut client = service.ingest();
        loop {
            let user = chance.next(USERS);
            let id = self.id(user);
            if chance.next(3) == 0 {
                self.in_doubt = Some((user, None));
                if service.erase(&id).await.is_none() {
                    return;
                }
                self.erased += u64::from(self.state(user).take().is_some());
            } else {
                self.writes += 1;
                let write = self.writes;
                // A property that only some writes set, so that what is left over would show.
                let mut set = BTreeMap::from([("write".to_owned(), int(write))]);
                if self.state(user).is_none() {
                    set.insert("first".to_owned(), int(write));
                }
                self.in_doubt = Some((user, Some(write)));
                let update = UserUpdate {
                    user_id: id,
                    set,
                    increment: BTreeMap::from([("writes".to_owned(), int(1))]),
                    // One more each time, and one that is known until the user is erased.
                    events: vec![event("written", ""), event("first", "the same")],
                    ..UserUpdate::default()
                };
                if client.write(vec![update]).await.is_err() {
                    return;
                }
                *self.state(user) = Some(write);
            }
            self.in_doubt = None;
        }
    }

    /// Compares the users with what is known. Returns how many there are.
    pub(crate) async fn check(&mut self, service: &Client) -> u64 {
        let doubt = self.in_doubt.take();
        let mut present = 0;
        for user in 0..USERS {
            let told = service.user(&self.id(user)).await;
            let found = told.as_ref().map(|told| number(&told.properties, "write"));
            if let Some(told) = &told {
                present += 1;
                let first = number(&told.properties, "first");
                assert!(Some(first) <= found, "{user}: first {first}: {self:?}");
                let writes = number(&told.properties, "writes");
                let did = (told.did("written"), told.did("first"));
                assert_eq!(did, (writes, 1), "{user}: {self:?}");
            }
            let known = *self.state(user);
            let possible = match doubt {
                Some((doubted, outcome)) if doubted == user => vec![known, outcome],
                Some(_) | None => vec![known],
            };
            assert!(possible.contains(&found), "{user}: {found:?}: {self:?}");
            *self.state(user) = found;
        }
        present
    }
}
