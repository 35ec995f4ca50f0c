//! The evidence of a Region: records that are signed and chained, so that nobody can change, drop, reorder or cut off
//! one without being found out. Keys, times and bytes in; records, objects and findings out. No I/O, no clock.
//!
//! A record is the payload of a DSSE envelope, an envelope is one object of the bucket [`EVIDENCE_BUCKET`], and the
//! SHA-256 of that object stands in the next record. `sha256sum` and any DSSE tool can follow the chain.
//!
//! [`EVIDENCE_BUCKET`]: crate::names::EVIDENCE_BUCKET

pub mod bundle;
pub mod changes;
pub mod entry;
pub mod envelope;
pub mod recorder;
pub mod sightings;
mod verify;

use std::fmt;
use std::str::FromStr;

use bailiwick_api::region::EvidenceStatus;
pub use entry::Entry;
use envelope::Envelope;
pub use envelope::{KeyId, PublicKey, SigningKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
pub use verify::{Expected, Finding, Stored, Verified, verify};

/// Where records lie in the bucket. Their keys are made of the sequence and nothing else: two writers of one sequence
/// meet at one key, where the store lets the first alone in. With a date in the key they would not, around midnight.
pub const PREFIX: &str = "records/";
/// The most bytes that a record's object may have; one of ours has less than 9 KiB, and most less than 2.
pub const OBJECT_LIMIT: usize = 16 << 10;

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first record: zeros.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAHash),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(NotAHash);
        };
        let bytes = pairs
            .iter()
            .map(|[high, low]| Ok(digit(*high)? << 4 | digit(*low)?))
            .collect::<Result<Vec<u8>, NotAHash>>()?;
        bytes.try_into().map(Self).map_err(|_| NotAHash)
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

/// A text is not a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the 64 lower-case hexadecimal digits of a SHA-256")]
pub struct NotAHash;

/// The end of a chain, to be kept elsewhere than the chain: whoever holds it can tell that the chain was cut off or
/// written anew. Written as `sequence:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The sequence of the last record; 1 is the first.
    pub sequence: u64,
    /// The hash of its object.
    pub hash: Hash,
}

impl Anchor {
    /// The anchor that a status holds; none when it is not one.
    #[must_use]
    pub fn of(status: &EvidenceStatus) -> Option<Self> {
        let sequence = u64::try_from(status.sequence)
            .ok()
            .filter(|sequence| *sequence > 0)?;
        Some(Self {
            sequence,
            hash: status.hash.parse().ok()?,
        })
    }

    /// The anchor as the status of a Region holds it, with the key that signed its record.
    #[must_use]
    pub fn status(&self, signer: KeyId) -> EvidenceStatus {
        EvidenceStatus {
            sequence: i64::try_from(self.sequence).unwrap_or(i64::MAX),
            hash: self.hash.to_string(),
            key_id: signer.to_string(),
            told: String::new(),
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = NotAnAnchor;

    fn from_str(text: &str) -> Result<Self, NotAnAnchor> {
        let (sequence, hash) = text.split_once(':').ok_or(NotAnAnchor)?;
        let sequence = sequence.parse().map_err(|_| NotAnAnchor)?;
        let hash = hash.parse().map_err(|_| NotAnAnchor)?;
        if sequence == 0 {
            return Err(NotAnAnchor);
        }
        Ok(Self { sequence, hash })
    }
}

/// A text is not an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected <sequence>:<hash>, a number from 1 and 64 lower-case hexadecimal digits")]
pub struct NotAnAnchor;

/// What was recorded, when and after what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its place in the chain: 1 is the first.
    pub sequence: u64,
    /// When, by the operator's clock, in whole seconds (RFC 3339, UTC).
    pub time: Timestamp,
    /// The Region's name.
    pub region: String,
    /// The SHA-256 of the object before it; zeros before the first.
    pub previous: Hash,
    /// What happened.
    pub entry: Entry,
}

/// An object as it is put into the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// What the chain ends with once it is there.
    pub anchor: Anchor,
}

impl Record {
    /// The record that follows `last`, or the first.
    #[must_use]
    pub fn after(last: Option<&Anchor>, region: &str, time: Timestamp, entry: Entry) -> Self {
        Self {
            sequence: last.map_or(1, |last| last.sequence + 1),
            // Parts of a second would be more than clocks of nodes agree on.
            time: Timestamp::from_second(time.as_second()).unwrap_or(time),
            region: region.to_owned(),
            previous: last.map_or(Hash::NONE, |last| last.hash),
            entry,
        }
    }

    /// The record signed, as an object of the bucket. The same record and key give the same bytes.
    ///
    /// # Errors
    /// The record could not be written as JSON: a defect of the types.
    pub fn sign(&self, key: &SigningKey) -> Result<Object, serde_json::Error> {
        let bytes = Envelope::seal(&serde_json::to_vec(self)?, key).to_bytes()?;
        Ok(Object {
            key: object_key(self.sequence),
            anchor: Anchor {
                sequence: self.sequence,
                hash: Hash::of(&bytes),
            },
            bytes,
        })
    }

    /// The record in an object, and the id of the key that it says it is signed with. Nothing is verified.
    ///
    /// # Errors
    /// What is not as our writer writes it.
    pub fn read(bytes: &[u8]) -> Result<(Self, Envelope), Malformed> {
        if bytes.len() > OBJECT_LIMIT {
            return Err(Malformed::TooLarge);
        }
        let envelope = Envelope::read(bytes)?;
        let record: Self =
            serde_json::from_slice(envelope.payload()).map_err(|_| Malformed::Record)?;
        // A field that this version does not know would be judged without being read.
        match serde_json::to_vec(&record) {
            Ok(written) if written == envelope.payload() => Ok((record, envelope)),
            _ => Err(Malformed::Record),
        }
    }
}

/// Why an object is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has more than [`OBJECT_LIMIT`] bytes.
    #[error("it is larger than {OBJECT_LIMIT} bytes")]
    TooLarge,
    /// It is not a DSSE envelope with one signature, written without a blank.
    #[error(
        "it is not the DSSE envelope, with one signature and without a blank, that the operator writes"
    )]
    Envelope,
    /// Its payload has another type.
    #[error("its payloadType is not {}", envelope::PAYLOAD_TYPE)]
    PayloadType,
    /// Its payload is not a record that this version knows.
    #[error("its payload is not a record that this version knows")]
    Record,
    /// A chain begins in its midst, or its first record does not begin one.
    #[error("entry.kind must be ChainStarted in record 1 and nowhere else")]
    Start,
    /// The object's key is not one of a record.
    #[error("its name is not {PREFIX}, the sequence in 20 digits and .json")]
    Key,
}

/// The key of a record's object.
#[must_use]
pub fn object_key(sequence: u64) -> String {
    format!("{PREFIX}{sequence:020}.json")
}

/// The sequence in an object's key; none when it is not a record's.
#[must_use]
pub fn sequence_of(key: &str) -> Option<u64> {
    let sequence = key
        .strip_prefix(PREFIX)?
        .strip_suffix(".json")?
        .parse()
        .ok()?;
    (sequence > 0 && object_key(sequence) == key).then_some(sequence)
}

#[cfg(test)]
mod tests;
