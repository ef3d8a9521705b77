//! From the project's providers and models to what the runtime calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tenure_model::http::{HttpConfig, HttpModel};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_model::{Model, Secret, Wire};
use tenure_project::{Detected, Env, Limit, ModelAlias, Price, Provider as Written, Redacted, Settings};
use tenure_runtime::{ModelTable, Places, Prices, Provider, Route};

use super::StartError;

/// How long a provider on this machine may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Micro-dollars in a dollar.
const MICROS: f64 = 1_000_000.0;

/// Everything that a model's name can mean in this project, and what to tell the operator about it.
pub(crate) async fn table(
    settings: &Settings,
    env: &Env,
    root: &Path,
) -> Result<(ModelTable, String), StartError> {
    let places = |written: &Written| places(settings.limits.model_calls, written.model_calls_max());
    let mut providers = BTreeMap::new();
    for (name, written) in &settings.providers {
        providers
            .insert(name.clone(), Provider::with_places(name, open(name, written, root)?, places(written)));
    }
    let mut default = settings.default_provider().map(str::to_owned);
    if providers.is_empty()
        && let Some((name, written)) = detect(env).await
    {
        providers.insert(
            name.to_owned(),
            Provider::with_places(name, open(name, &written, root)?, places(&written)),
        );
        default = Some(name.to_owned());
    }
    let fallback = default.as_ref().and_then(|name| providers.get(name).cloned());
    let mut named = BTreeMap::new();
    for (name, alias) in &settings.models {
        let provider = alias.provider.as_ref().and_then(|name| providers.get(name)).or(fallback.as_ref());
        let Some(provider) = provider else {
            return Err(StartError::new(format!("the model `{name}` has no provider"))
                .fix("name its provider in tenure.yaml"));
        };
        named.insert(name.clone(), route(alias, provider));
    }
    let told = match &default {
        Some(name) => format!("models through `{name}`"),
        None => "no model provider: set OPENAI_API_KEY, start Ollama, or name one in tenure.yaml".to_owned(),
    };
    Ok((ModelTable { named, fallback }, told))
}

/// What a provider can bear: what is written at it, or what a server may do. Where projects have a limit of
/// their own, it holds here too.
fn places(server: Limit, provider_max: Option<u64>) -> Places {
    let max = provider_max.unwrap_or(server.max);
    let has_own = server.per_project_max < server.max;
    super::places(Limit { max, per_project_max: if has_own { server.per_project_max.min(max) } else { max } })
}

fn route(alias: &ModelAlias, provider: &Arc<Provider>) -> Route {
    Route {
        provider: Arc::clone(provider),
        model: alias.model.clone(),
        prices: alias.price.map(prices),
        context_tokens: alias.context_tokens,
        output_tokens_max: alias.output_tokens_max,
    }
}

fn prices(price: Price) -> Prices {
    let dollars = |micros: u64| micros as f64 / MICROS;
    Prices {
        input: dollars(price.input),
        cached_input: dollars(price.cached_input),
        output: dollars(price.output),
    }
}

/// What the environment points at; a local server only if it answers.
async fn detect(env: &Env) -> Option<(&'static str, Written)> {
    match tenure_project::detect(env) {
        Detected::Configured { name, provider } => Some((name, provider)),
        Detected::IfReachable { name, provider, probe_url } => {
            let client = reqwest::Client::builder().no_proxy().timeout(PROBE_TIMEOUT).build().ok()?;
            let answer = client.get(probe_url).send().await.ok()?;
            answer.status().is_success().then_some((name, provider))
        }
    }
}

fn open(name: &str, written: &Written, root: &Path) -> Result<Arc<dyn Model>, StartError> {
    match written {
        Written::OpenAi { wire, base_url, api_key, model_calls_max: _ } => {
            let base_url = base_url.parse().map_err(|error| {
                StartError::new(format!("the address of the provider `{name}` is no URL")).cause(error)
            })?;
            let wire = match wire {
                tenure_project::Wire::Responses => Wire::Responses,
                tenure_project::Wire::Chat => Wire::Chat,
            };
            let key = api_key.as_ref().map(|key: &Redacted| Secret::new(key.expose()));
            let model = HttpModel::new(&HttpConfig::new(base_url, wire, key)).map_err(|error| {
                StartError::new(format!("the provider `{name}` cannot be used")).cause(error)
            })?;
            Ok(Arc::new(model))
        }
        Written::Scripted { script, model_calls_max: _ } => {
            let path = root.join(script);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                StartError::new(format!("`{}` cannot be read", path.display())).cause(error)
            })?;
            let script = Script::parse(&text).map_err(|error| {
                StartError::new(format!("`{}` is not a script", path.display())).cause(error)
            })?;
            Ok(Arc::new(ScriptedModel::new(Arc::new(script))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_bears_what_is_written_at_it() {
        for (of_project, written, max, per_project_max) in [
            (48, None, 64, 48),
            (48, Some(200), 200, 48),
            (48, Some(8), 8, 8),
            (64, None, 64, 64),
            (64, Some(200), 200, 200),
        ] {
            let server = Limit { max: 64, per_project_max: of_project };
            assert_eq!(places(server, written), Places { max, per_project_max }, "{of_project} {written:?}");
        }
    }
}
