//! What each setting of `spec.postgres.parameters` comes to: taken, or refused at its own key with what is wrong. Inputs
//! are those that users of operators reported, and one of every kind that a server, Patroni or a promise could not
//! live with.

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use bailiwick_api::settings;
use bailiwick_api::violation::Reason;
use bailiwick_model::admission::Admission;
use bailiwick_model::desired::postgres::parameters::parameters;
use serde_json::{Value, json};

use crate::fixture::{self, planned, tr, tr_with};

/// A key and its value, as YAML, and a part of what is said of it; nothing when it is taken.
const CASES: &[(&str, &str, &str)] = &[
    // The issue's own.
    (
        "default_transaction_isolation",
        "serializable",
        "sessions of the operator",
    ),
    (
        "default_transaction_read_only",
        "'on'",
        "sessions of the operator",
    ),
    (
        "default_transaction_deferrable",
        "'on'",
        "sessions of the operator",
    ),
    ("timezone", "Mars/Phobos", "no time zone"),
    ("log_timezone", "Europe/Atlantis", "no time zone"),
    ("timezone", "Europe/Istanbul", ""),
    ("timezone", "utc", ""),
    ("timezone", "<+03>-3", "no time zone"),
    ("work_mem", "64mb", "case-sensitive, write MB"),
    ("max_conections", "'200'", "did you mean max_connections"),
    ("foo.bar", "1", "no setting"),
    ("gssencmode", "x", "no setting"),
    ("postgis.gdal_enabled_drivers", "ENABLE_ALL", "no setting"),
    ("postgis.enable_outdb_rasters", "'on'", "no setting"),
    (
        "session_replication_role",
        "replica",
        "recorded of accesses",
    ),
    ("cron.log_statement", "'on'", "reach the log"),
    // Numbers, as Kubernetes has them and as PostgreSQL writes them.
    ("max_connections", "200", ""),
    ("max_connections", "'200'", ""),
    ("max_connections", "24", "expected 25 to 10000"),
    ("max_connections", "262143", "expected 25 to 10000"),
    ("max_connections", "9000", "table of locks"),
    ("max_connections", "many", "whole number"),
    ("max_connections", "'1e2'", ""),
    ("max_connections", "'0100'", "octal"),
    ("max_connections", "'100.5'", "not a whole number"),
    ("max_connections", "100MB", "it has no unit"),
    ("work_mem", "8MB", ""),
    ("work_mem", "'8 MB'", ""),
    ("work_mem", "8192", ""),
    ("work_mem", "1.5MB", ""),
    ("work_mem", "64Mi", "write MB"),
    ("work_mem", "8m", "case-sensitive"),
    ("work_mem", "8min", "expected a whole number of kB"),
    ("work_mem", "63", "from 64"),
    ("work_mem", "300MB", "at most 50 %"),
    ("work_mem", "''", "empty"),
    ("work_mem", "\"8MB\\nssl = off\"", "one line"),
    ("statement_timeout", "30s", ""),
    ("statement_timeout", "0", ""),
    ("statement_timeout", "1", "0 or 5000 ms or more"),
    ("statement_timeout", "30S", "write s"),
    ("lock_timeout", "1ms", "0 or 1000 ms"),
    ("idle_in_transaction_session_timeout", "1min", ""),
    ("idle_session_timeout", "1min", "sessions of the operator"),
    ("transaction_timeout", "1min", "sessions of the operator"),
    ("random_page_cost", "'1.1'", ""),
    ("random_page_cost", "'1,1'", "a number"),
    ("random_page_cost", "nan", "a number"),
    ("random_page_cost", "'-1'", "from 0"),
    ("checkpoint_completion_target", "'0.9'", ""),
    ("checkpoint_completion_target", "'90%'", "it has no unit"),
    ("vacuum_cost_delay", "2ms", ""),
    // On and off.
    ("log_lock_waits", "'on'", ""),
    ("log_lock_waits", "'TRUE'", ""),
    ("log_lock_waits", "'1'", ""),
    ("log_lock_waits", "y", ""),
    ("log_lock_waits", "o", "on or off"),
    ("log_lock_waits", "enabled", "on or off"),
    // Words.
    ("wal_compression", "ZSTD", ""),
    (
        "wal_compression",
        "brotli",
        "expected one of pglz, lz4, zstd",
    ),
    ("wal_level", "logical", ""),
    ("wal_level", "minimal", "cannot be archived"),
    ("datestyle", "ISO, DMY", ""),
    ("datestyle", "Klingon", "expected one of"),
    ("lc_time", "tr_TR.UTF-8", "expected one of C"),
    ("lc_messages", "tr_TR.UTF-8", "keeps its files"),
    ("default_text_search_config", "pg_catalog.turkish", ""),
    (
        "default_text_search_config",
        "pg_catalog.klingon",
        "expected one of",
    ),
    // What the members could not start or live with.
    ("shared_buffers", "385MB", "at most 75 %"),
    ("shared_buffers", "384MB", ""),
    ("max_wal_senders", "4", "expected 5"),
    ("max_worker_processes", "1", "expected 2"),
    ("max_wal_size", "31MB", "32 MB or more"),
    ("max_wal_size", "1GB", "fill the data volume"),
    ("max_slot_wal_keep_size", "-1", "fill the data volume"),
    ("wal_receiver_status_interval", "0", "expected 1 to 60"),
    ("max_stack_depth", "1GB", "could not live with it"),
    ("max_locks_per_transaction", "8", "from 10"),
    ("huge_pages", "'on'", "memory that the pod has not"),
    ("reserved_connections", "0", "keeps connections"),
    ("superuser_reserved_connections", "0", "keeps connections"),
    // How clients come in.
    ("ssl", "'off'", "how clients come in"),
    ("ssl_min_protocol_version", "TLSv1", "how clients come in"),
    ("krb_server_keyfile", "/tmp/x", "how clients come in"),
    ("listen_addresses", "0.0.0.0", "how clients come in"),
    ("port", "5433", "how clients come in"),
    ("password_encryption", "md5", "how clients come in"),
    ("unix_socket_directories", "/tmp", "how clients come in"),
    ("unix_socket_permissions", "511", "how clients come in"),
    // Files, code, recovery, replication, durability.
    ("data_directory", "/tmp", "keeps its files"),
    ("hba_file", "/tmp/hba", "keeps its files"),
    ("temp_tablespaces", "elsewhere", "keeps its files"),
    ("shared_preload_libraries", "auto_explain", "loads code"),
    ("session_preload_libraries", "auto_explain", "loads code"),
    ("local_preload_libraries", "x", "loads code"),
    ("dynamic_library_path", "/tmp", "loads code"),
    ("jit_provider", "x", "loads code"),
    ("restore_command", "cp /x %p", "pgBackRest's"),
    ("archive_command", "/bin/true", "pgBackRest's"),
    ("archive_mode", "'off'", "pgBackRest's"),
    ("recovery_target_time", "now", "pgBackRest's"),
    ("primary_conninfo", "host=elsewhere", "Patroni's"),
    ("synchronous_standby_names", "'*'", "Patroni's"),
    ("fsync", "'off'", "hide damage"),
    ("full_page_writes", "'off'", "hide damage"),
    ("synchronous_commit", "'off'", "hide damage"),
    ("zero_damaged_pages", "'on'", "hide damage"),
    ("ignore_checksum_failure", "'on'", "hide damage"),
    ("allow_system_table_mods", "'on'", "hide damage"),
    // Logs, audit, rights, sessions.
    ("log_statement", "all", "reach the log"),
    ("log_min_duration_statement", "0", "reach the log"),
    ("log_min_messages", "debug5", "reach the log"),
    ("log_error_verbosity", "verbose", "reach the log"),
    ("log_parameter_max_length", "-1", "reach the log"),
    ("log_duration", "'on'", "reach the log"),
    ("logging_collector", "'on'", "reach the log"),
    ("log_directory", "/tmp", "reach the log"),
    ("auto_explain.log_min_duration", "0", "reach the log"),
    ("pgaudit.log_parameter", "'on'", "reach the log"),
    ("pgaudit.log_statement", "'on'", "reach the log"),
    ("pgaudit.log", "ddl", "no database has pgaudit"),
    ("cron.timezone", "UTC", "no database has pg_cron"),
    ("event_triggers", "'off'", "recorded of accesses"),
    ("row_security", "'off'", "who may do what"),
    ("search_path", "evil", "sessions of the operator"),
    (
        "standard_conforming_strings",
        "'off'",
        "sessions of the operator",
    ),
    ("pg_stat_statements.track", "all", "has no effect"),
    ("jit", "'on'", "has no effect"),
    ("debug_parallel_query", "'on'", "develop PostgreSQL"),
    // Names.
    ("Work_Mem", "8MB", "not in lower case; expected work_mem"),
    ("ARCHIVE_MODE", "'off'", "not in lower case"),
    ("work mem", "8MB", "did you mean work_mem"),
    ("hnsw.ef_search", "100", ""),
    ("pg_trgm.similarity_threshold", "'0.4'", ""),
    (
        "plpgsql.extra_warnings",
        "'shadowed_variables, too_many_rows'",
        "",
    ),
    ("plpgsql.extra_warnings", "everything", "expected a list of"),
    ("autovacuum_naptime", "30", ""),
    ("subtransaction_buffers", "17", "expected a multiple of 16"),
    (
        "multixact_member_buffers",
        "33",
        "expected a multiple of 16",
    ),
    ("notify_buffers", "32", ""),
];

/// Region `tr` with one setting, whose value is YAML.
fn with(name: &str, value: &str) -> Region {
    let value: Value = serde_yaml::from_str(value).unwrap();
    let mut region = serde_json::to_value(tr()).unwrap();
    region["spec"]["postgres"]["parameters"] = json!({name: value});
    serde_json::from_value(region).unwrap_or_else(|error| panic!("{name}: {value}: {error}"))
}

/// What reaches Patroni of a Region, be it refused or not.
fn rendered(region: &Region) -> BTreeMap<String, String> {
    let mut plan = planned(&tr());
    plan.spec = region.spec.clone();
    parameters(&plan)
}

#[test]
fn each_setting_is_taken_or_refused_with_its_key_and_reason() {
    let (mut taken, mut refused) = (0, 0);
    for &(name, value, said) in CASES {
        let region = with(name, value);
        let found = settings::violations(&region.spec);
        let rendered = rendered(&region);
        if said.is_empty() {
            assert!(found.is_empty(), "{name}: {value}: {found:?}");
            assert!(rendered.contains_key(name), "{name}");
            taken += 1;
            continue;
        }
        assert_eq!(found.len(), 1, "{name}: {value}: {found:?}");
        assert_eq!(found[0].field, format!("spec.postgres.parameters.{name}"));
        assert_eq!(found[0].reason, Reason::Invalid);
        assert!(
            found[0].message.contains(said),
            "{name}: {value}: {:?}",
            found[0].message
        );
        refused += 1;
    }
    assert_eq!((taken, refused), (29, 111));
}

#[test]
fn what_needs_an_extension_is_taken_with_it() {
    let region = tr_with(
        "spec: {postgres: {parameters: {pgaudit.log: 'write, -read', pgaudit.role: auditor, cron.timezone: UTC}, \
         databases: [{name: clinical, extensions: [pgaudit, pg_cron]}]}}",
    );
    assert_eq!(settings::violations(&region.spec), []);
    for (name, value) in [("pgaudit.log", "everything"), ("pgaudit.role", "A b")] {
        let region = tr_with(&format!(
            "spec: {{postgres: {{parameters: {{{name}: {value}}}, databases: [{{name: clinical, extensions: [pgaudit]}}]}}}}"
        ));
        assert_eq!(settings::violations(&region.spec).len(), 1, "{name}");
    }
}

#[test]
fn two_keys_that_differ_in_case_are_refused() {
    let region = tr_with(
        "spec: {postgres: {parameters: {work_mem: 8MB, WORK_MEM: 64MB, max_connections: 50}}}",
    );
    let found = settings::violations(&region.spec);
    let fields: Vec<&str> = found.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["spec.postgres.parameters.WORK_MEM"]);
    assert!(found[0].message.contains("work_mem again"), "{found:?}");
    // The wrong one does not reach Patroni whichever way they are sorted.
    assert_eq!(rendered(&region)["work_mem"], "8MB");
}

/// What the API server says of the same inputs: names it refuses as `plan` does, and no value that `plan` takes.
#[test]
fn the_api_server_refuses_the_same_names() {
    let admission = Admission::new().unwrap();
    let mut looked_at = 0;
    for &(name, value, said) in CASES {
        let region = with(name, value);
        let region = serde_json::to_value(&region).unwrap();
        let refusals = admission.refusals(&region, None);
        let settable = settings::all()
            .get(name)
            .is_some_and(|it| it.keeper.is_none());
        if said.is_empty() {
            assert_eq!(refusals, [], "{name}: {value}");
        } else if !settable {
            assert_eq!(refusals.len(), 1, "{name}: {value}: {refusals:?}");
            assert_eq!(refusals[0].field, "spec.postgres.parameters");
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, CASES.len());
}

#[test]
fn a_whole_number_may_stand_bare_and_what_yaml_changes_is_refused() {
    let admission = Admission::new().unwrap();
    let mut region = serde_json::to_value(tr_with("{}")).unwrap();
    for (value, taken) in [
        (json!(200), true),
        (json!("200"), true),
        (json!(1.1), false),
        (json!(true), false),
        (Value::Null, false),
        (json!(["200"]), false),
        (json!("a\nb"), false),
    ] {
        region["spec"]["postgres"]["parameters"] = json!({"max_connections": value});
        let refusals = admission.refusals(&region, None);
        assert_eq!(refusals.is_empty(), taken, "{value}: {refusals:?}");
    }
}

#[test]
fn a_value_that_may_be_anything_is_not_repeated() {
    for value in ["\"secret\\n\"", "'secret; it''s @ll'"] {
        for name in [
            "work_mem",
            "timezone",
            "log_lock_waits",
            "wal_compression",
            "lc_time",
        ] {
            let region = with(name, value);
            let found = settings::violations(&region.spec);
            assert_eq!(found.len(), 1, "{name}");
            assert!(!found[0].message.contains("secret"), "{found:?}");
        }
    }
}

/// A value that the server shows in its own way is the one that was asked for.
#[test]
fn a_value_is_known_again_as_the_server_shows_it() {
    for (name, value, shown, same) in [
        ("work_mem", "8MB", "8192", true),
        ("work_mem", "8MB", "4096", false),
        ("shared_buffers", "128MB", "16384", true),
        ("random_page_cost", "1.10", "1.1", true),
        ("log_lock_waits", "yes", "on", true),
        ("log_lock_waits", "yes", "off", false),
        ("wal_compression", "LZ4", "lz4", true),
        ("timezone", "europe/istanbul", "Europe/Istanbul", true),
        ("statement_timeout", "30s", "30000", true),
        ("statement_timeout", "0", "0", true),
        ("autovacuum_work_mem", "-1", "-1", true),
    ] {
        let setting = settings::allowed(name).unwrap();
        let canonical = settings::canonical(setting, value).unwrap();
        assert_eq!(
            canonical.is_shown_as(shown),
            same,
            "{name}: {value} as {shown}"
        );
    }
}

/// A primary that stops waits for standbys that are connected, also for one that receives nothing (PostgreSQL's
/// documentation, `wal_sender_timeout`): less long than Patroni waits before it ends the primary hard, and less long
/// than clients would be without one if it had died.
#[test]
fn a_standby_that_receives_nothing_is_given_up_before_the_primary_is() {
    let region = tr();
    let dynamic = bailiwick_model::desired::postgres::parameters::dynamic(&planned(&region));
    let seconds = |key: &str| {
        let value = dynamic["postgresql"]["parameters"][key].as_str();
        let value = value.and_then(|value| value.strip_suffix('s'));
        value
            .unwrap_or_else(|| panic!("{key}"))
            .parse::<u64>()
            .unwrap()
    };
    for key in ["wal_sender_timeout", "wal_receiver_timeout"] {
        assert!(
            seconds(key) < dynamic["primary_stop_timeout"].as_u64().unwrap(),
            "{key}"
        );
        assert!(seconds(key) < dynamic["ttl"].as_u64().unwrap(), "{key}");
    }
}

/// The page says of each setting that is taken in steps what they are, and the operator refuses the rest.
#[test]
fn the_page_names_the_steps_that_are_demanded() {
    let page = bailiwick_model::reference::settings_markdown();
    let mut in_steps = 0;
    for setting in bailiwick_api::settings::all().values() {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", setting.name)));
        let Some(row) = row else { continue };
        let told = row.contains(", in steps of 16 ");
        let odd = fixture::tr_with(&format!(
            "{{spec: {{postgres: {{parameters: {{{}: 40}}}}}}}}",
            setting.name
        ));
        let demanded = bailiwick_api::settings::violations(&odd.spec)
            .iter()
            .any(|violation| violation.message.contains("a multiple of 16"));
        assert_eq!(told, demanded, "{row}");
        in_steps += usize::from(told);
    }
    assert_eq!(in_steps, 7);
}
