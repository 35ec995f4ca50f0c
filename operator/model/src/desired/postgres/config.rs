//! The files that members read: Patroni's settings and pgBackRest's for members, their server and the Jobs. A plan
//! in, text out; pure.
//!
//! What protects the data (TLS, who may connect, the archive, what is logged) stands in `patroni.yml`, which wins
//! over the dynamic configuration: nobody can switch it off through Patroni's REST API. The image reloads Patroni,
//! Postgres and pgBackRest's server when one of these files changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bailiwick_api::duration;
use bailiwick_api::region::RegionSpec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::parameters;
use crate::names::{BACKUP_USER, LABEL_ROLE, REPLICATION_ROLE, REWIND_ROLE, SUPERUSER_ROLE, port};
use crate::plan::Plan;

/// The key of Patroni's settings in the ConfigMap.
pub const PATRONI_FILE: &str = "patroni.yml";
/// The key of the settings of pgBackRest beside Postgres: it pushes and fetches WAL.
pub const ARCHIVE_FILE: &str = "pgbackrest-archive.conf";
/// The key of the settings of pgBackRest's server: it knows neither key nor store.
pub const SERVER_FILE: &str = "pgbackrest-server.conf";
/// The key of the settings of pgBackRest in Jobs: it reaches the members over TLS.
pub const JOB_FILE: &str = "pgbackrest-job.conf";

/// Where the data directory is.
pub const PGDATA: &str = "/var/lib/postgresql/data/pgdata";
/// Where certificates are mounted: a member's own, in a Job the client's.
pub const TLS: &str = "/etc/bailiwick/tls";
/// Where the object store's authority is mounted; the Region's, since both are of the same one.
const AUTHORITY: &str = "/etc/bailiwick/tls/ca.crt";
/// Where Postgres' socket is.
const SOCKETS: &str = "/run/postgresql";

/// How long pgBackRest waits on the store's connection before it tries again, in seconds. It tries four times, and a
/// failing archive is to be noticed within a minute.
const IO_TIMEOUT: i32 = 10;
/// How long one attempt to archive a segment may take, in seconds. A server that shuts down waits for it.
const ARCHIVE_TIMEOUT: i32 = 30;

/// The ConfigMap's data.
#[must_use]
pub fn files(plan: &Plan) -> BTreeMap<String, String> {
    [
        (PATRONI_FILE, patroni(plan)),
        (ARCHIVE_FILE, archive(plan)),
        (SERVER_FILE, server(plan)),
        (JOB_FILE, job(plan)),
    ]
    .map(|(key, text)| (key.to_owned(), text))
    .into()
}

/// A hash of what Patroni reads only when it starts. Everything else is reloaded, so it must not restart a member.
#[must_use]
pub fn restart_hash(plan: &Plan) -> String {
    let digest = Sha256::digest(at_start(plan).to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The part of `patroni.yml` that is read only when Patroni starts.
fn at_start(plan: &Plan) -> Value {
    json!({
        "scope": plan.names.postgres(),
        "kubernetes": {
            "namespace": plan.names.namespace(),
            "labels": super::PATRONI_LABELS
                .iter()
                .map(|(key, value)| ((*key).to_owned(), json!(value)))
                .collect::<serde_json::Map<_, _>>(),
            "scope_label": super::LABEL_SCOPE,
            "role_label": LABEL_ROLE,
            "leader_label_value": "primary",
            "follower_label_value": "replica",
            "use_endpoints": false,
        },
    })
}

/// `patroni.yml`. Passwords and the member's own name and addresses come through the environment.
fn patroni(plan: &Plan) -> String {
    let mut settings = at_start(plan);
    let own = |file: &str| format!("{TLS}/{file}");
    let rest = json!({
        "restapi": {
            // Of both address families, where there are two.
            "listen": format!("*:{}", port::PATRONI),
            "certfile": own("tls.crt"),
            "keyfile": own("tls.key"),
            "cafile": own("ca.crt"),
            // The kubelet's probes only read and have no certificate; whoever changes something must have one.
            "verify_client": "optional",
        },
        // Members among themselves.
        "ctl": {
            "certfile": own("tls.crt"),
            "keyfile": own("tls.key"),
            "cacert": own("ca.crt"),
        },
        "bootstrap": {
            "dcs": parameters::dynamic(plan),
            // Sorting by the server's own tables: an update of the C library cannot break an index.
            "initdb": [
                "data-checksums",
                {"encoding": "UTF8"},
                {"locale": "C.UTF-8"},
                {"locale-provider": "builtin"},
                {"builtin-locale": "C.UTF-8"},
                {"auth-host": "scram-sha-256"},
                {"auth-local": "peer"},
            ],
            "post_bootstrap": "/usr/lib/bailiwick/post-bootstrap",
        },
        "postgresql": {
            "listen": format!("*:{}", port::POSTGRES),
            "data_dir": PGDATA,
            "pgpass": "/tmp/pgpass",
            "use_unix_socket": true,
            "use_unix_socket_repl": true,
            "create_replica_methods": ["basebackup"],
            "basebackup": [{"checkpoint": "fast"}],
            "authentication": {
                "superuser": {"username": SUPERUSER_ROLE},
                "replication": member_login(REPLICATION_ROLE),
                "rewind": member_login(REWIND_ROLE),
            },
            "parameters": protected(plan),
            "recovery_conf": {
                // Bounded, or a standby could not be promoted while the store is away.
                "restore_command": format!(
                    "/usr/lib/bailiwick/pgbackrest-archive-get {} %f \"%p\"",
                    plan.names.stanza(plan.incarnation)
                ),
            },
            "pg_hba": access_rules(),
        },
    });
    if let (Some(settings), Value::Object(rest)) = (settings.as_object_mut(), rest) {
        settings.extend(rest);
    }
    // As JSON, which is YAML of every version: Patroni's reader takes a bare `on` for a truth value.
    serde_json::to_string_pretty(&settings).unwrap_or_default()
}

/// How a member comes to another one over the network: it verifies whom it finds, and shows its own certificate.
fn member_login(role: &str) -> Value {
    json!({
        "username": role,
        "sslmode": "verify-full",
        "sslrootcert": AUTHORITY,
        "sslcert": format!("{TLS}/tls.crt"),
        "sslkey": format!("{TLS}/tls.key"),
    })
}

/// The settings of PostgreSQL that nobody but the operator sets.
fn protected(plan: &Plan) -> BTreeMap<&'static str, String> {
    let own = |file: &str| format!("{TLS}/{file}");
    [
        // Bounded too: pg_stat_archiver knows of no failure for as long as the command runs.
        (
            "archive_command",
            format!(
                "/usr/lib/bailiwick/pgbackrest-archive-push {} \"%p\"",
                plan.names.stanza(plan.incarnation)
            ),
        ),
        ("archive_mode", "on".to_owned()),
        ("archive_timeout", archive_timeout(&plan.spec).to_string()),
        // Rows reach the log through the text and the details of failed statements: neither is written.
        ("log_duration", "off".to_owned()),
        ("log_error_verbosity", "terse".to_owned()),
        ("log_min_error_statement", "panic".to_owned()),
        ("log_min_duration_statement", "-1".to_owned()),
        ("log_parameter_max_length", "0".to_owned()),
        ("log_parameter_max_length_on_error", "0".to_owned()),
        ("log_statement", "none".to_owned()),
        // pgaudit tells the kind of a statement and its objects, pg_cron that a job ran; neither its text. Without the
        // library each is a name that nobody reads.
        ("cron.log_statement", "off".to_owned()),
        ("pgaudit.log_parameter", "off".to_owned()),
        ("pgaudit.log_statement", "off".to_owned()),
        ("log_min_messages", "warning".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("ssl", "on".to_owned()),
        ("ssl_ca_file", own("ca.crt")),
        ("ssl_cert_file", own("tls.crt")),
        ("ssl_key_file", own("tls.key")),
        ("ssl_min_protocol_version", "TLSv1.3".to_owned()),
        ("unix_socket_directories", SOCKETS.to_owned()),
    ]
    .into()
}

/// Seconds after which an unfinished WAL segment is archived: four fifths of the recovery point objective, so that
/// it can be pushed within it.
#[must_use]
pub fn archive_timeout(spec: &RegionSpec) -> i64 {
    duration::seconds(&spec.backup.rpo).map_or(240, |rpo| rpo / 5 * 4)
}

/// `pg_hba.conf`, the first match wins. Over the network there is only TLS with SCRAM, the superuser stays on the
/// member's own socket, and what is not allowed is refused. Whoever copies the whole database has a certificate of the
/// Region's authority besides the password: members, the Region's Jobs and the operator have one.
#[must_use]
pub fn access_rules() -> Vec<String> {
    let certified = "scram-sha-256 clientcert=verify-ca";
    let mut rules = vec![
        // Patroni and pgBackRest's server run as the same operating system user as Postgres.
        format!("local all {SUPERUSER_ROLE} peer"),
        format!("local replication {REPLICATION_ROLE} scram-sha-256"),
        "local all all reject".to_owned(),
        "hostnossl all all all reject".to_owned(),
        format!("hostssl replication {REPLICATION_ROLE} all {certified}"),
        "hostssl replication all all reject".to_owned(),
        format!("hostssl postgres {REWIND_ROLE} all {certified}"),
        // The operator tries a new password of members before it restarts them with it; the role may connect to no database.
        format!("hostssl postgres {REPLICATION_ROLE} all {certified}"),
    ];
    for role in [SUPERUSER_ROLE, REPLICATION_ROLE, REWIND_ROLE] {
        rules.push(format!("hostssl all {role} all reject"));
    }
    rules.push("hostssl all all all scram-sha-256".to_owned());
    rules.push("host all all all reject".to_owned());
    rules
}

/// One section of a file of pgBackRest.
fn section(name: &str, settings: &[(String, String)]) -> String {
    let mut text = format!("[{name}]\n");
    for (key, value) in settings {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// Settings as pgBackRest's files have them.
fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// What every use of pgBackRest has.
fn everywhere() -> Vec<(String, String)> {
    owned(&[
        // A Job asks for more; a member would write several lines a segment.
        ("log-level-console", "warn"),
        // The root filesystem is read-only, and pods' logs are collected.
        ("log-level-file", "off"),
        ("lock-path", "/tmp/pgbackrest"),
        ("io-timeout", &IO_TIMEOUT.to_string()),
        ("tcp-keep-alive-count", "3"),
        ("tcp-keep-alive-idle", "20"),
        ("tcp-keep-alive-interval", "10"),
    ])
}

/// The repository: the Region's own bucket, encrypted before it leaves the pod. Keys come through the environment.
fn repository(plan: &Plan) -> Vec<(String, String)> {
    let bucket = plan.backup_bucket.place();
    let mut settings = owned(&[
        ("repo1-type", "s3"),
        ("repo1-path", &format!("/{}", plan.names.region())),
        ("repo1-s3-bucket", &bucket.name),
        ("repo1-s3-endpoint", &plan.names.object_store_host()),
        ("repo1-s3-region", plan.store_region()),
        ("repo1-s3-key-type", "shared"),
        ("repo1-s3-uri-style", "path"),
        ("repo1-storage-port", &port::S3.to_string()),
        ("repo1-storage-ca-file", AUTHORITY),
        ("repo1-storage-verify-tls", "y"),
        ("repo1-cipher-type", "aes-256-cbc"),
        ("repo1-bundle", "y"),
        ("repo1-block", "y"),
        ("compress-type", "zst"),
    ]);
    if let Some(repo) = plan.spec.backup.repos.first() {
        settings.extend(owned(&[
            ("repo1-retention-full", &repo.retention.full.to_string()),
            ("repo1-retention-diff", &repo.retention.diff.to_string()),
        ]));
    }
    settings
}

/// For `archive-push` and `archive-get`, beside Postgres.
fn archive(plan: &Plan) -> String {
    let mut global = everywhere();
    global.extend(repository(plan));
    global.extend(owned(&[
        // What `archive_command` returns is then what the store answered, for this very segment.
        ("archive-async", "n"),
        ("archive-timeout", &ARCHIVE_TIMEOUT.to_string()),
        ("spool-path", "/var/spool/pgbackrest"),
    ]));
    format!(
        "{}\n{}",
        section("global", &global),
        section(&plan.names.stanza(plan.incarnation), &member_path())
    )
}

fn member_path() -> Vec<(String, String)> {
    owned(&[
        ("pg1-path", PGDATA),
        ("pg1-port", &port::POSTGRES.to_string()),
        ("pg1-socket-path", SOCKETS),
        ("pg1-user", SUPERUSER_ROLE),
    ])
}

/// For `pgbackrest server`: it lets the Region's client certificate, and no other, work on this stanza.
fn server(plan: &Plan) -> String {
    let mut global = everywhere();
    global.extend(owned(&[
        // The image listens on `::` instead where there are two address families.
        ("tls-server-address", "0.0.0.0"),
        ("tls-server-port", &port::PGBACKREST.to_string()),
        ("tls-server-ca-file", AUTHORITY),
        ("tls-server-cert-file", &format!("{TLS}/tls.crt")),
        ("tls-server-key-file", &format!("{TLS}/tls.key")),
        (
            "tls-server-auth",
            &format!(
                "{}={}",
                plan.names.client_common_name(),
                plan.names.stanza(plan.incarnation)
            ),
        ),
    ]));
    format!(
        "{}\n{}",
        section("global", &global),
        section(&plan.names.stanza(plan.incarnation), &member_path())
    )
}

/// For Jobs: the repository directly, the members through their servers. pgBackRest finds the primary itself.
fn job(plan: &Plan) -> String {
    let mut global = everywhere();
    global.extend(repository(plan));
    global.extend(owned(&[
        ("start-fast", "y"),
        ("process-max", "2"),
        ("archive-timeout", "120"),
    ]));
    let mut stanza = Vec::new();
    // One that is to leave may still be the primary.
    for ordinal in 0..plan.members.replicas.max(plan.spec.postgres.instances) {
        let index = ordinal + 1;
        for (key, value) in [
            ("host", plan.names.postgres_member_host(ordinal)),
            ("host-type", "tls".to_owned()),
            ("host-port", port::PGBACKREST.to_string()),
            ("host-ca-file", AUTHORITY.to_owned()),
            ("host-cert-file", format!("{TLS}/tls.crt")),
            ("host-key-file", format!("{TLS}/tls.key")),
            ("path", PGDATA.to_owned()),
            ("port", port::POSTGRES.to_string()),
            ("socket-path", SOCKETS.to_owned()),
            ("user", SUPERUSER_ROLE.to_owned()),
        ] {
            stanza.push((format!("pg{index}-{key}"), value));
        }
    }
    format!(
        "{}\n{}",
        section("global", &global),
        section(&plan.names.stanza(plan.incarnation), &stanza)
    )
}

/// The Secret with the store's user for pgBackRest.
#[must_use]
pub fn store_user_secret(plan: &Plan) -> String {
    plan.names.object_store_user(BACKUP_USER)
}
