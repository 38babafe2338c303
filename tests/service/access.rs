//! Who may do what: every method with every role, with no token and with a wrong one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use headcount::api::{METHODS, Method, Role, RpcStatus};
use headcount::proto::{
    self, CountRequest, CreateSegmentRequest, ExportMembersRequest, FreezeSource,
    ListPopulationsRequest, Segment, Selection, VerifyRequest, WatchSegmentsRequest, WriteRequest,
    WriteStreamRequest, selection,
};
use headcount::server::{NewToken, ServerConfig, check};
use prost::Message;
use prost_types::FileDescriptorSet;
use tempfile::TempDir;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1;

use crate::harness::{Service, counting, expect_error, fact, user};

const ROLES: [Role; 3] = [Role::Read, Role::Write, Role::Admin];
pub(crate) const SHOP: &str = "shop";
const OTHER: &str = "other";
/// Methods whose requests name no population.
const WITHOUT_POPULATION: [&str; 4] = ["CreateSnapshot", "Backup", "GetStats", "ListPopulations"];

/// A service that asks for tokens, and the tokens.
pub(crate) struct Guarded {
    pub(crate) service: Service,
    pub(crate) folder: TempDir,
    /// By the name of the entry.
    pub(crate) tokens: BTreeMap<String, String>,
}

/// An entry of the file of tokens with a new token.
pub(crate) fn entry(name: &str, more: &str) -> (String, String) {
    let new = NewToken::make().unwrap();
    let sha256 = new.sha256;
    let text = format!("[[caller]]\nname = \"{name}\"\ntoken_sha256 = \"{sha256}\"\n{more}\n");
    (new.token, text)
}

#[expect(clippy::disallowed_methods, reason = "a file of an operator's")]
pub(crate) fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

impl Guarded {
    /// Lets in one for each role in each place, two for several, and has users in two populations.
    pub(crate) async fn start() -> Self {
        let mut entries = vec![
            (
                "expired".to_owned(),
                "expires = 2025-12-31\nadmin = [\"*\"]".to_owned(),
            ),
            (
                "lasting".to_owned(),
                "expires = 2026-01-02\nadmin = [\"*\"]".to_owned(),
            ),
            ("nothing".to_owned(), String::new()),
            (
                "mixed".to_owned(),
                format!("read = [\"{SHOP}\"]\nwrite = [\"{OTHER}\"]"),
            ),
        ];
        for role in ROLES {
            for place in [SHOP, OTHER, "*"] {
                entries.push((
                    format!("{role}-{}", named(place)),
                    format!("{role} = [\"{place}\"]"),
                ));
            }
        }
        let mut text = String::new();
        let mut tokens = BTreeMap::new();
        for (name, more) in entries {
            let (token, entry) = entry(&name, &more);
            text.push_str(&entry);
            tokens.insert(name, token);
        }
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("tokens.toml"), &text);
        let mut config = ServerConfig::default();
        config.security.tokens = Some(folder.path().join("tokens.toml"));
        config.security.reload_interval = Duration::from_millis(50);
        let guarded = Self {
            service: Service::start_with(folder.path(), config).await,
            folder,
            tokens,
        };
        for population in [SHOP, OTHER] {
            let request = WriteRequest {
                population: population.into(),
                updates: vec![user("u1")],
                ..WriteRequest::default()
            };
            let request = guarded.by("admin-all", request);
            guarded.service.ingest().write(request).await.unwrap();
        }
        guarded
    }

    /// A request that shows the token of an entry.
    pub(crate) fn by<T>(&self, name: &str, message: T) -> Request<T> {
        shows(&format!("Bearer {}", self.tokens[name]), message)
    }

    pub(crate) async fn stop(self) {
        self.service.stop().await;
        drop(self.folder);
    }
}

fn named(place: &str) -> &str {
    if place == "*" { "all" } else { place }
}

pub(crate) fn shows<T>(header: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<Ascii> = header.parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Calls a method about a population, and returns what it ended with, or answered first.
#[expect(clippy::disallowed_methods, reason = "a request that is not sent yet")]
async fn call(channel: &Channel, method: &Method, request: Request<&str>) -> Result<(), RpcStatus> {
    let (metadata, extensions, population) = request.into_parts();
    let population = population.to_owned();
    if method.name == "WriteStream" {
        let message = WriteStreamRequest {
            population,
            ..WriteStreamRequest::default()
        };
        let request = Request::from_parts(metadata, extensions, message);
        return exchange(channel, method, request).await;
    }
    if WITHOUT_POPULATION.contains(&method.name) {
        let request = Request::from_parts(metadata, extensions, ());
        return exchange(channel, method, request).await;
    }
    // A message of any other method: the population, and nothing else.
    let request = Request::from_parts(metadata, extensions, about(&population));
    exchange(channel, method, request).await
}

async fn exchange<M: Message + 'static>(
    channel: &Channel,
    method: &Method,
    request: Request<M>,
) -> Result<(), RpcStatus> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(method.path()).unwrap();
    let codec = tonic_prost::ProstCodec::<M, ()>::default();
    let answers = client.server_streaming(request, path, codec).await?;
    let mut answers = answers.into_inner();
    match tokio::time::timeout(Duration::from_secs(1), answers.message()).await {
        Ok(first) => first.map(drop),
        // A stream on which there is nothing to say yet.
        Err(_) => Ok(()),
    }
}

fn about(population: &str) -> VerifyRequest {
    VerifyRequest {
        population: population.into(),
        ..VerifyRequest::default()
    }
}

fn code(outcome: &Result<(), RpcStatus>) -> Code {
    outcome.as_ref().map_or_else(RpcStatus::code, |()| Code::Ok)
}

/// Whether a role in a place is enough for a method that is asked about the population `shop`.
fn is_enough(method: &Method, role: Role, place: &str) -> bool {
    let place_is_enough = match method.name {
        "CreateSnapshot" | "Backup" | "GetStats" => place == "*",
        "ListPopulations" => true,
        _ => place == "*" || place == SHOP,
    };
    place_is_enough && (role == method.role || role == Role::Admin)
}

#[test]
fn requests_have_the_population_where_this_test_puts_it() {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let files = set.file.iter().filter(|f| f.package() == "headcount.v1");
    let messages: BTreeMap<&str, _> = files
        .flat_map(|file| &file.message_type)
        .map(|message| (message.name(), message))
        .collect();
    for method in METHODS {
        let message = messages[format!("{}Request", method.name).as_str()];
        let population = message.field.iter().find(|f| f.name() == "population");
        let number = if method.name == "WriteStream" { 2 } else { 1 };
        let expected = (!WITHOUT_POPULATION.contains(&method.name)).then_some(number);
        let found = population.map(prost_types::FieldDescriptorProto::number);
        assert_eq!(found, expected, "{}", method.name);
    }
}

#[test]
fn the_page_has_a_row_for_each_method() {
    let mut wanted = String::from("\n| method | role | where |\n| --- | --- | --- |\n");
    for method in METHODS {
        let place = match method.name {
            "CreateSnapshot" | "Backup" | "GetStats" => "all populations",
            "ListPopulations" => "any population; lists those in which the caller has it",
            "Verify" => "the population; all populations if none is named",
            "CreateSegment" => "the population; and `read` there to `freeze`",
            _ => "the population",
        };
        let service = method.service.trim_start_matches("headcount.v1.");
        let (name, role) = (method.name, method.role);
        let _ = writeln!(wanted, "| `{service}.{name}` | `{role}` | {place} |");
    }
    wanted.push('\n');
    let page = include_str!("../../docs/security.md");
    let (_, after) = page.split_once("<!-- methods -->\n").unwrap();
    let (found, _) = after.split_once("<!-- end of methods -->").unwrap();
    assert!(
        found == wanted,
        "docs/security.md should have between its marks:\n{wanted}"
    );
}

#[tokio::test]
async fn every_method_lets_in_those_who_have_the_role_and_nobody_else() {
    let guarded = Guarded::start().await;
    let channel = &guarded.service.channel;
    let mut wrong = String::new();
    for method in METHODS {
        let mut expect = |who: &str, outcome: &Result<(), RpcStatus>, expected: Option<Code>| {
            let found = code(outcome);
            let right = match expected {
                Some(code) => found == code,
                None => !matches!(found, Code::Unauthenticated | Code::PermissionDenied),
            };
            if !right {
                let _ = write!(wrong, "\n{} by {who}: {outcome:?}", method.name);
            }
        };
        let nobody = Some(Code::Unauthenticated);
        let outcome = call(channel, method, Request::new(SHOP)).await;
        expect("nobody", &outcome, nobody);
        for header in ["Bearer hct_unknown", "Basic dTpw", "Bearer"] {
            let outcome = call(channel, method, shows(header, SHOP)).await;
            expect(header, &outcome, nobody);
        }
        let expired = guarded.by("expired", SHOP);
        expect("expired", &call(channel, method, expired).await, nobody);
        let lasting = guarded.by("lasting", SHOP);
        expect("lasting", &call(channel, method, lasting).await, None);
        let nothing = guarded.by("nothing", SHOP);
        let denied = Some(Code::PermissionDenied);
        expect("nothing", &call(channel, method, nothing).await, denied);
        for role in ROLES {
            for place in [SHOP, OTHER, "*"] {
                let name = format!("{role}-{}", named(place));
                let outcome = call(channel, method, guarded.by(&name, SHOP)).await;
                let expected = if is_enough(method, role, place) {
                    None
                } else {
                    denied
                };
                expect(&name, &outcome, expected);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    guarded.stop().await;
}

#[tokio::test]
async fn refusals_say_what_is_missing_and_nothing_else() {
    let guarded = Guarded::start().await;
    let mut query = guarded.service.query();
    let count = |population: &str| CountRequest {
        population: population.into(),
        ..counting("TRUE")
    };
    let outcome = query.count(count(SHOP)).await;
    let missing = expect_error(outcome, Code::Unauthenticated, "UNAUTHENTICATED", None);
    assert!(missing.message().contains("Bearer TOKEN"));
    let mut told = Vec::new();
    let almost = format!("{}0", guarded.tokens["admin-all"]);
    for token in [
        "unknown",
        "hct_0123456789",
        &almost,
        &guarded.tokens["expired"],
    ] {
        let request = shows(&format!("Bearer {token}"), count(SHOP));
        let outcome = query.count(request).await;
        let status = expect_error(outcome, Code::Unauthenticated, "UNAUTHENTICATED", None);
        assert!(!format!("{status:?}").contains(token), "{status:?}");
        told.push((status.message().to_owned(), status.details().to_vec()));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");

    // Whether a population exists is not for those who may do nothing in it.
    let mut told = Vec::new();
    for population in [SHOP, "ghost"] {
        let request = guarded.by("read-other", count(population));
        let outcome = query.count(request).await;
        let status = expect_error(outcome, Code::PermissionDenied, "PERMISSION_DENIED", None);
        assert_eq!(fact(&status, "role"), "read");
        assert_eq!(fact(&status, "population"), population);
        told.push(status.message().replace(population, "it"));
    }
    assert_eq!(told[0], told[1]);
    let outcome = query.count(guarded.by("read-all", count("ghost"))).await;
    expect_error(outcome, Code::NotFound, "POPULATION_NOT_FOUND", None);
    // A name that is none is no way around.
    let outcome = query.count(guarded.by("read-shop", count("shop "))).await;
    expect_error(outcome, Code::PermissionDenied, "PERMISSION_DENIED", None);
    guarded.stop().await;
}

#[tokio::test]
async fn nothing_of_a_request_is_read_before_it_is_known_who_calls() {
    let guarded = Guarded::start().await;
    // More than is allowed, and no message at all: neither is what is told of.
    let large = WriteRequest {
        population: "x".repeat(2 << 20),
        ..WriteRequest::default()
    };
    let outcome = guarded.service.ingest().write(large).await;
    expect_error(outcome, Code::Unauthenticated, "UNAUTHENTICATED", None);
    guarded.stop().await;
}

#[tokio::test]
async fn populations_are_listed_to_those_who_may_read_them() {
    let guarded = Guarded::start().await;
    let mut admin = guarded.service.admin();
    for (name, expected) in [
        ("read-shop", &[SHOP][..]),
        ("read-other", &[OTHER]),
        ("mixed", &[SHOP]),
        ("admin-other", &[OTHER]),
        ("read-all", &["default", OTHER, SHOP]),
    ] {
        let request = guarded.by(name, ListPopulationsRequest::default());
        let listed = admin.list_populations(request).await.unwrap().into_inner();
        let names: Vec<&str> = listed.populations.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, expected, "{name}");
    }
    guarded.stop().await;
}

#[tokio::test]
async fn what_is_about_all_populations_needs_the_role_in_all() {
    let guarded = Guarded::start().await;
    let mut admin = guarded.service.admin();
    let outcome = admin.verify(guarded.by("admin-shop", about(""))).await;
    let status = expect_error(outcome, Code::PermissionDenied, "PERMISSION_DENIED", None);
    assert_eq!(fact(&status, "population"), "*");
    assert!(
        admin
            .verify(guarded.by("admin-shop", about(SHOP)))
            .await
            .is_ok()
    );
    assert!(
        admin
            .verify(guarded.by("admin-all", about("")))
            .await
            .is_ok()
    );
    guarded.stop().await;
}

#[tokio::test]
async fn each_message_of_a_stream_is_judged() {
    let guarded = Guarded::start().await;
    let batch = |population: &str, sequence| WriteStreamRequest {
        population: population.into(),
        updates: vec![user("u2")],
        sequence,
        ..WriteStreamRequest::default()
    };
    let batches = [batch(SHOP, 1), batch(OTHER, 2), batch(SHOP, 3)];
    let request = guarded.by("write-shop", tokio_stream::iter(batches));
    let answers = guarded.service.ingest().write_stream(request).await;
    let mut answers = answers.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.sequence, first.error), (1, None));
    let outcome = answers.message().await;
    let status = expect_error(outcome, Code::PermissionDenied, "PERMISSION_DENIED", None);
    assert_eq!(fact(&status, "population"), OTHER);
    for (population, expected) in [(SHOP, 2), (OTHER, 1)] {
        let request = CountRequest {
            population: population.into(),
            ..counting("TRUE")
        };
        let counted = guarded.service.query();
        let counted = { counted }.count(guarded.by("read-all", request)).await;
        assert_eq!(
            counted.unwrap().into_inner().count,
            expected,
            "{population}"
        );
    }
    guarded.stop().await;
}

#[tokio::test]
async fn who_freezes_a_selection_must_be_able_to_read() {
    let guarded = Guarded::start().await;
    let create = |name: &str| CreateSegmentRequest {
        population: SHOP.into(),
        segment: Some(Segment {
            name: name.into(),
            definition: Some(proto::segment::Definition::StaticList(
                proto::StaticList::default(),
            )),
            ..Segment::default()
        }),
        freeze: Some(FreezeSource {
            selection: Some(proto::freeze_source::Selection::Filter("TRUE".into())),
            ..FreezeSource::default()
        }),
        ..CreateSegmentRequest::default()
    };
    let mut segments = guarded.service.segments();
    let outcome = segments
        .create_segment(guarded.by("write-all", create("a")))
        .await;
    let status = expect_error(outcome, Code::PermissionDenied, "PERMISSION_DENIED", None);
    assert_eq!(fact(&status, "role"), "read");
    let outcome = segments
        .create_segment(guarded.by("admin-shop", create("a")))
        .await;
    assert!(outcome.is_ok(), "{outcome:?}");
    guarded.stop().await;
}

#[tokio::test]
async fn an_export_goes_on_only_in_the_population_that_it_is_of() {
    let guarded = Guarded::start().await;
    let export = |population: &str, resume_token: String| ExportMembersRequest {
        population: population.into(),
        selections: vec![Selection {
            selection: Some(selection::Selection::Filter("TRUE".into())),
        }],
        resume_token,
        ..ExportMembersRequest::default()
    };
    let mut query = guarded.service.query();
    let request = guarded.by("read-shop", export(SHOP, String::new()));
    let mut parts = query.export_members(request).await.unwrap().into_inner();
    let first = parts.message().await.unwrap().unwrap();
    assert!(!first.resume_token.is_empty());
    let request = guarded.by("read-other", export(OTHER, first.resume_token));
    assert!(query.export_members(request).await.is_err());
    guarded.stop().await;
}

#[tokio::test]
async fn probes_need_no_token_and_reflection_needs_any() {
    let guarded = Guarded::start().await;
    let channel = &guarded.service.channel;
    let mut health = HealthClient::new(channel.clone());
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let asked = || {
        let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
        tokio_stream::iter([v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(list),
        }])
    };
    let outcome = client.server_reflection_info(asked()).await;
    expect_error(outcome, Code::Unauthenticated, "UNAUTHENTICATED", None);
    let request = guarded.by("nothing", asked());
    let mut answers = client
        .server_reflection_info(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answers.message().await.unwrap().is_some());
    guarded.stop().await;
}

/// Waits until a token is let in, or is not any more.
pub(crate) async fn until(service: &Service, token: &str, is_let_in: bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let request = shows(
                &format!("Bearer {token}"),
                ListPopulationsRequest::default(),
            );
            let outcome = service.admin().list_populations(request).await;
            if outcome.is_ok() == is_let_in {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the file is read again");
}

#[tokio::test]
async fn tokens_come_and_go_without_a_restart_and_a_broken_file_changes_nothing() {
    let guarded = Guarded::start().await;
    let path = guarded.folder.path().join("tokens.toml");
    let service = &guarded.service;
    let old = &guarded.tokens["read-all"];
    let (new, text) = entry("new", "read = [\"*\"]");
    until(service, old, true).await;
    put(&path, &text);
    until(service, &new, true).await;
    until(service, old, false).await;
    put(&path, "[[caller]]\nname = 1\n");
    tokio::time::sleep(Duration::from_millis(300)).await;
    until(service, &new, true).await;
    let (newer, text) = entry("newer", "read = [\"*\"]");
    put(&path, &text);
    until(service, &newer, true).await;
    until(service, &new, false).await;
    guarded.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_may_not_go_on() {
    let guarded = Guarded::start().await;
    let path = guarded.folder.path().join("tokens.toml");
    let watch = |name: &str| {
        let request = guarded.by(
            name,
            WatchSegmentsRequest {
                population: SHOP.into(),
                ..WatchSegmentsRequest::default()
            },
        );
        let mut segments = guarded.service.segments();
        async move { segments.watch_segments(request).await.unwrap().into_inner() }
    };
    // Until the date that the test takes place on is over, and until the entry is taken away.
    let expires = watch("lasting").await;
    let goes = watch("read-shop").await;
    let stays = watch("read-all").await;
    let text = std::fs::read_to_string(&path).unwrap();
    let ended = |mut stream: tonic::Streaming<proto::WatchSegmentsResponse>| async move {
        let ended = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended without a reason"),
                    Err(status) => return status,
                }
            }
        });
        ended.await.expect("it ends")
    };
    let without: String = text
        .split("[[caller]]")
        .filter(|entry| !entry.contains("\"read-shop\""))
        .collect::<Vec<_>>()
        .join("[[caller]]");
    put(&path, &without);
    let status = ended(goes).await;
    expect_error(
        Err::<(), _>(status),
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        None,
    );
    guarded.service.clock.advance("48h".parse().unwrap());
    let status = ended(expires).await;
    expect_error(
        Err::<(), _>(status),
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        None,
    );
    let goes_on = tokio::time::timeout(Duration::from_millis(300), ended(stays)).await;
    assert!(goes_on.is_err(), "{goes_on:?}");
    guarded.stop().await;
}

#[test]
fn listening_where_others_can_listen_in_has_to_be_asked_for() {
    let mut config = ServerConfig::default();
    for own in [
        "127.0.0.1:1",
        "127.1.2.3:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(check(&config, own.parse().unwrap()).is_ok(), "{own}");
    }
    for open in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let error = check(&config, open.parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(open) && error.contains("--insecure"),
            "{error}"
        );
    }
    config.security.insecure = true;
    assert!(check(&config, "0.0.0.0:1".parse().unwrap()).is_ok());
}

#[test]
fn what_goes_together_is_asked_for_and_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    put(&path, "no PEM, and no TOML");
    let address = "127.0.0.1:1".parse().unwrap();
    let fault = |set: &dyn Fn(&mut ServerConfig)| {
        let mut config = ServerConfig::default();
        set(&mut config);
        check(&config, address).unwrap_err().to_string()
    };
    let some = || Some(path.clone());
    let alone = fault(&|config| config.security.certificate = some());
    assert!(alone.starts_with("tls.key is missing"), "{alone}");
    for error in [
        fault(&|config| config.security.key = some()),
        fault(&|config| config.security.client_ca = some()),
    ] {
        assert!(error.starts_with("tls.certificate is missing"), "{error}");
    }
    let tokens = fault(&|config| config.security.tokens = some());
    assert!(tokens.contains("file:1: "), "{tokens}");
    let both = fault(&|config| {
        config.security.certificate = some();
        config.security.key = some();
    });
    assert!(both.contains("there is no certificate in it"), "{both}");
    let gone = fault(&|config| config.security.tokens = Some(folder.path().join("gone")));
    assert!(gone.contains("gone: "), "{gone}");
}
