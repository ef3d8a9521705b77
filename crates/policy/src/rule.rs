//! One policy, and what is known of it without evaluating it: whom, what and which arguments it can be about.

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicyId, PrincipalConstraint, ResourceConstraint};
use serde_json::Value as Json;
use tenure_journal::OnExpiry;

use crate::schema::{TOOL_CALL, tool_of_action};
use crate::value::{Fault, Thing};

/// Where a policy is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Shipped, and only forbids.
    Guard,
    /// Shipped: what holds where a project says nothing else.
    Default,
    /// The project's own.
    Project,
}

/// A policy of the set.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) layer: Layer,
    pub(crate) policy: Policy,
    /// Who may decide, where the policy waits for a person.
    pub(crate) ask: Vec<String>,
    /// How long they have.
    pub(crate) expiry: Option<Expiry>,
    /// The parts of the context that it reads; absent where it reads the context as a whole.
    reads: Option<BTreeSet<String>>,
    /// The actions of tools that it names.
    pub(crate) tools: BTreeSet<String>,
    /// Whether it names people, keys or groups: only such a policy is about who stands behind an agent.
    names_parties: bool,
}

impl Rule {
    /// `policy` under `id`. A comparison with the action of all tool calls means every tool call, as it did
    /// before tools had actions of their own.
    pub(crate) fn new(id: &str, layer: Layer, policy: &Policy) -> Result<Self, Fault> {
        let mut written = policy.to_json()?;
        let renewed = widen(&mut written);
        let policy = if renewed {
            Policy::from_json(Some(PolicyId::new(id)), written.clone())?
        } else {
            policy.new_id(PolicyId::new(id))
        };
        let ask = names(policy.annotation("ask").unwrap_or_default());
        let expiry = Expiry::of(&policy)?;
        let mut found = Found { reads: Some(BTreeSet::new()), ..Found::default() };
        found.look(&written["conditions"]);
        let mut scope = Found::default();
        for part in ["principal", "action", "resource"] {
            scope.look(&written[part]);
            scope.look_at_scope(&written[part]);
        }
        found.tools.append(&mut scope.tools);
        Ok(Self {
            id: id.to_owned(),
            layer,
            ask,
            expiry,
            policy,
            reads: found.reads,
            tools: found.tools,
            names_parties: found.names_parties || scope.names_parties,
        })
    }

    /// Whether it reads this part of the context.
    pub(crate) fn reads(&self, attribute: &str) -> bool {
        self.reads.as_ref().is_none_or(|reads| reads.contains(attribute))
    }

    /// Whether it can only be checked once the tool is known that it is about.
    pub(crate) fn is_typed(&self) -> bool {
        !self.tools.is_empty() || self.reads("args")
    }

    /// Whether it can determine the decision about this principal, one of these actions and this resource.
    pub(crate) fn may_match(&self, principal: &Thing, actions: &[String], resource: &Thing) -> bool {
        let principal_fits = match self.policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(uid) => principal.name.is(&uid),
            PrincipalConstraint::Is(kind) => kind.basename() == principal.name.kind,
            PrincipalConstraint::In(uid) => principal.is_in(&uid),
            PrincipalConstraint::IsIn(kind, uid) => {
                kind.basename() == principal.name.kind && principal.is_in(&uid)
            }
        };
        let resource_fits = match self.policy.resource_constraint() {
            ResourceConstraint::Any => true,
            ResourceConstraint::Eq(uid) => resource.name.is(&uid),
            ResourceConstraint::Is(kind) => kind.basename() == resource.name.kind,
            ResourceConstraint::In(uid) => resource.is_in(&uid),
            ResourceConstraint::IsIn(kind, uid) => {
                kind.basename() == resource.name.kind && resource.is_in(&uid)
            }
        };
        self.is_about_action(actions) && principal_fits && resource_fits
    }

    /// Whether it can determine a decision about a principal and a resource of these kinds, whatever they are.
    pub(crate) fn may_concern(&self, principal: &str, resource: &str) -> bool {
        let principal_fits = match self.policy.principal_constraint() {
            // Whatever there is may be a member of something.
            PrincipalConstraint::Any | PrincipalConstraint::In(_) => true,
            PrincipalConstraint::Eq(uid) => uid.type_name().basename() == principal,
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
                kind.basename() == principal
            }
        };
        let resource_fits = match self.policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::In(_) => true,
            ResourceConstraint::Eq(uid) => uid.type_name().basename() == resource,
            ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => kind.basename() == resource,
        };
        principal_fits && resource_fits
    }

    /// Whether it can be about a call of a tool that is not among `known`, and if so whether it is seen as it is:
    /// what such a tool's arguments are is not known. `actions` are those of all calls of tools.
    pub(crate) fn may_be_about_other_tools(&self, actions: &[String], known: &[String]) -> Option<bool> {
        if self.is_about_action(actions) {
            return Some(!self.is_typed());
        }
        let is_other = |uid: &EntityUid| {
            tool_of_action(uid.id().unescaped()).is_some_and(|tool| !known.iter().any(|it| it == tool))
        };
        let about_others = match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is_other(&uid),
            ActionConstraint::In(uids) => uids.iter().any(is_other),
        };
        about_others.then_some(false)
    }

    /// Whether it is about an action, given with its groups, itself first.
    pub(crate) fn is_about_action(&self, actions: &[String]) -> bool {
        let named = |uid: &EntityUid| actions.iter().any(|action| action == uid.id().unescaped());
        match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => actions.first().is_some_and(|own| own == uid.id().unescaped()),
            ActionConstraint::In(uids) => uids.iter().any(named),
        }
    }

    /// Whether a model may answer for people what it holds back: never what a guard rail does, and what the project's
    /// own does if it is annotated so.
    pub(crate) fn is_reviewable(&self) -> bool {
        match self.layer {
            Layer::Guard => false,
            Layer::Default => true,
            Layer::Project => self.policy.annotation("review").is_some_and(|who| who == "model"),
        }
    }

    /// Whether it is about whoever stands behind an agent.
    pub(crate) fn is_about_parties(&self) -> bool {
        match self.layer {
            Layer::Guard | Layer::Default => true,
            Layer::Project => self.names_parties,
        }
    }
}

/// How long people have to answer, and what then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) after_ms: u64,
    pub(crate) then: OnExpiry,
}

impl Expiry {
    /// As the annotations `@expires("2h")`, `@on_expiry("wait")`, `deny` or `escalate`, and
    /// `@escalate("group")` say it.
    fn of(policy: &Policy) -> Result<Option<Self>, Fault> {
        let escalate = names(policy.annotation("escalate").unwrap_or_default());
        let then = match policy.annotation("on_expiry") {
            Some("wait") => None,
            Some("deny") => Some(OnExpiry::Deny),
            Some("escalate") if !escalate.is_empty() => Some(OnExpiry::Escalate { groups: escalate }),
            Some("escalate") => {
                return Err(
                    "`@on_expiry(\"escalate\")` needs `@escalate(\"...\")` with who is asked then".into()
                );
            }
            None if escalate.is_empty() => Some(OnExpiry::Deny),
            None => Some(OnExpiry::Escalate { groups: escalate }),
            Some(other) => {
                return Err(format!("`@on_expiry(\"{other}\")` must be wait, deny or escalate").into());
            }
        };
        let Some(after) = policy.annotation("expires") else {
            return match policy.annotation("on_expiry") {
                None | Some("wait") => Ok(None),
                Some(_) => Err("`@on_expiry` needs `@expires(\"...\")` with how long, such as 2h".into()),
            };
        };
        let after_ms = duration_ms(after).ok_or_else(|| {
            format!(
                "`@expires(\"{after}\")` must be a number of minutes, hours or days, such as 30m, 2h or 7d"
            )
        })?;
        Ok(then.map(|then| Self { after_ms, then }))
    }
}

/// The longest that people may be given to answer: a year.
const EXPIRES_DAYS_MAX: u64 = 366;

fn duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let minutes = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 24 * 60,
        _ => return None,
    };
    let minutes = number.parse::<u64>().ok()?.checked_mul(minutes)?;
    (1..=EXPIRES_DAYS_MAX * 24 * 60).contains(&minutes).then_some(minutes * 60_000)
}

/// Names with commas between them.
fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What a policy's text mentions.
#[derive(Debug, Default)]
struct Found {
    /// Absent once the context was seen as a whole.
    reads: Option<BTreeSet<String>>,
    tools: BTreeSet<String>,
    names_parties: bool,
}

impl Found {
    /// Looks through Cedar's JSON form of expressions.
    fn look(&mut self, written: &Json) {
        match written {
            Json::Object(object) => {
                for form in [".", "has"] {
                    if let Some(access) = object.get(form)
                        && is_context(&access["left"])
                        && let Some(attribute) = access["attr"].as_str()
                    {
                        if let Some(reads) = &mut self.reads {
                            reads.insert(attribute.to_owned());
                        }
                        return;
                    }
                }
                if is_context(written) {
                    self.reads = None;
                }
                if let Some(kind) = object.get("is").and_then(|is| is["entity_type"].as_str()) {
                    self.names_parties |= is_party(kind);
                }
                self.look_at_entity(object.get("__entity").unwrap_or(&Json::Null));
                self.look_at_entity(object.get("entity").unwrap_or(&Json::Null));
                object.values().for_each(|value| self.look(value));
            }
            Json::Array(items) => items.iter().for_each(|item| self.look(item)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn look_at_scope(&mut self, scope: &Json) {
        if let Some(kind) = scope["entity_type"].as_str() {
            self.names_parties |= is_party(kind);
        }
        for entity in scope["entities"].as_array().into_iter().flatten() {
            self.look_at_entity(entity);
        }
    }

    fn look_at_entity(&mut self, entity: &Json) {
        let entity = entity.get("__entity").unwrap_or(entity);
        let (Some(kind), Some(id)) = (entity["type"].as_str(), entity["id"].as_str()) else { return };
        self.names_parties |= is_party(kind);
        if kind == "Action" && tool_of_action(id).is_some() {
            self.tools.insert(id.to_owned());
        }
    }
}

fn is_context(written: &Json) -> bool {
    written["Var"] == "context"
}

fn is_party(kind: &str) -> bool {
    matches!(kind, "User" | "Service" | "Group")
}

/// Makes every comparison of the action with that of all tool calls one with its group. Returns whether there
/// was one.
fn widen(written: &mut Json) -> bool {
    let mut renewed = false;
    let scope = &mut written["action"];
    if scope["op"] == "==" && is_tool_call(&scope["entity"]) {
        scope["op"] = "in".into();
        renewed = true;
    }
    widen_conditions(&mut written["conditions"], &mut renewed);
    renewed
}

fn widen_conditions(written: &mut Json, renewed: &mut bool) {
    match written {
        Json::Object(object) => {
            for form in ["==", "!="] {
                let Some(sides) = object.get(form) else { continue };
                let (left, right) = (&sides["left"], &sides["right"]);
                let is_action = |side: &Json| side["Var"] == "action";
                let is_all = |side: &Json| is_tool_call(&side["Value"]);
                let all = match (is_action(left) && is_all(right), is_all(left) && is_action(right)) {
                    (true, _) => right.clone(),
                    (false, true) => left.clone(),
                    (false, false) => continue,
                };
                let within = serde_json::json!({"in": {"left": {"Var": "action"}, "right": all}});
                *written = if form == "==" { within } else { serde_json::json!({"!": {"arg": within}}) };
                *renewed = true;
                return;
            }
            object.values_mut().for_each(|value| widen_conditions(value, renewed));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| widen_conditions(item, renewed)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn is_tool_call(entity: &Json) -> bool {
    let entity = entity.get("__entity").unwrap_or(entity);
    entity["type"] == "Action" && entity["id"] == TOOL_CALL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let policy = Policy::parse(Some(PolicyId::new("p")), text).expect("valid");
        Rule::new("p", Layer::Project, &policy).expect("readable")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let rule = rule(text);
        let reads = rule.reads.as_ref().map_or("all".to_owned(), |reads| format!("{reads:?}"));
        assert_eq!(format!("{reads} {:?} {}", rule.tools, rule.names_parties), expected);
    }

    #[test]
    fn knows_what_a_policy_reads_and_names() {
        check("permit(principal, action, resource);", "{} {} false");
        check(
            r#"forbid(principal, action, resource) when { context.flow.integrity < 2 && context has args };"#,
            r#"{"args", "flow"} {} false"#,
        );
        check(
            r#"forbid(principal, action == Action::"tool.call:pay/transfer", resource)
               unless { context.args.amount.lessThan(decimal("5.0")) };"#,
            r#"{"args"} {"tool.call:pay/transfer"} false"#,
        );
        check(
            r#"forbid(principal, action in [Action::"tool.call:a/b", Action::"model.call"], resource)
               when { [context].contains(context) };"#,
            r#"all {"tool.call:a/b"} false"#,
        );
        check(r#"permit(principal is User, action, resource);"#, "{} {} true");
        check(r#"permit(principal in Group::"a", action, resource);"#, "{} {} true");
        check(r#"permit(principal is Agent, action, resource);"#, "{} {} false");
        check(r#"permit(principal, action, resource) when { principal is Service };"#, "{} {} true");
    }

    #[test]
    fn all_tool_calls_are_a_group() {
        let check = |text: &str, expected: &str| {
            let found = rule(text).policy.to_cedar().expect("a static policy").replace(['\n', ' '], "");
            assert!(found.contains(&expected.replace(' ', "")), "{found}");
        };
        check(
            r#"permit(principal, action == Action::"tool.call", resource);"#,
            r#"action in [Action::"tool.call"]"#,
        );
        check(
            r#"permit(principal, action, resource) when { action == Action::"tool.call" };"#,
            r#"action in Action::"tool.call""#,
        );
        check(
            r#"permit(principal, action, resource) when { Action::"tool.call" != action };"#,
            r#"!(action in Action::"tool.call")"#,
        );
        check(
            r#"permit(principal, action == Action::"model.call", resource);"#,
            r#"action == Action::"model.call""#,
        );
    }

    #[test]
    fn who_may_decide_is_annotated() {
        assert_eq!(
            rule(r#"@ask("finance, legal") permit(principal, action, resource);"#).ask,
            ["finance", "legal"]
        );
        assert!(rule("permit(principal, action, resource);").ask.is_empty());
    }

    #[test]
    fn how_long_people_have_is_annotated() {
        let expiry = |annotations: &str| {
            let policy = Policy::parse(None, format!("{annotations} permit(principal, action, resource);"));
            match Expiry::of(&policy.expect("valid")) {
                Ok(Some(Expiry { after_ms, then })) => format!("{after_ms} {then:?}"),
                Ok(None) => "for ever".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(expiry(""), "for ever");
        assert_eq!(expiry(r#"@expires("30m")"#), "1800000 Deny");
        assert_eq!(expiry(r#"@expires("2h") @on_expiry("deny")"#), "7200000 Deny");
        assert_eq!(expiry(r#"@expires("2h") @on_expiry("wait")"#), "for ever");
        assert_eq!(
            expiry(r#"@expires("1d") @escalate("board, legal")"#),
            r#"86400000 Escalate { groups: ["board", "legal"] }"#
        );
        for wrong in [
            r#"@expires("soon")"#,
            r#"@expires("0m")"#,
            r#"@expires("367d")"#,
            r#"@expires("")"#,
            r#"@expires("2h") @on_expiry("escalate")"#,
            r#"@expires("2h") @on_expiry("ask")"#,
            r#"@on_expiry("deny")"#,
        ] {
            let said = expiry(wrong);
            assert!(said.contains("must be") || said.contains("needs"), "{wrong}: {said}");
        }
    }
}
