//! The canaries: pods that try what a Region's boundary must forbid, and what it must let through. A plan in, the
//! questions that they are asked out, and the Jobs that are due; `verdict` judges what they answer. No I/O.

pub mod question;
pub mod schedule;
pub mod verdict;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::canary::question::{
    Attempt, Class, KUBELET, METADATA_ADDRESS, MOST_TARGETS, Question, Target,
};
use crate::desired::boundary;
use crate::facts::Neighbour;
use crate::fence::declared;
use crate::flow::Guise;
use crate::names::{Names, component, port};
use crate::plan::Plan;

/// How many hexadecimal digits of a hash make a question's id: it ends the name of a Job.
const ID_LENGTH: usize = 10;

/// What each guise is to try.
#[must_use]
pub fn questions(plan: &Plan) -> BTreeMap<Guise, Question> {
    let boundary = boundary_text(plan);
    Guise::ALL
        .map(|guise| {
            let targets = targets(plan, guise);
            let mut digest = Sha256::new();
            digest.update(serde_json::to_string(&targets).unwrap_or_default());
            digest.update(&boundary);
            // What was answered before a breach says nothing of the boundary after it, which is the same.
            if plan.breach.count > 0 {
                digest.update(plan.breach.count.to_be_bytes());
            }
            let mut id = format!("{:x}", digest.finalize());
            id.truncate(ID_LENGTH);
            (guise, Question { id, targets })
        })
        .into()
}

fn boundary_text(plan: &Plan) -> String {
    boundary::manifests(plan)
        .iter()
        .map(|manifest| serde_json::to_string(&manifest.object).unwrap_or_default())
        .collect::<Vec<_>>()
        .concat()
}

/// What a pod of this guise is to try, forbidden and allowed, in the order of [`Class`].
#[must_use]
pub fn targets(plan: &Plan, guise: Guise) -> Vec<Target> {
    let around = &plan.surroundings;
    let mut targets = Vec::new();
    let mut add = |class, mut found: Vec<(String, Attempt)>| {
        found.truncate(MOST_TARGETS);
        targets.extend(found.into_iter().map(|(name, attempt)| Target {
            class,
            name,
            attempt,
        }));
    };
    let connect = |host: &str, port: &dyn std::fmt::Display| {
        Attempt::Connect(if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        })
    };

    let neighbours = neighbours(plan);
    // The first of every neighbour, then the second of every neighbour: a cap leaves no neighbour out before it must.
    let mut pods: Vec<(usize, usize, (String, Attempt))> = Vec::new();
    let mut services = Vec::new();
    for (turn, (region, neighbour)) in neighbours.iter().enumerate() {
        // Its drills' as well, after its live ones; their names have their namespace already.
        let listening = neighbour.pods.all().filter_map(|(name, pod)| {
            let port = listens_on(&pod.component)?;
            let name = if name.contains('/') {
                name.clone()
            } else {
                format!("{region}/{name}")
            };
            Some((name, connect(&pod.ip, &port)))
        });
        pods.extend(listening.enumerate().map(|(rank, pod)| (rank, turn, pod)));
        let names = Names::new(region);
        for (component, service, port) in [
            (component::POSTGRES, names.postgres_rw(), port::POSTGRES),
            (component::OBJECT_STORE, names.object_store(), port::S3),
        ] {
            // Behind a Service without a ready pod there is nobody to be reached.
            if neighbour
                .pods
                .live
                .values()
                .any(|pod| pod.ready && pod.component == component)
            {
                let host = format!("{service}.{}.svc", names.namespace());
                services.push((format!("{region}/{service}"), connect(&host, &port)));
            }
        }
    }
    pods.sort_by_key(|(rank, turn, _)| (*rank, *turn));
    add(
        Class::OtherRegionPod,
        pods.into_iter().map(|(_, _, pod)| pod).collect(),
    );
    add(Class::OtherRegionService, services);

    // No plan declares it: see `endpoint`. If one did, Postgres would not try it, and then the class is not tested.
    let outside = around
        .outside_address
        .filter(|address| guise != Guise::Postgres || !declared(&plan.externals, *address));
    add(
        Class::OutsideAddress,
        outside
            .map(|address| (address.to_string(), Attempt::Connect(address.to_string())))
            .into_iter()
            .collect(),
    );
    add(
        Class::OutsideName,
        around
            .outside_name
            .iter()
            .map(|name| (name.clone(), Attempt::Resolve(name.clone())))
            .collect(),
    );
    add(Class::OtherNode, nodes(plan, &connect));
    add(
        Class::MetadataAddress,
        vec![(
            METADATA_ADDRESS.to_owned(),
            connect(METADATA_ADDRESS, &80_u16),
        )],
    );
    add(
        Class::ApiServer,
        plan.api_server
            .iter()
            .map(|address| (address.ip.clone(), connect(&address.ip, &address.port)))
            .collect(),
    );
    let store = plan.names.object_store_host();
    add(
        Class::OwnObjectStore,
        vec![(plan.names.object_store(), connect(&store, &port::S3))],
    );
    add(
        Class::ClusterName,
        vec![(store.clone(), Attempt::ResolveInside(store))],
    );
    targets
}

/// The other Regions in an order of this Region's own, so that not every Region tries the same few.
fn neighbours(plan: &Plan) -> Vec<(&String, &Neighbour)> {
    let own = plan.names.region();
    let regions = plan.surroundings.neighbours.iter();
    let mut all: Vec<_> = regions.filter(|(region, _)| *region != own).collect();
    all.sort_by_key(|(region, _)| {
        Sha256::digest(format!("{} {region}", plan.names.region())).to_vec()
    });
    all
}

/// The nodes of other places first: a way to them is the worse leak.
fn nodes(
    plan: &Plan,
    connect: &dyn Fn(&str, &dyn std::fmt::Display) -> Attempt,
) -> Vec<(String, Attempt)> {
    let own = &plan.nodes.place().nodes;
    let mut nodes: Vec<_> = plan.surroundings.nodes.iter().collect();
    nodes.sort_by_key(|(node, _)| (own.contains_key(*node), *node));
    nodes
        .into_iter()
        .map(|(node, address)| (node.clone(), connect(address, &KUBELET)))
        .collect()
}

/// The port that the pods of a component listen on; none of what listens nowhere.
fn listens_on(component: &str) -> Option<i32> {
    match component {
        component::POSTGRES => Some(port::POSTGRES),
        component::OBJECT_STORE => Some(port::S3),
        _ => None,
    }
}
