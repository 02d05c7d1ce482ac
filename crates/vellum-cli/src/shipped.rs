//! The logs that come with the command, part of the binary.

/// Each shipped log: the name under which it is reported, and its text. How they were recorded stands in `logs/README.md`.
pub const LOGS: &[(&str, &str)] = &[
    ("logs/threads.strace", include_str!("../../../logs/threads.strace")),
    ("logs/compile.strace", include_str!("../../../logs/compile.strace")),
    ("logs/python.strace", include_str!("../../../logs/python.strace")),
];
