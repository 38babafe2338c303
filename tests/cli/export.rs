//! Exports to files, also over a connection that breaks again and again.

#![expect(clippy::disallowed_types, reason = "what is written is read by others")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use crate::service::{Service, customers, run};

fn with_customers() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let imported = service.ask(&["import", customers().to_str().unwrap()]);
    assert_eq!(imported.code, 0, "{imported:?}");
    (folder, service)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn members(service: &Service, filter: &str) -> String {
    let ended = service.ask(&["members", filter, "--all"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.out
}

#[test]
fn ids_are_written_to_a_file() {
    let (folder, service) = with_customers();
    let out = folder.path().join("ids.txt");
    let filter = "churn = 'Yes'";
    let ended = service.ask(&["export", filter, "--out", text(&out)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.out,
        format!("exported 1,869 users to {}\n", text(&out))
    );
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        members(&service, filter)
    );
    // A file gives way to the next export of its name.
    let ended = service.ask(&["export", "FALSE", "--out", text(&out)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "");

    // What fails leaves nothing.
    let other = folder.path().join("other.txt");
    let wrong = service.ask(&["export", "churn = Yes", "--out", text(&other)]);
    assert!(
        wrong.code == 2 && wrong.err.contains("single quotes"),
        "{wrong:?}"
    );
    let many = service.ask(&["export", "TRUE", "FALSE", "--out", text(&other)]);
    assert!(
        many.code == 2 && many.err.contains("--format bitmaps"),
        "{many:?}"
    );
    let taken = service.ask(&["export", "--out", text(folder.path())]);
    assert!(
        taken.code == 2 && taken.err.contains("there already"),
        "{taken:?}"
    );
    assert!(!other.exists() && !folder.path().join("other.txt.tmp").exists());
}

#[test]
fn bitmaps_are_written_to_a_folder() {
    let (folder, service) = with_customers();
    let out = folder.path().join("out");
    let filters = ["left: churn = 'Yes'", "tenure > 60"];
    let arguments = ["export", filters[0], filters[1], "--format", "bitmaps"];
    let arguments = arguments.into_iter().chain(["--out", text(&out)]);
    let ended = service.ask(&arguments.collect::<Vec<_>>());
    assert_eq!(ended.code, 0, "{ended:?}");
    let ids = std::fs::read_to_string(out.join("ids.txt")).unwrap();
    let ids: Vec<&str> = ids.lines().collect();
    for (name, filter) in [("left", "churn = 'Yes'"), ("B", "tenure > 60")] {
        let bytes = std::fs::read(out.join(format!("{name}.roaring"))).unwrap();
        let bitmap = croaring::Bitmap::try_deserialize::<croaring::Portable>(&bytes).unwrap();
        let found: Vec<&str> = bitmap.iter().map(|number| ids[number as usize]).collect();
        let expected = members(&service, filter);
        assert_eq!(found, expected.lines().collect::<Vec<_>>());
    }
    let again = service.ask(&["export", "--format", "bitmaps", "--out", text(&out)]);
    assert!(
        again.code == 2 && again.err.contains("there already"),
        "{again:?}"
    );
    let twice = [
        "export", "a: TRUE", "a: FALSE", "--format", "bitmaps", "--out", "x",
    ];
    let twice = service.ask(&twice);
    assert!(
        twice.code == 2 && twice.err.contains("two filters"),
        "{twice:?}"
    );
}

/// Passes bytes on between a client and the service, and cuts each connection after so many bytes
/// of answers. Returns the address to talk to.
fn cutting(to: String, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(service) = TcpStream::connect(&to) else {
                return;
            };
            let (mut asked, mut asks) = (client.try_clone().unwrap(), service.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut asked, &mut asks);
            });
            let (mut from, mut answers) =
                (service.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut left = after;
                let mut buffer = [0; 4_096];
                while left > 0
                    && let Ok(read @ 1..) = from.read(&mut buffer)
                {
                    let passed = read.min(left);
                    if answers.write_all(&buffer[..passed]).is_err() {
                        break;
                    }
                    left -= passed;
                }
                let _ = client.shutdown(Shutdown::Both);
                let _ = service.shutdown(Shutdown::Both);
            });
        }
    });
    address.to_string()
}

#[test]
fn an_export_goes_on_after_the_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let rows = (0..40_000).map(|n| format!("a-rather-long-id-of-a-user-{n},{n}\n"));
    let users: String = ["user_id,n\n".to_owned()].into_iter().chain(rows).collect();
    let imported = service.ask_with(&["import", "-", "--format", "csv"], users.as_bytes());
    assert_eq!(imported.code, 0, "{imported:?}");
    let address = service.address().trim_start_matches("http://").to_owned();
    // Less than a third of all at once.
    let through = format!("http://{}", cutting(address, 450_000));
    let out = folder.path().join("ids.txt");
    let ended = run(&[
        "--server",
        &through,
        "export",
        "n >= 10",
        "--out",
        text(&out),
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.matches("going on").count() >= 2, "{ended:?}");
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        members(&service, "n >= 10")
    );
}
