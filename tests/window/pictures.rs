//! The window's looks, compared with pictures of it: a change that nobody intended is seen.

use eframe::egui::{Key, vec2};

use super::harness::{SEVEN, Window};

/// Fonts and edges are painted a little differently by every driver: the pictures are lavapipe's.
fn is_lavapipe() -> bool {
    let list = inkgrad::device::list();
    let found = list.iter().any(|listed| listed.choice.name().contains("llvmpipe"));
    let others = list.iter().filter(|listed| listed.choice.adapter().is_some()).count();
    let only = found && others == list.iter().filter(|listed| listed.choice.name().contains("llvmpipe")).count();
    if !only {
        assert!(std::env::var_os("INKGRAD_REQUIRE_GPU").is_none() || others > 0, "no adapter to paint with");
        eprintln!("skipped: the pictures are of lavapipe, and the window would be painted by something else here");
    }
    only
}

#[test]
fn the_window_looks_as_it_did() {
    if !is_lavapipe() {
        return;
    }
    let mut window = Window::open("best");
    window.snapshot("draw-blank");
    window.draw(SEVEN);
    window.reads("7");
    window.snapshot("draw");
    window.key(Key::F2);
    window.until("the layers are there", |window| window.has("conv1 unit 3"));
    window.snapshot("inside");
    window.key(Key::F4);
    window.snapshot("train");
}

#[test]
fn two_models_fit_into_a_small_window() {
    if !is_lavapipe() {
        return;
    }
    let mut window = Window::sized("best", vec2(900.0, 600.0));
    window.app().shared().open_second(Some(std::path::Path::new("dense")));
    window.draw(SEVEN);
    window.reads_both("7");
    window.snapshot("draw-two");
}
