//! What one reconcile of a Region came to: what the controller did of a plan in, the outcome that the status tells of out.
//! No I/O.

use bailiwick_api::region::RegionStatus;
use bailiwick_api::violation::Violation;

use crate::archive;
use crate::facts::{Facts, ReadFailure};
use crate::outcome::{Applied, Outcome};
use crate::plan::Plan;
use crate::steps::{retained, untold};

/// A step that failed: which, why, and the code that the system answered with.
pub type FailedStep = (String, ReadFailure, Option<String>);

/// What one reconcile came to.
#[derive(Debug)]
pub enum Reconciled {
    /// The spec is refused, and none that was accepted before it can be tended.
    Refused(Vec<Violation>),
    /// A plan was applied, as far as that could be.
    Applied(Box<AppliedPlan>),
}

/// A plan that was applied.
#[derive(Debug)]
pub struct AppliedPlan {
    /// The plan, after what the API server refused of it.
    pub plan: Plan,
    /// What was observed, and what became of it since.
    pub facts: Facts,
    /// How many writes were sent, steps that were done among them.
    pub writes: usize,
    /// How many steps were due.
    pub steps: usize,
    /// Those of them that failed.
    pub failed: Vec<FailedStep>,
    /// Why the newest spec is refused, when this is one that was accepted before it.
    pub refused: Vec<Violation>,
}

impl AppliedPlan {
    /// Whether a step failed, or the API server refused an object.
    #[must_use]
    pub fn is_hindered(&self) -> bool {
        !self.failed.is_empty() || !self.facts.refused.is_empty()
    }

    /// How many steps were due, those among them that wait for the status to tell of them.
    #[must_use]
    pub fn steps_due(&self) -> usize {
        self.steps + untold(&self.plan, &self.facts)
    }
}

impl Reconciled {
    /// What the status is made of. `status` is the one before.
    #[must_use]
    pub fn outcome(&self, status: Option<&RegionStatus>) -> Outcome<'_> {
        match self {
            Self::Refused(violations) => Outcome::Refused(violations),
            Self::Applied(applied) => Outcome::Applied(Applied {
                steps_due: applied.steps_due(),
                failed_steps: &applied.failed,
                archive: archive::archive(&applied.plan, &applied.facts, status),
                full_backup: archive::full_backup(&applied.plan, &applied.facts),
                retained: retained(&applied.plan, &applied.facts),
                plan: &applied.plan,
                facts: &applied.facts,
                refused: &applied.refused,
            }),
        }
    }

    /// How many violations the newest spec has.
    #[must_use]
    pub fn violations(&self) -> usize {
        match self {
            Self::Refused(violations) => violations.len(),
            Self::Applied(applied) => applied.refused.len(),
        }
    }

    /// The closed words of the metrics: the outcome, and the error or nothing.
    #[must_use]
    pub fn labels(&self) -> (&'static str, &'static str) {
        match self {
            Self::Refused(_) => ("refused", ""),
            Self::Applied(applied) if !applied.facts.refused.is_empty() => {
                ("failed", "ObjectRefused")
            }
            Self::Applied(applied) if applied.plan.spec.lifecycle.paused => ("paused", ""),
            Self::Applied(_) => ("applied", ""),
        }
    }
}
