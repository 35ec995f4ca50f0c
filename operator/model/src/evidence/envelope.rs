//! DSSE envelopes (github.com/secure-systems-lab/dsse, version 1) with one Ed25519 signature, and the keys, as the PEM
//! that OpenSSL reads. Bytes and keys in, bytes and verdicts out; no I/O, no randomness.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{Hash, Malformed};

/// The type of a record as the payload of an envelope. A change of what a record means needs another.
pub const PAYLOAD_TYPE: &str = "application/vnd.bailiwick.evidence.v1+json";

/// What comes before the 32 bytes of a private key in PKCS #8 (RFC 8410, section 7).
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What comes before the 32 bytes of a public key in SubjectPublicKeyInfo (RFC 8410, section 4).
const PUBLIC_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The id of a key: the SHA-256 of its SubjectPublicKeyInfo, as
/// `openssl pkey -pubin -outform DER | sha256sum` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Hash);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A key of the wrong shape. It does not hold the text, which may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the PEM of an Ed25519 {0}, as `openssl pkey` writes it")]
pub struct NotAKey(&'static str);

/// An Ed25519 public key. In JSON it is the base64 of its SubjectPublicKeyInfo: the middle line of its PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key in a PEM of one `PUBLIC KEY`.
    ///
    /// # Errors
    /// It is not one of Ed25519.
    pub fn from_pem(pem: &str) -> Result<Self, NotAKey> {
        from_pem(pem, "PUBLIC KEY", &PUBLIC_PREFIX)
            .map(Self)
            .ok_or(NotAKey("public key"))
    }

    /// Its PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &PUBLIC_PREFIX, &self.0)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Hash::of(&[&PUBLIC_PREFIX[..], &self.0].concat()))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        decode(&text, &PUBLIC_PREFIX)
            .map(Self)
            .ok_or(NotAKey("public key"))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode([&PUBLIC_PREFIX[..], &key.0].concat())
    }
}

/// An Ed25519 private key. `Debug` shows the public half's id alone.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key in a PEM of one `PRIVATE KEY`.
    ///
    /// # Errors
    /// It is not one of Ed25519.
    pub fn from_pem(pem: &str) -> Result<Self, NotAKey> {
        from_pem(pem, "PRIVATE KEY", &PRIVATE_PREFIX)
            .ok_or(NotAKey("private key"))
            .and_then(|seed| Self::from_seed(&seed))
    }

    /// The key of 32 random bytes.
    ///
    /// # Errors
    /// None that is known: any 32 bytes are a key (RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, NotAKey> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| NotAKey("private key"))
    }

    /// The PEM of the private key of 32 random bytes. It is a secret.
    #[must_use]
    pub fn pem_of_seed(seed: &[u8; 32]) -> String {
        to_pem("PRIVATE KEY", &PRIVATE_PREFIX, seed)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public().id())
            .finish()
    }
}

/// An envelope with one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    key: KeyId,
    signature: Vec<u8>,
}

/// An envelope as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    payload_type: String,
    payload: String,
    signatures: [WrittenSignature; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignature {
    keyid: KeyId,
    sig: String,
}

impl Envelope {
    /// The envelope around a payload of [`PAYLOAD_TYPE`].
    #[must_use]
    pub fn seal(payload: &[u8], key: &SigningKey) -> Self {
        Self {
            payload: payload.to_vec(),
            key: key.public().id(),
            signature: key.0.sign(&authenticated(payload)).as_ref().to_vec(),
        }
    }

    /// Its JSON, in the one way in which the operator writes it.
    ///
    /// # Errors
    /// None but a defect of the types.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(&self.payload),
            signatures: [WrittenSignature {
                keyid: self.key,
                sig: STANDARD.encode(&self.signature),
            }],
        })
    }

    /// The envelope of these bytes, which must be written as [`Self::to_bytes`] writes them: what the signature does
    /// not cover could else be changed in the last record without a trace.
    ///
    /// # Errors
    /// They are not an envelope, or one of something else.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let written: Written = serde_json::from_slice(bytes).map_err(|_| Malformed::Envelope)?;
        if written.payload_type != PAYLOAD_TYPE {
            return Err(Malformed::PayloadType);
        }
        let [WrittenSignature { keyid, sig }] = written.signatures;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| Malformed::Envelope);
        let envelope = Self {
            payload: decode(&written.payload)?,
            key: keyid,
            signature: decode(&sig)?,
        };
        match envelope.to_bytes() {
            Ok(again) if again == bytes => Ok(envelope),
            _ => Err(Malformed::Envelope),
        }
    }

    /// What is in it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The key that it says it is signed with.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// Whether `key` signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.id() == self.key && key.verifies(&authenticated(&self.payload), &self.signature)
    }
}

/// What is signed: DSSE's pre-authentication encoding, which binds the type to the payload.
fn authenticated(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The 32 bytes after `prefix` in a base64 text.
fn decode(text: &str, prefix: &[u8]) -> Option<[u8; 32]> {
    STANDARD
        .decode(text)
        .ok()?
        .strip_prefix(prefix)?
        .try_into()
        .ok()
}

/// Keys of Ed25519 fill one line of base64, so a PEM has three.
fn from_pem(pem: &str, label: &str, prefix: &[u8]) -> Option<[u8; 32]> {
    let mut lines = pem.lines().map(str::trim).filter(|line| !line.is_empty());
    let (begin, body, end) = (lines.next()?, lines.next()?, lines.next()?);
    let framed =
        begin == format!("-----BEGIN {label}-----") && end == format!("-----END {label}-----");
    (framed && lines.next().is_none())
        .then(|| decode(body, prefix))
        .flatten()
}

fn to_pem(label: &str, prefix: &[u8], key: &[u8]) -> String {
    let body = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
