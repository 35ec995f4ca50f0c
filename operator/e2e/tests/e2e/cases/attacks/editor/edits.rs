//! The edits: a table. Values; no I/O.

use serde_json::{Value, json};

use super::super::region;
use super::Edit;
use crate::cases::residency::controls::APPROVER;

pub const fn edit(
    name: &'static str,
    field: &'static [&'static str],
    value: Value,
    words: &'static str,
) -> Edit {
    Edit {
        name,
        field,
        value,
        words,
    }
}

pub const EXTERNAL: &[&str] = &["network", "external"];
pub const CLIENTS: &[&str] = &["network", "clients"];
const EXCEPTIONS: &[&str] = &["residency", "exceptions"];
pub const ROLES: &[&str] = &["postgres", "roles"];
pub const DATABASES: &[&str] = &["postgres", "databases"];
const USERS: &[&str] = &["objectStore", "users"];

fn external(cidr: &str, location: &str) -> Value {
    json!([{ "name": "wide", "host": "s3.example.org", "cidrs": [cidr], "ports": [443], "location": location }])
}

pub fn exception(channel: &str, approver: &str) -> Value {
    json!([{ "channel": channel, "reason": "none", "approvedBy": approver, "expires": "2037-01-31T00:00:00Z" }])
}

/// What the API server refuses.
pub fn refused() -> Vec<Edit> {
    let wide = "a prefix of /20 (IPv6: /116) or longer";
    let approvers = "by members of group bailiwick:residency-approvers";
    let kept = "volumes keep the class that they were made with";
    let owned = "sets what the operator owns or what would break the Region's promises";
    let name = "is reserved by Postgres or the operator";
    let parameter = |name: &str, value: &str| json!({ name: value });
    vec![
        edit(
            "another jurisdiction",
            &["residency", "jurisdiction"],
            json!("ES"),
            "cannot be changed",
        ),
        edit(
            "another location",
            &["residency", "location"],
            json!("es-mad-1"),
            "cannot be changed",
        ),
        edit(
            "one more location",
            &["residency", "allowedLocations"],
            json!(["tr-ist-1", "es-mad-1"]),
            "cannot be changed",
        ),
        edit(
            "nodes of another location",
            &["residency", "nodeSelector"],
            json!({ "topology.kubernetes.io/region": "es-mad-1" }),
            "names nodes elsewhere",
        ),
        edit(
            "an exception of the editor's own",
            EXCEPTIONS,
            exception("1", region::PERSON),
            approvers,
        ),
        edit(
            "an exception in an approver's name",
            EXCEPTIONS,
            exception("9", APPROVER),
            approvers,
        ),
        edit(
            "a range as wide as a country",
            EXTERNAL,
            external("198.0.0.0/8", "tr-ist-1"),
            wide,
        ),
        edit(
            "half of the internet",
            EXTERNAL,
            external("128.0.0.0/1", "tr-ist-1"),
            wide,
        ),
        edit("all of it", EXTERNAL, external("::/0", "tr-ist-1"), wide),
        edit(
            "an endpoint of another location",
            EXTERNAL,
            external("192.0.2.1/32", "es-mad-1"),
            "names a place outside spec.residency.allowedLocations",
        ),
        edit(
            "every namespace",
            CLIENTS,
            json!([{ "name": "all", "namespaceSelector": {}, "to": ["Postgres"] }]),
            "selects every namespace",
        ),
        edit(
            "every namespace but one",
            CLIENTS,
            json!([{ "name": "all", "to": ["Postgres"],
            "namespaceSelector": { "matchExpressions": [{ "key": "team", "operator": "NotIn", "values": ["other"] }] } }]),
            "selects every namespace",
        ),
        edit(
            "TLS off",
            &["postgres", "parameters"],
            parameter("ssl", "off"),
            owned,
        ),
        edit(
            "statements in the log",
            &["postgres", "parameters"],
            parameter("log_statement", "all"),
            owned,
        ),
        edit(
            "an archive of the editor's",
            &["postgres", "parameters"],
            parameter("archive_command", "cp %p /tmp"),
            owned,
        ),
        edit(
            "a library of the editor's",
            &["postgres", "parameters"],
            parameter("session_preload_libraries", "evil"),
            owned,
        ),
        edit(
            "the operator's role",
            ROLES,
            json!([{ "name": "bailiwick_operator" }]),
            name,
        ),
        edit(
            "a role of the server's",
            ROLES,
            json!([{ "name": "pg_execute_server_program" }]),
            name,
        ),
        edit(
            "a database of the server's",
            DATABASES,
            json!([{ "name": "postgres" }]),
            name,
        ),
        edit(
            "the database's volumes elsewhere",
            &["postgres", "storage", "data", "storageClass"],
            json!("es-mad-1-local"),
            kept,
        ),
        edit(
            "the store's volumes elsewhere",
            &["objectStore", "volume", "storageClass"],
            json!("es-mad-1-local"),
            kept,
        ),
        edit(
            "a bucket of the operator's",
            &["objectStore", "buckets"],
            json!([{ "name": "bailiwick-evidence" }]),
            "is reserved by the operator",
        ),
        edit(
            "the archive's user",
            USERS,
            json!([{ "name": "pgbackrest", "grants": [] }]),
            "is reserved for the operator",
        ),
        edit(
            "the auditor's user",
            USERS,
            json!([{ "name": "evidence-auditor", "grants": [] }]),
            "is reserved for the operator",
        ),
        edit(
            "a grant of the archive's bucket",
            USERS,
            json!([{ "name": "reader", "grants": [{ "bucket": "bailiwick-backup", "access": "ReadOnly" }] }]),
            "holds a grant of a bucket that is not in spec.objectStore.buckets",
        ),
        edit(
            "a second archive",
            &["backup", "repos"],
            json!([{ "name": "repo1" }, { "name": "repo2" }]),
            "expected exactly one repository with store InRegion",
        ),
        edit(
            "an archive in clear",
            &["backup", "encryption", "mode"],
            json!("None"),
            "Unsupported value",
        ),
    ]
}

/// What the API server takes, and the operator does not.
pub fn not_accepted() -> Vec<Edit> {
    let many: Vec<Value> = (0..17)
        .map(|it| {
            json!({ "name": format!("place-{it}"), "host": "s3.example.org", "cidrs": ["203.0.113.0/24"],
                "ports": [443 + it], "location": "tr-ist-1" })
        })
        .collect();
    vec![
        edit(
            "around what the canary tries",
            EXTERNAL,
            external("198.51.96.0/20", "tr-ist-1"),
            "--outside-address",
        ),
        edit(
            "what the canary tries, at another port",
            EXTERNAL,
            json!([{ "name": "wide", "host": "s3.example.org", "cidrs": ["198.51.100.10/32"], "ports": [8443],
                "location": "tr-ist-1" }]),
            "--outside-address",
        ),
        edit(
            "addresses of another location",
            EXTERNAL,
            external("192.0.2.1/32", "tr-ist-1"),
            "--location-addresses",
        ),
        edit(
            "the metadata service",
            EXTERNAL,
            external("169.254.169.254/32", "tr-ist-1"),
            "metadata service",
        ),
        edit(
            "a node",
            EXTERNAL,
            external("10.200.0.11/32", "tr-ist-1"),
            "a node of this cluster",
        ),
        edit(
            "the API server",
            EXTERNAL,
            external("10.200.0.1/32", "tr-ist-1"),
            "of this cluster",
        ),
        edit(
            "the neighbour's pods",
            EXTERNAL,
            external("10.201.2.0/24", "tr-ist-1"),
            "pods of this cluster",
        ),
        edit(
            "the cluster's Services",
            EXTERNAL,
            external("10.202.0.1/32", "tr-ist-1"),
            "--cluster-addresses",
        ),
        edit(
            "private addresses",
            EXTERNAL,
            external("192.168.7.0/24", "tr-ist-1"),
            "--location-addresses",
        ),
        edit(
            "IPv4 in the clothes of IPv6",
            EXTERNAL,
            external("64:ff9b::c633:640a/128", "tr-ist-1"),
            "written as IPv6",
        ),
        edit(
            "too many addresses",
            EXTERNAL,
            json!(many),
            "expected at most 4096",
        ),
        edit(
            "programs of the server",
            ROLES,
            json!([{ "name": "staff", "memberOf": ["pg_execute_server_program"] }]),
            "pg_execute_server_program",
        ),
        edit(
            "foreign servers",
            DATABASES,
            json!([{ "name": "clinical", "extensions": ["dblink"] }]),
            "asks for dblink",
        ),
    ]
}
