//! Secrets and rights.

use serde_json::{Value, json};

use super::{OPERATOR, OWN, Table, change, create};
use crate::objects::{account, config_map, role, role_binding, secret, subject, with};
use crate::request::Ask;

pub fn secrets(table: &mut Table) {
    table.of("bailiwick-secrets", 0);
    for (key, value) in [
        ("reflector.v1.k8s.emberstack.com/reflection-allowed", "true"),
        ("replicator.v1.mittwald.de/replicate-to", "es"),
        ("kubed.appscode.com/sync", ""),
        ("replizieren.dev/replicate-all", "true"),
        ("propagate.hnc.x-k8s.io/select", "es"),
    ] {
        let edit = json!({"metadata": {"annotations": {key: value}}});
        table
            .editor(
                format!("a Secret annotated {key}"),
                create(OWN, with(secret("new"), edit.clone())),
            )
            .editor(
                format!("a ConfigMap gets {key}"),
                change(OWN, &config_map("standing"), edit),
            );
    }
    table.editor(
        "a Secret labelled keess.powerhrg.com/sync",
        change(
            OWN,
            &secret("standing"),
            json!({"metadata": {"labels": {"keess.powerhrg.com/sync": "namespace"}}}),
        ),
    );
}

pub fn rights(table: &mut Table) {
    let core = [""];
    let granting =
        |resources: &[&str], verbs: &[&str]| create(OWN, role("new", &core, resources, verbs));
    table
        .of("bailiwick-roles", 0)
        .editor("every verb", granting(&["configmaps"], &["*"]))
        .editor("every resource", granting(&["*"], &["get"]))
        .editor("every group", create(OWN, role("new", &["*"], &["widgets"], &["get"])))
        .editor("every subresource", granting(&["*/scale"], &["get"]))
        .editor(
            "a Role is widened",
            change(
                OWN,
                &role("standing", &core, &[], &[]),
                json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]}),
            ),
        );
    table.of("bailiwick-roles", 1);
    for resource in [
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/proxy",
        "services/proxy",
        "pods/ephemeralcontainers",
        "serviceaccounts/token",
    ] {
        table
            .editor(
                format!("create {resource}"),
                granting(&[resource], &["create"]),
            )
            .editor(
                format!("get {resource}"),
                granting(&["pods", resource], &["get"]),
            );
    }
    table.of("bailiwick-roles", 2);
    for verb in ["list", "watch", "deletecollection"] {
        table.editor(
            format!("{verb} secrets"),
            granting(&["secrets"], &["get", verb]),
        );
    }
    table.of("bailiwick-roles", 3);
    for (verb, resource) in [("escalate", "roles"), ("bind", "roles")] {
        table.editor(
            format!("{verb} {resource}"),
            create(
                OWN,
                role("new", &["rbac.authorization.k8s.io"], &[resource], &[verb]),
            ),
        );
    }
    table.editor(
        "impersonate",
        granting(&["serviceaccounts"], &["impersonate"]),
    );

    let binding =
        |role: (&str, &str), subject: Value| create(OWN, role_binding("new", role, &subject));
    let mine = ("Role", "standing");
    table
        .of("bailiwick-role-bindings", 0)
        .editor(
            "for nobody in particular",
            binding(mine, subject("User", "system:anonymous")),
        )
        .editor(
            "for everybody who is known",
            binding(mine, subject("Group", "system:authenticated")),
        )
        .editor(
            "for everybody who is not",
            binding(mine, subject("Group", "system:unauthenticated")),
        )
        .editor(
            "for every pod",
            binding(mine, subject("Group", "system:serviceaccounts")),
        )
        .editor(
            "for every pod of another Region",
            binding(mine, subject("Group", "system:serviceaccounts:es")),
        )
        .editor(
            "a binding is widened",
            change(
                OWN,
                &role_binding("standing", mine, &Value::Null),
                json!({"subjects": [subject("Group", "system:authenticated")]}),
            ),
        );
    table.of("bailiwick-role-bindings", 1);
    for name in ["cluster-admin", "admin", "edit", "system:node"] {
        table.editor(
            format!("ClusterRole {name}"),
            binding(("ClusterRole", name), subject("User", "jane")),
        );
    }
    table
        .of("bailiwick-role-bindings", 2)
        .editor(
            "for another Region's pods",
            binding(mine, account("es", "es-pg")),
        )
        .editor(
            "for a program of the whole cluster",
            binding(mine, account("argocd", "application-controller")),
        )
        .editor(
            "for another account beside the operator",
            binding(mine, account("bailiwick-system", "default")),
        )
        .editor(
            "for another Region's pods by their user",
            binding(mine, subject("User", "system:serviceaccount:es:es-pg")),
        );
    let token = |path: &str| Ask {
        method: "POST",
        path: format!("/api/v1/namespaces/{OWN}/serviceaccounts/{path}/token"),
        body: json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
    };
    table
        .of("bailiwick-tokens", 0)
        .editor("a token by hand", token("tr-pg"))
        .by(OPERATOR, "a token by the operator", token("tr-pg"));
    table.of("bailiwick-secrets", 1).editor(
        "a token without an end",
        create(
            OWN,
            with(
                secret("new"),
                json!({"type": "kubernetes.io/service-account-token",
                    "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}}),
            ),
        ),
    );
}
