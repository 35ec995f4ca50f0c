//! Channels of what surrounds the Region: the API, identities, telemetry and what only the platform beneath knows.

use super::network::{absent, admission, inventory, none_of, tried};
use super::{Sight, Verdict, counted};
use crate::canary::question::Class;
use crate::rights;

pub(super) fn api(sight: &Sight<'_>) -> Verdict {
    match inventory(sight) {
        Ok(inventory) => none_of(
            "foreign RoleBinding",
            rights::foreign_bindings(&sight.plan.names, &inventory.bindings),
            "delete it, or bind people through the break-glass group",
        )
        .and(|| {
            let patroni = sight.plan.names.postgres();
            none_of(
                "pod with a token",
                inventory
                    .pods
                    .iter()
                    .filter(|(_, pod)| pod.token && pod.account.as_deref() != Some(&patroni))
                    .map(|(name, _)| name.as_str()),
                "delete it",
            )
        })
        .and(|| {
            admission(sight, &["roles", "role-bindings", "tokens", "secrets"])
                .and(|| tried(sight, Class::ApiServer))
        }),
        Err(verdict) => verdict,
    }
}

pub(super) fn tunnels(sight: &Sight<'_>) -> Verdict {
    let verdict = admission(sight, &["tunnels", "ephemeral-containers"]);
    if verdict.finding.is_some() {
        return verdict;
    }
    // Reads, pods/log and nodes/proxy do not pass admission.
    Verdict::audited(verdict.evidence)
}

/// Nothing that an observation inside the cluster could tell.
fn beneath(what: &str) -> Verdict {
    Verdict::unknown(format!("{what}: not to be seen from inside the cluster"))
}

pub(super) fn node_disks(_: &Sight<'_>) -> Verdict {
    beneath("disks")
}

pub(super) fn git(_: &Sight<'_>) -> Verdict {
    beneath("repositories")
}

pub(super) fn etcd(_: &Sight<'_>) -> Verdict {
    beneath("the control plane's storage")
}

pub(super) fn people(_: &Sight<'_>) -> Verdict {
    beneath("people")
}

pub(super) fn cluster_backup(sight: &Sight<'_>) -> Verdict {
    absent(sight, &["velero.io", "cr.kanister.io"], |group| {
        Verdict::unknown(format!("API group {group} is served"))
    })
}

pub(super) fn argo_cd(sight: &Sight<'_>) -> Verdict {
    absent(sight, &["argoproj.io"], |group| {
        Verdict::unknown(format!("API group {group} is served"))
    })
}

pub(super) fn telemetry(sight: &Sight<'_>) -> Verdict {
    let namespace = format!("{}/", sight.plan.names.observability_namespace());
    match inventory(sight) {
        Ok(inventory) => {
            let running = inventory
                .pods
                .keys()
                .filter(|pod| pod.starts_with(&namespace))
                .count();
            if running == 0 {
                Verdict::not_applicable("no pod in the observability namespace")
            } else {
                Verdict::unknown("pods in the observability namespace")
            }
        }
        Err(verdict) => verdict,
    }
}

/// Messages of the operator are made of closed words; what else could quote a log is what a pod leaves when it ends.
pub(super) fn status_texts(sight: &Sight<'_>) -> Verdict {
    match inventory(sight) {
        Ok(inventory) => {
            let verdict = none_of(
                "pod whose status quotes its log",
                inventory
                    .pods
                    .iter()
                    .filter(|(_, pod)| pod.quotes_log)
                    .map(|(name, _)| name.as_str()),
                "set terminationMessagePolicy: File",
            );
            if verdict.finding.is_none() {
                Verdict::audited("termination messages of pods")
            } else {
                verdict
            }
        }
        Err(verdict) => verdict,
    }
}

pub(super) fn secret_replication(sight: &Sight<'_>) -> Verdict {
    let secrets = &sight.facts.secrets;
    if secrets.is_empty() {
        return Verdict::unknown("no Secret was read");
    }
    none_of(
        "Secret that a controller may copy",
        secrets
            .iter()
            .filter(|(_, secret)| secret.replicated)
            .map(|(name, _)| name.as_str()),
        "remove the annotation, then replace what is in it",
    )
    .and(|| Verdict::enforced(counted(secrets.len(), "Secret")))
    .and(|| admission(sight, &["secrets", "secret-stores"]))
}

pub(super) fn operator_rights(sight: &Sight<'_>) -> Verdict {
    match inventory(sight) {
        Ok(inventory) => match &inventory.rights {
            Some(held) => {
                let excess = rights::excess(held);
                let missing = rights::missing(held);
                if let Some(missing) = missing.first() {
                    return Verdict::unknown(format!("the operator may not {missing}"));
                }
                none_of(
                    "right that the operator does not need",
                    excess.iter().map(String::as_str),
                    "apply platform/operator again and look for other bindings of its ServiceAccount",
                )
            }
            None => Verdict::unknown("its rights could not be listed whole"),
        },
        Err(verdict) => verdict,
    }
}

pub(super) fn certificates(sight: &Sight<'_>) -> Verdict {
    let certificates: Vec<_> = sight
        .facts
        .secrets
        .iter()
        .filter_map(|(name, secret)| Some((name, secret.certificate.as_ref()?)))
        .collect();
    if certificates.is_empty() {
        return Verdict::unknown("no certificate was read");
    }
    none_of(
        "certificate of another authority",
        certificates
            .iter()
            .filter(|(_, certificate)| !certificate.signed_by_authority)
            .map(|(name, _)| name.as_str()),
        "the operator makes it anew",
    )
    .and(|| Verdict::enforced(counted(certificates.len(), "certificate")))
}

pub(super) fn node_agents(sight: &Sight<'_>) -> Verdict {
    match inventory(sight) {
        Ok(inventory) if inventory.log_readers.is_empty() => {
            Verdict::audited("no DaemonSet reads the nodes' logs")
        }
        Ok(inventory) => Verdict::unknown(format!(
            "{} of nodes' logs",
            counted(inventory.log_readers.len(), "reader")
        )),
        Err(verdict) => verdict,
    }
}
