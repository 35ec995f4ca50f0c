//! The object store in the model: what a plan of one or several servers becomes, which specs are refused, and that
//! steps lead from nothing to nothing left to do and back from each drift. Plans in, values out; no I/O.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on must end, and a table is read in one piece"
)]

mod fixture;

use std::collections::BTreeSet;

use bailiwick_model::desired::object_store::manifests;
use bailiwick_model::desired::secret_component;
use bailiwick_model::facts::{Facts, Observed, PodFact, ReadFailure};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::plan::Plan;
use bailiwick_model::region::{Access, Grant, ObjectRetention, Reclaim, Region, RetentionMode};
use bailiwick_model::repository::{Difference, MARKER, Marker};
use bailiwick_model::secret::Contents;
use bailiwick_model::status::{Outcome, status};
use bailiwick_model::step::{self, Subject};
use bailiwick_model::store::{
    BACKUP_NONCURRENT_DAYS, BucketFact, BucketOutlet, DefaultRetention, Drift, Encryption,
    Lifecycle, Outlet, StoreFacts, StoreStep, UserFact, Versioning, canonical, drift, policy,
    policy_name, retained, steps,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use fixture::store::apply;

/// Buckets of each kind and users of each access.
fn region() -> Region {
    fixture::tr_with(
        "
spec:
  objectStore:
    buckets:
      - name: documents
        quota: 1Gi
        noncurrentRetentionDays: 30
      - name: images
        objectLock: true
        reclaim: Delete
      - name: scratch
        versioning: false
    users:
      - name: patient-api
        grants: [{bucket: documents, access: ReadWrite}]
      - name: auditor
        grants: [{bucket: documents, access: ReadOnly}]
",
    )
}

/// What the store says before anything is made.
fn nothing() -> StoreFacts {
    StoreFacts {
        region: "tr-ist-1".to_owned(),
        encrypts: true,
        ..StoreFacts::default()
    }
}

/// The store once all steps from nothing are done.
fn made(plan: &Plan) -> StoreFacts {
    let mut facts = nothing();
    for step in steps(plan, &facts.clone()) {
        apply(&mut facts, &step);
    }
    facts
}

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

fn bucket<'a>(facts: &'a mut StoreFacts, name: &str) -> &'a mut BucketFact {
    facts.buckets.get_mut(name).expect("the bucket is there")
}

fn user<'a>(facts: &'a mut StoreFacts, name: &str) -> &'a mut UserFact {
    facts.users.get_mut(name).expect("the user is there")
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

#[test]
fn who_writes_the_backups_may_not_write_their_marker() {
    let grants = |bucket: &str| {
        policy(&[Grant {
            bucket: bucket.to_owned(),
            access: Access::ReadWrite,
        }])
    };
    let denied = json!({
        "Effect": "Deny",
        "Action": ["s3:DeleteObject", "s3:PutObject"],
        "Resource": [format!("arn:aws:s3:::{BACKUP_BUCKET}/{MARKER}")],
    });
    let ours = grants(BACKUP_BUCKET);
    assert!(
        ours["Statement"]
            .as_array()
            .expect("statements")
            .contains(&denied),
        "{ours}"
    );
    // No other policy is another by it.
    assert!(!grants("documents").to_string().contains(MARKER));
}

/// Two buckets and a user that left, and the Secret of that user, as the status tells of them.
fn each_says_what_removes_it(plan: &Plan, store: &StoreFacts) {
    let mut facts = Facts {
        store: Observed::Seen(store.clone()),
        ..Facts::default()
    };
    let secret = plan.names.object_store_user("auditor");
    facts.left_over.insert(secret.clone(), "uid".to_owned());
    let told = step::retained(plan, &facts).object_store;
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
fn a_policy_grants_what_it_names_and_no_more() {
    let grants = [
        ("documents", Access::ReadWrite),
        ("images", Access::ReadOnly),
    ]
    .map(|(bucket, access)| Grant {
        bucket: bucket.to_owned(),
        access,
    });
    let document = policy(&grants);
    let statements = document["Statement"].as_array().expect("statements");
    assert_eq!(statements.len(), 6);
    for statement in statements {
        let actions = statement["Action"].to_string();
        assert!(!actions.contains('*'), "{actions}");
        if statement["Effect"] == "Allow" {
            for resource in statement["Resource"].as_array().expect("resources") {
                let resource = resource.as_str().expect("text");
                assert!(
                    resource.starts_with("arn:aws:s3:::documents")
                        || resource.starts_with("arn:aws:s3:::images"),
                    "{resource}"
                );
            }
        }
        if statement["Resource"].to_string().contains("images/*") {
            assert_eq!(
                statement["Action"],
                json!([
                    "s3:GetObject",
                    "s3:GetObjectRetention",
                    "s3:GetObjectTagging"
                ])
            );
        }
    }
    let denied = &statements[5];
    assert_eq!(denied["Effect"], "Deny");
    assert_eq!(
        denied["Action"],
        json!(["s3:BypassGovernanceRetention", "s3:DeleteObjectVersion"])
    );
}

/// The actions that a policy allows on a resource.
fn allowed(document: &Value, resource: &str) -> BTreeSet<String> {
    let statements = document["Statement"].as_array().expect("statements");
    statements
        .iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .filter(|statement| {
            let resources = statement["Resource"].as_array().expect("resources");
            resources.contains(&json!(resource))
        })
        .flat_map(|statement| statement["Action"].as_array().expect("actions"))
        .map(|action| action.as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn whoever_writes_may_ask_what_clients_ask_along_with_it() {
    let grant = |bucket: &str, access| {
        policy(&[Grant {
            bucket: bucket.to_owned(),
            access,
        }])
    };
    let writer = grant("documents", Access::ReadWrite);
    let of_bucket = allowed(&writer, "arn:aws:s3:::documents");
    let of_objects = allowed(&writer, "arn:aws:s3:::documents/*");
    for action in ["GetBucketVersioning", "ListBucketMultipartUploads"] {
        assert!(of_bucket.contains(&format!("s3:{action}")), "{action}");
    }
    for action in ["GetObjectTagging", "PutObjectTagging", "PutObjectRetention"] {
        assert!(of_objects.contains(&format!("s3:{action}")), "{action}");
    }
    let reader = grant("documents", Access::ReadOnly);
    for resource in ["arn:aws:s3:::documents", "arn:aws:s3:::documents/*"] {
        for action in allowed(&reader, resource) {
            assert!(
                action.starts_with("s3:Get") || action == "s3:ListBucket",
                "{action}"
            );
        }
    }
    // Whoever may lock the archive could keep it from ever being thinned out.
    let archive = grant(BACKUP_BUCKET, Access::ReadWrite);
    let of_archive = allowed(&archive, &format!("arn:aws:s3:::{BACKUP_BUCKET}/*"));
    assert!(of_archive.contains("s3:PutObject"));
    assert!(!of_archive.contains("s3:PutObjectRetention"));
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

#[test]
fn documents_that_mean_the_same_are_equal() {
    let ours = policy(&[Grant {
        bucket: "documents".to_owned(),
        access: Access::ReadOnly,
    }]);
    let mut other: Value = ours.clone();
    other["ID"] = json!("");
    other["Statement"][0]["Action"] = json!([
        "s3:ListBucket",
        "s3:GetBucketVersioning",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketLocation",
    ]);
    other["Statement"][0]["Resource"] = json!("arn:aws:s3:::documents");
    assert_ne!(other, ours);
    assert_eq!(canonical(other), ours);
    assert_eq!(canonical(ours.clone()), ours);
    let single = json!({"Statement": {"Action": "s3:GetObject"}});
    assert_eq!(
        canonical(single),
        json!({"Statement": [{"Action": ["s3:GetObject"]}]})
    );
}

#[test]
fn one_server_and_several_become_a_stateful_set() {
    let one = fixture::planned(&fixture::tr());
    insta::assert_yaml_snapshot!("one_server", objects(&one));
    let four = fixture::planned(&fixture::tr_with(
        "spec: {objectStore: {servers: 4, volumesPerServer: 2}}",
    ));
    let arguments = |plan: &Plan| {
        let set = objects(plan).pop().expect("the StatefulSet");
        set["spec"]["template"]["spec"]["containers"][0]["args"][5].clone()
    };
    assert_eq!(arguments(&one), json!("/data0"));
    assert_eq!(
        arguments(&four),
        json!("https://tr-s3-{0...3}.tr-s3-peers.tr.svc:9000/data{0...1}")
    );
    let single = fixture::planned(&fixture::tr_with(
        "spec: {objectStore: {servers: 1, volumesPerServer: 4}}",
    ));
    assert_eq!(arguments(&single), json!("/data{0...3}"));
    let set = objects(&four).pop().expect("the StatefulSet");
    assert_eq!(set["spec"]["replicas"], json!(4));
    assert_eq!(
        set["spec"]["volumeClaimTemplates"].as_array().map(Vec::len),
        Some(2)
    );

    let asleep = fixture::planned(&fixture::tr_with("spec: {lifecycle: {hibernated: true}}"));
    let set = objects(&asleep).pop().expect("the StatefulSet");
    assert_eq!(set["spec"]["replicas"], json!(0));
}

#[test]
fn it_sleeps_once_the_last_member_has_written_its_wal() {
    let region = fixture::tr_with("spec: {lifecycle: {hibernated: true}}");
    let ending = PodFact {
        terminating: true,
        ..PodFact::default()
    };
    for (pods, servers) in [
        (vec!["tr-pg-0", "tr-pg-1"], 1),
        (vec!["tr-pg-1"], 1),
        (vec!["tr-s3-0"], 0),
    ] {
        let mut facts = fixture::facts(&region);
        for pod in &pods {
            facts.pods.live.insert((*pod).to_owned(), ending.clone());
        }
        let plan = bailiwick_model::plan::plan(&region, &fixture::platform(), &facts)
            .expect("the Region is accepted");
        let set = objects(&plan).pop().expect("the StatefulSet");
        assert_eq!(set["spec"]["replicas"], json!(servers), "{pods:?}");
    }
}

fn objects(plan: &Plan) -> Vec<Value> {
    manifests(plan)
        .iter()
        .map(|manifest| serde_json::to_value(&manifest.object).expect("an object"))
        .collect()
}

#[test]
fn a_secret_is_of_the_component_that_asks_for_it_whatever_the_region_is_called() {
    let mut region = region();
    region.metadata.name = Some("tr-s3-pg-role".to_owned());
    let plan = fixture::planned(&region);
    let mut counts = [0, 0];
    for secret in &plan.secrets {
        let own = secret
            .name
            .strip_prefix("tr-s3-pg-role-")
            .expect("its name");
        let (expected, index) = if own.starts_with("s3-") {
            ("object-store", 0)
        } else {
            ("postgres", 1)
        };
        assert_eq!(secret_component(&plan, &secret.name), expected, "{own}");
        counts[index] += 1;
    }
    assert!(counts[0] > 5 && counts[1] > 5, "{counts:?}");
}

#[test]
fn each_server_has_its_name_in_the_certificate() {
    let plan = fixture::planned(&fixture::tr_with("spec: {objectStore: {servers: 4}}"));
    let name = plan.names.object_store_certificate();
    let secret = plan.secrets.iter().find(|secret| secret.name == name);
    let Some(Contents::Certificate { dns_names, .. }) = secret.map(|secret| &secret.contents)
    else {
        panic!("{secret:?} is no certificate");
    };
    for expected in [
        "tr-s3.tr.svc",
        "tr-s3-0.tr-s3-peers.tr.svc",
        "tr-s3-3.tr-s3-peers.tr.svc",
    ] {
        assert!(dns_names.iter().any(|name| name == expected), "{expected}");
    }
    let names: BTreeSet<&String> = plan.secrets.iter().map(|secret| &secret.name).collect();
    assert_eq!(
        names.len(),
        plan.secrets.len(),
        "a Secret is described twice"
    );
}

#[test]
fn each_bad_spec_is_refused_with_its_field() {
    let buckets = |list: &str| format!("spec: {{objectStore: {{buckets: {list}}}}}");
    let users = |list: &str| format!("spec: {{objectStore: {{users: {list}}}}}");
    let cases = [
        ("spec: {objectStore: {servers: 2}}".to_owned(), "servers"),
        ("spec: {objectStore: {servers: 17}}".to_owned(), "servers"),
        ("spec: {objectStore: {servers: 0}}".to_owned(), "servers"),
        (
            "spec: {objectStore: {volumesPerServer: 3}}".to_owned(),
            "servers",
        ),
        (
            "spec: {objectStore: {volume: {size: 0Gi}}}".to_owned(),
            "volume.size",
        ),
        (
            "spec: {objectStore: {volume: {size: ten}}}".to_owned(),
            "volume.size",
        ),
        (
            "spec: {objectStore: {resources: {memory: 1XB}}}".to_owned(),
            "resources.memory",
        ),
        (
            "spec: {objectStore: {resources: {cpu: '-1'}}}".to_owned(),
            "resources.cpu",
        ),
        (
            buckets("[{name: documents}, {name: documents}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: Images}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: a.b}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: -ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: xn--ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: minio}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: bailiwick-backup}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents, quota: lots}]"),
            "buckets[0].quota",
        ),
        (
            buckets("[{name: documents, versioning: false, objectLock: true}]"),
            "buckets[0].objectLock",
        ),
        (
            buckets("[{name: documents, noncurrentRetentionDays: 0}]"),
            "buckets[0].noncurrentRetentionDays",
        ),
        (
            buckets("[{name: documents, versioning: false, noncurrentRetentionDays: 3}]"),
            "buckets[0].noncurrentRetentionDays",
        ),
        (
            users("[{name: api, grants: [{bucket: other, access: ReadOnly}]}]"),
            "users[0].grants[0].bucket",
        ),
        (
            users("[{name: api, grants: [{bucket: bailiwick-backup, access: ReadOnly}]}]"),
            "users[0].grants[0].bucket",
        ),
        (
            users(
                "[{name: api, grants: [{bucket: documents, access: ReadOnly}, \
                 {bucket: documents, access: ReadWrite}]}]",
            ),
            "users[0].grants[1].bucket",
        ),
        (users("[{name: api, grants: []}]"), "users[0].grants"),
        (
            users("[{name: pgbackrest, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users("[{name: evidence-auditor, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users("[{name: Api, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users(
                "[{name: api, grants: [{bucket: documents, access: ReadOnly}]}, \
                 {name: api, grants: [{bucket: documents, access: ReadOnly}]}]",
            ),
            "users[1].name",
        ),
    ];
    for (edit, field) in cases {
        let violations = fixture::refused(&fixture::tr_with(&edit));
        let fields: Vec<&str> = violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [format!("spec.objectStore.{field}")],
            "{edit}: {violations:?}"
        );
    }
}

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
