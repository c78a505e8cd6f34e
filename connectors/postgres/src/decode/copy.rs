use belvedere_connector::Result;
use bytes::Bytes;

use super::malformed;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the header's extension.
const HEADER_LEN: usize = 19;

/// Cuts the chunks of `COPY … TO STDOUT (FORMAT binary)` into tuples.
///
/// PostgreSQL sends one tuple a chunk, which is then decoded where it lies; the protocol promises nothing of the kind,
/// so a tuple cut in two is put together first.
#[derive(Debug, Default)]
pub struct CopyFrames {
    header_seen: bool,
    ended: bool,
    pending: Vec<u8>,
}

impl CopyFrames {
    /// Feed a chunk: `tuple` is called with each whole tuple, its field count included.
    pub fn push(
        &mut self,
        chunk: &Bytes,
        mut tuple: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if self.pending.is_empty() {
            let used = self.consume(chunk, &mut tuple)?;
            self.pending.extend_from_slice(&chunk[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(chunk);
            let used = self.consume(&joined, &mut tuple)?;
            joined.drain(..used);
            self.pending = joined;
        }
        Ok(())
    }

    /// After the last chunk: whether the trailer was seen and nothing is left.
    pub fn is_complete(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    /// How many bytes of `data` were used.
    fn consume(
        &mut self,
        data: &[u8],
        tuple: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let mut at = 0;
        if !self.header_seen {
            let Some(header) = data.get(..HEADER_LEN) else {
                return Ok(0);
            };
            if header[..11] != *SIGNATURE {
                return Err(malformed());
            }
            let extension =
                u32::from_be_bytes([header[15], header[16], header[17], header[18]]) as usize;
            if data.len() < HEADER_LEN + extension {
                return Ok(0);
            }
            at = HEADER_LEN + extension;
            self.header_seen = true;
        }
        while !self.ended && at < data.len() {
            match tuple_len(&data[at..])? {
                Frame::Tuple(len) => {
                    tuple(&data[at..at + len])?;
                    at += len;
                }
                Frame::Trailer => {
                    at += 2;
                    self.ended = true;
                }
                Frame::Partial => break,
            }
        }
        Ok(at)
    }
}

enum Frame {
    Tuple(usize),
    Trailer,
    Partial,
}

fn tuple_len(data: &[u8]) -> Result<Frame> {
    let Some((count, _)) = data.split_first_chunk::<2>() else {
        return Ok(Frame::Partial);
    };
    let fields = match i16::from_be_bytes(*count) {
        -1 => return Ok(Frame::Trailer),
        // Up to 1,664 columns.
        n @ 0.. => n as usize,
        _ => return Err(malformed()),
    };
    let mut at = 2;
    for _ in 0..fields {
        let Some(len) = data.get(at..at + 4) else {
            return Ok(Frame::Partial);
        };
        at += 4;
        let len = i32::from_be_bytes([len[0], len[1], len[2], len[3]]);
        if len > 0 {
            at += len as usize;
        }
    }
    Ok(if at <= data.len() {
        Frame::Tuple(at)
    } else {
        Frame::Partial
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_tuples() {
        let mut data = SIGNATURE.to_vec();
        data.extend([0; 8]);
        let tuples: [&[u8]; 3] = [
            b"\0\x02\0\0\0\x01a\xff\xff\xff\xff",
            b"\0\x00",
            b"\0\x01\0\0\0\x03xyz",
        ];
        data.extend(tuples.concat());
        data.extend([0xff, 0xff]);
        let data = Bytes::from(data);
        for cut in 0..=data.len() {
            let mut frames = CopyFrames::default();
            let mut seen: Vec<Vec<u8>> = Vec::new();
            for chunk in [data.slice(..cut), data.slice(cut..)] {
                frames
                    .push(&chunk, |t| {
                        seen.push(t.to_vec());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, tuples, "cut at {cut}");
            assert!(frames.is_complete());
        }
        let mut frames = CopyFrames::default();
        let text = Bytes::from_static(b"1\tone\n2\ttwo\n and more text");
        assert!(frames.push(&text, |_| Ok(())).is_err());
    }
}
