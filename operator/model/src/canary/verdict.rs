//! What the canaries' answers say of the network. Facts in, a verdict for each class of target out; whatever is
//! missing, old, garbled or about something else is Unknown, never good. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::question::{Answer, Class, Question, Tried};
use super::questions;
use crate::facts::Facts;
use crate::flow::Guise;
use crate::names::LABEL_TASK;
use crate::plan::Plan;

/// How often each canary runs.
pub const PERIOD: SignedDuration = SignedDuration::from_mins(5);
/// After this an answer says nothing any more: three runs were missed.
pub const STALE: SignedDuration = SignedDuration::from_mins(15);

/// What is known of one class of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassVerdict {
    /// As the boundary says: nothing of it was reached, or all of it where it is allowed.
    Held {
        /// How many attempts showed it, of all guises.
        attempts: usize,
    },
    /// It was reached, and must not be.
    Leaked {
        /// Who reached what.
        targets: BTreeSet<String>,
        /// Whether a connection stood or a name was resolved. A reset alone may be the enforcer's own.
        proven: bool,
    },
    /// It was not reached, and must be: the canary shows nothing of what it did not reach either.
    Broken {
        /// Who did not reach what.
        targets: BTreeSet<String>,
    },
    /// Nobody tried it, or not so that it says anything.
    NotTested,
    /// There is nothing of the kind: no other Region, no other node.
    NotApplicable,
}

/// What was heard of one canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answered the present question.
    Answered {
        /// When it ended.
        at: Timestamp,
    },
    /// Its last answer is too old.
    Stale {
        /// When it ended.
        at: Timestamp,
    },
    /// It answered another question: its targets or the boundary have changed since.
    Outdated,
    /// There is no answer that can be read.
    Missing,
}

/// What the canaries say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkVerdict {
    /// Of each class.
    pub classes: BTreeMap<Class, ClassVerdict>,
    /// How much was heard of each canary.
    pub canaries: BTreeMap<Guise, Heard>,
}

/// The condition `NetworkEnforced`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// True, False or, when none, Unknown.
    pub state: Option<bool>,
    /// A closed word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// An answer and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// What was answered.
    pub answer: Answer,
    /// When the canary ended.
    pub at: Timestamp,
    /// The node that it ran on.
    pub node: Option<String>,
}

/// The answers of one guise that can be read, the newest first.
#[must_use]
pub fn answers(facts: &Facts, guise: Guise) -> Vec<Hearing> {
    let mut heard: Vec<Hearing> = facts
        .pods
        .live
        .values()
        .filter(|pod| pod.labels.get(LABEL_TASK).map(String::as_str) == Some(guise.label()))
        .filter_map(|pod| {
            Some(Hearing {
                answer: serde_json::from_str(pod.termination_message.as_deref()?).ok()?,
                at: pod.ended?,
                node: pod.node.clone(),
            })
        })
        .collect();
    heard.sort_by_key(|heard| std::cmp::Reverse(heard.at));
    heard
}

/// Judges what the canaries answered by `facts.now`.
#[must_use]
pub fn verdict(plan: &Plan, facts: &Facts) -> NetworkVerdict {
    let mut tallies: BTreeMap<Class, Tally> = Class::ALL
        .into_iter()
        .map(|class| (class, Tally::default()))
        .collect();
    let mut canaries = BTreeMap::new();
    let questions = questions(plan);
    for (class, tally) in &mut tallies {
        // What one of them leaves out, the other does not try in its place.
        let asked = |question: &Question| question.targets.iter().any(|it| it.class == *class);
        tally.untested = questions.values().any(asked) && !questions.values().all(asked);
    }
    for (guise, question) in questions {
        let all = answers(facts, guise);
        let newest = all.iter().find(|heard| {
            heard.answer.question == question.id
                && heard.answer.outcomes.len() == question.targets.len()
        });
        let heard = match newest {
            Some(heard) if facts.now.duration_since(heard.at) <= STALE => {
                tally(&mut tallies, guise, &question, heard);
                Heard::Answered { at: heard.at }
            }
            Some(heard) => Heard::Stale { at: heard.at },
            None if all.is_empty() => Heard::Missing,
            None => Heard::Outdated,
        };
        if !matches!(heard, Heard::Answered { .. }) {
            for tally in tallies.values_mut() {
                tally.untested = true;
            }
        }
        canaries.insert(guise, heard);
    }
    let classes = tallies
        .into_iter()
        .map(|(class, tally)| (class, tally.verdict(class, plan)))
        .collect();
    NetworkVerdict { classes, canaries }
}

/// What the outcomes of one class come to.
#[derive(Default)]
struct Tally {
    as_wanted: usize,
    /// Who saw it as it is wanted.
    by: BTreeSet<Guise>,
    leaked: BTreeSet<String>,
    proven: bool,
    broken: BTreeSet<String>,
    untested: bool,
}

impl Tally {
    fn verdict(self, class: Class, plan: &Plan) -> ClassVerdict {
        if !self.leaked.is_empty() {
            return ClassVerdict::Leaked {
                targets: self.leaked,
                proven: self.proven,
            };
        }
        let around = &plan.surroundings;
        let unknown_nodes = class == Class::OtherNode && around.nodes.len() < around.node_count;
        if self.untested || unknown_nodes {
            return ClassVerdict::NotTested;
        }
        if !self.broken.is_empty() {
            return ClassVerdict::Broken {
                targets: self.broken,
            };
        }
        // The policies that surround one of them say nothing of those around the other.
        if self.as_wanted > 0 && Guise::ALL.iter().any(|guise| !self.by.contains(guise)) {
            return ClassVerdict::NotTested;
        }
        if self.as_wanted > 0 {
            return ClassVerdict::Held {
                attempts: self.as_wanted,
            };
        }
        let nothing_there = match class {
            Class::OtherRegionPod | Class::OtherRegionService => true,
            Class::OtherNode => around.node_count == 1,
            _ => false,
        };
        if nothing_there {
            ClassVerdict::NotApplicable
        } else {
            ClassVerdict::NotTested
        }
    }
}

fn tally(tallies: &mut BTreeMap<Class, Tally>, guise: Guise, question: &Question, heard: &Hearing) {
    for (target, outcome) in question.targets.iter().zip(&heard.answer.outcomes) {
        let tally = tallies.entry(target.class).or_default();
        if target.class == Class::OtherNode {
            match &heard.node {
                Some(own) if *own == target.name => continue,
                Some(_) => {}
                None => {
                    tally.untested = true;
                    continue;
                }
            }
        }
        let what = || {
            let called = if target.attempt.text().starts_with(&target.name) {
                String::new()
            } else {
                format!("{} at ", target.name)
            };
            format!(
                "{} {called}{} by a pod with the flow {}",
                target.class.as_str(),
                target.attempt.text(),
                guise.flow().label()
            )
        };
        match (outcome, target.class.allowed(guise)) {
            (Tried::Reached | Tried::Resolved, true) | (Tried::Blocked, false) => {
                tally.as_wanted += 1;
                tally.by.insert(guise);
            }
            // Of several API servers one may be away.
            (_, true) if any_reached(question, heard, target.class) => {}
            (_, true) => {
                tally.broken.insert(what());
            }
            (Tried::Reached | Tried::Refused | Tried::Resolved, false) => {
                tally.proven |= *outcome != Tried::Refused;
                tally.leaked.insert(what());
            }
            // Of a name: that is as it should be. Of an endpoint: there was nothing to try.
            (Tried::NotResolved, false) if target.class == Class::OutsideName => {
                tally.as_wanted += 1;
                tally.by.insert(guise);
            }
            (Tried::NotResolved | Tried::Failed, false) => tally.untested = true,
        }
    }
}

/// Whether every attempt of an answer came to what the boundary says. What could not be tried is no reason to ask again.
pub(super) fn is_as_wanted(question: &Question, guise: Guise, heard: &Hearing) -> bool {
    let mut tallies = BTreeMap::new();
    tally(&mut tallies, guise, question, heard);
    tallies
        .values()
        .all(|tally| tally.leaked.is_empty() && tally.broken.is_empty())
}

fn any_reached(question: &Question, heard: &Hearing, class: Class) -> bool {
    question
        .targets
        .iter()
        .zip(&heard.answer.outcomes)
        .any(|(target, outcome)| target.class == class && *outcome == Tried::Reached)
}

impl NetworkVerdict {
    /// The condition that this makes. A leak is told of first; whatever is not known keeps it from being True.
    #[must_use]
    pub fn enforced(&self, plan: &Plan) -> Enforced {
        let unknown = |reason, message: String| Enforced {
            state: None,
            reason,
            message,
        };
        let leaked = self.all(|it| match it {
            ClassVerdict::Leaked { targets, .. } => Some(targets),
            _ => None,
        });
        if !leaked.is_empty() {
            return Enforced {
                state: Some(false),
                reason: "LeakFound",
                message: format!(
                    "Reached, and must not be: {} See docs/runbooks/network-enforced.md.",
                    some_of(&leaked)
                ),
            };
        }
        if plan.spec.lifecycle.hibernated {
            return unknown(
                "Hibernated",
                "No canary runs while the Region sleeps.".to_owned(),
            );
        }
        for (guise, heard) in &self.canaries {
            let canary = plan.names.canary(*guise);
            match heard {
                Heard::Answered { .. } => {}
                Heard::Missing => {
                    return unknown(
                        "CanaryMissing",
                        format!("CronJob {canary} has left no answer yet: see its pods."),
                    );
                }
                Heard::Outdated => {
                    return unknown(
                        "CanaryStale",
                        format!(
                            "The boundary or what is around it has changed since CronJob {canary} last answered."
                        ),
                    );
                }
                Heard::Stale { .. } => {
                    return unknown(
                        "CanaryStale",
                        format!(
                            "CronJob {canary} has not answered for {} minutes or more: see its pods.",
                            STALE.as_mins()
                        ),
                    );
                }
            }
        }
        let broken = self.all(|it| match it {
            ClassVerdict::Broken { targets } => Some(targets),
            _ => None,
        });
        if !broken.is_empty() {
            return unknown(
                "AllowedFlowBroken",
                format!(
                    "Not reached, and must be: {} A canary that reaches nothing shows nothing.",
                    some_of(&broken)
                ),
            );
        }
        let untested: Vec<&str> = self.of(&ClassVerdict::NotTested);
        if !untested.is_empty() {
            return unknown(
                "NotTested",
                format!(
                    "Not tested: {}. See docs/explanation/canary.md for what each needs.",
                    untested.join(", ")
                ),
            );
        }
        let mut message = format!(
            "Canaries tried and did not reach: {}.",
            self.held().join(", ")
        );
        let absent = self.of(&ClassVerdict::NotApplicable);
        if !absent.is_empty() {
            message = format!("{message} Of these there is none: {}.", absent.join(", "));
        }
        Enforced {
            state: Some(true),
            reason: "Held",
            message: format!("{message} A pod's own node is always open to it."),
        }
    }

    /// The forbidden classes that held, by name.
    #[must_use]
    pub fn held(&self) -> Vec<&'static str> {
        self.classes
            .iter()
            .filter(|(class, verdict)| {
                !class.allowed(Guise::Plain) && matches!(verdict, ClassVerdict::Held { .. })
            })
            .map(|(class, _)| class.as_str())
            .collect()
    }

    fn of(&self, wanted: &ClassVerdict) -> Vec<&'static str> {
        self.classes
            .iter()
            .filter(|(_, verdict)| *verdict == wanted)
            .map(|(class, _)| class.as_str())
            .collect()
    }

    fn all<'a>(
        &'a self,
        pick: impl Fn(&'a ClassVerdict) -> Option<&'a BTreeSet<String>>,
    ) -> Vec<&'a str> {
        self.classes
            .values()
            .filter_map(pick)
            .flatten()
            .map(String::as_str)
            .collect()
    }
}

/// The first few, and how many there are more.
fn some_of(all: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = all[..all.len().min(SHOWN)].join("; ");
    match all.len().saturating_sub(SHOWN) {
        0 => format!("{shown}."),
        more => format!("{shown}; and {more} more."),
    }
}
