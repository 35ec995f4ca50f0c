//! What canaries are asked, the pods that they are, and what follows from their answers. Values in, values out.

mod questions;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_api::region::Region;
use bailiwick_model::canary::question::{Answer, Attempt, Class, Question, Tried};
use bailiwick_model::canary::questions;
use bailiwick_model::canary::verdict::verdict;
use bailiwick_model::facts::store::StoreFacts;
use bailiwick_model::facts::{Facts, Neighbour, NeighbourPod, Observed, PodFact};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::LABEL_TASK;
use bailiwick_model::plan::{Plan, Platform};
use bailiwick_model::planner::plan;
use jiff::{SignedDuration, Timestamp};

use crate::fixture::{self, facts, tr};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// Region `es` with two members and a store, beside `tr`.
fn neighbours() -> BTreeMap<String, Neighbour> {
    let pod = |ip: &str, component: &str| NeighbourPod {
        ip: ip.to_owned(),
        component: component.to_owned(),
        ready: true,
    };
    let pods = [
        ("es-pg-0", pod("10.201.2.7", "postgres")),
        ("es-pg-1", pod("10.201.2.8", "postgres")),
        ("es-s3-0", pod("10.201.2.9", "object-store")),
        ("es-pg-stanza-i1-x", pod("10.201.2.10", "backup")),
    ]
    .map(|(name, pod)| (name.to_owned(), pod));
    [(
        "es".to_owned(),
        Neighbour {
            pods: fixture::live(pods),
        },
    )]
    .into()
}

/// The cluster of the fixture at [`NOW`], with the neighbour and a store that answers.
fn around() -> Facts {
    Facts {
        now: NOW,
        neighbours: Arc::new(neighbours()),
        store: Observed::Seen(StoreFacts::default()),
        ..facts(&tr())
    }
}

fn planned_with(region: &Region, platform: &Platform, facts: &Facts) -> Plan {
    plan(region, platform, facts).expect("the Region is accepted")
}

/// What a canary answers where the boundary holds.
fn good(guise: Guise, question: &Question) -> Vec<Tried> {
    question
        .targets
        .iter()
        .map(
            |target| match (&target.attempt, target.class.allowed(guise)) {
                (Attempt::Connect(_), true) => Tried::Reached,
                (Attempt::Connect(_), false) => Tried::Blocked,
                (_, true) => Tried::Resolved,
                (_, false) => Tried::NotResolved,
            },
        )
        .collect()
}

fn answered(guise: Guise, message: &str, at: Timestamp) -> (String, PodFact) {
    let name = format!("tr-{}-{}", guise.label(), at.as_second());
    let fact = PodFact {
        labels: [(LABEL_TASK.to_owned(), guise.label().to_owned())].into(),
        node: Some("tr-1".to_owned()),
        termination_message: Some(message.to_owned()),
        ended: Some(at),
        ..PodFact::default()
    };
    (name, fact)
}

/// Facts in which both canaries have answered `minutes` ago, with some outcomes otherwise.
fn with_answers(
    plan: &Plan,
    facts: &Facts,
    minutes: i64,
    otherwise: impl Fn(Guise, Class, &str) -> Option<Tried>,
) -> Facts {
    let mut facts = facts.clone();
    for (guise, question) in questions(plan) {
        let mut outcomes = good(guise, &question);
        for (target, outcome) in question.targets.iter().zip(&mut outcomes) {
            if let Some(other) = otherwise(guise, target.class, &target.name) {
                *outcome = other;
            }
        }
        let answer = Answer {
            question: question.id,
            outcomes,
        };
        let at = NOW - SignedDuration::from_mins(minutes);
        let (name, pod) = answered(guise, &serde_json::to_string(&answer).unwrap(), at);
        facts.pods.live.insert(name, pod);
    }
    facts
}

/// The condition: its state and reason, and its message.
fn judged(plan: &Plan, facts: &Facts) -> (Option<bool>, &'static str, String) {
    let enforced = verdict(plan, facts).enforced(plan);
    (enforced.state, enforced.reason, enforced.message)
}
