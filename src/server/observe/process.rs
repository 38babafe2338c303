//! Numbers about the process, as the system tells them. Elsewhere than on Linux there are none.

/// Numbers about the process; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_limit: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Process {
    /// The numbers of now.
    #[cfg(target_os = "linux")]
    pub(super) fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").ok();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds, of which no process runs 2^52"
        )]
        let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        Self {
            cpu_seconds: Some(cpu_seconds),
            resident_bytes: kibibytes(&status, "VmRSS:"),
            virtual_bytes: kibibytes(&status, "VmSize:"),
            open_files: files.map(|files| files.count() as u64),
            open_files_limit: number_after(&limits, "Max open files"),
            threads: number_after(&status, "Threads:"),
        }
    }

    /// The numbers of now.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn now() -> Self {
        Self::default()
    }
}

/// The first number behind a word at the beginning of a line.
#[cfg(any(target_os = "linux", test))]
fn number_after(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(any(target_os = "linux", test))]
fn kibibytes(text: &str, word: &str) -> Option<u64> {
    number_after(text, word)?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        let status = "Name:\theadcount\nVmSize:\t  2048 kB\nVmRSS:\t   100 kB\nThreads:\t7\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(102_400));
        assert_eq!(number_after(status, "Threads:"), Some(7));
        assert_eq!(number_after(status, "Nothing:"), None);
        let limits = "Max open files            1024                 4096                 files";
        assert_eq!(number_after(limits, "Max open files"), Some(1_024));
        assert_eq!(
            number_after("Max open files unlimited", "Max open files"),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_numbers() {
        let now = Process::now();
        assert!(now.cpu_seconds.unwrap() > 0.0);
        assert!(now.resident_bytes.unwrap() > 1 << 16);
        assert!(now.virtual_bytes >= now.resident_bytes);
        assert!(now.open_files.unwrap() > 2);
        assert!(now.threads.unwrap() >= 1);
    }
}
