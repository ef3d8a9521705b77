//! A receiver of posted messages that answers as each test says: webhooks and traces are sent to it.
//!
//! Every connection carries one request. What was received is kept in order, with what was answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Nothing here waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// What was done with it.
    pub reply: Reply,
}

impl Posted {
    /// A header's value, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Answered with a status and no body.
    Status(u16),
    /// Read, and the connection closed without an answer.
    Drop,
    /// Read, and never answered.
    Hang,
}

type Decide = dyn Fn(usize, &Posted) -> Reply + Send + Sync;

/// A listening receiver. Dropping it ends it.
pub struct Receiver {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Posted>>>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// A receiver on a free port of the loopback. `decide` is given the number of the request, from 0.
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start(decide: impl Fn(usize, &Posted) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), decide).await
    }

    /// A receiver where another was before.
    ///
    /// # Panics
    /// If the address cannot be had.
    pub async fn start_at(
        address: SocketAddr,
        decide: impl Fn(usize, &Posted) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::default();
        let (counted, count) = watch::channel(0);
        let task = tokio::spawn(serve(listener, Arc::clone(&log), Arc::new(decide), counted));
        Self { address, log, count, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has arrived so far, in order.
    #[must_use]
    pub fn posted(&self) -> Vec<Posted> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what has arrived is as wanted, and gives it.
    ///
    /// # Panics
    /// If that takes a minute.
    pub async fn until(&self, wanted: impl Fn(&[Posted]) -> bool) -> Vec<Posted> {
        let mut count = self.count.clone();
        let look = async {
            loop {
                let posted = self.posted();
                if wanted(&posted) || count.changed().await.is_err() {
                    return posted;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.unwrap_or_else(|_| panic!("it never came to that: {} requests arrived", self.posted().len()))
    }

    /// Dies: connections break, new ones are refused. What had arrived is still known.
    pub async fn stop(mut self) -> Vec<Posted> {
        self.task.abort();
        // Ends with the cancellation that was just asked for.
        let _ = (&mut self.task).await;
        self.posted()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    log: Arc<Mutex<Vec<Posted>>>,
    decide: Arc<Decide>,
    counted: watch::Sender<usize>,
) {
    let counted = Arc::new(counted);
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        connections.spawn(answer(stream, Arc::clone(&log), Arc::clone(&decide), Arc::clone(&counted)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Posted>>>,
    decide: Arc<Decide>,
    counted: Arc<watch::Sender<usize>>,
) {
    let Some(mut posted) = read(&mut stream).await else { return };
    {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        posted.reply = decide(log.len(), &posted);
        log.push(posted.clone());
        counted.send_replace(log.len());
    }
    match posted.reply {
        Reply::Status(status) => {
            let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            // A sender that went away needs no answer.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Reply::Drop => {}
        Reply::Hang => std::future::pending().await,
    }
}

/// One whole request; nothing for a connection that breaks before.
async fn read(stream: &mut TcpStream) -> Option<Posted> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some(posted) = parse(&bytes) {
            return Some(posted);
        }
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn parse(bytes: &[u8]) -> Option<Posted> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(pair).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse::<usize>().ok()?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    let body = String::from_utf8_lossy(body).into_owned();
    Some(Posted { path, headers, body, reply: Reply::Drop })
}
