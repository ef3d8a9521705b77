//! A session's past: its whole journal folded with everything that was said, and as it was at one version.
//!
//! A state alone forgets what left the context. A fork and a rewinding need every item, every turn and the
//! files as they were, so they fold the journal from its first event, which costs what the journal is long
//! and nothing for the files, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenure_journal::{
    ArtifactId, Event, Item, ItemId, ItemStatus, Recorded, SessionKey, Turn, TurnId, Version, WorkspaceRoot,
};

use crate::Session;
use crate::compaction;

/// A moment of a session, as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Now.
    Latest,
    /// After this many events.
    Version(Version),
    /// Right after a turn.
    Turn(TurnId),
    /// Right after the append that completed an item.
    Item(ItemId),
}

/// A session at one version, and now.
#[derive(Debug)]
pub struct History {
    pub(crate) at: Past,
    pub(crate) now: Past,
    /// The files that the environment was first made ready with.
    pub(crate) first_root: Option<WorkspaceRoot>,
    /// Artifacts that a client deleted, ever.
    pub(crate) deleted_artifacts: BTreeSet<ArtifactId>,
}

/// A session at one version, with what its state has forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) state: Session,
    /// Items that are not in the context any more, by their place.
    forgotten: BTreeMap<u64, Arc<Item>>,
    /// Rows of turns that have ended.
    ended: BTreeMap<TurnId, Turn>,
}

impl History {
    /// Folds a whole journal. `None`: the journal does not begin as one, or has no such version. Before its session
    /// was opened, a pre-warmed environment has none.
    #[must_use]
    pub fn of(key: SessionKey, journal: &[Recorded], at: Version) -> Option<Self> {
        let (first, rest) = journal.split_first()?;
        let state = Session::fold(key, None, std::slice::from_ref(first))?;
        let mut now = Past { state, forgotten: BTreeMap::new(), ended: BTreeMap::new() };
        let mut past = (at == first.version).then(|| now.clone());
        let mut first_root = now.state.workspace_root();
        let mut deleted_artifacts = BTreeSet::new();
        for recorded in rest {
            now.fold(recorded);
            if let Event::ArtifactDeleted { artifact_id } = &recorded.event {
                deleted_artifacts.insert(*artifact_id);
            }
            first_root = first_root.or(now.state.workspace_root());
            if recorded.version == at {
                past = Some(now.clone());
            }
        }
        let at = past.filter(|past| !past.state.awaits_session())?;
        Some(Self { at, now, first_root, deleted_artifacts })
    }

    /// The version that a point stands for. `None`: there is no such point in this journal. What a fork began
    /// with was said elsewhere, and has no point of its own here.
    #[must_use]
    pub fn version_of(key: SessionKey, journal: &[Recorded], point: Point) -> Option<Version> {
        let latest = journal.last()?.version;
        // Before that, a pre-warmed environment has no session.
        let is_opening = |recorded: &&Recorded| matches!(recorded.event, Event::SessionOpened(_));
        let opened = journal.iter().find(is_opening)?.version;
        match point {
            Point::Latest => Some(latest),
            Point::Version(version) => (opened <= version && version <= latest).then_some(version),
            Point::Turn(turn) => {
                let is_end =
                    |event: &Event| matches!(event, Event::TurnEnded { turn_id, .. } if *turn_id == turn);
                let is_start =
                    |event: &Event| matches!(event, Event::TurnCreated { turn_id } if *turn_id == turn);
                let end = journal.iter().find(|recorded| is_end(&recorded.event));
                let runs = || journal.iter().any(|recorded| is_start(&recorded.event));
                end.map(|end| end.version).or_else(|| runs().then_some(latest))
            }
            Point::Item(item) => version_of_item(key, journal, item),
        }
    }

    /// The version it was asked for.
    #[must_use]
    pub fn version(&self) -> Version {
        self.at.state.version
    }

    /// The version of the whole journal.
    #[must_use]
    pub fn latest(&self) -> Version {
        self.now.state.version
    }

    /// The session as it was at that version.
    #[must_use]
    pub fn state(&self) -> &Session {
        &self.at.state
    }

    /// Every item it had, by its place.
    #[must_use]
    pub fn items(&self) -> BTreeMap<u64, Arc<Item>> {
        self.at.items()
    }

    /// Every turn it had, as far as it was.
    #[must_use]
    pub fn turns(&self) -> BTreeMap<TurnId, Turn> {
        self.at.turns()
    }

    /// The session as it is.
    #[must_use]
    pub fn current(&self) -> &Session {
        &self.now.state
    }
}

/// The version after the append in which the item was completed, or in which it came if it never was.
fn version_of_item(key: SessionKey, journal: &[Recorded], wanted: ItemId) -> Option<Version> {
    let mut state = None;
    let mut came = None;
    for recorded in journal {
        state = Session::fold(key, state, std::slice::from_ref(recorded));
        let is_forked = matches!(recorded.event, Event::Forked(_));
        let Some(item) = state.as_ref()?.item(wanted).filter(|_| !is_forked) else { continue };
        let own = came.get_or_insert(recorded.at);
        if item.status != ItemStatus::InProgress {
            *own = recorded.at;
            break;
        }
    }
    let came = came?;
    journal.iter().rev().find(|recorded| recorded.at == came).map(|recorded| recorded.version)
}

impl Past {
    fn fold(&mut self, recorded: &Recorded) {
        if let Event::TurnEnded { turn_id, end } = &recorded.event {
            self.ended.extend(self.state.ended_turn(recorded.at, end).map(|row| (*turn_id, row)));
        }
        let before: Vec<(u64, Arc<Item>)> =
            if compaction::leaves(&recorded.event) { self.state.places().collect() } else { Vec::new() };
        self.state.apply(recorded.at, &recorded.event);
        let dropped = self.state.dropped;
        self.forgotten.extend(before.into_iter().filter(|(ordinal, _)| *ordinal < dropped));
        if let Event::Forked(forked) = &recorded.event {
            let places = self.forgotten.len() as u64..dropped;
            self.forgotten.extend(places.zip(forked.items.iter().cloned().map(Arc::new)));
            self.ended.extend(forked.turns.iter().map(|turn| (turn.id, turn.clone())));
        }
        if let Event::Rewound(rewound) = &recorded.event {
            self.forgotten.retain(|ordinal, _| *ordinal < dropped.min(rewound.kept));
            let back = rewound.items.iter().filter(|placed| placed.ordinal < dropped);
            self.forgotten.extend(back.map(|placed| (placed.ordinal, Arc::new(placed.item.clone()))));
            self.ended.retain(|id, _| !rewound.gone.contains(id));
            self.ended.extend(rewound.turns.iter().map(|turn| (turn.id, turn.clone())));
        }
    }

    /// Every item, by its place.
    pub(crate) fn items(&self) -> BTreeMap<u64, Arc<Item>> {
        let mut items = self.forgotten.clone();
        items.extend(self.state.places());
        items
    }

    /// Every turn that has ended, and the one that runs as it is.
    pub(crate) fn turns(&self) -> BTreeMap<TurnId, Turn> {
        let mut turns = self.ended.clone();
        turns.extend(self.state.active_turn().map(|turn| (turn.id, turn)));
        turns
    }

    /// Turns that have ended.
    pub(crate) fn ended(&self) -> &BTreeMap<TurnId, Turn> {
        &self.ended
    }
}

impl Session {
    fn places(&self) -> impl Iterator<Item = (u64, Arc<Item>)> {
        let carried = self.carried.iter().map(|(place, item)| (*place, Arc::clone(item)));
        carried.chain((self.dropped..).zip(self.items.iter().cloned()))
    }
}
