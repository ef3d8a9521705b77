//! The count of tokens beside what published tokenisers make of the same texts.

use tenure_session::{ERROR_PERCENT, Family};

/// A text, and what each tokeniser makes of it.
#[derive(serde::Deserialize)]
struct Sample {
    name: String,
    text: String,
    o200k: u64,
    cl100k: u64,
    claude: u64,
    llama3: u64,
    mistral: u64,
}

fn samples() -> Vec<Sample> {
    serde_json::from_str(include_str!("tokens.json")).unwrap()
}

#[test]
fn a_count_is_as_near_as_is_said() {
    for sample in samples() {
        for (family, expected) in [
            (Family::O200k, sample.o200k),
            (Family::Cl100k, sample.cl100k),
            (Family::Claude, sample.claude),
            (Family::Llama, sample.llama3),
            (Family::Other, sample.mistral),
        ] {
            let counted = family.count(&sample.text);
            let (least, most) =
                (expected * (100 - ERROR_PERCENT) / 100, expected * (100 + ERROR_PERCENT) / 100 + 1);
            assert!(counted >= least, "{} by {family:?}: {counted}, really {expected}", sample.name);
            // Runs of one letter, or of blanks, are a token however long they are. They are counted too high.
            let is_run = matches!(sample.name.as_str(), "xs" | "spaces");
            assert!(is_run || counted <= most, "{} by {family:?}: {counted}, really {expected}", sample.name);
        }
    }
}

#[test]
fn a_count_grows_with_its_text() {
    for sample in samples() {
        for family in Family::ALL {
            let (once, twice) = (family.count(&sample.text), family.count(&sample.text.repeat(2)));
            assert!(once <= twice && twice <= 2 * once + 8, "{} by {family:?}: {once}, {twice}", sample.name);
        }
    }
    for family in Family::ALL {
        assert_eq!(family.count(""), 0);
    }
}

#[test]
fn a_family_is_known_by_its_name() {
    for (model, family) in [
        ("gpt-5-mini", Family::O200k),
        ("openai/gpt-4o", Family::O200k),
        ("o3", Family::O200k),
        ("gpt-4", Family::Cl100k),
        ("gpt-4-turbo", Family::Cl100k),
        ("gpt-3.5-turbo", Family::Cl100k),
        ("us.anthropic.claude-sonnet-4-v1:0", Family::Claude),
        ("meta-llama/Llama-3.3-70B", Family::Llama),
        ("llama3.2", Family::Llama),
        ("qwen3:8b", Family::Other),
        ("scripted", Family::Other),
    ] {
        assert_eq!(Family::of(model), family, "{model}");
    }
}
