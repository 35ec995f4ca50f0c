//! What each leakage channel's state comes from: with every control in place the expected state, with any one of them
//! broken another. Facts in memory; no I/O.

mod breaks;
mod enforcement;
mod rows;
mod start_window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_api::region::{Assurance, ChannelState, Region};
use bailiwick_model::canary::question::{Answer, Attempt, Class, Question, Tried};
use bailiwick_model::canary::questions;
use bailiwick_model::channel::channels;
use bailiwick_model::facts::postgres::{DatabaseFact, Inside, PostgresFacts, ReplicationFact};
use bailiwick_model::facts::repository::{Marker, ReadBack};
use bailiwick_model::facts::store::{BucketFact, StoreFacts};
use bailiwick_model::facts::{
    ClientNamespace, Facts, Inventory, NamespacePod, Neighbour, NeighbourPod, Observed, PodFact,
    SecretFact, VolumeFact,
};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::{LABEL_NAME, LABEL_TASK, NODE_HOSTNAME, Names};
use bailiwick_model::outcome::{Applied, Outcome, Retained};
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use bailiwick_model::status::status;
use bailiwick_model::{policy, rights};

use crate::fixture::{self, facts_of_running, fenced, identity, planned, platform, tr};

const RESTRICTED: &str = "pod-security.kubernetes.io/enforce";

/// `tr` with everything observed and nothing open.
#[allow(clippy::too_many_lines, reason = "one world, told in order")]
fn closed(region: &Region) -> Facts {
    let names = Names::of(region);
    let mut facts = facts_of_running(region);
    facts.now = "2026-11-21T12:00:00Z".parse().expect("a time");
    for labels in facts.namespaces.values_mut() {
        labels.insert(RESTRICTED.to_owned(), "restricted".to_owned());
    }
    for (node, labels) in &mut facts.nodes {
        labels.insert(NODE_HOSTNAME.to_owned(), node.clone());
    }
    facts.network_policies = names
        .namespaces()
        .map(|namespace| format!("{namespace}/default-deny"))
        .into();
    facts.admission = policy::names().map(str::to_owned).collect();
    for (name, claim) in &mut facts.claims.live {
        claim.labels = identity(region);
        claim
            .labels
            .insert(LABEL_NAME.to_owned(), "postgres".to_owned());
        claim.capacity = Some(1 << 30);
        facts
            .volumes
            .insert(format!("pv-{name}"), volume(&names.namespace(), name));
    }
    for member in 0..2 {
        let pod = PodFact {
            node: Some("tr-1".to_owned()),
            ip: Some(format!("10.0.0.{member}")),
            ready: true,
            revision: Some("tr-pg-1".to_owned()),
            fence: fenced(),
            ..PodFact::default()
        };
        facts.pods.live.insert(names.postgres_member(member), pod);
    }
    for secret in facts.secrets.values_mut() {
        secret.certificate = None;
    }
    facts.secrets.insert(
        names.postgres_certificate(),
        SecretFact {
            certificate: Some(certificate(true)),
            ..SecretFact::default()
        },
    );
    facts.inventory = Observed::Seen(Inventory {
        pods: [(format!("{}/tr-pg-0", names.namespace()), neighbour())].into(),
        rights: Some(rights::needed()),
        clients: [(
            "patient".to_owned(),
            ClientNamespace {
                region: Some("tr".to_owned()),
                default_deny: true,
                nodes: BTreeSet::from(["tr-1".to_owned()]),
            },
        )]
        .into(),
        ..Inventory::default()
    });
    facts.store = Observed::Seen(StoreFacts {
        users_listed: true,
        marker: Observed::Seen(Marker::Ours),
        region: "tr-ist-1".to_owned(),
        encrypts: true,
        buckets: planned(region)
            .buckets
            .keys()
            .map(String::as_str)
            .chain(["bailiwick-backup"])
            .map(|name| (name.to_owned(), BucketFact::default()))
            .collect(),
        ..StoreFacts::default()
    });
    facts.archived = archived(true, true);
    facts.postgres = Observed::Seen(PostgresFacts {
        server_version: 170_012,
        databases: BTreeMap::from([(
            "clinical".to_owned(),
            DatabaseFact {
                inside: Some(Inside::fresh()),
                ..DatabaseFact::default()
            },
        )]),
        replication: vec![ReplicationFact {
            application: "tr-pg-1".to_owned(),
            address: Some("10.0.0.1".to_owned()),
            state: "streaming".to_owned(),
            sync: "sync".to_owned(),
        }],
        settings: [
            ("log_parameter_max_length", "0"),
            ("log_parameter_max_length_on_error", "0"),
            ("log_statement", "none"),
            ("log_min_duration_statement", "-1"),
            ("log_duration", "off"),
            ("log_min_error_statement", "panic"),
            ("log_error_verbosity", "terse"),
            ("log_min_messages", "warning"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        ..PostgresFacts::default()
    });
    facts.neighbours = Arc::new(
        [(
            "es".to_owned(),
            Neighbour {
                pods: fixture::live([(
                    "es-pg-0".to_owned(),
                    NeighbourPod {
                        ip: "10.1.0.5".to_owned(),
                        component: "postgres".to_owned(),
                        ready: true,
                    },
                )]),
            },
        )]
        .into(),
    );
    facts.node_addresses = [("tr-1", "10.9.0.1"), ("es-1", "10.9.0.2")]
        .map(|(node, address)| (node.to_owned(), address.to_owned()))
        .into();
    let plan = plan_of(region, &facts);
    for (guise, question) in questions(&plan) {
        canary(&mut facts, guise, &question, |_, tried| tried);
    }
    facts
}

fn archived(found: bool, recent: bool) -> Observed<ReadBack> {
    Observed::Seen(ReadBack { found, recent })
}

/// A canary that ended a minute ago, with what the boundary lets it see; `changed` may see something else.
fn canary(
    facts: &mut Facts,
    guise: Guise,
    question: &Question,
    changed: impl Fn(Class, Tried) -> Tried,
) {
    let outcomes = question
        .targets
        .iter()
        .map(|target| {
            let tried = match (target.class.allowed(guise), &target.attempt) {
                (true, Attempt::Connect(_)) => Tried::Reached,
                (true, _) => Tried::Resolved,
                (false, Attempt::Connect(_)) => Tried::Blocked,
                (false, _) => Tried::NotResolved,
            };
            changed(target.class, tried)
        })
        .collect();
    let answer = Answer {
        question: question.id.clone(),
        outcomes,
    };
    let pod = PodFact {
        labels: [(LABEL_TASK.to_owned(), guise.label().to_owned())].into(),
        node: Some("tr-1".to_owned()),
        ended: Some(facts.now - jiff::SignedDuration::from_mins(1)),
        termination_message: serde_json::to_string(&answer).ok(),
        ..PodFact::default()
    };
    facts
        .pods
        .live
        .insert(format!("tr-{}-1", guise.label()), pod);
}

/// Both canaries saw `class` as they must not.
fn sees(facts: &mut Facts, class: Class) {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    for (guise, question) in questions(&plan) {
        canary(facts, guise, &question, |tried, as_it_should| {
            match (tried == class, as_it_should) {
                (true, Tried::Blocked) => Tried::Reached,
                (true, Tried::NotResolved) => Tried::Resolved,
                _ => as_it_should,
            }
        });
    }
}

fn certificate(signed_by_authority: bool) -> bailiwick_model::facts::CertificateFact {
    bailiwick_model::facts::CertificateFact {
        not_before: "2026-11-01T00:00:00Z".parse().expect("a time"),
        not_after: "2027-11-01T00:00:00Z".parse().expect("a time"),
        dns_names: BTreeSet::new(),
        signed_by_authority,
    }
}

fn volume(namespace: &str, claim: &str) -> VolumeFact {
    VolumeFact {
        namespace: namespace.to_owned(),
        claim: claim.to_owned(),
        retained: true,
        alternatives: vec![BTreeMap::from([(
            NODE_HOSTNAME.to_owned(),
            BTreeSet::from(["tr-1".to_owned()]),
        )])],
    }
}

fn neighbour() -> NamespacePod {
    NamespacePod {
        ours: true,
        node: Some("tr-1".to_owned()),
        images: BTreeSet::from(["registry.test/bailiwick/postgres:17.12-1".to_owned()]),
        account: Some("tr-pg".to_owned()),
        token: true,
        ..NamespacePod::default()
    }
}

fn plan_of(region: &Region, facts: &Facts) -> Plan {
    plan(region, &platform(), facts).expect("the Region is accepted")
}

fn states(region: &Region, facts: &Facts) -> BTreeMap<u8, ChannelState> {
    // What was planned before something broke is what the look goes by.
    states_of(&plan_of(region, &closed(region)), facts)
}

fn states_of(plan: &Plan, facts: &Facts) -> BTreeMap<u8, ChannelState> {
    channels(plan, facts, Assurance::Simulated)
        .rows
        .iter()
        .map(|row| (row.id.parse().expect("a number"), row.state))
        .collect()
}

fn inventory(facts: &mut Facts) -> &mut Inventory {
    match &mut facts.inventory {
        Observed::Seen(seen) => seen,
        _ => panic!("the inventory were seen"),
    }
}

fn store(facts: &mut Facts) -> &mut StoreFacts {
    match &mut facts.store {
        Observed::Seen(seen) => seen,
        _ => panic!("the store was seen"),
    }
}

fn postgres(facts: &mut Facts) -> &mut PostgresFacts {
    match &mut facts.postgres {
        Observed::Seen(seen) => seen,
        _ => panic!("Postgres was seen"),
    }
}

fn pod(facts: &mut Facts) -> &mut NamespacePod {
    inventory(facts).pods.values_mut().next().expect("a pod")
}

fn inside(facts: &mut Facts) -> &mut Inside {
    postgres(facts)
        .databases
        .values_mut()
        .next()
        .and_then(|database| database.inside.as_mut())
        .expect("a database")
}

fn member(facts: &mut Facts) -> &mut PodFact {
    facts.pods.live.get_mut("tr-pg-0").expect("it is there")
}

/// A pod with the name and the place of a live member, of a drill.
fn of_a_drill() -> PodFact {
    PodFact {
        node: Some("tr-1".to_owned()),
        ip: Some("10.0.0.9".to_owned()),
        fence: fenced(),
        ..PodFact::default()
    }
}

/// The API server serves snapshots, and these are there; none when they could not be listed.
fn served_snapshots(facts: &mut Facts, snapshots: Option<BTreeMap<String, String>>) {
    let inventory = inventory(facts);
    inventory
        .api_groups
        .insert("snapshot.storage.k8s.io".to_owned());
    inventory.snapshots = snapshots;
}

fn bucket(facts: &mut Facts) -> &mut BucketFact {
    store(facts).buckets.values_mut().next().expect("a bucket")
}

/// The condition's status and reason.
fn enforced(region: &Region, facts: &Facts) -> (String, String) {
    enforced_of(region, &plan_of(region, &closed(region)), facts)
}

fn enforced_of(region: &Region, plan: &Plan, facts: &Facts) -> (String, String) {
    let outcome = Outcome::Applied(Applied {
        plan,
        facts,
        steps_due: 0,
        failed_steps: &[],
        archive: bailiwick_model::archive::archive(plan, facts, None),
        full_backup: None,
        retained: Retained::default(),
        refused: &[],
    });
    let status = status(region, &outcome, facts.now);
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "ResidencyEnforced")
        .expect("the condition is there");
    (found.status.clone(), found.reason.clone())
}
