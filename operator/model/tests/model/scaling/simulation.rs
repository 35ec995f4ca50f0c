//! Clusters that are scaled up and down until they settle.

use bailiwick_model::desired::postgres::parameters;
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::patroni::steps;
use bailiwick_model::step::Step;

use super::{Cluster, Health, member, planned, region, replicas};

/// A cluster that does what it is told, slowly, and whose invariants are checked at each tick.
struct Simulation {
    cluster: Cluster,
    durability: &'static str,
    handovers: usize,
    /// Ticks until the members beyond `replicas` are gone.
    going: u8,
    ticks: usize,
}

impl Simulation {
    /// Looks and acts until the cluster has as many members as the spec says.
    fn settle(&mut self, instances: i32) {
        let region = region(instances, self.durability);
        for _ in 0..60 {
            self.ticks += 1;
            let facts = self.cluster.facts(&region);
            let plan = planned(&region, &facts);
            let before = self.cluster.replicas;
            let mode = self.cluster.config["synchronous_mode"].clone();
            self.cluster.replicas = replicas(&plan);
            let leader = self.cluster.leader.expect("there is always a primary");
            assert!(leader < self.cluster.replicas, "the primary was stopped");
            assert!(self.cluster.replicas >= before - 1, "two leave at once");
            let steps = steps(&plan, &facts);
            for step in &steps {
                self.take(step);
            }
            if self.cluster.replicas < before {
                assert_eq!(mode, self.cluster.config["synchronous_mode"], "in one pass");
                self.going = 2;
            }
            self.tick();
            let settled = self.cluster.members.len() == usize::try_from(instances).expect("few")
                && self
                    .cluster
                    .members
                    .values()
                    .all(|it| *it == Health::InSync);
            if settled && steps.is_empty() && plan.members.leaving.is_none() {
                let wanted = parameters::dynamic(&plan)["synchronous_mode"].clone();
                assert_eq!(self.cluster.config["synchronous_mode"], wanted);
                return;
            }
        }
        panic!("not settled: {:?} to {instances}", self.cluster);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Patroni(PatroniStep::PatchConfig(patch)) => {
                for (key, value) in patch.as_object().expect("an object") {
                    self.cluster.config[key] = value.clone();
                }
            }
            Step::Patroni(PatroniStep::Switchover { from, to }) => {
                assert_eq!(self.cluster.leader.map(member).as_ref(), Some(from));
                let to = self
                    .cluster
                    .members
                    .iter()
                    .find(|(ordinal, health)| {
                        member(**ordinal) == *to && **health == Health::InSync
                    })
                    .map(|(ordinal, _)| *ordinal)
                    .expect("one in sync");
                let from = self.cluster.leader.replace(to).expect("a primary");
                self.cluster.members.insert(from, Health::Pending);
                self.handovers += 1;
            }
            other => panic!("a step that is not for members: {other:?}"),
        }
    }

    /// Members that start get one step further, those that leave are gone after two ticks, and a tick later Patroni
    /// no longer waits for them.
    fn tick(&mut self) {
        let cluster = &mut self.cluster;
        let gone = |ordinal: &i32| *ordinal >= cluster.replicas;
        if self.going == 0 {
            cluster.awaited.retain(|ordinal| !gone(ordinal));
            cluster.members.retain(|ordinal, _| !gone(ordinal));
        }
        for health in cluster.members.values_mut() {
            *health = match health {
                Health::Pending => Health::Follows,
                Health::Follows | Health::InSync => Health::InSync,
            };
        }
        for ordinal in 0..cluster.replicas {
            cluster.members.entry(ordinal).or_insert(Health::Pending);
        }
        cluster.claims = cluster.claims.max(cluster.replicas);
        cluster.awaited = cluster
            .awaited
            .iter()
            .copied()
            .chain(
                cluster
                    .members
                    .keys()
                    .copied()
                    .filter(|ordinal| cluster.leader != Some(*ordinal)),
            )
            .collect();
        self.going = self.going.saturating_sub(1);
    }
}

#[test]
fn scaled_up_and_down_there_is_always_a_primary_and_it_settles() {
    let mut runs = 0;
    for durability in ["Bounded", "PreferZeroLoss", "ZeroLoss"] {
        let sizes: &[i32] = match durability {
            "Bounded" => &[1, 3, 5, 3, 1],
            "ZeroLoss" => &[2, 3, 2, 5, 2],
            _ => &[1, 3, 2, 1, 5, 1],
        };
        // Before each change the leader is moved to each of the ordinals in turn.
        for shift in 0..5 {
            let mut simulation = Simulation {
                cluster: Cluster::of(&region(sizes[0], durability), 0),
                durability,
                handovers: 0,
                going: 0,
                ticks: 0,
            };
            for size in &sizes[1..] {
                let count = i32::try_from(simulation.cluster.members.len()).expect("few");
                simulation.cluster.leader = Some((count - 1 - shift).rem_euclid(count));
                simulation.settle(*size);
                runs += 1;
            }
            assert!(simulation.handovers > 0 || shift > 0, "{durability}");
        }
    }
    assert_eq!(runs, 5 * (4 + 5 + 4));
}
