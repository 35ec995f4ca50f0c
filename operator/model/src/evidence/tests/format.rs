//! What records, keys and bundles are as bytes.

use super::*;

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
