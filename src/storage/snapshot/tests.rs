//! Snapshots on a disk that lies and is damaged.
