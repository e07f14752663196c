//! `Front` of index.d.ts: conversions only.

use crate::error::to_js;
use crate::wake;
use bytes::Bytes;
use edge_front::{Event, Then};
use napi::bindgen_prelude::{AsyncTask, Buffer, Function, Uint32Array};
use napi::{Env, Result, Task};
use napi_derive::napi;
use std::sync::Arc;

/// Something that happened: `asked`, `drained` or `gone`.
#[napi(object, object_from_js = false)]
pub struct FrontEvent {
    pub kind: &'static str,
    pub connection: u32,
    pub request: Option<FrontRequest>,
}

#[napi(object, object_from_js = false)]
pub struct FrontRequest {
    pub address: String,
    pub identity: Option<Buffer>,
    pub method: String,
    pub target: String,
    pub headers: Vec<String>,
    pub body: Buffer,
    pub keep_alive: bool,
}

/// Every byte its own character, as Node has the text of a head.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn event_of(event: Event) -> FrontEvent {
    let (kind, connection, request) = match event {
        Event::Drained(connection) => ("drained", connection, None),
        Event::Gone(connection) => ("gone", connection, None),
        Event::Asked(request) => ("asked", request.connection, Some(request)),
    };
    let request = request.map(|request| FrontRequest {
        address: request.address.to_string(),
        identity: request.identity.map(|key| key.to_vec().into()),
        method: latin1(&request.method),
        target: latin1(&request.target),
        headers: request
            .headers
            .iter()
            .flat_map(|header| [latin1(&header.name), latin1(&header.value)])
            .collect(),
        body: request.body.to_vec().into(),
        keep_alive: request.keep_alive,
    });
    FrontEvent {
        kind,
        connection,
        request,
    }
}

/// Where agents of a mesh come in.
#[napi]
pub struct Front {
    inner: Arc<edge_front::Front>,
}

#[napi]
impl Front {
    #[napi(constructor)]
    pub fn new(options: String, wake: Function<(), ()>) -> Result<Front> {
        let inner = edge_front::Front::new(&options, wake::weak(wake)?).map_err(to_js)?;
        Ok(Front {
            inner: Arc::new(inner),
        })
    }

    #[napi(getter)]
    pub fn address(&self) -> String {
        self.inner.address().to_string()
    }

    #[napi]
    pub fn take(&self, most: u32) -> Vec<FrontEvent> {
        let events = self.inner.take(most as usize);
        events.into_iter().map(event_of).collect()
    }

    #[napi]
    pub fn answer(&self, connection: u32, response: &[u8], keep: bool) {
        let then = if keep { Then::Keep } else { Then::Close };
        let response = Bytes::copy_from_slice(response);
        self.inner.answer(connection, response, then);
    }

    #[napi]
    pub fn open(&self, connection: u32, head: String) {
        self.inner.open(connection, Bytes::from(head.into_bytes()));
    }

    #[napi]
    pub fn tell(
        &self,
        connections: Uint32Array,
        ends: Uint32Array,
        own: &[u8],
        shared: &[u8],
    ) -> Result<Vec<u32>> {
        let own = Bytes::copy_from_slice(own);
        let mut begin = 0;
        let parts = ends.iter().map(|end| {
            let range = begin..*end as usize;
            begin = range.end;
            let fits = range.start <= range.end && range.end <= own.len();
            fits.then(|| own.slice(range))
        });
        let parts: Option<Vec<Bytes>> = parts.collect();
        let parts = parts.ok_or_else(|| to_js("ends: beyond the bytes"))?;
        let to = connections.iter().copied().zip(parts);
        Ok(self.inner.tell(to, &Bytes::copy_from_slice(shared)))
    }

    #[napi]
    pub fn end(&self, connection: u32) {
        self.inner.end(connection);
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Closing> {
        AsyncTask::new(Closing(Arc::clone(&self.inner)))
    }
}

/// It waits for what is left to write: not on JavaScript's thread.
pub struct Closing(Arc<edge_front::Front>);

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
