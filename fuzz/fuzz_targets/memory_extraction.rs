//! Whatever a model answers about a turn, what is taken of it is within every limit and names what it was shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::limit;
use tenure_memory::extract::read;

fuzz_target!(|input: (u8, u8, &str)| {
    let (shown, facts_max, answer) = input;
    let Ok(read) = read(answer, usize::from(shown), u32::from(facts_max)) else { return };
    assert!(read.facts.len() <= usize::from(facts_max));
    for fact in read.facts {
        assert!((1..=limit::FACT_STATEMENT_BYTES_MAX).contains(&fact.statement.len()));
        assert!((1..=limit::FACT_SUBJECT_BYTES_MAX).contains(&fact.subject.len()));
        assert!((1..=limit::EXTRACTED_ITEMS_MAX).contains(&fact.sources.len()));
        assert!(fact.sources.iter().all(|place| *place < usize::from(shown)));
    }
});
