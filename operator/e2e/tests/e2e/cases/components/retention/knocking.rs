//! Processes inside the members of a Region that try to get outside while it is deleted, and what arrived there. I/O:
//! kubectl, and the file that `outside` writes.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bailiwick_model::names::LABEL_NAME;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::cluster::{Cluster, Place, kubeconfig, outside_log};
use crate::failure::{Outcome, While, ensure};

/// What plays the internet, and writes down whatever arrives.
const OUTSIDE: &str = "198.51.100.10";
/// Tries to get outside every tenth of a second until its pod dies, and says so each time.
const KNOCK: &str = "import socket, time
while True:
    s = socket.socket()
    s.settimeout(.1)
    try:
        s.connect(('198.51.100.10', 443))
        print('out', flush=True)
    except OSError:
        print('try', flush=True)
    s.close()
    time.sleep(.1)
";

/// Processes inside the members of Postgres, put there by somebody who broke the glass, that try to get outside.
pub struct Knocking {
    addresses: BTreeSet<String>,
    before: usize,
    shells: Vec<Child>,
}

impl Knocking {
    /// Starts them in every member of Postgres.
    pub async fn begin(cluster: &Cluster, place: &Place) -> Outcome<Self> {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &place.names.namespace());
        let all = pods.list(&ListParams::default()).await?;
        let addresses: BTreeSet<String> = all
            .iter()
            .filter_map(|pod| pod.status.as_ref()?.pod_ip.clone())
            .collect();
        let mut shells = Vec::new();
        for pod in all
            .iter()
            .filter(|pod| pod.labels().get(LABEL_NAME).map(String::as_str) == Some("postgres"))
        {
            let mut kubectl = Command::new("kubectl");
            kubectl.arg("--kubeconfig").arg(kubeconfig());
            kubectl.args(["--as", "e2e", "--as-group", "system:masters"]);
            kubectl.args(["--as-group", "bailiwick:break-glass"]);
            kubectl.args(["-n", &place.names.namespace(), "exec", &pod.name_any()]);
            kubectl.args(["-c", "postgres", "--", "python3", "-c", KNOCK]);
            shells.push(kubectl.stdout(Stdio::piped()).spawn()?);
        }
        ensure(shells.len() >= 2, || {
            format!("{} members to try from", shells.len())
        })?;
        let before = arrived(&addresses)?;
        // They begin, and the boundary holds them.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(Self {
            addresses,
            before,
            shells,
        })
    }

    /// Once all pods are gone: how often was tried. What arrived is what the outside says, and not the pods.
    pub async fn end(self, place: &Place) -> Outcome<usize> {
        let (mut tries, mut out) = (0, 0);
        for shell in self.shells {
            let said = tokio::task::spawn_blocking(move || shell.wait_with_output());
            let said = tokio::time::timeout(Duration::from_secs(30), said)
                .await
                .during("the end of kubectl exec")???;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            tries += said.lines().filter(|line| *line == "try").count();
            out += said.lines().filter(|line| *line == "out").count();
        }
        let arrived = arrived(&self.addresses)? - self.before;
        ensure(arrived == 0 && out == 0 && tries >= 20, || {
            format!(
                "while {} was deleted, {arrived} packets of its pods arrived outside; of {tries} tries {out} connected",
                place.region
            )
        })?;
        Ok(tries)
    }
}

/// How many packets from these addresses arrived outside so far.
fn arrived(addresses: &BTreeSet<String>) -> Outcome<usize> {
    let lines = std::fs::read_to_string(outside_log())?;
    Ok(lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["kind"] == "packet" && line["destination"] == OUTSIDE)
        .filter(|line| {
            line["source"]
                .as_str()
                .is_some_and(|source| addresses.contains(source))
        })
        .count())
}
