//! Whether a chain is whole: objects of the bucket, what is trusted and the anchor in; the records, or everything that
//! is wrong with them, out. No I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::entry::Entry;
use super::envelope::{Envelope, KeyId, PublicKey};
use super::{Anchor, Hash, Malformed, Record, object_key, sequence_of};

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// The contents of its first version: later ones cannot have been the operator's.
    pub bytes: Vec<u8>,
    /// How many versions the store has of it, markers of deletion among them; 1 where nothing keeps versions.
    pub versions: usize,
}

impl Stored {
    /// An object without a history.
    #[must_use]
    pub fn new(key: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            key: key.into(),
            bytes,
            versions: 1,
        }
    }
}

/// What the chain is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The Region.
    pub region: &'a str,
    /// Keys that are trusted. Those that a record at or before the anchor names are trusted too, and those that a
    /// trusted key vouches for.
    pub keys: &'a [PublicKey],
    /// Keys that came with the objects: good for records that the anchor pins, since their envelopes hold the ids.
    pub claimed: &'a [PublicKey],
    /// An end that the chain had, from elsewhere than the chain.
    pub anchor: Option<&'a Anchor>,
    /// Whether it is a stretch of the chain: then it may begin anywhere and end before the anchor.
    pub stretch: bool,
}

/// A chain, or a stretch of one, in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its records, at least one, in order.
    pub records: Vec<Record>,
    /// Its end.
    pub last: Anchor,
    /// The key that signs at its end.
    pub key: KeyId,
    /// Whether the anchor is one of its records: otherwise a cut-off end would not have been seen.
    pub anchored: bool,
}

/// Something that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no record at all.
    Empty,
    /// An object is not a record.
    Malformed {
        /// The object.
        key: String,
        /// Why not.
        why: Malformed,
    },
    /// An object is not what the record after it was chained to.
    Edited {
        /// The object.
        key: String,
        /// Its hash as the record after it has it.
        expected: Hash,
        /// Its hash.
        found: Hash,
    },
    /// A signature is not one of the key that the envelope names.
    BadSignature {
        /// The object.
        key: String,
        /// The key.
        signer: KeyId,
    },
    /// The key that the envelope names is not trusted, or not the one that signs at this place of the chain.
    UnknownKey {
        /// The object.
        key: String,
        /// The key.
        signer: KeyId,
    },
    /// Records are not there.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A record is not at its place.
    Reordered {
        /// The object.
        key: String,
        /// The record's own sequence.
        sequence: u64,
    },
    /// Two objects have one name.
    Duplicate {
        /// The name.
        key: String,
    },
    /// An object was written over or deleted after it was first written. Its first version is the one judged.
    Overwritten {
        /// The object.
        key: String,
        /// How many versions and markers of deletion there are.
        versions: usize,
    },
    /// The chain ends before the anchor.
    Truncated {
        /// The last record that is there; 0 for none.
        last: u64,
        /// The anchor.
        anchor: Anchor,
    },
    /// The record at the anchor is another.
    Rewritten {
        /// The anchor.
        anchor: Anchor,
        /// The hash of the record that is there.
        found: Hash,
    },
    /// A record is from an earlier moment than one before it.
    ClockRolledBack {
        /// The object.
        key: String,
        /// Its time.
        time: Timestamp,
        /// The latest time before it.
        before: Timestamp,
    },
    /// A record is of another Region.
    ForeignRegion {
        /// The object.
        key: String,
        /// The Region that it should be of.
        expected: String,
    },
    /// Nothing in a bundle shows that its day begins where it does.
    OpenStart {
        /// The bundle's first object.
        key: String,
    },
    /// Nothing in a bundle shows that its day ends where it does.
    OpenEnd {
        /// The bundle's last object.
        key: String,
    },
}

impl Finding {
    /// A closed word for it, for tables and alerts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Malformed { .. } => "Malformed",
            Self::Edited { .. } => "Edited",
            Self::BadSignature { .. } => "BadSignature",
            Self::UnknownKey { .. } => "UnknownKey",
            Self::Missing { .. } => "Missing",
            Self::Reordered { .. } => "Reordered",
            Self::Duplicate { .. } => "Duplicate",
            Self::Overwritten { .. } => "Overwritten",
            Self::Truncated { .. } => "Truncated",
            Self::Rewritten { .. } => "Rewritten",
            Self::ClockRolledBack { .. } => "ClockRolledBack",
            Self::ForeignRegion { .. } => "ForeignRegion",
            Self::OpenStart { .. } => "OpenStart",
            Self::OpenEnd { .. } => "OpenEnd",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "no record is there, expected ChainStarted in record 1; name the place that records/ lies in",
            ),
            Self::Malformed { key, why } => write!(
                f,
                "{key}: {why}; look who wrote it, and for a newer bailiwick-operator if a newer one wrote it"
            ),
            Self::Edited { key, expected, found } => write!(
                f,
                "{key}: its SHA-256 is {found}, expected {expected} by `previous` of the record after it; one of the \
                 two was changed after it was signed: compare both with an earlier export"
            ),
            Self::BadSignature { key, signer } => write!(
                f,
                "{key}: signatures[0].sig is not one of key {signer}; the record was changed: compare it with an \
                 earlier export"
            ),
            Self::UnknownKey { key, signer } => write!(
                f,
                "{key}: signatures[0].keyid is {signer}, which is not a trusted key or not the one that signs here; \
                 if the Region's key was lost and made anew, name the new one with --key, else somebody else wrote it"
            ),
            Self::Missing { first, last } if first == last => write!(
                f,
                "{}: is not there, expected every sequence; look for it in an earlier export and for who removed it",
                object_key(*first)
            ),
            Self::Missing { first, last } => write!(
                f,
                "{} to {}: are not there, expected every sequence; look for them in an earlier export and for who \
                 removed them",
                object_key(*first),
                object_key(*last)
            ),
            Self::Reordered { key, sequence } => write!(
                f,
                "{key}: `sequence` is {sequence}, expected the one of its name; it was moved or copied there: look \
                 for who did"
            ),
            Self::Duplicate { key } => write!(
                f,
                "{key}: is there twice, expected once; export the bundle again"
            ),
            Self::Overwritten { key, versions } => write!(
                f,
                "{key}: has {versions} versions, expected one; somebody wrote over it or deleted it, and its first \
                 version is kept: look in the store's audit log for who"
            ),
            Self::Truncated { last, anchor } => write!(
                f,
                "{}: the chain ends with record {last}, expected {} at least by the anchor {anchor}; its end was cut \
                 off: look for it in an earlier export",
                object_key(anchor.sequence),
                anchor.sequence
            ),
            Self::Rewritten { anchor, found } => write!(
                f,
                "{}: its SHA-256 is {found}, expected {} by the anchor; the chain was written anew: compare it with \
                 an earlier export, and make sure that the anchor is this Region's",
                object_key(anchor.sequence),
                anchor.hash
            ),
            Self::ClockRolledBack { key, time, before } => write!(
                f,
                "{key}: `time` is {time}, expected {before} or later as in a record before it; the operator's clock \
                 went back: look at the time service of its nodes"
            ),
            Self::ForeignRegion { key, expected } => write!(
                f,
                "{key}: `region` is another, expected {expected}; name the Region that the records are of"
            ),
            Self::OpenStart { key } => write!(
                f,
                "{key}: is the first record and of the day itself, expected the one before it; export the bundle again"
            ),
            Self::OpenEnd { key } => write!(
                f,
                "{key}: is the last record and of the day itself, expected one of a later day or the anchor: so it \
                 is while the log has no later record, as of today, else the end was left out; give --anchor as \
                 `evidence export` printed it, or export again once there is a record of a later day"
            ),
        }
    }
}

/// One object, parsed.
struct Link<'a> {
    key: &'a str,
    sequence: u64,
    hash: Hash,
    read: Result<(Record, Envelope), Malformed>,
}

/// Judges a chain. The order of `objects` does not matter.
///
/// # Errors
/// Everything that is wrong with it, by sequence.
pub fn verify(objects: &[Stored], expected: &Expected<'_>) -> Result<Verified, Vec<Finding>> {
    let mut findings = Vec::new();
    let links = links(objects, &mut findings);
    let gaps = gaps(&links, expected, &mut findings);
    let pinned_from = anchored(&links, expected, &mut findings);
    let (records, signer) = contents(&links, expected, pinned_from, &mut findings);
    match (links.last(), signer) {
        (Some(last), Some(key)) if findings.is_empty() && !gaps => Ok(Verified {
            last: Anchor {
                sequence: last.sequence,
                hash: last.hash,
            },
            records,
            key,
            anchored: pinned_from.is_some(),
        }),
        _ => {
            if findings.is_empty() {
                findings.push(Finding::Empty);
            }
            Err(findings)
        }
    }
}

/// The objects by sequence, each once.
fn links<'a>(objects: &'a [Stored], findings: &mut Vec<Finding>) -> Vec<Link<'a>> {
    let mut links: BTreeMap<u64, Link<'a>> = BTreeMap::new();
    for object in objects {
        let Some(sequence) = sequence_of(&object.key) else {
            findings.push(Finding::Malformed {
                key: object.key.clone(),
                why: Malformed::Key,
            });
            continue;
        };
        if object.versions != 1 {
            findings.push(Finding::Overwritten {
                key: object.key.clone(),
                versions: object.versions,
            });
        }
        let link = Link {
            key: &object.key,
            sequence,
            hash: Hash::of(&object.bytes),
            read: Record::read(&object.bytes),
        };
        if links.insert(sequence, link).is_some() {
            findings.push(Finding::Duplicate {
                key: object.key.clone(),
            });
        }
    }
    links.into_values().collect()
}

/// Whether something is missing, before or between what is there.
fn gaps(links: &[Link<'_>], expected: &Expected<'_>, findings: &mut Vec<Finding>) -> bool {
    let before = findings.len();
    let mut next = match links.first() {
        Some(first) if expected.stretch => first.sequence,
        _ => 1,
    };
    for link in links {
        if link.sequence > next {
            findings.push(Finding::Missing {
                first: next,
                last: link.sequence - 1,
            });
        }
        next = link.sequence.saturating_add(1);
    }
    findings.len() > before
}

/// Holds the chain to the anchor. Returns the first sequence from which each record is pinned by the one after it, up
/// to the anchor; none when the anchor is not one of the records.
fn anchored(
    links: &[Link<'_>],
    expected: &Expected<'_>,
    findings: &mut Vec<Finding>,
) -> Option<u64> {
    let anchor = expected.anchor?;
    let last = links.last().map_or(0, |link| link.sequence);
    if last < anchor.sequence && !expected.stretch {
        findings.push(Finding::Truncated {
            last,
            anchor: *anchor,
        });
    }
    let at = links
        .iter()
        .position(|link| link.sequence == anchor.sequence)?;
    let pinned = links.get(..=at)?;
    let found = pinned.last()?.hash;
    if found != anchor.hash {
        findings.push(Finding::Rewritten {
            anchor: *anchor,
            found,
        });
        return None;
    }
    let links = pinned.windows(2).rev();
    let whole = links.take_while(|pair| match pair {
        [
            before,
            Link {
                sequence,
                read: Ok((record, _)),
                ..
            },
        ] => before.sequence.checked_add(1) == Some(*sequence) && record.previous == before.hash,
        _ => false,
    });
    whole
        .last()
        .and_then(|pair| pair.first())
        .or_else(|| pinned.last())
        .map(|link| link.sequence)
}

/// Judges each record and what it is chained to. Returns them with the key that signs at the end.
fn contents(
    links: &[Link<'_>],
    expected: &Expected<'_>,
    pinned_from: Option<u64>,
    findings: &mut Vec<Finding>,
) -> (Vec<Record>, Option<KeyId>) {
    let mut keys = Keys::new(expected, pinned_from);
    let mut records = Vec::new();
    let mut latest = None;
    let mut before: Option<&Link<'_>> = None;
    for link in links {
        let key = || link.key.to_owned();
        match &link.read {
            Err(why) => findings.push(Finding::Malformed {
                key: key(),
                why: *why,
            }),
            Ok((record, envelope)) => {
                if record.sequence != link.sequence {
                    findings.push(Finding::Reordered {
                        key: key(),
                        sequence: record.sequence,
                    });
                }
                if record.region != expected.region {
                    findings.push(Finding::ForeignRegion {
                        key: key(),
                        expected: expected.region.to_owned(),
                    });
                }
                if matches!(record.entry, Entry::ChainStarted { .. }) != (link.sequence == 1)
                    || link.sequence == 1 && record.previous != Hash::NONE
                {
                    findings.push(Finding::Malformed {
                        key: key(),
                        why: Malformed::Start,
                    });
                }
                let neighbour =
                    before.filter(|before| before.sequence.checked_add(1) == Some(link.sequence));
                if let Some(before) = neighbour.filter(|before| before.hash != record.previous) {
                    findings.push(Finding::Edited {
                        key: before.key.to_owned(),
                        expected: record.previous,
                        found: before.hash,
                    });
                }
                findings.extend(keys.judge(link, record, envelope));
                if let Some(before) = latest.filter(|before| record.time < *before) {
                    findings.push(Finding::ClockRolledBack {
                        key: key(),
                        time: record.time,
                        before,
                    });
                }
                latest = latest.max(Some(record.time));
                records.push(record.clone());
            }
        }
        before = Some(link);
    }
    (records, keys.signer)
}

/// Which keys are trusted, and which of them signs, at a place of the chain.
struct Keys<'a> {
    trusted: BTreeMap<KeyId, PublicKey>,
    claimed: &'a [PublicKey],
    signer: Option<KeyId>,
    pinned_from: Option<u64>,
    anchor: Option<&'a Anchor>,
}

impl<'a> Keys<'a> {
    fn new(expected: &Expected<'a>, pinned_from: Option<u64>) -> Self {
        Self {
            trusted: expected.keys.iter().map(|key| (key.id(), *key)).collect(),
            claimed: expected.claimed,
            signer: None,
            pinned_from,
            anchor: expected.anchor,
        }
    }

    /// Whether the anchor stands for what this record says.
    fn is_pinned(&self, sequence: u64) -> bool {
        self.pinned_from.is_some_and(|from| from <= sequence)
            && self
                .anchor
                .is_some_and(|anchor| sequence <= anchor.sequence)
    }

    fn judge(&mut self, link: &Link<'_>, record: &Record, envelope: &Envelope) -> Option<Finding> {
        let id = envelope.key();
        let unknown = || Finding::UnknownKey {
            key: link.key.to_owned(),
            signer: id,
        };
        let (introduced, previous) = match &record.entry {
            Entry::ChainStarted { public_key, .. } => (Some(public_key), None),
            Entry::KeyRotated {
                public_key,
                previous_key,
            } => (Some(public_key), Some(*previous_key)),
            _ => (None, None),
        };
        if self.is_pinned(link.sequence) {
            let claimed = self.claimed.iter().find(|key| key.id() == id);
            for key in introduced.into_iter().chain(claimed) {
                self.trusted.insert(key.id(), *key);
            }
        }
        let expected_signer = self.signer;
        // Whatever is wrong with this record, the next one is held to the key that it should name.
        self.signer = Some(introduced.map_or_else(|| expected_signer.unwrap_or(id), PublicKey::id));
        let in_turn = match expected_signer {
            // A new key may come by itself when the one before is lost; it must then be trusted otherwise.
            Some(signer) => {
                (id == signer || introduced.is_some_and(|key| key.id() == id))
                    && previous.is_none_or(|previous| previous == signer)
            }
            // Before the first record of a stretch, nobody knows who signs; at the start, the key named signs.
            None => previous.is_some() || introduced.is_none_or(|key| key.id() == id),
        };
        let Some(key) = self.trusted.get(&id).filter(|_| in_turn) else {
            return Some(unknown());
        };
        if !envelope.is_signed_by(key) {
            return Some(Finding::BadSignature {
                key: link.key.to_owned(),
                signer: id,
            });
        }
        if let Some(key) = introduced {
            self.trusted.insert(key.id(), *key);
        }
        None
    }
}
