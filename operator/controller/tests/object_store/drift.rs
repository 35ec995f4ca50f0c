//! From nothing, after a crash, and back from each drift; what is kept and what goes.

use aws_sdk_s3::types::{
    DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination, ReplicationConfiguration,
    ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
};
use bailiwick_api::region::{Reclaim, Region};
use bailiwick_minio_admin::{Client as AdminClient, seal};
use bailiwick_model::facts::Observed;
use bailiwick_model::facts::repository::Marker;
use bailiwick_model::facts::store::{Outlet, StoreFacts, Versioning};
use bailiwick_model::names::BACKUP_BUCKET;
use bailiwick_model::plan::Plan;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::{Drift, drift, policy_name, retained, steps};
use bailiwick_operator::store::Store;
use bailiwick_operator::tls::trusting;
use serde_json::{Value, json};

use super::attempts::{Try, attempt, expire_everything, lock_by_default, notify, publish};
use super::repository::remove_marker;
use super::{client, converge, observe, perform, region, store};
use crate::fixture;
use crate::server::Server;

#[tokio::test]

async fn from_nothing_to_nothing_left_to_do() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);

    let seen = converge(&store, &plan, &region, &server).await;
    assert_eq!(drift(&plan, &seen), []);
    assert_eq!(retained(&plan, &seen), Vec::<String>::new());
    // Three of the spec, the archive's and the evidence log's.
    assert_eq!(seen.buckets.len(), 5);
    assert_eq!(seen.users.len(), 5);
    assert_eq!(seen.region, "tr-ist-1");
    assert!(seen.encrypts);
    assert_eq!(seen.marker, Observed::Seen(Marker::Ours));

    // A pass that finds nothing to do costs no sealed body.
    let sealed = store.sealed_bodies();
    assert_eq!(sealed, 5, "one for each user");
    observe(&store, &plan, &region, &server).await;
    assert_eq!(store.sealed_bodies(), sealed);

    // Only the audit of all users does.
    assert_eq!(store.unknown_users(&seen).await, Ok([].into()));
    assert_eq!(store.sealed_bodies(), sealed + 1);

    // It is all still there after a restart.
    server.stop();
    server.resume().await;
    assert_eq!(observe(&store, &plan, &region, &server).await, seen);
}

/// Calls the admin API as root, to make what no step makes.
async fn admin(server: &Server, plan: &Plan, method: &str, path: &str, body: Vec<u8>) -> String {
    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let (access_key, secret_key) = (text("access-key"), text("secret-key"));
    let tls = trusting(&server.authority).expect("the authority");
    let client = AdminClient::new(&server.endpoint, "tr-ist-1", access_key, secret_key, tls)
        .expect("a client");
    let (operation, query) = path.split_once('?').unwrap_or((path, ""));
    let query: Vec<(&str, &str)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let method = method.parse().expect("a method");
    let answer = client.call(method, operation, &query, body).await;
    String::from_utf8(answer.expect(path)).expect("text")
}

/// A body sealed with root's secret.
fn sealed(server: &Server, plan: &Plan, body: &Value) -> Vec<u8> {
    let root = plan.names.object_store_root();
    let secret = server.credentials.bytes(&root, "secret-key");
    seal::seal(secret.expect("root's Secret"), body.to_string().as_bytes()).expect("sealed")
}

#[tokio::test]
async fn each_drift_is_seen_and_repaired() {
    let region = region();
    let plan = fixture::planned(&region);
    // An event target that nobody wanted; nothing listens there.
    let settings = [
        ("MINIO_NOTIFY_WEBHOOK_ENABLE_leak", "on"),
        ("MINIO_NOTIFY_WEBHOOK_ENDPOINT_leak", "http://127.0.0.1:9"),
        ("MINIO_AUDIT_WEBHOOK_ENABLE_leak", "on"),
        ("MINIO_AUDIT_WEBHOOK_ENDPOINT_leak", "http://127.0.0.1:9"),
    ];
    let server = Server::start(&plan, &settings).await;
    let store = store(&plan, &server);
    let whole = converge(&store, &plan, &region, &server).await;
    let leaks: Vec<Drift> = drift(&plan, &whole);
    for expected in [
        Outlet::EventTarget("webhook".to_owned()),
        Outlet::Setting("MINIO_NOTIFY_WEBHOOK_ENDPOINT_leak".to_owned()),
        Outlet::Setting("MINIO_AUDIT_WEBHOOK_ENDPOINT_leak".to_owned()),
    ] {
        assert!(
            leaks.contains(&Drift::Outlet(expected.clone())),
            "{expected:?} in {leaks:?}"
        );
    }
    assert!(
        leaks
            .iter()
            .any(|leak| matches!(leak, Drift::Outlet(Outlet::LogTarget(_)))),
        "{leaks:?}"
    );

    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let mut stolen = server.credentials.clone();
    stolen.insert(
        plan.names.object_store_user("auditor"),
        [("secret-key".to_owned(), b"another secret".to_vec())].into(),
    );
    let auditor = || "auditor".to_owned();
    let documents = || "documents".to_owned();
    let wide = json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}],
    });
    let by_steps = [
        (
            StoreStep::SetQuota {
                bucket: documents(),
                bytes: None,
            },
            &server.credentials,
        ),
        (
            StoreStep::SetQuota {
                bucket: BACKUP_BUCKET.to_owned(),
                bytes: Some(1 << 20),
            },
            &server.credentials,
        ),
        (
            StoreStep::SetLifecycle {
                bucket: documents(),
                noncurrent_days: Some(1),
            },
            &server.credentials,
        ),
        (
            StoreStep::SetLifecycle {
                bucket: documents(),
                noncurrent_days: None,
            },
            &server.credentials,
        ),
        (
            StoreStep::SetVersioning {
                bucket: documents(),
                enabled: false,
            },
            &server.credentials,
        ),
        (
            StoreStep::SetReclaim {
                bucket: documents(),
                reclaim: Reclaim::Delete,
            },
            &server.credentials,
        ),
        (
            StoreStep::SetUserEnabled {
                user: auditor(),
                enabled: false,
            },
            &server.credentials,
        ),
        (
            StoreStep::SetUserPolicy {
                user: auditor(),
                policy: "consoleAdmin".to_owned(),
            },
            &server.credentials,
        ),
        (
            StoreStep::PutPolicy {
                name: policy_name("auditor"),
                document: wide,
            },
            &server.credentials,
        ),
        (
            StoreStep::CreateUser {
                user: auditor(),
                secret: plan.names.object_store_user("auditor"),
            },
            &stolen,
        ),
    ];
    for (step, credentials) in by_steps {
        store.perform(&step, credentials).await.expect("a drift");
        repaired(&store, &plan, &region, &server, &whole, &step.to_string()).await;
    }

    publish(&root, "documents").await.expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "public").await;
    expire_everything(&root, BACKUP_BUCKET)
        .await
        .expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "expiry").await;
    lock_by_default(&root, BACKUP_BUCKET)
        .await
        .expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "locked by default").await;
    notify(&root, "documents").await.expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "notification").await;
    let gone = root.delete_bucket_encryption().bucket("documents").send();
    gone.await.expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "encryption").await;
    let gone = root.delete_bucket_tagging().bucket("documents").send();
    gone.await.expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "tag").await;
    let gone = root.delete_bucket().bucket("documents").send();
    gone.await.expect("a drift");
    repaired(&store, &plan, &region, &server, &whole, "bucket").await;

    let group = json!({"group": "admins", "members": ["auditor"], "groupStatus": "enabled", "isRemove": false});
    admin(
        &server,
        &plan,
        "PUT",
        "update-group-members",
        group.to_string().into_bytes(),
    )
    .await;
    repaired(&store, &plan, &region, &server, &whole, "group").await;
    admin(
        &server,
        &plan,
        "DELETE",
        "remove-user?accessKey=auditor",
        Vec::new(),
    )
    .await;
    repaired(&store, &plan, &region, &server, &whole, "user").await;

    // A copy of a bucket to another store; another bucket of this one stands for it.
    let target = json!({
        "sourcebucket": "documents",
        "endpoint": server.endpoint.trim_start_matches("https://"),
        "credentials": {"accessKey": text("access-key"), "secretKey": text("secret-key")},
        "targetbucket": "images",
        "secure": true,
        "type": "replication",
        "region": "tr-ist-1",
    });
    let body = sealed(&server, &plan, &target);
    let arn = admin(
        &server,
        &plan,
        "PUT",
        "set-remote-target?bucket=documents&type=replication",
        body,
    )
    .await;
    let rule = ReplicationRule::builder()
        .id("copy")
        .priority(1)
        .status(ReplicationRuleStatus::Enabled)
        .delete_marker_replication(
            DeleteMarkerReplication::builder()
                .status(DeleteMarkerReplicationStatus::Disabled)
                .build(),
        )
        .filter(ReplicationRuleFilter::builder().prefix("").build())
        .destination(
            Destination::builder()
                .bucket(arn.trim_matches('"'))
                .build()
                .expect("a target"),
        )
        .build()
        .expect("a rule");
    root.put_bucket_replication()
        .bucket("documents")
        .replication_configuration(
            ReplicationConfiguration::builder()
                .role("")
                .rules(rule)
                .build()
                .expect("rules"),
        )
        .send()
        .await
        .expect("a drift");
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(
        seen.buckets["documents"].outlets.len(),
        2,
        "{:?}",
        seen.buckets["documents"]
    );
    repaired(&store, &plan, &region, &server, &whole, "replication").await;

    // Versioning can be suspended, but not undone.
    let step = StoreStep::SetVersioning {
        bucket: "scratch".to_owned(),
        enabled: true,
    };
    perform(&store, &server, &[step]).await;
    let seen = converge(&store, &plan, &region, &server).await;
    assert_eq!(seen.buckets["scratch"].versioning, Versioning::Suspended);

    // What no step can repair is told.
    root.create_bucket()
        .bucket("theirs")
        .send()
        .await
        .expect("a drift");
    store
        .perform(
            &StoreStep::CreateUser {
                user: "mallory".to_owned(),
                secret: plan.names.object_store_user("auditor"),
            },
            &server.credentials,
        )
        .await
        .expect("a drift");
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(steps(&plan, &seen), []);
    let bucket = "theirs".to_owned();
    assert!(drift(&plan, &seen).contains(&Drift::UnknownBucket { bucket }));
    assert_eq!(
        store.unknown_users(&seen).await,
        Ok([Outlet::User("mallory".to_owned())].into())
    );
}

/// The store must differ from `whole`, and be `whole` again after one round of steps.
async fn repaired(
    store: &Store,
    plan: &Plan,
    region: &Region,
    server: &Server,
    whole: &StoreFacts,
    what: &str,
) {
    let seen = observe(store, plan, region, server).await;
    assert_ne!(steps(plan, &seen), [], "{what} is not seen");
    perform(store, server, &steps(plan, &seen)).await;
    let seen = observe(store, plan, region, server).await;
    assert_eq!(seen, *whole, "{what} is not repaired");
}

#[tokio::test]
async fn a_crash_between_any_two_steps_ends_the_same() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let nothing = observe(&store, &plan, &region, &server).await;
    let all = steps(&plan, &nothing);
    let whole = converge(&store, &plan, &region, &server).await;
    for done in 0..all.len() {
        remove_marker(&root).await;
        for bucket in whole.buckets.keys() {
            root.delete_bucket()
                .bucket(bucket)
                .send()
                .await
                .expect("it is empty");
        }
        for user in whole.users.keys() {
            admin(
                &server,
                &plan,
                "DELETE",
                &format!("remove-user?accessKey={user}"),
                Vec::new(),
            )
            .await;
        }
        for policy in whole.policies.keys() {
            admin(
                &server,
                &plan,
                "DELETE",
                &format!("remove-canned-policy?name={policy}"),
                Vec::new(),
            )
            .await;
        }
        assert_eq!(observe(&store, &plan, &region, &server).await, nothing);
        // The answer of the last one is lost: it is done, and done again.
        perform(&store, &server, &all[..=done]).await;
        perform(&store, &server, &all[done..=done]).await;
        let seen = converge(&store, &plan, &region, &server).await;
        assert_eq!(seen, whole, "after step {done}: {}", all[done]);
    }
    println!("{} crashes, each ends the same", all.len());
}

#[tokio::test]
async fn what_leaves_the_spec_is_kept_or_goes_as_it_said() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let secret = Some(("imaging", "secret of imaging"));
    let imaging = client(&server, "tr-ist-1", secret);
    assert_eq!(attempt(&imaging, "images", "null", Try::Write).await, "ok");

    let left = fixture::tr_with("spec: {objectStore: {buckets: [], users: []}}");
    let plan = fixture::planned(&left);
    let seen = converge(&store, &plan, &left, &server).await;
    // Of those that said Delete, the empty one went, the other holds an object.
    assert_eq!(
        retained(&plan, &seen),
        [
            "bucket documents",
            "bucket images",
            "user auditor",
            "user imaging",
            "user patient-api"
        ]
    );
    assert_eq!(drift(&plan, &seen), []);
    let refused = attempt(&imaging, "images", "null", Try::Read).await;
    assert_eq!(
        refused, "InvalidAccessKeyId",
        "a user that left may not sign in"
    );

    // As docs/how-to/remove-from-the-object-store.md says.
    let path = "remove-user?accessKey=auditor";
    admin(&server, &plan, "DELETE", path, Vec::new()).await;
    let seen = converge(&store, &plan, &left, &server).await;
    assert_eq!(
        retained(&plan, &seen),
        [
            "bucket documents",
            "bucket images",
            "user imaging",
            "user patient-api"
        ]
    );

    // What comes back finds its objects and its key.
    let plan = fixture::planned(&region);
    let seen = converge(&store, &plan, &region, &server).await;
    assert_eq!(retained(&plan, &seen), Vec::<String>::new());
    assert_eq!(attempt(&imaging, "images", "null", Try::Read).await, "ok");
}
