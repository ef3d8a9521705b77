//! Limits on what one session may hold, each with its unit and reason.

/// Payloads above this many bytes are stored as blobs and shown to the model as a preview.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a stored tool output that the model is shown directly: a page of text, head and tail.
pub const PREVIEW_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a text that are shown once a context is too long for its running turn: a few lines.
pub const SHORTENED_BYTES_MAX: usize = 512;
/// Bytes the built-in reader tool returns for one call.
pub const READ_BYTES_MAX: usize = 32 * 1024;
/// Nesting accepted in any JSON from outside; deeper documents are an attack or a mistake.
pub const JSON_DEPTH_MAX: usize = 64;
/// Tool calls accepted from one turn; the rest are answered with an error and never run.
pub const CALLS_PER_TURN_MAX: u32 = 128;
/// Model requests in one turn; a turn that needs more is looping.
pub const STEPS_PER_TURN_MAX: u32 = 256;
/// Tool definitions shown to a model in one request.
pub const TOOLS_PER_REQUEST_MAX: usize = 512;
/// Bytes of one tool's JSON schema, as listed by its server.
pub const TOOL_SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one tool's description; the model pays for each of them at every step.
pub const TOOL_DESCRIPTION_BYTES_MAX: usize = 8 * 1024;
/// Inputs that may wait in one session before further ones are refused.
pub const QUEUED_INPUTS_MAX: usize = 256;
/// Tries of one model call that failed in transit or at the provider, before its turn fails.
pub const MODEL_ATTEMPTS_MAX: u32 = 4;
/// Tries of one model call that the provider was too busy for: it said so, and asked for patience.
pub const THROTTLED_ATTEMPTS_MAX: u32 = 8;
/// Tries of one repeatable tool call or listing before it is reported as failed.
pub const TOOL_ATTEMPTS_MAX: u32 = 4;
/// Attempts of one effect that may be cut off by the end of the process. An effect that is always there
/// when the process dies is probably why it dies.
pub const INTERRUPTED_ATTEMPTS_MAX: u32 = 32;
/// Attempts of one effect in all. Failures, throttling and interruptions are counted apart, so that what ended
/// one attempt does not use up the patience for another; this bounds them together.
pub const ATTEMPTS_MAX: u32 = 40;
/// Model calls of one session that may crash in a row. What crashes that often is in the session itself: it would
/// crash every turn, so the session is stopped for good.
pub const CRASHES_MAX: u32 = 3;
/// The first pause between two tries in milliseconds; each further one is twice as long.
pub const BACKOFF_FIRST_MS: u64 = 200;
/// The longest pause between two tries, unless the other side asks for a longer one.
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// The longest pause another side may ask for: an hour.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// How long a server's list of tools is used before a new turn asks again.
pub const LISTING_AGE_MS_MAX: u64 = 10 * 60 * 1000;
/// Decided approvals that are remembered, to answer repeated decisions.
pub const DECISIONS_KEPT_MAX: usize = 256;
/// Times one turn's context may be cut shorter because the provider said it was too long. Each time a third is
/// taken off, so that a window of a sixteenth of what was believed is found.
pub const CONTEXT_TRIMS_PER_TURN_MAX: u32 = 8;
/// Bytes of the summary that stands for older items, in the largest windows: a few pages.
pub const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// Ids, paths and addresses that are listed below a summary because it does not name them.
pub const SUMMARY_NAMES_MAX: usize = 64;
/// Bytes of one of them: what is longer is content.
pub const SUMMARY_NAME_BYTES_MAX: usize = 256;
/// Calls whose results have not come that a summary lists; further ones are counted.
pub const SUMMARY_OPEN_MAX: usize = 32;
/// Older items that one search of a session's history looks at, newest first.
pub const HISTORY_SEARCHED_MAX: usize = 20_000;
/// Items that one search of a session's history gives.
pub const HISTORY_FOUND_MAX: usize = 20;
/// How long a reviewer has for one answer, in milliseconds: a minute. A call waits for it that people could be asked
/// about instead.
pub const REVIEW_MS_MAX: u64 = 60_000;
/// Tries of one review before people are asked.
pub const REVIEW_ATTEMPTS_MAX: u32 = 2;
/// Bytes of a reviewer's reason that are kept: a few sentences.
pub const REVIEW_REASON_BYTES_MAX: usize = 1_024;
/// Output tokens that are set aside in a budget for an answer whose length nothing else limits. Where a
/// spending limit holds, the model is told to keep to them; models of every provider may be asked for so many.
pub const OUTPUT_TOKENS_RESERVED: u64 = 8_192;
/// Milliseconds that are set aside in a budget of time for an attempt at a model call; where one holds, the attempt is
/// cut off then.
pub const ATTEMPT_MS_RESERVED: u64 = 10 * 60 * 1000;
/// Milliseconds that have to be left of a budget of time for an attempt to be worth beginning.
pub const ATTEMPT_MS_MIN: u64 = 10 * 1000;
/// How deep subagents may nest: those of a session's agent, and none of theirs. A tree's cost and its clients'
/// view stay in proportion to what the root asked for.
pub const SUBAGENT_DEPTH_MAX: u32 = 1;
/// Subagents that one session may create in its life, closed ones included.
pub const SUBAGENTS_PER_SESSION_MAX: usize = 256;
/// Subagents that may be active at once where the agent's settings say nothing.
pub const SUBAGENTS_ACTIVE_DEFAULT: u32 = 6;
/// Bytes of a task or an input that is given to a subagent.
pub const SUBAGENT_INPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of what a subagent said that its parent is told.
pub const SUBAGENT_REPORT_BYTES_MAX: usize = 16 * 1024;
/// Characters of a subagent's name.
pub const SUBAGENT_NAME_CHARS_MAX: usize = 64;
/// The longest that an agent may ask to wait for subagents, in seconds: a day. Without a limit it waits as
/// long as they work.
pub const SUBAGENT_WAIT_SECONDS_MAX: u64 = 24 * 3_600;
/// How long a command may take where the model names no time, in milliseconds: two minutes.
pub const COMMAND_MS_DEFAULT: u64 = 120_000;
/// The longest time that a model may give a command, in milliseconds: an hour.
pub const COMMAND_MS_MAX: u64 = 3_600_000;
/// Bytes of a command or a patch.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// Characters of a command that people are shown of a long one.
pub const COMMAND_SHOWN_CHARS_MAX: usize = 4_096;
/// Artifacts that one session keeps; what is published beyond them is left out.
pub const ARTIFACTS_MAX: usize = 1_000;
/// Files that one upload, or one environment's settings, may place.
pub const FILES_PLACED_MAX: usize = 50;
/// Skills that an environment is given.
pub const SKILLS_INSTALLED_MAX: usize = 200;
/// Plugins that an environment is given.
pub const PLUGINS_INSTALLED_MAX: usize = 32;
/// Directories of an environment that are searched for skills.
pub const CAPABILITY_DIRECTORIES_MAX: usize = 32;
/// Skills of an environment that are found, installed ones included; what is found beyond them is left out.
pub const SKILLS_FOUND_MAX: usize = 256;
/// Programs that run in one environment as tool servers at once: the agent's own first, then those that plugins name.
pub const SERVERS_INSIDE_MAX: usize = 8;
/// Servers of plugins that are refused and told; further ones are counted.
pub const SERVERS_REFUSED_MAX: usize = 32;
/// Characters of a tool server's label.
pub const SERVER_LABEL_CHARS_MAX: usize = 64;
/// Bytes of a context that tell of skills; the model pays for them at every step. Skills beyond are counted and
/// not named.
pub const SKILL_INDEX_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(SKILLS_INSTALLED_MAX <= SKILLS_FOUND_MAX, "what is installed can be found");
const _: () = assert!(COMMAND_MS_DEFAULT <= COMMAND_MS_MAX, "the default is allowed");
const _: () = assert!(MODEL_ATTEMPTS_MAX <= THROTTLED_ATTEMPTS_MAX, "patience outlasts impatience");
const _: () = assert!(
    INTERRUPTED_ATTEMPTS_MAX <= ATTEMPTS_MAX && THROTTLED_ATTEMPTS_MAX + MODEL_ATTEMPTS_MAX <= ATTEMPTS_MAX
);
const _: () = assert!(PREVIEW_BYTES_MAX < INLINE_BYTES_MAX, "a preview is shorter than what it previews");
const _: () = assert!(SHORTENED_BYTES_MAX < PREVIEW_BYTES_MAX, "what is shortened is shorter than a preview");
const _: () = assert!(READ_BYTES_MAX < INLINE_BYTES_MAX, "what the reader returns is never stored again");
/// Bytes of an episode's text that can be recalled: a page or two. The item keeps the rest.
pub const EPISODE_BYTES_MAX: usize = 8 * 1024;
/// Passages that one recall gives at most.
pub const RECALLED_MAX: usize = 50;

/// Bytes of what a fact is about.
pub const FACT_SUBJECT_BYTES_MAX: usize = 200;
/// Bytes of what a fact says: a sentence or two. What is longer is a document.
pub const FACT_STATEMENT_BYTES_MAX: usize = 2 * 1024;
/// Sources that a fact keeps: the first and the latest.
pub const FACT_SOURCES_MAX: usize = 16;
/// Facts of one scope, closed ones included.
pub const FACTS_PER_SCOPE_MAX: u64 = 10_000;
/// Bytes of what a user is called in a scope.
pub const MEMORY_USER_BYTES_MAX: usize = 512;
/// Bytes of a reason that somebody gives for closing or rejecting a fact.
pub const FACT_REASON_BYTES_MAX: usize = 500;
/// Facts that a model may read out of one turn.
pub const EXTRACTED_FACTS_MAX: u32 = 32;
/// The same where nobody says otherwise.
pub const EXTRACTED_FACTS_DEFAULT: u32 = 8;
/// Items that one extracted fact names as its source.
pub const EXTRACTED_ITEMS_MAX: usize = 8;
/// Items of a turn that a model is shown for extraction, the latest.
pub const EXTRACTION_SHOWN_ITEMS_MAX: usize = 64;
/// Bytes of a turn that a model is shown for extraction.
pub const EXTRACTION_SHOWN_BYTES_MAX: usize = 48 * 1024;
/// Facts that are remembered already and that a model is shown for extraction.
pub const EXTRACTION_KNOWN_MAX: usize = 24;
/// Bytes of an answer that facts are read out of; what is longer is none.
pub const EXTRACTION_ANSWER_BYTES_MAX: usize = 128 * 1024;
/// Tokens that such an answer may have, thinking included.
pub const EXTRACTION_OUTPUT_TOKENS_MAX: u64 = 4_096;
/// Turns of one session that may wait for extraction. A model that is down for hours must not make a state grow.
pub const EXTRACTIONS_WAITING_MAX: usize = 8;
/// How long a model has for one answer, in milliseconds: two minutes. Nobody waits for it.
pub const EXTRACTION_MS_MAX: u64 = 120_000;
/// Tries of one extraction before the turn goes unread.
pub const EXTRACTION_ATTEMPTS_MAX: u32 = 3;
const _: () = assert!(EXTRACTED_FACTS_DEFAULT <= EXTRACTED_FACTS_MAX, "the default is allowed");
/// Bytes of a pinned block.
pub const BLOCK_BYTES_MAX: usize = 4 * 1024;
/// Pinned blocks of one scope.
pub const BLOCKS_PER_SCOPE_MAX: usize = 16;
/// Bytes of all blocks that a session takes up; the widest scopes come first, and what no longer fits is named.
pub const BLOCKS_TAKEN_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(BLOCK_BYTES_MAX <= BLOCKS_TAKEN_BYTES_MAX, "one block of each scope always fits");
/// Bytes of what a procedure says of when to use it, as of a skill.
pub const PROCEDURE_DESCRIPTION_BYTES_MAX: usize = 1024;
/// Bytes of a procedure's steps: a page or two. What is longer is a skill with files of its own.
pub const PROCEDURE_STEPS_BYTES_MAX: usize = 8 * 1024;
/// Procedures of one scope that are in force.
pub const PROCEDURES_PER_SCOPE_MAX: usize = 32;
/// Proposals of one scope that are kept: what waits, and what was rejected and is not to be proposed again. The
/// rejections longest ago make room.
pub const PROPOSALS_PER_SCOPE_MAX: usize = 64;
/// Bytes of a context that tell of procedures; the model pays for them at every step. Procedures beyond are counted
/// and not named.
pub const PROCEDURE_INDEX_BYTES_MAX: usize = 16 * 1024;
/// Calls of a turn that have to have done what they should before a procedure is made of it: less is no procedure.
pub const EXTRACTION_CALLS_MIN: usize = 3;
/// Calls of a turn that a model is shown for a procedure, the latest.
pub const EXTRACTION_SHOWN_CALLS_MAX: usize = 32;
/// Bytes of the arguments of one of them.
pub const EXTRACTION_CALL_BYTES_MAX: usize = 512;
const _: () = assert!(EXTRACTION_CALLS_MIN <= EXTRACTION_SHOWN_CALLS_MAX, "what is asked for is shown");
const _: () = assert!(PROCEDURE_STEPS_BYTES_MAX < READ_BYTES_MAX, "a procedure is read whole");

/// How long an effect waits for a person's sign-in before it is attempted again without one: a month.
pub const SIGN_IN_WAIT_MS: u64 = 30 * 24 * 60 * 60 * 1000;
