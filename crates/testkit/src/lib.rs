//! Stand-ins for the outside world, beside the contracts they keep.
//!
//! [`validator`] reads an upstream request as the strictest provider would. [`mock_openai`] is a model
//! server that serves a script over real HTTP and holds every request against the validator. [`postgres`] is a
//! database server of the tests' own, [`receiver`] is what webhooks and traces are sent to, [`oidc`] an identity provider.

pub mod mock_openai;
pub mod oidc;
pub mod postgres;
pub mod receiver;
pub mod validator;
