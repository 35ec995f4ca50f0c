//! `/livez`, `/readyz` and `/metrics` over plain HTTP inside the cluster. Requests in, text out; reads memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::context::Context;

/// Requests are short; a peer that sends nothing is dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until the future is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(ctx: Arc<Context>, address: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let ctx = ctx.clone();
        tokio::spawn(async move {
            let answered = tokio::time::timeout(PATIENCE, answer(&ctx, stream)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%error, "a client of /metrics went away");
            }
        });
    }
}

async fn answer(ctx: &Context, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await?;
    let line = String::from_utf8_lossy(request.get(..length).unwrap_or_default());
    let path = line.split_whitespace().nth(1).unwrap_or_default();
    let (status, body) = match path {
        "/livez" => ("200 OK", "ok\n".to_owned()),
        "/readyz" => {
            let missing = ctx.not_ready();
            if missing.is_empty() {
                ("200 OK", ctx.synced(Instant::now()))
            } else {
                (
                    "503 Service Unavailable",
                    format!("waiting for: {}\n", missing.join(", ")),
                )
            }
        }
        "/metrics" => ("200 OK", ctx.metrics.text()),
        _ => (
            "404 Not Found",
            "try /livez, /readyz or /metrics\n".to_owned(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
