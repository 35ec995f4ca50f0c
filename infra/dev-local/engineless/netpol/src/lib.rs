//! The development cluster's stand-in for a network plugin that enforces NetworkPolicy.
//!
//! Policies, pods and namespaces come in from the API server, one nftables table a node goes out. It exists
//! because no enforcer can be built where `make dev` has no container engine; it **belongs to the development cluster
//! only, is in no overlay and ships nowhere**. What passes against it says nothing about a production plugin, so every
//! result names the enforcer.
//!
//! The path of an event: [`watch`] keeps the few fields that matter ([`objects`]), [`rules`] works out what each pod
//! of the node may send and receive, [`nft`] writes that as text, [`enforce`] applies the text in one transaction when
//! it differs from what is in force.
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
//! - The table stays when the enforcer stops: what was shut remains shut.
//!
//! # New pods
//! An address of the node's pod range that no known pod has is shut off in both directions, so a new pod is never open
//! before its policies are in force: it is silent until the kubelet has reported its address and the enforcer has
//! applied it (a few tens of milliseconds later). Windows that remain, all bounded by the same delay:
//! - a pod that gains a label, or a policy that is written, takes effect with that delay;
//! - when a peer's address passes to another pod at once, rules that allowed the former pod still allow its successor
//!   until the API shows the change. A pod that is still listed with an address that another pod has as well is shut
//!   off instead, until the API shows who has it;
//! - before the very first start on a node there is no table. Started with `--pod-range` the enforcer shuts the range
//!   before it has reached the API server; without, as soon as the Node has a `spec.podCIDR`.

pub mod addresses;
pub mod enforce;
pub mod kernel;
pub mod nft;
pub mod objects;
pub mod rules;
pub mod watch;
