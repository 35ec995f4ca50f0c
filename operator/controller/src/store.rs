//! The object store behind a Region: reads it into facts and does one step at a time, over S3 and the admin API of
//! MinIO and its forks. I/O: HTTPS to the Region's own store. It decides nothing.

mod admin;
mod bucket;
pub(crate) mod records;
mod repository;
pub mod seal;
pub(crate) mod signed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_model::desired::object_store::{ACCESS_KEY, SECRET_KEY};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, EVIDENCE_BUCKET, Names, OWN_USERS};
use bailiwick_model::region::Region;
use bailiwick_model::repository::PASSPHRASE;
use bailiwick_model::store::{
    BucketFact, BucketOutlet, Outlet, StoreFacts, StoreStep, UserFact, canonical, policy_user,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::credentials::Credentials;
use crate::error::StepError;
use admin::Info;
use bucket::{done_or, s3_failure};
use signed::{CALL_TIMEOUT, CONNECT_TIMEOUT, Failure, Signed};

/// How many buckets or users are read at once.
const READS_AT_ONCE: usize = 4;
/// How many pages of a listing are read at most, of a thousand names each.
const PAGES: usize = 20;
/// How many folders deep the newest object is looked for.
const DEPTH: usize = 8;

/// One sealed body at a time, in the whole process: each takes 64 MiB while its key is made.
static SEALING: Mutex<()> = Mutex::const_new(());

/// One of several reads that run at once.
type Read<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// A Region's object store.
#[derive(Clone, Debug)]
pub struct Store {
    s3: Client,
    signed: Signed,
    sealed: Arc<AtomicU64>,
}

impl Store {
    /// A client of the store at `endpoint`, which signs for `region` and trusts the authorities in `ca_pem` alone.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// `Untrusted` when `ca_pem` holds no certificate, `Malformed` when `endpoint` is no URL.
    pub fn new(
        endpoint: &str,
        region: &str,
        access_key: &str,
        secret_key: &str,
        ca_pem: &[u8],
    ) -> Result<Self, ReadFailure> {
        let root = Signer::new(access_key, secret_key, None, None, "bailiwick");
        let signed = Signed::new(endpoint, region, root.clone(), ca_pem)?;
        let tls = TlsContext::builder()
            .with_trust_store(TrustStore::empty().with_pem_certificate(ca_pem))
            .build()
            .map_err(|_| ReadFailure::Untrusted)?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build_https();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new(region.to_owned()))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .credentials_provider(root)
            .http_client(http)
            // The reconcile loop tries again, and says so.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self {
            s3: Client::from_conf(config),
            signed,
            sealed: Arc::default(),
        })
    }

    /// A client of a Region's own store, with the root credentials and the authority of its Secrets.
    ///
    /// # Errors
    /// `NotReady` when a Secret is not there yet, else as [`Self::new`].
    pub fn of(names: &Names, region: &Region, credentials: &Credentials) -> Result<Self, Unread> {
        let missing = |secret: &str, key: &str| Unread {
            failure: ReadFailure::NotReady,
            cause: Some(format!("Secret {secret}: {key} is missing")),
        };
        let root = names.object_store_root();
        let text = |key| {
            credentials
                .text(&root, key)
                .ok_or_else(|| missing(&root, key))
        };
        let certificate = names.object_store_certificate();
        let authority = credentials
            .bytes(&certificate, "ca.crt")
            .ok_or_else(|| missing(&certificate, "ca.crt"))?;
        Ok(Self::new(
            &names.object_store_endpoint(),
            &region.spec.residency.location,
            text(ACCESS_KEY)?,
            text(SECRET_KEY)?,
            authority,
        )?)
    }

    /// How many bodies were sealed or opened, each at the price of 64 MiB for a moment.
    #[must_use]
    pub fn sealed_bodies(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Reads the store: every bucket, the repository's marker, the users of the spec and of every policy that the operator
    /// wrote, and what could lead out. No sealed body is read.
    ///
    /// # Errors
    /// The first failure: what could not be read in full is not there in part.
    pub async fn observe(
        &self,
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Result<StoreFacts, Unread> {
        self.read(names, region, credentials)
            .await
            .map_err(|failure| {
                let unread = failure.unread();
                tracing::warn!(
                    region = names.region(),
                    failure = unread.failure.as_str(),
                    cause = unread.cause,
                    "the object store could not be read"
                );
                unread
            })
    }

    async fn read(
        &self,
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Result<StoreFacts, Failure> {
        let wanted: BTreeSet<&str> = region
            .spec
            .object_store
            .buckets
            .iter()
            .map(|bucket| bucket.name.as_str())
            .chain([BACKUP_BUCKET, EVIDENCE_BUCKET])
            .collect();
        let info = self.online().await?;
        let (outlets, mut targets) = futures::try_join!(self.outlets(&info), self.targets())?;
        let buckets = self.s3.list_buckets().send().await.map_err(s3_failure)?;
        // Boxed and collected first: a stream of closures would not be `Send` for every lifetime.
        let reads: Vec<Read<'_, (String, BucketFact)>> = buckets
            .buckets()
            .iter()
            .filter_map(|bucket| bucket.name().map(str::to_owned))
            .map(|bucket| {
                let left = !wanted.contains(bucket.as_str());
                async move {
                    let fact = Box::pin(self.bucket(&bucket, left)).await?;
                    Ok((bucket, fact))
                }
                .boxed()
            })
            .collect();
        let buckets: BTreeMap<String, BucketFact> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let buckets: BTreeMap<String, BucketFact> = buckets
            .into_iter()
            .map(|(name, mut fact)| {
                let known = targets.remove(&name).unwrap_or_default();
                fact.outlets
                    .extend(known.into_iter().map(BucketOutlet::Target));
                (name, fact)
            })
            .collect();
        let policies: BTreeMap<String, Value> = self
            .get::<BTreeMap<String, Value>>("list-canned-policies", &[])
            .await?
            .into_iter()
            .filter(|(name, _)| policy_user(name).is_some())
            .map(|(name, document)| (name, canonical(document)))
            .collect();
        let mut users: BTreeSet<String> = policies
            .keys()
            .filter_map(|policy| policy_user(policy).map(str::to_owned))
            .collect();
        users.extend(OWN_USERS.map(str::to_owned));
        users.extend(
            region
                .spec
                .object_store
                .users
                .iter()
                .map(|user| user.name.clone()),
        );
        let reads: Vec<Read<'_, Option<(String, UserFact)>>> = users
            .into_iter()
            .map(|user| {
                async move {
                    let secret = names.object_store_user(&user);
                    let fact = self
                        .user(&user, credentials.text(&secret, SECRET_KEY))
                        .await?;
                    Ok(fact.map(|fact| (user, fact)))
                }
                .boxed()
            })
            .collect();
        let users: Vec<Option<(String, UserFact)>> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let users = users.into_iter().flatten().collect();
        let marker = if buckets.contains_key(BACKUP_BUCKET) {
            Box::pin(self.marker(names, region, credentials)).await
        } else {
            Observed::NotAsked
        };
        Ok(StoreFacts {
            marker,
            encrypts: info
                .services
                .kms_status
                .iter()
                .any(|kms| kms.status == "online"),
            region: info.region,
            buckets,
            users,
            policies,
            outlets,
            users_listed: false,
        })
    }

    /// What a server says of itself. It answers before it has read its own settings: it would take requests for any region.
    async fn online(&self) -> Result<Info, Failure> {
        let info: Info = self.get("info", &[]).await?;
        if info.mode != "online" || info.region.is_empty() {
            return Err(Failure::because(
                ReadFailure::NotReady,
                "its server is not online yet",
            ));
        }
        Ok(info)
    }

    /// Every user that the store knows and neither the spec nor a policy of ours names. It costs one sealed body,
    /// so it is no part of [`Self::observe`]: ask for it now and then.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn unknown_users(&self, seen: &StoreFacts) -> Result<BTreeSet<Outlet>, ReadFailure> {
        let sealed = self
            .call(Method::GET, "list-users", &[], Vec::new())
            .await
            .map_err(|failure| failure.kind)?;
        let plain = self
            .sealing(move |password| seal::open(password, &sealed))
            .await
            .map_err(|failure| failure.kind)?;
        let users: BTreeMap<String, Value> =
            serde_json::from_slice(&plain).map_err(|_| ReadFailure::Malformed)?;
        Ok(users
            .into_keys()
            .filter(|user| !seen.users.contains_key(user))
            .map(Outlet::User)
            .collect())
    }

    /// The newest object under `prefix`: of the last folder by name at each level, the one changed last. That is how
    /// pgBackRest lays WAL out, by version, then timeline and log. Reads a bounded number of pages.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn newest_object(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<Option<(String, Timestamp)>, ReadFailure> {
        let mut prefix = prefix.to_owned();
        let mut newest = None;
        for _ in 0..DEPTH {
            let mut folder = None;
            let mut pages = self
                .s3
                .list_objects_v2()
                .bucket(bucket)
                .prefix(&prefix)
                .delimiter("/")
                .into_paginator()
                .send();
            for _ in 0..PAGES {
                let Some(page) = pages.next().await else {
                    break;
                };
                let page = page.map_err(|error| s3_failure(error).kind)?;
                for object in page.contents() {
                    if let (Some(key), Some(changed)) = (object.key(), object.last_modified()) {
                        let changed = Timestamp::new(
                            changed.secs(),
                            i32::try_from(changed.subsec_nanos()).unwrap_or_default(),
                        )
                        .map_err(|_| ReadFailure::Malformed)?;
                        let this = (changed, key.to_owned());
                        newest = newest.max(Some(this));
                    }
                }
                folder = folder.max(
                    page.common_prefixes()
                        .iter()
                        .filter_map(|folder| folder.prefix().map(str::to_owned))
                        .max(),
                );
            }
            match folder {
                // What lies beside a folder describes it; what is in it counts.
                Some(folder) => {
                    prefix = folder;
                    newest = None;
                }
                None => break,
            }
        }
        Ok(newest.map(|(changed, key)| (key, changed)))
    }

    /// Does one step. Doing it twice ends the same.
    ///
    /// # Errors
    /// What was to be done and why it was not.
    pub async fn perform(
        &self,
        step: &StoreStep,
        credentials: &Credentials,
    ) -> Result<(), StepError> {
        self.take(step, credentials)
            .await
            .map_err(|failure| StepError {
                system: "object store",
                what: step.to_string(),
                failure: failure.kind,
                source: failure.source,
            })
    }

    async fn take(&self, step: &StoreStep, credentials: &Credentials) -> Result<(), Failure> {
        match step {
            StoreStep::CreateBucket { place, object_lock } => {
                self.create_bucket(&place.place().name, *object_lock).await
            }
            StoreStep::SetReclaim { bucket, reclaim } => self.set_reclaim(bucket, *reclaim).await,
            StoreStep::SetVersioning { bucket, enabled } => {
                self.set_versioning(bucket, *enabled).await
            }
            StoreStep::SetEncryption { bucket } => self.set_encryption(bucket).await,
            StoreStep::SetLifecycle {
                bucket,
                noncurrent_days,
            } => self.set_lifecycle(bucket, *noncurrent_days).await,
            StoreStep::SetQuota { bucket, bytes } => {
                let quota = match bytes {
                    Some(bytes) => json!({"quota": bytes, "size": bytes, "quotatype": "hard"}),
                    None => json!({"quota": 0, "size": 0}),
                };
                self.put("set-bucket-quota", &[("bucket", bucket)], &quota)
                    .await
            }
            StoreStep::SetDefaultRetention { bucket, retention } => {
                self.set_default_retention(bucket, *retention).await
            }
            StoreStep::RemoveOutlet { bucket, outlet } => self.remove_outlet(bucket, outlet).await,
            StoreStep::PutPolicy { name, document } => {
                self.put("add-canned-policy", &[("name", name)], document)
                    .await
            }
            StoreStep::CreateUser { user, secret } => {
                // The condition Degraded tells of it; the other users have theirs.
                let secret_key = credentials
                    .text(secret, SECRET_KEY)
                    .ok_or_else(|| lacking(ReadFailure::Malformed, secret, SECRET_KEY))?;
                let plain = json!({"secretKey": secret_key, "status": "enabled"}).to_string();
                let body = self
                    .sealing(move |password| seal::seal(password, plain.as_bytes()))
                    .await?;
                self.call(Method::PUT, "add-user", &[("accessKey", user)], body)
                    .await
                    .map(drop)
            }
            StoreStep::SetUserPolicy { user, policy } => self
                .call(
                    Method::PUT,
                    "set-user-or-group-policy",
                    &[
                        ("policyName", policy),
                        ("userOrGroup", user),
                        ("isGroup", "false"),
                    ],
                    Vec::new(),
                )
                .await
                .map(drop),
            StoreStep::LeaveGroup { user, group } => {
                let change = json!({
                    "group": group,
                    "members": [user],
                    "groupStatus": "enabled",
                    "isRemove": true,
                });
                self.put("update-group-members", &[], &change).await
            }
            StoreStep::SetUserEnabled { user, enabled } => {
                let status = if *enabled { "enabled" } else { "disabled" };
                self.call(
                    Method::PUT,
                    "set-user-status",
                    &[("accessKey", user), ("status", status)],
                    Vec::new(),
                )
                .await
                .map(drop)
            }
            StoreStep::PutMarker { owner, secret } => {
                let passphrase = credentials
                    .bytes(secret, PASSPHRASE)
                    .ok_or_else(|| lacking(ReadFailure::NotReady, secret, PASSPHRASE))?;
                Box::pin(self.put_marker(owner, passphrase)).await
            }
            StoreStep::DeleteBucket { bucket } => done_or(
                self.s3.delete_bucket().bucket(bucket).send().await,
                // Something was put into it since: it stays, and the next look sees that.
                &["NoSuchBucket", "BucketNotEmpty"],
            ),
        }
    }
}

/// A step that needs a value that its Secret does not hold.
fn lacking(kind: ReadFailure, secret: &str, key: &str) -> Failure {
    Failure::because(kind, format!("Secret {secret}: {key} is missing"))
}
