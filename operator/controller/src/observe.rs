//! Reads Facts: what the watches hold, the Region's Secrets by name, and what the systems behind it say. A read that
//! fails is an error or `Observed::Failed`, never an empty answer. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_api::region::{Region, RegionSpec};
use bailiwick_model::facts::repository::ReadBack;
use bailiwick_model::facts::{
    ByNamespace, CertificateFact, Facts, Inventory, Neighbour, NeighbourPod, Observed, ReadFailure,
    SecretFact, StatefulSetFact, Unread,
};
use bailiwick_model::names::{LABEL_NAME, Names};
use bailiwick_model::resync::{self, LastInventory, LastReadBack, SecretsDue};
use bailiwick_model::scale;
use bailiwick_model::steps::announced;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::context::{CachedInventory, CachedReadBack, Context, Memory};
use crate::error::Error;
use crate::systems::Access;
use crate::watch::Object;
use crate::{glance, inventory, mint};

/// How long one system may take to say how it is. What else of the Region is to be done waits for it, the quarantine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads everything that `plan` needs.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer a read.
pub async fn observe(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Facts, Error> {
    let names = Names::of(region);
    let watched = &ctx.watched;
    let nodes = by_name(watched.nodes.of(""));
    let mut facts = Facts {
        now,
        breach: memory.breach.clone(),
        ways: memory.ways.clone(),
        namespaces: by_name(watched.namespaces.of(names.region())),
        node_addresses: nodes
            .iter()
            .filter_map(|(node, fact)| Some((node.clone(), fact.address.clone()?)))
            .collect(),
        pod_ranges: nodes
            .values()
            .flat_map(|fact| fact.pod_ranges.iter().cloned())
            .collect(),
        nodes: nodes
            .into_iter()
            .map(|(node, fact)| (node, fact.labels))
            .collect(),
        neighbours: neighbours(ctx),
        storage_classes: by_name(watched.storage_classes.of("")),
        api_server: watched.api_server.of("").into_values().flatten().collect(),
        fence_responder: fence_responder(ctx),
        claims: by_namespace(&names, watched.claims.of(names.region())),
        pods: by_namespace(&names, watched.pods.of(names.region())),
        stateful_sets: stateful_sets(ctx, &names),
        jobs: by_namespace(&names, watched.jobs.of(names.region())).live,
        // They are kept by the namespace of their claim.
        volumes: names
            .namespaces()
            .iter()
            .flat_map(|namespace| by_name(watched.volumes.of(namespace)))
            .collect(),
        network_policies: network_policies(ctx, names.region()),
        admission: watched.admission(),
        ..Facts::default()
    };
    // A client's namespace carries the Region's label as well.
    if !names
        .namespaces()
        .iter()
        .all(|namespace| facts.namespaces.contains_key(namespace))
    {
        // Nothing of the Region can be there, and nobody could have given us a right to look.
        return Ok(facts);
    }
    let turn = ctx.turn().await;
    facts.missing_rights = missing_rights(ctx, &names, memory).await?;
    if !facts.missing_rights.is_empty() {
        return Ok(facts);
    }
    let before = memory.last_glance;
    read_secrets(ctx, region, &names, &facts, memory).await?;
    let glanced = memory.last_glance != before;
    facts.secrets = secret_facts(&names, &region.spec, memory);
    facts.remembered.clone_from(memory.credentials.gone());
    facts.inventory = look_around(ctx, region, &names, memory).await;
    drop(turn);
    ask_systems(ctx, region, &names, memory, &mut facts).await;
    facts.announced = announced(&names, region.status.as_ref());
    facts.left_over = glance::left_over(ctx, region, &names, memory, &facts, glanced).await?;
    facts.archived = look_back(ctx, region, &names, memory, &facts).await;
    Ok(facts)
}

fn by_name<F>(facts: BTreeMap<Object, F>) -> BTreeMap<String, F> {
    facts
        .into_iter()
        .map(|(object, fact)| (object.name, fact))
        .collect()
}

fn by_namespace<F>(names: &Names, facts: BTreeMap<Object, F>) -> ByNamespace<F> {
    ByNamespace::new(
        &names.namespace(),
        facts
            .into_iter()
            .map(|(object, fact)| (object.namespace, object.name, fact)),
    )
}

/// Where the start fence's responder answers. A list that failed is not one that is empty.
fn fence_responder(ctx: &Context) -> Observed<BTreeMap<IpAddr, bool>> {
    let responders = &ctx.watched.fence_responder;
    if !responders.listed() {
        return Observed::NotAsked;
    }
    let mut found = BTreeMap::new();
    for (ip, ready) in responders.of("").into_values().flatten() {
        *found.entry(ip).or_default() |= ready;
    }
    Observed::Seen(found)
}

/// The pods of all Regions. Looks that wait share one value: each with its own would take memory by the square of the
/// number of Regions.
fn neighbours(ctx: &Context) -> Arc<BTreeMap<String, Neighbour>> {
    let found = ctx.watched.pods.of_all(|region, pods| {
        let pods = pods
            .iter()
            .filter(|(_, pod)| !pod.terminating && pod.ended.is_none())
            .filter_map(|(object, pod)| {
                let pod = NeighbourPod {
                    ip: pod.ip.clone()?,
                    component: pod.labels.get(LABEL_NAME).cloned().unwrap_or_default(),
                    ready: pod.ready,
                };
                Some((object.namespace.clone(), object.name.clone(), pod))
            });
        Neighbour {
            pods: ByNamespace::new(&Names::new(region).namespace(), pods),
        }
    });
    let mut kept = (ctx.neighbours.lock()).unwrap_or_else(PoisonError::into_inner);
    if **kept != found {
        *kept = Arc::new(found);
    }
    kept.clone()
}

/// What the operator may not do in the Region's namespaces. Asked until nothing is missing, and again when a call
/// was forbidden.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer.
pub async fn missing_rights(
    ctx: &Context,
    names: &Names,
    memory: &mut Memory,
) -> Result<Vec<String>, Error> {
    if memory.delegated {
        return Ok(Vec::new());
    }
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let mut missing = Vec::new();
    for namespace in names.namespaces() {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some("networking.k8s.io".to_owned()),
                    resource: Some("networkpolicies".to_owned()),
                    verb: Some("patch".to_owned()),
                    namespace: Some(namespace.clone()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|source| Error::Observe {
                what: format!("the operator's rights in namespace {namespace}"),
                source: Box::new(source),
            })?;
        if !answer.status.is_some_and(|status| status.allowed) {
            missing.push(format!("patch networkpolicies in {namespace}"));
        }
    }
    memory.delegated = missing.is_empty();
    Ok(missing)
}

/// Reads of the Region's Secrets what is due.
async fn read_secrets(
    ctx: &Context,
    region: &Region,
    names: &Names,
    facts: &Facts,
    memory: &mut Memory,
) -> Result<(), Error> {
    let due = resync::secrets_due(
        region,
        facts,
        memory.last_resync.map(|last| last.elapsed()),
        memory.last_glance,
        memory.credentials.any_replicated(),
    );
    memory.resync = due == SecretsDue::All;
    match due {
        SecretsDue::Nothing => return Ok(()),
        SecretsDue::NoneYet => memory.last_resync = Some(Instant::now()),
        SecretsDue::Metadata => glance::glance(ctx, region, names, memory).await?,
        SecretsDue::All => read_all_secrets(ctx, region, names, memory).await?,
    }
    memory.last_glance = Some(facts.now);
    Ok(())
}

/// Reads the Region's Secrets by name.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer for one.
pub async fn read_all_secrets(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &names.namespace());
    for wanted in bailiwick_model::planner::secrets(names, &region.spec) {
        glance::read(&api, &wanted, memory).await?;
    }
    memory.last_resync = Some(Instant::now());
    Ok(())
}

/// A Region's StatefulSets, by name.
#[must_use]
pub fn stateful_sets(ctx: &Context, names: &Names) -> BTreeMap<String, StatefulSetFact> {
    by_namespace(names, ctx.watched.stateful_sets.of(names.region()))
        .live
        .into_iter()
        .map(|(set, (_, fact))| (set, fact))
        .collect()
}

/// A Region's NetworkPolicies that are there, as `namespace/name`.
#[must_use]
pub fn network_policies(ctx: &Context, region: &str) -> BTreeSet<String> {
    ctx.watched
        .network_policies
        .of(region)
        .into_keys()
        .map(|object| format!("{}/{}", object.namespace, object.name))
        .collect()
}

/// Reads the inventory when it is due. What was read counts until the next reading.
async fn look_around(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
) -> Observed<Inventory> {
    let last = memory.inventory.as_ref().map(|last| LastInventory {
        age: last.at.elapsed(),
        generation: last.generation,
        seen: &last.seen,
    });
    if resync::inventory_due(region, last) {
        let seen = inventory::inventory(&ctx.client, region, names).await;
        memory.inventory = Some(CachedInventory {
            at: Instant::now(),
            generation: region.metadata.generation,
            seen,
        });
    }
    memory
        .inventory
        .as_ref()
        .map_or(Observed::NotAsked, |last| last.seen.clone())
}

/// What the Secrets whose values are remembered say.
#[must_use]
pub fn secret_facts(
    names: &Names,
    spec: &RegionSpec,
    memory: &Memory,
) -> BTreeMap<String, SecretFact> {
    let drifted: BTreeSet<String> = bailiwick_model::planner::secrets(names, spec)
        .into_iter()
        .filter(|wanted| mint::drifted(wanted, names, &memory.credentials))
        .map(|wanted| wanted.name)
        .collect();
    let authority = memory.credentials.bytes(&names.authority(), "tls.crt");
    let gone = memory.credentials.gone();
    memory
        .credentials
        .secrets()
        .filter(|(name, _)| !gone.contains(*name))
        .map(|(name, values)| {
            let seen = memory.credentials.seen(name).cloned().unwrap_or_default();
            let certificate = values
                .get("tls.crt")
                .and_then(|pem| certificate(pem, authority));
            (
                name.clone(),
                SecretFact {
                    keys: values.keys().cloned().collect(),
                    control: seen.control,
                    drifted: drifted.contains(name),
                    certificate,
                    replicated: memory.credentials.is_replicated(name),
                    made: seen.made,
                    edited: seen.edited,
                    prunable: seen.prunable,
                },
            )
        })
        .collect()
}

/// What a certificate says; none when it cannot be read, and then it is made anew.
fn certificate(pem: &[u8], authority: Option<&[u8]>) -> Option<CertificateFact> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let signed_by_authority = authority.is_some_and(|authority| {
        parse_x509_pem(authority).is_ok_and(|(_, authority)| {
            authority.parse_x509().is_ok_and(|authority| {
                certificate
                    .verify_signature(Some(authority.public_key()))
                    .is_ok()
            })
        })
    });
    let dns_names: BTreeSet<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| {
            names
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
                        .ok()
                        .map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    Some(CertificateFact {
        not_before: Timestamp::from_second(certificate.validity().not_before.timestamp()).ok()?,
        not_after: Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?,
        dns_names,
        signed_by_authority,
    })
}

/// What a system says, if it says it in time.
async fn in_time<T>(read: impl Future<Output = Observed<T>>) -> Observed<T> {
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| {
            Observed::Failed(Unread {
                failure: ReadFailure::TimedOut,
                cause: Some(format!("no answer within {} s", PATIENCE.as_secs())),
            })
        })
}

/// Asks what runs. A system whose pods are not up yet, or are stopped on purpose, is not asked.
async fn ask_systems(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &Memory,
    facts: &mut Facts,
) {
    let access = Access {
        region,
        names,
        credentials: &memory.credentials,
    };
    let asked = |set: &str| {
        !region.spec.lifecycle.hibernated
            && facts.stateful_sets.contains_key(set)
            && memory
                .credentials
                .secret(&names.client_certificate())
                .is_some()
    };
    let started = |set: &str| {
        asked(set)
            && (memory.answered.contains(set)
                || facts
                    .stateful_sets
                    .get(set)
                    .is_some_and(|set| set.ready > 0))
    };
    // Those that are to leave as well: one of them may lead.
    let members: BTreeSet<String> = (0..scale::present(names, &region.spec, facts))
        .map(|ordinal| names.postgres_member(ordinal))
        .collect();
    let store_up = started(&names.object_store());
    let postgres_up = started(&names.postgres());
    let store = async {
        if store_up {
            in_time(ctx.systems.store(access)).await
        } else {
            Observed::NotAsked
        }
    };
    let patroni = async {
        if !postgres_up {
            return (Observed::NotAsked, Observed::NotAsked);
        }
        let patroni = in_time(ctx.systems.patroni(access, &members)).await;
        // Without a primary there is nobody behind the read-write Service.
        let postgres = match &patroni {
            Observed::Seen(seen) if seen.primary().is_some() => {
                in_time(ctx.systems.postgres(access)).await
            }
            _ => Observed::NotAsked,
        };
        (patroni, postgres)
    };
    let (store, (patroni, postgres)) = tokio::join!(store, patroni);
    facts.store = store;
    facts.patroni = patroni;
    facts.postgres = postgres;
}

/// Looks for the file in the repository that is due. What was found counts until the next time.
async fn look_back(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
    facts: &Facts,
) -> Observed<ReadBack> {
    let last = memory.archived.as_ref().map(|last| LastReadBack {
        age: last.at.elapsed(),
        file: &last.file,
        seen: &last.seen,
    });
    if let Some(file) = resync::archived_file_due(region, names, facts, last) {
        let access = Access {
            region,
            names,
            credentials: &memory.credentials,
        };
        let seen = match in_time(ctx.systems.archived(access, &file)).await {
            Observed::Seen(found) => Observed::Seen(file.read_back(found)),
            Observed::Failed(unread) => Observed::Failed(unread),
            Observed::NotAsked => Observed::NotAsked,
        };
        memory.archived = Some(CachedReadBack {
            at: Instant::now(),
            file,
            seen,
        });
    }
    memory
        .archived
        .as_ref()
        .map_or(Observed::NotAsked, |last| last.seen.clone())
}
