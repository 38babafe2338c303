//! Who may do what: the one way from a request to its content, on which its caller is judged.
//!
//! Invariant: no request is read but through [`begin`], and no message of a stream but through
//! [`Incoming`]; `clippy.toml` forbids every other way. No message of a stream is taken once the grants
//! that it was begun with are not in force any more. A population that the caller may do nothing
//! in is refused before anything is looked up, so that nobody learns whether it exists.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Streaming};

use super::deadline::Deadline;
use super::error::ApiError;
use super::methods::Role;
use super::notes;
use super::status::RpcStatus;
use crate::model::{PopulationName, Reason};
use crate::proto;

/// What stands for all populations, also those that do not exist yet.
pub const EVERYWHERE: &str = "*";
/// The population that is meant when none is named.
const DEFAULT: &str = "default";
/// What a stream ends with whose caller may not go on.
const OVER: &str =
    "the token or certificate of the stream expired, or what it may do was changed; begin anew";

/// The roles that a caller has in one population, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Roles {
    read: bool,
    write: bool,
    admin: bool,
}

impl Roles {
    fn add(&mut self, role: Role) {
        match role {
            Role::Read => self.read = true,
            Role::Write => self.write = true,
            Role::Admin => self.admin = true,
        }
    }

    /// Who may write need not be able to read: what feeds a store has no use for what is in it.
    fn include(self, role: Role) -> bool {
        match role {
            Role::Read => self.read || self.admin,
            Role::Write => self.write || self.admin,
            Role::Admin => self.admin,
        }
    }
}

/// What a caller may do in which populations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    everywhere: Roles,
    by_population: BTreeMap<PopulationName, Roles>,
}

impl Grants {
    /// Grants a role in all populations, and for what is about the store as a whole.
    pub fn everywhere(&mut self, role: Role) {
        self.everywhere.add(role);
    }

    /// Grants a role in a population, whether it exists or not.
    pub fn inside(&mut self, population: PopulationName, role: Role) {
        self.by_population.entry(population).or_default().add(role);
    }

    fn include(&self, role: Role, population: &str) -> bool {
        self.everywhere.include(role)
            || self
                .by_population
                .get(population)
                .is_some_and(|roles| roles.include(role))
    }

    fn include_anywhere(&self, role: Role) -> bool {
        let mut inside = self.by_population.values();
        self.everywhere.include(role) || inside.any(|roles| roles.include(role))
    }
}

/// Who makes a call, put into the extensions of its request. Where it is missing, nobody is asked
/// who they are, and all may do all.
#[derive(Clone, Debug)]
pub struct Caller {
    grants: Arc<Grants>,
    /// What the method needs.
    needs: Role,
    /// For how long the grants hold; they are judged once if there is none.
    term: Option<Term>,
}

/// For how long a caller of a stream may go on.
#[derive(Clone)]
pub struct Term {
    again: Duration,
    goes_on: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Term {
    /// A term that lasts as long as it is said to go on, which is asked for each message, and so often
    /// where there are none.
    #[must_use]
    pub fn new(again: Duration, goes_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let goes_on = Arc::new(goes_on);
        Self { again, goes_on }
    }

    /// Resolves once it is over.
    pub async fn over(&self) {
        loop {
            tokio::time::sleep(self.again).await;
            if !(self.goes_on)() {
                return;
            }
        }
    }

    fn judge(&self) -> Result<(), RpcStatus> {
        if (self.goes_on)() {
            Ok(())
        } else {
            Err(over())
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term").finish_non_exhaustive()
    }
}

/// What ends a stream whose term is over.
#[must_use]
pub fn over() -> RpcStatus {
    unauthenticated(OVER)
}

impl Caller {
    /// A caller of a method that needs a role.
    #[must_use]
    pub fn new(grants: Arc<Grants>, needs: Role) -> Self {
        let term = None;
        Self {
            grants,
            needs,
            term,
        }
    }

    /// The caller of a stream, whose messages are taken until the term is over.
    #[must_use]
    pub fn until(mut self, term: Term) -> Self {
        self.term = Some(term);
        self
    }

    /// Whether the caller may read what a request is about.
    pub(super) fn reads(&self, about: &About<'_>) -> bool {
        match about {
            About::Population { name, .. } => self.grants.include(Role::Read, or_default(name)),
            About::Store | About::Some => true,
        }
    }

    /// Whether the caller may do what the method does in a population.
    pub(super) fn may(&self, population: &str) -> bool {
        self.grants.include(self.needs, population)
    }

    fn judge(&self, about: &About<'_>) -> Result<(), ApiError> {
        let granted = match about {
            About::Population { name, also_read } => {
                let name = or_default(name);
                if *also_read && !self.grants.include(Role::Read, name) {
                    return Err(denied(Role::Read, &Place::Population(name)));
                }
                self.may(name)
            }
            About::Store => self.grants.everywhere.include(self.needs),
            About::Some => self.grants.include_anywhere(self.needs),
        };
        if granted {
            return Ok(());
        }
        let place = match about {
            About::Population { name, .. } => Place::Population(or_default(name)),
            About::Store => Place::Everywhere,
            About::Some => Place::Anywhere,
        };
        Err(denied(self.needs, &place))
    }
}

fn or_default(population: &str) -> &str {
    if population.is_empty() {
        DEFAULT
    } else {
        population
    }
}

/// Where a role is missing.
enum Place<'a> {
    Population(&'a str),
    Everywhere,
    Anywhere,
}

fn denied(role: Role, place: &Place<'_>) -> ApiError {
    let (population, place) = match place {
        Place::Population(name) => (*name, format!("in the population {name:?}")),
        Place::Everywhere => (EVERYWHERE, "in all populations (\"*\")".into()),
        Place::Anywhere => (EVERYWHERE, "in any population".into()),
    };
    ApiError::new(
        Reason::PermissionDenied,
        format!("this needs the role {role} {place}, which the caller does not have"),
    )
    .fact("role", role)
    .fact("population", population)
}

/// The refusal of a caller of whom it is not known who it is.
#[must_use]
pub fn unauthenticated(message: &str) -> RpcStatus {
    ApiError::new(Reason::Unauthenticated, message).into()
}

/// What a request is about, as far as the right to make it goes.
pub(super) enum About<'a> {
    /// One population; the default one if the name is empty.
    Population {
        name: &'a str,
        /// Whether something is read of it besides what the method is for.
        also_read: bool,
    },
    /// The store as a whole.
    Store,
    /// Those populations in which the caller may; the method leaves out the others.
    Some,
}

/// A request that says what it is about.
pub(super) trait Asks {
    fn about(&self) -> About<'_>;
}

macro_rules! about_their_population {
    ($($request:ident),* $(,)?) => {$(
        impl Asks for proto::$request {
            fn about(&self) -> About<'_> {
                About::Population { name: &self.population, also_read: false }
            }
        }
    )*};
}

about_their_population!(
    AddSegmentMembersRequest,
    BatchCheckRequest,
    BatchCountRequest,
    BreakdownRequest,
    CheckRequest,
    CompareRequest,
    CountRequest,
    CreateEventRequest,
    CreatePropertyRequest,
    DeleteEventRequest,
    DeletePropertyRequest,
    DeleteSegmentRequest,
    DeleteUserRequest,
    ExplainRequest,
    ExportMembersRequest,
    GetEventRequest,
    GetPropertyRequest,
    GetSegmentRequest,
    GetUserRequest,
    ListEventsRequest,
    ListMembersRequest,
    ListPropertiesRequest,
    ListSegmentsRequest,
    ListUserSegmentsRequest,
    ListValuesRequest,
    OverlapRequest,
    PreviewSegmentRequest,
    RemoveSegmentMembersRequest,
    StreamMembersRequest,
    SummarizeRequest,
    UpdateEventRequest,
    UpdateSegmentRequest,
    WatchSegmentsRequest,
    WriteRequest,
    WriteStreamRequest,
);

macro_rules! about_the_store {
    ($($request:ident),* $(,)?) => {$(
        impl Asks for proto::$request {
            fn about(&self) -> About<'_> {
                About::Store
            }
        }
    )*};
}

about_the_store!(BackupRequest, CreateSnapshotRequest, GetStatsRequest);

impl Asks for proto::CreateSegmentRequest {
    fn about(&self) -> About<'_> {
        About::Population {
            name: &self.population,
            // The answer says how many users were selected.
            also_read: self.freeze.is_some(),
        }
    }
}

impl Asks for proto::ListPopulationsRequest {
    fn about(&self) -> About<'_> {
        About::Some
    }
}

impl Asks for proto::VerifyRequest {
    fn about(&self) -> About<'_> {
        if self.population.is_empty() {
            return About::Store;
        }
        About::Population {
            name: &self.population,
            also_read: false,
        }
    }
}

/// Begins a call: the moment at which it has to end and its content, if the caller may ask for it.
pub(super) fn begin<T: Asks>(request: Request<T>) -> Result<(Deadline, T), ApiError> {
    let (deadline, _, content) = begin_as(request)?;
    Ok((deadline, content))
}

/// The same for a call whose answer depends on what the caller may do besides.
pub(super) fn begin_as<T: Asks>(
    request: Request<T>,
) -> Result<(Deadline, Option<Caller>, T), ApiError> {
    let (deadline, caller, content) = open(request);
    let about = content.about();
    if let Some(caller) = &caller {
        caller.judge(&about)?;
    }
    let reads = caller.as_ref().is_none_or(|caller| caller.reads(&about));
    notes::asked_by(caller.as_ref(), reads);
    Ok((deadline, caller, content))
}

/// Begins a call of which the messages are still to come.
pub(super) fn begin_stream<T: Asks>(request: Request<Streaming<T>>) -> (Deadline, Incoming<T>) {
    let (deadline, caller, messages) = open(request);
    (deadline, Incoming { messages, caller })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where requests are opened, by functions that judge the caller"
)]
fn open<T>(mut request: Request<T>) -> (Deadline, Option<Caller>, T) {
    let deadline = Deadline::of(&request);
    let caller = request.extensions_mut().remove::<Caller>();
    (deadline, caller, request.into_inner())
}

/// The messages of a stream, each of which the caller may send.
pub(super) struct Incoming<T> {
    messages: Streaming<T>,
    caller: Option<Caller>,
}

impl<T: Asks> Incoming<T> {
    /// The next message; `None` when the client has sent all. A caller whose term is over gets no
    /// message through, be it one that waited already. May be called off and called again.
    pub(super) async fn message(&mut self) -> Result<Option<T>, RpcStatus> {
        let Some(caller) = &self.caller else {
            return self.messages.message().await;
        };
        let message = match &caller.term {
            None => self.messages.message().await?,
            Some(term) => {
                let message = tokio::select! {
                    message = self.messages.message() => message?,
                    () = term.over() => return Err(over()),
                };
                term.judge()?;
                message
            }
        };
        if let Some(message) = &message {
            caller.judge(&message.about())?;
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        BackupRequest, CountRequest, CreateSegmentRequest, FreezeSource, ListPopulationsRequest,
        VerifyRequest,
    };

    fn grants(everywhere: &[Role], inside: &[(&str, Role)]) -> Arc<Grants> {
        let mut grants = Grants::default();
        for role in everywhere {
            grants.everywhere(*role);
        }
        for (population, role) in inside {
            grants.inside(PopulationName::new(*population).unwrap(), *role);
        }
        Arc::new(grants)
    }

    fn ask<T: Asks>(grants: &Arc<Grants>, needs: Role, content: T) -> Result<(), ApiError> {
        let mut request = Request::new(content);
        let caller = Caller::new(Arc::clone(grants), needs);
        request.extensions_mut().insert(caller);
        begin(request).map(drop)
    }

    fn count(population: &str) -> CountRequest {
        CountRequest {
            population: population.into(),
            ..CountRequest::default()
        }
    }

    #[test]
    fn the_default_population_is_called_as_the_model_calls_it() {
        assert_eq!(DEFAULT, PopulationName::default().as_str());
        assert!(PopulationName::new(EVERYWHERE).is_err());
    }

    #[test]
    fn where_nobody_is_asked_who_they_are_all_may_do_all() {
        assert!(begin(Request::new(count("x"))).is_ok());
        assert!(begin(Request::new(BackupRequest {})).is_ok());
    }

    #[test]
    fn admin_includes_all_and_write_does_not_include_read() {
        let roles = [Role::Read, Role::Write, Role::Admin];
        for given in roles {
            for needed in roles {
                let inside = grants(&[], &[("x", given)]);
                let everywhere = grants(&[given], &[]);
                let allowed = given == needed || given == Role::Admin;
                assert_eq!(ask(&inside, needed, count("x")).is_ok(), allowed);
                assert_eq!(ask(&everywhere, needed, count("x")).is_ok(), allowed);
                assert!(ask(&inside, needed, count("y")).is_err());
                assert!(ask(&inside, needed, count("")).is_err());
            }
        }
    }

    #[test]
    fn an_empty_name_is_that_of_the_default_population() {
        let grants = grants(&[], &[("default", Role::Read)]);
        assert!(ask(&grants, Role::Read, count("")).is_ok());
        assert!(ask(&grants, Role::Read, count("default")).is_ok());
        assert!(ask(&grants, Role::Read, count("Default")).is_err());
    }

    #[test]
    fn what_is_about_the_store_needs_the_role_everywhere() {
        let inside = grants(&[], &[("x", Role::Admin)]);
        let everywhere = grants(&[Role::Admin], &[]);
        let verify = |population: &str| VerifyRequest {
            population: population.into(),
            ..VerifyRequest::default()
        };
        assert!(ask(&inside, Role::Admin, BackupRequest {}).is_err());
        assert!(ask(&everywhere, Role::Admin, BackupRequest {}).is_ok());
        assert!(ask(&inside, Role::Admin, verify("")).is_err());
        assert!(ask(&inside, Role::Admin, verify("x")).is_ok());
        assert!(ask(&everywhere, Role::Admin, verify("")).is_ok());
        let listing = ListPopulationsRequest::default();
        assert!(ask(&inside, Role::Read, listing.clone()).is_ok());
        let writer = grants(&[Role::Write], &[]);
        assert!(ask(&writer, Role::Read, listing).is_err());
    }

    #[test]
    fn who_freezes_a_selection_reads_it() {
        let create = |freeze| CreateSegmentRequest {
            population: "x".into(),
            freeze,
            ..CreateSegmentRequest::default()
        };
        let writer = grants(&[], &[("x", Role::Write)]);
        let both = grants(&[Role::Read], &[("x", Role::Write)]);
        assert!(ask(&writer, Role::Write, create(None)).is_ok());
        let refused = ask(&writer, Role::Write, create(Some(FreezeSource::default())));
        assert!(refused.unwrap_err().message.contains("the role read"));
        assert!(ask(&both, Role::Write, create(Some(FreezeSource::default()))).is_ok());
    }

    #[test]
    fn a_refusal_names_the_role_and_the_population() {
        let nobody = grants(&[], &[]);
        let error = ask(&nobody, Role::Write, count("shop")).unwrap_err();
        assert_eq!(error.reason, Reason::PermissionDenied);
        let expected = [("role", "write".into()), ("population", "shop".into())];
        assert_eq!(error.facts, expected);
        assert!(error.message.contains("\"shop\""), "{}", error.message);
        let error = ask(&nobody, Role::Admin, BackupRequest {}).unwrap_err();
        assert_eq!(error.facts[1], ("population", EVERYWHERE.into()));
    }
}
