//! The program as a chained CNI plugin: the environment and standard input of a plugin call come in, the result of the
//! plugin before goes out unchanged, once the new pod's rules are in force. Calls the enforcer's socket.
//!
//! Fields and error codes are those of the CNI specification 1.0.0 (`SPEC.md` of containernetworking/cni). The plugin
//! never keeps a pod from starting because the enforcer is absent: such a pod is shut off, which is safe.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::arrivals::{Arrival, SOCKET, announce};
use crate::objects::ObjectName;

/// The variable that makes a call a plugin call.
pub const COMMAND: &str = "CNI_COMMAND";

/// A plugin call that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// The configuration on standard input is not what a chained plugin gets.
    #[error("network configuration: {0}; list the plugin after the one that gives addresses")]
    Configuration(#[from] serde_json::Error),
    /// Standard input cannot be read.
    #[error("standard input: {0}; call the plugin as a container runtime does")]
    Input(#[from] io::Error),
    /// The call is for no pod.
    #[error(
        "CNI_ARGS: expected K8S_POD_NAMESPACE, K8S_POD_NAME and K8S_POD_UID; use a runtime that gives them"
    )]
    NoPod,
    /// The plugin before gave no IPv4 address.
    #[error(
        "prevResult.ips: expected an IPv4 address; list the plugin after the one that gives addresses"
    )]
    NoAddress,
}

impl CniError {
    /// The error as the runtime reads it.
    #[must_use]
    pub fn json(&self) -> Value {
        let code = match self {
            Self::Configuration(_) => 6,
            Self::Input(_) => 5,
            Self::NoPod => 4,
            Self::NoAddress => 7,
        };
        json!({"cniVersion": "1.0.0", "code": code, "msg": self.to_string()})
    }
}

#[derive(Deserialize)]
struct Configuration {
    socket: Option<PathBuf>,
    #[serde(rename = "prevResult")]
    previous: Value,
}

/// Answers a plugin call: the command, `CNI_ARGS` and standard input come in, what to print goes out.
///
/// # Errors
/// [`CniError`] when the call is not one that a container runtime makes for a pod behind an address plugin.
pub fn answer(
    command: &str,
    arguments: &str,
    input: impl io::Read,
) -> Result<Option<Value>, CniError> {
    match command {
        "ADD" => {
            let text = io::read_to_string(input)?;
            let Configuration { socket, previous } = serde_json::from_str(&text)?;
            let arrival = arrival(arguments, &previous)?;
            let socket = socket.unwrap_or_else(|| PathBuf::from(SOCKET));
            if !announce(&socket, &arrival) {
                tracing::warn!(pod = %arrival.pod, "starts shut off: the enforcer did not answer on {}", socket.display());
            }
            Ok(Some(previous))
        }
        "VERSION" => Ok(Some(
            json!({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}),
        )),
        // Nothing is kept for a pod, so there is nothing to check or remove.
        _ => Ok(None),
    }
}

fn arrival(arguments: &str, previous: &Value) -> Result<Arrival, CniError> {
    let argument = |name: &str| {
        let found = arguments
            .split(';')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or(CniError::NoPod)
    };
    let pod = ObjectName {
        namespace: argument("K8S_POD_NAMESPACE")?,
        name: argument("K8S_POD_NAME")?,
    };
    let uid = argument("K8S_POD_UID")?;
    let networks = previous["ips"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ip| ip["address"].as_str());
    let mut addresses =
        networks.filter_map(|network| network.split('/').next()?.parse::<Ipv4Addr>().ok());
    Ok(Arrival {
        pod,
        uid,
        address: addresses.next().ok_or(CniError::NoAddress)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=a;K8S_POD_UID=7";

    #[test]
    fn the_pod_and_its_address_are_read_from_the_call() {
        let previous = json!({"ips": [{"address": "fd00::5/64"}, {"address": "10.0.0.5/24"}]});
        let read = arrival(ARGUMENTS, &previous).unwrap();
        let pod = ObjectName {
            namespace: "x".to_owned(),
            name: "a".to_owned(),
        };
        assert_eq!(
            read,
            Arrival {
                pod,
                uid: "7".to_owned(),
                address: Ipv4Addr::new(10, 0, 0, 5)
            }
        );
        assert!(matches!(
            arrival("K8S_POD_NAME=a", &previous),
            Err(CniError::NoPod)
        ));
        assert!(matches!(
            arrival(ARGUMENTS, &json!({"ips": []})),
            Err(CniError::NoAddress)
        ));
    }

    #[test]
    fn calls_that_add_nothing_touch_nothing() {
        assert_eq!(answer("DEL", "", io::empty()).unwrap(), None);
        assert_eq!(answer("CHECK", "", io::empty()).unwrap(), None);
        assert!(answer("VERSION", "", io::empty()).unwrap().is_some());
        assert_eq!(
            answer("ADD", "", io::empty()).unwrap_err().json()["code"],
            6
        );
    }
}
