//! From journal types and views to what clients see. Every documented member is always present, null where
//! nothing is known: clients read them without looking first.

mod agent;
mod automation;
mod environment;
mod item;
mod memory;
pub(crate) mod session;
mod stream;
mod subagent;
mod trace;
mod turn;
mod vault;

pub(crate) use agent::{agent_version, compared, saved_agent, tenure_agent};
pub(crate) use automation::{automation, invocation};
pub(crate) use environment::template;
pub(crate) use item::item;
pub(crate) use memory::{block, fact, kept, memory_settings, procedure};
pub(crate) use session::{artifact, environment_info, session, tenure_session};
pub(crate) use stream::{EventIds, frames, lagged};
pub(crate) use subagent::subagent;
pub(crate) use trace::trace;
pub(crate) use turn::turn;
pub(crate) use vault::{credential, tenure_credential, vault};

use serde_json::{Value, json};
use tenure_journal::Usage;

pub(crate) fn usage(usage: Option<&Usage>) -> Value {
    usage.map_or(Value::Null, |usage| {
        json!({
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.total_tokens(),
        })
    })
}
