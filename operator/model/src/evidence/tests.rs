//! A chain of every kind of entry, and everything that somebody could do to it: each is found, or the test fails.
#![allow(clippy::too_many_lines, reason = "a table is read in one piece")]

mod format;
mod tampering;

use std::collections::BTreeMap;

use bailiwick_api::region::Assurance;
use bailiwick_api::violation::Reason;
use jiff::SignedDuration;

use super::bundle::Bundle;
use super::entry::{
    BreachAction, CanaryAnswer, CanaryTry, Channel, ChannelState, Class, DrillOutcome, Guise, Name,
    ObjectRef, Observation, Reach,
};
use super::*;

const REGION: &str = "tr";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn object(kind: &str, of: &str) -> ObjectRef {
    ObjectRef {
        kind: name(kind),
        namespace: Some(name("tr")),
        name: name(of),
    }
}

/// One of every kind, with the keys that sign: 1 at first, then 2, which 1 vouches for, then 3, 2 being lost.
fn entries() -> Vec<(u8, Entry)> {
    let channel = |number| Channel::new(number).unwrap();
    let expires = at("2027-01-31T00:00:00Z");
    vec![
        (
            1,
            Entry::ChainStarted {
                public_key: key(1).public(),
                jurisdiction: name("TR"),
                location: name("tr-ist-1"),
            },
        ),
        (
            1,
            Entry::Violation {
                channel: Some(channel(13)),
                reason: Reason::OutsideJurisdiction,
                object: object("PersistentVolumeClaim", "data-tr-pg-0"),
                field: Some(name("spec.storageClassName")),
            },
        ),
        (
            1,
            Entry::ExceptionGranted {
                channel: channel(35),
                approver: name("dpo@example.org"),
                expires,
            },
        ),
        (
            1,
            Entry::KeyRotated {
                previous_key: key(1).public().id(),
                public_key: key(2).public(),
            },
        ),
        (
            2,
            Entry::ExceptionExpired {
                channel: channel(35),
                expires,
            },
        ),
        (
            2,
            Entry::ExceptionWithdrawn {
                channel: channel(36),
            },
        ),
        (
            2,
            Entry::Canary {
                run: name("0e6d0a7c-6f7e-4a43-9d53-5a0f6c1a9b11"),
                guise: Guise::Postgres,
                node: Some(name("tr-1")),
                ended: Some(at("2026-11-20T17:59:58Z")),
                answer: CanaryAnswer::Given,
                tries: vec![
                    CanaryTry {
                        target: Class::OutsideAddress,
                        expected: Reach::Blocked,
                        result: Some(Reach::Blocked),
                    },
                    CanaryTry {
                        target: Class::OtherRegionService,
                        expected: Reach::Blocked,
                        result: None,
                    },
                    CanaryTry {
                        target: Class::OwnObjectStore,
                        expected: Reach::Reached,
                        result: Some(Reach::Reached),
                    },
                ],
            },
        ),
        (
            2,
            Entry::Placement {
                object: object("Pod", "tr-pg-0"),
                node: Some(name("tr-1")),
                location: Some(name("tr-ist-1")),
                admitted: true,
            },
        ),
        (
            3,
            Entry::KeyRotated {
                previous_key: key(2).public().id(),
                public_key: key(3).public(),
            },
        ),
        (
            3,
            Entry::ChannelChanged {
                channel: channel(1),
                from: ChannelState::Unknown,
                to: ChannelState::Enforced,
                evidence: Observation::Canary,
            },
        ),
        (
            3,
            Entry::AssuranceChanged {
                from: None,
                to: Assurance::Logical,
            },
        ),
        (
            3,
            Entry::Breach {
                channel: channel(2),
                action: BreachAction::Quarantined,
            },
        ),
        (
            3,
            Entry::Drill {
                backup: name("20261121-010000F"),
                location: name("tr-ist-1"),
                outcome: DrillOutcome::Passed,
                restored_to: Some(at("2026-11-21T09:00:00Z")),
                seconds: 95,
                digest: Some(Hash::of(b"rows")),
                destroyed_at: Some(at("2026-11-21T10:00:00Z")),
            },
        ),
        (
            3,
            Entry::RegionDeleted {
                region: name("4b1d"),
                asked: at("2026-11-21T11:00:00Z"),
            },
        ),
        (
            3,
            Entry::RegionReadopted {
                region: name("77aa"),
                made: at("2026-11-21T11:30:00Z"),
                claims: 3,
            },
        ),
    ]
}

/// Entries in a chain, three hours apart from the 20th of November at midnight.
fn chain_of(entries: &[(u8, Entry)], time: impl Fn(u64) -> Timestamp) -> Vec<Stored> {
    let mut last = None;
    let objects = entries.iter().map(|(signer, entry)| {
        let sequence = last.map_or(1, |last: Anchor| last.sequence + 1);
        let record = Record::after(last.as_ref(), REGION, time(sequence), entry.clone());
        let object = record.sign(&key(*signer)).unwrap();
        last = Some(object.anchor);
        Stored::new(object.key, object.bytes)
    });
    objects.collect()
}

fn hours(sequence: u64) -> Timestamp {
    let hours = i64::try_from(sequence).unwrap() * 3 - 3;
    at("2026-11-20T00:00:00Z") + SignedDuration::from_hours(hours)
}

fn chain() -> Vec<Stored> {
    chain_of(&entries(), hours)
}

fn anchor_of(objects: &[Stored]) -> Anchor {
    let last = objects.last().unwrap();
    Anchor {
        sequence: sequence_of(&last.key).unwrap(),
        hash: Hash::of(&last.bytes),
    }
}

fn keys() -> [PublicKey; 2] {
    // The second comes by the first one's word.
    [key(1).public(), key(3).public()]
}

fn judged(objects: &[Stored], anchor: Option<&Anchor>) -> Result<Verified, Vec<Finding>> {
    let keys = keys();
    verify(
        objects,
        &Expected {
            region: REGION,
            keys: &keys,
            claimed: &[],
            anchor,
            stretch: false,
        },
    )
}

fn words(result: Result<Verified, Vec<Finding>>) -> Vec<&'static str> {
    let mut words: Vec<_> = result
        .err()
        .unwrap_or_default()
        .iter()
        .map(Finding::word)
        .collect();
    words.dedup();
    words
}

#[test]
fn an_untouched_chain_verifies_by_its_keys_and_by_its_anchor() {
    let objects = chain();
    let anchor = anchor_of(&objects);
    let verified = judged(&objects, Some(&anchor)).unwrap();
    assert_eq!(verified.records.len(), entries().len());
    assert_eq!(verified.last, anchor);
    assert_eq!(verified.key, key(3).public().id());
    assert!(verified.anchored);
    assert!(!judged(&objects, None).unwrap().anchored);

    // The anchor alone pins every key at or before it.
    let by_anchor = Expected {
        region: REGION,
        keys: &[],
        claimed: &[],
        anchor: Some(&anchor),
        stretch: false,
    };
    verify(&objects, &by_anchor).unwrap();
    // An anchor from earlier is a record of the chain too, and what follows is signed by its keys.
    for end in 9..objects.len() {
        let earlier = anchor_of(&objects[..end]);
        let expected = Expected {
            anchor: Some(&earlier),
            ..by_anchor
        };
        assert!(verify(&objects, &expected).unwrap().anchored);
    }
    // A lost key's successor is not trusted by its own word.
    let earlier = anchor_of(&objects[..8]);
    let expected = Expected {
        anchor: Some(&earlier),
        ..by_anchor
    };
    assert_eq!(words(verify(&objects, &expected)), ["UnknownKey"]);
    // The order in which a listing or an archive gives them is nothing.
    let mut shuffled = objects.clone();
    shuffled.reverse();
    shuffled.swap(2, 7);
    judged(&shuffled, Some(&anchor)).unwrap();
    // Of no trust comes no verdict.
    let nothing = Expected {
        region: REGION,
        keys: &[],
        claimed: &[],
        anchor: None,
        stretch: false,
    };
    assert_eq!(words(verify(&objects, &nothing)), ["UnknownKey"]);
    assert_eq!(words(judged(&[], None)), ["Empty"]);
    assert_eq!(words(judged(&[], Some(&anchor))), ["Truncated"]);
}
