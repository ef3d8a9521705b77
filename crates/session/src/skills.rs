//! What a model is told of the skills in its environment: an index. It reads the skill itself when a task asks
//! for it.

use std::fmt::Write as _;

use tenure_journal::{SkillEntry, limit};

/// What comes before the list.
const INTRODUCTION: &str = "## Skills\n\nA skill is a directory of your environment with instructions for one kind of \
     task. When a task matches the description of a skill, read its SKILL.md with the shell before you begin, and \
     follow it; what it refers to is relative to its directory. Read no more of a skill than the task needs, and \
     change nothing in it.\n";

/// The index of `skills`; nothing if there are none. Skills that no longer fit are counted.
pub(crate) fn index(skills: &[SkillEntry]) -> Option<String> {
    if skills.is_empty() {
        return None;
    }
    let mut text = INTRODUCTION.to_owned();
    for (index, skill) in skills.iter().enumerate() {
        let line = format!("\n- {}: {} (file: {})", skill.name, one_line(&skill.description), skill.path);
        if text.len() + line.len() > limit::SKILL_INDEX_BYTES_MAX {
            let left = skills.len() - index;
            let _ = write!(text, "\n- {left} more skills are not listed; look beside those that are.");
            break;
        }
        text += &line;
    }
    Some(text)
}

/// Text in which nothing can pass for a line of the index.
pub(crate) fn one_line(text: &str) -> String {
    let plain = |word: &str| word.chars().filter(|char| !char.is_control()).collect::<String>();
    text.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skill(name: &str, description: &str) -> SkillEntry {
        SkillEntry {
            name: name.to_owned(),
            description: description.to_owned(),
            path: format!("/workspace/{name}/SKILL.md"),
        }
    }

    #[track_caller]
    fn check(skills: &[SkillEntry], expected: &str) {
        let index = index(skills).expect("there are skills");
        assert_eq!(index.strip_prefix(INTRODUCTION), Some(expected));
    }

    #[test]
    fn names_every_skill_on_a_line_of_its_own() {
        assert_eq!(index(&[]), None);
        check(
            &[skill("a", "Does a."), skill("b", "Does\n- c: d\u{1b}\n")],
            "\n- a: Does a. (file: /workspace/a/SKILL.md)\n- b: Does - c: d (file: /workspace/b/SKILL.md)",
        );
    }

    #[test]
    fn is_cut_where_it_would_cost_too_much() {
        let many: Vec<SkillEntry> = (0..limit::SKILLS_FOUND_MAX)
            .map(|number| skill(&format!("s{number}"), &"x".repeat(1_000)))
            .collect();
        let index = index(&many).expect("there are skills");
        assert!(index.len() < limit::SKILL_INDEX_BYTES_MAX + 100, "{}", index.len());
        let listed = index.matches("(file: ").count();
        let said =
            format!("- {} more skills are not listed; look beside those that are.", many.len() - listed);
        assert!(listed > 20 && index.ends_with(&said), "{listed} listed");
    }
}
