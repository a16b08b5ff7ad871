//! Ctrl-C while the work is done without Python's lock.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

/// What Python's signal handlers raise meanwhile. They run only when somebody looks, on the main thread.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<Option<PyErr>>>);

impl Signals {
    /// Looks, and whether anything was raised.
    pub fn look(&self) -> bool {
        Python::attach(|py| {
            let raised = py.check_signals().err();
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if raised.is_some() {
                *kept = raised;
            }
            kept.is_some()
        })
    }

    /// What was raised, once.
    pub fn take(&self) -> PyResult<()> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(raised) => Err(raised),
            None => Ok(()),
        }
    }
}
