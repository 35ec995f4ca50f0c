//! What canaries are asked, the pods that they are, and what follows from their answers. Values in, values out.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_model::canary::verdict::{ClassVerdict, Heard, STALE, verdict};
use bailiwick_model::canary::{
    Answer, Attempt, Class, Guise, MOST_TARGETS, Question, Tried, VARIABLE, questions, steps,
};
use bailiwick_model::channel::Channel;
use bailiwick_model::desired::{canary, desired};
use bailiwick_model::facts::{Facts, JobFact, Neighbour, NeighbourPod, Observed, PodFact};
use bailiwick_model::names::{LABEL_FLOW, LABEL_TASK};
use bailiwick_model::plan::{Plan, Platform, plan};
use bailiwick_model::region::{ChannelState, Region};
use bailiwick_model::residency::ExternalEndpoint;
use bailiwick_model::step::Step;
use bailiwick_model::store::StoreFacts;
use fixture::{facts, platform, tr, tr_with};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

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

#[test]
fn a_region_is_no_neighbour_of_its_own() {
    let facts = around();
    let expected = questions(&planned_with(&tr(), &platform(), &facts));
    let mut with_own = facts.clone();
    let pod = NeighbourPod {
        ip: "10.201.1.7".to_owned(),
        component: "postgres".to_owned(),
        ready: true,
    };
    let pods = fixture::live([("tr-pg-0".to_owned(), pod)]);
    Arc::make_mut(&mut with_own.neighbours).insert("tr".to_owned(), Neighbour { pods });
    let found = questions(&planned_with(&tr(), &platform(), &with_own));
    assert_eq!(found, expected);
    assert!(expected.values().any(|it| !it.targets.is_empty()));
}

#[test]
fn every_class_is_asked_of_both() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let questions = questions(&plan);
    assert_eq!(questions.len(), Guise::ALL.len());
    for (guise, question) in &questions {
        let asked: Vec<(Class, &str)> = question
            .targets
            .iter()
            .map(|target| (target.class, target.attempt.text()))
            .collect();
        let expected = [
            (Class::OtherRegionPod, "10.201.2.7:5432"),
            (Class::OtherRegionPod, "10.201.2.8:5432"),
            (Class::OtherRegionPod, "10.201.2.9:9000"),
            (Class::OtherRegionService, "es-pg-rw.es.svc:5432"),
            (Class::OtherRegionService, "es-s3.es.svc:9000"),
            (Class::OutsideAddress, "198.51.100.10:443"),
            (Class::OutsideName, "outside.test"),
            (Class::OtherNode, "10.200.0.12:10250"),
            (Class::OtherNode, "10.200.0.11:10250"),
            (Class::MetadataAddress, "169.254.169.254:80"),
            (Class::ApiServer, "10.200.0.1:6443"),
            (Class::OwnObjectStore, "tr-s3.tr.svc:9000"),
            (Class::ClusterName, "tr-s3.tr.svc"),
        ];
        assert_eq!(asked, expected, "{guise:?}");
        let classes: BTreeSet<Class> = asked.into_iter().map(|(class, _)| class).collect();
        assert_eq!(classes, Class::ALL.into());
    }
}

#[test]
fn the_largest_answer_fits_a_termination_message_and_leaves_no_neighbour_out() {
    let mut facts = around();
    for number in 0..40 {
        let pods = (0..9).map(|pod| {
            let ip = format!("2001:db8::{number}:{pod}");
            let component = "postgres".to_owned();
            let ready = true;
            (
                format!("r{number}-pg-{pod}"),
                NeighbourPod {
                    ip,
                    component,
                    ready,
                },
            )
        });
        let pods = fixture::live(pods);
        Arc::make_mut(&mut facts.neighbours).insert(format!("r{number}"), Neighbour { pods });
        facts
            .node_addresses
            .insert(format!("node-{number}"), format!("2001:db8:1::{number}"));
    }
    let plan = planned_with(&tr(), &platform(), &facts);
    for question in questions(&plan).values() {
        let mut count: BTreeMap<Class, usize> = BTreeMap::new();
        let mut regions = BTreeSet::new();
        for target in &question.targets {
            *count.entry(target.class).or_default() += 1;
            if target.class == Class::OtherRegionPod {
                regions.insert(target.name.split('/').next().unwrap());
                assert!(target.attempt.text().starts_with('['), "{target:?}");
            }
        }
        assert_eq!(count[&Class::OtherRegionPod], MOST_TARGETS);
        assert_eq!(count[&Class::OtherNode], MOST_TARGETS);
        assert_eq!(regions.len(), MOST_TARGETS, "one of each before two of any");
        let answer = Answer {
            question: question.id.clone(),
            outcomes: vec![Tried::NotResolved; question.targets.len()],
        };
        let length = serde_json::to_string(&answer).unwrap().len();
        assert!(length < 4096, "{length} bytes");
    }
    // Another Region tries others.
    let own = |plan: &Plan| -> BTreeSet<String> {
        questions(plan)[&Guise::Plain]
            .targets
            .iter()
            .filter(|target| target.class == Class::OtherRegionPod)
            .map(|target| target.name.clone())
            .collect()
    };
    let es = fixture::es();
    let beside = Facts {
        namespaces: fixture::facts(&es).namespaces,
        ..facts
    };
    assert_ne!(own(&plan), own(&planned_with(&es, &platform(), &beside)));
}

/// No plan lets Postgres out to what the canary tries; if one did, nobody would be told that it is shut.
#[test]
fn what_one_guise_leaves_out_is_not_tested() {
    let mut plan = planned_with(&tr(), &platform(), &around());
    let endpoint = ExternalEndpoint {
        name: "wide".to_owned(),
        cidrs: vec!["198.0.0.0/8".to_owned()],
        ports: vec![443],
        location: "tr-ist-1".to_owned(),
    };
    plan.externals.push(
        plan.policy
            .admit("spec.network.external[0]", endpoint)
            .unwrap(),
    );
    let tries = |guise: Guise| {
        questions(&plan)[&guise]
            .targets
            .iter()
            .any(|target| target.class == Class::OutsideAddress)
    };
    assert!(tries(Guise::Plain));
    assert!(!tries(Guise::Postgres));
    let facts = with_answers(&plan, &around(), 1, |_, _, _| None);
    assert_eq!(
        verdict(&plan, &facts).classes[&Class::OutsideAddress],
        ClassVerdict::NotTested
    );
    assert_eq!(judged(&plan, &facts).1, "NotTested");
    for id in [1, 9] {
        let judged = Channel::of(id).unwrap().judge(&plan, &facts);
        assert_eq!(judged.state, ChannelState::Unknown, "{id}");
        assert_eq!(judged.leak, None, "{id}");
    }
}

/// What one guise saw does not stand for what the other did not: each class, each guise.
#[test]
fn one_guise_does_not_answer_for_the_other() {
    let mut facts = around();
    facts.node_addresses.remove("tr-1");
    facts.nodes.remove("tr-1");
    let plan = planned_with(&tr(), &platform(), &facts);
    // Of the one node that is known, Postgres' canary runs on it: it tried none.
    let mut heard = with_answers(&plan, &facts, 1, |_, _, _| None);
    for (name, pod) in &mut heard.pods.live {
        let node = if name.contains("canary-pg") {
            "es-1"
        } else {
            "tr-1"
        };
        pod.node = Some(node.to_owned());
    }
    assert_eq!(
        verdict(&plan, &heard).classes[&Class::OtherNode],
        ClassVerdict::NotTested
    );
    let plan = planned_with(&tr(), &platform(), &around());
    let mut tried = 0;
    for guise in Guise::ALL {
        for class in Class::ALL {
            let facts = with_answers(&plan, &around(), 1, |who, what, _| {
                (who == guise && what == class).then_some(Tried::Failed)
            });
            let found = &verdict(&plan, &facts).classes[&class];
            assert!(
                matches!(found, ClassVerdict::NotTested | ClassVerdict::Broken { .. }),
                "{guise:?} {class:?}: {found:?}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 18);
}

#[test]
fn a_question_changes_with_its_targets_and_with_the_boundary_and_with_nothing_else() {
    let id = |region: &Region, facts: &Facts| {
        let plan = planned_with(region, &platform(), facts);
        questions(&plan)[&Guise::Plain].id.clone()
    };
    let first = id(&tr(), &around());
    let mut facts = around();
    facts.now = NOW + SignedDuration::from_hours(1);
    assert_eq!(id(&tr(), &facts), first);
    let bigger = tr_with("spec: {postgres: {resources: {memory: 768Mi}}}");
    assert_eq!(id(&bigger, &facts), first);

    Arc::make_mut(&mut facts.neighbours).clear();
    assert_ne!(id(&tr(), &facts), first);
    let opened = tr_with(
        "spec: {network: {clients: [{name: apps, namespaceSelector: {matchLabels: {team: patient}}, to: [Postgres]}]}}",
    );
    assert_ne!(id(&opened, &around()), first);
}

#[test]
fn canaries_are_held_by_the_policies_that_they_try_and_found_by_nothing_else() {
    let plan = planned_with(&tr(), &platform(), &around());
    let objects: Vec<Value> = desired(&plan)
        .iter()
        .map(|manifest| serde_json::to_value(&manifest.object).unwrap())
        .collect();
    let selects = |selector: &Value, labels: &Value| {
        let exact = selector["matchLabels"].as_object();
        let named = exact
            .into_iter()
            .flatten()
            .all(|(key, value)| labels[key] == *value);
        let exists = selector["matchExpressions"].as_array();
        named
            && exists.into_iter().flatten().all(|term| {
                assert_eq!(term["operator"], "Exists");
                labels[term["key"].as_str().unwrap()].is_string()
            })
    };
    let mut looked = 0;
    for (guise, question) in questions(&plan) {
        let job = serde_json::to_value(canary::job(&plan, guise, &question, &question.id)).unwrap();
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels[LABEL_FLOW], guise.flow().label());
        let mut policies = BTreeSet::new();
        for object in &objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            match object["kind"].as_str().unwrap() {
                "NetworkPolicy"
                    if object["metadata"]["namespace"] == "tr"
                        && selects(&object["spec"]["podSelector"], labels) =>
                {
                    policies.insert(name);
                }
                "Service" => {
                    looked += 1;
                    let selector = json!({"matchLabels": object["spec"]["selector"]});
                    let found =
                        object["spec"]["selector"].is_object() && selects(&selector, labels);
                    assert!(!found, "Service {name} finds {guise:?}");
                }
                "StatefulSet" | "PodDisruptionBudget" => {
                    looked += 1;
                    assert!(
                        !selects(&object["spec"]["selector"], labels),
                        "{name} finds {guise:?}"
                    );
                }
                _ => {}
            }
        }
        let expected = match guise {
            Guise::Plain => ["canary", "default-deny", "dns"],
            Guise::Postgres => ["default-deny", "dns", "postgres"],
        };
        assert_eq!(policies, expected.into(), "{guise:?}");
        // Patroni finds its members by labels of its own.
        for label in ["application", "cluster-name", "role"] {
            assert!(labels[label].is_null(), "{guise:?} has {label}");
        }
    }
    assert!(looked >= 12, "only {looked} objects were looked at");
}

#[test]
fn the_schedule_asks_what_the_job_asks_and_sleeps_with_the_region() {
    let plan = planned_with(&tr(), &platform(), &around());
    let schedules: Vec<Value> = canary::manifests(&plan)
        .iter()
        .map(|manifest| serde_json::to_value(&manifest.object).unwrap())
        .collect();
    assert_eq!(schedules.len(), 2);
    for (schedule, (guise, question)) in schedules.iter().zip(questions(&plan)) {
        assert_eq!(schedule["metadata"]["name"], plan.names.canary(guise));
        let spec = &schedule["spec"];
        assert_eq!(spec["concurrencyPolicy"], "Forbid");
        assert!(
            spec["schedule"]
                .as_str()
                .unwrap()
                .ends_with("-59/5 * * * *")
        );
        let template = &spec["jobTemplate"]["spec"]["template"];
        let job = serde_json::to_value(canary::job(&plan, guise, &question, &question.id)).unwrap();
        assert_eq!(*template, job["spec"]["template"]);
        let container = &template["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["probe"]));
        assert_eq!(container["env"][0]["name"], VARIABLE);
        let asked: Question =
            serde_json::from_str(container["env"][0]["value"].as_str().unwrap()).unwrap();
        assert_eq!(asked, question);
    }
    let asleep = tr_with("spec: {lifecycle: {hibernated: true}}");
    let plan = planned_with(&asleep, &platform(), &around());
    assert!(canary::manifests(&plan).is_empty());
    assert_eq!(steps(&plan, &around()), []);
    assert_eq!(judged(&plan, &around()).1, "Hibernated");
}

#[test]
fn a_new_question_is_asked_once_and_one_at_a_time() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let names = |steps: &[Step]| -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Step::Create(manifest) => manifest.id(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let asked: Vec<String> = questions(&plan)
        .iter()
        .map(|(guise, question)| format!("Job/{}", plan.names.canary_job(*guise, &question.id)))
        .collect();
    assert_eq!(names(&steps(&plan, &facts)), asked);

    // Nothing is tried before there is a store to be let through to.
    let starting = Facts {
        store: Observed::NotAsked,
        ..facts.clone()
    };
    assert_eq!(steps(&plan, &starting), []);

    let mut created = facts.clone();
    for job in &asked {
        let name = job.trim_start_matches("Job/").to_owned();
        created.jobs.insert(name, JobFact::default());
    }
    assert_eq!(steps(&plan, &created), []);

    let mut scheduled = facts.clone();
    scheduled
        .jobs
        .insert("tr-canary-29384761".to_owned(), JobFact::default());
    assert_eq!(names(&steps(&plan, &scheduled)), asked[1..]);

    let heard = with_answers(&plan, &facts, 1, |_, _, _| None);
    assert_eq!(steps(&plan, &heard), [], "the schedule has asked it");
}

#[test]
fn what_was_not_as_it_should_be_is_asked_again_a_minute_later_and_not_for_ever() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let names = |facts: &Facts| -> Vec<String> {
        steps(&plan, facts)
            .iter()
            .map(|step| match step {
                Step::Create(manifest) => manifest.id(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    for (class, outcome) in [
        (Class::OwnObjectStore, Tried::Blocked),
        (Class::OutsideAddress, Tried::Reached),
    ] {
        let answered = |minutes| {
            with_answers(&plan, &facts, minutes, |guise, tried, _| {
                (guise == Guise::Plain && tried == class).then_some(outcome)
            })
        };
        assert_eq!(names(&answered(0)), [""; 0], "{class:?}: just now");
        let again = names(&answered(1));
        assert_eq!(again.len(), 1, "{class:?}");
        let question = &questions(&plan)[&Guise::Plain];
        assert_ne!(
            again[0],
            format!("Job/{}", plan.names.canary_job(Guise::Plain, &question.id))
        );
        // Once for an answer, and again for the next one.
        let mut asked = answered(1);
        let done = JobFact {
            succeeded: true,
            ..JobFact::default()
        };
        asked
            .jobs
            .insert(again[0].trim_start_matches("Job/").to_owned(), done.clone());
        assert_eq!(names(&asked), [""; 0], "{class:?}: asked");
        let mut next = answered(2);
        next.jobs = asked.jobs.clone();
        assert_eq!(names(&next).len(), 1, "{class:?}");
        // What stays so is left to the schedule, whose own Jobs do not count.
        next.jobs
            .insert("tr-canary-29384761".to_owned(), done.clone());
        next.jobs
            .insert("tr-canary-0123456789".to_owned(), done.clone());
        assert_eq!(names(&next).len(), 1, "{class:?}");
        next.jobs.insert("tr-canary-abcdef0123".to_owned(), done);
        assert_eq!(names(&next), [""; 0], "{class:?}: often enough");
    }
}

#[test]
fn what_holds_is_told_class_by_class() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let facts = with_answers(&plan, &facts, 4, |_, _, _| None);
    let (state, reason, message) = judged(&plan, &facts);
    assert_eq!((state, reason), (Some(true), "Held"), "{message}");
    let verdict = verdict(&plan, &facts);
    // Both tried three pods; of two nodes one was their own.
    let held = |attempts| ClassVerdict::Held { attempts };
    assert_eq!(verdict.classes[&Class::OtherRegionPod], held(6));
    assert_eq!(verdict.classes[&Class::OtherNode], held(2));
    for class in verdict.held() {
        assert!(message.contains(class), "{message}");
    }
    assert_eq!(verdict.held().len(), 7);
    // Later answers that say the same change no word.
    let later = with_answers(&plan, &around(), 1, |_, _, _| None);
    assert_eq!(judged(&plan, &later).2, message);
}

#[test]
fn any_way_out_is_a_leak() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let mut tried = 0;
    for guise in Guise::ALL {
        for class in Class::ALL.into_iter().filter(|class| !class.allowed(guise)) {
            let ways: &[Tried] = if class == Class::OutsideName {
                &[Tried::Resolved]
            } else {
                &[Tried::Reached, Tried::Refused]
            };
            for way in ways {
                let facts = with_answers(&plan, &facts, 1, |who, what, name| {
                    (who == guise && what == class && name != "tr-1").then_some(*way)
                });
                let (state, reason, message) = judged(&plan, &facts);
                assert_eq!((state, reason), (Some(false), "LeakFound"), "{class:?}");
                assert!(message.contains(class.as_str()), "{message}");
                let flow = format!("flow {}", guise.flow().label());
                assert!(message.contains(&flow), "{message}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 24);

    // A pod's own node is open to it by specification.
    let own = with_answers(&plan, &facts, 1, |_, class, name| {
        (class == Class::OtherNode && name == "tr-1").then_some(Tried::Reached)
    });
    assert_eq!(judged(&plan, &own).1, "Held");
    // A leak is told of even while another canary is silent.
    let mut half = with_answers(&plan, &facts, 1, |_, class, _| {
        (class == Class::MetadataAddress).then_some(Tried::Reached)
    });
    half.pods.live.retain(|name, _| !name.contains("canary-pg"));
    assert_eq!(judged(&plan, &half).1, "LeakFound");
}

#[test]
fn what_was_not_tried_is_never_held() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let unknown = |facts: &Facts| {
        let (state, reason, message) = judged(&plan, facts);
        assert_eq!(state, None, "{message}");
        reason
    };
    assert_eq!(unknown(&facts), "CanaryMissing");

    for (class, otherwise, expected) in [
        (Class::OwnObjectStore, Tried::Blocked, "AllowedFlowBroken"),
        (Class::ClusterName, Tried::NotResolved, "AllowedFlowBroken"),
        (Class::OtherRegionService, Tried::NotResolved, "NotTested"),
        (Class::OutsideAddress, Tried::Failed, "NotTested"),
        (Class::OutsideName, Tried::Failed, "NotTested"),
    ] {
        let facts = with_answers(&plan, &facts, 1, |_, what, _| {
            (what == class).then_some(otherwise)
        });
        assert_eq!(unknown(&facts), expected, "{class:?}");
    }
    // For Patroni, the API server is an allowed flow of one of them.
    let shut = with_answers(&plan, &facts, 1, |who, class, _| {
        (who == Guise::Postgres && class == Class::ApiServer).then_some(Tried::Blocked)
    });
    assert_eq!(unknown(&shut), "AllowedFlowBroken");

    let age = STALE.as_mins();
    let fresh = with_answers(&plan, &facts, age, |_, _, _| None);
    assert_eq!(judged(&plan, &fresh).1, "Held");
    let stale = with_answers(&plan, &facts, age + 1, |_, _, _| None);
    assert_eq!(unknown(&stale), "CanaryStale");
    assert!(
        verdict(&plan, &stale)
            .canaries
            .values()
            .all(|heard| matches!(heard, Heard::Stale { .. }))
    );
    // An old leak is no proof of one now, nor of its end.
    let old_leak = with_answers(&plan, &facts, age + 1, |_, class, _| {
        (class == Class::MetadataAddress).then_some(Tried::Reached)
    });
    assert_eq!(unknown(&old_leak), "CanaryStale");

    let good = with_answers(&plan, &facts, 1, |_, _, _| None);
    let mut moved = facts.clone();
    Arc::make_mut(&mut moved.neighbours).clear();
    let elsewhere = planned_with(&tr(), &platform(), &moved);
    assert_eq!(judged(&elsewhere, &good).1, "CanaryStale", "other targets");
    assert!(
        verdict(&elsewhere, &good)
            .canaries
            .values()
            .all(|heard| *heard == Heard::Outdated)
    );
}

#[test]
fn garbage_is_no_answer() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let id = questions(&plan)[&Guise::Plain].id.clone();
    for message in [
        "",
        "killed",
        "{}",
        "[]",
        r#"{"question": "x"}"#,
        &format!(r#"{{"question": "{id}", "outcomes": []}}"#),
        &format!(r#"{{"question": "{id}", "outcomes": ["Held"]}}"#),
        &format!(r#"{{"question": "{id}", "outcomes": ["Blocked"], "more": 1}}"#),
    ] {
        let mut facts = with_answers(&plan, &facts, 1, |_, _, _| None);
        facts.pods.live.retain(|name, _| name.contains("canary-pg"));
        let (name, pod) = answered(Guise::Plain, message, NOW);
        facts.pods.live.insert(name, pod);
        let (state, reason, _) = judged(&plan, &facts);
        assert_eq!(state, None, "{message}");
        assert!(
            ["CanaryMissing", "CanaryStale"].contains(&reason),
            "{message}"
        );
    }
}

#[test]
fn the_newest_answer_counts() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let leak = |minutes| {
        with_answers(&plan, &facts, minutes, |_, class, _| {
            (class == Class::MetadataAddress).then_some(Tried::Reached)
        })
    };
    let mut healed = leak(6);
    healed
        .pods
        .live
        .extend(with_answers(&plan, &facts, 1, |_, _, _| None).pods.live);
    assert_eq!(judged(&plan, &healed).1, "Held");
    let mut broken = leak(1);
    broken
        .pods
        .live
        .extend(with_answers(&plan, &facts, 6, |_, _, _| None).pods.live);
    assert_eq!(judged(&plan, &broken).1, "LeakFound");
}

#[test]
fn what_nobody_named_is_not_tested_and_what_is_not_there_is_not_applicable() {
    let bare = Platform {
        outside_address: None,
        outside_name: None,
        ..platform()
    };
    let plan = planned_with(&tr(), &bare, &around());
    let facts = with_answers(&plan, &around(), 1, |_, _, _| None);
    let (state, reason, message) = judged(&plan, &facts);
    assert_eq!((state, reason), (None, "NotTested"));
    assert!(message.contains("OutsideAddress, OutsideName"), "{message}");

    // A cluster of one node and one Region.
    let mut alone = around();
    Arc::make_mut(&mut alone.neighbours).clear();
    alone.nodes.retain(|node, _| node == "tr-1");
    alone.node_addresses.retain(|node, _| node == "tr-1");
    let plan = planned_with(&tr(), &platform(), &alone);
    let facts = with_answers(&plan, &alone, 1, |_, _, _| None);
    let (state, _, message) = judged(&plan, &facts);
    assert_eq!(state, Some(true), "{message}");
    assert!(
        message.contains("there is none: OtherRegionPod, OtherRegionService, OtherNode"),
        "{message}"
    );

    // Nodes whose addresses are not known are not none.
    let mut hidden = around();
    hidden.node_addresses.remove("es-1");
    let plan = planned_with(&tr(), &platform(), &hidden);
    let facts = with_answers(&plan, &hidden, 1, |_, _, _| None);
    assert_eq!(judged(&plan, &facts).1, "NotTested");
}
