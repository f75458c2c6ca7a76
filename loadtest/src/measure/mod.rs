//! From single requests to the figures of a run.
