//! A command that runs, from the server's side: reading what it writes, ending it, hearing why it ended.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use crate::backend::{Output, Stream};
use crate::command::Limits;
use crate::report::{End, InForce, Isolation, Report};
use crate::spec::{CANCEL, Message};
use crate::wire::Reader;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Characters of a line that explains a failure.
const WORDS_MAX: usize = 512;
/// How long after its wall limit a supervisor may stay silent before it counts as lost.
const SUPERVISOR: Duration = Duration::from_secs(10);
/// How long output may last once everything that could write it is dead.
const DRAIN: Duration = Duration::from_secs(1);

/// A command that runs. Dropping it ends the command with everything it started.
pub struct Running(Box<dyn Execution>);

/// What a back end has of a command that runs. Dropping it must end the command, as [`Running`] says.
pub trait Execution: Send {
    /// A handle that ends it.
    fn killer(&self) -> Killer;

    /// See [`Running::wait`].
    fn wait(self: Box<Self>) -> Report;
}

/// Ends a command from elsewhere.
#[derive(Clone)]
pub struct Killer(Arc<dyn Fn() + Send + Sync>);

impl Killer {
    /// One that calls `kill`, which must be harmless to call again, and after the end.
    pub fn new(kill: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(kill))
    }

    /// Asks for the end: everything is dead within a second, and [`Running::wait`] reports
    /// [`End::Cancelled`] unless the command ended before. May be called any number of times, at any time.
    pub fn kill(&self) {
        (self.0)();
    }
}

impl Running {
    /// What a back end started.
    pub fn new(execution: impl Execution + 'static) -> Self {
        Self(Box::new(execution))
    }

    /// A handle that ends it.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.0.killer()
    }

    /// Hands output on until the command has ended and everything it started is dead. Output is read whether
    /// it is still wanted or not, so the command never waits for its reader; until this is called it may.
    #[must_use]
    pub fn wait(self) -> Report {
        self.0.wait()
    }
}

/// A command under a supervisor of this crate.
pub(crate) struct Supervised {
    supervisor: Option<Child>,
    control: Arc<OwnedFd>,
    streams: [Option<OwnedFd>; 2],
    started: Option<Started>,
}

struct Started {
    reader: Reader,
    isolation: Isolation,
    in_force: Vec<InForce>,
    limits: Limits,
    output: Output,
    began: Instant,
    output_bytes: u64,
}

impl Supervised {
    pub(crate) fn new(supervisor: Child, control: OwnedFd, streams: [Option<OwnedFd>; 2]) -> Self {
        Self { supervisor: Some(supervisor), control: Arc::new(control), streams, started: None }
    }

    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }

    pub(crate) fn started(
        &mut self,
        reader: Reader,
        isolation: Isolation,
        in_force: Vec<InForce>,
        limits: Limits,
        output: Output,
        began: Instant,
    ) {
        self.started = Some(Started { reader, isolation, in_force, limits, output, began, output_bytes: 0 });
    }

    /// The first line on standard error of what did not come to start the command. It ended before, so all it
    /// said is there.
    pub(crate) fn first_words(&mut self) -> Option<String> {
        let stderr = self.streams[1].take()?;
        let flags = rustix::fs::fcntl_getfl(&stderr).ok()?;
        rustix::fs::fcntl_setfl(&stderr, flags | rustix::fs::OFlags::NONBLOCK).ok()?;
        let mut said = vec![0; READ_BYTES];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&stderr, &mut *said)).ok()?;
        let said = String::from_utf8_lossy(&said[..read]);
        let line = said.lines().map(str::trim).find(|line| !line.is_empty())?;
        // What stands before it is where and when.
        let words = line.split_once("FATAL ERROR: ").map_or(line, |(_, words)| words);
        Some(words.chars().take(WORDS_MAX).collect())
    }

    fn pump(&mut self, started: &mut Started) -> io::Result<Message> {
        let mut buffer = vec![0; READ_BYTES];
        let mut ended: Option<io::Result<Message>> = None;
        let mut deadline = started.began + started.limits.wall + SUPERVISOR;
        loop {
            let is_read = self.streams.iter().all(Option::is_none);
            match ended.take() {
                Some(ended) if is_read || Instant::now() >= deadline => return ended,
                None if Instant::now() >= deadline => {
                    let _ = self.supervisor.as_mut().map(Child::kill);
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                other => ended = other,
            }
            let [control, stdout, stderr] = self.poll(ended.is_none(), deadline)?;
            for (index, (is_ready, stream)) in
                [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].into_iter().enumerate()
            {
                if is_ready {
                    self.read(index, stream, &mut buffer, started);
                }
            }
            if control && ended.is_none() {
                let said = started.reader.next(&self.control);
                let said = said.and_then(|said| said.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
                ended = Some(said);
                deadline = Instant::now() + DRAIN;
            }
        }
    }

    /// Which of control and streams have something to say.
    fn poll(&self, hears: bool, deadline: Instant) -> io::Result<[bool; 3]> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let sources = [hears.then_some(&*self.control), self.streams[0].as_ref(), self.streams[1].as_ref()];
        let mut polled: Vec<_> =
            sources.iter().flatten().map(|source| PollFd::new(*source, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
        Ok(sources.map(|source| source.is_some() && ready.next().unwrap_or(false)))
    }

    fn read(&mut self, index: usize, stream: Stream, buffer: &mut [u8], started: &mut Started) {
        let Some(source) = &self.streams[index] else { return };
        match rustix::io::retry_on_intr(|| rustix::io::read(source, &mut *buffer)) {
            Ok(read) if read > 0 => {
                let left = started.limits.output_bytes.saturating_sub(started.output_bytes);
                let kept = read.min(usize::try_from(left).unwrap_or(usize::MAX));
                started.output_bytes += read as u64;
                if kept > 0 {
                    (started.output)(stream, &buffer[..kept]);
                }
            }
            Ok(_) | Err(_) => self.streams[index] = None,
        }
    }
}

impl Execution for Supervised {
    fn killer(&self) -> Killer {
        let control = Arc::clone(&self.control);
        Killer::new(move || {
            // Nobody to tell: it has ended.
            let _ = send(&control, &[CANCEL], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        })
    }

    fn wait(mut self: Box<Self>) -> Report {
        let mut started = self.started.take().expect("a back end hands out only what has started");
        let ended = self.pump(&mut started);
        let (end, wall, cpu, memory_peak_bytes) = match ended {
            Ok(Message::Ended { end, wall, cpu, memory_peak_bytes }) => (end, wall, cpu, memory_peak_bytes),
            Ok(Message::Started { .. } | Message::Failed { .. }) => (
                End::Lost("the supervisor does not speak as it should".to_owned()),
                Duration::ZERO,
                Duration::ZERO,
                0,
            ),
            Err(error) => {
                (End::Lost(format!("the supervisor is gone: {error}")), Duration::ZERO, Duration::ZERO, 0)
            }
        };
        Report {
            isolation: started.isolation,
            limits: started.in_force,
            end,
            output_bytes: started.output_bytes,
            output_truncated: started.output_bytes > started.limits.output_bytes,
            wall: wall.max(started.began.elapsed()),
            cpu,
            memory_peak_bytes,
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Other handles may keep the socket open; this is heard whoever holds it.
        let _ = shutdown(&self.control, Shutdown::Write);
        let Some(mut supervisor) = self.supervisor.take() else { return };
        match self.started {
            // Nobody has heard of the end yet, so it is waited for.
            Some(_) => drop(supervisor.wait()),
            // It has said its last word and only tidies up. A moment later it can be buried.
            None => drop(std::thread::spawn(move || supervisor.wait())),
        }
    }
}
