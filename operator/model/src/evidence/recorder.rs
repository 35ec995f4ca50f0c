//! What waits for the evidence log of one Region. What a reconcile came to in, whether entries are to be appended now and
//! what the status says of them out; the controller appends. No I/O, no clock.

use bailiwick_api::region::{EvidenceStatus, Region, RegionStatus, ResidencyStatus};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::Entry;
use super::changes::{changes, readopted};
use super::sightings::{Sightings, Told};
use crate::facts::Unread;
use crate::outcome::Outcome;
use crate::status::{Recording, is_true};

/// How many entries of one Region wait for its evidence log at most.
const MAX_UNRECORDED: usize = 10_000;

/// What waits for a Region's evidence log, and what the log leads up to. Losing it costs entries that are recorded twice.
#[derive(Debug, Default)]
pub struct Recorder {
    /// What changed of the residency and is not in the evidence log yet.
    unrecorded: Vec<Entry>,
    /// The residency that the entries, recorded or not, lead up to.
    residency: Option<ResidencyStatus>,
    /// The canary runs, placements, violations and exceptions among the entries, recorded or not.
    sighted: Option<Told>,
    /// Whether the last reconcile saw something that there was no room for.
    full: bool,
}

/// What is to be done about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing, and there is nothing to say of it.
    Nothing,
    /// Nothing is appended, and the status says this.
    Told(Recording),
    /// [`Recorder::entries`] are to be appended. `alone` says that the status is written for that alone.
    Append {
        /// Whether nothing else is a reason to write the status of a Region that was applied.
        alone: bool,
    },
}

/// What became of entries that were to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All are in the log, and this is its end.
    Whole(EvidenceStatus),
    /// The store did not take all of them.
    Part {
        /// The end of the log with those that it took, when any was.
        end: Option<EvidenceStatus>,
        /// How many it took.
        written: usize,
        /// Why not the others.
        unread: Unread,
    },
    /// The log is not the one that the status names.
    Broken,
}

impl Recorder {
    /// The entries that wait, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.unrecorded
    }

    /// Whether what the last reconcile saw was not kept, since too many entries wait. The way from what was recorded last
    /// to what is then is kept once there is room; what was in between is not.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Takes up that all entries are in the log.
    pub fn all_are_recorded(&mut self) {
        self.unrecorded.clear();
    }

    /// Takes up what a reconcile saw, `status` being the one that it leads to: what changed of the residency, and what was
    /// seen for the first time.
    pub fn take_up(
        &mut self,
        region: &Region,
        outcome: &Outcome<'_>,
        status: &RegionStatus,
        now: Timestamp,
    ) -> Due {
        self.full = false;
        let moves = region.status.as_ref() != Some(status);
        let Some(residency) = &status.residency else {
            return Due::Nothing;
        };
        let sightings = match outcome {
            Outcome::Applied(applied) => {
                Sightings::of(applied.plan, applied.facts, &residency.channels)
                    .and_refusal(&region.name_any(), applied.refused)
            }
            Outcome::Refused(violations) => Sightings::of_refusal(&region.name_any(), violations),
            Outcome::Failed { .. } => return Due::Nothing,
        };
        // A Region that was never accepted has no log: its status and Event tell why it is refused.
        if matches!(outcome, Outcome::Refused(_)) && residency.evidence.is_none() {
            return Due::Nothing;
        }
        // A status that could not be written is no reason to tell the same again. What an operator before us may have left
        // unrecorded is told anew, as a whole.
        if let Outcome::Applied(applied) = outcome
            && self.residency.is_none()
        {
            // Before all else that is recorded of it.
            self.unrecorded.extend(readopted(region, applied.facts));
        }
        let recorded = region
            .status
            .as_ref()
            .filter(|status| is_true(status, "EvidenceRecorded"))
            .and_then(|status| status.residency.as_ref());
        self.add(region, sightings, residency, recorded, moves, now);
        // A status that somebody emptied gets the end of the log back, though there is nothing new to record.
        if self.unrecorded.is_empty() && recorded.is_some() && residency.evidence.is_some() {
            // It speaks of this spec too.
            return Due::Told(Recording::Whole);
        }
        match outcome {
            Outcome::Applied(applied) if applied.facts.store.seen().is_none() => {
                Due::Told(Recording::Waiting)
            }
            _ => Due::Append {
                alone: !moves && matches!(outcome, Outcome::Applied(_)),
            },
        }
    }

    /// Adds what is to be recorded: `moves` says whether the status is written anyway, `recorded` what the one before has.
    fn add(
        &mut self,
        region: &Region,
        sightings: Sightings,
        residency: &ResidencyStatus,
        recorded: Option<&ResidencyStatus>,
        moves: bool,
        now: Timestamp,
    ) {
        let before = self.residency.as_ref().or(recorded);
        let changed = changes(before, residency, &region.spec, now);
        let mut sighted = self
            .sighted
            .clone()
            .unwrap_or_else(|| Told::of(residency.evidence.as_ref()));
        let seen = sighted.take(sightings, moves);
        if self.unrecorded.len() + changed.len() + seen.len() > MAX_UNRECORDED {
            self.full = true;
            return;
        }
        if !changed.is_empty() {
            self.residency = Some(without_texts(residency));
        }
        self.sighted = Some(sighted);
        // Causes precede effects.
        self.unrecorded.extend(seen);
        self.unrecorded.extend(changed);
    }

    /// Takes up what became of the entries, and puts the new end of the log into the status. What was not recorded is kept
    /// and tried again with the next reconcile; everything is recorded at least once. `alone` is that of [`Due::Append`].
    pub fn settle(
        &mut self,
        status: &mut RegionStatus,
        appended: Appended,
        alone: bool,
        now: Timestamp,
    ) -> Recording {
        let before = status.residency.as_ref().and_then(|it| it.evidence.clone());
        let (end, done, recording) = match appended {
            Appended::Whole(mut end) => {
                if let Some(sighted) = &self.sighted {
                    end.told = sighted.to_status();
                }
                (Some(end), self.unrecorded.len(), Recording::Whole)
            }
            Appended::Part {
                end,
                written,
                unread,
            } => {
                // Of what was told before, all is recorded; of the rest, perhaps not.
                let told = before.as_ref().map(|before| before.told.clone());
                let end = end.map(|end| EvidenceStatus {
                    told: told.unwrap_or_default(),
                    ..end
                });
                (end, written, Recording::Failed(unread))
            }
            Appended::Broken => (None, 0, Recording::Broken),
        };
        self.unrecorded.drain(..done.min(self.unrecorded.len()));
        if let Some(residency) = status.residency.as_mut()
            && end.is_some()
            && before != end
        {
            residency.evidence = end;
            if alone {
                // The write that a record needs tells of the reconcile, too: it need not be told of again for five minutes.
                residency.checked_at = Some(now);
            }
        }
        recording
    }
}

/// Of a residency what entries are made from: it is kept for each Region.
fn without_texts(residency: &ResidencyStatus) -> ResidencyStatus {
    let mut kept = residency.clone();
    for row in &mut kept.channels {
        row.evidence = String::new();
        row.finding = None;
    }
    kept.evidence = None;
    kept
}
