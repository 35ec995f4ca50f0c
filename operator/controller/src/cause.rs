//! The cause of an error as codes of documented interfaces: a SQLSTATE, a code of S3, a status of HTTP, an errno, a reason
//! of TLS. An error in, a few words out that may stand in the status and quote no value. No I/O.

use std::error::Error as StdError;
use std::io;

use bailiwick_model::facts::{ReadFailure, Unread};

/// A cause that was put into words where it was known, out of codes and the names of objects alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub String);

/// What Postgres answered instead of doing a statement.
#[derive(Debug, thiserror::Error)]
#[error("SQLSTATE {sqlstate}: {message}")]
pub struct SqlError {
    /// Its code (<https://www.postgresql.org/docs/17/errcodes-appendix.html>).
    pub sqlstate: String,
    /// Its words without what they quote, for the log alone.
    pub message: String,
}

/// How libraries begin to speak of errors that have no code. Each is a constant there.
const WORDS: [&str; 8] = [
    "connection closed before message completed",
    "connection closed",
    "deadline has elapsed",
    "operation timed out",
    "authentication error",
    "error performing TLS handshake",
    "unexpected message from server",
    "error deserializing column",
];

/// The numbers of Linux for what becomes of connections.
const ERRNOS: [(i32, &str); 9] = [
    (13, "EACCES"),
    (32, "EPIPE"),
    (99, "EADDRNOTAVAIL"),
    (101, "ENETUNREACH"),
    (103, "ECONNABORTED"),
    (104, "ECONNRESET"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
];

/// The first cause along an error's sources that is known by a code; none when none is.
#[must_use]
pub fn cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    let mut words = None;
    while let Some(error) = next {
        if let Some(code) = code(error) {
            return Some(code);
        }
        let said = error.to_string();
        if let Some(found) = WORDS.into_iter().find(|word| said.starts_with(word)) {
            words = Some(found.to_owned());
        }
        // An io::Error hides what it wraps from `source()`.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    words
}

/// A failure with its cause, as a fact.
#[must_use]
pub fn unread(
    failure: ReadFailure,
    source: Option<&(dyn StdError + Send + Sync + 'static)>,
) -> Unread {
    Unread {
        failure,
        cause: source.and_then(|source| cause(source)),
    }
}

fn code(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(Cause(told)) = error.downcast_ref() {
        return Some(told.clone());
    }
    if let Some(said) = error.downcast_ref::<SqlError>() {
        return Some(format!("SQLSTATE {}", said.sqlstate));
    }
    let of_api_server = error.downcast_ref::<kube::Error>().or_else(|| {
        error
            .downcast_ref::<Box<kube::Error>>()
            .map(|error| &**error)
    });
    if let Some(kube::Error::Api(status)) = of_api_server {
        return Some(api_server(status));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls(error));
    }
    if let Some(error) = error.downcast_ref::<serde_json::Error>() {
        // Its text may quote what it met.
        return Some(format!(
            "JSON {:?} at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ));
    }
    let error = error.downcast_ref::<io::Error>()?;
    if let Some(number) = error.raw_os_error() {
        let known = ERRNOS.iter().find(|(errno, _)| *errno == number);
        return Some(
            known.map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned()),
        );
    }
    if error
        .to_string()
        .starts_with("failed to lookup address information")
    {
        return Some("DNS: the name does not resolve".to_owned());
    }
    // What wraps another error says less than that one.
    let wraps = matches!(
        error.kind(),
        io::ErrorKind::Other | io::ErrorKind::InvalidData
    );
    (error.get_ref().is_none() || !wraps).then(|| format!("{:?}", error.kind()))
}

/// How the API server begins to say who refused a request, what that is, and what stands behind its name
/// (`k8s.io/apiserver`, packages `admission` and `quota`, of Kubernetes 1.33). Each name is that of an object of the cluster.
const REFUSERS: [(&str, &str, char); 4] = [
    (
        "ValidatingAdmissionPolicy '",
        "ValidatingAdmissionPolicy",
        '\'',
    ),
    ("admission webhook \"", "admission webhook", '"'),
    ("failed calling webhook \"", "admission webhook", '"'),
    ("exceeded quota: ", "ResourceQuota", ','),
];

/// Who of the cluster refused a request, by what the API server said of it; none when it does not name one.
fn refuser(said: &str) -> Option<String> {
    REFUSERS.iter().find_map(|(begins, what, ends)| {
        let (_, rest) = said.split_once(begins)?;
        let (name, _) = rest.split_once(*ends)?;
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-.:".contains(letter);
        (!name.is_empty() && name.len() <= 253 && name.chars().all(is_name))
            .then(|| format!("{what} {name}"))
    })
}

/// What the API server answered: its status, its word, who refused it, and the fields, without their values.
#[must_use]
pub fn api_server(status: &kube::core::Status) -> String {
    let mut told = format!("HTTP {} {}", status.code, status.reason);
    if let Some(refuser) = refuser(&status.message) {
        told = format!("{told} by {refuser}");
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> = causes
        .filter(|cause| !cause.field.is_empty())
        .take(3)
        .map(|cause| format!("{} ({})", cause.field, cause.reason))
        .collect();
    if !fields.is_empty() {
        told = format!("{told}: {}", fields.join(", "));
    }
    told
}

/// The word of a TLS error; its details name hosts.
fn tls(error: &rustls::Error) -> String {
    let word = |debug: String| -> String {
        debug
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect()
    };
    match error {
        rustls::Error::InvalidCertificate(why) => format!("TLS {}", word(format!("{why:?}"))),
        rustls::Error::AlertReceived(alert) => format!("TLS alert {}", word(format!("{alert:?}"))),
        other => format!("TLS {}", word(format!("{other:?}"))),
    }
}

/// What Postgres says without what it quotes: input stands behind a colon or `near`, names of objects do not. The text of
/// a `RAISE` is anybody's.
#[must_use]
pub fn without_values(sqlstate: &str, message: &str) -> String {
    if sqlstate.starts_with("P0") {
        return "raised by a function".to_owned();
    }
    let cut = [": \"", "near \"", ": '"]
        .into_iter()
        .filter_map(|mark| Some(message.find(mark)? + mark.len() - 1))
        .min();
    match cut.and_then(|at| message.get(..at)) {
        Some(beginning) => format!("{beginning}…"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};
    use rustls::{AlertDescription, CertificateError};

    /// Every kind of error that a client of ours meets, wrapped as it is met, and the code that must be told.
    #[test]
    fn who_refused_is_named_and_what_they_said_is_not() {
        for (said, who) in [
            (
                "networkpolicies.networking.k8s.io \"x\" is forbidden: ValidatingAdmissionPolicy 'no-policies' with binding \
                 'no-policies' denied request: hunter2",
                " by ValidatingAdmissionPolicy no-policies",
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: hunter2",
                " by admission webhook validate.kyverno.svc-fail",
            ),
            (
                "Internal error occurred: failed calling webhook \"gate.example.org\": hunter2",
                " by admission webhook gate.example.org",
            ),
            (
                "services \"x\" is forbidden: exceeded quota: few-services, requested: count/services=1, used: hunter2",
                " by ResourceQuota few-services",
            ),
            (
                "admission webhook \"hunter2 or what not\" denied the request",
                "",
            ),
            (
                "Service \"x\" is invalid: spec.ports[0].port: Invalid value: hunter2",
                "",
            ),
        ] {
            let status = kube::core::Status {
                code: 403,
                reason: "Forbidden".to_owned(),
                message: said.to_owned(),
                ..kube::core::Status::default()
            };
            assert_eq!(api_server(&status), format!("HTTP 403 Forbidden{who}"));
        }
    }

    #[test]
    fn each_kind_of_error_is_told_by_its_code() {
        let wrapped = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let status = Status {
            code: 422,
            reason: "Invalid".to_owned(),
            message: "spec.replicas: Invalid value: 7".to_owned(),
            details: Some(StatusDetails {
                causes: vec![StatusCause {
                    reason: "FieldValueInvalid".to_owned(),
                    message: "Invalid value: 7".to_owned(),
                    field: "spec.replicas".to_owned(),
                }],
                name: String::new(),
                group: String::new(),
                kind: String::new(),
                uid: String::new(),
                retry_after_seconds: 0,
            }),
            ..Status::default()
        };
        let json = serde_json::from_str::<u8>("\n\"secret\"").expect_err("it is text");
        let table: Vec<(Box<dyn StdError + Send + Sync>, &str)> = vec![
            (
                Box::new(SqlError {
                    sqlstate: "57P03".to_owned(),
                    message: "starting up".to_owned(),
                }),
                "SQLSTATE 57P03",
            ),
            (
                Box::new(Cause("tr-pg-0, /cluster: HTTP 503".to_owned())),
                "tr-pg-0, /cluster: HTTP 503",
            ),
            (
                Box::new(kube::Error::Api(Box::new(status))),
                "HTTP 422 Invalid: spec.replicas (FieldValueInvalid)",
            ),
            (
                Box::new(wrapped(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer,
                ))),
                "TLS UnknownIssuer",
            ),
            (
                Box::new(wrapped(rustls::Error::AlertReceived(
                    AlertDescription::CertificateRequired,
                ))),
                "TLS alert CertificateRequired",
            ),
            (
                Box::new(rustls::Error::NoCertificatesPresented),
                "TLS NoCertificatesPresented",
            ),
            (Box::new(json), "JSON Data at line 2, column 8"),
            (Box::new(io::Error::from_raw_os_error(111)), "ECONNREFUSED"),
            (Box::new(io::Error::from_raw_os_error(113)), "EHOSTUNREACH"),
            (Box::new(io::Error::from_raw_os_error(5)), "errno 5"),
            (
                Box::new(io::Error::other(
                    "failed to lookup address information: Name or service not known",
                )),
                "DNS: the name does not resolve",
            ),
            (
                Box::new(io::Error::from(io::ErrorKind::UnexpectedEof)),
                "UnexpectedEof",
            ),
            (
                Box::new(io::Error::new(io::ErrorKind::UnexpectedEof, "closed")),
                "UnexpectedEof",
            ),
            (
                Box::new(io::Error::other(io::Error::from_raw_os_error(104))),
                "ECONNRESET",
            ),
        ];
        assert_eq!(table.len(), 14);
        for (error, expected) in &table {
            let found = unread(ReadFailure::NotReady, Some(error.as_ref()));
            assert_eq!(found.cause.as_deref(), Some(*expected), "{error:?}");
        }
        assert_eq!(cause(&io::Error::other("the password is x")), None);
    }

    #[test]
    fn what_postgres_quotes_is_left_out() {
        for (sqlstate, said, expected) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"12 Main Street\"",
                "invalid input syntax for type integer: …",
            ),
            (
                "42601",
                "syntax error at or near \"hunter2\"",
                "syntax error at or near …",
            ),
            (
                "42704",
                "role \"app\" does not exist",
                "role \"app\" does not exist",
            ),
            ("P0001", "patient 7 is dead", "raised by a function"),
        ] {
            assert_eq!(without_values(sqlstate, said), expected);
        }
    }
}
