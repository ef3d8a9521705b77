//! What a term is, and what a question says besides its terms.

use tenure_journal::Timestamp;
use tenure_memory::cue::{Cues, Question, cues};
use tenure_memory::{rfc3339, text};

/// Thursday, 17 October 2024, at noon.
const NOW: Timestamp = Timestamp::from_millis(1_729_166_400_000);

#[test]
fn texts_as_terms() {
    for (text, expected) in [
        ("", ""),
        ("The dogs were running", "dog run"),
        ("painted paints painting paint", "paint paint paint paint"),
        ("went, goes and going", "go go go"),
        ("parties party", "parti parti"),
        ("Caroline's café", "carolin caf"),
        ("l'école", "ecol"),
        ("Größe grosse GRÖSSE", "gross gross gross"),
        ("los perros y la perra", "perr perr"),
        ("мои собаки, собака", "мои собак собак"),
        ("秋天的旅行", "秋天 天的 的旅 旅行"),
        ("猫", "猫"),
        ("サーバーを再起動", "サー ーバ バー ーを を再 再起 起動"),
        ("v1.2 costs $30", "v1 2 cost 30"),
        ("한국어 문장", "한국어 문장"),
        ("don't", "don"),
        ("''''", ""),
        ("ＡＢＣ ｱｲｳ", "abc アイ イウ"),
    ] {
        assert_eq!(text::stems(text).join(" "), expected, "{text}");
    }
}

#[test]
fn long_texts_end_somewhere() {
    let long = "wort ".repeat(10_000);
    assert_eq!(text::terms(&long).len(), text::TERMS_MAX);
    assert_eq!(text::distinct_stems(&long), ["wort"]);
    let longer = "x".repeat(100_000);
    assert!(text::stems(&longer)[0].len() < 100);
}

fn read(question: &str, names: &[&str]) -> Cues {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    cues(&Question { text: question, now: NOW, names: &names })
}

#[test]
fn questions_say_when() {
    for (question, expected) in [
        ("what did we do yesterday?", "2024-10-16 2024-10-17 -"),
        ("what happened last May", "2024-05-01 2024-06-01 happ"),
        ("what happened last December", "2023-12-01 2024-01-01 happ"),
        ("which trips in June 2023?", "2023-06-01 2023-07-01 trip"),
        ("dinner on 8 May, 2023", "2023-05-08 2023-05-09 dinner"),
        ("dinner on May 8th", "2024-05-08 2024-05-09 dinner"),
        ("dinner on 2024-02-29", "2024-02-29 2024-03-01 dinner"),
        ("two weeks ago", "2024-09-30 2024-10-07 -"),
        ("a year ago", "2023-01-01 2024-01-01 -"),
        ("last week", "2024-10-07 2024-10-14 -"),
        ("last friday", "2024-10-11 2024-10-12 -"),
        ("on Thursday", "2024-10-10 2024-10-11 -"),
        ("last summer", "2024-06-01 2024-09-01 -"),
        ("this month", "2024-10-01 2024-11-01 -"),
        ("in 2022", "2022-01-01 2023-01-01 -"),
        ("gestern", "2024-10-16 2024-10-17 -"),
        ("vor drei Monaten", "2024-07-01 2024-08-01 -"),
        ("letzten Mai", "2024-05-01 2024-06-01 -"),
        ("im März 2024", "2024-03-01 2024-04-01 -"),
        ("hace dos semanas", "2024-09-30 2024-10-07 -"),
        ("el 8 de mayo de 2023", "2023-05-08 2023-05-09 -"),
        ("la semana pasada", "2024-10-07 2024-10-14 -"),
        ("上个月发生了", "2024-09-01 2024-10-01 发生 生了"),
        ("2023年5月8日", "2023-05-08 2023-05-09 -"),
        ("12月", "2023-12-01 2024-01-01 -"),
        ("三年前", "2021-01-01 2022-01-01 -"),
        ("先週", "2024-10-07 2024-10-14 -"),
        ("may I have the receipt", "- may receipt"),
        ("march to the beat", "- march beat"),
        ("room 2023b", "- room 2023b"),
        ("99 May 9999", "- 99 may 9999"),
    ] {
        let cues = read(question, &[]);
        let day = |at: Timestamp| rfc3339(at)[..10].to_owned();
        let window = cues
            .window
            .map_or("-".to_owned(), |window| format!("{} {}", day(window.from), day(window.until)));
        let terms = if cues.terms.is_empty() { "-".to_owned() } else { cues.terms.join(" ") };
        assert_eq!(format!("{window} {terms}"), expected, "{question}");
    }
}

#[test]
fn what_may_stand_for_a_term_is_looked_for() {
    for (question, expected) in [
        ("the film about dogs", "film dog movi doggi dogg"),
        ("a road trip by car", "road trip car roadtrip journei automobil"),
        ("the front-end of our mom", "front end mom frontend mother mum mam mommi mummi"),
        ("the road, trip included", "road trip includ roadtrip journei tripinclud"),
        ("our zebra", "zebr"),
        ("road trip after road trip", "road trip roadtrip journei"),
    ] {
        assert_eq!(read(question, &[]).sought().join(" "), expected, "{question}");
    }
}

#[test]
fn questions_say_before_and_after() {
    let before = read("what did I own before May 2023", &[]).window.expect("a window");
    assert_eq!(rfc3339(before.until), "2023-05-01T00:00:00Z");
    let since = read("was habe ich seit 2023 gelesen", &[]).window.expect("a window");
    assert_eq!(rfc3339(since.from), "2024-01-01T00:00:00Z");
    let moved = read("what was my address before the move to Lisbon", &[]);
    assert_eq!(moved.window, None);
    assert_eq!(moved.anchor.map(|anchor| anchor.what), Some("the move to lisbon".to_owned()));
    assert_eq!(read("before", &[]).anchor, None);
}

#[test]
fn of_what_was_said_at_some_time_that_it_was_said_tells_nothing() {
    for (question, terms) in [
        ("what did we talk about yesterday", ""),
        ("What was the topic of our discussion on 11 December 2023?", ""),
        ("what did we discuss", "discuss"),
        ("what did we say about the boat yesterday", "say boat"),
        ("worüber haben wir gestern gesprochen", ""),
        ("¿De qué hablamos ayer?", ""),
        ("我们昨天讨论了什么", ""),
    ] {
        assert_eq!(read(question, &[]).terms.join(" "), terms, "{question}");
    }
}

#[test]
fn questions_ask_for_one_thing_or_for_several() {
    for (question, several) in [
        ("What books has Ada read?", true),
        ("In which old cities did Ada live?", true),
        ("How many boats are there?", true),
        ("What do both of them like?", true),
        ("What are the names of the boats?", true),
        ("¿Cuáles son tus libros?", true),
        ("Welche Bücher hast du?", true),
        ("What did Ada bring to the boats?", false),
        ("Which boat is it?", false),
        ("What dress was it?", false),
        ("Which famous boat did Ada see?", false),
        ("法国的首都是哪里", false),
        ("有哪些船", true),
        ("Did somebody call?", false),
        ("Who bothers Ada?", false),
        ("When did the boats leave?", false),
        ("", false),
    ] {
        assert_eq!(read(question, &[]).asks_several, several, "{question}");
    }
}

#[test]
fn questions_say_who() {
    for (question, names, terms, together) in [
        ("What did Caroline paint?", "Caroline", "paint", false),
        ("What did Melanie tell Caroline about painting?", "Melanie Caroline", "tell paint", false),
        ("What do Caroline and Melanie like?", "Caroline Melanie", "like", true),
        ("Who is Caroline?", "Caroline", "carolin", false),
        ("What did anybody paint?", "", "anybodi paint", false),
    ] {
        let cues = read(question, &["Melanie", "Caroline"]);
        assert_eq!(cues.names.join(" "), names, "{question}");
        assert_eq!(cues.terms.join(" ").replace("lik", "like"), terms, "{question}");
        assert_eq!(cues.are_together, together, "{question}");
    }
    for (question, expected) in [
        ("what did I say about the kitchen", "user"),
        ("what did you recommend to me", "agent"),
        ("was hast du mir empfohlen", "agent"),
        ("我对什么过敏", "user"),
        ("which book was it", "nobody"),
    ] {
        let speaker = read(question, &[]).speaker.map_or("nobody", |speaker| speaker.as_str());
        assert_eq!(speaker, expected, "{question}");
    }
}

#[test]
fn questions_ask_for_names() {
    for (question, expected) in [
        ("Which cities did I visit?", true),
        ("¿Dónde vive?", true),
        ("Who was there?", true),
        ("Whoever was there?", false),
        ("What did I cook?", false),
        ("Wo war das?", false),
        ("", false),
    ] {
        assert_eq!(read(question, &[]).asks_name, expected, "{question}");
    }
}

#[test]
fn questions_say_what_they_ask_for() {
    for (question, when, how_many) in [
        ("When did it rain?", true, false),
        ("How many cats are there?", false, true),
        ("Wann war das?", true, false),
        ("¿Cuándo fue?", true, false),
        ("什么时候去的", true, false),
        ("有多少只猫", false, true),
        ("Whenever it rains?", true, false),
        ("What is it?", false, false),
    ] {
        let cues = read(question, &[]);
        assert_eq!((cues.asks_when, cues.asks_how_many), (when, how_many), "{question}");
    }
}
