//! TLS as every client here has it: the Region's authority alone, and the Region's client certificate where one is
//! asked for. In go PEM texts, out come settings. No I/O.

use std::error::Error as StdError;
use std::sync::Arc;

use bailiwick_model::facts::ReadFailure;
use rustls::client::{Resumption, WantsClientCert};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// Of how many servers a client remembers sessions: members and Services of one Region.
const SERVERS: usize = 16;

/// TLS that trusts the authorities in `ca_pem` and no other, without a certificate of its own.
///
/// # Errors
/// `Untrusted` when `ca_pem` holds no certificate.
pub fn trusting(ca_pem: &[u8]) -> Result<ClientConfig, ReadFailure> {
    Ok(remembering_little(trust(ca_pem)?.with_no_client_auth()))
}

/// TLS that trusts the authorities in `ca_pem` and no other, and shows the certificate in `certificate_pem`.
///
/// # Errors
/// `Untrusted` when `ca_pem` holds no certificate, `Unauthenticated` when there is no certificate to show or its key
/// does not fit.
pub fn mutual(
    ca_pem: &[u8],
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<ClientConfig, ReadFailure> {
    let chain = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ReadFailure::Unauthenticated)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| ReadFailure::Unauthenticated)?;
    let config = trust(ca_pem)?
        .with_client_auth_cert(chain, key)
        .map_err(|_| ReadFailure::Unauthenticated)?;
    Ok(remembering_little(config))
}

/// A client of one Region speaks with a handful of servers. Room for sessions of hundreds, as rustls reserves it at once, is
/// fourteen kilobytes a client, and a Region has four.
pub(crate) fn remembering_little(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::in_memory_sessions(SERVERS);
    config
}

fn trust(ca_pem: &[u8]) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ReadFailure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        certificate
            .ok()
            .and_then(|certificate| roots.add(certificate).ok())
            .ok_or(ReadFailure::Untrusted)?;
    }
    if roots.is_empty() {
        return Err(ReadFailure::Untrusted);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ReadFailure::Untrusted)?
        .with_root_certificates(roots))
}

/// Whether TLS is the cause of an error. An `io::Error` hides what it wraps from `source()`.
#[must_use]
pub fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    false
}
