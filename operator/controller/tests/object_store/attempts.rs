//! What somebody tries with a bucket or an object, and what comes of it.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention, Delete, Event,
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NotificationConfiguration, ObjectIdentifier, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, QueueConfiguration,
    VersioningConfiguration,
};

use crate::server::outcome;

/// What somebody tries.
#[derive(Clone, Copy, Debug)]
pub enum Try {
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
pub const KEY: &str = "2026/11/report.txt";

/// Tries it on `bucket`, of whose object `version` is a version.
pub async fn attempt(client: &Client, bucket: &str, version: &str, what: Try) -> String {
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

pub async fn expire_everything(
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

pub async fn lock_by_default(
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

pub async fn publish(
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

pub async fn notify(
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
