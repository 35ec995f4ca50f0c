//! What is done to a chain, and how each of it is found.

use super::*;

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
