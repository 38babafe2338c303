//! Properties, their values, populations, snapshots.

use headcount::proto::{
    CreatePropertyRequest, CreateSnapshotRequest, DeletePropertyRequest, GetPropertyRequest,
    ListPopulationsRequest, ListPropertiesRequest, ListValuesRequest, Property, ValueType,
    WriteRequest, value::Kind,
};
use tonic::Code;

use crate::harness::{Service, expect_error, fact, instant, int, set, set_of, text, user, value};

fn creating(name: &str, value_type: ValueType, case_insensitive: bool) -> CreatePropertyRequest {
    CreatePropertyRequest {
        population: String::new(),
        property: Some(Property {
            name: name.into(),
            r#type: value_type.into(),
            case_insensitive,
            ..Default::default()
        }),
    }
}

#[tokio::test]
async fn a_property_is_declared_described_and_deleted() {
    let service = Service::start().await;
    let request = creating("city", ValueType::String, true);
    let response = service.schema().create_property(request.clone()).await;
    let created = response.unwrap().into_inner();
    assert!(!created.revision.is_empty());
    assert_eq!(created.property.unwrap().r#type(), ValueType::String);
    let refused = service.schema().create_property(request).await;
    expect_error(
        refused,
        Code::AlreadyExists,
        "PROPERTY_EXISTS",
        Some("property.name"),
    );

    service
        .write(vec![
            set("u", &[("city", text("PARIS"))]),
            set("v", &[("city", text("paris"))]),
            user("w"),
        ])
        .await;
    assert_eq!(service.count("city = 'Paris'").await, 2);
    let getting = |name: &str| GetPropertyRequest {
        name: name.into(),
        ..Default::default()
    };
    let response = service
        .schema()
        .get_property(getting("city"))
        .await
        .unwrap();
    let property = response.into_inner().property.unwrap();
    assert_eq!((property.users, property.case_insensitive), (2, true));
    let refused = service.schema().get_property(getting("citty")).await;
    let status = expect_error(refused, Code::NotFound, "PROPERTY_NOT_FOUND", Some("name"));
    assert_eq!(fact(&status, "suggestions"), "city");

    let deleting = DeletePropertyRequest {
        name: "city".into(),
        ..Default::default()
    };
    service
        .schema()
        .delete_property(deleting.clone())
        .await
        .unwrap();
    let refused = service.schema().delete_property(deleting).await;
    expect_error(refused, Code::NotFound, "PROPERTY_NOT_FOUND", Some("name"));
    assert_eq!(service.count("TRUE").await, 3);
    // The name can be used again, for any type.
    service.write(vec![set("u", &[("city", int(1))])]).await;
    assert_eq!(service.count("city = 1").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_malformed_declaration_is_refused() {
    let service = Service::start().await;
    for (request, field) in [
        (CreatePropertyRequest::default(), "property"),
        (creating("", ValueType::Bool, false), "property.name"),
        (
            creating("p", ValueType::Unspecified, false),
            "property.type",
        ),
        (
            creating("p", ValueType::Int64, true),
            "property.case_insensitive",
        ),
    ] {
        let refused = service.schema().create_property(request).await;
        expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", Some(field));
    }
    service.stop().await;
}

#[tokio::test]
async fn properties_are_listed_page_by_page() {
    let service = Service::start().await;
    let names: Vec<String> = (0..25).map(|n| format!("p{n:02}")).collect();
    let properties: Vec<_> = names.iter().map(|name| (name.as_str(), int(1))).collect();
    service.write(vec![set("u", &properties)]).await;
    let mut listed = Vec::new();
    let mut request = ListPropertiesRequest {
        page_size: 10,
        ..Default::default()
    };
    loop {
        let page = service
            .schema()
            .list_properties(request.clone())
            .await
            .unwrap();
        let page = page.into_inner();
        assert_eq!(page.users, 1);
        listed.extend(page.properties.into_iter().map(|property| property.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, names);
    service.stop().await;
}

#[tokio::test]
async fn values_are_listed_with_their_counts() {
    let service = Service::start().await;
    let version = |text: &str| value(Kind::VersionValue(text.into()));
    let users = [
        ("2.9", &["a", "b"][..]),
        ("2.10", &["b"]),
        ("2.10", &["c", "b"]),
    ];
    let users = users.iter().enumerate().map(|(n, (app, tags))| {
        let pro = value(Kind::BoolValue(n == 0));
        let properties = [
            ("app", version(app)),
            ("tags", set_of(tags)),
            ("pro", pro),
            ("n", int(1)),
        ];
        set(&format!("u{n}"), &properties)
    });
    service.write(users.collect()).await;
    let listing = |property: &str, prefix: &str, page_size| ListValuesRequest {
        property: property.into(),
        prefix: prefix.into(),
        page_size,
        ..Default::default()
    };
    for (property, prefix, expected) in [
        (
            "app",
            "",
            vec![(version("2.9.0"), 1), (version("2.10.0"), 2)],
        ),
        (
            "tags",
            "",
            vec![(text("a"), 1), (text("b"), 3), (text("c"), 1)],
        ),
        ("tags", "b", vec![(text("b"), 3)]),
        (
            "pro",
            "",
            vec![
                (value(Kind::BoolValue(false)), 2),
                (value(Kind::BoolValue(true)), 1),
            ],
        ),
    ] {
        for page_size in [1, 2, 0] {
            let mut listed = Vec::new();
            let mut request = listing(property, prefix, page_size);
            loop {
                let page = service.schema().list_values(request.clone()).await.unwrap();
                let page = page.into_inner();
                let values = page.values.into_iter();
                listed.extend(values.map(|counted| (counted.value.unwrap(), counted.count)));
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            assert_eq!(listed, expected, "{property}");
        }
    }
    expect_error(
        service.schema().list_values(listing("n", "", 0)).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("property"),
    );
    expect_error(
        service.schema().list_values(listing("tag", "", 0)).await,
        Code::NotFound,
        "PROPERTY_NOT_FOUND",
        Some("property"),
    );
    service.stop().await;
}

#[tokio::test]
async fn long_values_are_listed_in_answers_that_clients_take() {
    let service = Service::start().await;
    let users = |from: usize| {
        let users = (from..from + 900).map(|n| {
            let long = text(&format!("{n:0>1024}"));
            set(&format!("u{n}"), &[("long", long)])
        });
        users.collect::<Vec<_>>()
    };
    for from in [0, 900, 1_800, 2_700, 3_600] {
        service.write(users(from)).await;
    }
    let mut listed = 0;
    let mut request = ListValuesRequest {
        property: "long".into(),
        page_size: 10_000,
        ..Default::default()
    };
    loop {
        let page = service.schema().list_values(request.clone()).await.unwrap();
        let page = page.into_inner();
        listed += page.values.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, 4_500);
    service.stop().await;
}

#[tokio::test]
async fn populations_are_listed_page_by_page() {
    let service = Service::start().await;
    for name in ["passengers", "drivers"] {
        let request = WriteRequest {
            population: name.into(),
            updates: vec![set("u", &[("a", int(1)), ("b", int(2))])],
            ..Default::default()
        };
        service.ingest().write(request).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut request = ListPopulationsRequest {
        page_size: 1,
        ..Default::default()
    };
    loop {
        let page = service
            .admin()
            .list_populations(request.clone())
            .await
            .unwrap();
        let page = page.into_inner();
        listed.extend(
            page.populations
                .into_iter()
                .map(|p| (p.name, p.users, p.properties)),
        );
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected = [("default", 0, 0), ("drivers", 1, 2), ("passengers", 1, 2)];
    assert_eq!(
        listed,
        expected.map(|(name, users, n)| (name.to_owned(), users, n))
    );
    service.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_described() {
    let service = Service::start().await;
    let revision = service.write(vec![user("u"), user("v")]).await;
    let response = service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await;
    let snapshot = response.unwrap().into_inner();
    assert_eq!(snapshot.users, 2);
    assert_eq!(snapshot.revision, revision);
    assert_eq!(snapshot.create_time, Some(instant("2026-01-01")));
    assert!(snapshot.bytes > 0);
    service.stop().await;
}
