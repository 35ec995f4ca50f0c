//! How well each leakage channel of a Region is closed, as a reader may believe it now. A Region and the time in, a row
//! for each channel out, and whether all that is demanded is closed. Never greener than the operator's own condition. No
//! I/O.

use bailiwick_api::region::{
    Assurance, ChannelState, ChannelStatus, Exception, Region, ResidencyStatus,
};
use bailiwick_model::channel::{CHANNELS, Channel};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::freshness::{Freshness, generation_in_force};

/// The state of all channels of a Region.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// The Region's name.
    pub region: String,
    /// Whether every channel that is demanded is closed or answered for.
    pub closed: bool,
    /// Why not, a sentence each without a full stop; empty when `closed`.
    pub reasons: Vec<String>,
    /// The assurance that demands the channels: the higher of what is observed and what the spec asks for.
    pub demanded_by: Assurance,
    /// The assurance that was observed; none when nobody looked.
    pub assurance: Option<Assurance>,
    /// Whether the status may be believed.
    pub freshness: Freshness,
    /// When the channels were last looked at.
    pub checked_at: Option<Timestamp>,
    /// Each channel, in order.
    pub channels: Vec<Row>,
}

/// A channel of a Region.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it must be closed here.
    pub demanded: bool,
    /// How well it is closed, as far as the status may be believed.
    pub state: ChannelState,
    /// What that comes to.
    pub result: RowResult,
    /// What the status says, where it may not be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<ChannelState>,
    /// What it was observed by.
    pub evidence: String,
    /// What was found open, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// The exception in the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
}

/// What a channel's state comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RowResult {
    /// Closed, watched, or not there.
    Ok,
    /// Somebody answers for it.
    Excepted,
    /// Unknown, and nobody demands it at this assurance.
    NotDemanded,
    /// Unknown, and demanded.
    Unknown,
    /// Its exception has expired.
    Expired,
    /// Found open.
    Open,
}

impl RowResult {
    /// Whether it keeps the Region from being called closed.
    #[must_use]
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Unknown | Self::Expired | Self::Open)
    }
}

/// The first version of Kubernetes that deletes the pods of a namespace before its policies, whatever its feature gates.
const ORDERED_DELETION: (u32, u32) = (1, 34);

/// What is to be known of a cluster whose API server says that it is of this version; none when a namespace that is deleted
/// goes in order there (Kubernetes' documentation, "Namespaces", `OrderedNamespaceDeletion`).
#[must_use]
pub fn namespace_deletion(major: &str, minor: &str) -> Option<String> {
    // Some providers write `33+`.
    let number = |text: &str| {
        let end = text
            .find(|it: char| !it.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse::<u32>().ok()
    };
    match (number(major), number(minor)) {
        (Some(major), Some(minor)) if (major, minor) >= ORDERED_DELETION => None,
        (Some(major), Some(minor)) => Some(format!(
            "Kubernetes {major}.{minor} may take the policies of a deleted namespace before its pods: from 1.34 on pods go \
             first. See docs/explanation/residency.md."
        )),
        _ => Some(
            "the API server's version could not be read: whether a deleted namespace's pods go before its policies (Kubernetes \
             1.34 and later) is not known. See docs/explanation/residency.md."
                .to_owned(),
        ),
    }
}

impl Audit {
    /// How many channels came to this.
    #[must_use]
    pub fn count(&self, result: RowResult) -> usize {
        self.channels
            .iter()
            .filter(|row| row.result == result)
            .count()
    }
}

/// The audit of a Region at `now`.
#[must_use]
pub fn audit(region: &Region, now: Timestamp) -> Audit {
    let residency = region
        .status
        .as_ref()
        .and_then(|status| status.residency.as_ref());
    let freshness = Freshness::of(region, now);
    let assurance = residency.map(|residency| residency.assurance);
    let minimum = region.spec.residency.minimum_assurance;
    let demanded_by = assurance.unwrap_or_default().max(minimum);
    let view = View {
        region,
        residency,
        fresh: freshness.is_fresh(),
        demanded_by,
        now,
    };
    let channels = view.rows();

    let mut reasons: Vec<String> = freshness.reason(now).into_iter().collect();
    if let Some(assurance) = assurance.filter(|assurance| *assurance < minimum) {
        reasons.push(format!(
            "the assurance is {assurance:?}, spec.residency.minimumAssurance asks for {minimum:?}"
        ));
    }
    for (result, what) in [
        (RowResult::Open, "found open"),
        (RowResult::Expired, "with an expired exception"),
        (RowResult::Unknown, "demanded and unknown"),
    ] {
        let ids: Vec<&str> = channels
            .iter()
            .filter(|row| row.result == result)
            .map(|row| row.id.as_str())
            .collect();
        if !ids.is_empty() {
            reasons.push(format!("{what}: channel {}", ids.join(", ")));
        }
    }
    // The rows may be closed and the operator still not content: then it knows something that they do not show.
    if reasons.is_empty() {
        reasons.extend(view.discontent());
    }
    Audit {
        region: region.name_any(),
        closed: reasons.is_empty(),
        reasons,
        demanded_by,
        assurance,
        freshness,
        checked_at: residency.and_then(|residency| residency.checked_at),
        channels,
    }
}

/// What a row is judged by.
struct View<'a> {
    region: &'a Region,
    residency: Option<&'a ResidencyStatus>,
    fresh: bool,
    demanded_by: Assurance,
    now: Timestamp,
}

impl View<'_> {
    fn rows(&self) -> Vec<Row> {
        let reported = |id: &str| {
            self.residency
                .and_then(|residency| residency.channels.iter().find(|row| row.id == id))
        };
        let mut rows: Vec<Row> = CHANNELS
            .iter()
            .map(|channel| {
                self.row(
                    &channel.id.to_string(),
                    Some(channel),
                    reported(&channel.id.to_string()),
                )
            })
            .collect();
        // A newer operator may know of more; what is not known here is demanded.
        let unheard_of = self
            .residency
            .into_iter()
            .flat_map(|residency| &residency.channels)
            .filter(|row| {
                !CHANNELS
                    .iter()
                    .any(|channel| channel.id.to_string() == row.id)
            });
        rows.extend(unheard_of.map(|row| self.row(&row.id, None, Some(row))));
        rows
    }

    fn row(&self, id: &str, channel: Option<&Channel>, reported: Option<&ChannelStatus>) -> Row {
        let demanded = channel.is_none_or(|channel| channel.demanded <= self.demanded_by);
        let exception = self
            .region
            .spec
            .residency
            .exceptions
            .iter()
            .find(|exception| exception.channel == id);
        let expired = exception.is_some_and(|exception| exception.expires <= self.now);
        let said = reported.map_or(ChannelState::Unknown, |row| row.state);
        // An exception is the spec's word: one that it does not hold, or no more, excepts nothing.
        let groundless = said == ChannelState::Exception && (exception.is_none() || expired);
        let believed = self.fresh && reported.is_some() && !groundless;
        let state = if believed {
            said
        } else {
            ChannelState::Unknown
        };
        let finding = reported.and_then(|row| row.finding.clone());
        let result = if expired {
            RowResult::Expired
        } else {
            match state {
                ChannelState::Enforced | ChannelState::Audited | ChannelState::NotApplicable => {
                    RowResult::Ok
                }
                ChannelState::Exception => RowResult::Excepted,
                ChannelState::Unknown if finding.is_some() => RowResult::Open,
                ChannelState::Unknown if demanded => RowResult::Unknown,
                ChannelState::Unknown => RowResult::NotDemanded,
            }
        };
        Row {
            id: id.to_owned(),
            name: channel
                .map_or("not known to this plugin; take a newer one", |channel| {
                    channel.name
                })
                .to_owned(),
            demanded,
            state,
            result,
            reported: reported.map(|row| row.state).filter(|said| *said != state),
            evidence: reported.map_or_else(
                || "the status does not speak of it".to_owned(),
                |row| row.evidence.clone(),
            ),
            finding,
            exception: exception.cloned(),
        }
    }

    /// Why the operator's own condition is not True.
    fn discontent(&self) -> Option<String> {
        const TYPE: &str = "ResidencyEnforced";
        let found = self.region.status.as_ref().and_then(|status| {
            let mut conditions = status.conditions.iter();
            let condition = conditions.find(|condition| condition.type_ == TYPE)?;
            Some((status, condition))
        });
        let Some((status, condition)) = found else {
            return Some(format!("condition {TYPE} is missing"));
        };
        if let (Some(observed), Some(generation)) = (
            condition.observed_generation,
            generation_in_force(self.region.metadata.generation, status),
        ) && observed != generation
        {
            return Some(format!(
                "condition {TYPE} speaks of generation {observed} of the spec, which is at {generation}"
            ));
        }
        (condition.status != "True").then(|| {
            format!(
                "condition {TYPE} is {}, {}: {}",
                condition.status,
                condition.reason,
                condition.message.trim_end_matches('.')
            )
        })
    }
}
