//! `bailiwick-fence respond`: takes connections, writes a line and hangs up. Reads nothing.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bailiwick_fence::RESPONDER_PORT;
use clap::Args;
use nix::libc;
use nix::sys::signal::SigSet;
use socket2::{Domain, Protocol, Socket, Type};

use crate::FenceError;

/// What whoever connects is told.
const GREETING: &[u8] = b"bailiwick-fence\n";
/// How many connections of a listener are served at once; others wait in the kernel's queue.
const AT_ONCE: usize = 16;
/// The kernel's queue of connections that wait.
const WAITING: i32 = 1024;
/// How long the greeting may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// The pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Args, Debug)]
pub struct Respond {
    /// Address and port to answer on; may be repeated. All addresses of both families on port 7443 when left out.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
}

/// Answers until a signal of `ends` comes. The caller has blocked those signals.
///
/// # Errors
/// An address cannot be listened on.
pub fn run(respond: &Respond, ends: &SigSet) -> Result<(), FenceError> {
    let listeners = if respond.listen.is_empty() {
        vec![everywhere().map_err(|source| FenceError::Listen {
            address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, RESPONDER_PORT)),
            source,
        })?]
    } else {
        let listeners = respond.listen.iter().map(|address| {
            listen(*address).map_err(|source| FenceError::Listen {
                address: *address,
                source,
            })
        });
        listeners.collect::<Result<_, _>>()?
    };
    for listener in listeners {
        for _ in 0..AT_ONCE {
            let listener = listener.try_clone().map_err(FenceError::Threads)?;
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || serve(&listener))
                .map_err(FenceError::Threads)?;
        }
    }
    ends.wait()
        .map(|_| ())
        .map_err(|source| FenceError::Signals(source.into()))
}

/// Both families, or IPv4 alone where the host has no IPv6.
fn everywhere() -> io::Result<TcpListener> {
    match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, RESPONDER_PORT))) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
            ) =>
        {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, RESPONDER_PORT)))
        }
        other => other,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

fn serve(listener: &TcpListener) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => greet(stream),
            // A client that went away, or no descriptor left: none of it ends the responder.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// A client that is gone by now is no matter of ours.
fn greet(mut stream: TcpStream) {
    if stream.set_write_timeout(Some(DEADLINE)).is_ok() && stream.write_all(GREETING).is_ok() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn whoever_connects_is_greeted_and_silence_holds_up_nobody() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener));
        // They never read nor write.
        let silent: Vec<TcpStream> = (0..64)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut said = Vec::new();
        TcpStream::connect(address)
            .unwrap()
            .read_to_end(&mut said)
            .unwrap();
        assert_eq!(said, GREETING);
        assert_eq!(silent.len(), 64);
    }

    #[test]
    fn the_unspecified_address_of_version_6_takes_both_families() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || serve(&listener));
        for host in ["127.0.0.1", "::1"] {
            TcpStream::connect((host, port)).unwrap();
        }
    }
}
