//! A restore drill's objects have the names of the live ones, in a namespace of their own. In go the facts of a Region
//! with and without them; out comes what is judged of the live ones, which is the same, and of all, which is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_api::violation::Reason;
use bailiwick_model::canary::question::{Answer, Class};
use bailiwick_model::canary::{questions, targets, verdict};
use bailiwick_model::evidence::entry::{Entry, ObjectRef};
use bailiwick_model::evidence::sightings::{Sightings, Told};
use bailiwick_model::facts::{
    ByNamespace, ClaimFact, Facts, FenceFact, Neighbour, NeighbourPod, PodFact, StatefulSetFact,
};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::{LABEL_NAME, LABEL_TASK, Names};
use bailiwick_model::outcome::Outcome;
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use bailiwick_model::status::status;
use bailiwick_model::{fence, patroni, scale};
use jiff::Timestamp;

use crate::fixture::{self, facts_of_running, fenced, identity, passed, platform, tr};

const GIB: u64 = 1 << 30;
const STANZA_JOB: &str = "tr-pg-stanza-i1";

type Rows<F> = Vec<(String, String, F)>;

fn row<F>(namespace: &str, name: &str, fact: F) -> (String, String, F) {
    (namespace.to_owned(), name.to_owned(), fact)
}

fn claim(bytes: u64) -> ClaimFact {
    let mut labels = identity(&tr());
    labels.insert(LABEL_NAME.to_owned(), "postgres".to_owned());
    ClaimFact {
        uid: format!("of {bytes} bytes"),
        labels,
        class: Some("tr-ist-1-local".to_owned()),
        requested: Some(bytes),
        capacity: Some(bytes),
        ..ClaimFact::default()
    }
}

/// Two members that run, and nothing else.
fn live() -> (Rows<PodFact>, Rows<ClaimFact>) {
    let member = PodFact {
        node: Some("tr-1".to_owned()),
        ready: true,
        revision: Some("new".to_owned()),
        fence: fenced(),
        ..PodFact::default()
    };
    (
        vec![
            row("tr", "tr-pg-0", member.clone()),
            row("tr", "tr-pg-1", member),
        ],
        vec![
            row("tr", "data-tr-pg-0", claim(GIB)),
            row("tr", "data-tr-pg-1", claim(GIB)),
        ],
    )
}

/// What a drill of many members has, in some namespace: smaller, older and in trouble.
fn drill(namespace: &str) -> (Rows<PodFact>, Rows<ClaimFact>) {
    let member = |fence| PodFact {
        uid: "of the drill".to_owned(),
        node: Some("tr-1".to_owned()),
        trouble: Some("container postgres: CrashLoopBackOff".to_owned()),
        revision: Some("old".to_owned()),
        fence,
        ..PodFact::default()
    };
    let held = FenceFact::Holds {
        failures: 3,
        report: None,
    };
    let ended = |label: (&str, &str), message: &str| PodFact {
        labels: [(label.0.to_owned(), label.1.to_owned())].into(),
        termination_message: Some(message.to_owned()),
        ended: Some(Timestamp::UNIX_EPOCH),
        fence: passed(fence::Outcome::Fenced, Some(40_000)),
        ..PodFact::default()
    };
    let answer = serde_json::to_string(&Answer {
        question: "of another".to_owned(),
        outcomes: Vec::new(),
    })
    .unwrap();
    let pods = vec![
        row(namespace, "tr-pg-0", member(FenceFact::Missing)),
        row(namespace, "tr-pg-1", member(held)),
        row(namespace, "tr-pg-3", member(fenced())),
        row(
            namespace,
            "tr-canary-1",
            ended((LABEL_TASK, Guise::Plain.label()), &answer),
        ),
        row(
            namespace,
            "tr-pg-stanza-i1-x",
            ended(
                ("batch.kubernetes.io/job-name", STANZA_JOB),
                r#"{"state": "Failed"}"#,
            ),
        ),
    ];
    let claims = (0..4)
        .map(|ordinal| row(namespace, &format!("data-tr-pg-{ordinal}"), claim(GIB / 2)))
        .collect();
    (pods, claims)
}

/// The facts of `tr` with these, the later in the place of the earlier of the same name and namespace.
fn with(parts: impl IntoIterator<Item = (Rows<PodFact>, Rows<ClaimFact>)>) -> Facts {
    let mut facts = facts_of_running(&tr());
    let (pods, claims): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    facts.pods = ByNamespace::new("tr", pods.into_iter().flatten());
    facts.claims = ByNamespace::new("tr", claims.into_iter().flatten());
    for class in facts.storage_classes.values_mut() {
        class.expands = true;
    }
    facts
}

/// With a StatefulSet of two.
fn with_set(mut facts: Facts) -> Facts {
    let set = StatefulSetFact {
        observed: true,
        replicas: 2,
        ready: 2,
        update_revision: Some("new".to_owned()),
        fenced: true,
        marks_claims: true,
        volume_size: Some("1Gi".to_owned()),
    };
    facts.stateful_sets.insert("tr-pg".to_owned(), set);
    facts
}

fn planned(facts: &Facts) -> Plan {
    plan(&tr(), &platform(), facts).expect("the Region is accepted")
}

type Judged = fn(&Plan, &Facts) -> String;

/// What is judged of the live members, volumes, Jobs and canaries alone.
const OF_THE_LIVE: [(&str, Judged); 11] = [
    ("how many members there are", |plan, facts| {
        scale::present(&plan.names, &plan.spec, facts).to_string()
    }),
    ("who leaves", |plan, _| format!("{:?}", plan.members)),
    ("which size the volumes have", |plan, _| {
        format!("{:?}", plan.postgres_volume)
    }),
    ("which volumes grow", |plan, facts| {
        format!("{:?}", bailiwick_model::growth::growths(plan, facts))
    }),
    ("which members are replaced", |plan, facts| {
        format!("{:?}", patroni::steps(plan, facts))
    }),
    ("what a Job left", |_, facts| {
        format!("{:?}", patroni::job_result(facts, STANZA_JOB))
    }),
    ("what a canary answered", |_, facts| {
        format!("{:?}", verdict::answers(facts, Guise::Plain))
    }),
    ("how long a pod starts open", |_, facts| {
        format!("{:?}", fence::start_window(facts))
    }),
    ("whom its fence holds", |_, facts| {
        format!("{:?}", fence::held(facts, "tr-pg"))
    }),
    ("what Postgres is said to be", |plan, facts| {
        let outcome = Outcome::Applied(fixture::applied(plan, facts));
        let status = status(&tr(), &outcome, Timestamp::UNIX_EPOCH);
        let of_postgres = ["PostgresAvailable", "Progressing", "Degraded"];
        let conditions = status.conditions.iter();
        format!(
            "{:?} {:?}",
            status.postgres,
            conditions
                .filter(|condition| of_postgres.contains(&&*condition.type_))
                .collect::<Vec<_>>()
        )
    }),
    ("which volumes are stuck", |plan, facts| {
        format!(
            "{:?}",
            bailiwick_model::growth::stuck(plan, &of_fixed_size(facts))
        )
    }),
];

/// The same facts, where no volume may grow.
fn of_fixed_size(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    for class in facts.storage_classes.values_mut() {
        class.expands = false;
    }
    facts
}

#[test]
fn a_drills_namesakes_do_not_stand_in_for_the_live_ones() {
    let alone = with_set(with([live()]));
    let beside = with_set(with([live(), drill("tr-drill")]));
    let in_their_place = with_set(with([live(), drill("tr")]));
    let mut differ = BTreeSet::new();
    for (what, judged) in OF_THE_LIVE {
        let expected = judged(&planned(&alone), &alone);
        assert_eq!(judged(&planned(&beside), &beside), expected, "{what}");
        if judged(&planned(&in_their_place), &in_their_place) != expected {
            differ.insert(what);
        }
    }
    // Each would say something else if they did.
    assert_eq!(differ.len(), OF_THE_LIVE.len(), "only {differ:?}");
}

#[test]
fn a_region_takes_up_the_volumes_that_are_its_own_and_asks_no_key_for_a_drills() {
    let none = with([]);
    let of_a_drill = with([(Vec::new(), drill("tr-drill").1)]);
    let own = with([(Vec::new(), drill("tr").1)]);
    assert_eq!(planned(&none).members.replicas, 2);
    assert_eq!(planned(&of_a_drill).members.replicas, 2);
    assert_eq!(planned(&own).members.replicas, 4);

    let refused = |mut facts: Facts| -> Vec<Reason> {
        facts.secrets.clear();
        plan(&tr(), &platform(), &facts)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|violation| violation.reason)
            .collect()
    };
    assert!(refused(of_a_drill).is_empty());
    assert!(refused(own).contains(&Reason::KeyMissing));
}

#[test]
fn a_claim_of_another_jurisdiction_is_refused_and_named_wherever_it_is() {
    let mut foreign = claim(GIB);
    foreign.labels = identity(&fixture::es());
    let facts = with([(Vec::new(), vec![row("tr-drill", "data-tr-pg-0", foreign)])]);
    let violations = plan(&tr(), &platform(), &facts).expect_err("it is refused");
    assert_eq!(violations.len(), 2, "{violations:?}");
    for violation in violations {
        assert_eq!(violation.reason, Reason::ForeignVolume);
        let named = "PersistentVolumeClaim tr-drill/data-tr-pg-0";
        assert!(violation.message.contains(named), "{}", violation.message);
    }
}

#[test]
fn a_drills_pods_are_recorded_in_their_namespace() {
    let (pods, _) = drill("tr-drill");
    let facts = with([live(), (pods, Vec::new())]);
    let plan = planned(&facts);
    let entries = Told::default().take(Sightings::of(&plan, &facts, &[]), true);
    let name = |object: &ObjectRef| {
        let namespace = object.namespace.as_ref().map_or("", |it| it.as_str());
        format!("{namespace}/{}", object.name.as_str())
    };
    let placed: BTreeSet<String> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Placement { object, .. } => Some(name(object)),
            _ => None,
        })
        .collect();
    assert_eq!(
        placed.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "tr-drill/tr-pg-0",
            "tr-drill/tr-pg-1",
            "tr-drill/tr-pg-3",
            "tr/tr-pg-0",
            "tr/tr-pg-1"
        ]
    );
    let unfenced: Vec<String> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Violation {
                reason: Reason::Unfenced,
                object,
                ..
            } => Some(name(object)),
            _ => None,
        })
        .collect();
    assert_eq!(unfenced, ["tr-drill/tr-pg-0"]);
}

#[test]
fn canaries_try_a_neighbours_drill_after_its_live_pods() {
    let pod = |ip: &str| NeighbourPod {
        ip: ip.to_owned(),
        component: "postgres".to_owned(),
        ready: true,
    };
    let mut facts = with([live()]);
    let pods = ByNamespace::new(
        &Names::new("es").namespace(),
        [
            row("es-drill", "es-pg-0", pod("10.201.2.9")),
            row("es", "es-pg-0", pod("10.201.2.7")),
        ],
    );
    Arc::make_mut(&mut facts.neighbours).insert("es".to_owned(), Neighbour { pods });
    let tried: Vec<String> = targets(&planned(&facts), Guise::Plain)
        .into_iter()
        .filter(|target| target.class == Class::OtherRegionPod)
        .map(|target| target.name)
        .collect();
    assert_eq!(tried, ["es/es-pg-0", "es-drill/es-pg-0"]);

    // Its Services lead to its live pods alone.
    let neighbour = Arc::make_mut(&mut facts.neighbours)
        .get_mut("es")
        .expect("it is there");
    neighbour.pods.live.clear();
    assert!(
        !questions(&planned(&facts))[&Guise::Plain]
            .targets
            .iter()
            .any(|target| target.class == Class::OtherRegionService)
    );
}
