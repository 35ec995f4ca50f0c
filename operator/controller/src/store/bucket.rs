//! One bucket over S3: reads it into a fact, and makes the changes that steps ask for. I/O: HTTPS to the Region's own
//! store.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, NotificationConfiguration,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule, Tag, Tagging, VersioningConfiguration,
};
use bailiwick_api::region::{ObjectRetention, Reclaim, RetentionMode};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::store::{
    BucketFact, BucketOutlet, DefaultRetention, Encryption, Lifecycle, Versioning,
};
use bailiwick_model::store::TAG_RECLAIM;

use super::Store;
use super::failure::{Failure, s3_failure};

/// The id of the one rule that the operator writes into a bucket's lifecycle.
const LIFECYCLE_RULE: &str = "bailiwick-noncurrent";

impl Store {
    pub(super) async fn create_bucket(
        &self,
        bucket: &str,
        object_lock: bool,
    ) -> Result<(), Failure> {
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

    pub(super) async fn set_reclaim(&self, bucket: &str, reclaim: Reclaim) -> Result<(), Failure> {
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

    pub(super) async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), Failure> {
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

    pub(super) async fn set_default_retention(
        &self,
        bucket: &str,
        retention: Option<ObjectRetention>,
    ) -> Result<(), Failure> {
        let rule = retention.map(|retention| {
            let mode = match retention.mode {
                RetentionMode::Governance => ObjectLockRetentionMode::Governance,
                RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
            };
            let default = aws_sdk_s3::types::DefaultRetention::builder()
                .mode(mode)
                .days(retention.days)
                .build();
            ObjectLockRule::builder().default_retention(default).build()
        });
        let configuration = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .set_rule(rule)
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

    pub(super) async fn set_encryption(&self, bucket: &str) -> Result<(), Failure> {
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

    pub(super) async fn set_lifecycle(
        &self,
        bucket: &str,
        days: Option<i32>,
    ) -> Result<(), Failure> {
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

    pub(super) async fn remove_outlet(
        &self,
        bucket: &str,
        outlet: &BucketOutlet,
    ) -> Result<(), Failure> {
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
            BucketOutlet::Target(arn) => Ok(self.admin.remove_remote_target(bucket, arn).await?),
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
    pub(super) async fn bucket(&self, bucket: &str, left: bool) -> Result<BucketFact, Failure> {
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
            default_retention: lock.unwrap_or_default(),
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

    pub(super) async fn tags(&self, bucket: &str) -> Result<Vec<Tag>, Failure> {
        let tags = self.s3.get_bucket_tagging().bucket(bucket).send().await;
        Ok(found(tags, "NoSuchTagSet")?
            .map(|tags| tags.tag_set)
            .unwrap_or_default())
    }

    pub(super) async fn versioning(&self, bucket: &str) -> Result<Versioning, Failure> {
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
            Some(_) => Err(Failure::because(
                ReadFailure::Malformed,
                format!("bucket {bucket}: versioning is neither Enabled nor Suspended"),
            )),
        }
    }

    /// None without object lock; with it, for how long every new object is locked by default.
    pub(super) async fn object_lock(
        &self,
        bucket: &str,
    ) -> Result<Option<DefaultRetention>, Failure> {
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
                    .and_then(|rule| rule.default_retention)
                    .map_or(DefaultRetention::Unset, |default| {
                        default_retention(&default)
                    })
            }))
    }

    pub(super) async fn quota(&self, bucket: &str) -> Result<Option<u64>, Failure> {
        Ok(self.admin.bucket_quota(bucket).await?)
    }

    pub(super) async fn lifecycle(&self, bucket: &str) -> Result<Lifecycle, Failure> {
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

    pub(super) async fn encryption(&self, bucket: &str) -> Result<Encryption, Failure> {
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

    pub(super) async fn notification(&self, bucket: &str) -> Result<bool, Failure> {
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

    pub(super) async fn is_empty(&self, bucket: &str) -> Result<bool, Failure> {
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
}

/// A default retention as the spec would say it, if it can.
fn default_retention(seen: &aws_sdk_s3::types::DefaultRetention) -> DefaultRetention {
    let mode = match seen.mode {
        Some(ObjectLockRetentionMode::Governance) => RetentionMode::Governance,
        Some(ObjectLockRetentionMode::Compliance) => RetentionMode::Compliance,
        _ => return DefaultRetention::Other,
    };
    match (seen.days, seen.years.unwrap_or_default()) {
        (Some(days), 0) => DefaultRetention::Of(ObjectRetention { mode, days }),
        _ => DefaultRetention::Other,
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

/// The bytes of an object; of one that has more than `limit`, so many that it shows.
pub(super) async fn beginning(mut body: ByteStream, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while bytes.len() <= limit {
        let Some(chunk) = body
            .try_next()
            .await
            .map_err(|error| Failure::unanswered(false, error))?
        else {
            break;
        };
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
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
pub(super) fn done_or<T, E>(
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
