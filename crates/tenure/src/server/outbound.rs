//! From the project's settings and the environment to what leaves the server unasked.

use std::sync::Arc;

use tenure_project::{Env, Settings};
use tenure_runtime::{
    Content, ExportConfig, IdentityConfig, MetricKind, Outbound, Sampled, VaultConfig, WebhookConfig,
    WebhookPolicy, WebhookTiming,
};

use super::state::State;

/// The path below a collector's address that traces are posted to.
const TRACES_PATH: &str = "/v1/traces";

pub(crate) fn outbound(
    settings: &Settings,
    env: &Env,
    state: &State,
    identity: Option<IdentityConfig>,
) -> Outbound {
    let policy = WebhookPolicy {
        loopback: settings.webhooks.allow_loopback,
        private_hosts: settings.webhooks.private_hosts.clone(),
    };
    Outbound {
        webhooks: WebhookConfig { policy, timing: WebhookTiming::default() },
        vaults: vaults(settings),
        trace_content: if settings.telemetry.content { Content::Included } else { Content::Omitted },
        export: export(settings, env),
        sampled: sampled(state),
        identity,
        reviewer: settings.reviewer.clone(),
        extraction: settings.memory.extraction.clone(),
    }
}

/// Where credentials may be used and renewed.
pub(crate) fn vaults(settings: &Settings) -> VaultConfig {
    let policy = WebhookPolicy {
        loopback: settings.vaults.allow_loopback,
        private_hosts: settings.vaults.private_hosts.clone(),
    };
    VaultConfig { policy }
}

/// What the store counts. Writes over commits is how many share a sync.
fn sampled(state: &State) -> Vec<Sampled> {
    let counter = |name, help, read: fn(&State) -> u64| {
        let state = state.clone();
        Sampled { name, help, kind: MetricKind::Counter, read: Arc::new(move || read(&state)) }
    };
    vec![
        counter("tenure_store_commits_total", "Transactions that were committed.", State::commits),
        counter("tenure_store_writes_total", "Writes that those transactions carried.", State::writes),
    ]
}

/// The collector of `tenure.yaml`, or else that of the environment, under the names that OpenTelemetry's
/// specification gives it. Headers, which may hold a key, come from the environment alone.
fn export(settings: &Settings, env: &Env) -> Option<ExportConfig> {
    let below = |base: &str| format!("{}{TRACES_PATH}", base.trim_end_matches('/'));
    let of_env = || {
        let exact = env.find("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(str::to_owned);
        exact.or_else(|| env.find("OTEL_EXPORTER_OTLP_ENDPOINT").map(below))
    };
    let endpoint = settings.telemetry.otlp.as_deref().map(below).or_else(of_env)?;
    let headers =
        env.find("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| env.find("OTEL_EXPORTER_OTLP_HEADERS"));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let headers = headers.map(|headers| headers.split(',').filter_map(pair).collect());
    Some(ExportConfig { endpoint, headers: headers.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(otlp: Option<&str>, env: &[(&str, &str)]) -> Option<(String, usize)> {
        let mut settings = Settings::default();
        settings.telemetry.otlp = otlp.map(str::to_owned);
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        export(&settings, &env).map(|config| (config.endpoint, config.headers.len()))
    }

    #[test]
    fn the_collector_is_the_projects_or_the_environments() {
        assert_eq!(found(None, &[]), None);
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/in");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k=1, tenant = t");
        assert_eq!(found(None, &[base]), Some(("http://collector:4318/v1/traces".into(), 0)));
        assert_eq!(found(None, &[base, exact, headers]), Some(("http://traces:4318/in".into(), 2)));
        let own = Some("http://own:4318");
        assert_eq!(found(own, &[base, exact]), Some(("http://own:4318/v1/traces".into(), 0)));
    }
}
