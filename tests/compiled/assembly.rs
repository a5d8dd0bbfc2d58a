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
        let unit = match instruction {
            // Of AMD's.
            _ if begins(&["v_fma", "v_mac", "v_mad_f32", "v_pk_fma", "v_dual_fma"]) => &mut self.multiply_adds,
            _ if begins(&["v_"]) => &mut self.other,
            _ if begins(&["buffer_", "global_", "flat_"]) => &mut self.loads,
            _ if begins(&["ds_"]) => &mut self.shared,
            _ if begins(&["s_"]) => return,
            // Of Intel's, where all memory is reached by messages.
            "mad" => &mut self.multiply_adds,
            "send" | "sends" => &mut self.loads,
            "sync" | "if" | "else" | "endif" | "break" | "cont" | "while" => return,
            _ => &mut self.other,
        };
        *unit += 1;
    }
}

/// A line's instruction and its operands. Intel's may begin with a condition, and say after the name how many invocations
/// it is for.
fn parts(line: &str) -> Option<(&str, &str)> {
    let line = match line.strip_prefix('(').and_then(|line| line.split_once(") ")) {
        Some((_, conditional)) => conditional.trim_start(),
        None => line,
    };
    let (name, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let is_of_amd = ["s_", "v_", "ds_", "buffer_", "global_", "flat_"].iter().any(|with| name.starts_with(with));
    let name = if is_of_amd { name } else { name.split_once('(')?.0.split('.').next()? };
    Some((name, operands.trim()))
}

/// Where an instruction jumps to, if it does so at a loop's end.
fn target<'a>(name: &str, operands: &'a str) -> Option<&'a str> {
    match name {
        "while" => operands.strip_prefix("JIP:")?.split_whitespace().next(),
        _ => name.contains("branch").then_some(operands),
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
        } else if let (Some((_, block)), Some(parts)) = (blocks.last_mut(), parts(line)) {
            block.push(parts);
        }
    }
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (last, (_, block)) in blocks.iter().enumerate() {
        for target in block.iter().filter_map(|(name, operands)| target(name, operands)) {
            all.extend(blocks[..=last].iter().position(|(label, _)| *label == target).map(|first| (first, last)));
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
    let assembly = "LABEL5:\ncmp.ge.f0.0(8)  null<1>UD  g13<8,8,1>UD  0x3UD  { align1 1Q };
        LABEL4:\n(+f0.0) break(8) JIP:  LABEL3  UIP:  LABEL3 { align1 1Q };\nadd(8) g1<1>D g2<8,8,1>D 4D { align1 1Q };
        send(8)  g26UD  g79UD  nullUD  0x02106e03\n    dp data 1 MsgDesc: (untyped surface read, Surface = 3)
        (+f0.0) sel(8) g92<1>UD g1<8,8,1>UD 0x0UD { align1 1Q };\nsync nop(1) null<0,1,0>UB { align1 WE_all 1N };
        mad(8) g97<1>F g96<8,8,1>F g31<8,8,1>F g6<1,1,1>F { align1 1Q @5 $5.dst };\n
        LABEL3:\nwhile(8) JIP:  LABEL4 { align1 1Q };\nLABEL2:\nendif(8) JIP:  LABEL1 { align1 1Q };
        while(8) JIP:  LABEL5 { align1 1Q };";
    assert_eq!(loops(assembly), [Loop { multiply_adds: 1, other: 2, loads: 1, shared: 0 }]);
}
