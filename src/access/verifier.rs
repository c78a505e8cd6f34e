use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::random;

/// As PostgreSQL has it: what makes one guess cost more makes each login cost more, too.
pub const ITERATIONS: u32 = 4096;
/// One that is taken over from elsewhere must not keep a processor busy for long.
const MOST_ITERATIONS: u32 = 100_000;
const SALT_BYTES: usize = 16;
const MOST_SALT_BYTES: usize = 64;
const MECHANISM: &str = "SCRAM-SHA-256";

pub type Key = [u8; 32];
type HmacSha256 = Hmac<Sha256>;

/// What is kept of a password: it checks whoever says the password, or proves to know it (RFC 5802, RFC 7677), and tells
/// nobody what it is. Its text is PostgreSQL's: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// Neither in logs nor in errors.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// Of a password, with a salt of its own.
    pub fn new(password: &str) -> Self {
        Self::with_salt(password, random::<SALT_BYTES>().to_vec(), ITERATIONS)
    }

    fn with_salt(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = salted(password, &salt, iterations);
        Self {
            stored_key: Sha256::digest(mac(&salted, b"Client Key")).into(),
            server_key: mac(&salted, b"Server Key"),
            iterations,
            salt,
        }
    }

    /// For a user that there is not: nobody's password, and yet the same each time that the name is tried, so that nobody
    /// finds out by it which users there are. `secret` is the engine's.
    pub fn mock(secret: &Key, user: &str) -> Self {
        let of = |what: &str| mac(secret, format!("{what}\0{user}").as_bytes());
        Self {
            iterations: ITERATIONS,
            salt: of("salt")[..SALT_BYTES].to_vec(),
            stored_key: of("stored key"),
            server_key: of("server key"),
        }
    }

    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Whether this is the password. Takes as long for each that is as long.
    pub fn is_password(&self, password: &str) -> bool {
        let said = Self::with_salt(password, self.salt.clone(), self.iterations);
        said.stored_key.ct_eq(&self.stored_key).into()
    }

    /// Whether `proof` is by somebody who knows the password, given what both have said until then; and the proof that we
    /// know the verifier.
    pub fn prove(&self, said: &[u8], proof: &[u8]) -> Option<Key> {
        let proof: Key = proof.try_into().ok()?;
        let signature = mac(&self.stored_key, said);
        let mut client_key = proof;
        for (key, signed) in client_key.iter_mut().zip(signature) {
            *key ^= signed;
        }
        let stored: Key = Sha256::digest(client_key).into();
        let is_known: bool = stored.ct_eq(&self.stored_key).into();
        is_known.then(|| mac(&self.server_key, said))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] = [&self.salt[..], &self.stored_key, &self.server_key];
        let [salt, stored, server] = [salt, stored, server].map(|bytes| BASE64.encode(bytes));
        write!(
            f,
            "{MECHANISM}${}:{salt}${stored}:{server}",
            self.iterations
        )
    }
}

impl FromStr for Verifier {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts = || {
            let (how, keys) = text
                .strip_prefix(MECHANISM)?
                .strip_prefix('$')?
                .split_once('$')?;
            let (iterations, salt) = how.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let bytes = |text: &str| BASE64.decode(text).ok();
            let key = |text: &str| Key::try_from(bytes(text)?).ok();
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt: bytes(salt)?,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        let is_fit = |verifier: &Self| {
            (1..=MOST_ITERATIONS).contains(&verifier.iterations)
                && (1..=MOST_SALT_BYTES).contains(&verifier.salt.len())
        };
        parts().filter(is_fit).ok_or(())
    }
}

/// A password that is no text in SASL's sense is taken by its bytes, as PostgreSQL and its clients do.
fn normalized(password: &str) -> Vec<u8> {
    let prepared = stringprep::saslprep(password);
    prepared.map_or_else(|_| password.into(), |text| text.into_owned().into_bytes())
}

/// RFC 5802's `Hi`.
fn salted(password: &str, salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(&normalized(password));
    let once = |bytes: &[&[u8]]| -> Key {
        let mut keyed = keyed.clone();
        bytes.iter().for_each(|bytes| keyed.update(bytes));
        keyed.finalize().into_bytes().into()
    };
    let mut last = once(&[salt, &1u32.to_be_bytes()]);
    let mut all = last;
    for _ in 1..iterations {
        last = once(&[&last]);
        all.iter_mut()
            .zip(last)
            .for_each(|(all, last)| *all ^= last);
    }
    all
}

fn mac(key: &[u8], bytes: &[u8]) -> Key {
    let mut keyed = keyed(key);
    keyed.update(bytes);
    keyed.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("a key of HMAC has any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_standards_example_is_understood() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::with_salt("pencil", salt, 4096);
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                    c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = BASE64
            .decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
            .unwrap();
        let ours = verifier.prove(said.as_bytes(), &proof).unwrap();
        assert_eq!(
            BASE64.encode(ours),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert_eq!(verifier.prove(&said.as_bytes()[1..], &proof), None);
        assert_eq!(verifier.prove(said.as_bytes(), &proof[1..]), None);
    }

    #[test]
    fn a_password_is_known_again_and_no_other() {
        let verifier = Verifier::new("secret");
        assert!(verifier.is_password("secret"));
        assert!(!verifier.is_password("Secret") && !verifier.is_password(""));
        assert_ne!(verifier, Verifier::new("secret"), "each has its own salt");
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        assert!(!format!("{verifier:?}").contains('$'));
    }

    #[test]
    fn passwords_are_prepared_as_sasl_says_or_taken_as_they_are() {
        // A soft hyphen is mapped to nothing, the Roman numeral to its letters.
        assert!(Verifier::new("I\u{ad}X").is_password("\u{2168}"));
        // A control character is prohibited.
        let verifier = Verifier::new("a\u{7}\u{ad}");
        assert!(verifier.is_password("a\u{7}\u{ad}") && !verifier.is_password("a\u{7}"));
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = Verifier::new("x").to_string();
        let bad = [
            "".to_string(),
            "md5d41d8cd98f00b204e9800998ecf8427e".to_string(),
            good.replace("4096", "0"),
            good.replace("4096", "4000000000"),
            good.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
            good[..good.len() - 4].to_string(),
            good.replace('=', "!"),
        ];
        for text in bad {
            assert_eq!(text.parse::<Verifier>(), Err(()), "{text}");
        }
    }

    #[test]
    fn who_is_not_there_looks_the_same_each_time() {
        let secret = random::<32>();
        let mock = Verifier::mock(&secret, "nobody");
        assert_eq!(mock, Verifier::mock(&secret, "nobody"));
        assert_ne!(mock.salt(), Verifier::mock(&secret, "noone").salt());
        assert_ne!(
            mock.salt(),
            Verifier::mock(&random::<32>(), "nobody").salt()
        );
        assert_eq!(mock.iterations(), Verifier::new("x").iterations());
        assert_eq!(mock.salt().len(), Verifier::new("x").salt().len());
    }
}
