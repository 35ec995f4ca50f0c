//! Why a call to the store failed, by S3 or by the admin API: the word for the status, and the cause for the log. Errors
//! of the clients in, failures out; no I/O.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bailiwick_minio_admin::{ANSWER_LIMIT, Error as AdminError};
use bailiwick_model::facts::{ReadFailure, Unread};

use crate::cause::{self, Cause};
use crate::tls;

/// Why a call to the store failed.
#[derive(Debug)]
pub struct Failure {
    /// The word.
    pub kind: ReadFailure,
    /// The store's own error code, when it gave one.
    pub code: String,
    /// The cause, for the log alone.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// A failure without a cause to show.
    pub const fn of(kind: ReadFailure) -> Self {
        Self {
            kind,
            code: String::new(),
            source: None,
        }
    }

    /// A failure whose cause is put into words that quote no value.
    pub fn because(kind: ReadFailure, cause: impl Into<String>) -> Self {
        Self {
            source: Some(Cause(cause.into()).into()),
            ..Self::of(kind)
        }
    }

    /// What an answer with an error means, by its code before its status.
    fn answered(status: u16, code: &str) -> Self {
        let kind = match (status, code) {
            (
                _,
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "AuthorizationHeaderMalformed"
                | "RequestTimeTooSkewed"
                | "ExpiredToken",
            )
            | (401, _) => ReadFailure::Unauthenticated,
            (_, "AccessDenied") | (403, _) => ReadFailure::Forbidden,
            // Starting, without a quorum of volumes, or too busy.
            (429 | 500..=599, _) => ReadFailure::NotReady,
            _ => ReadFailure::Malformed,
        };
        Self {
            kind,
            code: code.to_owned(),
            source: Some(Cause(answer(status, code)).into()),
        }
    }

    /// What a call without an answer means.
    pub fn unanswered(timed_out: bool, error: impl StdError + Send + Sync + 'static) -> Self {
        let kind = if tls::is_untrusted(&error) {
            ReadFailure::Untrusted
        } else if timed_out {
            ReadFailure::TimedOut
        } else {
            ReadFailure::Unreachable
        };
        Self {
            kind,
            code: String::new(),
            source: Some(error.into()),
        }
    }

    /// As the status tells it.
    pub fn unread(&self) -> Unread {
        cause::unread(self.kind, self.source.as_deref())
    }
}

/// What the admin client's error means.
impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let malformed = |cause: String| Self::because(ReadFailure::Malformed, cause);
        match error {
            AdminError::Endpoint => Self::of(ReadFailure::Malformed),
            AdminError::Tls => Self::of(ReadFailure::Untrusted),
            AdminError::Signature => malformed("it could not be signed".to_owned()),
            AdminError::Unanswered { timed_out, source } => Self::unanswered(timed_out, source),
            AdminError::Answered { status, code } => Self::answered(status, &code),
            AdminError::TooLong => {
                malformed(format!("an answer of more than {} MiB", ANSWER_LIMIT >> 20))
            }
            AdminError::Malformed { operation, source } => {
                let cause = cause::cause(&source).unwrap_or_default();
                malformed(format!("{operation}: {cause}"))
            }
            AdminError::Seal(error) => malformed(error.to_string()),
            AdminError::Stopped => Self::of(ReadFailure::NotReady),
        }
    }
}

/// What the S3 client's error means.
pub(super) fn s3_failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => Failure::answered(
            answer.raw().status().as_u16(),
            answer.err().code().unwrap_or_default(),
        ),
        SdkError::ResponseError(answer) => Failure::answered(
            answer.raw().status().as_u16(),
            "without a body that we know",
        ),
        SdkError::TimeoutError(_) => Failure::unanswered(true, error),
        SdkError::DispatchFailure(failure) => Failure::unanswered(failure.is_timeout(), error),
        _ => Failure::because(ReadFailure::Malformed, "it could not be sent or understood"),
    }
}

/// An answer by its code and its status. A code is one word: what is none may quote a value.
fn answer(status: u16, code: &str) -> String {
    let is_word = !code.is_empty()
        && code.len() <= 64
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word {
        format!("{code}, HTTP {status}")
    } else {
        format!("HTTP {status}")
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_minio_admin::seal::SealError;

    use super::*;

    #[test]
    fn each_error_of_the_admin_api_is_a_word_and_a_cause_that_quotes_nothing() {
        let answered = |status, code: &str| AdminError::Answered {
            status,
            code: code.to_owned(),
        };
        let source = serde_json::from_str::<u8>("\"secret\"").expect_err("it is text");
        let malformed = AdminError::Malformed {
            operation: "user-info",
            source,
        };
        let table = [
            (AdminError::Endpoint, ReadFailure::Malformed, None),
            (AdminError::Tls, ReadFailure::Untrusted, None),
            (
                AdminError::Signature,
                ReadFailure::Malformed,
                Some("it could not be signed"),
            ),
            (
                answered(403, "SignatureDoesNotMatch"),
                ReadFailure::Unauthenticated,
                Some("SignatureDoesNotMatch, HTTP 403"),
            ),
            (
                answered(401, ""),
                ReadFailure::Unauthenticated,
                Some("HTTP 401"),
            ),
            (
                answered(403, "AccessDenied"),
                ReadFailure::Forbidden,
                Some("AccessDenied, HTTP 403"),
            ),
            (
                answered(503, "XMinioServerNotInitialized"),
                ReadFailure::NotReady,
                Some("XMinioServerNotInitialized, HTTP 503"),
            ),
            (
                answered(404, "XMinioAdminNoSuchUser"),
                ReadFailure::Malformed,
                Some("XMinioAdminNoSuchUser, HTTP 404"),
            ),
            (
                AdminError::TooLong,
                ReadFailure::Malformed,
                Some("an answer of more than 8 MiB"),
            ),
            (
                malformed,
                ReadFailure::Malformed,
                Some("user-info: JSON Data at line 1, column 8"),
            ),
            (
                AdminError::Seal(SealError::NotAuthentic),
                ReadFailure::Malformed,
                Some("the body does not open with this password"),
            ),
            (AdminError::Stopped, ReadFailure::NotReady, None),
        ];
        assert_eq!(table.len(), 12);
        for (error, kind, cause) in table {
            let told = format!("{error:?}");
            let unread = Failure::from(error).unread();
            assert_eq!(unread.failure, kind, "{told}");
            assert_eq!(unread.cause.as_deref(), cause, "{told}");
        }
    }
}
