//! Which provider serves when `tenure.yaml` names none.

use crate::Env;
use crate::env::Redacted;
use crate::settings::{OPENAI_BASE_URL, Provider, Wire};

/// What the environment points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detected {
    /// `OPENAI_API_KEY` is set.
    Configured {
        /// The name to show for it.
        name: &'static str,
        /// How to reach it.
        provider: Provider,
    },
    /// Nothing is set: a local Ollama may be running. The caller asks it before using it.
    IfReachable {
        /// The name to show for it.
        name: &'static str,
        /// How to reach it.
        provider: Provider,
        /// Answers with status 200 when it runs.
        probe_url: String,
    },
}

/// What the environment points at: OpenAI with `OPENAI_API_KEY` (at `OPENAI_BASE_URL`), else a local
/// Ollama (at `OLLAMA_HOST`).
#[must_use]
pub fn detect(env: &Env) -> Detected {
    if let Some(key) = env.find("OPENAI_API_KEY") {
        let base_url = env.find("OPENAI_BASE_URL").unwrap_or(OPENAI_BASE_URL);
        let provider = Provider::OpenAi {
            wire: Wire::Responses,
            base_url: base_url.trim_end_matches('/').to_owned(),
            api_key: Some(Redacted::new(key.to_owned())),
            store: false,
            model_calls_max: None,
        };
        return Detected::Configured { name: "openai", provider };
    }
    let root = ollama_root(env.find("OLLAMA_HOST").unwrap_or_default());
    Detected::IfReachable {
        name: "ollama",
        probe_url: format!("{root}/api/version"),
        provider: Provider::OpenAi {
            wire: Wire::Chat,
            base_url: format!("{root}/v1"),
            api_key: None,
            store: false,
            model_calls_max: None,
        },
    }
}

/// `OLLAMA_HOST` is a host, a port or an address, and may be what a server listens on.
fn ollama_root(host: &str) -> String {
    const PORT: &str = "11434";
    let host = host.trim().trim_end_matches('/');
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => (name, port),
        _ if authority.parse::<u16>().is_ok() => ("", authority),
        _ if scheme == "https" => (authority, "443"),
        _ if host.contains("://") => (authority, "80"),
        _ => (authority, PORT),
    };
    let name = match name {
        "" | "0.0.0.0" | "[::]" | "::" => "127.0.0.1",
        other => other,
    };
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    format!("{scheme}://{name}:{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ollama_where_its_own_variable_says() {
        for (host, expected) in [
            ("", "http://127.0.0.1:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000"),
            (":9000", "http://127.0.0.1:9000"),
            ("9000", "http://127.0.0.1:9000"),
            ("gpu.local", "http://gpu.local:11434"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("http://gpu.local", "http://gpu.local:80"),
            ("https://gpu.local/", "https://gpu.local:443"),
            ("http://gpu.local:1234/ollama/", "http://gpu.local:1234/ollama"),
        ] {
            assert_eq!(ollama_root(host), expected, "{host}");
        }
    }

    #[test]
    fn prefers_a_key() {
        let env: Env = [("OPENAI_API_KEY".to_owned(), "k".to_owned())].into_iter().collect();
        let Detected::Configured { name, provider } = detect(&env) else { panic!("a key is set") };
        assert_eq!(name, "openai");
        assert!(matches!(provider, Provider::OpenAi { base_url, .. } if base_url == OPENAI_BASE_URL));
        assert!(matches!(detect(&Env::default()), Detected::IfReachable { name: "ollama", .. }));
    }
}
