// What conv2d.wgsl computes, on units that multiply EDGE x EDGE matrices of 16-bit numbers and add up in 32 bits: the
// LANES invocations of a subgroup do it together. TEAMS subgroups share a workgroup and the operands that it keeps.
//
// Each image is laid on a grid of GRID_H x GRID_W positions, all numbered in one row. The grid is larger than the image
// on it, with zeros around it, by so much that tap (i, j) of position g is at g + i * GRID_W + j, whatever the line:
// EDGE adjacent positions are the rows of a matrix for every tap alike. With STRIDE above 1 there are STRIDE grids in
// each direction, the phases: phase (a, b) has the pixels (y * STRIDE + a, x * STRIDE + b) and the taps
// (a + i * STRIDE, b + j * STRIDE), at most TAPS in a row.
//
// A row of the kept operands is PITCH vectors of four long, a little longer than its contents, so that rows begin in
// different memory banks. QUADS: EDGE / 4. The sums run over INNER channels; the result has OUTER channels, of which a
// workgroup takes COLUMN_TILES * EDGE.

enable f16;
enable wgpu_cooperative_matrix;

#include flat

#if EDGE == 16
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#else
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#endif

const GRID = GRID_H * GRID_W;
const INVOCATIONS = TEAMS * LANES;
const COLUMNS = COLUMN_TILES * EDGE;

// The row and column of position g in its grid.
fn on_grid(g: u32) -> vec2<u32> {
    return vec2(g / GRID_W % GRID_H, g % GRID_W);
}

// The row and column in the image of a grid position of a phase. Above and left of the image they wrap round, so they
// are past the end too.
fn in_image(at: vec2<u32>, phase: vec2<u32>) -> vec2<u32> {
    return at * STRIDE + phase - vec2(PAD_TOP, PAD_LEFT);
}

// A tile of results for each team, as it leaves the registers.
var<workgroup> finished: array<f32, TEAMS * EDGE * EDGE>;

#if ENTRY_grad_w

// A workgroup sums over the images of one part, for EDGE channels of the input and the taps of one row of the kernel.
// Each team takes EDGE of BLOCK positions at a time.
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> d_out: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// One window for each column of phases.
var<workgroup> window: array<vec4<f16>, PHASES * WINDOW * PITCH>;
var<workgroup> results: array<vec4<f16>, BLOCK * COLUMN_PITCH>;

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let flat = flat_index(group);
    let column = flat % COLUMN_GROUPS * COLUMNS;
    let c = flat / COLUMN_GROUPS % (INNER / EDGE) * EDGE;
    let r = flat / (COLUMN_GROUPS * (INNER / EDGE)) % R;
    let part = flat / (COLUMN_GROUPS * (INNER / EDGE) * R);
    let begin = min(part * IMAGES_PER_PART, N) * GRID;
    let end = min((part + 1u) * IMAGES_PER_PART, N) * GRID;
    let down = r / STRIDE * GRID_W;
#unroll s S
#unroll n COLUMN_TILES
    var acc$s_$n: Sums;
#endunroll
#endunroll

    for (var base = begin; base < end; base += BLOCK) {
        workgroupBarrier();
        for (var at = index; at < PHASES * WINDOW * QUADS; at += INVOCATIONS) {
            let row = at / QUADS;
            let quad = at % QUADS;
            let g = base + row % WINDOW + down;
            let pixel = in_image(on_grid(g), vec2(r % STRIDE, row / WINDOW));
            let inside = g < N * GRID && pixel.x < SOURCE_H && pixel.y < SOURCE_W;
            let at_source = ((g / GRID * SOURCE_H + pixel.x) * SOURCE_W + pixel.y) * (INNER / 4u) + c / 4u + quad;
            window[row * PITCH + quad] = vec4<f16>(select(vec4(0.0), input[select(0u, at_source, inside)], inside));
        }
        for (var at = index; at < BLOCK * (COLUMNS / 4u); at += INVOCATIONS) {
            let row = at / (COLUMNS / 4u);
            let quad = at % (COLUMNS / 4u);
            let g = base + row;
            let pixel = on_grid(g);
            let inside = g < end && pixel.x < OUT_H && pixel.y < OUT_W;
            let at_source = ((g / GRID * OUT_H + pixel.x) * OUT_W + pixel.y) * (OUTER / 4u) + column / 4u + quad;
            results[row * COLUMN_PITCH + quad] = vec4<f16>(select(vec4(0.0), d_out[select(0u, at_source, inside)], inside));
        }
        workgroupBarrier();
        let at = id.y * EDGE;
#unroll n COLUMN_TILES
        let right$n = coopLoadT<Right>(&results[at * COLUMN_PITCH + $nu * QUADS], COLUMN_PITCH);
#endunroll
#unroll s S
        // Its rows are channels.
        let left$s = coopLoad<Left>(&window[($($s%STRIDE)u * WINDOW + at + $($s/STRIDE)u) * PITCH], PITCH);
#unroll n COLUMN_TILES
        acc$s_$n = coopMultiplyAdd(left$s, right$n, acc$s_$n);
#endunroll
#endunroll
    }

#unroll s S
#unroll n COLUMN_TILES
    workgroupBarrier();
    coopStoreT(acc$s_$n, &finished[id.y * EDGE * EDGE], EDGE);
    workgroupBarrier();
    for (var e = index; e < EDGE * EDGE && part < PARTS; e += INVOCATIONS) {
        var sum = 0.0;
        for (var team = 0u; team < TEAMS; team++) {
            sum += finished[team * EDGE * EDGE + e];
        }
        out[(((part * R + r) * S + $su) * INNER + c + e / EDGE) * OUTER + column + $nu * EDGE + e % EDGE] = sum;
    }
#endunroll
#endunroll
}

#else

#include epilogue

// A workgroup takes BLOCK positions, each team ROW_TILES * EDGE of them.
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
alias Wide = f32;
alias Result = f32;
#include bound
const OUT_CHANNELS = OUTER;

// The positions that the taps of BLOCK positions meet.
var<workgroup> window: array<vec4<f16>, WINDOW * PITCH>;
// A row of taps for EDGE inner channels.
var<workgroup> taps: array<vec4<f16>, TAPS * EDGE * COLUMN_PITCH>;

// Four channels of position g.
fn load(g: u32, phase: vec2<u32>, quad: u32) -> vec4<f32> {
#if ENTRY_forward
    let pixel = in_image(on_grid(g), phase);
#else
    let pixel = on_grid(g);
#endif
    let inside = g < N * GRID && pixel.x < SOURCE_H && pixel.y < SOURCE_W;
    let at = ((g / GRID * SOURCE_H + pixel.x) * SOURCE_W + pixel.y) * (INNER / 4u) + quad;
    return select(vec4(0.0), source[select(0u, at, inside)], inside);
}

// Writes v, a team's value in `finished` for position g and channel k.
fn write(v: f32, g: u32, phase: vec2<u32>, k: u32) {
#if ENTRY_forward
    let pixel = on_grid(g);
#else
    let pixel = in_image(on_grid(g), phase);
#endif
    if g < N * GRID && pixel.x < OUT_H && pixel.y < OUT_W {
        let at = ((g / GRID * OUT_H + pixel.x) * OUT_W + pixel.y) * OUTER + k;
        out[at] = finish(v, at, k);
    }
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let flat = flat_index(group);
    let column = flat % COLUMN_GROUPS * COLUMNS;
    let unit = flat / COLUMN_GROUPS;
#if ENTRY_forward
    // The result is on one grid, and sums over all phases of the source.
    let first = unit * BLOCK;
    const first_phase = 0u;
    const phases = PHASES * PHASES;
#else
    // The source is on one grid, and so is each phase of the result.
    let first = unit / (PHASES * PHASES) * BLOCK;
    let first_phase = unit % (PHASES * PHASES);
    const phases = 1u;
#endif
#unroll m ROW_TILES
#unroll n COLUMN_TILES
    var acc$m_$n: Sums;
#endunroll
#endunroll

    for (var p = 0u; p < phases; p++) {
        let phase = vec2((first_phase + p) / PHASES, (first_phase + p) % PHASES);
        for (var i = 0u; i < INNER; i += EDGE) {
            workgroupBarrier();
            for (var at = index; at < WINDOW * QUADS; at += INVOCATIONS) {
                let row = at / QUADS;
                let quad = at % QUADS;
#if ENTRY_forward
                let g = first + row;
#else
                // Before the first position g wraps round, so it is past the end too.
                let g = first + row - HALO;
#endif
                window[row * PITCH + quad] = vec4<f16>(load(g, phase, i / 4u + quad));
            }
            for (var line = 0u; line < LINES; line++) {
                let r = phase.x + line * STRIDE;
#if RAGGED
                if r >= R {
                    continue;
                }
#endif
                workgroupBarrier();
                for (var at = index; at < TAPS * EDGE * (COLUMNS / 4u); at += INVOCATIONS) {
                    let row = at / (COLUMNS / 4u);
                    let quad = at % (COLUMNS / 4u);
                    let s = phase.y + row / EDGE * STRIDE;
                    let at_source = ((r * S + s) * INNER + i + row % EDGE) * (OUTER / 4u) + column / 4u + quad;
#if RAGGED
                    taps[row * COLUMN_PITCH + quad] = vec4<f16>(select(vec4(0.0), weight[at_source], s < S));
#else
                    taps[row * COLUMN_PITCH + quad] = vec4<f16>(weight[at_source]);
#endif
                }
                workgroupBarrier();
#unroll j TAPS
#unroll n COLUMN_TILES
                let right$j_$n = coopLoadT<Right>(&taps[$ju * EDGE * COLUMN_PITCH + $nu * QUADS], COLUMN_PITCH);
#endunroll
#if ENTRY_forward
                let line_at$j = id.y * (ROW_TILES * EDGE) + line * GRID_W + $ju;
#else
                let line_at$j = id.y * (ROW_TILES * EDGE) + HALO - line * GRID_W - $ju;
#endif
#unroll m ROW_TILES
                let left$j_$m = coopLoadT<Left>(&window[(line_at$j + $mu * EDGE) * PITCH], PITCH);
#unroll n COLUMN_TILES
                acc$m_$n = coopMultiplyAdd(left$j_$m, right$j_$n, acc$m_$n);
#endunroll
#endunroll
#endunroll
            }
        }
    }

#unroll m ROW_TILES
#unroll n COLUMN_TILES
    workgroupBarrier();
    coopStoreT(acc$m_$n, &finished[id.y * EDGE * EDGE], EDGE);
    workgroupBarrier();
    for (var e = id.x; e < EDGE * EDGE; e += LANES) {
        let g = first + (id.y * ROW_TILES + $mu) * EDGE + e / EDGE;
        let v = finished[id.y * EDGE * EDGE + e];
        write(v, g, vec2(first_phase / PHASES, first_phase % PHASES), column + $nu * EDGE + e % EDGE);
    }
#endunroll
#endunroll
}
#endif
