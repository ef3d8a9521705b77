//! Telling nodes of commits: this one directly, the others with `NOTIFY` on a connection of its own.
//!
//! Nothing is notified within a transaction that appends: `NOTIFY` takes a lock of the whole server until its
//! commit, which would line all appends up behind each other's disk. Instead what was committed is queued,
//! repetitions are dropped, and one statement tells of many sessions. While no other node is alive, nothing
//! is sent at all. The same connection listens; whoever it lost wakes for, it sends [`Wake::Missed`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tenure_journal::{SessionKey, Version};
use tenure_store::{StoreError, Wake};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Socket};

use crate::connect::{Connector, STATEMENT_DEADLINE, TlsStream, WAKES_SETTINGS, within};

/// Wakes that a reader may be behind before it is told that it missed some.
const WAKES_BEHIND_MAX: usize = 4096;
/// Commits that wait to be told to others. What does not fit is told as [`Wake::Missed`].
const QUEUE_MAX: usize = 4096;
/// Between two notifications, so that many commits share one.
const COALESCE: Duration = Duration::from_millis(4);
/// For how long it is believed that this node is alone.
const ALONE_FOR: Duration = Duration::from_secs(1);
/// PostgreSQL's own limit is 8000 bytes.
const PAYLOAD_BYTES_MAX: usize = 7900;
/// Between attempts to connect again.
const RECONNECT_AFTER_MIN: Duration = Duration::from_millis(50);
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(5);

/// The channel. One database holds one store.
pub(crate) const CHANNEL: &str = "tenure_wakes";
/// The payload for [`Wake::Nodes`], which is sent by the transactions that begin and end leases.
pub(crate) const NODES: &str = "nodes";
/// The payload for [`Wake::Missed`].
const MISSED: &str = "missed";

/// What was committed, here and elsewhere.
#[derive(Debug)]
pub(crate) struct Wakes {
    readers: broadcast::Sender<Wake>,
    queue: mpsc::Sender<(SessionKey, Version)>,
    /// Whether something did not fit into the queue.
    overflowed: Arc<AtomicBool>,
}

impl Wakes {
    /// Connects, listens and starts the task that does both from now on.
    pub(crate) async fn start(connector: Arc<Connector>) -> Result<(Self, JoinHandle<()>), StoreError> {
        let readers = broadcast::Sender::new(WAKES_BEHIND_MAX);
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let overflowed = Arc::new(AtomicBool::new(false));
        let line = Line::open(&connector, &readers).await?;
        let teller =
            Teller { connector, readers: readers.clone(), queued, overflowed: Arc::clone(&overflowed) };
        Ok((Self { readers, queue, overflowed }, tokio::spawn(teller.run(line))))
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.readers.subscribe()
    }

    /// Tells of a commit of this store.
    pub(crate) fn committed(&self, key: SessionKey, version: Version) {
        // Without a reader nobody is told.
        let _ = self.readers.send(Wake::Session { key, version });
        if self.queue.try_send((key, version)).is_err() {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that listens, and over which others are told.
struct Line {
    client: Client,
    /// Ends with the connection.
    listener: JoinHandle<()>,
}

impl Line {
    async fn open(connector: &Connector, readers: &broadcast::Sender<Wake>) -> Result<Self, StoreError> {
        let (client, connection) = connector.raw().await?;
        let listener = tokio::spawn(listen(connection, readers.clone()));
        let line = Self { client, listener };
        let begin = async {
            line.client.batch_execute(WAKES_SETTINGS).await?;
            line.client.batch_execute(&format!("LISTEN {CHANNEL}")).await
        };
        within(STATEMENT_DEADLINE, "listening for wakes", begin).await?;
        Ok(line)
    }

    async fn others(&self) -> Result<bool, StoreError> {
        let count = self.client.query_one(include_str!("../sql/nodes.sql"), &[]);
        let count: i64 = within(STATEMENT_DEADLINE, "counting nodes", count).await?.get(0);
        Ok(count > 1)
    }

    async fn tell(&self, payloads: &[String]) -> Result<(), StoreError> {
        let sql = include_str!("../sql/notify.sql");
        let params: [&(dyn ToSql + Sync); 2] = [&CHANNEL, &payloads];
        within(STATEMENT_DEADLINE, "telling of commits", self.client.query(sql, &params)).await.map(|_| ())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Passes what other nodes tell on to the readers, until the connection ends.
async fn listen(
    mut connection: tokio_postgres::Connection<Socket, TlsStream>,
    readers: broadcast::Sender<Wake>,
) {
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    while let Some(Ok(message)) = messages.next().await {
        if let AsyncMessage::Notification(notification) = message {
            for wake in read(notification.payload()) {
                let _ = readers.send(wake);
            }
        }
    }
}

/// The task that owns the connection.
struct Teller {
    connector: Arc<Connector>,
    readers: broadcast::Sender<Wake>,
    queued: mpsc::Receiver<(SessionKey, Version)>,
    overflowed: Arc<AtomicBool>,
}

/// Why a line is no longer used.
enum End {
    Lost,
    Closed,
}

impl Teller {
    async fn run(mut self, line: Line) {
        let mut line = line;
        while let End::Lost = self.serve(&mut line).await {
            tracing::warn!("the connection that listens for other nodes was lost");
            match self.reconnect().await {
                Some(again) => line = again,
                None => return,
            }
            let _ = self.readers.send(Wake::Missed);
            // Others were not told of what was committed meanwhile.
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }

    /// A new line, or nothing once the store is closed.
    async fn reconnect(&mut self) -> Option<Line> {
        let mut after = RECONNECT_AFTER_MIN;
        loop {
            match Line::open(&self.connector, &self.readers).await {
                Ok(line) => return Some(line),
                Err(error) => tracing::debug!(%error, "no connection to listen for other nodes"),
            }
            sleep(after).await;
            after = (after * 2).min(RECONNECT_AFTER_MAX);
            if self.queued.is_closed() {
                return None;
            }
        }
    }

    /// Tells others of what is queued, until the line is lost or the store closed.
    async fn serve(&mut self, line: &mut Line) -> End {
        let mut alone_until = Instant::now();
        let mut next = Instant::now();
        loop {
            let mut wakes = BTreeMap::new();
            if !self.overflowed.load(Ordering::Relaxed) {
                tokio::select! {
                    _ = &mut line.listener => return End::Lost,
                    first = self.queued.recv() => match first {
                        Some((key, version)) => wakes.insert(key, version),
                        None => return End::Closed,
                    },
                };
            }
            // What arrives until the last notification is old enough shares the next one.
            sleep_until(next).await;
            while wakes.len() < QUEUE_MAX
                && let Ok((key, version)) = self.queued.try_recv()
            {
                let told = wakes.entry(key).or_insert(version);
                *told = version.max(*told);
            }
            let missed = self.overflowed.swap(false, Ordering::Relaxed);
            let now = Instant::now();
            next = now + COALESCE;
            if now < alone_until {
                continue;
            }
            let told = match line.others().await {
                Ok(true) => line.tell(&payloads(&wakes, missed)).await,
                Ok(false) => {
                    alone_until = now + ALONE_FOR;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "other nodes were not told");
                return End::Lost;
            }
        }
    }
}

/// Sessions with their versions, as many in each payload as fit.
fn payloads(wakes: &BTreeMap<SessionKey, Version>, missed: bool) -> Vec<String> {
    let mut payloads = Vec::new();
    let mut payload = String::new();
    for (key, version) in wakes {
        let before = payload.len();
        // Writing to a string does not fail.
        let _ = writeln!(payload, "{} {} {}", key.project, key.session, version.0);
        if payload.len() > PAYLOAD_BYTES_MAX {
            let last = payload.split_off(before);
            payloads.push(std::mem::replace(&mut payload, last));
        }
    }
    payloads.push(payload);
    payloads.extend(missed.then(|| MISSED.to_owned()));
    payloads
}

/// The wakes in a payload. What cannot be read, such as that of a newer release, may mean anything.
fn read(payload: &str) -> Vec<Wake> {
    payload.lines().map(|line| wake(line).unwrap_or(Wake::Missed)).collect()
}

fn wake(line: &str) -> Option<Wake> {
    if line == NODES {
        return Some(Wake::Nodes);
    }
    let mut words = line.split(' ');
    let (project, session) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let version = Version(words.next()?.parse().ok()?);
    Some(Wake::Session { key: SessionKey { project, session }, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_journal::{Fresh, ProjectId, SessionId, Timestamp};

    #[test]
    fn payloads_are_small_and_lose_nothing() {
        let fresh = Fresh::new(Timestamp::from_millis(1_790_000_000_000), 1);
        let project = ProjectId::fresh(&fresh);
        let key = |_| SessionKey { project, session: SessionId::fresh(&fresh) };
        let wakes: BTreeMap<_, _> = (0..500).map(|index| (key(index), Version(u64::MAX - index))).collect();
        let payloads = payloads(&wakes, true);
        assert!(payloads.iter().all(|payload| payload.len() < 8000));
        assert!(payloads.len() < 10);
        let told: Vec<_> = payloads.iter().flat_map(|payload| read(payload)).collect();
        let mut expected: Vec<_> =
            wakes.into_iter().map(|(key, version)| Wake::Session { key, version }).collect();
        expected.push(Wake::Missed);
        assert_eq!(told, expected);
    }

    #[test]
    fn what_cannot_be_read_may_mean_anything() {
        let told = ["nodes", "missed", "of a newer release"].map(read);
        assert_eq!(told, [vec![Wake::Nodes], vec![Wake::Missed], vec![Wake::Missed]]);
    }
}
