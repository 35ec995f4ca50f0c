//! Why a call of the admin API failed. It quotes no body, no URL and no key.

use crate::seal::SealError;

/// The most bytes that an answer may have: a policy list of a thousand users has a few hundred kilobytes.
pub const ANSWER_LIMIT: usize = 8 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not a URL.
    #[error("the endpoint is not a URL")]
    Endpoint,
    /// The HTTP client refused the settings of TLS that it was given.
    #[error("the HTTP client could not be made")]
    Tls,
    /// The request could not be signed.
    #[error("the request could not be signed")]
    Signature,
    /// The call had no answer, or only a part of one.
    #[error("no whole answer")]
    Unanswered {
        /// Whether it is because it took longer than [`CONNECT_TIMEOUT`](crate::CONNECT_TIMEOUT) or
        /// [`CALL_TIMEOUT`](crate::CALL_TIMEOUT).
        timed_out: bool,
        /// What the HTTP client says, without the URL, which holds names of buckets and users.
        source: reqwest::Error,
    },
    /// The store answered with an error.
    #[error("HTTP {status}, code {code:?}")]
    Answered {
        /// The status of HTTP.
        status: u16,
        /// The store's own code, for example `XMinioAdminNoSuchUser`; empty when it gave none, or one that is not a single
        /// word of at most 64 letters and digits.
        code: String,
    },
    /// The answer is longer than [`ANSWER_LIMIT`].
    #[error("an answer of more than {} MiB", ANSWER_LIMIT >> 20)]
    TooLong,
    /// The answer is not what the operation answers.
    #[error("{operation}: its answer is of another form")]
    Malformed {
        /// The operation, for example `user-info`.
        operation: &'static str,
        /// Where and how it differs. Its text may quote the answer.
        source: serde_json::Error,
    },
    /// A body could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The process ends, so that nothing is sealed or opened any more.
    #[error("the process ends")]
    Stopped,
}

impl Error {
    /// The code with which the store answered; empty when it gave none or did not answer.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Answered { code, .. } => code,
            _ => "",
        }
    }
}
