//! Chooses what range of values an axis shows, and where its ticks go.
//!
//! The range is chosen by quantiles of the later part of a run, so that neither the steep start nor a few outliers
//! squeeze the part one wants to see.

use crate::report::{Series, Style};

/// Values beyond this are finite but leave no room for arithmetic; they count as off the
/// chart.
const HUGE: f64 = 1e150;
/// Places farther off than this many lengths of the axis count as this far.
const FAR: f64 = 1e6;
/// Share of the run, from its start, that does not decide the range.
const WARM_UP: f64 = 0.15;
/// With fewer values than this, all of them decide the range, including the start of the run.
const FEW: usize = 20;

/// A range of values mapped to 0..1; `low` and `high` are logarithms on a log axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Ticks at whole numbers only.
    whole: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Place along the axis, from 0 to 1.
    pub at: f64,
    pub label: String,
}

/// The value as the axis counts it, or none if it cannot be placed at all.
pub(crate) fn scaled(value: f64, log: bool) -> Option<f64> {
    let value = if log { value.log10() } else { value };
    (value.is_finite() && value.abs() <= HUGE).then_some(value)
}

impl Axis {
    /// The x axis over all points, or none without points.
    pub(crate) fn across(series: &[Series]) -> Option<Self> {
        let xs = || {
            let points = series.iter().flat_map(|s| &s.points);
            points.filter_map(|&(x, y)| scaled(x, false).filter(|_| y.is_finite()))
        };
        let (low, high) = extent(xs())?;
        Some(Self { whole: xs().all(|x| x.fract() == 0.0), ..Self::padded(low, high, false, 0.015) })
    }

    /// The y axis, robust to outliers and to the start of the run; none without points.
    pub(crate) fn upright(series: &[Series], log: bool) -> Option<Self> {
        let strong = |s: &&Series| s.style != Style::Thin && s.points.iter().any(|p| scaled(p.1, log).is_some());
        let main: Vec<&Series> = series.iter().filter(strong).collect();
        let pale: Vec<&Series> = series.iter().filter(|s| !strong(s)).collect();
        let (main, pale) = if main.is_empty() { (pale, main) } else { (main, pale) };
        let ys = |s: &'_ Series| -> Vec<f64> { s.points.iter().filter_map(|p| scaled(p.1, log)).collect() };
        let (least, most) = extent(main.iter().flat_map(|s| ys(s)))?;
        let fences = main.iter().filter_map(|s| fence(late(s, log), 2.0));
        let (low, high) = extent(fences.flat_map(|(a, b)| [a, b]))?;
        let (mut low, mut high) = (low.max(least), high.min(most));
        if most - least <= 2.0 * (high - low) {
            (low, high) = (least, most);
        }
        for series in pale {
            let Some(((a, b), (least, most))) = fence(late(series, log), 0.25).zip(extent(ys(series).into_iter()))
            else {
                continue;
            };
            (low, high) = (low.min(a.max(least)), high.max(b.min(most)));
        }
        Some(Self::padded(low, high, log, 0.04))
    }

    fn padded(low: f64, high: f64, log: bool, share: f64) -> Self {
        let middle = low / 2.0 + high / 2.0;
        let least = match (log, middle.abs() < 1.0 / HUGE) {
            (true, _) => 0.1,
            (false, true) => 1.0,
            (false, false) => middle.abs() * 1e-9,
        };
        let mut half = (high - low) / 2.0;
        if half < least / 2.0 || half == 0.0 {
            // A constant still needs a readable scale.
            half = if log { 0.1 } else { (middle.abs() * 0.05).max(least) };
        }
        let half = half * (1.0 + 2.0 * share);
        Self { low: middle - half, high: middle + half, log, whole: false }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, beyond these if outside.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let value = scaled(value, self.log)?;
        Some(((value - self.low) / (self.high - self.low)).clamp(-FAR, FAR))
    }

    /// About `wanted` ticks at round values.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.log {
            let ticks = self.log_ticks(wanted);
            if ticks.len() > 1 {
                return ticks;
            }
        }
        let open = |v: f64| if self.log { 10f64.powf(v) } else { v };
        let (low, high) = (open(self.low), open(self.high));
        let mut step = round_step((high - low) / wanted.max(1) as f64);
        if self.whole {
            step = step.max(1.0);
        }
        let first = (low / step).ceil();
        let mut ticks = Vec::new();
        for i in 0..=3 * wanted {
            let value = (first + i as f64) * step;
            if value > high || !value.is_finite() {
                break;
            }
            ticks.extend(self.tick(value, number(value, step, low.abs().max(high.abs()))));
        }
        ticks.dedup_by(|a, b| a.label == b.label);
        ticks
    }

    fn log_ticks(&self, wanted: usize) -> Vec<Tick> {
        let decades = self.high - self.low;
        let each: &[u32] = match decades {
            d if d < 1.3 => &[1, 2, 3, 4, 5, 6, 8],
            d if d < 2.6 => &[1, 2, 5],
            _ => &[1],
        };
        let skip = (decades / wanted.max(1) as f64).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut decade = (self.low.floor() / skip).floor() * skip;
        while decade <= self.high {
            for digit in each {
                let value = f64::from(*digit) * 10f64.powf(decade);
                ticks.extend(self.tick(value, log_number(*digit, decade)));
            }
            decade += skip;
        }
        ticks
    }

    fn tick(&self, value: f64, label: String) -> Option<Tick> {
        let at = self.place(value)?;
        (-1e-9..=1.0 + 1e-9).contains(&at).then_some(Tick { at, label })
    }
}

/// The least and the greatest of the values.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found: Option<(f64, f64)>, v| match found {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// The values of a series after its warm-up, or all of them if they are few.
fn late(series: &Series, log: bool) -> Vec<f64> {
    let placed = || {
        let points = series.points.iter();
        points.filter_map(|p| Some((scaled(p.0, false)?, scaled(p.1, log)?)))
    };
    let Some((first, last)) = extent(placed().map(|p| p.0)) else {
        return Vec::new();
    };
    let start = first + WARM_UP * (last - first);
    let late: Vec<f64> = placed().filter(|p| p.0 >= start).map(|p| p.1).collect();
    if late.len() < FEW {
        return placed().map(|p| p.1).collect();
    }
    late
}

/// The middle 80 % of the values, widened by `reach` times its width on both sides.
fn fence(mut values: Vec<f64>, reach: f64) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    if last < 4 {
        return Some((values[0], values[last]));
    }
    // Ranks are rounded inwards so that one outlier among a dozen values has no say.
    let low = values[(last as f64 * 0.1).ceil() as usize];
    let high = values[(last as f64 * 0.9).floor() as usize];
    let more = reach * (high - low);
    Some((low - more, high + more))
}

/// The smallest of 1, 2 or 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    if !(power.is_normal()) {
        return step.max(f64::MIN_POSITIVE);
    }
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

/// `value` with as many digits as the step between ticks needs.
fn number(value: f64, step: f64, largest: f64) -> String {
    let (unit, sign) = match largest {
        l if l < 1e4 => (1.0, ""),
        l if l < 1e6 => (1e3, "k"),
        l if l < 1e9 => (1e6, "M"),
        _ => (1.0, ""),
    };
    if value.abs() < step / 2.0 {
        return "0".to_owned();
    }
    let digits = (-(step / unit).log10() - 1e-9).ceil().max(0.0);
    if largest >= 1e9 || digits > 5.0 {
        let digits = (largest / step).log10().ceil().clamp(0.0, 9.0) as usize;
        return format!("{value:.digits$e}");
    }
    format!("{:.*}{sign}", digits as usize, value / unit)
}

/// `digit` times ten to the `decade`, without an exponent where that is short.
fn log_number(digit: u32, decade: f64) -> String {
    if !(-4.0..=4.0).contains(&decade) {
        return format!("{digit}e{decade}");
    }
    let digits = (-decade).max(0.0) as usize;
    format!("{:.digits$}", f64::from(digit) * 10f64.powf(decade))
}

#[cfg(test)]
#[path = "axis_tests.rs"]
mod tests;
