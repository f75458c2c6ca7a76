//! Which rate to try next, purely: the highest that meets an objective, and the knee.
