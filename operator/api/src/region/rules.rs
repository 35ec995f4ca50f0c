//! The rules of the Region in the API server's own language (CEL), and the lists that they are made from. Each says
//! what is expected and what to do. Text in, text out; no I/O.
//!
//! Two properties of the API server shape them. Every rule has a cost budget that is estimated from the bounds of
//! the schema, so every list and string has one. And items of lists carry no defaults (see [`super::crd`]), so a
//! rule asks `has()` before it reads a field of an item.

mod object_store;

use kube::core::cel::{Message, Rule};

use crate::MAX_INSTANCES;
use crate::quantity;
use crate::settings;

pub(super) use object_store::*;

/// Roles that Postgres or the operator has, and words that access rules understand otherwise. So are all names that
/// begin as [`RESERVED_PREFIXES`] say.
pub const RESERVED_ROLES: &[&str] = &["all", "none", "postgres", "public", "replication"];

/// Databases that Postgres or the operator has.
pub const RESERVED_DATABASES: &[&str] = &["postgres", "template0", "template1"];

/// Schemas that Postgres has; `public` is closed in every database, and stays so.
pub const RESERVED_SCHEMAS: &[&str] = &["public", "information_schema"];

/// Buckets that the store keeps for itself.
/// <https://github.com/minio/minio/blob/master/cmd/generic-handlers.go>
pub const RESERVED_BUCKETS: &[&str] = &["minio"];

/// What names of buckets may not begin with: the operator's own, and those that S3 reserves.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub const RESERVED_BUCKET_PREFIXES: &[&str] = &["bailiwick", "xn--", "sthree-", "amzn-s3-demo-"];

/// What names of buckets may not end with, by the same page of S3.
pub const RESERVED_BUCKET_SUFFIXES: &[&str] = &["-s3alias", "--ol-s3", "--x-s3", "--table-s3"];

/// What names of roles, databases and schemas may not begin with.
pub const RESERVED_PREFIXES: &[&str] = &["pg_", "bailiwick"];

/// What the names of the roles that come with a database end in, after the database's own name.
pub const DATABASE_ROLE_SUFFIXES: &[&str] = &["_db_admin", "_app_writer", "_app_reader"];

/// A list of strings in CEL.
fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values
        .into_iter()
        .map(|value| format!("'{value}'"))
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// The Region's name: every namespace, Service and Secret is named after it.
pub(super) fn region_name_shape() -> Rule {
    Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$')")
                .message(
                "metadata.name: expected a letter, then lower-case letters, digits and hyphens, at most 30 in all and no hyphen at the end: \
                 namespaces and Services are named after the Region",
            )
}

/// The Region's name is not that of a namespace of another's.
pub(super) fn region_name_free() -> Rule {
    Rule::new(
            "!self.metadata.name.endsWith('-obs') && !self.metadata.name.endsWith('-drill') && \
             !self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('bailiwick') && \
             self.metadata.name != 'default'",
        )
        .message(
            "metadata.name is taken: it may not be `default`, begin with `kube-` or `bailiwick`, or end with `-obs` \
             or `-drill`, which are the namespaces of another Region",
        )
}

/// A name that is a DNS label.
pub(super) fn dns_label() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "expected lower-case letters, digits and hyphens, with a letter or digit at both ends",
    )
}

/// A jurisdiction.
pub(super) fn jurisdiction() -> Rule {
    Rule::new("self.matches('^[A-Z]{2}(-[A-Z0-9]{1,8})?$')").message(
        "expected the code of a country or union, as `TR` or `EU`, or of a part of it, as `CA-QC`",
    )
}

/// The location is one of the allowed ones.
pub(super) fn allowed_locations_contain_location() -> Rule {
    Rule::new("!has(self.allowedLocations) || self.location in self.allowedLocations")
        .field_path(".allowedLocations")
        .message("must contain spec.residency.location; add it to the list")
}

/// The nodes are in the location.
pub(super) fn node_selector_agrees() -> Rule {
    Rule::new(
        "!has(self.nodeSelector) || !('topology.kubernetes.io/region' in self.nodeSelector) || \
             self.nodeSelector['topology.kubernetes.io/region'] == self.location",
    )
    .field_path(".nodeSelector")
    .message("names nodes elsewhere: topology.kubernetes.io/region must be spec.residency.location")
}

/// The jurisdiction never changes under the data.
pub(super) fn jurisdiction_is_kept() -> Rule {
    Rule::new("self.jurisdiction == oldSelf.jurisdiction")
        .field_path(".jurisdiction")
        .message("cannot be changed; make a new Region there and move the data")
}

/// The location never changes under the data.
pub(super) fn location_is_kept() -> Rule {
    Rule::new("self.location == oldSelf.location")
        .field_path(".location")
        .message("cannot be changed; make a new Region there and move the data")
}

/// Nor do the allowed locations; their order does not matter.
pub(super) fn allowed_locations_are_kept() -> Rule {
    Rule::new(
            "has(self.allowedLocations) == has(oldSelf.allowedLocations) && \
             (!has(self.allowedLocations) || (self.allowedLocations.all(l, l in oldSelf.allowedLocations) && \
             oldSelf.allowedLocations.all(l, l in self.allowedLocations)))",
        )
        .field_path(".allowedLocations")
        .message("cannot be changed; make a new Region with the other locations and move the data")
}

/// Nor do the nodes, which volumes are bound to.
pub(super) fn node_selector_is_kept() -> Rule {
    Rule::new(
        "has(self.nodeSelector) == has(oldSelf.nodeSelector) && \
             (!has(self.nodeSelector) || self.nodeSelector == oldSelf.nodeSelector)",
    )
    .field_path(".nodeSelector")
    .message("cannot be changed; volumes stay on the nodes that they were made for")
}

/// The least assurance may rise, never fall.
pub(super) fn minimum_assurance() -> Rule {
    // Two of three words in order: comparing them by position would cost more than the API server allows.
    Rule::new("self == oldSelf || oldSelf == 'Simulated' || self == 'Physical'")
        .message("may rise from Simulated to Logical to Physical, never fall; make a new Region")
}

/// Every place outside the cluster lies in the allowed locations.
pub(super) fn external_locations() -> Rule {
    Rule::new(
        "!has(self.network.external) || self.network.external.all(e, has(self.residency.allowedLocations) ? \
         e.location in self.residency.allowedLocations : e.location == self.residency.location)",
    )
    .field_path(".network.external")
    .message(
        "names a place outside spec.residency.allowedLocations; take it out, or make a new Region that allows the \
         location",
    )
}

/// A selector that selects something in particular. One with negative expressions alone selects nearly everything.
pub(super) fn selects_something() -> Rule {
    Rule::new(
        "(has(self.matchLabels) && self.matchLabels.size() > 0) || \
         (has(self.matchExpressions) && self.matchExpressions.exists(e, e.operator in ['In', 'Exists']))",
    )
    .message(
        "selects every namespace, or all but a few; name the client's with matchLabels or an In or Exists expression",
    )
}

/// The key of a label, in CEL.
const LABEL_KEY: &str =
    "'^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'";
/// The value of a label, in CEL; its length is the schema's affair.
const LABEL_VALUE: &str = "'^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'";

/// Labels that an object can have: others would be refused only when a policy or pod is made with them.
pub(super) fn labels() -> Rule {
    Rule::new(format!(
        "self.all(k, k.matches({LABEL_KEY}) && self[k].matches({LABEL_VALUE}))"
    ))
    .message("expected labels as Kubernetes has them: letters, digits, `-`, `_` and `.`, after an optional `prefix/`")
}

/// The labels of a selector, likewise.
pub(super) fn selector_labels() -> Rule {
    Rule::new(format!(
        "(!has(self.matchLabels) || self.matchLabels.all(k, k.matches({LABEL_KEY}) && \
         self.matchLabels[k].matches({LABEL_VALUE}))) && \
         (!has(self.matchExpressions) || self.matchExpressions.all(e, e.key.matches({LABEL_KEY}) && \
         (!has(e.values) || e.values.all(v, v.matches({LABEL_VALUE})))))"
    ))
    .message("expected labels as Kubernetes has them: letters, digits, `-`, `_` and `.`, after an optional `prefix/`")
}

/// The expressions of a selector.
pub(super) fn selector_expressions() -> Rule {
    Rule::new(
        "!has(self.matchExpressions) || self.matchExpressions.all(e, \
         (e.operator in ['In', 'NotIn'] && has(e.values) && e.values.size() > 0) || \
         (e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || e.values.size() == 0)))",
    )
    .message("expected the operator In or NotIn with values, or Exists or DoesNotExist without")
}

/// A host name.
pub(super) fn host() -> Rule {
    Rule::new("self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])*[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message(
            "expected a host name in lower case, as `s3.example.org`; addresses belong in `cidrs`",
        )
}

/// Addresses, and no range of more than [`crate::endpoint::MOST_ADDRESSES`].
pub(super) fn cidrs() -> Rule {
    Rule::new(
        // The API server's own parser takes no leading zeros, those of tools do.
        "self.all(c, isCIDR(c) && !c.matches('(^|[.])0[0-9]+([.]|/)|/0[0-9]') && cidr(c).prefixLength() >= (c.contains(':') ? 116 : 20) && \
         cidr(c) == cidr(c).masked())",
    )
    .message(
        "expected addresses in CIDR notation and a prefix of /20 (IPv6: /116) or longer, as `203.0.113.10/32`, without \
         leading zeros and without address bits after the prefix; name the addresses of this place alone",
    )
}

/// TCP ports.
pub(super) fn ports() -> Rule {
    Rule::new("self.all(p, p >= 1 && p <= 65535)").message("expected TCP ports from 1 to 65535")
}

/// The major versions that the operator knows how to run.
pub(super) fn version_supported() -> Rule {
    Rule::new("self >= 17 && self <= 18").message("expected 17 or 18")
}

/// Upgrades go one major version at a time.
pub(super) fn version_rises() -> Rule {
    Rule::new("self == oldSelf || self == oldSelf + 1")
        .message("may rise by one major version at a time, never fall")
}

/// How many members there may be.
pub(super) fn instances_in_range() -> Rule {
    Rule::new(format!(
        "self.instances >= 1 && self.instances <= {MAX_INSTANCES}"
    ))
    .field_path(".instances")
    .message("expected 1 to 9 members")
}

/// A strict commit needs somebody to wait for.
pub(super) fn zero_loss_has_a_replica() -> Rule {
    Rule::new("self.durability != 'ZeroLoss' || self.instances >= 2")
            .field_path(".instances")
            .message(
                "expected at least 2 with durability ZeroLoss: without a replica every write would wait for ever",
            )
}

/// An even number of members buys nothing unless commits wait for a replica.
pub(super) fn bounded_is_odd() -> Rule {
    Rule::new("self.durability != 'Bounded' || self.instances % 2 == 1")
            .field_path(".instances")
            .message(
                "expected an odd number with durability Bounded; with an even one choose PreferZeroLoss or ZeroLoss",
            )
}

/// A failover does not begin before Patroni has had its tries.
pub(super) fn ttl_outlasts_retries() -> Rule {
    Rule::new("self.ttlSeconds >= self.loopWaitSeconds + 2 * self.retryTimeoutSeconds")
            .field_path(".ttlSeconds")
            .message(
                "expected at least loopWaitSeconds + 2 * retryTimeoutSeconds, or a slow answer demotes a healthy \
                 primary",
            )
}

/// Times that Patroni takes.
pub(super) fn failover_in_range() -> Rule {
    Rule::new(
            "self.ttlSeconds >= 20 && self.ttlSeconds <= 300 && self.loopWaitSeconds >= 1 && \
             self.loopWaitSeconds <= 60 && self.retryTimeoutSeconds >= 3 && self.retryTimeoutSeconds <= 120",
        )
        .message(
            "expected ttlSeconds from 20 to 300, loopWaitSeconds from 1 to 60 and retryTimeoutSeconds from 3 to 120",
        )
}

/// The rules of the names of settings, as a schema has them: each tells the name, which no field path can. That is computed
/// when a rule is broken; where it cannot be, the mere sentence stands.
pub(super) fn parameters() -> serde_json::Value {
    // PostgreSQL does not tell the case of names apart, a map does.
    let known = format!("k in {}", list(settings::all().keys().copied()));
    let kept = settings::all()
        .values()
        .filter(|setting| setting.keeper.is_some())
        .map(|setting| setting.name);
    let kept = format!("k in {}", list(kept));
    let rule = |rule: String, offends: String, message: String| {
        serde_json::json!({
            "rule": rule,
            "messageExpression": format!("self.filter(k, {offends})[0] + \" {message}\""),
            "message": message,
        })
    };
    serde_json::json!([
        rule(
            format!("self.all(k, {known})"),
            format!("!({known})"),
            format!(
                "names no setting of PostgreSQL {} or of an extension in its image, in lower case; \
                 docs/reference/postgres-parameters.md has those that can be set, and `bailiwick-operator check` says which \
                 name it is",
                settings::VERSION
            ),
        ),
        rule(
            format!("!self.exists(k, {kept})"),
            kept,
            "sets what the operator owns or what would break the Region's promises (TLS, addresses, files, archive, \
             recovery, replication, durability, libraries, sessions of the operator, logs of statements); take it out: \
             docs/reference/postgres-parameters.md has the reason of each"
                .to_owned(),
        ),
    ])
}

/// A name in Postgres that needs no quoting.
pub(super) fn postgres_name_shape() -> Rule {
    Rule::new("self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$')").message(
            "expected a lower-case letter, then lower-case letters, digits and underscores, no underscore at the end",
        )
}

/// A name in Postgres that is not one of `reserved` and does not begin as [`RESERVED_PREFIXES`] say.
pub(super) fn postgres_name_free(reserved: &[&str]) -> Rule {
    let taken = list(reserved.iter().copied());
    let prefixes: Vec<String> = RESERVED_PREFIXES
        .iter()
        .map(|prefix| format!("!self.startsWith('{prefix}')"))
        .collect();
    Rule::new(format!("!(self in {taken}) && {}", prefixes.join(" && "))).message(Message::Message(format!(
        "is reserved by Postgres or the operator: {}, and names that begin with {}; choose another",
        reserved.join(", "),
        RESERVED_PREFIXES.join(" or ")
    )))
}

/// The number of a leakage channel.
pub(super) fn channel() -> Rule {
    Rule::new("self.matches('^([1-9]|[1-3][0-9]|4[0-6])$')").message(
        "expected the number of a leakage channel, `1` to `46`: see docs/reference/channels.md",
    )
}

/// The name of an extension.
pub(super) fn extensions() -> Rule {
    Rule::new("self.all(e, e.matches('^[a-z][a-z0-9_-]*$'))")
        .message("expected names of extensions, as `uuid-ossp`")
}

/// A login has a database to connect to.
pub(super) fn login_has_database() -> Rule {
    Rule::new(
            "!has(self.roles) || self.roles.all(r, !has(r.login) || !r.login || has(r.database))",
        )
        .field_path(".roles")
        .message("holds a role with `login` and without `database`; name the database that its Secret connects to")
}

/// The database of a role is there.
pub(super) fn role_database_is_listed() -> Rule {
    Rule::new(
            "!has(self.roles) || self.roles.all(r, !has(r.database) || \
             (has(self.databases) && self.databases.exists(d, d.name == r.database)))",
        )
        .field_path(".roles")
        .message("holds a role whose `database` is not in spec.postgres.databases; add it there or name another")
}

/// A role is not one that comes with a database.
pub(super) fn role_is_not_a_databases() -> Rule {
    let suffixes: Vec<String> = DATABASE_ROLE_SUFFIXES
        .iter()
        .map(|suffix| format!("r.name == d.name + '{suffix}'"))
        .collect();
    Rule::new(format!(
        "!has(self.roles) || !has(self.databases) || \
             self.roles.all(r, !self.databases.exists(d, {}))",
        suffixes.join(" || ")
    ))
    .field_path(".roles")
    .message(
        "holds a role that comes with a database already; use that one, or choose another name",
    )
}

/// How many connections a role may hold.
pub(super) fn connection_limit() -> Rule {
    Rule::new("self >= -1 && self <= 10000").message("expected -1 for no limit, or 0 to 10000")
}

/// A quantity of this form, from `least` to `most`.
fn quantity_within(kind: quantity::Kind, least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "{} && isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{least}')) >= 0 && \
         quantity(string(self)).compareTo(quantity('{most}')) <= 0",
        kind.form_in_cel()
    ))
}

/// CPUs of a container.
pub(super) fn cpu() -> Rule {
    let (least, most) = quantity::CPUS;
    quantity_within(quantity::Kind::Cpus, least, most).message(quantity::CPUS_EXPECTED)
}

/// Memory with which a program of ours starts at all.
pub(super) fn memory() -> Rule {
    quantity_within(quantity::Kind::Bytes, "256Mi", quantity::MOST_BYTES).message(Message::Message(
        format!(
            "expected at least 256Mi, with less neither Postgres nor the object store starts: {}",
            quantity::BYTES_EXPECTED
        ),
    ))
}

/// The size of a volume.
pub(super) fn size() -> Rule {
    quantity_within(quantity::Kind::Bytes, "0", quantity::MOST_BYTES)
        .message(quantity::BYTES_EXPECTED)
}

/// The bytes that an item of a list may hold. How many they may be is for `plan`: here the comparison would cost too much.
pub(super) fn quota() -> Rule {
    Rule::new(quantity::Kind::Bytes.form_in_cel()).message(quantity::BYTES_EXPECTED)
}

/// Days of a month, by the years in which February has 29: those that four divides, from 2000 up to 2099.
const DAY: &str = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";

/// A moment that every reader of it understands alike. It is before 2100 wherever it is read: the last day of 2099 has no
/// other offset than `Z`, as a moment of it with another may be of 2100.
pub(super) fn moment() -> Rule {
    let time = "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?";
    let offset = "(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])";
    let leap_day = "20([02468][048]|[13579][26])-02-29";
    Rule::new(format!(
        "self.matches('^(20[0-9]{{2}}-{DAY}|{leap_day}){time}{offset}$') && \
         (!self.startsWith('2099-12-31') || self.endsWith('Z'))"
    ))
    .message(
        "expected a moment that there is, before the year 2100 in RFC 3339, as `2027-01-31T00:00:00Z`; on the last day of \
         2099 with Z",
    )
}

/// A size that never shrinks.
pub(super) fn grows_only() -> Rule {
    Rule::new(
        "!isQuantity(string(self)) || !isQuantity(string(oldSelf)) || \
         quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
    )
    .message("may grow, never shrink; restore into a new Region to make it smaller")
}

/// A value that volumes are made from once.
pub(super) fn storage_class_is_kept() -> Rule {
    Rule::new("self == oldSelf")
        .message("cannot be changed: volumes keep the class that they were made with; restore into a new Region")
}

/// A span of time that WAL may wait for the archive.
pub(super) fn rpo() -> Rule {
    Rule::new(
        "self.matches('^[1-9][0-9]{0,4}(s|m|h)$') && duration(self) >= duration('30s') && \
         duration(self) <= duration('24h')",
    )
    .message("expected a time from 30s to 24h, as `5m`")
}

/// The archive is in the Region.
pub(super) fn in_region_repo() -> Rule {
    Rule::new("self.filter(r, !has(r.store) || r.store == 'InRegion').size() == 1")
        .message("expected exactly one repository with store InRegion")
}

/// How many backups are kept.
pub(super) fn retention() -> Rule {
    Rule::new("(!has(self.full) || (self.full >= 1 && self.full <= 1000)) && (!has(self.diff) || (self.diff >= 1 && self.diff <= 1000))")
        .message("expected 1 to 1000 full and 1 to 1000 differential backups")
}
