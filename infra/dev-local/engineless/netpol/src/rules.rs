//! What a node lets through: objects and the node's name come in, per pod of the node the isolated directions and
//! what they allow go out. Pure: no I/O. The rules are those of networking.k8s.io/v1 as its API reference states them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kube::core::SelectorExt;

use crate::addresses::{AddressRange, AddressSet};
use crate::objects::{ObjectName, Peer, Pod, Policy, Port, PortRange, Protocol, Rule, World};

/// What one node enforces on the packets that it forwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// The addresses that the node gives to its pods. One that no known pod has is shut off.
    pub pod_ranges: AddressSet,
    /// The node's pods by address.
    pub pods: BTreeMap<Ipv4Addr, LocalPod>,
}

/// What holds for the packets of one pod of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPod {
    /// Whose rules these are, for people who read the ruleset.
    pub name: String,
    /// Who may reach the pod.
    pub ingress: Isolation,
    /// Whom the pod may reach.
    pub egress: Isolation,
}

/// Whether policies isolate a pod in a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// No policy selects the pod for this direction: everything passes.
    Open,
    /// At least one policy does: only this passes.
    Only(BTreeSet<Allowance>),
}

/// Packets that pass: to or from these peers on these ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowance {
    /// The other side.
    pub peers: Peers,
    /// The destination ports.
    pub ports: Ports,
}

/// The other side of an allowance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peers {
    /// Any address.
    Everybody,
    /// These addresses.
    Only(AddressSet),
}

/// The destination ports of an allowance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// Every protocol and port, protocols without ports included.
    Every,
    /// These.
    Only(BTreeSet<PortRange>),
}

/// The first packet of a flow, as the forward hook of a node sees it: after Service addresses were translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The sender.
    pub source: Ipv4Addr,
    /// The receiver, never a Service.
    pub destination: Ipv4Addr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub port: u16,
}

impl Enforcement {
    /// Works out what the node enforces.
    ///
    /// Takes all objects of the cluster, the node's name and the addresses that the node gives to its pods.
    #[must_use]
    pub fn new(world: &World, node: &str, pod_ranges: AddressSet) -> Self {
        let census = Census::new(world);
        let policies: Vec<ResolvedPolicy<'_>> = world
            .policies
            .iter()
            .map(|(name, policy)| census.resolve(name, policy))
            .collect();
        let mut pods = BTreeMap::new();
        for (address, owners) in &census.owners {
            if !owners
                .iter()
                .any(|(_, pod)| pod.node.as_deref() == Some(node))
            {
                continue;
            }
            let local = match owners.as_slice() {
                [(name, pod)] => LocalPod {
                    name: name.to_string(),
                    ingress: ingress(name, pod, &policies),
                    egress: egress(name, pod, &policies),
                },
                contested => LocalPod {
                    name: format!("contested by {} pods", contested.len()),
                    ingress: Isolation::Only(BTreeSet::new()),
                    egress: Isolation::Only(BTreeSet::new()),
                },
            };
            pods.insert(*address, local);
        }
        Self { pod_ranges, pods }
    }

    /// Whether the node forwards the first packet of this flow.
    ///
    /// Later packets and replies of a flow that was let through once always pass. What never crosses the forward
    /// hook (a pod and its own node) is not asked about here, and is always allowed.
    #[must_use]
    pub fn permits(&self, packet: &Packet) -> bool {
        let source = self.pods.get(&packet.source);
        let destination = self.pods.get(&packet.destination);
        if packet.source == packet.destination && source.is_some() {
            return true; // No pod can be cut off from itself, through a Service of its own for instance.
        }
        let unknown =
            |address, pod: Option<&LocalPod>| pod.is_none() && self.pod_ranges.contains(address);
        if unknown(packet.source, source) || unknown(packet.destination, destination) {
            return false;
        }
        source.is_none_or(|pod| pod.egress.permits(packet.destination, packet))
            && destination.is_none_or(|pod| pod.ingress.permits(packet.source, packet))
    }

    /// How many of the node's pods are isolated in at least one direction.
    #[must_use]
    pub fn isolated(&self) -> usize {
        let isolated =
            |pod: &&LocalPod| pod.ingress != Isolation::Open || pod.egress != Isolation::Open;
        self.pods.values().filter(isolated).count()
    }
}

impl Isolation {
    fn permits(&self, peer: Ipv4Addr, packet: &Packet) -> bool {
        match self {
            Self::Open => true,
            Self::Only(allowances) => allowances
                .iter()
                .any(|allowance| allowance.permits(peer, packet)),
        }
    }
}

impl Allowance {
    fn permits(&self, peer: Ipv4Addr, packet: &Packet) -> bool {
        let peer_matches = match &self.peers {
            Peers::Everybody => true,
            Peers::Only(addresses) => addresses.contains(peer),
        };
        let port_matches = match &self.ports {
            Ports::Every => true,
            Ports::Only(ranges) => ranges
                .iter()
                .any(|range| range.contains(packet.protocol, packet.port)),
        };
        peer_matches && port_matches
    }
}

/// A policy whose peers are addresses.
struct ResolvedPolicy<'w> {
    name: &'w ObjectName,
    policy: &'w Policy,
    /// Peers of each ingress rule, beside the rule: named ports depend on the pod that is reached.
    ingress: Vec<(Peers, &'w Rule)>,
    /// What the egress rules allow, the same for every pod that the policy selects.
    egress: BTreeSet<Allowance>,
}

impl ResolvedPolicy<'_> {
    fn selects(&self, name: &ObjectName, pod: &Pod) -> bool {
        self.name.namespace == name.namespace && self.policy.subjects.matches(&pod.labels)
    }
}

fn ingress(name: &ObjectName, pod: &Pod, policies: &[ResolvedPolicy<'_>]) -> Isolation {
    let mut isolating = policies
        .iter()
        .filter(|resolved| resolved.policy.ingress.is_some() && resolved.selects(name, pod))
        .peekable();
    if isolating.peek().is_none() {
        return Isolation::Open;
    }
    let allowances =
        isolating
            .flat_map(|resolved| &resolved.ingress)
            .filter_map(|(peers, rule)| {
                let ports = match &rule.ports {
                    None => Ports::Every,
                    Some(ports) => Ports::Only(
                        ports
                            .iter()
                            .flat_map(|port| numbers_in(pod, port))
                            .collect(),
                    ),
                };
                allowance(peers.clone(), ports)
            });
    Isolation::Only(allowances.collect())
}

fn egress(name: &ObjectName, pod: &Pod, policies: &[ResolvedPolicy<'_>]) -> Isolation {
    let mut isolating = policies
        .iter()
        .filter(|resolved| resolved.policy.egress.is_some() && resolved.selects(name, pod))
        .peekable();
    if isolating.peek().is_none() {
        return Isolation::Open;
    }
    Isolation::Only(
        isolating
            .flat_map(|resolved| &resolved.egress)
            .cloned()
            .collect(),
    )
}

/// An allowance, unless it would allow nothing.
fn allowance(peers: Peers, ports: Ports) -> Option<Allowance> {
    let nobody = matches!(&peers, Peers::Only(addresses) if addresses.is_empty());
    let nothing = matches!(&ports, Ports::Only(ranges) if ranges.is_empty());
    (!nobody && !nothing).then_some(Allowance { peers, ports })
}

/// The numbers that a rule's port stands for in the pod that is reached.
fn numbers_in<'a>(pod: &'a Pod, port: &'a Port) -> impl Iterator<Item = PortRange> + 'a {
    let (range, named) = match port {
        Port::Numbers(range) => (Some(*range), None),
        Port::Named { protocol, name } => (None, Some((*protocol, name))),
    };
    let named = named.into_iter().flat_map(|(protocol, name)| {
        let same = pod
            .ports
            .iter()
            .filter(move |port| port.protocol == protocol && port.name == *name);
        same.map(move |port| PortRange::single(protocol, port.number))
    });
    range.into_iter().chain(named)
}

/// Who has which address.
struct Census<'w> {
    world: &'w World,
    /// All pods that claim an address. More than one while the API has not caught up with the nodes; until it has,
    /// such an address belongs to nobody, because either answer could open what a policy shuts.
    owners: BTreeMap<Ipv4Addr, Vec<(&'w ObjectName, &'w Pod)>>,
}

impl<'w> Census<'w> {
    fn new(world: &'w World) -> Self {
        let mut owners: BTreeMap<Ipv4Addr, Vec<_>> = BTreeMap::new();
        for (name, pod) in &world.pods {
            if let Some(address) = pod.policy_address() {
                owners.entry(address).or_default().push((name, pod));
            }
        }
        Self { world, owners }
    }

    /// Every pod that alone has its address.
    fn pods(&self) -> impl Iterator<Item = (Ipv4Addr, &'w ObjectName, &'w Pod)> {
        self.owners
            .iter()
            .filter_map(|(address, owners)| match owners.as_slice() {
                [(name, pod)] => Some((*address, *name, *pod)),
                _ => None,
            })
    }

    fn resolve(&self, name: &'w ObjectName, policy: &'w Policy) -> ResolvedPolicy<'w> {
        let resolved = |rule: &'w Rule| (self.peers(&name.namespace, rule.peers.as_deref()), rule);
        ResolvedPolicy {
            name,
            policy,
            ingress: policy.ingress.iter().flatten().map(resolved).collect(),
            egress: policy
                .egress
                .iter()
                .flatten()
                .map(resolved)
                .flat_map(|(peers, rule)| self.egress_allowances(&peers, rule.ports.as_deref()))
                .collect(),
        }
    }

    /// The addresses that a rule's peers stand for, in a policy of the namespace.
    fn peers(&self, namespace: &str, peers: Option<&[Peer]>) -> Peers {
        let Some(peers) = peers else {
            return Peers::Everybody;
        };
        let mut addresses = Vec::new();
        for peer in peers {
            match peer {
                Peer::Block(block) => addresses.extend(block.ranges().copied()),
                Peer::Pods { namespaces, pods } => {
                    let matching = self.pods().filter(|(_, name, pod)| {
                        let in_namespace = match namespaces {
                            None => name.namespace == namespace,
                            Some(selector) => {
                                let labels = self.world.namespaces.get(&name.namespace);
                                labels.is_some_and(|labels| selector.matches(labels))
                            }
                        };
                        in_namespace && pods.matches(&pod.labels)
                    });
                    addresses.extend(matching.map(|(address, ..)| AddressRange::from(address)));
                }
            }
        }
        Peers::Only(addresses.into_iter().collect())
    }

    /// Egress allowances of one rule. A named port means another number in each pod that is reached, and none where
    /// nobody answers to the name: then it allows pods only, not addresses outside the cluster.
    fn egress_allowances(&self, peers: &Peers, ports: Option<&[Port]>) -> Vec<Allowance> {
        let Some(ports) = ports else {
            return allowance(peers.clone(), Ports::Every).into_iter().collect();
        };
        let mut numbered = BTreeSet::new();
        let mut named: BTreeMap<PortRange, Vec<Ipv4Addr>> = BTreeMap::new();
        for port in ports {
            if let Port::Numbers(range) = port {
                numbered.insert(*range);
                continue;
            }
            for (address, _, pod) in self.pods() {
                let reached = match peers {
                    Peers::Everybody => true,
                    Peers::Only(addresses) => addresses.contains(address),
                };
                for range in numbers_in(pod, port).filter(|_| reached) {
                    named.entry(range).or_default().push(address);
                }
            }
        }
        let by_name = named.into_iter().filter_map(|(range, addresses)| {
            allowance(
                Peers::Only(addresses.into_iter().collect()),
                Ports::Only([range].into()),
            )
        });
        allowance(peers.clone(), Ports::Only(numbered))
            .into_iter()
            .chain(by_name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use serde_json::json;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn pod(node: &str, address: Ipv4Addr) -> Pod {
        Pod {
            uid: String::new(),
            labels: BTreeMap::new(),
            node: Some(node.to_owned()),
            address: Some(address),
            host_network: false,
            finished: false,
            ports: Vec::new(),
        }
    }

    fn name(namespace: &str, name: &str) -> ObjectName {
        ObjectName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// A policy of namespace `x` that lets its own pods in.
    fn from_own() -> Policy {
        let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]});
        let object: NetworkPolicy =
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        Policy::from(&object)
    }

    #[test]
    fn an_address_that_two_pods_claim_is_in_no_peer_set_on_any_node() {
        let mut world = World::default();
        world.policies.insert(name("x", "own"), from_own());
        world
            .pods
            .insert(name("x", "server"), pod("tr-1", Ipv4Addr::new(10, 0, 0, 9)));
        world.pods.insert(name("x", "client"), pod("es-1", ADDRESS));
        let packet = Packet {
            source: ADDRESS,
            destination: Ipv4Addr::new(10, 0, 0, 9),
            protocol: Protocol::Tcp,
            port: 80,
        };
        let permits =
            |world: &World| Enforcement::new(world, "tr-1", AddressSet::default()).permits(&packet);
        assert!(permits(&world));
        world.pods.insert(name("z", "other"), pod("es-1", ADDRESS));
        assert!(!permits(&world));
    }

    #[test]
    fn a_pod_is_never_cut_off_from_itself() {
        let mut world = World::default();
        let mut shut = from_own();
        shut.ingress = Some(Vec::new());
        shut.egress = Some(Vec::new());
        world.policies.insert(name("x", "shut"), shut);
        world.pods.insert(name("x", "a"), pod("tr-1", ADDRESS));
        let enforcement = Enforcement::new(&world, "tr-1", AddressSet::default());
        let packet = |destination| Packet {
            source: ADDRESS,
            destination,
            protocol: Protocol::Udp,
            port: 53,
        };
        assert!(enforcement.permits(&packet(ADDRESS)));
        assert!(!enforcement.permits(&packet(Ipv4Addr::new(10, 0, 0, 6))));
        assert_eq!(enforcement.isolated(), 1);
    }
}
