//! Which addresses a Region may declare outside the cluster. Whoever declares a place does not say where it is: the
//! platform does, and some addresses are refused wherever they are said to be. A spec, the platform and facts in,
//! violations out; no I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bailiwick_api::region::RegionSpec;
use bailiwick_api::violation::{Reason, Violation};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::facts::Facts;
use crate::plan::Platform;
use crate::residency::Policy;

/// The most addresses that all the declared endpoints of a Region may have together.
pub const MOST_ADDRESSES: u128 = 4096;

const fn v4(address: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(address), length))
}

const fn v6(address: [u16; 8], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::from_segments(address),
        length,
    ))
}

/// Ranges that are no place, and what each is. The metadata services are those of AWS and most others, of AWS over
/// IPv6, of Google over IPv6, of Alibaba, of Azure (its wire server) and of Oracle.
const NEVER: &[(IpNet, &str)] = &[
    (v4([169, 254, 169, 254], 32), "a cloud's metadata service"),
    (
        v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128),
        "a cloud's metadata service",
    ),
    (
        v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128),
        "a cloud's metadata service",
    ),
    (v4([100, 100, 100, 200], 32), "a cloud's metadata service"),
    (v4([168, 63, 129, 16], 32), "a cloud's metadata service"),
    (v4([192, 0, 0, 192], 32), "a cloud's metadata service"),
    (v4([0, 0, 0, 0], 8), "addresses of the machine itself"),
    (v6([0; 8], 127), "addresses of the machine itself"),
    (v4([127, 0, 0, 0], 8), "addresses of the machine itself"),
    (v4([169, 254, 0, 0], 16), "link-local addresses"),
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        "link-local addresses",
    ),
    (v4([224, 0, 0, 0], 4), "multicast addresses"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast addresses"),
    (v4([240, 0, 0, 0], 4), "reserved addresses"),
    // One address in the clothes of another family passes by every rule on the other.
    (
        v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
        "IPv4 addresses written as IPv6",
    ),
    (
        v6([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
        "IPv4 addresses written as IPv6",
    ),
    (
        v6([0x0064, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        "IPv4 addresses written as IPv6",
    ),
    (
        v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        "IPv4 addresses written as IPv6",
    ),
];

/// Ranges that anybody may use inside (RFC 1918, RFC 6598, RFC 4193): what answers there only the platform knows.
const PRIVATE: &[IpNet] = &[
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
];

/// A range of addresses as the API server takes it: without leading zeros, which some read as octal. None of any other text.
#[must_use]
pub fn range(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let is_length = length == "0" || !length.starts_with(['0', '+']);
    let length: u8 = length.parse().ok().filter(|_| is_length)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// What is wrong with the addresses of `spec.network.external`, in the order of the spec: the first fault of each range,
/// and their number.
#[must_use]
pub fn violations(spec: &RegionSpec, platform: &Platform, facts: &Facts) -> Vec<Violation> {
    let mut found = Vec::new();
    let policy = Policy::of(spec);
    let mut addresses: u128 = 0;
    for (index, external) in spec.network.external.iter().enumerate() {
        for (position, text) in external.cidrs.iter().enumerate() {
            let field = format!("spec.network.external[{index}].cidrs[{position}]");
            let refused = |reason, message: String| {
                Violation::new(
                    field,
                    reason,
                    format!("is {text} in {}, {message}", external.location),
                )
            };
            let Some(range) = range(text) else {
                found.push(refused(
                    Reason::Invalid,
                    "which is no range of addresses; expected CIDR notation without leading zeros, as 203.0.113.10/32"
                        .to_owned(),
                ));
                continue;
            };
            let (written, range) = (range, range.trunc());
            addresses = addresses.saturating_add(size(range));
            let refusal = never(range, platform, facts).or_else(|| unmasked(written));
            let refusal = refusal.or_else(|| {
                // Where nothing may be, it does not matter which addresses are there.
                let allowed = policy.allows(&external.location);
                allowed.then(|| elsewhere(range, &external.location, platform))?
            });
            if let Some((reason, message)) = refusal {
                found.push(refused(reason, message));
            }
        }
    }
    if addresses > MOST_ADDRESSES {
        found.push(Violation::new(
            "spec.network.external",
            Reason::Invalid,
            format!(
                "names {addresses} addresses, expected at most {MOST_ADDRESSES} in all; name the addresses of each place \
                 alone"
            ),
        ));
    }
    found
}

/// Whether a range holds an address; also when it is no range, since what cannot be told is not ruled out.
#[must_use]
pub fn may_hold(cidr: &str, address: IpAddr) -> bool {
    range(cidr).is_none_or(|range| range.contains(&address))
}

/// How many addresses a range has.
fn size(range: IpNet) -> u128 {
    let free = u32::from(range.max_prefix_len() - range.prefix_len());
    1_u128.checked_shl(free).unwrap_or(u128::MAX)
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Why a range is refused that has bits of an address after its prefix: the API server takes no NetworkPolicy with it.
fn unmasked(range: IpNet) -> Option<(Reason, String)> {
    (range.addr() != range.network()).then(|| {
        (
            Reason::Invalid,
            format!(
                "which has bits of an address after its prefix; expected {} or a longer prefix",
                range.trunc()
            ),
        )
    })
}

/// Why a range is refused wherever it is said to be, and what to do.
fn never(range: IpNet, platform: &Platform, facts: &Facts) -> Option<(Reason, String)> {
    const ALONE: &str = "name the addresses of this place alone";
    if let Some((_, what)) = NEVER.iter().find(|(never, _)| overlap(range, *never)) {
        return Some((Reason::Invalid, format!("which holds {what}; {ALONE}")));
    }
    if platform
        .outside_address
        .is_some_and(|outside| range.contains(&outside.ip()))
    {
        return Some((
            Reason::OutsideJurisdiction,
            format!(
                "which holds the address outside that no pod of a Region may reach (--outside-address); {ALONE}"
            ),
        ));
    }
    of_the_cluster(range, platform, facts).map(|whose| {
        (
            Reason::Invalid,
            format!("which holds {whose} of this cluster; {ALONE}"),
        )
    })
}

/// Why a range is not known to be in a location, and what to do.
fn elsewhere(range: IpNet, location: &str, platform: &Platform) -> Option<(Reason, String)> {
    if platform.location_addresses.is_empty() {
        return PRIVATE.iter().any(|private| overlap(range, *private)).then(|| {
            (
                Reason::OutsideJurisdiction,
                format!(
                    "which holds private addresses that the operator was not told to be there; ask the platform to start \
                     it with --location-addresses {location}=<ranges>, or take the range out"
                ),
            )
        });
    }
    let known = platform
        .location_addresses
        .get(location)
        .map(IpNet::aggregate)
        .unwrap_or_default();
    if known.iter().any(|known| known.contains(&range)) {
        return None;
    }
    let expected = if known.is_empty() {
        format!("expected no address: the operator was told none of {location}")
    } else {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        format!(
            "expected addresses in {}, which the operator was told of",
            known.join(", ")
        )
    };
    Some((
        Reason::OutsideJurisdiction,
        format!(
            "{expected}; name a place there, or ask the platform to start the operator with --location-addresses \
             {location}=<ranges>"
        ),
    ))
}

/// What of the cluster a range holds; none when nothing is known of it.
fn of_the_cluster(range: IpNet, platform: &Platform, facts: &Facts) -> Option<&'static str> {
    let holds = |address: &str| {
        address
            .parse::<IpAddr>()
            .is_ok_and(|address| range.contains(&address))
    };
    let touches = |other: &str| self::range(other).is_some_and(|other| overlap(range, other));
    if facts.node_addresses.values().any(|it| holds(it)) {
        return Some("a node");
    }
    if facts.api_server.iter().any(|it| holds(&it.ip)) {
        return Some("the API server");
    }
    if facts.pod_ranges.iter().any(|it| touches(it))
        || facts
            .neighbours
            .values()
            .flat_map(|neighbour| neighbour.pods.all())
            .any(|(_, pod)| holds(&pod.ip))
        || facts
            .pods
            .all()
            .filter_map(|(_, pod)| pod.ip.as_deref())
            .any(holds)
    {
        return Some("pods");
    }
    platform
        .cluster_addresses
        .iter()
        .any(|it| overlap(range, *it))
        .then_some("pods or Services (--cluster-addresses)")
}
