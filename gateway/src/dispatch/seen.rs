//! What of a lane's servers is asked for by each call on its way in, to be read without the lane's lock.

use super::lane::Core;
use super::remotes::Remotes;
use super::spoken::Spoken;

/// As the feed's last change left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// None where engines of this process execute the calls.
    pub spoken: Option<Spoken>,
    /// Batches are formed here.
    pub batches: bool,
    pub servers: usize,
    /// Calls that the servers take at a time, all together.
    pub slots: usize,
}

impl Seen {
    pub fn of(core: &Core) -> Seen {
        let remotes = core.remotes.as_ref();
        Seen {
            spoken: remotes.map(Remotes::spoken),
            batches: core.policy.is_some_and(|policy| policy.max_rows > 1 || !policy.linger.is_zero()),
            servers: remotes.map_or(0, Remotes::servers),
            slots: remotes.map_or(0, Remotes::slots),
        }
    }
}
