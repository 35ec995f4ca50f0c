//! What the server would take and this Region could not live with: more memory, volume or connections than it has, and
//! values that Patroni replaces without a word. A spec and a value in, a verdict out; pure.

use super::{Canonical, Setting};
use crate::quantity;
use crate::region::RegionSpec;

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * 1024.0;

/// Numbers of which the Region takes fewer than the server, in the setting's own unit. Above the second a server asks
/// for more processes, memory or descriptors at its start than a pod has; below the first it does not start, or Patroni
/// takes its own default instead.
const NARROWER: &[(&str, f64, f64)] = &[
    ("autovacuum_max_workers", 1.0, 64.0),
    ("cron.max_running_jobs", 0.0, 25.0),
    ("max_connections", 25.0, 10_000.0),
    ("max_files_per_process", 200.0, 1_000_000.0),
    ("max_locks_per_transaction", 32.0, 10_000.0),
    ("max_logical_replication_workers", 0.0, 64.0),
    ("max_pred_locks_per_transaction", 10.0, 10_000.0),
    ("max_prepared_transactions", 0.0, 1_000.0),
    ("max_replication_slots", 4.0, 256.0),
    // The kernel's own limit on a stack is 8 MB, of which the server wants half a megabyte for itself.
    ("max_stack_depth", 100.0, 7_168.0),
    // A standby that waits for ever for a query falls behind for ever.
    ("max_standby_archive_delay", 0.0, 3_600_000.0),
    ("max_standby_streaming_delay", 0.0, 3_600_000.0),
    ("max_wal_senders", 4.0, 256.0),
    // Two segments of 16 MB, or the server does not start.
    ("max_wal_size", 32.0, f64::MAX),
    ("max_worker_processes", 2.0, 256.0),
    ("min_wal_size", 32.0, f64::MAX),
    ("track_activity_query_size", 100.0, 16_384.0),
    // A standby that never tells how far it is keeps commits waiting; one that is gone must be noticed.
    ("wal_receiver_status_interval", 1.0, 60.0),
    ("wal_receiver_timeout", 5_000.0, 300_000.0),
    ("wal_retrieve_retry_interval", 100.0, 60_000.0),
    ("wal_sender_timeout", 5_000.0, 300_000.0),
    // Sessions of Patroni and pgBackRest have them too: off, or long enough for what those do.
    ("idle_in_transaction_session_timeout", 10_000.0, f64::MAX),
    ("lock_timeout", 1_000.0, f64::MAX),
    ("statement_timeout", 5_000.0, f64::MAX),
    ("client_connection_check_interval", 1_000.0, f64::MAX),
    ("vacuum_buffer_usage_limit", 128.0, f64::MAX),
];

/// Of [`NARROWER`], those of which 0 means that there is none.
const MAY_BE_OFF: &[&str] = &[
    "client_connection_check_interval",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "vacuum_buffer_usage_limit",
];

/// The parts of the memory limit that a setting may have, in hundredths.
const OF_MEMORY: &[(&str, f64)] = &[
    ("autovacuum_work_mem", 50.0),
    ("commit_timestamp_buffers", 5.0),
    ("logical_decoding_work_mem", 50.0),
    ("maintenance_work_mem", 50.0),
    ("multixact_member_buffers", 5.0),
    ("multixact_offset_buffers", 5.0),
    ("notify_buffers", 5.0),
    ("serializable_buffers", 5.0),
    ("shared_buffers", 75.0),
    ("subtransaction_buffers", 5.0),
    ("temp_buffers", 50.0),
    ("transaction_buffers", 5.0),
    ("wal_buffers", 5.0),
    ("wal_decode_buffer_size", 5.0),
    ("work_mem", 50.0),
];

/// The settings by which WAL stays on the data volume: at most half of it, and never without bound.
const OF_VOLUME: &[&str] = &[
    "max_slot_wal_keep_size",
    "max_wal_size",
    "min_wal_size",
    "wal_keep_size",
];

/// The settings that the server takes in steps alone, in pages (`check_slru_buffers` of PostgreSQL 17).
const IN_STEPS: &[(&str, f64)] = &[
    ("commit_timestamp_buffers", 16.0),
    ("multixact_member_buffers", 16.0),
    ("multixact_offset_buffers", 16.0),
    ("notify_buffers", 16.0),
    ("serializable_buffers", 16.0),
    ("subtransaction_buffers", 16.0),
    ("transaction_buffers", 16.0),
];

/// Bytes that one lockable object takes of the shared memory, in round numbers.
const LOCK: f64 = 400.0;

/// The number of which a setting must be a multiple; none when it need not be.
pub(super) fn step(name: &str) -> Option<f64> {
    let found = IN_STEPS.iter().find(|(it, _)| *it == name);
    found.map(|(_, step)| *step)
}

/// Whether the Region can live with a value that the server would take.
pub(super) fn check(spec: &RegionSpec, setting: &Setting, value: &Canonical) -> Result<(), String> {
    let name = setting.name;
    let value = match value {
        Canonical::Number(value) => *value,
        Canonical::Text(word) if name == "wal_level" && word == "minimal" => {
            return Err(
                "is minimal, expected replica or logical: less cannot be archived".to_owned(),
            );
        }
        _ => return Ok(()),
    };
    if let Some((_, least, greatest)) = NARROWER.iter().find(|(it, ..)| *it == name)
        && !(value == 0.0 && MAY_BE_OFF.contains(&name))
    {
        let members = f64::from(spec.postgres.instances) + 3.0;
        let least = match name {
            "max_wal_senders" | "max_replication_slots" => least.max(members),
            _ => *least,
        };
        within(setting, value, least, *greatest)?;
    }
    if let Some(step) = step(name)
        && value % step != 0.0
    {
        return Err(format!(
            "is {value}, expected a multiple of {step}: with another a member does not start"
        ));
    }
    let size = match setting.unit {
        Some("B") => 1.0,
        Some("kB") => KIB,
        Some("8kB") => 8.0 * KIB,
        Some("MB") => MIB,
        _ => return locks(spec, name),
    };
    let memory = bytes(&spec.postgres.resources.memory);
    if let Some((_, part)) = OF_MEMORY.iter().find(|(it, _)| *it == name)
        && memory > 0.0
        && value * size > memory / 100.0 * part
    {
        return Err(format!(
            "is more than the pod can give it; expected at most {part} % of spec.postgres.resources.memory, which is {}",
            spec.postgres.resources.memory
        ));
    }
    let volume = bytes(&spec.postgres.storage.data.size);
    if OF_VOLUME.contains(&name) && volume > 0.0 && !(0.0..=volume / 2.0).contains(&(value * size))
    {
        return Err(format!(
            "lets WAL fill the data volume; expected at most half of spec.postgres.storage.data.size, which is {}",
            spec.postgres.storage.data.size
        ));
    }
    Ok(())
}

fn within(setting: &Setting, value: f64, least: f64, greatest: f64) -> Result<(), String> {
    if (least..=greatest).contains(&value) {
        return Ok(());
    }
    let unit = setting
        .unit
        .map(|unit| format!(" {unit}"))
        .unwrap_or_default();
    let or_off = if MAY_BE_OFF.contains(&setting.name) {
        "0 or "
    } else {
        ""
    };
    let range = if greatest >= f64::from(i32::MAX) {
        format!("{least}{unit} or more")
    } else {
        format!("{least} to {greatest}{unit}")
    };
    Err(format!(
        "is {value}{unit}, expected {or_off}{range}: a member of this Region could not live with it"
    ))
}

/// The shared memory that the table of locks takes when the server starts.
fn locks(spec: &RegionSpec, name: &str) -> Result<(), String> {
    const TOGETHER: &[&str] = &[
        "max_connections",
        "max_locks_per_transaction",
        "max_pred_locks_per_transaction",
        "max_prepared_transactions",
    ];
    if !TOGETHER.contains(&name) {
        return Ok(());
    }
    let set = |name: &str, otherwise: f64| {
        spec.postgres
            .parameters
            .get(name)
            .and_then(|it| it.to_string().trim().parse::<f64>().ok())
            .unwrap_or(otherwise)
    };
    let transactions = set("max_connections", 100.0) + set("max_prepared_transactions", 0.0);
    let each = set("max_locks_per_transaction", 64.0) + set("max_pred_locks_per_transaction", 64.0);
    let memory = bytes(&spec.postgres.resources.memory);
    if memory > 0.0 && transactions * each * LOCK > memory / 4.0 {
        return Err(format!(
            "makes a table of locks for {transactions} transactions that takes more than a quarter of \
             spec.postgres.resources.memory, which is {}; expected fewer connections or locks, or more memory",
            spec.postgres.resources.memory
        ));
    }
    Ok(())
}

/// A quantity in bytes; 0 when it is none, which another rule says.
#[allow(
    clippy::cast_precision_loss,
    reason = "a bound needs no more than 52 bits"
)]
fn bytes(text: &str) -> f64 {
    quantity::bytes(text).unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    #[test]
    fn bounds_are_of_settings_that_can_be_set() {
        let names = NARROWER
            .iter()
            .map(|(name, ..)| *name)
            .chain(OF_MEMORY.iter().map(|(name, _)| *name))
            .chain(OF_VOLUME.iter().copied());
        let mut looked_at = 0;
        for name in names {
            let setting = all().get(name);
            assert!(setting.is_some_and(|it| it.keeper.is_none()), "{name}");
            looked_at += 1;
        }
        assert_eq!(
            looked_at,
            NARROWER.len() + OF_MEMORY.len() + OF_VOLUME.len()
        );
        for name in MAY_BE_OFF {
            assert!(NARROWER.iter().any(|(it, ..)| it == name), "{name}");
        }
    }
}
