//! The leakage channels on the live cluster, from one table: with a control taken away the probe gets out and the status
//! says so, with it in place neither. I/O: what the scenes take away and put back.

mod bench;
mod breaks;
mod openings;
mod pods;
mod probes;
mod systems;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_api::region::{ChannelState, ChannelStatus, Region};
use bailiwick_model::channel::{CHANNELS, Channel};
use bench::{Bench, Tried};
pub use breaks::random;
use futures::future::{join_all, try_join_all};
use table::{ROWS, Row, Scene, Trial};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if};

/// How soon a control that is gone must show.
const NOTICED: Duration = Duration::from_mins(1);
/// How long the API server and the packet filter may take to heed what was taken away.
const HEEDED: Duration = Duration::from_secs(30);
/// How long that takes when no canary is asked.
const SOON: Duration = Duration::from_secs(25);
/// Between two looks at the status.
const GLANCE: Duration = Duration::from_millis(300);
/// How long a Region may take to be enforced again: canaries and restarts are in it.
const RESTORED: Duration = Duration::from_mins(2);

/// The row of a channel in a Region's status.
pub fn row(region: &Region, id: u8) -> Option<&ChannelStatus> {
    super::controls::rows(region).find(|row| row.id == id.to_string())
}

/// What became of the rows of the table.
type AllFound = BTreeMap<(u8, Option<Scene>), Found>;

/// What became of a row of the table.
#[derive(Default)]
struct Found {
    red: String,
    green: String,
    state: String,
    noticed: String,
    /// What the row said while the control was back and what got out still stood.
    stood: String,
    wrong: Option<String>,
}

/// Tries every channel of the table.
pub async fn red_and_green(cluster: &Cluster) -> Outcome<String> {
    whole()?;
    let started = Instant::now();
    let bench = Bench::new(cluster)?;
    let mut found = AllFound::new();
    for scene in Scene::ALL {
        let rows: Vec<&Row> = ROWS
            .iter()
            .filter(|row| row.scene() == Some(scene))
            .collect();
        play(&bench, scene, &rows, &mut found).await;
    }
    calm(&bench).await?;
    let region = cluster.regions().get(&bench.place.region).await?;
    let mut wrong = Vec::new();
    for row in ROWS {
        let state = self::row(&region, row.channel).map(|row| row.state);
        let found = found.entry(row.key()).or_default();
        found.state = state.map_or_else(|| "absent".to_owned(), |state| format!("{state:?}"));
        if let Trial::NotBuilt { what, told } = row.trial {
            found.red = format!("not tested: there is no {what}");
            found.state = format!("NotTested, {}", found.state);
            let row = self::row(&region, row.channel);
            let honest = row.is_some_and(|row| {
                row.state == ChannelState::NotApplicable && row.evidence == told
            });
            if !honest {
                found.wrong = Some(format!(
                    "expected NotApplicable with {told:?}, since nothing was tested: {row:?}"
                ));
            }
        }
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
        let missing = found.red.is_empty()
            || (row.scene().is_some() && found.noticed.is_empty())
            || (row.stands().is_some() && found.stood.is_empty());
        if missing && found.wrong.is_none() {
            found.wrong = Some("it was not tried".to_owned());
        }
        if let Some(why) = &found.wrong {
            wrong.push(format!("{}: {why}", row.channel));
        }
    }
    print!("{}", printed(&found));
    ensure(wrong.is_empty(), || wrong.join("; "))?;
    let count = |of: fn(&Row) -> bool| ROWS.iter().filter(|row| of(row)).count();
    let beneath = count(|row| matches!(row.trial, Trial::NotCarried(_)));
    let not_built = count(|row| matches!(row.trial, Trial::NotBuilt { .. }));
    Ok(format!(
        "{} of {} channels red without their control and green with it, {} of them read back red while what got out stood, \
         {beneath} beneath this cluster, {not_built} not tested, in {} s",
        CHANNELS.len() - beneath - not_built,
        CHANNELS.len(),
        count(|row| row.stands().is_some()),
        started.elapsed().as_secs()
    ))
}

/// Fails unless the table has each channel, and each row in a scene of its own.
fn whole() -> Outcome {
    let ids: Vec<u8> = CHANNELS.iter().map(|channel| channel.id).collect();
    let mut rows: Vec<u8> = ROWS.iter().map(|row| row.channel).collect();
    rows.dedup();
    ensure(ids == rows, || {
        format!("the table has rows {rows:?}, expected one a channel at least: {ids:?}")
    })?;
    let keys: BTreeSet<_> = ROWS.iter().map(Row::key).collect();
    ensure(keys.len() == ROWS.len(), || {
        "the table tries a channel twice in one scene".to_owned()
    })
}

/// One scene: green, the controls taken away, red, noticed, put back, as before. What goes wrong is told of each row, and
/// whatever goes wrong, everything is put back.
async fn play(bench: &Bench<'_>, scene: Scene, rows: &[&Row], found: &mut AllFound) {
    let began = Instant::now();
    if let Err(why) = acts(bench, scene, rows, found).await {
        for row in rows {
            let entry = found.entry(row.key()).or_default();
            entry.wrong.get_or_insert_with(|| why.to_string());
        }
    }
    let wrong = rows
        .iter()
        .filter(|row| found.get(&row.key()).is_some_and(|it| it.wrong.is_some()))
        .count();
    for row in rows {
        if let Some(why) = found.get(&row.key()).and_then(|it| it.wrong.as_ref()) {
            println!("       channel {}: {why}", row.channel);
        }
    }
    println!(
        "       scene {:<10} {:>2} rows, {wrong} wrong, {:>3.0} s",
        scene.name(),
        rows.len(),
        began.elapsed().as_secs_f64()
    );
}

/// The acts of a scene. A failure here is one of all its rows.
async fn acts(bench: &Bench<'_>, scene: Scene, rows: &[&Row], found: &mut AllFound) -> Outcome {
    let before = calm(bench).await?;
    if let Err(why) = scene.prepare(bench).await {
        scene.restore(bench).await?;
        return Err(why);
    }
    // What is refused changes nothing that another row tries.
    let greens = join_all(rows.iter().map(|row| green(bench, row))).await;
    for (row, green) in rows.iter().zip(greens) {
        note(found, row, green, |entry, by| entry.green = by);
    }
    let watch = Watch::start(bench, rows, &before);
    let broken = async {
        let removed = Instant::now();
        scene.remove(bench).await?;
        let mut out = BTreeMap::new();
        let reds = each(scene, rows, |row| async move {
            let red = red(bench, row).await;
            (red, Instant::now())
        })
        .await;
        for (row, (red, at)) in rows.iter().zip(reds) {
            out.insert(row.channel, at);
            note(found, row, red, |entry, what| entry.red = what);
        }
        scene.stir(bench).await?;
        for row in rows {
            let told = watch.told(row, scene, removed, out[&row.channel]).await;
            note(found, row, told, |entry, seconds| entry.noticed = seconds);
        }
        let standing: Vec<&&Row> = rows.iter().filter(|row| row.stands().is_some()).collect();
        if !standing.is_empty() {
            scene.put_controls_back(bench).await?;
        }
        for row in standing {
            let said = read_back(bench, scene, row).await;
            note(found, row, said, |entry, said| entry.stood = said);
            if row.makes_an_object() {
                let held = held_again(bench, row).await;
                note(found, row, held, |entry, by| entry.green = by);
            }
        }
        Ok(())
    }
    .await;
    drop(watch);
    let restored = scene.restore(bench).await;
    broken.and(restored)?;
    calm(bench).await?;
    for row in rows {
        let back = back(bench, row, before.get(&row.channel)).await;
        note(found, row, back, |_, ()| {});
    }
    Ok(())
}

/// Writes down what came of one act for one row; the first thing that goes wrong counts.
fn note<T>(found: &mut AllFound, row: &Row, came: Outcome<T>, write: impl FnOnce(&mut Found, T)) {
    let entry = found.entry(row.key()).or_default();
    match came {
        Ok(value) => write(entry, value),
        Err(why) => {
            entry.wrong.get_or_insert_with(|| why.to_string());
        }
    }
}

/// Who looks at the status all the while a scene's controls are away, and writes down when each row first said so.
struct Watch {
    said: Arc<Mutex<BTreeMap<u8, Instant>>>,
    last: Arc<Mutex<BTreeMap<u8, String>>>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(bench: &Bench<'_>, rows: &[&Row], before: &BTreeMap<u8, ChannelStatus>) -> Self {
        let said: Arc<Mutex<BTreeMap<u8, Instant>>> = Arc::default();
        let last: Arc<Mutex<BTreeMap<u8, String>>> = Arc::default();
        let (api, region) = (bench.cluster.regions(), bench.place.region.clone());
        let awaited: Vec<(u8, &'static str, Option<ChannelState>)> = rows
            .iter()
            .filter_map(|row| match row.trial {
                Trial::Tried { told, .. } => {
                    let state = before.get(&row.channel).map(|row| row.state);
                    Some((row.channel, told, state))
                }
                Trial::NotCarried(_) | Trial::NotBuilt { .. } => None,
            })
            .collect();
        let (write, words) = (said.clone(), last.clone());
        let task = tokio::spawn(async move {
            loop {
                // A look that fails is one that saw nothing.
                if let Ok(region) = api.get(&region).await {
                    for (channel, told, was) in &awaited {
                        let Some(now) = self::row(&region, *channel) else {
                            continue;
                        };
                        let finding = now.finding.as_deref().unwrap_or_default();
                        let text = format!("{:?}: {} {finding}", now.state, now.evidence);
                        let left = now.state == ChannelState::Unknown && *was != Some(now.state);
                        if left && text.contains(told) {
                            locked(&write).entry(*channel).or_insert_with(Instant::now);
                        }
                        locked(&words).insert(*channel, text);
                    }
                }
                tokio::time::sleep(GLANCE).await;
            }
        });
        Self { said, last, task }
    }

    /// Waits until a row has said it; after how many seconds, from when its control was away or, where it is what got
    /// out that is noticed, from then on.
    async fn told(
        &self,
        row: &Row,
        scene: Scene,
        removed: Instant,
        out: Instant,
    ) -> Outcome<String> {
        let Trial::Tried { told, .. } = row.trial else {
            return Ok(String::new());
        };
        loop {
            if let Some(said) = locked(&self.said).get(&row.channel).copied() {
                let since = if said < out { removed } else { out };
                let seconds = said.saturating_duration_since(since).as_secs_f64();
                return Ok(format!("{seconds:.1}{}", scene.noticed_by()));
            }
            if out.elapsed() > NOTICED {
                let last = locked(&self.last).get(&row.channel).cloned();
                return Err(Failure::new(format!(
                    "not told of within {} s, expected word of {told:?}; last said: {}",
                    NOTICED.as_secs(),
                    last.unwrap_or_default()
                )));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries with everything in place. An attempt that fails by itself is made once more: it says nothing either way.
async fn green(bench: &Bench<'_>, row: &Row) -> Outcome<String> {
    let tried = match row.probe(bench).await {
        Ok(tried) => tried,
        Err(_) => row.probe(bench).await.during("green")?,
    };
    match tried {
        Tried::Held(by) => Ok(by),
        Tried::Out(what) => Err(Failure::new(format!(
            "it gets out with its control in place: {what}"
        ))),
    }
}

/// Waits until every Region is enforced, and returns the rows' states and evidence.
async fn calm(bench: &Bench<'_>) -> Outcome<BTreeMap<u8, ChannelStatus>> {
    try_join_all(bench.cluster.places.iter().map(async |place| {
        if enforced(bench, place, SOON).await.is_err() {
            // A canary that ran while cluster DNS began anew says so until it runs again, in five minutes.
            super::canary::all_now(bench.cluster, place).await?;
        }
        enforced(bench, place, RESTORED).await
    }))
    .await?;
    let region = bench.cluster.regions().get(&bench.place.region).await?;
    Ok(super::controls::rows(&region)
        .filter_map(|row| Some((row.id.parse().ok()?, row.clone())))
        .collect())
}

async fn enforced(bench: &Bench<'_>, place: &Place, limit: Duration) -> Outcome {
    bench
        .cluster
        .region_until(&place.region, "ResidencyEnforced=True", limit, |region| {
            let found = condition(region, "ResidencyEnforced");
            seen_if(
                found.as_ref().is_some_and(|(status, _)| status == "True"),
                || format!("{found:?}"),
            )
        })
        .await
}

/// Does something with every row of a scene: at once where they have nothing to do with one another.
async fn each<'r, T, F>(scene: Scene, rows: &[&'r Row], act: impl Fn(&'r Row) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    if scene.at_once() {
        return join_all(rows.iter().map(|row| act(row))).await;
    }
    let mut done = Vec::with_capacity(rows.len());
    for row in rows {
        done.push(act(row).await);
    }
    done
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

/// Waits until a row says what stands, in a status that was written once its control was seen to be back: so it is what was
/// read back.
async fn read_back(bench: &Bench<'_>, scene: Scene, row: &Row) -> Outcome<String> {
    let Some(stands) = row.stands() else {
        return Ok(String::new());
    };
    let what = format!(
        "channel {} to be read back open, its control in force",
        row.channel
    );
    bench
        .cluster
        .region_until(&bench.place.region, &what, NOTICED, |region| {
            let absent: Vec<&str> = super::controls::rows(region)
                .filter_map(|row| row.finding.as_deref())
                .filter(|finding| finding.contains(scene.seen_gone()))
                .collect();
            let now = self::row(region, row.channel);
            let finding = now.and_then(|row| row.finding.as_deref());
            let denied = condition(region, "ResidencyEnforced");
            let open = now.is_some_and(|row| row.state == ChannelState::Unknown)
                && denied.as_ref().is_some_and(|(status, _)| status != "True");
            match finding {
                Some(finding) if finding.contains(stands) && open && absent.is_empty() => {
                    Look::Seen(finding.to_owned())
                }
                _ => Look::NotYet(format!(
                    "{now:?}, expected word of {stands:?}; {denied:?}; {absent:?}"
                )),
            }
        })
        .await
}

/// Tries once more while what got out stands: its control refuses it, and not that nothing serves it.
async fn held_again(bench: &Bench<'_>, row: &Row) -> Outcome<String> {
    let what = format!("channel {} to be shut by its control", row.channel);
    crate::wait::until(&what, HEEDED, || async {
        Ok(match row.probe(bench).await? {
            Tried::Held(by) if by.starts_with("bailiwick-") => Look::Seen(by),
            Tried::Held(by) => Look::NotYet(format!("held by {by}")),
            Tried::Out(what) => Look::NotYet(what),
        })
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

fn printed(found: &AllFound) -> String {
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
    for row in ROWS {
        let (Some(channel), Some(row)) = (Channel::of(row.channel), found.get(&row.key())) else {
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
