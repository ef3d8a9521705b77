//! Tasks of the executor, boxed: of each future that is spawned as it is, Tokio makes further types, and a
//! binary holds the functions of all of them.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// As [`tokio::spawn`].
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let task: Boxed<T> = Box::pin(task);
    tokio::spawn(task)
}

/// Tasks that a shutdown waits for.
#[derive(Debug, Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// As [`TaskTracker::spawn`].
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let task: Boxed<T> = Box::pin(task);
        self.0.spawn(task)
    }

    /// As [`TaskTracker::spawn_blocking`].
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn_blocking(task)
    }

    /// Waits for all of them. None is spawned from now on.
    pub(crate) async fn end(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
