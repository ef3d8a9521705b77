//! From the project's providers and models to what the runtime calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::RouteRecord;
use tenure_model::auth::{Auth, ClientCredentials};
use tenure_model::http::{Addressing, HttpConfig, HttpModel};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_model::sigv4::{Credentials, Signer};
use tenure_model::{Embeddings, Model, Secret, Wire};
use tenure_project::{
    Cloud, CloudAuth, Detected, Env, Facts, Limit, ModelRoute, Price, Provider as Written, Redacted, Settings,
};
use tenure_runtime::{ModelTable, Places, Prices, Provider, Route};

use super::StartError;
use crate::contracts::Declared;

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
    let opened = |name: &str, written: &Written| {
        let facts = settings.facts.get(name).cloned().unwrap_or_default();
        let record = record(name, written, &facts);
        let opened = open(name, written, root)?;
        let stateful = makes_state(written);
        Ok::<_, StartError>(Provider::with_embeddings(name, opened, places(written), record, stateful))
    };
    for (name, written) in &settings.providers {
        providers.insert(name.clone(), opened(name, written)?);
    }
    let mut default = settings.default_provider().map(str::to_owned);
    if providers.is_empty()
        && let Some((name, written)) = detect(env).await
    {
        providers.insert(name.to_owned(), opened(name, &written)?);
        default = Some(name.to_owned());
    }
    let fallback = default.as_ref().and_then(|name| providers.get(name).cloned());
    let mut named = BTreeMap::new();
    for (name, alias) in &settings.models {
        let mut routes: Vec<Route> = Vec::new();
        for written in &alias.routes {
            let named = written.provider.as_ref().and_then(|name| providers.get(name));
            let Some(provider) = named.or(fallback.as_ref()) else {
                return Err(StartError::new(format!("the model `{name}` has no provider"))
                    .fix("name its provider in tenure.yaml"));
            };
            let mut route = route(written, provider);
            // An auditor must tell routes apart.
            if routes.iter().any(|other| other.record.name == route.record.name) {
                route.record.name = format!("{}#{}", route.record.name, routes.len() + 1);
            }
            routes.push(route);
        }
        named.insert(name.clone(), routes);
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

/// The routes that the settings declare, without those to models that no alias names.
pub(crate) fn declared(settings: &Settings) -> Vec<Declared> {
    let mut all: Vec<Declared> = Vec::new();
    for (model, alias) in &settings.models {
        let first = all.len();
        for written in &alias.routes {
            let named = written.provider.as_deref().or(settings.default_provider());
            let Some((name, provider)) = named.and_then(|name| settings.providers.get_key_value(name)) else {
                continue;
            };
            let facts = settings.facts.get(name).cloned().unwrap_or_default();
            let mut record = of_route(record(name, provider, &facts), name, written);
            let of_model = &all[first..];
            if of_model.iter().any(|other| other.record.name == record.name) {
                record.name = format!("{}#{}", record.name, of_model.len() + 1);
            }
            all.push(Declared { model: model.clone(), record, stateful: makes_state(provider) });
        }
    }
    all
}

/// What is known of one route through a provider.
fn of_route(mut record: RouteRecord, provider: &str, written: &ModelRoute) -> RouteRecord {
    merge(&mut record, &written.facts);
    record.name = written.name.clone().unwrap_or_else(|| format!("{provider}/{}", written.model));
    record.deployment.clone_from(&written.model);
    record
}

fn route(written: &ModelRoute, provider: &Arc<Provider>) -> Route {
    Route {
        record: of_route(provider.record().clone(), provider.name(), written),
        provider: Arc::clone(provider),
        model: written.model.clone(),
        prices: written.price.map(prices),
        context_tokens: written.context_tokens,
        output_tokens_max: written.output_tokens_max,
    }
}

/// What is known of every route through a provider. What nobody said is taken as the worst.
fn record(name: &str, written: &Written, facts: &Facts) -> RouteRecord {
    let (operator, vendor, region, address) = match written {
        Written::OpenAi { base_url, .. } => {
            let official = base_url == "https://api.openai.com/v1";
            (
                if official { "openai" } else { "" },
                if official { "openai" } else { "" },
                "",
                base_url.as_str(),
            )
        }
        Written::Cloud(cloud) => {
            let region = match &cloud.auth {
                CloudAuth::SigV4 { region, .. } => region.as_str(),
                CloudAuth::Key(_) | CloudAuth::Entra { .. } => "",
            };
            let vendor = if cloud.kind == "anthropic" { "anthropic" } else { "" };
            (cloud.kind, vendor, region, cloud.base_url.as_str())
        }
        Written::Scripted { .. } => ("self-hosted", "", "", ""),
    };
    let stays = matches!(written, Written::Scripted { .. });
    let host = url::Url::parse(address).ok().and_then(|url| {
        let host = url.host_str()?.to_owned();
        Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    let mut record = RouteRecord {
        name: name.to_owned(),
        vendor: vendor.to_owned(),
        provider: operator.to_owned(),
        region: region.to_owned(),
        deployment: String::new(),
        account: name.to_owned(),
        host: host.unwrap_or_default(),
        retention_days: if stays { 0 } else { u32::MAX },
        trains_on_data: !stays,
        labels: Vec::new(),
    };
    merge(&mut record, facts);
    record
}

fn merge(record: &mut RouteRecord, facts: &Facts) {
    let Facts { operator, vendor, region, account, retention_days, trains_on_data, labels } = facts;
    let texts = [
        (operator, &mut record.provider),
        (vendor, &mut record.vendor),
        (region, &mut record.region),
        (account, &mut record.account),
    ];
    for (written, known) in texts {
        if let Some(written) = written {
            known.clone_from(written);
        }
    }
    record.retention_days = retention_days.unwrap_or(record.retention_days);
    record.trains_on_data = trains_on_data.unwrap_or(record.trains_on_data);
    if let Some(labels) = labels {
        record.labels.clone_from(labels);
    }
}

/// Whether what is sent there makes state at the provider: only where the settings say that it is to be kept.
fn makes_state(written: &Written) -> bool {
    match written {
        Written::OpenAi { store, .. } => *store,
        Written::Cloud(cloud) => cloud.store,
        Written::Scripted { .. } => false,
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

/// A provider's models, and what makes vectors there.
type Opened = (Arc<dyn Model>, Option<Arc<dyn Embeddings>>);

fn open(name: &str, written: &Written, root: &Path) -> Result<Opened, StartError> {
    match written {
        Written::OpenAi { wire, base_url, api_key, store, model_calls_max: _ } => {
            let base_url = base_url.parse().map_err(|error| {
                StartError::new(format!("the address of the provider `{name}` is no URL")).cause(error)
            })?;
            let key = api_key.as_ref().map(secret);
            let config = HttpConfig { store: *store, ..HttpConfig::new(base_url, spoken(*wire), key) };
            over_http(name, &config)
        }
        Written::Cloud(cloud) => over_http(name, &cloud_config(name, cloud)?),
        Written::Scripted { script, model_calls_max: _ } => {
            let path = root.join(script);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                StartError::new(format!("`{}` cannot be read", path.display())).cause(error)
            })?;
            let script = Script::parse(&text).map_err(|error| {
                StartError::new(format!("`{}` is not a script", path.display())).cause(error)
            })?;
            Ok((Arc::new(ScriptedModel::new(Arc::new(script))), None))
        }
    }
}

fn over_http(name: &str, config: &HttpConfig) -> Result<Opened, StartError> {
    let model = HttpModel::new(config)
        .map_err(|error| StartError::new(format!("the provider `{name}` cannot be used")).cause(error))?;
    let model = Arc::new(model);
    // The others have no such endpoint, or one of another shape.
    let embeddings = matches!(config.wire, Wire::Responses | Wire::Chat)
        .then(|| Arc::clone(&model) as Arc<dyn Embeddings>);
    Ok((model, embeddings))
}

fn cloud_config(name: &str, cloud: &Cloud) -> Result<HttpConfig, StartError> {
    let url = |text: &str| {
        text.parse().map_err(|error| {
            StartError::new(format!("the address of the provider `{name}` is no URL")).cause(error)
        })
    };
    let wire = spoken(cloud.wire);
    let auth = match &cloud.auth {
        CloudAuth::Key(Some(key)) if cloud.kind == "azure" => Auth::ApiKey(secret(key)),
        CloudAuth::Key(key) => Auth::key(wire, key.as_ref().map(secret)),
        CloudAuth::SigV4 { region, access_key_id, secret_access_key, session_token } => {
            let credentials = Credentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret(secret_access_key),
                session_token: session_token.as_ref().map(secret),
            };
            let service = "bedrock".to_owned();
            Auth::SigV4(Box::new(Signer { credentials, region: region.clone(), service }))
        }
        CloudAuth::Entra { token_url, client_id, client_secret, scope } => {
            Auth::ClientCredentials(Box::new(ClientCredentials {
                token_url: url(token_url)?,
                client_id: client_id.clone(),
                client_secret: secret(client_secret),
                scope: scope.clone(),
            }))
        }
    };
    let addressing = if cloud.deployments { Addressing::Deployments } else { Addressing::Usual };
    let base = HttpConfig::new(url(&cloud.base_url)?, wire, None);
    Ok(HttpConfig { auth, addressing, store: cloud.store, ..base })
}

fn secret(written: &Redacted) -> Secret {
    Secret::new(written.expose())
}

fn spoken(wire: tenure_project::Wire) -> Wire {
    match wire {
        tenure_project::Wire::Responses => Wire::Responses,
        tenure_project::Wire::Chat => Wire::Chat,
        tenure_project::Wire::Anthropic => Wire::Anthropic,
        tenure_project::Wire::Converse => Wire::Converse,
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
