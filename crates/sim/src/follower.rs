//! Readers of sessions at each node: what they are told of commits, by the actor of a holder or by the node's
//! follower, is what the append said where it was decided, each once and in order.

use tenure_journal::{SessionKey, Version};
use tenure_session::{Batch, Session, appends};

use crate::world::{Stop, World};
use crate::{Property, Violation};

/// Of this many looks at what could be watched, one begins to.
const WATCHED: u32 = 24;

/// Everyone who reads a session at one node.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Up to where they were told what was committed.
    told: Version,
    /// Where the follower is: the state, or before the first event.
    place: Option<Session>,
}

impl World {
    /// Perhaps someone begins to read a session at the node.
    pub(crate) fn watch_something(&mut self, process: u64) -> Result<(), Stop> {
        if self.rng.u32(..WATCHED) > 0 {
            return Ok(());
        }
        let chosen = self.rng.usize(..self.clients.len());
        let key = self.clients.key(chosen);
        if self.member(process).is_none_or(|member| member.readers.contains_key(&key)) {
            return Ok(());
        }
        let place = self.stored(key)?;
        let told = place.as_ref().map_or(Version::ZERO, Session::version);
        self.note(|| format!("process {process} shows {} from event {} on", key.session, told.0));
        if let Some(member) = self.member(process) {
            member.readers.insert(key, Reader { told, place });
        }
        Ok(())
    }

    /// A session as it is stored.
    pub(crate) fn stored(&mut self, key: SessionKey) -> Result<Option<Session>, Stop> {
        self.wait_for_writes(key)?;
        let stored = self.store.load_now(key).expect("the model of the store always answers");
        let Some(stored) = stored else { return Ok(None) };
        let snapshot = stored.snapshot.and_then(|snapshot| Session::decode(&snapshot.bytes).ok());
        Ok(Session::fold(key, snapshot, &stored.tail))
    }

    pub(crate) fn follow_all(&mut self, process: u64) -> Result<(), Stop> {
        let Some(member) = self.member(process) else { return Ok(()) };
        let keys: Vec<SessionKey> = member.readers.keys().copied().collect();
        keys.into_iter().try_for_each(|key| self.follow(process, key))
    }

    /// Tells readers what others commit, unless the node holds the session: then its actor does.
    pub(crate) fn follow(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        let Some(found) = self.process(process) else { return Ok(()) };
        if found.actors.get(&key).is_some_and(|actor| actor.part.holding) {
            return Ok(());
        }
        self.follow_now(process, key)
    }

    /// Tells readers everything that was committed so far.
    pub(crate) fn follow_now(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        let Some(member) = self.member(process) else { return Ok(()) };
        let Some(reader) = member.readers.get(&key) else { return Ok(()) };
        let after = reader.place.as_ref().map_or(Version::ZERO, Session::version);
        self.wait_for_writes(key)?;
        let events = self.events(key, after);
        if events.is_empty() {
            return Ok(());
        }
        let mut place = self.reader(process, key).and_then(|reader| reader.place.take());
        for part in appends(&events) {
            let batch = Session::follow(key, place.as_ref(), part).ok_or_else(|| {
                broken(format!("event {} of {} cannot be followed", part[0].version.0, key.session))
            })?;
            self.tell_readers(process, key, &batch)?;
            place = Some(batch.after);
        }
        if let Some(reader) = self.reader(process, key) {
            reader.place = place;
        }
        Ok(())
    }

    fn reader(&mut self, process: u64, key: SessionKey) -> Option<&mut Reader> {
        self.member(process)?.readers.get_mut(&key)
    }

    /// Tells the node's readers what a commit brought, unless they know.
    pub(crate) fn tell_readers(&mut self, process: u64, key: SessionKey, batch: &Batch) -> Result<(), Stop> {
        let (before, version) = (batch.expected, batch.after.version());
        let Some(reader) = self.reader(process, key) else { return Ok(()) };
        if reader.told >= version {
            return Ok(());
        }
        if reader.told != before {
            let detail = format!(
                "readers of {} know {} events and are told of event {}",
                key.session,
                reader.told.0,
                before.0 + 1
            );
            return Err(broken(detail).into());
        }
        reader.told = version;
        let said = self.cluster.as_ref().and_then(|cluster| cluster.told.get(&(key, before.0)));
        if !said.is_some_and(|(after, notices)| *after == version.0 && *notices == batch.notices) {
            let detail = format!(
                "the append after event {} said {said:?}, readers are told {:?}",
                before.0, batch.notices
            );
            return Err(broken(detail).into());
        }
        Ok(())
    }

    /// In the end every reader was told everything.
    pub(crate) fn judge_readers(&self) -> Result<(), Violation> {
        for node in self.cluster.iter().flat_map(|cluster| &cluster.nodes) {
            for (key, reader) in node.member.iter().flat_map(|member| &member.readers) {
                let kept = self.oracle.read(*key);
                if reader.told.0 != kept {
                    let told = reader.told.0;
                    return Err(broken(format!(
                        "readers of {} were told {told} of {kept} events",
                        key.session
                    )));
                }
            }
        }
        Ok(())
    }
}

fn broken(detail: impl Into<String>) -> Violation {
    Violation::new(Property::FollowedAsCommitted, detail)
}
