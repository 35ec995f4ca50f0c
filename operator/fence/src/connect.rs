//! One connection, hung up at once, and what it met; and the address families that the pod has. Network I/O.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use bailiwick_fence::decision::Kind;
use nix::libc;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// What a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The peer, which took it.
    Peer,
    /// The peer, or who speaks in its name, with a reset: packets get through.
    Reset,
    /// Somebody on the way (ICMP) or this very host, who said that it does not go there.
    Unreachable,
    /// Nobody in time.
    Nobody,
    /// Nothing: it could not be tried.
    Untried,
}

/// Connects to an address and hangs up. Nothing is sent and nothing read.
pub fn connect(address: SocketAddr) -> Met {
    let Ok(socket) = socket(address) else {
        return Met::Untried;
    };
    match socket.connect_timeout(&address.into(), CONNECT) {
        Ok(()) => Met::Peer,
        // Linux reports a reset and ICMP "port unreachable" in the same words; only the latter is in the error queue.
        Err(_) if told_by_icmp(&socket) => Met::Unreachable,
        Err(error) => met_by(&error),
    }
}

/// A socket that keeps ICMP errors apart (Linux 5.9 and later for TCP; before, a refusal on the way is taken for a reset,
/// so for open).
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    match address {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(socket)
}

/// Whether an ICMP message is in the socket's error queue.
fn told_by_icmp(socket: &Socket) -> bool {
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut payload = [0; 256];
    let mut payload = [IoSliceMut::new(&mut payload)];
    let Ok(message) = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut payload,
        Some(&mut space),
        MsgFlags::MSG_ERRQUEUE,
    ) else {
        return false;
    };
    message.cmsgs().is_ok_and(|mut messages| {
        messages.any(|message| match message {
            ControlMessageOwned::Ipv4RecvErr(error, _) => {
                error.ee_origin == libc::SO_EE_ORIGIN_ICMP
            }
            ControlMessageOwned::Ipv6RecvErr(error, _) => {
                error.ee_origin == libc::SO_EE_ORIGIN_ICMP6
            }
            _ => false,
        })
    })
}

fn met_by(error: &io::Error) -> Met {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Met::Reset,
        ErrorKind::TimedOut => Met::Nobody,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::PermissionDenied => Met::Unreachable,
        _ => Met::Untried,
    }
}

/// The address families of which the host has an address by which it could reach others, in order.
///
/// # Errors
/// The kernel does not tell.
pub fn families() -> io::Result<Vec<Kind>> {
    let mut kinds: Vec<Kind> = nix::ifaddrs::getifaddrs()?
        .filter(|interface| !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        })
        .filter_map(family_of)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// The family of an address that leads beyond its link. An IPv4 link-local one counts: some plugins give pods one that is
/// translated on its way out.
fn family_of(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(four) => (!four.is_loopback() && !four.is_unspecified()).then_some(Kind::Four),
        IpAddr::V6(six) => {
            let other = six.is_loopback() || six.is_unspecified() || six.is_unicast_link_local();
            (!other).then_some(Kind::Six)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_peer_and_its_reset_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(connect(address), Met::Peer);
        drop(listener);
        assert_eq!(connect(address), Met::Reset);
    }

    #[test]
    fn errors_without_icmp_are_told_apart() {
        let met = [
            (libc::ECONNREFUSED, Met::Reset),
            (libc::ECONNRESET, Met::Reset),
            (libc::ETIMEDOUT, Met::Nobody),
            (libc::EHOSTUNREACH, Met::Unreachable),
            (libc::ENETUNREACH, Met::Unreachable),
            (libc::EACCES, Met::Unreachable),
            (libc::EPERM, Met::Unreachable),
            (libc::EMFILE, Met::Untried),
            (libc::EADDRNOTAVAIL, Met::Untried),
        ];
        for (number, met) in met {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(met_by(&error), met, "{error}");
        }
    }

    #[test]
    fn only_addresses_that_lead_on_count() {
        let family = |text: &str| family_of(text.parse().unwrap());
        for four in ["10.0.0.1", "169.254.172.2", "198.51.100.1"] {
            assert_eq!(family(four), Some(Kind::Four), "{four}");
        }
        for six in ["fd00::1", "2001:db8::1"] {
            assert_eq!(family(six), Some(Kind::Six), "{six}");
        }
        for none in ["127.0.0.1", "0.0.0.0", "::1", "::", "fe80::1"] {
            assert_eq!(family(none), None, "{none}");
        }
    }
}
