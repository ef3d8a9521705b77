//! A router that knows its own paths, so that tests walk all of them and a new one cannot be forgotten.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest as _, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

use crate::call::{App, Call};
use crate::error::ApiError;

/// Paths under `/v1`, with what answers them.
#[derive(Default)]
pub(super) struct Table {
    router: Router<Arc<App>>,
    paths: Vec<String>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// As [`Router::route`].
    pub(super) fn route(mut self, path: &str, methods: impl Into<MethodRouter<Arc<App>>>) -> Self {
        self.paths.push(format!("/v1{path}"));
        Self { router: self.router.route(path, methods.into()), paths: self.paths }
    }

    /// As [`Router::merge`].
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        Self { router: self.router.merge(other.router), paths: self.paths }
    }

    pub(super) fn into_router(self) -> Router<Arc<App>> {
        self.router
    }

    /// Every path, with its parameters in braces.
    pub(super) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}

/// What answers the methods of a path.
#[derive(Default)]
pub(super) struct Methods(MethodRouter<Arc<App>>);

impl Methods {
    pub(super) fn post<F>(self, answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        Self(self.0.post(Endpoint::of(answer)))
    }

    pub(super) fn put<F>(self, answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        Self(self.0.put(Endpoint::of(answer)))
    }

    pub(super) fn delete<F>(self, answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        Self(self.0.delete(Endpoint::of(answer)))
    }
}

impl From<Methods> for MethodRouter<Arc<App>> {
    fn from(Methods(methods): Methods) -> Self {
        methods
    }
}

pub(super) fn get<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Methods
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    Methods(axum::routing::get(Endpoint::of(answer)))
}

pub(super) fn post<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Methods
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    Methods::default().post(answer)
}

pub(super) fn delete<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Methods
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    Methods::default().delete(answer)
}

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function of a [`Call`]. One type for all of them: of each handler's own, axum makes further types, and a binary
/// holds the functions of all of them.
#[derive(Clone)]
struct Endpoint(Arc<dyn Fn(Call) -> Answering<Result<Response, ApiError>> + Send + Sync>);

impl Endpoint {
    fn of<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        Self(Arc::new(move |call| Box::pin(answer(call))))
    }
}

impl Handler<(), Arc<App>> for Endpoint {
    type Future = Answering<Response>;

    fn call(self, request: Request, app: Arc<App>) -> Self::Future {
        Box::pin(async move {
            let answered = match Call::from_request(request, &app).await {
                Ok(call) => (self.0)(call).await,
                Err(error) => Err(error),
            };
            answered.into_response()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::scope;

    #[test]
    fn every_path_says_which_scope_it_needs() {
        for path in super::super::paths() {
            // Executors are admitted by what they call.
            let is_named = scope::is_named(&path) || path.starts_with(crate::connect::PATH);
            assert!(is_named, "{path} has no line in `scope.rs`");
        }
    }
}
