//! Whether WAL reaches the archive, and up to when a restore is possible, from what the primary says. Values in,
//! verdict out; no I/O.

use jiff::{SignedDuration, Timestamp};

use crate::facts::postgres::ArchiverFact;

/// How long a finished WAL file may wait while nothing is archived, before archiving is said to fail. Postgres tries
/// again every second and every minute; a verdict is due 60 s after the fault, and the operator looks every 15 s.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);

/// How long it may wait after an attempt has failed: the first of three attempts, a second apart, often is enough.
const PATIENCE_AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

/// The steps in which `latestRestorable` moves, in seconds: the status is not written for every WAL file.
const RESTORABLE_STEP: i64 = 300;

/// Whether WAL reaches the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiverHealth {
    /// It does, or there is none to archive.
    Working,
    /// It does not.
    Failing {
        /// Why.
        reason: ArchiveFailure,
        /// Since when nothing, or not enough, was archived.
        since: Timestamp,
    },
    /// The server does not archive because it replays WAL, or it was not read.
    Unknown,
}

/// Why WAL does not reach the archive. A closed list: it goes into the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArchiveFailure {
    /// `archive_mode` is off.
    Disabled,
    /// The archive command reports failures.
    CommandFailed,
    /// WAL waits and the archive command neither succeeds nor fails: it hangs, or is not run.
    Stalled,
    /// WAL is archived, but the oldest that waits has waited longer than the recovery point objective.
    Behind,
    /// WAL may stay in a file that is not full for longer than the recovery point objective (`archive_timeout`).
    TimeoutTooLong,
}

impl ArchiveFailure {
    /// The CamelCase word for conditions and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "ArchivingDisabled",
            Self::CommandFailed => "ArchiveCommandFailed",
            Self::Stalled => "ArchivingStalled",
            Self::Behind => "ArchivingBehind",
            Self::TimeoutTooLong => "ArchiveTimeoutTooLong",
        }
    }
}

/// Judges the archive.
///
/// `pg_stat_archiver` alone misses an archive command that hangs, says nothing of an idle database and starts anew
/// after a failover. So it is the files that wait (`archive_status/*.ready`) that count, with the statistics only to
/// tell progress from none and failures from silence. A database with nothing to archive has no such file, and works.
///
/// `rpo` is `spec.backup.rpo`. The moments in the verdict are by the server's clock.
#[must_use]
pub fn archive_health(
    seen: &ArchiverFact,
    in_recovery: bool,
    rpo: SignedDuration,
) -> ArchiverHealth {
    if in_recovery {
        return ArchiverHealth::Unknown;
    }
    // Ages are told by the server's own clock: the operator's may differ.
    let now = seen.read_at;
    let failing = |reason, since| ArchiverHealth::Failing { reason, since };
    if !seen.enabled {
        return failing(ArchiveFailure::Disabled, now);
    }
    if let Some(waiting_since) = seen.waiting_since {
        // Progress ends the wait of those that came before: from then on the oldest is next in turn.
        let idle_since = seen
            .last_archived_at
            .map_or(waiting_since, |last| last.max(waiting_since));
        let idle = now.duration_since(idle_since);
        let failed_last = seen
            .last_failed_at
            .is_some_and(|failed| seen.last_archived_at.is_none_or(|last| failed > last));
        if failed_last && idle >= PATIENCE_AFTER_FAILURE {
            return failing(ArchiveFailure::CommandFailed, idle_since);
        }
        if idle >= PATIENCE {
            return failing(ArchiveFailure::Stalled, idle_since);
        }
        if now.duration_since(waiting_since) > rpo {
            return failing(ArchiveFailure::Behind, waiting_since);
        }
    }
    let timeout = SignedDuration::from_secs(seen.timeout_seconds);
    if timeout.is_zero() || timeout > rpo {
        let since = seen.archived_through.unwrap_or(now);
        return failing(ArchiveFailure::TimeoutTooLong, since);
    }
    ArchiverHealth::Working
}

/// A moment to which a restore is possible at least, in steps of five minutes: when the newest archived WAL file was
/// finished. Never before `previous`, which stays true when the server no longer knows better (after a failover, or
/// when nothing was written for long).
#[must_use]
pub fn latest_restorable(
    archiver: &ArchiverFact,
    previous: Option<Timestamp>,
) -> Option<Timestamp> {
    let through = archiver.archived_through.and_then(|finished| {
        let second = finished.as_second();
        Timestamp::from_second(second - second.rem_euclid(RESTORABLE_STEP)).ok()
    });
    through.max(previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RPO: SignedDuration = SignedDuration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// An archive at second 1000 that archived a file at 900 and has nothing to do.
    fn idle() -> ArchiverFact {
        ArchiverFact {
            enabled: true,
            timeout_seconds: 60,
            last_archived: Some("000000010000000000000003".to_owned()),
            last_archived_at: Some(at(900)),
            archived_through: Some(at(899)),
            read_at: at(1000),
            ..ArchiverFact::default()
        }
    }

    fn waiting(since: i64) -> ArchiverFact {
        ArchiverFact {
            waiting: 1,
            waiting_since: Some(at(since)),
            ..idle()
        }
    }

    fn failing(reason: ArchiveFailure, since: i64) -> ArchiverHealth {
        ArchiverHealth::Failing {
            reason,
            since: at(since),
        }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "one table of cases")]
    fn the_archive_is_judged_by_what_waits() {
        use ArchiveFailure::{Behind, CommandFailed, Disabled, Stalled, TimeoutTooLong};
        let cases: Vec<(&str, ArchiverFact, ArchiverHealth)> = vec![
            ("idle", idle(), ArchiverHealth::Working),
            (
                "idle for a year",
                ArchiverFact {
                    read_at: at(31_536_000),
                    ..idle()
                },
                ArchiverHealth::Working,
            ),
            (
                "never archived, nothing to archive (after a failover)",
                ArchiverFact {
                    last_archived: None,
                    last_archived_at: None,
                    archived_through: None,
                    ..idle()
                },
                ArchiverHealth::Working,
            ),
            (
                "old failures, long mended",
                ArchiverFact {
                    failures: 7,
                    last_failed_at: Some(at(800)),
                    ..idle()
                },
                ArchiverHealth::Working,
            ),
            (
                "a failure with nothing waiting",
                ArchiverFact {
                    failures: 7,
                    last_failed_at: Some(at(950)),
                    ..idle()
                },
                ArchiverHealth::Working,
            ),
            (
                "just finished a file",
                waiting(1000),
                ArchiverHealth::Working,
            ),
            ("waits a little", waiting(981), ArchiverHealth::Working),
            ("waits too long", waiting(980), failing(Stalled, 980)),
            ("hangs for long", waiting(905), failing(Stalled, 905)),
            (
                "waits since before the last success: the next in turn",
                ArchiverFact {
                    last_archived_at: Some(at(990)),
                    ..waiting(905)
                },
                ArchiverHealth::Working,
            ),
            (
                "progressed, then hung",
                ArchiverFact {
                    last_archived_at: Some(at(970)),
                    ..waiting(905)
                },
                failing(Stalled, 970),
            ),
            (
                "the first attempt failed a moment ago",
                ArchiverFact {
                    failures: 1,
                    last_failed_at: Some(at(999)),
                    ..waiting(998)
                },
                ArchiverHealth::Working,
            ),
            (
                "attempts fail",
                ArchiverFact {
                    failures: 3,
                    last_failed_at: Some(at(999)),
                    ..waiting(995)
                },
                failing(CommandFailed, 995),
            ),
            (
                "attempts have failed since the server began",
                ArchiverFact {
                    failures: 3,
                    last_failed_at: Some(at(999)),
                    last_archived_at: None,
                    ..waiting(900)
                },
                failing(CommandFailed, 900),
            ),
            (
                "hangs after failures that were mended",
                ArchiverFact {
                    failures: 3,
                    last_failed_at: Some(at(850)),
                    ..waiting(950)
                },
                failing(Stalled, 950),
            ),
            (
                "keeps up with less than what is written",
                ArchiverFact {
                    waiting: 900,
                    last_archived_at: Some(at(999)),
                    ..waiting(600)
                },
                failing(Behind, 600),
            ),
            (
                "as far behind as it may be",
                ArchiverFact {
                    waiting: 900,
                    last_archived_at: Some(at(999)),
                    ..waiting(700)
                },
                ArchiverHealth::Working,
            ),
            (
                "off",
                ArchiverFact {
                    enabled: false,
                    ..idle()
                },
                failing(Disabled, 1000),
            ),
            (
                "may keep WAL for ever",
                ArchiverFact {
                    timeout_seconds: 0,
                    ..idle()
                },
                failing(TimeoutTooLong, 899),
            ),
            (
                "may keep WAL for longer than the objective",
                ArchiverFact {
                    timeout_seconds: 301,
                    ..idle()
                },
                failing(TimeoutTooLong, 899),
            ),
            (
                "may keep WAL for as long as the objective",
                ArchiverFact {
                    timeout_seconds: 300,
                    ..idle()
                },
                ArchiverHealth::Working,
            ),
        ];
        for (case, archiver, expected) in cases {
            assert_eq!(archive_health(&archiver, false, RPO), expected, "{case}");
            assert_eq!(
                archive_health(&archiver, true, RPO),
                ArchiverHealth::Unknown,
                "{case}"
            );
        }
    }

    #[test]
    fn a_failure_is_told_within_a_minute() {
        // The store stops at second 0 while Postgres writes: the next file is finished after at most some seconds,
        // and the operator looks every 15 s.
        for finished in 0..=20 {
            let archiver = |now: i64| ArchiverFact {
                last_archived_at: Some(at(-5)),
                read_at: at(now),
                ..waiting(finished)
            };
            let told = (0..=4)
                .map(|look| look * 15)
                .find(|now| archive_health(&archiver(*now), false, RPO) != ArchiverHealth::Working);
            assert!(
                told.is_some_and(|told| told <= 60),
                "finished at {finished}: {told:?}"
            );
        }
    }

    #[test]
    fn since_does_not_move_while_it_lasts() {
        for now in 1000..1100 {
            let archiver = ArchiverFact {
                read_at: at(now),
                ..waiting(905)
            };
            assert_eq!(
                archive_health(&archiver, false, RPO),
                failing(ArchiveFailure::Stalled, 905)
            );
        }
    }

    #[test]
    fn the_latest_restorable_moment_is_floored_and_never_goes_back() {
        let through = |second: i64| ArchiverFact {
            archived_through: Timestamp::from_second(second).ok(),
            ..ArchiverFact::default()
        };
        let time = |second: i64| Timestamp::from_second(second).ok();
        assert_eq!(latest_restorable(&through(1499), None), time(1200));
        assert_eq!(latest_restorable(&through(1500), None), time(1500));
        assert_eq!(latest_restorable(&through(1799), time(1500)), time(1500));
        assert_eq!(latest_restorable(&through(1200), time(1500)), time(1500));
        assert_eq!(
            latest_restorable(&ArchiverFact::default(), time(1500)),
            time(1500)
        );
        assert_eq!(latest_restorable(&ArchiverFact::default(), None), None);
    }
}
