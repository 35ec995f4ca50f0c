//! Every mix of outdated pods and waiting settings, carried out until nothing is left to do.

use std::collections::BTreeSet;

use bailiwick_model::patroni::steps;

use super::{Cluster, plan_of, restart};

/// All subsets of the first `count` ordinals.
fn subsets(count: i32) -> Vec<Vec<i32>> {
    (0..1_i32 << count)
        .map(|mask| {
            (0..count)
                .filter(|ordinal| mask & (1 << ordinal) != 0)
                .collect()
        })
        .collect()
}

#[test]
fn every_mix_of_outdated_pods_and_waiting_settings_settles_without_two_members_down() {
    let mut runs = 0;
    for instances in 1..=3 {
        for durability in ["Bounded", "PreferZeroLoss"] {
            let plan = plan_of(instances, durability);
            for leader in 0..instances {
                for outdated in subsets(instances) {
                    for pending in subsets(instances) {
                        let mut cluster = Cluster::of(plan.clone(), leader)
                            .outdated(&outdated)
                            .pending(&pending, "shared_buffers", "128MB", "256MB");
                        let taken = cluster.settle();
                        let touched: BTreeSet<i32> =
                            outdated.iter().chain(&pending).copied().collect();
                        let primary_touched = touched.contains(&leader);
                        // Each of them once, and one switchover when the primary is among them and has a successor.
                        let expected =
                            touched.len() + usize::from(primary_touched && instances > 1);
                        assert_eq!(
                            taken, expected,
                            "{instances} {leader} {outdated:?} {pending:?}"
                        );
                        let lone = instances == 1 && !outdated.is_empty();
                        assert_eq!(
                            cluster.failovers,
                            usize::from(lone),
                            "a primary with successors hands over"
                        );
                        runs += 1;
                    }
                }
            }
        }
    }
    assert_eq!(runs, 2 * (4 + 2 * 16 + 3 * 64));
}

#[test]
fn a_setting_that_no_replica_may_have_smaller_restarts_the_primary_in_place() {
    for instances in 1..=3 {
        let all: Vec<i32> = (0..instances).collect();
        let mut cluster = Cluster::of(plan_of(instances, "PreferZeroLoss"), 0).pending(
            &all,
            "max_connections",
            "200",
            "100",
        );
        cluster.settle();
        assert_eq!(cluster.switchovers, 0);
        assert_eq!(cluster.disturbed.len(), all.len());
    }
}

#[test]
fn the_same_setting_raised_goes_to_the_replicas_first() {
    let mut cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).pending(
        &[0, 1],
        "max_connections",
        "100",
        "200",
    );
    assert_eq!(steps(&cluster.plan, &cluster.facts()), [restart(1)]);
    cluster.settle();
    assert_eq!(cluster.switchovers, 1);
}

#[test]
fn a_lowered_and_another_setting_together_settle() {
    for instances in 1..=3 {
        let all: Vec<i32> = (0..instances).collect();
        let mut cluster = Cluster::of(plan_of(instances, "PreferZeroLoss"), 0)
            .pending(&all, "max_connections", "200", "100")
            .pending(&all, "shared_buffers", "128MB", "256MB")
            .outdated(&all[..1]);
        cluster.settle();
    }
}
