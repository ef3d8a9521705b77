//! Which way a model call took, and what decided it.

use serde::{Deserialize, Serialize};

use crate::{Labels, PermitRecord};

/// One way to reach a model, as it was when a call was decided. What is not known is empty, and taken as the
/// worst where it is a number or a fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRecord {
    /// Its name in the project's settings.
    pub name: String,
    /// Who made the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The model or the deployment, as the provider calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deployment: String,
    /// By which account.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The host that requests go to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// How many days the provider keeps what it is sent.
    pub retention_days: u32,
    /// Whether the provider trains models on it.
    pub trains_on_data: bool,
    /// What else contracts select by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// The way that one attempt at a model call takes: recorded before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDecision {
    /// The way.
    pub route: RouteRecord,
    /// What kind of call it is, computed from what is sent and who asks.
    pub class: String,
    /// Why it may be taken.
    pub permit: PermitRecord,
    /// The clauses of contracts that were in force for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<String>,
    /// The labels of everything that the model is shown.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub flow: Labels,
    /// The ways that come before it and were not taken, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
}

/// A way that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOver {
    /// Its name.
    pub route: String,
    /// Why.
    pub why: Obstacle,
}

/// Why a way is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Obstacle {
    /// Policy, or a contract, does not allow it.
    Refused {
        /// Ids of the policies and clauses that forbid it; empty when none permits it.
        policies: Vec<String>,
    },
    /// Its account failed too often in a row, and is left alone for a while.
    Unhealthy,
    /// An earlier attempt of the same call failed there in a way that another attempt would not change.
    Failed,
}
