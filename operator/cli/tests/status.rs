//! `status` of Regions that are good, broken, stale, refused or in transition: verdicts, sections and next actions, and
//! the tree of objects. No cluster.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use bailiwick_cli::children::Child;
use bailiwick_cli::commands::{self, Format, Style};
use bailiwick_cli::condition::{CONDITIONS, Section};
use bailiwick_cli::report::{Mark, Verdict, report};
use bailiwick_cli::text::Palette;
use bailiwick_model::region::Region;
use fixture::{broken, excepted, good, now, set, stale, status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

fn style(format: Format) -> Style {
    Style {
        format,
        palette: Palette::Plain,
    }
}

fn page(region: &Region, children: Vec<Child>, not_shown: Vec<String>) -> String {
    let mut out = Vec::new();
    commands::status::write_one(
        region,
        (children, not_shown),
        now(),
        style(Format::Table),
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

fn verdict(region: &Region) -> (Verdict, String) {
    let report = report(region, now());
    (report.verdict, report.because)
}

#[test]
fn a_good_region() {
    assert_eq!(
        page(&good(), Vec::new(), Vec::new()),
        "\
Region     tr
Place      TR, tr-ist-1; copies in tr-ist-1
Assurance  Simulated; the spec asks for Simulated
Checked    2m ago, at 2026-11-21T11:58:00Z
Verdict    Good: clients can use it, and every demanded channel is closed or answered for.

SECTION       STATE  SUMMARY
Spec          Ok     accepted, generation 3
Residency     Ok     42 channels closed, 4 not demanded at Simulated
Network       Ok     Held: The boundary held when it was last tried
Postgres      Ok     primary tr-pg-0, 2 members
ObjectStore   Ok     1 server ready at https://tr-s3.tr.svc:9000
Archive       Ok     restorable to 5m ago, full backup 10h ago
Certificates  Ok     the first expires in 30d
Operation     Ok     Whole: Every member and server does its work
"
    );
}

#[test]
fn a_region_that_is_being_deleted_says_what_keeps_it() {
    let mut region = good();
    let time = serde_json::from_value(serde_json::json!("2026-11-21T11:00:00Z")).unwrap();
    region.metadata.deletion_timestamp = Some(time);
    assert_eq!(
        verdict(&region),
        (
            Verdict::Deleting,
            "it is being deleted; its volumes, Secrets and buckets stay".to_owned()
        )
    );
    let message = "Pod tr/tr-pg-0 has not ended: kubectl -n tr describe pod tr-pg-0.";
    let blocked = serde_json::from_value(serde_json::json!({
        "type": "DeletionBlocked", "status": "True", "reason": "PodNotEnding", "message": message,
        "lastTransitionTime": "2026-11-21T11:05:00Z",
    }));
    status(&mut region).conditions.push(blocked.unwrap());
    let page = page(&region, Vec::new(), Vec::new());
    assert!(
        page.contains("\nVerdict    Deleting: Pod tr/tr-pg-0 has not ended"),
        "{page}"
    );
    assert!(
        page.contains(&format!("  next  DeletionBlocked: {message}\n")),
        "{page}"
    );
}

#[test]
fn a_broken_region_says_what_to_do() {
    let mut region = broken();
    set(
        &mut region,
        "PendingRestart",
        "True",
        "SettingsChanged",
        "shared_buffers: in force once 2 members have restarted, replicas first.",
    );
    let page = page(&region, Vec::new(), Vec::new());
    assert!(
        page.contains("\nVerdict    NotEnforced: found open: channel 8.\n"),
        "{page}"
    );
    assert!(page.contains(
        "\
Residency     Bad    ResidencyEnforced False, ChannelOpen: Channel 8: cluster DNS forwards a name outside; configure it as the runbook says
  next  ResidencyEnforced: kubectl bailiwick residency audit tr (see docs/runbooks/residency-enforced.md)
Network       Ok "
    ), "{page}");
    assert!(
        page.contains("  next  PendingRestart: wait for the rolling restart"),
        "{page}"
    );
}

#[test]
fn a_dead_operator_leaves_no_green_behind() {
    let report = report(&stale(), now());
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(
        report.because.starts_with("nobody has looked since"),
        "{}",
        report.because
    );
    assert_eq!(
        (report.ready, report.residency),
        (Mark::Unknown, Mark::Unknown)
    );
    assert!(
        report
            .sections
            .iter()
            .all(|part| part.state == Mark::Unknown)
    );
    assert!(report.sections.iter().all(|part| {
        part.next
            .iter()
            .all(|next| next.action.starts_with("see that the operator runs"))
    }));
    let mut older = good();
    older.metadata.generation = Some(4);
    let (verdict, because) = verdict(&older);
    assert_eq!(verdict, Verdict::Unknown);
    assert_eq!(
        because,
        "the status speaks of generation 3 of the spec, which is at 4"
    );
    let page = page(&stale(), Vec::new(), Vec::new());
    assert!(!page.contains(" Ok "), "{page}");
}

#[test]
fn bad_news_does_not_fade() {
    let mut region = stale();
    set(
        &mut region,
        "PostgresAvailable",
        "False",
        "NoPrimary",
        "No member is a running primary; Patroni will elect one.",
    );
    let report = report(&region, now());
    let postgres = report
        .sections
        .iter()
        .find(|part| part.section == Section::Postgres)
        .unwrap();
    assert_eq!(postgres.state, Mark::Bad);
    assert!(postgres.summary.ends_with("it was PostgresAvailable False, NoPrimary: No member is a running primary; Patroni will elect one"), "{}", postgres.summary);
}

#[test]
fn verdicts() {
    assert_eq!(verdict(&good()).0, Verdict::Good);
    assert_eq!(verdict(&excepted("2026-12-01T00:00:00Z")).0, Verdict::Good);
    assert_eq!(
        verdict(&excepted("2026-11-01T00:00:00Z")).0,
        Verdict::NotEnforced
    );

    let mut region = good();
    set(
        &mut region,
        "Degraded",
        "True",
        "MembersMissing",
        "1 of 2 members run.",
    );
    assert_eq!(
        verdict(&region),
        (
            Verdict::Degraded,
            "clients can use it and its residency is enforced, but Degraded is not as it should be: MembersMissing: 1 of 2 members run".to_owned()
        )
    );
    set(
        &mut region,
        "Ready",
        "False",
        "PostgresUnavailable",
        "See condition PostgresAvailable.",
    );
    assert_eq!(verdict(&region).0, Verdict::NotReady);
    set(
        &mut region,
        "Hibernated",
        "True",
        "Hibernated",
        "All pods are stopped; volumes stay.",
    );
    assert_eq!(verdict(&region).0, Verdict::Hibernated);
    set(
        &mut region,
        "Accepted",
        "False",
        "Invalid",
        "spec.a: b\nspec.c: d",
    );
    assert_eq!(verdict(&region).0, Verdict::Refused);

    let mut region = good();
    set(
        &mut region,
        "ResidencyEnforced",
        "Unknown",
        "NotVerified",
        "Nothing is known of channel 8.",
    );
    assert_eq!(verdict(&region).0, Verdict::Unknown);
    let mut region = good();
    set(
        &mut region,
        "Progressing",
        "True",
        "StepsDue",
        "Changes are being made.",
    );
    assert_eq!(verdict(&region).0, Verdict::Good);
    let mut region = good();
    status(&mut region)
        .conditions
        .retain(|condition| condition.type_ != "Ready");
    assert_eq!(
        verdict(&region),
        (Verdict::Unknown, "condition Ready is missing".to_owned())
    );
    let mut region = good();
    region.status = None;
    assert_eq!(verdict(&region).0, Verdict::Unknown);
}

#[test]
fn what_sleeps_needs_nothing_but_waking() {
    let mut region = good();
    set(
        &mut region,
        "Hibernated",
        "True",
        "Hibernated",
        "All pods are stopped; volumes stay.",
    );
    for type_ in ["Ready", "PostgresAvailable", "ObjectStoreAvailable"] {
        set(
            &mut region,
            type_,
            "False",
            "Hibernated",
            "It is stopped on purpose.",
        );
    }
    let report = report(&region, now());
    assert_eq!(report.verdict, Verdict::Hibernated);
    assert!(
        report.sections.iter().all(|part| part.state <= Mark::Busy),
        "{report:?}"
    );
    let next: Vec<&str> = report
        .sections
        .iter()
        .flat_map(|part| &part.next)
        .map(|next| next.condition.as_str())
        .collect();
    assert_eq!(next, ["Hibernated"]);
}

#[test]
fn each_condition_that_is_wrong_has_a_next_action_in_its_section() {
    for expected in CONDITIONS {
        let mut region = good();
        let wrong = if fixture::condition(&mut region, expected.type_).status == "True" {
            "False"
        } else {
            "True"
        };
        set(
            &mut region,
            expected.type_,
            wrong,
            "Broken",
            "It is broken.",
        );
        let report = report(&region, now());
        let part = report
            .sections
            .iter()
            .find(|part| part.section == expected.section)
            .unwrap();
        assert!(part.state != Mark::Ok, "{}", expected.type_);
        assert!(
            part.next.iter().any(|next| next.condition == expected.type_
                && next.action.contains(expected.runbook)
                && !next.action.contains("{}")),
            "{}: {:?}",
            expected.type_,
            part.next
        );
        let others = report
            .sections
            .iter()
            .filter(|part| part.section != expected.section);
        assert!(
            others.into_iter().all(|part| part.next.is_empty()),
            "{}",
            expected.type_
        );
    }
}

#[test]
fn runbooks_exist_and_name_their_condition() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for expected in CONDITIONS {
        let text = std::fs::read_to_string(root.join(expected.runbook)).expect(expected.runbook);
        assert!(
            text.contains(expected.type_),
            "{} does not speak of {}",
            expected.runbook,
            expected.type_
        );
    }
}

#[test]
fn every_condition_of_the_operator_is_expected() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/src/status.rs");
    let source = std::fs::read_to_string(source).unwrap();
    // `conditions.set("Ready", …)`, and the list of pairs in `judge`.
    let words = source.split('"').skip(1).step_by(2);
    let known: Vec<&str> = words
        .filter(|word| CONDITIONS.iter().any(|expected| expected.type_ == *word))
        .collect();
    for expected in CONDITIONS {
        assert!(
            known.contains(&expected.type_),
            "the operator sets no {}",
            expected.type_
        );
    }
    let judge = source
        .split_once("for (type_, verdict) in [")
        .unwrap()
        .1
        .split_once("] {")
        .unwrap()
        .0;
    let judged: Vec<&str> = judge
        .split("(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(judged.len() >= 15, "{judged:?}");
    for type_ in judged {
        assert!(
            CONDITIONS.iter().any(|expected| expected.type_ == type_),
            "nothing is expected of {type_}"
        );
    }
}

fn child(kind: &str, name: &str, owner: Option<(&str, &str)>) -> Child {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("tr".to_owned()),
        labels: (name == "tr-pg-0").then(|| [("role".to_owned(), "primary".to_owned())].into()),
        owner_references: owner.map(|(kind, name)| {
            vec![OwnerReference {
                kind: kind.to_owned(),
                name: name.to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]
        }),
        ..ObjectMeta::default()
    };
    Child::of(kind, &metadata, good().status.as_ref()).unwrap()
}

#[test]
fn objects_are_a_tree() {
    let children = vec![
        child("Pod", "tr-pg-1", Some(("StatefulSet", "tr-pg"))),
        child("Pod", "tr-pg-0", Some(("StatefulSet", "tr-pg"))),
        child("Job", "tr-canary-1", Some(("CronJob", "tr-canary"))),
        child("Pod", "tr-canary-1-x", Some(("Job", "tr-canary-1"))),
        child("CronJob", "tr-canary", None),
        child("StatefulSet", "tr-pg", Some(("Region", "tr"))),
        child("Pod", "stray", Some(("Job", "gone"))),
    ];
    let page = page(
        &good(),
        children,
        vec!["pods in namespace tr-drill: Forbidden".to_owned()],
    );
    let tree = page.split_once("\n\nRegion tr\n").unwrap().1;
    assert_eq!(
        tree,
        "  Namespace tr
    CronJob tr-canary
      Job tr-canary-1
        Pod tr-canary-1-x
    Pod stray
    StatefulSet tr-pg
      Pod tr-pg-0  primary, running, on tr-1 in tr-ist-1
      Pod tr-pg-1  streaming, on tr-2 in tr-ist-1
  not shown: pods in namespace tr-drill: Forbidden
"
    );
}

#[test]
fn a_line_for_each() {
    let (mut out, mut hints) = (Vec::new(), Vec::new());
    commands::status::write_all(
        &[good(), stale()],
        now(),
        style(Format::Table),
        &mut out,
        &mut hints,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
REGION  LOCATION  ASSURANCE  VERDICT  READY    RESIDENCY  CHECKED  BECAUSE
tr      tr-ist-1  Simulated  Good     Ok       Ok         2m       clients can use it, and every demanded channel is closed or answered for
tr      tr-ist-1  Simulated  Unknown  Unknown  Unknown    40m      nobody has looked since 2026-11-21T11:20:00Z, 40m ago, and every 5m is expected
"
    );
    assert!(String::from_utf8(hints).unwrap().starts_with("Next: "));
}

#[test]
fn json_and_yaml_say_the_same() {
    let written = |format| {
        let mut out = Vec::new();
        commands::status::write_one(
            &broken(),
            (vec![child("StatefulSet", "tr-pg", None)], Vec::new()),
            now(),
            style(format),
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
    let yaml: serde_json::Value = serde_yaml::from_str(&written(Format::Yaml)).unwrap();
    assert_eq!(json, yaml);
    let region = &json["regions"][0];
    assert_eq!(region["verdict"], "NotEnforced");
    assert_eq!(region["children"][0]["name"], "tr-pg");
    assert_eq!(
        region["sections"][1]["next"][0]["condition"],
        "ResidencyEnforced"
    );
}
