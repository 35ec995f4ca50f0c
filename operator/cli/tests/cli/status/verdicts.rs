//! The verdict on Regions that are good, broken, stale or in transition.

use bailiwick_cli::condition::Section;
use bailiwick_cli::report::{Mark, Verdict, report};

use super::{page, verdict};
use crate::fixture::{broken, excepted, good, now, set, stale, status};

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
