//! The canaries: pods that try what a Region's boundary must forbid, and what it must let through. A plan in, the
//! questions that they are asked out, and the Jobs that are due; `verdict` judges what they answer. No I/O.

pub mod verdict;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::desired::{Manifest, boundary, object_store, postgres};
use crate::endpoint;
use crate::facts::{Facts, Neighbour};
use crate::names::{Flow, Names, port};
use crate::plan::Plan;
use crate::residency::{ExternalEndpoint, Resident};
use crate::step::Step;

/// The environment variable that a canary reads its [`Question`] from, as JSON.
pub const VARIABLE: &str = "BAILIWICK_CANARY";
/// The most targets of one class: an answer must fit the 4096 bytes of a termination message.
pub const MOST_TARGETS: usize = 8;
/// Where clouds serve the credentials of a machine to whatever runs on it.
pub const METADATA_ADDRESS: &str = "169.254.169.254";
/// The port of the kubelet, which listens on every node.
const KUBELET: u16 = 10250;

/// How soon a question is asked again whose answer was not as it should be.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How many Jobs of a guise there are beside those of the schedule, at most, before one is asked again: they go ten
/// minutes after their end, so that what stays broken is left to the schedule.
const MOST_AT_ONCE: usize = 3;
/// How many hexadecimal digits of a hash make a question's id: it ends the name of a Job.
const ID_LENGTH: usize = 10;

/// What a target is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A pod of another Region, by its address.
    OtherRegionPod,
    /// A Service of another Region, by its name.
    OtherRegionService,
    /// An address outside the cluster.
    OutsideAddress,
    /// A name outside the cluster, asked of the pod's own resolver.
    OutsideName,
    /// A node. The one that the canary runs on is left out: its traffic with its own pods is always allowed.
    OtherNode,
    /// The metadata service of a cloud.
    MetadataAddress,
    /// The API server; members of Postgres alone may reach it, for Patroni.
    ApiServer,
    /// The Region's own object store.
    OwnObjectStore,
    /// A name inside the cluster.
    ClusterName,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OtherRegionPod,
        Self::OtherRegionService,
        Self::OutsideAddress,
        Self::OutsideName,
        Self::OtherNode,
        Self::MetadataAddress,
        Self::ApiServer,
        Self::OwnObjectStore,
        Self::ClusterName,
    ];

    /// The word for messages and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherRegionPod => "OtherRegionPod",
            Self::OtherRegionService => "OtherRegionService",
            Self::OutsideAddress => "OutsideAddress",
            Self::OutsideName => "OutsideName",
            Self::OtherNode => "OtherNode",
            Self::MetadataAddress => "MetadataAddress",
            Self::ApiServer => "ApiServer",
            Self::OwnObjectStore => "OwnObjectStore",
            Self::ClusterName => "ClusterName",
        }
    }

    /// Whether the boundary lets a pod of this guise through to it.
    #[must_use]
    pub const fn allowed(self, guise: Guise) -> bool {
        match self {
            Self::OwnObjectStore | Self::ClusterName => true,
            Self::ApiServer => matches!(guise, Guise::Postgres),
            Self::OtherRegionPod
            | Self::OtherRegionService
            | Self::OutsideAddress
            | Self::OutsideName
            | Self::OtherNode
            | Self::MetadataAddress => false,
        }
    }
}

/// What a canary passes for. Each has all that the boundary opens to its flow, and nothing that a Service, a
/// StatefulSet or Patroni selects.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guise {
    /// A pod without more rights than any.
    Plain,
    /// A member of Postgres: the policy that surrounds the data is the one that is tried.
    Postgres,
}

impl Guise {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Postgres];

    /// The flow whose label it carries.
    #[must_use]
    pub const fn flow(self) -> Flow {
        match self {
            Self::Plain => Flow::Canary,
            Self::Postgres => Flow::Postgres,
        }
    }

    /// The value of [`crate::names::LABEL_TASK`], and what the names of its objects end with.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Plain => "canary",
            Self::Postgres => "canary-pg",
        }
    }
}

/// One thing to try.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub class: Class,
    /// What people call it, for example `es/es-pg-0`.
    pub name: String,
    /// How it is tried.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// How a target is tried.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Attempt {
    /// A TCP connection to `host:port`.
    Connect(String),
    /// A question for this name, to the resolvers that the pod is given and to nobody else.
    Resolve(String),
    /// The same for a name inside the cluster, with the search domains that the pod is given.
    ResolveInside(String),
}

impl Attempt {
    /// The endpoint or name.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Connect(text) | Self::Resolve(text) | Self::ResolveInside(text) => text,
        }
    }
}

/// What one canary is to try.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// A hash of the targets and of the boundary that they are tried through: an answer to another says nothing.
    pub id: String,
    /// The targets.
    pub targets: Vec<Target>,
}

/// What a canary leaves in its termination message.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The [`Question::id`] that it answers.
    pub question: String,
    /// One outcome a target, in the order of the question.
    pub outcomes: Vec<Tried>,
}

/// How an attempt ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The connection stood.
    Reached,
    /// The connection was reset: a packet came there, and an answer came back.
    Refused,
    /// No answer, or the network said that there is no way.
    Blocked,
    /// The name has an address.
    Resolved,
    /// The name has none, or nobody would say.
    NotResolved,
    /// The attempt itself could not be made, or what came back cannot be read.
    Failed,
}

/// What surrounds a Region, as far as canaries try it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The Regions of this cluster, by name; the Region itself may be among them.
    pub neighbours: Arc<BTreeMap<String, Neighbour>>,
    /// The addresses of all nodes, by name.
    pub nodes: BTreeMap<String, String>,
    /// How many nodes there are, be their addresses known or not.
    pub node_count: usize,
    /// An endpoint outside the cluster that answers whoever reaches it.
    pub outside_address: Option<SocketAddr>,
    /// A name outside the cluster that resolves for whoever may ask.
    pub outside_name: Option<String>,
}

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
            (postgres::COMPONENT, names.postgres_rw(), port::POSTGRES),
            (object_store::COMPONENT, names.object_store(), port::S3),
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
        postgres::COMPONENT => Some(port::POSTGRES),
        object_store::COMPONENT => Some(port::S3),
        _ => None,
    }
}

/// Whether the spec opens this endpoint to Postgres.
pub(crate) fn declared(externals: &[Resident<ExternalEndpoint>], address: SocketAddr) -> bool {
    externals.iter().any(|external| {
        let external = external.place();
        external.ports.contains(&i32::from(address.port()))
            && external
                .cidrs
                .iter()
                .any(|cidr| endpoint::may_hold(cidr, address.ip()))
    })
}

/// The Jobs that are due at once, beside those on the schedule: a question that no canary was ever asked, and one whose
/// newest answer was not as it should be, [`AGAIN`] later, so that nobody waits for the schedule once the cause is gone.
/// Not before the store answers, since a canary tries that too, and one at a time a guise.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    if plan.spec.lifecycle.hibernated || facts.store.seen().is_none() {
        return Vec::new();
    }
    questions(plan)
        .iter()
        .filter_map(|(guise, question)| {
            let schedule = plan.names.canary(*guise);
            let known = || {
                facts
                    .jobs
                    .iter()
                    .filter_map(|(job, fact)| Some((made_of(job, &schedule)?, fact)))
            };
            let run = due(question, *guise, facts)?;
            let runs = known().any(|(_, fact)| !fact.succeeded && !fact.failed);
            let asked = known().filter(|(run, _)| run.len() == ID_LENGTH).count();
            let first = run == question.id;
            let is_known = facts
                .jobs
                .contains_key(&plan.names.canary_job(*guise, &run));
            (!runs && !is_known && (first || asked < MOST_AT_ONCE)).then(|| {
                Step::Create(Box::new(Manifest::of(&crate::desired::canary::job(
                    plan, *guise, question, &run,
                ))))
            })
        })
        .collect()
}

/// The word that ends the name of the Job that is due for a question; none when it was answered well, or just now.
fn due(question: &Question, guise: Guise, facts: &Facts) -> Option<String> {
    let answers = verdict::answers(facts, guise);
    let Some(newest) = answers
        .iter()
        .find(|heard| heard.answer.question == question.id)
    else {
        return Some(question.id.clone());
    };
    if verdict::is_as_wanted(question, guise, newest) || facts.now.duration_since(newest.at) < AGAIN
    {
        return None;
    }
    // Once for each answer, whoever asks.
    let mut run = format!(
        "{:x}",
        Sha256::digest(format!("{} {}", question.id, newest.at))
    );
    run.truncate(ID_LENGTH);
    Some(run)
}

/// What ends the name of a Job that has its name from a schedule: the name and one more word.
pub(crate) fn made_of<'a>(job: &'a str, schedule: &str) -> Option<&'a str> {
    job.strip_prefix(schedule)
        .and_then(|rest| rest.strip_prefix('-'))
        .filter(|rest| !rest.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_its_own_schedule() {
        assert_eq!(made_of("tr-canary-29384761", "tr-canary"), Some("29384761"));
        assert_eq!(
            made_of("tr-canary-pg-29384761", "tr-canary-pg"),
            Some("29384761")
        );
        assert_eq!(made_of("tr-canary-pg-29384761", "tr-canary"), None);
        assert_eq!(made_of("tr-canary", "tr-canary"), None);
    }
}
