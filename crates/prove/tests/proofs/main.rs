//! What is proven of policies, what is refuted and by which request, and what a solver is allowed.

mod bounds;
mod mutants;
mod outcomes;
mod rules;
mod support;
mod tools;
