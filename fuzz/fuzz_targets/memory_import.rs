//! Whatever is read as memory is written in a form that is read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::MemoryScope;
use tenure_memory::exchange::{Record, from_lines, from_markdown, to_lines, to_markdown};

fn scope_of(record: &Record) -> &MemoryScope {
    match record {
        Record::Fact(fact) => &fact.scope,
        Record::Block(block) => &block.scope,
        Record::Procedure(procedure) => &procedure.scope,
    }
}

fuzz_target!(|text: &str| {
    if let Ok(records) = from_lines(text) {
        assert_eq!(from_lines(&to_lines(&records)).expect("it was just written"), records);
    }
    if let Ok(records) = from_markdown(text)
        && let Some(first) = records.first()
    {
        let scope = scope_of(first).clone();
        let written = to_markdown(&scope, &records);
        let back = from_markdown(&written).expect("it was just written");
        assert_eq!(to_markdown(&scope, &back), written);
    }
});
