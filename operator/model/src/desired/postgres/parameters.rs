//! The settings of PostgreSQL: which the operator keeps for itself, which it computes from the members' memory and
//! volume, and what users add. A spec in, settings out; pure.

use std::collections::BTreeMap;

use bailiwick_api::region::RegionSpec;
use bailiwick_api::{quantity, settings};
use serde_json::{Value, json};

use crate::desired::postgres::preloaded::{CRON_DATABASE, LIBRARIES, Preloaded};
use crate::facts::patroni::MAX_LAG_ON_FAILOVER;
use crate::plan::Plan;
use crate::scale::synchronous;

/// The settings that a hot standby may not have smaller than its primary. After a decrease the primary restarts
/// first, else its standbys could not start (PostgreSQL's documentation, "Hot Standby", administrator's overview).
pub const NEVER_BELOW_PRIMARY: &[&str] = &[
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What Patroni and pgBackRest take of a member's memory.
const OVERHEAD: u64 = 128 * MIB;

/// The dynamic configuration that Patroni is to have, in its own words (`GET /config`). Every key in it, and the
/// whole of `postgresql.parameters`, is the operator's. Changed with `PATCH /config`, without a restart of a pod.
#[must_use]
pub fn dynamic(plan: &Plan) -> Value {
    let failover = &plan.spec.postgres.failover;
    let mut settings = json!({
        "ttl": failover.ttl_seconds,
        "loop_wait": failover.loop_wait_seconds,
        "retry_timeout": failover.retry_timeout_seconds,
        "failsafe_mode": failover.failsafe,
        "maximum_lag_on_failover": MAX_LAG_ON_FAILOVER,
        // One that comes back on an old volume never leads before it follows the timeline of the last leader.
        "check_timeline": true,
        // A postmaster that died is replaced by a standby instead of being restarted in place for minutes.
        "primary_start_timeout": 0,
        // One that cannot stop in time is ended hard, so that a standby may lead (with synchronous_mode only).
        "primary_stop_timeout": 60,
        "synchronous_node_count": 1,
        "postgresql": {
            "use_pg_rewind": true,
            "use_slots": true,
            "parameters": parameters(plan),
        },
    });
    if let Some(settings) = settings.as_object_mut() {
        // One that leaves still counts until it is gone: Patroni takes the change over while nobody goes.
        let synchronous = synchronous(&plan.spec, plan.members.present);
        settings.extend(synchronous.map(|(key, value)| (key.to_owned(), value)));
    }
    settings
}

/// The settings in the dynamic configuration: computed ones, with those of users over them.
#[must_use]
pub fn parameters(plan: &Plan) -> BTreeMap<String, String> {
    let mut parameters = sized(&plan.spec, plan.postgres_volume.present);
    for (name, value) in [
        // Nodes' huge pages that the pod has not asked for would kill the server when it touches them.
        ("huge_pages", "off"),
        // The image has no LLVM.
        ("jit", "off"),
        ("log_autovacuum_min_duration", "1min"),
        ("log_checkpoints", "on"),
        ("log_lock_waits", "on"),
        ("log_timezone", "UTC"),
        ("max_connections", "100"),
        ("max_replication_slots", "10"),
        ("max_wal_senders", "10"),
        ("random_page_cost", "1.1"),
        // When clients have taken all others: the operator and pg_rewind's role may use these (control-role.sql), and
        // Patroni and pgBackRest, as superusers, the rest.
        ("reserved_connections", "6"),
        ("superuser_reserved_connections", "5"),
        // A client or a standby whose node is gone is noticed within two minutes.
        ("tcp_keepalives_count", "6"),
        ("tcp_keepalives_idle", "60"),
        ("tcp_keepalives_interval", "10"),
        ("timezone", "UTC"),
        ("track_io_timing", "on"),
        ("wal_compression", "lz4"),
        ("wal_level", "replica"),
        // A primary that stops waits for each standby that is connected, also for one that receives nothing any more
        // (PostgreSQL's documentation, "Replication", wal_sender_timeout; a minute unless it is set).
        ("wal_receiver_timeout", "10s"),
        ("wal_sender_timeout", "10s"),
    ] {
        parameters.insert(name.to_owned(), value.to_owned());
    }
    let Preloaded {
        libraries,
        cron_database,
    } = &plan.preloaded;
    if !libraries.is_empty() {
        parameters.insert(LIBRARIES.to_owned(), libraries.join(","));
    }
    if let Some(database) = cron_database {
        parameters.insert(CRON_DATABASE.to_owned(), database.clone());
        // Without it each job would connect like a client, with a password that nobody has.
        parameters.insert("cron.use_background_workers".to_owned(), "on".to_owned());
    }
    parameters.extend(
        plan.spec
            .postgres
            .parameters
            .iter()
            .filter(|(name, _)| settings::allowed(name).is_some())
            .map(|(name, value)| (name.clone(), value.to_string())),
    );
    parameters
}

/// The settings that follow from the memory limit and the size of the data volume.
fn sized(spec: &RegionSpec, volume: u64) -> BTreeMap<String, String> {
    let memory = quantity::bytes(&spec.postgres.resources.memory).unwrap_or(512 * MIB);
    let connections: u64 = spec
        .postgres
        .parameters
        .get("max_connections")
        .and_then(|it| it.to_string().trim().parse().ok())
        .filter(|it| *it > 0)
        .unwrap_or(100);

    let shared_buffers = (memory / 4).clamp(32 * MIB, 64 * GIB);
    let rest = memory.saturating_sub(shared_buffers + OVERHEAD);
    let max_wal_size = (volume / 8).clamp(128 * MIB, 16 * GIB);
    [
        ("effective_cache_size", memory / 10 * 6),
        (
            "maintenance_work_mem",
            (memory / 16).clamp(16 * MIB, 2 * GIB),
        ),
        // WAL that a lost standby holds back must not fill the volume.
        ("max_slot_wal_keep_size", (volume / 4).max(256 * MIB)),
        ("max_wal_size", max_wal_size),
        ("min_wal_size", max_wal_size / 4),
        ("shared_buffers", shared_buffers),
        ("wal_keep_size", (volume / 16).clamp(64 * MIB, GIB)),
        // Half of the connections sorting at once, with two sorts each.
        ("work_mem", (rest / connections).clamp(4 * MIB, 256 * MIB)),
    ]
    .map(|(name, bytes)| (name.to_owned(), in_units(bytes)))
    .into()
}

/// Bytes as PostgreSQL writes them, in whole megabytes or kilobytes.
fn in_units(bytes: u64) -> String {
    if bytes >= 16 * MIB {
        format!("{}MB", bytes / MIB)
    } else {
        format!("{}kB", bytes / KIB)
    }
}
