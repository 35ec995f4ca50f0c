//! Sets of IPv4 addresses as sorted, disjoint ranges: CIDR text and single addresses come in, ranges that nftables
//! accepts as set elements go out. Pure: no I/O.

use std::fmt;
use std::net::Ipv4Addr;

/// Addresses from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    /// The lowest address of the range.
    pub first: Ipv4Addr,
    /// The highest address of the range, never below `first`.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Reads a network in CIDR notation, such as `10.1.0.0/16`.
    ///
    /// Bits behind the prefix are ignored, as the Kubernetes API ignores them in an `ipBlock`.
    ///
    /// # Errors
    /// [`CidrError`] when the text is not IPv4 in CIDR notation. IPv6 is an error here: the cluster has no IPv6 pods.
    pub fn parse_cidr(text: &str) -> Result<Self, CidrError> {
        let refused = || CidrError {
            text: text.to_owned(),
        };
        let (address, length) = text.split_once('/').ok_or_else(refused)?;
        let address: Ipv4Addr = address.parse().map_err(|_| refused())?;
        let length: u32 = length.parse().map_err(|_| refused())?;
        let host_bits = 32_u32.checked_sub(length).ok_or_else(refused)?;
        let host_mask = u32::MAX.checked_shr(32 - host_bits).unwrap_or(0);
        let address = u32::from(address);
        Ok(Self {
            first: Ipv4Addr::from(address & !host_mask),
            last: Ipv4Addr::from(address | host_mask),
        })
    }

    /// Whether the address lies in the range.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }
}

impl From<Ipv4Addr> for AddressRange {
    fn from(address: Ipv4Addr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Text that is not an IPv4 network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an IPv4 network such as 10.1.0.0/16: write an address, a slash and 0 to 32"
)]
pub struct CidrError {
    text: String,
}

/// A set of addresses. Two sets are equal exactly when they hold the same addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSet {
    /// Sorted, disjoint and not adjacent, so that nftables never sees an overlap.
    ranges: Vec<AddressRange>,
}

impl AddressSet {
    /// The set without the addresses of `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.ranges {
            let mut from = Some(u32::from(range.first));
            let last = u32::from(range.last);
            for hole in &other.ranges {
                let (hole_first, hole_last) = (u32::from(hole.first), u32::from(hole.last));
                let Some(start) = from else { break };
                if hole_last < start || hole_first > last {
                    continue;
                }
                if hole_first > start {
                    left.push(AddressRange {
                        first: start.into(),
                        last: (hole_first - 1).into(),
                    });
                }
                from = hole_last.checked_add(1).filter(|next| *next <= last);
            }
            if let Some(start) = from {
                left.push(AddressRange {
                    first: start.into(),
                    last: range.last,
                });
            }
        }
        left.into_iter().collect()
    }

    /// Whether the address is in the set.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether the set holds no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges in ascending order, disjoint and not adjacent.
    pub fn ranges(&self) -> impl Iterator<Item = &AddressRange> {
        self.ranges.iter()
    }
}

impl<R: Into<AddressRange>> FromIterator<R> for AddressSet {
    fn from_iter<I: IntoIterator<Item = R>>(addresses: I) -> Self {
        let mut sorted: Vec<AddressRange> = addresses.into_iter().map(Into::into).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<AddressRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match ranges.last_mut() {
                Some(before)
                    if u32::from(before.last).saturating_add(1) >= u32::from(range.first) =>
                {
                    before.last = before.last.max(range.last);
                }
                _ => ranges.push(range),
            }
        }
        Self { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(networks: &[&str]) -> AddressSet {
        networks
            .iter()
            .map(|text| AddressRange::parse_cidr(text).unwrap())
            .collect()
    }

    fn shown(set: &AddressSet) -> Vec<String> {
        set.ranges().map(ToString::to_string).collect()
    }

    #[test]
    fn a_network_covers_its_first_and_last_address() {
        assert_eq!(shown(&set(&["10.1.2.3/16"])), ["10.1.0.0-10.1.255.255"]);
        assert_eq!(shown(&set(&["0.0.0.0/0"])), ["0.0.0.0-255.255.255.255"]);
        assert_eq!(shown(&set(&["192.0.2.7/32"])), ["192.0.2.7"]);
    }

    #[test]
    fn what_is_no_ipv4_network_is_refused() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/8",
            "10.0.0.0/-1",
            "/8",
            "010.0.0.0/8",
        ] {
            assert!(
                AddressRange::parse_cidr(text).is_err(),
                "{text} was accepted"
            );
        }
    }

    #[test]
    fn overlapping_and_adjacent_ranges_become_one() {
        assert_eq!(
            shown(&set(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25"])),
            ["10.0.0.0-10.0.1.255"]
        );
        assert_eq!(
            shown(&set(&["255.255.255.255/32", "255.255.255.254/32"])),
            ["255.255.255.254-255.255.255.255"]
        );
    }

    #[test]
    fn holes_are_cut_at_the_start_the_middle_and_the_end() {
        let ten = set(&["10.0.0.0/29"]);
        assert_eq!(
            shown(&ten.without(&set(&["10.0.0.0/32"]))),
            ["10.0.0.1-10.0.0.7"]
        );
        assert_eq!(
            shown(&ten.without(&set(&["10.0.0.4/31"]))),
            ["10.0.0.0-10.0.0.3", "10.0.0.6-10.0.0.7"]
        );
        assert_eq!(
            shown(&ten.without(&set(&["10.0.0.7/32"]))),
            ["10.0.0.0-10.0.0.6"]
        );
        assert_eq!(
            shown(&ten.without(&set(&["10.0.0.1/32", "10.0.0.3/32"]))),
            ["10.0.0.0", "10.0.0.2", "10.0.0.4-10.0.0.7"]
        );
        assert!(ten.without(&set(&["10.0.0.0/8"])).is_empty());
        assert_eq!(ten.without(&set(&["11.0.0.0/8"])), ten);
        assert!(
            set(&["255.255.255.255/32"])
                .without(&set(&["255.0.0.0/8"]))
                .is_empty()
        );
    }
}
