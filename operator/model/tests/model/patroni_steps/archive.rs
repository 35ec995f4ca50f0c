//! When the archive is made, and what its Jobs came to.

use bailiwick_model::facts::store::{BucketFact, StoreFacts, UserFact};
use bailiwick_model::facts::{Facts, JobFact, Observed, PodFact};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::patroni::{job_result, steps};
use bailiwick_model::step::Step;
use bailiwick_model::store;
use jiff::Timestamp;
use serde_json::json;

use super::{Cluster, Phase, plan_of};

/// The kind and name of what a step creates.
fn created(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Create(manifest) => Some(manifest.id()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_archive_is_made_once_the_store_and_a_primary_are_there() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0);
    let plan = &cluster.plan;
    let mut facts = cluster.facts();
    assert_eq!(steps(plan, &facts), [], "the store was not seen");
    facts.store = Observed::Seen(store_with_archive());
    assert_eq!(created(&steps(plan, &facts)), ["Job/tr-pg-stanza-i1"]);

    let running = JobFact {
        uid: "stanza-1".to_owned(),
        ..JobFact::default()
    };
    facts
        .jobs
        .insert("tr-pg-stanza-i1".to_owned(), running.clone());
    assert_eq!(steps(plan, &facts), [], "it runs");

    let ended: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
    let failed = JobFact {
        failed: true,
        ended: Some(ended),
        ..running.clone()
    };
    facts.jobs.insert("tr-pg-stanza-i1".to_owned(), failed);
    facts.now = "2026-11-21T08:00:59Z".parse().expect("a time");
    assert_eq!(steps(plan, &facts), [], "too early to try again");
    facts.now = "2026-11-21T08:01:00Z".parse().expect("a time");
    assert_eq!(
        steps(plan, &facts),
        [Step::DeleteJob {
            name: "tr-pg-stanza-i1".to_owned(),
            uid: "stanza-1".to_owned()
        }]
    );

    let done = JobFact {
        succeeded: true,
        ended: Some(ended),
        ..running
    };
    facts
        .jobs
        .insert("tr-pg-stanza-i1".to_owned(), done.clone());
    assert_eq!(created(&steps(plan, &facts)), ["Job/tr-pg-first-backup-i1"]);
    facts.jobs.insert("tr-pg-first-backup-i1".to_owned(), done);
    assert_eq!(steps(plan, &facts), [], "all done");

    let no_primary = Cluster::of(plan.clone(), 0).phase(0, Phase::Starting(1));
    let mut facts = no_primary.facts();
    facts.store = Observed::Seen(store_with_archive());
    assert_eq!(
        created(&steps(plan, &facts)),
        [""; 0],
        "without a primary there is nothing to archive"
    );
}

/// A store that is ready to take WAL.
fn store_with_archive() -> StoreFacts {
    let policy = store::policy_name(BACKUP_USER);
    StoreFacts {
        encrypts: true,
        buckets: [(BACKUP_BUCKET.to_owned(), BucketFact::default())].into(),
        policies: [(policy.clone(), json!({}))].into(),
        users: [(
            BACKUP_USER.to_owned(),
            UserFact {
                enabled: true,
                key_current: true,
                policies: [policy].into(),
                ..UserFact::default()
            },
        )]
        .into(),
        ..StoreFacts::default()
    }
}

#[test]
fn the_archive_waits_for_its_bucket_and_its_user() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0);
    let edits: [fn(&mut StoreFacts); 6] = [
        |store| store.encrypts = false,
        |store| store.buckets.clear(),
        |store| store.policies.clear(),
        |store| store.users.clear(),
        |store| {
            for user in store.users.values_mut() {
                user.enabled = false;
            }
        },
        |store| {
            for user in store.users.values_mut() {
                user.key_current = false;
            }
        },
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let mut store = store_with_archive();
        edit(&mut store);
        let mut facts = cluster.facts();
        facts.store = Observed::Seen(store);
        assert_eq!(steps(&cluster.plan, &facts), [], "edit {index}");
    }
}

#[test]
fn a_jobs_result_is_that_of_its_own_pod() {
    let mut facts = Facts::default();
    let pod = |job: &str, message: Option<&str>| PodFact {
        labels: [("batch.kubernetes.io/job-name".to_owned(), job.to_owned())].into(),
        termination_message: message.map(str::to_owned),
        ..PodFact::default()
    };
    facts.pods.live.insert(
        "a".to_owned(),
        pod("other", Some(r#"{"state": "Failed", "reason": "Timeout"}"#)),
    );
    facts.pods.live.insert("b".to_owned(), pod("stanza", None));
    assert_eq!(job_result(&facts, "stanza"), None);
    facts.pods.live.insert(
        "c".to_owned(),
        pod(
            "stanza",
            Some(r#"{"state": "Succeeded", "stanza": "tr-i1"}"#),
        ),
    );
    assert_eq!(
        job_result(&facts, "stanza").map(|it| it.stanza),
        Some("tr-i1".to_owned())
    );
}

#[test]
fn a_jobs_result_is_that_of_the_pod_that_ended_last_whatever_its_name() {
    let of = |names: [&str; 2]| {
        let pod = |ended: &str, message: &str| PodFact {
            labels: [(
                "batch.kubernetes.io/job-name".to_owned(),
                "stanza".to_owned(),
            )]
            .into(),
            termination_message: Some(message.to_owned()),
            ended: ended.parse().ok(),
            ..PodFact::default()
        };
        let mut facts = Facts::default();
        let failed = pod(
            "2026-11-21T08:00:00Z",
            r#"{"state": "Failed", "reason": "Timeout", "stanza": "tr-i1"}"#,
        );
        let succeeded = pod(
            "2026-11-21T08:01:00Z",
            r#"{"state": "Succeeded", "stanza": "tr-i2"}"#,
        );
        facts.pods.live.insert(names[0].to_owned(), failed);
        facts.pods.live.insert(names[1].to_owned(), succeeded);
        job_result(&facts, "stanza").map(|it| it.stanza)
    };
    for names in [["stanza-a", "stanza-z"], ["stanza-z", "stanza-a"]] {
        assert_eq!(of(names), Some("tr-i2".to_owned()), "{names:?}");
    }
}
