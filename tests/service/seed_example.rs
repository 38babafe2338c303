//! Why segments: ten customers whose mean age describes none of them.

use headcount::proto::{self, list_members_request};

use crate::harness::{Service, int, set};

#[tokio::test]
async fn the_mean_misleads_and_the_segments_tell() {
    let service = Service::start().await;
    let ages = [15, 16, 15, 16, 15, 16, 15, 40, 42, 75];
    let customers = ages.iter().enumerate();
    let customers = customers
        .map(|(number, age)| set(&format!("customer-{number}"), &[("age", int(*age))]))
        .collect();
    service.write(customers).await;

    // The mean is 26.5: nobody is between 20 and 35.
    assert_eq!(ages.iter().sum::<i64>(), 265);
    assert_eq!(service.count("age BETWEEN 20 AND 35").await, 0);

    assert_eq!(service.count("TRUE").await, 10);
    assert_eq!(service.count("age IN (15, 16)").await, 7);
    assert_eq!(service.count("age < 18").await, 7);
    assert_eq!(service.count("age IN (40, 42)").await, 2);
    assert_eq!(service.count("age >= 40 AND age < 65").await, 2);
    assert_eq!(service.count("age = 75").await, 1);
    assert_eq!(service.count("NOT age < 18").await, 3);

    let request = proto::ListMembersRequest {
        selection: Some(list_members_request::Selection::Filter("age > 42".into())),
        ..Default::default()
    };
    let page = service.query().list_members(request).await.unwrap();
    assert_eq!(page.into_inner().user_ids, ["customer-9"]);
    service.stop().await;
}
