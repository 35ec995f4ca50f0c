//! The object store behind a Region: reads it into facts and does one step at a time, over S3 and the admin API of
//! MinIO and its forks. I/O: HTTPS to the Region's own store. It decides nothing.

pub mod seal;
mod signed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, NotificationConfiguration,
    ObjectLockConfiguration, ObjectLockEnabled, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    Tag, Tagging, VersioningConfiguration,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_model::desired::object_store::{ACCESS_KEY, SECRET_KEY};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER, Names};
use bailiwick_model::region::{Reclaim, Region};
use bailiwick_model::store::{
    BucketFact, BucketOutlet, Encryption, Lifecycle, Outlet, StoreFacts, StoreStep, TAG_RECLAIM,
    UserFact, Versioning, canonical, policy_user,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::credentials::Credentials;
use crate::error::StepError;
use signed::{CALL_TIMEOUT, CONNECT_TIMEOUT, Failure, Signed};

/// The id of the one rule that the operator writes into a bucket's lifecycle.
const LIFECYCLE_RULE: &str = "bailiwick-noncurrent";
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
    pub fn of(
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Result<Self, ReadFailure> {
        let root = names.object_store_root();
        let text = |key| credentials.text(&root, key).ok_or(ReadFailure::NotReady);
        let authority = credentials
            .bytes(&names.object_store_certificate(), "ca.crt")
            .ok_or(ReadFailure::NotReady)?;
        Self::new(
            &names.object_store_endpoint(),
            &region.spec.residency.location,
            text(ACCESS_KEY)?,
            text(SECRET_KEY)?,
            authority,
        )
    }

    /// How many bodies were sealed or opened, each at the price of 64 MiB for a moment.
    #[must_use]
    pub fn sealed_bodies(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Reads the store: every bucket, the users of the spec and of every policy that the operator wrote, and what
    /// could lead out. No sealed body is read.
    ///
    /// # Errors
    /// The first failure: what could not be read in full is not there in part.
    pub async fn observe(
        &self,
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Result<StoreFacts, ReadFailure> {
        self.read(names, region, credentials)
            .await
            .map_err(|failure| {
                tracing::debug!(
                    region = names.region(),
                    code = failure.code,
                    source = failure.source,
                    "cannot read the object store"
                );
                failure.kind
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
            .chain([BACKUP_BUCKET])
            .collect();
        let info: Info = self.get("info", &[]).await?;
        // A server answers before it has read its own settings: it would take requests for any region.
        if info.mode != "online" || info.region.is_empty() {
            return Err(Failure::of(ReadFailure::NotReady));
        }
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
        let buckets = buckets
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
        users.insert(BACKUP_USER.to_owned());
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
        Ok(StoreFacts {
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
        })
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
            StoreStep::ClearDefaultRetention { bucket } => {
                self.clear_default_retention(bucket).await
            }
            StoreStep::RemoveOutlet { bucket, outlet } => self.remove_outlet(bucket, outlet).await,
            StoreStep::PutPolicy { name, document } => {
                self.put("add-canned-policy", &[("name", name)], document)
                    .await
            }
            StoreStep::CreateUser { user, secret } => {
                let secret_key = credentials
                    .text(secret, SECRET_KEY)
                    .ok_or_else(|| Failure::of(ReadFailure::NotReady))?;
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
            StoreStep::DeleteBucket { bucket } => done_or(
                self.s3.delete_bucket().bucket(bucket).send().await,
                // Something was put into it since: it stays, and the next look sees that.
                &["NoSuchBucket", "BucketNotEmpty"],
            ),
        }
    }

    async fn create_bucket(&self, bucket: &str, object_lock: bool) -> Result<(), Failure> {
        done_or(
            self.s3
                .create_bucket()
                .bucket(bucket)
                .object_lock_enabled_for_bucket(object_lock)
                .send()
                .await,
            &["BucketAlreadyOwnedByYou"],
        )
    }

    async fn set_reclaim(&self, bucket: &str, reclaim: Reclaim) -> Result<(), Failure> {
        let value = match reclaim {
            Reclaim::Retain => "Retain",
            Reclaim::Delete => "Delete",
        };
        let malformed = |_| Failure::of(ReadFailure::Malformed);
        // The call replaces all tags: those of others stay.
        let mut tags = self.tags(bucket).await?;
        tags.retain(|tag| tag.key() != TAG_RECLAIM);
        let ours = Tag::builder().key(TAG_RECLAIM).value(value).build();
        tags.push(ours.map_err(malformed)?);
        let tagging = Tagging::builder()
            .set_tag_set(Some(tags))
            .build()
            .map_err(malformed)?;
        done(
            self.s3
                .put_bucket_tagging()
                .bucket(bucket)
                .tagging(tagging)
                .send()
                .await,
        )
    }

    async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), Failure> {
        let status = if enabled {
            BucketVersioningStatus::Enabled
        } else {
            BucketVersioningStatus::Suspended
        };
        let configuration = VersioningConfiguration::builder().status(status).build();
        done(
            self.s3
                .put_bucket_versioning()
                .bucket(bucket)
                .versioning_configuration(configuration)
                .send()
                .await,
        )
    }

    async fn clear_default_retention(&self, bucket: &str) -> Result<(), Failure> {
        let configuration = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .build();
        done(
            self.s3
                .put_object_lock_configuration()
                .bucket(bucket)
                .object_lock_configuration(configuration)
                .send()
                .await,
        )
    }

    async fn set_encryption(&self, bucket: &str) -> Result<(), Failure> {
        let malformed = |_| Failure::of(ReadFailure::Malformed);
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(
                ServerSideEncryptionByDefault::builder()
                    .sse_algorithm(ServerSideEncryption::Aes256)
                    .build()
                    .map_err(malformed)?,
            )
            .build();
        let configuration = ServerSideEncryptionConfiguration::builder()
            .rules(rule)
            .build()
            .map_err(malformed)?;
        done(
            self.s3
                .put_bucket_encryption()
                .bucket(bucket)
                .server_side_encryption_configuration(configuration)
                .send()
                .await,
        )
    }

    async fn set_lifecycle(&self, bucket: &str, days: Option<i32>) -> Result<(), Failure> {
        let malformed = |_| Failure::of(ReadFailure::Malformed);
        let Some(days) = days else {
            return done(
                self.s3
                    .delete_bucket_lifecycle()
                    .bucket(bucket)
                    .send()
                    .await,
            );
        };
        let rule = LifecycleRule::builder()
            .id(LIFECYCLE_RULE)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .noncurrent_version_expiration(
                NoncurrentVersionExpiration::builder()
                    .noncurrent_days(days)
                    .build(),
            )
            // A deletion's marker goes with the last version that it hides.
            .expiration(
                LifecycleExpiration::builder()
                    .expired_object_delete_marker(true)
                    .build(),
            )
            .build()
            .map_err(malformed)?;
        let configuration = BucketLifecycleConfiguration::builder()
            .rules(rule)
            .build()
            .map_err(malformed)?;
        done(
            self.s3
                .put_bucket_lifecycle_configuration()
                .bucket(bucket)
                .lifecycle_configuration(configuration)
                .send()
                .await,
        )
    }

    async fn remove_outlet(&self, bucket: &str, outlet: &BucketOutlet) -> Result<(), Failure> {
        match outlet {
            BucketOutlet::Policy => {
                done(self.s3.delete_bucket_policy().bucket(bucket).send().await)
            }
            BucketOutlet::Replication => done_or(
                self.s3
                    .delete_bucket_replication()
                    .bucket(bucket)
                    .send()
                    .await,
                &["ReplicationConfigurationNotFoundError"],
            ),
            BucketOutlet::Target(arn) => {
                let removed = self
                    .call(
                        Method::DELETE,
                        "remove-remote-target",
                        &[("bucket", bucket), ("arn", arn)],
                        Vec::new(),
                    )
                    .await;
                match removed {
                    Err(failure) if failure.code != "XMinioAdminRemoteTargetNotFoundError" => {
                        Err(failure)
                    }
                    _ => Ok(()),
                }
            }
            BucketOutlet::Notification => done(
                self.s3
                    .put_bucket_notification_configuration()
                    .bucket(bucket)
                    .notification_configuration(NotificationConfiguration::builder().build())
                    .send()
                    .await,
            ),
        }
    }

    /// Reads a bucket. Whether it is empty is looked up only where it left the spec and may be deleted.
    async fn bucket(&self, bucket: &str, left: bool) -> Result<BucketFact, Failure> {
        let (tags, versioning, lock, quota, lifecycle, encryption, policy, replication, events) = futures::try_join!(
            self.tags(bucket),
            self.versioning(bucket),
            self.object_lock(bucket),
            self.quota(bucket),
            self.lifecycle(bucket),
            self.encryption(bucket),
            async {
                let policy = self.s3.get_bucket_policy().bucket(bucket).send().await;
                Ok(found(policy, "NoSuchBucketPolicy")?.is_some())
            },
            async {
                let replication = self.s3.get_bucket_replication().bucket(bucket).send().await;
                Ok(found(replication, "ReplicationConfigurationNotFoundError")?.is_some())
            },
            self.notification(bucket),
        )?;
        let reclaim =
            tags.iter()
                .find(|tag| tag.key() == TAG_RECLAIM)
                .map(|tag| match tag.value() {
                    "Delete" => Reclaim::Delete,
                    _ => Reclaim::Retain,
                });
        let empty = left && reclaim == Some(Reclaim::Delete) && self.is_empty(bucket).await?;
        Ok(BucketFact {
            versioning,
            object_lock: lock.is_some(),
            default_retention: lock == Some(true),
            quota,
            lifecycle,
            encryption,
            outlets: [
                (policy, BucketOutlet::Policy),
                (replication, BucketOutlet::Replication),
                (events, BucketOutlet::Notification),
            ]
            .into_iter()
            .filter_map(|(open, outlet)| open.then_some(outlet))
            .collect(),
            reclaim,
            empty,
        })
    }

    async fn tags(&self, bucket: &str) -> Result<Vec<Tag>, Failure> {
        let tags = self.s3.get_bucket_tagging().bucket(bucket).send().await;
        Ok(found(tags, "NoSuchTagSet")?
            .map(|tags| tags.tag_set)
            .unwrap_or_default())
    }

    async fn versioning(&self, bucket: &str) -> Result<Versioning, Failure> {
        let versioning = self
            .s3
            .get_bucket_versioning()
            .bucket(bucket)
            .send()
            .await
            .map_err(s3_failure)?;
        match versioning.status() {
            None => Ok(Versioning::Off),
            Some(BucketVersioningStatus::Enabled) => Ok(Versioning::Enabled),
            Some(BucketVersioningStatus::Suspended) => Ok(Versioning::Suspended),
            Some(_) => Err(Failure::of(ReadFailure::Malformed)),
        }
    }

    /// None without object lock; with it, whether every new object is locked by default.
    async fn object_lock(&self, bucket: &str) -> Result<Option<bool>, Failure> {
        let lock = self
            .s3
            .get_object_lock_configuration()
            .bucket(bucket)
            .send()
            .await;
        let lock = found(lock, "ObjectLockConfigurationNotFoundError")?;
        Ok(lock
            .and_then(|lock| lock.object_lock_configuration)
            .filter(|lock| lock.object_lock_enabled == Some(ObjectLockEnabled::Enabled))
            .map(|lock| {
                lock.rule
                    .is_some_and(|rule| rule.default_retention.is_some())
            }))
    }

    async fn quota(&self, bucket: &str) -> Result<Option<u64>, Failure> {
        let quota: Quota = self.get("get-bucket-quota", &[("bucket", bucket)]).await?;
        // Newer servers keep it as `size`, older ones as `quota`.
        Ok(Some(quota.size.max(quota.quota)).filter(|bytes| *bytes > 0))
    }

    async fn lifecycle(&self, bucket: &str) -> Result<Lifecycle, Failure> {
        let lifecycle = self
            .s3
            .get_bucket_lifecycle_configuration()
            .bucket(bucket)
            .send()
            .await;
        let rules = found(lifecycle, "NoSuchLifecycleConfiguration")?
            .map(|lifecycle| lifecycle.rules().to_vec())
            .unwrap_or_default();
        Ok(match rules.as_slice() {
            [] => Lifecycle::Keeps,
            [rule] => ours(rule).map_or(Lifecycle::Other, Lifecycle::Noncurrent),
            _ => Lifecycle::Other,
        })
    }

    async fn encryption(&self, bucket: &str) -> Result<Encryption, Failure> {
        let encryption = self.s3.get_bucket_encryption().bucket(bucket).send().await;
        let encryption = found(encryption, "ServerSideEncryptionConfigurationNotFoundError")?
            .and_then(|encryption| encryption.server_side_encryption_configuration);
        let Some(encryption) = encryption else {
            return Ok(Encryption::Unset);
        };
        let store_key = match encryption.rules() {
            [rule] => rule
                .apply_server_side_encryption_by_default()
                .is_some_and(|default| *default.sse_algorithm() == ServerSideEncryption::Aes256),
            _ => false,
        };
        Ok(if store_key {
            Encryption::StoreKey
        } else {
            Encryption::Other
        })
    }

    async fn notification(&self, bucket: &str) -> Result<bool, Failure> {
        let notification = self
            .s3
            .get_bucket_notification_configuration()
            .bucket(bucket)
            .send()
            .await
            .map_err(s3_failure)?;
        Ok(!notification.topic_configurations().is_empty()
            || !notification.queue_configurations().is_empty()
            || !notification.lambda_function_configurations().is_empty()
            || notification.event_bridge_configuration().is_some())
    }

    async fn is_empty(&self, bucket: &str) -> Result<bool, Failure> {
        let versions = self
            .s3
            .list_object_versions()
            .bucket(bucket)
            .max_keys(1)
            .send()
            .await
            .map_err(s3_failure)?;
        Ok(versions.versions().is_empty() && versions.delete_markers().is_empty())
    }

    async fn user(
        &self,
        user: &str,
        secret_key: Option<&str>,
    ) -> Result<Option<UserFact>, Failure> {
        let info: UserInfo = match self.get("user-info", &[("accessKey", user)]).await {
            Ok(info) => info,
            Err(failure) if failure.code == "XMinioAdminNoSuchUser" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let enabled = info.status == "enabled";
        let key_current = match secret_key {
            Some(secret_key) if enabled => self.signed.knows(user, secret_key).await?,
            _ => true,
        };
        let policies = info.policy_name.split(',').filter(|name| !name.is_empty());
        Ok(Some(UserFact {
            enabled,
            policies: policies.map(str::to_owned).collect(),
            groups: info.member_of.into_iter().flatten().collect(),
            key_current,
        }))
    }

    /// What could lead out of the store as a whole.
    async fn outlets(&self, info: &Info) -> Result<BTreeSet<Outlet>, Failure> {
        let (replication, tiers, providers): (SiteReplication, Option<Vec<Tier>>, Providers) = futures::try_join!(
            self.get("site-replication/info", &[]),
            self.get("tier", &[]),
            self.get("site-replication/peer/idp-settings", &[]),
        )?;
        let mut outlets = BTreeSet::new();
        if replication.enabled {
            outlets.insert(Outlet::SiteReplication);
        }
        outlets.extend(
            tiers
                .into_iter()
                .flatten()
                .map(|tier| Outlet::Tier(tier.name)),
        );
        for (enabled, name) in [
            (providers.ldap.enabled, "ldap"),
            (providers.openid.enabled, "openid"),
        ] {
            if enabled {
                outlets.insert(Outlet::IdentityProvider(name.to_owned()));
            }
        }
        let services = &info.services;
        outlets.extend(
            services
                .notifications
                .iter()
                .flat_map(BTreeMap::keys)
                .map(|target| Outlet::EventTarget(target.clone())),
        );
        outlets.extend(
            services
                .logger
                .iter()
                .chain(&services.audit)
                .flat_map(BTreeMap::keys)
                .map(|target| Outlet::LogTarget(target.clone())),
        );
        outlets.extend(
            info.servers
                .iter()
                .flat_map(|server| server.environment.iter())
                .filter(|(name, value)| leads_out(name, value))
                .map(|(name, _)| Outlet::Setting(name.clone())),
        );
        Ok(outlets)
    }

    /// The remote stores that buckets know, by bucket.
    async fn targets(&self) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let targets: Option<Vec<Target>> = self
            .get("list-remote-targets", &[("bucket", ""), ("type", "")])
            .await?;
        let mut by_bucket: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for target in targets.into_iter().flatten() {
            by_bucket.entry(target.bucket).or_default().push(target.arn);
        }
        Ok(by_bucket)
    }

    /// Does Argon2id's work off the runtime's threads, one body at a time.
    async fn sealing<F>(&self, work: F) -> Result<Vec<u8>, Failure>
    where
        F: FnOnce(&[u8]) -> Result<Vec<u8>, seal::SealError> + Send + 'static,
    {
        let password = self.signed.secret_key().to_vec();
        let _one = SEALING.lock().await;
        self.sealed.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || work(&password))
            .await
            .map_err(|_| Failure::of(ReadFailure::NotReady))?
            .map_err(|error| Failure {
                source: Some(error.into()),
                ..Failure::of(ReadFailure::Malformed)
            })
    }

    async fn call(
        &self,
        method: Method,
        operation: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let path = format!("/minio/admin/v3/{operation}");
        self.signed.call(method, &path, query, body).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let body = self.call(Method::GET, operation, query, Vec::new()).await?;
        serde_json::from_slice(&body).map_err(|error| Failure {
            source: Some(error.into()),
            ..Failure::of(ReadFailure::Malformed)
        })
    }

    async fn put(
        &self,
        operation: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), Failure> {
        self.call(Method::PUT, operation, query, body.to_string().into_bytes())
            .await
            .map(drop)
    }
}

/// The days of a rule that is exactly ours.
fn ours(rule: &LifecycleRule) -> Option<i32> {
    let everywhere = rule.filter().is_none_or(|filter| {
        filter.prefix().is_none_or(str::is_empty)
            && filter.tag().is_none()
            && filter.and().is_none()
            && filter.object_size_greater_than().is_none()
            && filter.object_size_less_than().is_none()
    });
    let expiration = rule.expiration()?;
    let alone = rule.transitions().is_empty()
        && rule.noncurrent_version_transitions().is_empty()
        && expiration.days().is_none()
        && expiration.date().is_none()
        && expiration.expired_object_delete_marker() == Some(true);
    let noncurrent = rule.noncurrent_version_expiration()?;
    let whole = noncurrent
        .newer_noncurrent_versions()
        .is_none_or(|kept| kept == 0);
    (rule.id() == Some(LIFECYCLE_RULE)
        && *rule.status() == ExpirationStatus::Enabled
        && everywhere
        && alone
        && whole)
        .then(|| noncurrent.noncurrent_days())
        .flatten()
}

/// Whether a setting of the server sends something out, or lets strangers in.
fn leads_out(name: &str, value: &str) -> bool {
    const PREFIXES: [&str; 10] = [
        "MINIO_AUDIT_",
        "MINIO_ETCD_",
        "MINIO_FTP",
        "MINIO_IDENTITY_",
        "MINIO_LAMBDA_",
        "MINIO_LOGGER_",
        "MINIO_LOG_QUERY_",
        "MINIO_NOTIFY_",
        "MINIO_POLICY_PLUGIN_",
        "MINIO_SUBNET_",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name == "MINIO_CALLHOME_ENABLE" && value != "off"
}

/// What the S3 client's error means.
fn s3_failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => Failure::answered(
            answer.raw().status().as_u16(),
            answer.err().code().unwrap_or_default(),
        ),
        SdkError::ResponseError(answer) => Failure::answered(
            answer.raw().status().as_u16(),
            "without a body that we know",
        ),
        SdkError::TimeoutError(_) => Failure::unanswered(true, error),
        SdkError::DispatchFailure(failure) => Failure::unanswered(failure.is_timeout(), error),
        _ => Failure::of(ReadFailure::Malformed),
    }
}

/// The value of a read, or none when the store says that there is none by `absent`.
fn found<T, E>(
    result: Result<T, SdkError<E, HttpResponse>>,
    absent: &str,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some(absent) => Ok(None),
        Err(error) => Err(s3_failure(error)),
    }
}

fn done<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    done_or(result, &[])
}

/// A write that is done, also when the store refuses it with one of `already`.
fn done_or<T, E>(
    result: Result<T, SdkError<E, HttpResponse>>,
    already: &[&str],
) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.code().is_some_and(|code| already.contains(&code)) => Ok(()),
        Err(error) => Err(s3_failure(error)),
    }
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    services: Services,
    #[serde(default)]
    servers: Vec<Server>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Services {
    #[serde(rename = "kmsStatus")]
    kms_status: Vec<Kms>,
    notifications: Vec<BTreeMap<String, Value>>,
    logger: Vec<BTreeMap<String, Value>>,
    audit: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Kms {
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct Server {
    #[serde(default, rename = "minio_env_vars")]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Quota {
    #[serde(default)]
    quota: u64,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserInfo {
    #[serde(default)]
    policy_name: String,
    status: String,
    #[serde(default)]
    member_of: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct SiteReplication {
    enabled: bool,
}

#[derive(Deserialize)]
struct Tier {
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
struct Providers {
    #[serde(rename = "LDAP")]
    ldap: Ldap,
    #[serde(rename = "OpenID")]
    openid: OpenId,
}

#[derive(Deserialize)]
struct Ldap {
    #[serde(rename = "IsLDAPEnabled")]
    enabled: bool,
}

#[derive(Deserialize)]
struct OpenId {
    #[serde(rename = "Enabled")]
    enabled: bool,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "sourcebucket")]
    bucket: String,
    arn: String,
}
