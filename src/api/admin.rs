//! Looking after the service.

use tonic::{Request, Response};

use super::access::{begin, begin_as};
use super::convert::{self, CATALOG_PAGE};
use super::token::{Page, Tokens, request_hash};
use super::{Api, RpcStatus};
use crate::model::PopulationName;
use crate::proto::{
    BackupRequest, CreateSnapshotRequest, CreateSnapshotResponse, GetStatsRequest,
    GetStatsResponse, ListPopulationsRequest, ListPopulationsResponse, Population, VerifyRequest,
    VerifyResponse, admin_service_server::AdminService,
};

#[tonic::async_trait]
impl AdminService for Api {
    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, RpcStatus> {
        let (deadline, CreateSnapshotRequest {}) = begin(request)?;
        let snapshot = deadline
            .bound(async { Ok(self.engine.snapshot().await?) })
            .await?;
        Ok(Response::new(CreateSnapshotResponse {
            revision: self.revision(snapshot.revision),
            create_time: Some(convert::timestamp_message(snapshot.created)),
            bytes: snapshot.bytes,
            users: snapshot.users,
        }))
    }

    type BackupStream = super::backup::BackupStream;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, RpcStatus> {
        let (deadline, BackupRequest {}) = begin(request)?;
        let stream = super::backup::backup(self, deadline).await?;
        Ok(Response::new(stream))
    }

    async fn verify(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let response = super::verify::verify(self, deadline, request).await?;
        Ok(Response::new(response))
    }

    async fn get_stats(
        &self,
        request: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsResponse>, RpcStatus> {
        let (deadline, GetStatsRequest {}) = begin(request)?;
        let response = super::statistics::statistics(self, deadline).await?;
        Ok(Response::new(response))
    }

    async fn list_populations(
        &self,
        request: Request<ListPopulationsRequest>,
    ) -> Result<Response<ListPopulationsResponse>, RpcStatus> {
        let (_, caller, request) = begin_as(request)?;
        let size = CATALOG_PAGE.asked(request.page_size)?;
        let hash = request_hash(&"populations");
        let after = match self.tokens.read_page(hash, &request.page_token)? {
            None => None,
            Some(page) => {
                let text = String::from_utf8(page.place).ok();
                let name = text.and_then(|text| PopulationName::new(text).ok());
                Some(name.ok_or_else(Tokens::bad_page)?)
            }
        };
        let revision = self.applied();
        let mut listed = self.engine.populations();
        if let Some(caller) = caller {
            listed.retain(|(name, _)| caller.may(name.as_str()));
        }
        listed.retain(|(name, _)| after.as_ref().is_none_or(|after| name > after));
        let has_more = listed.len() > size;
        listed.truncate(size);
        let last = listed.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |(name, _)| {
            let place = name.as_str().as_bytes().to_vec();
            self.tokens.page(hash, &Page { as_of: None, place })
        });
        let populations = listed.iter().map(|(name, population)| Population {
            name: name.as_str().to_owned(),
            users: population.user_count(),
            properties: u32::try_from(population.catalog().len()).unwrap_or(u32::MAX),
        });
        Ok(Response::new(ListPopulationsResponse {
            populations: populations.collect(),
            next_page_token,
            revision,
        }))
    }
}
