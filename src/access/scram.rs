use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::random;
use super::verifier::Verifier;

/// A client's message is none of SCRAM's, or asks for what there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's authentication is none of SCRAM-SHA-256: {0}")]
pub struct Malformed(&'static str);

/// The server's side of SCRAM-SHA-256 (RFC 5802): the client has said that it begins, and proves now that it knows the
/// password.
pub struct Exchange {
    verifier: Verifier,
    /// What the client says again of channel binding.
    header: String,
    nonce: String,
    /// What both have said until now.
    said: String,
    reply: String,
}

impl Exchange {
    /// The client's first message. The name in it is not looked at, as PostgreSQL does not: whose verifier it is has been said
    /// before.
    pub fn begin(verifier: Verifier, message: &[u8]) -> Result<Self, Malformed> {
        let nonce = BASE64.encode(random::<18>());
        Self::begin_with(verifier, message, &nonce)
    }

    /// With a nonce that is known before, which only tests want.
    pub fn begin_with(verifier: Verifier, message: &[u8], nonce: &str) -> Result<Self, Malformed> {
        let message = text(message)?;
        // Channel binding is not offered: a client that could does not mind (`y`), one that insists (`p=…`) does.
        let binds = message.starts_with("n,") || message.starts_with("y,");
        let rest = message.get(2..).filter(|_| binds);
        let rest = rest.ok_or(Malformed("it asks for channel binding"))?;
        // Who is to be acted for: nobody else.
        let first = rest.strip_prefix(',');
        let first = first.ok_or(Malformed("it asks to act for another"))?;
        let mut attributes = first.split(',');
        let name = attributes.next().filter(|name| name.starts_with("n="));
        name.ok_or(Malformed("it names no user"))?;
        let theirs = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let theirs = theirs.filter(|nonce| !nonce.is_empty() && nonce.bytes().all(is_printable));
        let theirs = theirs.ok_or(Malformed("it has no nonce"))?;
        let nonce = format!("{theirs}{nonce}");
        let salt = BASE64.encode(verifier.salt());
        let reply = format!("r={nonce},s={salt},i={}", verifier.iterations());
        Ok(Self {
            header: message[..message.len() - first.len()].to_string(),
            said: format!("{first},{reply}"),
            verifier,
            nonce,
            reply,
        })
    }

    /// What the client is told then.
    pub fn reply(&self) -> &str {
        &self.reply
    }

    /// The client's last message: what it is told at the end, if it knows the password.
    pub fn end(self, message: &[u8]) -> Result<Option<String>, Malformed> {
        let message = text(message)?;
        let proof = message.rsplit_once(",p=");
        let (unproved, proof) = proof.ok_or(Malformed("it has no proof"))?;
        let mut attributes = unproved.split(',');
        let header = attributes
            .next()
            .and_then(|header| header.strip_prefix("c="));
        if header != Some(BASE64.encode(&self.header).as_str()) {
            return Err(Malformed(
                "it says something else of channel binding than before",
            ));
        }
        if attributes.next().and_then(|nonce| nonce.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(Malformed("its nonce is another"));
        }
        let proof = BASE64.decode(proof);
        let proof = proof.map_err(|_| Malformed("its proof is not base64"))?;
        let said = format!("{},{unproved}", self.said);
        let ours = self.verifier.prove(said.as_bytes(), &proof);
        Ok(ours.map(|ours| format!("v={}", BASE64.encode(ours))))
    }
}

fn text(message: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(message).map_err(|_| Malformed("it is not UTF-8"))
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b','
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3.
    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn begun() -> Exchange {
        let verifier = VERIFIER.parse().unwrap();
        Exchange::begin_with(verifier, FIRST.as_bytes(), NONCE).unwrap()
    }

    #[test]
    fn the_standards_exchange_is_had() {
        let exchange = begun();
        assert_eq!(
            exchange.reply(),
            format!("r=rOprNGfwEbeRWgbNEkqO{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        );
        let told = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.end(LAST.as_bytes()), Ok(Some(told.to_string())));
    }

    #[test]
    fn a_wrong_proof_is_no_login() {
        let wrong = LAST.replace("dHzb", "dHzc");
        assert_eq!(begun().end(wrong.as_bytes()), Ok(None));
    }

    #[test]
    fn what_is_no_scram_is_refused() {
        let first: [&[u8]; 8] = [
            b"",
            b"n",
            b"p=tls-unique,,n=u,r=x",
            b"n,a=admin,n=u,r=x",
            b"n,,m=ext,n=u,r=x",
            b"n,,n=u,r=",
            b"n,,n=u",
            b"n,,n=\xff,r=x",
        ];
        for message in first {
            let begun = Exchange::begin(Verifier::new("x"), message);
            assert!(begun.is_err(), "{}", String::from_utf8_lossy(message));
        }
        for last in [
            String::new(),
            LAST.replace("biws", "eSws"),
            LAST.replace("r=rOpr", "r=rOps"),
            LAST.replace("p=", "q="),
            LAST.replace("ndVQ=", "!"),
        ] {
            assert!(begun().end(last.as_bytes()).is_err(), "{last}");
        }
    }

    #[test]
    fn nonces_are_not_told_again() {
        let begin = || Exchange::begin(Verifier::new("x"), FIRST.as_bytes()).unwrap();
        assert_ne!(begin().nonce, begin().nonce);
    }
}
