//! Procedures as values: what their texts may be, when two are the same, and what a person's answer makes of one.

use tenure_journal::{
    FactSource, PROCEDURE_NAME_CHARS_MAX, Procedure, ProcedureState, is_procedure_name, limit,
};

use crate::block::lines;
use crate::fact::{FactRefusal, bounded, normalised};

/// Why a procedure is not kept. The text is for people and models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcedureRefusal {
    /// It cannot be called so.
    #[error(
        "`name` must have 1 to {PROCEDURE_NAME_CHARS_MAX} lower-case letters and digits, with single hyphens between \
         them"
    )]
    Name,
    /// Of its description.
    #[error(transparent)]
    Description(#[from] FactRefusal),
    /// It says nothing of what to do.
    #[error("`steps` must not be empty")]
    NoSteps,
    /// It is too long.
    #[error("`steps` must have at most {max} bytes, not {bytes}", max = limit::PROCEDURE_STEPS_BYTES_MAX)]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// A person rejected it.
    #[error("a person rejected this procedure, and it is not proposed again")]
    Rejected,
    /// Nothing of it waits for a person.
    #[error("the procedure does not wait for a person")]
    NotProposed,
}

/// What a procedure says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureText {
    /// What it is called.
    pub name: String,
    /// When to use it, on one line.
    pub description: String,
    /// What to do.
    pub steps: String,
}

impl ProcedureText {
    /// A procedure as it is kept: its description on one line, its steps without what cannot be seen and without white
    /// space at the ends of lines.
    ///
    /// # Errors
    /// `Name`, `Description`, `NoSteps`, `TooLong`.
    pub fn new(name: &str, description: &str, steps: &str) -> Result<Self, ProcedureRefusal> {
        if !is_procedure_name(name) {
            return Err(ProcedureRefusal::Name);
        }
        let max = limit::PROCEDURE_DESCRIPTION_BYTES_MAX;
        let description = bounded("description", &seen(description), max)?;
        let steps = lines(&seen(steps));
        match steps.len() {
            _ if steps.trim().is_empty() => Err(ProcedureRefusal::NoSteps),
            bytes if bytes > limit::PROCEDURE_STEPS_BYTES_MAX => Err(ProcedureRefusal::TooLong { bytes }),
            _ => Ok(Self { name: name.to_owned(), description, steps }),
        }
    }

    /// Whether a procedure of the same scope is called and says the same, whatever its case, spaces and final
    /// punctuation.
    #[must_use]
    pub fn is(&self, procedure: &Procedure) -> bool {
        self.name == procedure.name
            && normalised(&self.description) == normalised(&procedure.description)
            && self.does(procedure)
    }

    /// Whether a procedure has one do the same, whatever it is called.
    #[must_use]
    pub fn does(&self, procedure: &Procedure) -> bool {
        normalised(&self.steps) == normalised(&procedure.steps)
    }
}

/// A text without what hides in it: a person accepts what they see. Joiners stay, which scripts need.
fn seen(text: &str) -> String {
    let is_hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

/// The proposal once somebody else proposed the same. Labels stay, as those of facts do: who says it again makes it
/// neither better nor worse.
#[must_use]
pub fn said_again(proposal: &Procedure, by: FactSource) -> Procedure {
    let mut proposal = proposal.clone();
    proposal.sources.push(by);
    if proposal.sources.len() > limit::FACT_SOURCES_MAX {
        // Where it is from stays, and who said it last.
        proposal.sources.remove(1);
    }
    proposal
}

/// The proposal once a person accepted it.
///
/// # Errors
/// `NotProposed`.
pub fn accepted(proposal: &Procedure, by: FactSource) -> Result<Procedure, ProcedureRefusal> {
    answered(proposal, ProcedureState::Accepted { by: Some(by) })
}

/// The proposal once a person said no.
///
/// # Errors
/// `NotProposed`.
pub fn rejected(
    proposal: &Procedure,
    by: FactSource,
    reason: Option<String>,
) -> Result<Procedure, ProcedureRefusal> {
    answered(proposal, ProcedureState::Rejected { by, reason })
}

fn answered(proposal: &Procedure, state: ProcedureState) -> Result<Procedure, ProcedureRefusal> {
    match proposal.state {
        ProcedureState::Proposed { .. } => Ok(Procedure { state, ..proposal.clone() }),
        ProcedureState::Accepted { .. } | ProcedureState::Rejected { .. } => {
            Err(ProcedureRefusal::NotProposed)
        }
    }
}

/// A procedure as an [Agent Skill](https://agentskills.io/specification): what its `SKILL.md` says.
#[must_use]
pub fn skill(name: &str, description: &str, steps: &str) -> String {
    // A string of JSON is one of YAML.
    let description = serde_json::Value::from(description);
    format!("---\nname: {name}\ndescription: {description}\n---\n{steps}\n")
}

#[cfg(test)]
mod tests {
    use tenure_journal::{FactAuthor, Labels, MemoryScope, Timestamp};

    use super::*;

    #[test]
    fn a_text_is_kept_as_it_is_shown() {
        let long = "x".repeat(limit::PROCEDURE_STEPS_BYTES_MAX + 1);
        let wide = "x".repeat(limit::PROCEDURE_DESCRIPTION_BYTES_MAX + 1);
        let kept = |description: &str, steps: &str| Ok((description.to_owned(), steps.to_owned()));
        for (name, description, steps, expected) in [
            (
                "a-1",
                " To\n# refund\u{1b} ",
                "1. Look.  \r\n\n2. Pay.\u{7}\n\n",
                kept("To # refund", "1. Look.\n\n2. Pay."),
            ),
            ("a", "To\u{202e} refund.", "Look\u{e0041}\u{200b}.\u{feff}", kept("To refund.", "Look.")),
            ("a", "To refund.", "\u{200b}\n\u{2060}", Err(ProcedureRefusal::NoSteps)),
            ("A", "To refund.", "Look.", Err(ProcedureRefusal::Name)),
            ("", "To refund.", "Look.", Err(ProcedureRefusal::Name)),
            ("a", " \n", "Look.", Err(FactRefusal::Empty("description").into())),
            ("a", "To refund.", " \n\t", Err(ProcedureRefusal::NoSteps)),
            ("a", "To refund.", &long, Err(ProcedureRefusal::TooLong { bytes: long.len() })),
            (
                "a",
                &wide,
                "Look.",
                Err(FactRefusal::TooLong { field: "description", bytes_max: wide.len() - 1 }.into()),
            ),
        ] {
            let text = ProcedureText::new(name, description, steps);
            assert_eq!(text.map(|text| (text.description, text.steps)), expected, "{name} {description}");
        }
        let longest = &long[1..];
        assert!(ProcedureText::new("a", &wide[1..], longest).is_ok());
    }

    fn by(at: i64) -> FactSource {
        FactSource { at: Timestamp::from_millis(at), by: FactAuthor::Caller { id: "key_1".to_owned() } }
    }

    fn proposal() -> Procedure {
        Procedure {
            scope: MemoryScope::Project,
            name: "refund-order".to_owned(),
            description: "To refund an order.".to_owned(),
            steps: "1. Look.\n2. Pay.".to_owned(),
            labels: Labels::NEUTRAL,
            sources: vec![by(0)],
            state: ProcedureState::Proposed { revises: None },
        }
    }

    #[test]
    fn the_same_in_other_spelling_is_the_same() {
        for (name, description, steps, is, does) in [
            ("refund-order", "To refund an order.", "1. Look.\n2. Pay.", true, true),
            ("refund-order", "to refund  an order", "1. look. 2. PAY", true, true),
            ("refund-order", "To refund.", "1. Look.\n2. Pay.", false, true),
            ("refund", "To refund an order.", "1. Look.\n2. Pay.", false, true),
            ("refund-order", "To refund an order.", "1. Look.\n2. Wait.", false, false),
        ] {
            let text = ProcedureText::new(name, description, steps).expect("a procedure");
            assert_eq!((text.is(&proposal()), text.does(&proposal())), (is, does), "{name} {steps}");
        }
    }

    #[test]
    fn a_proposal_is_answered_once() {
        let accepted = accepted(&proposal(), by(1)).expect("it waits");
        assert_eq!(accepted.state, ProcedureState::Accepted { by: Some(by(1)) });
        let rejected = rejected(&proposal(), by(1), Some("no".to_owned())).expect("it waits");
        assert_eq!(rejected.state, ProcedureState::Rejected { by: by(1), reason: Some("no".to_owned()) });
        for answered in [accepted, rejected] {
            assert_eq!(super::accepted(&answered, by(2)), Err(ProcedureRefusal::NotProposed));
            assert_eq!(super::rejected(&answered, by(2), None), Err(ProcedureRefusal::NotProposed));
        }
    }

    #[test]
    fn the_first_source_and_the_latest_are_kept() {
        let last = limit::FACT_SOURCES_MAX as i64 + 3;
        let kept = (1..=last).fold(proposal(), |kept, at| said_again(&kept, by(at)));
        assert_eq!(kept.sources.len(), limit::FACT_SOURCES_MAX);
        assert_eq!((&kept.sources[0], kept.sources.last()), (&by(0), Some(&by(last))));
    }

    #[test]
    fn a_skill_says_the_same() {
        assert_eq!(
            skill("refund-order", "Say \"no\": # never", "1. Look.\n---\n2. Pay."),
            "---\nname: refund-order\ndescription: \"Say \\\"no\\\": # never\"\n---\n1. Look.\n---\n2. Pay.\n"
        );
    }
}
