//! What canaries are asked, and the pods that they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_api::region::Region;
use bailiwick_model::canary::question::{Answer, Class, MOST_TARGETS, Question, Tried, VARIABLE};
use bailiwick_model::canary::questions;
use bailiwick_model::canary::schedule::steps;
use bailiwick_model::desired::{canary, desired};
use bailiwick_model::facts::{Facts, JobFact, Neighbour, NeighbourPod, Observed};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::LABEL_FLOW;
use bailiwick_model::plan::Plan;
use bailiwick_model::step::Step;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{NOW, around, judged, planned_with, with_answers};
use crate::fixture::{self, platform, tr, tr_with};

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
