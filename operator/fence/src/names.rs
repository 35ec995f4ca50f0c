//! The addresses of a name, as programs in the pod get them: the system's resolver, in a bounded time.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::{fmt, fs};

use dns_lookup::{LookupErrorKind, lookup_host};

/// How long a look-up is waited for: a resolver that was cut off in the pod's first moment is asked anew soon.
const LOOK_UP: Duration = Duration::from_secs(2);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;

/// Where a flow goes: `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let wanted = || format!("{text:?} is not HOST:PORT; an IPv6 address is in brackets");
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || host.len() > 254 || !host.bytes().all(is_name) {
            return Err(wanted());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wanted())?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(_)) => write!(out, "[{}]:{}", self.host, self.port),
            _ => write!(out, "{}:{}", self.host, self.port),
        }
    }
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its addresses, one at least.
    Addresses(Vec<SocketAddr>),
    /// It does not exist.
    Absent,
    /// Nobody said in time, or it has no address yet.
    Unknown,
}

/// Looks up an endpoint.
pub fn addresses(endpoint: &Endpoint) -> Found {
    let Endpoint { host, port } = endpoint.clone();
    let (sender, receiver) = mpsc::channel();
    // It cannot be ended and so is left behind: the process ends soon.
    thread::spawn(move || {
        let searched = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let _ = sender.send(look_up(&host, &searched, ask));
    });
    match receiver.recv_timeout(LOOK_UP).unwrap_or(Answer::Unknown) {
        Answer::Addresses(addresses) => Found::Addresses(
            addresses
                .into_iter()
                .take(MOST_ADDRESSES)
                .map(|address| SocketAddr::new(address, port))
                .collect(),
        ),
        Answer::Absent => Found::Absent,
        Answer::Unknown => Found::Unknown,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Addresses(Vec<IpAddr>),
    Absent,
    Unknown,
}

/// A Service's name lives only below the cluster's own domain. Where cluster DNS refuses all other names, as it must for
/// a Region's pods, the resolver cannot say of `name.namespace.svc` that it does not exist: it asks for the bare name
/// last and gets an error. So each searched domain is asked by itself.
fn look_up(host: &str, resolv_conf: &str, ask: impl Fn(&str) -> Answer) -> Answer {
    let answer = ask(host);
    if answer != Answer::Unknown || host.rsplit('.').next() != Some("svc") {
        return answer;
    }
    let domains = searched_domains(resolv_conf);
    let absent = |domain: &&str| ask(&format!("{host}.{}.", domain.trim_end_matches('.')));
    if !domains.is_empty() && domains.iter().map(absent).all(|it| it == Answer::Absent) {
        Answer::Absent
    } else {
        Answer::Unknown
    }
}

fn searched_domains(resolv_conf: &str) -> Vec<&str> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("search "))
        .next_back()
        .map(|domains| domains.split_whitespace().collect())
        .unwrap_or_default()
}

fn ask(host: &str) -> Answer {
    match lookup_host(host) {
        Ok(addresses) => {
            let addresses: Vec<IpAddr> = addresses.collect();
            if addresses.is_empty() {
                Answer::Unknown
            } else {
                Answer::Addresses(addresses)
            }
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName => Answer::Absent,
            _ => Answer::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for text in ["es-s3.es.svc:9000", "192.0.2.1:5432", "[2001:db8::1]:443"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for text in [
            "",
            "host",
            "host:",
            "host:99999",
            ":1",
            "a b:1",
            "2001:db8::1:",
            "http://a:1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn an_address_needs_no_resolver() {
        let endpoint = "[2001:db8::1]:443".parse().unwrap();
        let expected = vec!["[2001:db8::1]:443".parse().unwrap()];
        assert_eq!(addresses(&endpoint), Found::Addresses(expected));
    }

    #[test]
    fn a_service_is_absent_when_every_searched_domain_says_so() {
        const CONF: &str = "search es.svc.cluster.local svc.cluster.local\nnameserver 192.0.2.1\n";
        let refused_outside = |name: &str| {
            if name.ends_with(".cluster.local.") {
                Answer::Absent
            } else {
                Answer::Unknown
            }
        };
        assert_eq!(look_up("a.es.svc", CONF, refused_outside), Answer::Absent);
        // Without domains, for other names, and where one domain does not answer, nothing is known.
        assert_eq!(look_up("a.es.svc", "", refused_outside), Answer::Unknown);
        assert_eq!(look_up("a.test", CONF, refused_outside), Answer::Unknown);
        let one = |name: &str| match name {
            "a.es.svc.svc.cluster.local." => Answer::Absent,
            _ => Answer::Unknown,
        };
        assert_eq!(look_up("a.es.svc", CONF, one), Answer::Unknown);
        let down = |_: &str| Answer::Unknown;
        assert_eq!(look_up("a.es.svc", CONF, down), Answer::Unknown);
    }
}
