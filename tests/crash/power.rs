//! A file system of its own, on a disk in a file, whose power fails on demand: everything that was
//! not yet asked to be durable is lost, as far as the kernel has not written it by itself.
//!
//! Needs Linux, root (for the mount), `mkfs.ext4` and `python3` (for the system call).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BYTES: u64 = 2 << 30;
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` of Linux: the file system ends at once,
/// with nothing flushed, not even its journal.
const SHUT_DOWN: &str = "
import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587D, struct.pack('I', 2))
";

/// The file system, unmounted when this is dropped.
pub(crate) struct FailingDisk {
    image: PathBuf,
    mount: PathBuf,
}

fn run(command: &mut Command) -> bool {
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if !ended.status.success() {
        println!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    ended.status.success()
}

impl FailingDisk {
    pub(crate) fn new(folder: &Path) -> Self {
        let (image, mount) = (folder.join("disk.ext4"), folder.join("mount"));
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(BYTES).unwrap();
        std::fs::create_dir(&mount).unwrap();
        assert!(run(Command::new("mkfs.ext4").arg("-qF").arg(&image)));
        let disk = Self { image, mount };
        disk.mount();
        disk
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&self.image).arg(&self.mount);
        assert!(run(&mut mount), "mounting needs root");
    }

    /// Where to write to.
    pub(crate) fn folder(&self) -> &Path {
        &self.mount
    }

    /// Leaves a file that nobody asked to be durable, to be lost.
    pub(crate) fn write_without_sync(&self) {
        std::fs::write(self.mount.join("not-synced"), [1; 4_096]).unwrap();
    }

    /// Ends the file system.
    pub(crate) fn lose_power(&self) {
        let mut python = Command::new("python3");
        assert!(run(python.args(["-c", SHUT_DOWN]).arg(&self.mount)));
    }

    /// Mounts what there is after [`FailingDisk::lose_power`]. Nothing may have a file open. Returns
    /// whether the file of [`FailingDisk::write_without_sync`] was lost.
    pub(crate) fn come_back(&self) -> bool {
        let begun = Instant::now();
        while !run(Command::new("umount").arg(&self.mount)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "still in use");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.mount();
        let lost = self.mount.join("not-synced");
        let bytes = std::fs::read(&lost).unwrap_or_default();
        let _ = std::fs::remove_file(&lost);
        bytes.is_empty()
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
