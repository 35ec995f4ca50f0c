//! Services, NetworkPolicies and tunnels.

use serde_json::{Value, json};

use super::{CLIENT, OPERATOR, OWN, Table, change, collection, create, delete, ephemeral, tunnel};
use crate::objects::{endpoint_slice, endpoints, network_policy, service, with};
use crate::request::{Ask, Who};

pub fn services(table: &mut Table) {
    let spec = |edit: Value| create(OWN, with(service("new"), json!({"spec": edit})));
    table
        .of("bailiwick-services", 0)
        .editor("a NodePort", spec(json!({"type": "NodePort"})))
        .editor("a load balancer", spec(json!({"type": "LoadBalancer"})))
        .editor(
            "a client's load balancer",
            create(
                CLIENT,
                with(service("new"), json!({"spec": {"type": "LoadBalancer"}})),
            ),
        )
        .editor(
            "a name outside",
            spec(json!({"type": "ExternalName", "externalName": "example.org", "selector": null})),
        )
        .editor(
            "a Service becomes a NodePort",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"type": "NodePort"}}),
            ),
        );
    table
        .of("bailiwick-services", 1)
        .editor(
            "an external address",
            spec(json!({"externalIPs": ["203.0.113.7"]})),
        )
        .editor(
            "a Service gets an external address",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"externalIPs": ["203.0.113.7"]}}),
            ),
        );
    table
        .of("bailiwick-services", 2)
        .editor(
            "a Service without a selector",
            spec(json!({"selector": null})),
        )
        .editor(
            "a Service loses its selector",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"selector": null}}),
            ),
        );
    table.of("bailiwick-services", 3);
    for key in [
        "service.cilium.io/global",
        "io.cilium/global-service",
        "external-dns.alpha.kubernetes.io/hostname",
        "tailscale.com/expose",
    ] {
        table.editor(
            format!("a Service annotated {key}"),
            create(
                OWN,
                with(
                    service("new"),
                    json!({"metadata": {"annotations": {key: "true"}}}),
                ),
            ),
        );
    }
    table.editor(
        "a Service exported by its label",
        change(
            OWN,
            &service("standing"),
            json!({"metadata": {"labels": {"mirror.linkerd.io/exported": "true"}}}),
        ),
    );
    table
        .of("bailiwick-endpoints", 0)
        .editor(
            "an EndpointSlice made by hand",
            create(OWN, endpoint_slice("new")),
        )
        .editor("Endpoints made by hand", create(OWN, endpoints("new")))
        .editor(
            "an EndpointSlice is repointed",
            change(
                OWN,
                &endpoint_slice("standing"),
                json!({"endpoints": [{"addresses": ["198.51.100.7"]}]}),
            ),
        )
        .by(
            OPERATOR,
            "an EndpointSlice by the operator",
            create(OWN, endpoint_slice("new")),
        );
}

/// A rule with one peer.
fn peer(direction: &str, peer: &Value) -> Value {
    json!([{direction: [peer]}])
}

pub fn network_policies(table: &mut Table) {
    let none = json!([]);
    let standing = network_policy("standing", &none, &none);
    table
        .of("bailiwick-network-policies", 0)
        .editor(
            "a NetworkPolicy by an editor",
            create(OWN, network_policy("new", &none, &none)),
        )
        .editor(
            "a NetworkPolicy is changed",
            change(
                OWN,
                &standing,
                json!({"spec": {"podSelector": {"matchLabels": {"no": "pod"}}}}),
            ),
        )
        .editor("a NetworkPolicy is deleted", delete(OWN, &standing))
        .editor(
            "all NetworkPolicies are deleted",
            Ask {
                method: "DELETE",
                path: collection(OWN, &standing),
                body: Value::Null,
            },
        )
        .by(
            Who::Program("system:serviceaccount:es:es-pg"),
            "a NetworkPolicy by another Region's pod",
            create(OWN, network_policy("new", &none, &none)),
        )
        .by(
            Who::Program("system:serviceaccount:es:bailiwick-operator"),
            "a NetworkPolicy by an account of the operator's name elsewhere",
            create(OWN, network_policy("new", &none, &none)),
        );

    let egress = |rules: Value| create(OWN, network_policy("new", &rules, &none));
    let ingress = |rules: Value| create(OWN, network_policy("new", &none, &rules));
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let all = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    table
        .of("bailiwick-network-policies", 1)
        .by(OPERATOR, "egress to everything", egress(json!([{}])))
        .by(
            OPERATOR,
            "egress to everything on a port",
            egress(json!([{"ports": [{"port": 443}]}])),
        )
        .by(OPERATOR, "ingress from everything", ingress(json!([{}])))
        .by(
            OPERATOR,
            "egress to everything beside a good rule",
            egress(json!([{"to": [all]}, {"to": []}])),
        )
        .by(
            Who::Editor,
            "a client's egress to everything",
            create(CLIENT, network_policy("new", &json!([{}]), &none)),
        )
        .by(
            OPERATOR,
            "a policy is opened",
            change(OWN, &standing, json!({"spec": {"ingress": [{}]}})),
        );
    table
        .of("bailiwick-network-policies", 2)
        .by(
            OPERATOR,
            "egress to the internet",
            egress(peer("to", &block("0.0.0.0/0"))),
        )
        .by(
            OPERATOR,
            "egress to the newer internet",
            egress(peer("to", &block("::/0"))),
        )
        .by(
            OPERATOR,
            "egress to two halves of the internet",
            egress(json!([{"to": [block("0.0.0.0/1"), block("128.0.0.0/1")]}])),
        )
        .by(
            OPERATOR,
            "ingress from the internet",
            ingress(peer("from", &block("0.0.0.0/0"))),
        );
    let namespaces = |selector: Value| json!({"namespaceSelector": selector});
    let expression = |key: &str, operator: &str, values: &Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    table
        .of("bailiwick-network-policies", 3)
        .by(
            OPERATOR,
            "ingress from all namespaces",
            ingress(peer("from", &namespaces(json!({})))),
        )
        .by(
            OPERATOR,
            "ingress from all namespaces but one",
            ingress(peer(
                "from",
                &namespaces(expression("team", "NotIn", &json!(["a"]))),
            )),
        )
        .by(
            OPERATOR,
            "ingress from all namespaces without a label",
            ingress(peer(
                "from",
                &namespaces(expression("team", "DoesNotExist", &Value::Null)),
            )),
        );
    table
        .of("bailiwick-network-policies", 4)
        .by(
            OPERATOR,
            "ingress from another Region",
            ingress(peer(
                "from",
                &namespaces(json!({"matchLabels": {"bailiwick.dev/region": "es"}})),
            )),
        )
        .by(
            OPERATOR,
            "ingress from every Region",
            ingress(peer(
                "from",
                &namespaces(expression("bailiwick.dev/region", "Exists", &Value::Null)),
            )),
        )
        .by(
            OPERATOR,
            "ingress from two Regions",
            ingress(peer(
                "from",
                &namespaces(expression(
                    "bailiwick.dev/region",
                    "In",
                    &json!(["tr", "es"]),
                )),
            )),
        );
    table
        .of("bailiwick-network-policies", 5)
        .by(
            OPERATOR,
            "egress to whatever carries a label",
            egress(peer(
                "to",
                &namespaces(json!({"matchLabels": {"team": "patient"}})),
            )),
        )
        .by(
            OPERATOR,
            "egress to another Region by its name",
            egress(peer(
                "to",
                &namespaces(json!({"matchLabels": {"kubernetes.io/metadata.name": "es"}})),
            )),
        )
        .editor(
            "a client's egress to another namespace",
            create(
                CLIENT,
                network_policy(
                    "new",
                    &peer(
                        "to",
                        &namespaces(
                            json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}}),
                        ),
                    ),
                    &none,
                ),
            ),
        );
}

pub fn tunnels(table: &mut Table) {
    table.of("bailiwick-tunnels", 0);
    // SPDY comes as POST, WebSocket as GET; a proxy takes any verb.
    for method in ["GET", "POST"] {
        for path in [
            "pods/standing/exec?command=sh&stdout=true",
            "pods/standing/attach?stdout=true",
            "pods/standing/portforward?ports=5432",
            "pods/standing/proxy/",
            "services/standing/proxy/",
        ] {
            let what = path.split('?').next().unwrap();
            table.editor(format!("{method} {what}"), tunnel(method, OWN, path));
        }
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        table.editor(
            format!("{method} services/standing/proxy"),
            tunnel(method, OWN, "services/standing/proxy/"),
        );
    }
    table
        .editor(
            "a shell in a client's pod",
            tunnel("POST", CLIENT, "pods/standing/exec?command=sh&stdout=true"),
        )
        .by(
            OPERATOR,
            "a shell by the operator",
            tunnel("POST", OWN, "pods/standing/exec?command=sh&stdout=true"),
        )
        .by(
            Who::Member("bailiwick:break-glasses"),
            "a shell by another group",
            tunnel("POST", OWN, "pods/standing/exec?command=sh&stdout=true"),
        );
    table
        .of("bailiwick-ephemeral-containers", 0)
        .editor(
            "an ephemeral container",
            ephemeral(OWN, "bailiwick.dev/probe:0.1.0"),
        )
        .editor(
            "an ephemeral container in a client's pod",
            ephemeral(CLIENT, "bailiwick.dev/probe:0.1.0"),
        );
}
