//! Looking inside a classifier on the GPU shows what it shows on the CPU.

use std::sync::Arc;

use inkgrad::data::mnist;
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::infer::Look;
use inkgrad::infer::look::{FIELD, Neighbours, Pass, Wanted};
use inkgrad::models::ModelFile;

use crate::golden::gpu;

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    let scale = a.iter().fold(1e-3f32, |scale, x| scale.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

#[test]
fn both_devices_look_at_a_digit_alike() {
    let test = "both_devices_look_at_a_digit_alike";
    for name in ["best", "fast", "dense"] {
        let Some(gpu) = gpu(test) else { return };
        let file = ModelFile::shipped(name).unwrap();
        let set = Arc::new(mnist::embedded().unwrap().test.select(&(0..70).collect::<Vec<_>>()));
        let digit = set.image(3);
        let field: Vec<u8> = (0..FIELD * FIELD).map(|i| digit[i / FIELD / 16 * 28 + i % FIELD / 16]).collect();
        let show = |device: Box<dyn Device>| {
            let mut look = Look::open(device, &file).unwrap();
            let wanted = Wanted { activations: true, saliency: Some(0) };
            let passes: Vec<Pass> = vec![
                look.field(&field, wanted).unwrap(),
                look.picture(digit, wanted).unwrap(),
                look.field(&field, Wanted::default()).unwrap(),
            ];
            let falls = look.occlusion(digit, 0, 7, 5).unwrap();
            let mut index = Neighbours::begin(&look, Arc::clone(&set)).unwrap();
            while index.advance(&mut look).unwrap() {}
            let nearest: Vec<usize> = index.nearest(&passes[0].features, 3).into_iter().map(|(i, _)| i).collect();
            (passes, falls, nearest, look.device_name())
        };
        let (ours, theirs) = (show(Box::new(Cpu::new())), show(Box::new(gpu)));
        eprintln!("{name} on {}: {:.1} ms a reading", theirs.3, theirs.0[2].seconds * 1e3);
        for (a, b) in ours.0.iter().zip(&theirs.0) {
            for (what, a, b) in [
                ("picture", &a.picture, &b.picture),
                ("logits", &a.logits, &b.logits),
                ("features", &a.features, &b.features),
                ("saliency", &a.saliency, &b.saliency),
            ] {
                let apart = apart(a, b);
                assert!(apart < 1e-3, "{name}: {what} off by {apart}");
            }
            for (layer, (a, b)) in a.activations.iter().zip(&b.activations).enumerate() {
                let apart = apart(a, b);
                assert!(apart < 1e-3, "{name}: layer {layer} off by {apart}");
            }
        }
        assert!(apart(&ours.1, &theirs.1) < 1e-3, "{name}: occlusion");
        assert_eq!((ours.2[0], &ours.2), (3, &theirs.2), "{name}: neighbours");
    }
}
