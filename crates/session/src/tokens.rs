//! How many tokens a text takes, without a model's own tokeniser.
//!
//! A tokeniser's tables are megabytes for each family and change with every model, so tokens are counted by the
//! kinds of characters a text is made of, with weights for each family. The weights were fitted to published
//! tokenisers on the texts of `tests/spec/tokens.json`. There the count is within [`ERROR_PERCENT`] of theirs, and
//! counts long runs of one letter far too high, which costs room and never a refusal. In a session the error is
//! smaller: the count is held against what the provider reported of the step before, so that it applies to what was
//! added since.

use tenure_journal::{ContextItem, FunctionOutput, InputPart, ModelRequest, ToolSpec};

/// How far a count may be from the tokeniser's, in percent, either way.
pub const ERROR_PERCENT: u64 = 35;
/// Tokens that an image is counted as: what a provider takes for one of about a megapixel.
const PER_IMAGE: u64 = 1_000;
/// Tokens that the frame of a message takes, beside its text.
const PER_MESSAGE: u64 = 4;
/// Tokens that the frame of a tool's definition takes.
const PER_TOOL: u64 = 8;
/// Bytes of a text that are looked at; of a longer one the rest is taken to be like them. It is many windows long.
const SAMPLE_BYTES: usize = 1024 * 1024;
/// Bytes of opaque reasoning for one token of it: a token's text, encoded and sealed.
const OPAQUE_BYTES: u64 = 5;

/// Models that cut texts into tokens alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// OpenAI's since GPT-4o (`o200k`).
    O200k,
    /// OpenAI's before (`cl100k`).
    Cl100k,
    /// Anthropic's.
    Claude,
    /// Meta's since Llama 3.
    Llama,
    /// All others, counted as the ones that need the most tokens.
    Other,
}

/// Hundredths of a token.
struct Weights {
    /// For a word: a run of letters of the Latin alphabet.
    word: u64,
    /// For each letter of it after the sixth.
    letter: u64,
    /// For each letter of it with an accent.
    accent: u64,
    /// For each sign.
    sign: u64,
    /// For each digit.
    digit: u64,
    /// For white space other than one blank.
    space: u64,
    /// For each letter of the Greek and Cyrillic alphabets.
    greek: u64,
    /// For each letter of the alphabets from Armenian to Thai.
    arabic: u64,
    /// For each character of Chinese, Japanese and Korean.
    han: u64,
    /// For everything else, such as emoji.
    other: u64,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::O200k, Self::Cl100k, Self::Claude, Self::Llama, Self::Other];

    /// The family of a model, by its name at the provider.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = model.to_ascii_lowercase();
        // Behind a gateway a name has its vendor in front.
        let last = name.rsplit('/').next().unwrap_or_default();
        let is = |word: &str| last.starts_with(word);
        if name.contains("claude") {
            Self::Claude
        } else if name.contains("llama-3") || name.contains("llama3") || name.contains("llama-4") {
            Self::Llama
        } else if is("gpt-3") || last == "gpt-4" || is("gpt-4-") {
            Self::Cl100k
        } else if is("gpt-") || is("chatgpt") || is("o1") || is("o3") || is("o4") || is("codex") {
            Self::O200k
        } else {
            Self::Other
        }
    }

    fn weights(self) -> Weights {
        let [word, letter, accent, sign, digit, space, greek, arabic, han, other] = match self {
            Self::O200k => [94, 51, 0, 33, 69, 172, 33, 37, 70, 187],
            Self::Cl100k => [101, 62, 0, 26, 68, 169, 53, 84, 102, 276],
            Self::Claude => [106, 66, 114, 27, 62, 283, 60, 110, 99, 282],
            Self::Llama => [101, 62, 0, 26, 68, 167, 35, 45, 68, 272],
            Self::Other => [105, 80, 21, 33, 114, 329, 48, 108, 102, 238],
        };
        Weights { word, letter, accent, sign, digit, space, greek, arabic, han, other }
    }

    /// About how many tokens a text takes.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        if text.len() > SAMPLE_BYTES {
            let sample = text.floor_char_boundary(SAMPLE_BYTES);
            let counted = u128::from(self.count(&text[..sample])) * text.len() as u128 / sample as u128;
            return u64::try_from(counted).unwrap_or(u64::MAX);
        }
        let weights = self.weights();
        let mut hundredths = 0;
        let mut letters = 0_u64;
        let mut blanks = 0_u64;
        let mut lines = false;
        for char in text.chars() {
            let kind = Kind::of(char);
            if !matches!(kind, Kind::Letter | Kind::Accent) {
                letters = 0;
            }
            if !matches!(kind, Kind::Space) {
                if blanks > 1 || lines {
                    hundredths += weights.space;
                }
                (blanks, lines) = (0, false);
            }
            hundredths += match kind {
                Kind::Letter | Kind::Accent => {
                    letters += 1;
                    let first = if letters == 1 { weights.word } else { 0 };
                    let long = if letters > LETTERS_FREE { weights.letter } else { 0 };
                    let accent = if kind == Kind::Accent { weights.accent } else { 0 };
                    first + long + accent
                }
                Kind::Digit => weights.digit,
                Kind::Sign => weights.sign,
                Kind::Space => {
                    blanks += 1;
                    lines |= char != ' ';
                    0
                }
                Kind::Greek => weights.greek,
                Kind::Arabic => weights.arabic,
                Kind::Han => weights.han,
                Kind::Other => weights.other,
            };
        }
        if blanks > 1 || lines {
            hundredths += weights.space;
        }
        u64::div_ceil(hundredths, 100)
    }

    /// About how many tokens a whole request takes.
    #[must_use]
    pub fn count_request(self, request: &ModelRequest) -> u64 {
        let instructions = request.instructions.as_deref().map_or(0, |text| self.count(text) + PER_MESSAGE);
        let input: u64 = request.input.iter().map(|item| self.count_item(item)).sum();
        let tools: u64 = request.tools.iter().map(|tool| self.count_tool(tool)).sum();
        instructions + input + tools
    }

    /// About how many tokens an item of a context takes.
    #[must_use]
    pub fn count_item(self, item: &ContextItem) -> u64 {
        PER_MESSAGE
            + match item {
                ContextItem::User { content } => self.count_parts(content),
                ContextItem::Note { text } | ContextItem::Assistant { text, .. } => self.count(text),
                ContextItem::Reasoning { encrypted, .. } => {
                    encrypted.as_ref().map_or(0, |opaque| (opaque.len() as u64).div_ceil(OPAQUE_BYTES))
                }
                ContextItem::Call { name, arguments, .. } => self.count(name) + self.count(arguments),
                ContextItem::CallResult { output: FunctionOutput::Text(text), .. } => self.count(text),
                ContextItem::CallResult { output: FunctionOutput::Content(parts), .. } => {
                    self.count_parts(parts)
                }
            }
    }

    /// About how many tokens a tool's definition takes.
    #[must_use]
    pub fn count_tool(self, tool: &ToolSpec) -> u64 {
        let parameters = tool.parameters.to_string();
        PER_TOOL + self.count(&tool.name) + self.count(&tool.description) + self.count(&parameters)
    }

    fn count_parts(self, parts: &[InputPart]) -> u64 {
        let part = |part: &InputPart| match part {
            InputPart::Text { text } => self.count(text),
            InputPart::Image { .. } => PER_IMAGE,
        };
        parts.iter().map(part).sum()
    }
}

/// Letters of a word that it is one token with.
const LETTERS_FREE: u64 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Accent,
    Digit,
    Sign,
    Space,
    Greek,
    Arabic,
    Han,
    Other,
}

impl Kind {
    fn of(char: char) -> Self {
        match char {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::Digit,
            ' ' | '\t' | '\r' | '\n' => Self::Space,
            '\0'..='\u{7f}' => Self::Sign,
            '\u{80}'..='\u{24f}' if char.is_alphabetic() => Self::Accent,
            '\u{80}'..='\u{24f}' | '\u{2000}'..='\u{2e7f}' => Self::Sign,
            '\u{250}'..='\u{52f}' => Self::Greek,
            '\u{530}'..='\u{10ff}' => Self::Arabic,
            '\u{2e80}'..='\u{faff}' => Self::Han,
            _ => Self::Other,
        }
    }
}
