//! One conversation with a server, from `initialize` to its end.
//!
//! Requests are answered in order, so that two writes to a process arrive as they were sent. Those that may
//! take long without anyone being slow, a read that waits and an HTTP request, run beside.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::files::Handles;
use super::host::{Attachment, Host};
use super::http as outgoing;
use super::process::Process;
use crate::location::Location;
use crate::message::{
    Failure, INTERNAL, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Method, Params, RequestId,
};
use crate::protocol::files::{
    Canonicalize, Close, Copy, CreateDirectory, Metadata, Open, Opened, ReadBlock, ReadDirectory, ReadFile,
    Remove, Walk, WriteFile,
};
use crate::protocol::http::Request;
use crate::protocol::process::{
    Read, Send, Start, Started, Terminate, Terminated, Write, WriteStatus, Written,
};
use crate::protocol::{Environment, EnvironmentInfo, Initialize, Initialized, Nothing, SessionOpened, Shell};

/// Requests that run beside at once.
const BESIDE_MAX: usize = 64;

struct Conversation {
    host: Arc<Host>,
    told: mpsc::Sender<Vec<u8>>,
    attachment: Option<Attachment>,
    is_initialized: bool,
    handles: Handles,
    /// Ends with the conversation.
    beside: JoinSet<()>,
}

/// Serves messages until there are no more or nobody takes the answers. The session stays, for a while.
pub(super) async fn run(host: Arc<Host>, mut incoming: mpsc::Receiver<Bytes>, told: mpsc::Sender<Vec<u8>>) {
    let mut conversation = Conversation {
        host,
        told,
        attachment: None,
        is_initialized: false,
        handles: Handles::default(),
        beside: JoinSet::new(),
    };
    loop {
        let message = tokio::select! {
            message = incoming.recv() => message,
            () = conversation.told.closed() => None,
        };
        let Some(message) = message else { return };
        let message = match Message::decode(&message) {
            Ok(message) => message,
            Err(error) => return tracing::warn!(%error, "the server sent something unreadable"),
        };
        match message {
            Message::Request { id, method, params } => conversation.request(id, &method, &params).await,
            Message::Notification { method, .. } if method == Initialized::NAME => {
                conversation.is_initialized = conversation.attachment.is_some();
            }
            Message::Notification { method, .. } => tracing::debug!(method, "an unknown notification"),
            Message::Response { .. } | Message::Failure { .. } => {
                tracing::debug!("an answer that nobody asked for");
            }
        }
    }
}

impl Conversation {
    async fn request(&mut self, id: RequestId, method: &str, params: &Params) {
        if self.beside.len() >= BESIDE_MAX {
            self.beside.join_next().await;
        }
        while self.beside.try_join_next().is_some() {}
        let result = match (method, self.is_initialized) {
            (Initialize::NAME, _) => self.initialize(params),
            (_, false) => Err(Failure::new(
                INVALID_REQUEST,
                "send `initialize`, then `initialized`, before anything else",
            )),
            (Read::NAME, true) => return self.read(id, params),
            (Request::NAME, true) => return self.http(id, params),
            (method, true) if method.starts_with("fs/") => self.file(method, params).await,
            (method, true) => self.process(method, params).await,
        };
        answer(&self.told, id, result).await;
    }

    fn initialize(&mut self, params: &Params) -> Result<Params, Failure> {
        if self.attachment.is_some() {
            return Err(Failure::new(INVALID_REQUEST, "`initialize` may be sent once"));
        }
        let initialize: Initialize = params.read()?;
        let attachment = self.host.attach(initialize.resume_session_id.as_deref(), self.told.clone())?;
        let session_id = attachment.session().id().to_owned();
        tracing::info!(session_id, client = initialize.client_name, "a session is attached");
        self.attachment = Some(attachment);
        give(&SessionOpened { session_id })
    }

    /// The session of a conversation that is initialized.
    fn session(&self) -> Result<&Arc<super::session::Session>, Failure> {
        let missing = || Failure::new(INVALID_REQUEST, "send `initialize` first");
        self.attachment.as_ref().map(Attachment::session).ok_or_else(missing)
    }

    async fn process(&mut self, method: &str, params: &Params) -> Result<Params, Failure> {
        let session = self.session()?;
        match method {
            Environment::NAME => give(&self.info()?),
            Start::NAME => {
                let start: Start = params.read()?;
                Process::start(&self.host, session, &start).await?;
                give(&Started { process_id: start.process_id })
            }
            Write::NAME => {
                let write: Write = params.read()?;
                let status = match session.process(&write.process_id) {
                    Some(process) => process.write(write)?,
                    None => WriteStatus::UnknownProcess,
                };
                give(&Written { status })
            }
            Send::NAME => {
                let send: Send = params.read()?;
                session.known(&send.process_id)?.send(send.signal)?;
                give(&Nothing {})
            }
            Terminate::NAME => {
                let terminate: Terminate = params.read()?;
                let running =
                    session.process(&terminate.process_id).is_some_and(|process| process.terminate());
                give(&Terminated { running })
            }
            _ => Err(Failure::new(METHOD_NOT_FOUND, format!("unknown method `{method}`"))),
        }
    }

    async fn file(&mut self, method: &str, params: &Params) -> Result<Params, Failure> {
        let files = &self.host.files;
        match method {
            ReadFile::NAME => give(&files.read(&confined::<ReadFile>(params)?.path).await?),
            WriteFile::NAME => {
                files.write(confined(params)?).await?;
                give(&Nothing {})
            }
            CreateDirectory::NAME => {
                files.create_directory(&confined(params)?).await?;
                give(&Nothing {})
            }
            Metadata::NAME => give(&files.metadata(&confined::<Metadata>(params)?.path).await?),
            Canonicalize::NAME => give(&files.canonicalize(&confined::<Canonicalize>(params)?.path).await?),
            ReadDirectory::NAME => give(&files.list(&confined::<ReadDirectory>(params)?.path).await?),
            Walk::NAME => {
                let walk: Walk = confined(params)?;
                give(&files.walk(&walk.path, walk.options).await?)
            }
            Remove::NAME => {
                files.remove(&confined(params)?).await?;
                give(&Nothing {})
            }
            Copy::NAME => {
                files.copy(&confined(params)?).await?;
                give(&Nothing {})
            }
            Open::NAME => {
                let open: Open = confined(params)?;
                files.open_handle(&mut self.handles, &open.handle_id, &open.path).await?;
                give(&Opened { handle_id: open.handle_id })
            }
            ReadBlock::NAME => {
                let block: ReadBlock = params.read()?;
                give(&self.handles.read(&block.handle_id, block.offset, block.len).await?)
            }
            Close::NAME => {
                let close: Close = params.read()?;
                self.handles.close(&close.handle_id);
                give(&Nothing {})
            }
            _ => Err(Failure::new(METHOD_NOT_FOUND, format!("unknown method `{method}`"))),
        }
    }

    fn read(&mut self, id: RequestId, params: &Params) {
        let found = params.read::<Read>().map_err(Failure::from).and_then(|read| {
            let process = self.session()?.known(&read.process_id)?;
            Ok((read, process))
        });
        let told = self.told.clone();
        self.beside.spawn(async move {
            let result = match found {
                Ok((read, process)) => give(&process.read(&read).await),
                Err(failure) => Err(failure),
            };
            answer(&told, id, result).await;
        });
    }

    fn http(&mut self, id: RequestId, params: &Params) {
        let request = params.read::<Request>().map_err(Failure::from);
        let (host, told) = (Arc::clone(&self.host), self.told.clone());
        self.beside.spawn(async move {
            let request = match request {
                Ok(request) => request,
                Err(failure) => return answer(&told, id, Err(failure)).await,
            };
            let request_id = request.request_id.clone();
            match host.client.request(request).await {
                Err(failure) => answer(&told, id, Err(failure)).await,
                Ok((head, rest)) => {
                    answer(&told, id, give(&head)).await;
                    if let Some(rest) = rest {
                        let each = |delta| tell(told.clone(), delta);
                        outgoing::stream(rest, &request_id, each).await;
                    }
                }
            }
        });
    }

    fn info(&self) -> Result<EnvironmentInfo, Failure> {
        let path = self.host.variables.get("SHELL").map_or("/bin/sh", String::as_str);
        let name = path.rsplit('/').next().unwrap_or(path);
        let shell = Shell { name: name.to_owned(), path: path.to_owned() };
        let cwd = Location::from_path(self.host.files.root())
            .map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
        Ok(EnvironmentInfo { shell, cwd: Some(cwd) })
    }
}

/// Parameters of an operation on files, unless they ask for a confinement that is not offered.
fn confined<T: DeserializeOwned + AsConfined>(params: &Params) -> Result<T, Failure> {
    let params: T = params.read()?;
    if params.is_confined() {
        return Err(Failure::new(
            INVALID_REQUEST,
            "this executor has no sandbox, and `sandbox` asks for one",
        ));
    }
    Ok(params)
}

/// What may ask for a confinement.
trait AsConfined {
    fn is_confined(&self) -> bool;
}

macro_rules! as_confined {
    ($($name:ident),*) => {
        $(impl AsConfined for $name {
            fn is_confined(&self) -> bool {
                self.sandbox.is_some()
            }
        })*
    };
}

as_confined!(
    Canonicalize,
    Copy,
    CreateDirectory,
    Metadata,
    Open,
    ReadDirectory,
    ReadFile,
    Remove,
    Walk,
    WriteFile
);

fn give(value: &impl Serialize) -> Result<Params, Failure> {
    Params::of(value).map_err(|error| Failure::new(INTERNAL, error.to_string()))
}

async fn answer(told: &mpsc::Sender<Vec<u8>>, id: RequestId, result: Result<Params, Failure>) {
    let message = match result {
        Ok(result) => Message::Response { id, result },
        Err(error) => Message::Failure { id, error },
    };
    if let Ok(bytes) = message.encode() {
        // Nobody takes it any more: the conversation is over.
        let _ = told.send(bytes).await;
    }
}

async fn tell<M: Method>(told: mpsc::Sender<Vec<u8>>, params: M) {
    if let Ok(bytes) = Message::notification(&params).and_then(Message::encode) {
        let _ = told.send(bytes).await;
    }
}
