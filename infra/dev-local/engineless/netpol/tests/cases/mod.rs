//! The cases that the enforcer must get right, shared by the semantic and the packet test: a cluster of nine pods and
//! a list of steps come out, each a set of objects and the connections that must or must not come about. Pure: no I/O.

mod ours;
mod upstream;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::Ipv4Addr;

use bailiwick_dev_netpol::addresses::{AddressRange, AddressSet};
use bailiwick_dev_netpol::objects::{ObjectName, Pod, Policy, Protocol, World};
use bailiwick_dev_netpol::rules::{Enforcement, Packet};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use serde_json::{Value, json};

/// What a test gives back when it cannot go on.
pub type Failure = Box<dyn Error>;

/// The two nodes, as Kubernetes names them.
pub const NODES: [&str; 2] = ["node-1", "node-2"];
/// The addresses that the nodes give to their pods.
pub const POD_RANGES: [&str; 2] = ["10.201.1.0/24", "10.201.2.0/24"];
pub const TCP_80: ProbePort = ProbePort(Protocol::Tcp, 80);
pub const TCP_81: ProbePort = ProbePort(Protocol::Tcp, 81);
pub const UDP_80: ProbePort = ProbePort(Protocol::Udp, 80);
pub const UDP_81: ProbePort = ProbePort(Protocol::Udp, 81);
pub const SCTP_80: ProbePort = ProbePort(Protocol::Sctp, 80);
pub const SCTP_81: ProbePort = ProbePort(Protocol::Sctp, 81);

/// A destination port of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbePort(pub Protocol, pub u16);

impl fmt::Display for ProbePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.0 {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{protocol}/{}", self.1)
    }
}

/// Where packets come from and go to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `x/a` for a pod, the node's name for a node, `outside` for what is beyond the cluster.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The node that it is on, or that it is.
    pub node: Option<usize>,
    /// Whether it is a pod.
    pub pod: bool,
}

/// Every place: nine pods spread over two nodes, so that each pair of namespaces meets within and across nodes; the
/// nodes themselves; and one address of 198.51.100.0/24 that is none of theirs.
pub fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for (index, name) in [
        "x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c",
    ]
    .iter()
    .enumerate()
    {
        let node = index % 2;
        let third = if node == 0 { 1 } else { 2 };
        let last = u8::try_from(index + 10).unwrap_or(u8::MAX);
        places.push(Place {
            name: (*name).to_owned(),
            address: Ipv4Addr::new(10, 201, third, last),
            node: Some(node),
            pod: true,
        });
    }
    for (node, (name, third)) in NODES.iter().zip([1, 2]).enumerate() {
        let address = Ipv4Addr::new(10, 202, third, 2);
        places.push(Place {
            name: (*name).to_owned(),
            address,
            node: Some(node),
            pod: false,
        });
    }
    places.push(Place {
        name: "outside".to_owned(),
        address: Ipv4Addr::new(198, 51, 100, 10),
        node: None,
        pod: false,
    });
    places
}

/// The objects of the cluster, as the API would serve them.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Pods by `namespace/name`.
    pub pods: BTreeMap<String, Value>,
    /// Labels of the namespaces by name.
    pub namespaces: BTreeMap<String, Value>,
    /// Policies by `namespace/name`.
    pub policies: BTreeMap<String, Value>,
}

impl Scene {
    /// Nine pods in three namespaces and no policy.
    pub fn new() -> Self {
        let pods = places().into_iter().filter(|place| place.pod);
        Self {
            pods: pods
                .map(|place| (place.name.clone(), pod(&place)))
                .collect(),
            namespaces: ["x", "y", "z"]
                .into_iter()
                .map(|name| {
                    (
                        name.to_owned(),
                        json!({"ns": name, "kubernetes.io/metadata.name": name}),
                    )
                })
                .collect(),
            policies: BTreeMap::new(),
        }
    }

    /// Adds or changes a policy: `namespace/name` and its spec in YAML.
    pub fn apply(&mut self, (name, spec): (&str, &str)) -> Result<(), Failure> {
        let spec: Value =
            serde_yaml::from_str(spec).map_err(|error| format!("policy {name}: {error}"))?;
        self.policies.insert(name.to_owned(), spec);
        Ok(())
    }

    /// Sets a label of a pod (`x/a`) or namespace (`x`).
    pub fn label(&mut self, object: &str, key: &str, value: &str) {
        if let Some(pod) = self.pods.get_mut(object) {
            pod["metadata"]["labels"][key] = json!(value);
        }
        if let Some(labels) = self.namespaces.get_mut(object) {
            labels[key] = json!(value);
        }
    }

    /// What the enforcer makes of the objects.
    pub fn world(&self) -> Result<World, Failure> {
        let mut world = World::default();
        for (name, pod) in &self.pods {
            let pod: core::Pod = serde_json::from_value(pod.clone())?;
            world.pods.insert(object_name(name)?, Pod::from(&pod));
        }
        for (name, labels) in &self.namespaces {
            world
                .namespaces
                .insert(name.clone(), serde_json::from_value(labels.clone())?);
        }
        for (name, spec) in &self.policies {
            let spec = serde_json::from_value(spec.clone())
                .map_err(|error| format!("policy {name}: {error}"))?;
            let policy = Policy::from(&networking::NetworkPolicy {
                spec: Some(spec),
                ..Default::default()
            });
            if !policy.faults.is_empty() {
                return Err(format!("policy {name} cannot be read: {:?}", policy.faults).into());
            }
            world.policies.insert(object_name(name)?, policy);
        }
        Ok(world)
    }

    /// What each node enforces.
    pub fn enforcements(&self) -> Result<[Enforcement; 2], Failure> {
        let world = self.world()?;
        let of = |node: usize| -> Result<Enforcement, Failure> {
            let range = AddressRange::parse_cidr(POD_RANGES[node])?;
            Ok(Enforcement::new(
                &world,
                NODES[node],
                AddressSet::from_iter([range]),
            ))
        };
        Ok([of(0)?, of(1)?])
    }
}

fn pod(place: &Place) -> Value {
    let name = place.name.split('/').next_back().unwrap_or_default();
    let ports: Vec<Value> = ["TCP", "UDP", "SCTP"]
        .into_iter()
        .flat_map(|protocol| [80, 81].map(|port| (protocol, port)))
        .map(|(protocol, port)| {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            json!({"name": name, "protocol": protocol, "containerPort": port})
        })
        .collect();
    json!({
        "metadata": {"labels": {"pod": name}},
        "spec": {"nodeName": place.node.map(|node| NODES[node]), "containers": [{"name": "serve", "ports": ports}]},
        "status": {"phase": "Running", "podIP": place.address.to_string()},
    })
}

fn object_name(name: &str) -> Result<ObjectName, Failure> {
    let (namespace, name) = name
        .split_once('/')
        .ok_or_else(|| format!("{name} is not namespace/name"))?;
    Ok(ObjectName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Whether a flow comes about: every node whose forward hook sees its first packet must let it pass.
pub fn verdict(enforcements: &[Enforcement; 2], from: &Place, to: &Place, port: ProbePort) -> bool {
    if from == to {
        return true;
    }
    let packet = Packet {
        source: from.address,
        destination: to.address,
        protocol: port.0,
        port: port.1,
    };
    enforcements.iter().enumerate().all(|(node, enforcement)| {
        let is_node = |place: &Place| !place.pod && place.node == Some(node);
        let has_pod = |place: &Place| place.pod && place.node == Some(node);
        let forwarded = !is_node(from) && !is_node(to) && (has_pod(from) || has_pod(to));
        !forwarded || enforcement.permits(&packet)
    })
}

/// One thing that must hold, in the states that lead to it.
pub struct Case {
    /// What is checked.
    pub name: &'static str,
    /// The states that the cluster goes through.
    pub steps: Vec<Step>,
}

/// A state of the cluster and what must hold in it.
#[derive(Default)]
pub struct Step {
    /// The policies, each `namespace/name` and its spec in YAML.
    policies: Vec<(&'static str, &'static str)>,
    /// What else differs from the plain cluster.
    prepare: Option<fn(&mut Scene)>,
    /// Which connections come about, by port.
    pub checks: Vec<Check>,
}

/// The connections that must or must not come about on a port.
pub struct Check {
    /// The destination port.
    pub port: ProbePort,
    rules: Vec<Expected>,
}

/// From, to, and whether it connects. `*` stands for any namespace or name.
pub type Expected = (&'static str, &'static str, bool);

/// Connections that must not come about.
pub const fn no(from: &'static str, to: &'static str) -> Expected {
    (from, to, false)
}

/// Connections that must come about, as an exception to an earlier line.
pub const fn yes(from: &'static str, to: &'static str) -> Expected {
    (from, to, true)
}

/// A state with these policies and nothing else that differs.
pub fn with(policies: &[(&'static str, &'static str)]) -> Step {
    Step {
        policies: policies.to_vec(),
        ..Step::default()
    }
}

impl Step {
    /// Changes other objects than policies.
    pub fn after(mut self, prepare: fn(&mut Scene)) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// States who must not connect on a port. Pods that no line names connect; a later line wins. Places that are not
    /// pods are expected to do what a line says that names them, and else what the rules say.
    pub fn on(mut self, port: ProbePort, rules: &[Expected]) -> Self {
        self.checks.push(Check {
            port,
            rules: rules.to_vec(),
        });
        self
    }

    /// The objects of this state.
    pub fn scene(&self) -> Result<Scene, Failure> {
        let mut scene = Scene::new();
        for policy in &self.policies {
            scene.apply(*policy)?;
        }
        if let Some(prepare) = self.prepare {
            prepare(&mut scene);
        }
        Ok(scene)
    }
}

impl Check {
    /// Whether the connection must come about; nothing where the case does not say.
    pub fn expects(&self, from: &Place, to: &Place) -> Option<bool> {
        let said = self
            .rules
            .iter()
            .rev()
            .find(|(a, b, _)| matches(a, from) && matches(b, to));
        match said {
            Some((_, _, connects)) => Some(*connects),
            None if from.pod && to.pod => Some(true),
            None => None,
        }
    }
}

fn matches(pattern: &str, place: &Place) -> bool {
    match (pattern.split_once('/'), place.name.split_once('/')) {
        (Some((namespace, name)), Some(found)) => {
            (namespace == "*" || namespace == found.0) && (name == "*" || name == found.1)
        }
        (None, _) => pattern == place.name,
        (Some(_), None) => false,
    }
}

/// The cases of upstream's suite, one each.
pub fn upstream() -> Vec<Case> {
    upstream::cases()
}

/// What the API specifies and upstream's suite does not try, and what only this enforcer promises.
pub fn ours() -> Vec<Case> {
    ours::cases()
}
