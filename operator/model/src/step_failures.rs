//! The steps that failed in one reconcile, and which others wait for them. Steps and failures in; no I/O.

use std::collections::BTreeSet;

use crate::facts::ReadFailure;
use crate::reconciled::FailedStep;
use crate::step::Step;
use crate::subject::Subject;

impl Step {
    /// The system whose steps follow from each other.
    #[must_use]
    pub const fn system(&self) -> &'static str {
        match self {
            Self::Store(_) => "object store",
            Self::Sql(_) => "postgres",
            Self::Grow(_) | Self::MarkClaim(_) => "volumes",
            Self::DeleteSecret { .. } => "secrets",
            Self::Patroni(_)
            | Self::Create(_)
            | Self::DeletePod { .. }
            | Self::DeleteJob { .. } => "patroni",
        }
    }
}

/// The steps that failed in one reconcile.
#[derive(Debug, Default)]
pub struct StepFailures {
    failed: Vec<FailedStep>,
    systems: BTreeSet<&'static str>,
    subjects: BTreeSet<Subject>,
}

impl StepFailures {
    /// Whether a step may depend on one that failed.
    #[must_use]
    pub fn block(&self, step: &Step) -> bool {
        self.systems.contains(step.system()) || !self.subjects.is_disjoint(&step.subjects())
    }

    /// Takes up that the system behind a step did not do it: `what` says which. Later steps may depend on this one: those
    /// about the same, or all of a system that fails as a whole. What they need of another system was observed.
    pub fn add(&mut self, step: &Step, what: String, failure: ReadFailure, cause: Option<String>) {
        let subjects = step.subjects();
        if failure.is_of_one_thing() && !subjects.is_empty() {
            self.subjects.extend(subjects);
        } else {
            self.systems.insert(step.system());
        }
        self.failed.push((what, failure, cause));
    }

    /// Takes up that the API server refused a step. Others go on: none builds on what it makes within one reconcile.
    pub fn add_refusal(&mut self, what: String, cause: String) {
        self.failed.push((what, ReadFailure::Refused, Some(cause)));
    }

    /// What failed, in order.
    #[must_use]
    pub fn into_failed(self) -> Vec<FailedStep> {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::step::SqlStep;
    use crate::store::step::StoreStep;

    fn encryption(bucket: &str) -> Step {
        Step::Store(StoreStep::SetEncryption {
            bucket: bucket.to_owned(),
        })
    }

    fn act_as(role: &str) -> Step {
        Step::Sql(SqlStep::ActAs {
            role: role.to_owned(),
        })
    }

    fn blocked(failures: &StepFailures) -> Vec<bool> {
        [encryption("documents"), encryption("images"), act_as("app")]
            .iter()
            .map(|step| failures.block(step))
            .collect()
    }

    #[test]
    fn a_failure_of_one_thing_stops_what_is_about_it_and_one_of_a_system_all_that_is_behind_it() {
        let mut failures = StepFailures::default();
        assert_eq!(blocked(&failures), [false, false, false]);
        let step = encryption("documents");
        failures.add(&step, "one".to_owned(), ReadFailure::Refused, None);
        assert_eq!(blocked(&failures), [true, false, false]);
        failures.add(&step, "two".to_owned(), ReadFailure::TimedOut, None);
        assert_eq!(blocked(&failures), [true, true, false]);
        let failed: Vec<String> = failures.into_failed().into_iter().map(|it| it.0).collect();
        assert_eq!(failed, ["one", "two"]);
    }

    #[test]
    fn what_is_about_nothing_in_particular_stops_its_system_and_a_refused_object_stops_nothing() {
        let pod = Step::DeletePod {
            name: "tr-pg-0".to_owned(),
            uid: "1".to_owned(),
        };
        let mut failures = StepFailures::default();
        failures.add_refusal("pods".to_owned(), "403".to_owned());
        assert!(!failures.block(&pod));
        failures.add(&pod, "pods".to_owned(), ReadFailure::Refused, None);
        assert!(failures.block(&pod));
        assert_eq!(blocked(&failures), [false, false, false]);
        assert_eq!(failures.into_failed().len(), 2);
    }
}
