//! One question at a time to one solver, which is killed at its deadline and started again for the next.

use std::time::Instant;

use cedar_policy_symcc::CedarSymCompiler;
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::LocalSolver;

use crate::solver::{self, Cvc5, Limits};

type Compiler = CedarSymCompiler<LocalSolver>;

/// A conversation with a solver.
pub(crate) struct Questions<'a> {
    cvc5: &'a Cvc5,
    limits: Limits,
    until: Instant,
    /// The solver, while it is well.
    running: Option<Compiler>,
    asked: usize,
    // Last, so that it still drives what the solver leaves behind when that is dropped.
    runtime: tokio::runtime::Runtime,
}

impl<'a> Questions<'a> {
    pub(crate) fn new(cvc5: &'a Cvc5, limits: Limits) -> Result<Self, String> {
        let runtime = solver::runtime()?;
        let until = Instant::now() + limits.all;
        Ok(Self { cvc5, limits, until, running: None, asked: 0, runtime })
    }

    /// How many were asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// Asks.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut Compiler) -> Result<T, Error>,
    ) -> Result<T, String> {
        let left = self.until.saturating_duration_since(Instant::now()).min(self.limits.question);
        if left.is_zero() {
            return Err("the time for all questions was over".to_owned());
        }
        self.asked += 1;
        let Self { cvc5, limits, running, runtime, .. } = self;
        runtime.block_on(async {
            let mut compiler = match running.take() {
                Some(compiler) => compiler,
                None => CedarSymCompiler::new(cvc5.start(limits)?).map_err(|error| told(&error))?,
            };
            match tokio::time::timeout(left, question(&mut compiler)).await {
                Ok(Ok(answer)) => {
                    *running = Some(compiler);
                    Ok(answer)
                }
                // What it would say to the next question is nobody's guess; another is started for that.
                Ok(Err(error)) => Err(told(&error)),
                Err(_) => Err(format!("the solver had no answer within {} s", left.as_secs())),
            }
        })
    }
}

/// What went wrong, with what lies beneath.
fn told(error: &Error) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}
