//! A server that the caller reaches: in a sandbox, on a customer's machine. One connection, which is neither
//! shared nor opened again; it ends with this value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ServerResult};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::{Map, Value};
use tenure_journal::{Failure, FailureKind, ToolDef};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::asking::{self, Ask, Unfulfilled, patience};
use crate::connection::Connection;
use crate::failure::{Refused, failure, without_sign_in};
use crate::http;
use crate::stdio::{LineGuard, Output};
use crate::via::{Requests, Via};
use crate::{Call, CallResult, Hints};

/// A connection to one server.
pub struct Reached {
    name: String,
    hints: Hints,
    connection: Connection,
    /// Whether the server said that it knows this connection no more.
    is_forgotten: AtomicBool,
}

impl Reached {
    /// Performs the handshake with a server that reads `input` and writes `output`, a message a line. `name` is
    /// what logs call it.
    ///
    /// # Errors
    /// Why the server cannot be used; nothing but the handshake was sent.
    pub async fn over_pipes(
        name: String,
        hints: Hints,
        output: impl AsyncRead + Send + Unpin + 'static,
        input: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, Failure> {
        let seen = Arc::new(Output::default());
        let messages = AsyncRwTransport::new(LineGuard::new(output, Arc::clone(&seen)), input);
        let pipes = Pipes { messages, output: Arc::clone(&seen) };
        let connection = Connection::over(pipes, seen, TaskTracker::new()).await?;
        Ok(Self { name, hints, connection, is_forgotten: AtomicBool::new(false) })
    }

    /// Performs the handshake with a server at `url`, which `requests` reaches.
    ///
    /// # Errors
    /// `InvalidRequest`: the address or a header cannot be used. Otherwise why the server cannot be used; nothing
    /// but the handshake was sent.
    pub async fn over_http(
        name: String,
        hints: Hints,
        url: &str,
        headers: &BTreeMap<String, String>,
        requests: Arc<dyn Requests>,
    ) -> Result<Self, Failure> {
        let transport = http::transport_over(Via(requests), url, headers)?;
        let connection = Connection::over(transport, Arc::default(), TaskTracker::new()).await;
        let connection = connection.map_err(without_sign_in)?;
        Ok(Self { name, hints, connection, is_forgotten: AtomicBool::new(false) })
    }

    /// Whether nothing can be asked over it any more, as far as is known.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire) || self.connection.is_closed()
    }

    /// As [`crate::Servers::list`].
    ///
    /// # Errors
    /// As there.
    pub async fn list(&self, cancel: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        asking::list(self, cancel).await.map_err(without_sign_in)
    }

    /// As [`crate::Servers::call`].
    ///
    /// # Errors
    /// As there.
    pub async fn call(&self, call: Call<'_>, cancel: &CancellationToken) -> Result<CallResult, Failure> {
        asking::call(self, call, cancel).await.map_err(without_sign_in)
    }
}

impl Ask for Reached {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    async fn ask(
        &self,
        request: ClientRequest,
        meta: Map<String, Value>,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Unfulfilled> {
        let answer = self.connection.request(request, meta, patience(&self.hints), cancel).await;
        match answer {
            Ok(result) => Ok(result),
            // Nobody looked at the request: another connection may be opened for it.
            Err(Refused::Untaken) => {
                self.is_forgotten.store(true, Ordering::Release);
                let kind = FailureKind::ConnectionFailed;
                Err(Unfulfilled::Unsent(failure(kind, "the tool server had ended the session")))
            }
            Err(refused @ (Refused::Answered(_) | Refused::Failed(_))) => Err(Unfulfilled::Refused(refused)),
        }
    }
}

/// Two streams that carry a message a line.
struct Pipes<R: AsyncRead + Unpin, W: AsyncWrite> {
    messages: AsyncRwTransport<RoleClient, LineGuard<R>, W>,
    output: Arc<Output>,
}

impl<R, W> Transport<RoleClient> for Pipes<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.messages.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.messages.receive().await;
        if message.is_none() {
            self.output.has_ended.store(true, Ordering::Release);
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.messages.close().await
    }
}
