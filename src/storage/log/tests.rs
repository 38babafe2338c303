//! The log on a disk that lies, is cut and is damaged.
