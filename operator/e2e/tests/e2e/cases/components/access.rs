//! Who gets to a Region's data: a client that the Region lets in, over verified TLS and within its role, and nobody
//! else. I/O: client pods.

use std::time::Duration;

use bailiwick_model::names::port;
use futures::future::try_join_all;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, ensure};
use crate::writer::{logins, prepare, run_name};

/// How long a script may take.
const LIMIT: Duration = Duration::from_mins(1);
/// The bucket of the overlay's Regions, and the user of the same name.
pub const BUCKET: &str = "documents";

/// The Region that is not this one.
fn other<'c>(cluster: &'c Cluster, place: &Place) -> Outcome<&'c Place> {
    cluster
        .places
        .iter()
        .find(|other| other.region != place.region)
        .ok_or_else(|| Failure::new("there is only one Region"))
}

/// Fails unless every finding is as expected.
fn expect(region: &str, found: &Value, expected: &[(&str, Value)]) -> Outcome {
    for (what, expected) in expected {
        ensure(found[what] == *expected, || {
            format!("{region}: {what} is {}, expected {expected}", found[what])
        })?;
    }
    Ok(())
}

/// Writes through `-rw`, reads through `-ro`, and what is refused in between.
pub async fn postgres(cluster: &Cluster) -> Outcome<String> {
    let mut checks = 0;
    for place in &cluster.places {
        prepare(cluster, place).await?;
        let [_, writer, reader] = logins(&place.names);
        // Another Region's authority, in a Secret of this client's namespace: a certificate that must not do.
        let authority = strange_authority(cluster, place).await?;
        let script = Script {
            name: "sql_access",
            told: json!({
                "writer": writer, "reader": reader, "run": run_name("access"),
                "read_only_host": format!("{}.{}.svc", place.names.postgres_ro(), place.names.namespace()),
                "other_authority": authority,
            }),
            secrets: vec![writer, reader, authority],
        };
        let found = client::run(cluster, &Stand::allowed(place), &script, LIMIT).await?;
        let expected = [
            ("written", json!(1)),
            ("tls", json!("TLSv1.3")),
            ("writer_is_superuser", json!(false)),
            // insufficient_privilege, read_only_sql_transaction: Postgres' own codes.
            ("writer_makes_tables", json!("42501")),
            ("replica", json!(true)),
            ("read", json!(1)),
            ("replica_takes_writes", json!("25006")),
            ("reader_writes", json!("42501")),
            ("psql", json!("1")),
        ];
        expect(&place.region, &found, &expected)?;
        let refusals = [
            ("without_tls", "pg_hba.conf rejects"),
            ("other_authority", "certificate verify failed"),
            ("wrong_password", "password authentication failed"),
            ("superuser", "pg_hba.conf rejects"),
        ];
        for (what, words) in refusals {
            ensure(
                found[what]
                    .as_str()
                    .is_some_and(|found| found.contains(words)),
                || {
                    format!(
                        "{}: {what} came to {}, expected {words:?}",
                        place.region, found[what]
                    )
                },
            )?;
        }
        checks += expected.len() + refusals.len();
    }
    Ok(format!("{checks} checks"))
}

/// Puts and gets an object, and what is refused in between.
pub async fn object_store(cluster: &Cluster) -> Outcome<String> {
    let mut checks = 0;
    for place in &cluster.places {
        let user = place.names.object_store_user(BUCKET);
        client::hand_over(cluster, place, &user).await?;
        let authority = strange_authority(cluster, place).await?;
        let script = Script {
            name: "store_access",
            told: json!({
                "user": user, "bucket": BUCKET, "run": run_name("access"), "other_authority": authority,
            }),
            secrets: vec![user, authority],
        };
        let found = client::run(cluster, &Stand::allowed(place), &script, LIMIT).await?;
        let expected = [
            ("put", json!(200)),
            ("get", json!(200)),
            ("same", json!(true)),
            ("without_signature", json!(403)),
            ("backup_bucket", json!(403)),
            // curl's code for a peer whose certificate it cannot verify.
            ("other_authority", json!(60)),
            ("delete", json!(204)),
        ];
        expect(&place.region, &found, &expected)?;
        checks += expected.len();
    }
    Ok(format!("{checks} checks"))
}

/// Hands over a Secret with the authority of the Region that is not this one, and returns its name.
async fn strange_authority(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let other = other(cluster, place)?;
    let name = logins(&other.names)[2].clone();
    client::hand_over_to(cluster, other, &name, &Stand::allowed(place).namespace).await?;
    Ok(name)
}

/// A client that no Region lets in opens no connection to any port of any Region, by Service or by pod, from the
/// Region's own node or from another; the allowed client, with the same script, opens those that it may.
pub async fn stranger(cluster: &Cluster) -> Outcome<String> {
    let mut targets = Vec::new();
    // Whose each target is: a client gets to its own Region and to no other.
    let mut regions = Vec::new();
    for place in &cluster.places {
        targets.extend(pods(cluster, place).await?);
        for (service, port) in [
            (place.names.postgres_rw(), port::POSTGRES),
            (place.names.postgres_ro(), port::POSTGRES),
            (place.names.object_store(), port::S3),
        ] {
            let host = format!("{service}.{}.svc", place.names.namespace());
            targets.push(Target {
                host,
                port,
                served: true,
            });
        }
        regions.resize(targets.len(), place.region.as_str());
    }
    let strangers: Vec<Stand> = cluster
        .places
        .iter()
        .map(|place| Stand::stranger(&place.location))
        .collect();
    let clients: Vec<Stand> = cluster.places.iter().map(Stand::allowed).collect();
    let (of_strangers, of_clients) = futures::try_join!(
        try_join_all(
            strangers
                .iter()
                .map(|stand| reach(cluster, stand, &targets))
        ),
        try_join_all(clients.iter().map(|stand| reach(cluster, stand, &targets))),
    )?;
    let mut blocked = 0;
    for (stand, answers) in strangers.iter().zip(&of_strangers) {
        let location = &stand.location;
        for (target, answer) in targets.iter().zip(answers) {
            // A reset comes from there, and a name that is not known would prove nothing.
            ensure(answer == "no answer", || {
                format!(
                    "a stranger in {location} tried {}:{}: {answer}",
                    target.host, target.port
                )
            })?;
            blocked += 1;
        }
    }
    let mut opened = 0;
    for (place, answers) in cluster.places.iter().zip(&of_clients) {
        for ((target, region), answer) in targets.iter().zip(&regions).zip(answers) {
            let served = target.served && *region == place.region;
            let fine = if served {
                answer == "open"
            } else {
                answer == "no answer"
            };
            ensure(fine, || {
                format!(
                    "the client of {} tried {}:{} of {region}: {answer}",
                    place.region, target.host, target.port
                )
            })?;
            opened += usize::from(served);
        }
    }
    ensure(blocked > 0 && opened > 0, || "nothing was tried".to_owned())?;
    Ok(format!(
        "{blocked} attempts of strangers failed, {opened} of clients succeeded"
    ))
}

/// Somewhere to connect to.
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// A TCP port.
    pub port: i32,
    /// Whether a connection is expected.
    pub served: bool,
}

/// Every port of every pod of a Region.
async fn pods(cluster: &Cluster, place: &Place) -> Outcome<Vec<Target>> {
    let mut targets = Vec::new();
    for pod in cluster.pods(&place.names.namespace()).await? {
        let running = pod
            .status
            .as_ref()
            .is_some_and(|status| status.phase.as_deref() == Some("Running"));
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let (Some(address), true) = (address, running) else {
            continue;
        };
        let ports: &[(i32, bool)] = if pod.name_any().starts_with(&place.names.object_store()) {
            &[(port::S3, true)]
        } else if pod
            .name_any()
            .starts_with(&format!("{}-", place.names.postgres()))
        {
            &[
                (port::POSTGRES, true),
                (port::PATRONI, false),
                (port::PGBACKREST, false),
            ]
        } else {
            // A canary listens on nothing.
            continue;
        };
        targets.extend(ports.iter().map(|(port, served)| Target {
            host: address.clone(),
            port: *port,
            served: *served,
        }));
    }
    ensure(targets.len() >= 7, || {
        format!("{} has only {} ports to try", place.region, targets.len())
    })?;
    Ok(targets)
}

/// Tries to connect to each target; what came of it, in a word or two.
pub async fn reach(cluster: &Cluster, stand: &Stand, targets: &[Target]) -> Outcome<Vec<String>> {
    let told: Vec<Value> = targets
        .iter()
        .map(|target| json!({ "host": target.host, "port": target.port }))
        .collect();
    let script = Script {
        name: "reach",
        told: json!({ "targets": told }),
        secrets: Vec::new(),
    };
    let answers = client::run(cluster, stand, &script, LIMIT).await?;
    let answers: Vec<String> = serde_json::from_value(answers)?;
    ensure(answers.len() == targets.len(), || {
        format!("{} answers for {} targets", answers.len(), targets.len())
    })?;
    Ok(answers)
}
