//! Names: text that people choose and that other people recognise things by.
//!
//! What looks like another name, or like nothing, is refused and never mended: a client that saved one name must
//! not find another. A whole word in another script that looks like a word in this one is let through: telling
//! those apart needs to know which of the two was meant.

use unicode_normalization::is_nfc;
use unicode_script::Script;
use unicode_security::mixed_script::AugmentedScriptSet;

use super::reader::Field;
use crate::error::ApiError;

/// A name of 1 to `chars_max` characters.
pub(crate) fn read_name<'a>(field: &Field<'a>, chars_max: usize) -> Result<&'a str, ApiError> {
    let name = field.text(chars_max)?;
    let why = if name.chars().any(is_deceptive) {
        "control, invisible and text-direction characters are not allowed"
    } else if !is_nfc(name) {
        "it must be in the composed form (NFC)"
    } else if !has_one_script(name) {
        "it mixes letters of scripts that are not written together"
    } else {
        return Ok(name);
    };
    Err(field.refuse("name_characters", format!("Invalid '{}': {why}.", field.path())))
}

/// Characters that make two names look alike or one name look like something else.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether the letters are of one script, or Latin ones beside Chinese, Japanese or Korean, as they are written
/// together (UTS 39, section 5.2, "highly restrictive"). Digits, punctuation and symbols belong to every script.
fn has_one_script(name: &str) -> bool {
    let mut all = AugmentedScriptSet::default();
    let mut beside_latin = AugmentedScriptSet::default();
    for c in name.chars() {
        let scripts = AugmentedScriptSet::for_char(c);
        all.intersect_with(scripts);
        if !scripts.base.contains_script(Script::Latin) {
            beside_latin.intersect_with(scripts);
        }
    }
    !all.is_empty() || beside_latin.kore || beside_latin.hanb || beside_latin.jpan
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::Reader;

    #[test]
    fn names_are_composed_visible_and_of_one_script() {
        for (name, refused) in [
            ("clerk", false),
            ("Order desk 2 (new!) — €5", false),
            ("Zoë", false),
            ("заказы", false),
            ("東京 desk", false),
            ("カスタマーサポート担当", false),
            ("고객 support", false),
            ("مساعد", false),
            ("🤖 helper", false),
            ("cl\u{0435}rk", true),
            ("paypa\u{04cf}", true),
            ("\u{0391}pple", true),
            ("заказы desk", true),
            ("東京 заказы", true),
            ("Zoe\u{0308}", true),
            ("a\u{200b}b", true),
            ("a\u{202e}b", true),
            ("a\u{feff}", true),
            ("a\tb", true),
        ] {
            let body = json!({ "name": name });
            let mut reader = Reader::new("", &body).expect("an object");
            let read = read_name(&reader.required("name").expect("present"), 64);
            let code = read.err().map(|error| error.stable_code());
            assert_eq!(code, refused.then_some("name_characters"), "{name:?}");
        }
    }
}
