//! Several controls broken at once, at random: residency is not said to be enforced before the last of them is put back.
//! I/O: bindings of admission policies, a node's label, the reclaim policy of a volume, Pod Security of a namespace.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bailiwick_model::policy;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::cases::controls;
use crate::cluster::{Cluster, condition};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{Look, until};

use super::NOTICED;
use super::bench::Bench;

/// How many rounds.
const ROUNDS: usize = 10;
/// The fewest and the most controls of a round.
const BROKEN: (usize, usize) = (2, 4);
/// The variable that a run is repeated by.
const SEED: &str = "BAILIWICK_E2E_SEED";
/// How long the status is looked at while some controls are back and others are not.
const WATCHED: Duration = Duration::from_millis(1500);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(150);

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
                let client = &bench.cluster.client;
                let claim = bench.place.names.postgres_claim(ordinal);
                let volume =
                    Api::<PersistentVolumeClaim>::namespaced(client.clone(), &bench.namespace())
                        .get(&claim)
                        .await
                        .during(&claim)?
                        .spec
                        .and_then(|spec| spec.volume_name)
                        .ok_or_else(|| Failure::new(format!("claim {claim} has no volume")))?;
                let reclaim = if broken { "Delete" } else { "Retain" };
                Api::<PersistentVolume>::all(client.clone())
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
        let outcome = one(&bench, &chosen).await;
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
async fn one(bench: &Bench<'_>, chosen: &[Break]) -> Outcome<Duration> {
    let mut started = None;
    for control in chosen {
        control.set(bench, true).await?;
        started.get_or_insert_with(Instant::now);
    }
    let started = started.unwrap_or_else(Instant::now);
    let noticed = until("ResidencyEnforced to be not True", NOTICED, || async {
        Ok(if enforced(bench).await? {
            Look::NotYet("it is True".to_owned())
        } else {
            Look::Seen(started.elapsed())
        })
    })
    .await?;
    let (_, all_but_last) = chosen
        .split_last()
        .ok_or_else(|| Failure::new("nothing was broken"))?;
    for back in all_but_last {
        watch(bench).await?;
        back.set(bench, false).await?;
    }
    watch(bench).await?;
    Ok(noticed)
}

/// Fails when it is said to be enforced at any moment of a while.
async fn watch(bench: &Bench<'_>) -> Outcome {
    let started = Instant::now();
    while started.elapsed() < WATCHED {
        if enforced(bench).await? {
            return Err(Failure::new(
                "ResidencyEnforced was True while a control was broken",
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn enforced(bench: &Bench<'_>) -> Outcome<bool> {
    let region = bench.cluster.regions().get(&bench.place.region).await?;
    Ok(condition(&region, "ResidencyEnforced").is_some_and(|(status, _)| status == "True"))
}
