//! A chain of every kind of entry, and everything that somebody could do to it: each is found, or the test fails.
#![allow(clippy::too_many_lines, reason = "a table is read in one piece")]

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::bundle::Bundle;
use super::entry::{
    BreachAction, CanaryAnswer, CanaryTry, Channel, ChannelState, Class, DrillOutcome, Guise, Name,
    ObjectRef, Observation, Reach,
};
use super::*;
use crate::region::Assurance;
use crate::violation::Reason;

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

/// An object with another record, signed by `signer` or, without one, with the signature that was there.
fn with_record(stored: &Stored, record: &str, signer: Option<u8>) -> Stored {
    let (_, envelope) = Record::read(&stored.bytes).unwrap();
    let bytes = if let Some(signer) = signer {
        Envelope::seal(record.as_bytes(), &key(signer))
            .to_bytes()
            .unwrap()
    } else {
        let old = serde_json::to_string(&serde_json::json!(base64(envelope.payload()))).unwrap();
        let new = serde_json::to_string(&serde_json::json!(base64(record.as_bytes()))).unwrap();
        let text = String::from_utf8(stored.bytes.clone()).unwrap();
        assert!(text.contains(&old));
        text.replace(&old, &new).into_bytes()
    };
    Stored::new(stored.key.clone(), bytes)
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Every value of a record's JSON changed, one at a time: text, numbers, booleans; every field left out, and every part of
/// a list left out or told twice.
fn edits(value: &serde_json::Value) -> Vec<serde_json::Value> {
    use serde_json::{Value, json};
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(field, inner)| {
                let replaced = edits(inner).into_iter().map(|edited| {
                    let mut fields = fields.clone();
                    fields.insert(field.clone(), edited);
                    Value::Object(fields)
                });
                let mut without = fields.clone();
                without.remove(field);
                replaced.chain([Value::Object(without)]).collect::<Vec<_>>()
            })
            .collect(),
        Value::String(text) => {
            let mut longer = text.clone();
            longer.push('0');
            vec![
                json!(longer),
                json!(text.replacen(['0', '1', '2', 'a', 'e'], "7", 1)),
            ]
            .into_iter()
            .filter(|edited| edited != value)
            .collect()
        }
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1)],
        Value::Bool(truth) => vec![json!(!truth)],
        Value::Array(items) => (0..items.len())
            .flat_map(|index| {
                let replaced = edits(&items[index]).into_iter().map(move |edited| {
                    let mut items = items.clone();
                    items[index] = edited;
                    Value::Array(items)
                });
                let mut without = items.clone();
                without.remove(index);
                let mut twice = items.clone();
                twice.insert(index, items[index].clone());
                replaced.chain([Value::Array(without), Value::Array(twice)])
            })
            .collect(),
        other @ Value::Null => panic!("a record has {other}"),
    }
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

#[test]
fn whatever_is_done_to_a_chain_is_found() {
    let objects = chain();
    let anchor = anchor_of(&objects);
    let many = objects.len();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut bytes = 0;
    let mut try_ =
        |what: &'static str, objects: &[Stored], anchor: Option<&Anchor>, one_of: &[&str]| {
            *counts.entry(what).or_default() += 1;
            let words = words(judged(objects, anchor));
            assert!(
                words.iter().any(|word| one_of.contains(word)),
                "{what}: expected one of {one_of:?}, found {words:?}"
            );
        };

    let any_edit = [
        "Malformed",
        "Edited",
        "BadSignature",
        "UnknownKey",
        "Rewritten",
    ];
    for index in 0..many {
        // Every byte, and with the keys alone: the signature must find it, without a neighbour's or an anchor's help.
        let stretch = &objects[index..=index];
        for byte in 0..stretch[0].bytes.len() {
            let mut changed = stretch.to_vec();
            changed[0].bytes[byte] ^= 1 << (byte % 8);
            let keys = [key(1).public(), key(2).public(), key(3).public()];
            let expected = Expected {
                region: REGION,
                keys: &keys,
                claimed: &[],
                anchor: None,
                stretch: true,
            };
            let words = words(verify(&changed, &expected));
            assert!(!words.is_empty(), "byte {byte} of record {}", index + 1);
            bytes += 1;
        }
        // What the signature does not cover, in the last record, where no neighbour helps either.
        let text = String::from_utf8(objects[index].bytes.clone()).unwrap();
        let loose = [
            format!("{text}\n"),
            format!(" {text}"),
            text.replacen(':', ": ", 1),
            text.replacen("\"payload\"", "\"p\\u0061yload\"", 1),
        ];
        for loose in loose {
            let mut changed = objects[..=index].to_vec();
            changed[index].bytes = loose.into_bytes();
            try_(
                "an envelope written otherwise",
                &changed,
                None,
                &["Malformed"],
            );
        }
        let record = Record::read(&objects[index].bytes).unwrap().0;
        let signer = entries()[index].0;
        for edited in edits(&serde_json::to_value(&record).unwrap()) {
            // In the order of our own writer where it is still a record, so that only the edit is what is wrong.
            let text = serde_json::from_value::<Record>(edited.clone()).map_or_else(
                |_| edited.to_string(),
                |record| serde_json::to_string(&record).unwrap(),
            );
            let mut changed = objects.clone();
            changed[index] = with_record(&objects[index], &text, None);
            try_(
                "a field",
                &changed,
                None,
                &["Malformed", "BadSignature", "UnknownKey"],
            );
            changed[index] = with_record(&objects[index], &text, Some(9));
            try_(
                "a field, signed with a stranger's key",
                &changed,
                None,
                &["Malformed", "UnknownKey"],
            );
            changed[index] = with_record(&objects[index], &text, Some(signer));
            let found = [
                &any_edit[..],
                &["Reordered", "ForeignRegion", "ClockRolledBack"],
            ]
            .concat();
            try_(
                "a field, signed with the right key",
                &changed,
                Some(&anchor),
                &found,
            );
            // The successor's word is enough, without the anchor.
            if index + 1 < many {
                try_(
                    "a field, signed with the right key, no anchor",
                    &changed,
                    None,
                    &found,
                );
            }
        }
        let mut changed = objects.clone();
        changed[index].versions = 2;
        try_("written over", &changed, None, &["Overwritten"]);
        for end in index + 1..=many {
            let mut dropped = objects.clone();
            dropped.drain(index..end);
            let word = if end == many { "Truncated" } else { "Missing" };
            try_("a stretch dropped", &dropped, Some(&anchor), &[word]);
            if end < many {
                try_("a stretch dropped, no anchor", &dropped, None, &["Missing"]);
            }
        }
        for other in index + 1..many {
            let mut swapped = objects.clone();
            let (left, right) = swapped.split_at_mut(other);
            std::mem::swap(&mut left[index].bytes, &mut right[0].bytes);
            try_("two swapped", &swapped, None, &["Reordered"]);
        }
        for other in (0..=many).filter(|other| *other != index) {
            let mut copied = objects.clone();
            copied.retain(|object| object.key != object_key(other as u64 + 1));
            copied.push(Stored::new(
                object_key(other as u64 + 1),
                objects[index].bytes.clone(),
            ));
            try_("copied to another place", &copied, None, &["Reordered"]);
        }
        let mut twice = objects.clone();
        twice.push(objects[index].clone());
        try_("there twice", &twice, None, &["Duplicate"]);

        // By whoever holds the right key: every later record written anew.
        let rewritten = {
            let mut entries = entries();
            entries.remove(index);
            chain_of(&entries, hours)
        };
        try_(
            "written anew without one",
            &rewritten,
            Some(&anchor),
            &["Truncated"],
        );
        let rewritten = chain_of(&entries(), |sequence| {
            let later = i64::from(sequence > index as u64);
            hours(sequence) + SignedDuration::from_secs(later)
        });
        try_(
            "written anew with other times",
            &rewritten,
            Some(&anchor),
            &["Rewritten"],
        );
        if index > 0 {
            let back = chain_of(&entries(), |sequence| {
                let back = if sequence > index as u64 { -4 } else { 0 };
                hours(sequence) + SignedDuration::from_hours(back)
            });
            try_("the clock rolled back", &back, None, &["ClockRolledBack"]);
            try_(
                "the clock rolled back, anchored",
                &back,
                Some(&anchor_of(&back)),
                &["ClockRolledBack"],
            );
        }
    }
    // By a stranger, with a chain of his own.
    let strange: Vec<(u8, Entry)> = entries()
        .into_iter()
        .map(|(_, entry)| match entry {
            Entry::ChainStarted {
                jurisdiction,
                location,
                ..
            } => Entry::ChainStarted {
                public_key: key(9).public(),
                jurisdiction,
                location,
            },
            entry => entry,
        })
        .filter(|entry| !matches!(entry, Entry::KeyRotated { .. }))
        .map(|entry| (9, entry))
        .collect();
    let strange = chain_of(&strange, hours);
    try_("a stranger's chain", &strange, None, &["UnknownKey"]);
    try_(
        "a stranger's chain",
        &strange,
        Some(&anchor),
        &["Truncated"],
    );
    // By a stranger who says that the key was lost, or by one with a key that was replaced.
    let rotated = Entry::KeyRotated {
        previous_key: key(3).public().id(),
        public_key: key(9).public(),
    };
    let canary = entries()[6].1.clone();
    for added in [
        vec![(9, rotated.clone())],
        vec![(9, rotated), (9, canary.clone())],
        vec![(1, canary.clone())],
        vec![(2, canary)],
    ] {
        let longer = chain_of(&[entries(), added].concat(), hours);
        try_(
            "a wrong key carries on",
            &longer,
            Some(&anchor),
            &["UnknownKey"],
        );
    }
    let keys = keys();
    let elsewhere = Expected {
        region: "eu",
        keys: &keys,
        claimed: &[],
        anchor: None,
        stretch: false,
    };
    assert_eq!(words(verify(&objects, &elsewhere)), ["ForeignRegion"]);

    counts.insert("a byte of one record", bytes);
    let total: u32 = counts.values().sum();
    for (what, count) in &counts {
        println!("{count:>7} {what}");
    }
    println!("{total:>7} in all, each found");
    assert_eq!(counts.len(), 18);
}

#[test]
fn what_only_an_anchor_can_show_is_not_found_without_one() {
    // That it is so is why the anchor stands in the status; if this fails, the documentation is wrong.
    let objects = chain();
    assert!(objects.len() > 10, "{}", objects.len());
    for end in 1..objects.len() {
        assert!(!judged(&objects[..end], None).unwrap().anchored);
    }
}

#[test]
fn a_days_bundle_verifies_alone_and_cannot_lose_a_record_of_its_day() {
    let objects = chain();
    let anchor = anchor_of(&objects);
    let chain = judged(&objects, Some(&anchor)).unwrap();
    // Eight records a day: 1 to 8 and 9 to 15.
    let day = |text: &str| Bundle::of_day(&chain, &objects, &[], text.parse().unwrap());
    let reread = |bundle: &Bundle| Bundle::read(bundle.files().unwrap()).unwrap();
    let first = reread(&day("2026-11-20").unwrap());
    assert_eq!(first.records.len(), 9);
    assert_eq!(first.keys.len(), 3);
    first.verify(&keys(), None).unwrap();
    // The anchor of the whole chain says nothing of a stretch that ends before it, and is no reason to doubt it.
    assert!(!first.verify(&keys(), Some(&anchor)).unwrap().anchored);
    assert_eq!(words(first.verify(&[], None)), ["UnknownKey"]);

    let second = reread(&day("2026-11-21").unwrap());
    assert_eq!(second.records.len(), 8);
    assert!(second.verify(&[], Some(&anchor)).unwrap().anchored);
    assert_eq!(
        words(second.verify(&keys(), None)),
        ["UnknownKey"],
        "who vouched for key 2 is not in it"
    );
    let all = [key(1).public(), key(2).public(), key(3).public()];
    let open = second.verify(&all, None);
    assert_eq!(
        words(open.clone()),
        ["OpenEnd"],
        "it is the chain's last day"
    );
    let said = open.unwrap_err()[0].to_string();
    for next in ["as of today", "--anchor", "export again"] {
        assert!(said.contains(next), "{said}");
    }

    // A day without records is as provable as any.
    let later = reread(&day("2026-11-22").unwrap());
    assert_eq!(later.records.len(), 1);
    later.verify(&all, Some(&anchor)).unwrap();
    assert!(matches!(
        day("2026-11-19"),
        Err(bundle::BundleError::BeforeStart { .. })
    ));

    let mut dropped = 0;
    for (bundle, anchor) in [(&first, None), (&second, Some(&anchor))] {
        for from in 0..bundle.records.len() {
            for to in from + 1..=bundle.records.len() {
                let mut less = bundle.clone();
                less.records.drain(from..to);
                let found = less.verify(&all, anchor);
                // The neighbours' own loss is seen too: they are what closes the day.
                assert!(
                    found.is_err(),
                    "records {from} to {to} of {}",
                    bundle.manifest.day
                );
                dropped += 1;
            }
        }
    }
    println!("{dropped} stretches dropped from bundles, each found");
}

#[test]
fn a_record_is_what_it_was_when_it_was_first_shipped() {
    let first = &chain()[0];
    assert_eq!(first.key, "records/00000000000000000001.json");
    let (_, envelope) = Record::read(&first.bytes).unwrap();
    assert_eq!(
        String::from_utf8_lossy(envelope.payload()),
        "{\"sequence\":1,\"time\":\"2026-11-20T00:00:00Z\",\"region\":\"tr\",\
         \"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\",\
         \"entry\":{\"kind\":\"ChainStarted\",\
         \"publicKey\":\"MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\"\
         ,\"jurisdiction\":\"TR\",\"location\":\"tr-ist-1\"}}"
    );
    for reason in [
        Reason::NotThisCluster,
        Reason::NotDelegated,
        Reason::OutsideJurisdiction,
        Reason::NotFound,
        Reason::ForeignVolume,
        Reason::KeyMissing,
        Reason::Invalid,
    ] {
        // Records outlive a renaming: the word in them is the condition's.
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    let kinds: Vec<String> = entries()
        .iter()
        .map(|(_, entry)| {
            serde_json::to_value(entry).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        entries()
            .iter()
            .map(|(_, entry)| entry.kind())
            .collect::<Vec<_>>()
    );
}

#[test]
fn keys_are_read_and_written_as_openssl_does() {
    let private = SigningKey::pem_of_seed(&[1; 32]);
    assert_eq!(
        private,
        "-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n\
         -----END PRIVATE KEY-----\n"
    );
    let again = SigningKey::from_pem(&private).unwrap();
    assert_eq!(again.public(), key(1).public());
    assert_eq!(
        PublicKey::from_pem(&again.public().to_pem()),
        Ok(key(1).public())
    );
    assert!(PublicKey::from_pem(&private).is_err());
    assert!(SigningKey::from_pem(&key(1).public().to_pem()).is_err());
    assert!(!format!("{again:?}").contains("AQEB"));
}

#[test]
fn no_free_text_gets_into_a_record() {
    for text in [
        "",
        "permission denied for table",
        "a\nb",
        "Ayşe",
        "a=b",
        "x\"y",
        &"a".repeat(254),
    ] {
        assert!(Name::new(text).is_err(), "{text:?}");
    }
    assert!(Channel::new(0).is_err() && Channel::new(47).is_err());
    let sneaked = serde_json::json!({"kind": "Drill", "backup": "row 1: secret"});
    assert!(serde_json::from_value::<Entry>(sneaked).is_err());
    for text in ["", "1", "0:", "1:ab", ":"] {
        assert!(text.parse::<Anchor>().is_err(), "{text:?}");
    }
    let anchor = anchor_of(&chain());
    assert_eq!(anchor.to_string().parse(), Ok(anchor));
    for key in [
        "records/1.json",
        "records/00000000000000000000.json",
        "00000000000000000001.json",
        "records/00000000000000000001.json.bak",
        "records/+0000000000000000001.json",
    ] {
        assert_eq!(sequence_of(key), None, "{key}");
    }
}
