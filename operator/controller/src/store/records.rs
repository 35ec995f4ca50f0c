//! The bucket of the evidence log over S3: puts a record where none is, lists what is there, reads the first version
//! of it. I/O: HTTPS to the Region's own store.

use std::collections::BTreeMap;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ObjectLockMode;
use bailiwick_model::evidence::{OBJECT_LIMIT, Object, PREFIX, Stored};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::EVIDENCE_BUCKET;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Store;
use super::bucket::beginning;
use super::failure::{Failure, s3_failure};

/// How many records are read at once.
const READS_AT_ONCE: usize = 8;

/// What is listed of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The id of its first version; none when only markers of deletion are left.
    pub first: Option<String>,
    /// How many versions and markers of deletion there are.
    pub versions: usize,
}

/// What became of a record that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Written,
    /// Something else was there already.
    Taken,
}

impl Store {
    /// Puts a record where nothing is, locked until `retain_until` so that not even root can remove it.
    pub(crate) async fn put_record(
        &self,
        object: &Object,
        retain_until: Timestamp,
    ) -> Result<Put, Failure> {
        let result = self
            .s3
            .put_object()
            .bucket(EVIDENCE_BUCKET)
            .key(&object.key)
            .if_none_match("*")
            .content_type("application/json")
            // S3 wants a checksum of what it locks.
            .checksum_sha256(STANDARD.encode(Sha256::digest(&object.bytes)))
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(DateTime::from_secs(retain_until.as_second()))
            .body(ByteStream::from(object.bytes.clone()))
            .send()
            .await;
        match result {
            Ok(_) => Ok(Put::Written),
            Err(error)
                if matches!(
                    error.code(),
                    Some("PreconditionFailed" | "ConditionalRequestConflict")
                ) =>
            {
                Ok(Put::Taken)
            }
            Err(error) => Err(absent_is_not_ready(s3_failure(error))),
        }
    }

    /// Every key of a record after `after`, with its versions; deleted ones too.
    pub(crate) async fn list_records(
        &self,
        after: Option<&str>,
    ) -> Result<BTreeMap<String, Listed>, Failure> {
        let mut found: BTreeMap<String, Listed> = BTreeMap::new();
        let (mut key_marker, mut version_marker) = (after.map(str::to_owned), None);
        loop {
            let page = self
                .s3
                .list_object_versions()
                .bucket(EVIDENCE_BUCKET)
                .prefix(PREFIX)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker)
                .send()
                .await
                .map_err(|error| absent_is_not_ready(s3_failure(error)))?;
            for version in page.versions() {
                let listed = found
                    .entry(version.key().unwrap_or_default().to_owned())
                    .or_default();
                listed.versions += 1;
                // The newest comes first, so the one that is left is the first that was written.
                listed.first = version.version_id().map(str::to_owned);
            }
            for marker in page.delete_markers() {
                found
                    .entry(marker.key().unwrap_or_default().to_owned())
                    .or_default()
                    .versions += 1;
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            version_marker = page.next_version_id_marker().map(str::to_owned);
            if key_marker.is_none() {
                // It says that there is more and not where: half a chain must not pass for a whole one.
                return Err(Failure::because(
                    ReadFailure::Malformed,
                    "a list that says neither where it goes on nor that it ends",
                ));
            }
        }
    }

    /// The first version of a listed record.
    pub(crate) async fn read_record(&self, key: &str, listed: &Listed) -> Result<Stored, Failure> {
        let bytes = match &listed.first {
            None => Vec::new(),
            Some(version) => {
                let found = self
                    .s3
                    .get_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(key)
                    .version_id(version)
                    .send()
                    .await
                    .map_err(s3_failure)?;
                beginning(found.body, OBJECT_LIMIT).await?
            }
        };
        Ok(Stored {
            key: key.to_owned(),
            bytes,
            versions: listed.versions,
        })
    }

    /// All records, each by its first version.
    pub(crate) async fn read_records(&self) -> Result<Vec<Stored>, Failure> {
        let listed = self.list_records(None).await?;
        let reads: Vec<BoxFuture<'_, Result<Stored, Failure>>> = listed
            .into_iter()
            .map(|(key, listed)| async move { self.read_record(&key, &listed).await }.boxed())
            .collect();
        stream::iter(reads)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }
}

/// The bucket is made by a step of its own, in the same look or the next.
fn absent_is_not_ready(failure: Failure) -> Failure {
    if failure.code == "NoSuchBucket" {
        Failure {
            kind: ReadFailure::NotReady,
            ..failure
        }
    } else {
        failure
    }
}
