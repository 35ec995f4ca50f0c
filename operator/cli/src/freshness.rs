//! Whether a status still speaks of the Region as it is: one that nobody renews, or of an older spec, proves nothing. A
//! Region and the time in, a word out; no I/O.

use bailiwick_api::region::{Region, RegionStatus};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// How old `status.residency.checkedAt` may be. The operator moves it every five minutes: two may be missed.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// How current a status is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum Freshness {
    /// It speaks of this spec, and was looked at lately.
    Fresh,
    /// It was never looked at.
    NeverChecked,
    /// It was looked at too long ago.
    Stale {
        /// When it was looked at last.
        checked_at: Timestamp,
    },
    /// It was looked at in the future: a clock is wrong, and its age cannot be told.
    FromTheFuture {
        /// When it claims to have been looked at.
        checked_at: Timestamp,
    },
    /// It speaks of an older spec.
    OldGeneration {
        /// The generation that it speaks of; 0 when it names none.
        observed: i64,
        /// The generation that there is.
        generation: i64,
    },
}

impl Freshness {
    /// How current the status of `region` is at `now`.
    #[must_use]
    pub fn of(region: &Region, now: Timestamp) -> Self {
        let status = region.status.as_ref();
        let Some(checked_at) = status
            .and_then(|status| status.residency.as_ref())
            .and_then(|residency| residency.checked_at)
        else {
            return Self::NeverChecked;
        };
        let age = now.duration_since(checked_at);
        if age > TOLERANCE {
            return Self::Stale { checked_at };
        }
        if age < -TOLERANCE {
            return Self::FromTheFuture { checked_at };
        }
        let observed = status.and_then(|status| status.observed_generation);
        match region.metadata.generation {
            Some(generation) if observed != Some(generation) => Self::OldGeneration {
                observed: observed.unwrap_or_default(),
                generation,
            },
            _ => Self::Fresh,
        }
    }

    /// Whether what the status says may be believed.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh)
    }

    /// Why it may not be believed, without a full stop; none when it may.
    #[must_use]
    pub fn reason(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::Fresh => None,
            Self::NeverChecked => Some(
                "nobody has looked at its residency yet (no status.residency.checkedAt)".to_owned(),
            ),
            Self::Stale { checked_at } => Some(format!(
                "nobody has looked since {}, {} ago, and every 5m is expected",
                moment(*checked_at),
                age(now.duration_since(*checked_at))
            )),
            Self::FromTheFuture { checked_at } => Some(format!(
                "it claims to have been looked at in the future, at {}: a clock is wrong, here or there",
                moment(*checked_at)
            )),
            Self::OldGeneration {
                observed,
                generation,
            } => Some(format!(
                "the status speaks of generation {observed} of the spec, which is at {generation}"
            )),
        }
    }
}

/// The generation of the spec that is in force: the newest, unless that one is refused. Then it is the one that the operator
/// tends in its place, which condition Ready speaks of; where none is tended, Ready speaks of the refused one.
#[must_use]
pub fn generation_in_force(generation: Option<i64>, status: &RegionStatus) -> Option<i64> {
    let condition = |type_| status.conditions.iter().find(|it| it.type_ == type_);
    let refused = condition("Accepted").is_some_and(|accepted| {
        accepted.status == "False" && accepted.observed_generation == generation
    });
    match condition("Ready").and_then(|ready| ready.observed_generation) {
        Some(tended) if refused => Some(tended),
        _ => generation,
    }
}

/// A moment to the second (RFC 3339, UTC).
#[must_use]
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A duration as kubectl shows ages: `45s`, `12m`, `3h`, `9d`. What is negative is `0s`.
#[must_use]
pub fn age(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
