//! Asks the pod's resolvers for a name, by UDP and by TCP. A name and resolvers in, what was tried out. Network I/O. A
//! response that cannot be read shows nothing: it is never taken for a resolver that does not tell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bailiwick_model::canary::question::Tried;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// How long a resolver may take, over UDP and then over TCP each.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a resolver says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// It has an answer.
    Answer,
    /// It has none: there is no such name or address, or it refuses, or fails.
    NoAnswer,
    /// What it has does not fit into a datagram: it is to be asked over TCP.
    Truncated,
    /// Something that is no response to this question.
    Unusable,
    /// Nothing.
    Silence,
}

/// Asks each resolver for the address of a name, over UDP and over TCP. One that tells is enough. Without a resolver, for
/// what is no name, and when nobody tells but a response could not be read, the attempt failed.
pub(super) fn resolve(name: &str, resolvers: &[SocketAddr]) -> Tried {
    let Some((question, message)) = question(name).filter(|_| !resolvers.is_empty()) else {
        return Tried::Failed;
    };
    let mut outcome = Tried::NotResolved;
    for resolver in resolvers {
        let udp = reply(&question, ask_udp(*resolver, &message).as_deref());
        let tcp = reply(&question, ask_tcp(*resolver, &message).as_deref());
        match (udp, tcp) {
            (Reply::Answer, _) | (_, Reply::Answer) => return Tried::Resolved,
            // What did not fit was asked for again, and it is not there.
            (Reply::Truncated, Reply::NoAnswer)
            | (Reply::NoAnswer | Reply::Silence, Reply::NoAnswer | Reply::Silence) => {}
            (Reply::Unusable | Reply::Truncated, _) | (_, Reply::Unusable | Reply::Truncated) => {
                outcome = Tried::Failed;
            }
        }
    }
    outcome
}

/// A question for the IPv4 address of a name, with a random id, and its packet; none for what is no name.
fn question(name: &str) -> Option<(Message, Vec<u8>)> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    if name.is_root() {
        return None;
    }
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    let packet = question.to_vec().ok()?;
    Some((question, packet))
}

/// What a packet says to a question (RFC 1035, section 4).
fn reply(question: &Message, packet: Option<&[u8]>) -> Reply {
    let Some(packet) = packet else {
        return Reply::Silence;
    };
    let mut decoder = BinDecoder::new(packet);
    let Ok(response) = Message::read(&mut decoder) else {
        return Reply::Unusable;
    };
    let said = &response.metadata;
    let refuses = said.response_code != ResponseCode::NoError;
    // A server that refuses may leave the question out.
    let is_asked = response.queries == question.queries || (refuses && response.queries.is_empty());
    let is_whole = decoder.is_empty();
    if !is_whole
        || !is_asked
        || said.id != question.metadata.id
        || said.message_type != MessageType::Response
        || said.op_code != OpCode::Query
    {
        return Reply::Unusable;
    }
    match (refuses, response.answers.is_empty(), said.truncation) {
        (false, false, _) => Reply::Answer,
        (false, true, true) => Reply::Truncated,
        _ => Reply::NoAnswer,
    }
}

/// The packet that a resolver answers with over UDP; none when nothing comes.
fn ask_udp(resolver: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(resolver).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    socket.send(message).ok()?;
    let mut response = vec![0; 4096];
    let length = socket.recv(&mut response).ok()?;
    response.truncate(length);
    Some(response)
}

/// The packet that a resolver answers with over TCP, as far as it came; none when nothing comes.
fn ask_tcp(resolver: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    let end = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&resolver, TIMEOUT).ok()?;
    let left = end.saturating_duration_since(Instant::now());
    stream
        .set_read_timeout(Some(left.max(Duration::from_millis(1))))
        .ok()?;
    let length = u16::try_from(message.len()).ok()?;
    stream.write_all(&length.to_be_bytes()).ok()?;
    stream.write_all(message).ok()?;
    let prefix = up_to(2, &mut stream);
    match <[u8; 2]>::try_from(prefix.as_slice()) {
        Ok(length) => Some(up_to(u16::from_be_bytes(length), &mut stream)),
        Err(_) if prefix.is_empty() => None,
        // Half a length is no packet, but somebody answers.
        Err(_) => Some(prefix),
    }
}

/// As many bytes as `length` says, or fewer when no more come.
fn up_to(length: u16, stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What came before an error is kept, and its length says that it is not whole.
    let _ = stream.take(length.into()).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
