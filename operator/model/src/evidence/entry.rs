//! What a record can say: a closed list of events with typed fields. There is no field for free text, so neither an
//! error's message nor data of users can get into the log. Values in, values out; no I/O.

use std::fmt;

use bailiwick_api::region::Assurance;
pub use bailiwick_api::region::ChannelState;
use bailiwick_api::violation::Reason;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Hash, KeyId, PublicKey};
pub use crate::canary::question::Class;
pub use crate::flow::Guise;

/// The highest number of a leakage channel; they are counted from 1.
pub const CHANNELS: u8 = 46;

/// Something that happened and that an auditor may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Entry {
    /// The chain begins. The first record, and no other.
    ChainStarted {
        /// The key that signs it and what follows.
        public_key: PublicKey,
        /// The Region's jurisdiction.
        jurisdiction: Name,
        /// The Region's location.
        location: Name,
    },
    /// Another key signs from here on. Signed with the key before, which vouches for the new one; or with the new
    /// one, when the one before is lost: then nobody vouches for it but who names it when verifying.
    KeyRotated {
        /// The key before.
        previous_key: KeyId,
        /// The key that signs what follows.
        public_key: PublicKey,
    },
    /// Something is against the Region's residency, or the Region was refused for it.
    Violation {
        /// The channel that it opens; none when no data can leave by it.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<Channel>,
        /// What kind of violation it is.
        reason: Reason,
        /// What it was found in.
        object: ObjectRef,
        /// The path in that object; none when it is the object itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<Name>,
    },
    /// An exception came into the spec.
    ExceptionGranted {
        /// The channel.
        channel: Channel,
        /// Who approved it, as the spec says.
        approver: Name,
        /// Until when it holds.
        expires: Timestamp,
    },
    /// An exception is over; its channel is blocked again.
    ExceptionExpired {
        /// The channel.
        channel: Channel,
        /// When it was over.
        expires: Timestamp,
    },
    /// An exception left the spec before it was over; its channel is blocked again. Until when it would have held is in the
    /// record that granted it.
    ExceptionWithdrawn {
        /// The channel.
        channel: Channel,
    },
    /// A canary ran: all that it tried, in one record.
    Canary {
        /// The uid of its Job. A run that was recorded twice is known by it.
        run: Name,
        /// What it passed for.
        guise: Guise,
        /// The node that it ran on; none when nothing says it.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// When it ended, in whole seconds; none when nothing says it.
        #[serde(skip_serializing_if = "Option::is_none")]
        ended: Option<Timestamp>,
        /// What came of it as a whole.
        answer: CanaryAnswer,
        /// What it tried, in the order of its question; nothing unless it answered.
        tries: Vec<CanaryTry>,
    },
    /// Where something of the Region was found to be.
    Placement {
        /// The pod or volume.
        object: ObjectRef,
        /// The node that it is on; none for what has no node, or may be on several.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// The location of that; none when nothing says it.
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<Name>,
        /// Whether that is where the Region's policy wants it.
        admitted: bool,
    },
    /// What is known of a leakage channel changed.
    ChannelChanged {
        /// The channel.
        channel: Channel,
        /// What was known before.
        from: ChannelState,
        /// What is known now.
        to: ChannelState,
        /// What that was seen from.
        evidence: Observation,
    },
    /// The computed assurance changed.
    AssuranceChanged {
        /// What it was; none at first.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Assurance>,
        /// What it is.
        to: Assurance,
    },
    /// A leak was proven, or its cause is gone.
    Breach {
        /// The channel.
        channel: Channel,
        /// What was done.
        action: BreachAction,
    },
    /// The Region was told to end: its pods go next, and its data stays. What follows is of a Region made anew.
    RegionDeleted {
        /// The uid of the Region.
        region: Name,
        /// When it was asked for.
        asked: Timestamp,
    },
    /// A Region made anew took up the data of one before it: the first record after that. Whether the end of the one before
    /// was recorded is told by what precedes it, a `RegionDeleted` or none.
    RegionReadopted {
        /// The uid of the Region that was made anew.
        region: Name,
        /// When it was made.
        made: Timestamp,
        /// How many volume claims of the one before it took up.
        claims: u32,
    },
    /// A restore was rehearsed.
    Drill {
        /// The backup that was restored, by its label.
        backup: Name,
        /// Where it was restored.
        location: Name,
        /// How it went.
        outcome: DrillOutcome,
        /// The moment that was restored to; none when it was not reached.
        #[serde(skip_serializing_if = "Option::is_none")]
        restored_to: Option<Timestamp>,
        /// How long it took, in seconds.
        seconds: u32,
        /// The SHA-256 of what was compared; none when nothing was.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Hash>,
        /// When the copy was destroyed; none while it is there.
        #[serde(skip_serializing_if = "Option::is_none")]
        destroyed_at: Option<Timestamp>,
    },
}

impl Entry {
    /// Its word, as `entry.kind` has it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ChainStarted { .. } => "ChainStarted",
            Self::KeyRotated { .. } => "KeyRotated",
            Self::Violation { .. } => "Violation",
            Self::ExceptionGranted { .. } => "ExceptionGranted",
            Self::ExceptionExpired { .. } => "ExceptionExpired",
            Self::ExceptionWithdrawn { .. } => "ExceptionWithdrawn",
            Self::Canary { .. } => "Canary",
            Self::Placement { .. } => "Placement",
            Self::ChannelChanged { .. } => "ChannelChanged",
            Self::AssuranceChanged { .. } => "AssuranceChanged",
            Self::Breach { .. } => "Breach",
            Self::RegionDeleted { .. } => "RegionDeleted",
            Self::RegionReadopted { .. } => "RegionReadopted",
            Self::Drill { .. } => "Drill",
        }
    }
}

/// A name of the cluster or the spec: 1 to 253 letters, digits and `-._:/@[]` of ASCII. A sentence does not fit, since
/// it has blanks; nor does what a server says, since nothing but a name has this type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name.
    ///
    /// # Errors
    /// It is empty, too long or has another character.
    pub fn new(name: impl Into<String>) -> Result<Self, NotAName> {
        let name = name.into();
        let fits = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:/@[]".contains(&byte));
        ((1..=253).contains(&name.len()) && fits)
            .then_some(Self(name))
            .ok_or(NotAName)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(name: String) -> Result<Self, NotAName> {
        Self::new(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// A text is no name. It does not hold the text, which may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name of 1 to 253 letters, digits and -._:/@[]; record the object's name, not what was said of it"
)]
pub struct NotAName;

/// A leakage channel by its number in docs/residency.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Channel(u8);

impl Channel {
    /// The channel of a number.
    ///
    /// # Errors
    /// The number is 0 or above [`CHANNELS`].
    pub fn new(number: u8) -> Result<Self, NotAChannel> {
        (1..=CHANNELS)
            .contains(&number)
            .then_some(Self(number))
            .ok_or(NotAChannel)
    }
}

impl TryFrom<u8> for Channel {
    type Error = NotAChannel;

    fn try_from(number: u8) -> Result<Self, NotAChannel> {
        Self::new(number)
    }
}

impl From<Channel> for u8 {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

/// A number is not one of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of a channel, 1 to {CHANNELS}")]
pub struct NotAChannel;

/// What the state of a channel was seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Observation {
    /// A canary's last try.
    Canary,
    /// Objects read back from the API server.
    Objects,
    /// The object store's own answers.
    ObjectStore,
    /// Postgres' own answers.
    Postgres,
    /// The operator's own rights, as the API server says them.
    Rights,
    /// An exception of the spec.
    Spec,
    /// Nothing could be seen.
    Nothing,
}

/// An object of the cluster or the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// Its kind, for example `Pod`, `PersistentVolume` or `Bucket`.
    pub kind: Name,
    /// Its namespace; none for what has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its name.
    pub name: Name,
}

/// What came of a canary's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CanaryAnswer {
    /// It answered what it was asked.
    Given,
    /// It answered a question that was not asked any more: the boundary, or what is around it, had changed meanwhile.
    /// Such an answer says nothing of either.
    Outdated,
    /// It gave no answer that can be read, which proves nothing.
    Missing,
}

/// One thing that a canary tried. Which pod, node or address it was is in the canary's question, of a class eight at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryTry {
    /// What it tried to reach. Its own node is left out, which is always open to it.
    pub target: Class,
    /// What the boundary says.
    pub expected: Reach,
    /// What happened; none when the attempt could not be made, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Reach>,
}

/// Whether something was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reach {
    /// It answered.
    Reached,
    /// It did not.
    Blocked,
}

/// What was done about a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BreachAction {
    /// It was seen; dropping flows would not stop it.
    Detected,
    /// The flows that it went by were dropped.
    Quarantined,
    /// Its cause is gone, and the flows are open again.
    Released,
}

/// How a drill went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DrillOutcome {
    /// The copy is what was expected.
    Passed,
    /// It could not be restored.
    RestoreFailed,
    /// It could be restored, and is not what was expected.
    ContentsDiffer,
    /// It took longer than allowed.
    TimedOut,
}
