//! The nftables form of an enforcement: a model comes in, the text of one `nft -f` transaction goes out, the same
//! text for the same model. Pure: no I/O.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;

use crate::addresses::AddressSet;
use crate::objects::{PortRange, Protocol};
use crate::rules::{Allowance, Enforcement, Isolation, LocalPod, Peers, Ports};

/// The longest comment that nftables takes, in bytes.
const COMMENT_LIMIT: usize = 127;

/// Which side of a flow the pod is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }

    /// The map from a pod's address to its chain.
    fn map(self) -> &'static str {
        match self {
            Self::From => "from-pod",
            Self::To => "to-pod",
        }
    }

    /// The field that holds the other side's address.
    fn peer_field(self) -> &'static str {
        match self {
            Self::From => "ip daddr",
            Self::To => "ip saddr",
        }
    }

    fn isolation(self, pod: &LocalPod) -> &Isolation {
        match self {
            Self::From => &pod.egress,
            Self::To => &pod.ingress,
        }
    }
}

/// Writes the ruleset that replaces the table in one transaction.
///
/// Takes the table's name (family `inet`, created when absent) and what is to be enforced. Whoever applies the text
/// never leaves a moment without rules.
#[must_use]
pub fn ruleset(table: &str, enforcement: &Enforcement) -> String {
    let mut peer_sets = PeerSets::default();
    let chains: Vec<Chain> = [Side::From, Side::To]
        .into_iter()
        .flat_map(|side| {
            enforcement
                .pods
                .iter()
                .map(move |(address, pod)| (side, *address, pod))
        })
        .filter_map(|(side, address, pod)| Chain::new(side, address, pod, &mut peer_sets))
        .collect();
    let addresses = || enforcement.pods.keys();

    let mut script = Script::default();
    // The first line makes sure that there is a table to delete; a transaction hides the gap.
    script.push(format_args!("table inet {table}"));
    script.push(format_args!("delete table inet {table}"));
    script.push(format_args!("table inet {table} {{"));
    script.collection(
        "set",
        "pod-ranges",
        "ipv4_addr; flags interval",
        enforcement.pod_ranges.ranges(),
    );
    script.collection("set", "known-pods", "ipv4_addr", addresses());
    let itself = addresses().map(|address| format!("{address} . {address}"));
    script.collection("set", "to-itself", "ipv4_addr . ipv4_addr", itself);
    for (number, peers) in peer_sets.by_number() {
        script.collection(
            "set",
            &peer_set(number),
            "ipv4_addr; flags interval",
            peers.ranges(),
        );
    }
    for side in [Side::From, Side::To] {
        let isolated = chains.iter().filter(|chain| chain.side == side);
        let jumps = isolated.map(|chain| format!("{} : jump {}", chain.address, chain.name()));
        script.collection("map", side.map(), "ipv4_addr : verdict", jumps);
    }
    script.forward_chain();
    for chain in &chains {
        script.pod_chain(chain);
    }
    script.push("}");
    script.text
}

/// A chain of one pod and direction: returns what is allowed, drops the rest.
struct Chain {
    side: Side,
    address: Ipv4Addr,
    comment: String,
    rules: Vec<String>,
}

impl Chain {
    /// The chain of a pod, or nothing when it is not isolated on this side.
    fn new(
        side: Side,
        address: Ipv4Addr,
        pod: &LocalPod,
        peer_sets: &mut PeerSets,
    ) -> Option<Self> {
        let Isolation::Only(allowances) = side.isolation(pod) else {
            return None;
        };
        let rules = allowances
            .iter()
            .flat_map(|allowance| rules_of(allowance, side, peer_sets))
            .collect();
        Some(Self {
            side,
            address,
            comment: comment(&pod.name),
            rules,
        })
    }

    fn name(&self) -> String {
        format!("{}-{}", self.side.prefix(), self.address)
    }
}

/// Sets of peers, one name for equal sets. Names count up in the order of use, so that equal models read equal.
#[derive(Default)]
struct PeerSets {
    names: BTreeMap<AddressSet, usize>,
}

impl PeerSets {
    fn name(&mut self, addresses: &AddressSet) -> String {
        let next = self.names.len() + 1;
        peer_set(*self.names.entry(addresses.clone()).or_insert(next))
    }

    fn by_number(&self) -> BTreeMap<usize, &AddressSet> {
        self.names
            .iter()
            .map(|(addresses, number)| (*number, addresses))
            .collect()
    }
}

fn peer_set(number: usize) -> String {
    format!("peers-{number}")
}

/// The rules that let an allowance through: one without ports, else one a protocol.
fn rules_of(allowance: &Allowance, side: Side, peer_sets: &mut PeerSets) -> Vec<String> {
    let peers = match &allowance.peers {
        Peers::Everybody => String::new(),
        Peers::Only(addresses) => format!("{} @{} ", side.peer_field(), peer_sets.name(addresses)),
    };
    match &allowance.ports {
        Ports::Every => vec![format!("{peers}return")],
        Ports::Only(ranges) => [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .filter_map(|protocol| {
                ports_of(
                    protocol,
                    ranges.iter().filter(|range| range.protocol == protocol),
                )
            })
            .map(|ports| format!("{peers}{ports} return"))
            .collect(),
    }
}

/// The match for ports of one protocol, or nothing when the allowance has none of it.
fn ports_of<'a>(protocol: Protocol, ranges: impl Iterator<Item = &'a PortRange>) -> Option<String> {
    let keyword = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    // nftables refuses overlapping elements of an anonymous set, so neighbours and overlaps become one.
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if before.1.saturating_add(1) >= range.first => {
                before.1 = before.1.max(range.last);
            }
            _ => merged.push((range.first, range.last)),
        }
    }
    if merged.is_empty() {
        return None;
    }
    if merged == [(0, u16::MAX)] {
        return Some(format!("meta l4proto {keyword}"));
    }
    let elements = merged.into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    Some(format!(
        "{keyword} dport {{ {} }}",
        elements.collect::<Vec<_>>().join(", ")
    ))
}

/// Text that is safe between the quotes of a comment, cut to what nftables takes.
fn comment(text: &str) -> String {
    let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '/');
    text.chars().filter(safe).take(COMMENT_LIMIT).collect()
}

/// The text under construction.
#[derive(Default)]
struct Script {
    text: String,
}

impl Script {
    fn push(&mut self, line: impl Display) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    fn collection<E: Display>(
        &mut self,
        keyword: &str,
        name: &str,
        kind: &str,
        elements: impl Iterator<Item = E>,
    ) {
        self.push(format_args!("  {keyword} {name} {{"));
        self.push(format_args!("    type {kind}"));
        let elements: Vec<String> = elements.map(|element| element.to_string()).collect();
        if !elements.is_empty() {
            self.push(format_args!("    elements = {{ {} }}", elements.join(", ")));
        }
        self.push("  }");
    }

    fn forward_chain(&mut self) {
        self.push("  chain forward {");
        self.push("    type filter hook forward priority filter; policy accept;");
        self.push("    ct state established,related accept");
        // No pod has an IPv6 address, so whatever is forwarded got around the rules below.
        self.push("    meta nfproto ipv6 counter drop");
        // A packet that came in where its sender cannot be wears a borrowed address to shed its own rules.
        self.push("    fib saddr . iif oif missing counter drop");
        self.push("    ip saddr . ip daddr @to-itself accept");
        self.push("    ip saddr @pod-ranges ip saddr != @known-pods counter drop");
        self.push("    ip daddr @pod-ranges ip daddr != @known-pods counter drop");
        self.push("    ip saddr vmap @from-pod");
        self.push("    ip daddr vmap @to-pod");
        self.push("  }");
    }

    fn pod_chain(&mut self, chain: &Chain) {
        self.push(format_args!("  chain {} {{", chain.name()));
        self.push(format_args!("    comment \"{}\"", chain.comment));
        for rule in &chain.rules {
            self.push(format_args!("    {rule}"));
        }
        self.push("    counter drop");
        self.push("  }");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressRange;
    use std::collections::BTreeSet;

    fn enforcement(name: &str) -> Enforcement {
        let peers = AddressRange::parse_cidr("192.0.2.0/24").unwrap();
        let tcp = |first, last| PortRange {
            protocol: Protocol::Tcp,
            first,
            last,
        };
        let allowances = [
            Allowance {
                peers: Peers::Only([peers].into_iter().collect()),
                ports: Ports::Only([tcp(80, 90), tcp(85, 95), tcp(96, 96), tcp(443, 443)].into()),
            },
            Allowance {
                peers: Peers::Everybody,
                ports: Ports::Only(
                    [
                        PortRange::whole(Protocol::Udp),
                        PortRange::single(Protocol::Sctp, 9),
                    ]
                    .into(),
                ),
            },
        ];
        let pod = |name: &str, ingress| LocalPod {
            name: name.to_owned(),
            ingress,
            egress: Isolation::Open,
        };
        Enforcement {
            pod_ranges: [AddressRange::parse_cidr("10.0.0.0/24").unwrap()]
                .into_iter()
                .collect(),
            pods: BTreeMap::from([
                (
                    Ipv4Addr::new(10, 0, 0, 5),
                    pod(name, Isolation::Only(BTreeSet::from(allowances))),
                ),
                (Ipv4Addr::new(10, 0, 0, 6), pod("x/open", Isolation::Open)),
            ]),
        }
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).collect()
    }

    #[test]
    fn an_allowance_is_one_rule_a_protocol_with_its_ports_merged() {
        let text = ruleset("t", &enforcement("x/a"));
        let lines = lines(&text);
        for expected in [
            "elements = { 10.0.0.5 : jump to-10.0.0.5 }",
            "elements = { 192.0.2.0-192.0.2.255 }",
            "comment \"x/a\"",
            "ip saddr @peers-1 tcp dport { 80-96, 443 } return",
            "meta l4proto udp return",
            "sctp dport { 9 } return",
        ] {
            assert!(
                lines.contains(&expected),
                "{expected} is missing from\n{text}"
            );
        }
        assert!(
            !text.contains("to-10.0.0.6 "),
            "a pod that is not isolated needs no chain\n{text}"
        );
    }

    #[test]
    fn the_table_is_replaced_in_one_transaction() {
        let text = ruleset("t", &Enforcement::default());
        assert_eq!(
            lines(&text)[..3],
            ["table inet t", "delete table inet t", "table inet t {"]
        );
    }

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let text = ruleset("t", &enforcement("x/a\"\n  accept # \u{fc}"));
        assert!(
            lines(&text).contains(&"comment \"x/a  accept  \""),
            "{text}"
        );
        let long = ruleset("t", &enforcement(&"n".repeat(400)));
        assert!(lines(&long).contains(&format!("comment \"{}\"", "n".repeat(127)).as_str()));
    }
}
