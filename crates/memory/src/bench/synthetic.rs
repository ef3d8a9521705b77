//! Talk that is made up from a seed: four languages, four domains, and questions whose evidence is known because it
//! was put there. What it asks for is what long memories get wrong: short answers that only their question explains,
//! facts that changed since, the same thing at different times, and answers that take two passages.

mod chinese;
mod english;
mod german;
mod spanish;

use fastrand::Rng;
use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};

use super::{Asked, Conversation, Kind};

/// What is said and asked in one language.
struct Phrases {
    name: &'static str,
    /// Facts, each with what the agent asks, what the user answers, and what is asked much later.
    facts: &'static [Fact],
    /// Things that are done again and again, with `{}` for what.
    deeds: &'static [Deed],
    /// Two sentences about the same person, and a question that takes both. `{who}`, `{where}` and `{what}`.
    chains: &'static [Chain],
    /// People, places and professions to put into chains.
    people: &'static [&'static str],
    places: &'static [&'static str],
    professions: &'static [&'static str],
    /// What is said besides.
    fillers: &'static [(&'static str, &'static str)],
    /// A month of a year, in a question.
    month: fn(month: usize, year: i16) -> String,
}

struct Fact {
    /// What the agent asks; the user answers with the value alone.
    asks: &'static str,
    /// What the user says by themself, with `{}` for the value.
    says: &'static str,
    /// What the user says when it changed.
    changes: &'static str,
    /// What is asked much later.
    question: &'static str,
    values: &'static [&'static str],
}

struct Deed {
    says: &'static str,
    /// What is asked, with `{}` for when.
    question: &'static str,
    values: &'static [&'static str],
}

struct Chain {
    first: &'static str,
    second: &'static str,
    question: &'static str,
}

const LANGUAGES: [&Phrases; 4] = [&english::PHRASES, &german::PHRASES, &spanish::PHRASES, &chinese::PHRASES];
/// Sessions of one talk, a week or two apart.
const SESSIONS: u64 = 24;
/// Pairs of turns that say nothing of interest, in each session.
const FILLERS: usize = 4;
/// The first session of every talk: 8 January 2024.
const BEGIN: Timestamp = Timestamp::from_millis(1_704_708_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const TURN_MS: u64 = 30_000;

/// As many talks in each language, made from `seed`; the same ones for the same seed.
#[must_use]
pub fn conversations(seed: u64, of_each: usize) -> Vec<Conversation> {
    let numbers = 0..of_each as u64;
    let talks = numbers.flat_map(|number| LANGUAGES.iter().map(move |phrases| (number, *phrases)));
    talks
        .map(|(number, phrases)| Talk::new(seed ^ number.wrapping_mul(0x9e37_79b9), phrases).finish(number))
        .collect()
}

/// One exchange: what the agent says, what the user says, and which question the user's turn answers.
struct Exchange {
    agent: String,
    user: String,
    question: Option<usize>,
}

struct Talk {
    phrases: &'static Phrases,
    rng: Rng,
    /// What is said in each session.
    sessions: Vec<Vec<Exchange>>,
    questions: Vec<(String, Kind)>,
}

impl Talk {
    fn new(seed: u64, phrases: &'static Phrases) -> Self {
        let sessions = (0..SESSIONS).map(|_| Vec::new()).collect();
        let mut talk = Self { phrases, rng: Rng::with_seed(seed), sessions, questions: Vec::new() };
        for (number, fact) in phrases.facts.iter().enumerate() {
            talk.state(fact, number % 2 == 0);
        }
        phrases.deeds.iter().for_each(|deed| talk.repeat(deed));
        phrases.chains.iter().for_each(|chain| talk.chain(chain));
        for session in 0..SESSIONS as usize {
            for _ in 0..FILLERS {
                let (agent, user) = *talk.pick(phrases.fillers);
                talk.say(session, agent, user.to_owned(), None);
            }
        }
        talk
    }

    fn pick<T>(&mut self, from: &'static [T]) -> &'static T {
        &from[self.rng.usize(..from.len())]
    }

    fn say(&mut self, session: usize, agent: &str, user: String, question: Option<usize>) {
        let place = self.rng.usize(..=self.sessions[session].len());
        self.sessions[session].insert(place, Exchange { agent: agent.to_owned(), user, question });
    }

    fn ask(&mut self, question: String, kind: Kind) -> usize {
        self.questions.push((question, kind));
        self.questions.len() - 1
    }

    /// A fact that holds, or one that changes once.
    fn state(&mut self, fact: &'static Fact, changes: bool) {
        let mut values: Vec<&str> = fact.values.to_vec();
        self.rng.shuffle(&mut values);
        let first = self.rng.usize(..SESSIONS as usize / 2);
        let filler = self.pick(self.phrases.fillers).0;
        if changes {
            let kind = Kind::Update;
            let question = self.ask(fact.question.to_owned(), kind);
            self.say(first, filler, fact.says.replace("{}", values[0]), None);
            let later = self.rng.usize(first + 1..SESSIONS as usize);
            self.say(later, filler, fact.changes.replace("{}", values[1]), Some(question));
        } else {
            let question = self.ask(fact.question.to_owned(), Kind::Single);
            self.say(first, fact.asks, values[0].to_owned(), Some(question));
        }
    }

    /// The same thing in four months, asked for one of them.
    fn repeat(&mut self, deed: &'static Deed) {
        let mut sessions: Vec<usize> = (0..SESSIONS as usize).step_by(4).collect();
        self.rng.shuffle(&mut sessions);
        let mut values: Vec<&str> = deed.values.to_vec();
        self.rng.shuffle(&mut values);
        let (month, year) = month_of(begin_of(sessions[0] as u64));
        let when = (self.phrases.month)(month, year);
        let question = self.ask(deed.question.replace("{}", &when), Kind::Time);
        for (count, (session, value)) in sessions.into_iter().zip(values).enumerate() {
            let filler = self.pick(self.phrases.fillers).0;
            self.say(session, filler, deed.says.replace("{}", value), (count == 0).then_some(question));
        }
    }

    fn chain(&mut self, chain: &'static Chain) {
        let (who, place, what) = (
            *self.pick(self.phrases.people),
            *self.pick(self.phrases.places),
            *self.pick(self.phrases.professions),
        );
        let fill = |text: &str| text.replace("{who}", who).replace("{where}", place).replace("{what}", what);
        let question = self.ask(fill(chain.question), Kind::MultiHop);
        for text in [chain.first, chain.second] {
            let session = self.rng.usize(..SESSIONS as usize);
            let filler = self.pick(self.phrases.fillers).0;
            self.say(session, filler, fill(text), Some(question));
        }
    }

    fn finish(self, number: u64) -> Conversation {
        let fresh = Fresh::new(BEGIN, number);
        let mut episodes = Vec::new();
        let mut evidence: Vec<Vec<ItemId>> = vec![Vec::new(); self.questions.len()];
        for (place, exchanges) in (0..).zip(self.sessions) {
            let session = SessionId::fresh(&fresh);
            let mut ordinal = 0;
            for exchange in exchanges {
                for (speaker, text) in [(Speaker::Agent, exchange.agent), (Speaker::User, exchange.user)] {
                    let item = ItemId::fresh(&fresh);
                    let at = begin_of(place).plus_millis(ordinal * TURN_MS);
                    episodes.push(Episode {
                        session,
                        item,
                        ordinal,
                        at,
                        speaker,
                        name: None,
                        text,
                        labels: Labels::NEUTRAL,
                    });
                    ordinal += 1;
                    if let Some(question) = exchange.question.filter(|_| speaker == Speaker::User) {
                        evidence[question].push(item);
                    }
                }
            }
        }
        let asked = self.questions.into_iter().zip(evidence);
        let asked = asked.map(|((question, kind), evidence)| Asked { question, evidence, kind }).collect();
        let name = format!("{} {}", self.phrases.name, number + 1);
        Conversation { name, episodes, asked, now: begin_of(SESSIONS) }
    }
}

/// When a session begins: two weeks after the one before.
fn begin_of(session: u64) -> Timestamp {
    BEGIN.plus_millis(session * 14 * DAY_MS)
}

/// The month, from 0, and the year.
fn month_of(at: Timestamp) -> (usize, i16) {
    let date = crate::time::date_of(at).expect("sessions are in this century");
    (usize::from(date.month().unsigned_abs()) - 1, date.year())
}
