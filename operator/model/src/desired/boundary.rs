//! The network boundary: default deny both ways in all the Region's namespaces, then exactly the flows that its
//! components and clients need; without those of clients and declared endpoints while a breach is there. A plan in,
//! NetworkPolicies out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::region::{Client, Service};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::facts::ApiServerAddress;
use crate::flow::{Flow, Peer};
use crate::manifest::{Manifest, kept};
use crate::names::{
    LABEL_FLOW, LABEL_NAME, LABEL_REGION, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, port,
};
use crate::plan::Plan;

/// The label that the API server itself puts on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The value of [`LABEL_NAME`] on the boundary's objects.
use crate::names::component::BOUNDARY as COMPONENT;

/// The boundary, default deny first.
#[must_use]
pub fn manifests(plan: &Plan) -> Vec<Manifest> {
    let mut policies: Vec<NetworkPolicy> = plan
        .names
        .namespaces()
        .iter()
        .map(|namespace| default_deny(plan, namespace))
        .collect();
    policies.push(dns(plan));
    policies.extend(Flow::ALL.map(|own| of_flow(plan, own)));
    policies.extend(external(plan));
    policies.iter().map(Manifest::of).collect()
}

fn policy(plan: &Plan, namespace: &str, name: &str, spec: NetworkPolicySpec) -> NetworkPolicy {
    NetworkPolicy {
        // No owner: the garbage collector would take the fence while Postgres still stops behind it. See `retire`.
        metadata: kept(plan, namespace, name, COMPONENT),
        spec: Some(spec),
    }
}

fn both_directions() -> Vec<String> {
    vec!["Ingress".to_owned(), "Egress".to_owned()]
}

fn default_deny(plan: &Plan, namespace: &str) -> NetworkPolicy {
    policy(
        plan,
        namespace,
        "default-deny",
        NetworkPolicySpec {
            policy_types: Some(both_directions()),
            ..NetworkPolicySpec::default()
        },
    )
}

/// All pods that have a flow may ask the cluster's DNS.
fn dns(plan: &Plan) -> NetworkPolicy {
    let resolver = NetworkPolicyPeer {
        namespace_selector: Some(labels(&[(NAMESPACE_NAME, "kube-system")])),
        pod_selector: Some(labels(&[("k8s-app", "kube-dns")])),
        ip_block: None,
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: LABEL_FLOW.to_owned(),
                operator: "Exists".to_owned(),
                values: None,
            }]),
            match_labels: None,
        }),
        policy_types: Some(vec!["Egress".to_owned()]),
        egress: Some(vec![NetworkPolicyEgressRule {
            to: Some(vec![resolver]),
            ports: Some(vec![port_of("UDP", port::DNS), port_of("TCP", port::DNS)]),
        }]),
        ingress: None,
    };
    policy(plan, &plan.names.namespace(), "dns", spec)
}

/// The policy of the pods of a flow: what the components' connections let in and out, and nothing else.
fn of_flow(plan: &Plan, own: Flow) -> NetworkPolicy {
    let mut ingress: Vec<(Option<i32>, Vec<NetworkPolicyPeer>)> = Vec::new();
    let mut egress: Vec<(Peer, Vec<i32>)> = Vec::new();
    for connection in &plan.connections {
        if connection.to == Peer::Pods(own) {
            let peers = peers(plan, connection.from);
            match ingress.iter_mut().find(|it| it.0 == connection.port) {
                Some((_, others)) => others.extend(peers),
                None => ingress.push((connection.port, peers)),
            }
        }
        if connection.from == Peer::Pods(own) {
            match egress.iter_mut().find(|it| it.0 == connection.to) {
                Some((_, ports)) => ports.extend(connection.port),
                None => egress.push((connection.to, connection.port.into_iter().collect())),
            }
        }
    }
    let ingress: Vec<_> = ingress
        .into_iter()
        .map(|(port, peers)| from(peers, port.as_slice()))
        .collect();
    let egress: Vec<_> = egress
        .into_iter()
        .flat_map(|(peer, ports)| match peer {
            Peer::ApiServer => api_server(plan),
            _ => vec![to(peers(plan, peer), &ports)],
        })
        .collect();
    let spec = NetworkPolicySpec {
        pod_selector: Some(labels(&[(LABEL_FLOW, own.label())])),
        policy_types: Some(both_directions()),
        ingress: (!ingress.is_empty()).then_some(ingress),
        egress: (!egress.is_empty()).then_some(egress),
    };
    policy(plan, &plan.names.namespace(), own.label(), spec)
}

/// A peer in the words of a NetworkPolicy; nobody for one that has addresses instead.
fn peers(plan: &Plan, peer: Peer) -> Vec<NetworkPolicyPeer> {
    match peer {
        Peer::Pods(pods) => vec![flow(pods)],
        Peer::Operator => vec![operator()],
        Peer::Clients(service) => clients(plan, service).collect(),
        Peer::ApiServer => Vec::new(),
    }
}

/// To the API server, whose addresses no selector can name.
fn api_server(plan: &Plan) -> Vec<NetworkPolicyEgressRule> {
    let rule = |address: &ApiServerAddress| {
        let width = if address.ip.contains(':') { 128 } else { 32 };
        to(
            vec![block(&format!("{}/{width}", address.ip))],
            &[address.port],
        )
    };
    plan.api_server.iter().map(rule).collect()
}

/// The declared places outside the cluster, for Postgres alone: nothing else of ours speaks to the outside.
fn external(plan: &Plan) -> Option<NetworkPolicy> {
    if plan.externals.is_empty() {
        return None;
    }
    // Shut off it lets nothing through. Were it left out, it would go after everything else was applied, not before.
    let egress = plan
        .externals
        .iter()
        .filter(|_| !plan.breach.is_active())
        .map(|endpoint| {
            let endpoint = endpoint.place();
            to(
                endpoint.cidrs.iter().map(|cidr| block(cidr)).collect(),
                &endpoint.ports,
            )
        })
        .collect();
    let spec = NetworkPolicySpec {
        pod_selector: Some(labels(&[(LABEL_FLOW, Flow::Postgres.label())])),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(egress),
    };
    Some(policy(plan, &plan.names.namespace(), "external", spec))
}

fn clients(plan: &Plan, service: Service) -> impl Iterator<Item = NetworkPolicyPeer> + '_ {
    plan.spec
        .network
        .clients
        .iter()
        .filter(move |client| client.to.contains(&service) && !plan.breach.is_active())
        .map(|client| client_peer(plan, client))
}

/// The client's pods, in namespaces of the Region alone: whatever else a selector finds, and whoever may label a
/// namespace, the label that the admission policies guard is asked for too.
fn client_peer(plan: &Plan, client: &Client) -> NetworkPolicyPeer {
    let region = plan.names.region();
    let mut namespaces = client.namespace_selector.clone();
    let labels = namespaces.match_labels.get_or_insert_default();
    let named = labels
        .entry(LABEL_REGION.to_owned())
        .or_insert_with(|| region.to_owned());
    if named != region {
        // Of two values a label has one at most: this selects nothing, which is what was asked for.
        namespaces
            .match_expressions
            .get_or_insert_default()
            .push(LabelSelectorRequirement {
                key: LABEL_REGION.to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![region.to_owned()]),
            });
    }
    NetworkPolicyPeer {
        namespace_selector: Some(namespaces),
        pod_selector: client.pod_selector.clone(),
        ip_block: None,
    }
}

fn operator() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labels(&[(NAMESPACE_NAME, OPERATOR_NAMESPACE)])),
        pod_selector: Some(labels(&[(LABEL_NAME, OPERATOR_SERVICE_ACCOUNT)])),
        ip_block: None,
    }
}

fn flow(flow: Flow) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(labels(&[(LABEL_FLOW, flow.label())])),
        ..NetworkPolicyPeer::default()
    }
}

fn block(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        ),
        match_expressions: None,
    }
}

fn from(peers: Vec<NetworkPolicyPeer>, ports: &[i32]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(peers),
        ports: Some(tcp(ports)),
    }
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: &[i32]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(peers),
        ports: Some(tcp(ports)),
    }
}

fn tcp(ports: &[i32]) -> Vec<NetworkPolicyPort> {
    ports.iter().map(|port| port_of("TCP", *port)).collect()
}

fn port_of(protocol: &str, port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(port)),
        end_port: None,
    }
}
