//! The cases of Kubernetes' own end-to-end suite for NetworkPolicy (v1.36, SIG Network, "Netpol": TCP, UDP and SCTP),
//! each named for what it checks and written anew. Pure: no I/O.

use super::{Case, SCTP_80, SCTP_81, TCP_80, TCP_81, UDP_80, UDP_81, no, with, yes};

const DENY_INGRESS: (&str, &str) = (
    "x/deny-ingress",
    "{podSelector: {}, policyTypes: [Ingress]}",
);
const DENY_ALL: (&str, &str) = (
    "x/deny-all",
    "{podSelector: {}, policyTypes: [Ingress, Egress]}",
);

/// All of them, in upstream's order.
pub fn cases() -> Vec<Case> {
    [
        whole_directions(),
        by_label(),
        by_port(),
        updates(),
        egress(),
        combined(),
        blocks(),
        protocols(),
        udp(),
        sctp(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn whole_directions() -> Vec<Case> {
    vec![
        Case {
            name: "default deny ingress shuts a namespace for everybody and leaves others alone",
            steps: vec![with(&[DENY_INGRESS]).on(TCP_80, &[no("*/*", "x/*")])],
        },
        Case {
            name: "default deny all shuts a namespace both ways",
            steps: vec![with(&[DENY_ALL]).on(TCP_80, &[no("*/*", "x/*"), no("x/*", "*/*")])],
        },
        Case {
            name: "a podSelector allows pods of the policy's own namespace",
            steps: vec![
                with(&[(
                    "x/a-from-b",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/a"), yes("x/b", "x/a")]),
            ],
        },
        Case {
            name: "a policy that allows everybody to one pod adds to a default deny",
            steps: vec![
                with(&[
                    DENY_INGRESS,
                    (
                        "x/all-to-a",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                          ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]}",
                    ),
                ])
                .on(TCP_80, &[no("*/*", "x/*"), yes("*/*", "x/a")]),
            ],
        },
        Case {
            name: "an empty namespaceSelector allows pods of every namespace",
            steps: vec![
                with(&[(
                    "x/from-all-namespaces",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {}}}]}]}",
                )])
                .on(TCP_80, &[]),
            ],
        },
    ]
}

fn by_label() -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "a namespaceSelector allows another namespace and not the policy's own",
            steps: vec![
                with(&[(
                    "x/from-y",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "a podSelector with matchExpressions selects like one with labels",
            steps: vec![
                with(&[(
                    "x/a-from-b",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{podSelector:
                        {matchExpressions: [{key: pod, operator: In, values: [b]}]}}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/a"), yes("x/b", "x/a")]),
            ],
        },
        Case {
            name: "a namespaceSelector with matchExpressions selects like one with labels",
            steps: vec![
                with(&[(
                    "x/from-y",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector:
                        {matchExpressions: [{key: ns, operator: In, values: [y]}]}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "two peers of one rule allow what either allows",
            steps: vec![
                with(&[(
                    "x/from-others-or-b",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [
                        {namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x]}]}},
                        {podSelector: {matchLabels: {pod: b}}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), yes("x/b", "x/a")]),
            ],
        },
        Case {
            name: "two selectors of one peer allow only what both select",
            steps: vec![
                with(&[(
                    "x/from-b-of-others",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [
                        {namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x]}]},
                         podSelector: {matchLabels: {pod: b}}}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/a"), yes("y/b", "x/a"), yes("z/b", "x/a")]),
            ],
        },
        Case {
            name: "selectors with several values allow every combination of them",
            steps: vec![
                with(&[(
                    "x/from-b-c-of-others",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [
                        {namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x]}]},
                         podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), no("y/a", "x/a"), no("z/a", "x/a")]),
            ],
        },
        Case {
            name: "any of several podSelectors allows",
            steps: vec![
                with(&[(
                    "x/from-b-c",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{podSelector: {matchLabels: {pod: b}}},
                                        {podSelector: {matchLabels: {pod: c}}}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/a"), yes("x/b", "x/a"), yes("x/c", "x/a")]),
            ],
        },
    ];
    cases.push(Case {
        name: "one pod of another namespace is allowed by podSelector and namespaceSelector",
        steps: vec![with(&[FROM_Y_A]).on(TCP_80, &[no("*/*", "x/a"), yes("y/a", "x/a")])],
    });
    cases
}

const FROM_Y_A: (&str, &str) = (
    "x/from-y-a",
    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: a}}}]}]}",
);
const FROM_Y_ON_TCP_81: (&str, &str) = (
    "x/from-y-81",
    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}], ports: [{port: 81, protocol: TCP}]}]}",
);
const FROM_Y_ON_TCP_80: (&str, &str) = (
    "x/from-y-80",
    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}], ports: [{port: 80, protocol: TCP}]}]}",
);
const ALLOW_INGRESS: (&str, &str) = (
    "x/allow-ingress",
    "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}",
);

fn by_port() -> Vec<Case> {
    vec![
        Case {
            name: "a port allows one namespace on that port",
            steps: vec![with(&[FROM_Y_ON_TCP_81]).on(TCP_81, &[no("x/*", "x/a"), no("z/*", "x/a")])],
        },
        Case {
            name: "stacked policies for the same pod add up",
            steps: vec![
                with(&[FROM_Y_ON_TCP_81])
                    .on(TCP_81, &[no("x/*", "x/a"), no("z/*", "x/a")])
                    .on(TCP_80, &[no("*/*", "x/a")]),
                with(&[FROM_Y_ON_TCP_81, FROM_Y_ON_TCP_80]).on(TCP_80, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "an allow-all policy restricts nothing",
            steps: vec![with(&[ALLOW_INGRESS]).on(TCP_80, &[]).on(TCP_81, &[])],
        },
        Case {
            name: "a named port allows ingress on its number alone",
            steps: vec![
                with(&[(
                    "x/named",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: serve-81-tcp}]}]}",
                )])
                .on(TCP_81, &[])
                .on(TCP_80, &[no("*/*", "x/*")]),
            ],
        },
        Case {
            name: "a named port and a namespace must both match for ingress",
            steps: vec![
                with(&[(
                    "x/named-from-y",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}],
                                 ports: [{port: serve-80-tcp, protocol: TCP}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), no("z/*", "x/a")])
                .on(TCP_81, &[no("*/*", "x/a")]),
            ],
        },
        Case {
            name: "a named port allows egress on its number alone",
            steps: vec![
                with(&[(
                    "x/named-egress",
                    "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-tcp}]}]}",
                )])
                .on(TCP_80, &[])
                .on(TCP_81, &[no("x/*", "*/*")]),
            ],
        },
    ]
}

fn updates() -> Vec<Case> {
    let from_labelled = (
        "x/from-labelled-namespaces",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
          ingress: [{from: [{namespaceSelector: {matchLabels: {ns2: updated}}}]}]}",
    );
    let from_labelled_pods = (
        "x/from-labelled-pods",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
          ingress: [{from: [{podSelector: {matchLabels: {pod: b, pod2: updated}}}]}]}",
    );
    let isolate_target = (
        "x/isolate",
        "{podSelector: {matchLabels: {target: isolated}}, policyTypes: [Ingress]}",
    );
    vec![
        Case {
            name: "a policy changed from allow all to deny all shuts",
            steps: vec![
                with(&[("x/changing", "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}")]).on(TCP_81, &[]),
                with(&[("x/changing", "{podSelector: {}, policyTypes: [Ingress], ingress: []}")])
                    .on(TCP_81, &[no("*/*", "x/*")]),
            ],
        },
        Case {
            name: "a namespace that gains the label gains ingress",
            steps: vec![
                with(&[from_labelled]).on(TCP_80, &[no("*/*", "x/a")]),
                with(&[from_labelled])
                    .after(|scene| scene.label("y", "ns2", "updated"))
                    .on(TCP_80, &[no("*/*", "x/a"), yes("y/*", "x/a")]),
            ],
        },
        Case {
            name: "a pod that gains the label gains ingress",
            steps: vec![
                with(&[from_labelled_pods]).on(TCP_80, &[no("*/*", "x/a")]),
                with(&[from_labelled_pods])
                    .after(|scene| scene.label("x/b", "pod2", "updated"))
                    .on(TCP_80, &[no("*/*", "x/a"), yes("x/b", "x/a")]),
            ],
        },
        Case {
            name: "an empty podSelector as peer allows the own namespace alone",
            steps: vec![
                with(&[(
                    "x/from-own",
                    "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}",
                )])
                .on(TCP_80, &[no("y/*", "x/*"), no("z/*", "x/*")]),
            ],
        },
        Case {
            name: "a pod that gains the selected label becomes isolated",
            steps: vec![
                with(&[isolate_target]).on(TCP_80, &[]),
                with(&[isolate_target])
                    .after(|scene| scene.label("x/a", "target", "isolated"))
                    .on(TCP_80, &[no("*/*", "x/a")]),
            ],
        },
    ]
}

fn egress() -> Vec<Case> {
    vec![
        Case {
            name: "deny egress of one pod leaves the others alone",
            steps: vec![
                with(&[(
                    "x/deny-egress-a",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress]}",
                )])
                .on(TCP_80, &[no("x/a", "*/*")]),
            ],
        },
        Case {
            name: "deny egress of a namespace shuts its pods off from each other too",
            steps: vec![
                with(&[("x/deny-egress", "{podSelector: {}, policyTypes: [Egress]}")])
                    .on(TCP_80, &[no("x/*", "*/*")]),
            ],
        },
        Case {
            name: "ingress and egress rules of one policy hold side by side",
            steps: vec![
                with(&[(
                    "x/both",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress, Ingress],
                      ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}],
                      egress: [{ports: [{port: 80}]}]}",
                )])
                .on(TCP_80, &[no("*/*", "x/a"), yes("x/b", "x/a")])
                .on(
                    TCP_81,
                    &[no("*/*", "x/a"), no("x/a", "*/*"), yes("x/b", "x/a")],
                ),
            ],
        },
        Case {
            name: "egress that is denied stays denied when the receiver allows it",
            steps: vec![
                with(&[
                    (
                        "x/to-y-a",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                          egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}},
                                          podSelector: {matchLabels: {pod: a}}}]}]}",
                    ),
                    (
                        "y/a-from-x-a",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                          ingress: [{from: [{namespaceSelector: {matchLabels: {ns: x}},
                                             podSelector: {matchLabels: {pod: a}}}]}]}",
                    ),
                    (
                        "y/b-from-x-a",
                        "{podSelector: {matchLabels: {pod: b}}, policyTypes: [Ingress],
                          ingress: [{from: [{namespaceSelector: {matchLabels: {ns: x}},
                                             podSelector: {matchLabels: {pod: a}}}]}]}",
                    ),
                ])
                .on(
                    TCP_80,
                    &[
                        no("x/a", "*/*"),
                        no("*/*", "y/a"),
                        yes("x/a", "y/a"),
                        no("*/*", "y/b"),
                    ],
                ),
            ],
        },
        Case {
            name: "egress to one pod of another namespace allows that pod alone",
            steps: vec![
                with(&[(
                    "x/to-y-a",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                      egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}},
                                      podSelector: {matchLabels: {pod: a}}}]}]}",
                )])
                .on(TCP_80, &[no("x/a", "*/*"), yes("x/a", "y/a")]),
            ],
        },
    ]
}

fn combined() -> Vec<Case> {
    let ingress_80 = (
        "x/only-80-in",
        "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}",
    );
    let egress_80 = (
        "x/only-80-out",
        "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}",
    );
    let allow_egress = (
        "x/allow-egress",
        "{podSelector: {}, policyTypes: [Egress], egress: [{}]}",
    );
    vec![
        Case {
            name: "a protocol without a port allows every port of that protocol alone",
            steps: vec![
                with(&[(
                    "x/tcp",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{ports: [{protocol: TCP}]}]}",
                )])
                .on(TCP_80, &[])
                .on(UDP_80, &[no("*/*", "x/a")]),
            ],
        },
        Case {
            name: "an ingress policy that allows all outweighs a narrower one",
            steps: vec![
                with(&[ingress_80]).on(TCP_81, &[no("*/*", "x/*")]),
                with(&[ingress_80, ALLOW_INGRESS]).on(TCP_81, &[]),
            ],
        },
        Case {
            name: "an egress policy that allows all outweighs a narrower one",
            steps: vec![
                with(&[egress_80]).on(TCP_81, &[no("x/*", "*/*")]),
                with(&[egress_80, allow_egress]).on(TCP_81, &[]),
            ],
        },
        Case {
            name: "deleted policies are no longer enforced",
            steps: vec![
                with(&[DENY_ALL]).on(TCP_80, &[no("x/*", "*/*"), no("*/*", "x/*")]),
                with(&[]).on(TCP_80, &[]),
            ],
        },
    ]
}

fn blocks() -> Vec<Case> {
    // x/b is 10.201.2.11 and y/b is 10.201.1.14.
    let wide_except_b = (
        "x/block",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
          egress: [{to: [{ipBlock: {cidr: 10.201.0.0/16, except: [10.201.2.11/32]}}]}]}",
    );
    let allow_egress_a = (
        "x/egress-a",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{}]}",
    );
    let deny_ingress_a = (
        "x/ingress-a",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress]}",
    );
    vec![
        Case {
            name: "an ipBlock allows egress to its addresses alone",
            steps: vec![
                with(&[(
                    "x/block",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                      egress: [{to: [{ipBlock: {cidr: 10.201.1.14/32}}]}]}",
                )])
                .on(TCP_80, &[no("x/a", "*/*"), yes("x/a", "y/b")]),
            ],
        },
        Case {
            name: "an exception of an ipBlock is not allowed",
            steps: vec![with(&[wide_except_b]).on(TCP_80, &[no("x/a", "x/b")])],
        },
        Case {
            name: "an address in one block and another's exception is allowed",
            steps: vec![
                with(&[wide_except_b]).on(TCP_80, &[no("x/a", "x/b")]),
                with(&[(
                    "x/block",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                      egress: [{to: [{ipBlock: {cidr: 10.201.2.11/32}}]}]}",
                )])
                .on(TCP_80, &[no("x/a", "*/*"), yes("x/a", "x/b")]),
                with(&[
                    wide_except_b,
                    (
                        "x/exception-again",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                          egress: [{to: [{ipBlock: {cidr: 10.201.2.11/32}}]}]}",
                    ),
                ])
                .on(TCP_80, &[]),
            ],
        },
        Case {
            name: "egress and ingress of one pod are controlled apart",
            steps: vec![
                with(&[allow_egress_a]).on(TCP_80, &[]),
                with(&[allow_egress_a, deny_ingress_a]).on(TCP_80, &[no("*/*", "x/a")]),
            ],
        },
    ]
}

fn protocols() -> Vec<Case> {
    vec![
        Case {
            name: "an SCTP port does not allow TCP on the same number",
            steps: vec![
                with(&[
                    DENY_INGRESS,
                    (
                        "x/sctp-81",
                        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                          ingress: [{ports: [{port: 81, protocol: SCTP}]}]}",
                    ),
                ])
                .on(TCP_81, &[no("*/*", "x/*")]),
            ],
        },
        Case {
            name: "a policy that allows SCTP alone isolates for TCP",
            steps: vec![
                with(&[(
                    "x/sctp-80",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{ports: [{port: 80, protocol: SCTP}]}]}",
                )])
                .on(TCP_81, &[no("*/*", "x/a")]),
            ],
        },
        Case {
            name: "a policy that allows UDP alone does not allow TCP",
            steps: vec![
                with(&[(
                    "x/udp-81",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{ports: [{port: 81, protocol: UDP}]}]}",
                )])
                .on(TCP_81, &[no("*/*", "x/a")]),
            ],
        },
        Case {
            name: "the label that every namespace has by default selects it",
            steps: vec![
                with(&[(
                    "x/from-y",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}]}]}",
                )])
                .on(TCP_80, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "an expression over the label that every namespace has by default selects for egress",
            steps: vec![
                with(&[(
                    "x/not-to-y",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
                      egress: [{to: [{namespaceSelector:
                        {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [y]}]}}]}]}",
                )])
                .on(TCP_80, &[no("x/a", "y/*")]),
            ],
        },
    ]
}

fn udp() -> Vec<Case> {
    vec![
        Case {
            name: "UDP: default deny ingress shuts a namespace",
            steps: vec![with(&[DENY_INGRESS]).on(UDP_80, &[no("*/*", "x/*")])],
        },
        Case {
            name: "UDP: a port allows one namespace on that port",
            steps: vec![
                with(&[(
                    "x/from-y-81",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}],
                                 ports: [{port: 81, protocol: UDP}]}]}",
                )])
                .on(UDP_81, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "UDP: one pod of another namespace is allowed by podSelector and namespaceSelector",
            steps: vec![with(&[FROM_Y_A]).on(UDP_80, &[no("*/*", "x/a"), yes("y/a", "x/a")])],
        },
    ]
}

fn sctp() -> Vec<Case> {
    vec![
        Case {
            name: "SCTP: default deny ingress shuts a namespace",
            steps: vec![with(&[DENY_INGRESS]).on(SCTP_80, &[no("*/*", "x/*")])],
        },
        Case {
            name: "SCTP: a port allows one namespace on that port",
            steps: vec![
                with(&[(
                    "x/from-y-81",
                    "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
                      ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}],
                                 ports: [{port: 81, protocol: SCTP}]}]}",
                )])
                .on(SCTP_81, &[no("x/*", "x/a"), no("z/*", "x/a")]),
            ],
        },
        Case {
            name: "SCTP: one pod of another namespace is allowed by podSelector and namespaceSelector",
            steps: vec![with(&[FROM_Y_A]).on(SCTP_80, &[no("*/*", "x/a"), yes("y/a", "x/a")])],
        },
    ]
}
