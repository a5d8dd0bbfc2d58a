//! Panics inside wgpu, turned into errors.
//!
//! If a driver reports during a wait that the device is gone, `Device::poll` panics instead of returning that: its
//! error type has no variant for it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `f` returns, or the message that it panicked with, which is not printed.
pub fn caught<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    // `f` may leave a device half changed, but that is not used again.
    let result = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("it failed without a word").split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text_and_what_follows_is_caught_as_well() {
        assert_eq!(caught(|| 3), Ok(3));
        let gone = "the device";
        assert_eq!(caught(|| -> u32 { panic!("lost:\n  {gone}") }), Err("lost: the device".into()));
        assert_eq!(caught(|| -> u32 { panic!("again") }), Err("again".into()));
        assert!(!QUIET.get());
    }
}
