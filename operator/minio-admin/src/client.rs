//! Signed requests and sealed bodies: a path, a query and a body in, the store's answer or why there is none out. I/O:
//! HTTPS to one endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use reqwest::{Method, StatusCode, Url};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::error::{ANSWER_LIMIT, Error};
use crate::seal::{self, SealError};

/// How long a connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one call may take in all.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the operations are (`madmin.AdminAPIVersionV3`).
const PREFIX: &str = "/minio/admin/v3";

/// One sealed body at a time, in the whole process: each takes 64 MiB while its key is made.
static SEALING: Mutex<()> = Mutex::const_new(());

/// A client of one store, as one of its users. Its clones share connections and counts.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    region: String,
    user: Credentials,
    sealed: Arc<AtomicU64>,
}

impl Client {
    /// A client of the store at `endpoint`, an `https` URL without a path, that signs for `region` as `access_key` with
    /// `secret_key`. It trusts what `tls` trusts, goes through no proxy, and follows no redirection. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when `endpoint` is not a URL, [`Error::Tls`] when `tls` is not usable.
    pub fn new(
        endpoint: &str,
        region: &str,
        access_key: &str,
        secret_key: &str,
        tls: ClientConfig,
    ) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|_| Error::Tls)?;
        Ok(Self {
            http,
            endpoint: Url::parse(endpoint).map_err(|_| Error::Endpoint)?,
            region: region.to_owned(),
            user: credentials(access_key, secret_key),
            sealed: Arc::default(),
        })
    }

    /// How many bodies were sealed or opened, each at the price of 64 MiB for a moment.
    #[must_use]
    pub fn sealed_bodies(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Calls an operation, for example `user-info`, and returns the body of a good answer. `body` is sent as it stands.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub async fn call(
        &self,
        method: Method,
        operation: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{PREFIX}/{operation}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (status, body) = self.send(method, url, body, &self.user).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(answered(status, &body))
        }
    }

    /// Whether the store knows `user` by `secret_key`, asked by a list of buckets that is signed with it. A user without the
    /// right to list buckets is known too.
    ///
    /// # Errors
    /// Why it could not be found out.
    pub async fn knows(&self, user: &str, secret_key: &str) -> Result<bool, Error> {
        let mut url = self.endpoint.clone();
        url.set_path("/");
        let user = credentials(user, secret_key);
        let (status, body) = self.send(Method::GET, url, Vec::new(), &user).await?;
        match (status.as_u16(), error_code(&body).as_str()) {
            (200, _) | (_, "AccessDenied") => Ok(true),
            (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId") => Ok(false),
            _ => Err(answered(status, &body)),
        }
    }

    /// Seals a body for the store with this user's secret key, off the runtime's threads and one at a time.
    ///
    /// # Errors
    /// [`Error::Seal`] or [`Error::Stopped`].
    pub async fn seal(&self, plain: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.sealing(move |key| seal::seal(key, &plain)).await
    }

    /// Opens a body that the store sealed with this user's secret key, off the runtime's threads and one at a time.
    ///
    /// # Errors
    /// [`Error::Seal`] or [`Error::Stopped`].
    pub async fn open(&self, sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.sealing(move |key| seal::open(key, &sealed)).await
    }

    async fn sealing<F>(&self, work: F) -> Result<Vec<u8>, Error>
    where
        F: FnOnce(&[u8]) -> Result<Vec<u8>, SealError> + Send + 'static,
    {
        let key = self.user.secret_access_key().as_bytes().to_vec();
        let _one = SEALING.lock().await;
        self.sealed.fetch_add(1, Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || work(&key)).await;
        Ok(done.map_err(|_| Error::Stopped)??)
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        query: &[(&str, &str)],
    ) -> Result<T, Error> {
        let body = self.call(Method::GET, operation, query, Vec::new()).await?;
        answer(operation, &body)
    }

    pub(crate) async fn put(
        &self,
        operation: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), Error> {
        self.call(Method::PUT, operation, query, body.to_string().into_bytes())
            .await
            .map(drop)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Vec<u8>,
        user: &Credentials,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let mut request = self.http.request(method.clone(), url.clone());
        for (name, value) in self.signature(&method, &url, &body, user)? {
            request = request.header(name, value);
        }
        let unanswered = |error: reqwest::Error| Error::Unanswered {
            timed_out: error.is_timeout(),
            source: error.without_url(),
        };
        let mut response = request.body(body).send().await.map_err(unanswered)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if answer.len() + chunk.len() > ANSWER_LIMIT {
                return Err(Error::TooLong);
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((response.status(), answer))
    }

    /// The headers that sign a request, as S3 wants them
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>): the path is encoded once and not
    /// normalised, and the body's checksum is a header.
    fn signature(
        &self,
        method: &Method,
        url: &Url,
        body: &[u8],
        user: &Credentials,
    ) -> Result<Vec<(String, String)>, Error> {
        let identity = user.clone().into();
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
            .map_err(|_| Error::Signature)?
            .into();
        let signable = SignableRequest::new(
            method.as_str(),
            url.as_str(),
            std::iter::empty(),
            SignableBody::Bytes(body),
        )
        .map_err(|_| Error::Signature)?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|_| Error::Signature)?
            .into_parts();
        let headers = instructions.headers();
        Ok(headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::new(access_key, secret_key, None, None, "minio-admin")
}

/// An operation's answer as a value.
pub(crate) fn answer<T: DeserializeOwned>(
    operation: &'static str,
    body: &[u8],
) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Malformed { operation, source })
}

fn answered(status: StatusCode, body: &[u8]) -> Error {
    Error::Answered {
        status: status.as_u16(),
        code: error_code(body),
    }
}

/// The code of an error's body: JSON of the admin API, XML of S3; empty when it has none. A code is one word: what is not
/// may quote a value.
fn error_code(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = if let Ok(Value::Object(fields)) = serde_json::from_str(&text) {
        let code = fields.get("Code").and_then(Value::as_str);
        code.unwrap_or_default().to_owned()
    } else {
        text.split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map(|(code, _)| code.to_owned())
            .unwrap_or_default()
    };
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { code } else { String::new() }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;

    use super::*;

    fn trusting_nobody() -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    }

    fn client(endpoint: &str) -> Result<Client, Error> {
        let (user, secret_key) = ("root", "the secret key");
        Client::new(endpoint, "tr-ist-1", user, secret_key, trusting_nobody())
    }

    #[test]
    fn the_code_of_an_error_is_one_word_of_json_or_xml_or_nothing() {
        for (body, code) in [
            (
                r#"{"Code": "XMinioAdminNoSuchUser", "Message": "no such user"}"#,
                "XMinioAdminNoSuchUser",
            ),
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>",
                "AccessDenied",
            ),
            (r#"{"Message": "no code"}"#, ""),
            (r#"{"Code": 7}"#, ""),
            (r#"{"Code": "the key of patient 7"}"#, ""),
            ("<Code>not closed", ""),
            ("", ""),
        ] {
            assert_eq!(error_code(body.as_bytes()), code, "{body}");
        }
        let long = format!("<Code>{}</Code>", "a".repeat(65));
        assert_eq!(error_code(long.as_bytes()), "");
    }

    #[test]
    fn a_request_is_signed_for_its_region_and_user_and_its_body() {
        let client = client("https://store.example:9000").unwrap();
        let url = Url::parse("https://store.example:9000/minio/admin/v3/info").unwrap();
        let headers = client
            .signature(&Method::GET, &url, b"body", &client.user)
            .unwrap();
        let header = |name: &str| {
            let found = headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let authorization = header("authorization");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=root/"));
        assert!(authorization.contains("/tr-ist-1/s3/aws4_request"));
        assert_eq!(
            header("x-amz-content-sha256"),
            "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"
        );
        assert!(!headers.iter().any(|(_, value)| value.contains("secret")));
    }

    #[test]
    fn what_is_no_url_is_no_endpoint_and_no_secret_is_printed() {
        assert!(matches!(client("store"), Err(Error::Endpoint)));
        let printed = format!("{:?}", client("https://store.example").unwrap());
        assert!(!printed.contains("the secret key"), "{printed}");
    }

    #[tokio::test]
    async fn a_store_without_tls_is_not_spoken_to() {
        let failed = client("http://127.0.0.1:9").unwrap().info().await;
        assert!(
            matches!(
                failed,
                Err(Error::Unanswered {
                    timed_out: false,
                    ..
                })
            ),
            "{failed:?}"
        );
    }

    #[tokio::test]
    async fn what_is_sealed_opens_and_each_is_counted() {
        let client = client("https://store.example").unwrap();
        let sealed = client.seal(b"body".to_vec()).await.unwrap();
        let opened = client.clone().open(sealed).await.unwrap();
        assert_eq!(opened, b"body");
        assert_eq!(client.sealed_bodies(), 2);
        let not_sealed = client.open(b"body".to_vec()).await;
        assert!(matches!(not_sealed, Err(Error::Seal(SealError::Format))));
    }
}
