//! The conditions of Postgres. What was planned and seen in, verdicts out; no I/O.

use bailiwick_api::settings;

use crate::condition::starting::starting;
use crate::condition::{CREDENTIALS_REPLACED, State, Verdict};
use crate::facts::patroni::{MemberFact, PatroniFacts, UNREACHABLE};
use crate::facts::{Facts, Observed, ReadFailure, Unread};
use crate::outcome::Applied;
use crate::plan::Plan;

pub(crate) fn postgres(applied: &Applied<'_>) -> Verdict {
    let facts = applied.facts;
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::False,
            "Hibernated",
            "Postgres is stopped on purpose.",
        );
    }
    match (&facts.patroni, &facts.postgres) {
        (Observed::Seen(_), Observed::Seen(seen)) if seen.in_recovery => Verdict::new(
            State::False,
            "NoPrimary",
            "The server that the Service of the primary leads to replays WAL and takes no writes; Patroni will promote one.",
        ),
        (Observed::Seen(patroni), Observed::Seen(_)) => match patroni.primary() {
            Some(primary) => Verdict::new(
                State::True,
                "PrimaryRunning",
                format!("{primary} is the primary."),
            ),
            None => no_primary(patroni),
        },
        (Observed::Seen(patroni), _) if patroni.primary().is_none() => no_primary(patroni),
        (Observed::NotAsked, _) => starting(
            applied,
            &applied.plan.names.postgres(),
            "The members are not up yet.",
        ),
        (Observed::Failed(unread), _) => Verdict::new(
            State::Unknown,
            unread.failure.as_str(),
            format!(
                "Patroni could not be read: {unread}. See the pods of {}.",
                applied.plan.names.postgres()
            ),
        ),
        (_, Observed::Failed(unread)) if unread.failure == ReadFailure::Unauthenticated => {
            passwords_refused(applied, unread)
        }
        (Observed::Seen(patroni), Observed::Failed(unread)) => Verdict::new(
            State::Unknown,
            unread.failure.as_str(),
            format!(
                "The primary {} could not be asked over SQL: {unread}. See docs/runbooks/postgres-available.md.",
                patroni.primary().unwrap_or_default()
            ),
        ),
        (Observed::Seen(_), Observed::NotAsked) => {
            Verdict::new(State::False, "Starting", "The primary is not up yet.")
        }
    }
}

/// No member that answers leads; one that does not answer may.
pub(crate) fn no_primary(patroni: &PatroniFacts) -> Verdict {
    let silent: Vec<&str> = patroni
        .members
        .iter()
        .filter(|(_, member)| member.state == UNREACHABLE)
        .map(|(name, _)| name.as_str())
        .collect();
    let message = if patroni.in_maintenance() {
        "No member is a running primary, and Patroni elects none while it is in its maintenance mode (pause): see condition \
         Degraded."
            .to_owned()
    } else if silent.is_empty() {
        "No member is a running primary; Patroni will elect one.".to_owned()
    } else {
        format!(
            "No member that answers is a running primary; Patroni will elect one, unless one leads that does not answer: {}. \
             See the pod and condition CertificatesValid.",
            silent.join(", ")
        )
    };
    Verdict::new(State::False, "NoPrimary", message)
}

/// The database does not take the operator's password.
pub(crate) fn passwords_refused(applied: &Applied<'_>, unread: &Unread) -> Verdict {
    let secret = applied.plan.names.postgres_internal();
    let edited = applied
        .facts
        .secrets
        .get(&secret)
        .and_then(|fact| fact.edited);
    let (reason, since) = match edited {
        Some(edited) => (CREDENTIALS_REPLACED, format!(", edited at {edited}")),
        None => (ReadFailure::Unauthenticated.as_str(), String::new()),
    };
    Verdict::new(
        State::Unknown,
        reason,
        format!(
            "The database does not take control-password of Secret {secret}{since} ({unread}): its roles have the passwords from \
             before. Put those back into the Secret, or set the Secret's in the database: \
             docs/runbooks/replaced-credentials.md."
        ),
    )
}

pub(crate) fn pending_restart(plan: &Plan, facts: &Facts) -> Verdict {
    let Some(patroni) = facts.patroni.seen() else {
        return Verdict::new(State::Unknown, "NotRead", "Patroni has not been read.");
    };
    let rest = settings_changed(patroni).unwrap_or_else(|| in_force(plan, facts));
    match setting_refused(facts) {
        Some(refused) if rest.state == State::True => Verdict {
            message: format!("{} Also {}: {}", refused.message, rest.reason, rest.message),
            ..refused
        },
        Some(refused) => refused,
        None => rest,
    }
}

/// The settings that wait for restarts; none when no member does.
pub(crate) fn settings_changed(patroni: &PatroniFacts) -> Option<Verdict> {
    let waiting = |member: &&MemberFact| member.pending_restart;
    let count = patroni.members.values().filter(waiting).count();
    if count == 0 {
        return None;
    }
    let settings: Vec<&str> = patroni.pending_settings().into_iter().collect();
    let settings = if settings.is_empty() {
        "Settings".to_owned()
    } else {
        settings.join(", ")
    };
    Some(Verdict::new(
        State::True,
        "SettingsChanged",
        format!("{settings}: in force once {count} members have restarted, replicas first."),
    ))
}

/// Whether the server's files have a setting that it cannot take: whatever else waits for a restart waits for that.
pub(crate) fn setting_refused(facts: &Facts) -> Option<Verdict> {
    let running = facts.postgres.seen()?.running.as_ref()?;
    let refused: Vec<String> = running
        .not_taken()
        .map(|(name, error)| format!("{name}: {error}"))
        .collect();
    (!refused.is_empty()).then(|| {
        Verdict::new(
            State::True,
            "SettingRefused",
            format!(
                "{}: stands in the server's files, and the server cannot take it: a member that restarts would not come \
                 up, so none is restarted; take it out.",
                refused.join("; ")
            ),
        )
    })
}

/// Whether the primary has every setting of the spec, as it was read back: what Patroni was told is not yet in force.
pub(crate) fn in_force(plan: &Plan, facts: &Facts) -> Verdict {
    let wanted = &plan.spec.postgres.parameters;
    let Some(running) = facts.postgres.seen().and_then(|it| it.running.as_ref()) else {
        return if wanted.is_empty() {
            Verdict::new(State::False, "UpToDate", "Nothing waits for a restart.")
        } else {
            Verdict::new(
                State::Unknown,
                "NotRead",
                "Whether the settings are in force could not be read over SQL.",
            )
        };
    };
    let other: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| {
            let shown = running.values.get(*name).map(String::as_str);
            settings::allowed(name)
                .is_some_and(|setting| !settings::is_shown(setting, &value.to_string(), shown))
        })
        .map(|(name, _)| name.clone())
        .collect();
    if other.is_empty() {
        return Verdict::new(State::False, "UpToDate", "Every setting is in force.");
    }
    Verdict::new(
        State::True,
        "NotInForce",
        format!(
            "{}: the primary does not show the spec's value yet (pg_settings).",
            other.join(", ")
        ),
    )
}
