//! The leakage channels on the live cluster, from one table: with a control taken away the probe gets out and the status
//! says so, with it in place neither. I/O: what the scenes take away and put back.

mod bench;
mod breaks;
mod openings;
mod pods;
mod probes;
mod systems;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bailiwick_model::channel::CHANNELS;
use bailiwick_model::region::{ChannelState, ChannelStatus, Region};

pub use breaks::random;

use crate::cluster::{Cluster, condition};
use crate::failure::{Failure, Outcome, ensure};
use crate::wait::{Look, seen_if};
use bench::{Bench, Tried};
use table::{ROWS, Row, Scene, Trial};

/// How soon a control that is gone must show.
const NOTICED: Duration = Duration::from_mins(1);
/// How long the API server and the packet filter may take to heed what was taken away.
const HEEDED: Duration = Duration::from_secs(30);
/// How long a Region may take to be enforced again: canaries and restarts are in it.
const RESTORED: Duration = Duration::from_mins(2);

/// The row of a channel in a Region's status.
pub fn row(region: &Region, id: u8) -> Option<&ChannelStatus> {
    super::controls::rows(region).find(|row| row.id == id.to_string())
}

/// What became of a row of the table.
#[derive(Default)]
struct Found {
    red: String,
    green: String,
    state: String,
    noticed: String,
    wrong: Option<String>,
}

/// Tries every channel of the table.
pub async fn red_and_green(cluster: &Cluster) -> Outcome<String> {
    whole()?;
    let started = Instant::now();
    let bench = Bench::new(cluster)?;
    let mut found: BTreeMap<u8, Found> = BTreeMap::new();
    for scene in Scene::ALL {
        let rows: Vec<&Row> = ROWS
            .iter()
            .filter(|row| row.scene() == Some(scene))
            .collect();
        play(&bench, scene, &rows, &mut found).await;
    }
    let region = cluster.regions().get(&bench.place.region).await?;
    let mut wrong = Vec::new();
    for row in ROWS {
        let state = self::row(&region, row.channel).map(|row| row.state);
        let found = found.entry(row.channel).or_default();
        found.state = state.map_or_else(|| "absent".to_owned(), |state| format!("{state:?}"));
        if let Trial::NotCarried(why) = row.trial {
            found.red = format!("not carried here: {}", why.words());
            // What cannot be tried is not claimed.
            if matches!(
                state,
                Some(ChannelState::Enforced | ChannelState::NotApplicable)
            ) {
                found.wrong =
                    Some("it is said to be closed, and nothing here could open it".to_owned());
            }
        }
        if let Some(why) = &found.wrong {
            wrong.push(format!("{}: {why}", row.channel));
        }
    }
    print!("{}", printed(&found));
    ensure(wrong.is_empty(), || wrong.join("; "))?;
    let tried = ROWS.iter().filter(|row| row.scene().is_some()).count();
    Ok(format!(
        "{tried} of {} channels red without their control and green with it, {} beneath this cluster, in {} s",
        ROWS.len(),
        ROWS.len() - tried,
        started.elapsed().as_secs()
    ))
}

/// Fails unless the table has each channel once.
fn whole() -> Outcome {
    let ids: Vec<u8> = CHANNELS.iter().map(|channel| channel.id).collect();
    let rows: Vec<u8> = ROWS.iter().map(|row| row.channel).collect();
    ensure(ids == rows, || {
        format!("the table has rows {rows:?}, expected one a channel: {ids:?}")
    })
}

/// One scene: green, the controls taken away, red, noticed, put back, as before. What goes wrong is told of each row, and
/// whatever goes wrong, everything is put back.
async fn play(bench: &Bench<'_>, scene: Scene, rows: &[&Row], found: &mut BTreeMap<u8, Found>) {
    let fail = |found: &mut BTreeMap<u8, Found>, why: &Failure| {
        for row in rows {
            let entry = found.entry(row.channel).or_default();
            entry.wrong.get_or_insert_with(|| why.to_string());
        }
    };
    let before = match calm(bench).await {
        Ok(before) => before,
        Err(why) => return fail(found, &why),
    };
    if let Err(why) = scene.prepare(bench).await {
        fail(found, &why);
    }
    for row in rows {
        let entry = found.entry(row.channel).or_default();
        match row.probe(bench).await {
            Ok(Tried::Held(by)) => entry.green = by,
            Ok(Tried::Out(what)) => {
                entry.wrong = Some(format!("it gets out with its control in place: {what}"));
            }
            Err(why) => entry.wrong = Some(format!("green: {why}")),
        }
    }
    let started = Instant::now();
    let broken = async {
        scene.remove(bench).await?;
        for row in rows {
            let entry = found.entry(row.channel).or_default();
            match red(bench, row).await {
                Ok(what) => entry.red = what,
                Err(why) => {
                    entry.wrong.get_or_insert_with(|| format!("red: {why}"));
                }
            }
        }
        scene.stir(bench).await
    }
    .await;
    if broken.is_ok() {
        for row in rows {
            let entry = found.entry(row.channel).or_default();
            let was = before.get(&row.channel);
            match noticed(bench, row, was).await {
                Ok(()) => {
                    entry.noticed = format!("{:.0}", started.elapsed().as_secs_f64());
                }
                Err(why) => {
                    entry.wrong.get_or_insert_with(|| why.to_string());
                }
            }
        }
    }
    let restored = scene.restore(bench).await;
    if let Err(why) = broken.and(restored) {
        fail(found, &why);
    }
    for row in rows {
        if let Err(why) = back(bench, row, before.get(&row.channel)).await {
            let entry = found.entry(row.channel).or_default();
            entry.wrong.get_or_insert_with(|| why.to_string());
        }
    }
    let failures = rows
        .iter()
        .filter(|row| found[&row.channel].wrong.is_some())
        .count();
    println!(
        "       scene {:<9} {} rows, {failures} wrong, {:.0} s",
        scene.name(),
        rows.len(),
        started.elapsed().as_secs_f64()
    );
}

/// Waits until every Region is enforced, and returns the rows' states and evidence.
async fn calm(bench: &Bench<'_>) -> Outcome<BTreeMap<u8, ChannelStatus>> {
    for place in &bench.cluster.places {
        bench
            .cluster
            .region_until(
                &place.region,
                "ResidencyEnforced=True",
                RESTORED,
                |region| {
                    let found = condition(region, "ResidencyEnforced");
                    seen_if(
                        found.as_ref().is_some_and(|(status, _)| status == "True"),
                        || format!("{found:?}"),
                    )
                },
            )
            .await?;
    }
    let region = bench.cluster.regions().get(&bench.place.region).await?;
    Ok(super::controls::rows(&region)
        .filter_map(|row| Some((row.id.parse().ok()?, row.clone())))
        .collect())
}

/// Tries until it gets out: else what was taken away was no control.
async fn red(bench: &Bench<'_>, row: &Row) -> Outcome<String> {
    let what = format!("channel {} to open", row.channel);
    crate::wait::until(&what, HEEDED, || async {
        Ok(match row.probe(bench).await? {
            Tried::Out(what) => Look::Seen(what),
            Tried::Held(by) => Look::NotYet(format!("vacuous, still held by {by}")),
        })
    })
    .await
}

/// Waits until the row says what stands open.
async fn noticed(bench: &Bench<'_>, row: &Row, was: Option<&ChannelStatus>) -> Outcome {
    let Trial::Tried { told, .. } = row.trial else {
        return Ok(());
    };
    let what = format!("channel {} to be told of", row.channel);
    bench
        .cluster
        .region_until(&bench.place.region, &what, NOTICED, |region| {
            let Some(now) = self::row(region, row.channel) else {
                return Look::NotYet("there is no such row".to_owned());
            };
            let said = format!(
                "{} {}",
                now.evidence,
                now.finding.as_deref().unwrap_or_default()
            );
            let left = was.is_none_or(|was| was.state != now.state) || now.finding.is_some();
            seen_if(
                left && now.state == ChannelState::Unknown && said.contains(told),
                || format!("{:?}: {said}, expected word of {told:?}", now.state),
            )
        })
        .await
}

/// Waits until the row is as it was.
async fn back(bench: &Bench<'_>, row: &Row, was: Option<&ChannelStatus>) -> Outcome {
    let what = format!("channel {} to be closed again", row.channel);
    bench
        .cluster
        .region_until(&bench.place.region, &what, RESTORED, |region| {
            let now = self::row(region, row.channel);
            let same = now
                .zip(was)
                .is_some_and(|(now, was)| now.state == was.state && now.finding == was.finding);
            seen_if(same, || format!("{now:?}"))
        })
        .await
}

fn printed(found: &BTreeMap<u8, Found>) -> String {
    let mut text = format!(
        "       {:>2} {:<32} {:<34} {:<34} {:<13} {}\n",
        "ch", "channel", "red", "green", "state", "s"
    );
    let cut = |words: &str, width: usize| -> String {
        if words.chars().count() <= width {
            return words.to_owned();
        }
        words.chars().take(width - 1).chain(['…']).collect()
    };
    for channel in CHANNELS {
        let Some(row) = found.get(&channel.id) else {
            continue;
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "       {:>2} {:<32} {:<34} {:<34} {:<13} {}{}",
            channel.id,
            cut(channel.name, 32),
            cut(&row.red, 34),
            cut(&row.green, 34),
            row.state,
            row.noticed,
            if row.wrong.is_some() { " WRONG" } else { "" }
        );
    }
    text
}

/// Puts back whatever a run before this one took away.
pub async fn restore(cluster: &Cluster) -> Outcome {
    let bench = Bench::new(cluster)?;
    for scene in Scene::ALL {
        scene.restore(&bench).await?;
    }
    Ok(())
}
