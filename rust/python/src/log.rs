//! Log lines of the data plane, on standard error.

use pyo3::prelude::*;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::error::bad_value;

/// Sends the data plane's log lines to standard error; only the first call counts.
#[pyfunction]
pub(crate) fn log_to_stderr(level: &str) -> PyResult<()> {
    let level: LevelFilter = match level {
        "error" | "warn" | "info" | "debug" | "trace" => level.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| {
        bad_value(
            "level",
            level,
            "give one of error, warn, info, debug, trace",
        )
    })?;
    // boringtun calls a peer that stays away an error; for a server it is a Tuesday.
    let boringtun = match level {
        LevelFilter::DEBUG | LevelFilter::TRACE => level,
        _ => LevelFilter::OFF,
    };
    let filter = Targets::new()
        .with_default(level)
        .with_target("boringtun", boringtun);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_filter(filter);
    // An error here means that there is a subscriber already.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    Ok(())
}
