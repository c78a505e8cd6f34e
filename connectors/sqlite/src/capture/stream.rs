use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use belvedere_connector::{ChangeStream, Code, Error, Position, Result, Transaction};
use tokio::sync::mpsc;

use super::Inner;
use super::reading::Reading;
use crate::pool::Stop;

/// Pieces on their way to a reader that is slower.
const PIECES_AHEAD: usize = 4;
/// How long fences wait for a stream that follows on one that is gone.
const FENCES_STAND: Duration = Duration::from_secs(60);

/// What the reading thread sends.
pub struct Stream {
    inner: Arc<Inner>,
    number: u64,
    receiver: mpsc::Receiver<Result<Transaction>>,
    stop: Stop,
    thread: std::thread::Thread,
}

impl Stream {
    pub fn start(inner: Arc<Inner>, reading: Reading) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let stop = Stop::default();
        let (number, stopped) = (reading.stream, stop.clone());
        // Of its own: it lasts as long as the stream.
        let thread = std::thread::Builder::new()
            .name(format!("changes of {}", inner.source))
            .spawn(move || reading.run(&sender, &stopped))
            .map_err(|e| Error::new(Code::LimitExceeded, "no thread can be begun").caused_by(e))?;
        Ok(Self {
            inner,
            number,
            receiver,
            stop,
            thread: thread.thread().clone(),
        })
    }
}

#[async_trait]
impl ChangeStream for Stream {
    async fn next(&mut self) -> Result<Transaction> {
        match self.receiver.recv().await {
            Some(piece) => piece,
            None => {
                let message = "the log is not read any more";
                Err(Error::new(Code::Unreachable, message).at_source(&self.inner.source))
            }
        }
    }

    async fn acknowledge(&mut self, position: &Position) -> Result<()> {
        let position = position.clone();
        let trim = move |inner: &Arc<Inner>| inner.trim(&position);
        self.inner.blocking(trim).await
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.set();
        self.thread.unpark();
        let mut turn = self.inner.turn();
        turn.close(self.number);
        if turn.has_fences() {
            let inner = Arc::downgrade(&self.inner);
            let streams = turn.streams();
            drop(turn);
            // Without it they stand until somebody asks again.
            let _ = std::thread::Builder::new().spawn(move || pull_down_later(&inner, streams));
        }
    }
}

fn pull_down_later(inner: &Weak<Inner>, streams: u64) {
    std::thread::sleep(FENCES_STAND);
    if let Some(inner) = inner.upgrade() {
        let mut turn = inner.turn();
        if turn.streams() == streams {
            turn.pull_down();
        }
    }
}
