//! Fair places: a limited number of attempts at once, shared so that a large project cannot keep a small one
//! waiting.
//!
//! Attempts of one project are served in the order they came, projects round-robin: each that has someone
//! waiting is given as many places as its weight says, its round, then goes to the end of the line. A project
//! that comes back joins the end, so however much one project asks for, between two of its rounds everyone
//! else who waits has one. [`Fair`] decides and knows nothing of tasks; [`Gate`] lets tasks wait for it.
//!
//! Nothing here interrupts an attempt that has its place: a project waits at most for the attempt that ends
//! next, not for a share of those that run. A limit of its own for each project keeps some places free.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_journal::ProjectId;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How many places there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// For everyone together; at least one.
    pub max: usize,
    /// For one project; at least one.
    pub per_project_max: usize,
}

impl Places {
    /// So many places, all of which one project may have.
    #[must_use]
    pub fn shared(max: usize) -> Self {
        Self { max, per_project_max: max }
    }

    /// One part of `parts`, with one place at least.
    fn part(self, parts: usize) -> Self {
        let part = |places: usize| (places / parts.max(1)).max(1);
        let max = part(self.max);
        Self { max, per_project_max: part(self.per_project_max).min(max) }
    }
}

/// A place in the line, in the order of asking.
type Ticket = u64;

/// Who has a place, who waits, and whose round it is.
///
/// ```text
///            ask                  grant                 release
///   (none) ───────▶ waiting ────────────────▶ held ─────────────────▶ (none)
///                      └────── withdraw ────────┴─────── withdraw ──────▲
/// ```
///
/// INVARIANT: a project is in `line`, once, exactly while it waits for a place and has not all it may have.
#[derive(Debug)]
pub(crate) struct Fair {
    places: Places,
    held: usize,
    waiting: usize,
    lanes: HashMap<ProjectId, Lane>,
    /// Projects in the order of their rounds.
    line: VecDeque<ProjectId>,
    /// Weights that are not one.
    weights: HashMap<ProjectId, u32>,
    next: Ticket,
}

/// One project that has a place or waits for one.
#[derive(Debug, Default)]
struct Lane {
    held: usize,
    waiting: BTreeSet<Ticket>,
    in_line: bool,
    /// Places it may still have in its round.
    credit: u32,
}

impl Fair {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            places: places.part(1),
            held: 0,
            waiting: 0,
            lanes: HashMap::new(),
            line: VecDeque::new(),
            weights: HashMap::new(),
            next: 0,
        }
    }

    /// Gives a project `weight` places in each of its rounds, from its next round on.
    pub(crate) fn weigh(&mut self, project: ProjectId, weight: u32) {
        self.weights.insert(project, weight.max(1));
    }

    /// Changes how many places there are. Those beyond a smaller number are not taken away; they are not given
    /// again.
    pub(crate) fn bound(&mut self, places: Places) {
        self.places = places;
        let has_all = |lane: &Lane| lane.held >= places.per_project_max;
        let (lanes, line) = (&mut self.lanes, &mut self.line);
        line.retain(|project| match lanes.get_mut(project) {
            Some(lane) if has_all(lane) => {
                lane.in_line = false;
                false
            }
            Some(_) | None => true,
        });
        // Who may have more now lines up in the order of asking.
        let mut back: Vec<_> = self
            .lanes
            .iter()
            .filter_map(|(project, lane)| Some((*lane.waiting.first()?, *project)))
            .collect();
        back.sort_unstable();
        back.into_iter().for_each(|(_, project)| self.line_up(project));
    }

    /// Joins the line.
    pub(crate) fn ask(&mut self, project: ProjectId) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.waiting += 1;
        self.lanes.entry(project).or_default().waiting.insert(ticket);
        self.line_up(project);
        ticket
    }

    /// The next who gets a place, while there is one. To be called until it gives nothing.
    pub(crate) fn grant(&mut self) -> Option<(ProjectId, Ticket)> {
        if self.held >= self.places.max {
            return None;
        }
        let project = *self.line.front()?;
        let lane = self.lanes.get_mut(&project)?;
        let ticket = lane.waiting.pop_first()?;
        lane.held += 1;
        lane.credit = lane.credit.saturating_sub(1);
        self.held += 1;
        self.waiting -= 1;
        if lane.waiting.is_empty() {
            lane.credit = 0;
        }
        if lane.credit == 0 || lane.held >= self.places.per_project_max {
            lane.in_line = false;
            self.line.pop_front();
            self.line_up(project);
        }
        Some((project, ticket))
    }

    /// Gives a place back.
    pub(crate) fn release(&mut self, project: ProjectId) {
        let Some(lane) = self.lanes.get_mut(&project).filter(|lane| lane.held > 0) else { return };
        lane.held -= 1;
        self.held -= 1;
        self.line_up(project);
        self.forget(project);
    }

    /// Leaves the line or, if the place was given meanwhile, gives it back.
    pub(crate) fn withdraw(&mut self, project: ProjectId, ticket: Ticket) {
        let Some(lane) = self.lanes.get_mut(&project) else { return };
        if !lane.waiting.remove(&ticket) {
            return self.release(project);
        }
        self.waiting -= 1;
        if lane.waiting.is_empty() {
            lane.credit = 0;
            if std::mem::take(&mut lane.in_line) {
                self.line.retain(|other| *other != project);
            }
        }
        self.forget(project);
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.held
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts a project into the line, if it belongs there and is not in it: at the end for a new round, at the
    /// front to go on with one that its own limit interrupted.
    fn line_up(&mut self, project: ProjectId) {
        let weight = self.weights.get(&project).copied().unwrap_or(1);
        let Some(lane) = self.lanes.get_mut(&project) else { return };
        if lane.in_line || lane.waiting.is_empty() || lane.held >= self.places.per_project_max {
            return;
        }
        lane.in_line = true;
        if lane.credit > 0 {
            self.line.push_front(project);
        } else {
            lane.credit = weight;
            self.line.push_back(project);
        }
    }

    /// A project that has and wants nothing costs nothing.
    fn forget(&mut self, project: ProjectId) {
        if self.lanes.get(&project).is_some_and(|lane| lane.held == 0 && lane.waiting.is_empty()) {
            self.lanes.remove(&project);
        }
    }
}

/// Where tasks wait for a place.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Places of all nodes together.
    full: Places,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    fair: Fair,
    /// Who is told when a ticket's place is there.
    waiters: HashMap<Ticket, oneshot::Sender<()>>,
}

/// The right to one attempt; dropping it gives the place to the next.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    project: ProjectId,
}

/// A ticket whose place nobody holds yet.
struct Waiting {
    gate: Arc<Gate>,
    project: ProjectId,
    ticket: Ticket,
    is_over: bool,
}

impl Gate {
    pub(crate) fn new(places: Places) -> Arc<Self> {
        let inner = Inner { fair: Fair::new(places), waiters: HashMap::new() };
        Arc::new(Self { full: places, inner: Mutex::new(inner) })
    }

    /// Keeps this node's part of places that `nodes` nodes share; every node keeps one.
    pub(crate) fn divide(&self, nodes: usize) {
        let mut inner = self.lock();
        inner.fair.bound(self.full.part(nodes));
        inner.admit();
    }

    /// As [`Fair::weigh`].
    pub(crate) fn weigh(&self, project: ProjectId, weight: u32) {
        self.lock().fair.weigh(project, weight);
    }

    /// Waits for a place; nothing if `cancel` fires first. Safe to cancel: a ticket that is dropped leaves
    /// the line, and a place that was given to it goes to the next.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        project: ProjectId,
        cancel: &CancellationToken,
    ) -> Option<Place> {
        let (sender, admitted) = oneshot::channel();
        let mut waiting = {
            let mut inner = self.lock();
            let ticket = inner.fair.ask(project);
            inner.waiters.insert(ticket, sender);
            inner.admit();
            Waiting { gate: Arc::clone(self), project, ticket, is_over: false }
        };
        tokio::select! {
            biased;
            admitted = admitted => admitted.ok()?,
            () = cancel.cancelled() => return None,
        }
        waiting.is_over = true;
        Some(Place { gate: Arc::clone(self), project })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The scheduler is whole between its methods, none of which can panic halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.fair.held(), inner.fair.waiting())
    }
}

impl Inner {
    fn admit(&mut self) {
        while let Some((_, ticket)) = self.fair.grant() {
            if let Some(waiter) = self.waiters.remove(&ticket) {
                // One that went away withdraws its ticket, and with it the place.
                let _ = waiter.send(());
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut inner = self.gate.lock();
        inner.waiters.remove(&self.ticket);
        inner.fair.withdraw(self.project, self.ticket);
        inner.admit();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        inner.fair.release(self.project);
        inner.admit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    fn projects(count: usize) -> Vec<ProjectId> {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        (0..count).map(|_| ProjectId::fresh(&fresh)).collect()
    }

    /// Asks in the order of `asks`, with one place; gives the order of the grants, by project.
    #[track_caller]
    fn check(weights: &[u32], asks: &str, expected: &str) {
        let projects = projects(26);
        let mut fair = Fair::new(Places::shared(1));
        for (project, weight) in projects.iter().zip(weights) {
            fair.weigh(*project, *weight);
        }
        let place = |letter: u8| usize::from(letter - b'a');
        for letter in asks.bytes() {
            fair.ask(projects[place(letter)]);
        }
        let mut order = String::new();
        while let Some((project, _)) = fair.grant() {
            let index = projects.iter().position(|other| *other == project).expect("one of ours");
            order.push(char::from(b'a' + u8::try_from(index).expect("a letter")));
            fair.release(project);
        }
        assert_eq!(order, expected);
        assert!(fair.lanes.is_empty() && fair.line.is_empty(), "{fair:?}");
    }

    #[tokio::test]
    async fn nodes_share_the_places_of_a_provider() {
        let gate = Gate::new(Places::shared(6));
        let (project, cancel) = (projects(1)[0], CancellationToken::new());
        gate.divide(3);
        let held = [gate.enter(project, &cancel).await, gate.enter(project, &cancel).await];
        let mut third = Box::pin(gate.enter(project, &cancel));
        assert!(futures_poll(&mut third).is_none(), "a third of six is two");
        gate.divide(2);
        assert!(third.await.is_some(), "half of six is three");
        gate.divide(100);
        drop(held);
        let one = gate.enter(project, &cancel).await;
        let mut two = Box::pin(gate.enter(project, &cancel));
        assert!(futures_poll(&mut two).is_none(), "every node keeps one");
        drop(one);
        assert!(two.await.is_some());
    }

    #[test]
    fn nodes_share_what_one_project_may_have() {
        let [large, small] = projects(2).try_into().expect("two");
        let mut fair = Fair::new(Places { max: 8, per_project_max: 6 });
        for _ in 0..10 {
            fair.ask(large);
        }
        let grants = |fair: &mut Fair| std::iter::from_fn(|| fair.grant()).count();
        fair.bound(Places { max: 8, per_project_max: 6 }.part(2));
        assert_eq!(grants(&mut fair), 3, "half of six");
        fair.ask(small);
        assert_eq!((grants(&mut fair), fair.held()), (1, 4), "half of eight, one for the other project");
        fair.bound(Places { max: 8, per_project_max: 6 });
        assert_eq!((grants(&mut fair), fair.held()), (3, 7), "it goes on when it may have more");
        fair.bound(Places { max: 8, per_project_max: 6 }.part(4));
        fair.release(large);
        assert_eq!((grants(&mut fair), fair.held()), (0, 6), "nothing is given beyond a smaller number");
    }

    #[test]
    fn projects_are_served_round_robin() {
        check(&[], "aaaaabbc", "abcabaaa");
        check(&[], "aaabbb", "ababab");
        check(&[], "cab", "cab");
    }

    #[test]
    fn a_weight_is_places_in_a_round() {
        check(&[3, 1], "aaaaaaabbb", "aaabaaabab");
        check(&[1, 2], "aaabbb", "abbaba");
    }

    #[test]
    fn a_project_is_served_in_the_order_it_asked() {
        let project = projects(1)[0];
        let mut fair = Fair::new(Places::shared(2));
        let tickets: Vec<Ticket> = (0..4).map(|_| fair.ask(project)).collect();
        let mut granted = Vec::new();
        while let Some((_, ticket)) = fair.grant() {
            granted.push(ticket);
        }
        fair.release(project);
        granted.extend(fair.grant().map(|(_, ticket)| ticket));
        assert_eq!(granted, tickets[..3]);
    }

    #[test]
    fn a_project_at_its_own_limit_leaves_the_rest_to_others() {
        let [large, small] = projects(2).try_into().expect("two");
        let mut fair = Fair::new(Places { max: 4, per_project_max: 3 });
        for _ in 0..10 {
            fair.ask(large);
        }
        let grants = std::iter::from_fn(|| fair.grant()).count();
        assert_eq!((grants, fair.held(), fair.waiting()), (3, 3, 7));
        let ticket = fair.ask(small);
        assert_eq!(fair.grant(), Some((small, ticket)));
        assert_eq!(fair.grant(), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(usize),
        Release(usize),
        Withdraw(usize),
        Bound(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..5_usize).prop_map(Step::Ask),
            3 => any::<usize>().prop_map(Step::Release),
            1 => any::<usize>().prop_map(Step::Withdraw),
            1 => (1..4_usize).prop_map(Step::Bound),
        ];
        proptest::collection::vec(step, 1..300)
    }

    /// What must hold, kept beside the scheduler in the plainest form.
    #[derive(Default)]
    struct Model {
        waiting: Vec<(ProjectId, Ticket)>,
        held: Vec<(ProjectId, Ticket)>,
        /// Projects that were granted a place while another waited and could have had one, by the other.
        passed: HashMap<(ProjectId, ProjectId), u32>,
    }

    impl Model {
        fn held_by(&self, project: ProjectId) -> usize {
            self.held.iter().filter(|(other, _)| *other == project).count()
        }

        fn granted(&mut self, (project, ticket): (ProjectId, Ticket), places: Places, weight: u32) {
            let first = self.waiting.iter().find(|(other, _)| *other == project);
            assert_eq!(first, Some(&(project, ticket)), "first come, first served within a project");
            self.waiting.retain(|(_, other)| *other != ticket);
            self.held.push((project, ticket));
            assert!(self.held.len() <= places.max && self.held_by(project) <= places.per_project_max);
            self.passed.retain(|(waits, _), _| *waits != project);
            let others: BTreeSet<ProjectId> = self.waiting.iter().map(|(other, _)| *other).collect();
            for other in others.into_iter().filter(|other| *other != project) {
                if self.held_by(other) >= places.per_project_max {
                    self.passed.retain(|(waits, _), _| *waits != other);
                    continue;
                }
                let passed = self.passed.entry((other, project)).or_default();
                *passed += 1;
                assert!(*passed <= weight, "a project was passed over {passed} times by the same other");
            }
            // Whoever no longer waits was not passed over.
            let waits = |project: &ProjectId| self.waiting.iter().any(|(other, _)| other == project);
            let gone: Vec<_> = self.passed.keys().filter(|(other, _)| !waits(other)).copied().collect();
            for key in gone {
                self.passed.remove(&key);
            }
        }
    }

    proptest! {
        #[test]
        fn nobody_starves_and_no_place_is_lost(
            steps in steps(),
            max in 1..5_usize,
            per_project_max in 1..5_usize,
            weight in 1..4_u32,
        ) {
            let (all, full) = (projects(5), Places { max, per_project_max: per_project_max.min(max) });
            let mut places = full;
            let mut fair = Fair::new(places);
            fair.weigh(all[0], weight);
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Ask(index) => model.waiting.push((all[index], fair.ask(all[index]))),
                    Step::Release(at) if !model.held.is_empty() => {
                        let (project, _) = model.held.remove(at % model.held.len());
                        fair.release(project);
                    }
                    Step::Withdraw(at) if at % 2 == 0 && !model.held.is_empty() => {
                        // Granted, and dropped before anyone looked.
                        let (project, ticket) = model.held.remove(at % model.held.len());
                        fair.withdraw(project, ticket);
                    }
                    Step::Withdraw(at) if !model.waiting.is_empty() => {
                        let (project, ticket) = model.waiting.remove(at % model.waiting.len());
                        fair.withdraw(project, ticket);
                        if !model.waiting.iter().any(|(other, _)| *other == project) {
                            model.passed.retain(|(waits, _), _| *waits != project);
                        }
                    }
                    Step::Release(_) | Step::Withdraw(_) => {}
                    Step::Bound(parts) => {
                        places = full.part(parts);
                        fair.bound(places);
                        // Who left the line and came back has a new place in it.
                        model.passed.clear();
                    }
                }
                while let Some(granted) = fair.grant() {
                    let weight = if granted.0 == all[0] { weight } else { 1 };
                    model.granted(granted, places, weight);
                }
                prop_assert_eq!((fair.held(), fair.waiting()), (model.held.len(), model.waiting.len()));
                // A free place with someone who may have it is a lost place.
                let could = model.waiting.iter().any(|(p, _)| model.held_by(*p) < places.per_project_max);
                prop_assert!(fair.held() >= places.max || !could);
            }
            model.held.drain(..).for_each(|(project, _)| fair.release(project));
            while let Some((project, _)) = fair.grant() {
                fair.release(project);
            }
            prop_assert!(fair.lanes.is_empty() && fair.line.is_empty());
        }
    }

    #[tokio::test]
    async fn places_come_back_however_a_task_ends() {
        let gate = Gate::new(Places::shared(1));
        let (project, never) = (projects(1)[0], CancellationToken::new());
        let first = gate.enter(project, &never).await.expect("a free place");
        // Dropped while it waits.
        let mut second = Box::pin(gate.enter(project, &never));
        assert!(futures_poll(&mut second).is_none());
        drop(second);
        assert_eq!(gate.counts(), (1, 0));
        // Cancelled while it waits.
        let cancel = CancellationToken::new();
        let mut third = Box::pin(gate.enter(project, &cancel));
        assert!(futures_poll(&mut third).is_none());
        cancel.cancel();
        assert!(third.await.is_none());
        // Given its place, and dropped before it looked.
        let mut fourth = Box::pin(gate.enter(project, &never));
        assert!(futures_poll(&mut fourth).is_none());
        drop(first);
        assert_eq!(gate.counts(), (1, 0));
        drop(fourth);
        assert_eq!(gate.counts(), (0, 0));
        assert!(gate.enter(project, &never).await.is_some());
    }

    /// Polls once.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
