//! The kubectl plugin as people run it, against the real cluster. I/O: starts the built program.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::programs::{PLUGIN, run, run_offline};

/// How long Regions may take to settle.
const SETTLED: Duration = Duration::from_mins(3);
/// How many leakage channels there are.
const CHANNELS: usize = 46;

/// `status`, `residency audit` and `residency explain` tell what the cluster's Regions say, with the exit codes that
/// docs/how-to/use-the-kubectl-plugin.md promises.
pub async fn tells(cluster: &Cluster) -> Outcome<String> {
    cluster.all_settled(SETTLED).await?;
    let all = run(PLUGIN, &["status"])?.ended_with(0).during("status")?;
    for place in &cluster.places {
        let line = all.lines().find(|line| line.starts_with(&place.region));
        ensure(
            line.is_some_and(|line| line.contains("Good") && line.contains(&place.location)),
            || format!("status says of {}: {all}", place.region),
        )?;
    }

    let one = run(PLUGIN, &["status", "tr", "-o", "json"])?
        .ended_with(0)
        .during("status tr")?;
    let report: Value = serde_json::from_str(&one).during(&one)?;
    let report = &report["regions"][0];
    let member = cluster.place("tr")?.names.postgres_member(0);
    ensure(
        report["region"] == "tr"
            && report["verdict"] == "Good"
            && report["children"].to_string().contains(&member),
        || format!("status tr says {report}"),
    )?;

    let audited = run(PLUGIN, &["residency", "audit"])?
        .ended_with(0)
        .during("residency audit")?;
    let rows = |region: &str| {
        audited
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(region))
            .count()
    };
    for place in &cluster.places {
        ensure(rows(&place.region) == CHANNELS, || {
            format!(
                "{} rows of {}: {audited}",
                rows(&place.region),
                place.region
            )
        })?;
    }
    let audit = run(PLUGIN, &["residency", "audit", "tr", "-o", "json"])?.ended_with(0)?;
    let audit: Value = serde_json::from_str(&audit).during(&audit)?;
    ensure(audit["closed"] == true, || format!("audit says {audit}"))?;
    // What could not be checked is neither good nor bad.
    run(PLUGIN, &["residency", "audit", "nowhere"])?
        .ended_with(2)
        .during("the audit of a Region that is not there")?;
    run_offline(PLUGIN, &["residency", "audit"])?
        .ended_with(2)
        .during("the audit without a cluster")?;

    let explained = run(PLUGIN, &["residency", "explain", "17"])?
        .ended_with(0)
        .during("residency explain 17")?;
    let first = explained
        .lines()
        .next()
        .filter(|line| line.contains("17"))
        .ok_or_else(|| Failure::new(format!("explain 17 says {explained}")))?;
    Ok(format!(
        "{} Regions are Good, {CHANNELS} channels of each are listed; {first}",
        cluster.places.len()
    ))
}
