//! What a model is given to make vectors of: an episode, the episode with what was said right before it, its
//! sentences; and a question.
//!
//! Names of who speaks are left out everywhere, because they are most of what such a model sees in a short text, and
//! say who and not what; who speaks is a feature of its own. An English question says `you` instead: it then reads as
//! what was asked in the talk itself, and not as a sentence that lacks a word. What stands around an episode is only what came before
//! it, so that its vectors are the same whenever they are made.

use tenure_journal::{Episode, Speaker};
use tenure_vector::VECTORS_MAX;

/// Letters of a word that is a sentence of its own at least; shorter ones go with the next.
const SENTENCE_CHARS_MIN: usize = 12;
/// Bytes of what was said before that count, from its end: about as much as a model reads beside the rest.
const BEFORE_BYTES_MAX: usize = 400;
/// Sentences that have a vector of their own; of a longer text they are put together.
const SENTENCES_MAX: usize = VECTORS_MAX - 2;

/// What to make the vectors of an episode of: all it says, that after what was said before it, and its sentences, if
/// it has several.
#[must_use]
pub fn texts(before: Option<&Episode>, episode: &Episode) -> Vec<String> {
    let names: Vec<&str> = before
        .into_iter()
        .chain([episode])
        .filter(|one| one.speaker != Speaker::Tool)
        .filter_map(|one| one.name.as_deref())
        .collect();
    let whole = without(&episode.text, &names);
    let window = match before {
        Some(before) => {
            let start = before.text.len().saturating_sub(BEFORE_BYTES_MAX);
            let tail = &before.text[before.text.ceil_char_boundary(start)..];
            format!("{} {whole}", without(tail, &names))
        }
        None => whole.clone(),
    };
    let sentences = sentences(&whole);
    let mut texts = vec![whole, window];
    if sentences.len() > 1 {
        texts.extend(sentences);
    }
    texts
}

/// What to make the vector of a question of.
#[must_use]
pub fn question(text: &str, names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let addressed = |rest: &str| match is_possessive(rest) {
        true => ("your", POSSESSIVE_LETTERS),
        false => ("you", 0),
    };
    if is_english(text) { with(text, &names, addressed) } else { without(text, &names) }
}

/// Words that most English questions have, and questions of languages that share the alphabet do not.
const ENGLISH: &[&str] = &[
    "what", "when", "where", "who", "whom", "whose", "which", "why", "how", "did", "does", "are", "were",
    "have", "had", "would", "could", "should",
];

fn is_english(text: &str) -> bool {
    words(text).iter().any(|word| ENGLISH.contains(&word.as_str()))
}

/// Letters of `'s`.
const POSSESSIVE_LETTERS: usize = 2;

/// Whether `'s` follows, as of `Ada's`.
fn is_possessive(rest: &str) -> bool {
    let mut letters = rest.chars();
    matches!(letters.next(), Some('\'' | '’'))
        && letters.next() == Some('s')
        && !letters.next().is_some_and(char::is_alphanumeric)
}

/// The text without the names.
fn without(text: &str, names: &[&str]) -> String {
    with(text, names, |_| ("", 0))
}

/// The text with something else for the names, which are found by words and without regard to their case. What that
/// is, and how many letters behind the name it stands for as well, may depend on what follows.
fn with(text: &str, names: &[&str], instead: impl Fn(&str) -> (&'static str, usize)) -> String {
    let names: Vec<Vec<String>> =
        names.iter().map(|name| words(name)).filter(|name| !name.is_empty()).collect();
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        let (between, from) = rest.split_at(start);
        kept.push_str(between);
        let end = names.iter().filter_map(|name| named(from, name)).max();
        let word = from.find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len());
        rest = &from[end.unwrap_or(word)..];
        if end.is_some() {
            let (said, letters) = instead(rest);
            kept.push_str(said);
            rest = rest.char_indices().nth(letters).map_or("", |(at, _)| &rest[at..]);
        } else {
            kept.push_str(&from[..word]);
        }
    }
    kept.push_str(rest);
    kept
}

/// The words of a name, without case.
fn words(name: &str) -> Vec<String> {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Where a name that the text begins with ends.
fn named(text: &str, name: &[String]) -> Option<usize> {
    let mut end = 0;
    for (place, word) in name.iter().enumerate() {
        let gap = text[end..].find(char::is_alphanumeric)?;
        if place > 0 && text[end..end + gap].trim().chars().any(|c| c != '.' && c != '-') {
            return None;
        }
        let start = end + gap;
        let length = text[start..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - start);
        if text[start..start + length].to_lowercase() != *word {
            return None;
        }
        end = start + length;
    }
    Some(end)
}

/// The sentences, put together where they are too short or too many.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut open = String::new();
    for sentence in sentences_of(text) {
        open.push_str(sentence);
        if open.trim().chars().count() >= SENTENCE_CHARS_MIN {
            sentences.push(open.trim().to_owned());
            open.clear();
        }
    }
    match sentences.last_mut() {
        Some(last) if !open.trim().is_empty() => {
            last.push(' ');
            last.push_str(open.trim());
        }
        Some(_) | None => {}
    }
    let together = sentences.len().div_ceil(SENTENCES_MAX).max(1);
    sentences.chunks(together).map(|chunk| chunk.join(" ")).collect()
}

/// The text cut where sentences end, nothing left out.
pub(crate) fn sentences_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (sentence, after) = rest.split_at(end_of_sentence(rest));
        rest = after;
        (!sentence.is_empty()).then_some(sentence)
    })
}

/// Behind the first sign that ends a sentence, with the gap after it.
fn end_of_sentence(text: &str) -> usize {
    let mut after_end = false;
    for (place, c) in text.char_indices() {
        match c {
            '。' | '！' | '？' | '\n' => return place + c.len_utf8(),
            '.' | '!' | '?' => after_end = true,
            _ if after_end && c.is_whitespace() => return place + c.len_utf8(),
            _ => after_end = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, ItemId, Labels, SessionId, Timestamp};

    use super::*;

    fn said(name: &str, text: &str) -> Episode {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        Episode {
            session: SessionId::fresh(&fresh),
            item: ItemId::fresh(&fresh),
            ordinal: 0,
            at: Timestamp::EPOCH,
            speaker: Speaker::User,
            name: (!name.is_empty()).then(|| name.to_owned()),
            text: text.to_owned(),
            labels: Labels::NEUTRAL,
        }
    }

    #[test]
    fn names_are_left_out() {
        for (text, expected) in [
            ("Hi Ada!", "Hi !"),
            ("ADA's dog, and adamant Adas.", "'s dog, and adamant Adas."),
            ("jo-anne and Jo Anne, Jo and Anne", " and , Jo and Anne"),
            ("", ""),
            ("«Ada»", "«»"),
        ] {
            assert_eq!(without(text, &["Ada", "Jo Anne", "  "]), expected, "{text}");
        }
    }

    #[test]
    fn a_question_says_you_for_a_name() {
        for (text, expected) in [
            ("Where was Ada?", "Where was you?"),
            ("What did Ada's dog give to ADA, Adam?", "What did your dog give to you, Adam?"),
            ("Which cat is Ada’s?", "Which cat is your?"),
            ("Wo war Ada, und was ist Adas?", "Wo war , und was ist Adas?"),
            ("¿Dónde vive Ada?", "¿Dónde vive ?"),
            ("", ""),
        ] {
            assert_eq!(question(text, &["Ada".to_owned()]), expected, "{text}");
        }
    }

    #[test]
    fn an_episode_is_read_three_ways() {
        let before = said("Ada", "Where were you, Bob?");
        let after = said("Bob", "In Lisbon, Ada. It rained all week long! Yes. And you?");
        assert_eq!(
            texts(Some(&before), &after),
            [
                "In Lisbon, . It rained all week long! Yes. And you?",
                "Where were you, ? In Lisbon, . It rained all week long! Yes. And you?",
                "In Lisbon, .",
                "It rained all week long!",
                "Yes. And you?",
            ]
        );
        assert_eq!(texts(None, &said("", "It rains.")), ["It rains.", "It rains."]);
        assert_eq!(texts(None, &said("", "Yes. No.")), ["Yes. No.", "Yes. No."]);
    }

    #[test]
    fn long_texts_have_few_sentences() {
        let long = "This is one more sentence. ".repeat(100);
        let found = texts(None, &said("", &long));
        assert_eq!(found.len(), 2 + 8, "{}", found.len());
        let window = texts(Some(&said("", &"é".repeat(1_000))), &said("", "x"));
        assert!(window[1].len() <= BEFORE_BYTES_MAX + 2);
        assert_eq!(sentences("一二三四五六七八九十十一十二。二二二二二二二二二二二二二！").len(), 2);
    }
}
