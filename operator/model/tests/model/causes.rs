//! What failed is told with its cause: each kind of cause, of each thing that is read, recorded or done, stands in a
//! condition or a channel's row. Values only.

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::repository::Marker;
use bailiwick_model::facts::store::{BucketFact, StoreFacts};
use bailiwick_model::facts::{Facts, Observed, PodFact, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, Names};
use bailiwick_model::outcome::{Applied, Outcome};
use bailiwick_model::policy;
use bailiwick_model::status::{Recording, evidence_recorded, status};
use jiff::Timestamp;

use crate::fixture;

/// A cause of each kind that the controller tells.
const CAUSES: [&str; 8] = [
    "SQLSTATE 57P03",
    "SlowDown, HTTP 503",
    "tr-pg-0 /cluster: HTTP 503",
    "ECONNREFUSED",
    "TLS UnknownIssuer",
    "DNS: the name does not resolve",
    "JSON Data at line 2, column 8",
    "Secret tr-s3-root: secret-key is missing",
];

fn member(role: MemberRole) -> MemberFact {
    MemberFact {
        role,
        state: "running".to_owned(),
        timeline: Some(1),
        lag_bytes: Some(0),
        pending_restart: false,
        pending_settings: [].into(),
    }
}

/// All members running, and everything read.
fn healthy(region: &Region) -> Facts {
    let names = Names::of(region);
    let pods: Vec<(String, String, PodFact)> = (0..region.spec.postgres.instances)
        .map(|ordinal| {
            (
                names.namespace(),
                names.postgres_member(ordinal),
                PodFact::default(),
            )
        })
        .collect();
    let members = (0..region.spec.postgres.instances).map(|ordinal| {
        let role = if ordinal == 0 {
            MemberRole::Primary
        } else {
            MemberRole::SyncStandby
        };
        (names.postgres_member(ordinal), member(role))
    });
    Facts {
        patroni: Observed::Seen(PatroniFacts {
            members: members.collect(),
            ..PatroniFacts::default()
        }),
        postgres: Observed::Seen(PostgresFacts::default()),
        store: Observed::Seen(StoreFacts {
            users_listed: true,
            marker: Observed::Seen(Marker::Ours),
            region: region.spec.residency.location.clone(),
            encrypts: true,
            buckets: [(BACKUP_BUCKET.to_owned(), BucketFact::default())].into(),
            ..StoreFacts::default()
        }),
        admission: policy::names().map(str::to_owned).collect(),
        pods: bailiwick_model::facts::ByNamespace::new(&names.namespace(), pods),
        ..fixture::facts(region)
    }
}

fn told(
    region: &Region,
    facts: &Facts,
    failed: &[(String, ReadFailure, Option<String>)],
) -> RegionStatus {
    let plan = fixture::planned(region);
    let applied = Applied {
        failed_steps: failed,
        ..fixture::applied(&plan, facts)
    };
    status(region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH)
}

fn message(status: &RegionStatus, type_: &str) -> String {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == type_);
    found.expect("the condition is set").message.clone()
}

/// What the channels' rows say, one a line.
fn rows(status: &RegionStatus) -> String {
    let residency = status.residency.as_ref().expect("it is judged");
    let rows = residency.channels.iter().map(|row| row.evidence.as_str());
    rows.collect::<Vec<_>>().join("\n")
}

fn store(facts: &mut Facts) -> &mut StoreFacts {
    match &mut facts.store {
        Observed::Seen(seen) => seen,
        other => panic!("{other:?}"),
    }
}

/// Where the cause of what could not be read stands.
type Told = fn(&RegionStatus) -> String;
/// What makes a read fail.
type Fails = fn(&mut Facts, Unread);
/// What befalls a member.
type Befalls = fn(&mut Facts, &str);

#[test]
fn each_kind_of_cause_stands_where_each_kind_of_failure_is_told() {
    let region = fixture::tr();
    let reads: [(&str, Fails, Told); 6] = [
        (
            "Patroni",
            |facts, unread| facts.patroni = Observed::Failed(unread),
            |status| message(status, "PostgresAvailable"),
        ),
        (
            "SQL",
            |facts, unread| facts.postgres = Observed::Failed(unread),
            |status| message(status, "PostgresAvailable"),
        ),
        (
            "the object store",
            |facts, unread| facts.store = Observed::Failed(unread),
            |status| message(status, "ObjectStoreAvailable"),
        ),
        (
            "the inventory",
            |facts, unread| facts.inventory = Observed::Failed(unread),
            rows,
        ),
        (
            "the repository's marker",
            |facts, unread| store(facts).marker = Observed::Failed(unread),
            rows,
        ),
        (
            "the newest WAL",
            |facts, unread| facts.archived = Observed::Failed(unread),
            rows,
        ),
    ];
    let mut count = 0;
    for cause in CAUSES {
        let unread = || Unread {
            failure: ReadFailure::NotReady,
            cause: Some(cause.to_owned()),
        };
        for (what, fails, tells) in &reads {
            let mut facts = healthy(&region);
            fails(&mut facts, unread());
            let status = told(&region, &facts, &[]);
            let said = tells(&status);
            assert!(said.contains(cause), "{what}: {said:?} without {cause}");
            count += 1;
        }
        let failed = [(
            "postgres: create role app".to_owned(),
            ReadFailure::NotReady,
            Some(cause.to_owned()),
        )];
        let mut status = told(&region, &healthy(&region), &failed);
        assert!(message(&status, "Degraded").contains(cause));
        let recording = Recording::Failed(unread());
        evidence_recorded(&mut status, Some(1), recording, Timestamp::UNIX_EPOCH);
        assert!(message(&status, "EvidenceRecorded").contains(cause));
        count += 2;
    }
    assert_eq!(count, CAUSES.len() * 8);
}

/// A member whose Patroni says this of it.
fn says(facts: &mut Facts, name: &str, state: &str) {
    if let Observed::Seen(patroni) = &mut facts.patroni {
        let mut member = member(MemberRole::Replica);
        state.clone_into(&mut member.state);
        patroni.members.insert(name.to_owned(), member);
    }
}

#[test]
fn each_member_that_does_not_run_is_named_with_its_reason() {
    let region = fixture::tr();
    let missing = Names::of(&region).postgres_member(1);
    let table: [(Befalls, &str); 8] = [
        (
            |facts, name| drop(facts.pods.live.remove(name)),
            "no pod runs it yet",
        ),
        (|_, _| {}, "no pod runs it yet"),
        (
            |facts, name| {
                let ready = PodFact {
                    ready: true,
                    ..PodFact::default()
                };
                facts.pods.live.insert(name.to_owned(), ready);
            },
            "its pod is ready, and Patroni in it does not answer the operator or says that it does not run yet",
        ),
        (
            |facts, name| trouble(facts, name, "Unschedulable"),
            "Unschedulable",
        ),
        (
            |facts, name| {
                let why = "container postgres: CrashLoopBackOff after Error (exit code 1)";
                trouble(facts, name, why);
            },
            "container postgres: CrashLoopBackOff after Error (exit code 1)",
        ),
        (
            |facts, name| says(facts, name, "start failed"),
            "Patroni says \"start failed\"",
        ),
        (
            |facts, name| says(facts, name, "creating replica"),
            "its Patroni answers, and Postgres in it does not run yet",
        ),
        (
            |facts, name| says(facts, name, "stopped"),
            "its Patroni answers, and Postgres in it does not run yet",
        ),
    ];
    for (breaks, why) in table {
        let mut facts = healthy(&region);
        // What drifted there is told of first.
        facts.store = Observed::NotAsked;
        if let Observed::Seen(patroni) = &mut facts.patroni {
            patroni.members.remove(&missing);
        }
        breaks(&mut facts, &missing);
        let status = told(&region, &facts, &[]);
        let wanted = region.spec.postgres.instances;
        assert_eq!(
            message(&status, "Degraded"),
            format!("{} of {wanted} members run: {missing}: {why}.", wanted - 1)
        );
    }
}

#[test]
fn a_member_that_does_not_answer_may_lead() {
    let region = fixture::tr();
    let mut facts = healthy(&region);
    let silent = Names::of(&region).postgres_member(0);
    if let Observed::Seen(patroni) = &mut facts.patroni {
        for (name, state) in [
            (silent.clone(), "unreachable"),
            (Names::of(&region).postgres_member(1), "streaming"),
        ] {
            let mut fact = member(MemberRole::Replica);
            fact.state = state.to_owned();
            patroni.members.insert(name, fact);
        }
    }
    facts.postgres = Observed::NotAsked;
    let status = told(&region, &facts, &[]);
    let said = message(&status, "PostgresAvailable");
    assert!(
        said.contains(&format!("does not answer: {silent}.")),
        "{said}"
    );
}

fn trouble(facts: &mut Facts, name: &str, why: &str) {
    if let Some(pod) = facts.pods.live.get_mut(name) {
        pod.trouble = Some(why.to_owned());
    }
}
