//! From what clients send to journal types: the only place that reads request bodies.

mod agent;
mod automation;
mod capabilities;
mod environment;
mod hosted;
mod input;
mod metadata;
mod name;
mod placement;
mod reader;
mod session;
mod template;
mod tool;
mod trust;
mod vault;

pub(crate) use agent::{AgentFields, AgentScope};
pub(crate) use automation::{AutomationBody, AutomationChange, NewSessionBody, TargetBody};
pub(crate) use capabilities::bundle_error;
pub(crate) use environment::{NewEnvironment, read_file, read_prewarmed, store as store_files};
pub(crate) use input::read_events;
pub(crate) use metadata::approval_of;
pub(crate) use name::read_name;
pub(crate) use placement::{refuse_misplaced, refuse_variables};
pub(crate) use reader::{Field, Reader, missing, shortened, unsupported_value};
pub(crate) use session::{NewSession, SessionChange};
pub(crate) use template::{TemplateBody, TemplateChange, refused_settings};
pub(crate) use tool::{LOCATION_PARTS, Tools, refuse_servers, refuse_unavailable};
pub(crate) use trust::{read_grant, read_labels};
pub(crate) use vault::{
    read_credential, read_credential_change, read_vault, read_vault_patch, unmasked_secrets,
};

#[cfg(test)]
pub(crate) mod tests {
    use crate::error::ApiError;

    /// The words and the place of a refusal.
    #[track_caller]
    pub(crate) fn refusal<T>(result: Result<T, ApiError>) -> (String, Option<String>) {
        let error = result.err().expect("refused");
        (error.message().to_owned(), error.parameter().map(str::to_owned))
    }
}
