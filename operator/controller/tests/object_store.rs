//! The object store's adapter against the real server, started on this machine as the model describes it: made from
//! nothing, read back, drifted and repaired, crashed between any two steps; and what its users can do, row by row.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on must end, and a table is read in one piece"
)]

#[path = "../../model/tests/fixture/mod.rs"]
mod fixture;
#[path = "object_store_server/mod.rs"]
mod server;

use std::time::Duration;

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::BehaviorVersion;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention, Delete,
    DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination, Event, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NotificationConfiguration,
    ObjectIdentifier, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule, QueueConfiguration, ReplicationConfiguration,
    ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, VersioningConfiguration,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_minio_admin::{Client as AdminClient, seal};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::plan::Plan;
use bailiwick_model::region::{Reclaim, Region};
use bailiwick_model::repository::{
    ArchivedFile, Difference, MARKER, MARKER_LIMIT, Marker, Owner, PASSPHRASE,
};
use bailiwick_model::sql::PostgresFacts;
use bailiwick_model::store::{
    BucketOutlet, Drift, Outlet, StoreFacts, StoreStep, Versioning, drift, policy_name, retained,
    steps,
};
use bailiwick_operator::credentials::Credentials;
use bailiwick_operator::store::Store;
use bailiwick_operator::tls::trusting;
use serde_json::{Value, json};
use server::{Server, outcome};

/// Three buckets of different kinds and three users with different rights.
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
        reclaim: Delete
    users:
      - name: patient-api
        grants: [{bucket: documents, access: ReadWrite}, {bucket: scratch, access: ReadWrite}]
      - name: auditor
        grants: [{bucket: documents, access: ReadOnly}]
      - name: imaging
        grants: [{bucket: images, access: ReadWrite}]
",
    )
}

fn store(plan: &Plan, server: &Server) -> Store {
    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    Store::new(
        &server.endpoint,
        plan.store_region(),
        text("access-key"),
        text("secret-key"),
        &server.authority,
    )
    .expect("a client")
}

async fn observe(store: &Store, plan: &Plan, region: &Region, server: &Server) -> StoreFacts {
    ready(|| store.observe(&plan.names, region, &server.credentials))
        .await
        .unwrap_or_else(|failure| panic!("cannot be read: {failure:?}\n{}", server.log()))
}

/// What `read` says once the store is not starting any more: it answers a moment before it has read its settings.
async fn ready<T, F>(mut read: impl FnMut() -> F) -> Result<T, Unread>
where
    F: Future<Output = Result<T, Unread>>,
{
    for _ in 0..100 {
        match read().await {
            Err(unread) if unread.failure == ReadFailure::NotReady => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
    Err(ReadFailure::NotReady.into())
}

async fn perform(store: &Store, server: &Server, steps: &[StoreStep]) {
    for step in steps {
        if let Err(error) = store.perform(step, &server.credentials).await {
            panic!("{error}: {:?}\n{}", error.source, server.log());
        }
    }
}

/// Looks and acts until nothing is left to do; a second round must find nothing.
async fn converge(store: &Store, plan: &Plan, region: &Region, server: &Server) -> StoreFacts {
    let seen = observe(store, plan, region, server).await;
    perform(store, server, &steps(plan, &seen)).await;
    let seen = observe(store, plan, region, server).await;
    assert_eq!(steps(plan, &seen), [], "one round was not enough");
    seen
}

/// An S3 client of the server. Without `signer` it signs nothing.
fn client(server: &Server, region: &str, signer: Option<(&str, &str)>) -> Client {
    let tls = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(server.authority.clone()))
        .build()
        .expect("TLS");
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new(region.to_owned()))
        .endpoint_url(&server.endpoint)
        .force_path_style(true)
        .http_client(http);
    let config = match signer {
        Some((user, secret)) => {
            config.credentials_provider(Signer::new(user, secret, None, None, "test"))
        }
        None => config.allow_no_auth(),
    };
    Client::from_conf(config.build())
}

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

/// What somebody tries.
#[derive(Clone, Copy, Debug)]
enum Try {
    List,
    Read,
    Write,
    Multipart,
    Delete,
    DeleteVersion,
    DeleteVersionInBulk,
    ForceDelete,
    DeleteBypassingGovernance,
    LockObject,
    ReadTags,
    ReadVersioning,
    ListUploads,
    CreateBucket,
    DeleteBucket,
    SetVersioning,
    SetLifecycle,
    SetLock,
    SetPolicy,
    SetNotification,
}

/// The key that every bucket of the table holds.
const KEY: &str = "2026/11/report.txt";

/// Tries it on `bucket`, of whose object `version` is a version.
async fn attempt(client: &Client, bucket: &str, version: &str, what: Try) -> String {
    let versioned = || {
        ObjectIdentifier::builder()
            .key(KEY)
            .version_id(version)
            .build()
            .expect("an object")
    };
    match what {
        Try::List => outcome(client.list_objects_v2().bucket(bucket).send().await),
        Try::Read => outcome(client.get_object().bucket(bucket).key(KEY).send().await),
        Try::Write => outcome(
            client
                .put_object()
                .bucket(bucket)
                .key(KEY)
                .body(ByteStream::from_static(b"text"))
                .send()
                .await,
        ),
        Try::Multipart => {
            let begun = client
                .create_multipart_upload()
                .bucket(bucket)
                .key(KEY)
                .send()
                .await;
            let upload = match begun {
                Ok(begun) => begun.upload_id.expect("an upload"),
                error => return outcome(error),
            };
            outcome(
                client
                    .abort_multipart_upload()
                    .bucket(bucket)
                    .key(KEY)
                    .upload_id(upload)
                    .send()
                    .await,
            )
        }
        Try::Delete => outcome(client.delete_object().bucket(bucket).key(KEY).send().await),
        Try::DeleteVersion => outcome(
            client
                .delete_object()
                .bucket(bucket)
                .key(KEY)
                .version_id(version)
                .send()
                .await,
        ),
        Try::DeleteVersionInBulk => {
            let delete = Delete::builder().objects(versioned()).build();
            let done = client
                .delete_objects()
                .bucket(bucket)
                .delete(delete.expect("a deletion"))
                .send()
                .await;
            match done {
                Ok(done) => match done.errors() {
                    [] => "ok".to_owned(),
                    [error, ..] => error.code().unwrap_or_default().to_owned(),
                },
                error => outcome(error),
            }
        }
        Try::ForceDelete => outcome(
            client
                .delete_object()
                .bucket(bucket)
                .key(KEY)
                .customize()
                .mutate_request(|request| {
                    request.headers_mut().insert("x-minio-force-delete", "true");
                })
                .send()
                .await,
        ),
        Try::DeleteBypassingGovernance => outcome(
            client
                .delete_object()
                .bucket(bucket)
                .key(KEY)
                .version_id(version)
                .bypass_governance_retention(true)
                .send()
                .await,
        ),
        Try::LockObject => {
            let retention = ObjectLockRetention::builder()
                .mode(ObjectLockRetentionMode::Compliance)
                .retain_until_date(DateTime::from_secs(4_102_444_800))
                .build();
            outcome(
                client
                    .put_object_retention()
                    .bucket(bucket)
                    .key(KEY)
                    .retention(retention)
                    .send()
                    .await,
            )
        }
        Try::ReadTags => outcome(
            client
                .get_object_tagging()
                .bucket(bucket)
                .key(KEY)
                .send()
                .await,
        ),
        _ => attempt_on_bucket(client, bucket, what).await,
    }
}

async fn attempt_on_bucket(client: &Client, bucket: &str, what: Try) -> String {
    match what {
        Try::ReadVersioning => outcome(client.get_bucket_versioning().bucket(bucket).send().await),
        Try::ListUploads => outcome(client.list_multipart_uploads().bucket(bucket).send().await),
        Try::CreateBucket => outcome(client.create_bucket().bucket("of-my-own").send().await),
        Try::DeleteBucket => outcome(client.delete_bucket().bucket(bucket).send().await),
        Try::SetVersioning => outcome(suspend_versioning(client, bucket).await),
        Try::SetLifecycle => outcome(expire_everything(client, bucket).await),
        Try::SetLock => outcome(lock_by_default(client, bucket).await),
        Try::SetPolicy => outcome(publish(client, bucket).await),
        Try::SetNotification => outcome(notify(client, bucket).await),
        _ => unreachable!("{what:?} is about an object"),
    }
}

async fn suspend_versioning(
    client: &Client,
    bucket: &str,
) -> Result<(), SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>> {
    let suspended = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Suspended)
        .build();
    client
        .put_bucket_versioning()
        .bucket(bucket)
        .versioning_configuration(suspended)
        .send()
        .await
        .map(drop)
}

async fn expire_everything(
    client: &Client,
    bucket: &str,
) -> Result<(), SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>> {
    let rule = LifecycleRule::builder()
        .id("everything")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().days(1).build())
        .build()
        .expect("a rule");
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build();
    client
        .put_bucket_lifecycle_configuration()
        .bucket(bucket)
        .lifecycle_configuration(rules.expect("rules"))
        .send()
        .await
        .map(drop)
}

async fn lock_by_default(
    client: &Client,
    bucket: &str,
) -> Result<(), SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>> {
    let retention = DefaultRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .days(1)
        .build();
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(
            ObjectLockRule::builder()
                .default_retention(retention)
                .build(),
        )
        .build();
    client
        .put_object_lock_configuration()
        .bucket(bucket)
        .object_lock_configuration(lock)
        .send()
        .await
        .map(drop)
}

async fn publish(
    client: &Client,
    bucket: &str,
) -> Result<(), SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>> {
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [format!("arn:aws:s3:::{bucket}/*")],
        }],
    });
    client
        .put_bucket_policy()
        .bucket(bucket)
        .policy(policy.to_string())
        .send()
        .await
        .map(drop)
}

/// The event target that the drifted server is started with.
const TARGET: &str = "arn:minio:sqs:tr-ist-1:leak:webhook";

async fn notify(
    client: &Client,
    bucket: &str,
) -> Result<(), SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>> {
    let queue = QueueConfiguration::builder()
        .queue_arn(TARGET)
        .events(Event::S3ObjectCreated)
        .build()
        .expect("a target");
    client
        .put_bucket_notification_configuration()
        .bucket(bucket)
        .notification_configuration(
            NotificationConfiguration::builder()
                .queue_configurations(queue)
                .build(),
        )
        .send()
        .await
        .map(drop)
}

#[tokio::test]
async fn users_can_do_what_their_policy_says_and_nothing_else() {
    const OK: &str = "ok";
    const DENIED: &str = "AccessDenied";
    // "force-delete is forbidden on Object Locking enabled buckets"
    const FORBIDDEN_BY_LOCK: &str = "XMinioAdminInvalidArgument";
    let table: &[(&str, Try, &str, &str)] = &[
        // pgBackRest: the objects of its bucket, and nothing that would take old versions away.
        (BACKUP_USER, Try::Write, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::Read, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::List, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::Multipart, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::DeleteVersion, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::DeleteVersionInBulk, BACKUP_BUCKET, DENIED),
        (
            BACKUP_USER,
            Try::DeleteBypassingGovernance,
            BACKUP_BUCKET,
            DENIED,
        ),
        (
            BACKUP_USER,
            Try::ForceDelete,
            BACKUP_BUCKET,
            FORBIDDEN_BY_LOCK,
        ),
        (BACKUP_USER, Try::LockObject, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetVersioning, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetLifecycle, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetLock, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetPolicy, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetNotification, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::DeleteBucket, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::CreateBucket, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::Delete, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::List, "documents", DENIED),
        (BACKUP_USER, Try::Read, "documents", DENIED),
        (BACKUP_USER, Try::Write, "documents", DENIED),
        (BACKUP_USER, Try::Delete, "documents", DENIED),
        // An application that may write.
        ("patient-api", Try::List, "documents", OK),
        ("patient-api", Try::Read, "documents", OK),
        ("patient-api", Try::Write, "documents", OK),
        ("patient-api", Try::Multipart, "documents", OK),
        ("patient-api", Try::ReadTags, "documents", OK),
        ("patient-api", Try::ReadVersioning, "documents", OK),
        ("patient-api", Try::ListUploads, "documents", OK),
        ("patient-api", Try::DeleteVersion, "documents", DENIED),
        ("patient-api", Try::DeleteVersionInBulk, "documents", DENIED),
        ("patient-api", Try::SetVersioning, "documents", DENIED),
        ("patient-api", Try::SetLifecycle, "documents", DENIED),
        ("patient-api", Try::SetPolicy, "documents", DENIED),
        ("patient-api", Try::SetNotification, "documents", DENIED),
        ("patient-api", Try::DeleteBucket, "documents", DENIED),
        ("patient-api", Try::CreateBucket, "documents", DENIED),
        ("patient-api", Try::Write, "scratch", OK),
        ("patient-api", Try::List, "images", DENIED),
        ("patient-api", Try::ReadVersioning, "images", DENIED),
        ("patient-api", Try::Read, "images", DENIED),
        ("patient-api", Try::Write, "images", DENIED),
        ("patient-api", Try::List, BACKUP_BUCKET, DENIED),
        ("patient-api", Try::Read, BACKUP_BUCKET, DENIED),
        // The same where objects can be locked.
        ("imaging", Try::Write, "images", OK),
        ("imaging", Try::DeleteVersion, "images", DENIED),
        ("imaging", Try::ForceDelete, "images", FORBIDDEN_BY_LOCK),
        ("imaging", Try::LockObject, "images", OK),
        ("imaging", Try::Delete, "images", OK),
        // One that may only read.
        ("auditor", Try::List, "documents", OK),
        ("auditor", Try::Read, "documents", OK),
        ("auditor", Try::ReadTags, "documents", OK),
        ("auditor", Try::ReadVersioning, "documents", OK),
        ("auditor", Try::ListUploads, "documents", DENIED),
        ("auditor", Try::Write, "documents", DENIED),
        ("auditor", Try::Multipart, "documents", DENIED),
        ("auditor", Try::Delete, "documents", DENIED),
        ("auditor", Try::DeleteVersion, "documents", DENIED),
        ("auditor", Try::DeleteVersionInBulk, "documents", DENIED),
        ("auditor", Try::ForceDelete, "documents", DENIED),
        ("auditor", Try::SetPolicy, "documents", DENIED),
        ("auditor", Try::List, "scratch", DENIED),
        ("auditor", Try::Read, BACKUP_BUCKET, DENIED),
        // Nobody.
        ("", Try::List, "documents", DENIED),
        ("", Try::Read, "documents", DENIED),
        ("", Try::Write, "documents", DENIED),
        ("", Try::Delete, BACKUP_BUCKET, DENIED),
        ("patient-api", Try::Delete, "documents", OK),
    ];
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    converge(&store(&plan, &server), &plan, &region, &server).await;

    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let mut versions = std::collections::BTreeMap::new();
    for bucket in [BACKUP_BUCKET, "documents", "images", "scratch"] {
        let put = root
            .put_object()
            .bucket(bucket)
            .key(KEY)
            .body(ByteStream::from_static(b"text"))
            .send()
            .await
            .expect("root may write");
        // The store encrypts whatever it is given.
        assert!(put.server_side_encryption().is_some(), "{bucket}");
        versions.insert(bucket, put.version_id.unwrap_or_else(|| "null".to_owned()));
    }
    for (user, what, bucket, expected) in table {
        let secret = plan.names.object_store_user(user);
        let signer = server
            .credentials
            .text(&secret, "secret-key")
            .map(|secret| (*user, secret));
        assert_eq!(signer.is_none(), user.is_empty());
        let client = client(&server, "tr-ist-1", signer);
        let found = attempt(&client, bucket, &versions[bucket], *what).await;
        assert_eq!(found, *expected, "{user:?} tries {what:?} on {bucket}");
    }
    // Each was deleted by its user, and each first version is still there.
    for bucket in [BACKUP_BUCKET, "documents", "images"] {
        let first = root
            .get_object()
            .bucket(bucket)
            .key(KEY)
            .version_id(&versions[bucket])
            .send()
            .await;
        assert_eq!(outcome(first), OK, "the first version of {bucket} is gone");
    }

    // The limit of it: without object lock, MinIO lets whoever may delete an object delete its versions by force.
    let secret = Some(("patient-api", "secret of patient-api"));
    let forced = client(&server, "tr-ist-1", secret);
    let found = attempt(&forced, "documents", "null", Try::ForceDelete).await;
    assert_eq!(
        found, OK,
        "now object lock is not needed for it: say so in the reference"
    );

    // A key signs for this region alone, and with its own secret alone.
    let secret = Some((BACKUP_USER, "secret of pgbackrest"));
    let elsewhere = client(&server, "es-mad-1", secret);
    let found = attempt(&elsewhere, BACKUP_BUCKET, "null", Try::List).await;
    assert_eq!(found, "AuthorizationHeaderMalformed");
    let wrong = client(&server, "tr-ist-1", Some((BACKUP_USER, "another secret")));
    let found = attempt(&wrong, BACKUP_BUCKET, "null", Try::List).await;
    assert_eq!(found, "SignatureDoesNotMatch");
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

#[tokio::test]
async fn each_failure_has_its_word() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let failure = async |store: Store| {
        let nobody = Credentials::default();
        let unread = ready(|| store.observe(&plan.names, &region, &nobody))
            .await
            .expect_err("it cannot be read");
        (unread.failure, unread.cause.expect("a cause"))
    };
    let because = |failure, cause: &str| (failure, cause.to_owned());
    let other =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let of = |endpoint: &str, access: &str, secret: &str, authority: &[u8]| {
        Store::new(endpoint, "tr-ist-1", access, secret, authority).expect("a client")
    };
    let ours = server.authority.clone();
    let endpoint = server.endpoint.clone();
    let (access, secret) = ("tr-s3-root-access-key", "tr-s3-root-secret-key");

    let wrong = of(&endpoint, access, "another secret", &ours);
    assert_eq!(
        failure(wrong).await,
        because(
            ReadFailure::Unauthenticated,
            "SignatureDoesNotMatch, HTTP 403"
        )
    );
    let unknown = of(&endpoint, "nobody", secret, &ours);
    assert_eq!(
        failure(unknown).await,
        because(ReadFailure::Unauthenticated, "InvalidAccessKeyId, HTTP 403")
    );
    let stranger = of(&endpoint, access, secret, other.cert.pem().as_bytes());
    assert_eq!(
        failure(stranger.clone()).await,
        because(ReadFailure::Untrusted, "TLS BadSignature")
    );
    let refused = stranger
        .perform(
            &StoreStep::RemoveOutlet {
                bucket: "x".to_owned(),
                outlet: BucketOutlet::Policy,
            },
            &server.credentials,
        )
        .await
        .expect_err("it cannot be done");
    assert_eq!(
        refused.failure,
        ReadFailure::Untrusted,
        "the S3 client's errors too"
    );
    assert_eq!(refused.cause().as_deref(), Some("TLS BadSignature"));
    assert_eq!(
        Store::new(&endpoint, "tr-ist-1", access, secret, b"no certificate").err(),
        Some(ReadFailure::Untrusted)
    );
    // A user without the right to look is refused it.
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let user = of(&endpoint, "auditor", "secret of auditor", &ours);
    assert_eq!(
        failure(user).await,
        because(ReadFailure::Forbidden, "AccessDenied, HTTP 403")
    );

    // Listing buckets is the one thing that the server allows in the name of another region.
    let elsewhere = Store::new(&endpoint, "es-mad-1", access, secret, &ours).expect("a client");
    assert_eq!(
        failure(elsewhere).await,
        because(
            ReadFailure::Unauthenticated,
            "AuthorizationHeaderMalformed, HTTP 400"
        )
    );

    // A Secret that is not there yet is no reason to make a user without a key, nor to leave out the other users.
    let step = StoreStep::CreateUser {
        user: "auditor".to_owned(),
        secret: "missing".to_owned(),
    };
    let error = store
        .perform(&step, &server.credentials)
        .await
        .expect_err("no Secret");
    assert_eq!(error.failure, ReadFailure::Malformed);
    assert_eq!(
        error.to_string(),
        "object store: create user auditor: Malformed"
    );
    assert_eq!(
        error.cause().as_deref(),
        Some("Secret missing: secret-key is missing")
    );

    server.stop();
    // A connection that was kept ends otherwise than a new one.
    assert_eq!(failure(store.clone()).await.0, ReadFailure::Unreachable);
    let gone = store.newest_object(BACKUP_BUCKET, "archive/").await;
    assert_eq!(gone, Err(ReadFailure::Unreachable));

    // One that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", silent.local_addr().expect("an address"));
    let silent = of(&endpoint, access, secret, &ours);
    assert_eq!(
        failure(silent).await,
        because(ReadFailure::TimedOut, "operation timed out")
    );
}

#[tokio::test]
async fn the_newest_object_is_found_by_folder_and_time() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let newest = async || {
        let found = store
            .newest_object(BACKUP_BUCKET, "pgbackrest/archive/tr-i1/")
            .await;
        found.expect("it can be read").map(|(key, _)| key)
    };
    assert_eq!(newest().await, None);

    let secret = Some((BACKUP_USER, "secret of pgbackrest"));
    let pgbackrest = client(&server, "tr-ist-1", secret);
    let put = async |key: &str| {
        pgbackrest
            .put_object()
            .bucket(BACKUP_BUCKET)
            .key(format!("pgbackrest/archive/{key}"))
            .body(ByteStream::from_static(b"wal"))
            .send()
            .await
            .expect("it may write");
    };
    put("tr-i1/archive.info").await;
    assert_eq!(
        newest().await.as_deref(),
        Some("pgbackrest/archive/tr-i1/archive.info")
    );
    let folder = "tr-i1/17-1/0000000100000000";
    put(&format!("{folder}/000000010000000000000001-aa.zst")).await;
    put(&format!("{folder}/000000010000000000000002-bb.zst")).await;
    put("tr-i2/17-1/0000000100000000/000000010000000000000009-ff.zst").await;
    assert_eq!(
        newest().await,
        Some(format!(
            "pgbackrest/archive/{folder}/000000010000000000000002-bb.zst"
        ))
    );
    // A later timeline counts, whatever came late on the one before it.
    put("tr-i1/17-1/0000000200000000/000000020000000000000003-cc.zst").await;
    put(&format!("{folder}/000000010000000000000003-dd.zst")).await;
    let found = newest().await.expect("it is there");
    assert!(
        found.ends_with("000000020000000000000003-cc.zst"),
        "{found}"
    );
}

/// Removes every version of the repository's marker, as root.
async fn remove_marker(root: &Client) {
    let versions = root
        .list_object_versions()
        .bucket(BACKUP_BUCKET)
        .prefix(MARKER);
    for version in versions.send().await.expect("root may list").versions() {
        root.delete_object()
            .bucket(BACKUP_BUCKET)
            .key(MARKER)
            .version_id(version.version_id().expect("an id"))
            .send()
            .await
            .expect("root may");
    }
}

/// Puts bytes in the place of the repository's marker, as root.
async fn put_in_its_place(root: &Client, bytes: Vec<u8>) {
    root.put_object()
        .bucket(BACKUP_BUCKET)
        .key(MARKER)
        .body(ByteStream::from(bytes))
        .send()
        .await
        .expect("root may");
}

/// The bytes at the marker's key, and of how many versions they are the last.
async fn in_its_place(root: &Client) -> (Vec<u8>, usize) {
    let object = root.get_object().bucket(BACKUP_BUCKET).key(MARKER);
    let object = object.send().await.expect("it is there");
    let bytes = object.body.collect().await.expect("a body").to_vec();
    let versions = root
        .list_object_versions()
        .bucket(BACKUP_BUCKET)
        .prefix(MARKER);
    let versions = versions.send().await.expect("root may list");
    (bytes, versions.versions().len())
}

#[tokio::test]
async fn the_repositorys_marker_is_put_where_none_is_and_over_nothing() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    let empty = observe(&store, &plan, &region, &server).await;
    assert_eq!(empty.marker, Observed::NotAsked, "there is no bucket yet");
    converge(&store, &plan, &region, &server).await;
    let secret = plan.names.object_store_root();
    let text = |key| {
        server
            .credentials
            .text(&secret, key)
            .expect("root's Secret")
    };
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let put = StoreStep::PutMarker {
        owner: Owner::of(&plan.names, &region.spec.residency),
        secret: plan.names.backup_key(),
    };
    let marker = async || observe(&store, &plan, &region, &server).await.marker;

    // A second one, as of another replica, finds it there.
    let (ours, versions) = in_its_place(&root).await;
    assert_eq!(versions, 1);
    perform(&store, &server, std::slice::from_ref(&put)).await;
    assert_eq!(in_its_place(&root).await, (ours.clone(), 1));

    // The Region was deleted and made anew: it is still its own.
    let mut anew = region.clone();
    anew.metadata.uid = Some("another".to_owned());
    let seen = observe(&store, &plan, &anew, &server).await;
    assert_eq!(seen.marker, Observed::Seen(Marker::Ours));

    // Without it, it is missed, and of many who put it at once one does.
    let delete = root.delete_object().bucket(BACKUP_BUCKET).key(MARKER);
    delete.send().await.expect("root may");
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(seen.marker, Observed::Seen(Marker::Missing));
    assert_eq!(steps(&plan, &seen), std::slice::from_ref(&put));
    let many = (0..8).map(|_| store.perform(&put, &server.credentials));
    for put in futures::future::join_all(many).await {
        put.expect("whoever was first, it is there");
    }
    assert_eq!(in_its_place(&root).await, (ours.clone(), 2));
    assert_eq!(marker().await, Observed::Seen(Marker::Ours));

    // Another's stays, whatever it is.
    let es = fixture::tr_with("metadata: {name: es}");
    let theirs = Owner::of(
        &bailiwick_model::names::Names::of(&es),
        &region.spec.residency,
    );
    let theirs = theirs.marker(b"another passphrase").expect("a marker");
    let forged = Owner::of(&plan.names, &region.spec.residency);
    let forged = forged.marker(b"another passphrase").expect("a marker");
    for (bytes, difference) in [
        (theirs, Difference::Region),
        (forged, Difference::Key),
        (b"no marker".to_vec(), Difference::Form),
        (Vec::new(), Difference::Form),
        (vec![b' '; 100 * MARKER_LIMIT], Difference::Form),
    ] {
        put_in_its_place(&root, bytes.clone()).await;
        let seen = observe(&store, &plan, &region, &server).await;
        assert_eq!(seen.marker, Observed::Seen(Marker::Foreign(difference)));
        assert_eq!(
            drift(&plan, &seen),
            [Drift::ForeignMarker {
                difference,
                region: "tr".to_owned()
            }]
        );
        assert_eq!(steps(&plan, &seen), []);
        perform(&store, &server, std::slice::from_ref(&put)).await;
        assert_eq!(in_its_place(&root).await.0, bytes);
    }

    // One that cannot be read is not missing, and the rest of the store is read all the same. Only who has the key that it
    // is encrypted with may read it: 32 times `k`.
    root.put_object()
        .bucket(BACKUP_BUCKET)
        .key(MARKER)
        .sse_customer_algorithm("AES256")
        .sse_customer_key("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
        .sse_customer_key_md5("mT2HRsMGJ5IX5C+0rreZ8Q==")
        .body(ByteStream::from(ours.clone()))
        .send()
        .await
        .expect("root may");
    let seen = observe(&store, &plan, &region, &server).await;
    let unread = Unread {
        failure: ReadFailure::Malformed,
        cause: Some("InvalidRequest, HTTP 400".to_owned()),
    };
    assert_eq!(seen.marker, Observed::Failed(unread));
    assert_eq!(steps(&plan, &seen), []);
    assert_eq!(drift(&plan, &seen), []);

    // With another key it is another's: the repository could not be read with it.
    put_in_its_place(&root, ours).await;
    assert_eq!(marker().await, Observed::Seen(Marker::Ours));
    let another = [(PASSPHRASE.to_owned(), b"another".to_vec())].into();
    server.credentials.insert(plan.names.backup_key(), another);
    let seen = observe(&store, &plan, &region, &server).await;
    let foreign = Marker::Foreign(Difference::Key);
    assert_eq!(seen.marker, Observed::Seen(foreign));
    // Without its Secret nobody looks.
    server.credentials.remove(&plan.names.backup_key());
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(seen.marker, Observed::NotAsked);
    assert_eq!(steps(&plan, &seen), []);
}

#[tokio::test]
async fn who_writes_the_backups_cannot_write_or_remove_their_marker() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let user = client(
        &server,
        "tr-ist-1",
        Some((BACKUP_USER, "secret of pgbackrest")),
    );
    let put = async |key: &str| {
        let put = user.put_object().bucket(BACKUP_BUCKET).key(key);
        let body = ByteStream::from_static(b"theirs");
        outcome(put.body(body).send().await)
    };
    let delete = async |key: &str| {
        let delete = user.delete_object().bucket(BACKUP_BUCKET).key(key);
        outcome(delete.send().await)
    };
    for (key, expected) in [
        ("tr/archive/tr-i1/archive.info", "ok"),
        (".residency.json2", "ok"),
        ("tr/.residency.json", "ok"),
        (MARKER, "AccessDenied"),
    ] {
        assert_eq!(put(key).await, expected, "{key}");
        assert_eq!(delete(key).await, expected, "{key}");
    }
    assert_eq!(put("tr/source").await, "ok");
    let copy = user.copy_object().bucket(BACKUP_BUCKET).key(MARKER);
    let copy = copy.copy_source(format!("{BACKUP_BUCKET}/tr/source"));
    assert_eq!(outcome(copy.send().await), "AccessDenied");
    let upload = user
        .create_multipart_upload()
        .bucket(BACKUP_BUCKET)
        .key(MARKER);
    assert_eq!(outcome(upload.send().await), "AccessDenied");
    let object = ObjectIdentifier::builder().key(MARKER).build();
    let delete = Delete::builder().objects(object.expect("an object"));
    let bulk = user
        .delete_objects()
        .bucket(BACKUP_BUCKET)
        .delete(delete.build().expect("a deletion"));
    let bulk = bulk.send().await.expect("an answer for each");
    assert_eq!(bulk.errors()[0].code(), Some("AccessDenied"));
    assert_eq!(
        observe(&store, &plan, &region, &server).await.marker,
        Observed::Seen(Marker::Ours)
    );
}

#[tokio::test]
async fn an_archived_file_is_found_where_pgbackrest_lays_it_and_nowhere_else() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    let archived = |name: &str| {
        let mut seen = PostgresFacts {
            server_version: 170_012,
            ..PostgresFacts::default()
        };
        seen.archiver.last_archived = Some(name.to_owned());
        ArchivedFile::newest(&plan.names, 1, &seen).expect("a file")
    };
    let file = archived("00000001000000000000000A");
    let missing = store.archived(&file).await;
    assert!(missing.is_err(), "without a bucket nothing is known");
    converge(&store, &plan, &region, &server).await;
    let user = client(
        &server,
        "tr-ist-1",
        Some((BACKUP_USER, "secret of pgbackrest")),
    );
    let put = async |key: &str| {
        let put = user.put_object().bucket(BACKUP_BUCKET).key(key);
        let body = ByteStream::from_static(b"wal");
        assert_eq!(outcome(put.body(body).send().await), "ok", "{key}");
    };
    // What looks like it and is not.
    for key in [
        "tr/archive/tr-i1/archive.info",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000B-ab.zst",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000A.partial-ab.zst",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000A.00000028.backup",
        "tr/archive/tr-i2/17-1/0000000100000000/00000001000000000000000A-ab.zst",
        "tr/archive/tr-i1/16-1/0000000100000000/00000001000000000000000A-ab.zst",
        "es/archive/es-i1/17-1/0000000100000000/00000001000000000000000A-ab.zst",
    ] {
        put(key).await;
    }
    assert_eq!(store.archived(&file).await, Ok(false));
    for (name, key) in [
        (
            "00000001000000000000000A",
            "17-1/0000000100000000/00000001000000000000000A-ab.zst",
        ),
        (
            "00000001000000000000000C",
            "17-2/0000000100000000/00000001000000000000000C-ab.zst",
        ),
        ("00000002.history", "17-1/00000002.history"),
    ] {
        assert_eq!(store.archived(&archived(name)).await, Ok(false), "{name}");
        put(&format!("tr/archive/tr-i1/{key}")).await;
        assert_eq!(store.archived(&archived(name)).await, Ok(true), "{name}");
    }
    for name in [
        "00000001000000000000000A.partial",
        "00000001000000000000000A.00000028.backup",
    ] {
        assert_eq!(store.archived(&archived(name)).await, Ok(true), "{name}");
    }
    // A store that does not answer does not say that it is not there.
    server.stop();
    let gone = store.archived(&file).await;
    let gone = gone.expect_err("it does not answer");
    assert_eq!(gone.failure, ReadFailure::Unreachable);
    assert!(gone.cause.is_some(), "{gone:?}");
}

#[tokio::test]
async fn a_renewed_certificate_comes_into_force_without_a_restart() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let presented = async |server: &Server| {
        let url = format!("{}/minio/health/live", server.endpoint);
        let answer = server.http().get(url).send().await.expect("an answer");
        let tls = answer.extensions().get::<reqwest::tls::TlsInfo>().cloned();
        tls.and_then(|tls| tls.peer_certificate().map(<[u8]>::to_vec))
            .expect("a certificate")
    };
    let first = presented(&server).await;
    server.renew(&plan);
    // The server looks once a minute.
    for _ in 0..180 {
        if presented(&server).await != first {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it still presents the first certificate");
}

#[tokio::test]
async fn other_root_credentials_are_refused_until_a_restart_and_everything_is_still_there_then() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let before = converge(&store(&plan, &server), &plan, &region, &server).await;
    let put = client(
        &server,
        "tr-ist-1",
        Some(("patient-api", "secret of patient-api")),
    )
    .put_object()
    .bucket("documents")
    .key(KEY)
    .body(ByteStream::from_static(b"kept"))
    .send()
    .await;
    assert_eq!(outcome(put), "ok");

    server.replace_root(&plan);
    let with_new = store(&plan, &server);
    let refused = with_new
        .observe(&plan.names, &region, &server.credentials)
        .await;
    // By this the operator knows that the servers run with the ones before.
    assert_eq!(
        refused.err().map(|unread| unread.failure),
        Some(ReadFailure::Unauthenticated)
    );

    server.stop();
    server.resume().await;
    let after = observe(&with_new, &plan, &region, &server).await;
    assert_eq!(after.users, before.users);
    assert_eq!(after.policies, before.policies);
    assert_eq!(steps(&plan, &after), []);
    assert_eq!(drift(&plan, &after), []);
    let got = client(
        &server,
        "tr-ist-1",
        Some(("patient-api", "secret of patient-api")),
    )
    .get_object()
    .bucket("documents")
    .key(KEY)
    .send()
    .await
    .expect("the object is there");
    let body = got.body.collect().await.expect("its content");
    assert_eq!(&body.into_bytes()[..], b"kept");
}
