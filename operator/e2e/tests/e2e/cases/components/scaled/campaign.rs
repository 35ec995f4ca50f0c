//! Twenty scale-downs under writers: the primary on each ordinal, all members well and one of them not. Both Regions take
//! their share at once. I/O: the API server, processes of members, client pods.

use std::time::{Duration, Instant};

use bailiwick_model::names::port;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::{MOVED, SCALED, SETTLES, lead, resize, scaled, third_claim_removed};
use crate::cluster::{Cluster, Place};
use crate::failure::{Outcome, While};
use crate::processes::{Deaf, Frozen};
use crate::wait::{seen_if, until};
use crate::writer::{Report, Writer, run_name};

/// How long a fault lasts once fewer members are wanted.
const LASTS: Duration = Duration::from_secs(20);

/// What ails a member while others leave.
#[derive(Clone, Copy, Debug)]
pub enum Ailment {
    /// Its pod waits for a node: the only one of its location is cordoned.
    Pending,
    /// None of its processes runs on, and none ends.
    Frozen,
    /// It receives nothing of what is written: the answers of the server that it follows are lost on their way.
    NotReceiving,
}

/// One scale-down.
#[derive(Clone, Copy, Debug)]
struct Fall {
    from: i32,
    to: i32,
    primary: i32,
    /// The member that is not well.
    ill: Option<i32>,
}

const fn well(from: i32, to: i32, primary: i32) -> Fall {
    Fall {
        from,
        to,
        primary,
        ill: None,
    }
}

const fn ill(primary: i32, ill: i32) -> Fall {
    Fall {
        from: 3,
        to: 1,
        primary,
        ill: Some(ill),
    }
}

/// With every member well; of each Region.
const WELL: [&[Fall]; 2] = [
    &[well(3, 1, 2), well(3, 2, 1), well(2, 1, 0), well(3, 2, 0)],
    &[well(3, 1, 1), well(3, 2, 2), well(2, 1, 1), well(3, 1, 0)],
];
/// With one that is not well, three times with another ailment; of each Region.
const ILL: [&[Fall]; 2] = [&[ill(2, 0), ill(1, 2)], &[ill(2, 1), ill(0, 2)]];

/// Eight scale-downs with every member well.
pub async fn healthy(cluster: &Cluster) -> Outcome<String> {
    both(cluster, WELL, None).await
}

/// Four with the pod of one member pending.
pub async fn pending(cluster: &Cluster) -> Outcome<String> {
    let outcome = both(cluster, ILL, Some(Ailment::Pending)).await;
    restore(cluster).await?;
    outcome
}

/// Lets pods come to every node again.
pub async fn restore(cluster: &Cluster) -> Outcome {
    for place in &cluster.places {
        cordoned(cluster, place, false).await?;
    }
    Ok(())
}

/// Four with one member standing still.
pub async fn frozen(cluster: &Cluster) -> Outcome<String> {
    both(cluster, ILL, Some(Ailment::Frozen)).await
}

/// Four with one member that receives nothing.
pub async fn not_receiving(cluster: &Cluster) -> Outcome<String> {
    both(cluster, ILL, Some(Ailment::NotReceiving)).await
}

async fn both(cluster: &Cluster, falls: [&[Fall]; 2], ailment: Option<Ailment>) -> Outcome<String> {
    let [tr, es] = ["tr", "es"].map(|region| cluster.place(region));
    let (tr, es) = (tr?, es?);
    let (of_tr, of_es) = futures::join!(
        Box::pin(one(cluster, tr, falls[0], ailment)),
        Box::pin(one(cluster, es, falls[1], ailment))
    );
    let mut told = Vec::new();
    for outcome in [of_tr, of_es] {
        let (lines, report) = outcome?;
        told.push(format!("{}; {report}", lines.join("; ")));
    }
    Ok(format!(
        "{} scale-downs, 0 left without a primary, 0 rows lost; {}",
        falls.iter().map(|it| it.len()).sum::<usize>(),
        told.join("; ")
    ))
}

/// The scale-downs of one Region, under one writer; ends with as many members as the overlay has.
async fn one(
    cluster: &Cluster,
    place: &Place,
    falls: &[Fall],
    ailment: Option<Ailment>,
) -> Outcome<(Vec<String>, Report)> {
    cluster.settled(&place.region, SETTLES).await?;
    let writer = Writer::start(cluster, place, &run_name("campaign")).await?;
    let mut told = Vec::new();
    for fall in falls {
        let words = fallen(cluster, place, &writer, *fall, ailment)
            .await
            .during(format_args!("{} {fall:?} {ailment:?}", place.region))?;
        told.push(words);
    }
    resize(cluster, place, 2).await?;
    scaled(cluster, place, 2).await?;
    let report = writer.stop().await?;
    cluster.settled(&place.region, SETTLES).await?;
    third_claim_removed(cluster, place).await?;
    Ok((told, report))
}

/// One scale-down: the members, who leads, what ails one of them, fewer members, no ailment any more, and the end of it.
async fn fallen(
    cluster: &Cluster,
    place: &Place,
    writer: &Writer<'_>,
    fall: Fall,
    ailment: Option<Ailment>,
) -> Outcome<String> {
    let Fall {
        from,
        to,
        primary,
        ill,
    } = fall;
    resize(cluster, place, from).await?;
    scaled(cluster, place, from).await?;
    lead(cluster, place, &place.names.postgres_member(primary)).await?;
    // All others could take over: else the fault would be a second one.
    in_sync(cluster, place, from).await?;
    let ill = match ailment.zip(ill) {
        Some((ailment, ill)) => Some(Ill::make(cluster, place, ill, ailment).await?),
        None => None,
    };
    let started = Instant::now();
    resize(cluster, place, to).await?;
    let mut meanwhile = String::new();
    if let Some(ill) = ill {
        tokio::time::sleep(LASTS).await;
        // With one member of three that is not well, the others write on.
        let goes_on = writer.goes_on(Timestamp::now(), MOVED).await;
        meanwhile = format!(", {} meanwhile", members(cluster, place).await?);
        // Whatever was seen: a member that is ill would hold up every case after this.
        ill.heal(cluster, place).await?;
        goes_on.during(meanwhile.trim_start_matches(", "))?;
    }
    let led = scaled(cluster, place, to).await?;
    writer.goes_on(Timestamp::now(), MOVED).await?;
    Ok(format!(
        "{from} to {to} from {primary} led to by {led} in {:.0} s{meanwhile}",
        started.elapsed().as_secs_f64()
    ))
}

/// A member that is not well.
struct Ill {
    member: String,
    ailment: Ailment,
    frozen: Option<Frozen>,
    deaf: Option<Deaf>,
}

impl Ill {
    async fn make(
        cluster: &Cluster,
        place: &Place,
        ordinal: i32,
        ailment: Ailment,
    ) -> Outcome<Self> {
        let member = place.names.postgres_member(ordinal);
        let api = Api::<Pod>::namespaced(cluster.break_glass.clone(), &place.names.namespace());
        let pod = api.get(&member).await?;
        let (mut frozen, mut deaf) = (None, None);
        match ailment {
            Ailment::Pending => {
                cordoned(cluster, place, true).await?;
                api.delete(&member, &DeleteParams::default().grace_period(0))
                    .await?;
                until("a pod that waits for a node", MOVED, || async {
                    let now = api.get(&member).await?;
                    let phase = now.status.and_then(|it| it.phase);
                    Ok(seen_if(phase.as_deref() == Some("Pending"), || {
                        format!("{phase:?}")
                    }))
                })
                .await?;
            }
            Ailment::Frozen => frozen = Some(Frozen::freeze(&pod)?),
            Ailment::NotReceiving => deaf = Some(Deaf::to(&pod, port::POSTGRES)?),
        }
        Ok(Self {
            member,
            ailment,
            frozen,
            deaf,
        })
    }

    async fn heal(self, cluster: &Cluster, place: &Place) -> Outcome {
        match self.ailment {
            Ailment::Pending => cordoned(cluster, place, false).await,
            Ailment::Frozen | Ailment::NotReceiving => {
                drop((self.frozen, self.deaf));
                Ok(())
            }
        }
        .during(format_args!("heal {}", self.member))
    }
}

/// Lets no pod come to the nodes of a Region's location, or lets them again.
async fn cordoned(cluster: &Cluster, place: &Place, cordoned: bool) -> Outcome {
    let nodes = Api::<Node>::all(cluster.client.clone());
    let selected = kube::api::ListParams::default()
        .labels(&format!("topology.kubernetes.io/region={}", place.location));
    for node in nodes.list(&selected).await? {
        use kube::ResourceExt;
        let spec = node.spec.as_ref();
        if spec.is_some_and(|spec| spec.unschedulable.unwrap_or_default() == cordoned) {
            continue;
        }
        nodes
            .patch(
                &node.name_any(),
                &PatchParams::default(),
                &Patch::Merge(json!({ "spec": { "unschedulable": cordoned } })),
            )
            .await
            .during("cordon a node")?;
    }
    Ok(())
}

/// Waits until every member but the primary could take over.
async fn in_sync(cluster: &Cluster, place: &Place, members: i32) -> Outcome {
    cluster
        .region_until(&place.region, "standbys in sync", SCALED, |region| {
            let status = region.status.as_ref().and_then(|it| it.postgres.as_ref());
            let count = status.map_or(0, |it| {
                it.instances
                    .iter()
                    .filter(|it| it.role == "SyncStandby")
                    .count()
            });
            seen_if(
                usize::try_from(members - 1).is_ok_and(|it| it == count),
                || format!("{count} of {}", members - 1),
            )
        })
        .await
}

/// How many members the status tells of, and what is waited for.
async fn members(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let region = cluster.regions().get(&place.region).await?;
    let status = region.status.unwrap_or_default();
    let progress = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Progressing")
        .map_or("nothing", |condition| condition.reason.as_str());
    let members = status.postgres.map_or(0, |it| it.instances.len());
    Ok(format!("{members} members and {progress}"))
}
