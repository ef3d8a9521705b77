//! What is asked, in which order, and what follows from the answers.

use std::collections::BTreeMap;
use std::time::Instant;

use cedar_policy::{Effect, PolicySet as Policies};
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet, SymEnv};
use tenure_policy::{DescribedTool, Invariant, Origin, PolicySet, Situation, Violation};

use crate::counterexample::{Counterexample, Decided, decide};
use crate::question::Questions;
use crate::report::{Dead, Fallible, Outcome, Proof, Report};
use crate::solver::{Cvc5, Limits};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Invariants alone.
    Invariants,
    /// Also which of the project's policies can fail and which never matter, and where nothing can be allowed.
    Whole,
}

/// Tries to prove `invariants` of `set`, and with [`Extent::Whole`] looks for policies and situations in it that are
/// of no use. Calls of tools in `tools` are looked at with their arguments.
///
/// Takes as long as `limits` say at most, and blocks for that time: it is not for a thread that drives a runtime.
/// What could not be found out is [`Outcome::Unknown`], whatever the reason.
///
/// # Errors
/// The policies do not fit the tools, or an invariant does not: in words.
pub fn prove(
    set: &PolicySet,
    invariants: &[Invariant],
    tools: &[DescribedTool],
    extent: Extent,
    (cvc5, limits): (&Cvc5, Limits),
) -> Result<Report, String> {
    let began = Instant::now();
    let situations = set.situations(tools, invariants).map_err(|error| error.to_string())?;
    let mut examined = Examined {
        questions: Questions::new(cvc5, limits)?,
        standings: invariants.iter().map(|_| Standing::default()).collect(),
        rules: BTreeMap::new(),
        closed: Vec::new(),
    };
    for situation in &situations {
        examined.look_at(situation, invariants, extent)?;
    }
    let Examined { questions, standings, rules, closed } = examined;
    let proofs = invariants.iter().zip(standings).map(|(invariant, standing)| Proof {
        invariant: invariant.id.clone(),
        says: invariant.says.clone(),
        origin: invariant.origin,
        outcome: standing.conclude(),
    });
    let mut report = Report {
        solver: cvc5.name(),
        invariants: Invariant::digest(invariants),
        tools: tools.iter().map(|tool| tool.id.clone()).collect(),
        proofs: proofs.collect(),
        fallible: Vec::new(),
        dead: Vec::new(),
        closed,
        situations: situations.len(),
        questions: questions.asked(),
        elapsed: began.elapsed(),
    };
    for (policy, rule) in rules {
        if rule.life != Life::Lives {
            report.dead.push(Dead { policy, is_overruled: rule.life == Life::Overruled });
        }
        report.fallible.extend(rule.fallible);
    }
    Ok(report)
}

/// What is known so far.
struct Examined<'a> {
    questions: Questions<'a>,
    /// One for each invariant.
    standings: Vec<Standing>,
    /// Of the project's own policies.
    rules: BTreeMap<String, RuleStanding>,
    closed: Vec<String>,
}

/// How an invariant stands.
#[derive(Default)]
struct Standing {
    /// In how many situations it holds.
    held: usize,
    /// Whether one of them is one in which something is allowed and something is what it forbids.
    is_alive: bool,
    /// Situations that it is about and in which nothing is allowed.
    closed: usize,
    unknown: Option<String>,
    refuted: Option<Box<Counterexample>>,
}

impl Standing {
    fn conclude(self) -> Outcome {
        let Self { held, is_alive, closed, unknown, refuted } = self;
        match (refuted, unknown) {
            (Some(counterexample), _) => Outcome::Refuted(counterexample),
            (None, Some(why)) => Outcome::Unknown(why),
            (None, None) if is_alive => Outcome::Proven { situations: held },
            (None, None) if closed > 0 => {
                Outcome::Vacuous("nothing is allowed in any situation that it is about".to_owned())
            }
            (None, None) => Outcome::Vacuous("no request is what it forbids".to_owned()),
        }
    }
}

/// How a policy stands.
struct RuleStanding {
    life: Life,
    fallible: Option<Fallible>,
}

/// Whether a policy matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    /// No request that was asked about fits it.
    Unreached,
    /// Some do, all of which guard rails and contracts forbid.
    Overruled,
    /// It decides something.
    Lives,
}

/// A situation in the words of the solver.
struct Compiled<'s> {
    situation: &'s Situation,
    symbols: SymEnv,
    /// What decides.
    policies: CompiledPolicySet,
    /// What guard rails and contracts forbid by themselves.
    firm: CompiledPolicySet,
    /// The policies that are seen as they are: what a counterexample is decided by.
    exact: Policies,
}

impl<'s> Compiled<'s> {
    fn new(situation: &'s Situation) -> Result<Self, String> {
        let told = |error: cedar_policy_symcc::err::Error| format!("{}: {error}", situation.name());
        let said = |error: tenure_policy::PolicyError| error.to_string();
        let symbols = SymEnv::new(&situation.schema, &situation.request).map_err(told)?;
        let compile = |policies: &Policies| {
            let (request, schema) = (&situation.request, &situation.schema);
            CompiledPolicySet::compile_with_custom_symenv(policies, request, schema, symbols.clone())
                .map_err(told)
        };
        let exact = situation.rules.iter().map(|rule| rule.policy.clone());
        Ok(Self {
            policies: compile(&situation.policies().map_err(said)?)?,
            firm: compile(&situation.firm_policies().map_err(said)?)?,
            exact: Policies::from_policies(exact).map_err(|error| error.to_string())?,
            situation,
            symbols,
        })
    }

    fn compile(&self, policy: &cedar_policy::Policy) -> Result<CompiledPolicy, String> {
        let Situation { request, schema, .. } = self.situation;
        CompiledPolicy::compile_with_custom_symenv(policy, request, schema, self.symbols.clone())
            .map_err(|error| format!("{}: {error}", policy.id()))
    }
}

impl Examined<'_> {
    fn look_at(
        &mut self,
        situation: &Situation,
        invariants: &[Invariant],
        extent: Extent,
    ) -> Result<(), String> {
        let mut violations = Vec::new();
        for (place, invariant) in invariants.iter().enumerate() {
            let standing = &mut self.standings[place];
            match invariant.violation_in(situation).map_err(|error| error.to_string())? {
                Violation::Nothing => {}
                Violation::Unseen => {
                    let why = "it is about arguments of tools that are not described";
                    standing.unknown = Some(why.to_owned());
                }
                Violation::Whatever(permit) if standing.refuted.is_none() => violations.push((place, permit)),
                Violation::Whatever(_) => {}
            }
        }
        if violations.is_empty() && extent == Extent::Invariants {
            return Ok(());
        }
        let compiled = Compiled::new(situation)?;
        let denies =
            self.questions.ask(async |solver| solver.check_always_denies_opt(&compiled.policies).await);
        let is_closed = denies == Ok(true);
        if is_closed {
            self.closed.push(situation.name());
        }
        for (place, violation) in violations {
            self.try_to_prove(place, &violation, &compiled, is_closed)?;
        }
        if extent == Extent::Invariants {
            return Ok(());
        }
        for rule in situation.rules.iter().filter(|rule| rule.origin == Origin::Project) {
            self.look_at_rule(&rule.id, &rule.policy, &compiled)?;
        }
        Ok(())
    }

    fn try_to_prove(
        &mut self,
        place: usize,
        violation: &cedar_policy::Policy,
        compiled: &Compiled<'_>,
        is_closed: bool,
    ) -> Result<(), String> {
        let standing = &mut self.standings[place];
        let violation = compiled.compile(violation)?.into_compiled_policyset();
        if is_closed {
            standing.closed += 1;
            return Ok(());
        }
        // What guard rails and contracts forbid by themselves needs no look at the rest.
        let firm =
            self.questions.ask(async |solver| solver.check_disjoint_opt(&compiled.firm, &violation).await);
        let found = match firm {
            Ok(true) => Ok(None),
            Ok(false) | Err(_) => self.questions.ask(async |solver| {
                solver.check_disjoint_with_counterexample_opt(&compiled.policies, &violation).await
            }),
        };
        match found {
            Ok(None) => {
                if !standing.is_alive {
                    let never =
                        self.questions.ask(async |solver| solver.check_always_denies_opt(&violation).await);
                    match never {
                        // It is about other situations.
                        Ok(true) => return Ok(()),
                        Ok(false) => standing.is_alive = true,
                        Err(why) => standing.unknown = Some(why),
                    }
                }
                standing.held += 1;
            }
            Ok(Some(env)) => match judge(compiled, &env) {
                Ok(counterexample) => standing.refuted = Some(Box::new(counterexample)),
                Err(why) => standing.unknown = Some(why),
            },
            Err(why) => standing.unknown = Some(format!("{}: {why}", compiled.situation.name())),
        }
        Ok(())
    }

    fn look_at_rule(
        &mut self,
        id: &str,
        policy: &cedar_policy::Policy,
        compiled: &Compiled<'_>,
    ) -> Result<(), String> {
        let rule =
            self.rules.entry(id.to_owned()).or_insert(RuleStanding { life: Life::Unreached, fallible: None });
        let permit_or_forbid = compiled.compile(policy)?;
        if rule.fallible.is_none() {
            let fails = self.questions.ask(async |solver| {
                solver.check_never_errors_with_counterexample_opt(&permit_or_forbid).await
            });
            let example = match fails {
                Ok(None) => None,
                Ok(Some(env)) => {
                    Some(Ok(Box::new(Counterexample::new(compiled.situation.name(), &env, Vec::new()))))
                }
                Err(why) => Some(Err(why)),
            };
            let situation = compiled.situation.name();
            rule.fallible = example.map(|example| Fallible { policy: id.to_owned(), situation, example });
        }
        if rule.life == Life::Lives {
            return Ok(());
        }
        let never =
            self.questions.ask(async |solver| solver.check_never_matches_opt(&permit_or_forbid).await);
        if never == Ok(true) {
            return Ok(());
        }
        let is_overruled = policy.effect() == Effect::Permit && {
            let permitted = permit_or_forbid.into_compiled_policyset();
            let none = self
                .questions
                .ask(async |solver| solver.check_disjoint_opt(&compiled.firm, &permitted).await);
            none == Ok(true)
        };
        // Without an answer it is taken to live: nobody should delete it for that.
        rule.life = rule.life.max(if is_overruled { Life::Overruled } else { Life::Lives });
        Ok(())
    }
}

/// Whether what the solver found is a counterexample: Cedar itself allows it, and nothing that is not seen could
/// forbid it.
fn judge(compiled: &Compiled<'_>, env: &cedar_policy_symcc::Env) -> Result<Counterexample, String> {
    let situation = compiled.situation;
    let resource = env.request.resource().map(|uid| uid.id().unescaped().to_owned()).unwrap_or_default();
    let unseen = situation.unseen_about(&resource);
    if !unseen.is_empty() {
        return Err(format!(
            "it depends on arguments of tools that are not described: {}",
            unseen.join(", ")
        ));
    }
    match decide(&compiled.exact, env) {
        Decided::Allowed(by) => Ok(Counterexample::new(situation.name(), env, by)),
        Decided::Failed(policies) => {
            Err(format!("what the solver found fails, which denies it: {}", policies.join(", ")))
        }
        Decided::Denied => Err("what the solver found is denied when it is decided".to_owned()),
    }
}
