//! The sealing of bodies that MinIO's admin API asks for: a password and bytes in, bytes out. No I/O but random
//! numbers. The format, as madmin-go v3 writes it:
//!
//! `salt (32) | cipher (1) | nonce (8) | chunks`: the key is Argon2id(password, salt) with one pass over 64 MiB in
//! four lanes; each chunk of 16 KiB is sealed with nonce and its number from 1 (32 bits, little-endian) and with
//! associated data of a byte, 0x80 for the last chunk and 0x00 for the others, and the tag of an empty message
//! sealed as number 0.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

const SALT: usize = 32;
const NONCE: usize = 8;
const HEADER: usize = SALT + 1 + NONCE;
const CHUNK: usize = 1 << 14;
const TAG: usize = 16;
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 1;
const LANES: u32 = 4;
const AES: u8 = 0x00;
const CHACHA: u8 = 0x01;

/// Why a body could not be sealed or opened. It says nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// The body is not of this format, or of a cipher of it that we do not know.
    #[error("the body is not sealed as expected")]
    Format,
    /// The body was sealed with another password, or changed.
    #[error("the body does not open with this password")]
    NotAuthentic,
}

/// Seals `plain`, so that whoever knows `password` can open it.
///
/// # Errors
/// When the system gives no random bytes, or `plain` is more than fits.
pub fn seal(password: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let random = SystemRandom::new();
    let mut salt = [0; SALT];
    let mut nonce = [0; NONCE];
    random.fill(&mut salt).map_err(|_| SealError::Randomness)?;
    random.fill(&mut nonce).map_err(|_| SealError::Randomness)?;
    seal_with(password, plain, salt, nonce)
}

fn seal_with(
    password: &[u8],
    plain: &[u8],
    salt: [u8; SALT],
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, SealError> {
    let stream = Stream::new(password, &salt, AES, nonce)?;
    let mut sealed = Vec::with_capacity(HEADER + plain.len() + (plain.len() / CHUNK + 1) * TAG);
    sealed.extend_from_slice(&salt);
    sealed.push(AES);
    sealed.extend_from_slice(&nonce);
    // An empty message is one empty chunk.
    let mut rest = plain;
    for number in 1.. {
        let (chunk, following) = rest.split_at(rest.len().min(CHUNK));
        let mut buffer = chunk.to_vec();
        stream
            .key
            .seal_in_place_append_tag(
                stream.nonce(number),
                Aad::from(stream.associated(following.is_empty())),
                &mut buffer,
            )
            .map_err(|_| SealError::Format)?;
        sealed.append(&mut buffer);
        rest = following;
        if rest.is_empty() {
            break;
        }
    }
    Ok(sealed)
}

/// Opens what [`seal`] or the server sealed.
///
/// # Errors
/// When it is of another format or does not open with `password`.
pub fn open(password: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (salt, rest) = sealed
        .split_first_chunk::<SALT>()
        .ok_or(SealError::Format)?;
    let (cipher, rest) = rest.split_first().ok_or(SealError::Format)?;
    let (nonce, mut rest) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Format)?;
    let stream = Stream::new(password, salt, *cipher, *nonce)?;
    let mut plain = Vec::with_capacity(rest.len());
    for number in 1.. {
        let (chunk, following) = rest.split_at(rest.len().min(CHUNK + TAG));
        let mut buffer = chunk.to_vec();
        let opened = stream
            .key
            .open_in_place(
                stream.nonce(number),
                Aad::from(stream.associated(following.is_empty())),
                &mut buffer,
            )
            .map_err(|_| SealError::NotAuthentic)?;
        plain.extend_from_slice(opened);
        rest = following;
        if rest.is_empty() {
            break;
        }
    }
    Ok(plain)
}

/// A key with what each chunk is sealed under.
struct Stream {
    key: LessSafeKey,
    nonce: [u8; NONCE],
    empty: [u8; TAG],
}

impl Stream {
    fn new(
        password: &[u8],
        salt: &[u8; SALT],
        cipher: u8,
        nonce: [u8; NONCE],
    ) -> Result<Self, SealError> {
        let cipher = match cipher {
            AES => &AES_256_GCM,
            CHACHA => &CHACHA20_POLY1305,
            _ => return Err(SealError::Format),
        };
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| SealError::Format)?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, &mut key)
            .map_err(|_| SealError::Format)?;
        let mut stream = Self {
            key: LessSafeKey::new(UnboundKey::new(cipher, &key).map_err(|_| SealError::Format)?),
            nonce,
            empty: [0; TAG],
        };
        let tag = stream
            .key
            .seal_in_place_separate_tag(stream.nonce(0), Aad::empty(), &mut [])
            .map_err(|_| SealError::Format)?;
        stream.empty.copy_from_slice(tag.as_ref());
        Ok(stream)
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = [0; NONCE + 4];
        nonce[..NONCE].copy_from_slice(&self.nonce);
        nonce[NONCE..].copy_from_slice(&number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn associated(&self, last: bool) -> [u8; 1 + TAG] {
        let mut data = [0; 1 + TAG];
        data[0] = if last { 0x80 } else { 0x00 };
        data[1..].copy_from_slice(&self.empty);
        data
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        vectors: Vec<Vector>,
    }

    /// What madmin-go sealed; long bodies by their hash.
    #[derive(Deserialize)]
    struct Vector {
        password: String,
        plain: String,
        repeat: usize,
        salt: String,
        cipher: u8,
        nonce: String,
        sealed_length: usize,
        sealed_sha256: String,
        sealed: Option<String>,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
                u8::from_str_radix(pair, 16).expect("hexadecimal digits")
            })
            .collect()
    }

    #[test]
    fn we_seal_and_open_what_madmin_go_does() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("vectors/sealed.json")).expect("the fixture");
        assert!(fixture.vectors.len() >= 6);
        for vector in fixture.vectors {
            let password = vector.password.as_bytes();
            let plain = vector.plain.repeat(vector.repeat).into_bytes();
            assert_eq!(vector.cipher, AES);
            let sealed = seal_with(
                password,
                &plain,
                bytes(&vector.salt).try_into().expect("a salt"),
                bytes(&vector.nonce).try_into().expect("a nonce"),
            )
            .expect("sealed");
            assert_eq!(sealed.len(), vector.sealed_length);
            let hash = Sha256::digest(&sealed);
            assert_eq!(hash.as_slice(), bytes(&vector.sealed_sha256));
            if let Some(theirs) = vector.sealed {
                assert_eq!(open(password, &bytes(&theirs)), Ok(plain.clone()));
            }
            assert_eq!(open(password, &sealed), Ok(plain));
        }
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let password = b"password";
        let plain = vec![7; CHUNK + 5];
        let sealed = seal(password, &plain).expect("sealed");
        assert_eq!(open(password, &sealed), Ok(plain));
        assert_eq!(open(b"another", &sealed), Err(SealError::NotAuthentic));
        // Each part counts: salt, nonce, first chunk, last chunk, and where the last one is.
        for at in [0, SALT + 1, HEADER, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(
                open(password, &changed),
                Err(SealError::NotAuthentic),
                "{at}"
            );
        }
        let cut = &sealed[..HEADER + CHUNK + TAG];
        assert_eq!(open(password, cut), Err(SealError::NotAuthentic));
        let mut unknown = sealed.clone();
        unknown[SALT] = 0x02;
        assert_eq!(open(password, &unknown), Err(SealError::Format));
        assert_eq!(
            open(password, &sealed[..HEADER - 1]),
            Err(SealError::Format)
        );
    }

    #[test]
    fn the_same_body_is_never_sealed_the_same() {
        assert_ne!(seal(b"password", b"body"), seal(b"password", b"body"));
    }
}
