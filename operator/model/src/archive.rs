//! Whether WAL arrives in the bucket, judged from what was observed. No I/O.

use jiff::Timestamp;

use crate::facts::Facts;
use crate::plan::Plan;
use crate::region::BackupRecord;

/// What the archive does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// WAL arrives.
    Working {
        /// A moment to which a restore is possible at least.
        latest_restorable: Option<Timestamp>,
    },
    /// WAL does not arrive.
    Failing {
        /// Why, as far as can be told.
        reason: ArchiveReason,
        /// Since when.
        since: Timestamp,
    },
    /// It could not be told.
    Unknown {
        /// Why.
        reason: ArchiveReason,
    },
}

/// Why WAL does not arrive, or why that cannot be told. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveReason {
    /// The stanza is not there yet.
    StanzaPending,
    /// The object store does not answer.
    StoreUnavailable,
    /// Finished WAL files wait for longer than they should.
    WalWaiting,
    /// The archive command fails.
    CommandFailing,
    /// The primary could not be asked.
    NotRead,
}

impl ArchiveReason {
    /// The CamelCase word of the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StanzaPending => "StanzaPending",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::WalWaiting => "WalWaiting",
            Self::CommandFailing => "CommandFailing",
            Self::NotRead => "NotRead",
        }
    }
}

/// What the archive does, from what was observed.
#[must_use]
pub fn archive(plan: &Plan, facts: &Facts) -> Archive {
    let _ = (plan, facts);
    Archive::Unknown {
        reason: ArchiveReason::NotRead,
    }
}

/// The newest full backup that a Job reported.
#[must_use]
pub fn full_backup(plan: &Plan, facts: &Facts) -> Option<BackupRecord> {
    let _ = (plan, facts);
    None
}
