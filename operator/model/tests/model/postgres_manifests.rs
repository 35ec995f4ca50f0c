//! The objects and files of a Region's Postgres: a snapshot for reviewers, and the rules that they must keep.

use bailiwick_model::desired::postgres::{self, config, jobs, manifests, parameters};
use bailiwick_model::manifest::Manifest;
use bailiwick_model::names::{LABEL_FLOW, LABEL_ROLE};
use serde_json::{Value, json};

use crate::fixture::{planned, tr, tr_with};

/// A manifest as the API server would get it.
fn object(manifest: &Manifest) -> Value {
    serde_json::to_value(&manifest.object).expect("a manifest is JSON")
}

/// The manifest of a kind and name.
fn found(manifests: &[Manifest], id: &str) -> Value {
    manifests
        .iter()
        .find(|it| it.id() == id)
        .map_or_else(|| panic!("no {id}"), object)
}

#[test]
fn every_object_as_it_is_applied() {
    let manifests: Vec<Value> = manifests(&planned(&tr()))
        .iter()
        .map(|manifest| {
            let mut object = object(manifest);
            // The files have a snapshot of their own, where they can be read.
            if object["kind"] == "ConfigMap" {
                object["data"] = json!("in other snapshots");
            }
            object
        })
        .collect();
    insta::assert_yaml_snapshot!(manifests);
}

#[test]
fn every_file_as_it_is_mounted() {
    let text = config::files(&planned(&tr()))
        .into_iter()
        .map(|(name, text)| format!("---- {name}\n{text}"))
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(text);
}

#[test]
fn every_job_as_it_is_created() {
    let plan = planned(&tr());
    insta::assert_yaml_snapshot!([
        jobs::job(&plan, &plan.names.stanza_job(1), jobs::Task::Stanza),
        jobs::job(
            &plan,
            &plan.names.first_backup_job(1),
            jobs::Task::FullBackup
        ),
    ]);
}

#[test]
fn the_labels_of_a_jobs_pod_match_no_selector_of_members() {
    let plan = planned(&tr());
    let job = jobs::job(&plan, "any", jobs::Task::Stanza);
    let pod = job
        .spec
        .and_then(|it| it.template.metadata)
        .and_then(|it| it.labels)
        .expect("labels");
    let set = found(&manifests(&plan), "StatefulSet/tr-pg");
    let selector = set["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("a selector");
    assert!(!selector.is_empty());
    assert!(
        selector
            .iter()
            .any(|(key, value)| pod.get(key).map(String::as_str) != value.as_str())
    );
    assert!(
        !pod.contains_key(postgres::LABEL_SCOPE),
        "Patroni would take the Job for a member"
    );
    assert_eq!(pod[LABEL_FLOW], "backup");
}

#[test]
fn each_service_selects_its_members() {
    let manifests = manifests(&planned(&tr()));
    let set = found(&manifests, "StatefulSet/tr-pg");
    let pod = set["spec"]["template"]["metadata"]["labels"]
        .as_object()
        .expect("labels");
    for (service, role) in [
        ("tr-pg", None),
        ("tr-pg-rw", Some("primary")),
        ("tr-pg-ro", Some("replica")),
    ] {
        let service = found(&manifests, &format!("Service/{service}"));
        let selector = service["spec"]["selector"].as_object().expect("a selector");
        assert_eq!(selector.get(LABEL_ROLE).and_then(Value::as_str), role);
        for (key, value) in selector.iter().filter(|(key, _)| *key != LABEL_ROLE) {
            assert_eq!(pod.get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn a_hibernated_region_has_no_member() {
    let region = tr_with("spec: {lifecycle: {hibernated: true}}");
    let set = found(&manifests(&planned(&region)), "StatefulSet/tr-pg");
    assert_eq!(set["spec"]["replicas"], 0);
}

#[test]
fn a_setting_changes_no_pod() {
    let before = found(&manifests(&planned(&tr())), "StatefulSet/tr-pg");
    let region = tr_with("spec: {postgres: {parameters: {work_mem: 8MB}}, backup: {rpo: 1m}}");
    let after = found(&manifests(&planned(&region)), "StatefulSet/tr-pg");
    assert_eq!(before, after);
}

#[test]
fn memory_sizes_the_settings() {
    let settings = |memory: &str, volume: &str| {
        let region = tr_with(&format!(
            "spec: {{postgres: {{resources: {{memory: {memory}}}, storage: {{data: {{size: {volume}}}}}}}}}"
        ));
        parameters::parameters(&planned(&region))
    };
    let small = settings("512Mi", "1Gi");
    let large = settings("64Gi", "500Gi");
    for (name, in_small, in_large) in [
        ("shared_buffers", "128MB", "16384MB"),
        ("effective_cache_size", "307MB", "39321MB"),
        ("maintenance_work_mem", "32MB", "2048MB"),
        ("work_mem", "4096kB", "256MB"),
        ("max_wal_size", "128MB", "16384MB"),
        ("max_slot_wal_keep_size", "256MB", "128000MB"),
    ] {
        assert_eq!(small[name], in_small, "{name}");
        assert_eq!(large[name], in_large, "{name}");
    }
}

#[test]
fn users_settings_win_over_computed_ones() {
    let region =
        tr_with("spec: {postgres: {parameters: {shared_buffers: 64MB, max_connections: '200'}}}");
    let parameters = parameters::parameters(&planned(&region));
    assert_eq!(parameters["shared_buffers"], "64MB");
    assert_eq!(parameters["max_connections"], "200");
}

#[test]
fn extensions_that_must_be_preloaded_are() {
    let region = tr_with(
        "spec: {postgres: {databases: [{name: clinical, extensions: [pg_cron, pgaudit]}]}}",
    );
    let parameters = parameters::parameters(&planned(&region));
    assert_eq!(parameters["shared_preload_libraries"], "pg_cron,pgaudit");
    assert_eq!(parameters["cron.database_name"], "clinical");
    assert!(!parameters::parameters(&planned(&tr())).contains_key("shared_preload_libraries"));
}

#[test]
fn durability_is_patronis_synchronous_mode() {
    for (durability, instances, mode, strict) in [
        ("Bounded", 2, json!(false), false),
        ("PreferZeroLoss", 1, json!(true), false),
        ("PreferZeroLoss", 2, json!(true), false),
        ("PreferZeroLoss", 3, json!("quorum"), false),
        ("ZeroLoss", 2, json!(true), true),
        ("ZeroLoss", 3, json!("quorum"), true),
    ] {
        let region = tr_with(&format!(
            "spec: {{postgres: {{durability: {durability}, instances: {instances}}}}}"
        ));
        let dynamic = parameters::dynamic(&planned(&region));
        assert_eq!(
            dynamic["synchronous_mode"], mode,
            "{durability} {instances}"
        );
        assert_eq!(
            dynamic["synchronous_mode_strict"],
            json!(strict),
            "{durability} {instances}"
        );
    }
}

#[test]
fn nobody_gets_in_without_tls_and_a_password() {
    let rules = config::access_rules();
    for rule in &rules {
        let mut words: Vec<&str> = rule.split_whitespace().collect();
        words.retain(|word| !word.starts_with("clientcert="));
        let method = *words.last().expect("a method");
        match words[0] {
            "local" => assert!(
                ["peer", "scram-sha-256", "reject"].contains(&method),
                "{rule}"
            ),
            "hostssl" => assert!(["scram-sha-256", "reject"].contains(&method), "{rule}"),
            _ => assert_eq!(method, "reject", "{rule}"),
        }
    }
    assert!(
        rules
            .iter()
            .any(|it| it == "hostssl all postgres all reject")
    );
    assert_eq!(
        rules.last().map(String::as_str),
        Some("host all all all reject")
    );
}

#[test]
fn whoever_copies_the_database_shows_a_certificate_and_members_do() {
    let rules = config::access_rules();
    let mut certified = 0;
    for role in ["bailiwick_replication", "bailiwick_rewind"] {
        let open: Vec<&String> = rules
            .iter()
            .filter(|rule| rule.starts_with("host") && rule.contains(role))
            .filter(|rule| !rule.ends_with("reject"))
            .collect();
        for rule in &open {
            assert!(
                rule.ends_with("scram-sha-256 clientcert=verify-ca"),
                "{rule}"
            );
        }
        certified += open.len();
    }
    assert_eq!(certified, 3);

    let files = config::files(&planned(&tr()));
    let patroni: Value = serde_json::from_str(&files[config::PATRONI_FILE]).expect("JSON");
    for role in ["replication", "rewind"] {
        let login = &patroni["postgresql"]["authentication"][role];
        for (key, file) in [("sslcert", "tls.crt"), ("sslkey", "tls.key")] {
            assert_eq!(login[key], format!("/etc/bailiwick/tls/{file}"), "{role}");
        }
    }
}

#[test]
fn patroni_listens_on_both_address_families() {
    let files = config::files(&planned(&tr()));
    let patroni: Value = serde_json::from_str(&files[config::PATRONI_FILE]).expect("JSON");
    assert_eq!(patroni["restapi"]["listen"], "*:8008");
    assert_eq!(patroni["postgresql"]["listen"], "*:5432");
}

#[test]
fn wal_is_archived_within_the_objective() {
    for (rpo, expected) in [("30s", 24), ("5m", 240), ("1h", 2880)] {
        let region = tr_with(&format!("spec: {{backup: {{rpo: {rpo}}}}}"));
        assert_eq!(config::archive_timeout(&region.spec), expected);
    }
}

#[test]
fn no_secret_is_in_a_file_or_an_environment() {
    let plan = planned(&tr());
    for (name, text) in config::files(&plan) {
        for word in ["password:", "cipher-pass", "s3-key=", "key-secret"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    let set = found(&manifests(&plan), "StatefulSet/tr-pg");
    let containers = set["spec"]["template"]["spec"]["containers"]
        .as_array()
        .expect("containers");
    let mut secrets = 0;
    for variable in containers
        .iter()
        .filter_map(|it| it["env"].as_array())
        .flatten()
    {
        let name = variable["name"].as_str().expect("a name");
        if name.contains("PASS") || name.contains("KEY") {
            assert!(variable["value"].is_null(), "{name}");
            secrets += 1;
        }
    }
    assert_eq!(secrets, 7);
}

#[test]
fn every_secret_that_pods_use_is_wanted() {
    let plan = planned(&tr());
    let text = manifests(&plan)
        .iter()
        .map(|it| object(it).to_string())
        .chain([serde_json::to_string(&jobs::job(&plan, "any", jobs::Task::Stanza)).expect("JSON")])
        .collect::<String>();
    let mut used = 0;
    for part in text
        .split("\"secretName\":\"")
        .skip(1)
        .chain(text.split("\"secretKeyRef\":").skip(1))
    {
        let part = part.split('}').next().expect("an object");
        let name = part
            .split("\"name\":\"")
            .nth(1)
            .unwrap_or(part)
            .split('"')
            .next()
            .expect("a name");
        assert!(plan.secrets.iter().any(|it| it.name == name), "{name}");
        used += 1;
    }
    assert!(used >= 10, "{used}");
}
