//! What is wrong with a Region, as data. Values in, values out; no I/O.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a Region is not accepted: the value of the condition's `reason`. A closed list, so that
/// alerts and runbooks can name each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The Region's location is not one that this cluster's operator serves.
    NotThisCluster,
    /// The Region's namespaces, or the operator's rights in them, are missing.
    NotDelegated,
    /// A place (node, storage class, endpoint, bucket, image registry) is outside the Region's locations.
    OutsideJurisdiction,
    /// A named object of the cluster does not exist or has not the needed shape.
    NotFound,
    /// A volume of another jurisdiction, location or database system is in the way.
    ForeignVolume,
    /// A key Secret is gone while data that needs it exists.
    KeyMissing,
    /// Nothing is known of the start fence's responder, against which a pod is seen to be closed off.
    FenceResponderMissing,
    /// A pod runs that did not start behind the fence. Said of pods, in the evidence log; no Region is refused for it.
    Unfenced,
    /// A value of the spec contradicts another or is not supported.
    Invalid,
    /// The API server took a value that the operator cannot decode.
    Undecodable,
}

impl Reason {
    /// The CamelCase word of the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotThisCluster => "NotThisCluster",
            Self::NotDelegated => "NotDelegated",
            Self::OutsideJurisdiction => "OutsideJurisdiction",
            Self::NotFound => "NotFound",
            Self::ForeignVolume => "ForeignVolume",
            Self::KeyMissing => "KeyMissing",
            Self::FenceResponderMissing => "FenceResponderMissing",
            Self::Unfenced => "Unfenced",
            Self::Invalid => "Invalid",
            Self::Undecodable => "Undecodable",
        }
    }
}

/// One reason why a Region is refused. A correct outcome, not an error; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The path in the Region, for example `spec.postgres.storage.data.storageClass`.
    pub field: String,
    /// What kind of violation it is.
    pub reason: Reason,
    /// What was found, what was expected and what to do next.
    pub message: String,
}

impl Violation {
    /// A violation at `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
