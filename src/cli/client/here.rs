//! A database that this program opens itself, instead of asking a server for it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tonic::service::interceptor::InterceptedService;

use super::Client;
use super::proof::Bearer;
use crate::cli::failure::say;
use crate::cli::serve::variables;
use crate::config::{Flag, Layered};
use crate::engine::{Db, DbOptions, holds_database};
use crate::service::{Local, Telemetry, start_telemetry};

/// A database of this program.
#[derive(Debug)]
pub(in crate::cli) struct Here {
    services: Local,
    /// Rows outside the index from which a server builds it by itself.
    index_rows: Option<u64>,
    telemetry: Telemetry,
}

impl Here {
    /// Its services.
    pub(in crate::cli) fn services(&self) -> &Local {
        &self.services
    }

    /// Rows outside the index from which a server builds it by itself; `None` for never.
    pub(in crate::cli) fn index_rows(&self) -> Option<u64> {
        self.index_rows
    }
}

impl Client {
    /// Opens the database of a directory, which no server may have open; it is made where it may be. Settings are those of a
    /// server with this file of them.
    pub(in crate::cli) async fn open(
        data: &Path,
        config: Option<&Path>,
        may_make: bool,
    ) -> Result<Self> {
        if !may_make && !holds_database(data)? {
            let place = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
            bail!(
                "there is no database in {}: check the path; --create makes a new one",
                place.display()
            );
        }
        // What a server tells beside its work would be between the lines of this program.
        let level = Flag { word: "--data", key: "server.log", value: "warn".into() };
        let settings = Layered::read(config, variables(), vec![level])?.into_settings();
        let telemetry = start_telemetry(&settings.telemetry_options())?;
        let given = settings.db_options();
        let (services, index_rows) = (settings.service_options(false)?, given.auto_index_rows);
        // Nobody searches here while rows come: they are indexed at the end, and need not stay in memory until then.
        let options = DbOptions {
            data: data.to_owned(),
            keep_imports: false,
            auto_index_rows: None,
            ..given
        };
        let opened = tokio::task::spawn_blocking(move || Db::open(options)).await?;
        let hint = "a server that has it open is asked without --data";
        let db = opened.with_context(|| format!("cannot open {} here ({hint})", data.display()))?;
        if data.join("audit").is_dir() {
            say(
                "note: the audit log of this database is a server's: it will not tell of this import",
            );
        }
        let services = Local::open(&services, db).await?;
        let channel = InterceptedService::new(services.channel(), Bearer::none());
        Ok(Self { channel, here: Some(Arc::new(Here { services, index_rows, telemetry })) })
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
            let Here { services, telemetry, .. } = here;
            services.close().await;
            telemetry.end().await;
        }
    }
}
