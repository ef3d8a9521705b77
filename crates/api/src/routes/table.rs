//! A router that knows its own paths, so that tests walk all of them and a new one cannot be forgotten.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;

use crate::call::App;

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
    pub(super) fn route(mut self, path: &str, methods: MethodRouter<Arc<App>>) -> Self {
        self.paths.push(format!("/v1{path}"));
        Self { router: self.router.route(path, methods), paths: self.paths }
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
