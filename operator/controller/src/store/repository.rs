//! A Region's repository over S3: reads its marker into a judgement, puts it where none is, and looks for one archived
//! file. I/O: HTTPS to the Region's own store.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use bailiwick_api::region::Region;
use bailiwick_model::facts::repository::Marker;
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, Names};
use bailiwick_model::repository::{ArchivedFile, MARKER, MARKER_LIMIT, Owner, PASSPHRASE};

use super::Store;
use super::bucket::{beginning, done_or};
use super::failure::{Failure, s3_failure};
use crate::credentials::Credentials;

/// How many folders of a stanza are looked into at most.
const FOLDERS: i32 = 10;

impl Store {
    /// Whose marker the repository bears. Only the answer that there is no such object means that it is missing; without
    /// the key of the backups nobody can tell.
    pub(super) async fn marker(
        &self,
        names: &Names,
        region: &Region,
        credentials: &Credentials,
    ) -> Observed<Marker> {
        let Some(passphrase) = credentials.bytes(&names.backup_key(), PASSPHRASE) else {
            return Observed::NotAsked;
        };
        match self.read_marker().await {
            Ok(Some(bytes)) => {
                let owner = Owner::of(names, &region.spec.residency);
                Observed::Seen(owner.judge(&bytes, passphrase))
            }
            Ok(None) => Observed::Seen(Marker::Missing),
            Err(failure) => {
                let unread = failure.unread();
                tracing::warn!(
                    region = names.region(),
                    failure = unread.failure.as_str(),
                    cause = unread.cause,
                    "the repository's marker could not be read"
                );
                Observed::Failed(unread)
            }
        }
    }

    async fn read_marker(&self) -> Result<Option<Vec<u8>>, Failure> {
        let found = self
            .s3
            .get_object()
            .bucket(BACKUP_BUCKET)
            .key(MARKER)
            .send()
            .await;
        match found {
            Ok(found) => beginning(found.body, MARKER_LIMIT).await.map(Some),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(s3_failure(error)),
        }
    }

    /// Puts the marker where nothing is. What is there, whosever it is, stays, and the next look sees it.
    pub(super) async fn put_marker(&self, owner: &Owner, passphrase: &[u8]) -> Result<(), Failure> {
        let marker = owner
            .marker(passphrase)
            .map_err(|_| Failure::of(ReadFailure::Malformed))?;
        let put = self
            .s3
            .put_object()
            .bucket(BACKUP_BUCKET)
            .key(MARKER)
            .if_none_match("*")
            .content_type("application/json")
            .body(ByteStream::from(marker))
            .send()
            .await;
        done_or(put, &["PreconditionFailed", "ConditionalRequestConflict"])
    }

    /// Whether an archived file is in the repository. That takes one request; where it is not in the folder that its stanza
    /// began with, the others are looked into before that is said.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn archived(&self, file: &ArchivedFile) -> Result<bool, Unread> {
        let first = file.first();
        if self.holds_any(&file.prefix(&first)).await? {
            return Ok(true);
        }
        let stanza = self
            .s3
            .list_objects_v2()
            .bucket(BACKUP_BUCKET)
            .prefix(file.folder())
            .delimiter("/")
            .max_keys(FOLDERS)
            .send()
            .await
            .map_err(|error| s3_failure(error).unread())?;
        let folders = stanza
            .common_prefixes()
            .iter()
            .filter_map(|folder| folder.prefix()?.strip_prefix(file.folder()))
            .map(|folder| folder.trim_end_matches('/'))
            .filter(|folder| *folder != first && file.holds(folder));
        for folder in folders {
            if self.holds_any(&file.prefix(folder)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the key of any object begins so.
    async fn holds_any(&self, prefix: &str) -> Result<bool, Unread> {
        let page = self
            .s3
            .list_objects_v2()
            .bucket(BACKUP_BUCKET)
            .prefix(prefix)
            .max_keys(1)
            .send()
            .await
            .map_err(|error| s3_failure(error).unread())?;
        Ok(!page.contents().is_empty())
    }
}
