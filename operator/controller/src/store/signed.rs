//! Requests signed with SigV4 that the S3 client does not make: MinIO's admin API, and a probe of a user's key. In
//! go a path and a body, out comes the answer or why there is none. I/O: HTTPS, the region's authority alone.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Signer;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bailiwick_model::facts::{ReadFailure, Unread};
use reqwest::{Method, StatusCode, Url};

use crate::cause::{self, Cause};
use crate::tls;

/// How long a connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one call may take in all.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that an answer may hold: a policy list of a thousand users has a few hundred kilobytes.
const ANSWER_LIMIT: usize = 8 << 20;

/// Why a call to the store failed: the word for the status, and the cause for the log.
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
    pub fn answered(status: u16, code: &str) -> Self {
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
}

impl Failure {
    /// As the status tells it.
    pub fn unread(&self) -> Unread {
        cause::unread(self.kind, self.source.as_deref())
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

/// The client.
#[derive(Clone, Debug)]
pub struct Signed {
    http: reqwest::Client,
    endpoint: Url,
    region: String,
    root: Signer,
}

impl Signed {
    /// A client of `endpoint` that trusts the authorities in `ca_pem` and no other.
    ///
    /// # Errors
    /// `Untrusted` when `ca_pem` holds no certificate, `Malformed` when `endpoint` is no URL.
    pub fn new(
        endpoint: &str,
        region: &str,
        root: Signer,
        ca_pem: &[u8],
    ) -> Result<Self, ReadFailure> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::trusting(ca_pem)?)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|_| ReadFailure::Untrusted)?;
        Ok(Self {
            http,
            endpoint: Url::parse(endpoint).map_err(|_| ReadFailure::Malformed)?,
            region: region.to_owned(),
            root,
        })
    }

    /// The secret key that we sign with: the password of sealed bodies.
    pub fn secret_key(&self) -> &[u8] {
        self.root.secret_access_key().as_bytes()
    }

    /// Calls `path` with `query` as root and returns the body of a good answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (status, body) = self.send(method, url, body, &self.root).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::answered(status.as_u16(), &error_code(&body)))
        }
    }

    /// Whether the store knows `user` by `secret_key`. A user without the right to list buckets is known too.
    pub async fn knows(&self, user: &str, secret_key: &str) -> Result<bool, Failure> {
        let signer = Signer::new(user, secret_key, None, None, "bailiwick");
        let mut url = self.endpoint.clone();
        url.set_path("/");
        let (status, body) = self.send(Method::GET, url, Vec::new(), &signer).await?;
        match (status.as_u16(), error_code(&body).as_str()) {
            (200, _) | (_, "AccessDenied") => Ok(true),
            (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId") => Ok(false),
            (status, code) => Err(Failure::answered(status, code)),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Vec<u8>,
        signer: &Signer,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let malformed = |_| Failure::because(ReadFailure::Malformed, "it could not be signed");
        let identity = signer.clone().into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|_| Failure::because(ReadFailure::Malformed, "it could not be signed"))?
            .into();
        let signable = SignableRequest::new(
            method.as_str(),
            url.as_str(),
            std::iter::empty(),
            SignableBody::Bytes(&body),
        )
        .map_err(malformed)?;
        let (instructions, _) = sign(signable, &params).map_err(malformed)?.into_parts();
        let mut request = self.http.request(method, url);
        for (name, value) in instructions.headers() {
            request = request.header(name, value);
        }
        let unanswered = |error: reqwest::Error| {
            let timed_out = error.is_timeout();
            // The URL holds names of buckets and users.
            Failure::unanswered(timed_out, error.without_url())
        };
        let mut response = request.body(body).send().await.map_err(unanswered)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if answer.len() + chunk.len() > ANSWER_LIMIT {
                return Err(Failure::because(
                    ReadFailure::Malformed,
                    format!("an answer of more than {} MiB", ANSWER_LIMIT >> 20),
                ));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((response.status(), answer))
    }
}

/// The code of an error's body: JSON of the admin API, XML of S3; empty when it has none.
fn error_code(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&text) {
        let code = fields.get("Code").and_then(serde_json::Value::as_str);
        return code.unwrap_or_default().to_owned();
    }
    text.split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code.to_owned())
        .unwrap_or_default()
}
