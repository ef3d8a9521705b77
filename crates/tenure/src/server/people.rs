//! How people are admitted: what the project's file says, as the API takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_api::People;
use tenure_api::keys::Scope;
use tenure_identity::{Algorithm, Provider, Rules};
use tenure_journal::ProjectId;
use tenure_project::{McpServer, Project};
use tenure_runtime::IdentityConfig;

use super::StartError;

/// People of the project, if its file knows of a provider.
pub(super) fn people(
    written: Option<&tenure_project::People>,
    project: ProjectId,
) -> Result<Option<Arc<People>>, StartError> {
    let Some(written) = written else { return Ok(None) };
    // Words were checked when the file was read.
    let algorithms = written.algorithms.iter().filter_map(|word| Algorithm::from_word(word)).collect();
    let rules = Rules {
        issuer: written.issuer.clone(),
        audience: written.audience.clone(),
        algorithms,
        groups_claim: written.groups_claim.clone(),
    };
    let provider = Provider::new(rules)
        .map_err(|error| StartError::new("the identity provider cannot be reached").cause(error))?;
    let scopes = |words: &Vec<String>| words.iter().filter_map(|word| Scope::from_word(word)).collect();
    let groups = written.groups.iter().map(|(group, words)| (group.clone(), scopes(words))).collect();
    Ok(Some(Arc::new(People::new(provider, written.client_id.clone(), project, groups))))
}

/// How agents show the project's tool servers who they are, if one asks.
pub(super) fn agents(project: &Project) -> Result<Option<IdentityConfig>, StartError> {
    let asks = |(name, server): (&String, &McpServer)| Some((name.clone(), server.hints.identity.clone()?));
    let audiences: BTreeMap<String, String> = project.servers.iter().filter_map(asks).collect();
    if audiences.is_empty() {
        return Ok(None);
    }
    let url = project.settings.server.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let domain = url.as_ref().and_then(|url| url.host_str());
    let (Some(issuer), Some(domain)) = (&project.settings.server.public_url, domain) else {
        return Err(StartError::new("a tool server asks which agent calls, and this server has no address")
            .fix("set `server.public_url` in tenure.yaml: tokens name it, and servers find the keys there"));
    };
    let issuer = issuer.trim_end_matches('/').to_owned();
    Ok(Some(IdentityConfig { issuer, domain: domain.to_owned(), audiences }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_file_is_a_scope() {
        for word in tenure_project::PEOPLE_SCOPES {
            assert!(Scope::from_word(word).is_some(), "{word}");
        }
        assert_eq!(tenure_project::PEOPLE_SCOPES.len() + 1, Scope::WORDS.len(), "all but that for executors");
    }
}
