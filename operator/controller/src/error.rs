//! What can go wrong, one variant a step of the pipeline. Nothing here carries a secret or data of users.

use bailiwick_model::facts::{ReadFailure, Unread};
pub use bailiwick_model::requeue::Retry;

use crate::cause;

/// The statuses of HTTP that say nothing of the object: who we are is not known, somebody else wrote in between, or the
/// server has too much to do (<https://kubernetes.io/docs/reference/using-api/api-concepts/>).
const OF_THE_SERVER: [u16; 5] = [401, 409, 429, 503, 504];

/// A step that was not done, and that nothing of Kubernetes waits for. It carries no secret and no data of users.
#[derive(Debug, thiserror::Error)]
#[error("{system}: {what}: {}", failure.as_str())]
pub struct StepError {
    /// `object store`, `postgres`, `patroni` or `volumes`.
    pub system: &'static str,
    /// What was to be done, for example `create bucket documents`.
    pub what: String,
    /// Why it was not.
    pub failure: ReadFailure,
    /// The cause, for the log alone: it may quote what a server said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StepError {
    /// The cause as a code of the system's documented interface, which quotes nothing: it may stand in the status.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        cause::unread(self.failure, self.source.as_deref()).cause
    }

    /// A step that could not begin, since there is no client of the system.
    #[must_use]
    pub fn unconnected(system: &'static str, unread: Unread) -> Self {
        Self {
            system,
            what: "connect".to_owned(),
            failure: unread.failure,
            source: unread.cause.map(|cause| cause::Cause(cause).into()),
        }
    }
}

/// Why a reconcile stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This replica does not hold the Lease, so it writes nothing.
    #[error("this replica does not hold the Lease")]
    NotLeader,
    /// Something of the Region could not be read.
    #[error("cannot read {what}")]
    Observe {
        /// The object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A Secret could not be made.
    #[error("cannot make Secret {name}")]
    Mint {
        /// The Secret.
        name: String,
        /// Why.
        #[source]
        source: MintError,
    },
    /// An object could not be applied.
    #[error("cannot apply {object}")]
    Apply {
        /// The object, as `Kind/name`.
        object: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object could not be deleted.
    #[error("cannot delete {object}")]
    Delete {
        /// The object, as `Kind/name`.
        object: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The status could not be written.
    #[error("cannot write the status")]
    Status {
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Why a Secret could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The API server refused it.
    #[error("the API server refused it")]
    Api(#[source] Box<kube::Error>),
    /// A certificate could not be made.
    #[error("the certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// The Region's authority is missing or unreadable.
    #[error("the Region's authority is missing or unreadable: restore Secret {0} from your copy")]
    Authority(String),
    /// A key that was deleted is not remembered.
    #[error("the values that it had are not remembered: restore it from your copy")]
    Forgotten,
}

impl Error {
    /// When to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.status() {
            None if matches!(self, Self::NotLeader) => Retry::Soon,
            Some(status) if status.is_conflict() => Retry::Soon,
            Some(status) if status.is_forbidden() || status.is_invalid() => Retry::OnChange,
            _ => Retry::Later,
        }
    }

    /// What the API server said, if it was it.
    #[must_use]
    pub fn status(&self) -> Option<&kube::core::Status> {
        let source = match self {
            Self::NotLeader
            | Self::Mint {
                source:
                    MintError::Certificate(_)
                    | MintError::Randomness
                    | MintError::Authority(_)
                    | MintError::Forgotten,
                ..
            } => return None,
            Self::Mint {
                source: MintError::Api(source),
                ..
            }
            | Self::Observe { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. }
            | Self::Status { source } => source,
        };
        match source.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The answer with which the API server refused this one object, as codes and without values: others may fare better.
    /// None when there was no answer, when somebody else wrote in between, or when it would answer anything else so as well.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::NotLeader | Self::Status { .. } => None,
            Self::Mint { source, .. } if !matches!(source, MintError::Api(_)) => {
                (!matches!(source, MintError::Randomness)).then(|| source.to_string())
            }
            _ => {
                let answer = self.status()?;
                (!OF_THE_SERVER.contains(&answer.code)).then(|| cause::api_server(answer))
            }
        }
    }

    /// A closed word for metrics and for the condition's reason.
    #[must_use]
    pub const fn metric_label(&self) -> &'static str {
        match self {
            Self::NotLeader => "NotLeader",
            Self::Observe { .. } => "ObserveFailed",
            Self::Mint { .. } => "MintFailed",
            Self::Apply { .. } => "ApplyFailed",
            Self::Delete { .. } => "DeleteFailed",
            Self::Status { .. } => "StatusFailed",
        }
    }

    /// What goes into the status and the log: the object, and the API server's closed reason word with the fields that it
    /// refused, or why there was no answer; never free text, which may quote values.
    #[must_use]
    pub fn summary(&self) -> String {
        let known = match self {
            Self::NotLeader => None,
            Self::Mint {
                source:
                    source @ (MintError::Certificate(_)
                    | MintError::Randomness
                    | MintError::Authority(_)
                    | MintError::Forgotten),
                ..
            } => Some(source.to_string()),
            _ => cause::cause(self),
        };
        match known {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}
