//! The rules of `spec.objectStore` in CEL. Text in, text out; no I/O.

use kube::core::cel::{Message, Rule};

use super::{RESERVED_BUCKET_PREFIXES, RESERVED_BUCKET_SUFFIXES, RESERVED_BUCKETS, list};

/// How many servers and volumes there may be.
pub(in crate::region) fn servers_in_range() -> Rule {
    Rule::new(
            "self.servers >= 1 && self.servers <= 32 && self.volumesPerServer >= 1 && self.volumesPerServer <= 16",
        )
        .field_path(".servers")
        .message("expected 1 to 32 servers with 1 to 16 volumes each")
}

/// Erasure coding needs four volumes.
pub(in crate::region) fn servers_are_enough() -> Rule {
    Rule::new("self.servers * self.volumesPerServer == 1 || self.servers * self.volumesPerServer >= 4")
            .field_path(".servers")
            .message("expected one server with one volume, or at least 4 volumes in all, which erasure coding needs")
}

/// The servers of a pool are for ever.
pub(in crate::region) fn servers_are_kept() -> Rule {
    Rule::new("self.servers == oldSelf.servers")
        .field_path(".servers")
        .message(
            "cannot be changed: objects are spread over the servers that the store was made with",
        )
}

/// So are their volumes.
pub(in crate::region) fn volumes_per_server_are_kept() -> Rule {
    Rule::new("self.volumesPerServer == oldSelf.volumesPerServer")
        .field_path(".volumesPerServer")
        .message(
            "cannot be changed: objects are spread over the volumes that the store was made with",
        )
}

/// The name of a bucket, as S3 allows it.
pub(in crate::region) fn bucket_name_shape() -> Rule {
    Rule::new("self.matches('^[a-z0-9][-a-z0-9]{1,61}[a-z0-9]$')").message(
            "expected 3 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
        )
}

/// The name of a bucket is not one of the operator's, of S3's or of the store's own.
pub(in crate::region) fn bucket_name_free() -> Rule {
    let prefixes = RESERVED_BUCKET_PREFIXES
        .iter()
        .map(|prefix| format!("!self.startsWith('{prefix}')"));
    let suffixes = RESERVED_BUCKET_SUFFIXES
        .iter()
        .map(|suffix| format!("!self.endsWith('{suffix}')"));
    let clauses: Vec<String> = prefixes.chain(suffixes).collect();
    let taken = list(RESERVED_BUCKETS.iter().copied());
    Rule::new(format!("!(self in {taken}) && {}", clauses.join(" && "))).message(Message::Message(
        format!(
            "is reserved by the operator, S3 or the store: {}, what begins with {} and what ends with {}; choose another \
             name",
            RESERVED_BUCKETS.join(", "),
            RESERVED_BUCKET_PREFIXES.join(", "),
            RESERVED_BUCKET_SUFFIXES.join(", ")
        ),
    ))
}

/// S3 locks versions.
pub(in crate::region) fn object_lock_has_versions() -> Rule {
    Rule::new(
        "!has(self.objectLock) || !self.objectLock || !has(self.versioning) || self.versioning",
    )
    .field_path(".objectLock")
    .message("needs versioning; leave `versioning` out or set it to true")
}

/// Without versions there are no old ones.
pub(in crate::region) fn retention_has_versions() -> Rule {
    Rule::new("!has(self.noncurrentRetentionDays) || !has(self.versioning) || self.versioning")
        .field_path(".noncurrentRetentionDays")
        .message("needs versioning; leave `versioning` out or set it to true")
}

/// What is not locked is not retained.
pub(in crate::region) fn retention_has_a_lock() -> Rule {
    Rule::new("!has(self.retention) || (has(self.objectLock) && self.objectLock)")
        .field_path(".retention")
        .message("needs objectLock, which a bucket has from the start or never: make another bucket with it")
}

/// S3 locks a bucket when it is made.
pub(in crate::region) fn object_lock_is_kept() -> Rule {
    Rule::new(
            "(has(self.objectLock) && self.objectLock) == (has(oldSelf.objectLock) && oldSelf.objectLock)",
        )
        .field_path(".objectLock")
        .message("cannot be changed: S3 sets it when the bucket is made; make another bucket")
}

/// Days that old versions are kept.
pub(in crate::region) fn retention_days() -> Rule {
    Rule::new("self >= 1 && self <= 36500").message("expected 1 to 36500 days")
}

/// The name of a user of the store.
pub(in crate::region) fn store_user_name_shape() -> Rule {
    Rule::new("self.matches('^[a-z][-a-z0-9]+[a-z0-9]$')").message(
            "expected at least 3 lower-case letters, digits and hyphens, a letter first and no hyphen at the end",
        )
}

/// The name of a user is not one of the operator's.
pub(in crate::region) fn store_user_name_free() -> Rule {
    Rule::new("!(self in ['pgbackrest', 'evidence-auditor']) && !self.startsWith('bailiwick')")
        .message("is reserved for the operator and its backups; choose another")
}

/// Grants name buckets that are there.
pub(in crate::region) fn grants() -> Rule {
    Rule::new(
        "!has(self.users) || self.users.all(u, u.grants.all(g, has(self.buckets) && \
         self.buckets.exists(b, b.name == g.bucket)))",
    )
    .field_path(".users")
    .message("holds a grant of a bucket that is not in spec.objectStore.buckets; add the bucket or drop the grant")
}
