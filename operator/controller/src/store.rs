//! The object store behind a Region: reads it into facts and does one step at a time, over S3 and the admin API of
//! MinIO and its forks. I/O: HTTPS to the Region's own store. It decides nothing.

mod admin;
mod bucket;
pub(crate) mod failure;
pub(crate) mod records;
mod repository;

use std::collections::{BTreeMap, BTreeSet};

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
use bailiwick_api::region::Region;
use bailiwick_minio_admin::{CALL_TIMEOUT, CONNECT_TIMEOUT, Client as AdminClient, Info};
use bailiwick_model::desired::object_store::{ACCESS_KEY, SECRET_KEY};
use bailiwick_model::facts::store::{BucketFact, BucketOutlet, Outlet, StoreFacts, UserFact};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, EVIDENCE_BUCKET, Names, OWN_USERS};
use bailiwick_model::repository::PASSPHRASE;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::{canonical, policy_user};
use bucket::done_or;
use failure::{Failure, s3_failure};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::credentials::Credentials;
use crate::error::StepError;
use crate::tls;

/// How many buckets or users are read at once.
const READS_AT_ONCE: usize = 4;
/// How many pages of a listing are read at most, of a thousand names each.
const PAGES: usize = 20;
/// How many folders deep the newest object is looked for.
const DEPTH: usize = 8;

/// One of several reads that run at once.
type Read<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// A Region's object store.
#[derive(Clone, Debug)]
pub struct Store {
    s3: Client,
    admin: AdminClient,
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
        let admin = AdminClient::new(
            endpoint,
            region,
            access_key,
            secret_key,
            tls::trusting(ca_pem)?,
        )
        .map_err(|error| Failure::from(error).kind)?;
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
            admin,
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
        self.admin.sealed_bodies()
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
        let info = self.online().await?;
        let (outlets, targets) = futures::try_join!(self.outlets(&info), self.targets())?;
        let buckets = self.buckets(region, targets).await?;
        let policies: BTreeMap<String, Value> = self
            .admin
            .policies()
            .await?
            .into_iter()
            .filter(|(name, _)| policy_user(name).is_some())
            .map(|(name, document)| (name, canonical(document)))
            .collect();
        let users = policies.keys().filter_map(|policy| policy_user(policy));
        let users = users.chain(OWN_USERS).map(str::to_owned);
        let users = users.chain(
            region
                .spec
                .object_store
                .users
                .iter()
                .map(|user| user.name.clone()),
        );
        let users = self.users(users.collect(), names, credentials).await?;
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

    /// Every bucket, those that are not of the spec too, with the remote stores that each knows.
    async fn buckets(
        &self,
        region: &Region,
        mut targets: BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, BucketFact>, Failure> {
        let wanted: BTreeSet<&str> = region
            .spec
            .object_store
            .buckets
            .iter()
            .map(|bucket| bucket.name.as_str())
            .chain([BACKUP_BUCKET, EVIDENCE_BUCKET])
            .collect();
        let listed = self.s3.list_buckets().send().await.map_err(s3_failure)?;
        // Boxed and collected first: a stream of closures would not be `Send` for every lifetime.
        let reads: Vec<Read<'_, (String, BucketFact)>> = listed
            .buckets()
            .iter()
            .filter_map(|bucket| bucket.name().map(str::to_owned))
            .map(|bucket| {
                let left = !wanted.contains(bucket.as_str());
                let known = targets.remove(&bucket).unwrap_or_default();
                async move {
                    let mut fact = Box::pin(self.bucket(&bucket, left)).await?;
                    fact.outlets
                        .extend(known.into_iter().map(BucketOutlet::Target));
                    Ok((bucket, fact))
                }
                .boxed()
            })
            .collect();
        stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Those of these users that the store has.
    async fn users(
        &self,
        users: BTreeSet<String>,
        names: &Names,
        credentials: &Credentials,
    ) -> Result<BTreeMap<String, UserFact>, Failure> {
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
        Ok(users.into_iter().flatten().collect())
    }

    /// What a server says of itself. It answers before it has read its own settings: it would take requests for any region.
    async fn online(&self) -> Result<Info, Failure> {
        let info = self.admin.info().await?;
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
        let users = self.admin.users().await;
        let users = users.map_err(|error| Failure::from(error).kind)?;
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
                Ok(self.admin.set_bucket_quota(bucket, *bytes).await?)
            }
            StoreStep::SetDefaultRetention { bucket, retention } => {
                self.set_default_retention(bucket, *retention).await
            }
            StoreStep::RemoveOutlet { bucket, outlet } => self.remove_outlet(bucket, outlet).await,
            StoreStep::PutPolicy { name, document } => {
                Ok(self.admin.put_policy(name, document).await?)
            }
            StoreStep::CreateUser { user, secret } => {
                // The condition Degraded tells of it; the other users have theirs.
                let secret_key = credentials
                    .text(secret, SECRET_KEY)
                    .ok_or_else(|| lacking(ReadFailure::Malformed, secret, SECRET_KEY))?;
                Ok(self.admin.add_user(user, secret_key).await?)
            }
            StoreStep::SetUserPolicy { user, policy } => {
                Ok(self.admin.set_user_policy(user, policy).await?)
            }
            StoreStep::LeaveGroup { user, group } => {
                Ok(self.admin.leave_group(user, group).await?)
            }
            StoreStep::SetUserEnabled { user, enabled } => {
                Ok(self.admin.set_user_enabled(user, *enabled).await?)
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
