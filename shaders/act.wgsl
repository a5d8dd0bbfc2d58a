// Activations and their derivatives; see src/ops/activation.rs.

// `x < 0` rather than `max`, which would turn NaN into 0.
fn act(x: f32) -> f32 {
#if ACT == 1
    return select(x, 0.0, x < 0.0);
#elif ACT == 2
    return select(x, SLOPE * x, x < 0.0);
#elif ACT == 3
    return 1.0 / (1.0 + exp(-x));
#elif ACT == 4
    // tanh overflows to NaN for large x on some drivers; it is 1 to f32 precision from 10 on. Not `clamp`, as above.
    return tanh(select(x, select(-10.0, 10.0, x > 0.0), abs(x) > 10.0));
#elif ACT == 5
    return select(SLOPE * x, 0.0, x < 0.0);
#else
    return x;
#endif
}

// The activation's derivative, from the activation's result y.
fn act_grad(y: f32) -> f32 {
#if ACT_GRAD == 1
    return select(0.0, 1.0, y > 0.0);
#elif ACT_GRAD == 2
    return select(SLOPE, 1.0, y > 0.0);
#elif ACT_GRAD == 3
    return y * (1.0 - y);
#elif ACT_GRAD == 4
    return 1.0 - y * y;
#elif ACT_GRAD == 5
    return select(0.0, SLOPE, y > 0.0);
#else
    return 1.0;
#endif
}
