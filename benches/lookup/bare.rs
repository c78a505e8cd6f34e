//! The least server there is: it answers each execution with one row that it holds.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SSL_REQUEST: u32 = 80_877_103;

pub async fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who leaves in mid-sentence is no news.
            tokio::spawn(async move { drop(talk(stream).await) });
        }
    });
    Ok(address)
}

async fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let length = stream.read_u32().await? as usize;
        let mut startup = vec![0; length.saturating_sub(4)];
        stream.read_exact(&mut startup).await?;
        if startup.get(..4) != Some(&SSL_REQUEST.to_be_bytes()) {
            break;
        }
        stream.write_all(b"N").await?;
    }
    let mut out = Vec::new();
    message(&mut out, b'R', &0u32.to_be_bytes());
    for parameter in ["server_version\x0016.4\0", "client_encoding\0UTF8\0"] {
        message(&mut out, b'S', parameter.as_bytes());
    }
    message(&mut out, b'Z', b"I");
    let (mut input, mut begun) = (vec![0; 1 << 16], 0);
    loop {
        stream.write_all(&out).await?;
        out.clear();
        let read = stream.read(&mut input[begun..]).await?;
        if read == 0 {
            return Ok(());
        }
        let (mut at, end) = (0, begun + read);
        while let Some(header) = input[at..end].get(..5) {
            let kind = header[0];
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if at + 1 + length > end {
                break;
            }
            answer(&mut out, kind, input.get(at + 5).copied());
            at += 1 + length;
        }
        input.copy_within(at..end, 0);
        begun = end - at;
    }
}

fn answer(out: &mut Vec<u8>, kind: u8, what: Option<u8>) {
    match kind {
        b'P' => message(out, b'1', b""),
        b'B' => message(out, b'2', b""),
        b'D' => {
            if what == Some(b'S') {
                message(out, b't', &[0, 1, 0, 0, 0, 23]);
            }
            let mut columns = vec![0, 3];
            for (name, oid, width) in [
                ("name", 25u32, -1i16),
                ("price", 1700, -1),
                ("stock", 23, 4),
            ] {
                columns.extend(name.as_bytes());
                columns.extend([0, 0, 0, 0, 0, 0, 0]);
                columns.extend(oid.to_be_bytes());
                columns.extend(width.to_be_bytes());
                columns.extend([0xff, 0xff, 0xff, 0xff, 0, 0]);
            }
            message(out, b'T', &columns);
        }
        b'E' => {
            let mut row = vec![0, 3];
            for value in ["item 250000", "2500.00", "0"] {
                row.extend((value.len() as u32).to_be_bytes());
                row.extend(value.as_bytes());
            }
            message(out, b'D', &row);
            message(out, b'C', b"SELECT 1\0");
        }
        b'Q' => {
            message(out, b'C', b"SET\0");
            message(out, b'Z', b"I");
        }
        b'S' => message(out, b'Z', b"I"),
        _ => {}
    }
}

fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
}
