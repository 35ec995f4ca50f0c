//! Writers, clocks and removed records: what becomes of the chain.

use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use bailiwick_api::region::EvidenceStatus;
use bailiwick_model::canary::question::Class;
use bailiwick_model::evidence::{Entry, object_key};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{BACKUP_USER, EVIDENCE_BUCKET};
use bailiwick_operator::evidence::{CLOCK_TOLERANCE, EvidenceError};
use jiff::{SignedDuration, Timestamp};

use super::{Place, anchor, canary, expired, kinds, public, words};
use crate::server::outcome;

#[tokio::test]

async fn a_chain_begins_goes_on_and_survives_its_writer() {
    let place = Place::new().await;
    // Real time: the store does not lock anything until a day that is past.
    let now = Timestamp::now();
    let log = place.log();
    let first = log
        .append(None, &[], now)
        .await
        .expect("a chain begins without an entry");
    assert_eq!(first.sequence, 1);
    let third = log
        .append(
            Some(&first),
            &[canary(Class::OtherNode), expired(35, now)],
            now,
        )
        .await
        .expect("two entries");
    assert_eq!(third.sequence, 3);
    assert_eq!(
        log.append(Some(&third), &[], now)
            .await
            .expect("nothing to do"),
        third
    );
    let verified = place.judged(Some(&anchor(&third))).await.expect("verified");
    assert_eq!(
        kinds(&verified),
        ["ChainStarted", "Canary", "ExceptionExpired"]
    );
    assert!(verified.anchored);

    // A new process carries on, from an anchor of any age, or from none.
    for known in [Some(&first), Some(&third), None] {
        let next = place.log();
        next.append(known, &[canary(Class::OutsideName)], now)
            .await
            .expect("an entry");
    }
    let sixth = place
        .judged(Some(&anchor(&third)))
        .await
        .expect("verified")
        .last;
    assert_eq!(sixth.sequence, 6);

    // Another key says so; who verifies must know it.
    let rotated = place
        .log_with_key(2)
        .append(Some(&third), &[canary(Class::OutsideName)], now)
        .await
        .expect("with a new key");
    assert_eq!(rotated.sequence, 8);
    assert_eq!(rotated.key_id, public(2).id().to_string());
    let unknown = place
        .judged(None)
        .await
        .expect_err("nobody vouches for the new key");
    assert_eq!(words(&unknown), ["UnknownKey", "UnknownKey"]);
    let by_anchor = place
        .judged(Some(&anchor(&rotated)))
        .await
        .expect("the anchor does");
    assert_eq!(kinds(&by_anchor)[6..], ["KeyRotated", "Canary"]);
}

#[tokio::test]
async fn many_writers_at_once_write_one_chain() {
    const WRITERS: u8 = 4;
    const ENTRIES: u8 = 12;
    let place = Place::new().await;
    let now = Timestamp::now();
    // All begin each round at once, three of four with an end that is no longer the end.
    let round = tokio::sync::Barrier::new(usize::from(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let log = place.log();
        let round = &round;
        async move {
            let mut known = None;
            for entry in 0..ENTRIES {
                round.wait().await;
                // Which writer wrote which entry is in the expiry.
                let expires =
                    now + SignedDuration::from_secs(i64::from(writer) * 100 + i64::from(entry));
                let end = log
                    .append(known.as_ref(), &[expired(writer + 1, expires)], now)
                    .await
                    .expect("an entry");
                known = Some(end);
            }
        }
    });
    futures::future::join_all(writers).await;
    let verified = place.judged(None).await.expect("one chain");
    assert_eq!(verified.records.len(), usize::from(WRITERS * ENTRIES) + 1);
    // Each entry once, and each writer's in its own order.
    let mut changes = 0;
    let mut next = [0_u8; WRITERS as usize];
    let mut before = None;
    for record in &verified.records {
        if let Entry::ExceptionExpired { channel, .. } = record.entry {
            next[usize::from(u8::from(channel) - 1)] += 1;
            changes += usize::from(before.replace(channel) != Some(channel));
        }
    }
    assert_eq!(next, [ENTRIES; WRITERS as usize]);
    println!(
        "{} records of {WRITERS} writers, {changes} changes of writer",
        verified.records.len()
    );
    assert!(
        changes > usize::from(ENTRIES),
        "they did not meet, so the race was not tried"
    );
}

#[tokio::test]
async fn a_record_cannot_be_removed_and_whatever_covers_it_is_seen() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let log = place.log();
    let entries = [canary(Class::OtherNode), canary(Class::OutsideAddress)];
    let end = log
        .append(None, &entries, now)
        .await
        .expect("three records");
    let before = place.records().await;

    let (user, secret) = place.root();
    let root = place.client(user, secret);
    let key = object_key(2);
    let listing = root
        .list_object_versions()
        .bucket(EVIDENCE_BUCKET)
        .prefix(&key);
    let versions = listing.send().await.expect("a listing");
    let version = versions.versions()[0]
        .version_id()
        .expect("an id")
        .to_owned();

    // Not even root, with every bypass that S3 has.
    let delete = || {
        root.delete_object()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .version_id(&version)
    };
    let sooner = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .retain_until_date(DateTime::from_secs(now.as_second() + 60))
        .build();
    let retain = || {
        root.put_object_retention()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .version_id(&version)
            .retention(sooner.clone())
    };
    let put = || {
        root.put_object()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .body(ByteStream::from_static(b"{}"))
    };
    let refused = [
        outcome(delete().send().await),
        outcome(delete().bypass_governance_retention(true).send().await),
        outcome(retain().send().await),
        outcome(retain().bypass_governance_retention(true).send().await),
        outcome(root.delete_bucket().bucket(EVIDENCE_BUCKET).send().await),
        outcome(put().if_none_match("*").send().await),
    ];
    println!("{refused:?}");
    // It is the lock that refuses: without one, the same requests are granted.
    let free = root.put_object().bucket(EVIDENCE_BUCKET).key("free");
    let free = free.send().await.expect("an object without a lock");
    let free = free.version_id().expect("an id");
    let retain_free = root
        .put_object_retention()
        .bucket(EVIDENCE_BUCKET)
        .key("free")
        .version_id(free);
    let delete_free = || {
        root.delete_object()
            .bucket(EVIDENCE_BUCKET)
            .key("free")
            .version_id(free)
    };
    let granted = [
        outcome(retain_free.retention(sooner.clone()).send().await),
        outcome(delete_free().bypass_governance_retention(true).send().await),
    ];
    assert_eq!(granted, ["ok", "ok"]);
    assert!(refused.iter().all(|code| code != "ok"), "{refused:?}");
    assert_eq!(place.records().await, before);

    // The store's other users get nothing of it.
    for (user, secret) in [
        (BACKUP_USER, "secret of pgbackrest"),
        ("patient-api", "secret of patient-api"),
    ] {
        let other = place.client(user, secret);
        let found = [
            outcome(other.list_objects_v2().bucket(EVIDENCE_BUCKET).send().await),
            outcome(
                other
                    .get_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(&key)
                    .send()
                    .await,
            ),
            outcome(
                other
                    .delete_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(&key)
                    .send()
                    .await,
            ),
            outcome(
                other
                    .put_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(object_key(4))
                    .body(ByteStream::from_static(b"{}"))
                    .send()
                    .await,
            ),
        ];
        assert!(
            found.iter().all(|code| code == "AccessDenied"),
            "{user}: {found:?}"
        );
    }

    // Root can cover a record, which is seen, and the record is still read.
    assert_eq!(outcome(put().send().await), "ok");
    let covered = place.records().await;
    assert_eq!(
        (covered[1].versions, &covered[1].bytes),
        (2, &before[1].bytes)
    );
    let found = place
        .judged(Some(&anchor(&end)))
        .await
        .expect_err("written over");
    assert_eq!(words(&found), ["Overwritten"]);
    let last = object_key(3);
    let hidden = root.delete_object().bucket(EVIDENCE_BUCKET).key(&last);
    assert_eq!(outcome(hidden.send().await), "ok");
    let found = place
        .judged(Some(&anchor(&end)))
        .await
        .expect_err("and deleted");
    assert_eq!(words(&found), ["Overwritten", "Overwritten"]);

    // A writer that starts now neither takes the hidden end for free nor what covers a record for the record.
    let fourth = place
        .log()
        .append(None, &entries[..1], now)
        .await
        .expect("a fourth record");
    assert_eq!(fourth.sequence, 4);
    let found = place
        .judged(Some(&anchor(&fourth)))
        .await
        .expect_err("still two");
    assert_eq!(words(&found), ["Overwritten", "Overwritten"]);
}

#[tokio::test]
async fn a_writer_does_not_go_on_after_an_end_that_is_gone() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let end = place
        .log()
        .append(None, &[canary(Class::OtherNode)], now)
        .await
        .expect("two");
    let later = EvidenceStatus {
        sequence: 9,
        ..end.clone()
    };
    let other = EvidenceStatus {
        hash: "0".repeat(64),
        ..end.clone()
    };
    for known in [later, other] {
        let refused = place
            .log()
            .append(Some(&known), &[canary(Class::OtherNode)], now)
            .await
            .expect_err("the log is not the one that the status names");
        assert!(matches!(refused, EvidenceError::Broken { .. }), "{refused}");
    }
    assert_eq!(place.records().await.len(), 2, "nothing was written");

    // Nor where nothing can be reached: what was not recorded is told.
    let mut place = place;
    let log = place.log();
    place.server.stop();
    let error = log
        .append(Some(&end), &[canary(Class::OtherNode)], now)
        .await;
    let Err(EvidenceError::Store {
        written: 0,
        failure: ReadFailure::Unreachable,
        ..
    }) = error
    else {
        panic!("{error:?}");
    };
    place.server.resume().await;
    let mut tries = 0;
    let third = loop {
        match log
            .append(Some(&end), &[canary(Class::OtherNode)], now)
            .await
        {
            Ok(end) => break end,
            Err(_) if tries < 50 => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error:?}"),
        }
        tries += 1;
    };
    assert_eq!(third.sequence, 3);
}

#[tokio::test]
async fn clocks_that_differ_a_little_are_no_finding_and_one_rolled_back_is() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let append = |time| {
        let log = place.log();
        async move {
            log.append(None, &[canary(Class::OtherNode)], time)
                .await
                .expect("an entry")
        }
    };
    append(now).await;
    append(now - CLOCK_TOLERANCE).await;
    let verified = place
        .judged(None)
        .await
        .expect("the clocks of two replicas");
    let times: Vec<i64> = verified
        .records
        .iter()
        .map(|record| record.time.as_second())
        .collect();
    assert_eq!(times, [now.as_second(); 3]);
    append(now - CLOCK_TOLERANCE - SignedDuration::from_secs(1)).await;
    let found = place.judged(None).await.expect_err("rolled back");
    assert_eq!(words(&found), ["ClockRolledBack"]);
    assert!(
        found[0].to_string().contains(&object_key(4)),
        "{}",
        found[0]
    );
}
