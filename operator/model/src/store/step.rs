//! Changes in the object store, as data. No I/O.

use std::collections::BTreeSet;
use std::fmt;

use bailiwick_api::region::{ObjectRetention, Reclaim};
use serde_json::Value;

use crate::facts::store::BucketOutlet;
use crate::residency::{BucketPlace, Resident};
use crate::store::{BACKUP_BUCKET, BACKUP_USER, MARKER, Owner, policy_user};
use crate::subject::Subject;

/// One change in the object store. Each can be done twice, or after its answer was lost, with the same end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreStep {
    /// Make a bucket.
    CreateBucket {
        /// The bucket.
        place: Resident<BucketPlace>,
        /// Whether objects can be locked in it.
        object_lock: bool,
    },
    /// Write down what becomes of a bucket when it leaves the spec.
    SetReclaim {
        /// The bucket.
        bucket: String,
        /// What becomes of it.
        reclaim: Reclaim,
    },
    /// Keep old versions, or stop to.
    SetVersioning {
        /// The bucket.
        bucket: String,
        /// Whether to keep them.
        enabled: bool,
    },
    /// Encrypt with the store's own key.
    SetEncryption {
        /// The bucket.
        bucket: String,
    },
    /// Replace the rules that remove objects.
    SetLifecycle {
        /// The bucket.
        bucket: String,
        /// Days after which versions that are no longer current are removed; none for no rule.
        noncurrent_days: Option<i32>,
    },
    /// Bound what a bucket may hold.
    SetQuota {
        /// The bucket.
        bucket: String,
        /// In bytes; none for no bound.
        bytes: Option<u64>,
    },
    /// Lock new objects by default, or no longer.
    SetDefaultRetention {
        /// The bucket.
        bucket: String,
        /// How and for how long; none for no longer.
        retention: Option<ObjectRetention>,
    },
    /// Remove what leads out of a bucket.
    RemoveOutlet {
        /// The bucket.
        bucket: String,
        /// What leads out of it.
        outlet: BucketOutlet,
    },
    /// Write a policy.
    PutPolicy {
        /// Its name.
        name: String,
        /// The document.
        document: Value,
    },
    /// Make a user, or give it the secret key of its Secret, and let it sign in.
    CreateUser {
        /// The user.
        user: String,
        /// The Secret, of which `secret-key` is taken.
        secret: String,
    },
    /// Attach exactly one policy to a user.
    SetUserPolicy {
        /// The user.
        user: String,
        /// The policy.
        policy: String,
    },
    /// Take a user out of a group.
    LeaveGroup {
        /// The user.
        user: String,
        /// The group.
        group: String,
    },
    /// Let a user sign in, or stop to. A user stopped keeps its key and policy.
    SetUserEnabled {
        /// The user.
        user: String,
        /// Whether it may.
        enabled: bool,
    },
    /// Put the Region's marker into the bucket of WAL and backups, where no object is by its name.
    PutMarker {
        /// Whose the repository is.
        owner: Owner,
        /// The Secret with the passphrase that the marker's key is derived from.
        secret: String,
    },
    /// Delete a bucket. The store refuses it when anything is in the bucket.
    DeleteBucket {
        /// The bucket.
        bucket: String,
    },
}

impl fmt::Display for StoreStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateBucket { place, .. } => write!(f, "create bucket {}", place.place().name),
            Self::SetReclaim { bucket, .. } => write!(f, "tag bucket {bucket}"),
            Self::SetVersioning { bucket, .. } => {
                write!(f, "set the versioning of bucket {bucket}")
            }
            Self::SetEncryption { bucket } => write!(f, "set the encryption of bucket {bucket}"),
            Self::SetLifecycle { bucket, .. } => write!(f, "set the lifecycle of bucket {bucket}"),
            Self::SetQuota { bucket, .. } => write!(f, "set the quota of bucket {bucket}"),
            Self::SetDefaultRetention { bucket, .. } => {
                write!(f, "set the default retention of bucket {bucket}")
            }
            Self::RemoveOutlet { bucket, outlet } => {
                write!(f, "remove {outlet} of bucket {bucket}")
            }
            Self::PutPolicy { name, .. } => write!(f, "write policy {name}"),
            Self::CreateUser { user, .. } => write!(f, "create user {user}"),
            Self::SetUserPolicy { user, .. } => write!(f, "attach the policy of user {user}"),
            Self::LeaveGroup { user, group } => write!(f, "take user {user} out of group {group}"),
            Self::SetUserEnabled {
                user,
                enabled: true,
            } => write!(f, "enable user {user}"),
            Self::SetUserEnabled {
                user,
                enabled: false,
            } => write!(f, "disable user {user}"),
            Self::PutMarker { .. } => write!(f, "put {MARKER} into bucket {BACKUP_BUCKET}"),
            Self::DeleteBucket { bucket } => write!(f, "delete bucket {bucket}"),
        }
    }
}

impl StoreStep {
    /// What the step is about: a bucket, a user, or both.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let bucket = |name: &str| BTreeSet::from([Subject::Bucket(name.to_owned())]);
        let user = |name: &str| BTreeSet::from([Subject::StoreUser(name.to_owned())]);
        match self {
            Self::CreateBucket { place, .. } => bucket(&place.place().name),
            Self::SetReclaim { bucket: name, .. }
            | Self::SetVersioning { bucket: name, .. }
            | Self::SetEncryption { bucket: name }
            | Self::SetLifecycle { bucket: name, .. }
            | Self::SetQuota { bucket: name, .. }
            | Self::SetDefaultRetention { bucket: name, .. }
            | Self::RemoveOutlet { bucket: name, .. }
            | Self::DeleteBucket { bucket: name } => bucket(name),
            Self::PutPolicy { name, .. } => user(policy_user(name).unwrap_or(name)),
            Self::CreateUser { user: name, .. }
            | Self::SetUserPolicy { user: name, .. }
            | Self::LeaveGroup { user: name, .. }
            | Self::SetUserEnabled { user: name, .. } => user(name),
            // The user's policy guards it.
            Self::PutMarker { .. } => bucket(BACKUP_BUCKET)
                .into_iter()
                .chain(user(BACKUP_USER))
                .collect(),
        }
    }
}
