//! Who enters and leaves segments, told to real clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headcount::api::RpcStatus;
use headcount::proto::{
    CreateSegmentRequest, DeleteSegmentRequest, DeleteUserRequest, Event, ListMembersRequest,
    ResyncCause, Segment, UpdateSegmentRequest, UserUpdate, WatchSegmentsRequest,
    WatchSegmentsResponse, Watermark, list_members_request, segment, watch_segments_response::Part,
};
use tonic::{Code, Streaming};

use crate::harness::{Service, expect_error, fact, int, set};

/// How long a message may take that is to come at once.
const SOON: Duration = Duration::from_secs(20);

async fn create(service: &Service, name: &str, filter: &str) {
    let request = CreateSegmentRequest {
        segment: Some(Segment {
            name: name.into(),
            definition: Some(segment::Definition::Filter(filter.into())),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.unwrap();
}

async fn redefine(service: &Service, name: &str, filter: &str) {
    let request = UpdateSegmentRequest {
        segment: Some(Segment {
            name: name.into(),
            definition: Some(segment::Definition::Filter(filter.into())),
            ..Segment::default()
        }),
        ..UpdateSegmentRequest::default()
    };
    service.segments().update_segment(request).await.unwrap();
}

/// One who watches, and all that was told.
struct Watching {
    messages: Streaming<WatchSegmentsResponse>,
    members: BTreeMap<String, BTreeSet<String>>,
    told: Vec<String>,
    cursor: String,
}

impl Watching {
    async fn begin(service: &Service, request: WatchSegmentsRequest) -> Self {
        let answer = service.segments().watch_segments(request).await.unwrap();
        Self {
            messages: answer.into_inner(),
            members: BTreeMap::new(),
            told: Vec::new(),
            cursor: String::new(),
        }
    }

    async fn message(&mut self) -> Part {
        let message = tokio::time::timeout(SOON, self.messages.message()).await;
        let message = message.expect("a message").unwrap().expect("no end");
        self.cursor.clone_from(&message.cursor);
        message.part.unwrap()
    }

    /// Takes in what is told up to a watermark that `is_there`.
    async fn until(&mut self, is_there: impl Fn(&Watermark) -> bool) -> Vec<String> {
        loop {
            match self.message().await {
                Part::Changes(changes) => {
                    for change in changes.changes {
                        let members = self.members.entry(change.segment.clone()).or_default();
                        let (sign, is_news) = if change.entered {
                            ('+', members.insert(change.user_id.clone()))
                        } else {
                            ('-', members.remove(&change.user_id))
                        };
                        assert!(is_news, "told twice: {change:?}");
                        let cause = change.cause().as_str_name();
                        let cause = cause.strip_prefix("MEMBERSHIP_CAUSE_").unwrap();
                        assert!(!change.revision.is_empty());
                        let text = format!("{sign}{} {} {cause}", change.segment, change.user_id);
                        self.told.push(text);
                    }
                }
                Part::Members(members) => {
                    let known = self.members.entry(members.segment).or_default();
                    for user in members.user_ids {
                        assert!(known.insert(user));
                    }
                }
                Part::Resync(resync) => {
                    for segment in &resync.segments {
                        self.members.remove(segment);
                    }
                    self.told
                        .push(format!("{:?} {:?}", resync.segments, resync.cause()));
                }
                Part::Watermark(watermark) => {
                    assert!(!self.cursor.is_empty());
                    if is_there(&watermark) {
                        return std::mem::take(&mut self.told);
                    }
                }
            }
        }
    }

    /// What is told up to a revision.
    async fn up_to(&mut self, revision: &str) -> Vec<String> {
        // Nothing is written meanwhile, so that it is the last one.
        self.until(|watermark| watermark.revision == revision).await
    }
}

fn all(include_members: bool) -> WatchSegmentsRequest {
    WatchSegmentsRequest {
        include_members,
        ..WatchSegmentsRequest::default()
    }
}

async fn members(service: &Service, segment: &str) -> BTreeSet<String> {
    let request = ListMembersRequest {
        selection: Some(list_members_request::Selection::Segment(segment.into())),
        page_size: 1_000,
        ..ListMembersRequest::default()
    };
    let answer = service.query().list_members(request).await.unwrap();
    answer.into_inner().user_ids.into_iter().collect()
}

fn visit(user: &str) -> UserUpdate {
    UserUpdate {
        user_id: user.into(),
        events: vec![Event {
            name: "visit".into(),
            ..Event::default()
        }],
        ..UserUpdate::default()
    }
}

#[tokio::test]
async fn changes_come_with_their_causes() {
    let service = Service::start().await;
    service
        .write(vec![set("a", &[("age", int(20))]), visit("a")])
        .await;
    create(&service, "adult", "age >= 18").await;
    create(&service, "active", "count(visit, 1d) >= 1").await;
    let mut watching = Watching::begin(&service, all(true)).await;
    let nothing = watching.until(|_| true).await;
    assert_eq!(nothing, Vec::<String>::new());
    let a = || BTreeSet::from(["a".to_owned()]);
    let expected = [("active".to_owned(), a()), ("adult".to_owned(), a())];
    assert_eq!(watching.members, BTreeMap::from(expected));

    service.write(vec![set("b", &[("age", int(17))])]).await;
    let revision = service.write(vec![set("b", &[("age", int(18))])]).await;
    assert_eq!(watching.up_to(&revision).await, ["+adult b UPDATE"]);
    service.clock.advance("1s".parse().unwrap());
    let revision = service.write(vec![visit("b")]).await;
    assert_eq!(watching.up_to(&revision).await, ["+active b EVENT"]);
    redefine(&service, "adult", "age >= 20").await;
    let erase = DeleteUserRequest {
        user_id: "b".into(),
        ..DeleteUserRequest::default()
    };
    let revision = service
        .user()
        .delete_user(erase)
        .await
        .unwrap()
        .into_inner()
        .revision;
    let told = watching.up_to(&revision).await;
    assert_eq!(told, ["-adult b DEFINITION", "-active b ERASURE"]);

    // Nobody writes: a day goes by.
    service.clock.advance("1d".parse().unwrap());
    let after = |watermark: &Watermark| watermark.time.unwrap().seconds >= 1_767_312_001;
    assert_eq!(watching.until(after).await, ["-active a TIME"]);

    // What comes to be is told as well to those who watch all, and what goes.
    create(&service, "young", "age < 30").await;
    let delete = DeleteSegmentRequest {
        name: "adult".into(),
        ..DeleteSegmentRequest::default()
    };
    let deleted = service.segments().delete_segment(delete).await.unwrap();
    let told = watching.up_to(&deleted.into_inner().revision).await;
    assert_eq!(told, ["+young a DEFINITION", "[\"adult\"] Deleted"]);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_from_its_cursor_and_only_in_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    service.write(vec![set("a", &[("age", int(20))])]).await;
    create(&service, "adult", "age >= 18").await;
    let request = WatchSegmentsRequest {
        segments: vec!["adult".into(), "adult".into()],
        ..WatchSegmentsRequest::default()
    };
    let mut watching = Watching::begin(&service, request.clone()).await;
    watching.until(|_| true).await;
    let cursor = watching.cursor.clone();
    drop(watching);
    service.write(vec![set("a", &[("age", int(10))])]).await;
    let revision = service.write(vec![set("b", &[("age", int(19))])]).await;
    let from = |cursor: &str| WatchSegmentsRequest {
        cursor: cursor.into(),
        ..request.clone()
    };
    for _ in 0..2 {
        let mut again = Watching::begin(&service, from(&cursor)).await;
        again
            .members
            .insert("adult".into(), BTreeSet::from(["a".to_owned()]));
        let told = again.up_to(&revision).await;
        assert_eq!(told, ["-adult a UPDATE", "+adult b UPDATE"]);
    }
    service.stop().await;

    let service = Service::start_in(folder.path()).await;
    let mut again = Watching::begin(&service, from(&cursor)).await;
    let Part::Resync(resync) = again.message().await else {
        panic!("no resync");
    };
    assert_eq!(resync.cause(), ResyncCause::CursorExpired);
    assert_eq!(resync.segments, ["adult"]);
    let with_members = WatchSegmentsRequest {
        include_members: true,
        ..from(&cursor)
    };
    let mut again = Watching::begin(&service, with_members).await;
    again.until(|_| true).await;
    assert_eq!(again.members["adult"], members(&service, "adult").await);
    service.stop().await;
}

async fn refused(service: &Service, request: WatchSegmentsRequest) -> Result<(), RpcStatus> {
    let answer = service.segments().watch_segments(request).await;
    answer.map(|_| ())
}

#[tokio::test]
async fn what_can_not_be_watched_is_said_at_once() {
    let service = Service::start().await;
    service.write(vec![set("a", &[("age", int(20))])]).await;
    create(&service, "adult", "age >= 18").await;
    let request = WatchSegmentsRequest {
        segments: vec!["adult".into(), "adlut".into()],
        ..WatchSegmentsRequest::default()
    };
    let status = refused(&service, request).await;
    let status = expect_error(
        status,
        Code::NotFound,
        "SEGMENT_NOT_FOUND",
        Some("segments[1]"),
    );
    assert_eq!(fact(&status, "suggestions"), "adult");
    let request = WatchSegmentsRequest {
        segments: vec![String::new()],
        ..WatchSegmentsRequest::default()
    };
    let status = refused(&service, request).await;
    expect_error(
        status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("segments[0]"),
    );
    let request = WatchSegmentsRequest {
        cursor: "0123".into(),
        ..WatchSegmentsRequest::default()
    };
    let status = refused(&service, request).await;
    expect_error(
        status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("cursor"),
    );
    let request = WatchSegmentsRequest {
        population: "nowhere".into(),
        ..WatchSegmentsRequest::default()
    };
    let status = refused(&service, request).await;
    expect_error(status, Code::NotFound, "POPULATION_NOT_FOUND", None);
    service.stop().await;
}

/// Many write at once while others begin to watch, with and without members, and definitions change:
/// in the end all of them know what a query says.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_watch_agree_with_queries_while_many_write() {
    const SEGMENTS: [(&str, &str); 4] = [
        ("low", "score < 40"),
        ("odd", "parity = 1"),
        ("high", "score >= 60 AND NOT segment('odd')"),
        ("either", "segment('low') OR segment('odd')"),
    ];
    let service = Service::start().await;
    service
        .write(vec![set("u0", &[("score", int(1)), ("parity", int(0))])])
        .await;
    for (name, filter) in SEGMENTS {
        create(&service, name, filter).await;
    }
    let write = async |writer: i64| {
        for round in 0..60 {
            let updates = (0..5).map(|n| {
                let user = (writer * 7 + round * 13 + n * 29) % 50;
                let value = (writer * 31 + round * 17 + n * 11) % 100;
                set(
                    &format!("u{user}"),
                    &[("score", int(value)), ("parity", int(value % 2))],
                )
            });
            service.write(updates.collect()).await;
        }
    };
    let edit = async {
        for round in 0..20 {
            redefine(&service, "low", &format!("score < {}", 30 + round)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let watch = async {
        let mut all_watching = Vec::new();
        for _ in 0..6 {
            all_watching.push(Watching::begin(&service, all(true)).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        all_watching
    };
    let ((), (), (), (), mut all_watching) =
        tokio::join!(write(0), write(1), write(2), edit, watch);
    let revision = service
        .write(vec![set("last", &[("score", int(50))])])
        .await;
    for watching in &mut all_watching {
        watching.up_to(&revision).await;
        for (name, _) in SEGMENTS {
            let told = watching.members.get(name).cloned().unwrap_or_default();
            assert_eq!(told, members(&service, name).await, "{name}");
        }
    }
    drop(all_watching);
    service.stop().await;
}
