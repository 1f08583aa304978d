//! Certificates that are renewed while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::material::Material;
use super::{TlsError, TlsOptions};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often it is said that a certificate ends soon.
const REMIND: Duration = Duration::from_hours(24);

/// The certificates of now.
pub(in crate::service) struct Certificates {
    options: TlsOptions,
    current: RwLock<Material>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificates").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be used, or are over.
    pub(in crate::service) fn open(options: TlsOptions) -> Result<Self, TlsError> {
        let current = RwLock::new(Material::load(&options)?);
        Ok(Self { options, current })
    }

    /// What a new connection is made with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.config)
    }

    /// Reads them again whenever their files change, until the server stops.
    pub(in crate::service) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.stamps();
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut reminded: Option<Instant> = None;
        loop {
            if reminded.is_none_or(|at| at.elapsed() > REMIND) && self.remind() {
                reminded = Some(Instant::now());
            }
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => false,
                _ = asked => true,
            };
            let now = self.stamps();
            if told || now != seen {
                // Whether it can be used or not: it is looked at once.
                seen = now;
                self.reload();
                reminded = None;
            }
        }
    }

    fn reload(&self) {
        match Material::load(&self.options) {
            Ok(material) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = material;
                tracing::info!(
                    certificate = %self.options.certificate.display(),
                    "new connections use the certificate that was read again"
                );
            }
            Err(error) => tracing::error!(%error, "the certificate of before stays in use"),
        }
    }

    /// Says so where the certificate ends soon.
    fn remind(&self) -> bool {
        let days = self.current.read().unwrap_or_else(PoisonError::into_inner).ends_soon();
        if let Some(days) = days {
            let certificate = self.options.certificate.display();
            tracing::warn!(%certificate, days, "the certificate ends soon: renew it");
        }
        days.is_some()
    }

    /// What tells that a file is another one: its number, time and length.
    fn stamps(&self) -> Vec<Option<(u64, i64, i64, u64)>> {
        let files = [Some(&self.options.certificate), Some(&self.options.key)];
        let files = files.into_iter().chain([self.options.client_ca.as_ref()]).flatten();
        let stamp = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
        };
        files.map(stamp).collect()
    }
}
