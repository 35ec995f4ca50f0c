//! Several controls broken at once, at random: residency is not said to be enforced before the last of them is put back.
//! I/O: bindings of admission policies, a node's label, the reclaim policy of a volume, Pod Security of a namespace.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bailiwick_api::region::Region;
use bailiwick_model::policy;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;

use super::NOTICED;
use super::bench::Bench;
use crate::cases::residency::controls;
use crate::cluster::{Cluster, condition};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::Look;

/// How many rounds.
const ROUNDS: usize = 10;
/// The fewest and the most controls of a round.
const BROKEN: (usize, usize) = (2, 4);
/// The variable that a run is repeated by.
const SEED: &str = "BAILIWICK_E2E_SEED";

/// A control that is noticed by a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// An admission policy without its binding.
    Binding(&'static str),
    /// The node says that it is elsewhere.
    Node,
    /// A volume that goes with its claim, of the member with this ordinal.
    Volume(i32),
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(name) => write!(f, "{name} unbound"),
            Self::Node => f.write_str("node relabelled"),
            Self::Volume(ordinal) => write!(f, "volume {ordinal} not retained"),
        }
    }
}

impl Break {
    fn all() -> Vec<Self> {
        policy::names()
            .filter(|name| !controls::NO_CHANNEL.contains(name))
            .map(Self::Binding)
            .chain([Self::Node, Self::Volume(0), Self::Volume(1)])
            .collect()
    }

    /// What a finding says of it, and of nothing else that is broken here.
    async fn words(self, bench: &Bench<'_>) -> Outcome<String> {
        Ok(match self {
            Self::Binding(name) => format!("ValidatingAdmissionPolicy {name} "),
            Self::Node => bench.other.location.clone(),
            Self::Volume(ordinal) => format!(
                "{} is deleted with its claim",
                volume(bench, ordinal).await?
            ),
        })
    }

    async fn set(self, bench: &Bench<'_>, broken: bool) -> Outcome {
        match self {
            Self::Binding(name) if broken => {
                let short = name.trim_start_matches("bailiwick-");
                bench.unbind(&[short]).await
            }
            Self::Binding(name) => controls::bind(bench.cluster, name).await,
            Self::Node => {
                let place = if broken { bench.other } else { bench.place };
                controls::relabel(bench.cluster, &place.location).await
            }
            Self::Volume(ordinal) => {
                let volume = volume(bench, ordinal).await?;
                let reclaim = if broken { "Delete" } else { "Retain" };
                Api::<PersistentVolume>::all(bench.cluster.client.clone())
                    .patch(
                        &volume,
                        &PatchParams::default(),
                        &Patch::Merge(
                            json!({ "spec": { "persistentVolumeReclaimPolicy": reclaim } }),
                        ),
                    )
                    .await
                    .during(&volume)?;
                Ok(())
            }
        }
    }
}

/// The volume of a member of Postgres.
async fn volume(bench: &Bench<'_>, ordinal: i32) -> Outcome<String> {
    let claim = bench.place.names.postgres_claim(ordinal);
    Api::<PersistentVolumeClaim>::namespaced(bench.cluster.client.clone(), &bench.namespace())
        .get(&claim)
        .await
        .during(&claim)?
        .spec
        .and_then(|spec| spec.volume_name)
        .ok_or_else(|| Failure::new(format!("claim {claim} has no volume")))
}

/// A small generator of numbers that are spread well enough to choose by: xorshift64*.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let spread = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(spread).unwrap_or_default() % bound.max(1)
    }

    /// Some of all, in a random order.
    fn some(&mut self, mut all: Vec<Break>, count: usize) -> Vec<Break> {
        let mut chosen = Vec::new();
        while chosen.len() < count && !all.is_empty() {
            chosen.push(all.swap_remove(self.below(all.len())));
        }
        chosen
    }
}

fn seed() -> Outcome<u64> {
    match std::env::var(SEED) {
        Ok(text) => text
            .parse()
            .during(format_args!("{SEED}={text}, expected a number")),
        Err(_) => Ok(SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs())),
    }
}

/// Breaks and restores, round for round.
pub async fn random(cluster: &Cluster) -> Outcome<String> {
    let seed = seed()?;
    println!("       {SEED}={seed} repeats what follows");
    // The generator stands still at nought.
    let mut numbers = Numbers(seed.max(1));
    let bench = Bench::new(cluster)?;
    let mut slowest = Duration::ZERO;
    let mut broken = 0;
    for round in 1..=ROUNDS {
        let count = BROKEN.0 + numbers.below(BROKEN.1 - BROKEN.0 + 1);
        let chosen = numbers.some(Break::all(), count);
        controls::enforced(cluster, &bench.place.region).await?;
        let outcome = one(&bench, &chosen, &mut numbers).await;
        // Whatever was seen, all of it is put back.
        for control in &chosen {
            control.set(&bench, false).await?;
        }
        let words: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        let words = words.join(", ");
        let noticed = outcome.during(format_args!("round {round}, seed {seed}, {words}"))?;
        let restored = Instant::now();
        controls::enforced(cluster, &bench.place.region).await?;
        println!(
            "       round {round:>2}: {words}; not enforced after {:.1} s, again {:.1} s after the last was back",
            noticed.as_secs_f64(),
            restored.elapsed().as_secs_f64()
        );
        slowest = slowest.max(noticed);
        broken += chosen.len();
    }
    Ok(format!(
        "{broken} controls broken in {ROUNDS} rounds (seed {seed}), the slowest noticed after {:.1} s; never True while \
         one was broken",
        slowest.as_secs_f64()
    ))
}

/// Breaks them all and puts back all but the last. Returns how soon it was noticed.
///
/// A False may be one of before: so after each control that is put back, a status is awaited that was written since, that
/// speaks of it no more, and that is not True. Those that are named are put back first: of one that another hides, a
/// status could not tell. And each status that was ever written meanwhile is read: none is True.
async fn one(bench: &Bench<'_>, chosen: &[Break], numbers: &mut Numbers) -> Outcome<Duration> {
    let mut left = Vec::new();
    for control in chosen {
        left.push((*control, control.words(bench).await?));
    }
    // The version of a list is of now: the Region's own may be older than what the API server remembers.
    let before = bench
        .cluster
        .regions()
        .list(&ListParams::default().fields(&own(bench)))
        .await?;
    ensure(before.iter().all(is_enforced), || {
        "it was not enforced before anything was broken".to_owned()
    })?;
    let before = before.metadata.resource_version.unwrap_or_default();
    let mut started = None;
    for control in chosen {
        control.set(bench, true).await?;
        started.get_or_insert_with(Instant::now);
    }
    let started = started.unwrap_or_else(Instant::now);
    let mut noticed = None;
    loop {
        let names = seen(bench, "a control that is broken", |region| {
            let named = |(_, words): &&(Break, String)| names(region, words);
            let named: Vec<Break> = left.iter().filter(named).map(|(it, _)| *it).collect();
            (!named.is_empty()).then_some(named)
        })
        .await?;
        noticed.get_or_insert_with(|| started.elapsed());
        // The last one is named as well, and is the caller's to put back.
        if left.len() == 1 {
            break;
        }
        let back = names[numbers.below(names.len())];
        let words = back.words(bench).await?;
        back.set(bench, false).await?;
        left.retain(|(it, _)| *it != back);
        let what = format!("a status without {back}, which was put back");
        seen(bench, &what, |region| {
            (!self::names(region, &words)).then_some(())
        })
        .await?;
    }
    never_true(bench, &before).await?;
    Ok(noticed.unwrap_or_default())
}

/// Waits for a status in which the look finds something. Fails when it is True: a control is broken all the while.
async fn seen<T>(bench: &Bench<'_>, what: &str, look: impl Fn(&Region) -> Option<T>) -> Outcome<T> {
    bench
        .cluster
        .region_until(&bench.place.region, what, NOTICED, |region| {
            let found = condition(region, "ResidencyEnforced");
            match look(region).filter(|_| !is_enforced(region)) {
                Some(seen) => Look::Seen(seen),
                None => Look::NotYet(format!("{found:?}, {:?}", findings(region))),
            }
        })
        .await
}

/// Reads every status that was written since a version: from the first one that is not True on, none is True.
async fn never_true(bench: &Bench<'_>, since: &str) -> Outcome {
    let api = bench.cluster.regions();
    let until = api
        .get(&bench.place.region)
        .await?
        .resource_version()
        .unwrap_or_default();
    let parameters = WatchParams::default().fields(&own(bench));
    let read = async {
        let mut events = std::pin::pin!(api.watch(&parameters, since).await?);
        let mut fallen = false;
        while let Some(event) = events.try_next().await? {
            let region = match event {
                WatchEvent::Added(region) | WatchEvent::Modified(region) => region,
                WatchEvent::Error(status) => return Err(Failure::new(status.message.clone())),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => continue,
            };
            let now = is_enforced(&region);
            ensure(!(fallen && now), || {
                format!(
                    "ResidencyEnforced was True while a control was broken, in resourceVersion {}",
                    region.resource_version().unwrap_or_default()
                )
            })?;
            fallen |= !now;
            if region.resource_version().as_deref() == Some(until.as_str()) {
                return ensure(fallen, || "no status was ever other than True".to_owned());
            }
        }
        Err(Failure::new("the watch of the Region ended"))
    };
    tokio::time::timeout(NOTICED, read)
        .await
        .during("read every status that was written")?
}

/// Selects the Region.
fn own(bench: &Bench<'_>) -> String {
    format!("metadata.name={}", bench.place.region)
}

fn is_enforced(region: &Region) -> bool {
    condition(region, "ResidencyEnforced").is_some_and(|(status, _)| status == "True")
}

/// What the status says stands open.
fn findings(region: &Region) -> Vec<&str> {
    controls::rows(region)
        .filter_map(|row| row.finding.as_deref())
        .collect()
}

/// Whether the status says of something that it stands open.
fn names(region: &Region, words: &str) -> bool {
    findings(region).iter().any(|it| it.contains(words))
}
