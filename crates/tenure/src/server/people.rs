//! How people are admitted: what the project's file says, as the API takes it.

use std::sync::Arc;

use tenure_api::People;
use tenure_api::keys::Scope;
use tenure_identity::{Algorithm, Provider, Rules};
use tenure_journal::ProjectId;

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
