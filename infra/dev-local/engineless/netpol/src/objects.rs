//! What the enforcer keeps of Kubernetes objects: pods, namespaces and policies come in as the API serves
//! them, the few fields that decide about packets go out. Pure: no I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Selector;

use crate::addresses::{AddressRange, AddressSet};

/// Labels of a pod or namespace.
pub type Labels = BTreeMap<String, String>;

/// The name of a namespaced object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace that the object is in.
    pub namespace: String,
    /// The object's name within its namespace.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A transport protocol that a policy can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Transmission Control Protocol, what a port without a protocol means.
    Tcp,
    /// User Datagram Protocol.
    Udp,
    /// Stream Control Transmission Protocol.
    Sctp,
}

impl Protocol {
    /// Reads the API's spelling; nothing means TCP. Gives nothing for a protocol that the API does not know.
    #[must_use]
    pub fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// A container port that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    /// The port's name.
    pub name: String,
    /// The protocol it is declared with.
    pub protocol: Protocol,
    /// Its number in the pod.
    pub number: u16,
}

/// What decides about a pod's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What tells the pod from an earlier one of the same name.
    pub uid: String,
    /// The pod's labels.
    pub labels: Labels,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Its IPv4 address, once the kubelet or the node's network plugin has reported one.
    pub address: Option<Ipv4Addr>,
    /// Whether it uses the node's own network; such a pod is node, not pod, to a policy.
    pub host_network: bool,
    /// Whether it has Succeeded or Failed: its address may belong to another pod by now.
    pub finished: bool,
    /// Its named container ports.
    pub ports: Vec<NamedPort>,
}

impl Pod {
    /// The address under which policies know this pod: none for pods in the node's network and for finished ones.
    #[must_use]
    pub fn policy_address(&self) -> Option<Ipv4Addr> {
        self.address
            .filter(|_| !self.host_network && !self.finished)
    }
}

impl From<&core::Pod> for Pod {
    fn from(pod: &core::Pod) -> Self {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let first = status.and_then(|status| status.pod_ip.as_deref());
        let others = status
            .and_then(|status| status.pod_ips.as_deref())
            .unwrap_or_default();
        let phase = status.and_then(|status| status.phase.as_deref());
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            address: first
                .into_iter()
                .chain(others.iter().map(|other| other.ip.as_str()))
                .find_map(|text| text.parse().ok()),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            ports: spec.map(named_ports).unwrap_or_default(),
        }
    }
}

/// Named ports of the containers that run as long as the pod does: sidecars are init containers that restart always.
fn named_ports(spec: &core::PodSpec) -> Vec<NamedPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(NamedPort {
                name: port.name.clone()?,
                protocol: Protocol::read(port.protocol.as_deref())?,
                number: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

/// Which packets a rule lets through: those that match one of its peers and one of its ports.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The other side; nothing stands for everybody, an empty list for nobody.
    pub peers: Option<Vec<Peer>>,
    /// The destination ports; nothing stands for every port of every protocol, an empty list for none.
    pub ports: Option<Vec<Port>>,
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// An `ipBlock`, its exceptions taken out.
    Block(AddressSet),
    /// Pods by label.
    Pods {
        /// The namespaces to look in; nothing stands for the policy's own.
        namespaces: Option<Selector>,
        /// The pods in them.
        pods: Selector,
    },
}

/// A destination port of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Ports by number, both ends included; 0 to 65535 stands for the whole protocol.
    Numbers(PortRange),
    /// A port by the name that the destination pod gives it.
    Named {
        /// The protocol that the port must be declared with.
        protocol: Protocol,
        /// The name to look up.
        name: String,
    },
}

/// Ports of one protocol from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// Every port of a protocol.
    #[must_use]
    pub const fn whole(protocol: Protocol) -> Self {
        Self {
            protocol,
            first: 0,
            last: u16::MAX,
        }
    }

    /// A single port.
    #[must_use]
    pub const fn single(protocol: Protocol, port: u16) -> Self {
        Self {
            protocol,
            first: port,
            last: port,
        }
    }

    /// Whether the range holds the port of the protocol.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && self.first <= port && port <= self.last
    }
}

/// A NetworkPolicy, its selectors and networks read.
///
/// A part that cannot be read never opens anything: an unreadable rule part allows nothing, an unreadable
/// `podSelector` selects every pod of the namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The pods that the policy isolates, in its own namespace.
    pub subjects: Selector,
    /// Its ingress rules; nothing when it does not isolate for ingress.
    pub ingress: Option<Vec<Rule>>,
    /// Its egress rules; nothing when it does not isolate for egress.
    pub egress: Option<Vec<Rule>>,
    /// `metadata.generation`, so that a reader can tell which state of the policy is enforced.
    pub generation: i64,
    /// What could not be read, each with its field; to be logged.
    pub faults: Vec<String>,
}

impl From<&networking::NetworkPolicy> for Policy {
    fn from(policy: &networking::NetworkPolicy) -> Self {
        let spec = policy.spec.clone().unwrap_or_default();
        let mut reader = Reader::default();
        let types = spec.policy_types.unwrap_or_default();
        let affects = |direction: &str| types.iter().any(|kind| kind == direction);
        let ingress_rules = spec.ingress.unwrap_or_default();
        let egress_rules = spec.egress.unwrap_or_default();
        // The API's default: every policy affects ingress, one that has egress rules affects egress too.
        let ingress = types.is_empty() || affects("Ingress");
        let egress = if types.is_empty() {
            !egress_rules.is_empty()
        } else {
            affects("Egress")
        };
        Self {
            subjects: reader
                .selector("spec.podSelector", &spec.pod_selector.unwrap_or_default())
                .unwrap_or_default(),
            ingress: ingress.then(|| {
                let rules = ingress_rules.iter().enumerate();
                rules
                    .map(|(index, rule)| {
                        let field = format!("spec.ingress[{index}]");
                        Rule {
                            peers: reader.peers(&format!("{field}.from"), rule.from.as_deref()),
                            ports: reader.ports(&format!("{field}.ports"), rule.ports.as_deref()),
                        }
                    })
                    .collect()
            }),
            egress: egress.then(|| {
                let rules = egress_rules.iter().enumerate();
                rules
                    .map(|(index, rule)| {
                        let field = format!("spec.egress[{index}]");
                        Rule {
                            peers: reader.peers(&format!("{field}.to"), rule.to.as_deref()),
                            ports: reader.ports(&format!("{field}.ports"), rule.ports.as_deref()),
                        }
                    })
                    .collect()
            }),
            generation: policy.metadata.generation.unwrap_or_default(),
            faults: reader.faults,
        }
    }
}

/// Reads the parts of a policy and gathers what it cannot read.
#[derive(Default)]
struct Reader {
    faults: Vec<String>,
}

impl Reader {
    fn selector(&mut self, field: &str, selector: &LabelSelector) -> Option<Selector> {
        match Selector::try_from(selector.clone()) {
            Ok(selector) => Some(selector),
            Err(error) => {
                self.faults.push(format!(
                    "{field}: {error}; use In, NotIn, Exists or DoesNotExist"
                ));
                None
            }
        }
    }

    fn peers(
        &mut self,
        field: &str,
        peers: Option<&[networking::NetworkPolicyPeer]>,
    ) -> Option<Vec<Peer>> {
        let peers = peers.filter(|peers| !peers.is_empty())?;
        let peers = peers.iter().enumerate();
        Some(
            peers
                .filter_map(|(index, peer)| self.peer(&format!("{field}[{index}]"), peer))
                .collect(),
        )
    }

    fn peer(&mut self, field: &str, peer: &networking::NetworkPolicyPeer) -> Option<Peer> {
        if let Some(block) = &peer.ip_block {
            return self
                .block(&format!("{field}.ipBlock"), block)
                .map(Peer::Block);
        }
        let namespaces = match &peer.namespace_selector {
            Some(selector) => Some(self.selector(&format!("{field}.namespaceSelector"), selector)?),
            None => None,
        };
        let pods = match &peer.pod_selector {
            Some(selector) => self.selector(&format!("{field}.podSelector"), selector)?,
            None if namespaces.is_some() => Selector::default(),
            None => {
                self.faults.push(format!(
                    "{field}: expected podSelector, namespaceSelector or ipBlock; set one"
                ));
                return None;
            }
        };
        Some(Peer::Pods { namespaces, pods })
    }

    fn block(&mut self, field: &str, block: &networking::IPBlock) -> Option<AddressSet> {
        // An IPv6 block is valid and matches nothing here, because no pod has an IPv6 address.
        if block.cidr.contains(':') {
            return Some(AddressSet::default());
        }
        let within = self.network(&format!("{field}.cidr"), &block.cidr)?;
        let mut holes = Vec::new();
        for (index, except) in block.except.iter().flatten().enumerate() {
            holes.push(self.network(&format!("{field}.except[{index}]"), except)?);
        }
        Some(AddressSet::from_iter([within]).without(&holes.into_iter().collect()))
    }

    fn network(&mut self, field: &str, text: &str) -> Option<AddressRange> {
        match AddressRange::parse_cidr(text) {
            Ok(range) => Some(range),
            Err(error) => {
                self.faults.push(format!("{field}: {error}"));
                None
            }
        }
    }

    fn ports(
        &mut self,
        field: &str,
        ports: Option<&[networking::NetworkPolicyPort]>,
    ) -> Option<Vec<Port>> {
        let ports = ports.filter(|ports| !ports.is_empty())?;
        let ports = ports.iter().enumerate();
        Some(
            ports
                .filter_map(|(index, port)| self.port(&format!("{field}[{index}]"), port))
                .collect(),
        )
    }

    fn port(&mut self, field: &str, port: &networking::NetworkPolicyPort) -> Option<Port> {
        let Some(protocol) = Protocol::read(port.protocol.as_deref()) else {
            self.faults.push(format!(
                "{field}.protocol: expected TCP, UDP or SCTP; use one of them"
            ));
            return None;
        };
        let first = match &port.port {
            None => return Some(Port::Numbers(PortRange::whole(protocol))),
            Some(IntOrString::String(name)) => {
                return Some(Port::Named {
                    protocol,
                    name: name.clone(),
                });
            }
            Some(IntOrString::Int(number)) => *number,
        };
        let last = port.end_port.unwrap_or(first);
        match (u16::try_from(first), u16::try_from(last)) {
            (Ok(first), Ok(last)) if first <= last => Some(Port::Numbers(PortRange {
                protocol,
                first,
                last,
            })),
            _ => {
                self.faults.push(format!(
                    "{field}: expected ports between 1 and 65535 with endPort not below port, found {first} to {last}"
                ));
                None
            }
        }
    }
}

/// All objects that decide about packets, as last seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// Every pod of the cluster.
    pub pods: BTreeMap<ObjectName, Pod>,
    /// The labels of every namespace.
    pub namespaces: BTreeMap<String, Labels>,
    /// Every policy of the cluster.
    pub policies: BTreeMap<ObjectName, Policy>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(spec: &Value) -> Policy {
        let object: networking::NetworkPolicy = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "x"}, "spec": spec}),
        )
        .unwrap();
        Policy::from(&object)
    }

    fn pod(value: &Value) -> Pod {
        let object: core::Pod = serde_json::from_value(value.clone()).unwrap();
        Pod::from(&object)
    }

    #[test]
    fn policy_types_default_to_ingress_and_to_egress_where_there_are_egress_rules() {
        let cases = [
            (json!({}), true, false),
            (json!({"ingress": [{}]}), true, false),
            (json!({"egress": []}), true, false),
            (json!({"egress": [{}]}), true, true),
            (json!({"policyTypes": ["Egress"]}), false, true),
            (
                json!({"policyTypes": ["Ingress"], "egress": [{}]}),
                true,
                false,
            ),
            (json!({"policyTypes": ["Ingress", "Egress"]}), true, true),
        ];
        for (spec, ingress, egress) in cases {
            let read = policy(&spec);
            assert_eq!(
                (read.ingress.is_some(), read.egress.is_some()),
                (ingress, egress),
                "{spec}"
            );
            assert!(read.faults.is_empty(), "{:?}", read.faults);
        }
    }

    #[test]
    fn a_missing_list_means_all_and_an_unreadable_entry_means_none() {
        let open = policy(&json!({"ingress": [{"from": [], "ports": []}]}));
        assert_eq!(
            open.ingress,
            Some(vec![Rule {
                peers: None,
                ports: None
            }])
        );
        let cases = [
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]}),
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0"]}}]}]}),
            json!({"ingress": [{"from": [{}]}]}),
            json!({"ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]}]}),
        ];
        for spec in cases {
            let read = policy(&spec);
            assert_eq!(
                read.ingress,
                Some(vec![Rule {
                    peers: Some(vec![]),
                    ports: None
                }]),
                "{spec}"
            );
            assert_eq!(read.faults.len(), 1, "{:?}", read.faults);
        }
        for port in [
            json!({"protocol": "ICMP"}),
            json!({"port": 70000}),
            json!({"port": 90, "endPort": 80}),
        ] {
            let read = policy(&json!({"ingress": [{"ports": [port]}]}));
            assert_eq!(
                read.ingress,
                Some(vec![Rule {
                    peers: None,
                    ports: Some(vec![])
                }]),
                "{port}"
            );
            assert_eq!(read.faults.len(), 1, "{:?}", read.faults);
        }
    }

    #[test]
    fn an_unreadable_pod_selector_isolates_the_whole_namespace() {
        let read = policy(
            &json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
        );
        assert!(read.subjects.selects_all());
        assert_eq!(read.faults.len(), 1);
    }

    #[test]
    fn only_running_pods_with_a_network_of_their_own_are_known_by_address() {
        let running = json!({"spec": {"containers": []}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
        assert_eq!(
            pod(&running).policy_address(),
            Some(Ipv4Addr::new(10, 0, 0, 1))
        );
        for phase in ["Succeeded", "Failed"] {
            let mut finished = running.clone();
            finished["status"]["phase"] = json!(phase);
            assert_eq!(pod(&finished).policy_address(), None);
        }
        let mut host = running;
        host["spec"]["hostNetwork"] = json!(true);
        assert_eq!(pod(&host).policy_address(), None);
        let dual = json!({"status": {"podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.2"}]}});
        assert_eq!(
            pod(&dual).policy_address(),
            Some(Ipv4Addr::new(10, 0, 0, 2))
        );
    }

    #[test]
    fn named_ports_come_from_containers_and_sidecars_only() {
        let port = |name: &str, number: i32| json!({"name": name, "containerPort": number});
        let read = pod(&json!({"spec": {
            "containers": [{"name": "a", "ports": [port("web", 80), {"containerPort": 81}]}],
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "ports": [port("mesh", 82)]},
                {"name": "once", "ports": [port("gone", 83)]},
            ],
        }}));
        let names: Vec<_> = read
            .ports
            .iter()
            .map(|port| (port.name.as_str(), port.number))
            .collect();
        assert_eq!(names, [("web", 80), ("mesh", 82)]);
    }
}
