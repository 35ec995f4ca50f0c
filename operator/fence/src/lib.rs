//! The start fence's own words: what it is told to try, and the report that it leaves in its termination message.
//! Values only; no I/O. The program (`main.rs`) does the trying, the model crate reads the report.

pub mod decision;

use serde::{Deserialize, Serialize};

/// The port that the responder answers on (TCP): whoever connects gets an answer, and nothing is read.
pub const RESPONDER_PORT: u16 = 7443;

/// What to try, mounted from the ConfigMap `<region>-fence` as `targets.json`. It is no part of the pod template: the
/// responder may move without a restart of anything.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Endpoints (`address:port`, IPv6 in brackets) that answer whoever reaches them and that no Region may reach.
    pub closed: Vec<String>,
}

/// How the fence ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every address family of the pod was seen closed, and every flow that is there was seen open.
    Fenced,
    /// Closed was seen; some flow that should be open was not seen open in time.
    FencedNotOpen,
    /// Closed was not seen in time: the pod does not start, unless it was told only to report (canaries).
    Open,
    /// A family of the pod had no target that could be tried: nothing was proved of it.
    Unverified,
}

/// What was seen of one address family of the pod.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Family {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Whether it was seen closed three times in a row.
    pub closed: bool,
    /// How many attempts reached a target before.
    pub reached: u32,
    /// Milliseconds from the start of the fence until a target was last reached: the start window; none when none was.
    pub window_millis: Option<u64>,
    /// Milliseconds from the start of the fence until closed was seen.
    pub closed_millis: Option<u64>,
}

/// A flow that should be open, and was not seen so.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NotOpen {
    /// `host:port`.
    pub target: String,
    /// A closed word: `TimedOut` (nobody answered), `Refused` (somebody on the way answered that it is unreachable or
    /// prohibited), `NotResolved` (the resolver did not answer). A name that does not exist is left out.
    pub cause: String,
}

/// What the fence leaves in its termination message, as JSON.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Each address family that the pod has.
    pub families: Vec<Family>,
    /// What should have been open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_open: Vec<NotOpen>,
    /// How many milliseconds the fence held the pod.
    pub held_millis: u64,
}
