//! A day of the log as files that verify without the cluster: its records, the record before and the record after, by
//! which nobody can leave one out, and the public keys. Records in, named files out, and back; no I/O.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Name};
use super::{
    Anchor, Expected, Finding, KeyId, PREFIX, PublicKey, Record, Stored, Verified, object_key,
    verify,
};

/// The file that says what a bundle is of.
pub const MANIFEST: &str = "manifest.json";
/// Where the public keys lie in a bundle.
const KEYS: &str = "keys/";

/// What a bundle says of itself. It is signed by nobody: whoever verifies names the anchor or the key himself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The Region.
    pub region: Name,
    /// The day, in UTC.
    pub day: Date,
    /// The end of the chain when the bundle was made, as `sequence:hash`.
    pub anchor: String,
    /// The ids of the keys in it.
    pub keys: Vec<KeyId>,
}

/// Why there is no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The chain begins after that day.
    #[error("the chain of Region {region} begins after {day}; ask for a later day")]
    BeforeStart {
        /// The Region.
        region: String,
        /// The day.
        day: Date,
    },
    /// A file is missing or not what it should be.
    #[error("{0} is missing from the bundle or not what `evidence export` writes; export it again")]
    File(String),
    /// The bundle is not what was verified.
    #[error("the objects are not the ones that were verified; verify and export in one go")]
    Unverified,
}

/// A bundle, as read from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its records.
    pub records: Vec<Stored>,
    /// Its keys: claims, until an anchor or somebody's word pins them.
    pub keys: Vec<PublicKey>,
}

/// The day of a record, in UTC.
fn day_of(record: &Record) -> Date {
    record.time.to_zoned(TimeZone::UTC).date()
}

impl Bundle {
    /// The bundle of a day of a chain. `objects` are those that `chain` was verified from; `keys` are named by whoever
    /// verified, those in the records come by themselves.
    ///
    /// # Errors
    /// The chain begins after that day, or `objects` are others.
    pub fn of_day(
        chain: &Verified,
        objects: &[Stored],
        keys: &[PublicKey],
        day: Date,
    ) -> Result<Self, BundleError> {
        let region = chain
            .records
            .first()
            .map_or("", |record| record.region.as_str());
        let first = chain.records.partition_point(|record| day_of(record) < day);
        let end = chain
            .records
            .partition_point(|record| day_of(record) <= day);
        if end == 0 {
            return Err(BundleError::BeforeStart {
                region: region.to_owned(),
                day,
            });
        }
        // One before and one after, as far as there are any.
        let records = chain
            .records
            .get(first.saturating_sub(1)..(end + 1).min(chain.records.len()))
            .unwrap_or_default();
        let by_key: BTreeMap<&str, &Stored> = objects
            .iter()
            .map(|object| (object.key.as_str(), object))
            .collect();
        let records = records
            .iter()
            .map(|record| {
                by_key
                    .get(object_key(record.sequence).as_str())
                    .map(|object| (*object).clone())
            })
            .collect::<Option<Vec<Stored>>>()
            .ok_or(BundleError::Unverified)?;
        let named = chain
            .records
            .iter()
            .filter_map(|record| match &record.entry {
                Entry::ChainStarted { public_key, .. } | Entry::KeyRotated { public_key, .. } => {
                    Some(*public_key)
                }
                _ => None,
            });
        let keys: BTreeMap<KeyId, PublicKey> = named
            .chain(keys.iter().copied())
            .map(|key| (key.id(), key))
            .collect();
        Ok(Self {
            manifest: Manifest {
                region: Name::new(region).map_err(|_| BundleError::Unverified)?,
                day,
                anchor: chain.last.to_string(),
                keys: keys.keys().copied().collect(),
            },
            records,
            keys: keys.into_values().collect(),
        })
    }

    /// Its files by path, the manifest first.
    ///
    /// # Errors
    /// The manifest could not be written: a defect of the types.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, serde_json::Error> {
        let mut files = vec![(
            MANIFEST.to_owned(),
            serde_json::to_vec_pretty(&self.manifest)?,
        )];
        files.extend(
            self.keys
                .iter()
                .map(|key| (format!("{KEYS}{}.pem", key.id()), key.to_pem().into_bytes())),
        );
        files.extend(
            self.records
                .iter()
                .map(|object| (object.key.clone(), object.bytes.clone())),
        );
        Ok(files)
    }

    /// The bundle in these files. Nothing is verified.
    ///
    /// # Errors
    /// The manifest or a key is not there or not readable, or a file does not belong.
    pub fn read(files: Vec<(String, Vec<u8>)>) -> Result<Self, BundleError> {
        let mut manifest = None;
        let mut keys = Vec::new();
        let mut records = Vec::new();
        for (path, bytes) in files {
            let wrong = || BundleError::File(path.clone());
            if path == MANIFEST {
                manifest = Some(serde_json::from_slice(&bytes).map_err(|_| wrong())?);
            } else if path.starts_with(KEYS) {
                let pem = String::from_utf8(bytes).map_err(|_| wrong())?;
                keys.push(PublicKey::from_pem(&pem).map_err(|_| wrong())?);
            } else if path.starts_with(PREFIX) {
                records.push(Stored::new(path, bytes));
            } else {
                return Err(wrong());
            }
        }
        let manifest = manifest.ok_or_else(|| BundleError::File(MANIFEST.to_owned()))?;
        Ok(Self {
            manifest,
            records,
            keys,
        })
    }

    /// Judges it: that its records are a stretch of one chain, and that none of its day is left out at either end.
    /// Keys of the bundle itself count for nothing but what the anchor pins.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn verify(
        &self,
        keys: &[PublicKey],
        anchor: Option<&Anchor>,
    ) -> Result<Verified, Vec<Finding>> {
        let expected = Expected {
            region: self.manifest.region.as_str(),
            keys,
            claimed: &self.keys,
            anchor,
            stretch: true,
        };
        let verified = verify(&self.records, &expected)?;
        let mut findings = Vec::new();
        if let Some(first) = verified.records.first()
            && first.sequence != 1
            && day_of(first) >= self.manifest.day
        {
            findings.push(Finding::OpenStart {
                key: object_key(first.sequence),
            });
        }
        if let Some(last) = verified.records.last()
            && day_of(last) <= self.manifest.day
            && anchor.is_none_or(|anchor| *anchor != verified.last)
        {
            findings.push(Finding::OpenEnd {
                key: object_key(last.sequence),
            });
        }
        if findings.is_empty() {
            Ok(verified)
        } else {
            Err(findings)
        }
    }
}
