//! What the evidence log is told of a look: runs of canaries, places and violations, each once. Values in, values out.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_api::region::{ChannelState, ChannelStatus, EvidenceStatus, Region};
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_model::canary::question::{Answer, Attempt, Class, Question, Tried};
use bailiwick_model::canary::questions;
use bailiwick_model::evidence::entry::{CanaryAnswer, CanaryTry, Name, Reach};
use bailiwick_model::evidence::sightings::{Sightings, Told};
use bailiwick_model::evidence::{Anchor, Entry, Hash, OBJECT_LIMIT, Record, SigningKey};
use bailiwick_model::facts::{
    Facts, Inventory, JobFact, NamespacePod, Neighbour, NeighbourPod, Observed, PodFact, VolumeFact,
};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::{LABEL_TASK, NODE_HOSTNAME, NODE_REGION};
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use jiff::{SignedDuration, Timestamp};

use crate::fixture::{self, facts, platform, tr};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
const LABEL_JOB: &str = "batch.kubernetes.io/job-name";

fn seconds(ago: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(ago)
}

/// The cluster of the fixture at [`NOW`], with a neighbour and nothing that runs.
fn around() -> Facts {
    let pod = NeighbourPod {
        ip: "10.201.2.7".to_owned(),
        component: "postgres".to_owned(),
        ready: true,
    };
    let neighbour = Neighbour {
        pods: fixture::live([("es-pg-0".to_owned(), pod)]),
    };
    Facts {
        now: NOW,
        neighbours: Arc::new([("es".to_owned(), neighbour)].into()),
        inventory: Observed::Seen(Inventory::default()),
        ..facts(&tr())
    }
}

fn planned(facts: &Facts) -> Plan {
    plan(&tr(), &platform(), facts).expect("the Region is accepted")
}

/// What a canary answers where the boundary holds.
fn good(guise: Guise, question: &Question) -> Vec<Tried> {
    let one = |attempt: &Attempt, allowed| match (attempt, allowed) {
        (Attempt::Connect(_), true) => Tried::Reached,
        (Attempt::Connect(_), false) => Tried::Blocked,
        (_, true) => Tried::Resolved,
        (_, false) => Tried::NotResolved,
    };
    question
        .targets
        .iter()
        .map(|target| one(&target.attempt, target.class.allowed(guise)))
        .collect()
}

/// A run of the plain canary that ended `ago` seconds ago: its Job, and its pod with this answer.
fn run(facts: &mut Facts, uid: &str, ago: i64, answer: Option<&str>) {
    let job = format!("tr-canary-{uid}");
    facts.jobs.insert(
        job.clone(),
        JobFact {
            uid: uid.to_owned(),
            succeeded: answer.is_some(),
            failed: answer.is_none(),
            ended: Some(seconds(ago)),
        },
    );
    let Some(answer) = answer else { return };
    facts.pods.live.insert(
        format!("{job}-x"),
        PodFact {
            labels: [
                (LABEL_TASK.to_owned(), Guise::Plain.label().to_owned()),
                (LABEL_JOB.to_owned(), job),
            ]
            .into(),
            node: Some("tr-1".to_owned()),
            fence: fixture::fenced(),
            termination_message: Some(answer.to_owned()),
            ended: Some(seconds(ago + 1)),
            ..PodFact::default()
        },
    );
}

fn answer(question: &Question, outcomes: Vec<Tried>) -> String {
    serde_json::to_string(&Answer {
        question: question.id.clone(),
        outcomes,
    })
    .unwrap()
}

fn question(facts: &Facts) -> Question {
    questions(&planned(facts)).remove(&Guise::Plain).unwrap()
}

/// What is told of a look by an operator that begins.
fn first(facts: &Facts) -> Vec<Entry> {
    Told::default().take(Sightings::of(&planned(facts), facts, &[]), true)
}

#[test]
fn a_run_is_one_record_with_all_its_tries() {
    let mut facts = around();
    let asked = question(&facts);
    let mut outcomes = good(Guise::Plain, &asked);
    for (target, outcome) in asked.targets.iter().zip(&mut outcomes) {
        match target.class {
            Class::OtherRegionPod => *outcome = Tried::Refused,
            Class::OutsideAddress => *outcome = Tried::Failed,
            // Its own node, which is open to it.
            Class::OtherNode if target.name == "tr-1" => *outcome = Tried::Reached,
            _ => {}
        }
    }
    let own = asked
        .targets
        .iter()
        .filter(|target| target.class == Class::OtherNode && target.name == "tr-1");
    assert_eq!(own.count(), 1, "{asked:?}");
    run(&mut facts, "a", 30, Some(&answer(&asked, outcomes.clone())));
    let entries = first(&facts);
    let [
        Entry::Canary {
            run,
            guise,
            node,
            ended,
            answer,
            tries,
        },
    ] = &entries[..]
    else {
        panic!("{entries:?}")
    };
    assert_eq!((run.as_str(), *guise), ("a", Guise::Plain));
    assert_eq!(node.as_ref().map(Name::as_str), Some("tr-1"));
    assert_eq!(*ended, Some(seconds(31)));
    assert_eq!(*answer, CanaryAnswer::Given);
    assert_eq!(tries.len(), asked.targets.len() - 1, "all but its own node");
    let of = |class| tries.iter().find(|tried| tried.target == class).copied();
    let wanted = |target, expected, result| {
        Some(CanaryTry {
            target,
            expected,
            result,
        })
    };
    for (class, expected, result) in [
        (Class::OtherRegionPod, Reach::Blocked, Some(Reach::Reached)),
        (Class::OutsideAddress, Reach::Blocked, None),
        (Class::OutsideName, Reach::Blocked, Some(Reach::Blocked)),
        (Class::ClusterName, Reach::Reached, Some(Reach::Reached)),
        (Class::OwnObjectStore, Reach::Reached, Some(Reach::Reached)),
    ] {
        assert_eq!(of(class), wanted(class, expected, result));
    }
}

#[test]
fn a_run_without_an_answer_is_told_of_as_such() {
    let asked = question(&around());
    let good = answer(&asked, good(Guise::Plain, &asked));
    let told = |given: Option<&str>, ago| {
        let mut facts = around();
        run(&mut facts, "a", ago, given);
        match &first(&facts)[..] {
            [] => None,
            [Entry::Canary { answer, tries, .. }] => Some((*answer, tries.is_empty())),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(Some(&good), 1), Some((CanaryAnswer::Given, false)));
    let other = good.replace(&asked.id, "0123456789");
    assert_eq!(told(Some(&other), 1), Some((CanaryAnswer::Outdated, true)));
    let missing = Some((CanaryAnswer::Missing, true));
    assert_eq!(told(Some("killed"), 1), missing);
    assert_eq!(told(None, 30), missing);
    // Its pod may be told of a moment later.
    assert_eq!(told(None, 10), None);
    // One that still runs.
    let mut facts = around();
    facts
        .jobs
        .insert("tr-canary-b".to_owned(), JobFact::default());
    assert_eq!(first(&facts), []);
}

#[test]
fn a_run_waits_for_a_write_of_the_status_and_is_told_once() {
    let mut facts = around();
    let asked = question(&facts);
    let message = answer(&asked, good(Guise::Plain, &asked));
    let mut told = Told::default();
    let look = |told: &mut Told, facts: &Facts, moves| {
        told.take(Sightings::of(&planned(facts), facts, &[]), moves)
            .len()
    };
    run(&mut facts, "a", 60, Some(&message));
    assert_eq!(look(&mut told, &facts, false), 0, "nothing else is written");
    run(&mut facts, "b", 30, Some(&message));
    assert_eq!(look(&mut told, &facts, false), 0);
    assert_eq!(told.to_status(), "", "what waits is not recorded");
    assert_eq!(look(&mut told, &facts, true), 2);
    assert_eq!(look(&mut told, &facts, true), 0);
    // The operator that begins with this status tells of neither again.
    let status = EvidenceStatus {
        told: told.to_status(),
        ..anchored()
    };
    assert_eq!(status.told.len(), 2 * 16);
    let mut next = Told::of(Some(&status));
    assert_eq!(look(&mut next, &facts, true), 0);
    // One without it, and one whose status somebody wrote into, tell of both.
    for text in ["", "no marks at all, whoever wrote this"] {
        let status = EvidenceStatus {
            told: text.to_owned(),
            ..anchored()
        };
        assert_eq!(look(&mut Told::of(Some(&status)), &facts, true), 2);
    }
    // One that waits is told of before nothing but memory knows of it.
    run(&mut facts, "c", 5, Some(&message));
    assert_eq!(look(&mut told, &facts, false), 0);
    facts.jobs.remove("tr-canary-c");
    assert_eq!(look(&mut told, &facts, false), 1);
    assert_eq!(look(&mut told, &facts, true), 0);
}

#[test]
fn what_a_run_answered_stays_so_though_another_question_is_asked() {
    let mut facts = around();
    let asked = question(&facts);
    run(
        &mut facts,
        "a",
        30,
        Some(&answer(&asked, good(Guise::Plain, &asked))),
    );
    let mut told = Told::default();
    let before = told.take(Sightings::of(&planned(&facts), &facts, &[]), false);
    assert_eq!(before, []);
    Arc::make_mut(&mut facts.neighbours).clear();
    assert_ne!(question(&facts).id, asked.id);
    let entries = told.take(Sightings::of(&planned(&facts), &facts, &[]), true);
    assert!(
        matches!(
            &entries[..],
            [Entry::Canary { answer: CanaryAnswer::Given, tries, .. }] if !tries.is_empty()
        ),
        "{entries:?}"
    );
}

#[test]
fn an_exception_is_told_of_when_it_is_granted_and_when_it_is_granted_anew() {
    let granted = |expires: &str, approver: &str| {
        fixture::tr_with(&format!(
            "{{spec: {{residency: {{exceptions: [{{channel: '39', reason: a, approvedBy: '{approver}', \
             expires: '{expires}'}}]}}}}}}"
        ))
    };
    let row = |state| {
        [ChannelStatus {
            id: "39".to_owned(),
            state,
            evidence: String::new(),
            finding: None,
        }]
    };
    let facts = around();
    let mut told = Told::default();
    let mut look = |region: &Region, state| {
        let plan = plan(region, &platform(), &facts).unwrap();
        told.take(Sightings::of(&plan, &facts, &row(state)), false)
            .iter()
            .map(|entry| match entry {
                Entry::ExceptionGranted {
                    channel,
                    approver,
                    expires,
                } => format!("{} {approver} {expires}", u8::from(*channel)),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let first = granted("2027-01-31T00:00:00Z", "dpo@example.org");
    assert_eq!(
        look(&first, ChannelState::Unknown),
        Vec::<String>::new(),
        "it does not count"
    );
    assert_eq!(
        look(&first, ChannelState::Exception),
        ["39 dpo@example.org 2027-01-31T00:00:00Z"]
    );
    assert_eq!(look(&first, ChannelState::Exception), Vec::<String>::new());
    // Longer, and by somebody whose name is a sentence.
    let anew = granted("2027-02-28T00:00:00Z", "the one in the corner office");
    assert_eq!(
        look(&anew, ChannelState::Exception),
        ["39 spec.residency.exceptions 2027-02-28T00:00:00Z"]
    );
}

fn anchored() -> EvidenceStatus {
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let anchor = Anchor {
        sequence: 1,
        hash: Hash::NONE,
    };
    anchor.status(key.public().id())
}

fn with_member(facts: &mut Facts, node: &str) {
    facts.pods.live.insert(
        "tr-pg-0".to_owned(),
        PodFact {
            node: Some(node.to_owned()),
            fence: fixture::fenced(),
            ..PodFact::default()
        },
    );
}

/// Each entry in a few words.
fn words(entries: &[Entry]) -> BTreeSet<String> {
    let none = || "-".to_owned();
    entries
        .iter()
        .map(|entry| match entry {
            Entry::Placement {
                object,
                node,
                location,
                admitted,
            } => format!(
                "{} {} on {} in {} {}",
                object.kind,
                object.name,
                node.as_ref().map_or_else(none, ToString::to_string),
                location.as_ref().map_or_else(none, ToString::to_string),
                if *admitted { "right" } else { "wrong" }
            ),
            Entry::Violation {
                channel,
                reason,
                object,
                field,
            } => format!(
                "{reason:?} {} {} by {}",
                object.name,
                field.as_ref().map_or_else(none, ToString::to_string),
                channel.map_or_else(none, |channel| u8::from(channel).to_string()),
            ),
            other => other.kind().to_owned(),
        })
        .collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_place_is_told_of_when_it_is_first_seen_and_when_it_changes() {
    let mut facts = around();
    facts
        .nodes
        .entry("tr-1".to_owned())
        .or_default()
        .insert(NODE_HOSTNAME.to_owned(), "tr-1".to_owned());
    let mut told = Told::default();
    let mut look =
        |facts: &Facts| words(&told.take(Sightings::of(&planned(facts), facts, &[]), false));
    assert_eq!(look(&facts), set(&[]));
    with_member(&mut facts, "tr-1");
    let volume = |labels: &[(&str, &str)]| VolumeFact {
        namespace: "tr".to_owned(),
        claim: "data-tr-pg-0".to_owned(),
        retained: true,
        alternatives: vec![
            labels
                .iter()
                .map(|(label, value)| ((*label).to_owned(), BTreeSet::from([(*value).to_owned()])))
                .collect(),
        ],
    };
    facts
        .volumes
        .insert("pv-1".to_owned(), volume(&[(NODE_HOSTNAME, "tr-1")]));
    assert_eq!(
        look(&facts),
        set(&[
            "Pod tr-pg-0 on tr-1 in tr-ist-1 right",
            "PersistentVolume pv-1 on tr-1 in tr-ist-1 right",
        ])
    );
    assert_eq!(look(&facts), set(&[]), "nothing changed");

    // A new volume, and a relabelled node.
    facts
        .volumes
        .insert("pv-2".to_owned(), volume(&[(NODE_REGION, "tr-ist-1")]));
    assert_eq!(
        look(&facts),
        set(&["PersistentVolume pv-2 on - in tr-ist-1 right"])
    );
    with_member(&mut facts, "es-1");
    assert_eq!(
        look(&facts),
        set(&[
            "Pod tr-pg-0 on es-1 in es-mad-1 wrong",
            "OutsideJurisdiction tr-pg-0 spec.nodeName by 12",
        ])
    );
    assert_eq!(look(&facts), set(&[]));
    // Of a node without a label nothing is known; that is no violation.
    facts.nodes.get_mut("es-1").unwrap().clear();
    assert_eq!(look(&facts), set(&["Pod tr-pg-0 on es-1 in - wrong"]));
    with_member(&mut facts, "tr-1");
    assert_eq!(
        look(&facts),
        set(&["Pod tr-pg-0 on tr-1 in tr-ist-1 right"])
    );

    // Whose pods are not ours, the inventory knows; while it cannot be read, nothing is taken for gone.
    let foreign = NamespacePod {
        node: Some("tr-1".to_owned()),
        ..NamespacePod::default()
    };
    let mut inventory = Inventory::default();
    inventory.pods.insert("tr/stranger".to_owned(), foreign);
    facts.inventory = Observed::Seen(inventory.clone());
    let stranger = set(&["Pod stranger on tr-1 in tr-ist-1 right"]);
    assert_eq!(look(&facts), stranger);
    facts.inventory = Observed::NotAsked;
    assert_eq!(look(&facts), set(&[]));
    facts.inventory = Observed::Seen(inventory);
    assert_eq!(look(&facts), set(&[]));
    // What went and came again is told of again.
    facts.inventory = Observed::Seen(Inventory::default());
    assert_eq!(look(&facts), set(&[]));
    let mut again = Inventory::default();
    again.pods.insert(
        "tr/stranger".to_owned(),
        NamespacePod {
            node: Some("tr-1".to_owned()),
            ..NamespacePod::default()
        },
    );
    facts.inventory = Observed::Seen(again);
    assert_eq!(look(&facts), stranger);
}

#[test]
fn whoever_makes_pods_does_not_flood_the_log() {
    let mut facts = around();
    let mut inventory = Inventory::default();
    for number in 0..1000 {
        let pod = NamespacePod {
            node: Some("tr-1".to_owned()),
            ..NamespacePod::default()
        };
        inventory.pods.insert(format!("tr/many-{number:04}"), pod);
    }
    facts.inventory = Observed::Seen(inventory);
    let mut told = Told::default();
    assert_eq!(
        told.take(Sightings::of(&planned(&facts), &facts, &[]), true)
            .len(),
        64
    );
    assert!(told.to_status().len() <= 96 * 16);
}

#[test]
fn a_refusal_is_told_of_once_and_again_when_it_comes_back() {
    let violation = |reason| Violation::new("spec.network.external[0].location", reason, "said");
    let mut told = Told::default();
    let mut facts = around();
    with_member(&mut facts, "tr-1");
    let applied = Sightings::of(&planned(&facts), &facts, &[]);
    assert_eq!(told.take(applied, false).len(), 1);
    let refused = |told: &mut Told, reasons: &[Reason]| {
        let violations: Vec<_> = reasons.iter().map(|reason| violation(*reason)).collect();
        words(&told.take(Sightings::of_refusal("tr", &violations), false))
    };
    let outside = "OutsideJurisdiction tr spec.network.external[0].location by -";
    let missing = "NotFound tr spec.network.external[0].location by -";
    assert_eq!(
        refused(&mut told, &[Reason::OutsideJurisdiction]),
        set(&[outside])
    );
    assert_eq!(refused(&mut told, &[Reason::OutsideJurisdiction]), set(&[]));
    assert_eq!(refused(&mut told, &[Reason::NotFound]), set(&[missing]));
    assert_eq!(
        refused(&mut told, &[Reason::OutsideJurisdiction]),
        set(&[outside])
    );
    // Accepted again: the places are known, and the next refusal is a new one.
    let applied = Sightings::of(&planned(&facts), &facts, &[]);
    assert_eq!(told.take(applied, false), []);
    assert_eq!(
        refused(&mut told, &[Reason::OutsideJurisdiction]),
        set(&[outside])
    );
}

#[test]
fn the_longest_record_fits_an_object() {
    let longest = bailiwick_model::evidence::entry::Name::new("n".repeat(253)).unwrap();
    let entry = Entry::Canary {
        run: longest.clone(),
        guise: Guise::Postgres,
        node: Some(longest),
        ended: Some(NOW),
        answer: CanaryAnswer::Outdated,
        tries: vec![
            CanaryTry {
                target: Class::OtherRegionService,
                expected: Reach::Blocked,
                result: Some(Reach::Blocked),
            };
            bailiwick_model::canary::question::MOST_TARGETS * Class::ALL.len()
        ],
    };
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let record = Record::after(None, &"r".repeat(30), NOW, entry);
    let bytes = record.sign(&key).unwrap().bytes;
    assert!(bytes.len() < 9 << 10, "{}", bytes.len());
    assert!(bytes.len() < OBJECT_LIMIT);
    assert_eq!(Record::read(&bytes).unwrap().0, record);
}
