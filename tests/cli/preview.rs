//! What a definition would change, shown before it is saved.

use serde_json::json;

use crate::service::Service;

const USERS: &[u8] = b"user_id,country,age,plan\nu1,FR,41,pro\nu2,DE,29,free\nu3,FR,50,free\n";

#[test]
fn a_preview_shows_at_a_glance_what_would_change() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let imported = service.ask_with(&["import", "-", "--format", "csv"], USERS);
    assert_eq!(imported.code, 0, "{imported:?}");
    let saved = |name: &str, filter: &str| {
        let ended = service.ask(&["segments", "create", name, filter]);
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    saved("french", "country = 'FR'");
    saved("vip", "segment('french') AND age > 45");
    let filter = "age < 45 AND plan = 'free'";
    let arguments = ["segments", "preview", "french", "--filter", filter];
    let shown = service.ask(&arguments);
    assert_eq!(shown.code, 0, "{shown:?}");
    let expected = "\
segment      users   share
now              2  66.7 %  ████████████████
would enter      1  33.3 %  ████████
would leave      2  66.7 %  ████████████████
would stay       0   0.0 %
then             1  33.3 %  ████████

definition     alone  left    share
(everyone)         3     3  100.0 %  ████████████████████████
age < 45           2     2   66.7 %  ████████████████
plan = 'free'      2     1   33.3 %  ████████

would enter: u2
would leave: u1, u3

changes with it  enter  leave
vip                  0      1

nothing was saved: french is as it was
";
    assert_eq!(shown.out, expected);

    let all = ["--output", "json"].into_iter().chain(arguments);
    let found = service.ask(&all.collect::<Vec<_>>()).json();
    assert_eq!(found["clauses"][1]["remaining"], 1);
    assert_eq!(
        found["dependents"],
        json!([{ "name": "vip", "entering": 0, "leaving": 1 }])
    );
    let nameless = service.ask(&["segments", "preview", "--filter", "TRUE", "--sample", "1"]);
    assert!(
        nameless.out.contains("would enter: u1 and 2 more")
            && nameless.out.ends_with("nothing was saved\n"),
        "{nameless:?}"
    );
    let new = service.ask(&["segments", "preview", "new", "--filter", "TRUE"]);
    assert!(new.out.contains("there is no segment new yet"), "{new:?}");
    let circle = "segment('vip')";
    let circle = service.ask(&["segments", "preview", "french", "--filter", circle]);
    assert!(
        circle.code == 2 && circle.err.contains("french"),
        "{circle:?}"
    );
    let listed = service.ask(&["segments", "get", "french"]).out;
    assert!(listed.contains("country = 'FR'"), "{listed}");
}
