//! The corridor: events in, and for each Region one pass of observe, plan, desired, apply, steps, status and the time
//! of the next look out. All decisions are the model's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_model::accepted::{AcceptedSpec, is_of_place};
use bailiwick_model::channel::channels;
use bailiwick_model::desired::{desired, desired_while_paused};
use bailiwick_model::evidence::Entry;
use bailiwick_model::evidence::changes::{changes, readopted};
use bailiwick_model::evidence::sightings::{Sightings, Told};
use bailiwick_model::facts::{Facts, Inventory, Neighbour, Observed, ReadFailure, RefusedObject};
use bailiwick_model::fence;
use bailiwick_model::names::{FIELD_MANAGER, FINALIZER, Names};
use bailiwick_model::patroni::PatroniStep;
use bailiwick_model::plan::{Plan, Platform, plan};
use bailiwick_model::region::{
    Assurance, BreachStatus, EvidenceStatus, Region, RegionStatus, ResidencyStatus, WaysStatus,
};
use bailiwick_model::region_object::{RegionObject, Undecodable};
use bailiwick_model::repository::{ArchivedFile, ReadBack};
use bailiwick_model::secret;
use bailiwick_model::sql::SqlStep;
use bailiwick_model::status::{self, Applied, Outcome, Recording};
use bailiwick_model::step::{Step, steps, untold};
use bailiwick_model::violation::{Reason, Violation};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, applier, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::Deserialize as _;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;

use crate::apply::{self, Records, Refusals};
use crate::cause;
use crate::credentials::Credentials;
use crate::error::{Error, Retry, StepError, backoff};
use crate::events;
use crate::evidence::EvidenceError;
use crate::glance;
use crate::health::WatchHealth;
use crate::lease::Lease;
use crate::mint;
use crate::observe::{FULL_PASS, network_policies, observe, secret_facts, stateful_sets};
use crate::regions::{self, Known};
use crate::retire::{self, Retiring};
use crate::systems::{Access, Systems};
use crate::telemetry::{Ending, Metrics};
use crate::watch::Object;
use crate::watched::Watched;

/// How many Regions are looked at at once: all of them. One whose systems hang waits for itself alone.
const UNLIMITED: u16 = 0;
/// How many Regions read from and write to the API server at once, so that a start among many is no flood. Nobody holds a
/// turn while a system of a Region is waited for.
const TURNS: usize = 4;
/// Events that come closer together than this cause one pass.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// When a settled Region is looked at again: what stands behind S3, SQL and Patroni sends no events, and archiving
/// that fails must show within a minute. Such a look sends nothing to the API server.
const SETTLED: Duration = Duration::from_secs(15);
/// When a Region that is not settled is looked at again, beside the events of its children.
const UNSETTLED: Duration = Duration::from_secs(3);
/// When a Region is looked at again after steps that may allow others.
const NEXT_STEP: Duration = Duration::from_millis(500);
/// How many looks in a row that did steps may leave the status to the next one.
const UNREPORTED: u32 = 4;

/// How long a watch may fail, or the API server be silent, before the operator says that it is not ready. A restart of the
/// API server is over by then.
const STALE: Duration = Duration::from_mins(2);

/// The status of HTTP of a right that is not there.
const FORBIDDEN: u16 = 403;

/// How many entries of one Region wait for its evidence log at most.
const MOST_UNRECORDED: usize = 10_000;

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
    listed: AtomicBool,
    /// How the watch of Regions fares.
    regions_health: WatchHealth,
    turns: Semaphore,
    /// The pods of all Regions, as the last look saw them.
    pub(crate) neighbours: Mutex<Arc<BTreeMap<String, Neighbour>>>,
}

/// An inventory, and of when it is.
#[derive(Debug)]
pub struct LookAround {
    /// When it was read.
    pub at: Instant,
    /// The generation of the Region whose spec said what to look at.
    pub generation: Option<i64>,
    /// What was read.
    pub seen: Observed<Inventory>,
}

/// A file that was looked for in the repository, and when that was.
#[derive(Debug)]
pub struct LookBack {
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
    uid: Option<String>,
    /// What was applied.
    pub records: Records,
    /// The values of the Region's Secrets.
    pub credentials: Credentials,
    /// Whether the operator was found to have its rights in the Region's namespaces.
    pub delegated: bool,
    /// When Secrets and ConfigMaps were last read.
    pub last_full_pass: Option<Instant>,
    /// When the metadata of Secrets was last looked at.
    pub last_glance: Option<Timestamp>,
    /// The Secrets of logins that left the spec that were looked for, and those that are there, with their uids.
    pub left_over: (BTreeSet<String>, BTreeMap<String, String>),
    /// Whether this look reads them.
    pub full_pass: bool,
    /// What was in the Region's namespaces beside what is ours.
    pub inventory: Option<LookAround>,
    /// The newest file that was archived when the repository was looked into last.
    pub archived: Option<LookBack>,
    /// The StatefulSets whose programs have answered before: they are asked even while their pods are not ready,
    /// because that is when their answer matters.
    pub answered: BTreeSet<String>,
    /// The breach as the status that was told last tells of it.
    pub breach: Option<BreachStatus>,
    /// The ways as the status that was told last tells of them.
    pub ways: Option<WaysStatus>,
    /// The spec that was accepted last.
    accepted: Option<AcceptedSpec>,
    /// Whether the one that an operator before this left was asked for.
    asked_for_accepted: bool,
    /// The status that was written last, and the version of the Region in the cache at that time.
    written: Option<(Option<String>, RegionStatus)>,
    /// How many looks in a row left the status to the next one.
    unreported: u32,
    failures: u32,
    /// How many looks in a row had a step that failed.
    failed_looks: u32,
    /// What changed of the residency and is not in the evidence log yet.
    pub unrecorded: Vec<Entry>,
    /// The residency that the entries, recorded or not, lead up to.
    told: Option<ResidencyStatus>,
    /// The canary runs, placements, violations and exceptions among the entries, recorded or not.
    sighted: Option<Told>,
    /// The version of the Region before it was given its finalizer and after that: neither shows a status written since.
    pub held: Option<[Option<String>; 2]>,
    /// How far its deletion is.
    pub ending: Retiring,
    /// The end of the evidence log with the deletion in it.
    pub ended_log: Option<EvidenceStatus>,
}

impl Memory {
    /// Forgets what is known of another Region of the same name: one that was made anew while the watch was down.
    fn is_of(&mut self, uid: Option<&String>) {
        if self.uid.as_ref() != uid {
            *self = Self {
                uid: uid.cloned(),
                ..Self::default()
            };
        }
    }

    /// Remembers what of a status must not be lost with it: somebody may empty it. A look that `judged` nothing tells what
    /// stood there, emptied or not, and takes nothing from what is known.
    fn is_told(&mut self, status: &RegionStatus, judged: bool) {
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

    fn memory(&self, region: &str) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.entry(region.to_owned()).or_default().clone()
    }

    /// Waits for a turn with the API server, which lasts until what is returned is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// The names of the Regions of which something is remembered.
    fn remembered(&self) -> Vec<String> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.keys().cloned().collect()
    }

    /// Whether `memory` is still what is remembered of a Region: not of one that went meanwhile.
    fn remembers(&self, region: &str, memory: &Arc<tokio::sync::Mutex<Memory>>) -> bool {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories
            .get(region)
            .is_some_and(|known| Arc::ptr_eq(known, memory))
    }

    /// Forgets a Region that is gone: its credentials, its gauges, and the clients of its systems.
    fn forget(&self, region: &str) {
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

/// Watches Regions and their children and reconciles until `shutdown` resolves; reconciles that run then are
/// finished. Waits for the first lists, so that nothing is mistaken for missing.
pub async fn run(ctx: Arc<Context>, shutdown: impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(1024);
    let (regions, writer) = reflector::store();
    let tasks = [
        tokio::spawn(forward_regions(ctx.clone(), writer, sender.clone())),
        tokio::spawn(forward_children(ctx.clone(), regions.clone(), sender)),
    ];
    ctx.watched.listed().await;
    // An error here means that the writer is gone, and then the queue ends at once.
    let _ = regions.wait_until_ready().await;
    ctx.listed.store(true, Ordering::Release);
    tracing::info!(regions = regions.len(), "the first lists are complete");

    // Whatever came before the flag was set is in the stores by now; whatever comes after is in the channel.
    let all: Vec<ObjectRef<RegionObject>> = regions
        .state()
        .iter()
        .map(|region| ObjectRef::from_obj(region.as_ref()))
        .collect();
    let queue = futures::stream::iter(all)
        .chain(stream_of(receiver))
        .take_until(Box::pin(shutdown))
        .map(Ok::<_, Infallible>);
    let config = kube::runtime::Config::default()
        .concurrency(UNLIMITED)
        .debounce(DEBOUNCE);
    applier(
        |region, ctx| Box::pin(on_its_own(reconcile(region, ctx))),
        error_policy,
        ctx,
        regions,
        queue,
        config,
    )
    .for_each(|_| std::future::ready(()))
    .await;
    for task in tasks {
        task.abort();
    }
}

/// Runs a look as a task of its own, which ends when nobody waits for it any more. The applier polls all looks from
/// one task, where the computing of one would keep the answers of the others waiting.
async fn on_its_own(
    look: impl Future<Output = Result<Action, Error>> + Send + 'static,
) -> Result<Action, Error> {
    let mut task = JoinSet::new();
    task.spawn(look);
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the process cancels it.
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn stream_of(
    receiver: mpsc::Receiver<ObjectRef<RegionObject>>,
) -> impl Stream<Item = ObjectRef<RegionObject>> + Send + Unpin {
    Box::pin(futures::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|region| (region, receiver)) },
    ))
}

/// Wakes a Region. Before the first lists are complete nobody takes it up: the lists of a hundred Regions' children
/// would fill the channel and wait for ever.
async fn wake(
    ctx: &Context,
    sender: &mpsc::Sender<ObjectRef<RegionObject>>,
    region: ObjectRef<RegionObject>,
) {
    if ctx.listed.load(Ordering::Acquire) {
        // An error means that the queue has ended.
        let _ = sender.send(region).await;
    }
}

/// Every event of a Region wakes it, unless the operator itself changed its status and nothing else did.
async fn forward_regions(
    ctx: Arc<Context>,
    writer: reflector::store::Writer<RegionObject>,
    sender: mpsc::Sender<ObjectRef<RegionObject>>,
) {
    let mut known = Known::default();
    let api: Api<RegionObject> = Api::all(ctx.client.clone());
    let events = reflector::reflector(
        writer,
        watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(regions::shorten),
    );
    let mut events = Box::pin(events);
    while let Some(event) = events.next().await {
        match &event {
            Ok(_) => ctx.regions_health.heard(),
            Err(_) => ctx.regions_health.failed(Instant::now()),
        }
        match event {
            Ok(watcher::Event::Apply(region)) => {
                if known.changed(&region) {
                    wake(&ctx, &sender, ObjectRef::from_obj(&region)).await;
                }
            }
            Ok(watcher::Event::InitApply(region)) => {
                if known.listed(&region) {
                    wake(&ctx, &sender, ObjectRef::from_obj(&region)).await;
                }
            }
            Ok(watcher::Event::Delete(region)) => {
                known.gone(&region.name_any());
                ctx.forget(&region.name_any());
            }
            Ok(watcher::Event::Init) => known.list_begins(),
            Ok(watcher::Event::InitDone) => {
                // Those that went while the watch was down are told of by nothing else.
                for gone in known.list_ends(ctx.remembered()) {
                    ctx.forget(&gone);
                }
            }
            Err(error) => tracing::warn!(kind = "Region", %error, "watch failed, trying again"),
        }
    }
}

/// A child wakes its Region; a node, a storage class or the API server's address wakes all.
async fn forward_children(
    ctx: Arc<Context>,
    regions: Store<RegionObject>,
    sender: mpsc::Sender<ObjectRef<RegionObject>>,
) {
    let mut changes = ctx
        .watched
        .open(&ctx.client, &ctx.platform.image_registries);
    while let Some(group) = changes.next().await {
        if group.is_empty() {
            for region in regions.state() {
                wake(&ctx, &sender, ObjectRef::from_obj(region.as_ref())).await;
            }
        } else {
            wake(&ctx, &sender, ObjectRef::new(&group)).await;
        }
    }
}

/// One look at one Region.
///
/// # Errors
/// Any [`Error`]; its outcome is in the status by then, unless it is the status that could not be written.
pub async fn reconcile(object: Arc<RegionObject>, ctx: Arc<Context>) -> Result<Action, Error> {
    let now = Timestamp::now();
    match object.as_ref() {
        RegionObject::Decoded(region) => reconcile_at(region.clone(), ctx, now).await,
        RegionObject::Undecodable(undecodable) => {
            reconcile_undecodable(undecodable, ctx, now).await
        }
    }
}

/// One look at a Region that cannot be decoded: the spec that was accepted last is tended, as when a spec is refused. Where
/// there is none, or it is being deleted, it is only told.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_undecodable(
    undecodable: &Undecodable,
    ctx: Arc<Context>,
    now: Timestamp,
) -> Result<Action, Error> {
    ctx.lease.check()?;
    if mend_status(undecodable, &ctx, now).await? {
        // Such an event wakes nobody.
        return Ok(Action::requeue(NEXT_STEP));
    }
    if undecodable.metadata.deletion_timestamp.is_some() {
        return tell_undecodable(undecodable, &ctx, now).await;
    }
    match tended_instead(undecodable, &ctx).await {
        Ok(Some(region)) => {
            let violation = undecodable.violation();
            tracing::warn!(
                region = region.name_any(),
                field = violation.field,
                cause = undecodable.cause,
                "the Region cannot be decoded: the spec that was accepted last is tended"
            );
            look(Arc::new(region), Some(violation), ctx, now).await
        }
        Ok(None) => tell_undecodable(undecodable, &ctx, now).await,
        Err(error) => {
            tell_undecodable(undecodable, &ctx, now).await?;
            Err(error)
        }
    }
}

/// Takes what does not decode out of the status of a Region, which the next look then writes anew. Whether there was
/// something.
async fn mend_status(
    undecodable: &Undecodable,
    ctx: &Context,
    now: Timestamp,
) -> Result<bool, Error> {
    let metadata = &undecodable.metadata;
    let region = metadata.name.as_deref().unwrap_or_default();
    let known = {
        let remembered = ctx.memory(region);
        let mut memory = remembered.lock().await;
        memory.is_of(metadata.uid.as_ref());
        memory.breach.clone()
    };
    let Some(found) = status::unreadable(&undecodable.status, known.as_ref(), now) else {
        return Ok(false);
    };
    tracing::warn!(
        region,
        fields = found.fields.join(", "),
        "the status cannot be decoded: what does not decode is taken out, and it is written anew"
    );
    let api: Api<DynamicObject> =
        Api::all_with(ctx.client.clone(), &ApiResource::erase::<Region>(&()));
    let patch = serde_json::json!({
        // What somebody wrote in between is not written over.
        "metadata": { "uid": metadata.uid, "resourceVersion": metadata.resource_version },
        "status": found.patch,
    });
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch_status(region, &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|source| Error::Status {
            source: Box::new(source),
        })?;
    ctx.metrics.writes.inc();
    Ok(true)
}

/// The Region with the spec that was accepted last; none where there is none, or where that is not safe.
async fn tended_instead(undecodable: &Undecodable, ctx: &Context) -> Result<Option<Region>, Error> {
    let metadata = &undecodable.metadata;
    let remembered = ctx.memory(metadata.name.as_deref().unwrap_or_default());
    let mut memory = remembered.lock().await;
    memory.is_of(metadata.uid.as_ref());
    recall_accepted(ctx, metadata, &mut memory).await?;
    let accepted = memory.accepted.as_ref();
    Ok(accepted.and_then(|accepted| undecodable.tended_by(accepted)))
}

/// Says in the status of a Region that it cannot be decoded, and what was seen of it counts no more. The rest of the
/// status stays as it is: without a spec there is nothing to look at.
///
/// # Errors
/// [`Error::NotLeader`], or [`Error::Status`] when it could not be written.
pub async fn tell_undecodable(
    undecodable: &Undecodable,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    ctx.lease.check()?;
    let Undecodable {
        metadata,
        status: before,
        field,
        cause,
        spec: _,
    } = undecodable;
    let deleting = metadata.deletion_timestamp.is_some();
    if deleting
        && !metadata
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| finalizer == FINALIZER)
    {
        // It goes, or somebody else's finalizer holds it.
        return Ok(Action::await_change());
    }
    let region = metadata.name.as_deref().unwrap_or_default();
    tracing::warn!(region, field, cause, "the Region cannot be decoded");
    let conditions: Vec<Condition> = before["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| Condition::deserialize(condition).ok())
        .collect();
    let violation = undecodable.violation();
    let names = deleting.then(|| Names::new(region));
    let next = status::undecodable(
        &conditions,
        metadata.generation,
        &violation,
        names.as_ref(),
        now,
    );
    if next != conditions {
        let mut status = before.clone();
        status["conditions"] = serde_json::json!(next);
        let api: Api<DynamicObject> =
            Api::all_with(ctx.client.clone(), &ApiResource::erase::<Region>(&()));
        let patch = serde_json::json!({
            "apiVersion": Region::api_version(&()),
            "kind": Region::kind(&()),
            // What somebody wrote in between is not written over: the status was not decoded either.
            "metadata": { "name": region, "uid": metadata.uid, "resourceVersion": metadata.resource_version },
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(region, &parameters, &Patch::Apply(&patch))
            .await
            .map_err(|source| Error::Status {
                source: Box::new(source),
            })?;
        ctx.metrics.writes.inc();
    }
    Ok(Action::requeue(FULL_PASS))
}

/// [`reconcile`] at a given time.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_at(
    region: Arc<Region>,
    ctx: Arc<Context>,
    now: Timestamp,
) -> Result<Action, Error> {
    look(region, None, ctx, now).await
}

/// One look at a Region, or at what is tended in its place: then `undecodable` says why.
async fn look(
    region: Arc<Region>,
    undecodable: Option<Violation>,
    ctx: Arc<Context>,
    now: Timestamp,
) -> Result<Action, Error> {
    ctx.lease.check()?;
    let name = region.name_any();
    let remembered = ctx.memory(&name);
    let mut memory = remembered.lock().await;
    memory.is_of(region.uid().as_ref());
    let started = Instant::now();
    let region = with_written_status(region, &mut memory);
    if region.meta().deletion_timestamp.is_some() {
        let retired = retire::retire(&ctx, &region, &mut memory, now).await;
        memory.failures = match &retired {
            Ok(_) => 0,
            Err(_) => memory.failures.saturating_add(1),
        };
        if !ctx.remembers(&name, &remembered) {
            ctx.forget(&name);
        }
        return retired;
    }
    let refused = undecodable.clone();
    let pass = match undecodable {
        None => pass(&ctx, &region, &mut memory, now).await,
        Some(violation) => Box::pin(tend(&ctx, &region, &mut memory, vec![violation], now)).await,
    };
    let (written, ending, violations) = match &pass {
        Ok(pass) if memory.unreported < UNREPORTED && pass.is_amid_steps(&region) => {
            memory.unreported += 1;
            let status = region.status.clone().unwrap_or_default();
            (Ok(status), pass.ending(), pass.violations())
        }
        Ok(pass) => {
            memory.unreported = 0;
            let outcome = pass.outcome(region.status.as_ref());
            (
                write_status(&ctx, &region, &mut memory, &outcome, now).await,
                pass.ending(),
                pass.violations(),
            )
        }
        Err(error) => {
            let (reason, message) = (error.metric_label(), error.summary());
            tracing::warn!(region = name, reason, error = message, "reconcile failed");
            let outcome = Outcome::Failed {
                reason,
                message: &message,
                refused: refused.as_slice(),
            };
            let ending = Ending {
                outcome: "failed",
                error: reason,
            };
            (
                write_status(&ctx, &region, &mut memory, &outcome, now).await,
                ending,
                0,
            )
        }
    };
    ctx.metrics.reconciled(
        &name,
        ending,
        started.elapsed(),
        written.as_ref().ok(),
        violations,
    );
    if !ctx.remembers(&name, &remembered) {
        // It went while it was looked at: what this look left behind goes after it.
        ctx.forget(&name);
    }
    match (pass, written) {
        (Ok(pass), Ok(status)) => {
            memory.failures = 0;
            memory.failed_looks = pass.failed_looks(memory.failed_looks);
            let mut next = pass.next(&status, memory.failed_looks);
            if matches!(pass, Pass::Applied(_)) {
                // In time to see an edit of a Secret; a bound of a second keeps this from spinning.
                let glance = glance::until_next(&memory, now).unsigned_abs();
                next = next.min(glance.max(Duration::from_secs(1)));
            }
            Ok(Action::requeue(next))
        }
        (Err(error), _) | (Ok(_), Err(error)) => {
            memory.failures = memory.failures.saturating_add(1);
            if error.status().is_some_and(kube::core::Status::is_forbidden) {
                memory.delegated = false;
            }
            Err(error)
        }
    }
}

/// The Region with the status that we wrote last, as long as the cache does not show the effect of that write: what
/// is already written would else be written again, and what must be taken back would be taken for never written.
fn with_written_status(mut region: Arc<Region>, memory: &mut Memory) -> Arc<Region> {
    let Some((version, status)) = &memory.written else {
        return region;
    };
    let now = region.resource_version();
    let held = memory.held.as_ref().is_some_and(|held| held.contains(&now));
    if *version != now && !held {
        memory.written = None;
    } else if region.status.as_ref() != Some(status) {
        Arc::make_mut(&mut region).status = Some(status.clone());
    }
    region
}

/// When to look again after an error: its class says it, and how often it failed in a row.
#[allow(clippy::needless_pass_by_value)] // the shape that kube's applier calls
pub fn error_policy<K: ResourceExt>(region: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    // One that is gone is not remembered again.
    let memory = {
        let memories = ctx.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.get(&region.name_any()).cloned()
    };
    let failures = memory
        .and_then(|memory| memory.try_lock().ok().map(|memory| memory.failures))
        .unwrap_or(1);
    match error.retry() {
        Retry::Soon => Action::requeue(NEXT_STEP),
        Retry::Later => Action::requeue(backoff(failures)),
        Retry::OnChange => Action::requeue(backoff(failures).max(Duration::from_secs(30))),
    }
}

/// A step that failed: which, why, and the code that the system answered with.
type FailedStep = (String, ReadFailure, Option<String>);

/// What one pass came to.
enum Pass {
    Refused(Vec<Violation>),
    Applied(Box<Done>),
}

struct Done {
    plan: Plan,
    facts: Facts,
    writes: usize,
    steps: Vec<Step>,
    failed: Vec<FailedStep>,
    /// Why the newest spec is refused, when this is one that was accepted before it.
    refused: Vec<Violation>,
}

impl Done {
    /// Whether a step failed, or the API server refused an object.
    fn is_hindered(&self) -> bool {
        !self.failed.is_empty() || !self.facts.refused.is_empty()
    }

    /// Whether a channel was found open, or a breach began or ended, that the status does not tell of.
    fn found_open(&self, status: &RegionStatus) -> bool {
        let told = status.residency.as_ref();
        let breach = told.map_or_else(BreachStatus::default, |residency| residency.breach.clone());
        if breach != self.plan.breach {
            return true;
        }
        // How much the cluster gives decides about what is unknown, not about what stands open.
        channels(&self.plan, &self.facts, Assurance::Simulated)
            .open
            .iter()
            .any(|(id, finding)| {
                !told.is_some_and(|residency| {
                    residency.channels.iter().any(|row| {
                        row.id == id.to_string() && row.finding.as_ref() == Some(finding)
                    })
                })
            })
    }
}

impl Pass {
    fn outcome(&self, status: Option<&RegionStatus>) -> Outcome<'_> {
        match self {
            Self::Refused(violations) => Outcome::Refused(violations),
            Self::Applied(done) => Outcome::Applied(Applied {
                steps_due: done.steps.len() + untold(&done.plan, &done.facts),
                failed_steps: &done.failed,
                archive: bailiwick_model::archive::archive(&done.plan, &done.facts, status),
                full_backup: bailiwick_model::archive::full_backup(&done.plan, &done.facts),
                retained: bailiwick_model::step::retained(&done.plan, &done.facts),
                plan: &done.plan,
                facts: &done.facts,
                refused: &done.refused,
            }),
        }
    }

    fn ending(&self) -> Ending {
        match self {
            Self::Refused(_) => Ending {
                outcome: "refused",
                error: "",
            },
            Self::Applied(done) if !done.facts.refused.is_empty() => Ending {
                outcome: "failed",
                error: "ObjectRefused",
            },
            Self::Applied(done) if done.plan.spec.lifecycle.paused => Ending {
                outcome: "paused",
                error: "",
            },
            Self::Applied(_) => Ending {
                outcome: "applied",
                error: "",
            },
        }
    }

    /// Whether something was done, so that the look that follows at once will know what became of them: a status in
    /// between would be a write for nothing. A spec that the status does not speak of yet is reported on at once,
    /// and so is a step that failed, and a channel that stood open: the step may have shut it by the next look, and
    /// nobody would ever be told.
    fn is_amid_steps(&self, region: &Region) -> bool {
        let Self::Applied(done) = self else {
            return false;
        };
        let Some(status) = &region.status else {
            return false;
        };
        status.observed_generation == region.metadata.generation
            && done.writes > 0
            && done.failed.is_empty()
            && done.facts.refused.is_empty()
            && !done.found_open(status)
    }

    fn violations(&self) -> usize {
        match self {
            Self::Refused(violations) => violations.len(),
            Self::Applied(done) => done.refused.len(),
        }
    }

    /// How many looks in a row had a step that failed or an object that was refused, after `before` such looks.
    fn failed_looks(&self, before: u32) -> u32 {
        match self {
            Self::Applied(done) if done.is_hindered() => before.saturating_add(1),
            Self::Applied(_) | Self::Refused(_) => 0,
        }
    }

    /// When to look again. What keeps failing is tried ever later, but no later than the next look would be.
    fn next(&self, status: &RegionStatus, failed_looks: u32) -> Duration {
        match self {
            // Bindings are not watched, and the API server takes a moment to heed them.
            Self::Refused(violations)
                if violations
                    .iter()
                    .any(|violation| violation.reason == Reason::NotDelegated) =>
            {
                SETTLED
            }
            Self::Refused(_) => FULL_PASS,
            Self::Applied(done) if done.is_hindered() => {
                backoff(failed_looks).clamp(UNSETTLED, SETTLED)
            }
            Self::Applied(done)
                if done.writes > 0
                    || !done.steps.is_empty()
                    || untold(&done.plan, &done.facts) > 0 =>
            {
                NEXT_STEP
            }
            Self::Applied(_)
                if !status::is_true(status, "Ready") || status::is_true(status, "Progressing") =>
            {
                UNSETTLED
            }
            Self::Applied(_) => SETTLED,
        }
    }
}

async fn pass(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Pass, Error> {
    let facts = observe(ctx, region, memory, now).await?;
    ctx.metrics
        .start_window(&region.name_any(), fence::start_window(&facts));
    match plan(region, &ctx.platform, &facts) {
        Ok(plan) => {
            let done = Box::pin(make(ctx, region, memory, (plan, facts), now)).await?;
            // What was refused in part is not what is in force.
            if done.facts.refused.is_empty() {
                memory.accepted = AcceptedSpec::of(region);
            }
            Ok(Pass::Applied(Box::new(done)))
        }
        Err(violations) => Box::pin(tend(ctx, region, memory, violations, now)).await,
    }
}

/// One look at a Region whose spec is refused: the spec that was accepted last is tended, where that is safe.
async fn tend(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    violations: Vec<Violation>,
    now: Timestamp,
) -> Result<Pass, Error> {
    if is_of_place(&violations) {
        return Ok(Pass::Refused(violations));
    }
    recall_accepted(ctx, &region.metadata, memory).await?;
    let accepted = memory.accepted.as_ref();
    let in_force = accepted.map(|accepted| accepted.generation);
    let Some(region) = accepted.and_then(|accepted| accepted.in_place_of(region, &violations))
    else {
        return Ok(Pass::Refused(violations));
    };
    // What is read follows from the spec, too: Secrets, users.
    let facts = observe(ctx, &region, memory, now).await?;
    let Ok(mut plan) = plan(&region, &ctx.platform, &facts) else {
        return Ok(Pass::Refused(violations));
    };
    plan.generation = in_force;
    let done = Box::pin(make(ctx, &region, memory, (plan, facts), now)).await?;
    Ok(Pass::Applied(Box::new(Done {
        refused: violations,
        ..done
    })))
}

/// Remembers the spec that was accepted last, as an operator before this one left it.
async fn recall_accepted(
    ctx: &Context,
    region: &ObjectMeta,
    memory: &mut Memory,
) -> Result<(), Error> {
    if memory.accepted.is_none() && !memory.asked_for_accepted {
        memory.accepted = accepted(ctx, region).await?;
        memory.asked_for_accepted = true;
    }
    Ok(())
}

/// The spec that was accepted last, as an operator before this one left it; none when there was none.
async fn accepted(ctx: &Context, region: &ObjectMeta) -> Result<Option<AcceptedSpec>, Error> {
    let names = Names::new(region.name.as_deref().unwrap_or_default());
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &names.namespace());
    let found = api.get_opt(&names.accepted()).await;
    match found {
        // One of a Region that had the name before goes with that one.
        Ok(found) => Ok(found
            .filter(|found| {
                let owners = found.owner_references();
                owners
                    .iter()
                    .any(|owner| Some(&owner.uid) == region.uid.as_ref())
            })
            .and_then(|found| found.data)
            .and_then(|data| AcceptedSpec::read(&data))),
        // Without a right there, nothing is tended either.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(source) => Err(Error::Observe {
            what: format!("ConfigMap {}", names.accepted()),
            source: Box::new(source),
        }),
    }
}

/// Makes a Region what its plan says: boundary, Secrets, objects and steps.
async fn make(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    (plan, mut facts): (Plan, Facts),
    now: Timestamp,
) -> Result<Done, Error> {
    // Before anything is applied, and of a paused Region as well: without it the fence could go before what it fences.
    retire::hold(ctx, region, &mut memory.held).await?;
    if plan.spec.lifecycle.paused {
        return shut_off_while_paused(ctx, region, memory, (plan, facts), now).await;
    }
    let due = secret::due(&plan.secrets, &facts);
    let (mut writes, refused) = write_objects(ctx, &plan, &due, memory, now).await?;
    let plan = take_refusals(region, plan, &mut facts, memory, refused);
    if writes > 0 {
        // One that was just put right had told of the pods of somebody else's template: no member is restarted for those.
        facts.stateful_sets = stateful_sets(ctx, &plan.names);
    }
    let steps = steps(&plan, &facts);
    let (done, failed) = perform_all(ctx, region, &plan, memory, &steps).await?;
    writes += done;
    remember_answers(&plan, &facts, &mut memory.answered);
    ctx.metrics
        .writes
        .inc_by(u64::try_from(writes).unwrap_or_default());
    if !due.is_empty() {
        // The status speaks of the Secrets as they are now: the next look would else write it once more.
        facts.secrets = secret_facts(&plan.names, &plan.spec, memory);
        facts.remembered.clone_from(memory.credentials.gone());
    }
    facts.network_policies = network_policies(ctx, plan.names.region());
    // The look that follows a change reads what it changed.
    if writes > 0 && due.iter().any(|(_, due)| *due == secret::Due::Renewal) {
        memory.last_full_pass = None;
    }
    facts.now = now;
    Ok(Done {
        plan,
        facts,
        writes,
        steps,
        failed,
        refused: Vec::new(),
    })
}

/// Applies the objects of a Region, makes its Secrets and prunes what is not wanted any more; returns how many writes were
/// sent, and what was refused. Manifests take more memory than anything else of a look: they are there while it has its
/// turn, not while hundreds of others wait for theirs, or for a system that does not answer.
async fn write_objects(
    ctx: &Context,
    plan: &Plan,
    due: &[(secret::SecretWanted, secret::Due)],
    memory: &mut Memory,
    now: Timestamp,
) -> Result<(usize, Vec<RefusedObject>), Error> {
    let _turn = ctx.turn().await;
    let mut refused = Refusals {
        nothing_waits: plan.spec.lifecycle.hibernated,
        ..Refusals::default()
    };
    let (name, look) = (plan.names.region(), memory.full_pass);
    let manifests = desired(plan);
    // The boundary stands before anything that it surrounds.
    let boundary = manifests
        .iter()
        .take_while(|manifest| manifest.resource.kind == "NetworkPolicy")
        .count();
    let (boundary, rest) = manifests.split_at(boundary);
    let (records, credentials) = (&mut memory.records, &mut memory.credentials);
    let mut writes = apply::apply(ctx, name, records, boundary, look, &mut refused).await?;
    writes += mint::mint(ctx, plan, due, credentials, now, &mut refused).await?;
    writes += apply::apply(ctx, name, records, rest, look, &mut refused).await?;
    writes += apply::prune(ctx, name, records, &manifests, &mut refused).await?;
    Ok((writes, refused.objects))
}

/// Takes up what the API server refused of a look's writes; returns the plan that is judged and gone on with.
fn take_refusals(
    region: &Region,
    plan: Plan,
    facts: &mut Facts,
    memory: &mut Memory,
    refused: Vec<RefusedObject>,
) -> Plan {
    if refused.iter().any(|it| it.code == Some(FORBIDDEN)) {
        // It may be the rights that are gone: they are asked for again.
        memory.delegated = false;
    }
    facts.refused = refused;
    plan.after_refusals(region, facts)
}

/// What is done of a Region that is paused: it is shut off for a leak, and else nothing.
async fn shut_off_while_paused(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    (plan, mut facts): (Plan, Facts),
    now: Timestamp,
) -> Result<Done, Error> {
    let name = plan.names.region();
    let turn = ctx.turn().await;
    let manifests = desired_while_paused(&plan);
    let mut refused = Refusals::default();
    let (records, look) = (&mut memory.records, memory.full_pass);
    let mut writes = apply::apply(ctx, name, records, &manifests, look, &mut refused).await?;
    drop((turn, manifests));
    let plan = take_refusals(region, plan, &mut facts, memory, refused.objects);
    let name = plan.names.region();
    let steps = steps(&plan, &facts);
    let (done, failed) = perform_all(ctx, region, &plan, memory, &steps).await?;
    writes += done;
    ctx.metrics
        .writes
        .inc_by(u64::try_from(writes).unwrap_or_default());
    // Nothing is repaired now; what is missing is told.
    facts.absent = apply::absent(ctx, name, &desired(&plan));
    facts.now = now;
    Ok(Done {
        plan,
        facts,
        writes,
        steps,
        failed,
        refused: Vec::new(),
    })
}

/// Does steps one by one: how many were done, and those that failed: which, why, and the code that the system answered with.
async fn perform_all(
    ctx: &Context,
    region: &Region,
    plan: &Plan,
    memory: &mut Memory,
    steps: &[Step],
) -> Result<(usize, Vec<FailedStep>), Error> {
    let name = plan.names.region();
    let settled = is_settled(region);
    let mut writes = 0;
    let mut failed = Vec::new();
    let mut stopped = BTreeSet::new();
    let mut without = BTreeSet::new();
    for step in steps {
        let subjects = step.subjects();
        if stopped.contains(system_of(step)) || !without.is_disjoint(&subjects) {
            continue;
        }
        let performed = match perform(ctx, region, plan, memory, step).await {
            Err(error) => {
                failed.push(refused_step(error, step, memory)?);
                continue;
            }
            Ok(performed) => performed,
        };
        if let Err(failure) = performed {
            tracing::warn!(
                region = name,
                error = &failure as &dyn std::error::Error,
                "a step was not done"
            );
            failed.push((
                format!("{}: {}", failure.system, failure.what),
                failure.failure,
                failure.cause(),
            ));
            // Later steps may depend on this one: those about the same, or all of a system that fails as a whole. What
            // they need of another system was observed.
            if failure.failure.is_of_one_thing() && !subjects.is_empty() {
                without.extend(subjects);
            } else {
                stopped.insert(system_of(step));
            }
            continue;
        }
        writes += 1;
        if let Step::DeleteSecret { name, .. } = step {
            memory.left_over.1.remove(name);
        }
        if settled && repairs(step) {
            tracing::warn!(
                region = name,
                system = system_of(step),
                "what was settled had been changed by somebody else and was put right"
            );
            ctx.metrics.undone(name);
        }
    }
    Ok((writes, failed))
}

/// What the API server refused of a step. Others go on: none builds on what it makes within one look.
///
/// # Errors
/// The error itself when it says nothing of this one object.
fn refused_step(error: Error, step: &Step, memory: &mut Memory) -> Result<FailedStep, Error> {
    let Some(cause) = error.refusal() else {
        return Err(error);
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "a step was not done"
    );
    if error.status().is_some_and(kube::core::Status::is_forbidden) {
        memory.delegated = false;
    }
    let told = format!("{}: {error}", system_of(step));
    Ok((told, ReadFailure::Refused, Some(cause)))
}

/// Takes up which systems answered.
fn remember_answers(plan: &Plan, facts: &Facts, answered: &mut BTreeSet<String>) {
    if plan.spec.lifecycle.hibernated {
        // When it wakes, silence means that it starts.
        answered.clear();
    }
    for (set, answers) in [
        (plan.names.object_store(), facts.store.seen().is_some()),
        (plan.names.postgres(), facts.patroni.seen().is_some()),
    ] {
        if answers {
            answered.insert(set);
        }
    }
}

/// Whether nothing was left to do for the spec as it is.
fn is_settled(region: &Region) -> bool {
    region.status.as_ref().is_some_and(|status| {
        status.observed_generation == region.metadata.generation
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Progressing" && condition.reason == "Settled")
    })
}

/// Whether a step makes a setting what the spec says. The others come with time: backups, canaries, pods, connections.
fn repairs(step: &Step) -> bool {
    match step {
        Step::Sql(step) => !matches!(step, SqlStep::EndSessions { .. }),
        Step::Store(_) | Step::Patroni(PatroniStep::PatchConfig(_)) => true,
        _ => false,
    }
}

/// The system whose steps follow from each other.
const fn system_of(step: &Step) -> &'static str {
    match step {
        Step::Store(_) => "object store",
        Step::Sql(_) => "postgres",
        Step::Grow(_) | Step::MarkClaim(_) => "volumes",
        Step::DeleteSecret { .. } => "secrets",
        Step::Patroni(_) | Step::Create(_) | Step::DeletePod { .. } | Step::DeleteJob { .. } => {
            "patroni"
        }
    }
}

/// Does one step. The outer error is the API server's, the inner one that of the system behind the step.
async fn perform(
    ctx: &Context,
    region: &Region,
    plan: &Plan,
    memory: &Memory,
    step: &Step,
) -> Result<Result<(), StepError>, Error> {
    ctx.lease.check()?;
    let access = Access {
        region,
        names: &plan.names,
        credentials: &memory.credentials,
    };
    let object = |name: &str| Object {
        namespace: plan.names.namespace(),
        name: name.to_owned(),
    };
    Ok(match step {
        Step::Store(step) => ctx.systems.store_step(access, step).await,
        Step::Patroni(step) => ctx.systems.patroni_step(access, step).await,
        Step::Sql(step) => ctx.systems.sql_step(access, step).await,
        Step::Create(manifest) => {
            let api: Api<DynamicObject> = Api::namespaced_with(
                ctx.client.clone(),
                &plan.names.namespace(),
                &manifest.resource,
            );
            let parameters = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            match api.create(&parameters, &manifest.object).await {
                Ok(_) => Ok(()),
                // The watch has not shown it yet.
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(source) => {
                    return Err(Error::Apply {
                        object: manifest.id(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Step::Grow(growth) => apply::grow(&ctx.client, &plan.names.namespace(), growth).await?,
        Step::MarkClaim(claim) => {
            apply::mark_claim(&ctx.client, &plan.names.namespace(), claim).await?;
            Ok(())
        }
        Step::DeleteSecret { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Secret>(&()), &object(name), uid).await?;
            Ok(())
        }
        Step::DeletePod { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Pod>(&()), &object(name), uid).await?;
            Ok(())
        }
        Step::DeleteJob { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Job>(&()), &object(name), uid).await?;
            Ok(())
        }
    })
}

/// Of a residency what entries are made from: it is kept for each Region.
fn told(residency: &ResidencyStatus) -> ResidencyStatus {
    let mut told = residency.clone();
    for row in &mut told.channels {
        row.evidence = String::new();
        row.finding = None;
    }
    told.evidence = None;
    told
}

/// Takes up what is to be recorded: `moves` says whether the status is written anyway, `recorded` what the one before has.
fn remember(
    region: &Region,
    memory: &mut Memory,
    sightings: Sightings,
    residency: &ResidencyStatus,
    recorded: Option<&ResidencyStatus>,
    moves: bool,
    now: Timestamp,
) {
    let before = memory.told.as_ref().or(recorded);
    let changed = changes(before, residency, &region.spec, now);
    let mut sighted = memory
        .sighted
        .clone()
        .unwrap_or_else(|| Told::of(residency.evidence.as_ref()));
    let seen = sighted.take(sightings, moves);
    if memory.unrecorded.len() + changed.len() + seen.len() > MOST_UNRECORDED {
        // The way from what was told last to what is then is told once there is room; what was in between is not.
        tracing::error!(
            region = region.name_any(),
            waiting = memory.unrecorded.len(),
            "evidence waits: no more of it is kept until the log takes some"
        );
    } else {
        if !changed.is_empty() {
            memory.told = Some(told(residency));
        }
        memory.sighted = Some(sighted);
        // Why before what follows from it.
        memory.unrecorded.extend(seen);
        memory.unrecorded.extend(changed);
    }
}

/// Records what changed of the residency, and what was seen for the first time, in the Region's own log, and its new end in
/// the status. What cannot be recorded now is kept and tried again with the next look; everything is recorded at least once.
async fn record_evidence(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    outcome: &Outcome<'_>,
    status: &mut RegionStatus,
    now: Timestamp,
) {
    let moves = region.status.as_ref() != Some(&*status);
    let Some(residency) = status.residency.as_mut() else {
        return;
    };
    let sightings = match outcome {
        Outcome::Applied(applied) => {
            Sightings::of(applied.plan, applied.facts, &residency.channels)
                .and_refusal(&region.name_any(), applied.refused)
        }
        Outcome::Refused(violations) => Sightings::of_refusal(&region.name_any(), violations),
        Outcome::Failed { .. } => return,
    };
    // A Region that was never accepted has no log: its status and Event tell why it is refused.
    if matches!(outcome, Outcome::Refused(_)) && residency.evidence.is_none() {
        return;
    }
    // A status that could not be written is no reason to tell the same again. What an operator before us may have left
    // unrecorded is told anew, as a whole.
    if let Outcome::Applied(applied) = outcome
        && memory.told.is_none()
    {
        // Before all else that is recorded of it.
        memory.unrecorded.extend(readopted(region, applied.facts));
    }
    let recorded = region
        .status
        .as_ref()
        .filter(|status| status::is_true(status, "EvidenceRecorded"))
        .and_then(|status| status.residency.as_ref());
    remember(region, memory, sightings, residency, recorded, moves, now);
    let generation = region.metadata.generation;
    // A status that somebody emptied gets the end of the log back, though there is nothing new to record.
    if memory.unrecorded.is_empty() && recorded.is_some() && residency.evidence.is_some() {
        // It speaks of this spec too.
        status::evidence_recorded(status, generation, Recording::Whole, now);
        return;
    }
    if let Outcome::Applied(applied) = outcome
        && applied.facts.store.seen().is_none()
    {
        status::evidence_recorded(status, generation, Recording::Waiting, now);
        return;
    }
    let names = Names::of(region);
    let access = Access {
        region,
        names: &names,
        credentials: &memory.credentials,
    };
    let recorded = ctx
        .systems
        .record(access, residency.evidence.as_ref(), &memory.unrecorded, now)
        .await;
    let (end, done, recording) = match recorded {
        Ok(mut end) => {
            if let Some(sighted) = &memory.sighted {
                end.told = sighted.to_status();
            }
            (Some(end), memory.unrecorded.len(), Recording::Whole)
        }
        Err(error) => {
            tracing::warn!(
                region = region.name_any(),
                error = &error as &dyn std::error::Error,
                "evidence was not recorded"
            );
            match error {
                EvidenceError::Store {
                    end,
                    written,
                    failure,
                    source,
                    ..
                } => {
                    // Of what was told before, all is recorded; of the rest, perhaps not.
                    let told = residency.evidence.as_ref();
                    let end = end.map(|end| EvidenceStatus {
                        told: told.map(|before| before.told.clone()).unwrap_or_default(),
                        ..end
                    });
                    (
                        end,
                        written,
                        Recording::Failed(cause::unread(failure, source.as_deref())),
                    )
                }
                EvidenceError::Broken { .. } => (None, 0, Recording::Broken),
            }
        }
    };
    memory.unrecorded.drain(..done);
    if end.is_some() && residency.evidence != end {
        residency.evidence = end;
        if !moves && matches!(outcome, Outcome::Applied(_)) {
            // The write that a record needs tells of the look, too: it need not be told of again for five minutes.
            residency.checked_at = Some(now);
        }
    }
    status::evidence_recorded(status, generation, recording, now);
}

/// Writes the status if it differs, and an Event if a condition that people are woken for flipped.
async fn write_status(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Result<RegionStatus, Error> {
    let mut status = status::status(region, outcome, now);
    record_evidence(ctx, region, memory, outcome, &mut status, now).await;
    let judged = matches!(outcome, Outcome::Applied(_));
    if region.status.as_ref() == Some(&status) {
        memory.is_told(&status, judged);
        return Ok(status);
    }
    patch_status(ctx, region, &status).await?;
    memory.written = Some((region.resource_version(), status.clone()));
    memory.is_told(&status, judged);
    events::publish_flips(ctx, region, &status).await;
    Ok(status)
}

/// Sends a status to the API server.
///
/// # Errors
/// [`Error::Status`], or [`Error::NotLeader`] when the Lease was lost.
pub async fn patch_status(
    ctx: &Context,
    region: &Region,
    status: &RegionStatus,
) -> Result<(), Error> {
    ctx.lease.check()?;
    // The spec of the answer may not decode.
    let api: Api<RegionObject> = Api::all(ctx.client.clone());
    let name = region.name_any();
    let unwritten = |source: kube::Error| Error::Status {
        source: Box::new(source),
    };
    let patch = serde_json::json!({
        "apiVersion": Region::api_version(&()),
        "kind": Region::kind(&()),
        "metadata": { "name": name, "uid": region.uid() },
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let answer = api
        .patch_status(&name, &apply, &Patch::Apply(&patch))
        .await
        .map_err(unwritten)?;
    ctx.metrics.writes.inc();
    let RegionObject::Decoded(written) = answer else {
        return Ok(());
    };
    // What others wrote stays when a status is applied: nobody would take it out, and it may be a lie.
    let foreign = status::foreign(written.status.as_ref(), status)
        .map_err(|error| unwritten(kube::Error::SerdeError(error)))?;
    if let Some(foreign) = foreign {
        tracing::warn!(
            region = name,
            "somebody else wrote into the status: what is not the operator's is taken out"
        );
        ctx.lease.check()?;
        let patch = serde_json::json!({
            "metadata": { "uid": written.uid(), "resourceVersion": written.resource_version() },
            "status": foreign,
        });
        let merge = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch_status(&name, &merge, &Patch::Merge(&patch))
            .await
            .map_err(unwritten)?;
        ctx.metrics.writes.inc();
    }
    Ok(())
}
