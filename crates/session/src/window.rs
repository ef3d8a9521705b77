//! How much a model takes in at once: from the settings, or else from a table of what its vendor says.

/// A model's window, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What it holds, input and output together.
    pub tokens: u64,
    /// What of it is left to the answer.
    pub reserved: u64,
}

/// What is believed of a model that nobody said anything of. A provider that refuses more teaches the session
/// better; one that cuts silently has to be configured.
const DEFAULT_TOKENS: u64 = 131_072;
/// What is left to an answer whose length nothing limits, in large windows.
const RESERVED_TOKENS: u64 = 8_192;
/// In small ones: a part of them.
const RESERVED_PART: u64 = 4;

/// What vendors say, by a part of the name; the first that fits counts.
const KNOWN: [(&str, u64); 33] = [
    ("gpt-5", 400_000),
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4-32k", 32_768),
    ("gpt-4", 8_192),
    ("gpt-3.5", 16_385),
    ("gpt-oss", 131_072),
    ("o1-mini", 128_000),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4", 200_000),
    ("codex", 200_000),
    ("claude-2.0", 100_000),
    ("claude", 200_000),
    ("gemini", 1_048_576),
    ("gemma-2", 8_192),
    ("gemma2", 8_192),
    ("gemma", 131_072),
    ("llama-2", 4_096),
    ("llama2", 4_096),
    ("llama-3.", 131_072),
    ("llama3.", 131_072),
    ("llama-3", 8_192),
    ("llama3", 8_192),
    ("llama", 131_072),
    ("mixtral", 32_768),
    ("mistral-large", 131_072),
    ("mistral", 32_768),
    ("qwen", 32_768),
    ("deepseek", 65_536),
    ("phi-4", 16_384),
    ("nova", 300_000),
];

impl Window {
    /// The window of a model that nothing is known of.
    pub const DEFAULT: Self = Self { tokens: DEFAULT_TOKENS, reserved: RESERVED_TOKENS };

    /// The window of a model by its name at the provider; `tokens` and `output_tokens_max` are what the settings
    /// say.
    #[must_use]
    pub fn of(model: &str, tokens: Option<u64>, output_tokens_max: Option<u64>) -> Self {
        let tokens = tokens.unwrap_or_else(|| known(model).unwrap_or(DEFAULT_TOKENS)).max(1);
        let usual = RESERVED_TOKENS.min(tokens / RESERVED_PART);
        // Whatever is set, half of the window is the agent's to read.
        let reserved = output_tokens_max.unwrap_or(usual).min(tokens / 2);
        Self { tokens, reserved }
    }

    /// What a context may take.
    #[must_use]
    pub fn input(self) -> u64 {
        self.tokens - self.reserved.min(self.tokens)
    }
}

fn known(model: &str) -> Option<u64> {
    let name = model.to_ascii_lowercase();
    // What stands before a name is its vendor or its region, and begins no family.
    let begins = |part: &str| {
        name.match_indices(part).any(|(at, _)| !name[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
    };
    KNOWN.iter().find(|(part, _)| begins(part)).map(|(_, tokens)| *tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_the_settings_say_or_else_what_the_vendor_says() {
        for (model, tokens, output, expected) in [
            ("gpt-5-mini", None, None, (400_000, 8_192)),
            ("openai/gpt-4o-2024-08-06", None, None, (128_000, 8_192)),
            ("gpt-4-0613", None, None, (8_192, 2_048)),
            ("gpt-4.1-nano", None, Some(32_768), (1_047_576, 32_768)),
            ("us.anthropic.claude-sonnet-4-v1:0", None, None, (200_000, 8_192)),
            ("meta-llama/Llama-3.3-70B-Instruct", None, None, (131_072, 8_192)),
            ("llama3:8b", None, None, (8_192, 2_048)),
            ("o3-mini", None, None, (200_000, 8_192)),
            // Not one of OpenAI's `o1`.
            ("kimo1", None, None, (DEFAULT_TOKENS, 8_192)),
            ("scripted", None, None, (DEFAULT_TOKENS, 8_192)),
            ("gpt-5", Some(8_192), None, (8_192, 2_048)),
            ("gpt-5", Some(8_192), Some(100), (8_192, 100)),
            ("gpt-5", Some(1_000), Some(1_000), (1_000, 500)),
            ("gpt-5", Some(0), None, (1, 0)),
        ] {
            let window = Window::of(model, tokens, output);
            assert_eq!((window.tokens, window.reserved), expected, "{model}");
            assert!(window.input() > 0, "{model}");
        }
        assert_eq!(Window::of("anything", None, None), Window::DEFAULT);
    }
}
