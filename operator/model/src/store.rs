//! Buckets, users and policies of the object store as facts and steps: the smallest differences between what the
//! plan wants and what was seen, and what differs and no step can repair. Values in, values out; no I/O.

pub mod step;

use std::collections::BTreeSet;
use std::fmt;

use bailiwick_api::quantity;
use bailiwick_api::region::{Access, Bucket, Grant, Reclaim};
use serde_json::{Value, json};

use crate::facts::Observed;
use crate::facts::repository::{Difference, Marker};
use crate::facts::store::{
    BucketFact, DefaultRetention, Encryption, Lifecycle, Outlet, StoreFacts, Versioning,
};
use crate::names::{AUDITOR_USER, BACKUP_BUCKET, BACKUP_USER, EVIDENCE_BUCKET};
use crate::plan::Plan;
use crate::repository::{MARKER, Owner};
use crate::residency::{BucketPlace, Resident};
use crate::store::step::StoreStep;

/// The tag by which a bucket remembers that the operator made it and what becomes of it when it leaves the spec:
/// `Retain` or `Delete`. By then the spec no longer says so.
pub const TAG_RECLAIM: &str = "bailiwick.dev/reclaim";
/// Every policy that the operator writes is named after its one user with this prefix.
pub const POLICY_PREFIX: &str = "bailiwick-";
/// Days for which what pgBackRest expired can still be brought back: long enough to notice, on a Monday, what a
/// mistake or an intruder removed on a Friday.
pub const BACKUP_NONCURRENT_DAYS: i32 = 7;

/// The name of a user's policy.
#[must_use]
pub fn policy_name(user: &str) -> String {
    format!("{POLICY_PREFIX}{user}")
}

/// The user that a policy of ours is of.
#[must_use]
pub fn policy_user(policy: &str) -> Option<&str> {
    policy.strip_prefix(POLICY_PREFIX)
}

/// The users that the plan wants, with their policies: pgBackRest's and the auditor's first.
#[must_use]
pub fn users(plan: &Plan) -> Vec<(String, Value)> {
    let archive = Grant {
        bucket: BACKUP_BUCKET.to_owned(),
        access: Access::ReadWrite,
    };
    let mut users = vec![
        (BACKUP_USER.to_owned(), policy(&[archive])),
        (AUDITOR_USER.to_owned(), auditor_policy()),
    ];
    users.extend(
        plan.spec
            .object_store
            .users
            .iter()
            .map(|user| (user.name.clone(), policy(&user.grants))),
    );
    users
}

/// The policy of the auditor: list the versions of the evidence log, read them, and see until when each is locked. Not even
/// the names of objects as they are now: a log is read by its versions, since anything may have been put on top of one.
#[must_use]
pub fn auditor_policy() -> Value {
    let bucket = format!("arn:aws:s3:::{EVIDENCE_BUCKET}");
    canonical(json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:ListBucketVersions"], "Resource": [bucket]},
        {
            "Effect": "Allow",
            // MinIO asks for s3:GetObject where S3 asks for s3:GetObjectVersion.
            "Action": ["s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion"],
            "Resource": [format!("{bucket}/*")],
        },
    ]}))
}

/// The buckets that the plan wants, each with its admitted place: the archive's and the evidence log's first.
fn buckets(plan: &Plan) -> Vec<(Resident<BucketPlace>, Bucket)> {
    let archive = Bucket {
        name: BACKUP_BUCKET.to_owned(),
        versioning: true,
        // With object lock, no user can force a deletion of versions on the server.
        object_lock: true,
        noncurrent_retention_days: Some(BACKUP_NONCURRENT_DAYS),
        retention: None,
        quota: None,
        reclaim: Reclaim::Retain,
    };
    let evidence = Bucket {
        name: EVIDENCE_BUCKET.to_owned(),
        versioning: true,
        // Each record is locked by whoever writes it.
        object_lock: true,
        noncurrent_retention_days: None,
        retention: None,
        quota: None,
        reclaim: Reclaim::Retain,
    };
    let mut buckets = vec![
        (plan.backup_bucket.clone(), archive),
        (plan.evidence_bucket.clone(), evidence),
    ];
    buckets.extend(plan.spec.object_store.buckets.iter().filter_map(|bucket| {
        let place = plan.buckets.get(&bucket.name)?;
        Some((place.clone(), bucket.clone()))
    }));
    buckets
}

/// The policy of a user: list, read and, where granted, write and delete, and what clients of S3 ask along with these: the
/// bucket's versioning and lock, tags, uploads that are under way and, where a client writes, how long what it wrote is
/// locked. Locks only grow, since nobody may bypass them. Everything else is refused by silence;
/// old versions are guarded by name, since the server lets whoever may delete an object delete its versions too
/// unless a statement says no; and so is the repository's marker, which is the operator's alone.
#[must_use]
pub fn policy(grants: &[Grant]) -> Value {
    let resources = |access: Option<Access>, suffix: &str| -> Vec<String> {
        grants
            .iter()
            .filter(|grant| access.is_none_or(|access| grant.access == access))
            .map(|grant| format!("arn:aws:s3:::{}{suffix}", grant.bucket))
            .collect()
    };
    // What is in the archive's bucket is pgBackRest's to remove: nothing of it is locked by a client.
    let locking: Vec<String> = grants
        .iter()
        .filter(|grant| grant.access == Access::ReadWrite && grant.bucket != BACKUP_BUCKET)
        .map(|grant| format!("arn:aws:s3:::{}/*", grant.bucket))
        .collect();
    let allowed = [
        (
            resources(None, ""),
            &[
                "s3:GetBucketLocation",
                "s3:GetBucketObjectLockConfiguration",
                "s3:GetBucketVersioning",
                "s3:ListBucket",
            ][..],
        ),
        (
            resources(Some(Access::ReadWrite), ""),
            &["s3:ListBucketMultipartUploads"][..],
        ),
        (
            resources(Some(Access::ReadOnly), "/*"),
            &[
                "s3:GetObject",
                "s3:GetObjectRetention",
                "s3:GetObjectTagging",
            ][..],
        ),
        (
            resources(Some(Access::ReadWrite), "/*"),
            &[
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:DeleteObjectTagging",
                "s3:GetObject",
                "s3:GetObjectRetention",
                "s3:GetObjectTagging",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
                "s3:PutObjectTagging",
            ][..],
        ),
        (locking, &["s3:PutObjectRetention"][..]),
    ];
    let mut statements: Vec<Value> = allowed
        .into_iter()
        .filter(|(resources, _)| !resources.is_empty())
        .map(|(resources, actions)| {
            json!({"Effect": "Allow", "Action": actions, "Resource": resources})
        })
        .collect();
    statements.push(json!({
        "Effect": "Deny",
        "Action": ["s3:BypassGovernanceRetention", "s3:DeleteObjectVersion"],
        "Resource": ["arn:aws:s3:::*"],
    }));
    if grants.iter().any(|grant| grant.bucket == BACKUP_BUCKET) {
        statements.push(json!({
            "Effect": "Deny",
            "Action": ["s3:DeleteObject", "s3:PutObject"],
            "Resource": [format!("arn:aws:s3:::{BACKUP_BUCKET}/{MARKER}")],
        }));
    }
    canonical(json!({"Version": "2012-10-17", "Statement": statements}))
}

/// A policy document in one way of writing it, so that two that mean the same are equal: what may stand alone is a
/// list, lists of words are sorted, what is empty is left out.
#[must_use]
pub fn canonical(document: Value) -> Value {
    match document {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
                .map(|(name, value)| {
                    let value = match (name.as_str(), value) {
                        (
                            "Action" | "NotAction" | "Resource" | "NotResource",
                            value @ Value::String(_),
                        )
                        | ("Statement", value @ Value::Object(_)) => Value::Array(vec![value]),
                        (_, value) => value,
                    };
                    (name, canonical(value))
                })
                .collect(),
        ),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(canonical).collect();
            if items.iter().all(Value::is_string) {
                items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
            Value::Array(items)
        }
        value => value,
    }
}

/// What to change in the object store now: outlets are closed first, then buckets, policies and users are made so.
#[must_use]
pub fn steps(plan: &Plan, seen: &StoreFacts) -> Vec<StoreStep> {
    let mut steps = Vec::new();
    // Whoever made the bucket, and before anything is written to it.
    for (bucket, fact) in &seen.buckets {
        steps.extend(fact.outlets.iter().map(|outlet| StoreStep::RemoveOutlet {
            bucket: bucket.clone(),
            outlet: outlet.clone(),
        }));
    }
    let wanted = buckets(plan);
    for (place, bucket) in &wanted {
        bucket_steps(place, bucket, seen.buckets.get(&bucket.name), &mut steps);
    }
    let users = users(plan);
    for (user, document) in &users {
        user_steps(plan, user, document, seen, &mut steps);
    }
    // Its policy guards it by then. One that is not the Region's stays what it is, and is told of.
    let unmarked = match &seen.marker {
        Observed::Seen(marker) => *marker == Marker::Missing,
        Observed::NotAsked => !seen.buckets.contains_key(BACKUP_BUCKET),
        Observed::Failed(_) => false,
    };
    if unmarked && seen.encrypts {
        steps.push(StoreStep::PutMarker {
            owner: Owner::of(&plan.names, &plan.spec.residency),
            secret: plan.names.backup_key(),
        });
    }
    // A user that left the spec keeps its key and policy, and may not sign in with them.
    for (user, fact) in &seen.users {
        if fact.enabled && !users.iter().any(|(wanted, _)| wanted == user) {
            steps.push(StoreStep::SetUserEnabled {
                user: user.clone(),
                enabled: false,
            });
        }
    }
    for (bucket, fact) in &seen.buckets {
        let left = !wanted.iter().any(|(_, wanted)| wanted.name == *bucket);
        if left && fact.reclaim == Some(Reclaim::Delete) && fact.empty {
            steps.push(StoreStep::DeleteBucket {
                bucket: bucket.clone(),
            });
        }
    }
    steps
}

fn bucket_steps(
    place: &Resident<BucketPlace>,
    wanted: &Bucket,
    seen: Option<&BucketFact>,
    steps: &mut Vec<StoreStep>,
) {
    let name = || wanted.name.clone();
    let made = BucketFact::made(wanted.object_lock);
    let fact = seen.unwrap_or(&made);
    if seen.is_none() {
        steps.push(StoreStep::CreateBucket {
            place: place.clone(),
            object_lock: wanted.object_lock,
        });
    }
    if fact.reclaim != Some(wanted.reclaim) {
        steps.push(StoreStep::SetReclaim {
            bucket: name(),
            reclaim: wanted.reclaim,
        });
    }
    let versioned = fact.versioning == Versioning::Enabled;
    if wanted.versioning && !versioned || !wanted.versioning && versioned && !fact.object_lock {
        steps.push(StoreStep::SetVersioning {
            bucket: name(),
            enabled: wanted.versioning,
        });
    }
    if fact.encryption != Encryption::StoreKey {
        steps.push(StoreStep::SetEncryption { bucket: name() });
    }
    let lifecycle = wanted
        .noncurrent_retention_days
        .map_or(Lifecycle::Keeps, Lifecycle::Noncurrent);
    if fact.lifecycle != lifecycle {
        steps.push(StoreStep::SetLifecycle {
            bucket: name(),
            noncurrent_days: wanted.noncurrent_retention_days,
        });
    }
    let quota = wanted.quota.as_deref().and_then(quantity::bytes);
    if fact.quota != quota {
        steps.push(StoreStep::SetQuota {
            bucket: name(),
            bytes: quota,
        });
    }
    let retention = wanted
        .retention
        .map_or(DefaultRetention::Unset, DefaultRetention::Of);
    if fact.default_retention != retention {
        steps.push(StoreStep::SetDefaultRetention {
            bucket: name(),
            retention: wanted.retention,
        });
    }
}

fn user_steps(
    plan: &Plan,
    user: &str,
    document: &Value,
    seen: &StoreFacts,
    steps: &mut Vec<StoreStep>,
) {
    let policy_name = policy_name(user);
    if seen.policies.get(&policy_name) != Some(document) {
        steps.push(StoreStep::PutPolicy {
            name: policy_name.clone(),
            document: document.clone(),
        });
    }
    let fact = seen.users.get(user);
    if fact.is_none_or(|fact| !fact.key_current) {
        steps.push(StoreStep::CreateUser {
            user: user.to_owned(),
            secret: plan.names.object_store_user(user),
        });
    } else if fact.is_some_and(|fact| !fact.enabled) {
        steps.push(StoreStep::SetUserEnabled {
            user: user.to_owned(),
            enabled: true,
        });
    }
    if let Some(fact) = fact {
        steps.extend(fact.groups.iter().map(|group| StoreStep::LeaveGroup {
            user: user.to_owned(),
            group: group.clone(),
        }));
    }
    let exact = BTreeSet::from([policy_name.clone()]);
    if fact.is_none_or(|fact| fact.policies != exact) {
        steps.push(StoreStep::SetUserPolicy {
            user: user.to_owned(),
            policy: policy_name,
        });
    }
}

/// Buckets and users that left the spec and are still there, as `bucket <name>` and `user <name>`, for the status.
#[must_use]
pub fn retained(plan: &Plan, seen: &StoreFacts) -> Vec<String> {
    let buckets = buckets(plan);
    let users = users(plan);
    let mut retained: Vec<String> = seen
        .buckets
        .iter()
        .filter(|(name, fact)| {
            fact.reclaim.is_some() && !buckets.iter().any(|(_, wanted)| wanted.name == **name)
        })
        .map(|(name, _)| format!("bucket {name}"))
        .collect();
    retained.extend(
        seen.users
            .keys()
            .filter(|name| !users.iter().any(|(wanted, _)| wanted == *name))
            .map(|name| format!("user {name}")),
    );
    retained
}

/// Something that is not as it should be and that no step can repair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// The store signs for another region.
    Region {
        /// The region that it signs for.
        seen: String,
        /// The Region's own.
        expected: String,
    },
    /// The store's key service does not answer, or there is none.
    Unencrypted,
    /// A bucket is without object lock, which can only be had from the start.
    ObjectLockMissing {
        /// The bucket.
        bucket: String,
    },
    /// A bucket has object lock, which cannot be taken from it.
    ObjectLockUnwanted {
        /// The bucket.
        bucket: String,
    },
    /// A bucket that the operator did not make.
    UnknownBucket {
        /// The bucket.
        bucket: String,
    },
    /// The repository bears a marker that is not the Region's.
    ForeignMarker {
        /// What is wrong with it.
        difference: Difference,
        /// The Region.
        region: String,
    },
    /// Something leads out of the store.
    Outlet(Outlet),
}

impl Drift {
    /// The leakage channel that it opens, by its number in docs/residency.md; none when the data stays.
    #[must_use]
    pub const fn channel(&self) -> Option<u8> {
        match self {
            Self::Region { .. } | Self::ForeignMarker { .. } => Some(17),
            Self::Outlet(Outlet::SiteReplication) => Some(18),
            Self::Outlet(Outlet::Tier(_)) => Some(19),
            Self::Outlet(
                Outlet::IdentityProvider(_)
                | Outlet::EventTarget(_)
                | Outlet::LogTarget(_)
                | Outlet::Setting(_),
            ) => Some(20),
            Self::Outlet(Outlet::User(_)) => Some(21),
            Self::Unencrypted
            | Self::ObjectLockMissing { .. }
            | Self::ObjectLockUnwanted { .. }
            | Self::UnknownBucket { .. } => None,
        }
    }

    /// Whether objects, or what is said of them, go elsewhere by it: more than that somebody may come in.
    #[must_use]
    pub const fn leaks(&self) -> bool {
        matches!(
            self,
            Self::Outlet(
                Outlet::SiteReplication
                    | Outlet::Tier(_)
                    | Outlet::EventTarget(_)
                    | Outlet::LogTarget(_)
            )
        )
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region { seen, expected } => write!(
                f,
                "the store signs for region {seen}, expected {expected}; look for MINIO_SITE_REGION or a stored \
                 site configuration"
            ),
            Self::Unencrypted => f.write_str(
                "the store's key service does not answer, expected it online; look at the store's log",
            ),
            Self::ObjectLockMissing { bucket } => write!(
                f,
                "bucket {bucket} is without object lock, expected it; it can only be made with it: copy the objects \
                 to a new bucket"
            ),
            Self::ObjectLockUnwanted { bucket } => write!(
                f,
                "bucket {bucket} has object lock, expected none; it cannot be taken away: set objectLock: true"
            ),
            Self::UnknownBucket { bucket } => write!(
                f,
                "bucket {bucket} was not made by the operator; list it in spec.objectStore.buckets or remove it"
            ),
            Self::ForeignMarker { difference, region } => write!(
                f,
                "object {MARKER} of bucket {BACKUP_BUCKET} {difference}, expected the marker of Region {region}: the \
                 repository may be another's; find out whose it is, see docs/runbooks/repository-marker.md"
            ),
            Self::Outlet(Outlet::SiteReplication) => f.write_str(
                "site replication is on, expected it off; remove it with the store's own tools",
            ),
            Self::Outlet(Outlet::Tier(name)) => write!(
                f,
                "remote tier {name} exists, expected none; restore what was moved there and remove it"
            ),
            Self::Outlet(Outlet::IdentityProvider(name)) => {
                write!(f, "identity provider {name} is configured, expected none; remove it")
            }
            Self::Outlet(Outlet::EventTarget(name)) => {
                write!(f, "event target {name} is configured, expected none; remove it")
            }
            Self::Outlet(Outlet::LogTarget(name)) => {
                write!(f, "log target {name} is configured, expected none; remove it")
            }
            Self::Outlet(Outlet::Setting(name)) => write!(
                f,
                "a server runs with {name} in its environment, expected the operator's settings alone; look for who \
                 changes its pod"
            ),
            Self::Outlet(Outlet::User(name)) => write!(
                f,
                "user {name} was not made by the operator; list it in spec.objectStore.users or remove it"
            ),
        }
    }
}

/// What is not as it should be and no step can repair, in a stable order.
#[must_use]
pub fn drift(plan: &Plan, seen: &StoreFacts) -> Vec<Drift> {
    let mut drift = Vec::new();
    if seen.region != plan.store_region() {
        drift.push(Drift::Region {
            seen: seen.region.clone(),
            expected: plan.store_region().to_owned(),
        });
    }
    if !seen.encrypts {
        drift.push(Drift::Unencrypted);
    }
    let wanted = buckets(plan);
    for (bucket, fact) in &seen.buckets {
        let name = || bucket.clone();
        match wanted.iter().find(|(_, wanted)| wanted.name == *bucket) {
            Some((_, wanted)) if wanted.object_lock && !fact.object_lock => {
                drift.push(Drift::ObjectLockMissing { bucket: name() });
            }
            Some((_, wanted)) if !wanted.object_lock && fact.object_lock => {
                drift.push(Drift::ObjectLockUnwanted { bucket: name() });
            }
            None if fact.reclaim.is_none() => drift.push(Drift::UnknownBucket { bucket: name() }),
            Some(_) | None => {}
        }
    }
    if let Observed::Seen(Marker::Foreign(difference)) = seen.marker {
        drift.push(Drift::ForeignMarker {
            difference,
            region: plan.names.region().to_owned(),
        });
    }
    drift.extend(seen.outlets.iter().cloned().map(Drift::Outlet));
    drift
}
