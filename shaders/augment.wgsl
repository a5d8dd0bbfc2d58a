// out = x, f32 [BATCH, HEIGHT, WIDTH, CHANNELS], turned, moved, zoomed, sheared, bent, with a part erased and noise
// added, each image by its own draws or, if ALIKE, all by the same; src/ops/augment has the formulas. A place in the
// new picture is interpolated bilinearly, between its four neighbours, from
//   (x, y) = middle + MAP ((x', y') - middle - shift) + displacement(x', y')
// where displacement is a cubic B-spline over POINTS x POINTS random control points, one every CELL pixels.
//
// A workgroup takes CHUNK elements of one image: its invocations draw the control points together, and then each
// computes pairs of neighbouring elements, since noise comes in pairs. Unused transformations are not compiled.
#include random
#include flat

@group(0) @binding(0) var<storage, read> images: array<f32>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const SIZE: u32 = HEIGHT * WIDTH * CHANNELS;
// The indices of the first draws for the hole, the control points and the noise.
const FIRST_HOLE: u32 = 8u;
const FIRST_CONTROL: u32 = 16u;
const FIRST_NOISE: u32 = 128u;

#if ELASTIC
var<workgroup> controls: array<vec2<f32>, $(POINTS*POINTS)>;
#endif

// Cosine and sine of an angle in -pi..pi.
fn cos_sin(angle: f32) -> vec2<f32> {
    let t = 0.5 * angle;
    let q = t * t;
    let s = t * (1.0 - q * (1.0 / 6.0) * (1.0 - q * (1.0 / 20.0) * (1.0 - q * (1.0 / 42.0)
        * (1.0 - q * (1.0 / 72.0) * (1.0 - q * (1.0 / 110.0))))));
    let c = 1.0 - q * 0.5 * (1.0 - q * (1.0 / 12.0) * (1.0 - q * (1.0 / 30.0) * (1.0 - q * (1.0 / 56.0)
        * (1.0 - q * (1.0 / 90.0) * (1.0 - q * (1.0 / 132.0))))));
    return vec2(1.0 - 2.0 * s * s, 2.0 * s * c);
}

// The natural logarithm of a number above 0.
fn natural_log(x: f32) -> f32 {
    let bits = bitcast<i32>(x);
    let exponent = (bits - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(bits - (exponent << 23u));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
    return f32(exponent) * 0.6931472 + 2.0 * s * series;
}

// Uniform in -1..1.
fn either_way(key: u32, n: u32) -> f32 {
    return 2.0 * random_unit(random_draw(key, n)) - 1.0;
}

#if MOVES
struct Motion {
    map_x: vec2<f32>,
    map_y: vec2<f32>,
    // The middle of the new picture, in (x, y).
    middle: vec2<f32>,
}

fn motion(key: u32) -> Motion {
    let turn = cos_sin(TURN * either_way(key, 0u));
    let shift = vec2(SHIFT_X * either_way(key, 2u), SHIFT_Y * either_way(key, 1u));
    let zoom = 1.0 + ZOOM * either_way(key, 3u);
    let shear = cos_sin(SHEAR * either_way(key, 4u));
    let lean = shear.y / shear.x;
    let x = vec2(turn.x + lean * turn.y, lean * turn.x - turn.y) / zoom;
    let y = vec2(turn.y, turn.x) / zoom;
    var m = Motion(x, y, 0.5 * vec2(f32(WIDTH - 1u), f32(HEIGHT - 1u)) + shift);
#if QUARTERS
    switch random_draw(key, 5u) % 4u {
        case 1u: {
            m.map_x = -y;
            m.map_y = x;
        }
        case 2u: {
            m.map_x = -x;
            m.map_y = -y;
        }
        case 3u: {
            m.map_x = y;
            m.map_y = -x;
        }
        default: {
        }
    }
#endif
    return m;
}

fn pixel(image: u32, y: i32, x: i32, channel: u32) -> f32 {
    if y < 0 || x < 0 || y >= i32(HEIGHT) || x >= i32(WIDTH) {
        return BACKGROUND;
    }
    return images[image * SIZE + (u32(y) * WIDTH + u32(x)) * CHANNELS + channel];
}

#if ELASTIC
// The weights of the four control points that begin at a place's cell; t: how far the place is into the cell.
fn spline(t: f32) -> vec4<f32> {
    let q = t * t;
    let c = q * t;
    let u = 1.0 - t;
    return vec4(u * u * u, 3.0 * c - 6.0 * q + 4.0, 3.0 * (t + q - c) + 1.0, c) * (1.0 / 6.0);
}

fn displacement(y: u32, x: u32) -> vec2<f32> {
    let place = (vec2(f32(x), f32(y)) + 0.5) / CELL;
    let cell = min(vec2<u32>(place), vec2(CELLS - 1u));
    let across = spline(place.x - f32(cell.x));
    let down = spline(place.y - f32(cell.y));
    var sum = vec2(0.0);
    for (var j = 0u; j < 4u; j++) {
        let row = (cell.y + j) * POINTS + cell.x;
        sum += down[j] * (across.x * controls[row] + across.y * controls[row + 1u]
            + across.z * controls[row + 2u] + across.w * controls[row + 3u]);
    }
    return sum;
}
#endif
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let g = flat_index(group);
    let image = g / CHUNKS;
    if image >= BATCH {
        return;
    }
#if ALIKE
    let key = random_draw(random_key(0u, clock[1], STREAM), 0u);
#else
    let key = random_draw(random_key(clock[0], clock[1], STREAM), image);
#endif
#if ELASTIC
    for (var i = local; i < POINTS * POINTS; i += WORKGROUP) {
        let n = FIRST_CONTROL + 2u * i;
        controls[i] = REACH * vec2(either_way(key, n + 1u), either_way(key, n));
    }
    workgroupBarrier();
#endif
#if MOVES
    let m = motion(key);
    let middle = 0.5 * vec2(f32(WIDTH - 1u), f32(HEIGHT - 1u));
#endif
#if ERASES
    let hole_height = random_draw(key, FIRST_HOLE) % (HOLE_HEIGHT + 1u);
    let hole_width = random_draw(key, FIRST_HOLE + 1u) % (HOLE_WIDTH + 1u);
    let hole_top = random_draw(key, FIRST_HOLE + 2u) % (HEIGHT - hole_height + 1u);
    let hole_left = random_draw(key, FIRST_HOLE + 3u) % (WIDTH - hole_width + 1u);
#endif
    let first = (g % CHUNKS) * CHUNK;
    let last = min(first + CHUNK, SIZE);
    for (var pair = first / 2u + local; 2u * pair < last; pair += WORKGROUP) {
#if NOISY
        let u = random_unit(random_draw(key, FIRST_NOISE + 2u * pair));
        let v = random_unit(random_draw(key, FIRST_NOISE + 2u * pair + 1u));
        // 1 - u is in (0, 1], and exact.
        let noise = NOISE * sqrt(max(0.0, -2.0 * natural_log(1.0 - u))) * cos_sin(6.2831855 * (v - 0.5));
#endif
        for (var side = 0u; side < 2u; side++) {
            let e = 2u * pair + side;
            if e >= SIZE {
                break;
            }
            let y = e / CHANNELS / WIDTH;
            let x = e / CHANNELS % WIDTH;
#if MOVES
            let from_middle = vec2(f32(x), f32(y)) - m.middle;
            let moved = vec2(dot(m.map_x, from_middle), dot(m.map_y, from_middle)) + middle;
#if ELASTIC
            let displaced = moved + displacement(y, x);
#else
            let displaced = moved;
#endif
            // Everything beyond an image's border of background is background too. No variable: it would be set to 0
            // before the loop in HLSL, and Microsoft's old compiler takes such a one for a whole number, which it is not.
            let at = clamp(displaced, vec2(-1.0), vec2(f32(WIDTH), f32(HEIGHT)));
            let corner = floor(at);
            let share = at - corner;
            let place = vec2<i32>(corner);
            let channel = e % CHANNELS;
            let top_left = pixel(image, place.y, place.x, channel);
            let top_right = pixel(image, place.y, place.x + 1, channel);
            let bottom_left = pixel(image, place.y + 1, place.x, channel);
            let bottom_right = pixel(image, place.y + 1, place.x + 1, channel);
            let top = top_left + share.x * (top_right - top_left);
            let bottom = bottom_left + share.x * (bottom_right - bottom_left);
            var value = top + share.y * (bottom - top);
#else
            var value = images[image * SIZE + e];
#endif
#if ERASES
            if y - hole_top < hole_height && x - hole_left < hole_width {
                value = BLACK;
            }
#endif
#if NOISY
            value += noise[side];
#endif
            out[image * SIZE + e] = value;
        }
    }
}
