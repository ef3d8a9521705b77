//! Whatever is in a script file, it is a script or an error, and a script answers or refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::{ContextItem, InputPart, ModelRequest, Reasoning, ServiceTier, TextConfig};
use tenure_model::Script;

fuzz_target!(|text: &str| {
    // Templates may loop for as long as their author likes; what a fuzzer writes is only read.
    let Ok(script) = Script::parse(text) else { return };
    if text.contains("{%") || text.contains("{{") {
        return;
    }
    let request = ModelRequest {
        model: "m".into(),
        instructions: None,
        input: vec![ContextItem::User { content: vec![InputPart::text("order 17")] }],
        tools: vec![],
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: String::new(),
        cache_ttl: None,
        output_tokens_max: None,
    };
    let _ = script.play(&request, |_| 0);
});
