//! What the start fence reports, in the rows of egress.

use std::collections::BTreeSet;

use bailiwick_api::region::{Assurance, ChannelState};
use bailiwick_model::canary::question::Class;
use bailiwick_model::channel::channels;
use bailiwick_model::facts::{Facts, FenceFact, PodFact};
use bailiwick_model::fence::{self, Outcome as Fenced};
use bailiwick_model::flow::Guise;

use super::{closed, member, plan_of, sees};
use crate::fixture::{passed, report, tr};

/// Each canary measured a window of its own.
fn measured(facts: &mut Facts, outcome: Fenced, windows: [Option<u64>; 2]) {
    for (guise, window) in Guise::ALL.into_iter().zip(windows) {
        let pod = facts.pods.live.get_mut(&format!("tr-{}-1", guise.label()));
        pod.expect("a canary").fence = passed(outcome, window);
    }
}

/// What channel 1 is known by.
fn egress(facts: &Facts) -> (ChannelState, String, Option<String>) {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let rows = channels(&plan, facts, Assurance::Simulated).rows;
    let row = rows.into_iter().next().expect("channel 1");
    (row.state, row.evidence, row.finding)
}

#[test]
fn a_start_window_is_no_leak_and_is_told_in_words_that_stay() {
    let mut evidence = BTreeSet::new();
    for (windows, words) in [
        ([None, None], "no window"),
        ([Some(420), None], "window < 5 s"),
        ([Some(900), Some(4_800)], "window < 5 s"),
        ([Some(900), Some(12_000)], "window < 30 s"),
        ([Some(59_000), None], "window >= 30 s"),
    ] {
        let mut facts = closed(&tr());
        measured(&mut facts, Fenced::Fenced, windows);
        let (state, told, finding) = egress(&facts);
        assert_eq!((state, finding), (ChannelState::Enforced, None), "{told}");
        assert!(
            told.contains(&format!("fence: 2 pods closed, {words};")),
            "{told}"
        );
        assert!(told.len() <= 120, "{told}");
        let longest = windows.iter().flatten().max().copied().unwrap_or_default();
        let seen = fence::start_window(&facts).expect("it was measured");
        assert_eq!(seen.as_millis(), u128::from(longest));
        evidence.insert(told);
    }
    assert_eq!(evidence.len(), 4);
}

#[test]
fn a_boundary_that_stays_open_is_found_by_what_the_canary_tries_after_its_fence() {
    let mut facts = closed(&tr());
    sees(&mut facts, Class::OutsideAddress);
    measured(&mut facts, Fenced::Open, [Some(20_000); 2]);
    let (state, _, finding) = egress(&facts);
    assert_eq!(state, ChannelState::Unknown);
    let finding = finding.expect("a finding");
    assert!(finding.contains("198.51.100.10:443"), "{finding}");
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let found = channels(&plan, &facts, Assurance::Simulated);
    assert!(
        found.leaks.iter().any(|(id, _)| *id == 1),
        "{:?}",
        found.leaks
    );
}

#[test]
fn a_pod_without_its_fence_is_a_finding_that_names_it_and_one_that_is_held_is_none() {
    let mut facts = closed(&tr());
    member(&mut facts).fence = FenceFact::Missing;
    let (state, _, finding) = egress(&facts);
    assert_eq!(state, ChannelState::Unknown);
    let finding = finding.expect("a finding");
    assert!(
        finding.starts_with("tr-pg-0: runs and did not start behind the fence; delete it"),
        "{finding}"
    );

    // Nothing of it runs: the other one is as closed as before.
    member(&mut facts).fence = FenceFact::Holds {
        failures: 3,
        report: Some(report(Fenced::Open, Some(60_000))),
    };
    let (state, told, finding) = egress(&facts);
    assert_eq!((state, finding), (ChannelState::Enforced, None), "{told}");
    assert!(told.contains("fence: 1 pod closed"), "{told}");

    // A pod of a Job that its fence held to the end is over.
    let job = PodFact {
        node: Some("tr-1".to_owned()),
        finished: true,
        ..PodFact::default()
    };
    facts.pods.live.insert("tr-pg-stanza-i1-x".to_owned(), job);
    assert_eq!(egress(&facts).0, ChannelState::Enforced);
}
