//! Words that say nothing by themselves: articles, pronouns, auxiliaries, question words.

use std::collections::HashSet;
use std::sync::LazyLock;

/// In the order of their bytes within each language, folded as terms are before their endings go.
const WORDS: &[&[&str]] = &[ENGLISH, GERMAN, SPANISH, FRENCH];

const ENGLISH: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "being", "but", "by", "can", "could", "did", "do", "does", "doing", "for",
    "from", "had", "has", "have", "having", "he", "her", "hers", "him", "his", "how", "i", "if", "in",
    "into", "is", "it", "its", "just", "many", "me", "might", "more", "most", "much", "my", "no", "not",
    "of", "off", "on", "or", "our", "out", "over", "she", "should", "so", "some", "such", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "too", "up", "us",
    "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
];

const GERMAN: &[&str] = &[
    "aber", "als", "an", "auch", "auf", "aus", "bei", "bin", "bis", "das", "dass", "dein", "deine", "dem",
    "den", "der", "des", "die", "dies", "diese", "du", "ein", "eine", "einem", "einen", "einer", "er", "es",
    "hab", "habe", "haben", "hatte", "ich", "ihr", "im", "in", "ins", "ist", "kann", "mein", "meine",
    "meinem", "meinen", "meiner", "mich", "mir", "mit", "nach", "nicht", "noch", "nun", "oder", "sein",
    "seine", "seit", "sich", "sie", "sind", "so", "uber", "um", "und", "uns", "unser", "von", "vor", "wann",
    "warum", "was", "welche", "welchem", "welchen", "welcher", "welches", "wer", "wie", "wieder", "wir",
    "wird", "wo", "wohin", "wurde", "zu", "zum", "zur",
];

const SPANISH: &[&str] = &[
    "a", "al", "ante", "antes", "aqui", "como", "con", "cual", "cuando", "de", "del", "desde", "despues",
    "donde", "e", "el", "ella", "en", "es", "esa", "ese", "esta", "estaba", "este", "esto", "fue", "ha",
    "habia", "han", "he", "la", "las", "le", "les", "lo", "los", "mas", "mi", "mis", "muy", "no", "nos", "o",
    "para", "pero", "por", "que", "quien", "se", "si", "sobre", "su", "sus", "tambien", "te", "tu", "tus",
    "un", "una", "uno", "y", "ya", "yo",
];

const FRENCH: &[&str] = &[
    "ai", "au", "aussi", "aux", "avait", "avec", "avez", "avons", "c", "ce", "ces", "cette", "d", "dans",
    "de", "des", "du", "elle", "en", "est", "et", "etait", "eu", "il", "ils", "j", "je", "l", "la", "le",
    "les", "leur", "lui", "m", "ma", "mais", "me", "mes", "mon", "n", "ne", "nous", "ont", "ou", "par",
    "pas", "qu", "quand", "que", "quel", "quelle", "qui", "quoi", "s", "sa", "se", "ses", "si", "sont",
    "sur", "t", "ta", "te", "tes", "toi", "ton", "tu", "un", "une", "vous",
];

/// Pairs of Chinese and Japanese letters that stand in most sentences.
const PAIRS: &[&str] = &[
    "いつ", "いる", "から", "した", "して", "すか", "たい", "たか", "でし", "です", "とき", "どこ", "なに",
    "にい", "の時", "まし", "ます", "一个", "么时", "了吗", "什么", "他们", "们的", "何で", "你们", "你的",
    "哪个", "哪里", "多少", "她的", "怎么", "我们", "我的", "时候", "是什", "是谁", "有什", "没有", "的是",
    "私の", "私は", "这个", "那个",
];

static OF_ANY_LANGUAGE: LazyLock<HashSet<&str>> =
    LazyLock::new(|| WORDS.iter().copied().flatten().copied().collect());

static OF_LETTERS: LazyLock<HashSet<&str>> = LazyLock::new(|| PAIRS.iter().copied().collect());

/// Whether a folded word says nothing by itself in any of the languages.
pub(crate) fn is_word(lower: &str) -> bool {
    OF_ANY_LANGUAGE.contains(lower)
}

/// Whether a pair of letters does.
pub(crate) fn is_pair(pair: &str) -> bool {
    OF_LETTERS.contains(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_in_order() {
        for language in WORDS {
            assert!(language.windows(2).all(|pair| pair[0] < pair[1]), "{language:?}");
        }
    }
}
