//! Cues: what a question says about where its answer is, besides the words it shares with it.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use tenure_journal::{Speaker, Timestamp};

use crate::text::{self, Term};
use crate::time::{self, Relation, Window};
use crate::{akin, kinds, synonym};

/// Terms of a question that are looked for; a question with more is a document.
pub const QUESTION_TERMS_MAX: usize = 32;

/// The same, with those that may stand for one.
const SOUGHT_MAX: usize = 64;

/// Terms of the same roots as a question's that are looked for, of its first terms.
const AKIN_MAX: usize = 128;

/// Whom a question is asked by and about, and when.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The question.
    pub text: &'a str,
    /// The moment it is asked at, which `last May` is relative to.
    pub now: Timestamp,
    /// Names of those who said what is remembered, as far as any are known.
    pub names: &'a [String],
}

/// A question, understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cues {
    /// What to look for, without repetitions: stems that are no stop words, no names of speakers and no part of a
    /// time expression; everything there is where nothing else would be left.
    pub terms: Vec<String>,
    /// Stems of names of speakers in the question. They say who speaks and not what about.
    pub name_terms: Vec<String>,
    /// Those of the terms that are written with a capital letter within the question: names of things, mostly.
    pub proper: Vec<String>,
    /// Those of the terms that say how something is asked for and hardly what: `what kind of`, `did both mention`.
    pub(crate) faint: Vec<String>,
    /// Those that say what happened at the moment which the answer is before or after.
    pub(crate) aside: Vec<String>,
    /// What may stand for a term, by the term: its synonyms, and the compounds that it and the next make (`roadtrip`).
    pub(crate) substitutes: HashMap<String, Vec<String>>,
    /// Names of speakers the question names, in its order.
    pub names: Vec<String>,
    /// Whether the question is about those it names together, as in `John and Mary`.
    pub are_together: bool,
    /// Whose words the question is about, where it says so by a pronoun.
    pub speaker: Option<Speaker>,
    /// When, where it says so.
    pub window: Option<Window>,
    /// Before or after what, where it says so by naming something that happened.
    pub anchor: Option<Anchor>,
    /// Whether it asks for a time.
    pub asks_when: bool,
    /// Whether it asks for a number.
    pub asks_how_many: bool,
    /// Whether it asks for something that has a name: a place, a person, a book.
    pub asks_name: bool,
    /// Whether it asks for several things, which may have been said far apart.
    pub asks_several: bool,
    /// The kinds of things it asks for.
    pub(crate) kinds: Vec<usize>,
}

/// `before the move`: a moment that is known once what is named there is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Which side of it.
    pub relation: Relation,
    /// What happened then, to be recalled itself.
    pub what: String,
}

impl Cues {
    /// Terms that are looked for, each once: the question's, and those that may stand for one of them.
    #[must_use]
    pub fn sought(&self) -> Vec<String> {
        let substitutes = self.terms.iter().flat_map(|term| self.substitutes(term));
        let mut seen = HashSet::new();
        let distinct = self.terms.iter().chain(substitutes).filter(|term| seen.insert(term.as_str()));
        distinct.take(SOUGHT_MAX).cloned().collect()
    }

    /// What may stand for a term.
    pub(crate) fn substitutes(&self, term: &str) -> &[String] {
        self.substitutes.get(term).map_or(&[], Vec::as_slice)
    }

    /// Terms that an answer may have instead: those of the same root, and those of the kinds that the question asks
    /// for.
    #[must_use]
    pub fn kindred(&self) -> Vec<String> {
        let akin = self.terms.iter().flat_map(|term| akin::likely(term)).take(AKIN_MAX);
        let mut seen: HashSet<String> = self.sought().into_iter().collect();
        akin.chain(kinds::said(&self.kinds)).filter(|term| seen.insert(term.clone())).collect()
    }
}

/// Reads a question.
#[must_use]
pub fn cues(question: &Question<'_>) -> Cues {
    let found = time::find(question.text, question.now);
    let mut cues = Cues {
        window: found.window,
        anchor: found.anchor.map(|(relation, what)| Anchor { relation, what }),
        asks_when: asks(question.text, WHEN),
        asks_how_many: asks(question.text, HOW_MANY),
        asks_name: asks_name(question.text),
        asks_several: asks_several(question.text),
        speaker: speaker(question.text),
        ..Cues::default()
    };
    let asked: Vec<Term> = text::terms(question.text);
    let mut named: Vec<(usize, &String)> = Vec::new();
    for name in question.names {
        let stems: Vec<Term> = text::terms(name);
        let first = stems.first().map(|term| &term.stem);
        let place = asked.iter().position(|term| Some(&term.stem) == first);
        if let Some(place) = place {
            named.push((place, name));
            cues.name_terms.extend(stems.into_iter().map(|term| term.stem));
        }
    }
    named.sort_unstable();
    cues.names = named.iter().map(|(_, name)| (*name).clone()).collect();
    cues.are_together =
        matches!(named[..], [(one, _), (other, _), ..] if other <= one + 2 && joined(&asked[one..other]));
    let all: Vec<Term> = text::terms(&found.rest);
    cues.proper = asked.iter().skip(1).filter(|term| term.is_capital).map(|term| term.stem.clone()).collect();
    let telling = all.iter().filter(|term| !term.is_stop && !cues.name_terms.contains(&term.stem));
    let mut terms = distinct(telling.map(|term| term.stem.clone()));
    // Of everything that was said at some time, it tells nothing that it was said.
    if cues.window.is_some() && terms.iter().all(|term| SAYING.contains(term)) {
        terms.clear();
    }
    if terms.is_empty() && cues.window.is_none() {
        terms = distinct(all.iter().filter(|term| !term.is_stop).map(|term| term.stem.clone()));
    }
    if terms.is_empty() && cues.window.is_none() {
        terms = distinct(all.into_iter().map(|term| term.stem));
    }
    cues.substitutes = substitutes(&terms, &found.rest);
    cues.terms = terms;
    let folded = time::folded(question.text);
    cues.faint = folded.split(' ').filter(|word| FAINT.contains(word)).flat_map(text::stems).collect();
    cues.kinds = kinds::asked(asked.iter().filter(|term| !term.is_stop).map(|term| term.stem.as_str()));
    cues
}

/// What may stand for each of the terms of a question.
fn substitutes(terms: &[String], question: &str) -> HashMap<String, Vec<String>> {
    let synonyms = |term: &String| (term.clone(), synonym::of(term).to_vec());
    let mut substitutes: HashMap<String, Vec<String>> = terms.iter().map(synonyms).collect();
    // Words that are one term each, and one of the question's.
    let asked =
        |word: &str| <[String; 1]>::try_from(text::stems(word)).ok().filter(|[term]| terms.contains(term));
    let words: Vec<(&str, Option<[String; 1]>)> = words(question).map(|word| (word, asked(word))).collect();
    for pair in words.windows(2) {
        let [(one, Some(first)), (other, Some(second))] = pair else { continue };
        let Ok([compound]) = <[String; 1]>::try_from(text::stems(&format!("{one}{other}"))) else { continue };
        for part in first.iter().chain(second) {
            let others = substitutes.entry(part.clone()).or_default();
            if !others.contains(&compound) {
                others.push(compound.clone());
            }
        }
    }
    substitutes
}

/// Whether a question may have a name in it: something that is written large, or in a script that does not tell.
#[must_use]
pub fn may_name(text: &str) -> bool {
    words(text).any(is_large)
}

/// Whether a question names somebody as their name is written. `Billing` may be who said something; `billing` is what
/// is asked about, whatever the agent is called.
#[must_use]
pub fn is_named(text: &str, name: &str) -> bool {
    let Some(first) = words(name).next().filter(|first| is_large(first)) else { return false };
    // Scripts without spaces do not part a name from what follows.
    let parts_words = first.chars().all(|c| c.is_lowercase() || c.is_uppercase());
    if parts_words { words(text).any(|word| word == first) } else { text.contains(first) }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn is_large(word: &str) -> bool {
    word.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_lowercase())
}

fn distinct(stems: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for stem in stems {
        if !seen.contains(&stem) {
            seen.push(stem);
        }
        if seen.len() == QUESTION_TERMS_MAX {
            break;
        }
    }
    seen
}

/// Whether `and` stands there.
fn joined(terms: &[Term]) -> bool {
    terms.iter().any(|term| ["and", "und", "y", "et"].contains(&term.stem.as_str()))
}

/// Beginnings of questions about a time.
const WHEN: &[&str] = &[
    "when",
    "what date",
    "what day",
    "what time",
    "what year",
    "which year",
    "which month",
    "what month",
    "how long ago",
    "wann",
    "an welchem tag",
    "in welchem",
    "seit wann",
    "cuando",
    "que dia",
    "en que ano",
    "quand",
    "什么时候",
    "哪天",
    "哪一天",
    "几号",
    "いつ",
    "何日",
];
const HOW_MANY: &[&str] = &[
    "how many",
    "how much",
    "how old",
    "how long",
    "how often",
    "wie viel",
    "wie oft",
    "wie lange",
    "wie alt",
    "cuanto",
    "cuanta",
    "combien",
    "多少",
    "几个",
    "几次",
    "多久",
    "何人",
    "いくつ",
    "いくら",
];
/// Words of questions whose answer is likely a name, of languages in which only names have capital letters.
const NAMED: &[&str] = &[
    "where",
    "who",
    "whom",
    "whose",
    "which",
    "name",
    "names",
    "called",
    "city",
    "cities",
    "country",
    "countries",
    "state",
    "states",
    "place",
    "places",
    "book",
    "books",
    "movie",
    "movies",
    "film",
    "films",
    "game",
    "games",
    "song",
    "songs",
    "artist",
    "artists",
    "band",
    "bands",
    "author",
    "authors",
    "brand",
    "brands",
    "company",
    "companies",
    "event",
    "events",
    "title",
    "titles",
    "donde",
    "quien",
    "quienes",
    "cual",
    "cuales",
    "nombre",
    "ciudad",
    "pais",
    "lugar",
    "libro",
    "pelicula",
    "empresa",
    "qui",
    "quel",
    "quelle",
    "ville",
    "pays",
    "livre",
    "entreprise",
];

/// Words that frame a question, and words for whatever is asked for.
const FAINT: &[&str] = &[
    "kind",
    "kinds",
    "type",
    "types",
    "sort",
    "sorts",
    "thing",
    "things",
    "item",
    "items",
    "person",
    "people",
    "both",
    "likely",
    "mention",
    "mentioned",
    "ding",
    "dinge",
    "sache",
    "sachen",
    "leute",
    "beide",
    "beiden",
    "erwahnt",
    "tipo",
    "tipos",
    "clase",
    "clases",
    "cosa",
    "cosas",
    "gente",
    "ambos",
    "ambas",
    "sorte",
    "sortes",
    "genre",
    "chose",
    "choses",
    "gens",
];

fn asks_name(text: &str) -> bool {
    time::folded(text).split(' ').any(|word| NAMED.contains(&word))
}

/// Words for saying something, of whatever kind, in the languages whose times are read.
const SAYING_WORDS: &str = "\
    discuss discussed discussing discussion talk talked talking chat chatted say said tell told mention \
    mentioned speak spoke spoken conversation topic woruber wovon besprechen besprochen reden geredet \
    sprechen gesprochen sagte gesagt erzahlt erwahnt gesprach thema unterhalten hablar hablamos hablado \
    dijo dicho dijimos contar mencionado tema 讨论 论了 说了 聊了 谈了 提到 到了 了什 话题";

static SAYING: LazyLock<HashSet<String>> =
    LazyLock::new(|| text::distinct_stems(SAYING_WORDS).into_iter().collect());

/// Words that more than one thing is asked for with.
const SEVERAL: &[&str] = &[
    "both",
    "some",
    "how many",
    "what are",
    "what were",
    "welche",
    "wie viele",
    "beide",
    "cuales",
    "cuantos",
    "cuantas",
    "ambos",
    "ambas",
    "quels",
    "quelles",
    "combien de",
    "哪些",
    "几个",
    "几次",
];
/// Words behind which an English question names what it asks for, and where that ends.
const NAMING: &[&str] = &["what", "which"];
const VERBS: &[&str] = &[
    "did", "do", "does", "is", "was", "has", "have", "had", "are", "were", "will", "would", "can", "could",
    "might",
];
/// Words between the two of which one is in plural.
const PLURAL_WITHIN: usize = 4;

fn asks_several(text: &str) -> bool {
    let folded = time::folded(text);
    let spaced = format!(" {folded} ");
    let says = |words: &&str| match words.is_ascii() {
        true => spaced.contains(&format!(" {words} ")),
        false => folded.contains(*words),
    };
    let named = folded.split(' ').skip_while(|word| !NAMING.contains(word)).skip(1);
    let mut named = named.take(PLURAL_WITHIN).take_while(|word| !VERBS.contains(word));
    let is_plural = |word: &str| {
        word.len() > 3 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end))
    };
    SEVERAL.iter().any(says) || named.any(is_plural)
}

/// Words by which the asker means themself, and by which they mean the agent.
const ASKER: &[&str] =
    &["i", "my", "me", "ich", "mein", "meine", "mir", "mich", "yo", "mi", "mis", "je", "mon", "ma"];
const ASKED: &[&str] = &["you", "your", "du", "dein", "deine", "dir", "tu", "tus", "te", "toi", "ton"];

fn asks(text: &str, beginnings: &[&str]) -> bool {
    let folded = format!(" {}", time::folded(text));
    beginnings.iter().any(|words| match words.is_ascii() {
        true => folded.contains(&format!(" {words}")),
        false => folded.contains(words),
    })
}

/// Whose words are asked for. Where both are named, the asker remembers what the agent said to them.
fn speaker(text: &str) -> Option<Speaker> {
    let folded = time::folded(text);
    let has = |words: &[&str]| folded.split_whitespace().any(|word| words.contains(&word));
    let has_letter = |letter| folded.contains(letter);
    if has(ASKED) || has_letter('你') {
        Some(Speaker::Agent)
    } else if has(ASKER) || has_letter('我') || has_letter('私') {
        Some(Speaker::User)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_one() {
        for (text, name, expected) in [
            ("What did Ada say?", "Ada", true),
            ("Ada's car?", "Ada Lovelace", true),
            ("what did ada say?", "Ada", false),
            ("Which database does billing use?", "billing", false),
            ("Which database does billing use?", "Billing bot", false),
            ("What did Billing say?", "Billing bot", true),
            ("Who is Adam?", "Ada", false),
            ("王芳喜欢什么？", "王芳", true),
            ("他喜欢什么？", "王芳", false),
            ("What?", "", false),
        ] {
            assert_eq!(is_named(text, name), expected, "{text} {name}");
            assert!(!expected || may_name(text), "{text}");
        }
        assert!(!may_name("which database does billing use, the 2nd?"));
    }

    #[test]
    fn words_that_frame_a_question_are_faint() {
        let now = Timestamp::EPOCH;
        for (text, expected) in [
            ("What kind of boat is it?", "kind"),
            ("Which things did both of them mention?", "thing both mention"),
            ("Would Ada likely sail?", "lik"),
            ("What does Ada like?", ""),
            ("¿Qué cosas y qué clase de barco?", "cos clas"),
            ("Welche Sachen haben beide?", "sach beid"),
            ("什么船", ""),
        ] {
            let cues = cues(&Question { text, now, names: &[] });
            assert_eq!(cues.faint.join(" "), expected, "{text}");
        }
    }
}
