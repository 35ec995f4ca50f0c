//! Connections that stand when a way is shut, and a leak of a Region that is paused: what the operator does of it look by
//! look. Against an API server and systems in memory; no process, no network.

use std::collections::BTreeMap;

use bailiwick_api::region::ChannelState;
use bailiwick_model::facts::postgres::Sessions;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::let_it_leak;
use crate::support::fake_api::Key;
use crate::support::harness::{Harness, tr};

const ROLE: &str = "clinical_app_writer";

/// `tr` with these clients of both services.
fn with_clients(clients: &[&str]) -> Value {
    let mut region = tr();
    region["spec"]["network"]["clients"] = clients
        .iter()
        .map(|name| {
            json!({"name": name, "namespaceSelector": {"matchLabels": {"team": name}},
                "to": ["Postgres", "ObjectStore"]})
        })
        .collect();
    region
}

/// Lets an application hold sessions of an hour on both members.
fn hold_sessions(harness: &Harness) {
    let held = BTreeMap::from([(
        ROLE.to_owned(),
        Sessions {
            count: 4,
            oldest: SignedDuration::from_hours(1),
        },
    )]);
    harness.world.change("tr", |data| {
        data.postgres.sessions = held.clone();
        for member in ["tr-pg-0", "tr-pg-1"] {
            if data.leader.as_deref() != Some(member) {
                data.postgres
                    .standby_sessions
                    .insert(member.to_owned(), held.clone());
            }
        }
    });
}

/// The sessions that were ended since the last time: to whom.
fn ended(harness: &Harness) -> Vec<String> {
    let calls = harness.journal.take();
    let ended = calls
        .iter()
        .filter(|call| call.verb == "step" && call.name.contains("end the connections"));
    ended.map(|call| call.name.clone()).collect()
}

fn finding(harness: &Harness, id: &str) -> Option<String> {
    let residency = harness.status().residency;
    let rows = residency.map_or_else(Vec::new, |residency| residency.channels);
    let row = rows.into_iter().find(|row| row.id == id)?;
    row.finding.inspect(|_| {
        assert_eq!(row.state, ChannelState::Unknown);
    })
}

fn shut(harness: &Harness) -> Vec<String> {
    let ways = harness.status().residency.unwrap().ways.unwrap();
    ways.shut.into_iter().map(|shut| shut.way).collect()
}

#[tokio::test]
async fn one_of_two_clients_that_leaves_the_spec_keeps_no_session() {
    let mut harness = Harness::running().await;
    harness.apply(&with_clients(&["api", "lab"]));
    harness.settle().await;
    hold_sessions(&harness);
    harness.settle().await;
    assert_eq!(ended(&harness), Vec::<String>::new());
    assert_eq!(shut(&harness), Vec::<String>::new());

    harness.apply(&with_clients(&["api"]));
    harness.settle().await;
    assert_eq!(
        ended(&harness),
        Vec::<String>::new(),
        "before the policies hold"
    );
    assert_eq!(shut(&harness).len(), 2);
    assert!(finding(&harness, "2").unwrap().contains("client lab"));
    assert_eq!(harness.condition("ResidencyEnforced").0, "False");

    // An operator that begins anew in between knows it from the status.
    harness.crash();
    harness.now_is(SignedDuration::from_secs(40));
    harness.settle().await;
    let calls = ended(&harness);
    assert_eq!(calls.len(), 2, "{calls:?}");
    let to_a_standby = calls.iter().filter(|call| call.contains(" to tr-pg-"));
    assert_eq!(to_a_standby.count(), 1, "{calls:?}");
    // Once: those who are let in have connected again.
    harness.settle().await;
    assert_eq!(ended(&harness), Vec::<String>::new());
    assert_eq!(harness.condition("Ready").0, "True");
    let left = shut(&harness);
    assert!(
        left.len() == 1 && left[0].starts_with("ObjectStore/lab/"),
        "{left:?}"
    );
    let found = finding(&harness, "2").unwrap();
    assert!(
        found.contains("kubectl -n tr delete pod tr-s3-0"),
        "{found}"
    );

    // Whoever empties the status takes nothing from what the operator knows, also when it has written none itself.
    harness.crash();
    harness.settle().await;
    for emptied in ["/status", "/status/residency", "/status/residency/ways"] {
        let key = Key::new("regions", "", "tr");
        let mut region = harness.api.get(&key).unwrap();
        let (parent, field) = emptied.rsplit_once('/').unwrap();
        let parent = region.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .remove(field)
            .expect(emptied);
        harness.api.put(&key, "somebody", "status", region);
        // Nor with a spec of another place meanwhile, of which nothing is judged.
        let mut elsewhere = with_clients(&["api"]);
        elsewhere["spec"]["residency"]["location"] = json!("es-mad-1");
        harness.apply(&elsewhere);
        harness.settle().await;
        harness.apply(&with_clients(&["api"]));
        harness.settle().await;
        assert_eq!(shut(&harness), left, "{emptied}");
        assert_eq!(finding(&harness, "2").as_deref(), Some(found.as_str()));
    }

    // Somebody makes the store's pod anew, once the way was shut for good.
    harness.api.remove(&Key::new("pods", "tr", "tr-s3-0"));
    harness.settle().await;
    assert_eq!(shut(&harness).len(), 1, "its clock says that it is older");
    made_later(&harness, "tr-s3-0");
    harness.settle().await;
    assert_eq!(shut(&harness), Vec::<String>::new());
    assert_eq!(finding(&harness, "2"), None);
}

/// The API server in memory has no clock but the machine's.
fn made_later(harness: &Harness, pod: &str) {
    let key = Key::new("pods", "tr", pod);
    let now = jiff::Timestamp::now() + SignedDuration::from_secs(40);
    harness.api.made_at(&key, now);
}

#[tokio::test]
async fn a_region_that_is_paused_is_shut_off_for_a_leak_and_else_left_as_it_is() {
    let mut harness = Harness::running().await;
    harness.apply(&with_clients(&["api"]));
    harness.settle().await;
    let mut paused = with_clients(&["api"]);
    paused["spec"]["lifecycle"] = json!({"paused": true});
    harness.apply(&paused);
    // What somebody changes of it stays changed.
    let service = Key::new("services", "tr", "tr-pg-rw");
    harness.settle().await;
    harness.api.remove(&service);
    hold_sessions(&harness);
    harness.settle().await;
    assert_eq!(ended(&harness), Vec::<String>::new());

    let_it_leak(&harness.api);
    harness.settle().await;
    let calls = harness.journal.take();
    let sent: Vec<String> = calls
        .iter()
        .filter(|call| call.is_write() && !call.is_report())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        sent,
        [
            "apply networkpolicies tr/postgres",
            "apply networkpolicies tr/object-store",
            "apply networkpolicies tr/external"
        ]
    );
    let steps = calls.iter().filter(|call| call.verb == "step");
    assert!(
        steps.clone().count() == 2,
        "{:?}",
        steps.collect::<Vec<_>>()
    );
    let quarantined = harness.condition("Quarantined");
    assert_eq!(quarantined.0, "True", "{quarantined:?}");
    assert!(quarantined.2.contains("paused"), "{quarantined:?}");
    assert_eq!(harness.condition("ResidencyEnforced").0, "False");
    assert!(!harness.api.is(&service, |_| true));
    for (policy, field) in [("external", "egress"), ("postgres", "ingress")] {
        let key = Key::new("networkpolicies", "tr", policy);
        let value = harness.api.get(&key).unwrap();
        assert!(
            !value["spec"][field].to_string().contains("\"team\"")
                && !value["spec"][field].to_string().contains("198.51.100.7"),
            "{value}"
        );
    }

    // It stays so while it is paused, and is opened once it goes on and nothing leaks.
    harness.now_is(SignedDuration::from_mins(11));
    harness.settle().await;
    assert_eq!(harness.condition("Quarantined").0, "True");
    harness.apply(&with_clients(&["api"]));
    harness.settle().await;
    let quarantined = harness.condition("Quarantined");
    assert_eq!(quarantined.0, "False", "{quarantined:?}");
    assert!(harness.api.is(&service, |_| true));
    // What is let through again holds its connections by right.
    assert_eq!(shut(&harness), Vec::<String>::new());
}
