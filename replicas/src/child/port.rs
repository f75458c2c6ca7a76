//! Ports of this machine for processes: the one that is written, as long as nobody has it, or a free one.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;

/// Ports of all the processes of a gateway. A process needs a moment until it listens, so the machine alone does not know
/// which are taken.
#[derive(Debug, Default)]
pub struct Ports(Mutex<BTreeSet<u16>>);

/// A port that is a process's until this is dropped.
#[derive(Debug)]
pub(super) struct Port {
    pub number: u16,
    /// The one that was asked for, which somebody else may have.
    pub wanted: Option<u16>,
    ports: Arc<Ports>,
}

/// Free ports that are looked at before one is given up on.
const TRIES: usize = 100;

impl Ports {
    /// The wanted port if it is free, else any other that is.
    pub(super) fn take(self: &Arc<Self>, wanted: Option<u16>) -> io::Result<Port> {
        if let Some(wanted) = wanted.filter(|port| is_free(*port))
            && self.0.lock().insert(wanted)
        {
            return Ok(Port { number: wanted, wanted: Some(wanted), ports: self.clone() });
        }
        for _ in 0..TRIES {
            let number = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if Some(number) != wanted && self.0.lock().insert(number) {
                return Ok(Port { number, wanted, ports: self.clone() });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free"))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.0.lock().remove(&self.number);
    }
}

/// Whether a server could listen there, on loopback and on every address.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_the_wanted_port_and_others_have_free_ones() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let ports = Arc::new(Ports::default());
        let first = ports.take(Some(free)).unwrap();
        assert_eq!(first.number, free);
        let second = ports.take(Some(free)).unwrap();
        let third = ports.take(None).unwrap();
        assert!(second.number != free && third.number != second.number && third.number != free);
        drop(first);
        assert_eq!(ports.take(Some(free)).unwrap().number, free, "it is given back");
    }

    #[test]
    fn a_port_that_somebody_else_has_is_not_given() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = other.local_addr().unwrap().port();
        assert_ne!(Arc::new(Ports::default()).take(Some(taken)).unwrap().number, taken);
    }
}
