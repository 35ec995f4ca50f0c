//! The writer of a Region's evidence log: entries in, signed and chained records in the Region's own bucket out, with
//! the end of the chain for the status. I/O: HTTPS to the Region's own store. It decides nothing about residency.

use bailiwick_api::region::{EvidenceStatus, Region};
use bailiwick_model::evidence::entry::Name;
use bailiwick_model::evidence::{
    Anchor, Entry, Hash, KeyId, Record, SigningKey, Stored, object_key, sequence_of,
};
use bailiwick_model::facts::{ReadFailure, Unread};
use bailiwick_model::names::Names;
use bailiwick_model::secret::SIGNING_KEY;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::cause::Cause;
use crate::credentials::Credentials;
use crate::store::Store;
use crate::store::failure::Failure;
use crate::store::records::{Listed, Put};

/// How long the store lets nobody remove a record: what happened in a year can be audited in the months after it.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);
/// How far a clock may be behind the last record's without being called rolled back: two replicas' clocks differ.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(1);
/// How often in a row another writer may be first.
const RACES: usize = 32;

/// A Region's evidence log. Any number of writers may append to one log at a time: the store lets one alone in at each
/// place of the chain, and the others go on after it.
#[derive(Debug)]
pub struct EvidenceLog {
    region: String,
    start: (Name, Name),
    store: Store,
    key: SigningKey,
    tail: Mutex<Option<Tail>>,
}

/// The end of the chain.
#[derive(Clone, Copy, Debug)]
struct Tail {
    anchor: Anchor,
    time: Timestamp,
    signer: KeyId,
}

/// The time of a record that is written at `now`, after this end of the chain.
fn time_after(tail: Option<Tail>, now: Timestamp) -> Timestamp {
    tail.map_or(now, |tail| {
        // Further back is written as it is: that the clock was rolled back is evidence, too.
        if now < tail.time && tail.time.duration_since(now) <= CLOCK_TOLERANCE {
            tail.time
        } else {
            now
        }
    })
}

/// Why entries were not recorded.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The log ends before the anchor, or is another: it is not written on, so that what happened to it stays visible.
    #[error(
        "evidence log of Region {region}: {key} is not the record that status.residency.evidence names; find out with \
         `bailiwick-operator evidence verify` what happened to it; once it is known, a chain is carried on after \
         status.residency.evidence is removed"
    )]
    Broken {
        /// The Region.
        region: String,
        /// The object.
        key: String,
    },
    /// The store did not take or give a record. Entries up to `written` are recorded.
    #[error("evidence log of Region {region}: {what}: {}; it is tried again", failure.as_str())]
    Store {
        /// The Region.
        region: String,
        /// What was to be done, for example `write records/00000000000000000007.json`.
        what: String,
        /// How many of the entries are recorded.
        written: usize,
        /// The end of the log with them, when any was.
        end: Option<EvidenceStatus>,
        /// Why.
        failure: ReadFailure,
        /// The cause, for the log alone.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl EvidenceError {
    /// The same error once some entries are recorded, with the end of the log with them.
    fn after(self, recorded: usize, with_them: Option<EvidenceStatus>) -> Self {
        match self {
            Self::Store {
                region,
                what,
                failure,
                source,
                ..
            } => Self::Store {
                region,
                what,
                written: recorded,
                end: with_them,
                failure,
                source,
            },
            broken @ Self::Broken { .. } => broken,
        }
    }

    /// Nothing could be recorded, since there is no log to write to yet.
    #[must_use]
    pub fn unavailable(region: &str, unread: Unread) -> Self {
        Self::Store {
            region: region.to_owned(),
            what: "open the log".to_owned(),
            written: 0,
            end: None,
            failure: unread.failure,
            source: unread.cause.map(|cause| Cause(cause).into()),
        }
    }
}

impl EvidenceLog {
    /// The log of a Region, in its store and signed with the key of its Secret. Nothing is connected yet.
    ///
    /// # Errors
    /// `NotReady` when the Secret is not there yet, `Malformed` when it holds no key or the Region names a place that
    /// no record can hold.
    pub fn of(
        store: Store,
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Result<Self, ReadFailure> {
        let pem = credentials
            .text(&names.evidence_key(), SIGNING_KEY)
            .ok_or(ReadFailure::NotReady)?;
        let residency = &region.spec.residency;
        let name = |text: &str| Name::new(text).map_err(|_| ReadFailure::Malformed);
        Ok(Self {
            region: names.region().to_owned(),
            start: (name(&residency.jurisdiction)?, name(&residency.location)?),
            store,
            key: SigningKey::from_pem(pem).map_err(|_| ReadFailure::Malformed)?,
            tail: Mutex::new(None),
        })
    }

    /// Records `entries` in this order, after `known`, the end that the status holds. Returns the new end, which
    /// belongs into the status; it is the old one when there are no entries. The first call of a Region begins the
    /// chain, and the first with another key says so.
    ///
    /// Each entry is recorded at least once: one whose answer was lost may be there twice when the caller records it
    /// again.
    ///
    /// # Errors
    /// [`EvidenceError`]: how many entries are recorded is in it, so that the caller can record the others later.
    pub async fn append(
        &self,
        known: Option<&EvidenceStatus>,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<EvidenceStatus, EvidenceError> {
        let mut cached = self.tail.lock().await;
        // Whatever goes wrong below, the end is read anew next time.
        let mut tail = match cached.take() {
            Some(tail) => Some(tail),
            None => self.read_tail(known.and_then(Anchor::of)).await?,
        };
        let mut written = 0;
        let mut races = 0;
        loop {
            let (entry, is_callers) = match (&tail, entries.get(written)) {
                (None, _) => (self.first(), false),
                (Some(tail), _) if tail.signer != self.key.public().id() => {
                    (self.rotated(tail.signer), false)
                }
                (Some(_), Some(entry)) => (entry.clone(), true),
                (Some(end), None) => {
                    *cached = tail;
                    return Ok(end.anchor.status(end.signer));
                }
            };
            let failed = |what: &str, failure: Failure| EvidenceError::Store {
                region: self.region.clone(),
                what: what.to_owned(),
                written,
                end: tail.map(|tail| tail.anchor.status(tail.signer)),
                failure: failure.kind,
                source: failure.source,
            };
            let time = time_after(tail, now);
            let anchor = tail.map(|tail| tail.anchor);
            let record = Record::after(anchor.as_ref(), &self.region, time, entry);
            let malformed = |_| failed("sign a record", Failure::of(ReadFailure::Malformed));
            let object = record.sign(&self.key).map_err(malformed)?;
            let put = self
                .store
                .put_record(&object, now.max(time) + RETENTION)
                .await
                .map_err(|failure| failed(&format!("write {}", object.key), failure))?;
            match put {
                Put::Written => {
                    written += usize::from(is_callers);
                    tail = Some(Tail {
                        anchor: object.anchor,
                        time: record.time,
                        signer: self.key.public().id(),
                    });
                }
                Put::Taken if races < RACES => {
                    races += 1;
                    let end = tail.map(|tail| tail.anchor.status(tail.signer));
                    tail = self
                        .read_tail(anchor)
                        .await
                        .map_err(|error| error.after(written, end))?;
                }
                Put::Taken => {
                    return Err(failed(
                        &format!("write {}", object.key),
                        Failure::because(
                            ReadFailure::NotReady,
                            "another writer was first each time",
                        ),
                    ));
                }
            }
        }
    }

    fn first(&self) -> Entry {
        let (jurisdiction, location) = self.start.clone();
        Entry::ChainStarted {
            public_key: self.key.public(),
            jurisdiction,
            location,
        }
    }

    fn rotated(&self, previous_key: KeyId) -> Entry {
        Entry::KeyRotated {
            previous_key,
            public_key: self.key.public(),
        }
    }

    /// The end of the chain, looked for from `known` on, which must be one of its records.
    async fn read_tail(&self, known: Option<Anchor>) -> Result<Option<Tail>, EvidenceError> {
        let failed = |what: String, failure: Failure| EvidenceError::Store {
            region: self.region.clone(),
            what,
            written: 0,
            end: None,
            failure: failure.kind,
            source: failure.source,
        };
        let broken = |sequence| EvidenceError::Broken {
            region: self.region.clone(),
            key: object_key(sequence),
        };
        // From just before the known end, so that it is one of those listed.
        let after = known
            .and_then(|known| known.sequence.checked_sub(1))
            .map(object_key);
        let listed = self
            .store
            .list_records(after.as_deref())
            .await
            .map_err(|failure| failed("list records".to_owned(), failure))?;
        let listed: Vec<(u64, String, Listed)> = listed
            .into_iter()
            .filter_map(|(key, listed)| Some((sequence_of(&key)?, key, listed)))
            .collect();
        if let Some(known) = known {
            let found = listed
                .first()
                .filter(|(sequence, ..)| *sequence == known.sequence);
            let Some((_, key, listed)) = found else {
                return Err(broken(known.sequence));
            };
            if Hash::of(&self.read(key, listed).await?.bytes) != known.hash {
                return Err(broken(known.sequence));
            }
        }
        let Some((sequence, key, listed)) = listed.last() else {
            return Ok(None);
        };
        let stored = self.read(key, listed).await?;
        let (record, envelope) = Record::read(&stored.bytes).map_err(|_| broken(*sequence))?;
        Ok(Some(Tail {
            anchor: Anchor {
                sequence: *sequence,
                hash: Hash::of(&stored.bytes),
            },
            time: record.time,
            signer: envelope.key(),
        }))
    }

    async fn read(&self, key: &str, listed: &Listed) -> Result<Stored, EvidenceError> {
        self.store
            .read_record(key, listed)
            .await
            .map_err(|failure| EvidenceError::Store {
                region: self.region.clone(),
                what: format!("read {key}"),
                written: 0,
                end: None,
                failure: failure.kind,
                source: failure.source,
            })
    }
}

/// Every record of a store's evidence log, for whoever verifies it.
///
/// # Errors
/// Why the log could not be read in full.
pub async fn records(store: &Store) -> Result<Vec<Stored>, ReadFailure> {
    store.read_records().await.map_err(|failure| {
        tracing::debug!(
            code = failure.code,
            source = failure.source,
            "cannot read the evidence log"
        );
        failure.kind
    })
}
