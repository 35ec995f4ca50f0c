//! `plan(&Region, &Platform, &Facts)`: the spec with defaults filled and cross-checks done, every place admitted,
//! or all the violations at once. Pure.

use std::collections::BTreeMap;

use bailiwick_api::region::{Assurance, Region, RegionSpec, WaysStatus};
use bailiwick_api::violation::{Reason, Violation};
use kube::Resource;

use crate::breach::{breach, known};
use crate::component::{self, COMPONENTS};
use crate::desired::postgres::preloaded::Preloaded;
use crate::facts::Facts;
use crate::names::{LABEL_JURISDICTION, LABEL_LOCATION, LABEL_REGION, NODE_REGION, Names};
use crate::plan::{Plan, Platform, Surroundings};
use crate::residency::{
    BucketPlace, ExternalEndpoint, ImagePlace, NodePool, Policy, Resident, StorageClassPlace,
};
use crate::secret::{self, SecretWanted};
use crate::{channel, fence, scale, volume, ways};

/// Judges a Region against the platform and the facts.
///
/// # Errors
/// Every violation, those of each component together. Nothing of a refused Region is applied.
pub fn plan(region: &Region, platform: &Platform, facts: &Facts) -> Result<Plan, Vec<Violation>> {
    let names = Names::of(region);
    let spec = region.spec.clone();
    let policy = Policy::of(&spec);
    if !platform.locations.contains(&spec.residency.location) {
        // The cluster of another location will take it: nothing else is worth saying here.
        return Err(vec![Violation::new(
            "spec.residency.location",
            Reason::NotThisCluster,
            format!(
                "is {}, expected one of the locations that this cluster serves: {}; apply the Region to the \
                 cluster of its location",
                spec.residency.location,
                platform.locations.join(", ")
            ),
        )]);
    }

    let mut violations = delegation(&names, &policy, facts);
    let delegated = violations.is_empty();
    violations.extend(foreign_claims(&policy, facts));
    violations.extend(other_version(&spec, facts));
    let places = admit_places(&spec, &policy, platform, facts, &mut violations);
    let owner = region.controller_owner_ref(&());
    if owner.is_none() {
        violations.push(Violation::new(
            "metadata.uid",
            Reason::Invalid,
            "is missing, expected the API server's; apply the Region instead of passing it by hand",
        ));
    }
    let secrets = secrets(&names, &spec);
    if delegated {
        // Secrets are read only where the operator may: without that, none is known to be missing.
        violations.extend(lost_keys(&secrets, facts));
    }
    for component in COMPONENTS {
        violations.extend((component.violations)(&spec, platform, facts));
    }

    match (places, owner) {
        (Some(places), Some(owner)) if violations.is_empty() => Ok(with_breach(
            Plan {
                owner,
                assurance: assurance(platform, &policy, facts),
                nodes: places.nodes,
                postgres_image: places.postgres_image,
                object_store_image: places.object_store_image,
                operator_image: places.operator_image,
                fence_image: places.fence_image,
                fence_targets: fence::targets(facts, platform.outside_address, &places.externals),
                postgres_class: places.postgres_class,
                object_store_class: places.object_store_class,
                preloaded: Preloaded::of(&spec, facts),
                members: scale::members(&names, &spec, facts),
                postgres_volume: volume::postgres(&names, &spec, facts),
                object_store_volume: volume::object_store(&names, &spec, facts),
                backup_bucket: places.backup_bucket,
                evidence_bucket: places.evidence_bucket,
                buckets: places.buckets,
                externals: places.externals,
                addresses_are_told: !platform.location_addresses.is_empty(),
                connections: component::connections(),
                api_server: facts.api_server.iter().cloned().collect(),
                surroundings: surroundings(platform, facts),
                secrets,
                incarnation: region.incarnation(),
                generation: region.metadata.generation,
                breach: known(
                    region
                        .status
                        .as_ref()
                        .and_then(|status| status.residency.as_ref())
                        .map(|residency| residency.breach.clone())
                        .unwrap_or_default(),
                    facts.breach.as_ref(),
                ),
                ways: known_ways(region, facts).cloned().unwrap_or_default(),
                stale_sessions: None,
                names,
                policy,
                spec,
            },
            known_ways(region, facts),
            facts,
        )),
        _ => Err(violations),
    }
}

/// The ways that the status tells of, or else, when somebody emptied it, as they were written last; none before the first
/// look.
fn known_ways<'a>(region: &'a Region, facts: &'a Facts) -> Option<&'a WaysStatus> {
    let residency = region.status.as_ref().and_then(|it| it.residency.as_ref());
    residency
        .and_then(|residency| residency.ways.as_ref())
        .or(facts.ways.as_ref())
}

/// The plan with what this look makes of the breach, and of the ways with it: the canaries answered the boundary of the
/// breach as it was.
fn with_breach(mut plan: Plan, ways_before: Option<&WaysStatus>, facts: &Facts) -> Plan {
    let channels = channel::channels(&plan, facts, plan.assurance);
    let now = breach(
        &plan.breach,
        &channels,
        !plan.externals.is_empty(),
        facts.now,
    );
    // A Region that is paused is shut off for a leak like any other, and opened by nobody.
    if !plan.spec.lifecycle.paused || now.is_active() {
        plan.breach = now;
    }
    plan.ways = ways::ways(ways_before, &plan, facts);
    plan.stale_sessions = ways::stale_sessions(&plan.ways, facts.now);
    plan
}

impl Plan {
    /// The plan once the API server has refused some of what it asks for: a way that could not be shut is open. `facts` say
    /// what was refused.
    #[must_use]
    pub fn after_refusals(mut self, region: &Region, facts: &Facts) -> Self {
        if facts.boundary_is_refused() {
            self.ways = ways::ways(known_ways(region, facts), &self, facts);
            self.stale_sessions = ways::stale_sessions(&self.ways, facts.now);
        }
        self
    }
}

/// The Secrets that a Region needs, in the order in which they need each other.
#[must_use]
pub fn secrets(names: &Names, spec: &RegionSpec) -> Vec<SecretWanted> {
    let mut secrets = secret::authority(names);
    for component in COMPONENTS {
        secrets.extend((component.secrets)(names, spec));
    }
    secrets
}

/// The places that a spec names, all admitted.
struct Places {
    nodes: Resident<NodePool>,
    postgres_image: Resident<ImagePlace>,
    object_store_image: Resident<ImagePlace>,
    operator_image: Resident<ImagePlace>,
    fence_image: Resident<ImagePlace>,
    postgres_class: Resident<StorageClassPlace>,
    object_store_class: Resident<StorageClassPlace>,
    backup_bucket: Resident<BucketPlace>,
    evidence_bucket: Resident<BucketPlace>,
    buckets: BTreeMap<String, Resident<BucketPlace>>,
    externals: Vec<Resident<ExternalEndpoint>>,
}

/// Admits every place of the spec; a place that is refused is a violation, and then there are no places.
fn admit_places(
    spec: &RegionSpec,
    policy: &Policy,
    platform: &Platform,
    facts: &Facts,
    violations: &mut Vec<Violation>,
) -> Option<Places> {
    let bucket = |name: &str| BucketPlace {
        name: name.to_owned(),
        store_region: spec.residency.location.clone(),
    };
    // Every place is judged before any `?` returns: all the violations are reported at once.
    let nodes = keep(violations, admit_nodes(spec, policy, facts));
    let postgres_image = keep(violations, admit_postgres_image(spec, policy, platform));
    let object_store_image = keep(
        violations,
        policy.admit(
            "spec.objectStore",
            image(platform, &platform.object_store_image),
        ),
    );
    let operator_image = keep(
        violations,
        policy.admit(
            "spec.residency.location",
            image(platform, &platform.operator_image),
        ),
    );
    let fence_image = keep(
        violations,
        policy.admit(
            "spec.residency.location",
            image(platform, &platform.fence_image),
        ),
    );
    let postgres_class = keep(
        violations,
        admit_class(
            policy,
            facts,
            "spec.postgres.storage.data.storageClass",
            &spec.postgres.storage.data.storage_class,
        ),
    );
    let object_store_class = keep(
        violations,
        admit_class(
            policy,
            facts,
            "spec.objectStore.volume.storageClass",
            &spec.object_store.volume.storage_class,
        ),
    );
    let backup_bucket = keep(
        violations,
        policy.admit(
            "spec.backup.repos[0].store",
            bucket(crate::names::BACKUP_BUCKET),
        ),
    );
    let evidence_bucket = keep(
        violations,
        policy.admit(
            "spec.residency.location",
            bucket(crate::names::EVIDENCE_BUCKET),
        ),
    );
    let mut buckets = BTreeMap::new();
    for (index, wanted) in spec.object_store.buckets.iter().enumerate() {
        let field = format!("spec.objectStore.buckets[{index}]");
        if let Some(place) = keep(violations, policy.admit(&field, bucket(&wanted.name))) {
            buckets.insert(wanted.name.clone(), place);
        }
    }
    let mut externals = Vec::new();
    for (index, external) in spec.network.external.iter().enumerate() {
        let endpoint = ExternalEndpoint {
            name: external.name.clone(),
            cidrs: external.cidrs.clone(),
            ports: external.ports.clone(),
            location: external.location.clone(),
        };
        let field = format!("spec.network.external[{index}].location");
        externals.extend(keep(violations, policy.admit(&field, endpoint)));
    }
    Some(Places {
        nodes: nodes?,
        postgres_image: postgres_image?,
        object_store_image: object_store_image?,
        operator_image: operator_image?,
        fence_image: fence_image?,
        postgres_class: postgres_class?,
        object_store_class: object_store_class?,
        backup_bucket: backup_bucket?,
        evidence_bucket: evidence_bucket?,
        buckets,
        externals,
    })
}

fn surroundings(platform: &Platform, facts: &Facts) -> Surroundings {
    Surroundings {
        neighbours: facts.neighbours.clone(),
        nodes: facts.node_addresses.clone(),
        node_count: facts.nodes.len(),
        outside_address: platform.outside_address,
        outside_name: platform.outside_name.clone(),
    }
}

/// The value, or none with its violation kept.
fn keep<T>(violations: &mut Vec<Violation>, result: Result<T, Violation>) -> Option<T> {
    result.map_err(|violation| violations.push(violation)).ok()
}

/// How well a cluster can hold data in place. Several locations in one cluster can only be told apart by labels. A
/// control plane that is not seen, as with most providers, or a node elsewhere, is shared with other places.
fn assurance(platform: &Platform, policy: &Policy, facts: &Facts) -> Assurance {
    const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
    if platform.locations.len() > 1 {
        return Assurance::Simulated;
    }
    let in_place = |labels: &BTreeMap<String, String>| {
        labels
            .get(NODE_REGION)
            .is_some_and(|location| policy.allows(location))
    };
    let own_control_plane = facts
        .nodes
        .values()
        .any(|labels| labels.contains_key(CONTROL_PLANE));
    if own_control_plane && facts.nodes.values().all(in_place) {
        Assurance::Physical
    } else {
        Assurance::Logical
    }
}

fn delegation(names: &Names, policy: &Policy, facts: &Facts) -> Vec<Violation> {
    let command = format!(
        "print the manifest with `bailiwick-operator new {} --jurisdiction {} --location {}` and apply its \
         namespaces and bindings",
        names.region(),
        policy.jurisdiction(),
        policy.location()
    );
    let mut violations = Vec::new();
    for namespace in names.namespaces() {
        let Some(labels) = facts.namespaces.get(&namespace) else {
            violations.push(Violation::new(
                "metadata.name",
                Reason::NotDelegated,
                format!("namespace {namespace} does not exist; {command}"),
            ));
            continue;
        };
        for (label, expected) in [
            (LABEL_REGION, names.region()),
            (LABEL_LOCATION, policy.location()),
            (LABEL_JURISDICTION, policy.jurisdiction()),
        ] {
            let found = labels.get(label).map_or("", String::as_str);
            if found != expected {
                violations.push(Violation::new(
                    "metadata.name",
                    Reason::NotDelegated,
                    format!("namespace {namespace} has label {label}={found:?}, expected {expected}; {command}"),
                ));
            }
        }
    }
    if !facts.missing_rights.is_empty() {
        violations.push(Violation::new(
            "metadata.name",
            Reason::NotDelegated,
            format!(
                "the operator may not {}; {command}",
                facts.missing_rights.join(", ")
            ),
        ));
    }
    violations
}

/// A data directory of one major version cannot be opened by another: changing the image is no upgrade.
fn other_version(spec: &RegionSpec, facts: &Facts) -> Option<Violation> {
    let running = facts.postgres.seen()?.server_version / 10_000;
    (running > 0 && running != spec.postgres.version).then(|| {
        Violation::new(
            "spec.postgres.version",
            Reason::Invalid,
            format!(
                "is {}, but the database runs version {running} and nothing upgrades it in place yet; set it back to \
                 {running}, or make a new Region and move the data",
                spec.postgres.version
            ),
        )
    })
}

fn foreign_claims(policy: &Policy, facts: &Facts) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, claim) in facts.claims.all() {
        for (label, field, expected) in [
            (
                LABEL_JURISDICTION,
                "spec.residency.jurisdiction",
                policy.jurisdiction(),
            ),
            (LABEL_LOCATION, "spec.residency.location", policy.location()),
        ] {
            let found = claim.labels.get(label).map_or("", String::as_str);
            if found != expected {
                violations.push(Violation::new(
                    field,
                    Reason::ForeignVolume,
                    format!(
                        "is {expected}, but PersistentVolumeClaim {name} holds data of {found:?}; give the Region \
                         another name, or remove that volume by hand once its data is no longer needed"
                    ),
                ));
            }
        }
    }
    violations
}

fn lost_keys(secrets: &[SecretWanted], facts: &Facts) -> Vec<Violation> {
    // A claim is the trace that data leaves even while every pod is down. A drill has keys of its own.
    if facts.claims.live.is_empty() {
        return Vec::new();
    }
    secrets
        .iter()
        .filter(|wanted| {
            wanted.key
                && !facts.secrets.contains_key(&wanted.name)
                && !facts.remembered.contains(&wanted.name)
        })
        .map(|wanted| {
            Violation::new(
                "metadata.name",
                Reason::KeyMissing,
                format!(
                    "Secret {} is gone, but volumes that need it exist; restore it from your copy: a new key \
                     could not read the old data",
                    wanted.name
                ),
            )
        })
        .collect()
}

fn admit_nodes(
    spec: &RegionSpec,
    policy: &Policy,
    facts: &Facts,
) -> Result<Resident<NodePool>, Violation> {
    let mut selector = spec.residency.node_selector.clone();
    if selector.is_empty() {
        selector.insert(NODE_REGION.to_owned(), policy.location().to_owned());
    }
    let nodes = facts
        .nodes
        .iter()
        .filter(|(_, labels)| {
            selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
        .map(|(name, labels)| (name.clone(), labels.get(NODE_REGION).cloned()))
        .collect();
    policy.admit("spec.residency.nodeSelector", NodePool { selector, nodes })
}

fn image(platform: &Platform, image: &str) -> ImagePlace {
    ImagePlace {
        image: image.to_owned(),
        registries: platform.image_registries.clone(),
    }
}

fn admit_postgres_image(
    spec: &RegionSpec,
    policy: &Policy,
    platform: &Platform,
) -> Result<Resident<ImagePlace>, Violation> {
    let version = spec.postgres.version;
    let Some(found) = platform.postgres_images.get(&version) else {
        let known: Vec<String> = platform
            .postgres_images
            .keys()
            .map(ToString::to_string)
            .collect();
        return Err(Violation::new(
            "spec.postgres.version",
            Reason::NotFound,
            format!(
                "is {version}, expected one that the operator has an image of: {}",
                known.join(", ")
            ),
        ));
    };
    policy.admit("spec.postgres.version", image(platform, found))
}

fn admit_class(
    policy: &Policy,
    facts: &Facts,
    field: &str,
    name: &str,
) -> Result<Resident<StorageClassPlace>, Violation> {
    let Some(class) = facts.storage_classes.get(name) else {
        return Err(Violation::new(
            field,
            Reason::NotFound,
            format!(
                "names storage class {name}, which this cluster does not have; see `kubectl get storageclass`"
            ),
        ));
    };
    if !class.retains {
        return Err(Violation::new(
            field,
            Reason::Invalid,
            format!(
                "names storage class {name}, whose volumes are deleted with their claims; use a class with \
                 reclaimPolicy: Retain"
            ),
        ));
    }
    policy.admit(
        field,
        StorageClassPlace {
            name: name.to_owned(),
            locations: class.locations.clone(),
        },
    )
}
