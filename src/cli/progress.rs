use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells on standard error what takes longer than a second, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    ticking: tokio::task::JoinHandle<()>,
}

const PATIENCE: Duration = Duration::from_secs(1);

impl Progress {
    /// Rows that arrive, of which nobody knows how many there will be.
    pub fn rows() -> Self {
        Self::new("{spinner} {human_pos} rows in {elapsed} (Ctrl-C cancels)")
    }

    /// Something that is done once.
    pub fn work(what: &str) -> Self {
        Self::new(&format!("{{spinner}} {what} {{elapsed}}"))
    }

    fn new(template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let ticking = tokio::spawn(async move {
            if !std::io::stderr().is_terminal() {
                return;
            }
            tokio::time::sleep(PATIENCE).await;
            shown.set_draw_target(ProgressDrawTarget::stderr());
            shown.enable_steady_tick(Duration::from_millis(100));
        });
        Self { bar, ticking }
    }

    pub fn advance(&self, rows: usize) {
        self.bar.inc(rows as u64);
    }

    pub fn finish(self) {}
}

/// Also where the work is cancelled: nothing of the bar stays on the terminal.
impl Drop for Progress {
    fn drop(&mut self) {
        self.ticking.abort();
        self.bar.finish_and_clear();
    }
}
