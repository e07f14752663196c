//! `verifySignatures` of index.d.ts: conversions only.

use edge_front::{Signed, verify_each};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

#[napi(object, object_to_js = false)]
pub struct SignedText {
    pub key: Buffer,
    pub text: Buffer,
    pub signature: Buffer,
}

#[napi]
pub fn verify_signatures(all: Vec<SignedText>) -> Vec<bool> {
    let all: Vec<Signed> = all
        .into_iter()
        .map(|one| Signed {
            key: one.key.to_vec(),
            text: one.text.to_vec(),
            signature: one.signature.to_vec(),
        })
        .collect();
    verify_each(&all)
}
