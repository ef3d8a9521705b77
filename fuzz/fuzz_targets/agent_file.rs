//! Whatever stands in an agent's file, it is an agent with a digest or a list of problems with places.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_project::parse_agent_file;

fuzz_target!(|text: &str| {
    match parse_agent_file("agent", text) {
        Ok(agent) => assert!(agent.digest("m").starts_with("b3:")),
        Err(error) => {
            // YAML ends lines at either character; a place may be just after the last line.
            let lines = u32::try_from(text.matches(['\n', '\r']).count()).unwrap_or(u32::MAX);
            assert!(!error.problems().is_empty());
            assert!(error.problems().iter().all(|problem| problem.place.line <= lines.saturating_add(2)));
        }
    }
});
