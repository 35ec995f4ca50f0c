//! The leakage channels: by what data could leave a Region, what closes each way, and how well it is closed now. A plan
//! and the facts of one look in, a state with its evidence for each channel out. No state is a constant: each comes from
//! an observation, and what was not observed is Unknown. No I/O.

mod database;
mod fence;
mod network;
pub(crate) mod placement;
mod platform;
mod store;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::{Assurance, ChannelState, ChannelStatus, ExceptionsStatus, RegionSpec};
use jiff::Timestamp;
pub use table::CHANNELS;

use crate::canary::verdict::{self as canaries, NetworkVerdict};
use crate::facts::Facts;
use crate::plan::Plan;

/// The admission policy that keeps exceptions to those who may grant them.
const APPROVAL: &str = "bailiwick-residency-exceptions";

/// A way by which data could leave a Region.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Its number, from 1.
    pub id: u8,
    /// Its name.
    pub name: &'static str,
    /// How data gets out by it.
    pub way_out: &'static str,
    /// What closes it.
    pub control: &'static str,
    /// The assurance from which on it must not be Unknown.
    pub demanded: Assurance,
    judge: fn(&Sight<'_>) -> Verdict,
}

impl Channel {
    /// The channel of a number.
    #[must_use]
    pub fn of(id: u8) -> Option<&'static Self> {
        CHANNELS.iter().find(|channel| channel.id == id)
    }

    /// How well it is closed, by what was observed in this look; exceptions are not in it yet.
    #[must_use]
    pub fn judge(&self, plan: &Plan, facts: &Facts) -> Verdict {
        (self.judge)(&Sight::new(plan, facts))
    }
}

/// What a judge goes by.
struct Sight<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    network: NetworkVerdict,
}

impl<'a> Sight<'a> {
    fn new(plan: &'a Plan, facts: &'a Facts) -> Self {
        Self {
            plan,
            facts,
            network: canaries::verdict(plan, facts),
        }
    }
}

/// How well a channel is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: ChannelState,
    /// What it was observed by: a short reference, never what a server said.
    pub evidence: String,
    /// What stands open, as a sentence with what to do; none when nothing was found open.
    pub finding: Option<String>,
    /// Whether data was seen to get out by it, which is more than that a control is missing; none when what would show it
    /// was not seen.
    pub leak: Option<bool>,
}

impl Verdict {
    fn new(state: ChannelState, evidence: impl Into<String>) -> Self {
        Self {
            state,
            evidence: evidence.into(),
            finding: None,
            leak: Some(false),
        }
    }

    fn enforced(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Enforced, evidence)
    }

    fn audited(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Audited, evidence)
    }

    fn not_applicable(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::NotApplicable, evidence)
    }

    fn unknown(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Unknown, evidence)
    }

    /// Something stands open: that is more than not knowing.
    fn open(evidence: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            finding: Some(finding.into()),
            ..Self::unknown(evidence)
        }
    }

    /// What would show a leak was not seen.
    fn unseen(evidence: impl Into<String>) -> Self {
        Self {
            leak: None,
            ..Self::unknown(evidence)
        }
    }

    /// Data was seen to get out, or is told to.
    fn leaking(evidence: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            leak: Some(true),
            ..Self::open(evidence, finding)
        }
    }

    /// Both verdicts as one: a channel is as closed as its weakest control. Of two that are not closed the one that says
    /// more stands: a leak before what is open, that before what is unknown.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        let other = other();
        let leak = match (self.leak, other.leak) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let unknown = |it: &Self| it.state == ChannelState::Unknown;
        let says = |it: &Self| (it.leak == Some(true), it.finding.is_some());
        match (unknown(&self), unknown(&other)) {
            (true, true) => {
                let evidence = format!("{}; {}", self.evidence, other.evidence);
                let first = if says(&other) > says(&self) {
                    other
                } else {
                    self
                };
                return Self {
                    evidence,
                    leak,
                    ..first
                };
            }
            (true, false) => return Self { leak, ..self },
            (false, true) => return Self { leak, ..other },
            (false, false) => {}
        }
        let state = match (self.state, other.state) {
            // What is not there closes nothing and opens nothing.
            (ChannelState::NotApplicable, state) | (state, ChannelState::NotApplicable) => state,
            (mine, its) if mine == its => mine,
            _ => ChannelState::Audited,
        };
        Self {
            leak,
            ..Self::new(state, format!("{}; {}", self.evidence, other.evidence))
        }
    }
}

/// How well all channels are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Each channel, in order.
    pub rows: Vec<ChannelStatus>,
    /// The exceptions in the spec.
    pub exceptions: ExceptionsStatus,
    /// The channels that are demanded here and that nothing is known of, by number.
    pub unknown: Vec<u8>,
    /// What stands open and is not excepted, as sentences.
    pub open: Vec<(u8, String)>,
    /// Those of them by which data was seen to get out.
    pub leaks: Vec<(u8, String)>,
    /// The channels of which nobody saw whether data gets out by them, and which nobody answers for, by number.
    pub unseen: Vec<u8>,
    /// The channels whose exception has expired, by number.
    pub expired: Vec<u8>,
}

/// The state of every channel. `assurance` is what the cluster gives; more assurance demands more channels.
#[must_use]
pub fn channels(plan: &Plan, facts: &Facts, assurance: Assurance) -> Channels {
    let sight = Sight::new(plan, facts);
    let granted = exceptions(&plan.spec, facts.now);
    let mut channels = Channels {
        rows: Vec::with_capacity(CHANNELS.len()),
        exceptions: exceptions_status(&plan.spec, facts.now),
        unknown: Vec::new(),
        open: Vec::new(),
        leaks: Vec::new(),
        unseen: Vec::new(),
        expired: plan
            .spec
            .residency
            .exceptions
            .iter()
            .filter(|exception| exception.expires <= facts.now)
            .filter_map(|exception| exception.channel.parse().ok())
            .collect(),
    };
    for channel in CHANNELS {
        let mut verdict = (channel.judge)(&sight);
        let closed = matches!(
            verdict.state,
            ChannelState::Enforced | ChannelState::NotApplicable
        );
        if let Some(until) = granted.get(&channel.id).filter(|_| !closed) {
            // Without the policy, whoever may write the Region may grant one.
            if facts.admission.contains(APPROVAL) {
                verdict.state = ChannelState::Exception;
                verdict.evidence = format!("spec.residency.exceptions until {until}");
            } else {
                verdict.evidence = format!(
                    "{}; its exception counts only while ValidatingAdmissionPolicy {APPROVAL} is in force",
                    verdict.evidence
                );
            }
        }
        if verdict.state == ChannelState::Unknown {
            if verdict.leak.is_none() {
                channels.unseen.push(channel.id);
            }
            match &verdict.finding {
                Some(finding) => {
                    channels.open.push((channel.id, finding.clone()));
                    if verdict.leak == Some(true) {
                        channels.leaks.push((channel.id, finding.clone()));
                    }
                }
                None if channel.demanded <= assurance => channels.unknown.push(channel.id),
                None => {}
            }
        }
        channels.rows.push(ChannelStatus {
            id: channel.id.to_string(),
            state: verdict.state,
            evidence: verdict.evidence,
            finding: verdict.finding,
        });
    }
    channels
}

/// The exceptions in force, by channel, with the moment each ends.
fn exceptions(spec: &RegionSpec, now: Timestamp) -> BTreeMap<u8, Timestamp> {
    spec.residency
        .exceptions
        .iter()
        .filter(|exception| exception.expires > now)
        .filter_map(|exception| Some((exception.channel.parse().ok()?, exception.expires)))
        .collect()
}

fn exceptions_status(spec: &RegionSpec, now: Timestamp) -> ExceptionsStatus {
    let all = &spec.residency.exceptions;
    let active = all.iter().filter(|exception| exception.expires > now);
    ExceptionsStatus {
        active: count(active.clone().count()),
        expired: count(all.len() - active.clone().count()),
        next_expiry: active.map(|exception| exception.expires).min(),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `3 pods`, `1 pod`.
fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The first few of several names, and how many there are more. One that is there for several reasons is named once.
fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = names
        .into_iter()
        .filter(|name| seen.insert(*name))
        .collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
