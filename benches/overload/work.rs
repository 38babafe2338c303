//! What is asked, and whether the answers are right.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::user_service_client::UserServiceClient;
use headcount::proto::{
    BreakdownRequest, CheckRequest, GetUserRequest, UserUpdate, Value, WriteRequest,
    WriteStreamRequest, breakdown_request, value::Kind as ValueKind,
};
use headcount::testing::wire;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::child::Server;
use crate::load::Names;
use crate::world::{World, user_id};

/// Of most users.
const HEAVY: &str = "os = 'ios' OR age >= 20 OR amount > 10.0";
const CHECKED: &str = "country IN ('C000', 'C001', 'C002') AND subscriber = TRUE";
/// Users of one write.
const WRITTEN: u64 = 200;
/// Users of one batch of the load.
const BATCH: u64 = 500;
/// Counts all writes that were carried out.
const COUNTER: &str = "writes";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Breakdown,
    Write,
    Check,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Breakdown => "Breakdown of most users",
            Self::Write => "Write of 200 users",
            Self::Check => "Check",
        }
    }
}

/// How a call ended.
pub enum Ended {
    Answered,
    /// Because there was too much to do.
    Refused,
    Wrong,
}

pub struct Work {
    channels: Vec<Channel>,
    users: u64,
    acknowledged: AtomicU64,
}

fn value(kind: ValueKind) -> Value {
    Value { kind: Some(kind) }
}

impl Work {
    pub async fn load(server: &Server, users: u64) -> Self {
        let (world, names) = (World::new(), Names::new());
        let batches = (0..users).step_by(BATCH as usize).map(move |first| {
            let numbers = first..users.min(first + BATCH);
            let updates =
                numbers.map(|number| wire::user_update(&names.update(number, &world.row(number))));
            WriteStreamRequest {
                sequence: first + 1,
                updates: updates.collect(),
                ..Default::default()
            }
        });
        let mut client = IngestServiceClient::new(server.connect().await);
        let answers = client.write_stream(tokio_stream::iter(batches)).await;
        let mut answers = answers.expect("a stream").into_inner();
        while let Some(answer) = answers.next().await {
            assert_eq!(answer.expect("an answer").error, None);
        }
        let mut channels = Vec::new();
        for _ in 0..4 {
            channels.push(server.connect().await);
        }
        Self {
            channels,
            users,
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Asks the call of a number.
    pub async fn ask(&self, kind: Kind, number: u64) -> Ended {
        let place = number as usize % self.channels.len();
        let channel = self.channels[place].clone();
        let answered = match kind {
            Kind::Breakdown => self.break_down(channel).await,
            Kind::Write => self.write(channel, number).await,
            Kind::Check => self.check(channel, number).await,
        };
        match answered {
            Ok(true) => Ended::Answered,
            Ok(false) => Ended::Wrong,
            Err(status) if is_refusal(&status) => Ended::Refused,
            Err(status) => {
                println!("{}: {status:?}", kind.name());
                Ended::Wrong
            }
        }
    }

    async fn break_down(&self, channel: Channel) -> Result<bool, Status> {
        let request = BreakdownRequest {
            selection: Some(breakdown_request::Selection::Filter(HEAVY.into())),
            properties: vec!["city".into()],
            limit: 10,
            ..Default::default()
        };
        let answer = QueryServiceClient::new(channel).breakdown(request).await?;
        let answer = answer.into_inner();
        Ok(answer.users > 0 && answer.users <= self.users && answer.properties.len() == 1)
    }

    async fn write(&self, channel: Channel, number: u64) -> Result<bool, Status> {
        let updates = (0..WRITTEN).map(|n| {
            let change = number * WRITTEN + n;
            UserUpdate {
                user_id: user_id(change * 7_919 % self.users),
                set: [
                    (
                        "age".into(),
                        value(ValueKind::Int64Value(13 + (change % 70) as i64)),
                    ),
                    (
                        "amount".into(),
                        value(ValueKind::DoubleValue((change % 100_000) as f64 / 100.0)),
                    ),
                ]
                .into(),
                ..Default::default()
            }
        });
        let counted = UserUpdate {
            user_id: COUNTER.into(),
            increment: [(COUNTER.into(), value(ValueKind::Int64Value(1)))].into(),
            ..Default::default()
        };
        let request = WriteRequest {
            updates: updates.chain([counted]).collect(),
            ..Default::default()
        };
        let answer = IngestServiceClient::new(channel).write(request).await?;
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(!answer.into_inner().revision.is_empty())
    }

    async fn check(&self, channel: Channel, number: u64) -> Result<bool, Status> {
        let request = CheckRequest {
            user_id: user_id(number * 104_729 % self.users),
            filters: vec![CHECKED.into()],
            ..Default::default()
        };
        let answer = QueryServiceClient::new(channel).check(request).await?;
        let answer = answer.into_inner();
        Ok(answer.user_exists && answer.members.len() == 1)
    }

    /// How many writes were acknowledged and not carried out, or the other way round.
    pub async fn lost(&self) -> u64 {
        let request = GetUserRequest {
            user_id: COUNTER.into(),
            ..Default::default()
        };
        let mut client = UserServiceClient::new(self.channels[0].clone());
        let found = client.get_user(request).await.expect("the counter");
        let user = found.into_inner().user.expect("the counter");
        let counted = match user
            .properties
            .get(COUNTER)
            .and_then(|value| value.kind.as_ref())
        {
            Some(ValueKind::Int64Value(counted)) => counted.unsigned_abs(),
            other => panic!("no count: {other:?}"),
        };
        counted.abs_diff(self.acknowledged.load(Ordering::Relaxed))
    }
}

/// Whether a call was refused as a client can rely on: by its reason, with a delay.
fn is_refusal(status: &Status) -> bool {
    let details = status.get_error_details();
    let is_overload = details
        .error_info()
        .is_some_and(|info| info.reason == "OVERLOADED" && info.metadata.contains_key("limit"));
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    let has_delay = delay.is_some_and(|delay| delay >= Duration::from_millis(1));
    status.code() == Code::ResourceExhausted && is_overload && has_delay
}
