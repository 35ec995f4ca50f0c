//! What the status of a Region says, for people: a verdict, a line for each section, and what to do next. A Region and the
//! time in, a report out. A status that may not be believed never makes anything good. No I/O.

use std::cmp::Reverse;

use bailiwick_api::region::{Assurance, Region, RegionStatus};
use bailiwick_model::status::DELETION_BLOCKED;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use crate::audit::{Audit, RowResult, audit};
use crate::children::Child;
use crate::condition::{CONDITIONS, Expected, Section, Wanted};
use crate::freshness::{Freshness, age, generation_in_force};

/// What the status of a Region says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The Region's name.
    pub region: String,
    /// The jurisdiction that the data is under.
    pub jurisdiction: String,
    /// The location that it runs in.
    pub location: String,
    /// The locations that copies may be in.
    pub allowed_locations: Vec<String>,
    /// The assurance that was observed; none when nobody looked.
    pub assurance: Option<Assurance>,
    /// The least assurance that the spec asks for.
    pub minimum_assurance: Assurance,
    /// Whether the status may be believed.
    pub freshness: Freshness,
    /// When the channels were last looked at.
    pub checked_at: Option<Timestamp>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why, as a sentence.
    pub because: String,
    /// The status of condition Ready, as far as it may be believed.
    pub ready: Mark,
    /// Whether everything that is demanded is closed.
    pub residency: Mark,
    /// Each part of it.
    pub sections: Vec<Part>,
    /// Its objects; empty when they were not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// What could not be listed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_shown: Vec<String>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Clients can use it, its residency is enforced, and nothing needs anybody.
    Good,
    /// Clients can use it and its residency is enforced, but something does not do its work.
    Degraded,
    /// It is stopped on purpose.
    Hibernated,
    /// Clients cannot use it.
    NotReady,
    /// The operator refuses it.
    Refused,
    /// It is being deleted.
    Deleting,
    /// Residency is not enforced.
    NotEnforced,
    /// Nothing that is said may be believed, or not enough is.
    Unknown,
}

/// How a part of a Region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mark {
    /// As it should be.
    Ok,
    /// In transition, or as somebody wants it.
    Busy,
    /// Not known.
    Unknown,
    /// Not as it should be.
    Bad,
}

/// A part of a Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which.
    pub section: Section,
    /// How it is: as the worst of its conditions.
    pub state: Mark,
    /// In one line.
    pub summary: String,
    /// What to do next, one line for each condition that is not as it should be.
    pub next: Vec<Next>,
}

/// What to do about a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The condition.
    pub condition: String,
    /// What to do.
    pub action: String,
}

/// The report of a Region at `now`, with the objects that were found.
#[must_use]
pub fn report(region: &Region, now: Timestamp) -> Report {
    let status = region.status.clone().unwrap_or_default();
    let audit = audit(region, now);
    let view = View {
        name: region.name_any(),
        generation: region.metadata.generation,
        in_force: generation_in_force(region.metadata.generation, &status),
        deleting: region.metadata.deletion_timestamp.is_some(),
        status: &status,
        audit: &audit,
        now,
    };
    let residency = view.residency();
    let ready = view.mark("Ready");
    let (verdict, because) = view.verdict(ready, residency);
    let spec = &region.spec.residency;
    let mut allowed_locations = spec.allowed_locations.clone();
    if allowed_locations.is_empty() {
        allowed_locations.push(spec.location.clone());
    }
    Report {
        region: view.name.clone(),
        jurisdiction: spec.jurisdiction.clone(),
        location: spec.location.clone(),
        allowed_locations,
        assurance: audit.assurance,
        minimum_assurance: spec.minimum_assurance,
        freshness: audit.freshness.clone(),
        checked_at: audit.checked_at,
        verdict,
        because,
        ready,
        residency,
        sections: Section::ALL
            .into_iter()
            .map(|section| view.part(section))
            .collect(),
        children: Vec::new(),
        not_shown: Vec::new(),
    }
}

/// What a report is made from.
struct View<'a> {
    name: String,
    generation: Option<i64>,
    in_force: Option<i64>,
    deleting: bool,
    status: &'a RegionStatus,
    audit: &'a Audit,
    now: Timestamp,
}

/// The condition that says that a Region is stopped on purpose, and the reason of others for the same.
const HIBERNATED: &str = "Hibernated";

/// How a condition stands.
struct Standing<'a> {
    expected: &'static Expected,
    found: Option<&'a Condition>,
    mark: Mark,
}

impl View<'_> {
    fn standing(&self, expected: &'static Expected) -> Standing<'_> {
        let found = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.type_ == expected.type_);
        let said = found.map_or(Mark::Unknown, |condition| {
            match (expected.wanted, condition.status.as_str()) {
                (Wanted::True, "True") | (Wanted::False | Wanted::Rather, "False") => Mark::Ok,
                (Wanted::Rather, "True") => Mark::Busy,
                // Whatever sleeps with the Region is as somebody wants it.
                _ if condition.reason == HIBERNATED => Mark::Busy,
                (Wanted::True, "False") | (Wanted::False, "True") => Mark::Bad,
                _ => Mark::Unknown,
            }
        });
        // Bad news stays bad until somebody looks again; good news does not stay good.
        let mark = match said {
            Mark::Ok | Mark::Busy if !self.believes(found) => Mark::Unknown,
            said => said,
        };
        Standing {
            expected,
            found,
            mark,
        }
    }

    /// Whether a condition speaks of the Region as it is: of the spec that is in force, or of the newest.
    fn believes(&self, condition: Option<&Condition>) -> bool {
        let of_this_spec = condition
            .and_then(|condition| condition.observed_generation)
            .is_none_or(|observed| {
                [self.generation, self.in_force]
                    .into_iter()
                    .any(|generation| generation.is_none_or(|generation| observed == generation))
            });
        self.audit.freshness.is_fresh() && of_this_spec
    }

    /// Whether the newest spec is refused.
    fn is_refused(&self) -> bool {
        self.condition("Accepted").is_some_and(|accepted| {
            accepted.status == "False"
                && accepted
                    .observed_generation
                    .is_none_or(|observed| self.generation.is_none_or(|now| now == observed))
        })
    }

    /// Whether nothing is looked at, since the spec is refused and none is tended in its place.
    fn is_left_alone(&self) -> bool {
        self.is_refused() && self.in_force == self.generation
    }

    fn is_hibernated(&self) -> bool {
        self.condition(HIBERNATED)
            .is_some_and(|condition| condition.status == "True")
    }

    /// Whether a condition is as it is for no other cause than that the Region is refused or sleeps, which has its own next
    /// action: with that, this one mends itself.
    fn follows(&self, standing: &Standing<'_>) -> bool {
        let type_ = standing.expected.type_;
        if self.is_left_alone() {
            // That clients are shut off has a cause of its own.
            return type_ != "Accepted" && (type_ != "Quarantined" || standing.mark != Mark::Bad);
        }
        let Some(condition) = standing.found else {
            return false;
        };
        // What is asleep is not known, as are the channels behind it.
        self.is_hibernated()
            && type_ != HIBERNATED
            && self.believes(Some(condition))
            && (condition.reason == HIBERNATED || standing.mark == Mark::Unknown)
    }

    fn mark(&self, type_: &str) -> Mark {
        CONDITIONS
            .iter()
            .find(|expected| expected.type_ == type_)
            .map_or(Mark::Unknown, |expected| self.standing(expected).mark)
    }

    /// How the residency is: the audit's word.
    fn residency(&self) -> Mark {
        let says_no =
            self.status.conditions.iter().any(|condition| {
                condition.type_ == "ResidencyEnforced" && condition.status == "False"
            });
        if self.audit.closed {
            Mark::Ok
        } else if says_no
            || self.audit.count(RowResult::Open) + self.audit.count(RowResult::Expired) > 0
        {
            Mark::Bad
        } else {
            Mark::Unknown
        }
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    fn message(&self, type_: &str) -> String {
        self.condition(type_).map_or_else(
            || format!("condition {type_} is missing"),
            |condition| {
                format!(
                    "{}: {}",
                    condition.reason,
                    condition.message.trim_end_matches('.')
                )
            },
        )
    }

    fn verdict(&self, ready: Mark, residency: Mark) -> (Verdict, String) {
        if self.deleting {
            let because = self.condition(DELETION_BLOCKED).map_or_else(
                || "it is being deleted; its volumes, Secrets and buckets stay".to_owned(),
                |condition| condition.message.trim_end_matches('.').to_owned(),
            );
            return (Verdict::Deleting, because);
        }
        // A refused Region is not looked at, so that its status grows stale; that it is refused still stands.
        if self.is_refused() {
            return (Verdict::Refused, self.message("Accepted"));
        }
        if let Some(reason) = self.audit.freshness.reason(self.now) {
            return (Verdict::Unknown, reason);
        }
        let why_residency = || self.audit.reasons.join("; ");
        if residency == Mark::Bad {
            return (Verdict::NotEnforced, why_residency());
        }
        if self.is_hibernated() {
            return (
                Verdict::Hibernated,
                "its pods are stopped on purpose; volumes stay".to_owned(),
            );
        }
        match (ready, residency) {
            (Mark::Bad, _) => return (Verdict::NotReady, self.message("Ready")),
            (Mark::Unknown, _) => return (Verdict::Unknown, self.message("Ready")),
            (_, Mark::Unknown) => return (Verdict::Unknown, why_residency()),
            _ => {}
        }
        let standings: Vec<Standing<'_>> = CONDITIONS
            .iter()
            .map(|expected| self.standing(expected))
            .collect();
        let worst = |mark: Mark| standings.iter().find(|standing| standing.mark == mark);
        if let Some(standing) = worst(Mark::Bad).or_else(|| worst(Mark::Unknown)) {
            let type_ = standing.expected.type_;
            return (
                Verdict::Degraded,
                format!(
                    "clients can use it and its residency is enforced, but {type_} is not as it should be: {}",
                    self.message(type_)
                ),
            );
        }
        (
            Verdict::Good,
            "clients can use it, and every demanded channel is closed or answered for".to_owned(),
        )
    }

    fn part(&self, section: Section) -> Part {
        let standings: Vec<Standing<'_>> = CONDITIONS
            .iter()
            .filter(|expected| expected.section == section)
            .map(|expected| self.standing(expected))
            .collect();
        let mut state = standings
            .iter()
            .map(|standing| standing.mark)
            .max()
            .unwrap_or(Mark::Unknown);
        if section == Section::Residency {
            state = state.max(self.residency());
        }
        let mut wrong: Vec<&Standing<'_>> = standings
            .iter()
            .filter(|standing| standing.mark != Mark::Ok)
            .collect();
        // The worst first, and of equals the more telling.
        wrong.sort_by_key(|standing| Reverse(standing.mark));
        let summary = match wrong.first() {
            Some(standing) => self.trouble(standing),
            None => self.detail(section),
        };
        let mut next = self.next(&wrong);
        if section == Section::Operation
            && let Some(blocked) = self
                .condition(DELETION_BLOCKED)
                .filter(|condition| self.deleting && condition.status == "True")
        {
            next.insert(
                0,
                Next {
                    condition: DELETION_BLOCKED.to_owned(),
                    action: blocked.message.clone(),
                },
            );
        }
        let untold = section == Section::Residency && wrong.is_empty() && state != Mark::Ok;
        if untold && !self.is_hibernated() {
            next.push(Next {
                condition: "ResidencyEnforced".to_owned(),
                action: format!(
                    "kubectl bailiwick residency audit {} (see docs/runbooks/residency-enforced.md)",
                    self.name
                ),
            });
        }
        // A Region that is left alone is not looked at, and its status grows stale.
        if !self.audit.freshness.is_fresh() && !self.is_left_alone() {
            // Whatever the conditions say, first somebody must look again.
            for next in &mut next {
                next.action = format!(
                    "see that the operator runs (see docs/runbooks/ready.md); then {}",
                    next.action
                );
            }
        }
        Part {
            section,
            state,
            summary,
            next,
        }
    }

    /// What to do about the conditions of a section that are not as they should be, in this order.
    fn next(&self, wrong: &[&Standing<'_>]) -> Vec<Next> {
        wrong
            .iter()
            .filter(|standing| !self.follows(standing))
            .map(|standing| {
                let reason = standing
                    .found
                    .map_or("", |condition| condition.reason.as_str());
                Next {
                    condition: standing.expected.type_.to_owned(),
                    action: standing.expected.next(&self.name, reason),
                }
            })
            .collect()
    }

    /// A condition that is not as it should be, in one line.
    fn trouble(&self, standing: &Standing<'_>) -> String {
        let type_ = standing.expected.type_;
        let Some(condition) = standing.found else {
            return format!("{type_} is missing from the status");
        };
        let said = format!(
            "{type_} {}, {}: {}",
            condition.status,
            condition.reason,
            condition.message.trim_end_matches('.')
        );
        if self.believes(Some(condition)) {
            said
        } else if let Some(reason) = self.audit.freshness.reason(self.now) {
            format!("{reason}; it was {said}")
        } else {
            format!(
                "it speaks of generation {} of the spec: {said}",
                condition.observed_generation.unwrap_or_default()
            )
        }
    }

    /// What is worth knowing of a section in which all is well.
    fn detail(&self, section: Section) -> String {
        let ago = |at: Timestamp| age(self.now.duration_since(at));
        let status = self.status;
        match section {
            Section::Spec => format!(
                "accepted, generation {}",
                status.observed_generation.unwrap_or_default()
            ),
            Section::Residency => self.closed_channels(),
            Section::Network => self.message("NetworkEnforced"),
            Section::Postgres => status.postgres.as_ref().map_or_else(
                || self.message("PostgresAvailable"),
                |postgres| {
                    format!(
                        "primary {}, {}",
                        postgres.primary.as_deref().unwrap_or("none"),
                        counted(postgres.instances.len(), "member")
                    )
                },
            ),
            Section::ObjectStore => status.object_store.as_ref().map_or_else(
                || self.message("ObjectStoreAvailable"),
                |store| {
                    format!(
                        "{} ready at {}",
                        counted(usize::try_from(store.ready).unwrap_or_default(), "server"),
                        store.endpoint
                    )
                },
            ),
            Section::Archive => {
                let backup = status.backup.as_ref();
                let restorable = backup
                    .and_then(|backup| backup.latest_restorable)
                    .map_or_else(
                        || "nothing restorable yet".to_owned(),
                        |at| format!("restorable to {} ago", ago(at)),
                    );
                let full = backup
                    .and_then(|backup| backup.repos.first())
                    .and_then(|repo| repo.last_full.as_ref())
                    .map_or_else(
                        || "no full backup yet".to_owned(),
                        |full| format!("full backup {} ago", ago(full.at)),
                    );
                format!("{restorable}, {full}")
            }
            Section::Certificates => status
                .certificates
                .as_ref()
                .and_then(|certificates| certificates.soonest_expiry)
                .map_or_else(
                    || self.message("CertificatesValid"),
                    |expiry| {
                        format!(
                            "the first expires in {}",
                            age(expiry.duration_since(self.now))
                        )
                    },
                ),
            Section::Operation => self.message("Degraded"),
        }
    }

    fn closed_channels(&self) -> String {
        let audit = self.audit;
        if !audit.closed {
            return audit.reasons.join("; ");
        }
        let excepted = match audit.count(RowResult::Excepted) {
            0 => String::new(),
            count => {
                let next = audit
                    .channels
                    .iter()
                    .filter(|row| row.result == RowResult::Excepted)
                    .filter_map(|row| row.exception.as_ref())
                    .map(|exception| exception.expires)
                    .min();
                let until = next.map_or_else(String::new, |at| {
                    let left: SignedDuration = at.duration_since(self.now);
                    format!(" (the next expires in {})", age(left))
                });
                format!(", {count} by exception{until}")
            }
        };
        format!(
            "{} channels closed{excepted}, {} not demanded at {:?}",
            audit.count(RowResult::Ok),
            audit.count(RowResult::NotDemanded),
            audit.demanded_by
        )
    }
}

/// `3 members`, `1 member`.
fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
