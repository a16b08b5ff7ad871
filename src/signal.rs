//! Whether a live source is heard at the moment: for whoever shows its pictures while it is connected to anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of one live source; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<AtomicBool>);

impl Signal {
    /// Whether the source is lost and being connected to anew.
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says so.
    pub fn set_lost(&self, lost: bool) {
        self.0.store(lost, Ordering::Relaxed);
    }
}
