//! Calls from native threads that tell JavaScript only that there is something to take.

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Result, Status};

/// What native code calls to wake: from any thread, also when the environment is gone, which then
/// hears nothing.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Calls the function without any value. Weak: it does not keep its environment alive.
pub fn weak(function: Function<(), ()>) -> Result<Wake> {
    let function: ThreadsafeFunction<(), (), (), Status, false, true> = function
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .build()?;
    Ok(Box::new(move || {
        let _ = function.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}
