//! Whatever stands in an agent's file, it is an agent with a digest or a list of problems with places.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_project::parse_agent_file;

fuzz_target!(|text: &str| match parse_agent_file("agent", text) {
    Ok(agent) => assert_eq!(agent.digest("m"), agent.clone().digest("m")),
    Err(error) => {
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        assert!(!error.problems().is_empty());
        // A place may be just after the end.
        assert!(error.problems().iter().all(|problem| problem.place.line <= lines.saturating_add(1)));
    }
});
