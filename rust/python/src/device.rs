//! The device as Python sees it. No call holds the GIL while it waits.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use wgbind_device::{Delivery, DeviceChange, DeviceConfig, Ended, Features, Handed};
use wgbind_tunnel::TunnelChange;

use crate::change::{PeerChange, parse_u16};
use crate::error::{bad_value, from_device, raise};
use crate::event::{Event, from_delivery};
use crate::foreign::ForeignChanges;
use crate::hub::Hub;
use crate::key::{PrivateKey, PublicKey};
use crate::status::DeviceStatus;

/// How long a wait goes without a look at Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// A TUN interface, its UDP sockets and its worker threads, without addresses and routes.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct Device(wgbind_device::Device);

#[pymethods]
impl Device {
    #[new]
    #[pyo3(signature = (name, *, mtu = 1420, control_socket = true, workers = None,
        without = Vec::new(), tun_fd = None, control_fd = None), text_signature = "(name, *, \
        mtu=1420, control_socket=True, workers=None, without=(), tun_fd=None, control_fd=None)")]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python constructor"
    )]
    fn new(
        py: Python<'_>,
        name: String,
        mtu: i64,
        control_socket: bool,
        workers: Option<i64>,
        without: Vec<String>,
        tun_fd: Option<i32>,
        control_fd: Option<i32>,
    ) -> PyResult<Self> {
        // What `ip link set mtu` takes for a TUN device: 68 to 65535 less the virtio header.
        let mtu = parse_u16("mtu", mtu)?;
        let workers = workers.map(parse_workers).transpose()?;
        let config = DeviceConfig {
            name,
            mtu,
            control_socket,
            workers,
            features: Features::without(&without).map_err(|error| from_device(&error))?,
        };
        let handed = Handed::duplicate(tun_fd, control_fd).map_err(|error| from_device(&error))?;
        py.detach(|| wgbind_device::Device::open_handed(&config, handed))
            .map(Self)
            .map_err(|error| from_device(&error))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[pyo3(signature = (
        *,
        private_key = None,
        listen_port = None,
        fwmark = None,
        hub = None,
        replace_peers = false,
        peers = Vec::new(),
    ), text_signature = "($self, *, private_key=None, listen_port=None, fwmark=None, \
        hub=None, replace_peers=False, peers=())")]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python method"
    )]
    fn set(
        &self,
        py: Python<'_>,
        private_key: Option<&PrivateKey>,
        listen_port: Option<i64>,
        fwmark: Option<i64>,
        hub: Option<&Hub>,
        replace_peers: bool,
        peers: Vec<PyRef<'_, PeerChange>>,
    ) -> PyResult<()> {
        let listen_port = listen_port
            .map(|port| parse_u16("listen_port", port))
            .transpose()?;
        let fwmark = fwmark
            .map(|mark| {
                u32::try_from(mark).map_err(|_| {
                    bad_value(
                        "fwmark",
                        &mark.to_string(),
                        "give a whole number from 0 to 4294967295",
                    )
                })
            })
            .transpose()?;
        let change = DeviceChange {
            listen_port,
            fwmark,
            tunnel: TunnelChange {
                private_key: private_key.map(|key| Some(key.0.clone())),
                hub: hub.map(|hub| hub.0.clone()),
                replace_peers,
                peers: peers.iter().map(|peer| peer.0.clone()).collect(),
                ..TunnelChange::default()
            },
        };
        py.detach(|| self.0.set(change))
            .map_err(|error| from_device(&error))
    }

    #[getter]
    fn changes(&self) -> u64 {
        self.0.changes()
    }

    #[pyo3(signature = (peers = None), text_signature = "($self, peers=None)")]
    fn status(
        &self,
        py: Python<'_>,
        peers: Option<Vec<PyRef<'_, PublicKey>>>,
    ) -> PyResult<DeviceStatus> {
        let keys = peers.map(|peers| peers.iter().map(|key| key.0).collect::<Vec<_>>());
        py.detach(|| keys.map_or_else(|| self.0.snapshot(), |keys| self.0.snapshot_of(&keys)))
            .map(DeviceStatus::from)
            .map_err(|error| from_device(&error))
    }

    #[pyo3(signature = (timeout = None))]
    fn events(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<Event>> {
        let delivery = until(py, timeout, |step| {
            let delivery = self.0.events(Some(step));
            let nothing = |delivery: &Delivery| delivery.events.is_empty();
            (!delivery.as_ref().is_ok_and(nothing)).then_some(delivery)
        })?;
        match delivery {
            None => Ok(Vec::new()),
            Some(delivery) => delivery
                .map(from_delivery)
                .map_err(|error| from_device(&error)),
        }
    }

    fn take_foreign(&self) -> Option<ForeignChanges> {
        let found = self.0.take_foreign();
        (!found.is_empty()).then_some(ForeignChanges(found))
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<&'static str>> {
        match until(py, timeout, |step| self.0.wait(Some(step)))? {
            None => Ok(None),
            Some(Ended::Closed) => Ok(Some("closed")),
            Some(Ended::InterfaceRemoved) => Ok(Some("interface removed")),
            Some(Ended::SocketRemoved) => Ok(Some("control socket removed")),
            Some(Ended::Failed(message)) => Err(raise("DeviceError", message)),
        }
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc_value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("Device(name={:?})", self.0.name())
    }
}

fn parse_workers(value: i64) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| {
        bad_value(
            "workers",
            &value.to_string(),
            "give a whole number from 1 to 16",
        )
    })
}

/// Waits step by step, with looks at Ctrl-C in between, until `wait` returns something or `timeout`
/// seconds are over.
fn until<T: Send>(
    py: Python<'_>,
    timeout: Option<f64>,
    mut wait: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let deadline = timeout
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds.max(0.0))
                .map_err(|_| bad_value("timeout", &seconds.to_string(), "give seconds"))
        })
        .transpose()?
        .and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let step = left.map_or(SIGNAL_INTERVAL, |left| left.min(SIGNAL_INTERVAL));
        if let Some(found) = py.detach(|| wait(step)) {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= step) {
            return Ok(None);
        }
    }
}
