//! The two ends of the corridor: events of the watches in, Regions in a queue out, and when each is reconciled again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bailiwick_model::region_object::RegionObject;
use bailiwick_model::requeue;
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, applier, watcher};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::error::Error;
use crate::reconcile::reconcile;
use crate::regions::{self, Known};

/// How many Regions are reconciled at once: all of them. One whose systems hang waits for itself alone.
const UNLIMITED: u16 = 0;
/// Events that come closer together than this cause one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(200);

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

/// Runs a reconcile as a task of its own, which ends when nobody waits for it any more. The applier polls all of them
/// from one task, where the computing of one would keep the answers of the others waiting.
async fn on_its_own(
    reconcile: impl Future<Output = Result<Action, Error>> + Send + 'static,
) -> Result<Action, Error> {
    let mut task = JoinSet::new();
    task.spawn(reconcile);
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

/// When to reconcile again after an error: its class says it, and how often it failed in a row.
#[allow(clippy::needless_pass_by_value)] // the shape that kube's applier calls
pub fn error_policy<K: ResourceExt>(region: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let failures = ctx.failures(&region.name_any()).unwrap_or(1);
    Action::requeue(requeue::after_error(error.retry(), failures))
}
