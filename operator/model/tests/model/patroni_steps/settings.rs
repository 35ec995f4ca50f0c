//! What Patroni is told of its settings.

use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::patroni::{config_patch, steps};
use bailiwick_model::step::Step;
use serde_json::json;

use super::{Cluster, facts_with, plan_of};

#[test]

fn a_patch_is_the_smallest_difference() {
    let wanted = json!({
        "ttl": 30,
        "failsafe_mode": true,
        "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off"}},
    });
    for (what, seen, expected) in [
        ("the same", wanted.clone(), None),
        (
            "what Patroni takes for the same",
            json!({"ttl": "30", "failsafe_mode": "True",
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off"}}}),
            None,
        ),
        (
            "keys of others are left alone",
            json!({"ttl": 30, "failsafe_mode": true, "pause": true, "slots": {"mine": {"type": "physical"}},
                   "postgresql": {"use_slots": true, "pg_hba": [], "parameters": {"work_mem": "4MB", "jit": "off"}}}),
            None,
        ),
        (
            "one setting",
            json!({"ttl": 30, "failsafe_mode": true,
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "8MB", "jit": "off"}}}),
            Some(json!({"postgresql": {"parameters": {"work_mem": "4MB"}}})),
        ),
        (
            "a setting that is no longer wanted",
            json!({"ttl": 30, "failsafe_mode": true,
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off", "autovacuum": "off"}}}),
            Some(json!({"postgresql": {"parameters": {"autovacuum": null}}})),
        ),
        (
            "no settings at all",
            json!({"ttl": 20}),
            Some(wanted.clone()),
        ),
        ("not read", serde_json::Value::Null, None),
    ] {
        let patch = config_patch(&wanted, &seen);
        assert_eq!(patch, expected, "{what}");
    }
}

#[test]
fn settings_come_before_any_restart() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).outdated(&[0, 1]);
    let facts = facts_with(&cluster, |_, seen| seen.config["ttl"] = json!(60));
    assert_eq!(
        steps(&cluster.plan, &facts),
        [Step::Patroni(PatroniStep::PatchConfig(json!({"ttl": 30})))]
    );
}
