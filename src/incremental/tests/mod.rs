//! Incremental is recomputed: random histories of three tables, and the view over their plain content after each epoch.

mod cases;
mod history;
mod model;
mod oracle;
