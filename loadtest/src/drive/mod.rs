//! One run, a sweep over rates, or two servers in turn.
