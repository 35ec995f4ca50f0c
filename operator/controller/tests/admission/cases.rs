//! The table of attempts: each breaks one validation of one policy and nothing else. Values; no I/O.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

mod deletions;
mod foreign_kinds;
mod network;
mod pods;
mod rights;

use deletions::{deletions, exceptions, namespaces};
use foreign_kinds::foreign_kinds;
use network::{network_policies, services, tunnels};
use pods::{images, isolation, makers, placement, volumes};
use rights::{rights, secrets};
use serde_json::{Value, json};

use crate::objects::{container, plural, with};
use crate::request::{Ask, Who};

/// The operator.
pub const OPERATOR: Who = Who::Program("system:serviceaccount:bailiwick-system:bailiwick-operator");
/// Those who may open a tunnel.
pub const BREAK_GLASS: Who = Who::Member("bailiwick:break-glass");

/// Those who may answer for a leakage channel.
pub const APPROVER: Who = Who::Member("bailiwick:residency-approvers");
/// Who answers for the exception that stands in Region `es`.
pub const STANDING_APPROVER: &str = "alice";

/// One attempt.
pub struct Case {
    /// The policy that refuses it.
    pub policy: &'static str,
    /// The index of the validation that it breaks.
    pub validation: usize,
    /// What is tried.
    pub name: String,
    /// By whom.
    pub who: Who,
    /// The request.
    pub ask: Ask,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            policy,
            validation,
            name,
            ..
        } = self;
        write!(f, "{policy} {validation}: {name}")
    }
}

/// A namespace of the Region's own.
pub const OWN: &str = "tr";
/// The namespace of a client.
pub const CLIENT: &str = "tr-app";
/// A namespace of a Region from before the policies, whose Pod Security is weak.
pub const WEAK: &str = "weak";
/// A namespace that is nobody's business.
pub const FOREIGN: &str = "other";

/// The collection of a kind in a namespace.
fn collection(namespace: &str, object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let resource = match kind {
        "Endpoints" => "endpoints".to_owned(),
        kind => plural(kind),
    };
    if kind == "Namespace" || kind == "Region" {
        return format!("/{root}/{version}/{resource}");
    }
    format!("/{root}/{version}/namespaces/{namespace}/{resource}")
}

/// Makes an object.
pub fn create(namespace: &str, object: Value) -> Ask {
    Ask {
        method: "POST",
        path: collection(namespace, &object),
        body: object,
    }
}

/// Changes the object of that kind and name which stands in each namespace.
fn change(namespace: &str, object: &Value, edit: Value) -> Ask {
    let name = object["metadata"]["name"].as_str().unwrap();
    Ask {
        method: "PATCH",
        path: format!("{}/{name}", collection(namespace, object)),
        body: edit,
    }
}

fn delete(namespace: &str, object: &Value) -> Ask {
    Ask {
        method: "DELETE",
        ..change(namespace, object, Value::Null)
    }
}

/// A tunnel to what stands in each namespace.
pub fn tunnel(method: &'static str, namespace: &str, path: &str) -> Ask {
    Ask {
        method,
        path: format!("/api/v1/namespaces/{namespace}/{path}"),
        body: Value::Null,
    }
}

/// The table under construction.
struct Table {
    cases: Vec<Case>,
    policy: &'static str,
    validation: usize,
}

impl Table {
    /// What follows breaks this validation.
    fn of(&mut self, policy: &'static str, validation: usize) -> &mut Self {
        self.policy = policy;
        self.validation = validation;
        self
    }

    fn by(&mut self, who: Who, name: impl Into<String>, ask: Ask) -> &mut Self {
        self.cases.push(Case {
            policy: self.policy,
            validation: self.validation,
            name: name.into(),
            who,
            ask,
        });
        self
    }

    fn editor(&mut self, name: impl Into<String>, ask: Ask) -> &mut Self {
        self.by(Who::Editor, name, ask)
    }
}

/// Every attempt.
pub fn cases() -> Vec<Case> {
    let mut table = Table {
        cases: Vec::new(),
        policy: "",
        validation: 0,
    };
    deletions(&mut table);
    exceptions(&mut table);
    namespaces(&mut table);
    placement(&mut table);
    images(&mut table);
    isolation(&mut table);
    makers(&mut table);
    services(&mut table);
    network_policies(&mut table);
    foreign_kinds(&mut table);
    volumes(&mut table);
    tunnels(&mut table);
    secrets(&mut table);
    rights(&mut table);
    table.cases
}

/// An exception for a channel that somebody answers for.
pub fn exception(channel: &str, approver: &str, expires: &str) -> Value {
    json!({"channel": channel, "reason": "a drill", "approvedBy": approver, "expires": expires})
}

/// An edit of a Region's exceptions.
pub fn excepting(region: &str, exceptions: &Value) -> Ask {
    Ask {
        method: "PATCH",
        path: format!("/apis/bailiwick.dev/v1alpha1/regions/{region}"),
        body: json!({"spec": {"residency": {"exceptions": exceptions}}}),
    }
}

/// A new Region with these exceptions.
pub fn region(exceptions: &Value) -> Ask {
    create(
        "",
        json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": {"name": "fresh"},
            "spec": {
                "residency": {"jurisdiction": "TR", "location": "tr-ist-1", "exceptions": exceptions},
                "postgres": {"version": 17, "instances": 1,
                    "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1-local"}}},
                "objectStore": {"servers": 1, "volume": {"size": "1Gi", "storageClass": "tr-ist-1-local"}}
            }
        }),
    )
}

/// Until when the exception of Region `es` stands, and until when it should.
pub const STANDS: &str = "2027-01-31T00:00:00Z";

/// An ephemeral container is added to the pod that stands.
pub fn ephemeral(namespace: &str, image: &str) -> Ask {
    Ask {
        method: "PATCH",
        path: format!("/api/v1/namespaces/{namespace}/pods/standing/ephemeralcontainers"),
        body: json!({"spec": {"ephemeralContainers":
            [with(container(), json!({"name": "shell", "image": image}))]}}),
    }
}

/// Kinds that a cluster may have, by the policy that refuses them: one of each group.
pub const FOREIGN_KINDS: [(&str, &str, &str); 33] = [
    (
        "bailiwick-network-plugins",
        "cilium.io",
        "CiliumNetworkPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "cilium.io",
        "CiliumLocalRedirectPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "crd.projectcalico.org",
        "NetworkPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "projectcalico.org",
        "NetworkSet",
    ),
    (
        "bailiwick-network-plugins",
        "crd.antrea.io",
        "NetworkPolicy",
    ),
    ("bailiwick-network-plugins", "k8s.ovn.org", "EgressFirewall"),
    (
        "bailiwick-network-plugins",
        "k8s.cni.cncf.io",
        "NetworkAttachmentDefinition",
    ),
    ("bailiwick-exposure", "networking.k8s.io", "Ingress"),
    (
        "bailiwick-exposure",
        "gateway.networking.k8s.io",
        "HTTPRoute",
    ),
    (
        "bailiwick-exposure",
        "gateway.networking.k8s.io",
        "ReferenceGrant",
    ),
    (
        "bailiwick-exposure",
        "networking.istio.io",
        "VirtualService",
    ),
    ("bailiwick-exposure", "route.openshift.io", "Route"),
    ("bailiwick-exposure", "traefik.io", "IngressRoute"),
    ("bailiwick-exposure", "projectcontour.io", "HTTPProxy"),
    ("bailiwick-exposure", "externaldns.k8s.io", "DNSEndpoint"),
    (
        "bailiwick-exposure",
        "configuration.konghq.com",
        "TCPIngress",
    ),
    ("bailiwick-exposure", "k8s.nginx.org", "VirtualServer"),
    ("bailiwick-exposure", "getambassador.io", "Mapping"),
    ("bailiwick-exposure", "apisix.apache.org", "ApisixRoute"),
    (
        "bailiwick-other-clusters",
        "multicluster.x-k8s.io",
        "ServiceExport",
    ),
    (
        "bailiwick-other-clusters",
        "multicluster.x-k8s.io",
        "ServiceImport",
    ),
    ("bailiwick-other-clusters", "net.gke.io", "ServiceExport"),
    ("bailiwick-other-clusters", "submariner.io", "Endpoint"),
    (
        "bailiwick-other-clusters",
        "policy.karmada.io",
        "PropagationPolicy",
    ),
    (
        "bailiwick-other-clusters",
        "offloading.liqo.io",
        "NamespaceOffloading",
    ),
    (
        "bailiwick-other-clusters",
        "types.kubefed.io",
        "FederatedSecret",
    ),
    (
        "bailiwick-volume-copies",
        "volsync.backube",
        "ReplicationSource",
    ),
    ("bailiwick-volume-copies", "k8up.io", "Backup"),
    ("bailiwick-volume-copies", "cr.kanister.io", "ActionSet"),
    (
        "bailiwick-volume-copies",
        "replication.storage.openshift.io",
        "VolumeReplication",
    ),
    (
        "bailiwick-secret-stores",
        "external-secrets.io",
        "PushSecret",
    ),
    (
        "bailiwick-secret-stores",
        "external-secrets.io",
        "SecretStore",
    ),
    (
        "bailiwick-secret-stores",
        "secretgen.carvel.dev",
        "SecretExport",
    ),
];
