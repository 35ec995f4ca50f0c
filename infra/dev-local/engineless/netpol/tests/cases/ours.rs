//! What the API specifies and upstream's suite does not try, and what only this enforcer promises. Pure: no I/O.

use serde_json::json;

use super::{Case, SCTP_80, Scene, TCP_80, TCP_81, UDP_80, no, with, yes};

const DENY_ALL: (&str, &str) = (
    "x/deny-all",
    "{podSelector: {}, policyTypes: [Ingress, Egress]}",
);
const DENY_INGRESS: (&str, &str) = (
    "x/deny-ingress",
    "{podSelector: {}, policyTypes: [Ingress]}",
);

/// All of them.
pub fn cases() -> Vec<Case> {
    [
        ports(),
        defaults(),
        selectors(),
        blocks(),
        nodes(),
        lifecycle(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ports() -> Vec<Case> {
    vec![
        Case {
            name: "endPort allows the whole range and nothing beside it, for ingress",
            steps: vec![
                with(&[(
                    "x/range",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 70, endPort: 80}]}]}",
                )])
                .on(TCP_80, &[])
                .on(TCP_81, &[no("*/*", "x/*")])
                .on(UDP_80, &[no("*/*", "x/*")]),
                with(&[(
                    "x/range",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80, endPort: 90}]}]}",
                )])
                .on(TCP_80, &[])
                .on(TCP_81, &[]),
            ],
        },
        Case {
            name: "endPort allows the whole range and nothing beside it, for egress",
            steps: vec![
                with(&[(
                    "x/range",
                    "{podSelector: {}, policyTypes: [Egress],
                      egress: [{ports: [{port: 81, endPort: 90}, {port: 1, endPort: 79}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "*/*")])
                .on(TCP_81, &[]),
            ],
        },
        Case {
            name: "overlapping ranges of one rule and of several add up",
            steps: vec![
                with(&[
                    (
                        "x/ranges",
                        "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [
                          {port: 60, endPort: 75}, {port: 70, endPort: 80}, {port: 80}, {port: 80, protocol: UDP}]}]}",
                    ),
                    (
                        "x/more",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                          ingress: [{ports: [{port: 75, endPort: 81}]}]}",
                    ),
                ])
                .on(TCP_80, &[])
                .on(UDP_80, &[])
                .on(TCP_81, &[no("*/*", "x/*"), yes("*/*", "x/a")])
                .on(SCTP_80, &[no("*/*", "x/*")]),
            ],
        },
        Case {
            name: "a named port stands for the number that each receiving pod gives it, for egress",
            steps: vec![
                with(&[(
                    "x/web",
                    "{podSelector: {}, policyTypes: [Egress],
                      egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}}}], ports: [{port: web}]}]}",
                )])
                .after(web_on_80_of_y_a_and_z_a_and_81_of_y_b)
                .on(TCP_80, &[no("x/*", "*/*"), yes("x/*", "y/a")])
                .on(TCP_81, &[no("x/*", "*/*"), yes("x/*", "y/b")]),
            ],
        },
        Case {
            name: "a named port stands for the number that each selected pod gives it, for ingress",
            steps: vec![
                with(&[("y/web", "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: web}]}]}")])
                    .after(web_on_80_of_y_a_and_z_a_and_81_of_y_b)
                    .on(TCP_80, &[no("*/*", "y/*"), yes("*/*", "y/a")])
                    .on(TCP_81, &[no("*/*", "y/*"), yes("*/*", "y/b")]),
            ],
        },
        Case {
            name: "a named port of another protocol allows nothing",
            steps: vec![
                with(&[(
                    "x/mixed",
                    "{podSelector: {}, policyTypes: [Ingress],
                      ingress: [{ports: [{port: serve-80-tcp, protocol: UDP}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/*")])
                .on(UDP_80, &[no("*/*", "x/*")]),
            ],
        },
        Case {
            name: "a named port allows no address outside the cluster, a number does",
            steps: vec![
                with(&[("x/out", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-tcp}]}]}")])
                    .on(TCP_80, &[no("x/*", "outside")]),
                with(&[("x/out", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}")])
                    .on(TCP_80, &[yes("x/*", "outside")])
                    .on(TCP_81, &[no("x/*", "*/*"), no("x/*", "outside")]),
            ],
        },
    ]
}

fn web_on_80_of_y_a_and_z_a_and_81_of_y_b(scene: &mut Scene) {
    for (pod, number) in [("y/a", 80), ("y/b", 81), ("z/a", 80)] {
        if let Some(pod) = scene.pods.get_mut(pod) {
            pod["spec"]["containers"][0]["ports"] =
                json!([{"name": "web", "containerPort": number}]);
        }
    }
}

fn defaults() -> Vec<Case> {
    vec![
        Case {
            name: "without policyTypes a policy affects ingress, and egress when it has egress rules",
            steps: vec![
                with(&[("x/bare", "{podSelector: {matchLabels: {pod: a}}}")]).on(TCP_80, &[no("*/*", "x/a")]),
                with(&[("x/bare", "{podSelector: {matchLabels: {pod: a}}, egress: [{ports: [{port: 81}]}]}")])
                    .on(TCP_80, &[no("*/*", "x/a"), no("x/a", "*/*")])
                    .on(TCP_81, &[no("*/*", "x/a")]),
            ],
        },
        Case {
            name: "egress rules of a policy for ingress alone do nothing",
            steps: vec![
                with(&[("x/odd", "{podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: [{ports: [{port: 1}]}]}")])
                    .on(TCP_80, &[]),
            ],
        },
        Case {
            name: "empty from and to mean everybody, inside and outside",
            steps: vec![
                with(&[
                    ("x/in", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [], ports: [{port: 80}]}]}"),
                    ("x/out", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [], ports: [{port: 80}]}]}"),
                ])
                .on(TCP_80, &[yes("outside", "x/*"), yes("x/*", "outside"), yes("node-1", "x/*"), yes("node-2", "x/*")])
                .on(TCP_81, &[no("*/*", "x/*"), no("x/*", "*/*"), no("outside", "x/*"), no("x/*", "outside")]),
            ],
        },
        Case {
            name: "replies pass: a pod that may not send answers, one that may not be reached is answered",
            steps: vec![
                with(&[
                    ("x/silent", "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress]}"),
                    ("y/hidden", "{podSelector: {matchLabels: {pod: b}}, policyTypes: [Ingress]}"),
                ])
                .on(TCP_80, &[no("x/a", "*/*"), no("*/*", "y/b"), yes("y/b", "x/a")])
                .on(UDP_80, &[no("x/a", "*/*"), no("*/*", "y/b"), yes("y/b", "x/a")])
                .on(SCTP_80, &[no("x/a", "*/*"), no("*/*", "y/b"), yes("y/b", "x/a")]),
            ],
        },
    ]
}

fn selectors() -> Vec<Case> {
    vec![
        Case {
            name: "Exists and DoesNotExist select by the presence of a label",
            steps: vec![
                with(&[
                    (
                        "x/marked-only",
                        "{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}, policyTypes: [Ingress],
                          ingress: [{from: [{podSelector:
                            {matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]}",
                    ),
                ])
                .after(|scene| {
                    scene.label("x/a", "tier", "db");
                    scene.label("x/b", "tier", "web");
                })
                .on(TCP_80, &[no("*/*", "x/a"), no("*/*", "x/b"), yes("x/c", "x/a"), yes("x/c", "x/b")]),
            ],
        },
        Case {
            name: "pods of a namespace that nobody has seen match no namespaceSelector",
            steps: vec![
                with(&[(
                    "x/from-all",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]}",
                )])
                .after(|scene| {
                    scene.namespaces.remove("y");
                })
                .on(TCP_80, &[no("y/*", "x/*")]),
            ],
        },
        Case {
            name: "a policy selects pods of its own namespace alone",
            steps: vec![
                with(&[("y/deny", "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress]}")])
                    .on(TCP_80, &[no("*/*", "y/a")]),
            ],
        },
    ]
}

fn blocks() -> Vec<Case> {
    vec![
        Case {
            name: "an ipBlock opens the world outside for egress, pods and its exceptions left out",
            steps: vec![
                with(&[(
                    "x/world",
                    "{podSelector: {}, policyTypes: [Egress],
                      egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.201.0.0/16]}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "*/*"), yes("x/*", "outside")]),
                with(&[(
                    "x/world",
                    "{podSelector: {}, policyTypes: [Egress],
                      egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [198.51.100.0/24]}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "outside")]),
            ],
        },
        Case {
            name: "an ipBlock lets the world outside in on its port",
            steps: vec![
                with(&[(
                    "x/world",
                    "{podSelector: {}, policyTypes: [Ingress],
                      ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24}}], ports: [{port: 80}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/*"), yes("outside", "x/*")])
                .on(TCP_81, &[no("*/*", "x/*"), no("outside", "x/*")]),
            ],
        },
        Case {
            name: "overlapping blocks and pods of one rule add up",
            steps: vec![
                with(&[(
                    "x/overlap",
                    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [
                      {ipBlock: {cidr: 10.201.1.0/24}}, {ipBlock: {cidr: 10.201.0.0/23}},
                      {ipBlock: {cidr: 10.201.1.14/32}}, {podSelector: {}},
                      {ipBlock: {cidr: 10.201.2.0/24, except: [10.201.2.0/24]}}]}]}",
                )])
                .on(TCP_80, &[
                    no("x/*", "y/a"), no("x/*", "y/c"), no("x/*", "z/b"), no("x/*", "outside"),
                ]),
            ],
        },
        Case {
            name: "an IPv6 block isolates and allows nothing",
            steps: vec![
                with(&[(
                    "x/six",
                    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 'fd00::/8'}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "*/*"), no("x/*", "outside")]),
            ],
        },
    ]
}

fn nodes() -> Vec<Case> {
    vec![
        Case {
            name: "a pod and its own node always reach each other, other nodes obey the policies",
            steps: vec![
                with(&[DENY_ALL]).on(
                    TCP_80,
                    &[
                        no("*/*", "x/*"),
                        no("x/*", "*/*"),
                        no("outside", "x/*"),
                        no("x/*", "outside"),
                        // x/a and x/c are on node-1, x/b is on node-2.
                        no("node-1", "x/*"),
                        no("node-2", "x/*"),
                        no("x/*", "node-1"),
                        no("x/*", "node-2"),
                        yes("node-1", "x/a"),
                        yes("x/a", "node-1"),
                        yes("node-1", "x/c"),
                        yes("x/c", "node-1"),
                        yes("node-2", "x/b"),
                        yes("x/b", "node-2"),
                    ],
                ),
            ],
        },
        Case {
            name: "another node is allowed in by an ipBlock with its address",
            steps: vec![
                with(&[(
                    "x/node-2",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.202.2.2/32}}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/*"), no("node-1", "x/b"), yes("node-2", "x/*")]),
            ],
        },
        Case {
            name: "a pod in the node's network is neither selected nor a peer",
            steps: vec![
                with(&[DENY_ALL, ("y/from-x", FROM_X)]).after(in_node_network).on(
                    TCP_80,
                    &[
                        no("*/*", "x/*"),
                        no("x/*", "*/*"),
                        no("*/*", "y/*"),
                        // The policy of x selects x/host, whose address is node-2's: it is not isolated.
                        yes("node-2", "z/*"),
                        yes("z/*", "node-2"),
                        // And y, which allows x, does not allow that address.
                        no("node-2", "y/b"),
                    ],
                ),
            ],
        },
    ]
}

const FROM_X: &str = "{podSelector: {}, policyTypes: [Ingress],
    ingress: [{from: [{namespaceSelector: {matchLabels: {ns: x}}}]}]}";

fn in_node_network(scene: &mut Scene) {
    let pod = json!({
        "metadata": {"labels": {"pod": "host"}},
        "spec": {"nodeName": "node-2", "hostNetwork": true, "containers": []},
        "status": {"phase": "Running", "podIP": "10.202.2.2"},
    });
    scene.pods.insert("x/host".to_owned(), pod);
}

fn lifecycle() -> Vec<Case> {
    vec![
        Case {
            name: "an address that no known pod has is shut off both ways, until its pod is seen",
            steps: vec![
                with(&[])
                    .after(|scene| {
                        scene.pods.remove("y/a");
                    })
                    .on(
                        TCP_80,
                        &[
                            no("*/*", "y/a"),
                            no("y/a", "*/*"),
                            no("outside", "y/a"),
                            no("y/a", "outside"),
                        ],
                    )
                    .on(
                        UDP_80,
                        &[
                            no("*/*", "y/a"),
                            no("y/a", "*/*"),
                            no("outside", "y/a"),
                            no("y/a", "outside"),
                        ],
                    ),
                with(&[]).on(TCP_80, &[yes("outside", "y/a"), yes("y/a", "outside")]),
            ],
        },
        Case {
            name: "a finished pod is no longer known by its address",
            steps: vec![
                with(&[])
                    .after(|scene| finish(scene, "y/a"))
                    .on(TCP_80, &[no("*/*", "y/a"), no("y/a", "*/*")]),
                // The address now belongs to z/new, which the policy of y does not select.
                with(&[(
                    "y/deny",
                    "{podSelector: {}, policyTypes: [Ingress, Egress]}",
                )])
                .after(|scene| {
                    reuse_address(scene, "y/a", "z/new");
                    finish(scene, "y/a");
                })
                .on(
                    TCP_80,
                    &[
                        no("*/*", "y/*"),
                        no("y/*", "*/*"),
                        yes("x/*", "y/a"),
                        yes("z/*", "y/a"),
                        yes("y/a", "x/*"),
                        yes("y/a", "z/*"),
                    ],
                ),
            ],
        },
        Case {
            name: "an address that two pods claim is shut off, and no peer",
            steps: vec![
                with(&[DENY_INGRESS, ("x/from-y", FROM_Y)])
                    .after(|scene| reuse_address(scene, "y/a", "z/new"))
                    .on(
                        TCP_80,
                        &[
                            no("*/*", "x/*"),
                            yes("y/*", "x/*"),
                            no("*/*", "y/a"),
                            no("y/a", "*/*"),
                        ],
                    ),
            ],
        },
        Case {
            name: "a pod that is being deleted stays isolated",
            steps: vec![
                with(&[DENY_INGRESS])
                    .after(|scene| {
                        if let Some(pod) = scene.pods.get_mut("x/a") {
                            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                        }
                    })
                    .on(TCP_80, &[no("*/*", "x/*")]),
            ],
        },
    ]
}

const FROM_Y: &str = "{podSelector: {}, policyTypes: [Ingress],
    ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}]}]}";

fn finish(scene: &mut Scene, pod: &str) {
    if let Some(pod) = scene.pods.get_mut(pod) {
        pod["status"]["phase"] = json!("Succeeded");
    }
}

fn reuse_address(scene: &mut Scene, former: &str, successor: &str) {
    if let Some(mut pod) = scene.pods.get(former).cloned() {
        pod["metadata"]["labels"]["pod"] = json!("new");
        scene.pods.insert(successor.to_owned(), pod);
    }
}
