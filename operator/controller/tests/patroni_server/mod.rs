//! A member's REST API as a test wants it: HTTPS with an optional client certificate, as Patroni has it, answering
//! from a table and noting what it was asked. On the loopback interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority, and certificates of it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn identity(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub after: Duration,
}

impl Answer {
    pub fn json(value: &Value) -> Self {
        Self::text(200, &value.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
            after: Duration::ZERO,
        }
    }
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method and path, as `GET /patroni`.
    pub line: String,
    pub body: Option<Value>,
    pub certified: bool,
}

type Table = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A member that listens.
pub struct Member {
    pub url: String,
    answers: Table,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Member {
    /// Starts to listen on a free port of the loopback interface.
    pub async fn listen(authority: &Authority) -> Self {
        let identity = authority.identity("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .expect("a verifier");
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![chain], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answers = Table::default();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (table, log) = (answers.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, table.clone(), log.clone()));
            }
        });
        Self {
            url: format!("https://localhost:{port}/"),
            answers,
            asked,
        }
    }

    /// From now on `line`, as `GET /patroni`, is answered so.
    pub fn answers(&self, line: &str, answer: Answer) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(line.to_owned(), answer);
    }

    /// What was asked that changes something.
    pub fn changes(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .iter()
            .filter(|it| !it.line.starts_with("GET "))
            .cloned()
            .collect()
    }
}

/// Answers one request, then closes.
async fn serve(
    acceptor: TlsAcceptor,
    stream: tokio::net::TcpStream,
    answers: Table,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let certified = stream.get_ref().1.peer_certificates().is_some();
    let mut received = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => received.extend_from_slice(&chunk[..count]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|it| {
                it.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(str::to_owned)
            })
            .find_map(|it| it.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let line = head
        .lines()
        .next()
        .and_then(|it| it.rsplit_once(' '))
        .map_or_else(String::new, |(line, _)| line.to_owned());
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Asked {
            line: line.clone(),
            body: serde_json::from_str(&body).ok(),
            certified,
        });
    let answer = answers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&line)
        .cloned()
        .unwrap_or_else(|| Answer::text(404, "no such path"));
    tokio::time::sleep(answer.after).await;
    // As Patroni: who changes something must show a certificate.
    let answer = if certified || line.starts_with("GET ") {
        answer
    } else {
        Answer::text(403, "client certificate required")
    };
    let text = format!(
        "HTTP/1.1 {} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
