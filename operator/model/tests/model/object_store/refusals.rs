//! Specs that are refused, with the field.
#![allow(clippy::too_many_lines, reason = "a table is read in one piece")]

use crate::fixture;

#[test]
fn each_bad_spec_is_refused_with_its_field() {
    let buckets = |list: &str| format!("spec: {{objectStore: {{buckets: {list}}}}}");
    let users = |list: &str| format!("spec: {{objectStore: {{users: {list}}}}}");
    let cases = [
        ("spec: {objectStore: {servers: 2}}".to_owned(), "servers"),
        ("spec: {objectStore: {servers: 17}}".to_owned(), "servers"),
        ("spec: {objectStore: {servers: 0}}".to_owned(), "servers"),
        (
            "spec: {objectStore: {volumesPerServer: 3}}".to_owned(),
            "servers",
        ),
        (
            "spec: {objectStore: {volume: {size: 0Gi}}}".to_owned(),
            "volume.size",
        ),
        (
            "spec: {objectStore: {volume: {size: ten}}}".to_owned(),
            "volume.size",
        ),
        (
            "spec: {objectStore: {resources: {memory: 1XB}}}".to_owned(),
            "resources.memory",
        ),
        (
            "spec: {objectStore: {resources: {cpu: '-1'}}}".to_owned(),
            "resources.cpu",
        ),
        (
            buckets("[{name: documents}, {name: documents}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: Images}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: a.b}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: -ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: xn--ab}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: minio}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents}, {name: bailiwick-backup}]"),
            "buckets[1].name",
        ),
        (
            buckets("[{name: documents, quota: lots}]"),
            "buckets[0].quota",
        ),
        (
            buckets("[{name: documents, versioning: false, objectLock: true}]"),
            "buckets[0].objectLock",
        ),
        (
            buckets("[{name: documents, noncurrentRetentionDays: 0}]"),
            "buckets[0].noncurrentRetentionDays",
        ),
        (
            buckets("[{name: documents, versioning: false, noncurrentRetentionDays: 3}]"),
            "buckets[0].noncurrentRetentionDays",
        ),
        (
            users("[{name: api, grants: [{bucket: other, access: ReadOnly}]}]"),
            "users[0].grants[0].bucket",
        ),
        (
            users("[{name: api, grants: [{bucket: bailiwick-backup, access: ReadOnly}]}]"),
            "users[0].grants[0].bucket",
        ),
        (
            users(
                "[{name: api, grants: [{bucket: documents, access: ReadOnly}, \
                 {bucket: documents, access: ReadWrite}]}]",
            ),
            "users[0].grants[1].bucket",
        ),
        (users("[{name: api, grants: []}]"), "users[0].grants"),
        (
            users("[{name: pgbackrest, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users("[{name: evidence-auditor, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users("[{name: Api, grants: [{bucket: documents, access: ReadOnly}]}]"),
            "users[0].name",
        ),
        (
            users(
                "[{name: api, grants: [{bucket: documents, access: ReadOnly}]}, \
                 {name: api, grants: [{bucket: documents, access: ReadOnly}]}]",
            ),
            "users[1].name",
        ),
    ];
    for (edit, field) in cases {
        let violations = fixture::refused(&fixture::tr_with(&edit));
        let fields: Vec<&str> = violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [format!("spec.objectStore.{field}")],
            "{edit}: {violations:?}"
        );
    }
}
