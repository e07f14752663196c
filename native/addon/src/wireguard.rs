//! `WireguardDevice` of index.d.ts: conversions only. All of it runs on threads of libuv's pool, so
//! that JavaScript never waits for the kernel.

use crate::error::to_js;
use edge_wireguard::{Delta, Device, Error, Options, link_mtu_to};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;
use std::sync::{Arc, Mutex, PoisonError};

type Shared = Arc<Mutex<Device>>;
type Ask = Box<dyn FnOnce(&mut Device) -> std::result::Result<String, Error> + Send>;

/// A device that was opened.
#[napi]
pub struct WireguardDevice {
    device: Shared,
}

pub struct Opening(String);

impl Task for Opening {
    type Output = Device;
    type JsValue = WireguardDevice;

    fn compute(&mut self) -> Result<Device> {
        let options = Options::parse(&self.0).map_err(to_js)?;
        Device::open(options).map_err(to_js)
    }

    fn resolve(&mut self, _: Env, device: Device) -> Result<WireguardDevice> {
        let device = Arc::new(Mutex::new(device));
        Ok(WireguardDevice { device })
    }
}

/// One question to a device; they are answered one after the other.
pub struct Asking(Shared, Option<Ask>);

impl Task for Asking {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let mut device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.1.take() {
            Some(ask) => ask(&mut device).map_err(to_js),
            None => Ok(String::new()),
        }
    }

    fn resolve(&mut self, _: Env, answer: String) -> Result<String> {
        Ok(answer)
    }
}

#[napi]
pub fn open_wireguard(options: String) -> AsyncTask<Opening> {
    AsyncTask::new(Opening(options))
}

#[napi]
impl WireguardDevice {
    #[napi]
    pub fn apply(&self, delta: String) -> AsyncTask<Asking> {
        self.ask(move |device| device.apply(Delta::parse(&delta)?))
    }

    #[napi]
    pub fn stats(&self) -> AsyncTask<Asking> {
        self.ask(|device| device.stats())
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Asking> {
        self.ask(|device| {
            device.close();
            Ok(String::new())
        })
    }

    fn ask(
        &self,
        ask: impl FnOnce(&mut Device) -> std::result::Result<String, Error> + Send + 'static,
    ) -> AsyncTask<Asking> {
        AsyncTask::new(Asking(Arc::clone(&self.device), Some(Box::new(ask))))
    }
}

pub struct MtuAsking(String);

impl Task for MtuAsking {
    type Output = Option<u32>;
    type JsValue = Option<u32>;

    fn compute(&mut self) -> Result<Option<u32>> {
        link_mtu_to(&self.0).map_err(to_js)
    }

    fn resolve(&mut self, _: Env, mtu: Option<u32>) -> Result<Option<u32>> {
        Ok(mtu)
    }
}

#[napi]
pub fn link_mtu(address: String) -> AsyncTask<MtuAsking> {
    AsyncTask::new(MtuAsking(address))
}
