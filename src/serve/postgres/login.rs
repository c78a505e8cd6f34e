//! A client proves who it is, by SCRAM-SHA-256.

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use super::said;
use super::startup::BEGINNING;
use super::wire::{Broken, Wire};
use crate::access::audit::Origin;
use crate::access::{Exchange, Refused};
use crate::engine::{Engine, Who};
use crate::serve::connections::Peer;
use crate::serve::guests::{Turned, logged_in};

const MECHANISM: &str = "SCRAM-SHA-256";
/// The longest message of a login.
const MOST_BYTES: usize = 4 << 10;

/// Who a client is that says to be this user. None: it is not, and has been told so.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    engine: &Engine,
    peer: &Peer,
    user: &str,
    origin: Origin,
) -> Result<Option<Who>, Broken> {
    let noted = |refused: Option<Refused>| {
        let refused = refused.map(Turned::Refused);
        logged_in(
            engine.audit(),
            Some(user),
            "scram",
            origin,
            refused.as_ref(),
        );
    };
    if engine.audit().admits().await.is_err() {
        return refuse(wire, "58030", &Turned::Unaudited.to_string()).await;
    }
    let tried = engine
        .logins()
        .tries(&engine.accounts(), user, peer.address.ip());
    let tried = match tried {
        Ok(tried) => tried,
        Err(refused) => {
            noted(Some(refused));
            return refuse(wire, "28000", &refused.to_string()).await;
        }
    };
    wire.out.sasl(&[MECHANISM]);
    wire.send().await?;
    let Some(first) = answer(wire).await?.and_then(first) else {
        return refuse(wire, "08P01", "the client does not answer as SASL says").await;
    };
    let exchange = match Exchange::begin(tried.verifier.clone(), &first) {
        Ok(exchange) => exchange,
        Err(malformed) => return refuse(wire, "08P01", &malformed.to_string()).await,
    };
    wire.out.sasl_continue(exchange.reply());
    wire.send().await?;
    let Some(last) = answer(wire).await? else {
        return refuse(wire, "08P01", "the client does not answer as SASL says").await;
    };
    let proof = match exchange.end(&last) {
        Ok(proof) => proof.filter(|_| !tried.is_nobody),
        Err(malformed) => return refuse(wire, "08P01", &malformed.to_string()).await,
    };
    let Some(proof) = proof else {
        noted(Some(Refused::Wrong));
        return refuse(wire, "28P01", &Refused::Wrong.to_string()).await;
    };
    tried.succeeded();
    noted(None);
    wire.out.sasl_final(&proof);
    Ok(Some(Who::User(user.into())))
}

/// The next message, if it is one of a login.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
) -> Result<Option<Bytes>, Broken> {
    let message = tokio::time::timeout(BEGINNING, wire.short(MOST_BYTES));
    let (of, body) = message.await.map_err(|_| Broken::Left)??;
    Ok((of == b'p').then_some(body))
}

/// What the first message says, if it chooses the mechanism that there is.
fn first(mut body: Bytes) -> Option<Bytes> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let is_ours = body[..end] == *MECHANISM.as_bytes();
    body.advance(end + 1);
    if !is_ours || body.len() < 4 {
        return None;
    }
    let length = usize::try_from(body.get_i32()).ok()?;
    (body.len() == length).then_some(body)
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    sqlstate: &str,
    message: &str,
) -> Result<Option<Who>, Broken> {
    said::fatal(&mut wire.out, sqlstate, message);
    wire.send().await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn a_first_message_is_read_whole_or_not_at_all() {
        let read = |body: &'static [u8]| first(body.into());
        let whole = read(b"SCRAM-SHA-256\0\0\0\0\x03n,,");
        assert_eq!(whole.as_deref(), Some(&b"n,,"[..]));
        for bad in [
            &b""[..],
            b"SCRAM-SHA-256",
            b"SCRAM-SHA-256\0",
            b"SCRAM-SHA-256\0\0\0\0\x04n,,",
            b"SCRAM-SHA-256\0\0\0\0\x02n,,",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"SCRAM-SHA-1\0\0\0\0\x03n,,",
        ] {
            assert_eq!(read(bad), None);
        }
    }
}
