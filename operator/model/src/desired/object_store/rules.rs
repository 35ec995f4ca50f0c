//! What of `spec.objectStore` is refused beside what the CRD's own rules refuse. A spec in, violations out; no I/O.

use std::collections::BTreeSet;

use bailiwick_api::quantity;
use bailiwick_api::region::{
    Bucket, ObjectStore, RESERVED_BUCKET_PREFIXES, RESERVED_BUCKET_SUFFIXES, RESERVED_BUCKETS,
    RegionSpec, StoreUser,
};
use bailiwick_api::violation::{Reason, Violation};

use crate::desired::object_store::USER_NAME;
use crate::names::{BACKUP_BUCKET, EVIDENCE_BUCKET, OWN_USERS};

/// What is wrong with the spec. CEL refuses some of it earlier; nothing is left to it alone.
#[must_use]
pub fn violations(spec: &RegionSpec) -> Vec<Violation> {
    let store = &spec.object_store;
    let mut found = Vec::new();
    layout(store, &mut found);
    for (field, text) in [
        ("spec.objectStore.volume.size", &store.volume.size),
        ("spec.objectStore.resources.memory", &store.resources.memory),
    ] {
        bytes(field, text, &mut found);
    }
    let cpu = &store.resources.cpu;
    if quantity::asked_millicpus(cpu).is_none() {
        found.push(invalid(
            "spec.objectStore.resources.cpu",
            format!("is {cpu:?}, {}", quantity::CPUS_EXPECTED),
        ));
    }
    let mut names = BTreeSet::new();
    for (index, bucket) in store.buckets.iter().enumerate() {
        let field = format!("spec.objectStore.buckets[{index}]");
        if !names.insert(bucket.name.as_str()) {
            found.push(invalid(
                format!("{field}.name"),
                format!(
                    "is {} a second time, expected one entry a bucket; merge the two",
                    bucket.name
                ),
            ));
        }
        bucket_violations(&field, bucket, &mut found);
    }
    let mut users = BTreeSet::new();
    for (index, user) in store.users.iter().enumerate() {
        let field = format!("spec.objectStore.users[{index}]");
        if !users.insert(user.name.as_str()) {
            found.push(invalid(
                format!("{field}.name"),
                format!(
                    "is {} a second time, expected one entry a user; merge their grants",
                    user.name
                ),
            ));
        }
        user_violations(&field, user, &names, &mut found);
    }
    found
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> Violation {
    Violation::new(field, Reason::Invalid, message)
}

fn bytes(field: &str, text: &str, found: &mut Vec<Violation>) {
    if quantity::asked_bytes(text).is_none() {
        let expected = quantity::BYTES_EXPECTED;
        found.push(invalid(field, format!("is {text:?}, {expected}")));
    }
}

/// One volume, or as many as erasure coding can spread evenly: sets of 4 to 16 volumes.
/// <https://github.com/minio/minio/blob/master/docs/distributed/DESIGN.md>
fn layout(store: &ObjectStore, found: &mut Vec<Violation>) {
    if store.servers < 1 || store.volumes_per_server < 1 {
        found.push(invalid(
            "spec.objectStore.servers",
            "has no volume, expected at least one server with at least one volume",
        ));
        return;
    }
    let total = i64::from(store.servers) * i64::from(store.volumes_per_server);
    if total != 1 && !(4..=16).any(|set| total % set == 0) {
        found.push(invalid(
            "spec.objectStore.servers",
            format!(
                "makes {total} volumes with volumesPerServer, expected 1, or a number that 4 to 16 divide, which \
                 erasure coding needs; choose for example 4 servers with one volume each"
            ),
        ));
    }
}

fn bucket_violations(field: &str, bucket: &Bucket, found: &mut Vec<Violation>) {
    let name = &bucket.name;
    if !(3..=63).contains(&name.len()) || !is_label(name) {
        found.push(invalid(
            format!("{field}.name"),
            format!(
                "is {name:?}, expected 3 to 63 lower-case letters, digits and hyphens with a letter or digit at both \
                 ends"
            ),
        ));
    }
    if RESERVED_BUCKETS.contains(&name.as_str())
        || RESERVED_BUCKET_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || RESERVED_BUCKET_SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix))
    {
        found.push(invalid(
            format!("{field}.name"),
            format!(
                "is {name}, which is reserved by the operator, S3 or the store ({BACKUP_BUCKET} holds WAL and backups, \
                 {EVIDENCE_BUCKET} the evidence log); choose another name"
            ),
        ));
    }
    if bucket.object_lock && !bucket.versioning {
        found.push(invalid(
            format!("{field}.objectLock"),
            "is true without versioning, expected both: a lock protects versions; set versioning: true",
        ));
    }
    if let Some(days) = bucket.noncurrent_retention_days {
        if days < 1 {
            found.push(invalid(
                format!("{field}.noncurrentRetentionDays"),
                format!("is {days}, expected at least 1 day; leave it out to keep old versions"),
            ));
        }
        if !bucket.versioning {
            found.push(invalid(
                format!("{field}.noncurrentRetentionDays"),
                "is set without versioning, expected it only where old versions are kept; set versioning: true",
            ));
        }
    }
    if bucket.retention.is_some() && !bucket.object_lock {
        found.push(invalid(
            format!("{field}.retention"),
            "is set without objectLock, expected both: only a lock retains; make another bucket with objectLock: true",
        ));
    }
    if let Some(quota) = &bucket.quota {
        bytes(&format!("{field}.quota"), quota, found);
    }
}

fn user_violations(
    field: &str,
    user: &StoreUser,
    buckets: &BTreeSet<&str>,
    found: &mut Vec<Violation>,
) {
    let name = &user.name;
    if !USER_NAME.contains(&name.len()) || !is_label(name) {
        found.push(invalid(
            format!("{field}.name"),
            format!(
                "is {name:?}, expected {} to {} lower-case letters, digits and hyphens with a letter or digit at \
                 both ends",
                USER_NAME.start(),
                USER_NAME.end()
            ),
        ));
    }
    if OWN_USERS.contains(&name.as_str()) {
        found.push(invalid(
            format!("{field}.name"),
            format!("is {name}, which is reserved for the operator; choose another name"),
        ));
    }
    if user.grants.is_empty() {
        found.push(invalid(
            format!("{field}.grants"),
            "is empty, expected at least one grant; a user without one can do nothing",
        ));
    }
    let mut granted = BTreeSet::new();
    for (index, grant) in user.grants.iter().enumerate() {
        let field = format!("{field}.grants[{index}].bucket");
        if !buckets.contains(grant.bucket.as_str()) {
            found.push(invalid(
                &field,
                format!(
                    "is {}, expected a bucket of spec.objectStore.buckets; add it there or correct the name",
                    grant.bucket
                ),
            ));
        }
        if !granted.insert(grant.bucket.as_str()) {
            found.push(invalid(
                &field,
                format!(
                    "is {} a second time, expected one grant a bucket; keep the wider one",
                    grant.bucket
                ),
            ));
        }
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, without dots: a certificate's
/// wildcard would not cover them.
fn is_label(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.is_empty()
}
