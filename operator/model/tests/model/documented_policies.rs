//! The NetworkPolicies that the documentation gives to the namespaces of clients: they deny all by default, and open the
//! cluster's DNS and the very pods and ports that a Region serves at, which lets them in. Reads files of the repository.

use std::collections::BTreeMap;
use std::path::Path;

use bailiwick_model::desired::desired;
use bailiwick_model::names::port;
use bailiwick_model::plan::Plan;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture;

type Labels = BTreeMap<String, String>;

/// The documents in the YAML of a page.
fn documents(page: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to");
    let text = std::fs::read_to_string(path.join(page)).unwrap();
    text.split("\n```yaml\n")
        .skip(1)
        .map(|rest| rest.split_once("\n```").unwrap().0)
        .flat_map(|block| {
            serde_yaml::Deserializer::from_str(block)
                .map(|document| Value::deserialize(document).unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn of_kind<T: serde::de::DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<T> {
    let of = documents.iter().filter(|it| it["kind"] == kind);
    of.map(|it| serde_json::from_value(it.clone()).unwrap())
        .collect()
}

/// Whether a selector of labels alone takes these.
fn takes(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    assert_eq!(selector.match_expressions, None);
    let asked = selector.match_labels.iter().flatten();
    asked
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// The pods of the Region's two services, by the port that each serves clients at.
fn served(plan: &Plan) -> Vec<(i32, Labels)> {
    [("tr-pg", port::POSTGRES), ("tr-s3", port::S3)]
        .map(|(name, port)| {
            let sets = desired(plan);
            let set = sets
                .iter()
                .find(|it| {
                    it.resource.kind == "StatefulSet"
                        && it.object.metadata.name.as_deref() == Some(name)
                })
                .unwrap();
            let template = &set.object.data["spec"]["template"];
            let listens = template["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|container| container["ports"].as_array().cloned().unwrap_or_default())
                .any(|it| it["containerPort"] == json!(port));
            assert!(listens, "{name} {port}");
            let labels = template["metadata"]["labels"].clone();
            (port, serde_json::from_value(labels).unwrap())
        })
        .into()
}

fn policy(plan: &Plan, name: &str) -> NetworkPolicy {
    let all = desired(plan);
    let found = all.iter().find(|it| {
        it.resource.kind == "NetworkPolicy"
            && it.object.metadata.name.as_deref() == Some(name)
            && it.object.metadata.namespace.as_deref() == Some("tr")
    });
    serde_json::from_value(serde_json::to_value(&found.unwrap().object).unwrap()).unwrap()
}

/// What the policies of a page open outwards for a pod, as peer and port, without DNS; which must be as the Region's own.
fn opened(plan: &Plan, policies: &[NetworkPolicy], pod: &Labels) -> Vec<(NetworkPolicyPeer, i32)> {
    let dns = policy(plan, "dns").spec.unwrap().egress.unwrap();
    let mut rules = Vec::new();
    for policy in policies {
        let spec = policy.spec.clone().unwrap();
        if takes(spec.pod_selector.as_ref(), pod) {
            rules.extend(spec.egress.into_iter().flatten());
        }
    }
    let (of_dns, rest): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| *rule == dns[0]);
    assert_eq!(of_dns.len(), 1);
    rest.into_iter()
        .map(|rule| {
            let [peer] = &rule.to.unwrap()[..] else {
                panic!("one peer a rule");
            };
            let [port] = &rule.ports.unwrap()[..] else {
                panic!("one port a rule");
            };
            assert_eq!(port.protocol.as_deref(), Some("TCP"));
            let Some(IntOrString::Int(port)) = port.port else {
                panic!("a number");
            };
            (peer.clone(), port)
        })
        .collect()
}

fn denies_all(policies: &[NetworkPolicy]) {
    let spec = policies[0].spec.clone().unwrap();
    assert_eq!(spec.pod_selector, Some(LabelSelector::default()));
    assert_eq!(
        spec.policy_types.unwrap(),
        ["Ingress".to_owned(), "Egress".to_owned()]
    );
    assert_eq!((spec.ingress, spec.egress), (None, None));
}

fn reaches(peer: &NetworkPolicyPeer, namespace: &Labels, pod: &Labels) -> bool {
    assert_eq!(peer.ip_block, None);
    takes(peer.namespace_selector.as_ref(), namespace) && takes(peer.pod_selector.as_ref(), pod)
}

fn named(name: &str) -> Labels {
    [("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into()
}

#[test]
fn an_applications_own_policies_open_what_its_region_serves_and_the_region_lets_it_in() {
    let page = documents("connect-an-application.md");
    // The client as the page writes it.
    let mut region = serde_json::to_value(fixture::tr()).unwrap();
    let client = page.iter().find(|it| it["spec"]["network"].is_object());
    region["spec"]["network"] = client.unwrap()["spec"]["network"].clone();
    let plan = fixture::planned(&serde_json::from_value(region).unwrap());

    let policies: Vec<NetworkPolicy> = of_kind(&page, "NetworkPolicy");
    assert_eq!(policies.len(), 3);
    denies_all(&policies);
    let app: Labels = [("app".to_owned(), "api".to_owned())].into();
    let open = opened(&plan, &policies, &app);
    let namespaces: Vec<Namespace> = of_kind(&page, "Namespace");
    let namespace = &namespaces[0].metadata;
    let labels = namespace.labels.clone().unwrap();
    let mut count = 0;
    for (port, pod) in served(&plan) {
        let reached = |name: &str| {
            open.iter()
                .filter(|(peer, at)| *at == port && reaches(peer, &named(name), &pod))
                .count()
        };
        assert_eq!(
            (reached("tr"), reached("es"), reached("tr-drill")),
            (1, 0, 0)
        );
        let of = if port == port::S3 {
            "object-store"
        } else {
            "postgres"
        };
        let spec = policy(&plan, of).spec.unwrap();
        let let_in =
            spec.ingress.unwrap().iter().any(|rule| {
                let ports = rule.ports.as_ref().unwrap();
                ports
                    .iter()
                    .any(|it| it.port == Some(IntOrString::Int(port)))
                    && rule.from.iter().flatten().any(|peer| {
                        peer.namespace_selector.is_some() && reaches(peer, &labels, &app)
                    })
            });
        assert!(let_in, "{of}");
        count += 1;
    }
    assert_eq!((count, open.len()), (2, 2));
    for policy in policies {
        assert_eq!(policy.metadata.namespace, namespace.name);
    }
}

#[test]
fn an_auditors_policies_open_the_object_store_to_the_pod_that_the_page_gives() {
    let page = documents("verify-evidence.md");
    let plan = fixture::planned(&fixture::tr());
    let policies: Vec<NetworkPolicy> = of_kind(&page, "NetworkPolicy");
    assert_eq!(policies.len(), 2);
    denies_all(&policies);
    let pods: Vec<Pod> = of_kind(&page, "Pod");
    let labels = pods[0].metadata.labels.clone().unwrap();
    let open = opened(&plan, &policies, &labels);
    let [_, (port, store)] = &served(&plan)[..] else {
        panic!("two services");
    };
    let [(peer, at)] = &open[..] else {
        panic!("one way");
    };
    assert!(at == port && reaches(peer, &named("tr"), store));
    assert!(!reaches(peer, &named("es"), store));
    for policy in policies {
        assert_eq!(policy.metadata.namespace, pods[0].metadata.namespace);
    }
}
