//! What changed between two looks at a Region's residency, as entries of the evidence log. Two statuses in, entries out;
//! no I/O.

use bailiwick_api::region::{
    BreachedChannel, ChannelState, ChannelStatus, Region, RegionSpec, ResidencyStatus,
};
use jiff::Timestamp;

use super::Entry;
use super::entry::{BreachAction, Channel, Name, Observation};
use crate::facts::Facts;

/// The entries that tell of the way from `before` to `after`; none when nothing changed. What was never looked at
/// counts as Unknown before.
#[must_use]
pub fn changes(
    before: Option<&ResidencyStatus>,
    after: &ResidencyStatus,
    spec: &RegionSpec,
    now: Timestamp,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    let assured = before.map(|before| before.assurance);
    if assured != Some(after.assurance) {
        entries.push(Entry::AssuranceChanged {
            from: assured,
            to: after.assurance,
        });
    }
    for row in &after.channels {
        let from = before
            .and_then(|before| before.channels.iter().find(|known| known.id == row.id))
            .map_or(ChannelState::Unknown, |known| known.state);
        let Some(channel) = row.id.parse().ok().and_then(|id| Channel::new(id).ok()) else {
            continue;
        };
        if from == row.state {
            continue;
        }
        entries.push(Entry::ChannelChanged {
            channel,
            from,
            to: row.state,
            evidence: observation(row),
        });
        let exception = spec
            .residency
            .exceptions
            .iter()
            .find(|exception| exception.channel == row.id);
        // That one is granted is a sighting: it may be granted anew while the channel's state stays.
        match (from, row.state, exception) {
            (ChannelState::Exception, _, Some(exception)) if exception.expires <= now => {
                entries.push(Entry::ExceptionExpired {
                    channel,
                    expires: exception.expires,
                });
            }
            (ChannelState::Exception, _, None) => {
                entries.push(Entry::ExceptionWithdrawn { channel });
            }
            _ => {}
        }
    }
    entries.extend(breaches(before, after));
    entries
}

/// That a Region made anew took up claims of one before it; none of one that did not, or whose log is its own already. All
/// times are the API server's.
#[must_use]
pub fn readopted(region: &Region, facts: &Facts) -> Option<Entry> {
    let residency = region
        .status
        .as_ref()
        .and_then(|status| status.residency.as_ref());
    if residency.is_some_and(|residency| residency.evidence.is_some()) {
        return None;
    }
    let made = region.metadata.creation_timestamp.as_ref()?.0;
    let of_before = facts
        .claims
        .all()
        .filter(|(_, claim)| claim.made.is_some_and(|it| it < made))
        .count();
    (of_before > 0).then_some(Entry::RegionReadopted {
        region: Name::new(region.metadata.uid.clone()?).ok()?,
        made,
        claims: u32::try_from(of_before).unwrap_or(u32::MAX),
    })
}

/// The channels that the Region was shut off for, and those that it is shut off for no more.
fn breaches(before: Option<&ResidencyStatus>, after: &ResidencyStatus) -> Vec<Entry> {
    let known = before.map_or(&[][..], |before| &before.breach.channels);
    let now = &after.breach.channels;
    let among =
        |all: &[BreachedChannel], one: &BreachedChannel| all.iter().any(|other| other.id == one.id);
    let begun = now.iter().filter(|one| !among(known, one));
    let ended = known.iter().filter(|one| !among(now, one));
    begun
        .map(|one| (one, BreachAction::Quarantined))
        .chain(ended.map(|one| (one, BreachAction::Released)))
        .filter_map(|(one, action)| {
            Some(Entry::Breach {
                channel: Channel::new(one.id.parse().ok()?).ok()?,
                action,
            })
        })
        .collect()
}

/// What a channel's state was seen from.
fn observation(row: &ChannelStatus) -> Observation {
    match (row.state, row.id.parse().unwrap_or_default()) {
        (ChannelState::Exception, _) => Observation::Spec,
        (ChannelState::Unknown, _) if row.finding.is_none() => Observation::Nothing,
        (_, 1u8 | 2 | 8 | 9) => Observation::Canary,
        (_, 17..=21 | 46) => Observation::ObjectStore,
        (_, 26..=28 | 30) => Observation::Postgres,
        (_, 38) => Observation::Rights,
        _ => Observation::Objects,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_api::region::Assurance;

    fn status(rows: &[(&str, ChannelState)]) -> ResidencyStatus {
        ResidencyStatus {
            assurance: Assurance::Logical,
            channels: rows
                .iter()
                .map(|(id, state)| ChannelStatus {
                    id: (*id).to_owned(),
                    state: *state,
                    evidence: "store: region".to_owned(),
                    finding: None,
                })
                .collect(),
            exceptions: bailiwick_api::region::ExceptionsStatus::default(),
            checked_at: None,
            breach: bailiwick_api::region::BreachStatus::default(),
            ways: None,
            evidence: None,
        }
    }

    fn spec(expires: &str) -> RegionSpec {
        let mut region: bailiwick_api::region::Region =
            serde_yaml::from_str(include_str!("../../tests/regions/valid/full.yaml")).unwrap();
        region.spec.residency.exceptions[0].expires = expires.parse().unwrap();
        region.spec
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn only_what_changed_is_told() {
        let spec = spec("2027-01-31T00:00:00Z");
        let first = status(&[("17", ChannelState::Enforced), ("8", ChannelState::Unknown)]);
        let entries = changes(None, &first, &spec, now());
        assert_eq!(
            entries,
            [
                Entry::AssuranceChanged {
                    from: None,
                    to: Assurance::Logical
                },
                Entry::ChannelChanged {
                    channel: Channel::new(17).unwrap(),
                    from: ChannelState::Unknown,
                    to: ChannelState::Enforced,
                    evidence: Observation::ObjectStore,
                }
            ]
        );
        assert_eq!(changes(Some(&first), &first, &spec, now()), []);
        let next = status(&[("17", ChannelState::Unknown), ("8", ChannelState::Unknown)]);
        assert_eq!(
            changes(Some(&first), &next, &spec, now()),
            [Entry::ChannelChanged {
                channel: Channel::new(17).unwrap(),
                from: ChannelState::Enforced,
                to: ChannelState::Unknown,
                evidence: Observation::Nothing,
            }]
        );
    }

    #[test]
    fn a_region_made_anew_is_told_of_until_its_log_has_a_record_of_its_own() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

        use crate::facts::ClaimFact;

        let mut region: Region =
            serde_yaml::from_str(include_str!("../../tests/regions/valid/full.yaml")).unwrap();
        region.metadata.uid = Some("4b1d".to_owned());
        region.metadata.creation_timestamp = Some(Time(now()));
        let claim = |made: Option<&str>| ClaimFact {
            made: made.map(|made| made.parse().unwrap()),
            ..ClaimFact::default()
        };
        let facts = |claims: [Option<&str>; 2]| {
            let mut facts = Facts::default();
            for (name, made) in ["data-tr-pg-0", "data-tr-s3-0"].iter().zip(claims) {
                facts.claims.live.insert((*name).to_owned(), claim(made));
            }
            facts
        };
        let told = |region: &Region, claims| match readopted(region, &facts(claims)) {
            None => None,
            Some(Entry::RegionReadopted {
                region,
                made,
                claims,
            }) => {
                assert_eq!((region.as_str(), made), ("4b1d", now()));
                Some(claims)
            }
            other => panic!("{other:?}"),
        };
        let before = Some("2026-11-20T12:00:00Z");
        let after = Some("2026-11-21T12:00:07Z");
        assert_eq!(told(&region, [before, before]), Some(2));
        assert_eq!(told(&region, [before, after]), Some(1));
        // Its own claims, those of the same second, and those of which nothing is known, are no proof.
        assert_eq!(told(&region, [after, after]), None);
        assert_eq!(told(&region, [Some("2026-11-21T12:00:00Z"), None]), None);
        let mut residency = status(&[]);
        region.status = Some(bailiwick_api::region::RegionStatus {
            residency: Some(residency.clone()),
            ..bailiwick_api::region::RegionStatus::default()
        });
        assert_eq!(told(&region, [before, before]), Some(2));
        residency.evidence = Some(bailiwick_api::region::EvidenceStatus {
            sequence: 7,
            hash: "00".repeat(32),
            key_id: "11".repeat(32),
            told: String::new(),
        });
        region.status.as_mut().unwrap().residency = Some(residency);
        assert_eq!(told(&region, [before, before]), None);
    }

    #[test]
    fn a_breach_is_told_of_when_it_begins_and_when_it_is_over() {
        let spec = spec("2027-01-31T00:00:00Z");
        let open = status(&[("1", ChannelState::Unknown)]);
        let mut shut = open.clone();
        shut.breach.channels.push(BreachedChannel {
            id: "1".to_owned(),
            since: now(),
            finding: "reached".to_owned(),
        });
        let told = |action| {
            [Entry::Breach {
                channel: Channel::new(1).unwrap(),
                action,
            }]
        };
        assert_eq!(
            changes(Some(&open), &shut, &spec, now()),
            told(BreachAction::Quarantined)
        );
        assert_eq!(changes(Some(&shut), &shut, &spec, now()), []);
        assert_eq!(
            changes(Some(&shut), &open, &spec, now()),
            told(BreachAction::Released)
        );
    }

    #[test]
    fn an_exception_is_told_of_when_it_is_over() {
        let open = status(&[("35", ChannelState::Unknown)]);
        let excepted = status(&[("35", ChannelState::Exception)]);
        let later = spec("2027-01-31T00:00:00Z");
        let over = spec("2026-11-21T11:59:59Z");
        let ended = changes(Some(&excepted), &open, &over, now());
        assert!(
            matches!(&ended[1], Entry::ExceptionExpired { .. }),
            "{ended:?}"
        );
        // One that left the spec, and one whose channel is closed by itself.
        let mut without = later.clone();
        without.residency.exceptions.clear();
        let withdrawn = changes(Some(&excepted), &open, &without, now());
        assert!(
            matches!(&withdrawn[1], Entry::ExceptionWithdrawn { .. }),
            "{withdrawn:?}"
        );
        let closed = changes(Some(&excepted), &open, &later, now());
        assert_eq!(closed.len(), 1, "{closed:?}");
    }
}
