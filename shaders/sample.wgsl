// gather_images: out[i, ..] = (bytes of the image at i's row / 255 - MEAN) / STD, computed as bytes * SCALE + SHIFT
// gather_labels: out[i] = the label at i's row
//
// Position P = step * BATCH + i counts through all epochs. SHUFFLED: its row is that of P % ROWS in the shuffle
// of epoch P / ROWS. Otherwise its row is P; past the last row images are zero and labels 0xffffffff.
// Each image comes COPIES times: row v is image v / COPIES. WINDOWED: only its window of WINDOW_HEIGHT x WINDOW_WIDTH
// pixels at (TOP, LEFT) is seen, moved to place v % COPIES of those where it fits, ACROSS in a row; else COPIES is 1.
//
// STAGED: of the images there are only the batches of STEPS steps, in order, where a step is TICKS ticks of the clock.
//
// In gather_images a workgroup takes CHUNK elements of one image, so that an invocation finds its row once for many
// elements (where BY_FOUR, these are vectors of four, a word of bytes each); an image has SIZE elements. Elsewhere an
// invocation takes one element of `out`. COUNT: invocations.
#include random
#include flat

#if ENTRY_gather_images
@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
#if BY_FOUR
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#endif
#else
@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
#endif

// The row of the data set for place i of the batch; ROWS or more means none.
fn row_of(i: u32) -> u32 {
    let position = clock[0] * BATCH + i;
#if SHUFFLED
    return random_permute(position % ROWS, ROWS, HALF_BITS, clock[1], position / ROWS);
#else
    return position;
#endif
}

#if ENTRY_gather_images
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let g = flat_index(group);
    let i = g / CHUNKS;
    if i >= BATCH {
        return;
    }
    let row = row_of(i);
#if STAGED
    let image = (clock[0] / TICKS % STEPS) * BATCH + i;
#elif WINDOWED
    let image = row / COPIES;
#else
    let image = row;
#endif
    let first = (g % CHUNKS) * CHUNK;
    let last = min(first + CHUNK, SIZE);
    for (var e = first + local; e < last; e += WORKGROUP) {
#if BY_FOUR
        var v = vec4(0.0);
        if row < ROWS {
            let word = images[image * SIZE + e];
            let bytes = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u);
            v = vec4<f32>(bytes) * SCALE + SHIFT;
        }
#elif WINDOWED
        var v = 0.0;
        if row < ROWS {
            let place = row % COPIES;
            let pixel = e / CHANNELS;
            // The position in the window; above or left of it the difference wraps round to a large number.
            let y = pixel / WIDTH - place / ACROSS;
            let x = pixel % WIDTH - place % ACROSS;
            var byte = 0u;
            if y < WINDOW_HEIGHT && x < WINDOW_WIDTH {
                let at = image * SIZE + ((TOP + y) * WIDTH + LEFT + x) * CHANNELS + e % CHANNELS;
                byte = (images[at / 4u] >> (8u * (at % 4u))) & 255u;
            }
            v = f32(byte) * SCALE + SHIFT;
        }
#else
        var v = 0.0;
        if row < ROWS {
            let at = image * SIZE + e;
            let byte = (images[at / 4u] >> (8u * (at % 4u))) & 255u;
            v = f32(byte) * SCALE + SHIFT;
        }
#endif
        out[i * SIZE + e] = v;
    }
}
#else
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let row = row_of(i);
    out[i] = 0xffffffffu;
    if row < ROWS {
        out[i] = labels[row / COPIES];
    }
}
#endif
