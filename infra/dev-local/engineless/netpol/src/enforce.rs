//! Keeps a node's table equal to what the policies ask for: observations come in, applied rulesets and a readiness
//! file go out. Reads the API server, writes nftables and one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::addresses::{AddressRange, AddressSet, CidrError};
use crate::arrivals::{self, Known};
use crate::kernel::{KernelError, Table};
use crate::nft;
use crate::objects::World;
use crate::rules::Enforcement;
use crate::watch::{Urgency, View, observations};

/// How long changes that are not urgent are gathered, from the first of them on.
const GATHER: Duration = Duration::from_millis(50);
/// How many announced pods may wait to be taken in.
const ARRIVALS: usize = 64;
/// How often the kernel's table is compared with what was applied.
const AUDIT: Duration = Duration::from_secs(10);
/// Delays between attempts after a failure: the first, and the limit of its doublings.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LIMIT: Duration = Duration::from_secs(5);

/// What the enforcer must know to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node that it runs on, as Kubernetes names it.
    pub node: String,
    /// The addresses that the node gives to pods; empty to take them from the Node object.
    pub pod_ranges: Vec<AddressRange>,
    /// The table that it writes.
    pub table: Table,
    /// Where to tell what is in force, when anywhere.
    pub ready_file: Option<PathBuf>,
    /// Where the node's network plugin announces new pods.
    pub socket: PathBuf,
}

/// The enforcer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The Node object has a pod range that cannot be read.
    #[error("Node {node}, spec.podCIDRs: {source}; or give --pod-range")]
    PodRange {
        /// The node.
        node: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// The table could not be shut before the first rules are known.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The readiness file of an earlier run could not be removed.
    #[error("readiness file {path}: {source}; name a path in a folder that can be written")]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket for new pods could not be served.
    #[error("socket {path}: {source}; name a path in a folder that can be written")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// All watches have ended, which they never do by themselves.
    #[error("the watches on node {node} ended; start the enforcer again")]
    WatchesEnded {
        /// The node.
        node: String,
    },
}

/// What is in force, for whoever waits for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness<'a> {
    node: &'a str,
    /// Counts the rulesets that this process has applied; unchanged ones are not applied again.
    generation: u64,
    /// The `metadata.generation` of each policy that is enforced, by `namespace/name`.
    policies: BTreeMap<String, i64>,
    pods: usize,
    isolated_pods: usize,
}

/// Enforces until the future is dropped.
///
/// Shuts the node's pod range first when there is no table yet, so that nothing is open before the policies are known.
///
/// # Errors
/// [`EnforceError`] when it cannot start, or when the watches end. Failures after the start are logged and tried again;
/// what was in force stays so meanwhile.
pub async fn run(client: Client, settings: Settings) -> Result<(), EnforceError> {
    if let Some(path) = &settings.ready_file {
        remove(path)?;
    }
    let pod_ranges = pod_ranges(&client, &settings).await?;
    if settings.table.listing().await?.is_none() {
        let shut = Enforcement {
            pod_ranges: pod_ranges.clone(),
            ..Enforcement::default()
        };
        settings
            .table
            .replace(&nft::ruleset(settings.table.name(), &shut))
            .await?;
        tracing::info!(
            node = settings.node,
            table = settings.table.name(),
            "shut until the policies are known"
        );
    }
    let observations = observations(&client);
    pin_mut!(observations);
    let mut view = View::from_node(&settings.node);
    let (announced, mut arrivals) = mpsc::channel(ARRIVALS);
    let (known, known_pods) = watch::channel(Known::new());
    let socket = settings.socket.clone();
    let serving = arrivals::serve(&socket, announced, known_pods);
    pin_mut!(serving);
    let mut keeper = Keeper::new(client, settings, pod_ranges, known);
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        let wake = due;
        tokio::select! {
            // What has arrived is taken in first, so that a burst of new pods is one ruleset.
            biased;
            observation = observations.next() => match observation {
                Some(Ok(observation)) => {
                    let complete = view.world().is_some();
                    let mut urgency = view.take(observation);
                    if view.world().is_some() && !complete {
                        urgency = Urgency::Now;
                    }
                    due = sooner(due, urgency);
                }
                Some(Err(error)) => tracing::warn!(%error, "a watch failed and is tried again; the rules stay"),
                None => return Err(EnforceError::WatchesEnded { node: keeper.settings.node }),
            },
            Some(arrival) = arrivals.recv() => due = sooner(due, view.take_arrival(arrival)),
            () = async { if let Some(at) = wake { sleep_until(at).await } }, if wake.is_some() => {
                due = match keeper.follow(&mut view).await {
                    Ok(()) => None,
                    Err(delay) => Some(Instant::now() + delay),
                };
            }
            ended = &mut serving => {
                let source = ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Err(EnforceError::Socket { path: socket.clone(), source });
            }
            _ = audit.tick() => if keeper.differs().await {
                due = sooner(due, Urgency::Now);
            },
        }
    }
}

fn sooner(due: Option<Instant>, urgency: Urgency) -> Option<Instant> {
    let asked = match urgency {
        Urgency::None => None,
        Urgency::Soon => Some(Instant::now() + GATHER),
        Urgency::Now => Some(Instant::now()),
    };
    match (due, asked) {
        (Some(due), Some(asked)) => Some(due.min(asked)),
        (due, asked) => due.or(asked),
    }
}

/// The addresses of the node's pods: the given ones, else those of the Node object as soon as it has them.
async fn pod_ranges(client: &Client, settings: &Settings) -> Result<AddressSet, EnforceError> {
    if !settings.pod_ranges.is_empty() {
        return Ok(settings.pod_ranges.iter().copied().collect());
    }
    let nodes = Api::<Node>::all(client.clone());
    let mut delay = RETRY_FIRST;
    loop {
        match nodes.get_opt(&settings.node).await {
            Ok(node) => {
                let spec = node.and_then(|node| node.spec).unwrap_or_default();
                let ranges: Vec<String> = spec
                    .pod_cidrs
                    .into_iter()
                    .flatten()
                    .chain(spec.pod_cidr)
                    .collect();
                // IPv6 ranges need no rule of their own: all forwarded IPv6 is dropped.
                let ranges: Vec<&String> =
                    ranges.iter().filter(|text| !text.contains(':')).collect();
                if !ranges.is_empty() {
                    let parsed: Result<AddressSet, CidrError> = ranges
                        .into_iter()
                        .map(|text| AddressRange::parse_cidr(text))
                        .collect();
                    let node = settings.node.clone();
                    return parsed.map_err(|source| EnforceError::PodRange { node, source });
                }
                tracing::info!(
                    node = settings.node,
                    "waiting for spec.podCIDR of the Node; --pod-range avoids that"
                );
            }
            Err(error) => {
                tracing::warn!(node = settings.node, %error, "the Node could not be read and is tried again");
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(RETRY_LIMIT);
    }
}

/// Applies rulesets and remembers what is in force.
struct Keeper {
    policies: Api<NetworkPolicy>,
    settings: Settings,
    pod_ranges: AddressSet,
    generation: u64,
    /// The ruleset that was applied last.
    applied: Option<String>,
    /// Whether somebody else changed the table, so that it is made anew instead of given other rules.
    changed: bool,
    /// The node's pods in it, for whoever waits for one of them.
    known: watch::Sender<Known>,
    /// The policies that were told last, so that the file changes when only a generation does.
    told: Option<BTreeMap<String, i64>>,
    /// The kernel's listing just after that.
    listing: Option<String>,
    retry: Duration,
}

impl Keeper {
    fn new(
        client: Client,
        settings: Settings,
        pod_ranges: AddressSet,
        known: watch::Sender<Known>,
    ) -> Self {
        Self {
            policies: Api::all(client),
            settings,
            pod_ranges,
            generation: 0,
            applied: None,
            changed: false,
            known,
            told: None,
            listing: None,
            retry: RETRY_FIRST,
        }
    }

    /// Brings the table in line with the view. Fails with the delay after which to try again.
    ///
    /// Policies are read anew before a pod becomes known: the watches run apart, and one that lags or is broken must
    /// not open a pod that a policy selects. When they cannot be read the pod stays shut off.
    async fn follow(&mut self, view: &mut View) -> Result<(), Duration> {
        let Some(world) = view.world() else {
            return Ok(());
        };
        if self.gains_a_pod(world) {
            match self.policies.list(&ListParams::default()).await {
                Ok(list) => view.take_policies(&list),
                Err(error) => {
                    let delay = self.delay();
                    tracing::warn!(node = self.settings.node, %error, retry_ms = delay.as_millis(),
                        "a new pod stays shut off, because the policies cannot be read");
                    return Err(delay);
                }
            }
        }
        let Some(world) = view.world() else {
            return Ok(());
        };
        self.apply(world).await
    }

    fn gains_a_pod(&self, world: &World) -> bool {
        let known = self.known.borrow();
        let enforcement = self.enforcement(world);
        enforcement
            .pods
            .iter()
            .any(|(address, pod)| known.get(address) != Some(&pod.name))
    }

    fn enforcement(&self, world: &World) -> Enforcement {
        Enforcement::new(world, &self.settings.node, self.pod_ranges.clone())
    }

    /// The delay before the next attempt, longer each time until one succeeds.
    fn delay(&mut self) -> Duration {
        let delay = self.retry;
        self.retry = (self.retry * 2).min(RETRY_LIMIT);
        delay
    }

    async fn apply(&mut self, world: &World) -> Result<(), Duration> {
        let started = Instant::now();
        let enforcement = self.enforcement(world);
        let ruleset = nft::ruleset(self.settings.table.name(), &enforcement);
        let policies: BTreeMap<String, i64> = world
            .policies
            .iter()
            .map(|(name, policy)| (name.to_string(), policy.generation))
            .collect();
        let write = self.applied.as_deref() != Some(ruleset.as_str());
        if write {
            let table = &self.settings.table;
            let written = if self.changed {
                table.replace(&nft::anew(table.name(), &ruleset)).await
            } else {
                table.replace(&ruleset).await
            };
            if let Err(error) = written {
                // A table that does not take our rules is not as we made it.
                self.changed |= matches!(error, KernelError::Refused { .. });
                let delay = self.delay();
                tracing::error!(node = self.settings.node, %error, retry_ms = delay.as_millis(), "not applied");
                return Err(delay);
            }
            self.generation += 1;
            self.applied = Some(ruleset);
            self.changed = false;
            let known = enforcement
                .pods
                .iter()
                .map(|(address, pod)| (*address, pod.name.clone()))
                .collect();
            self.known.send_replace(known);
        }
        self.retry = RETRY_FIRST;
        if write || self.told.as_ref() != Some(&policies) {
            self.tell(&enforcement, policies, write, started.elapsed());
        }
        if write {
            self.listing = self.settings.table.listing().await.ok().flatten();
        }
        Ok(())
    }

    /// Tells what is in force, in the log and the readiness file.
    fn tell(
        &mut self,
        enforcement: &Enforcement,
        policies: BTreeMap<String, i64>,
        written: bool,
        took: Duration,
    ) {
        let readiness = Readiness {
            node: &self.settings.node,
            generation: self.generation,
            pods: enforcement.pods.len(),
            isolated_pods: enforcement.isolated(),
            policies,
        };
        tracing::info!(
            node = readiness.node,
            generation = readiness.generation,
            policies = readiness.policies.len(),
            pods = readiness.pods,
            isolated_pods = readiness.isolated_pods,
            written,
            took_ms = took.as_millis(),
            "in force"
        );
        if let Some(path) = &self.settings.ready_file
            && let Err(error) = write_whole(path, &readiness)
        {
            tracing::error!(path = %path.display(), %error, "the readiness file could not be written; the rules are in force");
        }
        self.told = Some(readiness.policies);
    }

    /// Whether somebody changed or removed the table since it was applied. Forgets what was applied when so.
    async fn differs(&mut self) -> bool {
        if self.applied.is_none() {
            return false;
        }
        match self.settings.table.listing().await {
            Ok(found) if found.is_some() && found == self.listing => false,
            Ok(_) => {
                let table = self.settings.table.name();
                tracing::warn!(
                    table,
                    "the table was changed by somebody else; making it anew"
                );
                self.applied = None;
                self.changed = true;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the table could not be compared");
                false
            }
        }
    }
}

/// Writes the file whole or not at all.
fn write_whole(path: &Path, readiness: &Readiness<'_>) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, serde_json::to_vec(readiness)?)?;
    fs::rename(&part, path)
}

fn remove(path: &Path) -> Result<(), EnforceError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EnforceError::ReadyFile {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
