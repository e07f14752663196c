//! `CarrierThread` of index.d.ts: conversions only.

use crate::error::to_js;
use crate::wake;
use edge_carrier::{Carriers, Event, Way};
use napi::bindgen_prelude::{AsyncTask, Buffer, Function};
use napi::{Env, Result, Task};
use napi_derive::napi;
use std::net::SocketAddr;
use std::sync::Arc;

/// Something that happened: `asks`, `opened`, `moved` or `ended`.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct CarrierEvent {
    pub kind: &'static str,
    pub carrier: u32,
    pub way: Option<&'static str>,
    pub identity: Option<Buffer>,
    pub remote: Option<String>,
    pub endpoint: Option<String>,
    pub reason: Option<String>,
    pub dropped: Option<f64>,
}

fn event_of(event: Event) -> CarrierEvent {
    match event {
        Event::Asks {
            carrier,
            way,
            identity,
            remote,
        } => CarrierEvent {
            kind: "asks",
            carrier,
            way: Some(name_of(way)),
            identity: Some(identity.to_vec().into()),
            remote: Some(remote.to_string()),
            ..CarrierEvent::default()
        },
        Event::Opened {
            carrier,
            endpoint,
            remote,
        } => CarrierEvent {
            kind: "opened",
            carrier,
            endpoint: Some(endpoint.to_string()),
            remote: Some(remote.to_string()),
            ..CarrierEvent::default()
        },
        Event::Moved { carrier, remote } => CarrierEvent {
            kind: "moved",
            carrier,
            remote: Some(remote.to_string()),
            ..CarrierEvent::default()
        },
        Event::Ended {
            carrier,
            reason,
            dropped,
        } => CarrierEvent {
            kind: "ended",
            carrier,
            reason: Some(reason),
            dropped: Some(dropped as f64),
            ..CarrierEvent::default()
        },
    }
}

fn name_of(way: Way) -> &'static str {
    match way {
        Way::H3 => "h3",
        Way::Tcp => "tcp",
    }
}

fn way_of(way: &str) -> Result<Way> {
    match way {
        "h3" => Ok(Way::H3),
        "tcp" => Ok(Way::Tcp),
        _ => Err(to_js(format!("way: {way}"))),
    }
}

fn address_of(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| to_js(format!("address: {text}")))
}

/// All carriers of a node.
#[napi]
pub struct CarrierThread {
    inner: Arc<Carriers>,
}

#[napi]
impl CarrierThread {
    #[napi(constructor)]
    pub fn new(options: String, wake: Function<(), ()>) -> Result<CarrierThread> {
        let inner = Carriers::new(&options, wake::weak(wake)?).map_err(to_js)?;
        Ok(CarrierThread {
            inner: Arc::new(inner),
        })
    }

    #[napi]
    pub fn serve(&self, way: String, port: u16) -> Result<u16> {
        self.inner.serve(way_of(&way)?, port).map_err(to_js)
    }

    #[napi]
    pub fn connect(&self, way: String, to: String, target: String, identity: &[u8]) -> Result<u32> {
        let identity = identity
            .try_into()
            .map_err(|_| to_js("identity: not 32 bytes"))?;
        let (to, target) = (address_of(&to)?, address_of(&target)?);
        Ok(self.inner.connect(way_of(&way)?, to, target, identity))
    }

    #[napi]
    pub fn admit(&self, carrier: u32, is_member: bool) {
        self.inner.admit(carrier, is_member);
    }

    #[napi]
    pub fn end(&self, carrier: u32) {
        self.inner.end(carrier);
    }

    #[napi]
    pub fn take(&self) -> Vec<CarrierEvent> {
        self.inner.take().into_iter().map(event_of).collect()
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Closing> {
        AsyncTask::new(Closing(Arc::clone(&self.inner)))
    }
}

/// It waits for what is left to say: not on JavaScript's thread.
pub struct Closing(Arc<Carriers>);

impl Task for Closing {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        self.0.close();
        Ok(())
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}
