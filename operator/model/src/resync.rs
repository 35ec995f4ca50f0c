//! What is read anew, and when. Ages of what was read last and what it said in, whether it is due out; the ages are
//! arguments. No I/O, no clock.

use std::collections::BTreeSet;
use std::time::Duration;

use bailiwick_api::region::{ChannelState, Region};
use jiff::{SignedDuration, Timestamp};

use crate::facts::repository::ReadBack;
use crate::facts::store::Outlet;
use crate::facts::{Facts, Inventory, Observed, ReadFailure};
use crate::names::Names;
use crate::repository::ArchivedFile;
use crate::status::is_true;
use crate::ways;

/// How often what no watch tells of is read anew: Secrets, ConfigMaps, the inventory, what is behind S3.
pub const RESYNC_PERIOD: Duration = Duration::from_mins(5);
/// How often the metadata of Secrets is read. They are not watched, since a watch of them reads contents.
pub const SECRET_METADATA_PERIOD: SignedDuration = SignedDuration::from_secs(25);
/// How long a list of users counts that found one whom nobody made.
const UNMANAGED_USERS_PERIOD: Duration = Duration::from_mins(1);

/// How long it is until the metadata of Secrets is read again, `last` being when it was.
#[must_use]
pub fn until_secret_metadata(last: Option<Timestamp>, now: Timestamp) -> SignedDuration {
    last.map_or(SignedDuration::ZERO, |last| {
        SECRET_METADATA_PERIOD - now.duration_since(last)
    })
    // A clock that was put back.
    .clamp(SignedDuration::ZERO, SECRET_METADATA_PERIOD)
}

/// What of a Region's Secrets a reconcile reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsDue {
    /// Nothing: they were read a moment ago.
    Nothing,
    /// Nothing, and it counts as a reading of all: there are none yet, and *create* tells if that was wrong.
    NoneYet,
    /// The metadata of those that people edit and processes depend on.
    Metadata,
    /// All of them.
    All,
}

/// What of a Region's Secrets is to be read: all of them in the first reconcile, in every resync period, and while one may
/// be copied elsewhere; in between their metadata. `read` is how long ago all of them were read, `metadata_read` when the
/// metadata was, `replicated` whether one may be copied. A Region that never had a status nor a volume has none.
#[must_use]
pub fn secrets_due(
    region: &Region,
    facts: &Facts,
    read: Option<Duration>,
    metadata_read: Option<Timestamp>,
    replicated: bool,
) -> SecretsDue {
    if region.status.is_none() && facts.claims.is_empty() && read.is_none() {
        return SecretsDue::NoneYet;
    }
    // What may be copied elsewhere is read again each time: once it is put right, that is seen at once.
    if replicated || read.is_none_or(|age| age >= RESYNC_PERIOD) {
        SecretsDue::All
    } else if until_secret_metadata(metadata_read, facts.now) > SignedDuration::ZERO {
        SecretsDue::Nothing
    } else {
        SecretsDue::Metadata
    }
}

/// An inventory that was read before.
#[derive(Clone, Copy, Debug)]
pub struct LastInventory<'a> {
    /// How long ago.
    pub age: Duration,
    /// The generation of the Region whose spec said what to look at.
    pub generation: Option<i64>,
    /// What was read.
    pub seen: &'a Observed<Inventory>,
}

/// Whether the inventory is to be read: once the Region serves or is shut off, and then in every resync period and with
/// each spec, which says whose namespaces count as clients'.
#[must_use]
pub fn inventory_due(region: &Region, last: Option<LastInventory<'_>>) -> bool {
    let residency = region
        .status
        .as_ref()
        .and_then(|status| status.residency.as_ref());
    let shut = residency.is_some_and(|residency| residency.breach.is_active());
    let serves = region
        .status
        .as_ref()
        .is_some_and(|status| is_true(status, "Ready"));
    // What could not be read is read again each time, and so is what was found open: once it is put right, that is seen at
    // once. What somebody answers for can wait.
    let open = residency.is_some_and(|residency| {
        residency
            .channels
            .iter()
            .filter(|row| row.state == ChannelState::Unknown)
            .filter_map(|row| row.finding.as_deref())
            .any(|finding| !ways::is_of_before(finding))
    });
    match last {
        None => serves || shut,
        Some(last) => {
            open || last.generation != region.metadata.generation
                || last.age >= RESYNC_PERIOD
                || last.seen.seen().is_none()
        }
    }
}

/// A file that was looked for in the repository before.
#[derive(Clone, Copy, Debug)]
pub struct LastReadBack<'a> {
    /// How long ago.
    pub age: Duration,
    /// The file.
    pub file: &'a ArchivedFile,
    /// What became of it.
    pub seen: &'a Observed<ReadBack>,
}

/// The file that is to be looked for in the repository now: the newest that Postgres says was archived, after it said so,
/// since it is in the repository by then, and in every resync period. What was not found or not read is looked for each
/// time. A member that has archived nothing since it began to lead does not say of any: then the one that is known is
/// looked for again. None while the store does not answer.
#[must_use]
pub fn archived_file_due(
    region: &Region,
    names: &Names,
    facts: &Facts,
    last: Option<LastReadBack<'_>>,
) -> Option<ArchivedFile> {
    facts.store.seen()?;
    let newest = facts
        .postgres
        .seen()
        .and_then(|seen| ArchivedFile::newest(names, region.incarnation(), seen));
    let due = last.is_none_or(|last| {
        let found = last.seen.seen().is_some_and(|seen| seen.found);
        let elsewhere = newest
            .as_ref()
            .is_some_and(|newest| newest.folder() != last.file.folder());
        !found || elsewhere || last.age >= RESYNC_PERIOD
    });
    newest
        .or_else(|| last.map(|last| last.file.clone().aged()))
        .filter(|_| due)
}

/// Whether the users of a store that nobody made are to be listed anew. That costs a sealed body, so what was found open is
/// looked at sooner than what was not. `found` is what the last list said, `age` how old it is.
#[must_use]
pub fn unmanaged_users_due(found: &Result<BTreeSet<Outlet>, ReadFailure>, age: Duration) -> bool {
    match found {
        Ok(none) if none.is_empty() => age >= RESYNC_PERIOD,
        Ok(_) => age >= UNMANAGED_USERS_PERIOD,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::facts::ClaimFact;
    use crate::facts::postgres::PostgresFacts;
    use crate::facts::store::StoreFacts;
    use bailiwick_api::region::{
        Assurance, BreachStatus, BreachedChannel, ChannelStatus, ExceptionsStatus, RegionStatus,
        ResidencyStatus,
    };

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn region() -> Region {
        serde_yaml::from_str(include_str!("../tests/regions/valid/full.yaml")).unwrap()
    }

    fn seconds_ago(seconds: i64) -> Timestamp {
        NOW - SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_metadata_of_secrets_is_due_every_25_seconds_whatever_the_clock_does() {
        for (last, expected) in [
            (None, 0),
            (Some(seconds_ago(0)), 25),
            (Some(seconds_ago(24)), 1),
            (Some(seconds_ago(25)), 0),
            (Some(seconds_ago(3600)), 0),
            (Some(seconds_ago(-3600)), 25),
        ] {
            let until = until_secret_metadata(last, NOW);
            assert_eq!(until, SignedDuration::from_secs(expected), "{last:?}");
        }
    }

    #[test]
    fn secrets_are_read_as_a_whole_at_first_and_with_each_resync_and_else_their_metadata() {
        let newborn = region();
        let known = Region {
            status: Some(RegionStatus::default()),
            ..region()
        };
        let mut with_claims = Facts::default();
        let claim = ("data-tr-pg-0".to_owned(), ClaimFact::default());
        with_claims.claims.live.extend([claim]);
        let (without, read) = (Facts::default(), |seconds| {
            Some(Duration::from_secs(seconds))
        });
        let table = [
            (&newborn, &without, None, None, false, SecretsDue::NoneYet),
            (&newborn, &without, None, None, true, SecretsDue::NoneYet),
            (&newborn, &with_claims, None, None, false, SecretsDue::All),
            (&known, &without, None, None, false, SecretsDue::All),
            (
                &newborn,
                &without,
                read(3),
                Some(seconds_ago(3)),
                false,
                SecretsDue::Nothing,
            ),
            (
                &known,
                &without,
                read(24),
                Some(seconds_ago(24)),
                false,
                SecretsDue::Nothing,
            ),
            (
                &known,
                &without,
                read(25),
                Some(seconds_ago(25)),
                false,
                SecretsDue::Metadata,
            ),
            (
                &known,
                &without,
                read(25),
                None,
                false,
                SecretsDue::Metadata,
            ),
            (
                &known,
                &without,
                read(3),
                Some(seconds_ago(3)),
                true,
                SecretsDue::All,
            ),
            (
                &known,
                &without,
                read(299),
                Some(seconds_ago(3)),
                false,
                SecretsDue::Nothing,
            ),
            (
                &known,
                &without,
                read(300),
                Some(seconds_ago(3)),
                false,
                SecretsDue::All,
            ),
        ];
        assert_eq!(table.len(), 11);
        for (row, (region, facts, read, metadata, replicated, expected)) in
            table.into_iter().enumerate()
        {
            let facts = Facts {
                now: NOW,
                ..facts.clone()
            };
            let due = secrets_due(region, &facts, read, metadata, replicated);
            assert_eq!(due, expected, "row {row}");
        }
    }

    /// A Region with this condition Ready, a channel that is Unknown with this finding, and this many breached channels.
    fn looked_at(ready: &str, finding: Option<&str>, breached: usize) -> Region {
        let open = |id: usize| BreachedChannel {
            id: id.to_string(),
            since: NOW,
            finding: String::new(),
        };
        Region {
            status: Some(RegionStatus {
                conditions: vec![Condition {
                    type_: "Ready".to_owned(),
                    status: ready.to_owned(),
                    reason: "Test".to_owned(),
                    message: String::new(),
                    observed_generation: None,
                    last_transition_time: Time(NOW),
                }],
                residency: Some(ResidencyStatus {
                    assurance: Assurance::Logical,
                    channels: vec![ChannelStatus {
                        id: "1".to_owned(),
                        state: ChannelState::Unknown,
                        evidence: String::new(),
                        finding: finding.map(str::to_owned),
                    }],
                    exceptions: ExceptionsStatus::default(),
                    checked_at: None,
                    breach: BreachStatus {
                        channels: (1..=breached).map(open).collect(),
                        ..BreachStatus::default()
                    },
                    ways: None,
                    evidence: None,
                }),
                ..RegionStatus::default()
            }),
            ..region()
        }
    }

    #[test]
    fn the_inventory_is_read_once_a_region_serves_and_anew_when_it_is_old_or_may_be_wrong() {
        let of_before = format!("two {}", ways::OF_BEFORE);
        let seen = Observed::Seen(Inventory::default());
        let mut serving = looked_at("True", None, 0);
        serving.metadata.generation = Some(2);
        let mut open = looked_at("True", Some("a Service of type NodePort"), 0);
        open.metadata.generation = Some(2);
        let mut answered_for = looked_at("False", Some(&of_before), 0);
        answered_for.metadata.generation = Some(2);
        let last = |age, generation, seen| {
            Some(LastInventory {
                age: Duration::from_secs(age),
                generation: Some(generation),
                seen,
            })
        };
        let table = [
            (&region(), None, false),
            (&looked_at("False", None, 0), None, false),
            (&looked_at("False", Some("open"), 0), None, false),
            (&serving, None, true),
            (&looked_at("False", None, 1), None, true),
            (&serving, last(299, 2, &seen), false),
            (&serving, last(300, 2, &seen), true),
            (&serving, last(3, 1, &seen), true),
            (&serving, last(3, 2, &Observed::NotAsked), true),
            (&open, last(3, 2, &seen), true),
            (&answered_for, last(3, 2, &seen), false),
        ];
        assert_eq!(table.len(), 11);
        for (row, (region, last, expected)) in table.into_iter().enumerate() {
            assert_eq!(inventory_due(region, last), expected, "row {row}");
        }
    }

    #[test]
    fn an_archived_file_is_looked_for_until_it_is_found_and_then_with_each_resync() {
        let region = region();
        let names = Names::of(&region);
        let facts = |name: Option<&str>, version: i32, store: bool| {
            let mut postgres = PostgresFacts {
                server_version: version,
                ..PostgresFacts::default()
            };
            postgres.archiver.last_archived = name.map(str::to_owned);
            Facts {
                postgres: Observed::Seen(postgres),
                store: if store {
                    Observed::Seen(StoreFacts::default())
                } else {
                    Observed::NotAsked
                },
                ..Facts::default()
            }
        };
        let (first, second) = ("000000010000000000000001", "000000010000000000000002");
        let due = |facts: &Facts, last: Option<LastReadBack<'_>>| {
            archived_file_due(&region, &names, facts, last)
        };
        let said = facts(Some(second), 170_012, true);
        let file = |facts: &Facts| {
            ArchivedFile::newest(&names, region.incarnation(), facts.postgres.seen()?)
        };
        let (old, new) = (
            file(&facts(Some(first), 170_012, true)).unwrap(),
            file(&said).unwrap(),
        );
        let last = |age, found: Option<bool>| {
            let seen = found.map_or(Observed::NotAsked, |found| {
                Observed::Seen(ReadBack {
                    found,
                    recent: false,
                })
            });
            (Duration::from_secs(age), seen)
        };
        let as_last = |(age, seen): &(Duration, Observed<ReadBack>)| {
            due(
                &said,
                Some(LastReadBack {
                    age: *age,
                    file: &old,
                    seen,
                }),
            )
        };
        assert_eq!(due(&facts(None, 170_012, true), None), None);
        assert_eq!(due(&facts(Some(second), 170_012, false), None), None);
        assert_eq!(due(&said, None), Some(new.clone()));
        assert_eq!(as_last(&last(299, Some(true))), None);
        assert_eq!(as_last(&last(300, Some(true))), Some(new.clone()));
        assert_eq!(as_last(&last(3, Some(false))), Some(new.clone()));
        assert_eq!(as_last(&last(3, None)), Some(new));
        // A primary that has archived nothing yet: the one that is known is looked for again.
        let (age, seen) = last(300, Some(true));
        let known = LastReadBack {
            age,
            file: &old,
            seen: &seen,
        };
        let silent = facts(None, 170_012, true);
        assert_eq!(due(&silent, Some(known)), Some(old.clone().aged()));
    }

    #[test]
    fn users_are_listed_every_five_minutes_sooner_when_one_was_found_and_at_once_when_they_were_not_seen()
     {
        let due = |seconds, found| unmanaged_users_due(&found, Duration::from_secs(seconds));
        let one = || BTreeSet::from([Outlet::User("mallory".to_owned())]);
        assert!(!due(290, Ok(BTreeSet::new())));
        assert!(due(300, Ok(BTreeSet::new())));
        assert!(!due(50, Ok(one())));
        assert!(due(60, Ok(one())));
        assert!(due(0, Err(ReadFailure::TimedOut)));
    }
}
