//! What the channels together say of the Region: whether its residency is enforced, by which assurance, and with which exceptions.

use bailiwick_api::region::{Assurance, ChannelState};
use bailiwick_model::channel::{CHANNELS, channels};
use bailiwick_model::outcome::{Applied, Outcome, Retained};
use bailiwick_model::status::status;

use super::breaks::broken;
use super::{closed, enforced, enforced_of, inventory, plan_of, states};
use crate::fixture::{tr, tr_with};

#[test]

fn residency_is_enforced_when_nothing_demanded_is_unknown() {
    let region = tr();
    assert_eq!(
        enforced(&region, &closed(&region)),
        ("True".to_owned(), "Verified".to_owned())
    );
}

#[test]
fn it_is_never_enforced_while_a_demanded_control_is_broken() {
    let region = tr();
    let whole = closed(&region);
    let plan = plan_of(&region, &whole);
    let all = broken();
    // A generator of our own: the order of subsets is the same in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).expect("31 bits")
    };
    let mut tried = 0;
    for _ in 0..300 {
        let mut facts = whole.clone();
        let mut demanded = false;
        for _ in 0..=next() % 4 {
            let (_, ids, act) = &all[next() % all.len()];
            let before = facts.clone();
            // A control that another break has already taken away cannot be broken again.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&mut facts))).is_err() {
                facts = before;
                continue;
            }
            demanded |= ids
                .iter()
                .any(|id| CHANNELS[usize::from(*id) - 1].demanded == Assurance::Simulated);
        }
        if demanded {
            tried += 1;
            assert_ne!(enforced_of(&region, &plan, &facts).0, "True");
        }
    }
    assert!(tried >= 100, "{tried} subsets");
}

#[test]
fn an_exception_holds_until_it_expires_and_then_blocks() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '23', reason: cluster backup is checked by hand, approvedBy: dpo, \
         expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let mut facts = closed(&region);
    inventory(&mut facts)
        .api_groups
        .insert("velero.io".to_owned());
    assert_eq!(states(&region, &facts)[&23], ChannelState::Exception);
    assert_eq!(enforced(&region, &facts).0, "True");
    facts.now = "2026-12-01T00:00:00Z".parse().expect("a time");
    assert_eq!(states(&region, &facts)[&23], ChannelState::Unknown);
    assert_eq!(
        enforced(&region, &facts),
        ("False".to_owned(), "ExceptionExpired".to_owned())
    );
}

/// Where anybody who may write the Region may also grant an exception, it is nobody's word.
#[test]
fn an_exception_counts_only_while_its_approvers_are_asked() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '23', reason: cluster backup is checked by hand, approvedBy: dpo, \
         expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let mut facts = closed(&region);
    inventory(&mut facts)
        .api_groups
        .insert("velero.io".to_owned());
    assert_eq!(states(&region, &facts)[&23], ChannelState::Exception);
    facts.admission.remove("bailiwick-residency-exceptions");
    let plan = plan_of(&region, &facts);
    let found = channels(&plan, &facts, plan.assurance);
    let row = &found.rows[22];
    assert_eq!((row.id.as_str(), row.state), ("23", ChannelState::Unknown));
    assert!(
        row.evidence.contains("bailiwick-residency-exceptions"),
        "{}",
        row.evidence
    );
    assert_ne!(enforced(&region, &facts).0, "True");
}

#[test]
fn an_exception_for_what_is_closed_changes_nothing() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '18', reason: none, approvedBy: dpo, expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let facts = closed(&region);
    assert_eq!(states(&region, &facts)[&18], ChannelState::Enforced);
}

#[test]
fn more_assurance_demands_more() {
    let region = tr();
    let facts = closed(&region);
    let plan = plan_of(&region, &facts);
    let unknown = |assurance| channels(&plan, &facts, assurance).unknown;
    assert_eq!(unknown(Assurance::Simulated), Vec::<u8>::new());
    assert_eq!(unknown(Assurance::Logical), Vec::<u8>::new());
    assert_eq!(unknown(Assurance::Physical), [15, 40, 41, 44]);
}

#[test]
fn the_time_of_checking_moves_in_steps() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let mut region = region;
    let mut moved = Vec::new();
    for minute in 0..12 {
        let mut facts = closed(&region);
        facts.now += jiff::SignedDuration::from_mins(minute);
        let outcome = Outcome::Applied(Applied {
            plan: &plan,
            facts: &facts,
            steps_due: 0,
            failed_steps: &[],
            archive: bailiwick_model::archive::archive(&plan, &facts, None),
            full_backup: None,
            retained: Retained::default(),
            refused: &[],
        });
        let next = status(&region, &outcome, facts.now);
        let checked = |status: Option<&bailiwick_api::region::RegionStatus>| {
            status
                .and_then(|status| status.residency.as_ref())
                .and_then(|residency| residency.checked_at)
        };
        if checked(Some(&next)) != checked(region.status.as_ref()) {
            moved.push(minute);
        }
        region.status = Some(next);
    }
    assert_eq!(moved, [0, 5, 10]);
}
