//! The second step of the rule: weights become shares, and no share exceeds its cap.
//!
//! Shares of those that are not fixed are `floor(weight · rest / weights)`, and what rounding leaves
//! goes to the last of them. Every share above its cap, the last one's included, is fixed at its cap, and
//! the rule is applied again to the others over what is left. A pass that fixes none ends it. Where the
//! caps reach the whole, each pass leaves somebody unfixed: shares sum to the rest, so not all can be
//! above caps that reach the rest.

use std::num::NonZeroU64;

use obsqra_events::WHOLE;
use obsqra_types::Bps;

use crate::filter::Weighted;

/// A protocol that takes part, on its way to a share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) weighted: Weighted,
    /// The greatest share.
    pub(crate) cap: Bps,
    /// The share.
    pub(crate) share: Bps,
    /// Whether the share is fixed at the cap.
    pub(crate) is_capped: bool,
}

/// The sum of the caps.
pub(crate) fn sum_of_caps(parts: &[Part]) -> Bps {
    Bps(parts.iter().map(|part| part.cap.0).fold(0, u32::saturating_add))
}

/// Fills in the shares of parts whose caps reach the whole.
pub(crate) fn share_out(parts: &mut [Part]) {
    loop {
        apply_rule(parts);
        let mut is_done = true;
        for part in parts.iter_mut().filter(|part| !part.is_capped && part.share > part.cap) {
            part.share = part.cap;
            part.is_capped = true;
            is_done = false;
        }
        if is_done {
            return;
        }
    }
}

/// The published rule, over what the fixed parts leave.
fn apply_rule(parts: &mut [Part]) {
    let fixed: u32 = parts.iter().filter(|part| part.is_capped).map(|part| part.share.0).sum();
    let rest = WHOLE.0.saturating_sub(fixed);
    let free = parts.iter().filter(|part| !part.is_capped);
    let weights: u128 = free.map(|part| u128::from(part.weighted.weight.get())).sum();
    let mut left = rest;
    let mut last = None;
    for part in parts.iter_mut().filter(|part| !part.is_capped) {
        part.share = Bps(portion(rest, part.weighted.weight, weights));
        left -= part.share.0;
        last = Some(part);
    }
    if let Some(last) = last {
        last.share.0 += left;
    }
}

/// `floor(rest · weight / weights)`, where `weights` is a sum that `weight` is part of: above 0, and the
/// quotient at most `rest`.
fn portion(rest: u32, weight: NonZeroU64, weights: u128) -> u32 {
    let portion = u128::from(rest) * u128::from(weight.get()) / weights;
    u32::try_from(portion).unwrap_or(rest)
}
