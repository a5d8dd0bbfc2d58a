//! What a loop of a compiled kernel consists of.

/// Instructions of a loop that does not contain another, by the unit of the processor that executes them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Loop {
    pub multiply_adds: usize,
    /// All other vector arithmetic: addresses, checks, conversions.
    pub other: usize,
    pub loads: usize,
    /// Accesses to the memory that a workgroup shares.
    pub shared: usize,
}

impl Loop {
    /// The share of multiply-adds in the vector arithmetic.
    pub fn share(self) -> f64 {
        self.multiply_adds as f64 / (self.multiply_adds + self.other).max(1) as f64
    }

    fn add(&mut self, instruction: &str) {
        let begins = |with: &[&str]| with.iter().any(|with| instruction.starts_with(with));
        let unit = match () {
            () if begins(&["v_fma", "v_mac", "v_mad_f32", "v_pk_fma", "v_dual_fma"]) => &mut self.multiply_adds,
            () if begins(&["v_"]) => &mut self.other,
            () if begins(&["buffer_", "global_", "flat_"]) => &mut self.loads,
            () if begins(&["ds_"]) => &mut self.shared,
            () => return,
        };
        *unit += 1;
    }
}

/// The innermost loops. A loop is what lies between a label and a jump back to it.
pub fn loops(assembly: &str) -> Vec<Loop> {
    // Each block's label, and its instructions with their operands.
    let mut blocks: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in assembly.lines() {
        let line = line.split(';').next().unwrap_or("").trim();
        if let Some(label) = line.strip_suffix(':') {
            blocks.push((label, Vec::new()));
        } else if let (Some((_, block)), Some(instruction)) = (blocks.last_mut(), line.split_whitespace().next()) {
            block.push((instruction, line[instruction.len()..].trim()));
        }
    }
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (last, (_, block)) in blocks.iter().enumerate() {
        for (_, target) in block.iter().filter(|(instruction, _)| instruction.contains("branch")) {
            all.extend(blocks[..=last].iter().position(|(label, _)| label == target).map(|first| (first, last)));
        }
    }
    all.sort_unstable();
    all.dedup();
    let contains = |a: (usize, usize), b: (usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    let innermost = all.iter().filter(|one| !all.iter().any(|other| contains(**one, *other)));
    let counted = innermost.map(|(first, last)| {
        let mut found = Loop::default();
        let within = blocks[*first..=*last].iter().flat_map(|(_, block)| block);
        within.for_each(|(instruction, _)| found.add(instruction));
        found
    });
    counted.collect()
}

#[test]
fn the_innermost_loops_are_found_and_what_they_consist_of() {
    let assembly = "BB0:\n\tv_mov_b32 v1, 0 ; 7e0\nBB1:\n\tv_add_nc_u32 v1, v2, v3\n\ts_cbranch_execz BB4\nBB2:
        buffer_load_dword v4, v1, s[0:3], 0 offen ; e03\n\tv_fmac_f32 v5, v4, v4\n\tv_fma_f32 v6, v4, v4, v6
        v_lshlrev_b32 v7, 2, v1\n\tds_read_b32 v8, v7\n\ts_cbranch_scc0 BB2\nBB3:\n\ts_branch BB1\nBB4:\n\ts_endpgm";
    assert_eq!(loops(assembly), [Loop { multiply_adds: 2, other: 1, loads: 1, shared: 1 }]);
    assert_eq!(loops(""), []);
}
