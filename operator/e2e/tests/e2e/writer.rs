//! A writer that writes numbered rows through a Region's read-write Service while something is broken, and the check
//! that every row that was acknowledged to it is there. I/O: a client pod.

use std::time::Duration;

use bailiwick_model::names::Names;
use jiff::Timestamp;
use serde_json::json;

use crate::client::{self, Running, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::{Outcome, While, ensure};
use crate::processes;
use crate::wait::{seen_if, until};

/// Seconds between two rows.
const PAUSE: f64 = 0.02;
/// How many rows must be acknowledged before it is known that the writer writes, or that it goes on.
const WARM: usize = 50;
/// The longest time without an acknowledged row, in seconds beyond the leader's lease.
const BEYOND_LEASE: f64 = 30.0;
/// The writer prints milliseconds, rounded: a row that seems to be this much later, in seconds, may not be.
const ROUNDED: f64 = 0.001;

/// A writer that runs.
pub struct Writer<'a> {
    cluster: &'a Cluster,
    place: &'a Place,
    run: String,
    running: Running,
}

/// What a writer saw.
pub struct Report {
    /// How many rows were acknowledged.
    pub acknowledged: usize,
    /// How many were tried in vain.
    pub failed: usize,
    /// The longest time without an acknowledged row until it was told to end, in seconds.
    pub longest_gap: f64,
    /// How many rows are there, of which some may never have been acknowledged.
    pub present: u64,
}

/// The login of the database's administrator, of its writer and of its reader.
pub fn logins(names: &Names) -> [String; 3] {
    [
        "clinical_db_admin",
        "clinical_app_writer",
        "clinical_app_reader",
    ]
    .map(|role| names.postgres_role(role))
}

/// Hands the logins over and makes the table, unless this database has it.
pub async fn prepare(cluster: &Cluster, place: &Place) -> Outcome {
    let logins = logins(&place.names);
    for login in &logins {
        client::hand_over(cluster, place, login).await?;
    }
    let region = cluster.regions().get(&place.region).await?;
    let postgres = region.status.and_then(|status| status.postgres);
    let database = postgres.and_then(|postgres| postgres.system_identifier);
    let mut tables = cluster.tables.lock().await;
    if database.as_ref().is_some_and(|it| tables.contains(it)) {
        return Ok(());
    }
    drop(tables);
    let script = Script {
        name: "table",
        told: json!({ "admin": logins[0] }),
        secrets: vec![logins[0].clone()],
    };
    client::run(
        cluster,
        &Stand::allowed(place),
        &script,
        Duration::from_secs(20),
    )
    .await?;
    tables = cluster.tables.lock().await;
    tables.extend(database);
    Ok(())
}

impl<'a> Writer<'a> {
    /// Starts a writer and waits until it writes.
    pub async fn start(cluster: &'a Cluster, place: &'a Place, run: &str) -> Outcome<Self> {
        prepare(cluster, place).await?;
        let [_, writer, _] = logins(&place.names);
        let script = Script {
            name: "writer",
            told: json!({ "writer": writer, "run": run, "pause": PAUSE }),
            secrets: vec![writer],
        };
        let running = Running::start(cluster, &Stand::allowed(place), &script).await?;
        let writer = Self {
            cluster,
            place,
            run: run.to_owned(),
            running,
        };
        writer
            .goes_on(Timestamp::UNIX_EPOCH, Duration::from_mins(1))
            .await?;
        Ok(writer)
    }

    /// How many rows were acknowledged after a moment. The clients' clock is this machine's.
    pub async fn acknowledged_since(&self, moment: Timestamp) -> Outcome<usize> {
        let moment = moment.as_duration().as_secs_f64() + ROUNDED;
        Ok(acknowledged(&self.running.log().await?)?
            .iter()
            .filter(|(_, time)| *time > moment)
            .count())
    }

    /// Waits until it is known to go on after a moment: rows that were acknowledged before count for nothing.
    pub async fn goes_on(&self, since: Timestamp, limit: Duration) -> Outcome {
        let what = format!("{WARM} rows that are acknowledged after {since}");
        until(&what, limit, || async move {
            let now = self.acknowledged_since(since).await?;
            Ok(seen_if(now >= WARM, || format!("{now} rows")))
        })
        .await
    }

    /// Stops it, and checks that every acknowledged row is there.
    ///
    /// # Errors
    /// A row that was acknowledged and is not there, the one thing that must never happen; a gap longer than the leader's
    /// lease and [`BEYOND_LEASE`].
    pub async fn stop(self) -> Outcome<Report> {
        let pod = self.running.pod().await?;
        processes::signal(&pod, "python3", "TERM")?;
        let log = self.running.end(Duration::from_secs(30)).await?;
        let report = Self::report(self.cluster, self.place, &self.run, &log).await?;
        ensure(ended(&log)?.is_some(), || {
            "the writer did not say that it was told to end".to_owned()
        })?;
        let ceiling = lease(self.cluster, self.place).await? + BEYOND_LEASE;
        ensure(report.longest_gap <= ceiling, || {
            format!(
                "no row was acknowledged for {:.1} s, expected {ceiling} s at most",
                report.longest_gap
            )
        })?;
        Ok(report)
    }

    /// The same of a writer that died with its node: what it said until then is there.
    ///
    /// # Errors
    /// A row that was acknowledged and is not there.
    pub async fn died(self) -> Outcome<Report> {
        let log = self.running.log().await?;
        Self::report(self.cluster, self.place, &self.run, &log).await
    }

    /// Looks for every row that a log says was acknowledged, and takes the run's rows away.
    async fn report(cluster: &Cluster, place: &Place, run: &str, log: &str) -> Outcome<Report> {
        let acknowledged = acknowledged(log)?;
        ensure(acknowledged.len() >= WARM, || {
            format!("only {} rows were acknowledged", acknowledged.len())
        })?;
        let [_, writer, _] = logins(&place.names);
        let script = Script {
            name: "present",
            told: json!({ "writer": writer, "run": run, "remove": true }),
            secrets: vec![writer],
        };
        let stand = Stand::allowed(place);
        let found = client::run(cluster, &stand, &script, Duration::from_mins(1)).await?;
        let present: Vec<(u64, u64)> = serde_json::from_value(found)?;
        let lost: Vec<u64> = acknowledged
            .iter()
            .map(|(number, _)| *number)
            .filter(|number| {
                !present
                    .iter()
                    .any(|(first, last)| (first..=last).contains(&number))
            })
            .collect();
        ensure(lost.is_empty(), || {
            format!(
                "{} of {} acknowledged rows are lost, the first is number {}",
                lost.len(),
                acknowledged.len(),
                lost.first().copied().unwrap_or_default()
            )
        })?;
        // One that died with its node was not told to end.
        let end = ended(log)?.or_else(|| acknowledged.last().map(|(_, time)| *time));
        let longest_gap = longest_gap(&acknowledged, end.unwrap_or_default());
        Ok(Report {
            acknowledged: acknowledged.len(),
            failed: log.lines().filter(|line| line.starts_with("e ")).count(),
            longest_gap,
            present: present.iter().map(|(first, last)| last - first + 1).sum(),
        })
    }
}

/// The leader's lease of a Region, in seconds.
async fn lease(cluster: &Cluster, place: &Place) -> Outcome<f64> {
    let region = cluster.regions().get(&place.region).await?;
    Ok(f64::from(region.spec.postgres.failover.ttl_seconds))
}

/// The longest time without an acknowledged row, in seconds, also from the last one to the end.
fn longest_gap(acknowledged: &[(u64, f64)], ended: f64) -> f64 {
    let times: Vec<f64> = acknowledged
        .iter()
        .map(|(_, time)| *time)
        .chain([ended])
        .collect();
    times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f64::max)
}

/// When the writer ended because it was told to, in seconds since 1970.
fn ended(log: &str) -> Outcome<Option<f64>> {
    log.lines()
        .find_map(|line| line.strip_prefix("end "))
        .map(|time| time.parse().during("the writer's end"))
        .transpose()
}

/// The acknowledged numbers with their times, in seconds since 1970.
fn acknowledged(log: &str) -> Outcome<Vec<(u64, f64)>> {
    log.lines()
        .filter_map(|line| line.strip_prefix("a "))
        // The last line may be half written while the writer runs.
        .filter_map(|line| line.split_once(' '))
        .map(|(number, time)| {
            Ok((
                number
                    .parse()
                    .during(format_args!("line {number:?} of the writer"))?,
                time.parse()
                    .during(format_args!("time {time:?} of the writer"))?,
            ))
        })
        .collect()
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} rows acknowledged and {} there, 0 lost, {} tried in vain, longest gap {:.1} s",
            self.acknowledged, self.present, self.failed, self.longest_gap
        )
    }
}

/// A name for what one run of a case writes.
pub fn run_name(case: &str) -> String {
    format!("{case}-{}", jiff::Timestamp::now().as_second())
}
