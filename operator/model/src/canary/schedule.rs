//! When canaries run beside their schedule: a question that none was ever asked, and one whose answer was not as it
//! should be. A plan and facts in, Jobs out; no I/O.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::question::Question;
use super::{questions, verdict};
use crate::canary::ID_LENGTH;
use crate::facts::Facts;
use crate::flow::Guise;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::step::Step;

/// How soon a question is asked again whose answer was not as it should be.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How many Jobs of a guise there are beside those of the schedule, at most, before one is asked again: they go ten
/// minutes after their end, so that what stays broken is left to the schedule.
const MOST_AT_ONCE: usize = 3;

/// The Jobs that are due at once, beside those on the schedule: a question that no canary was ever asked, and one whose
/// newest answer was not as it should be, [`AGAIN`] later, so that nobody waits for the schedule once the cause is gone.
/// Not before the store answers, since a canary tries that too, and one at a time a guise.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    if plan.spec.lifecycle.hibernated || facts.store.seen().is_none() {
        return Vec::new();
    }
    questions(plan)
        .iter()
        .filter_map(|(guise, question)| {
            let schedule = plan.names.canary(*guise);
            let known = || {
                facts
                    .jobs
                    .iter()
                    .filter_map(|(job, fact)| Some((made_of(job, &schedule)?, fact)))
            };
            let run = due(question, *guise, facts)?;
            let runs = known().any(|(_, fact)| !fact.succeeded && !fact.failed);
            let asked = known().filter(|(run, _)| run.len() == ID_LENGTH).count();
            let first = run == question.id;
            let is_known = facts
                .jobs
                .contains_key(&plan.names.canary_job(*guise, &run));
            (!runs && !is_known && (first || asked < MOST_AT_ONCE)).then(|| {
                Step::Create(Box::new(Manifest::of(&crate::desired::canary::job(
                    plan, *guise, question, &run,
                ))))
            })
        })
        .collect()
}

/// The word that ends the name of the Job that is due for a question; none when it was answered well, or just now.
fn due(question: &Question, guise: Guise, facts: &Facts) -> Option<String> {
    let answers = verdict::answers(facts, guise);
    let Some(newest) = answers
        .iter()
        .find(|heard| heard.answer.question == question.id)
    else {
        return Some(question.id.clone());
    };
    if verdict::is_as_wanted(question, guise, newest) || facts.now.duration_since(newest.at) < AGAIN
    {
        return None;
    }
    // Once for each answer, whoever asks.
    let mut run = format!(
        "{:x}",
        Sha256::digest(format!("{} {}", question.id, newest.at))
    );
    run.truncate(ID_LENGTH);
    Some(run)
}

/// What ends the name of a Job that has its name from a schedule: the name and one more word.
pub(crate) fn made_of<'a>(job: &'a str, schedule: &str) -> Option<&'a str> {
    job.strip_prefix(schedule)
        .and_then(|rest| rest.strip_prefix('-'))
        .filter(|rest| !rest.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_its_own_schedule() {
        assert_eq!(made_of("tr-canary-29384761", "tr-canary"), Some("29384761"));
        assert_eq!(
            made_of("tr-canary-pg-29384761", "tr-canary-pg"),
            Some("29384761")
        );
        assert_eq!(made_of("tr-canary-pg-29384761", "tr-canary"), None);
        assert_eq!(made_of("tr-canary", "tr-canary"), None);
    }
}
