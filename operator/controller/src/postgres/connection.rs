//! Connections to the primary: always TLS, verified against the Region's authority and the Service's name.
//! Credentials in, connections out; I/O.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{CONTROL_ROLE, Names, port};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresError;
use crate::cause::{Cause, SqlError, without_values};
use crate::credentials::Credentials;
use crate::tls;

/// How long a connection may take to be made: name, TCP, TLS and SCRAM.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Reading catalogs and changing them.
    Short,
    /// Copying a template, running an extension's script, dropping what may be large.
    Long,
}

impl Patience {
    /// After this the server gives up.
    const fn statement(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(5),
            Self::Long => Duration::from_mins(1),
        }
    }

    /// After this we do, when the server no longer answers.
    pub(super) const fn call(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(10),
            Self::Long => Duration::from_secs(65),
        }
    }

    /// The settings of the connection. Names resolve to the catalog alone. A lock that an application holds is not
    /// waited for long, since others would queue behind us. Commits wait for no replica: what a failover loses is
    /// found missing and done again. A role that we make gives us `SET` on it and not `INHERIT`.
    fn options(self) -> String {
        format!(
            "{PINNED} -c statement_timeout={} -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s \
             -c synchronous_commit=local -c createrole_self_grant=set",
            self.statement().as_millis()
        )
    }
}

/// What a server, a database or a role may have otherwise, and the statements of a session count on: whoever sets it
/// there (`ALTER DATABASE ... SET default_transaction_read_only`) does not stop the operator. What a session is given
/// when it begins wins over all of those.
const PINNED: &str = "-c search_path=pg_catalog -c default_transaction_isolation=read\\ committed \
     -c default_transaction_read_only=off -c default_transaction_deferrable=off -c datestyle=ISO,\\ MDY \
     -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex -c extra_float_digits=1 -c array_nulls=on \
     -c standard_conforming_strings=on -c backslash_quote=safe_encoding -c quote_all_identifiers=off \
     -c transform_null_equals=off -c row_security=on -c client_min_messages=warning -c transaction_timeout=0 \
     -c idle_session_timeout=0 -c default_tablespace= -c default_table_access_method=heap -c exit_on_error=off \
     -c check_function_bodies=on";

/// What a session has that shall see the settings as others' sessions have them.
const AS_OTHERS: &str = "-c search_path=pg_catalog";

/// Where the primary is, and how it is known to be it.
#[derive(Clone)]
pub(super) struct Endpoint {
    host: String,
    address: Option<SocketAddr>,
    tls: MakeRustlsConnect,
    /// The same with the Region's client certificate, once there is one: without it some roles are not let in.
    certified: Option<MakeRustlsConnect>,
}

impl Endpoint {
    /// The Service of the primary, or `address` under the Service's name.
    pub(super) fn new(
        names: &Names,
        credentials: &Credentials,
        address: Option<SocketAddr>,
    ) -> Result<Self, PostgresError> {
        let untrusted = |what: &str| PostgresError {
            failure: ReadFailure::Untrusted,
            source: Some(
                Cause(format!(
                    "Secret {}: {what}; it is made anew when it is deleted",
                    names.postgres_certificate()
                ))
                .into(),
            ),
        };
        let authority = credentials
            .bytes(&names.postgres_certificate(), "ca.crt")
            .ok_or_else(|| untrusted("ca.crt is missing, expected the Region's authority"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            let added = certificate.map(|certificate| roots.add(certificate));
            if !matches!(added, Ok(Ok(()))) {
                return Err(untrusted("ca.crt is not a certificate, expected PEM"));
            }
        }
        if roots.is_empty() {
            return Err(untrusted("ca.crt holds no certificate, expected PEM"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostgresError {
                failure: ReadFailure::Untrusted,
                source: Some(Box::new(error)),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let own = names.client_certificate();
        let certified = credentials
            .bytes(&own, "tls.crt")
            .zip(credentials.bytes(&own, "tls.key"))
            .and_then(|(certificate, key)| tls::mutual(authority, certificate, key).ok());
        Ok(Self {
            host: format!("{}.{}.svc", names.postgres_rw(), names.namespace()),
            address,
            tls: MakeRustlsConnect::new(tls::remembering_little(tls)),
            certified: certified.map(MakeRustlsConnect::new),
        })
    }

    /// The same for one member, by its own name.
    pub(super) fn of_member(&self, names: &Names, member: &str) -> Self {
        Self {
            host: format!("{member}.{}.{}.svc", names.postgres(), names.namespace()),
            ..self.clone()
        }
    }

    /// Connects to a database as the control role.
    pub(super) async fn connect(
        &self,
        names: &Names,
        credentials: &Credentials,
        database: &str,
        patience: Patience,
    ) -> Result<Client, PostgresError> {
        let login = (CONTROL_ROLE, "control-password");
        let session = (patience, patience.options());
        self.login(&self.tls, login, names, credentials, database, session)
            .await
    }

    /// Connects to a database as a role whose password is under a key of the Secret of internal passwords, with the
    /// Region's client certificate if it has one, and with the settings that the server gives the sessions of others.
    pub(super) async fn connect_as_others(
        &self,
        login: (&str, &str),
        names: &Names,
        credentials: &Credentials,
        database: &str,
    ) -> Result<Client, PostgresError> {
        let tls = self.certified.as_ref().unwrap_or(&self.tls);
        let session = (Patience::Short, AS_OTHERS.to_owned());
        self.login(tls, login, names, credentials, database, session)
            .await
    }

    async fn login(
        &self,
        tls: &MakeRustlsConnect,
        (role, key): (&str, &str),
        names: &Names,
        credentials: &Credentials,
        database: &str,
        (patience, options): (Patience, String),
    ) -> Result<Client, PostgresError> {
        let secret = names.postgres_internal();
        let password = credentials
            .text(&secret, key)
            .ok_or_else(|| PostgresError {
                failure: ReadFailure::Unauthenticated,
                source: Some(
                    Cause(format!(
                        "Secret {secret}: {key} is missing, expected text; restore the Secret"
                    ))
                    .into(),
                ),
            })?;
        let mut config = Config::new();
        config
            .host(&self.host)
            .user(role)
            .password(password)
            .dbname(database)
            .application_name("bailiwick-operator")
            .options(options)
            .ssl_mode(SslMode::Require)
            .connect_timeout(CONNECT)
            .tcp_user_timeout(patience.call());
        match self.address {
            Some(address) => config.hostaddr(address.ip()).port(address.port()),
            None => config.port(u16::try_from(port::POSTGRES).unwrap_or(5432)),
        };
        let (client, connection) = within(CONNECT, config.connect(tls.clone())).await?;
        // It ends when the client is dropped; what goes wrong on it, the client's calls report.
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Waits for an answer of Postgres, but not for ever.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PostgresError> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(PostgresError::from),
        Err(_) => Err(PostgresError {
            failure: ReadFailure::TimedOut,
            source: Some(Cause(format!("no answer within {} s", limit.as_secs())).into()),
        }),
    }
}

impl PostgresError {
    /// An answer that we do not understand.
    pub(super) fn malformed(what: String) -> Self {
        Self {
            failure: ReadFailure::Malformed,
            source: Some(Cause(what).into()),
        }
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let failure = match error.code() {
            Some(code) => refused(code),
            None => broken(&error),
        };
        // Of what the server says, the detail and the context may quote: they are left out.
        let source: Box<dyn std::error::Error + Send + Sync> = match error.as_db_error() {
            Some(said) => Box::new(SqlError {
                sqlstate: said.code().code().to_owned(),
                message: without_values(said.code().code(), said.message()),
            }),
            None => Box::new(error),
        };
        Self {
            failure,
            source: Some(source),
        }
    }
}

/// What an error of the server means, by its SQLSTATE: class and code are a documented interface.
fn refused(code: &SqlState) -> ReadFailure {
    if [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ]
    .contains(code)
    {
        return ReadFailure::Unauthenticated;
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return ReadFailure::Forbidden;
    }
    if *code == SqlState::QUERY_CANCELED {
        return ReadFailure::TimedOut;
    }
    // A replica, a server that starts or stops, one without connections to spare, an object that is in use.
    // So is a database that was dropped since it was listed.
    let not_ready = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INVALID_CATALOG_NAME,
    ]
    .contains(code)
        || ["08", "40", "53", "55", "57"]
            .iter()
            .any(|class| code.code().starts_with(class));
    if not_ready {
        ReadFailure::NotReady
    } else {
        ReadFailure::Malformed
    }
}

/// What it means that there was no answer.
fn broken(error: &tokio_postgres::Error) -> ReadFailure {
    let mut cause = error.source();
    while let Some(source) = cause {
        if source.is::<rustls::Error>() {
            return ReadFailure::Untrusted;
        }
        if let Some(error) = source.downcast_ref::<io::Error>() {
            // An io::Error shows its inner error's causes, and not the inner error itself, as its source.
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync + 'static>::is::<rustls::Error>)
            {
                return ReadFailure::Untrusted;
            }
            if error.kind() == io::ErrorKind::TimedOut {
                return ReadFailure::TimedOut;
            }
        }
        cause = source.source();
    }
    // The driver hides the kind of its own errors; these words are its `Display`.
    let said = error.to_string();
    if said.contains("TLS handshake") || said.contains("does not support TLS") {
        ReadFailure::Untrusted
    } else if said.starts_with("authentication error") {
        ReadFailure::Unauthenticated
    } else if said.starts_with("error deserializing") || said.starts_with("unexpected message") {
        ReadFailure::Malformed
    } else {
        ReadFailure::Unreachable
    }
}
