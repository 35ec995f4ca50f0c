//! What the object store has that is read back: outlets, the marker and the newest WAL of the repository.

use bailiwick_api::region::ChannelState;
use bailiwick_model::facts::repository::{Difference, Marker};
use bailiwick_model::facts::store::BucketOutlet;
use bailiwick_model::facts::{Observed, ReadFailure};
use bailiwick_model::repository::MARKER;

use super::channel;
use crate::support::harness::Harness;
use crate::support::journal::{Call, Fault};

#[tokio::test]

async fn what_stood_open_is_told_of_although_the_same_look_shuts_it() {
    let mut harness = Harness::running().await;
    assert_eq!(channel(&harness, "21"), (ChannelState::Enforced, None));
    harness.world.change("tr", |data| {
        let bucket = data.store.buckets.get_mut("documents").unwrap();
        bucket.outlets.insert(BucketOutlet::Policy);
    });
    let look = harness.look().await;
    look.result.unwrap();
    assert!(
        harness.world.of("tr").store.buckets["documents"]
            .outlets
            .is_empty()
    );
    let (state, finding) = channel(&harness, "21");
    assert_eq!(state, ChannelState::Unknown);
    assert!(finding.unwrap().contains("the policy"));
    harness.settle().await;
    assert_eq!(channel(&harness, "21"), (ChannelState::Enforced, None));
}

#[tokio::test]
async fn a_marker_that_is_missing_is_put_and_one_that_is_anothers_is_told_of() {
    let mut harness = Harness::running().await;
    let marker = |harness: &Harness| harness.world.of("tr").store.marker;
    let set = |harness: &Harness, marker: Observed<Marker>| {
        harness
            .world
            .change("tr", |data| data.store.marker = marker);
    };
    assert_eq!(marker(&harness), Observed::Seen(Marker::Ours));
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    let before = harness.condition("ResidencyEnforced").0;
    assert_ne!(before, "False");

    set(&harness, Observed::Seen(Marker::Missing));
    harness.settle().await;
    assert_eq!(marker(&harness), Observed::Seen(Marker::Ours));
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    let puts = |harness: &Harness| {
        let calls = harness.journal.take();
        let put = |call: &&Call| call.to_string().contains(MARKER);
        calls.iter().filter(put).count()
    };
    assert_eq!(puts(&harness), 1);

    let foreign = Observed::Seen(Marker::Foreign(Difference::Region));
    set(&harness, foreign.clone());
    harness.look().await.result.unwrap();
    let (state, finding) = channel(&harness, "17");
    assert_eq!(state, ChannelState::Unknown);
    assert!(finding.unwrap().contains("names another Region"));
    let (enforced, reason, _) = harness.condition("ResidencyEnforced");
    assert_eq!(
        (enforced.as_str(), reason.as_str()),
        ("False", "ChannelOpen")
    );
    assert_eq!(harness.condition("BackupsResident").0, "False");
    assert_eq!(harness.condition("ObjectStoreContained").0, "True");
    assert_eq!(harness.condition("Quarantined").0, "False");
    assert_eq!(puts(&harness), 0);
    assert_eq!(marker(&harness), foreign);

    // What is not read is not missing, and no more is known to stand open.
    set(&harness, Observed::Failed(ReadFailure::TimedOut.into()));
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(puts(&harness), 0);

    // Once it is out of the way, the Region's own comes back.
    set(&harness, Observed::Seen(Marker::Missing));
    harness.settle().await;
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    assert_eq!(harness.condition("ResidencyEnforced").0, before);
}

#[tokio::test]
async fn the_newest_wal_is_looked_for_in_the_repository_and_not_with_each_look() {
    let mut harness = Harness::running().await;
    let key = "tr/archive/tr-i1/17-1/0000000100000000/000000010000000000000003-";
    assert_eq!(harness.world.of("tr").looked_for, [key]);
    let last = |harness: &Harness, name: Option<&str>| {
        harness.world.change("tr", |data| {
            data.postgres.archiver.last_archived = name.map(str::to_owned);
        });
    };
    // More WAL, or a member that leads now and has archived none, is no reason to look again so soon.
    for name in [Some("000000010000000000000004"), None] {
        last(&harness, name);
        harness.look().await.result.unwrap();
        assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    }
    assert_eq!(harness.world.of("tr").looked_for, [key]);

    // An operator that starts while no WAL was archived does not know.
    harness.crash();
    harness.settle().await;
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(harness.world.of("tr").looked_for, [key]);

    // What arrives elsewhere is told of, and looked for until it arrives.
    last(&harness, Some("000000010000000000000005"));
    harness
        .world
        .change("tr", |data| data.archives_elsewhere = true);
    for looked in 2..4 {
        harness.look().await.result.unwrap();
        let (state, finding) = channel(&harness, "17");
        assert_eq!(state, ChannelState::Unknown);
        assert!(finding.unwrap().contains("may write elsewhere"));
        assert_eq!(harness.world.of("tr").looked_for.len(), looked);
    }
    assert_eq!(harness.condition("BackupsResident").0, "False");
    assert_eq!(harness.condition("Quarantined").0, "False");

    // What is not read is not missing.
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.resource == "archived file");
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    harness.journal.heal();
    harness
        .world
        .change("tr", |data| data.archives_elsewhere = false);
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));

    // Of a store that is not read nobody asks for WAL.
    let looked = harness.world.of("tr").looked_for.len();
    harness.crash();
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.resource == "object store");
    for _ in 0..3 {
        harness.look().await.result.unwrap();
    }
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(harness.world.of("tr").looked_for.len(), looked);
}
