//! A process inside one place: it serves TCP, UDP and SCTP on the place's address and, on order, tries connections
//! to other places. Orders come in on standard input, one answer a line goes out on standard output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bailiwick_dev_netpol::objects::Protocol;
use socket2::{Domain, Socket, Type};

use crate::cases::{Failure, ProbePort};

/// The argument that makes the test binary a prober.
pub const ARGUMENT: &str = "probe-from";
/// The ports that every place serves, for each protocol.
const SERVED: [u16; 2] = [80, 81];
/// The port that listens for datagrams without answering, over IPv4 and IPv6.
const SHOUTS: u16 = 82;
/// The first source port. Each attempt takes the next, so that no attempt falls into the flow of an earlier one.
const FIRST_SOURCE_PORT: u16 = 10_000;
const SCTP: i32 = 132;
/// How long an order that needs no time of its own waits for the other side.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves and probes until the input ends. Takes the place's address and whether it forwards packets.
pub fn run(address: &str, forwards: bool) -> Result<(), Failure> {
    let address: Ipv4Addr = address.parse()?;
    if forwards {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    for port in SERVED {
        serve_tcp(address, port)?;
        serve_udp(address, port)?;
    }
    let mut prober = Prober {
        address,
        sctp: Sctp::serve(address)?,
        heard: listen_for_shouts()?,
        source_port: FIRST_SOURCE_PORT,
        held: None,
        flood: None,
    };
    let mut output = io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    let mut tries: Vec<(Ipv4Addr, ProbePort)> = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answers = match words.as_slice() {
            ["try", to, port] => {
                tries.push((to.parse()?, read_port(port)?));
                continue;
            }
            ["within", milliseconds] => prober.attempt(
                &std::mem::take(&mut tries),
                Duration::from_millis(milliseconds.parse()?),
            ),
            ["hold", to] => vec![said(prober.hold(to.parse()?))],
            ["talk"] => vec![said(prober.talk())],
            ["shout", sender, receiver] => vec![match shout(sender.parse()?, receiver.parse()?) {
                Ok(()) => "sent".to_owned(),
                Err(error) => error.to_string(),
            }],
            ["flood", receiver] => vec![match prober.flood(receiver.parse()?) {
                Ok(()) => "flooding".to_owned(),
                Err(error) => error.to_string(),
            }],
            ["ebb"] => vec![prober.ebb().to_string()],
            ["heard", sender] => vec![
                if prober.hears(sender.parse()?) {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
            ],
            _ => return Err(format!("{line:?} is no order").into()),
        };
        let text: String = answers.into_iter().map(|answer| answer + "\n").collect();
        output.write_all(text.as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

fn said(result: io::Result<bool>) -> String {
    match result {
        Ok(true) => "open".to_owned(),
        Ok(false) => "shut".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_port(text: &str) -> Result<ProbePort, Failure> {
    let (protocol, number) = text.split_once('/').ok_or("a port is protocol/number")?;
    let protocol =
        Protocol::read(Some(&protocol.to_uppercase())).ok_or("a protocol is tcp, udp or sctp")?;
    Ok(ProbePort(protocol, number.parse()?))
}

struct Prober {
    address: Ipv4Addr,
    sctp: Sctp,
    heard: Arc<Mutex<BTreeSet<IpAddr>>>,
    source_port: u16,
    held: Option<TcpStream>,
    flood: Option<Flood>,
}

/// Datagrams that are sent as fast as the machine can, all of one flow.
struct Flood {
    ends: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

impl Prober {
    /// Tries all connections at once; gives `open`, `shut` or what went wrong, in their order.
    fn attempt(&mut self, tries: &[(Ipv4Addr, ProbePort)], time: Duration) -> Vec<String> {
        let first = self.source_port;
        self.source_port += u16::try_from(tries.len()).unwrap_or(u16::MAX);
        let (address, sctp) = (self.address, &self.sctp);
        thread::scope(|scope| {
            let attempts: Vec<_> = tries
                .iter()
                .zip(first..)
                .map(|((to, port), source_port)| {
                    let from = SocketAddrV4::new(address, source_port);
                    let to = SocketAddrV4::new(*to, port.1);
                    let protocol = port.0;
                    scope.spawn(move || match protocol {
                        Protocol::Tcp => try_tcp(from, to, time),
                        Protocol::Udp => try_udp(from, to, time),
                        Protocol::Sctp => sctp.attempt(from, to, time),
                    })
                })
                .collect();
            let ended = attempts.into_iter().map(|attempt| match attempt.join() {
                Ok(result) => said(result),
                Err(_) => "the attempt panicked".to_owned(),
            });
            ended.collect()
        })
    }

    fn hold(&mut self, to: Ipv4Addr) -> io::Result<bool> {
        match TcpStream::connect_timeout(&(to, SERVED[0]).into(), PAUSE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PAUSE))?;
                self.held = Some(stream);
                Ok(true)
            }
            Err(error) => answered(Err(error)),
        }
    }

    fn talk(&mut self) -> io::Result<bool> {
        let held = self
            .held
            .as_mut()
            .ok_or_else(|| io::Error::other("no connection is held"))?;
        held.write_all(b"still here")?;
        answered(held.read_exact(&mut [0; 10]))
    }

    /// Starts to shout at a place without a pause.
    fn flood(&mut self, receiver: Ipv4Addr) -> io::Result<()> {
        let socket = UdpSocket::bind((self.address, 0))?;
        socket.connect((receiver, SHOUTS))?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            loop {
                // Read first: one datagram at least leaves after the order to end.
                let last = ended.load(Ordering::Relaxed);
                sent += u64::from(socket.send(b"hear me").is_ok());
                if last {
                    return sent;
                }
            }
        });
        self.flood = Some(Flood { ends, sender });
        Ok(())
    }

    /// Ends the flood; gives how many datagrams it sent.
    fn ebb(&mut self) -> u64 {
        let Some(flood) = self.flood.take() else {
            return 0;
        };
        flood.ends.store(true, Ordering::Relaxed);
        flood.sender.join().unwrap_or_default()
    }

    /// Whether a datagram of the sender has come or comes within the pause.
    fn hears(&self, sender: IpAddr) -> bool {
        let end = Instant::now() + PAUSE;
        while Instant::now() < end {
            if locked(&self.heard).remove(&sender) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn shout(sender: IpAddr, receiver: IpAddr) -> io::Result<()> {
    UdpSocket::bind((sender, 0))?
        .send_to(b"hear me", (receiver, SHOUTS))
        .map(drop)
}

fn listen_for_shouts() -> Result<Arc<Mutex<BTreeSet<IpAddr>>>, Failure> {
    // The IPv6 socket receives IPv4 as well, with addresses that are mapped.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, SHOUTS))?;
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let told = Arc::clone(&heard);
    thread::spawn(move || {
        loop {
            if let Ok((_, sender)) = socket.recv_from(&mut [0; 64]) {
                locked(&told).insert(sender.ip().to_canonical());
            }
        }
    });
    Ok(heard)
}

fn serve_tcp(address: Ipv4Addr, port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind((address, port))?;
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(size @ 1..) = connection.read(&mut bytes) {
                    let _ = connection.write_all(&bytes[..size]);
                }
            });
        }
    });
    Ok(())
}

fn try_tcp(from: SocketAddrV4, to: SocketAddrV4, time: Duration) -> io::Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&from.into())?;
    answered(socket.connect_timeout(&to.into(), time))
}

fn serve_udp(address: Ipv4Addr, port: u16) -> Result<(), Failure> {
    let socket = UdpSocket::bind((address, port))?;
    thread::spawn(move || {
        let mut packet = [0; 64];
        // Errors are those of earlier answers that could not be delivered.
        loop {
            if let Ok((size, sender)) = socket.recv_from(&mut packet) {
                let _ = socket.send_to(&packet[..size], sender);
            }
        }
    });
    Ok(())
}

fn try_udp(from: SocketAddrV4, to: SocketAddrV4, time: Duration) -> io::Result<bool> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(time))?;
    socket.send(b"probe")?;
    answered(socket.recv(&mut [0; 64]).map(drop))
}

/// Whether somebody answered; silence is no error, a refusal is one, because every place serves every port.
fn answered(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The opening exchange of SCTP (RFC 9260: INIT, INIT ACK) over a raw socket, because the kernel may lack SCTP. To
/// conntrack and nftables it is SCTP as any other.
struct Sctp {
    socket: Arc<Socket>,
    /// The source ports of attempts, and whether the other side has answered.
    attempts: Arc<Mutex<BTreeMap<u16, bool>>>,
}

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
/// The tag that each side asks the other to send; any number but 0.
const TAG: u32 = 0x0BA1_11C4;

impl Sctp {
    fn serve(address: Ipv4Addr) -> Result<Self, Failure> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(SCTP.into()))?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        let socket = Arc::new(socket);
        let attempts = Arc::new(Mutex::new(BTreeMap::new()));
        let (server, answered) = (Arc::clone(&socket), Arc::clone(&attempts));
        thread::spawn(move || {
            let mut packet = [0; 256];
            loop {
                let Ok(size) = (&*server).read(&mut packet) else {
                    continue;
                };
                let Some(message) = Message::read(&packet[..size]) else {
                    continue;
                };
                if message.kind == INIT && SERVED.contains(&message.to) {
                    let answer = Message {
                        kind: INIT_ACK,
                        from: message.to,
                        to: message.from,
                        ..message
                    };
                    let _ = server.send_to(
                        &answer.bytes(TAG),
                        &SocketAddr::from((message.sender, 0)).into(),
                    );
                } else if message.kind == INIT_ACK
                    && let Some(seen) = answered
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_mut(&message.to)
                {
                    *seen = true;
                }
            }
        });
        Ok(Self { socket, attempts })
    }

    fn attempt(&self, from: SocketAddrV4, to: SocketAddrV4, time: Duration) -> io::Result<bool> {
        let known = || locked(&self.attempts);
        known().insert(from.port(), false);
        let init = Message {
            kind: INIT,
            sender: *from.ip(),
            from: from.port(),
            to: to.port(),
        };
        self.socket
            .send_to(&init.bytes(0), &SocketAddr::from((*to.ip(), 0)).into())?;
        let end = Instant::now() + time;
        while Instant::now() < end {
            if known().get(&from.port()) == Some(&true) {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(known().remove(&from.port()) == Some(true))
    }
}

/// What matters of an SCTP packet with a single opening chunk.
struct Message {
    kind: u8,
    sender: Ipv4Addr,
    from: u16,
    to: u16,
}

impl Message {
    /// Reads a packet as a raw socket delivers it, IPv4 header included.
    fn read(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let sender: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
        let number = |at: usize| {
            Some(u16::from_be_bytes(
                packet.get(header + at..header + at + 2)?.try_into().ok()?,
            ))
        };
        Some(Self {
            kind: *packet.get(header + 12)?,
            sender: sender.into(),
            from: number(0)?,
            to: number(2)?,
        })
    }

    /// The packet without IPv4 header. The first packet of an association carries tag 0.
    fn bytes(&self, tag: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(self.from.to_be_bytes());
        bytes.extend(self.to.to_be_bytes());
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.kind, 0, 0, 20]);
        bytes.extend(TAG.to_be_bytes());
        bytes.extend(65_536_u32.to_be_bytes());
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(1_u32.to_be_bytes());
        let checksum = crc32c(&bytes).to_le_bytes();
        bytes[8..12].copy_from_slice(&checksum);
        bytes
    }
}

/// The checksum (Castagnoli's polynomial) of SCTP (RFC 9260, appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0x82F6_3B78
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), bit)
    })
}
