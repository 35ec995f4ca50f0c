//! What a look saw and the log must hold once: canary runs that ended, places of pods and volumes, violations, exceptions
//! that were granted. Plans, facts and what was told before in; the entries that are new, and what is remembered, out. No
//! I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bailiwick_api::region::{ChannelState, ChannelStatus, EvidenceStatus, Exception};
use bailiwick_api::violation::{Reason, Violation};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::Entry;
use super::entry::{CanaryAnswer, CanaryTry, Channel, Class, Guise, Name, ObjectRef, Reach};
use crate::canary::question::{Answer, Attempt, Question, Target, Tried};
use crate::canary::questions;
use crate::canary::schedule::made_of;
use crate::canary::verdict::Hearing;
use crate::channel::placement::{host_of, location_of, place_of, running_pods, volumes_of};
use crate::facts::{Facts, JobFact};
use crate::fence;
use crate::names::LABEL_TASK;
use crate::patroni::LABEL_JOB;
use crate::plan::Plan;

/// How long the end of a Job may be known before the end of its pod is: they come by two watches.
const SETTLING: SignedDuration = SignedDuration::from_secs(20);
/// The most pods that are not the operator's own and whose place is recorded: who may make pods must not flood the log.
const MOST_FOREIGN: usize = 64;
/// The most marks that a status holds; what is beyond is recorded again by the operator's next start.
const MOST_MARKS: usize = 96;

/// What a mark is of. What was not looked at is not taken for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A run of a canary.
    Run,
    /// The place of a pod or volume.
    Placement,
    /// Something that was seen where it must not be.
    Violation,
    /// Why the Region is refused.
    Refusal,
    /// An exception that keeps a channel from being Unknown.
    Exception,
}

impl Kind {
    /// The bits of a mark that say its kind.
    const BITS: u64 = 7;
    const ALL: [Self; 5] = [
        Self::Run,
        Self::Placement,
        Self::Violation,
        Self::Refusal,
        Self::Exception,
    ];
}

/// By what a sighting is known again: the first 61 bits of a SHA-256, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark(u64);

impl Mark {
    fn new(kind: Kind, of: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(of).into();
        let head = hash
            .iter()
            .take(8)
            .fold(0, |head: u64, byte| head << 8 | u64::from(*byte));
        Self(head & !Kind::BITS | kind as u64)
    }

    fn is_of(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| *kind as u64 == self.0 & Kind::BITS)
    }
}

/// What one look saw.
#[derive(Debug, Default)]
pub struct Sightings {
    /// The kinds that were looked for.
    kinds: Vec<Kind>,
    /// What was seen. Runs may wait for the next write of the status; the others are told at once.
    seen: BTreeMap<Mark, Entry>,
}

impl Sightings {
    /// What was seen of a Region that is applied, whose channels are judged.
    #[must_use]
    pub fn of(plan: &Plan, facts: &Facts, channels: &[ChannelStatus]) -> Self {
        let mut sightings = Self {
            kinds: vec![Kind::Run, Kind::Refusal, Kind::Exception],
            seen: runs(plan, facts),
        };
        for exception in &plan.spec.residency.exceptions {
            let counts = channels
                .iter()
                .any(|row| row.id == exception.channel && row.state == ChannelState::Exception);
            if let Some(granted) = granted(exception).filter(|_| counts) {
                sightings.add(Kind::Exception, granted);
            }
        }
        if facts.inventory.seen().is_some() {
            sightings.kinds.extend([Kind::Placement, Kind::Violation]);
        }
        for unfenced in unfenced(plan, facts) {
            sightings.add(Kind::Violation, unfenced);
        }
        for placement in placements(plan, facts) {
            let violation = violation(&placement);
            sightings.add(Kind::Placement, placement);
            if let Some(violation) = violation {
                sightings.add(Kind::Violation, violation);
            }
        }
        sightings
    }

    /// Why a Region is refused. Nothing of a refused Region is applied, so none of it opens a channel.
    #[must_use]
    pub fn of_refusal(region: &str, violations: &[Violation]) -> Self {
        Self {
            kinds: vec![Kind::Refusal],
            seen: BTreeMap::new(),
        }
        .and_refusal(region, violations)
    }

    /// These, and why the newest spec of the Region is refused while an older one is in force.
    #[must_use]
    pub fn and_refusal(self, region: &str, violations: &[Violation]) -> Self {
        let mut sightings = self;
        let (Ok(kind), Ok(name)) = (Name::new("Region"), Name::new(region)) else {
            return sightings;
        };
        let object = ObjectRef {
            kind,
            namespace: None,
            name,
        };
        for violation in violations {
            let refusal = Entry::Violation {
                channel: None,
                reason: violation.reason,
                object: object.clone(),
                field: Name::new(violation.field.clone()).ok(),
            };
            sightings.add(Kind::Refusal, refusal);
        }
        sightings
    }

    fn add(&mut self, kind: Kind, entry: Entry) {
        // An entry that cannot be written as JSON cannot be recorded either.
        if let Ok(text) = serde_json::to_vec(&entry) {
            self.seen.insert(Mark::new(kind, &text), entry);
        }
    }
}

/// What was told of one Region, or is about to be.
#[derive(Clone, Debug, Default)]
pub struct Told {
    marks: BTreeSet<Mark>,
    /// Runs that nothing else was a reason yet to write the status for.
    waiting: BTreeMap<Mark, Entry>,
}

impl Told {
    /// What an operator before this one had recorded.
    #[must_use]
    pub fn of(status: Option<&EvidenceStatus>) -> Self {
        let text = status.map_or("", |status| &status.told);
        let (digits, _) = text.as_bytes().as_chunks::<16>();
        Self {
            marks: digits
                .iter()
                .filter_map(|digits| std::str::from_utf8(digits).ok())
                .filter_map(|digits| u64::from_str_radix(digits, 16).ok().map(Mark))
                // Whatever else somebody wrote there would never be taken for gone.
                .filter(|mark| mark.is_of(&Kind::ALL))
                .take(MOST_MARKS)
                .collect(),
            waiting: BTreeMap::new(),
        }
    }

    /// What is told, for the status: it may stand there once all of it is recorded.
    #[must_use]
    pub fn to_status(&self) -> String {
        self.marks
            .iter()
            .take(MOST_MARKS)
            .fold(String::new(), |mut text, mark| {
                // Writing into a String does not fail.
                let _ = write!(text, "{:016x}", mark.0);
                text
            })
    }

    /// Takes in what a look saw. Returns the entries that are to be recorded now: each once, and again only when it was
    /// gone in between. Every record moves the status, so a canary's run waits until that is written anyway (`moves`),
    /// but not longer than its Job is there: after that, memory alone would know of it.
    #[must_use]
    pub fn take(&mut self, sightings: Sightings, moves: bool) -> Vec<Entry> {
        let Sightings { kinds, seen } = sightings;
        self.marks
            .retain(|mark| !mark.is_of(&kinds) || seen.contains_key(mark));
        let vanishes =
            kinds.contains(&Kind::Run) && self.waiting.keys().any(|mark| !seen.contains_key(mark));
        let mut entries = Vec::new();
        for (mark, entry) in seen {
            if self.marks.contains(&mark) {
                continue;
            }
            if mark.is_of(&[Kind::Run]) {
                // What it answered when it ended stays so, though another question is asked since.
                if !self.waiting.get(&mark).is_some_and(answered) {
                    self.waiting.insert(mark, entry);
                }
            } else {
                self.marks.insert(mark);
                entries.push(entry);
            }
        }
        if moves || vanishes || !entries.is_empty() {
            let runs = std::mem::take(&mut self.waiting);
            self.marks.extend(runs.keys());
            let mut runs: Vec<Entry> = runs.into_values().collect();
            runs.sort_by_key(ended);
            entries.splice(..0, runs);
        }
        entries
    }
}

const fn answered(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Canary {
            answer: CanaryAnswer::Given,
            ..
        }
    )
}

const fn ended(entry: &Entry) -> Option<Timestamp> {
    match entry {
        Entry::Canary { ended, .. } => *ended,
        _ => None,
    }
}

fn granted(exception: &Exception) -> Option<Entry> {
    // An approver that is no name stays out of the log, which holds no free text: the spec itself is named.
    let approver = Name::new(exception.approved_by.clone())
        .or_else(|_| Name::new("spec.residency.exceptions"))
        .ok()?;
    Some(Entry::ExceptionGranted {
        channel: Channel::new(exception.channel.parse().ok()?).ok()?,
        approver,
        expires: exception.expires,
    })
}

/// The canary runs that ended and whose Jobs are still there.
fn runs(plan: &Plan, facts: &Facts) -> BTreeMap<Mark, Entry> {
    let mut runs = BTreeMap::new();
    for (guise, question) in questions(plan) {
        let schedule = plan.names.canary(guise);
        let jobs = facts.jobs.iter().filter(|(name, job)| {
            (job.succeeded || job.failed) && made_of(name, &schedule).is_some()
        });
        for (name, job) in jobs {
            if let Some(run) = run(guise, &question, name, job, facts) {
                runs.insert(Mark::new(Kind::Run, job.uid.as_bytes()), run);
            }
        }
    }
    runs
}

/// One run; none while the end of its pod is not known and may still come.
fn run(
    guise: Guise,
    question: &Question,
    name: &str,
    job: &JobFact,
    facts: &Facts,
) -> Option<Entry> {
    let pod = facts
        .pods
        .live
        .values()
        .filter(|pod| pod.labels.get(LABEL_JOB).map(String::as_str) == Some(name))
        .max_by_key(|pod| pod.ended);
    let told = pod.and_then(|pod| pod.ended);
    let late = job
        .ended
        .is_none_or(|ended| facts.now.duration_since(ended) > SETTLING);
    if told.is_none() && !late {
        return None;
    }
    let node = pod.and_then(|pod| pod.node.clone());
    let given = pod
        .and_then(|pod| pod.termination_message.as_deref())
        .and_then(|text| serde_json::from_str::<Answer>(text).ok())
        .zip(told.or(job.ended))
        .map(|(answer, at)| Hearing {
            answer,
            at,
            node: node.clone(),
        });
    let (answer, tries) = match given {
        None => (CanaryAnswer::Missing, Vec::new()),
        Some(heard) if heard.answer.question != question.id => (CanaryAnswer::Outdated, Vec::new()),
        Some(heard) if heard.answer.outcomes.len() != question.targets.len() => {
            (CanaryAnswer::Missing, Vec::new())
        }
        Some(heard) => (CanaryAnswer::Given, tries(guise, question, &heard)),
    };
    Some(Entry::Canary {
        run: Name::new(job.uid.clone()).ok()?,
        guise,
        node: node.and_then(|node| Name::new(node).ok()),
        ended: told
            .or(job.ended)
            .and_then(|ended| Timestamp::from_second(ended.as_second()).ok()),
        answer,
        tries,
    })
}

/// What was tried, but for the canary's own node.
fn tries(guise: Guise, question: &Question, heard: &Hearing) -> Vec<CanaryTry> {
    question
        .targets
        .iter()
        .zip(&heard.answer.outcomes)
        .filter(|(target, _)| {
            target.class != Class::OtherNode || heard.node.as_ref() != Some(&target.name)
        })
        .map(|(target, outcome)| CanaryTry {
            target: target.class,
            expected: if target.class.allowed(guise) {
                Reach::Reached
            } else {
                Reach::Blocked
            },
            // Without the canary's node, this may be it.
            result: reach(target, *outcome)
                .filter(|_| target.class != Class::OtherNode || heard.node.is_some()),
        })
        .collect()
}

/// What an outcome says of its target; none when it says nothing.
const fn reach(target: &Target, outcome: Tried) -> Option<Reach> {
    match (outcome, &target.attempt) {
        (Tried::Reached | Tried::Refused | Tried::Resolved, _) => Some(Reach::Reached),
        (Tried::Blocked, _)
        | (Tried::NotResolved, Attempt::Resolve(_) | Attempt::ResolveInside(_)) => {
            Some(Reach::Blocked)
        }
        // The name of an endpoint is not known: there was nothing to try.
        (Tried::NotResolved, Attempt::Connect(_)) | (Tried::Failed, _) => None,
    }
}

/// Where the pods and volumes of a Region are, as channels 12 and 13 judge it. Canaries hold no data and come and go every
/// few minutes: their node is in the record of their run.
fn placements(plan: &Plan, facts: &Facts) -> Vec<Entry> {
    let canaries = Guise::ALL.map(Guise::label);
    let is_canary = |pod: &str| {
        facts
            .pods
            .live
            .get(pod)
            .and_then(|pod| pod.labels.get(LABEL_TASK))
            .is_some_and(|task| canaries.contains(&task.as_str()))
    };
    let mut entries: Vec<Entry> = running_pods(facts, None)
        .filter(|(pod, _)| !is_canary(pod))
        .filter_map(|(pod, node)| {
            Some(placement(
                plan,
                pod_object(plan, pod)?,
                Some(node),
                location_of(facts, node),
            ))
        })
        .collect();
    let foreign = facts.inventory.seen().into_iter().flat_map(|inventory| {
        inventory
            .pods
            .iter()
            .filter(|(_, pod)| !pod.ours && !pod.ended)
            .filter_map(|(name, pod)| Some((name.split_once('/')?, pod.node.as_ref()?)))
            .take(MOST_FOREIGN)
    });
    entries.extend(foreign.filter_map(|((namespace, pod), node)| {
        let object = object("Pod", Some(namespace), pod)?;
        Some(placement(
            plan,
            object,
            Some(node),
            location_of(facts, node),
        ))
    }));
    entries.extend(volumes_of(plan, facts).filter_map(|(name, volume)| {
        let object = object("PersistentVolume", None, name)?;
        let place = place_of(facts, volume);
        Some(placement(plan, object, host_of(volume), place.as_deref()))
    }));
    entries
}

/// The pods that run and did not start behind the fence.
fn unfenced(plan: &Plan, facts: &Facts) -> Vec<Entry> {
    fence::unfenced(facts)
        .filter_map(|pod| {
            Some(Entry::Violation {
                channel: Channel::new(1).ok(),
                reason: Reason::Unfenced,
                object: pod_object(plan, pod)?,
                field: Name::new("spec.initContainers").ok(),
            })
        })
        .collect()
}

/// A pod that [`crate::facts::ByNamespace::all`] names.
fn pod_object(plan: &Plan, pod: &str) -> Option<ObjectRef> {
    match pod.split_once('/') {
        Some((namespace, name)) => object("Pod", Some(namespace), name),
        None => object("Pod", Some(&plan.names.namespace()), pod),
    }
}

fn object(kind: &str, namespace: Option<&str>, name: &str) -> Option<ObjectRef> {
    Some(ObjectRef {
        kind: Name::new(kind).ok()?,
        namespace: match namespace {
            Some(namespace) => Some(Name::new(namespace).ok()?),
            None => None,
        },
        name: Name::new(name).ok()?,
    })
}

fn placement(
    plan: &Plan,
    object: ObjectRef,
    node: Option<&String>,
    location: Option<&str>,
) -> Entry {
    Entry::Placement {
        object,
        node: node.and_then(|node| Name::new(node.clone()).ok()),
        location: location.and_then(|location| Name::new(location).ok()),
        admitted: location == Some(plan.policy.location()),
    }
}

/// What a placement is against the Region's residency; none where it is right, and where nothing says the place, which is
/// not known to be wrong.
fn violation(placement: &Entry) -> Option<Entry> {
    let Entry::Placement {
        object,
        location: Some(_),
        admitted: false,
        ..
    } = placement
    else {
        return None;
    };
    let (channel, field) = if object.kind.as_str() == "Pod" {
        (12, "spec.nodeName")
    } else {
        (13, "spec.nodeAffinity")
    };
    Some(Entry::Violation {
        channel: Channel::new(channel).ok(),
        reason: Reason::OutsideJurisdiction,
        object: object.clone(),
        field: Name::new(field).ok(),
    })
}
