//! From nothing, after a crash, and back from each drift: which steps there are, and which there are not.

use std::collections::BTreeSet;

use bailiwick_api::region::{ObjectRetention, Reclaim, RetentionMode};
use bailiwick_model::facts::repository::{Difference, Marker};
use bailiwick_model::facts::store::{
    BucketFact, BucketOutlet, DefaultRetention, Encryption, Lifecycle, Outlet, StoreFacts,
    Versioning,
};
use bailiwick_model::facts::{Facts, Observed, ReadFailure};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::plan::Plan;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::{BACKUP_NONCURRENT_DAYS, Drift, drift, policy_name, retained, steps};
use bailiwick_model::subject::Subject;
use serde_json::json;

use super::{bucket, made, nothing, region, user};
use crate::fixture;
use crate::fixture::store::apply;

#[test]

fn from_nothing_all_steps_lead_to_none() {
    let plan = fixture::planned(&region());
    let facts = made(&plan);
    assert_eq!(steps(&plan, &facts), []);
    assert_eq!(drift(&plan, &facts), []);
    assert_eq!(retained(&plan, &facts), Vec::<String>::new());

    let backup = &facts.buckets[BACKUP_BUCKET];
    assert_eq!(backup.versioning, Versioning::Enabled);
    assert!(backup.object_lock);
    assert_eq!(
        backup.lifecycle,
        Lifecycle::Noncurrent(BACKUP_NONCURRENT_DAYS)
    );
    assert_eq!(facts.buckets["documents"].quota, Some(1 << 30));
    assert_eq!(facts.buckets["scratch"].versioning, Versioning::Off);
    assert_eq!(facts.users.len(), 4);
}

#[test]
fn a_crash_between_any_two_steps_ends_the_same() {
    let plan = fixture::planned(&region());
    let whole = made(&plan);
    let all = steps(&plan, &nothing());
    assert!(all.len() > 20, "{} steps", all.len());
    for done in 0..all.len() {
        // The answer of the last one may be lost: it is done, and done again.
        let mut facts = nothing();
        for step in &all[..=done] {
            apply(&mut facts, step);
        }
        apply(&mut facts, &all[done]);
        for step in steps(&plan, &facts.clone()) {
            apply(&mut facts, &step);
        }
        assert_eq!(facts, whole, "after step {done}: {}", all[done]);
    }
}

#[test]
fn each_drift_is_repaired_by_its_own_steps_alone() {
    type Edit = fn(&mut StoreFacts);
    let plan = fixture::planned(&region());
    let whole = made(&plan);
    let cases: &[(&str, usize, Edit)] = &[
        ("bucket gone", 6, |facts| {
            facts.buckets.remove("documents");
        }),
        ("versioning suspended", 1, |facts| {
            bucket(facts, "documents").versioning = Versioning::Suspended;
        }),
        ("versioning switched on", 1, |facts| {
            bucket(facts, "scratch").versioning = Versioning::Enabled;
        }),
        ("lifecycle gone", 1, |facts| {
            bucket(facts, "documents").lifecycle = Lifecycle::Keeps;
        }),
        ("lifecycle of another", 1, |facts| {
            bucket(facts, "scratch").lifecycle = Lifecycle::Other;
        }),
        ("days changed", 1, |facts| {
            bucket(facts, BACKUP_BUCKET).lifecycle = Lifecycle::Noncurrent(1);
        }),
        ("quota gone", 1, |facts| {
            bucket(facts, "documents").quota = None;
        }),
        ("quota added", 1, |facts| {
            bucket(facts, BACKUP_BUCKET).quota = Some(1);
        }),
        ("encryption unset", 1, |facts| {
            bucket(facts, "documents").encryption = Encryption::Unset;
        }),
        ("encryption by another key", 1, |facts| {
            bucket(facts, "documents").encryption = Encryption::Other;
        }),
        ("locked by default", 1, |facts| {
            bucket(facts, BACKUP_BUCKET).default_retention = DefaultRetention::Other;
        }),
        ("tag gone", 1, |facts| {
            bucket(facts, "documents").reclaim = None;
        }),
        ("public", 1, |facts| {
            bucket(facts, "documents").outlets = [BucketOutlet::Policy].into();
        }),
        ("all outlets", 4, |facts| {
            bucket(facts, "documents").outlets = [
                BucketOutlet::Policy,
                BucketOutlet::Replication,
                BucketOutlet::Target("arn:minio:replication::1:there".to_owned()),
                BucketOutlet::Notification,
            ]
            .into();
        }),
        ("user gone", 2, |facts| {
            facts.users.remove("auditor");
        }),
        ("user disabled", 1, |facts| {
            user(facts, "auditor").enabled = false;
        }),
        ("another key", 1, |facts| {
            user(facts, "auditor").key_current = false;
        }),
        ("another policy", 1, |facts| {
            user(facts, BACKUP_USER)
                .policies
                .insert("consoleAdmin".to_owned());
        }),
        ("in a group", 1, |facts| {
            user(facts, "auditor").groups = ["admins".to_owned()].into();
        }),
        ("policy gone", 1, |facts| {
            facts.policies.remove(&policy_name("auditor"));
        }),
        ("policy widened", 1, |facts| {
            let document = facts.policies.get_mut(&policy_name("auditor"));
            document.expect("a policy")["Statement"][0]["Action"] = json!(["s3:*"]);
        }),
    ];
    for (name, expected, edit) in cases {
        let mut facts = whole.clone();
        edit(&mut facts);
        assert_ne!(facts, whole, "{name} changes nothing");
        let repair = steps(&plan, &facts);
        assert_eq!(repair.len(), *expected, "{name}: {repair:?}");
        for step in &repair {
            apply(&mut facts, step);
        }
        assert_eq!(steps(&plan, &facts), [], "{name}");
    }
}

#[test]
fn a_stranger_s_bucket_is_closed_but_not_changed() {
    let plan = fixture::planned(&region());
    let mut facts = made(&plan);
    let theirs = BucketFact {
        outlets: [BucketOutlet::Policy].into(),
        ..BucketFact::default()
    };
    facts.buckets.insert("theirs".to_owned(), theirs);
    assert_eq!(
        steps(&plan, &facts),
        [StoreStep::RemoveOutlet {
            bucket: "theirs".to_owned(),
            outlet: BucketOutlet::Policy,
        }]
    );
    assert_eq!(
        drift(&plan, &facts),
        [Drift::UnknownBucket {
            bucket: "theirs".to_owned()
        }]
    );
    assert_eq!(retained(&plan, &facts), Vec::<String>::new());
}

#[test]
fn what_cannot_be_repaired_is_reported_and_left_alone() {
    let plan = fixture::planned(&region());
    let whole = made(&plan);
    let cases: Vec<(StoreFacts, Drift, Option<u8>)> = vec![
        (
            StoreFacts {
                region: "us-east-1".to_owned(),
                ..whole.clone()
            },
            Drift::Region {
                seen: "us-east-1".to_owned(),
                expected: "tr-ist-1".to_owned(),
            },
            Some(17),
        ),
        (
            StoreFacts {
                encrypts: false,
                ..whole.clone()
            },
            Drift::Unencrypted,
            None,
        ),
        {
            let mut facts = whole.clone();
            bucket(&mut facts, BACKUP_BUCKET).object_lock = false;
            let bucket = BACKUP_BUCKET.to_owned();
            (facts, Drift::ObjectLockMissing { bucket }, None)
        },
        {
            // Versioning cannot be suspended under object lock, so no step tries to.
            let mut facts = whole.clone();
            bucket(&mut facts, "scratch").object_lock = true;
            bucket(&mut facts, "scratch").versioning = Versioning::Enabled;
            let bucket = "scratch".to_owned();
            (facts, Drift::ObjectLockUnwanted { bucket }, None)
        },
        (
            StoreFacts {
                marker: Observed::Seen(Marker::Foreign(Difference::Region)),
                ..whole.clone()
            },
            Drift::ForeignMarker {
                difference: Difference::Region,
                region: "tr".to_owned(),
            },
            Some(17),
        ),
    ];
    let outlets = [
        (Outlet::SiteReplication, 18),
        (Outlet::Tier("COLD".to_owned()), 19),
        (Outlet::IdentityProvider("ldap".to_owned()), 20),
        (Outlet::EventTarget("webhook".to_owned()), 20),
        (Outlet::LogTarget("audit".to_owned()), 20),
        (Outlet::Setting("MINIO_AUDIT_WEBHOOK".to_owned()), 20),
        (Outlet::User("mallory".to_owned()), 21),
    ]
    .map(|(outlet, channel)| {
        let facts = StoreFacts {
            outlets: [outlet.clone()].into(),
            ..whole.clone()
        };
        (facts, Drift::Outlet(outlet), Some(channel))
    });
    for (facts, expected, channel) in cases.into_iter().chain(outlets) {
        assert_eq!(drift(&plan, &facts), std::slice::from_ref(&expected));
        assert_eq!(expected.channel(), channel);
        assert_eq!(steps(&plan, &facts), [], "{expected}");
    }
}

#[test]
fn the_marker_is_put_where_it_is_known_to_be_missing_and_nowhere_else() {
    let plan = fixture::planned(&region());
    let whole = made(&plan);
    assert_eq!(whole.marker, Observed::Seen(Marker::Ours));
    let puts = |marker: Observed<Marker>| {
        let facts = StoreFacts {
            marker,
            ..whole.clone()
        };
        steps(&plan, &facts)
            .iter()
            .any(|step| matches!(step, StoreStep::PutMarker { .. }))
    };
    assert!(puts(Observed::Seen(Marker::Missing)));
    for marker in [
        Observed::Seen(Marker::Ours),
        Observed::Seen(Marker::Foreign(Difference::Key)),
        Observed::Failed(ReadFailure::TimedOut.into()),
        Observed::NotAsked,
    ] {
        assert!(!puts(marker.clone()), "{marker:?}");
    }
    // Nothing is written that would not be encrypted.
    let mut facts = nothing();
    facts.encrypts = false;
    assert!(
        !steps(&plan, &facts)
            .iter()
            .any(|step| matches!(step, StoreStep::PutMarker { .. }))
    );
    // The first thing that its user may not do is written down before it is there.
    let first = steps(&plan, &nothing());
    let at = |is: fn(&StoreStep) -> bool| first.iter().position(is).expect("it is done");
    assert!(
        at(|step| matches!(step, StoreStep::SetUserPolicy { user, .. } if user == BACKUP_USER))
            < at(|step| matches!(step, StoreStep::PutMarker { .. }))
    );
}

/// Two buckets and a user that left, and the Secret of that user, as the status tells of them.
fn each_says_what_removes_it(plan: &Plan, store: &StoreFacts) {
    let mut facts = Facts {
        store: Observed::Seen(store.clone()),
        ..Facts::default()
    };
    let secret = plan.names.object_store_user("auditor");
    facts.left_over.insert(secret.clone(), "uid".to_owned());
    let told = bailiwick_model::steps::retained(plan, &facts).object_store;
    let page = "see docs/how-to/remove-from-the-object-store.md)";
    let goes = "it goes once it is empty, of old versions too";
    for (item, how) in [
        (
            "bucket documents (",
            "`reclaim: Delete`, emptied and taken out again",
        ),
        ("bucket images (", goes),
        ("user auditor (", "remove-user?accessKey=auditor removes it"),
    ] {
        let mut of = told.iter().filter(|line| line.starts_with(item));
        let line = of.next().expect("it is told");
        assert!(line.contains(how) && line.ends_with(page), "{line}");
    }
    assert_eq!(
        told.last().expect("the Secret"),
        &format!("Secret {secret} (kubectl -n tr delete secret {secret} removes it)")
    );
    assert_eq!(told.len(), 6);
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/how-to/remove-from-the-object-store.md");
    assert!(page.is_file());
}

#[test]
fn what_leaves_the_spec_is_retained_unless_it_said_delete() {
    let mut facts = made(&fixture::planned(&region()));
    let left = fixture::tr_with("spec: {objectStore: {buckets: [], users: []}}");
    let plan = fixture::planned(&left);

    // An object in it is enough to keep a bucket.
    bucket(&mut facts, "images").empty = false;
    let disabled = |user: &str| StoreStep::SetUserEnabled {
        user: user.to_owned(),
        enabled: false,
    };
    let now = steps(&plan, &facts);
    assert_eq!(now, [disabled("auditor"), disabled("patient-api")]);
    for step in &now {
        apply(&mut facts, step);
    }
    assert_eq!(steps(&plan, &facts), []);
    assert_eq!(
        retained(&plan, &facts),
        [
            "bucket documents",
            "bucket images",
            "bucket scratch",
            "user auditor",
            "user patient-api"
        ]
    );
    assert_eq!(drift(&plan, &facts), []);
    each_says_what_removes_it(&plan, &facts);

    // Empty, the one that said Delete goes; the others stay, empty or not.
    bucket(&mut facts, "images").empty = true;
    assert_eq!(facts.buckets["images"].reclaim, Some(Reclaim::Delete));
    assert_eq!(
        steps(&plan, &facts),
        [StoreStep::DeleteBucket {
            bucket: "images".to_owned()
        }]
    );

    // What comes back is taken up as it was.
    let plan = fixture::planned(&region());
    for step in steps(&plan, &facts) {
        apply(&mut facts, &step);
    }
    assert_eq!(retained(&plan, &facts), Vec::<String>::new());
    assert!(facts.users["auditor"].enabled);
}

#[test]
fn a_default_retention_is_set_read_back_and_taken_away() {
    let with = |retention: &str| {
        fixture::planned(&fixture::tr_with(&format!(
            "spec: {{objectStore: {{buckets: [{{name: locked, objectLock: true{retention}}}], users: []}}}}"
        )))
    };
    let retained = |mode, days| ObjectRetention { mode, days };
    let mut facts = made(&with(""));
    let mut last = None;
    for (spec, wanted) in [
        (
            ", retention: {mode: Governance, days: 7}",
            Some(retained(RetentionMode::Governance, 7)),
        ),
        (
            ", retention: {mode: Compliance, days: 3}",
            Some(retained(RetentionMode::Compliance, 3)),
        ),
        ("", None),
    ] {
        assert_ne!(last, Some(wanted));
        let plan = with(spec);
        let due = steps(&plan, &facts);
        assert_eq!(
            due,
            [StoreStep::SetDefaultRetention {
                bucket: "locked".to_owned(),
                retention: wanted,
            }],
            "{spec}"
        );
        for step in &due {
            apply(&mut facts, step);
        }
        assert_eq!(steps(&plan, &facts), [], "{spec}");
        last = Some(wanted);
    }
}

#[test]
fn each_step_is_about_its_bucket_or_user_and_no_other() {
    let plan = fixture::planned(&region());
    let (mut buckets, mut users) = (BTreeSet::new(), BTreeSet::new());
    for step in steps(&plan, &nothing()) {
        let subjects = step.subjects();
        assert!(!subjects.is_empty(), "{step}");
        if !matches!(step, StoreStep::PutMarker { .. }) {
            assert_eq!(subjects.len(), 1, "{step}");
        }
        for subject in subjects {
            match subject {
                Subject::Bucket(name) => buckets.insert(name),
                Subject::StoreUser(name) => users.insert(name),
                other => panic!("{step} is about {other:?}"),
            };
        }
    }
    assert_eq!(
        (buckets.len(), users.len()),
        (5, 4),
        "{buckets:?} {users:?}"
    );
}
