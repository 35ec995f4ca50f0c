//! When the fence ends, and how: attempts at targets and flows in, an ending and the report out. Values only; no I/O and
//! no clock, times are since the start of the fence.
//!
//! *Closed is hard*: three attempts in a row, and what was seen last counts: an attempt that gets through later opens the
//! family again. *Open is soft*: a flow counts when it was seen open by an attempt that started after the first of those
//! three, since a flow seen before may have been open only because everything was; and one attempt at the closed targets
//! starts after the flows were seen open, since a network that is not up yet lets nothing through either.

use std::time::Duration;

use crate::{Family, NotOpen, Outcome, Report};

/// How many closed attempts in a row make closed.
pub const CLOSED_IN_A_ROW: usize = 3;
/// The least time between the starts of two attempts at the same thing.
pub const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);
/// The report is shorter than a termination message may be.
const MOST_BYTES: usize = 4095;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

impl Kind {
    /// As the report writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Four => "IPv4",
            Self::Six => "IPv6",
        }
    }
}

/// What came of trying all targets of a family at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// One was reached, at this time at the latest.
    Reached(Duration),
    /// None was reached.
    Closed,
    /// None was reached, and some could not even be tried (no descriptor, an address that is not usable yet): it shows
    /// nothing.
    Void,
}

/// Why a flow was not seen open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody answered.
    TimedOut,
    /// Somebody on the way answered that it is unreachable or prohibited.
    Refused,
    /// The resolver did not answer.
    NotResolved,
}

impl Cause {
    /// As the report writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "TimedOut",
            Self::Refused => "Refused",
            Self::NotResolved => "NotResolved",
        }
    }
}

/// What came of trying a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It is open: connected, or reset by the peer.
    Open,
    /// Its name does not exist.
    Absent,
    /// It is not open.
    NotOpen(Cause),
}

/// What the fence does when something is not as it should be, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long to wait for closed.
    pub closed_for: Duration,
    /// Whether the pod starts nevertheless when closed was not seen: a canary, which looks for the leak itself.
    pub starts_not_closed: bool,
    /// How long to wait for the flows, from the start of the fence.
    pub open_for: Duration,
    /// Whether the pod starts when some flow was not seen open.
    pub starts_not_open: bool,
}

/// How the fence ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the report says.
    pub outcome: Outcome,
    /// Whether the pod starts.
    pub starts: bool,
}

/// What was seen until now.
#[derive(Debug)]
pub struct Fence {
    limits: Limits,
    families: Vec<FamilySeen>,
    flows: Vec<FlowSeen>,
}

#[derive(Debug)]
struct FamilySeen {
    kind: Kind,
    has_targets: bool,
    /// When the attempts started that were closed since one was not.
    closed: Vec<Duration>,
    closed_at: Option<Duration>,
    reached: u32,
    last_reached: Option<Duration>,
}

#[derive(Debug)]
struct FlowSeen {
    target: String,
    absent: bool,
    /// When the attempt started that found it open last.
    open: Option<Duration>,
    cause: Cause,
}

impl Fence {
    /// Takes the pod's address families, each with whether there is a target of it, and the flows that should be open.
    #[must_use]
    pub fn new(families: &[(Kind, bool)], flows: Vec<String>, limits: Limits) -> Self {
        let families = families.iter().map(|(kind, has_targets)| FamilySeen {
            kind: *kind,
            has_targets: *has_targets,
            closed: Vec::new(),
            closed_at: None,
            reached: 0,
            last_reached: None,
        });
        let flows = flows.into_iter().map(|target| FlowSeen {
            target,
            absent: false,
            open: None,
            cause: Cause::TimedOut,
        });
        Self {
            limits,
            families: families.collect(),
            flows: flows.collect(),
        }
    }

    /// Takes in an attempt at the targets of a family, with when it started and ended.
    pub fn attempt(&mut self, kind: Kind, started: Duration, ended: Duration, attempt: Attempt) {
        let Some(family) = self.families.iter_mut().find(|family| family.kind == kind) else {
            return;
        };
        match attempt {
            Attempt::Closed => {
                family.closed.push(started);
                if family.closed.len() == CLOSED_IN_A_ROW {
                    family.closed_at = Some(ended);
                }
            }
            Attempt::Reached(at) => {
                family.reached = family.reached.saturating_add(1);
                family.last_reached = Some(at);
                family.open_again();
            }
            Attempt::Void => family.open_again(),
        }
    }

    /// Takes in an attempt at a flow, by its place among the flows, with when it started.
    pub fn flow(&mut self, place: usize, started: Duration, flow: Flow) {
        let Some(seen) = self.flows.get_mut(place) else {
            return;
        };
        match flow {
            Flow::Open => seen.open = Some(started),
            Flow::Absent => seen.absent = true,
            Flow::NotOpen(cause) => {
                seen.open = None;
                // Routers limit how often they send ICMP: silence after a refusal takes nothing back.
                if (seen.cause, cause) != (Cause::Refused, Cause::TimedOut) {
                    seen.cause = cause;
                }
            }
        }
    }

    /// Whether a flow is to be tried (again) now. One that was open is tried again only once the families close.
    #[must_use]
    pub fn wants(&self, place: usize) -> bool {
        self.flows.get(place).is_some_and(|flow| {
            !flow.absent
                && match (flow.open, self.closing_since()) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(open), Some(since)) => open < since,
                }
        })
    }

    /// How the fence ends at this time; none when it goes on.
    #[must_use]
    pub fn ending(&self, now: Duration) -> Option<Ending> {
        let not_closed = |outcome| Ending {
            outcome,
            starts: self.limits.starts_not_closed,
        };
        if self.tried().next().is_none() {
            return Some(not_closed(Outcome::Unverified));
        }
        if !self.tried().all(FamilySeen::is_closed) {
            return (now >= self.limits.closed_for).then(|| not_closed(Outcome::Open));
        }
        let all_open = (0..self.flows.len()).all(|place| !self.wants(place));
        if now < self.limits.open_for && !(all_open && self.closed_after_open()) {
            return None;
        }
        let outcome = match (
            self.families.iter().all(|family| family.has_targets),
            all_open,
        ) {
            (false, _) => Outcome::Unverified,
            (true, false) => Outcome::FencedNotOpen,
            (true, true) => Outcome::Fenced,
        };
        Some(Ending {
            outcome,
            starts: all_open || self.limits.starts_not_open,
        })
    }

    /// How it ends when it is told to stop at this time: the pod does not start.
    #[must_use]
    pub fn stopped(&self, now: Duration) -> Ending {
        let outcome = self
            .ending(now.max(self.limits.closed_for).max(self.limits.open_for))
            .map_or(Outcome::Open, |ending| ending.outcome);
        Ending {
            outcome,
            starts: false,
        }
    }

    /// When the next ending is due by time alone.
    #[must_use]
    pub fn next_limit(&self, now: Duration) -> Option<Duration> {
        [self.limits.closed_for, self.limits.open_for]
            .into_iter()
            .filter(|limit| *limit > now)
            .min()
    }

    /// What was seen, as the report of this outcome.
    #[must_use]
    pub fn report(&self, outcome: Outcome, now: Duration) -> Report {
        let families = self.families.iter().map(|family| Family {
            family: family.kind.name().to_owned(),
            closed: family.is_closed(),
            reached: family.reached,
            window_millis: family.last_reached.map(millis),
            closed_millis: family.closed_at.map(millis),
        });
        let not_open = self.flows.iter().enumerate();
        let not_open = not_open.filter(|(place, _)| self.wants(*place));
        Report {
            outcome,
            families: families.collect(),
            not_open: not_open
                .map(|(_, flow)| NotOpen {
                    target: flow.target.clone(),
                    cause: flow.cause.name().to_owned(),
                })
                .collect(),
            held_millis: millis(now),
        }
    }

    fn tried(&self) -> impl Iterator<Item = &FamilySeen> {
        self.families.iter().filter(|family| family.has_targets)
    }

    /// When the first of the attempts started that are closed since; none while some family's last was not.
    fn closing_since(&self) -> Option<Duration> {
        let since = self.tried().map(|family| family.closed.first().copied());
        since.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether every family was seen closed by an attempt that started after the flows were seen open.
    fn closed_after_open(&self) -> bool {
        let open = self.flows.iter().filter_map(|flow| flow.open).max();
        self.tried()
            .all(|family| family.closed.last() >= open.as_ref())
    }
}

impl FamilySeen {
    fn is_closed(&self) -> bool {
        self.closed.len() >= CLOSED_IN_A_ROW
    }

    fn open_again(&mut self) {
        self.closed.clear();
        self.closed_at = None;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The report as one line that a termination message holds: of the flows that are not open as many as fit.
///
/// # Errors
/// The report cannot be written as JSON.
pub fn line_of(report: &Report) -> Result<String, serde_json::Error> {
    let mut report = report.clone();
    loop {
        let line = serde_json::to_string(&report)?;
        if line.len() <= MOST_BYTES || report.not_open.pop().is_none() {
            return Ok(line);
        }
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
