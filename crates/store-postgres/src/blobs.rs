//! Where payloads are: in the database, or beside it in an object store.
//!
//! An object is whole and durable before its row is committed, so a row without its object is damage. The
//! reverse, an object whose row was never committed, costs space and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tenure_journal::{BlobRef, ProjectId};
use tenure_store::{StoreError, StoreErrorKind};
use tokio::time::timeout;

use crate::error::{damaged, unavailable};

/// How long writing or reading one object may take, its repetitions included.
const OBJECT_DEADLINE: Duration = Duration::from_secs(60);

/// Where payloads are kept.
#[derive(Debug, Clone, Default)]
pub enum BlobPlace {
    /// In the database.
    #[default]
    Database,
    /// As files of a directory that all nodes share. It must exist.
    Directory(PathBuf),
    /// In a bucket of an S3-compatible object store. The process must have chosen its default provider of
    /// `rustls` cryptography.
    #[cfg(feature = "s3")]
    S3(S3),
}

/// A bucket and how to reach it. Its debug form does not show the secret.
#[cfg(feature = "s3")]
#[derive(Clone)]
pub struct S3 {
    /// The bucket's name.
    pub bucket: String,
    /// The region; object stores that have none take any word.
    pub region: String,
    /// The address of an object store other than Amazon's. Plain `http` is taken as meant.
    pub endpoint: Option<String>,
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
}

#[cfg(feature = "s3")]
impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, region, endpoint, access_key_id, secret_access_key: _ } = self;
        f.debug_struct("S3")
            .field("bucket", bucket)
            .field("region", region)
            .field("endpoint", endpoint)
            .field("access_key_id", access_key_id)
            .finish_non_exhaustive()
    }
}

/// Payloads by project and reference.
#[derive(Debug, Clone)]
pub(crate) enum Blobs {
    /// In the column of their row.
    InRows,
    /// Each as an object.
    Objects(Arc<dyn ObjectStore>),
}

impl Blobs {
    pub(crate) fn open(place: &BlobPlace) -> Result<Self, StoreError> {
        match place {
            BlobPlace::Database => Ok(Self::InRows),
            BlobPlace::Directory(directory) => {
                let failed = |error| {
                    unavailable(format!("opening the blob directory `{}`", directory.display()))
                        .with_source(error)
                };
                let files = LocalFileSystem::new_with_prefix(directory).map_err(failed)?;
                Ok(Self::Objects(Arc::new(files.with_fsync(true))))
            }
            #[cfg(feature = "s3")]
            BlobPlace::S3(s3) => Ok(Self::Objects(Arc::new(bucket(s3)?))),
        }
    }

    /// Keeps the payload outside the database if that is its place, durable when it returns, and gives back
    /// what its row should hold.
    pub(crate) async fn put(
        &self,
        project: ProjectId,
        blob: BlobRef,
        payload: Bytes,
    ) -> Result<Option<Bytes>, StoreError> {
        let Self::Objects(objects) = self else { return Ok(Some(payload)) };
        let context = || format!("keeping the payload `{blob}`");
        match timeout(OBJECT_DEADLINE, objects.put(&place_of(project, blob), payload.into())).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error)) => Err(StoreError::new(kind(&error), context()).with_source(error)),
            Err(_) => Err(unavailable(context())),
        }
    }

    /// Removes the object of a payload. One that is not there is removed already.
    pub(crate) async fn remove(&self, project: ProjectId, blob: BlobRef) -> Result<(), StoreError> {
        let context = || format!("removing the payload `{blob}`");
        let Self::Objects(objects) = self else {
            return Err(unavailable(format!(
                "{}: it is in an object store that is not configured",
                context()
            )));
        };
        match timeout(OBJECT_DEADLINE / 2, objects.delete(&place_of(project, blob))).await {
            Ok(Ok(()) | Err(object_store::Error::NotFound { .. })) => Ok(()),
            Ok(Err(error)) => Err(StoreError::new(kind(&error), context()).with_source(error)),
            Err(_) => Err(unavailable(context())),
        }
    }

    /// The payload of a row that holds `in_row`, compared with its digest.
    pub(crate) async fn get(
        &self,
        project: ProjectId,
        blob: BlobRef,
        in_row: Option<Bytes>,
    ) -> Result<Bytes, StoreError> {
        let context = || format!("reading the payload `{blob}`");
        let payload = match (in_row, self) {
            (Some(payload), _) => payload,
            (None, Self::Objects(objects)) => {
                let read = async { objects.get(&place_of(project, blob)).await?.bytes().await };
                match timeout(OBJECT_DEADLINE, read).await {
                    Ok(Ok(payload)) => payload,
                    Ok(Err(error)) => return Err(StoreError::new(kind(&error), context()).with_source(error)),
                    Err(_) => return Err(unavailable(context())),
                }
            }
            (None, Self::InRows) => {
                return Err(unavailable(format!(
                    "{}: it is in an object store that is not configured",
                    context()
                )));
            }
        };
        if BlobRef::of(&payload) == blob { Ok(payload) } else { Err(damaged(context())) }
    }
}

#[cfg(feature = "s3")]
fn bucket(s3: &S3) -> Result<impl ObjectStore, StoreError> {
    let mut builder = object_store::aws::AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_access_key_id(&s3.access_key_id)
        .with_secret_access_key(&s3.secret_access_key);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    builder
        .build()
        .map_err(|error| unavailable(format!("opening the bucket `{}`", s3.bucket)).with_source(error))
}

/// Objects of one project are under its id; the colons of a reference are no good in file names everywhere.
fn place_of(project: ProjectId, blob: BlobRef) -> Path {
    Path::from_iter([project.to_string(), blob.to_string().replace(':', "-")])
}

/// A row says that the object is there, so its absence is damage. A full disk of a directory looks like any
/// other error of its files.
fn kind(error: &object_store::Error) -> StoreErrorKind {
    let is_full = |error: &(dyn std::error::Error + 'static)| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if is_full(error) {
            return StoreErrorKind::Full;
        }
        cause = error.source();
    }
    if matches!(error, object_store::Error::NotFound { .. }) {
        StoreErrorKind::Corrupt
    } else {
        StoreErrorKind::Unavailable
    }
}
