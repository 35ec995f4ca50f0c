//! New pods, told by the node's network plugin before their containers run: messages come in on a Unix socket, arrivals
//! go to the enforcer, the answer goes back once the pod's rules are in force. Serves and calls the socket.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::objects::ObjectName;

/// Where the enforcer listens on a node, unless told otherwise.
pub const SOCKET: &str = "/run/bailiwick-dev-netpol.sock";
/// The longest message, in bytes; names and an address are far shorter.
const MESSAGE_LIMIT: usize = 4096;
/// How long a pod's start waits for its rules at most. After that it starts shut off, until the API knows its address.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// An address that the network plugin has given to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The pod.
    pub pod: ObjectName,
    /// What tells it from another pod of the same name.
    pub uid: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// An arrival as one line of JSON.
#[derive(Serialize, Deserialize)]
struct Message {
    namespace: String,
    name: String,
    uid: String,
    address: Ipv4Addr,
}

/// The node's pods whose rules are in force, by address.
pub type Known = BTreeMap<Ipv4Addr, String>;

/// Serves the socket until the future is dropped; hands arrivals on and answers when their pods are known.
///
/// # Errors
/// What the system says when the socket cannot be made or accepts no more.
pub async fn serve(
    socket: &Path,
    arrivals: mpsc::Sender<Arrival>,
    known: watch::Receiver<Known>,
) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (arrivals, known) = (arrivals.clone(), known.clone());
        tokio::spawn(async move {
            if let Err(error) = attend(&stream, &arrivals, known).await {
                tracing::warn!(%error, "a new pod was not announced; it is shut off until the API has its address");
            }
        });
    }
}

async fn attend(
    stream: &UnixStream,
    arrivals: &mpsc::Sender<Arrival>,
    mut known: watch::Receiver<Known>,
) -> io::Result<()> {
    let message: Message = serde_json::from_slice(&line(stream).await?)?;
    let Message {
        namespace,
        name,
        uid,
        address,
    } = message;
    let pod = ObjectName { namespace, name };
    let awaited = pod.to_string();
    arrivals
        .send(Arrival { pod, uid, address })
        .await
        .map_err(io::Error::other)?;
    let in_force = known.wait_for(|known| known.get(&address) == Some(&awaited));
    if timeout(PATIENCE, in_force)
        .await
        .is_ok_and(|known| known.is_ok())
    {
        stream.writable().await?;
        stream.try_write(b"in force\n")?;
    }
    Ok(())
}

/// Reads up to the first line feed.
async fn line(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    while message.last() != Some(&b'\n') {
        stream.readable().await?;
        let mut part = [0; 512];
        match stream.try_read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(size) => message.extend(&part[..size]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if message.len() > MESSAGE_LIMIT {
            return Err(io::Error::other("the message is too long"));
        }
    }
    Ok(message)
}

/// Announces a pod to the enforcer of the node and waits until its rules are in force, five seconds at most.
///
/// Blocks. Gives whether they are; when not, the pod is shut off until the API has its address.
#[must_use]
pub fn announce(socket: &Path, arrival: &Arrival) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        // The enforcer may be starting again.
        if let Ok(true) = try_announce(
            socket,
            arrival,
            end.saturating_duration_since(Instant::now()),
        ) {
            return true;
        }
        thread::sleep(AGAIN);
    }
    false
}

fn try_announce(socket: &Path, arrival: &Arrival, time: Duration) -> io::Result<bool> {
    let mut stream = BlockingStream::connect(socket)?;
    stream.set_read_timeout(Some(time.max(AGAIN)))?;
    let message = Message {
        namespace: arrival.pod.namespace.clone(),
        name: arrival.pod.name.clone(),
        uid: arrival.uid.clone(),
        address: arrival.address,
    };
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer == "in force\n")
}
