//! Terms of one root: `recommend` and `recommendation`, `mentor` and `mentorship`.

/// Letters, in bytes, that terms of one root begin with at least, and that each may end with on its own.
const ROOT_BYTES_MIN: usize = 5;
const ENDING_BYTES_MAX: usize = 4;

/// Whether two terms are likely of one root.
pub(crate) fn are_akin(one: &str, other: &str) -> bool {
    // Asked of every word, and of hardly any so.
    let root = one.as_bytes().get(..ROOT_BYTES_MIN);
    if root.is_none_or(|root| !other.as_bytes().starts_with(root)) {
        return false;
    }
    let shared = one.bytes().zip(other.bytes()).take_while(|(here, there)| here == there).count();
    let ends = |term: &str| term.len() - shared <= ENDING_BYTES_MAX;
    ends(one) && ends(other)
}

/// The commonest endings by which English, German, Spanish and French make one word of another, as terms have them.
const ENDINGS: [&str; 27] = [
    "ion", "er", "or", "ment", "al", "ful", "ness", "ship", "ist", "ism", "abl", "ibl", "anc", "enc", "ant",
    "ent", "iv", "ic", "i", "iti", "ung", "keit", "heit", "isch", "lich", "idad", "",
];

/// Terms that may be of the same root as one, where it is long enough to tell: with another ending than its own, and
/// with one more.
pub(crate) fn likely(term: &str) -> impl Iterator<Item = String> {
    let roots = ENDINGS.iter().filter_map(move |ending| term.strip_suffix(ending));
    let roots = roots.filter(|root| root.len() >= ROOT_BYTES_MIN && root.is_ascii());
    roots.flat_map(|root| ENDINGS.iter().map(move |ending| format!("{root}{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn words_of_one_root_are_looked_for() {
        for (asked, said, expected) in [
            ("mentorship", "mentored", true),
            ("promote", "promotions", true),
            ("participation", "participated", true),
            ("recommend", "recommendation", false),
            ("Allergie", "allergisch", true),
            ("Erinnerung", "erinnern", false),
            ("paint", "painter", true),
            ("art", "artist", false),
            ("station", "state", false),
            ("彗星彗星", "彗星", false),
        ] {
            let (asked, said) = (text::stems(asked).remove(0), text::stems(said).remove(0));
            let found = likely(&asked).any(|term| term == said);
            assert_eq!(found, expected, "{asked} {said}");
            assert!(!found || are_akin(&asked, &said), "{asked} {said}");
        }
    }
}
