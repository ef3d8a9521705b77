//! Documents that are found by terms: the same as for episodes, for what is written and corrected and not said.
//!
//! A store does not know what a term means. It keeps those it is given with a document's latest version, under the
//! document's kind and name, and counts and finds by them. Every look-up leads with project, kind and name, so
//! documents of another name are never met, not even to be counted.

use crate::recall::{Listed, pick};
use crate::types::Document;

/// A document's next version, with what it is found by from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The document. One without a name is found by nothing.
    pub document: Document,
    /// Distinct terms, no white space within them; none for what is not to be found.
    pub terms: Vec<String>,
}

/// What was found under one kind and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundDocuments {
    /// How many documents there are, counted to [`crate::recall::COUNTED_MAX`].
    pub documents: u64,
    /// How many of them have each of the terms, counted to [`crate::recall::COUNTED_MAX`].
    pub frequencies: Vec<u64>,
    /// Latest versions of those that share the rarest terms with what was asked, best first.
    pub found: Vec<Document>,
}

/// As [`pick`], among documents that are named by their ids.
#[must_use]
pub fn pick_ids(documents: u64, lists: &[Vec<String>], hits_max: usize) -> Vec<String> {
    let mut ids: Vec<&String> = lists.iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    let number = |id: &String| ids.binary_search(&id).map_or(0, |place| place as u64);
    let listed = |list: &Vec<String>| {
        let mut numbers: Vec<u64> = list.iter().map(number).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Listed::whole(numbers)
    };
    let lists: Vec<Listed> = lists.iter().map(listed).collect();
    let picked = pick(documents, &lists, hits_max);
    picked
        .into_iter()
        .filter_map(|number| ids.get(usize::try_from(number).ok()?))
        .map(|id| (*id).clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_picked_as_numbers_are() {
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let lists = [list(&["e", "d", "c", "b", "a"]), list(&["c"]), list(&["d", "b"])];
        for (hits_max, expected) in [(1, vec!["c"]), (2, vec!["c", "d"]), (9, vec!["c", "d", "b", "e", "a"])]
        {
            assert_eq!(pick_ids(10, &lists, hits_max), expected, "{hits_max}");
        }
        assert_eq!(pick_ids(0, &[], 5), Vec::<String>::new());
    }
}
