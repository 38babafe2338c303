//! Selections handed out as they were at one moment, in a stream that can go on after it broke.

use std::sync::Arc;
use std::time::Instant;

use super::Api;
use super::convert::{self, Path, Selected};
use super::deadline::Deadline;
use super::error::ApiError;
use super::exports::{Lease, Pinned, no_room};
use super::parts::{self, Gone, Sender, parts};
use super::query::{bind, time_resolution};
use super::token::{ExportPlace, request_hash};
use crate::model::{PopulationName, UserId, limit};
use crate::proto::{
    ExportFormat, ExportHeader, ExportMembersRequest, ExportMembersResponse, ExportedBitmap,
    ExportedIds, Selection, export_members_response::Part,
};
use crate::query::{self, ExportError, Stop};

pub(super) type ResponseStream = parts::Receiver<ExportMembersResponse>;

const ROOT: Path<'static> = Path::Root;
/// Ids in one message.
const PART_USERS: usize = 4_000;
/// Bytes of a bitmap in one message.
const PART_BYTES: usize = 512 << 10;
/// Messages that wait for a client that reads slowly. What waits has left the lock of its shard, so
/// that few users can be erased after that and still be sent.
const WAITING: usize = 1;

/// The places of [`ExportPlace::stage`].
const HEADER: u32 = 0;
const IDS: u32 = 1;
const BITMAPS: u32 = 2;

/// What is exported, checked.
struct Asked {
    name: PopulationName,
    selected: Vec<Selected>,
    format: ExportFormat,
    /// The same for the same request, to know its tokens.
    hash: u64,
}

impl Api {
    pub(super) async fn export(
        &self,
        request: ExportMembersRequest,
        deadline: Deadline,
    ) -> Result<ResponseStream, ApiError> {
        self.reach(&request.min_revision, deadline).await?;
        let api = self.clone();
        let stream = self
            .evaluate(deadline, move |stop| {
                let given = request.as_of;
                let resume_token = request.resume_token.clone();
                let asked = api.asked(request)?;
                let goes_on = api.tokens.read_export(asked.hash, &resume_token)?;
                let (place, (lease, pinned)) = match goes_on {
                    Some((id, place)) => {
                        let population = api.population(&asked.name)?;
                        (
                            place,
                            api.exports.go_on_in(&population, id, Instant::now())?,
                        )
                    }
                    None => (ExportPlace::default(), api.pin(&asked, given, stop)?),
                };
                Ok(ExportStream {
                    api,
                    lease,
                    pinned,
                    format: asked.format,
                    hash: asked.hash,
                    place,
                    bitmap: None,
                    deadline,
                })
            })
            .await?;
        self.exports.watch_over(stream.lease.id());
        let (parts, receiver) = parts(WAITING, self.patience);
        tokio::spawn(async move {
            // Nobody reads any more: the work in hand is called off.
            let ended = tokio::select! {
                biased;
                () = parts.closed() => Ok(()),
                ended = stream.send(&parts) => ended,
            };
            if let Err(error) = ended {
                parts.fail(error);
            }
        });
        Ok(receiver)
    }

    fn asked(&self, request: ExportMembersRequest) -> Result<Asked, ApiError> {
        let name = convert::population_name(request.population)?;
        let path = Path::Field(&ROOT, "format");
        let format = match ExportFormat::try_from(request.format) {
            Ok(ExportFormat::Unspecified | ExportFormat::Ids) => ExportFormat::Ids,
            Ok(ExportFormat::Bitmaps) => ExportFormat::Bitmaps,
            Err(_) => {
                let given = request.format;
                return Err(ApiError::field(
                    &path,
                    format!("there is no format {given}"),
                ));
            }
        };
        let selected = self.exported(request.selections, format)?;
        let expressions: Vec<_> = selected
            .iter()
            .map(|selected| Arc::clone(selected.prepared.expression()))
            .collect();
        let as_of = request.as_of.map(|as_of| (as_of.seconds, as_of.nanos));
        let hash = request_hash(&("export", &name, expressions, format as i32, as_of));
        Ok(Asked {
            name,
            selected,
            format,
            hash,
        })
    }

    fn exported(
        &self,
        selections: Vec<Selection>,
        format: ExportFormat,
    ) -> Result<Vec<Selected>, ApiError> {
        let path = Path::Field(&ROOT, "selections");
        if selections.is_empty() {
            return Err(ApiError::field(
                &path,
                "must not be empty; give at least one",
            ));
        }
        if format == ExportFormat::Ids && selections.len() > 1 {
            return Err(ApiError::field(
                &path,
                "give one selection, or the format EXPORT_FORMAT_BITMAPS for several",
            ));
        }
        limit::SELECTIONS_PER_EXPORT
            .check(selections.len() as u64)
            .map_err(|exceeded| ApiError::limit(&path, &exceeded))?;
        let selections = selections.into_iter().enumerate();
        let selected = selections.map(|(position, given)| {
            let path = Path::Index(&path, position);
            convert::selection(&self.filters, given.selection, &path)
        });
        selected.collect()
    }

    /// Evaluates what is asked for.
    fn pin(
        &self,
        asked: &Asked,
        as_of: Option<prost_types::Timestamp>,
        stop: &Stop,
    ) -> Result<(Lease, Arc<Pinned>), ApiError> {
        let population = self.population(&asked.name)?;
        let revision = self.applied();
        let as_of = self.as_of(as_of)?;
        let bounds = asked.selected.iter();
        let bounds = bounds.map(|selected| bind(&population, selected, as_of));
        let bounds = bounds.collect::<Result<Vec<_>, ApiError>>()?;
        let lease = self.exports.begin(Instant::now())?;
        let export = query::export(&population, &bounds, &|bytes| lease.take(bytes), stop);
        let export = export.map_err(|error| match error {
            ExportError::NoRoom => no_room(limit::EXPORT_BYTES),
            ExportError::Stopped(stopped) => stopped.into(),
        })?;
        let pinned = Arc::new(Pinned {
            population,
            export,
            revision,
            as_of: convert::timestamp_message(as_of),
            time_resolution: time_resolution(&bounds),
        });
        lease.keep(Arc::clone(&pinned));
        Ok((lease, pinned))
    }
}

/// An export on its way.
struct ExportStream {
    api: Api,
    lease: Lease,
    pinned: Arc<Pinned>,
    format: ExportFormat,
    hash: u64,
    /// What comes next.
    place: ExportPlace,
    /// The bytes of the bitmap that comes next, once they were asked for.
    bitmap: Option<Arc<Vec<u8>>>,
    deadline: Deadline,
}

impl ExportStream {
    /// Sends all that is left. Whoever does not read holds nothing up: the export is kept for them no
    /// longer than any that nobody reads.
    async fn send(mut self, parts: &Sender<ExportMembersResponse>) -> Result<(), ApiError> {
        loop {
            let api = self.api.clone();
            // So that ids are read only when there is room for them.
            let deadline = self.deadline;
            let next = deadline.bound(async {
                tokio::select! {
                    biased;
                    () = api.closed() => Err(ApiError::stopping()),
                    room = parts.room() => match room {
                        Ok(()) => self.next().await,
                        Err(Gone) => Ok(None),
                    },
                }
            });
            match next.await? {
                Some(part) => parts.push(part),
                None => return Ok(()),
            }
        }
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<ExportMembersResponse>, ApiError> {
        let ExportPlace { stage, offset } = self.place;
        let users = self.pinned.export.users();
        let part = match stage {
            HEADER => {
                self.place = ExportPlace {
                    stage: IDS,
                    offset: 0,
                };
                Some(Part::Header(self.header()))
            }
            IDS if offset < users => Some(Part::Ids(self.ids(offset).await?)),
            IDS | BITMAPS.. => self.bytes().await?.map(Part::Bitmap),
        };
        if part.is_none() {
            self.lease.was_read();
        }
        Ok(part.map(|part| ExportMembersResponse {
            part: Some(part),
            resume_token: self
                .api
                .tokens
                .export(self.hash, self.lease.id(), self.place),
        }))
    }

    fn header(&self) -> ExportHeader {
        ExportHeader {
            revision: self.pinned.revision.clone(),
            as_of: Some(self.pinned.as_of),
            time_resolution: self.pinned.time_resolution,
            users: self.pinned.export.users(),
            counts: self.pinned.export.counts().to_vec(),
        }
    }

    async fn ids(&mut self, first: u64) -> Result<ExportedIds, ApiError> {
        let pinned = Arc::clone(&self.pinned);
        let read = move |_: &Stop| Ok(pinned.export.ids(&pinned.population, first, PART_USERS));
        let ids: Vec<Option<UserId>> = self.api.evaluate(self.deadline, read).await?;
        self.place.offset = first + ids.len() as u64;
        let text = |id: UserId| id.as_str().to_owned();
        let user_ids = if self.format == ExportFormat::Bitmaps {
            let ids = ids.into_iter();
            ids.map(|id| id.map_or_else(String::new, text)).collect()
        } else {
            ids.into_iter().flatten().map(text).collect()
        };
        Ok(ExportedIds { first, user_ids })
    }

    /// The next bytes of a bitmap; `None` if there is none.
    async fn bytes(&mut self) -> Result<Option<ExportedBitmap>, ApiError> {
        if self.place.stage == IDS {
            self.place = ExportPlace {
                stage: BITMAPS,
                offset: 0,
            };
        }
        let selection = self.place.stage - BITMAPS;
        let position = usize::try_from(selection).unwrap_or(usize::MAX);
        if self.format == ExportFormat::Ids || position >= self.pinned.export.counts().len() {
            return Ok(None);
        }
        let bitmap = if let Some(bitmap) = &self.bitmap {
            Arc::clone(bitmap)
        } else {
            let pinned = Arc::clone(&self.pinned);
            let made = move |stop: &Stop| Ok(pinned.export.bitmap(position, stop)?);
            let bitmap = Arc::new(self.api.evaluate(self.deadline, made).await?);
            self.bitmap = Some(Arc::clone(&bitmap));
            bitmap
        };
        let from = usize::try_from(self.place.offset).unwrap_or(usize::MAX);
        let left = bitmap.get(from..).unwrap_or_default();
        let is_last = left.len() <= PART_BYTES;
        let data = left.get(..PART_BYTES).unwrap_or(left).to_vec();
        if is_last {
            self.bitmap = None;
            self.place = ExportPlace {
                stage: self.place.stage + 1,
                offset: 0,
            };
        } else {
            self.place.offset += data.len() as u64;
        }
        Ok(Some(ExportedBitmap {
            selection,
            data,
            is_last,
        }))
    }
}
