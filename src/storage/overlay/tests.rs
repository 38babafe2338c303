//! Changes over a disk below.

use super::*;
use crate::testing::disk::LyingDisk;

fn read(disk: &dyn Disk, path: &str) -> Vec<u8> {
    disk.open(Path::new(path)).unwrap().read_all().unwrap()
}

fn names(disk: &dyn Disk, path: &str) -> Vec<String> {
    let entries = disk.list(Path::new(path)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn changes_are_seen_above_and_never_below() {
    let below = LyingDisk::new();
    for folder in ["/a", "/a/b", "/c"] {
        below.create_folder(Path::new(folder)).unwrap();
    }
    for (file, bytes) in [("/a/one", "1"), ("/a/b/two", "22"), ("/c/three", "333")] {
        let file = below.create(Path::new(file), 0).unwrap();
        file.write_at(0, bytes.as_bytes()).unwrap();
    }
    let before = below.files();
    let disk = OverlayDisk::new(Arc::new(below.clone()));

    let one = disk.open(Path::new("/a/one")).unwrap();
    one.write_at(1, b"!").unwrap();
    assert_eq!(read(&disk, "/a/one"), b"1!");
    disk.rename(Path::new("/a"), Path::new("/c/moved")).unwrap();
    assert_eq!(disk.kind(Path::new("/a/one")).unwrap(), None);
    assert_eq!(names(&disk, "/"), ["c"]);
    assert_eq!(names(&disk, "/c/moved"), ["b", "one"]);
    assert_eq!(read(&disk, "/c/moved/b/two"), b"22");
    assert_eq!(read(&disk, "/c/moved/one"), b"1!");

    disk.hard_link(Path::new("/c/three"), Path::new("/c/link"))
        .unwrap();
    disk.remove_file(Path::new("/c/three")).unwrap();
    assert_eq!(read(&disk, "/c/link"), b"333");
    assert!(disk.open(Path::new("/c/three")).is_err());
    assert!(disk.create(Path::new("/none/x"), 1).is_err());
    disk.create_folder(Path::new("/a")).unwrap();
    assert_eq!(names(&disk, "/a"), Vec::<String>::new());
    disk.create(Path::new("/a/new"), 3).unwrap();
    assert_eq!(read(&disk, "/a/new"), [0; 3]);
    assert!(disk.remove_folder(Path::new("/a")).is_err());
    disk.remove_file(Path::new("/a/new")).unwrap();
    disk.remove_folder(Path::new("/a")).unwrap();
    assert_eq!(disk.kind(Path::new("/a")).unwrap(), None);

    assert_eq!(below.files(), before);
}
