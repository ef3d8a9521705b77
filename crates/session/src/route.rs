//! Routes as a decision is told of them: the ways to each model, and which accounts are unwell, as values.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{Extraction, RouteRecord};
use tenure_policy::{CallClass, RouteFacts};

use crate::Price;

/// One way to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What contracts, and the journal, are told of it.
    pub record: RouteRecord,
    /// The configured account it goes through: what fails there, fails for all of its routes.
    pub account: String,
    /// Whether what it sends makes state on the provider's side.
    pub stateful: bool,
    /// What it costs, where known.
    pub price: Option<Price>,
}

impl Candidate {
    /// What a call of the agent itself by this way is.
    #[must_use]
    pub fn class(&self) -> CallClass {
        if self.stateful { CallClass::Stateful } else { CallClass::Stateless }
    }

    /// What policies are told.
    #[must_use]
    pub fn facts(&self) -> RouteFacts<'_> {
        facts(&self.record)
    }
}

/// What policies are told of a route.
#[must_use]
pub fn facts(record: &RouteRecord) -> RouteFacts<'_> {
    RouteFacts {
        name: &record.name,
        vendor: &record.vendor,
        provider: &record.provider,
        region: &record.region,
        deployment: &record.deployment,
        account: &record.account,
        retention_days: record.retention_days,
        trains_on_data: record.trains_on_data,
        labels: &record.labels,
    }
}

/// The ways to all models.
#[derive(Debug, Clone, Copy)]
pub struct Routes<'a> {
    /// Those of configured names, in the order in which they are tried.
    pub named: &'a BTreeMap<String, Vec<Candidate>>,
    /// The way to every other name, which is then its model.
    pub fallback: Option<&'a Candidate>,
    /// Accounts that are left alone now.
    pub unhealthy: &'a BTreeSet<String>,
    /// The model that is asked about calls before people are; absent where they are asked at once.
    pub reviewer: Option<&'a str>,
    /// How facts are read out of turns of agents that say nothing of it; absent where they are not.
    pub extraction: Option<&'a Extraction>,
}

impl Routes<'static> {
    /// No way is known: models are asked by their names alone.
    pub const UNKNOWN: Self = Self {
        named: &BTreeMap::new(),
        fallback: None,
        unhealthy: &BTreeSet::new(),
        reviewer: None,
        extraction: None,
    };
}

impl<'a> Routes<'a> {
    /// The ways to `model`, in their order.
    pub(crate) fn to(&self, model: &str) -> Vec<Cow<'a, Candidate>> {
        if let Some(named) = self.named.get(model) {
            return named.iter().map(Cow::Borrowed).collect();
        }
        let Some(fallback) = self.fallback else { return Vec::new() };
        let mut candidate = fallback.clone();
        model.clone_into(&mut candidate.record.deployment);
        candidate.record.name = format!("{}/{model}", candidate.account);
        vec![Cow::Owned(candidate)]
    }
}
