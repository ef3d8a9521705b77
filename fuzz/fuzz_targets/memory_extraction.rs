//! Whatever a model answers about a turn, what is taken of it is within every limit and names what it was shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::{is_procedure_name, limit};
use tenure_memory::extract::{Shown, read};

fuzz_target!(|input: (u8, u8, u8, &str)| {
    let (items, calls, facts_max, answer) = input;
    let shown = Shown { items: usize::from(items), calls: usize::from(calls) };
    let Ok(read) = read(answer, shown, u32::from(facts_max)) else { return };
    assert!(read.facts.len() <= usize::from(facts_max));
    for fact in read.facts {
        assert!((1..=limit::FACT_STATEMENT_BYTES_MAX).contains(&fact.statement.len()));
        assert!((1..=limit::FACT_SUBJECT_BYTES_MAX).contains(&fact.subject.len()));
        assert!((1..=limit::EXTRACTED_ITEMS_MAX).contains(&fact.sources.len()));
        assert!(fact.sources.iter().all(|place| *place < shown.items));
    }
    if let Some(procedure) = read.procedure {
        assert!(is_procedure_name(&procedure.text.name));
        assert!((1..=limit::PROCEDURE_DESCRIPTION_BYTES_MAX).contains(&procedure.text.description.len()));
        assert!((1..=limit::PROCEDURE_STEPS_BYTES_MAX).contains(&procedure.text.steps.len()));
        assert!((1..=limit::EXTRACTED_ITEMS_MAX).contains(&procedure.sources.len()));
        assert!(procedure.sources.iter().all(|place| *place < shown.items + shown.calls));
        assert!(procedure.sources.iter().any(|place| *place >= shown.items));
    }
});
