//! What each policy and each Service opens.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Rendered, each_object, id, list, rendered, text};

#[test]
fn the_boundary_is_first_and_closes_every_namespace() {
    for Rendered { plan, objects } in rendered() {
        let policies: Vec<&Value> = objects
            .iter()
            .take_while(|object| object["kind"] == "NetworkPolicy")
            .collect();
        assert_eq!(
            policies.len(),
            objects
                .iter()
                .filter(|object| object["kind"] == "NetworkPolicy")
                .count(),
            "a policy comes after what it protects"
        );
        let closed: BTreeSet<&str> = policies
            .iter()
            .take(3)
            .filter(|policy| {
                let spec = &policy["spec"];
                let all = spec["podSelector"]
                    .as_object()
                    .is_none_or(serde_json::Map::is_empty);
                let both = spec["policyTypes"] == json!(["Ingress", "Egress"]);
                all && both && spec["ingress"].is_null() && spec["egress"].is_null()
            })
            .map(|policy| text(&policy["metadata"]["namespace"]))
            .collect();
        let namespaces = plan.names.namespaces();
        assert_eq!(closed, namespaces.iter().map(String::as_str).collect());
    }
}

#[test]
fn no_policy_is_open_to_everything() {
    let mut rules = 0;
    each_object(30, |plan, object| {
        if object["kind"] != "NetworkPolicy" {
            return false;
        }
        let declared: BTreeSet<&str> = plan
            .externals
            .iter()
            .flat_map(|external| external.place().cidrs.iter().map(String::as_str))
            .collect();
        for (direction, side) in [("ingress", "from"), ("egress", "to")] {
            for rule in list(&object["spec"][direction]) {
                rules += 1;
                // A rule without peers is open to all peers; one without ports, on all ports.
                assert!(list(&rule[side]).next().is_some(), "{}: {rule}", id(object));
                assert!(
                    list(&rule["ports"]).next().is_some(),
                    "{}: {rule}",
                    id(object)
                );
                for port in list(&rule["ports"]) {
                    assert!(
                        port["port"].is_i64() || port["port"].is_string(),
                        "{}: {port}",
                        id(object)
                    );
                }
                for peer in list(&rule[side]) {
                    let selects = |selector: &Value| {
                        ["matchLabels", "matchExpressions"].iter().any(|key| {
                            selector[*key]
                                .as_object()
                                .is_some_and(|labels| !labels.is_empty())
                                || selector[*key]
                                    .as_array()
                                    .is_some_and(|terms| !terms.is_empty())
                        })
                    };
                    let cidr = text(&peer["ipBlock"]["cidr"]);
                    if cidr.is_empty() {
                        assert!(
                            selects(&peer["podSelector"]) || selects(&peer["namespaceSelector"]),
                            "{}: {peer}",
                            id(object)
                        );
                        // A namespace that is anybody's must be named by something.
                        assert!(
                            peer["namespaceSelector"].is_null()
                                || selects(&peer["namespaceSelector"]),
                            "{}: {peer}",
                            id(object)
                        );
                    } else {
                        let single = cidr.ends_with("/32") || cidr.ends_with("/128");
                        assert!(single || declared.contains(cidr), "{}: {cidr}", id(object));
                        assert_eq!(direction, "egress", "{}: {cidr}", id(object));
                    }
                }
            }
        }
        true
    });
    assert!(rules >= 30, "only {rules} rules were looked at");
}

#[test]
fn every_service_stays_inside_the_cluster() {
    each_object(25, |_, object| {
        if object["kind"] != "Service" {
            return false;
        }
        let spec = &object["spec"];
        assert!(
            spec["type"].is_null() || spec["type"] == "ClusterIP",
            "{}",
            id(object)
        );
        for field in ["externalIPs", "externalName", "loadBalancerIP"] {
            assert!(spec[field].is_null(), "{} has {field}", id(object));
        }
        true
    });
}
