//! The boundary opened: NetworkPolicies that somebody adds once admission lets them, and a cluster DNS that forwards for
//! everybody. I/O: both, in the Regions' namespaces and kube-system, and the canary.

use std::time::Duration;

use bailiwick_model::flow::{Flow, Guise};
use bailiwick_model::names::{LABEL_FLOW, port};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::bench::{Bench, PREFIX, Tried, Written};
use crate::cases::components::access::{Target, reach};
use crate::cases::residency::canary;
use crate::client::Stand;
use crate::cluster::documents;
use crate::failure::{Failure, Outcome, While};
use crate::wait::{seen_if, until};

/// The admission policy that keeps NetworkPolicies as the operator wrote them.
const POLICIES: [&str; 1] = ["network-policies"];
/// What plays the internet.
const OUTSIDE: &str = "198.51.100.10";
/// A name outside the cluster.
const OUTSIDE_NAME: &str = "outside.test";
/// How cluster DNS tells the pods of Regions apart.
const VIEW: &str = "view regions {";
/// The marks of the block that holds it.
const BLOCK: &str = ".:53 {";
/// How long cluster DNS may take to come again.
const RESTART: Duration = Duration::from_mins(1);

const POLICY: (&str, &str, &str, &str) = (
    "networking.k8s.io",
    "v1",
    "NetworkPolicy",
    "networkpolicies",
);

/// What is tried by a pod of the Region.
#[derive(Clone, Copy)]
pub enum Way {
    /// A member of Postgres connects to what plays the internet, at a port.
    Outside(i32),
    /// It connects to a member of the other Region.
    Neighbour,
    /// A pod without rights asks for a name outside; that it has an address is enough.
    Name,
}

impl Way {
    async fn target(self, bench: &Bench<'_>) -> Outcome<Target> {
        let (host, port) = match self {
            Self::Outside(port) => (OUTSIDE.to_owned(), port),
            Self::Neighbour => (neighbour(bench).await?, port::POSTGRES),
            Self::Name => (OUTSIDE_NAME.to_owned(), 443),
        };
        Ok(Target {
            host,
            port,
            served: false,
        })
    }

    const fn flow(self) -> Flow {
        match self {
            Self::Outside(_) | Self::Neighbour => Flow::Postgres,
            Self::Name => Flow::Canary,
        }
    }
}

/// The address of a member of the other Region.
async fn neighbour(bench: &Bench<'_>) -> Outcome<String> {
    let names = &bench.other.names;
    Api::<Pod>::namespaced(bench.cluster.client.clone(), &names.namespace())
        .get(&names.postgres_member(0))
        .await
        .during("find the neighbour")?
        .status
        .and_then(|status| status.pod_ip)
        .ok_or_else(|| Failure::new("the neighbour has no address"))
}

/// Tries a way.
pub async fn attempt(bench: &Bench<'_>, way: Way) -> Outcome<Tried> {
    let stand = Stand::inside(bench.place, way.flow());
    let target = way.target(bench).await?;
    let answers = reach(bench.cluster, &stand, std::slice::from_ref(&target)).await?;
    let Target { host, port, .. } = &target;
    let answer = answers.first().map_or("", String::as_str);
    Ok(match (answer, way) {
        ("no such name", _) => Tried::Held("cluster DNS".to_owned()),
        // What connecting to it comes to is another channel's.
        (_, Way::Name) => Tried::Out(format!("{host} resolved")),
        // A reset comes from there: packets do as well.
        ("open" | "reset", _) => Tried::Out(format!("{host}:{port} {answer}")),
        ("no answer", _) => Tried::Held("NetworkPolicy (no answer)".to_owned()),
        (other, _) => {
            return Err(Failure::new(format!(
                "{host}:{port}: {other}, which shows nothing"
            )));
        }
    })
}

/// One more NetworkPolicy, which opens the namespace's pods to what plays the internet.
pub fn another(bench: &Bench<'_>) -> Written {
    policy(
        bench.namespace(),
        "another",
        &json!({
            "podSelector": { "matchLabels": { LABEL_FLOW: Flow::Backup.label() } },
            "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "ipBlock": { "cidr": "198.51.100.0/24" } }] }],
        }),
    )
}

/// What opens the Region's members to the world and to the other Region, and the other Region to them.
fn openings(bench: &Bench<'_>) -> [Written; 2] {
    let namespace = |name: String| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } });
    [
        policy(
            bench.namespace(),
            "opening",
            &json!({
                "podSelector": { "matchLabels": { LABEL_FLOW: Guise::Postgres.flow().label() } },
                "policyTypes": ["Egress"],
                "egress": [{ "to": [
                    { "ipBlock": { "cidr": "198.51.100.0/24" } },
                    namespace(bench.other.names.namespace()),
                ] }],
            }),
        ),
        policy(
            bench.other.names.namespace(),
            "opening",
            &json!({
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": [namespace(bench.namespace())] }],
            }),
        ),
    ]
}

fn policy(namespace: String, name: &str, spec: &serde_json::Value) -> Written {
    Written {
        kind: POLICY,
        namespace: Some(namespace),
        name: format!("{PREFIX}-{name}"),
        body: json!({ "spec": spec }),
    }
}

/// Opens all of it.
pub async fn open(bench: &Bench<'_>) -> Outcome {
    bench.unbind(&POLICIES).await?;
    bench.write(&openings(bench)).await?;
    let corefile = corefile(bench).await?;
    // The block of the Regions' view is the first; without it everybody is served by the second.
    let second = corefile
        .match_indices(BLOCK)
        .nth(1)
        .map(|(at, _)| at)
        .ok_or_else(|| Failure::new("cluster DNS has no second block"))?;
    let forwarding = corefile.get(second..).unwrap_or_default().to_owned();
    write_corefile(bench, &forwarding).await
}

/// Runs the canary that passes for a member of Postgres, as its schedule does every five minutes.
pub async fn stir(bench: &Bench<'_>) -> Outcome {
    canary::run_now(bench.cluster, bench.place, Guise::Postgres).await
}

/// Shuts it again.
pub async fn shut(bench: &Bench<'_>) -> Outcome {
    let [own, others] = openings(bench);
    let mut opened = false;
    for object in [another(bench), own, others] {
        // Once the policies are bound again, the operator alone may.
        opened |= object.is_there(bench.cluster).await?;
        object.gone_as_operator(bench.cluster).await?;
    }
    if !corefile(bench).await?.contains(VIEW) {
        let shipped = std::fs::read_to_string(
            crate::cluster::repository().join("infra/dev-local/engineless/manifests/coredns.yaml"),
        )?;
        let corefile = documents(&shipped)?
            .into_iter()
            .next()
            .and_then(|object| object.data["data"]["Corefile"].as_str().map(str::to_owned))
            .ok_or_else(|| Failure::new("the shipped cluster DNS has no Corefile"))?;
        write_corefile(bench, &corefile).await?;
        opened = true;
    }
    super::super::controls::bind_again(bench.cluster).await?;
    if opened {
        stir(bench).await?;
    }
    Ok(())
}

fn config(bench: &Bench<'_>) -> Api<ConfigMap> {
    Api::namespaced(bench.cluster.client.clone(), "kube-system")
}

async fn corefile(bench: &Bench<'_>) -> Outcome<String> {
    let found = config(bench)
        .get("coredns")
        .await
        .during("read the Corefile")?;
    Ok(found
        .data
        .and_then(|data| data.get("Corefile").cloned())
        .unwrap_or_default())
}

/// Writes the Corefile, and has cluster DNS begin anew: it would read it by itself within a minute.
async fn write_corefile(bench: &Bench<'_>, text: &str) -> Outcome {
    let client = &bench.cluster.client;
    config(bench)
        .patch(
            "coredns",
            &PatchParams::default(),
            &Patch::Merge(json!({ "data": { "Corefile": text } })),
        )
        .await
        .during("write the Corefile")?;
    let pods = Api::<Pod>::namespaced(client.clone(), "kube-system");
    let dns = ListParams::default().labels("k8s-app=kube-dns");
    let old: Vec<String> = pods
        .list(&dns)
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    pods.delete_collection(&DeleteParams::default().grace_period(1), &dns)
        .await
        .during("restart cluster DNS")?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), "kube-system");
    until("cluster DNS", RESTART, || async {
        let left = pods.list(&dns).await?;
        let status = deployments.get("coredns").await?.status.unwrap_or_default();
        let ready = status.ready_replicas == status.replicas && status.replicas > Some(0);
        let gone = !left.iter().any(|pod| old.contains(&pod.name_any()));
        Ok(seen_if(ready && gone, || {
            format!("{:?} ready", status.ready_replicas)
        }))
    })
    .await
}
