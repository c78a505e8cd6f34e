//! Processor time by thread, in ns, from /proc.

use std::fs;

pub fn this_thread() -> u64 {
    let link = fs::read_link("/proc/thread-self").expect("procfs");
    let id = link
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    id.expect("a thread's number")
}

pub fn of(thread: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let text = text.unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Of all threads but these.
pub fn of_others(these: &[u64]) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| !these.contains(id)).map(of).sum()
}
