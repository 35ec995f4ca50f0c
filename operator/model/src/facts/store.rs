//! What the object store says of itself. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bailiwick_api::region::{ObjectRetention, Reclaim};
use serde_json::Value;

use super::Observed;
use super::repository::Marker;

/// What the object store says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// The S3 region that it signs with.
    pub region: String,
    /// All buckets, by name.
    pub buckets: BTreeMap<String, BucketFact>,
    /// The users of the plan and of every policy that the operator wrote, as far as they exist.
    pub users: BTreeMap<String, UserFact>,
    /// The policies that the operator wrote, by name, as [`canonical`] documents.
    pub policies: BTreeMap<String, Value>,
    /// What could lead out of the store.
    pub outlets: BTreeSet<Outlet>,
    /// Whether all users of the store were listed some minutes ago at most: one that nobody made is among `outlets` then.
    pub users_listed: bool,
    /// Whether its key service answers: without it nothing is encrypted, so nothing is written.
    pub encrypts: bool,
    /// Whose repository the bucket of WAL and backups says to hold. Read for itself: what keeps this one object from being
    /// read says nothing about the store.
    pub marker: Observed<Marker>,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketFact {
    /// Whether old versions are kept.
    pub versioning: Versioning,
    /// Whether it was made with object lock.
    pub object_lock: bool,
    /// For how long every new object is locked by default.
    pub default_retention: DefaultRetention,
    /// The most that it may hold, in bytes.
    pub quota: Option<u64>,
    /// Which rules remove objects.
    pub lifecycle: Lifecycle,
    /// How objects are encrypted that come without a wish of their own.
    pub encryption: Encryption,
    /// What leads out of it.
    pub outlets: BTreeSet<BucketOutlet>,
    /// What becomes of it when it leaves the spec; none for a bucket that the operator did not make.
    pub reclaim: Option<Reclaim>,
    /// Whether it holds no object and no version. Looked up only where it decides about a deletion.
    pub empty: bool,
}

impl BucketFact {
    /// A bucket just made.
    pub(crate) fn made(object_lock: bool) -> Self {
        Self {
            object_lock,
            // Object lock brings versioning with it.
            versioning: if object_lock {
                Versioning::Enabled
            } else {
                Versioning::Off
            },
            empty: true,
            ..Self::default()
        }
    }
}

/// Something by which a bucket's objects, or word of them, could leave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketOutlet {
    /// A policy of the bucket's own, by which anybody could read it without being a user of the store.
    Policy,
    /// Rules by which it copies its objects elsewhere.
    Replication,
    /// A remote store that it knows, by its ARN.
    Target(String),
    /// Rules by which it tells somebody about its objects.
    Notification,
}

impl fmt::Display for BucketOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "the policy",
            Self::Replication => "the replication",
            Self::Target(_) => "a remote target",
            Self::Notification => "the notifications",
        })
    }
}

/// Whether a bucket keeps old versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It keeps those from earlier, but makes no new ones. Also said of a bucket that leaves some prefixes out.
    Suspended,
}

/// Which rules remove a bucket's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// None.
    #[default]
    Keeps,
    /// Exactly ours: versions that are no longer current go after these days.
    Noncurrent(i32),
    /// Any other.
    Other,
}

/// For how long a bucket locks new objects by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultRetention {
    /// It does not.
    #[default]
    Unset,
    /// As the spec can say it.
    Of(ObjectRetention),
    /// In another way, as for years.
    Other,
}

/// How a bucket encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the server does by default.
    #[default]
    Unset,
    /// With the store's own key (SSE-S3).
    StoreKey,
    /// In another way.
    Other,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFact {
    /// Whether it may sign in.
    pub enabled: bool,
    /// The policies attached to it.
    pub policies: BTreeSet<String>,
    /// The groups that it is in, whose policies count too.
    pub groups: BTreeSet<String>,
    /// Whether the secret key of its Secret is the one that the store knows; true when it cannot be asked, as of a
    /// user that may not sign in.
    pub key_current: bool,
}

/// Something by which objects, their names or the right to read them could leave the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlet {
    /// Site replication, which copies buckets, objects and users.
    SiteReplication,
    /// A remote tier, which objects could be moved to.
    Tier(String),
    /// An identity provider, which could let strangers in.
    IdentityProvider(String),
    /// A target of events.
    EventTarget(String),
    /// A target of logs.
    LogTarget(String),
    /// A setting in the server's environment that is for one of these.
    Setting(String),
    /// A user that the operator did not make. Found by an audit of all users only.
    User(String),
}
