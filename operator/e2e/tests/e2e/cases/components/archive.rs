//! The store stops: archiving is said to fail within a minute while Postgres goes on; the store comes back, and the
//! archive has every WAL file, encrypted. I/O: one pod frozen, client pods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::{Value, json};

use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, ensure};
use crate::processes::Frozen;
use crate::wait::{Look, seen_if, until};
use crate::writer::{Writer, logins, prepare, run_name};

/// Within which a failing archive must show: issue 3, section 4.
const NOTICED: Duration = Duration::from_mins(1);
/// How long the archive may take to catch up.
const CAUGHT_UP: Duration = Duration::from_mins(3);
/// The reasons that an archive may fail for, as far as a stopped store is concerned.
const REASONS: [&str; 4] = [
    "ObjectStoreUnavailable",
    "ArchiveCommandFailed",
    "ArchivingStalled",
    "ArchivingBehind",
];
/// How pgBackRest's encrypted files begin: OpenSSL's salted format.
const SALTED: &str = "53616c7465645f5f";
/// WAL files of 16 MiB in one log id of 4 GiB.
const FILES: u64 = 256;

/// Where the primary writes, and what its archiver has done.
struct Wal {
    current: String,
    archived: Option<String>,
    timeline: String,
}

async fn wal(
    cluster: &Cluster,
    place: &Place,
    run: &str,
    first: u64,
    fill: bool,
    remove: bool,
) -> Outcome<Wal> {
    let [_, writer, _] = logins(&place.names);
    let script = Script {
        name: "wal",
        told: json!({ "writer": writer, "run": run, "first": first, "fill": fill, "remove": remove }),
        secrets: vec![writer],
    };
    let found = client::run(
        cluster,
        &Stand::allowed(place),
        &script,
        Duration::from_secs(90),
    )
    .await?;
    let text = |key: &str| found[key].as_str().map(str::to_owned);
    ensure(!fill || found["start"] != found["current"], || {
        format!("no WAL file was filled: {found}")
    })?;
    Ok(Wal {
        current: text("current").unwrap_or_default(),
        archived: text("archived"),
        timeline: text("timeline").unwrap_or_default(),
    })
}

/// The archive's files and how the newest begins, read as pgBackRest's own user of the store.
async fn archived(cluster: &Cluster, place: &Place) -> Outcome<(BTreeSet<String>, Value)> {
    let user = place.names.object_store_user(BACKUP_USER);
    client::hand_over(cluster, place, &user).await?;
    let script = Script {
        name: "archived",
        told: json!({ "user": user, "bucket": BACKUP_BUCKET,
            "prefix": format!("{}/archive/{}/", place.region, place.names.stanza(1)) }),
        secrets: vec![user],
    };
    let found = client::run(
        cluster,
        &Stand::allowed(place),
        &script,
        Duration::from_mins(1),
    )
    .await?;
    let files = serde_json::from_value(found["files"].clone())?;
    Ok((files, found))
}

/// What the archive holds is neither WAL nor anything compressed, but encrypted.
pub async fn ciphertext(cluster: &Cluster) -> Outcome<String> {
    let mut words = Vec::new();
    for place in &cluster.places {
        let (files, found) = archived(cluster, place).await?;
        ensure(!files.is_empty(), || {
            format!("{}: the archive is empty", place.region)
        })?;
        let begins = found["begins"].as_str().unwrap_or_default();
        // A plain file would begin with WAL's magic number, a compressed one with zstd's, lz4's or gzip's.
        ensure(begins.starts_with(SALTED), || {
            format!("{}: an archived file begins with {begins}", place.region)
        })?;
        words.push(format!("{} {} files", place.region, files.len()));
    }
    Ok(format!(
        "{}, each read begins with \"Salted__\"",
        words.join(", ")
    ))
}

/// Stops the store and starts it again.
pub async fn store_stopped(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    cluster.settled(&place.region, CAUGHT_UP).await?;
    prepare(cluster, place).await?;
    let run = run_name("store-stopped");
    let first = wal(cluster, place, &run, 0, false, false).await?;
    let store = Api::<Pod>::namespaced(cluster.client.clone(), &place.names.namespace())
        .get(&format!("{}-0", place.names.object_store()))
        .await?;
    let writer = Writer::start(cluster, place, &run_name("store-stopped-writer")).await?;
    let stopped = Instant::now();
    let frozen = Frozen::freeze(&store)?;
    // A finished file is what the archiver has to move; it is filled while the status is watched.
    let (noticed, filled) = tokio::join!(
        cluster.region_until(&place.region, "WALArchiving=False", NOTICED, |region| {
            match condition(region, "WALArchiving") {
                Some((status, reason)) if status == "False" => {
                    Look::Seen((reason, stopped.elapsed().as_secs_f64()))
                }
                other => Look::NotYet(format!("{other:?}")),
            }
        }),
        wal(cluster, place, &run, 0, true, false),
    );
    let ((reason, noticed), filled) = (noticed?, filled?);
    ensure(
        noticed <= NOTICED.as_secs_f64() && REASONS.contains(&reason.as_str()),
        || format!("WALArchiving=False with {reason} after {noticed:.0} s"),
    )?;
    // The store stands still all the while.
    writer
        .goes_on(Timestamp::now(), Duration::from_secs(30))
        .await?;
    let region = cluster.regions().get(&place.region).await?;
    ensure(
        condition(&region, "PostgresAvailable").is_some_and(|(status, _)| status == "True"),
        || "Postgres is not said to be available while it takes writes".to_owned(),
    )?;
    drop(frozen);
    let started = Instant::now();
    let last = wal(cluster, place, &run, 10_000, true, false).await?;
    cluster
        .region_until(
            &place.region,
            "WALArchiving=True",
            CAUGHT_UP,
            |region| match condition(region, "WALArchiving") {
                Some((status, _)) if status == "True" => Look::Seen(()),
                other => Look::NotYet(format!("{other:?}")),
            },
        )
        .await?;
    // The file before the one that is written now is finished: it must arrive, and all before it.
    let target = number(&last.current)?.saturating_sub(1);
    let caught = until("the archiver to catch up", CAUGHT_UP, || async {
        let now = wal(cluster, place, &run, 0, false, false).await?;
        let reached = now
            .archived
            .as_deref()
            .map(number)
            .transpose()?
            .unwrap_or_default();
        Ok(if reached >= target {
            Look::Seen(now)
        } else {
            Look::NotYet(format!(
                "archived {:?}, awaited {}",
                now.archived, last.current
            ))
        })
    })
    .await?;
    let caught_up = started.elapsed().as_secs_f64();
    let files = no_gap(cluster, place, &first, target, &caught.timeline).await?;
    let report = writer.stop().await?;
    wal(cluster, place, &run, 0, false, true).await?;
    cluster.settled(&place.region, CAUGHT_UP).await?;
    Ok(format!(
        "WALArchiving=False ({reason}) after {noticed:.0} s; writer: {report}; started again, caught up in \
         {caught_up:.0} s, {files} WAL files from {} without a gap (filled up to {})",
        first.current, filled.current
    ))
}

/// Checks that the bucket has every file from one to another, and returns how many.
async fn no_gap(
    cluster: &Cluster,
    place: &Place,
    first: &Wal,
    last: u64,
    timeline: &str,
) -> Outcome<u64> {
    ensure(first.timeline == timeline, || {
        format!(
            "the timeline went from {} to {timeline} although only the store was stopped",
            first.timeline
        )
    })?;
    let first = number(&first.current)?;
    ensure(last > first, || {
        "no WAL file was finished meanwhile".to_owned()
    })?;
    let wanted: BTreeSet<String> = (first..=last)
        .map(|number| format!("{timeline}{:08X}{:08X}", number / FILES, number % FILES))
        .collect();
    until(
        "every WAL file in the bucket",
        Duration::from_secs(30),
        || async {
            let (files, _) = archived(cluster, place).await?;
            let missing: Vec<&String> = wanted.difference(&files).collect();
            Ok(seen_if(missing.is_empty(), || {
                format!("missing {missing:?}")
            }))
        },
    )
    .await?;
    Ok(last - first + 1)
}

/// The number of a WAL file, counted over all log ids, whatever its timeline.
fn number(file: &str) -> Outcome<u64> {
    let part = |range| {
        file.get(range)
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
    };
    match (part(8..16), part(16..24)) {
        (Some(log), Some(file)) => Ok(log * FILES + file),
        _ => Err(Failure::new(format!("{file:?} is no name of a WAL file"))),
    }
}
