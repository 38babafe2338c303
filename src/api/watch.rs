//! Who enters and leaves segments, as a stream.
//!
//! Invariant: each message says what happened after the one before; a client that does not read holds
//! a few messages for a while, and learns that it missed some.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Api;
use super::convert::{self, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::parts::{self, Gone, Sender, parts};
use super::segments::find;
use super::token::request_hash;
use crate::engine::{self, Mark, Next, Part, Watcher};
use crate::model::{LimitExceeded, SegmentName};
use crate::proto::{
    MembershipCause, MembershipChange, MembershipChanges, ResyncCause, SegmentMembers,
    SegmentResync, WatchSegmentsRequest, WatchSegmentsResponse, Watermark, watch_segments_response,
};
use crate::query::Cause;

/// How often it is said up to where everything was told.
const WATERMARKS: Duration = Duration::from_secs(1);
/// Changes that come so soon after another are told together.
const TOGETHER: Duration = Duration::from_millis(1);
/// How many messages wait for a client that reads slowly.
const MESSAGES: usize = 2;

/// The messages of one call.
pub(super) type ResponseStream = parts::Receiver<WatchSegmentsResponse>;

impl Api {
    pub(super) async fn watch(
        &self,
        request: WatchSegmentsRequest,
        deadline: Deadline,
    ) -> Result<ResponseStream, ApiError> {
        let name = convert::population_name(request.population)?;
        let path = Path::Field(&Path::Root, "segments");
        let population = self.population(&name)?;
        let goes_on = !request.cursor.is_empty();
        let mut names = BTreeSet::new();
        for (position, segment) in request.segments.into_iter().enumerate() {
            let path = Path::Index(&path, position);
            let segment = convert::segment_name(segment, &path)?;
            // That it was deleted since is told by the stream.
            if !goes_on {
                find(&population, &segment, &path.to_string())?;
            }
            names.insert(segment);
        }
        let cursors = request_hash(&("watch", &name, &names));
        let cursor = self.tokens.read_cursor(cursors, &request.cursor)?;
        let names: Vec<SegmentName> = names.into_iter().collect();
        let names = (!names.is_empty()).then_some(names);
        let (engine, members) = (self.engine.clone(), request.include_members);
        // What is watched is worked out anew.
        let watcher = self
            .evaluate(deadline, move |_| {
                let watcher = engine.watch((&name, &population), names, members, cursor);
                watcher.map_err(|exceeded| too_many(&exceeded))
            })
            .await?;
        let (messages, receiver) = parts(MESSAGES, self.patience);
        let stream = WatchStream {
            api: self.clone(),
            cursors,
            deadline,
        };
        tokio::spawn(async move {
            // Nobody reads any more: nothing is watched any more.
            let ended = tokio::select! {
                biased;
                () = messages.closed() => Ok(()),
                ended = stream.send(watcher, &messages) => ended,
            };
            if let Err(error) = ended {
                messages.fail(error);
            }
        });
        Ok(receiver)
    }
}

fn too_many(exceeded: &LimitExceeded) -> ApiError {
    ApiError::overloaded()
        .saying(format!(
            "{exceeded}; try again later, or watch more segments by one stream"
        ))
        .fact("limit", exceeded.limit.name)
        .fact("allowed", exceeded.allowed)
}

/// One call.
struct WatchStream {
    api: Api,
    /// What cursors belong to.
    cursors: u64,
    deadline: Deadline,
}

impl WatchStream {
    /// Sends messages until the client is gone or does not read, the deadline is there or the service
    /// stops. Whoever does not read has no seat any more.
    async fn send(
        &self,
        watcher: Watcher,
        messages: &Sender<WatchSegmentsResponse>,
    ) -> Result<(), ApiError> {
        let mut watcher = watcher;
        let mut watermark_at = Instant::now();
        loop {
            let part = match watcher.read() {
                Next::Part(part) => self.part(part),
                Next::LookUp => {
                    let look_up = self.api.engine.query(move || {
                        watcher.look_up();
                        watcher
                    });
                    watcher = self.deadline.bound(async { Ok(look_up.await?) }).await?;
                    continue;
                }
                Next::Wait(mark) => {
                    let now = Instant::now();
                    if let Some(mark) = mark.filter(|_| now >= watermark_at) {
                        watermark_at = now + WATERMARKS;
                        self.watermark(mark)
                    } else {
                        // Where it can't be said yet up to where, it is asked for anew.
                        let until = watermark_at.max(now + WATERMARKS / 100);
                        self.wait(&mut watcher, until).await?;
                        continue;
                    }
                }
            };
            let cursor = watcher.cursor();
            let cursor = cursor.map(|cursor| self.api.tokens.cursor(self.cursors, cursor));
            let message = WatchSegmentsResponse {
                part: Some(part),
                cursor: cursor.unwrap_or_default(),
            };
            let sent = self.deadline.bound(async {
                tokio::select! {
                    sent = messages.send(message) => Ok(sent),
                    () = self.api.closed() => Err(ApiError::stopping()),
                }
            });
            if let Err(Gone) = sent.await? {
                return Ok(());
            }
        }
    }

    /// Waits until there may be more to tell.
    async fn wait(&self, watcher: &mut Watcher, until: Instant) -> Result<(), ApiError> {
        let more = async {
            let more = async {
                watcher.more().await;
                // More may come with it, and one message is cheaper than two.
                tokio::time::sleep(TOGETHER).await;
            };
            tokio::select! {
                // That the time is over is as good.
                _ = timeout_at(until, more) => Ok(()),
                () = self.api.closed() => Err(ApiError::stopping()),
            }
        };
        self.deadline.bound(more).await
    }

    fn watermark(&self, mark: Mark) -> watch_segments_response::Part {
        watch_segments_response::Part::Watermark(Watermark {
            revision: self.api.revision(mark.revision),
            time: Some(convert::timestamp_message(mark.time)),
        })
    }

    fn part(&self, part: Part) -> watch_segments_response::Part {
        match part {
            Part::Changes(changes) => {
                let changes = changes.into_iter().map(|change| MembershipChange {
                    segment: change.segment.as_str().into(),
                    user_id: change.user.as_str().into(),
                    entered: change.enters,
                    cause: cause(change.cause).into(),
                    revision: self.api.revision(change.mark.revision),
                    time: Some(convert::timestamp_message(change.mark.time)),
                });
                watch_segments_response::Part::Changes(MembershipChanges {
                    changes: changes.collect(),
                })
            }
            Part::Members {
                segment,
                users,
                mark,
            } => watch_segments_response::Part::Members(SegmentMembers {
                segment: segment.as_str().into(),
                user_ids: users.iter().map(|user| user.as_str().into()).collect(),
                revision: self.api.revision(mark.revision),
                time: Some(convert::timestamp_message(mark.time)),
            }),
            Part::Resync { segments, cause } => {
                let name = |segment: &Arc<SegmentName>| segment.as_str().into();
                watch_segments_response::Part::Resync(SegmentResync {
                    segments: segments.iter().map(name).collect(),
                    cause: resync_cause(cause).into(),
                })
            }
        }
    }
}

fn cause(cause: Cause) -> MembershipCause {
    match cause {
        Cause::Update => MembershipCause::Update,
        Cause::Event => MembershipCause::Event,
        Cause::Time => MembershipCause::Time,
        Cause::Erasure => MembershipCause::Erasure,
        Cause::Definition => MembershipCause::Definition,
    }
}

fn resync_cause(cause: engine::ResyncCause) -> ResyncCause {
    match cause {
        engine::ResyncCause::CursorExpired => ResyncCause::CursorExpired,
        engine::ResyncCause::TooSlow => ResyncCause::TooSlow,
        engine::ResyncCause::TooManyChanges => ResyncCause::TooManyChanges,
        engine::ResyncCause::EventsDropped => ResyncCause::EventsDropped,
        engine::ResyncCause::Unknown => ResyncCause::Unknown,
        engine::ResyncCause::Deleted => ResyncCause::Deleted,
        engine::ResyncCause::ClockSetBack => ResyncCause::ClockSetBack,
    }
}
