//! What the status says of a store that cannot be repaired.

use bailiwick_model::facts::store::{Outlet, StoreFacts};
use bailiwick_model::facts::{Facts, Observed, ReadFailure};
use bailiwick_model::names::BACKUP_BUCKET;
use bailiwick_model::outcome::Outcome;
use bailiwick_model::status::status;
use jiff::Timestamp;

use super::{bucket, made, region};
use crate::fixture;

#[test]

fn what_cannot_be_repaired_stands_in_the_status() {
    let region = region();
    let plan = fixture::planned(&region);
    let conditions = |store: Observed<StoreFacts>| {
        let facts = Facts {
            store,
            patroni: Observed::Seen(fixture::members(&region)),
            ..fixture::facts(&region)
        };
        let applied = fixture::applied(&plan, &facts);
        let status = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
        ["ObjectStoreContained", "Degraded"].map(|type_| {
            let mut found = status.conditions.iter();
            let condition = found.find(|condition| condition.type_ == type_);
            let condition = condition.expect("the condition is set");
            (
                condition.status.clone(),
                condition.reason.clone(),
                condition.message.clone(),
            )
        })
    };
    let whole = made(&plan);
    let [contained, degraded] = conditions(Observed::Seen(whole.clone()));
    assert_eq!((&*contained.0, &*contained.1), ("True", "Contained"));
    assert_ne!(degraded.1, "ObjectStoreDrifted");

    let [contained, _] = conditions(Observed::Failed(ReadFailure::TimedOut.into()));
    assert_eq!((&*contained.0, &*contained.1), ("Unknown", "NotRead"));

    let mut locked = whole.clone();
    bucket(&mut locked, BACKUP_BUCKET).object_lock = false;
    let [contained, degraded] = conditions(Observed::Seen(locked));
    assert_eq!(contained.0, "True", "no data leaves by it");
    assert_eq!((&*degraded.0, &*degraded.1), ("True", "ObjectStoreDrifted"));
    assert!(degraded.2.contains(BACKUP_BUCKET), "{}", degraded.2);

    let mut leaking = whole;
    leaking.outlets = ["A", "B", "C", "D", "E"]
        .map(|tier| Outlet::Tier(tier.to_owned()))
        .into();
    let [contained, degraded] = conditions(Observed::Seen(leaking));
    assert_eq!((&*contained.0, &*contained.1), ("False", "LeadsOut"));
    assert!(contained.2.contains("remote tier C"), "{}", contained.2);
    assert!(contained.2.ends_with("; and 2 more."), "{}", contained.2);
    assert_eq!(degraded.1, "ObjectStoreDrifted");
}
