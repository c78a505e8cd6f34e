use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells on standard error what takes longer than a second, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// A thread of its own: a query may keep all others busy.
    waiting: Option<(Sender<()>, JoinHandle<()>)>,
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

    /// Rows that are read, of so many.
    pub fn filling(view: &str) -> Self {
        let bar =
            format!("{{spinner}} filling {view}: {{msg}}{{elapsed}} (Ctrl-C stops waiting for it)");
        Self::new(&bar)
    }

    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        self.waiting.is_some()
    }

    pub fn tell(&self, done: u64, all: u64) {
        let (done, all) = (HumanCount(done), HumanCount(all));
        self.bar.set_message(format!("{done} of {all} rows, "));
    }

    fn new(template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let waiting = std::io::stderr().is_terminal().then(|| {
            let (done, told) = channel();
            let shown = bar.clone();
            let thread = thread::spawn(move || {
                if told.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    shown.enable_steady_tick(Duration::from_millis(100));
                }
            });
            (done, thread)
        });
        Self { bar, waiting }
    }

    pub fn advance(&self, rows: usize) {
        self.bar.inc(rows as u64);
    }

    pub fn finish(self) {}
}

/// Also where the work is cancelled: nothing of the bar stays on the terminal.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.waiting.take() {
            drop(done);
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
