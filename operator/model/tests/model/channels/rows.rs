//! The state of each row: as closed as it can be, turned by its own control, and what it says of what is elsewhere.

use std::collections::BTreeSet;

use bailiwick_api::region::{Assurance, ChannelState};
use bailiwick_model::channel::{CHANNELS, channels};
use bailiwick_model::facts::repository::{Difference, Marker, ReadBack};
use bailiwick_model::facts::{ClaimFact, ClientNamespace, NamespacePod, Observed, ReadFailure};
use bailiwick_model::policy;

use super::breaks::broken;
use super::{
    archived, closed, enforced_of, inventory, neighbour, plan_of, served_snapshots, states,
    states_of, store,
};
use crate::fixture::{identity, tr};

#[test]

fn snapshots_of_classes_of_the_place_are_no_leak() {
    let region = tr();
    let mut facts = closed(&region);
    let here = ["tr-ist-1", "tr-ist-1-local"];
    served_snapshots(
        &mut facts,
        Some(
            here.map(|class| (format!("tr/{class}"), class.to_owned()))
                .into(),
        ),
    );
    let plan = plan_of(&region, &facts);
    assert_eq!(states_of(&plan, &facts)[&14], ChannelState::Enforced);
}

/// The states with every control in place.
fn expected(id: u8) -> ChannelState {
    match id {
        // Nothing inside a cluster can see these.
        15 | 40 | 41 | 44 => ChannelState::Unknown,
        23 | 24 | 31..=35 | 39 => ChannelState::NotApplicable,
        11 | 25 | 36 | 45 | 46 => ChannelState::Audited,
        _ => ChannelState::Enforced,
    }
}

#[test]
fn there_are_forty_six_channels_in_order() {
    let ids: Vec<u8> = CHANNELS.iter().map(|channel| channel.id).collect();
    assert_eq!(ids, (1..=46).collect::<Vec<u8>>());
}

#[test]
fn with_every_control_in_place_every_channel_is_as_closed_as_it_can_be() {
    let region = tr();
    let facts = closed(&region);
    let plan = plan_of(&region, &facts);
    for row in channels(&plan, &facts, Assurance::Simulated).rows {
        let id: u8 = row.id.parse().expect("a number");
        assert_eq!(row.state, expected(id), "channel {id}: {}", row.evidence);
        assert_eq!(row.finding, None, "channel {id}");
        assert!(row.evidence.len() <= 120, "channel {id}: {}", row.evidence);
    }
}

#[test]
fn any_one_control_broken_flips_the_rows_of_its_channels() {
    let region = tr();
    let whole = closed(&region);
    let plan = plan_of(&region, &whole);
    let mut flipped: BTreeSet<u8> = BTreeSet::new();
    let mut count = 0;
    for (what, ids, act) in broken() {
        let mut facts = whole.clone();
        act(&mut facts);
        let states = states_of(&plan, &facts);
        for id in ids {
            assert_eq!(states[id], ChannelState::Unknown, "{what}: channel {id}");
            flipped.insert(*id);
            count += 1;
        }
    }
    // Each admission policy that a channel leans on.
    for name in policy::names() {
        let mut facts = whole.clone();
        facts.admission.remove(name);
        for (id, state) in states_of(&plan, &facts) {
            if state != expected(id) {
                assert_eq!(state, ChannelState::Unknown, "{name}: channel {id}");
                flipped.insert(id);
                count += 1;
            }
        }
    }
    println!("{count} rows flipped");
    for channel in CHANNELS {
        assert!(
            expected(channel.id) == ChannelState::Unknown || flipped.contains(&channel.id),
            "nothing flips channel {}: it is a constant",
            channel.id
        );
    }
}

#[test]
fn a_foreign_marker_is_found_open_and_one_that_is_not_seen_is_not_known() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let row = |marker: Observed<Marker>| {
        let mut facts = closed(&region);
        store(&mut facts).marker = marker;
        let channels = channels(&plan, &facts, Assurance::Simulated);
        // Whose a repository is shows no leak by itself, and what is not known of it ends none.
        assert_eq!((channels.leaks, channels.unseen), (vec![], vec![]));
        assert_eq!(
            enforced_of(&region, &plan, &facts).0 == "False",
            !channels.open.is_empty()
        );
        channels.rows[16].clone()
    };
    let foreign = row(Observed::Seen(Marker::Foreign(Difference::Region)));
    let finding = foreign.finding.expect("it is found open");
    for word in [
        ".residency.json",
        "bailiwick-backup",
        "names another Region",
        "expected the marker of Region tr",
        "docs/runbooks/repository-marker.md",
    ] {
        assert!(finding.contains(word), "{finding}");
    }
    for (marker, evidence) in [
        (
            Observed::Seen(Marker::Missing),
            "bucket bailiwick-backup is without object .residency.json",
        ),
        (
            Observed::Failed(ReadFailure::Forbidden.into()),
            "object .residency.json: Forbidden",
        ),
        (Observed::NotAsked, "object .residency.json: not looked for"),
    ] {
        let row = row(marker);
        assert_eq!(row.state, ChannelState::Unknown);
        assert_eq!((row.evidence.as_str(), row.finding), (evidence, None));
    }
}

#[test]
fn wal_that_did_not_arrive_is_found_open_only_while_it_must_be_there() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let row = |archived: Observed<ReadBack>| {
        let mut facts = closed(&region);
        facts.archived = archived;
        let channels = channels(&plan, &facts, Assurance::Simulated);
        // It shows that the control fails, and not where the data went.
        assert_eq!(channels.leaks, []);
        channels.rows[16].clone()
    };
    // What is there is there, whenever it was archived.
    assert_eq!(row(archived(true, false)).state, ChannelState::Enforced);
    let finding = row(archived(false, true)).finding.expect("found open");
    for word in ["bailiwick-backup", "pgBackRest may write elsewhere"] {
        assert!(finding.contains(word), "{finding}");
    }
    for (archived, evidence) in [
        (archived(false, false), "no WAL was archived of late"),
        (
            Observed::Failed(ReadFailure::Unreachable.into()),
            "WAL: Unreachable",
        ),
        (Observed::NotAsked, "no WAL was read back yet"),
    ] {
        let row = row(archived);
        assert_eq!(row.state, ChannelState::Unknown);
        assert_eq!((row.evidence.as_str(), row.finding), (evidence, None));
    }
}

#[test]
fn a_pod_that_has_ended_elsewhere_runs_nowhere() {
    let region = tr();
    let mut facts = closed(&region);
    for pod in facts.pods.live.values_mut() {
        if pod.ended.is_some() {
            pod.node = Some("es-1".to_owned());
        }
    }
    let elsewhere = NamespacePod {
        ended: true,
        node: Some("es-1".to_owned()),
        ..neighbour()
    };
    inventory(&mut facts)
        .pods
        .insert("tr/tr-canary-1".to_owned(), elsewhere);
    assert_eq!(states(&region, &facts)[&12], ChannelState::Enforced);
}

#[test]
fn a_client_that_is_not_as_closed_as_the_region_is_unknown() {
    let region = tr();
    for act in [
        (|client| client.region = None) as fn(&mut ClientNamespace),
        |client| client.region = Some("es".to_owned()),
        |client| client.default_deny = false,
        |client| {
            client.nodes.insert("es-1".to_owned());
        },
    ] {
        let mut facts = closed(&region);
        act(inventory(&mut facts)
            .clients
            .get_mut("patient")
            .expect("a client"));
        assert_eq!(states(&region, &facts)[&2], ChannelState::Unknown);
    }
}

#[test]
fn what_a_drill_has_elsewhere_is_named_with_its_namespace() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    for (what, named) in [
        ("a drill's namesake elsewhere", "pod tr-drill/tr-pg-0 runs"),
        (
            "a drill's namesake without its fence",
            "tr-drill/tr-pg-0: runs",
        ),
        (
            "a drill's volume elsewhere",
            "PersistentVolume pv-drill of claim tr-drill/data-tr-pg-0 lies in es-mad-1",
        ),
    ] {
        let mut facts = closed(&region);
        let (_, _, broken) = broken()
            .into_iter()
            .find(|(row, ..)| *row == what)
            .expect("it is in the table");
        broken(&mut facts);
        let found: Vec<String> = channels(&plan, &facts, Assurance::Simulated)
            .rows
            .into_iter()
            .filter_map(|row| row.finding)
            .collect();
        assert!(
            found.iter().any(|finding| finding.contains(named)),
            "{what}: {found:?}"
        );
    }
}

/// Keeps the imports of the claims honest: a claim without a volume is none that was read.
#[test]
fn claims_that_are_not_bound_need_no_volume() {
    let region = tr();
    let mut facts = closed(&region);
    facts.claims.live.insert(
        "data-tr-pg-7".to_owned(),
        ClaimFact {
            labels: identity(&region),
            ..ClaimFact::default()
        },
    );
    assert_eq!(states(&region, &facts)[&13], expected(13));
}
