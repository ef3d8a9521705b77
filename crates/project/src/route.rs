//! Routes: the ways to a model that an alias names, and what contracts are told of each.
//!
//! What is written at a provider holds for its routes, what is written at the alias for all of its own, and what
//! stands at a route wins. What nobody wrote is taken as the worst: kept for ever, trained on, at no known place.

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote};
use crate::settings::{Price, TOKENS_MAX, price};

/// Keys that say something about a route, at a provider, an alias or a route.
pub(crate) const FACT_KEYS: &[&str] =
    &["operator", "vendor", "region", "account", "retention_days", "trains_on_data", "labels"];
/// Keys of a route.
pub(crate) const ROUTE_KEYS: &[&str] = &[
    "name",
    "provider",
    "model",
    "price_usd_per_million",
    "context_tokens",
    "output_tokens_max",
    "operator",
    "vendor",
    "region",
    "account",
    "retention_days",
    "trains_on_data",
    "labels",
];
/// Keys of a model: those of its only route, and `routes`.
pub(crate) const MODEL_KEYS: &[&str] = &[
    "provider",
    "model",
    "price_usd_per_million",
    "context_tokens",
    "output_tokens_max",
    "operator",
    "vendor",
    "region",
    "account",
    "retention_days",
    "trains_on_data",
    "labels",
    "routes",
];

/// Routes of one model.
pub const ROUTES_MAX: usize = 16;
/// Days that nobody keeps anything for.
const DAYS_MAX: u64 = 36_500;

/// A name for a model, and the ways to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAlias {
    /// In the order in which they are tried; at least one.
    pub routes: Vec<ModelRoute>,
}

/// One way to reach a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRoute {
    /// What it is called; absent: by its provider and its model.
    pub name: Option<String>,
    /// The provider, by name; absent: the default one.
    pub provider: Option<String>,
    /// The model, or the deployment, as the provider calls it.
    pub model: String,
    /// What it costs; absent: unknown.
    pub price: Option<Price>,
    /// How many tokens it accepts, input and output together; absent: unknown.
    pub context_tokens: Option<u64>,
    /// How many tokens it may answer with; absent: the provider's own limit.
    pub output_tokens_max: Option<u64>,
    /// What contracts are told of it.
    pub facts: Facts,
}

/// What contracts are told of a route; absent where nothing was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who runs the models: `openai`, `azure`, `bedrock`, `self-hosted`.
    pub operator: Option<String>,
    /// Who made the model.
    pub vendor: Option<String>,
    /// Where it runs, as contracts call it.
    pub region: Option<String>,
    /// By which account.
    pub account: Option<String>,
    /// Days that the provider keeps what it is sent.
    pub retention_days: Option<u32>,
    /// Whether the provider trains on it.
    pub trains_on_data: Option<bool>,
    /// What else contracts select by.
    pub labels: Option<Vec<String>>,
}

impl Facts {
    /// What is written here, or else in `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            operator: self.operator.or_else(|| other.operator.clone()),
            vendor: self.vendor.or_else(|| other.vendor.clone()),
            region: self.region.or_else(|| other.region.clone()),
            account: self.account.or_else(|| other.account.clone()),
            retention_days: self.retention_days.or(other.retention_days),
            trains_on_data: self.trains_on_data.or(other.trains_on_data),
            labels: self.labels.or_else(|| other.labels.clone()),
        }
    }
}

impl ModelAlias {
    /// The model of that name at a provider of which nothing is known.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self { routes: vec![ModelRoute { model: name.to_owned(), ..ModelRoute::default() }] }
    }
}

/// Reads the facts among `fields`; other keys are not judged.
pub(crate) fn facts(fields: &Fields<'_>, report: &Report) -> Option<Facts> {
    let text = |key: &str| match fields.find(key) {
        Some(node) => Some(Some(node.filled(&format!("`{key}`"), report)?.to_owned())),
        None => Some(None),
    };
    let days = match fields.find("retention_days") {
        Some(node) => Some(node.integer("`retention_days`", 0..=DAYS_MAX, report)?),
        None => None,
    };
    Some(Facts {
        operator: text("operator")?,
        vendor: text("vendor")?,
        region: text("region")?,
        account: text("account")?,
        retention_days: days.map(|days| u32::try_from(days).unwrap_or(u32::MAX)),
        trains_on_data: match fields.find("trains_on_data") {
            Some(node) => Some(node.boolean("`trains_on_data`", report)?),
            None => None,
        },
        labels: match fields.find("labels") {
            Some(node) => Some(node.texts("`labels`", report)?),
            None => None,
        },
    })
}

/// Reads a model with its routes.
pub(crate) fn model(name: &str, node: &Node, report: &Report) -> Option<ModelAlias> {
    let what = format!("model {}", quote(name));
    let fields = Fields::open(node, &what, MODEL_KEYS, report)?;
    let Some(written) = fields.find("routes") else {
        return Some(ModelAlias { routes: vec![route(&fields, &what, report)?] });
    };
    for key in ["provider", "model"] {
        if let Some(node) = fields.find(key) {
            let message = format!("`{key}` and `routes` of {what} exclude each other");
            report.hinted(Code::Conflict, node.at, message, "say it at each route");
        }
    }
    let shared = shared(&fields, report)?;
    let nodes = written.list("`routes`", report)?;
    if nodes.is_empty() || nodes.len() > ROUTES_MAX {
        report.error(Code::Range, written.at, format!("`routes` of {what} has 1 to {ROUTES_MAX} routes"));
        return None;
    }
    let mut routes: Vec<ModelRoute> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let what = format!("route {} of {what}", index + 1);
        let own = Fields::open(node, &what, ROUTE_KEYS, report)?;
        let mut route = route(&own, &what, report)?;
        route.facts = route.facts.or(&shared.facts);
        route.price = route.price.or(shared.price);
        route.context_tokens = route.context_tokens.or(shared.context_tokens);
        route.output_tokens_max = route.output_tokens_max.or(shared.output_tokens_max);
        if route.name.is_some() && routes.iter().any(|other| other.name == route.name) {
            let message = format!("two routes have the name {}", quote(route.name.as_deref().unwrap_or("")));
            report.hinted(Code::Duplicate, own.at, message, "an auditor must tell them apart");
        }
        routes.push(route);
    }
    Some(ModelAlias { routes })
}

/// What an alias with several routes says of all of them.
fn shared(fields: &Fields<'_>, report: &Report) -> Option<ModelRoute> {
    let (context_tokens, output_tokens_max) = tokens(fields, report);
    Some(ModelRoute {
        price: fields.find("price_usd_per_million").and_then(|node| price(node, report)),
        context_tokens,
        output_tokens_max,
        facts: facts(fields, report)?,
        ..ModelRoute::default()
    })
}

fn route(fields: &Fields<'_>, what: &str, report: &Report) -> Option<ModelRoute> {
    let text = |key: &str| {
        fields.find(key).and_then(|node| node.filled(&format!("`{key}`"), report)).map(str::to_owned)
    };
    let (context_tokens, output_tokens_max) = tokens(fields, report);
    if let (Some(context), Some(output)) = (context_tokens, output_tokens_max)
        && output >= context
    {
        let message = format!("`output_tokens_max` of {what} leaves no room in `context_tokens`");
        report.hinted(Code::Range, fields.at, message, format!("{output} is not below {context}"));
    }
    Some(ModelRoute {
        name: text("name"),
        provider: text("provider"),
        model: fields.require("model")?.filled("`model`", report)?.to_owned(),
        price: fields.find("price_usd_per_million").and_then(|node| price(node, report)),
        context_tokens,
        output_tokens_max,
        facts: facts(fields, report)?,
    })
}

fn tokens(fields: &Fields<'_>, report: &Report) -> (Option<u64>, Option<u64>) {
    let tokens = |key: &str| fields.find(key)?.integer(&format!("`{key}`"), 1..=TOKENS_MAX, report);
    (tokens("context_tokens"), tokens("output_tokens_max"))
}
