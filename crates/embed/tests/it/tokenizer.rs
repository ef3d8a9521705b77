//! Texts as the numbers of pieces.

use tenure_embed::{Casing, Tokenizer};

use crate::tiny::{self, PIECES};

fn pieces(tokenizer: &Tokenizer, text: &str, tokens_max: usize) -> String {
    let tokens = tokenizer.encode(text, tokens_max);
    let named: Vec<&str> = tokens.iter().map(|token| PIECES[*token as usize]).collect();
    assert_eq!((named.first(), named.last()), (Some(&"[CLS]"), Some(&"[SEP]")), "{text}");
    named[1..named.len() - 1].join(" ")
}

#[test]
fn texts_as_pieces() {
    let tokenizer = Tokenizer::from_json(tiny::tokenizer().to_string().as_bytes()).expect("a tokenizer");
    for (text, expected) in [
        ("", ""),
        ("   \t\n\u{a0}", ""),
        ("the dog", "the dog"),
        ("The\u{301} DÓG\r\nbarks", "the dog bark ##s"),
        ("barkeds", "bark ##ed ##s"),
        ("barkx", "[UNK]"),
        ("s", "[UNK]"),
        ("dog,dog.", "dog , dog ."),
        ("at犬at", "at 犬 at"),
        ("ca\u{0}t c\u{200b}at c\u{fffd}at", "cat cat cat"),
        ("[SEP] ##s", "[UNK] [UNK] [UNK] [UNK] [UNK] [UNK]"),
        ("cata", "cat ##a"),
        ("dog—dog", "dog [UNK] dog"),
    ] {
        assert_eq!(pieces(&tokenizer, text, 64), expected, "{text:?}");
    }
    let long = format!("{} dog", "barks".repeat(30));
    assert_eq!(pieces(&tokenizer, &long, 64), "[UNK] dog", "a word of more than 100 letters is none");
    assert_eq!(pieces(&tokenizer, "the dog barks at the cat", 6), "the dog bark ##s", "the end is cut off");
    assert_eq!(pieces(&tokenizer, "the dog", 0), "", "what begins and ends a text always stands there");
}

#[test]
fn cased_vocabularies_know_capitals() {
    let list = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nDog\ndog\né";
    let tokenizer = Tokenizer::from_vocabulary(list.as_bytes(), Casing::Cased).expect("a tokenizer");
    assert_eq!(tokenizer.encode("Dog dog é DOG", 64), [2, 4, 5, 6, 1, 3]);
}
