//! Each rule of a Region's Postgres and backup: what breaks it, and the path of the field that is named for it.

use std::collections::BTreeSet;

use bailiwick_api::violation::Reason;
use bailiwick_model::desired::postgres::violations;

use crate::fixture::tr_with;

/// An edit of `spec`, and the fields that must be named for it, in order.
const CASES: &[(&str, &[&str])] = &[
    ("{}", &[]),
    ("postgres: {instances: 0}", &["spec.postgres.instances"]),
    (
        "postgres: {instances: 1, durability: ZeroLoss}",
        &["spec.postgres.durability"],
    ),
    ("postgres: {instances: 2, durability: ZeroLoss}", &[]),
    (
        "postgres: {resources: {cpu: much}}",
        &["spec.postgres.resources.cpu"],
    ),
    (
        "postgres: {resources: {cpu: '0'}}",
        &["spec.postgres.resources.cpu"],
    ),
    (
        "postgres: {resources: {memory: 255Mi}}",
        &["spec.postgres.resources.memory"],
    ),
    (
        "postgres: {storage: {data: {size: '1'}}}",
        &["spec.postgres.storage.data.size"],
    ),
    (
        "postgres: {parameters: {Work_mem: 8MB}}",
        &["spec.postgres.parameters.Work_mem"],
    ),
    (
        "postgres: {parameters: {ssl: 'off'}}",
        &["spec.postgres.parameters.ssl"],
    ),
    (
        "postgres: {parameters: {archive_mode: 'off'}}",
        &["spec.postgres.parameters.archive_mode"],
    ),
    (
        "postgres: {parameters: {work_mem: ''}}",
        &["spec.postgres.parameters.work_mem"],
    ),
    (
        "postgres: {parameters: {work_mem: \"8MB\\nssl = off\"}}",
        &["spec.postgres.parameters.work_mem"],
    ),
    (
        "postgres: {parameters: {wal_level: minimal}}",
        &["spec.postgres.parameters.wal_level"],
    ),
    ("postgres: {parameters: {wal_level: logical}}", &[]),
    (
        "postgres: {parameters: {max_connections: '24'}}",
        &["spec.postgres.parameters.max_connections"],
    ),
    (
        "postgres: {parameters: {max_wal_senders: '4'}}",
        &["spec.postgres.parameters.max_wal_senders"],
    ),
    (
        "postgres: {parameters: {max_replication_slots: x}}",
        &["spec.postgres.parameters.max_replication_slots"],
    ),
    (
        "postgres: {parameters: {max_worker_processes: '1'}}",
        &["spec.postgres.parameters.max_worker_processes"],
    ),
    (
        "postgres: {parameters: {max_locks_per_transaction: '8'}}",
        &["spec.postgres.parameters.max_locks_per_transaction"],
    ),
    (
        "postgres: {parameters: {shared_buffers: 385MB}}",
        &["spec.postgres.parameters.shared_buffers"],
    ),
    ("postgres: {parameters: {shared_buffers: 384MB}}", &[]),
    (
        "postgres: {parameters: {shared_buffers: banana}}",
        &["spec.postgres.parameters.shared_buffers"],
    ),
    (
        "postgres: {databases: [{name: Clinical}]}",
        &["spec.postgres.databases[0].name"],
    ),
    (
        "postgres: {databases: [{name: clinical_}]}",
        &["spec.postgres.databases[0].name"],
    ),
    (
        "postgres: {databases: [{name: postgres}]}",
        &["spec.postgres.databases[0].name"],
    ),
    (
        "postgres: {databases: [{name: pg_mine}]}",
        &["spec.postgres.databases[0].name"],
    ),
    (
        "postgres: {databases: [{name: a}, {name: a}]}",
        &["spec.postgres.databases[1].name"],
    ),
    (
        "postgres: {databases: [{name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]}",
        &["spec.postgres.databases[0].name"],
    ),
    (
        "postgres: {databases: [{name: a, schemas: [{name: extensions}]}]}",
        &["spec.postgres.databases[0].schemas[0].name"],
    ),
    (
        "postgres: {databases: [{name: a, schemas: [{name: pg_temp}]}]}",
        &["spec.postgres.databases[0].schemas[0].name"],
    ),
    (
        "postgres: {databases: [{name: a, schemas: [{name: public}]}]}",
        &["spec.postgres.databases[0].schemas[0].name"],
    ),
    (
        "postgres: {databases: [{name: a, schemas: [{name: 1a}]}]}",
        &["spec.postgres.databases[0].schemas[0].name"],
    ),
    (
        "postgres: {databases: [{name: a, schemas: [{name: s}, {name: s}]}]}",
        &["spec.postgres.databases[0].schemas[1].name"],
    ),
    (
        "postgres: {databases: [{name: a, extensions: [dblink]}]}",
        &["spec.postgres.databases[0].extensions"],
    ),
    (
        "postgres: {databases: [{name: a, extensions: [postgis, postgis]}]}",
        &["spec.postgres.databases[0].extensions[1]"],
    ),
    (
        "postgres: {databases: [{name: a, extensions: [pg_cron]}, {name: b, extensions: [pg_cron]}]}",
        &["spec.postgres.databases[1].extensions"],
    ),
    (
        "postgres: {roles: [{name: postgres}]}",
        &["spec.postgres.roles[0].name"],
    ),
    (
        "postgres: {roles: [{name: bailiwick_operator}]}",
        &["spec.postgres.roles[0].name"],
    ),
    (
        "postgres: {roles: [{name: pg_mine}]}",
        &["spec.postgres.roles[0].name"],
    ),
    (
        "postgres: {roles: [{name: Mine}]}",
        &["spec.postgres.roles[0].name"],
    ),
    (
        "postgres: {roles: [{name: clinical_app_writer}]}",
        &["spec.postgres.roles[0].name"],
    ),
    (
        "postgres: {roles: [{name: a}, {name: a}]}",
        &["spec.postgres.roles[1].name"],
    ),
    (
        "postgres: {roles: [{name: a, login: true}]}",
        &["spec.postgres.roles[0].database"],
    ),
    (
        "postgres: {roles: [{name: a, login: true, database: other}]}",
        &["spec.postgres.roles[0].database"],
    ),
    (
        "postgres: {roles: [{name: a, login: true, database: clinical}]}",
        &[],
    ),
    (
        "postgres: {roles: [{name: a, memberOf: [nobody]}]}",
        &["spec.postgres.roles[0].memberOf[0]"],
    ),
    (
        "postgres: {roles: [{name: a, memberOf: [a]}]}",
        &["spec.postgres.roles[0].memberOf"],
    ),
    (
        "postgres: {roles: [{name: a, memberOf: [clinical_app_reader]}]}",
        &[],
    ),
    (
        "postgres: {roles: [{name: a, connectionLimit: -2}]}",
        &["spec.postgres.roles[0].connectionLimit"],
    ),
    (
        "postgres: {failover: {ttlSeconds: 19, loopWaitSeconds: 5, retryTimeoutSeconds: 3}}",
        &["spec.postgres.failover.ttlSeconds"],
    ),
    (
        "postgres: {failover: {ttlSeconds: 29}}",
        &["spec.postgres.failover.ttlSeconds"],
    ),
    (
        "postgres: {failover: {loopWaitSeconds: 0}}",
        &["spec.postgres.failover.loopWaitSeconds"],
    ),
    (
        "postgres: {failover: {retryTimeoutSeconds: 2}}",
        &["spec.postgres.failover.retryTimeoutSeconds"],
    ),
    ("backup: {rpo: soon}", &["spec.backup.rpo"]),
    ("backup: {rpo: 29s}", &["spec.backup.rpo"]),
    ("backup: {rpo: 25h}", &["spec.backup.rpo"]),
    ("backup: {repos: []}", &["spec.backup.repos"]),
    (
        "backup: {repos: [{name: repo1}, {name: repo2}]}",
        &["spec.backup.repos"],
    ),
    (
        "backup: {repos: [{name: repo1, retention: {full: 0}}]}",
        &["spec.backup.repos[0].retention.full"],
    ),
    (
        "backup: {repos: [{name: repo1, retention: {diff: 0}}]}",
        &["spec.backup.repos[0].retention.diff"],
    ),
    (
        "{postgres: {instances: 0, roles: [{name: a, login: true}]}, backup: {rpo: soon}}",
        &[
            "spec.postgres.instances",
            "spec.postgres.roles[0].database",
            "spec.backup.rpo",
        ],
    ),
];

#[test]
fn each_rule_names_its_field() {
    for (edit, expected) in CASES {
        let region = tr_with(&format!("spec:\n  {edit}"));
        let found = violations(&region.spec);
        let fields: Vec<&str> = found.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(&fields, expected, "{edit}: {found:?}");
        for violation in &found {
            assert_eq!(violation.reason, Reason::Invalid);
            assert!(!violation.message.is_empty());
        }
    }
}

#[test]
fn a_value_that_users_wrote_is_not_repeated_when_it_may_be_anything() {
    let region = tr_with("spec: {postgres: {parameters: {work_mem: \"secret\\n\"}}}");
    let found = violations(&region.spec);
    assert_eq!(found.len(), 1);
    assert!(!found[0].message.contains("secret"));
}

#[test]
fn every_kind_of_field_has_a_case() {
    let kinds: BTreeSet<&str> = CASES
        .iter()
        .flat_map(|(_, fields)| fields.iter())
        .filter_map(|field| field.split('.').nth(2))
        .map(|part| part.split('[').next().unwrap_or(part))
        .collect();
    let expected = [
        "databases",
        "durability",
        "failover",
        "instances",
        "parameters",
        "repos",
        "resources",
        "roles",
        "rpo",
        "storage",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
}
