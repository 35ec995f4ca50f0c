//! What every reconcile needs and what is remembered of a Region between two of them: clients, watches, inventories with
//! their times, Secrets. Nothing here decides, and nothing speaks with the API server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_api::region::{BreachStatus, EvidenceStatus, RegionStatus, WaysStatus};
use bailiwick_model::accepted::AcceptedSpec;
use bailiwick_model::evidence::recorder::Recorder;
use bailiwick_model::facts::repository::ReadBack;
use bailiwick_model::facts::{Inventory, Neighbour, Observed};
use bailiwick_model::plan::Platform;
use bailiwick_model::repository::ArchivedFile;
use bailiwick_model::retire::Phase;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::credentials::Credentials;
use crate::health::WatchHealth;
use crate::lease::Lease;
use crate::systems::Systems;
use crate::telemetry::Metrics;
use crate::version::Records;
use crate::watched::Watched;

/// How many Regions read from and write to the API server at once, so that a start among many is no flood. Nobody holds a
/// turn while a system of a Region is waited for.
const TURNS: usize = 4;
/// How long a watch may fail, or the API server be silent, before the operator says that it is not ready. A restart of the
/// API server is over by then.
const STALE: Duration = Duration::from_mins(2);

/// What every reconcile needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the operator was started with.
    pub platform: Platform,
    /// What the watches hold.
    pub watched: Watched,
    /// S3, SQL and Patroni.
    pub systems: Arc<dyn Systems>,
    /// Whether we may write.
    pub lease: Lease,
    /// Metrics.
    pub metrics: Metrics,
    /// How long certificates of Regions are valid.
    pub certificate_lifetime: SignedDuration,
    memories: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>,
    /// Whether all first lists are complete: until then nothing wakes a Region, and then everything does.
    pub(crate) listed: AtomicBool,
    /// How the watch of Regions fares.
    pub(crate) regions_health: WatchHealth,
    turns: Semaphore,
    /// The pods of all Regions, as the last look saw them.
    pub(crate) neighbours: Mutex<Arc<BTreeMap<String, Neighbour>>>,
}

/// An inventory, and of when it is.
#[derive(Debug)]
pub struct CachedInventory {
    /// When it was read.
    pub at: Instant,
    /// The generation of the Region whose spec said what to look at.
    pub generation: Option<i64>,
    /// What was read.
    pub seen: Observed<Inventory>,
}

/// A file that was looked for in the repository, and when that was.
#[derive(Debug)]
pub struct CachedReadBack {
    /// When it was looked for.
    pub at: Instant,
    /// The file.
    pub file: ArchivedFile,
    /// What became of it.
    pub seen: Observed<ReadBack>,
}

/// What is remembered of one Region between two looks. Losing it costs some requests and nothing else.
#[derive(Debug, Default)]
pub struct Memory {
    /// The uid of the Region that it is of.
    pub(crate) uid: Option<String>,
    /// What was applied.
    pub records: Records,
    /// The values of the Region's Secrets.
    pub credentials: Credentials,
    /// Whether the operator was found to have its rights in the Region's namespaces.
    pub delegated: bool,
    /// When Secrets and ConfigMaps were last read.
    pub last_resync: Option<Instant>,
    /// When the metadata of Secrets was last looked at.
    pub last_glance: Option<Timestamp>,
    /// The Secrets of logins that left the spec that were looked for, and those that are there, with their uids.
    pub left_over: (BTreeSet<String>, BTreeMap<String, String>),
    /// Whether this reconcile reads them.
    pub resync: bool,
    /// What was in the Region's namespaces beside what is ours.
    pub inventory: Option<CachedInventory>,
    /// The newest file that was archived when the repository was looked into last.
    pub archived: Option<CachedReadBack>,
    /// The StatefulSets whose programs have answered before: they are asked even while their pods are not ready,
    /// because that is when their answer matters.
    pub answered: BTreeSet<String>,
    /// The breach as the status that was told last tells of it.
    pub breach: Option<BreachStatus>,
    /// The ways as the status that was told last tells of them.
    pub ways: Option<WaysStatus>,
    /// The spec that was accepted last.
    pub(crate) accepted: Option<AcceptedSpec>,
    /// Whether the one that an operator before this left was asked for.
    pub(crate) asked_for_accepted: bool,
    /// The status that was written last, and the version of the Region in the cache at that time.
    pub(crate) written: Option<(Option<String>, RegionStatus)>,
    /// How many reconciles in a row left the status to the next one.
    pub(crate) deferred: u32,
    /// How many in a row failed.
    pub(crate) failures: u32,
    /// How many in a row had a step that failed or an object that was refused.
    pub(crate) hindered: u32,
    /// What waits for its evidence log.
    pub recorder: Recorder,
    /// The version of the Region before it was given its finalizer and after that: neither shows a status written since.
    pub held: Option<[Option<String>; 2]>,
    /// How far its deletion is.
    pub ending: Retiring,
    /// The end of the evidence log with the deletion in it.
    pub ended_log: Option<EvidenceStatus>,
}

impl Memory {
    /// Forgets what is known of another Region of the same name: one that was made anew while the watch was down.
    pub(crate) fn is_of(&mut self, uid: Option<&String>) {
        if self.uid.as_ref() != uid {
            *self = Self {
                uid: uid.cloned(),
                ..Self::default()
            };
        }
    }

    /// Remembers what of a status must not be lost with it: somebody may empty it. A look that `judged` nothing tells what
    /// stood there, emptied or not, and takes nothing from what is known.
    pub(crate) fn is_told(&mut self, status: &RegionStatus, judged: bool) {
        let Some(residency) = &status.residency else {
            return;
        };
        if judged || self.breach.is_none() {
            self.breach = Some(residency.breach.clone());
        }
        if judged || self.ways.is_none() {
            self.ways.clone_from(&residency.ways);
        }
    }
}

impl Context {
    /// A context that has observed nothing yet.
    pub fn new(
        client: Client,
        platform: Platform,
        systems: Arc<dyn Systems>,
        lease: Lease,
        certificate_lifetime: SignedDuration,
    ) -> Self {
        Self {
            client,
            platform,
            watched: Watched::default(),
            systems,
            lease,
            metrics: Metrics::default(),
            certificate_lifetime,
            memories: Mutex::default(),
            listed: AtomicBool::new(false),
            regions_health: WatchHealth::default(),
            turns: Semaphore::new(TURNS),
            neighbours: Mutex::default(),
        }
    }

    pub(crate) fn memory(&self, region: &str) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.entry(region.to_owned()).or_default().clone()
    }

    /// Waits for a turn with the API server, which lasts until what is returned is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// The names of the Regions of which something is remembered.
    pub(crate) fn remembered(&self) -> Vec<String> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.keys().cloned().collect()
    }

    /// Whether `memory` is still what is remembered of a Region: not of one that went meanwhile.
    pub(crate) fn remembers(&self, region: &str, memory: &Arc<tokio::sync::Mutex<Memory>>) -> bool {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories
            .get(region)
            .is_some_and(|known| Arc::ptr_eq(known, memory))
    }

    /// How often in a row a Region's reconcile failed; none of one that is gone, which is not remembered again, or that is
    /// being reconciled.
    pub(crate) fn failures(&self, region: &str) -> Option<u32> {
        let memory = {
            let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
            memories.get(region).cloned()
        };
        memory.and_then(|memory| memory.try_lock().ok().map(|memory| memory.failures))
    }

    /// Forgets a Region that is gone: its credentials, its gauges, and the clients of its systems.
    pub(crate) fn forget(&self, region: &str) {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(region);
        self.metrics.forget(region);
        self.systems.forget(region);
    }

    /// The body of a `/readyz` that is well: how old the last answer of the API server is at `now`.
    #[must_use]
    pub fn synced(&self, now: Instant) -> String {
        self.lease.silent(now).map_or_else(
            || "ok\n".to_owned(),
            |ago| format!("ok: the API server answered {} s ago\n", ago.as_secs()),
        )
    }

    /// What is missing before the operator can say that it works, and what is not kept up to date any more.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        self.not_ready_at(Instant::now())
    }

    /// [`Self::not_ready`] at a given time.
    #[must_use]
    pub fn not_ready_at(&self, now: Instant) -> Vec<String> {
        let mut missing: Vec<String> = self
            .watched
            .missing()
            .into_iter()
            .map(|kind| format!("first list of {kind}"))
            .collect();
        if !self.listed.load(Ordering::Acquire) {
            missing.push("first list of Region: apply crds/regions.yaml if the CustomResourceDefinition is missing".to_owned());
        }
        let failing = self
            .regions_health
            .failing(now)
            .map(|since| ("Region", since));
        missing.extend(
            self.watched
                .failing(now)
                .into_iter()
                .chain(failing)
                .filter(|(_, since)| *since > STALE)
                .map(|(kind, since)| {
                    format!("watch of {kind}, which fails for {} s", since.as_secs())
                }),
        );
        if let Some(silent) = self.lease.silent(now).filter(|silent| *silent > STALE) {
            missing.push(format!(
                "answer of the API server, which gave none for {} s",
                silent.as_secs()
            ));
        }
        missing
    }
}

/// What is remembered of a Region that is being deleted.
#[derive(Debug, Default)]
pub struct Retiring {
    /// The phase that it is in, and since when.
    pub(crate) phase: Option<(Phase, Instant)>,
    /// Whether the deletion is in the evidence log.
    pub(crate) recorded: bool,
}
