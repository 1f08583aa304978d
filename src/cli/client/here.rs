//! A database that this program opens itself, instead of asking a server for it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tonic::service::interceptor::InterceptedService;

use super::Client;
use super::proof::Bearer;
use crate::cli::serve::variables;
use crate::config::{Flag, Layered};
use crate::engine::{Db, DbOptions};
use crate::service::Local;

/// A database of this program.
#[derive(Debug)]
pub(in crate::cli) struct Here {
    services: Local,
    /// Rows outside the index from which it is built by itself.
    index_rows: Option<u64>,
}

impl Here {
    /// Its services.
    pub(in crate::cli) fn services(&self) -> &Local {
        &self.services
    }

    /// Rows outside the index from which it is built by itself; `None` for never.
    pub(in crate::cli) fn index_rows(&self) -> Option<u64> {
        self.index_rows
    }
}

impl Client {
    /// Opens the database of a directory, which no server may have open; it is made where it may be.
    pub(in crate::cli) async fn open(data: &Path, may_make: bool) -> Result<Self> {
        if !may_make && !data.is_dir() {
            bail!("there is no data directory {}; --create makes it", data.display());
        }
        let value = data.to_string_lossy().into_owned().into();
        let flag = Flag { word: "--data", key: "server.data", value };
        let settings = Layered::read(None, variables(), vec![flag])?.into_settings();
        // Whoever opens it says when: a build that this program's end cuts off would begin anew.
        let options = settings.db_options();
        let index_rows = options.auto_index_rows;
        let options = DbOptions { auto_index_rows: None, ..options };
        let services = settings.service_options(false)?;
        let opened = tokio::task::spawn_blocking(move || Db::open(options)).await?;
        let db = opened.with_context(|| format!("cannot open {}", data.display()))?;
        let services = Local::open(&services, db).await?;
        let channel = InterceptedService::new(services.channel(), Bearer::none());
        Ok(Self { channel, here: Some(Arc::new(Here { services, index_rows })) })
    }

    /// The database, where this program has it open.
    pub(in crate::cli) fn here(&self) -> Option<&Here> {
        self.here.as_deref()
    }

    /// Ends the connection; a database of this program is closed.
    pub(in crate::cli) async fn close(self) {
        let Self { channel, here } = self;
        drop(channel);
        if let Some(here) = here.and_then(Arc::into_inner) {
            here.services.close().await;
        }
    }
}
