//! Whether an offload of the kernel works, which only trying tells.

/// Some kernels, drivers and sandboxes accept an option and then refuse every use of it, so the
/// first refusal switches it off for good. Once it worked, a refusal is about that one packet,
/// and must not slow down everybody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latch {
    Untried,
    Works,
    Off,
}

impl Latch {
    pub(crate) fn new(offered: bool) -> Self {
        if offered { Self::Untried } else { Self::Off }
    }

    pub(crate) fn is_usable(self) -> bool {
        self != Self::Off
    }

    pub(crate) fn worked(&mut self) {
        *self = Self::Works;
    }

    /// Returns whether this switched it off.
    pub(crate) fn refused(&mut self) -> bool {
        let off = *self == Self::Untried;
        if off {
            *self = Self::Off;
        }
        off
    }
}
