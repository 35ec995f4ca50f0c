//! The object store's adapter against the real server, started on this machine as the model describes it: made from
//! nothing, read back, drifted and repaired, crashed between any two steps; and what its users can do, row by row.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on must end, and a table is read in one piece"
)]

mod attempts;
mod drift;
mod evidence;
mod faults;
#[path = "../../../model/tests/fixture/mod.rs"]
mod fixture;
mod in_memory;
mod repository;
mod server;
mod users;

use std::time::Duration;

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::BehaviorVersion;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_api::region::Region;
use bailiwick_model::facts::store::StoreFacts;
use bailiwick_model::facts::{ReadFailure, Unread};
use bailiwick_model::plan::Plan;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::steps;
use bailiwick_operator::store::Store;
use server::Server;

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
