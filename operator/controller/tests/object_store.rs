//! The object store's adapter against the real server, started on this machine as the model describes it: made from
//! nothing, read back, drifted and repaired, crashed between any two steps; and what its users can do, row by row.

#[path = "../../model/tests/fixture/mod.rs"]
mod fixture;
#[path = "object_store_server/mod.rs"]
mod server;

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::BehaviorVersion;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention, Delete, Event,
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NotificationConfiguration, ObjectIdentifier, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, QueueConfiguration,
    VersioningConfiguration,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::plan::Plan;
use bailiwick_model::region::Region;
use bailiwick_model::store::{Drift, Outlet, StoreFacts, StoreStep, drift, retained, steps};
use bailiwick_operator::store::Store;
use server::Server;

/// Three buckets of different kinds and two users with different rights.
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
    store
        .observe(&plan.names, region, &server.credentials)
        .await
        .unwrap_or_else(|failure| panic!("cannot be read: {failure:?}\n{}", server.log()))
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

/// The code by which the store refused, or `ok`.
fn outcome<T, E, R>(result: Result<T, SdkError<E, R>>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.code() {
            Some(code) => code.to_owned(),
            None => format!("{error:?}"),
        },
    }
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
    assert_eq!(seen.buckets.len(), 4);
    assert_eq!(seen.users.len(), 3);
    assert_eq!(seen.region, "tr-ist-1");
    assert!(seen.encrypts);

    // A pass that finds nothing to do costs no sealed body.
    let sealed = store.sealed_bodies();
    assert_eq!(sealed, 3, "one for each user");
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
