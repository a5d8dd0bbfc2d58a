//! Where a network computes something else than PyTorch's layers of the same sizes do by default.

use super::input_of;
use super::pairing::both;
use crate::models::{Built, Conv, Kind, Network, Nonlinearity};
use crate::ops::conv2d::Padding;

/// What a PyTorch module of these layers has to state, as no tensor shows it: `bn1 and bn2: nn.BatchNorm2d(...,
/// eps=0.001)`. A module without it gives other answers, in silence.
pub fn differences(network: &Network) -> Vec<String> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for layer in &network.layers {
        let stated = [of_kind(layer, input_of(network, layer)), of_activation(layer)];
        for remedy in stated.into_iter().flatten() {
            match found.iter_mut().find(|(other, _)| *other == remedy) {
                Some((_, names)) => names.push(layer.name.as_str()),
                None => found.push((remedy, vec![layer.name.as_str()])),
            }
        }
    }
    found.iter().map(|(remedy, names)| format!("{}: {remedy}", both(names))).collect()
}

fn of_kind(layer: &Built, input: &[usize]) -> Option<String> {
    match (&layer.spec.kind, input) {
        (Kind::BatchNorm { epsilon, .. }, _) if *epsilon != 1e-5 => {
            let class = if input.len() == 1 { "BatchNorm1d" } else { "BatchNorm2d" };
            Some(format!("nn.{class}(..., eps={epsilon}); the default is 0.00001"))
        }
        (Kind::Conv(conv), &[h, w, _]) if conv.padding == Padding::Same => padded(conv, [h, w]),
        (Kind::ConvTransposed(conv), &[h, w, _]) if conv.padding == Padding::Same => cut(conv, [h, w]),
        _ => None,
    }
}

fn of_activation(layer: &Built) -> Option<String> {
    match layer.spec.activation {
        Some(Nonlinearity::LeakyRelu(slope)) if slope != 0.01 => {
            Some(format!("nn.LeakyReLU({slope}); the default is 0.01"))
        }
        _ => None,
    }
}

/// A convolution that pads one side more than the other: `nn.Conv2d` with a number pads both alike.
fn padded(conv: &Conv, [h, w]: [usize; 2]) -> Option<String> {
    let [r, s] = conv.kernel;
    let ([top, bottom], [left, right]) = (around(h, r, conv.stride)?, around(w, s, conv.stride)?);
    if top == bottom && left == right {
        return None;
    }
    Some(match conv.stride {
        1 => "nn.Conv2d(..., padding=\"same\")".into(),
        _ => format!(
            "F.pad(x, ({left}, {right}, {top}, {bottom})) before nn.Conv2d(..., padding=0), which by itself pads both \
             sides alike"
        ),
    })
}

/// The zeros before and after `size` rows, or columns, that are padded by `same`.
fn around(size: usize, kernel: usize, stride: usize) -> Option<[usize; 2]> {
    let (count, before) = Padding::Same.resolve(size, kernel, stride)?;
    let all = ((count - 1) * stride + kernel).saturating_sub(size);
    Some([before, all - before])
}

/// A transposed convolution whose result is cut more on one side than on the other, or is extended.
fn cut(conv: &Conv, [h, w]: [usize; 2]) -> Option<String> {
    let [r, s] = conv.kernel;
    let (p, top) = Padding::Same.resolve_transposed(h, r, conv.stride)?;
    let (q, left) = Padding::Same.resolve_transposed(w, s, conv.stride)?;
    if r == conv.stride + 2 * top && s == conv.stride + 2 * left {
        return None;
    }
    let [below, beside] = conv.kernel.map(|size| conv.stride.saturating_sub(size));
    Some(format!(
        "nn.ConvTranspose2d(..., padding=({top}, {left}), output_padding=({below}, {beside})), and of its result \
         x[..., :{p}, :{q}]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Store;
    use crate::models::Architecture;

    fn told(layers: &str) -> Vec<String> {
        let text = format!("layers = [{layers}, \"flatten\", {{ dense = \"classes\" }}]");
        let architecture = Architecture::parse(&text, "net.toml").unwrap();
        differences(&architecture.declare([28, 28, 1], 10, &mut Store::default(), "classifier").unwrap().0)
    }

    #[test]
    fn what_no_tensor_shows_is_told_once_for_all_layers_that_have_it() {
        let layers = r#"
            { conv = 4, kernel = 3, stride = 2, padding = "same", activation = "leaky_relu" },
            "batch_norm",
            { conv = 4, kernel = [2, 3], padding = "same", activation = "leaky_relu" },
            { conv_transposed = 4, kernel = 3, stride = 2, padding = "same" },
            { conv_transposed = 4, kernel = 1, stride = 2, padding = "same" },
            "batch_norm""#;
        assert_eq!(
            told(layers),
            [
                "conv1: F.pad(x, (0, 1, 0, 1)) before nn.Conv2d(..., padding=0), which by itself pads both sides alike",
                "conv1 and conv2: nn.LeakyReLU(0.2); the default is 0.01",
                "bn1 and bn2: nn.BatchNorm2d(..., eps=0.001); the default is 0.00001",
                "conv2: nn.Conv2d(..., padding=\"same\")",
                "conv_transposed1: nn.ConvTranspose2d(..., padding=(0, 0), output_padding=(0, 0)), and of its result \
                 x[..., :28, :28]",
                "conv_transposed2: nn.ConvTranspose2d(..., padding=(0, 0), output_padding=(1, 1)), and of its result \
                 x[..., :56, :56]",
            ]
        );
    }

    #[test]
    fn what_pytorch_does_by_default_is_not_told() {
        let layers = r#"
            { conv = 4, kernel = 3, padding = "same", activation = "leaky_relu", slope = 0.01 },
            { conv = 4, kernel = 2, stride = 2, padding = "same" },
            { conv = 4, kernel = 2, padding = 1 },
            { batch_norm = true, epsilon = 1e-5 },
            { conv_transposed = 4, kernel = 4, stride = 2, padding = "same" }"#;
        assert_eq!(told(layers), [""; 0]);
    }
}
