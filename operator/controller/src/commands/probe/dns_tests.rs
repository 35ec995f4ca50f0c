//! Responses of resolvers on loopback, written byte by byte: whole ones, and ones that are not.

use std::net::TcpListener;
use std::thread;

use super::super::tests::UNREACHABLES;
use super::*;

const NAME: &str = "outside.test";
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;
const REFUSED: u8 = 5;
/// Where the code and the flags are.
const FLAGS: usize = 2;
/// Where the low byte of the number of answers is.
const ANSWERS: usize = 7;
/// The answer's name: a pointer to the question's.
const POINTER: [u8; 2] = [0xc0, 12];

/// The response to a question, with this code and this many answers.
fn response(question: &[u8], code: u8, answers: u8) -> Vec<u8> {
    let mut response = question.to_vec();
    response[FLAGS] = 0x81;
    response[FLAGS + 1] = 0x80 | code;
    response[ANSWERS] = answers;
    for last in 0..answers {
        response.extend(POINTER);
        // Type A, class IN, 60 s, four bytes.
        response.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
    }
    response
}

/// What a resolver makes of a question.
type Responder = fn(&[u8]) -> Vec<u8>;
/// What spoils a packet.
type Spoiler = fn(&mut Vec<u8>);

/// A resolver on loopback that answers over UDP alone, over TCP alone, or over both.
fn resolver(udp: Option<Responder>, tcp: Option<Responder>) -> SocketAddr {
    let (socket, listener) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Another test may have the same port for UDP.
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            break (socket, listener);
        }
    };
    let address = listener.local_addr().unwrap();
    // Dropped where nobody is to answer.
    if let Some(answer) = udp {
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(&answer(&question[..length]), client);
            }
        });
    }
    if let Some(answer) = tcp {
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let length = up_to(2, &mut stream);
                let question = up_to(u16::from_be_bytes([length[0], length[1]]), &mut stream);
                let _ = stream.write_all(&answer(&question));
            }
        });
    }
    address
}

/// A packet behind its length, as TCP has it.
fn prefixed(packet: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap();
    [length.to_be_bytes().to_vec(), packet].concat()
}

fn over_udp(answer: Responder) -> SocketAddr {
    resolver(Some(answer), None)
}

fn over_tcp(answer: Responder) -> SocketAddr {
    resolver(None, Some(answer))
}

#[test]
fn a_name_is_told_only_by_an_answer() {
    // Over UDP nobody is behind one of the ports.
    let _counted = UNREACHABLES.lock();
    let ask = |resolver: SocketAddr| resolve(NAME, &[resolver]);
    let answers = |it: &[u8]| response(it, NO_ERROR, 1);
    let refuses = |it: &[u8]| response(it, REFUSED, 0);
    assert_eq!(ask(over_udp(answers)), Tried::Resolved);
    assert_eq!(
        ask(over_udp(|it| response(it, NO_ERROR, 0))),
        Tried::NotResolved
    );
    assert_eq!(ask(over_udp(refuses)), Tried::NotResolved);
    assert_eq!(
        ask(over_udp(|it| response(it, NO_SUCH_NAME, 0))),
        Tried::NotResolved
    );
    assert_eq!(
        ask(over_tcp(|it| prefixed(response(it, NO_ERROR, 1)))),
        Tried::Resolved
    );
    // One that tells is enough.
    let both = [over_udp(refuses), over_udp(answers)];
    assert_eq!(resolve(NAME, &both), Tried::Resolved);
    for name in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(128)] {
        assert_eq!(resolve(name, &both), Tried::Failed, "{name}");
    }
    assert_eq!(resolve(NAME, &[]), Tried::Failed);
}

/// Ways to spoil a whole answer, and what each is.
const SPOILT: &[(&str, Spoiler)] = &[
    ("empty", Vec::clear),
    ("of another id", |it| it[0] ^= 1),
    ("a question", |it| it[FLAGS] &= 0x7f),
    ("of another operation", |it| it[FLAGS] |= 2 << 3),
    ("for another name", |it| it[13] = b'a'),
    ("for another type", |it| it[27] = 28),
    ("for another class", |it| it[29] = 3),
    ("of no question", |it| {
        it[5] = 0;
        it.drain(12..30);
    }),
    ("of two questions", |it| it[5] = 2),
    ("more than it says", |it| it[ANSWERS] = 0),
    ("less than it says", |it| it[ANSWERS] = 2),
    ("of 65,535 answers", |it| it[6..8].fill(0xff)),
    ("of 65,535 questions", |it| it[4..6].fill(0xff)),
    ("of a name that points to itself", |it| it[31] = 30),
    ("of a name that points onwards", |it| it[31] = 40),
    ("of a name that points beyond the end", |it| it[30] = 0xff),
    ("of names that point to one another", |it| {
        it[12..14].copy_from_slice(&[0xc0, 30]);
    }),
    ("of a label of no known kind", |it| it[30] = 0x80),
    ("of an address of three bytes", |it| it[41] = 3),
    ("of an address beyond the end", |it| it[40] = 0xff),
];

#[test]
fn what_cannot_be_read_is_neither_an_answer_nor_none() {
    let (question, message) = question(NAME).unwrap();
    assert_eq!(message.len(), 30);
    let read = |packet: &[u8]| reply(&question, Some(packet));
    let whole = response(&message, NO_ERROR, 1);
    assert_eq!(read(&whole), Reply::Answer);
    assert_eq!(read(&response(&message, REFUSED, 0)), Reply::NoAnswer);
    assert_eq!(reply(&question, None), Reply::Silence);

    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]), Reply::Unusable, "{length} bytes");
    }
    for (what, spoil) in SPOILT {
        let mut packet = whole.clone();
        spoil(&mut packet);
        assert_eq!(read(&packet), Reply::Unusable, "{what}");
    }
    assert_eq!(SPOILT.len(), 20);

    // A refusal may leave the question out, and of another question it says nothing.
    let mut refusal = response(&message, REFUSED, 0);
    refusal[13] = b'a';
    assert_eq!(read(&refusal), Reply::Unusable);
    refusal[5] = 0;
    assert_eq!(read(&refusal[..12]), Reply::NoAnswer);
    // Cut to fit into a datagram, as it says itself.
    let mut cut = response(&message, NO_ERROR, 0);
    cut[FLAGS] |= 2;
    assert_eq!(read(&cut), Reply::Truncated);
}

#[test]
fn no_byte_of_a_response_can_stop_the_probe() {
    let (question, message) = question(NAME).unwrap();
    let whole = response(&message, NO_ERROR, 3);
    let mut unusable = 0;
    for place in 0..whole.len() {
        for value in 0..=u8::MAX {
            let mut packet = whole.clone();
            packet[place] = value;
            match reply(&question, Some(&packet)) {
                Reply::Unusable => unusable += 1,
                Reply::Answer => {}
                // No answer only where the response code says so: in the header.
                other => assert_eq!((place, other), (FLAGS + 1, Reply::NoAnswer), "{value}"),
            }
        }
    }
    assert!(unusable > 5_000, "{unusable}");
}

#[test]
fn a_response_that_cannot_be_read_is_not_taken_for_a_closed_way() {
    let _counted = UNREACHABLES.lock();
    let garbage: Responder = |it| it[..it.len() - 1].to_vec();
    let refuses: Responder = |it| response(it, REFUSED, 0);
    let refuses_tcp: Responder = |it| prefixed(response(it, REFUSED, 0));
    let answers_tcp: Responder = |it| prefixed(response(it, NO_ERROR, 1));
    let truncated: Responder = |it| {
        let mut cut = response(it, NO_ERROR, 0);
        cut[FLAGS] |= 2;
        cut
    };
    let stops: Responder = |it| {
        let mut packet = prefixed(response(it, NO_ERROR, 1));
        packet.pop();
        packet
    };
    let ask = |udp, tcp| resolve(NAME, &[resolver(udp, tcp)]);
    assert_eq!(ask(Some(garbage), None), Tried::Failed);
    assert_eq!(ask(Some(garbage), Some(refuses_tcp)), Tried::Failed);
    assert_eq!(ask(Some(garbage), Some(answers_tcp)), Tried::Resolved);
    assert_eq!(ask(Some(refuses), Some(stops)), Tried::Failed);
    assert_eq!(ask(Some(refuses), Some(|_| vec![0])), Tried::Failed);
    assert_eq!(ask(Some(refuses), Some(|_| vec![0, 0])), Tried::Failed);
    assert_eq!(ask(Some(refuses), Some(|_| Vec::new())), Tried::NotResolved);
    assert_eq!(ask(Some(truncated), None), Tried::Failed);
    assert_eq!(ask(Some(truncated), Some(refuses_tcp)), Tried::NotResolved);
    assert_eq!(ask(Some(truncated), Some(answers_tcp)), Tried::Resolved);
    // One that cannot be read among others: what another says stands only when it tells.
    let mixed = |other| {
        resolve(
            NAME,
            &[resolver(Some(garbage), None), resolver(Some(other), None)],
        )
    };
    assert_eq!(mixed(refuses), Tried::Failed);
    assert_eq!(mixed(|it| response(it, NO_ERROR, 1)), Tried::Resolved);
}
