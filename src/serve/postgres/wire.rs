use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::messages::Replies;

/// The longest message taken from a client: SQL, or the values of parameters.
const MESSAGE_BYTES: usize = 64 << 20;
/// The longest message before the client has said who it is.
const OPENING_BYTES: usize = 16 << 10;
/// What a client may send ahead while a statement of it runs.
const AHEAD_BYTES: usize = 1 << 20;
/// What is read at once.
const READ_BYTES: usize = 4 << 10;
/// Replies wait until there are so many.
pub(super) const REPLY_BYTES: usize = 32 << 10;
/// A client that reads nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection as whole messages.
pub(super) struct Wire<S> {
    stream: S,
    read: BytesMut,
    /// What is to be sent.
    pub out: Replies,
}

/// Why no message comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client has left")]
    Left,
    #[error("the client has not read for {} s", PATIENCE.as_secs())]
    Stalled,
    #[error("a message of {0} bytes is longer than any may be")]
    TooLong(usize),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            out: Replies::default(),
        }
    }

    /// The connection itself, as it is after what was read so far.
    ///
    /// # Errors
    /// If the client has sent more than it was asked for.
    pub fn into_stream(self) -> Result<S, Broken> {
        match self.read.is_empty() {
            true => Ok(self.stream),
            false => Err(Broken::Left),
        }
    }

    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// A message without a type, as the first ones are.
    pub async fn opening(&mut self) -> Result<Bytes, Broken> {
        let length = self.length(0, OPENING_BYTES).await?;
        Ok(self.take(4, length))
    }

    /// The next message: its type and its body.
    pub async fn next(&mut self) -> Result<(u8, Bytes), Broken> {
        self.short(MESSAGE_BYTES).await
    }

    /// The same, if it is no longer than that.
    pub async fn short(&mut self, most: usize) -> Result<(u8, Bytes), Broken> {
        let length = self.length(1, most).await?;
        let of = self.read[0];
        Ok((of, self.take(5, length)))
    }

    /// Whether the next message is there already, or at least its beginning.
    pub fn is_ahead(&self) -> bool {
        !self.read.is_empty()
    }

    /// Wait until all of a message is there whose length begins at `at`; returns where it ends.
    async fn length(&mut self, at: usize, most: usize) -> Result<usize, Broken> {
        loop {
            if let Some(length) = self.read.get(at..at + 4) {
                let length = (&mut &*length).get_u32() as usize;
                if length < 4 || length > most {
                    return Err(Broken::TooLong(length));
                }
                if self.read.len() >= at + length {
                    return Ok(at + length);
                }
                self.read.reserve(at + length - self.read.len());
            }
            self.fill().await?;
        }
    }

    fn take(&mut self, from: usize, to: usize) -> Bytes {
        let mut message = self.read.split_to(to);
        message.advance(from);
        message.freeze()
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        // Room for several messages at once, and not much for a connection that is idle.
        self.read.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(Broken::Left),
            _ => Ok(()),
        }
    }

    /// Read what the client sends ahead; ready only once it is gone.
    pub async fn left(&mut self) -> Broken {
        loop {
            if self.read.len() >= AHEAD_BYTES {
                return std::future::pending().await;
            }
            if let Err(broken) = self.fill().await {
                return broken;
            }
        }
    }

    /// Send what there is, once there is enough of it.
    pub async fn send_some(&mut self) -> Result<(), Broken> {
        match self.out.0.len() >= REPLY_BYTES {
            true => self.send().await,
            false => Ok(()),
        }
    }

    /// Send what there is.
    pub async fn send(&mut self) -> Result<(), Broken> {
        while !self.out.0.is_empty() {
            let written = self.stream.write_buf(&mut self.out.0);
            match tokio::time::timeout(PATIENCE, written).await {
                Ok(written) => written?,
                Err(_) => return Err(Broken::Stalled),
            };
        }
        match tokio::time::timeout(PATIENCE, self.stream.flush()).await {
            Ok(flushed) => flushed?,
            Err(_) => return Err(Broken::Stalled),
        }
        // What one large answer took is not kept for as long as the connection is idle.
        if self.out.0.capacity() > 4 * REPLY_BYTES {
            self.out.0 = BytesMut::new();
        }
        Ok(())
    }
}
