//! `serve`: the service in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::config::{self, ServeArgs, Settings};
use super::error::CliError;
use super::output::{self, Output};
use crate::clock::SystemClock;
use crate::engine::{Engine, EngineOptions};
use crate::server::notify::Notifier;
use crate::server::{self, AdminPort, Observer, Phase, ServerConfig, telemetry};

/// The exit code of a service that did not end in order: that of a fault.
const ENDED_AT_ONCE: i32 = 4;

pub(super) async fn serve(args: ServeArgs, output: Output) -> Result<u8, CliError> {
    let in_force = args.in_force()?;
    let changed = config::changed(&in_force);
    let Settings {
        listen,
        admin_listen,
        admin_insecure,
        engine: options,
        server: bounds,
        log_levels,
        log_format,
    } = in_force.settings;
    telemetry::start(log_format, &log_levels)
        .map_err(|error| CliError::Input(error.to_string()))?;
    for setting in changed {
        tracing::info!("{setting}");
    }
    for variable in config::unknown(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!("{variable}");
    }
    let manager = Notifier::of_environment();
    let mut interruption = std::pin::pin!(interruption()?);
    hear_hangups()?;
    // The addresses first: a port that is taken is known at once, not after minutes of loading. The
    // admin port answers meanwhile.
    let listener = bind(listen).await?;
    let address = address_of(&listener)?;
    check(&bounds, address)?;
    let observer = Observer::new(bounds.slow_call);
    tokio::spawn({
        let observer = observer.clone();
        async move { observer.beat().await }
    });
    #[cfg(feature = "otlp")]
    trace(&observer)?;
    let admin = admin_listen.map(|address| open_admin_port(address, admin_insecure, &observer));
    let admin = admin.transpose()?;
    let scheme = if bounds.security.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    manager.status(&format!("reading what is kept; the port is {address}"));
    let opening = open_behind(listener, bounds.clone(), options);
    let (engine, listener) = tokio::select! {
        opened = manager.patiently(opening) => opened?,
        // Also where this is the first process of a container, which no signal ends by itself.
        () = &mut interruption => {
            manager.stopping("told to stop while starting", Duration::ZERO).await;
            return Ok(0);
        }
    };
    tokio::spawn(manager.clone().watch_over(engine.clone()));
    let admin = admin.as_ref().map(AdminPort::address);
    let end_within = bounds.drain_grace.saturating_add(bounds.drain);
    let told_to_stop = async {
        interruption.await;
        manager.stopping("ending what is open", end_within).await;
    };
    let serving = server::run_observed(engine.clone(), listener, bounds, &observer, told_to_stop);
    tokio::pin!(serving);
    // Nobody is told before it is true: what protects the service is read once more, and can be gone.
    let told = async {
        if observer.readiness().started().await == Phase::Serving {
            manager.ready(&format!("serving on {address}")).await;
            announce(scheme, address, admin, output)?;
        }
        Ok::<_, CliError>(())
    };
    let served = tokio::select! {
        biased;
        ended = &mut serving => ended,
        told = told => {
            told?;
            serving.await
        }
    };
    served.map_err(|error| CliError::Other(error.to_string()))?;
    manager.status("closing the log");
    manager.patiently_to_the_end(engine.shutdown()).await;
    #[cfg(feature = "otlp")]
    observer.end_traces();
    Ok(0)
}

/// Opens a store while the port says that it is being opened. Returns it with the port.
async fn open_behind(
    listener: TcpListener,
    bounds: ServerConfig,
    options: EngineOptions,
) -> Result<(Engine, TcpListener), CliError> {
    let port = || {
        let listener = listener.into_std()?;
        let both = (listener.try_clone()?, listener);
        Ok::<_, std::io::Error>((
            TcpListener::from_std(both.0)?,
            TcpListener::from_std(both.1)?,
        ))
    };
    let (meanwhile, listener) =
        port().map_err(|error| CliError::Other(format!("the port can't be used: {error}")))?;
    let (opened, told) = tokio::sync::oneshot::channel::<()>();
    let starting = tokio::spawn(async move {
        let told = async {
            let _ = told.await;
        };
        server::run_starting(meanwhile, &bounds, told).await
    });
    let engine = open(options).await?;
    let _ = opened.send(());
    match starting.await {
        Ok(Ok(())) => Ok((engine, listener)),
        Ok(Err(error)) => Err(CliError::Other(error.to_string())),
        Err(error) => Err(CliError::Other(error.to_string())),
    }
}

/// The variable that the standard of OpenTelemetry has for the address of a collector.
#[cfg(feature = "otlp")]
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Sends spans to a collector if the environment names one.
#[cfg(feature = "otlp")]
fn trace(observer: &Observer) -> Result<(), CliError> {
    let Ok(endpoint) = std::env::var(COLLECTOR) else {
        return Ok(());
    };
    let traced = observer.trace_to(&endpoint);
    traced.map_err(|error| CliError::Input(format!("{COLLECTOR}: {error}")))
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::Input(format!(
            "can't listen on {address}: {error}; choose another with --listen"
        ))
    })
}

pub(super) fn address_of(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener
        .local_addr()
        .map_err(|error| CliError::Other(format!("can't tell the address: {error}")))
}

/// Opens a store, which may take long, away from the threads that serve.
pub(super) async fn open(options: EngineOptions) -> Result<Engine, CliError> {
    let (sender, opened) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("open".into())
        .spawn(move || {
            let _ = sender.send(Engine::open(&options, Arc::new(SystemClock)));
        })
        .map_err(|error| CliError::Other(format!("can't start a thread: {error}")))?;
    match opened.await {
        Ok(Ok(engine)) => Ok(engine),
        Ok(Err(error)) => Err(CliError::Input(error.to_string())),
        Err(_) => Err(CliError::Other(
            "the store could not be opened: a fault of the program".into(),
        )),
    }
}

/// Whether what is to protect the service can be used, and is enough for the address.
pub(super) fn check(config: &ServerConfig, address: SocketAddr) -> Result<(), CliError> {
    server::check(config, address).map_err(|error| CliError::Input(error.to_string()))
}

fn open_admin_port(
    address: SocketAddr,
    insecure: bool,
    observer: &Observer,
) -> Result<AdminPort, CliError> {
    if !insecure && !address.ip().to_canonical().is_loopback() {
        return Err(CliError::Input(format!(
            "others than this machine can reach {address}, and the admin port asks nobody who they are: let it listen on the loopback, or give --admin-insecure if only those reach it who may"
        )));
    }
    let opened = std::net::TcpListener::bind(address)
        .and_then(|listener| AdminPort::open(listener, observer.clone()));
    let port = opened.map_err(|error| {
        CliError::Input(format!(
            "can't open the admin port on {address}: {error}; choose another with --admin-listen"
        ))
    })?;
    tracing::info!("metrics are on http://{}/metrics", port.address());
    Ok(port)
}

fn announce(
    scheme: &str,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    output: Output,
) -> Result<(), CliError> {
    if output.is_json() {
        let mut line = serde_json::json!({ "listening": address.to_string() });
        if let Some(admin) = admin {
            line["admin"] = admin.to_string().into();
        }
        return output::line(&line.to_string());
    }
    output::line(&format!("serving on {scheme}://{address}"))?;
    match admin {
        Some(admin) => output::line(&format!("metrics are on http://{admin}/metrics")),
        None => Ok(()),
    }
}

/// Makes SIGHUP, which asks for the files to be read again, end nothing from now on, also where there
/// are none, and before there is anything to read again.
fn hear_hangups() -> Result<(), CliError> {
    // Whoever has files listens as well. That it was listened for once is for good.
    let heard = signal(SignalKind::hangup());
    heard
        .map(drop)
        .map_err(|error| CliError::Other(format!("can't listen for signals: {error}")))
}

/// Listens from now on for being told to stop: what is returned resolves then. Who says it a second
/// time will not wait: then the process ends at once, as if it had been killed.
pub(super) fn interruption() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::Other(format!("can't listen for signals: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut told = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(async move {
        told().await;
        tokio::spawn(async move {
            told().await;
            tracing::warn!("told to stop again: ends at once; all that was acknowledged is kept");
            std::process::exit(ENDED_AT_ONCE);
        });
    })
}
