//! What a reconcile came to decides when the next one is, whether the status waits for it, and what the evidence log gets.
//! Values in, values out.

use std::time::Duration;

use bailiwick_api::region::{BreachedChannel, ChannelState, EvidenceStatus, Region, RegionStatus};
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_model::channel::channels;
use bailiwick_model::evidence::Entry;
use bailiwick_model::evidence::recorder::{Appended, Due, Recorder};
use bailiwick_model::facts::store::{Outlet, StoreFacts};
use bailiwick_model::facts::{Facts, Observed, ReadFailure, RefusedObject};
use bailiwick_model::outcome::Outcome;
use bailiwick_model::reconciled::{AppliedPlan, Reconciled};
use bailiwick_model::requeue::{
    Retry, STEADY_REQUEUE, STEP_REQUEUE, UNREADY_REQUEUE, after, after_error, backoff,
    defers_status, hindered_in_a_row,
};
use bailiwick_model::resync::RESYNC_PERIOD;
use bailiwick_model::status::{Recording, evidence_recorded, is_true, status};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::fixture::{applied, facts, planned, tr};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
/// A time until the metadata of Secrets is due that shortens nothing.
const LONG: SignedDuration = SignedDuration::from_secs(25);

/// A Region of which nothing is left to do.
fn done(region: &Region) -> AppliedPlan {
    AppliedPlan {
        plan: planned(region),
        facts: facts(region),
        writes: 0,
        steps: 0,
        failed: Vec::new(),
        refused: Vec::new(),
    }
}

fn reconciled(edit: impl FnOnce(&mut AppliedPlan)) -> Reconciled {
    let mut applied = done(&tr());
    edit(&mut applied);
    Reconciled::Applied(Box::new(applied))
}

fn refused_object() -> RefusedObject {
    RefusedObject {
        verb: "apply",
        kind: "Service".to_owned(),
        namespace: "tr".to_owned(),
        name: "tr-pg".to_owned(),
        cause: "HTTP 422".to_owned(),
        code: Some(422),
    }
}

fn failed_step() -> (String, ReadFailure, Option<String>) {
    (
        "postgres: create role".to_owned(),
        ReadFailure::TimedOut,
        None,
    )
}

fn violation(reason: Reason) -> Violation {
    Violation {
        field: "spec.postgres.version".to_owned(),
        reason,
        message: "18 is not supported".to_owned(),
    }
}

fn conditions(all: &[(&str, &str)]) -> Vec<Condition> {
    all.iter()
        .map(|(type_, status)| Condition {
            type_: (*type_).to_owned(),
            status: (*status).to_owned(),
            reason: "Test".to_owned(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(NOW),
        })
        .collect()
}

/// A status with these conditions.
fn ready(ready: &str, progressing: &str) -> RegionStatus {
    RegionStatus {
        conditions: conditions(&[("Ready", ready), ("Progressing", progressing)]),
        ..RegionStatus::default()
    }
}

#[test]
fn the_next_reconcile_is_as_soon_as_what_this_one_left() {
    let settled = ready("True", "False");
    let unready = ready("False", "False");
    let progressing = ready("True", "True");
    let table = [
        (reconciled(|_| {}), &settled, STEADY_REQUEUE),
        (reconciled(|_| {}), &unready, UNREADY_REQUEUE),
        (reconciled(|_| {}), &progressing, UNREADY_REQUEUE),
        (reconciled(|it| it.writes = 1), &settled, STEP_REQUEUE),
        (reconciled(|it| it.steps = 1), &settled, STEP_REQUEUE),
    ];
    assert_eq!(table.len(), 5);
    for (row, (reconciled, status, expected)) in table.into_iter().enumerate() {
        let next = after(&reconciled, status, 0, LONG);
        assert_eq!(next, expected, "row {row}");
    }
    // In time for the metadata of Secrets, and no sooner than in a second.
    for (until, expected) in [(7, 7), (0, 1), (60, 15)] {
        let until = SignedDuration::from_secs(until);
        let next = after(&reconciled(|_| {}), &settled, 0, until);
        assert_eq!(next, Duration::from_secs(expected));
    }
}

#[test]
fn what_keeps_failing_is_tried_ever_later_but_no_later_than_a_settled_region() {
    let step = || {
        reconciled(|it| {
            it.writes = 1;
            it.failed = vec![failed_step()];
        })
    };
    let object = reconciled(|it| it.facts.refused = vec![refused_object()]);
    let table = [
        (step(), 1, UNREADY_REQUEUE),
        (step(), 3, Duration::from_secs(8)),
        (step(), 9, STEADY_REQUEUE),
        (object, 3, Duration::from_secs(8)),
    ];
    assert_eq!(table.len(), 4);
    for (row, (reconciled, hindered, expected)) in table.into_iter().enumerate() {
        let next = after(&reconciled, &ready("True", "False"), hindered, LONG);
        assert_eq!(next, expected, "row {row}");
    }
}

#[test]
fn a_refused_spec_waits_for_a_resync_and_missing_rights_for_less() {
    let settled = ready("True", "False");
    let invalid = Reconciled::Refused(vec![violation(Reason::Invalid)]);
    let undelegated = Reconciled::Refused(vec![
        violation(Reason::Invalid),
        violation(Reason::NotDelegated),
    ]);
    for (refused, expected) in [(invalid, RESYNC_PERIOD), (undelegated, STEADY_REQUEUE)] {
        let next = after(&refused, &settled, 0, SignedDuration::ZERO);
        assert_eq!(next, expected);
    }
}

#[test]
fn an_error_is_tried_again_by_its_class_and_ever_later() {
    let waits: Vec<u64> = (0..12)
        .map(|failures| backoff(failures).as_secs())
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(after_error(Retry::Soon, 9), STEP_REQUEUE);
    assert_eq!(after_error(Retry::Later, 3), Duration::from_secs(8));
    assert_eq!(after_error(Retry::OnChange, 3), Duration::from_secs(30));
    assert_eq!(after_error(Retry::OnChange, 6), Duration::from_secs(64));
}

#[test]
fn what_is_hindered_is_counted_until_it_is_not() {
    let step = reconciled(|it| it.failed = vec![failed_step()]);
    let object = reconciled(|it| it.facts.refused = vec![refused_object()]);
    assert_eq!(hindered_in_a_row(&step, 0), 1);
    assert_eq!(hindered_in_a_row(&object, 4), 5);
    assert_eq!(hindered_in_a_row(&reconciled(|_| {}), 4), 0);
    assert_eq!(hindered_in_a_row(&Reconciled::Refused(Vec::new()), 4), 0);
}

/// `tr` with the status that this reconcile leads to.
fn told(applied: &AppliedPlan) -> Region {
    let mut region = tr();
    let outcome = Outcome::Applied(crate::fixture::applied(&applied.plan, &applied.facts));
    region.status = Some(status(&region, &outcome, NOW));
    region
}

#[test]
fn the_status_waits_for_the_next_reconcile_only_when_that_loses_nothing() {
    let wrote = reconciled(|it| it.writes = 1);
    let region = told(&done(&tr()));
    for deferred in 0..4 {
        assert!(defers_status(&wrote, &region, deferred), "{deferred}");
    }
    assert!(!defers_status(&wrote, &region, 4));
    let mut newer = region.clone();
    newer.metadata.generation = Some(2);
    let never_told = tr();
    let outlet = |it: &mut AppliedPlan| {
        it.writes = 1;
        it.facts.store = Observed::Seen(StoreFacts {
            users_listed: true,
            region: "tr-ist-1".to_owned(),
            outlets: [Outlet::User("mallory".to_owned())].into(),
            ..StoreFacts::default()
        });
    };
    let open = reconciled(outlet);
    let told_open = {
        let mut applied = done(&tr());
        outlet(&mut applied);
        let found = channels(&applied.plan, &applied.facts, applied.plan.assurance);
        assert!(
            !found.open.is_empty(),
            "a user that nobody made stands open"
        );
        told(&applied)
    };
    let breached = reconciled(|it| {
        it.writes = 1;
        it.plan.breach.channels.push(BreachedChannel {
            id: "1".to_owned(),
            since: NOW,
            finding: "an address outside was reached".to_owned(),
        });
    });
    let table = [
        (&wrote, &region, true),
        (&wrote, &newer, false),
        (&wrote, &never_told, false),
        (&reconciled(|_| {}), &region, false),
        (
            &reconciled(|it| {
                it.writes = 1;
                it.failed = vec![failed_step()];
            }),
            &region,
            false,
        ),
        (
            &reconciled(|it| {
                it.writes = 1;
                it.facts.refused = vec![refused_object()];
            }),
            &region,
            false,
        ),
        (&open, &region, false),
        (&open, &told_open, true),
        (&breached, &region, false),
        (&Reconciled::Refused(Vec::new()), &region, false),
    ];
    assert_eq!(table.len(), 10);
    for (row, (reconciled, region, expected)) in table.into_iter().enumerate() {
        assert_eq!(defers_status(reconciled, region, 0), expected, "row {row}");
    }
}

#[test]
fn metrics_call_a_reconcile_by_what_became_of_it() {
    let paused = reconciled(|it| it.plan.spec.lifecycle.paused = true);
    let refused = reconciled(|it| it.facts.refused = vec![refused_object()]);
    for (reconciled, expected) in [
        (Reconciled::Refused(Vec::new()), ("refused", "")),
        (refused, ("failed", "ObjectRefused")),
        (paused, ("paused", "")),
        (reconciled(|_| {}), ("applied", "")),
    ] {
        assert_eq!(reconciled.labels(), expected);
    }
}

/// A log that ends here.
fn end(sequence: i64) -> EvidenceStatus {
    EvidenceStatus {
        sequence,
        hash: "00".repeat(32),
        key_id: "11".repeat(32),
        told: String::new(),
    }
}

/// `tr` and what is seen of it while its store answers.
fn with_store() -> (Region, Facts) {
    let region = tr();
    let facts = Facts {
        now: NOW,
        store: Observed::Seen(StoreFacts {
            users_listed: true,
            region: "tr-ist-1".to_owned(),
            ..StoreFacts::default()
        }),
        ..facts(&region)
    };
    (region, facts)
}

/// A recorder whose first entries are in the log, and the Region with the status that says so.
fn recorded() -> (Recorder, Region, Facts) {
    let (mut region, facts) = with_store();
    let plan = planned(&region);
    let outcome = Outcome::Applied(applied(&plan, &facts));
    let mut next = status(&region, &outcome, NOW);
    let mut recorder = Recorder::default();
    let due = recorder.take_up(&region, &outcome, &next, NOW);
    assert_eq!(due, Due::Append { alone: false });
    assert!(!recorder.entries().is_empty());
    let recording = recorder.settle(&mut next, Appended::Whole(end(7)), false, NOW);
    assert_eq!(recording, Recording::Whole);
    evidence_recorded(&mut next, Some(1), recording, NOW);
    region.status = Some(next);
    (recorder, region, facts)
}

#[test]
fn entries_wait_for_the_store_and_are_recorded_once() {
    let (region, facts) = with_store();
    let plan = planned(&region);
    let down = Facts {
        store: Observed::NotAsked,
        ..facts
    };
    let outcome = Outcome::Applied(applied(&plan, &down));
    let next = status(&region, &outcome, NOW);
    let mut recorder = Recorder::default();
    let due = recorder.take_up(&region, &outcome, &next, NOW);
    assert_eq!(due, Due::Told(Recording::Waiting));
    let waiting = recorder.entries().to_vec();
    assert!(!waiting.is_empty());
    assert_eq!(recorder.take_up(&region, &outcome, &next, NOW), due);
    assert_eq!(recorder.entries(), waiting, "what waits is not told twice");

    let (mut recorder, region, facts) = recorded();
    assert_eq!(recorder.entries(), []);
    let known = region.status.as_ref().unwrap();
    assert!(is_true(known, "EvidenceRecorded"));
    let evidence = known.residency.as_ref().unwrap().evidence.as_ref();
    assert_eq!(evidence.map(|end| end.sequence), Some(7));
    let plan = planned(&region);
    let outcome = Outcome::Applied(applied(&plan, &facts));
    let next = status(&region, &outcome, NOW);
    let due = recorder.take_up(&region, &outcome, &next, NOW);
    assert_eq!(due, Due::Told(Recording::Whole));
}

#[test]
fn what_the_store_did_not_take_is_kept_in_order() {
    let (mut recorder, region, facts) = recorded();
    let plan = planned(&region);
    let outcome = Outcome::Applied(applied(&plan, &facts));
    let mut next = status(&region, &outcome, NOW);
    let residency = next.residency.as_mut().unwrap();
    residency.evidence.as_mut().unwrap().told = "0".repeat(15) + "1";
    for row in residency.channels.iter_mut().take(3) {
        row.state = match row.state {
            ChannelState::Audited => ChannelState::Enforced,
            _ => ChannelState::Audited,
        };
    }
    let due = recorder.take_up(&region, &outcome, &next, NOW);
    assert_eq!(due, Due::Append { alone: false });
    let all = recorder.entries().to_vec();
    assert_eq!(all.len(), 3);
    let unread = bailiwick_model::facts::Unread::from(ReadFailure::TimedOut);
    let part = Appended::Part {
        end: Some(end(8)),
        written: 1,
        unread: unread.clone(),
    };
    let recording = recorder.settle(&mut next, part, false, NOW);
    assert_eq!(recording, Recording::Failed(unread));
    assert_eq!(recorder.entries(), &all[1..]);
    let found = next.residency.as_ref().unwrap().evidence.clone().unwrap();
    assert_eq!(found.sequence, 8);
    assert_eq!(found.told, "0".repeat(15) + "1", "of the rest nobody knows");

    let before = next.clone();
    let recording = recorder.settle(&mut next, Appended::Broken, true, NOW);
    assert_eq!(recording, Recording::Broken);
    assert_eq!(next, before);
    assert_eq!(recorder.entries(), &all[1..]);
    recorder.all_are_recorded();
    assert_eq!(recorder.entries(), []);
}

#[test]
fn a_record_that_alone_moves_the_status_tells_of_the_reconcile_too() {
    let (mut recorder, mut region, facts) = recorded();
    // Somebody emptied it.
    let known = region.status.as_mut().unwrap().residency.as_mut().unwrap();
    known.evidence = None;
    known.checked_at = Some(NOW);
    let plan = planned(&region);
    let outcome = Outcome::Applied(applied(&plan, &facts));
    let mut next = region.status.clone().unwrap();
    let later = NOW + SignedDuration::from_mins(1);
    let due = recorder.take_up(&region, &outcome, &next, later);
    assert_eq!(due, Due::Append { alone: true });
    recorder.settle(&mut next, Appended::Whole(end(7)), true, later);
    let residency = next.residency.unwrap();
    assert_eq!(residency.checked_at, Some(later));
    assert_eq!(residency.evidence.map(|end| end.sequence), Some(7));
}

#[test]
fn a_region_that_was_never_accepted_has_no_log_and_one_that_failed_says_nothing_new() {
    let (mut recorder, region, _) = recorded();
    let violations = [violation(Reason::Invalid)];
    let known = region.status.clone().unwrap();
    let failed = Outcome::Failed {
        reason: "ApplyFailed",
        message: "cannot apply Service/tr-pg",
        refused: &[],
    };
    assert_eq!(
        recorder.take_up(&region, &failed, &known, NOW),
        Due::Nothing
    );
    let refused = Outcome::Refused(&violations);
    let due = recorder.take_up(&region, &refused, &known, NOW);
    assert_eq!(due, Due::Append { alone: false });
    assert_eq!(recorder.entries().len(), 1);
    let mut without = known;
    without.residency.as_mut().unwrap().evidence = None;
    assert_eq!(
        recorder.take_up(&region, &refused, &without, NOW),
        Due::Nothing
    );
    let never = RegionStatus::default();
    assert_eq!(recorder.take_up(&tr(), &refused, &never, NOW), Due::Nothing);
}

#[test]
fn no_more_than_ten_thousand_entries_wait_and_the_way_to_what_is_then_is_told_later() {
    let (mut recorder, region, _) = recorded();
    let refused = Outcome::Refused(&[]);
    let mut next = region.status.clone().unwrap();
    let flip = |status: &mut RegionStatus| {
        for row in &mut status.residency.as_mut().unwrap().channels {
            row.state = match row.state {
                ChannelState::Audited => ChannelState::Enforced,
                _ => ChannelState::Audited,
            };
        }
    };
    let mut flips = 0;
    while !recorder.is_full() {
        flip(&mut next);
        flips += 1;
        recorder.take_up(&region, &refused, &next, NOW);
        assert!(flips < 1000, "it is never full");
    }
    let kept = recorder.entries().len();
    assert!((9_900..=10_000).contains(&kept), "{kept}");
    recorder.settle(&mut next, Appended::Whole(end(8)), false, NOW);
    recorder.take_up(&region, &refused, &next, NOW);
    assert!(!recorder.is_full());
    let changed = |entry: &&Entry| matches!(entry, Entry::ChannelChanged { .. });
    let told = recorder.entries().iter().filter(changed).count();
    assert_eq!(told, next.residency.unwrap().channels.len());
}
