//! Tests of the decision, on times that nobody waits for.

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A long-running pod's limits.
const POD: Limits = Limits {
    closed_for: Duration::from_mins(1),
    starts_not_closed: false,
    open_for: Duration::from_secs(30),
    starts_not_open: true,
};

/// One that holds back, for the Job's part.
const JOB: Limits = Limits {
    open_for: Duration::from_mins(2),
    starts_not_open: false,
    ..POD
};

fn fence(families: &[(Kind, bool)], flows: &[&str], limits: Limits) -> Fence {
    let flows = flows.iter().map(|flow| (*flow).to_owned()).collect();
    Fence::new(families, flows, limits)
}

/// Attempts one after the other, 250 ms apart, each closed.
fn close(fence: &mut Fence, kind: Kind, from: u64, many: u64) {
    for number in 0..many {
        let started = ms(from + 250 * number);
        fence.attempt(kind, started, started + ms(10), Attempt::Closed);
    }
}

fn ended(fence: &Fence, now: u64) -> Option<(Outcome, bool)> {
    let ending = fence.ending(ms(now))?;
    Some((ending.outcome, ending.starts))
}

#[test]
fn three_closed_attempts_in_a_row_are_closed() {
    let mut fence = fence(&[(Kind::Four, true)], &[], POD);
    close(&mut fence, Kind::Four, 0, 2);
    assert_eq!(ended(&fence, 300), None);
    close(&mut fence, Kind::Four, 500, 1);
    assert_eq!(ended(&fence, 510), Some((Outcome::Fenced, true)));
    let report = fence.report(Outcome::Fenced, ms(510));
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        serde_json::json!({
            "outcome": "Fenced", "heldMillis": 510,
            "families": [{
                "family": "IPv4", "closed": true, "reached": 0, "windowMillis": null, "closedMillis": 510,
            }],
        })
    );
}

#[test]
fn whoever_gets_through_begins_the_row_anew() {
    for between in [Attempt::Reached(ms(600)), Attempt::Void] {
        let mut fence = fence(&[(Kind::Four, true)], &[], POD);
        close(&mut fence, Kind::Four, 0, 2);
        fence.attempt(Kind::Four, ms(500), ms(600), between);
        close(&mut fence, Kind::Four, 750, 2);
        assert_eq!(ended(&fence, 1100), None, "{between:?}");
        close(&mut fence, Kind::Four, 1250, 1);
        assert_eq!(ended(&fence, 1260), Some((Outcome::Fenced, true)));
        let report = fence.report(Outcome::Fenced, ms(1260));
        let reached = u32::from(between != Attempt::Void);
        assert_eq!(report.families[0].reached, reached);
        assert_eq!(
            report.families[0].window_millis,
            (reached == 1).then_some(600)
        );
        assert_eq!(report.families[0].closed_millis, Some(1260));
    }
}

#[test]
fn closed_is_hard_and_a_canary_starts_nevertheless() {
    for (starts_not_closed, starts) in [(false, false), (true, true)] {
        let limits = Limits {
            starts_not_closed,
            ..POD
        };
        let mut fence = fence(&[(Kind::Four, true)], &[], limits);
        fence.attempt(
            Kind::Four,
            ms(59_000),
            ms(59_001),
            Attempt::Reached(ms(59_001)),
        );
        close(&mut fence, Kind::Four, 59_250, 2);
        assert_eq!(ended(&fence, 59_999), None);
        assert_eq!(ended(&fence, 60_000), Some((Outcome::Open, starts)));
    }
}

#[test]
fn every_family_has_to_close() {
    let both = [(Kind::Four, true), (Kind::Six, true)];
    let mut fence = fence(&both, &[], POD);
    close(&mut fence, Kind::Four, 0, 3);
    close(&mut fence, Kind::Six, 0, 2);
    assert_eq!(ended(&fence, 600), None);
    assert_eq!(ended(&fence, 60_000), Some((Outcome::Open, false)));
    close(&mut fence, Kind::Six, 500, 1);
    assert_eq!(ended(&fence, 600), Some((Outcome::Fenced, true)));
    // What was seen last counts.
    fence.attempt(Kind::Four, ms(700), ms(701), Attempt::Reached(ms(701)));
    assert_eq!(ended(&fence, 710), None);
}

#[test]
fn a_family_without_a_target_is_not_verified() {
    let half = [(Kind::Four, true), (Kind::Six, false)];
    let mut fence = fence(&half, &[], POD);
    assert_eq!(ended(&fence, 0), None);
    close(&mut fence, Kind::Four, 0, 3);
    assert_eq!(ended(&fence, 600), Some((Outcome::Unverified, true)));
    let report = fence.report(Outcome::Unverified, ms(600));
    let closed: Vec<bool> = report.families.iter().map(|family| family.closed).collect();
    assert_eq!(closed, [true, false]);
}

#[test]
fn without_any_target_only_a_canary_starts() {
    let canary = Limits {
        starts_not_closed: true,
        ..POD
    };
    for families in [&[][..], &[(Kind::Four, false)][..]] {
        let closed = fence(families, &[], POD);
        assert_eq!(ended(&closed, 0), Some((Outcome::Unverified, false)));
        let canary = fence(families, &[], canary);
        assert_eq!(ended(&canary, 0), Some((Outcome::Unverified, true)));
    }
}

#[test]
fn open_is_soft_for_pods_and_hard_for_jobs() {
    for (limits, until, starts) in [(POD, 30_000, true), (JOB, 120_000, false)] {
        let mut fence = fence(&[(Kind::Four, true)], &["a:1", "b:2"], limits);
        close(&mut fence, Kind::Four, 0, 3);
        fence.flow(0, ms(0), Flow::Open);
        fence.flow(1, ms(0), Flow::NotOpen(Cause::NotResolved));
        fence.flow(1, ms(250), Flow::NotOpen(Cause::Refused));
        // Whoever refuses need not say so every time.
        fence.flow(1, ms(500), Flow::NotOpen(Cause::TimedOut));
        assert_eq!(ended(&fence, until - 1), None);
        let expected = (Outcome::FencedNotOpen, starts);
        assert_eq!(ended(&fence, until), Some(expected));
        let report = fence.report(Outcome::FencedNotOpen, ms(until));
        assert_eq!(report.not_open.len(), 1);
        assert_eq!(report.not_open[0].target, "b:2");
        assert_eq!(report.not_open[0].cause, "Refused");
    }
}

#[test]
fn open_never_lasts_longer_than_its_limit_and_never_ends_before_closed() {
    let mut fence = fence(&[(Kind::Four, true)], &["a:1"], POD);
    fence.flow(0, ms(0), Flow::NotOpen(Cause::TimedOut));
    assert_eq!(ended(&fence, 40_000), None);
    close(&mut fence, Kind::Four, 40_000, 3);
    let expected = (Outcome::FencedNotOpen, true);
    assert_eq!(ended(&fence, 40_600), Some(expected));
}

#[test]
fn what_does_not_exist_is_left_out() {
    let mut fence = fence(&[(Kind::Four, true)], &["gone:1"], JOB);
    close(&mut fence, Kind::Four, 0, 3);
    fence.flow(0, ms(0), Flow::NotOpen(Cause::NotResolved));
    assert_eq!(ended(&fence, 600), None);
    fence.flow(0, ms(250), Flow::Absent);
    assert!(!fence.wants(0));
    assert_eq!(ended(&fence, 600), Some((Outcome::Fenced, true)));
    assert_eq!(fence.report(Outcome::Fenced, ms(600)).not_open, []);
}

#[test]
fn a_flow_that_was_open_with_everything_else_is_tried_again() {
    let mut fence = fence(&[(Kind::Four, true)], &["a:1"], POD);
    fence.attempt(Kind::Four, ms(0), ms(1), Attempt::Reached(ms(1)));
    fence.flow(0, ms(2), Flow::Open);
    // Not while everything is open.
    assert!(!fence.wants(0));
    close(&mut fence, Kind::Four, 250, 3);
    assert!(fence.wants(0));
    assert_eq!(ended(&fence, 800), None);
    fence.flow(0, ms(800), Flow::NotOpen(Cause::TimedOut));
    assert_eq!(ended(&fence, 1900), None);
    fence.flow(0, ms(2000), Flow::Open);
    // A network that was not up until now let nothing through either.
    assert_eq!(ended(&fence, 2010), None);
    close(&mut fence, Kind::Four, 2050, 1);
    assert_eq!(ended(&fence, 2070), Some((Outcome::Fenced, true)));
}

#[test]
fn nothing_is_closed_that_opens_with_the_network() {
    let mut fence = fence(&[(Kind::Four, true)], &["a:1"], POD);
    // Nothing goes through: the network is not up.
    close(&mut fence, Kind::Four, 0, 8);
    fence.flow(0, ms(0), Flow::NotOpen(Cause::TimedOut));
    assert_eq!(ended(&fence, 2000), None);
    // It is up, and the rules are late.
    fence.flow(0, ms(2000), Flow::Open);
    assert_eq!(ended(&fence, 2010), None);
    fence.attempt(Kind::Four, ms(2050), ms(2051), Attempt::Reached(ms(2051)));
    assert_eq!(ended(&fence, 2060), None);
}

#[test]
fn whoever_is_stopped_does_not_start() {
    let mut fence = fence(&[(Kind::Four, true)], &[], POD);
    let open = fence.stopped(ms(5));
    assert_eq!((open.outcome, open.starts), (Outcome::Open, false));
    close(&mut fence, Kind::Four, 0, 3);
    let closed = fence.stopped(ms(600));
    assert_eq!((closed.outcome, closed.starts), (Outcome::Fenced, false));
}

#[test]
fn the_report_fits_a_termination_message() {
    let flows: Vec<String> = (0..64)
        .map(|number| format!("{}-{number}:5432", "x".repeat(240)))
        .collect();
    let fence = Fence::new(&[(Kind::Four, true)], flows, POD);
    let report = fence.report(Outcome::FencedNotOpen, ms(30_000));
    assert_eq!(report.not_open.len(), 64);
    let line = line_of(&report).unwrap();
    assert!(line.len() < 4096, "{}", line.len());
    let read: Report = serde_json::from_str(&line).unwrap();
    assert!(read.not_open.len() > 10, "{}", read.not_open.len());
    assert!(!line.contains('\n'));
}
