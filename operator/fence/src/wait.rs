//! `bailiwick-fence wait`: tries, until the pod is seen fenced, what must not be reached and what should be. Network I/O;
//! what it all means is decided in `decision.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bailiwick_fence::decision::{
    Attempt, BETWEEN_ATTEMPTS, Cause, Ending, Fence, Flow, Kind, Limits,
};
use bailiwick_fence::{Outcome, Report, Targets};
use clap::{Args, ValueEnum, value_parser};
use nix::sys::signal::SigSet;

use crate::FenceError;
use crate::connect::{self, Met};
use crate::names::{Endpoint, Found, addresses};

/// How many targets of the closed kind are tried at once at most.
const MOST_TARGETS: usize = 64;
/// Where a container leaves its termination message.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// What to try, for how long, and where the report goes.
#[derive(Args, Debug)]
pub struct Wait {
    /// The file with the targets that must not be reached.
    #[arg(long, value_name = "FILE")]
    targets: PathBuf,
    /// A flow that should be open; may be repeated. A name that does not exist is left out.
    #[arg(long, value_name = "HOST:PORT")]
    open: Vec<Endpoint>,
    /// How many seconds to wait for those flows.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u16).range(0..=3600))]
    open_for: u16,
    /// What to do when one of them is not open by then.
    #[arg(long, value_enum, default_value_t = NotOpen::Start)]
    not_open: NotOpen,
    /// What to do when closed is not seen: end so that the container is tried again, or report it and let the pod start.
    #[arg(long, value_enum, default_value_t = NotClosed::Fail)]
    not_closed: NotClosed,
    /// How many seconds to wait for closed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = value_parser!(u16).range(1..=3600))]
    closed_for: u16,
    /// Where the report is left.
    #[arg(long, value_name = "FILE", default_value = TERMINATION_LOG)]
    pub report: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum NotOpen {
    /// The pod starts, and the report says what is not open.
    Start,
    /// The pod does not start.
    Fail,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum NotClosed {
    /// The pod does not start.
    Fail,
    /// The pod starts, and the report says so.
    Report,
}

/// What all threads see.
struct Shared {
    fence: Mutex<Fence>,
    stopped: Mutex<bool>,
    changed: Condvar,
    start: Instant,
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The report of a fence that did not come to try anything.
pub fn nothing_tried() -> Report {
    Report {
        outcome: Outcome::Unverified,
        families: Vec::new(),
        not_open: Vec::new(),
        held_millis: 0,
    }
}

/// Tries until it is decided whether the pod starts, or until a signal of `ends` comes, which the caller has blocked.
/// Returns whether it starts, and the report.
///
/// # Errors
/// The targets cannot be read, or the kernel does not tell the pod's addresses.
pub fn run(wait: &Wait, ends: SigSet) -> Result<(bool, Report), FenceError> {
    let start = Instant::now();
    let targets = targets(&wait.targets)?;
    let kinds = connect::families().map_err(FenceError::Addresses)?;
    let families: Vec<(Kind, bool)> = kinds
        .iter()
        .map(|kind| (*kind, targets.contains_key(kind)))
        .collect();
    let flows = wait.open.iter().map(ToString::to_string).collect();
    let shared = Arc::new(Shared {
        fence: Mutex::new(Fence::new(&families, flows, limits(wait))),
        stopped: Mutex::new(false),
        changed: Condvar::new(),
        start,
    });
    for (kind, targets) in targets {
        if kinds.contains(&kind) {
            spawn(&shared, move |shared| try_family(shared, kind, &targets))?;
        }
    }
    for (place, endpoint) in wait.open.clone().into_iter().enumerate() {
        spawn(&shared, move |shared| try_flow(shared, place, &endpoint))?;
    }
    spawn(&shared, move |shared| {
        let _ = ends.wait();
        *shared
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        // Whoever is about to wait holds the fence.
        drop(shared.fence());
        shared.changed.notify_all();
    })?;
    Ok(decided(&shared))
}

/// Waits for the ending. The threads that try go on until the process ends.
fn decided(shared: &Shared) -> (bool, Report) {
    let mut fence = shared.fence();
    loop {
        let now = shared.now();
        let ending: Option<Ending> = if shared.is_stopped() {
            Some(fence.stopped(now))
        } else {
            fence.ending(now)
        };
        if let Some(Ending { outcome, starts }) = ending {
            return (starts, fence.report(outcome, now));
        }
        let limit = fence
            .next_limit(now)
            .map_or(BETWEEN_ATTEMPTS, |at| at.saturating_sub(now));
        fence = shared
            .changed
            .wait_timeout(fence, limit)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn spawn(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) + Send + 'static,
) -> Result<(), FenceError> {
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new().spawn(move || work(&shared));
    spawned.map(|_| ()).map_err(FenceError::Threads)
}

fn limits(wait: &Wait) -> Limits {
    Limits {
        closed_for: Duration::from_secs(wait.closed_for.into()),
        starts_not_closed: wait.not_closed == NotClosed::Report,
        open_for: Duration::from_secs(wait.open_for.into()),
        starts_not_open: wait.not_open == NotOpen::Start,
    }
}

/// The targets by family.
fn targets(file: &Path) -> Result<BTreeMap<Kind, Vec<SocketAddr>>, FenceError> {
    let text = fs::read_to_string(file).map_err(|source| FenceError::Targets {
        file: file.to_owned(),
        source,
    })?;
    let said = |what: String| FenceError::Content {
        file: file.to_owned(),
        what,
    };
    let Targets { closed } =
        serde_json::from_str(&text).map_err(|error| said(error.to_string()))?;
    if closed.len() > MOST_TARGETS {
        let many = closed.len();
        return Err(said(format!(
            "closed has {many} targets, {MOST_TARGETS} at most are tried"
        )));
    }
    let mut targets: BTreeMap<Kind, Vec<SocketAddr>> = BTreeMap::new();
    for (place, target) in closed.iter().enumerate() {
        let address: SocketAddr = target.parse().map_err(|_| {
            said(format!(
                "closed[{place}] is {target:?}, expected ADDRESS:PORT"
            ))
        })?;
        let kind = match address {
            SocketAddr::V4(_) => Kind::Four,
            SocketAddr::V6(_) => Kind::Six,
        };
        targets.entry(kind).or_default().push(address);
    }
    Ok(targets)
}

/// One attempt after the other: by timeouts they take three seconds, in which a network that is not up at first (IPv6
/// addresses are tentative for up to two) comes up and shows that nothing was closed.
fn try_family(shared: &Shared, kind: Kind, targets: &[SocketAddr]) {
    loop {
        let started = shared.now();
        let attempt = attempt(shared, targets);
        let ended = shared.now();
        shared.fence().attempt(kind, started, ended, attempt);
        shared.changed.notify_all();
        thread::sleep((started + BETWEEN_ATTEMPTS).saturating_sub(shared.now()));
    }
}

/// Tries all targets at once.
fn attempt(shared: &Shared, targets: &[SocketAddr]) -> Attempt {
    let met: Vec<(Met, Duration)> = thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| {
                thread::Builder::new()
                    .spawn_scoped(scope, || (connect::connect(*target), shared.now()))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| {
                let met = thread.ok().and_then(|thread| thread.join().ok());
                met.unwrap_or((Met::Untried, Duration::ZERO))
            })
            .collect()
    });
    let reached = met
        .iter()
        .filter(|(met, _)| matches!(met, Met::Peer | Met::Reset))
        .map(|(_, at)| *at)
        .max();
    match reached {
        Some(at) => Attempt::Reached(at),
        None if met.iter().any(|(met, _)| *met == Met::Untried) => Attempt::Void,
        None => Attempt::Closed,
    }
}

fn try_flow(shared: &Shared, place: usize, endpoint: &Endpoint) {
    loop {
        let started = shared.now();
        if shared.fence().wants(place) {
            let flow = flow(endpoint);
            shared.fence().flow(place, started, flow);
            shared.changed.notify_all();
        }
        thread::sleep((started + BETWEEN_ATTEMPTS).saturating_sub(shared.now()));
    }
}

/// Tries the addresses of a flow one after the other until one is open.
fn flow(endpoint: &Endpoint) -> Flow {
    let found = match addresses(endpoint) {
        Found::Absent => return Flow::Absent,
        Found::Unknown => return Flow::NotOpen(Cause::NotResolved),
        Found::Addresses(found) => found,
    };
    let mut cause = Cause::TimedOut;
    for address in found {
        match connect::connect(address) {
            Met::Peer | Met::Reset => return Flow::Open,
            Met::Unreachable => cause = Cause::Refused,
            Met::Nobody | Met::Untried => {}
        }
    }
    Flow::NotOpen(cause)
}
