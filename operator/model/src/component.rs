//! The components of a Region. One is a folder and a row of [`COMPONENTS`]: `plan`, `desired`, `steps`, the network boundary
//! and `status` go through the table, in its order. No I/O.

use bailiwick_api::region::RegionSpec;
use bailiwick_api::violation::Violation;

use crate::condition::{self, Verdict};
use crate::desired::fence::config_map;
use crate::desired::{boundary, canary, object_store, postgres};
use crate::facts::Facts;
use crate::flow::Connection;
use crate::manifest::Manifest;
use crate::names::{Names, component};
use crate::outcome::Applied;
use crate::plan::{Plan, Platform};
use crate::secret::SecretWanted;
use crate::sql::untold::is_untold;
use crate::step::Step;
use crate::{endpoint, fence, patroni, sql, store};

/// A part of every Region.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The value of `app.kubernetes.io/name` on all that belongs to it.
    pub name: &'static str,
    /// What of a spec is refused on its account, beside what the CRD's own rules refuse.
    pub violations: fn(&RegionSpec, &Platform, &Facts) -> Vec<Violation>,
    /// The Secrets that must exist for it, in the order in which they need each other.
    pub secrets: fn(&Names, &RegionSpec) -> Vec<SecretWanted>,
    /// Who connects to its pods, and where they connect to beside what others list.
    pub connections: &'static [Connection],
    /// Its Kubernetes objects, in the order in which they are applied.
    pub manifests: fn(&Plan) -> Vec<Manifest>,
    /// What is to be done now for it beside its objects.
    pub steps: fn(&Plan, &Facts) -> Vec<Step>,
    /// Those of its steps that neither start nor end a pod with data.
    pub steps_without_pods: fn(&Plan, &Facts) -> Vec<Step>,
    /// The name of its StatefulSet.
    pub stateful_set: Option<fn(&Names) -> String>,
    /// Whether clients can use the Region is asked of it.
    pub availability: Option<Availability>,
    /// What the status says of it, by the type of the condition.
    pub(crate) conditions: fn(&Applied<'_>) -> Vec<(&'static str, Verdict)>,
}

/// By what a component keeps a Region from being `Ready`.
#[derive(Clone, Copy, Debug)]
pub struct Availability {
    /// The condition that must be True.
    pub condition: &'static str,
    /// The reason of `Ready` while it is not.
    pub reason: &'static str,
}

/// All of them, in the order in which they are applied: the network boundary first, and each after those that it needs. While
/// an object is refused, no StatefulSet after it is made: what holds no data comes after what does.
pub const COMPONENTS: &[Component] = &[
    Component {
        name: component::BOUNDARY,
        violations: |spec, platform, facts| {
            let mut found = endpoint::violations(spec, platform, facts);
            found.extend(fence::violation(facts));
            found
        },
        manifests: |plan| {
            let mut manifests = boundary::manifests(plan);
            manifests.extend(config_map(plan).iter().map(Manifest::of));
            manifests
        },
        ..NOTHING
    },
    Component {
        name: component::OBJECT_STORE,
        violations: |spec, _, _| object_store::violations(spec),
        secrets: object_store::secrets,
        connections: object_store::CONNECTIONS,
        manifests: object_store::manifests,
        steps: store_steps,
        steps_without_pods: store_steps,
        stateful_set: Some(Names::object_store),
        availability: Some(Availability {
            condition: "ObjectStoreAvailable",
            reason: "ObjectStoreUnavailable",
        }),
        conditions: |applied| {
            vec![
                (
                    "ObjectStoreAvailable",
                    condition::object_store::object_store(applied),
                ),
                (
                    "ObjectStoreContained",
                    condition::object_store::contained(applied),
                ),
            ]
        },
    },
    Component {
        name: component::POSTGRES,
        violations: |spec, _, _| postgres::violations(spec),
        secrets: postgres::secrets,
        connections: postgres::CONNECTIONS,
        manifests: postgres::manifests,
        steps: |plan, facts| {
            let mut steps = patroni::steps(plan, facts);
            steps.extend(sql_steps(plan, facts));
            steps
        },
        steps_without_pods: sql_steps,
        stateful_set: Some(Names::postgres),
        availability: Some(Availability {
            condition: "PostgresAvailable",
            reason: "PostgresUnavailable",
        }),
        conditions: |applied| {
            vec![
                ("PostgresAvailable", condition::postgres::postgres(applied)),
                ("WALArchiving", condition::archive::archive(applied)),
                (
                    "PendingRestart",
                    condition::postgres::pending_restart(applied.plan, applied.facts),
                ),
            ]
        },
    },
    Component {
        name: component::CANARY,
        manifests: canary::manifests,
        steps: crate::canary::schedule::steps,
        steps_without_pods: crate::canary::schedule::steps,
        conditions: |applied| vec![("NetworkEnforced", condition::network::network(applied))],
        ..NOTHING
    },
];

/// A component that has nothing, for those that lack most.
const NOTHING: Component = Component {
    name: "",
    violations: |_, _, _| Vec::new(),
    secrets: |_, _| Vec::new(),
    connections: &[],
    manifests: |_| Vec::new(),
    steps: |_, _| Vec::new(),
    steps_without_pods: |_, _| Vec::new(),
    stateful_set: None,
    availability: None,
    conditions: |_| Vec::new(),
};

/// Who may connect to whom, in the order of [`crate::flow::Peer::rank`] of who listens.
#[must_use]
pub fn connections() -> Vec<Connection> {
    let mut all: Vec<_> = COMPONENTS
        .iter()
        .flat_map(|component| component.connections)
        .copied()
        .collect();
    all.sort_by_key(|connection| connection.to.rank());
    all
}

fn store_steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let seen = facts.store.seen();
    let steps = seen.map(|seen| store::steps(plan, seen));
    steps.into_iter().flatten().map(Step::Store).collect()
}

fn sql_steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let seen = facts.postgres.seen();
    let steps = seen.map(|seen| sql::steps(plan, seen));
    steps
        .into_iter()
        .flatten()
        .filter(|step| !is_untold(plan, facts, step))
        .map(Step::Sql)
        .collect()
}
