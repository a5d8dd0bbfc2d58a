// Random numbers without state: the twin of src/ops/random.rs, which explains them. Both agree bit for bit.

fn mix_bits(value: u32) -> u32 {
    var x = value;
    x = (x ^ (x >> 16u)) * 0x21f0aaadu;
    x = (x ^ (x >> 15u)) * 0x735a2d97u;
    return x ^ (x >> 15u);
}

fn random_key(step: u32, seed: u32, stream: u32) -> u32 {
    return mix_bits(mix_bits(mix_bits(seed ^ 0x9e3779b9u) + step) ^ (stream * 0x85ebca6bu));
}

fn random_draw(key: u32, index: u32) -> u32 {
    return mix_bits(mix_bits((index * 0x9e3779b1u) ^ key) + key);
}

// Uniform in [0, 1).
fn random_unit(bits: u32) -> f32 {
    return f32(bits >> 8u) * (1.0 / 16777216.0);
}

// The `random_unit` of element `index`, where every `of_stream` elements are counted from 0 and have their own stream.
fn random_of_streams(step: u32, seed: u32, stream: u32, of_stream: u32, index: u32) -> f32 {
    return random_unit(random_draw(random_key(step, seed, stream + index / of_stream), index % of_stream));
}

// Where `index` of 0..count goes in the shuffle of this seed and round; half: half the number of bits of the range.
fn random_permute(index: u32, count: u32, half: u32, seed: u32, round: u32) -> u32 {
    if count <= 1u {
        return 0u;
    }
    let mask = (1u << half) - 1u;
    let key = random_key(round, seed, 0x5EEDu);
    var x = index;
    loop {
        var left = x >> half;
        var right = x & mask;
        for (var i = 0u; i < 4u; i++) {
            let next = left ^ (random_draw(key + i, right) & mask);
            left = right;
            right = next;
        }
        x = (left << half) | right;
        if x < count {
            break;
        }
    }
    return x;
}
