//! Load: what the runtime has taken on, what it may take on, and what it turned away.
//!
//! Every way into the process has a named limit for the node and one for each project, and a request beyond
//! it is refused before it costs memory. Whoever was let in is never turned out: a refusal is always about
//! something that has not begun.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_journal::ProjectId;

/// What there is a limit on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Sessions with something to do.
    ActiveSessions,
    /// Requests on their way to a session.
    WaitingMessages,
    /// Open event streams.
    Streams,
    /// Bytes of request bodies that are being handled.
    BodyBytes,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The whole process's.
    Node,
    /// One project's.
    Project,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::ActiveSessions, Self::WaitingMessages, Self::Streams, Self::BodyBytes];

    /// Its key in `limits` of the configuration.
    #[must_use]
    pub fn key(self, whose: Whose) -> &'static str {
        match (self, whose) {
            (Self::ActiveSessions, Whose::Node) => "sessions_active_max",
            (Self::ActiveSessions, Whose::Project) => "sessions_active_per_project_max",
            (Self::WaitingMessages, Whose::Node) => "messages_waiting_max",
            (Self::WaitingMessages, Whose::Project) => "messages_waiting_per_project_max",
            (Self::Streams, Whose::Node) => "streams_max",
            (Self::Streams, Whose::Project) => "streams_per_project_max",
            (Self::BodyBytes, Whose::Node) => "body_bytes_in_flight_max",
            (Self::BodyBytes, Whose::Project) => "body_bytes_in_flight_per_project_max",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::ActiveSessions => "active sessions",
            Self::WaitingMessages => "waiting messages",
            Self::Streams => "open event streams",
            Self::BodyBytes => "request bytes in flight",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::ActiveSessions => 0,
            Self::WaitingMessages => 1,
            Self::Streams => 2,
            Self::BodyBytes => 3,
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Of what.
    pub limit: Limit,
    /// Whose.
    pub whose: Whose,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::Node => "the server",
            Whose::Project => "the project",
        };
        let (words, key) = (self.limit.words(), self.limit.key(self.whose));
        write!(f, "{whose} is at its limit of {words} (`{key}`); nothing was done, try again")
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// What it is now.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// One more, until what this returns is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }
}

/// One that a gauge counts.
pub(crate) struct Held<'a>(&'a Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// What one runtime does now, and what it turned away since it started. Reading costs nothing to speak of.
#[derive(Debug, Default)]
pub struct Load {
    /// What is taken of each limit, in the order of [`Limit::ALL`].
    taken: [Gauge; 4],
    /// Requests refused for the node's limit and for a project's, in the order of [`Limit::ALL`].
    refused: [[AtomicU64; 2]; 4],
    /// Model calls that run.
    pub model_calls_running: Gauge,
    /// Model calls that wait for a place.
    pub model_calls_waiting: Gauge,
    /// Tool calls that run.
    pub tool_calls_running: Gauge,
    /// Tool calls that wait for a place.
    pub tool_calls_waiting: Gauge,
}

impl Load {
    /// What is taken of a limit now.
    #[must_use]
    pub fn taken(&self, limit: Limit) -> u64 {
        self.taken[limit.index()].read()
    }

    /// How many requests were refused for a limit. Never falls.
    #[must_use]
    pub fn refused(&self, limit: Limit, whose: Whose) -> u64 {
        self.refused[limit.index()][Self::place(whose)].load(Ordering::Relaxed)
    }

    fn refuse(&self, full: Full) -> Full {
        self.refused[full.limit.index()][Self::place(full.whose)].fetch_add(1, Ordering::Relaxed);
        full
    }

    fn place(whose: Whose) -> usize {
        match whose {
            Whose::Node => 0,
            Whose::Project => 1,
        }
    }
}

/// How much there may be of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// In the whole process.
    pub max: u64,
    /// In one project.
    pub per_project_max: u64,
}

impl Bound {
    /// So much, of which one project may have three quarters: one that takes all it can leaves room for
    /// others.
    #[must_use]
    pub fn leaving_room(max: u64) -> Self {
        Self { max, per_project_max: (max - max / 4).max(1) }
    }
}

/// A limit and what is taken of it.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: Limit,
    bound: Bound,
    load: Arc<Load>,
    projects: Mutex<HashMap<ProjectId, u64>>,
}

/// A part of a quota; dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    quota: Arc<Quota>,
    project: ProjectId,
    amount: u64,
}

impl Quota {
    pub(crate) fn new(limit: Limit, bound: Bound, load: &Arc<Load>) -> Arc<Self> {
        Arc::new(Self { limit, bound, load: Arc::clone(load), projects: Mutex::default() })
    }

    pub(crate) fn bound(&self) -> Bound {
        self.bound
    }

    /// Takes `amount`. A project that has all it may have is told so even when the node is full too: it can
    /// do something about that.
    pub(crate) fn take(self: &Arc<Self>, project: ProjectId, amount: u64) -> Result<Share, Full> {
        let mut share = self.nothing(project);
        share.grow(amount)?;
        Ok(share)
    }

    /// Takes `amount` whatever the limit, for what was let in before.
    pub(crate) fn take_anyway(self: &Arc<Self>, project: ProjectId, amount: u64) -> Share {
        let mut share = self.nothing(project);
        share.add(&mut self.lock(), amount);
        share
    }

    /// A share of nothing, to grow.
    pub(crate) fn nothing(self: &Arc<Self>, project: ProjectId) -> Share {
        Share { quota: Arc::clone(self), project, amount: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectId, u64>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes `amount` more.
    ///
    /// # Errors
    /// The limit that leaves no room for it; the share is as it was.
    pub fn grow(&mut self, amount: u64) -> Result<(), Full> {
        let quota = Arc::clone(&self.quota);
        let mut projects = quota.lock();
        let of_project = projects.get(&self.project).copied().unwrap_or(0);
        // Only changed under the lock.
        let of_node = quota.load.taken(quota.limit);
        let whose = if of_project.saturating_add(amount) > quota.bound.per_project_max {
            Some(Whose::Project)
        } else if of_node.saturating_add(amount) > quota.bound.max {
            Some(Whose::Node)
        } else {
            None
        };
        if let Some(whose) = whose {
            return Err(quota.load.refuse(Full { limit: quota.limit, whose }));
        }
        self.add(&mut projects, amount);
        Ok(())
    }

    fn add(&mut self, projects: &mut HashMap<ProjectId, u64>, amount: u64) {
        if amount > 0 {
            *projects.entry(self.project).or_default() += amount;
            self.quota.load.taken[self.quota.limit.index()].add(amount);
            self.amount += amount;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut projects = self.quota.lock();
        self.quota.load.taken[self.quota.limit.index()].subtract(self.amount);
        if let Some(taken) = projects.get_mut(&self.project) {
            *taken -= self.amount;
            if *taken == 0 {
                projects.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    #[test]
    fn a_quota_knows_whose_limit_was_reached() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (a, b) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        let load = Arc::new(Load::default());
        let quota = Quota::new(Limit::Streams, Bound { max: 4, per_project_max: 3 }, &load);
        let full = |whose| Some(Full { limit: Limit::Streams, whose });
        let three = quota.take(a, 3).expect("room");
        assert_eq!(quota.take(a, 1).err(), full(Whose::Project));
        let mut one = quota.take(b, 1).expect("room");
        assert_eq!(one.grow(1).err(), full(Whose::Node));
        assert_eq!(quota.take(a, 1).err(), full(Whose::Project), "whose own limit it is, is told first");
        assert_eq!(load.taken(Limit::Streams), 4);
        drop(three);
        one.grow(2).expect("room");
        assert_eq!((load.taken(Limit::Streams), quota.lock().len()), (3, 1));
        let beyond = quota.take_anyway(a, 9);
        assert_eq!(quota.take(b, 1).err(), full(Whose::Project));
        drop((one, beyond));
        assert_eq!((load.taken(Limit::Streams), quota.lock().len()), (0, 0));
        assert_eq!(load.refused(Limit::Streams, Whose::Project), 3);
        assert_eq!(load.refused(Limit::Streams, Whose::Node), 1);
        assert_eq!(load.refused(Limit::BodyBytes, Whose::Node), 0);
    }

    #[test]
    fn a_default_leaves_room_for_others() {
        for (max, expected) in [(1, 1), (2, 2), (4, 3), (1024, 768)] {
            assert_eq!(Bound::leaving_room(max), Bound { max, per_project_max: expected });
        }
    }

    #[test]
    fn a_refusal_names_the_key_to_change() {
        for limit in Limit::ALL {
            for whose in [Whose::Node, Whose::Project] {
                assert!(Full { limit, whose }.to_string().contains(limit.key(whose)));
            }
        }
        assert_eq!(
            Full { limit: Limit::ActiveSessions, whose: Whose::Project }.to_string(),
            "the project is at its limit of active sessions (`sessions_active_per_project_max`); nothing was \
             done, try again"
        );
    }
}
