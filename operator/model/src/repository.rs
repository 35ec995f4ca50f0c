//! Whose repository a bucket holds: the marker by which a Region knows its own is made and judged here, and where in it the
//! newest WAL must lie. What identifies a Region, the key of its backups, bytes and names in; bytes, a judgement and keys
//! out. No I/O.
//!
//! The marker is an object beside pgBackRest's own path. Its HMAC is of a key that is derived from the one that the
//! repository is encrypted with: whoever has a copy of a bucket, or a bucket of another Region, has no marker that fits.

use bailiwick_api::region::Residency;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::facts::postgres::PostgresFacts;
use crate::facts::repository::{Difference, Marker, ReadBack};
use crate::names::{BACKUP_BUCKET, Names};

/// The marker's key in the bucket. pgBackRest keeps to the folder that is called as the Region.
pub const MARKER: &str = ".residency.json";
/// The most bytes that a marker may have; one of ours has less than 512.
pub const MARKER_LIMIT: usize = 4 << 10;
/// The key of the backup key's Secret that the marker's key is derived from.
pub const PASSPHRASE: &str = "cipher-pass";

/// How long ago a file may have been archived to be missed. The statistics of a member that leads again after a long time
/// begin with a file of its first reign, which may have been expired since.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// What the key is derived for, so that it is of no use for anything else.
const PURPOSE: &[u8] = b"bailiwick.dev/repository-marker/v1";
const VERSION: u32 = 1;

/// Whose a repository is. Nothing of it is another after a Region was deleted and made anew: it then finds its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Owner {
    version: u32,
    region: String,
    jurisdiction: String,
    location: String,
    bucket: String,
}

/// The marker as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Stored {
    owner: Owner,
    hmac_sha256: String,
}

impl Owner {
    /// The Region as the owner of its repository.
    #[must_use]
    pub fn of(names: &Names, residency: &Residency) -> Self {
        Self {
            version: VERSION,
            region: names.region().to_owned(),
            jurisdiction: residency.jurisdiction.clone(),
            location: residency.location.clone(),
            bucket: BACKUP_BUCKET.to_owned(),
        }
    }

    /// The marker for this owner, made with the passphrase of its backups.
    ///
    /// # Errors
    /// A defect of the types: it cannot be written.
    pub fn marker(&self, passphrase: &[u8]) -> serde_json::Result<Vec<u8>> {
        let tag = hmac::sign(&derived(passphrase), &self.signed()?);
        serde_json::to_vec(&Stored {
            owner: self.clone(),
            hmac_sha256: STANDARD.encode(tag.as_ref()),
        })
    }

    /// Whether `bytes`, of which one more than [`MARKER_LIMIT`] suffices, are the marker of this owner, made with the
    /// passphrase of its backups. The HMAC is compared in constant time.
    #[must_use]
    pub fn judge(&self, bytes: &[u8], passphrase: &[u8]) -> Marker {
        match self.difference(bytes, passphrase) {
            None => Marker::Ours,
            Some(difference) => Marker::Foreign(difference),
        }
    }

    fn difference(&self, bytes: &[u8], passphrase: &[u8]) -> Option<Difference> {
        if bytes.len() > MARKER_LIMIT {
            return Some(Difference::Form);
        }
        let Ok(found) = serde_json::from_slice::<Stored>(bytes) else {
            return Some(Difference::Form);
        };
        let named = [
            (found.owner.version == self.version, Difference::Version),
            (found.owner.region == self.region, Difference::Region),
            (
                found.owner.jurisdiction == self.jurisdiction,
                Difference::Jurisdiction,
            ),
            (found.owner.location == self.location, Difference::Location),
            (found.owner.bucket == self.bucket, Difference::Bucket),
        ];
        if let Some((_, difference)) = named.into_iter().find(|(same, _)| !same) {
            return Some(difference);
        }
        let verified = STANDARD
            .decode(&found.hmac_sha256)
            .ok()
            .zip(self.signed().ok())
            .is_some_and(|(tag, signed)| hmac::verify(&derived(passphrase), &signed, &tag).is_ok());
        (!verified).then_some(Difference::Key)
    }

    /// The bytes that the HMAC is of: JSON, whose strings end where they say, with all fields in one order.
    fn signed(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// The marker's key. The passphrase is as random as a key, so one step suffices.
fn derived(passphrase: &[u8]) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, passphrase);
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, PURPOSE).as_ref())
}

/// A file that Postgres says was archived, and where pgBackRest lays it in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedFile {
    folder: String,
    major: i32,
    name: String,
    recent: bool,
}

impl ArchivedFile {
    /// The newest file that a primary says was archived; none when it says of none, or calls it as Postgres calls none.
    #[must_use]
    pub fn newest(names: &Names, incarnation: i32, seen: &PostgresFacts) -> Option<Self> {
        let name = seen.archiver.last_archived.as_ref()?;
        let known = is_segment(name)
            || name.strip_suffix(".partial").is_some_and(is_segment)
            || name
                .strip_suffix(".history")
                .is_some_and(|timeline| is_hex(timeline, 8))
            || name
                .strip_suffix(".backup")
                .and_then(|name| name.split_once('.'))
                .is_some_and(|(segment, offset)| is_segment(segment) && is_hex(offset, 8));
        known.then(|| Self {
            folder: format!("{}/archive/{}/", names.region(), names.stanza(incarnation)),
            major: seen.server_version / 10_000,
            name: name.clone(),
            recent: seen
                .archiver
                .last_archived_at
                .is_some_and(|at| seen.archiver.read_at.duration_since(at) <= RECENT),
        })
    }

    /// The folder of its stanza. In it there is one for each database system that the stanza was of, see [`Self::holds`].
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The folder that a stanza begins with.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}-1", self.major)
    }

    /// Whether it may be in the folder `<version>-<number>` of its stanza.
    #[must_use]
    pub fn holds(&self, folder: &str) -> bool {
        folder
            .strip_prefix(&format!("{}-", self.major))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    }

    /// How the key of its object begins in a folder of its stanza. Of a segment the rest is its SHA-1 and how it is
    /// compressed; what belongs to no segment lies beside the folders of segments.
    #[must_use]
    pub fn prefix(&self, folder: &str) -> String {
        let Self { name, .. } = self;
        let beginning = format!("{}{folder}/", self.folder);
        match name.get(..24).filter(|segment| is_segment(segment)) {
            None => format!("{beginning}{name}"),
            Some(segment) => {
                let log = &segment[..16];
                let end = if name.ends_with(".backup") { "" } else { "-" };
                format!("{beginning}{log}/{name}{end}")
            }
        }
    }

    /// What became of it.
    #[must_use]
    pub const fn read_back(&self, found: bool) -> ReadBack {
        ReadBack {
            found,
            recent: self.recent,
        }
    }

    /// The same file when nobody says any more when it was archived.
    #[must_use]
    pub fn aged(self) -> Self {
        Self {
            recent: false,
            ..self
        }
    }
}

/// Whether it is the name of a WAL segment: timeline, log and segment.
fn is_segment(name: &str) -> bool {
    is_hex(name, 24)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PASSPHRASE: &[u8] = b"of-the-region";

    fn owner(region: &str) -> Owner {
        Owner {
            version: VERSION,
            region: region.to_owned(),
            jurisdiction: "TR".to_owned(),
            location: "tr-ist-1".to_owned(),
            bucket: BACKUP_BUCKET.to_owned(),
        }
    }

    fn marker() -> Value {
        let bytes = owner("tr").marker(PASSPHRASE).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn judged(marker: &Value) -> Marker {
        owner("tr").judge(marker.to_string().as_bytes(), PASSPHRASE)
    }

    #[test]
    fn a_regions_own_marker_is_its_own_whenever_it_was_made() {
        let first = owner("tr").marker(PASSPHRASE).unwrap();
        assert_eq!(owner("tr").judge(&first, PASSPHRASE), Marker::Ours);
        assert_eq!(owner("tr").marker(PASSPHRASE).unwrap(), first);
        assert!(first.len() < 512);
        // However it is laid out.
        let spaced = serde_json::to_vec_pretty(&marker()).unwrap();
        assert_eq!(owner("tr").judge(&spaced, PASSPHRASE), Marker::Ours);
        // No secret is in it.
        assert!(!String::from_utf8(first).unwrap().contains("of-the-region"));
    }

    #[test]
    fn another_regions_marker_is_foreign_and_so_is_one_that_was_made_to_look_like_ours() {
        let theirs = owner("es").marker(b"of-another").unwrap();
        assert_eq!(
            owner("tr").judge(&theirs, PASSPHRASE),
            Marker::Foreign(Difference::Region)
        );
        let mut renamed: Value = serde_json::from_slice(&theirs).unwrap();
        renamed["owner"]["region"] = json!("tr");
        assert_eq!(judged(&renamed), Marker::Foreign(Difference::Key));
        let forged = owner("tr").marker(b"of-another").unwrap();
        assert_eq!(
            owner("tr").judge(&forged, PASSPHRASE),
            Marker::Foreign(Difference::Key)
        );
    }

    #[test]
    fn an_edited_field_is_named() {
        let zeros = STANDARD.encode([0; 32]);
        for (changed, difference) in [
            (json!({"owner": {"version": 2}}), Difference::Version),
            (json!({"owner": {"region": "es"}}), Difference::Region),
            (
                json!({"owner": {"jurisdiction": "EU"}}),
                Difference::Jurisdiction,
            ),
            (
                json!({"owner": {"location": "es-mad-1"}}),
                Difference::Location,
            ),
            (
                json!({"owner": {"bucket": "documents"}}),
                Difference::Bucket,
            ),
            (json!({"owner": {"more": "fields"}}), Difference::Form),
            (json!({"hmacSha256": ""}), Difference::Key),
            (json!({"hmacSha256": "no base64"}), Difference::Key),
            (json!({"hmacSha256": zeros}), Difference::Key),
            (json!({"more": "fields"}), Difference::Form),
        ] {
            let mut edited = marker();
            for (field, value) in changed.as_object().unwrap() {
                match value.as_object() {
                    Some(fields) => edited[field]
                        .as_object_mut()
                        .unwrap()
                        .extend(fields.clone()),
                    None => edited[field] = value.clone(),
                }
            }
            assert_eq!(judged(&edited), Marker::Foreign(difference), "{changed}");
        }
    }

    #[test]
    fn the_hmac_is_of_every_field() {
        // One that is made for other values and then edited to be ours must fail, field by field.
        for edit in [
            |owner: &mut Owner| owner.region = "es".to_owned(),
            |owner: &mut Owner| owner.jurisdiction = "EU".to_owned(),
            |owner: &mut Owner| owner.location = "es-mad-1".to_owned(),
            |owner: &mut Owner| owner.bucket = "documents".to_owned(),
            |owner: &mut Owner| owner.version = 2,
        ] {
            let mut other = owner("tr");
            edit(&mut other);
            let bytes = other.marker(PASSPHRASE).unwrap();
            let mut stored: Value = serde_json::from_slice(&bytes).unwrap();
            stored["owner"] = serde_json::to_value(owner("tr")).unwrap();
            assert_eq!(
                judged(&stored),
                Marker::Foreign(Difference::Key),
                "{other:?}"
            );
        }
    }

    #[test]
    fn what_is_no_marker_is_foreign_and_never_missing() {
        let long = vec![b' '; MARKER_LIMIT + 1];
        for bytes in [&b""[..], b"{}", b"\xff", b"null", &long] {
            assert_eq!(
                owner("tr").judge(bytes, PASSPHRASE),
                Marker::Foreign(Difference::Form)
            );
        }
    }

    #[test]
    fn the_key_is_not_the_passphrase_s_own() {
        let signed = owner("tr").signed().unwrap();
        let plain = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, PASSPHRASE), &signed);
        let mut stored = marker();
        stored["hmacSha256"] = json!(STANDARD.encode(plain.as_ref()));
        assert_eq!(judged(&stored), Marker::Foreign(Difference::Key));
    }

    fn archived(name: &str) -> Option<ArchivedFile> {
        let names = Names::new("tr");
        let mut seen = PostgresFacts {
            server_version: 170_012,
            ..PostgresFacts::default()
        };
        seen.archiver.last_archived = Some(name.to_owned());
        ArchivedFile::newest(&names, 1, &seen)
    }

    #[test]
    fn a_file_lies_where_pgbackrest_lays_it() {
        for (name, key) in [
            (
                "00000001000000000000000A",
                "0000000100000000/00000001000000000000000A-",
            ),
            (
                "0000000200000001000000FE.partial",
                "0000000200000001/0000000200000001000000FE.partial-",
            ),
            (
                "000000010000000000000003.00000028.backup",
                "0000000100000000/000000010000000000000003.00000028.backup",
            ),
            ("00000002.history", "00000002.history"),
        ] {
            let file = archived(name).unwrap();
            assert_eq!(file.folder(), "tr/archive/tr-i1/");
            assert_eq!(
                file.prefix(&file.first()),
                format!("tr/archive/tr-i1/17-1/{key}")
            );
        }
        for name in [
            "",
            "00000001000000000000000",
            "00000001000000000000000a",
            "00000001000000000000000A-ff",
            "../../../other/000000000",
            "00000002.history.",
            "2.history",
            "00000001000000000000000A.backup",
            "000000010000000000000é",
        ] {
            assert_eq!(archived(name), None, "{name}");
        }
        assert_eq!(
            ArchivedFile::newest(&Names::new("tr"), 1, &PostgresFacts::default()),
            None,
            "nothing was archived"
        );
    }

    #[test]
    fn only_folders_of_its_version_hold_a_file() {
        let file = archived("00000002.history").unwrap();
        for (folder, holds) in [
            ("17-1", true),
            ("17-12", true),
            ("16-1", false),
            ("17-", false),
            ("17-x", false),
            ("170-1", false),
            ("", false),
        ] {
            assert_eq!(file.holds(folder), holds, "{folder}");
        }
    }

    #[test]
    fn a_file_is_missed_within_an_hour_of_its_archiving() {
        let recent = |minutes: i64| {
            let at = jiff::Timestamp::UNIX_EPOCH;
            let mut seen = PostgresFacts::default();
            seen.archiver.last_archived = Some("00000002.history".to_owned());
            seen.archiver.last_archived_at = Some(at);
            seen.archiver.read_at = at + SignedDuration::from_mins(minutes);
            let file = ArchivedFile::newest(&Names::new("tr"), 1, &seen).unwrap();
            (
                file.read_back(false).recent,
                file.aged().read_back(false).recent,
            )
        };
        assert_eq!(recent(0), (true, false));
        assert_eq!(recent(60), (true, false));
        assert_eq!(recent(61), (false, false));
    }
}
