//! The development cluster's stand-in for a network plugin that enforces NetworkPolicy.
//!
//! Policies, pods and namespaces come in from the API server, one nftables table a node goes out. It exists
//! because no enforcer can be built where `make dev` has no container engine; it **belongs to the development cluster
//! only, is in no overlay and ships nowhere**. What passes against it says nothing about a production plugin, so every
//! result names the enforcer.
//!
//! The path of an event: [`watch`] keeps the few fields that matter ([`objects`]), [`rules`] works out what each pod
//! of the node may send and receive, [`nft`] writes that as text, [`enforce`] applies the text in one transaction when
//! it differs from what is in force. The path of a new pod: the container runtime calls the program as a network plugin
//! ([`cni`]), which tells the enforcer the address ([`arrivals`]) and lets the pod start once its rules are in force.
//!
//! # What holds
//! - The semantics are those of `networking.k8s.io/v1`; the conformance test sends real packets for every case of
//!   upstream's end-to-end suite and more.
//! - Egress is decided on the sender's node, ingress on the receiver's, both in the forward hook and so behind
//!   kube-proxy's address translation. Every packet of a pod must cross that hook: pods hang on the `ptp` plugin, each
//!   behind a route of its own, and the network namespace belongs to the node alone.
//! - Packets between a pod and its own node do not cross the hook and always pass, as the API specifies.
//! - Flows that were let through once keep passing until they end, also when a policy is tightened meanwhile. The API
//!   leaves this to the plugin.
//! - A packet meets the rules before a change or those after it. Only a table that somebody else changed is made anew, and
//!   a packet on its way in that moment may pass.
//! - The table stays when the enforcer stops: what was shut remains shut.
//!
//! # New pods
//! An address of the node's pod range that no known pod has is shut off in both directions, and policies are read anew
//! before a pod becomes known. So a new pod is never open although a policy selects it, whatever lags or is broken.
//! Without the network plugin it is silent instead, until the kubelet has reported its address: a second or two, in
//! which its first packets are lost. With the plugin it starts some 20 ms later and is not silent.
//!
//! Windows that remain, each as long as the API takes to tell and the enforcer to apply (some tens of milliseconds;
//! longer while the API server cannot be reached):
//! - a pod that gains a label, or a policy that is written, takes effect with that delay;
//! - a peer on another node is let in by its labels only once the API has its address;
//! - when a peer's address passes to another pod at once, rules that allowed the former pod allow its successor until
//!   then. While two pods are listed with one address, that address is shut off and nobody's peer;
//! - before the very first start on a node there is no table. Started with `--pod-range` the enforcer shuts the range
//!   before it has reached the API server; without, as soon as the Node has a `spec.podCIDR`.

pub mod addresses;
pub mod arrivals;
pub mod cni;
pub mod command;
pub mod enforce;
pub mod kernel;
pub mod nft;
pub mod objects;
pub mod rules;
pub mod watch;
