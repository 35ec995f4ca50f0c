//! A node loses its power under a writer: everything of a Region that runs on it ends at once and comes back with the
//! data. I/O: a node's first process, the script that starts nodes, client pods.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Api;

use crate::cluster::{Cluster, kubeconfig};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes::Node;
use crate::wait::{Look, until};
use crate::writer::{Writer, run_name};

/// How long the Region may take to be settled.
const SETTLED: Duration = Duration::from_mins(4);

/// Pulls the plug of the node that all of Region `tr` runs on, its operator and the writer as well.
pub async fn node(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    cluster.settled(&place.region, SETTLED).await?;
    let pods = cluster.pods(&place.names.namespace()).await?;
    let primary = Api::<Pod>::namespaced(cluster.client.clone(), &place.names.namespace())
        .get(&place.names.postgres_member(0))
        .await?;
    let name = primary
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default();
    let restarts = restarts(&pods);
    let writer = Writer::start(cluster, place, &run_name("reboot")).await?;
    Node::of(&primary)?.kill()?;
    let started = Instant::now();
    tokio::task::spawn_blocking(start).await??;
    let up = started.elapsed().as_secs_f64();
    let started_again = until("the pods to have been started again", SETTLED, || async {
        let pods = cluster.pods(&place.names.namespace()).await?;
        let now = self::restarts(&pods);
        Ok(if now > restarts {
            Look::Seen(now)
        } else {
            Look::NotYet(format!("{now} starts, {restarts} before"))
        })
    })
    .await?;
    cluster.settled(&place.region, SETTLED).await?;
    let settled = started.elapsed().as_secs_f64();
    let report = writer.died().await?;
    Ok(format!(
        "{name} was up after {up:.0} s, its Region settled after {settled:.0} s, {} starts of containers; {report}",
        started_again - restarts
    ))
}

fn restarts(pods: &[Pod]) -> i32 {
    pods.iter()
        .filter(|pod| !pod.name_any().contains("canary"))
        .flat_map(|pod| pod.status.iter())
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|container| container.restart_count)
        .sum()
}

/// Starts what does not run of the cluster under test, by its own checkout's script.
fn start() -> Outcome {
    let kubeconfig = kubeconfig().canonicalize()?;
    let checkout = kubeconfig
        .parent()
        .and_then(std::path::Path::parent)
        .ok_or_else(|| Failure::new(format!("{} is in no checkout", kubeconfig.display())))?;
    let script = checkout.join("infra/dev-local/engineless/cluster.sh");
    let said = Command::new(&script)
        .arg("up")
        .output()
        .during(format_args!("run {} up", script.display()))?;
    ensure(said.status.success(), || {
        format!(
            "{} up: {}{}",
            script.display(),
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        )
    })
}
