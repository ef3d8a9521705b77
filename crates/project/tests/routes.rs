//! Providers of clouds, the facts about them, and the ways to a model, as `tenure.yaml` says them.

use tenure_project::{CloudAuth, Env, Provider, Settings, Unset, Wire, parse_settings};

fn env() -> Env {
    ["KEY", "ID", "SECRET"].map(|name| (name.to_owned(), format!("value-of-{name}"))).into_iter().collect()
}

#[track_caller]
fn read(text: &str) -> Settings {
    parse_settings(text, &env(), Unset::Error).unwrap_or_else(|error| panic!("{error}")).0
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = parse_settings(text, &env(), Unset::Error).expect_err(expected);
    let problems: Vec<String> = error
        .problems()
        .iter()
        .map(|problem| format!("{} {}", problem.code.as_str(), problem.message))
        .collect();
    assert_eq!(problems.join("\n"), expected, "{text}");
}

fn cloud(settings: &Settings, name: &str) -> tenure_project::Cloud {
    let Provider::Cloud(cloud) = &settings.providers[name] else { panic!("{name} is a cloud") };
    cloud.as_ref().clone()
}

#[test]
fn clouds_have_addresses_and_proofs_of_their_own() {
    let settings = read(
        r#"
providers:
  claude: {type: anthropic, api_key: "${KEY}"}
  keyed: {type: bedrock, region: eu-central-1, api_key: "${KEY}"}
  signed: {type: bedrock, region: us-east-1, wire: responses, access_key_id: "${ID}", secret_access_key: "${SECRET}"}
  azure: {type: azure, base_url: "https://x.openai.azure.com/", api_key: "${KEY}"}
  dated: {type: azure, base_url: "https://x.openai.azure.com", wire: chat, api_version: 2024-10-21, api_key: "${KEY}"}
  entra:
    type: azure
    base_url: https://x.openai.azure.com/openai/v1
    entra: {tenant_id: t, client_id: c, client_secret: "${SECRET}"}
"#,
    );
    let shown = |name: &str| {
        let cloud = cloud(&settings, name);
        (cloud.wire, cloud.base_url, cloud.deployments)
    };
    let of = |text: &str| text.to_owned();
    assert_eq!(shown("claude"), (Wire::Anthropic, of("https://api.anthropic.com/v1"), false));
    let runtime = "https://bedrock-runtime.eu-central-1.amazonaws.com";
    assert_eq!(shown("keyed"), (Wire::Converse, of(runtime), false));
    let compatible = "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1";
    assert_eq!(shown("signed"), (Wire::Responses, of(compatible), false));
    assert_eq!(shown("azure"), (Wire::Responses, of("https://x.openai.azure.com/openai/v1"), false));
    let dated = "https://x.openai.azure.com/openai?api-version=2024-10-21";
    assert_eq!(shown("dated"), (Wire::Chat, of(dated), true));
    assert_eq!(shown("entra"), (Wire::Responses, of("https://x.openai.azure.com/openai/v1"), false));
    let CloudAuth::Entra { token_url, scope, client_secret, .. } = cloud(&settings, "entra").auth else {
        panic!("a client of Entra ID")
    };
    assert_eq!(token_url, "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    assert_eq!(
        (scope.as_str(), client_secret.expose()),
        ("https://ai.azure.com/.default", "value-of-SECRET")
    );
    assert!(
        matches!(cloud(&settings, "signed").auth, CloudAuth::SigV4 { region, .. } if region == "us-east-1")
    );
    assert!(!format!("{settings:?}").contains("value-of-SECRET"), "a secret shows");
}

#[test]
fn what_is_nearer_to_a_route_wins() {
    let settings = read(
        r"
providers:
  a: {type: openai, vendor: openai, region: us, retention_days: 30}
  b: {type: openai, base_url: 'http://127.0.0.1:1/v1', operator: self-hosted, trains_on_data: false}
models:
  one: {provider: a, model: m1, region: eu, context_tokens: 1000}
  two:
    vendor: meta
    context_tokens: 500
    price_usd_per_million: {input: 1, output: 2}
    routes:
      - {name: near, provider: a, model: m2, vendor: openai}
      - {provider: b, model: m3, price_usd_per_million: {input: 3, output: 4}}
default_model: two
",
    );
    assert_eq!(settings.facts["a"].retention_days, Some(30));
    let one = &settings.models["one"].routes[..];
    assert_eq!(
        (one.len(), one[0].facts.region.as_deref(), one[0].context_tokens),
        (1, Some("eu"), Some(1000))
    );
    let two = &settings.models["two"].routes[..];
    assert_eq!(
        (two[0].facts.vendor.as_deref(), two[1].facts.vendor.as_deref()),
        (Some("openai"), Some("meta"))
    );
    assert_eq!((two[0].context_tokens, two[1].context_tokens), (Some(500), Some(500)));
    let prices: Vec<u64> = two.iter().filter_map(|route| route.price).map(|price| price.input).collect();
    assert_eq!(prices, [1_000_000, 3_000_000]);
    assert_eq!(settings.default_provider(), Some("a"));
}

#[test]
fn refuses_what_makes_no_sense() {
    let provider = |rest: &str| format!("providers:\n  p: {{{rest}}}\n");
    check(&provider("type: bedrock"), "missing `region` is missing in provider `p`");
    check(&provider("type: azure"), "missing `base_url` is missing in provider `p`");
    check(
        &provider("type: bedrock, region: eu, access_key_id: AKIA, secret_access_key: x"),
        "secret `access_key_id` must refer to an environment variable: files are committed, keys are not",
    );
    check(
        &provider(r#"type: bedrock, region: eu, access_key_id: "${ID}""#),
        "missing `secret_access_key` is missing in provider `p`",
    );
    check(
        &provider("type: anthropic, wire: chat"),
        "conflict `wire` has no meaning for a provider of type `anthropic`",
    );
    check(
        &provider("type: bedrock, region: eu, wire: messages"),
        "unknown_value `wire` cannot be `messages`",
    );
    check(
        &provider("type: openai, retention_days: -1"),
        "range `retention_days` must be from 0 to 36500, not `-1`",
    );
    let model = |rest: &str| format!("providers: {{p: {{type: openai}}}}\nmodels:\n  m: {{{rest}}}\n");
    check(&model("routes: []"), "range `routes` of model `m` has 1 to 16 routes");
    check(
        &model("model: x, routes: [{model: y}]"),
        "conflict `model` and `routes` of model `m` exclude each other",
    );
    check(&model("routes: [{provider: q, model: y}]"), "reference model `m` wants a provider `q`");
    check(
        &model("routes: [{name: r, model: y}, {name: r, model: z}]"),
        "duplicate two routes have the name `r`",
    );
}
