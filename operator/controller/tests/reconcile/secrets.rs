//! Keys, logins and certificates.

use bailiwick_model::names::Names;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{changes, channel, encoded, key, tr_with};
use crate::support::fake_api::text;
use crate::support::harness::{Harness, LIFETIME_HOURS, USER, tr};

#[tokio::test]
async fn a_lost_key_with_volumes_is_said_and_never_minted_anew() {
    let names = Names::new("tr");
    for name in [
        names.authority(),
        names.postgres_internal(),
        names.backup_key(),
        names.object_store_key(),
    ] {
        let mut harness = Harness::running().await;
        harness.api.remove(&key("secrets", &name));
        harness.crash();
        harness.settle().await;
        let (status, reason, message) = harness.condition("Accepted");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "KeyMissing"),
            "{name}"
        );
        assert!(message.contains(&name), "{message}");
        assert_eq!(harness.api.get(&key("secrets", &name)), None);
        assert_eq!(
            changes(&harness.journal.take()),
            ["apply regions/status tr"]
        );
    }
}

#[tokio::test]
async fn a_lost_login_is_minted_anew_and_set_in_the_database() {
    let mut harness = Harness::running().await;
    let login = key(
        "secrets",
        &Names::new("tr").postgres_role("clinical_app_writer"),
    );
    let before = harness.api.get(&login).unwrap();
    harness.api.remove(&login);
    harness.crash();
    harness.settle().await;
    assert_ne!(
        harness.api.get(&login).unwrap()["data"]["password"],
        before["data"]["password"]
    );
    let steps: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.verb == "step")
        .map(|call| call.name.clone())
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].contains("clinical_app_writer"), "{steps:?}");
}

#[tokio::test]
async fn what_follows_from_an_edited_password_is_made_to_follow() {
    let mut harness = Harness::new();
    harness.apply(&tr_with(&[(
        "/spec/postgres/roles",
        json!([{"name": "reporting", "login": true, "database": "clinical"}]),
    )]));
    harness.settle().await;
    let login = key("secrets", "tr-pg-role-reporting");
    harness.api.edit(&login, USER, |secret| {
        secret["data"]["password"] = encoded("s3cret/with@signs");
    });
    // The operator looks at Secrets when it starts, and every five minutes.
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    let secret = harness.api.get(&login).unwrap();
    assert_eq!(secret["data"]["password"], encoded("s3cret/with@signs"));
    assert_eq!(
        secret["data"]["uri"],
        encoded(
            "postgresql://reporting:s3cret%2Fwith%40signs@tr-pg-rw.tr.svc:5432/clinical?sslmode=verify-full\
             &sslrootcert=/etc/bailiwick/postgres/ca.crt"
        )
    );
    let written = changes(&harness.journal.take());
    let replaced = written.iter().filter(|write| write.contains("secrets"));
    assert_eq!(replaced.count(), 1, "{written:?}");

    // An empty one is set nowhere, and is told of.
    harness.api.edit(&login, USER, |secret| {
        secret["data"]["password"] = encoded("");
    });
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "SecretValueMissing")
    );
    assert!(
        message.contains("tr-pg-role-reporting") && message.contains("key password"),
        "{message}"
    );
    let calls = harness.journal.take();
    assert!(
        calls.iter().all(|call| !call.name.contains("password")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn certificates_are_renewed_at_two_thirds_of_their_life_and_nothing_else_is() {
    let mut harness = Harness::running().await;
    let secrets = |harness: &Harness| harness.api.all("secrets", "tr");
    let renewed = |before: &[Value], after: &[Value]| -> Vec<String> {
        before
            .iter()
            .zip(after)
            .filter(|(before, after)| before["data"] != after["data"])
            .map(|(before, _)| text(before, "/metadata/name").to_owned())
            .collect()
    };
    let before = secrets(&harness);
    harness.now_is(SignedDuration::from_hours(LIFETIME_HOURS * 2 / 3 - 2));
    harness.settle().await;
    assert_eq!(renewed(&before, &secrets(&harness)), Vec::<String>::new());

    harness.journal.take();
    harness.now_is(SignedDuration::from_hours(LIFETIME_HOURS * 2 / 3 + 2));
    harness.settle().await;
    let names = Names::new("tr");
    assert_eq!(
        renewed(&before, &secrets(&harness)),
        [
            names.client_certificate(),
            names.postgres_certificate(),
            names.object_store_certificate()
        ]
    );
    let written = changes(&harness.journal.take());
    assert_eq!(
        written.len(),
        4,
        "three Secrets and the status: {written:#?}"
    );
    assert_eq!(harness.condition("CertificatesValid").0, "True");
}

#[tokio::test]
async fn the_first_status_speaks_of_the_certificates_that_its_look_made() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.look().await.result.unwrap();
    let (status, reason, message) = harness.condition("CertificatesValid");
    assert_eq!(status, "True", "{reason}: {message}");
    assert_eq!(harness.look().await.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_secret_that_may_be_copied_is_read_again_with_each_look() {
    let mut harness = Harness::running().await;
    let mark = |harness: &Harness, marks: Value| {
        harness
            .api
            .edit(&key("secrets", "tr-backup-key"), USER, |secret| {
                secret["metadata"]["annotations"] = marks;
            });
    };
    mark(
        &harness,
        json!({ "reflector.v1.k8s.emberstack.com/reflection-allowed": "true" }),
    );
    harness.crash();
    // It does not settle: that is the point.
    for _ in 0..5 {
        harness.look().await.result.unwrap();
    }
    let found = channel(&harness, "22").1.unwrap();
    assert!(found.contains("an annotation"), "{found}");
    mark(
        &harness,
        json!({ "argocd.argoproj.io/sync-options": "Prune=false,Delete=false" }),
    );
    harness.look().await.result.unwrap();
    assert!(
        channel(&harness, "22")
            .1
            .is_none_or(|found| !found.contains("an annotation"))
    );
}

#[tokio::test]
async fn whoever_deploys_from_git_prunes_no_secret() {
    let harness = Harness::running().await;
    let secrets = harness.api.all("secrets", "tr");
    assert!(secrets.len() >= 10, "only {} Secrets", secrets.len());
    for secret in secrets {
        assert_eq!(
            secret["metadata"]["annotations"]["argocd.argoproj.io/sync-options"],
            "Prune=false,Delete=false",
            "{}",
            secret["metadata"]["name"]
        );
    }
}
