//! `/livez`, `/readyz` and `/metrics` over plain HTTP inside the cluster. Requests in, text out; reads memory only.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::context::Context;

/// How long a connection may last, from its first byte or none to the last of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the future is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(ctx: Arc<Context>, address: String) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    answer(listener, router(ctx), CONNECTION_TIMEOUT).await
}

/// Serves each connection by itself. While none can be accepted, as when the process may open no more files, axum logs that
/// and tries again every second.
async fn answer(listener: TcpListener, router: Router, timeout: Duration) -> io::Result<()> {
    axum::serve(Limited { listener, timeout }, router).await
}

/// The three paths, each for GET and HEAD. Every answer ends its connection.
fn router(ctx: Arc<Context>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n") })
        .layer(map_response(closing))
        .with_state(ctx)
}

async fn readyz(State(ctx): State<Arc<Context>>) -> (StatusCode, String) {
    let missing = ctx.not_ready();
    if missing.is_empty() {
        (StatusCode::OK, ctx.synced(Instant::now()))
    } else {
        let missing = format!("waiting for: {}\n", missing.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, missing)
    }
}

async fn metrics(State(ctx): State<Arc<Context>>) -> String {
    ctx.metrics.text()
}

async fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// A listener whose connections last for a time at most.
struct Limited {
    listener: TcpListener,
    timeout: Duration,
}

impl Listener for Limited {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(sleep(self.timeout));
        (LimitedStream { stream, end }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over: a peer that sends nothing would hold it for ever.
struct LimitedStream {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
}

impl LimitedStream {
    /// The result of a call on the stream, or an error once the time is over.
    fn poll<T>(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        call: impl FnOnce(Pin<&mut TcpStream>, &mut TaskContext<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = call(Pin::new(&mut self.stream), task) {
            return Poll::Ready(result);
        }
        ready!(self.end.as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(task, |stream, task| stream.poll_read(task, buffer))
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(task, |stream, task| stream.poll_write(task, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(task, |stream, task| stream.poll_write_vectored(task, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.poll(task, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.poll(task, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests;
